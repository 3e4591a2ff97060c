//! The seam between what is said to a disk and the disk: commands go in as their specifications have them, answers come out.
//!
//! Behind it stands a block device, or in tests a drive that reads the same commands by itself, and fails.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use nix::sys::stat::{major, minor};

use super::ioctl::{self, NvmeAdmin, ScsiAnswer};

/// A disk that takes commands.
pub trait Port: Sync {
    /// The number of its NVMe namespace.
    ///
    /// # Errors
    /// The kernel's.
    fn nvme_namespace(&self) -> io::Result<u32>;
    /// An NVMe admin command; its answer goes into `answer`, which may be empty.
    ///
    /// # Errors
    /// The kernel's, or the status with which the disk refused it.
    fn nvme_admin(&self, command: NvmeAdmin, answer: &mut [u8], limit: Duration) -> io::Result<()>;
    /// A SCSI command of 16 bytes.
    ///
    /// # Errors
    /// The kernel's, or that the command did not reach the disk.
    fn scsi(&self, command: [u8; 16], answer: &mut [u8], limit: Duration) -> io::Result<ScsiAnswer>;
    /// Whether it takes discards.
    fn discards(&self) -> bool;
    /// Tells it that these bytes are free.
    ///
    /// # Errors
    /// The kernel's.
    fn discard(&self, range: Range<u64>) -> io::Result<()>;
}

impl Port for File {
    fn nvme_namespace(&self) -> io::Result<u32> {
        ioctl::nvme_namespace(self)
    }

    fn nvme_admin(&self, command: NvmeAdmin, answer: &mut [u8], limit: Duration) -> io::Result<()> {
        ioctl::nvme_admin(self, command, answer, limit)
    }

    fn scsi(&self, command: [u8; 16], answer: &mut [u8], limit: Duration) -> io::Result<ScsiAnswer> {
        ioctl::scsi(self, command, answer, limit)
    }

    fn discards(&self) -> bool {
        let Ok(number) = self.metadata().map(|metadata| metadata.rdev()) else { return false };
        let most = format!("/sys/dev/block/{}:{}/queue/discard_max_bytes", major(number), minor(number));
        fs::read_to_string(most).is_ok_and(|most| most.trim().parse::<u64>().is_ok_and(|most| most > 0))
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        ioctl::discard(self, range)
    }
}
