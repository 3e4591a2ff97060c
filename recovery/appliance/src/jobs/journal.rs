//! The journal: the one door through which a job changes. One transaction writes the state, the phase, the tickets, the
//! endpoint, the evidence and the intent of what must happen outside; then the outside is touched, by [`super::run`].
//!
//! ```text
//! begin ─► event(job, what) ─► machine::step ─► rows + evidence + intent ─► commit ─► boot tickets re-read, changes bumped
//!              └─ refusal: nothing is written
//! ```
//!
//! A crash before the commit leaves the state before, a crash after it leaves the intent, which the runner probes and
//! then applies. It must never: act on the outside, or change a job without the machine.

use std::sync::Arc;

use recovery_protocol::{
    EndpointId, JobId,
    agent::CaptureSpec,
    evidence::{Checkpoint, Origin},
    exhibit::Keep,
    job::Word,
    operator::Mode,
};
use serde_json::json;
use tokio::sync::{Notify, watch};

use super::{
    job::{Admission, Duty, Effect, Job, JobEvent, Outcome, Proposal, Refusal, Seen, What},
    limits::Limits,
    machine,
};

use crate::{
    boot::Tickets,
    clock::Clock,
    config::{Config, Shared},
    db::{self, Conn, Db, DbError, Tx, endpoint::Endpoint, job::JobRow, ticket::BootTicket},
    evidence::{EvidenceLog, Fact},
    guard,
};

/// A boot ticket lives no longer than this, whatever happens to its job.
const BOOT_TICKET_MS: u64 = 6 * 3_600_000;

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The machine refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such job.
    #[error("there is no job {0}")]
    UnknownJob(JobId),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// What all of the appliance's state goes through.
pub struct Journal {
    /// The database; read it, but write through [`Journal::begin`].
    pub db: Db,
    /// The configuration.
    pub config: Shared,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The boot tickets that the network boot sees.
    pub tickets: Arc<Tickets>,
    /// Wakes the runner: there may be an intent.
    pub wake: Notify,
    /// Where the appliance dies, in tests.
    #[cfg(test)]
    pub death: super::simulation::Death,
    evidence: EvidenceLog,
    changes: watch::Sender<u64>,
}

/// A job to be made, with what people want to read beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// For the machine.
    pub proposal: Proposal,
    /// The endpoint's group.
    pub group: String,
    /// `operator`, `attestation`, `webhook:<source>`, `drill`.
    pub trigger: String,
    /// Why, in the asker's words.
    pub reason: String,
    /// A confirmed integrity failure asked for it.
    pub automatic: bool,
    /// The golden image's name and version.
    pub image_name: String,
}

impl Journal {
    /// Stand on an open database; [`Tickets`] are read from it.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn open(
        db: Db,
        config: impl Into<Shared>,
        evidence: EvidenceLog,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DbError> {
        let config = config.into();
        let journal = Self {
            db,
            config,
            clock,
            tickets: Arc::new(Tickets::default()),
            wake: Notify::new(),
            #[cfg(test)]
            death: super::simulation::Death::default(),
            evidence,
            changes: watch::Sender::new(1),
        };
        journal.evidence.catch_up(&journal.db).await?;
        journal.tickets.read(&journal.db).await?;
        journal.tickets.learn(&journal.db).await?;
        Ok(journal)
    }

    /// The limits of stages, as they are configured now. A limit that a job has run into already stays as it was set.
    fn limits(&self) -> Limits {
        Limits::new(self.config.stage_limits_s.clone())
    }

    /// Milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.clock.now_unix_ms()
    }

    /// A number that grows at every visible change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Say that something visible changed that is not in the database.
    pub fn touch(&self) {
        self.changes.send_modify(|n| *n += 1);
        // For whoever follows the log instead: what they ask from here on has the change in it.
        tracing::debug!("changed");
    }

    /// Whether time alone would change the job now: asked before a transaction is begun for it.
    pub fn is_late(&self, job: &Job, seen_unix_ms: u64) -> bool {
        let event = JobEvent { at_unix_ms: self.now(), what: What::Tick { seen_unix_ms } };
        machine::step(job, event, &self.limits()).is_ok()
    }

    /// Sign everything in the log so far; None: there is nothing.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn sign_log(&self) -> Result<Option<Checkpoint>, DbError> {
        let mut tx = self.db.begin().await?;
        let signed = self.evidence.checkpoint(&mut tx).await?;
        tx.commit().await?;
        self.touch();
        Ok(signed)
    }

    /// Who keeps the evidence log, and its key.
    pub fn origin(&self) -> Origin {
        self.evidence.origin()
    }

    /// Begin a transaction. Dropped without [`JournalTx::commit`], nothing happened.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn begin(&self) -> Result<JournalTx<'_>, DbError> {
        Ok(JournalTx {
            tx: self.db.begin().await?,
            at: self.now(),
            journal: self,
            ticketed: Vec::new(),
            moved: Vec::new(),
        })
    }

    /// One event in a transaction of its own.
    ///
    /// # Errors
    /// [`JournalError`]; nothing was written then.
    pub async fn event(&self, job: JobId, actor: &str, what: What) -> Result<JobRow, JournalError> {
        let mut tx = self.begin().await?;
        let row = tx.event(job, actor, what).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// One fact in a transaction of its own.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn note(&self, fact: Fact) -> Result<(), DbError> {
        let mut tx = self.begin().await?;
        tx.note(fact).await?;
        tx.commit().await
    }
}

/// A transaction of the journal.
pub struct JournalTx<'a> {
    journal: &'a Journal,
    tx: Tx,
    /// The transaction's time, milliseconds since 1970.
    pub at: u64,
    /// Jobs whose boot tickets changed.
    ticketed: Vec<JobId>,
    /// Transitions to be logged once they are true.
    moved: Vec<Job>,
}

impl JournalTx<'_> {
    /// The connection, for reads and writes of other nouns in the same transaction.
    pub fn conn(&mut self) -> &mut Conn {
        &mut self.tx
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.journal.config
    }

    /// Append a fact to the evidence log.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn note(&mut self, fact: Fact) -> Result<(), DbError> {
        self.journal.evidence.append(&mut self.tx, self.at, fact).await
    }

    /// Make a job. The caller has seen that the endpoint has no open one.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn propose(&mut self, new: NewJob) -> Result<JobRow, DbError> {
        let (job, effects) = machine::propose(new.proposal, &self.journal.limits(), self.at);
        let row = JobRow {
            job,
            group: new.group,
            trigger: new.trigger,
            reason: new.reason,
            automatic: new.automatic,
            image_name: new.image_name,
            asked: self.at,
            ended: None,
            accepted: None,
        };
        db::job::put(&mut self.tx, &row).await?;
        db::job::turn_phase(&mut self.tx, row.job.id, row.job.state.stage(), self.at).await?;
        let facts = json!({
            "trigger": row.trigger, "reason": row.reason, "image": row.job.image, "image_name": row.image_name,
            "group": row.group, "keep": row.job.keep,
        });
        let asked_by = row.job.asked_by.clone();
        let (order, facts) = match &row.job.capture {
            None => ("order.recover", facts),
            Some(spec) => {
                ("order.capture", json!({ "reason": row.reason, "image": spec, "group": row.group }))
            }
        };
        self.note_job(order, &asked_by, &row.job, facts).await?;
        self.carry_out(&row.job, effects).await?;
        Ok(row)
    }

    /// Hand an event to a job.
    ///
    /// # Errors
    /// [`JournalError`]; nothing was written then.
    pub async fn event(&mut self, id: JobId, actor: &str, what: What) -> Result<JobRow, JournalError> {
        let mut row = db::job::get(&mut self.tx, id).await?.ok_or(JournalError::UnknownJob(id))?;
        let event = JobEvent { at_unix_ms: self.at, what: what.clone() };
        let (next, effects) = machine::step(&row.job, event, &self.journal.limits())?;
        if machine::acts(&next) && db::stop::standing(&mut self.tx).await?.is_some() {
            return Err(Refusal::SiteStopped.into());
        }
        let before = std::mem::replace(&mut row.job, next);
        if row.job.state.is_over() {
            row.ended = Some(self.at);
        }
        db::job::put(&mut self.tx, &row).await?;
        if row.job.state != before.state {
            let working = matches!(row.job.state, recovery_protocol::job::JobState::Working { .. });
            let stage = row.job.state.stage().filter(|_| working);
            db::job::turn_phase(&mut self.tx, id, stage, self.at).await?;
            self.moved.push(row.job.clone());
        }
        if let What::Done { intent, .. } | What::Admission { intent, .. } = &what {
            db::job::outcome(&mut self.tx, id, *intent, &outcome_text(&what), self.at).await?;
        }
        self.note_event(actor, &before, &row.job, &what).await?;
        self.carry_out(&row.job, effects).await?;
        if row.job.state.is_over() {
            self.journal.evidence.checkpoint(&mut self.tx).await?;
        }
        Ok(row)
    }

    /// A power driver left the job's endpoint switched off: it stands with the job, whatever became of it, and is an alarm.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn left_dark(&mut self, id: JobId, how: String) -> Result<(), DbError> {
        let Some(mut row) = db::job::get(&mut self.tx, id).await? else { return Ok(()) };
        row.job = machine::left_dark(&row.job, how.clone());
        db::job::put(&mut self.tx, &row).await?;
        self.note_job("alarm.left-off", "appliance", &row.job, json!({ "how": how, "state": row.job.state }))
            .await
    }

    /// How an act ended that takes back what a driver had set, for a job that does not wait for it. What failed is done again, and stands
    /// with the job until it is done.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn taken_back(&mut self, intent: &db::job::Intent, outcome: &Outcome) -> Result<(), DbError> {
        let why = match outcome {
            Outcome::Failed { detail, .. } => Some(detail.as_str()),
            Outcome::Done | Outcome::Withdrawn { .. } => None,
        };
        let Some(mut row) = db::job::get(&mut self.tx, intent.job).await? else { return Ok(()) };
        let Some((job, again)) = machine::taken_back(&row.job, why) else {
            return self.close_intent(intent.job, intent.intent, outcome).await;
        };
        let on_record = db::endpoint::get(&mut self.tx, &job.endpoint).await?.is_some();
        let open = db::job::intents(&mut self.tx).await?;
        let later =
            |i: &db::job::Intent| i.job == job.id && i.duty == Duty::ClearBoot && i.intent > intent.intent;
        let again = again.filter(|_| on_record && !open.iter().any(later));
        // Not each try: it is the same every minute.
        if why.is_none() || again.is_none() || row.job.boot_left.is_none() {
            let facts = json!({ "taken_back": why.is_none(), "why": why, "again": again.is_some(), "state": job.state });
            self.note_job("act.clear-boot", "appliance", &job, facts).await?;
        }
        row.job = job;
        db::job::put(&mut self.tx, &row).await?;
        match again {
            Some(wait) => {
                let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                db::job::postpone(&mut self.tx, intent.job, intent.intent, self.at.saturating_add(wait)).await
            }
            None => self.close_intent(intent.job, intent.intent, outcome).await,
        }
    }

    /// The record of an endpoint is changed while its last job may have something set at `earlier`: that is taken back there, too.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn powered_by(
        &mut self,
        endpoint: &EndpointId,
        earlier: &[recovery_protocol::operator::Power],
    ) -> Result<(), DbError> {
        let newest = db::job::list(&mut self.tx, Some(endpoint), 1).await?.pop();
        let Some(mut row) = newest.filter(|row| row.job.boot_set && !earlier.is_empty()) else {
            return Ok(());
        };
        row.job = machine::powered_by(&row.job, earlier);
        db::job::put(&mut self.tx, &row).await
    }

    /// Ask the guard rails about a proposed job and hand it their answer.
    ///
    /// # Errors
    /// [`JournalError`]; nothing was written then.
    pub async fn admit(&mut self, id: JobId, intent: u32) -> Result<JobRow, JournalError> {
        let row = db::job::get(&mut self.tx, id).await?.ok_or(JournalError::UnknownJob(id))?;
        let verdict = guard::admit(&mut self.tx, &self.journal.config, &row, self.at).await?;
        let kind = match &verdict {
            Admission::Approved { .. } | Admission::NeedsApproval { .. } => "decision.admitted",
            Admission::Refused { .. } => "decision.refused",
        };
        self.note_job(kind, "appliance", &row.job, json!({ "verdict": verdict, "group": row.group })).await?;
        self.event(id, "appliance", What::Admission { intent, verdict }).await
    }

    /// Close an intent whose outcome no longer matters to its job.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn close_intent(&mut self, id: JobId, intent: u32, outcome: &Outcome) -> Result<(), DbError> {
        let what = What::Done { intent, outcome: outcome.clone() };
        db::job::outcome(&mut self.tx, id, intent, &outcome_text(&what), self.at).await
    }

    /// Commit; then the network boot sees the tickets, and whoever watches is told.
    ///
    /// # Errors
    /// [`DbError`]: nothing was written.
    pub async fn commit(self) -> Result<(), DbError> {
        #[cfg(test)]
        self.journal.death.before_commit()?;
        // Out of sight before they are void: whoever asks gives up or dies on the way leaves no ticket that boots.
        self.journal.tickets.withdraw(&self.ticketed);
        if let Err(error) = self.tx.commit().await {
            self.journal.tickets.read_of(&self.journal.db, &self.ticketed).await?;
            return Err(error);
        }
        #[cfg(test)]
        self.journal.death.after_commit()?;
        for job in self.moved {
            tracing::info!(job = %job.id, endpoint = %job.endpoint, state = %state_text(&job), "job");
        }
        if !self.ticketed.is_empty() {
            self.journal.tickets.read_of(&self.journal.db, &self.ticketed).await?;
        }
        self.journal.touch();
        self.journal.wake.notify_one();
        Ok(())
    }

    async fn note_job(
        &mut self,
        kind: &str,
        actor: &str,
        job: &Job,
        facts: serde_json::Value,
    ) -> Result<(), DbError> {
        let mut fact = Fact::new(kind, actor, facts).about(&job.endpoint).of(Some(job.id));
        fact.mode = job.mode;
        self.note(fact).await
    }

    async fn note_event(
        &mut self,
        actor: &str,
        before: &Job,
        after: &Job,
        what: &What,
    ) -> Result<(), DbError> {
        let kind = if before.state == after.state { "job.event" } else { "transition" };
        let facts = if before.state == after.state {
            json!({ "state": after.state, "event": what })
        } else {
            json!({ "from": before.state, "to": after.state, "event": what, "attempt": after.attempt })
        };
        self.note_job(kind, actor, after, facts).await
    }

    async fn carry_out(&mut self, job: &Job, effects: Vec<Effect>) -> Result<(), DbError> {
        let mut endpoint = db::endpoint::get(&mut self.tx, &job.endpoint).await?;
        for effect in effects {
            match effect {
                Effect::IssueBootTicket => {
                    let expires = self.at.saturating_add(BOOT_TICKET_MS);
                    let (id, endpoint, issued) = (job.id, job.endpoint.clone(), self.at);
                    let ticket = BootTicket { job: id, endpoint, issued, expires };
                    db::ticket::issue_boot(&mut self.tx, &ticket).await?;
                    self.ticketed.push(job.id);
                }
                Effect::VoidTickets => {
                    db::ticket::void(&mut self.tx, job.id, self.at).await?;
                    self.ticketed.push(job.id);
                }
                Effect::VoidEnrolment => db::ticket::void_enrolment(&mut self.tx, job.id, self.at).await?,
                Effect::RevokeCertificates => {
                    let revoked = db::ticket::revoke(&mut self.tx, &job.endpoint, self.at).await?;
                    self.note_job("identity.revoked", "appliance", job, json!({ "certificates": revoked }))
                        .await?;
                    if let Some(endpoint) = &mut endpoint {
                        endpoint.generation += 1;
                    }
                }
                Effect::Allowed(seen) => {
                    let on_record = match &seen {
                        Seen::Tpm { .. } => json!(endpoint.as_ref().and_then(|e| e.ek_sha256.as_ref())),
                        Seen::Firmware { .. } => json!(endpoint.as_ref().and_then(|e| e.baseline.as_ref())),
                    };
                    let facts = json!({ "allowed": seen, "on_record": on_record });
                    self.note_job("identity.allowed", "appliance", job, facts).await?;
                }
                Effect::Mark(state) => {
                    if let Some(endpoint) = &mut endpoint {
                        endpoint.state = state;
                    }
                }
                Effect::Begin { intent, duty, due_unix_ms } => {
                    let intent = db::job::Intent { job: job.id, intent, duty, due: due_unix_ms };
                    db::job::intend(&mut self.tx, &intent).await?;
                }
            }
        }
        match endpoint {
            Some(endpoint) => self.put_endpoint(job, endpoint).await,
            None => Ok(()),
        }
    }

    async fn put_endpoint(&mut self, job: &Job, mut endpoint: Endpoint) -> Result<(), DbError> {
        use recovery_protocol::job::{HoldReason, JobState};
        let pairs = matches!(&job.state, JobState::Held { reason: HoldReason::PairingNeeded, .. });
        if !pairs {
            endpoint.pairing = None;
        }
        db::endpoint::put(&mut self.tx, &endpoint).await
    }
}

fn state_text(job: &Job) -> String {
    serde_json::to_string(&job.state).unwrap_or_default()
}

fn outcome_text(what: &What) -> String {
    serde_json::to_string(what).unwrap_or_else(|e| format!("\"{e}\""))
}

/// A new job for an endpoint, as an operator, a drill or a trigger asks for it.
pub fn proposal(
    id: JobId,
    endpoint: &Endpoint,
    mode: Mode,
    image: images::ImageId,
    asked_by: &str,
) -> Proposal {
    let before = endpoint.state;
    let endpoint: EndpointId = endpoint.id.clone();
    let asked_by = asked_by.to_owned();
    let (give_up_preserved, asks_again, word) = (false, false, Word::CheckIn);
    let (capture, keep, keep_seconds) = (None, Keep::None, None);
    Proposal {
        id,
        endpoint,
        mode,
        image,
        capture,
        asked_by,
        before,
        give_up_preserved,
        asks_again,
        word,
        keep,
        keep_seconds,
    }
}

/// A new capture of an endpoint's disk, as an operator asks for it.
pub fn capture_proposal(id: JobId, endpoint: &Endpoint, spec: CaptureSpec, asked_by: &str) -> Proposal {
    let none_yet = images::ImageId(images::Digest([0; 32]));
    Proposal { capture: Some(spec), ..proposal(id, endpoint, Mode::Real, none_yet, asked_by) }
}
