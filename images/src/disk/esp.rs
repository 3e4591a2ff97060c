//! Files on an EFI system partition, read and written without mounting it.

use std::io::{self, Read, Write};
use std::ops::Range;

use super::{PartitionIo, ReadDisk, RestoreTarget};

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
    fat: fatfs::FileSystem<PartitionIo<'a>>,
}

impl<'a> Esp<'a> {
    /// Open the FAT filesystem in these bytes of the disk.
    pub fn open(disk: &'a dyn ReadDisk, range: Range<u64>) -> Result<Self, EspError> {
        Self::on(PartitionIo::read_only(disk, range))
    }

    fn on(io: PartitionIo<'a>) -> Result<Self, EspError> {
        Ok(Self { fat: fatfs::FileSystem::new(io, options()).map_err(EspError::NotFat)? })
    }

    /// The bytes of a file; `path` uses `/` or `\`, upper and lower case are the same.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, EspError> {
        let plain = normal(path);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => EspError::NotFound { path: path.into() },
            _ => EspError::File { action: "read", path: path.into(), source },
        };
        let file = self.fat.root_dir().open_file(&plain).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        match bytes.len() as u64 > FILE_LEN_MAX {
            true => Err(EspError::TooLong { path: path.into() }),
            false => Ok(bytes),
        }
    }

    /// Whether there is such a file.
    pub fn has(&self, path: &str) -> bool {
        self.fat.root_dir().open_file(&normal(path)).is_ok()
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
    match Esp::on(PartitionIo::past_cache(disk, range))?.read(path)? == bytes {
        true => Ok(()),
        false => Err(EspError::ReadBack { path: path.into() }),
    }
}

/// Fewest clusters of FAT32: the number of clusters, not a label, tells the kinds of FAT apart (Microsoft, "FAT: General
/// Overview of On-Disk Format" 1.03, page 14). mkfs.fat makes smaller ones when told to, and firmware reads them.
const FAT32_CLUSTERS_MIN: u32 = 65_525;

/// How many clusters a FAT32 has by its first sector, if they are too few for one.
pub fn small_fat32(first: &[u8; 512]) -> Option<u32> {
    let u16_at = |at: usize| u32::from(u16::from_le_bytes([first[at], first[at + 1]]));
    let u32_at = |at: usize| u32::from_le_bytes([first[at], first[at + 1], first[at + 2], first[at + 3]]);
    let is_fat32 = first[510..] == [0x55, 0xaa] && u16_at(22) == 0 && u16_at(17) == 0;
    let (in_cluster, reserved, tables) = (u32::from(first[13]), u16_at(14), u32::from(first[16]));
    let data = u32_at(32).checked_sub(reserved.checked_add(tables.checked_mul(u32_at(36))?)?)?;
    let clusters = data.checked_div(in_cluster)?;
    (is_fat32 && clusters < FAT32_CLUSTERS_MIN).then_some(clusters)
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
