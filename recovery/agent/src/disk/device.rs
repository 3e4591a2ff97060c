//! A whole block device as a restore target: opened exclusively, read and written past the page cache.
//!
//! Direct I/O ([`libc::O_DIRECT`]) makes every read come from the disk, so reading back proves something; exclusive
//! opening (`O_EXCL` on a block device) fails while a partition is mounted or something is built upon it.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use images::disk::{AlignedBuf, ReadDisk, RestoreTarget};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;
use recovery_protocol::health::DiskHealth;

use super::health;
use super::port::Port;
use crate::inventory::{self, Disk};

/// Zeros written at once where the device cannot make them itself.
const ZEROS_LEN: usize = 1 << 20;

/// Why a disk cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The kernel says no.
    #[error("{path} cannot be opened: {source}")]
    Open {
        /// Its node.
        path: PathBuf,
        /// The kernel's word; `EBUSY`: something else holds it.
        source: io::Error,
    },
    /// What was opened is not what was chosen: the kernel gave the node to another disk in between.
    #[error("{path} is not the disk that was chosen any more")]
    Changed {
        /// Its node.
        path: PathBuf,
    },
    /// Something else than a block device.
    #[error("{path} is not a block device")]
    NotADisk {
        /// Its node.
        path: PathBuf,
    },
}

/// One whole disk.
#[derive(Debug)]
pub struct BlockDevice {
    file: File,
    size: u64,
    sector_size: u32,
    /// The device refused to make zeros itself; do not ask again.
    writes_zeros: AtomicBool,
}

impl BlockDevice {
    /// Opens `disk` exclusively, and makes sure that what was opened is what was chosen: the open handle holds the device,
    /// so its facts are read once more by its number and not by its name.
    ///
    /// # Errors
    /// When it is held by something else, no disk, or another disk by now.
    pub fn open(disk: &Disk) -> Result<Self, DeviceError> {
        let flags = libc::O_DIRECT | libc::O_EXCL;
        let (file, size) = open(disk, OpenOptions::new().read(true).write(true), flags)?;
        Ok(Self { file, size, sector_size: disk.facts.sector_bytes, writes_zeros: AtomicBool::new(false) })
    }

    /// What takes commands in the disk's own language.
    pub fn port(&self) -> &dyn Port {
        &self.file
    }

    /// What the disk says of its health.
    pub fn health(&self, transport: &str) -> DiskHealth {
        health::read(&self.file, transport)
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let zeros = AlignedBuf::new(ZEROS_LEN);
        for start in range.clone().step_by(ZEROS_LEN) {
            let len = (range.end - start).min(ZEROS_LEN as u64) as usize;
            self.file.write_all_at(&zeros[..len], start)?;
        }
        Ok(())
    }
}

/// Opens it; its size.
fn open(disk: &Disk, options: &mut OpenOptions, flags: i32) -> Result<(File, u64), DeviceError> {
    let path = &disk.node;
    let failed = |source| DeviceError::Open { path: path.clone(), source };
    let mut file = options.custom_flags(flags | libc::O_CLOEXEC).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.file_type().is_block_device() {
        return Err(DeviceError::NotADisk { path: path.clone() });
    }
    let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let opened = inventory::disk_by_number(metadata.rdev());
    if opened.is_none_or(|opened| opened.facts != disk.facts) || size != disk.facts.size_bytes {
        return Err(DeviceError::Changed { path: path.clone() });
    }
    Ok((file, size))
}

/// One whole disk that is only read, through the page cache: what filesystems say of their free space lies in small pieces.
#[derive(Debug)]
pub struct DiskToRead {
    file: File,
    size: u64,
}

impl DiskToRead {
    /// Opens `disk` exclusively, without leave to write.
    ///
    /// # Errors
    /// As [`BlockDevice::open`].
    pub fn open(disk: &Disk) -> Result<Self, DeviceError> {
        let (file, size) = open(disk, OpenOptions::new().read(true), libc::O_EXCL)?;
        Ok(Self { file, size })
    }

    /// Opens `disk` beside whoever holds it, without leave to write. A reader that hangs holds nobody up.
    ///
    /// # Errors
    /// When it is no disk, or another disk by now.
    pub fn open_shared(disk: &Disk) -> Result<Self, DeviceError> {
        let (file, size) = open(disk, OpenOptions::new().read(true), 0)?;
        Ok(Self { file, size })
    }

    /// The open disk, for another process to read.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl ReadDisk for DiskToRead {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

impl ReadDisk for BlockDevice {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

impl RestoreTarget for BlockDevice {
    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Punching a hole into a block device is a zero-out without fallback (kernel `block/fops.c`): the device makes the
    /// zeros, or it fails and we write them. A discard alone promises nothing.
    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        let too_far = || io::Error::from(io::ErrorKind::InvalidInput);
        if !self.writes_zeros.load(Ordering::Relaxed) {
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let start = i64::try_from(range.start).map_err(|_| too_far())?;
            let len = i64::try_from(range.end - range.start).map_err(|_| too_far())?;
            if fallocate(&self.file, flags, start, len).is_ok() {
                return Ok(());
            }
            self.writes_zeros.store(true, Ordering::Relaxed);
        }
        self.write_zeros(range)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn reread_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_not_a_disk() {
        let dir = tempfile::tempdir().unwrap();
        let node = dir.path().join("disk.raw");
        std::fs::write(&node, [0; 4096]).unwrap();
        for node in [node, "/dev/null".into(), dir.path().join("missing")] {
            let error = DiskToRead::open(&Disk::of_node(node.clone())).unwrap_err();
            assert!(matches!(error, DeviceError::NotADisk { .. } | DeviceError::Open { .. }), "{error}");
            let error = BlockDevice::open(&Disk::of_node(node)).unwrap_err();
            assert!(matches!(error, DeviceError::NotADisk { .. } | DeviceError::Open { .. }), "{error}");
        }
    }
}
