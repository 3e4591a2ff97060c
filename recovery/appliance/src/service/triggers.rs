//! Triggers: stored, decided once, in evidence with the rule, also when nothing is done.

use recovery_protocol::{
    EndpointId, JobId, Problem,
    operator::{EndpointState, Mode},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Actor, Inner,
    orders::{self, Asked},
};
use crate::{
    config::{Config, GroupMode, Hook},
    db::{
        self,
        endpoint::Endpoint,
        trigger::{CONFIRMED, Delivery, RESOLVED},
    },
    evidence::Fact,
    golden::Choice,
    guard::{self, Verdict},
    hooks::wire::Said,
    jobs::journal::JournalTx,
    keys,
    refusals::unknown_endpoint,
};

/// Under this name the appliance reports what it found itself.
pub(super) const OWN: &str = "attestation";
pub const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Our own triggers in an hour; more are written down and start nothing.
const OWN_MOST: u64 = 120;
/// Our own triggers that are kept as they were, and for how many days.
const OWN_KEPT: (u32, u32) = (1000, 90);

/// What kind of failure a trigger reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TriggerClass {
    /// An integrity check failed: the only class that may start an automatic recovery, and only when confirmed.
    Integrity,
    /// The endpoint does not answer: unreachable is not compromised, never a wipe.
    Unreachable,
    /// Some other alert: recorded, shown.
    Alert,
    /// Evidence, and nothing more.
    Notice,
}

/// A hint from outside (or from our own re-attestation) that an endpoint needs attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The source's name from the configuration; `attestation` for our own.
    pub source: String,
    /// Unique for one delivery: the same key from the same source is answered the same and done once.
    pub delivery_key: String,
    /// The endpoint it names.
    pub endpoint: EndpointId,
    /// What kind of failure.
    pub class: TriggerClass,
    /// Why, for people.
    pub reason: String,
    /// The message as received; kept, hashed into evidence.
    pub raw: Vec<u8>,
    /// The source confirmed it when asked, or it is our own proof.
    pub confirmed: bool,
}

/// What became of a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerOutcome {
    /// False when this delivery was seen before.
    pub first: bool,
    /// The decision.
    pub decision: TriggerDecision,
}

/// The decision on a trigger; each is in evidence with the rule that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerDecision {
    /// Written down, nothing done; the rule that said so.
    Observed {
        /// Which rule.
        rule: String,
    },
    /// The endpoint is marked suspect and its identity is no longer trusted; no recovery starts.
    Quarantined,
    /// A job waits for a person's approval.
    AwaitsApproval(JobId),
    /// A job works.
    Started(JobId),
    /// A job was open already; the trigger is attached to it.
    Joined(JobId),
    /// The job that it had asked for was given up before anything was done.
    Cancelled(JobId),
}

/// A message of a source, after the sender has shown who it is.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The source's name from the configuration.
    pub source: &'a str,
    /// What is configured of it.
    pub hook: &'a Hook,
    /// The message as received.
    pub raw: &'a [u8],
    /// What it says.
    pub said: &'a [Said],
}

impl TriggerClass {
    /// From the database; `None`: no report of trouble.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::Integrity, Self::Unreachable, Self::Alert, Self::Notice]
            .into_iter()
            .find(|class| class.as_str() == word)
    }

    /// As in the database and in evidence.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Unreachable => "unreachable",
            Self::Alert => "alert",
            Self::Notice => "notice",
        }
    }
}

impl TriggerDecision {
    /// As it is counted.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Observed { .. } => "observed",
            Self::Quarantined => "quarantined",
            Self::AwaitsApproval(_) => "awaits-approval",
            Self::Started(_) => "started",
            Self::Joined(_) => "joined",
            Self::Cancelled(_) => "cancelled",
        }
    }

    pub(super) fn job(&self) -> Option<JobId> {
        match self {
            Self::Observed { .. } | Self::Quarantined => None,
            Self::AwaitsApproval(job) | Self::Started(job) | Self::Joined(job) | Self::Cancelled(job) => {
                Some(*job)
            }
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
    let outcome = put(inner, &mut tx, Arrived::of(inner, &trigger), choice).await?;
    if outcome.first {
        tx.commit().await?;
        inner.live.count("trigger", outcome.decision.kind());
    }
    Ok(outcome)
}

/// A trigger, and what is configured of who sent it.
#[derive(Debug, Clone, Copy)]
pub struct Arrived<'a> {
    /// It.
    pub trigger: &'a Trigger,
    /// How the source calls the endpoint.
    pub named: &'a str,
    /// The most that it may bring about.
    pub cap: GroupMode,
    /// Messages that are kept, and for how many days.
    pub kept: (u32, u32),
}

impl<'a> Arrived<'a> {
    fn of(inner: &'a Inner, trigger: &'a Trigger) -> Self {
        let hook = inner.journal.config.hooks.get(&trigger.source);
        Self {
            trigger,
            named: trigger.endpoint.as_str(),
            cap: hook.map_or(GroupMode::Auto, |hook| hook.mode),
            kept: hook.map_or(OWN_KEPT, |hook| (hook.keep_messages, hook.keep_days)),
        }
    }
}

/// Store a trigger and decide it, in the caller's transaction; one that was seen before is answered as it was.
pub async fn put(
    inner: &Inner,
    tx: &mut JournalTx<'_>,
    arrived: Arrived<'_>,
    choice: Result<Choice, Problem>,
) -> Result<TriggerOutcome, Problem> {
    let Arrived { trigger, .. } = arrived;
    if let Some(decision) = seen(tx.conn(), &trigger.source, &trigger.delivery_key).await? {
        return Ok(TriggerOutcome { first: false, decision });
    }
    let decision = decide(inner, tx, arrived, choice).await?;
    keep(tx, arrived, trigger.class.as_str(), &decision).await?;
    Ok(TriggerOutcome { first: true, decision })
}

/// What was decided about a delivery that came before.
pub async fn seen(
    conn: &mut db::Conn,
    source: &str,
    delivery: &str,
) -> Result<Option<TriggerDecision>, Problem> {
    let outcome = db::trigger::seen(conn, source, delivery).await?;
    Ok(outcome.map(|text| serde_json::from_str(&text).unwrap_or(TriggerDecision::Observed { rule: text })))
}

/// Delivery, message and decision are written down.
pub async fn keep(
    tx: &mut JournalTx<'_>,
    arrived: Arrived<'_>,
    class: &str,
    decision: &TriggerDecision,
) -> Result<(), Problem> {
    let Arrived { trigger, named, kept, .. } = arrived;
    let actor = Actor::trigger(&trigger.source);
    let (at, raw_sha256) = (tx.at, keys::spki_sha256(&trigger.raw));
    let outcome = serde_json::to_string(decision).unwrap_or_default();
    let delivery = Delivery {
        source: &trigger.source,
        delivery: &trigger.delivery_key,
        endpoint: &trigger.endpoint,
        named,
        class,
        reason: &trigger.reason,
        confirmed: trigger.confirmed,
        received: at,
        raw_sha256: &raw_sha256,
        outcome: &outcome,
    };
    db::trigger::put(tx.conn(), &delivery).await?;
    db::trigger::keep_raw(tx.conn(), &trigger.source, &raw_sha256, at, &trigger.raw).await?;
    let (most, days) = kept;
    let before = at.saturating_sub(u64::from(days) * DAY_MS);
    db::trigger::forget(tx.conn(), &trigger.source, most, before).await?;
    let facts = json!({
        "source": trigger.source, "delivery": trigger.delivery_key, "class": class,
        "confirmed": trigger.confirmed, "reason": trigger.reason, "raw_sha256": raw_sha256,
        "decision": decision,
    });
    let fact = Fact::new("decision.trigger", &actor.name, facts).about(&trigger.endpoint);
    Ok(tx.note(fact.of(decision.job())).await?)
}

async fn decide(
    inner: &Inner,
    tx: &mut JournalTx<'_>,
    arrived: Arrived<'_>,
    choice: Result<Choice, Problem>,
) -> Result<TriggerDecision, Problem> {
    let Arrived { trigger, cap, .. } = arrived;
    let observed = |rule: String| Ok(TriggerDecision::Observed { rule });
    let mut endpoint = db::endpoint::get(tx.conn(), &trigger.endpoint)
        .await?
        .ok_or_else(|| unknown_endpoint(&trigger.endpoint))?;
    if trigger.class == TriggerClass::Notice {
        return observed("what a BMC reports is evidence and nothing more".to_owned());
    }
    if let Some(delivery) = trigger.delivery_key.strip_suffix(CONFIRMED)
        && seen(tx.conn(), &trigger.source, &format!("{delivery}{RESOLVED}")).await?.is_some()
    {
        return observed("its source said in the meantime that it is over".to_owned());
    }
    if let Some(open) = db::job::open_of(tx.conn(), &endpoint.id).await? {
        return Ok(TriggerDecision::Joined(open.job.id));
    }
    if trigger.source == OWN {
        let since = tx.at.saturating_sub(HOUR_MS);
        let rate = db::trigger::rate(tx.conn(), OWN, since).await?;
        if rate >= OWN_MOST {
            return observed(format!("source {OWN} sent {rate} triggers within an hour; at most {OWN_MOST}"));
        }
    }
    let (at, config) = (tx.at, inner.journal.config.clone());
    let released =
        choice.as_ref().ok().and_then(|choice| choice.approval.as_ref()).map(|said| said.at_unix_ms);
    let verdict =
        guard::consider(tx.conn(), &config, &endpoint, trigger.class, trigger.confirmed, released, at)
            .await?;
    match capped(verdict, trigger, cap) {
        Verdict::Observe { rule } => observed(rule),
        Verdict::Quarantine => {
            quarantine(tx, &mut endpoint).await?;
            Ok(TriggerDecision::Quarantined)
        }
        Verdict::Propose { automatic, waits } => {
            let choice = match choice {
                Ok(choice) => choice,
                Err(problem) => return observed(format!("no recovery is possible: {}", problem.detail)),
            };
            propose(tx, (&*config, &endpoint), arrived, &choice, automatic, waits).await
        }
    }
}

/// Make the job: it begins by itself where its group or a standing plan lets it, else a person is asked.
async fn propose(
    tx: &mut JournalTx<'_>,
    (config, endpoint): (&Config, &Endpoint),
    Arrived { trigger, cap, .. }: Arrived<'_>,
    choice: &Choice,
    automatic: bool,
    waits: Option<String>,
) -> Result<TriggerDecision, Problem> {
    let at = tx.at;
    let confirmed = trigger.class == TriggerClass::Integrity && trigger.confirmed;
    let plan = if automatic || !confirmed || cap != GroupMode::Auto {
        Err(String::new())
    } else {
        let released = choice.approval.as_ref().map(|said| said.at_unix_ms);
        let asks = guard::plan::Asks { endpoint, image: choice.image, source: &trigger.source, released };
        guard::plan::lets(tx.conn(), config, asks, at).await?
    };
    let waits = match &plan {
        Ok(_) => None,
        Err(why) => waits.or_else(|| (!why.is_empty()).then(|| why.clone())),
    };
    let automatic = automatic || plan.is_ok();
    let own = trigger.source == OWN;
    let asked = Asked {
        actor: &Actor::trigger(&trigger.source),
        trigger: if own { OWN.to_owned() } else { format!("{}{}", orders::WEBHOOK, trigger.source) },
        reason: &waits.map_or_else(
            || trigger.reason.clone(),
            |rule| format!("{}; it did not begin by itself: {rule}", trigger.reason),
        ),
        mode: Mode::Real,
        automatic,
        give_up_preserved: false,
        keep: None,
        keep_seconds: None,
    };
    let row = orders::make(tx, endpoint, choice, asked).await?;
    if let Ok(plan) = &plan {
        db::plan::used(tx.conn(), &plan.hash, row.job.id, at).await?;
        let facts = json!({ "plan": plan.body.asked.plan, "hash": plan.hash });
        tx.note(Fact::new("decision.plan", "appliance", facts).about(&endpoint.id).of(Some(row.job.id)))
            .await?;
    }
    Ok(if automatic {
        TriggerDecision::Started(row.job.id)
    } else {
        TriggerDecision::AwaitsApproval(row.job.id)
    })
}

/// A source brings about no more than its own mode allows, whatever the group's.
pub(super) fn capped(verdict: Verdict, trigger: &Trigger, cap: GroupMode) -> Verdict {
    let source = &trigger.source;
    let failed = trigger.class == TriggerClass::Integrity && trigger.confirmed;
    match (verdict, cap) {
        (Verdict::Observe { rule }, _) => Verdict::Observe { rule },
        (Verdict::Quarantine | Verdict::Propose { .. }, GroupMode::Observe) => {
            Verdict::Observe { rule: format!("source {source} is in mode observe") }
        }
        (Verdict::Propose { .. }, GroupMode::Quarantine) if !failed => {
            Verdict::Observe { rule: guard::TAKES_TRUST.to_owned() }
        }
        (Verdict::Quarantine, _) | (Verdict::Propose { .. }, GroupMode::Quarantine) => Verdict::Quarantine,
        (Verdict::Propose { .. }, GroupMode::Approve) => Verdict::Propose { automatic: false, waits: None },
        (verdict @ Verdict::Propose { .. }, GroupMode::Auto) => verdict,
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
