//! Why the store cannot do what was asked; each text says what now.

use std::io;
use std::path::{Path, PathBuf};

use crate::frames::FrameError;
use crate::{ChunkId, ImageId, ManifestError, PackId};

/// Why the store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No room.
    #[error("the store is full: no room for {path}; free space or give the store a larger disk, then try again", path = path.display())]
    Full {
        /// The file that did not fit.
        path: PathBuf,
    },
    /// Another kind of directory.
    #[error("{path} is not a groundstate store that this version knows; name another directory", path = path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// No such chunk.
    #[error("chunk {id} is not in the store; import the image again")]
    MissingChunk {
        /// The chunk.
        id: ChunkId,
    },
    /// A chunk does not read as it was written.
    #[error(
        "chunk {id} in pack {pack} is damaged: the disk under the store is failing; repair it with `groundstate image scrub`, --from a replica or --from-depot"
    )]
    DamagedChunk {
        /// The chunk.
        id: ChunkId,
        /// The pack that holds it.
        pack: PackId,
    },
    /// A pack does not read as it was written.
    #[error("pack {path} is damaged: {what}", path = path.display())]
    DamagedPack {
        /// The file.
        path: PathBuf,
        /// How.
        what: &'static str,
    },
    /// No such image.
    #[error("image {id} is not in the store; `groundstate image list` shows what is")]
    MissingImage {
        /// The image.
        id: ImageId,
    },
    /// A manifest file does not hold the image of its name.
    #[error("the manifest in {path} is damaged; repair it with `groundstate image scrub`, --from a replica or --from-depot, or import the image again", path = path.display())]
    DamagedManifest {
        /// The file.
        path: PathBuf,
        /// How.
        #[source]
        source: ManifestError,
    },
    /// A small document of the store cannot be understood.
    #[error("{path} is damaged; look at it, and restore it from a replica", path = path.display())]
    DamagedDocument {
        /// The file.
        path: PathBuf,
        /// How.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest to be put lacks chunks.
    #[error("image {image} is not whole: {missing} of its chunks are not in the store; import it again")]
    Incomplete {
        /// The image.
        image: ImageId,
        /// How many distinct chunks are missing.
        missing: usize,
    },
    /// A manifest to be put obeys no format.
    #[error("the manifest is refused")]
    Manifest(#[from] ManifestError),
    /// A frame to be kept is not what it claims.
    #[error("the frame is refused")]
    Frame(#[from] FrameError),
    /// One at a time.
    #[error("another collection or scrub is at work in this store; let it end, then try again")]
    Busy,
    /// Not to be deleted before a date.
    #[error("image {image} must be kept until {until_unix_ms} ms after 1970; it cannot be deleted before")]
    Retained {
        /// The image.
        image: ImageId,
        /// Until when.
        until_unix_ms: u64,
    },
    /// Somebody needs it as proof.
    #[error("image {image} is under a legal hold of {by} ({why}); have the hold lifted first")]
    LegalHold {
        /// The image.
        image: ImageId,
        /// Who ordered it.
        by: String,
        /// Why.
        why: String,
    },
    /// Retention only grows.
    #[error(
        "image {image} is kept until {until_unix_ms} ms after 1970; that date can be moved later, not earlier"
    )]
    RetentionShortened {
        /// The image.
        image: ImageId,
        /// Until when now.
        until_unix_ms: u64,
    },
    /// Endpoints are restored from it.
    #[error("image {image} is what {channel} means; promote another image first")]
    InChannel {
        /// The image.
        image: ImageId,
        /// The channel.
        channel: String,
    },
    /// A statement about no channel.
    #[error("`{channel}` is no channel; a channel is called NAME/candidate, NAME/approved or NAME/retired")]
    NoChannel {
        /// What it says.
        channel: String,
    },
    /// Something newer was said.
    #[error(
        "the statement about {channel} has epoch {epoch}, the next is {next}; somebody offers an old one, or promoted meanwhile: promote again"
    )]
    OldStatement {
        /// The channel.
        channel: String,
        /// Its epoch.
        epoch: u64,
        /// The least accepted.
        next: u64,
    },
}

impl StoreError {
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Self + 'a {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned() },
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }

    /// Whether the file was not there: somebody else has just removed or replaced it.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
