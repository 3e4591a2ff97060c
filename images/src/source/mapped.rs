//! A virtual disk as a map from its bytes to bytes in a file: what all formats have in common.
//!
//! ```text
//!   read at an offset ─► Layout::locate ─┬─ zeros
//!                        (one format)    ├─ at a byte of the file
//!                                        ├─ packed, with others, in one compressed unit ─► unpacked, kept until the next
//!                                        └─ below: as in the backing disk, zeros behind its end
//! ```
//!
//! Tables are never loaded whole: [`Pages`] keeps a few pages of them, so memory does not depend on what a file claims.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::{Decompress, FlushDecompress};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::opened::Opened;
use crate::disk::ReadDisk;

const PAGE_LEN: u64 = 64 << 10;
const PAGES_MAX: usize = 16;
/// How far known zeros are looked for at once, so that no table makes one call long.
const ZEROS_MAX: u64 = 256 << 20;
/// Largest window of a zstd frame that is unpacked, as a power of two; QEMU's clusters have 2 MiB at most.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

/// Where the bytes of a disk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// They read as zeros.
    Zeros,
    /// In the file, from this byte on.
    At(u64),
    /// In a compressed unit.
    Packed(Unit),
    /// In the disk below; zeros if there is none.
    Below,
}

/// A run of the disk that was compressed as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Its first byte on the disk.
    pub start: u64,
    /// Its plain length.
    pub plain_len: usize,
    /// Its first byte in the file.
    pub at: u64,
    /// Its compressed length, or more: what follows it is not looked at.
    pub len: usize,
    /// How it is compressed.
    pub codec: Codec,
}

/// How a unit is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// RFC 1951.
    Deflate,
    /// RFC 1950.
    Zlib,
    /// RFC 8878.
    Zstd,
}

/// Where some bytes of a disk are, and for how many bytes that is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Where.
    pub place: Place,
    /// For how many bytes, at least one; it may pass the end of the disk.
    pub len: u64,
}

/// What a format knows of its disk.
pub trait Layout: Send + Sync {
    /// Size of the disk in bytes.
    fn size(&self) -> u64;
    /// Where the bytes from `offset` on are, which is within the disk.
    fn locate(&self, offset: u64) -> io::Result<Run>;
}

/// A disk that others can lie on.
pub trait Layer: ReadDisk + Send {
    /// As [`ReadDisk::zeros_at`], looking no further than `max` bytes.
    fn zeros_within(&self, offset: u64, max: u64) -> u64;
}

impl Layer for Arc<Opened> {
    fn zeros_within(&self, offset: u64, max: u64) -> u64 {
        self.zeros_at(offset).min(max)
    }
}

impl ReadDisk for Arc<Opened> {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buf)
    }

    fn zeros_at(&self, offset: u64) -> u64 {
        self.file.zeros_at(offset)
    }
}

/// A virtual disk in a file, perhaps on top of another.
pub struct Mapped<L> {
    file: Arc<Opened>,
    layout: L,
    below: Option<Box<dyn Layer>>,
    unpacked: Mutex<Unpacked>,
}

impl<L: Layout> Mapped<L> {
    /// A disk that `layout` finds in `file`.
    pub fn new(file: Arc<Opened>, layout: L, below: Option<Box<dyn Layer>>) -> Self {
        Self { file, layout, below, unpacked: Mutex::default() }
    }

    /// The run at `offset`, joined with those that go on like it, up to `wanted` bytes and the end of the disk.
    fn run(&self, offset: u64, wanted: u64) -> io::Result<Run> {
        let wanted = wanted.min(self.layout.size() - offset);
        let mut run = self.layout.locate(offset)?;
        while run.len < wanted {
            let next = self.layout.locate(offset + run.len)?;
            let goes_on = match (run.place, next.place) {
                (Place::Zeros, Place::Zeros) | (Place::Below, Place::Below) => true,
                (Place::At(at), Place::At(next)) => at.checked_add(run.len) == Some(next),
                _ => false,
            };
            if !goes_on {
                break;
            }
            run.len += next.len;
        }
        run.len = run.len.min(wanted);
        Ok(run)
    }

    fn read_run(&self, offset: u64, place: Place, buf: &mut [u8]) -> io::Result<()> {
        match place {
            Place::Zeros => buf.fill(0),
            Place::At(at) => self.read_file(at, buf)?,
            Place::Packed(unit) => {
                let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
                let plain = unpacked.of(&self.file, unit)?;
                let from = (offset - unit.start) as usize;
                let part = plain.get(from..from + buf.len());
                buf.copy_from_slice(part.ok_or_else(|| damaged("a compressed unit is short", unit.at))?);
            }
            Place::Below => {
                let below = self.below.as_deref();
                let there = below.map_or(0, |below| below.size().saturating_sub(offset));
                let (stands, behind) = buf.split_at_mut(there.min(buf.len() as u64) as usize);
                if let (Some(below), false) = (below, stands.is_empty()) {
                    below.read_at(offset, stands)?;
                }
                behind.fill(0);
            }
        }
        Ok(())
    }

    fn read_file(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        match at.checked_add(buf.len() as u64) {
            Some(end) if end <= self.file.file.size() => self.file.file.read_at(at, buf),
            _ => Err(damaged("the file ends within the data that should be", at)),
        }
    }

    /// Zeros known in one run, that is in `len` bytes.
    fn zeros_in(&self, offset: u64, run: Run) -> u64 {
        match run.place {
            Place::Zeros => run.len,
            Place::At(at) => self.file.zeros_within(at, run.len),
            Place::Packed(_) => 0,
            Place::Below => match &self.below {
                Some(below) if offset < below.size() => {
                    let there = run.len.min(below.size() - offset);
                    let zeros = below.zeros_within(offset, there);
                    if zeros < there { zeros } else { run.len }
                }
                _ => run.len,
            },
        }
    }
}

impl<L: Layout> ReadDisk for Mapped<L> {
    fn size(&self) -> u64 {
        self.layout.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let fits = offset.checked_add(buf.len() as u64).is_some_and(|end| end <= self.size());
        if !fits {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut offset, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let run = self.run(offset, rest.len() as u64)?;
            let (part, behind) = rest.split_at_mut(run.len as usize);
            self.read_run(offset, run.place, part)?;
            (offset, rest) = (offset + run.len, behind);
        }
        Ok(())
    }

    fn zeros_at(&self, offset: u64) -> u64 {
        self.zeros_within(offset, ZEROS_MAX)
    }
}

impl<L: Layout> Layer for Mapped<L> {
    fn zeros_within(&self, offset: u64, max: u64) -> u64 {
        let max = max.min(self.size().saturating_sub(offset));
        let mut zeros = 0;
        while zeros < max {
            // What cannot be read is not known to be zero; reading says why.
            let Ok(run) = self.run(offset + zeros, max - zeros) else { break };
            let known = self.zeros_in(offset + zeros, run);
            zeros += known;
            if known < run.len {
                break;
            }
        }
        zeros
    }
}

/// Disks one behind the other.
pub struct Joined {
    parts: Vec<(u64, Box<dyn Layer>)>,
    size: u64,
}

impl Joined {
    /// Join `parts`; `None` when their sizes overflow.
    pub fn new(parts: Vec<Box<dyn Layer>>) -> Option<Self> {
        let mut size = 0_u64;
        let mut joined = Vec::new();
        for part in parts {
            let start = size;
            size = size.checked_add(part.size())?;
            joined.push((start, part));
        }
        Some(Self { parts: joined, size })
    }

    /// The part that `offset` is in, where in it, and how much follows there.
    fn part(&self, offset: u64) -> Option<(&dyn Layer, u64, u64)> {
        let next = self.parts.partition_point(|(start, _)| *start <= offset);
        let (start, part) = self.parts.get(next.checked_sub(1)?)?;
        Some((part.as_ref(), offset - start, part.size().checked_sub(offset - start)?))
    }
}

impl ReadDisk for Joined {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let (mut offset, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let (part, within, left) = self.part(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
            if left == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let len = left.min(rest.len() as u64);
            let (here, behind) = rest.split_at_mut(len as usize);
            part.read_at(within, here)?;
            (offset, rest) = (offset + len, behind);
        }
        Ok(())
    }

    fn zeros_at(&self, offset: u64) -> u64 {
        self.part(offset).map_or(0, |(part, within, left)| part.zeros_within(within, left.min(ZEROS_MAX)))
    }
}

impl Layer for Joined {
    fn zeros_within(&self, offset: u64, max: u64) -> u64 {
        self.zeros_at(offset).min(max)
    }
}

/// A part of a file that stands for a disk as it is.
pub struct Flat {
    /// Its first byte in the file.
    pub start: u64,
    /// Its length.
    pub size: u64,
}

impl Layout for Flat {
    fn size(&self) -> u64 {
        self.size
    }

    fn locate(&self, offset: u64) -> io::Result<Run> {
        let at = self.start.checked_add(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Run { place: Place::At(at), len: self.size - offset })
    }
}

/// Entries of tables, of which the last pages read are kept.
pub struct Pages {
    file: Arc<Opened>,
    recent: Mutex<VecDeque<(u64, Vec<u8>)>>,
}

impl Pages {
    /// Of this file.
    pub fn new(file: Arc<Opened>) -> Self {
        Self { file, recent: Mutex::default() }
    }

    /// `N` bytes at `at` of the file.
    pub fn entry<const N: usize>(&self, at: u64) -> io::Result<[u8; N]> {
        let size = self.file.file.size();
        if at.checked_add(N as u64).is_none_or(|end| end > size) {
            return Err(damaged("the file ends within a table that should be", at));
        }
        let (start, within) = (at - at % PAGE_LEN, (at % PAGE_LEN) as usize);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        match recent.iter().position(|(page, _)| *page == start) {
            Some(0) => {}
            Some(found) => recent.swap(0, found),
            None => {
                let mut page = vec![0; PAGE_LEN.min(size - start) as usize];
                self.file.file.read_at(start, &mut page)?;
                recent.truncate(PAGES_MAX - 1);
                recent.push_front((start, page));
            }
        }
        let found = recent.front().and_then(|(_, page)| page.get(within..)?.first_chunk());
        // An entry that crosses two pages is possible only in a table that starts askew, which formats refuse.
        found.copied().ok_or_else(|| damaged("a table is not aligned", at))
    }
}

/// The unit that was unpacked last, and what unpacks.
#[derive(Default)]
struct Unpacked {
    unit: Option<Unit>,
    plain: Vec<u8>,
    packed: Vec<u8>,
    inflate: Option<(Codec, Decompress)>,
    zstd: Option<Decoder<'static>>,
}

impl Unpacked {
    fn of(&mut self, file: &Opened, unit: Unit) -> io::Result<&[u8]> {
        if self.unit != Some(unit) {
            self.unit = None;
            // The last unit of a file may end before the sector does in which its length is counted.
            let there = file.file.size().saturating_sub(unit.at).min(unit.len as u64);
            self.packed.resize(there as usize, 0);
            file.file.read_at(unit.at, &mut self.packed)?;
            self.plain.resize(unit.plain_len, 0);
            let done = match unit.codec {
                Codec::Zstd => self.unpack_zstd(),
                codec => self.inflate(codec),
            };
            if !done? {
                return Err(damaged("the compressed data does not unpack that stands", unit.at));
            }
            self.unit = Some(unit);
        }
        Ok(&self.plain)
    }

    /// Whether the unit filled its plain length.
    fn inflate(&mut self, codec: Codec) -> io::Result<bool> {
        let zlib = codec == Codec::Zlib;
        let (_, inflate) = match &mut self.inflate {
            Some(inflate) if inflate.0 == codec => inflate,
            other => other.insert((codec, Decompress::new(zlib))),
        };
        inflate.reset(zlib);
        // Damage and shortness are one to the caller; what follows the stream in its sector is not looked at.
        let outcome = inflate.decompress(&self.packed, &mut self.plain, FlushDecompress::Finish);
        Ok(outcome.is_ok() && inflate.total_out() == self.plain.len() as u64)
    }

    /// Whether the unit filled its plain length.
    fn unpack_zstd(&mut self) -> io::Result<bool> {
        let decoder = match &mut self.zstd {
            Some(decoder) => decoder,
            none => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
                none.insert(decoder)
            }
        };
        decoder.reinit()?;
        let (mut packed, mut plain) =
            (InBuffer::around(&self.packed), OutBuffer::around(&mut self.plain[..]));
        while plain.pos() < plain.capacity() {
            let before = (packed.pos(), plain.pos());
            let Ok(_) = decoder.run(&mut packed, &mut plain) else { return Ok(false) };
            if before == (packed.pos(), plain.pos()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The error that the file is not what its format demands, at this byte of it.
pub fn damaged(what: &str, at: u64) -> io::Error {
    let text =
        format!("{what} at byte {at} of the file; it is damaged: fetch it again and compare its checksum");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
