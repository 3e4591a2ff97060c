//! From a task to the order that the actuator gets. The only place that asks for a permit to write.

use std::collections::BTreeSet;

use super::{
    Run,
    event::{Failure, Order, Work},
    record::{FrozenTarget, Task, TaskState, Waiting},
};
use crate::{
    ids::StepId,
    runbook::{OnUnreachable, Per, Profile, Uses},
    target::Mode,
};

const GONE: &str = "the step has no endpoint to work on";

/// The orders of all working tasks, with fresh permits. A task whose permission is gone is left to its timeout.
pub(super) fn outstanding<M: Mode>(run: &Run<M>) -> Vec<Order<M>> {
    let order = |task: &Task| {
        let TaskState::Working { until_ms, waiting, .. } = task.state else { return None };
        if waiting == Waiting::Time {
            return None;
        }
        let work = work(run, task, until_ms).ok()?;
        Some(Order { key: run.record.key_of(task), work, until_ms })
    };
    run.record.tasks.iter().filter_map(order).collect()
}

/// What a task orders.
pub(super) fn work<M: Mode>(run: &Run<M>, task: &Task, until_ms: u64) -> Result<Work<M>, Failure> {
    let record = &run.record;
    let gone = || Failure::new("no-target", GONE, "Lint the runbook and plan a new run.");
    let step = record.step_of(task).ok_or_else(gone)?;
    let frozen =
        || record.targets.iter().find(|frozen| Some(&frozen.target) == task.target.as_ref()).ok_or_else(gone);
    let uses = step.uses_in(record.mode);
    if record.mode.is_paper() && !uses.is_by_hand() {
        // A card: people say what would be done, and nothing is.
        let (text, checklist) = uses.told("en");
        return Ok(Work::Manual { text, checklist });
    }
    Ok(match uses {
        Uses::Check { set } => Work::Check {
            set: set.clone(),
            targets: match step.per {
                Per::Run => record.targets.iter().map(|frozen| frozen.target.clone()).collect(),
                Per::Target => vec![frozen()?.target.clone()],
            },
        },
        Uses::Approve(approval) => {
            Work::Approve { approval: approval.clone(), binding: record.binding.clone() }
        }
        Uses::Notify { to, text } => Work::Notify { to: to.clone(), text: text.en().to_owned() },
        Uses::Decide { text, options } => {
            Work::Decide { text: text.en().to_owned(), options: options.clone() }
        }
        uses @ (Uses::Manual { .. }
        | Uses::Isolate { .. }
        | Uses::Capture { profile: Profile::Full, .. }
        | Uses::Accept { .. }) => {
            let (text, checklist) = uses.asked("en");
            Work::Manual { text, checklist }
        }
        Uses::Enrol { revoke_previous, on_unreachable } => Work::Enrol {
            target: frozen()?.target.clone(),
            revoke_previous: *revoke_previous,
            may_queue: *on_unreachable == OnUnreachable::Queue,
        },
        Uses::Release { to } => Work::Release { target: frozen()?.target.clone(), to: to.clone() },
        // Nobody is ordered: the run itself lets time pass, and the reimage keeps.
        Uses::Wait { .. } | Uses::Capture { profile: Profile::Quick, .. } => return Err(gone()),
        Uses::Reimage => reimage(run, task, frozen()?, until_ms)?,
        Uses::Verify { attest } => {
            let frozen = frozen()?;
            Work::Verify { target: frozen.target.clone(), image: frozen.image.clone(), attest: *attest }
        }
        Uses::Report { kind } => Work::Report { kind: *kind },
        Uses::Later { which } => {
            let what = format!("`{which}` is not supported by this version");
            return Err(Failure::new("not-supported", what, "Remove the step and plan a new run."));
        }
    })
}

/// The order to write, with a fresh permit.
fn reimage<M: Mode>(
    run: &Run<M>,
    task: &Task,
    frozen: &FrozenTarget,
    until_ms: u64,
) -> Result<Work<M>, Failure> {
    let gone = || Failure::new("no-target", GONE, "Lint the runbook and plan a new run.");
    match run.permission(&frozen.target) {
        Some(Ok(target)) => {
            let permit = target.permit(run.record.key_of(task), frozen.image.clone(), until_ms);
            Ok(Work::Reimage { permit: permit.ok_or_else(gone)?, keep_ms: keep_ms(run, task) })
        }
        Some(Err(why)) => {
            Err(Failure::new("not-permitted", why.clone(), "Correct the inventory, then plan a new run."))
        }
        None => Err(gone()),
    }
}

/// For how long a reimage keeps: as the captures say that it waits for and that passed on its endpoint, the longest of them.
fn keep_ms<M: Mode>(run: &Run<M>, reimage: &Task) -> Option<u64> {
    let record = &run.record;
    let mut open: Vec<&StepId> = record.step_of(reimage)?.needs.iter().collect();
    let (mut seen, mut longest) = (BTreeSet::new(), None);
    while let Some(need) = open.pop() {
        let Some(step) = record.runbook.all_steps().find(|step| step.id == *need) else { continue };
        if !seen.insert(need) {
            continue;
        }
        open.extend(&step.needs);
        let passed = || {
            record.tasks.iter().any(|task| {
                task.step == *need
                    && task.target == reimage.target
                    && matches!(task.state, TaskState::Passed { .. })
            })
        };
        if let Uses::Capture { profile: Profile::Quick, budget_ms } = step.uses_in(record.mode)
            && passed()
        {
            longest = longest.max(Some(*budget_ms));
        }
    }
    longest
}
