//! How long a job may stay in each stage, how often it tries again, and how many boots it may use.
//!
//! Every stage has a limit; past it the machine tries again or holds the job with a reason that a technician can read.
//! It must never: read a clock.

use std::{collections::BTreeMap, time::Duration};

use recovery_protocol::job::{HoldReason, Stage};

/// Limits of stages, the defaults with the site's overrides.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    overrides_s: BTreeMap<Stage, u32>,
}

/// How a failure is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// The network or a cable: try again soon, a few times.
    Transport,
    /// Somebody is busy: try again slowly until the stage's limit.
    Busy,
    /// It will fail again: hold.
    Semantic,
    /// It must not be tried again by itself: hold, and call a person.
    Security,
}

/// No [`backoff`] is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(80);

impl Limits {
    /// Progress older than this is none: the endpoint stalled.
    pub const STALL: Duration = Duration::from_secs(120);
    /// How long a disk may take to erase itself: the largest of spinning ones overwrite themselves in two days.
    pub const ERASE: Duration = Duration::from_secs(48 * 3600);
    /// After this a held job is given up.
    pub const HELD: Duration = Duration::from_secs(7 * 24 * 3600);
    /// After a restart of the appliance no limit falls sooner than this.
    pub const GRACE: Duration = Duration::from_secs(300);
    /// Tries of one act that failed in transport.
    pub const TRIES: u32 = 3;
    /// Tries to take back a boot override that nobody waits for: for some five days.
    pub const CLEARS: u32 = 5_400;
    /// Power cycles in one job that the appliance does by itself.
    pub const ROUNDS: u32 = 2;
    /// Proven boots of the recovery system in one job.
    pub const BOOTS: u32 = 6;

    /// The defaults, except where `overrides_s` (seconds) says otherwise.
    #[must_use]
    pub fn new(overrides_s: BTreeMap<Stage, u32>) -> Self {
        Self { overrides_s }
    }

    /// How long a job may stay in a stage.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> Duration {
        let default_s = match stage {
            Stage::Proposed | Stage::Fenced | Stage::Ticketed => 60,
            Stage::Admitted => 300,
            Stage::Approved | Stage::Disarming => 300,
            Stage::Powering | Stage::Proving | Stage::Verifying | Stage::Enrolling | Stage::Releasing => 600,
            Stage::AgentWait => 1_800,
            Stage::Imaging | Stage::ReadBack => 3_600,
            // A full terabyte over a slow line.
            Stage::Capturing => 8 * 3_600,
            Stage::OsWait => 900,
            Stage::Registering => 3_600,
        };
        Duration::from_secs(self.overrides_s.get(&stage).copied().unwrap_or(default_s).into())
    }
}

/// What a job is held for when a stage's limit passes.
#[must_use]
pub fn late(stage: Stage) -> HoldReason {
    match stage {
        Stage::Proposed
        | Stage::Admitted
        | Stage::Approved
        | Stage::Fenced
        | Stage::Ticketed
        | Stage::Disarming => HoldReason::ApplianceFailed,
        Stage::Powering => HoldReason::PowerFailed,
        Stage::AgentWait | Stage::Proving => HoldReason::AgentSilent,
        Stage::Capturing | Stage::Imaging | Stage::ReadBack => HoldReason::Stalled,
        Stage::OsWait | Stage::Verifying => HoldReason::OsSilent,
        Stage::Enrolling => HoldReason::EnrolmentFailed,
        Stage::Registering | Stage::Releasing => HoldReason::ControlPlaneFailed,
    }
}

/// How a failure for this reason is treated.
#[must_use]
pub fn class(reason: HoldReason) -> RetryClass {
    match reason {
        HoldReason::PowerFailed | HoldReason::AgentSilent | HoldReason::Stalled => RetryClass::Transport,
        HoldReason::ControlPlaneFailed => RetryClass::Busy,
        HoldReason::GuardRail
        | HoldReason::AwaitingApproval
        | HoldReason::PermitMissing
        | HoldReason::AwaitingWord
        | HoldReason::NobodyVouches
        | HoldReason::TriggerUnconfirmed
        | HoldReason::ImageNotTrusted
        | HoldReason::CaptureRefused
        | HoldReason::ManifestUnsigned
        | HoldReason::PairingNeeded
        | HoldReason::DiskNotFound
        | HoldReason::DiskAmbiguous
        | HoldReason::DiskUnfit
        | HoldReason::PreservedMissing
        | HoldReason::PreservedLost
        | HoldReason::DiskFailing
        | HoldReason::EraseUnsupported
        | HoldReason::EraseConflict
        | HoldReason::EraseFailed
        | HoldReason::DiskFailed
        | HoldReason::ReadBackFailed
        | HoldReason::OsSilent
        | HoldReason::EnrolmentFailed
        | HoldReason::Stopped
        | HoldReason::SiteStopped
        | HoldReason::AgentFailed
        | HoldReason::AgentVersion
        | HoldReason::ApplianceFailed => RetryClass::Semantic,
        HoldReason::IdentityChanged
        | HoldReason::TpmCopied
        | HoldReason::EkNotCertified
        | HoldReason::RecoverySystemNotProven
        | HoldReason::FirmwareChanged
        | HoldReason::SecureBootOff
        | HoldReason::TpmFirmwareOld
        | HoldReason::ManifestForeign
        | HoldReason::ManifestAltered
        | HoldReason::ManifestRefused
        | HoldReason::ChunkCorrupt
        | HoldReason::GoldenNotProven
        | HoldReason::TicketRefused => RetryClass::Security,
    }
}

/// Whether an intent is due. One that lies further ahead than any wait is, too: the clock was set back since it was written.
#[must_use]
pub fn is_due(due_unix_ms: u64, now_unix_ms: u64) -> bool {
    let ahead = due_unix_ms.saturating_sub(now_unix_ms);
    ahead == 0 || u128::from(ahead) > LONGEST_WAIT.as_millis()
}

/// Wait before the next try; `attempt` counts from 1.
#[must_use]
pub fn backoff(class: RetryClass, attempt: u32) -> Duration {
    match class {
        RetryClass::Transport => Duration::from_secs(5_u64 << attempt.min(4)),
        RetryClass::Busy | RetryClass::Semantic | RetryClass::Security => Duration::from_secs(30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_a_limit_and_an_override_replaces_it() {
        let limits = Limits::new(BTreeMap::from([(Stage::OsWait, 7)]));
        for stage in Stage::ALL {
            assert!(limits.stage(stage) > Duration::ZERO, "{stage:?}");
        }
        assert_eq!(limits.stage(Stage::OsWait), Duration::from_secs(7));
    }

    #[test]
    fn an_intent_is_due_at_its_time_or_when_the_clock_was_set_back() {
        let longest =
            [RetryClass::Transport, RetryClass::Busy].into_iter().map(|class| backoff(class, 99)).max();
        assert_eq!(longest, Some(LONGEST_WAIT));
        let (now, hour) = (10_000_000, 3_600_000);
        assert!(is_due(now, now) && is_due(now - 1, now) && is_due(now + hour, now));
        assert!(!is_due(now + 1, now) && !is_due(now + 80_000, now));
    }

    #[test]
    fn a_bad_digest_is_never_retried() {
        for reason in [
            HoldReason::ManifestForeign,
            HoldReason::ManifestAltered,
            HoldReason::ChunkCorrupt,
            HoldReason::GoldenNotProven,
            HoldReason::RecoverySystemNotProven,
        ] {
            assert_eq!(class(reason), RetryClass::Security);
        }
    }
}
