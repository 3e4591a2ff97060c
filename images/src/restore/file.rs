//! A plain file as a disk: for tests, demonstrations, and for looking into raw images.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek64};

use super::{AlignedBuf, ReadDisk, RestoreTarget};

/// Reads shorter than this are not worth asking for holes.
const ASK_FOR_HOLES_FROM: u64 = 64 << 10;

/// A file that stands for a disk. Reading back goes through the page cache after a sync: a file has no medium of its own.
pub struct FileTarget {
    file: File,
    size: u64,
    sector_size: u32,
}

impl FileTarget {
    /// Open an existing file for reading and writing.
    pub fn open(path: &Path, sector_size: u32) -> io::Result<Self> {
        Self::new(File::options().read(true).write(true).open(path)?, sector_size)
    }

    /// Open an existing file for reading; every write fails.
    pub fn open_read_only(path: &Path, sector_size: u32) -> io::Result<Self> {
        Self::new(File::open(path)?, sector_size)
    }

    /// Make a file of `size` bytes, all zero.
    pub fn create(path: &Path, size: u64, sector_size: u32) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len(size)?;
        Self::new(file, sector_size)
    }

    /// Length and time of the last change: equal before and after means that nobody has written in between.
    pub fn version(&self) -> io::Result<(u64, SystemTime)> {
        let metadata = self.file.metadata()?;
        Ok((metadata.len(), metadata.modified()?))
    }

    /// A file or block device that is open.
    pub fn new(file: File, sector_size: u32) -> io::Result<Self> {
        // The end and not the metadata: those of a block device know no size.
        let size = lseek64(&file, 0, Whence::SeekEnd)? as u64;
        Ok(Self { file, size, sector_size })
    }
}

impl ReadDisk for FileTarget {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let len = buf.len() as u64;
        if len >= ASK_FOR_HOLES_FROM && offset + len <= self.size && self.zeros_at(offset) >= len {
            buf.fill(0);
            return Ok(());
        }
        self.file.read_exact_at(buf, offset)
    }

    /// A hole reads as zeros.
    fn zeros_at(&self, offset: u64) -> u64 {
        match lseek64(&self.file, offset as i64, Whence::SeekData) {
            Ok(data) => (data as u64).saturating_sub(offset),
            Err(Errno::ENXIO) => self.size.saturating_sub(offset),
            Err(_) => 0,
        }
    }
}

impl RestoreTarget for FileTarget {
    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        let zeros = AlignedBuf::new((range.end - range.start).min(1 << 20) as usize);
        let mut offset = range.start;
        while offset < range.end {
            let len = (range.end - offset).min(zeros.len() as u64);
            self.file.write_all_at(&zeros[..len as usize], offset)?;
            offset += len;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn reread_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buf)
    }
}
