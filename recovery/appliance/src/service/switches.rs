//! One BMC is one endpoint's: whoever powered two by one would eject the other's virtual CD, take its boot override back, and switch it off.
//!
//! It must never: stand in the way of a change that gives nobody a BMC.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use recovery_protocol::{
    EndpointId, Problem,
    operator::{EndpointState, ImportFault, Power},
};

use crate::{
    db::{
        self, Conn, DbError,
        endpoint::{Endpoint, Record},
    },
    power,
};

/// The BMCs by which somebody is switched.
fn of(power: &Power) -> BTreeSet<String> {
    power.each().iter().filter_map(power::same_bmc).collect()
}

/// Who else is switched by one of these BMCs; none: nobody.
///
/// # Errors
/// [`DbError`].
pub async fn shared(
    conn: &mut Conn,
    id: &EndpointId,
    power: &Power,
) -> Result<Option<(String, EndpointId)>, DbError> {
    for bmc in of(power) {
        // Their text holds at least the host; which of them it is, is compared.
        let host = bmc.trim_start_matches('[').split([']', ':', '/']).next().unwrap_or_default().to_owned();
        let others = db::endpoint::mentioning(conn, &host).await?;
        let other =
            others.into_iter().find(|other| other.id != *id && of(&other.record.power).contains(&bmc));
        if let Some(other) = other {
            return Ok(Some((bmc, other.id)));
        }
    }
    Ok(None)
}

/// A record gets no BMC that is another endpoint's. 409 `power-shared`.
///
/// # Errors
/// [`Problem`].
pub async fn nobody_elses(
    conn: &mut Conn,
    id: &EndpointId,
    now: &Power,
    before: Option<&Power>,
) -> Result<(), Problem> {
    if before.is_some_and(|before| of(now).is_subset(&of(before))) {
        return Ok(());
    }
    let Some((bmc, other)) = shared(conn, id, now).await? else { return Ok(()) };
    let detail = format!("the BMC {bmc} is on record for {other}: to switch {id} by it would switch {other}");
    let remedy = format!(
        "correct the address, or take it from there first: `groundstate endpoint set {other} --no-power`"
    );
    Err(Problem::new(409, "power-shared", "This BMC is another endpoint's", detail, remedy))
}

/// BMCs that two would have after an import: two lines of the sheet, or one and an endpoint that is not in it.
pub fn twice(
    known: &HashMap<EndpointId, Endpoint>,
    orders: &[(u64, EndpointId, Record)],
    lines: &BTreeMap<EndpointId, u64>,
) -> Vec<ImportFault> {
    let ordered: BTreeSet<&EndpointId> = orders.iter().map(|(_, id, _)| id).collect();
    let mut owners: HashMap<String, &EndpointId> = HashMap::new();
    let stays =
        |endpoint: &&Endpoint| endpoint.state != EndpointState::Discovered && !ordered.contains(&endpoint.id);
    for endpoint in known.values().filter(stays) {
        owners.extend(of(&endpoint.record.power).into_iter().map(|bmc| (bmc, &endpoint.id)));
    }
    let mut faults = Vec::new();
    for (line, id, record) in orders {
        let before = known.get(id).map(|endpoint| of(&endpoint.record.power)).unwrap_or_default();
        for bmc in of(&record.power) {
            let had = before.contains(&bmc);
            let Some(other) = owners.insert(bmc.clone(), id) else { continue };
            let other_had = known.get(other).is_some_and(|other| of(&other.record.power).contains(&bmc));
            // Both had it before: no line of this sheet brings it about.
            if had && other_had {
                continue;
            }
            let at = lines.get(other).map_or(String::new(), |line| format!(" (line {line})"));
            faults.push(ImportFault {
                line: *line,
                column: "power".to_owned(),
                what: format!("the BMC {bmc} belongs to {other}{at}"),
                remedy: format!("correct the address here, or at {other}{at}"),
            });
        }
    }
    faults
}
