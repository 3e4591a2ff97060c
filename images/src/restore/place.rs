//! One file of the endpoint on a proven disk, between the proof and the commit.
//!
//! ```text
//!   image's extents ─read from the medium, hashed─► Overlay ◄─ FAT library: makes the file, in memory only
//!                                                      │
//!        disk poisoned (if it was not yet) ─► changed blocks written, flushed ─► every extent they touch read again
//! ```
//!
//! The image is what was signed, so no file of it may be replaced: only an [`EndpointFile`] can be placed, its name is
//! fixed when the program is built, and it lies in our own directory. The FAT library sees nothing that was not hashed
//! against the manifest, so a wrong read can neither get it to take an occupied cluster nor be written back as a
//! neighbour's bytes.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::boot_region;
use super::compare::{Through, is_zero};
use super::preserve::Kept;
use super::write::flush;
use super::{AlignedBuf, ReadDisk, RestoreError, RestoreTarget};
use crate::boot::AGENT_MARK;
use crate::{ChunkId, Content, Extent, Manifest};

/// The directory of the EFI system partition that is ours.
const DIRECTORY: &str = "EFI/groundstate/";
/// Zero extents are looked at in pieces of this many bytes.
const PIECE: u64 = 4096;
/// Most bytes of the disk that placing a file keeps in memory.
const HELD_MAX: usize = 64 << 20;

/// The path of a file that belongs to the endpoint and not to the image, such as its enrolment ticket.
///
/// It is the one path that may be placed over an older file of the same name. To be made as a constant, so that a wrong
/// one does not compile:
///
/// ```
/// const TICKET: images::restore::EndpointFile = images::restore::EndpointFile::new("EFI/groundstate/ticket.json");
/// ```
///
/// ```compile_fail
/// const LOADER: images::restore::EndpointFile = images::restore::EndpointFile::new("EFI/BOOT/BOOTX64.EFI");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointFile {
    on: PlacedOn,
    path: &'static str,
}

/// Where a file of the endpoint goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacedOn {
    /// On the EFI system partition.
    Esp,
    /// On the partition named `cidata`, where cloud-init and cloudbase-init look for their NoCloud seed.
    Seed,
}

impl EndpointFile {
    /// The file at this path.
    ///
    /// # Panics
    /// Unless it is `EFI/groundstate/` and a name of lower-case letters, digits, `-` and `.`; the agent's own mark there
    /// is the image's. No other spelling of a FAT name (case, `~1`) can mean another file.
    pub const fn new(path: &'static str) -> Self {
        let (bytes, directory) = (path.as_bytes(), DIRECTORY.as_bytes());
        assert!(bytes.len() > directory.len() && bytes.len() <= 64, "a short name in EFI/groundstate/");
        assert!(!equal(bytes, AGENT_MARK.as_bytes()), "the agent's mark is the image's");
        let mut at = 0;
        while at < bytes.len() {
            let fits = match at < directory.len() {
                true => bytes[at] == directory[at],
                false => matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'),
            };
            assert!(fits, "EFI/groundstate/ and a name of lower-case letters, digits, - and .");
            at += 1;
        }
        assert!(
            bytes[directory.len()] != b'.' && bytes[at - 1] != b'.',
            "a name does not begin or end with a dot"
        );
        Self { on: PlacedOn::Esp, path }
    }

    /// NoCloud `meta-data`: who this instance is.
    pub const SEED_META_DATA: Self = Self { on: PlacedOn::Seed, path: "meta-data" };
    /// NoCloud `user-data`.
    pub const SEED_USER_DATA: Self = Self { on: PlacedOn::Seed, path: "user-data" };
    /// NoCloud `network-config`.
    pub const SEED_NETWORK_CONFIG: Self = Self { on: PlacedOn::Seed, path: "network-config" };

    /// Where it goes.
    pub const fn on(self) -> PlacedOn {
        self.on
    }

    /// The path, with `/`.
    pub const fn path(self) -> &'static str {
        self.path
    }
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    let (mut at, mut same) = (0, a.len() == b.len());
    while same && at < a.len() {
        same = a[at] == b[at];
        at += 1;
    }
    same
}

/// A disk to work on in memory: every byte it shows was read from the medium and is the image's, or was written here.
pub(super) struct Overlay<'a> {
    target: &'a dyn RestoreTarget,
    /// The extents of the range that may be read.
    extents: Vec<Extent>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bytes by where they start: data extents whole, of others the pieces that were looked at.
    pages: BTreeMap<u64, Vec<u8>>,
    /// Whole sectors that differ from the disk, start to end.
    changed: BTreeMap<u64, u64>,
    held: usize,
    /// Why the last read failed, since [`io::Error`] cannot say it by name.
    failure: Option<RestoreError>,
}

impl<'a> Overlay<'a> {
    /// Over the extents that lie in `range`, which must not reach into the boot region; what stays is none of them.
    pub fn new(target: &'a dyn RestoreTarget, manifest: &Manifest, kept: &Kept, range: &Range<u64>) -> Self {
        let inside = |extent: &Extent| extent.end() > range.start && extent.offset < range.end;
        let extents = boot_region::payload(manifest, kept).map(|(_, extent)| extent).filter(inside).collect();
        Self { target, extents, state: Mutex::default() }
    }

    /// Why a method of this target has failed.
    pub fn take_failure(&self) -> Option<RestoreError> {
        self.state().failure.take()
    }

    /// Write what was changed, flush, and read again every extent that was touched. Says how many bytes were written.
    pub fn write_out(&self) -> Result<u64, RestoreError> {
        let mut state = self.state();
        let changed = std::mem::take(&mut state.changed);
        let mut written = 0;
        for (start, end) in &changed {
            let mut bytes = AlignedBuf::new((end - start) as usize);
            state.each(*start, end - start, |held, at| bytes[at].copy_from_slice(held));
            let failed = RestoreError::disk("write", *start, end - start);
            self.target.write_at(*start, &bytes).map_err(failed)?;
            written += end - start;
        }
        flush(self.target)?;
        let touched = |start: u64, end: u64| {
            changed.range(..end).next_back().is_some_and(|(_, changed_end)| *changed_end > start)
        };
        for (start, page) in &state.pages {
            let end = start + page.len() as u64;
            if touched(*start, end) && self.read_medium(&(*start..end))? != *page {
                return Err(RestoreError::Spoiled { offset: *start });
            }
        }
        Ok(written)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_medium(&self, range: &Range<u64>) -> Result<Vec<u8>, RestoreError> {
        let sector = u64::from(self.target.sector_size());
        let start = range.start - range.start % sector;
        let mut bytes = AlignedBuf::new((range.end.next_multiple_of(sector) - start) as usize);
        Through::Medium.read(self.target, start, &mut bytes)?;
        Ok(bytes[(range.start - start) as usize..(range.end - start) as usize].to_vec())
    }

    /// Have the pages of these bytes in memory.
    fn load(&self, state: &mut State, offset: u64, len: usize) -> Result<(), RestoreError> {
        let end = offset + len as u64;
        let first = self.extents.partition_point(|extent| extent.end() <= offset);
        for extent in self.extents[first..].iter().take_while(|extent| extent.offset < end) {
            let mut at = offset.max(extent.offset);
            while at < end.min(extent.end()) {
                let page = page_of(extent, at);
                at = page.end;
                if state.pages.contains_key(&page.start) {
                    continue;
                }
                let bytes = self.read_medium(&page)?;
                let right = match extent.content {
                    Content::Data(id) => ChunkId::of(&bytes) == id,
                    Content::Zero => is_zero(&bytes),
                    Content::Any => true,
                };
                state.held += bytes.len();
                if !right {
                    return Err(RestoreError::Spoiled { offset: page.start });
                }
                if state.held > HELD_MAX {
                    return Err(RestoreError::EspTooScattered);
                }
                state.pages.insert(page.start, bytes);
            }
        }
        Ok(())
    }

    fn loaded(&self, offset: u64, len: usize) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        match self.load(&mut state, offset, len) {
            Ok(()) => Ok(state),
            Err(failure) => {
                let error = io::Error::other(failure.to_string());
                state.failure = Some(failure);
                Err(error)
            }
        }
    }
}

/// The page that holds byte `at` of an extent.
fn page_of(extent: &Extent, at: u64) -> Range<u64> {
    let start = at - at % PIECE;
    match extent.content {
        Content::Data(_) => extent.range(),
        Content::Zero | Content::Any => start.max(extent.offset)..(start + PIECE).min(extent.end()),
    }
}

impl State {
    /// Each held part of these bytes, and where in them it lies.
    fn each(&mut self, offset: u64, len: u64, mut with: impl FnMut(&mut [u8], Range<usize>)) {
        let end = offset + len;
        for (start, page) in self.pages.range_mut(..end).rev() {
            let page_end = start + page.len() as u64;
            if page_end <= offset {
                break;
            }
            let part = offset.max(*start)..end.min(page_end);
            let held = &mut page[(part.start - start) as usize..(part.end - start) as usize];
            with(held, (part.start - offset) as usize..(part.end - offset) as usize);
        }
    }
}

impl ReadDisk for Overlay<'_> {
    fn size(&self) -> u64 {
        self.target.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let len = buf.len();
        self.loaded(offset, len)?.each(offset, len as u64, |held, at| buf[at].copy_from_slice(held));
        Ok(())
    }
}

impl RestoreTarget for Overlay<'_> {
    fn sector_size(&self) -> u32 {
        self.target.sector_size()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (len, mut differs) = (bytes.len(), false);
        let mut state = self.loaded(offset, len)?;
        state.each(offset, len as u64, |held, at| {
            differs |= *held != bytes[at.clone()];
            held.copy_from_slice(&bytes[at]);
        });
        if differs {
            state.changed.insert(offset, offset + len as u64);
        }
        Ok(())
    }

    fn zero(&self, _: Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn reread_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, buf)
    }
}
