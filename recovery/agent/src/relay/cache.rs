//! Verified frames in memory, as they are sent: many endpoints ask for the same image at once, and one reading does for all.
//!
//! Who asks for a frame that is on its way waits for it. It must never: hold more than it may, hand out what its owner has not
//! verified, or let two fetch one chunk at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use images::ChunkId;
use images::frames::{Frame, encode_prefix};

/// A frame as it stands in a response: what stands before its bytes, then they.
pub(super) type Sent = Arc<Vec<u8>>;

/// The frames that were asked for last.
pub(super) struct Cache {
    inner: Mutex<Inner>,
    changed: Condvar,
    bytes_max: usize,
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
}

impl Inner {
    fn touch(&mut self, id: &ChunkId) -> Option<Sent> {
        let (frame, used) = self.frames.get_mut(id)?;
        self.uses += 1;
        self.used.remove(used);
        self.used.insert(self.uses, *id);
        *used = self.uses;
        Some(Arc::clone(frame))
    }
}

/// Chunks that the holder has promised to fetch. What it has not put when it goes is somebody else's to fetch.
pub(super) struct Claim<'c> {
    cache: &'c Cache,
    ids: HashSet<ChunkId>,
}

impl Cache {
    /// At most so many bytes of frames; nobody waits longer than `wait_max` for what another fetches.
    #[must_use]
    pub(super) fn new(bytes_max: usize, wait_max: Duration) -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new(), bytes_max, wait_max }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of `ids` that are neither here nor on their way: the caller is to fetch them.
    pub(super) fn claim(&self, ids: &[ChunkId]) -> Claim<'_> {
        let mut inner = self.inner();
        let fetch = |id: &&ChunkId| !inner.frames.contains_key(*id) && !inner.coming.contains(*id);
        let ids: HashSet<ChunkId> = ids.iter().filter(fetch).copied().collect();
        inner.coming.extend(&ids);
        Claim { cache: self, ids }
    }

    /// The frame, at once or when it has come; `None` when nobody brings it.
    pub(super) fn get(&self, id: &ChunkId) -> Option<Sent> {
        let coming = |inner: &mut Inner| !inner.frames.contains_key(id) && inner.coming.contains(id);
        let waited = self.changed.wait_timeout_while(self.inner(), self.wait_max, coming);
        waited.unwrap_or_else(PoisonError::into_inner).0.touch(id)
    }
}

impl Claim<'_> {
    /// What is to be fetched.
    #[must_use]
    pub(super) fn ids(&self) -> Vec<ChunkId> {
        self.ids.iter().copied().collect()
    }

    /// Keep a frame that was opened and is its chunk.
    pub(super) fn put(&mut self, frame: &Frame) -> Sent {
        let (id, sent): (_, Sent) = (frame.id, Arc::new([&encode_prefix(frame)[..], &frame.bytes].concat()));
        let mut guard = self.cache.inner();
        let inner = &mut *guard;
        inner.coming.remove(&id);
        self.ids.remove(&id);
        inner.uses += 1;
        inner.bytes += sent.len();
        if let Some((old, used)) = inner.frames.insert(id, (Arc::clone(&sent), inner.uses)) {
            inner.bytes -= old.len();
            inner.used.remove(&used);
        }
        inner.used.insert(inner.uses, id);
        while inner.bytes > self.cache.bytes_max {
            let Some((_, oldest)) = inner.used.pop_first() else { break };
            if let Some((gone, _)) = inner.frames.remove(&oldest) {
                inner.bytes -= gone.len();
            }
        }
        drop(guard);
        self.cache.changed.notify_all();
        sent
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
    use images::frames::Packer;

    use super::*;
    use crate::testing::noise;

    fn frame(number: u8) -> Frame {
        let plain = noise(u64::from(number) + 1, 1000);
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
        assert_eq!(*cache.get(&frames[0].id).unwrap(), sent(&frames[0]));
        cache.claim(&[frames[3].id]).put(&frames[3]);
        let here: Vec<bool> = frames.iter().map(|frame| cache.get(&frame.id).is_some()).collect();
        assert_eq!(here, [true, false, true, true]);
        assert!(cache.inner().bytes <= cache.bytes_max && cache.inner().used.len() == 3);
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
}
