//! Verified frames in memory, as they are sent: many endpoints ask for the same image at once, and one reading does for all.
//!
//! Who asks for a frame that is on its way waits for it. It must never: hold more than it may, hand out what its owner has not
//! verified, or let two fetch one chunk at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Frame, encode_prefix};
use crate::ChunkId;

/// A frame as it stands in a response: what stands before its bytes, then they.
pub type Sent = Arc<Vec<u8>>;

/// As long as none of so many frames in turn was asked for twice, somebody asks alone: then so small a part of the memory is used,
/// which the processor's own caches hold.
const SHARED_FOR: u32 = 256;
const ALONE: usize = 16;

/// Buffers that wait to be filled again, at most, and the step of their lengths.
const SPARE_MAX: usize = 32;
const BUFFER_STEP: usize = 64 << 10;

/// The frames that were asked for last.
pub struct Cache {
    inner: Mutex<Inner>,
    changed: Condvar,
    bytes_max: usize,
    /// The part of it that is used as long as somebody asks alone.
    alone: usize,
    wait_max: Duration,
}

#[derive(Default)]
struct Inner {
    frames: HashMap<ChunkId, (Sent, u64)>,
    /// By the number of their last use.
    used: BTreeMap<u64, ChunkId>,
    uses: u64,
    bytes: usize,
    coming: HashSet<ChunkId>,
    /// How many frames may still be fetched until it is forgotten that one was found here.
    shared: u32,
    /// Of frames that went: to be filled again, since new memory costs as much as reading does.
    spare: Vec<Vec<u8>>,
}

impl Inner {
    fn touch(&mut self, id: &ChunkId) -> Option<Sent> {
        let (frame, used) = self.frames.get_mut(id)?;
        self.shared = SHARED_FOR;
        self.uses += 1;
        self.used.remove(used);
        self.used.insert(self.uses, *id);
        *used = self.uses;
        Some(Arc::clone(frame))
    }
}

/// Chunks that the holder has promised to fetch. What it has not put when it goes is somebody else's to fetch.
pub struct Claim<'c> {
    cache: &'c Cache,
    ids: HashSet<ChunkId>,
}

impl Cache {
    /// At most so many bytes of frames; nobody waits longer than `wait_max` for what another fetches.
    #[must_use]
    pub fn new(bytes_max: usize, wait_max: Duration) -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new(), bytes_max, alone: 1, wait_max }
    }

    /// The same, for who can read a frame again at little cost: memory beyond the processor's own caches is used when more than
    /// one ask for the same frames, since to fill it costs as much as to read.
    #[must_use]
    pub fn small_for_one(self) -> Self {
        Self { alone: ALONE, ..self }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of `ids` that are neither here nor on their way: the caller is to fetch them.
    pub fn claim(&self, ids: &[ChunkId]) -> Claim<'_> {
        let mut inner = self.inner();
        let fetch = |id: &&ChunkId| !inner.frames.contains_key(*id) && !inner.coming.contains(*id);
        let ids: HashSet<ChunkId> = ids.iter().filter(fetch).copied().collect();
        inner.coming.extend(&ids);
        Claim { cache: self, ids }
    }

    /// The frame, if it is here.
    pub fn here(&self, id: &ChunkId) -> Option<Sent> {
        self.inner().touch(id)
    }

    /// The frame, at once or when it has come; `None` when nobody brings it.
    pub fn get(&self, id: &ChunkId) -> Option<Sent> {
        let coming = |inner: &mut Inner| !inner.frames.contains_key(id) && inner.coming.contains(id);
        let waited = self.changed.wait_timeout_while(self.inner(), self.wait_max, coming);
        waited.unwrap_or_else(PoisonError::into_inner).0.touch(id)
    }

    /// The frame from memory, or what `fetch` makes of a buffer with anything in it that has room for `len` bytes: verified,
    /// and as it is sent. Who asks for it meanwhile waits.
    pub fn get_or<E>(
        &self,
        id: &ChunkId,
        len: usize,
        fetch: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, E>,
    ) -> Result<Sent, E> {
        if let Some(sent) = self.get(id) {
            return Ok(sent);
        }
        let mut claim = self.claim(&[*id]);
        if claim.ids.is_empty()
            && let Some(sent) = self.get(id)
        {
            return Ok(sent);
        }
        let sent = Arc::new(fetch(self.buffer(len))?);
        claim.keep(*id, Arc::clone(&sent));
        Ok(sent)
    }
}

impl Cache {
    /// A buffer with room for `len` bytes, and for not much more.
    fn buffer(&self, len: usize) -> Vec<u8> {
        let capacity = len.next_multiple_of(BUFFER_STEP);
        let mut inner = self.inner();
        let fits = inner.spare.iter().position(|spare| (len..=capacity).contains(&spare.capacity()));
        match fits {
            Some(at) => inner.spare.swap_remove(at),
            None => Vec::with_capacity(capacity),
        }
    }
}

impl Claim<'_> {
    /// What is to be fetched.
    #[must_use]
    pub fn ids(&self) -> Vec<ChunkId> {
        self.ids.iter().copied().collect()
    }

    /// Keep a frame that was opened and is its chunk.
    pub fn put(&mut self, frame: &Frame) -> Sent {
        let sent: Sent = Arc::new([&encode_prefix(frame)[..], &frame.bytes].concat());
        self.keep(frame.id, Arc::clone(&sent));
        sent
    }

    fn keep(&mut self, id: ChunkId, sent: Sent) {
        let mut guard = self.cache.inner();
        let inner = &mut *guard;
        inner.coming.remove(&id);
        self.ids.remove(&id);
        inner.uses += 1;
        inner.shared = inner.shared.saturating_sub(1);
        inner.bytes += sent.len();
        if let Some((old, used)) = inner.frames.insert(id, (sent, inner.uses)) {
            inner.bytes -= old.len();
            inner.used.remove(&used);
        }
        inner.used.insert(inner.uses, id);
        let alone = if inner.shared == 0 { self.cache.alone } else { 1 };
        while inner.bytes > self.cache.bytes_max / alone {
            let Some((_, oldest)) = inner.used.pop_first() else { break };
            if let Some((gone, _)) = inner.frames.remove(&oldest) {
                inner.bytes -= gone.len();
                // Somebody may still be sending it.
                let buffer = Arc::into_inner(gone).filter(|_| inner.spare.len() < SPARE_MAX);
                inner.spare.extend(buffer);
            }
        }
        drop(guard);
        self.cache.changed.notify_all();
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.ids.is_empty() {
            return;
        }
        let mut inner = self.cache.inner();
        self.ids.iter().for_each(|id| {
            inner.coming.remove(id);
        });
        drop(inner);
        self.cache.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::Packer;
    use super::*;

    fn frame(number: u8) -> Frame {
        let plain = crate::testing::noise(u64::from(number) + 1, 1000);
        Packer::new().unwrap().pack(ChunkId::of(&plain), &plain).unwrap()
    }

    fn sent(frame: &Frame) -> Vec<u8> {
        [&encode_prefix(frame)[..], &frame.bytes].concat()
    }

    #[test]
    fn the_frame_that_was_not_used_longest_goes_first() {
        let frames: Vec<_> = (0..4).map(frame).collect();
        let cache = Cache::new(sent(&frames[0]).len() * 3 + 10, Duration::from_secs(5));
        for frame in &frames[..3] {
            cache.claim(&[frame.id]).put(frame);
        }
        assert_eq!(*cache.here(&frames[0].id).unwrap(), sent(&frames[0]));
        cache.claim(&[frames[3].id]).put(&frames[3]);
        let here: Vec<bool> = frames.iter().map(|frame| cache.here(&frame.id).is_some()).collect();
        assert_eq!(here, [true, false, true, true]);
        assert!(cache.inner().bytes <= cache.bytes_max && cache.inner().used.len() == 3);
    }

    #[test]
    fn one_that_asks_alone_gets_a_small_part_of_the_memory() {
        let cache = Cache::new(1041 * 32, Duration::from_secs(5)).small_for_one();
        let put = |number: u8| drop(cache.claim(&[frame(number).id]).put(&frame(number)));
        (0..8).for_each(put);
        assert_eq!(cache.inner().frames.len(), 2);
        assert!(cache.here(&frame(7).id).is_some(), "somebody else asks for the same");
        (8..40).for_each(put);
        assert_eq!(cache.inner().frames.len(), 32);
    }

    #[test]
    fn the_buffer_of_a_frame_that_went_is_filled_again_unless_it_is_being_sent() {
        let cache = Cache::new(2500, Duration::from_secs(5));
        let read = |number: u8| {
            let frame = frame(number);
            cache.get_or(&frame.id, 1041, |mut buffer| {
                buffer.clear();
                buffer.extend(sent(&frame));
                Ok::<_, ()>(buffer)
            })
        };
        let place = |sent: &Sent| sent.as_ptr();
        let first = place(&read(0).unwrap());
        let held = read(1).unwrap();
        let _ = (read(2).unwrap(), read(3).unwrap(), read(4).unwrap());
        let places: Vec<_> = (5..9).map(|number| place(&read(number).unwrap())).collect();
        assert!(places.contains(&first) && !places.contains(&place(&held)));
        assert_eq!(*held, sent(&frame(1)));
    }

    #[test]
    fn what_one_fetches_the_others_wait_for_and_what_it_drops_is_free_again() {
        let (cache, one, two) = (Cache::new(1 << 20, Duration::from_secs(30)), frame(1), frame(2));
        let mut first = cache.claim(&[one.id, two.id]);
        assert_eq!(first.ids().len(), 2);
        assert!(cache.claim(&[one.id, two.id]).ids().is_empty(), "it is on its way");
        std::thread::scope(|scope| {
            let cache = &cache;
            let wait = |id: ChunkId| scope.spawn(move || cache.get(&id));
            let (gets_one, gets_two) = (wait(one.id), wait(two.id));
            first.put(&one);
            drop(first);
            assert_eq!(*gets_one.join().unwrap().unwrap(), sent(&one));
            assert_eq!(gets_two.join().unwrap(), None, "nobody brings it");
        });
        assert_eq!(cache.claim(&[two.id]).ids(), [two.id]);
    }

    #[test]
    fn many_that_ask_for_one_frame_cost_one_reading_and_a_failed_one_is_tried_by_the_next() {
        let (cache, one, reads) =
            (Cache::new(1 << 20, Duration::from_secs(30)), frame(1), AtomicUsize::new(0));
        let failed = cache.get_or(&one.id, 9, |_| Err::<Vec<u8>, _>("rotten"));
        assert_eq!(failed, Err("rotten"));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let read = |_| {
                        reads.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, ()>(sent(&one))
                    };
                    assert_eq!(*cache.get_or(&one.id, 9, read).unwrap(), sent(&one));
                });
            }
        });
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }
}
