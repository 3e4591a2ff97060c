//! FAT12, FAT16 and FAT32 with long names (Microsoft, "FAT: General Overview of On-Disk Format" 1.03).
//!
//! ```text
//!   first sector ─┬─ table: for each cluster the next one ─► runs
//!                 └─ directories: entries of 32 bytes, a long name in those before ─► names and first clusters
//! ```

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{DEPTH_MAX, Enter, Entry, FilesError, Kind, Listing, Run, damaged, le16, le32, read_runs};
use crate::disk::ReadDisk;

const BLOCK: u64 = 4096;
/// Blocks of the table that are kept in memory.
const BLOCKS_MAX: usize = 4096;
/// A directory has at most 65,536 entries (page 33).
const DIRECTORY_LEN_MAX: u64 = 65_536 * ENTRY_LEN as u64;
const ENTRY_LEN: usize = 32;
const LONG_NAME: u8 = 0x0f;
const LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;

/// A FAT filesystem.
pub(crate) struct Fat<'d> {
    disk: &'d dyn ReadDisk,
    start: u64,
    len: u64,
    cluster: u64,
    clusters: u64,
    /// First byte of the table, of the clusters, and the root directory of FAT12 and FAT16.
    table: u64,
    data: u64,
    root: Range<u64>,
    root_cluster: u32,
    bits: u32,
    blocks: RefCell<HashMap<u64, Vec<u8>>>,
    budget: Cell<u64>,
}

/// Fewest clusters of FAT32: the number of clusters, not a label, tells the kinds of FAT apart (page 14). mkfs.fat makes
/// smaller ones when told to, and firmware reads them.
pub(crate) const FAT32_CLUSTERS_MIN: u64 = 65_525;

/// An entry of a directory.
struct Found {
    name: Vec<u8>,
    /// The name of eight characters and three, which firmware finds it by, too.
    short: Vec<u8>,
    is_dir: bool,
    first: u32,
    len: u64,
}

impl<'d> Fat<'d> {
    /// `None` when the first sector is not that of FAT.
    pub fn open(disk: &'d dyn ReadDisk, range: Range<u64>) -> Result<Option<Self>, FilesError> {
        let len = range.end - range.start;
        if len < BLOCK {
            return Ok(None);
        }
        let mut first = [0; BLOCK as usize];
        disk.read_at(range.start, &mut first).map_err(FilesError::Disk)?;
        // The text is for people by the specification; all that make FAT write it, and nothing else has it.
        let named = first[54..].starts_with(b"FAT1") || first[82..].starts_with(b"FAT32");
        if !named || first[510..512] != [0x55, 0xaa] {
            return Ok(None);
        }
        let what = "first sector";
        let (sector, in_cluster) = (le16(&first, 11)?, u64::from(first[13]));
        let reserved = le16(&first, 14)?;
        let either = |short, long| if short > 0 { short } else { long };
        let (short_table, long_table) = (le16(&first, 22)?, le32(&first, 36)?);
        let (sectors, table_len) =
            (either(le16(&first, 19)?, le32(&first, 32)?), either(short_table, long_table));
        let possible = [512, 1024, 2048, 4096].contains(&sector)
            && in_cluster.is_power_of_two()
            && reserved > 0
            && (1..=16).contains(&first[16])
            && sectors * sector <= len;
        let root_len = (le16(&first, 17)? * ENTRY_LEN as u64).next_multiple_of(sector.max(1));
        let root = (reserved + u64::from(first[16]) * table_len) * sector;
        let data = root + root_len;
        let clusters = (sectors * sector).checked_sub(data).filter(|_| possible).ok_or(damaged(what))?
            / (in_cluster * sector);
        // Who has no short length of the table has the entries of FAT32, however few: so Linux reads it.
        let bits = match clusters {
            _ if short_table == 0 => 32,
            0..4085 => 12,
            4085.. => 16,
        };
        let fits = ((clusters + 2) * u64::from(bits)).div_ceil(8) <= table_len * sector;
        if clusters == 0 || clusters >= 0x0fff_fff5 || !fits {
            return Err(damaged(what));
        }
        Ok(Some(Self {
            disk,
            start: range.start,
            len,
            cluster: in_cluster * sector,
            clusters,
            table: reserved * sector,
            data,
            root: root..data,
            root_cluster: le32(&first, 44)? as u32,
            bits,
            blocks: RefCell::default(),
            budget: Cell::new(len.saturating_mul(4).saturating_add(64 << 20)),
        }))
    }

    pub fn list(&self, enter: &mut Enter<'_>, listing: &mut Listing) -> Result<(), FilesError> {
        let mut seen = HashSet::new();
        let mut waiting = vec![(PathBuf::from("/"), None, 0)];
        while let Some((path, first, depth)) = waiting.pop() {
            let names = match self.directory(first).and_then(|bytes| names(&bytes)) {
                Err(error @ FilesError::Endless { .. }) => return Err(error),
                Err(error) => {
                    listing.add_unread(path, error)?;
                    continue;
                }
                Ok(names) => names,
            };
            for Found { name, is_dir, first, len, .. } in names {
                let path = path.join(OsStr::from_bytes(&name));
                let kind = if is_dir { Kind::Directory } else { Kind::File };
                let first = if self.bits == 32 { first } else { first & 0xffff };
                listing.add(Entry { path: path.clone(), kind, len, owner: None, inode: first })?;
                if !is_dir || !enter(&path) {
                    continue;
                }
                if !seen.insert(first) || (self.bits == 32 && first == self.root_cluster) {
                    listing.add_unread(path, FilesError::Circle)?;
                } else if depth + 1 >= DEPTH_MAX {
                    listing.add_unread(path, FilesError::Endless { what: "deeper directories" })?;
                } else {
                    waiting.push((path, Some(first), depth + 1));
                }
            }
        }
        Ok(())
    }

    /// How many clusters it has, if it has the form of FAT32 and too few clusters for one.
    pub fn too_small_for_fat32(&self) -> Option<u64> {
        (self.bits == 32 && self.clusters < FAT32_CLUSTERS_MIN).then_some(self.clusters)
    }

    /// The file of that path, if there is one; upper and lower case are the same, as for firmware.
    pub fn find(&self, path: &str) -> Result<Option<Entry>, FilesError> {
        let (mut first, mut parts) = (None, path.split('/').peekable());
        while let Some(part) = parts.next() {
            let names = names(&self.directory(first)?)?;
            let is_it = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase() == part.to_lowercase();
            let Some(found) = names.into_iter().find(|found| is_it(&found.name) || is_it(&found.short))
            else {
                return Ok(None);
            };
            let cluster = if self.bits == 32 { found.first } else { found.first & 0xffff };
            match (parts.peek().is_some(), found.is_dir) {
                (true, true) => first = Some(cluster),
                (false, false) => {
                    let (path, kind) = (PathBuf::from(path), Kind::File);
                    return Ok(Some(Entry { path, kind, len: found.len, owner: None, inode: cluster }));
                }
                (true, false) | (false, true) => return Ok(None),
            }
        }
        Ok(None)
    }

    pub fn read(&self, entry: &Entry) -> Result<Vec<u8>, FilesError> {
        read_runs(self.disk, &self.runs(entry)?, entry.len, self.cluster)
    }

    pub fn runs(&self, entry: &Entry) -> Result<Vec<Run>, FilesError> {
        let (mut runs, wanted) = (Vec::new(), entry.len.div_ceil(self.cluster));
        if wanted > 0 && self.chain(entry.inode, wanted, &mut runs)? < wanted {
            return Err(damaged("chain of a file's clusters"));
        }
        // The last cluster is not full.
        if let Some(last) = runs.last_mut() {
            last.len = entry.len - last.at;
        }
        Ok(runs)
    }

    /// The bytes of a directory; `None` for the root.
    fn directory(&self, first: Option<u32>) -> Result<Vec<u8>, FilesError> {
        let first = match first {
            None if self.bits < 32 => {
                let len = self.root.end - self.root.start;
                let run = Run { at: 0, len, disk: self.start + self.root.start };
                return read_runs(self.disk, &[run], len, 1);
            }
            None => self.root_cluster,
            Some(first) => first,
        };
        let (mut runs, most) = (Vec::new(), DIRECTORY_LEN_MAX.div_ceil(self.cluster));
        let len = self.chain(first, most + 1, &mut runs)? * self.cluster;
        if len > most * self.cluster {
            return Err(damaged("chain of a directory's clusters"));
        }
        self.spend(len)?;
        read_runs(self.disk, &runs, len, self.cluster)
    }

    fn spend(&self, bytes: u64) -> Result<(), FilesError> {
        let left = self.budget.get().checked_sub(bytes);
        self.budget.set(left.ok_or(FilesError::Endless { what: "more directories and chains of clusters" })?);
        Ok(())
    }

    /// Follow a chain to its end, or for `most` clusters; how many there were comes back.
    fn chain(&self, first: u32, most: u64, runs: &mut Vec<Run>) -> Result<u64, FilesError> {
        let (mut cluster, mut count) = (u64::from(first), 0);
        while count < most {
            if !(2..self.clusters + 2).contains(&cluster) {
                return Err(damaged("number of a cluster"));
            }
            let disk = self.start + self.data + (cluster - 2) * self.cluster;
            match runs.last_mut() {
                Some(last) if last.disk + last.len == disk => last.len += self.cluster,
                _ => runs.push(Run { at: count * self.cluster, len: self.cluster, disk }),
            }
            count += 1;
            self.spend(4)?;
            cluster = self.next(cluster)?;
            // 7 marks a bad cluster, 8 and more the end.
            if cluster >= (0x0fff_fff8 & ((1 << self.bits) - 1)) {
                break;
            }
        }
        Ok(count)
    }

    /// What the table says of a cluster: the next one, or that there is none.
    fn next(&self, cluster: u64) -> Result<u64, FilesError> {
        let at = self.table + cluster * u64::from(self.bits) / 8;
        let byte = |index: u64| self.byte(at + index).map(u64::from);
        match self.bits {
            12 => Ok((byte(0)? | byte(1)? << 8) >> (4 * (cluster & 1)) & 0xfff),
            16 => Ok(byte(0)? | byte(1)? << 8),
            _ => Ok((byte(0)? | byte(1)? << 8 | byte(2)? << 16 | byte(3)? << 24) & 0x0fff_ffff),
        }
    }

    fn byte(&self, at: u64) -> Result<u8, FilesError> {
        let mut blocks = self.blocks.borrow_mut();
        let (block, index) = (at / BLOCK, (at % BLOCK) as usize);
        if !blocks.contains_key(&block) {
            if blocks.len() >= BLOCKS_MAX {
                blocks.clear();
            }
            let mut bytes = vec![0; self.len.saturating_sub(block * BLOCK).min(BLOCK) as usize];
            self.disk.read_at(self.start + block * BLOCK, &mut bytes).map_err(FilesError::Disk)?;
            blocks.insert(block, bytes);
        }
        blocks.get(&block).and_then(|bytes| bytes.get(index)).copied().ok_or(damaged("table of clusters"))
    }
}

/// What a directory names, but for itself and its parent.
fn names(bytes: &[u8]) -> Result<Vec<Found>, FilesError> {
    let (mut names, mut long) = (Vec::new(), LongName::default());
    for entry in bytes.as_chunks::<ENTRY_LEN>().0 {
        match (entry[0], entry[11] & 0x3f) {
            (0, _) => break,
            (0xe5, _) => long = LongName::default(),
            (_, LONG_NAME) => long.add(entry),
            (_, attributes) if attributes & LABEL != 0 => long = LongName::default(),
            (_, attributes) => {
                let short = short_name(entry);
                let name = std::mem::take(&mut long).of(entry).unwrap_or_else(|| short.clone());
                if name == b"." || name == b".." {
                    continue;
                }
                if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
                    return Err(damaged("name of a file"));
                }
                let first = (le16(entry, 20)? << 16 | le16(entry, 26)?) as u32;
                let is_dir = attributes & DIRECTORY != 0;
                let len = if is_dir { 0 } else { le32(entry, 28)? };
                names.push(Found { name, short, is_dir, first, len });
            }
        }
    }
    Ok(names)
}

/// Eight characters and three; two bits say which part is in lower case.
fn short_name(entry: &[u8; ENTRY_LEN]) -> Vec<u8> {
    let part = |range: Range<usize>, lower: u8| {
        let mut part = entry[range].trim_ascii_end().to_vec();
        if entry[12] & lower != 0 {
            part.make_ascii_lowercase();
        }
        part
    };
    let (mut name, extension) = (part(0..8, 0x08), part(8..11, 0x10));
    // 0xe5 marks a deleted entry, so a name that starts with it is written otherwise.
    if name.first() == Some(&5) {
        name[0] = 0xe5;
    }
    if !extension.is_empty() {
        name.push(b'.');
        name.extend(extension);
    }
    name
}

/// A long name that stands before its entry, last part first.
#[derive(Default)]
struct LongName {
    units: Vec<u16>,
    /// Number of the part that was read last.
    part: u8,
    sum: u8,
}

impl LongName {
    fn add(&mut self, entry: &[u8; ENTRY_LEN]) {
        let (number, sum) = (entry[0] & 0x3f, entry[13]);
        let is_last = entry[0] & 0x40 != 0;
        if !is_last && (self.part != number + 1 || self.sum != sum) || number == 0 || number > 20 {
            *self = Self::default();
            return;
        }
        let before = if is_last { Vec::new() } else { std::mem::take(&mut self.units) };
        let pairs = [&entry[1..11], &entry[14..26], &entry[28..32]].concat();
        let units = pairs.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
        *self = Self { units: units.chain(before).collect(), part: number, sum };
    }

    /// The name, if it is whole and that of this entry.
    fn of(self, entry: &[u8; ENTRY_LEN]) -> Option<Vec<u8>> {
        let sum = entry[..11].iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        let end = self.units.iter().position(|unit| *unit == 0).unwrap_or(self.units.len());
        let text = String::from_utf16_lossy(self.units.get(..end)?);
        (self.part == 1 && self.sum == sum).then(|| text.into_bytes())
    }
}
