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

use std::{collections::BTreeMap, time::Duration};

use hyper::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    HookError,
    confirm::{Status, Verdict},
    wire,
};
use crate::{
    asking::pinned::{Known, Pinned},
    config::KeylimeVerifier,
};

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
    client: Pinned,
    /// Seconds between two looks.
    pub every_s: u32,
}

impl Verifier {
    /// Read keys and certificates; nothing is connected yet.
    ///
    /// # Errors
    /// [`HookError`] names the source and its file.
    pub fn open(source: &str, setting: &KeylimeVerifier) -> Result<Self, HookError> {
        let own = Some((setting.certificate_file.as_path(), setting.key_file.as_path()));
        // The name in its certificate is not compared, as Keylime's own parts do not.
        let known = Known { ca_file: &setting.ca_file, own, names_count: false };
        let client = Pinned::open(&setting.url, known, ANSWER_LEN_MAX, QUESTION_MAX).map_err(|error| {
            HookError::Content { source_name: source.to_owned(), path: error.path, why: error.why }
        })?;
        Ok(Self { client, every_s: setting.poll_every_s })
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
        let answer = self.client.ask(Method::GET, path, &[], Vec::new()).await?;
        if !answer.status.is_success() {
            return Err(format!("the verifier answers {}", answer.status));
        }
        let envelope: Envelope<T> = serde_json::from_slice(&answer.body)
            .map_err(|error| format!("the answer cannot be understood: {error}"))?;
        Ok(envelope.results)
    }
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
