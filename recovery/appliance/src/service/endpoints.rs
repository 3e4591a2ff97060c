//! Endpoints: on record, discovered, paired.

use recovery_protocol::{
    EndpointId, MacAddr, Problem,
    agent::Inventory,
    operator::{EndpointState, EndpointView, NewEndpoint, Power},
    selector::Selector,
    settings::EndpointSettings,
};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::{Actor, Inner, change, scope, views};
use crate::{
    db::{
        self,
        endpoint::{Endpoint, Record},
    },
    evidence::Fact,
    guard,
    jobs::job::{Proof, What},
    jobs::journal::JournalTx,
    refusals::unknown_endpoint,
};

/// Wrong pairing codes that void a pairing.
const PAIRING_TRIES: u32 = 3;

/// Endpoints that were only discovered, at most: a new one takes the place of the one that was silent longest.
const DISCOVERED_MOST: usize = 256;

/// New ones in an hour, at most: addresses can be made up, and each is an entry in evidence.
const DISCOVERED_HOURLY: usize = 32;

const HOUR_MS: u64 = 3_600_000;

/// Put a stranger on the list of the discovered ones, where there is room: shown, given nothing. `None`: it has no address of
/// its own, or too many came within the hour.
pub async fn discovered(
    tx: &mut JournalTx<'_>,
    macs: &[MacAddr],
    inventory: Option<Inventory>,
    actor: &str,
) -> Result<Option<EndpointId>, Problem> {
    let Some(first) = macs.iter().find(|mac| mac.0[0] & 1 == 0 && mac.0 != [0; 6]) else { return Ok(None) };
    let all = db::endpoint::all(tx.conn()).await?;
    let mut strangers: Vec<&Endpoint> = all.iter().filter(|e| e.state == EndpointState::Discovered).collect();
    let hour_ago = tx.at.saturating_sub(HOUR_MS);
    if strangers.iter().filter(|e| e.added > hour_ago).count() >= DISCOVERED_HOURLY {
        return Ok(None);
    }
    strangers.sort_by_key(|e| e.seen);
    let more = (strangers.len() + 1).saturating_sub(DISCOVERED_MOST);
    for silent in &strangers[..more] {
        db::endpoint::forget(tx.conn(), &silent.id).await?;
    }
    let id: EndpointId = format!("seen-{}", hex::encode(first.0)).parse().map_err(|e| {
        Problem::new(500, "name-impossible", "No name for this endpoint", format!("{e}"), "add it by hand")
    })?;
    let (vendor, product) = inventory.as_ref().map(|i| (&i.vendor, &i.product)).unzip();
    let facts = json!({ "macs": macs, "vendor": vendor, "product": product });
    let fact = Fact::new("endpoint.discovered", actor, facts).about(&id);
    let record = Record { macs: vec![*first], ..Record::default() };
    let found = Endpoint::new(id.clone(), EndpointState::Discovered, record, tx.at);
    let endpoint = Endpoint { inventory, seen: Some(tx.at), ..found };
    db::endpoint::put(tx.conn(), &endpoint).await?;
    tx.note(fact).await?;
    Ok(Some(id))
}

/// All, or those that are meant.
pub async fn list(inner: &Inner, selector: Option<&Selector>) -> Result<Vec<EndpointView>, Problem> {
    let mut conn = inner.journal.db.read().await?;
    let config = &inner.journal.config;
    let meant = |endpoint: &Endpoint| {
        let class = config.rails(&endpoint.record).safety_class;
        selector.is_none_or(|selector| endpoint.is_meant(selector, config.site.as_str(), class))
    };
    let all = db::endpoint::all(&mut conn).await?.into_iter().filter(meant).collect();
    views::endpoints(inner, &mut conn, all).await
}

pub async fn one(inner: &Inner, endpoint: &EndpointId) -> Result<EndpointView, Problem> {
    let mut conn = inner.journal.db.read().await?;
    let found = db::endpoint::get(&mut conn, endpoint).await?.ok_or_else(|| unknown_endpoint(endpoint))?;
    let open = db::job::open_of(&mut conn, endpoint).await?.is_some();
    let why_not = if open || found.state == EndpointState::Discovered {
        None
    } else {
        guard::why_not(&mut conn, &inner.journal.config, &found).await?
    };
    Ok(EndpointView { why_not, ..views::endpoint(inner, &mut conn, found).await? })
}

pub async fn add(inner: &Inner, actor: &Actor, new: NewEndpoint) -> Result<EndpointView, Problem> {
    let (id, settings, chain) = (new.endpoint.clone(), new.settings.clone(), new.chain);
    let record = change::fit(&inner.journal.config, record_of(new), None)?;
    let mut tx = inner.journal.begin().await?;
    let known = db::endpoint::get(tx.conn(), &id).await?;
    if let Some(known) = &known
        && known.state != EndpointState::Discovered
    {
        let record = Record { chain: chain.unwrap_or(known.record.chain), ..record };
        let now = said_again(known, record, settings)?;
        return change::put(inner, tx, actor, known, now, "").await;
    }
    scope::covers(inner, actor, &Endpoint::new(id.clone(), EndpointState::Known, record.clone(), tx.at))?;
    if record.power != Power::default() {
        scope::whole_site(actor)?;
        super::switches::nobody_elses(tx.conn(), &id, &record.power, None).await?;
    }
    put_new(&mut tx, actor, id.clone(), record).await?;
    tx.commit().await?;
    inner.journal.tickets.learn(&inner.journal.db).await?;
    one(inner, &id).await
}

/// Put an endpoint on record that is not, or was only discovered.
pub async fn put_new(
    tx: &mut JournalTx<'_>,
    actor: &Actor,
    id: EndpointId,
    record: Record,
) -> Result<(), Problem> {
    let seen = db::endpoint::get(tx.conn(), &id).await?.and_then(|known| known.inventory);
    let claimed = change::claim(tx, &id, &record.macs).await?;
    let (generation, revision) = db::endpoint::last_of(tx.conn(), &id).await?;
    let endpoint = Endpoint {
        inventory: seen.or(claimed),
        // Whoever had this name before is not continued.
        generation: if revision == 0 { 0 } else { generation + 1 },
        revision: revision + 1,
        ..Endpoint::new(id.clone(), EndpointState::Known, record, tx.at)
    };
    db::endpoint::put(tx.conn(), &endpoint).await?;
    let facts = json!({ "record": endpoint.record, "revision": endpoint.revision });
    Ok(tx.note(Fact::new("order.endpoint", &actor.name, facts).about(&id)).await?)
}

fn record_of(new: NewEndpoint) -> Record {
    Record {
        macs: new.macs,
        blueprint: new.blueprint,
        group: new.group,
        chain: new.chain.unwrap_or_default(),
        disk_serial: new.disk_serial,
        drill_safe: new.drill_safe,
        power: new.power,
        settings: new.settings.unwrap_or_default(),
        labels: new.labels,
        kind: new.kind,
        safety_class: new.safety_class,
        redundancy: new.redundancy,
    }
}

/// What `add` may change when it is said again: a replaced disk, another place in the network, another chain.
fn said_again(
    known: &Endpoint,
    record: Record,
    settings: Option<EndpointSettings>,
) -> Result<Record, Problem> {
    let (id, before) = (&known.id, &known.record);
    let now = Record {
        disk_serial: record.disk_serial.clone().or_else(|| before.disk_serial.clone()),
        settings: settings.unwrap_or_else(|| before.settings.clone()),
        ..record
    };
    let but_for_those = Record {
        disk_serial: before.disk_serial.clone(),
        settings: before.settings.clone(),
        chain: before.chain,
        ..now.clone()
    };
    if *before == but_for_those {
        return Ok(now);
    }
    Err(change::conflict(
        format!("{id} is on record with other facts than these"),
        "change it with `groundstate endpoint set`, or choose another name",
    ))
}

pub async fn pair(
    inner: &Inner,
    actor: &Actor,
    id: &EndpointId,
    code: &str,
) -> Result<EndpointView, Problem> {
    let mut tx = inner.journal.begin().await?;
    let mut endpoint = db::endpoint::get(tx.conn(), id).await?.ok_or_else(|| unknown_endpoint(id))?;
    scope::covers(inner, actor, &endpoint)?;
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
