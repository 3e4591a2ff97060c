//! QEMU's copy-on-write format, versions 2 and 3 (`docs/interop/qcow2.rst` of QEMU).
//!
//! ```text
//!   header ─► level 1 table ─► level 2 tables ─► clusters: plain, compressed, zero, or as in the backing file
//!      └─ backing file: beside this one, of the format that is named here
//! ```
//!
//! Reference counts are for writers and are not looked at; snapshots inside the file are left out, and that is said.

use std::io;
use std::sync::Arc;

use super::fields::{be32, be64};
use super::mapped::{Codec, Layout, Mapped, Pages, Place, Run, Unit, damaged};
use super::opened::Opened;
use super::{Chain, DISK_LEN_MAX, Format, Note, Refusal, SourceError};

/// How the file begins.
pub const MAGIC: [u8; 4] = *b"QFI\xfb";

const HEADER_LEN: usize = 104;
const BACKING_NAME_LEN_MAX: u32 = 1023;
const EXTENSION_END: u32 = 0;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;

const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;

/// Of entries of both levels: the reference count is one.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Bits 9 to 55.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const ZERO: u64 = 1;
/// Of a cluster, with extended entries.
const SUBCLUSTERS: u64 = 32;

/// What the header says, checked.
struct Header {
    cluster_bits: u32,
    size: u64,
    l1_offset: u64,
    l1_entries: u64,
    snapshots: u32,
    zero_flag: bool,
    extended: bool,
    codec: Codec,
    backing: Option<Backing>,
}

struct Backing {
    name: String,
    format: Option<String>,
}

/// Open a qcow2 and what it lies on.
pub(super) fn open(file: Arc<Opened>, chain: &mut Chain) -> Result<Mapped<Qcow2>, SourceError> {
    let header = Header::read(&file)?;
    if header.snapshots > 0 {
        chain.notes.push(Note::Snapshots(header.snapshots));
    }
    let below = match &header.backing {
        None => None,
        Some(Backing { name, format: None }) => {
            return Err(file.refused(Refusal::BackingFormat { name: name.clone() }));
        }
        Some(Backing { name, format: Some(format) }) => {
            let format = backing_format(format).ok_or_else(|| {
                file.refused(Refusal::Unknown { what: format!("a backing file of format `{format}`") })
            })?;
            let below = file.open_beside(name, format)?;
            chain.push(&file, Arc::clone(&below), name)?;
            Some(super::open_layer(below, format, chain)?)
        }
    };
    // A level 2 entry has 8 bytes, an extended one 16.
    let l2_bits = header.cluster_bits - if header.extended { 4 } else { 3 };
    let covered = u128::from(header.l1_entries) << (header.cluster_bits + l2_bits);
    if covered < u128::from(header.size) {
        return Err(file.damaged("its level 1 table is too short for its disk"));
    }
    let layout = Qcow2 { pages: Pages::new(Arc::clone(&file)), l2_bits, header };
    Ok(Mapped::new(file, layout, below))
}

/// QEMU's names of the formats that we read.
fn backing_format(name: &str) -> Option<Format> {
    match name {
        "raw" => Some(Format::Raw),
        "qcow2" => Some(Format::Qcow2),
        "vpc" => Some(Format::Vhd),
        "vhdx" => Some(Format::Vhdx),
        "vmdk" => Some(Format::Vmdk),
        _ => None,
    }
}

impl Header {
    fn read(file: &Opened) -> Result<Self, SourceError> {
        let start = file.bytes::<72>(0, "the header")?;
        if start[..4] != MAGIC {
            return Err(file.damaged("it does not begin as one"));
        }
        let version = be32(&start, 4);
        let (features, header_len) = match version {
            2 => (0, 72),
            3 => {
                let rest = file.bytes::<{ HEADER_LEN }>(0, "the header")?;
                (be64(&rest, 72), be32(&rest, 100))
            }
            _ => return Err(file.refused(Refusal::Unknown { what: format!("version {version} of qcow2") })),
        };
        check_features(file, features)?;
        let (cluster_bits, size, extended) =
            (be32(&start, 20), be64(&start, 24), features & EXTENDED_L2 != 0);
        let cluster_bits_min = if extended { 14 } else { 9 };
        if !(cluster_bits_min..=21).contains(&cluster_bits) {
            return Err(file.damaged("its clusters have an impossible size"));
        }
        let cluster_len = 1_u64 << cluster_bits;
        let lengths = HEADER_LEN as u64..=cluster_len;
        if version == 3 && !(lengths.contains(&u64::from(header_len)) && header_len.is_multiple_of(8)) {
            return Err(file.damaged("its header has an impossible length"));
        }
        if be32(&start, 32) != 0 {
            return Err(file.refused(Refusal::Encrypted));
        }
        if size > DISK_LEN_MAX {
            return Err(file.refused(Refusal::TooLarge { size }));
        }
        let (l1_entries, l1_offset) = (u64::from(be32(&start, 36)), be64(&start, 40));
        if l1_entries > 0 && !l1_offset.is_multiple_of(cluster_len) {
            return Err(file.damaged("its level 1 table is not where a cluster begins"));
        }
        let l1_end = l1_offset.checked_add(l1_entries * 8);
        if l1_end.is_none_or(|end| end > crate::disk::ReadDisk::size(&file.file)) {
            return Err(SourceError::Truncated {
                path: file.path.clone(),
                format: file.format,
                what: "the level 1 table",
            });
        }
        Ok(Self {
            cluster_bits,
            size,
            l1_offset,
            l1_entries,
            snapshots: be32(&start, 60),
            zero_flag: version == 3,
            extended,
            codec: codec(file, features, header_len)?,
            backing: backing(file, be64(&start, 8), be32(&start, 16), header_len, cluster_len)?,
        })
    }
}

fn check_features(file: &Opened, features: u64) -> Result<(), SourceError> {
    let known = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;
    let unknown = features & !known;
    let why = match () {
        () if unknown != 0 => Refusal::Unknown { what: format!("the incompatible features {unknown:#x}") },
        () if features & CORRUPT != 0 => Refusal::Corrupt,
        () if features & DIRTY != 0 => Refusal::Dirty,
        () if features & EXTERNAL_DATA != 0 => Refusal::ExternalData,
        () => return Ok(()),
    };
    Err(file.refused(why))
}

fn codec(file: &Opened, features: u64, header_len: u32) -> Result<Codec, SourceError> {
    let kind = match header_len as usize > HEADER_LEN {
        true => file.bytes::<1>(HEADER_LEN as u64, "the header")?[0],
        false => 0,
    };
    match (features & COMPRESSION_TYPE != 0, kind) {
        (false, 0) => Ok(Codec::Deflate),
        (true, 1) => Ok(Codec::Zstd),
        (true, kind) if kind > 1 => {
            Err(file.refused(Refusal::Unknown { what: format!("compression type {kind}") }))
        }
        _ => Err(file.damaged("its compression type contradicts its features")),
    }
}

/// The backing file's name, and its format from the header's extensions.
fn backing(
    file: &Opened,
    offset: u64,
    len: u32,
    header_len: u32,
    cluster_len: u64,
) -> Result<Option<Backing>, SourceError> {
    if offset == 0 {
        return Ok(None);
    }
    let end = offset.checked_add(u64::from(len));
    if len == 0
        || len > BACKING_NAME_LEN_MAX
        || offset < u64::from(header_len)
        || end.is_none_or(|end| end > cluster_len)
    {
        return Err(file.damaged("the name of its backing file is not in its first cluster"));
    }
    let text = |offset: u64, len: u32| {
        let mut bytes = vec![0; len as usize];
        file.read(offset, &mut bytes, "the name of the backing file")?;
        String::from_utf8(bytes).map_err(|_| file.damaged("the name of its backing file is no text"))
    };
    let mut format = None;
    let mut at = u64::from(header_len);
    // The extensions end with one of kind 0, or where the name begins.
    while at + 8 <= offset {
        let head = file.bytes::<8>(at, "a header extension")?;
        let (kind, len) = (be32(&head, 0), be32(&head, 4));
        if kind == EXTENSION_END {
            break;
        }
        at += 8;
        if at + u64::from(len) > offset {
            return Err(file.damaged("a header extension runs into the name of its backing file"));
        }
        if kind == EXTENSION_BACKING_FORMAT {
            format = Some(text(at, len)?);
        }
        at += u64::from(len).next_multiple_of(8);
    }
    Ok(Some(Backing { name: text(offset, len)?, format }))
}

/// Where the clusters are.
pub(super) struct Qcow2 {
    pages: Pages,
    header: Header,
    l2_bits: u32,
}

impl Layout for Qcow2 {
    fn size(&self) -> u64 {
        self.header.size
    }

    fn locate(&self, offset: u64) -> io::Result<Run> {
        let header = &self.header;
        let (cluster, within) = (offset >> header.cluster_bits, offset & ((1 << header.cluster_bits) - 1));
        let l1_at = header.l1_offset + (cluster >> self.l2_bits) * 8;
        let l1 = u64::from_be_bytes(self.pages.entry(l1_at)?);
        if l1 & !(COPIED | OFFSET) != 0 || !self.is_cluster(l1 & OFFSET) {
            return Err(damaged("the level 1 table is wrong", l1_at));
        }
        if l1 & OFFSET == 0 {
            let covered = 1 << (header.cluster_bits + self.l2_bits);
            return Ok(Run { place: Place::Below, len: covered - (offset & (covered - 1)) });
        }
        let entry_len = if header.extended { 16 } else { 8 };
        let l2_at = (l1 & OFFSET) + (cluster & ((1 << self.l2_bits) - 1)) * entry_len;
        let entry = u64::from_be_bytes(self.pages.entry(l2_at)?);
        let left = (1 << header.cluster_bits) - within;
        if entry & COMPRESSED != 0 {
            return Ok(Run { place: Place::Packed(self.unit(entry, offset - within)), len: left });
        }
        let zero_flag = if header.zero_flag && !header.extended { ZERO } else { 0 };
        if entry & !(COPIED | OFFSET | zero_flag) != 0 || !self.is_cluster(entry & OFFSET) {
            return Err(damaged("a level 2 table is wrong", l2_at));
        }
        if header.extended {
            return self.subcluster(entry & OFFSET, within, l2_at);
        }
        let place = match entry & OFFSET {
            _ if entry & zero_flag != 0 => Place::Zeros,
            0 => Place::Below,
            at => Place::At(at + within),
        };
        Ok(Run { place, len: left })
    }
}

impl Qcow2 {
    fn is_cluster(&self, at: u64) -> bool {
        at.is_multiple_of(1 << self.header.cluster_bits)
    }

    /// The section "Compressed Clusters Descriptor".
    fn unit(&self, entry: u64, start: u64) -> Unit {
        let sectors_bits = self.header.cluster_bits - 8;
        let offset_bits = 62 - sectors_bits;
        let at = entry & ((1 << offset_bits) - 1);
        let more = entry >> offset_bits & ((1 << sectors_bits) - 1);
        let len = ((more + 1) * 512 - at % 512) as usize;
        Unit { start, plain_len: 1 << self.header.cluster_bits, at, len, codec: self.header.codec }
    }

    /// The section "Extended L2 Entries": one bit says which subclusters are there, one which are zero.
    fn subcluster(&self, at: u64, within: u64, l2_at: u64) -> io::Result<Run> {
        let bitmap = u64::from_be_bytes(self.pages.entry(l2_at + 8)?);
        let len = (1 << self.header.cluster_bits) / SUBCLUSTERS;
        let number = within / len;
        let (there, zero) = (bitmap >> number & 1, bitmap >> (number + SUBCLUSTERS) & 1);
        let place = match (there, zero) {
            (0, 0) => Place::Below,
            (0, 1) => Place::Zeros,
            (1, 0) if at != 0 => Place::At(at + within),
            _ => return Err(damaged("a level 2 table is wrong", l2_at)),
        };
        Ok(Run { place, len: len - within % len })
    }
}
