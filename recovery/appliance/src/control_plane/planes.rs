//! Several control planes as one: the embedded one first, and after it the fleet's own.
//!
//! ```text
//! call ─► embedded: fails the call, as our own database does
//!      └► each other: taken ─► evidence `plane.told`
//!               └─ not taken ─► row in `plane_queue`, evidence `plane.queued` ─► every so often, in order ─► `plane.told`, row gone
//! ```
//!
//! A recovery needs no uplink: what one of the others does not take is told later, in the order in which it happened. Where a site wants an
//! other's own word before an endpoint is released ([`Other::waits`]), that alone holds the job up.
//!
//! It must never: tell a later step of an endpoint before an earlier one, or an older generation after a newer one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use recovery_protocol::{EndpointId, JobId};
use serde_json::json;
use tokio::time::timeout;

use super::{ControlPlane, Embedded, Observed, PlaneError, Registration};
use crate::{
    db::{
        self,
        plane::{Queued, Step},
    },
    evidence::Fact,
    jobs::journal::{Journal, JournalTx},
};

/// One call; a longer silence is none.
const CALL_MAX: Duration = Duration::from_secs(15);
/// What is queued is tried again this often.
const TRY_EVERY: Duration = Duration::from_secs(30);

/// One of the fleet's own.
pub struct Other {
    /// Its name, as in the configuration.
    pub name: String,
    /// How it is told.
    pub plane: Arc<dyn ControlPlane>,
    /// An endpoint is released only after it says of itself that it passes.
    pub waits: bool,
}

/// All of them.
pub struct Planes {
    journal: Arc<Journal>,
    embedded: Embedded,
    others: Vec<Other>,
    turns: Mutex<HashMap<(String, EndpointId), Turn>>,
}

type Turn = Arc<tokio::sync::Mutex<String>>;

impl Planes {
    /// The embedded one, and these after it.
    #[must_use]
    pub fn new(journal: Arc<Journal>, others: Vec<Other>) -> Self {
        let embedded = Embedded::new(journal.db.clone());
        Self { journal, embedded, others, turns: Mutex::default() }
    }

    /// Tell what is queued, every so often, for ever. Cancel-safe: what was told and not yet taken off the queue is told again.
    async fn keep_telling(&self) {
        if self.others.is_empty() {
            return std::future::pending().await;
        }
        let mut look = tokio::time::interval(TRY_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            if let Err(error) = self.reconcile().await {
                tracing::error!(error = error.chain(), "what is queued for control planes cannot be told");
            }
        }
    }

    /// Tell what is queued, once; how many steps were taken. One that is silent is not asked again in this round.
    ///
    /// # Errors
    /// [`db::DbError`].
    pub async fn reconcile(&self) -> Result<usize, db::DbError> {
        let queued = db::plane::queued(&mut *self.journal.db.read().await?).await?;
        let mut told = 0;
        for other in &self.others {
            let mut stuck: Vec<&EndpointId> = Vec::new();
            for row in queued.iter().filter(|row| row.plane == other.name) {
                // One that is behind an earlier step of the same endpoint waits for it.
                if stuck.contains(&&row.endpoint) {
                    continue;
                }
                match self.tell_queued(other, row).await? {
                    Ok(taken) => told += usize::from(taken),
                    Err(error) => {
                        let (step, why) = (row.step.as_str(), error.why());
                        tracing::warn!(plane = row.plane, endpoint = %row.endpoint, step, why, "still queued");
                        if matches!(error, PlaneError::Silent(_)) {
                            break;
                        }
                        stuck.push(&row.endpoint);
                    }
                }
            }
        }
        Ok(told)
    }

    /// Tell one that was queued, where it still is: a newer recovery may have taken it away. Says whether it was told.
    async fn tell_queued(
        &self,
        other: &Other,
        row: &Queued,
    ) -> Result<Result<bool, PlaneError>, db::DbError> {
        let turn = self.turn(row);
        let mut last = turn.lock().await;
        let queued = db::plane::queued(&mut *self.journal.db.read().await?).await?;
        // What came before it since the look at all of them is told before it, in the next round.
        if queued.iter().find(|queued| queued.beside(row)) != Some(row) {
            return Ok(Ok(false));
        }
        let said = self.tell(other, row).await;
        match &said {
            Ok(taken) => {
                last.clear();
                self.over(row, *taken, true).await?;
            }
            Err(error) => error.why().clone_into(&mut last),
        }
        Ok(said)
    }

    /// Whose turn it is to tell one control plane of one endpoint: from the look at what is queued until that is written anew. It holds why
    /// the last step was not taken.
    fn turn(&self, row: &Queued) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry((row.plane.clone(), row.endpoint.clone())).or_default())
    }

    /// Says whether it was told: of an endpoint that is none of its it is not.
    async fn tell(&self, other: &Other, row: &Queued) -> Result<bool, PlaneError> {
        let (plane, endpoint, generation) = (&other.plane, &row.endpoint, row.generation);
        let call = async {
            if let (Step::Reset, Some(name)) = (row.step, &row.known_as) {
                return plane.reset_name(endpoint, generation, name).await.map(|()| true);
            }
            if plane.known_as(endpoint).await?.is_none() {
                return Ok(false);
            }
            match (&row.step, &row.registration) {
                (Step::Reset, _) => plane.reset_record(endpoint, generation).await?,
                (Step::Register, Some(registration)) => {
                    plane.register(endpoint, generation, registration).await?;
                    plane.assign_policy(endpoint, generation, registration).await?;
                }
                (Step::Register, None) => return Ok(false),
                (Step::Lift, _) => plane.lift_quarantine(endpoint, generation).await?,
            }
            Ok(true)
        };
        let late = |_| PlaneError::Silent(format!("no answer within {} s", CALL_MAX.as_secs()));
        timeout(CALL_MAX, call).await.map_err(late)?
    }

    /// A step is over: off the queue where it was on it, and in evidence where it was taken.
    async fn over(&self, row: &Queued, taken: bool, was_queued: bool) -> Result<(), db::DbError> {
        let mut tx = self.journal.begin().await?;
        let late_ms = was_queued.then(|| tx.at.saturating_sub(row.since));
        db::plane::unqueue(tx.conn(), row).await?;
        if taken {
            let facts = json!({ "plane": row.plane, "step": row.step.as_str(), "generation": row.generation, "late_ms": late_ms });
            tx.note(Fact::new("plane.told", "appliance", facts).about(&row.endpoint)).await?;
        }
        tx.commit().await
    }

    async fn queue(&self, row: &Queued, why: &str) -> Result<(), db::DbError> {
        let mut tx = self.journal.begin().await?;
        let row = Queued { since: tx.at, ..row.clone() };
        queue(&mut tx, &row, why).await?;
        tx.commit().await
    }

    /// One step to all the others; what one does not take is queued.
    async fn to_others(
        &self,
        endpoint: &EndpointId,
        generation: u64,
        step: Step,
        registration: Option<&Registration>,
    ) -> Result<(), PlaneError> {
        for other in &self.others {
            let row = Queued {
                plane: other.name.clone(),
                endpoint: endpoint.clone(),
                generation,
                step,
                registration: registration.cloned(),
                known_as: None,
                since: 0,
            };
            self.to_other(other, row).await.map_err(|error| PlaneError::Refused(error.chain()))?;
        }
        Ok(())
    }

    async fn to_other(&self, other: &Other, mut row: Queued) -> Result<(), db::DbError> {
        let turn = self.turn(&row);
        let mut last = turn.lock().await;
        let (waiting, known) = {
            let mut conn = self.journal.db.read().await?;
            (db::plane::queued(&mut conn).await?, db::plane::get(&mut conn, &row.endpoint).await?)
        };
        // A newer one was told meanwhile, or is queued.
        if known.is_some_and(|known| known.generation > row.generation) {
            return Ok(());
        }
        match other.plane.known_as(&row.endpoint).await {
            Ok(known_as) => row.known_as = known_as,
            Err(error) => {
                error.why().clone_into(&mut last);
                return self.queue(&row, error.why()).await;
            }
        }
        // A new recovery begins anew: what was queued for the one before is not told any more (`queue` and `unqueue` take it away).
        let mut mine = waiting.iter().filter(|queued| queued.beside(&row));
        let before = mine.any(|queued| queued.generation == row.generation && queued.step != row.step);
        if before && row.step != Step::Reset {
            return self.queue(&row, "an earlier step is queued").await;
        }
        match self.tell(other, &row).await {
            Ok(taken) => {
                last.clear();
                self.over(&row, taken, false).await
            }
            Err(error) => {
                error.why().clone_into(&mut last);
                self.queue(&row, error.why()).await
            }
        }
    }

    /// What one whose own word is waited for says. While it was not told all, that is of the endpoint as it was before.
    async fn word(&self, other: &Other, endpoint: &EndpointId, job: JobId) -> Result<Observed, PlaneError> {
        let failed = |error: db::DbError| PlaneError::Refused(error.chain());
        let queued = db::plane::queued(&mut *self.journal.db.read().await.map_err(failed)?).await;
        let queued = queued.map_err(failed)?;
        if let Some(row) = queued.iter().find(|row| row.plane == other.name && row.endpoint == *endpoint) {
            let turn = self.turn(row);
            let last = turn.try_lock().map(|last| last.clone()).unwrap_or_default();
            let step = row.step.as_str();
            return Ok(Observed::NotYet(format!("it was not told the step {step} yet: {last}")));
        }
        let late = |_| PlaneError::Silent(format!("{} does not answer", other.name));
        timeout(CALL_MAX, other.plane.observe(endpoint, job)).await.map_err(late)?
    }
}

/// Queue a step, with its evidence where it was not queued yet.
pub(super) async fn queue(tx: &mut JournalTx<'_>, row: &Queued, why: &str) -> Result<(), db::DbError> {
    if db::plane::queue(tx.conn(), row).await? {
        let facts = json!({ "plane": row.plane, "step": row.step.as_str(), "generation": row.generation, "why": why });
        tx.note(Fact::new("plane.queued", "appliance", facts).about(&row.endpoint)).await?;
    }
    Ok(())
}

impl ControlPlane for Planes {
    fn run(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.keep_telling())
    }

    fn reset_record<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move {
            self.embedded.reset_record(endpoint, generation).await?;
            self.to_others(endpoint, generation, Step::Reset, None).await
        })
    }

    fn register<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
        registration: &'a Registration,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move {
            self.embedded.register(endpoint, generation, registration).await?;
            self.to_others(endpoint, generation, Step::Register, Some(registration)).await
        })
    }

    fn observe<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        job: JobId,
    ) -> BoxFuture<'a, Result<Observed, PlaneError>> {
        Box::pin(async move {
            let mut said = Observed::Nothing;
            for other in self.others.iter().filter(|other| other.waits) {
                match self.word(other, endpoint, job).await? {
                    Observed::NotYet(why) => return Ok(Observed::NotYet(format!("{}: {why}", other.name))),
                    Observed::Passes => said = Observed::Passes,
                    Observed::Nothing => {}
                }
            }
            Ok(said)
        })
    }

    fn vouches<'a>(&'a self, endpoint: &'a EndpointId) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            for other in self.others.iter().filter(|other| other.waits) {
                if matches!(other.plane.known_as(endpoint).await, Ok(Some(_))) {
                    return true;
                }
            }
            false
        })
    }

    fn lift_quarantine<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        generation: u64,
    ) -> BoxFuture<'a, Result<(), PlaneError>> {
        Box::pin(async move {
            self.embedded.lift_quarantine(endpoint, generation).await?;
            self.to_others(endpoint, generation, Step::Lift, None).await
        })
    }
}
