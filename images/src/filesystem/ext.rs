//! ext2, ext3, ext4: the block bitmap of each group (Linux, `Documentation/filesystems/ext4/`).
//!
//! ```text
//!   superblock ─ group descriptors ─┬─ where all metadata lies ─────── settles: no block with two uses
//!                                   └─ bitmap of each group, or none ─ free runs ─ agree with both counts
//! ```
//!
//! Every checksum that the filesystem has is checked: superblock, descriptors, bitmaps.

use std::ops::Range;

use super::checksum::{crc16, crc32c};
use super::part::{Numbers, Part, agree, known_bits, times, within};
use super::runs::{Free, Map, Used};
use super::{KeepWhole, Unclean, ext_inode};

/// Groups are kept in memory: as many as 256 TiB have.
const GROUPS_MAX: u64 = 2 << 20;

/// Features that change nothing about which blocks are free, or that are handled here. Bits of `s_feature_compat`:
/// directory preallocation, IMAGIC inodes, journal, attributes, resize inode, directory index, lazy groups, sparse_super2,
/// fast commits, stable inodes, orphan file. Not: snapshot exclusion.
const COMPATIBLE: u64 = 0x1eff & !0x100;
/// Bits of `s_feature_incompat`: file types, meta block groups, extents, 64 bits, multi-mount protection, flexible groups,
/// attributes in inodes, checksum seed, large directories, inline data, encryption, case folding. Not: compression, data in
/// directory entries; a journal to replay and one elsewhere are named by themselves.
const INCOMPATIBLE: u64 = 0x2 | META_BG | 0x40 | BITS_64 | 0x100 | 0x200 | 0x400 | CSUM_SEED | 0x3c000;
/// Bits of `s_feature_ro_compat`: sparse superblocks, large files, tree directories, huge files, descriptor checksums, many
/// links, extra inode size, quota, clusters, metadata checksums, read only, projects, verity. Not: snapshots, replicas,
/// shared blocks.
const READ_ONLY: u64 =
    SPARSE | 0x2e | GDT_CSUM | 0x60 | 0x100 | BIGALLOC | METADATA_CSUM | 0x1000 | 0x2000 | 0x8000;
const RECOVER: u64 = 0x4;
const META_BG: u64 = 0x10;
const BITS_64: u64 = 0x80;
const CSUM_SEED: u64 = 0x2000;
const SPARSE: u64 = 0x1;
const GDT_CSUM: u64 = 0x10;
const BIGALLOC: u64 = 0x200;
const METADATA_CSUM: u64 = 0x400;
const ORPHANS: u64 = 0x1_0000;
const SPARSE2: u64 = 0x200;
const JOURNAL: u64 = 0x4;

/// How a filesystem is laid out. Counts are of blocks unless they say otherwise.
pub(super) struct Layout {
    pub block: u64,
    pub blocks: u64,
    first: u64,
    per_group: u64,
    /// Blocks of a cluster; bitmaps have one bit for each cluster.
    ratio: u64,
    groups: u64,
    free: u64,
    inodes_per_group: u64,
    pub inode_len: u64,
    descriptor_len: u64,
    reserved_descriptors: u64,
    /// First meta block group, if there are any.
    meta_from: Option<u64>,
    compatible: u64,
    read_only: u64,
    superblocks_2: [u64; 2],
    uuid: [u8; 16],
    seed: u32,
    journal_inode: Option<u64>,
}

/// What a group descriptor says.
struct Group {
    bitmap: u64,
    free_clusters: u64,
    /// The bitmap was never written: all is free but for metadata.
    uninit: bool,
    /// Checksum of the bitmap and which of its bits are kept.
    sum: (u32, u32),
}

/// The blocks that are free.
pub(super) fn free(part: &Part<'_>) -> Result<Map, KeepWhole> {
    let layout = Layout::read(part)?;
    let all = layout.first..layout.blocks;
    let (mut groups, mut used) = (Vec::new(), Used::default());
    let mut inode_table = None;
    for group in 0..layout.groups {
        layout.add_backups(group, &mut used)?;
        let (read, table) = layout.group(part, group, &mut used)?;
        inode_table.get_or_insert(table);
        groups.push(read);
    }
    if let (Some(inode), Some(table)) = (layout.journal_inode, inode_table) {
        within(inode, 1..=layout.inodes_per_group, "number of the journal's inode")?;
        ext_inode::add_journal(part, &layout, table, inode, &mut used)?;
    }
    used.settle(&all)?;
    let mut free = Free::default();
    for (number, group) in groups.iter().enumerate() {
        let before = free.total();
        layout.add_free(part, number as u64, group, &used, &mut free)?;
        let clusters = (free.total() - before).div_ceil(layout.ratio);
        agree("free clusters in a group", group.free_clusters, clusters)?;
    }
    agree("free blocks", layout.free, free.total())?;
    used.check(&free)?;
    Ok(Map { free, base: 0, block: layout.block })
}

impl Layout {
    fn read(part: &Part<'_>) -> Result<Self, KeepWhole> {
        let raw = &part.read(1024, 1024, "superblock")?[..];
        let (compatible, incompatible, read_only) = (raw.le32(92)?, raw.le32(96)?, raw.le32(100)?);
        let clean = |bad: bool, why| if bad { Err(KeepWhole::Unclean(why)) } else { Ok(()) };
        let state = raw.le16(58)?;
        clean(incompatible & RECOVER != 0, Unclean::Journal)?;
        clean(state & 2 != 0, Unclean::Errors)?;
        clean(state != 1 || read_only & ORPHANS != 0 || raw.le32(232)? != 0, Unclean::Mounted)?;
        known_bits(compatible, COMPATIBLE, "features of ext4")?;
        known_bits(incompatible, INCOMPATIBLE, "incompatible features of ext4")?;
        known_bits(read_only, READ_ONLY, "read-only features of ext4")?;
        let uuid: [u8; 16] = raw.array(104)?;
        if read_only & METADATA_CSUM != 0 {
            within(raw.byte(373)?, 1..=1, "kind of checksum")?;
            let sum = crc32c(!0, &[raw.get(..1020).unwrap_or_default()]);
            checked(raw.le32(1020)? == u64::from(sum), "superblock")?;
        }
        let bits_64 = incompatible & BITS_64 != 0;
        let wide = |low, high| Ok(if bits_64 { raw.le32(high)? << 32 | low } else { low });
        let block = 1024 << within(raw.le32(24)?, 0..=6, "block size")?;
        let ratio = 1 << within(raw.le32(28)?.wrapping_sub(raw.le32(24)?), 0..=16, "cluster size")?;
        let clusters = read_only & BIGALLOC != 0;
        within(ratio, 1..=if clusters { 1 << 16 } else { 1 }, "cluster size")?;
        if clusters && block == 1024 {
            return Err(KeepWhole::Layout { what: "clusters of blocks of 1024 bytes" });
        }
        let blocks = wide(raw.le32(4)?, 336)?;
        within(times(blocks, block, "size")?, 0..=part.len, "size, which is larger than the partition,")?;
        let first = u64::from(block == 1024);
        within(raw.le32(20)?, first..=first, "first data block")?;
        let per_group = raw.le32(32)?;
        within(per_group, 256..=8 * block * ratio, "number of blocks in a group")?;
        within(per_group % (8 * ratio), 0..=0, "number of blocks in a group")?;
        agree("clusters in a group", raw.le32(36)?, per_group / ratio)?;
        let groups = within(blocks, first + 1..=u64::MAX, "size")?.saturating_sub(first).div_ceil(per_group);
        within(groups, 1..=GROUPS_MAX, "number of groups")?;
        let inode_len = if raw.le32(76)? == 0 { 128 } else { raw.le16(88)? };
        within(inode_len, 128..=block, "inode size")?;
        within(u64::from(inode_len.is_power_of_two()), 1..=1, "inode size")?;
        let inodes_per_group = within(raw.le32(40)?, 1..=8 * block, "number of inodes in a group")?;
        agree("inodes", raw.le32(0)?, times(inodes_per_group, groups, "number of inodes")?)?;
        let descriptor_len = if bits_64 { raw.le16(254)? } else { 32 };
        within(descriptor_len, if bits_64 { 64 } else { 32 }..=block.min(1024), "descriptor size")?;
        within(u64::from(descriptor_len.is_power_of_two()), 1..=1, "descriptor size")?;
        let meta_from = if incompatible & META_BG != 0 { Some(raw.le32(260)?) } else { None };
        let seed = match incompatible & CSUM_SEED {
            0 => crc32c(!0, &[&uuid]),
            _ => u32::from_le_bytes(raw.array(624)?),
        };
        // A journal elsewhere has no inode here.
        let journal = (compatible & JOURNAL != 0).then_some(raw.le32(224)?).filter(|inode| *inode != 0);
        Ok(Self {
            block,
            blocks,
            first,
            per_group,
            ratio,
            groups,
            free: wide(raw.le32(12)?, 344)?,
            inodes_per_group,
            inode_len,
            descriptor_len,
            reserved_descriptors: within(raw.le16(206)?, 0..=block / 4, "reserved descriptors")?,
            meta_from,
            compatible,
            read_only,
            superblocks_2: [raw.le32(588)?, raw.le32(592)?],
            uuid,
            seed,
            journal_inode: journal,
        })
    }

    fn blocks_of(&self, group: u64) -> Range<u64> {
        let start = self.first + group * self.per_group;
        start..(start + self.per_group).min(self.blocks)
    }

    fn has_superblock(&self, group: u64) -> bool {
        let power_of = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        match () {
            () if group == 0 => true,
            () if self.compatible & SPARSE2 != 0 => self.superblocks_2.contains(&group),
            () if group == 1 || self.read_only & SPARSE == 0 => true,
            () => power_of(3) || power_of(5) || power_of(7),
        }
    }

    fn descriptors_in_block(&self) -> u64 {
        self.block / self.descriptor_len
    }

    /// Whether the descriptors of `group` lie in its meta block group.
    fn is_meta(&self, group: u64) -> bool {
        self.meta_from.is_some_and(|from| group / self.descriptors_in_block() >= from)
    }

    /// Superblock, descriptors and reserved descriptors in a group, the copies too.
    fn add_backups(&self, group: u64, used: &mut Used) -> Result<(), KeepWhole> {
        let start = self.blocks_of(group).start;
        let superblock = u64::from(self.has_superblock(group));
        used.add(start, superblock, "superblock")?;
        let blocks = self.groups.div_ceil(self.descriptors_in_block());
        let descriptors = match (self.is_meta(group), superblock) {
            // In the first, second and last group of a meta block group.
            (true, _) => {
                let in_meta = group % self.descriptors_in_block();
                u64::from(in_meta <= 1 || in_meta + 1 == self.descriptors_in_block())
            }
            (false, 0) => 0,
            (false, _) => self.meta_from.unwrap_or(blocks).min(blocks) + self.reserved_descriptors,
        };
        used.add(start + superblock, descriptors, "group descriptors")
    }

    /// The descriptor of a group, and where its inode table starts.
    fn group(&self, part: &Part<'_>, group: u64, used: &mut Used) -> Result<(Group, u64), KeepWhole> {
        let what = "group descriptors";
        let (block, index) = (group / self.descriptors_in_block(), group % self.descriptors_in_block());
        let at = if self.is_meta(group) {
            let first = group - index;
            self.blocks_of(first).start + u64::from(self.has_superblock(first))
        } else {
            self.first + 1 + block
        };
        let at = times(at, self.block, what)? + index * self.descriptor_len;
        let raw = &part.read(at, self.descriptor_len, what)?[..];
        let wide = |low: u64, high: usize| {
            Ok(if self.descriptor_len >= 64 { raw.le32(high)? << 32 | low } else { low })
        };
        let wide_16 = |low: usize, high: usize| {
            Ok(raw.le16(low)? | if self.descriptor_len >= 64 { raw.le16(high)? << 16 } else { 0 })
        };
        self.check_descriptor(group, raw)?;
        let flags = raw.le16(18)?;
        let checksums = self.read_only & (METADATA_CSUM | GDT_CSUM) != 0;
        known_bits(flags, if checksums { 7 } else { 4 }, "flags of a group")?;
        let bitmap = wide(raw.le32(0)?, 32)?;
        let table = wide(raw.le32(8)?, 40)?;
        used.add(bitmap, 1, "block bitmap")?;
        used.add(wide(raw.le32(4)?, 36)?, 1, "inode bitmap")?;
        let table_len = (self.inodes_per_group * self.inode_len).div_ceil(self.block);
        used.add(table, table_len, "inode table")?;
        let sum: u64 = wide_16(24, 56)?;
        let kept = if self.descriptor_len >= 64 { u32::MAX } else { 0xffff };
        let free_clusters = wide_16(12, 44)?;
        Ok((Group { bitmap, free_clusters, uninit: flags & 2 != 0, sum: (sum as u32, kept) }, table))
    }

    fn check_descriptor(&self, group: u64, raw: &[u8]) -> Result<(), KeepWhole> {
        let number = (group as u32).to_le_bytes();
        let (before, after) = (raw.get(..30).unwrap_or_default(), raw.get(32..).unwrap_or_default());
        let sum = match () {
            () if self.read_only & METADATA_CSUM != 0 => {
                crc32c(self.seed, &[&number, before, &[0, 0], after]) & 0xffff
            }
            () if self.read_only & GDT_CSUM != 0 => u32::from(crc16(&[&self.uuid, &number, before, after])),
            () => return Ok(()),
        };
        checked(raw.le16(30)? == u64::from(sum), "group descriptors")
    }

    /// Add what is free in a group.
    fn add_free(
        &self,
        part: &Part<'_>,
        number: u64,
        group: &Group,
        used: &Used,
        free: &mut Free,
    ) -> Result<(), KeepWhole> {
        let blocks = self.blocks_of(number);
        if group.uninit {
            return used.gaps(&blocks).into_iter().try_for_each(|gap| free.push(self.whole_clusters(gap)));
        }
        let bits = part.read(times(group.bitmap, self.block, "bitmap")?, self.block, "block bitmap")?;
        if self.read_only & METADATA_CSUM != 0 {
            let covered = bits.get(..(self.per_group / self.ratio / 8) as usize).unwrap_or_default();
            let sum = crc32c(self.seed, &[covered]);
            checked(sum & group.sum.1 == group.sum.0, "block bitmap")?;
        }
        let clusters = (blocks.end - blocks.start).div_ceil(self.ratio);
        let mut clear = Free::default();
        clear.push_clear_bits(&bits, clusters, 0)?;
        // Bits behind the last cluster are set, so that nothing is ever taken from there.
        let mut behind = Free::default();
        behind.push_clear_bits(&bits, bits.len() as u64 * 8, 0)?;
        agree("clusters behind the end as free", 0, behind.total() - clear.total())?;
        for run in clear.runs() {
            let (start, end) = (run.start * self.ratio, run.end * self.ratio);
            free.push(blocks.start + start..(blocks.start + end).min(blocks.end))?;
        }
        Ok(())
    }

    /// A cluster with metadata in it is in use.
    fn whole_clusters(&self, gap: Range<u64>) -> Range<u64> {
        let start = (gap.start - self.first).next_multiple_of(self.ratio) + self.first;
        let end = match gap.end == self.blocks {
            true => gap.end,
            false => (gap.end - self.first) / self.ratio * self.ratio + self.first,
        };
        start..end.max(start)
    }
}

fn checked(right: bool, what: &'static str) -> Result<(), KeepWhole> {
    if right { Ok(()) } else { Err(KeepWhole::Checksum { what }) }
}
