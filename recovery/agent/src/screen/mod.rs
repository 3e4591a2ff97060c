//! What a person at the endpoint sees: what happened, why, what now.
//!
//! The recovery system draws a picture in large letters where the endpoint has a frame buffer. Elsewhere, and as soon as that
//! fails, it writes a framed page of text to each console that is a screen. Plain lines go to serial lines and to the kernel's log
//! either way. The check-in service writes plain lines to its standard error (the journal).
//!
//! ```text
//! say, show, progress ─► lines
//!                    └─► scene ─► picture ─► frame_buffer     fails: ─► text page
//!                                    └ raster
//! ```
//!
//! It must never show a secret, and never fail: a screen that cannot be written is not a reason to stop a recovery.

mod frame_buffer;
mod picture;
mod raster;
mod scene;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use self::frame_buffer::FrameBuffer;
use self::picture::Picture;
pub use self::scene::Mood;
use self::scene::{Pace, Scene};

/// Lines of the past kept on the page.
const LINES_MAX: usize = 12;
/// Shortest time between two redraws that only move a number: of a page, and of a picture, of which only what changed is drawn.
const REDRAW_MIN: Duration = Duration::from_millis(500);
const PICTURE_MIN: Duration = Duration::from_millis(250);
/// The last words wait so long for a screen that another thread is using.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Shortest time between two progress lines on a serial line.
const LINE_MIN: Duration = Duration::from_secs(5);

/// The screens and lines of this endpoint. Clones share them.
#[derive(Clone)]
pub struct Screen(Arc<Mutex<Inner>>);

struct Inner {
    started: Instant,
    title: String,
    /// Virtual terminals: redrawn.
    pages: Vec<File>,
    /// Serial lines, the kernel's log, standard error: appended to.
    lines: Vec<Line>,
    past: VecDeque<String>,
    now: String,
    why: String,
    next: String,
    frame_buffer: Option<FrameBuffer>,
    scene: Scene,
    pace: Pace,
    drawn: Option<Instant>,
    progress_line: Option<Instant>,
}

enum Line {
    Serial(File),
    KernelLog(File),
    StandardError,
}

impl Screen {
    /// The endpoint's consoles as the kernel names them in `/sys/class/tty/console/active`, and the kernel's log.
    pub fn consoles(title: &str) -> Self {
        let write = |path: &str| OpenOptions::new().write(true).open(path).ok();
        let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let mut pages = Vec::new();
        let mut lines: Vec<Line> = write("/dev/kmsg").map(Line::KernelLog).into_iter().collect();
        for name in active.split_whitespace() {
            let Some(file) = write(&format!("/dev/{name}")) else { continue };
            match name.strip_prefix("tty").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())) {
                true => pages.push(file),
                false => lines.push(Line::Serial(file)),
            }
        }
        let screen = Self::new(title, pages, lines);
        screen.inner().frame_buffer = FrameBuffer::open();
        screen
    }

    /// Standard error only.
    pub fn standard_error(title: &str) -> Self {
        Self::new(title, Vec::new(), vec![Line::StandardError])
    }

    fn new(title: &str, pages: Vec<File>, lines: Vec<Line>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            started: Instant::now(),
            title: title.to_owned(),
            pages,
            lines,
            past: VecDeque::new(),
            now: String::new(),
            why: String::new(),
            next: String::new(),
            frame_buffer: None,
            scene: Scene::default(),
            pace: Pace::default(),
            drawn: None,
            progress_line: None,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One line for the record.
    pub fn say(&self, line: impl AsRef<str>) {
        let mut inner = self.inner();
        inner.append(line.as_ref());
        inner.draw();
    }

    /// Whom this is about, as people call it.
    pub fn set_endpoint(&self, endpoint: impl Into<String>, drill: bool) {
        let mut inner = self.inner();
        (inner.scene.endpoint, inner.scene.drill) = (endpoint.into(), drill);
        inner.draw();
    }

    /// What is going on: what happened, why, what now. Empty parts are left out.
    pub fn show(&self, mood: Mood, now: impl Into<String>, why: impl Into<String>, next: impl Into<String>) {
        self.inner().show(mood, now.into(), why.into(), next.into());
    }

    /// The last words of a recovery system that has a fault: in text, since the picture may be what is at fault, and never waiting
    /// for a thread that may never let go.
    pub fn last_words(&self, now: &str, why: &str, next: &str) {
        let Some(mut inner) = self.inner_within(LAST_WAIT) else { return without_state(&[now, why, next]) };
        // Dropped, it gives the screen back to the console.
        inner.frame_buffer = None;
        inner.show(Mood::Failed(String::new()), now.to_owned(), why.to_owned(), next.to_owned());
    }

    fn inner_within(&self, limit: Duration) -> Option<MutexGuard<'_, Inner>> {
        let until = Instant::now() + limit;
        loop {
            match self.0.try_lock() {
                Ok(inner) => return Some(inner),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => return None,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// A number that moves: redrawn at most twice a second (a picture: four times), on a serial line every five seconds.
    pub fn progress(&self, what: &str, done_bytes: u64, total_bytes: u64) {
        let mut inner = self.inner();
        let at = Instant::now();
        let older = |then: Option<Instant>, than| then.is_none_or(|then| at.duration_since(then) >= than);
        inner.now = format!("{what}: {}", amount(done_bytes, total_bytes));
        if older(inner.progress_line, LINE_MIN) {
            inner.progress_line = Some(at);
            let line = inner.now.clone();
            inner.append(&line);
        }
        let time = inner.started.elapsed();
        let progress = inner.pace.at(what, time, done_bytes, total_bytes);
        let least = if inner.frame_buffer.is_some() { PICTURE_MIN } else { REDRAW_MIN };
        if older(inner.drawn, least) || inner.scene.now != what {
            let scene = &mut inner.scene;
            (scene.mood, scene.progress, scene.now) = (Mood::Working, Some(progress), what.to_owned());
            // Of the order, not of this part of it.
            scene.why.clear();
            inner.draw();
        }
    }
}

/// The picture's last resort: straight to the consoles, without this module's state.
fn without_state(lines: &[&str]) {
    FrameBuffer::give_back_consoles();
    for path in ["/dev/console", "/dev/tty0", "/dev/kmsg"] {
        if let Ok(mut file) = OpenOptions::new().write(true).open(path) {
            lines.iter().for_each(|line| drop(write!(file, "groundstate: {}\r\n", plain(line))));
        }
    }
}

/// `1.2 of 2.0 GiB (60 %)`, in the unit of the total.
fn amount(done: u64, total: u64) -> String {
    let (unit, name) = if total >= 1 << 30 { (1_u64 << 30, "GiB") } else { (1 << 20, "MiB") };
    let tenths = |bytes: u64| (bytes.saturating_mul(10) / unit) as f64 / 10.0;
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
    format!("{:.1} of {:.1} {name} ({percent} %)", tenths(done), tenths(total))
}

/// Text that came from elsewhere, with control characters taken out so that it cannot steer a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Inner {
    fn append(&mut self, line: &str) {
        let line = plain(line);
        let seconds = self.started.elapsed().as_secs_f32();
        for sink in &mut self.lines {
            let _ = match sink {
                Line::Serial(file) => write!(file, "[groundstate {seconds:7.2}] {line}\r\n"),
                Line::KernelLog(file) => file.write_all(format!("<6>groundstate: {line}\n").as_bytes()),
                Line::StandardError => writeln!(std::io::stderr(), "{line}"),
            };
        }
        self.past.push_back(line);
        while self.past.len() > LINES_MAX {
            self.past.pop_front();
        }
    }

    fn show(&mut self, mood: Mood, now: String, why: String, next: String) {
        let line = match &mood {
            Mood::Pairing(code) => format!("{now}  {code}"),
            Mood::Failed(code) if !code.is_empty() => format!("{now} [{code}]"),
            _ => now.clone(),
        };
        let scene = Scene { mood, now, why, next, progress: None, ..self.scene.clone() };
        let same = (&line, &scene.why, &scene.next) == (&self.now, &self.why, &self.next);
        if !same {
            (self.now, self.why, self.next) = (line, scene.why.clone(), scene.next.clone());
            for part in [self.now.clone(), self.why.clone(), self.next.clone()] {
                part.lines().for_each(|line| self.append(line));
            }
        }
        let stays = scene.mood == Mood::Held && matches!(self.scene.mood, Mood::Failed(_));
        if !same || scene != self.scene {
            self.scene = if stays { self.scene.clone() } else { scene };
            self.draw();
        }
    }

    fn draw(&mut self) {
        self.drawn = Some(Instant::now());
        if let Some(mut buffer) = self.frame_buffer.take() {
            let picture = Picture::of(&self.scene, buffer.size());
            if picture.is_some_and(|picture| buffer.show(picture).is_ok()) {
                self.frame_buffer = Some(buffer);
                return;
            }
        }
        if self.pages.is_empty() {
            return;
        }
        let page = self.page();
        for file in &mut self.pages {
            let _ = file.write_all(page.as_bytes());
        }
    }

    /// The whole page, in the escape sequences of ECMA-48 that each Linux terminal knows.
    fn page(&self) -> String {
        let rule = "=".repeat(78);
        let mut page =
            format!("\x1b[H\x1b[2J\x1b[1m{rule}\r\n  {}\r\n{rule}\x1b[0m\r\n\r\n", plain(&self.title));
        for (name, text) in [("NOW ", &self.now), ("WHY ", &self.why), ("NEXT", &self.next)] {
            if !text.is_empty() {
                let _ = write!(page, "  \x1b[1m{name}\x1b[0m  {}\r\n\r\n", plain(text));
            }
        }
        let _ = write!(page, "{}\r\n", "-".repeat(78));
        for line in &self.past {
            let _ = write!(page, "  {line}\r\n");
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_in_the_unit_of_the_total() {
        assert_eq!(amount(1 << 30, 2 << 30), "1.0 of 2.0 GiB (50 %)");
        assert_eq!(amount(0, 0), "0.0 of 0.0 MiB (100 %)");
        assert_eq!(amount(5 << 20, 10 << 20), "5.0 of 10.0 MiB (50 %)");
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        let screen = Screen::new("t\x1b[2J", Vec::new(), Vec::new());
        screen.show(Mood::Starting, "a\x1b]0;x", "", "");
        let page = screen.inner().page();
        assert!(!page.contains("t\x1b") && !page.contains("a\x1b"), "{page:?}");
    }

    #[test]
    fn the_page_keeps_only_the_newest_lines() {
        let screen = Screen::new("t", Vec::new(), Vec::new());
        (0..100).for_each(|n| screen.say(format!("line {n}")));
        let page = screen.inner().page();
        assert!(page.contains("line 99") && !page.contains("line 87\r"), "{page}");
    }

    #[test]
    fn the_lines_are_the_same_with_a_picture_and_without() {
        let screen = Screen::new("t", Vec::new(), Vec::new());
        screen.show(Mood::Pairing("739102".to_owned()), "PAIRING CODE", "why", "Compare.");
        screen.show(Mood::Failed("disk-failed".to_owned()), "The disk failed.", "sector 7", "Replace it.");
        let inner = screen.inner();
        let said = [
            "PAIRING CODE  739102",
            "why",
            "Compare.",
            "The disk failed. [disk-failed]",
            "sector 7",
            "Replace it.",
        ];
        assert_eq!(inner.past.iter().map(String::as_str).collect::<Vec<_>>(), said);
        assert_eq!((inner.scene.now.as_str(), inner.scene.why.as_str()), ("The disk failed.", "sector 7"));
    }

    #[test]
    fn the_same_words_in_another_mood_are_drawn_but_not_said_again() {
        let screen = Screen::new("t", Vec::new(), Vec::new());
        screen.show(Mood::Starting, "No answer.", "", "");
        screen.show(Mood::Person, "No answer.", "", "");
        let inner = screen.inner();
        assert_eq!((inner.past.len(), &inner.scene.mood), (1, &Mood::Person));
    }

    #[test]
    fn a_failure_stays_in_the_picture_while_a_person_decides() {
        let screen = Screen::new("t", Vec::new(), Vec::new());
        screen.show(Mood::Failed("disk-failed".to_owned()), "The disk failed.", "", "");
        screen.show(Mood::Held, "A person decides.", "", "");
        assert_eq!(screen.inner().scene.now, "The disk failed.");
        assert_eq!(screen.inner().now, "A person decides.", "in text it is the newest that counts");
    }

    #[test]
    fn progress_is_work_until_something_else_is_said() {
        let screen = Screen::new("t", Vec::new(), Vec::new());
        screen.progress("Writing", 1 << 20, 4 << 20);
        let scene = screen.inner().scene.clone();
        assert_eq!((scene.mood, scene.progress.map(|p| p.permille())), (Mood::Working, Some(250)));
        screen.show(Mood::Rebooting, "The endpoint reboots.", "", "");
        assert_eq!(screen.inner().scene.progress, None);
    }

    #[test]
    fn last_words_do_not_wait_for_a_thread_that_holds_the_screen() {
        let screen = Screen::new("t", Vec::new(), Vec::new());
        let held = screen.inner();
        assert!(screen.inner_within(Duration::ZERO).is_none());
        drop(held);
        assert!(screen.inner_within(Duration::ZERO).is_some());
    }
}
