//! Rules that a header obeys beyond its encoding, so that nobody after the decoder has to ask again.

use super::header::{Header, Partition, Policy, Scheme};
use super::page::CHUNK_LEN_MAX;
use super::{ManifestError, codec};
use crate::disk::ESP_TYPE;

/// The head of the boot region is never longer than this, in bytes.
pub const HEAD_LEN_MAX: u64 = 1 << 20;
/// The tail of the boot region is never longer than this, in bytes.
pub const TAIL_LEN_MAX: u64 = 1 << 20;
/// Largest disk that a manifest may describe: 16 TiB.
pub const DISK_SIZE_MAX: u64 = 16 << 40;

/// Check every rule of a header.
pub fn header(header: &Header) -> Result<(), ManifestError> {
    let rule = |holds: bool, rule: &'static str| match holds {
        true => Ok(()),
        false => Err(ManifestError::Rule { rule }),
    };
    let identity = &header.identity;
    rule(!identity.name.is_empty(), "an image has a name")?;
    rule(!identity.version.is_empty(), "an image has a version")?;
    rule(!identity.arch.is_empty(), "an image has an architecture")?;

    let disk = &header.disk;
    rule(matches!(disk.sector_size, 512 | 4096), "the sector size is 512 or 4096 bytes")?;
    let sector = u64::from(disk.sector_size);
    rule(disk.size <= DISK_SIZE_MAX, "a disk has at most 16 TiB")?;
    rule(disk.size.is_multiple_of(sector), "the disk size is a multiple of the sector size")?;
    rule((sector..=HEAD_LEN_MAX).contains(&disk.head_len), "the boot region's head has 1 sector to 1 MiB")?;
    rule((sector..=TAIL_LEN_MAX).contains(&disk.tail_len), "the boot region's tail has 1 sector to 1 MiB")?;
    let whole = disk.head_len.is_multiple_of(4096) && disk.tail_len.is_multiple_of(sector);
    rule(whole, "the boot region has whole sectors")?;
    rule(disk.head_len + disk.tail_len <= disk.size, "the disk holds its boot region")?;

    for region in &header.host_regions {
        let inside = region.offset.checked_add(region.len).is_some_and(|end| end <= disk.tail_start());
        rule(
            inside && region.len > 0 && region.offset >= disk.head_len,
            "host regions lie between head and tail",
        )?;
    }
    partitions(header, rule)?;
    for page in &header.content.pages {
        rule((1..=super::page::PAGE_LEN_MAX as u32).contains(&page.len), "a page has at most 64 KiB")?;
    }
    rule(header.content.chunk_len[2] <= CHUNK_LEN_MAX, "a chunk has at most 512 KiB")?;
    for measurement in &header.measurements {
        rule(measurement.pcr < 24, "a PCR index is below 24")?;
    }
    let lists = [header.table.partitions.len(), header.host_regions.len(), header.measurements.len()];
    rule(lists.iter().all(|len| *len <= codec::LIST_LEN_MAX), "lists have at most 256 entries")?;
    rule(header.content.pages.len() <= codec::PAGES_MAX, "there are at most 65536 pages")?;
    texts(header)
}

fn partitions(
    header: &Header,
    rule: impl Fn(bool, &'static str) -> Result<(), ManifestError>,
) -> Result<(), ManifestError> {
    let sectors = header.disk.size / u64::from(header.disk.sector_size);
    let table = &header.table;
    rule(table.scheme != Scheme::None || table.partitions.is_empty(), "partitions have a table")?;
    for partition in &table.partitions {
        let inside = partition.first_lba <= partition.last_lba && partition.last_lba < sectors;
        rule(inside, "partitions lie on the disk")?;
    }
    let mut ranges: Vec<_> = table.partitions.iter().map(|p| (p.first_lba, p.last_lba)).collect();
    ranges.sort_unstable();
    rule(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "partitions do not overlap")?;
    if table.scheme == Scheme::Gpt {
        let (first, last) = table.usable;
        rule(first <= last && last < sectors, "the usable sectors lie on the disk")?;
        let inside = ranges.iter().all(|range| range.0 >= first && range.1 <= last);
        rule(inside, "partitions lie in the usable sectors")?;
    }
    let end = ranges.last().map(|range| range.1);
    let mut growing = table.partitions.iter().filter(|p| p.policy == Policy::Grow);
    rule(growing.all(|p| Some(p.last_lba) == end), "only the last partition on the disk grows")?;
    for partition in table.partitions.iter().filter(|p| p.policy == Policy::Preserve) {
        preserved(header, partition, &rule)?;
    }
    let indexes = table.partitions.windows(2).all(|pair| pair[0].index < pair[1].index);
    rule(indexes, "partitions stand in the order of their table")
}

fn preserved(
    header: &Header,
    partition: &Partition,
    rule: impl Fn(bool, &'static str) -> Result<(), ManifestError>,
) -> Result<(), ManifestError> {
    let (disk, sector) = (&header.disk, u64::from(header.disk.sector_size));
    let between = partition.first_lba * sector >= HEAD_LEN_MAX
        && (partition.last_lba + 1) * sector <= disk.tail_start();
    rule(
        between && disk.head_len == HEAD_LEN_MAX,
        "what is preserved lies between a head of 1 MiB and the tail",
    )?;
    rule(partition.type_guid != ESP_TYPE, "the EFI system partition is the image's")
}

fn texts(header: &Header) -> Result<(), ManifestError> {
    let identity = &header.identity;
    let mut texts = vec![
        &identity.name,
        &identity.version,
        &identity.arch,
        &identity.hardware_class,
        &identity.note,
        &header.boot.loader,
    ];
    texts.extend(header.table.partitions.iter().flat_map(|p| [&p.name, &p.filesystem]));
    texts.extend(header.host_regions.iter().map(|r| &r.purpose));
    texts.extend(header.measurements.iter().map(|m| &m.what));
    for text in texts {
        if text.len() > crate::wire::TEXT_LEN_MAX || text.chars().any(char::is_control) {
            return Err(ManifestError::Rule {
                rule: "texts have at most 1024 bytes and no control characters",
            });
        }
    }
    Ok(())
}
