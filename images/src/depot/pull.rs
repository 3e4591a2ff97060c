//! Pull: images of the depot into the local store.
//!
//! ```text
//!   manifest ─► signatures ─► does the key ring trust it? ─► which chunks are missing here ─► ends of its packs
//!            ─► frames, each hashed, into local packs ─► manifest kept ─► statements that the key ring believes
//! ```
//!
//! Frames of one pack go into one local pack in their order, so a pack that is missing here whole comes to have its old name,
//! and is known when this site pushes. What was stopped is run again: packs that were sealed are found.
//!
//! It must never: keep a frame that does not hash to its chunk, an image that the key ring refuses unless that was asked
//! for, or a statement that it does not believe: one of a stranger with the last epoch would silence all that follow.

use std::collections::{BTreeSet, HashSet};

use super::inventory::{read_entries, read_manifest};
use super::threads::by_several;
use super::{Depot, DepotError, Inventory, Name, READ_LEN, read_exact, read_whole};
use crate::frames::{Frame, FrameError, Opener};
use crate::keys::{ChannelStatement, Signed};
use crate::manifest::SIGNATURES_MAX;
use crate::store::pack::{Entry, check_of};
use crate::{
    ChunkId, Digest, ImageId, KeyRing, Manifest, PackId, PublicKey, Signature, SignedManifest, Store,
    StoreError, StoreWriter,
};

/// A gap between two frames that is read along rather than asked around.
const GAP_MAX: u64 = 64 << 10;
const STATEMENT_LEN_MAX: u64 = 64 << 10;

/// What a pull has done, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Pulled {
    /// Images that the store lacked.
    pub images: Vec<ImageId>,
    /// Chunks that it lacked.
    pub chunks: usize,
    /// Their stored bytes.
    pub bytes: u64,
    /// Packs that were looked into.
    pub packs: usize,
    /// Statements that it lacked.
    pub statements: usize,
    /// Objects that were altered, and did not matter since others were right.
    pub altered: Vec<String>,
}

/// Pull images. The key ring says what may be kept: without one every image is kept, untrusted, and no statement. `progress` gets the bytes
/// moved, and may wait.
pub fn pull(
    depot: &dyn Depot,
    store: &Store,
    images: &[ImageId],
    ring: Option<&KeyRing>,
    progress: &mut dyn FnMut(u64),
) -> Result<Pulled, DepotError> {
    let inventory = Inventory::read(depot)?;
    let mut pull = Pull { depot, ring, inventory, done: Pulled::default() };
    for image in images {
        pull.image(store, image, progress)?;
    }
    pull.statements(store)?;
    Ok(pull.done)
}

pub(super) struct Pull<'a> {
    pub depot: &'a dyn Depot,
    pub ring: Option<&'a KeyRing>,
    pub inventory: Inventory,
    pub done: Pulled,
}

/// A pack, and what is wanted of it in the order of the file.
pub(super) struct Part {
    pack: PackId,
    pub entries: Vec<Entry>,
}

impl Pull<'_> {
    fn image(
        &mut self,
        store: &Store,
        image: &ImageId,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), DepotError> {
        let (signed, manifest) = self.trusted(image)?;
        let writer = store.writer()?;
        let missing = writer.missing(manifest.chunk_ids())?;
        if !missing.is_empty() {
            self.chunks(&manifest, &writer, missing, progress)?;
        }
        if !store.list()?.contains(image) {
            self.done.images.push(*image);
        }
        writer.put_manifest(&signed)?;
        Ok(())
    }

    /// The same as [`Self::manifest`], if the key ring trusts it.
    pub fn trusted(&mut self, image: &ImageId) -> Result<(SignedManifest, Manifest), DepotError> {
        let (signed, manifest) = self.manifest(image)?;
        if let Some(ring) = self.ring {
            ring.verify(signed.clone()).map_err(|source| DepotError::Untrusted { image: *image, source })?;
        }
        Ok((signed, manifest))
    }

    /// An image's manifest, hashed, with its signatures.
    pub fn manifest(&mut self, image: &ImageId) -> Result<(SignedManifest, Manifest), DepotError> {
        let (mut signed, manifest) = read_manifest(self.depot, image)?;
        self.signatures(&mut signed)?;
        Ok((signed, manifest))
    }

    /// Signatures that are what they seem; whose they are the key ring asks.
    fn signatures(&mut self, signed: &mut SignedManifest) -> Result<(), DepotError> {
        let names = self.inventory.images.get(&signed.id()).map(|r| r.signatures.clone()).unwrap_or_default();
        for name in names.iter().take(SIGNATURES_MAX) {
            let text = name.to_string();
            let bytes = match read_whole(self.depot, &text, 1024) {
                Err(error) if error.is_of_the_object() => {
                    self.done.altered.push(text);
                    continue;
                }
                other => other?,
            };
            let valid = Signature::decode(&bytes).ok().filter(|signature| {
                let key = PublicKey::from_bytes(signature.key);
                *name == Name::Signature(signed.id(), Digest::of(&bytes))
                    && key.verifies(&signed.header, &signature.signature)
            });
            match valid {
                Some(signature) => signed.add(signature),
                None => self.done.altered.push(text),
            }
        }
        Ok(())
    }

    fn chunks(
        &mut self,
        manifest: &Manifest,
        writer: &StoreWriter<'_>,
        mut missing: HashSet<ChunkId>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), DepotError> {
        let image = manifest.id();
        let packs = self.packs_of(&image)?;
        let wrong = self.bring_from(packs, writer, &mut missing, progress)?;
        match missing.len() {
            0 => Ok(()),
            missing => Err(DepotError::Incomplete { image, missing, source: wrong.map(Box::new) }),
        }
    }

    /// The ends of the packs that are listed for an image, and the first thing that was wrong with one.
    pub fn packs_of(&mut self, image: &ImageId) -> Result<(Vec<Part>, Option<DepotError>), DepotError> {
        let lists = self.inventory.pack_lists(self.depot, image)?;
        self.entries(lists.into_iter().flat_map(|list| list.0).collect())
    }

    /// The packs that are listed for these images. A list that is altered is said, and gives none.
    pub fn listed(&mut self, images: &[ImageId]) -> Result<Vec<(PackId, u64)>, DepotError> {
        let mut listed = Vec::new();
        for image in images {
            match self.inventory.pack_lists(self.depot, image) {
                Ok(lists) => listed.extend(lists.into_iter().flat_map(|list| list.0)),
                Err(DepotError::Altered { name, .. }) => self.done.altered.push(name),
                Err(error) if error.is_of_the_object() => {}
                Err(other) => return Err(other),
            }
        }
        Ok(listed)
    }

    /// Bring what is missing as far as these packs give it; the first thing that was wrong with one.
    pub fn bring(
        &mut self,
        listed: Vec<(PackId, u64)>,
        writer: &StoreWriter<'_>,
        missing: &mut HashSet<ChunkId>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<DepotError>, DepotError> {
        let packs = self.entries(listed)?;
        self.bring_from(packs, writer, missing, progress)
    }

    fn bring_from(
        &mut self,
        (packs, mut wrong): (Vec<Part>, Option<DepotError>),
        writer: &StoreWriter<'_>,
        missing: &mut HashSet<ChunkId>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<DepotError>, DepotError> {
        // A chunk that is altered in one pack may stand right in another.
        let mut tried = HashSet::new();
        loop {
            let parts = share_out(&packs, missing, &mut tried);
            if parts.is_empty() {
                break;
            }
            let depot = self.depot;
            let came = by_several(&parts, progress, |part, say| fetch(depot, part, writer, say))?;
            for came in came {
                (self.done.chunks, self.done.bytes) =
                    (self.done.chunks + came.ids.len(), self.done.bytes + came.bytes);
                for id in &came.ids {
                    missing.remove(id);
                }
                if let Some(error) = came.wrong {
                    self.done.altered.push(Name::Pack(came.pack).to_string());
                    wrong.get_or_insert(error);
                }
            }
        }
        Ok(wrong)
    }

    /// The entries of each of these packs, and the first thing that was wrong with one.
    fn entries(&mut self, listed: Vec<(PackId, u64)>) -> Result<(Vec<Part>, Option<DepotError>), DepotError> {
        let (mut parts, mut wrong, mut seen) = (Vec::new(), None, HashSet::new());
        for (pack, len) in listed {
            if !seen.insert(pack) {
                continue;
            }
            match read_entries(self.depot, &pack, len) {
                Ok(entries) => parts.push(Part { pack, entries }),
                Err(error) if error.is_of_the_object() => {
                    self.done.altered.push(Name::Pack(pack).to_string());
                    wrong.get_or_insert(error);
                }
                Err(other) => return Err(other),
            }
        }
        self.done.packs += parts.len();
        Ok((parts, wrong))
    }

    /// What is said about the images that both have. The names are in the order of their epochs.
    fn statements(&mut self, store: &Store) -> Result<(), DepotError> {
        let Some(ring) = self.ring else { return Ok(()) };
        let (said, altered) = statements(self.depot, &self.inventory, Some(store), ring)?;
        self.done.altered.extend(altered);
        for signed in said {
            match store.put_statement(&signed) {
                Ok(()) => self.done.statements += 1,
                // Older than what this site knows, or about an image that was not asked for.
                Err(StoreError::OldStatement { .. } | StoreError::MissingImage { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }
}

/// What the key ring believes of what is said in the depot and not in the store, by name and in the order of epochs; and the objects
/// that are no such statements.
pub fn statements(
    depot: &dyn Depot,
    inventory: &Inventory,
    store: Option<&Store>,
    ring: &KeyRing,
) -> Result<(Vec<Signed<ChannelStatement>>, Vec<String>), DepotError> {
    let here = store.map(Store::histories).transpose()?.unwrap_or_default();
    let here = here.into_values().flat_map(|history| history.0);
    let known: BTreeSet<Name> = here
        .filter_map(|signed| Name::of_statement(&signed, &serde_json::to_vec(&signed).unwrap_or_default()))
        .collect();
    let (mut believed, mut altered) = (Vec::new(), Vec::new());
    for name in inventory.names.iter().filter(|name| !known.contains(name)) {
        let Name::Statement { digest, .. } = name else { continue };
        let text = name.to_string();
        let bytes = match read_whole(depot, &text, STATEMENT_LEN_MAX) {
            Err(error) if error.is_of_the_object() => {
                altered.push(text);
                continue;
            }
            other => other?,
        };
        match serde_json::from_slice::<Signed<ChannelStatement>>(&bytes) {
            Ok(signed) if Digest::of(&bytes) == *digest && ring.verify_statement(&signed, 0).is_ok() => {
                believed.push(signed);
            }
            _ => altered.push(text),
        }
    }
    Ok((believed, altered))
}

/// Give each missing chunk to the first pack that has it and was not tried for it.
pub(super) fn share_out(
    packs: &[Part],
    missing: &HashSet<ChunkId>,
    tried: &mut HashSet<(PackId, ChunkId)>,
) -> Vec<Part> {
    let mut given = HashSet::new();
    let mut parts = Vec::new();
    for Part { pack, entries } in packs {
        let wanted = |entry: &&Entry| {
            missing.contains(&entry.id) && !given.contains(&entry.id) && tried.insert((*pack, entry.id))
        };
        let entries: Vec<Entry> = entries.iter().filter(wanted).copied().collect();
        given.extend(entries.iter().map(|entry| entry.id));
        if !entries.is_empty() {
            parts.push(Part { pack: *pack, entries });
        }
    }
    parts
}

/// What came of a pack.
struct Came {
    pack: PackId,
    ids: Vec<ChunkId>,
    bytes: u64,
    wrong: Option<DepotError>,
}

/// Fetch what is wanted of a pack into a local one. What is altered is left out and said.
fn fetch(
    depot: &dyn Depot,
    part: &Part,
    writer: &StoreWriter<'_>,
    say: &dyn Fn(u64),
) -> Result<Came, DepotError> {
    let name = Name::Pack(part.pack).to_string();
    let mut opener = Opener::new().map_err(|error| StoreError::from(FrameError::Transport(error)))?;
    let mut ingest = writer.ingest();
    let mut came = Came { pack: part.pack, ids: Vec::new(), bytes: 0, wrong: None };
    let mut stopped = None;
    for span in spans(&part.entries) {
        let end = |entry: &Entry| entry.offset + u64::from(entry.len);
        let (from, to) = (span[0].offset, span.last().map_or(0, end));
        let bytes = match read_exact(depot, &name, from..to) {
            Ok(bytes) => bytes,
            Err(error) if error.is_of_the_object() => {
                came.wrong.get_or_insert(error);
                continue;
            }
            Err(other) => {
                stopped = Some(other);
                break;
            }
        };
        for entry in span {
            let at = (entry.offset - from) as usize;
            let Some(frame) = right_frame(&mut opener, entry, &bytes[at..at + entry.len as usize]) else {
                let what = "a frame in it does not hash to its chunk";
                came.wrong.get_or_insert(DepotError::Altered { name: name.clone(), what });
                continue;
            };
            came.bytes += ingest.append(&frame)?;
            came.ids.push(frame.id);
        }
        say(to - from);
    }
    // Also after an error: what came is found when it is run again.
    ingest.finish()?;
    stopped.map_or(Ok(came), Err)
}

/// The frame of an entry, if what is stored hashes to its chunk. Of what a pack says of itself nothing is believed.
pub(super) fn right_frame(opener: &mut Opener, entry: &Entry, stored: &[u8]) -> Option<Frame> {
    let Entry { id, encoding, raw_len, .. } = *entry;
    let frame = Frame { id, encoding, raw_len, bytes: stored.to_vec() };
    (check_of(stored) == entry.check && opener.open(&frame).is_ok()).then_some(frame)
}

/// Neighbours that are read at once.
pub(super) fn spans(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    let end = |entry: &Entry| entry.offset + u64::from(entry.len);
    let mut rest = entries;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let mut count = 1;
        while let Some(next) = rest.get(count)
            && next.offset - end(&rest[count - 1]) <= GAP_MAX
            && end(next) - first.offset <= READ_LEN
        {
            count += 1;
        }
        let (span, left) = rest.split_at(count);
        rest = left;
        Some(span)
    })
}
