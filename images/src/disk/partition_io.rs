//! A partition as something to read, write and seek in, so that a FAT library can work on it without mounting.
//!
//! Keeps the blocks it has touched in memory (at most 16 MiB) and writes them in whole sectors on [`Write::flush`].
//! Reading ends in an error after a multiple of the partition's size, so that a directory that runs in circles does not
//! hang who reads it.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use super::{AlignedBuf, ReadDisk, RestoreTarget};

const BLOCK: u64 = 4096;
const BLOCKS_MAX: usize = 4096;

/// A range of a disk.
pub struct PartitionIo<'a> {
    disk: &'a dyn ReadDisk,
    /// The same disk, where it can be written.
    target: Option<&'a dyn RestoreTarget>,
    range: Range<u64>,
    position: u64,
    blocks: BTreeMap<u64, (Box<AlignedBuf>, bool)>,
    budget: u64,
}

impl<'a> PartitionIo<'a> {
    /// The bytes `range` of `disk`; both ends are multiples of the sector size.
    pub fn new(target: &'a dyn RestoreTarget, range: Range<u64>) -> Self {
        Self { target: Some(target), ..Self::read_only(target, range) }
    }

    /// The same, on a disk that cannot be written.
    pub fn read_only(disk: &'a dyn ReadDisk, range: Range<u64>) -> Self {
        let budget = (range.end - range.start) * 16 + (64 << 20);
        Self { disk, target: None, range, position: 0, blocks: BTreeMap::new(), budget }
    }

    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn block(&mut self, number: u64) -> io::Result<&mut (Box<AlignedBuf>, bool)> {
        if self.blocks.len() >= BLOCKS_MAX && !self.blocks.contains_key(&number) {
            self.write_dirty()?;
            self.blocks.clear();
        }
        if !self.blocks.contains_key(&number) {
            let start = number * BLOCK;
            let mut block = AlignedBuf::new((self.len() - start).min(BLOCK) as usize);
            self.disk.read_at(self.range.start + start, &mut block)?;
            self.blocks.insert(number, (Box::new(block), false));
        }
        self.blocks.get_mut(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write_dirty(&mut self) -> io::Result<()> {
        for (number, (block, dirty)) in self.blocks.iter_mut().filter(|(_, (_, dirty))| *dirty) {
            let target = self.target.ok_or(io::ErrorKind::ReadOnlyFilesystem)?;
            target.write_at(self.range.start + number * BLOCK, block)?;
            *dirty = false;
        }
        Ok(())
    }
}

impl Read for PartitionIo<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let position = self.position;
        if position >= self.len() || buf.is_empty() {
            return Ok(0);
        }
        self.budget =
            self.budget.checked_sub(1).ok_or_else(|| io::Error::other("the filesystem runs in circles"))?;
        let (block, _) = self.block(position / BLOCK)?;
        let at = (position % BLOCK) as usize;
        let len = buf.len().min(block.len() - at);
        buf[..len].copy_from_slice(&block[at..at + len]);
        self.position += len as u64;
        self.budget = self.budget.saturating_sub(len as u64);
        Ok(len)
    }
}

impl Write for PartitionIo<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let position = self.position;
        if position >= self.len() || bytes.is_empty() {
            return Ok(0);
        }
        let (block, dirty) = self.block(position / BLOCK)?;
        let at = (position % BLOCK) as usize;
        let len = bytes.len().min(block.len() - at);
        block[at..at + len].copy_from_slice(&bytes[..len]);
        *dirty = true;
        self.position += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_dirty()
    }
}

impl Seek for PartitionIo<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.len().checked_add_signed(by),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
