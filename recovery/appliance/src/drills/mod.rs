//! Rehearsals: the adapter between the `runbooks` engine and this appliance.
//!
//! ```text
//! start ─► facts ─► DrillSafe ─► plan ─► Run<Drill> ─┐          Rehearser (one task, run by the daemon)
//!                                                    ▼
//!   queue ─► step(run, event) ─► store record ─► Hands::start(order) ─► work ─► its outcome is the next event
//! ```
//!
//! A run's record is stored before its orders are carried out, one file per run in `<data>/drills`; after a restart each
//! open run is taken up from there and its outstanding orders are given again. A recovery belongs to one order: the job
//! that an order made is stored with the record, so that the same order never starts a second.
//!
//! A run is a rehearsal, the real thing or talked through ([`going`]); the three differ where something is written and nowhere else.
//!
//! It must never: obtain a rehearsal's permit for an endpoint whose record does not say drill-safe (the service checks it again).

mod actions;
mod answer;
mod begin;
mod clean;
mod facts;
mod going;
mod hands;
mod injects;
mod keep;
mod pack;
mod paper;
mod rehearser;
mod schedule;
mod trend;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use recovery_protocol::{
    JobId, Problem,
    operator::{Decision, DrillStepView, DrillView},
};
use runbooks::{
    Happened, OrderKey, RunId, RunRecord,
    paper::Language,
    run::{Moment, Task, TaskState, Waiting},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub use self::rehearser::Rehearser;
use self::{going::Going, rehearser::Said};
use crate::{
    config::Shared,
    reports::{Made, Wanted},
    service::{Actor, Service},
};

const QUEUE_LEN: usize = 64;

/// Drills. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Drills(Arc<Inner>);

struct Inner {
    service: Service,
    config: Shared,
    directory: PathBuf,
    kept: Mutex<BTreeMap<RunId, Kept>>,
    queue: mpsc::Sender<Said>,
}

/// What is stored of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    record: RunRecord,
    /// Which job each order made.
    jobs: Vec<(OrderKey, JobId)>,
    /// What went wrong on purpose.
    #[serde(default)]
    injects: Vec<injects::Injected>,
    /// It was said that it will miss its objective.
    #[serde(default)]
    breach_told: bool,
}

impl Kept {
    fn new(record: RunRecord) -> Self {
        Self { record, jobs: Vec::new(), injects: Vec::new(), breach_told: false }
    }
}

impl Drills {
    /// Open the drills of a data directory. The second half carries runs out: `daemon` runs it.
    ///
    /// # Errors
    /// [`keep::KeepError`] when the directory cannot be used; a damaged record is logged and left aside.
    pub fn open(service: Service, config: impl Into<Shared>) -> Result<(Self, Rehearser), keep::KeepError> {
        let config = config.into();
        let directory = config.data_dir.join("drills");
        let kept = keep::read_all(&directory)?;
        let (queue, said) = mpsc::channel(QUEUE_LEN);
        let drills = Self(Arc::new(Inner { service, config, directory, kept: Mutex::new(kept), queue }));
        let rehearser = Rehearser::new(drills.clone(), said);
        Ok((drills, rehearser))
    }

    /// Names of the runbooks that can be run.
    #[must_use]
    pub fn runbooks(&self) -> Vec<String> {
        runbooks::library().iter().map(|shipped| shipped.name.to_owned()).collect()
    }

    /// Every drill on record, newest first.
    #[must_use]
    pub fn list(&self) -> Vec<DrillView> {
        let mut all: Vec<_> = self.kept().values().cloned().collect();
        all.sort_by_key(|kept| std::cmp::Reverse(kept.record.planned_at_ms));
        all.iter().map(|kept| self.seen(kept)).collect()
    }

    /// When the newest drill was planned, milliseconds since 1970; none: there was none.
    #[must_use]
    pub fn newest_unix_ms(&self) -> Option<u64> {
        self.kept().values().map(|kept| kept.record.planned_at_ms).max()
    }

    /// One drill.
    ///
    /// # Errors
    /// 404 `unknown-drill`.
    pub fn view(&self, drill: &str) -> Result<DrillView, Problem> {
        self.find(drill).map(|kept| self.seen(&kept))
    }

    /// The report of a drill; of a running one as it stands.
    ///
    /// # Errors
    /// 404 `unknown-drill`, or what the service refuses.
    pub async fn report(&self, drill: &str, wanted: Wanted) -> Result<Made, Problem> {
        let kept = self.find(drill)?;
        let report = self.report_of(&kept, wanted.language()).await?;
        Made::of(wanted, format!("drill-{drill}"), || report.paper(), &report, || report.csv())
    }

    /// The report of a drill, with what the drills before it measured.
    async fn report_of(
        &self,
        kept: &Kept,
        language: Language,
    ) -> Result<runbooks::report::RunReport, Problem> {
        let others = (self.measured_before(kept).await?, self.around(kept).await?);
        paper::report(&self.0.service, &self.0.config, kept, language, others).await
    }

    /// What the drills before this one measured, the oldest first.
    async fn measured_before(&self, kept: &Kept) -> Result<Vec<runbooks::measure::Observed>, Problem> {
        let begun = |kept: &Kept| (kept.record.planned_at_ms, kept.record.run.clone());
        let mut before: Vec<Kept> =
            self.kept().values().filter(|other| begun(other) < begun(kept)).cloned().collect();
        before.sort_by_key(begun);
        paper::earlier(&self.0.service, &before).await
    }

    /// Stop a drill. Its last steps still run.
    ///
    /// # Errors
    /// As [`Drills::answer`].
    pub async fn abort(&self, actor: &Actor, drill: &str, decision: Decision) -> Result<DrillView, Problem> {
        let run = self.find(drill)?.record.run;
        let facts = serde_json::json!({ "drill": drill, "reason": decision.reason });
        self.tell(&run, Happened::Abort { person: actor.name.clone(), reason: decision.reason }).await?;
        self.note(&run, "order.drill-abort", actor, None, facts).await?;
        self.view(drill)
    }

    async fn tell(&self, run: &RunId, what: Happened) -> Result<(), Problem> {
        let (reply, replied) = oneshot::channel();
        let gone = |_| answer_refused("the appliance stops");
        self.0
            .queue
            .send(Said::Person(run.clone(), what, reply))
            .await
            .map_err(|_| answer_refused("the appliance stops"))?;
        replied.await.map_err(gone)?.map_err(|why| answer_refused(&why))
    }

    fn find(&self, drill: &str) -> Result<Kept, Problem> {
        self.kept().get(&RunId::new(drill)).cloned().ok_or_else(|| {
            let remedy =
                "list the drills with `groundstate drill list`, or start one with `groundstate drill run`";
            Problem::new(404, "unknown-drill", "No such drill", format!("`{drill}`"), remedy)
        })
    }

    /// Make a run's record durable, then visible.
    fn store(&self, kept: &Kept) -> Result<(), Problem> {
        keep::write(&self.0.directory, kept).map_err(|error| {
            tracing::error!(%error, "a drill could not be stored");
            let remedy = "check the data directory's disk";
            Problem::new(500, "drill-not-stored", "The drill could not be stored", error.to_string(), remedy)
        })?;
        self.kept().insert(kept.record.run.clone(), kept.clone());
        Ok(())
    }

    /// Change what is kept of a run, durably. Only the rehearser's task does, so nothing is lost between reading and writing.
    fn change(&self, run: &RunId, what: impl FnOnce(&mut Kept)) -> Result<(), Problem> {
        let mut kept = self.find(run.as_str())?;
        what(&mut kept);
        self.store(&kept)
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<RunId, Kept>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn view(kept: &Kept) -> DrillView {
    let record = &kept.record;
    let steps = record.tasks.iter().map(|task| {
        let (state, mut what) = step_words(record, task);
        if let Some(left) = left_behind(record, task) {
            what = format!("{what} {left}").trim_start().to_owned();
        }
        let endpoint = task.target.as_ref().and_then(|target| target.as_str().parse().ok());
        DrillStepView { step: task.step.to_string(), endpoint, state: state.to_owned(), what }
    });
    DrillView {
        drill: record.run.to_string(),
        runbook: format!("{} v{}", record.runbook.name, record.runbook.version),
        mode: record.mode.word().to_owned(),
        asked_by: record.requester.clone(),
        binding: record.binding.clone(),
        state: match record.state_word() {
            "planned" => "running".to_owned(),
            word => word.to_owned(),
        },
        steps: steps.collect(),
        jobs: kept.jobs.iter().map(|(_, job)| *job).collect(),
        injects: kept.injects.iter().map(injects::view).collect(),
        predicted_end_unix_ms: None,
        breach_predicted: false,
    }
}

/// What became of work that the run gave up.
fn left_behind<'a>(record: &'a RunRecord, task: &Task) -> Option<&'a str> {
    let of = |moment: &&Moment| moment.step.as_ref() == Some(&task.step) && moment.target == task.target;
    record.history.iter().rev().filter(of).find_map(|moment| moment.what.strip_prefix("left: "))
}

fn answer_refused(why: &str) -> Problem {
    let remedy = "look at the drill's steps: answer what is asked, in a role that may";
    Problem::new(409, "drill-answer-refused", "The run did not take this answer", why, remedy)
}

fn step_words(record: &RunRecord, task: &Task) -> (&'static str, String) {
    match &task.state {
        TaskState::Pending => ("pending", String::new()),
        TaskState::Working { waiting: Waiting::Approval | Waiting::Answer | Waiting::Choice, .. } => {
            ("waiting_person", record.question(task))
        }
        TaskState::Working { held: Some(why), .. } => {
            ("running", format!("held: {} {}", why.what, why.what_now))
        }
        TaskState::Working { .. } => ("running", String::new()),
        TaskState::Passed { what, .. } => ("passed", what.clone()),
        TaskState::Failed { why, .. } => ("failed", format!("{} {}", why.what, why.what_now)),
        TaskState::Skipped { why, .. } => ("skipped", why.clone()),
    }
}

fn resume(kept: &Kept, facts: Vec<runbooks::EndpointFacts>, scope: &runbooks::DrillScope) -> Option<Going> {
    match Going::resume(kept.record.clone(), facts, scope) {
        Ok(run) => Some(run),
        Err(error) => {
            tracing::error!(run = %kept.record.run, %error, "a run could not be taken up again");
            None
        }
    }
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
