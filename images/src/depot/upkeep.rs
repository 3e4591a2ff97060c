//! Withdraw and collect: what leaves the depot.
//!
//! ```text
//!   mark ─► what nothing needs and no record names: a new record ─► records older than the grace: still needed by nothing? ─► remove
//!                                                                                    ─► look again: did a push rely on it?
//! ```
//!
//! An image that is withdrawn loses its manifest; all else goes with collections. Needed is what an image has that has a
//! manifest, and each pack that a list names, also of an image that is still being pushed. How long something was
//! needed by nothing is counted from the record, which has our time and not the depot's.
//!
//! It must never: remove a pack that a list names, guess where a list cannot be read, or touch an object that is not ours.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Depot, DepotError, Inventory, Name, place, read_whole};
use crate::{Digest, ImageId, PackId};

const RECORD_LEN_MAX: u64 = 256 << 20;

/// Take an image out of the depot: it is listed no more, and collections take what only it needs. To push it puts it back.
pub fn withdraw(depot: &dyn Depot, image: &ImageId) -> Result<(), DepotError> {
    let name = Name::Manifest(*image).to_string();
    match depot.len(&name)? {
        Some(_) => depot.remove(&name),
        None => Err(DepotError::NoImage { image: *image }),
    }
}

/// How to collect. The caller brings the time: this core has no clock.
#[derive(Debug, Clone, Copy)]
pub struct CollectRules {
    /// Now, milliseconds since 1970 UTC.
    pub now_unix_ms: u64,
    /// What nothing needs stays for so long after a collection saw it first.
    pub grace: Duration,
    /// Change nothing.
    pub plan: bool,
}

/// What a collection has done, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Collected {
    /// Images with a manifest.
    pub images: usize,
    /// Objects seen for the first time as needed by nothing; a collection after the grace removes them.
    pub condemned: usize,
    /// Objects that wait for the end of their grace.
    pub waiting: usize,
    /// Objects that are needed again.
    pub pardoned: usize,
    /// Objects removed.
    pub removed: usize,
    /// Bytes of the packs among them.
    pub bytes: u64,
    /// Images that a push has put meanwhile and that rely on what was removed: push them again.
    pub broken: Vec<ImageId>,
}

/// The object that names what is condemned.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    names: BTreeSet<String>,
}

/// Collect.
pub fn collect(depot: &dyn Depot, rules: &CollectRules) -> Result<Collected, DepotError> {
    let inventory = Inventory::read(depot)?;
    let needed = needed(depot, &inventory)?;
    let grace_ms = u64::try_from(rules.grace.as_millis()).unwrap_or(u64::MAX);
    let mut done = Collected { images: inventory.images().count(), ..Collected::default() };
    let (mut known, mut ripe, mut records) = (HashSet::new(), BTreeSet::new(), Vec::new());
    for name in &inventory.names {
        let Name::Condemned { at_unix_ms, digest } = name else { continue };
        // One that was altered says nothing: what it named is condemned anew.
        let record = match read_record(depot, name, digest) {
            Err(error) if error.is_of_the_object() => Record { names: BTreeSet::new() },
            other => other?,
        };
        let names = record.names.iter().filter_map(|name| name.parse::<Name>().ok());
        let names = names.filter(|name| inventory.names.contains(name));
        // A record from the future is young: clocks are set back too.
        let is_ripe = rules.now_unix_ms.checked_sub(*at_unix_ms).is_some_and(|age| age >= grace_ms);
        for name in names {
            match (needed.contains(&name), is_ripe) {
                (true, _) => done.pardoned += 1,
                (false, true) => drop(ripe.insert(name.clone())),
                (false, false) => done.waiting += 1,
            }
            known.insert(name);
        }
        if is_ripe {
            records.push(name.to_string());
        }
    }
    let unneeded = |name: &&Name| may_go(name) && !needed.contains(name) && !known.contains(name);
    let fresh: BTreeSet<String> = inventory.names.iter().filter(unneeded).map(Name::to_string).collect();
    (done.condemned, done.removed) = (fresh.len(), ripe.len());
    done.bytes = ripe.iter().filter_map(|name| pack_of(name).and_then(|id| inventory.pack_len(&id))).sum();
    if rules.plan {
        return Ok(done);
    }
    if !fresh.is_empty() {
        let bytes = serde_json::to_vec(&Record { names: fresh }).unwrap_or_default();
        let name = Name::Condemned { at_unix_ms: rules.now_unix_ms, digest: Digest::of(&bytes) };
        place(depot, &name.to_string(), &bytes)?;
    }
    done.broken = sweep(depot, &ripe, &mut done)?;
    for record in records {
        depot.remove(&record)?;
    }
    Ok(done)
}

/// Remove, unless a push has come to need it since; then look whether one did while it went.
fn sweep(depot: &dyn Depot, ripe: &BTreeSet<Name>, done: &mut Collected) -> Result<Vec<ImageId>, DepotError> {
    if ripe.is_empty() {
        return Ok(Vec::new());
    }
    let again = needed(depot, &Inventory::read(depot)?)?;
    for name in ripe {
        match again.contains(name) {
            true => (done.pardoned, done.removed) = (done.pardoned + 1, done.removed - 1),
            false => depot.remove(&name.to_string())?,
        }
    }
    let after = Inventory::read(depot)?;
    let gone: HashSet<PackId> =
        ripe.iter().filter_map(pack_of).filter(|id| after.pack_len(id).is_none()).collect();
    let mut broken = Vec::new();
    for image in after.images.keys() {
        let lists = after.pack_lists(depot, image)?;
        if lists.iter().flat_map(|list| &list.0).any(|(id, _)| gone.contains(id)) {
            broken.push(*image);
        }
    }
    Ok(broken)
}

/// What must stay.
fn needed(depot: &dyn Depot, inventory: &Inventory) -> Result<HashSet<Name>, DepotError> {
    let mut needed = HashSet::new();
    for (image, record) in &inventory.images {
        let lists = inventory.pack_lists(depot, image)?;
        if record.manifest && lists.is_empty() {
            return Err(DepotError::NoPackList { image: *image });
        }
        needed.extend(lists.into_iter().flat_map(|list| list.0).map(|(id, _)| Name::Pack(id)));
        if record.manifest {
            needed.extend(record.lists.iter().chain(&record.signatures).cloned());
        }
    }
    Ok(needed)
}

/// Manifests go by [`withdraw`], statements never: going back leaves a trace.
fn may_go(name: &Name) -> bool {
    match name {
        Name::Pack(_) | Name::Signature(..) | Name::Packs(..) => true,
        Name::Manifest(_) | Name::Statement { .. } | Name::Condemned { .. } => false,
    }
}

fn pack_of(name: &Name) -> Option<PackId> {
    match name {
        Name::Pack(id) => Some(*id),
        _ => None,
    }
}

fn read_record(depot: &dyn Depot, name: &Name, digest: &Digest) -> Result<Record, DepotError> {
    let text = name.to_string();
    let bytes = read_whole(depot, &text, RECORD_LEN_MAX)?;
    match serde_json::from_slice(&bytes) {
        Ok(record) if Digest::of(&bytes) == *digest => Ok(record),
        _ => Err(DepotError::Altered { name: text, what: "it is not the record of its name" }),
    }
}
