//! Bytes of the manifest header. The layout is in `images/DESIGN.md`, section "Manifest header".
//!
//! A header is a magic line, a version, two feature words and sections in rising order of their tags. Tags from
//! 0x8000 on may be ignored by who does not know them; an unknown lower tag or required feature is refused. There is
//! one encoding for each header: the decoder encodes again and compares.

use super::ManifestError;
use super::header::{
    AgentVersion, Boot, ContentTable, Disk, Header, HostRegion, Identity, Measurement, Need, PageRef,
    Partition, PartitionTable, Policy, Scheme,
};
use crate::ImageId;
use crate::wire::{Reader, WireError, Writer};

/// First bytes of an encoded header, and so of every message signed with an image key.
pub const MAGIC: &[u8] = b"groundstate image manifest\n";
/// Version that this code reads and writes.
pub const VERSION: u16 = 1;
/// Longest encoded header in bytes.
pub const HEADER_LEN_MAX: usize = 4 << 20;
/// Most entries of a list in the header, except pages.
pub const LIST_LEN_MAX: usize = 256;
/// [`super::header::ContentTable::chunker`]: FastCDC v2020.
pub const CHUNKER_FASTCDC_2020: u8 = 1;
/// [`super::header::ContentTable::codec`]: zstd level 3.
pub const CODEC_ZSTD_3: u8 = 1;
/// Most pages.
pub const PAGES_MAX: usize = 1 << 16;

const FEATURES_REQUIRED_KNOWN: u64 = 0;
const MAY_IGNORE: u16 = 0x8000;

/// Sections that every header has.
const SECTIONS_KNOWN: u16 = 7;
const IDENTITY: u16 = 1;
const DISK: u16 = 2;
const BOOT: u16 = 3;
const TABLE: u16 = 4;
const HOST_REGIONS: u16 = 5;
const CONTENT: u16 = 6;
const MEASUREMENTS: u16 = 0x8001;

/// Encode `header`. [`super::validate::header`] has accepted it before.
pub fn encode(header: &Header) -> Vec<u8> {
    let mut out = Writer::new();
    out.bytes(MAGIC).u16(VERSION).u64(0).u64(header.features_optional);
    out.u16(SECTIONS_KNOWN + header.extra.len() as u16);
    section(&mut out, IDENTITY, |w| identity(w, &header.identity));
    section(&mut out, DISK, |w| disk(w, &header.disk));
    section(&mut out, BOOT, |w| boot(w, &header.boot));
    section(&mut out, TABLE, |w| table(w, &header.table));
    section(&mut out, HOST_REGIONS, |w| host_regions(w, &header.host_regions));
    section(&mut out, CONTENT, |w| content(w, &header.content));
    section(&mut out, MEASUREMENTS, |w| measurements(w, &header.measurements));
    for (tag, body) in &header.extra {
        section(&mut out, *tag, |w| {
            w.bytes(body);
        });
    }
    out.0
}

/// Decode a header; everything but its own rules ([`super::validate::header`]) is checked.
pub fn decode(bytes: &[u8]) -> Result<Header, ManifestError> {
    if bytes.len() > HEADER_LEN_MAX {
        return Err(ManifestError::TooLarge { what: "header", len: bytes.len(), max: HEADER_LEN_MAX });
    }
    let mut input = Reader::new(bytes);
    input.expect(MAGIC, "magic").map_err(|_| ManifestError::NotAManifest)?;
    let version = input.u16()?;
    if version != VERSION {
        return Err(ManifestError::UnknownVersion { version });
    }
    let required = input.u64()?;
    if required & !FEATURES_REQUIRED_KNOWN != 0 {
        return Err(ManifestError::UnknownFeature { bits: required & !FEATURES_REQUIRED_KNOWN });
    }
    let features_optional = input.u64()?;
    let sections = input.u16()?;
    let header = Header {
        features_optional,
        identity: known(&mut input, IDENTITY, read_identity)?,
        disk: known(&mut input, DISK, read_disk)?,
        boot: known(&mut input, BOOT, read_boot)?,
        table: known(&mut input, TABLE, read_table)?,
        host_regions: known(&mut input, HOST_REGIONS, |r| list(r, read_host_region))?,
        content: known(&mut input, CONTENT, read_content)?,
        measurements: known(&mut input, MEASUREMENTS, |r| list(r, read_measurement))?,
        extra: extra(&mut input, sections.saturating_sub(SECTIONS_KNOWN))?,
    };
    input.end()?;
    // One meaning, one spelling: otherwise two names could stand for one image.
    if encode(&header) != bytes {
        return Err(ManifestError::NotCanonical);
    }
    Ok(header)
}

fn section(out: &mut Writer, tag: u16, body: impl FnOnce(&mut Writer)) {
    let mut inner = Writer::new();
    body(&mut inner);
    out.u16(tag).u32(inner.0.len() as u32).bytes(&inner.0);
}

fn known<'a, T>(
    input: &mut Reader<'a>,
    tag: u16,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, WireError>,
) -> Result<T, ManifestError> {
    let found = input.u16()?;
    if found != tag {
        return Err(match found {
            IDENTITY..=CONTENT => ManifestError::MissingSection { tag },
            MAY_IGNORE.. => ManifestError::MissingSection { tag },
            _ => ManifestError::UnknownSection { tag: found },
        });
    }
    let len = input.u32()? as usize;
    let mut body = Reader::new(input.bytes(len)?);
    let value = read(&mut body).map_err(|source| ManifestError::Section { tag, source })?;
    body.end().map_err(|source| ManifestError::Section { tag, source })?;
    Ok(value)
}

fn extra(input: &mut Reader<'_>, count: u16) -> Result<Vec<(u16, Vec<u8>)>, ManifestError> {
    let mut sections = Vec::new();
    let mut last = MEASUREMENTS;
    for _ in 0..count {
        let tag = input.u16()?;
        if tag < MAY_IGNORE {
            return Err(ManifestError::UnknownSection { tag });
        }
        if tag <= last {
            return Err(ManifestError::NotCanonical);
        }
        last = tag;
        let len = input.u32()? as usize;
        sections.push((tag, input.bytes(len)?.to_vec()));
    }
    Ok(sections)
}

fn list<'a, T>(
    input: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let at = input.at();
    let count = usize::from(input.u16()?);
    if count > LIST_LEN_MAX {
        return input.bad(at, "list length");
    }
    (0..count).map(|_| read(input)).collect()
}

fn identity(w: &mut Writer, it: &Identity) {
    w.text(&it.name).text(&it.version).u64(it.epoch).text(&it.arch).text(&it.hardware_class);
    w.u64(it.created_unix_ms).text(&it.note);
    match it.previous {
        None => w.u8(0),
        Some(id) => w.u8(1).digest(&id.0),
    };
    w.u16(it.agent_min.0).u16(it.agent_min.1).u16(it.agent_min.2);
}

fn read_identity(r: &mut Reader<'_>) -> Result<Identity, WireError> {
    Ok(Identity {
        name: r.text()?,
        version: r.text()?,
        epoch: r.u64()?,
        arch: r.text()?,
        hardware_class: r.text()?,
        created_unix_ms: r.u64()?,
        note: r.text()?,
        previous: match flag(r, "previous image")? {
            false => None,
            true => Some(ImageId(r.digest()?)),
        },
        agent_min: AgentVersion(r.u16()?, r.u16()?, r.u16()?),
    })
}

fn disk(w: &mut Writer, it: &Disk) {
    w.u64(it.size).u32(it.sector_size).u64(it.head_len).u64(it.tail_len);
}

fn read_disk(r: &mut Reader<'_>) -> Result<Disk, WireError> {
    Ok(Disk { size: r.u64()?, sector_size: r.u32()?, head_len: r.u64()?, tail_len: r.u64()? })
}

fn boot(w: &mut Writer, it: &Boot) {
    w.u8(u8::from(it.uefi)).u8(u8::from(it.bios)).u8(u8::from(it.secure_boot)).text(&it.loader);
}

fn read_boot(r: &mut Reader<'_>) -> Result<Boot, WireError> {
    Ok(Boot {
        uefi: flag(r, "uefi flag")?,
        bios: flag(r, "bios flag")?,
        secure_boot: flag(r, "secure boot flag")?,
        loader: r.text()?,
    })
}

fn table(w: &mut Writer, it: &PartitionTable) {
    w.u8(match it.scheme {
        Scheme::None => 0,
        Scheme::Gpt => 1,
        Scheme::Mbr => 2,
    });
    w.bytes(&it.disk_guid).u64(it.usable.0).u64(it.usable.1).u16(it.partitions.len() as u16);
    for p in &it.partitions {
        w.u32(p.index).bytes(&p.type_guid).bytes(&p.unique_guid).u64(p.first_lba).u64(p.last_lba);
        w.u64(p.attributes).text(&p.name).text(&p.filesystem);
        w.u8(match p.policy {
            Policy::Write => 0,
            Policy::Preserve => 1,
            Policy::Grow => 2,
            Policy::Regenerate => 3,
            Policy::Skip => 4,
        });
    }
}

fn read_table(r: &mut Reader<'_>) -> Result<PartitionTable, WireError> {
    let at = r.at();
    let scheme = match r.u8()? {
        0 => Scheme::None,
        1 => Scheme::Gpt,
        2 => Scheme::Mbr,
        _ => return r.bad(at, "partition scheme"),
    };
    Ok(PartitionTable {
        scheme,
        disk_guid: r.array()?,
        usable: (r.u64()?, r.u64()?),
        partitions: list(r, read_partition)?,
    })
}

fn read_partition(r: &mut Reader<'_>) -> Result<Partition, WireError> {
    Ok(Partition {
        index: r.u32()?,
        type_guid: r.array()?,
        unique_guid: r.array()?,
        first_lba: r.u64()?,
        last_lba: r.u64()?,
        attributes: r.u64()?,
        name: r.text()?,
        filesystem: r.text()?,
        policy: {
            let at = r.at();
            match r.u8()? {
                0 => Policy::Write,
                1 => Policy::Preserve,
                2 => Policy::Grow,
                3 => Policy::Regenerate,
                4 => Policy::Skip,
                _ => return r.bad(at, "partition policy"),
            }
        },
    })
}

fn host_regions(w: &mut Writer, regions: &[HostRegion]) {
    w.u16(regions.len() as u16);
    for region in regions {
        w.u64(region.offset).u64(region.len).text(&region.purpose);
    }
}

fn read_host_region(r: &mut Reader<'_>) -> Result<HostRegion, WireError> {
    Ok(HostRegion { offset: r.u64()?, len: r.u64()?, purpose: r.text()? })
}

fn content(w: &mut Writer, it: &ContentTable) {
    w.digest(&it.root).u8(it.chunker);
    it.chunk_len.iter().for_each(|len| {
        w.u32(*len);
    });
    w.u8(it.codec).u32(it.pages.len() as u32);
    for page in &it.pages {
        w.u32(page.len).digest(&page.digest);
    }
}

fn read_content(r: &mut Reader<'_>) -> Result<ContentTable, WireError> {
    let (root, chunker) = (r.digest()?, r.u8()?);
    let chunk_len = [r.u32()?, r.u32()?, r.u32()?];
    let codec = r.u8()?;
    let at = r.at();
    let count = r.u32()? as usize;
    if count > PAGES_MAX {
        return r.bad(at, "page count");
    }
    let pages = (0..count).map(|_| Ok(PageRef { len: r.u32()?, digest: r.digest()? }));
    Ok(ContentTable { root, chunker, chunk_len, codec, pages: pages.collect::<Result<_, WireError>>()? })
}

fn measurements(w: &mut Writer, list: &[Measurement]) {
    w.u16(list.len() as u16);
    for m in list {
        w.u8(m.pcr).bytes(&m.digest).text(&m.what);
        w.u8(match m.need {
            Need::Always => 0,
            Need::SecureBoot => 1,
            Need::Optional => 2,
        });
    }
}

fn read_measurement(r: &mut Reader<'_>) -> Result<Measurement, WireError> {
    let (pcr, digest, what) = (r.u8()?, r.array()?, r.text()?);
    let at = r.at();
    let need = match r.u8()? {
        0 => Need::Always,
        1 => Need::SecureBoot,
        2 => Need::Optional,
        _ => return r.bad(at, "measurement need"),
    };
    Ok(Measurement { pcr, digest, need, what })
}

fn flag(r: &mut Reader<'_>, what: &'static str) -> Result<bool, WireError> {
    let at = r.at();
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => r.bad(at, what),
    }
}
