//! The TLS accept loop: one future that serves one listener with one axum router.
//!
//! ```text
//! permit ─► accept ─► handshake (limit) ─► request head (limit) ─► router ─► … ─► close, and read what still comes (limit)
//!    └──────────────── returned when the connection ends ◄───────────────────────┘
//! stop ─► no new connections ─► running requests finish (limit) ─► the rest is cut ─► the future ends
//! ```
//!
//! Connection tasks live in a [`JoinSet`] that the future owns: when it ends or is dropped, so do they. A panic in a
//! handler costs its connection and an error in the log, not the appliance: whoever reaches the port must not be able
//! to stop a recovery.
//!
//! It must never: choose a crypto provider by default (ring is passed), accept without a permit, or wait without a limit.

use std::{convert::Infallible, future::poll_fn, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{
    DistinguishedName, RootCertStore, ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use self::shown::Shown;

mod door;
pub mod held;
pub mod own;
mod shown;

pub use door::{Door, Served, fixed};

/// Who is at the other end, and whether we are leaving: in the extensions of every request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Our address that it asked.
    pub local: SocketAddr,
    /// Its certificate, whose key it holds: of the authority of [`Clients::Of`], or any ([`Clients::Pinned`]); `None` when it showed none.
    pub certificate: Option<CertificateDer<'static>>,
    /// Cancelled when the appliance stops: a handler that streams without end must end then.
    pub stopping: CancellationToken,
}

#[cfg(test)]
impl Peer {
    /// Somebody at this address, for tests without a socket.
    pub fn at(address: &str) -> Self {
        let local = SocketAddr::from(([127, 0, 0, 1], 443));
        Self {
            address: address.parse().unwrap(),
            local,
            certificate: None,
            stopping: CancellationToken::new(),
        }
    }
}

/// Limits of one listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From accept to a finished TLS handshake.
    pub handshake: Duration,
    /// From the first moment a request is awaited to its whole head.
    pub head: Duration,
    /// Connections at once; more wait in the kernel's backlog.
    pub connections: usize,
    /// From stop to cutting what still runs.
    pub drain: Duration,
    /// How long what a peer still sends is read after the last answer, before its connection is dropped.
    pub linger: Duration,
}

/// So much of it is read at most.
const LINGER_BYTES: usize = 256 << 10;

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(20),
            connections: 512,
            drain: Duration::from_secs(5),
            linger: Duration::from_secs(2),
        }
    }
}

/// Why a server configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Key and certificate do not fit, or rustls does not know their kind.
    #[error(
        "the appliance's TLS key and certificate cannot be used; run `groundstate init` in an empty data directory"
    )]
    Config(#[source] rustls::Error),
    /// A file holds no PEM of the right kind.
    #[error(
        "the appliance's TLS key or certificate is not PEM; restore `tls.key`, remove `tls.crt` and start again"
    )]
    Pem(#[source] pem::Error),
    /// The root for client certificates cannot be used.
    #[error(
        "the enrolment root cannot be used to verify endpoints; restore the data directory's `ca` folder"
    )]
    ClientRoot(#[source] VerifierBuilderError),
}

/// Where the system keeps the authorities that it trusts; a site adds its own with `update-ca-certificates`.
pub const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The authorities that the system trusts, without those that are too old for us; none where it has no list.
///
/// # Errors
/// The list cannot be read.
pub fn system_roots() -> Result<RootCertStore, pem::Error> {
    let mut roots = RootCertStore::empty();
    if Path::new(SYSTEM_ROOTS).exists() {
        roots.add_parsable_certificates(
            CertificateDer::pem_file_iter(SYSTEM_ROOTS)?.collect::<Result<Vec<_>, _>>()?,
        );
    }
    Ok(roots)
}

/// Which client certificates may be shown. Whether one must be, each route decides by [`Peer::certificate`].
#[derive(Debug, Clone)]
pub enum Clients {
    /// None.
    Nobody,
    /// Of this authority, and with any other one is refused.
    Of(CertificateDer<'static>),
    /// Any; those of these issuers are asked for. A route compares the whole certificate.
    Pinned(Vec<DistinguishedName>),
}

/// A server configuration for TLS 1.2 and 1.3 over ring, from PEM.
///
/// # Errors
/// [`TlsError`] when key, certificate or root cannot be used.
pub fn server_config(
    certificates_pem: &str,
    key_pem: &str,
    clients: Clients,
) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(certificates_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(TlsError::Pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(TlsError::Pem)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(TlsError::Config)?;
    let builder = match clients {
        Clients::Nobody => builder.with_no_client_auth(),
        Clients::Pinned(issuers) => builder.with_client_cert_verifier(Arc::new(Shown { issuers, provider })),
        Clients::Of(root) => {
            let mut roots = RootCertStore::empty();
            roots.add(root).map_err(TlsError::Config)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(TlsError::ClientRoot)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(TlsError::Config)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// For how long, while it stops, a connection that is open waits for its first request.
const FIRST: Duration = Duration::from_secs(1);

/// Serve `router` on `listener` until `stop`, then drain. Dropping the future cuts every connection.
pub async fn serve(
    listener: TcpListener,
    config: Served,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    while let Some((stream, address, permit)) = next_connection(&listener, &permits, &stop).await {
        while let Some(ended) = connections.try_join_next() {
            report(ended);
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&config.borrow()));
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            let _permit = permit;
            connection(stream, address, acceptor, router, limits, stop).await;
        });
    }
    drop(listener);
    let drained = timeout(limits.drain, async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!(connections = connections.len(), "connections cut: they did not end in time");
    }
}

async fn next_connection(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    loop {
        let accepted = async {
            let permit = Arc::clone(permits).acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let (accepted, permit) = tokio::select! {
            accepted = accepted => accepted?,
            () = stop.cancelled() => return None,
        };
        match accepted {
            Ok((stream, address)) => return Some((stream, address, permit)),
            Err(error) => {
                // Out of file descriptors, or the peer left while it waited: a busy loop would make either worse.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a request handler failed; its connection is closed");
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let stream = match timeout(limits.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%address, "TLS handshake took too long"),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = Peer {
        address,
        local,
        certificate: certificate.map(|der| der.clone().into_owned()),
        stopping: stop.clone(),
    };
    let asked = CancellationToken::new();
    let heard = asked.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        heard.cancel();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let router = router.clone();
        Box::pin(async move {
            Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {}))
        })
    });
    // One write for head and body: an EST client in the field reads `Content-Length` wrongly when its digits are split
    // across TLS records (strongSwan 5.9.8).
    let mut served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .writev(false)
        .serve_connection(TokioIo::new(stream), service);
    // Who has come and not asked yet would find the connection closed under their question.
    let leaving = async {
        stop.cancelled().await;
        let _ = timeout(FIRST, asked.cancelled()).await;
    };
    let ended = tokio::select! {
        ended = poll_fn(|cx| served.poll_without_shutdown(cx)) => ended,
        () = leaving => {
            std::pin::Pin::new(&mut served).graceful_shutdown();
            poll_fn(|cx| served.poll_without_shutdown(cx)).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "connection ended early");
    }
    tokio::select! {
        _ = timeout(limits.linger, close(served.into_parts().io.into_inner())) => {}
        () = stop.cancelled() => {}
    }
}

/// Say that this was all, and read what still comes until the peer ends, too. A socket that is dropped with something unread resets the
/// connection, and takes with it what of the answer is not there yet: a handler that needs no body may answer before the body came.
async fn close(mut stream: TlsStream<TcpStream>) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let (tcp, _) = stream.get_mut();
    let (mut unread, mut left) = ([0; 4096], LINGER_BYTES);
    while let Ok(read @ 1..) = tcp.read(&mut unread).await {
        left = left.saturating_sub(read);
        if left == 0 {
            return;
        }
    }
}

#[cfg(test)]
pub mod tests {
    //! Also gives other modules' tests a listener to speak to: [`TestListener`].

    use std::{
        io::{Read as _, Write as _},
        net::TcpStream as StdStream,
    };

    use axum::routing::get;
    use rustls::{ClientConfig, ClientConnection, Stream};
    use tokio::sync::Notify;

    use super::*;

    /// A served router: its address, its certificate, and the way to stop it.
    pub struct TestListener {
        pub address: SocketAddr,
        pub certificate: CertificateDer<'static>,
        pub stop: CancellationToken,
        pub served: tokio::task::JoinHandle<()>,
    }

    impl TestListener {
        pub async fn start(
            router: Router,
            limits: Limits,
            client_root: Option<CertificateDer<'static>>,
        ) -> Self {
            let pair = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, "127.0.0.1");
            let own = params.self_signed(&pair).unwrap();
            let certificate = own.der().clone();
            let clients = client_root.map_or(Clients::Nobody, Clients::Of);
            let config = server_config(&own.pem(), &pair.serialize_pem(), clients).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let stop = CancellationToken::new();
            let served = tokio::spawn(serve(listener, fixed(config), router, limits, stop.clone()));
            Self { address, certificate, stop, served }
        }

        pub fn connect(
            &self,
            versions: &[&'static rustls::SupportedProtocolVersion],
        ) -> (ClientConnection, StdStream) {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.clone()).unwrap();
            let config =
                ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                    .with_protocol_versions(versions)
                    .unwrap()
                    .with_root_certificates(roots)
                    .with_no_client_auth();
            let name = "127.0.0.1".try_into().unwrap();
            let stream = StdStream::connect(self.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            (ClientConnection::new(Arc::new(config), name).unwrap(), stream)
        }

        /// Send one request in full, read until the appliance closes.
        pub async fn speak(
            &self,
            versions: &'static [&'static rustls::SupportedProtocolVersion],
            request: &str,
        ) -> String {
            let (mut tls, mut stream) = self.connect(versions);
            let request = request.to_owned();
            tokio::task::spawn_blocking(move || {
                let mut stream = Stream::new(&mut tls, &mut stream);
                stream.write_all(request.as_bytes()).unwrap();
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer);
                String::from_utf8_lossy(&answer).into_owned()
            })
            .await
            .unwrap()
        }
    }

    const ASK: &str = "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    fn hello() -> Router {
        Router::new()
            .route("/hello", get(|peer: axum::Extension<Peer>| async move { peer.address.ip().to_string() }))
    }

    fn short() -> Limits {
        Limits {
            handshake: Duration::from_millis(200),
            head: Duration::from_millis(200),
            ..Limits::default()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn both_tls_versions_are_served_and_the_peer_is_known() {
        let listener = TestListener::start(hello(), Limits::default(), None).await;
        static VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
            [&rustls::version::TLS12, &rustls::version::TLS13];
        for version in VERSIONS.chunks(1) {
            let answer = listener.speak(version, ASK).await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_peer_that_says_nothing_is_cut_off() {
        let listener = TestListener::start(hello(), short(), None).await;
        let mut silent = StdStream::connect(listener.address).unwrap();
        silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let ended = tokio::task::spawn_blocking(move || silent.read(&mut [0; 16])).await.unwrap();
        assert!(
            matches!(ended, Ok(0)) || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn half_a_request_head_is_cut_off() {
        let listener = TestListener::start(hello(), short(), None).await;
        let answer = listener.speak(rustls::ALL_VERSIONS, "GET /hello HTTP/1.1\r\nHost:").await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_running_request_finishes_after_stop_and_nobody_new_gets_in() {
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (inside, go) = (Arc::clone(&entered), Arc::clone(&release));
        let slow = get(move || async move {
            inside.notify_one();
            go.notified().await;
            "finished"
        });
        let listener =
            TestListener::start(Router::new().route("/hello", slow), Limits::default(), None).await;
        let (mut tls, mut stream) = listener.connect(rustls::ALL_VERSIONS);
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = Stream::new(&mut tls, &mut stream);
            stream.write_all(ASK.as_bytes()).unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        });
        entered.notified().await;
        listener.stop.cancel();
        release.notify_one();
        assert!(asked.await.unwrap().ends_with("finished"));
        listener.served.await.unwrap();
        assert!(StdStream::connect(listener.address).is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_has_come_before_a_stop_may_still_ask() {
        let listener = TestListener::start(hello(), Limits::default(), None).await;
        let (mut tls, mut stream) = listener.connect(rustls::ALL_VERSIONS);
        let stop = listener.stop.clone();
        let asked = tokio::task::spawn_blocking(move || {
            while tls.is_handshaking() {
                tls.complete_io(&mut stream).unwrap();
            }
            stop.cancel();
            let mut stream = Stream::new(&mut tls, &mut stream);
            stream.write_all(ASK.as_bytes()).unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        });
        let answer = asked.await.unwrap();
        assert!(answer.contains("200 OK"), "{answer}");
        listener.served.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_permit_means_one_connection_at_a_time() {
        let limits = Limits { connections: 1, ..short() };
        let listener = TestListener::start(hello(), limits, None).await;
        // Holds the only permit until its handshake limit; the second is served after it, not never.
        let _silent = StdStream::connect(listener.address).unwrap();
        let answer = listener.speak(rustls::ALL_VERSIONS, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_arrives_whole_though_the_body_came_after_it_and_nobody_reads_it() {
        const LEN: usize = 512 << 10;
        let pack = axum::routing::post(|| async { vec![7_u8; LEN] });
        let router = hello().route("/pack", pack);
        let limits = Limits { connections: 1, linger: Duration::from_millis(300), ..Limits::default() };
        let listener = TestListener::start(router, limits, None).await;
        let (mut tls, mut stream) = listener.connect(rustls::ALL_VERSIONS);
        let (mut tls, mut stream) = tokio::task::spawn_blocking(move || {
            let mut both = Stream::new(&mut tls, &mut stream);
            both.write_all(b"POST /pack HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n").unwrap();
            // Something of the answer is here: the handler has ended.
            both.read_exact(&mut [0; 1]).unwrap();
            both.write_all(b"{}").unwrap();
            both.flush().unwrap();
            (tls, stream)
        })
        .await
        .unwrap();
        // The one permit is free again: the first connection is over for the appliance, and most of its answer not yet read.
        assert!(listener.speak(rustls::ALL_VERSIONS, ASK).await.starts_with("HTTP/1.1 200"));
        let answer = tokio::task::spawn_blocking(move || {
            let mut answer = Vec::new();
            let ended = Stream::new(&mut tls, &mut stream).read_to_end(&mut answer);
            ended.map(|_| answer.iter().filter(|byte| **byte == 7).count())
        });
        assert_eq!(answer.await.unwrap().unwrap(), LEN);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_head_travels_in_one_record() {
        let listener = TestListener::start(hello(), Limits::default(), None).await;
        let (mut tls, mut stream) = listener.connect(&[&rustls::version::TLS12]);
        let first_record = tokio::task::spawn_blocking(move || {
            while tls.is_handshaking() {
                tls.complete_io(&mut stream).unwrap();
            }
            tls.writer().write_all(ASK.as_bytes()).unwrap();
            tls.write_tls(&mut stream).unwrap();
            let mut header = [0; 5];
            stream.read_exact(&mut header).unwrap();
            let mut record = header.to_vec();
            record.resize(5 + usize::from(u16::from_be_bytes([header[3], header[4]])), 0);
            stream.read_exact(&mut record[5..]).unwrap();
            tls.read_tls(&mut record.as_slice()).unwrap();
            let plain = tls.process_new_packets().unwrap().plaintext_bytes_to_read();
            let mut text = vec![0; plain];
            tls.reader().read_exact(&mut text).unwrap();
            String::from_utf8(text).unwrap()
        });
        let text = first_record.await.unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200") && text.contains("\r\n\r\n") && text.ends_with("127.0.0.1"),
            "{text}"
        );
    }
}
