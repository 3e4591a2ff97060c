//! Whether what stays may stay where the disk has it.

use std::ops::Range;

use super::preserve::{Preserved, words};
use crate::manifest::header::Scheme;
use crate::{Content, Manifest};

/// Whether the image wants nothing where a disk of this size has this partition, among all that stay; else what it wants there, in words.
pub(super) fn fits(
    manifest: &Manifest,
    one: &Preserved,
    stay: &[Preserved],
    disk_size: u64,
) -> Result<(), String> {
    let header = manifest.header();
    let sector = u64::from(header.disk.sector_size);
    let meets = |other: &Range<u64>| one.range.start < other.end && other.start < one.range.end;
    if let Some(other) = stay.iter().find(|other| other.number != one.number && meets(&other.range)) {
        return Err(format!("to preserve {}", words(other.index(), &other.name, other.mark.lbas)));
    }
    if !one.is_elsewhere() {
        // The image's own rules keep all else away from there.
        return Ok(());
    }
    let longer =
        if header.table.scheme == Scheme::Gpt { disk_size.saturating_sub(header.disk.size) } else { 0 };
    let (first, last) = (header.table.usable.0, header.table.usable.1 + longer / sector);
    let payload = header.disk.head_len..header.disk.tail_start() + longer;
    let inside = first <= one.mark.lbas.0 && one.mark.lbas.1 <= last;
    if !inside || one.range.start < payload.start || payload.end < one.range.end {
        return Err("its partition table".to_owned());
    }
    let of_image = header.table.partitions.iter().find(|partition| {
        let stays = stay.iter().any(|other| other.index() == partition.index);
        !stays && meets(&(partition.first_lba * sector..(partition.last_lba + 1) * sector))
    });
    if let Some(partition) = of_image {
        let lbas = (partition.first_lba, partition.last_lba);
        return Err(format!("its partition {}", words(partition.index, &partition.name, lbas)));
    }
    if let Some(region) = header.host_regions.iter().find(|r| meets(&(r.offset..r.offset + r.len))) {
        return Err(format!("what belongs to the endpoint ({})", region.purpose));
    }
    // What an image has between its partitions may be what starts it.
    let tail = header.disk.tail_start();
    let data = manifest.extents().filter(|extent| matches!(extent.content, Content::Data(_)));
    let mut between = data.filter(|extent| extent.offset < tail && meets(&extent.range()));
    match between.find(|extent| stay.iter().all(|other| !other.room.contains(&extent.offset))) {
        Some(extent) => Err(format!("what it has between its partitions, at byte {}", extent.offset)),
        None => Ok(()),
    }
}
