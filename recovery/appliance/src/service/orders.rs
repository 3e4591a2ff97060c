//! Orders of people: recover, rehearse, approve, resume, cancel.

use images::{ImageId, manifest::name};
use recovery_protocol::{
    EndpointId, JobId, Problem,
    agent::CaptureSpec,
    exhibit::Keep,
    operator::{CaptureRequest, Decision, EndpointState, JobView, Mode, RecoverRequest},
};
use serde_json::json;

use super::{Actor, Inner, scope, stop, views};
use crate::{
    db::{self, endpoint::Endpoint, job::JobRow},
    evidence::Fact,
    golden::Choice,
    jobs::{
        job::{Proposal, What},
        journal::{JournalTx, NewJob, capture_proposal, proposal},
    },
    keys,
    refusals::{unknown_endpoint, unknown_job},
};

/// Longest text in a manifest, in bytes (`images/DESIGN.md`, section 1).
const TEXT_MOST: usize = 1024;
/// Longest reason, in characters.
const REASON_MOST: usize = 500;

/// A reason as it is kept.
pub fn within(reason: &str) -> String {
    reason.chars().take(REASON_MOST).collect()
}

pub async fn one(inner: &Inner, job: JobId) -> Result<JobView, Problem> {
    let mut conn = inner.journal.db.read().await?;
    let row = db::job::get(&mut conn, job).await?.ok_or_else(|| unknown_job(job))?;
    views::job(inner, &mut conn, row).await
}

/// Who asks for a job, how, and why.
pub struct Asked<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// `operator`, `attestation`, `webhook:<source>`, `drill`.
    pub trigger: String,
    /// Why, in their words.
    pub reason: &'a str,
    /// Rehearsal or real.
    pub mode: Mode,
    /// A confirmed integrity failure asks.
    pub automatic: bool,
    /// What the image preserves is given up.
    pub give_up_preserved: bool,
    /// What is kept of the old system; `None`: as its blueprint has it.
    pub keep: Option<Keep>,
    /// Seconds for that; `None`: as the configuration has it.
    pub keep_seconds: Option<u32>,
}

/// Before a source's name, as what asked for a job.
pub const WEBHOOK: &str = "webhook:";

/// Make a job in the caller's transaction; the caller saw that there is none open.
pub async fn make(
    tx: &mut JournalTx<'_>,
    endpoint: &Endpoint,
    choice: &Choice,
    asked: Asked<'_>,
) -> Result<JobRow, Problem> {
    if choice.blueprint != endpoint.record.blueprint {
        // Chosen before this transaction, which waited for another one.
        let detail = format!("the blueprint of {} was changed while its image was chosen", endpoint.id);
        let remedy = "look at the endpoint, and order again";
        return Err(Problem::new(503, "changed-meanwhile", "The endpoint was just changed", detail, remedy));
    }
    let id = JobId::new(tx.at, keys::random()?);
    let proposal = proposal(id, endpoint, asked.mode, choice.image, &asked.actor.name);
    // Our own attestation cannot be asked again: the system that failed it does not run any more.
    let asks_again = asked.automatic && asked.trigger.starts_with(WEBHOOK);
    let word = tx.config().blueprints.get(&choice.blueprint).map(|blueprint| blueprint.word);
    let word = word.unwrap_or_default();
    let (give_up_preserved, keep_seconds) = (asked.give_up_preserved, asked.keep_seconds);
    let keep = keep(tx, &choice.blueprint, &asked);
    let proposal = Proposal { give_up_preserved, asks_again, keep, keep_seconds, word, ..proposal };
    let new = NewJob {
        proposal,
        group: endpoint.record.group.clone(),
        trigger: asked.trigger,
        reason: within(asked.reason),
        automatic: asked.automatic,
        image_name: choice.name.clone(),
    };
    let row = tx.propose(new).await?;
    if let Some(approval) = &choice.approval {
        // Who said that endpoints are restored to this image belongs to why this one is.
        let mut fact =
            Fact::new("order.channel", &approval.author, json!(approval)).about(&endpoint.id).of(Some(id));
        fact.mode = row.job.mode;
        tx.note(fact).await?;
    }
    if row.job.give_up_preserved {
        let fact = Fact::new("order.give-up-preserved", &asked.actor.name, json!({})).about(&endpoint.id);
        tx.note(fact.of(Some(id))).await?;
    }
    Ok(row)
}

/// What is kept: as it was asked for, else as the blueprint has it, else what may show the cause where nobody looked at the endpoint first.
fn keep(tx: &JournalTx<'_>, blueprint: &str, asked: &Asked<'_>) -> Keep {
    let unsaid = if asked.automatic { Keep::Quick } else { Keep::None };
    let of_blueprint = || tx.config().blueprints.get(blueprint)?.keep;
    asked.keep.or_else(of_blueprint).unwrap_or(unsaid)
}

/// The golden image of an endpoint's blueprint.
pub async fn choose(inner: &Inner, endpoint: &Endpoint) -> Result<Choice, Problem> {
    let name = &endpoint.record.blueprint;
    let blueprint = inner.journal.config.blueprints.get(name).ok_or_else(|| {
        let detail = format!("{} follows blueprint `{name}`, which is not in the configuration", endpoint.id);
        let remedy = "add it to the configuration and start the appliance again";
        Problem::new(409, "unknown-blueprint", "The endpoint's blueprint is gone", detail, remedy)
    })?;
    Ok(Choice { blueprint: name.clone(), ..inner.golden.choose(blueprint).await? })
}

pub async fn recover(
    inner: &Inner,
    actor: &Actor,
    endpoint: &EndpointId,
    request: RecoverRequest,
) -> Result<JobView, Problem> {
    let reason = request.reason;
    let asked = Asked {
        actor,
        trigger: "operator".to_owned(),
        reason: &reason,
        mode: Mode::Real,
        automatic: false,
        give_up_preserved: request.give_up_preserved,
        keep: request.keep,
        keep_seconds: None,
    };
    let ordered = order(inner, endpoint, asked, request.image).await;
    if let Err(problem) = &ordered {
        let facts =
            json!({ "order": "recover", "named": endpoint, "code": problem.code, "detail": problem.detail });
        inner.journal.note(Fact::new("refusal.order", &actor.name, facts)).await?;
        inner.live.count("refusal", &problem.code);
    }
    ordered
}

/// Order a capture. Nothing is written to the endpoint's disk, and nobody but a person orders one.
pub async fn capture(
    inner: &Inner,
    actor: &Actor,
    id: &EndpointId,
    request: CaptureRequest,
) -> Result<JobView, Problem> {
    check_name(&request)?;
    let endpoint = known(inner, actor, id).await?;
    let images = inner.golden.list().await?;
    let newest = images.iter().filter(|view| view.name == request.name).max_by_key(|view| view.epoch);
    let mut tx = inner.journal.begin().await?;
    stop::none_stands(tx.conn()).await?;
    if let Some(open) = db::job::open_of(tx.conn(), id).await? {
        let what = if open.job.capture.is_some() { "captured" } else { "recovered" };
        return Err(busy(id, what, open.job.id));
    }
    let spec = CaptureSpec {
        epoch: newest.map_or(1, |view| view.epoch + 1),
        previous: newest.map(|view| view.image),
        created_unix_ms: tx.at,
        name: request.name,
        version: request.version,
        hardware_class: request.hardware_class,
        note: request.note,
        keep_free_space: request.keep_free_space,
        preserve: request.preserve,
    };
    let job = JobId::new(tx.at, keys::random()?);
    let image_name = format!("{} {}", spec.name, spec.version);
    let new = NewJob {
        proposal: capture_proposal(job, &endpoint, spec, &actor.name),
        group: endpoint.record.group.clone(),
        trigger: "operator".to_owned(),
        reason: within(&request.reason),
        automatic: false,
        image_name,
    };
    tx.propose(new).await?;
    tx.commit().await?;
    one(inner, job).await
}

/// What a manifest takes as a name is asked before an endpoint is sent to the network.
fn check_name(request: &CaptureRequest) -> Result<(), Problem> {
    let refused = |detail: String| {
        let remedy = "give a name and a version, as for an import";
        Problem::new(400, "image-name", "The image cannot be called so", detail, remedy)
    };
    name::name(&request.name).map_err(|error| refused(error.to_string()))?;
    name::version(&request.version).map_err(|error| refused(error.to_string()))?;
    let bad = |text: &str| text.len() > TEXT_MOST || text.chars().any(char::is_control);
    match bad(&request.hardware_class) || bad(&request.note) {
        true => Err(refused(format!(
            "hardware class and note have at most {TEXT_MOST} bytes each, and no control characters"
        ))),
        false => Ok(()),
    }
}

fn busy(id: &EndpointId, what: &str, job: JobId) -> Problem {
    let detail = format!("job {job} is open: {id} is being {what}");
    let remedy = "wait until it is over, or cancel it";
    Problem::new(409, "job-open", "The endpoint has a job already", detail, remedy)
}

/// An endpoint that somebody put on record.
async fn known(inner: &Inner, actor: &Actor, id: &EndpointId) -> Result<Endpoint, Problem> {
    let endpoint = db::endpoint::get(&mut *inner.journal.db.read().await?, id).await?;
    let endpoint = endpoint.ok_or_else(|| unknown_endpoint(id))?;
    scope::covers(inner, actor, &endpoint)?;
    on_record(&endpoint)?;
    Ok(endpoint)
}

/// 409 `endpoint-not-approved` for one that was only seen.
pub fn on_record(endpoint: &Endpoint) -> Result<(), Problem> {
    if endpoint.state == EndpointState::Discovered {
        let remedy = "approve it first: add it with its blueprint";
        let detail = format!("{} was only discovered; nobody put it on record", endpoint.id);
        return Err(Problem::new(
            409,
            "endpoint-not-approved",
            "This endpoint is not approved",
            detail,
            remedy,
        ));
    }
    Ok(())
}

/// Order a recovery; with `image` only to that one.
pub async fn order(
    inner: &Inner,
    id: &EndpointId,
    asked: Asked<'_>,
    image: Option<ImageId>,
) -> Result<JobView, Problem> {
    let endpoint = known(inner, asked.actor, id).await?;
    // Bound first: a connection held while another is awaited could starve everybody.
    let open = db::job::open_of(&mut *inner.journal.db.read().await?, id).await?;
    let otherwise = (asked.give_up_preserved, asked.keep);
    if let Some(open) = open {
        return open_recovery(inner, id, open, otherwise).await;
    }
    let choice = choose(inner, &endpoint).await?;
    if let Some(image) = image.filter(|image| *image != choice.image) {
        let detail = format!("{id} would return to {} ({}) now, not to {image}", choice.name, choice.image);
        let remedy = "look at the plan again (`groundstate recover … --plan`), and approve what it is now";
        return Err(Problem::new(409, "image-changed", "The golden image is another by now", detail, remedy));
    }
    let mut tx = inner.journal.begin().await?;
    if let Some(open) = db::job::open_of(tx.conn(), id).await? {
        drop(tx);
        return open_recovery(inner, id, open, otherwise).await;
    }
    stop::none_stands(tx.conn()).await?;
    let endpoint = db::endpoint::get(tx.conn(), id).await?.ok_or_else(|| unknown_endpoint(id))?;
    let row = make(&mut tx, &endpoint, &choice, asked).await?;
    tx.commit().await?;
    one(inner, row.job.id).await
}

/// An open recovery is returned, not doubled. A capture is none.
async fn open_recovery(
    inner: &Inner,
    id: &EndpointId,
    open: JobRow,
    (give_up, keep): (bool, Option<Keep>),
) -> Result<JobView, Problem> {
    match open.job.capture {
        // It was ordered otherwise, and perhaps approved so.
        None if give_up != open.job.give_up_preserved || keep.is_some_and(|keep| keep != open.job.keep) => {
            Err(busy(id, "recovered", open.job.id))
        }
        None => one(inner, open.job.id).await,
        Some(_) => Err(busy(id, "captured", open.job.id)),
    }
}

pub async fn decide(
    inner: &Inner,
    actor: &Actor,
    job: JobId,
    order: &'static str,
    decision: Decision,
) -> Result<JobView, Problem> {
    let by = actor.name.clone();
    let what = match order {
        "order.resume" => What::Resume { by },
        _ => What::Cancel { by },
    };
    let mut tx = inner.journal.begin().await?;
    let row = db::job::get(tx.conn(), job).await?.ok_or_else(|| unknown_job(job))?;
    if let Some(endpoint) = db::endpoint::get(tx.conn(), &row.job.endpoint).await? {
        scope::covers(inner, actor, &endpoint)?;
    }
    if order != "order.cancel" {
        stop::none_stands(tx.conn()).await?;
    }
    let reason = within(&decision.reason);
    let mut fact =
        Fact::new(order, &actor.name, json!({ "reason": reason })).about(&row.job.endpoint).of(Some(job));
    fact.mode = row.job.mode;
    tx.note(fact).await?;
    tx.event(job, &actor.name, what).await?;
    tx.commit().await?;
    one(inner, job).await
}
