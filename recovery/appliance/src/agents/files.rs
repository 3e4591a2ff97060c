//! Manifests and chunk frames over plain HTTP, mounted behind the boot files: `GET /v1/manifests/<image>` with ranges and
//! a strong entity tag, `POST /v1/frames`. Integrity is by digest and signature, which the endpoint verifies; nothing
//! here is secret. What cannot be read is refused, and told to the boot layer's listener like any other malformed packet.
//!
//! A connection pulls: a piece is read when the one before it is on its way, and goes out when its turn has come ([`Governor`]).
//! What is in the page cache is read on the spot, so that it is sent by the processor that has just read it; the rest on a thread that
//! may block, one piece ahead. So a peer that is slow or dead holds two pieces of memory and no thread, no permit and no
//! place in the queue, and costs nobody else; the connection itself is ended by the boot layer's time limits.
//!
//! It must never: read a path that a client named.

use std::{
    convert::Infallible,
    mem,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{
        ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
        IF_RANGE, RANGE,
    },
};
use images::{
    ChunkId, Digest, Store, StoreError, frames,
    store::{Placed, Waiting},
};
use pxe::{
    BootEvent, BootEvents, Refusal, Stage,
    http::{
        Body, BodyError, Handler,
        range::{Part, holds_tag, part},
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

use super::shape::{Governor, Serving};
use crate::golden::Golden;

/// Pieces that are read from the store at once.
const READERS: usize = 16;
/// A piece is sent when it has this many bytes.
const PIECE_LEN: usize = 256 * 1024;
/// Buffers that wait to be filled again: new memory costs as much as reading does.
const SPARE_MAX: usize = 32;

/// Serves manifests and frames. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    golden: Golden,
    buffers: Arc<Buffers>,
    governor: Governor,
    readers: Arc<Semaphore>,
    sent_bytes: Arc<AtomicU64>,
    events: Arc<dyn BootEvents>,
}

impl Files {
    /// Over the golden images; `sent_bytes` counts frames as sent, `events` hears what was refused.
    #[must_use]
    pub fn new(
        golden: Golden,
        serving: &Serving,
        sent_bytes: Arc<AtomicU64>,
        events: Arc<dyn BootEvents>,
    ) -> Self {
        let (governor, readers) = (Governor::new(serving), Arc::new(Semaphore::new(READERS)));
        Self { golden, buffers: Arc::default(), governor, readers, sent_bytes, events }
    }

    /// As the boot layer mounts it.
    #[must_use]
    pub fn handler(self) -> Handler {
        Arc::new(move |request, peer| {
            let files = self.clone();
            Box::pin(async move { files.answer(request, peer.remote).await })
        })
    }

    /// Refuse what cannot be read.
    fn malformed(&self, from: SocketAddr, why: &str) -> Response<Body> {
        let reason = Refusal::Malformed(why.to_owned());
        self.events.event(BootEvent::Refused { mac: None, peer: Some(from), stage: Stage::Http, reason });
        text(StatusCode::BAD_REQUEST, why)
    }

    async fn answer(&self, request: Request<Incoming>, from: SocketAddr) -> Response<Body> {
        let path = request.uri().path();
        if [Method::GET, Method::HEAD].contains(request.method())
            && let Some(name) = path.strip_prefix("/v1/manifests/")
        {
            return self.manifest(name, request.method(), request.headers(), from).await;
        }
        if request.method() == Method::POST && path == "/v1/frames" {
            return self.frames(request.into_body(), from).await;
        }
        text(StatusCode::NOT_FOUND, "there is nothing here")
    }

    async fn manifest(
        &self,
        name: &str,
        method: &Method,
        headers: &HeaderMap,
        from: SocketAddr,
    ) -> Response<Body> {
        let Ok(image) = name.parse() else {
            return self.malformed(from, "an image's name is 64 lower-case hexadecimal digits");
        };
        let bytes = match self.golden.manifest(image).await {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => {
                tracing::warn!(%image, %error, "manifest not served");
                return text(StatusCode::NOT_FOUND, "there is no such image");
            }
        };
        // The image's name would not do: signatures are added under it.
        let etag = format!("\"{}\"", Digest::of(&bytes));
        let answer = choose_part(headers, &etag, bytes.len() as u64);
        let mut response = match answer {
            Asked::Unchanged => empty(StatusCode::NOT_MODIFIED),
            Asked::Beyond => {
                let mut beyond = text(StatusCode::RANGE_NOT_SATISFIABLE, "the manifest is not that long");
                set(&mut beyond, CONTENT_RANGE, &format!("bytes */{}", bytes.len()));
                beyond
            }
            Asked::Bytes(range, status) => {
                let (start, end) = (range.start as usize, range.end as usize);
                let mut response = match *method == Method::HEAD {
                    true => empty(status),
                    false => self.paced(bytes.slice(start..end), from.ip()),
                };
                *response.status_mut() = status;
                set(&mut response, CONTENT_LENGTH, &(end - start).to_string());
                if status == StatusCode::PARTIAL_CONTENT {
                    let range = format!("bytes {start}-{}/{}", end.saturating_sub(1), bytes.len());
                    set(&mut response, CONTENT_RANGE, &range);
                }
                response
            }
        };
        set(&mut response, ETAG, &etag);
        set(&mut response, ACCEPT_RANGES, "bytes");
        response
    }

    /// Bytes that are at hand, at the pace of the governor.
    fn paced(&self, bytes: Bytes, to: IpAddr) -> Response<Body> {
        let governor = self.governor.clone();
        let pieces = stream::unfold((bytes, governor), move |(mut bytes, governor)| async move {
            if bytes.is_empty() {
                return None;
            }
            let piece = bytes.split_to(bytes.len().min(PIECE_LEN));
            governor.admit(to, piece.len() as u64).await;
            Some((Ok::<_, BodyError>(Frame::data(piece)), (bytes, governor)))
        });
        bytes_answer(StreamBody::new(pieces).boxed_unsync())
    }

    async fn frames(&self, body: Incoming, from: SocketAddr) -> Response<Body> {
        let Ok(body) = Limited::new(body, frames::REQUEST_LEN_MAX).collect().await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "ask for at most 1024 chunks at once");
        };
        let ids = match frames::decode_request(&body.to_bytes()) {
            Ok(ids) => ids,
            Err(error) => return self.malformed(from, &error.to_string()),
        };
        self.sent_bytes.fetch_add(frames::RESPONSE_MAGIC.len() as u64, Ordering::Relaxed);
        let sending = Sending {
            files: self.clone(),
            to: from.ip(),
            ids: ids.into(),
            next: 0,
            begun: false,
            ahead: None,
        };
        let pieces = stream::try_unfold(sending, Sending::piece);
        bytes_answer(StreamBody::new(pieces).boxed_unsync())
    }
}

/// What of a document is asked for.
enum Asked {
    Unchanged,
    Beyond,
    Bytes(std::ops::Range<u64>, StatusCode),
}

fn choose_part(headers: &HeaderMap, etag: &str, len: u64) -> Asked {
    let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if header(IF_NONE_MATCH).is_some_and(|list| list.trim() == "*" || holds_tag(list, etag)) {
        return Asked::Unchanged;
    }
    // A range of what has changed since would be joined to the wrong rest.
    let same = header(IF_RANGE).is_none_or(|tag| holds_tag(tag, etag));
    match part(header(RANGE).filter(|_| same), len) {
        Part::Whole => Asked::Bytes(0..len, StatusCode::OK),
        Part::Bytes(range) => Asked::Bytes(range, StatusCode::PARTIAL_CONTENT),
        Part::Unsatisfiable => Asked::Beyond,
    }
}

/// A response of frames that is under way.
struct Sending {
    files: Files,
    to: IpAddr,
    ids: Arc<[ChunkId]>,
    next: usize,
    begun: bool,
    ahead: Option<Reading>,
}

/// Frames in the order asked.
struct Piece {
    bytes: Bytes,
    /// The number of the id behind them.
    next: usize,
    /// Whether a disk was waited for.
    waited: bool,
}

type Reading = JoinHandle<Result<Piece, StoreError>>;

impl Sending {
    /// The next piece. When one goes out that came from the disk, the one behind it is being read.
    async fn piece(mut self) -> Result<Option<(Frame<Bytes>, Self)>, BodyError> {
        if !mem::replace(&mut self.begun, true) {
            return Ok(Some((Frame::data(Bytes::from_static(frames::RESPONSE_MAGIC)), self)));
        }
        if self.ahead.is_none() && self.next == self.ids.len() {
            return Ok(None);
        }
        let piece =
            self.next_piece().await.inspect_err(|error| tracing::error!(%error, "frames broke off"))?;
        self.next = piece.next;
        if piece.waited
            && self.next < self.ids.len()
            && let Ok(permit) = Arc::clone(&self.files.readers).try_acquire_owned()
        {
            self.ahead = Some(self.read(permit));
        }
        let len = piece.bytes.len() as u64;
        self.files.governor.admit(self.to, len).await;
        self.files.sent_bytes.fetch_add(len, Ordering::Relaxed);
        Ok(Some((Frame::data(piece.bytes), self)))
    }

    async fn next_piece(&mut self) -> Result<Piece, BodyError> {
        let reading = match self.ahead.take() {
            Some(reading) => reading,
            None => {
                let Files { golden, buffers, readers, .. } = &self.files;
                let piece = read_piece(&golden.store, buffers, &self.ids, self.next, Waiting::Never)?;
                if !piece.bytes.is_empty() {
                    return Ok(piece);
                }
                self.read(Arc::clone(readers).acquire_owned().await?)
            }
        };
        Ok(reading.await??)
    }

    fn read(&self, permit: OwnedSemaphorePermit) -> Reading {
        let (store, buffers) = (Arc::clone(&self.files.golden.store), Arc::clone(&self.files.buffers));
        let (ids, from) = (Arc::clone(&self.ids), self.next);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read_piece(&store, &buffers, &ids, from, Waiting::Allowed)
        })
    }
}

/// Frames from the id with this number on, until a piece is full or the next would have to be waited for: at least one if it may.
fn read_piece(
    store: &Store,
    buffers: &Arc<Buffers>,
    ids: &[ChunkId],
    from: usize,
    waiting: Waiting,
) -> Result<Piece, StoreError> {
    let mut buffer = buffers.take();
    let (mut len, mut next, mut waited) = (0, from, false);
    while next < ids.len() && len < PIECE_LEN {
        let id = ids[next];
        let (prefix, room) = buffer.bytes[len..].split_at_mut(frames::PREFIX_LEN);
        let mut placed = store.place_frame(&id, room, Waiting::Never);
        if waiting == Waiting::Allowed && matches!(placed, Ok(Placed::NotInMemory)) {
            waited = true;
            placed = store.place_frame(&id, room, Waiting::Allowed);
        }
        let (head, frame_len) = match placed {
            Ok(Placed::Stored { encoding, raw_len, len }) => {
                (frames::encode_prefix_of(id, encoding, raw_len, len), len)
            }
            Ok(Placed::NotInMemory) => break,
            Err(StoreError::MissingChunk { .. }) => (frames::encode_absent(id), 0),
            // Asking again brings no better bytes: said at once, so that the endpoint stops or asks another source.
            Err(error @ StoreError::DamagedChunk { .. }) => {
                tracing::error!(%error, "a chunk was not sent");
                (frames::encode_absent(id), 0)
            }
            Ok(Placed::NoRoom) => (frames::encode_absent(id), 0),
            Err(error) => return Err(error),
        };
        prefix.copy_from_slice(&head);
        len += frames::PREFIX_LEN + frame_len;
        next += 1;
    }
    let bytes = Bytes::from_owner(Filled { buffer, len });
    Ok(Piece { bytes, next, waited })
}

/// Memory for pieces, used again: the one that was filled last first, since the processor still has it at hand.
#[derive(Default)]
struct Buffers(Mutex<Vec<Box<[u8]>>>);

struct Buffer {
    bytes: Box<[u8]>,
    home: Arc<Buffers>,
}

/// A piece as it is sent.
struct Filled {
    buffer: Buffer,
    len: usize,
}

impl Buffers {
    fn spare(&self) -> std::sync::MutexGuard<'_, Vec<Box<[u8]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for a piece that is all but full and the longest frame.
    fn take(self: &Arc<Self>) -> Buffer {
        let spare = self.spare().pop();
        let bytes = spare.unwrap_or_else(|| vec![0; PIECE_LEN + frames::SENT_LEN_MAX].into_boxed_slice());
        Buffer { bytes, home: Arc::clone(self) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = self.home.spare();
        if spare.len() < SPARE_MAX {
            spare.push(mem::take(&mut self.bytes));
        }
    }
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer.bytes[..self.len]
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = bytes_answer(Full::new(Bytes::new()).map_err(never).boxed_unsync());
    *response.status_mut() = status;
    response
}

fn set(response: &mut Response<Body>, name: hyper::header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn bytes_answer(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut response =
        Response::new(Full::new(Bytes::from(format!("{text}\n"))).map_err(never).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn never(never: Infallible) -> BodyError {
    match never {}
}

#[cfg(test)]
mod tests;
