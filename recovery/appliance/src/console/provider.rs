//! Signing in at the site's OpenID provider: sent there, and back. Open routes, as the door.
//!
//! The way back comes from another site, so a browser sends no cookie that is `SameSite=Strict` along: what binds the answer to this browser is one that is
//! `Lax`, for ten minutes, and good for nothing else. And the session's own is sent by a page of ours first: that is why the way back ends in a page.

use axum::{
    Extension,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use maud::html;
use serde::Deserialize;

use super::{
    login::{self, local, page},
    respond,
    texts::Texts,
};
use crate::{
    api::{
        People,
        gate::{self, cookie_named},
    },
    provider::{AWAY, Brought},
    tls::Peer,
};

/// What binds an answer of the provider to the browser that asked.
const COOKIE: &str = "__Host-groundstate-sign-in";

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    next: String,
}

fn cookie(value: &str, age_s: u64) -> String {
    format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={age_s}")
}

/// `GET /login/provider`.
pub async fn begin(
    State(people): State<People>,
    peer: Option<Extension<Peer>>,
    Query(asked): Query<Asked>,
) -> Response {
    let from = gate::address(peer.as_deref());
    let Some(provider) = people.provider() else { return Redirect::to("/login").into_response() };
    match provider.send(local(&asked.next), from).await {
        Ok(sent) => ([(header::SET_COOKIE, cookie(&sent.cookie, AWAY.as_secs()))], Redirect::to(&sent.to))
            .into_response(),
        Err(against) => {
            let problem = people.gate.refused_elsewhere(against.how, against.problem, from);
            people.write_down().await;
            login::refused_page(&people, &asked.next, &problem, false)
        }
    }
}

/// `GET /login/return`.
pub async fn back(
    State(people): State<People>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Query(brought): Query<Brought>,
) -> Response {
    let from = gate::address(peer.as_deref());
    let Some(provider) = people.provider() else { return Redirect::to("/login").into_response() };
    let own = cookie_named(&headers, COOKIE).unwrap_or_default();
    let opened = people.sign_in_by_provider(&provider, (own, brought), from).await;
    people.write_down().await;
    let (mut response, more) = match opened {
        Ok((session, next)) => {
            let (next, t) = (local(&next).to_owned(), Texts::here());
            let content = html! {
                meta http-equiv="refresh" content=(format!("0; url={next}"));
                section class="card door" { h1 { (t.signed_in()) } p { a href=(next) { (t.go_on()) } } }
            };
            (respond(StatusCode::OK, page(&content)), Some(login::session_cookie(&session)))
        }
        Err(problem) => (login::refused_page(&people, "", &problem, false), None),
    };
    for value in [Some(cookie("", 0)), more].into_iter().flatten() {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    response
}
