//! Microsoft's VHD, fixed and dynamic ("Virtual Hard Disk Image Format Specification", 2006). Numbers are big-endian.
//!
//! ```text
//!   fixed    the disk as it is ─ footer
//!   dynamic  copy of the footer ─ header ─ block table ─ blocks, each behind a bitmap ─ footer
//! ```
//!
//! The bitmaps say which sectors were written; those that were not are zeros in the block too, so they are not looked at.

use std::io;
use std::sync::Arc;

use super::fields::{be32, be64};
use super::mapped::{Flat, Layer, Layout, Mapped, Pages, Place, Run, damaged};
use super::opened::Opened;
use super::{DISK_LEN_MAX, Refusal, SourceError};
use crate::disk::ReadDisk as _;

/// How footer and copy begin.
pub const COOKIE: [u8; 8] = *b"conectix";
/// Length of the footer.
pub const FOOTER_LEN: u64 = 512;

const HEADER_COOKIE: [u8; 8] = *b"cxsparse";
const HEADER_LEN: usize = 1024;
const SECTOR: u64 = 512;
const FIXED: u32 = 2;
const DYNAMIC: u32 = 3;
const DIFFERENCING: u32 = 4;
const ABSENT: u32 = u32::MAX;
const BLOCK_LEN_MAX: u32 = 256 << 20;

/// Open a VHD.
pub(super) fn open(file: Arc<Opened>) -> Result<Box<dyn Layer>, SourceError> {
    let len = file.file.size();
    let footer_at =
        len.checked_sub(FOOTER_LEN).ok_or_else(|| file.damaged("it is shorter than its footer"))?;
    let footer = file.bytes::<{ FOOTER_LEN as usize }>(footer_at, "the footer")?;
    if footer[..8] != COOKIE {
        // A dynamic one begins with a copy, so this is one that was cut.
        return Err(SourceError::Truncated {
            path: file.path.clone(),
            format: file.format,
            what: "the footer",
        });
    }
    if !is_sound(&footer, 64) {
        return Err(file.damaged("the checksum of its footer is wrong"));
    }
    let (size, kind) = (be64(&footer, 48), be32(&footer, 60));
    if size > DISK_LEN_MAX {
        return Err(file.refused(Refusal::TooLarge { size }));
    }
    match kind {
        FIXED if size == footer_at => Ok(Box::new(Mapped::new(file, Flat { start: 0, size }, None))),
        FIXED => Err(file.damaged("its length is not that of its disk and its footer")),
        DYNAMIC => dynamic(file, &footer, size),
        DIFFERENCING => Err(file.refused(Refusal::Differencing)),
        kind => Err(file.refused(Refusal::Unknown { what: format!("disk type {kind}") })),
    }
}

fn dynamic(
    file: Arc<Opened>,
    footer: &[u8; FOOTER_LEN as usize],
    size: u64,
) -> Result<Box<dyn Layer>, SourceError> {
    let header = file.bytes::<HEADER_LEN>(be64(footer, 16), "the dynamic header")?;
    if header[..8] != HEADER_COOKIE || !is_sound(&header, 36) {
        return Err(file.damaged("its dynamic header is wrong"));
    }
    let (table, entries, block_len) = (be64(&header, 16), be32(&header, 28), be32(&header, 32));
    if !block_len.is_power_of_two() || !(4096..=BLOCK_LEN_MAX).contains(&block_len) {
        return Err(file.damaged("its blocks have an impossible length"));
    }
    let block_len = u64::from(block_len);
    if size.div_ceil(block_len) > u64::from(entries) {
        return Err(file.damaged("its block table is too short for its disk"));
    }
    let table_end = table.checked_add(u64::from(entries) * 4);
    if !table.is_multiple_of(SECTOR) || table_end.is_none_or(|end| end > file.file.size()) {
        return Err(SourceError::Truncated {
            path: file.path.clone(),
            format: file.format,
            what: "the block table",
        });
    }
    // One bit a sector, in whole sectors.
    let bitmap_len = (block_len / SECTOR / 8).next_multiple_of(SECTOR);
    let layout = Dynamic { pages: Pages::new(Arc::clone(&file)), size, table, block_len, bitmap_len };
    Ok(Box::new(Mapped::new(file, layout, None)))
}

/// The complement of the sum of all bytes but the checksum, which stands at `at`.
fn is_sound(bytes: &[u8], at: usize) -> bool {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let Some((before, rest)) = bytes.split_at_checked(at) else { return false };
    let Some((checksum, after)) = rest.split_first_chunk() else { return false };
    u32::from_be_bytes(*checksum) == !(sum(before) + sum(after))
}

struct Dynamic {
    pages: Pages,
    size: u64,
    table: u64,
    block_len: u64,
    bitmap_len: u64,
}

impl Layout for Dynamic {
    fn size(&self) -> u64 {
        self.size
    }

    fn locate(&self, offset: u64) -> io::Result<Run> {
        let (block, within) = (offset / self.block_len, offset % self.block_len);
        let entry_at = self.table + block * 4;
        let place = match u32::from_be_bytes(self.pages.entry(entry_at)?) {
            ABSENT => Place::Zeros,
            0 => return Err(damaged("the block table is wrong", entry_at)),
            sector => Place::At(u64::from(sector) * SECTOR + self.bitmap_len + within),
        };
        Ok(Run { place, len: self.block_len - within })
    }
}
