//! An image in the store as a disk to read: from any byte, without restoring it.
//!
//! ```text
//!   read_at(offset) ─► extents of the manifest ─► zero, any: zeros
//!                                              └► data: chunk, from the cache or read, decoded and hashed
//! ```
//!
//! The cache holds the plain bytes of the chunks used last. It never hands out bytes that were not hashed.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::Store;
use crate::disk::ReadDisk;
use crate::{ChunkId, Content, Extent, Manifest};

/// Plain bytes that a cache holds at most.
const CACHE_LEN_MAX: usize = 64 << 20;

/// An image in a store, read like a disk that it was restored onto. What the image leaves open reads as zeros.
pub struct StoredDisk<'s> {
    store: &'s Store,
    size: u64,
    extents: Vec<Extent>,
    cache: Mutex<Cache>,
}

impl<'s> StoredDisk<'s> {
    /// The disk of an image. Its chunks are looked for only when they are read.
    pub fn new(store: &'s Store, manifest: &Manifest) -> Self {
        Self::with_cache(store, manifest, CACHE_LEN_MAX)
    }

    fn with_cache(store: &'s Store, manifest: &Manifest, cache_len_max: usize) -> Self {
        Self {
            store,
            size: manifest.header().disk.size,
            extents: manifest.extents().collect(),
            cache: Mutex::new(Cache::new(cache_len_max)),
        }
    }

    /// Every extent in disk order, without gaps.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The extents from the one that holds this byte of the disk on; none behind the end.
    pub fn extents_from(&self, offset: u64) -> &[Extent] {
        let first = self.extents.partition_point(|extent| extent.end() <= offset);
        self.extents.get(first..).unwrap_or_default()
    }

    fn chunk(&self, id: &ChunkId) -> io::Result<Arc<Vec<u8>>> {
        let cache = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plain) = cache().get(id) {
            return Ok(plain);
        }
        // Decoded without the lock: two threads that want the same chunk both decode it, and neither waits.
        let plain = Arc::new(self.store.read_chunk(id).map_err(io::Error::other)?);
        cache().put(*id, Arc::clone(&plain));
        Ok(plain)
    }
}

impl ReadDisk for StoredDisk<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let (mut at, mut rest) = (offset, buf);
        for extent in self.extents_from(offset) {
            if rest.is_empty() {
                return Ok(());
            }
            let len = (extent.end() - at).min(rest.len() as u64) as usize;
            let (part, behind) = rest.split_at_mut(len);
            match extent.content {
                Content::Zero | Content::Any => part.fill(0),
                Content::Data(id) => {
                    let start = (at - extent.offset) as usize;
                    let plain = self.chunk(&id)?;
                    // A chunk that is shorter than its extent is a fault of the manifest, and no reason to panic.
                    let wanted = plain.get(start..start + len).ok_or(io::ErrorKind::InvalidData)?;
                    part.copy_from_slice(wanted);
                }
            }
            at += len as u64;
            rest = behind;
        }
        if rest.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn zeros_at(&self, offset: u64) -> u64 {
        let zeros = self.extents_from(offset).iter().take_while(|e| !super::is_data(e.content)).last();
        zeros.map_or(0, |extent| extent.end() - offset)
    }
}

/// Plain chunks, the ones used last.
struct Cache {
    len_max: usize,
    len: usize,
    uses: u64,
    /// With the number of its last use.
    chunks: HashMap<ChunkId, (u64, Arc<Vec<u8>>)>,
    by_use: BTreeMap<u64, ChunkId>,
}

impl Cache {
    fn new(len_max: usize) -> Self {
        Self { len_max, len: 0, uses: 0, chunks: HashMap::new(), by_use: BTreeMap::new() }
    }

    fn get(&mut self, id: &ChunkId) -> Option<Arc<Vec<u8>>> {
        let (used, plain) = self.chunks.get_mut(id)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, *id);
        Some(Arc::clone(plain))
    }

    fn put(&mut self, id: ChunkId, plain: Arc<Vec<u8>>) {
        if self.get(&id).is_some() {
            return;
        }
        self.uses += 1;
        self.len += plain.len();
        self.by_use.insert(self.uses, id);
        self.chunks.insert(id, (self.uses, plain));
        while self.len > self.len_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.len -= self.chunks.remove(&oldest).map_or(0, |(_, plain)| plain.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{MIB, Plant, noise, request};

    /// Noise, zeros, noise that comes twice, a disk's ragged end.
    fn disk() -> Vec<u8> {
        let (a, b) = (noise(1, MIB as usize), noise(2, 700_000));
        let mut disk = [a.clone(), vec![0; 2 * MIB as usize], b, a].concat();
        disk.resize(6 * MIB as usize, 0);
        disk
    }

    #[test]
    fn every_read_gives_the_bytes_of_the_raw_disk() {
        let (plant, disk) = (Plant::new(), disk());
        let manifest = plant.import_with(&disk, &request()).manifest;
        for cache_len in [0, 1 << 20, CACHE_LEN_MAX] {
            let stored = StoredDisk::with_cache(&plant.store, &manifest, cache_len);
            assert_eq!(stored.size(), disk.len() as u64);
            proptest!(ProptestConfig::with_cases(64), |(at in any::<prop::sample::Index>(), len in 0usize..1_500_000)| {
                let at = at.index(disk.len());
                let len = len.min(disk.len() - at);
                let mut buf = vec![7; len];
                stored.read_at(at as u64, &mut buf).unwrap();
                prop_assert!(buf == disk[at..at + len]);
                let zeros = stored.zeros_at(at as u64) as usize;
                prop_assert!(disk[at..at + zeros].iter().all(|byte| *byte == 0));
            });
            assert!(stored.cache.lock().unwrap().len <= cache_len);
        }
    }

    #[test]
    fn zeros_are_known_without_reading() {
        let plant = Plant::new();
        let manifest = plant.import_with(&disk(), &request()).manifest;
        let stored = StoredDisk::new(&plant.store, &manifest);
        assert!(stored.zeros_at(2 * MIB) >= MIB - 4096);
        assert_eq!(stored.zeros_at(0), 0);
        assert_eq!(stored.zeros_at(stored.size()), 0);
        assert!(stored.cache.lock().unwrap().chunks.is_empty());
    }

    #[test]
    fn what_is_behind_the_end_or_damaged_is_an_error() {
        let plant = Plant::new();
        let manifest = plant.import_with(&disk(), &request()).manifest;
        let stored = StoredDisk::new(&plant.store, &manifest);
        assert!(stored.read_at(stored.size() - 10, &mut [0; 11]).is_err());
        assert!(stored.read_at(u64::MAX, &mut [0; 1]).is_err());
        assert!(stored.read_at(stored.size(), &mut []).is_ok());
        for pack in std::fs::read_dir(plant.store.root().join("packs")).unwrap() {
            let path = pack.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[1000] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
        assert!(stored.read_at(0, &mut [0; 4096]).is_err());
    }
}
