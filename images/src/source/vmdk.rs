//! VMware's VMDK ("Virtual Disk Format 5.0", 2011): sparse and compressed extents, and descriptors that list extents beside them.
//!
//! ```text
//!   sparse    header ─ descriptor ─► directory ─► tables ─► grains: plain, compressed behind a marker, zero, absent
//!   stream    as above, and the header that counts is a footer at the end
//!   flat      a descriptor, which is text, names files that hold the disk as it is
//! ```

use std::io;
use std::sync::Arc;

use super::fields::{le16, le32, le64};
use super::mapped::{Codec, Flat, Joined, Layer, Layout, Mapped, Pages, Place, Run, Unit, damaged};
use super::opened::Opened;
use super::{Chain, DISK_LEN_MAX, Format, Refusal, SourceError};
use crate::disk::ReadDisk as _;

/// How a sparse extent begins.
pub const MAGIC: [u8; 4] = *b"KDMV";
/// How a descriptor begins.
pub const DESCRIPTOR: &[u8] = b"# Disk DescriptorFile";

const SECTOR: u64 = 512;
const HEADER_LEN: usize = 512;
/// The footer stands before the marker of the end, which has a sector.
const FOOTER_FROM_END: u64 = 2 * SECTOR;
const DIRECTORY_AT_END: u64 = u64::MAX;
const DESCRIPTOR_LEN_MAX: u64 = 64 << 10;
const TABLE_ENTRIES_MAX: u32 = 512;
const GRAIN_LEN_MAX: u64 = 4 << 20;
/// Before compressed bytes: u64 first sector on the disk, u32 length.
const MARKER_LEN: u64 = 12;

const NEWLINES: u32 = 1;
const ZEROED: u32 = 1 << 2;
const COMPRESSED: u32 = 1 << 16;
const MARKERS: u32 = 1 << 17;
const DEFLATE: u16 = 1;

/// Open a VMDK: a sparse extent with its descriptor inside, or a descriptor with its extents beside it.
pub(super) fn open(file: Arc<Opened>, chain: &mut Chain) -> Result<Box<dyn Layer>, SourceError> {
    if file.bytes::<4>(0, "the header")? != MAGIC {
        let text = text(&file, 0, file.file.size())?;
        return Descriptor::parse(&file, &text)?.open(&file, chain);
    }
    let header = Header::read(&file)?;
    let (at, len) = header.descriptor;
    let (Some(at), Some(len)) = (at.checked_mul(SECTOR), len.checked_mul(SECTOR)) else {
        return Err(file.damaged("its descriptor lies nowhere"));
    };
    if at == 0 || len == 0 {
        return Err(file.refused(Refusal::Part));
    }
    let kind = Descriptor::parse(&file, &text(&file, at, len)?)?.kind;
    match kind.as_str() {
        "monolithicSparse" | "streamOptimized" => Ok(Box::new(header.open(file)?)),
        "twoGbMaxExtentSparse" => Err(file.refused(Refusal::Part)),
        kind => Err(file.refused(Refusal::Unknown { what: format!("the disk type `{kind}`") })),
    }
}

fn text(file: &Opened, at: u64, len: u64) -> Result<String, SourceError> {
    if len > DESCRIPTOR_LEN_MAX {
        return Err(file.damaged("its descriptor is too long"));
    }
    let mut bytes = vec![0; len as usize];
    file.read(at, &mut bytes, "the descriptor")?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    String::from_utf8(bytes).map_err(|_| file.damaged("its descriptor is no text"))
}

/// The text that says what the disk is made of.
struct Descriptor {
    kind: String,
    extents: Vec<Extent>,
}

/// A line such as `RW 4192256 SPARSE "disk-s001.vmdk"` or `RW 63 FLAT "disk-flat.vmdk" 0`.
struct Extent {
    len: u64,
    kind: String,
    name: String,
    /// In the file, for flat ones.
    start: u64,
}

impl Descriptor {
    fn parse(file: &Opened, text: &str) -> Result<Self, SourceError> {
        let (mut kind, mut extents) = (None, Vec::new());
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let access = line.split_whitespace().next().unwrap_or_default();
            if ["RW", "RDONLY", "NOACCESS"].contains(&access) {
                let extent =
                    Extent::parse(line).ok_or_else(|| file.damaged("its descriptor has a bad extent"))?;
                if access == "NOACCESS" {
                    return Err(
                        file.refused(Refusal::Unknown { what: "an extent without access".to_owned() })
                    );
                }
                extents.push(extent);
            } else if let Some((key, value)) = line.split_once('=') {
                let value = value.trim().trim_matches('"');
                match key.trim() {
                    "createType" => kind = Some(value.to_owned()),
                    "parentCID" if !value.eq_ignore_ascii_case("ffffffff") => {
                        return Err(file.refused(Refusal::Differencing));
                    }
                    "encryption.keySafe" | "encryption.data" => return Err(file.refused(Refusal::Encrypted)),
                    _ => {}
                }
            }
        }
        let kind = kind.ok_or_else(|| file.damaged("its descriptor does not say what disk it is"))?;
        Ok(Self { kind, extents })
    }

    fn open(self, file: &Arc<Opened>, chain: &mut Chain) -> Result<Box<dyn Layer>, SourceError> {
        let known = ["monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse", "vmfs"];
        if !known.contains(&self.kind.as_str()) {
            return Err(file.refused(Refusal::Unknown { what: format!("the disk type `{}`", self.kind) }));
        }
        if self.extents.is_empty() {
            return Err(file.damaged("its descriptor lists no extent"));
        }
        let mut parts: Vec<Box<dyn Layer>> = Vec::new();
        for extent in self.extents {
            parts.push(extent.open(file, chain)?);
        }
        let joined = Joined::new(parts).filter(|joined| joined.size() <= DISK_LEN_MAX);
        match joined {
            Some(joined) => Ok(Box::new(joined)),
            None => Err(file.refused(Refusal::TooLarge { size: u64::MAX })),
        }
    }
}

impl Extent {
    fn parse(line: &str) -> Option<Self> {
        let (before, rest) = match line.split_once('"') {
            Some((before, rest)) => (before, Some(rest.split_once('"')?)),
            None => (line, None),
        };
        let mut words = before.split_whitespace().skip(1);
        let len = words.next()?.parse::<u64>().ok()?.checked_mul(SECTOR)?;
        let kind = words.next()?.to_owned();
        let (name, behind) = rest.unwrap_or_default();
        let start = match behind.trim() {
            "" => 0,
            sectors => sectors.parse::<u64>().ok()?.checked_mul(SECTOR)?,
        };
        Some(Self { len, kind, name: name.to_owned(), start })
    }

    fn open(&self, file: &Arc<Opened>, chain: &mut Chain) -> Result<Box<dyn Layer>, SourceError> {
        let beside = |chain: &mut Chain| {
            let extent = file.open_beside(&self.name, Format::Vmdk)?;
            chain.push(file, Arc::clone(&extent), &self.name)?;
            Ok::<_, SourceError>(extent)
        };
        let too_short = |extent: &Opened| SourceError::Truncated {
            path: extent.path.clone(),
            format: Format::Vmdk,
            what: "an extent",
        };
        match self.kind.as_str() {
            "FLAT" | "VMFS" => {
                let extent = beside(chain)?;
                if self.start.checked_add(self.len).is_none_or(|end| end > extent.file.size()) {
                    return Err(too_short(&extent));
                }
                Ok(Box::new(Mapped::new(extent, Flat { start: self.start, size: self.len }, None)))
            }
            "SPARSE" => {
                let extent = beside(chain)?;
                let disk = Header::read(&extent)?.open(Arc::clone(&extent))?;
                match disk.size() == self.len {
                    true => Ok(Box::new(disk)),
                    false => Err(extent.damaged("it has another size than its descriptor says")),
                }
            }
            "ZERO" => Ok(Box::new(Mapped::new(Arc::clone(file), Zeros(self.len), None))),
            kind => Err(file.refused(Refusal::Unknown { what: format!("an extent of type {kind}") })),
        }
    }
}

/// An extent that stands in no file.
struct Zeros(u64);

impl Layout for Zeros {
    fn size(&self) -> u64 {
        self.0
    }

    fn locate(&self, offset: u64) -> io::Result<Run> {
        Ok(Run { place: Place::Zeros, len: self.0 - offset })
    }
}

/// The header of a sparse extent, checked.
struct Header {
    size: u64,
    grain_len: u64,
    table_entries: u64,
    directory: u64,
    descriptor: (u64, u64),
    zeroed: bool,
    compressed: bool,
}

impl Header {
    fn read(file: &Opened) -> Result<Self, SourceError> {
        let mut raw = file.bytes::<HEADER_LEN>(0, "the header")?;
        let descriptor = (le64(&raw, 28), le64(&raw, 36));
        if le64(&raw, 56) == DIRECTORY_AT_END {
            let at = file.file.size().checked_sub(FOOTER_FROM_END);
            let at = at.ok_or_else(|| file.damaged("it is shorter than its footer"))?;
            raw = file.bytes(at, "the footer")?;
            if raw[..4] != MAGIC || le64(&raw, 56) == DIRECTORY_AT_END {
                let what = "the footer";
                return Err(SourceError::Truncated { path: file.path.clone(), format: file.format, what });
            }
        }
        let (version, flags, algorithm) = (le32(&raw, 4), le32(&raw, 8), le16(&raw, 77));
        if raw[..4] != MAGIC || flags & NEWLINES != 0 && raw[73..77] != *b"\n \r\n" {
            return Err(file.damaged("its header was spoiled, as by a transfer that changes line ends"));
        }
        if !(1..=3).contains(&version) {
            return Err(file.refused(Refusal::Unknown { what: format!("version {version} of VMDK") }));
        }
        let compressed = flags & COMPRESSED != 0;
        if compressed != (algorithm == DEFLATE) || compressed && flags & MARKERS == 0 || algorithm > DEFLATE {
            return Err(
                file.refused(Refusal::Unknown { what: format!("compression {algorithm}, flags {flags:#x}") })
            );
        }
        if raw[72] != 0 {
            return Err(file.refused(Refusal::Unclean));
        }
        let header = Self {
            size: le64(&raw, 12).saturating_mul(SECTOR),
            grain_len: le64(&raw, 20).saturating_mul(SECTOR),
            table_entries: u64::from(le32(&raw, 44)),
            directory: le64(&raw, 56).saturating_mul(SECTOR),
            descriptor,
            zeroed: flags & ZEROED != 0,
            compressed,
        };
        header.check(file)?;
        Ok(header)
    }

    fn check(&self, file: &Opened) -> Result<(), SourceError> {
        if self.size > DISK_LEN_MAX {
            return Err(file.refused(Refusal::TooLarge { size: self.size }));
        }
        let tables = 1..=u64::from(TABLE_ENTRIES_MAX);
        if !self.grain_len.is_power_of_two()
            || !(4096..=GRAIN_LEN_MAX).contains(&self.grain_len)
            || !tables.contains(&self.table_entries)
        {
            return Err(file.damaged("its grains or tables have an impossible length"));
        }
        let directory_len = self.size.div_ceil(self.grain_len * self.table_entries) * 4;
        if self.directory.checked_add(directory_len).is_none_or(|end| end > file.file.size()) {
            let what = "the grain directory";
            return Err(SourceError::Truncated { path: file.path.clone(), format: file.format, what });
        }
        Ok(())
    }

    fn open(self, file: Arc<Opened>) -> Result<Mapped<Sparse>, SourceError> {
        let layout = Sparse { pages: Pages::new(Arc::clone(&file)), file: Arc::clone(&file), header: self };
        Ok(Mapped::new(file, layout, None))
    }
}

/// Where the grains are.
struct Sparse {
    pages: Pages,
    file: Arc<Opened>,
    header: Header,
}

impl Layout for Sparse {
    fn size(&self) -> u64 {
        self.header.size
    }

    fn locate(&self, offset: u64) -> io::Result<Run> {
        let header = &self.header;
        let (grain, within) = (offset / header.grain_len, offset % header.grain_len);
        let directory_at = header.directory + grain / header.table_entries * 4;
        let table = u64::from(u32::from_le_bytes(self.pages.entry(directory_at)?)) * SECTOR;
        if table == 0 {
            let covered = header.grain_len * header.table_entries;
            return Ok(Run { place: Place::Zeros, len: covered - offset % covered });
        }
        let entry_at = table + grain % header.table_entries * 4;
        let place = match u32::from_le_bytes(self.pages.entry(entry_at)?) {
            0 => Place::Zeros,
            1 if header.zeroed => Place::Zeros,
            sector if header.compressed => {
                Place::Packed(self.unit(u64::from(sector) * SECTOR, offset - within)?)
            }
            sector => Place::At(u64::from(sector) * SECTOR + within),
        };
        Ok(Run { place, len: header.grain_len - within })
    }
}

impl Sparse {
    /// What the marker at byte `at` says of the compressed grain behind it.
    fn unit(&self, at: u64, start: u64) -> io::Result<Unit> {
        let mut marker = [0; MARKER_LEN as usize];
        let end = self.file.file.size();
        if at + MARKER_LEN > end {
            return Err(damaged("the file ends within a marker that should be", at));
        }
        self.file.file.read_at(at, &mut marker)?;
        let (sector, len) = (le64(&marker, 0), u64::from(le32(&marker, 8)));
        let plain_len = self.header.grain_len;
        // Deflate adds a few bytes to what it cannot shorten.
        if sector.checked_mul(SECTOR) != Some(start) || len > plain_len * 2 || at + MARKER_LEN + len > end {
            return Err(damaged("the marker of a compressed grain is wrong", at));
        }
        // QEMU ends the last grain where the disk ends.
        let plain_len = plain_len.min(self.header.size - start) as usize;
        Ok(Unit { start, plain_len, at: at + MARKER_LEN, len: len as usize, codec: Codec::Zlib })
    }
}
