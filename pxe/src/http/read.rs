//! Requests: read whole, bounded in length and time, parsed by `httparse`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Time for a request's head, also between requests on a kept connection; and for its body.
const WAIT: Duration = Duration::from_secs(30);
/// Longest head.
const HEAD_LEN_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;
/// Longest body: a request for 1024 chunks has half of it.
const BODY_LEN_MAX: usize = 64 << 10;

/// Why no request came.
#[derive(Debug)]
pub(super) enum NoRequest {
    /// The peer left, or said nothing for long.
    Left,
    /// It is no request, or one that is not served: the answer, and what is wrong.
    Bad(StatusCode, &'static str),
}

impl From<std::io::Error> for NoRequest {
    fn from(_: std::io::Error) -> Self {
        Self::Left
    }
}

/// A request, and whether the connection is kept for another.
pub(super) type Read = (Request<Bytes>, bool);

/// The next request of a connection. `buffer` holds what came with the one before.
pub(super) async fn request<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
) -> Result<Read, NoRequest> {
    let head = tokio::time::timeout(WAIT, head(stream, buffer)).await.map_err(|_| NoRequest::Left)??;
    let keep = keeps(&head);
    let len = body_len(head.headers())?;
    if len > buffer.len() && says(head.headers(), EXPECT, "100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let body = async {
        while buffer.len() < len {
            if stream.read_buf(buffer).await? == 0 {
                return Err(NoRequest::Left);
            }
        }
        Ok(buffer.split_to(len).freeze())
    };
    let body = tokio::time::timeout(WAIT, body).await.map_err(|_| NoRequest::Left)??;
    Ok((head.map(|()| body), keep))
}

async fn head<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut) -> Result<Request<()>, NoRequest> {
    let mut seen = 0;
    loop {
        // A head ends in a line's end: what has none in it that is new is not parsed again.
        let fresh = buffer.get(seen..).is_some_and(|fresh| fresh.contains(&b'\n') || fresh.len() > 1024);
        if fresh {
            seen = buffer.len();
        }
        if fresh && let Some((head, len)) = parse(buffer)? {
            let _ = buffer.split_to(len);
            return Ok(head);
        }
        if buffer.len() >= HEAD_LEN_MAX {
            return Err(NoRequest::Bad(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "a request's head has at most 64 KiB",
            ));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(NoRequest::Left);
        }
    }
}

/// A head and its length, when all of it is here.
fn parse(bytes: &[u8]) -> Result<Option<(Request<()>, usize)>, NoRequest> {
    let bad = |what| NoRequest::Bad(StatusCode::BAD_REQUEST, what);
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(NoRequest::Bad(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "a request has at most 64 headers",
            ));
        }
        Err(httparse::Error::Version) => {
            return Err(NoRequest::Bad(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1 is spoken here"));
        }
        Err(_) => return Err(bad("that is no HTTP request")),
    };
    let mut request = Request::new(());
    *request.method_mut() = head
        .method
        .and_then(|method| method.parse::<Method>().ok())
        .ok_or_else(|| bad("its method is none"))?;
    *request.uri_mut() =
        head.path.and_then(|path| path.parse::<Uri>().ok()).ok_or_else(|| bad("its target is no path"))?;
    *request.version_mut() = if head.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    for header in head.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| bad("a header has no name"))?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| bad("a header has no value"))?;
        request.headers_mut().append(name, value);
    }
    Ok(Some((request, len)))
}

/// RFC 9112 section 9.3.
fn keeps(head: &Request<()>) -> bool {
    match head.version() {
        Version::HTTP_10 => says(head.headers(), CONNECTION, "keep-alive"),
        _ => !says(head.headers(), CONNECTION, "close"),
    }
}

fn says(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
}

/// RFC 9112 section 6.3: what is in doubt is refused, since it would be read as the next request.
fn body_len(headers: &HeaderMap) -> Result<usize, NoRequest> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(NoRequest::Bad(
            StatusCode::LENGTH_REQUIRED,
            "say how long the body is with Content-Length",
        ));
    }
    let mut lens = headers.get_all(CONTENT_LENGTH).into_iter().map(|value| {
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|text| text.parse::<usize>().ok())
    });
    let Some(first) = lens.next() else { return Ok(0) };
    match first {
        Some(len) if lens.all(|other| other == first) => match len <= BODY_LEN_MAX {
            true => Ok(len),
            false => Err(NoRequest::Bad(StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 64 KiB")),
        },
        _ => Err(NoRequest::Bad(StatusCode::BAD_REQUEST, "its Content-Length is no number, or two")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All requests of a connection that sends this, a few bytes at a time, and how it ended.
    async fn requests(sent: &str, step: usize) -> (Vec<Read>, NoRequest) {
        let (mut ours, theirs) = tokio::io::duplex(step);
        let sent = sent.as_bytes().to_vec();
        let client = tokio::spawn(async move {
            let (mut reading, mut writing) = tokio::io::split(theirs);
            let answers = tokio::spawn(async move {
                let mut text = String::new();
                let _ = reading.read_to_string(&mut text).await;
                text
            });
            let _ = writing.write_all(&sent).await;
            let _ = writing.shutdown().await;
            answers.await.unwrap()
        });
        let (mut got, mut buffer) = (Vec::new(), BytesMut::new());
        let ended = loop {
            match request(&mut ours, &mut buffer).await {
                Ok(read) => got.push(read),
                Err(ended) => break ended,
            }
        };
        drop(ours);
        let said = client.await.unwrap();
        assert!(said.is_empty() || said == "HTTP/1.1 100 Continue\r\n\r\n", "{said}");
        (got, ended)
    }

    #[tokio::test]
    async fn requests_come_whole_however_they_are_cut() {
        let sent = "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\nPOST http://10.7.0.1/v1/frames HTTP/1.1\r\nContent-Length: 5\r\n\
                    Expect: 100-continue\r\n\r\nframeHEAD /c HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /d HTTP/1.1\r\nconnection: x, CLOSE\r\n\r\n";
        for step in [1, 7, 4096] {
            let (got, ended) = requests(sent, step).await;
            let seen: Vec<_> = got
                .iter()
                .map(|(request, keep)| {
                    (request.method().as_str(), request.uri().path(), &request.body()[..], *keep)
                })
                .collect();
            assert_eq!(
                seen,
                [
                    ("GET", "/a", &b""[..], true),
                    ("POST", "/v1/frames", b"frame", true),
                    ("HEAD", "/c", b"", true),
                    ("GET", "/d", b"", false),
                ]
            );
            assert!(matches!(ended, NoRequest::Left));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_head_is_taken_for_more_or_less_than_it_is(
            words in proptest::collection::vec(proptest::sample::select(vec![
                "GET ", "/a ", "HTTP/1.1", "HTTP/1.0", "\r\n", "\n", ":", " ", "A: b\r\n", "Content-Length: 3\r\n", "\0", "é", "%",
            ]), 0..40)
        ) {
            let bytes = words.concat().into_bytes();
            if let Ok(Some((_, len))) = parse(&bytes) {
                assert!(len <= bytes.len() && bytes[..len].ends_with(b"\n"));
                assert!(matches!(parse(&bytes[..len]), Ok(Some((_, same))) if same == len));
                assert!(!matches!(parse(&bytes[..len - 1]), Ok(Some(_))));
            }
        }
    }

    #[tokio::test]
    async fn what_is_in_doubt_is_refused() {
        let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(70_000));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
        for (sent, status) in [
            ("\0\0\0\0\r\n\r\n", 400),
            ("GET / HTTP/9.9\r\n\r\n", 505),
            ("GET /a b HTTP/1.1\r\n\r\n", 505),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
            (&long, 431),
            (&many, 431),
        ] {
            let (got, ended) = requests(sent, 4096).await;
            assert!(
                got.is_empty() && matches!(ended, NoRequest::Bad(is, _) if is == status),
                "{sent:.60}: {ended:?}"
            );
        }
        let (got, ended) = requests("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nfra", 4096).await;
        assert!(got.is_empty() && matches!(ended, NoRequest::Left), "cut in its body");
        let same = "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(&requests(same, 4096).await.0[0].0.body()[..], b"ok");
    }
}
