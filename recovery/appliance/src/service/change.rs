//! What is on record of an endpoint is changed, and an endpoint is removed: by a person, whole or not at all, in evidence with what was
//! before and what is now.
//!
//! | while a job is open | |
//! |---|---|
//! | disk, chain, power, host name and addresses | may change: what mends a held job; what was set at another BMC is taken back there |
//! | disk, power, safety class, after a second person approved | 409 `job-open`: they approved it as it was |
//! | Ethernet addresses, blueprint, group | 409 `job-open`: somebody approved this job for that computer, that image, those guard rails |
//! | removal | 409 `job-open` |
//!
//! It must never: change what an endpoint proved (its TPM, its firmware), which only a job does.

use recovery_protocol::{
    EndpointId, MacAddr, Problem,
    agent::Inventory,
    operator::{ChangeEndpoint, Decision, EndpointState, EndpointView, Power, RemovedEndpoint, Resolution},
    selector,
};
use serde_json::{Map, Value, json};

use super::{Actor, Inner, endpoints, scope, switches};
use crate::{
    agents::identity,
    config::Config,
    control_plane,
    db::{
        self,
        endpoint::{Endpoint, Record},
    },
    evidence::Fact,
    jobs::journal::JournalTx,
    power,
    refusals::unknown_endpoint,
};

/// Longest reason, in characters.
const REASON_MOST: usize = 500;

/// Change a record: what the order leaves out stays. `revision`: the one that the asker saw.
pub async fn set(
    inner: &Inner,
    actor: &Actor,
    id: &EndpointId,
    order: ChangeEndpoint,
    revision: Option<u64>,
) -> Result<EndpointView, Problem> {
    let mut tx = inner.journal.begin().await?;
    let known = on_record(inner, actor, &mut tx, id, revision).await?;
    let reason = order.reason.clone();
    let now = fit(&inner.journal.config, changed(known.record.clone(), order)?, Some(&known.record))?;
    put(inner, tx, actor, &known, now, &reason).await
}

fn changed(before: Record, order: ChangeEndpoint) -> Result<Record, Problem> {
    let labels = before
        .labels
        .with(&order.labels)
        .map_err(|error| unfit("bad-label", error.to_string(), "correct it; nothing was put on record"))?;
    let redundancy = match order.redundancy {
        Some(word) => Some(word).filter(|word| !word.is_empty()),
        None => before.redundancy,
    };
    let disk_serial = match order.disk_serial {
        Some(serial) => Some(serial).filter(|serial| !serial.is_empty()),
        None => before.disk_serial,
    };
    Ok(Record {
        macs: order.macs.unwrap_or(before.macs),
        blueprint: order.blueprint.unwrap_or(before.blueprint),
        group: order.group.unwrap_or(before.group),
        chain: order.chain.unwrap_or(before.chain),
        disk_serial,
        drill_safe: order.drill_safe.unwrap_or(before.drill_safe),
        power: order.power.unwrap_or(before.power),
        settings: order.settings.unwrap_or(before.settings),
        labels,
        kind: order.kind.or(before.kind),
        safety_class: order.safety_class.unwrap_or(before.safety_class),
        redundancy,
    })
}

fn unfit(code: &str, detail: String, remedy: &str) -> Problem {
    Problem::new(422, code, "These facts cannot be put on record", detail, remedy)
}

/// An endpoint that somebody put on record, in the revision that the asker saw.
async fn on_record(
    inner: &Inner,
    actor: &Actor,
    tx: &mut JournalTx<'_>,
    id: &EndpointId,
    revision: Option<u64>,
) -> Result<Endpoint, Problem> {
    let known = db::endpoint::get(tx.conn(), id).await?.ok_or_else(|| unknown_endpoint(id))?;
    scope::covers(inner, actor, &known)?;
    if let Some(seen) = revision.filter(|seen| *seen != known.revision) {
        let detail = format!("you saw revision {seen} of {id}; it is at {} now", known.revision);
        let remedy = "look at it again, then order again with its revision";
        return Err(Problem::new(412, "revision-stale", "It was changed since you looked", detail, remedy));
    }
    Ok(known)
}

/// Write a changed record with its evidence, and let the boot layer know; nothing changed is nothing written. Commits.
pub async fn put(
    inner: &Inner,
    mut tx: JournalTx<'_>,
    actor: &Actor,
    known: &Endpoint,
    now: Record,
    reason: &str,
) -> Result<EndpointView, Problem> {
    let id = known.id.clone();
    // Before and after: nobody moves an endpoint into their scope or out of it.
    scope::covers(inner, actor, known)?;
    scope::covers(inner, actor, &Endpoint { record: now.clone(), ..known.clone() })?;
    if now.power != known.record.power {
        // A BMC or an outlet on record may be another endpoint's.
        scope::whole_site(actor)?;
        switches::nobody_elses(tx.conn(), &id, &now.power, Some(&known.record.power)).await?;
    }
    write(&mut tx, actor, known, &now, reason).await?;
    let (rechained, moved) = (now.chain != known.record.chain, now.macs != known.record.macs);
    tx.commit().await?;
    if rechained {
        inner.desk.forget_chains(&id);
    }
    if rechained || moved {
        inner.journal.tickets.read(&inner.journal.db).await?;
    }
    // Its addresses, and those that are kept for it.
    inner.journal.tickets.learn(&inner.journal.db).await?;
    endpoints::one(inner, &id).await
}

/// Write a changed record with its evidence; says whether anything changed.
pub async fn write(
    tx: &mut JournalTx<'_>,
    actor: &Actor,
    known: &Endpoint,
    now: &Record,
    reason: &str,
) -> Result<bool, Problem> {
    let (id, before) = (&known.id, &known.record);
    if now == before {
        return Ok(false);
    }
    if known.state == EndpointState::Discovered {
        let detail = format!("{id} was only discovered; nobody put it on record");
        let remedy = "add it with its blueprint: `groundstate endpoint add`";
        return Err(Problem::new(
            409,
            "endpoint-not-approved",
            "This endpoint is not approved",
            detail,
            remedy,
        ));
    }
    if moves(before, now) {
        no_open_job(tx, id).await?;
    } else if aims(before, now) {
        not_approved(tx, id).await?;
    }
    let claimed = claim(tx, id, &now.macs).await?;
    let endpoint = Endpoint {
        record: now.clone(),
        inventory: known.inventory.clone().or(claimed),
        revision: known.revision + 1,
        ..known.clone()
    };
    db::endpoint::put(tx.conn(), &endpoint).await?;
    // With another password it is the same BMC.
    let gone = |power: &&Power| {
        power::place(power)
            .is_some_and(|place| now.power.each().iter().all(|power| power::place(power) != Some(place)))
    };
    let earlier: Vec<Power> = before.power.each().iter().filter(gone).cloned().collect();
    tx.powered_by(id, &earlier).await?;
    let at = tx.at;
    let class = tx.config().rails(before).safety_class;
    db::endpoint::edited(tx.conn(), id, &actor.name, class, at).await?;
    if now.chain != before.chain {
        db::chain::forget(tx.conn(), id).await?;
    }
    let reason: String = reason.chars().take(REASON_MOST).collect();
    let facts =
        json!({ "changes": differences(before, now), "revision": endpoint.revision, "reason": reason });
    tx.note(Fact::new("order.change", &actor.name, facts).about(id)).await?;
    Ok(true)
}

/// Whether what an open job was approved for is changed.
pub fn moves(before: &Record, now: &Record) -> bool {
    (&now.macs, &now.blueprint, &now.group) != (&before.macs, &before.blueprint, &before.group)
}

/// Which disk is written, whose power is switched, and how safe the endpoint is held to be.
fn aims(before: &Record, now: &Record) -> bool {
    (&now.disk_serial, &now.power, now.safety_class)
        != (&before.disk_serial, &before.power, before.safety_class)
}

/// Nobody approved a job for this endpoint as it is on record: what they approved would be another thing.
async fn not_approved(tx: &mut JournalTx<'_>, id: &EndpointId) -> Result<(), Problem> {
    let open = db::job::open_of(tx.conn(), id).await?;
    let approved = open.filter(|row| row.job.second_person && row.job.approved_by.is_some());
    let Some(row) = approved else { return Ok(()) };
    let detail = format!("job {} was approved by a second person for {id} as it is on record", row.job.id);
    let remedy = "cancel it, change the record, and have a new one approved";
    Err(Problem::new(409, "job-open", "The endpoint has an approved job", detail, remedy))
}

/// Each field that differs, with what it was and what it is.
pub fn differences(before: &Record, now: &Record) -> Map<String, Value> {
    let (before, now) = (json!(before), json!(now));
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (old, new) = (fields(&before), fields(&now));
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    names
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| (name.clone(), json!({ "from": old.get(name), "to": new.get(name) })))
        .collect()
}

/// 409 `job-open` where one is.
pub async fn no_open_job(tx: &mut JournalTx<'_>, id: &EndpointId) -> Result<(), Problem> {
    let open = db::job::open_of(tx.conn(), id).await?.map(|row| row.job.id);
    let live = db::ticket::live_boot(tx.conn()).await?;
    let ticket = live.iter().find(|ticket| ticket.endpoint == *id).map(|ticket| ticket.job);
    let Some(job) = open.or(ticket) else { return Ok(()) };
    let detail =
        format!("job {job} is open, or its boot ticket lives: it was ordered for {id} as it is on record");
    let remedy = "wait until it is over, or cancel it";
    Err(Problem::new(409, "job-open", "The endpoint has a job", detail, remedy))
}

/// Take addresses for an endpoint: of one that was only discovered what it said of itself comes along, another's are a conflict.
pub async fn claim(
    tx: &mut JournalTx<'_>,
    id: &EndpointId,
    macs: &[MacAddr],
) -> Result<Option<Inventory>, Problem> {
    let mut said = None;
    for mac in macs {
        let other = db::endpoint::by_mac(tx.conn(), &[*mac]).await?.filter(|other| other.id != *id);
        let Some(other) = other else { continue };
        if other.state != EndpointState::Discovered {
            let remedy = format!(
                "correct the address, or take it from there first: `groundstate endpoint set {} --mac …`",
                other.id
            );
            return Err(conflict(format!("{mac} belongs to {}", other.id), &remedy));
        }
        db::endpoint::forget(tx.conn(), &other.id).await?;
        said = said.or(other.inventory);
    }
    Ok(said)
}

pub fn conflict(detail: String, remedy: &str) -> Problem {
    Problem::new(409, "endpoint-conflict", "This endpoint is on record with other facts", detail, remedy)
}

/// A record that can be worked with; addresses in order and once. What was on record `before` and stays is not asked again: a
/// blueprint that is gone from the configuration keeps nobody from correcting an address.
pub fn fit(config: &Config, record: Record, before: Option<&Record>) -> Result<Record, Problem> {
    let unfit = |code: &str, detail: String, remedy: &str| Err(unfit(code, detail, remedy));
    let kept = |same: fn(&Record, &Record) -> bool| before.is_some_and(|before| same(before, &record));
    if !kept(|a, b| a.blueprint == b.blueprint) && !config.blueprints.contains_key(&record.blueprint) {
        let detail = format!("there is no blueprint `{}` in the configuration", record.blueprint);
        return unfit("unknown-blueprint", detail, "name one of [blueprints.*], or add it and start again");
    }
    if !kept(|a, b| a.group == b.group) && !config.groups.contains_key(&record.group) {
        let detail = format!("there is no group `{}` in the configuration", record.group);
        return unfit("unknown-group", detail, "name one of [groups.*], or add it and start again");
    }
    let mut macs = record.macs.clone();
    macs.sort();
    macs.dedup();
    // The lowest bit of the first byte marks a group address (IEEE 802-2014 section 8.2): no endpoint's own.
    if macs.is_empty() || macs.iter().any(|mac| mac.0[0] & 1 == 1 || mac.0 == [0; 6]) {
        let detail = "an endpoint needs at least one Ethernet address, and only its own".to_owned();
        return unfit("bad-mac", detail, "read the address from its firmware or its label");
    }
    if record.safety_class > 3 {
        let detail = format!("there is no safety class {}", record.safety_class);
        return unfit("bad-safety-class", detail, "write 0, 1, 2 or 3");
    }
    if let Some(word) = record.redundancy.as_ref().filter(|word| !selector::is_word(word)) {
        let detail = format!("`{word}` cannot be the name of a redundancy group");
        return unfit("bad-redundancy", detail, "use letters, digits, `-`, `_` and `.`, at most 63");
    }
    if let Err(error) = record.settings.check() {
        return unfit("bad-settings", error.to_string(), "correct it; nothing was put on record");
    }
    if let Some(other) = record.settings.interfaces.iter().find(|interface| !macs.contains(&interface.mac)) {
        let detail = format!("{} is none of this endpoint's Ethernet addresses", other.mac);
        let remedy =
            "give its own IP addresses with it (`--address`), or take them off record (`--no-settings`)";
        return unfit("bad-settings", detail, remedy);
    }
    let disk_serial =
        record.disk_serial.map(|serial| serial.trim().to_owned()).filter(|serial| !serial.is_empty());
    Ok(Record { macs, disk_serial, ..record })
}

/// Take an endpoint off record. What it was, its jobs and its evidence stay; its certificates and tickets do not.
pub async fn remove(
    inner: &Inner,
    actor: &Actor,
    id: &EndpointId,
    order: Decision,
    revision: Option<u64>,
) -> Result<RemovedEndpoint, Problem> {
    let mut tx = inner.journal.begin().await?;
    let at = tx.at;
    let known = on_record(inner, actor, &mut tx, id, revision).await?;
    no_open_job(&mut tx, id).await?;
    let certificates_revoked = db::ticket::revoke(tx.conn(), id, at).await?;
    db::ticket::void_all(tx.conn(), id, at).await?;
    db::plane::retire(tx.conn(), id, at).await?;
    control_plane::removed(&mut tx, &known).await?;
    db::chain::forget(tx.conn(), id).await?;
    if known.state != EndpointState::Discovered {
        db::endpoint::bury(tx.conn(), &known, &actor.name, at).await?;
    }
    db::endpoint::forget(tx.conn(), id).await?;
    let reason: String = order.reason.chars().take(REASON_MOST).collect();
    let facts = json!({
        "record": known.record, "state": known.state, "ek_sha256": known.ek_sha256, "generation": known.generation,
        "certificates_revoked": certificates_revoked, "reason": reason,
    });
    tx.note(Fact::new("order.remove", &actor.name, facts).about(id)).await?;
    tx.commit().await?;
    inner.desk.forget_chains(id);
    inner.journal.tickets.learn(&inner.journal.db).await?;
    Ok(RemovedEndpoint { endpoint: id.clone(), certificates_revoked })
}

/// A person resolves an identity conflict.
pub async fn resolve(
    inner: &Inner,
    actor: &Actor,
    id: &EndpointId,
    order: Resolution,
) -> Result<EndpointView, Problem> {
    let mut tx = inner.journal.begin().await?;
    let known = on_record(inner, actor, &mut tx, id, None).await?;
    let now = identity::resolved(&known, order.replace).ok_or_else(|| {
        let detail = format!("nobody else came with an address of {id}");
        let remedy = "look at `groundstate endpoint show`: a conflict stands there when there is one";
        Problem::new(409, "no-conflict", "There is nothing to resolve", detail, remedy)
    })?;
    if order.replace {
        no_open_job(&mut tx, id).await?;
    }
    db::endpoint::put(tx.conn(), &now).await?;
    let claim = known.conflict.and_then(|conflict| conflict.open);
    let reason: String = order.reason.chars().take(REASON_MOST).collect();
    let facts = json!({
        "replace": order.replace, "claim": claim, "on_record": known.inventory, "ek_sha256": known.ek_sha256, "reason": reason,
        "disk_serial": { "from": known.record.disk_serial, "to": now.record.disk_serial },
    });
    tx.note(Fact::new("order.resolve", &actor.name, facts).about(id)).await?;
    tx.commit().await?;
    endpoints::one(inner, id).await
}
