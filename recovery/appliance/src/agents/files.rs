//! Manifests and chunk frames over plain HTTP, mounted behind the boot files: `GET /v1/manifests/<image>`,
//! `POST /v1/frames`. Integrity is by digest and signature, which the endpoint verifies; nothing here is secret. What cannot
//! be read is refused, and told to the boot layer's listener like any other malformed packet.
//!
//! Chunks are read on threads that may block, a few requests at once, each a few frames ahead of its reader. It must
//! never: read a path that a client named.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use images::{ChunkId, Store, StoreError, frames};
use pxe::{
    BootEvent, BootEvents, Refusal, Stage,
    http::{Body, BodyError, Handler},
};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use crate::golden::Golden;

/// Requests for frames that are read at once.
const AT_ONCE: usize = 32;
/// Pieces that a request is read ahead of its peer.
const AHEAD: usize = 4;
/// A piece is sent when it has this many bytes.
const PIECE_LEN: usize = 256 * 1024;

/// Serves manifests and frames. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    golden: Golden,
    permits: Arc<Semaphore>,
    sent_bytes: Arc<AtomicU64>,
    events: Arc<dyn BootEvents>,
}

impl Files {
    /// Over the golden images; `sent_bytes` counts frames as sent, `events` hears what was refused.
    #[must_use]
    pub fn new(golden: Golden, sent_bytes: Arc<AtomicU64>, events: Arc<dyn BootEvents>) -> Self {
        Self { golden, permits: Arc::new(Semaphore::new(AT_ONCE)), sent_bytes, events }
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
        if request.method() == Method::GET
            && let Some(name) = path.strip_prefix("/v1/manifests/")
        {
            return self.manifest(name, from).await;
        }
        if request.method() == Method::POST && path == "/v1/frames" {
            return self.frames(request.into_body(), from).await;
        }
        text(StatusCode::NOT_FOUND, "there is nothing here")
    }

    async fn manifest(&self, name: &str, from: SocketAddr) -> Response<Body> {
        let Ok(image) = name.parse() else {
            return self.malformed(from, "an image's name is 64 lower-case hexadecimal digits");
        };
        match self.golden.manifest(image).await {
            Ok(bytes) => bytes_answer(Full::new(Bytes::from(bytes)).map_err(never).boxed_unsync()),
            Err(error) => {
                tracing::warn!(%image, %error, "manifest not served");
                text(StatusCode::NOT_FOUND, "there is no such image")
            }
        }
    }

    async fn frames(&self, body: Incoming, from: SocketAddr) -> Response<Body> {
        let Ok(body) = Limited::new(body, frames::REQUEST_LEN_MAX).collect().await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "ask for at most 1024 chunks at once");
        };
        let ids = match frames::decode_request(&body.to_bytes()) {
            Ok(ids) => ids,
            Err(error) => return self.malformed(from, &error.to_string()),
        };
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let mut busy = text(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once");
            busy.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return busy;
        };
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (store, sent_bytes) = (Arc::clone(&self.golden.store), Arc::clone(&self.sent_bytes));
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            if let Err(error) = send(&store, &ids, &sender, &sent_bytes) {
                tracing::error!(%error, "frames broke off");
                let _ = sender.blocking_send(Err(error.into()));
            }
        });
        let stream = ReceiverStream::new(receiver).map(|piece| piece.map(Frame::data));
        bytes_answer(StreamBody::new(stream).boxed_unsync())
    }
}

/// Read and send frames in the order asked; ends early, without error, when the peer hangs up.
fn send(
    store: &Store,
    ids: &[ChunkId],
    sender: &mpsc::Sender<Result<Bytes, BodyError>>,
    sent_bytes: &AtomicU64,
) -> Result<(), StoreError> {
    let mut piece = frames::RESPONSE_MAGIC.to_vec();
    for id in ids {
        match store.get_frame(id) {
            Ok(frame) => {
                piece.extend_from_slice(&frames::encode_prefix(&frame));
                piece.extend_from_slice(&frame.bytes);
            }
            Err(StoreError::MissingChunk { .. }) => piece.extend_from_slice(&frames::encode_absent(*id)),
            // Asking again brings no better bytes: said at once, so that the endpoint stops or asks another source.
            Err(error @ StoreError::DamagedChunk { .. }) => {
                tracing::error!(%error, "a chunk was not sent");
                piece.extend_from_slice(&frames::encode_absent(*id));
            }
            Err(error) => return Err(error),
        }
        if piece.len() >= PIECE_LEN && !flush(&mut piece, sender, sent_bytes) {
            return Ok(());
        }
    }
    flush(&mut piece, sender, sent_bytes);
    Ok(())
}

fn flush(
    piece: &mut Vec<u8>,
    sender: &mpsc::Sender<Result<Bytes, BodyError>>,
    sent_bytes: &AtomicU64,
) -> bool {
    let bytes = Bytes::from(std::mem::take(piece));
    sent_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    sender.blocking_send(Ok(bytes)).is_ok()
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
mod tests {
    use images::frames::{FrameError, read_response};

    use super::*;

    #[test]
    fn a_chunk_that_rotted_in_its_pack_is_said_at_once_and_the_others_are_sent() {
        let dir = tempfile::tempdir().unwrap();
        crate::testing::golden_image(dir.path(), &dir.path().join("store"), &dir.path().join("root.json"));
        let store = Store::open(dir.path().join("store")).unwrap();
        let image = store.list().unwrap()[0];
        let ids: Vec<ChunkId> = store.get_manifest(&image).unwrap().parse().unwrap().chunk_ids().collect();
        let ask = || {
            let (sender, mut receiver) = mpsc::channel(64);
            send(&store, &ids, &sender, &AtomicU64::new(0)).unwrap();
            let mut answer = Vec::new();
            while let Ok(piece) = receiver.try_recv() {
                answer.extend_from_slice(&piece.unwrap());
            }
            read_response(answer.as_slice(), &ids, |_| Ok::<(), FrameError>(()))
        };
        ask().unwrap();
        let pack = walk(&dir.path().join("store/packs")).unwrap();
        let mut bytes = std::fs::read(&pack).unwrap();
        // Behind the pack's own head: the first frame.
        bytes[12] ^= 1;
        std::fs::write(&pack, bytes).unwrap();
        assert!(matches!(ask(), Err(FrameError::Absent { .. })));
    }

    /// The first file below a directory.
    fn walk(dir: &std::path::Path) -> Option<std::path::PathBuf> {
        std::fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
            let path = entry.path();
            if path.is_dir() { walk(&path) } else { Some(path) }
        })
    }
}
