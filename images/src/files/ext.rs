//! ext2, ext3, ext4: inodes, directories and where files lie (Linux, `Documentation/filesystems/ext4/`).
//!
//! ```text
//!   superblock ─ descriptor of a group ─ inode ─┬─ extent tree, or lists of blocks ─► runs
//!                                               └─ directory blocks ─► names and inodes
//! ```
//!
//! Directories are read entry by entry; their hash trees lie in what looks like unused entries. Checksums of metadata are not
//! checked: what is listed here decides nothing about a disk, and images are hashed as a whole.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use super::{
    DEPTH_MAX, ENTRIES_MAX, Enter, Entry, FilesError, Kind, Listing, Owner, Run, array, damaged, le16, le32,
    read_runs,
};
use crate::disk::ReadDisk;

const MAGIC: u64 = 0xef53;
/// Bits of `s_feature_incompat` that are read here: file types, extents, 64 bits, multi-mount protection, flexible groups,
/// attributes in inodes, checksum seed, large directories, inline data, encryption (of some files), case folding.
const KNOWN: u64 = 0x2 | 0x40 | BITS_64 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x3c000;
const RECOVER: u64 = 0x4;
const BITS_64: u64 = 0x80;
/// Bits of `i_flags`.
const ENCRYPTED: u64 = 0x800;
const EXTENTS: u64 = 0x8_0000;
const INLINE: u64 = 0x1000_0000;
const ROOT: u32 = 2;
/// Longer ones are not read.
const DIRECTORY_LEN_MAX: u64 = 256 << 20;
/// Linux allows no longer path.
const LINK_LEN_MAX: u64 = 4096;
/// Most pieces of one file.
const RUNS_MAX: usize = 4 << 20;
/// Deepest extent tree (`ext4_extent_header`).
const TREE_DEPTH_MAX: u64 = 5;
/// Bytes of metadata kept in memory.
const CACHE_LEN_MAX: u64 = 16 << 20;
/// Metadata that is read, the same block counted each time: never more than this, and than a multiple of the filesystem's size.
const BUDGET_MAX: u64 = 32 << 30;

/// An ext2, ext3 or ext4 filesystem.
pub(super) struct Ext<'d> {
    disk: &'d dyn ReadDisk,
    start: u64,
    block: u64,
    blocks: u64,
    descriptors: u64,
    descriptor_len: u64,
    bits_64: bool,
    inodes: u64,
    inodes_per_group: u64,
    inode_len: u64,
    cache: RefCell<HashMap<u64, Rc<Vec<u8>>>>,
    budget: Cell<u64>,
}

struct Inode {
    mode: u16,
    uid: u32,
    gid: u32,
    len: u64,
    flags: u64,
    /// `i_block`: the root of the map of blocks, or a short link's target.
    map: [u8; 60],
}

impl<'d> Ext<'d> {
    /// `None` when there is no superblock of ext2, ext3 or ext4.
    pub fn open(disk: &'d dyn ReadDisk, range: Range<u64>) -> Result<Option<Self>, FilesError> {
        Ok(Self::found(disk, range, false)?.map(|(ext, _)| ext))
    }

    /// The same, also when its journal holds changes that are not in their places; whether it does.
    pub fn open_as_it_lies(
        disk: &'d dyn ReadDisk,
        range: Range<u64>,
    ) -> Result<Option<(Self, bool)>, FilesError> {
        Self::found(disk, range, true)
    }

    /// `as_it_lies`: whatever its journal holds. Else that is refused before anything else is looked at.
    fn found(
        disk: &'d dyn ReadDisk,
        range: Range<u64>,
        as_it_lies: bool,
    ) -> Result<Option<(Self, bool)>, FilesError> {
        let len = range.end - range.start;
        if len < 4096 {
            return Ok(None);
        }
        let mut first = [0; 4096];
        disk.read_at(range.start, &mut first).map_err(FilesError::Disk)?;
        let raw = &first[1024..2048];
        if le16(raw, 56)? != MAGIC {
            return Ok(None);
        }
        let what = "superblock";
        let incompatible = le32(raw, 96)?;
        let unclean = incompatible & RECOVER != 0;
        if unclean && !as_it_lies {
            return Err(FilesError::Journal);
        }
        if incompatible & !(KNOWN | RECOVER) != 0 {
            return Err(FilesError::Unsupported {
                what: "a feature of ext4 beyond those of mke2fs's defaults",
            });
        }
        let bits_64 = incompatible & BITS_64 != 0;
        let log = le32(raw, 24)?;
        let block = 1024 << if log <= 6 { log } else { return Err(damaged(what)) };
        let blocks = le32(raw, 4)? | if bits_64 { le32(raw, 336)? << 32 } else { 0 };
        let fits = blocks.checked_mul(block).is_some_and(|size| size <= len);
        let inode_len = if le32(raw, 76)? == 0 { 128 } else { le16(raw, 88)? };
        let descriptor_len = if bits_64 { le16(raw, 254)? } else { 32 };
        let (inodes, inodes_per_group) = (le32(raw, 0)?, le32(raw, 40)?);
        let possible = inode_len.is_power_of_two()
            && (128..=block).contains(&inode_len)
            && descriptor_len.is_power_of_two()
            && (if bits_64 { 64 } else { 32 }..=block).contains(&descriptor_len)
            && (1..=8 * block).contains(&inodes_per_group);
        if !fits || !possible {
            return Err(damaged(what));
        }
        let ext = Self {
            disk,
            start: range.start,
            block,
            blocks,
            // The block after the one with the superblock.
            descriptors: (1024 / block + 1) * block,
            descriptor_len,
            bits_64,
            inodes,
            inodes_per_group,
            inode_len,
            cache: RefCell::default(),
            budget: Cell::new((len.saturating_mul(4) + (64 << 20)).min(BUDGET_MAX)),
        };
        Ok(Some((ext, unclean)))
    }

    pub fn list(&self, enter: &mut Enter<'_>, listing: &mut Listing) -> Result<(), FilesError> {
        let root = self.inode(ROOT)?;
        if root.kind_bits() != S_IFDIR {
            return Err(damaged("root directory"));
        }
        let mut seen = HashSet::from([ROOT]);
        let mut waiting = vec![(PathBuf::from("/"), root, 0)];
        while let Some((path, directory, depth)) = waiting.pop() {
            let names = match self.names(&directory) {
                Err(error @ FilesError::Endless { .. }) => return Err(error),
                Err(error) => {
                    listing.add_unread(path, error)?;
                    continue;
                }
                Ok(names) => names,
            };
            for (name, number) in names {
                let path = path.join(OsStr::from_bytes(&name));
                let (entry, inode) = match self.entry(path.clone(), number) {
                    Err(error) => {
                        listing.add_unread(path, error)?;
                        continue;
                    }
                    Ok(found) => found,
                };
                let directory = entry.kind == Kind::Directory;
                listing.add(entry)?;
                if !directory || !enter(&path) {
                    continue;
                }
                if !seen.insert(number) {
                    listing.add_unread(path, FilesError::Circle)?;
                } else if depth + 1 >= DEPTH_MAX {
                    listing.add_unread(path, FilesError::Endless { what: "deeper directories" })?;
                } else {
                    waiting.push((path, inode, depth + 1));
                }
            }
        }
        Ok(())
    }

    pub fn read(&self, entry: &Entry) -> Result<Vec<u8>, FilesError> {
        let inode = self.inode(entry.inode)?;
        if inode.kind_bits() != S_IFREG || inode.len != entry.len {
            return Err(damaged("inode"));
        }
        self.content(&inode)
    }

    pub fn runs(&self, entry: &Entry) -> Result<Vec<Run>, FilesError> {
        self.map(&self.inode(entry.inode)?)
    }

    fn entry(&self, path: PathBuf, number: u32) -> Result<(Entry, Inode), FilesError> {
        let inode = self.inode(number)?;
        let kind = match inode.kind_bits() {
            S_IFREG => Kind::File,
            S_IFDIR => Kind::Directory,
            S_IFLNK => Kind::Symlink(self.target(&inode)?),
            0 => return Err(damaged("inode")),
            bits => Kind::Other(bits),
        };
        let owner = Some(Owner { mode: inode.mode & 0o7777, uid: inode.uid, gid: inode.gid });
        Ok((Entry { path, kind, len: inode.len, owner, inode: number }, inode))
    }

    fn target(&self, inode: &Inode) -> Result<PathBuf, FilesError> {
        if inode.flags & ENCRYPTED != 0 {
            return Err(FilesError::Unsupported { what: "encrypted files" });
        }
        // A target of up to 59 bytes stands in the inode.
        let bytes = match inode.len {
            len if len < 60 && inode.flags & (EXTENTS | INLINE) == 0 => inode.map[..len as usize].to_vec(),
            len if len <= LINK_LEN_MAX => self.content(inode)?,
            _ => return Err(damaged("symbolic link")),
        };
        Ok(PathBuf::from(OsStr::from_bytes(&bytes)))
    }

    /// The bytes of an inode; the caller has bounded its length.
    fn content(&self, inode: &Inode) -> Result<Vec<u8>, FilesError> {
        if inode.flags & INLINE != 0 {
            let short = inode.map.get(..inode.len as usize).filter(|_| inode.len <= 60);
            return short.map(<[u8]>::to_vec).ok_or(FilesError::Unsupported { what: "files in inodes" });
        }
        read_runs(self.disk, &self.map(inode)?, inode.len, self.block)
    }

    fn inode(&self, number: u32) -> Result<Inode, FilesError> {
        let what = "inode";
        if number == 0 || u64::from(number) > self.inodes {
            return Err(damaged("number of an inode"));
        }
        let (group, index) =
            (u64::from(number - 1) / self.inodes_per_group, u64::from(number - 1) % self.inodes_per_group);
        let at = self.descriptors + group * self.descriptor_len;
        let descriptor = self.block(at / self.block)?;
        let descriptor = descriptor.get((at % self.block) as usize..).unwrap_or_default();
        let wide = if self.bits_64 { le32(descriptor, 40)? << 32 } else { 0 };
        let table = le32(descriptor, 8)? | wide;
        let offset = index * self.inode_len;
        let block = self.block(table.checked_add(offset / self.block).ok_or(damaged(what))?)?;
        let at = (offset % self.block) as usize;
        let raw = block.get(at..at + 128).ok_or(damaged(what))?;
        Ok(Inode {
            mode: le16(raw, 0)? as u16,
            uid: (le16(raw, 2)? | le16(raw, 120)? << 16) as u32,
            gid: (le16(raw, 24)? | le16(raw, 122)? << 16) as u32,
            len: le32(raw, 4)? | le32(raw, 108)? << 32,
            flags: le32(raw, 32)?,
            map: array(raw, 40)?,
        })
    }

    /// A block of metadata.
    fn block(&self, number: u64) -> Result<Rc<Vec<u8>>, FilesError> {
        let left = self.budget.get().checked_sub(self.block);
        self.budget.set(left.ok_or(FilesError::Endless { what: "more directories and lists of blocks" })?);
        if number >= self.blocks {
            return Err(damaged("number of a block"));
        }
        let mut cache = self.cache.borrow_mut();
        if let Some(block) = cache.get(&number) {
            return Ok(Rc::clone(block));
        }
        if cache.len() as u64 * self.block >= CACHE_LEN_MAX {
            cache.clear();
        }
        let mut bytes = vec![0; self.block as usize];
        self.disk.read_at(self.start + number * self.block, &mut bytes).map_err(FilesError::Disk)?;
        let block = Rc::new(bytes);
        cache.insert(number, Rc::clone(&block));
        Ok(block)
    }

    /// What a directory names, but for itself and its parent.
    fn names(&self, directory: &Inode) -> Result<Vec<(Vec<u8>, u32)>, FilesError> {
        let what = "directory";
        if directory.flags & ENCRYPTED != 0 {
            return Err(FilesError::Unsupported { what: "encrypted directories" });
        }
        if directory.flags & INLINE != 0 {
            return Err(FilesError::Unsupported { what: "directories in inodes" });
        }
        if directory.len > DIRECTORY_LEN_MAX {
            return Err(FilesError::Endless { what: "larger directories" });
        }
        let mut names = Vec::new();
        for run in self.map(directory)? {
            let first = (run.disk - self.start) / self.block;
            for number in first..first + run.len.div_ceil(self.block) {
                let block = self.block(number)?;
                let mut rest = &block[..];
                while !rest.is_empty() {
                    let inode = le32(rest, 0)? as u32;
                    // 65,536 does not fit its field (`ext4_rec_len_from_disk`).
                    let len = match le16(rest, 4)? {
                        0 | 65_535 if self.block == 65_536 => 65_536,
                        len => len as usize,
                    };
                    let name_len = usize::from(array::<1>(rest, 6)?[0]);
                    let name = rest.get(8..8 + name_len).filter(|_| 8 + name_len <= len);
                    rest = rest.get(len..).filter(|_| len >= 8).ok_or(damaged(what))?;
                    if inode == 0 {
                        continue;
                    }
                    let name = name.filter(|n| !n.is_empty() && !n.contains(&b'/') && !n.contains(&0));
                    match name.ok_or(damaged("name of a file"))? {
                        b"." | b".." => {}
                        _ if names.len() >= ENTRIES_MAX => {
                            return Err(FilesError::Endless { what: "more files" });
                        }
                        name => names.push((name.to_vec(), inode)),
                    }
                }
            }
        }
        Ok(names)
    }

    /// Where an inode's bytes lie.
    fn map(&self, inode: &Inode) -> Result<Vec<Run>, FilesError> {
        if inode.flags & (ENCRYPTED | INLINE) != 0 {
            return Err(FilesError::Unsupported { what: "encrypted files, or files in inodes" });
        }
        let mut walk = Walk { ext: self, runs: Vec::new(), next: 0, lists: HashSet::new() };
        match inode.flags & EXTENTS {
            0 => walk.pointers(&inode.map)?,
            _ => walk.tree(&inode.map, TREE_DEPTH_MAX)?,
        }
        let mut runs = walk.runs;
        // Blocks behind the end are set aside for it to grow, and are nobody's bytes.
        runs.retain_mut(|run| {
            run.len = run.len.min(inode.len.saturating_sub(run.at));
            run.len > 0
        });
        Ok(runs)
    }
}

/// Type bits of `i_mode`.
const S_IFDIR: u16 = 0o040_000;
const S_IFREG: u16 = 0o100_000;
const S_IFLNK: u16 = 0o120_000;

impl Inode {
    fn kind_bits(&self) -> u16 {
        self.mode & 0o170_000
    }
}

/// Collects the runs of an inode, in blocks of the file first to last.
struct Walk<'e, 'd> {
    ext: &'e Ext<'d>,
    runs: Vec<Run>,
    /// The block of the file that comes next at the earliest.
    next: u64,
    /// Lists of blocks that were read: none is read twice, so they cannot run in circles.
    lists: HashSet<u64>,
}

impl Walk<'_, '_> {
    fn add(&mut self, at: u64, first: u64, count: u64) -> Result<(), FilesError> {
        let (block, what) = (self.ext.block, "list of a file's blocks");
        let end = first.checked_add(count).filter(|end| first > 0 && *end <= self.ext.blocks);
        if end.is_none() || at < self.next {
            return Err(damaged(what));
        }
        self.next = at + count;
        let run = Run { at: at * block, len: count * block, disk: self.ext.start + first * block };
        let full = self.runs.len() >= RUNS_MAX;
        match self.runs.last_mut() {
            Some(last) if last.at + last.len == run.at && last.disk + last.len == run.disk => {
                last.len += run.len;
            }
            _ if full => return Err(FilesError::Endless { what: "files in more pieces" }),
            _ => self.runs.push(run),
        }
        Ok(())
    }

    fn list(&mut self, number: u64) -> Result<Rc<Vec<u8>>, FilesError> {
        match self.lists.insert(number) {
            true => self.ext.block(number),
            false => Err(damaged("list of a file's blocks")),
        }
    }

    /// A node of an extent tree, at most `depth` above the leaves.
    fn tree(&mut self, node: &[u8], depth: u64) -> Result<(), FilesError> {
        let what = "list of a file's blocks";
        let (magic, count, found) = (le16(node, 0)?, le16(node, 2)?, le16(node, 6)?);
        if magic != 0xf30a || found > depth || (count + 1) * 12 > node.len() as u64 {
            return Err(damaged(what));
        }
        for entry in (1..=count as usize).map(|number| number * 12) {
            let at = le32(node, entry)?;
            if found > 0 {
                let below = self.list(le16(node, entry + 8)? << 32 | le32(node, entry + 4)?)?;
                self.tree(&below, found - 1)?;
                continue;
            }
            let (len, first) =
                (le16(node, entry + 4)?, le16(node, entry + 6)? << 32 | le32(node, entry + 8)?);
            match len {
                1..=32_768 => self.add(at, first, len)?,
                // Set aside and never written: reads as zeros.
                32_769.. if at >= self.next => self.next = at + len - 32_768,
                _ => return Err(damaged(what)),
            }
        }
        Ok(())
    }

    /// Twelve blocks, then a list of blocks, a list of lists, a list of lists of lists.
    fn pointers(&mut self, map: &[u8]) -> Result<(), FilesError> {
        let mut at = 0;
        for index in 0..15 {
            self.pointer(le32(map, index * 4)?, index.saturating_sub(11) as u32, &mut at)?;
        }
        Ok(())
    }

    fn pointer(&mut self, block: u64, depth: u32, at: &mut u64) -> Result<(), FilesError> {
        let in_list = self.ext.block / 4;
        if block == 0 {
            *at += in_list.pow(depth);
            return Ok(());
        }
        let Some(below) = depth.checked_sub(1) else {
            self.add(*at, block, 1)?;
            *at += 1;
            return Ok(());
        };
        let list = self.list(block)?;
        (0..list.len()).step_by(4).try_for_each(|index| self.pointer(le32(&list, index)?, below, at))
    }
}
