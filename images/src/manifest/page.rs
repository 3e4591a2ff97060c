//! Extent pages: the list of what lies where, in pieces of at most 64 KiB that are verified one by one.
//!
//! A page is columnar: first one number for each extent (length in bytes and kind), then the ids of its data extents.
//! Lengths count single bytes, since content-defined cuts fall on any byte (decision of 2026-11-22 in DESIGN.md).

use super::ManifestError;
use crate::wire::{Reader, WireError, Writer};
use crate::{ChunkId, Digest};

/// Longest encoded page in bytes.
pub const PAGE_LEN_MAX: usize = 64 << 10;
/// Longest chunk, and so longest data extent, in bytes.
pub const CHUNK_LEN_MAX: u32 = 512 << 10;

const CONTEXT: &str = "groundstate 2026-11-22 image manifest page";
const PREFIX_LEN: usize = 8 + 2;
const DATA: u64 = 0;
const ZERO: u64 = 1;
const ANY: u64 = 2;

/// What an extent must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The plain bytes of this chunk.
    Data(ChunkId),
    /// Zeros. Zero is data: it must read as zero.
    Zero,
    /// Anything: nobody reads it before writing it.
    Any,
}

/// A run of bytes of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte on the disk.
    pub offset: u64,
    /// Length in bytes, not 0; at most [`CHUNK_LEN_MAX`] for data.
    pub len: u64,
    /// What it must hold.
    pub content: Content,
}

impl Extent {
    /// The byte after the last.
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// The bytes of the disk that it covers.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.offset..self.end()
    }
}

/// The digest by which a header names a page.
pub fn page_digest(page: &[u8]) -> Digest {
    Digest::derived(CONTEXT, page)
}

/// Encode extents (gapless, in disk order) as pages.
pub fn encode(extents: impl IntoIterator<Item = Extent>) -> Vec<Vec<u8>> {
    let mut pages = Vec::new();
    let mut open = OpenPage::default();
    for extent in extents {
        if !open.fits(&extent) {
            pages.push(std::mem::take(&mut open).close());
        }
        open.push(extent);
    }
    if open.count > 0 {
        pages.push(open.close());
    }
    pages
}

/// Extents of one encoded page; the page must start at disk offset `start`.
pub fn decode(page: &[u8], start: u64) -> Result<Vec<Extent>, ManifestError> {
    if page.len() > PAGE_LEN_MAX {
        return Err(ManifestError::TooLarge { what: "page", len: page.len(), max: PAGE_LEN_MAX });
    }
    Ok(decode_extents(page, start)?)
}

fn decode_extents(page: &[u8], start: u64) -> Result<Vec<Extent>, WireError> {
    let mut input = Reader::new(page);
    if input.u64()? != start {
        return input.bad(0, "start of page");
    }
    let count = usize::from(input.u16()?);
    if count == 0 || count > input.remaining() {
        return input.bad(8, "extent count");
    }
    let mut extents = Vec::with_capacity(count);
    let mut offset = start;
    for _ in 0..count {
        let at = input.at();
        let number = input.varint()?;
        let len = number >> 2;
        let content = match number & 3 {
            DATA if len <= u64::from(CHUNK_LEN_MAX) => Content::Data(ChunkId(Digest([0; 32]))),
            ZERO => Content::Zero,
            ANY => Content::Any,
            _ => return input.bad(at, "extent"),
        };
        let Some(end) = offset.checked_add(len).filter(|end| *end > offset) else {
            return input.bad(at, "extent length");
        };
        extents.push(Extent { offset, len, content });
        offset = end;
    }
    for extent in &mut extents {
        if let Content::Data(id) = &mut extent.content {
            id.0 = input.digest()?;
        }
    }
    input.end()?;
    Ok(extents)
}

#[derive(Default)]
struct OpenPage {
    start: u64,
    count: u16,
    numbers: Writer,
    ids: Writer,
}

impl OpenPage {
    fn fits(&self, extent: &Extent) -> bool {
        let id_len = if matches!(extent.content, Content::Data(_)) { 32 } else { 0 };
        let len = PREFIX_LEN + self.numbers.0.len() + self.ids.0.len() + 10 + id_len;
        self.count == 0 || (len <= PAGE_LEN_MAX && self.count < u16::MAX)
    }

    fn push(&mut self, extent: Extent) {
        if self.count == 0 {
            self.start = extent.offset;
        }
        self.count += 1;
        let kind = match extent.content {
            Content::Data(id) => {
                self.ids.digest(&id.0);
                DATA
            }
            Content::Zero => ZERO,
            Content::Any => ANY,
        };
        self.numbers.varint((extent.len << 2) | kind);
    }

    fn close(self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u64(self.start).u16(self.count).bytes(&self.numbers.0).bytes(&self.ids.0);
        out.0
    }
}
