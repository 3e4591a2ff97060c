//! HTTP/1.1 for firmware and for the recovery system, on a connection loop of our own.
//!
//! ```text
//!   read a request whole ─► path in the boot kit's table ─► gate (ticket) ─► range ─► file
//!                           any other path               ─► the handler that the appliance mounts (chunk frames), else 404
//!                        ─► answer: bytes as they are at hand, files by sendfile(2)
//! ```
//!
//! What firmware forced on it: header names in title case (older shim and GRUB compare them exactly), one exact
//! `Content-Length` and never chunked, HEAD before GET, doubled slashes folded without a redirect, and for every answer
//! but success a short text body with `Connection: close` (a zero-length body on a kept connection hangs shim).

pub mod range;
mod read;
mod respond;
mod send;
pub(crate) mod serve;

pub use serve::converse;

use std::fs::File;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
pub use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

/// Any error of a body.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// One after the other. Without a `Content-Length` they are sent chunked (RFC 9112 section 7.1).
    Pieces(Box<dyn Pieces>),
}

/// A body that is made while it is sent. It is asked for a piece when the one before it is with the system, and dropped when all is
/// sent or the peer is gone.
pub trait Pieces: Send {
    /// The next piece, not empty; `None` at the end. An error ends the connection, so that the peer sees that something is missing.
    fn next(&mut self) -> NextPiece<'_>;
}

/// The answer of [`Pieces::next`], later.
pub type NextPiece<'a> = Pin<Box<dyn Future<Output = Result<Option<Vec<Part>>, BodyError>> + Send + 'a>>;

/// Bytes of a piece.
#[derive(Debug, Clone)]
pub enum Part {
    /// In memory.
    Bytes(Bytes),
    /// In a file, which is not copied through this process. It must not change any more.
    File {
        /// Open for reading.
        file: Arc<File>,
        /// Where they begin.
        at: u64,
        /// How many.
        len: usize,
    },
}

impl Part {
    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File { len, .. } => *len,
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl<B: Into<Bytes>> From<B> for Body {
    fn from(bytes: B) -> Self {
        Self::Whole(bytes.into())
    }
}

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
/// boot ticket has not been asked for. The body has come whole: at most 64 KiB. Dropping the future (the peer hung up) must be safe.
pub type Handler = Arc<dyn Fn(Request<Bytes>, Peer) -> Answer + Send + Sync>;
