//! Bundles: images in one file, for a site without a network, on a stick.
//!
//! ```text
//!   "GSBUNDL\x01" | trust root | channel statements | signed manifests | number of frames | frames as sent by POST /v1/frames
//! ```
//!
//! A bundle is written and read in one go, front to back. What it says is known before its first frame, so that a key ring
//! can refuse it early. An export that was stopped goes on where its file ends; an import that was stopped is run again,
//! and what it has sealed is skipped. The bytes of a bundle depend on what it holds and on nothing else.
//!
//! It must never: trust the trust root that it carries, or keep a frame that does not hash to its name.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use crate::frames::{self, Frame, FrameError, Opener};
use crate::keys::{ChannelStatement, Signed, SignedTrustRoot};
use crate::wire::Writer;
use crate::{ChunkId, ImageId, ManifestError, SignedManifest, Store, StoreError};

const MAGIC: &[u8; 8] = b"GSBUNDL\x01";
const TRUST_ROOT_LEN_MAX: usize = 1 << 20;
const STATEMENT_LEN_MAX: usize = 64 << 10;
const STATEMENTS_MAX: u32 = 65_536;
const MANIFEST_LEN_MAX: usize = 1 << 30;
const MANIFESTS_MAX: u32 = 1024;

/// Why a bundle cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file cannot be read or written.
    #[error("the bundle cannot be read or written; check the stick and its free space")]
    Io(#[source] io::Error),
    /// Another kind of file.
    #[error("this is not a groundstate bundle; give a file made by `groundstate image export`")]
    NotABundle,
    /// The file ends early.
    #[error("the bundle is truncated: it ends in {what}; copy it again, what came over is kept")]
    Truncated {
        /// Where it ends.
        what: &'static str,
    },
    /// A part of it is malformed.
    #[error("the bundle is damaged: bad {what}; copy it again")]
    Damaged {
        /// Which part.
        what: &'static str,
    },
    /// A frame is not what it claims.
    #[error("the bundle is damaged; copy it again, what came before is kept")]
    Frame(#[source] FrameError),
    /// A manifest in it obeys no format.
    #[error("a manifest in the bundle is refused")]
    Manifest(#[source] ManifestError),
    /// The store cannot give or take something.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
}

/// What a bundle holds beside its frames.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// The exporter's trust root: shown, and followed only as the successor of one that is trusted already.
    pub trust_root: Option<SignedTrustRoot>,
    /// Channel statements about the images.
    pub statements: Vec<Signed<ChannelStatement>>,
    /// The images.
    pub manifests: Vec<SignedManifest>,
}

impl Contents {
    /// The distinct chunks that the images need, in the order of the disks, without those of `known`.
    pub fn chunks(&self, known: &HashSet<ChunkId>) -> Result<Vec<ChunkId>, ManifestError> {
        let (mut seen, mut ids) = (known.clone(), Vec::new());
        for signed in &self.manifests {
            ids.extend(signed.parse()?.chunk_ids().filter(|id| seen.insert(*id)));
        }
        Ok(ids)
    }

    fn encode(&self, frames: usize) -> Vec<u8> {
        let mut out = Writer::new();
        let part = |out: &mut Writer, bytes: &[u8]| {
            out.u32(bytes.len() as u32).bytes(bytes);
        };
        out.bytes(MAGIC);
        let root = self.trust_root.as_ref().map(|root| serde_json::to_vec(root).unwrap_or_default());
        part(&mut out, &root.unwrap_or_default());
        out.u32(self.statements.len() as u32);
        for statement in &self.statements {
            part(&mut out, &serde_json::to_vec(statement).unwrap_or_default());
        }
        out.u32(self.manifests.len() as u32);
        for signed in &self.manifests {
            part(&mut out, &signed.encode());
        }
        out.u32(frames as u32);
        out.0
    }
}

/// How a bundle was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Exported {
    /// Frames in it.
    pub frames: usize,
    /// Its length in bytes.
    pub bytes: u64,
    /// Bytes that an earlier, stopped export had written already.
    pub resumed_bytes: u64,
}

/// What [`export`] would write into a new file.
pub fn plan(store: &Store, contents: &Contents, known: &HashSet<ChunkId>) -> Result<Exported, BundleError> {
    let ids = contents.chunks(known).map_err(BundleError::Manifest)?;
    let mut bytes = contents.encode(ids.len()).len() as u64;
    for id in &ids {
        bytes += frames::PREFIX_LEN as u64 + u64::from(store.stored_len(id)?);
    }
    Ok(Exported { frames: ids.len(), bytes, resumed_bytes: 0 })
}

/// Write a bundle to `file`, going on with what an earlier export left there. `known`: chunks that the other side has.
/// `progress` gets (frames done, frames in all, bytes added), and may wait.
pub fn export(
    store: &Store,
    contents: &Contents,
    known: &HashSet<ChunkId>,
    file: &mut File,
    progress: &mut dyn FnMut(usize, usize, u64),
) -> Result<Exported, BundleError> {
    let ids = contents.chunks(known).map_err(BundleError::Manifest)?;
    let head = contents.encode(ids.len());
    let (done, at) = resume(store, &head, &ids, file)?;
    file.set_len(at).map_err(BundleError::Io)?;
    file.seek(SeekFrom::Start(at)).map_err(BundleError::Io)?;
    let mut out = BufWriter::with_capacity(1 << 20, &mut *file);
    let mut bytes = at;
    if at == 0 {
        out.write_all(&head).map_err(BundleError::Io)?;
        bytes = head.len() as u64;
    }
    for (number, id) in ids.iter().enumerate().skip(done) {
        let frame = store.get_frame(id)?;
        let added = (frames::PREFIX_LEN + frame.bytes.len()) as u64;
        let write = out.write_all(&frames::encode_prefix(&frame)).and_then(|()| out.write_all(&frame.bytes));
        write.map_err(BundleError::Io)?;
        bytes += added;
        progress(number + 1, ids.len(), added);
    }
    out.flush().map_err(BundleError::Io)?;
    drop(out);
    file.sync_all().map_err(BundleError::Io)?;
    Ok(Exported { frames: ids.len(), bytes, resumed_bytes: at })
}

/// How many frames stand right in the file already, and where they end.
fn resume(store: &Store, head: &[u8], ids: &[ChunkId], file: &mut File) -> Result<(usize, u64), BundleError> {
    file.seek(SeekFrom::Start(0)).map_err(BundleError::Io)?;
    let mut input = BufReader::with_capacity(1 << 20, file);
    if !is_next(&mut input, head)? {
        return Ok((0, 0));
    }
    let (mut done, mut at) = (0, head.len() as u64);
    for id in ids {
        let frame = store.get_frame(id)?;
        if !is_next(&mut input, &frames::encode_prefix(&frame))? || !is_next(&mut input, &frame.bytes)? {
            break;
        }
        done += 1;
        at += (frames::PREFIX_LEN + frame.bytes.len()) as u64;
    }
    Ok((done, at))
}

fn is_next(input: &mut impl Read, expected: &[u8]) -> Result<bool, BundleError> {
    let mut found = Vec::with_capacity(expected.len());
    input.take(expected.len() as u64).read_to_end(&mut found).map_err(BundleError::Io)?;
    Ok(found == expected)
}

/// A bundle being read: its contents are known, its frames follow.
pub struct BundleReader<R> {
    /// What it holds.
    pub contents: Contents,
    frames: usize,
    input: R,
}

/// What an import of a bundle has done.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Received {
    /// Images that are in the store now.
    pub images: Vec<ImageId>,
    /// Frames that were new.
    pub new_frames: usize,
    /// Frames that were here already.
    pub known_frames: usize,
    /// Statements that were new.
    pub statements: usize,
}

impl<R: Read> BundleReader<R> {
    /// Read all but the frames.
    pub fn open(mut input: R) -> Result<Self, BundleError> {
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).map_err(|_| BundleError::NotABundle)?;
        if &magic != MAGIC {
            return Err(BundleError::NotABundle);
        }
        let root = read_part(&mut input, "the trust root", TRUST_ROOT_LEN_MAX)?;
        let damaged = |what| move |_| BundleError::Damaged { what };
        let trust_root = match root.is_empty() {
            true => None,
            false => Some(serde_json::from_slice(&root).map_err(damaged("trust root"))?),
        };
        let mut contents = Contents { trust_root, ..Contents::default() };
        for _ in 0..read_count(&mut input, "the statements", STATEMENTS_MAX)? {
            let text = read_part(&mut input, "the statements", STATEMENT_LEN_MAX)?;
            contents.statements.push(serde_json::from_slice(&text).map_err(damaged("statement"))?);
        }
        for _ in 0..read_count(&mut input, "the manifests", MANIFESTS_MAX)? {
            let bytes = read_part(&mut input, "the manifests", MANIFEST_LEN_MAX)?;
            contents.manifests.push(SignedManifest::decode(&bytes).map_err(BundleError::Manifest)?);
        }
        let frames = read_count(&mut input, "the number of frames", u32::MAX)? as usize;
        Ok(Self { contents, frames, input })
    }

    /// Take frames, then images, then statements into a store. `progress` gets (frames done, frames in all), and may wait.
    pub fn receive(
        mut self,
        store: &Store,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Received, BundleError> {
        let writer = store.writer()?;
        let wanted: HashSet<ChunkId> =
            self.contents.chunks(&HashSet::new()).map_err(BundleError::Manifest)?.into_iter().collect();
        let mut opener = Opener::new().map_err(BundleError::Io)?;
        let (mut ingest, mut received) = (writer.ingest(), Received::default());
        for number in 0..self.frames {
            let (mut frame, len) = self.next_prefix()?;
            if !wanted.contains(&frame.id) || writer.has(&frame.id) {
                let skipped = io::copy(&mut (&mut self.input).take(len), &mut io::sink());
                if skipped.map_err(BundleError::Io)? != len {
                    return Err(BundleError::Truncated { what: "a frame" });
                }
                received.known_frames += 1;
            } else {
                frame.bytes = vec![0; len as usize];
                self.input.read_exact(&mut frame.bytes).map_err(ends_in("a frame"))?;
                opener.open(&frame).map_err(BundleError::Frame)?;
                ingest.append(&frame)?;
                received.new_frames += 1;
            }
            progress(number + 1, self.frames);
        }
        if self.input.read(&mut [0]).map_err(BundleError::Io)? != 0 {
            return Err(BundleError::Damaged { what: "end: more follows" });
        }
        ingest.finish()?;
        for signed in &self.contents.manifests {
            received.images.push(writer.put_manifest(signed)?);
        }
        for statement in &self.contents.statements {
            match store.put_statement(statement) {
                Ok(()) => received.statements += 1,
                // It is older than what this site knows, or about an image that was left out.
                Err(StoreError::OldStatement { .. } | StoreError::MissingImage { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(received)
    }

    fn next_prefix(&mut self) -> Result<(Frame, u64), BundleError> {
        let mut prefix = [0; frames::PREFIX_LEN];
        self.input.read_exact(&mut prefix).map_err(ends_in("a frame"))?;
        let mut id = [0; 32];
        id.copy_from_slice(&prefix[..32]);
        let (frame, len) =
            frames::decode_prefix(ChunkId(crate::Digest(id)), &prefix).map_err(BundleError::Frame)?;
        Ok((frame, len as u64))
    }
}

fn ends_in(what: &'static str) -> impl Fn(io::Error) -> BundleError {
    move |error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BundleError::Truncated { what },
        _ => BundleError::Io(error),
    }
}

fn read_count(input: &mut impl Read, what: &'static str, max: u32) -> Result<u32, BundleError> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes).map_err(ends_in(what))?;
    match u32::from_le_bytes(bytes) {
        count if count <= max => Ok(count),
        _ => Err(BundleError::Damaged { what: "count" }),
    }
}

/// A length and as many bytes; the length is not believed before they are there.
fn read_part(input: &mut impl Read, what: &'static str, max: usize) -> Result<Vec<u8>, BundleError> {
    let len = read_count(input, what, max as u32)? as usize;
    let mut bytes = Vec::new();
    input.take(len as u64).read_to_end(&mut bytes).map_err(BundleError::Io)?;
    if bytes.len() == len { Ok(bytes) } else { Err(BundleError::Truncated { what }) }
}

#[cfg(test)]
mod tests;
