//! What the depot says that it has, as names and lengths, and what of it can be relied on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::packs::PACK_LIST_LEN_MAX;
use super::pull::{right_frame, spans};
use super::threads::by_several;
use super::{Depot, DepotError, Name, PackList, read_exact, read_whole};
use crate::frames::Opener;
use crate::manifest::codec::HEADER_LEN_MAX;
use crate::store::pack::{self, Entry};
use crate::{ChunkId, FrameError, ImageId, Manifest, ManifestError, PackId, StoreError, manifest};

/// Names and lengths, by the word of the depot.
#[derive(Debug, Default)]
pub struct Inventory {
    pub(super) images: BTreeMap<ImageId, Record>,
    pub(super) packs: HashMap<PackId, u64>,
    /// All names of ours.
    pub(super) names: BTreeSet<Name>,
    /// Objects that are not ours.
    pub foreign: usize,
}

/// The objects of one image.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub manifest: bool,
    pub lists: Vec<Name>,
    pub signatures: Vec<Name>,
}

impl Inventory {
    /// Ask the depot what it has.
    pub fn read(depot: &dyn Depot) -> Result<Self, DepotError> {
        let mut all = Self::default();
        for (text, len) in depot.list()? {
            let Ok(name) = text.parse::<Name>() else {
                all.foreign += 1;
                continue;
            };
            match &name {
                Name::Pack(id) => drop(all.packs.insert(*id, len)),
                Name::Manifest(image) => all.images.entry(*image).or_default().manifest = true,
                Name::Packs(image, _) => all.images.entry(*image).or_default().lists.push(name.clone()),
                Name::Signature(image, _) => {
                    all.images.entry(*image).or_default().signatures.push(name.clone());
                }
                Name::Statement { .. } | Name::Condemned { .. } => {}
            }
            all.names.insert(name);
        }
        Ok(all)
    }

    /// The images that have a manifest there.
    pub fn images(&self) -> impl Iterator<Item = ImageId> + '_ {
        self.images.iter().filter(|(_, record)| record.manifest).map(|(image, _)| *image)
    }

    /// Number of packs and their bytes.
    pub fn packs(&self) -> (usize, u64) {
        (self.packs.len(), self.packs.values().sum())
    }

    /// Whether an image has a manifest there.
    pub fn has_manifest(&self, image: &ImageId) -> bool {
        self.images.get(image).is_some_and(|record| record.manifest)
    }

    pub(super) fn has(&self, name: &Name) -> bool {
        self.names.contains(name)
    }

    pub(super) fn pack_len(&self, id: &PackId) -> Option<u64> {
        self.packs.get(id).copied()
    }

    pub(super) fn note_manifest(&mut self, image: ImageId) {
        self.images.entry(image).or_default().manifest = true;
    }

    pub(super) fn note_pack(&mut self, id: PackId, len: u64) {
        self.packs.insert(id, len);
    }

    /// The lists of packs of an image; an altered one is an error.
    pub(super) fn pack_lists(&self, depot: &dyn Depot, image: &ImageId) -> Result<Vec<PackList>, DepotError> {
        let names = self.images.get(image).map(|record| record.lists.as_slice()).unwrap_or_default();
        names.iter().map(|name| read_list(depot, name)).collect()
    }

    /// Whether an image stands in the depot by its names and lengths: manifest, and each pack of one of its lists.
    pub fn is_whole(&self, depot: &dyn Depot, image: &ImageId) -> Result<bool, DepotError> {
        let there = |(id, len): &(PackId, u64)| self.pack_len(id) == Some(*len);
        let lists = match self.pack_lists(depot, image) {
            Err(error) if error.is_of_the_object() => return Ok(false),
            other => other?,
        };
        Ok(self.has_manifest(image) && lists.iter().any(|list| list.0.iter().all(there)))
    }

    /// Whether an image is whole in the depot: every pack of its lists read, each frame hashed, and every chunk in one of them.
    pub fn is_proven(
        &self,
        depot: &dyn Depot,
        image: &Manifest,
        progress: &mut dyn FnMut(u64),
    ) -> Result<bool, DepotError> {
        let unless = |error: DepotError| if error.is_of_the_object() { Ok(()) } else { Err(error) };
        if let Err(error) = read_manifest(depot, &image.id()) {
            return unless(error).map(|()| false);
        }
        let lists = match self.pack_lists(depot, &image.id()) {
            Err(error) => return unless(error).map(|()| false),
            Ok(lists) => lists,
        };
        let packs: HashMap<PackId, u64> = lists.into_iter().flat_map(|list| list.0).collect();
        let packs: Vec<(PackId, u64)> = packs.into_iter().collect();
        let read = by_several(&packs, progress, |(id, len), say| match prove_pack(depot, id, *len, say) {
            Ok(chunks) => Ok(chunks),
            Err(error) => unless(error).map(|()| Vec::new()),
        })?;
        let found: HashSet<ChunkId> = read.into_iter().flatten().collect();
        Ok(image.chunk_ids().all(|id| found.contains(&id)))
    }
}

fn read_list(depot: &dyn Depot, name: &Name) -> Result<PackList, DepotError> {
    let text = name.to_string();
    let bytes = read_whole(depot, &text, PACK_LIST_LEN_MAX)?;
    let altered = |what| DepotError::Altered { name: text.clone(), what };
    match name {
        Name::Packs(_, digest) if PackList::digest_of(&bytes) == *digest => {
            PackList::decode(&bytes).map_err(|_| altered("it is no list of packs"))
        }
        _ => Err(altered("it does not hash to its name")),
    }
}

/// The entries of a pack, by its end alone. They say where to look; what is found there is hashed.
pub(super) fn read_entries(depot: &dyn Depot, id: &PackId, len: u64) -> Result<Vec<Entry>, DepotError> {
    let name = Name::Pack(*id).to_string();
    let altered = |bad: pack::BadTail| DepotError::Altered { name: name.clone(), what: bad.what() };
    let first = (pack::END_LEN as u64).min(len);
    let mut end = read_exact(depot, &name, len - first..len)?;
    let tail_len = pack::tail_len(&end, len).map_err(altered)?;
    if tail_len > end.len() {
        let more = read_exact(depot, &name, len - tail_len as u64..len - first)?;
        end.splice(0..0, more);
    }
    pack::decode_tail(&end[end.len() - tail_len..], len).map_err(altered)
}

/// Read all of a pack and hash it, and each frame in it; the chunks that it gives.
fn prove_pack(
    depot: &dyn Depot,
    id: &PackId,
    len: u64,
    say: &dyn Fn(u64),
) -> Result<Vec<ChunkId>, DepotError> {
    let name = Name::Pack(*id).to_string();
    let entries = read_entries(depot, id, len)?;
    let mut opener = Opener::new().map_err(|error| StoreError::from(FrameError::Transport(error)))?;
    let (mut hasher, mut at, mut chunks) = (blake3::Hasher::new_derive_key(PackId::CONTEXT), 0, Vec::new());
    // Frames lie back to back between head and tail.
    for span in spans(&entries).chain([&[][..]]) {
        let end = span.last().map_or(len, |last| last.offset + u64::from(last.len));
        let from = at;
        let bytes = read_exact(depot, &name, from..end)?;
        hasher.update(&bytes);
        for entry in span {
            let place = (entry.offset - from) as usize;
            let frame = right_frame(&mut opener, entry, &bytes[place..place + entry.len as usize]);
            chunks.extend(frame.map(|frame| frame.id));
        }
        say(end - from);
        at = end;
    }
    match hasher.finalize().as_bytes() == id.as_bytes() {
        true => Ok(chunks),
        false => Err(DepotError::Altered { name, what: "it does not hash to its name" }),
    }
}

/// An image's manifest, hashed; nobody has signed what comes back.
pub(super) fn read_manifest(
    depot: &dyn Depot,
    image: &ImageId,
) -> Result<(crate::SignedManifest, Manifest), DepotError> {
    const LEN_MAX: u64 = 1 << 30;
    let name = Name::Manifest(*image).to_string();
    let bytes = match read_whole(depot, &name, LEN_MAX) {
        Err(DepotError::Absent { .. }) => return Err(DepotError::NoImage { image: *image }),
        other => other?,
    };
    let refused = |source| DepotError::Manifest { image: *image, source };
    let mut signed = crate::SignedManifest::decode(&bytes).map_err(refused)?;
    if signed.id() != *image {
        return Err(DepotError::Altered { name, what: "it does not hash to its name" });
    }
    // Signatures are objects of their own.
    signed.signatures.clear();
    let parsed = signed.parse().map_err(refused)?;
    Ok((signed, parsed))
}

/// The header of an image's manifest, hashed: what it is called, without reading where its chunks lie.
pub fn header(depot: &dyn Depot, image: &ImageId) -> Result<manifest::Header, DepotError> {
    let name = Name::Manifest(*image).to_string();
    let refused = |source| DepotError::Manifest { image: *image, source };
    let start = read_exact(depot, &name, 0..12)?;
    let (magic, len) = start.split_at(8);
    let len = len.iter().rev().fold(0, |len, byte| len << 8 | usize::from(*byte));
    if magic != manifest::MAGIC || len > HEADER_LEN_MAX {
        return Err(refused(ManifestError::NotAManifest));
    }
    let header = read_exact(depot, &name, 12..12 + len as u64)?;
    if ImageId::of_header(&header) != *image {
        return Err(DepotError::Altered { name, what: "it does not hash to its name" });
    }
    manifest::codec::decode(&header).map_err(refused)
}
