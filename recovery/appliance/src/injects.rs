//! What goes wrong on purpose, while it does: asked by whoever would do the thing that is to go wrong.
//!
//! ```text
//! drills ─► arm(permit, …) ─► [kind, endpoint, until] ─► hits(job, kind, now): why it goes wrong, or nothing
//!                                                          a job of a rehearsal, of that endpoint, before its end
//! ```
//!
//! Armed only with a [`DrillPermit`], which exists for drill-safe endpoints alone, and met only by a job of a rehearsal. It ends by the clock, whoever forgets
//! it, and with the process. It must never: touch a real job.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use recovery_protocol::{EndpointId, operator::Mode};
use runbooks::runbook::InjectKind;

use crate::{
    jobs::{job::Job, journal::Journal},
    live::Live,
    service::DrillPermit,
};

/// Whether a peer gets no image now, since a drill wants it so.
pub type CutOff = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// For whoever serves images.
#[must_use]
pub fn cut_off(live: &Arc<Live>, journal: &Journal) -> CutOff {
    let (live, clock) = (Arc::clone(live), Arc::clone(&journal.clock));
    Arc::new(move |peer| live.injects.is_cut_off(peer, clock.now_unix_ms()))
}

/// Everything that is armed.
#[derive(Debug, Default)]
pub struct Injects {
    armed: Mutex<Vec<Armed>>,
    /// From where endpoints in a rehearsal fetch their images.
    peers: Mutex<HashMap<EndpointId, IpAddr>>,
}

#[derive(Debug)]
struct Armed {
    drill: String,
    kind: InjectKind,
    endpoint: EndpointId,
    until_ms: u64,
    met: u32,
}

impl Injects {
    /// From now on, until then. What is armed already gets the new end.
    pub fn arm(&self, drill: &str, permit: &DrillPermit, kind: InjectKind, until_ms: u64) {
        let mut all = self.all();
        let same = |armed: &&mut Armed| armed.is(drill, kind, permit.endpoint());
        if let Some(armed) = all.iter_mut().find(same) {
            armed.until_ms = until_ms;
            return;
        }
        let (drill, endpoint) = (drill.to_owned(), permit.endpoint().clone());
        all.push(Armed { drill, kind, endpoint, until_ms, met: 0 });
    }

    /// Why this goes wrong for this job now.
    pub fn hits(&self, job: &Job, kind: InjectKind, now_ms: u64) -> Option<String> {
        if job.mode != Mode::Drill {
            return None;
        }
        let mut all = self.all();
        let meant = |armed: &&mut Armed| {
            armed.kind == kind && armed.endpoint == job.endpoint && now_ms < armed.until_ms
        };
        let armed = all.iter_mut().find(meant)?;
        armed.met += 1;
        let left_s = armed.until_ms.saturating_sub(now_ms).div_ceil(1000);
        Some(format!("inject `{}` of drill {}, for {left_s} s more", kind.word(), armed.drill))
    }

    /// This job's endpoint fetches its image from here: of a rehearsal to be known, of a real job to be forgotten.
    pub fn fetches(&self, job: &Job, peer: IpAddr) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        match job.mode {
            Mode::Drill => drop(peers.insert(job.endpoint.clone(), peer)),
            Mode::Real => drop(peers.remove(&job.endpoint)),
        }
    }

    /// Whether this peer gets no image now.
    pub fn is_cut_off(&self, peer: IpAddr, now_ms: u64) -> bool {
        let mut all = self.all();
        if all.is_empty() {
            return false;
        }
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let meant = |armed: &&mut Armed| {
            armed.kind == InjectKind::ImageServerUnreachable
                && now_ms < armed.until_ms
                && peers.get(&armed.endpoint) == Some(&peer)
        };
        all.iter_mut().find(meant).map(|armed| armed.met += 1).is_some()
    }

    /// Whether nobody answers this drill's questions now.
    pub fn nobody_answers(&self, drill: &str, now_ms: u64) -> bool {
        let mut all = self.all();
        let meant = |armed: &&mut Armed| {
            armed.kind == InjectKind::TechnicianAbsent && armed.drill == drill && now_ms < armed.until_ms
        };
        all.iter_mut().find(meant).map(|armed| armed.met += 1).is_some()
    }

    /// How often it was met so far.
    pub fn met(&self, drill: &str, kind: InjectKind, endpoint: &EndpointId) -> u32 {
        self.all().iter().find(|armed| armed.is(drill, kind, endpoint)).map_or(0, |armed| armed.met)
    }

    /// It is over; how often it was met.
    pub fn disarm(&self, drill: &str, kind: InjectKind, endpoint: &EndpointId) -> u32 {
        let mut all = self.all();
        let met = all.iter().find(|armed| armed.is(drill, kind, endpoint)).map_or(0, |armed| armed.met);
        all.retain(|armed| !armed.is(drill, kind, endpoint));
        met
    }

    /// Kinds that are armed for a drill's endpoint.
    pub fn armed(&self, drill: &str, endpoint: &EndpointId) -> Vec<InjectKind> {
        let all = self.all();
        let mine = all.iter().filter(|armed| armed.drill == drill && armed.endpoint == *endpoint);
        mine.map(|armed| armed.kind).collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Armed {
    fn is(&self, drill: &str, kind: InjectKind, endpoint: &EndpointId) -> bool {
        self.drill == drill && self.kind == kind && self.endpoint == *endpoint
    }
}
