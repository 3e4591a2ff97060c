//! The bytes of a partition, read in whole blocks of the disk, and numbers in them.
//!
//! Nothing outside the partition is ever read, and no number leads outside of what was read.

use std::ops::Range;

use super::KeepWhole;
use crate::disk::ReadDisk;

/// Every structure that is read at once is shorter than this.
const READ_MAX: u64 = 16 << 20;
/// Reads start and end at multiples of this on the disk, as disks with large sectors want.
const SECTOR: u64 = 4096;

/// A partition.
pub(super) struct Part<'a> {
    disk: &'a dyn ReadDisk,
    /// Where it starts on the disk.
    pub start: u64,
    /// Its length in bytes.
    pub len: u64,
}

impl<'a> Part<'a> {
    pub fn new(disk: &'a dyn ReadDisk, range: Range<u64>) -> Result<Self, KeepWhole> {
        match range.start <= range.end && range.end <= disk.size() {
            true => Ok(Self { disk, start: range.start, len: range.end - range.start }),
            false => Err(KeepWhole::Damaged { what: "partition" }),
        }
    }

    /// `len` bytes from byte `at` of the partition on; `what` is for the message.
    pub fn read(&self, at: u64, len: u64, what: &'static str) -> Result<Vec<u8>, KeepWhole> {
        let end = at.checked_add(len).filter(|end| *end <= self.len && len <= READ_MAX);
        let end = end.ok_or(KeepWhole::Damaged { what })?;
        let (from, to) = (self.start + at, self.start + end);
        let aligned = from / SECTOR * SECTOR;
        let aligned_end = to.next_multiple_of(SECTOR).min(self.disk.size());
        let mut bytes = vec![0; (aligned_end - aligned) as usize];
        self.disk.read_at(aligned, &mut bytes).map_err(KeepWhole::Read)?;
        bytes.truncate((to - aligned) as usize);
        bytes.drain(..(from - aligned) as usize);
        Ok(bytes)
    }
}

/// Numbers at byte `at` of a structure, each as a `u64`, so that sums of them do not overflow by accident.
pub(super) trait Numbers {
    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], KeepWhole>;

    fn byte(&self, at: usize) -> Result<u64, KeepWhole> {
        Ok(u64::from(self.array::<1>(at)?[0]))
    }
    fn le16(&self, at: usize) -> Result<u64, KeepWhole> {
        Ok(u64::from(u16::from_le_bytes(self.array(at)?)))
    }
    fn le32(&self, at: usize) -> Result<u64, KeepWhole> {
        Ok(u64::from(u32::from_le_bytes(self.array(at)?)))
    }
    fn le64(&self, at: usize) -> Result<u64, KeepWhole> {
        Ok(u64::from_le_bytes(self.array(at)?))
    }
    fn be16(&self, at: usize) -> Result<u64, KeepWhole> {
        Ok(u64::from(u16::from_be_bytes(self.array(at)?)))
    }
    fn be32(&self, at: usize) -> Result<u64, KeepWhole> {
        Ok(u64::from(u32::from_be_bytes(self.array(at)?)))
    }
    fn be64(&self, at: usize) -> Result<u64, KeepWhole> {
        Ok(u64::from_be_bytes(self.array(at)?))
    }
}

impl Numbers for [u8] {
    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], KeepWhole> {
        let bytes = self.get(at..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or(KeepWhole::Damaged { what: "structure, which ends early," })
    }
}

/// `value` unless it is outside of `allowed`.
pub(super) fn within(
    value: u64,
    allowed: std::ops::RangeInclusive<u64>,
    what: &'static str,
) -> Result<u64, KeepWhole> {
    if allowed.contains(&value) { Ok(value) } else { Err(KeepWhole::Damaged { what }) }
}

/// `a * b`, unless no such number can be.
pub(super) fn times(a: u64, b: u64, what: &'static str) -> Result<u64, KeepWhole> {
    a.checked_mul(b).ok_or(KeepWhole::Damaged { what })
}

/// Refuse bits outside of `known`.
pub(super) fn known_bits(bits: u64, known: u64, what: &'static str) -> Result<(), KeepWhole> {
    match bits & !known {
        0 => Ok(()),
        bits => Err(KeepWhole::Features { what, bits }),
    }
}

/// Two numbers of the same thing must agree.
pub(super) fn agree(what: &'static str, said: u64, counted: u64) -> Result<(), KeepWhole> {
    if said == counted { Ok(()) } else { Err(KeepWhole::Count { what, said, counted }) }
}
