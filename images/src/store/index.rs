//! Which packs hold a chunk: a map in memory, made from the footers of the packs and so never out of step with them.
//!
//! About 80 bytes a chunk, so 80 MB for 128 GiB of distinct data at 128 KiB a chunk. A chunk that lies in more than one
//! pack (two writers at once, or a pack that was rewritten and is not yet removed) is found in each.

use std::collections::{HashMap, HashSet};

use super::pack::Entry;
use crate::frames::Encoding;
use crate::{ChunkId, PackId};

/// An entry without its chunk's name, which is the key of the map.
#[derive(Debug, Clone, Copy)]
struct Slot {
    pack: u32,
    offset: u32,
    /// The top bit says zstd; a plain chunk has at most 512 KiB.
    raw_len: u32,
    len: u32,
    check: [u8; 16],
}

const ZSTD: u32 = 1 << 31;

impl Slot {
    fn new(pack: u32, entry: &Entry) -> Self {
        let zstd = if entry.encoding == Encoding::Zstd { ZSTD } else { 0 };
        // A pack's length fits 32 bits: `pack::read_footer` refuses a longer one.
        let (offset, raw_len) = (entry.offset as u32, entry.raw_len | zstd);
        Self { pack, offset, raw_len, len: entry.len, check: entry.check }
    }

    fn entry(&self, id: ChunkId) -> Entry {
        Entry {
            id,
            check: self.check,
            encoding: if self.raw_len & ZSTD == 0 { Encoding::Raw } else { Encoding::Zstd },
            raw_len: self.raw_len & !ZSTD,
            len: self.len,
            offset: u64::from(self.offset),
        }
    }
}

/// The map.
#[derive(Debug, Default)]
pub struct Index {
    packs: Vec<PackId>,
    known: HashMap<PackId, u32>,
    chunks: HashMap<ChunkId, Slot>,
    /// Further places of chunks that lie in several packs.
    also: HashMap<ChunkId, Vec<Slot>>,
}

impl Index {
    /// Whether the entries of this pack are in.
    pub fn knows(&self, pack: &PackId) -> bool {
        self.known.contains_key(pack)
    }

    /// The packs that are in.
    pub fn packs(&self) -> impl Iterator<Item = PackId> + '_ {
        self.known.keys().copied()
    }

    /// Take in the entries of a pack.
    pub fn add(&mut self, pack: PackId, entries: Vec<Entry>) {
        if self.knows(&pack) {
            return;
        }
        let number = self.packs.len() as u32;
        self.packs.push(pack);
        self.known.insert(pack, number);
        for entry in entries {
            let slot = Slot::new(number, &entry);
            match self.chunks.entry(entry.id) {
                std::collections::hash_map::Entry::Vacant(place) => drop(place.insert(slot)),
                std::collections::hash_map::Entry::Occupied(_) => {
                    self.also.entry(entry.id).or_default().push(slot);
                }
            }
        }
    }

    /// Forget packs that are gone.
    pub fn forget(&mut self, gone: &HashSet<PackId>) {
        let numbers: HashSet<u32> = gone.iter().filter_map(|pack| self.known.remove(pack)).collect();
        if numbers.is_empty() {
            return;
        }
        self.also.retain(|_, slots| {
            slots.retain(|slot| !numbers.contains(&slot.pack));
            !slots.is_empty()
        });
        let also = &mut self.also;
        self.chunks.retain(|id, slot| {
            if !numbers.contains(&slot.pack) {
                return true;
            }
            let Some(others) = also.get_mut(id) else { return false };
            let Some(other) = others.pop() else { return false };
            *slot = other;
            true
        });
        self.also.retain(|_, slots| !slots.is_empty());
    }

    /// A place where a chunk lies.
    pub fn find(&self, id: &ChunkId) -> Option<(PackId, Entry)> {
        let slot = self.chunks.get(id)?;
        Some((self.packs[slot.pack as usize], slot.entry(*id)))
    }

    /// Whether a chunk lies in a pack that is not one of `but`.
    pub fn has_outside(&self, id: &ChunkId, but: &HashSet<PackId>) -> bool {
        let outside = |slot: &Slot| !but.contains(&self.packs[slot.pack as usize]);
        self.chunks.get(id).is_some_and(|slot| but.is_empty() || outside(slot))
            || self.also.get(id).is_some_and(|slots| slots.iter().any(outside))
    }

    /// Number of packs and of distinct chunks.
    pub fn counts(&self) -> (usize, usize) {
        (self.known.len(), self.chunks.len())
    }
}
