//! The store: golden images and their chunks in a local directory.
//!
//! ```text
//!   <root>/format                  "groundstate store 1"
//!   <root>/packs/<pack id>.pack    immutable packs of frames
//!   <root>/manifests/<image>.gsi   signed manifests; replaced whole when a signature is added
//!   <root>/temp/<pid>.<random>     files being written, locked by their writer
//!   <root>/damaged/                packs without a valid trailer, set aside for a person to look at
//! ```
//!
//! Order on disk, which a crash at any point keeps: frames into a temporary file, footer, sync, rename, sync the
//! directory; the manifest last and only when every chunk of it is there. So an image that can be listed is whole.
//!
//! | may overlap | open, read, list | ingest | put manifest |
//! |---|---|---|---|
//! | open, read, list | yes | yes | yes |
//! | ingest | yes | yes, also of the same image, also by another process | yes |
//! | put manifest | yes | yes | one at a time, by a lock file |
//!
//! The store must never hand out bytes that it has not hashed since it read them, nor list half an image.

mod index;
pub mod pack;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ring::rand::SecureRandom;

use crate::frames::{Frame, FrameError, Opener};
use crate::{ChunkId, ImageId, Manifest, ManifestError, PackId, SignedManifest};
use index::Index;
use pack::{Entry, PackWriter};

const FORMAT: &[u8] = b"groundstate store 1\n";
const OPEN_PACKS_MAX: usize = 256;

/// Why the store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No room.
    #[error("the store is full: no room for {path}; free space or give the store a larger disk, then try again", path = path.display())]
    Full {
        /// The file that did not fit.
        path: PathBuf,
    },
    /// Another kind of directory.
    #[error("{path} is not a groundstate store that this version knows; name another directory", path = path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// No such chunk.
    #[error("chunk {id} is not in the store; import the image again")]
    MissingChunk {
        /// The chunk.
        id: ChunkId,
    },
    /// A chunk does not read as it was written.
    #[error(
        "chunk {id} in pack {pack} is damaged: the disk under the store is failing; import the image again elsewhere"
    )]
    DamagedChunk {
        /// The chunk.
        id: ChunkId,
        /// The pack that holds it.
        pack: PackId,
    },
    /// A pack does not read as it was written.
    #[error("pack {path} is damaged: {what}", path = path.display())]
    DamagedPack {
        /// The file.
        path: PathBuf,
        /// How.
        what: &'static str,
    },
    /// No such image.
    #[error("image {id} is not in the store; `groundstate image list` shows what is")]
    MissingImage {
        /// The image.
        id: ImageId,
    },
    /// A manifest file does not hold the image of its name.
    #[error("the manifest in {path} is damaged; import the image again", path = path.display())]
    DamagedManifest {
        /// The file.
        path: PathBuf,
        /// How.
        #[source]
        source: ManifestError,
    },
    /// A manifest to be put lacks chunks.
    #[error("image {image} is not whole: {missing} of its chunks are not in the store; import it again")]
    Incomplete {
        /// The image.
        image: ImageId,
        /// How many distinct chunks are missing.
        missing: usize,
    },
    /// A manifest to be put obeys no format.
    #[error("the manifest is refused")]
    Manifest(#[from] ManifestError),
    /// A frame to be kept is not what it claims.
    #[error("the frame is refused")]
    Frame(#[from] FrameError),
}

impl StoreError {
    fn io<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Self + 'a {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned() },
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }
}

/// A store in a local directory. Cheap to share by reference between threads.
pub struct Store {
    root: PathBuf,
    index: RwLock<Index>,
    files: Mutex<HashMap<PackId, Arc<File>>>,
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
    /// Open the store in `root`; make it when the directory is empty or not there.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        create_or_check(&root)?;
        pack::remove_abandoned(&root.join("temp"))?;
        let store = Self { root, index: RwLock::default(), files: Mutex::default() };
        store.refresh()?;
        Ok(store)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Number of packs and of distinct chunks known now.
    pub fn counts(&self) -> (usize, usize) {
        self.index.read().unwrap_or_else(PoisonError::into_inner).counts()
    }

    /// Whether the chunk is here.
    pub fn has(&self, id: &ChunkId) -> bool {
        self.locate(id).is_some()
    }

    /// Start to add chunks.
    pub fn ingest(&self) -> Ingest<'_> {
        Ingest { store: self, open: None, pending: HashSet::new() }
    }

    /// A chunk as stored, to be sent on. It is checked for bit rot; whether it is the chunk, the endpoint proves.
    pub fn get_frame(&self, id: &ChunkId) -> Result<Frame, StoreError> {
        let Some((pack, entry)) = self.locate_fresh(id)? else {
            return Err(StoreError::MissingChunk { id: *id });
        };
        let Entry { encoding, raw_len, len, offset, .. } = entry;
        let path = self.pack_path(&pack);
        let mut bytes = vec![0; len as usize];
        let file = self.pack_file(&pack)?;
        file.read_exact_at(&mut bytes, offset).map_err(StoreError::io("read", &path))?;
        if pack::check_of(&bytes) != entry.check {
            return Err(StoreError::DamagedChunk { id: *id, pack });
        }
        Ok(Frame { id: *id, encoding, raw_len, bytes })
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
        let manifest = signed.parse()?;
        let image = manifest.id();
        self.refresh()?;
        let missing: HashSet<ChunkId> = manifest.chunk_ids().filter(|id| !self.has(id)).collect();
        if !missing.is_empty() {
            return Err(StoreError::Incomplete { image, missing: missing.len() });
        }
        let dir = self.root.join("manifests");
        let lock_path = self.root.join("manifests.lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(StoreError::io("open", &lock_path))?;
        lock.lock().map_err(StoreError::io("lock", &lock_path))?;
        let mut merged = signed.clone();
        if let Ok(known) = self.get_manifest(&image) {
            let ours: HashSet<_> = signed.signatures.iter().map(|s| s.key).collect();
            known.signatures.into_iter().filter(|s| !ours.contains(&s.key)).for_each(|s| merged.add(s));
        }
        write_atomically(&self.root.join("temp"), &dir, &manifest_name(&image), &merged.encode())?;
        Ok(image)
    }

    /// A manifest with its signatures, whole but not yet trusted.
    pub fn get_manifest(&self, id: &ImageId) -> Result<SignedManifest, StoreError> {
        let path = self.root.join("manifests").join(manifest_name(id));
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::MissingImage { id: *id });
            }
            other => other.map_err(StoreError::io("read", &path))?,
        };
        let damaged = |source| StoreError::DamagedManifest { path: path.clone(), source };
        let signed = SignedManifest::decode(&bytes).map_err(damaged)?;
        match signed.id() == *id {
            true => Ok(signed),
            false => Err(damaged(ManifestError::Rule { rule: "a manifest is kept under its own name" })),
        }
    }

    /// The images here, in order of their ids.
    pub fn list(&self) -> Result<Vec<ImageId>, StoreError> {
        let files = files_in(&self.root.join("manifests"))?;
        let id = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".gsi")?.parse().ok();
        let mut ids: Vec<ImageId> = files.iter().filter_map(id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Take in packs that another process has added since, and set damaged ones aside.
    pub fn refresh(&self) -> Result<(), StoreError> {
        let dir = self.root.join("packs");
        for path in files_in(&dir)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(Ok(id)) = name.strip_suffix(".pack").map(str::parse::<PackId>) else { continue };
            if self.index.read().unwrap_or_else(PoisonError::into_inner).knows(&id) {
                continue;
            }
            match pack::read_footer(&path) {
                Ok(entries) => self.index.write().unwrap_or_else(PoisonError::into_inner).add(id, entries),
                Err(StoreError::DamagedPack { .. }) => {
                    let aside = self.root.join("damaged").join(pack::file_name(&id));
                    fs::rename(&path, &aside).map_err(StoreError::io("set aside", &path))?;
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn locate(&self, id: &ChunkId) -> Option<(PackId, Entry)> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).find(id)
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
        let file = Arc::new(File::open(&path).map_err(StoreError::io("open", &path))?);
        files.insert(*id, Arc::clone(&file));
        Ok(file)
    }
}

/// Chunks on their way into the store. Packs are sealed as they fill, so an import that dies keeps what it has
/// sealed and finds it again when it is repeated; [`Ingest::finish`] seals the last one.
pub struct Ingest<'a> {
    store: &'a Store,
    open: Option<PackWriter>,
    pending: HashSet<ChunkId>,
}

impl Ingest<'_> {
    /// Keep a frame unless its chunk is here already. The caller has made or opened the frame, so its id is right.
    /// Returns the stored bytes added.
    pub fn append(&mut self, frame: &Frame) -> Result<u64, StoreError> {
        if self.store.has(&frame.id) || !self.pending.insert(frame.id) {
            return Ok(0);
        }
        let mut pack = match self.open.take() {
            Some(pack) => pack,
            None => PackWriter::create(&self.store.root.join("temp"))?,
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
            let (id, entries) = pack.seal(&self.store.root.join("packs"))?;
            self.store.index.write().unwrap_or_else(PoisonError::into_inner).add(id, entries);
            self.pending.clear();
        }
        Ok(())
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
            let ours = ["format", "packs", "manifests", "temp", "damaged"];
            let strange = |path: &PathBuf| !ours.iter().any(|name| path.ends_with(name));
            let entries = fs::read_dir(root).map_err(StoreError::io("list", root))?;
            if entries.flatten().map(|entry| entry.path()).any(|path| strange(&path)) {
                return Err(StoreError::NotAStore { path: root.to_owned() });
            }
        }
        Err(source) => return Err(StoreError::io("read", &format)(source)),
    }
    for dir in ["packs", "manifests", "temp", "damaged"].map(|name| root.join(name)) {
        fs::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
    }
    if !format.exists() {
        write_atomically(&root.join("temp"), root, "format", FORMAT)?;
    }
    Ok(())
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
