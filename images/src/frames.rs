//! Frames: how chunks are kept in packs and travel to endpoints, and the codec of `POST /v1/frames`.
//!
//! A frame is one chunk, as zstd or, when that gains less than a sixteenth, as it is. An agent asks for many chunks in
//! one request and gets their frames back to back in the order it asked; both sides share the codec here.
//!
//! ```text
//!   request   "GSFQ" 01 00 00 00 | count u32 | count x id (32)
//!   response  "GSFR" 01 00 00 00 | for each id asked: id (32) | encoding u8 | raw_len u32 | len u32 | len bytes
//!             encoding: 0 as it is, 1 zstd, 255 absent (raw_len = len = 0)
//!   upload    "GSFU" 01 00 00 00 | count u32 | count x frame, as in a response; nothing follows
//!   refusal of a request of another version, with a status that says no: "GSFR" 01 00 00 00, then words for a person
//! ```
//!
//! The byte behind the four letters is [`VERSION`]. Who meets another one says so at once, with both versions: to wait would not
//! help, since neither side changes by itself.
//!
//! Nothing here is trusted: [`Opener::open`] gives plain bytes only if they hash to the id that was asked for. Frames
//! are decoded before that, so every length is bounded by the frame's own `raw_len`, and that by 512 KiB.

use std::io::Read;

use crate::ChunkId;
use crate::manifest::page::CHUNK_LEN_MAX;
use crate::wire::{Reader, Writer};

/// Most chunks in one request.
pub const REQUEST_CHUNKS_MAX: usize = 1024;
/// Version of requests, responses and uploads.
pub const VERSION: u8 = 1;
/// Longest request body in bytes.
pub const REQUEST_LEN_MAX: usize = REQUEST_MAGIC.len() + 4 + 32 * REQUEST_CHUNKS_MAX;
/// First bytes of a response body.
pub const RESPONSE_MAGIC: &[u8; 8] = b"GSFR\x01\0\0\0";
/// Length of what stands before the bytes of each frame in a response.
pub const PREFIX_LEN: usize = 32 + 1 + 4 + 4;

const REQUEST_MAGIC: &[u8; 8] = b"GSFQ\x01\0\0\0";
const UPLOAD_MAGIC: &[u8; 8] = b"GSFU\x01\0\0\0";
const LEVEL: i32 = 3;
const ABSENT: u8 = 0xff;

/// How the bytes of a frame hold the chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Raw,
    /// One zstd frame (RFC 8878).
    Zstd,
}

impl Encoding {
    /// Its byte in packs and responses.
    pub fn code(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
        }
    }

    /// The encoding with this byte.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// One chunk as kept and sent; not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which chunk it claims to be.
    pub id: ChunkId,
    /// How `bytes` hold it.
    pub encoding: Encoding,
    /// Length of the plain chunk in bytes, 1 to 512 KiB.
    pub raw_len: u32,
    /// The stored bytes.
    pub bytes: Vec<u8>,
}

/// Why a frame, a request or a response is refused.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The plain bytes are not those of the chunk.
    #[error(
        "chunk {id} was altered: its bytes hash to {found}; it is not used, another source may have it whole"
    )]
    Altered {
        /// The chunk asked for.
        id: ChunkId,
        /// What the bytes hash to.
        found: ChunkId,
    },
    /// The frame does not decode to the length it states.
    #[error("the frame of chunk {id} does not decode; it is not used, another source may have it whole")]
    Undecodable {
        /// The chunk asked for.
        id: ChunkId,
    },
    /// A length or encoding that no frame has.
    #[error("the frame of chunk {id} has an impossible length or encoding; leave this source")]
    Impossible {
        /// The chunk asked for.
        id: ChunkId,
    },
    /// The answer is about another chunk.
    #[error("asked for chunk {asked}, got {got}; leave this source")]
    Swapped {
        /// The chunk asked for.
        asked: ChunkId,
        /// The chunk in the answer.
        got: ChunkId,
    },
    /// The source does not have the chunk.
    #[error("the source does not have chunk {id}; ask another source, or import the image again")]
    Absent {
        /// The chunk asked for.
        id: ChunkId,
    },
    /// Not a request, or too long.
    #[error("this is not a frame request of at most {REQUEST_CHUNKS_MAX} chunks")]
    BadRequest,
    /// Not a response.
    #[error("this is not a frame response; check that the address is that of an appliance")]
    BadResponse,
    /// Not an upload, or too long.
    #[error("this is not an upload of at most {REQUEST_CHUNKS_MAX} frames")]
    BadUpload,
    /// A request, response or upload of another version of this format.
    #[error(
        "the other side speaks version {theirs} of frames, this one {VERSION}; bring appliances, relays and the agent in the boot kit to one version"
    )]
    OtherVersion {
        /// The version of the other side.
        theirs: u8,
    },
    /// The transport failed or ended early.
    #[error("the response broke off")]
    Transport(#[source] std::io::Error),
}

/// Makes frames; keep one for each thread.
pub struct Packer(zstd::bulk::Compressor<'static>);

impl Packer {
    /// A packer at the level that all packs have.
    pub fn new() -> std::io::Result<Self> {
        zstd::bulk::Compressor::new(LEVEL).map(Self)
    }

    /// The frame of a chunk whose id the caller has computed.
    pub fn pack(&mut self, id: ChunkId, plain: &[u8]) -> std::io::Result<Frame> {
        let packed = self.0.compress(plain)?;
        let raw_len = plain.len() as u32;
        // A gain under a sixteenth is not worth decoding.
        let (encoding, bytes) = match packed.len() <= plain.len() - plain.len().div_ceil(16) {
            true => (Encoding::Zstd, packed),
            false => (Encoding::Raw, plain.to_vec()),
        };
        Ok(Frame { id, encoding, raw_len, bytes })
    }
}

/// Opens frames; keep one for each thread.
pub struct Opener(zstd::bulk::Decompressor<'static>);

impl Opener {
    /// An opener.
    pub fn new() -> std::io::Result<Self> {
        zstd::bulk::Decompressor::new().map(Self)
    }

    /// The plain bytes of a frame, which are those of the chunk named by `frame.id`.
    pub fn open(&mut self, frame: &Frame) -> Result<Vec<u8>, FrameError> {
        let id = frame.id;
        check_lengths(frame.encoding, frame.raw_len, frame.bytes.len())
            .then_some(())
            .ok_or(FrameError::Impossible { id })?;
        let plain = match frame.encoding {
            Encoding::Raw => frame.bytes.clone(),
            Encoding::Zstd => {
                let decoded = self.0.decompress(&frame.bytes, frame.raw_len as usize);
                decoded.map_err(|_| FrameError::Undecodable { id })?
            }
        };
        if plain.len() != frame.raw_len as usize {
            return Err(FrameError::Undecodable { id });
        }
        match ChunkId::of(&plain) {
            found if found == id => Ok(plain),
            found => Err(FrameError::Altered { id, found }),
        }
    }
}

/// Whether a frame of this kind can have these lengths.
pub(crate) fn check_lengths(encoding: Encoding, raw_len: u32, len: usize) -> bool {
    let raw = raw_len as usize;
    (1..=CHUNK_LEN_MAX).contains(&raw_len)
        && match encoding {
            Encoding::Raw => len == raw,
            Encoding::Zstd => (1..raw).contains(&len),
        }
}

/// The request body for these chunks, at most [`REQUEST_CHUNKS_MAX`].
pub fn encode_request(ids: &[ChunkId]) -> Vec<u8> {
    let mut out = Writer::new();
    out.bytes(REQUEST_MAGIC).u32(ids.len() as u32);
    ids.iter().for_each(|id| {
        out.digest(&id.0);
    });
    out.0
}

/// Whether bytes that are no `magic` of ours begin as one of another version does; `otherwise` if not.
fn check_magic(found: &[u8], magic: &[u8; 8], otherwise: FrameError) -> Result<(), FrameError> {
    match found.get(..8) {
        Some(found) if found == magic => Ok(()),
        Some(found) if found[..4] == magic[..4] && found[4] != VERSION => {
            Err(FrameError::OtherVersion { theirs: found[4] })
        }
        _ => Err(otherwise),
    }
}

/// The body of a refusal, by whose first bytes the other side learns our version: `why` is for a person.
pub fn encode_refusal(why: &str) -> Vec<u8> {
    [&RESPONSE_MAGIC[..], why.as_bytes(), b"\n"].concat()
}

/// What the body of an answer with a status that says no tells of versions; none when it tells nothing.
pub fn read_refusal(body: impl Read) -> Option<FrameError> {
    let mut magic = Vec::new();
    body.take(8).read_to_end(&mut magic).ok()?;
    match check_magic(&magic, RESPONSE_MAGIC, FrameError::BadResponse) {
        Err(FrameError::OtherVersion { theirs }) => Some(FrameError::OtherVersion { theirs }),
        _ => None,
    }
}

/// The chunks asked for by a request body.
pub fn decode_request(body: &[u8]) -> Result<Vec<ChunkId>, FrameError> {
    check_magic(body, REQUEST_MAGIC, FrameError::BadRequest)?;
    let mut input = Reader::new(body);
    let mut read = || {
        input.expect(REQUEST_MAGIC, "magic")?;
        let count = input.u32()? as usize;
        if count > REQUEST_CHUNKS_MAX {
            return input.bad(8, "count");
        }
        let ids = (0..count).map(|_| input.digest().map(ChunkId)).collect::<Result<Vec<_>, _>>()?;
        input.clone().end()?;
        Ok(ids)
    };
    read().map_err(|_| FrameError::BadRequest)
}

/// What stands before `frame.bytes` in a response.
pub fn encode_prefix(frame: &Frame) -> [u8; PREFIX_LEN] {
    encode_prefix_of(frame.id, frame.encoding, frame.raw_len, frame.bytes.len())
}

/// As [`encode_prefix`], for a frame whose `len` stored bytes lie elsewhere.
pub fn encode_prefix_of(id: ChunkId, encoding: Encoding, raw_len: u32, len: usize) -> [u8; PREFIX_LEN] {
    prefix(id, encoding.code(), raw_len, len as u32)
}

/// The answer for a chunk that the store does not have.
pub fn encode_absent(id: ChunkId) -> [u8; PREFIX_LEN] {
    prefix(id, ABSENT, 0, 0)
}

fn prefix(id: ChunkId, code: u8, raw_len: u32, len: u32) -> [u8; PREFIX_LEN] {
    let mut out = [0; PREFIX_LEN];
    out[..32].copy_from_slice(id.as_bytes());
    out[32] = code;
    out[33..37].copy_from_slice(&raw_len.to_le_bytes());
    out[37..].copy_from_slice(&len.to_le_bytes());
    out
}

/// Read a response to a request for `asked`; `sink` gets each frame as it arrives, in that order.
///
/// The first refusal ends the reading: a source that swaps or drops frames is not worth another byte. So does a chunk that the
/// source does not have; [`read_answer`] reads on.
pub fn read_response<E: From<FrameError>>(
    body: impl Read,
    asked: &[ChunkId],
    mut sink: impl FnMut(Frame) -> Result<(), E>,
) -> Result<(), E> {
    read_answer(body, asked, |id, frame| sink(frame.ok_or(FrameError::Absent { id })?))
}

/// Read a response to a request for `asked`; `sink` gets for each chunk its frame, or `None` where the source does not have it.
pub fn read_answer<E: From<FrameError>>(
    mut body: impl Read,
    asked: &[ChunkId],
    mut sink: impl FnMut(ChunkId, Option<Frame>) -> Result<(), E>,
) -> Result<(), E> {
    let mut magic = [0; 8];
    body.read_exact(&mut magic).map_err(FrameError::Transport)?;
    check_magic(&magic, RESPONSE_MAGIC, FrameError::BadResponse)?;
    for id in asked {
        let mut prefix = [0; PREFIX_LEN];
        body.read_exact(&mut prefix).map_err(FrameError::Transport)?;
        let (frame, len) = match decode_prefix(*id, &prefix) {
            Err(FrameError::Absent { id }) => {
                sink(id, None)?;
                continue;
            }
            other => other?,
        };
        let mut frame = Frame { bytes: vec![0; len], ..frame };
        body.read_exact(&mut frame.bytes).map_err(FrameError::Transport)?;
        sink(*id, Some(frame))?;
    }
    Ok(())
}

/// The body that brings these frames, at most [`REQUEST_CHUNKS_MAX`], to who keeps them.
pub fn encode_upload(frames: &[Frame]) -> Vec<u8> {
    let mut out = Writer::new();
    out.bytes(UPLOAD_MAGIC).u32(frames.len() as u32);
    for frame in frames {
        out.bytes(&encode_prefix(frame)).bytes(&frame.bytes);
    }
    out.0
}

/// Read an upload; `sink` gets each frame as it arrives. The first refusal ends the reading.
pub fn read_upload<E: From<FrameError>>(
    mut body: impl Read,
    mut sink: impl FnMut(Frame) -> Result<(), E>,
) -> Result<(), E> {
    let (mut magic, mut count) = ([0; 8], [0; 4]);
    body.read_exact(&mut magic).map_err(FrameError::Transport)?;
    body.read_exact(&mut count).map_err(FrameError::Transport)?;
    check_magic(&magic, UPLOAD_MAGIC, FrameError::BadUpload)?;
    let count = u32::from_le_bytes(count) as usize;
    if count > REQUEST_CHUNKS_MAX {
        return Err(FrameError::BadUpload.into());
    }
    for _ in 0..count {
        let mut prefix = [0; PREFIX_LEN];
        body.read_exact(&mut prefix).map_err(FrameError::Transport)?;
        let mut id = [0; 32];
        id.copy_from_slice(&prefix[..32]);
        let (frame, len) = decode_prefix(ChunkId(crate::Digest(id)), &prefix)?;
        let mut frame = Frame { bytes: vec![0; len], ..frame };
        body.read_exact(&mut frame.bytes).map_err(FrameError::Transport)?;
        sink(frame)?;
    }
    match body.read(&mut [0]).map_err(FrameError::Transport)? {
        0 => Ok(()),
        _ => Err(FrameError::BadUpload.into()),
    }
}

pub(crate) fn decode_prefix(asked: ChunkId, prefix: &[u8; PREFIX_LEN]) -> Result<(Frame, usize), FrameError> {
    let id = asked;
    let mut input = Reader::new(prefix);
    let mut read = || Ok((ChunkId(input.digest()?), input.u8()?, input.u32()?, input.u32()?));
    let (got, code, raw_len, len) = read().map_err(|_: crate::wire::WireError| FrameError::BadResponse)?;
    if got != asked {
        return Err(FrameError::Swapped { asked, got });
    }
    if code == ABSENT {
        return Err(FrameError::Absent { id });
    }
    match Encoding::from_code(code) {
        Some(encoding) if check_lengths(encoding, raw_len, len as usize) => {
            Ok((Frame { id, encoding, raw_len, bytes: Vec::new() }, len as usize))
        }
        _ => Err(FrameError::Impossible { id }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(plain: &[u8]) -> Frame {
        Packer::new().unwrap().pack(ChunkId::of(plain), plain).unwrap()
    }

    fn response(frames: &[Frame]) -> Vec<u8> {
        let mut body = RESPONSE_MAGIC.to_vec();
        for frame in frames {
            body.extend(encode_prefix(frame));
            body.extend(&frame.bytes);
        }
        body
    }

    fn read(body: &[u8], asked: &[ChunkId]) -> Result<Vec<Frame>, FrameError> {
        let mut frames = Vec::new();
        read_response(body, asked, |frame| {
            frames.push(frame);
            Ok::<_, FrameError>(())
        })?;
        Ok(frames)
    }

    proptest! {
        #[test]
        fn chunks_round_trip(plain in proptest::collection::vec(0u8..4, 1..5000)) {
            let frame = frame(&plain);
            prop_assert_eq!(Opener::new().unwrap().open(&frame).unwrap(), plain);
        }

        #[test]
        fn an_altered_frame_is_never_opened(at: prop::sample::Index, flip in 1u8..) {
            let plain = vec![3; 5000];
            for mut frame in [frame(&plain), Frame { encoding: Encoding::Raw, bytes: plain.clone(), ..frame(&plain) }] {
                let at = at.index(frame.bytes.len());
                frame.bytes[at] ^= flip;
                // A flip that the decoder does not mind gives the same plain bytes, or none.
                if let Ok(opened) = Opener::new().unwrap().open(&frame) {
                    prop_assert_eq!(&opened, &plain);
                }
            }
        }

        #[test]
        fn an_upload_brings_its_frames_and_no_other_body_is_one(count in 0_u8..5, cut: prop::sample::Index) {
            let frames: Vec<Frame> = (0..count).map(|number| frame(&[number; 700])).collect();
            let body = encode_upload(&frames);
            let read = |body: &[u8]| {
                let mut got = Vec::new();
                read_upload(body, |frame| { got.push(frame); Ok::<_, FrameError>(()) }).map(|()| got)
            };
            prop_assert_eq!(read(&body).unwrap(), frames);
            prop_assert!(read(&body[..cut.index(body.len())]).is_err());
            prop_assert!(matches!(read(&[&body[..], b"x"].concat()), Err(FrameError::BadUpload)));
            let many = [&body[..8], &1025_u32.to_le_bytes(), &body[12..]].concat();
            prop_assert!(matches!(read(&many), Err(FrameError::BadUpload)));
        }

        #[test]
        fn junk_is_refused_without_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let asked = [ChunkId::of(b"a")];
            prop_assert!(read(&body, &asked).is_err());
            prop_assert!(read(&[&RESPONSE_MAGIC[..], &body].concat(), &asked).is_err());
            prop_assert!(decode_request(&body).is_err());
        }
    }

    #[test]
    fn requests_round_trip() {
        let ids: Vec<_> = (0..REQUEST_CHUNKS_MAX as u32).map(|n| ChunkId::of(&n.to_le_bytes())).collect();
        let body = encode_request(&ids);
        assert_eq!(body.len(), REQUEST_LEN_MAX);
        assert_eq!(decode_request(&body).unwrap(), ids);
        assert!(decode_request(&body[..body.len() - 1]).is_err());
        assert!(decode_request(&[&body[..], b"x"].concat()).is_err());
        assert!(decode_request(&encode_request(&[&ids[..], &ids[..1]].concat())).is_err());
    }

    #[test]
    fn a_source_that_swaps_lies_or_ends_early_is_named() {
        let (a, b) = (frame(b"aaaa"), frame(&[7; 9000]));
        let asked = [a.id, b.id];
        assert_eq!(read(&response(&[a.clone(), b.clone()]), &asked).unwrap(), [a.clone(), b.clone()]);
        let swapped = read(&response(&[b.clone(), a.clone()]), &asked);
        assert!(matches!(swapped, Err(FrameError::Swapped { .. })));
        let whole = response(&[a.clone(), b.clone()]);
        assert!(matches!(read(&whole[..whole.len() - 1], &asked), Err(FrameError::Transport(_))));
        let absent = [&RESPONSE_MAGIC[..], &encode_absent(a.id)].concat();
        assert!(matches!(read(&absent, &asked), Err(FrameError::Absent { id }) if id == a.id));
        let bomb = Frame { raw_len: CHUNK_LEN_MAX + 1, ..b.clone() };
        assert!(matches!(
            read(&response(std::slice::from_ref(&bomb)), &[b.id]),
            Err(FrameError::Impossible { .. })
        ));
        assert!(matches!(Opener::new().unwrap().open(&bomb), Err(FrameError::Impossible { .. })));
        let short = Frame { raw_len: 8999, ..b };
        assert!(matches!(Opener::new().unwrap().open(&short), Err(FrameError::Undecodable { .. })));
        let other = Frame { id: ChunkId::of(b"other"), ..a };
        assert!(matches!(Opener::new().unwrap().open(&other), Err(FrameError::Altered { .. })));
    }

    #[test]
    fn another_version_is_named_by_both_sides_and_is_no_junk() {
        let frame = frame(&[7; 900]);
        let other = |mut body: Vec<u8>| {
            body[4] = 2;
            body
        };
        let theirs = |error: Option<FrameError>| match error {
            Some(FrameError::OtherVersion { theirs }) => Some(theirs),
            _ => None,
        };
        let asked = [frame.id];
        let request = decode_request(&other(encode_request(&asked)));
        assert_eq!(theirs(request.err()), Some(2));
        assert_eq!(theirs(read(&other(response(std::slice::from_ref(&frame))), &asked).err()), Some(2));
        let upload = read_upload(&other(encode_upload(&[frame]))[..], |_| Ok::<_, FrameError>(()));
        assert_eq!(theirs(upload.err()), Some(2));
        // A server of another version refuses our request with its own.
        assert_eq!(theirs(read_refusal(&other(encode_refusal("no"))[..])), Some(2));
        for none in [&encode_refusal("no")[..], b"<html></html>", b"GSFR", b""] {
            assert!(read_refusal(none).is_none());
        }
        let error = FrameError::OtherVersion { theirs: 2 }.to_string();
        assert!(error.contains("version 2 of frames, this one 1") && error.contains("boot kit"), "{error}");
    }

    #[test]
    fn chunks_that_do_not_shrink_are_kept_as_they_are() {
        let mut noise = [0; 4096];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(frame(&noise).encoding, Encoding::Raw);
        assert_eq!(frame(&[1]).encoding, Encoding::Raw);
        assert_eq!(frame(&[0; 4096]).encoding, Encoding::Zstd);
    }
}
