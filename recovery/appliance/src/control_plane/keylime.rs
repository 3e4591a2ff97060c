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
use recovery_protocol::{EndpointId, JobId, tpm::EccPublic};
use serde_json::{Value, json};

use super::{ControlPlane, Observed, PlaneError, Registration};
use crate::{
    asking::pinned::{Answer, FileError, Known, Pinned},
    config::KeylimePlane,
    db::{self, Db, endpoint::Record},
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

    /// The agent that an endpoint's record names, and the TPM on record.
    async fn agent(&self, endpoint: &EndpointId) -> Result<Option<(String, Option<String>)>, PlaneError> {
        let known = db::endpoint::get(&mut *self.db.read().await.map_err(failed)?, endpoint).await;
        let Some(known) = known.map_err(failed)? else { return Ok(None) };
        let agent = agent_of(&known.record).map_err(PlaneError::Refused)?;
        Ok(agent.map(|agent| (agent, known.ek_sha256)))
    }

    async fn reset(&self, endpoint: &EndpointId, agent: &str) -> Result<(), PlaneError> {
        if self.of_another(endpoint, agent).await? {
            return Ok(());
        }
        // It may take its time (202): gone is what a look says.
        self.gone(&self.verifier, "the verifier", agent).await?;
        self.gone(&self.registrar, "the registrar", agent).await
    }

    /// Whether the verifier has it by a job of another endpoint: the agent's name went on record there, and it was recovered as that.
    async fn of_another(&self, endpoint: &EndpointId, agent: &str) -> Result<bool, PlaneError> {
        let Some(job) = self.record(agent).await?.as_ref().and_then(job_of) else { return Ok(false) };
        let Ok(job) = job.parse() else { return Ok(false) };
        let row = db::job::get(&mut *self.db.read().await.map_err(failed)?, job).await.map_err(failed)?;
        Ok(row.is_some_and(|row| row.job.endpoint != *endpoint))
    }

    /// What the verifier has of an agent.
    async fn record(&self, agent: &str) -> Result<Option<Value>, PlaneError> {
        let who = "the verifier";
        let path = path(&self.verifier, who, agent).await?;
        let answer = ask(&self.verifier, who, Method::GET, &path, None).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(None) } else { results(who, &answer).map(Some) }
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
                Err(PlaneError::Refused(format!("{who} still has the record of {agent}")))
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
            return Err(PlaneError::Refused(format!("agent {agent} has not registered itself yet")));
        }
        let found = results(who, &found)?;
        same_tpm(&found, ek_sha256.as_deref()).map_err(PlaneError::Refused)?;
        let who = "the verifier";
        let path = path(&self.verifier, who, &agent).await?;
        let order = order(&found, registration);
        let added = ask(&self.verifier, who, Method::POST, &path, Some(&order)).await?;
        if added.status != StatusCode::CONFLICT {
            return if added.status.is_success() { Ok(()) } else { Err(said_no(who, &added)) };
        }
        // It is there: by this job, whose earlier answer was lost, or somebody else put it there since.
        if self.record(&agent).await?.as_ref().and_then(job_of).as_ref() == Some(&registration.job) {
            return Ok(());
        }
        self.gone(&self.verifier, who, &agent).await?;
        let added = ask(&self.verifier, who, Method::POST, &path, Some(&order)).await?;
        if added.status.is_success() { Ok(()) } else { Err(said_no(who, &added)) }
    }

    async fn look(&self, endpoint: &EndpointId, job: JobId) -> Result<Observed, PlaneError> {
        let Some((agent, _)) = self.agent(endpoint).await? else { return Ok(Observed::Nothing) };
        let Some(record) = self.record(&agent).await? else {
            return Ok(Observed::NotYet(format!("the verifier does not know {agent} yet")));
        };
        Ok(observed(&record, job))
    }
}

fn failed(error: db::DbError) -> PlaneError {
    PlaneError::Refused(error.chain())
}

/// The agent that a record names.
pub(super) fn agent_of(record: &Record) -> Result<Option<String>, String> {
    let Some(agent) = record.labels.get(LABEL) else { return Ok(None) };
    if agent.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        Ok(Some(agent.to_owned()))
    } else {
        Err(format!("its label {LABEL} is no name that Keylime gives"))
    }
}

/// By which of our jobs the verifier has an agent.
fn job_of(agent: &Value) -> Option<String> {
    let said: Value = serde_json::from_str(agent["meta_data"].as_str()?).ok()?;
    said["groundstate_job"].as_str().map(str::to_owned)
}

/// What the verifier says of an agent that it has by this job. It has looked only when it counts at least one attestation.
fn observed(agent: &Value, job: JobId) -> Observed {
    if job_of(agent) != Some(job.to_string()) {
        return Observed::NotYet("what the verifier has is of before this recovery".to_owned());
    }
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

/// Whether the TPM that registered is the endpoint's: the EK of P-256 that is on record. Keylime's agents show their RSA key unless they are
/// told otherwise; nothing is on record of that one, and what cannot be compared is refused.
fn same_tpm(registered: &Value, ek_sha256: Option<&str>) -> Result<(), String> {
    let Some(on_record) = ek_sha256 else {
        return Err("no TPM is on record with which the agent's could be compared: the endpoint must prove itself here \
                    once (recover it, or let its agent come), then it is told again"
            .to_owned());
    };
    let ek =
        registered["ek_tpm"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok()).unwrap_or_default();
    // TPM2B_PUBLIC: a length, then the public area.
    let Some(ek) = ek.get(2..).and_then(|public| EccPublic::parse(public).ok()) else {
        return Err(format!(
            "the agent registered with an endorsement key that is not of P-256, and on record is {on_record}, which is: whether it is the same \
             TPM cannot be told; set `tpm_encryption_alg = \"ecc\"` in the agent's configuration and start it again"
        ));
    };
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
    let newest = newest.ok_or_else(|| PlaneError::Refused(format!("{who} speaks no version 2.x")))?;
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
    side.ask(method, path, headers, body).await.map_err(|why| PlaneError::Silent(format!("{who}: {why}")))
}

fn results(who: &str, answer: &Answer) -> Result<Value, PlaneError> {
    if !answer.status.is_success() {
        return Err(said_no(who, answer));
    }
    let mut read: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| PlaneError::Refused(format!("{who}: the answer cannot be understood: {error}")))?;
    Ok(read["results"].take())
}

fn said_no(who: &str, answer: &Answer) -> PlaneError {
    let text = String::from_utf8_lossy(&answer.body);
    let text: String = text.chars().filter(|c| !c.is_control()).take(WORDS_MOST).collect();
    PlaneError::Refused(format!("{who} says {} {text}", answer.status))
}

impl ControlPlane for Keylime {
    fn known_as<'a>(&'a self, endpoint: &'a EndpointId) -> BoxFuture<'a, Result<Option<String>, PlaneError>> {
        Box::pin(async move { Ok(self.agent(endpoint).await?.map(|(agent, _)| agent)) })
    }

    fn reset_record<'a>(&'a self, endpoint: &'a EndpointId, _: u64) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move {
            let Some((agent, _)) = self.agent(endpoint).await? else { return Ok(()) };
            self.reset(endpoint, &agent).await
        })
    }

    fn reset_name<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        _: u64,
        name: &'a str,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(self.reset(endpoint, name))
    }

    fn register<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        _: u64,
        registration: &'a Registration,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(self.add(endpoint, registration))
    }

    fn observe<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        job: JobId,
    ) -> BoxFuture<'a, Result<Observed, PlaneError>> {
        Box::pin(self.look(endpoint, job))
    }

    fn lift_quarantine<'a>(&'a self, _: &'a EndpointId, _: u64) -> BoxFuture<'a, Result<(), PlaneError>> {
        // Keylime knows no quarantine: an agent that passes is in.
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests;
