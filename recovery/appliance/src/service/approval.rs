//! What an approval says yes to: everything that decides what would be done to which machine, as one hash. An approval names the hash that its
//! giver saw, so it is void when anything of it is another now, and it is used up by the step that it allows.
//!
//! It must never: be asked for a hash that nobody could have seen.

use recovery_protocol::{
    JobId, Problem,
    job::{HoldReason, JobState, Word},
    operator::{Approval, JobView},
};
use serde_json::json;

use super::{Actor, Inner, Service, orders, scope, stop};
use crate::{
    config::Config,
    db::{self, Conn, endpoint::Endpoint, job::JobRow},
    evidence::Fact,
    jobs::job::What,
    refusals::unknown_job,
};

/// Whoever changed the record so long before the order is no second person for it.
const EDITED_MS: u64 = 24 * 3_600_000;

impl Service {
    /// What keeps them from approving this job, whatever it asks for. As [`Service::approve`].
    pub async fn may_approve(&self, actor: &Actor, job: JobId) -> Result<(), Problem> {
        let mut conn = self.0.journal.db.read().await?;
        let row = db::job::get(&mut conn, job).await?.ok_or_else(|| unknown_job(job))?;
        let endpoint = db::endpoint::get(&mut conn, &row.job.endpoint).await?;
        second_person(&self.0, &mut conn, actor, &row, endpoint.as_ref()).await
    }
}

/// In their scope, and another person than whoever asked or changed the record, where one is wanted.
async fn second_person(
    inner: &Inner,
    conn: &mut Conn,
    actor: &Actor,
    row: &JobRow,
    endpoint: Option<&Endpoint>,
) -> Result<(), Problem> {
    if let Some(endpoint) = endpoint {
        scope::covers(inner, actor, endpoint)?;
    }
    if !row.job.second_person {
        return Ok(());
    }
    let by = &actor.name;
    let refused = |detail: String| {
        let remedy = "let another person approve, who neither asked for it nor changed what it is about";
        Err(Problem::new(409, "second-person-needed", "Another person must approve", detail, remedy))
    };
    if row.job.asked_by == *by {
        return refused(format!("{by} asked for it"));
    }
    let since = row.asked.saturating_sub(EDITED_MS);
    if db::endpoint::edited_by(conn, &row.job.endpoint, by, since).await? {
        return refused(format!(
            "{by} changed the record of {} within a day before the recovery was asked for, or since",
            row.job.endpoint
        ));
    }
    Ok(())
}

/// A yes to what the job asks for now, as its giver saw it, by somebody who neither asked for it nor changed what it is about.
pub async fn give(inner: &Inner, actor: &Actor, job: JobId, approval: Approval) -> Result<JobView, Problem> {
    let Approval { seen, reason } = approval;
    let by = actor.name.clone();
    let mut tx = inner.journal.begin().await?;
    let row = db::job::get(tx.conn(), job).await?.ok_or_else(|| unknown_job(job))?;
    let endpoint = db::endpoint::get(tx.conn(), &row.job.endpoint).await?;
    if let Some(endpoint) = &endpoint {
        scope::covers(inner, actor, endpoint)?;
    }
    stop::none_stands(tx.conn()).await?;
    let asks = of(&inner.journal.config, &row, endpoint.as_ref());
    if let Some(asks) = &asks
        && *asks != seen
    {
        let detail = format!("job {job} asks for something else now than what was shown to {by}");
        let remedy = "look at the job again: its endpoint's record, its image or why it is held has changed; then decide anew";
        return Err(Problem::new(409, "approval-stale", "This is not what you saw", detail, remedy));
    }
    second_person(inner, tx.conn(), actor, &row, endpoint.as_ref()).await?;
    let facts = json!({ "reason": orders::within(&reason), "seen": asks });
    let mut fact = Fact::new("order.approve", &by, facts).about(&row.job.endpoint).of(Some(job));
    fact.mode = row.job.mode;
    tx.note(fact).await?;
    if matches!(row.job.state, JobState::Held { reason: HoldReason::AwaitingWord, .. }) {
        let facts = json!({ "word": Word::Person, "by": by, "reason": orders::within(&reason) });
        let mut fact = Fact::new("proof.word", &by, facts).about(&row.job.endpoint).of(Some(job));
        fact.mode = row.job.mode;
        tx.note(fact).await?;
    }
    tx.event(job, &by, What::Approve { by: by.clone() }).await?;
    tx.commit().await?;
    orders::one(inner, job).await
}

/// The hash, lower-case hex; `None`: the job waits for no approval.
#[must_use]
pub fn of(config: &Config, row: &JobRow, endpoint: Option<&Endpoint>) -> Option<String> {
    let JobState::Held { stage, reason, detail } = &row.job.state else { return None };
    let asked = [
        HoldReason::AwaitingApproval,
        HoldReason::IdentityChanged,
        HoldReason::FirmwareChanged,
        HoldReason::TriggerUnconfirmed,
        HoldReason::AwaitingWord,
    ];
    if !asked.contains(reason) {
        return None;
    }
    let job = &row.job;
    let record = endpoint.map(|endpoint| &endpoint.record);
    let erase =
        record.and_then(|record| config.blueprints.get(&record.blueprint)).map(|blueprint| blueprint.erase);
    let bound = json!({
        "job": job.id, "endpoint": job.endpoint, "image": job.image, "mode": job.mode, "capture": job.capture,
        "give_up_preserved": job.give_up_preserved, "keep": job.keep, "group": row.group, "asked_by": job.asked_by, "why": row.reason,
        "revision": endpoint.map(|endpoint| endpoint.revision), "record": record, "erase": erase,
        "word": job.word, "stage": stage, "held": reason, "detail": detail, "seen": job.seen,
    });
    // A map of this crate is sorted by key: the same facts are the same text.
    Some(blake3::hash(bound.to_string().as_bytes()).to_hex().to_string())
}
