//! Breaking the glass: a recovery begins though the second person whom it wants is not there, and another one looks at it afterwards.
//!
//! ```text
//! engineer, technician ─► reason ─► alarm.break-glass, job goes on without its approval ─► review by another person within 24 h
//!                                                                                              └─► late: alarm.review-overdue
//! ```
//!
//! It stands for the missing approval and for nothing else. What protects the plant stays: STOP, guard rails (`max_concurrent`, `max_share_percent`,
//! `min_healthy`, an open identity conflict), the permit, windows of none, the trust in the image, and what a proof alone decides (another identity,
//! other firmware). In safety class 3 nobody breaks the glass.
//!
//! It must never: begin anything silently.

use recovery_protocol::{
    EndpointId, JobId, Problem,
    job::{HoldReason, JobState, Stage},
    operator::{Decision, JobView, Mode},
    people::{NewReview, ReviewView},
};
use serde_json::json;

use super::{
    Actor, Inner, Service,
    orders::{self, Asked, within},
    scope, stop,
};
use crate::{
    db::{
        self, Conn,
        endpoint::Endpoint,
        job::JobRow,
        review::{Review, Said},
    },
    evidence::Fact,
    guard,
    jobs::job::{Admission, What},
    refusals::{unknown_endpoint, unknown_job},
};

/// How long another person has.
const REVIEW_MS: u64 = 24 * 3_600_000;
/// A class that was lowered counts for so long, as for admission.
const CLASS_MS: u64 = 24 * 3_600_000;
/// The fewest characters of a reason: "x" is none.
const REASON_LEAST: usize = 8;

impl Service {
    /// Begin a recovery without the approval that it wants. 409 `approval-not-missing`, `glass-not-here`, 422 `reason-missing`.
    pub async fn break_glass(
        &self,
        actor: &Actor,
        endpoint: &EndpointId,
        order: Decision,
    ) -> Result<JobView, Problem> {
        let inner = &self.0;
        let ordered = break_it(inner, actor, endpoint, order).await;
        if let Err(problem) = &ordered {
            let facts = json!({
                "order": "break-glass", "named": endpoint, "code": problem.code, "detail": problem.detail,
            });
            inner.journal.note(Fact::new("refusal.order", &actor.name, facts)).await?;
            inner.live.count("refusal", &problem.code);
        }
        ordered
    }

    /// What keeps them from it. As [`Service::break_glass`].
    pub async fn may_break_glass(&self, actor: &Actor, endpoint: &EndpointId) -> Result<(), Problem> {
        let inner = &self.0;
        let mut conn = inner.journal.db.read().await?;
        let found =
            db::endpoint::get(&mut conn, endpoint).await?.ok_or_else(|| unknown_endpoint(endpoint))?;
        scope::covers(inner, actor, &found)?;
        let open = db::job::open_of(&mut conn, endpoint).await?;
        wanted(inner, &mut conn, &found, open.as_ref(), self.now()).await
    }

    /// Recoveries that somebody began so and nobody has looked at.
    pub async fn reviews(&self) -> Result<Vec<ReviewView>, Problem> {
        open(&mut *self.0.journal.db.read().await?, self.now()).await
    }

    /// Say what you think of one. 404 `unknown-review`, 409 `second-person-needed`, 422 `reason-missing`.
    pub async fn review(
        &self,
        actor: &Actor,
        job: JobId,
        order: NewReview,
    ) -> Result<Vec<ReviewView>, Problem> {
        let inner = &self.0;
        let mut tx = inner.journal.begin().await?;
        let at = tx.at;
        let row = db::job::get(tx.conn(), job).await?.ok_or_else(|| unknown_job(job))?;
        if let Some(endpoint) = db::endpoint::get(tx.conn(), &row.job.endpoint).await? {
            scope::covers(inner, actor, &endpoint)?;
        }
        let open_ones = db::review::open(tx.conn(), None).await?;
        let Some(review) = open_ones.into_iter().find(|review| review.job == job) else {
            let detail = format!("job {job} waits for no review");
            let remedy = "see which do with `groundstate job review`";
            return Err(Problem::new(404, "unknown-review", "There is nothing to review", detail, remedy));
        };
        let note = within(&order.note);
        spoken(&note)?;
        if review.broke == actor.name || row.job.asked_by == actor.name {
            let detail = format!("{} asked for it or broke the glass", actor.name);
            let remedy = "let another person look at it: an engineer, approver or admin";
            return Err(Problem::new(
                409,
                "second-person-needed",
                "Another person must review it",
                detail,
                remedy,
            ));
        }
        let said = Said { by: actor.name.clone(), at, justified: order.justified, note };
        db::review::end(tx.conn(), job, &said).await?;
        let facts = json!({
            "broke": review.broke, "reason": review.reason, "justified": said.justified, "note": said.note,
            "late": at > review.due,
        });
        let mut fact = Fact::new("order.review", &actor.name, facts).about(&review.endpoint).of(Some(job));
        fact.mode = row.job.mode;
        tx.note(fact).await?;
        tx.commit().await?;
        self.reviews().await
    }
}

/// What is open at this time.
pub async fn open(conn: &mut Conn, now: u64) -> Result<Vec<ReviewView>, Problem> {
    let view = |review: Review| ReviewView {
        job: review.job,
        endpoint: review.endpoint,
        broke: review.broke,
        reason: review.reason,
        at_unix_ms: review.at,
        due_unix_ms: review.due,
        overdue: now >= review.due,
    };
    Ok(db::review::open(conn, None).await?.into_iter().map(view).collect())
}

fn spoken(reason: &str) -> Result<(), Problem> {
    if reason.trim().chars().count() >= REASON_LEAST {
        return Ok(());
    }
    let detail = format!("it goes into evidence, and {REASON_LEAST} characters are the least");
    Err(Problem::new(
        422,
        "reason-missing",
        "Say why",
        detail,
        "write what happened, for who reads it tomorrow",
    ))
}

async fn break_it(
    inner: &Inner,
    actor: &Actor,
    id: &EndpointId,
    order: Decision,
) -> Result<JobView, Problem> {
    let endpoint = db::endpoint::get(&mut *inner.journal.db.read().await?, id).await?;
    let endpoint = endpoint.ok_or_else(|| unknown_endpoint(id))?;
    scope::covers(inner, actor, &endpoint)?;
    orders::on_record(&endpoint)?;
    let reason = within(&order.reason);
    spoken(&reason)?;
    let choice = orders::choose(inner, &endpoint).await?;
    let mut tx = inner.journal.begin().await?;
    let at = tx.at;
    let endpoint = db::endpoint::get(tx.conn(), id).await?.ok_or_else(|| unknown_endpoint(id))?;
    scope::covers(inner, actor, &endpoint)?;
    stop::none_stands(tx.conn()).await?;
    let open = db::job::open_of(tx.conn(), id).await?;
    wanted(inner, tx.conn(), &endpoint, open.as_ref(), at).await?;
    let row = match open {
        Some(row) => {
            rails_hold(inner, tx.conn(), &row, at).await?;
            row
        }
        None => {
            let asked = Asked {
                actor,
                trigger: "operator".to_owned(),
                reason: &reason,
                mode: Mode::Real,
                automatic: false,
                give_up_preserved: false,
                keep: None,
                keep_seconds: None,
            };
            orders::make(&mut tx, &endpoint, &choice, asked).await?
        }
    };
    let (job, by) = (row.job.id, actor.name.clone());
    let edited = db::endpoint::edited_by(tx.conn(), id, &by, at.saturating_sub(CLASS_MS)).await?;
    let due = at.saturating_add(REVIEW_MS);
    let facts = json!({
        "reason": reason, "safety_class": inner.journal.config.rails(&endpoint.record).safety_class,
        "asked_by": row.job.asked_by, "edited_the_record": edited, "review_until_unix_ms": due,
    });
    // The alarm comes before what it is about, in the log too.
    tx.note(Fact::new("alarm.break-glass", &by, facts).about(id).of(Some(job))).await?;
    tx.event(job, &by, What::BreakGlass { by: by.clone() }).await?;
    let review = Review { job, endpoint: id.clone(), broke: by, reason, at, due, said: None };
    db::review::begin(tx.conn(), &review).await?;
    tx.commit().await?;
    tracing::warn!(%job, endpoint = %id, by = review.broke, "the glass was broken");
    orders::one(inner, job).await
}

/// What the guard rails let in while it waited for its approval, they are asked again: 409 `guard-rail`.
async fn rails_hold(inner: &Inner, conn: &mut Conn, row: &JobRow, at: u64) -> Result<(), Problem> {
    let verdict = guard::admit(conn, &inner.journal.config, row, at).await?;
    let Admission::Refused { rule } = verdict else { return Ok(()) };
    let remedy = "what the rule protects is not behind the glass; wait, or see to what it names";
    Err(Problem::new(409, "guard-rail", "A guard rail holds it", rule, remedy))
}

/// An approval is what is missing, and may be done without.
async fn wanted(
    inner: &Inner,
    conn: &mut Conn,
    endpoint: &Endpoint,
    open: Option<&JobRow>,
    at: u64,
) -> Result<(), Problem> {
    let id = &endpoint.id;
    let config = &inner.journal.config;
    // A job stands under the rules of the group that it was ordered in, too.
    let ordered = open.map_or(0, |row| config.group(&row.group).safety_class);
    let now = config.rails(&endpoint.record).safety_class.max(ordered);
    let class = now.max(db::endpoint::class_since(conn, id, at.saturating_sub(CLASS_MS)).await?);
    if class >= 3 {
        let detail = format!(
            "{id} is of safety class 3: what it protects is worth more than the time until a second person is here"
        );
        let remedy = "call a second person; the manual's page of the plant says whom";
        return Err(Problem::new(409, "glass-not-here", "There is no glass to break here", detail, remedy));
    }
    let refused = |detail: String| {
        let remedy = "order the recovery as usual, or approve what its job asks for";
        Err(Problem::new(409, "approval-not-missing", "It does not wait for an approval", detail, remedy))
    };
    match open {
        Some(row) if row.job.capture.is_some() => refused(format!("{id} is being captured")),
        Some(row) if row.job.mode == Mode::Drill => refused(format!("{id} is being rehearsed")),
        Some(row) => match &row.job.state {
            JobState::Held { reason: HoldReason::AwaitingApproval, .. } => Ok(()),
            JobState::Working { stage: Stage::Proposed | Stage::Admitted }
                if class >= 2 && row.job.break_glass.is_none() =>
            {
                Ok(())
            }
            _ => refused(format!("job {} of {id} waits for something else", row.job.id)),
        },
        None if class >= 2 => Ok(()),
        None => refused(format!(
            "a recovery of {id} that a person orders is its own approval (safety class {class})"
        )),
    }
}

/// Tell, once for each, that nobody looked at it in time.
pub async fn tell_overdue(journal: &crate::jobs::journal::Journal) -> Result<(), db::DbError> {
    let late = db::review::open(&mut *journal.db.read().await?, Some(journal.now())).await?;
    for review in late {
        let facts = json!({ "broke": review.broke, "reason": review.reason, "due_unix_ms": review.due });
        let mut tx = journal.begin().await?;
        db::review::told(tx.conn(), review.job).await?;
        tx.note(
            Fact::new("alarm.review-overdue", "appliance", facts)
                .about(&review.endpoint)
                .of(Some(review.job)),
        )
        .await?;
        tx.commit().await?;
    }
    Ok(())
}
