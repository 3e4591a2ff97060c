//! Asking a source back: only what it says again, when asked, counts as confirmed.
//!
//! Up to eight questions run at once, each tried three times within about 20 seconds. A source without `confirm_url`,
//! one that stays silent and one that answers about another endpoint confirm nothing; evidence says which it was. What was
//! not asked before a stop or a crash is asked after the next start.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use recovery_protocol::EndpointId;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use ureq::{
    Agent,
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

use crate::service::{Actor, Service, Trigger};

const AT_ONCE: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(5);
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
const ANSWER_LEN_MAX: u64 = 64 * 1024;
/// Where the system keeps the authorities that it trusts; a site adds its own with `update-ca-certificates`.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A stored trigger whose source is still to be asked.
#[derive(Debug)]
pub struct Pending {
    /// The trigger as stored.
    pub trigger: Trigger,
    /// Whom to ask.
    pub confirm_url: Option<String>,
}

/// The receiving end of the queue, and what a stop left over.
pub struct Confirmations {
    left: Vec<Pending>,
    pending: mpsc::Receiver<Pending>,
}

/// What a source answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Answer {
    endpoint: EndpointId,
    status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Fail,
    Pass,
}

impl Confirmations {
    pub(super) fn new(pending: mpsc::Receiver<Pending>) -> Self {
        Self { left: Vec::new(), pending }
    }

    /// Take up what was stored and not asked back before: it goes first.
    pub(super) fn recall(&mut self, left: Vec<Pending>) {
        self.left = left;
    }

    /// Ask back until `stop`. Cancel-safe: what was not asked stays stored, starts nothing, and is asked after the next start.
    pub async fn run(self, service: Service, stop: CancellationToken) {
        let agent = agent();
        let all = futures_util::stream::iter(self.left).chain(ReceiverStream::new(self.pending));
        let all = all.for_each_concurrent(AT_ONCE, |pending| {
            let (agent, service) = (agent.clone(), service.clone());
            async move { settle(&agent, &service, pending).await }
        });
        tokio::select! {
            () = all => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn settle(agent: &Agent, service: &Service, pending: Pending) {
    let Pending { trigger, confirm_url } = pending;
    let (source, endpoint) = (trigger.source.clone(), trigger.endpoint.clone());
    let answer = match confirm_url {
        None => Err("the source has no `confirm_url`".to_owned()),
        Some(url) => ask_patiently(agent, &url, &endpoint).await,
    };
    let actor = Actor::trigger(&source);
    let facts = |why: &str| json!({ "delivery": trigger.delivery_key, "why": why });
    let noted = match answer {
        Ok(Status::Fail) => {
            let confirmed = Trigger {
                delivery_key: format!("{}#confirmed", trigger.delivery_key),
                confirmed: true,
                ..trigger.clone()
            };
            match service.trigger(confirmed).await {
                Ok(outcome) => {
                    tracing::info!(%endpoint, source, decision = ?outcome.decision, "trigger confirmed");
                    Ok(())
                }
                Err(problem) => Err(problem),
            }
        }
        Ok(Status::Pass) => {
            let why = "asked again, the source says that the endpoint passes: nothing was started";
            service.note("trigger.withdrawn", &actor, Some(&endpoint), None, facts(why)).await
        }
        Err(why) => {
            tracing::warn!(%endpoint, source, why, "trigger not confirmed: nothing was started");
            service.note("trigger.unconfirmed", &actor, Some(&endpoint), None, facts(&why)).await
        }
    };
    // Last of all: a crash before this asks once more, and a delivery that was confirmed starts nothing twice.
    let settled = match noted {
        Ok(()) => service.settle_trigger(&source, &trigger.delivery_key).await,
        Err(problem) => Err(problem),
    };
    if let Err(error) = settled {
        tracing::error!(%endpoint, source, %error, "the outcome of a confirmation could not be recorded");
    }
}

async fn ask_patiently(agent: &Agent, url: &str, endpoint: &EndpointId) -> Result<Status, String> {
    let mut why = String::new();
    for attempt in 0..=PAUSES.len() {
        let (agent, url, asked) = (agent.clone(), url.to_owned(), endpoint.clone());
        let answer = tokio::task::spawn_blocking(move || ask(&agent, &url, &asked)).await;
        match answer.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(status) => return Ok(status),
            Err(error) => why = error,
        }
        if let Some(pause) = PAUSES.get(attempt) {
            tokio::time::sleep(*pause).await;
        }
    }
    Err(why)
}

fn ask(agent: &Agent, url: &str, endpoint: &EndpointId) -> Result<Status, String> {
    let mut response = agent
        .get(url)
        .query("endpoint", endpoint.as_str())
        .call()
        .map_err(|error| format!("no answer: {error}"))?;
    let text = response
        .body_mut()
        .with_config()
        .limit(ANSWER_LEN_MAX)
        .read_to_vec()
        .map_err(|error| error.to_string())?;
    let answer: Answer =
        serde_json::from_slice(&text).map_err(|error| format!("the answer cannot be understood: {error}"))?;
    if answer.endpoint == *endpoint {
        Ok(answer.status)
    } else {
        Err(format!("the answer is about {}, not {endpoint}", answer.endpoint))
    }
}

fn agent() -> Agent {
    let roots: Vec<Certificate<'static>> = std::fs::read(SYSTEM_ROOTS)
        .map(|pem| {
            let certificate = |item| {
                if let Ok(PemItem::Certificate(certificate)) = item { Some(certificate) } else { None }
            };
            parse_pem(&pem).filter_map(certificate).collect()
        })
        .unwrap_or_default();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config =
        Agent::config_builder().timeout_global(Some(TIMEOUT)).max_redirects(0).tls_config(tls).build();
    Agent::new_with_config(config)
}
