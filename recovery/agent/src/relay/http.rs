//! As much HTTP/1.1 (RFC 9112) as a relay needs: two kinds of request, answers in chunks, connections kept alive.
//!
//! Heads are parsed by `httparse`. It must never: read more than [`HEAD_LEN_MAX`] of a head or [`REQUEST_LEN_MAX`] of a body.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use images::frames::REQUEST_LEN_MAX;

const HEAD_LEN_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 32;
const COPY_LEN: usize = 64 << 10;

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// `POST /v1/frames` with this body.
    Frames(Vec<u8>),
    /// `GET /v1/manifests/<image>`: 64 hexadecimal digits.
    Manifest(String),
    /// Anything else.
    Other,
}

/// A connection.
pub struct Exchange {
    socket: TcpStream,
    /// What was read beyond the last request.
    ahead: Vec<u8>,
}

impl Exchange {
    /// A connection on this socket, whose time limits are set.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, ahead: Vec::new() }
    }

    /// The next request; `None` when the client is done. What is no HTTP is an error, and ends the connection.
    pub fn next(&mut self) -> io::Result<Option<Request>> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut head = httparse::Request::new(&mut headers);
            match head.parse(&self.ahead).map_err(|error| bad(&error.to_string()))? {
                httparse::Status::Complete(len) => {
                    let (kind, body_len) =
                        kind(&head).ok_or_else(|| bad("a body of unknown or too great length"))?;
                    self.ahead.drain(..len);
                    let body = self.body(body_len)?;
                    return Ok(Some(match kind {
                        Request::Frames(_) => Request::Frames(body),
                        other => other,
                    }));
                }
                httparse::Status::Partial if self.ahead.len() >= HEAD_LEN_MAX => {
                    return Err(bad("a head without end"));
                }
                httparse::Status::Partial => {
                    let mut more = [0; 4096];
                    match self.socket.read(&mut more)? {
                        0 => return Ok(None),
                        len => self.ahead.extend(&more[..len]),
                    }
                }
            }
        }
    }

    fn body(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut body: Vec<u8> = self.ahead.drain(..len.min(self.ahead.len())).collect();
        let here = body.len();
        body.resize(len, 0);
        self.socket.read_exact(&mut body[here..])?;
        Ok(body)
    }

    /// A refusal with a reason.
    pub fn refuse(&mut self, status: u16, why: &[u8]) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 {status} No\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
            why.len()
        );
        self.socket.write_all(&[head.as_bytes(), why].concat())
    }

    /// The head of an answer that comes in pieces.
    pub fn begin(&mut self) -> io::Result<()> {
        self.socket.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )
    }

    /// A piece; an empty one is none.
    pub fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.socket.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
        self.socket.write_all(bytes)?;
        self.socket.write_all(b"\r\n")
    }

    /// The answer is whole.
    pub fn end(&mut self) -> io::Result<()> {
        self.socket.write_all(b"0\r\n\r\n")
    }

    /// All that comes from there.
    pub fn copy(&mut self, mut from: impl Read) -> io::Result<()> {
        let mut piece = vec![0; COPY_LEN];
        loop {
            match from.read(&mut piece)? {
                0 => return Ok(()),
                len => self.piece(&piece[..len])?,
            }
        }
    }
}

/// What a head asks for, and how long its body is; `None` when that cannot be told or is too much.
fn kind(head: &httparse::Request<'_, '_>) -> Option<(Request, usize)> {
    let value = |name: &str| {
        head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|h| h.value)
    };
    if value("transfer-encoding").is_some() {
        return None;
    }
    let len = match value("content-length") {
        None => 0,
        Some(text) => std::str::from_utf8(text).ok()?.trim().parse().ok()?,
    };
    let image = head.path.and_then(|path| path.strip_prefix("/v1/manifests/"));
    let is_image = |image: &&str| image.len() == 64 && image.bytes().all(|byte| byte.is_ascii_hexdigit());
    let kind = match (head.method, head.path, image.filter(is_image)) {
        (Some("POST"), Some("/v1/frames"), _) => Request::Frames(Vec::new()),
        (Some("GET"), _, Some(image)) => Request::Manifest(image.to_owned()),
        _ => Request::Other,
    };
    (len <= REQUEST_LEN_MAX).then_some((kind, len))
}
