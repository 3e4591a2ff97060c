//! The files that lie in a partition: listed and read without mounting it.
//!
//! ```text
//!   ReadDisk, range ─ open ─► Files ─┬─ list ─► Listing: entries in order of their paths, and what could not be read
//!                      ext2/3/4, FAT └─ read, runs ─► a file's bytes, and where they lie on the disk
//! ```
//!
//! The disk is not ours. Nothing here follows a symbolic link, repairs or guesses; directories that run in circles, huge counts
//! and lengths end in a named error after bounded work ([`ENTRIES_MAX`], [`DEPTH_MAX`], [`PATHS_LEN_MAX`], and a budget of bytes
//! read for lists of names and blocks). A file or directory that cannot be read is reported and takes no other with it.

mod ext;
mod fat;

pub(crate) use fat::{FAT32_CLUSTERS_MIN, Fat};

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::disk::ReadDisk;

/// Most files and directories in one listing.
pub const ENTRIES_MAX: usize = 2 << 20;
/// Most directories on the way to a file.
pub const DEPTH_MAX: usize = 256;
/// Most bytes in the paths of one listing.
pub const PATHS_LEN_MAX: usize = 512 << 20;

/// Why files cannot be listed or read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The disk cannot be read.
    #[error("the disk cannot be read")]
    Disk(#[source] io::Error),
    /// A value that cannot be.
    #[error("the filesystem's {what} is damaged; check it with fsck when building the image")]
    Damaged {
        /// Which.
        what: &'static str,
    },
    /// A feature that is not read.
    #[error("the filesystem has {what}, which is not read here; build the image without it")]
    Unsupported {
        /// Which.
        what: &'static str,
    },
    /// It was not unmounted.
    #[error(
        "the filesystem was not unmounted: its journal holds changes that are not in their places; shut the system down before taking its image"
    )]
    Journal,
    /// A directory is below itself, or has two names.
    #[error(
        "the directory is reached by more than one path; check the filesystem with fsck when building the image"
    )]
    Circle,
    /// Too many files, too deep, or too much to read for them.
    #[error(
        "the filesystem has {what} than any that was made by files; check it with fsck when building the image"
    )]
    Endless {
        /// What there is too much of.
        what: &'static str,
    },
    /// Longer than the caller wants.
    #[error("the file has {len} bytes, and at most {max} are read")]
    TooLong {
        /// Its length.
        len: u64,
        /// The limit.
        max: u64,
    },
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this path; never followed.
    Symlink(PathBuf),
    /// A device, pipe or socket, by the type bits of its mode.
    Other(u16),
}

/// Whose a file is, where the filesystem knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Permission bits with set-user-id, set-group-id and sticky: `0o7777` at most.
    pub mode: u16,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// A file, directory, link or other thing with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Absolute path in its filesystem.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Length in bytes.
    pub len: u64,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// Number of its inode, or of its first cluster.
    inode: u32,
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// First byte in the file.
    pub at: u64,
    /// Length in bytes.
    pub len: u64,
    /// First byte on the disk.
    pub disk: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Listing {
    /// In order of their paths.
    pub entries: Vec<Entry>,
    /// What could not be read, and why.
    pub unread: Vec<(PathBuf, FilesError)>,
    paths_len: usize,
}

impl Listing {
    fn add(&mut self, entry: Entry) -> Result<(), FilesError> {
        self.paths_len += entry.path.as_os_str().len() + 1;
        if self.entries.len() >= ENTRIES_MAX || self.paths_len > PATHS_LEN_MAX {
            return Err(FilesError::Endless { what: "more files" });
        }
        self.entries.push(entry);
        Ok(())
    }

    fn add_unread(&mut self, path: PathBuf, why: FilesError) -> Result<(), FilesError> {
        self.paths_len += path.as_os_str().len() + 1;
        match self.paths_len > PATHS_LEN_MAX {
            true => Err(FilesError::Endless { what: "more files" }),
            false => {
                self.unread.push((path, why));
                Ok(())
            }
        }
    }
}

/// Decides for each directory whether to look into it.
pub type Enter<'e> = dyn FnMut(&Path) -> bool + 'e;

/// The files of one partition.
pub struct Files<'d>(Inner<'d>);

enum Inner<'d> {
    Ext(ext::Ext<'d>),
    Fat(Fat<'d>),
}

impl<'d> Files<'d> {
    /// Open the filesystem in these bytes of the disk; `None` when it is none that is read here.
    pub fn open(disk: &'d dyn ReadDisk, range: Range<u64>) -> Result<Option<Self>, FilesError> {
        if range.start > range.end || range.end > disk.size() {
            return Err(FilesError::Damaged { what: "partition" });
        }
        if let Some(ext) = ext::Ext::open(disk, range.clone())? {
            return Ok(Some(Self(Inner::Ext(ext))));
        }
        Ok(Fat::open(disk, range)?.map(|fat| Self(Inner::Fat(fat))))
    }

    /// The same, also when it was not unmounted: what its journal holds is not in what is read then. `true`: so it is.
    pub fn open_as_it_lies(
        disk: &'d dyn ReadDisk,
        range: Range<u64>,
    ) -> Result<Option<(Self, bool)>, FilesError> {
        if range.start > range.end || range.end > disk.size() {
            return Err(FilesError::Damaged { what: "partition" });
        }
        if let Some((ext, unclean)) = ext::Ext::open_as_it_lies(disk, range.clone())? {
            return Ok(Some((Self(Inner::Ext(ext)), unclean)));
        }
        Ok(Fat::open(disk, range)?.map(|fat| (Self(Inner::Fat(fat)), false)))
    }

    /// List all files. `enter` says of each directory whether to look into it.
    pub fn list(&self, enter: &mut Enter<'_>) -> Result<Listing, FilesError> {
        let mut listing = Listing::default();
        match &self.0 {
            Inner::Ext(ext) => ext.list(enter, &mut listing)?,
            Inner::Fat(fat) => fat.list(enter, &mut listing)?,
        }
        listing.entries.sort_unstable_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
        Ok(listing)
    }

    /// The bytes of a plain file, if there are at most `len_max`.
    pub fn read(&self, entry: &Entry, len_max: u64) -> Result<Vec<u8>, FilesError> {
        if entry.len > len_max {
            return Err(FilesError::TooLong { len: entry.len, max: len_max });
        }
        match &self.0 {
            Inner::Ext(ext) => ext.read(entry),
            Inner::Fat(fat) => fat.read(entry),
        }
    }

    /// Where a plain file lies, in rising order; what is missing is zeros.
    pub fn runs(&self, entry: &Entry) -> Result<Vec<Run>, FilesError> {
        match &self.0 {
            Inner::Ext(ext) => ext.runs(entry),
            Inner::Fat(fat) => fat.runs(entry),
        }
    }
}

/// The bytes of a file that lies in these runs, read in whole blocks, as disks want to be read. The caller has bounded `len`.
fn read_runs(disk: &dyn ReadDisk, runs: &[Run], len: u64, block: u64) -> Result<Vec<u8>, FilesError> {
    let what = "length of a file";
    let padded = len.checked_next_multiple_of(block).and_then(|padded| usize::try_from(padded).ok());
    let mut bytes = vec![0; padded.ok_or(damaged(what))?];
    for run in runs {
        let end = (run.at + run.len).next_multiple_of(block);
        let part = bytes.get_mut(run.at as usize..end as usize).ok_or(damaged(what))?;
        disk.read_at(run.disk, part).map_err(FilesError::Disk)?;
    }
    bytes.truncate(len as usize);
    Ok(bytes)
}

fn damaged(what: &'static str) -> FilesError {
    FilesError::Damaged { what }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], FilesError> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().ok_or(damaged("metadata"))
}

/// Numbers are `u64`, so that sums of them do not overflow by accident.
fn le16(bytes: &[u8], at: usize) -> Result<u64, FilesError> {
    array(bytes, at).map(|b| u64::from(u16::from_le_bytes(b)))
}

fn le32(bytes: &[u8], at: usize) -> Result<u64, FilesError> {
    array(bytes, at).map(|b| u64::from(u32::from_le_bytes(b)))
}

/// A path for people: what is no text or would move a cursor is shown as `\xNN`.
pub struct Shown<'p>(pub &'p Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.as_os_str().as_bytes().utf8_chunks() {
            for char in part.valid().chars() {
                match char.is_control() {
                    true => write!(f, "\\x{:02x}", u32::from(char))?,
                    false => write!(f, "{char}")?,
                }
            }
            part.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
