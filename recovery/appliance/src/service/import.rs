//! A sheet becomes records: planned, looked at by a person, and applied whole as it was planned, or not at all.
//!
//! ```text
//! sheet ─► plan(sheet, what is on record) ─► adds, changes, unchanged, conflicts, errors, and a hash
//!                                              hash comes back ─► planned again in the transaction ─► the same? ─► all of it
//! ```
//!
//! The hash is over every record as it will be and the revision that it was seen in: whatever changed in between makes it another plan.
//!
//! It must never: apply a part.

use std::collections::{BTreeMap, HashMap};

use recovery_protocol::{
    EndpointId, MacAddr, Problem,
    operator::{EndpointState, ImportFault, ImportLine, ImportPlan},
};
use serde_json::json;

use super::{Actor, Inner, change, endpoints, scope, switches};
use crate::{
    config::Config,
    db::{
        self,
        endpoint::{Endpoint, Record},
    },
    evidence::Fact,
    jobs::journal::JournalTx,
    keys,
    sheet::{self, Row},
};

/// Everything on record, as a sheet.
pub async fn export(inner: &Inner) -> Result<String, Problem> {
    let all = db::endpoint::all(&mut *inner.journal.db.read().await?).await?;
    let known = all.iter().filter(|endpoint| endpoint.state != EndpointState::Discovered);
    Ok(sheet::write(known.map(|endpoint| (&endpoint.id, &endpoint.record))))
}

/// Plan a sheet, and apply it where `apply` is the hash of the plan that a person saw.
pub async fn take(
    inner: &Inner,
    actor: &Actor,
    bytes: &[u8],
    apply: Option<&str>,
) -> Result<ImportPlan, Problem> {
    let mut tx = inner.journal.begin().await?;
    let Planned { mut plan, orders } = planned(&mut tx, &inner.journal.config, bytes).await?;
    let Some(seen) = apply else { return Ok(plan) };
    scope::whole_site(actor)?;
    let wrong = plan.errors.len() + plan.conflicts.len();
    if wrong > 0 {
        let detail = format!("{wrong} lines cannot be put on record; nothing was applied");
        let remedy = "look at the plan: it names each line with its remedy";
        return Err(Problem::new(422, "import-wrong", "The sheet has errors", detail, remedy));
    }
    if seen != plan.plan {
        let detail =
            format!("you saw plan {seen}; it is {} now: the sheet or a record is another", plan.plan);
        let remedy = "look at the plan again, then apply it by its hash";
        return Err(Problem::new(409, "plan-stale", "This is not what was planned", detail, remedy));
    }
    apply_all(&mut tx, actor, orders).await?;
    let facts = json!({
        "sheet_sha256": keys::spki_sha256(bytes), "plan": plan.plan, "adds": plan.adds.len(), "changes": plan.changes.len(),
        "unchanged": plan.unchanged,
    });
    tx.note(Fact::new("order.import", &actor.name, facts)).await?;
    tx.commit().await?;
    for line in &plan.changes {
        if line.what.contains("chain") {
            inner.desk.forget_chains(&line.endpoint);
        }
    }
    inner.journal.tickets.read(&inner.journal.db).await?;
    inner.journal.tickets.learn(&inner.journal.db).await?;
    plan.applied = true;
    Ok(plan)
}

async fn apply_all(tx: &mut JournalTx<'_>, actor: &Actor, orders: Vec<Order>) -> Result<(), Problem> {
    // Addresses may change hands within one sheet.
    for order in &orders {
        if let Some(known) = &order.known {
            db::endpoint::release(tx.conn(), &known.id).await?;
        }
    }
    let reason = "import of a sheet";
    for Order { id, known, record } in orders {
        match known.filter(|known| known.state != EndpointState::Discovered) {
            Some(known) => {
                change::write(tx, actor, &known, &record, reason).await?;
            }
            None => endpoints::put_new(tx, actor, id, record).await?,
        }
    }
    Ok(())
}

/// What is to be done about one endpoint.
struct Order {
    id: EndpointId,
    known: Option<Endpoint>,
    record: Record,
}

struct Planned {
    plan: ImportPlan,
    orders: Vec<Order>,
}

async fn planned(tx: &mut JournalTx<'_>, config: &Config, bytes: &[u8]) -> Result<Planned, Problem> {
    let (rows, mut errors) = sheet::read(bytes);
    let known: HashMap<EndpointId, Endpoint> = db::endpoint::all(tx.conn())
        .await?
        .into_iter()
        .map(|endpoint| (endpoint.id.clone(), endpoint))
        .collect();
    let (mut plan, mut orders, mut lines) = (ImportPlan::default(), Vec::new(), BTreeMap::new());
    for row in rows {
        if let Some(before) = lines.insert(row.id.clone(), row.line) {
            let what = format!("{} stands in line {before} as well", row.id);
            errors.push(fault(row.line, "name", what, "keep one of the two lines"));
            continue;
        }
        match record(config, &row, known.get(&row.id)) {
            Ok(record) => orders.push((row.line, row.id, record)),
            Err(found) => errors.extend(found),
        }
    }
    plan.conflicts = claimed_twice(&known, &orders, &lines);
    plan.conflicts.extend(switches::twice(&known, &orders, &lines));
    let mut order_list = Vec::new();
    let mut text = String::new();
    for (line, id, record) in orders {
        let endpoint = known.get(&id).cloned();
        let on_record = endpoint.as_ref().filter(|endpoint| endpoint.state != EndpointState::Discovered);
        let Some(before) = on_record else {
            text.push_str(&format!("{id} new {}\n", json!(record)));
            plan.adds.push(ImportLine { line, endpoint: id.clone(), what: record.blueprint.clone() });
            order_list.push(Order { id, known: endpoint, record });
            continue;
        };
        if before.record == record {
            plan.unchanged += 1;
            continue;
        }
        if change::moves(&before.record, &record)
            && let Err(problem) = change::no_open_job(tx, &id).await
        {
            plan.conflicts.push(fault(line, "", problem.detail, problem.remedy));
            continue;
        }
        let differs = change::differences(&before.record, &record);
        let what = differs.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        text.push_str(&format!("{id} {} {}\n", before.revision, json!(record)));
        plan.changes.push(ImportLine { line, endpoint: id.clone(), what });
        order_list.push(Order { id, known: endpoint, record });
    }
    errors.sort_by_key(|fault| fault.line);
    plan.errors = errors;
    plan.plan = keys::spki_sha256(text.as_bytes())[..16].to_owned();
    Ok(Planned { plan, orders: order_list })
}

fn fault(line: u64, column: &str, what: String, remedy: impl Into<String>) -> ImportFault {
    ImportFault { line, column: column.to_owned(), what, remedy: remedy.into() }
}

/// The record that a row asks for, as it would be put on record by hand.
fn record(config: &Config, row: &Row, known: Option<&Endpoint>) -> Result<Record, Vec<ImportFault>> {
    let before =
        known.filter(|endpoint| endpoint.state != EndpointState::Discovered).map(|known| &known.record);
    let start = before.cloned().unwrap_or_else(|| Record {
        macs: known.map(|seen| seen.record.macs.clone()).unwrap_or_default(),
        group: "default".to_owned(),
        ..Record::default()
    });
    let record = row.over(&start)?;
    change::fit(config, record, before)
        .map_err(|problem| vec![fault(row.line, &problem.code, problem.detail, problem.remedy)])
}

/// Addresses that two would have afterwards: two lines of the sheet, or one and an endpoint that is not in it.
fn claimed_twice(
    known: &HashMap<EndpointId, Endpoint>,
    orders: &[(u64, EndpointId, Record)],
    lines: &BTreeMap<EndpointId, u64>,
) -> Vec<ImportFault> {
    // A line that is wrong changes nothing, so its endpoint keeps what it has.
    let ordered: std::collections::HashSet<&EndpointId> = orders.iter().map(|(_, id, _)| id).collect();
    let stays =
        |endpoint: &&Endpoint| endpoint.state != EndpointState::Discovered && !ordered.contains(&endpoint.id);
    let mut owners: HashMap<MacAddr, &EndpointId> = HashMap::new();
    for endpoint in known.values().filter(stays) {
        owners.extend(endpoint.record.macs.iter().map(|mac| (*mac, &endpoint.id)));
    }
    let mut faults = Vec::new();
    for (line, id, record) in orders {
        for mac in &record.macs {
            let Some(other) = owners.insert(*mac, id) else { continue };
            let at = lines.get(other).map_or(String::new(), |line| format!(" (line {line})"));
            let remedy = format!("correct the address here, or at {other}{at}");
            faults.push(fault(*line, "macs", format!("{mac} belongs to {other}{at}"), remedy));
        }
    }
    faults
}
