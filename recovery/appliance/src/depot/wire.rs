//! The wire to the depot: HTTP over the appliance's one TLS stack, and its time limits.
//!
//! ```text
//!   connect (limit) ─► request, at least so many bytes in each window ─► answer (limit) ─► body, at least so many bytes in each window
//! ```
//!
//! `object_store` brings its own HTTP client and its own crypto unless it is given one; this is the one it is given. A
//! peer that sends a byte now and then keeps nobody: what counts is bytes in a window, not that something comes. An answer
//! without end is cut.

use std::{
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use hyper::{
    StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector as Tcp},
    rt::TokioExecutor,
};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
        HttpResponseBody, HttpService,
    },
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::time::{Instant, Sleep, sleep};

use super::OpenError;
use crate::tls::{self, SYSTEM_ROOTS};

/// A request is counted in pieces of this length.
const PIECE: usize = 64 << 10;
/// Longest body of an answer: no more than 8 MiB are asked for at once, and a list comes in pages.
const BODY_LEN_MAX: u64 = 64 << 20;
/// Longest body of a refusal.
const REFUSAL_LEN_MAX: u64 = 1 << 20;

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To a connection.
    pub connect: Duration,
    /// From the last byte of a request to the head of its answer: a server may hash and sync in between.
    pub answer: Duration,
    /// In each window …
    pub window: Duration,
    /// … at least so many bytes, in either direction.
    pub floor: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(60),
            window: Duration::from_secs(10),
            floor: 64 << 10,
        }
    }
}

/// What stood still.
#[derive(Debug, thiserror::Error)]
enum TooSlow {
    #[error("less than {} KiB went in {} s", .0.floor >> 10, .0.window.as_secs_f32())]
    Body(Limits),
    #[error("no answer came within {} s", .0.answer.as_secs_f32())]
    Answer(Limits),
}

/// What has no end.
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than any answer to that question can be")]
struct Endless;

/// The service knows us, or not, and says no.
#[derive(Debug, thiserror::Error)]
#[error("it answers {status} {why}")]
pub struct NotLetIn {
    status: StatusCode,
    why: String,
}

/// The service's own word for what is wrong.
pub fn code(body: &str) -> &str {
    body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code)
}

/// A client with its connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Wire {
    client: Client<HttpsConnector<Tcp>, Counted>,
    limits: Limits,
}

impl Wire {
    /// A client that trusts these authorities.
    pub fn new(ca_file: Option<&Path>, limits: Limits) -> Result<Self, OpenError> {
        let file = ca_file.unwrap_or(Path::new(SYSTEM_ROOTS));
        let wrong = |source| OpenError::Authorities { file: file.display().to_string(), source };
        // Without the system's list a plain address still works; over TLS it then trusts nobody, and says so.
        let mut roots = RootCertStore::empty();
        match ca_file {
            None => roots = tls::system_roots().map_err(wrong)?,
            // A site's own must be right, each of them.
            Some(file) => {
                for certificate in CertificateDer::pem_file_iter(file).map_err(wrong)? {
                    roots.add(certificate.map_err(wrong)?).map_err(OpenError::Tls)?;
                }
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .map_err(OpenError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = Tcp::new();
        tcp.set_connect_timeout(Some(limits.connect));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(15))
            .build(https.wrap_connector(tcp));
        Ok(Self { client, limits })
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Wire {
    /// As [`Wire::exchange`], but who is not let in gets an error that can be told from others.
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.exchange(request).await?;
        let status = answer.status();
        if status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN {
            return Ok(answer);
        }
        let body = answer.into_body().bytes().await?;
        let why = code(&String::from_utf8_lossy(&body)).to_owned();
        Err(HttpError::new(HttpErrorKind::Unknown, NotLetIn { status, why }))
    }
}

impl Wire {
    /// Send a request; the answer's head, and its body as it comes.
    pub async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let (total, sent) = (body.content_length() as u64, Arc::new(AtomicU64::new(0)));
        let body = Counted { left: total, body, piece: Bytes::new(), sent: Arc::clone(&sent) };
        let answer = self.client.request(hyper::http::Request::from_parts(parts, body));
        let answer = tokio::select! {
            answer = answer => answer.map_err(broken)?,
            slow = self.watch(total, &sent) => return Err(HttpError::new(HttpErrorKind::Timeout, slow)),
        };
        let (parts, body) = answer.into_parts();
        let room = if parts.status.is_success() { BODY_LEN_MAX } else { REFUSAL_LEN_MAX };
        let until = Box::pin(sleep(self.limits.window));
        let body = Paced { body, limits: self.limits, since: 0, room, until };
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }

    /// Ends when a request stands still.
    async fn watch(&self, total: u64, sent: &AtomicU64) -> TooSlow {
        let mut last = 0;
        loop {
            // A connection may have to be made first.
            sleep(self.limits.window).await;
            let now = sent.load(Ordering::Relaxed);
            if now >= total {
                sleep(self.limits.answer).await;
                return TooSlow::Answer(self.limits);
            }
            if now - last < self.limits.floor {
                return TooSlow::Body(self.limits);
            }
            last = now;
        }
    }
}

/// Which kind of failure it is: that decides whether it is tried again, and what is said of it.
fn broken(error: hyper_util::client::legacy::Error) -> HttpError {
    let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
    HttpError::new(kind, error)
}

/// A request's body that is handed over in pieces, and counted.
struct Counted {
    body: HttpRequestBody,
    piece: Bytes,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if self.piece.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
                other => return Poll::Ready(other),
            }
        }
        let len = self.piece.len().min(PIECE);
        let piece = self.piece.split_to(len);
        self.left -= len as u64;
        self.sent.fetch_add(len as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// An answer's body that must keep coming.
struct Paced {
    body: Incoming,
    limits: Limits,
    since: u64,
    room: u64,
    until: Pin<Box<Sleep>>,
}

impl Body for Paced {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let Self { body, limits, since, room, until } = &mut *self;
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(left) = room.checked_sub(len) else {
                    return Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Decode, Endless))));
                };
                (*since, *room) = (*since + len, left);
                if *since >= limits.floor {
                    *since = 0;
                    until.as_mut().reset(Instant::now() + limits.window);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Interrupted, error))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                ready!(until.as_mut().poll(cx));
                Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Timeout, TooSlow::Body(*limits)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
