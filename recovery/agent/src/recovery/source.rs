//! Chunks over plain HTTP: `POST /v1/frames`, several sources in order of preference, several connections kept alive.
//!
//! Integrity does not depend on who answers: every frame is verified against the signed manifest before it is written. Who is asked,
//! and who is left, is decided in [`super::sources`]. What one source has given it need not give again: the next is asked for the rest.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use images::frames::{FrameError, REQUEST_CHUNKS_MAX, encode_request, read_answer, read_refusal};
use images::restore::{ChunkSource, FrameSink, SourceError};
use images::{ChunkId, Frame};
use recovery_protocol::agent::SourceFacts;

use super::chain;
use super::sources::{Choice, Limits, Sources};

/// How often somebody who waits looks whether the restore was stopped.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where frames come from.
#[derive(Debug)]
pub struct HttpSource<Halted: Fn() -> bool + Sync> {
    sources: Mutex<Sources>,
    limits: Limits,
    http: ureq::Agent,
    halted: Halted,
}

/// How a request ended without all frames.
enum Failure {
    /// It speaks another version of frames, and will as long as this restore lasts.
    OtherVersion(FrameError),
    /// What was sent is not what was asked for.
    Junk(FrameError),
    /// It gives less than it must.
    Slow,
    /// No answer, half an answer, or an answer that says no.
    Silent(Box<dyn std::error::Error + Send + Sync>),
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Transport(source) if TooSlow::is(&source) => Self::Slow,
            FrameError::Transport(source) => Self::Silent(source.into()),
            // A page of something else at that address. It is no lie, and may be an appliance again later.
            error @ FrameError::BadResponse => Self::Silent(error.into()),
            error @ FrameError::OtherVersion { .. } => Self::OtherVersion(error),
            other => Self::Junk(other),
        }
    }
}

/// An HTTP client for manifests and frames: no TLS, nothing followed, nothing waited for longer than it should.
pub fn plain_http(silence: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_connect(Some(silence / 2))
        .timeout_recv_response(Some(silence))
        .timeout_per_read(Some(silence))
        .max_idle_connections_per_host(8)
        .user_agent(concat!("groundstate-agent/", env!("CARGO_PKG_VERSION")))
        .build();
    config.into()
}

/// The error of a [`Watched`] body.
#[derive(Debug, thiserror::Error)]
#[error("it sends less than {} bytes in {:?}", .0.slow_bytes, .0.slow_after)]
struct TooSlow(Limits);

impl TooSlow {
    fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// A body that must arrive at a least rate. Only time that is spent waiting for it counts: a slow disk is not its fault.
pub struct Watched<R> {
    body: R,
    limits: Limits,
    bytes: u64,
    waited: Duration,
    /// Bytes and time at the last look.
    looked: (u64, Duration),
}

impl<R: Read> Watched<R> {
    /// Watches a body.
    pub fn new(body: R, limits: Limits) -> Self {
        Self { body, limits, bytes: 0, waited: Duration::ZERO, looked: (0, Duration::ZERO) }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let begin = Instant::now();
        let len = self.body.read(buf)?;
        self.waited += begin.elapsed();
        self.bytes += len as u64;
        if self.waited - self.looked.1 >= self.limits.slow_after {
            if self.bytes - self.looked.0 < self.limits.slow_bytes && len > 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, TooSlow(self.limits)));
            }
            self.looked = (self.bytes, self.waited);
        }
        Ok(len)
    }
}

impl<Halted: Fn() -> bool + Sync> HttpSource<Halted> {
    /// Asks `urls`, the first one first; gives up as soon as `halted` says so.
    pub fn new(urls: &[String], limits: Limits, halted: Halted) -> Self {
        let sources = Mutex::new(Sources::new(urls, limits));
        Self { sources, limits, http: plain_http(limits.slow_after), halted }
    }

    /// What each source has given, and why those were left that were.
    pub fn facts(&self) -> Vec<SourceFacts> {
        self.sources().facts()
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request; what came is noted, however it ends.
    fn ask(
        &self,
        index: usize,
        ids: &[ChunkId],
        sink: &mut dyn FnMut(ChunkId, Option<Frame>) -> Result<(), FrameError>,
    ) -> Result<(), Failure> {
        let url = self.sources().url(index).to_owned();
        let begin = Instant::now();
        let answer = self
            .http
            .post(&url)
            .content_type("application/octet-stream")
            .send(encode_request(ids).as_slice());
        let mut answer = answer.map_err(|error| Failure::Silent(error.into()))?;
        if answer.status() != 200 {
            if let Some(error) = read_refusal(answer.body_mut().as_reader()) {
                return Err(error.into());
            }
            return Err(Failure::Silent(format!("{url} answered {}", answer.status()).into()));
        }
        let mut body = Watched::new(answer.body_mut().as_reader(), self.limits);
        body.waited = begin.elapsed();
        body.looked.1 = body.waited;
        let (mut frames, mut bytes) = (0, 0);
        let outcome = read_answer(&mut body, ids, |id, frame| {
            let len = frame.as_ref().map(|frame| frame.bytes.len() as u64);
            sink(id, frame).map_err(Failure::from)?;
            if let Some(len) = len {
                (frames, bytes) = (frames + 1, bytes + len);
            }
            Ok(())
        });
        if outcome.is_ok() {
            // To the end of the body, so that the connection is used again. All is here, so what comes now does not matter.
            let _ = body.read(&mut [0]);
        }
        self.sources().gave(index, frames, bytes, body.waited, Instant::now());
        outcome
    }

    /// Fetches at most [`REQUEST_CHUNKS_MAX`] chunks.
    fn fetch_some(&self, ids: &[ChunkId], sink: &mut FrameSink<'_>) -> Result<(), SourceError> {
        let mut taken: HashSet<ChunkId> = HashSet::new();
        let mut absent: HashMap<usize, HashSet<ChunkId>> = HashMap::new();
        let mut heard = Instant::now();
        let mut silent: Option<(String, Box<dyn std::error::Error + Send + Sync>)> = None;
        loop {
            let left: Vec<ChunkId> = ids.iter().filter(|id| !taken.contains(id)).copied().collect();
            if left.is_empty() {
                return Ok(());
            }
            let lacks = |index: &usize, id: &ChunkId| absent.get(index).is_some_and(|ids| ids.contains(id));
            let now = Instant::now();
            let choice = self.sources().choose(now, |index| left.iter().any(|id| !lacks(&index, id)));
            let index = match choice {
                Choice::Ask(index) => index,
                Choice::Nobody => return Err(self.none_left(&absent)),
                Choice::Wait(until) => {
                    if (self.halted)() || heard.elapsed() > self.limits.outage {
                        let (from, source) = silent.unwrap_or_else(halted);
                        return Err(SourceError::Unreachable { from, source });
                    }
                    std::thread::sleep(until.saturating_duration_since(now).min(LOOK_EVERY));
                    continue;
                }
            };
            let wanted: Vec<ChunkId> = left.into_iter().filter(|id| !lacks(&index, id)).collect();
            let outcome = self.ask(index, &wanted, &mut |id, frame| {
                let Some(frame) = frame else {
                    absent.entry(index).or_default().insert(id);
                    return Ok(());
                };
                sink(frame)?;
                taken.insert(id);
                heard = Instant::now();
                Ok(())
            });
            match outcome {
                Ok(()) => self.sources().kept_its_word(index),
                Err(Failure::OtherVersion(error)) => {
                    self.sources().speaks_otherwise(index, error.to_string());
                }
                Err(Failure::Junk(error)) => self.sources().sent_junk(index, chain(&error)),
                Err(Failure::Slow) => self.sources().was_slow(index, chance(), Instant::now()),
                Err(Failure::Silent(error)) => {
                    let mut sources = self.sources();
                    sources.failed(index, chance(), Instant::now());
                    silent = Some((sources.url(index).to_owned(), error));
                }
            }
        }
    }

    /// Asks each in turn for nothing, until one answers as it should, and leaves those that speak another version of frames. One
    /// that is silent is no matter here.
    ///
    /// # Errors
    /// [`SourceError::OtherVersion`] when none is left.
    pub fn check_version(&self) -> Result<(), SourceError> {
        let count = self.sources().facts().len();
        for index in 0..count {
            match self.ask(index, &[], &mut |_, _| Ok(())) {
                Ok(()) => return Ok(()),
                Err(Failure::OtherVersion(error)) => {
                    self.sources().speaks_otherwise(index, error.to_string());
                }
                Err(Failure::Junk(_) | Failure::Slow | Failure::Silent(_)) => {}
            }
        }
        let left = self.facts().iter().all(|facts| facts.left.is_some());
        if left && count > 0 { Err(self.none_left(&HashMap::new())) } else { Ok(()) }
    }

    /// Each has sent junk, speaks otherwise, or lacks what is wanted.
    fn none_left(&self, absent: &HashMap<usize, HashSet<ChunkId>>) -> SourceError {
        let facts = self.facts();
        let why = facts.iter().enumerate().map(|(index, facts)| {
            let lacks = absent.get(&index).and_then(|ids| ids.iter().next());
            match (&facts.left, lacks) {
                (Some(left), _) => format!("{}: {left}", facts.url),
                (None, Some(id)) => format!("{} does not have chunk {id}", facts.url),
                (None, None) => facts.url.clone(),
            }
        });
        let why = why.collect::<Vec<_>>().join("; ");
        match self.sources().any_speaks_otherwise() {
            true => SourceError::OtherVersion { why },
            false => SourceError::NoneLeft { why },
        }
    }
}

fn halted() -> (String, Box<dyn std::error::Error + Send + Sync>) {
    ("the appliance".to_owned(), "the restore was told to stop".into())
}

/// From 0 to 1.
fn chance() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

impl<Halted: Fn() -> bool + Sync> ChunkSource for HttpSource<Halted> {
    fn fetch(&self, ids: &[ChunkId], sink: &mut FrameSink<'_>) -> Result<(), SourceError> {
        for some in ids.chunks(REQUEST_CHUNKS_MAX) {
            if (self.halted)() {
                let (from, source) = halted();
                return Err(SourceError::Unreachable { from, source });
            }
            self.fetch_some(some, sink)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
