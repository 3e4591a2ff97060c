//! The GUID partition table: read strictly, and moved to a disk of another size.
//!
//! Layout: UEFI specification 2.10, section 5.3. Both copies must be valid and agree, since a restore writes both.
//! [`Layout::retarget`] moves a table between disk sizes: the image's to the endpoint's when it is written, and the endpoint's
//! back to the image's when it is compared, so that a larger disk needs no bytes of its own in the manifest.

use std::io;

/// Most partition entries that we read.
pub const ENTRIES_MAX: u32 = 1024;
const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER_LEN: usize = 92;

/// Why a partition table is refused.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// The disk cannot be read.
    #[error("cannot read the partition table")]
    Read(#[source] io::Error),
    /// One copy is damaged.
    #[error(
        "the {copy} GPT is damaged ({what}); repair it with `sgdisk --verify` and `sgdisk -e`, then try again"
    )]
    Damaged {
        /// `primary` or `backup`.
        copy: &'static str,
        /// How.
        what: &'static str,
    },
    /// The copies differ.
    #[error("primary and backup GPT differ; repair the table with `sgdisk -e`, then try again")]
    CopiesDiffer,
}

/// One used entry of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GptEntry {
    /// Index in the table, from 0.
    pub index: u32,
    /// Type GUID as stored on disk.
    pub type_guid: [u8; 16],
    /// Unique GUID as stored on disk.
    pub unique_guid: [u8; 16],
    /// First LBA.
    pub first_lba: u64,
    /// Last LBA, inclusive.
    pub last_lba: u64,
    /// Attribute bits.
    pub attributes: u64,
    /// Name, without control characters.
    pub name: String,
}

/// A valid table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpt {
    /// Disk GUID as stored on disk.
    pub disk_guid: [u8; 16],
    /// First and last usable LBA.
    pub usable: (u64, u64),
    /// Used entries in the order of the table.
    pub entries: Vec<GptEntry>,
    /// Bytes from the start of the disk that the protective MBR and the primary table take.
    pub head_len: u64,
    /// Bytes at the end of the disk that the backup table takes.
    pub tail_len: u64,
}

/// Whether there is a GPT signature for this sector size.
pub fn is_present(
    read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
    sector: u32,
    size: u64,
) -> Result<bool, GptError> {
    let mut signature = [0; 8];
    if size < 2 * u64::from(sector) {
        return Ok(false);
    }
    read(u64::from(sector), &mut signature).map_err(GptError::Read)?;
    Ok(&signature == SIGNATURE)
}

impl Gpt {
    /// What each of the two copies lists, where it is valid by itself: for a disk that may be half written.
    pub fn copies(
        read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
        sector: u32,
        size: u64,
    ) -> io::Result<[Option<Vec<GptEntry>>; 2]> {
        let sectors = size / u64::from(sector);
        let mut copy = |lba, name| match Copy::read(read, sector, lba, sectors, name) {
            Ok(copy) => Ok(copy.used_entries().ok()),
            Err(GptError::Read(error)) => Err(error),
            Err(GptError::Damaged { .. } | GptError::CopiesDiffer) => Ok(None),
        };
        Ok([copy(1, "primary")?, copy(sectors.saturating_sub(1), "backup")?])
    }

    /// Read both copies from a disk of `size` bytes.
    pub fn read(
        read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
        sector: u32,
        size: u64,
    ) -> Result<Self, GptError> {
        let sectors = size / u64::from(sector);
        let primary = Copy::read(read, sector, 1, sectors, "primary")?;
        if primary.header.alternate_lba != sectors - 1 {
            return Err(GptError::Damaged { copy: "primary", what: "its backup is not in the last sector" });
        }
        let backup = Copy::read(read, sector, sectors - 1, sectors, "backup")?;
        let (p, b) = (&primary.header, &backup.header);
        let same = (p.disk_guid, p.usable, p.entry_count, p.entry_size, p.entries_crc)
            == (b.disk_guid, b.usable, b.entry_count, b.entry_size, b.entries_crc);
        if !same || b.alternate_lba != 1 || primary.entries != backup.entries {
            return Err(GptError::CopiesDiffer);
        }
        let array = (primary.entries.len() as u64).div_ceil(u64::from(sector));
        if b.entries_lba + array > sectors - 1 || b.entries_lba <= b.usable.1 {
            return Err(GptError::Damaged { copy: "backup", what: "its entries lie in the wrong place" });
        }
        Ok(Self {
            disk_guid: p.disk_guid,
            usable: p.usable,
            entries: primary.used_entries()?,
            head_len: (p.entries_lba + array) * u64::from(sector),
            tail_len: (sectors - b.entries_lba) * u64::from(sector),
        })
    }
}

/// Which disk a table stands on and where some of its partitions lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Sector size in bytes.
    pub sector: u32,
    /// Size of the disk in bytes.
    pub disk_size: u64,
    /// Indexes of partitions with a place of their own on this disk, and their first and last LBA.
    pub places: Vec<(u32, (u64, u64))>,
}

impl Layout {
    /// Rewrite `head` (the first bytes of a disk) and `tail` (its last bytes) from this layout to `other`.
    pub fn retarget(&self, other: &Self, head: &mut [u8], tail: &mut [u8]) -> Result<(), GptError> {
        let sector = self.sector as usize;
        let (from, to) = (self.disk_size / sector as u64, other.disk_size / sector as u64);
        let tail_start = self.disk_size - tail.len() as u64;
        let mut primary = Copy::read(&mut slice_reader(head, 0), self.sector, 1, from, "primary")?;
        let mut backup =
            Copy::read(&mut slice_reader(tail, tail_start), self.sector, from - 1, from, "backup")?;
        for (copy, lbas) in [(&mut primary, (1, to - 1)), (&mut backup, (to - 1, 1))] {
            (copy.header.my_lba, copy.header.alternate_lba) = lbas;
            copy.header.usable.1 = (copy.header.usable.1 + to).saturating_sub(from);
            for (index, lbas) in &other.places {
                copy.set_lbas(*index, *lbas)?;
            }
        }
        // The backup's entries keep their distance from the end of the disk.
        let backup_entries_at = backup.header.entries_lba * sector as u64 - tail_start;
        backup.header.entries_lba = (backup.header.entries_lba + to).saturating_sub(from);
        primary.store(head, sector, primary.header.entries_lba as usize * sector);
        backup.store(tail, tail.len() - sector, backup_entries_at as usize);
        super::mbr::resize_protective(head, from, to);
        Ok(())
    }
}

fn slice_reader(bytes: &[u8], start: u64) -> impl FnMut(u64, &mut [u8]) -> io::Result<()> + '_ {
    move |offset, buf| {
        let at = offset.checked_sub(start).map(|at| at as usize);
        match at.and_then(|at| bytes.get(at..at.checked_add(buf.len())?)) {
            Some(found) => {
                buf.copy_from_slice(found);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct HeaderFields {
    raw: Vec<u8>,
    my_lba: u64,
    alternate_lba: u64,
    usable: (u64, u64),
    disk_guid: [u8; 16],
    entries_lba: u64,
    entry_count: u32,
    entry_size: u32,
    entries_crc: u32,
}

struct Copy {
    name: &'static str,
    header: HeaderFields,
    entries: Vec<u8>,
}

impl Copy {
    fn read(
        read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
        sector: u32,
        lba: u64,
        sectors: u64,
        name: &'static str,
    ) -> Result<Self, GptError> {
        let damaged = |what| Err(GptError::Damaged { copy: name, what });
        let mut raw = vec![0; sector as usize];
        read(lba * u64::from(sector), &mut raw).map_err(GptError::Read)?;
        let u32_at = |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let header_len = u32_at(12) as usize;
        if &raw[..8] != SIGNATURE
            || u32_at(8) != 0x0001_0000
            || !(HEADER_LEN..=raw.len()).contains(&header_len)
        {
            return damaged("no signature of revision 1.0");
        }
        if header_crc(&raw[..header_len]) != u32_at(16) {
            return damaged("wrong checksum of the header");
        }
        let mut disk_guid = [0; 16];
        disk_guid.copy_from_slice(&raw[56..72]);
        let header = HeaderFields {
            my_lba: u64_at(24),
            alternate_lba: u64_at(32),
            usable: (u64_at(40), u64_at(48)),
            disk_guid,
            entries_lba: u64_at(72),
            entry_count: u32_at(80),
            entry_size: u32_at(84),
            entries_crc: u32_at(88),
            raw: raw[..header_len].to_vec(),
        };
        let (count, size) = (header.entry_count, header.entry_size);
        if header.my_lba != lba || header.usable.0 > header.usable.1 || header.usable.1 >= sectors {
            return damaged("impossible addresses");
        }
        if !(1..=ENTRIES_MAX).contains(&count) || !(128..=4096).contains(&size) || !size.is_power_of_two() {
            return damaged("impossible entry sizes");
        }
        let array = u64::from(count * size).div_ceil(u64::from(sector));
        if header.entries_lba < 2 || header.entries_lba.checked_add(array).is_none_or(|end| end > sectors) {
            return damaged("impossible place of the entries");
        }
        if lba == 1 && header.entries_lba + array > header.usable.0 {
            return damaged("entries reach into the usable space");
        }
        let mut entries = vec![0; (count * size) as usize];
        read(header.entries_lba * u64::from(sector), &mut entries).map_err(GptError::Read)?;
        if crc32fast::hash(&entries) != header.entries_crc {
            return damaged("wrong checksum of the entries");
        }
        Ok(Self { name, header, entries })
    }

    fn used_entries(&self) -> Result<Vec<GptEntry>, GptError> {
        let mut used = Vec::new();
        for (index, raw) in self.entries.chunks_exact(self.header.entry_size as usize).enumerate() {
            let guid = |at: usize| -> [u8; 16] { std::array::from_fn(|i| raw[at + i]) };
            let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| raw[at + i]));
            if guid(0) == [0; 16] {
                continue;
            }
            let (first_lba, last_lba) = (number(32), number(40));
            if first_lba < self.header.usable.0 || last_lba < first_lba || last_lba > self.header.usable.1 {
                return Err(GptError::Damaged {
                    copy: self.name,
                    what: "a partition outside the usable space",
                });
            }
            let units = raw[56..128].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
            let name: String = char::decode_utf16(units.take_while(|unit| *unit != 0))
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .filter(|c| !c.is_control())
                .collect();
            used.push(GptEntry {
                index: index as u32,
                type_guid: guid(0),
                unique_guid: guid(16),
                first_lba,
                last_lba,
                attributes: number(48),
                name,
            });
        }
        Ok(used)
    }

    fn set_lbas(&mut self, index: u32, (first, last): (u64, u64)) -> Result<(), GptError> {
        let at = index as usize * self.header.entry_size as usize + 32;
        match self.entries.get_mut(at..at + 16) {
            Some(field) => {
                field[..8].copy_from_slice(&first.to_le_bytes());
                field[8..].copy_from_slice(&last.to_le_bytes());
                Ok(())
            }
            None => Err(GptError::Damaged {
                copy: self.name,
                what: "a partition with a place of its own is not in it",
            }),
        }
    }

    /// Put header and entries at these places of `out`, with fresh checksums.
    fn store(&self, out: &mut [u8], header_at: usize, entries_at: usize) {
        let h = &self.header;
        let mut raw = h.raw.clone();
        raw[24..32].copy_from_slice(&h.my_lba.to_le_bytes());
        raw[32..40].copy_from_slice(&h.alternate_lba.to_le_bytes());
        raw[48..56].copy_from_slice(&h.usable.1.to_le_bytes());
        raw[72..80].copy_from_slice(&h.entries_lba.to_le_bytes());
        raw[88..92].copy_from_slice(&crc32fast::hash(&self.entries).to_le_bytes());
        let crc = header_crc(&raw);
        raw[16..20].copy_from_slice(&crc.to_le_bytes());
        out[header_at..header_at + raw.len()].copy_from_slice(&raw);
        out[entries_at..entries_at + self.entries.len()].copy_from_slice(&self.entries);
    }
}

fn header_crc(header: &[u8]) -> u32 {
    let mut zeroed = header.to_vec();
    zeroed[16..20].fill(0);
    crc32fast::hash(&zeroed)
}

#[cfg(test)]
pub(crate) mod tests;
