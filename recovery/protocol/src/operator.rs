//! What people and scripts send and see: REST under `/api/v1` on the console's port, JSON, refusals as [`Problem`].
//!
//! | call | in → out |
//! |---|---|
//! | `GET /api/v1/status` | → [`StatusView`] |
//! | `GET /api/v1/endpoints[?selector=]`, `GET …/{endpoint}`; `POST …/break-glass` | → [`EndpointView`] list, one; [`Decision`] → [`JobView`] |
//! | `POST /api/v1/endpoints` | [`NewEndpoint`] → [`EndpointView`] (adds, or approves a discovered one) |
//! | `GET /api/v1/sheet` | → CSV of all that are on record |
//! | `POST /api/v1/sheet[?apply=]` | CSV → [`ImportPlan`]; applied only by the hash of the plan |
//! | `PATCH /api/v1/endpoints/{endpoint}` | [`ChangeEndpoint`] → [`EndpointView`] |
//! | `DELETE /api/v1/endpoints/{endpoint}` | [`Decision`] → [`RemovedEndpoint`] |
//! | `POST /api/v1/endpoints/{endpoint}/recover` | [`RecoverRequest`] → 202 [`JobView`]; an open job is returned, not doubled |
//! | `POST /api/v1/endpoints/{endpoint}/{resolve,pair}` | [`Resolution`], [`PairRequest`] → [`EndpointView`] |
//! | `GET …/{endpoint}/outlook`, `GET`, `PUT`, `DELETE …/{endpoint}/photo` | → [`crate::machine::OutlookView`]; a picture ⇄ [`crate::machine::PhotoView`] |
//! | `GET …/{endpoint}/card[?language=][&address=]` | → HTML, to be printed |
//! | `POST /api/v1/jobs/{job}/accept` | [`crate::machine::Acceptance`] → [`JobView`] |
//! | `GET /api/v1/jobs[?endpoint=]`, `GET …/{job}` | → [`JobView`] list, one |
//! | `POST /api/v1/jobs/{job}/approve`, `…/{resume,cancel}` | [`Approval`] (of something else than what is asked for now: 409 `approval-stale`), [`Decision`] → [`JobView`] |
//! | `GET /api/v1/jobs/{job}/events` | → server-sent events, each `data:` a [`JobView`]; ends when the job is over |
//! | `GET /api/v1/images` | → [`ImageView`] list |
//! | `GET /api/v1/evidence[?job=]` | → JSON lines of [`crate::evidence::Line`] (whole log when no filter) |
//! | `GET /api/v1/evidence/key`, `…/checkpoint` | → [`EvidenceKey`], a signed note ([`crate::evidence::Checkpoint`]) |
//! | `GET /api/v1/evidence/entries/{seq}/proof` | → an inclusion proof ([`crate::evidence::proof`]) |
//! | `POST /api/v1/evidence/since` | a signed note → the proof that the log continues it |
//! | `GET /api/v1/net`, `POST …/probe`, `GET …/{endpoint}` | → [`crate::net::NetView`] twice, [`crate::net::BootView`] |
//! | `GET /api/v1/drills` | → [`DrillView`] list, newest first |
//! | `POST /api/v1/drills` | [`NewDrill`] → 202 [`DrillView`] |
//! | `POST /api/v1/drills/plan` | [`NewDrill`] → [`crate::drill::DrillPlan`] |
//! | `PUT /api/v1/people/{person}/duties` | [`crate::drill::Duties`] → the same |
//! | `GET /api/v1/drills/{drill}`, `…/report` | → [`DrillView`], HTML |
//! | `POST /api/v1/policy/try` | [`crate::policy::PolicyTry`] → [`crate::policy::PolicyTried`] |
//! | `POST /api/v1/drills/{drill}/answer` | [`DrillAnswer`] → [`DrillView`] |
//! | `POST /api/v1/drills/{drill}/abort` | [`Decision`] → [`DrillView`] |
//! | `POST /api/v1/console-links` | → [`crate::people::ConsoleLink`] |
//!
//! An endpoint's record has a revision, which is its `ETag`; a change or removal with `If-Match` of an older one is 412 `revision-stale`.
//!
//! Every call but `/livez` and `/readyz` carries `Authorization: Bearer <token>` or the console's session cookie.

use images::{ImageId, manifest::header::Header};
use serde::{Deserialize, Serialize};

pub use crate::approval::Approval;
pub use crate::drill::{DrillAnswer, DrillStepView, DrillView, NewDrill};
pub use crate::endpoint::{
    Chain, ChangeEndpoint, ClaimView, FactSource, HardwareFact, ImportFault, ImportLine, ImportPlan, Kind,
    NewEndpoint, Power, RemovedEndpoint, Resolution,
};
pub use crate::machine::RecoverRequest;
pub use crate::problem::Problem;
use crate::{
    agent::{Captured, Inventory, PlanFacts, RestoreFacts},
    erase::EraseFacts,
    exhibit::{ExhibitView, Keep},
    health::DiskHealth,
    ids::{EndpointId, JobId, MacAddr},
    job::{JobState, Stage, Word},
    selector::Labels,
    settings::EndpointSettings,
};

/// The appliance in one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusView {
    /// The site's name.
    pub site: String,
    /// Version of the appliance.
    pub version: String,
    /// Seconds since it started.
    pub up_seconds: u64,
    /// Endpoints on record.
    pub endpoints: u64,
    /// Jobs that are neither over nor held.
    pub jobs_working: u64,
    /// Jobs that wait for a person.
    pub jobs_held: u64,
    /// The STOP that stands for the whole site.
    #[serde(default)]
    pub stop: Option<crate::stop::StopView>,
    /// Endpoints with an identity conflict that waits for a person.
    #[serde(default)]
    pub conflicts: Vec<EndpointId>,
    /// What the boot layer was asked and did not give since the start, by kind.
    #[serde(default)]
    pub refusals: Vec<RefusalView>,
    /// Other DHCP and boot servers that are in the way.
    #[serde(default)]
    pub foreign: Vec<crate::net::ForeignView>,
    /// Addresses of the appliance's pools that somebody uses without a lease.
    #[serde(default)]
    pub addresses_in_use: Vec<crate::net::AddressInUseView>,
    /// The object store behind the image store; absent where none is configured.
    #[serde(default)]
    pub depot: Option<DepotView>,
    /// Who else gets the evidence.
    #[serde(default)]
    pub sinks: Vec<SinkView>,
    /// Who is told what the rules say.
    #[serde(default)]
    pub channels: Vec<crate::notify::ChannelView>,
    /// Recoveries that somebody began without their approval, and nobody has looked at.
    #[serde(default)]
    pub reviews: Vec<crate::people::ReviewView>,
}

/// How it stands with one who follows the evidence log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SinkView {
    /// `siem`, or `webhook:<name>`.
    pub name: String,
    /// Entries that it has not got yet.
    pub behind: u64,
    /// When it got the last one, milliseconds since 1970.
    pub moved_unix_ms: Option<u64>,
    /// When the first of them was written, milliseconds since 1970.
    #[serde(default)]
    pub oldest_unix_ms: Option<u64>,
    /// Entries that it refused for good.
    pub dead: u64,
    /// The last of them, in a sentence; empty: none.
    pub last_dead: String,
    /// Why it gets none now, in a sentence; empty: it does.
    pub trouble: String,
}

/// What the control planes above are told of an endpoint: the embedded registry, for whoever pulls it (`GET /api/v1/plane`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlaneView {
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// Grows with each recovery: what is said of an older one is void.
    pub generation: u64,
    /// It may work: recovered, proven, out of quarantine.
    pub trusted: bool,
    /// The golden image that it runs, its certificate's serial number, its TPM and the job, as it registered; empty while it has not.
    pub registration: serde_json::Value,
    /// Greater than that of every change before it, whatever the clock does: ask for what is newer with `?since=` and the greatest one that you
    /// saw, which is the last one's.
    pub sequence: u64,
    /// When this changed, milliseconds since 1970.
    pub changed_unix_ms: u64,
}

/// How it stands with the object store that the appliance follows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DepotView {
    /// Where it is.
    pub place: String,
    /// Minutes between two looks; 0: the appliance does not look by itself.
    pub follow_minutes: u64,
    /// When it was asked last, milliseconds since 1970; 0: not yet.
    pub asked_unix_ms: u64,
    /// When all that it has was seen last.
    pub reached_unix_ms: Option<u64>,
    /// Images that came from it since the appliance started.
    pub pulled: u64,
    /// Bytes of the image store at the last look.
    #[serde(default)]
    pub store_bytes: u64,
    /// Bytes that it may have; none: no bound.
    #[serde(default)]
    pub store_bytes_max: Option<u64>,
    /// Images that went from the store since the appliance started, since the depot has them.
    #[serde(default)]
    pub evicted: u64,
    /// Why the last look fell short, in a sentence; empty: it did not.
    pub trouble: String,
}

/// One kind of refusal on the boot network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RefusalView {
    /// Stable name, such as `dhcp-malformed`.
    pub code: String,
    /// How often since the start.
    pub count: u64,
    /// When it happened last, milliseconds since 1970.
    pub last_unix_ms: u64,
    /// Who it was, as far as they say of themselves: Ethernet address, IP address.
    pub from: String,
    /// Why, with the values at hand.
    pub why: String,
}

/// Whether an endpoint is trusted; changed only by jobs and by people, never by the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// Seen, not approved: gets nothing.
    Discovered,
    /// On record; not (yet) enrolled.
    Known,
    /// Enrolled and proving itself.
    Trusted,
    /// An attestation failed or a trigger came in.
    Suspect,
    /// A job owns it.
    Recovering,
    /// A job is held: a person must decide.
    Held,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EndpointView {
    /// Its name.
    pub endpoint: EndpointId,
    /// Where it stands.
    pub state: EndpointState,
    /// Its blueprint's name; empty while only discovered.
    pub blueprint: String,
    /// Its group's name.
    pub group: String,
    /// Its Ethernet addresses.
    pub macs: Vec<MacAddr>,
    /// Which version of its record this is: grows with each change of it. 0 from appliances before 2026-11-29.
    #[serde(default)]
    pub revision: u64,
    /// Its labels.
    #[serde(default)]
    pub labels: Labels,
    /// What it is for.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Its safety class, or its group's where that is higher.
    #[serde(default)]
    pub safety_class: u8,
    /// Those that can stand in for it have the same word here.
    #[serde(default)]
    pub redundancy: Option<String>,
    /// The boot chain on record.
    #[serde(default)]
    pub chain: Chain,
    /// Its disk's serial number, where one is on record.
    #[serde(default)]
    pub disk_serial: Option<String>,
    /// How it is switched on and off.
    #[serde(default)]
    pub power: Power,
    /// SHA-256 of the EK's SPKI (lower-case hex) once pinned.
    pub ek_sha256: Option<String>,
    /// What its TPM's maker said of this key when it last proved itself in a recovery; `None` until then.
    pub ek_certificate: Option<EkCertificate>,
    /// How old the chain is by which it boots, as its TPM's last accepted quote showed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_age: Option<crate::secure_boot::BootAge>,
    /// May be the target of a drill.
    pub drill_safe: bool,
    /// What belongs to it and not to its image, as a person put it on record.
    #[serde(default)]
    pub settings: EndpointSettings,
    /// What it said of itself last.
    pub inventory: Option<Inventory>,
    /// What it is made of, fact by fact, each with who told it and when.
    #[serde(default)]
    pub facts: Vec<HardwareFact>,
    /// The pairing code it shows, while a person must confirm it.
    pub pairing_code: Option<String>,
    /// Last sign of life, milliseconds since 1970.
    pub seen_unix_ms: Option<u64>,
    /// The restored system's last accepted quote, milliseconds since 1970.
    pub proven_unix_ms: Option<u64>,
    /// Serial number of its certificate (lower-case hex), once enrolled.
    pub certificate_serial: Option<String>,
    /// Why it was refused last, with the refusal's code, until it proves itself.
    #[serde(default)]
    pub refusal: Option<String>,
    /// Somebody came with its address and is another one: a person must resolve it before it can be recovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<ClaimView>,
    /// Why an order of its recovery would wait, by the guard rail's words; only where one endpoint is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// SHA-256 of its picture, lower-case hex; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photo: Option<String>,
    /// The newest job, if any.
    pub job: Option<JobView>,
}

/// What the maker's certificate of an endorsement key tells. Only the first makes a TPM known before it was ever seen; with
/// any other the key is believed because a person approved the first recovery, which is a weaker proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum EkCertificate {
    /// It is for this key, and leads to a root that this appliance was given.
    Verified {
        /// The root's name: subject of its certificate.
        root: String,
        /// What the certificate says of the TPM.
        tpm: TpmModel,
    },
    /// It is for this key, but leads to no root that this appliance was given: anybody could have made it.
    RootUnknown {
        /// Who is said to have issued it.
        issuer: String,
        /// What it says of the TPM.
        tpm: TpmModel,
    },
    /// There is one, and it cannot be read.
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
    /// The TPM holds none for this key.
    Absent,
}

impl EkCertificate {
    /// Whether a maker that this appliance knows vouches for the key.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        matches!(self, Self::Verified { .. })
    }
}

impl std::fmt::Display for EkCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Verified { root, tpm } => write!(f, "{tpm}, verified by {root}"),
            Self::RootUnknown { issuer, tpm } => {
                write!(f, "{tpm}, issued by {issuer}, whose root is unknown here")
            }
            Self::Unreadable { why } => write!(f, "unreadable: {why}"),
            Self::Absent => f.write_str("absent"),
        }
    }
}

/// A TPM as its EK certificate describes it (TCG EK Credential Profile 2.5, section 3.2.9).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TpmModel {
    /// The maker's four letters from the TCG's registry, such as `IFX`; as it stands there if it is something else.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Its firmware when it was made.
    pub version: String,
}

impl std::fmt::Display for TpmModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [&self.manufacturer, &self.model, &self.version].map(String::as_str);
        let named: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        f.write_str(if named.is_empty() { "unnamed TPM" } else { "TPM " })?;
        f.write_str(&named.join(" "))
    }
}

/// What a job is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// The endpoint returns to its golden image.
    #[default]
    Recovery,
    /// The endpoint's disk becomes an image.
    Capture,
}

/// Ask for a capture: the endpoint's disk becomes an image in the store, not signed yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CaptureRequest {
    /// Name of the image.
    pub name: String,
    /// Version of the image.
    pub version: String,
    /// Hardware class that it fits; empty means any.
    #[serde(default)]
    pub hardware_class: String,
    /// What changed, in a sentence.
    #[serde(default)]
    pub note: String,
    /// Store also what no filesystem uses, byte for byte.
    #[serde(default)]
    pub keep_free_space: bool,
    /// Partitions that a restore leaves as the endpoint has them: number, name or GUID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preserve: Vec<String>,
    /// Why, in the asker's words; goes into evidence.
    #[serde(default)]
    pub reason: String,
}

/// Confirm that the code on the endpoint's screen is the one the console shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PairRequest {
    /// The six digits.
    pub code: String,
}

/// A person's decision on a job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Why, in their words; goes into evidence.
    #[serde(default)]
    pub reason: String,
}

/// Rehearsal or real: for display only. What may be written in a drill is decided by a type, not by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The real thing.
    Real,
    /// A rehearsal on a drill-safe endpoint.
    Drill,
}

/// One recovery job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobView {
    /// Its id.
    pub job: JobId,
    /// What it is for.
    #[serde(default)]
    pub kind: JobKind,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// `operator`, `attestation`, `webhook:<source>`, `drill`.
    pub trigger: String,
    /// Why, in the asker's words.
    pub reason: String,
    /// Rehearsal or real.
    pub mode: Mode,
    /// The golden image: name and version, for people.
    pub image_name: String,
    /// The golden image. Of a capture, all zeros until the disk is in the store.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub image: ImageId,
    /// Where it stands.
    pub state: JobState,
    /// When it was asked for, milliseconds since 1970.
    pub asked_unix_ms: u64,
    /// When it was over.
    pub over_unix_ms: Option<u64>,
    /// The limit of the stage it is in; past it the job is held.
    pub limit_unix_ms: Option<u64>,
    /// Stages passed, in order; a stage entered twice appears twice.
    pub phases: Vec<PhaseView>,
    /// Bytes of the running activity.
    pub progress: Option<ProgressView>,
    /// Who asked has given up what the image preserves.
    #[serde(default)]
    pub give_up_preserved: bool,
    /// What is kept of the old system before it is overwritten.
    #[serde(default)]
    pub keep: Keep,
    /// What came of that, once it was ordered of the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exhibit: Option<Box<ExhibitView>>,
    /// The plan, once made.
    pub plan: Option<PlanFacts>,
    /// How the disk was before it was written, once read.
    #[serde(default)]
    pub disk_health: Option<DiskHealth>,
    /// How the disk was erased in this job, where its blueprint demands it and once it is.
    #[serde(default)]
    pub erased: Option<Box<EraseFacts>>,
    /// What the restore did, once known.
    pub restore: Option<RestoreFacts>,
    /// What the capture found and sent, once it is done.
    #[serde(default)]
    pub captured: Option<Captured>,
    /// One sentence: what is happening or what happened.
    pub what: String,
    /// One sentence: what a person should do now; empty when nothing.
    pub what_now: String,
    /// What an approval of it says yes to, as a hash: endpoint and revision of its record, image, mode, disk, erasure, and why it is held.
    /// Absent: it waits for none.
    #[serde(default)]
    pub approves: Option<String>,
    /// Who let it go on without the approval that it wanted, as in evidence.
    #[serde(default)]
    pub break_glass: Option<String>,
    /// Whose word stands, or is to stand, for the restored system.
    #[serde(default)]
    pub word: Word,
    /// Whether a person saw live values on the screen of the recovered endpoint; absent: nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<bool>,
}

/// One passage through one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PhaseView {
    /// The stage.
    pub stage: Stage,
    /// Entered, milliseconds since 1970.
    pub from_unix_ms: u64,
    /// Left; `None` while in it.
    pub to_unix_ms: Option<u64>,
}

/// Bytes of a running activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProgressView {
    /// Which.
    pub activity: crate::agent::Activity,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes per second over the last few seconds.
    pub rate: u64,
}

/// One golden image in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ImageView {
    /// The manifest's digest.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub image: ImageId,
    /// Its name; empty when its manifest cannot be read any more.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its epoch.
    pub epoch: u64,
    /// Size of its disk in bytes.
    pub disk_bytes: u64,
    /// `true` when the appliance's key ring trusts its signatures.
    pub trusted: bool,
    /// Why not, when not.
    pub why_not: String,
    /// Where it stands by the channel statements: `candidate`, `approved`, `retired`; empty where none speaks of it.
    #[serde(default)]
    pub stage: String,
}

impl ImageView {
    /// An image as its header tells (`None`: unreadable), and why it is not trusted, if it is not.
    #[must_use]
    pub fn new(image: ImageId, header: Option<&Header>, why_not: Option<String>) -> Self {
        let identity = header.map(|header| &header.identity);
        Self {
            image,
            name: identity.map(|identity| identity.name.clone()).unwrap_or_default(),
            version: identity.map(|identity| identity.version.clone()).unwrap_or_default(),
            epoch: identity.map_or(0, |identity| identity.epoch),
            disk_bytes: header.map_or(0, |header| header.disk.size),
            trusted: why_not.is_none(),
            why_not: why_not.unwrap_or_default(),
            stage: String::new(),
        }
    }
}

/// The public half of the appliance's evidence key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EvidenceKey {
    /// Ed25519 public key, lower-case hex.
    pub ed25519: String,
    /// The same as tools for transparency logs want it ([`crate::evidence::Origin::verifier_key`]).
    #[serde(default)]
    pub verifier_key: String,
}
