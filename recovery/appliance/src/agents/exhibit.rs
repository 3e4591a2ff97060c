//! Exhibits: what a recovery keeps of the old system, before it may write anything.
//!
//! ```text
//! next ─► order with what to keep ─► bytes, each at its offset ─► … ─► report: kept ─► row closed, in evidence ─► planned, …
//!                                      not taken: said, and the recovery goes on              └─ not said until then: closed all the same
//! ```
//!
//! Bytes are taken of the proven session of a live order alone, never more than ordered, and believed of no one: the digests in evidence are
//! those of what lies here. It must never: hold a recovery, or ask to keep of a disk that may have been written.

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, header},
    routing::post,
};
use recovery_protocol::{
    JobId, Problem,
    agent::{Base64, BootedAs, ReportReply},
    exhibit::{CUTS_MOST, ExhibitState, Keep, KeepOrder, Kept, KeptSoFar},
    job::{JobState, Stage},
};
use serde::Deserialize;

use super::{Agents, report, session_unknown};
use crate::{
    api::Refusal,
    config::Blueprint,
    db::{
        self,
        exhibit::{Exhibit, Record},
        job::JobRow,
        session::Session,
    },
    exhibits::NotTaken,
    jobs::journal::JournalTx,
    keys,
};

/// Longest part: agents send a sixteenth of it.
const PART_LEN_MAX: usize = 16 << 20;
/// Longest words of a cut, in characters.
const WORDS_MOST: usize = 300;

/// The route that brings bytes up.
pub fn routes() -> Router<Agents> {
    Router::new().route("/agent/v1/exhibit", post(take_part))
}

/// What is to be kept in this order; `None`: nothing is, or it is too late.
pub async fn order(
    agents: &Agents,
    tx: &mut JournalTx<'_>,
    row: &JobRow,
    blueprint: Option<&Blueprint>,
) -> Result<Option<KeepOrder>, Problem> {
    let job = &row.job;
    let written = job.plan.is_some() || job.erasing.is_some() || job.erased.is_some();
    let before = db::exhibit::get(tx.conn(), job.id).await?;
    let closed = before.is_some_and(|exhibit| exhibit.state != ExhibitState::Ordered);
    if job.keep == Keep::None || written || closed {
        return Ok(None);
    }
    let config = &agents.0.journal.config.exhibits;
    let nonce = keys::random::<32>().map_err(|error| {
        Problem::new(
            500,
            "no-random",
            "The system gives no random bytes",
            error.to_string(),
            "look at the system's log",
        )
    })?;
    let order = KeepOrder {
        keep: job.keep,
        seconds: job
            .keep_seconds
            .or_else(|| blueprint.and_then(|blueprint| blueprint.keep_seconds))
            .unwrap_or(config.seconds),
        bytes: config.bytes,
        files: blueprint
            .and_then(|blueprint| blueprint.keep_files.clone())
            .unwrap_or_else(|| config.files.clone()),
        nonce: Base64(nonce.to_vec()),
    };
    let exhibit = Exhibit {
        job: job.id,
        endpoint: job.endpoint.clone(),
        state: ExhibitState::Ordered,
        ordered: tx.at,
        record: Record {
            keep: order.keep,
            ordered_by: job.asked_by.clone(),
            seconds: order.seconds,
            bytes_most: order.bytes,
            patterns: order.files.clone(),
            kept_at: None,
            kept: None,
            sealed: agents.0.service.exhibits().is_sealed(),
            deleted: None,
        },
    };
    db::exhibit::put(tx.conn(), &exhibit).await?;
    Ok(Some(order))
}

#[derive(Deserialize)]
struct At {
    at: u64,
}

/// A part of it.
async fn take_part(
    State(agents): State<Agents>,
    Query(At { at }): Query<At>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<KeptSoFar>, Refusal> {
    let exhibit = ordered(&agents, &headers).await?;
    let body = axum::body::to_bytes(body, PART_LEN_MAX).await.map_err(|_| {
        let detail = format!("a part did not come whole, or has more than {PART_LEN_MAX} bytes");
        not_taken(400, "message-unreadable", detail)
    })?;
    let exhibits = agents.0.service.exhibits().clone();
    let (most, all) = (exhibit.record.bytes_most, agents.0.journal.config.exhibits.max_bytes);
    let job = exhibit.job;
    let taken = blocking(move || exhibits.append(job, at, &body, most, all)).await?.map_err(|error| {
        let (status, code) = match error {
            NotTaken::Gap { .. } | NotTaken::TooMuch(_) => (409, "exhibit-out-of-order"),
            // RFC 4918, section 11.5.
            NotTaken::Full(_) | NotTaken::LittleRoom => (507, "exhibits-full"),
            NotTaken::Seal(_) | NotTaken::Io { .. } => (507, "exhibit-not-written"),
        };
        tracing::warn!(%job, %error, "a part of an exhibit is not taken");
        not_taken(status, code, error.to_string())
    })?;
    Ok(Json(KeptSoFar { bytes: taken }))
}

/// The exhibit for which this session may bring bytes up.
async fn ordered(agents: &Agents, headers: &HeaderMap) -> Result<Exhibit, Problem> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let name = bearer.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(session_unknown)?;
    let session = agents.session(name).await?;
    let job = session.job.ok_or_else(session_unknown)?;
    let mut conn = agents.0.journal.db.read().await?;
    let row = db::job::get(&mut conn, job).await?.ok_or_else(session_unknown)?;
    let exhibit = db::exhibit::get(&mut conn, job).await?;
    drop(conn);
    let speaks = session.record.accepted
        && session.record.booted_as == BootedAs::RecoverySystem
        && row.job.session.as_deref() == Some(session.hash.as_str())
        && row.job.state == JobState::Working { stage: Stage::Imaging };
    match exhibit.filter(|exhibit| speaks && exhibit.state == ExhibitState::Ordered) {
        Some(exhibit) => {
            agents.0.live.spoke(&session.endpoint, BootedAs::RecoverySystem, agents.0.journal.now());
            Ok(exhibit)
        }
        None => Err(session_unknown()),
    }
}

/// The agent says what came of it. It goes on, whatever that is.
pub async fn reported(
    agents: &Agents,
    session: &Session,
    (job, step_seq): (JobId, u32),
    mut told: Kept,
) -> Result<ReportReply, Problem> {
    let row =
        db::job::get(&mut *agents.0.journal.db.read().await?, job).await?.ok_or_else(session_unknown)?;
    if row.job.state != (JobState::Working { stage: Stage::Imaging }) {
        return Ok(report::abort(&row.job.state));
    }
    if row.job.session.as_deref() != Some(&session.hash) || row.job.step_seq != step_seq {
        return Err(session_unknown());
    }
    told.cut.truncate(CUTS_MOST);
    for text in told.cut.iter_mut().flat_map(|cut| [&mut cut.what, &mut cut.why]) {
        *text = text.chars().filter(|c| !c.is_control()).take(WORDS_MOST).collect();
    }
    agents.0.live.forget_progress(job);
    agents.0.service.close_exhibit(job, Some(told), "").await?;
    Ok(ReportReply::Continue)
}

/// From here on the disk may be written: what was not said until now is not said any more.
pub async fn too_late(agents: &Agents, job: JobId) -> Result<(), Problem> {
    let why = "the recovery system went on without a word of it: its boot kit may be of an older version, or it was interrupted";
    agents.0.service.close_exhibit(job, None, why).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let failed = |error: tokio::task::JoinError| not_taken(500, "appliance-failed", error.to_string());
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

fn not_taken(status: u16, code: &str, detail: String) -> Problem {
    let remedy = "nothing: the recovery goes on without it, and the record says so";
    Problem::new(status, code, "What was kept of the old system was not taken", detail, remedy)
}
