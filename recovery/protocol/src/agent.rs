//! The agent API: JSON over TLS on the endpoints' port, the appliance pinned by its key ([`crate::trust`]).
//!
//! ```text
//! agent (recovery system)                 appliance
//!   POST /agent/v1/hello     ───────────►   MAC selects a boot ticket; none: refused, "local disk"
//!                            ◄───────────   Challenge (credential, nonce, PCRs) | Pair (code) | Wait
//!   POST /agent/v1/proof     ───────────►   activated secret, quote, event log
//!                            ◄───────────   Accepted
//!   POST /agent/v1/next      ───────────►
//!                            ◄───────────   Wait | Restore(order) | Reboot | PowerOff
//!   POST /agent/v1/exhibit   ───────────►   bytes of what is kept of the old system, at an offset
//!                            ◄───────────   how many lie there
//!   POST /agent/v1/report    ───────────►   kept, erased, planned, progress, written, proven, committed, refused
//!                            ◄───────────   Continue | Abort
//! agent (restored system, check-in service)
//!   hello, proof (with a certified TLS key) ─► Enrol (one-time EST secret) ─► EST ─► report Enrolled
//! ```
//!
//! Every message after the hello carries the session and, where it belongs to a job, the job; a stale one is refused.

mod disk;
mod facts;

use std::collections::BTreeMap;
use std::net::IpAddr;

use images::ImageId;
use serde::{Deserialize, Serialize};

use crate::erase::{EraseFacts, EraseMethod, EraseOffer, ErasePolicy};
use crate::exhibit::{KeepOrder, Kept};
use crate::health::DiskHealth;
use crate::ids::{JobId, MacAddr};
use crate::secure_boot::SecureBoot;
use crate::settings::EndpointSettings;

pub use disk::{DiskFacts, DiskHints, DiskSelector};
pub use facts::{BootEntry, PlacedFile, PlanFacts, PreservedFacts, RestoreFacts, SourceFacts};

/// Bytes in JSON: standard base64 (RFC 4648 §4).
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Base64(pub Vec<u8>);

impl TryFrom<String> for Base64 {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(text).map(Self)
    }
}

impl From<Base64> for String {
    fn from(bytes: Base64) -> Self {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(bytes.0)
    }
}

impl std::fmt::Debug for Base64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Which system is speaking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BootedAs {
    /// The recovery system, booted from the network.
    RecoverySystem,
    /// The restored golden system, booted from its disk.
    GoldenSystem,
}

/// `POST /agent/v1/hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::AGENT_PROTOCOL`].
    pub protocol: u32,
    /// The agent's version, for people.
    pub agent_version: String,
    /// Which system is speaking.
    pub booted_as: BootedAs,
    /// What the endpoint is made of.
    pub inventory: Inventory,
    /// The endpoint's TPM; `None` where there is none.
    pub tpm: Option<TpmIdentity>,
    /// The enrolment ticket found on the ESP (restored system, first boot); `None` otherwise.
    pub enrolment_ticket: Option<String>,
}

/// What an endpoint is made of, as the agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Inventory {
    /// Ethernet addresses, the one that booted first if known.
    pub macs: Vec<MacAddr>,
    /// Those of them that a cable or plug carries to another computer: USB adapters and docks. They tell nobody apart.
    #[serde(default)]
    pub dock_macs: Vec<MacAddr>,
    /// SMBIOS system manufacturer (DSP0134 type 1); empty when unknown.
    pub vendor: String,
    /// SMBIOS product name.
    pub product: String,
    /// SMBIOS system serial number.
    pub serial: String,
    /// SMBIOS system UUID as the kernel prints it.
    pub uuid: String,
    /// How the firmware booted us.
    pub firmware: Firmware,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Disks that could be written.
    pub disks: Vec<DiskFacts>,
    /// Its host name; empty when unknown.
    #[serde(default)]
    pub hostname: String,
    /// Its own IP addresses, in no order.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Their health in the same order; empty from agents before 2026-11-28, and where nobody asked the disks.
    #[serde(default)]
    pub disk_health: Vec<DiskHealth>,
    /// How they can erase themselves, likewise.
    #[serde(default)]
    pub disk_erase: Vec<EraseOffer>,
    /// What its firmware lets start; `None` without UEFI, and from agents before 2026-11-29.
    #[serde(default)]
    pub secure_boot: Option<SecureBoot>,
}

/// How the firmware booted us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    /// Legacy BIOS.
    Bios,
    /// UEFI with Secure Boot off.
    Uefi,
    /// UEFI with Secure Boot enforcing.
    UefiSecureBoot,
}

/// The endpoint's TPM as it presents itself; proven by [`Proof`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TpmIdentity {
    /// `TPMT_PUBLIC` of the endorsement key (TPM 2.0 Part 2 §12.2.4).
    pub ek_public: Base64,
    /// The maker's certificate (X.509, DER), where the TPM holds one: a claim, judged by the appliance. It is for the RSA key
    /// where one is presented, else for the endorsement key above.
    pub ek_certificate: Option<Base64>,
    /// `TPMT_PUBLIC` of the RSA endorsement key, where the maker certified that one alone.
    #[serde(default)]
    pub rsa_ek_public: Option<Base64>,
    /// Certificates of its issuers that the TPM holds (DER, one after the other); empty where it holds none.
    #[serde(default)]
    pub ek_certificate_chain: Base64,
    /// `TPMT_PUBLIC` of the attestation key.
    pub ak_public: Base64,
}

/// The answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum HelloReply {
    /// Prove yourself.
    Challenge(Challenge),
    /// No TPM: show this code on the screen until a person confirmed it, asking `next` meanwhile.
    Pair {
        /// For the following messages.
        session: String,
        /// Six digits.
        code: String,
    },
    /// Known but nothing to do yet: say hello again later.
    Wait {
        /// Seconds until then.
        seconds: u32,
        /// Why, for the screen.
        why: String,
    },
}

/// A fresh question to a TPM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// For the following messages.
    pub session: String,
    /// `TPM2B_ID_OBJECT` contents (TPM 2.0 Part 1 §24).
    pub credential: Base64,
    /// `TPM2B_ENCRYPTED_SECRET` contents.
    pub encrypted_secret: Base64,
    /// The same with another secret for the RSA endorsement key, where the hello presented one.
    #[serde(default)]
    pub rsa: Option<RsaCredential>,
    /// 32 bytes, single use; the quote's `extraData`.
    pub nonce: Base64,
    /// PCR indices of the SHA-256 bank to quote.
    pub pcrs: Vec<u8>,
}

/// A credential that only the TPM with the presented RSA endorsement key opens, and only beside the same AK.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RsaCredential {
    /// `TPM2B_ID_OBJECT` contents.
    pub credential: Base64,
    /// `TPM2B_ENCRYPTED_SECRET` contents.
    pub encrypted_secret: Base64,
}

/// `POST /agent/v1/proof`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// From the challenge.
    pub session: String,
    /// What `TPM2_ActivateCredential` returned.
    pub activated: Base64,
    /// The same for [`Challenge::rsa`].
    #[serde(default)]
    pub activated_rsa: Option<Base64>,
    /// `TPMS_ATTEST` of the quote.
    pub quote: Base64,
    /// `TPMT_SIGNATURE` over it.
    pub signature: Base64,
    /// TCG crypto-agile event log, as the kernel exposes it; may be empty where firmware keeps none.
    pub event_log: Base64,
    /// Value of each quoted PCR (32 bytes).
    pub pcrs: BTreeMap<u8, Base64>,
    /// Restored system: the TLS key to be enrolled, certified by the AK.
    pub tls_key: Option<CertifiedKey>,
}

/// A key that the AK certified as held by the same TPM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedKey {
    /// `TPMT_PUBLIC` of the key.
    pub public: Base64,
    /// `TPMS_ATTEST` of `TPM2_Certify`, `extraData` = the challenge's nonce.
    pub attest: Base64,
    /// `TPMT_SIGNATURE` over it.
    pub signature: Base64,
}

/// The answer to a proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum ProofReply {
    /// Proven; go on with `next` (recovery system) or check in again later (restored system).
    Accepted {
        /// Restored system: seconds until the next check-in.
        again_in_seconds: u32,
        /// Restored system: have the firmware boot from the network once, and reboot, for this job. Agents before 2026-11-29 do not
        /// know it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reboot_for: Option<JobId>,
    },
    /// Proven and expected: enrol with this one-time secret.
    Enrol(EnrolOrder),
}

/// How to enrol over EST (RFC 7030 §3.2.3: HTTP Basic).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolOrder {
    /// The job this enrolment belongs to.
    pub job: JobId,
    /// EST path, e.g. `/.well-known/est/simpleenroll`.
    pub path: String,
    /// HTTP Basic user name.
    pub user: String,
    /// HTTP Basic password; single use, bound to the certified key.
    pub password: String,
    /// Subject common name to ask for; the appliance decides the subject anyway.
    pub common_name: String,
}

impl std::fmt::Debug for EnrolOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolOrder").field("job", &self.job).field("user", &self.user).finish_non_exhaustive()
    }
}

/// `POST /agent/v1/next`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// From the challenge.
    pub session: String,
}

/// What the agent is told to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Assignment {
    /// Ask again later.
    Wait {
        /// Seconds until then.
        seconds: u32,
        /// Why, for the screen.
        why: String,
    },
    /// Bring the disk to the golden image.
    Restore(Box<RestoreOrder>),
    /// Read the disk into the appliance's store; write nothing.
    Capture(Box<CaptureOrder>),
    /// Reboot into whatever the firmware chooses.
    Reboot {
        /// Why, for the screen.
        why: String,
    },
    /// Stop here and show the text: a person decides.
    Stop {
        /// What happened and what now, for the screen.
        why: String,
    },
}

/// One restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreOrder {
    /// The job.
    pub job: JobId,
    /// Grows with each order of this job; a report with another number is stale.
    pub step_seq: u32,
    /// The golden image: its manifest's digest.
    pub image: ImageId,
    /// Where to read the signed manifest: URLs in order of preference, `http://<ip>/v1/manifests/<id>`.
    pub manifest_urls: Vec<String>,
    /// Where to post frame requests, `http://<ip>/v1/frames`, in order of preference.
    pub frames_urls: Vec<String>,
    /// Which disk.
    pub disk: DiskSelector,
    /// Read back everything (`true`) or only what was written.
    pub read_back_all: bool,
    /// What becomes of the old content first. `None` also where this job has seen to it.
    #[serde(default)]
    pub erase: ErasePolicy,
    /// How people call this endpoint, for its screen; empty from appliances before 2026-11-29.
    #[serde(default)]
    pub endpoint: String,
    /// A rehearsal: it looks like one on the screen, and nothing else differs.
    #[serde(default)]
    pub drill: bool,
    /// What belongs to this endpoint and not to its image, placed beside the files below.
    #[serde(default)]
    pub settings: EndpointSettings,
    /// A person has given up what the image preserves: it is written as the image has it.
    #[serde(default)]
    pub give_up_preserved: bool,
    /// What is kept of the old system before anything is written; agents before 2026-11-30 keep nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<KeepOrder>,
    /// Files to place on the ESP after the read-back and before the boot region: path with `/` → content.
    pub esp_files: BTreeMap<String, Base64>,
}

/// One capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureOrder {
    /// The job.
    pub job: JobId,
    /// Grows with each order of this job; what belongs to another number is stale.
    pub step_seq: u32,
    /// Which disk.
    pub disk: DiskSelector,
    /// What the image shall be called.
    pub image: CaptureSpec,
    /// Where the manifest of the image before lies: its chunks need not be sent again.
    pub known_urls: Vec<String>,
}

/// What is said of an image that is captured: what a disk does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureSpec {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Epoch: one more than the highest of this name.
    pub epoch: u64,
    /// Hardware class; empty means any.
    pub hardware_class: String,
    /// What changed, in a sentence.
    pub note: String,
    /// The order's time, milliseconds since 1970 UTC.
    pub created_unix_ms: u64,
    /// The image that it succeeds. Chunks of it need not be sent again.
    pub previous: Option<ImageId>,
    /// Store also what no filesystem uses.
    pub keep_free_space: bool,
    /// Partitions that a restore leaves as its endpoint has them: number, name or GUID.
    #[serde(default)]
    pub preserve: Vec<String>,
}

/// A capture in numbers, and what a person should know of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Captured {
    /// Bytes of the disk.
    pub disk_bytes: u64,
    /// Bytes in chunks.
    pub data_bytes: u64,
    /// Bytes that no filesystem uses, left out.
    pub free_bytes: u64,
    /// Chunks that the store did not have.
    pub new_chunks: u64,
    /// Their bytes as they travelled.
    pub sent_bytes: u64,
    /// What an import would warn of: secrets, what is one endpoint's own, what does not boot.
    pub warnings: Vec<String>,
}

/// `POST /agent/v1/capture/frames` answers with this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CaptureTaken {
    /// Chunks that were new to the store.
    pub chunks: u64,
    /// Their stored bytes.
    pub stored_bytes: u64,
}

/// `POST /agent/v1/report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// From the challenge.
    pub session: String,
    /// The job.
    pub job: JobId,
    /// The order this belongs to ([`RestoreOrder::step_seq`]); 0 for the restored system.
    pub step_seq: u32,
    /// What happened.
    pub what: Reported,
}

/// What the agent has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Reported {
    /// The disk will be erased; nothing is written before the answer says `Continue`.
    Erasing {
        /// How.
        method: EraseMethod,
        /// Which disk.
        disk: DiskFacts,
        /// How that disk is.
        health: Box<DiskHealth>,
    },
    /// The disk is erased; what follows is a restore onto what is left.
    Erased {
        /// In facts.
        facts: Box<EraseFacts>,
    },
    /// What was to be kept of the old system is kept, as far as it could be. Nothing that it says stops the restore.
    Kept {
        /// What came of it.
        kept: Box<Kept>,
    },
    /// The disk was scanned and the plan made; nothing is written before the answer says `Continue`.
    Planned {
        /// The plan in numbers.
        plan: PlanFacts,
        /// The disk it is for.
        disk: DiskFacts,
        /// Partitions that stay as they are.
        #[serde(default)]
        preserved: Vec<PreservedFacts>,
        /// How that disk is; unknown from agents before 2026-11-28.
        #[serde(default)]
        health: Box<DiskHealth>,
    },
    /// Work goes on.
    Progress {
        /// Which part.
        activity: Activity,
        /// Bytes done.
        done_bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
    },
    /// All but the boot region is on the disk.
    Written {
        /// In numbers.
        stats: RestoreFacts,
        /// What each source gave; empty from agents before 2026-11-27.
        #[serde(default)]
        sources: Vec<SourceFacts>,
    },
    /// Read back and equal.
    Proven {
        /// In numbers.
        stats: RestoreFacts,
        /// Partitions that stayed as they were: read again after all was written.
        #[serde(default)]
        preserved: Vec<PreservedFacts>,
    },
    /// The boot region is written and read back; the endpoint reboots after the answer.
    Committed {
        /// In numbers.
        stats: RestoreFacts,
        /// What was placed beside the image, without its ticket.
        #[serde(default)]
        placed: Vec<PlacedFile>,
    },
    /// The disk is in the store: all chunks, and the manifest.
    Captured {
        /// The new image.
        image: ImageId,
        /// What was found and sent.
        captured: Captured,
    },
    /// The restored system holds its certificate.
    Enrolled {
        /// Serial number of the certificate, lower-case hex.
        certificate_serial: String,
    },
    /// The agent will not or cannot go on.
    Refused {
        /// Why, from the closed list.
        reason: crate::job::HoldReason,
        /// The values at hand, for a person.
        detail: String,
    },
}

/// What the agent is doing to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Reading what is there.
    Scanning,
    /// Fetching and writing.
    Writing,
    /// Reading back.
    ReadingBack,
    /// Reading the disk into the appliance's store.
    Capturing,
    /// The disk is being erased.
    Erasing,
    /// Keeping what may show what befell the old system.
    Keeping,
}

/// The answer to a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum ReportReply {
    /// Go on.
    Continue,
    /// Stop where you are; before the first write the disk is untouched.
    Abort {
        /// Why, for the screen.
        why: String,
    },
}
