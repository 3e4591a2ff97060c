//! The job machine: `step(&Job, JobEvent) -> Result<(Job, Vec<Effect>), Refusal>`, pure. Time comes with the event.
//!
//! ```text
//!            Admit      CheckImage    Fence     (onward)   Publish     Power
//! Proposed ───────► Admitted ───► Approved ──► Fenced ──► Ticketed ──► Powering ──► AgentWait
//!                      │ a person approves        ▲                                   │ hello (unproven)
//!                      ▼                          │ resume, silence, stall            ▼
//!               Held(AwaitingApproval)            └──────────────────────────────── Proving
//!                                                                                     │ quote accepted, or paired
//! ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ point of no return ┄┄┄┄┄┄┄┄┄┄┄┄┄┄▼┄┄┄┄┄┄
//!   Recovered ◄─ Releasing ◄─ Registering ◄─ Enrolling ◄─ Verifying ◄─ OsWait ◄─ Disarming ◄─ ReadBack ◄─ Imaging
//!                   Release      Register                                          ClearBoot
//!
//!   a capture:  Admitted ─► Ticketed ─► Powering ─► AgentWait ─► Proving ─► Capturing ─► Disarming ─► Captured
//! ```
//!
//! A capture writes nothing: it fences nobody, passes no point of no return, and leaves the endpoint in the state it was in.
//! A stage either has a *duty* (an act on the outside, journaled as an intent and answered by [`What::Done`]) or waits
//! for the endpoint. An unproven hello moves a job no further than Proving, and never back: a hello is only a claim.
//! Whatever ends or holds a job voids its boot ticket in the same transaction.
//!
//! It must never: read a clock, do I/O, or let an order to write out of a stage before Imaging.

mod people;

use images::ImageId;
use recovery_protocol::{
    agent::Captured,
    erase::{EraseFacts, ErasePolicy},
    job::{HoldReason, JobState, Stage},
    operator::EndpointState,
};

use super::{
    job::{
        Admission, Duty, Effect, Erased, Job, JobEvent, Outcome, Proof, Proposal, Refusal, Restored, What,
    },
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
        What::Enrolled { serial } => turn.enrolled(&serial)?,
        What::Refused { reason, detail } => turn.refused(reason, detail)?,
        What::Approve { by } => turn.approve(by)?,
        What::BreakGlass { by } => turn.break_glass(by)?,
        What::Resume { by: _ } => turn.resume()?,
        What::SiteStop { by } => turn.site_stop(&by)?,
        What::Cancel { by } => turn.cancel(&by)?,
    }
    Ok((turn.job, turn.effects))
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
        self.job.attempt = 1;
        self.stamp(Some(self.limits.stage(stage)));
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
            Stage::Powering => self.begin(Duty::Power, 0),
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
        self.job.intent += 1;
        self.stamp(Some(Limits::HELD));
    }

    fn end(&mut self, state: JobState, endpoint: EndpointState) {
        self.effects.extend([Effect::VoidTickets, Effect::VoidEnrolment, Effect::Mark(endpoint)]);
        self.job.state = state;
        self.job.session = None;
        self.job.intent += 1;
        self.stamp(None);
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
            JobState::Working { stage } => self.limits.stage(stage),
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
            Admission::NeedsApproval { second_person } => {
                self.job.second_person = second_person;
                self.enter(Stage::Admitted);
            }
        }
        Ok(())
    }

    fn done(&mut self, intent: u32, outcome: Outcome) -> Result<(), Refusal> {
        let stage = self.working().map_err(|_| Refusal::Stale)?;
        if intent != self.job.intent {
            return Err(Refusal::Stale);
        }
        match outcome {
            Outcome::Done => self.duty_done(stage),
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
            Stage::Disarming => self.disarmed(),
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

    fn disarmed(&mut self) {
        match self.job.capture {
            Some(_) => self.end(JobState::Captured, self.job.before),
            None => self.enter(Stage::OsWait),
        }
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
            Some(Duty::ClearBoot) => self.disarmed(),
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
                Proof::Quote | Proof::Paired,
            ) => return Err(self.not_now()),
        }
        self.job.boots += 1;
        if self.job.boots > Limits::BOOTS {
            let detail = format!("the recovery system came up {} times in this job", self.job.boots);
            self.hold(Stage::Proving, HoldReason::AgentFailed, detail);
            return Ok(());
        }
        self.job.session = Some(session);
        self.enter(self.act());
        Ok(())
    }

    fn order_asked(&mut self, session: &str, disk: &str, erase: ErasePolicy) -> Result<(), Refusal> {
        self.speaks(session)?;
        if self.among(&[Stage::Capturing, Stage::Imaging, Stage::ReadBack])? == Stage::ReadBack {
            self.enter(Stage::Imaging);
        }
        self.job.step_seq += 1;
        self.job.read_back = false;
        self.job.erase = erase;
        // Another disk was not erased, and less than what is demanded now is not enough.
        self.job.erased =
            self.job.erased.take().filter(|erased| erased.serial == disk && satisfies(erase, &erased.facts));
        self.job.disk = disk.to_owned();
        Ok(())
    }

    fn speaks(&self, session: &str) -> Result<(), Refusal> {
        self.working()?;
        if self.job.session.as_deref() == Some(session) { Ok(()) } else { Err(Refusal::Session) }
    }

    fn reported(&mut self, session: &str, step_seq: u32, report: Restored) -> Result<(), Refusal> {
        self.speaks(session)?;
        let stage = self.among(&[Stage::Imaging, Stage::ReadBack, Stage::Disarming, Stage::OsWait])?;
        if step_seq != self.job.step_seq {
            return Err(Refusal::Order { got: step_seq, current: self.job.step_seq });
        }
        match report {
            Restored::Erasing(health) if stage == Stage::Imaging && self.job.erase != ErasePolicy::None => {
                self.job.disk_health = Some(*health);
                // What a disk does by itself takes as long as it takes.
                self.stamp(Some(Limits::ERASE));
            }
            Restored::Erased(facts) if stage == Stage::Imaging && satisfies(self.job.erase, &facts) => {
                self.job.erased = Some(Erased { serial: self.job.disk.clone(), facts: *facts });
                self.stamp(Some(self.limits.stage(Stage::Imaging)));
            }
            Restored::Written(_) if stage == Stage::Imaging && self.job.lacks_erasure() => {
                return Err(self.not_now());
            }
            Restored::Planned(plan, health) if stage == Stage::Imaging => {
                self.job.plan = Some(plan);
                self.job.disk_health = Some(*health);
            }
            Restored::Written(facts) if stage == Stage::Imaging => {
                self.job.restore = Some(facts);
                self.enter(Stage::ReadBack);
            }
            Restored::Proven(facts) if stage == Stage::ReadBack => {
                self.job.restore = Some(facts);
                self.job.read_back = true;
            }
            Restored::Committed(facts) if stage == Stage::ReadBack && self.job.read_back => {
                self.job.restore = Some(facts);
                self.enter(Stage::Disarming);
            }
            Restored::Written(_) if stage == Stage::ReadBack => return Err(Refusal::Repeated),
            Restored::Committed(_) if stage > Stage::ReadBack => return Err(Refusal::Repeated),
            Restored::Erasing(_)
            | Restored::Erased(_)
            | Restored::Planned(..)
            | Restored::Written(_)
            | Restored::Proven(_)
            | Restored::Committed(_) => return Err(self.not_now()),
        }
        Ok(())
    }

    fn captured(
        &mut self,
        session: &str,
        step_seq: u32,
        image: ImageId,
        captured: Captured,
    ) -> Result<(), Refusal> {
        self.speaks(session)?;
        let stage = self.among(&[Stage::Capturing, Stage::Disarming])?;
        if step_seq != self.job.step_seq {
            return Err(Refusal::Order { got: step_seq, current: self.job.step_seq });
        }
        if stage == Stage::Disarming {
            return Err(if self.job.image == image { Refusal::Repeated } else { self.not_now() });
        }
        (self.job.image, self.job.captured) = (image, Some(captured));
        self.enter(Stage::Disarming);
        Ok(())
    }

    fn golden_hello(&mut self) -> Result<(), Refusal> {
        match &self.job.state {
            JobState::Working { stage: Stage::OsWait } => self.enter(Stage::Verifying),
            // It was held for its silence only.
            JobState::Held { stage: Stage::OsWait, reason: HoldReason::OsSilent, .. } => {
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
        self.fail(stage, reason, detail);
        Ok(())
    }
}

/// Whether an erasure is what `policy` demands.
fn satisfies(policy: ErasePolicy, facts: &EraseFacts) -> bool {
    policy.methods().contains(&facts.method)
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
