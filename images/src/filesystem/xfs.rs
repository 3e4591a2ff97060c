//! XFS: the trees of free extents of each allocation group ("XFS Algorithms & Data Structures", 3rd edition).
//!
//! Each group lists its free extents twice, by block and by length. Both lists are read and must be the same, and as long
//! as the group's header and the superblock say. Version 5 has a checksum and its own address in each block; all are
//! checked. Numbers are big-endian, checksums little-endian.

use std::ops::Range;

use super::checksum::crc32c;
use super::part::{Numbers, Part, agree, known_bits, times, within};
use super::runs::{Free, Map, Used};
use super::{KeepWhole, Unclean, xfs_log};

/// Groups are looked at one by one; each has 16 MiB and more when mkfs.xfs(8) makes it.
const GROUPS_MAX: u64 = 1 << 20;
/// Deepest tree: 2^31 blocks with the smallest fan-out.
const LEVELS_MAX: u64 = 9;
/// `sb_features_ro_compat`: free inode tree, reverse map, shared extents, inode tree counts.
const READ_ONLY: u64 = 0xf;
/// `sb_features_incompat`: file types, sparse inodes, metadata UUID, big times, large extent counts, exchange of ranges,
/// parent pointers. Not: needs repair; metadata directories, zones.
const INCOMPATIBLE: u64 = 0xef;
const REVERSE_MAP: u64 = 2;
const SHARED: u64 = 4;
const FREE_INODES: u64 = 1;

/// What the superblock says; counts are of blocks.
pub(super) struct Super {
    pub block: u64,
    blocks: u64,
    group_len: u64,
    groups: u64,
    /// Bits of a group's block number in a block number of the filesystem.
    group_bits: u64,
    inodes_bits: u64,
    sector: u64,
    pub v5: bool,
    read_only: u64,
    free: u64,
    root_inode: u64,
    log_start: u64,
    pub log_len: u64,
    pub uuid: [u8; 16],
    /// The UUID in all other metadata.
    meta_uuid: [u8; 16],
}

/// A free extent list being read.
struct Tree<'a> {
    part: &'a Part<'a>,
    fs: &'a Super,
    group: u64,
    magic: &'static [u8; 4],
    /// First blocks and lengths, in the order of the tree.
    extents: Vec<(u64, u64)>,
    blocks: Vec<u64>,
    blocks_max: u64,
}

/// The blocks that are free.
pub(super) fn free(part: &Part<'_>) -> Result<Map, KeepWhole> {
    let fs = Super::read(part)?;
    let log = fs.linear(fs.log_start)?;
    xfs_log::check_clean(part, &fs, times(log, fs.block, "log")?)?;
    let (mut free, mut used, mut counted) = (Free::default(), Used::default(), 0_u64);
    used.add(log, fs.log_len, "log")?;
    let root = fs.linear(fs.root_inode >> fs.inodes_bits)?;
    used.add(root, 1, "root directory")?;
    for group in 0..fs.groups {
        counted = counted.saturating_add(fs.group(part, group, &mut free, &mut used)?);
    }
    agree("free blocks", fs.free, counted)?;
    used.settle(&(0..fs.blocks))?;
    used.check(&free)?;
    Ok(Map { free, base: 0, block: fs.block })
}

impl Super {
    fn read(part: &Part<'_>) -> Result<Self, KeepWhole> {
        let what = "superblock";
        let head = part.read(0, 512, what)?;
        let sector = 1 << within(head.byte(121)?, 9..=15, "sector size")?;
        let raw = &part.read(0, sector, what)?[..];
        let (version, features_2) = (raw.be16(100)?, raw.be32(200)?);
        within(raw.byte(126)?, 0..=0, "growth, which has not ended,")?;
        let v5 = within(version & 0xf, 4..=5, "version")? == 5;
        let (mut read_only, uuid) = (0, raw.array(32)?);
        let mut meta_uuid = uuid;
        if v5 {
            checked(raw, 224, what)?;
            known_bits(raw.be32(208)?, 0, "compatible features of XFS")?;
            read_only = raw.be32(212)?;
            known_bits(read_only, READ_ONLY, "read-only features of XFS")?;
            known_bits(raw.be32(216)?, INCOMPATIBLE, "incompatible features of XFS")?;
            if raw.be32(220)? != 0 {
                return Err(KeepWhole::Unclean(Unclean::Journal));
            }
            if raw.be32(216)? & 4 != 0 {
                meta_uuid = raw.array(248)?;
            }
        } else if version & 0x8000 == 0 || features_2 & 2 == 0 {
            return Err(KeepWhole::Layout { what: "no lazy counters" });
        }
        if raw.be64(16)? != 0 {
            return Err(KeepWhole::Layout { what: "a realtime section" });
        }
        if raw.be64(48)? == 0 {
            return Err(KeepWhole::Layout { what: "its log elsewhere" });
        }
        let block = 1 << within(raw.byte(120)?, 9..=16, "block size")?;
        agree("bytes in a block", raw.be32(4)?, block)?;
        within(block, sector..=1 << 16, "block size")?;
        let blocks = raw.be64(8)?;
        within(times(blocks, block, "size")?, 1..=part.len, "size, which is larger than the partition,")?;
        let group_len = within(raw.be32(84)?, 64..=(1 << 31) - 1, "group size")?;
        let groups = within(raw.be32(88)?, 1..=GROUPS_MAX, "number of groups")?;
        agree("groups", groups, blocks.div_ceil(group_len))?;
        let group_bits = raw.byte(124)?;
        agree("bits of a block number", group_bits, u64::from(group_len.next_power_of_two().ilog2()))?;
        Ok(Self {
            block,
            blocks,
            group_len,
            groups,
            group_bits,
            inodes_bits: within(raw.byte(123)?, 0..=8, "number of inodes in a block")?,
            sector,
            v5,
            read_only,
            free: raw.be64(144)?,
            root_inode: raw.be64(56)?,
            log_start: raw.be64(48)?,
            log_len: within(raw.be32(96)?, 1..=group_len, "log")?,
            uuid,
            meta_uuid,
        })
    }

    /// A block number as the filesystem writes it, as one that counts through.
    fn linear(&self, number: u64) -> Result<u64, KeepWhole> {
        let (group, block) = (number >> self.group_bits, number & ((1 << self.group_bits) - 1));
        within(group, 0..=self.groups - 1, "block number")?;
        within(block, 0..=self.group_len - 1, "block number")?;
        within(group * self.group_len + block, 0..=self.blocks - 1, "block number")
    }

    fn blocks_of(&self, group: u64) -> Range<u64> {
        let start = group * self.group_len;
        start..(start + self.group_len).min(self.blocks)
    }

    /// A header of a group, `number` sectors from its start.
    fn header(
        &self,
        part: &Part<'_>,
        group: u64,
        number: u64,
        magic: &[u8; 4],
        what: &'static str,
    ) -> Result<Vec<u8>, KeepWhole> {
        let at = times(self.blocks_of(group).start, self.block, what)? + number * self.sector;
        let raw = part.read(at, self.sector, what)?;
        let (crc, uuid) = if number == 1 { (216, 64) } else { (312, 296) };
        let blocks = self.blocks_of(group);
        if raw.array::<4>(0)? != *magic || raw.be32(4)? != 1 {
            return Err(KeepWhole::Damaged { what });
        }
        agree("groups before a group", raw.be32(8)?, group)?;
        agree("blocks in a group", raw.be32(12)?, blocks.end - blocks.start)?;
        if self.v5 {
            checked(&raw, crc, what)?;
            if raw.array(uuid)? != self.meta_uuid {
                return Err(KeepWhole::Damaged { what });
            }
        }
        Ok(raw)
    }

    /// Add what is free in a group; gives the number of blocks by which the superblock counts it.
    fn group(&self, part: &Part<'_>, group: u64, free: &mut Free, used: &mut Used) -> Result<u64, KeepWhole> {
        let start = self.blocks_of(group).start;
        let agf = self.header(part, group, 1, b"XAGF", "group header")?;
        let agi = self.header(part, group, 2, b"XAGI", "inode header")?;
        used.add(start, (4 * self.sector).div_ceil(self.block), "group header")?;
        let in_group =
            |block: u64, what| within(block, 1..=self.group_len - 1, what).map(|block| start + block);
        let mut roots = vec![(agi.be32(20)?, "inode tree")];
        if self.read_only & FREE_INODES != 0 {
            roots.push((agi.be32(328)?, "free inode tree"));
        }
        if self.read_only & REVERSE_MAP != 0 {
            roots.push((agf.be32(24)?, "reverse map"));
        }
        if self.read_only & SHARED != 0 {
            roots.push((agf.be32(88)?, "tree of shared extents"));
        }
        for (root, what) in roots {
            used.add(in_group(root, what)?, 1, what)?;
        }
        let listed = self.free_list(part, group, &agf)?;
        for block in &listed {
            used.add(in_group(*block, "free list")?, 1, "free list")?;
        }
        let tree_blocks = agf.be32(60)?;
        let mut read = |magic, root, level, what| {
            let levels = within(agf.be32(level)?, 1..=LEVELS_MAX, what)?;
            let mut tree = Tree::new(part, self, group, magic, tree_blocks);
            tree.node(agf.be32(root)?, levels - 1)?;
            for block in &tree.blocks {
                used.add(in_group(*block, what)?, 1, what)?;
            }
            Ok((tree.extents, tree.blocks.len() as u64))
        };
        let magics = if self.v5 { [b"AB3B", b"AB3C"] } else { [b"ABTB", b"ABTC"] };
        let (by_block, blocks) = read(magics[0], 16, 28, "tree of free extents by block")?;
        let (mut by_length, more) = read(magics[1], 20, 32, "tree of free extents by length")?;
        if self.read_only & REVERSE_MAP == 0 {
            agree("blocks in trees of free extents", tree_blocks + 2, blocks + more)?;
        }
        by_length.sort_unstable();
        if by_block != by_length {
            return Err(KeepWhole::Damaged { what: "tree of free extents by length" });
        }
        let before = free.total();
        for (first, count) in by_block {
            let end = within(first + count, first + 1..=self.blocks_of(group).end - start, "free extent")?;
            free.push(start + first..start + end)?;
        }
        agree("free blocks in a group", agf.be32(52)?, free.total() - before)?;
        Ok(agf.be32(52)? + listed.len() as u64 + tree_blocks)
    }

    /// The blocks that a group has set aside for its trees.
    fn free_list(&self, part: &Part<'_>, group: u64, agf: &[u8]) -> Result<Vec<u64>, KeepWhole> {
        let what = "free list";
        let at = times(self.blocks_of(group).start, self.block, what)? + 3 * self.sector;
        let raw = &part.read(at, self.sector, what)?[..];
        let mut from = 0;
        if self.v5 {
            checked(raw, 32, what)?;
            if raw.array::<4>(0)? != *b"XAFL" || raw.array(8)? != self.meta_uuid {
                return Err(KeepWhole::Damaged { what });
            }
            agree("groups before a free list", raw.be32(4)?, group)?;
            from = 36;
        }
        let slots = (self.sector - from) / 4;
        let (first, last) =
            (within(agf.be32(40)?, 0..=slots - 1, what)?, within(agf.be32(44)?, 0..=slots - 1, what)?);
        let count = within(agf.be32(48)?, 0..=slots, what)?;
        if count > 0 {
            agree("blocks in a free list", count, (last + slots - first) % slots + 1)?;
        }
        (0..count).map(|index| raw.be32((from + (first + index) % slots * 4) as usize)).collect()
    }
}

impl<'a> Tree<'a> {
    fn new(part: &'a Part<'a>, fs: &'a Super, group: u64, magic: &'static [u8; 4], tree_blocks: u64) -> Self {
        // The header does not count the roots.
        let blocks_max = (tree_blocks + 2).min(fs.group_len);
        Self { part, fs, group, magic, extents: Vec::new(), blocks: Vec::new(), blocks_max }
    }

    /// Read the block `number` of the group, which stands `level` above the leaves.
    fn node(&mut self, number: u64, level: u64) -> Result<(), KeepWhole> {
        let what = "tree of free extents";
        let blocks = self.fs.blocks_of(self.group);
        within(self.blocks.len() as u64 + 1, 1..=self.blocks_max, what)?;
        within(number, 1..=(blocks.end - blocks.start).saturating_sub(1), what)?;
        let at = times(blocks.start + number, self.fs.block, what)?;
        let raw = &self.part.read(at, self.fs.block, what)?[..];
        self.blocks.push(number);
        if raw.array::<4>(0)? != *self.magic {
            return Err(KeepWhole::Damaged { what });
        }
        agree("levels below a tree's block", raw.be16(4)?, level)?;
        let mut from = 16;
        if self.fs.v5 {
            checked(raw, 52, what)?;
            // In sectors of 512 bytes.
            agree("sectors before a tree's block", raw.be64(16)?, at / 512)?;
            agree("groups before a tree's block", raw.be32(48)?, self.group)?;
            if raw.array(32)? != self.fs.meta_uuid {
                return Err(KeepWhole::Damaged { what });
            }
            from = 56;
        }
        let room = self.fs.block as usize - from;
        let records = raw.be16(6)?;
        if level == 0 {
            for at in (0..within(records, 0..=room as u64 / 8, what)? as usize).map(|index| from + index * 8)
            {
                self.extents.push((raw.be32(at)?, within(raw.be32(at + 4)?, 1..=u64::MAX, what)?));
            }
            return Ok(());
        }
        // Keys of 8 bytes, as many as fit, then as many pointers of 4.
        let pointers = from + room / 12 * 8;
        for index in 0..within(records, 1..=room as u64 / 12, what)? as usize {
            self.node(raw.be32(pointers + index * 4)?, level - 1)?;
        }
        Ok(())
    }
}

/// The checksum of a whole block, at byte `at` of it, which counts as zeros.
fn checked(raw: &[u8], at: usize, what: &'static str) -> Result<(), KeepWhole> {
    let (before, after) = (raw.get(..at).unwrap_or_default(), raw.get(at + 4..).unwrap_or_default());
    match raw.le32(at)? == u64::from(!crc32c(!0, &[before, &[0; 4], after])) {
        true => Ok(()),
        false => Err(KeepWhole::Checksum { what }),
    }
}
