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
//! ```
//!
//! A stage either has a *duty* (an act on the outside, journaled as an intent and answered by [`What::Done`]) or waits
//! for the endpoint. An unproven hello moves a job no further than Proving, and never back: a hello is only a claim.
//! Whatever ends or holds a job voids its boot ticket in the same transaction.
//!
//! It must never: read a clock, do I/O, or let an order to write out of a stage before Imaging.

use recovery_protocol::{
    job::{HoldReason, JobState, Stage},
    operator::EndpointState,
};

use super::{
    job::{Admission, Duty, Effect, Job, JobEvent, Outcome, Proof, Proposal, Refusal, Restored, What},
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
        What::OrderAsked { session } => turn.order_asked(&session)?,
        What::Reported { session, step_seq, report } => turn.reported(&session, step_seq, report)?,
        What::GoldenHello => turn.golden_hello()?,
        What::GoldenProven { proof, enrols } => turn.golden_proven(proof, enrols)?,
        What::Certified { serial } => turn.certified(serial)?,
        What::Enrolled { serial } => turn.enrolled(&serial)?,
        What::Refused { reason, detail } => turn.refused(reason, detail)?,
        What::Approve { by } => turn.approve(by)?,
        What::Resume { by: _ } => turn.resume()?,
        What::Cancel { by } => turn.cancel(&by)?,
    }
    Ok((turn.job, turn.effects))
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
            | JobState::Cancelled { .. }
            | JobState::Failed { .. } => Err(self.not_now()),
        }
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
            Stage::AgentWait | Stage::Proving | Stage::ReadBack => {}
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
            self.enter(Stage::Fenced);
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
                let moving = matches!(stage, Stage::Imaging | Stage::ReadBack);
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
            | JobState::Cancelled { .. }
            | JobState::Failed { .. } => Err(self.not_now()),
        }
    }

    fn restarted(&mut self) {
        let least = self.at.saturating_add(millis(Limits::GRACE));
        self.job.limit_unix_ms = self.job.limit_unix_ms.map(|limit| limit.max(least));
        self.job.entered_unix_ms = self.at.max(self.job.entered_unix_ms);
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
            Stage::Admitted if self.job.approved_by.is_none() => {
                let detail = format!("asked by {}", self.job.asked_by);
                self.hold(Stage::Admitted, HoldReason::AwaitingApproval, detail);
            }
            Stage::Admitted => self.enter(Stage::Approved),
            Stage::Approved => self.enter(Stage::Fenced),
            Stage::Fenced => self.enter(Stage::Ticketed),
            Stage::Ticketed => self.enter(Stage::Powering),
            Stage::Powering => self.enter(Stage::AgentWait),
            Stage::Disarming => self.enter(Stage::OsWait),
            Stage::Registering => self.enter(Stage::Releasing),
            Stage::Releasing => self.end(JobState::Recovered, EndpointState::Trusted),
            Stage::Proposed
            | Stage::AgentWait
            | Stage::Proving
            | Stage::Imaging
            | Stage::ReadBack
            | Stage::OsWait
            | Stage::Verifying
            | Stage::Enrolling => return Err(Refusal::Stale),
        }
        Ok(())
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
            Some(Duty::ClearBoot) => self.enter(Stage::OsWait),
            Some(_) | None => self.hold(stage, reason, detail),
        }
    }

    fn agent_hello(&mut self) -> Result<(), Refusal> {
        use Stage::{AgentWait, Imaging, Powering, Proving, ReadBack, Ticketed};
        // A hello proves nothing: it never moves a job back.
        if self.among(&[Ticketed, Powering, AgentWait, Proving, Imaging, ReadBack])? < Proving {
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
                JobState::Working { stage: Stage::Proving | Stage::Imaging | Stage::ReadBack },
                Proof::Quote,
            ) => {}
            (
                JobState::Working { .. }
                | JobState::Held { .. }
                | JobState::Recovered
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
        self.enter(Stage::Imaging);
        Ok(())
    }

    fn order_asked(&mut self, session: &str) -> Result<(), Refusal> {
        self.speaks(session)?;
        if self.among(&[Stage::Imaging, Stage::ReadBack])? == Stage::ReadBack {
            self.enter(Stage::Imaging);
        }
        self.job.step_seq += 1;
        self.job.read_back = false;
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
            Restored::Planned(plan) if stage == Stage::Imaging => self.job.plan = Some(plan),
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
            Restored::Planned(_) | Restored::Written(_) | Restored::Proven(_) | Restored::Committed(_) => {
                return Err(self.not_now());
            }
        }
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
        self.fail(stage, reason, detail);
        Ok(())
    }

    fn approve(&mut self, by: String) -> Result<(), Refusal> {
        let JobState::Held { reason, .. } = &self.job.state else { return Err(Refusal::NothingToApprove) };
        let (next, also) = if *reason == HoldReason::AwaitingApproval {
            (Stage::Approved, None)
        } else if *reason == HoldReason::IdentityChanged {
            (Stage::Fenced, Some(Effect::ForgetIdentity))
        } else if *reason == HoldReason::FirmwareChanged {
            (Stage::Fenced, Some(Effect::ForgetBaseline))
        } else {
            return Err(Refusal::NothingToApprove);
        };
        if self.job.second_person && by == self.job.asked_by {
            return Err(Refusal::SecondPerson);
        }
        self.job.approved_by = Some(by);
        self.effects.extend(also);
        self.go_on(next);
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Refusal> {
        let JobState::Held { stage, reason, .. } = &self.job.state else { return Err(self.not_now()) };
        if *reason == HoldReason::AwaitingApproval {
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
            | Stage::Imaging
            | Stage::ReadBack
            | Stage::OsWait
            | Stage::Verifying => Stage::Fenced,
            Stage::Enrolling if security => Stage::Fenced,
            Stage::Enrolling => Stage::OsWait,
            Stage::Disarming | Stage::Registering | Stage::Releasing => *stage,
        };
        self.go_on(next);
        Ok(())
    }

    fn go_on(&mut self, next: Stage) {
        self.job.round = 1;
        self.job.boots = 0;
        self.effects.push(Effect::Mark(EndpointState::Recovering));
        self.enter(next);
    }

    fn cancel(&mut self, by: &str) -> Result<(), Refusal> {
        let (stage, held) = match &self.job.state {
            JobState::Working { stage } => (*stage, false),
            JobState::Held { stage, .. } => (*stage, true),
            JobState::Recovered | JobState::Cancelled { .. } | JobState::Failed { .. } => {
                return Err(Refusal::Over);
            }
        };
        if !held && (stage.past_point_of_no_return() || self.job.touched) {
            self.hold(stage, HoldReason::Stopped, format!("stopped by {by}"));
            return Ok(());
        }
        let after = match (self.job.touched, self.job.fenced) {
            (true, _) => EndpointState::Suspect,
            (false, true) => EndpointState::Known,
            (false, false) => self.job.before,
        };
        self.end(JobState::Cancelled { stage }, after);
        if stage >= Stage::Powering {
            self.begin(Duty::ClearBoot, 0);
        }
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
mod tests {
    use proptest::prelude::*;
    use recovery_protocol::{
        JobId,
        agent::{PlanFacts, RestoreFacts},
        operator::Mode,
    };

    use super::*;

    fn new_job() -> (Job, Vec<Effect>) {
        let proposal = Proposal {
            id: JobId::new(1, [1; 10]),
            endpoint: "press-01".parse().unwrap(),
            mode: Mode::Real,
            image: images::ImageId(images::Digest([7; 32])),
            asked_by: "operator:anna".to_owned(),
            before: EndpointState::Trusted,
        };
        propose(proposal, &Limits::default(), 1_000)
    }

    fn on(job: &Job, what: What) -> Result<(Job, Vec<Effect>), Refusal> {
        step(job, JobEvent { at_unix_ms: job.entered_unix_ms + 10, what }, &Limits::default())
    }

    fn go(job: &mut Job, what: What) -> Vec<Effect> {
        let (next, effects) =
            on(job, what.clone()).unwrap_or_else(|e| panic!("{what:?} in {:?}: {e}", job.state));
        *job = next;
        effects
    }

    fn done(job: &Job) -> What {
        What::Done { intent: job.intent, outcome: Outcome::Done }
    }

    fn failed(job: &Job, reason: HoldReason) -> What {
        What::Done { intent: job.intent, outcome: Outcome::Failed { reason, detail: "x".to_owned() } }
    }

    fn says(job: &Job, report: Restored) -> What {
        What::Reported { session: "s".to_owned(), step_seq: job.step_seq, report }
    }

    /// The event that brings a job out of a stage on the straight way.
    fn straight(job: &Job, stage: Stage) -> Vec<What> {
        let admitted = Admission::Approved { by: "operator:anna".to_owned() };
        match stage {
            Stage::Proposed => vec![What::Admission { intent: job.intent, verdict: admitted }],
            Stage::AgentWait => vec![What::AgentHello],
            Stage::Proving => vec![What::HardwareProven { session: "s".to_owned(), proof: Proof::Quote }],
            Stage::Imaging => vec![
                What::OrderAsked { session: "s".to_owned() },
                What::Reported {
                    session: "s".to_owned(),
                    step_seq: job.step_seq + 1,
                    report: Restored::Planned(PlanFacts::default()),
                },
                What::Reported {
                    session: "s".to_owned(),
                    step_seq: job.step_seq + 1,
                    report: Restored::Written(RestoreFacts::default()),
                },
            ],
            Stage::ReadBack => vec![
                says(job, Restored::Proven(RestoreFacts::default())),
                says(job, Restored::Committed(RestoreFacts::default())),
            ],
            Stage::OsWait => vec![What::GoldenHello],
            Stage::Verifying => vec![What::GoldenProven { proof: Proof::Quote, enrols: true }],
            Stage::Enrolling => {
                vec![What::Certified { serial: "0a".to_owned() }, What::Enrolled { serial: "0a".to_owned() }]
            }
            Stage::Admitted
            | Stage::Approved
            | Stage::Fenced
            | Stage::Ticketed
            | Stage::Powering
            | Stage::Disarming
            | Stage::Registering
            | Stage::Releasing => vec![done(job)],
        }
    }

    fn job_in(stage: Stage) -> Job {
        let (mut job, _) = new_job();
        while job.state != (JobState::Working { stage }) {
            let now = job.state.stage().unwrap();
            for what in straight(&job, now) {
                go(&mut job, what);
            }
        }
        job
    }

    #[test]
    fn the_straight_way_passes_every_stage_in_order_and_ends_recovered() {
        let (mut job, _) = new_job();
        for stage in Stage::ALL {
            assert_eq!(job.state, JobState::Working { stage });
            assert!(job.limit_unix_ms.is_some(), "{stage:?} has no limit");
            for what in straight(&job, stage) {
                go(&mut job, what);
            }
        }
        assert_eq!(job.state, JobState::Recovered);
        assert_eq!(on(&job, What::AgentHello), Err(Refusal::Over));
    }

    #[test]
    fn every_stage_is_held_or_tried_again_when_its_limit_passes_and_the_ticket_is_void() {
        for stage in Stage::ALL {
            let mut job = job_in(stage);
            for _ in 0..Limits::ROUNDS {
                let at_unix_ms = job.limit_unix_ms.unwrap() + 1;
                let event = JobEvent { at_unix_ms, what: What::Tick { seen_unix_ms: at_unix_ms } };
                let (next, effects) = step(&job, event, &Limits::default()).unwrap();
                job = next;
                if let JobState::Held { stage: at, reason, .. } = &job.state {
                    assert_eq!(*reason, limits::late(*at));
                    assert!(effects.contains(&Effect::VoidTickets));
                    break;
                }
                assert_eq!(job.state, JobState::Working { stage: Stage::Fenced });
                job.state = JobState::Working { stage };
            }
            assert!(matches!(job.state, JobState::Held { .. }), "{stage:?} went on for ever");
        }
    }

    #[test]
    fn a_person_can_stop_before_the_point_of_no_return_and_only_hold_after_it() {
        for stage in Stage::ALL {
            let mut job = job_in(stage);
            let effects = go(&mut job, What::Cancel { by: "operator:anna".to_owned() });
            assert!(effects.contains(&Effect::VoidTickets));
            if stage.past_point_of_no_return() {
                assert!(matches!(job.state, JobState::Held { reason: HoldReason::Stopped, .. }), "{stage:?}");
                go(&mut job, What::Cancel { by: "operator:anna".to_owned() });
                assert_eq!(job.state, JobState::Cancelled { stage });
            } else {
                assert_eq!(job.state, JobState::Cancelled { stage });
                let back =
                    if stage < Stage::Approved { EndpointState::Trusted } else { EndpointState::Known };
                assert!(effects.contains(&Effect::Mark(back)), "{stage:?}: {effects:?}");
            }
        }
    }

    #[test]
    fn a_job_that_needs_a_person_waits_for_another_one_where_the_group_says_so() {
        let (mut job, _) = new_job();
        let verdict = Admission::NeedsApproval { second_person: true };
        let intent = job.intent;
        go(&mut job, What::Admission { intent, verdict });
        let image_is_there = done(&job);
        go(&mut job, image_is_there);
        assert!(matches!(job.state, JobState::Held { reason: HoldReason::AwaitingApproval, .. }));
        assert_eq!(on(&job, What::Resume { by: "operator:bert".into() }), Err(Refusal::ApproveInstead));
        assert_eq!(on(&job, What::Approve { by: "operator:anna".into() }), Err(Refusal::SecondPerson));
        go(&mut job, What::Approve { by: "operator:bert".into() });
        assert_eq!(job.state, JobState::Working { stage: Stage::Approved });
    }

    #[test]
    fn an_unproven_hello_never_moves_a_job_back() {
        for stage in [Stage::Proving, Stage::Imaging, Stage::ReadBack] {
            let mut job = job_in(stage);
            go(&mut job, What::AgentHello);
            assert_eq!(job.state, JobState::Working { stage });
        }
        for stage in [Stage::Fenced, Stage::Disarming, Stage::OsWait, Stage::Enrolling] {
            assert!(on(&job_in(stage), What::AgentHello).is_err(), "{stage:?}");
        }
    }

    #[test]
    fn a_rebooted_agent_that_proves_itself_takes_over_and_the_old_session_is_stale() {
        let mut job = job_in(Stage::ReadBack);
        go(&mut job, What::HardwareProven { session: "t".to_owned(), proof: Proof::Quote });
        assert_eq!(job.state, JobState::Working { stage: Stage::Imaging });
        assert_eq!(on(&job, says(&job, Restored::Written(RestoreFacts::default()))), Err(Refusal::Session));
        for _ in 0..Limits::BOOTS {
            if let Ok((next, _)) =
                on(&job, What::HardwareProven { session: "t".to_owned(), proof: Proof::Quote })
            {
                job = next;
            }
        }
        assert!(matches!(job.state, JobState::Held { reason: HoldReason::AgentFailed, .. }), "endless boots");
    }

    #[test]
    fn the_boot_region_is_not_committed_without_an_equal_read_back() {
        let job = job_in(Stage::ReadBack);
        assert!(on(&job, says(&job, Restored::Committed(RestoreFacts::default()))).is_err());
        let stale = What::Reported {
            session: "s".to_owned(),
            step_seq: job.step_seq + 1,
            report: Restored::Proven(RestoreFacts::default()),
        };
        assert_eq!(on(&job, stale), Err(Refusal::Order { got: job.step_seq + 1, current: job.step_seq }));
    }

    #[test]
    fn a_stall_is_tried_once_by_power_and_then_held() {
        let mut job = job_in(Stage::Imaging);
        for expect_held in [false, true] {
            let at_unix_ms = job.entered_unix_ms + millis(Limits::STALL) + 1;
            let alive = JobEvent { at_unix_ms, what: What::Tick { seen_unix_ms: at_unix_ms } };
            assert!(step(&job, alive, &Limits::default()).is_err(), "progress is no stall");
            let event = JobEvent { at_unix_ms, what: What::Tick { seen_unix_ms: 0 } };
            job = step(&job, event, &Limits::default()).unwrap().0;
            assert_eq!(matches!(job.state, JobState::Held { reason: HoldReason::Stalled, .. }), expect_held);
            if !expect_held {
                assert_eq!(job.state, JobState::Working { stage: Stage::Fenced });
                job.state = JobState::Working { stage: Stage::Imaging };
                job.limit_unix_ms = None;
                assert!(job.touched, "what was touched stays touched");
            }
        }
    }

    #[test]
    fn transport_retries_busy_retries_slowly_and_a_refused_image_holds_at_once() {
        let mut job = job_in(Stage::Powering);
        for _ in 1..Limits::TRIES {
            let what = failed(&job, HoldReason::PowerFailed);
            go(&mut job, what);
            assert_eq!(job.state, JobState::Working { stage: Stage::Powering });
        }
        let what = failed(&job, HoldReason::PowerFailed);
        go(&mut job, what);
        assert!(matches!(job.state, JobState::Held { reason: HoldReason::PowerFailed, .. }));

        let mut job = job_in(Stage::Registering);
        for _ in 0..50 {
            let what = failed(&job, HoldReason::ControlPlaneFailed);
            go(&mut job, what);
        }
        assert_eq!(job.state, JobState::Working { stage: Stage::Registering });

        let mut job = job_in(Stage::Admitted);
        let what = failed(&job, HoldReason::ImageNotTrusted);
        go(&mut job, what);
        assert!(matches!(job.state, JobState::Held { reason: HoldReason::ImageNotTrusted, .. }));
    }

    #[test]
    fn a_new_board_is_accepted_only_by_approval_and_the_whole_way_is_gone_again() {
        let mut job = job_in(Stage::Proving);
        go(&mut job, What::Refused { reason: HoldReason::IdentityChanged, detail: "ek".to_owned() });
        let (resumed, effects) = on(&job, What::Resume { by: "operator:anna".into() }).unwrap();
        assert_eq!(resumed.state, JobState::Working { stage: Stage::Fenced });
        assert!(!effects.contains(&Effect::ForgetIdentity), "a resume changes no identity");
        let effects = go(&mut job, What::Approve { by: "operator:anna".into() });
        assert!(effects.contains(&Effect::ForgetIdentity));
        assert_eq!(job.state, JobState::Working { stage: Stage::Fenced });
    }

    #[test]
    fn pairing_holds_until_a_person_matched_the_code() {
        let mut job = job_in(Stage::AgentWait);
        go(&mut job, What::PairingShown);
        assert!(matches!(job.state, JobState::Held { reason: HoldReason::PairingNeeded, .. }));
        assert!(on(&job, What::HardwareProven { session: "s".into(), proof: Proof::Quote }).is_err());
        let effects = go(&mut job, What::HardwareProven { session: "s".into(), proof: Proof::Paired });
        assert!(effects.contains(&Effect::IssueBootTicket));
        assert_eq!(job.state, JobState::Working { stage: Stage::Imaging });
    }

    #[test]
    fn a_late_restored_system_goes_on_by_itself() {
        let mut job = job_in(Stage::OsWait);
        let at_unix_ms = job.limit_unix_ms.unwrap() + 1;
        job = step(&job, JobEvent { at_unix_ms, what: What::Tick { seen_unix_ms: 0 } }, &Limits::default())
            .unwrap()
            .0;
        assert!(matches!(job.state, JobState::Held { reason: HoldReason::OsSilent, .. }));
        go(&mut job, What::GoldenHello);
        assert_eq!(job.state, JobState::Working { stage: Stage::Verifying });
    }

    #[test]
    fn a_restart_gives_every_limit_some_grace() {
        let job = job_in(Stage::AgentWait);
        let later = job.limit_unix_ms.unwrap() + 3_600_000;
        let event = JobEvent { at_unix_ms: later, what: What::Restarted };
        let (job, _) = step(&job, event, &Limits::default()).unwrap();
        assert_eq!(job.limit_unix_ms, Some(later + millis(Limits::GRACE)));
    }

    fn any_event() -> impl Strategy<Value = (u8, u8, u32)> {
        (0_u8..27, any::<u8>(), 0_u32..200_000)
    }

    fn event_for(job: &Job, pick: u8, salt: u8) -> What {
        let session = if salt.is_multiple_of(4) { "t" } else { "s" }.to_owned();
        let intent = if salt.is_multiple_of(5) { job.intent.wrapping_sub(1) } else { job.intent };
        let step_seq = if salt.is_multiple_of(7) { job.step_seq + 1 } else { job.step_seq };
        let reason = HoldReason::ALL[usize::from(salt) % HoldReason::ALL.len()];
        let by = if salt.is_multiple_of(2) { "operator:anna" } else { "operator:bert" }.to_owned();
        let facts = RestoreFacts::default();
        let reported = |report| What::Reported { session: session.clone(), step_seq, report };
        let detail = String::new();
        match pick {
            0 => What::Tick { seen_unix_ms: 0 },
            1 => What::Restarted,
            2 => What::Admission { intent, verdict: Admission::Approved { by } },
            3 => What::Admission {
                intent,
                verdict: Admission::NeedsApproval { second_person: salt.is_multiple_of(2) },
            },
            4 => What::Admission { intent, verdict: Admission::Refused { rule: by } },
            5..=9 => What::Done { intent, outcome: Outcome::Done },
            10 => What::Done { intent, outcome: Outcome::Failed { reason, detail } },
            11 => What::AgentHello,
            12 => What::PairingShown,
            13 => What::HardwareProven { session, proof: Proof::Quote },
            14 => What::HardwareProven { session, proof: Proof::Paired },
            15 => What::OrderAsked { session },
            16 => reported(Restored::Planned(PlanFacts::default())),
            17 => reported(Restored::Written(facts)),
            18 => reported(Restored::Proven(facts)),
            19 => reported(Restored::Committed(facts)),
            20 => What::GoldenHello,
            21 => What::GoldenProven { proof: Proof::Quote, enrols: salt.is_multiple_of(2) },
            22 => What::Certified { serial: "0a".to_owned() },
            23 => What::Enrolled { serial: if salt.is_multiple_of(3) { "0b" } else { "0a" }.to_owned() },
            24 if salt < 40 => What::Refused { reason, detail },
            24 | 25 => {
                if salt.is_multiple_of(2) {
                    What::Approve { by }
                } else {
                    What::Resume { by }
                }
            }
            _ => {
                if salt < 16 {
                    What::Cancel { by }
                } else {
                    What::Resume { by }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

        #[test]
        fn no_order_of_events_recovers_what_was_not_proven(
            start in 0_usize..16,
            events in proptest::collection::vec(any_event(), 1..120),
        ) {
            let mut job = job_in(Stage::ALL[start]);
            let mut at = job.entered_unix_ms;
            // What really happened, kept beside the machine.
            let mut quoted = start > 12;
            let mut restored = start > 9;
            let mut live_ticket = (4..10).contains(&start);
            for (pick, salt, pass) in events {
                at += u64::from(pass);
                let what = event_for(&job, pick, salt);
                let before = job.clone();
                let Ok((next, effects)) = step(&job, JobEvent { at_unix_ms: at, what: what.clone() }, &Limits::default())
                else { continue };
                job = next;
                for effect in &effects {
                    match effect {
                        Effect::IssueBootTicket => live_ticket = true,
                        Effect::VoidTickets => live_ticket = false,
                        Effect::Begin { intent, .. } => prop_assert_eq!(*intent, job.intent),
                        Effect::VoidEnrolment | Effect::RevokeCertificates | Effect::ForgetIdentity
                        | Effect::ForgetBaseline | Effect::Mark(_) => {}
                    }
                }
                if let What::GoldenProven { .. } = what { quoted = true; }
                if let What::Reported { report: Restored::Committed(_), .. } = what { restored = true; quoted = false; }
                match &job.state {
                    JobState::Recovered => {
                        prop_assert!(quoted && restored && job.golden.is_some(), "recovered without a proof");
                        prop_assert!(!live_ticket);
                    }
                    JobState::Held { .. } | JobState::Cancelled { .. } | JobState::Failed { .. } => {
                        prop_assert!(!live_ticket, "a ticket outlived {:?}", job.state);
                    }
                    JobState::Working { stage } => {
                        prop_assert_eq!(live_ticket, (Stage::Ticketed..=Stage::ReadBack).contains(stage));
                        if *stage < Stage::Disarming {
                            // Going round again: earlier proofs of the restored system count no more.
                            restored = false;
                            quoted = false;
                        }
                    }
                }
                if job.step_seq > before.step_seq {
                    let stage = before.state.stage();
                    prop_assert!(matches!(stage, Some(Stage::Imaging | Stage::ReadBack)), "an order in {:?}", stage);
                    prop_assert!(job.touched);
                }
                prop_assert!(!before.touched || job.touched);
                if job.touched && !matches!(before.state, JobState::Held { .. }) {
                    prop_assert!(!matches!(job.state, JobState::Cancelled { .. }), "cancelled a half-written disk");
                }
            }
        }
    }
}
