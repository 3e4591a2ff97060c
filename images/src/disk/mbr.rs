//! The master boot record: protective for a GPT, or a table of four partitions.

/// One used entry of a master boot record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MbrEntry {
    /// Index, 0 to 3.
    pub index: u32,
    /// Marked active.
    pub active: bool,
    /// Partition type.
    pub kind: u8,
    /// First sector.
    pub first_lba: u64,
    /// Last sector, inclusive.
    pub last_lba: u64,
}

const TABLE_AT: usize = 446;
const PROTECTIVE: u8 = 0xee;

/// The used entries of the first sector, or nothing when it is not a master boot record that fits the disk.
pub fn entries(sector: &[u8], disk_sectors: u64) -> Option<Vec<MbrEntry>> {
    if sector.get(510..512)? != [0x55, 0xaa] {
        return None;
    }
    let mut used = Vec::new();
    for index in 0..4 {
        let raw = &sector[TABLE_AT + 16 * index..][..16];
        let number = |at: usize| u64::from(u32::from_le_bytes(std::array::from_fn(|i| raw[at + i])));
        let (kind, first_lba, count) = (raw[4], number(8), number(12));
        if kind == 0 {
            continue;
        }
        // A FAT boot sector ends in the same two bytes; text where a table should be gives itself away here.
        if !matches!(raw[0], 0 | 0x80) || first_lba == 0 || count == 0 || first_lba + count > disk_sectors {
            return None;
        }
        let active = raw[0] == 0x80;
        used.push(MbrEntry { index: index as u32, active, kind, first_lba, last_lba: first_lba + count - 1 });
    }
    (!used.is_empty()).then_some(used)
}

/// Whether there is boot code in the first sector.
pub fn has_boot_code(sector: &[u8]) -> bool {
    sector.get(510..512) == Some(&[0x55, 0xaa]) && sector[..440].iter().any(|byte| *byte != 0)
}

/// Whether the first sector has a protective entry.
pub fn is_protective(sector: &[u8]) -> bool {
    sector.get(510..512) == Some(&[0x55, 0xaa]) && sector[TABLE_AT + 4] == PROTECTIVE
}

/// Give the protective entry the length that fits a disk of `to` sectors, if it had the one for `from`.
pub(super) fn resize_protective(head: &mut [u8], from: u64, to: u64) {
    let length = |sectors: u64| u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes();
    let at = TABLE_AT + 12;
    if is_protective(head) && head[at..at + 4] == length(from) {
        head[at..at + 4].copy_from_slice(&length(to));
    }
}
