//! Jobs page by page, what happened in one step by step, and the same order once more.

use recovery_protocol::{
    EndpointId, JobId, Problem,
    evidence::{self, Entry},
    history::StepView,
    job::JobState,
    operator::{Decision, JobView, Mode, RecoverRequest},
};
use serde_json::{Value, json};

use super::{
    Actor, Service,
    list::Cursor,
    orders::{self, within},
    scope, views,
};
use crate::{
    db::{
        self,
        job::{After, By, Wanted},
    },
    evidence::Fact,
    refusals::{unknown_endpoint, unknown_job},
};

/// In which order jobs are listed, as in an address.
pub const ORDERS: [(&str, By); 4] =
    [("newest", By::Newest), ("oldest", By::Oldest), ("endpoint", By::Endpoint), ("longest", By::Longest)];

/// States by which jobs are asked for, as in an address, each with those of the database.
pub const STATES: [(&str, &[&str]); 7] = [
    ("open", &["working", "held"]),
    ("working", &["working"]),
    ("held", &["held"]),
    ("recovered", &["recovered"]),
    ("captured", &["captured"]),
    ("cancelled", &["cancelled"]),
    ("failed", &["failed"]),
];

/// Which jobs are asked for, as in an address; what is empty asks for nothing.
#[derive(Debug, Clone, Default)]
pub struct JobsAsk {
    /// One of [`STATES`].
    pub state: String,
    /// Of this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Asked for by this trigger or one of its kind: `operator`, `attestation`, `webhook`, `webhook:fleet`, `drill`.
    pub trigger: String,
    /// Words that each stand in endpoint, image, trigger, reason or id; in any case.
    pub q: String,
    /// One of [`ORDERS`].
    pub sort: String,
    /// Where the page begins, as the one before it ended.
    pub cursor: String,
    /// Jobs on the page.
    pub limit: usize,
}

/// A page of jobs.
#[derive(Debug, Clone)]
pub struct JobsPage {
    /// They.
    pub jobs: Vec<JobView>,
    /// How many there are in each state, as in JSON, whichever of them the page shows.
    pub states: Vec<(String, u64)>,
    /// Where the next page begins; none: this is the last.
    pub next: Option<String>,
}

/// The order of this name; empty: the first.
///
/// # Errors
/// 400 `bad-sort`.
fn order(text: &str) -> Result<By, Problem> {
    let found = ORDERS.iter().find(|(name, _)| text.is_empty() || *name == text);
    found.map(|(_, by)| *by).ok_or_else(|| {
        let (detail, remedy) =
            (format!("there is no order `{text}`"), "write newest, oldest, endpoint or longest");
        Problem::new(400, "bad-sort", "The order of the list cannot be understood", detail, remedy)
    })
}

impl JobsAsk {
    fn wanted(&self) -> Result<Wanted, Problem> {
        let (state, trigger) = (self.state.trim(), self.trigger.trim());
        let known = STATES.iter().find(|(name, _)| *name == state);
        if known.is_none() && !state.is_empty() {
            let names: Vec<&str> = STATES.iter().map(|(name, _)| *name).collect();
            let detail = format!("no job is ever `{state}`");
            let remedy = format!("write one of {}", names.join(", "));
            return Err(Problem::new(400, "bad-state", "The state cannot be understood", detail, remedy));
        }
        Ok(Wanted {
            states: known.map(|(_, states)| states.to_vec()).unwrap_or_default(),
            endpoint: self.endpoint.clone(),
            trigger: trigger.to_owned(),
            words: self.q.split_whitespace().map(str::to_lowercase).collect(),
        })
    }

    fn after(&self, by: By) -> Result<Option<After>, Problem> {
        let Some(Cursor(parts)) = Cursor::of(&self.cursor, 2)? else { return Ok(None) };
        let [key, id] = <[String; 2]>::try_from(parts).unwrap_or_default();
        Ok(match by {
            By::Endpoint => Some(After::Text(key, id)),
            // A cursor of the list in another order begins again.
            _ => key.parse().ok().map(|key| After::Number(key, id)),
        })
    }
}

fn cursor(by: By, job: &JobView) -> String {
    let key = match by {
        By::Newest | By::Oldest => job.asked_unix_ms.to_string(),
        By::Endpoint => job.endpoint.to_string(),
        By::Longest => job
            .over_unix_ms
            .map_or_else(|| "-1".to_owned(), |over| over.saturating_sub(job.asked_unix_ms).to_string()),
    };
    Cursor(vec![key, job.job.to_string()]).text()
}

impl Service {
    /// A page of jobs. 400 `bad-sort`, `bad-state`, `bad-cursor`.
    pub async fn jobs_page(&self, ask: &JobsAsk) -> Result<JobsPage, Problem> {
        let (wanted, by) = (ask.wanted()?, order(ask.sort.trim())?);
        let after = ask.after(by)?;
        let mut conn = self.0.journal.db.read().await?;
        let most = i64::try_from(ask.limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut rows = db::job::page(&mut conn, &wanted, by, after, most).await?;
        let more = rows.len() > ask.limit;
        rows.truncate(ask.limit);
        let states = db::job::states(&mut conn, &wanted).await?;
        let mut jobs = Vec::with_capacity(rows.len());
        for row in rows {
            jobs.push(views::job(&self.0, &mut conn, row).await?);
        }
        let next = jobs.last().filter(|_| more).map(|last| cursor(by, last));
        Ok(JobsPage { jobs, states, next })
    }

    /// What happened in a job, oldest first, as evidence has it. 404 `unknown-job`.
    pub async fn job_steps(&self, job: JobId) -> Result<Vec<StepView>, Problem> {
        self.job(job).await?;
        let lines = self.job_evidence(job).await?;
        Ok(steps(lines.iter().filter_map(|line| evidence::entry(line))))
    }

    /// Order once more what a job that was given up or failed was ordered for: a recovery of its endpoint to the image that its blueprint
    /// names now. An open job is returned, not doubled. 409 `job-open`, `nothing-to-retry`, `retry-elsewhere`.
    pub async fn retry(&self, actor: &Actor, job: JobId, decision: Decision) -> Result<JobView, Problem> {
        let mut conn = self.0.journal.db.read().await?;
        let row = db::job::get(&mut conn, job).await?.ok_or_else(|| unknown_job(job))?;
        let endpoint = db::endpoint::get(&mut conn, &row.job.endpoint).await?;
        drop(conn);
        let endpoint = endpoint.ok_or_else(|| unknown_endpoint(&row.job.endpoint))?;
        scope::covers(&self.0, actor, &endpoint)?;
        may_be_retried(job, &row)?;
        let reason = if decision.reason.trim().is_empty() { &row.reason } else { &decision.reason };
        let fact = json!({ "reason": within(reason), "again": row.job.endpoint });
        self.0
            .journal
            .note(Fact::new("order.retry", &actor.name, fact).about(&endpoint.id).of(Some(job)))
            .await?;
        let request = RecoverRequest {
            reason: reason.clone(),
            give_up_preserved: row.job.give_up_preserved,
            image: None,
            keep: Some(row.job.keep),
        };
        orders::recover(&self.0, actor, &endpoint.id, request).await
    }
}

/// Only what was given up or failed is ordered anew, and only where a recovery alone was ordered.
fn may_be_retried(job: JobId, row: &db::job::JobRow) -> Result<(), Problem> {
    let refused = |code: &str, title: &str, detail: String, remedy: &str| {
        Err(Problem::new(409, code, title, detail, remedy))
    };
    match &row.job.state {
        JobState::Working { .. } | JobState::Held { .. } => {
            let detail = format!("job {job} of {} is not over", row.job.endpoint);
            refused("job-open", "The job is still open", detail, "let it go on, or give it up first")
        }
        JobState::Recovered | JobState::Captured => {
            let detail = format!("job {job} of {} ended well", row.job.endpoint);
            refused(
                "nothing-to-retry",
                "There is nothing to try again",
                detail,
                "order a new recovery if you want one",
            )
        }
        JobState::Cancelled { .. } | JobState::Failed { .. } if row.job.capture.is_some() => {
            let detail = format!("job {job} read the disk of {} into the store", row.job.endpoint);
            let remedy = "order the capture anew: `groundstate image capture`";
            refused("retry-elsewhere", "A capture is ordered anew", detail, remedy)
        }
        JobState::Cancelled { .. } | JobState::Failed { .. } if row.job.mode == Mode::Drill => {
            let detail = format!("job {job} belongs to a drill, which is over");
            refused(
                "retry-elsewhere",
                "A drill is run anew",
                detail,
                "start its runbook again, on the page of drills",
            )
        }
        JobState::Cancelled { .. } | JobState::Failed { .. } => Ok(()),
    }
}

/// Entries of one job as steps: each transition with how long the state that it left had lasted.
fn steps(entries: impl Iterator<Item = Entry>) -> Vec<StepView> {
    let mut since = None;
    let mut found = Vec::new();
    for entry in entries {
        let state =
            |name: &str| entry.facts.get(name).and_then(|state| serde_json::from_value(state.clone()).ok());
        let (from, to): (Option<JobState>, Option<JobState>) = (state("from"), state("to"));
        let took_ms = match (&to, since) {
            (Some(_), Some(since)) => Some(entry.at_unix_ms.saturating_sub(since)),
            _ => None,
        };
        if to.is_some() || since.is_none() {
            since = Some(entry.at_unix_ms);
        }
        let event = entry.facts.get("event").map(name_of).unwrap_or_default();
        let why = why(&entry, to.as_ref());
        let Entry { seq, at_unix_ms, kind, actor, .. } = entry;
        found.push(StepView { entry: seq, at_unix_ms, kind, actor, event, from, to, why, took_ms });
    }
    found
}

/// The name of what happened: a word, or the key of an object with one.
fn name_of(event: &Value) -> String {
    let key = || event.as_object().and_then(|event| event.keys().next().cloned());
    event.as_str().map(str::to_owned).or_else(key).unwrap_or_default()
}

/// Why: of a hold its detail; else the first of what entries say it by, wherever it stands.
fn why(entry: &Entry, to: Option<&JobState>) -> String {
    if let Some(JobState::Held { reason, detail, .. } | JobState::Failed { reason, detail, .. }) = to {
        return format!("{} {detail}", reason.what()).trim_end().to_owned();
    }
    let facts = Value::Object(entry.facts.clone());
    ["detail", "rule", "reason", "why"].iter().find_map(|name| named(&facts, name)).unwrap_or_default()
}

fn named(value: &Value, name: &str) -> Option<String> {
    let object = value.as_object()?;
    let here = object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    here.map(str::to_owned).or_else(|| object.values().find_map(|inner| named(inner, name)))
}
