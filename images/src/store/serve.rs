//! Frames for many endpoints at once, into the buffer that goes out.
//!
//! What is in the page cache is read on the spot; for anything else the caller goes where it may wait. A frame is hashed when it is
//! first read, and again when that was more than a minute ago: sixteen endpoints that restore one image cost one hashing, and rot is
//! seen here, not by them. That a frame is its chunk, each endpoint proves for itself.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::{ReadWriteFlags, preadv2};

use super::{Store, pack};
use crate::frames::Encoding;
use crate::{ChunkId, StoreError};

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

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// Its stored bytes are the first `len` of the buffer.
    Stored {
        /// How they hold the chunk.
        encoding: Encoding,
        /// Length of the plain chunk.
        raw_len: u32,
        /// Length of the stored bytes.
        len: usize,
    },
    /// The buffer is too short for it, and may have anything in it.
    NoRoom,
    /// It has to be waited for; the buffer may have anything in it.
    NotInMemory,
}

/// The chunks that were hashed lately, by when: in this span of [`HASHED_FOR`] or in the one before.
pub(super) struct Hashed(Mutex<Spans>);

struct Spans {
    now: HashSet<ChunkId>,
    before: HashSet<ChunkId>,
    since: Instant,
}

impl Hashed {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Spans { now: HashSet::new(), before: HashSet::new(), since: Instant::now() }))
    }

    /// Of all: packs have been replaced.
    pub(super) fn forget(&self) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (spans.now, spans.before) = (HashSet::new(), HashSet::new());
    }

    fn lately(&self, id: &ChunkId, at: Instant) -> bool {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = at.saturating_duration_since(spans.since);
        if age >= HASHED_FOR {
            let last = std::mem::take(&mut spans.now);
            spans.before = if age < HASHED_FOR * 2 { last } else { HashSet::new() };
            spans.since = at;
        }
        spans.now.contains(id) || spans.before.contains(id)
    }

    fn note(&self, id: ChunkId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now.insert(id);
    }
}

impl Store {
    /// Put the stored bytes of a chunk at the start of `out`, to be sent on.
    ///
    /// # Errors
    /// [`StoreError::MissingChunk`], [`StoreError::DamagedChunk`], or that of the disk; `out` may have anything in it then.
    pub fn place_frame(&self, id: &ChunkId, out: &mut [u8], waiting: Waiting) -> Result<Placed, StoreError> {
        // To look for packs of other processes means to read a directory.
        if waiting == Waiting::Never && self.locate(id).is_none() {
            return Ok(Placed::NotInMemory);
        }
        let (pack, file, entry) = self.place(id)?;
        let Some(out) = out.get_mut(..entry.len as usize) else { return Ok(Placed::NoRoom) };
        let read = match waiting {
            Waiting::Never => read_in_memory(&file, out, entry.offset),
            Waiting::Allowed => file.read_exact_at(out, entry.offset).map(|()| true),
        };
        if !read.map_err(StoreError::io("read", &self.pack_path(&pack)))? {
            return Ok(Placed::NotInMemory);
        }
        if !self.hashed.lately(id, Instant::now()) {
            if pack::check_of(out) != entry.check {
                return Err(StoreError::DamagedChunk { id: *id, pack });
            }
            self.hashed.note(*id);
        }
        Ok(Placed::Stored { encoding: entry.encoding, raw_len: entry.raw_len, len: out.len() })
    }
}

/// Whether all of it could be read without waiting. A file system that cannot say always waits.
fn read_in_memory(file: &File, out: &mut [u8], at: u64) -> io::Result<bool> {
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
        let (hashed, id) = (Hashed::new(), ChunkId::of(b"frame"));
        let begin = hashed.0.lock().unwrap().since;
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
