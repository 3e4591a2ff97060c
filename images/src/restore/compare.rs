//! Reads a disk against the manifest, in parallel, and says what differs. The scan and the read-back are this.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{AlignedBuf, Phase, Progress, ProgressEvent, RestoreError, RestoreTarget};
use crate::{ChunkId, Content, Extent};

/// Read in pieces of at most this many bytes.
const PIECE_LEN: u64 = 1 << 20;
/// Zero extents are compared, and made zero, in blocks of this many bytes.
pub(super) const ZERO_BLOCK: u64 = 64 << 10;
const THREADS: usize = 2;

/// A set of extents of the payload, by index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ExtentSet(Vec<u64>);

impl ExtentSet {
    pub fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    pub fn insert(&mut self, index: usize) {
        let word = index / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (index % 64);
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// What does not hold what the manifest says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// Data extents with other bytes.
    pub wrong: ExtentSet,
    /// Ranges that are not zero and must be, in order, merged.
    pub dirty: Vec<Range<u64>>,
    /// Ranges of wrong extents and dirty ranges that hold something, in order, merged.
    pub other: Vec<Range<u64>>,
    /// First byte of the first difference.
    pub first: Option<u64>,
    /// Bytes in wrong extents and dirty ranges.
    pub bytes: u64,
    /// Bytes compared.
    pub compared: u64,
}

impl Differences {
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// As if each of these extents held something else.
    pub fn all(extents: impl Iterator<Item = (usize, Extent)>) -> Self {
        let mut all = Self::default();
        for (index, extent) in extents {
            let range = extent.offset..extent.offset + extent.len;
            match extent.content {
                Content::Data(_) => all.wrong.insert(index),
                Content::Zero => all.dirty.push(range.clone()),
                Content::Any => continue,
            }
            all.add(range);
        }
        all.finish()
    }

    fn add(&mut self, range: Range<u64>) {
        self.first = Some(self.first.map_or(range.start, |first| first.min(range.start)));
        self.bytes += range.end - range.start;
    }

    fn absorb(&mut self, found: Found) {
        for (index, range, blank) in found.wrong {
            self.wrong.insert(index);
            self.add(range.clone());
            self.other.extend((!blank).then_some(range));
        }
        for range in found.dirty {
            self.add(range.clone());
            self.other.push(range.clone());
            self.dirty.push(range);
        }
        self.compared += found.compared;
    }

    fn finish(mut self) -> Self {
        merge(&mut self.dirty);
        merge(&mut self.other);
        self
    }
}

/// Put ranges in order, and those that touch together.
pub(super) fn merge(ranges: &mut Vec<Range<u64>>) {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let touch = next.start <= last.end;
        if touch {
            last.end = last.end.max(next.end);
        }
        touch
    });
}

/// How to read: which method of the target, and what to call it when it fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Through {
    Cache,
    Medium,
}

impl Through {
    pub fn read(self, target: &dyn RestoreTarget, offset: u64, buf: &mut [u8]) -> Result<(), RestoreError> {
        let len = buf.len() as u64;
        match self {
            Self::Cache => target.read_at(offset, buf).map_err(RestoreError::disk("read", offset, len)),
            Self::Medium => {
                target.reread_at(offset, buf).map_err(RestoreError::disk("read back", offset, len))
            }
        }
    }
}

/// Compare these extents (with their indexes, in disk order) with the disk. `any` extents are not read.
pub(super) fn compare(
    target: &dyn RestoreTarget,
    through: Through,
    extents: impl Iterator<Item = (usize, Extent)> + Send,
    total: u64,
    phase: Phase,
    progress: &Progress<'_>,
) -> Result<Differences, RestoreError> {
    let pieces = Mutex::new(Pieces { extents, waiting: None });
    let result = Mutex::new(Ok(Differences::default()));
    let done = AtomicU64::new(0);
    let work = || {
        let mut buf = AlignedBuf::new(PIECE_LEN as usize + 2 * 4096);
        loop {
            let piece = pieces.lock().unwrap_or_else(PoisonError::into_inner).next_piece();
            if piece.is_empty() {
                return;
            }
            let found = compare_piece(target, through, phase, &piece, &mut buf);
            let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
            match (found, result.as_mut()) {
                (Ok(found), Ok(differences)) => {
                    let done = done.fetch_add(found.compared, Ordering::Relaxed) + found.compared;
                    differences.absorb(found);
                    progress(ProgressEvent { phase, done, total });
                }
                (Err(error), Ok(_)) => *result = Err(error),
                (_, Err(_)) => return,
            }
        }
    };
    std::thread::scope(|scope| {
        (1..THREADS).for_each(|_| {
            scope.spawn(work);
        });
        work();
    });
    result.into_inner().unwrap_or_else(PoisonError::into_inner).map(Differences::finish)
}

/// Cuts the list of extents into gapless pieces that are read at once.
struct Pieces<I> {
    extents: I,
    waiting: Option<(usize, Extent)>,
}

impl<I: Iterator<Item = (usize, Extent)>> Pieces<I> {
    fn next_piece(&mut self) -> Vec<(usize, Extent)> {
        let mut piece: Vec<(usize, Extent)> = Vec::new();
        let mut len = 0;
        while let Some((index, extent)) = self.waiting.take().or_else(|| self.extents.next()) {
            if extent.content == Content::Any {
                continue;
            }
            let gapless = piece.last().is_none_or(|(_, last)| last.end() == extent.offset);
            if !gapless || len >= PIECE_LEN {
                self.waiting = Some((index, extent));
                break;
            }
            let room = PIECE_LEN - len;
            if extent.len <= room {
                len += extent.len;
                piece.push((index, extent));
            } else if extent.content == Content::Zero {
                // Long zero extents are read in pieces as well; these end at whole blocks.
                let end = (extent.offset + room).next_multiple_of(ZERO_BLOCK) - ZERO_BLOCK;
                let (head, rest) = split(extent, end);
                piece.extend(head.map(|head| (index, head)));
                self.waiting = Some((index, rest));
                break;
            } else {
                self.waiting = Some((index, extent));
                break;
            }
        }
        piece
    }
}

fn split(extent: Extent, at: u64) -> (Option<Extent>, Extent) {
    if at <= extent.offset {
        return (None, extent);
    }
    let head = Extent { len: at - extent.offset, ..extent };
    (Some(head), Extent { offset: at, len: extent.end() - at, ..extent })
}

#[derive(Default)]
struct Found {
    /// Index, place, and whether it is zero.
    wrong: Vec<(usize, Range<u64>, bool)>,
    dirty: Vec<Range<u64>>,
    compared: u64,
}

fn compare_piece(
    target: &dyn RestoreTarget,
    through: Through,
    phase: Phase,
    piece: &[(usize, Extent)],
    buf: &mut AlignedBuf,
) -> Result<Found, RestoreError> {
    let sector = u64::from(target.sector_size());
    let (Some((_, first)), Some((_, last))) = (piece.first(), piece.last()) else {
        return Ok(Found::default());
    };
    let start = first.offset - first.offset % sector;
    let end = last.end().next_multiple_of(sector);
    let bytes = &mut buf[..(end - start) as usize];
    through.read(target, start, bytes)?;
    let mut found = Found::default();
    for (index, extent) in piece {
        let at = (extent.offset - start) as usize;
        let held = &bytes[at..at + extent.len as usize];
        match extent.content {
            // Zeros are nearly always zero extents in an image, so a blank disk is not worth hashing: a scan that errs here
            // only has zeros written over zeros. A read-back must not err and hashes everything.
            Content::Data(_) if phase == Phase::Scan && is_zero(held) => {
                found.wrong.push((*index, extent.range(), true));
            }
            Content::Data(id) if ChunkId::of(held) != id => found.wrong.push((*index, extent.range(), false)),
            Content::Zero => found.dirty.extend(dirty_blocks(extent, held)),
            Content::Data(_) | Content::Any => {}
        }
        found.compared += extent.len;
    }
    Ok(found)
}

fn dirty_blocks(extent: &Extent, held: &[u8]) -> Vec<Range<u64>> {
    let mut dirty = Vec::new();
    let mut offset = extent.offset;
    while offset < extent.end() {
        let end = (offset + 1).next_multiple_of(ZERO_BLOCK).min(extent.end());
        if !is_zero(&held[(offset - extent.offset) as usize..(end - extent.offset) as usize]) {
            dirty.push(offset..end);
        }
        offset = end;
    }
    dirty
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // In words that the compiler turns into wide instructions, with an early way out after each block of 256 bytes. Words
    // and not bytes, so that a build without optimization is not twenty times slower.
    let (blocks, rest) = bytes.as_chunks::<256>();
    blocks.iter().all(|block| {
        let (words, _) = block.as_chunks::<16>();
        words.iter().fold(0, |any, word| any | u128::from_ne_bytes(*word)) == 0
    }) && rest.iter().all(|byte| *byte == 0)
}
