//! The calls of [`recovery_protocol::operator`], one handler each: read the request, ask the service, answer.

use aide::axum::routing::{get_with, post_with};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use recovery_protocol::operator::{
    Approval, CaptureRequest, ChangeEndpoint, Decision, EndpointView, EvidenceKey, ImportPlan, JobView,
    NewEndpoint, PairRequest, PlaneView, RecoverRequest, RemovedEndpoint, Resolution, StatusView,
};
use recovery_protocol::{
    Problem,
    net::{BootView, NetView},
};
use recovery_protocol::{
    people::{ConsoleLink, Permission},
    policy::{PolicyTried, PolicyTry},
    stop::StopAnswer,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Body, Call, Needs, People, Refusal,
    describe::{gives, once, revised, says, takes},
    endpoint_id, gate, idempotency, job_id, selector,
    wrapped::{Accepted, Versioned},
};
use crate::service::Actor;

/// Longest sheet in bytes: some twenty thousand lines.
const SHEET_LEN_MAX: usize = 8 << 20;

type Answer<T> = Result<Json<T>, Refusal>;

/// REST under `/api/v1`.
pub fn calls() -> Vec<Call> {
    [site(), endpoints_and_jobs(), log(), boots()].concat()
}

fn site() -> Vec<Call> {
    use Permission as P;
    vec![
        ("/api/v1/status", get_with(status, says("The appliance in one look")), Needs::LOOK),
        (
            "/api/v1/policy/try",
            post_with(
                try_policy,
                says("What another configuration would have made of what was reported before"),
            ),
            Needs::all(P::Evidence),
        ),
        (
            "/api/v1/stop",
            get_with(stop, says("Whether STOP stands")).post_with(press_stop, says("Press STOP")),
            Needs::to_write(P::PressStop),
        ),
        (
            "/api/v1/stop/release",
            post_with(release_stop, says("Agree to release STOP; two people must")),
            Needs::all(P::ReleaseStop),
        ),
        (
            "/api/v1/plane",
            get_with(plane, says("What the embedded control plane holds of endpoints, since a change")),
            Needs::LOOK,
        ),
        (
            "/api/v1/sheet",
            get_with(export, gives("text/csv", "All endpoints as a sheet"))
                .post_with(import, takes("text/csv", "What a sheet changes; applied by the hash of the plan"))
                .layer(DefaultBodyLimit::max(SHEET_LEN_MAX)),
            Needs::to_write(P::Endpoints),
        ),
        (
            "/api/v1/console-links",
            post_with(console_link, says("A link that opens the console once")),
            Needs::all(P::Session),
        ),
    ]
}

fn endpoints_and_jobs() -> Vec<Call> {
    use Permission as P;
    vec![
        (
            "/api/v1/endpoints",
            get_with(endpoints, says("Endpoints, those that a selector means"))
                .post_with(add_endpoint, says("Put an endpoint on record, or approve a discovered one")),
            Needs::to_write(P::Endpoints),
        ),
        (
            "/api/v1/endpoints/{endpoint}",
            get_with(endpoint, says("One endpoint"))
                .patch_with(change_endpoint, revised("Change its record"))
                .delete_with(remove_endpoint, revised("Take it off the record")),
            Needs::to_write(P::Endpoints),
        ),
        (
            "/api/v1/endpoints/{endpoint}/recover",
            post_with(recover, once("Order its recovery; an open job is returned, not doubled")),
            Needs::all(P::Recover),
        ),
        (
            "/api/v1/endpoints/{endpoint}/capture",
            post_with(capture, says("Order that its disk becomes an image")),
            Needs::all(P::Capture),
        ),
        (
            "/api/v1/endpoints/{endpoint}/pair",
            post_with(pair, says("Say that the code on its screen is the one shown here")),
            Needs::all(P::Pair),
        ),
        (
            "/api/v1/endpoints/{endpoint}/resolve",
            post_with(resolve, says("Decide which of two computers it is")),
            Needs::all(P::Endpoints),
        ),
        ("/api/v1/jobs/{job}", get_with(job, says("One job")), Needs::LOOK),
        (
            "/api/v1/jobs/{job}/approve",
            post_with(approve, says("Approve what was seen, by its hash")),
            Needs::all(P::Approve),
        ),
        ("/api/v1/jobs/{job}/resume", post_with(resume, says("Let a held job go on")), Needs::all(P::Resume)),
        ("/api/v1/jobs/{job}/cancel", post_with(cancel, says("Give a job up")), Needs::all(P::Stop)),
    ]
}

fn log() -> Vec<Call> {
    use Permission as P;
    let evidence_lines = gives("application/jsonl", "The evidence log, or a job's entries, a line each");
    vec![
        ("/api/v1/evidence", get_with(evidence, evidence_lines), Needs::all(P::Evidence)),
        (
            "/api/v1/evidence/key",
            get_with(evidence_key, says("The public half of the evidence key")),
            Needs::LOOK,
        ),
        (
            "/api/v1/evidence/checkpoint",
            get_with(
                evidence_checkpoint,
                says("A signed note of where the log stands (C2SP tlog-checkpoint)"),
            ),
            Needs::all(P::Evidence),
        ),
        (
            "/api/v1/evidence/since",
            post_with(evidence_since, says("The proof that the log continues a checkpoint")),
            Needs::all(P::Evidence),
        ),
        (
            "/api/v1/evidence/entries/{seq}/proof",
            get_with(evidence_proof, says("The proof that an entry is in the log (C2SP tlog-proof)")),
            Needs::all(P::Evidence),
        ),
    ]
}

fn boots() -> Vec<Call> {
    use Permission as P;
    vec![
        ("/api/v1/net", get_with(net, says("The boot network, trouble first")), Needs::LOOK),
        (
            "/api/v1/net/probe",
            post_with(probe, says("Ask the network who else serves boots on it")),
            Needs::all(P::Network),
        ),
        ("/api/v1/net/{endpoint}", get_with(boot, says("An endpoint's boot, hop by hop")), Needs::LOOK),
    ]
}

async fn status(State(people): State<People>) -> Answer<StatusView> {
    Ok(Json(people.service.status().await?))
}

#[derive(Deserialize, JsonSchema)]
struct Meant {
    selector: Option<String>,
}

async fn endpoints(State(people): State<People>, Query(meant): Query<Meant>) -> Answer<Vec<EndpointView>> {
    let selector = meant.selector.as_deref().map(selector).transpose()?;
    Ok(Json(people.service.endpoints(selector.as_ref()).await?))
}

async fn endpoint(State(people): State<People>, Path(name): Path<String>) -> Revised {
    Ok(people.service.endpoint(&endpoint_id(&name)?).await?.into())
}

type Revised = Result<Versioned<EndpointView>, Refusal>;

/// The revision in `If-Match` (RFC 9110 §13.1.1); without the header, or with `*`, any.
pub(super) fn revision(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let revision = text.trim_matches('"').parse().ok();
    if text == "*" || revision.is_some() {
        return Ok(revision);
    }
    let detail = format!("If-Match is `{text}`, which is no revision");
    Err(Refusal::bad_request("bad-revision", detail, "send the `ETag` as you read it"))
}

async fn change_endpoint(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(order): Body<ChangeEndpoint>,
) -> Revised {
    let (endpoint, revision) = (endpoint_id(&name)?, revision(&headers)?);
    Ok(people.service.change_endpoint(&actor, &endpoint, order, revision).await?.into())
}

async fn remove_endpoint(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(order): Body<Decision>,
) -> Answer<RemovedEndpoint> {
    let (endpoint, revision) = (endpoint_id(&name)?, revision(&headers)?);
    Ok(Json(people.service.remove_endpoint(&actor, &endpoint, order, revision).await?))
}

async fn export(State(people): State<People>) -> Result<Response, Refusal> {
    let sheet = people.service.export_sheet().await?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"endpoints.csv\""),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, sheet).into_response())
}

#[derive(Deserialize, JsonSchema)]
struct Apply {
    apply: Option<String>,
}

async fn import(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Query(order): Query<Apply>,
    sheet: Result<Bytes, BytesRejection>,
) -> Answer<ImportPlan> {
    let sheet = sheet.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("a sheet has at most {SHEET_LEN_MAX} bytes");
            Refusal(Problem::new(413, "body-too-long", "The sheet is too long", detail, "split it"))
        }
        _ => Refusal::bad_request("bad-body", "the sheet could not be read", "send it again"),
    })?;
    Ok(Json(people.service.import_sheet(&actor, &sheet, order.apply.as_deref()).await?))
}

async fn add_endpoint(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Body(new): Body<NewEndpoint>,
) -> Answer<EndpointView> {
    Ok(Json(people.service.add_endpoint(&actor, new).await?))
}

async fn recover(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(request): Body<RecoverRequest>,
) -> Result<Accepted<JobView>, Refusal> {
    let endpoint = endpoint_id(&name)?;
    let key = headers.get(idempotency::HEADER).map(|value| value.to_str().unwrap_or_default());
    let taken = match key {
        None => None,
        Some(key) => match people.answered.take(key, &format!("{endpoint}\n{}", request.reason))? {
            Ok(taken) => Some(taken),
            Err(job) => return Ok(Accepted(people.service.job(job).await?)),
        },
    };
    let view = people.service.recover(&actor, &endpoint, request).await?;
    if let Some(taken) = taken {
        taken.answered(view.job);
    }
    Ok(Accepted(view))
}

async fn capture(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(request): Body<CaptureRequest>,
) -> Result<Accepted<JobView>, Refusal> {
    let view = people.service.capture(&actor, &endpoint_id(&name)?, request).await?;
    Ok(Accepted(view))
}

async fn pair(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(request): Body<PairRequest>,
) -> Answer<EndpointView> {
    Ok(Json(people.service.pair(&actor, &endpoint_id(&name)?, request).await?))
}

async fn resolve(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(order): Body<Resolution>,
) -> Revised {
    Ok(people.service.resolve_conflict(&actor, &endpoint_id(&name)?, order).await?.into())
}

async fn job(State(people): State<People>, Path(job): Path<String>) -> Answer<JobView> {
    Ok(Json(people.service.job(job_id(&job)?).await?))
}

async fn approve(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(job): Path<String>,
    Body(approval): Body<Approval>,
) -> Answer<JobView> {
    Ok(Json(people.service.approve(&actor, job_id(&job)?, approval).await?))
}

async fn resume(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(job): Path<String>,
    Body(decision): Body<Decision>,
) -> Answer<JobView> {
    Ok(Json(people.service.resume(&actor, job_id(&job)?, decision).await?))
}

async fn cancel(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(job): Path<String>,
    Body(decision): Body<Decision>,
) -> Answer<JobView> {
    Ok(Json(people.service.cancel(&actor, job_id(&job)?, decision).await?))
}

async fn try_policy(State(people): State<People>, Body(wanted): Body<PolicyTry>) -> Answer<PolicyTried> {
    Ok(Json(people.service.try_policy(wanted).await?))
}

async fn stop(State(people): State<People>) -> Answer<StopAnswer> {
    Ok(Json(people.service.stop().await?))
}

async fn press_stop(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Body(order): Body<Decision>,
) -> Answer<StopAnswer> {
    Ok(Json(people.service.press_stop(&actor, order).await?))
}

async fn release_stop(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Body(order): Body<Decision>,
) -> Answer<StopAnswer> {
    Ok(Json(people.service.release_stop(&actor, order).await?))
}

#[derive(Deserialize, JsonSchema)]
struct Since {
    /// The greatest `sequence` that you saw; left out: all.
    #[serde(default)]
    since: u64,
}

async fn plane(State(people): State<People>, Query(of): Query<Since>) -> Answer<Vec<PlaneView>> {
    Ok(Json(people.service.plane(of.since).await?))
}

#[derive(Deserialize, JsonSchema)]
struct OfJob {
    job: Option<String>,
}

async fn evidence(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Query(of): Query<OfJob>,
) -> Result<Response, Refusal> {
    let job = of.job.as_deref().map(job_id).transpose()?;
    let kind = [(header::CONTENT_TYPE, "application/jsonl")];
    if let Some(job) = job {
        let facts = serde_json::json!({ "what": "job" });
        people.service.note("log.read", &actor, None, Some(job), facts).await?;
        let mut text = people.service.job_evidence(job).await?.join("\n");
        text.push('\n');
        return Ok((kind, text).into_response());
    }
    // Page by page: a log of years is not held in memory.
    let export = people.service.evidence_export(&actor).await?;
    let pages = futures_util::stream::try_unfold(export, |mut export| async move {
        let page = export.next().await.map_err(|error| std::io::Error::other(error.chain()))?;
        Ok::<_, std::io::Error>(page.map(|page| (page, export)))
    });
    Ok((kind, axum::body::Body::from_stream(pages)).into_response())
}

async fn evidence_checkpoint(State(people): State<People>) -> Result<String, Refusal> {
    Ok(people.service.evidence_checkpoint().await?.note().to_owned())
}

async fn evidence_proof(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(seq): Path<u64>,
) -> Result<String, Refusal> {
    Ok(people.service.evidence_proof(&actor, seq).await?)
}

async fn evidence_since(State(people): State<People>, note: String) -> Result<String, Refusal> {
    Ok(people.service.evidence_proof_since(&note).await?)
}

async fn evidence_key(State(people): State<People>) -> Json<EvidenceKey> {
    Json(people.service.evidence_key())
}

async fn net(State(people): State<People>) -> Answer<NetView> {
    Ok(Json(people.service.net().await?))
}

async fn probe(State(people): State<People>) -> Answer<NetView> {
    Ok(Json(people.service.probe().await?))
}

async fn boot(State(people): State<People>, Path(name): Path<String>) -> Answer<BootView> {
    Ok(Json(people.service.boot(&endpoint_id(&name)?).await?))
}

async fn console_link(
    State(people): State<People>,
    Extension(who): Extension<gate::Who>,
    Extension(actor): Extension<Actor>,
) -> Answer<ConsoleLink> {
    who.at_own_computer()?;
    let facts = serde_json::json!({ "valid_s": gate::LINK_AGE.as_secs() });
    people.service.note("session.link", &actor, None, None, facts).await?;
    let code = people.gate.link(&who).map_err(|error| gate::random_failed(&error))?;
    Ok(Json(ConsoleLink { path: format!("/login?code={code}"), valid_s: gate::LINK_AGE.as_secs() }))
}
