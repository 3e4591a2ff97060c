//! FAT12, FAT16, FAT32: the table itself (Microsoft, "FAT: General Overview of On-Disk Format" 1.03).
//!
//! A FAT has no checksums. So all copies of the table must be the same, every used entry must lead to a used cluster, and
//! where the filesystem keeps a count of free clusters, it must be right.

use super::part::{Numbers, Part, agree, times, within};
use super::runs::{Free, Map};
use super::{KeepWhole, Unclean};

const PIECE: u64 = 1 << 20;

/// Where things lie; counts are of sectors unless they say otherwise.
struct Fat {
    sector: u64,
    in_cluster: u64,
    table_at: u64,
    table_len: u64,
    tables: u64,
    data_at: u64,
    clusters: u64,
    /// Bits of an entry.
    bits: u64,
    media: u64,
    /// FAT32: root directory's first cluster and the sector of the counts.
    root: Option<u64>,
    counts_at: Option<u64>,
}

/// The clusters that are free; cluster 2 is block 0.
pub(super) fn free(part: &Part<'_>) -> Result<Map, KeepWhole> {
    let fat = Fat::read(part)?;
    let mut free = Free::default();
    fat.each(part, &mut |cluster, entry| match (cluster, entry) {
        (0, entry) => agree("in the first entry of its table", entry, fat.end_mark() & !0xff | fat.media),
        (1, entry) => fat.check_clean(entry),
        (cluster, 0) => free.push(cluster - 2..cluster - 1),
        _ => Ok(()),
    })?;
    // Where chains lead, now that it is known what is free.
    fat.each(part, &mut |cluster, entry| match entry {
        next if cluster >= 2 && next >= 2 && next < fat.clusters + 2 => {
            free.check_used(&(next - 2..next - 1), "chain of clusters")
        }
        // Bad clusters, ends of chains.
        next if cluster < 2 || next == 0 || next >= fat.end_mark() - 8 => Ok(()),
        _ => Err(KeepWhole::Damaged { what: "chain of clusters" }),
    })?;
    if let Some(root) = fat.root {
        let root = within(root, 2..=fat.clusters + 1, "root directory")?;
        free.check_used(&(root - 2..root - 1), "root directory")?;
    }
    fat.check_counts(part, &free)?;
    let base = fat.data_at * fat.sector;
    Ok(Map { free, base, block: fat.in_cluster * fat.sector })
}

impl Fat {
    fn read(part: &Part<'_>) -> Result<Self, KeepWhole> {
        let raw = &part.read(0, 512, "boot sector")?[..];
        let sector = raw.le16(11)?;
        let in_cluster = within(raw.byte(13)?, 1..=128, "cluster size")?;
        let (table_at, tables) = (raw.le16(14)?, within(raw.byte(16)?, 1..=4, "number of tables")?);
        let (root_entries, short, long) = (raw.le16(17)?, raw.le16(19)?, raw.le32(32)?);
        let sectors = if short == 0 { long } else { short };
        within(times(sectors, sector, "size")?, 1..=part.len, "size, which is larger than the partition,")?;
        let is_32 = raw.le16(22)? == 0;
        let table_len = if is_32 { raw.le32(36)? } else { raw.le16(22)? };
        let data_at = table_at + tables * table_len + (root_entries * 32).div_ceil(sector);
        let clusters = within(data_at, 1..=sectors, "table")?;
        let clusters = (sectors - clusters) / in_cluster;
        let bits = match clusters {
            ..4085 => 12,
            4085..65_525 => 16,
            _ => 32,
        };
        // Readers disagree about what this would be.
        within(u64::from(is_32 == (bits == 32)), 1..=1, "number of clusters")?;
        within((clusters + 2) * bits, 0..=table_len * sector * 8, "table")?;
        let state = raw.byte(if is_32 { 65 } else { 37 })?;
        // Linux marks here what is mounted (`FAT_STATE_DIRTY`).
        if state & 1 != 0 {
            return Err(KeepWhole::Unclean(Unclean::Mounted));
        }
        let mut counts_at = None;
        if is_32 {
            within(raw.le16(42)?, 0..=0, "version")?;
            if raw.le16(40)? & 0x80 != 0 {
                return Err(KeepWhole::Layout { what: "tables that differ" });
            }
            // It has a second boot sector, which knows nothing of the state and not always the label.
            let second = within(raw.le16(50)?, 1..=table_at.saturating_sub(1), "second boot sector")?;
            let second = part.read(second * sector, 512, "second boot sector")?;
            if second.get(11..64) != raw.get(11..64) {
                return Err(KeepWhole::Damaged { what: "second boot sector" });
            }
            counts_at = Some(raw.le16(48)?).filter(|at| (1..table_at).contains(at));
        }
        let root = if is_32 { Some(raw.le32(44)?) } else { None };
        let media = raw.byte(21)?;
        Ok(Self {
            sector,
            in_cluster,
            table_at,
            table_len,
            tables,
            data_at,
            clusters,
            bits,
            media,
            root,
            counts_at,
        })
    }

    /// The highest entry: the end of a chain.
    fn end_mark(&self) -> u64 {
        // Four bits of the 32 mean nothing.
        (1 << self.bits.min(28)) - 1
    }

    /// Windows marks in entry 1 what is in use and what had errors, where there is room.
    fn check_clean(&self, entry: u64) -> Result<(), KeepWhole> {
        let (clean, sound) = match self.bits {
            12 => return Ok(()),
            bits => (1 << (bits.min(28) - 1), 1 << (bits.min(28) - 2)),
        };
        match () {
            () if entry & clean == 0 => Err(KeepWhole::Unclean(Unclean::Mounted)),
            () if entry & sound == 0 => Err(KeepWhole::Unclean(Unclean::Errors)),
            () => Ok(()),
        }
    }

    /// Each entry of the table, after comparing the copies.
    fn each(
        &self,
        part: &Part<'_>,
        with: &mut dyn FnMut(u64, u64) -> Result<(), KeepWhole>,
    ) -> Result<(), KeepWhole> {
        let what = "table";
        let len = ((self.clusters + 2) * self.bits).div_ceil(8);
        let table = |number: u64| (self.table_at + number * self.table_len) * self.sector;
        // Entries of 12 bits come in pairs of three bytes: a table of these is one piece.
        let mut number = 0;
        for at in (0..len).step_by(PIECE as usize) {
            let piece_len = PIECE.min(len - at);
            let piece = part.read(table(0) + at, piece_len, what)?;
            for copy in 1..self.tables {
                if part.read(table(copy) + at, piece_len, what)? != piece {
                    return Err(KeepWhole::Damaged { what: "second table" });
                }
            }
            while number < self.clusters + 2 {
                let bit = number * self.bits - at * 8;
                if bit + self.bits > piece.len() as u64 * 8 {
                    break;
                }
                let byte = (bit / 8) as usize;
                let entry = match self.bits {
                    12 => piece.le16(byte)? >> (bit % 8) & 0xfff,
                    16 => piece.le16(byte)?,
                    _ => piece.le32(byte)? & 0x0fff_ffff,
                };
                with(number, entry)?;
                number += 1;
            }
        }
        agree("clusters in its table", self.clusters + 2, number)
    }

    /// The count of free clusters, where one is kept.
    fn check_counts(&self, part: &Part<'_>, free: &Free) -> Result<(), KeepWhole> {
        let Some(at) = self.counts_at else { return Ok(()) };
        let raw = part.read(at * self.sector, 512, "counts")?;
        let marked = raw.array::<4>(0)? == *b"RRaA" && raw.array::<4>(484)? == *b"rrAa";
        match raw.le32(488)? {
            // Unknown.
            0xffff_ffff => Ok(()),
            said if marked => agree("free clusters", said, free.total()),
            _ => Ok(()),
        }
    }
}
