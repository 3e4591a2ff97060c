//! Chromium, driven over its DevTools protocol: what a person's browser makes of the console.
//!
//! ```text
//!   test ── JSON, a NUL after each ──► file descriptor 3 ─ chromium ─ file descriptor 4 ──► reader ─┬► answers by their number
//!                                                                                                └► events by their tab
//! ```
//!
//! The protocol goes over a pipe, so that there is no port to find, no driver beside the browser, and nothing to depend on but JSON. A [`Tab`] is
//! a browser context of its own: cookies, size, language and input of one person at one screen. What stands on a page is found by role and name, as
//! a screen reader finds it (the browser's accessibility tree), never by its markup.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub use tab::{Look, Node, Press, Tab};

mod tab;

/// Debian's browser.
const PROGRAM: &str = "/usr/bin/chromium";
/// For one answer of the browser, on a loaded computer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How long something on a page may take to happen.
pub const LIMIT: Duration = Duration::from_secs(30);
/// How soon it is looked at again when no event told of a change.
const AGAIN: Duration = Duration::from_millis(50);

/// Nothing of the browser's own goes out, and nothing of it asks.
const SWITCHES: &[&str] = &[
    "--remote-debugging-pipe",
    "--headless",
    // A test runs as the superuser of its namespace, where the browser's own sandbox does not start; it opens the console alone.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    // Many people sit before one browser: none of them is in the background.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--lang=en-US",
];

/// A running browser; it ends when dropped.
#[derive(Debug)]
pub struct Chromium {
    child: Child,
    wire: Arc<Wire>,
}

/// The pipe and what came over it.
#[derive(Debug)]
pub(crate) struct Wire {
    out: Mutex<ChildStdin>,
    numbers: AtomicU64,
    heard: Mutex<Heard>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    answers: HashMap<u64, Value>,
    /// By the session of the tab.
    events: HashMap<String, Vec<Value>>,
    gone: bool,
}

impl Chromium {
    /// Starts it with an empty profile in `dir`. Of self-signed certificates it takes the one with this key (SHA-256 of its SPKI) and no other.
    ///
    /// # Errors
    /// When it is not installed or does not answer.
    pub fn start(dir: &Path, spki_sha256: &[u8]) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let log = fs::File::create(dir.join("chromium.log"))?;
        // The browser reads and writes descriptors 3 and 4, which a shell is the plainest way to hand over.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>&2", "sh", PROGRAM]);
        command.args(SWITCHES);
        command.arg(format!("--user-data-dir={}", dir.join("profile").display()));
        command.arg(format!("--ignore-certificate-errors-spki-list={}", STANDARD.encode(spki_sha256)));
        command.arg("about:blank").env("HOME", dir).env("XDG_CONFIG_HOME", dir).env("XDG_CACHE_HOME", dir);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start chromium")?;
        let out = child.stdin.take().context("chromium has no input")?;
        let from = child.stdout.take().context("chromium has no output")?;
        let wire = Arc::new(Wire {
            out: Mutex::new(out),
            numbers: AtomicU64::new(1),
            heard: Mutex::default(),
            bell: Condvar::new(),
        });
        let reader = wire.clone();
        thread::spawn(move || reader.read(from));
        let browser = Self { child, wire };
        browser.wire.call("", "Browser.getVersion", json!({})).with_context(|| {
            format!("chromium does not answer; what it said is in {}", dir.join("chromium.log").display())
        })?;
        Ok(browser)
    }

    pub(crate) fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Asked, it ends its children, too; they hold the profile.
        let _ = self.wire.say("", 0, "Browser.close", &json!({}));
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(5) && matches!(self.child.try_wait(), Ok(None)) {
            thread::park_timeout(AGAIN);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Wire {
    /// One command of the protocol to this tab (`""`: the browser) and its answer.
    pub(crate) fn call(&self, session: &str, method: &str, params: Value) -> Result<Value> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.say(session, number, method, &params)?;
        let begin = Instant::now();
        let mut heard = self.heard();
        loop {
            if let Some(mut answer) = heard.answers.remove(&number) {
                if let Some(error) = answer.get("error") {
                    bail!("{method}: {}", error["message"].as_str().unwrap_or("refused"));
                }
                return Ok(answer["result"].take());
            }
            if heard.gone {
                bail!("{method}: chromium has ended");
            }
            let left = ANSWER_LIMIT.checked_sub(begin.elapsed());
            let left = left.ok_or_else(|| anyhow!("{method}: no answer in {ANSWER_LIMIT:?}"))?;
            heard = self.bell.wait_timeout(heard, left).map_or_else(|e| e.into_inner().0, |(heard, _)| heard);
        }
    }

    fn say(&self, session: &str, number: u64, method: &str, params: &Value) -> Result<()> {
        let mut message = json!({ "id": number, "method": method, "params": params });
        if !session.is_empty() {
            message["sessionId"] = session.into();
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(&bytes).and_then(|()| out.flush()).context("chromium does not listen any more")
    }

    /// How many events there are of this tab: a place to look from.
    pub(crate) fn mark(&self, session: &str) -> usize {
        self.heard().events.get(session).map_or(0, Vec::len)
    }

    /// What happened in this tab since.
    pub(crate) fn events(&self, session: &str, from: usize) -> Vec<Value> {
        let heard = self.heard();
        heard.events.get(session).and_then(|all| all.get(from..)).map_or_else(Vec::new, <[Value]>::to_vec)
    }

    /// Asks again after each event, and from time to time, until there is an answer.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let begin = Instant::now();
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if begin.elapsed() > limit {
                bail!("waited {limit:?} for {what}");
            }
            let heard = self.heard();
            drop(self.bell.wait_timeout(heard, AGAIN));
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, from: ChildStdout) {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while matches!(from.read_until(0, &mut bytes), Ok(length) if length > 0) {
            if let Ok(mut message) =
                serde_json::from_slice::<Value>(bytes.strip_suffix(&[0]).unwrap_or(&bytes))
            {
                let mut heard = self.heard();
                match message["id"].as_u64() {
                    Some(number) => drop(heard.answers.insert(number, message)),
                    None => {
                        let session = message["sessionId"].take().as_str().unwrap_or_default().to_owned();
                        heard.events.entry(session).or_default().push(message);
                    }
                }
                drop(heard);
                self.bell.notify_all();
            }
            bytes.clear();
        }
        self.heard().gone = true;
        self.bell.notify_all();
    }
}
