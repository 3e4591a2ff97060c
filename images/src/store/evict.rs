//! What an eviction asks of the store: how large it is, what was used when, and that images are given up of which all stands elsewhere.
//!
//! ```text
//!   last use of an image      time of change of its manifest file; a new manifest was used when it was put
//!   last frame out of a pack  time of access of its file, set once in half a minute
//!   given up                  evicted/<image>.gsi: an eviction took it out and may have died before it removed packs
//! ```
//!
//! Both times are set through the file and never read from a clock of ours; one that a crash loses costs an eviction later or earlier,
//! and no chunk. It must never: remove a pack in which one chunk is neither listed elsewhere nor given up.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;

use super::collect::{CollectRules, Collected, Condemned};
use super::{Store, StoreError, files_in, sync_dir};
use crate::{ChunkId, ImageId, Manifest, SignedManifest};

/// Where room is wanted, a pack of which so much is needed is worth no rewriting; in percent.
const LIVE_PERCENT_MIN: u8 = 90;

/// The images that go, and the chunks that are proven to stand elsewhere.
#[derive(Debug, Default)]
pub(crate) struct GivenUp {
    pub images: HashSet<ImageId>,
    pub chunks: HashSet<ChunkId>,
}

/// What an image alone holds here.
#[derive(Debug, Default)]
pub(crate) struct Alone {
    /// Stored bytes of the chunks that no other image needs.
    pub bytes: u64,
    /// When a frame went out of one of their packs last.
    pub served: Option<SystemTime>,
}

/// Note that a frame goes out of a pack. A store that cannot be written serves all the same, and evicts nothing.
pub(super) fn note_served(pack: &File) {
    let _ = futimens(pack.as_fd(), &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_OMIT);
}

impl Store {
    /// Bytes of all packs and manifests: what a bound on the store counts.
    pub fn bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for dir in ["packs", "manifests", "deleted", "evicted", "damaged"] {
            for path in files_in(&self.root.join(dir))? {
                bytes += match fs::metadata(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                    other => other.map_err(StoreError::io("read", &path))?.len(),
                };
            }
        }
        Ok(bytes)
    }

    /// Bytes of the packs that go as soon as the writers have ended that may rely on them.
    pub(crate) fn bytes_going(&self) -> Result<u64, StoreError> {
        let packs = Condemned::read(self)?.names();
        Ok(packs.iter().map(|pack| fs::metadata(self.pack_path(pack)).map_or(0, |meta| meta.len())).sum())
    }

    /// Note that an image is used now: evictions begin with those that were not for longest.
    pub fn note_use(&self, image: &ImageId) -> Result<(), StoreError> {
        let path = self.manifest_path("manifests", image);
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        futimens(file.as_fd(), &TimeSpec::UTIME_OMIT, &TimeSpec::UTIME_NOW)
            .map_err(|error| StoreError::io("mark", &path)(error.into()))
    }

    /// When an image was used last.
    pub fn last_use(&self, image: &ImageId) -> Result<SystemTime, StoreError> {
        let path = self.manifest_path("manifests", image);
        let changed = fs::metadata(&path).and_then(|meta| meta.modified());
        changed.map_err(StoreError::io("read", &path))
    }

    /// What goes with an image when all `others` stay.
    pub(crate) fn alone<'m>(
        &self,
        image: &Manifest,
        others: impl Iterator<Item = &'m Manifest>,
    ) -> Result<Alone, StoreError> {
        let mut ids: HashSet<ChunkId> = image.chunk_ids().collect();
        others.flat_map(Manifest::chunk_ids).for_each(|id| {
            ids.remove(&id);
        });
        let (mut alone, mut packs) = (Alone::default(), HashSet::new());
        for id in ids {
            if let Some((pack, entry)) = self.locate(&id) {
                alone.bytes += u64::from(entry.len);
                packs.insert(pack);
            }
        }
        for pack in packs {
            let path = self.pack_path(&pack);
            match fs::metadata(&path).and_then(|meta| meta.accessed()) {
                Ok(at) => alone.served = alone.served.max(Some(at)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("read", &path)(error)),
            }
        }
        Ok(alone)
    }

    /// List an image no more, unless it was used since `seen`: then it is listed still, and this is false.
    pub(crate) fn give_up(&self, image: &ImageId, seen: SystemTime) -> Result<bool, StoreError> {
        let _lock = self.lock_manifests()?;
        let (path, aside) = (self.manifest_path("manifests", image), self.manifest_path("evicted", image));
        fs::rename(&path, &aside).map_err(StoreError::io("give up", &path))?;
        // Whoever comes from now on finds no manifest. Whoever came before has left the time of it.
        let used = fs::metadata(&aside).and_then(|meta| meta.modified());
        if used.map_err(StoreError::io("read", &aside))? != seen {
            fs::rename(&aside, &path).map_err(StoreError::io("take back", &path))?;
            return Ok(false);
        }
        sync_dir(&self.root.join("evicted"))?;
        sync_dir(&self.root.join("manifests"))?;
        Ok(true)
    }

    /// List an image again that was given up, and of which nothing was removed.
    pub(crate) fn take_back(&self, image: &ImageId) -> Result<(), StoreError> {
        let aside = self.manifest_path("evicted", image);
        self.put_manifest(&self.get_given_up(image)?)?;
        fs::remove_file(&aside).map_err(StoreError::io("remove", &aside))
    }

    /// Images that an eviction has taken out, and whose packs it did not come to remove.
    pub(crate) fn given_up(&self) -> Result<Vec<ImageId>, StoreError> {
        self.images_in("evicted")
    }

    /// The manifest of one of them.
    pub(crate) fn get_given_up(&self, image: &ImageId) -> Result<SignedManifest, StoreError> {
        self.read_manifest(&self.manifest_path("evicted", image), image)
    }

    /// Remove what only these images held. With `rewrite` also packs of which little else is needed are replaced by smaller ones.
    pub(crate) fn remove_given_up(
        &self,
        given_up: &GivenUp,
        rewrite: bool,
        now_unix_ms: u64,
    ) -> Result<Collected, StoreError> {
        let live_percent_min = if rewrite { LIVE_PERCENT_MIN } else { 0 };
        let rules = CollectRules { grace: Duration::ZERO, live_percent_min, now_unix_ms };
        self.collect_with(&rules, Some(given_up))
    }
}
