//! Whose word stands for the restored system: its own proof, or, where its image cannot carry our check-in, a control plane's or a person's.
//!
//! It must never: take one of those where the blueprint wants the system's own.

use std::time::Duration;

use recovery_protocol::{
    job::{HoldReason, JobState, Stage, Word},
    operator::EndpointState,
};

use super::{
    super::job::{Effect, Proof},
    Turn,
};

impl Turn<'_> {
    /// The disk is whole and starts next.
    pub(super) fn disarmed(&mut self) {
        match (&self.job.capture, self.job.word) {
            (Some(_), _) => self.end(JobState::Captured, self.job.before),
            (None, Word::CheckIn) => self.enter(Stage::OsWait),
            (None, Word::ControlPlane) => {
                self.job.golden = Some(Proof::ControlPlane);
                self.enter(Stage::Registering);
            }
            (None, Word::Person) => self.hold(Stage::OsWait, HoldReason::AwaitingWord, String::new()),
        }
    }

    /// How long the job may stay in a stage. A control plane that vouches does so in the last one: the endpoint starts meanwhile.
    pub(super) fn longest(&self, stage: Stage) -> Duration {
        let starts = stage == Stage::Releasing && self.job.golden == Some(Proof::ControlPlane);
        let first = if starts { self.limits.stage(Stage::OsWait) } else { Duration::ZERO };
        self.limits.stage(stage) + first
    }

    /// Whether a person may say that it runs: the disk is whole, and its blueprint wants that word. What the endpoint says of why it is held
    /// counts for nothing here.
    pub(super) fn waits_for_a_word(&self) -> bool {
        let waits = matches!(
            self.job.state,
            JobState::Held { stage: Stage::OsWait, reason: HoldReason::AwaitingWord, .. }
        );
        waits && self.job.word == Word::Person && self.job.read_back
    }

    /// A person looked at it, and it runs.
    pub(super) fn vouched(&mut self) {
        self.job.golden = Some(Proof::Person);
        self.effects.push(Effect::Mark(EndpointState::Recovering));
        self.enter(Stage::Registering);
    }
}
