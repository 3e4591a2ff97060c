//! Manifests and chunk frames over plain HTTP, mounted behind the boot files: `GET /v1/manifests/<image>` with ranges and
//! a strong entity tag, `POST /v1/frames`. Integrity is by digest and signature, which the endpoint verifies; nothing
//! here is secret. What cannot be read is refused, and told to the boot layer's listener like any other malformed packet.
//!
//! A connection pulls: a piece is read when the one before it is on its way, on a thread that may block, and goes out when
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
use images::{ChunkId, Digest, Store, StoreError, frames};
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

/// Serves manifests and frames. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    golden: Golden,
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
        Self { golden, governor, readers, sent_bytes, events }
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

/// A piece that is being read, and the number of the id behind it.
type Reading = JoinHandle<Result<(Vec<u8>, usize), StoreError>>;

impl Sending {
    /// The next piece, while the one behind it is being read.
    async fn piece(mut self) -> Result<Option<(Frame<Bytes>, Self)>, BodyError> {
        let reading = match self.ahead.take() {
            Some(reading) => reading,
            None if self.begun && self.next == self.ids.len() => return Ok(None),
            None => {
                let permit = Arc::clone(&self.files.readers).acquire_owned().await?;
                self.read(permit)
            }
        };
        let (piece, next) = match reading.await? {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "frames broke off");
                return Err(error.into());
            }
        };
        (self.next, self.begun) = (next, true);
        if self.next < self.ids.len()
            && let Ok(permit) = Arc::clone(&self.files.readers).try_acquire_owned()
        {
            self.ahead = Some(self.read(permit));
        }
        self.files.governor.admit(self.to, piece.len() as u64).await;
        self.files.sent_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok(Some((Frame::data(Bytes::from(piece)), self)))
    }

    fn read(&self, permit: OwnedSemaphorePermit) -> Reading {
        let (store, ids) = (Arc::clone(&self.files.golden.store), Arc::clone(&self.ids));
        let (from, begun) = (self.next, self.begun);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read_piece(&store, &ids, from, begun)
        })
    }
}

/// Frames in the order asked, from the id with this number, until a piece is full.
fn read_piece(
    store: &Store,
    ids: &[ChunkId],
    from: usize,
    begun: bool,
) -> Result<(Vec<u8>, usize), StoreError> {
    // Room for the frame that makes it full, so that nothing is moved.
    let mut piece = Vec::with_capacity(PIECE_LEN + PIECE_LEN / 2);
    if !begun {
        piece.extend_from_slice(frames::RESPONSE_MAGIC);
    }
    for (number, id) in ids.iter().enumerate().skip(from) {
        let at = piece.len();
        piece.resize(at + frames::PREFIX_LEN, 0);
        let prefix = match store.read_frame(id, &mut piece) {
            Ok((encoding, raw_len)) => {
                let len = piece.len() - at - frames::PREFIX_LEN;
                frames::encode_prefix_of(*id, encoding, raw_len, len)
            }
            Err(StoreError::MissingChunk { .. }) => frames::encode_absent(*id),
            // Asking again brings no better bytes: said at once, so that the endpoint stops or asks another source.
            Err(error @ StoreError::DamagedChunk { .. }) => {
                tracing::error!(%error, "a chunk was not sent");
                frames::encode_absent(*id)
            }
            Err(error) => return Err(error),
        };
        piece[at..at + frames::PREFIX_LEN].copy_from_slice(&prefix);
        if piece.len() >= PIECE_LEN {
            return Ok((piece, number + 1));
        }
    }
    Ok((piece, ids.len()))
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
