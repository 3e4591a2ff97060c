//! Which tasks a task waits for, and whether they let it begin.
//!
//! A step per endpoint waits for the same endpoint's tasks. A step per run waits for all endpoints': each must be through, and one good
//! one is enough. What was skipped is never good, unless it was never meant (`if`).

use std::collections::BTreeMap;

use super::{
    Run,
    record::{Task, TaskState},
};
use crate::{
    ids::{StepId, TargetId},
    target::Mode,
};

/// May a pending task begin?
pub(super) enum Readiness {
    Now,
    NotYet,
    /// Its `if` does not hold.
    NotMeant(String),
    Never(String),
}

/// Where each step's tasks stand in the list, so that a run of a thousand endpoints stays quick.
pub(super) struct Lookup {
    per_run: BTreeMap<StepId, usize>,
    per_target: BTreeMap<StepId, BTreeMap<TargetId, usize>>,
}

impl Lookup {
    pub(super) fn of<M: Mode>(run: &Run<M>) -> Self {
        let mut lookup = Self { per_run: BTreeMap::new(), per_target: BTreeMap::new() };
        for (at, task) in run.record.tasks.iter().enumerate() {
            match &task.target {
                None => lookup.per_run.insert(task.step.clone(), at),
                Some(target) => {
                    lookup.per_target.entry(task.step.clone()).or_default().insert(target.clone(), at)
                }
            };
        }
        lookup
    }

    /// The tasks of `step` that a task on `target` (or on none) waits for.
    pub(super) fn needed(&self, step: &StepId, target: Option<&TargetId>) -> Vec<usize> {
        if let Some(at) = self.per_run.get(step) {
            return vec![*at];
        }
        let Some(of_step) = self.per_target.get(step) else { return Vec::new() };
        match target {
            Some(target) => of_step.get(target).copied().into_iter().collect(),
            None => of_step.values().copied().collect(),
        }
    }

    pub(super) fn of_target<'a>(&'a self, target: &'a TargetId) -> impl Iterator<Item = usize> + Clone + 'a {
        self.per_target.values().filter_map(move |of_step| of_step.get(target).copied())
    }
}

/// One need over its tasks: all must be through and at least one good.
pub(super) fn combined<'a>(needed: impl Iterator<Item = &'a Task>) -> Readiness {
    let mut good = false;
    for task in needed {
        match &task.state {
            TaskState::Passed { .. }
            | TaskState::Failed { went_on: true, .. }
            | TaskState::Skipped { not_meant: true, .. } => good = true,
            TaskState::Failed { went_on: false, .. } | TaskState::Skipped { .. } => {}
            TaskState::Pending | TaskState::Working { .. } => return Readiness::NotYet,
        }
    }
    if good { Readiness::Now } else { Readiness::Never(String::new()) }
}
