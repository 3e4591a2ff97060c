//! The depot: golden images in an object store that nobody trusts, behind the local store.
//!
//! ```text
//!   packs/<hh>/<pack id>.pack                 as in the store
//!   images/<image>/<digest>.packs             which packs hold the image's chunks, and how long they are
//!   images/<image>/<digest>.signature         one signature
//!   images/<image>/manifest.gsi               the manifest without signatures; an image is in the depot when this is
//!   statements/<digest>.<epoch>.<digest>.json one channel statement
//!   condemned/<unix ms>.<digest>.json         names that a collection will remove after its grace
//! ```
//!
//! Nothing in it ever changes: every object is named by what it holds, so that to write one twice does no harm, and what is
//! read is hashed against the name that was asked for. Only the local store serves; the depot fills it ([`pull`]), heals it
//! ([`mend`]), takes over what it has no room for ([`evict`]) and is filled from it ([`push`]).
//!
//! A depot must never: be believed about a condition, a checksum, a length or a list; or lose the local store anything by
//! lying, being slow, or being gone.

mod evict;
mod inventory;
mod mend;
mod name;
mod packs;
mod plan;
mod pull;
mod push;
#[cfg(test)]
pub(crate) mod shelf;
mod threads;
mod upkeep;

pub use evict::{EvictRules, Evicted, Stays, evict};
pub use inventory::{Inventory, header};
pub use mend::{Mended, mend};
pub use name::Name;
pub use packs::PackList;
pub use plan::plan_pull;
pub use pull::{Pulled, pull, statements};
pub use push::{PushRules, Pushed, push};
pub use upkeep::{CollectRules, Collected, collect, withdraw};

use std::ops::Range;

use crate::{ImageId, ManifestError, StoreError, VerifyError};

/// Bytes read at once.
const READ_LEN: u64 = 8 << 20;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What a put has done, by the word of the depot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It has the object now.
    Done,
    /// It had an object of that name, and left it.
    There,
}

/// An object store. Sync: an implementation brings its own runtime, its time limits and its retries.
pub trait Depot: Sync {
    /// Keep an object unless there is one of that name.
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<Put, DepotError>;
    /// Keep an object in the place of whatever is there.
    fn put_over(&self, name: &str, bytes: &[u8]) -> Result<(), DepotError>;
    /// The length of an object; none when it is not there.
    fn len(&self, name: &str) -> Result<Option<u64>, DepotError>;
    /// At most these bytes of an object.
    fn read(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, DepotError>;
    /// Names and lengths of all objects.
    fn list(&self) -> Result<Vec<(String, u64)>, DepotError>;
    /// Remove an object; one that is not there is no error.
    fn remove(&self, name: &str) -> Result<(), DepotError>;
}

/// Why the depot, or what it holds, cannot be used. What was done before is kept, and the local store is whole.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
    /// No answer.
    #[error(
        "the depot does not answer; images that are here are served all the same; look at its address and the network"
    )]
    Gone(#[source] Cause),
    /// An answer that comes too slowly.
    #[error("the depot is too slow: {name} stood still; try again when it or the network has recovered")]
    Slow {
        /// The object.
        name: String,
        /// The limit.
        #[source]
        source: Cause,
    },
    /// Credentials or rights.
    #[error(
        "the depot refuses us at {name}; check the credentials file and what its key may do with the bucket"
    )]
    Forbidden {
        /// The object.
        name: String,
        /// Its words.
        #[source]
        source: Cause,
    },
    /// Any other refusal.
    #[error("the depot fails at {name}")]
    Refused {
        /// The object.
        name: String,
        /// Its words.
        #[source]
        source: Cause,
    },
    /// An object that should be there.
    #[error("the depot has no {name}; push the image again from a site that has it")]
    Absent {
        /// The object.
        name: String,
    },
    /// Bytes that are not what was asked for.
    #[error(
        "the depot gives something else for {name}: {what}; it is not used; push the image again with --verify from a site that has it"
    )]
    Altered {
        /// The object.
        name: String,
        /// How it is wrong.
        what: &'static str,
    },
    /// It does not keep what it was given.
    #[error(
        "the depot does not keep {name}: written twice, it read back as something else each time; do not rely on it, and look at its disks"
    )]
    NotKept {
        /// The object.
        name: String,
    },
    /// No such image.
    #[error("image {image} is not in the depot; `groundstate image depot list` shows what is")]
    NoImage {
        /// The image.
        image: ImageId,
    },
    /// Nothing says where its chunks are.
    #[error(
        "image {image} is in the depot without a list of its packs, so nothing can be collected; push it again, or withdraw it"
    )]
    NoPackList {
        /// The image.
        image: ImageId,
    },
    /// The key ring refuses it.
    #[error(
        "image {image} in the depot is not trusted; have it signed, or bring it with --untrusted and sign it here"
    )]
    Untrusted {
        /// The image.
        image: ImageId,
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// Its manifest obeys no format.
    #[error("the manifest of image {image} in the depot is refused")]
    Manifest {
        /// The image.
        image: ImageId,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// Chunks that no listed pack gives.
    #[error(
        "image {image} is not whole in the depot: {missing} chunks are missing or altered there; what came over is kept; push it with --verify from a site that has it, then pull again"
    )]
    Incomplete {
        /// The image.
        image: ImageId,
        /// How many.
        missing: usize,
        /// The first thing that was wrong with a pack, where one was.
        #[source]
        source: Option<Box<DepotError>>,
    },
    /// The local store.
    #[error("the local store fails; what came over is kept")]
    Store(#[from] StoreError),
}

impl DepotError {
    /// Whether one object is at fault, so that another copy may do.
    fn is_of_the_object(&self) -> bool {
        matches!(
            self,
            Self::Absent { .. } | Self::Altered { .. } | Self::NoImage { .. } | Self::Manifest { .. }
        )
    }
}

/// Exactly these bytes.
fn read_exact(depot: &dyn Depot, name: &str, range: Range<u64>) -> Result<Vec<u8>, DepotError> {
    let wanted = range.end - range.start;
    let bytes = depot.read(name, range)?;
    match bytes.len() as u64 == wanted {
        true => Ok(bytes),
        false => Err(DepotError::Altered { name: name.to_owned(), what: "it is shorter than it should be" }),
    }
}

/// A whole object of at most `len_max` bytes.
fn read_whole(depot: &dyn Depot, name: &str, len_max: u64) -> Result<Vec<u8>, DepotError> {
    match depot.len(name)? {
        None => Err(DepotError::Absent { name: name.to_owned() }),
        Some(len) if len > len_max => Err(DepotError::Altered {
            name: name.to_owned(),
            what: "it is longer than such an object can be",
        }),
        Some(len) => {
            let mut bytes = Vec::new();
            while (bytes.len() as u64) < len {
                let at = bytes.len() as u64;
                bytes.extend(read_exact(depot, name, at..(at + READ_LEN).min(len))?);
            }
            Ok(bytes)
        }
    }
}

/// Whether the object reads as these bytes and nothing more.
fn reads_as(depot: &dyn Depot, name: &str, bytes: &[u8]) -> Result<bool, DepotError> {
    if depot.len(name)? != Some(bytes.len() as u64) {
        return Ok(false);
    }
    let mut at = 0;
    for part in bytes.chunks(READ_LEN as usize) {
        let end = at + part.len() as u64;
        match depot.read(name, at..end) {
            Ok(read) if read == part => at = end,
            Ok(_) | Err(DepotError::Absent { .. }) => return Ok(false),
            Err(other) => return Err(other),
        }
    }
    Ok(true)
}

/// Put an object and read it back; what the depot says of its doing counts for nothing.
fn place(depot: &dyn Depot, name: &str, bytes: &[u8]) -> Result<(), DepotError> {
    // Asked first, since a service that refuses a put before it has read the body may end the connection.
    if depot.len(name)?.is_none() {
        depot.put_new(name, bytes)?;
    }
    if reads_as(depot, name, bytes)? {
        return Ok(());
    }
    // Cut on the way, spoiled on its disk, or another object of that name: ours is the right one, since the name is its digest.
    depot.put_over(name, bytes)?;
    match reads_as(depot, name, bytes)? {
        true => Ok(()),
        false => Err(DepotError::NotKept { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
