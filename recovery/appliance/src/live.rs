//! What is known of endpoints right now and need not survive a restart: signs of life, bytes of a running activity.
//!
//! Progress comes several times a second from each endpoint; it stays out of the database. After a restart the next
//! report brings it back. It must never: hold anything that a decision depends on alone.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use recovery_protocol::{
    EndpointId, JobId,
    agent::{Activity, BootedAs},
    operator::ProgressView,
};

use crate::{injects::Injects, power::in_band};

/// Weight of the newest sample in the shown rate.
const NEW_SAMPLE: f64 = 0.3;

/// Signs of life and progress.
#[derive(Debug, Default)]
pub struct Live {
    inner: Mutex<Inner>,
    /// What goes wrong on purpose in drills.
    pub injects: Injects,
    /// Endpoints that are to reboot by themselves.
    pub in_band: Arc<in_band::Desk>,
}

#[derive(Debug, Default)]
struct Inner {
    /// When the recovery system of an endpoint spoke last.
    recovering: HashMap<EndpointId, u64>,
    progress: HashMap<JobId, Progress>,
    counts: BTreeMap<(&'static str, String), u64>,
    /// What was said, and when it may be said again.
    said: HashMap<String, u64>,
    failures: HashMap<EndpointId, u32>,
    /// Up to which entry of the evidence log a backup was looked for, and when the last was made.
    saved: (u64, Option<u64>),
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    view: ProgressView,
    at: u64,
    rate: f64,
}

impl Live {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An accepted session of this endpoint spoke. When its golden system did, its recovery system runs no more.
    pub fn spoke(&self, endpoint: &EndpointId, booted_as: BootedAs, at: u64) {
        let mut inner = self.inner();
        match booted_as {
            BootedAs::RecoverySystem => inner.recovering.insert(endpoint.clone(), at),
            BootedAs::GoldenSystem => inner.recovering.remove(endpoint),
        };
    }

    /// Its recovery system was told to reboot, or says that it does: it runs no more, however lately it spoke.
    pub fn left(&self, endpoint: &EndpointId) {
        self.inner().recovering.remove(endpoint);
    }

    /// When an accepted session of this endpoint's recovery system spoke last; 0: not since the start, not since it
    /// left, or not since its golden system spoke.
    pub fn recovery_system_seen(&self, endpoint: &EndpointId) -> u64 {
        self.inner().recovering.get(endpoint).copied().unwrap_or_default()
    }

    /// Progress of a job's running activity.
    pub fn progress(&self, job: JobId, activity: Activity, done_bytes: u64, total_bytes: u64, at: u64) {
        let mut inner = self.inner();
        let before = inner.progress.get(&job).copied().filter(|before| before.view.activity == activity);
        let rate = match before {
            Some(before) if at > before.at => {
                let bytes = done_bytes.saturating_sub(before.view.done_bytes);
                let now = bytes as f64 * 1000.0 / (at - before.at) as f64;
                if before.rate > 0.0 { NEW_SAMPLE * now + (1.0 - NEW_SAMPLE) * before.rate } else { now }
            }
            Some(before) => before.rate,
            None => 0.0,
        };
        let view = ProgressView { activity, done_bytes, total_bytes, rate: rate as u64 };
        inner.progress.insert(job, Progress { view, at, rate });
    }

    /// The last progress of a job.
    pub fn progress_of(&self, job: JobId) -> Option<ProgressView> {
        self.inner().progress.get(&job).map(|progress| progress.view)
    }

    /// The activity of a job ended.
    pub fn forget_progress(&self, job: JobId) {
        self.inner().progress.remove(&job);
    }

    /// Up to which entry a backup was looked for, and when the last one was made.
    pub fn saved(&self) -> (u64, Option<u64>) {
        self.inner().saved
    }

    /// It was looked for up to this entry.
    pub fn note_saved(&self, upto: u64, at: Option<u64>) {
        self.inner().saved = (upto, at);
    }

    /// Whether this is the first time within `every` milliseconds that something is said.
    pub fn first_in(&self, what: &str, at: u64, every: u64) -> bool {
        let mut inner = self.inner();
        let first = inner.said.get(what).is_none_or(|again| at >= *again);
        if first {
            inner.said.retain(|_, again| at < *again);
            inner.said.insert(what.to_owned(), at.saturating_add(every));
        }
        first
    }

    /// A quote of a trusted endpoint was not as predicted; how many in a row now.
    pub fn failed(&self, endpoint: &EndpointId) -> u32 {
        let mut inner = self.inner();
        let failures = inner.failures.entry(endpoint.clone()).or_default();
        *failures += 1;
        *failures
    }

    /// A quote was as predicted, or its failure was acted upon.
    pub fn forget_failures(&self, endpoint: &EndpointId) {
        self.inner().failures.remove(endpoint);
    }

    /// Count something: a family (`attestation`, `refusal`, `trigger`) and a kind within it, of a small closed list.
    pub fn count(&self, family: &'static str, kind: &str) {
        *self.inner().counts.entry((family, kind.to_owned())).or_default() += 1;
    }

    /// The counts of a family.
    pub fn counts(&self, family: &str) -> Vec<(String, u64)> {
        let inner = self.inner();
        inner
            .counts
            .iter()
            .filter(|((f, _), _)| *f == family)
            .map(|((_, kind), n)| (kind.clone(), *n))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_golden_system_that_speaks_ends_its_recovery_system() {
        let live = Live::default();
        let (press, other): (EndpointId, EndpointId) =
            ("press-01".parse().unwrap(), "press-02".parse().unwrap());
        live.spoke(&press, BootedAs::RecoverySystem, 1_000);
        live.spoke(&other, BootedAs::RecoverySystem, 1_500);
        assert_eq!(live.recovery_system_seen(&press), 1_000);
        live.spoke(&press, BootedAs::GoldenSystem, 2_000);
        assert_eq!((live.recovery_system_seen(&press), live.recovery_system_seen(&other)), (0, 1_500));
        live.left(&other);
        assert_eq!(live.recovery_system_seen(&other), 0);
    }

    #[test]
    fn what_was_said_is_said_again_only_after_its_time() {
        let live = Live::default();
        assert!(live.first_in("a", 0, 100) && live.first_in("b", 0, 10));
        assert!(!live.first_in("a", 50, 100) && live.first_in("b", 50, 10));
        assert!(live.first_in("a", 100, 100));
    }

    #[test]
    fn the_rate_is_smoothed_and_starts_anew_with_each_activity() {
        let live = Live::default();
        let job = JobId::new(1, [0; 10]);
        live.progress(job, Activity::Writing, 0, 4_000, 0);
        live.progress(job, Activity::Writing, 1_000, 4_000, 1_000);
        assert_eq!(live.progress_of(job).unwrap().rate, 1_000);
        live.progress(job, Activity::Writing, 3_000, 4_000, 2_000);
        assert_eq!(live.progress_of(job).unwrap().rate, 1_300);
        live.progress(job, Activity::ReadingBack, 10, 4_000, 2_001);
        assert_eq!(live.progress_of(job).unwrap().rate, 0);
    }
}
