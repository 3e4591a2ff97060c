//! Whole packs: which ones an image lies in, and their files as they are, for whoever carries them elsewhere.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;

use nix::fcntl::OFlag;

use super::{Store, StoreError, pack};
use crate::{ChunkId, PackId};

impl Store {
    /// The packs that hold these chunks, in the order in which they are first needed.
    pub(crate) fn packs_of(&self, ids: impl Iterator<Item = ChunkId>) -> Result<Vec<PackId>, StoreError> {
        let (mut seen, mut packs) = (HashSet::new(), Vec::new());
        for id in ids {
            let (pack, _) = self.locate_fresh(&id)?.ok_or(StoreError::MissingChunk { id })?;
            if seen.insert(pack) {
                packs.push(pack);
            }
        }
        Ok(packs)
    }

    /// The length of a pack's file.
    pub(crate) fn pack_len(&self, id: &PackId) -> Result<u64, StoreError> {
        let path = self.pack_path(id);
        fs::metadata(&path).map(|meta| meta.len()).map_err(StoreError::io("read", &path))
    }

    /// The last bytes of a pack's file, at most `len`.
    pub(crate) fn pack_end(&self, id: &PackId, len: usize) -> Result<Vec<u8>, StoreError> {
        let path = self.pack_path(id);
        let read = || {
            let file = pack::open(&path, OFlag::empty())?;
            let whole = file.metadata()?.len();
            let mut end = vec![0; len.min(usize::try_from(whole).unwrap_or(len))];
            let at = whole - end.len() as u64;
            file.read_exact_at(&mut end, at)?;
            Ok(end)
        };
        read().map_err(StoreError::io("read", &path))
    }

    /// A pack's file, hashed as it was read.
    pub(crate) fn read_pack(&self, id: &PackId) -> Result<Vec<u8>, StoreError> {
        let path = self.pack_path(id);
        let mut bytes = Vec::new();
        pack::open(&path, OFlag::empty())
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(StoreError::io("read", &path))?;
        match PackId::of_file(&bytes) == *id {
            true => Ok(bytes),
            false => Err(StoreError::DamagedPack { path, what: "it does not hash to its name" }),
        }
    }
}
