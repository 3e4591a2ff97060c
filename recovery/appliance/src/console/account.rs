//! One's own page: password and open sessions. Whoever manages people sees all sessions here.

use axum::{
    Extension, Form,
    extract::State,
    http::HeaderMap,
    response::{Redirect, Response},
};
use maud::{Markup, html};
use recovery_protocol::people::{NewPassword, Permission, SessionView};
use serde::Deserialize;

use super::{
    Failed, login, question,
    texts::Texts,
    words::{self, SLOTS, english, fill},
};
use crate::{
    api::{People, gate::Who},
    tls::Peer,
};

/// `GET /account`.
pub async fn page(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let sessions = people.gate.sessions(&who, true, &headers);
    let row = people.service.people_rows().await?.into_iter().find(|person| person.name == who.name);
    let has_password = row.as_ref().map(|person| person.password.is_some());
    Ok(question(
        &people,
        &Texts::here().your_account(),
        content(&who, has_password, &sessions, super::now_ms()),
    ))
}

#[derive(Deserialize)]
pub struct Passwords {
    #[serde(default)]
    current: String,
    password: String,
    again: String,
}

/// `POST /account/password`.
pub async fn set_password(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    peer: Option<Extension<Peer>>,
    Form(given): Form<Passwords>,
) -> Result<Redirect, Failed> {
    if given.password != given.again {
        return Err(login::differ().into());
    }
    let order = NewPassword { password: given.password, current: given.current };
    let set = people.set_password(&who, &who.name, order, peer.as_deref()).await;
    people.write_down().await;
    set?;
    Ok(Redirect::to("/account"))
}

#[derive(Deserialize)]
pub struct Ending {
    session: String,
}

/// `POST /account/sessions/end`.
pub async fn end_session(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Form(given): Form<Ending>,
) -> Result<Redirect, Failed> {
    people.gate.end_session(&who, &given.session)?;
    people.write_down().await;
    Ok(Redirect::to("/account"))
}

/// `has_password`: `None` for the operator's token of the data directory, which is no person.
fn content(who: &Who, has_password: Option<bool>, sessions: &[SessionView], now: u64) -> Markup {
    let t = Texts::here();
    html! {
        section class="card" {
            h1 { (who.name) }
            p { (fill(&t.your_role(SLOTS[0]), [html! { strong { (words::role(who.role)) } }])) }
            @if let Some(has_password) = has_password {
                @if who.at_kiosk() {
                    p { (t.not_at_kiosk()) }
                } @else {
                h2 { @if has_password { (t.change_password()) } @else { (t.set_password()) } }
                form method="post" action="/account/password" {
                    @if has_password {
                        label for="current" { (t.current_password()) }
                        input id="current" name="current" type="password" autocomplete="current-password" required;
                    }
                    (login::new_password())
                    p class="small" { (t.sessions_end()) }
                    div class="actions" { button class="primary" { (t.set_it()) } }
                }
                }
            } @else {
                p { (fill(&t.nobodys_token(SLOTS[0]), [html! { code { "groundstate person add" } }])) }
            }
        }
        section class="card" {
            h2 { @if who.may(Permission::People) { (t.open_sessions()) } @else { (t.your_sessions()) } }
            ul class="plain" {
                @for session in sessions {
                    li {
                        p {
                            (session_line(session, now))
                            @if session.this { " " (t.session_this()) }
                        }
                        form method="post" action="/account/sessions/end" {
                            input type="hidden" name="session" value=(session.session);
                            button { (t.session_end()) }
                        }
                    }
                }
            }
        }
    }
}

/// A session in a line.
#[must_use]
pub fn session_line(session: &SessionView, now: u64) -> Markup {
    let text = Texts::here().session_line(SLOTS[0], SLOTS[1], SLOTS[2], SLOTS[3], SLOTS[4]);
    // Named in the order of their names: from, how, person, since, used.
    let parts = [
        html! { (session.from) },
        english(&session.how),
        html! { strong { (session.person) } },
        words::moment(session.opened_unix_ms),
        words::since(session.used_unix_ms, now),
    ];
    fill(&text, parts)
}
