//! Triggers from outside: `POST /hooks/v1/<source>`, each source in its own dialect. A webhook is a hint.
//!
//! ```text
//! who sends ([`auth`]) ─► what is said ([`wire`]) ─► scope, rate, stored, decided ─► answer ─► asked back ([`confirm`])
//!       401                     400                   403, 404, 409, 429          200, 202     ├─ "fail" ─► Service::trigger(confirmed)
//!                                                                                             ├─ "pass" ─► evidence: withdrawn
//!                                                                                             └─ silence ► evidence: unconfirmed
//! ```
//!
//! A message may say several things (a batch): each is taken or refused by itself, and the answer comes when all that is taken is on
//! disk. Open routes: what a message shows of its sender is what lets it in. A refusal is in evidence once a minute and source, with how
//! many there were: a stranger must not be able to fill the log.
//!
//! It must never: start anything that a source only said once, or speak for an endpoint outside a source's scope.

mod auth;
mod confirm;
mod keylime;
mod poll;
pub(crate) mod signature;
pub mod wire;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    body::Bytes,
    extract::{DefaultBodyLimit, Extension, Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use recovery_protocol::Problem;
use rustls::DistinguishedName;
use serde_json::json;
use tokio::sync::Notify;

pub use self::{auth::HookError, confirm::Confirmations};
use self::{
    auth::Shows,
    wire::{Class, Dialect, Said, Unreadable},
};
use crate::{
    api::{People, Refusal, Route},
    config::Hook,
    service::{Actor, Report, Service, TriggerOutcome},
    tls::Peer,
};

/// Longest message, in bytes. It is kept as received.
const BODY_LEN_MAX: usize = 256 * 1024;
const NOTED_EVERY: Duration = Duration::from_secs(60);

struct Source {
    shows: Shows,
    hook: Hook,
}

/// A refusal of a source that was put into evidence, and how many came since.
#[derive(Debug, Clone, Copy)]
struct Noted {
    at: Instant,
    since: u64,
}

/// The configured sources.
pub struct Hooks {
    sources: BTreeMap<String, Source>,
    /// Somebody is to be asked back.
    wake: Arc<Notify>,
    noted: Mutex<HashMap<String, Noted>>,
}

impl Hooks {
    /// Read what all sources must show. The second half asks the sources back: `daemon` runs it.
    ///
    /// # Errors
    /// [`HookError`] names the source and its file.
    pub fn open(hooks: &BTreeMap<String, Hook>) -> Result<(Self, Confirmations), HookError> {
        let mut sources = BTreeMap::new();
        for (name, hook) in hooks {
            sources.insert(name.clone(), Source { shows: Shows::read(name, hook)?, hook: hook.clone() });
        }
        let wake = Arc::new(Notify::new());
        let confirmations = Confirmations::open(hooks, Arc::clone(&wake))?;
        Ok((Self { sources, wake, noted: Mutex::default() }, confirmations))
    }

    /// Issuers of the TLS client certificates that sources show: the listener asks for those.
    #[must_use]
    pub fn client_issuers(&self) -> Vec<DistinguishedName> {
        self.sources.values().filter_map(|source| source.shows.issuer.clone()).collect()
    }

    async fn note_refusal(&self, service: &Service, source: &str, problem: &Problem) {
        tracing::warn!(source, code = problem.code, detail = problem.detail, "webhook refused");
        service.refused(&problem.code);
        let now = Instant::now();
        let unsaid = {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            match noted.get_mut(source) {
                Some(last) if now.duration_since(last.at) < NOTED_EVERY => {
                    last.since += 1;
                    None
                }
                before => {
                    let unsaid = before.map_or(0, |last| last.since);
                    noted.insert(source.to_owned(), Noted { at: now, since: 0 });
                    Some(unsaid)
                }
            }
        };
        if let Some(unsaid) = unsaid {
            let facts =
                json!({ "code": problem.code, "detail": problem.detail, "more_since_the_last": unsaid });
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
    let route = post(receive).options(greet).layer(DefaultBodyLimit::max(BODY_LEN_MAX));
    vec![("/hooks/v1/{source}", route)]
}

/// Headers as the decoders want them.
struct Head<'a>(&'a HeaderMap);

impl wire::Head for Head<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|value| value.to_str().ok())
    }
}

async fn receive(
    State(people): State<People>,
    Path(name): Path<String>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Refusal> {
    let hooks = &people.hooks;
    let source = hooks.sources.get(&name).ok_or_else(|| unknown(&name))?;
    let read = match body {
        Ok(body) => read(source, peer.as_deref(), &headers, &body).map(|items| (body, items)),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_long()),
        Err(rejection) => Err(unreadable(&Unreadable(rejection.to_string()))),
    };
    let (body, items) = match read {
        Ok(read) => read,
        Err(problem) => {
            hooks.note_refusal(&people.service, &name, &problem).await;
            return Err(Refusal(problem));
        }
    };
    take(&people, &name, source, &body, items).await.map_err(Refusal)
}

/// Check who sends, then read. Nothing of the body is parsed before its sender is known.
fn read(
    source: &Source,
    peer: Option<&Peer>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<wire::Item>, Problem> {
    let certificate = peer.and_then(|peer| peer.certificate.as_ref());
    source.shows.check(headers, certificate, body).map_err(|why| {
        let title = "The webhook's sender was not accepted";
        Problem::new(401, "webhook-refused", title, why.to_string(), why.remedy())
    })?;
    wire::read(&source.hook.rules(), &Head(headers), body).map_err(|why| unreadable(&why))
}

/// Store and decide what can be, and answer: refused where nothing was taken, or where the sender must come again.
async fn take(
    people: &People,
    name: &str,
    source: &Source,
    body: &[u8],
    items: Vec<wire::Item>,
) -> Result<Response, Problem> {
    let (said, unread): (Vec<_>, Vec<_>) = items.into_iter().partition(Result::is_ok);
    let said: Vec<Said> = said.into_iter().flatten().collect();
    let mut refused: Vec<Problem> =
        unread.into_iter().filter_map(Result::err).map(|why| unreadable(&why)).collect();
    let mut taken = 0_usize;
    if !said.is_empty() {
        let report = Report { source: name, hook: &source.hook, raw: body, said: &said };
        for (outcome, one) in people.service.report(report).await?.into_iter().zip(&said) {
            match outcome {
                Ok(TriggerOutcome { first, .. }) => {
                    taken += 1;
                    if first && one.class == Class::Integrity {
                        people.hooks.wake.notify_one();
                    }
                }
                Err(problem) => refused.push(problem),
            }
        }
    }
    for problem in &refused {
        people.hooks.note_refusal(&people.service, name, problem).await;
    }
    // Whoever is told "too many" comes again with all of it; what was taken is then known.
    if let Some(at) = refused.iter().position(|problem| problem.status == 429) {
        return Err(refused.swap_remove(at));
    }
    if taken == 0
        && let Some(problem) = refused.pop()
    {
        return Err(problem);
    }
    Ok(answer(source.hook.kind, taken, &refused))
}

/// Keylime counts a webhook as sent only by 200 or 202.
fn answer(kind: Dialect, taken: usize, refused: &[Problem]) -> Response {
    let status = if kind == Dialect::Keylime { StatusCode::OK } else { StatusCode::ACCEPTED };
    let refused: Vec<_> = refused.iter().map(|p| json!({ "code": p.code, "detail": p.detail })).collect();
    let body = json!({ "taken": taken, "refused": refused });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// A sender of CloudEvents asks first whether it may ("HTTP 1.1 Web Hooks for Event Delivery" 1.0.2, section 4).
async fn greet(
    State(people): State<People>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let source = people.hooks.sources.get(&name).ok_or_else(|| unknown(&name))?;
    let origin = headers.get("webhook-request-origin").filter(|origin| origin.len() <= 253);
    let (Dialect::CloudEvents, Some(origin)) = (source.hook.kind, origin) else {
        let detail = format!("source `{name}` takes messages by POST");
        let remedy = "send the message itself";
        return Err(Refusal(Problem::new(405, "unknown-method", "Not this way", detail, remedy)));
    };
    // A minute's share of the hour, and at least one.
    let rate = (source.hook.max_per_hour / 60).max(1).to_string();
    let headers = [
        ("webhook-allowed-origin", origin.clone()),
        ("webhook-allowed-rate", rate.parse().unwrap_or_else(|_| header::HeaderValue::from_static("1"))),
        ("allow", header::HeaderValue::from_static("POST")),
    ];
    Ok((StatusCode::OK, headers).into_response())
}

fn unknown(name: &str) -> Refusal {
    let remedy = "configure it under [hooks], or correct the sender's URL";
    let detail = format!("`{}`", wire::clean(name, 80));
    Refusal(Problem::new(404, "unknown-source", "No such webhook source", detail, remedy))
}

fn too_long() -> Problem {
    let detail = format!("more than {BODY_LEN_MAX} bytes came");
    let remedy = "let the sender group less into one message";
    Problem::new(413, "webhook-too-long", "The webhook is too long", detail, remedy)
}

fn unreadable(why: &Unreadable) -> Problem {
    let remedy = "compare the message with the source's `kind`: README.md shows one of each";
    Problem::new(400, "bad-webhook", "The webhook cannot be understood", why.to_string(), remedy)
}

#[cfg(test)]
mod tests;
