//! A disk in memory that fails on purpose: for the tests of whoever restores.
//!
//! It has a volatile write cache. A power cut keeps, of what was written since the last flush, an arbitrary part,
//! sector by sector, as real disks do.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ReadDisk, RestoreTarget};

/// What shall go wrong.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The power fails at this write, zeroing or flush, counted from 0: it and all later operations fail.
    pub power_cut_at: Option<u64>,
    /// The first so many rereads that touch this byte show it flipped.
    pub lie_at: Option<(u64, u32)>,
    /// Writes that touch this byte fail.
    pub bad_sector: Option<u64>,
    /// Writes to this range are lost without an error, so many times.
    pub lose_writes: Option<(Range<u64>, u32)>,
}

/// What was done to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Writes, zeroings and flushes.
    pub operations: u64,
    /// Bytes written or zeroed.
    pub written: u64,
    /// Bytes read.
    pub read: u64,
}

struct State {
    /// What reads see.
    now: Vec<u8>,
    /// What a power cut leaves for certain.
    safe: Vec<u8>,
    /// Ranges written since the last flush.
    unsafe_ranges: Vec<Range<usize>>,
    faults: Faults,
    counts: Counts,
}

/// A disk in memory.
pub struct MemDisk {
    state: Mutex<State>,
    size: u64,
    sector_size: u32,
}

impl MemDisk {
    /// A disk with these bytes.
    pub fn new(bytes: Vec<u8>, sector_size: u32) -> Self {
        Self::with_faults(bytes, sector_size, Faults::default())
    }

    /// A disk with these bytes that fails.
    pub fn with_faults(bytes: Vec<u8>, sector_size: u32, faults: Faults) -> Self {
        let size = bytes.len() as u64;
        let state = State {
            safe: bytes.clone(),
            now: bytes,
            unsafe_ranges: Vec::new(),
            faults,
            counts: Counts::default(),
        };
        Self { state: Mutex::new(state), size, sector_size }
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// The bytes as reads see them.
    pub fn into_bytes(self) -> Vec<u8> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).now
    }

    /// The bytes after a power cut. `keep` decides, sector by sector, what of the unflushed writes has arrived.
    pub fn after_power_cut(self, mut keep: impl FnMut() -> bool) -> Vec<u8> {
        let State { now, mut safe, unsafe_ranges, .. } =
            self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        for range in unsafe_ranges {
            for start in range.clone().step_by(self.sector_size as usize) {
                let sector = start..(start + self.sector_size as usize).min(range.end);
                if keep() {
                    safe[sector.clone()].copy_from_slice(&now[sector]);
                }
            }
        }
        safe
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, offset: u64, len: u64) -> io::Result<Range<usize>> {
        let sector = u64::from(self.sector_size);
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.size);
        match inside && offset.is_multiple_of(sector) && len.is_multiple_of(sector) {
            true => Ok(offset as usize..(offset + len) as usize),
            false => {
                Err(io::Error::other(format!("{len} bytes at {offset} are no whole sectors of this disk")))
            }
        }
    }

    fn change(&self, range: Range<usize>, change: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let mut state = self.state();
        state.tick()?;
        let touches = |byte: u64| range.contains(&(byte as usize));
        if state.faults.bad_sector.is_some_and(touches) {
            return Err(io::Error::other("bad sector"));
        }
        state.counts.written += range.len() as u64;
        if let Some((lost, times)) = &mut state.faults.lose_writes
            && *times > 0
            && lost.start < range.end as u64
            && (range.start as u64) < lost.end
        {
            *times -= 1;
            return Ok(());
        }
        change(&mut state.now[range.clone()]);
        state.unsafe_ranges.push(range);
        Ok(())
    }
}

impl State {
    fn tick(&mut self) -> io::Result<()> {
        if self.faults.power_cut_at.is_some_and(|at| self.counts.operations >= at) {
            return Err(io::Error::other("power cut"));
        }
        self.counts.operations += 1;
        Ok(())
    }
}

impl ReadDisk for MemDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let range = self.check(offset, buf.len() as u64)?;
        let mut state = self.state();
        state.counts.read += buf.len() as u64;
        buf.copy_from_slice(&state.now[range]);
        Ok(())
    }
}

impl RestoreTarget for MemDisk {
    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = self.check(offset, bytes.len() as u64)?;
        if !bytes.as_ptr().addr().is_multiple_of(self.sector_size as usize) {
            return Err(io::Error::other("the buffer is not aligned for direct I/O"));
        }
        self.change(range, |held| held.copy_from_slice(bytes))
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        let range = self.check(range.start, range.end - range.start)?;
        self.change(range, |held| held.fill(0))
    }

    fn flush(&self) -> io::Result<()> {
        let mut state = self.state();
        state.tick()?;
        for range in std::mem::take(&mut state.unsafe_ranges) {
            let State { now, safe, .. } = &mut *state;
            safe[range.clone()].copy_from_slice(&now[range]);
        }
        Ok(())
    }

    fn reread_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buf)?;
        let mut state = self.state();
        if let Some((byte, times)) = &mut state.faults.lie_at
            && *times > 0
            && (offset..offset + buf.len() as u64).contains(byte)
        {
            *times -= 1;
            buf[(*byte - offset) as usize] ^= 0xff;
        }
        Ok(())
    }
}
