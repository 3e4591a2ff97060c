//! A disk that is written only while the appliance can be heard.
//!
//! ```text
//! write, zero ─► answered within the last minute? ─ yes ─► the disk
//!                   └─ no ─► wait, ask once a second ─┬─► "go on" ─► the disk
//!                                                     └─► "stop", not known ─► the restore ends
//! ```
//!
//! STOP, a cancel or another order reach an endpoint only in the answer to its reports. Chunks may come from somebody else, so without
//! this a restore that nobody could stop any more would go on to its end. Waiting harms no disk: between two writes it is what a power cut
//! at that moment would have left, it does not boot, and what was written stays and is not fetched again.
//!
//! It must never: hold up a read, or decide what is written.

use std::io;
use std::ops::Range;

use images::restore::{ReadDisk, RestoreTarget};

use super::reporter::Reporter;

/// Most bytes that are made zero between two questions.
const ZERO_MOST: u64 = 256 << 20;

/// The disk of one order.
pub struct Gated<'a> {
    disk: &'a dyn RestoreTarget,
    reporter: &'a Reporter<'a>,
}

impl<'a> Gated<'a> {
    /// `disk`, written only while `reporter` hears the appliance.
    pub fn new(disk: &'a dyn RestoreTarget, reporter: &'a Reporter<'a>) -> Self {
        Self { disk, reporter }
    }
}

impl ReadDisk for Gated<'_> {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(offset, buf)
    }

    fn zeros_at(&self, offset: u64) -> u64 {
        self.disk.zeros_at(offset)
    }
}

impl RestoreTarget for Gated<'_> {
    fn sector_size(&self) -> u32 {
        self.disk.sector_size()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.reporter.leave_to_write()?;
        self.disk.write_at(offset, bytes)
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        let mut start = range.start;
        while start < range.end {
            self.reporter.leave_to_write()?;
            let end = range.end.min(start.saturating_add(ZERO_MOST));
            self.disk.zero(start..end)?;
            start = end;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }

    fn reread_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.disk.reread_at(offset, buf)
    }
}
