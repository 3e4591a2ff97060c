//! Read once and ahead, hash and compress on two workers, hand over in image order. Memory is bounded by the queues.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::{ChunkSink, ImportError, TakesFrames};
use crate::chunker::{Chunker, Piece};
use crate::disk::{AlignedBuf, ReadDisk};
use crate::frames::{Frame, Packer};
use crate::{ChunkId, Content, Digest, Extent};

const WORKERS: usize = 2;
const QUEUE_LEN: usize = 64;
const READ_LEN: u64 = 1 << 20;
/// Reads ahead.
const READS_LEN: usize = 4;
/// Shorter runs of known zeros are read like anything else.
const ZEROS_MIN: u64 = 64 << 10;
/// In which the chunker looks for zeros.
const BLOCK: u64 = 4096;

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportProgress {
    /// Bytes of the disk read; while it is unpacked, of its compressed form.
    pub done: u64,
    /// How many there are.
    pub total: u64,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ImportStats {
    /// Bytes of the disk.
    pub disk_bytes: u64,
    /// Bytes in zero extents.
    pub zero_bytes: u64,
    /// Bytes that no filesystem uses, left out.
    pub free_bytes: u64,
    /// Data extents.
    pub data_extents: u64,
    /// Their bytes.
    pub data_bytes: u64,
    /// Chunks that were not in the store before.
    pub new_chunks: u64,
    /// Bytes that they take in packs.
    pub new_stored_bytes: u64,
}

pub(super) struct Cut {
    pub extents: Vec<Extent>,
    pub root: Digest,
    pub stats: ImportStats,
}

enum Job {
    Chunk(Vec<u8>),
    Zero(u64),
    Free(u64),
}

enum Done {
    /// A chunk that may be new.
    Fresh(Frame),
    /// A chunk that is known already, of this length.
    Known(ChunkId, u64),
    Zero(u64),
    Free(u64),
}

/// Cut the disk and hand its chunks to `sink`, which has them for good then. What is in `free`, ranges in rising order that do not touch, is not read.
pub(super) fn run(
    path: &Path,
    disk: &dyn ReadDisk,
    cuts: &[u64],
    free: &[Range<u64>],
    sink: &dyn ChunkSink,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<Cut, ImportError> {
    let (jobs, jobs_out) = sync_channel::<(u64, Job)>(QUEUE_LEN);
    let (done, done_out) = sync_channel::<(u64, Result<Done, ImportError>)>(QUEUE_LEN);
    let jobs_out = Arc::new(Mutex::new(jobs_out));
    let seen = Mutex::new(HashSet::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (jobs_out, done, seen) = (Arc::clone(&jobs_out), done.clone(), &seen);
            scope.spawn(move || work(&jobs_out, &done, sink, seen));
        }
        // The workers hold the only ends now: when one side stops, the other notices.
        drop((done, jobs_out));
        let collector = scope.spawn(move || collect(done_out, sink.begin()));
        let (reads, reads_out) = sync_channel(READS_LEN);
        let (used, used_out) = sync_channel(READS_LEN + 2);
        scope.spawn(move || read(path, disk, free, &reads, &used_out));
        let root = cut(disk.size(), cuts, reads_out, &used, jobs, progress);
        let collected = collector.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A failed store is the reason why reading stopped, so it is told first.
        let (extents, mut stats) = collected?;
        stats.disk_bytes = disk.size();
        Ok(Cut { extents, root: root?, stats })
    })
}

/// What was read of the disk, in order.
enum Read {
    Bytes(AlignedBuf),
    Zeros(u64),
    Free(u64),
}

/// Read ahead of who hashes and cuts: what a source unpacks takes time of its own.
fn read(
    path: &Path,
    disk: &dyn ReadDisk,
    free: &[Range<u64>],
    reads: &SyncSender<Result<Read, ImportError>>,
    used: &Receiver<AlignedBuf>,
) {
    let total = disk.size();
    let mut free = free.iter().peekable();
    let mut offset = 0;
    while offset < total {
        let next = if let Some(range) = free.next_if(|range| range.start == offset) {
            offset = range.end;
            Ok(Read::Free(range.end - range.start))
        } else {
            let end = free.peek().map_or(total, |range| range.start);
            let known = disk.zeros_at(offset).min(end - offset);
            let zeros_end = (offset + known) / BLOCK * BLOCK;
            if offset.is_multiple_of(BLOCK) && zeros_end >= offset + ZEROS_MIN {
                let len = zeros_end - offset;
                offset = zeros_end;
                Ok(Read::Zeros(len))
            } else {
                // To the next multiple, so that the chunker gets whole blocks.
                let len = (end - offset).min(READ_LEN - offset % READ_LEN) as usize;
                let buf = used.try_recv().ok().filter(|buf| buf.len() == len);
                let mut buf = buf.unwrap_or_else(|| AlignedBuf::new(len));
                let read = disk.read_at(offset, &mut buf);
                let read = read.map_err(|source| ImportError::Read { path: path.to_owned(), offset, source });
                offset += len as u64;
                read.map(|()| Read::Bytes(buf))
            }
        };
        let failed = next.is_err();
        if reads.send(next).is_err() || failed {
            return;
        }
    }
}

fn cut(
    total: u64,
    cuts: &[u64],
    reads: Receiver<Result<Read, ImportError>>,
    used: &SyncSender<AlignedBuf>,
    jobs: SyncSender<(u64, Job)>,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<Digest, ImportError> {
    let mut chunker = Chunker::new(cuts);
    let mut root = blake3::Hasher::new();
    let zeros = [0; 64 << 10];
    let hash_zeros = |root: &mut blake3::Hasher, mut len: u64| {
        while len > 0 {
            let part = len.min(zeros.len() as u64);
            root.update(&zeros[..part as usize]);
            len -= part;
        }
    };
    let (mut done, mut number) = (0, 0);
    for read in reads {
        done += match read? {
            Read::Free(len) => {
                hash_zeros(&mut root, len);
                chunker.skip(len);
                len
            }
            Read::Zeros(len) => {
                hash_zeros(&mut root, len);
                chunker.push_zeros(len);
                len
            }
            Read::Bytes(bytes) => {
                root.update(&bytes);
                chunker.push(&bytes);
                let len = bytes.len() as u64;
                // A reader that has ended wants no more.
                let _ = used.try_send(bytes);
                len
            }
        };
        while let Some(piece) = chunker.next_piece() {
            let job = match piece {
                Piece::Data(data) => Job::Chunk(data),
                Piece::Zero(len) => Job::Zero(len),
                Piece::Free(len) => Job::Free(len),
            };
            if jobs.send((number, job)).is_err() {
                // The other side has failed and says why.
                return Ok(Digest([0; 32]));
            }
            number += 1;
        }
        progress(ImportProgress { done, total });
    }
    Ok(Digest(*root.finalize().as_bytes()))
}

fn work(
    jobs: &Mutex<Receiver<(u64, Job)>>,
    done: &SyncSender<(u64, Result<Done, ImportError>)>,
    sink: &dyn ChunkSink,
    seen: &Mutex<HashSet<ChunkId>>,
) {
    let mut packer = Packer::new();
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, job)) = next else { return };
        let result = match job {
            Job::Zero(len) => Ok(Done::Zero(len)),
            Job::Free(len) => Ok(Done::Free(len)),
            Job::Chunk(plain) => {
                let id = ChunkId::of(&plain);
                let first = seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
                match first && !sink.has(&id) {
                    false => Ok(Done::Known(id, plain.len() as u64)),
                    true => pack(&mut packer, id, &plain).map(Done::Fresh),
                }
            }
        };
        if done.send((number, result)).is_err() {
            return;
        }
    }
}

fn pack(packer: &mut std::io::Result<Packer>, id: ChunkId, plain: &[u8]) -> Result<Frame, ImportError> {
    match packer {
        Ok(packer) => packer.pack(id, plain).map_err(ImportError::Compress),
        Err(error) => Err(ImportError::Compress(std::io::Error::new(error.kind(), error.to_string()))),
    }
}

/// Put results back in order, chunks to whoever takes them, extents into a list.
fn collect(
    done: Receiver<(u64, Result<Done, ImportError>)>,
    mut taker: Box<dyn TakesFrames + Send + '_>,
) -> Result<(Vec<Extent>, ImportStats), ImportError> {
    let (mut extents, mut stats) = (Vec::new(), ImportStats::default());
    let (mut early, mut next, mut offset) = (BTreeMap::new(), 0, 0);
    for (number, result) in done {
        early.insert(number, result?);
        while let Some(result) = early.remove(&next) {
            next += 1;
            let (len, content) = match result {
                Done::Zero(len) => {
                    stats.zero_bytes += len;
                    (len, Content::Zero)
                }
                Done::Free(len) => {
                    stats.free_bytes += len;
                    (len, Content::Any)
                }
                Done::Known(id, len) => (len, Content::Data(id)),
                Done::Fresh(frame) => {
                    let (id, len) = (frame.id, u64::from(frame.raw_len));
                    taker.take(frame)?;
                    (len, Content::Data(id))
                }
            };
            if let Content::Data(_) = content {
                stats.data_extents += 1;
                stats.data_bytes += len;
            }
            extents.push(Extent { offset, len, content });
            offset += len;
        }
    }
    (stats.new_chunks, stats.new_stored_bytes) = taker.finish()?;
    Ok((extents, stats))
}
