//! Frames for many endpoints at once: where their bytes lie, so that they go from the page cache to the network without a copy.
//!
//! Who may not wait for a disk is told what is not in the page cache. A frame is hashed when it is first asked for, and again
//! when that was more than a minute ago: sixteen endpoints that restore one image cost one hashing, and rot is seen here, not by
//! them. That a frame is its chunk, each endpoint proves for itself.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::{ReadWriteFlags, preadv2};

use super::pack::Entry;
use super::{Store, evict};
use crate::frames::Encoding;
use crate::{ChunkId, PackId, StoreError};

/// A frame that was hashed within one to two of these is not hashed again.
const HASHED_FOR: Duration = Duration::from_secs(30);

/// Whether a read may wait for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// It may.
    Allowed,
    /// Only what is in memory is read.
    Never,
}

/// Bytes of this many are hashed at a time, from the stack.
const STEP: usize = 64 << 10;

/// Where a frame's stored bytes are.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The pack. It stays readable when the pack is removed.
    pub file: Arc<File>,
    /// Where in it they begin.
    pub at: u64,
    /// How many they are.
    pub len: usize,
    /// How they hold the chunk.
    pub encoding: Encoding,
    /// Length of the plain chunk.
    pub raw_len: u32,
}

/// The chunks that were hashed lately, by when: in this span of [`HASHED_FOR`] or in the one before.
pub(super) struct Hashed(Mutex<Spans>);

struct Spans {
    now: HashSet<(PackId, ChunkId)>,
    /// The packs of `now`.
    packs: HashSet<PackId>,
    before: HashSet<(PackId, ChunkId)>,
    since: Option<Instant>,
}

impl Hashed {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Spans {
            now: HashSet::new(),
            packs: HashSet::new(),
            before: HashSet::new(),
            since: None,
        }))
    }

    /// Of all: packs have been replaced.
    pub(super) fn forget(&self) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (spans.now, spans.before) = (HashSet::new(), HashSet::new());
        spans.packs.clear();
    }

    fn lately(&self, frame: &(PackId, ChunkId), at: Instant) -> bool {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = at.saturating_duration_since(*spans.since.get_or_insert(at));
        if age >= HASHED_FOR {
            let last = std::mem::take(&mut spans.now);
            spans.packs.clear();
            spans.before = if age < HASHED_FOR * 2 { last } else { HashSet::new() };
            spans.since = Some(at);
        }
        spans.now.contains(frame) || spans.before.contains(frame)
    }

    /// True when it is the first of its pack in this span.
    fn note(&self, frame: (PackId, ChunkId)) -> bool {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.now.insert(frame);
        spans.packs.insert(frame.0)
    }
}

impl Store {
    /// Where the stored bytes of a chunk lie, to be sent on; they are in the page cache now. `None` when they have to be waited for.
    ///
    /// # Errors
    /// [`StoreError::MissingChunk`], [`StoreError::DamagedChunk`], or that of the disk.
    pub fn place_frame(
        &self,
        id: &ChunkId,
        now: Instant,
        waiting: Waiting,
    ) -> Result<Option<Placed>, StoreError> {
        let (pack, file, entry) = match waiting {
            Waiting::Allowed => self.place(id)?,
            // To open a pack, or to look for those of other processes, may take its time.
            Waiting::Never => match self.place_at_hand(id) {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let (at, len) = (entry.offset, entry.len as usize);
        let lately = self.hashed.lately(&(pack, *id), now);
        // What was hashed lately is there still if its end is: the system reads and forgets many pages at a time.
        let is_here = lately
            && read(&file, &mut [0], at + len.saturating_sub(1) as u64, Waiting::Never).unwrap_or(false);
        if !is_here {
            let found =
                check(&file, at, len, waiting).map_err(StoreError::io("read", &self.pack_path(&pack)))?;
            match found {
                None => return Ok(None),
                Some(check) if check == entry.check => {
                    if self.hashed.note((pack, *id)) {
                        evict::note_served(&file);
                    }
                }
                Some(_) => return Err(StoreError::DamagedChunk { id: *id, pack }),
            }
        }
        Ok(Some(Placed { file, at, len, encoding: entry.encoding, raw_len: entry.raw_len }))
    }
}

impl Store {
    /// Where a chunk lies, if its pack is open.
    fn place_at_hand(&self, id: &ChunkId) -> Option<(PackId, Arc<File>, Entry)> {
        let (pack, entry) = self.locate(id)?;
        let file = self.files.lock().unwrap_or_else(PoisonError::into_inner).get(&pack).cloned()?;
        Some((pack, file, entry))
    }
}

/// The check of stored bytes, as a pack's entry has it.
fn check(file: &File, at: u64, len: usize, waiting: Waiting) -> io::Result<Option<[u8; 16]>> {
    let (mut hasher, mut part, mut done) = (blake3::Hasher::new(), [0; STEP], 0);
    while done < len {
        let step = STEP.min(len - done);
        if !read(file, &mut part[..step], at + done as u64, waiting)? {
            return Ok(None);
        }
        hasher.update(&part[..step]);
        done += step;
    }
    let mut check = [0; 16];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Ok(Some(check))
}

/// Whether all of it could be read. A file system that cannot say has to be waited for.
fn read(file: &File, out: &mut [u8], at: u64, waiting: Waiting) -> io::Result<bool> {
    if waiting == Waiting::Allowed {
        return file.read_exact_at(out, at).map(|()| true);
    }
    let len = out.len();
    match preadv2(file, &mut [IoSliceMut::new(out)], at, ReadWriteFlags::NOWAIT) {
        Ok(read) => Ok(read == len),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_hashed_is_trusted_for_a_minute_at_most() {
        let (hashed, id) = (Hashed::new(), (PackId(crate::Digest([1; 32])), ChunkId::of(b"frame")));
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert!(!hashed.lately(&id, begin));
        hashed.note(id);
        assert!(
            hashed.lately(&id, after(29)) && hashed.lately(&id, after(31)) && hashed.lately(&id, after(59))
        );
        assert!(!hashed.lately(&id, after(62)));
        hashed.note(id);
        assert!(!hashed.lately(&id, after(200)), "nobody asked for long");
        hashed.note(id);
        hashed.forget();
        assert!(!hashed.lately(&id, after(200)));
    }
}
