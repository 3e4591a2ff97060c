//! The journal of ext3 and ext4: the blocks of its inode, and that nothing in it waits to be replayed.

use std::ops::Range;

use super::ext::Layout;
use super::part::{Numbers, Part, times, within};
use super::runs::Used;
use super::{KeepWhole, Unclean};

const WHAT: &str = "journal";
/// Bit of `i_flags`: blocks are listed in extents.
const EXTENTS: u64 = 0x8_0000;
/// Most blocks of a journal, as mke2fs(8) allows; with this many the tree has a handful of blocks of its own.
const BLOCKS_MAX: u64 = 10_240_000;
/// Deepest extent tree (`ext4_extent_header`).
const DEPTH_MAX: u64 = 5;

/// The blocks of an inode in the order of the file, and the blocks that list them.
struct Walk<'a> {
    part: &'a Part<'a>,
    layout: &'a Layout,
    runs: Vec<Range<u64>>,
    total: u64,
    lists: Vec<u64>,
}

/// Add the blocks of the journal; its own superblock must say that it is empty.
pub(super) fn add_journal(
    part: &Part<'_>,
    layout: &Layout,
    inode_table: u64,
    inode: u64,
    used: &mut Used,
) -> Result<(), KeepWhole> {
    let at = times(inode_table, layout.block, WHAT)?
        .checked_add((inode - 1) * layout.inode_len)
        .ok_or(KeepWhole::Damaged { what: WHAT })?;
    let raw = &part.read(at, 128, WHAT)?[..];
    let mut walk = Walk { part, layout, runs: Vec::new(), total: 0, lists: Vec::new() };
    let map = raw.get(40..100).unwrap_or_default();
    match raw.le32(32)? & EXTENTS {
        0 => walk.indirect(map)?,
        _ => walk.extents(map, DEPTH_MAX)?,
    }
    let len = raw.le32(4)?;
    super::part::agree("blocks in its journal", len.div_ceil(layout.block), walk.total)?;
    for run in &walk.runs {
        used.add(run.start, run.end - run.start, WHAT)?;
    }
    for list in &walk.lists {
        used.add(*list, 1, "journal's list of blocks")?;
    }
    let first = walk.runs.first().map_or(0, |run| run.start);
    let head = part.read(times(first, layout.block, WHAT)?, 1024, WHAT)?;
    // `journal_superblock_t`: magic, type 3 or 4; `s_start` is 0 when there is nothing to replay.
    within(head.be32(0)?, 0xc03b_3998..=0xc03b_3998, WHAT)?;
    within(head.be32(4)?, 3..=4, WHAT)?;
    if head.be32(28)? != 0 { Err(KeepWhole::Unclean(Unclean::Journal)) } else { Ok(()) }
}

impl Walk<'_> {
    fn add(&mut self, first: u64, count: u64) -> Result<(), KeepWhole> {
        let end = within(first + count, 1..=self.layout.blocks, WHAT)?;
        self.total = within(self.total + count, 1..=BLOCKS_MAX, WHAT)?;
        match self.runs.last_mut() {
            Some(last) if last.end == first => last.end = end,
            _ => self.runs.push(first..end),
        }
        Ok(())
    }

    fn list(&mut self, block: u64) -> Result<Vec<u8>, KeepWhole> {
        // Each list has one block of the journal at least.
        within(self.lists.len() as u64, 0..=BLOCKS_MAX / 100, WHAT)?;
        self.lists.push(block);
        self.part.read(times(block, self.layout.block, WHAT)?, self.layout.block, WHAT)
    }

    /// A node of an extent tree, at most `depth` above the leaves.
    fn extents(&mut self, node: &[u8], depth: u64) -> Result<(), KeepWhole> {
        within(node.le16(0)?, 0xf30a..=0xf30a, WHAT)?;
        let entries = within(node.le16(2)?, 1..=node.len() as u64 / 12 - 1, WHAT)?;
        let depth = within(node.le16(6)?, 0..=depth, WHAT)?;
        for entry in (1..=entries as usize).map(|number| number * 12) {
            if depth == 0 {
                // A journal has no holes, and none of its extents is unwritten.
                within(node.le32(entry)?, self.total..=self.total, WHAT)?;
                let count = within(node.le16(entry + 4)?, 1..=32_768, WHAT)?;
                self.add(node.le16(entry + 6)? << 32 | node.le32(entry + 8)?, count)?;
            } else {
                let below = self.list(node.le16(entry + 8)? << 32 | node.le32(entry + 4)?)?;
                self.extents(&below, depth - 1)?;
            }
        }
        Ok(())
    }

    /// Twelve blocks, then a list of blocks, a list of lists, a list of lists of lists.
    fn indirect(&mut self, map: &[u8]) -> Result<(), KeepWhole> {
        for index in 0..15 {
            let block = map.le32(index * 4)?;
            if block != 0 {
                self.pointer(block, index.saturating_sub(11))?;
            }
        }
        Ok(())
    }

    fn pointer(&mut self, block: u64, depth: usize) -> Result<(), KeepWhole> {
        let Some(depth) = depth.checked_sub(1) else { return self.add(block, 1) };
        let list = self.list(block)?;
        for at in (0..list.len()).step_by(4) {
            match list.le32(at)? {
                0 => {}
                block => self.pointer(block, depth)?,
            }
        }
        Ok(())
    }
}
