//! Room: how large the local store may be in front of its depot, and what in it a recovery needs.
//!
//! Nothing goes without `store_gib_max`. With it whole images go that stand in the depot ([`images::depot::evict`]), and of those that
//! stay here this decides one kind: what a recovery that is ordered now, or is under way, would use.
//!
//! It must never: let an image go while it cannot be told which ones jobs use.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use images::{
    ImageId, KeyRing, Role, Store, StoreError,
    depot::{self, Depot, DepotError, EvictRules, Evicted, Stays},
};

use tokio_util::sync::CancellationToken;

use crate::{
    config::{Blueprint, Config},
    db,
    jobs::journal::Journal,
};

/// What was used or served within this time is being served. The slowest stage of a job is an hour; its image is wanted besides.
const IDLE_MIN: Duration = Duration::from_secs(3600);

/// What jobs need is noted this often: well within [`IDLE_MIN`], or the command line would let it go.
const NOTE_EVERY: Duration = if cfg!(test) { Duration::from_millis(10) } else { Duration::from_secs(600) };

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Bytes that the store may have then.
    pub bytes_max: u64,
    /// Now, milliseconds since 1970 UTC.
    pub now_unix_ms: u64,
    /// Change nothing.
    pub plan: bool,
}

/// The images of open jobs; `None` when it cannot be told.
pub type InJobs = Arc<dyn Fn() -> Option<HashSet<ImageId>> + Send + Sync>;

/// Who needs images here.
#[derive(Clone)]
pub struct Needs {
    /// Names and versions that blueprints ask for by both.
    versions: HashSet<(String, String)>,
    in_jobs: InJobs,
}

impl Needs {
    /// Of these blueprints and jobs.
    pub fn new<'b>(blueprints: impl Iterator<Item = &'b Blueprint>, in_jobs: InJobs) -> Self {
        let version = |b: &Blueprint| Some((b.image.clone(), b.version.clone()?));
        Self { versions: blueprints.filter_map(version).collect(), in_jobs }
    }

    /// Of this appliance: its blueprints, and the jobs in its database.
    pub fn of_appliance(config: &Config, journal: &Journal) -> Self {
        let (db, runtime) = (journal.db.clone(), tokio::runtime::Handle::current());
        let in_jobs = move || {
            // Asked from a thread that may block.
            let jobs = runtime.block_on(async { db::job::open(&mut *db.read().await.ok()?).await.ok() })?;
            Some(jobs.iter().map(|row| row.job.image).collect())
        };
        Self::new(config.blueprints.values(), Arc::new(in_jobs))
    }

    /// Of who orders these names and versions, the newest or the approved: the command line knows of no jobs but by what is noted.
    pub fn of_versions(versions: HashSet<(String, String)>) -> Self {
        Self { versions, in_jobs: Arc::new(|| Some(HashSet::new())) }
    }

    /// [`Needs::note`] until told to stop. An appliance without a depot does so as well: who evicts by hand may name one in a file of
    /// their own.
    pub async fn run(self, store: Arc<Store>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_noting(store) => {}
        }
    }

    async fn keep_noting(self, store: Arc<Store>) {
        let mut every = tokio::time::interval(NOTE_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let (needs, store) = (self.clone(), Arc::clone(&store));
            if tokio::task::spawn_blocking(move || needs.note(&store)).await.is_err() {
                return;
            }
        }
    }

    /// Note that the images of open jobs are used: who evicts from another process sees it.
    pub fn note(&self, store: &Store) {
        for image in (self.in_jobs)().unwrap_or_default() {
            // One that is not here yet.
            let _ = store.note_use(&image);
        }
    }

    /// What a recovery would take that is ordered now.
    fn current(&self, store: &Store, ring: &KeyRing) -> Result<HashSet<ImageId>, StoreError> {
        let channels = ring.root().root.roles.contains_key(&Role::Channel);
        let mut newest: BTreeMap<String, (u64, ImageId)> = BTreeMap::new();
        let mut current = HashSet::new();
        for image in store.list()? {
            // What the key ring refuses, no recovery takes.
            let Ok(manifest) = ring.verify(store.get_manifest(&image)?) else { continue };
            let identity = &manifest.header().identity;
            if self.versions.contains(&(identity.name.clone(), identity.version.clone())) {
                current.insert(image);
            }
            let best = newest.entry(identity.name.clone()).or_insert((identity.epoch, image));
            *best = (*best).max((identity.epoch, image));
        }
        for (name, (_, image)) in newest {
            let approved = match channels {
                true => store.history(&name)?.believed(ring).0.approved().map(|said| said.body.image),
                false => Some(image),
            };
            current.extend(approved);
        }
        Ok(current)
    }

    /// Bring the store below a size.
    ///
    /// # Errors
    /// Those of [`images::depot::evict`].
    pub fn evict(
        &self,
        depot: &dyn Depot,
        store: &Store,
        ring: &KeyRing,
        order: Order,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Evicted, DepotError> {
        let Order { bytes_max, now_unix_ms, plan } = order;
        let current = self.current(store, ring)?;
        let is_wanted = |image: &ImageId| match (self.in_jobs)() {
            Some(jobs) => current.contains(image) || jobs.contains(image),
            None => true,
        };
        let rules = EvictRules { bytes_max, now_unix_ms, idle_min: IDLE_MIN, is_wanted: &is_wanted, plan };
        depot::evict(depot, store, &rules, progress)
    }
}

/// Why a store is not below its bound, in a sentence; none when it is.
#[must_use]
pub fn shortfall(done: &Evicted, bytes_max: u64) -> Option<String> {
    if done.bytes_after <= bytes_max {
        return None;
    }
    let words = [
        (Stays::Wanted, "a recovery would use"),
        (Stays::Held, "are held"),
        (Stays::Served, "were served lately"),
        (Stays::OnlyHere, "are not whole in the depot"),
        (Stays::Damaged, "cannot be read"),
    ];
    let count = |which| done.stay.iter().filter(|(_, why)| *why == which).count();
    let stay: Vec<String> = words
        .iter()
        .filter(|(which, _)| count(*which) > 0)
        .map(|(which, words)| format!("{} {words}", count(*which)))
        .collect();
    let why = if stay.is_empty() { "all that is left is of no image".to_owned() } else { stay.join(", ") };
    Some(format!(
        "the store has {} MiB, more than store_gib_max allows, and nothing may go (images: {why}); raise it, push what is only here \
         (`groundstate image depot push`), or delete what nobody needs",
        done.bytes_after >> 20
    ))
}
