//! Waiting for what should happen, with a limit, by watching the real thing.
//!
//! Words: a [`Log`] is a growing list of lines (a serial console, a program's output); a story waits for a line in it. What stands on a page of
//! the appliance's API changes with a line in its log: [`Log::until`] asks again at each. Nothing here sleeps.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use thiserror::Error;

/// What was waited for did not happen in time.
#[derive(Debug, Error)]
#[error("waited {limit:?} for {what}; the last words were:\n  {tail}")]
pub struct Silent {
    what: String,
    limit: Duration,
    tail: String,
}

impl Silent {
    /// Nothing happened within `limit`; the message repeats the last words of `log`.
    #[must_use]
    pub fn new(what: impl Into<String>, limit: Duration, log: &Log) -> Self {
        Self { what: what.into(), limit, tail: log.tail(8).join("\n  ") }
    }
}

/// One line and when it came.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// Its text without escape sequences.
    pub text: String,
}

/// Lines that arrive from a running thing, kept in memory and in a file.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<Line>,
    /// Sources that are being read now.
    sources: usize,
}

impl Log {
    /// An empty log that is also written to `path`.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, shared: Arc::default() })
    }

    /// The file with everything that was read, byte for byte.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads `source` on a thread of its own until it ends. A log may be fed by one thing after another.
    ///
    /// # Errors
    /// When the log's file cannot be opened.
    pub fn feed(&self, source: impl Read + Send + 'static) -> Result<thread::JoinHandle<()>> {
        let file = OpenOptions::new().append(true).open(&self.path)?;
        let log = self.clone();
        self.lock().sources += 1;
        Ok(thread::spawn(move || {
            log.read_all(source, file);
            log.lock().sources -= 1;
            log.shared.1.notify_all();
        }))
    }

    /// Adds a line of the lab's own, such as "power on".
    pub fn note(&self, text: impl Into<String>) {
        let text = text.into();
        if let Ok(mut file) = OpenOptions::new().append(true).open(&self.path) {
            let _ = writeln!(file, "{text}");
        }
        self.add(text);
    }

    fn add(&self, text: String) {
        self.lock().lines.push(Line { at: Instant::now(), text });
        self.shared.1.notify_all();
    }

    fn read_all(&self, source: impl Read, mut file: File) {
        let mut source = BufReader::new(source);
        let mut bytes = Vec::new();
        // A reader that fails ends the log; whoever waits for a line then hears of it through the limit and the last words.
        while matches!(source.read_until(b'\n', &mut bytes), Ok(length) if length > 0) {
            let _ = file.write_all(&bytes);
            let text = plain(&String::from_utf8_lossy(&bytes));
            bytes.clear();
            if !text.is_empty() {
                self.add(text);
            }
        }
    }

    /// How many lines there are now: a place to start waiting from.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.lock().lines.len()
    }

    /// The last line, for a progress display.
    #[must_use]
    pub fn last(&self) -> Option<Line> {
        self.lock().lines.last().cloned()
    }

    /// The last `count` lines.
    #[must_use]
    pub fn tail(&self, count: usize) -> Vec<String> {
        let lines = &self.lock().lines;
        let from = lines.len().saturating_sub(count);
        lines[from..].iter().map(|line| line.text.clone()).collect()
    }

    /// Waits until a line at or after `from` contains `needle`.
    ///
    /// # Errors
    /// [`Silent`] when no such line comes within `limit`.
    pub fn wait_for(&self, from: usize, needle: &str, limit: Duration) -> Result<Line, Silent> {
        let end = Instant::now() + limit;
        let mut next = from;
        loop {
            let seen = {
                let lines = &self.lock().lines;
                let new = lines.get(next..).unwrap_or_default();
                if let Some(line) = new.iter().find(|line| line.text.contains(needle)) {
                    return Ok(line.clone());
                }
                lines.len()
            };
            next = next.max(seen);
            // Not the end of a source either: a serial line goes on when its endpoint is switched on again.
            if !self.wait(end, |log| log.lines.len() <= next) {
                return Err(Silent::new(format!("the line {needle:?}"), limit, self));
            }
        }
    }

    /// Asks `question` until it answers: now, and again after each new line. It must be about what a line follows, as the appliance's log
    /// follows each change of a job and each entry of evidence.
    ///
    /// # Errors
    /// [`Silent`] when the answer stayed away for `limit`, or whatever writes the log has ended; the question's own error at once.
    pub fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut question: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let end = Instant::now() + limit;
        loop {
            // Before the question: a line that comes during it may be the one that changes the answer.
            let (mark, ended) = (self.mark(), self.has_ended());
            if let Some(answer) = question().with_context(|| format!("while waiting for {what}"))? {
                return Ok(answer);
            }
            if ended || !self.wait(end, |log| log.lines.len() <= mark && log.sources > 0) {
                return Err(Silent::new(what, limit, self).into());
            }
        }
    }

    /// Waits until nothing more can come: every source has ended.
    ///
    /// # Errors
    /// [`Silent`] when one still runs after `limit`.
    pub fn wait_end(&self, what: &str, limit: Duration) -> Result<(), Silent> {
        match self.wait(Instant::now() + limit, |log| log.sources > 0) {
            true => Ok(()),
            false => Err(Silent::new(what, limit, self)),
        }
    }

    /// Waits for a line behind the first `mark` lines, at most so long: for a display that is drawn again anyway.
    pub fn wait_line(&self, mark: usize, at_most: Duration) {
        self.wait(Instant::now() + at_most, |log| log.lines.len() <= mark);
    }

    /// Waits while the log is as it was; false when it still is at `end`.
    fn wait(&self, end: Instant, as_it_was: impl Fn(&Lines) -> bool) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        let waited = self.shared.1.wait_timeout_while(self.lock(), left, |log| as_it_was(log));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn has_ended(&self) -> bool {
        self.lock().sources == 0
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A console line without escape sequences (ECMA-48) and control characters.
#[must_use]
pub fn plain(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            if chars.next_if_eq(&'[').is_some() {
                // Parameters and intermediates, then one final byte in '@'..='~'.
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            } else {
                chars.next();
            }
        } else if !c.is_control() {
            text.push(c);
        }
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn log() -> (tempfile::TempDir, Log) {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(dir.path().join("log")).unwrap();
        (dir, log)
    }

    #[test]
    fn a_line_that_came_before_the_wait_is_found() {
        let (_dir, log) = log();
        log.feed(&b"one\ntwo\n"[..]).unwrap().join().unwrap();
        assert_eq!(log.wait_for(0, "two", SOON).unwrap().text, "two");
    }

    #[test]
    fn a_line_that_comes_during_the_wait_wakes_it() {
        let (_dir, log) = log();
        let (reader, mut writer) = std::io::pipe().unwrap();
        log.feed(reader).unwrap();
        let waiter = thread::spawn({
            let log = log.clone();
            move || log.wait_for(0, "late", SOON).map(|line| line.text)
        });
        writer.write_all(b"early\nlate\n").unwrap();
        assert_eq!(waiter.join().unwrap().unwrap(), "late");
    }

    #[test]
    fn a_mark_hides_what_came_before() {
        let (_dir, log) = log();
        log.feed(&b"boot\n"[..]).unwrap().join().unwrap();
        let silent = log.wait_for(log.mark(), "boot", Duration::ZERO).unwrap_err().to_string();
        assert!(silent.contains("boot"), "{silent}");
    }

    #[test]
    fn a_line_without_an_end_still_counts_when_the_source_ends() {
        let (_dir, log) = log();
        log.feed(&b"login:"[..]).unwrap().join().unwrap();
        assert_eq!(log.last().unwrap().text, "login:");
    }

    #[test]
    fn escape_sequences_go() {
        assert_eq!(plain("\u{1b}[2J\u{1b}[01;01HBdsDxe: loading\r\n"), "BdsDxe: loading");
        assert_eq!(plain("[\u{1b}[0;32m  OK  \u{1b}[0m] Started"), "[  OK  ] Started");
        assert_eq!(plain("\u{1b}"), "");
        assert_eq!(plain("\u{1b}[12"), "");
    }

    #[test]
    fn a_question_is_asked_again_at_each_line() {
        let (_dir, log) = log();
        let (reader, mut writer) = std::io::pipe().unwrap();
        log.feed(reader).unwrap();
        let mut asked = 0;
        let answer = log.until("the third line", SOON, || {
            asked += 1;
            writer.write_all(b"line\n")?;
            Ok((log.mark() >= 3).then_some(asked))
        });
        assert!((3..=4).contains(&answer.unwrap()), "{asked}");
    }

    #[test]
    fn a_question_without_an_answer_ends_with_the_log_or_the_limit() {
        let (_dir, log) = log();
        let (reader, writer) = std::io::pipe().unwrap();
        let reading = log.feed(reader).unwrap();
        let error = log.until("the moon", Duration::ZERO, || Ok(None::<()>)).unwrap_err().to_string();
        assert!(error.contains("the moon"), "{error}");
        log.wait_end("the end", Duration::ZERO).unwrap_err();
        drop(writer);
        // Far below the limit, or this test would not end.
        let never = Duration::from_secs(1 << 20);
        log.until("the moon", never, || Ok(None::<()>)).unwrap_err();
        log.wait_end("the end", never).unwrap();
        reading.join().unwrap();
    }
}
