//! Bytes onto the disk: what differs, in an order that a power cut cannot turn into half an image that boots.
//!
//! ```text
//!   Verified<Manifest> ─scan─► Scan ─► RestorePlan ─poison─► Poisoned ─write─► Written ─read_back─► Proven ─commit─► Restored
//!                      reads only      printable    │        all but the        every byte        │  boot region last,
//!                                                   │        boot region        read again        │  read back, flushed
//!                            first MiB and backup GPT                    the caller may place a file
//!                            zeroed, flushed, read back:                 of the endpoint: a step of the proof
//!                            the disk does not boot now
//! ```
//!
//! Each step takes the one before by value, so the order cannot be changed: only [`Proven`] can write the boot region,
//! and only a [`crate::Verified`] manifest gets this far. When nothing differs, nothing is written: the same steps run
//! and do not touch the disk, unless a file has to be placed: then it is poisoned first. After a power cut the restore is simply run again: the scan finds what is right already.
//!
//! ```compile_fail
//! // What was not proven cannot be committed.
//! fn hurry(written: images::restore::Written<'_>) {
//!     let _ = written.commit_boot_region();
//! }
//! ```
//!
//! ```compile_fail
//! // What was not verified cannot be planned.
//! fn trust(manifest: &images::Manifest, scan: images::restore::Scan) {
//!     let _ = images::RestorePlan::new(manifest, scan, &Default::default());
//! }
//! ```
//!
//! Every chunk is hashed before it is written and every extent is hashed after. Nothing here chooses the disk, opens a
//! connection or reads a clock: the caller brings a [`RestoreTarget`] and a [`ChunkSource`].

mod ahead;
mod boot_region;
mod compare;
mod cost;
pub mod file;
mod fits;
pub mod mem;
mod place;
mod plan;
mod preserve;
mod prove;
mod record;
mod scan;
mod seeds;
mod write;

pub use crate::disk::{AlignedBuf, ReadDisk, RestoreTarget};
pub use ahead::Ahead;
pub(crate) use compare::is_zero;
pub use cost::Cost;
pub(crate) use cost::cost;
pub use place::{EndpointFile, PlacedOn};
pub use plan::{EndpointFacts, PlanRefusal, PlanSummary, RestorePlan};
pub use preserve::{Preserve, Preserved};
pub use prove::{Proven, ReadBack, Restored};
pub use scan::{Scan, scan, scan_for, unread};
pub use write::{Poisoned, Written};

use std::io;

use crate::disk::GptError;
use crate::disk::esp::EspError;
use crate::frames::{Frame, FrameError};
use crate::{ChunkId, Store, StoreError};

/// Where chunks come from.
pub trait ChunkSource: Sync {
    /// Give the frames of these distinct chunks to `sink`, in any order.
    ///
    /// `sink` verifies. When it refuses a frame, the source may ask elsewhere and give that chunk again; what it has
    /// taken it need not get twice. To return `Ok` without having given every chunk is an error that we name.
    fn fetch(&self, ids: &[ChunkId], sink: &mut FrameSink<'_>) -> Result<(), SourceError>;
}

/// Takes and verifies frames.
pub type FrameSink<'a> = dyn FnMut(Frame) -> Result<(), FrameError> + 'a;

/// Why a source cannot give a chunk.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A frame was refused and there is no other source.
    #[error("a chunk from {from} was refused")]
    Refused {
        /// Which source.
        from: String,
        /// Why.
        #[source]
        source: FrameError,
    },
    /// Every source has sent what is not the chunk, or does not have it.
    #[error("no source is left that gives the image's chunks ({why}); have the appliance's store scrubbed")]
    NoneLeft {
        /// Each source, and why it was left.
        why: String,
    },
    /// No source is left, and one at least speaks another version of frames.
    #[error("no source is left that gives the image's chunks ({why})")]
    OtherVersion {
        /// Each source, and why it was left.
        why: String,
    },
    /// No answer, and there is no other source.
    #[error("{from} does not answer; check the network between the endpoint and the appliance")]
    Unreachable {
        /// Which source.
        from: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A local store is a source.
impl ChunkSource for Store {
    fn fetch(&self, ids: &[ChunkId], sink: &mut FrameSink<'_>) -> Result<(), SourceError> {
        let from = || format!("the store in {}", self.root().display());
        for id in ids {
            let frame = self.get_frame(id);
            let frame = frame.map_err(|source: StoreError| SourceError::Unreachable {
                from: from(),
                source: Box::new(source),
            })?;
            sink(frame).map_err(|source| SourceError::Refused { from: from(), source })?;
        }
        Ok(())
    }
}

/// Where a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Reading the disk and comparing.
    Scan,
    /// Looking, in what differs, for chunks that can be moved. Absent when nothing differs, and may end early.
    Search,
    /// Fetching and writing what differs.
    Write,
    /// Reading back what was written.
    ReadBack,
    /// Writing the boot region.
    Commit,
}

/// How far a phase is, in bytes of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressEvent {
    /// The phase.
    pub phase: Phase,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Is told how far a restore is, from any of its threads; must return at once.
pub type Progress<'p> = dyn Fn(ProgressEvent) + Sync + 'p;

/// What a restore has done, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct RestoreStats {
    /// Read by the scan.
    pub scanned: u64,
    /// Found right and left alone.
    pub kept: u64,
    /// Copied from another place of the same disk.
    pub copied: u64,
    /// Moved from a place of the same disk that was overwritten later.
    #[serde(default)]
    pub moved: u64,
    /// Plain bytes of the chunks fetched.
    pub fetched: u64,
    /// The same as they travelled.
    pub fetched_stored: u64,
    /// Written to the disk, boot region included.
    pub written: u64,
    /// Made zero.
    pub zeroed: u64,
    /// Read back and found right.
    pub read_back: u64,
    /// Written again because they did not read back right.
    pub rewritten: u64,
}

/// Why a restore stops. Once writing has begun the disk is left unbootable, and running the restore again goes on.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The image does not fit this disk or endpoint; nothing was written.
    #[error("the image cannot be restored here")]
    Refused(#[from] PlanRefusal),
    /// The disk fails.
    #[error(
        "cannot {action} {len} bytes at byte {offset} of the disk; check its cable and health, or replace it"
    )]
    Disk {
        /// `read`, `write`, `zero`, `read back` or `flush`.
        action: &'static str,
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The chunks cannot be had.
    #[error("the image's chunks cannot be fetched")]
    Source(#[from] SourceError),
    /// A source says that it is done and is not.
    #[error("the source did not deliver chunk {id}; ask the appliance to verify the image")]
    NotDelivered {
        /// The chunk.
        id: ChunkId,
    },
    /// A chunk does not have the length that the manifest says.
    #[error("chunk {id} has {found} bytes, the manifest says {expected}; import the image again")]
    ChunkLength {
        /// The chunk.
        id: ChunkId,
        /// Length of its extent.
        expected: u64,
        /// Length of its plain bytes.
        found: u64,
    },
    /// The disk does not hold what was written, twice.
    #[error(
        "the disk does not hold what was written at byte {offset}, also not after writing it again; replace the disk"
    )]
    ReadBack {
        /// First wrong extent.
        offset: u64,
        /// How many bytes lie in wrong extents.
        bytes: u64,
    },
    /// The disk changed under a restore that had nothing to write.
    #[error("the disk reads differently each time, first at byte {offset}; replace the disk")]
    Unstable {
        /// First wrong extent.
        offset: u64,
    },
    /// The partition table cannot be moved to this disk's size.
    #[error("the image's partition table cannot be moved to this disk's size")]
    Table(#[source] GptError),
    /// There is no place for a file of the endpoint.
    #[error(
        "the image has no EFI system partition outside of its boot region, so {path} cannot be placed; build the image with one"
    )]
    NoEsp {
        /// The file.
        path: &'static str,
    },
    /// There is no place for the endpoint's seed.
    #[error(
        "the image has no partition named cidata to be written, so {path} cannot be placed; build the image with one"
    )]
    NoSeed {
        /// The file.
        path: &'static str,
    },
    /// A file of the endpoint cannot be placed.
    #[error("the endpoint's own file cannot be placed on the image's partition for it")]
    Place(#[source] EspError),
    /// Placing a file would need most of the EFI system partition in memory.
    #[error(
        "the directories of the partition for the endpoint's own files are spread too far to place one; build the image anew"
    )]
    EspTooScattered,
    /// What was proven reads otherwise, beside the file that was placed or before it was.
    #[error("the disk does not hold at byte {offset} any more what was proven to be there; replace the disk")]
    Spoiled {
        /// First byte of the extent.
        offset: u64,
    },
    /// A partition that was to stay as it was is not.
    #[error(
        "partition {number} `{name}` was to be preserved and is not as it was before, though nothing was written to it; the disk cannot be trusted. Save what is left of it, then replace the disk"
    )]
    NotPreserved {
        /// Number of the partition, counted from 1.
        number: u32,
        /// Its name.
        name: String,
    },
    /// No decoder could be made.
    #[error("cannot start the decoder")]
    Decoder(#[source] io::Error),
    /// The disk is not the one that was planned for.
    #[error(
        "the disk had {planned} bytes when it was scanned and has {found} now; nothing was written, start again"
    )]
    OtherDisk {
        /// Size when scanned.
        planned: u64,
        /// Size now.
        found: u64,
    },
}

impl RestoreError {
    fn disk(action: &'static str, offset: u64, len: u64) -> impl Fn(io::Error) -> Self {
        move |source| Self::Disk { action, offset, len, source }
    }
}

#[cfg(test)]
mod tests;
