//! The kiosk: a tablet on the shop floor. Paired once by a code; then a badge reader that types, and a PIN. Open routes, as the door.

use axum::{
    Extension, Form,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use recovery_protocol::Problem;
use serde::Deserialize;

use super::{
    login::{self, foreign, page, refusal},
    respond,
    texts::Texts,
    words::{SLOTS, fill},
};
use crate::{
    api::{
        People,
        gate::{self, KIOSK_COOKIE, PIN_WRONG_MOST},
    },
    tls::Peer,
};

/// A year: until it is taken away.
const COOKIE_AGE_S: u32 = 365 * 24 * 3600;

#[derive(Deserialize)]
pub struct Pairing {
    code: String,
}

#[derive(Deserialize)]
pub struct Shown {
    badge: String,
    pin: String,
}

/// `GET /kiosk`.
pub async fn door(State(people): State<People>, headers: HeaderMap) -> Response {
    let kiosk = people.gate.kiosk(&headers);
    respond(StatusCode::OK, page(&form(kiosk.as_deref(), None)))
}

/// `POST /kiosk/pair`.
pub async fn pair(
    State(people): State<People>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Form(given): Form<Pairing>,
) -> Response {
    let paired = paired(&people, gate::address(peer.as_deref()), &headers, &given.code).await;
    people.write_down().await;
    match paired {
        Ok(secret) => {
            let cookie = format!(
                "{KIOSK_COOKIE}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={COOKIE_AGE_S}"
            );
            ([(header::SET_COOKIE, cookie)], Redirect::to("/kiosk")).into_response()
        }
        Err(problem) => respond(login::status(&problem), page(&form(None, Some(&problem)))),
    }
}

async fn paired(
    people: &People,
    from: std::net::IpAddr,
    headers: &HeaderMap,
    code: &str,
) -> Result<String, Problem> {
    if !gate::same_origin(headers) {
        return Err(foreign());
    }
    let (kiosk, by, secret) = people.gate.pair_kiosk(code, from)?;
    people.service.kiosk_paired(&kiosk, &by, &secret).await?;
    people.gate.learn_kiosks(&people.service.kiosk_rows().await?);
    Ok(secret)
}

/// `POST /kiosk/sign-in`.
pub async fn sign_in(
    State(people): State<People>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Form(given): Form<Shown>,
) -> Response {
    let kiosk = people.gate.kiosk(&headers);
    let opened = signed_in(&people, gate::address(peer.as_deref()), &headers, given).await;
    people.write_down().await;
    match opened {
        Ok(cookie) => login::with_session(&cookie, "/scan"),
        Err(problem) => respond(login::status(&problem), page(&form(kiosk.as_deref(), Some(&problem)))),
    }
}

async fn signed_in(
    people: &People,
    from: std::net::IpAddr,
    headers: &HeaderMap,
    given: Shown,
) -> Result<String, Problem> {
    if !gate::same_origin(headers) {
        return Err(foreign());
    }
    people.remind_gate().await;
    let badge = people.gate.badge(headers, &given.badge, from).await?;
    let name = badge.name.clone();
    let locked = match &name {
        Some(name) => people.service.pin_tried(name, PIN_WRONG_MOST).await?,
        None => false,
    };
    let (right, opened) =
        people.gate.sign_in_by_pin(badge, (given.pin, locked), from, people.service.now()).await;
    if let Some(name) = name.filter(|_| right) {
        people.service.pin_right(&name).await?;
    }
    opened
}

fn form(kiosk: Option<&str>, refused: Option<&Problem>) -> Markup {
    let t = Texts::here();
    html! {
        section class="card door kiosk" {
            @if let Some(kiosk) = kiosk {
                h1 { (t.kiosk_badge_title()) }
                (refusal(refused))
                form method="post" action="/kiosk/sign-in" autocomplete="off" {
                    label for="badge" { (t.kiosk_badge()) }
                    input id="badge" name="badge" type="password" autocomplete="off" required autofocus;
                    label for="pin" { "PIN" }
                    input id="pin" name="pin" type="password" inputmode="numeric" pattern="[0-9]*" autocomplete="off" required;
                    div class="actions" { button class="primary wide" { (t.sign_in()) } }
                }
                p class="small" { (t.kiosk_name(kiosk)) " · " a href="/login" { (t.kiosk_by_name()) } }
            } @else {
                h1 { (t.kiosk_pair_title()) }
                (refusal(refused))
                p { (fill(&t.kiosk_pair_what(SLOTS[0]), [html! { code { "groundstate kiosk pair NAME" } }])) }
                form method="post" action="/kiosk/pair" autocomplete="off" {
                    label for="code" { (t.pairing_code()) }
                    input id="code" name="code" autocomplete="off" autocapitalize="characters" required autofocus;
                    div class="actions" { button class="primary wide" { (t.pair_it()) } }
                }
            }
        }
    }
}
