//! Answers for boot files: the head with exact lengths and the body in slices, with an event when it ends.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, IF_MATCH, IF_RANGE, RANGE,
};
use http::{Method, Response, StatusCode};

use super::range::{Part, holds_tag, part};
use super::{Body, NextPiece, Pieces};
use crate::artefact::Artefact;
use crate::event::{Abort, BootEvent, Fetcher, Protocol};
use crate::gate::Gate;
use crate::policy::BootRequest;

/// Bytes handed to the connection at a time, so that "finished" is said when the client has nearly all of it.
const SLICE_LEN: usize = 256 * 1024;

/// Anything but success: a short text and the end of the connection.
pub(crate) fn refuse(status: StatusCode, text: &str) -> Response<Body> {
    let text = Bytes::from(format!("{text}\n"));
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    *response.body_mut() = text.into();
    response
}

/// A boot file, or the part of it that was asked for.
pub(crate) fn file(
    gate: &Arc<Gate>,
    artefact: &Artefact,
    request: &BootRequest,
    fetcher: Fetcher,
    method: &Method,
    headers: &HeaderMap,
) -> Response<Body> {
    let body = artefact.bytes(request);
    let size = body.len() as u64;
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    if let Some(wanted) = text(IF_MATCH)
        && !artefact.etag().is_some_and(|etag| wanted.trim() == "*" || holds_tag(wanted, etag))
    {
        return refuse(StatusCode::PRECONDITION_FAILED, "the file has changed; start again");
    }
    let fresh = text(IF_RANGE).is_none_or(|tag| artefact.etag().is_some_and(|etag| holds_tag(tag, etag)));
    let range = artefact.etag().filter(|_| fresh && method == Method::GET).and(text(RANGE));
    let (status, range) = match part(range, size) {
        Part::Whole => (StatusCode::OK, 0..size),
        Part::Bytes(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::Unsatisfiable => {
            let mut response =
                refuse(StatusCode::RANGE_NOT_SATISFIABLE, "the range is beyond the end of the file");
            insert(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{size}"));
            return response;
        }
    };
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    let head = response.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static(artefact.content_type()));
    head.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if let Some(etag) = artefact.etag() {
        insert(head, ETAG, etag);
        head.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    if status == StatusCode::PARTIAL_CONTENT {
        insert(head, CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    if method == Method::GET {
        let slice = body.slice(range.start as usize..range.end as usize);
        let body = FileBody::begin(gate.clone(), fetcher, artefact.name(), slice);
        *response.body_mut() = Body::Pieces(Box::new(body));
    }
    response
}

fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The bytes of a file on their way. Reports finished or aborted when it is dropped; a connection reset after the last
/// slice is how firmware hangs up, and is success.
struct FileBody {
    gate: Arc<Gate>,
    fetcher: Fetcher,
    name: String,
    rest: Bytes,
    sent: u64,
    begun: Instant,
}

impl FileBody {
    fn begin(gate: Arc<Gate>, fetcher: Fetcher, name: &str, rest: Bytes) -> Self {
        let (protocol, name, size) = (Protocol::Http, name.to_owned(), rest.len() as u64);
        let options = String::new();
        gate.tell(BootEvent::TransferStarted { fetcher, protocol, name: name.clone(), size, options });
        FileBody { gate, fetcher, name, rest, sent: 0, begun: Instant::now() }
    }
}

impl Pieces for FileBody {
    fn next(&mut self) -> NextPiece<'_> {
        let slice = self.rest.split_to(self.rest.len().min(SLICE_LEN));
        self.sent += slice.len() as u64;
        let piece = (!slice.is_empty()).then(|| vec![super::Part::Bytes(slice)]);
        Box::pin(std::future::ready(Ok(piece)))
    }
}

impl Drop for FileBody {
    fn drop(&mut self) {
        let (fetcher, protocol, bytes) = (self.fetcher, Protocol::Http, self.sent);
        let name = std::mem::take(&mut self.name);
        self.gate.tell(if self.rest.is_empty() {
            let took = self.begun.elapsed();
            BootEvent::TransferFinished { fetcher, protocol, name, bytes, took, resent: 0 }
        } else {
            BootEvent::TransferAborted { fetcher, protocol, name, bytes, reason: Abort::PortClosed }
        });
    }
}
