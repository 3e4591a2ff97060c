//! Swap space (`mkswap(8)`, version 1): a header page, and pages that mean nothing to the next boot.

use super::KeepWhole;
use super::part::{Numbers, Part, times, within};
use super::runs::{Free, Map};

/// Page sizes of the architectures that Linux runs on.
pub(super) const PAGES: [u64; 4] = [4096, 8192, 16_384, 65_536];

/// All but the first page.
pub(super) fn free(part: &Part<'_>) -> Result<Map, KeepWhole> {
    let what = "swap header";
    for page in PAGES.into_iter().filter(|page| part.len >= 2 * page) {
        let header = part.read(0, page, what)?;
        if header.ends_with(b"SWAPSPACE2") {
            // `info` of the kernel's `union swap_header`: version, last page, number of bad pages.
            within(header.le32(1024)?, 1..=1, what)?;
            let last = header.le32(1028)?;
            within(times(last + 1, page, what)?, 0..=part.len, what)?;
            let mut free = Free::default();
            free.push(1..last + 1)?;
            return Ok(Map { free, base: 0, block: page });
        }
    }
    Err(KeepWhole::Damaged { what })
}
