//! Packs: immutable files of frames. The layout is in `images/DESIGN.md`, section "Pack".
//!
//! ```text
//!   "GSPACK\x01\n" | frames back to back | footer: one entry a frame | trailer: footer length and digest, end mark
//! ```
//!
//! A pack is written under a temporary name with a lock held, sealed, synced, renamed to its digest, and never changed.
//! The lock tells a living writer's temporary file from one that a crash left. Without a valid trailer a pack does not
//! exist. Offsets are not stored: frames lie back to back, so they cannot overlap or point outside.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::StoreError;
use crate::frames::{Encoding, Frame, check_lengths};
use crate::wire::{Reader, WireError, Writer};
use crate::{ChunkId, Digest, PackId};

/// A pack is sealed when its frames reach this many bytes.
pub const PACK_LEN_TARGET: u64 = 64 << 20;

/// So many bytes at the end of a pack hold the tail of most.
pub(crate) const END_LEN: usize = 128 << 10;

const HEAD: &[u8; 8] = b"GSPACK\x01\n";
const END: &[u8; 8] = b"GSPKEND\n";
const TRAILER_LEN: usize = 4 + 32 + 8;
const ENTRY_LEN: usize = 32 + 16 + 1 + 4 + 4;
const FOOTER_LEN_MAX: usize = 64 << 20;
const FOOTER_CONTEXT: &str = "groundstate 2026-11-22 chunk pack footer";

/// Where and how a pack holds one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which chunk.
    pub id: ChunkId,
    /// First 16 bytes of the plain blake3 of the stored bytes: tells bit rot from the real thing without decoding.
    pub check: [u8; 16],
    /// How it is stored.
    pub encoding: Encoding,
    /// Length of the plain chunk.
    pub raw_len: u32,
    /// Length of the stored bytes.
    pub len: u32,
    /// Where the stored bytes start in the pack.
    pub offset: u64,
}

/// The check of stored bytes as in [`Entry::check`].
pub fn check_of(stored: &[u8]) -> [u8; 16] {
    let mut check = [0; 16];
    check.copy_from_slice(&Digest::of(stored).0[..16]);
    check
}

/// A pack being written. Dropped unsealed, it leaves nothing.
pub struct PackWriter {
    temp: PathBuf,
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    entries: Vec<Entry>,
    at: u64,
    sealed: bool,
}

impl PackWriter {
    /// Start a pack in the directory of temporary files.
    pub fn create(temp_dir: &Path) -> Result<Self, StoreError> {
        let (temp, file) = create_locked(temp_dir)?;
        let hasher = blake3::Hasher::new_derive_key(PackId::CONTEXT);
        let file = BufWriter::with_capacity(1 << 20, file);
        let mut writer = Self { temp, file, hasher, entries: Vec::new(), at: 0, sealed: false };
        writer.write(HEAD)?;
        Ok(writer)
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.at
    }

    /// Append one frame.
    pub fn append(&mut self, frame: &Frame) -> Result<(), StoreError> {
        let Frame { id, encoding, raw_len, bytes } = frame;
        let (offset, len) = (self.at, bytes.len() as u32);
        self.write(bytes)?;
        let check = check_of(bytes);
        self.entries.push(Entry { id: *id, check, encoding: *encoding, raw_len: *raw_len, len, offset });
        Ok(())
    }

    /// Write the footer, sync, and give the pack its name in `packs_dir`, which is none of `taken`.
    ///
    /// Equal frames in equal order make an equal name. A collection that is about to remove a pack of that name would
    /// take this one, so it gets a frame that nobody asks for, and with it another name.
    pub fn seal(
        mut self,
        packs_dir: &Path,
        taken: &HashSet<PackId>,
    ) -> Result<(PackId, Vec<Entry>), StoreError> {
        let (footer, id) = loop {
            let footer = self.footer();
            let id = PackId(Digest(*self.hasher.clone().update(&footer).finalize().as_bytes()));
            if !taken.contains(&id) {
                break (footer, id);
            }
            let salt = super::random_name()?.into_bytes();
            let (id, raw_len) = (ChunkId::of(&salt), salt.len() as u32);
            self.append(&Frame { id, encoding: Encoding::Raw, raw_len, bytes: salt })?;
        };
        self.write(&footer)?;
        self.file.flush().map_err(StoreError::io("write", &self.temp))?;
        self.file.get_ref().sync_all().map_err(StoreError::io("sync", &self.temp))?;
        let path = packs_dir.join(file_name(&id));
        fs::rename(&self.temp, &path).map_err(StoreError::io("name", &path))?;
        self.sealed = true;
        super::sync_dir(packs_dir)?;
        Ok((id, std::mem::take(&mut self.entries)))
    }

    /// Footer and trailer.
    fn footer(&self) -> Vec<u8> {
        let mut footer = Writer::new();
        for e in &self.entries {
            footer.digest(&e.id.0).bytes(&e.check).u8(e.encoding.code()).u32(e.raw_len).u32(e.len);
        }
        let digest = Digest::derived(FOOTER_CONTEXT, &footer.0);
        let footer_len = footer.0.len() as u32;
        footer.u32(footer_len).digest(&digest).bytes(END);
        footer.0
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(StoreError::io("write", &self.temp))?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for PackWriter {
    fn drop(&mut self) {
        if !self.sealed {
            // Best effort: what stays is removed when the store is opened next.
            let _ = fs::remove_file(&self.temp);
        }
    }
}

/// The file name of a pack.
pub fn file_name(id: &PackId) -> String {
    format!("{id}.pack")
}

/// Remove temporary files whose writer is gone.
pub fn remove_abandoned(temp_dir: &Path) -> Result<usize, StoreError> {
    let mut removed = 0;
    for path in super::files_in(temp_dir)? {
        // A living writer holds the lock; the file of one that just finished may be gone already.
        let Ok(file) = File::open(&path) else { continue };
        match file.try_lock() {
            Ok(()) => removed += usize::from(fs::remove_file(&path).is_ok()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(StoreError::io("lock", &path)(source)),
        }
    }
    Ok(removed)
}

/// A new temporary file, locked until it is closed.
pub(super) fn create_locked(temp_dir: &Path) -> Result<(PathBuf, File), StoreError> {
    loop {
        let path = temp_dir.join(format!("{}.{}", std::process::id(), super::random_name()?));
        let create = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = create.map_err(StoreError::io("create", &path))?;
        file.lock().map_err(StoreError::io("lock", &path))?;
        // Another process may have taken the file for abandoned before it was locked.
        if file.metadata().map_err(StoreError::io("read", &path))?.nlink() > 0 {
            return Ok((path, file));
        }
    }
}

/// Open a pack to read. Its time of access says when a frame of it was sent ([`super::evict`]), so that our reading does not change it, where
/// we may say so: of another owner's file we may not.
pub(super) fn open(path: &Path, flags: OFlag) -> io::Result<File> {
    let open = |flags: OFlag| OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    match open(flags | OFlag::O_NOATIME) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(flags),
        other => other,
    }
}

/// The entries of a sealed pack.
pub fn read_footer(path: &Path) -> Result<Vec<Entry>, StoreError> {
    let mut file = open(path, OFlag::empty()).map_err(StoreError::io("open", path))?;
    let len = file.metadata().map_err(StoreError::io("read", path))?.len();
    let damaged = |what| StoreError::DamagedPack { path: path.to_owned(), what };
    let mut read = |at: u64, len: usize| {
        let mut bytes = vec![0; len];
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes)).map(|()| bytes)
    };
    let no_trailer = BadTail::Trailer.what();
    if len < (HEAD.len() + TRAILER_LEN) as u64
        || read(0, HEAD.len()).map_err(StoreError::io("read", path))? != HEAD
    {
        return Err(damaged(no_trailer));
    }
    let trailer = read(len - TRAILER_LEN as u64, TRAILER_LEN).map_err(StoreError::io("read", path))?;
    let tail_len = tail_len(&trailer, len).map_err(|bad| damaged(bad.what()))?;
    let tail = read(len - tail_len as u64, tail_len).map_err(StoreError::io("read", path))?;
    decode_tail(&tail, len).map_err(|bad| damaged(bad.what()))
}

/// Why the end of a file is not that of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTail {
    /// No trailer, or one whose footer is not there or not the one that it names.
    Trailer,
    /// An entry that no pack has.
    Footer,
    /// The frames that it lists do not fill the file.
    Length,
}

impl BadTail {
    /// For people.
    pub fn what(self) -> &'static str {
        match self {
            Self::Trailer => "it has no valid trailer",
            Self::Footer => "its footer is malformed",
            Self::Length => "its length is not what its footer says",
        }
    }
}

/// How many bytes at the end of a pack of `len` bytes are footer and trailer, by the last bytes of it; nothing is believed
/// that does not fit.
pub fn tail_len(end: &[u8], len: u64) -> Result<usize, BadTail> {
    let trailer = end.len().checked_sub(TRAILER_LEN).map(|at| &end[at..]).ok_or(BadTail::Trailer)?;
    let mut input = Reader::new(trailer);
    let mut parse = || -> Result<_, WireError> {
        let footer_len = input.u32()? as usize;
        input.digest()?;
        input.expect(END, "end mark")?;
        Ok(footer_len)
    };
    let footer_len = parse().map_err(|_| BadTail::Trailer)?;
    let fits =
        len.checked_sub((HEAD.len() + TRAILER_LEN) as u64).is_some_and(|room| footer_len as u64 <= room);
    match fits && footer_len <= FOOTER_LEN_MAX {
        true => Ok(footer_len + TRAILER_LEN),
        false => Err(BadTail::Trailer),
    }
}

/// The entries of a pack of `len` bytes by its tail, which is [`tail_len`] long.
pub fn decode_tail(tail: &[u8], len: u64) -> Result<Vec<Entry>, BadTail> {
    if tail_len(tail, len)? != tail.len() {
        return Err(BadTail::Trailer);
    }
    let (footer, trailer) = tail.split_at(tail.len() - TRAILER_LEN);
    if Digest::derived(FOOTER_CONTEXT, footer).as_bytes()[..] != trailer[4..36] {
        return Err(BadTail::Trailer);
    }
    let entries = decode_footer(footer).map_err(|_| BadTail::Footer)?;
    let frames_end = entries.last().map_or(HEAD.len() as u64, |e| e.offset + u64::from(e.len));
    match frames_end + tail.len() as u64 == len && len <= u64::from(u32::MAX) {
        true => Ok(entries),
        false => Err(BadTail::Length),
    }
}

/// The entries of a footer whose digest is right: a file that somebody made can hold anything all the same.
pub fn decode_footer(footer: &[u8]) -> Result<Vec<Entry>, WireError> {
    let mut input = Reader::new(footer);
    let mut entries = Vec::with_capacity(footer.len() / ENTRY_LEN);
    let mut offset = HEAD.len() as u64;
    while input.remaining() > 0 {
        let at = input.at();
        let (id, check, code) = (ChunkId(input.digest()?), input.array()?, input.u8()?);
        let (raw_len, len) = (input.u32()?, input.u32()?);
        let Some(encoding) = Encoding::from_code(code).filter(|e| check_lengths(*e, raw_len, len as usize))
        else {
            return input.bad(at, "entry");
        };
        entries.push(Entry { id, check, encoding, raw_len, len, offset });
        offset += u64::from(len);
    }
    Ok(entries)
}
