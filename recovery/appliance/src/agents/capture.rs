//! Captures: the disk of an endpoint comes into the store, chunk by chunk, then its manifest; signed by nobody yet.
//!
//! ```text
//! next ─► order ─► missing: which of these ids are not here? ─► frames: these, verified one by one, sealed ─► … ─► manifest ─► report
//! ```
//!
//! What comes up is kept for the proven session of a live capture alone, and believed of no one: each frame is opened and
//! hashed, the manifest must be the one that was ordered and find all its chunks. What was sealed stays when the capture
//! stops, and is not sent again when it goes on.
//!
//! It must never: write anything to an endpoint, or list half an image.

use std::io::Read;

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    routing::post,
};
use futures_util::TryStreamExt as _;
use images::{
    FrameError, ImageId, SignedManifest, StoreError,
    frames::{self, Opener},
};
use recovery_protocol::{
    JobId, Problem,
    agent::{Assignment, BootedAs, CaptureOrder, CaptureSpec, CaptureTaken, Captured, ReportReply},
    erase::ErasePolicy,
    job::{HoldReason, JobState, Stage},
};
use serde_json::json;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{Agents, next, report, session_unknown};
use crate::{
    api::Refusal,
    db::{self, endpoint::Endpoint, job::JobRow, session::Session},
    evidence::Fact,
    jobs::{
        job::{Refusal as JobRefusal, What},
        journal::JournalError,
    },
};

/// Longest body of frames. Agents send less than half of it.
const UPLOAD_LEN_MAX: u64 = 128 << 20;
/// Longest manifest: enough for a disk of 256 GiB, as the agent's own limit.
const MANIFEST_LEN_MAX: u64 = 96 << 20;
/// Most warnings that are kept of one capture, and the longest of them in characters.
const WARNINGS_MOST: (usize, usize) = (64, 400);

/// The routes that bring bytes up.
pub fn routes() -> Router<Agents> {
    Router::new()
        .route("/agent/v1/capture/missing", post(missing))
        .route("/agent/v1/capture/frames", post(take_frames))
        .route("/agent/v1/capture/manifest", post(take_manifest))
}

/// The order to read the disk.
pub async fn order(
    agents: &Agents,
    reached: next::Reached,
    session: &Session,
    row: JobRow,
    endpoint: &Endpoint,
) -> Result<Assignment, Problem> {
    let job = row.job.id;
    let blueprint = agents.0.journal.config.blueprints.get(&endpoint.record.blueprint);
    let serial = match next::disk_of(endpoint, session, blueprint) {
        Ok(serial) => serial,
        Err(detail) => {
            let what = What::Refused { reason: HoldReason::DiskAmbiguous, detail };
            agents.0.journal.event(job, "appliance", what).await?;
            return Ok(next::wait(2, "it is not certain which disk is meant"));
        }
    };
    let mut tx = agents.0.journal.begin().await?;
    let row = match tx
        .event(
            job,
            "agent",
            What::OrderAsked { session: session.hash.clone(), disk: String::new(), erase: ErasePolicy::None },
        )
        .await
    {
        Ok(row) => row,
        Err(JournalError::Refused(_)) => return Ok(next::wait(1, "the job has just moved on")),
        Err(error) => return Err(error.into()),
    };
    let Some(image) = row.job.capture.clone() else { return Err(session_unknown()) };
    let facts = json!({ "step_seq": row.job.step_seq, "image": image, "disk_serial": serial });
    tx.note(Fact::new("order.capture-disk", "appliance", facts).about(&endpoint.id).of(Some(job))).await?;
    tx.commit().await?;
    let known_urls =
        image.previous.map(|previous| agents.source_urls(reached, &format!("/v1/manifests/{previous}")));
    Ok(Assignment::Capture(Box::new(CaptureOrder {
        job,
        step_seq: row.job.step_seq,
        disk: next::selector(Some(serial), blueprint),
        image,
        known_urls: known_urls.unwrap_or_default(),
    })))
}

/// The capture for which this session may bring bytes up.
async fn ordered(agents: &Agents, headers: &HeaderMap) -> Result<CaptureSpec, Problem> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let name = bearer.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(session_unknown)?;
    let session = agents.session(name).await?;
    let job = session.job.ok_or_else(session_unknown)?;
    let row =
        db::job::get(&mut *agents.0.journal.db.read().await?, job).await?.ok_or_else(session_unknown)?;
    let speaks = session.record.accepted
        && session.record.booted_as == BootedAs::RecoverySystem
        && row.job.session.as_deref() == Some(session.hash.as_str());
    let capturing = row.job.state == JobState::Working { stage: Stage::Capturing };
    match row.job.capture {
        Some(spec) if speaks && capturing && row.job.step_seq > 0 => {
            agents.0.live.spoke(&session.endpoint, BootedAs::RecoverySystem, agents.0.journal.now());
            Ok(spec)
        }
        _ => Err(session_unknown()),
    }
}

/// Which of the chunks asked for are not here: request and answer are frame requests.
async fn missing(State(agents): State<Agents>, headers: HeaderMap, body: Body) -> Result<Vec<u8>, Refusal> {
    ordered(&agents, &headers).await?;
    let body = axum::body::to_bytes(body, frames::REQUEST_LEN_MAX)
        .await
        .map_err(|_| unreadable(&FrameError::BadRequest))?;
    let ids = frames::decode_request(&body).map_err(|error| unreadable(&error))?;
    let store = agents.0.golden.store.clone();
    let missing = blocking(move || {
        let missing = store.writer()?.missing(ids.iter().copied())?;
        // In the order asked.
        Ok::<_, StoreError>(ids.into_iter().filter(|id| missing.contains(id)).collect::<Vec<_>>())
    });
    Ok(frames::encode_request(&missing.await?.map_err(|error| not_kept(&error))?))
}

/// Frames, sealed when the answer leaves.
async fn take_frames(
    State(agents): State<Agents>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CaptureTaken>, Refusal> {
    ordered(&agents, &headers).await?;
    let (store, body) = (agents.0.golden.store.clone(), arriving(body, UPLOAD_LEN_MAX));
    let taken = blocking(move || {
        let (writer, mut opener) = (store.writer()?, Opener::new().map_err(FrameError::Transport)?);
        let (mut ingest, mut taken) = (writer.ingest(), CaptureTaken::default());
        frames::read_upload(body, |frame| {
            opener.open(&frame)?;
            let stored = ingest.append(&frame)?;
            taken.chunks += u64::from(stored > 0);
            taken.stored_bytes += stored;
            Ok::<_, StoreError>(())
        })?;
        ingest.finish()?;
        Ok::<_, StoreError>(taken)
    });
    Ok(Json(taken.await?.map_err(|error| not_kept(&error))?))
}

/// The manifest: the one that was ordered, all its chunks here, signed by nobody.
async fn take_manifest(
    State(agents): State<Agents>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<serde_json::Value>, Refusal> {
    let spec = ordered(&agents, &headers).await?;
    let (store, mut body) = (agents.0.golden.store.clone(), arriving(body, MANIFEST_LEN_MAX));
    let kept = blocking(move || {
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).map_err(|error| unreadable(&FrameError::Transport(error)))?;
        let signed = SignedManifest::decode(&bytes).map_err(|error| unreadable(&error))?;
        let header = signed.parse_header().map_err(|error| unreadable(&error))?;
        if !signed.signatures.is_empty() || !is_ordered(&header.identity, &spec) {
            let detail = "the manifest is not the one that was ordered";
            return Err(problem(409, "capture-foreign", detail.to_owned()));
        }
        store.put_manifest(&signed).map_err(|error| not_kept(&error))
    });
    Ok(Json(json!({ "image": kept.await?? })))
}

fn is_ordered(identity: &images::manifest::header::Identity, spec: &CaptureSpec) -> bool {
    (&identity.name, &identity.version, identity.epoch, identity.created_unix_ms)
        == (&spec.name, &spec.version, spec.epoch, spec.created_unix_ms)
}

/// The agent says that all is there.
pub async fn reported(
    agents: &Agents,
    session: &Session,
    job: JobId,
    step_seq: u32,
    image: ImageId,
    mut captured: Captured,
) -> Result<ReportReply, Problem> {
    let row =
        db::job::get(&mut *agents.0.journal.db.read().await?, job).await?.ok_or_else(session_unknown)?;
    let Some(spec) = row.job.capture else { return Err(session_unknown()) };
    let store = agents.0.golden.store.clone();
    let header = blocking(move || Ok::<_, StoreError>(store.get_manifest(&image)?.parse_header()?));
    if !header.await?.is_ok_and(|header| is_ordered(&header.identity, &spec)) {
        let detail = format!("image {image} is not in the store as it was ordered");
        return Err(problem(409, "capture-foreign", detail));
    }
    captured.warnings.truncate(WARNINGS_MOST.0);
    for warning in &mut captured.warnings {
        *warning = warning.chars().filter(|c| !c.is_control()).take(WARNINGS_MOST.1).collect();
    }
    let facts = json!({ "image": image, "captured": captured });
    let what = What::Captured { session: session.hash.clone(), step_seq, image, captured };
    match agents.0.journal.event(job, "agent", what).await {
        Ok(_) => {
            let fact = Fact::new("report.captured", "agent", facts).about(&session.endpoint).of(Some(job));
            agents.0.journal.note(fact).await?;
        }
        Err(JournalError::Refused(JobRefusal::Repeated)) => {}
        Err(JournalError::Refused(JobRefusal::Session | JobRefusal::Order { .. })) => {
            return Err(session_unknown());
        }
        Err(JournalError::Refused(_)) => return Ok(report::abort(&row.job.state)),
        Err(error) => return Err(error.into()),
    }
    agents.0.live.forget_progress(job);
    report::disarmed(agents, job).await?;
    // It reboots after this answer.
    agents.0.live.left(&session.endpoint);
    Ok(ReportReply::Continue)
}

/// A body as something to read on a thread that may wait; what is longer than `most` ends early, and is refused for it.
fn arriving(body: Body, most: u64) -> impl Read + Send + 'static {
    let stream = body.into_data_stream().map_err(std::io::Error::other);
    SyncIoBridge::new(StreamReader::new(stream)).take(most)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let failed = |error: tokio::task::JoinError| problem(500, "appliance-failed", error.to_string());
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

fn unreadable(error: &dyn std::error::Error) -> Problem {
    problem(400, "message-unreadable", error.to_string())
}

/// A full store is the appliance's, what is no chunk is the endpoint's.
fn not_kept(error: &StoreError) -> Problem {
    let detail = match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    match error {
        StoreError::Full { .. } => problem(507, "store-full", detail),
        StoreError::Frame(_) | StoreError::Manifest(_) | StoreError::Incomplete { .. } => {
            problem(400, "message-unreadable", detail)
        }
        _ => problem(500, "appliance-failed", detail),
    }
}

fn problem(status: u16, code: &str, detail: String) -> Problem {
    let remedy = "make room in the image store, or mend what the detail names, then resume the job";
    Problem::new(status, code, "The captured disk was not taken", detail, remedy)
}
