//! The boot network: each endpoint's trace with what is the matter. Reads what the boot desk keeps in memory.

use std::time::Duration;

use recovery_protocol::{
    EndpointId, Problem,
    net::{BootView, NetView},
};

use super::Inner;
use crate::{db, keys, refusals::unknown_endpoint};

/// A question or its answer may be lost; a slow server tries an address before it offers it.
const PROBES: u32 = 3;
const BETWEEN_PROBES: Duration = Duration::from_secs(2);

/// Every endpoint on record, and every stranger that was seen.
pub async fn all(inner: &Inner) -> Result<NetView, Problem> {
    let endpoints = db::endpoint::all(&mut *inner.journal.db.read().await?).await?;
    let now = inner.journal.now();
    let named: Vec<_> = endpoints.into_iter().map(|endpoint| (endpoint.id, endpoint.record.macs)).collect();
    let mut views = inner.desk.boots(&named, now);
    // Trouble first; what a person has named before strangers.
    let place = |view: &BootView| (!view.diagnosis.is_trouble(), view.endpoint.is_none());
    views.sort_by(|a, b| {
        place(a).cmp(&place(b)).then_with(|| a.endpoint.cmp(&b.endpoint)).then_with(|| a.mac.cmp(&b.mac))
    });
    Ok(NetView {
        interfaces: inner.desk.interfaces(),
        servers: inner.desk.foreign(),
        addresses_in_use: inner.desk.addresses_in_use(),
        endpoints: views,
    })
}

/// Ask every interface who else serves boots on it, wait for the answers, and look.
pub async fn probe(inner: &Inner) -> Result<NetView, Problem> {
    for round in 0..PROBES {
        let [a, b, c, d, ..] = keys::random::<16>()?;
        if inner.desk.probe(u32::from_be_bytes([a, b, c, d])) == 0 && round == 0 {
            let detail = "no interface is served, or the system's own DHCP client keeps port 68 for itself";
            let remedy = "add an [[interfaces]] entry; give the interface a fixed address";
            return Err(Problem::new(409, "no-ear", "No interface can be asked", detail, remedy));
        }
        tokio::time::sleep(BETWEEN_PROBES).await;
    }
    all(inner).await
}

/// One endpoint with its hops.
pub async fn one(inner: &Inner, endpoint: &EndpointId) -> Result<BootView, Problem> {
    let found = db::endpoint::get(&mut *inner.journal.db.read().await?, endpoint).await?;
    let found = found.ok_or_else(|| unknown_endpoint(endpoint))?;
    Ok(inner.desk.boot(Some(found.id), &found.record.macs, inner.journal.now()))
}
