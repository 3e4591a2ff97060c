//! Chunks over plain HTTP: `POST /v1/frames`, several sources in order of preference, several connections kept alive.
//!
//! Integrity does not depend on who answers: every frame is verified against the signed manifest before it is written. A
//! source that does not answer is asked again with growing pauses; one that gives a wrong frame is left for the next,
//! and when all gave wrong ones the restore stops: a bad digest is not a matter of patience.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use images::ChunkId;
use images::frames::{FrameError, REQUEST_CHUNKS_MAX, encode_request, read_response};
use images::restore::{ChunkSource, FrameSink, SourceError};

/// No byte for this long: the source is left.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// No chunk from any source for this long: the restore stops. Long enough to plug a cable back in.
const OUTAGE_MAX: Duration = Duration::from_secs(10 * 60);
/// Pause before a source is asked again: first, and longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// Where frames come from.
#[derive(Debug)]
pub struct HttpSource<'a, Halted: Fn() -> bool + Sync> {
    urls: &'a [String],
    http: ureq::Agent,
    /// The source that answered last.
    preferred: AtomicUsize,
    halted: Halted,
    outage_max: Duration,
}

/// How a request ended without all frames.
enum Failure {
    /// Frames that are not what was asked for.
    Refused(FrameError),
    /// No answer, half an answer, or an answer that says no.
    Silent(Box<dyn std::error::Error + Send + Sync>),
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Transport(source) => Self::Silent(source.into()),
            other => Self::Refused(other),
        }
    }
}

/// An HTTP client for manifests and frames: no TLS, nothing followed, nothing waited for longer than it should.
pub fn plain_http() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_connect(Some(Duration::from_secs(5)))
        .timeout_recv_response(Some(SILENCE_MAX))
        .timeout_per_read(Some(SILENCE_MAX))
        .max_idle_connections_per_host(8)
        .user_agent(concat!("groundstate-agent/", env!("CARGO_PKG_VERSION")))
        .build();
    config.into()
}

impl<'a, Halted: Fn() -> bool + Sync> HttpSource<'a, Halted> {
    /// Asks `urls`, the first one first; gives up as soon as `halted` says so.
    pub fn new(urls: &'a [String], halted: Halted) -> Self {
        Self { urls, http: plain_http(), preferred: AtomicUsize::new(0), halted, outage_max: OUTAGE_MAX }
    }

    fn ask(&self, url: &str, ids: &[ChunkId], sink: &mut FrameSink<'_>) -> Result<(), Failure> {
        let answer =
            self.http.post(url).content_type("application/octet-stream").send(encode_request(ids).as_slice());
        let mut answer = answer.map_err(|error| Failure::Silent(error.into()))?;
        if answer.status() != 200 {
            return Err(Failure::Silent(format!("{url} answered {}", answer.status()).into()));
        }
        read_response(answer.body_mut().as_reader(), ids, |frame| sink(frame).map_err(Failure::from))
    }

    /// Fetches at most [`REQUEST_CHUNKS_MAX`] chunks.
    fn fetch_some(&self, ids: &[ChunkId], sink: &mut FrameSink<'_>) -> Result<(), SourceError> {
        let mut taken: HashSet<ChunkId> = HashSet::new();
        let (mut refusals, mut pause, mut heard) = (0, PAUSE.0, Instant::now());
        loop {
            let at = self.preferred.load(Ordering::Relaxed);
            let from = || self.urls.get(at % self.urls.len().max(1)).cloned().unwrap_or_default();
            let wanted: Vec<ChunkId> = ids.iter().filter(|id| !taken.contains(id)).copied().collect();
            let before = taken.len();
            let mut counted = |frame: images::Frame| {
                let id = frame.id;
                sink(frame)?;
                taken.insert(id);
                Ok(())
            };
            let failure = match self.ask(&from(), &wanted, &mut counted) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            // Another thread may have moved on already.
            let _ = self.preferred.compare_exchange(at, at + 1, Ordering::Relaxed, Ordering::Relaxed);
            if taken.len() > before {
                (refusals, pause, heard) = (0, PAUSE.0, Instant::now());
            }
            match failure {
                Failure::Refused(source) => {
                    refusals += 1;
                    if refusals >= self.urls.len() {
                        return Err(SourceError::Refused { from: from(), source });
                    }
                }
                Failure::Silent(source) => {
                    if (self.halted)() || heard.elapsed() > self.outage_max {
                        return Err(SourceError::Unreachable { from: from(), source });
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }
}

impl<Halted: Fn() -> bool + Sync> ChunkSource for HttpSource<'_, Halted> {
    fn fetch(&self, ids: &[ChunkId], sink: &mut FrameSink<'_>) -> Result<(), SourceError> {
        for some in ids.chunks(REQUEST_CHUNKS_MAX) {
            if (self.halted)() {
                let source = "the restore was told to stop".into();
                return Err(SourceError::Unreachable { from: "the appliance".to_owned(), source });
            }
            self.fetch_some(some, sink)?;
        }
        Ok(())
    }
}
