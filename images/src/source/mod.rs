//! Sources: what an image can be imported from. A path is opened, what it is is found by its content, and it reads as a disk.
//!
//! ```text
//!   path ─► opened ─► format: by content ─┬─ packed: zstd, gzip, xz ─► unpacked beside the store ─► format again
//!            │        (name and caller    ├─ raw disk, CD image, block device
//!            │         must agree)        └─ qcow2, VHD, VHDX, VMDK: a map to bytes of the file, or of those it lies on
//!            └─ every file of a chain is asked after the import whether it was changed
//! ```
//!
//! All these bytes are somebody else's. Nothing is guessed for a file that another names: a raw backing file that a guest has
//! written to could pretend to be a qcow2 that names any file of this computer (CVE-2024-44082). No length is believed before
//! it is compared with the file, tables are read by the page, and no program is started.

mod error;
mod fields;
mod format;
mod iso;
mod mapped;
mod opened;
mod qcow2;
mod unpack;
mod vhd;
mod vhdx;
mod vmdk;

pub use error::{Refusal, SourceError};
pub use format::{Format, Packing, UnknownFormat};

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::disk::ReadDisk;
use crate::import::ImportProgress;
use format::{Content, Named, detect};
use mapped::Layer;
use opened::Opened;

/// The largest virtual disk that is read.
pub const DISK_LEN_MAX: u64 = 64 << 40;
/// Files that one disk may consist of. Each is kept open.
const FILES_MAX: usize = 64;

/// How to open a source.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The format that it must have; [`Format::Raw`] takes any bytes as they are. `None`: what the content says, when the
    /// name does not contradict it.
    pub format: Option<Format>,
    /// Where what is compressed is unpacked, into files without a name.
    pub temp: &'a Path,
    /// More plain bytes are refused; `None`: more than the file system of `temp` has.
    pub unpacked_max: Option<u64>,
}

/// What a person should know of a source. None stops the import.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// There are snapshots in a qcow2.
    #[error("{0} snapshots inside the file are left out; imported is the disk as it is now")]
    Snapshots(u32),
    /// It lies on others.
    #[error("the disk consists of {0} files")]
    Files(usize),
    /// How a CD image boots.
    #[error("{}", iso_text(*hybrid, *optical))]
    Iso {
        /// It has a partition table.
        hybrid: bool,
        /// It has El Torito's boot record.
        optical: bool,
    },
}

fn iso_text(hybrid: bool, optical: bool) -> &'static str {
    match (hybrid, optical) {
        (true, true) => "a hybrid CD image: it boots from a disk too",
        (true, false) => "a CD image with a partition table",
        (false, true) => {
            "a CD image that is not hybrid: it boots from a CD, and not from a disk. Install it onto a disk, and import that"
        }
        (false, false) => "a CD image that does not boot",
    }
}

/// A disk that can be imported.
pub struct Source {
    /// What its content is.
    pub format: Format,
    /// How it was compressed.
    pub packing: Option<Packing>,
    /// What a person should know.
    pub notes: Vec<Note>,
    disk: Box<dyn Layer>,
    /// All that was opened; the first is what was named.
    files: Vec<Arc<Opened>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("path", &self.path())
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// The files that were opened for one disk, and what is to be said of them.
#[derive(Default)]
struct Chain {
    files: Vec<Arc<Opened>>,
    notes: Vec<Note>,
}

impl Chain {
    /// Add a file that `by` calls `name`.
    fn push(&mut self, by: &Opened, file: Arc<Opened>, name: &str) -> Result<(), SourceError> {
        if self.files.len() >= FILES_MAX {
            return Err(by.refused(Refusal::TooMany { limit: FILES_MAX }));
        }
        if self.files.iter().any(|known| known.is_same(&file)) {
            return Err(by.refused(Refusal::Twice { name: name.to_owned() }));
        }
        self.files.push(file);
        Ok(())
    }
}

impl Source {
    /// Open the disk in `path`. `progress` is called while something is unpacked.
    pub fn open(
        path: &Path,
        wanted: &Wanted<'_>,
        progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<Self, SourceError> {
        let file = Opened::open(path, Format::Raw)?;
        let named = Named::of(path);
        let content = content(&file)?;
        let packing = match content {
            // With `--format raw` only a name can say that the disk is what is packed.
            Content::Packed(packing) if wanted.format != Some(Format::Raw) || named.packing.is_some() => {
                Some(packing)
            }
            _ => None,
        };
        if let Some(says) = named.packing
            && packing != Some(says)
        {
            return Err(name_error(path, format!("{says} file"), content));
        }
        let mut chain = Chain::default();
        let (mut file, content) = match packing {
            None => (file, content),
            Some(packing) => {
                let plain = unpack::unpack(&file, packing, wanted.temp, wanted.unpacked_max, progress)?;
                let temp_error = |source| SourceError::Temp { temp: wanted.temp.to_owned(), source };
                let plain = Opened::unnamed(plain, path).map_err(temp_error)?;
                chain.files.push(Arc::new(file));
                let content = self::content(&plain)?;
                (plain, content)
            }
        };
        let format = settle(path, named.format, wanted.format, content)?;
        file.format = format;
        Self::assemble(file, packing, chain)
    }

    /// Open a raw disk, whatever its bytes may look like.
    pub fn raw(path: &Path) -> Result<Self, SourceError> {
        Self::assemble(Opened::open(path, Format::Raw)?, None, Chain::default())
    }

    fn assemble(file: Opened, packing: Option<Packing>, mut chain: Chain) -> Result<Self, SourceError> {
        let format = file.format;
        let file = Arc::new(file);
        let before = chain.files.len();
        chain.files.push(Arc::clone(&file));
        let disk = open_layer(file, format, &mut chain)?;
        match chain.files.len() - before {
            1 => {}
            files => chain.notes.push(Note::Files(files)),
        }
        Ok(Self { format, packing, notes: chain.notes, disk, files: chain.files })
    }

    /// The disk.
    #[must_use]
    pub fn disk(&self) -> &dyn ReadDisk {
        self.disk.as_ref()
    }

    /// What was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.first().map_or(Path::new(""), |file| &file.path)
    }

    /// A file of the disk that somebody has written to since it was opened.
    pub fn changed(&self) -> Result<Option<&Path>, SourceError> {
        for file in &self.files {
            let read = file.is_changed();
            if read.map_err(|source| SourceError::Open { path: file.path.clone(), source })? {
                return Ok(Some(&file.path));
            }
        }
        Ok(None)
    }
}

/// A file of this format as a disk.
fn open_layer(file: Arc<Opened>, format: Format, chain: &mut Chain) -> Result<Box<dyn Layer>, SourceError> {
    Ok(match format {
        Format::Raw => Box::new(file),
        Format::Iso => {
            let note = iso::look(&file);
            let read_error = |source| SourceError::Read { path: file.path.clone(), offset: 0, source };
            chain.notes.push(note.map_err(read_error)?);
            Box::new(file)
        }
        Format::Qcow2 => Box::new(qcow2::open(file, chain)?),
        Format::Vhd => vhd::open(file)?,
        Format::Vhdx => Box::new(vhdx::open(file)?),
        Format::Vmdk => vmdk::open(file, chain)?,
    })
}

fn content(file: &Opened) -> Result<Content, SourceError> {
    detect(&file.file).map_err(|source| SourceError::Read { path: file.path.clone(), offset: 0, source })
}

/// The format that content, name and caller agree on.
fn settle(
    path: &Path,
    named: Option<Format>,
    wanted: Option<Format>,
    content: Content,
) -> Result<Format, SourceError> {
    match (content, wanted) {
        (_, Some(Format::Raw)) => Ok(Format::Raw),
        (Content::Packed(_), _) => Err(SourceError::PackedTwice { path: path.to_owned() }),
        (Content::Foreign(what, now), _) => Err(SourceError::Foreign { path: path.to_owned(), what, now }),
        (Content::Disk(is), Some(wanted)) if is != wanted => {
            Err(SourceError::NotThat { path: path.to_owned(), wanted, is })
        }
        (Content::Disk(is), Some(_)) => Ok(is),
        (Content::Disk(is), None) => match named {
            Some(says) if says != is && (says, is) != (Format::Raw, Format::Iso) => {
                Err(name_error(path, says.to_string(), content))
            }
            _ => Ok(is),
        },
    }
}

fn name_error(path: &Path, says: String, content: Content) -> SourceError {
    let is = match content {
        Content::Disk(format) => format.to_string(),
        Content::Packed(packing) => format!("{packing} file"),
        Content::Foreign(what, _) => what.to_owned(),
    };
    SourceError::Name { path: path.to_owned(), says, is }
}

#[cfg(test)]
mod tests;
