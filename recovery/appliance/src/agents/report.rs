//! What agents report: milestones become events of the job, progress stays in memory.

use std::time::Duration;

use recovery_protocol::{
    JobId, Problem,
    agent::{BootedAs, Report, ReportReply, Reported, SourceFacts},
    job::{HoldReason, JobState, Stage},
    operator::ProgressView,
};
use serde_json::json;

use super::{Agents, hello::bound_health, session_unknown};
use crate::{
    db::{self, session::Session},
    evidence::Fact,
    jobs::{
        job::{Refusal, Restored, What},
        journal::JournalError,
    },
};

/// How long the answer to "committed" waits until the boot override is cleared: the endpoint reboots after it.
const DISARM_MOST: Duration = Duration::from_secs(10);
/// Most sources of a restore that are written down.
const SOURCES_MOST: usize = 16;
/// Most placed files of a restore that are written down.
const PLACED_MOST: usize = 16;
/// Most preserved partitions of a restore that are written down.
const PRESERVED_MOST: usize = 128;
/// Most lines of what a disk said of its erasure that are written down.
const ERASE_LINES_MOST: usize = 16;
/// Longest detail of a refusal, in characters.
const DETAIL_MOST: usize = 1_000;

pub async fn take(agents: &Agents, report: Report) -> Result<ReportReply, Problem> {
    let session = agents.session(&report.session).await?;
    if !session.record.accepted || session.job != Some(report.job) {
        return Err(session_unknown());
    }
    agents.0.live.spoke(&session.endpoint, session.record.booted_as, agents.0.journal.now());
    match session.record.booted_as {
        BootedAs::RecoverySystem => recovery_system(agents, &session, report).await,
        BootedAs::GoldenSystem => golden_system(agents, &session, report).await,
    }
}

async fn recovery_system(agents: &Agents, session: &Session, report: Report) -> Result<ReportReply, Problem> {
    let job = report.job;
    let (milestone, note) = match report.what {
        Reported::Progress { activity, done_bytes, total_bytes } => {
            let said = ProgressView { activity, done_bytes, total_bytes, rate: 0 };
            return progress(agents, session, (job, report.step_seq), said).await;
        }
        Reported::Refused { reason, detail } => return refused(agents, session, job, reason, detail).await,
        Reported::Enrolled { .. } => return Err(out_of_place()),
        Reported::Kept { kept } => {
            return super::exhibit::reported(agents, session, (job, report.step_seq), *kept).await;
        }
        Reported::Captured { image, captured } => {
            return super::capture::reported(agents, session, job, report.step_seq, image, captured).await;
        }
        Reported::Erasing { method, disk, mut health } => {
            bound_health(&mut health);
            let facts = json!({ "method": method, "disk": disk, "health": health });
            (Restored::Erasing(method, health), Some(("report.erasing", facts)))
        }
        Reported::Erased { mut facts } => {
            facts.reported.truncate(ERASE_LINES_MOST);
            facts.reported.iter_mut().for_each(|line| *line = plain(line));
            let noted = json!(facts);
            (Restored::Erased(facts), Some(("report.erased", noted)))
        }
        Reported::Planned { plan, disk, mut preserved, mut health } => {
            preserved.truncate(PRESERVED_MOST);
            bound_health(&mut health);
            let facts = json!({ "plan": plan, "disk": disk, "preserved": preserved, "health": health });
            (Restored::Planned(plan, health), Some(("report.planned", facts)))
        }
        Reported::Written { stats, sources } => (Restored::Written(stats), sources_note(sources)),
        Reported::Proven { stats, mut preserved } => {
            preserved.truncate(PRESERVED_MOST);
            let facts = json!({ "preserved": preserved });
            let note = (!preserved.is_empty()).then_some(("report.preserved", facts));
            (Restored::Proven(stats), note)
        }
        Reported::Committed { stats, mut placed } => {
            placed.truncate(PLACED_MOST);
            let facts = json!({ "placed": placed });
            let note = (!placed.is_empty()).then_some(("report.placed", facts));
            (Restored::Committed(stats), note)
        }
    };
    let writes_next = matches!(milestone, Restored::Planned(..) | Restored::Erasing(..));
    let committed = matches!(milestone, Restored::Committed(_));
    let what = What::Reported { session: session.hash.clone(), step_seq: report.step_seq, report: milestone };
    let reply = match agents.0.journal.event(job, "agent", what).await {
        Ok(_) | Err(JournalError::Refused(Refusal::Repeated)) => ReportReply::Continue,
        Err(JournalError::Refused(Refusal::Session | Refusal::Order { .. })) => return Err(session_unknown()),
        Err(JournalError::Refused(_)) => {
            let row = db::job::get(&mut *agents.0.journal.db.read().await?, job)
                .await?
                .ok_or_else(session_unknown)?;
            abort(&row.job.state)
        }
        Err(error) => return Err(error.into()),
    };
    if reply == ReportReply::Continue {
        went_on(agents, session, job, note, (writes_next, committed)).await?;
    }
    Ok(reply)
}

/// What follows a milestone that was taken.
async fn went_on(
    agents: &Agents,
    session: &Session,
    job: JobId,
    note: Option<(&'static str, serde_json::Value)>,
    (writes_next, committed): (bool, bool),
) -> Result<(), Problem> {
    if writes_next {
        super::exhibit::too_late(agents, job).await?;
    }
    if let Some((kind, facts)) = note {
        let fact = Fact::new(kind, "agent", facts).about(&session.endpoint).of(Some(job));
        agents.0.journal.note(fact).await?;
    }
    if committed {
        agents.0.live.forget_progress(job);
        disarmed(agents, job).await?;
        // It reboots after this answer.
        agents.0.live.left(&session.endpoint);
    }
    Ok(())
}

/// Progress of an order stays in memory; the answer may be to stop.
async fn progress(
    agents: &Agents,
    session: &Session,
    (job, step_seq): (JobId, u32),
    said: ProgressView,
) -> Result<ReportReply, Problem> {
    let row =
        db::job::get(&mut *agents.0.journal.db.read().await?, job).await?.ok_or_else(session_unknown)?;
    let moving = matches!(
        row.job.state,
        JobState::Working { stage: Stage::Capturing | Stage::Imaging | Stage::ReadBack }
    );
    if !moving {
        return Ok(abort(&row.job.state));
    }
    if row.job.session.as_deref() != Some(&session.hash) || row.job.step_seq != step_seq {
        return Err(session_unknown());
    }
    let ProgressView { activity, done_bytes, total_bytes, .. } = said;
    agents.0.live.progress(job, activity, done_bytes, total_bytes, agents.0.journal.now());
    agents.0.journal.touch();
    Ok(ReportReply::Continue)
}

/// A line of an agent's, within bounds.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(DETAIL_MOST / 4).collect()
}

/// Where the chunks came from, where that tells something: there were several sources, or one was left.
fn sources_note(mut sources: Vec<SourceFacts>) -> Option<(&'static str, serde_json::Value)> {
    sources.truncate(SOURCES_MOST);
    for source in &mut sources {
        (source.url, source.left) = (plain(&source.url), source.left.as_deref().map(plain));
    }
    let tells = sources.len() > 1 || sources.iter().any(|source| source.left.is_some());
    tells.then(|| ("report.sources", json!({ "sources": sources })))
}

pub(super) fn abort(state: &JobState) -> ReportReply {
    let why = match state {
        JobState::Held { reason, detail, .. } => format!("{} {detail}", reason.what()),
        JobState::Cancelled { .. } => "This recovery was stopped.".to_owned(),
        JobState::Failed { .. } => "This recovery was given up.".to_owned(),
        JobState::Working { stage } => format!("The job is in the stage “{}”.", stage.label()),
        JobState::Recovered => "This recovery is over.".to_owned(),
        JobState::Captured => "This capture is over.".to_owned(),
    };
    ReportReply::Abort { why }
}

/// Wait, not for long, until the job left Disarming.
pub(super) async fn disarmed(agents: &Agents, job: JobId) -> Result<(), Problem> {
    let mut changes = agents.0.journal.changes();
    let left = async {
        loop {
            changes.borrow_and_update();
            let row = db::job::get(&mut *agents.0.journal.db.read().await?, job).await?;
            if row.is_none_or(|row| row.job.state != (JobState::Working { stage: Stage::Disarming })) {
                return Ok(());
            }
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(DISARM_MOST, left).await.unwrap_or(Ok(()))
}

/// An agent names its own failures; the others are ours to name.
async fn refused(
    agents: &Agents,
    session: &Session,
    job: JobId,
    reason: HoldReason,
    detail: String,
) -> Result<ReportReply, Problem> {
    let its_own = [
        HoldReason::DiskNotFound,
        HoldReason::DiskAmbiguous,
        HoldReason::DiskUnfit,
        HoldReason::PreservedMissing,
        HoldReason::PreservedLost,
        HoldReason::ManifestUnsigned,
        HoldReason::ManifestForeign,
        HoldReason::ManifestAltered,
        HoldReason::ManifestRefused,
        HoldReason::ChunkCorrupt,
        HoldReason::CaptureRefused,
        HoldReason::DiskFailing,
        HoldReason::EraseUnsupported,
        HoldReason::EraseConflict,
        HoldReason::EraseFailed,
        HoldReason::DiskFailed,
        HoldReason::ReadBackFailed,
        HoldReason::Stalled,
        HoldReason::AgentVersion,
        HoldReason::EnrolmentFailed,
    ];
    let reason = if its_own.contains(&reason) { reason } else { HoldReason::AgentFailed };
    let detail: String = detail.chars().filter(|c| !c.is_control()).take(DETAIL_MOST).collect();
    let row =
        db::job::get(&mut *agents.0.journal.db.read().await?, job).await?.ok_or_else(session_unknown)?;
    let recovery = session.record.booted_as == BootedAs::RecoverySystem;
    if recovery && row.job.session.as_deref() != Some(&session.hash) {
        return Ok(ReportReply::Continue);
    }
    agents.0.live.count("refusal", reason.code());
    match agents.0.journal.event(job, "agent", What::Refused { reason, detail }).await {
        Ok(_) | Err(JournalError::Refused(_)) => Ok(ReportReply::Continue),
        Err(error) => Err(error.into()),
    }
}

async fn golden_system(agents: &Agents, session: &Session, report: Report) -> Result<ReportReply, Problem> {
    match report.what {
        Reported::Enrolled { certificate_serial } => {
            let serial = certificate_serial.to_ascii_lowercase();
            match agents.0.journal.event(report.job, "agent", What::Enrolled { serial }).await {
                Ok(_) | Err(JournalError::Refused(Refusal::Repeated | Refusal::Over)) => {
                    Ok(ReportReply::Continue)
                }
                Err(error) => {
                    let problem = Problem::from(error);
                    Err(agents.refuse(problem, Some(&session.endpoint), Some(report.job)).await)
                }
            }
        }
        Reported::Refused { reason, detail } => refused(agents, session, report.job, reason, detail).await,
        Reported::Erasing { .. }
        | Reported::Erased { .. }
        | Reported::Kept { .. }
        | Reported::Planned { .. }
        | Reported::Progress { .. }
        | Reported::Written { .. }
        | Reported::Captured { .. }
        | Reported::Proven { .. }
        | Reported::Committed { .. } => Err(out_of_place()),
    }
}

fn out_of_place() -> Problem {
    let detail = "this report belongs to the other system";
    Problem::new(
        400,
        "report-out-of-place",
        "The report does not fit",
        detail,
        "use the agent that this appliance serves",
    )
}
