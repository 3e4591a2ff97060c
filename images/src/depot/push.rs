//! Push: images of the local store into the depot.
//!
//! ```text
//!   list of packs ─► packs ─► signatures ─► manifest ─► packs that were there: still there? ─► statements
//! ```
//!
//! The list comes first, so that a collection of the depot spares the packs of a push that is under way; the manifest last,
//! so that an image in the depot is whole. What was stopped is run again, and finds the packs that it has put.
//!
//! It must never: put what does not hash to its name, take an object for kept that it has not read back, or count one as
//! there by its name alone.

use std::collections::HashSet;

use super::threads::by_several;
use super::{Depot, DepotError, Inventory, Name, PackList, place, reads_as};
use crate::store::pack;
use crate::{Digest, ImageId, Manifest, PackId, SignedManifest, Store};

/// How to push.
#[derive(Debug, Clone, Copy, Default)]
pub struct PushRules {
    /// Read whole, and mend, also what the depot has already.
    pub verify: bool,
    /// Change nothing.
    pub plan: bool,
}

/// What a push has done, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Pushed {
    /// Images that the depot lacked.
    pub images: Vec<ImageId>,
    /// Packs that were put.
    pub packs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Of them, those that were there and not as they should be.
    pub mended: Vec<PackId>,
    /// Signatures that were put.
    pub signatures: usize,
    /// Statements that were put.
    pub statements: usize,
}

/// Push images. `progress` gets the bytes moved, and may wait.
pub fn push(
    store: &Store,
    depot: &dyn Depot,
    images: &[ImageId],
    rules: PushRules,
    progress: &mut dyn FnMut(u64),
) -> Result<Pushed, DepotError> {
    let inventory = Inventory::read(depot)?;
    let mut push = Push { store, depot, rules, inventory, done: Pushed::default() };
    // As long as this session lives no collection of the local store removes a pack.
    let _session = store.writer()?;
    for image in images {
        push.image(image, progress)?;
    }
    push.statements()?;
    Ok(push.done)
}

struct Push<'a> {
    store: &'a Store,
    depot: &'a dyn Depot,
    rules: PushRules,
    inventory: Inventory,
    done: Pushed,
}

/// How a pack stands in the depot.
enum Stands {
    /// As it is here.
    Right,
    /// Not there.
    Absent,
    /// There, and not as it is here.
    Wrong,
}

impl Push<'_> {
    fn image(&mut self, image: &ImageId, progress: &mut dyn FnMut(u64)) -> Result<(), DepotError> {
        let signed = self.store.get_manifest(image)?;
        let manifest = signed.parse().map_err(|error| DepotError::Store(error.into()))?;
        let listed = self.inventory.has_manifest(image);
        // Another site may have pushed it in other packs: then it is there all the same.
        let whole = listed
            && match self.rules.verify {
                true => self.inventory.is_proven(self.depot, &manifest, progress)?,
                false => self.inventory.is_whole(self.depot, image)?,
            };
        if !whole {
            self.packs(&manifest, progress)?;
        }
        self.signatures(&signed)?;
        if !listed {
            self.done.images.push(*image);
        }
        if !self.rules.plan && !whole {
            let bytes = SignedManifest::unsigned(&manifest).encode();
            place(self.depot, &Name::Manifest(*image).to_string(), &bytes)?;
            progress(bytes.len() as u64);
            self.inventory.note_manifest(*image);
        }
        Ok(())
    }

    fn packs(&mut self, manifest: &Manifest, progress: &mut dyn FnMut(u64)) -> Result<(), DepotError> {
        let ids = self.store.packs_of(manifest.chunk_ids())?;
        let lens = ids.iter().map(|id| Ok((*id, self.store.pack_len(id)?)));
        let list = PackList(lens.collect::<Result<_, DepotError>>()?);
        let bytes = list.encode();
        let name = Name::Packs(manifest.id(), PackList::digest_of(&bytes)).to_string();
        if self.rules.plan {
            let lacking = list.0.iter().filter(|(id, len)| self.inventory.pack_len(id) != Some(*len));
            let lens: Vec<u64> = lacking.map(|(_, len)| *len).collect();
            (self.done.packs, self.done.bytes) =
                (self.done.packs + lens.len(), self.done.bytes + lens.iter().sum::<u64>());
            return Ok(());
        }
        place(self.depot, &name, &bytes)?;
        let (store, depot, rules, inventory) = (self.store, self.depot, self.rules, &self.inventory);
        let put = by_several(&list.0, progress, |(id, len), say| {
            let stands = stands(store, depot, inventory, id, *len, rules.verify)?;
            if !matches!(stands, Stands::Right) {
                let bytes = store.read_pack(id)?;
                place(depot, &Name::Pack(*id).to_string(), &bytes)?;
                say(bytes.len() as u64);
            }
            Ok((*id, *len, stands))
        })?;
        // A collection may have begun before the list was there, and have removed what we relied on.
        for (id, ..) in put.iter().filter(|(.., stands)| matches!(stands, Stands::Right)) {
            let name = Name::Pack(*id).to_string();
            if depot.len(&name)?.is_none() {
                place(depot, &name, &store.read_pack(id)?)?;
            }
        }
        place(self.depot, &name, &bytes)?;
        for (id, len, stands) in put {
            self.inventory.note_pack(id, len);
            match stands {
                Stands::Right => continue,
                Stands::Wrong => self.done.mended.push(id),
                Stands::Absent => {}
            }
            (self.done.packs, self.done.bytes) = (self.done.packs + 1, self.done.bytes + len);
        }
        Ok(())
    }

    fn signatures(&mut self, signed: &SignedManifest) -> Result<(), DepotError> {
        for signature in &signed.signatures {
            let bytes = signature.encode();
            let name = Name::Signature(signed.id(), Digest::of(&bytes));
            self.small(name, &bytes, |done| done.signatures += 1)?;
        }
        Ok(())
    }

    /// What is said about the images that both have.
    fn statements(&mut self) -> Result<(), DepotError> {
        let images: HashSet<ImageId> =
            self.inventory.images().chain(self.done.images.iter().copied()).collect();
        for signed in self.store.histories()?.into_values().flat_map(|history| history.0) {
            let bytes = serde_json::to_vec(&signed).unwrap_or_default();
            match Name::of_statement(&signed, &bytes) {
                Some(name) if images.contains(&signed.body.image) => {
                    self.small(name, &bytes, |done| done.statements += 1)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn small(&mut self, name: Name, bytes: &[u8], count: impl Fn(&mut Pushed)) -> Result<(), DepotError> {
        let text = name.to_string();
        let there = self.inventory.has(&name);
        if there && (!self.rules.verify || reads_as(self.depot, &text, bytes)?) {
            return Ok(());
        }
        if !self.rules.plan {
            place(self.depot, &text, bytes)?;
        }
        count(&mut self.done);
        Ok(())
    }
}

/// Whether the depot has the pack as it is here: by its length and its end, or by all of it.
fn stands(
    store: &Store,
    depot: &dyn Depot,
    inventory: &Inventory,
    id: &PackId,
    len: u64,
    whole: bool,
) -> Result<Stands, DepotError> {
    let name = Name::Pack(*id).to_string();
    let is = match inventory.pack_len(id) {
        None => return Ok(Stands::Absent),
        Some(there) if there != len => false,
        Some(_) if whole => reads_as(depot, &name, &store.read_pack(id)?)?,
        Some(_) => {
            let end = store.pack_end(id, pack::END_LEN)?;
            match depot.read(&name, len - end.len() as u64..len) {
                Err(DepotError::Absent { .. }) => return Ok(Stands::Absent),
                other => other? == end,
            }
        }
    };
    Ok(if is { Stands::Right } else { Stands::Wrong })
}
