//! What a run of a runbook asks of the service: a rehearsal's permit and its job, and what becomes of a job that it gave up.
//!
//! It must never: hand a run a job that somebody else ordered.

use recovery_protocol::{
    EndpointId, JobId, Problem,
    exhibit::{Keep, SECONDS},
    job::JobState,
    operator::{JobView, Mode},
};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::{
    Actor, Inner, Service,
    orders::{self, Asked},
};
use crate::{
    db,
    evidence::Fact,
    injects::Injects,
    jobs::job::What,
    refusals::{unknown_endpoint, unknown_job},
};

/// Wrong drill codes until the job is given up.
const CODE_TRIES: u64 = 3;
/// Jobs of an endpoint among which an order's own is looked for.
const RECENT: u32 = 50;

/// Permission to recover one endpoint as a rehearsal. It exists only for endpoints whose record says drill-safe:
/// a drill cannot name another.
#[derive(Debug, PartialEq, Eq)]
pub struct DrillPermit {
    endpoint: EndpointId,
}

impl DrillPermit {
    /// Whose.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointId {
        &self.endpoint
    }
}

/// What jobs of a run left behind, one sentence each; empty: nothing of that kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leftovers {
    /// Boot tickets, enrolment tickets and EST secrets that still open something.
    pub tickets: Vec<String>,
    /// Addresses lent to an endpoint that did not come back.
    pub leases: Vec<String>,
    /// Certificates that nobody has.
    pub identities: Vec<String>,
    /// Boot overrides and media that are still set.
    pub overrides: Vec<String>,
}

impl Service {
    /// What goes wrong on purpose now.
    #[must_use]
    pub fn injects(&self) -> &Injects {
        &self.0.live.injects
    }

    /// What these jobs of one endpoint left behind. 404 `unknown-endpoint`.
    pub async fn leftovers(&self, endpoint: &EndpointId, jobs: &[JobId]) -> Result<Leftovers, Problem> {
        let mut conn = self.0.journal.db.read().await?;
        let now = self.0.journal.now();
        let found =
            db::endpoint::get(&mut conn, endpoint).await?.ok_or_else(|| unknown_endpoint(endpoint))?;
        let mut left = Leftovers::default();
        let mut came_back = false;
        for job in jobs {
            let Some(row) = db::job::get(&mut conn, *job).await? else { continue };
            let recovered = row.job.state == JobState::Recovered;
            came_back |= recovered;
            if !row.job.state.is_over() {
                left.tickets.push(format!("job {job} is open"));
            }
            if db::ticket::live_boot_of(&mut conn, *job).await?.is_some() {
                left.tickets.push(format!("the boot ticket of job {job} lives"));
            }
            let enrolment = db::ticket::enrolment_of(&mut conn, *job).await?;
            if !recovered && enrolment.is_some_and(|ticket| ticket.voided.is_none()) {
                left.tickets.push(format!("the enrolment ticket of job {job} lives"));
            }
            let est = db::ticket::est(&mut conn, *job).await?;
            if est.is_some_and(|est| est.voided.is_none() && est.spent.is_none() && now < est.expires) {
                left.tickets.push(format!("the EST secret of job {job} is unspent"));
            }
            if row.job.boot_set {
                let why = row.job.boot_left.as_deref().unwrap_or("it is being taken back");
                left.overrides.push(format!("what job {job} set for the boot stands: {why}"));
            }
        }
        let valid = db::ticket::valid_of(&mut conn, endpoint).await?;
        for (at, (serial, job)) in valid.iter().enumerate().filter(|(_, (_, job))| jobs.contains(job)) {
            // The newest is what the endpoint shows, if it came back.
            if at > 0 || !came_back {
                left.identities
                    .push(format!("certificate {serial} of job {job} is valid, and nobody has it"));
            }
        }
        if !came_back && !jobs.is_empty() {
            for lease in db::lease::running(&mut conn, now).await? {
                if found.record.macs.iter().any(|mac| mac.to_string() == lease.mac) {
                    left.leases.push(format!("{} is lent to {}", lease.address, lease.mac));
                }
            }
        }
        Ok(left)
    }

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
    /// else: 409 `job-open`. `keep_seconds`: it keeps what may show the cause, for so long; `None`: as its blueprint has it.
    pub async fn propose_drill(
        &self,
        actor: &Actor,
        permit: DrillPermit,
        order: &str,
        keep_seconds: Option<u32>,
    ) -> Result<JobView, Problem> {
        self.of_order(actor, &permit.endpoint, Mode::Drill, order, keep_seconds).await
    }

    /// Start a real recovery for an order of a run, in the name of who asked for the run: the guard rails judge it as theirs. Else as
    /// [`Service::propose_drill`].
    pub async fn propose_real(
        &self,
        actor: &Actor,
        endpoint: &EndpointId,
        order: &str,
        keep_seconds: Option<u32>,
    ) -> Result<JobView, Problem> {
        self.of_order(actor, endpoint, Mode::Real, order, keep_seconds).await
    }

    async fn of_order(
        &self,
        actor: &Actor,
        endpoint: &EndpointId,
        mode: Mode,
        order: &str,
        keep_seconds: Option<u32>,
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
        let keep = keep_seconds.map(|_| Keep::Quick);
        let keep_seconds = keep_seconds.map(|seconds| seconds.clamp(*SECONDS.start(), *SECONDS.end()));
        let asked =
            Asked { actor, trigger, reason: &reason, mode, automatic, give_up_preserved, keep, keep_seconds };
        let view = orders::order(&self.0, endpoint, asked, None).await?;
        if view.reason == reason { Ok(view) } else { Err(not_ours(endpoint, view.job)) }
    }

    /// Match the code on the screen of hardware that a drill is to write. 409 `no-drill-code`, `drill-code-wrong`; after the third wrong one the job is cancelled.
    pub async fn match_drill_code(&self, actor: &Actor, job: JobId, code: &str) -> Result<(), Problem> {
        let mut tx = self.0.journal.begin().await?;
        let row = db::job::get(tx.conn(), job).await?.ok_or_else(|| unknown_job(job))?;
        let shown = db::drill_code::of(tx.conn(), job).await?.filter(|_| !row.job.state.is_over());
        let Some(shown) = shown.filter(|shown| shown.matched.is_none() && shown.wrong < CODE_TRIES) else {
            let remedy = "look at its screen: it shows a code when it needs one";
            let detail = format!("{} waits for none", row.job.endpoint);
            return Err(Problem::new(
                409,
                "no-drill-code",
                "This endpoint shows no drill code",
                detail,
                remedy,
            ));
        };
        let right = bool::from(code.trim().as_bytes().ct_eq(shown.code.as_bytes()));
        let left = CODE_TRIES.saturating_sub(shown.wrong + 1);
        let (kind, facts) = match right {
            true => ("proof.drill-code", json!({})),
            false => ("refusal.drill-code", json!({ "tries_left": left })),
        };
        let mut fact = Fact::new(kind, &actor.name, facts).about(&row.job.endpoint).of(Some(job));
        fact.mode = Mode::Drill;
        tx.note(fact).await?;
        let at = tx.at;
        match right {
            true => db::drill_code::matched(tx.conn(), job, &actor.name, at).await?,
            false => db::drill_code::wrong(tx.conn(), job).await?,
        }
        if !right && left == 0 {
            let cancel = || What::Cancel { by: "appliance: three wrong drill codes".to_owned() };
            let row = tx.event(job, "appliance", cancel()).await?;
            // Where an order to write could have gone out, the first only stops it. None did: this code stands before it.
            if matches!(row.job.state, JobState::Held { .. }) {
                tx.event(job, "appliance", cancel()).await?;
            }
        }
        tx.commit().await?;
        if right {
            return Ok(());
        }
        let detail = format!("the screen shows another code; {left} tries are left");
        let remedy = "stand before the endpoint that is meant, and read its code; after the third wrong one the drill goes on without it";
        Err(Problem::new(409, "drill-code-wrong", "This is not the code on its screen", detail, remedy))
    }

    /// The endpoints of these jobs that show a drill code which nobody matched yet.
    pub async fn drill_codes(&self, jobs: &[JobId]) -> Result<Vec<EndpointId>, Problem> {
        let mut conn = self.0.journal.db.read().await?;
        let mut waiting = Vec::new();
        for job in jobs {
            let shown = db::drill_code::of(&mut conn, *job).await?;
            if shown.is_some_and(|shown| shown.matched.is_none() && shown.wrong < CODE_TRIES)
                && let Some(row) = db::job::get(&mut conn, *job).await?
                && !row.job.state.is_over()
            {
                waiting.push(row.job.endpoint);
            }
        }
        Ok(waiting)
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
