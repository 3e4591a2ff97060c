//! Manifests and chunk frames over plain HTTP, mounted behind the boot files: `GET /v1/manifests/<image>` with ranges and
//! a strong entity tag, `POST /v1/frames`; and the recovery system as a CD for the BMC of an endpoint, `GET /media/groundstate-<job>.iso`,
//! as long as that job holds a boot ticket: a medium that was left in a drive leads nowhere afterwards. Integrity is by digest and signature, which the endpoint verifies; nothing
//! here is secret. What cannot be read is refused, and told to the boot layer's listener like any other malformed packet.
//!
//! A connection pulls: a piece is read when the one before it is on its way, and goes out when its turn has come ([`Governor`]).
//! What is in the page cache goes out of it without a copy; the rest is read on a thread that may block, one piece ahead. So a peer
//! that is slow or dead holds no memory and no thread, no permit and no place in the queue, and costs nobody else; the connection
//! itself is ended by the boot layer's time limits.
//!
//! It must never: read a path that a client named.

use std::{
    mem,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use images::{
    ChunkId, Digest, Store, StoreError, frames,
    store::{Placed, Waiting},
};
use pxe::{
    BootEvent, BootEvents, Refusal, Stage,
    http::{
        Body, BodyError, Handler, HeaderMap, HeaderValue, Method, NextPiece, Part, Pieces, Request, Response,
        StatusCode,
        header::{
            ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
        },
        range::{self, holds_tag},
    },
};
use recovery_protocol::JobId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

use super::shape::Governor;
use crate::{boot::Kit, golden::Golden, injects::CutOff, jobs::journal::Journal, power::media};

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
    medium: Option<Medium>,
    cut_off: Option<CutOff>,
}

/// The recovery system as a CD.
#[derive(Clone)]
pub struct Medium {
    /// Its bytes.
    pub bytes: Bytes,
    /// Their SHA-256.
    pub sha256: String,
    /// Whether a job holds a boot ticket now.
    pub admits: Arc<dyn Fn(JobId) -> bool + Send + Sync>,
}

impl Medium {
    /// Of this kit, for whoever's job holds a boot ticket; `None`: it holds none.
    #[must_use]
    pub fn of(kit: &Kit, journal: &Journal) -> Option<Self> {
        let (bytes, sha256) = kit.medium()?;
        let (tickets, clock) = (Arc::clone(&journal.tickets), Arc::clone(&journal.clock));
        let admits = Arc::new(move |job| tickets.admits(job, clock.now_unix_ms()));
        Some(Self { bytes, sha256, admits })
    }
}

impl Files {
    /// Over the golden images; `sent_bytes` counts frames as sent, `events` hears what was refused.
    #[must_use]
    pub fn new(
        golden: Golden,
        governor: Governor,
        sent_bytes: Arc<AtomicU64>,
        events: Arc<dyn BootEvents>,
    ) -> Self {
        let readers = Arc::new(Semaphore::new(READERS));
        Self { golden, governor, readers, sent_bytes, events, medium: None, cut_off: None }
    }

    /// With a CD for BMCs.
    #[must_use]
    pub fn with_medium(self, medium: Option<Medium>) -> Self {
        Self { medium, ..self }
    }

    /// With peers that get nothing while a drill wants it so.
    #[must_use]
    pub fn without(self, cut_off: CutOff) -> Self {
        Self { cut_off: Some(cut_off), ..self }
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

    /// A refusal by which an agent of another version knows at once what is the matter.
    fn no_frames(&self, from: SocketAddr, error: &frames::FrameError) -> Response<Body> {
        let mut response = self.malformed(from, &error.to_string());
        if let frames::FrameError::OtherVersion { theirs } = error {
            let ours = frames::VERSION;
            tracing::warn!(%from, theirs, ours, "an agent or relay of another version asked for frames");
            *response.body_mut() = Body::from(frames::encode_refusal(&error.to_string()));
        }
        response
    }

    async fn answer(&self, request: Request<Bytes>, from: SocketAddr) -> Response<Body> {
        let path = request.uri().path();
        let image = path.starts_with("/v1/");
        if image && self.cut_off.as_ref().is_some_and(|cut_off| cut_off(from.ip())) {
            return text(StatusCode::SERVICE_UNAVAILABLE, "a drill has it that no image can be fetched now");
        }
        if [Method::GET, Method::HEAD].contains(request.method())
            && let Some(name) = path.strip_prefix("/v1/manifests/")
        {
            return self.manifest(name, request.method(), request.headers(), from).await;
        }
        if [Method::GET, Method::HEAD].contains(request.method())
            && let Some(job) = path.strip_prefix(media::PATH).and_then(media::job_of)
        {
            return self.medium(job, request.method(), request.headers(), from);
        }
        if request.method() == Method::POST && path == "/v1/frames" {
            return self.frames(request.body(), from);
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
        self.document(bytes, &etag, method, headers, from)
    }

    fn medium(&self, job: JobId, method: &Method, headers: &HeaderMap, from: SocketAddr) -> Response<Body> {
        let Some(medium) = self.medium.as_ref().filter(|medium| (medium.admits)(job)) else {
            let reason = Refusal::NoTicket;
            self.events.event(BootEvent::Refused { mac: None, peer: Some(from), stage: Stage::Http, reason });
            return text(StatusCode::NOT_FOUND, "no job holds a boot ticket for this medium");
        };
        if !headers.contains_key(RANGE) {
            tracing::info!(%job, %from, "a BMC asks for the recovery system as a CD");
        }
        let etag = format!("\"{}\"", medium.sha256);
        let mut response = self.document(medium.bytes.clone(), &etag, method, headers, from);
        if response.status().is_success() {
            set(&mut response, CONTENT_TYPE, "application/octet-stream");
        }
        response
    }

    /// Bytes at hand, or the part of them that is asked for.
    fn document(
        &self,
        bytes: Bytes,
        etag: &str,
        method: &Method,
        headers: &HeaderMap,
        from: SocketAddr,
    ) -> Response<Body> {
        let answer = choose_part(headers, etag, bytes.len() as u64);
        let mut response = match answer {
            Asked::Unchanged => empty(StatusCode::NOT_MODIFIED),
            Asked::Beyond => {
                let mut beyond = text(StatusCode::RANGE_NOT_SATISFIABLE, "it is not that long");
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
        set(&mut response, ETAG, etag);
        set(&mut response, ACCEPT_RANGES, "bytes");
        response
    }

    /// Bytes that are at hand, at the pace of the governor.
    fn paced(&self, bytes: Bytes, to: IpAddr) -> Response<Body> {
        bytes_answer(Body::Pieces(Box::new(Paced { governor: self.governor.clone(), to, bytes })))
    }

    fn frames(&self, body: &Bytes, from: SocketAddr) -> Response<Body> {
        let ids = match frames::decode_request(body) {
            Ok(ids) => ids,
            Err(error) => return self.no_frames(from, &error),
        };
        let sending = Sending {
            files: self.clone(),
            to: from.ip(),
            ids: ids.into(),
            next: 0,
            begun: false,
            ahead: None,
        };
        bytes_answer(Body::Pieces(Box::new(sending)))
    }
}

/// Bytes that go out at the pace of the governor.
struct Paced {
    governor: Governor,
    to: IpAddr,
    bytes: Bytes,
}

impl Pieces for Paced {
    fn next(&mut self) -> NextPiece<'_> {
        Box::pin(async {
            if self.bytes.is_empty() {
                return Ok(None);
            }
            let piece = self.bytes.split_to(self.bytes.len().min(PIECE_LEN));
            self.governor.admit(self.to, piece.len() as u64).await;
            Ok(Some(vec![Part::Bytes(piece)]))
        })
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
    match range::part(header(RANGE).filter(|_| same), len) {
        range::Part::Whole => Asked::Bytes(0..len, StatusCode::OK),
        range::Part::Bytes(range) => Asked::Bytes(range, StatusCode::PARTIAL_CONTENT),
        range::Part::Unsatisfiable => Asked::Beyond,
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
#[derive(Default)]
struct Piece {
    parts: Vec<Part>,
    len: usize,
    /// The number of the id behind them.
    next: usize,
    /// Whether a disk was waited for.
    waited: bool,
}

type Reading = JoinHandle<Result<Piece, StoreError>>;

impl Pieces for Sending {
    fn next(&mut self) -> NextPiece<'_> {
        Box::pin(self.piece())
    }
}

impl Sending {
    /// The next piece. When one goes out that came from the disk, the one behind it is being read.
    async fn piece(&mut self) -> Result<Option<Vec<Part>>, BodyError> {
        if self.ahead.is_none() && self.next == self.ids.len() && self.begun {
            return Ok(None);
        }
        let mut piece =
            self.next_piece().await.inspect_err(|error| tracing::error!(%error, "frames broke off"))?;
        self.next = piece.next;
        if piece.waited
            && self.next < self.ids.len()
            && let Ok(permit) = Arc::clone(&self.files.readers).try_acquire_owned()
        {
            self.ahead = Some(self.read(permit));
        }
        if !mem::replace(&mut self.begun, true) {
            piece.parts.insert(0, Part::Bytes(Bytes::from_static(frames::RESPONSE_MAGIC)));
            piece.len += frames::RESPONSE_MAGIC.len();
        }
        self.files.governor.admit(self.to, piece.len as u64).await;
        self.files.sent_bytes.fetch_add(piece.len as u64, Ordering::Relaxed);
        Ok(Some(piece.parts))
    }

    async fn next_piece(&mut self) -> Result<Piece, BodyError> {
        let reading = match self.ahead.take() {
            Some(reading) => reading,
            None => {
                let piece = read_piece(&self.files.golden.store, &self.ids, self.next, Waiting::Never)?;
                if piece.next > self.next || self.ids.is_empty() {
                    return Ok(piece);
                }
                self.read(Arc::clone(&self.files.readers).acquire_owned().await?)
            }
        };
        Ok(reading.await??)
    }

    fn read(&self, permit: OwnedSemaphorePermit) -> Reading {
        let (store, ids, from) = (Arc::clone(&self.files.golden.store), Arc::clone(&self.ids), self.next);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read_piece(&store, &ids, from, Waiting::Allowed)
        })
    }
}

/// Frames from the id with this number on, until a piece is full or the next would have to be waited for: at least one if it may.
fn read_piece(store: &Store, ids: &[ChunkId], from: usize, waiting: Waiting) -> Result<Piece, StoreError> {
    let (mut piece, now) = (Piece { next: from, ..Piece::default() }, Instant::now());
    while piece.next < ids.len() && piece.len < PIECE_LEN {
        let id = ids[piece.next];
        let mut placed = store.place_frame(&id, now, Waiting::Never);
        if waiting == Waiting::Allowed && matches!(placed, Ok(None)) {
            piece.waited = true;
            placed = store.place_frame(&id, now, Waiting::Allowed);
        }
        let (prefix, bytes) = match placed {
            Ok(Some(Placed { file, at, len, encoding, raw_len })) => {
                (frames::encode_prefix_of(id, encoding, raw_len, len), Some(Part::File { file, at, len }))
            }
            Ok(None) => break,
            Err(StoreError::MissingChunk { .. }) => (frames::encode_absent(id), None),
            // Asking again brings no better bytes: said at once, so that the endpoint stops or asks another source.
            Err(error @ StoreError::DamagedChunk { .. }) => {
                tracing::error!(%error, "a chunk was not sent");
                (frames::encode_absent(id), None)
            }
            Err(error) => return Err(error),
        };
        piece.len += prefix.len() + bytes.as_ref().map_or(0, Part::len);
        piece.parts.push(Part::Bytes(Bytes::copy_from_slice(&prefix)));
        piece.parts.extend(bytes);
        piece.next += 1;
    }
    Ok(piece)
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = bytes_answer(Body::default());
    *response.status_mut() = status;
    response
}

fn set(response: &mut Response<Body>, name: pxe::http::header::HeaderName, value: &str) {
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
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;
