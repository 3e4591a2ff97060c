//! Keylime as the fleet's control plane: its records of the endpoint go before the first boot, and come back with a policy made of what
//! our own quote showed to be as predicted.
//!
//! ```text
//! reset_record     DELETE verifier ─► until it answers 404 ─► DELETE registrar        (in that order: a wiped agent has another AK, which
//!                                                                                     the registrar refuses for a UUID that it knows)
//! register         the endpoint's own agent registers itself ─► GET registrar ─► the EK on record? ─► POST verifier with `tpm_policy`
//! observe          GET verifier: PASS or not yet
//! ```
//!
//! The endpoint's label `keylime-agent` names its agent; one without is none of Keylime's.
//!
//! It must never: add an agent whose TPM is another one than on record (Keylime takes any EK for a UUID that it does not know).

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::future::BoxFuture;
use hyper::{Method, StatusCode};
use recovery_protocol::{EndpointId, tpm::EccPublic};
use serde_json::{Value, json};

use super::{ControlPlane, Observed, PlaneError, Registration};
use crate::{
    asking::pinned::{Answer, FileError, Known, Pinned},
    config::KeylimePlane,
    db::{self, Db},
};

/// The label that names an endpoint's agent.
const LABEL: &str = "keylime-agent";
const ANSWER_LEN_MAX: usize = 1 << 20;
const QUESTION_MAX: Duration = Duration::from_secs(10);
const WORDS_MOST: usize = 200;

/// A verifier and its registrar.
pub struct Keylime {
    verifier: Pinned,
    registrar: Pinned,
    db: Db,
}

impl Keylime {
    /// Reads keys and certificates; nothing is connected yet.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(setting: &KeylimePlane, db: Db) -> Result<Self, FileError> {
        let own = Some((setting.certificate_file.as_path(), setting.key_file.as_path()));
        // Its own parts do not compare names either, and its certificates rarely carry the right one.
        let known = Known { ca_file: &setting.ca_file, own, names_count: false };
        let open = |url: &str| Pinned::open(url, known, ANSWER_LEN_MAX, QUESTION_MAX);
        Ok(Self { verifier: open(&setting.verifier)?, registrar: open(&setting.registrar)?, db })
    }

    /// The agent that an endpoint's record names.
    async fn agent(&self, endpoint: &EndpointId) -> Result<Option<(String, Option<String>)>, PlaneError> {
        let failed = |error: db::DbError| PlaneError(error.chain());
        let known =
            db::endpoint::get(&mut *self.db.read().await.map_err(failed)?, endpoint).await.map_err(failed)?;
        let Some(known) = known else { return Ok(None) };
        let Some(agent) = known.record.labels.get(LABEL) else { return Ok(None) };
        if !agent.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return Err(PlaneError(format!("label {LABEL} of {endpoint} is no name that Keylime gives")));
        }
        Ok(Some((agent.to_owned(), known.ek_sha256)))
    }

    async fn reset(&self, endpoint: &EndpointId) -> Result<(), PlaneError> {
        let Some((agent, _)) = self.agent(endpoint).await? else { return Ok(()) };
        // It may take its time (202): gone is what a look says.
        self.gone(&self.verifier, "the verifier", &agent).await?;
        self.gone(&self.registrar, "the registrar", &agent).await
    }

    async fn gone(&self, side: &Pinned, who: &str, agent: &str) -> Result<(), PlaneError> {
        let path = path(side, who, agent).await?;
        let deleted = ask(side, who, Method::DELETE, &path, None).await?;
        if !deleted.status.is_success() && deleted.status != StatusCode::NOT_FOUND {
            return Err(said_no(who, &deleted));
        }
        match ask(side, who, Method::GET, &path, None).await? {
            answer if answer.status == StatusCode::NOT_FOUND => Ok(()),
            answer if answer.status.is_success() => {
                Err(PlaneError(format!("{who} still has the record of {agent}")))
            }
            answer => Err(said_no(who, &answer)),
        }
    }

    async fn add(&self, endpoint: &EndpointId, registration: &Registration) -> Result<(), PlaneError> {
        let Some((agent, ek_sha256)) = self.agent(endpoint).await? else { return Ok(()) };
        let who = "the registrar";
        let found =
            ask(&self.registrar, who, Method::GET, &path(&self.registrar, who, &agent).await?, None).await?;
        if found.status == StatusCode::NOT_FOUND {
            return Err(PlaneError(format!("agent {agent} has not registered itself yet")));
        }
        let found = results(who, &found)?;
        same_tpm(&found, ek_sha256.as_deref()).map_err(PlaneError)?;
        let who = "the verifier";
        let path = path(&self.verifier, who, &agent).await?;
        let order = order(&found, registration);
        let added = ask(&self.verifier, who, Method::POST, &path, Some(&order)).await?;
        // It is there since an earlier call whose answer was lost: what was there before the recovery was taken away.
        if added.status.is_success() || added.status == StatusCode::CONFLICT {
            Ok(())
        } else {
            Err(said_no(who, &added))
        }
    }

    async fn look(&self, endpoint: &EndpointId) -> Result<Observed, PlaneError> {
        let Some((agent, _)) = self.agent(endpoint).await? else { return Ok(Observed::Nothing) };
        let who = "the verifier";
        let answer =
            ask(&self.verifier, who, Method::GET, &path(&self.verifier, who, &agent).await?, None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Observed::NotYet(format!("the verifier does not know {agent} yet")));
        }
        Ok(observed(&results(who, &answer)?))
    }
}

/// What the verifier says of an agent. It has looked only when it counts at least one attestation.
fn observed(agent: &Value) -> Observed {
    let (state, status) = (agent["operational_state"].as_u64(), agent["attestation_status"].as_str());
    let looked = agent["attestation_count"].as_u64().unwrap_or(0) > 0;
    match (state, status) {
        // `Get Quote` and its retry, or an agent that pushes: it goes on asking because the last answer was right.
        (None | Some(3 | 4), Some("PASS")) if looked => Observed::Passes,
        _ => {
            let state = state.map_or("none".to_owned(), |state| state.to_string());
            let status = status.unwrap_or("none");
            Observed::NotYet(format!("no attestation passed yet (state {state}, status {status})"))
        }
    }
}

/// Whether the TPM that registered is the endpoint's: the EK of P-256 that is on record. Keylime's agents may show their RSA key, of which
/// nothing is on record; then nothing is compared.
fn same_tpm(registered: &Value, ek_sha256: Option<&str>) -> Result<(), String> {
    let Some(on_record) = ek_sha256 else { return Ok(()) };
    let ek =
        registered["ek_tpm"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok()).unwrap_or_default();
    // TPM2B_PUBLIC: a length, then the public area.
    let Some(ek) = ek.get(2..).and_then(|public| EccPublic::parse(public).ok()) else { return Ok(()) };
    let shown = ek.spki_sha256().to_string();
    if shown == on_record {
        Ok(())
    } else {
        Err(format!(
            "the agent registered with the TPM {shown}, on record is {on_record}: it is another machine"
        ))
    }
}

/// How the agent is added: as the registrar knows it, with the values that its PCRs must have.
fn order(registered: &Value, registration: &Registration) -> Value {
    let mask = registration.pcrs.keys().fold(0_u32, |mask, pcr| mask | 1 << pcr);
    let mut policy: serde_json::Map<String, Value> =
        registration.pcrs.iter().map(|(pcr, value)| (pcr.to_string(), json!([value]))).collect();
    policy.insert("mask".to_owned(), json!(format!("{mask:#x}")));
    let metadata = json!({ "groundstate_job": registration.job, "groundstate_image": registration.image });
    json!({
        "v": null,
        "cloudagent_ip": registered["ip"],
        "cloudagent_port": registered["port"],
        "tpm_policy": Value::Object(policy).to_string(),
        "runtime_policy": "",
        "runtime_policy_name": "",
        "runtime_policy_key": "",
        "mb_policy": "",
        "mb_policy_name": "",
        "ima_sign_verification_keys": "",
        "metadata": metadata.to_string(),
        "revocation_key": "",
        "accept_tpm_hash_algs": ["sha512", "sha384", "sha256"],
        "accept_tpm_encryption_algs": ["ecc", "rsa"],
        "accept_tpm_signing_algs": ["ecschnorr", "rsassa", "ecdsa"],
        "supported_version": "2.2",
        "ak_tpm": registered["aik_tpm"],
        "mtls_cert": registered["mtls_cert"],
    })
}

/// An agent's path in the newest 2.x that this side speaks: in 3.0 agents are not found under their old one (keylime 7.14).
async fn path(side: &Pinned, who: &str, agent: &str) -> Result<String, PlaneError> {
    let versions = results(who, &ask(side, who, Method::GET, "/version", None).await?)?;
    let all = versions["supported_versions"].as_array().cloned().unwrap_or_default();
    let minor = |version: &Value| version.as_str()?.strip_prefix("2.")?.parse::<u32>().ok();
    let newest = all.iter().chain([&versions["current_version"]]).filter_map(minor).max();
    let newest = newest.ok_or_else(|| PlaneError(format!("{who} speaks no version 2.x")))?;
    Ok(format!("/v2.{newest}/agents/{agent}"))
}

async fn ask(
    side: &Pinned,
    who: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Answer, PlaneError> {
    let headers: &[(&str, &str)] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
    let body = body.map(Value::to_string).unwrap_or_default().into_bytes();
    side.ask(method, path, headers, body).await.map_err(|why| PlaneError(format!("{who}: {why}")))
}

fn results(who: &str, answer: &Answer) -> Result<Value, PlaneError> {
    if !answer.status.is_success() {
        return Err(said_no(who, answer));
    }
    let mut read: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| PlaneError(format!("{who}: the answer cannot be understood: {error}")))?;
    Ok(read["results"].take())
}

fn said_no(who: &str, answer: &Answer) -> PlaneError {
    let text = String::from_utf8_lossy(&answer.body);
    let text: String = text.chars().filter(|c| !c.is_control()).take(WORDS_MOST).collect();
    PlaneError(format!("{who} says {} {text}", answer.status))
}

impl ControlPlane for Keylime {
    fn reset_record<'a>(&'a self, endpoint: &'a EndpointId, _: u64) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(self.reset(endpoint))
    }

    fn register<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        _: u64,
        registration: &'a Registration,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(self.add(endpoint, registration))
    }

    fn observe<'a>(&'a self, endpoint: &'a EndpointId) -> BoxFuture<'a, Result<Observed, PlaneError>> {
        Box::pin(self.look(endpoint))
    }

    fn lift_quarantine<'a>(&'a self, _: &'a EndpointId, _: u64) -> BoxFuture<'a, Result<(), PlaneError>> {
        // Keylime knows no quarantine: an agent that passes is in.
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests;
