//! What a raw disk is, before its bytes are read through: partition table, boot chain, where it must be cut.

use std::ops::Range;
use std::path::Path;

use super::{ImportError, ImportRequest, KeptWhole, Warning, check_size};
use crate::boot::predict;
use crate::disk::esp::{Esp, EspError};
use crate::disk::{ESP_TYPE, Gpt, ReadDisk, gpt, mbr};
use crate::filesystem::{self, KeepWhole};
use crate::manifest::header::{Boot, Disk, Measurement, Partition, PartitionTable, Policy, Scheme};

/// The boot region's head: everything that firmware may look at before the first partition.
const HEAD_LEN: u64 = 1 << 20;

/// What a disk is.
#[derive(Debug)]
pub struct Examination {
    /// Size, sectors, boot region.
    pub disk: Disk,
    /// How it boots.
    pub boot: Boot,
    /// Its partitions.
    pub table: PartitionTable,
    /// What its boot will measure.
    pub measurements: Vec<Measurement>,
    /// Where no chunk may cross: partition starts and ends, edges of the boot region.
    pub cuts: Vec<u64>,
    /// What no filesystem uses, in rising order, outside the boot region.
    pub free: Vec<Range<u64>>,
    /// Partitions whose free space is not known.
    pub kept: Vec<KeptWhole>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

/// Look at a disk. `path` is for messages.
pub fn examine(
    path: &Path,
    disk: &dyn ReadDisk,
    request: &ImportRequest,
) -> Result<Examination, ImportError> {
    let table_error = |source| ImportError::Table { path: path.to_owned(), source };
    let mut read = |offset: u64, buf: &mut [u8]| disk.read_at(offset, buf);
    let size = check_size(path, disk, request.sector_size.unwrap_or(512))?;
    let mut sector = request.sector_size;
    for candidate in [512, 4096] {
        if sector.is_none() && gpt::is_present(&mut read, candidate, size).map_err(table_error)? {
            sector = Some(candidate);
        }
    }
    let sector = sector.unwrap_or(512);
    check_size(path, disk, sector)?;
    let mut first = [0; 512];
    read(0, &mut first).map_err(|source| ImportError::Read { path: path.to_owned(), offset: 0, source })?;
    let mut warnings = Vec::new();
    let (mut table, tail_len) = match gpt::is_present(&mut read, sector, size).map_err(table_error)? {
        true => from_gpt(Gpt::read(&mut read, sector, size).map_err(table_error)?),
        false if mbr::is_protective(&first) => {
            // Half a GPT is worse than none: which sector size, which table?
            let what = "the protective master boot record is there, the table is not";
            return Err(table_error(gpt::GptError::Damaged { copy: "primary", what }));
        }
        false => (from_mbr(&first, size, sector), default_tail(sector)),
    };
    if table.scheme == Scheme::None {
        warnings.push(Warning::NoPartitionTable);
    }
    for partition in &mut table.partitions {
        partition.filesystem = filesystem::kind(disk, bytes_of(partition, sector)).name().to_owned();
    }
    let disk_facts = Disk { size, sector_size: sector, head_len: HEAD_LEN, tail_len };
    let (boot, measurements) = boot(disk, &disk_facts, &table, &first, &mut warnings);
    let FreeSpace { ranges: mut free, mut kept } = free_space(disk, &disk_facts, &table);
    for KeptWhole { partition, filesystem, why } in &kept {
        if let KeepWhole::Unclean(why) = *why {
            warnings.push(Warning::NotUnmounted { partition: *partition, filesystem: *filesystem, why });
        }
    }
    if request.keep_free_space {
        free.clear();
        kept.clear();
    }
    let cuts = cuts(&disk_facts, &table);
    Ok(Examination { disk: disk_facts, boot, table, measurements, cuts, free, kept, warnings })
}

/// 128 entries of 128 bytes and the header: what tools reserve, and where a stale table would be.
fn default_tail(sector: u32) -> u64 {
    16 * 1024 + u64::from(sector)
}

fn from_gpt(gpt: Gpt) -> (PartitionTable, u64) {
    let partition = |entry: &gpt::GptEntry| Partition {
        index: entry.index,
        type_guid: entry.type_guid,
        unique_guid: entry.unique_guid,
        first_lba: entry.first_lba,
        last_lba: entry.last_lba,
        attributes: entry.attributes,
        name: entry.name.clone(),
        filesystem: String::new(),
        policy: Policy::Write,
    };
    let partitions = gpt.entries.iter().map(partition).collect();
    let table =
        PartitionTable { scheme: Scheme::Gpt, disk_guid: gpt.disk_guid, usable: gpt.usable, partitions };
    (table, gpt.tail_len)
}

fn from_mbr(first: &[u8; 512], size: u64, sector: u32) -> PartitionTable {
    let none =
        PartitionTable { scheme: Scheme::None, disk_guid: [0; 16], usable: (0, 0), partitions: Vec::new() };
    let Some(mut entries) = mbr::entries(first, size / u64::from(sector)) else { return none };
    entries.sort_unstable_by_key(|entry| entry.index);
    let mut disk_guid = [0; 16];
    disk_guid[..4].copy_from_slice(&first[440..444]);
    let partition = |entry: &mbr::MbrEntry| {
        let mut type_guid = [0; 16];
        type_guid[0] = entry.kind;
        Partition {
            index: entry.index,
            type_guid,
            unique_guid: [0; 16],
            first_lba: entry.first_lba,
            last_lba: entry.last_lba,
            attributes: u64::from(entry.active),
            name: String::new(),
            filesystem: String::new(),
            policy: Policy::Write,
        }
    };
    let partitions = entries.iter().map(partition).collect();
    PartitionTable { scheme: Scheme::Mbr, disk_guid, usable: (0, 0), partitions }
}

/// What the partitions leave free, and what of them is kept whole.
fn free_space(disk: &dyn ReadDisk, facts: &Disk, table: &PartitionTable) -> FreeSpace {
    let mut found = FreeSpace::default();
    for partition in &table.partitions {
        let range = bytes_of(partition, facts.sector_size);
        match filesystem::free_space(disk, range.clone()) {
            Ok(ranges) => {
                found.ranges.extend(ranges.into_iter().filter_map(|range| outside_boot_region(facts, range)))
            }
            Err(why) => {
                let filesystem = filesystem::kind(disk, range);
                found.kept.push(KeptWhole { partition: partition.index + 1, filesystem, why });
            }
        }
    }
    found.ranges.sort_unstable_by_key(|range| range.start);
    // Nothing ends a filesystem that another begins: then partitions overlap, and the manifest refuses that later.
    if found.ranges.windows(2).any(|pair| pair[0].end >= pair[1].start) {
        found.ranges.clear();
    }
    found
}

#[derive(Default)]
struct FreeSpace {
    ranges: Vec<Range<u64>>,
    kept: Vec<KeptWhole>,
}

/// The boot region is written byte for byte, whatever lies in it.
fn outside_boot_region(facts: &Disk, range: Range<u64>) -> Option<Range<u64>> {
    let end = facts.tail_start() / filesystem::FREE_ALIGN * filesystem::FREE_ALIGN;
    let range = range.start.max(facts.head_len)..range.end.min(end);
    (range.end >= range.start.saturating_add(filesystem::FREE_MIN)).then_some(range)
}

fn bytes_of(partition: &Partition, sector: u32) -> Range<u64> {
    let sector = u64::from(sector);
    partition.first_lba * sector..(partition.last_lba + 1) * sector
}

fn boot(
    disk: &dyn ReadDisk,
    facts: &Disk,
    table: &PartitionTable,
    first: &[u8; 512],
    warnings: &mut Vec<Warning>,
) -> (Boot, Vec<Measurement>) {
    let mut boot = Boot { bios: mbr::has_boot_code(first), ..Boot::default() };
    let Some(esp) = table.partitions.iter().find(|p| p.type_guid == ESP_TYPE) else {
        warnings.push(Warning::NoEsp);
        return (boot, Vec::new());
    };
    let esp = match Esp::open(disk, bytes_of(esp, facts.sector_size)) {
        Ok(esp) => esp,
        Err(error) => {
            warnings.push(match error {
                EspError::SmallFat32 { clusters } => Warning::EspFat32Small { clusters },
                _ => Warning::EspUnreadable,
            });
            return (boot, Vec::new());
        }
    };
    let prediction = predict(&esp);
    boot.uefi = !prediction.loader.is_empty();
    boot.secure_boot = prediction.secure_boot;
    boot.loader = prediction.loader;
    warnings.extend(prediction.warnings);
    (boot, prediction.measurements)
}

fn cuts(disk: &Disk, table: &PartitionTable) -> Vec<u64> {
    let sector = u64::from(disk.sector_size);
    let edges = table.partitions.iter().flat_map(|p| [p.first_lba * sector, (p.last_lba + 1) * sector]);
    let mut cuts: Vec<u64> = edges.chain([disk.head_len, disk.tail_start(), disk.size]).collect();
    cuts.retain(|cut| *cut > 0 && *cut <= disk.size);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}
