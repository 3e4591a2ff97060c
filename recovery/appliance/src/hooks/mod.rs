//! Webhooks: `POST /hooks/v1/<source>`, by which an attestation verifier reports an endpoint. A webhook is a hint.
//!
//! ```text
//! signature, time ─► scope ─► stored, deduped (202) ─► queue ─► GET confirm_url ─┬─ "fail" ─► Service::trigger(confirmed)
//!      401             403          by webhook-id                                ├─ "pass" ─► evidence: withdrawn
//!                                                                                └─ silence ► evidence: unconfirmed
//! ```
//!
//! The body: `{"type": "endpoint.attestation.failed", "data": {"endpoint": "press-01", "detail": "PCR 4 differs"}}`;
//! `endpoint.unreachable` is the other known type, all others are alerts. The source is asked as `GET
//! <confirm_url>?endpoint=<id>` and answers `{"endpoint": "<id>", "status": "fail" | "pass"}`. Open routes: the
//! signature is what lets a message in.
//!
//! It must never: start anything that a source only said once, or speak for an endpoint outside a source's scope.

mod confirm;
mod signature;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use recovery_protocol::{EndpointId, Problem};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

pub use self::confirm::Confirmations;
use self::{
    confirm::Pending,
    signature::{BadSecret, Secrets, Unsigned},
};
use crate::{
    api::{People, Refusal, Route},
    config::Hook,
    service::{Actor, Service, Trigger, TriggerClass},
};

const QUEUE_LEN: usize = 64;
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// Why the sources cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// A secret file cannot be read.
    #[error(
        "the secret of webhook source `{source_name}` cannot be read from {path}; create it or correct `secret_file`"
    )]
    Unreadable {
        /// The source.
        source_name: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A secret file holds no usable secret.
    #[error(
        "the secret of webhook source `{source_name}` in {path} cannot be used: {why}; write one `whsec_<base64>` a line"
    )]
    Secret {
        /// The source.
        source_name: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        why: BadSecret,
    },
}

struct Source {
    secrets: Secrets,
    hook: Hook,
}

/// The configured sources and the queue of what they said.
pub struct Hooks {
    sources: BTreeMap<String, Source>,
    queue: mpsc::Sender<Pending>,
    /// When a refusal of a source was last put into evidence: a stranger must not be able to fill the log.
    noted: Mutex<HashMap<String, Instant>>,
}

impl Hooks {
    /// Read the secrets of all sources. The second half asks the sources back: `daemon` runs it.
    ///
    /// # Errors
    /// [`HookError`] names the source and its file.
    pub fn open(hooks: &BTreeMap<String, Hook>) -> Result<(Self, Confirmations), HookError> {
        let mut sources = BTreeMap::new();
        for (name, hook) in hooks {
            let (source_name, path) = (name.clone(), hook.secret_file.clone());
            let text = std::fs::read_to_string(&path).map_err(|source| HookError::Unreadable {
                source_name: source_name.clone(),
                path: path.clone(),
                source,
            })?;
            let secrets =
                Secrets::parse(&text).map_err(|why| HookError::Secret { source_name, path, why })?;
            sources.insert(name.clone(), Source { secrets, hook: hook.clone() });
        }
        let (queue, pending) = mpsc::channel(QUEUE_LEN);
        Ok((Self { sources, queue, noted: Mutex::default() }, Confirmations::new(pending)))
    }

    /// Hand over what was stored before the last stop and never asked back. A source that is not configured any more cannot
    /// be asked: its word ends as unconfirmed. Says how many there are.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn recall(
        &self,
        service: &Service,
        confirmations: &mut Confirmations,
    ) -> Result<usize, Problem> {
        let left: Vec<Pending> = service
            .unsettled_triggers()
            .await?
            .into_iter()
            .filter_map(|unsettled| {
                let confirm_url =
                    self.sources.get(&unsettled.source).and_then(|s| s.hook.confirm_url.clone());
                let trigger = understood(&unsettled.source, &unsettled.delivery, &unsettled.raw).ok()?;
                Some(Pending { trigger, confirm_url })
            })
            .collect();
        let count = left.len();
        if count > 0 {
            tracing::info!(count, "webhooks whose sources are still to be asked back");
        }
        confirmations.recall(left);
        Ok(count)
    }

    async fn note_refusal(&self, service: &Service, source: &str, problem: &Problem) {
        tracing::warn!(source, code = problem.code, detail = problem.detail, "webhook refused");
        let now = Instant::now();
        let recently = {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            let before = noted.get(source).copied();
            let recently = before.is_some_and(|at| now.duration_since(at) < NOTED_EVERY);
            if !recently {
                noted.insert(source.to_owned(), now);
            }
            recently
        };
        if !recently {
            let facts = json!({ "code": problem.code, "detail": problem.detail });
            if let Err(error) =
                service.note("refusal.webhook", &Actor::trigger(source), None, None, facts).await
            {
                tracing::error!(%error, "a refused webhook could not be put into evidence");
            }
        }
    }
}

/// The route.
pub fn routes() -> Vec<Route> {
    vec![("/hooks/v1/{source}", post(receive).layer(DefaultBodyLimit::max(64 * 1024)))]
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    data: MessageData,
}

#[derive(Deserialize)]
struct MessageData {
    endpoint: EndpointId,
    #[serde(default)]
    detail: String,
}

async fn receive(
    State(people): State<People>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let hooks = &people.hooks;
    let Some(source) = hooks.sources.get(&name) else {
        let remedy = "configure it under [hooks], or correct the sender's URL";
        return Err(Refusal(Problem::new(
            404,
            "unknown-source",
            "No such webhook source",
            format!("`{name}`"),
            remedy,
        )));
    };
    match read(source, &name, &headers, &body) {
        Ok(trigger) => take(&people, source, trigger).await.map_err(Refusal),
        Err(problem) => {
            hooks.note_refusal(&people.service, &name, &problem).await;
            Err(Refusal(problem))
        }
    }
}

/// Check and read one message. Its signature comes before everything else, also before the JSON parser.
fn read(source: &Source, name: &str, headers: &HeaderMap, body: &[u8]) -> Result<Trigger, Problem> {
    let signed = source.secrets.check(headers, body, unix_seconds()).map_err(|why| {
        let remedy = match why {
            Unsigned::Header(_) => {
                "send webhook-id, webhook-timestamp and webhook-signature (Standard Webhooks)"
            }
            Unsigned::Stale(_) => {
                "set the sender's and the appliance's clocks; an old message is sent anew, signed anew"
            }
            Unsigned::Wrong => "give sender and appliance the same secret",
        };
        Problem::new(
            401,
            "webhook-refused",
            "The webhook's signature was not accepted",
            why.to_string(),
            remedy,
        )
    })?;
    let trigger = understood(name, signed.id, body)?;
    let endpoint = &trigger.endpoint;
    if !source.hook.covers(endpoint) {
        let detail = format!("source `{name}` may not speak about {endpoint}");
        let remedy = "add the endpoint to the source's `endpoints`, or mend the sender";
        return Err(Problem::new(403, "endpoint-out-of-scope", "Not this source's endpoint", detail, remedy));
    }
    Ok(trigger)
}

/// What a message says; whether its source may say it is settled before.
fn understood(source: &str, delivery: &str, body: &[u8]) -> Result<Trigger, Problem> {
    let message: Message = serde_json::from_slice(body).map_err(|error| {
        let remedy = r#"send {"type": "endpoint.attestation.failed", "data": {"endpoint": "<name>"}}"#;
        Problem::new(400, "bad-webhook", "The webhook cannot be understood", error.to_string(), remedy)
    })?;
    let endpoint = message.data.endpoint;
    let class = match message.kind.as_str() {
        "endpoint.attestation.failed" => TriggerClass::Integrity,
        "endpoint.unreachable" => TriggerClass::Unreachable,
        _ => TriggerClass::Alert,
    };
    let reason = if message.data.detail.is_empty() { message.kind } else { message.data.detail };
    let (source, delivery_key) = (source.to_owned(), delivery.to_owned());
    Ok(Trigger { source, delivery_key, endpoint, class, reason, raw: body.to_vec(), confirmed: false })
}

/// Store, then queue the question back; a full queue is said before anything is stored, so that the sender tries again.
async fn take(people: &People, source: &Source, trigger: Trigger) -> Result<StatusCode, Problem> {
    let place = people.hooks.queue.try_reserve().map_err(|_| {
        let remedy = "send it again in a minute; look at the appliance's log when it stays so";
        Problem::new(
            503,
            "hooks-busy",
            "Too many webhooks wait",
            "the queue of confirmations is full",
            remedy,
        )
    })?;
    let outcome = people.service.trigger(trigger.clone()).await?;
    if outcome.first && trigger.class == TriggerClass::Integrity {
        place.send(Pending { trigger, confirm_url: source.hook.confirm_url.clone() });
    }
    Ok(StatusCode::ACCEPTED)
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
