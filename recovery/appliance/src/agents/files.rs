//! Manifests and chunk frames over plain HTTP, mounted behind the boot files: `GET /v1/manifests/<image>` with ranges and
//! a strong entity tag, `POST /v1/frames`. Integrity is by digest and signature, which the endpoint verifies; nothing
//! here is secret. What cannot be read is refused, and told to the boot layer's listener like any other malformed packet.
//!
//! Frames are hashed when they are read, and kept for a while as they are sent ([`Cache`]): sixteen endpoints that restore one image cost
//! one reading. A connection pulls: a piece is read when the one before it is on its way, on a thread that may block, and goes out when
//! its turn has come ([`Governor`]). So a peer that is slow or dead holds two pieces of memory and no thread, no permit and
//! no place in the queue, and costs nobody else; the connection itself is ended by the boot layer's time limits.
//!
//! It must never: read a path that a client named.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
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
    ChunkId, Digest, Store, StoreError,
    frames::{self, Cache, Sent},
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

/// Frames in memory for all endpoints together: those that restore one image at about the same time share one reading.
const CACHE_LEN: usize = 32 << 20;
/// Nobody waits longer than this for what another reads.
const READ_MOST: Duration = Duration::from_secs(10);
/// Pieces that are read from the store at once.
const READERS: usize = 16;
/// A piece is sent when it has this many bytes.
const PIECE_LEN: usize = 256 * 1024;

/// Serves manifests and frames. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    golden: Golden,
    cache: Arc<Cache>,
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
        let cache = Arc::new(Cache::new(CACHE_LEN, READ_MOST).small_for_one());
        Self { golden, cache, governor, readers, sent_bytes, events }
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
            going: vec![Bytes::from_static(frames::RESPONSE_MAGIC)].into_iter(),
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
    /// Of the piece at hand, what has not gone out yet.
    going: std::vec::IntoIter<Bytes>,
    ahead: Option<Reading>,
}

/// Frames in the order asked, and the number of the id behind them.
type Piece = (Vec<Bytes>, usize);
type Reading = JoinHandle<Result<Piece, StoreError>>;

impl Sending {
    /// The next frame. When a piece of them begins to go out, the one behind it is being read.
    async fn piece(mut self) -> Result<Option<(Frame<Bytes>, Self)>, BodyError> {
        loop {
            if let Some(bytes) = self.going.next() {
                return Ok(Some((Frame::data(bytes), self)));
            }
            if self.ahead.is_none() && self.next == self.ids.len() {
                return Ok(None);
            }
            let (piece, next) = self.next_piece().await?;
            self.next = next;
            let len = piece.iter().map(|bytes| bytes.len() as u64).sum();
            if self.next < self.ids.len()
                && self.files.cache.here(&self.ids[self.next]).is_none()
                && let Ok(permit) = Arc::clone(&self.files.readers).try_acquire_owned()
            {
                self.ahead = Some(self.read(permit));
            }
            self.files.governor.admit(self.to, len).await;
            self.files.sent_bytes.fetch_add(len, Ordering::Relaxed);
            self.going = piece.into_iter();
        }
    }

    async fn next_piece(&mut self) -> Result<Piece, BodyError> {
        let reading = match self.ahead.take() {
            Some(reading) => reading,
            None => {
                // What another endpoint has just got costs no thread.
                let piece = at_hand(&self.files.cache, &self.ids, self.next);
                if !piece.0.is_empty() {
                    return Ok(piece);
                }
                let permit = Arc::clone(&self.files.readers).acquire_owned().await?;
                self.read(permit)
            }
        };
        reading.await?.map_err(|error| {
            tracing::error!(%error, "frames broke off");
            error.into()
        })
    }

    fn read(&self, permit: OwnedSemaphorePermit) -> Reading {
        let (store, cache) = (Arc::clone(&self.files.golden.store), Arc::clone(&self.files.cache));
        let (ids, from) = (Arc::clone(&self.ids), self.next);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read_piece(&store, &cache, &ids, from)
        })
    }
}

/// Frames from the id with this number on that are in memory, until a piece is full or one is not.
fn at_hand(cache: &Cache, ids: &[ChunkId], from: usize) -> Piece {
    let (mut piece, mut len) = (Vec::new(), 0);
    for (number, id) in ids.iter().enumerate().skip(from) {
        let Some(sent) = cache.here(id) else { return (piece, number) };
        len += sent.len();
        piece.push(Bytes::from_owner(Owned(sent)));
        if len >= PIECE_LEN {
            return (piece, number + 1);
        }
    }
    (piece, ids.len())
}

/// Frames from the id with this number on, from memory or the disk, until a piece is full.
fn read_piece(store: &Store, cache: &Cache, ids: &[ChunkId], from: usize) -> Result<Piece, StoreError> {
    let (mut piece, mut len) = (Vec::new(), 0);
    for (number, id) in ids.iter().enumerate().skip(from) {
        let sent = store.stored_len(id).and_then(|len| {
            let len = frames::PREFIX_LEN + len as usize;
            cache.get_or(id, len, |buffer| read_sent(store, id, buffer))
        });
        let bytes = match sent {
            Ok(sent) => Bytes::from_owner(Owned(sent)),
            Err(StoreError::MissingChunk { .. }) => Bytes::copy_from_slice(&frames::encode_absent(*id)),
            // Asking again brings no better bytes: said at once, so that the endpoint stops or asks another source.
            Err(error @ StoreError::DamagedChunk { .. }) => {
                tracing::error!(%error, "a chunk was not sent");
                Bytes::copy_from_slice(&frames::encode_absent(*id))
            }
            Err(error) => return Err(error),
        };
        len += bytes.len();
        piece.push(bytes);
        if len >= PIECE_LEN {
            return Ok((piece, number + 1));
        }
    }
    Ok((piece, ids.len()))
}

/// A frame as it is sent, hashed as it was read.
fn read_sent(store: &Store, id: &ChunkId, mut sent: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    if sent.len() < frames::PREFIX_LEN {
        sent.resize(frames::PREFIX_LEN, 0);
    }
    let (encoding, raw_len) = store.read_frame(id, frames::PREFIX_LEN, &mut sent)?;
    let prefix = frames::encode_prefix_of(*id, encoding, raw_len, sent.len() - frames::PREFIX_LEN);
    sent[..frames::PREFIX_LEN].copy_from_slice(&prefix);
    Ok(sent)
}

/// What the cache and those who send it own together.
struct Owned(Sent);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
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
