//! What reads as a disk, and what can be restored onto: the seams between this package and real disks.

use std::io;
use std::ops::Range;

/// What reads as a disk: a raw file, the file of a virtual disk, an image in the store, an endpoint's disk.
///
/// Methods may be called from several threads at once.
pub trait ReadDisk: Sync {
    /// Size of the disk in bytes.
    fn size(&self) -> u64;
    /// Fill `buf` from `offset`.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// How many bytes from `offset` on are known to read as zeros without being looked at; 0 if nothing is known. It only
    /// saves reading: what is zero and what is not, reading says.
    fn zeros_at(&self, offset: u64) -> u64 {
        let _ = offset;
        0
    }
}

/// A disk to restore onto. The implementation is for one whole disk, opened exclusively.
///
/// Every offset and length that we pass, to [`ReadDisk::read_at`] too, is a multiple of [`RestoreTarget::sector_size`];
/// buffers of 512 bytes and more that we pass start at a multiple of the sector size in memory, as direct I/O wants.
/// Several threads never work on ranges that overlap.
pub trait RestoreTarget: ReadDisk {
    /// Logical sector size in bytes, 512 or 4096.
    fn sector_size(&self) -> u32;
    /// Write all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Make the range read as zeros, by punching or writing; a plain discard is not enough.
    fn zero(&self, range: Range<u64>) -> io::Result<()>;
    /// Return when all that was written will survive a power cut.
    fn flush(&self) -> io::Result<()>;
    /// As [`ReadDisk::read_at`], from the medium and not from any cache of this computer.
    fn reread_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}
