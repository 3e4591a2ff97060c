//! A run: one execution of a runbook, as a pure machine that takes events and gives effects.
//!
//! ```text
//! plan ──► Planned ─Begin─► Running ─────────────────────► Finally ─────────► Over(outcome)
//!             │                │  steps, by their needs       │ one after        succeeded │ partly │ failed │ aborted
//!             │                └─ stop (failures, Abort): ───►│ the other,
//!             └─Abort─► Over(aborted)  nothing new starts     │ always
//! ```
//!
//! The caller owns clock, storage and everything that acts. It goes round like this, async or not:
//!
//! ```text
//! event ─► step(&run, event) ─► store run.record() ─► hand each effect to the Actuator ─► (later) its outcome is an event
//! no event by run.next_wake_ms() ─► RunEvent::tick(now)
//! after a restart: Run::<Drill>::resume(record, facts, scope) ─► hand run.outstanding() to the Actuator again
//! ```
//!
//! Store first, then act: an order that was stored and perhaps not handed over comes again from [`Run::outstanding`] under the same
//! [`OrderKey`](crate::OrderKey), and an [`Actuator`] does the work of one key at most once. So a power cut at any instant loses nothing and
//! repeats nothing.
//!
//! This module does no I/O, reads no clock and spawns nothing.

pub mod ahead;
#[cfg(test)]
mod cuts;
mod event;
#[cfg(test)]
mod failing;
mod machine;
mod needs;
mod orders;
mod plan;
pub mod preview;
#[cfg(test)]
mod random;
mod record;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod wave_tests;
pub mod waves;

pub use event::{
    Actuator, CannotStart, CheckResult, Failure, Happened, Order, Outcome, Refusal, RunEffect, RunEvent, Work,
};
pub use machine::step;
pub use plan::{Ask, PlanError, ResumeError, permits_at_most, plan};
pub use record::{
    ApprovalGiven, FrozenTarget, Moment, RunRecord, Stage, Stop, TargetState, Task, TaskState, Verdict,
    Waiting,
};

use crate::{
    ids::TargetId,
    target::{Mode, Target},
};

/// One execution of a runbook in mode `M`. Made by [`plan`], changed by [`step`], stored as its [`RunRecord`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run<M: Mode> {
    record: RunRecord,
    /// Beside `record.targets`: the permission to work on each, or why there is none any more (after a restart).
    targets: Vec<Result<Target<M>, String>>,
}

impl<M: Mode> Run<M> {
    /// What to store: everything but the permissions, which are earned anew after a restart.
    #[must_use]
    pub fn record(&self) -> &RunRecord {
        &self.record
    }

    /// Without an event until then (milliseconds since 1970), send [`RunEvent::tick`]. `None`: nothing waits for time.
    #[must_use]
    pub fn next_wake_ms(&self) -> Option<u64> {
        let until = |task: &Task| match &task.state {
            TaskState::Working { until_ms, .. } => Some(*until_ms),
            _ => None,
        };
        let soaked_ms = match self.record.stage {
            Stage::Running => waves::Progress::of(&self.record).soaks_until_ms,
            Stage::Planned | Stage::Finally | Stage::Over { .. } => None,
        };
        self.record.tasks.iter().filter_map(until).chain(soaked_ms).min()
    }

    /// True when nothing will happen any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.record.stage, Stage::Over { .. })
    }

    /// The orders whose outcome is still awaited: hand them to the actuator again after a restart.
    #[must_use]
    pub fn outstanding(&self) -> Vec<Order<M>> {
        orders::outstanding(self)
    }

    fn permission(&self, target: &TargetId) -> Option<&Result<Target<M>, String>> {
        let at = self.record.targets.iter().position(|frozen| frozen.target == *target)?;
        self.targets.get(at)
    }
}
