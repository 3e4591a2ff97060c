//! Endpoints: on record, discovered, paired.

use recovery_protocol::{
    EndpointId, MacAddr, Problem,
    agent::Inventory,
    operator::{EndpointState, EndpointView, NewEndpoint},
    settings::EndpointSettings,
};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::{Actor, Inner, views};
use crate::{
    db::{
        self,
        endpoint::{Endpoint, Record},
    },
    evidence::Fact,
    jobs::job::{Proof, What},
    jobs::journal::JournalTx,
    refusals::unknown_endpoint,
};

/// Wrong pairing codes that void a pairing.
const PAIRING_TRIES: u32 = 3;

/// Endpoints that were only discovered, at most; more get no record.
const DISCOVERED_MOST: usize = 256;

/// Put a stranger on the list of the discovered ones, where there is room: shown, given nothing. `None`: it has no address of
/// its own, or the list is full.
pub async fn discovered(
    tx: &mut JournalTx<'_>,
    macs: &[MacAddr],
    inventory: Option<Inventory>,
    actor: &str,
) -> Result<Option<EndpointId>, Problem> {
    let Some(first) = macs.iter().find(|mac| mac.0[0] & 1 == 0 && mac.0 != [0; 6]) else { return Ok(None) };
    let all = db::endpoint::all(tx.conn()).await?;
    if all.iter().filter(|e| e.state == EndpointState::Discovered).count() >= DISCOVERED_MOST {
        return Ok(None);
    }
    let id: EndpointId = format!("seen-{}", hex::encode(first.0)).parse().map_err(|e| {
        Problem::new(500, "name-impossible", "No name for this endpoint", format!("{e}"), "add it by hand")
    })?;
    let (vendor, product) = inventory.as_ref().map(|i| (&i.vendor, &i.product)).unzip();
    let facts = json!({ "macs": macs, "vendor": vendor, "product": product });
    let fact = Fact::new("endpoint.discovered", actor, facts).about(&id);
    let endpoint = Endpoint {
        id: id.clone(),
        state: EndpointState::Discovered,
        record: Record { macs: vec![*first], ..Record::default() },
        inventory,
        ek_sha256: None,
        ek_certificate: None,
        baseline: None,
        pairing: None,
        refusal: None,
        seen: Some(tx.at),
        proven: None,
        generation: 0,
    };
    db::endpoint::put(tx.conn(), &endpoint).await?;
    tx.note(fact).await?;
    Ok(Some(id))
}

pub async fn list(inner: &Inner) -> Result<Vec<EndpointView>, Problem> {
    let mut conn = inner.journal.db.read().await?;
    let mut found = Vec::new();
    for endpoint in db::endpoint::all(&mut conn).await? {
        found.push(views::endpoint(inner, &mut conn, endpoint).await?);
    }
    Ok(found)
}

pub async fn one(inner: &Inner, endpoint: &EndpointId) -> Result<EndpointView, Problem> {
    let mut conn = inner.journal.db.read().await?;
    let found = db::endpoint::get(&mut conn, endpoint).await?.ok_or_else(|| unknown_endpoint(endpoint))?;
    views::endpoint(inner, &mut conn, found).await
}

pub async fn add(inner: &Inner, actor: &Actor, new: NewEndpoint) -> Result<EndpointView, Problem> {
    let (id, settings, chain) = (new.endpoint.clone(), new.settings.clone(), new.chain);
    let record = checked(inner, new)?;
    let mut tx = inner.journal.begin().await?;
    let known = db::endpoint::get(tx.conn(), &id).await?;
    if let Some(known) = &known
        && known.state != EndpointState::Discovered
    {
        let record = Record { chain: chain.unwrap_or(known.record.chain), ..record };
        let rechained = record.chain != known.record.chain;
        said_again(&mut tx, actor, known, record, settings).await?;
        if rechained {
            db::chain::forget(tx.conn(), &id).await?;
        }
        tx.commit().await?;
        if rechained {
            inner.desk.forget_chains(&id);
            inner.journal.tickets.read(&inner.journal.db).await?;
        }
        return one(inner, &id).await;
    }
    let mut inventory = known.and_then(|known| known.inventory);
    for mac in &record.macs {
        let Some(other) = db::endpoint::by_mac(tx.conn(), &[*mac]).await? else { continue };
        if other.state != EndpointState::Discovered {
            return Err(conflict(format!("{mac} belongs to {}", other.id)));
        }
        db::endpoint::forget(tx.conn(), &other.id).await?;
        inventory = inventory.or(other.inventory);
    }
    let endpoint = Endpoint {
        id: id.clone(),
        state: EndpointState::Known,
        record,
        inventory,
        ek_sha256: None,
        ek_certificate: None,
        baseline: None,
        pairing: None,
        refusal: None,
        seen: None,
        proven: None,
        generation: 0,
    };
    db::endpoint::put(tx.conn(), &endpoint).await?;
    let facts = json!({ "record": endpoint.record });
    tx.note(Fact::new("order.endpoint", &actor.name, facts).about(&id)).await?;
    tx.commit().await?;
    inner.journal.tickets.learn(&inner.journal.db).await?;
    one(inner, &id).await
}

fn conflict(detail: String) -> Problem {
    let remedy = "choose another name, or correct the facts";
    Problem::new(409, "endpoint-conflict", "This endpoint is on record with other facts", detail, remedy)
}

/// A disk was replaced, or it moved in the network: the facts that a person may change by saying them again.
async fn said_again(
    tx: &mut JournalTx<'_>,
    actor: &Actor,
    known: &Endpoint,
    record: Record,
    settings: Option<EndpointSettings>,
) -> Result<(), Problem> {
    let (id, before) = (&known.id, &known.record);
    let now = Record {
        disk_serial: record.disk_serial.clone().or_else(|| before.disk_serial.clone()),
        settings: settings.unwrap_or_else(|| before.settings.clone()),
        ..record.clone()
    };
    let but_for_those = Record {
        disk_serial: before.disk_serial.clone(),
        settings: before.settings.clone(),
        chain: before.chain,
        ..record
    };
    if *before != but_for_those {
        return Err(conflict(format!("{id} is on record with other addresses, blueprint, group or power")));
    }
    let mut changed = Vec::new();
    if now.disk_serial != before.disk_serial {
        let facts = json!({ "disk_serial": now.disk_serial, "before": before.disk_serial });
        changed.push(Fact::new("order.disk", &actor.name, facts));
    }
    if now.settings != before.settings {
        let facts = json!({ "settings": now.settings, "before": before.settings });
        changed.push(Fact::new("order.settings", &actor.name, facts));
    }
    if now.chain != before.chain {
        let facts = json!({ "chain": now.chain, "before": before.chain });
        changed.push(Fact::new("order.chain", &actor.name, facts));
    }
    if !changed.is_empty() {
        db::endpoint::put(tx.conn(), &Endpoint { record: now, ..known.clone() }).await?;
    }
    for fact in changed {
        tx.note(fact.about(id)).await?;
    }
    Ok(())
}

fn checked(inner: &Inner, new: NewEndpoint) -> Result<Record, Problem> {
    let config = &inner.journal.config;
    let unfit = |code: &str, detail: String, remedy: &str| {
        Err(Problem::new(422, code, "These facts cannot be put on record", detail, remedy))
    };
    if !config.blueprints.contains_key(&new.blueprint) {
        let detail = format!("there is no blueprint `{}` in the configuration", new.blueprint);
        return unfit("unknown-blueprint", detail, "name one of [blueprints.*], or add it and start again");
    }
    if !config.groups.contains_key(&new.group) {
        let detail = format!("there is no group `{}` in the configuration", new.group);
        return unfit("unknown-group", detail, "name one of [groups.*], or add it and start again");
    }
    let mut macs = new.macs;
    macs.sort();
    macs.dedup();
    // The lowest bit of the first byte marks a group address (IEEE 802-2014 section 8.2): no endpoint's own.
    if macs.is_empty() || macs.iter().any(|mac| mac.0[0] & 1 == 1 || mac.0 == [0; 6]) {
        let detail = "an endpoint needs at least one Ethernet address, and only its own".to_owned();
        return unfit("bad-mac", detail, "read the address from its firmware or its label");
    }
    let settings = new.settings.unwrap_or_default();
    if let Err(error) = settings.check() {
        return unfit("bad-settings", error.to_string(), "correct it; nothing was put on record");
    }
    if let Some(other) = settings.interfaces.iter().find(|interface| !macs.contains(&interface.mac)) {
        let detail = format!("{} is none of this endpoint's Ethernet addresses", other.mac);
        return unfit("bad-settings", detail, "name the interface by an address that is given with it");
    }
    Ok(Record {
        settings,
        macs,
        blueprint: new.blueprint,
        group: new.group,
        chain: new.chain.unwrap_or_default(),
        disk_serial: new.disk_serial,
        drill_safe: new.drill_safe,
        power: new.power,
    })
}

pub async fn pair(
    inner: &Inner,
    actor: &Actor,
    id: &EndpointId,
    code: &str,
) -> Result<EndpointView, Problem> {
    let mut tx = inner.journal.begin().await?;
    let mut endpoint = db::endpoint::get(tx.conn(), id).await?.ok_or_else(|| unknown_endpoint(id))?;
    let nothing = || {
        let remedy = "look at the endpoint's screen: it shows a code when it needs one";
        Problem::new(
            409,
            "nothing-to-pair",
            "This endpoint shows no pairing code",
            format!("{id} waits for none"),
            remedy,
        )
    };
    let mut pairing = endpoint.pairing.take().ok_or_else(nothing)?;
    let job = db::job::open_of(tx.conn(), id).await?.ok_or_else(nothing)?.job.id;
    let right = bool::from(code.trim().as_bytes().ct_eq(pairing.code.as_bytes()));
    if !right {
        pairing.wrong += 1;
        let left = PAIRING_TRIES.saturating_sub(pairing.wrong);
        endpoint.pairing = (left > 0).then_some(pairing);
        db::endpoint::put(tx.conn(), &endpoint).await?;
        let facts = json!({ "tries_left": left });
        tx.note(Fact::new("refusal.pairing", &actor.name, facts).about(id).of(Some(job))).await?;
        tx.commit().await?;
        let remedy = "compare again; after three wrong codes the endpoint must be started again";
        let detail = format!("the endpoint shows another code; {left} tries are left");
        return Err(Problem::new(
            409,
            "pairing-code-wrong",
            "This is not the code on its screen",
            detail,
            remedy,
        ));
    }
    accept(&mut tx, actor, id, job, &pairing.session).await?;
    tx.commit().await?;
    one(inner, id).await
}

async fn accept(
    tx: &mut JournalTx<'_>,
    actor: &Actor,
    id: &EndpointId,
    job: recovery_protocol::JobId,
    session_hash: &str,
) -> Result<(), Problem> {
    let mut session = db::session::get(tx.conn(), session_hash).await?.ok_or_else(|| {
        let remedy = "start the endpoint again from the network";
        Problem::new(
            409,
            "session-over",
            "The endpoint's session is over",
            "it said hello again since",
            remedy,
        )
    })?;
    session.record.accepted = true;
    db::session::put(tx.conn(), &session).await?;
    let facts = json!({ "how": "a person matched the code on the endpoint's screen" });
    tx.note(Fact::new("proof.pairing", &actor.name, facts).about(id).of(Some(job))).await?;
    let what = What::HardwareProven { session: session_hash.to_owned(), proof: Proof::Paired };
    tx.event(job, &actor.name, what).await.map_err(Problem::from)?;
    Ok(())
}
