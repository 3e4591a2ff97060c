//! One capture, from an order to an image in the appliance's store. The disk is opened to be read, and only so.
//!
//! ```text
//! disk chosen by the order, opened without leave to write ─► read as an import reads it ─► chunks: which are not there? ─► frames
//!   ─► manifest ─► Captured ─► reboot
//! ```
//!
//! Chunks of the image before are taken for there without a question: the appliance keeps a manifest only when it has every
//! chunk. If it has not, what was said of the image before was wrong, and the disk is read once more without it.
//!
//! It must never write to a disk, or hold more than some tens of MiB of it in memory.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use images::disk::ReadDisk;
use images::import::{ChunkSink, ImportError, ImportProgress, Imported, TakesFrames, read_disk};
use images::{ChunkId, Frame, ImportRequest, SignedManifest, frames};
use recovery_protocol::agent::{Activity, CaptureOrder, CaptureTaken, Captured, Reported};
use recovery_protocol::job::HoldReason;

use super::reporter::Reporter;
use super::source::{Watched, plain_http};
use super::sources::Limits;
use super::{Refusal, Stop, chain, restore};
use crate::client::{ApiError, Appliance};
use crate::disk::DiskToRead;

/// Frames for which the appliance is asked at once whether it has them: so many, or of so many bytes.
const ASK: (usize, usize) = (512, 16 << 20);
/// Frames that are sent at once, at most: the appliance makes a pack of them.
const SEND_MAX: usize = 48 << 20;
/// Over a line whose speed is not known yet, and over one that is slower than any.
const SEND_FIRST: usize = 8 << 20;
const SEND_MIN: usize = 1 << 20;
/// So long an upload is to take: the appliance gives an endpoint up from which it hears nothing for minutes.
const SEND_FOR: Duration = Duration::from_secs(30);
/// An appliance that does not answer for this long is given up.
const OUTAGE_MAX: Duration = Duration::from_secs(10 * 60);
/// Pause before it is asked again.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest manifest of the image before.
const KNOWN_LEN_MAX: u64 = 96 << 20;
/// The appliance's store has no room (RFC 4918, section 11.5).
const INSUFFICIENT_STORAGE: u16 = 507;

/// Reads the endpoint's disk into the appliance's store.
///
/// # Errors
/// [`Stop`] says whether it was refused here (and why), stopped by the appliance, or is to be begun again.
pub fn run(
    order: &CaptureOrder,
    appliance: &Appliance,
    session: &str,
    reporter: &Reporter<'_>,
) -> Result<(), Stop> {
    let disk = restore::wait_for_disk(&order.disk)?;
    let target = DiskToRead::open(&disk).map_err(|error| Refusal::from(&error))?;
    capture(order, &disk.node, &target, appliance, session, reporter)
}

/// The capture itself, of any disk.
pub(super) fn capture(
    order: &CaptureOrder,
    path: &Path,
    disk: &dyn ReadDisk,
    appliance: &Appliance,
    session: &str,
    reporter: &Reporter<'_>,
) -> Result<(), Stop> {
    let mut upload = Upload {
        appliance,
        session,
        known: known(&order.known_urls),
        stop: Mutex::default(),
        halted: &|| reporter.halted(),
        sent: Mutex::default(),
    };
    let read = |upload: &Upload<'_>| -> Result<Imported, Stop> {
        let mut progress = |at: ImportProgress| reporter.progress(Activity::Capturing, at.done, at.total);
        let read = reporter.during(|| read_disk(path, disk, &request(order), upload, &mut progress));
        read.map_err(|error| {
            let stopped = upload.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
            reporter.take_stop().or(stopped).unwrap_or_else(|| refused(&error).into())
        })
    };
    let mut imported = read(&upload)?;
    let keep = |upload: &Upload<'_>, imported: &Imported| {
        let signed = SignedManifest::unsigned(&imported.manifest).encode();
        upload.until_answered("/agent/v1/capture/manifest", &signed).map(drop)
    };
    match keep(&upload, &imported) {
        Err(Stop::Refused(Refusal { reason: HoldReason::CaptureRefused, .. }))
            if !upload.known.is_empty() && !reporter.halted() =>
        {
            upload.known.clear();
            imported = read(&upload)?;
            keep(&upload, &imported)?;
        }
        kept => kept?,
    }
    let sent_bytes = *upload.sent.lock().unwrap_or_else(PoisonError::into_inner);
    reporter.milestone(Reported::Captured {
        image: imported.manifest.id(),
        captured: captured(&imported, sent_bytes),
    })
}

fn request(order: &CaptureOrder) -> ImportRequest {
    let spec = &order.image;
    ImportRequest {
        name: spec.name.clone(),
        version: spec.version.clone(),
        epoch: spec.epoch,
        arch: std::env::consts::ARCH.to_owned(),
        hardware_class: spec.hardware_class.clone(),
        note: spec.note.clone(),
        created_unix_ms: spec.created_unix_ms,
        previous: spec.previous,
        keep_free_space: spec.keep_free_space,
        preserve: spec.preserve.clone(),
        ..ImportRequest::default()
    }
}

fn captured(imported: &Imported, sent_bytes: u64) -> Captured {
    let stats = imported.stats;
    Captured {
        disk_bytes: stats.disk_bytes,
        data_bytes: stats.data_bytes,
        free_bytes: stats.free_bytes,
        new_chunks: stats.new_chunks,
        sent_bytes,
        warnings: imported.warnings.iter().map(ToString::to_string).collect(),
    }
}

/// A disk that cannot be read is the endpoint's fault, one that cannot be understood is named.
fn refused(error: &ImportError) -> Refusal {
    let reason = match error {
        ImportError::Read { .. } => HoldReason::DiskFailed,
        _ => HoldReason::CaptureRefused,
    };
    Refusal::new(reason, chain(error))
}

/// The chunks of the image before, as far as they can be had: a hint that saves sending, and nothing that is believed.
fn known(urls: &[String]) -> HashSet<ChunkId> {
    let limits = Limits::USUAL;
    let http = plain_http(limits.slow_after);
    let chunks = |url: &String| {
        let mut answer = http.get(url).call().ok().filter(|answer| answer.status() == 200)?;
        let body = answer.body_mut().with_config().limit(KNOWN_LEN_MAX).reader();
        let mut bytes = Vec::new();
        Watched::new(body, limits).read_to_end(&mut bytes).ok()?;
        Some(SignedManifest::decode(&bytes).ok()?.parse().ok()?.chunk_ids().collect())
    };
    urls.iter().find_map(chunks).unwrap_or_default()
}

/// The appliance's store, as an import sees it.
struct Upload<'a> {
    appliance: &'a Appliance,
    session: &'a str,
    known: HashSet<ChunkId>,
    /// Why nothing more is sent.
    stop: Mutex<Option<Stop>>,
    halted: &'a (dyn Fn() -> bool + Sync),
    sent: Mutex<u64>,
}

impl Upload<'_> {
    /// Says it until there is an answer. What was taken may be said again.
    fn until_answered(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, Stop> {
        let begun = Instant::now();
        loop {
            let error = match self.appliance.bring(path, self.session, body) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match error {
                ApiError::Refused(problem) if problem.status == INSUFFICIENT_STORAGE => {
                    return Err(Refusal::new(HoldReason::CaptureRefused, problem.detail).into());
                }
                ApiError::Refused(problem) if problem.status == 401 => return Err(Stop::NotKnown(problem)),
                ApiError::Refused(problem) if problem.status < 500 => {
                    return Err(Refusal::new(HoldReason::CaptureRefused, problem.detail).into());
                }
                other if begun.elapsed() > OUTAGE_MAX || (self.halted)() => {
                    return Err(Refusal::new(HoldReason::Stalled, chain(&other)).into());
                }
                _ => std::thread::sleep(PAUSE),
            }
        }
    }

    fn say(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, ImportError> {
        self.until_answered(path, body).map_err(|stop| {
            let why = format!("{stop:?}");
            *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop);
            ImportError::NotTaken(why.into())
        })
    }
}

impl ChunkSink for Upload<'_> {
    fn has(&self, id: &ChunkId) -> bool {
        self.known.contains(id)
    }

    fn begin(&self) -> Box<dyn TakesFrames + Send + '_> {
        Box::new(Batch {
            upload: self,
            asked: Vec::new(),
            ready: Vec::new(),
            at_once: SEND_FIRST,
            taken: CaptureTaken::default(),
        })
    }
}

/// Frames on their way: first the question, then those that are not there.
struct Batch<'a> {
    upload: &'a Upload<'a>,
    asked: Vec<Frame>,
    ready: Vec<Frame>,
    /// Bytes that are sent at once.
    at_once: usize,
    taken: CaptureTaken,
}

fn is_full(frames: &[Frame], (count, bytes): (usize, usize)) -> bool {
    frames.len() >= count || frames.iter().map(|frame| frame.bytes.len()).sum::<usize>() >= bytes
}

/// How much to send next, where this much took so long.
fn at_once(len: usize, took: Duration) -> usize {
    let per_second = len as f64 / took.as_secs_f64().max(0.001);
    ((per_second * SEND_FOR.as_secs_f64()) as usize).clamp(SEND_MIN, SEND_MAX)
}

impl Batch<'_> {
    fn ask(&mut self) -> Result<(), ImportError> {
        if self.asked.is_empty() {
            return Ok(());
        }
        let ids: Vec<ChunkId> = self.asked.iter().map(|frame| frame.id).collect();
        let answer = self.upload.say("/agent/v1/capture/missing", &frames::encode_request(&ids))?;
        let missing = frames::decode_request(&answer).map_err(|error| ImportError::NotTaken(error.into()))?;
        let missing: HashSet<ChunkId> = missing.into_iter().collect();
        for frame in self.asked.drain(..).filter(|frame| missing.contains(&frame.id)).collect::<Vec<_>>() {
            self.ready.push(frame);
            if is_full(&self.ready, (frames::REQUEST_CHUNKS_MAX, self.at_once)) {
                self.send()?;
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), ImportError> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let body = frames::encode_upload(&self.ready);
        self.ready.clear();
        let begun = Instant::now();
        let answer = self.upload.say("/agent/v1/capture/frames", &body)?;
        self.at_once = at_once(body.len(), begun.elapsed());
        let taken: CaptureTaken =
            serde_json::from_slice(&answer).map_err(|error| ImportError::NotTaken(error.into()))?;
        self.taken.chunks += taken.chunks;
        self.taken.stored_bytes += taken.stored_bytes;
        *self.upload.sent.lock().unwrap_or_else(PoisonError::into_inner) += body.len() as u64;
        Ok(())
    }
}

impl TakesFrames for Batch<'_> {
    fn take(&mut self, frame: Frame) -> Result<(), ImportError> {
        if (self.upload.halted)() {
            return Err(ImportError::NotTaken("the appliance said to stop".into()));
        }
        self.asked.push(frame);
        if is_full(&self.asked, ASK) { self.ask() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<(u64, u64), ImportError> {
        self.ask()?;
        self.send()?;
        Ok((self.taken.chunks, self.taken.stored_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_as_large_as_the_line_takes_in_half_a_minute() {
        assert_eq!(at_once(8 << 20, Duration::from_secs(1)), SEND_MAX);
        assert_eq!(at_once(8 << 20, Duration::from_secs(60)), 4 << 20);
        assert_eq!(at_once(1 << 20, Duration::from_secs(300)), SEND_MIN);
        // A line that takes 0.1 MiB a second is heard of in time from the first upload on.
        assert!(SEND_FIRST as u64 / 100_000 < 120);
    }
}
