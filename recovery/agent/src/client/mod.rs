//! How the agent speaks to its appliance: JSON over TLS to a pinned key.
//!
//! An answer is one of three things, and callers treat them apart: the value; a refusal with a reason
//! ([`ApiError::Refused`], final until a person acts); no answer ([`ApiError::Unreachable`], worth another try).

mod pin;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use recovery_protocol::Problem;
use recovery_protocol::agent::{Assignment, Hello, HelloReply, Next, Proof, ProofReply, Report, ReportReply};
use serde::{Serialize, de::DeserializeOwned};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector as _, TcpConnector};

pub use self::pin::SpkiPin;

/// An answer longer than this is not one of ours.
const ANSWER_MAX: u64 = 4 << 20;
/// Longest time for one call.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Longest time for some tens of MiB on their way up.
const BRING_MAX: Duration = Duration::from_secs(600);
/// Until an EST request is made again, where the answer does not say when.
const EST_LATER: Duration = Duration::from_secs(15);
/// Longest time to get a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Why a call gave no value.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The appliance said no.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// Nobody answered, or not our appliance.
    #[error("the appliance at {appliance} does not answer: {source}")]
    Unreachable {
        /// Whom we called.
        appliance: SocketAddr,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// The pinned appliance answered something that is not the protocol.
    #[error("the appliance at {appliance} answered {status} with something else than expected: {detail}")]
    Malformed {
        /// Whom we called.
        appliance: SocketAddr,
        /// HTTP status.
        status: u16,
        /// What was wrong with it.
        detail: String,
    },
}

/// An EST answer that is no refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EstAnswer {
    /// base64 of a certs-only message.
    Certificates(String),
    /// Somebody decides, or something has to happen first (RFC 7030 section 4.2.3): ask again with the same request.
    Later {
        /// After this time.
        after: Duration,
        /// What it waits for, for the screen.
        why: String,
    },
}

/// The appliance, as the agent sees it.
#[derive(Debug, Clone)]
pub struct Appliance {
    address: SocketAddr,
    http: ureq::Agent,
}

impl Appliance {
    /// The appliance at `address` that holds the key `pin`. Nothing is sent yet.
    ///
    /// # Errors
    /// When TLS cannot be set up at all.
    pub fn new(address: SocketAddr, pin: SpkiPin) -> Result<Self, rustls::Error> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .https_only(true)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_global(Some(CALL_MAX))
            .user_agent(concat!("groundstate-agent/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector = ().chain(TcpConnector::default()).chain(pin::PinnedTls::new(pin)?);
        let http = ureq::Agent::with_parts(config, connector, DefaultResolver::default());
        Ok(Self { address, http })
    }

    /// Whom we call.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `POST /agent/v1/hello`.
    ///
    /// # Errors
    /// As [`ApiError`] says; so for each call below.
    pub fn hello(&self, hello: &Hello) -> Result<HelloReply, ApiError> {
        self.post("/agent/v1/hello", hello)
    }

    /// `POST /agent/v1/proof`.
    pub fn proof(&self, proof: &Proof) -> Result<ProofReply, ApiError> {
        self.post("/agent/v1/proof", proof)
    }

    /// `POST /agent/v1/next`.
    pub fn next(&self, session: &str) -> Result<Assignment, ApiError> {
        self.post("/agent/v1/next", &Next { session: session.to_owned() })
    }

    /// `POST /agent/v1/report`.
    pub fn report(&self, report: &Report) -> Result<ReportReply, ApiError> {
        self.post("/agent/v1/report", report)
    }

    /// `POST` of bytes for a capture; the answer's bytes.
    pub fn bring(&self, path: &str, session: &str, body: &[u8]) -> Result<Vec<u8>, ApiError> {
        self.bring_within(path, session, body, BRING_MAX)
    }

    /// The same, for at most so long.
    pub fn bring_within(
        &self,
        path: &str,
        session: &str,
        body: &[u8],
        most: Duration,
    ) -> Result<Vec<u8>, ApiError> {
        let answer = self
            .http
            .post(self.url(path))
            .config()
            .timeout_global(Some(most))
            .build()
            .header("content-type", "application/octet-stream")
            .header("authorization", format!("Bearer {session}"))
            .send(body);
        let unreachable =
            |source| ApiError::Unreachable { appliance: self.address, source: Box::new(source) };
        let mut answer = answer.map_err(unreachable)?;
        let bytes = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_vec().map_err(unreachable)?;
        match answer.status().as_u16() {
            200 => Ok(bytes),
            status => Err(self.not_ok(status, &String::from_utf8_lossy(&bytes))),
        }
    }

    /// `POST` of an EST request body to `path` with HTTP Basic credentials (RFC 7030 §4.2).
    pub fn est(&self, path: &str, authorization: &str, body: &str) -> Result<EstAnswer, ApiError> {
        let answer = self
            .http
            .post(self.url(path))
            .header("content-type", "application/pkcs10")
            .header("content-transfer-encoding", "base64")
            .header("authorization", authorization)
            .send(body);
        let after = answer.as_ref().ok().and_then(|answer| {
            let seconds = answer.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
            Some(Duration::from_secs(seconds))
        });
        let (status, text) = self.text(answer)?;
        match status {
            200 => Ok(EstAnswer::Certificates(text)),
            202 => Ok(EstAnswer::Later {
                after: after.unwrap_or(EST_LATER),
                why: text.chars().take(200).collect(),
            }),
            _ => Err(self.not_ok(status, &text)),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    fn post<T: Serialize, R: DeserializeOwned>(&self, path: &str, message: &T) -> Result<R, ApiError> {
        let (status, text) = self.text(self.http.post(self.url(path)).send_json(message))?;
        if !(200..300).contains(&status) {
            return Err(self.not_ok(status, &text));
        }
        serde_json::from_str(&text).map_err(|e| self.malformed(status, e.to_string()))
    }

    fn text(
        &self,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<(u16, String), ApiError> {
        let unreachable =
            |source| ApiError::Unreachable { appliance: self.address, source: Box::new(source) };
        let mut answer = answer.map_err(unreachable)?;
        let text = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_string().map_err(unreachable)?;
        Ok((answer.status().as_u16(), text))
    }

    fn not_ok(&self, status: u16, text: &str) -> ApiError {
        match serde_json::from_str(text) {
            Ok(problem) => ApiError::Refused(Box::new(problem)),
            Err(_) => self.malformed(status, text.chars().take(200).collect()),
        }
    }

    fn malformed(&self, status: u16, detail: String) -> ApiError {
        ApiError::Malformed { appliance: self.address, status, detail }
    }
}
