//! Import: a disk becomes a golden image in the store. What it is read from is the business of `source`.
//!
//! ```text
//!   disk ─ look at it (table, EFI system partition) ─┐
//!      │                      └ free space is left out│
//!      │                                              ▼
//!      └─ read once ─ zero runs, cuts ─ chunks ═ 2 workers: hash, compress ═ packs in image order ─ manifest, last
//!                     └ content root                                                                 (unsigned)
//! ```
//!
//! Nothing is listed before the manifest is written, and that happens when every chunk is on disk: an import that is
//! stopped leaves whole packs at most, which the next import of the same disk finds and uses.

mod examine;
mod inside;
mod pipeline;
mod sink;

pub use examine::{Examination, examine};
pub use inside::{Finding, Places};
pub use pipeline::{ImportProgress, ImportStats};
pub use sink::{ChunkSink, Counted, TakesFrames};

use std::io;
use std::path::{Path, PathBuf};

use crate::boot::PeError;
use crate::disk::{GptError, ReadDisk, guid_text};
use crate::filesystem::{KeepWhole, Kind, Unclean};
use crate::manifest::codec;
use crate::manifest::header::{AgentVersion, ContentTable, Identity, Partition, PartitionTable, Policy};
use crate::manifest::{NameError, name};
use crate::source::{Source, SourceError};
use crate::{Digest, Header, ImageId, Manifest, ManifestError, SignedManifest, Store, StoreError};

/// What a person says about an image that cannot be read from the disk.
#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    /// Name of the image: what [`name::name`] takes.
    pub name: String,
    /// Version of the image: what [`name::version`] takes.
    pub version: String,
    /// Epoch, counting up with each release.
    pub epoch: u64,
    /// CPU architecture in the words of `uname -m`; empty means `x86_64`.
    pub arch: String,
    /// Hardware class; empty means any.
    pub hardware_class: String,
    /// What changed, for people.
    pub note: String,
    /// The time of the import, milliseconds since 1970 UTC; the core has no clock.
    pub created_unix_ms: u64,
    /// The image that this one succeeds.
    pub previous: Option<ImageId>,
    /// Give the last partition the rest of a larger disk.
    pub grow_last_partition: bool,
    /// Partitions that a restore leaves as the endpoint has them: each a number counted from 1, a name, or a GUID (its own, or
    /// that of its type, which may mean several).
    pub preserve: Vec<String>,
    /// Sector size of the disk that the image was made for; `None` to tell from its partition table.
    pub sector_size: Option<u32>,
    /// Store also what no filesystem uses, byte for byte.
    pub keep_free_space: bool,
}

/// A partition of which every byte is stored.
#[derive(Debug, thiserror::Error)]
#[error("partition {partition} ({filesystem}) is stored whole")]
pub struct KeptWhole {
    /// Number of the partition, counted from 1 as Linux does.
    pub partition: u32,
    /// What it holds.
    pub filesystem: Kind,
    /// Why.
    #[source]
    pub why: KeepWhole,
}

/// What a person should know about an image. None stops the import.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// There is no partition table.
    #[error("the image has no partition table; it boots nowhere")]
    NoPartitionTable,
    /// There is no EFI system partition.
    #[error(
        "the image has no EFI system partition; it does not boot by UEFI, its boot cannot be verified, and no endpoint is recovered with it, since there is no place for the ticket by which the restored system checks in. Add one (FAT, 1 MiB is enough) when building the image"
    )]
    NoEsp,
    /// The EFI system partition cannot be read.
    #[error("the image's EFI system partition cannot be read; its boot cannot be verified")]
    EspUnreadable,
    /// Its file system calls itself FAT32 and is too small for one.
    #[error(
        "the image's EFI system partition is FAT32 with {clusters} clusters, and FAT32 has at least 65,525 (by fewer, readers take it for FAT16): it cannot be read here, so its boot cannot be verified and a restore ends without a way home. Make the partition larger, or format it with `mkfs.fat -F 16`"
    )]
    EspFat32Small {
        /// How many it has.
        clusters: u64,
    },
    /// No agent will check in after a restore.
    #[error(
        "the image has no groundstate check-in service, so a recovery cannot end by itself; run `groundstate-agent install --root DIR --esp DIR` when building it"
    )]
    NoCheckIn,
    /// No loader.
    #[error("the image has no \\EFI\\BOOT\\BOOTX64.EFI; it does not boot by UEFI")]
    NotBootable,
    /// GRUB has no configuration on the EFI system partition.
    #[error("no GRUB configuration on the EFI system partition; what it boots cannot be predicted")]
    NoBootConfiguration,
    /// GRUB's configuration says nothing clear.
    #[error("{path} names no kernel without variables; what it boots cannot be predicted")]
    BootConfigurationUnclear {
        /// The configuration.
        path: String,
    },
    /// GRUB ends the firmware's services itself, and the kernel gets no event log.
    #[error(
        "{path} starts the kernel by `linux`; without Secure Boot Debian's GRUB then hands over no event log, so the boot cannot be verified. Write `linuxefi` and `initrdefi` instead"
    )]
    NoEventLog {
        /// The configuration.
        path: String,
    },
    /// A file that GRUB reads is not on the EFI system partition.
    #[error("{path} is not on the EFI system partition; it cannot be verified at boot")]
    BootFileElsewhere {
        /// The file.
        path: String,
    },
    /// A filesystem was not unmounted.
    #[error(
        "partition {partition} ({filesystem}): {why}. Each endpoint would start from there, and all of it is stored. Shut the system down, mount and unmount it or check it, then import again"
    )]
    NotUnmounted {
        /// Number of the partition, counted from 1.
        partition: u32,
        /// What it holds.
        filesystem: Kind,
        /// How it was left.
        why: Unclean,
    },
    /// Not an EFI program.
    #[error("{path}: {error}")]
    BadProgram {
        /// The file.
        path: String,
        /// Why.
        error: PeError,
    },
    /// Something lies in its files that does not belong there.
    #[error(transparent)]
    Inside(#[from] Finding),
}

/// Why an import fails. The store is as before but for packs that the next import can use.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It may not be called so.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It cannot be opened as a disk.
    #[error("this is no disk to import")]
    Source(#[from] SourceError),
    /// The disk cannot be read.
    #[error("cannot read {path} at byte {offset}", path = path.display())]
    Read {
        /// The raw disk.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody writes to it.
    #[error("{path} was changed while it was read; stop what writes to it, then import again", path = path.display())]
    Changed {
        /// The raw disk.
        path: PathBuf,
    },
    /// Its size is impossible.
    #[error("{path} has {size} bytes; a disk has whole sectors of {sector} bytes and at least 2 MiB. Check that the file is whole and a raw disk image", path = path.display())]
    Size {
        /// The raw disk.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// The sector size assumed.
        sector: u32,
    },
    /// Its partition table is damaged.
    #[error("the partition table of {path} is refused", path = path.display())]
    Table {
        /// The raw disk.
        path: PathBuf,
        /// Why.
        #[source]
        source: GptError,
    },
    /// No partition is meant by what shall be preserved.
    #[error("no partition of {path} is `{wanted}`, so it cannot be preserved; give its number, its name or a GUID. There are: {found}", path = path.display())]
    NothingToPreserve {
        /// The raw disk.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// The partitions.
        found: String,
    },
    /// The store cannot take it.
    #[error("the store cannot take the image")]
    Store(#[from] StoreError),
    /// Who takes the chunks does not.
    #[error("what was read is not taken")]
    NotTaken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No manifest can be made.
    #[error("no manifest can be made of this")]
    Manifest(#[from] ManifestError),
    /// No compressor could be made.
    #[error("cannot compress")]
    Compress(#[source] io::Error),
}

/// An imported image, in the store and not yet signed.
#[derive(Debug)]
pub struct Imported {
    /// Its manifest.
    pub manifest: Manifest,
    /// What a person should know.
    pub warnings: Vec<Warning>,
    /// Of which partitions every byte is stored, and why.
    pub kept: Vec<KeptWhole>,
    /// What the import did.
    pub stats: ImportStats,
}

/// Import a disk. `progress` is called from the reading thread.
pub fn import_disk(
    source: &Source,
    request: &ImportRequest,
    store: &Store,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<Imported, ImportError> {
    // One writer to the end: a collection spares what the import relies on.
    let writer = store.writer()?;
    let imported = read_disk(source.path(), source.disk(), request, &writer, progress)?;
    if let Some(path) = source.changed()? {
        return Err(ImportError::Changed { path: path.to_owned() });
    }
    writer.put_manifest(&SignedManifest::unsigned(&imported.manifest))?;
    Ok(imported)
}

/// Read a disk as an import does; its chunks go to `sink`. The manifest is the caller's to keep, once all chunks are there.
pub fn read_disk(
    path: &Path,
    disk: &dyn ReadDisk,
    request: &ImportRequest,
    sink: &dyn ChunkSink,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<Imported, ImportError> {
    name::name(&request.name)?;
    name::version(&request.version)?;
    let mut examination = examine(path, disk, request)?;
    preserve(path, &mut examination.table, &request.preserve)?;
    let cut = pipeline::run(path, disk, &examination.cuts, &examination.free, sink, progress)?;
    let manifest = Manifest::build(header(request, &examination, cut.root), cut.extents)?;
    let mut warnings = examination.warnings.clone();
    warnings.extend(inside::look(disk, &examination));
    Ok(Imported { manifest, warnings, kept: examination.kept, stats: cut.stats })
}

/// Import a raw disk, whatever its bytes may look like.
pub fn import_raw(
    path: &Path,
    request: &ImportRequest,
    store: &Store,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<Imported, ImportError> {
    import_disk(&Source::raw(path)?, request, store, progress)
}

fn header(request: &ImportRequest, examination: &Examination, root: Digest) -> Header {
    let mut table = examination.table.clone();
    if request.grow_last_partition
        && let Some(last) = table.partitions.iter_mut().max_by_key(|p| p.last_lba)
        && last.policy == Policy::Write
    {
        last.policy = Policy::Grow;
    }
    let arch = if request.arch.is_empty() { "x86_64" } else { &request.arch };
    Header {
        features_optional: 0,
        identity: Identity {
            name: request.name.clone(),
            version: request.version.clone(),
            epoch: request.epoch,
            arch: arch.to_owned(),
            hardware_class: request.hardware_class.clone(),
            created_unix_ms: request.created_unix_ms,
            note: request.note.clone(),
            previous: request.previous,
            agent_min: AgentVersion(0, 1, 0),
        },
        disk: examination.disk.clone(),
        boot: examination.boot.clone(),
        table,
        host_regions: Vec::new(),
        content: ContentTable {
            root,
            chunker: codec::CHUNKER_FASTCDC_2020,
            chunk_len: crate::chunker::CHUNK_LEN,
            codec: codec::CODEC_ZSTD_3,
            pages: Vec::new(),
        },
        measurements: examination.measurements.clone(),
        extra: Vec::new(),
    }
}

/// Mark what a restore shall leave alone.
fn preserve(path: &Path, table: &mut PartitionTable, wanted: &[String]) -> Result<(), ImportError> {
    for wanted in wanted {
        let is_guid = |guid: &[u8; 16]| *guid != [0; 16] && guid_text(guid).eq_ignore_ascii_case(wanted);
        let meant = |p: &Partition| {
            (p.index + 1).to_string() == *wanted
                || (!p.name.is_empty() && p.name == *wanted)
                || is_guid(&p.unique_guid)
                || is_guid(&p.type_guid)
        };
        let mut any = false;
        for partition in table.partitions.iter_mut().filter(|p| meant(p)) {
            partition.policy = Policy::Preserve;
            any = true;
        }
        if !any {
            let (path, wanted) = (path.to_owned(), wanted.clone());
            let words = |p: &Partition| match p.name.is_empty() {
                true => format!("{} ({})", p.index + 1, p.filesystem),
                false => format!("{} `{}` ({})", p.index + 1, p.name, p.filesystem),
            };
            let found = table.partitions.iter().map(words).collect::<Vec<_>>().join(", ");
            let found = if found.is_empty() { "none".to_owned() } else { found };
            return Err(ImportError::NothingToPreserve { path, wanted, found });
        }
    }
    Ok(())
}

/// The size of the disk, checked.
fn check_size(path: &Path, disk: &dyn ReadDisk, sector: u32) -> Result<u64, ImportError> {
    let size = disk.size();
    match size >= 2 << 20 && size.is_multiple_of(u64::from(sector)) {
        true => Ok(size),
        false => Err(ImportError::Size { path: path.to_owned(), size, sector }),
    }
}

#[cfg(test)]
mod tests;
