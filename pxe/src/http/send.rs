//! Answers: the head in the spelling that firmware reads, and the body with as few copies as the system allows.
//!
//! Small parts wait for what follows them, in one segment; a file goes from the page cache to the socket by sendfile(2).

use std::fs::File;
use std::io::{self, Write as _};
use std::time::SystemTime;

use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::response::Parts;
use http::{Method, Response, StatusCode, Version};
use rustix::fs::sendfile;
use rustix::net::{SendFlags, send};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::{Body, BodyError, Part};

/// A part that is shorter than this is copied to the one behind it.
const SMALL: usize = 4096;

/// Ready when the peer has hung up; never, when it has sent more.
pub(super) async fn gone(stream: &TcpStream) {
    // One that sends its next request already is there.
    if let Ok(1..) = stream.peek(&mut [0]).await {
        std::future::pending::<()>().await;
    }
}

/// What is asked, as far as the answer's form depends on it.
pub(super) struct Asked {
    pub method: Method,
    pub version: Version,
    /// Whether the connection may be kept.
    pub keep: bool,
}

/// How a body is delimited (RFC 9112 section 6).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    Length,
    Chunked,
    Close,
}

/// Send an answer; whether the connection is kept comes back. An error means that it is at its end.
pub(super) async fn answer(
    stream: &TcpStream,
    asked: &Asked,
    response: Response<Body>,
) -> Result<bool, BodyError> {
    let (parts, body) = response.into_parts();
    let framing = framing(asked, &parts, &body);
    let closes = parts.headers.get(CONNECTION).is_some_and(|value| value == "close");
    let fine = parts.status.is_success() || parts.status == StatusCode::NOT_MODIFIED;
    let keep = asked.keep && fine && !closes && framing != Framing::Close;
    let mut out = Out { stream, small: head(asked, &parts, &body, framing, keep) };
    match body {
        Body::Whole(bytes) if framing == Framing::Length => out.part(&Part::Bytes(bytes), false).await?,
        Body::Pieces(mut pieces) if framing != Framing::None => {
            let said =
                parts.headers.get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse::<u64>().ok());
            let mut sent = 0;
            loop {
                // Who has hung up holds no place in the queue that a piece may wait in.
                let piece = tokio::select! {
                    biased;
                    piece = pieces.next() => piece?,
                    () = gone(stream) => return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
                };
                let Some(piece) = piece else { break };
                sent += piece.iter().map(|part| part.len() as u64).sum::<u64>();
                if said.is_some_and(|said| sent > said) {
                    return Err("the body is longer than its Content-Length".into());
                }
                out.piece(&piece, framing == Framing::Chunked).await?;
            }
            if said.is_some_and(|said| sent != said) {
                return Err("the body is shorter than its Content-Length".into());
            }
            if framing == Framing::Chunked {
                out.small.extend_from_slice(b"0\r\n\r\n");
            }
        }
        _ => {}
    }
    out.flush(false).await?;
    Ok(keep)
}

fn framing(asked: &Asked, parts: &Parts, body: &Body) -> Framing {
    let bodiless = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    match body {
        _ if asked.method == Method::HEAD || bodiless => Framing::None,
        Body::Whole(_) => Framing::Length,
        Body::Pieces(_) if parts.headers.contains_key(CONTENT_LENGTH) => Framing::Length,
        Body::Pieces(_) if asked.version == Version::HTTP_10 => Framing::Close,
        Body::Pieces(_) => Framing::Chunked,
    }
}

fn head(asked: &Asked, parts: &Parts, body: &Body, framing: Framing, keep: bool) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    // Writes to memory do not fail.
    let version = if asked.version == Version::HTTP_10 { "1.0" } else { "1.1" };
    let reason = parts.status.canonical_reason().unwrap_or("Other");
    let _ = write!(head, "HTTP/{version} {} {reason}\r\n", parts.status.as_str());
    for (name, value) in &parts.headers {
        if *name != CONNECTION {
            title_case(&mut head, name.as_str());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
    }
    if let Body::Whole(bytes) = body
        && !parts.headers.contains_key(CONTENT_LENGTH)
        && parts.status != StatusCode::NOT_MODIFIED
    {
        let _ = write!(head, "Content-Length: {}\r\n", bytes.len());
    }
    if framing == Framing::Chunked {
        head.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if !parts.headers.contains_key(DATE) {
        let _ = write!(head, "Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
    }
    match (keep, asked.version) {
        (false, _) => head.extend_from_slice(b"Connection: close\r\n"),
        (true, Version::HTTP_10) => head.extend_from_slice(b"Connection: keep-alive\r\n"),
        _ => {}
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn title_case(out: &mut Vec<u8>, name: &str) {
    let mut begins = true;
    for byte in name.bytes() {
        out.push(if begins { byte.to_ascii_uppercase() } else { byte });
        begins = byte == b'-';
    }
}

/// What is on its way.
struct Out<'s> {
    stream: &'s TcpStream,
    /// What waits for the next large part.
    small: Vec<u8>,
}

impl Out<'_> {
    async fn piece(&mut self, piece: &[Part], chunked: bool) -> io::Result<()> {
        let len: usize = piece.iter().map(Part::len).sum();
        if len == 0 {
            // An empty chunk would be the end of the body.
            return Ok(());
        }
        if chunked {
            write!(self.small, "{len:x}\r\n")?;
        }
        for (number, part) in piece.iter().enumerate() {
            self.part(part, chunked || number + 1 < piece.len()).await?;
        }
        if chunked {
            self.small.extend_from_slice(b"\r\n");
        }
        // A piece is not kept back until the next one is there; but the end of a chunk may be, behind all its bytes.
        if piece.last().is_some_and(|last| matches!(last, Part::File { .. })) {
            return Ok(());
        }
        self.flush(false).await
    }

    /// `more`: something follows that is flushed.
    async fn part(&mut self, part: &Part, more: bool) -> io::Result<()> {
        match part {
            Part::Bytes(bytes) if bytes.len() < SMALL && self.small.len() < SMALL => {
                self.small.extend_from_slice(bytes);
                Ok(())
            }
            Part::Bytes(bytes) => {
                self.flush(true).await?;
                self.bytes(bytes, more).await
            }
            Part::File { file, at, len } => {
                self.flush(true).await?;
                self.file(file, *at, *len).await
            }
        }
    }

    async fn flush(&mut self, more: bool) -> io::Result<()> {
        self.bytes(&self.small, more).await?;
        self.small.clear();
        Ok(())
    }

    /// When `more` follow at once, a segment may wait for them.
    async fn bytes(&self, mut bytes: &[u8], more: bool) -> io::Result<()> {
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::MORE, more);
        while !bytes.is_empty() {
            let one = || Ok(send(self.stream, bytes, flags)?);
            let sent = self.stream.async_io(Interest::WRITABLE, one).await?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    async fn file(&self, file: &File, at: u64, len: usize) -> io::Result<()> {
        let mut sent = 0;
        while sent < len {
            let mut from = at + sent as u64;
            let one = || Ok(sendfile(self.stream, file, Some(&mut from), len - sent)?);
            let some = self.stream.async_io(Interest::WRITABLE, one).await?;
            if some == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            sent += some;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::super::{NextPiece, Pieces};
    use super::*;

    /// Pieces that are ready, and at the end perhaps an error.
    struct Ready(Vec<Vec<Part>>, Option<&'static str>);

    impl Pieces for Ready {
        fn next(&mut self) -> NextPiece<'_> {
            let next = match (self.0.is_empty(), self.1.take()) {
                (false, error) => {
                    self.1 = error;
                    Ok(Some(self.0.remove(0)))
                }
                (true, Some(error)) => Err(error.into()),
                (true, None) => Ok(None),
            };
            Box::pin(std::future::ready(next))
        }
    }

    fn file(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(file)
    }

    /// What a client of this version reads until the end, and how the answer ended here.
    async fn sent(
        method: Method,
        version: Version,
        response: Response<Body>,
    ) -> (String, Vec<u8>, Result<bool, String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let asked = Asked { method, version, keep: true };
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.unwrap();
            all
        });
        let ended = answer(&server, &asked, response).await.map_err(|error| error.to_string());
        drop(server);
        let all = reading.await.unwrap();
        let end = all.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 4);
        (String::from_utf8(all[..end].to_vec()).unwrap(), all[end..].to_vec(), ended)
    }

    fn pieces(some: Vec<Vec<Part>>, error: Option<&'static str>) -> Response<Body> {
        Response::new(Body::Pieces(Box::new(Ready(some, error))))
    }

    fn mixed() -> Vec<Vec<Part>> {
        let bytes = |text: &'static str| Part::Bytes(Bytes::from_static(text.as_bytes()));
        let large = Part::Bytes(vec![b'x'; 10_000].into());
        let part = Part::File { file: file(b"0123456789"), at: 2, len: 5 };
        vec![vec![bytes("head "), part.clone(), bytes(" and "), part], vec![], vec![large, bytes(".")]]
    }

    #[tokio::test]
    async fn pieces_of_memory_and_files_arrive_in_order_and_chunked() {
        let (head, body, ended) = sent(Method::GET, Version::HTTP_11, pieces(mixed(), None)).await;
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Transfer-Encoding: chunked\r\n"),
            "{head}"
        );
        let mut want = b"14\r\nhead 23456 and 23456\r\n2711\r\n".to_vec();
        want.extend([b'x'; 10_000]);
        want.extend(b".\r\n0\r\n\r\n");
        assert_eq!((body, ended), (want, Ok(true)));
    }

    #[tokio::test]
    async fn who_cannot_read_chunks_gets_the_body_until_the_end_of_the_connection() {
        let (head, body, ended) = sent(Method::GET, Version::HTTP_10, pieces(mixed(), None)).await;
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && head.contains("Connection: close\r\n"), "{head}");
        assert!(
            !head.contains("Transfer-Encoding") && body.starts_with(b"head 23456") && body.len() == 10_021
        );
        assert_eq!(ended, Ok(false));
    }

    #[tokio::test]
    async fn what_goes_wrong_on_the_way_is_seen_to_be_short() {
        let (_, body, ended) =
            sent(Method::GET, Version::HTTP_11, pieces(mixed(), Some("the disk is gone"))).await;
        assert!(!body.ends_with(b"0\r\n\r\n") && ended == Err("the disk is gone".to_owned()));
        let short = vec![vec![Part::File { file: file(b"0123"), at: 0, len: 5 }]];
        let (_, body, ended) = sent(Method::GET, Version::HTTP_11, pieces(short, None)).await;
        assert!(body == b"5\r\n0123" && ended.is_err(), "{ended:?}");
    }

    /// A body that waits for its turn, and says when it is let go.
    struct Waits(Option<tokio::sync::oneshot::Sender<()>>);

    impl Pieces for Waits {
        fn next(&mut self) -> NextPiece<'_> {
            Box::pin(std::future::pending())
        }
    }

    impl Drop for Waits {
        fn drop(&mut self) {
            let _ = self.0.take().map(|told| told.send(()));
        }
    }

    #[tokio::test]
    async fn a_peer_that_hangs_up_while_its_body_waits_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (told, let_go) = tokio::sync::oneshot::channel();
        let response = Response::new(Body::Pieces(Box::new(Waits(Some(told)))));
        let asked = Asked { method: Method::GET, version: Version::HTTP_11, keep: true };
        let answering = tokio::spawn(async move { answer(&server, &asked, response).await.is_err() });
        drop(client);
        tokio::time::timeout(Duration::from_secs(10), let_go).await.expect("it is let go").unwrap();
        assert!(answering.await.unwrap());
    }

    #[tokio::test]
    async fn a_body_of_another_length_than_was_said_ends_the_connection() {
        for len in ["4", "6"] {
            let mut response = pieces(vec![vec![Part::Bytes(Bytes::from_static(b"12345"))]], None);
            response.headers_mut().insert(CONTENT_LENGTH, len.parse().unwrap());
            let (_, body, ended) = sent(Method::GET, Version::HTTP_11, response).await;
            assert!(ended.is_err() && (body.is_empty() || body == b"12345"), "{ended:?}");
        }
    }

    #[tokio::test]
    async fn a_head_alone_says_how_long_the_body_would_be() {
        let (head, body, ended) = sent(Method::HEAD, Version::HTTP_11, Response::new("four".into())).await;
        assert!(head.contains("Content-Length: 4\r\n") && body.is_empty() && ended == Ok(true), "{head}");
        let mut unchanged = Response::new(Body::default());
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged.headers_mut().insert(http::header::IF_NONE_MATCH, "x".parse().unwrap());
        let (head, body, _) = sent(Method::GET, Version::HTTP_11, unchanged).await;
        assert!(
            !head.contains("Content-Length") && head.contains("If-None-Match: x\r\n") && body.is_empty(),
            "{head}"
        );
    }
}
