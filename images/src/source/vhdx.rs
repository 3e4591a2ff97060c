//! Microsoft's VHDX ([MS-VHDX], version 8). Numbers are little-endian.
//!
//! ```text
//!   0      64K      128K     192K            256K
//!   magic ─ header ─ header ─ region table ─ its copy ─► metadata: sizes
//!           └ log: must be empty                      └► block table: one entry a block, and one a bitmap that only
//!                                                        differencing disks use
//! ```

use std::io;
use std::sync::Arc;

use super::fields::{le16, le32, le64};
use super::mapped::{Layout, Mapped, Pages, Place, Run, damaged};
use super::opened::Opened;
use super::{DISK_LEN_MAX, Refusal, SourceError};
use crate::disk::{ReadDisk as _, guid_text};

/// How the file begins.
pub const MAGIC: [u8; 8] = *b"vhdxfile";

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const HEADERS: [u64; 2] = [64 * KIB, 128 * KIB];
const HEADER_LEN: usize = 4096;
const REGION_TABLES: [u64; 2] = [192 * KIB, 256 * KIB];
const TABLE_LEN: usize = 64 << 10;
const ENTRIES_MAX: u32 = 2047;
const ENTRY_LEN: usize = 32;
const METADATA_ENTRY_LEN: usize = 32;
const REQUIRED: u32 = 1;
const METADATA_REQUIRED: u32 = 1 << 2;
const HAS_PARENT: u32 = 1 << 1;

type Guid = [u8; 16];
// As they stand in the file: the first three fields are little-endian.
const REGION_BLOCKS: Guid = *b"\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08";
const REGION_METADATA: Guid = *b"\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
const ITEM_PARAMETERS: Guid = *b"\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
const ITEM_SIZE: Guid = *b"\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8";
const ITEM_ID: Guid = *b"\xab\x12\xca\xbe\xe6\xb2\x23\x45\x93\xef\xc3\x09\xe0\x00\xc7\x46";
const ITEM_SECTOR: Guid = *b"\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f";
const ITEM_PHYSICAL_SECTOR: Guid = *b"\xc7\x48\xa3\xcd\x5d\x44\x71\x44\x9c\xc9\xe9\x88\x52\x51\xc5\x56";
const ITEM_PARENT: Guid = *b"\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c";

// Section 2.5.1.1, the states of a block.
const NOT_PRESENT: u64 = 0;
const UNDEFINED: u64 = 1;
const ZERO: u64 = 2;
const UNMAPPED: u64 = 3;
const FULLY_PRESENT: u64 = 6;

/// Open a VHDX.
pub(super) fn open(file: Arc<Opened>) -> Result<Mapped<Vhdx>, SourceError> {
    check_header(&file)?;
    let regions = Regions::read(&file)?;
    let facts = Facts::read(&file, regions.metadata)?;
    // Section 2.5: behind each 2^23 sectors' blocks stands the entry of a bitmap.
    let chunk_blocks = (u64::from(facts.sector) << 23) / facts.block_len;
    let blocks = facts.size.div_ceil(facts.block_len);
    let entries = blocks + blocks.saturating_sub(1) / chunk_blocks;
    let (table, table_len) = regions.blocks;
    if entries * 8 > table_len {
        return Err(file.damaged("its block table is too short for its disk"));
    }
    if table.checked_add(table_len).is_none_or(|end| end > file.file.size()) {
        return Err(SourceError::Truncated {
            path: file.path.clone(),
            format: file.format,
            what: "the block table",
        });
    }
    let pages = Pages::new(Arc::clone(&file));
    let layout = Vhdx { pages, size: facts.size, block_len: facts.block_len, chunk_blocks, table };
    Ok(Mapped::new(file, layout, None))
}

/// The newer of the two headers that are whole counts (section 2.2.2).
fn check_header(file: &Opened) -> Result<(), SourceError> {
    let mut newest: Option<(u64, [u8; HEADER_LEN])> = None;
    for at in HEADERS {
        let header = file.bytes::<HEADER_LEN>(at, "the headers")?;
        let sequence = le64(&header, 8);
        if header[..4] == *b"head" && is_sound(&header) && newest.is_none_or(|(newest, _)| sequence > newest)
        {
            newest = Some((sequence, header));
        }
    }
    let (_, header) = newest.ok_or_else(|| file.damaged("none of its two headers is whole"))?;
    let version = le16(&header, 66);
    if version != 1 {
        return Err(file.refused(Refusal::Unknown { what: format!("version {version} of VHDX") }));
    }
    match header[48..64].iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err(file.refused(Refusal::Log)),
    }
}

/// Where metadata and block table are: offset and length in the file.
struct Regions {
    metadata: (u64, u64),
    blocks: (u64, u64),
}

impl Regions {
    fn read(file: &Opened) -> Result<Self, SourceError> {
        let mut table = vec![0; TABLE_LEN];
        let mut whole = false;
        for at in REGION_TABLES {
            file.read(at, &mut table, "the region tables")?;
            whole = table.starts_with(b"regi") && is_sound(&table);
            if whole {
                break;
            }
        }
        let count = le32(&table, 8);
        if !whole || count > ENTRIES_MAX {
            return Err(file.damaged("none of its two region tables is whole"));
        }
        let (mut metadata, mut blocks) = (None, None);
        for entry in table[16..].chunks_exact(ENTRY_LEN).take(count as usize) {
            let place = (le64(entry, 16), u64::from(le32(entry, 24)));
            let region = match guid_of(entry) {
                REGION_METADATA => &mut metadata,
                REGION_BLOCKS => &mut blocks,
                _ if le32(entry, 28) & REQUIRED == 0 => continue,
                guid => return Err(unknown(file, "the region", &guid)),
            };
            if region.replace(place).is_some() || !place.0.is_multiple_of(MIB) || place.0 < MIB {
                return Err(file.damaged("its region table names a region twice or where none can be"));
            }
        }
        match (metadata, blocks) {
            (Some(metadata), Some(blocks)) => Ok(Self { metadata, blocks }),
            _ => Err(file.damaged("its region table lacks a region")),
        }
    }
}

/// What the metadata says.
struct Facts {
    size: u64,
    block_len: u64,
    sector: u32,
}

impl Facts {
    fn read(file: &Opened, (start, len): (u64, u64)) -> Result<Self, SourceError> {
        let mut table = vec![0; TABLE_LEN];
        file.read(start, &mut table, "the metadata")?;
        let count = le16(&table, 10);
        if !table.starts_with(b"metadata") || u32::from(count) > ENTRIES_MAX {
            return Err(file.damaged("its metadata table is wrong"));
        }
        let (mut parameters, mut size, mut sector) = (None, None, None);
        for entry in table[32..].chunks_exact(METADATA_ENTRY_LEN).take(usize::from(count)) {
            let (offset, item_len) = (u64::from(le32(entry, 16)), u64::from(le32(entry, 20)));
            // Items stand behind the table, in the region.
            if item_len > 0 && (offset < TABLE_LEN as u64 || offset + item_len > len) {
                return Err(file.damaged("an item of its metadata is not in its region"));
            }
            let at = start.saturating_add(offset);
            match guid_of(entry) {
                ITEM_PARAMETERS => parameters = Some(file.bytes::<8>(at, "the metadata")?),
                ITEM_SIZE => size = Some(u64::from_le_bytes(file.bytes(at, "the metadata")?)),
                ITEM_SECTOR => sector = Some(u32::from_le_bytes(file.bytes(at, "the metadata")?)),
                ITEM_PARENT => return Err(file.refused(Refusal::Differencing)),
                ITEM_ID | ITEM_PHYSICAL_SECTOR => {}
                _ if le32(entry, 24) & METADATA_REQUIRED == 0 => {}
                guid => return Err(unknown(file, "the metadata item", &guid)),
            }
        }
        let (Some(parameters), Some(size), Some(sector)) = (parameters, size, sector) else {
            return Err(file.damaged("its metadata lacks an item"));
        };
        let (block_len, flags) = (u64::from(le32(&parameters, 0)), le32(&parameters, 4));
        if flags & HAS_PARENT != 0 {
            return Err(file.refused(Refusal::Differencing));
        }
        if size > DISK_LEN_MAX {
            return Err(file.refused(Refusal::TooLarge { size }));
        }
        let sound = (MIB..=256 * MIB).contains(&block_len) && block_len.is_power_of_two();
        if !sound || ![512, 4096].contains(&sector) || !size.is_multiple_of(u64::from(sector)) {
            return Err(file.damaged("its disk has an impossible size, sector size or block size"));
        }
        Ok(Self { size, block_len, sector })
    }
}

fn unknown(file: &Opened, what: &str, guid: &Guid) -> SourceError {
    file.refused(Refusal::Unknown { what: format!("{what} {}", guid_text(guid)) })
}

/// Where the blocks are.
pub(super) struct Vhdx {
    pages: Pages,
    size: u64,
    block_len: u64,
    chunk_blocks: u64,
    table: u64,
}

impl Layout for Vhdx {
    fn size(&self) -> u64 {
        self.size
    }

    fn locate(&self, offset: u64) -> io::Result<Run> {
        let (block, within) = (offset / self.block_len, offset % self.block_len);
        let entry_at = self.table + (block + block / self.chunk_blocks) * 8;
        let entry = u64::from_le_bytes(self.pages.entry(entry_at)?);
        let (state, at) = (entry & 7, entry >> 20 << 20);
        let place = match state {
            NOT_PRESENT | UNDEFINED | ZERO | UNMAPPED => Place::Zeros,
            FULLY_PRESENT if at >= MIB => Place::At(
                at.checked_add(within).ok_or_else(|| damaged("the block table is wrong", entry_at))?,
            ),
            _ => return Err(damaged("the block table is wrong", entry_at)),
        };
        Ok(Run { place, len: self.block_len - within })
    }
}

/// CRC-32C over all bytes, with the checksum at byte 4 as zeros (section 2.2.2).
fn is_sound(bytes: &[u8]) -> bool {
    let zeros = [0; 4];
    let crc = [bytes.get(..4), Some(&zeros[..]), bytes.get(8..)].into_iter().flatten().fold(!0, crc32c);
    le32(bytes, 4) == !crc
}

/// What each byte does to a CRC-32C (RFC 3720, appendix B.4).
const CRC32C: [u32; 256] = {
    const REVERSED: u32 = 0x82f6_3b78;
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = crc >> 1 ^ (REVERSED & 0_u32.wrapping_sub(crc & 1));
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// One more run of bytes in a CRC-32C.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| CRC32C[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

fn guid_of(entry: &[u8]) -> Guid {
    entry.first_chunk().copied().unwrap_or_default()
}
