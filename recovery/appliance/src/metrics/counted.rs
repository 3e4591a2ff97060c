//! What the evidence log tells, counted since the start: how long jobs and their phases take, how long approvals wait, who came in.
//!
//! It is read from the log once, entry by entry, so nothing has to be counted where it happens, and nothing is counted twice.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use recovery_protocol::{
    JobId,
    evidence::Entry,
    job::{HoldReason, JobState},
    operator::Mode,
};

use super::Labels;
use crate::db::{self, Conn, DbError, job::JobRow};

/// Seconds: from one to an hour, and beyond it what an erasure or a person takes.
const BUCKETS: [f64; 12] =
    [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 14_400.0];
/// Reasons that say that an image, or what was read of it, is not what was signed.
const NOT_AS_SIGNED: [HoldReason; 6] = [
    HoldReason::ManifestUnsigned,
    HoldReason::ManifestForeign,
    HoldReason::ManifestAltered,
    HoldReason::ChunkCorrupt,
    HoldReason::ReadBackFailed,
    HoldReason::GoldenNotProven,
];

fn seconds() -> Histogram {
    Histogram::new(BUCKETS)
}

/// Counts and times.
#[derive(Debug)]
pub struct Counted {
    durations: Family<Labels, Histogram>,
    back_in_service: Family<Labels, Histogram>,
    approval_wait: Histogram,
    verify_failures: Counter,
    logins: Family<Labels, Counter>,
    /// Since when jobs wait for an approval.
    asked: Mutex<HashMap<JobId, u64>>,
}

impl Default for Counted {
    fn default() -> Self {
        Self {
            durations: Family::new_with_constructor(seconds),
            back_in_service: Family::new_with_constructor(seconds),
            approval_wait: seconds(),
            verify_failures: Counter::default(),
            logins: Family::default(),
            asked: Mutex::default(),
        }
    }
}

fn label(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn between(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1000.0
}

impl Counted {
    /// Into the registry of a scrape.
    pub fn register(&self, registry: &mut Registry) {
        let durations = self.durations.clone();
        registry.register_with_unit(
            "job_duration",
            "Time that a phase of a job took, and all of it",
            Unit::Seconds,
            durations,
        );
        let help = "From what asked for a recovery to the endpoint in service again";
        registry.register_with_unit("recovery_rto", help, Unit::Seconds, self.back_in_service.clone());
        let help = "Time that jobs waited for their approval";
        registry.register_with_unit("approval_wait", help, Unit::Seconds, self.approval_wait.clone());
        let help = "Images, chunks and restored systems that were not what was signed";
        registry.register("image_verify_failures", help, self.verify_failures.clone());
        registry.register(
            "login",
            "Sessions that were opened, and tries that were refused",
            self.logins.clone(),
        );
    }

    /// An entry of the log, read for the first time.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn see(&self, conn: &mut Conn, entry: &Entry) -> Result<(), DbError> {
        match entry.kind.as_str() {
            "session.opened" => self.login("opened"),
            "login.failed" => self.login("refused"),
            "transition" => self.transition(conn, entry).await?,
            _ => {}
        }
        Ok(())
    }

    fn login(&self, result: &str) {
        self.logins.get_or_create(&vec![label("result", result)]).inc();
    }

    async fn transition(&self, conn: &mut Conn, entry: &Entry) -> Result<(), DbError> {
        let Some(state) =
            entry.facts.get("to").and_then(|to| serde_json::from_value::<JobState>(to.clone()).ok())
        else {
            return Ok(());
        };
        let Some(job) = entry.job else { return Ok(()) };
        if let JobState::Held { reason, .. } | JobState::Failed { reason, .. } = &state
            && NOT_AS_SIGNED.contains(reason)
        {
            self.verify_failures.inc();
        }
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(state, JobState::Held { reason: HoldReason::AwaitingApproval, .. }) {
                asked.insert(job, entry.at_unix_ms);
            } else if let Some(since) = asked.remove(&job)
                && matches!(state, JobState::Working { .. })
            {
                self.approval_wait.observe(between(since, entry.at_unix_ms));
            }
        }
        if !state.is_over() {
            return Ok(());
        }
        let Some(row) = db::job::get(conn, job).await? else { return Ok(()) };
        let phases = db::job::phases(conn, job).await?;
        let kind = kind(&row);
        let observe = |phase: &str, seconds: f64| {
            self.durations.get_or_create(&vec![label("kind", kind), label("phase", phase)]).observe(seconds);
        };
        for phase in &phases {
            let name = serde_json::to_value(phase.stage).ok();
            let name = name.as_ref().and_then(|name| name.as_str()).unwrap_or_default();
            observe(name, between(phase.from_unix_ms, phase.to_unix_ms.unwrap_or(entry.at_unix_ms)));
        }
        observe("all", between(row.asked, entry.at_unix_ms));
        if state == JobState::Recovered {
            // A source's name is none of a closed list.
            let trigger = row.trigger.split(':').next().unwrap_or_default();
            let all = between(row.asked, entry.at_unix_ms);
            self.back_in_service.get_or_create(&vec![label("trigger", trigger)]).observe(all);
        }
        Ok(())
    }
}

fn kind(row: &JobRow) -> &'static str {
    match (row.job.mode, &row.job.capture) {
        (_, Some(_)) => "capture",
        (Mode::Drill, None) => "drill",
        (Mode::Real, None) => "recover",
    }
}
