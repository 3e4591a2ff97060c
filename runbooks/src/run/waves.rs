//! Who is in which wave, and which wave may begin.
//!
//! The endpoints of a plan are dealt out in the order of the file's waves. A wave with `match` comes again until everybody who fits had their turn, unless it
//! says `once`; so does the last one. All of it follows from the record, so nothing of it is stored. A wave begins when the one before it is through, enough of it went all the
//! way, and it was watched long enough.

use super::record::{FrozenTarget, RunRecord, TargetState, TaskState};
use crate::{
    ids::TargetId,
    runbook::{Runbook, Selector},
};

/// One wave of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The wave's name, with a number when it comes again.
    pub name: String,
    /// Its endpoints, at their places in the plan.
    pub targets: Vec<usize>,
    /// How long nothing new begins after it.
    pub soak_ms: u64,
    /// How many of them must have gone all the way.
    pub must_pass: usize,
}

/// The waves of a run with their endpoints. Waves that nobody fits are left out.
#[must_use]
pub fn turns(runbook: &Runbook, targets: &[FrozenTarget]) -> Vec<Turn> {
    let mut left: Vec<usize> = (0..targets.len()).collect();
    if runbook.waves.is_empty() {
        return vec![Turn { name: "all".into(), targets: left, soak_ms: 0, must_pass: 0 }];
    }
    let mut turns: Vec<Turn> = Vec::new();
    for (number, wave) in runbook.waves.iter().enumerate() {
        let is_last = number + 1 == runbook.waves.len();
        for again in 1.. {
            let size = wave.size.map_or(usize::MAX, |size| size as usize);
            let fits =
                |at: &&usize| wave.matches.as_ref().is_none_or(|matches| fits(matches, &targets[**at]));
            let mine: Vec<usize> = left.iter().filter(fits).take(size).copied().collect();
            if mine.is_empty() {
                break;
            }
            left.retain(|at| !mine.contains(at));
            let name = if again == 1 { wave.name.clone() } else { format!("{} {again}", wave.name) };
            let must_pass = wave.pass.of(mine.len());
            turns.push(Turn { name, targets: mine, soak_ms: wave.soak_ms, must_pass });
            if wave.once || !(is_last || wave.matches.is_some()) {
                break;
            }
        }
    }
    turns
}

/// What of a frozen endpoint a wave can ask for.
fn fits(selector: &Selector, frozen: &FrozenTarget) -> bool {
    selector.kind.as_ref().is_none_or(|kind| *kind == frozen.kind)
        && selector.zone.as_ref().is_none_or(|zone| *zone == frozen.zone)
        && selector.label.as_ref().is_none_or(|label| frozen.labels.contains(label))
}

/// How far the waves of a run are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    /// Endpoints from this place in `order` on wait for their wave.
    open: std::collections::BTreeSet<TargetId>,
    /// The wave that could begin, but for its soaking: until then.
    pub(super) soaks_until_ms: Option<u64>,
    /// A wave that did not pass.
    pub(super) broken: Option<String>,
    /// Endpoints whose wave was stopped, with the step that did it.
    stopped: std::collections::BTreeMap<TargetId, String>,
}

impl Progress {
    /// Look at a run.
    pub(super) fn of(record: &RunRecord) -> Self {
        let mut progress = Self {
            open: std::collections::BTreeSet::new(),
            soaks_until_ms: None,
            broken: None,
            stopped: std::collections::BTreeMap::new(),
        };
        let stops = |task: &&super::Task| matches!(task.state, TaskState::Failed { stops_wave: true, .. });
        for turn in turns(&record.runbook, &record.targets) {
            let names: Vec<&TargetId> = turn.targets.iter().map(|at| &record.targets[*at].target).collect();
            progress.open.extend(names.iter().map(|name| (*name).clone()));
            let mine = |task: &&super::Task| {
                task.target.as_ref().is_some_and(|of| progress.open.contains(of) && names.contains(&of))
            };
            if let Some(by) = record.tasks.iter().filter(mine).find(stops) {
                progress.stopped.extend(names.iter().map(|name| ((*name).clone(), by.step.to_string())));
            }
            let mine: Vec<_> = record
                .tasks
                .iter()
                .filter(|task| task.target.as_ref().is_some_and(|of| names.contains(&of)))
                .collect();
            if !mine.iter().all(|task| task.is_through()) {
                return progress;
            }
            let passed = names.iter().filter(|name| record.target_state(name) == TargetState::Proven).count();
            if passed < turn.must_pass {
                progress.broken = Some(format!(
                    "wave `{}`: {passed} of {} went all the way, and {} must",
                    turn.name,
                    names.len(),
                    turn.must_pass
                ));
                return progress;
            }
            let ended_ms = mine.iter().filter_map(|task| task.ended_ms()).max().unwrap_or(0);
            let soaked_ms = ended_ms.saturating_add(turn.soak_ms);
            if record.now_ms < soaked_ms {
                progress.soaks_until_ms = Some(soaked_ms);
                return progress;
            }
        }
        progress
    }

    /// The endpoint's wave has begun.
    pub(super) fn has_begun(&self, target: &TargetId) -> bool {
        self.open.contains(target)
    }

    /// The step that stopped the endpoint's wave.
    pub(super) fn stopped_by(&self, target: &TargetId) -> Option<&str> {
        self.stopped.get(target).map(String::as_str)
    }
}

/// Endpoints that a share of a wave means.
#[cfg(test)]
mod tests {
    use crate::runbook::Pass;

    #[test]
    fn a_share_is_rounded_up() {
        assert_eq!((Pass::All.of(6), Pass::Percent(90).of(6), Pass::Percent(50).of(6)), (6, 6, 3));
        assert_eq!((Pass::Percent(90).of(1), Pass::Percent(1).of(0)), (1, 0));
    }
}
