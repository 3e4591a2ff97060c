//! The states of a recovery job and why it can be held. Data only: the transitions live in the appliance's job machine.
//!
//! ```text
//! Proposed ─► Admitted ─► Approved ─► Fenced ─► Ticketed ─► Powering ─► AgentWait ─► Proving ─┊─► Imaging ─► ReadBack
//!                                                                  point of no return ────────┊
//!   ─► Disarming ─► OsWait ─► Verifying ─► Enrolling ─► Registering ─► Releasing ─► Recovered
//!   a capture:  Admitted ─► Ticketed ─► … ─► Proving ─► Capturing ─► Disarming ─► Captured
//!   any ─► Held(reason) ─► resume | Cancelled | Failed(reason)
//! ```

use images::VerifyError;
use serde::{Deserialize, Serialize};

/// One working state of a recovery job, in the order in which a job passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A trigger asked for it; nothing was checked yet.
    Proposed,
    /// The guard rails let it in.
    Admitted,
    /// A person, or the group's mode `auto`, approved it.
    Approved,
    /// The old identity is revoked; the endpoint is to be treated as not trusted.
    Fenced,
    /// A boot ticket lives: the network boot answers this endpoint.
    Ticketed,
    /// The endpoint is being powered into a network boot.
    Powering,
    /// Waiting for the recovery system's hello.
    AgentWait,
    /// The recovery system proves its TPM and what it booted (or a person pairs it).
    Proving,
    /// A capture's only act: the disk is read into the store. Nothing is written to it.
    Capturing,
    /// Scan, plan, poison, write. From here the old content is gone.
    Imaging,
    /// What was written is read back and compared.
    ReadBack,
    /// The ticket is voided and the boot override cleared; the endpoint reboots.
    Disarming,
    /// Waiting for the restored system's hello.
    OsWait,
    /// The restored system's quote is compared with the image's predictions.
    Verifying,
    /// A TPM-held key gets its certificate (EST).
    Enrolling,
    /// The control plane learns of the recovered endpoint.
    Registering,
    /// Quarantine is lifted.
    Releasing,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 17] = [
        Self::Proposed,
        Self::Admitted,
        Self::Approved,
        Self::Fenced,
        Self::Ticketed,
        Self::Powering,
        Self::AgentWait,
        Self::Proving,
        Self::Capturing,
        Self::Imaging,
        Self::ReadBack,
        Self::Disarming,
        Self::OsWait,
        Self::Verifying,
        Self::Enrolling,
        Self::Registering,
        Self::Releasing,
    ];

    /// True from the stage whose first act may change the disk. Before it a job can be cancelled without a trace.
    #[must_use]
    pub fn past_point_of_no_return(self) -> bool {
        self >= Self::Imaging
    }

    /// The stage's name as a technician reads it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Proposed => "asked for",
            Self::Admitted => "checked against the guard rails",
            Self::Approved => "approved",
            Self::Fenced => "old identity revoked",
            Self::Ticketed => "boot ticket issued",
            Self::Powering => "powering into network boot",
            Self::AgentWait => "waiting for the recovery system",
            Self::Proving => "proving the hardware",
            Self::Capturing => "reading the disk into the store",
            Self::Imaging => "writing the golden image",
            Self::ReadBack => "reading back",
            Self::Disarming => "ticket voided, rebooting",
            Self::OsWait => "waiting for the restored system",
            Self::Verifying => "verifying the restored system",
            Self::Enrolling => "enrolling",
            Self::Registering => "registering with the control plane",
            Self::Releasing => "lifting quarantine",
        }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum JobState {
    /// Moving, or waiting with a limit.
    Working {
        /// The stage it is in.
        stage: Stage,
    },
    /// Stopped until a person decides.
    Held {
        /// The stage it stopped in and will resume from.
        stage: Stage,
        /// Why, from the closed list.
        reason: HoldReason,
        /// The values at hand, for a person.
        detail: String,
    },
    /// The restored system checked in, proved itself and is enrolled.
    Recovered,
    /// The disk is in the store as an image that nobody has signed yet; the endpoint was sent back to its disk.
    Captured,
    /// Stopped by a person before or after the point of no return (`stage` tells).
    Cancelled {
        /// The stage it was in.
        stage: Stage,
    },
    /// Given up for good.
    Failed {
        /// The stage it was in.
        stage: Stage,
        /// Why.
        reason: HoldReason,
        /// The values at hand, for a person.
        detail: String,
    },
}

impl JobState {
    /// True when nothing will happen any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Recovered | Self::Captured | Self::Cancelled { .. } | Self::Failed { .. })
    }

    /// The stage the job is in or ended in; `None` once it ended well.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        match self {
            Self::Working { stage }
            | Self::Held { stage, .. }
            | Self::Cancelled { stage }
            | Self::Failed { stage, .. } => Some(*stage),
            Self::Recovered | Self::Captured => None,
        }
    }
}

macro_rules! hold_reasons {
    ($($(#[$doc:meta])* $name:ident, $code:literal, $what:literal, $now:literal;)*) => {
        /// Why a job is held: the closed list. Each has a stable code, what happened and what to do now.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum HoldReason { $($(#[$doc])* #[serde(rename = $code)] $name,)* }

        impl HoldReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// The stable code.
            #[must_use]
            pub fn code(self) -> &'static str { match self { $(Self::$name => $code,)* } }
            /// What happened, one sentence.
            #[must_use]
            pub fn what(self) -> &'static str { match self { $(Self::$name => $what,)* } }
            /// What to do now, one sentence.
            #[must_use]
            pub fn what_now(self) -> &'static str { match self { $(Self::$name => $now,)* } }
        }
    };
}

/// Whose word stands for a restored system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Its own: it checks in and proves itself.
    #[default]
    CheckIn,
    /// A control plane's, which looked at it by itself. Weaker: nothing was measured for us.
    ControlPlane,
    /// A person's, who looked at it. The weakest.
    Person,
}

impl From<&VerifyError> for HoldReason {
    fn from(error: &VerifyError) -> Self {
        match error {
            VerifyError::Unsigned { .. } | VerifyError::UnderThreshold { .. } => Self::ManifestUnsigned,
            VerifyError::UnknownSigner { .. } => Self::ManifestForeign,
            VerifyError::WrongSignature { .. } | VerifyError::Manifest { .. } => Self::ManifestAltered,
            VerifyError::BelowFloor { .. } => Self::ManifestRefused,
        }
    }
}

hold_reasons! {
    /// A guard rail said no.
    GuardRail, "guard-rail", "A guard rail stopped this recovery.", "Read which rule, wait or change it, then resume the job.";
    /// The group's mode wants a person's approval.
    AwaitingApproval, "awaiting-approval", "This group's mode wants a person to approve.", "Approve the job in the console or with `groundstate job approve`.";
    /// Another system of the site does not permit it.
    PermitMissing, "permit-missing", "The permit that this endpoint's group wants is not given.", "Read what was answered, bring the line into the state that it asks for, then resume; the endpoint was left as it was.";
    /// Asked once more, the source that began it does not answer.
    TriggerUnconfirmed, "trigger-unconfirmed", "Asked once more before anything is written, the source of this recovery confirms nothing.", "Look at the endpoint and at its source: approve the job to recover it all the same, resume it to ask again, or cancel it; the disk was not touched.";
    /// A person is to vouch for the restored system.
    AwaitingWord, "awaiting-word", "The disk is restored and read back; its system cannot prove itself, so a person must say that it runs.", "Look at the endpoint: where it runs as it should, approve the job; where not, cancel it and order a new recovery.";
    /// A control plane is to vouch for it, and none does.
    NobodyVouches, "nobody-vouches", "A control plane is to vouch for the restored system, and none that is configured does.", "Configure one whose word is waited for and that knows this endpoint, or let its blueprint say `word = \"person\"`; then resume. The disk was not touched.";
    /// No golden image, or none that our keys trust.
    ImageNotTrusted, "image-not-trusted", "The golden image is missing or no trusted key signed it.", "Import and sign the image (`groundstate image list`), then resume.";
    /// The store took nothing of a captured disk.
    CaptureRefused, "capture-refused", "The disk could not be taken into the image store.", "Read the detail: make room in the store or mend the disk's partition table, then resume; what came over is kept.";
    /// The BMC did not do what it was told.
    PowerFailed, "power-failed", "The endpoint could not be powered into a network boot.", "Switch the endpoint off and on by hand and choose network boot, then resume.";
    /// No hello from the recovery system in time.
    AgentSilent, "agent-silent", "The recovery system did not report in time.", "Look at the endpoint's screen: check cable, boot order and Secure Boot, then resume.";
    /// The endpoint has no TPM: a person must match the pairing code.
    PairingNeeded, "pairing-needed", "This endpoint has no TPM to prove itself with.", "Compare the code on its screen with the console and confirm it.";
    /// The TPM is not the one on record.
    IdentityChanged, "identity-changed", "The endpoint's TPM is not the one on record.", "If the board was replaced, approve the new identity; if not, isolate the endpoint.";
    /// Two TPMs have one key, or one was cleared.
    TpmCopied, "tpm-copied", "The endpoint's TPM counts less than it did before: two TPMs have one key, or somebody cleared it.", "Find out whether the TPM was cleared or put back to a snapshot, or whether a second machine has a copy of it. Say which by `groundstate endpoint resolve`, then resume.";
    /// The TPM is not on record, and its maker's word is required.
    EkNotCertified, "ek-not-certified", "This TPM is not on record, and no maker that the appliance knows vouches for it.", "Put the root certificate of the TPM's maker into tpm_roots_dir, start the appliance again and resume; if the TPM has no certificate, write ek_certificate = \"recorded\" in the blueprint.";
    /// The recovery system's quote does not match what we serve.
    RecoverySystemNotProven, "recovery-system-not-proven", "The quote of the recovery system does not match what the appliance serves.", "Do not trust this endpoint's network: check for a foreign boot server, then resume.";
    /// Firmware measurements changed since the baseline.
    FirmwareChanged, "firmware-changed", "The endpoint's firmware measurements changed since they were recorded.", "If the firmware was updated on purpose, approve the new baseline; if not, replace the board.";
    /// Secure Boot is off and the blueprint wants it on.
    SecureBootOff, "secure-boot-off", "Secure Boot is off, and this endpoint's blueprint wants it on.", "Switch Secure Boot on in the firmware's setup, then resume; or write secure_boot = false in the blueprint.";
    /// The TPM's own firmware is older than the blueprint takes.
    TpmFirmwareOld, "tpm-firmware-old", "The firmware of the endpoint's TPM is older than its blueprint takes.", "Update the TPM's firmware, then resume; or write a lower tpm_firmware_min in the blueprint. A recovery does not update it.";
    /// No disk fits the selector.
    DiskNotFound, "disk-not-found", "No disk of the endpoint matches the disk on record.", "Check the disk and its cable, or name the new disk's serial for this endpoint, then resume.";
    /// More than one disk fits the selector.
    DiskAmbiguous, "disk-ambiguous", "More than one disk matches.", "Name one disk by serial or WWN for this endpoint, then resume.";
    /// The image does not fit the disk.
    DiskUnfit, "disk-unfit", "The golden image does not fit the disk.", "Fit a disk of the right size and sector size, or choose another image.";
    /// What is to be preserved is not as it was, or cannot be told.
    PreservedMissing, "preserved-missing", "A partition that is to be preserved cannot be kept as it is.", "Read the detail and save what matters from that disk. Then put its partition table back and resume, choose an image for its layout, or cancel this job and recover with `--give-up-preserved`.";
    /// What was to be preserved is not what it was before.
    PreservedLost, "preserved-lost", "A partition that was to be preserved does not read as it did before, though nothing was written to it.", "Save what is left of it before anything else; then replace the disk and recover again.";
    /// The disk says that it is failing.
    DiskFailing, "disk-failing", "The endpoint's disk says that it is failing.", "Replace it and name the new disk's serial for this endpoint, then resume; this order wrote nothing to it.";
    /// The disk cannot be erased as the blueprint demands.
    EraseUnsupported, "erase-unsupported", "The endpoint's disk cannot erase itself as its blueprint demands.", "Read the detail: replace the disk by one that can, or change `erase` in the blueprint, then resume; the disk was not touched.";
    /// The image preserves what an erasure would destroy.
    EraseConflict, "erase-conflict", "The blueprint demands that the disk is erased, and the golden image preserves a part of it.", "Cancel, and recover again with `--give-up-preserved`; or change `erase` in the blueprint, then resume. The disk was not touched.";
    /// The disk did not erase itself, or still holds what it held.
    EraseFailed, "erase-failed", "The endpoint's disk was not erased.", "Read the detail, then resume to erase it again. If it repeats, replace the disk, and destroy the old one: it still holds data.";
    /// Nobody signed the manifest, or too few did.
    ManifestUnsigned, "manifest-unsigned", "The golden image is not signed, or by too few of its signers.", "Have it signed (`groundstate image sign`), then resume; the disk was not touched.";
    /// Signed, but by nobody whom we trust.
    ManifestForeign, "manifest-foreign", "The golden image is signed by nobody whom this site trusts.", "Have a trusted signer look at it and sign it; if nobody here made this image, treat the appliance as taken over. The disk was not touched.";
    /// The bytes are not those that were signed.
    ManifestAltered, "manifest-altered", "The golden image's manifest was altered after it was signed.", "Import the image again from where it was made, sign it, then resume; the disk was not touched.";
    /// The manifest or the order is one that the endpoint does not take.
    ManifestRefused, "manifest-refused", "The endpoint refused the golden image's manifest.", "Read the detail: choose an image that it takes, then resume; the disk was not touched.";
    /// A chunk's bytes are not what its id says.
    ChunkCorrupt, "chunk-corrupt", "A chunk of the golden image is damaged or missing.", "Run `groundstate image verify --all` on the appliance; repair the store, then resume.";
    /// Reading or writing the disk failed.
    DiskFailed, "disk-failed", "The endpoint's disk failed while it was read or written.", "Replace the disk, then resume; the endpoint will not boot until then.";
    /// What was read back is not what was written.
    ReadBackFailed, "read-back-failed", "The disk did not return what was written to it.", "Replace the disk, then resume; the endpoint will not boot until then.";
    /// Agent and appliance are of versions that do not understand each other.
    AgentVersion, "agent-version", "The recovery system and the appliance are of versions that do not understand each other.", "Build the boot kit again with the agent of this appliance's version, bring a second appliance and relays to that version, too, then resume.";
    /// No progress for too long.
    Stalled, "stalled", "The endpoint stopped making progress.", "Check its network link and power, then resume; what is right on the disk is kept.";
    /// No hello from the restored system in time.
    OsSilent, "os-silent", "The restored system did not check in in time.", "Look at the endpoint's screen; if it does not boot, resume to recover it again.";
    /// The restored system's quote does not match the image.
    GoldenNotProven, "golden-not-proven", "The restored system is not what the golden image predicts.", "Treat the endpoint as compromised: keep it isolated and look at the named digest.";
    /// The enrolment ticket is spent, foreign or wrong.
    TicketRefused, "ticket-refused", "The endpoint showed a spent or foreign enrolment ticket.", "Recover the endpoint again; if it repeats, somebody copied a ticket: isolate the endpoint.";
    /// EST refused or failed.
    EnrolmentFailed, "enrolment-failed", "The endpoint could not be enrolled.", "Read the detail, mend the cause, then resume.";
    /// The control plane does not answer.
    ControlPlaneFailed, "control-plane-failed", "The control plane could not be told.", "Check the control plane; the job resumes by itself when it answers, or resume it.";
    /// A person stopped it past the point of no return.
    Stopped, "stopped", "A person stopped this recovery while the disk was being written.", "The endpoint does not boot now; resume the job to finish it.";
    /// STOP was pressed for the whole site.
    SiteStopped, "site-stopped", "STOP was pressed for the whole site.", "When two people have released it (`groundstate stop release`), resume the job.";
    /// The agent reported something that fits nowhere else.
    AgentFailed, "agent-failed", "The agent reported a failure.", "Read the detail on the endpoint's screen or in the job, then resume.";
    /// The appliance itself failed.
    ApplianceFailed, "appliance-failed", "The appliance could not do its part.", "Read the detail and the appliance's log, mend the cause, then resume.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_listed_once_and_in_order() {
        assert!(Stage::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn every_hold_reason_says_what_now() {
        for reason in HoldReason::ALL {
            assert!(reason.what().ends_with('.') && reason.what_now().ends_with('.'), "{reason:?}");
            let json = serde_json::to_string(reason).unwrap();
            assert_eq!(json, format!("\"{}\"", reason.code()));
        }
    }
}
