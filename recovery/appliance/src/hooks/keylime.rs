//! Keylime's verifier, asked: one agent before anything destructive, all of them every so often.
//!
//! Its revocation webhook is sent once and not kept: when the appliance was away it is lost, and for agents that push their evidence none is
//! ever sent. So a webhook and a look at the verifier are two ways to learn of one incident; the service gives both the same key.
//!
//! | what the verifier says of an agent | is |
//! |---|---|
//! | `operational_state` 9 (Invalid Quote) | failed |
//! | 3 to 6 (Get Quote, Provide V, and their retries) | passes |
//! | none (push mode), `attestation_status` `FAIL`, `PASS` | failed, passes |
//! | 7 (Failed: it cannot be reached, or the verifier itself broke), 0 to 2, 8, 10, `TIMEOUT`, `PENDING` | nothing: unreachable is not compromised |
//!
//! `severity_level` and `last_event_id` outlive a reactivation, so they are told to people and decide nothing. `v` is half of the agent's
//! key: only the fields below are read, and what is kept as evidence is made of them.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    client::{
        danger::{ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::{
    HookError,
    confirm::{Status, Verdict},
    wire,
};
use crate::config::KeylimeVerifier;

/// One question.
const QUESTION_MAX: Duration = Duration::from_secs(10);
/// Longest answer: some 2 KiB an agent.
const ANSWER_LEN_MAX: usize = 64 << 20;
/// Evidence that came and did not verify (`keylime/common/states.py`).
const INVALID_QUOTE: u32 = 9;
const PASSING: std::ops::RangeInclusive<u32> = 3..=6;

/// What is read of an agent, and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    operational_state: Option<u32>,
    attestation_status: Option<String>,
    #[serde(default)]
    last_event_id: Option<String>,
    #[serde(default)]
    attestation_count: Option<u64>,
    #[serde(default)]
    last_received_quote: Option<u64>,
    #[serde(default)]
    last_successful_attestation: Option<u64>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    results: T,
}

#[derive(Deserialize)]
struct Versions {
    current_version: String,
    #[serde(default)]
    supported_versions: Vec<String>,
}

impl Agent {
    /// Whether its integrity fails or passes; `None`: the verifier does not say.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match (self.operational_state, self.attestation_status.as_deref()) {
            (Some(INVALID_QUOTE), _) | (None, Some("FAIL")) => Some(Status::Fail),
            (Some(state), _) if PASSING.contains(&state) => Some(Status::Pass),
            (None, Some("PASS")) => Some(Status::Pass),
            (Some(_) | None, _) => None,
        }
    }

    /// For people.
    #[must_use]
    pub fn reason(&self) -> String {
        let event = self.last_event_id.as_deref().filter(|event| !event.is_empty());
        wire::clean(&format!("Keylime: {}", event.unwrap_or("the evidence does not verify")), 200)
    }

    fn silent(&self) -> String {
        let state = self.operational_state.map_or("none".to_owned(), |state| state.to_string());
        let status = wire::clean(self.attestation_status.as_deref().unwrap_or("none"), 20);
        format!("the verifier neither says that it fails nor that it passes (state {state}, status {status})")
    }
}

/// A verifier.
#[derive(Debug)]
pub struct Verifier {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    /// Seconds between two looks.
    pub every_s: u32,
}

impl Verifier {
    /// Read keys and certificates; nothing is connected yet.
    ///
    /// # Errors
    /// [`HookError`] names the source and its file.
    pub fn open(source: &str, setting: &KeylimeVerifier) -> Result<Self, HookError> {
        let wrong = |path: &Path, why: String| HookError::Content {
            source_name: source.to_owned(),
            path: path.to_owned(),
            why,
        };
        let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>, HookError> {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            let read: Vec<_> = read.map_err(|error| wrong(path, format!("it is no PEM ({error:?})")))?;
            if read.is_empty() { Err(wrong(path, "it holds no certificate".to_owned())) } else { Ok(read) }
        };
        let known = certificates(&setting.ca_file)?;
        let own = certificates(&setting.certificate_file)?;
        let key = PrivateKeyDer::from_pem_file(&setting.key_file)
            .map_err(|error| wrong(&setting.key_file, format!("it holds no private key ({error:?})")))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(known.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Known { known, roots, provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .map_err(|error| wrong(&setting.certificate_file, error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(own, key)
            .map_err(|error| {
                wrong(&setting.certificate_file, format!("it does not fit its key ({error})"))
            })?;
        let https = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(https);
        let url = setting.url.trim_end_matches('/').to_owned();
        Ok(Self { client, url, every_s: setting.poll_every_s })
    }

    /// What the verifier says of one agent.
    ///
    /// # Errors
    /// For a person: it does not answer, does not know the agent, or says neither.
    pub async fn ask(&self, agent: &str) -> Result<Verdict, String> {
        let path = agent.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !path {
            return Err("its name is none that Keylime gives".to_owned());
        }
        let version = self.version().await?;
        let found: Agent = self.get(&format!("/v{version}/agents/{agent}")).await?;
        let status = found.status().ok_or_else(|| found.silent())?;
        let raw = serde_json::to_vec(&found).map_err(|error| error.to_string())?;
        Ok(Verdict { status, raw })
    }

    /// All agents, by name.
    ///
    /// # Errors
    /// For a person.
    pub async fn agents(&self) -> Result<BTreeMap<String, Agent>, String> {
        let version = self.version().await?;
        self.get(&format!("/v{version}/agents/?bulk=true")).await
    }

    /// The newest 2.x that it speaks: in 3.0 agents are not found under their old path (keylime 7.14).
    async fn version(&self) -> Result<String, String> {
        let versions: Versions = self.get("/version").await?;
        let minor = |version: &String| version.strip_prefix("2.").and_then(|minor| minor.parse::<u32>().ok());
        let newest =
            versions.supported_versions.iter().chain([&versions.current_version]).filter_map(minor).max();
        newest
            .map(|minor| format!("2.{minor}"))
            .ok_or_else(|| "the verifier speaks no version 2.x".to_owned())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let uri =
            format!("{}{path}", self.url).parse().map_err(|error| format!("its URL is wrong: {error}"))?;
        let conversation = async {
            let answer =
                self.client.get(uri).await.map_err(|error| format!("no answer: {}", causes(&error)))?;
            let status = answer.status();
            if !status.is_success() {
                return Err(format!("the verifier answers {status}"));
            }
            let body = Limited::new(answer.into_body(), ANSWER_LEN_MAX).collect().await;
            Ok(body.map_err(|error| error.to_string())?.to_bytes())
        };
        let body = timeout(QUESTION_MAX, conversation)
            .await
            .map_err(|_| format!("no answer within {} s", QUESTION_MAX.as_secs()))??;
        let envelope: Envelope<T> = serde_json::from_slice(&body)
            .map_err(|error| format!("the answer cannot be understood: {error}"))?;
        Ok(envelope.results)
    }
}

/// An error's causes: hyper's own says only "client error (Connect)".
fn causes(error: &dyn std::error::Error) -> String {
    let mut all = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        all.push(cause.to_string());
        next = cause.source();
    }
    all.join(": ")
}

/// Believes the certificates on record and what they signed.
#[derive(Debug)]
struct Known {
    known: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.known.iter().any(|known| known == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let shown = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&shown, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    crate::tls::held::holds_the_key!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(state: Option<u32>, status: &str) -> Agent {
        let answer = serde_json::json!({ "operational_state": state, "attestation_status": status, "v": "secret", "port": 9002 });
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn only_evidence_that_did_not_verify_is_a_failure() {
        for (state, status, expected) in [
            (Some(9), "FAIL", Some(Status::Fail)),
            (None, "FAIL", Some(Status::Fail)),
            (Some(3), "PASS", Some(Status::Pass)),
            (Some(4), "PASS", Some(Status::Pass)),
            (None, "PASS", Some(Status::Pass)),
            // In pull mode FAIL also stands for one that cannot be reached, and for one that a person stopped.
            (Some(7), "FAIL", None),
            (Some(10), "FAIL", None),
            (Some(1), "PENDING", None),
            (Some(8), "PENDING", None),
            (None, "TIMEOUT", None),
            (None, "PENDING", None),
            (Some(77), "PASS", None),
        ] {
            assert_eq!(agent(state, status).status(), expected, "{state:?} {status}");
        }
    }

    #[test]
    fn nothing_secret_of_an_agent_is_kept() {
        assert!(!serde_json::to_string(&agent(Some(9), "FAIL")).unwrap().contains("secret"));
    }
}
