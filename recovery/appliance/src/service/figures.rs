//! Numbers for `/metrics`, read when they are asked for.

use std::{collections::BTreeMap, path::Path, sync::atomic::Ordering};

use recovery_protocol::{
    Problem,
    job::{HoldReason, JobState, Stage},
};

use super::{Inner, views};
use crate::{
    boot, db,
    evidence::anchor::Anchors,
    notify::{Ages, Told},
};

/// Numbers for `/metrics`: gauges read from the database, counters since start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Endpoints by state, as in the JSON form.
    pub endpoints: Vec<(String, u64)>,
    /// Jobs at work by stage, as in the JSON form.
    pub jobs_running: Vec<(String, u64)>,
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
    /// Jobs that wait for an approval.
    pub approvals_pending: u64,
    /// Milliseconds since the oldest job was asked for that has not come to its endpoint.
    pub queue_oldest_ms: u64,
    /// The longest silence of a recovery system that is at work, milliseconds.
    pub silence_ms: u64,
    /// Messages of each channel.
    pub told: Vec<Told>,
    /// Entries that who follows the evidence log has not got yet.
    pub behind: Vec<(String, u64)>,
    /// When what must happen again and again happened last.
    pub ages: Ages,
    /// Disks by what lies on them: size and what is free, bytes.
    pub disks: Vec<(&'static str, u64, u64)>,
    /// Milliseconds since 1970.
    pub now_unix_ms: u64,
}

/// What the open jobs show.
#[derive(Default)]
struct Open {
    running: BTreeMap<String, u64>,
    approvals: u64,
    queue_oldest_ms: u64,
    silence_ms: u64,
}

/// Stages in which a recovery system speaks all the time.
const SPEAKS: [Stage; 4] = [Stage::Proving, Stage::Capturing, Stage::Imaging, Stage::ReadBack];

fn look(inner: &Inner, open: Vec<db::job::JobRow>, now: u64) -> Open {
    let mut seen = Open::default();
    for row in open {
        match &row.job.state {
            JobState::Working { stage } => {
                *seen.running.entry(views::stage_name(*stage)).or_default() += 1;
                if *stage < Stage::AgentWait {
                    seen.queue_oldest_ms = seen.queue_oldest_ms.max(now.saturating_sub(row.asked));
                }
                let spoke = inner.live.recovery_system_seen(&row.job.endpoint);
                if SPEAKS.contains(stage) && spoke > 0 {
                    seen.silence_ms = seen.silence_ms.max(now.saturating_sub(spoke));
                }
            }
            JobState::Held { reason: HoldReason::AwaitingApproval | HoldReason::AwaitingWord, .. } => {
                seen.approvals += 1
            }
            _ => {}
        }
    }
    seen
}

/// Size of a directory's disk and what is free on it; None: it cannot be asked.
fn disk(of: &'static str, dir: &Path) -> Option<(&'static str, u64, u64)> {
    let disk = nix::sys::statvfs::statvfs(dir).ok()?;
    Some((of, disk.blocks() * disk.fragment_size(), disk.blocks_available() * disk.fragment_size()))
}

/// As they are now.
pub async fn now(inner: &Inner) -> Result<Figures, Problem> {
    let mut conn = inner.journal.db.read().await?;
    let (config, now) = (&inner.journal.config, inner.journal.now());
    let open = look(inner, db::job::open(&mut conn).await?, now);
    let anchors = Anchors::new(config.evidence.anchors(&config.data_dir), inner.journal.origin());
    let behind = inner.channels.sinks(&mut conn).await?;
    let store = config.image_store();
    // A lock is not held across an await.
    let boot_refusals = inner.desk.refused().counts();
    let over = |state: &String| !["working", "held"].contains(&state.as_str());
    Ok(Figures {
        endpoints: db::endpoint::count_by_state(&mut conn).await?,
        jobs_running: open.running.into_iter().collect(),
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
        approvals_pending: open.approvals,
        queue_oldest_ms: open.queue_oldest_ms,
        silence_ms: open.silence_ms,
        told: inner.channels.told(&mut conn).await?,
        behind: behind.into_iter().map(|sink| (sink.name, sink.behind)).collect(),
        ages: Ages::now(&mut conn, &anchors).await?,
        disks: [disk("state", &config.data_dir), disk("images", &store)].into_iter().flatten().collect(),
        now_unix_ms: now,
    })
}
