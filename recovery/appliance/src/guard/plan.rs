//! Standing plans as a guard rail: whether one lets a recovery begin by itself that would else wait for a person.
//!
//! A plan is an approval given beforehand, and nothing more: mode `observe` and `quarantine`, STOP, an open conflict, rate, breaker, common mode,
//! redundancy and the permit count as for any other, and so do flapping, the quiet after a release and `max_auto_per_day`. The plan's windows
//! stand in the place of its group's. It reaches to safety class 1; from class 2 on the second person looks at that very moment.

use recovery_protocol::EndpointId;
use serde_json::json;

use super::alone;
use crate::{
    config::{Config, Group, Window},
    db::{
        self, Conn, DbError,
        endpoint::Endpoint,
        job::JobRow,
        plan::{Named, Plan},
    },
};

const DAY_MS: u64 = 24 * 3_600_000;
/// People who approve a plan; its maker is none of them.
pub const APPROVALS: usize = 2;
/// From this class on no plan counts.
const CLASS_MOST: u8 = 1;

/// What of an endpoint counts: its record as it is now, and what its group and blueprint say.
#[must_use]
pub fn named(config: &Config, endpoint: &Endpoint) -> Named {
    let group = config.rails(&endpoint.record);
    let blueprint = config.blueprints.get(&endpoint.record.blueprint);
    let rules = format!("{group:?} {blueprint:?} {:?}", config.time_zone);
    let rules = blake3::hash(rules.as_bytes()).to_hex().to_string();
    Named { revision: endpoint.revision, added: endpoint.added, rules }
}

/// The hash of a plan: what its approvals are about.
#[must_use]
pub fn hash(body: &db::plan::Body, made_by: &str, made: u64) -> String {
    let bound = json!({ "body": body, "made_by": made_by, "made": made });
    blake3::hash(bound.to_string().as_bytes()).to_hex().to_string()
}

/// Why a plan that was approved is void or over now; `None`: it stands as far as these are concerned.
///
/// # Errors
/// [`DbError`].
pub async fn broken(
    conn: &mut Conn,
    config: &Config,
    plan: &Plan,
    at: u64,
) -> Result<Option<String>, DbError> {
    if at >= plan.ends {
        return Ok(Some("expired".to_owned()));
    }
    if hash(&plan.body, &plan.made_by, plan.made) != plan.hash {
        return Ok(Some("void: the plan itself is not the one that was approved".to_owned()));
    }
    for (id, then) in &plan.body.named {
        let Some(endpoint) = db::endpoint::get(conn, id).await? else {
            return Ok(Some(format!("void: {id} is not on record any more")));
        };
        let now = named(config, &endpoint);
        if now != *then {
            let what = if now.rules == then.rules { "the record" } else { "the group or the blueprint" };
            return Ok(Some(format!("void: {what} of {id} has changed since the plan was made")));
        }
    }
    Ok(None)
}

/// A trigger that could begin something by a plan.
#[derive(Debug, Clone, Copy)]
pub struct Asks<'a> {
    /// The endpoint.
    pub endpoint: &'a Endpoint,
    /// The image that it would get.
    pub image: images::ImageId,
    /// Who asks: `attestation` or a webhook's name.
    pub source: &'a str,
    /// When its image was approved.
    pub released: Option<u64>,
}

/// The plan that lets this begin by itself, or why none of those that name it does.
///
/// # Errors
/// [`DbError`].
pub async fn lets(
    conn: &mut Conn,
    config: &Config,
    asks: Asks<'_>,
    at: u64,
) -> Result<Result<Plan, String>, DbError> {
    let mut why = String::new();
    for plan in db::plan::open(conn).await? {
        if plan.approvals.len() < APPROVALS || !plan.body.named.contains_key(&asks.endpoint.id) {
            continue;
        }
        match stands(conn, config, &plan, asks, at).await? {
            None => return Ok(Ok(plan)),
            Some(rule) => why = format!("standing plan {}: {rule}", plan.body.asked.plan),
        }
    }
    Ok(Err(why))
}

async fn stands(
    conn: &mut Conn,
    config: &Config,
    plan: &Plan,
    asks: Asks<'_>,
    at: u64,
) -> Result<Option<String>, DbError> {
    let group = config.rails(&asks.endpoint.record);
    if let Some(rule) = broken(conn, config, plan, at).await? {
        return Ok(Some(rule));
    }
    if plan.body.image != asks.image {
        return Ok(Some(format!("its image is {}, and another one is approved now", plan.body.image_name)));
    }
    if !plan.body.asked.triggers.iter().any(|source| source == asks.source) {
        return Ok(Some(format!("source {} is none of its triggers", asks.source)));
    }
    if group.safety_class > CLASS_MOST {
        return Ok(Some(format!(
            "safety class {}: a second person looks at that moment",
            group.safety_class
        )));
    }
    let begun = db::plan::begun(conn, &plan.hash, at.saturating_sub(DAY_MS)).await?;
    if begun >= u64::from(plan.body.asked.most_per_day) {
        return Ok(Some(format!("it began {begun} recoveries within 24 hours (most_per_day)")));
    }
    let group = Group { windows: windows(plan), ..group };
    let (id, name) = (&asks.endpoint.id, &asks.endpoint.record.group);
    alone::waits(conn, config, (id, name, &group), asks.released, at).await
}

/// The plan by which this job began, where it stands still: asked again at admission.
///
/// # Errors
/// [`DbError`].
pub async fn of_job(
    conn: &mut Conn,
    config: &Config,
    row: &JobRow,
    group: &Group,
    at: u64,
) -> Result<Option<String>, DbError> {
    let Some(plan) = db::plan::of_job(conn, row.job.id).await? else { return Ok(None) };
    let here: Option<&EndpointId> = plan.body.named.keys().find(|id| **id == row.job.endpoint);
    let over = plan.over.is_some() || here.is_none() || plan.body.image != row.job.image;
    if over || group.safety_class > CLASS_MOST || broken(conn, config, &plan, at).await?.is_some() {
        return Ok(None);
    }
    let group = Group { windows: windows(&plan), ..group.clone() };
    let closed = alone::closed(conn, config, &row.group, &group, at).await?;
    Ok(closed.is_none().then(|| format!("plan:{}", plan.body.asked.plan)))
}

/// One that cannot be read is never open: it was read when the plan was made.
fn windows(plan: &Plan) -> Vec<Window> {
    let texts = &plan.body.asked.windows;
    let windows: Vec<Window> = texts.iter().filter_map(|text| Window::parse(text).ok()).collect();
    if windows.len() == texts.len() { windows } else { vec![Window::NEVER] }
}
