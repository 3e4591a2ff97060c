//! Files on an EFI system partition, read and written without mounting it.
//!
//! Reading is ours (`files`), since it reads disks that are not; writing is that of the `fatfs` crate, on an image that was proven.

use std::io::{self, Write};
use std::ops::Range;

use super::{AlignedBuf, PartitionIo, ReadDisk, RestoreTarget};
use crate::files::{FAT32_CLUSTERS_MIN, Fat, FilesError};

/// No file that we read from an EFI system partition is longer than this.
pub const FILE_LEN_MAX: u64 = 512 << 20;

/// Why a file on the EFI system partition cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum EspError {
    /// Not a FAT filesystem that we understand.
    #[error(
        "the EFI system partition has no FAT filesystem that can be read; make it anew when building the image"
    )]
    NotFat(#[source] io::Error),
    /// FAT32 by its form, with fewer clusters than a FAT32 has: readers disagree about what that is.
    #[error(
        "the EFI system partition has a FAT32 of {clusters} clusters, and one with fewer than {FAT32_CLUSTERS_MIN} is read as FAT16 by some; format it with mkfs.fat -F 16, or make it larger"
    )]
    SmallFat32 {
        /// How many it has.
        clusters: u64,
    },
    /// No such file.
    #[error("{path} is not on the EFI system partition")]
    NotFound {
        /// The path.
        path: String,
    },
    /// Reading or writing failed.
    #[error("cannot {action} {path} on the EFI system partition")]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file does not read as it was written.
    #[error("{path} does not read back from the EFI system partition as it was written; replace the disk")]
    ReadBack {
        /// The path.
        path: String,
    },
    /// Longer than any file that belongs there.
    #[error("{path} on the EFI system partition is longer than 512 MiB; it does not belong there")]
    TooLong {
        /// The path.
        path: String,
    },
}

/// An EFI system partition to read from.
pub struct Esp<'a> {
    fat: Fat<'a>,
}

impl<'a> Esp<'a> {
    /// Open the FAT filesystem in these bytes of the disk. It is one that [`put_file`] can write to as well.
    pub fn open(disk: &'a dyn ReadDisk, range: Range<u64>) -> Result<Self, EspError> {
        let not_fat = || EspError::NotFat(io::Error::other("its first sector is not that of FAT"));
        let fat = Fat::open(disk, range.clone()).map_err(|error| EspError::NotFat(plain(error)))?;
        let fat = fat.ok_or_else(not_fat)?;
        if let Some(clusters) = fat.too_small_for_fat32() {
            return Err(EspError::SmallFat32 { clusters });
        }
        // Who writes is another than who reads; what it refuses is said before there is a need to write.
        fatfs::FileSystem::new(PartitionIo::read_only(disk, range), options()).map_err(EspError::NotFat)?;
        Ok(Self { fat })
    }

    /// The bytes of a file; `path` uses `/` or `\`, upper and lower case are the same.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, EspError> {
        let failed = |error| EspError::File { action: "read", path: path.into(), source: plain(error) };
        let file = self.fat.find(&normal(path)).map_err(failed)?;
        let file = file.ok_or_else(|| EspError::NotFound { path: path.into() })?;
        match file.len > FILE_LEN_MAX {
            true => Err(EspError::TooLong { path: path.into() }),
            false => self.fat.read(&file).map_err(failed),
        }
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &str) -> bool {
        self.fat.find(&normal(path)).is_ok_and(|file| file.is_some())
    }
}

/// A disk whose every read is one from the medium.
struct PastCache<'a>(&'a dyn RestoreTarget);

impl ReadDisk for PastCache<'_> {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        // A FAT's clusters may be smaller than the disk's sectors.
        let sector = u64::from(self.0.sector_size());
        let (end, start) = ((offset + buf.len() as u64).next_multiple_of(sector), offset / sector * sector);
        let mut whole = AlignedBuf::new((end - start) as usize);
        self.0.reread_at(start, &mut whole)?;
        buf.copy_from_slice(&whole[(offset - start) as usize..][..buf.len()]);
        Ok(())
    }
}

/// Put a file on the EFI system partition in these bytes of the disk, flush, and read it back from the medium.
/// Directories are made as needed; an older file of that name is replaced.
pub fn put_file(
    disk: &dyn RestoreTarget,
    range: Range<u64>,
    path: &str,
    bytes: &[u8],
) -> Result<(), EspError> {
    let failed = |source| EspError::File { action: "write", path: path.into(), source };
    let mut io = PartitionIo::new(disk, range.clone());
    let fat = fatfs::FileSystem::new(&mut io, options()).map_err(EspError::NotFat)?;
    write(&fat.root_dir(), &normal(path), bytes).map_err(failed)?;
    fat.unmount().map_err(failed)?;
    // The library leaves flushing to us.
    io.flush().and_then(|()| disk.flush()).map_err(failed)?;
    match Esp::open(&PastCache(disk), range)?.read(path)? == bytes {
        true => Ok(()),
        false => Err(EspError::ReadBack { path: path.into() }),
    }
}

fn plain(error: FilesError) -> io::Error {
    match error {
        FilesError::Disk(source) => source,
        other => io::Error::other(other),
    }
}

fn options() -> fatfs::FsOptions {
    fatfs::FsOptions::new().update_accessed_date(false)
}

fn write<T: fatfs::ReadWriteSeek>(root: &fatfs::Dir<'_, T>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut dir = root.clone();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_some() {
            // Makes it, or opens the one that is there.
            dir = dir.create_dir(part)?;
            continue;
        }
        let mut file = dir.create_file(part)?;
        file.truncate()?;
        file.write_all(bytes)?;
        file.flush()?;
    }
    Ok(())
}

fn normal(path: &str) -> String {
    path.replace('\\', "/").trim_matches('/').to_owned()
}
