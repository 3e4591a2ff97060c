//! Triggers: stored, decided once, in evidence with the rule, also when nothing is done.

use recovery_protocol::{
    Problem,
    operator::{EndpointState, Mode},
};
use serde_json::json;

use super::{
    Actor, Inner, Trigger, TriggerClass, TriggerDecision, TriggerOutcome,
    orders::{self, Asked},
};
use crate::{
    db::{self, endpoint::Endpoint, trigger::Delivery},
    evidence::Fact,
    golden::Choice,
    guard::{self, Verdict},
    jobs::journal::JournalTx,
    keys,
    refusals::unknown_endpoint,
};

const HOUR_MS: u64 = 3_600_000;
/// Triggers of one source in an hour; more are written down and start nothing.
const RATE_MOST: u64 = 120;

impl TriggerClass {
    /// As in the database and in evidence.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Unreachable => "unreachable",
            Self::Alert => "alert",
        }
    }
}

impl TriggerDecision {
    fn kind(&self) -> &'static str {
        match self {
            Self::Observed { .. } => "observed",
            Self::Quarantined => "quarantined",
            Self::AwaitsApproval(_) => "awaits-approval",
            Self::Started(_) => "started",
            Self::Joined(_) => "joined",
        }
    }

    fn job(&self) -> Option<recovery_protocol::JobId> {
        match self {
            Self::Observed { .. } | Self::Quarantined => None,
            Self::AwaitsApproval(job) | Self::Started(job) | Self::Joined(job) => Some(*job),
        }
    }
}

pub async fn take(inner: &Inner, trigger: Trigger) -> Result<TriggerOutcome, Problem> {
    let actor = Actor::trigger(&trigger.source);
    let endpoint = db::endpoint::get(&mut *inner.journal.db.read().await?, &trigger.endpoint).await?;
    let Some(endpoint) = endpoint.filter(|e| e.state != EndpointState::Discovered) else {
        let facts = json!({ "source": trigger.source, "named": trigger.endpoint, "why": "not on record" });
        inner.journal.note(Fact::new("refusal.trigger", &actor.name, facts)).await?;
        inner.live.count("refusal", "unknown-endpoint");
        return Err(unknown_endpoint(&trigger.endpoint));
    };
    // Reading the store takes its time: before the transaction, which keeps other writers waiting.
    let choice = orders::choose(inner, &endpoint).await;
    let mut tx = inner.journal.begin().await?;
    if let Some(outcome) = db::trigger::seen(tx.conn(), &trigger.source, &trigger.delivery_key).await? {
        let decision = serde_json::from_str(&outcome).unwrap_or(TriggerDecision::Observed { rule: outcome });
        return Ok(TriggerOutcome { first: false, decision });
    }
    let decision = decide(inner, &mut tx, &actor, &trigger, choice).await?;
    let outcome = serde_json::to_string(&decision).unwrap_or_default();
    let delivery = Delivery {
        source: &trigger.source,
        delivery: &trigger.delivery_key,
        endpoint: &trigger.endpoint,
        class: trigger.class.as_str(),
        confirmed: trigger.confirmed,
        received: tx.at,
        raw: &trigger.raw,
        outcome: &outcome,
    };
    db::trigger::put(tx.conn(), &delivery).await?;
    let facts = json!({
        "source": trigger.source, "delivery": trigger.delivery_key, "class": trigger.class.as_str(),
        "confirmed": trigger.confirmed, "reason": trigger.reason, "raw_sha256": keys::spki_sha256(&trigger.raw),
        "decision": decision,
    });
    tx.note(Fact::new("decision.trigger", &actor.name, facts).about(&trigger.endpoint).of(decision.job()))
        .await?;
    tx.commit().await?;
    inner.live.count("trigger", decision.kind());
    Ok(TriggerOutcome { first: true, decision })
}

async fn decide(
    inner: &Inner,
    tx: &mut JournalTx<'_>,
    actor: &Actor,
    trigger: &Trigger,
    choice: Result<Choice, Problem>,
) -> Result<TriggerDecision, Problem> {
    let observed = |rule: String| Ok(TriggerDecision::Observed { rule });
    let mut endpoint = db::endpoint::get(tx.conn(), &trigger.endpoint)
        .await?
        .ok_or_else(|| unknown_endpoint(&trigger.endpoint))?;
    if let Some(open) = db::job::open_of(tx.conn(), &endpoint.id).await? {
        return Ok(TriggerDecision::Joined(open.job.id));
    }
    let since = tx.at.saturating_sub(HOUR_MS);
    let rate = db::trigger::rate(tx.conn(), &trigger.source, since).await?;
    if rate >= RATE_MOST {
        return observed(format!(
            "source {} sent {rate} triggers within an hour; at most {RATE_MOST}",
            trigger.source
        ));
    }
    let (at, config) = (tx.at, inner.journal.config.clone());
    match guard::consider(tx.conn(), &config, &endpoint, trigger.class, trigger.confirmed, at).await? {
        Verdict::Observe { rule } => observed(rule),
        Verdict::Quarantine => {
            quarantine(tx, &mut endpoint).await?;
            Ok(TriggerDecision::Quarantined)
        }
        Verdict::Propose { automatic } => {
            let choice = match choice {
                Ok(choice) => choice,
                Err(problem) => return observed(format!("no recovery is possible: {}", problem.detail)),
            };
            let own = trigger.source == "attestation";
            let asked = Asked {
                actor,
                trigger: if own { "attestation".to_owned() } else { format!("webhook:{}", trigger.source) },
                reason: &trigger.reason,
                mode: Mode::Real,
                automatic,
                give_up_preserved: false,
            };
            let row = orders::make(tx, &endpoint, &choice, asked).await?;
            Ok(if automatic {
                TriggerDecision::Started(row.job.id)
            } else {
                TriggerDecision::AwaitsApproval(row.job.id)
            })
        }
    }
}

/// No longer trusted: its certificates are revoked, so whoever checks them keeps it out.
async fn quarantine(tx: &mut JournalTx<'_>, endpoint: &mut Endpoint) -> Result<(), Problem> {
    endpoint.state = EndpointState::Suspect;
    db::endpoint::put(tx.conn(), endpoint).await?;
    let at = tx.at;
    let revoked = db::ticket::revoke(tx.conn(), &endpoint.id, at).await?;
    let facts = json!({ "certificates": revoked });
    tx.note(Fact::new("identity.revoked", "appliance", facts).about(&endpoint.id)).await?;
    Ok(())
}
