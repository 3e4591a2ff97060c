//! Signing in: a one-time link from `groundstate console-link`, or the operator's token. Open routes: a stranger must be
//! able to reach the door.
//!
//! Opening a link changes nothing: only the button redeems it, so that a mail scanner or a preview cannot use it up.

use axum::{
    Extension, Form,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use recovery_protocol::Problem;
use serde::Deserialize;

use super::{
    page::{Page, Tab, sentence},
    respond,
};
use crate::{
    api::{
        People,
        gate::{self, COOKIE},
    },
    tls::Peer,
};

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub struct SignIn {
    secret: String,
    #[serde(default)]
    next: String,
}

/// `GET /login`.
pub async fn door(Query(asked): Query<Asked>) -> Response {
    respond(StatusCode::OK, page(&form(&asked.code, &asked.next, None)))
}

/// `POST /login`.
pub async fn sign_in(
    State(people): State<People>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Form(given): Form<SignIn>,
) -> Response {
    let from = gate::address(peer.as_deref());
    let opened = if gate::same_origin(&headers) {
        people.gate.sign_in(&given.secret, from, people.service.now())
    } else {
        let detail = "the form was not sent from this console";
        Err(Problem::new(
            403,
            "foreign-origin",
            "This request comes from another site",
            detail,
            "open the console itself",
        ))
    };
    match opened {
        Ok(cookie) => {
            let cookie = format!("{COOKIE}={cookie}; Path=/; Secure; HttpOnly; SameSite=Strict");
            ([(header::SET_COOKIE, cookie)], Redirect::to(local(&given.next))).into_response()
        }
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::UNAUTHORIZED);
            respond(status, page(&form("", &given.next, Some(&problem))))
        }
    }
}

/// `POST /logout`.
pub async fn sign_out(State(people): State<People>, headers: HeaderMap) -> Response {
    people.gate.sign_out(&headers);
    let gone = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, gone)], Redirect::to("/login")).into_response()
}

/// A path on this host, or the start.
fn local(next: &str) -> &str {
    let ours = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if ours && next != "/login" { next } else { "/" }
}

fn page(content: &Markup) -> Markup {
    Page { site: "Groundstate", title: "Sign in", tab: Tab::None, live: None, content: content.clone() }
        .render()
}

fn form(code: &str, next: &str, refused: Option<&Problem>) -> Markup {
    html! {
        section class="card door" {
            h1 { "Sign in" }
            @if let Some(problem) = refused {
                div class="refused" role="alert" id="refused" {
                    p { strong { (problem.title) } } p { (sentence(&problem.detail)) } p { (sentence(&problem.remedy)) }
                }
            }
            form method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                @if code.is_empty() {
                    label for="secret" { "Your token" }
                    input id="secret" name="secret" type="password" autocomplete="current-password" required autofocus;
                    p class="small" { "Or run " code { "groundstate console-link" } " on the appliance and open the link that it prints." }
                } @else {
                    input type="hidden" name="secret" value=(code);
                    p { "This link opens the console once." }
                }
                div class="actions" { button class="primary wide" { "Open the console" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_nowhere_else() {
        assert_eq!(local("/endpoints/press-01"), "/endpoints/press-01");
        for foreign in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/login",
            "javascript:x",
            "/a\r\nb",
        ] {
            assert_eq!(local(foreign), "/", "{foreign}");
        }
    }
}
