//! One record of an NTFS file table: its attributes, and where those lie that are not in it.

use std::ops::Range;

use super::KeepWhole;
use super::part::{Numbers, within};

/// Kinds of attributes.
pub(super) const LIST: u64 = 0x20;
pub(super) const FILE_NAME: u64 = 0x30;
pub(super) const VOLUME_INFORMATION: u64 = 0x70;
pub(super) const DATA: u64 = 0x80;
pub(super) const BITMAP: u64 = 0xb0;
const END: u64 = 0xffff_ffff;

const WHAT: &str = "file record";
/// Sequence numbers guard so many bytes each, whatever the sector size.
const GUARDED: usize = 512;

/// A record in use, with its guarded bytes put back.
pub(super) struct Record(Vec<u8>);

/// An attribute.
pub(super) struct Attribute<'a> {
    pub kind: u64,
    /// UTF-16.
    pub name: &'a [u8],
    pub value: Value<'a>,
}

/// What it says.
pub(super) enum Value<'a> {
    /// In the record.
    Inside(&'a [u8]),
    /// In clusters, from its cluster `first` on.
    Outside {
        first: u64,
        runs: Vec<Run>,
        /// Bytes; only where `first` is 0.
        allocated: u64,
        initialized: u64,
    },
}

/// Clusters of an attribute.
pub(super) enum Run {
    /// These of the volume.
    At(Range<u64>),
    /// None: zeros.
    Hole,
}

impl Record {
    /// `None` for a record that is not in use or was never written.
    pub fn parse(raw: &[u8]) -> Result<Option<Self>, KeepWhole> {
        let bad = || KeepWhole::Damaged { what: WHAT };
        if raw.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // `BAAD` is what a check has given up.
        if raw.array::<4>(0)? != *b"FILE" {
            return Err(bad());
        }
        if raw.le16(22)? & 1 == 0 {
            return Ok(None);
        }
        let mut bytes = raw.to_vec();
        let (at, count) = (raw.le16(4)? as usize, raw.le16(6)?);
        let guarded = raw.len() / GUARDED;
        within(count, guarded as u64 + 1..=guarded as u64 + 1, WHAT)?;
        let number: [u8; 2] = raw.array(at)?;
        for (index, part) in bytes.chunks_mut(GUARDED).enumerate() {
            let last = part.get_mut(GUARDED - 2..).ok_or_else(bad)?;
            if *last != number {
                return Err(KeepWhole::Checksum { what: WHAT });
            }
            last.copy_from_slice(&raw.array::<2>(at + 2 + 2 * index)?);
        }
        Ok(Some(Self(bytes)))
    }

    /// Its attributes; no cluster lies outside of the volume.
    pub fn attributes(&self, clusters: u64) -> Result<Vec<Attribute<'_>>, KeepWhole> {
        let bad = || KeepWhole::Damaged { what: WHAT };
        let in_use = within(self.0.le32(24)?, 48..=self.0.len() as u64, WHAT)? as usize;
        let bytes = self.0.get(..in_use).ok_or_else(bad)?;
        let (mut at, mut found) = (bytes.le16(20)? as usize, Vec::new());
        loop {
            let rest = bytes.get(at..).ok_or_else(bad)?;
            let kind = rest.le32(0)?;
            if kind == END {
                return Ok(found);
            }
            let len = within(rest.le32(4)?, 24..=rest.len() as u64, WHAT)? as usize;
            let raw = rest.get(..len).ok_or_else(bad)?;
            let name = match raw.byte(9)? as usize {
                0 => &[],
                len => {
                    raw.get(raw.le16(10)? as usize..).and_then(|rest| rest.get(..2 * len)).ok_or_else(bad)?
                }
            };
            let value = match raw.byte(8)? {
                0 => {
                    let (len, at) = (raw.le32(16)? as usize, raw.le16(20)? as usize);
                    Value::Inside(raw.get(at..).and_then(|rest| rest.get(..len)).ok_or_else(bad)?)
                }
                1 => outside(raw, clusters)?,
                _ => return Err(bad()),
            };
            found.push(Attribute { kind, name, value });
            at += len;
        }
    }
}

fn outside<'a>(raw: &[u8], clusters: u64) -> Result<Value<'a>, KeepWhole> {
    let (first, last) = (raw.le64(16)?, raw.le64(24)?);
    // One less than the first when there are none.
    let count = last.wrapping_add(1).checked_sub(first).ok_or(KeepWhole::Damaged { what: WHAT })?;
    let pairs = raw.get(raw.le16(32)? as usize..).unwrap_or_default();
    let (runs, counted) = mapping_pairs(pairs, clusters)?;
    super::part::agree("clusters of a file", count, counted)?;
    let (allocated, initialized) = if first == 0 { (raw.le64(40)?, raw.le64(56)?) } else { (0, 0) };
    Ok(Value::Outside { first, runs, allocated, initialized })
}

/// Runs as pairs of a length and a step to the next start, each in as many bytes as the byte before them says.
fn mapping_pairs(pairs: &[u8], clusters: u64) -> Result<(Vec<Run>, u64), KeepWhole> {
    let bad = || KeepWhole::Damaged { what: WHAT };
    let (mut runs, mut at, mut start, mut total) = (Vec::new(), 0, 0_i64, 0_u64);
    loop {
        let sizes = pairs.byte(at)? as usize;
        if sizes == 0 {
            return Ok((runs, total));
        }
        let (len_size, step_size) = (sizes & 0xf, sizes >> 4);
        let mut number = |size: usize| {
            let bytes = pairs.get(at + 1..at + 1 + size).filter(|_| size <= 8).ok_or_else(bad)?;
            at += size;
            // Negative when the highest bit is set.
            let sign = bytes.last().is_some_and(|last| last & 0x80 != 0);
            let mut wide = if sign { [0xff; 8] } else { [0; 8] };
            wide.iter_mut().zip(bytes).for_each(|(wide, byte)| *wide = *byte);
            Ok::<_, KeepWhole>(i64::from_le_bytes(wide))
        };
        let len = u64::try_from(number(len_size)?).ok().filter(|len| *len > 0).ok_or_else(bad)?;
        total = total.checked_add(len).ok_or_else(bad)?;
        if step_size == 0 {
            runs.push(Run::Hole);
        } else {
            start = start.checked_add(number(step_size)?).ok_or_else(bad)?;
            let first = u64::try_from(start).map_err(|_| bad())?;
            let end = first.checked_add(len).filter(|end| *end <= clusters).ok_or_else(bad)?;
            runs.push(Run::At(first..end));
        }
        at += 1;
    }
}
