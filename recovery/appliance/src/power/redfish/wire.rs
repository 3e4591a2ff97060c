//! HTTP to a BMC: JSON there and back, basic authentication (DSP0266 section 13.3.2), one TLS stack.
//!
//! BMCs carry certificates that they made themselves. One is believed when an authority of this system signed it, or when it
//! is exactly the one on record; a name or a date in it then says nothing. Redirects are not followed: they would carry the
//! password elsewhere.

use std::{fmt::Write as _, net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig,
    client::{
        WebPkiServerVerifier,
        danger::{ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::Value;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Bmc;
use crate::power::{self, PowerError};

/// One request. BMCs are small computers: seconds are usual.
const REQUEST_MAX: Duration = Duration::from_secs(20);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest answer; a system's description is some 10 KiB.
const BODY_LEN_MAX: usize = 1 << 20;

/// A BMC's answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// The version of the resource.
    pub etag: Option<String>,
    /// JSON; null where there is none.
    pub body: Value,
}

/// Why an order did not go through, for a person.
#[derive(Debug)]
pub enum NotSent {
    /// It was refused, or never reached the BMC.
    Refused(String),
    /// No whole answer came: it may have been taken all the same.
    Perhaps(String),
}

impl NotSent {
    /// In words.
    pub fn why(self) -> String {
        match self {
            Self::Refused(why) | Self::Perhaps(why) => why,
        }
    }
}

/// A connection to one BMC.
pub struct Wire {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    authorization: HeaderValue,
}

impl Wire {
    /// A wire to the BMC, and the path in its URL.
    pub async fn open(bmc: &Bmc<'_>) -> Result<(Self, String), PowerError> {
        let failed = |why: String| PowerError::Bmc { host: bmc.url.to_owned(), what: "connect", why };
        let password = power::secret(bmc.password_file).await?;
        let pair = Zeroizing::new(format!("{}:{}", bmc.user, password.trim_end_matches(['\r', '\n'])));
        let text = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        let mut authorization = HeaderValue::from_str(&text).map_err(|error| failed(error.to_string()))?;
        authorization.set_sensitive(true);
        let no_url = || {
            failed(
                "its address must be https://HOST, so that the password is not sent in the clear".to_owned(),
            )
        };
        let url: Uri = bmc.url.parse().map_err(|_| no_url())?;
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err(no_url());
        };
        let here = authority.host().parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
        if !(scheme == "https" || scheme == "http" && here) {
            return Err(no_url());
        }
        let tls = tls(bmc.pin).map_err(failed)?;
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new()).build(https.wrap_connector(tcp));
        let base = format!("{scheme}://{authority}");
        Ok((Self { client, base, authorization }, url.path().to_owned()))
    }

    /// Reads a resource. The error is for a person.
    pub async fn get(&self, path: &str) -> Result<Answer, String> {
        self.ask(&Method::GET, path, None, Bytes::new()).await.map_err(NotSent::why)
    }

    /// Sends an order; with `etag` only if the resource has not changed since.
    pub async fn send(
        &self,
        method: &Method,
        path: &str,
        etag: Option<&str>,
        body: &Value,
    ) -> Result<Answer, NotSent> {
        self.ask(method, path, etag, Bytes::from(body.to_string())).await
    }

    async fn ask(
        &self,
        method: &Method,
        path: &str,
        etag: Option<&str>,
        body: Bytes,
    ) -> Result<Answer, NotSent> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::ACCEPT, "application/json")
            .header("OData-Version", "4.0");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(etag) = etag {
            request = request.header(header::IF_MATCH, etag);
        }
        let request = request.body(Full::new(body)).map_err(|error| NotSent::Refused(error.to_string()))?;
        let conversation = async {
            let answer = self.client.request(request).await.map_err(|error| match error.is_connect() {
                true => NotSent::Refused(causes(&error)),
                false => NotSent::Perhaps(causes(&error)),
            })?;
            let status = answer.status();
            let etag =
                answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
            let body = Limited::new(answer.into_body(), BODY_LEN_MAX)
                .collect()
                .await
                .map_err(|error| NotSent::Perhaps(error.to_string()))?;
            let body = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
            Ok::<_, NotSent>(Answer { status, etag, body })
        };
        let answer = timeout(REQUEST_MAX, conversation)
            .await
            .map_err(|_| NotSent::Perhaps(format!("no answer within {} s", REQUEST_MAX.as_secs())))??;
        match answer.status {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(NotSent::Refused(format!("it refuses the user or the password ({})", answer.words())))
            }
            _ => Err(NotSent::Refused(format!("it answers {}", answer.words()))),
        }
    }
}

/// An error with all its causes: hyper's own says only "client error (Connect)".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, "{}{cause}", if text.is_empty() { "" } else { ": " });
        next = cause.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

fn tls(pin: Option<&str>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = crate::tls::system_roots().map_err(|error| error.to_string())?;
    let authorities = match roots.is_empty() {
        true => None,
        false => Some(
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| error.to_string())?,
        ),
    };
    let verifier =
        Certificate { pin: pin.map(str::to_ascii_lowercase), authorities, provider: Arc::clone(&provider) };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Believes the certificate on record, or one that an authority of the system signed.
#[derive(Debug)]
struct Certificate {
    pin: Option<String>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Certificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = hex::encode(ring::digest::digest(&ring::digest::SHA256, end_entity));
        if let Some(pin) = &self.pin {
            return if *pin == shown {
                Ok(ServerCertVerified::assertion())
            } else {
                Err(rustls::Error::General(format!(
                    "it shows another certificate (SHA-256 {shown}) than the one on record; if it was given a new one, put that on record"
                )))
            };
        }
        let unknown = |why: String| {
            rustls::Error::General(format!(
                "its certificate is not trusted ({why}); compare its SHA-256 with the BMC's own page and put it on record: \
                 --bmc-certificate {shown}"
            ))
        };
        let Some(authorities) = &self.authorities else {
            return Err(unknown("this system trusts no authority".to_owned()));
        };
        authorities
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| unknown(error.to_string()))
    }

    crate::tls::held::holds_the_key!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(pin: Option<&str>, shown: &CertificateDer<'_>) -> Result<(), String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Certificate { pin: pin.map(str::to_owned), authorities: None, provider };
        let name = ServerName::try_from("10.8.0.21").unwrap();
        let verdict = verifier.verify_server_cert(shown, &[], &name, &[], UnixTime::now());
        verdict.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_certificate_on_record_is_believed_and_an_unknown_one_says_how_to_record_it() {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let sha256 = hex::encode(ring::digest::digest(&ring::digest::SHA256, made.der()));
        assert_eq!(judge(Some(&sha256), made.der()), Ok(()));
        let other = judge(Some(&"ab".repeat(32)), made.der()).unwrap_err();
        assert!(other.contains("another certificate") && other.contains(&sha256), "{other}");
        let unknown = judge(None, made.der()).unwrap_err();
        assert!(unknown.contains(&format!("--bmc-certificate {sha256}")), "{unknown}");
    }
}
