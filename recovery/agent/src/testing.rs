//! A small appliance for tests: real sockets, real TLS, one thread for each connection, answers from a closure.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::client::SpkiPin;

/// A request: path and body.
pub struct Request {
    pub path: String,
    pub body: Vec<u8>,
    /// Value of `Authorization`.
    pub authorization: String,
}

/// Status and body of an answer.
pub type Answer = (u16, Vec<u8>);

/// What answers.
pub trait Handler: Fn(Request) -> Answer + Send + Sync + 'static {}
impl<F: Fn(Request) -> Answer + Send + Sync + 'static> Handler for F {}

/// Serves plain HTTP on a free port until the process ends.
pub fn serve_plain(handler: impl Handler) -> SocketAddr {
    serve(Arc::new(handler), Some)
}

/// Serves HTTPS on a free port with a fresh key; returns its pin.
pub fn serve_tls(handler: impl Handler) -> (SocketAddr, SpkiPin) {
    use rcgen::PublicKeyData as _;
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["appliance".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pin = SpkiPin(digest(&SHA256, &key.subject_public_key_info()).as_ref().try_into().unwrap());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let config = Arc::new(config);
    let wrap = move |socket| Some(StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket));
    (serve(Arc::new(handler), wrap), pin)
}

fn serve<S: Read + Write>(
    handler: Arc<dyn Handler<Output = Answer>>,
    wrap: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let wrap = Arc::new(wrap);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (handler, wrap) = (handler.clone(), wrap.clone());
            std::thread::spawn(move || wrap(socket).map(|stream| converse(stream, &*handler)));
        }
    });
    address
}

/// Answers requests on one connection until it ends.
fn converse<S: Read + Write>(stream: S, handler: &dyn Handler<Output = Answer>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|len| *len > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let (mut length, mut chunked, mut authorization) = (0, false, String::new());
        loop {
            line.clear();
            stream.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok()?,
                "transfer-encoding" => chunked = value == "chunked",
                "authorization" => authorization = value.to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        while chunked {
            line.clear();
            stream.read_line(&mut line).ok()?;
            let len = usize::from_str_radix(line.trim_end(), 16).ok()?;
            let mut piece = vec![0; len + 2];
            stream.read_exact(&mut piece).ok()?;
            body.extend_from_slice(&piece[..len]);
            chunked = len > 0;
        }
        let (status, answer) = handler(Request { path, body, authorization });
        let later = if status == 202 { "retry-after: 1\r\n" } else { "" };
        let head = format!("HTTP/1.1 {status} X\r\n{later}content-length: {}\r\n\r\n", answer.len());
        stream.get_mut().write_all(&[head.as_bytes(), &answer].concat()).ok()?;
        stream.get_mut().flush().ok()?;
    }
}

/// Bytes without a pattern, so that every chunk differs; other ones for each seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A peer program of Debian's is not here, and the test says loudly what it leaves out; where CI installs it that is a failure.
pub fn not_looked_at(peer: &str, installed_in_ci: bool) {
    let ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    assert!(!(ci && installed_in_ci), "{peer} is not here, and in CI nothing is left out");
    // Not by `eprintln`, which the test runner keeps to itself when the test passes.
    let _ = writeln!(std::io::stderr(), "\nNOT LOOKED AT: {peer} is not here");
}
