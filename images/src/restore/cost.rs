//! What a restore would fetch and write on a disk that is described and not there: the plan without a scan.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde::Serialize;

use super::boot_region;
use super::compare::{ExtentSet, ZERO_BLOCK, merge};
use super::plan::copies;
use super::preserve::Kept;
use super::seeds::{Moves, Seeds, found, in_order};
use super::write::{batches, distinct, with_id};
use crate::{ChunkId, Content, Extent, Manifest};

/// What a restore fetches and writes, in bytes of the disk where it does not say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Cost {
    /// Left alone.
    pub keep_bytes: u64,
    /// Copied from elsewhere on the disk.
    pub copy_bytes: u64,
    /// Moved from places that are overwritten later.
    pub move_bytes: u64,
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

/// The cost of a restore of `manifest` onto a disk that holds the chunks of `before` and of which `differs` says whether a range holds other bytes than the image
/// (`true` as its second argument: a part of the boot region).
pub(crate) fn cost<E>(
    manifest: &Manifest,
    before: &Manifest,
    differs: &mut dyn FnMut(Range<u64>, bool) -> Result<bool, E>,
    stored_len: &dyn Fn(&ChunkId) -> Result<u32, E>,
) -> Result<Cost, E> {
    let mut cost = Cost::default();
    let kept = Kept::shared(manifest, before.header());
    let (mut wrong, mut wanted, mut other) = (ExtentSet::default(), Vec::new(), Vec::new());
    for (index, extent) in boot_region::payload(manifest, &kept) {
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
                other.push(extent.range());
                wanted.push((extent, id));
                cost.write_bytes += extent.len;
            }
            Content::Zero | Content::Any => {
                let ranges = dirty(&extent, differs)?;
                let dirty = ranges.iter().map(|range| range.end - range.start).sum::<u64>();
                cost.zero_bytes += dirty;
                cost.keep_bytes += extent.len - dirty;
                other.extend(ranges);
            }
        }
    }
    let copies = copies(manifest, &kept, &wrong);
    cost.copy_bytes = wanted.iter().filter(|(_, id)| copies.contains_key(id)).map(|(e, _)| e.len).sum();
    let seeds = seeds(before, &wanted, other);
    let moves = Moves::plan(&wanted, &seeds, &|id| copies.contains_key(id));
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
    for batch in batches(in_order(wanted.into_iter(), moves.descending)) {
        let moved =
            batch.iter().filter(|(extent, id)| !copies.contains_key(id) && moves.from(extent).is_some());
        let moved: HashMap<ChunkId, u64> = moved.map(|(extent, id)| (*id, extent.len)).collect();
        cost.move_bytes += moved.values().sum::<u64>();
        let absent = |id: &ChunkId| !copies.contains_key(id) && !moved.contains_key(id);
        fetched.extend(distinct(batch.iter().map(|(_, id)| *id)).into_iter().filter(absent));
    }
    let lens = plain_lens(manifest, &fetched);
    for id in &fetched {
        cost.fetch_chunks += 1;
        cost.fetch_bytes += lens.get(id).copied().unwrap_or_default();
        cost.wire_bytes += u64::from(stored_len(id)?);
    }
    Ok(cost)
}

/// What a search would find of the chunks of `before`: those that lie whole where something else belongs.
fn seeds(before: &Manifest, wanted: &[(Extent, ChunkId)], mut other: Vec<Range<u64>>) -> Seeds {
    merge(&mut other);
    let ids: HashSet<ChunkId> = wanted.iter().map(|(_, id)| *id).collect();
    let within = |range: Range<u64>| {
        let behind = other.partition_point(|other| other.end < range.end);
        other.get(behind).is_some_and(|other| other.start <= range.start)
    };
    let mut seeds = Seeds::new();
    for (extent, id) in before.extents().filter_map(with_id) {
        if ids.contains(&id) && within(extent.range()) {
            found(&mut seeds, id, extent.offset);
        }
    }
    seeds
}

fn plain_lens(manifest: &Manifest, fetched: &[ChunkId]) -> std::collections::HashMap<ChunkId, u64> {
    let fetched: HashSet<&ChunkId> = fetched.iter().collect();
    let lens = manifest.extents().filter_map(with_id).filter(|(_, id)| fetched.contains(id));
    lens.map(|(extent, id)| (id, extent.len)).collect()
}

/// The blocks of a zero extent that are not zero, as a scan finds them.
fn dirty<E>(
    extent: &Extent,
    differs: &mut dyn FnMut(Range<u64>, bool) -> Result<bool, E>,
) -> Result<Vec<Range<u64>>, E> {
    let (mut at, mut dirty) = (extent.offset, Vec::new());
    while at < extent.end() {
        let end = (at + 1).next_multiple_of(ZERO_BLOCK).min(extent.end());
        if differs(at..end, false)? {
            dirty.push(at..end);
        }
        at = end;
    }
    Ok(dirty)
}
