//! The runner: carries out what the journal intends, and lets time pass.
//!
//! ```text
//! journal: intent due ─► (after a restart: probe "did it happen?") ─► act ─► outcome ─► journal: event Done
//!          every second ─► Tick for each open job ─► limits
//! ```
//!
//! One task drives all jobs; acts run at once beside each other, each bounded by its own time-outs. An act whose outcome
//! could not be written is done again: every act may be repeated; acts on one endpoint's power never overlap. It must never: change a job but through the journal.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use images::{Manifest, manifest::header::Policy};
use recovery_protocol::{
    JobId,
    erase::ErasePolicy,
    job::{HoldReason, Word},
};
use runbooks::runbook::InjectKind;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    job::{Duty, Outcome, Proof, What},
    journal::{Journal, JournalError},
};
use crate::{
    attest,
    control_plane::{ControlPlane, Observed, PlaneError, Registration},
    db::{self, DbError, endpoint::Endpoint, job::Intent, job::JobRow},
    evidence::Fact,
    golden::Golden,
    live::Live,
    permit,
    power::PowerDriver,
};

mod power;
mod source;

pub use self::source::Sources;

/// Time passes for jobs this often.
const TICK: Duration = Duration::from_secs(1);
/// Why a control plane's word is not to be had.
const NOBODY: &str = "no control plane whose word is waited for knows this endpoint";
/// A clock that is off by this much between two ticks was set.
const JUMP_MS: u64 = 30_000;

/// Carries out what the journal intends.
pub struct Runner {
    journal: Arc<Journal>,
    golden: Golden,
    power: Arc<dyn PowerDriver>,
    plane: Arc<dyn ControlPlane>,
    live: Arc<Live>,
    sources: Arc<dyn Sources>,
    running: Mutex<HashSet<(JobId, u32)>>,
    switches: power::Switches,
    /// Intents that were begun, perhaps, and whose outcome nobody wrote: by an earlier run, or since the database failed.
    inherited: Mutex<HashSet<(JobId, u32)>>,
    turns: Arc<AtomicU64>,
}

impl Runner {
    /// A runner over the journal and the three outsides.
    pub fn new(
        journal: Arc<Journal>,
        golden: Golden,
        power: Arc<dyn PowerDriver>,
        plane: Arc<dyn ControlPlane>,
        live: Arc<Live>,
    ) -> Self {
        let (running, switches, inherited, turns) = Default::default();
        let sources = Arc::new(source::Nobody);
        Self { journal, golden, power, plane, live, sources, running, switches, inherited, turns }
    }

    /// With whom to ask about what is begun by itself.
    #[must_use]
    pub fn asking(self, sources: Arc<dyn Sources>) -> Self {
        Self { sources, ..self }
    }

    /// How often time has passed for jobs since the start: whoever watches sees that this goes on.
    #[must_use]
    pub fn turns(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.turns)
    }

    /// After a start: open jobs get some grace, and intents without an outcome are probed before they are done again.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn recall(&self) -> Result<(), DbError> {
        let intents = db::job::intents(&mut *self.journal.db.read().await?).await?;
        self.inherited
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(intents.iter().map(|intent| (intent.job, intent.intent)));
        self.give_grace().await
    }

    /// Run until told to stop. What is being done then is done again after the next start.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.carry_out() => {}
            () = self.let_time_pass() => {}
            () = self.plane.run() => {}
        }
    }

    /// Acts on what is due, for ever. Whatever awaits here is polled together with the acts: an act that waits, unpolled,
    /// with a connection in its hand would starve the very query that we wait for.
    async fn carry_out(&self) {
        let mut acts: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut look = tokio::time::interval(TICK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut asking = std::pin::pin!(self.due());
            let due = loop {
                tokio::select! {
                    due = &mut asking => break due,
                    Some(()) = acts.next(), if !acts.is_empty() => {}
                }
            };
            match due {
                Ok(due) => {
                    acts.extend(due.into_iter().map(|intent| Box::pin(self.act(intent)) as BoxFuture<'_, ()>))
                }
                Err(error) => tracing::error!(error = error.chain(), "cannot read the journal"),
            }
            tokio::select! {
                () = self.journal.wake.notified() => {}
                Some(()) = acts.next(), if !acts.is_empty() => {}
                _ = look.tick() => {}
            }
        }
    }

    /// Lets time pass for jobs, for ever.
    async fn let_time_pass(&self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pace = (Instant::now(), self.journal.now());
        loop {
            tick.tick().await;
            self.mind_the_clock(&mut pace).await;
            if let Err(error) = self.tick().await {
                tracing::error!(error = error.chain(), "cannot let time pass for jobs");
            }
            let minded = crate::service::tell_overdue(&self.journal).await;
            if let Err(error) = minded.and(crate::service::mind_plans(&self.journal).await) {
                tracing::error!(error = error.chain(), "cannot mind reviews and standing plans");
            }
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// When the wall clock is set forward, limits must not fall for that: open jobs get grace, as after a restart.
    async fn mind_the_clock(&self, pace: &mut (Instant, u64)) {
        let passed = u64::try_from(pace.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (expected, now) = (pace.1.saturating_add(passed), self.journal.now());
        *pace = (Instant::now(), now);
        let off_ms = now.abs_diff(expected);
        if off_ms < JUMP_MS {
            return;
        }
        tracing::warn!(off_ms, forward = now > expected, "the clock was set");
        let facts = json!({ "expected_unix_ms": expected, "found_unix_ms": now });
        let noted = self.journal.note(Fact::new("clock.set", "appliance", facts)).await;
        if let Err(error) = noted.and(self.give_grace().await) {
            tracing::error!(error = error.chain(), "the clock was set, and jobs got no grace for it");
        }
    }

    async fn give_grace(&self) -> Result<(), DbError> {
        let jobs = db::job::open(&mut *self.journal.db.read().await?).await?;
        for row in jobs {
            settle(self.journal.event(row.job.id, "appliance", What::Restarted).await.map(drop))?;
        }
        Ok(())
    }

    /// Everything that is due now, and what follows from it at once. For tests and for a caller that drives by itself.
    ///
    /// # Errors
    /// [`DbError`].
    #[cfg(test)]
    pub async fn settle(&self) -> Result<(), DbError> {
        while self.step().await? {}
        Ok(())
    }

    /// One round of what is due now.
    ///
    /// # Errors
    /// [`DbError`].
    #[cfg(test)]
    pub async fn step(&self) -> Result<bool, DbError> {
        let due = self.due().await?;
        let any = !due.is_empty();
        for intent in due {
            let result = self.try_act(&intent).await;
            self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&(intent.job, intent.intent));
            result?;
        }
        Ok(any)
    }

    /// Time passes for every open job.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn tick(&self) -> Result<(), DbError> {
        let rows = db::job::open(&mut *self.journal.db.read().await?).await?;
        for row in rows {
            let seen_unix_ms = self.live.recovery_system_seen(&row.job.endpoint);
            if !self.journal.is_late(&row.job, seen_unix_ms) {
                continue;
            }
            settle(self.journal.event(row.job.id, "appliance", What::Tick { seen_unix_ms }).await.map(drop))?;
        }
        Ok(())
    }

    /// Intents that are due and not being carried out.
    async fn due(&self) -> Result<Vec<Intent>, DbError> {
        let now = self.journal.now();
        let intents = db::job::intents(&mut *self.journal.db.read().await?).await?;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(intents
            .into_iter()
            .filter(|i| super::limits::is_due(i.due, now) && running.insert((i.job, i.intent)))
            .collect())
    }

    async fn act(&self, intent: Intent) {
        let span = tracing::info_span!("job", job = %intent.job, duty = ?intent.duty);
        if let Err(error) = self.try_act(&intent).instrument(span).await {
            self.inherited.lock().unwrap_or_else(PoisonError::into_inner).insert((intent.job, intent.intent));
            tracing::error!(job = %intent.job, duty = ?intent.duty, error = error.chain(), "act not recorded, repeating");
            // The database is in trouble: do not spin.
            tokio::time::sleep(TICK).await;
        }
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&(intent.job, intent.intent));
    }

    pub(super) async fn try_act(&self, intent: &Intent) -> Result<(), DbError> {
        let (job, number) = (intent.job, intent.intent);
        let mut conn = self.journal.db.read().await?;
        let Some(row) = db::job::get(&mut conn, job).await? else { return Ok(()) };
        let endpoint = db::endpoint::get(&mut conn, &row.job.endpoint).await?;
        drop(conn);
        if intent.duty == Duty::Admit {
            let mut tx = self.journal.begin().await?;
            let admitted = tx.admit(job, number).await;
            return match admitted {
                Ok(_) => tx.commit().await,
                Err(JournalError::Db(error)) => Err(error),
                // The job was stopped meanwhile. There is one writer: it is given back before it is asked for again.
                Err(JournalError::Refused(_) | JournalError::UnknownJob(_)) => {
                    drop(tx);
                    self.close(intent, &Outcome::Done).await
                }
            };
        }
        let outcome = match endpoint {
            // A duty whose stage was left is not done any more; clearing the boot override always is.
            endpoint if row.job.intent != number && intent.duty != Duty::ClearBoot => {
                if let (Duty::Power, Some(endpoint)) = (intent.duty, &endpoint) {
                    self.look_back(intent, &row, endpoint).await?;
                }
                Outcome::Done
            }
            Some(endpoint) => self.perform(intent, &row, &endpoint).await?,
            None => {
                failed(HoldReason::ApplianceFailed, format!("endpoint {} is not on record", row.job.endpoint))
            }
        };
        match self
            .journal
            .event(job, "appliance", What::Done { intent: number, outcome: outcome.clone() })
            .await
        {
            Ok(_) => Ok(()),
            Err(JournalError::Db(error)) => Err(error),
            Err(JournalError::Refused(_)) if intent.duty == Duty::ClearBoot => {
                let mut tx = self.journal.begin().await?;
                tx.taken_back(intent, &outcome).await?;
                tx.commit().await
            }
            Err(JournalError::Refused(_) | JournalError::UnknownJob(_)) => self.close(intent, &outcome).await,
        }
    }

    async fn close(&self, intent: &Intent, outcome: &Outcome) -> Result<(), DbError> {
        let mut tx = self.journal.begin().await?;
        tx.close_intent(intent.job, intent.intent, outcome).await?;
        tx.commit().await
    }

    /// What the blueprint's erasure would destroy of what the image preserves, in words; `None`: nothing.
    fn erases_preserved(&self, row: &JobRow, endpoint: &Endpoint, image: &Manifest) -> Option<String> {
        let name = &endpoint.record.blueprint;
        let policy = self.journal.config.blueprints.get(name)?.erase;
        if policy == ErasePolicy::None || row.job.give_up_preserved {
            return None;
        }
        let partitions = &image.header().table.partitions;
        let stays = partitions.iter().find(|partition| partition.policy == Policy::Preserve)?;
        let (erase, number, stays) = (policy.label(), stays.index + 1, &stays.name);
        Some(format!(
            "blueprint `{name}` has erase = \"{erase}\", and the image preserves partition {number} `{stays}`"
        ))
    }

    /// What the blueprint wants of the TPM's own firmware and this TPM does not have, by its last word; `None`: nothing. Before anything is
    /// taken from the endpoint, since no recovery updates a TPM. Once in a job: whoever resumes it says that it was updated, and its proof tells.
    async fn tpm_too_old(&self, row: &JobRow, endpoint: &Endpoint) -> Result<Option<String>, DbError> {
        let blueprint = self.journal.config.blueprints.get(&endpoint.record.blueprint);
        let (Some(floor), Some(ek)) =
            (blueprint.and_then(|blueprint| blueprint.tpm_firmware_min), &endpoint.ek_sha256)
        else {
            return Ok(None);
        };
        let mut conn = self.journal.db.read().await?;
        let found = db::session::tpm_firmware(&mut conn, &endpoint.id, ek).await?;
        let Some(found) = found.filter(|found| *found < floor) else { return Ok(None) };
        if db::job::failed_for(&mut conn, row.job.id, HoldReason::TpmFirmwareOld).await? {
            return Ok(None);
        }
        Ok(Some(attest::Finding::TpmFirmwareOld { floor, found }.to_string()))
    }

    async fn perform(&self, intent: &Intent, row: &JobRow, endpoint: &Endpoint) -> Result<Outcome, DbError> {
        let asks_plane = matches!(intent.duty, Duty::Fence | Duty::Register | Duty::Release);
        let down = || self.live.injects.hits(&row.job, InjectKind::ControlPlaneDown, self.journal.now());
        if let Some(why) = asks_plane.then(down).flatten() {
            return Ok(failed(HoldReason::ControlPlaneFailed, why));
        }
        Ok(match intent.duty {
            Duty::Admit => Outcome::Done,
            // Before a ticket lives.
            Duty::Onward => self.permitted(row, endpoint).await,
            // There is no image yet.
            Duty::CheckImage if row.job.capture.is_some() => Outcome::Done,
            Duty::CheckImage => match self.tpm_too_old(row, endpoint).await? {
                None if row.job.word == Word::ControlPlane && !self.plane.vouches(&endpoint.id).await => {
                    failed(HoldReason::NobodyVouches, NOBODY.to_owned())
                }
                None => self.check_image(row, endpoint).await,
                Some(detail) => failed(HoldReason::TpmFirmwareOld, detail),
            },
            Duty::Publish => match self.journal.tickets.read_of(&self.journal.db, &[row.job.id]).await {
                Ok(()) if self.journal.tickets.holds(row.job.id) => Outcome::Done,
                Ok(()) => {
                    let detail =
                        "the endpoint has no Ethernet address on record, so no boot ticket can select it";
                    failed(HoldReason::ApplianceFailed, detail.to_owned())
                }
                Err(error) => failed(HoldReason::ApplianceFailed, error.chain()),
            },
            Duty::Power => match self.permitted(row, endpoint).await {
                Outcome::Done => self.power(intent, row, endpoint).await?,
                refused => refused,
            },
            Duty::Confirm => self.confirm(row, endpoint).await,
            Duty::ClearBoot => self.clear_boot(row, endpoint).await,
            // A person may have approved it long after the image was checked.
            Duty::Fence => match self.permitted(row, endpoint).await {
                Outcome::Done => told(self.plane.reset_record(&endpoint.id, endpoint.generation).await),
                refused => refused,
            },
            Duty::Release => match self.plane.observe(&endpoint.id, row.job.id).await {
                Ok(Observed::Nothing) if row.job.golden == Some(Proof::ControlPlane) => {
                    failed(HoldReason::ControlPlaneFailed, NOBODY.to_owned())
                }
                Ok(Observed::Nothing | Observed::Passes) => {
                    let lifted = self.plane.lift_quarantine(&endpoint.id, endpoint.generation).await;
                    // Once, whoever is told again and again.
                    if lifted.is_ok() && row.job.golden == Some(Proof::ControlPlane) {
                        self.note_word(row).await?;
                    }
                    told(lifted)
                }
                Ok(Observed::NotYet(why)) => failed(HoldReason::ControlPlaneFailed, why),
                Err(error) => told(Err(error)),
            },
            Duty::Register => {
                let registration = Registration {
                    image: row.job.image.to_string(),
                    certificate: row.job.certificate.clone(),
                    ek_sha256: endpoint.ek_sha256.clone(),
                    job: row.job.id.to_string(),
                    pcrs: db::session::last_pcrs(&mut *self.journal.db.read().await?, row.job.id).await?,
                };
                let (id, generation) = (&endpoint.id, endpoint.generation);
                match self.plane.register(id, generation, &registration).await {
                    Ok(()) => told(self.plane.assign_policy(id, generation, &registration).await),
                    Err(error) => told(Err(error)),
                }
            }
        })
    }

    /// A control plane's word stands for the restored system: in evidence, as what it is.
    async fn note_word(&self, row: &JobRow) -> Result<(), DbError> {
        let facts = json!({ "word": Word::ControlPlane });
        let mut fact =
            Fact::new("proof.word", "appliance", facts).about(&row.job.endpoint).of(Some(row.job.id));
        fact.mode = row.job.mode;
        self.journal.note(fact).await
    }

    async fn check_image(&self, row: &JobRow, endpoint: &Endpoint) -> Outcome {
        match self.golden.check(row.job.image).await {
            Ok(manifest) => match self.erases_preserved(row, endpoint, &manifest) {
                None => self.permitted(row, endpoint).await,
                Some(detail) => failed(HoldReason::EraseConflict, detail),
            },
            Err(error) => failed(error.reason(), error.to_string()),
        }
    }

    /// Somebody else of the site says that it may be taken down now, where its group wants that.
    async fn permitted(&self, row: &JobRow, endpoint: &Endpoint) -> Outcome {
        let Some(permit) = self.journal.config.group(&row.group).permit else { return Outcome::Done };
        let answer = permit::ask(&permit, &endpoint.id).await;
        let said = match &answer {
            Ok(why) => json!({ "asked": permit.url, "permit": true, "why": why }),
            Err(why) => json!({ "asked": permit.url, "permit": false, "why": why }),
        };
        let mut fact = Fact::new("act.permit", "appliance", said).about(&endpoint.id).of(Some(row.job.id));
        fact.mode = row.job.mode;
        match (self.journal.note(fact).await, answer) {
            (Err(error), _) => failed(HoldReason::ApplianceFailed, error.chain()),
            (Ok(()), Ok(_)) => Outcome::Done,
            (Ok(()), Err(why)) => failed(HoldReason::PermitMissing, why),
        }
    }
}

fn failed(reason: HoldReason, detail: String) -> Outcome {
    Outcome::Failed { reason, detail }
}

fn told(result: Result<(), PlaneError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => failed(HoldReason::ControlPlaneFailed, error.to_string()),
    }
}

/// A refusal by the machine is an answer; only the database can be in trouble.
fn settle(result: Result<(), JournalError>) -> Result<(), DbError> {
    match result {
        Ok(()) | Err(JournalError::Refused(_) | JournalError::UnknownJob(_)) => Ok(()),
        Err(JournalError::Db(error)) => Err(error),
    }
}
