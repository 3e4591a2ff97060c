//! From a runbook and targets to a run; and from a stored record back to one, with permissions earned anew.

use super::{
    Run,
    record::{FrozenTarget, RunRecord, Stage, Task, TaskState},
};
use crate::{
    ids::{RunId, TargetId},
    runbook::{ModeName, Per, Runbook, Selector, Step, Uses, lint},
    target::{Drill, DrillSafe, DrillScope, EndpointFacts, Mode, Paper, Place, Real, Target},
};

/// Who asks for a run, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The run's id, new.
    pub run: RunId,
    /// The person or trigger.
    pub requester: String,
    /// Now, milliseconds since 1970.
    pub now_ms: u64,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The runbook is not one that may be run.
    #[error("runbook `{runbook}` may not be run: {first} ({count} finding(s) in all): mend it and lint it")]
    Lint {
        /// Its name.
        runbook: String,
        /// The first finding.
        first: String,
        /// How many.
        count: usize,
    },
    /// Nothing to work on.
    #[error("the run has no target: name at least one endpoint")]
    NoTarget,
    /// One endpoint twice.
    #[error("{target} is named twice: name it once")]
    Twice {
        /// Which.
        target: TargetId,
    },
    /// The runbook is not for this mode.
    #[error("runbook `{runbook}` may not run in mode `{}`: choose another runbook, or add the mode to its `modes`", mode.word())]
    Mode {
        /// Its name.
        runbook: String,
        /// The mode.
        mode: ModeName,
    },
    /// The runbook is not for this endpoint.
    #[error("{target} is not for runbook `{runbook}`, which wants {wants}: name another endpoint")]
    NotSelected {
        /// Which.
        target: TargetId,
        /// The runbook's name.
        runbook: String,
        /// What does not fit.
        wants: String,
    },
    /// More could be written than the runbook allows.
    #[error(
        "runbook `{runbook}` could give {could} permissions to write (retries counted) and its `max_permits` is {may}: name fewer endpoints, or raise it"
    )]
    TooManyPermits {
        /// Its name.
        runbook: String,
        /// How many it could give.
        could: usize,
        /// How many it may.
        may: u32,
    },
    /// No golden image to return it to.
    #[error("{target} has no golden image: give it a blueprint whose image is imported and signed")]
    NoImage {
        /// Which.
        target: TargetId,
    },
}

/// Freeze a run. Without endpoints only where none is written and no step is about one (a tabletop of the whole site). In a drill whose targets are all virtual the mode is `virtual` where the runbook allows it; else `drill`.
///
/// # Errors
/// When the runbook does not pass lint, or the targets are not for it.
pub fn plan<M: Mode>(runbook: Runbook, targets: Vec<Target<M>>, ask: Ask) -> Result<Run<M>, PlanError> {
    let findings = lint::lint(&runbook);
    if let Some(first) = findings.first() {
        return Err(PlanError::Lint {
            runbook: runbook.name,
            first: first.to_string(),
            count: findings.len(),
        });
    }
    let about_endpoints = runbook.steps.iter().any(|step| step.per == Per::Target);
    if targets.is_empty() && (M::WRITES || about_endpoints) {
        return Err(PlanError::NoTarget);
    }
    let mode = mode_of::<M>(&runbook, &targets);
    let Some(narrower) = runbook.modes.get(&mode) else {
        return Err(PlanError::Mode { runbook: runbook.name, mode });
    };
    let mut frozen: Vec<FrozenTarget> = Vec::with_capacity(targets.len());
    let mut seen = std::collections::BTreeSet::new();
    for facts in targets.iter().map(Target::facts) {
        let target = facts.target.clone();
        if !seen.insert(target.clone()) {
            return Err(PlanError::Twice { target });
        }
        for selector in [&runbook.select, narrower] {
            if let Some(wants) = does_not_fit(selector, facts) {
                return Err(PlanError::NotSelected { target, runbook: runbook.name.clone(), wants });
            }
        }
        if facts.image.is_empty() && M::WRITES {
            return Err(PlanError::NoImage { target });
        }
        frozen.push(freeze(facts));
    }
    let could = permits_at_most(&runbook, frozen.len());
    if could > runbook.limits.max_permits as usize {
        return Err(PlanError::TooManyPermits {
            runbook: runbook.name.clone(),
            could,
            may: runbook.limits.max_permits,
        });
    }
    let tasks = tasks(&runbook, &frozen);
    let binding = binding(&runbook, mode, &frozen);
    let record = RunRecord {
        run: ask.run,
        mode,
        requester: ask.requester,
        runbook,
        targets: frozen,
        binding,
        planned_at_ms: ask.now_ms,
        begun_at_ms: None,
        now_ms: ask.now_ms,
        stage: Stage::Planned,
        stop: None,
        tasks,
        history: Vec::new(),
    };
    Ok(Run { record, targets: targets.into_iter().map(Ok).collect() })
}

/// How many permissions to write a run of so many endpoints may come to give: an attempt gives one.
#[must_use]
pub fn permits_at_most(runbook: &Runbook, targets: usize) -> usize {
    let attempts = |step: &Step| match step.uses {
        Uses::Reimage => step.retries as usize + 1,
        _ => 0,
    };
    runbook.steps.iter().map(attempts).sum::<usize>().saturating_mul(targets)
}

fn mode_of<M: Mode>(runbook: &Runbook, targets: &[Target<M>]) -> ModeName {
    let all_virtual = targets.iter().all(|target| target.facts().place == Place::Virtual);
    match (M::DRILL, all_virtual && runbook.modes.contains_key(&ModeName::Virtual)) {
        (false, _) if !M::WRITES => ModeName::Tabletop,
        (false, _) => ModeName::Real,
        (true, true) => ModeName::Virtual,
        (true, false) => ModeName::Drill,
    }
}

/// What of the selector the endpoint lacks.
fn does_not_fit(selector: &Selector, facts: &EndpointFacts) -> Option<String> {
    let Selector { kind, label, zone, exclude_label } = selector;
    if let Some(kind) = kind.as_ref().filter(|kind| **kind != facts.kind) {
        return Some(format!("kind `{kind}`"));
    }
    if let Some(label) = label.as_ref().filter(|label| !facts.labels.contains(*label)) {
        return Some(format!("label `{label}`"));
    }
    if let Some(zone) = zone.as_ref().filter(|zone| **zone != facts.zone) {
        return Some(format!("zone `{zone}`"));
    }
    exclude_label
        .as_ref()
        .filter(|label| facts.labels.contains(*label))
        .map(|label| format!("no label `{label}`"))
}

fn freeze(facts: &EndpointFacts) -> FrozenTarget {
    FrozenTarget {
        target: facts.target.clone(),
        class: facts.class.clone(),
        zone: facts.zone.clone(),
        place: facts.place,
        image: facts.image.clone(),
        kind: facts.kind.clone(),
        labels: facts.labels.clone(),
    }
}

fn tasks(runbook: &Runbook, targets: &[FrozenTarget]) -> Vec<Task> {
    let new = |step: &Step, target: Option<TargetId>, finally| Task {
        step: step.id.clone(),
        target,
        finally,
        attempts: 0,
        state: TaskState::Pending,
    };
    let mut tasks = Vec::new();
    for step in &runbook.steps {
        match step.per {
            Per::Run => tasks.push(new(step, None, false)),
            Per::Target => {
                tasks.extend(targets.iter().map(|frozen| new(step, Some(frozen.target.clone()), false)))
            }
        }
    }
    tasks.extend(runbook.finally.iter().map(|step| new(step, None, true)));
    tasks
}

/// What an approval binds to. Every field has its length in front, so that no two plans hash alike.
fn binding(runbook: &Runbook, mode: ModeName, targets: &[FrozenTarget]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("groundstate 2026-11 run binding v1");
    let mut put = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    put(&runbook.digest);
    put(mode.word());
    for frozen in targets {
        put(frozen.target.as_str());
        put(&frozen.zone);
        put(frozen.place.label());
        put(&frozen.image);
        // Waves are dealt out by these, so who approved the plan approved the order too. A record from before has none.
        if !frozen.kind.is_empty() {
            put(&frozen.kind);
            for label in &frozen.labels {
                put(label);
            }
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// Why a stored record is no run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// A real run is no drill and a drill is no real run.
    #[error("run {run} was planned in mode `{}`, which cannot be resumed as {wanted}", mode.word())]
    OtherMode {
        /// The run.
        run: RunId,
        /// Its mode.
        mode: ModeName,
        /// What was wanted.
        wanted: &'static str,
    },
    /// Targets, images or tasks are not those that were planned.
    #[error("the record of run {run} was altered since it was planned: do not trust it; plan a new run")]
    Altered {
        /// The run.
        run: RunId,
    },
}

impl Run<Drill> {
    /// Take a stored drill up again. Each target must be drill-safe by today's facts; one that is not (or has no facts) keeps its place in
    /// the run and gets no permit: its next `reimage` fails with the reason.
    ///
    /// # Errors
    /// When the record is not that of a drill, or was altered.
    pub fn resume(
        record: RunRecord,
        facts: Vec<EndpointFacts>,
        scope: &DrillScope,
    ) -> Result<Self, ResumeError> {
        if !matches!(record.mode, ModeName::Drill | ModeName::Virtual) {
            return Err(ResumeError::OtherMode { run: record.run, mode: record.mode, wanted: "a drill" });
        }
        resume(record, facts, |facts| {
            DrillSafe::resolve(facts, scope).map(Target::from).map_err(|error| error.to_string())
        })
    }
}

impl Run<Real> {
    /// Take a stored real run up again.
    ///
    /// # Errors
    /// When the record is that of a drill, or was altered.
    pub fn resume(record: RunRecord, facts: Vec<EndpointFacts>) -> Result<Self, ResumeError> {
        if record.mode != ModeName::Real {
            return Err(ResumeError::OtherMode { run: record.run, mode: record.mode, wanted: "a real run" });
        }
        resume(record, facts, |facts| Ok(Target::real(facts)))
    }
}

impl Run<Paper> {
    /// Take a stored tabletop up again.
    ///
    /// # Errors
    /// When the record is that of another run, or was altered.
    pub fn resume(record: RunRecord, facts: Vec<EndpointFacts>) -> Result<Self, ResumeError> {
        if record.mode != ModeName::Tabletop {
            return Err(ResumeError::OtherMode { run: record.run, mode: record.mode, wanted: "a tabletop" });
        }
        resume(record, facts, |facts| Ok(Target::on_paper(facts)))
    }
}

fn resume<M: Mode>(
    record: RunRecord,
    facts: Vec<EndpointFacts>,
    resolve: impl Fn(EndpointFacts) -> Result<Target<M>, String>,
) -> Result<Run<M>, ResumeError> {
    let planned = tasks(&record.runbook, &record.targets);
    let same_task =
        |(a, b): (&Task, &Task)| a.step == b.step && a.target == b.target && a.finally == b.finally;
    let same_tasks = planned.len() == record.tasks.len() && planned.iter().zip(&record.tasks).all(same_task);
    if !same_tasks || binding(&record.runbook, record.mode, &record.targets) != record.binding {
        return Err(ResumeError::Altered { run: record.run });
    }
    let mut facts: std::collections::BTreeMap<TargetId, EndpointFacts> =
        facts.into_iter().map(|facts| (facts.target.clone(), facts)).collect();
    let targets = record
        .targets
        .iter()
        .map(|frozen| match facts.remove(&frozen.target) {
            // What was approved for a virtual endpoint is not approved for hardware of the same name.
            Some(facts) if facts.place != frozen.place || facts.zone != frozen.zone => {
                Err(format!("{} is not where it was when the run was planned", frozen.target))
            }
            Some(facts) => resolve(facts),
            None => Err(format!("{} is no longer in the inventory", frozen.target)),
        })
        .collect();
    Ok(Run { record, targets })
}
