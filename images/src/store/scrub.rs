//! Scrub: reading every pack and manifest from the medium, and repairing what does not read as it was written.
//!
//! A pack's name covers its whole file, so one pass of one hash tells whether it is whole. Of a damaged one the frames that
//! are still right move to a new pack, and it is set aside. Then each image is completed: chunks that no pack holds come
//! from a replica, verified, and so do manifests that cannot be read.
//!
//! It must never: take bytes from a replica that do not hash to their name, or call a pack whole that it read from a cache.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::sync_channel;

use nix::fcntl::OFlag;
use serde::Serialize;

use super::collect::Condemned;
use super::pack::{self, Entry, PackWriter};
use super::{Store, StoreError, manifest_name, write_atomically};
use crate::frames::{Frame, FrameError, Opener};
use crate::restore::AlignedBuf;
use crate::{ChunkId, ChunkSource, ImageId, PackId, SignedManifest};

/// Bytes read at once from a pack.
const READ_LEN: usize = 4 << 20;
/// Buffers between the reading and the hashing thread.
const BUFFERS: usize = 3;

/// How often an image is looked at before it counts as broken.
const LOOKS: usize = 3;

/// A pack that did not read as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamagedPack {
    /// Which.
    pub pack: PackId,
    /// Chunks in it that are still right.
    pub whole_chunks: usize,
    /// Chunks in it that are not; when not even its list of chunks can be read, none is named.
    pub damaged: Vec<ChunkId>,
}

/// What a scrub has found and done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Scrubbed {
    /// Packs read.
    pub packs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Packs that did not read as written.
    pub damaged_packs: Vec<DamagedPack>,
    /// Manifests that did not.
    pub damaged_manifests: Vec<ImageId>,
    /// Chunks and manifests taken from the replica.
    pub repaired_chunks: usize,
    /// Manifests taken from the replica.
    pub repaired_manifests: usize,
    /// Images that are not whole now, each with the number of chunks it lacks (0: its manifest).
    pub broken: Vec<(ImageId, usize)>,
}

/// Where a scrub repairs from: chunks, and manifests where it has them.
pub trait Replica: ChunkSource {
    /// The manifest of an image.
    fn manifest(&self, image: &ImageId) -> Option<SignedManifest>;
}

impl Replica for Store {
    fn manifest(&self, image: &ImageId) -> Option<SignedManifest> {
        self.get_manifest(image).ok()
    }
}

impl Store {
    /// Read everything and say what is damaged. `progress` gets (bytes read, bytes in all), and may wait.
    pub fn scrub(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Scrubbed, StoreError> {
        self.refresh()?;
        let mut found = Scrubbed::default();
        let packs = self.packs_on_disk()?;
        let total = packs.iter().filter_map(|(_, path)| fs::metadata(path).ok()).map(|meta| meta.len()).sum();
        let mut buffers: Vec<AlignedBuf> = (0..BUFFERS).map(|_| AlignedBuf::new(READ_LEN)).collect();
        for (id, path) in packs {
            let mut counted = |len: usize| {
                found.bytes += len as u64;
                progress(found.bytes, total);
            };
            let read = digest_of_file(&path, &mut buffers, &mut counted);
            match read {
                Err(error) if error.is_gone() => continue,
                Ok(whole) if whole == id => {}
                // A sector that cannot be read is damage too.
                Ok(_) | Err(StoreError::Io { .. }) => found.damaged_packs.push(self.examine(id)),
                Err(other) => return Err(other),
            }
            found.packs += 1;
        }
        for image in self.list()? {
            match self.get_manifest(&image).map(|signed| signed.parse().is_ok()) {
                Ok(true) | Err(StoreError::MissingImage { .. }) => {}
                Ok(false) | Err(StoreError::DamagedManifest { .. }) => found.damaged_manifests.push(image),
                Err(other) => return Err(other),
            }
        }
        found.broken = self.broken(&found)?;
        Ok(found)
    }

    /// Scrub, set aside what is damaged, and complete every image from a replica, where there is one.
    pub fn repair(
        &self,
        replica: Option<&dyn Replica>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Scrubbed, StoreError> {
        let _alone = self.lock_upkeep()?;
        let mut found = self.scrub(progress)?;
        for damaged in &found.damaged_packs {
            self.salvage(damaged)?;
        }
        if let Some(replica) = replica {
            for image in &found.damaged_manifests {
                let Some(signed) = replica.manifest(image).filter(|signed| signed.id() == *image) else {
                    continue;
                };
                if signed.parse().is_ok() {
                    // Its chunks may be missing: then the image is broken, and named below.
                    let _lock = self.lock_manifests()?;
                    let dir = self.root.join("manifests");
                    write_atomically(&self.root.join("temp"), &dir, &manifest_name(image), &signed.encode())?;
                    found.repaired_manifests += 1;
                }
            }
            found.repaired_chunks = self.complete(replica)?;
        }
        found.broken = self.not_whole(&found.damaged_manifests)?;
        Ok(found)
    }

    /// Which images lack something when what was damaged is set aside, and these manifests were damaged.
    pub(crate) fn not_whole(&self, manifests: &[ImageId]) -> Result<Vec<(ImageId, usize)>, StoreError> {
        let damaged_manifests =
            manifests.iter().filter(|image| self.get_manifest(image).is_err()).copied().collect();
        self.broken(&Scrubbed { damaged_manifests, ..Scrubbed::default() })
    }

    /// Which images lack something.
    fn broken(&self, found: &Scrubbed) -> Result<Vec<(ImageId, usize)>, StoreError> {
        let packs: HashSet<PackId> = found.damaged_packs.iter().map(|damaged| damaged.pack).collect();
        let rotten: HashSet<ChunkId> =
            found.damaged_packs.iter().flat_map(|damaged| damaged.damaged.iter().copied()).collect();
        let lacks = |id: &ChunkId| match rotten.contains(id) {
            true => !self.index().has_outside(id, &packs),
            false => !self.has(id),
        };
        let mut broken: Vec<_> = found.damaged_manifests.iter().map(|image| (*image, 0)).collect();
        for image in self.list()?.into_iter().filter(|image| !found.damaged_manifests.contains(image)) {
            let mut missing = HashSet::new();
            // Images come and go meanwhile: one lacks something if it does so again and again, and is still listed.
            for _ in 0..LOOKS {
                missing.clear();
                let Some(signed) = self.listed(&image)? else { break };
                missing.extend(signed.parse()?.chunk_ids().filter(lacks));
                if missing.is_empty() {
                    break;
                }
                self.refresh()?;
            }
            if !missing.is_empty() {
                broken.push((image, missing.len()));
            }
        }
        Ok(broken)
    }

    fn listed(&self, image: &ImageId) -> Result<Option<SignedManifest>, StoreError> {
        match self.get_manifest(image) {
            Ok(signed) => Ok(Some(signed)),
            Err(StoreError::MissingImage { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Which chunks of a damaged pack are still right.
    fn examine(&self, pack: PackId) -> DamagedPack {
        let (mut whole_chunks, mut damaged) = (0, Vec::new());
        for entry in pack::read_footer(&self.pack_path(&pack)).unwrap_or_default() {
            match self.salvaged(&pack, &entry) {
                Some(_) => whole_chunks += 1,
                None => damaged.push(entry.id),
            }
        }
        DamagedPack { pack, whole_chunks, damaged }
    }

    fn salvaged(&self, pack: &PackId, entry: &Entry) -> Option<Frame> {
        let mut bytes = vec![0; entry.len as usize];
        let file = pack::open(&self.pack_path(pack), OFlag::empty()).ok()?;
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, entry.offset).ok()?;
        let Entry { id, encoding, raw_len, .. } = *entry;
        (pack::check_of(&bytes) == entry.check).then_some(Frame { id, encoding, raw_len, bytes })
    }

    /// Move what is right in a damaged pack to a new one, and set the damaged one aside.
    fn salvage(&self, damaged: &DamagedPack) -> Result<(), StoreError> {
        let (rotten, mut writer): (BTreeSet<_>, _) = (damaged.damaged.iter().collect(), None);
        for entry in pack::read_footer(&self.pack_path(&damaged.pack)).unwrap_or_default() {
            if rotten.contains(&entry.id) {
                continue;
            }
            let Some(frame) = self.salvaged(&damaged.pack, &entry) else { continue };
            let pack = match writer.take() {
                Some(pack) => pack,
                None => PackWriter::create(&self.root.join("temp"))?,
            };
            writer.insert(pack).append(&frame)?;
        }
        if let Some(pack) = writer {
            self.adopt(pack, &Condemned::read(self)?.names())?;
        }
        self.set_aside(&damaged.pack)?;
        self.forget(HashSet::from([damaged.pack]));
        Ok(())
    }

    /// Fetch what images lack.
    fn complete(&self, replica: &dyn Replica) -> Result<usize, StoreError> {
        let writer = self.writer()?;
        let mut missing = HashSet::new();
        for image in self.list()? {
            if let Ok(signed) = self.get_manifest(&image) {
                missing.extend(writer.missing(signed.parse()?.chunk_ids())?);
            }
        }
        let (mut ingest, mut opener) = (writer.ingest(), Opener::new().map_err(FrameError::Transport)?);
        let (mut taken, mut failed) = (0, None);
        for id in missing {
            let mut sink = |frame: Frame| {
                if frame.id != id {
                    return Err(FrameError::Swapped { asked: id, got: frame.id });
                }
                opener.open(&frame)?;
                match ingest.append(&frame) {
                    Ok(_) => taken += 1,
                    Err(error) => failed = Some(error),
                }
                Ok(())
            };
            // A chunk that the replica lacks too is reported as missing in the end.
            let _ = replica.fetch(&[id], &mut sink);
            if let Some(error) = failed {
                return Err(error);
            }
        }
        ingest.finish()?;
        Ok(taken)
    }
}

/// Hash a whole pack as it lies on the medium.
fn digest_of_file(
    path: &Path,
    buffers: &mut Vec<AlignedBuf>,
    counted: &mut dyn FnMut(usize),
) -> Result<PackId, StoreError> {
    let file = open_past_the_cache(path).map_err(StoreError::io("open", path))?;
    let (full, full_out) = sync_channel::<(AlignedBuf, usize)>(BUFFERS);
    let (empty, empty_out) = sync_channel(BUFFERS);
    // A read that failed has lost its buffer.
    buffers.resize_with(BUFFERS, || AlignedBuf::new(READ_LEN));
    buffers.drain(..).for_each(|buffer| drop(empty.send(buffer)));
    let mut hasher = blake3::Hasher::new_derive_key(PackId::CONTEXT);
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(move || (read_all(file, &full, &empty_out), empty_out));
        for (buffer, len) in full_out {
            hasher.update(&buffer[..len]);
            counted(len);
            // The reader keeps its end until it has read all.
            let _ = empty.send(buffer);
        }
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let (read, empty_out) = read;
    drop(empty);
    buffers.extend(empty_out);
    read.map_err(StoreError::io("read", path))?;
    Ok(PackId(crate::Digest(*hasher.finalize().as_bytes())))
}

fn read_all(
    mut file: File,
    full: &std::sync::mpsc::SyncSender<(AlignedBuf, usize)>,
    empty: &std::sync::mpsc::Receiver<AlignedBuf>,
) -> io::Result<()> {
    loop {
        let mut buffer = empty.recv().unwrap_or_else(|_| AlignedBuf::new(READ_LEN));
        let mut len = 0;
        // Direct reads end short at the end of the file only.
        while len < buffer.len() {
            match file.read(&mut buffer[len..])? {
                0 => break,
                count => len += count,
            }
            if !len.is_multiple_of(4096) {
                break;
            }
        }
        if len == 0 || full.send((buffer, len)).is_err() {
            return Ok(());
        }
    }
}

/// Open for direct reading; through the cache where the file system cannot (tmpfs).
fn open_past_the_cache(path: &Path) -> io::Result<File> {
    match pack::open(path, OFlag::O_DIRECT) {
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINVAL as i32) => {
            pack::open(path, OFlag::empty())
        }
        other => other,
    }
}
