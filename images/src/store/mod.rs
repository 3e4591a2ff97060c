//! The store: golden images and their chunks in a local directory.
//!
//! ```text
//!   <root>/format                  "groundstate store 1"
//!   <root>/packs/<pack id>.pack    immutable packs of frames
//!   <root>/manifests/<image>.gsi   signed manifests; replaced whole when a signature is added
//!   <root>/deleted/<image>.gsi     manifests of deleted images, until a collection takes them
//!   <root>/evicted/<image>.gsi     manifests of images that an eviction is about to remove; they stand in the depot
//!   <root>/keep/<image>.json       retention and legal hold
//!   <root>/channels/               channel statements
//!   <root>/sessions/<pid>.<random> one locked file for each living writer
//!   <root>/condemned               packs that a collection is about to remove, and the writers it waits for
//!   <root>/temp/<pid>.<random>     files being written, locked by their writer
//!   <root>/ballast                 a little room for a collection on a full disk
//!   <root>/damaged/                packs that do not read as written, set aside for a person to look at
//! ```
//!
//! Order on disk, which a crash at any point keeps: frames into a temporary file, footer, sync, rename, sync the
//! directory; the manifest last and only when every chunk of it is there. So an image that can be listed is whole.
//! Which operations may overlap is a table in `images/DESIGN.md`, section 3, and a test for each of its rows.
//!
//! The store must never hand out bytes that it has not hashed since it read them (for serving: within the last minute), list
//! half an image, or remove a chunk that a listed image or a living writer relies on.

mod channel;
mod collect;
mod disk;
mod error;
pub(crate) mod evict;
mod index;
mod keep;
pub mod pack;
mod scrub;
mod serve;
mod whole;
mod writer;

pub use channel::History;
pub use collect::{CollectPlan, CollectRules, Collected};
pub use disk::StoredDisk;
pub use error::StoreError;
pub use keep::{Keep, KeepChange, LegalHold};
pub use scrub::{DamagedPack, Replica, Scrubbed};
pub use serve::{Placed, Waiting};
pub use writer::{Ingest, StoreWriter};

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use nix::fcntl::OFlag;
use ring::rand::SecureRandom;

use crate::frames::{Frame, FrameError, Opener};
use crate::{ChunkId, ImageId, Manifest, ManifestError, PackId, SignedManifest};
use index::Index;
use pack::Entry;

const FORMAT: &[u8] = b"groundstate store 1\n";
const DIRS: [&str; 9] =
    ["packs", "manifests", "deleted", "evicted", "keep", "channels", "sessions", "temp", "damaged"];
const OPEN_PACKS_MAX: usize = 256;
/// A list of some hundred condemned packs, and the blocks of a directory.
const BALLAST_LEN: usize = 32 << 10;

/// A store in a local directory. Cheap to share by reference between threads.
pub struct Store {
    root: PathBuf,
    index: RwLock<Index>,
    files: Mutex<HashMap<PackId, Arc<File>>>,
    hashed: serve::Hashed,
}

/// What [`Store::verify_image`] has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verification {
    /// Distinct chunks read and hashed.
    pub chunks: u64,
    /// Their plain bytes.
    pub raw_bytes: u64,
    /// Their stored bytes.
    pub stored_bytes: u64,
}

impl Store {
    /// Where files lie that are gone with their writer.
    #[must_use]
    pub fn temp_dir(&self) -> PathBuf {
        self.root.join("temp")
    }

    /// Open the store in `root`; make it when the directory is empty or not there.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        create_or_check(&root)?;
        pack::remove_abandoned(&root.join("temp"))?;
        pack::remove_abandoned(&root.join("sessions"))?;
        let store =
            Self { root, index: RwLock::default(), files: Mutex::default(), hashed: serve::Hashed::new() };
        store.refresh()?;
        Ok(store)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Number of packs and of distinct chunks known now.
    pub fn counts(&self) -> (usize, usize) {
        self.index().counts()
    }

    /// Whether the chunk is here.
    pub fn has(&self, id: &ChunkId) -> bool {
        self.locate(id).is_some()
    }

    /// The stored bytes of a chunk, in number: what it costs to send it.
    pub fn stored_len(&self, id: &ChunkId) -> Result<u32, StoreError> {
        self.locate_fresh(id)?.map(|(_, entry)| entry.len).ok_or(StoreError::MissingChunk { id: *id })
    }

    /// A chunk as stored, to be sent on. It is checked for bit rot; whether it is the chunk, the endpoint proves.
    pub fn get_frame(&self, id: &ChunkId) -> Result<Frame, StoreError> {
        let (pack, file, entry) = self.place(id)?;
        let mut bytes = vec![0; entry.len as usize];
        let read = file.read_exact_at(&mut bytes, entry.offset);
        read.map_err(StoreError::io("read", &self.pack_path(&pack)))?;
        match pack::check_of(&bytes) == entry.check {
            true => Ok(Frame { id: *id, encoding: entry.encoding, raw_len: entry.raw_len, bytes }),
            false => Err(StoreError::DamagedChunk { id: *id, pack }),
        }
    }

    /// Where a chunk lies now.
    fn place(&self, id: &ChunkId) -> Result<(PackId, Arc<File>, Entry), StoreError> {
        loop {
            let Some((pack, entry)) = self.locate_fresh(id)? else {
                return Err(StoreError::MissingChunk { id: *id });
            };
            match self.pack_file(&pack) {
                // A collection or a scrub of another process has replaced the pack; the chunk lies elsewhere now.
                Err(error) if error.is_gone() => self.forget(HashSet::from([pack])),
                other => return Ok((pack, other?, entry)),
            }
        }
    }

    /// The plain bytes of a chunk, verified.
    pub fn read_chunk(&self, id: &ChunkId) -> Result<Vec<u8>, StoreError> {
        let frame = self.get_frame(id)?;
        Ok(Opener::new().map_err(FrameError::Transport)?.open(&frame)?)
    }

    /// Read and hash every chunk of an image. `progress` gets (plain bytes done, plain bytes in all).
    pub fn verify_image(
        &self,
        manifest: &Manifest,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Verification, StoreError> {
        let mut opener = Opener::new().map_err(FrameError::Transport)?;
        let total: u64 = manifest.extents().filter(|e| is_data(e.content)).map(|e| e.len).sum();
        let (mut seen, mut done, mut result) = (HashSet::new(), 0, Verification::default());
        for extent in manifest.extents() {
            let crate::Content::Data(id) = extent.content else { continue };
            done += extent.len;
            if seen.insert(id) {
                let frame = self.get_frame(&id)?;
                opener.open(&frame)?;
                if u64::from(frame.raw_len) != extent.len {
                    return Err(ManifestError::Rule { rule: "a data extent is as long as its chunk" }.into());
                }
                result.chunks += 1;
                result.raw_bytes += u64::from(frame.raw_len);
                result.stored_bytes += frame.bytes.len() as u64;
            }
            progress(done, total);
        }
        Ok(result)
    }

    /// Keep a manifest, with all signatures that it and a copy already here have. Every chunk must be here before.
    pub fn put_manifest(&self, signed: &SignedManifest) -> Result<ImageId, StoreError> {
        self.writer()?.put_manifest(signed)
    }

    /// A manifest with its signatures, whole but not yet trusted.
    pub fn get_manifest(&self, id: &ImageId) -> Result<SignedManifest, StoreError> {
        self.read_manifest(&self.root.join("manifests").join(manifest_name(id)), id)
    }

    fn read_manifest(&self, path: &Path, id: &ImageId) -> Result<SignedManifest, StoreError> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::MissingImage { id: *id });
            }
            other => other.map_err(StoreError::io("read", path))?,
        };
        let damaged = |source| StoreError::DamagedManifest { path: path.to_owned(), source };
        let signed = SignedManifest::decode(&bytes).map_err(damaged)?;
        match signed.id() == *id {
            true => Ok(signed),
            false => Err(damaged(ManifestError::Rule { rule: "a manifest is kept under its own name" })),
        }
    }

    /// The images here, in order of their ids.
    pub fn list(&self) -> Result<Vec<ImageId>, StoreError> {
        self.images_in("manifests")
    }

    fn images_in(&self, dir: &str) -> Result<Vec<ImageId>, StoreError> {
        let files = files_in(&self.root.join(dir))?;
        let id = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".gsi")?.parse().ok();
        let mut ids: Vec<ImageId> = files.iter().filter_map(id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Take in packs that another process has added since, set damaged ones aside, and forget those that are gone.
    pub fn refresh(&self) -> Result<(), StoreError> {
        let mut gone: HashSet<PackId> = self.index().packs().collect();
        for (id, path) in self.packs_on_disk()? {
            if gone.remove(&id) || self.index().knows(&id) {
                continue;
            }
            match pack::read_footer(&path) {
                Ok(entries) => self.index.write().unwrap_or_else(PoisonError::into_inner).add(id, entries),
                Err(StoreError::DamagedPack { .. }) => self.set_aside(&id)?,
                Err(error) if error.is_gone() => {}
                Err(other) => return Err(other),
            }
        }
        if !gone.is_empty() {
            // A pack that was added while we looked is not gone.
            gone.retain(|id| !self.pack_path(id).exists());
            self.forget(gone);
        }
        Ok(())
    }

    fn packs_on_disk(&self) -> Result<Vec<(PackId, PathBuf)>, StoreError> {
        let id = |path: &Path| path.file_name()?.to_str()?.strip_suffix(".pack")?.parse().ok();
        let files = files_in(&self.root.join("packs"))?;
        Ok(files.into_iter().filter_map(|path| Some((id(&path)?, path))).collect())
    }

    fn set_aside(&self, id: &PackId) -> Result<(), StoreError> {
        let (path, aside) = (self.pack_path(id), self.root.join("damaged").join(pack::file_name(id)));
        match fs::rename(&path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(StoreError::io("set aside", &path)),
        }
    }

    /// Give up the room that was kept for a collection on a full disk. False: there was none.
    fn drop_ballast(&self) -> bool {
        fs::remove_file(self.root.join("ballast")).is_ok()
    }

    fn forget(&self, gone: HashSet<PackId>) {
        self.index.write().unwrap_or_else(PoisonError::into_inner).forget(&gone);
        // An open file would keep the space of a removed pack.
        self.files.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| !gone.contains(id));
        self.hashed.forget();
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn locate(&self, id: &ChunkId) -> Option<(PackId, Entry)> {
        self.index().find(id)
    }

    fn locate_fresh(&self, id: &ChunkId) -> Result<Option<(PackId, Entry)>, StoreError> {
        if let Some(found) = self.locate(id) {
            return Ok(Some(found));
        }
        self.refresh()?;
        Ok(self.locate(id))
    }

    fn pack_path(&self, id: &PackId) -> PathBuf {
        self.root.join("packs").join(pack::file_name(id))
    }

    fn pack_file(&self, id: &PackId) -> Result<Arc<File>, StoreError> {
        let mut files: MutexGuard<'_, _> = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(id) {
            return Ok(Arc::clone(file));
        }
        if files.len() >= OPEN_PACKS_MAX {
            files.clear();
        }
        let path = self.pack_path(id);
        let file = pack::open(&path, OFlag::empty());
        let file = Arc::new(file.map_err(StoreError::io("open", &path))?);
        files.insert(*id, Arc::clone(&file));
        Ok(file)
    }
}

fn is_data(content: crate::Content) -> bool {
    matches!(content, crate::Content::Data(_))
}

fn manifest_name(id: &ImageId) -> String {
    format!("{id}.gsi")
}

fn create_or_check(root: &Path) -> Result<(), StoreError> {
    let format = root.join("format");
    fs::create_dir_all(root).map_err(StoreError::io("create", root))?;
    match fs::read(&format) {
        Ok(bytes) if bytes == FORMAT => {}
        Ok(_) => return Err(StoreError::NotAStore { path: root.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Another process may be making the same store right now.
            let strange =
                |path: &PathBuf| !path.ends_with("format") && !DIRS.iter().any(|name| path.ends_with(name));
            let entries = fs::read_dir(root).map_err(StoreError::io("list", root))?;
            if entries.flatten().map(|entry| entry.path()).any(|path| strange(&path)) {
                return Err(StoreError::NotAStore { path: root.to_owned() });
            }
        }
        Err(source) => return Err(StoreError::io("read", &format)(source)),
    }
    for dir in DIRS.map(|name| root.join(name)) {
        fs::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
    }
    if !format.exists() {
        write_atomically(&root.join("temp"), root, "format", FORMAT)?;
    }
    lay_ballast(root);
    Ok(())
}

/// Keep a little room, if there is any; a store that cannot be written has no use for it.
fn lay_ballast(root: &Path) {
    let path = root.join("ballast");
    if path.exists() {
        return;
    }
    // Noise: some file systems take no room for anything else.
    let mut noise = vec![0; BALLAST_LEN];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    if fs::write(&path, noise).is_err() {
        let _ = fs::remove_file(&path);
    }
}

/// Lock a file of the store until it is closed; made when it is not there.
fn lock_file(path: &Path) -> Result<File, StoreError> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    file.map_err(StoreError::io("open", path))
}

fn write_atomically(temp_dir: &Path, dir: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let (temp, mut file) = pack::create_locked(temp_dir)?;
    let path = dir.join(name);
    let mut write = || {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temp, &path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temp);
        StoreError::io("write", &path)(error)
    })?;
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StoreError::io("sync", dir))
}

/// The plain files in a directory; one that vanishes meanwhile is left out.
fn files_in(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let entry = entry.map_err(StoreError::io("list", dir))?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn random_name() -> Result<String, StoreError> {
    let mut bytes = [0; 8];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| {
        StoreError::io("name", Path::new("a temporary file"))(io::Error::other("no randomness"))
    })?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests;
