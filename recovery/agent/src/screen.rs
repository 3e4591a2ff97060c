//! What a person at the endpoint sees: what happened, why, what now.
//!
//! The recovery system writes to each active console: a framed page that is redrawn on screens, plain lines on serial
//! lines; and to the kernel's log. The check-in service writes plain lines to its standard error (the journal).
//!
//! It must never show a secret, and never fail: a screen that cannot be written is not a reason to stop a recovery.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines of the past kept on the page.
const LINES_MAX: usize = 12;
/// Shortest time between two redraws that only move a number.
const REDRAW_MIN: Duration = Duration::from_millis(500);
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
        Self::new(title, pages, lines)
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

    /// What is going on: what happened, why, what now. Empty parts are left out.
    pub fn show(&self, now: impl Into<String>, why: impl Into<String>, next: impl Into<String>) {
        let mut inner = self.inner();
        let (now, why, next) = (now.into(), why.into(), next.into());
        if (&now, &why, &next) == (&inner.now, &inner.why, &inner.next) {
            return;
        }
        (inner.now, inner.why, inner.next) = (now, why, next);
        for part in [inner.now.clone(), inner.why.clone(), inner.next.clone()] {
            part.lines().for_each(|line| inner.append(line));
        }
        inner.draw();
    }

    /// A number that moves: redrawn at most twice a second, on a serial line every five seconds.
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
        if older(inner.drawn, REDRAW_MIN) {
            inner.draw();
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

    fn draw(&mut self) {
        self.drawn = Some(Instant::now());
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
        screen.show("a\x1b]0;x", "", "");
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
}
