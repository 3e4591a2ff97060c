//! Messages of webhook sources: each thing said is looked up, weighed against the source's scope and rate, stored, decided.
//!
//! ```text
//! said ─► seen before? ─► rate ─► which endpoint ─► scope ─┬─ over ───► the job that it asked for, if nothing was done yet, is given up
//!           as before     429     404, 409          403    └─ failed ─► guard rails (`triggers`)
//! ```
//!
//! One message is one transaction: when the sender has its answer, all of it is on disk. A source that sends too much is refused
//! before anything is written.

use std::collections::BTreeMap;

use recovery_protocol::{
    EndpointId, JobId, Problem,
    job::{JobState, Stage},
    operator::EndpointState,
};

use super::{
    Actor, Inner, Report, Trigger, TriggerClass, TriggerDecision, TriggerOutcome, orders,
    triggers::{self, Arrived, HOUR_MS},
};
use crate::{
    config::{EndpointBy, Hook},
    db::{
        self, Conn,
        endpoint::Endpoint,
        trigger::{CONFIRMED, RESOLVED},
    },
    golden::Choice,
    hooks::wire::{Class, Said},
    jobs::{job::What, journal::JournalTx},
};

/// An incident that has gone on for so long is reported anew.
const INCIDENT_MS: u64 = HOUR_MS;

type Taken = Result<TriggerOutcome, Problem>;

pub async fn report(inner: &Inner, report: Report<'_>) -> Result<Vec<Taken>, Problem> {
    let Report { source, hook, said, .. } = report;
    let mut endpoints: Vec<Result<Endpoint, Problem>> = Vec::new();
    {
        let mut conn = inner.journal.db.read().await?;
        if !has_room(&mut conn, inner, &report).await? {
            return Ok(vec![Err(too_many(source, hook)); said.len()]);
        }
        for one in said {
            endpoints.push(lookup(&mut conn, inner, source, hook, &one.endpoint).await?);
        }
    }
    // Reading the store takes its time: before the transaction, which keeps other writers waiting.
    let mut choices: BTreeMap<String, Result<Choice, Problem>> = BTreeMap::new();
    for endpoint in endpoints.iter().flatten() {
        if !choices.contains_key(&endpoint.record.blueprint) {
            let choice = orders::choose(inner, endpoint).await;
            choices.insert(endpoint.record.blueprint.clone(), choice);
        }
    }
    let mut tx = inner.journal.begin().await?;
    let since = tx.at.saturating_sub(HOUR_MS);
    let mut sent = db::trigger::rate(tx.conn(), source, since).await?;
    let mut taken = Vec::new();
    for (one, endpoint) in said.iter().zip(endpoints) {
        let outcome = match endpoint {
            Err(problem) => Err(problem),
            Ok(endpoint) => {
                let choice = choices[&endpoint.record.blueprint].clone();
                one_of(inner, &mut tx, &report, one, &endpoint.id, choice, sent).await?
            }
        };
        sent += u64::from(outcome.as_ref().is_ok_and(|outcome| outcome.first));
        taken.push(outcome);
    }
    let first = |outcome: &&TriggerOutcome| outcome.first;
    if taken.iter().flatten().any(|outcome| outcome.first) {
        tx.commit().await?;
    }
    for outcome in taken.iter().flatten().filter(first) {
        inner.live.count("trigger", outcome.decision.kind());
    }
    Ok(taken)
}

/// Whether there is room for what is new in a message, or something in it was taken before. Asked without the writer, so that a flood
/// keeps nobody waiting.
async fn has_room(conn: &mut Conn, inner: &Inner, report: &Report<'_>) -> Result<bool, Problem> {
    let since = inner.journal.now().saturating_sub(HOUR_MS);
    if db::trigger::rate(conn, report.source, since).await? < u64::from(report.hook.max_per_hour) {
        return Ok(true);
    }
    for one in report.said {
        if db::trigger::seen(conn, report.source, &key(one)).await?.is_some() {
            return Ok(true);
        }
    }
    // An incident's key is known only inside the transaction.
    Ok(report.hook.verifier.is_some())
}

fn key(said: &Said) -> String {
    match said.class {
        Class::Resolved => format!("{}{RESOLVED}", said.delivery),
        Class::Integrity | Class::Unreachable | Class::Alert | Class::Notice => said.delivery.clone(),
    }
}

async fn one_of(
    inner: &Inner,
    tx: &mut JournalTx<'_>,
    report: &Report<'_>,
    said: &Said,
    endpoint: &EndpointId,
    choice: Result<Choice, Problem>,
    sent: u64,
) -> Result<Taken, Problem> {
    let Report { source, hook, raw, .. } = *report;
    let room = sent < u64::from(hook.max_per_hour);
    let mut delivery_key = key(said);
    if said.class == Class::Integrity && hook.verifier.is_some() {
        let (now, since) = (tx.at, tx.at.saturating_sub(INCIDENT_MS));
        let opened = db::trigger::incident(tx.conn(), source, &said.endpoint, now, since).await?;
        delivery_key = format!("{}@{opened}", said.endpoint);
    }
    if let Some(decision) = triggers::seen(tx.conn(), source, &delivery_key).await? {
        return Ok(Ok(TriggerOutcome { first: false, decision }));
    }
    if !room {
        return Ok(Err(too_many(source, hook)));
    }
    let class = match said.class {
        Class::Integrity => TriggerClass::Integrity,
        Class::Unreachable => TriggerClass::Unreachable,
        Class::Alert | Class::Resolved => TriggerClass::Alert,
        Class::Notice => TriggerClass::Notice,
    };
    let trigger = Trigger {
        source: source.to_owned(),
        delivery_key,
        endpoint: endpoint.clone(),
        class,
        reason: said.reason.clone(),
        raw: raw.to_vec(),
        confirmed: false,
    };
    let arrived = Arrived {
        trigger: &trigger,
        named: &said.endpoint,
        cap: hook.mode,
        kept: (hook.keep_messages, hook.keep_days),
    };
    if said.class == Class::Resolved {
        let decision = over(tx, source, &said.delivery).await?;
        triggers::keep(tx, arrived, "resolved", &decision).await?;
        return Ok(Ok(TriggerOutcome { first: true, decision }));
    }
    Ok(Ok(triggers::put(inner, tx, arrived, choice).await?))
}

/// The source says that what it reported is over. The job that this alone had asked for is given up if nothing was done yet: past that a
/// person decides, since an endpoint half restored is not as it was.
async fn over(tx: &mut JournalTx<'_>, source: &str, delivery: &str) -> Result<TriggerDecision, Problem> {
    let observed = |rule: String| Ok(TriggerDecision::Observed { rule });
    let at = tx.at;
    db::trigger::settle(tx.conn(), source, delivery, at).await?;
    let mut asked: Option<JobId> = None;
    for key in [delivery.to_owned(), format!("{delivery}{CONFIRMED}")] {
        match triggers::seen(tx.conn(), source, &key).await? {
            Some(TriggerDecision::Started(job) | TriggerDecision::AwaitsApproval(job)) => asked = Some(job),
            Some(
                TriggerDecision::Observed { .. }
                | TriggerDecision::Quarantined
                | TriggerDecision::Joined(_)
                | TriggerDecision::Cancelled(_),
            )
            | None => {}
        }
    }
    let Some(job) = asked else { return observed("it had started nothing".to_owned()) };
    let Some(row) = db::job::get(tx.conn(), job).await? else {
        return observed(format!("job {job} is gone"));
    };
    let stage = match row.job.state {
        JobState::Working { stage } | JobState::Held { stage, .. } => stage,
        JobState::Recovered | JobState::Captured | JobState::Cancelled { .. } | JobState::Failed { .. } => {
            return observed(format!("job {job} was over already"));
        }
    };
    if stage > Stage::Admitted || row.job.fenced || row.job.touched || row.job.approved_by.is_some() {
        return observed(format!(
            "job {job} has begun or was approved: cancel it by hand if it is not wanted"
        ));
    }
    let joined = serde_json::to_string(&TriggerDecision::Joined(job)).unwrap_or_default();
    if db::trigger::others_with(tx.conn(), &joined, source, delivery).await? > 0 {
        return observed(format!("job {job} stays: others asked for it, too"));
    }
    let by = Actor::trigger(source).name;
    tx.event(job, &by.clone(), What::Cancel { by }).await?;
    Ok(TriggerDecision::Cancelled(job))
}

/// The one endpoint on record that a source means, if it may speak about it.
async fn lookup(
    conn: &mut Conn,
    inner: &Inner,
    source: &str,
    hook: &Hook,
    named: &str,
) -> Result<Result<Endpoint, Problem>, Problem> {
    let mut found = candidates(conn, &hook.named_by(), named).await?;
    found.retain(|endpoint| endpoint.state != EndpointState::Discovered);
    let refused = |status, code, title, detail: String, remedy| {
        Ok(Err(Problem::new(status, code, title, detail, remedy)))
    };
    match (found.pop(), found.len()) {
        (Some(endpoint), 0) => {
            if hook.covers(&endpoint, &inner.journal.config) {
                return Ok(Ok(endpoint));
            }
            let detail = format!("source `{source}` may not speak about {}", endpoint.id);
            let remedy = "add the endpoint to the source's `endpoints` or `scope`, or mend the sender";
            refused(403, "endpoint-out-of-scope", "Not this source's endpoint", detail, remedy)
        }
        (None, _) => {
            let detail = format!("source `{source}` names `{named}`, which is nobody on record");
            let remedy = "put the endpoint on record, or say by `endpoint_by` how the source names endpoints";
            refused(404, "unknown-endpoint", "No such endpoint", detail, remedy)
        }
        (Some(last), _) => {
            found.push(last);
            let all: Vec<&str> = found.iter().map(|endpoint| endpoint.id.as_str()).collect();
            let detail = format!("source `{source}` names `{named}`, which is each of {}", all.join(", "));
            let remedy = "give each its own label or host name (`groundstate endpoint set`)";
            refused(409, "endpoint-ambiguous", "More than one endpoint could be meant", detail, remedy)
        }
    }
}

async fn candidates(conn: &mut Conn, by: &EndpointBy, named: &str) -> Result<Vec<Endpoint>, Problem> {
    match by {
        EndpointBy::Name => match named.parse::<EndpointId>() {
            Ok(id) => Ok(db::endpoint::get(conn, &id).await?.into_iter().collect()),
            Err(_) => Ok(Vec::new()),
        },
        EndpointBy::Label(label) => {
            let mut found = db::endpoint::mentioning(conn, named).await?;
            found.retain(|endpoint| endpoint.record.labels.get(label) == Some(named));
            Ok(found)
        }
        EndpointBy::Hostname => {
            let named = named.rsplit_once(':').map_or(named, |(host, port)| {
                if port.bytes().all(|b| b.is_ascii_digit()) { host } else { named }
            });
            let first = named.split('.').next().unwrap_or_default().to_ascii_lowercase();
            if first.is_empty() {
                return Ok(Vec::new());
            }
            let mut found = db::endpoint::mentioning(conn, &first).await?;
            let called = |endpoint: &Endpoint| {
                let hostname = endpoint.record.settings.hostname.as_deref();
                hostname.is_some_and(|hostname| hostname.eq_ignore_ascii_case(named))
            };
            // A whole host name on record says more than a name that begins like it.
            let exact = found.iter().any(called);
            found.retain(|endpoint| if exact { called(endpoint) } else { endpoint.id.as_str() == first });
            Ok(found)
        }
    }
}

fn too_many(source: &str, hook: &Hook) -> Problem {
    let most = hook.max_per_hour;
    let detail = format!(
        "source `{source}` sent more than {most} triggers within an hour; this one is neither stored nor acted on"
    );
    let remedy = "look at what the source reports; raise its `max_per_hour` if it is right";
    Problem::new(429, "too-many-triggers", "Too many triggers", detail, remedy)
}
