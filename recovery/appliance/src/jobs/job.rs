//! The words of the job machine: the job itself, what can happen to it, what a step asks for, why it refuses.
//!
//! Data only; the transitions are in [`super::machine`]. A job is written to the database as JSON of [`Job`], so a new
//! field needs a default that is right for jobs that were written before it.
//!
//! It must never: decide anything.

use images::ImageId;
use recovery_protocol::{
    EndpointId, JobId,
    agent::{CaptureSpec, Captured, PlanFacts, RestoreFacts},
    erase::{EraseFacts, EraseMethod, ErasePolicy},
    exhibit::Keep,
    health::DiskHealth,
    job::{HoldReason, JobState, Stage, Word},
    operator::{EndpointState, Mode, Power},
};
use serde::{Deserialize, Serialize};

/// All that the machine knows of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The endpoint that it owns while it is open.
    pub endpoint: EndpointId,
    /// Rehearsal or real.
    pub mode: Mode,
    /// The golden image. Of a capture, all zeros until it is in the store.
    pub image: ImageId,
    /// The disk is to be captured, under this name; `None`: the endpoint is to be recovered.
    #[serde(default)]
    pub capture: Option<CaptureSpec>,
    /// Where it stands.
    pub state: JobState,
    /// The endpoint's state before, to return to when nothing was done.
    pub before: EndpointState,
    /// Who asked, as in evidence.
    pub asked_by: String,
    /// Who approved, once somebody did.
    pub approved_by: Option<String>,
    /// The approver must be another person than the asker.
    pub second_person: bool,
    /// Tries of the current duty, from 1.
    pub attempt: u32,
    /// Power cycles that the appliance began by itself, from 1.
    pub round: u32,
    /// Proven boots of the recovery system.
    pub boots: u32,
    /// Number of the last order to restore.
    pub step_seq: u32,
    /// Number of the last intent; an outcome of another one is stale.
    pub intent: u32,
    /// The session (hash) whose reports count.
    pub session: Option<String>,
    /// The old identity was revoked.
    pub fenced: bool,
    /// An order to write went out: the old content may be gone.
    pub touched: bool,
    /// The last order's read-back was equal.
    pub read_back: bool,
    /// How the restored system was accepted, once it was.
    pub golden: Option<Proof>,
    /// Serial number of the certificate issued in this job.
    pub certificate: Option<String>,
    /// When the current state was entered, milliseconds since 1970.
    pub entered_unix_ms: u64,
    /// The limit of the current state.
    pub limit_unix_ms: Option<u64>,
    /// The plan, once made.
    pub plan: Option<PlanFacts>,
    /// How the disk was when the plan was made.
    #[serde(default)]
    pub disk_health: Option<DiskHealth>,
    /// What the restore did, once known.
    pub restore: Option<RestoreFacts>,
    /// What the capture did, once it is done.
    #[serde(default)]
    pub captured: Option<Captured>,
    /// The asker has given up what the image preserves.
    #[serde(default)]
    pub give_up_preserved: bool,
    /// What is kept of the old system before it is written.
    #[serde(default)]
    pub keep: Keep,
    /// Seconds for that, where who ordered it named them.
    #[serde(default)]
    pub keep_seconds: Option<u32>,
    /// Who let it go on without the approval that it wanted, as in evidence.
    #[serde(default)]
    pub break_glass: Option<String>,
    /// A source's word alone began it: it is asked once more before anything is written.
    #[serde(default)]
    pub asks_again: bool,
    /// What the last order's blueprint demanded of the old content.
    #[serde(default)]
    pub erase: ErasePolicy,
    /// Serial number of the disk that the last order named.
    #[serde(default)]
    pub disk: String,
    /// The erasure that satisfies it, once reported. It is of one disk: the order to another one demands it again.
    #[serde(default)]
    pub erased: Option<Erased>,
    /// The erasure that is under way, as far as it was reported: begun and not ended.
    #[serde(default)]
    pub erasing: Option<EraseMethod>,
    /// What the proof that holds the job showed instead of what is on record: what an approval lets through.
    #[serde(default)]
    pub seen: Option<Seen>,
    /// What people let through in this job.
    #[serde(default)]
    pub allowed: Vec<Seen>,
    /// How a power driver left the endpoint that it had switched off; until the recovery system is heard or somebody powered it.
    #[serde(default)]
    pub left: Option<String>,
    /// Whose word is to stand for the restored system.
    #[serde(default)]
    pub word: Word,
    /// A driver may have set a boot override or shown a CD, and nobody has taken it back since.
    #[serde(default)]
    pub boot_set: bool,
    /// Why that could not be taken back, where it could not the last time.
    #[serde(default)]
    pub boot_left: Option<String>,
    /// How often it was tried in vain.
    #[serde(default)]
    pub clears: u32,
    /// What may have set it and is not on record any more: the record was changed meanwhile.
    #[serde(default)]
    pub powered_by: Vec<Power>,
}

/// An erasure of this job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Serial number of the disk that was ordered to be erased.
    pub serial: String,
    /// In facts.
    pub facts: EraseFacts,
}

/// What a proof showed that is not on record, exactly: a person approves this and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// A TPM.
    Tpm {
        /// SHA-256 of its EK's public part, lower-case hex.
        ek_sha256: String,
    },
    /// Firmware measurements.
    Firmware {
        /// As they would be on record.
        baseline: serde_json::Value,
    },
}

impl Seen {
    /// What it holds a job for.
    #[must_use]
    pub fn reason(&self) -> HoldReason {
        match self {
            Self::Tpm { .. } => HoldReason::IdentityChanged,
            Self::Firmware { .. } => HoldReason::FirmwareChanged,
        }
    }
}

/// How a system was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// A TPM quote that the appliance verified.
    Quote,
    /// No TPM: a person matched the pairing code (recovery system), the one-time ticket came back (restored system).
    Paired,
    /// A control plane looked at the restored system by itself. Nothing was measured for us.
    ControlPlane,
    /// A person looked at the restored system.
    Person,
}

impl Proof {
    /// Whose word that is.
    #[must_use]
    pub fn word(self) -> Word {
        match self {
            Self::Quote | Self::Paired => Word::CheckIn,
            Self::ControlPlane => Word::ControlPlane,
            Self::Person => Word::Person,
        }
    }
}

/// Something that happened to a job, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEvent {
    /// Appliance time, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Time passed. `seen_unix_ms`: the endpoint's last sign of life in this job.
    Tick {
        /// Milliseconds since 1970; 0 for none.
        seen_unix_ms: u64,
    },
    /// The appliance started again.
    Restarted,
    /// The guard rails answered [`Duty::Admit`].
    Admission {
        /// Of which intent.
        intent: u32,
        /// What they said.
        verdict: Admission,
    },
    /// A duty ended.
    Done {
        /// Which intent.
        intent: u32,
        /// How.
        outcome: Outcome,
    },
    /// A recovery system said hello; unproven.
    AgentHello,
    /// A recovery system without a TPM shows a pairing code.
    PairingShown,
    /// The recovery system was accepted: from now on this session speaks for the endpoint.
    HardwareProven {
        /// Session hash.
        session: String,
        /// How.
        proof: Proof,
    },
    /// The agent asked for its order.
    OrderAsked {
        /// Session hash.
        session: String,
        /// Serial number of the disk that it will name.
        #[serde(default)]
        disk: String,
        /// What its blueprint demands of the old content.
        #[serde(default)]
        erase: ErasePolicy,
    },
    /// A report of the recovery system.
    Reported {
        /// Session hash.
        session: String,
        /// The order it belongs to.
        step_seq: u32,
        /// What it says.
        report: Restored,
    },
    /// The disk is in the store.
    Captured {
        /// Session hash.
        session: String,
        /// The order it belongs to.
        step_seq: u32,
        /// The new image.
        image: ImageId,
        /// What was found and sent.
        captured: Captured,
    },
    /// The restored system said hello with this job's enrolment ticket.
    GoldenHello,
    /// The restored system was accepted.
    GoldenProven {
        /// How.
        proof: Proof,
        /// It enrols next; else it is registered as it is.
        enrols: bool,
    },
    /// A certificate was issued.
    Certified {
        /// Serial number, lower-case hex.
        serial: String,
    },
    /// Whoever issues says “later”: somebody decides there, and the job waits for that.
    EnrolmentLater {
        /// Until this time at least, milliseconds since 1970.
        until_unix_ms: u64,
    },
    /// The restored system holds its certificate.
    Enrolled {
        /// Serial number, lower-case hex.
        serial: String,
    },
    /// A check said no, or the agent gave up.
    Refused {
        /// Why, from the closed list.
        reason: HoldReason,
        /// The values at hand.
        detail: String,
    },
    /// A proof showed another TPM or another firmware than is on record.
    Differs {
        /// Which.
        seen: Seen,
        /// The values at hand.
        detail: String,
    },
    /// A person approved what the hold asked for.
    Approve {
        /// As in evidence.
        by: String,
    },
    /// A person lets a held job go on.
    Resume {
        /// As in evidence.
        by: String,
    },
    /// STOP was pressed for the whole site.
    SiteStop {
        /// By whom and why, for a person.
        by: String,
    },
    /// A person lets it go on without the approval that it wants.
    BreakGlass {
        /// As in evidence.
        by: String,
    },
    /// A person stops the job.
    Cancel {
        /// As in evidence.
        by: String,
    },
}

/// What the guard rails said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// In, and approved by `by` (a person's own order, or the group's mode).
    Approved {
        /// Who or what.
        by: String,
    },
    /// In, but a person must approve.
    NeedsApproval {
        /// Another person than the asker.
        second_person: bool,
        /// Broken glass does not stand for it: the highest safety class.
        #[serde(default)]
        no_glass: bool,
    },
    /// Not now: which rule, with its numbers.
    Refused {
        /// For a person.
        rule: String,
    },
}

/// How a duty ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is so now.
    Done,
    /// Whoever asked for the job does not stand by it any more.
    Withdrawn {
        /// What they say.
        detail: String,
    },
    /// It is not.
    Failed {
        /// Why, from the closed list.
        reason: HoldReason,
        /// The values at hand.
        detail: String,
    },
}

/// What a recovery system reports of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restored {
    /// The disk will be erased; nothing is written yet.
    Erasing(EraseMethod, Box<DiskHealth>),
    /// It is erased.
    Erased(Box<EraseFacts>),
    /// The plan is made, and how the disk is; nothing is written yet.
    Planned(PlanFacts, Box<DiskHealth>),
    /// All but the boot region is written.
    Written(RestoreFacts),
    /// Read back and equal.
    Proven(RestoreFacts),
    /// The boot region is written; it reboots.
    Committed(RestoreFacts),
}

/// An act on the outside. Each is safe to do twice; its idempotency key is (job, intent).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// Ask the guard rails (in the journal's own transaction).
    Admit,
    /// See that the golden image is there and trusted.
    CheckImage,
    /// Tell the control plane that the old identity is void.
    Fence,
    /// Nothing to do: go on.
    Onward,
    /// See that the network boot knows the ticket.
    Publish,
    /// Power the endpoint into a network boot.
    Power,
    /// Ask the source once more.
    Confirm,
    /// Clear a boot override that is still set.
    ClearBoot,
    /// Register the recovered endpoint with the control plane.
    Register,
    /// Lift the quarantine.
    Release,
}

/// What a step asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// In the same transaction: a boot ticket lives.
    IssueBootTicket,
    /// In the same transaction: no boot ticket and no EST secret of this job lives.
    VoidTickets,
    /// In the same transaction: the enrolment ticket is void too.
    VoidEnrolment,
    /// In the same transaction: the endpoint's certificates are revoked.
    RevokeCertificates,
    /// In the same transaction: evidence names what a person let through. It is put on record by the proof that shows it again.
    Allowed(Seen),
    /// In the same transaction: the endpoint's state.
    Mark(EndpointState),
    /// Write an intent; act when it is due.
    Begin {
        /// Its number.
        intent: u32,
        /// Which act.
        duty: Duty,
        /// Not before, milliseconds since 1970.
        due_unix_ms: u64,
    },
}

/// Why an event changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The job is over.
    #[error("the job is over")]
    Over,
    /// An outcome of an earlier intent.
    #[error("the job has moved on since")]
    Stale,
    /// The event does not belong to the state.
    #[error("the job is {0}: this does not belong there")]
    NotNow(String),
    /// The report is from another session than the proven one.
    #[error("another session speaks for this endpoint now")]
    Session,
    /// The report belongs to another order.
    #[error("the report belongs to order {got}; the current order is {current}")]
    Order {
        /// The report's.
        got: u32,
        /// The job's.
        current: u32,
    },
    /// The certificate is not the one issued in this job.
    #[error("the certificate named is not the one issued in this job")]
    Certificate,
    /// The report was taken before.
    #[error("this was reported before")]
    Repeated,
    /// The hold does not ask for an approval.
    #[error("nothing waits for an approval")]
    NothingToApprove,
    /// What was seen is not known, or is not for this endpoint.
    #[error(
        "no TPM or firmware was seen that could be approved; resume the job, so that the endpoint is asked again"
    )]
    NothingSeen,
    /// The hold asks for an approval.
    #[error("the job waits for an approval, not for a resume")]
    ApproveInstead,
    /// STOP stands for the whole site.
    #[error("STOP was pressed for the whole site: nothing is begun, switched or written")]
    SiteStopped,
    /// The asker may not approve.
    #[error("another person than the one who asked must approve")]
    SecondPerson,
}

/// A job to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Its id.
    pub id: JobId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Rehearsal or real.
    pub mode: Mode,
    /// The golden image; of a capture, all zeros.
    pub image: ImageId,
    /// The disk is to be captured.
    pub capture: Option<CaptureSpec>,
    /// Who asks, as in evidence.
    pub asked_by: String,
    /// The endpoint's state now.
    pub before: EndpointState,
    /// What the image preserves is given up.
    pub give_up_preserved: bool,
    /// A source's word alone asks for it.
    pub asks_again: bool,
    /// Whose word is to stand for the restored system.
    pub word: Word,
    /// What is kept of the old system.
    pub keep: Keep,
    /// Seconds for that.
    pub keep_seconds: Option<u32>,
}

impl Job {
    /// What the disk does by itself and nobody can stop, in one sentence; `None`: nothing, as far as it was reported.
    #[must_use]
    pub fn erases_itself(&self) -> Option<String> {
        let method = self.erasing?;
        let disk = if self.disk.is_empty() { "one without a serial number" } else { &self.disk };
        Some(format!("Its disk {disk} erases itself ({}): {}", method.label(), method.goes_on()?))
    }

    /// What the last order's blueprint demands of the old content has not been reported yet.
    #[must_use]
    pub fn lacks_erasure(&self) -> bool {
        self.erase != ErasePolicy::None && self.erased.is_none()
    }

    pub(super) fn new(proposal: Proposal, at_unix_ms: u64) -> Self {
        Self {
            id: proposal.id,
            endpoint: proposal.endpoint,
            mode: proposal.mode,
            give_up_preserved: proposal.give_up_preserved,
            keep: proposal.keep,
            keep_seconds: proposal.keep_seconds,
            image: proposal.image,
            capture: proposal.capture,
            state: JobState::Working { stage: Stage::Proposed },
            before: proposal.before,
            asked_by: proposal.asked_by,
            approved_by: None,
            second_person: false,
            attempt: 1,
            round: 1,
            boots: 0,
            step_seq: 0,
            intent: 0,
            session: None,
            fenced: false,
            touched: false,
            read_back: false,
            golden: None,
            certificate: None,
            entered_unix_ms: at_unix_ms,
            limit_unix_ms: None,
            plan: None,
            disk_health: None,
            restore: None,
            captured: None,
            break_glass: None,
            asks_again: proposal.asks_again,
            word: proposal.word,
            erase: ErasePolicy::None,
            disk: String::new(),
            erased: None,
            seen: None,
            allowed: Vec::new(),
            left: None,
            erasing: None,
            boot_set: false,
            boot_left: None,
            clears: 0,
            powered_by: Vec::new(),
        }
    }
}
