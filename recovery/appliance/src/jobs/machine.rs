//! The job machine: `step(&Job, JobEvent) -> Result<(Job, Vec<Effect>), Refusal>`, pure. Time comes with the event.
//!
//! ```text
//!            Admit      CheckImage    Fence     (onward)   Publish     Power
//! Proposed ───────► Admitted ───► Approved ──► Fenced ──► Ticketed ──► Powering ──► AgentWait
//!                      │ a person approves        ▲                                   │ hello (unproven)
//!                      ▼                          │ resume, silence, stall            ▼
//!               Held(AwaitingApproval)            └──────────────────────────────── Proving
//!                                                                                     │ quote accepted, or paired; Confirm, where a
//!                                                                                     │ source's word alone began it
//! ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ point of no return ┄┄┄┄┄┄┄┄┄┄┄┄┄┄▼┄┄┄┄┄┄
//!   Recovered ◄─ Releasing ◄─ Registering ◄─ Enrolling ◄─ Verifying ◄─ OsWait ◄─ Disarming ◄─ ReadBack ◄─ Imaging
//!                   Release      Register                                          ClearBoot
//!
//!   a capture:  Admitted ─► Ticketed ─► Powering ─► AgentWait ─► Proving ─► Capturing ─► Disarming ─► Captured
//! ```
//!
//!   where the image cannot carry our check-in:  Disarming ─► Registering (a control plane's word, asked for by Release)
//!                                               Disarming ─► Held(AwaitingWord) ─► Registering (a person's)
//!
//! A capture writes nothing: it fences nobody, passes no point of no return, and leaves the endpoint in the state it was in.
//! A stage either has a *duty* (an act on the outside, journaled as an intent and answered by [`What::Done`]) or waits
//! for the endpoint. An unproven hello moves a job no further than Proving, and never back: a hello is only a claim.
//! Whatever ends or holds a job voids its boot ticket in the same transaction.
//!
//! It must never: read a clock, do I/O, or let an order to write out of a stage before Imaging.

mod boot;
mod people;
mod reports;
mod word;

pub use self::boot::{powered_by, taken_back};

use recovery_protocol::{
    job::{HoldReason, JobState, Stage},
    operator::EndpointState,
};

use super::{
    job::{Admission, Duty, Effect, Job, JobEvent, Outcome, Proof, Proposal, Refusal, What},
    limits::{self, Limits, RetryClass},
};

/// A new job and its first effects.
#[must_use]
pub fn propose(proposal: Proposal, limits: &Limits, at_unix_ms: u64) -> (Job, Vec<Effect>) {
    let mut turn = Turn { job: Job::new(proposal, at_unix_ms), effects: Vec::new(), at: at_unix_ms, limits };
    turn.effects.push(Effect::Mark(EndpointState::Recovering));
    turn.enter(Stage::Proposed);
    (turn.job, turn.effects)
}

/// One step. The job is returned changed; the caller writes it with its effects in one transaction.
///
/// # Errors
/// [`Refusal`]: the event changes nothing, and why.
pub fn step(job: &Job, event: JobEvent, limits: &Limits) -> Result<(Job, Vec<Effect>), Refusal> {
    if job.state.is_over() {
        return Err(Refusal::Over);
    }
    let mut turn = Turn { job: job.clone(), effects: Vec::new(), at: event.at_unix_ms, limits };
    match event.what {
        What::Tick { seen_unix_ms } => turn.tick(seen_unix_ms)?,
        What::Restarted => turn.restarted(),
        What::Admission { intent, verdict } => turn.admission(intent, verdict)?,
        What::Done { intent, outcome } => turn.done(intent, outcome)?,
        What::AgentHello => turn.agent_hello()?,
        What::PairingShown => turn.pairing_shown()?,
        What::HardwareProven { session, proof } => turn.hardware_proven(session, proof)?,
        What::OrderAsked { session, disk, erase } => turn.order_asked(&session, &disk, erase)?,
        What::Reported { session, step_seq, report } => turn.reported(&session, step_seq, report)?,
        What::Captured { session, step_seq, image, captured } => {
            turn.captured(&session, step_seq, image, captured)?;
        }
        What::GoldenHello => turn.golden_hello()?,
        What::GoldenProven { proof, enrols } => turn.golden_proven(proof, enrols)?,
        What::Certified { serial } => turn.certified(serial)?,
        What::EnrolmentLater { until_unix_ms } => turn.enrolment_later(until_unix_ms)?,
        What::Enrolled { serial } => turn.enrolled(&serial)?,
        What::Refused { reason, detail } => turn.refused(reason, detail)?,
        What::Differs { seen, detail } => {
            turn.refused(seen.reason(), detail)?;
            turn.job.seen = Some(seen);
        }
        What::Approve { by } => turn.approve(by)?,
        What::BreakGlass { by } => turn.break_glass(by)?,
        What::Resume { by: _ } => turn.resume()?,
        What::SiteStop { by } => turn.site_stop(&by)?,
        What::Cancel { by } => turn.cancel(&by)?,
    }
    Ok((turn.job, turn.effects))
}

/// A power driver switched the endpoint off and left it so. Also of a job that is over: then nobody but a person powers it any more.
#[must_use]
pub fn left_dark(job: &Job, how: String) -> Job {
    Job { left: Some(how), ..job.clone() }
}

/// What STOP holds: a job that works and whose disk is not whole yet. One that waits for its restored system goes on: nothing of it is
/// written or switched any more.
#[must_use]
pub fn stoppable(job: &Job) -> bool {
    matches!(job.state, JobState::Working { stage } if stage < Stage::Disarming)
}

/// Whether it may switch or write: no job is so while STOP stands.
#[must_use]
pub fn acts(job: &Job) -> bool {
    matches!(job.state, JobState::Working { stage } if (Stage::Approved..Stage::Disarming).contains(&stage))
}

struct Turn<'a> {
    job: Job,
    effects: Vec<Effect>,
    at: u64,
    limits: &'a Limits,
}

impl Turn<'_> {
    fn not_now(&self) -> Refusal {
        let stage = self.job.state.stage().map_or("over", Stage::label);
        let held = matches!(self.job.state, JobState::Held { .. });
        Refusal::NotNow(if held { format!("held ({stage})") } else { stage.to_owned() })
    }

    fn working(&self) -> Result<Stage, Refusal> {
        match &self.job.state {
            JobState::Working { stage } => Ok(*stage),
            JobState::Held { .. }
            | JobState::Recovered
            | JobState::Captured
            | JobState::Cancelled { .. }
            | JobState::Failed { .. } => Err(self.not_now()),
        }
    }

    /// Where a job goes round again: a recovery fenced its endpoint before, a capture fences none.
    fn again(&self) -> Stage {
        if self.job.capture.is_some() { Stage::Ticketed } else { Stage::Fenced }
    }

    /// What a proven recovery system is for.
    fn act(&self) -> Stage {
        if self.job.capture.is_some() { Stage::Capturing } else { Stage::Imaging }
    }

    fn among(&self, stages: &[Stage]) -> Result<Stage, Refusal> {
        let stage = self.working()?;
        if stages.contains(&stage) { Ok(stage) } else { Err(self.not_now()) }
    }

    fn enter(&mut self, stage: Stage) {
        self.job.state = JobState::Working { stage };
        if stage >= Stage::AgentWait {
            self.job.left = None;
        }
        self.job.attempt = 1;
        self.stamp(Some(self.longest(stage)));
        // A duty that is still running belongs to a stage that we left.
        self.job.intent += 1;
        match stage {
            Stage::Proposed => self.begin(Duty::Admit, 0),
            Stage::Admitted => self.begin(Duty::CheckImage, 0),
            Stage::Approved => {
                self.effects.push(Effect::RevokeCertificates);
                self.job.fenced = true;
                self.begin(Duty::Fence, 0);
            }
            Stage::Fenced => self.begin(Duty::Onward, 0),
            Stage::Ticketed => {
                self.effects.push(Effect::IssueBootTicket);
                self.begin(Duty::Publish, 0);
            }
            Stage::Powering => {
                (self.job.boot_set, self.job.boot_left) = (true, None);
                self.begin(Duty::Power, 0);
            }
            Stage::AgentWait | Stage::Proving | Stage::Capturing | Stage::ReadBack => {}
            Stage::Imaging => {
                self.job.touched = true;
                self.job.read_back = false;
            }
            Stage::Disarming => {
                self.effects.push(Effect::VoidTickets);
                self.begin(Duty::ClearBoot, 0);
            }
            Stage::OsWait => self.job.golden = None,
            Stage::Verifying | Stage::Enrolling => {}
            Stage::Registering => self.begin(Duty::Register, 0),
            Stage::Releasing => self.begin(Duty::Release, 0),
        }
    }

    fn stamp(&mut self, limit: Option<std::time::Duration>) {
        self.job.entered_unix_ms = self.at;
        self.job.limit_unix_ms = limit.map(|limit| self.at.saturating_add(millis(limit)));
    }

    fn begin(&mut self, duty: Duty, after_ms: u64) {
        self.job.intent += 1;
        let due_unix_ms = self.at.saturating_add(after_ms);
        self.effects.push(Effect::Begin { intent: self.job.intent, duty, due_unix_ms });
    }

    fn hold(&mut self, stage: Stage, reason: HoldReason, detail: String) {
        self.effects.push(Effect::VoidTickets);
        if limits::class(reason) == RetryClass::Security {
            self.effects.push(Effect::VoidEnrolment);
        }
        self.effects.push(Effect::Mark(EndpointState::Held));
        self.job.state = JobState::Held { stage, reason, detail };
        self.job.session = None;
        self.job.seen = None;
        self.job.intent += 1;
        self.stamp(Some(Limits::HELD));
        // It was sent to the recovery system: what it starts from next is its own disk until a person says otherwise.
        if self.job.boot_set || (Stage::Powering..Stage::Disarming).contains(&stage) {
            self.take_back();
        }
    }

    fn end(&mut self, state: JobState, endpoint: EndpointState) {
        self.effects.extend([Effect::VoidTickets, Effect::VoidEnrolment, Effect::Mark(endpoint)]);
        self.job.state = state;
        self.job.session = None;
        self.job.intent += 1;
        self.stamp(None);
        if self.job.boot_set {
            self.take_back();
        }
    }

    /// A failure in a stage: another try, another power cycle, or a hold, by its class.
    fn fail(&mut self, stage: Stage, reason: HoldReason, detail: String) {
        let class = limits::class(reason);
        let again = match class {
            RetryClass::Transport => self.job.round < Limits::ROUNDS && boots_recovery_system(stage),
            RetryClass::Busy | RetryClass::Semantic | RetryClass::Security => false,
        };
        if again {
            self.job.round += 1;
            self.job.session = None;
            self.effects.push(Effect::VoidTickets);
            self.enter(self.again());
        } else {
            self.hold(stage, reason, detail);
        }
    }

    fn tick(&mut self, seen_unix_ms: u64) -> Result<(), Refusal> {
        let late = self.job.limit_unix_ms.is_some_and(|limit| self.at > limit);
        match self.job.state.clone() {
            JobState::Held { stage, reason, detail } if late => {
                self.end(JobState::Failed { stage, reason, detail }, EndpointState::Suspect);
                Ok(())
            }
            JobState::Working { stage } => {
                let moving = matches!(stage, Stage::Capturing | Stage::Imaging | Stage::ReadBack);
                let quiet = self.at.saturating_sub(seen_unix_ms.max(self.job.entered_unix_ms));
                if late || (moving && quiet > millis(Limits::STALL)) {
                    let detail = format!("{} s in the stage “{}”", quiet / 1000, stage.label());
                    self.fail(stage, limits::late(stage), detail);
                    return Ok(());
                }
                Err(self.not_now())
            }
            JobState::Held { .. }
            | JobState::Recovered
            | JobState::Captured
            | JobState::Cancelled { .. }
            | JobState::Failed { .. } => Err(self.not_now()),
        }
    }

    fn restarted(&mut self) {
        let least = self.at.saturating_add(millis(Limits::GRACE));
        // Nor later than if the state were entered now: a clock that was set back would let it wait for as long.
        let most = match self.job.state {
            JobState::Working { stage: Stage::Imaging } => {
                Limits::ERASE.max(self.limits.stage(Stage::Imaging))
            }
            JobState::Working { stage } => self.longest(stage),
            _ => Limits::HELD,
        };
        let most = self.at.saturating_add(millis(most)).max(least);
        self.job.limit_unix_ms = self.job.limit_unix_ms.map(|limit| limit.clamp(least, most));
        self.job.entered_unix_ms = self.at;
    }

    fn admission(&mut self, intent: u32, verdict: Admission) -> Result<(), Refusal> {
        if self.working()? != Stage::Proposed || intent != self.job.intent {
            return Err(Refusal::Stale);
        }
        match verdict {
            Admission::Refused { rule } => self.hold(Stage::Proposed, HoldReason::GuardRail, rule),
            Admission::Approved { by } => {
                self.job.approved_by = Some(by);
                self.enter(Stage::Admitted);
            }
            Admission::NeedsApproval { second_person, no_glass } => {
                if no_glass {
                    self.job.break_glass = None;
                }
                self.job.second_person = second_person;
                self.enter(Stage::Admitted);
            }
        }
        Ok(())
    }

    fn done(&mut self, intent: u32, outcome: Outcome) -> Result<(), Refusal> {
        let stage = self.working().map_err(|_| Refusal::Stale)?;
        // Those wait for the restored system alone: what is still taken back beside them holds nobody up.
        let beside = matches!(stage, Stage::OsWait | Stage::Verifying | Stage::Enrolling);
        if intent != self.job.intent || beside {
            return Err(Refusal::Stale);
        }
        match outcome {
            Outcome::Done => self.duty_done(stage),
            Outcome::Withdrawn { .. } if stage == Stage::Proving => {
                self.give_up(stage);
                Ok(())
            }
            Outcome::Withdrawn { .. } => Err(Refusal::Stale),
            Outcome::Failed { reason, detail } => {
                self.duty_failed(stage, reason, detail);
                Ok(())
            }
        }
    }

    fn duty_done(&mut self, stage: Stage) -> Result<(), Refusal> {
        match stage {
            Stage::Admitted if self.job.approved_by.is_none() && self.job.break_glass.is_none() => {
                let detail = format!("asked by {}", self.job.asked_by);
                self.hold(Stage::Admitted, HoldReason::AwaitingApproval, detail);
            }
            Stage::Admitted => self.approved(),
            Stage::Approved => self.enter(Stage::Fenced),
            Stage::Fenced => self.enter(Stage::Ticketed),
            Stage::Ticketed => self.enter(Stage::Powering),
            Stage::Powering => self.enter(Stage::AgentWait),
            Stage::Proving if self.job.asks_again => self.enter(self.act()),
            Stage::Disarming => {
                self.job.took_back();
                self.disarmed();
            }
            Stage::Registering => self.enter(Stage::Releasing),
            Stage::Releasing => self.end(JobState::Recovered, EndpointState::Trusted),
            Stage::Proposed
            | Stage::AgentWait
            | Stage::Proving
            | Stage::Capturing
            | Stage::Imaging
            | Stage::ReadBack
            | Stage::OsWait
            | Stage::Verifying
            | Stage::Enrolling => return Err(Refusal::Stale),
        }
        Ok(())
    }

    fn approved(&mut self) {
        let next = if self.job.capture.is_some() { Stage::Ticketed } else { Stage::Approved };
        self.enter(next);
    }

    fn duty_failed(&mut self, stage: Stage, reason: HoldReason, detail: String) {
        let class = limits::class(reason);
        let again = match class {
            RetryClass::Transport => self.job.attempt < Limits::TRIES,
            RetryClass::Busy => true,
            RetryClass::Semantic | RetryClass::Security => false,
        };
        match duty(stage) {
            Some(duty) if again => {
                let wait = millis(limits::backoff(class, self.job.attempt));
                self.job.attempt += 1;
                self.begin(duty, wait);
            }
            // Without a ticket a boot override that is left over leads to the local disk: go on.
            Some(Duty::ClearBoot) => self.disarm_beside(detail),
            Some(_) | None => self.hold(stage, reason, detail),
        }
    }

    fn agent_hello(&mut self) -> Result<(), Refusal> {
        use Stage::{AgentWait, Capturing, Imaging, Powering, Proving, ReadBack, Ticketed};
        // A hello proves nothing: it never moves a job back.
        if self.among(&[Ticketed, Powering, AgentWait, Proving, Capturing, Imaging, ReadBack])? < Proving {
            self.enter(Proving);
        }
        Ok(())
    }

    fn pairing_shown(&mut self) -> Result<(), Refusal> {
        self.agent_hello()?;
        self.hold(Stage::Proving, HoldReason::PairingNeeded, "the endpoint shows a pairing code".to_owned());
        Ok(())
    }

    fn hardware_proven(&mut self, session: String, proof: Proof) -> Result<(), Refusal> {
        match (&self.job.state, proof) {
            (JobState::Held { reason: HoldReason::PairingNeeded, .. }, Proof::Paired) => {
                self.effects.extend([Effect::IssueBootTicket, Effect::Mark(EndpointState::Recovering)]);
            }
            (
                JobState::Working {
                    stage: Stage::Proving | Stage::Capturing | Stage::Imaging | Stage::ReadBack,
                },
                Proof::Quote,
            ) => {}
            (
                JobState::Working { .. }
                | JobState::Held { .. }
                | JobState::Recovered
                | JobState::Captured
                | JobState::Cancelled { .. }
                | JobState::Failed { .. },
                Proof::Quote | Proof::Paired | Proof::ControlPlane | Proof::Person,
            ) => return Err(self.not_now()),
        }
        self.job.boots += 1;
        if self.job.boots > Limits::BOOTS {
            let detail = format!("the recovery system came up {} times in this job", self.job.boots);
            self.hold(Stage::Proving, HoldReason::AgentFailed, detail);
            return Ok(());
        }
        self.job.session = Some(session);
        if self.job.asks_again && !self.job.touched {
            // The last moment at which nothing is lost.
            self.enter(Stage::Proving);
            self.begin(Duty::Confirm, 0);
        } else {
            self.enter(self.act());
        }
        Ok(())
    }

    fn golden_hello(&mut self) -> Result<(), Refusal> {
        match &self.job.state {
            JobState::Working { stage: Stage::OsWait } => self.enter(Stage::Verifying),
            // It was held for its silence only, or for a word that is weaker than its own.
            JobState::Held {
                stage: Stage::OsWait,
                reason: HoldReason::OsSilent | HoldReason::AwaitingWord,
                ..
            } => {
                self.effects.push(Effect::Mark(EndpointState::Recovering));
                self.enter(Stage::Verifying);
            }
            JobState::Working { stage: Stage::Verifying | Stage::Enrolling } => {}
            JobState::Working { .. }
            | JobState::Held { .. }
            | JobState::Recovered
            | JobState::Captured
            | JobState::Cancelled { .. }
            | JobState::Failed { .. } => return Err(self.not_now()),
        }
        Ok(())
    }

    fn golden_proven(&mut self, proof: Proof, enrols: bool) -> Result<(), Refusal> {
        let stage = self.among(&[Stage::Verifying, Stage::Enrolling])?;
        if !enrols {
            self.enter(Stage::Registering);
        } else if stage == Stage::Verifying {
            self.enter(Stage::Enrolling);
        }
        self.job.golden = Some(proof);
        Ok(())
    }

    fn certified(&mut self, serial: String) -> Result<(), Refusal> {
        self.among(&[Stage::Enrolling])?;
        self.job.certificate = Some(serial);
        Ok(())
    }

    fn enrolment_later(&mut self, until_unix_ms: u64) -> Result<(), Refusal> {
        self.among(&[Stage::Enrolling])?;
        self.job.limit_unix_ms = self.job.limit_unix_ms.map(|limit| limit.max(until_unix_ms));
        Ok(())
    }

    fn enrolled(&mut self, serial: &str) -> Result<(), Refusal> {
        let stage = self.among(&[Stage::Enrolling, Stage::Registering, Stage::Releasing])?;
        if self.job.certificate.as_deref() != Some(serial) {
            return Err(Refusal::Certificate);
        }
        if stage != Stage::Enrolling {
            return Err(Refusal::Repeated);
        }
        self.enter(Stage::Registering);
        Ok(())
    }

    fn refused(&mut self, reason: HoldReason, detail: String) -> Result<(), Refusal> {
        let stage = self.working()?;
        // Nobody was sent to the network yet. An approval of what it says now, such as a new board, would lead past the guard rails,
        // past whoever must approve the recovery, and past the revocation of the old identity.
        if stage < Stage::Ticketed {
            return Err(self.not_now());
        }
        if reason == HoldReason::EraseFailed {
            self.job.erasing = None;
        }
        self.fail(stage, reason, detail);
        Ok(())
    }
}

/// The duty of a stage; `None`: it waits for the endpoint.
#[must_use]
pub fn duty(stage: Stage) -> Option<Duty> {
    match stage {
        Stage::Proposed => Some(Duty::Admit),
        Stage::Admitted => Some(Duty::CheckImage),
        Stage::Approved => Some(Duty::Fence),
        Stage::Fenced => Some(Duty::Onward),
        Stage::Ticketed => Some(Duty::Publish),
        Stage::Powering => Some(Duty::Power),
        Stage::Disarming => Some(Duty::ClearBoot),
        Stage::Registering => Some(Duty::Register),
        Stage::Releasing => Some(Duty::Release),
        Stage::AgentWait
        | Stage::Proving
        | Stage::Capturing
        | Stage::Imaging
        | Stage::ReadBack
        | Stage::OsWait
        | Stage::Verifying
        | Stage::Enrolling => None,
    }
}

/// Stages in which another power cycle leads back to the recovery system.
fn boots_recovery_system(stage: Stage) -> bool {
    (Stage::Powering..=Stage::ReadBack).contains(&stage)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
