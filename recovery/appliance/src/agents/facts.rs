//! What an endpoint is made of, fact by fact: who told it, since when, and when last.
//!
//! ```text
//! inventory of a hello ─► facts that it tells ─► same: seen again │ new: kept │ another value: kept, and evidence
//! ```
//!
//! What two systems of one endpoint tell stands beside each other: kernels count memory differently. What is not told this time stays with
//! the time at which it was told last: unknown is not zero, and a driver that is missing is no missing disk. A hello is a claim, so a
//! change is taken at most once a minute: nobody floods the evidence log by changing his mind. It must never: decide anything.

use recovery_protocol::{
    Problem,
    agent::{BootedAs, DiskFacts, Firmware, Hello, Inventory},
    operator::{FactSource, HardwareFact},
};
use serde_json::json;

use crate::{db::endpoint::Endpoint, evidence::Fact, jobs::journal::JournalTx};

/// Facts that are kept of one endpoint; those that were not told for longest go.
const MOST: usize = 64;
const CHANGED_EVERY_MS: u64 = 60_000;
/// Memory is told less what the kernel keeps for itself, which is not the same at each start.
const MEMORY_STEP: u64 = 64 << 20;

/// Take what a hello tells into the endpoint, which the caller writes.
///
/// # Errors
/// The database's.
pub async fn learn(tx: &mut JournalTx<'_>, endpoint: &mut Endpoint, hello: &Hello) -> Result<(), Problem> {
    let source = match hello.booted_as {
        BootedAs::RecoverySystem => FactSource::RecoverySystem,
        BootedAs::GoldenSystem => FactSource::RestoredSystem,
    };
    let changed = weigh(&mut endpoint.facts, told(&hello.inventory), source, tx.at);
    if !changed.is_empty() {
        let changes: Vec<_> =
            changed.iter().map(|(fact, from, to)| json!({ "fact": fact, "from": from, "to": to })).collect();
        let facts = json!({ "told_by": source, "changes": changes });
        tx.note(Fact::new("hardware.changed", "agent", facts).about(&endpoint.id)).await?;
    }
    Ok(())
}

/// A fact, what was on record of it, what is told now.
type Change = (String, Option<String>, String);

fn weigh(
    known: &mut Vec<HardwareFact>,
    told: Vec<(String, String)>,
    source: FactSource,
    at: u64,
) -> Vec<Change> {
    let own = known.iter().filter(|fact| fact.source == source);
    let last = own.map(|fact| fact.since_unix_ms).max();
    let settled = last.is_none_or(|last| at.saturating_sub(last) >= CHANGED_EVERY_MS);
    let mut changed = Vec::new();
    for (fact, value) in told {
        let new = HardwareFact {
            fact: fact.clone(),
            value: value.clone(),
            source,
            since_unix_ms: at,
            seen_unix_ms: at,
        };
        match known.iter_mut().find(|known| known.fact == fact && known.source == source) {
            Some(known) if known.value == value => known.seen_unix_ms = at,
            Some(known) if settled => {
                changed.push((fact, Some(known.value.clone()), value));
                *known = new;
            }
            // What is there for the first time, in what was known already.
            None if last.is_some() && settled => {
                changed.push((fact, None, value));
                known.push(new);
            }
            None if last.is_none() => known.push(new),
            Some(_) | None => {}
        }
    }
    if known.len() > MOST {
        known.sort_by_key(|fact| std::cmp::Reverse(fact.seen_unix_ms));
        known.truncate(MOST);
    }
    changed
}

/// What an inventory tells; what it leaves out it does not tell.
fn told(inventory: &Inventory) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let mut add = |fact: &str, value: String| {
        if !value.trim().is_empty() {
            told.push((fact.to_owned(), value));
        }
    };
    add("maker", inventory.vendor.clone());
    add("product", inventory.product.clone());
    add("serial number", inventory.serial.clone());
    add("UUID", inventory.uuid.clone());
    let firmware = match inventory.firmware {
        Firmware::Bios => "BIOS",
        Firmware::Uefi | Firmware::UefiSecureBoot => "UEFI",
    };
    add("firmware", firmware.to_owned());
    add("secure boot", inventory.secure_boot.as_ref().map(ToString::to_string).unwrap_or_default());
    if inventory.memory_bytes > 0 {
        let mib = (inventory.memory_bytes + MEMORY_STEP / 2) / MEMORY_STEP * (MEMORY_STEP >> 20);
        add("memory", format!("{mib} MiB"));
    }
    for mac in &inventory.macs {
        let docked = inventory.dock_macs.contains(mac);
        add(&format!("address {mac}"), if docked { "dock or USB adapter" } else { "built in" }.to_owned());
    }
    for disk in inventory.disks.iter().filter(|disk| !disk.removable) {
        add(&disk_name(disk), disk_value(disk));
    }
    told
}

fn disk_name(disk: &DiskFacts) -> String {
    let name = disk.serial.as_ref().or(disk.wwn.as_ref()).or(disk.path.as_ref());
    format!("disk {}", name.map_or("without a name", String::as_str))
}

fn disk_value(disk: &DiskFacts) -> String {
    let place = disk.path.as_deref().map(|path| format!(", at {path}")).unwrap_or_default();
    format!(
        "{} {} bytes, {}, sectors of {}{place}",
        disk.model, disk.size_bytes, disk.transport, disk.sector_bytes
    )
    .trim()
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const R: FactSource = FactSource::RecoverySystem;

    fn of(facts: &[(&str, &str)]) -> Vec<(String, String)> {
        facts.iter().map(|(fact, value)| ((*fact).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_told_first_is_no_change_and_what_is_not_told_stays_with_its_time() {
        let mut known = Vec::new();
        assert_eq!(weigh(&mut known, of(&[("memory", "8"), ("disk A", "x")]), R, 1_000), []);
        assert_eq!(weigh(&mut known, of(&[("memory", "8")]), R, 100_000), []);
        let times: Vec<_> = known.iter().map(|fact| (fact.since_unix_ms, fact.seen_unix_ms)).collect();
        assert_eq!(times, [(1_000, 100_000), (1_000, 1_000)], "the disk is not gone: nobody told of it");
        let changed = weigh(&mut known, of(&[("memory", "4"), ("disk B", "y")]), R, 200_000);
        let wanted = [
            ("memory".to_owned(), Some("8".to_owned()), "4".to_owned()),
            ("disk B".to_owned(), None, "y".to_owned()),
        ];
        assert_eq!(changed, wanted);
        assert_eq!((known[0].since_unix_ms, known[0].value.as_str()), (200_000, "4"));
    }

    #[test]
    fn what_two_systems_tell_stands_beside_each_other() {
        let mut known = Vec::new();
        weigh(&mut known, of(&[("memory", "8")]), R, 1_000);
        assert_eq!(weigh(&mut known, of(&[("memory", "7")]), FactSource::RestoredSystem, 900_000), []);
        assert_eq!(known.iter().map(|fact| fact.value.as_str()).collect::<Vec<_>>(), ["8", "7"]);
    }

    #[test]
    fn who_changes_his_mind_all_the_time_makes_one_entry_a_minute_and_fills_nothing() {
        let mut known = Vec::new();
        let mut changes = 0;
        for second in 0..600_u64 {
            let (disk, memory) = (format!("disk {second}"), second.to_string());
            changes += usize::from(
                !weigh(&mut known, of(&[(&disk, "x"), ("memory", &memory)]), R, second * 1_000).is_empty(),
            );
        }
        assert_eq!(changes, 9);
        let many: Vec<_> = (0..500).map(|n| (format!("disk {n}"), "x".to_owned())).collect();
        weigh(&mut known, many, R, 10_000_000);
        assert_eq!(known.len(), MOST);
    }

    #[test]
    fn what_an_inventory_leaves_out_is_no_fact_and_least_of_all_a_zero() {
        let bare: Inventory = serde_json::from_value(serde_json::json!({
            "macs": [], "vendor": "", "product": " ", "serial": "", "uuid": "", "firmware": "uefi", "memory_bytes": 0, "disks": [],
        }))
        .unwrap();
        assert_eq!(told(&bare), of(&[("firmware", "UEFI")]));
        let kernels = [8_000_000_000, 8_010_000_000]
            .map(|memory_bytes| told(&Inventory { memory_bytes, ..bare.clone() }));
        assert_eq!(kernels[0], kernels[1], "what a kernel keeps for itself is no hardware");
    }
}
