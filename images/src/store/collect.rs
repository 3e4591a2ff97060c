//! Collection: removing packs that no image needs, while others read and write.
//!
//! ```text
//!   mark ─► condemn ─► did a writer live then? ─ no ─► mark what is new ─► remove
//!                         └ yes: they stay condemned; the next collection looks whether that writer has ended
//! ```
//!
//! Everything that a manifest lists is live; a manifest that cannot be read stops the collection. Packs of which little is
//! live are rewritten: the live frames go into a new pack first, then the old one is condemned. Readers are not asked:
//! an open pack outlives its name, and a reader who finds a pack gone looks the chunk up again.
//!
//! It must never: remove a pack that holds the only copy of a chunk of a listed image, or guess when it cannot read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::evict::GivenUp;
use super::pack::{self, Entry, PackWriter};
use super::{Store, StoreError, files_in, lay_ballast, lock_file, sync_dir, write_atomically};
use crate::{ChunkId, ImageId, PackId};

/// How to collect. The caller brings the time: this core has no clock.
#[derive(Debug, Clone, Copy)]
pub struct CollectRules {
    /// Now, milliseconds since 1970 UTC.
    pub now_unix_ms: u64,
    /// Packs and deleted images younger than this stay: somebody may want to go on with a stopped import, or take the
    /// image back.
    pub grace: Duration,
    /// A pack with a smaller share of live bytes is rewritten, in percent.
    pub live_percent_min: u8,
}

impl CollectRules {
    /// The usual: 48 hours, 40 percent.
    #[must_use]
    pub fn usual(now_unix_ms: u64) -> Self {
        Self { now_unix_ms, grace: Duration::from_secs(48 * 3600), live_percent_min: 40 }
    }

    fn is_young(&self, at: SystemTime) -> bool {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(self.now_unix_ms);
        // A time in the future is young: clocks are set back too.
        now.duration_since(at).is_ok_and(|age| age < self.grace) || at > now
    }
}

/// What a collection would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CollectPlan {
    /// Images listed, or deleted so lately that they can be taken back.
    pub images: usize,
    /// Distinct chunks that they need.
    pub live_chunks: usize,
    /// Deleted images whose grace is over.
    pub forget: Vec<ImageId>,
    /// Images that were given up since they stand in the depot; a collection by hand has none.
    #[serde(skip)]
    pub evicted: Vec<ImageId>,
    /// Packs that nothing needs.
    pub remove: Vec<PackId>,
    /// Packs of which little is needed: what is needed moves to a new pack.
    pub rewrite: Vec<PackId>,
    /// Packs that nothing needs and that are too young to go.
    pub spared: usize,
    /// Bytes of the packs to remove and to rewrite.
    pub bytes_removed: u64,
    /// Bytes that are written again.
    pub bytes_rewritten: u64,
}

/// What a collection has done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Collected {
    /// What was planned.
    pub plan: CollectPlan,
    /// Packs removed, also of an earlier collection.
    pub packs_removed: usize,
    /// Their bytes.
    pub bytes_freed: u64,
    /// Packs that wait for a writer to end; the next collection takes them.
    pub waiting: usize,
    /// Packs that could not be rewritten since a live chunk in them is damaged; a scrub repairs them.
    pub damaged: Vec<PackId>,
}

/// The packs that are about to go, each with the sessions that may still rely on it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condemned {
    pub packs: BTreeMap<PackId, BTreeSet<String>>,
}

impl Condemned {
    pub fn read(store: &Store) -> Result<Self, StoreError> {
        let path = store.root.join("condemned");
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(StoreError::io("read", &path)(error)),
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|source| StoreError::DamagedDocument { path: path.clone(), source }),
        }
    }

    pub fn names(&self) -> HashSet<PackId> {
        self.packs.keys().copied().collect()
    }

    fn write(&self, store: &Store) -> Result<(), StoreError> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        let write = || write_atomically(&store.root.join("temp"), &store.root, "condemned", &text);
        match write() {
            // What frees room needs a little: the ballast is for this moment.
            Err(StoreError::Full { .. }) if store.drop_ballast() => write(),
            other => other,
        }
    }
}

/// The plan, and which of its chunks each pack to rewrite must pass on.
struct Marked {
    plan: CollectPlan,
    images: HashSet<ImageId>,
    moves: HashMap<PackId, Vec<Entry>>,
}

impl Store {
    /// What a collection would do now.
    pub fn plan_collection(&self, rules: &CollectRules) -> Result<CollectPlan, StoreError> {
        self.refresh()?;
        Ok(self.mark(rules, &Condemned::read(self)?, None)?.plan)
    }

    /// Collect. Others may read and write meanwhile; another collection or repair may not.
    pub fn collect(&self, rules: &CollectRules) -> Result<Collected, StoreError> {
        self.collect_with(rules, None)
    }

    /// As [`Self::collect`]; with images that are given up only what they held goes, whatever else nobody needs.
    pub(super) fn collect_with(
        &self,
        rules: &CollectRules,
        given_up: Option<&GivenUp>,
    ) -> Result<Collected, StoreError> {
        let _alone = self.lock_upkeep()?;
        self.refresh()?;
        let mut condemned = Condemned::read(self)?;
        let Marked { plan, images, mut moves } = self.mark(rules, &condemned, given_up)?;
        let mut done = Collected { plan, ..Collected::default() };
        let (first, none) = (condemned.packs.is_empty(), HashSet::new());
        condemned.packs.extend(done.plan.remove.iter().map(|pack| (*pack, BTreeSet::new())));
        for pack in &done.plan.rewrite {
            match self.rewrite(&moves.remove(pack).unwrap_or_default(), &condemned) {
                Ok(()) => drop(condemned.packs.insert(*pack, BTreeSet::new())),
                Err(StoreError::DamagedChunk { .. }) => done.damaged.push(*pack),
                Err(other) => return Err(other),
            }
        }
        // From here on no new writer relies on them. Who was there before is asked after.
        // One that waits for nobody was condemned just now, or by a collection that was killed before it asked.
        condemned.write(self)?;
        let living = self.living_sessions()?;
        for waits_for in condemned.packs.values_mut() {
            match waits_for.is_empty() {
                true => waits_for.clone_from(&living),
                false => waits_for.retain(|session| living.contains(session)),
            }
        }
        // What was marked needs none of the packs that were condemned just now; an older one was not weighed.
        self.sweep(condemned, if first { &images } else { &none }, &mut done)?;
        let deleted = done.plan.forget.iter().map(|image| ("deleted", image));
        for (dir, image) in deleted.chain(done.plan.evicted.iter().map(|image| ("evicted", image))) {
            let path = self.manifest_path(dir, image);
            match fs::remove_file(&path) {
                // Taken back meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(StoreError::io("remove", &path))?,
            }
        }
        pack::remove_abandoned(&self.root.join("temp"))?;
        lay_ballast(&self.root);
        Ok(done)
    }

    /// One at a time: collections and repairs.
    pub(super) fn lock_upkeep(&self) -> Result<File, StoreError> {
        let path = self.root.join("upkeep.lock");
        let lock = lock_file(&path)?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(StoreError::Busy),
            Err(TryLockError::Error(source)) => Err(StoreError::io("lock", &path)(source)),
        }
    }

    fn mark(
        &self,
        rules: &CollectRules,
        condemned: &Condemned,
        given_up: Option<&GivenUp>,
    ) -> Result<Marked, StoreError> {
        let lock = self.lock_manifests()?;
        let mut plan = CollectPlan::default();
        let mut images: HashSet<ImageId> = self.list()?.into_iter().collect();
        let mut live = HashSet::new();
        for image in &images {
            live.extend(self.get_manifest(image)?.parse()?.chunk_ids());
        }
        for image in self.images_in("deleted")? {
            let path = self.manifest_path("deleted", &image);
            let at = fs::metadata(&path)
                .and_then(|meta| meta.modified())
                .map_err(StoreError::io("read", &path))?;
            // Nothing but what is given up goes in an eviction.
            if given_up.is_none() && !rules.is_young(at) {
                plan.forget.push(image);
            } else if images.insert(image) {
                live.extend(self.read_manifest(&path, &image)?.parse()?.chunk_ids());
            }
        }
        for image in self.images_in("evicted")? {
            if given_up.is_some_and(|given_up| given_up.images.contains(&image)) {
                plan.evicted.push(image);
            } else if images.insert(image) {
                live.extend(self.get_given_up(&image)?.parse()?.chunk_ids());
            }
        }
        drop(lock);
        (plan.images, plan.live_chunks) = (images.len(), live.len());
        let moves = self.weigh_packs(rules, condemned, given_up, live, &mut plan)?;
        Ok(Marked { plan, images, moves })
    }

    /// Give each live chunk to one pack, and sort the packs by what they hold.
    fn weigh_packs(
        &self,
        rules: &CollectRules,
        condemned: &Condemned,
        given_up: Option<&GivenUp>,
        mut live: HashSet<ChunkId>,
        plan: &mut CollectPlan,
    ) -> Result<HashMap<PackId, Vec<Entry>>, StoreError> {
        let mut moves = HashMap::new();
        for (id, path) in self.packs_on_disk()? {
            if condemned.packs.contains_key(&id) || !self.index().knows(&id) {
                continue;
            }
            let meta = fs::metadata(&path).map_err(StoreError::io("read", &path))?;
            let entries = pack::read_footer(&path)?;
            let total: u64 = entries.iter().map(|e| u64::from(e.len)).sum();
            let (kept, gone): (Vec<Entry>, Vec<Entry>) =
                entries.into_iter().partition(|entry| live.remove(&entry.id));
            // What is neither needed nor given up may stand nowhere else: that is for a collection, after its grace.
            if given_up.is_some_and(|given_up| gone.iter().any(|e| !given_up.chunks.contains(&e.id))) {
                continue;
            }
            let live_bytes: u64 = kept.iter().map(|e| u64::from(e.len)).sum();
            if live_bytes * 100 >= total * u64::from(rules.live_percent_min) && !kept.is_empty() {
                continue;
            }
            if given_up.is_none() && meta.modified().is_ok_and(|at| rules.is_young(at)) {
                plan.spared += usize::from(kept.is_empty());
                continue;
            }
            plan.bytes_removed += meta.len();
            if kept.is_empty() {
                plan.remove.push(id);
            } else {
                plan.bytes_rewritten += live_bytes;
                plan.rewrite.push(id);
                moves.insert(id, kept);
            }
        }
        Ok(moves)
    }

    /// Copy frames of one pack into a new one.
    fn rewrite(&self, entries: &[Entry], condemned: &Condemned) -> Result<(), StoreError> {
        let mut pack = PackWriter::create(&self.root.join("temp"))?;
        for entry in entries {
            pack.append(&self.get_frame(&entry.id)?)?;
        }
        self.adopt(pack, &condemned.names()).map(drop)
    }

    /// Remove the condemned packs that nobody may rely on any more.
    fn sweep(
        &self,
        mut condemned: Condemned,
        marked: &HashSet<ImageId>,
        done: &mut Collected,
    ) -> Result<(), StoreError> {
        self.refresh()?;
        self.pardon(&mut condemned, marked, &done.plan)?;
        // Whom a pack waits for must be on disk before anything goes: the next collection asks for them alone.
        condemned.write(self)?;
        let ready: HashSet<PackId> =
            condemned.packs.iter().filter(|(_, waits)| waits.is_empty()).map(|(pack, _)| *pack).collect();
        for pack in &ready {
            let path = self.pack_path(pack);
            let len = fs::metadata(&path).map_or(0, |meta| meta.len());
            match fs::remove_file(&path) {
                Ok(()) => {
                    (done.packs_removed, done.bytes_freed) = (done.packs_removed + 1, done.bytes_freed + len)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("remove", &path)(error)),
            }
        }
        sync_dir(&self.root.join("packs"))?;
        condemned.packs.retain(|pack, _| !ready.contains(pack));
        done.waiting = condemned.packs.len();
        self.forget(ready);
        condemned.write(self)
    }

    /// Take back what a manifest needs, of those that were not marked.
    fn pardon(
        &self,
        condemned: &mut Condemned,
        marked: &HashSet<ImageId>,
        plan: &CollectPlan,
    ) -> Result<(), StoreError> {
        let _lock = self.lock_manifests()?;
        let packs = condemned.names();
        let mut needed = HashSet::new();
        for (dir, goes) in
            [("manifests", None), ("deleted", Some(&plan.forget)), ("evicted", Some(&plan.evicted))]
        {
            for image in self.images_in(dir)? {
                if marked.contains(&image) || goes.is_some_and(|goes| goes.contains(&image)) {
                    continue;
                }
                let path = self.manifest_path(dir, &image);
                needed.extend(self.read_manifest(&path, &image)?.parse()?.chunk_ids());
            }
        }
        needed.retain(|id| !self.index().has_outside(id, &packs));
        for pack in packs {
            if needed.is_empty() {
                break;
            }
            let path = self.pack_path(&pack);
            let entries = match pack::read_footer(&path) {
                Err(error) if error.is_gone() => continue,
                other => other?,
            };
            let before = needed.len();
            entries.iter().for_each(|entry| {
                needed.remove(&entry.id);
            });
            if needed.len() < before {
                condemned.packs.remove(&pack);
            }
        }
        Ok(())
    }

    /// The writers that are at work now.
    fn living_sessions(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut living = BTreeSet::new();
        for path in files_in(&self.root.join("sessions"))? {
            let Ok(file) = File::open(&path) else { continue };
            match file.try_lock() {
                Ok(()) => drop(fs::remove_file(&path)),
                Err(TryLockError::WouldBlock) => {
                    living.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
                }
                Err(TryLockError::Error(source)) => return Err(StoreError::io("lock", &path)(source)),
            }
        }
        Ok(living)
    }
}
