//! What a run of a runbook asks of the service: a rehearsal's permit and its job, and what becomes of a job that it gave up.
//!
//! It must never: hand a run a job that somebody else ordered.

use recovery_protocol::{
    EndpointId, JobId, Problem,
    job::JobState,
    operator::{JobView, Mode},
};
use serde_json::json;

use super::{
    Actor, Inner, Service,
    orders::{self, Asked},
};
use crate::{
    db,
    evidence::Fact,
    jobs::job::What,
    refusals::{unknown_endpoint, unknown_job},
};

/// Jobs of an endpoint among which an order's own is looked for.
const RECENT: u32 = 50;

/// Permission to recover one endpoint as a rehearsal. It exists only for endpoints whose record says drill-safe:
/// a drill cannot name another.
#[derive(Debug, PartialEq, Eq)]
pub struct DrillPermit {
    endpoint: EndpointId,
}

impl Service {
    /// A permit to rehearse on this endpoint; not drill-safe: 409 `not-drill-safe`.
    pub async fn drill_permit(&self, endpoint: &EndpointId) -> Result<DrillPermit, Problem> {
        let mut conn = self.0.journal.db.read().await?;
        let found =
            db::endpoint::get(&mut conn, endpoint).await?.ok_or_else(|| unknown_endpoint(endpoint))?;
        if !found.record.drill_safe {
            let remedy = "drill on an endpoint that was added with drill_safe = true";
            let detail =
                format!("the record of {endpoint} does not say that it may be the target of a drill");
            return Err(Problem::new(
                409,
                "not-drill-safe",
                "This endpoint is not drill-safe",
                detail,
                remedy,
            ));
        }
        Ok(DrillPermit { endpoint: found.id })
    }

    /// Start a rehearsal recovery for an order of a drill. The same order again is the same job, also when it is over. A job of somebody
    /// else: 409 `job-open`.
    pub async fn propose_drill(
        &self,
        actor: &Actor,
        permit: DrillPermit,
        order: &str,
    ) -> Result<JobView, Problem> {
        self.of_order(actor, &permit.endpoint, Mode::Drill, order).await
    }

    /// Start a real recovery for an order of a run, in the name of who asked for the run: the guard rails judge it as theirs. Else as
    /// [`Service::propose_drill`].
    pub async fn propose_real(
        &self,
        actor: &Actor,
        endpoint: &EndpointId,
        order: &str,
    ) -> Result<JobView, Problem> {
        self.of_order(actor, endpoint, Mode::Real, order).await
    }

    async fn of_order(
        &self,
        actor: &Actor,
        endpoint: &EndpointId,
        mode: Mode,
        order: &str,
    ) -> Result<JobView, Problem> {
        let (trigger, word) = match mode {
            Mode::Drill => ("drill", "drill"),
            Mode::Real => ("operator", "run"),
        };
        let reason = format!("{word} {order}");
        if let Some(made) = made_before(&self.0, endpoint, &reason).await? {
            return orders::one(&self.0, made).await;
        }
        let (trigger, automatic, give_up_preserved) = (trigger.to_owned(), false, false);
        let asked = Asked { actor, trigger, reason: &reason, mode, automatic, give_up_preserved };
        let view = orders::order(&self.0, endpoint, asked).await?;
        if view.reason == reason { Ok(view) } else { Err(not_ours(endpoint, view.job)) }
    }

    /// Append a fact about a rehearsal; what is no rehearsal is noted by [`Service::note`].
    pub async fn note_drill(
        &self,
        kind: &str,
        actor: &Actor,
        endpoint: Option<&EndpointId>,
        facts: serde_json::Value,
    ) -> Result<(), Problem> {
        let mut fact = Fact::new(kind, &actor.name, facts);
        (fact.endpoint, fact.mode) = (endpoint.cloned(), Mode::Drill);
        Ok(self.0.journal.note(fact).await?)
    }

    /// Nobody waits for this job of a run any more. Cancelled where its order to write has not gone out; else it stays with people, and that it goes on is on record.
    /// What became of it, in a sentence.
    pub async fn let_go(&self, actor: &Actor, job: JobId, order: &str) -> Result<String, Problem> {
        let mut tx = self.0.journal.begin().await?;
        let row = db::job::get(tx.conn(), job).await?.ok_or_else(|| unknown_job(job))?;
        let stage = match &row.job.state {
            JobState::Working { stage } | JobState::Held { stage, .. } => *stage,
            JobState::Recovered
            | JobState::Captured
            | JobState::Cancelled { .. }
            | JobState::Failed { .. } => return Ok(format!("job {job} was over before")),
        };
        let goes_on = row.job.touched || stage.past_point_of_no_return();
        let reason = format!("nobody waits for {order} any more");
        let kind = if goes_on { "drill.left" } else { "order.cancel" };
        let facts = json!({ "reason": reason, "state": row.job.state, "touched": row.job.touched });
        let mut fact = Fact::new(kind, &actor.name, facts).about(&row.job.endpoint).of(Some(job));
        fact.mode = row.job.mode;
        tx.note(fact).await?;
        if !goes_on {
            tx.event(job, &actor.name, What::Cancel { by: actor.name.clone() }).await?;
        }
        tx.commit().await?;
        Ok(match goes_on {
            false => format!("job {job} was cancelled before anything was written"),
            true => format!(
                "job {job} is past the point of no return ({}) and goes on to its end; cancel it by hand if it must not",
                stage.label()
            ),
        })
    }
}

/// The job that this order made. An appliance that lost power between the job and the order's own record finds it here.
async fn made_before(inner: &Inner, endpoint: &EndpointId, reason: &str) -> Result<Option<JobId>, Problem> {
    let mut conn = inner.journal.db.read().await?;
    let recent = db::job::list(&mut conn, Some(endpoint), RECENT).await?;
    Ok(recent.into_iter().find(|row| row.reason == reason).map(|row| row.job.id))
}

fn not_ours(endpoint: &EndpointId, job: JobId) -> Problem {
    let detail = format!("job {job} of {endpoint} is open and was ordered by somebody else");
    let remedy = "wait until it is over, or cancel it; then run it again";
    Problem::new(409, "job-open", "The endpoint has a job already", detail, remedy)
}
