//! What a raw disk is, before its bytes are read through: partition table, boot chain, where it must be cut.

use std::io;
use std::path::Path;

use super::{ImportError, ImportRequest, Warning, check_size};
use crate::boot::predict;
use crate::disk::esp::{self, Esp};
use crate::disk::{ESP_TYPE, Gpt, ReadDisk, gpt, mbr};
use crate::manifest::header::{Boot, Disk, Measurement, Partition, PartitionTable, Policy, Scheme};

/// The boot region's head: everything that firmware may look at before the first partition.
const HEAD_LEN: u64 = 1 << 20;

/// What a disk is.
#[derive(Debug, Clone)]
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
    pub free: Vec<std::ops::Range<u64>>,
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
        partition.filesystem = filesystem(&mut read, partition.first_lba * u64::from(sector)).to_owned();
    }
    let disk_facts = Disk { size, sector_size: sector, head_len: HEAD_LEN, tail_len };
    let (boot, measurements) = boot(disk, &disk_facts, &table, &first, &mut warnings);
    let cuts = cuts(&disk_facts, &table);
    Ok(Examination { disk: disk_facts, boot, table, measurements, cuts, free: Vec::new(), warnings })
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

/// What the first bytes of a partition say; good enough to show to a person.
fn filesystem(read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>, start: u64) -> &'static str {
    let mut bytes = [0; 2048];
    if read(start, &mut bytes).is_err() {
        return "";
    }
    let at = |offset: usize, magic: &[u8]| &bytes[offset..offset + magic.len()] == magic;
    match () {
        () if at(0, b"XFSB") => "xfs",
        () if at(0, b"LUKS\xba\xbe") => "luks",
        () if at(0, b"hsqs") => "squashfs",
        () if at(3, b"NTFS    ") => "ntfs",
        () if at(54, b"FAT1") || at(82, b"FAT32") => "vfat",
        () if at(1024 + 56, &[0x53, 0xef]) => "ext4",
        () => "",
    }
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
    let sector = u64::from(facts.sector_size);
    let range = esp.first_lba * sector..(esp.last_lba + 1) * sector;
    let Ok(esp) = Esp::open(disk, range.clone()) else {
        let mut first = [0; 512];
        let small = disk.read_at(range.start, &mut first).ok().and_then(|()| esp::small_fat32(&first));
        warnings.push(small.map_or(Warning::EspUnreadable, |clusters| Warning::EspFat32Small { clusters }));
        return (boot, Vec::new());
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
