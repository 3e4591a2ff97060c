//! The calls about what happened: jobs page by page and step by step, and an order once more; the evidence log entry by entry, and its check.

use aide::axum::routing::{get_with, post_with};
use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    http::HeaderMap,
};
use recovery_protocol::{
    history::{EntryView, LogVerdict, StepView},
    operator::{Decision, JobView},
    people::Permission,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Body, Call, Needs, People, Refusal,
    describe::{once, says},
    endpoint_id, idempotency, job_id,
    paged::{Address, Paged},
    wrapped::Accepted,
};
use crate::service::{
    Actor,
    evidence_look::EvidenceAsk,
    jobs::JobsAsk,
    list::{PAGE_MOST, limit},
};

type Answer<T> = Result<Json<T>, Refusal>;

/// REST under `/api/v1`.
pub fn calls() -> Vec<Call> {
    use Permission as P;
    vec![
        ("/api/v1/jobs", get_with(jobs, says("Jobs, newest first, page by page")), Needs::LOOK),
        (
            "/api/v1/jobs/{job}/steps",
            get_with(steps, says("What happened in a job, oldest first, as evidence has it")),
            Needs::LOOK,
        ),
        (
            "/api/v1/jobs/{job}/retry",
            post_with(retry, once("Order once more what a job was ordered for that was given up or failed")),
            Needs::all(P::Recover),
        ),
        (
            "/api/v1/evidence/entries",
            get_with(entries, says("The evidence log from its newest entry back, page by page")),
            Needs::all(P::Evidence),
        ),
        (
            "/api/v1/evidence/entries/{seq}",
            get_with(entry, says("One entry of the log, with its hash")),
            Needs::all(P::Evidence),
        ),
        (
            "/api/v1/evidence/verify",
            post_with(verify, says("Have the appliance check its whole log, and name the first bad entry")),
            Needs::all(P::Evidence),
        ),
    ]
}

/// Which jobs.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Jobs {
    /// Of this endpoint.
    endpoint: Option<String>,
    /// `open`, `working`, `held`, `recovered`, `captured`, `cancelled` or `failed`.
    state: String,
    /// Asked for by this trigger, or by one of its kind: `operator`, `attestation`, `webhook`, `webhook:fleet`, `drill`.
    trigger: String,
    /// Words that each stand in endpoint, image, trigger, reason or id; in any case.
    q: String,
    /// `newest` (when left out), `oldest`, `endpoint` or `longest`.
    sort: String,
    /// Where the page begins: as the `Link` of the page before has it.
    cursor: String,
    /// Jobs on the page, 1 to 500; 500 when left out.
    limit: Option<usize>,
}

async fn jobs(
    State(people): State<People>,
    address: Address,
    Query(asked): Query<Jobs>,
) -> Result<Paged<JobView>, Refusal> {
    let Jobs { endpoint, state, trigger, q, sort, cursor, limit: wanted } = asked;
    let endpoint = endpoint.as_deref().map(endpoint_id).transpose()?;
    let limit = limit(wanted, PAGE_MOST)?;
    let ask = JobsAsk { state, endpoint, trigger, q, sort, cursor, limit };
    let page = people.service.jobs_page(&ask).await?;
    Ok(Paged::of(&address, page.jobs, page.next))
}

async fn steps(State(people): State<People>, Path(job): Path<String>) -> Answer<Vec<StepView>> {
    Ok(Json(people.service.job_steps(job_id(&job)?).await?))
}

async fn retry(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(job): Path<String>,
    headers: HeaderMap,
    Body(decision): Body<Decision>,
) -> Result<Accepted<JobView>, Refusal> {
    let job = job_id(&job)?;
    let key = headers.get(idempotency::HEADER).map(|value| value.to_str().unwrap_or_default());
    let taken = match key {
        None => None,
        Some(key) => match people.answered.take(key, &format!("retry {job}\n{}", decision.reason))? {
            Ok(taken) => Some(taken),
            Err(job) => return Ok(Accepted(people.service.job(job).await?)),
        },
    };
    let view = people.service.retry(&actor, job, decision).await?;
    if let Some(taken) = taken {
        taken.answered(view.job);
    }
    Ok(Accepted(view))
}

/// Which entries.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Entries {
    /// Of this kind or one below it: `order` means `order.recover`, too.
    kind: String,
    /// By them, as in evidence; a bare name means a person.
    actor: String,
    /// About this endpoint.
    endpoint: Option<String>,
    /// Of this job.
    job: Option<String>,
    /// Not before, milliseconds since 1970.
    from_unix_ms: Option<u64>,
    /// Not after, milliseconds since 1970.
    to_unix_ms: Option<u64>,
    /// Where the page begins: as the `Link` of the page before has it.
    cursor: String,
    /// Entries on the page, 1 to 500; 100 when left out. A page may have fewer, and still a `Link`.
    limit: Option<usize>,
}

async fn entries(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    address: Address,
    Query(asked): Query<Entries>,
) -> Result<Paged<EntryView>, Refusal> {
    let Entries { kind, actor: by, endpoint, job, from_unix_ms, to_unix_ms, cursor, limit: wanted } = asked;
    let endpoint = endpoint.as_deref().map(endpoint_id).transpose()?;
    let job = job.as_deref().map(job_id).transpose()?;
    let limit = limit(wanted, 100)?;
    let ask = EvidenceAsk { kind, actor: by, endpoint, job, from_unix_ms, to_unix_ms, cursor, limit };
    let page = people.service.evidence_page(&actor, &ask).await?;
    Ok(Paged::of(&address, page.entries, page.next))
}

async fn entry(State(people): State<People>, Path(seq): Path<u64>) -> Answer<EntryView> {
    Ok(Json(people.service.evidence_entry(seq).await?))
}

async fn verify(State(people): State<People>, Extension(actor): Extension<Actor>) -> Answer<LogVerdict> {
    Ok(Json(people.service.verify_log(&actor).await?))
}
