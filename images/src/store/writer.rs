//! The writing side: a session that a collection respects, chunks on their way into packs, manifests.
//!
//! A writer relies on chunks that lie in the store before any manifest lists them. So it opens a session, a locked file
//! that the kernel releases when its process ends however that may be, and only then reads which packs are condemned.
//! Chunks in those do not count as present for it. A collection condemns packs first and looks for sessions then; it
//! removes nothing while a session lives that may have relied on one of them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::PoisonError;

use super::pack::{self, PackWriter};
use super::{Store, StoreError, collect, lock_file, manifest_name, write_atomically};
use crate::frames::Frame;
use crate::{ChunkId, ImageId, PackId, SignedManifest};

/// Somebody who writes. Keep one from before the first question whether a chunk is here until the manifest is put.
pub struct StoreWriter<'a> {
    store: &'a Store,
    condemned: HashSet<PackId>,
    session: PathBuf,
    _lock: File,
}

impl Store {
    /// Begin to write.
    pub fn writer(&self) -> Result<StoreWriter<'_>, StoreError> {
        let (session, lock) = pack::create_locked(&self.root.join("sessions"))?;
        let mut writer = StoreWriter { store: self, condemned: HashSet::new(), session, _lock: lock };
        writer.condemned = collect::Condemned::read(self)?.names();
        // What was removed before this session began is condemned no more, and must not be relied on either.
        self.refresh()?;
        Ok(writer)
    }
}

impl<'a> StoreWriter<'a> {
    /// Whether the chunk is here and stays for as long as this writer lives.
    pub fn has(&self, id: &ChunkId) -> bool {
        self.store.index().has_outside(id, &self.condemned)
    }

    /// The store.
    pub fn store(&self) -> &'a Store {
        self.store
    }

    /// Start to add chunks.
    pub fn ingest(&self) -> Ingest<'_> {
        Ingest { writer: self, open: None, pending: HashSet::new() }
    }

    /// How many distinct chunks of these are not here.
    pub fn missing(&self, ids: impl Iterator<Item = ChunkId>) -> Result<HashSet<ChunkId>, StoreError> {
        self.store.refresh()?;
        Ok(ids.filter(|id| !self.has(id)).collect())
    }

    /// Keep a manifest, with all signatures that it and a copy already here have. Every chunk must be here before.
    pub fn put_manifest(&self, signed: &SignedManifest) -> Result<ImageId, StoreError> {
        let manifest = signed.parse()?;
        let image = manifest.id();
        let missing = self.missing(manifest.chunk_ids())?.len();
        if missing > 0 {
            return Err(StoreError::Incomplete { image, missing });
        }
        let root = &self.store.root;
        let _lock = self.store.lock_manifests()?;
        let mut merged = signed.clone();
        match self.store.get_manifest(&image) {
            Ok(known) => {
                let ours: HashSet<_> = signed.signatures.iter().map(|s| s.key).collect();
                known.signatures.into_iter().filter(|s| !ours.contains(&s.key)).for_each(|s| merged.add(s));
            }
            // What cannot be read is replaced; what the disk refuses to show is not.
            Err(StoreError::MissingImage { .. } | StoreError::DamagedManifest { .. }) => {}
            Err(other) => return Err(other),
        }
        write_atomically(
            &root.join("temp"),
            &root.join("manifests"),
            &manifest_name(&image),
            &merged.encode(),
        )?;
        Ok(image)
    }
}

impl Drop for StoreWriter<'_> {
    fn drop(&mut self) {
        // Best effort: an unlocked session counts as ended, and goes when the store is opened next.
        let _ = fs::remove_file(&self.session);
    }
}

impl Store {
    /// One at a time: whoever changes the list of manifests, or what is said about one.
    pub(super) fn lock_manifests(&self) -> Result<File, StoreError> {
        let path = self.root.join("manifests.lock");
        let lock = lock_file(&path)?;
        lock.lock().map_err(StoreError::io("lock", &path))?;
        Ok(lock)
    }
}

/// Chunks on their way into the store. Packs are sealed as they fill, so an import that dies keeps what it has
/// sealed and finds it again when it is repeated; [`Ingest::finish`] seals the last one.
pub struct Ingest<'a> {
    writer: &'a StoreWriter<'a>,
    open: Option<PackWriter>,
    pending: HashSet<ChunkId>,
}

impl Ingest<'_> {
    /// Keep a frame unless its chunk is here already. The caller has made or opened the frame, so its id is right.
    /// Returns the stored bytes added.
    pub fn append(&mut self, frame: &Frame) -> Result<u64, StoreError> {
        if self.writer.has(&frame.id) || !self.pending.insert(frame.id) {
            return Ok(0);
        }
        let mut pack = match self.open.take() {
            Some(pack) => pack,
            None => PackWriter::create(&self.writer.store.root.join("temp"))?,
        };
        pack.append(frame)?;
        let full = pack.written() >= pack::PACK_LEN_TARGET;
        self.open = Some(pack);
        if full {
            self.seal()?;
        }
        Ok(frame.bytes.len() as u64)
    }

    /// Seal the last pack: from now on every appended chunk survives a power cut.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.seal()
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        if let Some(pack) = self.open.take() {
            self.writer.store.adopt(pack, &self.writer.condemned)?;
            self.pending.clear();
        }
        Ok(())
    }
}

impl Store {
    /// Seal a pack under a name that is not condemned, and take it into the index.
    pub(super) fn adopt(&self, pack: PackWriter, condemned: &HashSet<PackId>) -> Result<PackId, StoreError> {
        let (id, entries) = pack.seal(&self.root.join("packs"), condemned)?;
        self.index.write().unwrap_or_else(PoisonError::into_inner).add(id, entries);
        Ok(id)
    }
}
