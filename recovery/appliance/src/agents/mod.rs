//! The agent API (`/agent/v1/*`) on the endpoints' TLS port: who an endpoint is, what it booted, what it shall do.
//!
//! ```text
//! hello ─► which endpoint? ticket? ─► challenge ─► proof ─► TPM, quote, identity ─► accepted: the session speaks for it
//!   └─ unknown: discovered, shown, gets nothing           └─ not: refused by name, in evidence, the job held
//! next ─► what the job's state asks for        report ─► events of the job
//! ```
//!
//! A hello is a claim: it moves a job no further than Proving, pins nothing and changes no trust. Sessions lie in the
//! database (by the hash of their name), so an agent goes on after a restart of the appliance. Every refusal is a named
//! [`Problem`], counted, and in evidence at most once a minute for one cause.
//!
//! It must never: give an order or a secret to a session that was not accepted, or change a job but by an event.

mod capture;
mod copied;
pub mod exhibit;
mod expect;
mod facts;
mod files;
mod golden_system;
mod hello;
pub mod identity;
mod next;
mod proof;
mod questions;
mod rehearsed;
mod report;
mod shape;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, State, rejection::JsonRejection},
    http::{HeaderMap, header},
    routing::post,
};
use recovery_protocol::{
    EndpointId, JobId, Problem,
    agent::{Assignment, Hello, HelloReply, Next, Proof, ProofReply, Report, ReportReply},
};
use serde::Deserialize as _;
use serde_json::json;

pub use expect::Expectations;
pub use files::{Files, Medium};
pub use shape::{Governor, Serving, Subnet};

use crate::{
    api::{Refusal, gate},
    attest::MakerRoots,
    db::{self, DbError, session::Session},
    evidence::Fact,
    golden::Golden,
    jobs::journal::{Journal, JournalTx},
    keys::{self, Keys},
    live::Live,
    service::Service,
    tls::Peer,
};

/// Longest message: an event log of a few hundred KiB, in base64.
const BODY_LEN_MAX: usize = 2 << 20;
/// The same refusal of the same endpoint is written down once in this time.
const REFUSAL_EVERY_MS: u64 = 60_000;

/// The agent API. Cheap to clone.
#[derive(Clone)]
pub struct Agents(Arc<Parts>);

/// What the agent API stands on.
pub struct Parts {
    /// All state.
    pub journal: Arc<Journal>,
    /// The golden images.
    pub golden: Golden,
    /// Signs of life and progress.
    pub live: Arc<Live>,
    /// The appliance's keys: its pin goes onto the ESP.
    pub keys: Arc<Keys>,
    /// For triggers of our own.
    pub service: Service,
    /// Whose EK certificates count.
    pub maker_roots: MakerRoots,
    /// What booting the recovery system measures.
    pub expectations: Expectations,
    /// Port of the plain HTTP listener: manifests and frames.
    pub http_port: u16,
}

impl Agents {
    /// The agent API over its parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Its routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/agent/v1/hello", post(take_hello))
            .route("/agent/v1/proof", post(take_proof))
            .route("/agent/v1/next", post(take_next))
            .route("/agent/v1/report", post(take_report))
            .merge(capture::routes())
            .merge(exhibit::routes())
            .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
            .with_state(self)
    }

    /// The session of this name.
    async fn session(&self, name: &str) -> Result<Session, Problem> {
        let found = db::session::get(&mut *self.0.journal.db.read().await?, &keys::secret_hash(name)).await?;
        found.ok_or_else(session_unknown)
    }

    /// Write a refusal down in a transaction of its own and give it back.
    async fn refuse(&self, problem: Problem, about: Option<&EndpointId>, job: Option<JobId>) -> Problem {
        match self.0.journal.begin().await {
            Ok(tx) => self.refuse_in(tx, problem, about, job).await,
            Err(error) => error.into(),
        }
    }

    /// Write a refusal down in this transaction, commit it, and give the refusal back.
    async fn refuse_in(
        &self,
        mut tx: JournalTx<'_>,
        problem: Problem,
        about: Option<&EndpointId>,
        job: Option<JobId>,
    ) -> Problem {
        self.0.live.count("refusal", &problem.code);
        tracing::warn!(endpoint = ?about, ?job, code = problem.code, detail = problem.detail, "agent refused");
        match self.note_refusal(&mut tx, &problem, about, job).await {
            Ok(()) => match tx.commit().await {
                Ok(()) => problem,
                Err(error) => error.into(),
            },
            Err(error) => error.into(),
        }
    }

    async fn note_refusal(
        &self,
        tx: &mut JournalTx<'_>,
        problem: &Problem,
        about: Option<&EndpointId>,
        job: Option<JobId>,
    ) -> Result<(), DbError> {
        if let Some(id) = about
            && let Some(mut endpoint) = db::endpoint::get(tx.conn(), id).await?
        {
            endpoint.refusal = Some(format!("{} ({})", problem.detail, problem.code));
            db::endpoint::put(tx.conn(), &endpoint).await?;
        }
        let key = format!("{}/{}", about.map_or("unknown", EndpointId::as_str), problem.code);
        if !self.0.live.first_in(&key, tx.at, REFUSAL_EVERY_MS) {
            return Ok(());
        }
        let facts = json!({ "code": problem.code, "title": problem.title, "detail": problem.detail });
        let mut fact = Fact::new("refusal.agent", "agent", facts).of(job);
        fact.endpoint = about.cloned();
        tx.note(fact).await
    }
}

fn session_unknown() -> Problem {
    let detail = "this appliance does not know the session, or it is over";
    Problem::new(401, "session-unknown", "The session is over", detail, "say hello again")
}

/// Longest words about a message that cannot be read: they may repeat it.
const UNREADABLE_MOST: usize = 200;

async fn message<T>(agents: &Agents, body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    match body {
        Ok(Json(message)) => Ok(message),
        Err(rejection) => Err(unreadable(agents, &rejection.body_text()).await),
    }
}

async fn unreadable(agents: &Agents, why: &str) -> Problem {
    let detail: String = why.chars().filter(|c| !c.is_control()).take(UNREADABLE_MOST).collect();
    let remedy = "use the agent that this appliance serves";
    let problem = Problem::new(400, "message-unreadable", "The message cannot be read", detail, remedy);
    agents.refuse(problem, None, None).await
}

/// The address by which the agent reached us: what it can reach again.
fn reached_at(headers: &HeaderMap) -> Result<SocketAddr, Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    host.parse().map_err(|_| {
        let detail = format!("the Host header is `{host}`");
        let remedy = "connect to the appliance by its address and port, as in gs.appliance";
        Problem::new(400, "host-unreadable", "The appliance must be reached by address", detail, remedy)
    })
}

async fn take_hello(
    State(agents): State<Agents>,
    body: Result<Json<serde_json::Value>, JsonRejection>,
) -> Result<Json<HelloReply>, Refusal> {
    // An agent of another version may say hello in another form; its version is where it always was.
    let said = message(&agents, body).await?;
    hello::check_version(&agents, &said).await?;
    let hello = Hello::deserialize(said);
    let hello = match hello {
        Ok(hello) => hello,
        Err(error) => return Err(unreadable(&agents, &error.to_string()).await.into()),
    };
    Ok(Json(hello::take(&agents, hello).await?))
}

async fn take_proof(
    State(agents): State<Agents>,
    body: Result<Json<Proof>, JsonRejection>,
) -> Result<Json<ProofReply>, Refusal> {
    Ok(Json(proof::take(&agents, message(&agents, body).await?).await?))
}

async fn take_next(
    State(agents): State<Agents>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Result<Json<Next>, JsonRejection>,
) -> Result<Json<Assignment>, Refusal> {
    let peer = gate::address(peer.as_deref());
    let reached = next::Reached { at: reached_at(&headers)?, peer };
    Ok(Json(next::take(&agents, reached, message(&agents, body).await?).await?))
}

async fn take_report(
    State(agents): State<Agents>,
    body: Result<Json<Report>, JsonRejection>,
) -> Result<Json<ReportReply>, Refusal> {
    Ok(Json(report::take(&agents, message(&agents, body).await?).await?))
}
