//! Mend: what a scrub finds damaged in the local store comes again from the depot.
//!
//! ```text
//!   scrub ─► set aside what is damaged ─► what do images lack now? ─► packs of these images, then of all others ─► frames, each hashed
//!                                                                 ─► manifests that cannot be read, hashed ─► what is still not whole?
//! ```
//!
//! The images were here before, under the digests that they have: whether they are trusted is asked when they are used.
//!
//! It must never: set anything aside for a depot that does not answer, or take an image that the store did not list.

use std::collections::HashSet;

use super::pull::Pull;
use super::{Depot, DepotError, Inventory, Pulled};
use crate::store::Scrubbed;
use crate::{ImageId, Store, StoreError};

/// What was found damaged, and what the depot gave for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Mended {
    /// As a repair from a replica has it.
    #[serde(flatten)]
    pub scrubbed: Scrubbed,
    /// Objects that were altered in the depot; nothing of them was used.
    pub altered: Vec<String>,
}

/// Scrub the store and complete every image that it lists from the depot. `scrubbing` gets (bytes read, bytes in all) of the store,
/// `fetching` the bytes that come over; both may wait.
pub fn mend(
    depot: &dyn Depot,
    store: &Store,
    scrubbing: &mut dyn FnMut(u64, u64),
    fetching: &mut dyn FnMut(u64),
) -> Result<Mended, DepotError> {
    let inventory = Inventory::read(depot)?;
    let mut scrubbed = store.repair(None, scrubbing)?;
    if scrubbed.broken.is_empty() {
        return Ok(Mended { scrubbed, altered: Vec::new() });
    }
    let broken: Vec<ImageId> = scrubbed.broken.iter().map(|(image, _)| *image).collect();
    let others: Vec<ImageId> = inventory.images().filter(|image| !broken.contains(image)).collect();
    let mut pull = Pull { depot, ring: None, inventory, done: Pulled::default() };
    let writer = store.writer()?;
    let (mut wanted, mut manifests) = (HashSet::new(), Vec::new());
    for image in &broken {
        if scrubbed.damaged_manifests.contains(image) {
            let Some((signed, manifest)) = unless_altered(pull.manifest(image))? else { continue };
            wanted.extend(manifest.chunk_ids());
            manifests.push(signed);
            continue;
        }
        match store.get_manifest(image) {
            Ok(signed) => wanted.extend(signed.parse().map_err(StoreError::from)?.chunk_ids()),
            // Deleted meanwhile.
            Err(StoreError::MissingImage { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    let mut missing = writer.missing(wanted.into_iter())?;
    // Versions share chunks: what an image itself is not there for may lie in a pack of another.
    for images in [&broken, &others] {
        if !missing.is_empty() {
            let listed = pull.listed(images)?;
            pull.bring(listed, &writer, &mut missing, fetching)?;
        }
    }
    for signed in &manifests {
        match writer.put_manifest(signed) {
            Ok(_) => scrubbed.repaired_manifests += 1,
            Err(StoreError::Incomplete { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    scrubbed.repaired_chunks = pull.done.chunks;
    scrubbed.broken = store.not_whole(&scrubbed.damaged_manifests)?;
    Ok(Mended { scrubbed, altered: pull.done.altered })
}

fn unless_altered<T>(given: Result<T, DepotError>) -> Result<Option<T>, DepotError> {
    match given {
        Err(error) if error.is_of_the_object() => Ok(None),
        other => other.map(Some),
    }
}
