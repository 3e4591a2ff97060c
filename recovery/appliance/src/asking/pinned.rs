//! An HTTPS client to one system of the site: it is known by its certificate or by the authority that signed it, and may want one of ours.
//!
//! ```text
//! certificate on record ─► the very one: believed        signed by one on record ─► believed, where its name fits or names do not count
//! ```
//!
//! It must never: follow a redirect, or take an answer that has no end.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    client::{
        danger::{ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use tokio::time::timeout;

use crate::seal;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be used: {why}; mend the file and start the appliance again")]
pub struct FileError {
    /// Which.
    pub path: PathBuf,
    /// Why, for a person.
    pub why: String,
}

/// By what two sides know each other.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The other's certificate, or that of the authority that signed it (PEM).
    pub ca_file: &'a Path,
    /// Our certificate and its key (PEM), where it wants one.
    pub own: Option<(&'a Path, &'a Path)>,
    /// Whether the name in a certificate that an authority signed must be the one that we asked for.
    pub names_count: bool,
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The head.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

/// The other system.
#[derive(Debug, Clone)]
pub struct Pinned {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    answer_len_max: usize,
    question_max: Duration,
}

impl Pinned {
    /// Reads keys and certificates; nothing is connected yet.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(
        url: &str,
        known: Known<'_>,
        answer_len_max: usize,
        question_max: Duration,
    ) -> Result<Self, FileError> {
        let config = client(known)?;
        let https = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(https);
        Ok(Self { client, url: url.trim_end_matches('/').to_owned(), answer_len_max, question_max })
    }

    /// One question, and its answer whatever its status. May be cancelled; whether the other side did it is then not known.
    ///
    /// # Errors
    /// For a person: it does not answer, not in time, or without end.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| format!("its URL is wrong: {error}"))?;
        let conversation = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| format!("no answer: {}", crate::chain::chain(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, self.answer_len_max).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        let late = |_| format!("no answer within {} s", self.question_max.as_secs());
        timeout(self.question_max, conversation).await.map_err(late)?
    }
}

/// Who the other side is held to be, for TLS to it. Reads keys and certificates.
///
/// # Errors
/// [`FileError`].
pub fn client(known: Known<'_>) -> Result<ClientConfig, FileError> {
    let wrong = |path: &Path, why: String| FileError { path: path.to_owned(), why };
    let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>, FileError> {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        let read: Vec<_> = read.map_err(|error| wrong(path, format!("it is no PEM ({error:?})")))?;
        if read.is_empty() { Err(wrong(path, "it holds no certificate".to_owned())) } else { Ok(read) }
    };
    let pinned = certificates(known.ca_file)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(pinned.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        Believed { pinned, roots, names_count: known.names_count, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| wrong(known.ca_file, error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match known.own {
        None => config.with_no_client_auth(),
        Some((certificate, key_file)) => {
            let pem = seal::secret(key_file)
                .map_err(|error| wrong(key_file, format!("it cannot be read ({error})")))?;
            let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
                .map_err(|error| wrong(key_file, format!("it holds no private key ({error:?})")))?;
            config
                .with_client_auth_cert(certificates(certificate)?, key)
                .map_err(|error| wrong(certificate, format!("it does not fit its key ({error})")))?
        }
    };
    Ok(config)
}

/// Believes the certificates on record and what they signed.
#[derive(Debug)]
struct Believed {
    pinned: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
    names_count: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Believed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let shown = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&shown, &self.roots, intermediates, now, algorithms)?;
        if self.names_count {
            verify_server_name(&shown, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    crate::tls::held::holds_the_key!();
}
