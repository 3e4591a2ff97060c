//! The guard rails: what a trigger may do, and which jobs are let in. Asked inside the transaction that acts on the
//! answer, so that two triggers cannot both take the last place.
//!
//! | rule | whom it stops |
//! |---|---|
//! | STOP stands for the whole site | everyone |
//! | `max_concurrent`: endpoints of the group in recovery, held ones included | everyone |
//! | `identity_conflict`: somebody else came with its address, and nobody resolved it | everyone |
//! | `max_share_percent` of the group, `min_healthy` of a redundancy group ([`floor`]) | everyone |
//! | group mode, trigger class, safety class (the endpoint's or its group's, the higher one) | triggers |
//! | rate, cool-down, circuit breaker, common mode | triggers |
//! | windows, a release just before, flapping, twice a day ([`alone`]) | what would begin by itself: it waits for a person |
//! | standing plan ([`plan`]) | lets what would wait for a person begin by itself |
//! | safety class 2 and 3: another person approves | everyone |
//!
//! An endpoint in recovery is not a healthy one: counting it as such lets a whole line go down at once
//! (openshift/machine-api-operator#898). A stop is visible and has its numbers; nothing is queued silently.
//!
//! It must never: write, or act.

mod alone;
mod floor;
pub mod plan;

use recovery_protocol::{EndpointId, JobId, operator::EndpointState};

use self::floor::Fleet;
use crate::{
    config::{Config, Group, GroupMode},
    db::{
        self, Conn, DbError,
        endpoint::{Endpoint, Record},
        job::JobRow,
    },
    jobs::job::Admission,
    refusals,
    service::TriggerClass,
};

const HOUR_MS: u64 = 3_600_000;
const COMMON_MODE_MS: u64 = 15 * 60_000;

/// What a trigger may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing; which rule said so.
    Observe {
        /// The rule with its numbers.
        rule: String,
    },
    /// The endpoint is no longer trusted; no recovery.
    Quarantine,
    /// A job is proposed.
    Propose {
        /// Nobody needs to approve.
        automatic: bool,
        /// Why it does not begin by itself, where only that keeps it ([`alone`]).
        waits: Option<String>,
    },
}

/// Certificates are not revoked on a hint.
pub const TAKES_TRUST: &str =
    "only a failed integrity check that its source confirms takes an endpoint's trust away";

fn observe(rule: impl Into<String>) -> Verdict {
    Verdict::Observe { rule: rule.into() }
}

/// Decide about a trigger for an endpoint without an open job. `confirmed`: the source said so when asked. `released`: when its image
/// was approved, milliseconds since 1970.
///
/// # Errors
/// [`DbError`].
pub async fn consider(
    conn: &mut Conn,
    config: &Config,
    endpoint: &Endpoint,
    class: TriggerClass,
    confirmed: bool,
    released: Option<u64>,
    at: u64,
) -> Result<Verdict, DbError> {
    let name = &endpoint.record.group;
    let group = config.rails(&endpoint.record);
    if let Some(rule) = stopped(conn).await? {
        return Ok(observe(rule));
    }
    if class == TriggerClass::Unreachable {
        return Ok(observe("unreachable is not compromised: never a recovery"));
    }
    match group.mode {
        GroupMode::Observe => return Ok(observe(format!("group {name} is in mode observe"))),
        GroupMode::Quarantine | GroupMode::Approve | GroupMode::Auto => {}
    }
    if group.safety_class >= 3 {
        return Ok(observe(format!("safety class {}: triggers only inform", group.safety_class)));
    }
    if group.mode == GroupMode::Quarantine {
        let failed = class == TriggerClass::Integrity && confirmed;
        return Ok(if failed { Verdict::Quarantine } else { observe(TAKES_TRUST) });
    }
    if let Some(rule) = conflict(endpoint) {
        return Ok(observe(rule));
    }
    if let Some(rule) = common_mode(conn, &endpoint.id, name, &group, at).await? {
        return Ok(observe(rule));
    }
    if let Some(rule) = crowded(conn, name, &group, None, at).await? {
        return Ok(observe(rule));
    }
    if let Some(rule) = too_soon(conn, &endpoint.id, &group, at).await? {
        return Ok(observe(rule));
    }
    if let Some(rule) = too_few_up(conn, config, endpoint, None, false).await? {
        return Ok(observe(rule));
    }
    if group.mode == GroupMode::Auto && class == TriggerClass::Integrity && !confirmed {
        return Ok(observe("its source has not confirmed it yet: nothing starts on a hint alone"));
    }
    let integrity = class == TriggerClass::Integrity && confirmed;
    if group.mode != GroupMode::Auto || group.safety_class != 0 || !integrity {
        return Ok(Verdict::Propose { automatic: false, waits: None });
    }
    let waits = alone::waits(conn, config, (&endpoint.id, name, &group), released, at).await?;
    Ok(Verdict::Propose { automatic: waits.is_none(), waits })
}

/// Let a proposed job in, or not.
///
/// # Errors
/// [`DbError`].
pub async fn admit(conn: &mut Conn, config: &Config, row: &JobRow, at: u64) -> Result<Admission, DbError> {
    let endpoint = db::endpoint::get(conn, &row.job.endpoint).await?;
    let record = endpoint.as_ref().map(|endpoint| endpoint.record.clone()).unwrap_or_default();
    // The group is the one that it was ordered in; the endpoint's own class is asked now.
    let record = Record { group: row.group.clone(), ..record };
    let mut group = config.rails(&record);
    // A class that was lowered counts after a day: else whoever may change a record could be their own second person.
    let before = db::endpoint::class_since(conn, &row.job.endpoint, at.saturating_sub(24 * HOUR_MS)).await?;
    group.safety_class = group.safety_class.max(before);
    let refused = |rule| Ok(Admission::Refused { rule });
    if let Some(rule) = stopped(conn).await? {
        return refused(rule);
    }
    if let Some(rule) = endpoint.as_ref().and_then(conflict) {
        return refused(rule);
    }
    let load = db::job::load(conn, &row.group, Some(row.job.id), at.saturating_sub(HOUR_MS)).await?;
    if load.open >= u64::from(group.max_concurrent) {
        return refused(format!(
            "{} endpoints of group {} are in recovery; at most {} may be (max_concurrent)",
            load.open, row.group, group.max_concurrent
        ));
    }
    let person = row.trigger == "operator" || row.trigger == "drill";
    if let Some(endpoint) = endpoint {
        // As it was before this job marked it.
        let before = Endpoint { state: row.job.before, record, ..endpoint };
        if let Some(rule) = too_few_up(conn, config, &before, Some(row.job.id), person).await? {
            return refused(rule);
        }
    }
    let (second_person, no_glass) = (group.safety_class >= 2, group.safety_class >= 3);
    if person {
        return Ok(if second_person {
            Admission::NeedsApproval { second_person, no_glass }
        } else {
            Admission::Approved { by: row.job.asked_by.clone() }
        });
    }
    if let Some(rule) = crowded(conn, &row.group, &group, Some(row), at).await? {
        return refused(rule);
    }
    let standing = matches!(group.mode, GroupMode::Approve | GroupMode::Auto);
    if standing && let Some(by) = plan::of_job(conn, config, row, &group, at).await? {
        return Ok(Admission::Approved { by });
    }
    match group.mode {
        GroupMode::Observe | GroupMode::Quarantine => {
            refused(format!("group {} is in mode {}", row.group, group.mode.as_str()))
        }
        GroupMode::Auto
            if row.automatic
                && group.safety_class == 0
                && alone::closed(conn, config, &row.group, &group, at).await?.is_none() =>
        {
            Ok(Admission::Approved { by: "mode:auto".to_owned() })
        }
        GroupMode::Approve | GroupMode::Auto => Ok(Admission::NeedsApproval { second_person, no_glass }),
    }
}

/// Nothing is begun while STOP stands.
async fn stopped(conn: &mut Conn) -> Result<Option<String>, DbError> {
    let standing = db::stop::standing(conn).await?;
    Ok(standing.map(|stop| format!("{} (stop)", refusals::stopped(&stop))))
}

/// It may be another one that would be wiped.
fn conflict(endpoint: &Endpoint) -> Option<String> {
    let claim = endpoint.conflict.as_ref()?.open.as_ref()?;
    let id = &endpoint.id;
    Some(format!(
        "another one came with an address of {id}: {}; resolve it with `groundstate endpoint resolve {id}` (identity_conflict)",
        claim.why
    ))
}

/// What stands against an order of a person for this endpoint, before it is given; `None`: nothing that a count knows.
///
/// # Errors
/// [`DbError`].
pub async fn why_not(
    conn: &mut Conn,
    config: &Config,
    endpoint: &Endpoint,
) -> Result<Option<String>, DbError> {
    if let Some(rule) = stopped(conn).await? {
        return Ok(Some(rule));
    }
    if let Some(rule) = conflict(endpoint) {
        return Ok(Some(rule));
    }
    let (name, group) = (&endpoint.record.group, config.rails(&endpoint.record));
    let load = db::job::load(conn, name, None, u64::MAX).await?;
    if load.open >= u64::from(group.max_concurrent) {
        let (open, most) = (load.open, group.max_concurrent);
        return Ok(Some(format!(
            "{open} endpoints of group {name} are in recovery; at most {most} (max_concurrent)"
        )));
    }
    too_few_up(conn, config, endpoint, None, true).await
}

/// Too few would stay up. `but`: the job that asks.
async fn too_few_up(
    conn: &mut Conn,
    config: &Config,
    endpoint: &Endpoint,
    but: Option<JobId>,
    person: bool,
) -> Result<Option<String>, DbError> {
    let group = config.rails(&endpoint.record);
    if group.max_share_percent >= 100 && endpoint.record.redundancy.is_none() && config.redundancy.is_empty()
    {
        return Ok(None);
    }
    let fleet = Fleet::now(conn, but).await?;
    let share = fleet.share(&endpoint.id, &endpoint.record.group, &group);
    let healthy = matches!(endpoint.state, EndpointState::Known | EndpointState::Trusted);
    Ok(share.or_else(|| fleet.floor(config, endpoint, person, healthy)))
}

async fn crowded(
    conn: &mut Conn,
    name: &str,
    group: &Group,
    but: Option<&JobRow>,
    at: u64,
) -> Result<Option<String>, DbError> {
    let load = db::job::load(conn, name, but.map(|row| row.job.id), at.saturating_sub(HOUR_MS)).await?;
    let (most, hourly, breaker) =
        (u64::from(group.max_concurrent), u64::from(group.max_per_hour), u64::from(group.breaker_failures));
    Ok(if load.open >= most {
        Some(format!(
            "{} endpoints of group {name} are in recovery; at most {most} (max_concurrent)",
            load.open
        ))
    } else if load.begun >= hourly {
        Some(format!(
            "{} recoveries in group {name} within an hour; at most {hourly} (max_per_hour)",
            load.begun
        ))
    } else if breaker > 0 && load.troubled >= breaker {
        Some(format!(
            "{} recoveries in group {name} failed or were held within an hour (breaker)",
            load.troubled
        ))
    } else {
        None
    })
}

async fn too_soon(
    conn: &mut Conn,
    endpoint: &EndpointId,
    group: &Group,
    at: u64,
) -> Result<Option<String>, DbError> {
    let wait_ms = u64::from(group.cool_down_s) * 1000;
    let ended = db::job::last_recovered(conn, endpoint).await?;
    Ok(ended.filter(|ended| at < ended.saturating_add(wait_ms)).map(|ended| {
        format!(
            "recovered {} s ago; another failure within {} s means that image, policy or hardware is wrong (cool_down_s)",
            at.saturating_sub(ended) / 1000,
            group.cool_down_s
        )
    }))
}

/// Many endpoints failing at once is a rollout, or wrong reference values; not an attack that a wipe mends.
async fn common_mode(
    conn: &mut Conn,
    endpoint: &EndpointId,
    name: &str,
    group: &Group,
    at: u64,
) -> Result<Option<String>, DbError> {
    let failing = 1 + db::trigger::failing(conn, name, endpoint, at.saturating_sub(COMMON_MODE_MS)).await?;
    let most = u64::from(group.common_mode);
    Ok((most > 0 && failing >= most).then(|| {
        format!(
            "{failing} endpoints of group {name} failed within 15 minutes: suspect a rollout (common_mode)"
        )
    }))
}
