//! The stored form of a run: plain data, all of it readable, none of it a permission.

use serde::{Deserialize, Serialize};

use super::event::{CheckResult, Failure};
use crate::{
    ids::{OrderKey, RunId, StepId, TargetId},
    runbook::{ModeName, Per, Runbook, Step, Verb},
    target::Place,
};

/// Everything about a run that survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub run: RunId,
    /// Its mode.
    pub mode: ModeName,
    /// Who asked for it.
    pub requester: String,
    /// The runbook, whole.
    pub runbook: Runbook,
    /// The endpoints, frozen when it was planned.
    pub targets: Vec<FrozenTarget>,
    /// blake3 over runbook, targets, images and mode: what people approve. Lower-case hex.
    pub binding: String,
    /// When it was planned, milliseconds since 1970.
    pub planned_at_ms: u64,
    /// When it began.
    pub begun_at_ms: Option<u64>,
    /// The time of the last event.
    pub now_ms: u64,
    /// How far it is.
    pub stage: Stage,
    /// Set once nothing new may start.
    pub stop: Option<Stop>,
    /// One task per step, or per step and endpoint; the steps' order, then the targets'.
    pub tasks: Vec<Task>,
    /// What happened, in order.
    pub history: Vec<Moment>,
}

/// A target as it was when the run was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenTarget {
    /// The endpoint.
    pub target: TargetId,
    /// Its hardware class.
    pub class: String,
    /// Its zone.
    pub zone: String,
    /// Where it stands.
    pub place: Place,
    /// The golden image that it will be returned to.
    pub image: String,
    /// Its asset kind; waves ask for it.
    #[serde(default)]
    pub kind: String,
    /// Its labels; waves ask for them.
    #[serde(default)]
    pub labels: std::collections::BTreeSet<String>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Stage {
    /// Planned, not begun.
    Planned,
    /// The steps run.
    Running,
    /// The last steps run.
    Finally,
    /// Done.
    Over {
        /// How it went.
        verdict: Verdict,
    },
}

/// How a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every step passed on every endpoint, and the clean-up is proven.
    Succeeded,
    /// At least one endpoint went all the way, but not everything passed.
    Partly,
    /// No endpoint went all the way.
    Failed,
    /// A person stopped it.
    Aborted,
}

impl Verdict {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Partly => "partly",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }
}

/// Why nothing new starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// When.
    pub at_ms: u64,
    /// Who, when a person did it.
    pub person: Option<String>,
    /// Why.
    pub why: String,
}

/// One step on one endpoint (or on none).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The step.
    pub step: StepId,
    /// The endpoint.
    pub target: Option<TargetId>,
    /// It belongs to `finally`.
    pub finally: bool,
    /// Attempts begun.
    pub attempts: u32,
    /// Where it stands.
    pub state: TaskState,
}

impl Task {
    /// Nothing will happen to it any more.
    #[must_use]
    pub fn is_through(&self) -> bool {
        self.ended_ms().is_some()
    }

    /// When it was through, milliseconds since 1970.
    #[must_use]
    pub fn ended_ms(&self) -> Option<u64> {
        match self.state {
            TaskState::Passed { to_ms, .. } | TaskState::Failed { to_ms, .. } => Some(to_ms),
            TaskState::Skipped { at_ms, .. } => Some(at_ms),
            TaskState::Pending | TaskState::Working { .. } => None,
        }
    }
}

/// Where a task stands. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum TaskState {
    /// Not yet.
    Pending,
    /// Ordered.
    Working {
        /// Since.
        from_ms: u64,
        /// Until its timeout.
        until_ms: u64,
        /// For whom it waits.
        waiting: Waiting,
        /// Set while it waits for a person elsewhere.
        held: Option<Failure>,
        /// Approvals so far.
        approvals: Vec<ApprovalGiven>,
    },
    /// Good.
    Passed {
        /// Since.
        from_ms: u64,
        /// Until.
        to_ms: u64,
        /// What was done or seen.
        what: String,
        /// What was looked at.
        checks: Vec<CheckResult>,
        /// Who approved.
        approvals: Vec<ApprovalGiven>,
        /// What a person chose, where one was asked to.
        #[serde(default)]
        chose: Option<String>,
    },
    /// Not good.
    Failed {
        /// Since.
        from_ms: u64,
        /// Until.
        to_ms: u64,
        /// Why.
        why: Failure,
        /// What was looked at.
        checks: Vec<CheckResult>,
        /// The run went on as if it had passed (`on_failure: continue`).
        went_on: bool,
        /// Nothing new of the endpoint's wave begins (`on_failure: stop_wave`).
        #[serde(default)]
        stops_wave: bool,
    },
    /// Never begun, or no longer asked.
    Skipped {
        /// When that was clear.
        at_ms: u64,
        /// Why.
        why: String,
        /// Its `if` does not hold: it was never meant, and what needs it goes on.
        #[serde(default)]
        not_meant: bool,
    },
}

/// For whom a task waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// The actuator.
    Machine,
    /// People who approve.
    Approval,
    /// A person's answer.
    Answer,
    /// A person's choice among the options of a `decide` step.
    Choice,
    /// Time.
    Time,
}

/// A person approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalGiven {
    /// Who.
    pub person: String,
    /// In which role.
    pub role: String,
    /// When.
    pub at_ms: u64,
    /// In their words.
    pub reason: String,
}

/// One line of the run's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When.
    pub at_ms: u64,
    /// The step; `None` for the run itself.
    pub step: Option<StepId>,
    /// The endpoint.
    pub target: Option<TargetId>,
    /// What happened, one sentence.
    pub what: String,
}

/// Where one endpoint stands in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetState {
    /// Nothing began.
    Pending,
    /// Being worked on.
    Working,
    /// Waits for a person, with the reason.
    Held(Failure),
    /// Everything passed.
    Proven,
    /// Out, with the first reason.
    Failed(Failure),
    /// Never begun, or not finished because the run stopped.
    Skipped,
}

impl TargetState {
    /// The word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Working => "working",
            Self::Held(_) => "held",
            Self::Proven => "proven",
            Self::Failed(_) => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl RunRecord {
    /// The run in one word: `planned`, `running`, `waiting_person`, `succeeded`, `partly`, `failed`, `aborted`.
    #[must_use]
    pub fn state_word(&self) -> &'static str {
        match self.stage {
            Stage::Planned => "planned",
            Stage::Over { verdict } => verdict.word(),
            Stage::Running | Stage::Finally => {
                let working =
                    || self.tasks.iter().filter(|task| matches!(task.state, TaskState::Working { .. }));
                let on_person = |task: &&Task| match &task.state {
                    TaskState::Working { waiting, held, .. } => {
                        !matches!(waiting, Waiting::Machine | Waiting::Time) || held.is_some()
                    }
                    _ => false,
                };
                if working().next().is_some() && working().all(|task| on_person(&task)) {
                    "waiting_person"
                } else {
                    "running"
                }
            }
        }
    }

    /// What a person is asked in a task, in one text with what they tick.
    #[must_use]
    pub fn question(&self, task: &Task) -> String {
        let Some(step) = self.step_of(task) else { return String::new() };
        let uses = step.uses_in(self.mode);
        let (text, ticks) = if self.mode.is_paper() { uses.told("en") } else { uses.asked("en") };
        if ticks.is_empty() { text } else { format!("{text} {}.", ticks.join("; ")) }
    }

    /// The step of a task.
    #[must_use]
    pub fn step_of(&self, task: &Task) -> Option<&Step> {
        self.runbook.all_steps().find(|step| step.id == task.step)
    }

    /// The key of a task's present attempt.
    #[must_use]
    pub fn key_of(&self, task: &Task) -> OrderKey {
        OrderKey {
            run: self.run.clone(),
            step: task.step.clone(),
            target: task.target.clone(),
            attempt: task.attempts,
        }
    }

    /// Whether the outcome of this very attempt is still waited for.
    #[must_use]
    pub fn awaits(&self, key: &OrderKey) -> bool {
        let working = |task: &&Task| matches!(task.state, TaskState::Working { .. });
        self.tasks.iter().filter(working).any(|task| self.key_of(task) == *key)
    }

    fn must_be_good(&self, task: &Task) -> bool {
        self.step_of(task).is_some_and(|step| step.uses.verb().must_be_good())
    }

    /// Where an endpoint stands.
    #[must_use]
    pub fn target_state(&self, target: &TargetId) -> TargetState {
        let mine = || self.tasks.iter().filter(|task| task.target.as_ref() == Some(target));
        let mut state = TargetState::Proven;
        let mut begun = false;
        for task in mine() {
            match &task.state {
                // Lint refuses to go on after these; a run of an older version may have.
                TaskState::Failed { why, went_on: true, .. } if self.must_be_good(task) => {
                    return TargetState::Failed(why.clone());
                }
                TaskState::Failed { why, went_on: false, .. } => return TargetState::Failed(why.clone()),
                TaskState::Working { held: Some(why), .. } => return TargetState::Held(why.clone()),
                TaskState::Skipped { not_meant: true, .. } => {}
                TaskState::Skipped { .. } => state = TargetState::Skipped,
                TaskState::Working { .. } | TaskState::Pending => {
                    begun |= !matches!(task.state, TaskState::Pending);
                    if state == TargetState::Proven {
                        state = TargetState::Working;
                    }
                }
                TaskState::Passed { .. } | TaskState::Failed { went_on: true, .. } => begun = true,
            }
        }
        if state == TargetState::Working && !begun { TargetState::Pending } else { state }
    }

    /// How the run went so far, or would if it ended now. A report that is just being written counts as written.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.stop.as_ref().is_some_and(|stop| stop.person.is_some()) {
            return Verdict::Aborted;
        }
        let is_report = |task: &Task| self.step_of(task).is_some_and(|step| step.uses.verb() == Verb::Report);
        let is_good = |task: &Task| match task.state {
            TaskState::Passed { .. } | TaskState::Skipped { not_meant: true, .. } => true,
            TaskState::Pending | TaskState::Working { .. } => is_report(task),
            TaskState::Failed { .. } | TaskState::Skipped { .. } => false,
        };
        if self.tasks.iter().all(is_good) {
            return Verdict::Succeeded;
        }
        let has_target_steps = self.runbook.steps.iter().any(|step| step.per == Per::Target);
        let one_proven =
            self.targets.iter().any(|frozen| self.target_state(&frozen.target) == TargetState::Proven);
        if has_target_steps && one_proven { Verdict::Partly } else { Verdict::Failed }
    }
}
