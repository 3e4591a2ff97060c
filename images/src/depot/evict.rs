//! Evict: a store in front of a depot stays below a size. Whole images go, those first that were not used for longest.
//!
//! ```text
//!   too large? ─► listed images, oldest use first ─► wanted, held, served lately? they stay
//!              ─► whole in the depot, each frame of it read and hashed? signatures, too? ─► no: it stays
//!              ─► listed no more ─► used or wanted meanwhile? listed again ─► its packs go, as in a collection
//! ```
//!
//! An image and not a chunk is what goes: a recovery needs all of one, at a time when the depot may not be there. What dies in the
//! middle leaves an image that is not listed and whose packs are all there; the next eviction proves it again, and takes or returns it.
//!
//! It must never: take what a recovery would use, what somebody is being served, or a chunk that stands nowhere else; or believe
//! the depot about what it has.

use std::time::{Duration, SystemTime};

use super::{Depot, DepotError, Inventory, Name, read_whole};
use crate::store::evict::GivenUp;
use crate::{Digest, ImageId, Manifest, SignedManifest, Store, StoreError};

/// What an eviction keeps to.
pub struct EvictRules<'a> {
    /// Bytes that the store may have, as [`Store::bytes`] counts them.
    pub bytes_max: u64,
    /// Now, milliseconds since 1970 UTC.
    pub now_unix_ms: u64,
    /// What was used or served within this time is being served.
    pub idle_min: Duration,
    /// Whether an image must stay: a recovery would use it. Asked again when it is listed no more.
    pub is_wanted: &'a dyn Fn(&ImageId) -> bool,
    /// Change nothing.
    pub plan: bool,
}

/// Why an image stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stays {
    /// A recovery would use it.
    Wanted,
    /// Retention, a legal hold or a channel.
    Held,
    /// Used within the last time.
    Served,
    /// It is not whole in the depot; a push brings it there.
    OnlyHere,
    /// Its manifest cannot be read; a scrub mends it.
    Damaged,
}

/// What an eviction has done, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Evicted {
    /// Bytes of the store before.
    pub bytes_before: u64,
    /// And after, without packs that wait; of a plan what would be left, to a few percent.
    pub bytes_after: u64,
    /// Images that are in the depot only now.
    pub images: Vec<ImageId>,
    /// Images that were looked at and stay, each with the reason.
    pub stay: Vec<(ImageId, Stays)>,
    /// Packs that wait for a writer to end; the next eviction takes them.
    pub waiting: usize,
}

/// Bring the store below its bound. `progress` gets the bytes read of the depot, and may wait.
///
/// # Errors
/// Those of depot and store. What was given up before is removed all the same.
pub fn evict(
    depot: &dyn Depot,
    store: &Store,
    rules: &EvictRules<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Evicted, DepotError> {
    store.refresh()?;
    let bytes = store.bytes()?;
    let mut done = Evicted { bytes_before: bytes, bytes_after: bytes, ..Evicted::default() };
    if bytes <= rules.bytes_max {
        return Ok(done);
    }
    if !rules.plan {
        // What waited for a writer, the last time.
        done.waiting = store.remove_given_up(&GivenUp::default(), false, rules.now_unix_ms)?.waiting;
        done.bytes_after = store.bytes()?;
    }
    done.bytes_after = done.bytes_after.saturating_sub(store.bytes_going()?);
    if done.bytes_after <= rules.bytes_max {
        return Ok(done);
    }
    let inventory = Inventory::read(depot)?;
    let mut eviction = Eviction { depot, store, rules, inventory, given_up: GivenUp::default() };
    let stopped = eviction.choose(&mut done, progress);
    if !rules.plan {
        eviction.remove(&mut done)?;
    }
    stopped.map(|()| done)
}

struct Eviction<'a> {
    depot: &'a dyn Depot,
    store: &'a Store,
    rules: &'a EvictRules<'a>,
    inventory: Inventory,
    given_up: GivenUp,
}

impl Eviction<'_> {
    fn choose(&mut self, done: &mut Evicted, progress: &mut dyn FnMut(u64)) -> Result<(), DepotError> {
        let mut listed: Vec<(SystemTime, SignedManifest, Manifest)> = Vec::new();
        for image in self.store.list()? {
            let Ok(signed) = self.store.get_manifest(&image) else {
                done.stay.push((image, Stays::Damaged));
                continue;
            };
            let manifest = signed.parse().map_err(StoreError::from)?;
            listed.push((self.store.last_use(&image)?, signed, manifest));
        }
        // What cannot be read may need any chunk.
        if !done.stay.is_empty() {
            return Ok(());
        }
        if !self.rules.plan {
            self.go_on(&listed, done, progress)?;
        }
        listed.sort_by_key(|(used, ..)| *used);
        let mut next = 0;
        while done.bytes_after > self.rules.bytes_max && next < listed.len() {
            let (used, signed, manifest) = &listed[next];
            let others = listed.iter().map(|(.., other)| other).filter(|other| other.id() != manifest.id());
            let alone = self.store.alone(manifest, others)?;
            match self.why_it_stays(signed, manifest, (*used).max(alone.served.unwrap_or(*used)), progress)? {
                Some(why) => done.stay.push((manifest.id(), why)),
                None if self.rules.plan || self.give_up(manifest, *used)? => {
                    done.bytes_after = done.bytes_after.saturating_sub(alone.bytes);
                    done.images.push(manifest.id());
                    listed.remove(next);
                    continue;
                }
                None => done.stay.push((manifest.id(), Stays::Served)),
            }
            next += 1;
        }
        Ok(())
    }

    /// What an eviction before this one has taken out and did not remove goes, or comes back if it stands only here now.
    fn go_on(
        &mut self,
        listed: &[(SystemTime, SignedManifest, Manifest)],
        done: &mut Evicted,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), DepotError> {
        for image in self.store.given_up()? {
            let signed = self.store.get_given_up(&image)?;
            let manifest = signed.parse().map_err(StoreError::from)?;
            if self.is_elsewhere(&signed, &manifest, progress)? {
                let alone = self.store.alone(&manifest, listed.iter().map(|(.., other)| other))?;
                done.bytes_after = done.bytes_after.saturating_sub(alone.bytes);
                self.given_up.images.insert(image);
                self.given_up.chunks.extend(manifest.chunk_ids());
            } else {
                self.store.take_back(&image)?;
                done.stay.push((image, Stays::OnlyHere));
            }
        }
        Ok(())
    }

    fn why_it_stays(
        &self,
        signed: &SignedManifest,
        manifest: &Manifest,
        used: SystemTime,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<Stays>, DepotError> {
        let image = manifest.id();
        if (self.rules.is_wanted)(&image) {
            return Ok(Some(Stays::Wanted));
        }
        match self.store.may_delete(&image, self.rules.now_unix_ms) {
            Ok(()) => {}
            Err(
                StoreError::LegalHold { .. } | StoreError::Retained { .. } | StoreError::InChannel { .. },
            ) => {
                return Ok(Some(Stays::Held));
            }
            Err(other) => return Err(other.into()),
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(self.rules.now_unix_ms);
        // A time in the future is lately: clocks are set back, too.
        if now.duration_since(used).is_ok_and(|age| age >= self.rules.idle_min) {
            let elsewhere = self.is_elsewhere(signed, manifest, progress)?;
            return Ok(if elsewhere { None } else { Some(Stays::OnlyHere) });
        }
        Ok(Some(Stays::Served))
    }

    /// Whether all that is here of an image is in the depot, read and hashed.
    fn is_elsewhere(
        &self,
        signed: &SignedManifest,
        manifest: &Manifest,
        progress: &mut dyn FnMut(u64),
    ) -> Result<bool, DepotError> {
        for signature in &signed.signatures {
            let bytes = signature.encode();
            let name = Name::Signature(manifest.id(), Digest::of(&bytes)).to_string();
            match read_whole(self.depot, &name, 1024) {
                Ok(there) if there == bytes => {}
                Ok(_) => return Ok(false),
                Err(error) if error.is_of_the_object() => return Ok(false),
                Err(other) => return Err(other),
            }
        }
        self.inventory.is_proven(self.depot, manifest, progress)
    }

    /// Take an image out of the list, unless it is wanted after all.
    fn give_up(&mut self, manifest: &Manifest, seen: SystemTime) -> Result<bool, DepotError> {
        let image = manifest.id();
        if !self.store.give_up(&image, seen)? {
            return Ok(false);
        }
        // Whoever wants it now finds it gone; whoever wanted it just before is asked for.
        if (self.rules.is_wanted)(&image) {
            self.store.take_back(&image)?;
            return Ok(false);
        }
        self.given_up.images.insert(image);
        self.given_up.chunks.extend(manifest.chunk_ids());
        Ok(true)
    }

    fn remove(&self, done: &mut Evicted) -> Result<(), DepotError> {
        if !self.given_up.images.is_empty() {
            // Without new packs first: there may be no room for any.
            for rewrite in [false, true] {
                let removed = self.store.remove_given_up(&self.given_up, rewrite, self.rules.now_unix_ms)?;
                done.waiting = removed.waiting;
                done.bytes_after = self.store.bytes()?.saturating_sub(self.store.bytes_going()?);
                if done.bytes_after <= self.rules.bytes_max {
                    break;
                }
            }
        }
        done.bytes_after = self.store.bytes()?.saturating_sub(self.store.bytes_going()?);
        Ok(())
    }
}
