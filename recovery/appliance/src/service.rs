//! The service: everything a person, a script or a webhook can ask of the appliance, in one place.
//!
//! REST, console, webhooks, EST and drills call these functions and nothing below them; whatever the console can do the
//! command line can do too. Each refusal is a [`Problem`] that says what to do now. A caller brings an [`Actor`]: its
//! name goes into evidence with every order.
//!
//! ```text
//! REST ─┐                        ┌─► jobs (machine, journal)
//! console ├─► Service ─► guard ──┤
//! hooks ─┘        │              └─► evidence
//!                 └─ changes(): a number that grows; read again when it did
//! ```
//!
//! It must never: change a job's state by itself (it hands events to the job machine), speak SQL, or spawn a task.

use std::sync::Arc;

use images::ImageId;
use recovery_protocol::{
    EndpointId, JobId, Problem,
    operator::{
        Decision, EndpointView, EvidenceKey, ImageView, JobView, NewEndpoint, PairRequest, RecoverRequest, StatusView,
    },
};
use tokio::sync::watch;

/// The appliance's functions. Cheap to clone; all clones are one service.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

/// What the service stands on.
pub struct Inner {
    changes: watch::Sender<u64>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// As it stands in evidence: `operator:<name>`, `trigger:<source>`, `agent`, `appliance`.
    pub name: String,
}

impl Actor {
    /// A person, or a script in a person's name.
    #[must_use]
    pub fn operator(name: &str) -> Self {
        Self { name: format!("operator:{name}") }
    }

    /// A webhook source.
    #[must_use]
    pub fn trigger(source: &str) -> Self {
        Self { name: format!("trigger:{source}") }
    }

    /// The appliance itself.
    #[must_use]
    pub fn appliance() -> Self {
        Self { name: "appliance".to_owned() }
    }
}

/// What kind of failure a trigger reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TriggerClass {
    /// An integrity check failed: the only class that may start an automatic recovery, and only when confirmed.
    Integrity,
    /// The endpoint does not answer: unreachable is not compromised, never a wipe.
    Unreachable,
    /// Some other alert: recorded, shown.
    Alert,
}

/// A hint from outside (or from our own re-attestation) that an endpoint needs attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The source's name from the configuration; `attestation` for our own.
    pub source: String,
    /// Unique for one delivery: the same key from the same source is answered the same and done once.
    pub delivery_key: String,
    /// The endpoint it names.
    pub endpoint: EndpointId,
    /// What kind of failure.
    pub class: TriggerClass,
    /// Why, for people.
    pub reason: String,
    /// The message as received; kept, hashed into evidence.
    pub raw: Vec<u8>,
    /// The source confirmed it when asked, or it is our own proof.
    pub confirmed: bool,
}

/// What became of a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerOutcome {
    /// False when this delivery was seen before.
    pub first: bool,
    /// The decision.
    pub decision: TriggerDecision,
}

/// The decision on a trigger; each is in evidence with the rule that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriggerDecision {
    /// Written down, nothing done; the rule that said so.
    Observed {
        /// Which rule.
        rule: String,
    },
    /// The endpoint is marked suspect and its identity is no longer trusted; no recovery starts.
    Quarantined,
    /// A job waits for a person's approval.
    AwaitsApproval(JobId),
    /// A job works.
    Started(JobId),
    /// A job was open already; the trigger is attached to it.
    Joined(JobId),
}

/// Permission to recover one endpoint as a rehearsal. It exists only for endpoints whose record says drill-safe:
/// a drill cannot name another.
#[derive(Debug, PartialEq, Eq)]
pub struct DrillPermit {
    endpoint: EndpointId,
}

impl DrillPermit {
    /// The endpoint it is for.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointId {
        &self.endpoint
    }
}

/// What a one-time EST secret entitles to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EstGrant {
    /// The endpoint: its name is the certificate's subject.
    pub endpoint: EndpointId,
    /// The job it belongs to.
    pub job: JobId,
    /// The golden image whose quote was accepted.
    pub image: ImageId,
    /// The certificate (DER) that this key already got under this grant: hand out the same again, issue no second.
    pub issued: Option<Vec<u8>>,
}

/// A certificate that this appliance issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// Serial number, lower-case hex.
    pub serial: String,
    /// The endpoint it names.
    pub endpoint: EndpointId,
    /// The job it was issued in.
    pub job: JobId,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// When it was issued, milliseconds since 1970.
    pub issued_unix_ms: u64,
    /// When it was revoked, milliseconds since 1970.
    pub revoked_unix_ms: Option<u64>,
}

/// Numbers for `/metrics`: gauges read from the database, counters since start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Endpoints by state, as in the JSON form.
    pub endpoints: Vec<(String, u64)>,
    /// Open jobs by stage, as in the JSON form.
    pub jobs_open: Vec<(String, u64)>,
    /// Jobs over by result: `recovered`, `cancelled`, `failed`.
    pub jobs_over: Vec<(String, u64)>,
    /// Seconds of each stage passed since start: (stage, seconds).
    pub boot_requests: Vec<(String, u64)>,
    /// Attestations by verdict.
    pub attestations: Vec<(String, u64)>,
    /// Refusals by problem code.
    pub refusals: Vec<(String, u64)>,
    /// Triggers by decision.
    pub triggers: Vec<(String, u64)>,
    /// Bytes of chunk frames sent.
    pub frame_bytes: u64,
    /// Entries in the evidence log.
    pub evidence_entries: u64,
}

fn soon<T>() -> Result<T, Problem> {
    Err(Problem::new(503, "starting", "Not ready", "this part of the appliance is still starting", "try again in a moment"))
}

impl Service {
    /// `GET /api/v1/status`.
    pub async fn status(&self) -> Result<StatusView, Problem> {
        soon()
    }

    /// Every endpoint, by name.
    pub async fn endpoints(&self) -> Result<Vec<EndpointView>, Problem> {
        soon()
    }

    /// One endpoint; unknown: 404 `unknown-endpoint`.
    pub async fn endpoint(&self, _endpoint: &EndpointId) -> Result<EndpointView, Problem> {
        soon()
    }

    /// Put an endpoint on record, or approve a discovered one. The same facts again change nothing; other facts under
    /// the same name, or a MAC address that another endpoint has: 409 `endpoint-conflict`.
    pub async fn add_endpoint(&self, _actor: &Actor, _new: NewEndpoint) -> Result<EndpointView, Problem> {
        soon()
    }

    /// Order a recovery. An open job is returned, not doubled.
    pub async fn recover(
        &self,
        _actor: &Actor,
        _endpoint: &EndpointId,
        _request: RecoverRequest,
    ) -> Result<JobView, Problem> {
        soon()
    }

    /// Confirm the pairing code on the endpoint's screen; wrong: 409 `pairing-code-wrong`.
    pub async fn pair(
        &self,
        _actor: &Actor,
        _endpoint: &EndpointId,
        _request: PairRequest,
    ) -> Result<EndpointView, Problem> {
        soon()
    }

    /// Jobs, newest first, of one endpoint or of all.
    pub async fn jobs(&self, _endpoint: Option<&EndpointId>) -> Result<Vec<JobView>, Problem> {
        soon()
    }

    /// One job; unknown: 404 `unknown-job`.
    pub async fn job(&self, _job: JobId) -> Result<JobView, Problem> {
        soon()
    }

    /// Approve a held job (a new recovery, a new identity, a new firmware baseline: what its reason asks for).
    pub async fn approve(&self, _actor: &Actor, _job: JobId, _decision: Decision) -> Result<JobView, Problem> {
        soon()
    }

    /// Let a held job go on.
    pub async fn resume(&self, _actor: &Actor, _job: JobId, _decision: Decision) -> Result<JobView, Problem> {
        soon()
    }

    /// Stop a job. Past the point of no return a working job is held instead: cancel again to give it up.
    pub async fn cancel(&self, _actor: &Actor, _job: JobId, _decision: Decision) -> Result<JobView, Problem> {
        soon()
    }

    /// Golden images in the store.
    pub async fn images(&self) -> Result<Vec<ImageView>, Problem> {
        soon()
    }

    /// Evidence as JSON lines ([`recovery_protocol::evidence::Line`]), oldest first: the whole log with its
    /// checkpoints, or the entries of one job (which alone do not chain).
    pub async fn evidence_lines(&self, _job: Option<JobId>) -> Result<Vec<String>, Problem> {
        soon()
    }

    /// The public half of the evidence key.
    pub fn evidence_key(&self) -> EvidenceKey {
        EvidenceKey { ed25519: String::new() }
    }

    /// A number that grows at every change that a person could see: wait for it, then read again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Take a trigger: store, dedupe by (source, delivery key), decide by the group's mode and the guard rails.
    pub async fn trigger(&self, _trigger: Trigger) -> Result<TriggerOutcome, Problem> {
        soon()
    }

    /// A permit to rehearse on this endpoint; not drill-safe: 409 `not-drill-safe`.
    pub async fn drill_permit(&self, _endpoint: &EndpointId) -> Result<DrillPermit, Problem> {
        soon()
    }

    /// Start a rehearsal recovery; `drill` is the drill's id.
    pub async fn propose_drill(&self, _actor: &Actor, _permit: DrillPermit, _drill: &str) -> Result<JobView, Problem> {
        soon()
    }

    /// Redeem a one-time EST secret for a CSR's public key (SPKI, DER). The same key again is granted again; another
    /// key, a spent, foreign or expired secret: refused, named, in evidence.
    pub async fn redeem_est(&self, _user: &str, _password: &str, _csr_spki_der: &[u8]) -> Result<EstGrant, Problem> {
        soon()
    }

    /// Record a certificate issued under a grant. Serial in lower-case hex.
    pub async fn certificate_issued(&self, _job: JobId, _serial: &str, _der: &[u8]) -> Result<(), Problem> {
        soon()
    }

    /// A certificate by its serial number (lower-case hex).
    pub async fn certificate(&self, _serial: &str) -> Result<Option<IssuedCertificate>, Problem> {
        soon()
    }

    /// Certificates that were revoked, for the CRL.
    pub async fn revoked_certificates(&self) -> Result<Vec<IssuedCertificate>, Problem> {
        soon()
    }

    /// Append a fact to the evidence log.
    pub async fn note(
        &self,
        _kind: &str,
        _actor: &Actor,
        _endpoint: Option<&EndpointId>,
        _job: Option<JobId>,
        _facts: serde_json::Value,
    ) -> Result<(), Problem> {
        soon()
    }

    /// True when the database answers and the evidence log can be written.
    pub async fn ready(&self) -> Result<(), Problem> {
        soon()
    }

    /// Numbers for `/metrics`.
    pub async fn figures(&self) -> Result<Figures, Problem> {
        soon()
    }
}
