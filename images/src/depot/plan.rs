//! What a pull would do. Nothing is written, so there may be no store to fill yet.

use std::collections::{HashMap, HashSet};

use super::pull::{Pull, share_out, statements};
use super::{Depot, DepotError, Inventory, Pulled};
use crate::keys::Signed;
use crate::{ChunkId, ImageId, KeyRing, Manifest, Store};

/// What [`super::pull`] would bring to this store, or to one that is still empty. Of the packs only their ends are read: what is altered in
/// them is found by the pull.
///
/// # Errors
/// Those of a pull, but for what only the frames themselves show.
pub fn plan_pull(
    depot: &dyn Depot,
    to: Option<&Store>,
    images: &[ImageId],
    ring: Option<&KeyRing>,
) -> Result<Pulled, DepotError> {
    let known: HashSet<ImageId> = match to {
        Some(to) => {
            to.refresh()?;
            to.list()?.into_iter().collect()
        }
        None => HashSet::new(),
    };
    let mut pull = Pull { depot, ring, inventory: Inventory::read(depot)?, done: Pulled::default() };
    let mut counted = HashSet::new();
    for image in images {
        let (_, manifest) = pull.trusted(image)?;
        let here = |id: &ChunkId| to.is_some_and(|to| to.has(id));
        let missing: HashSet<ChunkId> =
            manifest.chunk_ids().filter(|id| !here(id) && !counted.contains(id)).collect();
        counted.extend(missing.iter().copied());
        if !missing.is_empty() {
            count(&mut pull, &manifest, missing)?;
        }
        if !known.contains(image) {
            pull.done.images.push(*image);
        }
    }
    if let Some(ring) = ring {
        statements_to_come(&mut pull, to, ring)?;
    }
    Ok(pull.done)
}

/// What is said about images that are here or come, each name's in the order of epochs, as the store would take it.
fn statements_to_come(pull: &mut Pull<'_>, to: Option<&Store>, ring: &KeyRing) -> Result<(), DepotError> {
    let (said, altered) = statements(pull.depot, &pull.inventory, to, ring)?;
    pull.done.altered.extend(altered);
    let mut next_epochs: HashMap<String, u64> = HashMap::new();
    for Signed { body, .. } in said {
        let there = pull.done.images.contains(&body.image)
            || to.is_some_and(|to| to.get_manifest(&body.image).is_ok());
        let Some((name, _)) = body.about().filter(|_| there) else { continue };
        let next = match next_epochs.get(name) {
            Some(next) => *next,
            None => to.map(|to| to.history(name)).transpose()?.unwrap_or_default().next_epoch(),
        };
        if body.epoch >= next {
            pull.done.statements += 1;
            next_epochs.insert(name.to_owned(), body.epoch.saturating_add(1));
        }
    }
    Ok(())
}

/// Each missing chunk once, from the packs that are listed for the image.
fn count(pull: &mut Pull<'_>, manifest: &Manifest, mut missing: HashSet<ChunkId>) -> Result<(), DepotError> {
    let image = manifest.id();
    let (packs, wrong) = pull.packs_of(&image)?;
    for entry in share_out(&packs, &missing, &mut HashSet::new()).iter().flat_map(|part| &part.entries) {
        missing.remove(&entry.id);
        (pull.done.chunks, pull.done.bytes) = (pull.done.chunks + 1, pull.done.bytes + u64::from(entry.len));
    }
    match missing.len() {
        0 => Ok(()),
        missing => Err(DepotError::Incomplete { image, missing, source: wrong.map(Box::new) }),
    }
}
