//! Asking a source back: only what it says again, when asked, counts as confirmed.
//!
//! What is to be asked lies in the database and nowhere else, so a stop, a crash or a flood loses nothing and fills no memory: up to eight
//! questions run at once, each tried three times within about 20 seconds, oldest first. A source that cannot be asked, one that stays silent
//! and one that answers about another endpoint confirm nothing; evidence says which it was. An endpoint that was taken off record in the
//! meantime is nobody's to recover: that is in evidence too, and not asked again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::BoxFuture};
use recovery_protocol::{EndpointId, Problem};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use ureq::Agent;

use super::{HookError, keylime::Verifier, poll::Poller};
use crate::{
    asking,
    config::Hook,
    db::trigger::{CONFIRMED, Unsettled},
    service::{Actor, Service, Trigger, TriggerClass},
};

const AT_ONCE: usize = 8;
/// Read from the database at once.
const BATCH: u32 = 64;
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// Looked again after so long, should the database have failed or nothing have come of a round.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How a source is asked.
enum Asked {
    /// `GET <url>?endpoint=<id>`.
    Url(String),
    /// Keylime's verifier, about its agent.
    Keylime(Arc<Verifier>),
    /// Not at all.
    Never,
}

/// Whom to ask.
pub struct Sources {
    sources: BTreeMap<String, Asked>,
    agent: Agent,
}

impl Sources {
    /// Asks a source about an endpoint, as it calls it; three tries.
    async fn ask(&self, source: &str, endpoint: &EndpointId, named: &str) -> Result<Verdict, String> {
        match self.sources.get(source) {
            Some(Asked::Url(url)) => patiently(|| ask(&self.agent, url, endpoint)).await,
            Some(Asked::Keylime(verifier)) => patiently(|| verifier.ask(named)).await,
            Some(Asked::Never) => Err("the source has neither `confirm_url` nor `verifier`".to_owned()),
            None => Err("the source is not configured any more".to_owned()),
        }
    }
}

impl crate::jobs::run::Sources for Sources {
    fn fails<'a>(
        &'a self,
        source: &'a str,
        endpoint: &'a EndpointId,
        named: &'a str,
    ) -> BoxFuture<'a, Result<bool, String>> {
        Box::pin(async move {
            self.ask(source, endpoint, named).await.map(|verdict| verdict.status == Status::Fail)
        })
    }
}

/// Whom to ask, and when.
pub struct Confirmations {
    sources: Arc<Sources>,
    pollers: Vec<Poller>,
    wake: Arc<Notify>,
}

/// What came of asking once about all that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round {
    /// So many were to be asked about.
    pub stored: usize,
    /// And so many of them need not be again.
    pub settled: usize,
}

/// What a source says when asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What it says.
    pub status: Status,
    /// Its answer as received.
    pub raw: Vec<u8>,
}

/// What a source answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Answer {
    endpoint: EndpointId,
    status: Status,
}

/// What a source says of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its integrity check fails.
    Fail,
    /// It passes.
    Pass,
}

impl Confirmations {
    pub(super) fn open(hooks: &BTreeMap<String, Hook>, wake: Arc<Notify>) -> Result<Self, HookError> {
        let (mut sources, mut pollers) = (BTreeMap::new(), Vec::new());
        for (name, hook) in hooks {
            let asked = match (&hook.verifier, &hook.confirm_url) {
                (Some(setting), _) => {
                    let verifier = Arc::new(Verifier::open(name, setting)?);
                    pollers.push(Poller::new(name, hook, Arc::clone(&verifier), Arc::clone(&wake)));
                    Asked::Keylime(verifier)
                }
                (None, Some(url)) => Asked::Url(url.clone()),
                (None, None) => Asked::Never,
            };
            sources.insert(name.clone(), asked);
        }
        let sources = Arc::new(Sources { sources, agent: asking::agent(None) });
        Ok(Self { sources, pollers, wake })
    }

    /// Whom to ask, for who asks once more.
    #[must_use]
    pub fn sources(&self) -> Arc<Sources> {
        Arc::clone(&self.sources)
    }

    /// Ask back until `stop`. Cancel-safe: what was not asked stays stored, starts nothing, and is asked after the next start.
    pub async fn run(mut self, service: Service, stop: CancellationToken) {
        let pollers = std::mem::take(&mut self.pollers);
        let looking = futures_util::future::join_all(pollers.into_iter().map(|poller| poller.run(&service)));
        let asking = async {
            loop {
                let settled = self.settle_all(&service).await;
                if let Err(error) = &settled {
                    tracing::error!(%error, "webhooks cannot be asked back");
                }
                // A full round of which nothing could be settled would be the same again at once.
                let more =
                    matches!(&settled, Ok(round) if round.stored == BATCH as usize && round.settled > 0);
                if !more {
                    let _ = tokio::time::timeout(LOOK_AGAIN, self.wake.notified()).await;
                }
            }
        };
        tokio::select! {
            _ = futures_util::future::join(asking, looking) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Ask back what is stored and unsettled.
    pub(super) async fn settle_all(&self, service: &Service) -> Result<Round, Problem> {
        let unsettled = service.unsettled_triggers(BATCH).await?;
        let stored = unsettled.len();
        let done: Vec<bool> = futures_util::stream::iter(unsettled)
            .map(|one| self.settle(service, one))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        Ok(Round { stored, settled: done.into_iter().filter(|settled| *settled).count() })
    }

    /// Ask about one; whether that is settled now.
    async fn settle(&self, service: &Service, unsettled: Unsettled) -> bool {
        let Unsettled { source, delivery, endpoint, named, reason } = unsettled;
        let answer = self.sources.ask(&source, &endpoint, &named).await;
        let actor = Actor::trigger(&source);
        let facts = |why: &str| json!({ "delivery": delivery, "why": why });
        let noted = match answer {
            Ok(Verdict { status: Status::Fail, raw }) => {
                let confirmed = Trigger {
                    source: source.clone(),
                    delivery_key: format!("{delivery}{CONFIRMED}"),
                    endpoint: endpoint.clone(),
                    class: TriggerClass::Integrity,
                    reason,
                    raw,
                    confirmed: true,
                };
                match service.trigger(confirmed).await {
                    Ok(outcome) => {
                        tracing::info!(%endpoint, source, decision = ?outcome.decision, "trigger confirmed");
                        Ok(())
                    }
                    // No later question would be answered otherwise.
                    Err(gone) if gone.status == 404 => {
                        let why = format!("asked again, the source stands by it, but {}", gone.detail);
                        tracing::warn!(%endpoint, source, why, "trigger not confirmed: nothing was started");
                        service.note("trigger.unconfirmed", &actor, Some(&endpoint), None, facts(&why)).await
                    }
                    Err(problem) => Err(problem),
                }
            }
            Ok(Verdict { status: Status::Pass, .. }) => {
                let why = "asked again, the source says that the endpoint passes: nothing was started";
                match service.incident_over(&source, &named).await {
                    Ok(_) => {
                        service.note("trigger.withdrawn", &actor, Some(&endpoint), None, facts(why)).await
                    }
                    Err(problem) => Err(problem),
                }
            }
            Err(why) => {
                tracing::warn!(%endpoint, source, why, "trigger not confirmed: nothing was started");
                service.note("trigger.unconfirmed", &actor, Some(&endpoint), None, facts(&why)).await
            }
        };
        // Last of all: a crash before this asks once more, and a delivery that was confirmed starts nothing twice.
        let settled = match noted {
            Ok(()) => service.settle_trigger(&source, &delivery).await,
            Err(problem) => Err(problem),
        };
        if let Err(error) = &settled {
            tracing::error!(%endpoint, source, %error, "the outcome of a confirmation could not be recorded");
        }
        settled.is_ok()
    }
}

/// Three tries.
async fn patiently<F>(question: impl Fn() -> F) -> Result<Verdict, String>
where
    F: Future<Output = Result<Verdict, String>>,
{
    let mut why = String::new();
    for attempt in 0..=PAUSES.len() {
        match question().await {
            Ok(verdict) => return Ok(verdict),
            Err(error) => why = error,
        }
        if let Some(pause) = PAUSES.get(attempt) {
            tokio::time::sleep(*pause).await;
        }
    }
    Err(why)
}

async fn ask(agent: &Agent, url: &str, endpoint: &EndpointId) -> Result<Verdict, String> {
    let (agent, url, asked) = (agent.clone(), url.to_owned(), endpoint.clone());
    let answer = tokio::task::spawn_blocking(move || get(&agent, &url, &asked)).await;
    answer.unwrap_or_else(|error| Err(error.to_string()))
}

fn get(agent: &Agent, url: &str, endpoint: &EndpointId) -> Result<Verdict, String> {
    let raw = asking::about(agent, url, endpoint, None)?;
    let answer: Answer =
        serde_json::from_slice(&raw).map_err(|error| format!("the answer cannot be understood: {error}"))?;
    if answer.endpoint == *endpoint {
        Ok(Verdict { status: answer.status, raw })
    } else {
        Err(format!("the answer is about {}, not {endpoint}", answer.endpoint))
    }
}
