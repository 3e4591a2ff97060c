//! Numbers for `/metrics`, read when they are asked for.

use std::sync::atomic::Ordering;

use recovery_protocol::Problem;

use super::{Inner, views};
use crate::{boot, db};

/// Numbers for `/metrics`: gauges read from the database, counters since start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Endpoints by state, as in the JSON form.
    pub endpoints: Vec<(String, u64)>,
    /// Open jobs by stage, as in the JSON form.
    pub jobs_open: Vec<(String, u64)>,
    /// Jobs over by result: `recovered`, `cancelled`, `failed`.
    pub jobs_over: Vec<(String, u64)>,
    /// What the boot layer did since the start, by kind.
    pub boot_requests: Vec<(String, u64)>,
    /// What the boot layer did, by protocol and outcome.
    pub boot_outcomes: boot::Counts,
    /// What the boot layer refused since the start, by kind.
    pub boot_refusals: Vec<(String, u64)>,
    /// Attestations by verdict.
    pub attestations: Vec<(String, u64)>,
    /// Refusals by problem code.
    pub refusals: Vec<(String, u64)>,
    /// Triggers by decision.
    pub triggers: Vec<(String, u64)>,
    /// Bytes of chunk frames sent.
    pub frame_bytes: u64,
    /// STOP stands.
    pub stopped: bool,
    /// Entries in the evidence log.
    pub evidence_entries: u64,
}

/// As they are now.
pub async fn now(inner: &Inner) -> Result<Figures, Problem> {
    let mut conn = inner.journal.db.read().await?;
    let mut jobs_open = std::collections::BTreeMap::<String, u64>::new();
    for row in db::job::open(&mut conn).await? {
        if let Some(stage) = row.job.state.stage() {
            *jobs_open.entry(views::stage_name(stage)).or_default() += 1;
        }
    }
    // A lock is not held across an await.
    let boot_refusals = inner.desk.refused().counts();
    let over = |state: &String| !["working", "held"].contains(&state.as_str());
    Ok(Figures {
        endpoints: db::endpoint::count_by_state(&mut conn).await?,
        jobs_open: jobs_open.into_iter().collect(),
        jobs_over: db::job::count_by_state(&mut conn).await?.into_iter().filter(|(s, _)| over(s)).collect(),
        boot_requests: inner.desk.counts(),
        boot_outcomes: inner.desk.outcomes(),
        boot_refusals,
        attestations: inner.live.counts("attestation"),
        refusals: inner.live.counts("refusal"),
        triggers: inner.live.counts("trigger"),
        frame_bytes: inner.frame_bytes.load(Ordering::Relaxed),
        stopped: db::stop::standing(&mut conn).await?.is_some(),
        evidence_entries: db::log::last(&mut conn).await?.map_or(0, |(seq, _)| seq),
    })
}
