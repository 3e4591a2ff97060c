//! Which pack holds a chunk: a map in memory, made from the footers of the packs and so never out of step with them.
//!
//! About 100 bytes a chunk, so 100 MB for 128 GiB of distinct data at 128 KiB a chunk. A store beyond that wants the
//! map on disk; it would stand behind this same interface.

use std::collections::{HashMap, HashSet};

use super::pack::Entry;
use crate::{ChunkId, PackId};

/// The map.
#[derive(Debug, Default)]
pub struct Index {
    packs: Vec<PackId>,
    known: HashSet<PackId>,
    chunks: HashMap<ChunkId, (u32, Entry)>,
}

impl Index {
    /// Whether the entries of this pack are in.
    pub fn knows(&self, pack: &PackId) -> bool {
        self.known.contains(pack)
    }

    /// Take in the entries of a pack. The first pack that has a chunk keeps it.
    pub fn add(&mut self, pack: PackId, entries: Vec<Entry>) {
        if self.known.insert(pack) {
            let number = self.packs.len() as u32;
            self.packs.push(pack);
            for entry in entries {
                self.chunks.entry(entry.id).or_insert((number, entry));
            }
        }
    }

    /// Where a chunk lies.
    pub fn find(&self, id: &ChunkId) -> Option<(PackId, Entry)> {
        let (pack, entry) = self.chunks.get(id)?;
        Some((self.packs[*pack as usize], *entry))
    }

    /// Number of packs and of distinct chunks.
    pub fn counts(&self) -> (usize, usize) {
        (self.packs.len(), self.chunks.len())
    }
}
