//! Following the depot: what it has approved comes into the local store by itself, so that it is here when the uplink is cut.
//!
//! ```text
//!   statements ─► of each name the approved image (without channels: the one of the highest epoch that the key ring trusts)
//!              ─► not here yet: room made for it, pulled ─► how it went: `groundstate status`
//! ```
//!
//! Rounds begin some minutes apart. A depot that is gone, slow or lies costs a word in the status and nothing else: what is here stays,
//! is served, and is what a recovery uses.
//!
//! It must never: push, keep what the key ring refuses, or remove anything but what goes for `store_gib_max` ([`super::room`]).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use images::{
    ImageId, KeyRing, Role, Store, StoreError,
    depot::{self, Depot, DepotError, Evicted, Inventory},
    keys::Stage,
    manifest::header::Identity,
};
use recovery_protocol::operator::DepotView;
use tokio_util::sync::CancellationToken;

use super::{Limits, Needs, Order, S3Depot, Setting, shortfall};
use crate::{chain::chain, clock::Clock, config::Config, golden::Golden, jobs::journal::Journal};

/// What the status says of the depot. Cheap to clone.
#[derive(Clone, Default)]
pub struct DepotState(Arc<Mutex<Option<DepotView>>>);

impl DepotState {
    /// Now; `None` where no depot is configured.
    #[must_use]
    pub fn view(&self) -> Option<DepotView> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut DepotView)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default());
    }
}

/// Brings what the depot approves.
pub struct Follower {
    setting: Setting,
    golden: Golden,
    state: DepotState,
    clock: Arc<dyn Clock>,
    needs: Needs,
    /// Bytes that the store may have.
    pub(super) bytes_max: Option<u64>,
    /// Names of images, which never change.
    names: HashMap<ImageId, Identity>,
}

/// How a round ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Round {
    pulled: Vec<ImageId>,
    /// Images that are in the depot only now.
    evicted: Vec<ImageId>,
    /// Images that could not be had, each with the reason.
    short: Vec<String>,
}

/// Notes what jobs need, and follows the depot where there is one.
pub struct Keeper {
    needs: Needs,
    store: Arc<Store>,
    follower: Option<Follower>,
}

impl Keeper {
    /// Of this appliance.
    #[must_use]
    pub fn new(config: &Config, golden: &Golden, state: &DepotState, journal: &Journal) -> Self {
        let needs = Needs::of_appliance(config, journal);
        let clock = || Arc::clone(&journal.clock);
        let follower =
            |setting| Follower::new(setting, golden.clone(), state.clone(), clock(), needs.clone());
        let follower = config.images.depot.clone().map(follower);
        Self { needs, store: Arc::clone(&golden.store), follower }
    }

    /// Until told to stop. What jobs need is noted however long a round takes, also where nothing is followed.
    pub async fn run(self, stop: CancellationToken) {
        let noting = self.needs.run(self.store, stop.clone());
        match self.follower {
            None => noting.await,
            Some(follower) => tokio::select! {
                () = noting => {}
                () = follower.run(stop) => {}
            },
        }
    }
}

impl Follower {
    /// For this depot.
    #[must_use]
    pub fn new(
        setting: Setting,
        golden: Golden,
        state: DepotState,
        clock: Arc<dyn Clock>,
        needs: Needs,
    ) -> Self {
        state.change(|view| {
            view.place = setting.to_string();
            view.follow_minutes = setting.follow_minutes;
            view.store_bytes_max = setting.store_bytes_max();
        });
        let bytes_max = setting.store_bytes_max();
        Self { setting, golden, state, clock, needs, bytes_max, names: HashMap::new() }
    }

    /// Round after round until told to stop. A round that is under way then ends with the process: the store is whole at any point.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.rounds() => {}
        }
    }

    async fn rounds(mut self) {
        let every = Duration::from_secs(60 * self.setting.follow_minutes);
        if every.is_zero() {
            return std::future::pending().await;
        }
        loop {
            let round = tokio::task::spawn_blocking(move || {
                self.round();
                self
            });
            match round.await {
                Ok(follower) => self = follower,
                Err(_) => return,
            }
            tokio::time::sleep(every).await;
        }
    }

    /// One round, and what the status says of it. Blocking.
    pub(super) fn round(&mut self) {
        let asked = self.clock.now_unix_ms();
        let opened = S3Depot::open(&self.setting, Limits::default());
        let ended = match opened {
            Err(error) => Err(chain(&error)),
            Ok(depot) => self.follow(&depot),
        };
        let (now, bytes) = (self.clock.now_unix_ms(), self.golden.store.bytes());
        self.state.change(|view| {
            view.asked_unix_ms = asked;
            view.store_bytes = bytes.unwrap_or_default();
            match &ended {
                Err(why) => view.trouble.clone_from(why),
                Ok(round) => {
                    view.reached_unix_ms = Some(now);
                    view.pulled += round.pulled.len() as u64;
                    view.evicted += round.evicted.len() as u64;
                    view.trouble = round.short.join("; ");
                }
            }
        });
        match ended {
            Err(why) => tracing::warn!(depot = %self.setting, %why, "the depot could not be followed"),
            Ok(round) => {
                round
                    .short
                    .iter()
                    .for_each(|why| tracing::warn!(depot = %self.setting, %why, "an image did not come"));
                round.pulled.iter().for_each(|image| tracing::info!(%image, "an image came from the depot"));
                round
                    .evicted
                    .iter()
                    .for_each(|image| tracing::info!(%image, "an image went, the depot has it"));
            }
        }
    }

    fn follow(&mut self, depot: &dyn Depot) -> Result<Round, String> {
        let ring = self.golden.ring().map_err(|error| chain(&error))?;
        let store = Arc::clone(&self.golden.store);
        let failed = |error: DepotError| chain(&error);
        // What is said about the images that are here.
        depot::pull(depot, &store, &[], Some(&ring), &mut |_| {}).map_err(failed)?;
        // One that is here and lacks signatures may get them.
        let is_here =
            |image: &ImageId| store.get_manifest(image).is_ok_and(|signed| ring.verify(signed).is_ok());
        let mut round = Round::default();
        for image in self.choose(depot, &ring, &mut round)? {
            for image in image {
                if is_here(&image) {
                    break;
                }
                match self.bring(depot, &ring, image, &mut round) {
                    Ok(None) => {
                        round.pulled.push(image);
                        break;
                    }
                    Ok(Some(why)) => round.short.push(format!("{}: {why}", self.called(&image))),
                    Err(error) if is_of_the_depot(&error) => return Err(failed(error)),
                    Err(error) => round.short.push(format!("{}: {}", self.called(&image), chain(&error))),
                }
            }
        }
        if let Some(bytes_max) = self.bytes_max {
            let done = self.evict(depot, &ring, bytes_max, &mut round).map_err(failed)?;
            round.short.extend(shortfall(&done, bytes_max));
        }
        Ok(round)
    }

    /// Pull an image, with room made for it where the store has a bound; why there is none.
    fn bring(
        &self,
        depot: &dyn Depot,
        ring: &KeyRing,
        image: ImageId,
        round: &mut Round,
    ) -> Result<Option<String>, DepotError> {
        let store = &self.golden.store;
        let pull = || depot::pull(depot, store, &[image], Some(ring), &mut |_| {}).map(drop);
        let Some(bytes_max) = self.bytes_max else { return pull().map(|()| None) };
        let coming = depot::plan_pull(depot, Some(store), &[image], Some(ring))?.bytes;
        let mut room = bytes_max.saturating_sub(coming);
        let done = self.evict(depot, ring, room, round)?;
        if let Some(why) = shortfall(&done, room) {
            return Ok(Some(format!("{} MiB would come, and {why}", coming >> 20)));
        }
        match pull() {
            // The disk has less room than the bound says.
            Err(DepotError::Store(StoreError::Full { path })) => {
                room = room.min(done.bytes_after.saturating_sub(coming));
                let done = self.evict(depot, ring, room, round)?;
                match shortfall(&done, room) {
                    Some(_) => Err(StoreError::Full { path }.into()),
                    None => pull().map(|()| None),
                }
            }
            other => other.map(|()| None),
        }
    }

    fn evict(
        &self,
        depot: &dyn Depot,
        ring: &KeyRing,
        bytes_max: u64,
        round: &mut Round,
    ) -> Result<Evicted, DepotError> {
        let order = Order { bytes_max, now_unix_ms: self.clock.now_unix_ms(), plan: false };
        let done = self.needs.evict(depot, &self.golden.store, ring, order, &mut |_| {})?;
        round.evicted.extend(&done.images);
        Ok(done)
    }

    /// Of each name the images that may be wanted, the best first.
    fn choose(
        &mut self,
        depot: &dyn Depot,
        ring: &KeyRing,
        round: &mut Round,
    ) -> Result<Vec<Vec<ImageId>>, String> {
        let inventory = Inventory::read(depot).map_err(|error| chain(&error))?;
        let mut by_name: BTreeMap<String, Vec<(u64, ImageId)>> = BTreeMap::new();
        for image in inventory.images() {
            let identity = match self.names.get(&image) {
                Some(known) => known.clone(),
                None => match depot::header(depot, &image) {
                    Ok(header) => self.names.entry(image).or_insert(header.identity).clone(),
                    Err(error) if is_of_the_depot(&error) => return Err(chain(&error)),
                    Err(error) => {
                        round.short.push(format!("{image}: {}", chain(&error)));
                        continue;
                    }
                },
            };
            by_name.entry(identity.name).or_default().push((identity.epoch, image));
        }
        let channels = ring.root().root.roles.contains_key(&Role::Channel);
        // A statement is kept with its image: what is said of those that are not here stands in the depot alone.
        let said = depot::statements(depot, &inventory, Some(&*self.golden.store), ring);
        let said = said.map_err(|error| chain(&error))?.0;
        let mut chosen = Vec::new();
        for (name, mut all) in by_name {
            if channels {
                let mut history =
                    self.golden.store.history(&name).map_err(|error| chain(&error))?.believed(ring).0;
                let about =
                    said.iter().filter(|signed| signed.body.about().is_some_and(|(of, _)| of == name));
                history.0.extend(about.cloned());
                history.0.sort_by_key(|signed| signed.body.epoch);
                all.retain(|(_, image)| history.stage_of(image) == Some(Stage::Approved));
            }
            all.sort_unstable_by_key(|(epoch, _)| Reverse(*epoch));
            chosen.push(all.into_iter().map(|(_, image)| image).collect());
        }
        Ok(chosen)
    }

    fn called(&self, image: &ImageId) -> String {
        self.names.get(image).map_or_else(|| image.to_string(), |is| format!("{} {}", is.name, is.version))
    }
}

/// Whether other objects would fare no better.
fn is_of_the_depot(error: &DepotError) -> bool {
    matches!(
        error,
        DepotError::Gone(_) | DepotError::Slow { .. } | DepotError::Forbidden { .. } | DepotError::Store(_)
    )
}
