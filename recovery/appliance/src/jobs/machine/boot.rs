//! A boot override, or a virtual CD, and who takes it back. It may be set from Powering on, in whichever round, until a driver says that it
//! is gone: so a job that is held, cancelled or over has it taken back, wherever it stands then. That is tried again until it is done, and
//! stands with the job until then: a BMC that was away for an hour must not boot the recovery system next week.
//!
//! It must never: keep a restored system waiting.

use std::time::Duration;

use recovery_protocol::{
    job::{JobState, Stage},
    operator::Power,
};

use super::{
    super::{
        job::{Duty, Job},
        limits::{self, Limits, RetryClass},
    },
    Turn, millis,
};

impl Job {
    /// Whether it wants its endpoint to boot what a driver has set.
    #[must_use]
    pub fn boots(&self) -> bool {
        matches!(self.state, JobState::Working { stage } if (Stage::Powering..Stage::Disarming).contains(&stage))
    }

    pub(super) fn took_back(&mut self) {
        (self.boot_set, self.boot_left, self.clears) = (false, None, 0);
        self.powered_by.clear();
    }
}

impl Turn<'_> {
    pub(super) fn take_back(&mut self) {
        self.job.clears = 0;
        self.begin(Duty::ClearBoot, 0);
    }

    /// It goes on, and what could not be taken back is tried beside it.
    pub(super) fn disarm_beside(&mut self, why: String) {
        self.job.boot_left = Some(why);
        // Before what the next stage has to do: the newest intent is that stage's. What ends or holds the job begins one of its own.
        if self.job.capture.is_none() {
            self.job.clears = Limits::TRIES;
            self.begin(Duty::ClearBoot, millis(limits::backoff(RetryClass::Transport, self.job.clears)));
        }
        self.disarmed();
    }
}

/// How it ended to take back what a driver had set, of a job that does not wait for that; `why`: it failed. The job with that, and when it is
/// tried again. `None`: the job boots its endpoint anew, and needs what is set now.
#[must_use]
pub fn taken_back(job: &Job, why: Option<&str>) -> Option<(Job, Option<Duration>)> {
    if job.boots() {
        return None;
    }
    let mut job = job.clone();
    let Some(why) = why else {
        job.took_back();
        return Some((job, None));
    };
    job.boot_left = Some(why.to_owned());
    job.clears += 1;
    let again = job.clears < Limits::CLEARS;
    let wait = again.then(|| limits::backoff(RetryClass::Transport, job.clears));
    Some((job, wait))
}

/// The record is changed: what may still be set at `earlier` is taken back there, too.
#[must_use]
pub fn powered_by(job: &Job, earlier: &[Power]) -> Job {
    let mut job = job.clone();
    let fresh: Vec<_> = earlier.iter().filter(|power| !job.powered_by.contains(power)).cloned().collect();
    job.powered_by.extend(fresh);
    job
}
