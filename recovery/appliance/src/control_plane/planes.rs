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

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use recovery_protocol::EndpointId;
use serde_json::json;
use tokio::time::timeout;

use super::{ControlPlane, Embedded, Observed, PlaneError, Registration};
use crate::{
    db::{
        self,
        plane::{Queued, Step},
    },
    evidence::Fact,
    jobs::journal::Journal,
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
}

impl Planes {
    /// The embedded one, and these after it.
    #[must_use]
    pub fn new(journal: Arc<Journal>, others: Vec<Other>) -> Self {
        let embedded = Embedded::new(journal.db.clone());
        Self { journal, embedded, others }
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

    /// Tell what is queued, once; how many steps were taken.
    ///
    /// # Errors
    /// [`db::DbError`].
    pub async fn reconcile(&self) -> Result<usize, db::DbError> {
        let queued = db::plane::queued(&mut *self.journal.db.read().await?).await?;
        let mut told = 0;
        let mut stuck: Vec<(&str, &EndpointId)> = Vec::new();
        for row in &queued {
            let Some(other) = self.others.iter().find(|other| other.name == row.plane) else { continue };
            // One that is behind an earlier step of the same endpoint waits for it.
            if stuck.contains(&(row.plane.as_str(), &row.endpoint)) {
                continue;
            }
            match self.tell(other, row).await {
                Ok(()) => {
                    self.told(row, true).await?;
                    told += 1;
                }
                Err(PlaneError(why)) => {
                    tracing::warn!(plane = row.plane, endpoint = %row.endpoint, step = row.step.as_str(), why, "still queued");
                    stuck.push((&row.plane, &row.endpoint));
                }
            }
        }
        Ok(told)
    }

    async fn tell(&self, other: &Other, row: &Queued) -> Result<(), PlaneError> {
        let (plane, endpoint, generation) = (&other.plane, &row.endpoint, row.generation);
        let call = async {
            match (&row.step, &row.registration) {
                (Step::Reset, _) => plane.reset_record(endpoint, generation).await,
                (Step::Register, Some(registration)) => {
                    plane.register(endpoint, generation, registration).await?;
                    plane.assign_policy(endpoint, generation, registration).await
                }
                (Step::Register, None) => Ok(()),
                (Step::Lift, _) => plane.lift_quarantine(endpoint, generation).await,
            }
        };
        let late = |_| PlaneError(format!("no answer within {} s", CALL_MAX.as_secs()));
        timeout(CALL_MAX, call).await.map_err(late)?
    }

    /// A step was taken: in evidence, and off the queue where it was on it.
    async fn told(&self, row: &Queued, was_queued: bool) -> Result<(), db::DbError> {
        let mut tx = self.journal.begin().await?;
        let late_ms = was_queued.then(|| tx.at.saturating_sub(row.since));
        let facts = json!({ "plane": row.plane, "step": row.step.as_str(), "generation": row.generation, "late_ms": late_ms });
        db::plane::unqueue(tx.conn(), row).await?;
        tx.note(Fact::new("plane.told", "appliance", facts).about(&row.endpoint)).await?;
        tx.commit().await
    }

    async fn queue(&self, row: &Queued, why: &str) -> Result<(), db::DbError> {
        let mut tx = self.journal.begin().await?;
        let row = Queued { since: tx.at, ..row.clone() };
        if db::plane::queue(tx.conn(), &row).await? {
            let facts = json!({ "plane": row.plane, "step": row.step.as_str(), "generation": row.generation, "why": why });
            tx.note(Fact::new("plane.queued", "appliance", facts).about(&row.endpoint)).await?;
        }
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
                since: 0,
            };
            self.to_other(other, &row).await.map_err(|error| PlaneError(error.chain()))?;
        }
        Ok(())
    }

    async fn to_other(&self, other: &Other, row: &Queued) -> Result<(), db::DbError> {
        let waiting = db::plane::queued(&mut *self.journal.db.read().await?).await?;
        let mine = |queued: &&Queued| queued.plane == row.plane && queued.endpoint == row.endpoint;
        // A new recovery begins anew: what was queued for the one before is not told any more (`queue` and `unqueue` take it away).
        let before = waiting
            .iter()
            .filter(mine)
            .any(|queued| queued.generation == row.generation && queued.step != row.step);
        if before && row.step != Step::Reset {
            return self.queue(row, "an earlier step is queued").await;
        }
        match self.tell(other, row).await {
            Ok(()) => self.told(row, false).await,
            Err(PlaneError(why)) => self.queue(row, &why).await,
        }
    }
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

    fn observe<'a>(&'a self, endpoint: &'a EndpointId) -> BoxFuture<'a, Result<Observed, PlaneError>> {
        Box::pin(async move {
            let mut said = Observed::Nothing;
            for other in self.others.iter().filter(|other| other.waits) {
                let late = |_| PlaneError(format!("{} does not answer", other.name));
                said = timeout(CALL_MAX, other.plane.observe(endpoint)).await.map_err(late)??;
                if let Observed::NotYet(why) = said {
                    return Ok(Observed::NotYet(format!("{}: {why}", other.name)));
                }
            }
            Ok(said)
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
