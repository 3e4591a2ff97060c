//! The calls of [`recovery_protocol::operator`], one handler each: read the request, ask the service, answer.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use recovery_protocol::operator::{
    Approval, CaptureRequest, ChangeEndpoint, ConsoleLink, Decision, DrillAnswer, DrillView, EndpointView,
    EvidenceKey, ImageView, ImportPlan, JobView, NewDrill, NewEndpoint, PairRequest, RecoverRequest,
    RemovedEndpoint, Resolution, StatusView,
};
use recovery_protocol::{
    Problem,
    net::{BootView, NetView},
};
use recovery_protocol::{people::Permission, stop::StopAnswer};
use serde::Deserialize;

use super::{Body, Closed, Needs, People, Refusal, endpoint_id, gate, idempotency, job_id, selector};
use crate::service::Actor;

/// Longest sheet in bytes: some twenty thousand lines.
const SHEET_LEN_MAX: usize = 8 << 20;

type Answer<T> = Result<Json<T>, Refusal>;

/// REST under `/api/v1`.
pub fn routes() -> Vec<Closed> {
    use Permission as P;
    vec![
        ("/api/v1/status", get(status), Needs::LOOK),
        ("/api/v1/endpoints", get(endpoints).post(add_endpoint), Needs::to_write(P::Endpoints)),
        (
            "/api/v1/sheet",
            get(export).post(import).layer(DefaultBodyLimit::max(SHEET_LEN_MAX)),
            Needs::to_write(P::Endpoints),
        ),
        (
            "/api/v1/endpoints/{endpoint}",
            get(endpoint).patch(change_endpoint).delete(remove_endpoint),
            Needs::to_write(P::Endpoints),
        ),
        ("/api/v1/endpoints/{endpoint}/recover", post(recover), Needs::all(P::Recover)),
        ("/api/v1/endpoints/{endpoint}/capture", post(capture), Needs::all(P::Capture)),
        ("/api/v1/endpoints/{endpoint}/pair", post(pair), Needs::all(P::Pair)),
        ("/api/v1/endpoints/{endpoint}/resolve", post(resolve), Needs::all(P::Endpoints)),
        ("/api/v1/jobs", get(jobs), Needs::LOOK),
        ("/api/v1/jobs/{job}", get(job), Needs::LOOK),
        ("/api/v1/jobs/{job}/approve", post(approve), Needs::all(P::Approve)),
        ("/api/v1/jobs/{job}/resume", post(resume), Needs::all(P::Resume)),
        ("/api/v1/jobs/{job}/cancel", post(cancel), Needs::all(P::Stop)),
        ("/api/v1/stop", get(stop).post(press_stop), Needs::to_write(P::PressStop)),
        ("/api/v1/stop/release", post(release_stop), Needs::all(P::ReleaseStop)),
        ("/api/v1/images", get(images), Needs::LOOK),
        ("/api/v1/evidence", get(evidence), Needs::all(P::Evidence)),
        ("/api/v1/evidence/key", get(evidence_key), Needs::LOOK),
        ("/api/v1/evidence/checkpoint", get(evidence_checkpoint), Needs::all(P::Evidence)),
        ("/api/v1/evidence/since", post(evidence_since), Needs::all(P::Evidence)),
        ("/api/v1/evidence/entries/{seq}/proof", get(evidence_proof), Needs::all(P::Evidence)),
        ("/api/v1/net", get(net), Needs::LOOK),
        ("/api/v1/net/probe", post(probe), Needs::all(P::Network)),
        ("/api/v1/net/{endpoint}", get(boot), Needs::LOOK),
        ("/api/v1/drills", get(drills).post(start_drill), Needs::to_write(P::Drill)),
        ("/api/v1/drills/{drill}", get(drill), Needs::LOOK),
        ("/api/v1/drills/{drill}/report", get(drill_report), Needs::LOOK),
        ("/api/v1/drills/{drill}/answer", post(drill_answer), Needs::all(P::Answer)),
        ("/api/v1/drills/{drill}/abort", post(drill_abort), Needs::all(P::Stop)),
        ("/api/v1/console-links", post(console_link), Needs::all(P::Session)),
    ]
}

async fn status(State(people): State<People>) -> Answer<StatusView> {
    Ok(Json(people.service.status().await?))
}

#[derive(Deserialize)]
struct Meant {
    selector: Option<String>,
}

async fn endpoints(State(people): State<People>, Query(meant): Query<Meant>) -> Answer<Vec<EndpointView>> {
    let selector = meant.selector.as_deref().map(selector).transpose()?;
    Ok(Json(people.service.endpoints(selector.as_ref()).await?))
}

async fn endpoint(State(people): State<People>, Path(name): Path<String>) -> Tagged {
    tagged(people.service.endpoint(&endpoint_id(&name)?).await?)
}

/// An endpoint with the revision of its record as `ETag` (RFC 9110 §8.8.3).
type Tagged = Result<([(header::HeaderName, String); 1], Json<EndpointView>), Refusal>;

fn tagged(view: EndpointView) -> Tagged {
    Ok(([(header::ETAG, format!("\"{}\"", view.revision))], Json(view)))
}

/// The revision in `If-Match` (RFC 9110 §13.1.1); without the header, or with `*`, any.
fn revision(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let revision = text.trim_matches('"').parse().ok();
    if text == "*" || revision.is_some() {
        return Ok(revision);
    }
    let detail = format!("If-Match is `{text}`, which is no revision");
    Err(Refusal::bad_request("bad-revision", detail, "send the `ETag` of the endpoint as you read it"))
}

async fn change_endpoint(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(order): Body<ChangeEndpoint>,
) -> Tagged {
    let (endpoint, revision) = (endpoint_id(&name)?, revision(&headers)?);
    tagged(people.service.change_endpoint(&actor, &endpoint, order, revision).await?)
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

#[derive(Deserialize)]
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
) -> Result<(StatusCode, Json<JobView>), Refusal> {
    let endpoint = endpoint_id(&name)?;
    let key = headers.get(idempotency::HEADER).map(|value| value.to_str().unwrap_or_default());
    let taken = match key {
        None => None,
        Some(key) => match people.answered.take(key, &format!("{endpoint}\n{}", request.reason))? {
            Ok(taken) => Some(taken),
            Err(job) => return Ok((StatusCode::ACCEPTED, Json(people.service.job(job).await?))),
        },
    };
    let view = people.service.recover(&actor, &endpoint, request).await?;
    if let Some(taken) = taken {
        taken.answered(view.job);
    }
    Ok((StatusCode::ACCEPTED, Json(view)))
}

async fn capture(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(request): Body<CaptureRequest>,
) -> Result<(StatusCode, Json<JobView>), Refusal> {
    let view = people.service.capture(&actor, &endpoint_id(&name)?, request).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
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
) -> Tagged {
    tagged(people.service.resolve_conflict(&actor, &endpoint_id(&name)?, order).await?)
}

#[derive(Deserialize)]
struct OfEndpoint {
    endpoint: Option<String>,
}

async fn jobs(State(people): State<People>, Query(of): Query<OfEndpoint>) -> Answer<Vec<JobView>> {
    let endpoint = of.endpoint.as_deref().map(endpoint_id).transpose()?;
    Ok(Json(people.service.jobs(endpoint.as_ref()).await?))
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

async fn images(State(people): State<People>) -> Answer<Vec<ImageView>> {
    Ok(Json(people.service.images().await?))
}

#[derive(Deserialize)]
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

async fn drills(State(people): State<People>) -> Json<Vec<DrillView>> {
    Json(people.drills.list())
}

async fn start_drill(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Body(new): Body<NewDrill>,
) -> Result<(StatusCode, Json<DrillView>), Refusal> {
    Ok((StatusCode::ACCEPTED, Json(people.drills.start(&actor, new).await?)))
}

async fn drill(State(people): State<People>, Path(drill): Path<String>) -> Answer<DrillView> {
    Ok(Json(people.drills.view(&drill)?))
}

async fn drill_answer(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(drill): Path<String>,
    Body(answer): Body<DrillAnswer>,
) -> Answer<DrillView> {
    Ok(Json(people.drills.answer(&actor, &drill, answer).await?))
}

async fn drill_abort(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(drill): Path<String>,
    Body(decision): Body<Decision>,
) -> Answer<DrillView> {
    Ok(Json(people.drills.abort(&actor, &drill, decision).await?))
}

/// The report is a page of its own with its styles inside and no script: it must look the same when saved to a file.
async fn drill_report(State(people): State<People>, Path(drill): Path<String>) -> Result<Response, Refusal> {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'";
    let headers = [(header::CONTENT_SECURITY_POLICY, policy), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, Html(people.drills.report(&drill).await?)).into_response())
}

async fn console_link(
    State(people): State<People>,
    Extension(who): Extension<gate::Who>,
    Extension(actor): Extension<Actor>,
) -> Answer<ConsoleLink> {
    let facts = serde_json::json!({ "valid_s": gate::LINK_AGE.as_secs() });
    people.service.note("session.link", &actor, None, None, facts).await?;
    let code = people.gate.link(&who).map_err(|error| gate::random_failed(&error))?;
    Ok(Json(ConsoleLink { path: format!("/login?code={code}"), valid_s: gate::LINK_AGE.as_secs() }))
}
