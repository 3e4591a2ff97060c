//! What a restore would fetch and write on a disk that is described and not there: the plan without a scan.

use std::collections::HashSet;
use std::ops::Range;

use serde::Serialize;

use super::boot_region;
use super::compare::{ExtentSet, ZERO_BLOCK};
use super::plan::copies;
use super::write::{batches, distinct, with_id};
use crate::{ChunkId, Content, Extent, Manifest};

/// What a restore fetches and writes, in bytes of the disk where it does not say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Cost {
    /// Left alone.
    pub keep_bytes: u64,
    /// Copied from elsewhere on the disk.
    pub copy_bytes: u64,
    /// Chunks that are asked for; one that comes in far places is asked for again.
    pub fetch_chunks: u64,
    /// Their plain bytes.
    pub fetch_bytes: u64,
    /// The same as they travel.
    pub wire_bytes: u64,
    /// Made zero.
    pub zero_bytes: u64,
    /// Written, with what is copied and the boot region, and without what is made zero.
    pub write_bytes: u64,
}

/// The cost of a restore of `manifest` onto a disk of which `differs` says whether a range holds other bytes than the image
/// (`true` as its second argument: a part of the boot region).
pub(crate) fn cost<E>(
    manifest: &Manifest,
    differs: &mut dyn FnMut(Range<u64>, bool) -> Result<bool, E>,
    stored_len: &dyn Fn(&ChunkId) -> Result<u32, E>,
) -> Result<Cost, E> {
    let mut cost = Cost::default();
    let (mut wrong, mut wanted) = (ExtentSet::default(), Vec::new());
    for (index, extent) in boot_region::payload(manifest) {
        if extent.content == Content::Any {
            continue;
        }
        if !differs(extent.range(), false)? {
            cost.keep_bytes += extent.len;
            continue;
        }
        match extent.content {
            Content::Data(id) => {
                wrong.insert(index);
                wanted.push((extent, id));
                cost.write_bytes += extent.len;
            }
            Content::Zero | Content::Any => {
                let dirty = dirty(&extent, differs)?;
                cost.zero_bytes += dirty;
                cost.keep_bytes += extent.len - dirty;
            }
        }
    }
    let copies = copies(manifest, &wrong);
    cost.copy_bytes = wanted.iter().filter(|(_, id)| copies.contains_key(id)).map(|(e, _)| e.len).sum();
    let mut boot_differs = false;
    for extent in boot_region::extents(manifest) {
        boot_differs |= differs(extent.range(), true)?;
    }
    let boot_len = manifest.header().disk.head_len + manifest.header().disk.tail_len;
    match boot_differs || cost.write_bytes + cost.zero_bytes > 0 {
        true => cost.write_bytes += boot_len,
        false => cost.keep_bytes += boot_len,
    }
    let mut fetched: Vec<ChunkId> = Vec::new();
    if boot_differs {
        fetched.extend(distinct(boot_region::extents(manifest).filter_map(with_id).map(|(_, id)| id)));
    }
    for batch in batches(wanted.into_iter()) {
        fetched
            .extend(distinct(batch.iter().map(|(_, id)| *id)).iter().filter(|id| !copies.contains_key(id)));
    }
    let lens = plain_lens(manifest, &fetched);
    for id in &fetched {
        cost.fetch_chunks += 1;
        cost.fetch_bytes += lens.get(id).copied().unwrap_or_default();
        cost.wire_bytes += u64::from(stored_len(id)?);
    }
    Ok(cost)
}

fn plain_lens(manifest: &Manifest, fetched: &[ChunkId]) -> std::collections::HashMap<ChunkId, u64> {
    let fetched: HashSet<&ChunkId> = fetched.iter().collect();
    let lens = manifest.extents().filter_map(with_id).filter(|(_, id)| fetched.contains(id));
    lens.map(|(extent, id)| (id, extent.len)).collect()
}

/// How many bytes of a zero extent lie in blocks that are not zero, as a scan counts them.
fn dirty<E>(extent: &Extent, differs: &mut dyn FnMut(Range<u64>, bool) -> Result<bool, E>) -> Result<u64, E> {
    let (mut at, mut dirty) = (extent.offset, 0);
    while at < extent.end() {
        let end = (at + 1).next_multiple_of(ZERO_BLOCK).min(extent.end());
        if differs(at..end, false)? {
            dirty += end - at;
        }
        at = end;
    }
    Ok(dirty)
}
