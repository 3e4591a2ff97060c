//! Acts on an endpoint's power: into the network, and the boot override taken back. One at a time for each endpoint.
//!
//! ```text
//! act ─► the endpoint's turn ─► looks ─► still wanted? ─► off, override, on ─► outcome
//!                                                            └─ failed after "off" ─► how it was left stands with the job
//! ```
//!
//! A job may leave Powering (its limit, a person, another job) while a slow BMC is still being spoken to. What comes next waits for its
//! turn, finds what was done, and asks again whether it is wanted. It must never: switch what no job wants any more, or clear the override
//! that a later job has set.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::BoxFuture;
use recovery_protocol::{
    EndpointId, JobId,
    job::{HoldReason, JobState, Stage},
};
use serde_json::json;

use super::{super::job::Outcome, Runner, failed};
use crate::{
    db::{self, DbError, endpoint::Endpoint, job::Intent, job::JobRow},
    evidence::Fact,
    jobs::journal::Journal,
    power::{PowerError, Powered, Still, Target},
    service::switches,
};

/// A recovery system that spoke this recently is there: it need not be powered.
const THERE_MS: u64 = 30_000;

/// Whose turn it is at each endpoint's power.
#[derive(Default)]
pub struct Switches(Mutex<HashMap<EndpointId, Arc<tokio::sync::Mutex<()>>>>);

impl Switches {
    /// Waits for the endpoint's turn, which lasts as long as the guard.
    async fn turn(&self, endpoint: &EndpointId) -> tokio::sync::OwnedMutexGuard<()> {
        let switch = {
            let mut switches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever waits or acts holds one, too.
            switches.retain(|_, switch| Arc::strong_count(switch) > 1);
            Arc::clone(switches.entry(endpoint.clone()).or_default())
        };
        switch.lock_owned().await
    }
}

impl Runner {
    pub(super) async fn power(
        &self,
        intent: &Intent,
        row: &JobRow,
        endpoint: &Endpoint,
    ) -> Result<Outcome, DbError> {
        let _turn = self.switches.turn(&endpoint.id).await;
        let inherited = self.is_inherited(intent);
        let seen = self.live.recovery_system_seen(&endpoint.id);
        let there = seen > 0 && self.journal.now().saturating_sub(seen) < THERE_MS;
        let facts = if there {
            json!({ "by": "nobody", "why": "the recovery system is running already" })
        } else if inherited && self.power.probe(&target(endpoint, row)).await {
            json!({ "by": "nobody", "why": "it was powered into the network before the appliance restarted" })
        } else {
            // On record before this was refused, or written into the database by another way.
            let mut conn = self.journal.db.read().await?;
            let shared = switches::shared(&mut conn, &endpoint.id, &endpoint.record.power).await?;
            drop(conn);
            if let Some((at, other)) = shared {
                return Ok(failed(HoldReason::PowerFailed, PowerError::Shared { at, other }.to_string()));
            }
            let still = StillPowering { journal: &self.journal, job: intent.job, intent: intent.intent };
            let powered = self.power.power_into_network(&target(endpoint, row), &still).await;
            self.take_back(&still, row, endpoint).await;
            if let Err(error) = &powered {
                match error.left_dark() {
                    // Where it cannot be written the intent stays open: the act is done again.
                    Some(_) => self.say_dark(row, error).await?,
                    None if inherited => self.say_how_it_stands(row, endpoint).await?,
                    None => {}
                }
            }
            match powered {
                Ok(Powered::Confirmed { by }) => json!({ "by": by }),
                Ok(Powered::Asked { task }) => json!({ "by": "person", "task": task }),
                Err(error @ (PowerError::Withdrawn | PowerError::Fenced)) => {
                    json!({ "by": "nobody", "why": error.to_string() })
                }
                Err(error) => return Ok(failed(HoldReason::PowerFailed, error.to_string())),
            }
        };
        let mut fact = Fact::new("act.power", "appliance", facts).about(&endpoint.id).of(Some(row.job.id));
        fact.mode = row.job.mode;
        Ok(match self.journal.note(fact).await {
            Ok(()) => Outcome::Done,
            Err(error) => failed(HoldReason::PowerFailed, error.chain()),
        })
    }

    /// Whether it may have been begun before. It is so until its outcome is written.
    fn is_inherited(&self, intent: &Intent) -> bool {
        let inherited = self.inherited.lock().unwrap_or_else(PoisonError::into_inner);
        inherited.contains(&(intent.job, intent.intent))
    }

    /// Before an act that may have been begun and that its job does not wait for any more is forgotten: did it leave the endpoint dark?
    pub(super) async fn look_back(
        &self,
        intent: &Intent,
        row: &JobRow,
        endpoint: &Endpoint,
    ) -> Result<(), DbError> {
        if !self.is_inherited(intent) {
            return Ok(());
        }
        let _turn = self.switches.turn(&endpoint.id).await;
        match row.job.state {
            // It is powered once more, by the next act, which knows of this one then.
            JobState::Working { stage: Stage::Powering } => {
                let mut inherited = self.inherited.lock().unwrap_or_else(PoisonError::into_inner);
                inherited.insert((row.job.id, row.job.intent));
                Ok(())
            }
            // It came up, or its limit falls.
            JobState::Working { .. } => Ok(()),
            _ => self.say_how_it_stands(row, endpoint).await,
        }
    }

    async fn say_how_it_stands(&self, row: &JobRow, endpoint: &Endpoint) -> Result<(), DbError> {
        let error = PowerError::Interrupted.leaving(self.power.stands(&target(endpoint, row)).await);
        if error.left_dark().is_some() { self.say_dark(row, &error).await } else { Ok(()) }
    }

    /// In a transaction of its own: the outcome of an act that a job does not wait for any more changes nothing and shows nowhere.
    async fn say_dark(&self, row: &JobRow, error: &PowerError) -> Result<(), DbError> {
        let mut tx = self.journal.begin().await?;
        tx.left_dark(row.job.id, error.to_string()).await?;
        tx.commit().await
    }

    pub(super) async fn clear_boot(&self, row: &JobRow, endpoint: &Endpoint) -> Outcome {
        let _turn = self.switches.turn(&endpoint.id).await;
        let boots_again = match self.boots_again(row).await {
            Ok(again) => again,
            Err(error) => return failed(HoldReason::ApplianceFailed, error.chain()),
        };
        let mut earlier = Ok(());
        // What is on record again is another job's, or stands below.
        let gone = row.job.powered_by.iter().filter(|power| !endpoint.record.power.each().contains(power));
        for power in gone {
            earlier = self.power.clear_boot(&Target { power, ..target(endpoint, row) }).await.and(earlier);
        }
        let cleared = match boots_again {
            // It clears its own at its end.
            true => earlier,
            false => self.power.clear_boot(&target(endpoint, row)).await.and(earlier),
        };
        match cleared {
            Ok(()) => Outcome::Done,
            Err(error) => {
                self.say_override_left(row, endpoint, &error).await;
                failed(HoldReason::PowerFailed, error.to_string())
            }
        }
    }

    /// Once: it is tried again. One that works on tells by its state.
    async fn say_override_left(&self, row: &JobRow, endpoint: &Endpoint, error: &PowerError) {
        if matches!(row.job.state, JobState::Working { .. }) || row.job.boot_left.is_some() {
            return;
        }
        let now = "without a boot ticket it leads to the endpoint's own disk; take it back at the BMC";
        let facts = json!({ "why": error.to_string(), "what_now": now });
        let fact =
            Fact::new("alarm.override-left", "appliance", facts).about(&endpoint.id).of(Some(row.job.id));
        tracing::warn!(%error, "a boot override or virtual CD could not be taken back");
        if let Err(error) = self.journal.note(fact).await {
            tracing::error!(error = error.chain(), "and that could not be put into evidence");
        }
    }

    /// Another job of the same endpoint boots it by now, or this one again, since a person resumed it: the override is that one's.
    async fn boots_again(&self, row: &JobRow) -> Result<bool, DbError> {
        let mut conn = self.journal.db.read().await?;
        // What is set there may be the work of the appliance that took over.
        self.journal.db.still_ours(&mut conn).await?;
        let open = db::job::open_of(&mut conn, &row.job.endpoint).await?;
        Ok(open.is_some_and(|open| open.job.boots()))
    }

    /// A job that was stopped while its endpoint was powered may have had its override cleared before it was set, or not at all. One that
    /// works on clears it by itself.
    async fn take_back(&self, still: &StillPowering<'_>, row: &JobRow, endpoint: &Endpoint) {
        let rests = match still.row().await {
            Ok(now) => !now.is_some_and(|now| matches!(now.job.state, JobState::Working { .. })),
            Err(error) => {
                tracing::warn!(
                    error = error.chain(),
                    "cannot tell whether a boot override is to be taken back"
                );
                false
            }
        };
        if rests && let Err(error) = self.power.clear_boot(&target(endpoint, row)).await {
            tracing::warn!(%error, "the boot override of a stopped job could not be taken back");
        }
    }
}

/// Whether the job still waits for this intent to power its endpoint, as the journal has it now.
struct StillPowering<'a> {
    journal: &'a Journal,
    job: JobId,
    intent: u32,
}

impl StillPowering<'_> {
    /// Over a connection of its own, for no longer than it reads.
    async fn row(&self) -> Result<Option<JobRow>, DbError> {
        let mut conn = self.journal.db.read().await?;
        self.journal.db.still_ours(&mut conn).await?;
        db::job::get(&mut conn, self.job).await
    }
}

impl Still for StillPowering<'_> {
    fn wanted(&self) -> BoxFuture<'_, Result<(), PowerError>> {
        Box::pin(async {
            // An appliance that was fenced switches nothing: its jobs are another one's.
            let row = match self.row().await {
                Ok(row) => row,
                Err(DbError::Fenced { .. }) => return Err(PowerError::Fenced),
                Err(error) => return Err(PowerError::Unsure(error.chain())),
            };
            let powering = JobState::Working { stage: Stage::Powering };
            match row {
                Some(row) if row.job.intent == self.intent && row.job.state == powering => Ok(()),
                Some(_) | None => Err(PowerError::Withdrawn),
            }
        })
    }
}

fn target<'a>(endpoint: &'a Endpoint, row: &JobRow) -> Target<'a> {
    let (record, round, job) = (&endpoint.record, row.job.round, row.job.id);
    let proves = endpoint.ek_sha256.is_some();
    Target {
        power: &record.power,
        macs: &record.macs,
        chain: record.chain,
        round,
        job,
        endpoint: &endpoint.id,
        proves,
    }
}
