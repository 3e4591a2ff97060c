//! What people say to a run: approvals, answers, choices, and that it stops.

use super::{
    super::{
        event::{Failure, Refusal, RunEffect},
        record::{ApprovalGiven, RunRecord, TaskState, Waiting},
    },
    Fate, Machine,
};
use crate::{
    ids::OrderKey,
    runbook::{Approval, Step, Uses},
    target::Mode,
};

impl<M: Mode> Machine<M> {
    pub(super) fn decided(
        &mut self,
        key: &OrderKey,
        given: ApprovalGiven,
        yes: bool,
        binding: &str,
    ) -> Result<(), Refusal> {
        let at = self.working(key, Waiting::Approval)?;
        let record = &mut self.run.record;
        let Some(approval) = approval_of(record, at) else { return Err(Refusal::NotAsked(key.clone())) };
        if binding != record.binding {
            return Err(Refusal::WrongBinding);
        }
        if !approval.roles.is_empty() && !approval.roles.contains(&given.role) {
            return Err(Refusal::WrongRole { role: given.role, allowed: approval.roles });
        }
        if approval.not_requester && yes && given.person == record.requester {
            return Err(Refusal::OwnRequest { person: given.person });
        }
        let TaskState::Working { approvals, .. } = &mut record.tasks[at].state else {
            return Err(Refusal::NotWaiting(key.clone()));
        };
        if approvals.iter().any(|earlier| earlier.person == given.person) && yes {
            return Err(Refusal::AlreadyDecided { person: given.person });
        }
        let who = format!("{} ({})", given.person, given.role);
        if !yes {
            let what = format!("{who} denied it: {}", given.reason);
            let why = Failure::new("denied", what, "Settle the reason with them, then plan a new run.");
            self.fail(at, why, Vec::new(), Fate::Final);
            return Ok(());
        }
        approvals.push(given);
        let count = approvals.len();
        self.note(at, format!("{who} approved ({count} of {})", approval.min));
        if count >= usize::from(approval.min) {
            self.pass(at, format!("approved by {count}"), Vec::new());
        }
        Ok(())
    }

    pub(super) fn answered(
        &mut self,
        key: &OrderKey,
        person: &str,
        done: bool,
        note: &str,
    ) -> Result<(), Refusal> {
        let at = self.working(key, Waiting::Answer)?;
        if done {
            self.pass(at, format!("{person}: done. {note}").trim_end().to_owned(), Vec::new());
        } else {
            let what = format!("{person} could not do it: {note}");
            self.fail(
                at,
                Failure::new("not-done", what, "Mend what stood in the way, then run it again."),
                Vec::new(),
                Fate::OnFailure,
            );
        }
        Ok(())
    }

    pub(super) fn chose(&mut self, key: &OrderKey, person: &str, option: String) -> Result<(), Refusal> {
        let at = self.working(key, Waiting::Choice)?;
        let record = &self.run.record;
        let options = match record.step_of(&record.tasks[at]).map(|step| step.uses_in(record.mode)) {
            Some(Uses::Decide { options, .. }) => options.clone(),
            _ => Vec::new(),
        };
        if !options.contains(&option) {
            return Err(Refusal::NoOption { option, options });
        }
        self.pass(at, format!("{person} chose `{option}`"), Vec::new());
        if let TaskState::Passed { chose, .. } = &mut self.run.record.tasks[at].state {
            *chose = Some(option);
        }
        Ok(())
    }

    pub(super) fn abort(&mut self, person: String, reason: &str) {
        self.stop(Some(person.clone()), format!("{person} stopped the run: {reason}"));
        for at in 0..self.run.record.tasks.len() {
            let task = &self.run.record.tasks[at];
            let for_machine = matches!(task.state, TaskState::Working { waiting: Waiting::Machine, .. });
            if for_machine {
                self.effects.push(RunEffect::Stop(self.run.record.key_of(task)));
            }
        }
    }
}

fn approval_of(record: &RunRecord, at: usize) -> Option<Approval> {
    match record.step_of(&record.tasks[at]).map(|step: &Step| step.uses_in(record.mode)) {
        Some(Uses::Approve(approval)) => Some(approval.clone()),
        _ => None,
    }
}
