//! When a run that is under way will be through, by what its steps took before: a breach is seen before it is one.
//!
//! Each endpoint's steps that are left take their middle time, what works has its time so far taken off, and at most `max_parallel` endpoints go at once. Soaking
//! times that are still to come are added. It is a forecast and no promise: `n` says how little stands behind it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::{RunRecord, Stage, Task, TaskState};
use crate::{
    ids::TargetId,
    measure::summary,
    runbook::{Step, Uses},
};

/// A forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// The last step before `finally` ends then, milliseconds since 1970.
    pub end_ms: u64,
    /// When it must be over by the run's objective; `None`: it has none.
    pub must_ms: Option<u64>,
    /// How many times stand behind the step that was measured least; 0: some were taken from their targets.
    pub n: usize,
}

impl Ahead {
    /// Later than its objective.
    #[must_use]
    pub fn is_breach(&self) -> bool {
        self.must_ms.is_some_and(|must_ms| self.end_ms > must_ms)
    }
}

/// Look ahead. `steps_ms`: times of steps in earlier runs that may stand for this one, milliseconds. `None`: it does not run.
#[must_use]
pub fn ahead(record: &RunRecord, steps_ms: &BTreeMap<String, Vec<u64>>, now_ms: u64) -> Option<Ahead> {
    let begun_ms = record.begun_at_ms.filter(|_| record.stage == Stage::Running)?;
    let mut n = usize::MAX;
    let mut once_ms = 0u64;
    let mut of_target: BTreeMap<&TargetId, u64> = BTreeMap::new();
    for task in record.tasks.iter().filter(|task| !task.finally && !task.is_through()) {
        let Some(step) = record.step_of(task).filter(|step| step.condition.fits(record.mode)) else {
            continue;
        };
        let times = steps_ms.get(step.id.as_str()).filter(|times| !times.is_empty());
        let usual_ms =
            times.and_then(|times| summary(times)).map_or(aim_ms(step, record), |all| all.median_ms);
        n = n.min(times.map_or(0, Vec::len));
        let left_ms = left_ms(task, usual_ms, now_ms);
        match &task.target {
            Some(target) => *of_target.entry(target).or_default() += left_ms,
            None => once_ms = once_ms.saturating_add(left_ms),
        }
    }
    let lanes = (record.runbook.limits.max_parallel as usize).max(1);
    let mut busy_ms = vec![0u64; lanes];
    let mut longest_first: Vec<u64> = of_target.into_values().collect();
    longest_first.sort_unstable_by(|a, b| b.cmp(a));
    for left_ms in longest_first {
        if let Some(lane) = busy_ms.iter_mut().min() {
            *lane = lane.saturating_add(left_ms);
        }
    }
    let all_lanes_ms = busy_ms.into_iter().max().unwrap_or(0);
    let end_ms = now_ms.saturating_add(once_ms).saturating_add(all_lanes_ms).saturating_add(soaks_ms(record));
    let must_ms = record.runbook.objectives.rto_ms.map(|rto_ms| begun_ms.saturating_add(rto_ms));
    Some(Ahead { end_ms, must_ms, n: if n == usize::MAX { 0 } else { n } })
}

fn left_ms(task: &Task, usual_ms: u64, now_ms: u64) -> u64 {
    match task.state {
        TaskState::Working { from_ms, .. } => usual_ms.saturating_sub(now_ms.saturating_sub(from_ms)),
        _ => usual_ms,
    }
}

/// What a step takes that nobody measured: its target, or the time that it waits.
fn aim_ms(step: &Step, record: &RunRecord) -> u64 {
    match step.uses_in(record.mode) {
        Uses::Wait { for_ms } => *for_ms,
        Uses::Capture { budget_ms, .. } => step.target_ms.unwrap_or(*budget_ms),
        _ => step.target_ms.unwrap_or(0),
    }
}

/// Watching times between waves that are not through; after the last one nothing begins.
fn soaks_ms(record: &RunRecord) -> u64 {
    let turns = super::waves::turns(&record.runbook, &record.targets);
    let through = |turn: &super::waves::Turn| {
        let names = || turn.targets.iter().map(|at| &record.targets[*at].target);
        let mine = |task: &&Task| task.target.as_ref().is_some_and(|of| names().any(|name| name == of));
        record.tasks.iter().filter(mine).all(Task::is_through)
    };
    let but_last = turns.len().saturating_sub(1);
    turns.iter().take(but_last).filter(|turn| !through(turn)).map(|turn| turn.soak_ms).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{
        Happened,
        tests::{Driver, drill},
    };

    const MINUTE: u64 = 60_000;

    #[test]
    fn a_breach_is_seen_before_it_is_one() {
        let mut driver = Driver::begin(drill(&["a", "b", "c"]));
        driver.run_objective(Some(20 * MINUTE));
        let times = |image: u64| {
            [("image", image), ("prove", 1), ("ready", 0), ("go", 1), ("all", 0)]
                .map(|(step, minutes)| (step.to_owned(), vec![minutes * MINUTE; 7]))
                .into()
        };
        // Three endpoints, two at a time: two rounds of five and one, and a minute for the approval.
        let soon = ahead(driver.run.record(), &times(5), 1_000).unwrap();
        assert_eq!((soon.end_ms, soon.n), (1_000 + 13 * MINUTE, 7));
        assert!(!soon.is_breach());
        let late = ahead(driver.run.record(), &times(10), 1_000).unwrap();
        assert!(late.is_breach(), "{late:?}");
        // What works has its time so far taken off, and is never less than nothing.
        driver.done("ready", None, true);
        driver.approve("ada", "lead").unwrap();
        driver.approve("bob", "second").unwrap();
        driver.now_ms += MINUTE;
        driver.event(Happened::Tick).unwrap();
        let now_ms = driver.now_ms;
        let further = ahead(driver.run.record(), &times(5), now_ms).unwrap();
        assert!(further.end_ms <= soon.end_ms && further.end_ms >= now_ms, "{further:?}");
        // Nothing was measured: the steps' own targets stand in, and n says so.
        let unmeasured = ahead(driver.run.record(), &BTreeMap::new(), now_ms).unwrap();
        assert_eq!((unmeasured.end_ms, unmeasured.n), (now_ms, 0));
        driver.event(Happened::Abort { person: "ada".into(), reason: String::new() }).unwrap();
    }

    #[test]
    fn what_does_not_run_has_no_end_ahead() {
        let planned = drill(&["a"]);
        assert_eq!(ahead(planned.record(), &BTreeMap::new(), 0), None);
    }
}
