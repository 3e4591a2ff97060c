//! Keeping what may show what befell the old system, before anything is written: an exhibit.
//!
//! ```text
//! agent ── starts ──► collector (this program once more; the disk as its input, without leave to write)
//!   ▲ blocks of a tar ◄──────┘   killed when its time is up
//!   └─► the appliance, MiB by MiB, each at its offset ─► Kept: bytes, digests, what was cut and why ─► the restore goes on
//! ```
//!
//! It must never hold a recovery: not past its seconds, not for an appliance that does not take it, not for a disk that does not
//! answer or a filesystem made to break its reader. So what reads the disk is another process, and every wait here has an end.

pub mod collect;
mod tar;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use recovery_protocol::agent::{Activity, RestoreOrder};
use recovery_protocol::exhibit::{CUTS_MOST, Cut, KeepOrder, Kept, KeptSoFar};

use self::collect::Said;
use super::chain;
use super::reporter::Reporter;
use crate::client::{ApiError, Appliance};
use crate::disk::DiskToRead;
use crate::inventory::Disk;

/// The verb of the collector.
pub const VERB: &str = "keep";
/// What is read of it at once.
const BLOCK: usize = 64 << 10;
/// Blocks that wait to be sent.
const WAITING: usize = 16;
/// What is sent at once.
const SEND: usize = 1 << 20;
/// Longest time for that: the appliance gives up who says nothing for two minutes.
const SEND_MOST: Duration = Duration::from_secs(30);
/// Of its time, in hundredths: when the collector is killed. What is left is for sending what it gave.
const KILLED_AT: u32 = 95;
/// What a collector may say on standard error.
const SAID_MOST: u64 = 256 << 10;
/// Longest wait for a word of a collector that has ended.
const LAST_WORD: Duration = Duration::from_millis(500);
/// How often the appliance is told that this goes on.
const TICK: Duration = Duration::from_millis(500);
/// Before bytes are sent once more.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest reason of a cut, in characters.
const WHY_MOST: usize = 300;

/// Keeps what the order says of this disk, sends it, and gives back what came of it. `None`: nothing is ordered.
pub fn run(order: &RestoreOrder, disk: &Disk, reporter: &Reporter<'_>) -> Option<Kept> {
    let keep = order.keep.as_ref()?;
    let (now, why) = (
        "Keeping what may show what befell this system.".to_owned(),
        format!("Nothing is written yet. It takes {} seconds at most.", keep.seconds),
    );
    reporter.show(now, why);
    let start = || {
        let file = DiskToRead::open_shared(disk).map_err(io::Error::other)?.into_file();
        collector(keep, file)
    };
    let (appliance, session) = reporter.line();
    Some(reporter.during(|| Keeping::new(keep, appliance, session, reporter).keep(&start)))
}

/// This program as the collector.
fn collector(order: &KeepOrder, disk: File) -> io::Result<Child> {
    let order = serde_json::to_string(order)?;
    Command::new("/proc/self/exe")
        .args([VERB, &order])
        .stdin(disk)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// One keeping.
struct Keeping<'a> {
    order: &'a KeepOrder,
    appliance: &'a Appliance,
    session: &'a str,
    reporter: &'a Reporter<'a>,
    begun: Instant,
    sha256: ring::digest::Context,
    blake3: blake3::Hasher,
    /// Bytes that the appliance took.
    sent: u64,
    waiting: Vec<u8>,
    cut: Vec<Cut>,
}

impl<'a> Keeping<'a> {
    fn new(
        order: &'a KeepOrder,
        appliance: &'a Appliance,
        session: &'a str,
        reporter: &'a Reporter<'a>,
    ) -> Self {
        Self {
            order,
            appliance,
            session,
            reporter,
            begun: Instant::now(),
            sha256: ring::digest::Context::new(&ring::digest::SHA256),
            blake3: blake3::Hasher::new(),
            sent: 0,
            waiting: Vec::new(),
            cut: Vec::new(),
        }
    }

    fn keep(mut self, start: &dyn Fn() -> io::Result<Child>) -> Kept {
        let said = match start() {
            Ok(mut child) => {
                let said = self.collect(&mut child);
                // Also of one that has ended: then it does nothing. It is reaped with every other child.
                let _ = child.kill();
                let _ = child.try_wait();
                said
            }
            Err(error) => {
                self.cut
                    .push(Cut::new("everything", format!("the collector does not start: {}", chain(&error))));
                Said::default()
            }
        };
        self.cut.extend(said.cut);
        self.cut.truncate(CUTS_MOST);
        for cut in &mut self.cut {
            cut.why = cut.why.chars().filter(|letter| !letter.is_control()).take(WHY_MOST).collect();
            cut.what = cut.what.chars().filter(|letter| !letter.is_control()).take(WHY_MOST).collect();
        }
        Kept {
            bytes: self.sent,
            files: said.files,
            took_ms: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            sha256: hex::encode(self.sha256.finish()),
            blake3: self.blake3.finalize().to_hex().to_string(),
            cut: self.cut,
        }
    }

    fn seconds(&self) -> Duration {
        Duration::from_secs(u64::from(self.order.seconds))
    }

    /// Takes what a collector gives and sends it on, until it ends or its time is up.
    fn collect(&mut self, child: &mut Child) -> Said {
        let killed_at = self.begun + self.seconds() * KILLED_AT / 100;
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Said::default();
        };
        let (blocks, said) = (blocks_of(out), last_word_of(err));
        let mut whole = false;
        while !self.is_stopped() {
            let left = killed_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = format!("its {} seconds were over", self.order.seconds);
                self.cut.push(Cut::new("what was not collected yet", why));
                break;
            }
            match blocks.recv_timeout(left.min(TICK)) {
                Ok(block) => {
                    self.waiting.extend_from_slice(&block);
                    if self.sent + self.waiting.len() as u64 > self.order.bytes {
                        let why = format!("its {} bytes were used up", self.order.bytes);
                        self.cut.push(Cut::new("what was not collected yet", why));
                        self.waiting.truncate(self.order.bytes.saturating_sub(self.sent) as usize);
                        break;
                    }
                    if self.waiting.len() >= SEND && !self.send() {
                        return Said::default();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    whole = true;
                    break;
                }
            }
            self.reporter.progress(
                Activity::Keeping,
                self.sent + self.waiting.len() as u64,
                self.order.bytes,
            );
        }
        if !self.send() || !whole {
            return Said::default();
        }
        let left = (self.begun + self.seconds()).saturating_duration_since(Instant::now());
        let text = said.recv_timeout(LAST_WORD.min(left)).unwrap_or_default();
        let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|_| {
            let why = if line.is_empty() { "it ended without a word" } else { line };
            let cut = Cut::new("what was not collected yet", format!("the collector broke off: {why}"));
            Said { cut: vec![cut], ..Said::default() }
        })
    }

    /// STOP, or a person's cancel, comes with the answer to progress.
    fn is_stopped(&mut self) -> bool {
        let halted = self.reporter.halted();
        if halted {
            self.cut.push(Cut::new("what was not collected yet", "the appliance said to stop"));
        }
        halted
    }

    /// Sends what waits; `false`: the appliance does not take it, and nothing more is sent.
    fn send(&mut self) -> bool {
        let until = self.begun + self.seconds();
        let path = format!("/agent/v1/exhibit?at={}", self.sent);
        while !self.waiting.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = format!("its {} seconds were over", self.order.seconds);
                self.cut.push(Cut::new(format!("{} bytes that were collected", self.waiting.len()), why));
                return false;
            }
            let error =
                match self.appliance.bring_within(&path, self.session, &self.waiting, left.min(SEND_MOST)) {
                    Ok(answer) if is_all(&answer, self.sent + self.waiting.len() as u64) => {
                        self.sha256.update(&self.waiting);
                        self.blake3.update(&self.waiting);
                        self.sent += self.waiting.len() as u64;
                        self.waiting.clear();
                        return true;
                    }
                    Ok(_) => "it answered something else than expected".to_owned(),
                    Err(ApiError::Refused(problem)) if problem.status < 500 || problem.status == 507 => {
                        problem.detail
                    }
                    Err(_) => {
                        std::thread::sleep(PAUSE.min(left));
                        continue;
                    }
                };
            let what = format!("{} bytes that were collected, and all after them", self.waiting.len());
            self.cut.push(Cut::new(what, format!("the appliance does not take them: {error}")));
            return false;
        }
        true
    }
}

fn is_all(answer: &[u8], wanted: u64) -> bool {
    serde_json::from_slice::<KeptSoFar>(answer).is_ok_and(|so_far| so_far.bytes == wanted)
}

/// Reads in a thread of its own, which may wait for ever: a process that hangs in the kernel keeps its pipe.
fn blocks_of(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, receive) = sync_channel(WAITING);
    std::thread::spawn(move || {
        let mut block = vec![0; BLOCK];
        // What is there now: a collector that hangs later gave it.
        while let Ok(len @ 1..) = from.read(&mut block) {
            if send.send(block[..len].to_vec()).is_err() {
                return;
            }
        }
    });
    receive
}

fn last_word_of(mut from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = sync_channel(1);
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = from.by_ref().take(SAID_MOST).read_to_end(&mut text);
        let _ = send.send(String::from_utf8_lossy(&text).into_owned());
        // What else it says has no reader, and must not hold it up.
        let _ = io::copy(&mut from, &mut io::sink());
    });
    receive
}
