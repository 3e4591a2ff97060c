//! What a partition holds, and which of its bytes the filesystem in it does not use.
//!
//! ```text
//!   partition ─ kind ─┬─ ext2/3/4 ─┐
//!                     ├─ XFS       │  free runs, in blocks ─ nothing known to be in use among them?
//!                     ├─ NTFS      ├─►   as many as the filesystem says itself? ─► bytes, whole 4096s, 64 KiB and more
//!                     ├─ FAT       │
//!                     ├─ swap    ──┘
//!                     └─ all else: kept whole
//! ```
//!
//! A used block that is taken for free spoils a golden image without anybody noticing. So whatever is unknown, not cleanly
//! unmounted or disagrees with itself is a [`KeepWhole`] and never a guess. Nothing here repairs or writes.

mod checksum;
mod ext;
mod ext_inode;
mod fat;
mod kind;
mod ntfs;
mod ntfs_record;
mod part;
mod runs;
mod swap;
mod xfs;
mod xfs_log;

pub use kind::{Kind, kind};

use std::io;
use std::ops::Range;

use crate::disk::ReadDisk;
use part::Part;

/// Shorter runs are not worth an extent of their own.
pub const FREE_MIN: u64 = 64 << 10;
/// Free runs start and end at multiples of this on the disk.
pub const FREE_ALIGN: u64 = 4096;

/// Why a filesystem was not left as an unmount leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclean {
    /// A journal to replay.
    #[error("its journal holds changes that are not written back")]
    Journal,
    /// Marked as in use.
    #[error("it was not unmounted")]
    Mounted,
    /// Marked as having errors.
    #[error("it remembers errors")]
    Errors,
    /// A system sleeps.
    #[error("a system hibernates in it")]
    Hibernated,
}

/// Why every byte of a partition is kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepWhole {
    /// No reader for it.
    #[error("what it leaves free is not known here")]
    NotRead,
    /// Two filesystems at once.
    #[error(
        "it bears the marks of {first} and of {second}; take the stale ones away with `wipefs` when building the image"
    )]
    Ambiguous {
        /// One.
        first: Kind,
        /// Another.
        second: Kind,
    },
    /// Not left as an unmount leaves it.
    #[error("it was not cleanly unmounted")]
    Unclean(#[source] Unclean),
    /// Features that we do not know.
    #[error("it has {what} that are not known here ({bits:#x})")]
    Features {
        /// Which set.
        what: &'static str,
        /// The unknown bits.
        bits: u64,
    },
    /// A layout that we do not read.
    #[error("it has {what}, which is not read here")]
    Layout {
        /// What.
        what: &'static str,
    },
    /// A checksum does not fit.
    #[error("the checksum of its {what} is wrong; check it, then import again")]
    Checksum {
        /// Of what.
        what: &'static str,
    },
    /// A value that cannot be.
    #[error("its {what} is impossible; check it, then import again")]
    Damaged {
        /// Which.
        what: &'static str,
    },
    /// Two things that must be the same are not.
    #[error("it says {said} {what}, and {counted} were found; check it, then import again")]
    Count {
        /// What was counted.
        what: &'static str,
        /// By its own record.
        said: u64,
        /// By us.
        counted: u64,
    },
    /// Known to be in use, and marked free.
    #[error("its {what} is in use at block {block}, which is marked free; check it, then import again")]
    UsedIsFree {
        /// What is there.
        what: &'static str,
        /// The first such block, or cluster, of the filesystem.
        block: u64,
    },
    /// More pieces than we keep in memory.
    #[error("its free space lies in more than 4 million pieces")]
    Scattered,
    /// The disk cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
}

/// The bytes of the disk in the partition `range` that its filesystem does not use: in rising order, not touching, each at
/// least [`FREE_MIN`] long and at multiples of [`FREE_ALIGN`].
pub fn free_space(disk: &dyn ReadDisk, range: Range<u64>) -> Result<Vec<Range<u64>>, KeepWhole> {
    let part = Part::new(disk, range)?;
    let map = match kind::only(&part)? {
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 => ext::free(&part)?,
        Kind::Xfs => xfs::free(&part)?,
        Kind::Ntfs => ntfs::free(&part)?,
        Kind::Vfat => fat::free(&part)?,
        Kind::Swap => swap::free(&part)?,
        Kind::Suspended => return Err(KeepWhole::Unclean(Unclean::Hibernated)),
        _ => return Err(KeepWhole::NotRead),
    };
    map.on_disk(&part)
}

#[cfg(test)]
mod tests;
