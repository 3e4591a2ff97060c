//! The layer in front of every closed route, and what a request tells of where it comes from.

use std::{net::IpAddr, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, Uri, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use recovery_protocol::{
    Problem,
    people::{Permission, Role},
};
use serde_json::json;

use super::{Gate, Note, Who};
use crate::{
    api::{Needs, People, Refusal, needs},
    console,
    tls::Peer,
};

/// The layer: no handler behind it runs without an [`Actor`] in its extensions, and a permission of theirs that its route
/// names. A person's browser is led to the login.
pub async fn layer(State(people): State<People>, mut request: Request, next: Next) -> Response {
    people.remind_gate().await;
    let peer = request.extensions().get::<Peer>();
    let from = address(peer);
    let admitted = people.gate.admit_peer(
        (request.method(), request.uri()),
        request.headers(),
        peer,
        people.service.now(),
    );
    people.write_down().await;
    let who = match admitted {
        Ok(who) => who,
        Err(problem) if problem.status == 401 && wants_page(&request) => {
            return Redirect::to(&format!("/login?next={}", local_target(request.uri()))).into_response();
        }
        Err(problem) => return refuse(&request, problem),
    };
    // Without a pattern nothing was found, and nothing is what the answer says.
    if let Some(path) = request.extensions().get::<MatchedPath>()
        && let Err(problem) = allowed(&who, path.as_str(), request.method())
    {
        tracing::warn!(who = who.name, role = %who.role, path = path.as_str(), "refused");
        people.service.refused(&problem.code);
        people.gate.role_refused(&who, (request.method(), path.as_str()), from);
        people.write_down().await;
        return refuse(&request, problem);
    }
    if who.note
        && let Err(problem) = people.service.person_used(&who.name).await
    {
        tracing::warn!(who = who.name, why = problem.detail, "it cannot be noted that they are here");
    }
    request.extensions_mut().insert(who.actor());
    let role = who.role;
    request.extensions_mut().insert(who);
    console::seen_by(role, next.run(request)).await
}

impl Gate {
    /// Somebody asked for what their role does not allow.
    fn role_refused(&self, who: &Who, (method, path): (&Method, &str), from: IpAddr) {
        let mut inside = self.inside();
        let due = inside.refused.due(&who.name, from, &format!("{method} {path}"), Instant::now());
        let note = due.map(|(times, note)| Note {
            kind: "refusal.role",
            actor: who.actor().name,
            facts: json!({
                "role": who.role, "method": method.as_str(), "path": path,
                "from": from.to_canonical().to_string(), "times": times, "note": note,
            }),
        });
        inside.note(note);
    }
}

/// Whether this role may do that.
fn allowed(who: &Who, path: &str, method: &Method) -> Result<(), Problem> {
    let needs = needs(path);
    let wanted = needs.map(|Needs { read, write }| if method.is_safe() { read } else { write });
    if wanted.is_some_and(|wanted| who.role.may(wanted)) {
        return Ok(());
    }
    let what = wanted.map_or("do this", Permission::words);
    let may = wanted.map(Role::who_may).unwrap_or_default();
    let detail = format!("{} is {} here, and may not {what}", who.name, who.role);
    let remedy = format!("ask somebody who may: {may}");
    Err(Problem::new(403, "not-allowed", "Your role does not allow this", detail, remedy))
}

fn refuse(request: &Request, problem: Problem) -> Response {
    let for_a_program = request.uri().path().starts_with("/api/") || problem.status == 401;
    if for_a_program { Refusal(problem).into_response() } else { console::refused(problem) }
}

/// The address of a peer; unspecified where a test has no socket.
#[must_use]
pub fn address(peer: Option<&Peer>) -> IpAddr {
    peer.map_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip())
}

/// Whether a browser looks.
#[must_use]
pub fn wants_page(request: &Request) -> bool {
    let accept =
        request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    request.method() == Method::GET && accept.contains("text/html")
}

/// What an open page asks for while nobody touches it: that something changed, and its own content anew.
pub(super) fn by_itself(uri: &Uri) -> bool {
    let live = || uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "part=live"));
    uri.path() == "/changes" || live()
}

/// Path only: a login must not lead to another site, and a query may hold what does not belong in a link.
fn local_target(uri: &Uri) -> &str {
    if uri.path().starts_with("//") { "/" } else { uri.path() }
}

/// The write came from a page of ours: `Origin` names the host that the request was sent to (RFC 6454 §7).
#[must_use]
pub fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    origin.strip_prefix("https://").is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_only_to_our_own_paths() {
        assert_eq!(local_target(&Uri::from_static("/endpoints/press-01?x=1")), "/endpoints/press-01");
        assert_eq!(local_target(&"//evil.example/x".parse().unwrap_or_else(|_| Uri::from_static("//"))), "/");
    }
}
