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

use std::sync::{Arc, atomic::AtomicU64};

use images::ImageId;
use recovery_protocol::{
    EndpointId, JobId, MacAddr, Problem,
    net::{BootView, NetView},
    operator::{
        Approval, CaptureRequest, ChangeEndpoint, Decision, EndpointView, ImageView, ImportPlan, JobView,
        NewEndpoint, PairRequest, PlaneView, RecoverRequest, RemovedEndpoint, Resolution, StatusView,
    },
    people::{ChangePerson, NewPerson, PersonView},
    policy::{PolicyTried, PolicyTry},
    selector::Selector,
    stop::StopAnswer,
};
use tokio::sync::watch;

use crate::{
    boot::BootDesk,
    config::Config,
    db::{self, trigger::Unsettled},
    depot::DepotState,
    evidence,
    exhibits::Exhibits,
    followed::Followed,
    golden::Golden,
    jobs::journal::Journal,
    keys::Keys,
    live::Live,
    notify::Channels,
    refusals::unknown_endpoint,
};

mod approval;
mod break_glass;
pub mod certificate;
pub mod change;
mod duties;
mod elsewhere;
mod endpoints;
mod enrolment;
mod evidence_log;
pub mod evidence_look;
mod exhibits;
mod figures;
pub mod home;
mod import;
pub mod inbox;
pub mod jobs;
pub mod kiosks;
pub mod list;
mod machine;
mod net;
mod notices;
mod orders;
mod people;
mod plans;
pub mod plant;
mod policy;
mod promotion;
mod rehearsal;
mod schedules;
mod scope;
pub mod site;
mod sources;
mod stop;
pub mod switches;
#[cfg(test)]
mod tests;
mod triggers;
mod views;

pub use break_glass::tell_overdue;
pub use endpoints::discovered;
pub use figures::Figures;
pub use machine::{asks_for_live_values, photo_too_large};
pub use orders::WEBHOOK;
pub use plans::mind_plans;
pub use policy::forget_tried;
pub use rehearsal::{DrillPermit, Leftovers};
pub use triggers::{Report, Trigger, TriggerClass, TriggerDecision, TriggerOutcome};
pub use views::{NOT_TOUCHED, SWITCH_BY_HAND};

/// The appliance's functions. Cheap to clone; all clones are one service.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

/// What the service stands on.
pub struct Inner {
    /// All state.
    pub journal: Arc<Journal>,
    /// The golden images.
    pub golden: Golden,
    /// The appliance's keys.
    pub keys: Arc<Keys>,
    /// Signs of life and progress.
    pub live: Arc<Live>,
    /// What the boot layer saw.
    pub desk: Arc<BootDesk>,
    /// Bytes of chunk frames sent.
    pub frame_bytes: Arc<AtomicU64>,
    /// How it stands with the depot.
    pub depot: DepotState,
    /// Where what recoveries keep of old systems lies.
    pub exhibits: Exhibits,
    /// Who is told what happens.
    pub channels: Channels,
    /// What follows a configuration that is put in force.
    pub followed: Followed,
    /// When the appliance started, milliseconds since 1970.
    pub started_unix_ms: u64,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// As it stands in evidence: `operator:<name>`, `trigger:<source>`, `agent`, `appliance`.
    pub name: String,
    /// About whom they may order something; `None`: about every endpoint.
    pub scope: Option<Selector>,
}

impl Actor {
    /// A person, or a script in a person's name.
    #[must_use]
    pub fn operator(name: &str) -> Self {
        Self { name: format!("operator:{name}"), scope: None }
    }

    /// A webhook source.
    #[must_use]
    pub fn trigger(source: &str) -> Self {
        Self { name: format!("trigger:{source}"), scope: None }
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

impl Service {
    /// The service over its parts.
    #[must_use]
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// What it stands on.
    #[cfg(test)]
    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// `GET /api/v1/status`.
    pub async fn status(&self) -> Result<StatusView, Problem> {
        let mut conn = self.0.journal.db.read().await?;
        let endpoints = db::endpoint::count_by_state(&mut conn).await?;
        let jobs = db::job::count_by_state(&mut conn).await?;
        let jobs_in = |state: &str| jobs.iter().filter(|(name, _)| name == state).map(|(_, n)| n).sum();
        // Before the literal: a lock in it lives to its end, and is not held across an await.
        let sinks = self.0.channels.sinks(&mut conn).await?;
        let channels = self.0.channels.of_rules(&mut conn).await?;
        let conflicts = db::endpoint::in_conflict(&mut conn).await?;
        let reviews = break_glass::open(&mut conn, self.0.journal.now()).await?;
        Ok(StatusView {
            site: self.0.journal.config.site.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            up_seconds: self.0.journal.now().saturating_sub(self.0.started_unix_ms) / 1000,
            endpoints: endpoints.iter().map(|(_, n)| n).sum(),
            jobs_working: jobs_in("working"),
            jobs_held: jobs_in("held"),
            stop: stop::show(&mut conn, self.0.journal.now()).await?,
            conflicts,
            refusals: self.0.desk.refused().views(),
            foreign: self.0.desk.foreign().into_iter().filter(|server| server.alarm).collect(),
            addresses_in_use: self.0.desk.addresses_in_use(),
            depot: self.0.depot.view(),
            reviews,
            channels,
            sinks,
        })
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.journal.config
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.journal.now()
    }

    /// Somebody asked for what they may not; counted by code.
    pub fn refused(&self, code: &str) {
        self.0.live.count("refusal", code);
    }

    /// Everybody who may in, or might.
    pub async fn people(&self) -> Result<Vec<PersonView>, Problem> {
        people::list(&self.0).await
    }

    /// The same, as the gate wants them.
    pub async fn people_rows(&self) -> Result<Vec<db::person::Person>, Problem> {
        people::rows(&self.0).await
    }

    /// Add a person; the answer holds their token, once. 409 `person-exists`, 422 `bad-name`, `bad-validity`.
    pub async fn add_person(&self, actor: &Actor, new: NewPerson) -> Result<PersonView, Problem> {
        people::add(&self.0, actor, new).await
    }

    /// Change a person, or give them a new token. 404 `unknown-person`, 422 `nothing-to-change`.
    pub async fn change_person(
        &self,
        actor: &Actor,
        name: &str,
        order: ChangePerson,
    ) -> Result<PersonView, Problem> {
        people::change(&self.0, actor, name, order).await
    }

    /// Set a person's password, as it is to be kept. 404 `unknown-person`, 409 `no-password`.
    pub async fn set_password(
        &self,
        actor: &Actor,
        name: &str,
        phc: Option<String>,
    ) -> Result<PersonView, Problem> {
        people::set_password(&self.0, actor, name, phc).await
    }

    /// Whether the first admin is still to be made: 409 `admin-exists`.
    pub async fn no_admin_yet(&self) -> Result<(), Problem> {
        people::no_admin_yet(&mut *self.0.journal.db.read().await?).await
    }

    /// Whether a new person may have this name. 409 `person-exists`, 422 `bad-name`.
    pub async fn free_name(&self, name: &str) -> Result<(), Problem> {
        people::free_name(&self.0, name).await
    }

    /// Make the first admin. 409 `admin-exists`, `person-exists`, 422 `bad-name`.
    pub async fn first_admin(&self, name: &str, phc: String) -> Result<(), Problem> {
        people::first_admin(&self.0, name, phc).await
    }

    /// Note that somebody is here.
    pub async fn person_used(&self, name: &str) -> Result<(), Problem> {
        people::used(&self.0, name).await
    }

    /// `GET /api/v1/net`: the boot network in one look.
    pub async fn net(&self) -> Result<NetView, Problem> {
        net::all(&self.0).await
    }

    /// The boot network, after every interface was asked who else serves boots on it; takes seconds. 409 `no-ear`.
    pub async fn probe(&self) -> Result<NetView, Problem> {
        net::probe(&self.0).await
    }

    /// One endpoint's boot with its hops; unknown: 404 `unknown-endpoint`.
    pub async fn boot(&self, endpoint: &EndpointId) -> Result<BootView, Problem> {
        net::one(&self.0, endpoint).await
    }

    /// The recovery system's agent says hello from one of these addresses: the boot came to its end.
    pub fn agent_spoke(&self, macs: &[MacAddr]) {
        self.0.desk.agent_spoke(macs);
    }

    /// Every endpoint, or those that are meant, by name.
    pub async fn endpoints(&self, selector: Option<&Selector>) -> Result<Vec<EndpointView>, Problem> {
        endpoints::list(&self.0, selector).await
    }

    /// One endpoint; unknown: 404 `unknown-endpoint`.
    pub async fn endpoint(&self, endpoint: &EndpointId) -> Result<EndpointView, Problem> {
        endpoints::one(&self.0, endpoint).await
    }

    /// Put an endpoint on record, or approve a discovered one. The same facts again change nothing; another disk's serial number,
    /// chain or settings replace those on record; other facts under the same name, or a MAC address that another endpoint has: 409
    /// `endpoint-conflict`.
    pub async fn add_endpoint(&self, actor: &Actor, new: NewEndpoint) -> Result<EndpointView, Problem> {
        endpoints::add(&self.0, actor, new).await
    }

    /// Change what is on record of an endpoint. `revision`: the one that the asker saw; an older one: 412 `revision-stale`.
    /// Addresses, blueprint or group of one with an open job: 409 `job-open`.
    pub async fn change_endpoint(
        &self,
        actor: &Actor,
        endpoint: &EndpointId,
        order: ChangeEndpoint,
        revision: Option<u64>,
    ) -> Result<EndpointView, Problem> {
        change::set(&self.0, actor, endpoint, order, revision).await
    }

    /// Take an endpoint off record: its certificates are revoked, its history stays, its name may be given to another. An open job:
    /// 409 `job-open`.
    pub async fn remove_endpoint(
        &self,
        actor: &Actor,
        endpoint: &EndpointId,
        order: Decision,
        revision: Option<u64>,
    ) -> Result<RemovedEndpoint, Problem> {
        change::remove(&self.0, actor, endpoint, order, revision).await
    }

    /// Say who an endpoint is of which another came with its address; none did: 409 `no-conflict`.
    pub async fn resolve_conflict(
        &self,
        actor: &Actor,
        endpoint: &EndpointId,
        order: Resolution,
    ) -> Result<EndpointView, Problem> {
        change::resolve(&self.0, actor, endpoint, order).await
    }

    /// Everything on record as CSV.
    pub async fn export_sheet(&self) -> Result<String, Problem> {
        import::export(&self.0).await
    }

    /// Plan a sheet of endpoints (CSV), and apply it whole where `apply` is the plan's hash: 422 `import-wrong` with any wrong line,
    /// 409 `plan-stale` when it is another plan now.
    pub async fn import_sheet(
        &self,
        actor: &Actor,
        bytes: &[u8],
        apply: Option<&str>,
    ) -> Result<ImportPlan, Problem> {
        import::take(&self.0, actor, bytes, apply).await
    }

    /// Order a recovery. An open job is returned, not doubled.
    pub async fn recover(
        &self,
        actor: &Actor,
        endpoint: &EndpointId,
        request: RecoverRequest,
    ) -> Result<JobView, Problem> {
        orders::recover(&self.0, actor, endpoint, request).await
    }

    /// Order a capture: the endpoint's disk becomes an image, not signed yet. An open job: 409 `job-open`.
    pub async fn capture(
        &self,
        actor: &Actor,
        endpoint: &EndpointId,
        request: CaptureRequest,
    ) -> Result<JobView, Problem> {
        orders::capture(&self.0, actor, endpoint, request).await
    }

    /// Confirm the pairing code on the endpoint's screen; wrong: 409 `pairing-code-wrong`.
    pub async fn pair(
        &self,
        actor: &Actor,
        endpoint: &EndpointId,
        request: PairRequest,
    ) -> Result<EndpointView, Problem> {
        endpoints::pair(&self.0, actor, endpoint, &request.code).await
    }

    /// Jobs, newest first, of one endpoint or of all.
    #[cfg(test)]
    pub async fn jobs(&self, endpoint: Option<&EndpointId>) -> Result<Vec<JobView>, Problem> {
        let limit = list::PAGE_MOST;
        let ask = jobs::JobsAsk { endpoint: endpoint.cloned(), limit, ..Default::default() };
        Ok(self.jobs_page(&ask).await?.jobs)
    }

    /// One job; unknown: 404 `unknown-job`.
    pub async fn job(&self, job: JobId) -> Result<JobView, Problem> {
        orders::one(&self.0, job).await
    }

    /// Approve a held job (a new recovery, a new identity, a new firmware baseline: what its reason asks for).
    /// Of something else than what it asks for now: 409 `approval-stale`; where another person must: 409 `second-person-needed`.
    pub async fn approve(&self, actor: &Actor, job: JobId, approval: Approval) -> Result<JobView, Problem> {
        approval::give(&self.0, actor, job, approval).await
    }

    /// Let a held job go on.
    pub async fn resume(&self, actor: &Actor, job: JobId, decision: Decision) -> Result<JobView, Problem> {
        orders::decide(&self.0, actor, job, "order.resume", decision).await
    }

    /// Stop a job. Past the point of no return a working job is held instead: cancel again to give it up.
    pub async fn cancel(&self, actor: &Actor, job: JobId, decision: Decision) -> Result<JobView, Problem> {
        orders::decide(&self.0, actor, job, "order.cancel", decision).await
    }

    /// The site's name.
    #[must_use]
    pub fn site(&self) -> &str {
        self.0.journal.config.site.as_str()
    }

    /// What another configuration would have made of what was reported before. Nothing is changed. 422 `config-wrong`.
    pub async fn try_policy(&self, wanted: PolicyTry) -> Result<PolicyTried, Problem> {
        policy::tried(&self.0, wanted).await
    }

    /// How it stands with STOP for the whole site.
    pub async fn stop(&self) -> Result<StopAnswer, Problem> {
        let mut conn = self.0.journal.db.read().await?;
        Ok(StopAnswer { stop: stop::show(&mut conn, self.0.journal.now()).await? })
    }

    /// Press STOP: every job that could still switch or write is held, and nothing is begun, approved or resumed until it is released.
    pub async fn press_stop(&self, actor: &Actor, order: Decision) -> Result<StopAnswer, Problem> {
        stop::press(&self.0, actor, order).await
    }

    /// Give one of two releases of STOP. 409 `not-stopped`, `second-person-needed`; 422 `reason-missing`.
    pub async fn release_stop(&self, actor: &Actor, order: Decision) -> Result<StopAnswer, Problem> {
        stop::release(&self.0, actor, order).await
    }

    /// Golden images in the store.
    pub async fn images(&self) -> Result<Vec<ImageView>, Problem> {
        Ok(self.0.golden.list().await?)
    }

    /// What the embedded control plane holds of the endpoints that changed after this time (milliseconds since 1970).
    pub async fn plane(&self, since: u64) -> Result<Vec<PlaneView>, Problem> {
        views::plane(&self.0, since).await
    }

    /// A number that grows at every change that a person could see: wait for it, then read again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.journal.changes()
    }

    /// Take a trigger: store, dedupe by (source, delivery key), decide by the group's mode and the guard rails.
    pub async fn trigger(&self, trigger: Trigger) -> Result<TriggerOutcome, Problem> {
        triggers::take(&self.0, trigger).await
    }

    /// Take a message of a source: each thing in it is looked up, stored and decided by itself, and all of it is on disk when this
    /// returns. What is refused says why: 404 `unknown-endpoint`, 409 `endpoint-ambiguous`, 403 `endpoint-out-of-scope`, 429
    /// `too-many-triggers`.
    pub async fn report(&self, report: Report<'_>) -> Result<Vec<Result<TriggerOutcome, Problem>>, Problem> {
        sources::report(&self.0, report).await
    }

    /// Triggers that were stored and whose sources are still to be asked back, oldest first.
    pub async fn unsettled_triggers(&self, most: u32) -> Result<Vec<Unsettled>, Problem> {
        Ok(db::trigger::unsettled(&mut *self.0.journal.db.read().await?, most).await?)
    }

    /// The source says that this endpoint, as it calls it, passes: what it reports next is a new incident. `false`: none was open.
    pub async fn incident_over(&self, source: &str, named: &str) -> Result<bool, Problem> {
        let mut tx = self.0.journal.begin().await?;
        let over = db::trigger::incident_over(tx.conn(), source, named).await?;
        tx.commit().await?;
        Ok(over)
    }

    /// Endpoints, as this source calls them, whose incidents are open.
    pub async fn incidents(&self, source: &str) -> Result<Vec<String>, Problem> {
        Ok(db::trigger::incidents(&mut *self.0.journal.db.read().await?, source).await?)
    }

    /// The source of this delivery was asked back, and what it said is in evidence.
    pub async fn settle_trigger(&self, source: &str, delivery: &str) -> Result<(), Problem> {
        let mut tx = self.0.journal.begin().await?;
        let at = tx.at;
        db::trigger::settle(tx.conn(), source, delivery, at).await?;
        Ok(tx.commit().await?)
    }

    /// Whether an endpoint is in the scope of who asks. 403 `out-of-scope`, 404 `unknown-endpoint`.
    pub async fn may_order(&self, actor: &Actor, endpoint: &EndpointId) -> Result<(), Problem> {
        let found = db::endpoint::get(&mut *self.0.journal.db.read().await?, endpoint).await?;
        scope::covers(&self.0, actor, &found.ok_or_else(|| unknown_endpoint(endpoint))?)
    }

    /// Redeem a one-time EST secret for a CSR's public key (SPKI, DER). The same key again is granted again; another
    /// key, a spent, foreign or expired secret: refused, named, in evidence.
    pub async fn redeem_est(
        &self,
        user: &str,
        password: &str,
        csr_spki_der: &[u8],
    ) -> Result<EstGrant, Problem> {
        enrolment::redeem(&self.0, user, password, csr_spki_der).await
    }

    /// Record a certificate issued under a grant. Serial in lower-case hex.
    pub async fn certificate_issued(&self, job: JobId, serial: &str, der: &[u8]) -> Result<(), Problem> {
        enrolment::issued(&self.0, job, serial, der).await
    }

    /// Note that an endpoint's certificate waits for something, or was refused, and why.
    pub async fn enrolment_waits(
        &self,
        endpoint: &EndpointId,
        job: JobId,
        code: &str,
        why: &str,
    ) -> Result<(), Problem> {
        enrolment::waits(&self.0, endpoint, job, code, why).await
    }

    /// This very certificate (DER), if it is on record.
    pub async fn certificate(&self, der: &[u8]) -> Result<Option<IssuedCertificate>, Problem> {
        enrolment::certificate(&self.0, der).await
    }

    /// Certificates that were revoked, for the CRL.
    pub async fn revoked_certificates(&self) -> Result<Vec<IssuedCertificate>, Problem> {
        enrolment::revoked(&self.0).await
    }

    /// Append a fact to the evidence log.
    pub async fn note(
        &self,
        kind: &str,
        actor: &Actor,
        endpoint: Option<&EndpointId>,
        job: Option<JobId>,
        facts: serde_json::Value,
    ) -> Result<(), Problem> {
        let mut fact = evidence::Fact::new(kind, &actor.name, facts).of(job);
        fact.endpoint = endpoint.cloned();
        if let Some(job) = job
            && let Some(row) = db::job::get(&mut *self.0.journal.db.read().await?, job).await?
        {
            fact.mode = row.job.mode;
        }
        Ok(self.0.journal.note(fact).await?)
    }

    /// True when the database answers and the evidence log can be written.
    pub async fn ready(&self) -> Result<(), Problem> {
        // A transaction takes the writer and gives it back: it can be written.
        drop(self.0.journal.begin().await?);
        db::log::last(&mut *self.0.journal.db.read().await?).await?;
        Ok(())
    }

    /// Numbers for `/metrics`.
    pub async fn figures(&self) -> Result<Figures, Problem> {
        figures::now(&self.0).await
    }
}
