//! What people do to a job: approve, resume, stop.
//!
//! It must never: let a person past what a proof alone decides.

use recovery_protocol::{
    job::{HoldReason, JobState, Stage},
    operator::{EndpointState, Mode},
};

use super::{
    super::{
        job::{Effect, Refusal},
        limits::{self, RetryClass},
    },
    Turn,
};

impl Turn<'_> {
    pub(super) fn approve(&mut self, by: String) -> Result<(), Refusal> {
        let JobState::Held { reason, .. } = &self.job.state else { return Err(Refusal::NothingToApprove) };
        let vouches = self.waits_for_a_word();
        let changed = [HoldReason::IdentityChanged, HoldReason::FirmwareChanged];
        let (next, seen) = if *reason == HoldReason::AwaitingApproval {
            (if self.job.capture.is_some() { Stage::Ticketed } else { Stage::Approved }, None)
        } else if changed.contains(reason) {
            let seen = self.job.seen.clone().filter(|seen| seen.reason() == *reason);
            (self.again(), Some(seen.ok_or(Refusal::NothingSeen)?))
        } else if *reason == HoldReason::TriggerUnconfirmed {
            (self.again(), None)
        } else if vouches {
            (Stage::Registering, None)
        } else {
            return Err(Refusal::NothingToApprove);
        };
        if self.job.second_person && by == self.job.asked_by {
            return Err(Refusal::SecondPerson);
        }
        if vouches {
            self.vouched();
            return Ok(());
        }
        self.job.approved_by = Some(by);
        // A person stands for it now.
        self.job.asks_again = false;
        if let Some(seen) = seen {
            self.effects.push(Effect::Allowed(seen.clone()));
            self.job.allowed.push(seen);
        }
        self.go_on(next);
        Ok(())
    }

    /// In place of the approval that a job waits for or will want, and of nothing else: what a proof decides stays with people who look at it.
    pub(super) fn break_glass(&mut self, by: String) -> Result<(), Refusal> {
        if self.job.capture.is_some() || self.job.mode == Mode::Drill || self.job.break_glass.is_some() {
            return Err(Refusal::NothingToApprove);
        }
        match &self.job.state {
            JobState::Working { stage: Stage::Proposed | Stage::Admitted }
                if self.job.approved_by.is_none() =>
            {
                self.job.break_glass = Some(by);
                Ok(())
            }
            JobState::Held { reason: HoldReason::AwaitingApproval, .. } => {
                self.job.break_glass = Some(by);
                self.go_on(Stage::Approved);
                Ok(())
            }
            _ => Err(Refusal::NothingToApprove),
        }
    }

    pub(super) fn resume(&mut self) -> Result<(), Refusal> {
        let JobState::Held { stage, reason, .. } = &self.job.state else { return Err(self.not_now()) };
        if *reason == HoldReason::AwaitingApproval || self.waits_for_a_word() {
            return Err(Refusal::ApproveInstead);
        }
        let security = limits::class(*reason) == RetryClass::Security;
        let next = match stage {
            Stage::Proposed | Stage::Admitted | Stage::Approved => *stage,
            Stage::Fenced
            | Stage::Ticketed
            | Stage::Powering
            | Stage::AgentWait
            | Stage::Proving
            | Stage::Capturing
            | Stage::Imaging
            | Stage::ReadBack
            | Stage::OsWait
            | Stage::Verifying => self.again(),
            Stage::Enrolling if security => Stage::Fenced,
            Stage::Enrolling => Stage::OsWait,
            Stage::Disarming | Stage::Registering | Stage::Releasing => *stage,
        };
        self.go_on(next);
        Ok(())
    }

    fn go_on(&mut self, next: Stage) {
        (self.job.round, self.job.boots, self.job.seen) = (1, 0, None);
        self.effects.push(Effect::Mark(EndpointState::Recovering));
        self.enter(next);
    }

    pub(super) fn site_stop(&mut self, by: &str) -> Result<(), Refusal> {
        let stage = self.working()?;
        if !super::stoppable(&self.job) {
            return Err(self.not_now());
        }
        let disk = match (self.job.touched, self.job.capture.is_some()) {
            (true, _) => "its disk is not whole and does not boot",
            (false, true) => "its disk was only read",
            (false, false) => "its disk was not touched",
        };
        let alone = self.job.erases_itself().map(|what| format!(" {what}.")).unwrap_or_default();
        self.hold(stage, HoldReason::SiteStopped, format!("By {by}; {disk}.{alone}"));
        Ok(())
    }

    pub(super) fn cancel(&mut self, by: &str) -> Result<(), Refusal> {
        let (stage, held) = match &self.job.state {
            JobState::Working { stage } => (*stage, false),
            JobState::Held { stage, .. } => (*stage, true),
            JobState::Recovered
            | JobState::Captured
            | JobState::Cancelled { .. }
            | JobState::Failed { .. } => {
                return Err(Refusal::Over);
            }
        };
        if !held && (stage.past_point_of_no_return() || self.job.touched) {
            let alone = self.job.erases_itself().map(|what| format!(". {what}")).unwrap_or_default();
            self.hold(stage, HoldReason::Stopped, format!("stopped by {by}{alone}"));
            return Ok(());
        }
        self.give_up(stage);
        Ok(())
    }

    pub(super) fn give_up(&mut self, stage: Stage) {
        let after = match (self.job.touched, self.job.fenced) {
            (true, _) => EndpointState::Suspect,
            (false, true) => EndpointState::Known,
            (false, false) => self.job.before,
        };
        let begun = self.job.boot_set;
        self.end(JobState::Cancelled { stage }, after);
        if !begun && stage >= Stage::Powering {
            self.take_back();
        }
    }
}
