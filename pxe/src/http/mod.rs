//! HTTP/1.1 for firmware and for the recovery system, on a connection loop of our own.
//!
//! ```text
//!   path in the boot kit's table ─► gate (ticket) ─► range ─► file
//!   any other path               ─► the handler that the appliance mounts (chunk frames), else 404
//! ```
//!
//! What firmware forced on it: header names in title case (older shim and GRUB compare them exactly), one exact
//! `Content-Length` and never chunked, HEAD before GET, doubled slashes folded without a redirect, and for every answer
//! but success a short text body with `Connection: close` (a zero-length body on a kept connection hangs shim).

pub mod range;
mod respond;
pub(crate) mod serve;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::{Request, Response};

/// Any error of a body.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Who asks.
    pub remote: SocketAddr,
    /// Our address that was asked.
    pub local: SocketAddr,
}

/// The answer of a [`Handler`], later.
pub type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Serves every path that is not a boot file. The appliance mounts its chunk frames here. It authorises by itself: a
/// boot ticket has not been asked for. Dropping the future (the peer hung up) must be safe.
pub type Handler = Arc<dyn Fn(Request<Incoming>, Peer) -> Answer + Send + Sync>;
