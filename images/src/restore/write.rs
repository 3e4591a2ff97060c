//! Poison, then write: the disk stops booting before its first byte changes.
//!
//! Workers take batches of extents in disk order. Each fetches, verifies and writes its own, so network, decoder and
//! disk are busy at once and memory is bounded by workers x batch. Where a run of chunks ends inside a sector, the
//! sector is completed from the disk under one lock; no other write ever touches such a sector.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::boot_region::{self, BootBytes};
use super::compare::Through;
use super::plan::From;
use super::preserve::Kept;
use super::{
    AlignedBuf, ChunkSource, Phase, Progress, ProgressEvent, RestoreError, RestorePlan, RestoreStats,
    RestoreTarget,
};
use crate::frames::{Frame, FrameError, Opener};
use crate::{ChunkId, Content, Extent, Manifest};

const WORKERS: usize = 4;
/// A batch holds at most this many plain bytes, and this many chunks.
const BATCH_LEN: u64 = 4 << 20;
const BATCH_CHUNKS: usize = 256;
/// Ranges are made zero in steps of this many bytes, so that progress shows.
const ZERO_STEP: u64 = 256 << 20;
/// Where zeros are written and not punched, this many bytes at once.
const ZEROS_LEN: u64 = 1 << 20;

/// A disk that does not boot, ready to be written. With nothing to do it is as it was.
pub struct Poisoned<'a> {
    pub(super) plan: RestorePlan<'a>,
    pub(super) target: &'a dyn RestoreTarget,
    pub(super) stats: RestoreStats,
}

/// Everything but the boot region is on the disk; nothing has been proven.
pub struct Written<'a> {
    pub(super) plan: RestorePlan<'a>,
    pub(super) target: &'a dyn RestoreTarget,
    pub(super) source: &'a dyn ChunkSource,
    pub(super) progress: &'a Progress<'a>,
    pub(super) boot: BootBytes,
    /// The disk does not boot, so it may be written.
    pub(super) poisoned: bool,
    pub(super) stats: RestoreStats,
}

impl<'a> Poisoned<'a> {
    pub(super) fn new(plan: RestorePlan<'a>, target: &'a dyn RestoreTarget) -> Result<Self, RestoreError> {
        let (planned, found) = (plan.scan.disk_size, target.size());
        if planned != found {
            return Err(RestoreError::OtherDisk { planned, found });
        }
        let summary = plan.summary();
        let stats = RestoreStats {
            scanned: plan.scan.differences.compared,
            kept: summary.keep_bytes,
            ..Default::default()
        };
        if !plan.is_clean() {
            poison(target, plan.manifest, &plan.scan.kept)?;
        }
        Ok(Self { plan, target, stats })
    }

    /// Fetch, verify and write everything but the boot region, and flush.
    pub fn write(
        mut self,
        source: &'a dyn ChunkSource,
        progress: &'a Progress<'a>,
    ) -> Result<Written<'a>, RestoreError> {
        let boot = match self.plan.scan.boot.take() {
            Some(boot) => boot,
            None => fetch_boot(&self.plan, source, &mut self.stats)?,
        };
        if !self.plan.scan.differences.is_empty() {
            let total = self.plan.scan.differences.bytes;
            let (plan, target) = (&self.plan, self.target);
            let job = Job { plan, target, source, total, progress, punch: true };
            let done = job.run(self.plan.wrong(), &self.plan.scan.differences.dirty)?;
            self.stats.add(done);
            flush(self.target)?;
        }
        let Self { plan, target, stats } = self;
        let poisoned = !plan.is_clean();
        Ok(Written { plan, target, source, progress, boot, poisoned, stats })
    }
}

impl RestoreStats {
    pub(super) fn add(&mut self, other: Self) {
        self.copied += other.copied;
        self.moved += other.moved;
        self.fetched += other.fetched;
        self.fetched_stored += other.fetched_stored;
        self.written += other.written;
        self.zeroed += other.zeroed;
    }
}

/// Zero the boot region: where this image wants it, and where an earlier table may stand on a larger disk. The record of what stays comes
/// first: it takes the place of the table that is lost, and a table of four partitions has no other copy.
///
/// One step is on the medium, and was read from there, before the next begins: all that follows rests on it. First both places where firmware looks for a table, and only
/// then the end of the image, which on a larger disk lies in the middle of what an earlier table describes.
pub(super) fn poison(
    target: &dyn RestoreTarget,
    manifest: &Manifest,
    kept: &Kept,
) -> Result<(), RestoreError> {
    let disk = &manifest.header().disk;
    let end = target.size();
    let zeros = |range: Range<u64>| (range.start, AlignedBuf::new((range.end - range.start) as usize));
    let mut steps: Vec<(u64, AlignedBuf)> = kept.record().into_iter().collect();
    steps.push((0, kept.poisoned_head(disk.head_len)));
    if end > disk.size {
        steps.push(zeros((end - disk.tail_len).max(disk.size)..end));
    }
    // What stays may have grown over the end of the image.
    steps.extend(kept.outside(disk.tail_start()..disk.size).map(zeros));
    for (start, wanted) in steps {
        let len = wanted.len() as u64;
        // Written, not punched: here the bytes must change, whatever the disk makes of a hint.
        let mut held = AlignedBuf::new(wanted.len());
        let mut poisoned = false;
        for _attempt in 0..2 {
            target.write_at(start, &wanted).map_err(RestoreError::disk("write", start, len))?;
            flush(target)?;
            Through::Medium.read(target, start, &mut held)?;
            poisoned = held[..] == wanted[..];
            if poisoned {
                break;
            }
        }
        if !poisoned {
            return Err(RestoreError::ReadBack { offset: start, bytes: len });
        }
    }
    Ok(())
}

pub(super) fn flush(target: &dyn RestoreTarget) -> Result<(), RestoreError> {
    target.flush().map_err(RestoreError::disk("flush", 0, target.size()))
}

fn fetch_boot(
    plan: &RestorePlan<'_>,
    source: &dyn ChunkSource,
    stats: &mut RestoreStats,
) -> Result<BootBytes, RestoreError> {
    let header = plan.manifest.header();
    let mut boot = boot_region::blank(header);
    let extents: Vec<(Extent, ChunkId)> = boot_region::extents(plan.manifest).filter_map(with_id).collect();
    let ids = distinct(extents.iter().map(|(_, id)| *id));
    let mut opener = Opener::new().map_err(RestoreError::Decoder)?;
    let plains = fetch(source, &ids, &mut opener, stats)?;
    for (extent, id) in &extents {
        boot_region::put(header, &mut boot, extent, plain_of(&plains, extent, id)?);
    }
    Ok(boot)
}

pub(super) fn with_id(extent: Extent) -> Option<(Extent, ChunkId)> {
    match extent.content {
        Content::Data(id) => Some((extent, id)),
        Content::Zero | Content::Any => None,
    }
}

pub(super) fn distinct(ids: impl Iterator<Item = ChunkId>) -> Vec<ChunkId> {
    let mut ids: Vec<ChunkId> = ids.collect();
    let mut seen = std::collections::HashSet::with_capacity(ids.len());
    ids.retain(|id| seen.insert(*id));
    ids
}

fn fetch(
    source: &dyn ChunkSource,
    ids: &[ChunkId],
    opener: &mut Opener,
    stats: &mut RestoreStats,
) -> Result<HashMap<ChunkId, Vec<u8>>, RestoreError> {
    let mut plains = HashMap::with_capacity(ids.len());
    if ids.is_empty() {
        return Ok(plains);
    }
    let mut sink = |frame: Frame| -> Result<(), FrameError> {
        let plain = opener.open(&frame)?;
        stats.fetched += plain.len() as u64;
        stats.fetched_stored += frame.bytes.len() as u64;
        plains.insert(frame.id, plain);
        Ok(())
    };
    source.fetch(ids, &mut sink)?;
    Ok(plains)
}

fn plain_of<'p>(
    plains: &'p HashMap<ChunkId, Vec<u8>>,
    extent: &Extent,
    id: &ChunkId,
) -> Result<&'p [u8], RestoreError> {
    let plain = plains.get(id).ok_or(RestoreError::NotDelivered { id: *id })?;
    match plain.len() as u64 == extent.len {
        true => Ok(plain),
        false => Err(RestoreError::ChunkLength { id: *id, expected: extent.len, found: plain.len() as u64 }),
    }
}

/// One pass of writing: these extents, these zeros.
pub(super) struct Job<'j> {
    pub plan: &'j RestorePlan<'j>,
    pub target: &'j dyn RestoreTarget,
    pub source: &'j dyn ChunkSource,
    pub total: u64,
    pub progress: &'j Progress<'j>,
    /// Let the disk make zeros itself; else write them.
    pub punch: bool,
}

/// A chunk that is to be moved, and the bytes that stood in its old place.
type Moving = (ChunkId, Vec<u8>);

enum Task {
    Data(Vec<(Extent, ChunkId)>),
    Zero(Range<u64>),
}

impl Job<'_> {
    /// Do all of it, by several workers; the first error stops them.
    pub fn run(
        &self,
        wrong: impl Iterator<Item = (Extent, ChunkId)> + Send,
        dirty: &[Range<u64>],
    ) -> Result<RestoreStats, RestoreError> {
        let (phase, total) = (Phase::Write, self.total);
        let tasks = Mutex::new(batches(wrong).map(Task::Data).chain(steps(dirty).map(Task::Zero)));
        let result = Mutex::new(Ok(RestoreStats::default()));
        let (edges, stop, done) = (Mutex::new(()), AtomicBool::new(false), AtomicU64::new(0));
        let work = || {
            let mut worker = match Worker::new(self, &edges) {
                Ok(worker) => worker,
                Err(error) => return fail(&result, &stop, error),
            };
            while !stop.load(Ordering::Relaxed) {
                let (task, moving) = {
                    let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
                    let Some(task) = tasks.next() else { break };
                    // Before anybody gets the next task, which may overwrite it.
                    let moving = worker.read_moving(&task);
                    (task, moving)
                };
                match worker.perform(task, moving) {
                    Ok(len) => {
                        let done = done.fetch_add(len, Ordering::Relaxed) + len;
                        (self.progress)(ProgressEvent { phase, done: done.min(total), total });
                    }
                    Err(error) => return fail(&result, &stop, error),
                }
            }
            if let Ok(stats) = result.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                stats.add(worker.stats);
            }
        };
        std::thread::scope(|scope| {
            (1..WORKERS).for_each(|_| {
                scope.spawn(work);
            });
            work();
        });
        result.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fail(result: &Mutex<Result<RestoreStats, RestoreError>>, stop: &AtomicBool, error: RestoreError) {
    stop.store(true, Ordering::Relaxed);
    let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
    if result.is_ok() {
        *result = Err(error);
    }
}

/// Extents that one worker fetches at once, each chunk once: in disk order, also where they come from the end.
pub(super) fn batches(
    mut extents: impl Iterator<Item = (Extent, ChunkId)> + Send,
) -> impl Iterator<Item = Vec<(Extent, ChunkId)>> + Send {
    std::iter::from_fn(move || {
        let (mut batch, mut len) = (Vec::new(), 0);
        while len < BATCH_LEN && batch.len() < BATCH_CHUNKS {
            let Some((extent, id)) = extents.next() else { break };
            len += extent.len;
            batch.push((extent, id));
        }
        batch.sort_unstable_by_key(|(extent, _)| extent.offset);
        (!batch.is_empty()).then_some(batch)
    })
}

fn steps(ranges: &[Range<u64>]) -> impl Iterator<Item = Range<u64>> + Send + '_ {
    ranges.iter().flat_map(|range| {
        let range = range.clone();
        range.clone().step_by(ZERO_STEP as usize).map(move |start| start..(start + ZERO_STEP).min(range.end))
    })
}

fn write_zeros(target: &dyn RestoreTarget, range: &Range<u64>) -> io::Result<()> {
    let zeros = AlignedBuf::new((range.end - range.start).min(ZEROS_LEN) as usize);
    range.clone().step_by(ZEROS_LEN as usize).try_for_each(|start| {
        let len = (range.end - start).min(ZEROS_LEN) as usize;
        target.write_at(start, &zeros[..len])
    })
}

struct Worker<'j> {
    job: &'j Job<'j>,
    edges: &'j Mutex<()>,
    opener: Opener,
    stats: RestoreStats,
}

impl<'j> Worker<'j> {
    fn new(job: &'j Job<'j>, edges: &'j Mutex<()>) -> Result<Self, RestoreError> {
        let opener = Opener::new().map_err(RestoreError::Decoder)?;
        Ok(Self { job, edges, opener, stats: RestoreStats::default() })
    }

    /// Do a task and say how many bytes of the disk it was about.
    fn perform(&mut self, task: Task, moving: Vec<Moving>) -> Result<u64, RestoreError> {
        match task {
            Task::Zero(range) => {
                self.zero(range.clone())?;
                Ok(range.end - range.start)
            }
            Task::Data(batch) => self.write_batch(&batch, moving),
        }
    }

    fn write_batch(&mut self, batch: &[(Extent, ChunkId)], moving: Vec<Moving>) -> Result<u64, RestoreError> {
        let ids = distinct(batch.iter().map(|(_, id)| *id));
        let (mut plains, mut absent) = (HashMap::new(), Vec::new());
        for (id, plain) in moving {
            // What is not there any more is fetched.
            if ChunkId::of(&plain) == id {
                self.stats.moved += plain.len() as u64;
                plains.insert(id, plain);
            }
        }
        for id in ids {
            if plains.contains_key(&id) {
                continue;
            }
            match self.copy(&id, batch)? {
                Some(plain) => drop(plains.insert(id, plain)),
                None => absent.push(id),
            }
        }
        plains.extend(fetch(self.job.source, &absent, &mut self.opener, &mut self.stats)?);
        let mut rest = batch;
        while let Some((first, _)) = rest.first() {
            let gapless = rest.windows(2).take_while(|pair| pair[0].0.end() == pair[1].0.offset).count();
            let (run, later) = rest.split_at(gapless + 1);
            let len: u64 = run.iter().map(|(extent, _)| extent.len).sum();
            let lead = first.offset % 4096;
            let mut buf = AlignedBuf::new((lead + len) as usize);
            let mut at = lead as usize;
            for (extent, id) in run {
                let plain = plain_of(&plains, extent, id)?;
                buf[at..at + plain.len()].copy_from_slice(plain);
                at += plain.len();
            }
            self.write_run(first.offset, &buf[lead as usize..])?;
            rest = later;
        }
        Ok(batch.iter().map(|(extent, _)| extent.len).sum())
    }

    /// The chunk from elsewhere on the disk, if it stands there and still hashes to its id.
    fn copy(&mut self, id: &ChunkId, batch: &[(Extent, ChunkId)]) -> Result<Option<Vec<u8>>, RestoreError> {
        let Some((extent, _)) = batch.iter().find(|(_, other)| other == id) else { return Ok(None) };
        let From::Copy(offset) = self.job.plan.from(extent, id) else { return Ok(None) };
        let plain = self.read(offset, extent.len)?;
        if ChunkId::of(&plain) != *id {
            return Ok(None);
        }
        self.stats.copied += extent.len;
        Ok(Some(plain))
    }

    /// What a task moves, as the disk has it now. What cannot be read is left out, and fetched.
    fn read_moving(&self, task: &Task) -> Vec<Moving> {
        let Task::Data(batch) = task else { return Vec::new() };
        let mut seen = std::collections::HashSet::new();
        let moving = batch.iter().filter_map(|(extent, id)| match self.job.plan.from(extent, id) {
            From::Move(offset) if seen.insert(*id) => Some((*id, self.read(offset, extent.len).ok()?)),
            _ => None,
        });
        moving.collect()
    }

    fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, RestoreError> {
        let sector = u64::from(self.job.target.sector_size());
        let start = offset - offset % sector;
        let end = (offset + len).next_multiple_of(sector);
        let mut buf = AlignedBuf::new((end - start) as usize);
        Through::Cache.read(self.job.target, start, &mut buf)?;
        let at = (offset - start) as usize;
        Ok(buf[at..at + len as usize].to_vec())
    }

    /// Write bytes at any offset: whole sectors as they are, the edges completed from the disk.
    /// `bytes` lies in memory as far from an alignment boundary as `offset` from a sector's.
    fn write_run(&mut self, offset: u64, bytes: &[u8]) -> Result<(), RestoreError> {
        let (body, end) = self.whole_sectors(offset, offset + bytes.len() as u64);
        let slice =
            |range: Range<u64>| &bytes[(range.start - offset) as usize..(range.end - offset) as usize];
        if body.is_empty() {
            return self.merge(offset, bytes);
        }
        self.merge(offset, slice(offset..body.start))?;
        let whole = slice(body.clone());
        let len = whole.len() as u64;
        self.job.target.write_at(body.start, whole).map_err(RestoreError::disk("write", body.start, len))?;
        self.stats.written += len;
        self.merge(body.end, slice(body.end..end))
    }

    fn zero(&mut self, range: Range<u64>) -> Result<(), RestoreError> {
        let (body, end) = self.whole_sectors(range.start, range.end);
        let zeros = |len: u64| vec![0; len as usize];
        if body.is_empty() {
            return self.merge(range.start, &zeros(end - range.start));
        }
        self.merge(range.start, &zeros(body.start - range.start))?;
        let len = body.end - body.start;
        match self.job.punch {
            true => self.job.target.zero(body.clone()),
            false => write_zeros(self.job.target, &body),
        }
        .map_err(RestoreError::disk("zero", body.start, len))?;
        self.stats.zeroed += len;
        self.merge(body.end, &zeros(end - body.end))
    }

    /// The whole sectors within a range, and its end.
    fn whole_sectors(&self, start: u64, end: u64) -> (Range<u64>, u64) {
        let sector = u64::from(self.job.target.sector_size());
        (start.next_multiple_of(sector)..end - end % sector, end)
    }

    /// Put a few bytes into sectors that hold others, too.
    fn merge(&mut self, offset: u64, bytes: &[u8]) -> Result<(), RestoreError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let target = self.job.target;
        let sector = u64::from(target.sector_size());
        let start = offset - offset % sector;
        let end = (offset + bytes.len() as u64).next_multiple_of(sector);
        let mut buf = AlignedBuf::new((end - start) as usize);
        let _one_at_a_time = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
        Through::Cache.read(target, start, &mut buf)?;
        let at = (offset - start) as usize;
        buf[at..at + bytes.len()].copy_from_slice(bytes);
        let len = end - start;
        target.write_at(start, &buf).map_err(RestoreError::disk("write", start, len))?;
        self.stats.written += len;
        Ok(())
    }
}
