//! Chunks that the disk still holds where it is about to be overwritten: an image that was built anew has most of its files in
//! other places, and what the disk has need not travel.
//!
//! What the comparison found to be other bytes is read once more, and cut as an import cuts it; content between two cuts is cut the
//! same wherever it lies. A chunk can be moved as long as its old place has not been written, so the order of writing decides what
//! is lost: both directions are tried on paper, and the better one is taken (the frontier rule of RAUC, with a choice).
//!
//! Nothing rests on it: what is moved is hashed again when it is read, and fetched when it is not what it was.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::compare::Through;
use super::write::batches;
use super::{AlignedBuf, Phase, Progress, ProgressEvent, RestoreError, RestoreTarget};
use crate::chunker::{Chunker, Piece};
use crate::{ChunkId, Extent};

/// Ranges are searched in parts of this many bytes, by two threads.
const PART: u64 = 32 << 20;
/// So far a part reads on, so that no chunk is cut in two by its end: two of the longest.
const OVERLAP: u64 = 1 << 20;
const READ_LEN: u64 = 1 << 20;
const THREADS: usize = 2;
/// After so many bytes of which not one in a hundred is wanted, nothing more is looked for: a disk of somebody else's, or ransomed.
const PATIENCE: u64 = 256 << 20;
const ONE_IN: u64 = 100;
/// Parts that could not be read, after which no more is looked for.
const FAILURES_MAX: u64 = 3;
/// With more wrong extents than this nothing is moved: what is moved stands in memory.
pub(super) const EXTENTS_MAX: usize = 250_000;

/// Wanted chunks, and the first and the last place where each was found.
pub(super) type Seeds = HashMap<ChunkId, (u64, u64)>;

/// Take in another place of a chunk.
pub(super) fn found(seeds: &mut Seeds, id: ChunkId, at: u64) {
    let places = seeds.entry(id).or_insert((at, at));
    *places = (places.0.min(at), places.1.max(at));
}

/// Look for chunks in these ranges of a disk.
pub(super) fn search(
    target: &dyn RestoreTarget,
    ranges: &[Range<u64>],
    wanted: &HashSet<ChunkId>,
    progress: &Progress<'_>,
) -> Seeds {
    if wanted.is_empty() {
        return Seeds::new();
    }
    let total = ranges.iter().map(|range| range.end - range.start).sum();
    let parts = Mutex::new(ranges.iter().flat_map(parts));
    let seeds = Mutex::new(Seeds::new());
    let (read, hits, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let Some(part) = parts.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
            let len = (part.end - part.start).min(PART);
            let Ok(some) = search_part(target, part, wanted) else {
                // What cannot be read need not be: it is overwritten. A disk that says so slowly is not asked often.
                if failed.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX {
                    stop.store(true, Ordering::Relaxed);
                }
                continue;
            };
            let hit: u64 = some.iter().map(|(_, _, len)| len).sum();
            let mut seeds = seeds.lock().unwrap_or_else(PoisonError::into_inner);
            some.into_iter().for_each(|(id, at, _)| found(&mut seeds, id, at));
            let hits = hits.fetch_add(hit, Ordering::Relaxed) + hit;
            let read = read.fetch_add(len, Ordering::Relaxed) + len;
            progress(ProgressEvent { phase: Phase::Search, done: read, total });
            if read > PATIENCE && hits < read / ONE_IN {
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        (1..THREADS).for_each(|_| {
            scope.spawn(work);
        });
        work();
    });
    seeds.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn parts(range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let range = range.clone();
    range.clone().step_by(PART as usize).map(move |start| start..(start + PART + OVERLAP).min(range.end))
}

fn search_part(
    target: &dyn RestoreTarget,
    part: Range<u64>,
    wanted: &HashSet<ChunkId>,
) -> Result<Vec<(ChunkId, u64, u64)>, RestoreError> {
    let sector = u64::from(target.sector_size());
    let mut buf = AlignedBuf::new((READ_LEN + 2 * sector) as usize);
    let (mut chunker, mut at, mut some) =
        (Chunker::starting_at(part.start, &[part.end]), part.start, Vec::new());
    for start in part.clone().step_by(READ_LEN as usize) {
        let end = (start + READ_LEN).min(part.end);
        let (from, to) = (start - start % sector, end.next_multiple_of(sector));
        let bytes = &mut buf[..(to - from) as usize];
        Through::Cache.read(target, from, bytes)?;
        chunker.push(&bytes[(start - from) as usize..(end - from) as usize]);
        while let Some(piece) = chunker.next_piece() {
            at += match piece {
                Piece::Data(bytes) => {
                    let (id, len) = (ChunkId::of(&bytes), bytes.len() as u64);
                    if wanted.contains(&id) {
                        some.push((id, at, len));
                    }
                    len
                }
                Piece::Zero(len) | Piece::Free(len) => len,
            };
        }
    }
    Ok(some)
}

/// In which order the disk is written, and what is moved on it meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Moves {
    /// From the end to the start.
    pub descending: bool,
    /// By the offset of an extent: where its chunk stands until that is overwritten.
    from: HashMap<u64, u64>,
}

impl Moves {
    /// For these wrong extents in disk order; chunks that stand right elsewhere (`kept`) need no moving.
    pub fn plan(wrong: &[(Extent, ChunkId)], seeds: &Seeds, kept: &dyn Fn(&ChunkId) -> bool) -> Self {
        if seeds.is_empty() || wrong.len() > EXTENTS_MAX {
            return Self::default();
        }
        let [up, down] = [false, true].map(|descending| Self::tried(wrong, seeds, kept, descending));
        match down.1 > up.1 {
            true => down.0,
            false => up.0,
        }
    }

    /// Written in this direction: what can be moved, and how many bytes.
    fn tried(
        wrong: &[(Extent, ChunkId)],
        seeds: &Seeds,
        kept: &dyn Fn(&ChunkId) -> bool,
        descending: bool,
    ) -> (Self, u64) {
        let (mut from, mut bytes) = (HashMap::new(), 0);
        // A batch reads what it moves before any batch behind it is begun: its own extents are whole then, and all that come later.
        let whole = |at: u64, len: u64, batch: &[(Extent, ChunkId)]| {
            let first = wrong.partition_point(|(extent, _)| extent.end() <= at);
            let mut touched = wrong[first..].iter().take_while(|(extent, _)| extent.offset < at + len);
            let (start, end) =
                (batch.first().map_or(0, |b| b.0.offset), batch.last().map_or(0, |b| b.0.end()));
            touched.all(|(extent, _)| if descending { extent.end() <= end } else { extent.offset >= start })
        };
        for batch in batches(in_order(wrong.iter().copied(), descending)) {
            for (extent, id) in &batch {
                let Some(&(lowest, highest)) = seeds.get(id).filter(|_| !kept(id)) else { continue };
                let best = if descending { [lowest, highest] } else { [highest, lowest] };
                if let Some(at) = best.into_iter().find(|at| whole(*at, extent.len, &batch)) {
                    from.insert(extent.offset, at);
                    bytes += extent.len;
                }
            }
        }
        (Self { descending, from }, bytes)
    }

    /// Where the chunk of the extent at this offset stands until it is overwritten.
    pub fn from(&self, extent: &Extent) -> Option<u64> {
        self.from.get(&extent.offset).copied()
    }
}

/// Extents in the order of writing.
pub(super) fn in_order<'e, I>(
    extents: I,
    descending: bool,
) -> Box<dyn Iterator<Item = (Extent, ChunkId)> + Send + 'e>
where
    I: DoubleEndedIterator<Item = (Extent, ChunkId)> + Send + 'e,
{
    if descending { Box::new(extents.rev()) } else { Box::new(extents) }
}
