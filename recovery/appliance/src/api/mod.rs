//! Everything on the people's listener: REST under `/api/v1`, the console, webhooks, health and metrics.
//!
//! ```text
//! request ─► deadline ─► count ─┬─ open: /livez /readyz /login /setup /kiosk /assets /hooks ─► handler
//!                               └─ everything else ─► gate (401) ─► handler with an Actor ─► Service
//! ```
//!
//! Denied by default: a route is open only when it stands in [`open_routes`]; every other path, known or not, answers
//! 401 to a stranger. A closed route names the permissions that it needs, or it does not compile. Handlers translate, [`Service`] decides; each refusal is a `Problem`.

mod body;
pub mod describe;
mod drills;
mod events;
mod exhibits;
pub mod gate;
mod health;
mod history;
mod idempotency;
mod images;
pub mod machine;
mod notify;
mod operator;
mod paged;
mod people;
mod plain;
mod refusal;
mod reports;
mod second;
mod wrapped;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use aide::axum::routing::ApiMethodRouter;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use recovery_protocol::{Problem, people::Permission};

pub use self::{
    body::{Body, endpoint_id, job_id, selector},
    images::image_id,
    refusal::Refusal,
};
use self::{gate::Gate, idempotency::Answered};
use crate::{
    console,
    directory::Directory,
    drills::Drills,
    followed::Elsewhere,
    hooks::Hooks,
    metrics::Metrics,
    provider::Provider,
    service::{Actor, Service},
    tls::Door,
};

/// From a request's head to its answer's head. Streams go on after it.
const DEADLINE: Duration = Duration::from_secs(30);
const BODY_LEN_MAX: usize = 256 * 1024;

/// What the people's listener stands on. Cheap to clone.
#[derive(Clone)]
pub struct People {
    /// The appliance's functions.
    pub service: Service,
    /// Who may in.
    pub gate: Arc<Gate>,
    /// Rehearsals.
    pub drills: Drills,
    /// Webhook sources.
    pub hooks: Arc<Hooks>,
    /// Counters of this listener.
    pub metrics: Arc<Metrics>,
    answered: Arc<Answered>,
    door: Option<Arc<Door>>,
    elsewhere: Elsewhere,
}

/// A path and what answers it.
pub type Route = (&'static str, MethodRouter<People>);

/// A path behind the gate, what answers it, and what whoever asks must be allowed to do.
pub type Closed = (&'static str, MethodRouter<People>, Needs);

/// A call of the REST interface: as [`Closed`], and described as OpenAPI has it.
pub type Call = (&'static str, ApiMethodRouter<People>, Needs);

/// The permissions of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// For GET, HEAD and OPTIONS.
    pub read: Permission,
    /// For everything else.
    pub write: Permission,
}

impl Needs {
    /// Who may look may read it; nothing is written there.
    pub const LOOK: Self = Self { read: Permission::Look, write: Permission::Look };

    /// The same for reading and writing.
    #[must_use]
    pub const fn all(wanted: Permission) -> Self {
        Self { read: wanted, write: wanted }
    }

    /// Who may look may read it; writing needs more.
    #[must_use]
    pub const fn to_write(wanted: Permission) -> Self {
        Self { read: Permission::Look, write: wanted }
    }
}

/// What a path pattern behind the gate needs; `None` for one that is not there.
pub fn needs(path: &str) -> Option<Needs> {
    static TABLE: LazyLock<HashMap<&'static str, Needs>> =
        LazyLock::new(|| closed_routes().into_iter().map(|(path, _, needs)| (path, needs)).collect());
    TABLE.get(path).copied()
}

impl People {
    /// All of it.
    #[must_use]
    pub fn new(service: Service, gate: Arc<Gate>, drills: Drills, hooks: Arc<Hooks>) -> Self {
        let elsewhere = service.elsewhere();
        Self {
            service,
            gate,
            drills,
            hooks,
            metrics: Arc::default(),
            answered: Arc::default(),
            door: None,
            elsewhere,
        }
    }

    /// With the TLS configuration that asks for the certificates of people.
    #[must_use]
    pub fn with_door(self, door: Arc<Door>) -> Self {
        let people = Self { door: Some(door), ..self };
        people.ask_for_certificates();
        people
    }

    /// The site's directory, as it is configured now.
    fn directory(&self) -> Option<Arc<Directory>> {
        self.elsewhere.now().directory
    }

    /// The OpenID provider from which people may come, as it is configured now.
    #[must_use]
    pub fn provider(&self) -> Option<Arc<Provider>> {
        self.elsewhere.now().provider
    }

    /// With this directory.
    #[cfg(test)]
    pub fn with_directory(self, directory: Option<Arc<Directory>>) -> Self {
        let elsewhere = Elsewhere::of(crate::followed::Parts { directory, ..self.elsewhere.now() });
        Self { elsewhere, ..self }
    }

    /// With this OpenID provider.
    #[cfg(test)]
    pub fn with_provider(self, provider: Option<Arc<Provider>>) -> Self {
        let elsewhere = Elsewhere::of(crate::followed::Parts { provider, ..self.elsewhere.now() });
        Self { elsewhere, ..self }
    }

    /// Of those who are known now.
    pub fn ask_for_certificates(&self) {
        if let Some(door) = &self.door
            && let Err(error) = door.ask_for(self.gate.client_issuers())
        {
            tracing::error!(%error, "certificates of people are not asked for");
        }
    }

    /// What the gate saw goes into evidence. What cannot be written is in the log of the appliance.
    pub async fn write_down(&self) {
        for note in self.gate.notes() {
            let actor = Actor { name: note.actor, scope: None };
            if let Err(problem) = self.service.note(note.kind, &actor, None, None, note.facts.clone()).await {
                tracing::error!(kind = note.kind, facts = %note.facts, why = problem.detail, "not in evidence");
            }
        }
    }

    /// The router of the people's listener.
    pub fn router(self) -> Router {
        let closed = closed_routes()
            .into_iter()
            .fold(Router::new(), |router, (path, route, _)| router.route(path, route))
            .fallback(unknown_route)
            .method_not_allowed_fallback(unknown_method)
            .layer(middleware::from_fn_with_state(self.clone(), gate::layer));
        let open =
            open_routes().into_iter().fold(Router::new(), |router, (path, route)| router.route(path, route));
        open.merge(closed)
            .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
            .layer(middleware::from_fn(plain::told))
            .layer(middleware::from_fn(deadline))
            .layer(middleware::from_fn(console::speak))
            .layer(middleware::from_fn_with_state(Arc::clone(&self.metrics), crate::metrics::count))
            .with_state(self)
    }
}

/// Routes that need nobody's name: each says in its own file why.
fn open_routes() -> Vec<Route> {
    [health::routes(), console::open_routes(), crate::hooks::routes()].concat()
}

/// REST: every one of it stands in the description.
fn calls() -> Vec<Call> {
    [
        operator::calls(),
        history::calls(),
        images::calls(),
        drills::calls(),
        reports::calls(),
        exhibits::calls(),
        machine::calls(),
        second::calls(),
        notify::calls(),
        people::calls(),
        events::calls(),
        describe::calls(),
    ]
    .concat()
}

/// Routes behind the gate.
pub fn closed_routes() -> Vec<Closed> {
    let calls = calls().into_iter().map(|(path, route, needs)| (path, MethodRouter::from(route), needs));
    calls.chain([events::routes(), console::routes(), crate::metrics::routes()].concat()).collect()
}

async fn deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal(Problem::new(
            503,
            "too-slow",
            "The appliance did not answer in time",
            format!("the request took longer than {} s", DEADLINE.as_secs()),
            "look at /readyz and the appliance's log, then try again",
        ))
        .into_response(),
    }
}

async fn unknown_route(request: Request) -> Response {
    let detail = format!("there is nothing at {}", request.uri().path());
    let problem = Problem::new(
        404,
        "unknown-route",
        "No such page or call",
        detail,
        "start at `/` or read the manual's list of calls",
    );
    if gate::wants_page(&request) { console::refused(problem) } else { Refusal(problem).into_response() }
}

async fn unknown_method(State(_): State<People>, request: Request) -> Refusal {
    let detail = format!("{} does not answer {}", request.uri().path(), request.method());
    Refusal(Problem::new(405, "unknown-method", "Not this way", detail, "read the manual's list of calls"))
}

#[cfg(test)]
pub mod tests;
