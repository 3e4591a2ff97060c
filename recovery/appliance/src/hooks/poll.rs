//! Looking at a verifier every so often: what its webhook told and what it did not.
//!
//! A failed agent is reported like a webhook would report it, and the source is asked back before anything starts, as always. One that
//! passes ends its incident. A verifier that does not answer is in evidence once an outage: silence must be seen.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use recovery_protocol::Problem;
use serde_json::json;
use tokio::sync::Notify;

use super::{
    confirm::Status,
    keylime::{Agent, Verifier},
    wire::{Class, ITEMS_MOST, Said},
};
use crate::{
    config::Hook,
    keys,
    service::{Actor, Report, Service},
};

/// One source that is looked at.
pub struct Poller {
    source: String,
    hook: Hook,
    verifier: Arc<Verifier>,
    wake: Arc<Notify>,
    /// It did not answer the last time.
    away: bool,
    /// Agents whose reports were refused the last time: said once.
    refused: BTreeSet<String>,
}

impl Poller {
    pub fn new(source: &str, hook: &Hook, verifier: Arc<Verifier>, wake: Arc<Notify>) -> Self {
        let source = source.to_owned();
        Self { source, hook: hook.clone(), verifier, wake, away: false, refused: BTreeSet::new() }
    }

    /// Look until the end of time; the first look is now. Cancel-safe: what was not stored is seen at the next look.
    pub async fn run(mut self, service: &Service) {
        loop {
            if let Err(error) = self.look(service).await {
                tracing::error!(source = self.source, %error, "what a verifier says could not be stored");
            }
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// A tenth more or less than configured.
    fn pause(&self) -> Duration {
        let every = Duration::from_secs(self.verifier.every_s.into());
        let part = keys::random::<2>().map_or(0.5, |bytes| f64::from(u16::from_be_bytes(bytes)) / 65535.0);
        every.mul_f64(0.9 + part * 0.2)
    }

    async fn look(&mut self, service: &Service) -> Result<(), Problem> {
        let actor = Actor::trigger(&self.source);
        let agents = match self.verifier.agents().await {
            Ok(agents) => agents,
            Err(why) => {
                tracing::warn!(source = self.source, why, "a verifier does not answer");
                if !self.away {
                    service.note("source.away", &actor, None, None, json!({ "why": why })).await?;
                }
                self.away = true;
                return Ok(());
            }
        };
        if std::mem::take(&mut self.away) {
            service.note("source.back", &actor, None, None, json!({})).await?;
        }
        for named in service.incidents(&self.source).await? {
            if agents.get(&named).and_then(Agent::status) == Some(Status::Pass) {
                service.incident_over(&self.source, &named).await?;
            }
        }
        let failed: Vec<(&String, &Agent)> =
            agents.iter().filter(|(_, agent)| agent.status() == Some(Status::Fail)).collect();
        let mut refused = BTreeSet::new();
        for part in failed.chunks(ITEMS_MOST) {
            let raw = serde_json::to_vec(&part.iter().copied().collect::<std::collections::BTreeMap<_, _>>())
                .unwrap_or_default();
            let said: Vec<Said> = part.iter().map(|(named, agent)| said(named, agent)).collect();
            let report = Report { source: &self.source, hook: &self.hook, raw: &raw, said: &said };
            for (outcome, one) in service.report(report).await?.into_iter().zip(&said) {
                match outcome {
                    Ok(outcome) if outcome.first => self.wake.notify_one(),
                    Ok(_) => {}
                    Err(problem) => {
                        if !self.refused.contains(&one.endpoint) {
                            let facts = json!({ "code": problem.code, "detail": problem.detail });
                            service.note("refusal.webhook", &actor, None, None, facts).await?;
                        }
                        refused.insert(one.endpoint.clone());
                    }
                }
            }
        }
        self.refused = refused;
        Ok(())
    }
}

fn said(named: &str, agent: &Agent) -> Said {
    // The service gives an incident its key.
    Said {
        delivery: String::new(),
        endpoint: named.to_owned(),
        class: Class::Integrity,
        reason: agent.reason(),
    }
}
