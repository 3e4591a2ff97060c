//! Unpack a compressed file into a sparse one without a name, beside the store.
//!
//! ```text
//!   packed file ─► decoder, a thread of its own ═ pieces ═► zero blocks become holes, all else is written
//! ```
//!
//! A partition table has a copy at the end of its disk, so a disk cannot be imported while it is unpacked. A bomb is bounded by
//! the plain size, by the room that is left, and in memory by what each decoder may take.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use nix::fcntl::OFlag;
use nix::sys::statvfs::fstatvfs;

use super::opened::Opened;
use super::{Packing, SourceError};
use crate::disk::ReadDisk as _;
use crate::import::ImportProgress;
use crate::restore::is_zero;

const PIECE_LEN: usize = 1 << 20;
const QUEUE_LEN: usize = 4;
/// In which zeros are looked for: what file systems keep or leave out.
const BLOCK_LEN: usize = 4096;
/// `xz -9` asks for 65 MiB.
const XZ_MEMORY_MAX: u64 = 256 << 20;
/// `zstd --ultra -22` asks for 2^27; `--long=31` would ask for 2 GiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Of the file system under the store, what part stays free: the store must be able to go on.
const RESERVE: u64 = 20;
/// How much is written between two looks at what is free.
const LOOK_EVERY: u64 = 64 << 20;

type Piece = io::Result<Vec<u8>>;

/// Unpack `packed` into `temp`. More than `max` plain bytes are refused; without it, more than the file system of `temp` has.
/// Progress counts packed bytes.
pub(super) fn unpack(
    packed: &Opened,
    packing: Packing,
    temp: &Path,
    max: Option<u64>,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<File, SourceError> {
    let file = unnamed(temp).map_err(|source| SourceError::Temp { temp: temp.to_owned(), source })?;
    let mut plain = Plain { file, temp, packed, len: 0, looked: 0 };
    let limit = match max {
        Some(max) => max,
        None => plain.room()?.0,
    };
    let total = packed.file.size();
    let taken = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (pieces, pieces_out) = sync_channel::<Piece>(QUEUE_LEN);
        let (empty, empty_out) = sync_channel::<Vec<u8>>(QUEUE_LEN + 2);
        let taken = &taken;
        scope.spawn(move || decode(Taking { packed, at: taken }, packing, &pieces, &empty_out));
        for piece in pieces_out {
            let piece = piece.map_err(|source| unpack_error(packed, packing, plain.len, source))?;
            if plain.len + piece.len() as u64 > limit {
                return Err(SourceError::UnpacksTooLarge { path: packed.path.clone(), limit });
            }
            plain.append(&piece)?;
            // A decoder that has ended wants no more.
            let _ = empty.try_send(piece);
            progress(ImportProgress { done: taken.load(Ordering::Relaxed).min(total), total });
        }
        plain.end()
    })
}

fn unpack_error(packed: &Opened, packing: Packing, plain: u64, source: io::Error) -> SourceError {
    SourceError::Unpack { path: packed.path.clone(), packing, plain, source }
}

/// A file that is gone when it is closed.
fn unnamed(temp: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    let made = options.clone().custom_flags(OFlag::O_TMPFILE.bits()).open(temp);
    match made {
        // A file system that makes none without a name.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            let path = temp.join(format!("{}.unpacked", std::process::id()));
            let file = options.create_new(true).open(&path)?;
            fs::remove_file(&path)?;
            Ok(file)
        }
        made => made,
    }
}

/// The packed bytes in order, counted.
struct Taking<'a> {
    packed: &'a Opened,
    at: &'a AtomicU64,
}

impl Read for Taking<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let at = self.at.load(Ordering::Relaxed);
        let len = (self.packed.file.size() - at).min(buf.len() as u64) as usize;
        self.packed.file.read_at(at, &mut buf[..len])?;
        self.at.store(at + len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

/// Send the plain bytes in pieces until the end, an error, or nobody wants more.
fn decode(packed: Taking<'_>, packing: Packing, pieces: &SyncSender<Piece>, empty: &Receiver<Vec<u8>>) {
    let outcome = decoder(packed, packing).and_then(|mut plain| {
        loop {
            let mut piece = empty.try_recv().unwrap_or_default();
            piece.resize(PIECE_LEN, 0);
            let len = fill(&mut plain, &mut piece)?;
            piece.truncate(len);
            if pieces.send(Ok(piece)).is_err() || len < PIECE_LEN {
                return Ok(());
            }
        }
    });
    if let Err(error) = outcome {
        // Nobody is there to hear it when the other side has failed.
        let _ = pieces.send(Err(error));
    }
}

/// Read until `piece` is full or nothing follows. `read_to_end` would ask for a few kilobytes at a time.
fn fill(plain: &mut dyn Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < piece.len() {
        match plain.read(&mut piece[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// A decoder of all streams in the file, one behind the other.
fn decoder<'a>(packed: Taking<'a>, packing: Packing) -> io::Result<Box<dyn Read + 'a>> {
    let packed = BufReader::with_capacity(PIECE_LEN, packed);
    Ok(match packing {
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
        Packing::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_MAX, CONCATENATED)?;
            Box::new(XzDecoder::new_stream(packed, stream))
        }
    })
}

/// The plain file as it grows.
struct Plain<'a> {
    file: File,
    temp: &'a Path,
    packed: &'a Opened,
    len: u64,
    /// Length at the last look at what is free.
    looked: u64,
}

impl Plain<'_> {
    fn append(&mut self, piece: &[u8]) -> Result<(), SourceError> {
        if self.len - self.looked >= LOOK_EVERY {
            self.looked = self.len;
            let (all, free) = self.room()?;
            if free < all / RESERVE {
                return Err(self.no_room());
            }
        }
        let mut at = self.len;
        let blocks: Vec<_> = piece.chunks(BLOCK_LEN).map(|block| (is_zero(block), block)).collect();
        let mut rest = piece;
        for run in blocks.chunk_by(|a, b| a.0 == b.0) {
            let len = run.iter().map(|(_, block)| block.len()).sum();
            let (bytes, behind) = rest.split_at(len);
            if !run.iter().any(|(zero, _)| *zero) {
                self.file.write_all_at(bytes, at).map_err(|error| self.failed(error))?;
            }
            (at, rest) = (at + len as u64, behind);
        }
        self.len = at;
        Ok(())
    }

    /// The last block may have been a hole.
    fn end(self) -> Result<File, SourceError> {
        self.file.set_len(self.len).map_err(|error| self.failed(error))?;
        Ok(self.file)
    }

    /// Bytes of the file system, and those that are free for us.
    fn room(&self) -> Result<(u64, u64), SourceError> {
        let facts = fstatvfs(&self.file).map_err(|errno| self.failed(errno.into()))?;
        let block = facts.fragment_size();
        Ok((facts.blocks().saturating_mul(block), facts.blocks_available().saturating_mul(block)))
    }

    fn no_room(&self) -> SourceError {
        SourceError::NoRoom { path: self.packed.path.clone(), temp: self.temp.to_owned() }
    }

    fn failed(&self, source: io::Error) -> SourceError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => self.no_room(),
            _ => SourceError::Temp { temp: self.temp.to_owned(), source },
        }
    }
}
