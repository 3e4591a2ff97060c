//! People: who may what here, about whom, from where; their tokens and open sessions. And kiosks.
//!
//! A token and a pairing code are shown once, in the answer to the form that made them: whoever loads that answer again orders nothing twice,
//! for a name is added once, and a code works once.

use axum::{
    Extension, Form,
    extract::{Path, State},
    http::HeaderMap,
    response::{Redirect, Response},
};
use maud::{Markup, html};
use recovery_protocol::{
    Problem,
    people::{ChangePerson, KioskView, NewPerson, PersonView, Role, SessionView, SetupCode},
};
use serde::Deserialize;

use super::super::{
    Failed, Part,
    account::session_line,
    may::{Button, Viewer},
    now_ms,
    page::Tab,
    texts::Texts,
    words::{self, SLOTS, Tone, actor, badge, fill, moment, since},
};
use crate::{
    api::{
        People,
        gate::{PIN_WRONG_MOST, Who},
    },
    service::Actor,
};

const ADD: &str = "/people";
const CHANGE: &str = "/people/{person}/change";
const TOKEN: &str = "/people/{person}/token";
const IN: &str = "/people/{person}/in";
const UNLOCK: &str = "/people/{person}/unlock";
const END_SESSION: &str = "/people/sessions/end";
const PAIR: &str = "/kiosks";
const UNPAIR: &str = "/kiosks/{kiosk}/end";

/// `GET /people`.
pub async fn page(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let everybody = people.service.people().await?;
    let facts = serde_json::json!({ "people": everybody.len() });
    people.service.note("account.read", &who.actor(), None, None, facts).await?;
    let sessions = people.gate.sessions(&who, true, &headers);
    let mut viewer = Viewer::of(&who);
    viewer.against(&[UNLOCK], people.service.may_order_all(&who.actor()));
    let content = content(&everybody, &sessions, &viewer, now_ms());
    Part::still(&people, Tab::People, &Texts::here().tab_people(), content).await
}

/// Whom to add, as the form sends it.
#[derive(Deserialize)]
pub struct Adding {
    person: String,
    role: Role,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    networks: String,
    #[serde(default)]
    valid_days: String,
}

/// `POST /people`: the answer shows the token, once.
pub async fn add(
    State(people): State<People>,
    Extension(by): Extension<Actor>,
    Form(form): Form<Adding>,
) -> Result<Response, Failed> {
    let scope = match form.scope.trim() {
        "" => None,
        text => Some(crate::api::selector(text)?),
    };
    let new = NewPerson {
        person: form.person.trim().to_owned(),
        role: form.role,
        valid_days: days(&form.valid_days)?,
        scope,
        networks: networks(&form.networks),
    };
    let added = people.add_person(&by, new).await?;
    token_page(&people, &added).await
}

fn networks(text: &str) -> Vec<String> {
    text.split([' ', ',', '\r', '\n']).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

fn days(text: &str) -> Result<Option<u32>, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let remedy = "write a number of days, or nothing";
        Problem::new(
            422,
            "bad-validity",
            "This token cannot be made",
            format!("`{text}` is no number of days"),
            remedy,
        )
    })
}

/// What is to change of a person, as the form sends it.
#[derive(Deserialize)]
pub struct Changing {
    role: Role,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    networks: String,
    #[serde(default)]
    reason: String,
}

/// `POST /people/{person}/change`.
pub async fn change(
    State(people): State<People>,
    Extension(by): Extension<Actor>,
    Path(name): Path<String>,
    Form(form): Form<Changing>,
) -> Result<Redirect, Failed> {
    let order = ChangePerson {
        role: Some(form.role),
        scope: Some(form.scope),
        networks: Some(networks(&form.networks)),
        reason: form.reason,
        ..ChangePerson::default()
    };
    people.change_person(&by, &name, order).await?;
    Ok(Redirect::to("/people"))
}

/// How long a new token counts.
#[derive(Deserialize)]
pub struct Making {
    #[serde(default)]
    valid_days: String,
    #[serde(default)]
    reason: String,
}

/// `POST /people/{person}/token`: the answer shows it, once; the old one ends.
pub async fn token(
    State(people): State<People>,
    Extension(by): Extension<Actor>,
    Path(name): Path<String>,
    Form(form): Form<Making>,
) -> Result<Response, Failed> {
    let order = ChangePerson {
        new_token: true,
        valid_days: days(&form.valid_days)?,
        reason: form.reason,
        ..ChangePerson::default()
    };
    let changed = people.change_person(&by, &name, order).await?;
    token_page(&people, &changed).await
}

/// Whether somebody may in.
#[derive(Deserialize)]
pub struct Shutting {
    disabled: bool,
    #[serde(default)]
    reason: String,
}

/// `POST /people/{person}/in`: shut out, or let in again.
pub async fn shut(
    State(people): State<People>,
    Extension(by): Extension<Actor>,
    Path(name): Path<String>,
    Form(form): Form<Shutting>,
) -> Result<Redirect, Failed> {
    let order =
        ChangePerson { disabled: Some(form.disabled), reason: form.reason, ..ChangePerson::default() };
    people.change_person(&by, &name, order).await?;
    Ok(Redirect::to("/people"))
}

/// `POST /people/{person}/unlock`.
pub async fn unlock(
    State(people): State<People>,
    Extension(by): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<Redirect, Failed> {
    people.unlock(&by, &name).await?;
    Ok(Redirect::to("/people"))
}

/// Which session.
#[derive(Deserialize)]
pub struct Ending {
    session: String,
}

/// `POST /people/sessions/end`.
pub async fn end_session(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Form(form): Form<Ending>,
) -> Result<Redirect, Failed> {
    people.gate.end_session(&who, &form.session)?;
    people.write_down().await;
    Ok(Redirect::to("/people#sessions"))
}

/// `GET /kiosks`.
pub async fn kiosks(
    State(people): State<People>,
    Extension(who): Extension<Who>,
) -> Result<Response, Failed> {
    let all = people.service.kiosks().await?;
    let mut viewer = Viewer::of(&who);
    viewer.against(&[PAIR, UNPAIR], people.service.may_order_all(&who.actor()));
    Part::still(&people, Tab::People, &Texts::here().kiosks_title(), kiosk_list(&all, &viewer)).await
}

/// Which kiosk.
#[derive(Deserialize)]
pub struct Pairing {
    kiosk: String,
}

/// `POST /kiosks`: the answer shows the code, once.
pub async fn pair(
    State(people): State<People>,
    Extension(by): Extension<Actor>,
    Form(form): Form<Pairing>,
) -> Result<Response, Failed> {
    let kiosk = form.kiosk.trim();
    let SetupCode { code, path, valid_s } = people.kiosk_code(&by, kiosk).await?;
    let t = Texts::here();
    let content = html! {
        p class="crumb" { a class="tap" href="/kiosks" { (t.kiosks_title()) } }
        section class="card good" id="code" {
            h1 { (t.kiosk_name(kiosk.to_owned())) }
            p class="secret" { code { (code) } }
            p { (fill(&t.kiosk_code_how(valid_s / 60, SLOTS[0]), [html! { code { (path) } }])) }
            p { a class="button" href="/kiosks" { (t.go_back()) } }
        }
    };
    Part::still(&people, Tab::People, &t.kiosks_title(), content).await
}

/// `POST /kiosks/{kiosk}/end`.
pub async fn unpair(
    State(people): State<People>,
    Extension(by): Extension<Actor>,
    Path(kiosk): Path<String>,
) -> Result<Redirect, Failed> {
    people.end_kiosk(&by, &kiosk).await?;
    Ok(Redirect::to("/kiosks"))
}

async fn token_page(people: &People, person: &PersonView) -> Result<Response, Failed> {
    let t = Texts::here();
    let content = html! {
        p class="crumb" { a class="tap" href="/people" { (t.tab_people()) } }
        section class="card good" id="token" {
            h1 { (person.person) }
            p { (t.token_once()) }
            p class="secret" { code class="long" { (person.token.as_deref().unwrap_or_default()) } }
            @if let Some(end) = person.token_ends_unix_ms { p { (t.token_ends()) " " (moment(end)) } }
            p { a class="button" href="/people" { (t.go_back()) } }
        }
    };
    Part::still(people, Tab::People, &t.tab_people(), content).await
}

fn content(everybody: &[PersonView], sessions: &[SessionView], viewer: &Viewer, now: u64) -> Markup {
    let t = Texts::here();
    html! {
        div data-now=(now) {
            h1 { (t.tab_people()) }
            p { a class="tap" href="/kiosks" { (t.kiosks_title()) } }
            @for (at, person) in everybody.iter().enumerate() { (card(person, at, viewer, now)) }
            (adding(viewer))
            section class="card" id="sessions" {
                h2 { (t.open_sessions()) }
                ul class="plain" { @for (at, session) in sessions.iter().enumerate() {
                    li {
                        p { (session_line(session, now)) @if session.this { " " (t.session_this()) } }
                        form method="post" action=(END_SESSION) {
                            input type="hidden" name="session" value=(session.session);
                            (viewer.plain(END_SESSION, "", &format!("end-{at}"), t.session_end()))
                        }
                    }
                } }
            }
        }
    }
}

fn card(person: &PersonView, at: usize, viewer: &Viewer, now: u64) -> Markup {
    let t = Texts::here();
    html! {
        details class="card facts" id={ "person-" (person.person) } {
            summary {
                strong { (person.person) } " " (words::role(person.role)) " "
                @if person.disabled { (badge(Tone::Bad, t.person_shut_out())) }
                @else if person.pin_wrong >= PIN_WRONG_MOST { (badge(Tone::Attention, t.person_badge_closed())) }
            }
            (facts(person, now))
            (changing(person, at, viewer))
        }
    }
}

fn facts(person: &PersonView, now: u64) -> Markup {
    let t = Texts::here();
    let or_never = |at: Option<u64>| match at {
        Some(at) => moment(at),
        None => html! { (t.never()) },
    };
    html! {
        dl class="figures" {
            dt { (t.person_scope()) } dd { @match &person.scope { Some(scope) => code { (scope) }, None => (t.person_scope_all()) } }
            dt { (t.person_networks()) } dd { @if person.networks.is_empty() { (t.person_anywhere()) } @else { code { (person.networks.join(" ")) } } }
            dt { (t.person_token()) } dd { code { @match &person.token_id { Some(id) => { "gs_" (id) "_…" } None => "gs_…" } } " " (t.person_token_made()) " " (moment(person.token_unix_ms)) }
            dt { (t.token_ends()) } dd { (or_never(person.token_ends_unix_ms)) }
            dt { (t.person_used()) } dd { @match person.used_unix_ms { Some(at) => { (moment(at)) ", " (since(at, now)) }, None => (t.never()) } }
            dt { (t.person_password()) } dd { (or_never(person.password_unix_ms)) }
            @if let Some(certificate) = &person.certificate_sha256 { dt { (t.person_certificate()) } dd { code class="long" { (certificate) } } }
            @if person.has_badge { dt { (t.kiosk_badge()) } dd { (t.person_badge(person.pin_wrong)) } }
            dt { (t.person_since()) } dd { (moment(person.added_unix_ms)) " · " code { (person.origin.as_str()) } }
        }
    }
}

fn roles(chosen: Role, id: &str) -> Markup {
    html! {
        select id=(id) name="role" {
            @for role in Role::ALL { option value=(role.as_str()) selected[role == chosen] { (words::role(role)) } }
        }
    }
}

fn field(id: &str, name: &str, word: String, hint: &str, value: &str) -> Markup {
    html! {
        label for=(id) { (word) }
        input id=(id) class="typed" name=(name) maxlength="2000" autocomplete="off" spellcheck="false" placeholder=(hint) value=(value);
    }
}

fn changing(person: &PersonView, at: usize, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let path = format!("/people/{}", person.person);
    let id = |name: &str| format!("{name}-{at}");
    let scope = person.scope.as_ref().map(ToString::to_string).unwrap_or_default();
    let shut = Button {
        class: if person.disabled { "" } else { "danger" },
        id: &id("in"),
        sends: Some(("disabled", if person.disabled { "false" } else { "true" })),
        word: html! { @if person.disabled { (t.person_let_in()) } @else { (t.person_shut()) } },
    };
    html! {
        form method="post" action={ (path) "/change" } {
            label for=(id("role")) { (t.person_role()) } (roles(person.role, &id("role")))
            (field(&id("scope"), "scope", t.person_scope(), "line=3", &scope))
            (field(&id("networks"), "networks", t.person_networks(), "10.7.0.0/24", &person.networks.join(" ")))
            (field(&id("why"), "reason", t.why_field(), "", ""))
            div class="actions" { (viewer.plain(CHANGE, "", &id("change"), t.person_change())) }
        }
        form method="post" action={ (path) "/token" } {
            (field(&id("days"), "valid_days", t.token_days(), "90", ""))
            p class="small" { (t.token_old_ends()) }
            div class="actions" { (viewer.plain(TOKEN, "", &id("token"), t.token_new())) }
        }
        @if person.pin_wrong >= PIN_WRONG_MOST {
            form method="post" action={ (path) "/unlock" } { div class="actions" { (viewer.plain(UNLOCK, "", &id("unlock"), t.person_unlock())) } }
        }
        form method="post" action={ (path) "/in" } {
            (field(&id("reason"), "reason", t.why_field(), "", ""))
            div class="actions" { (viewer.button(IN, shut)) }
        }
    }
}

fn adding(viewer: &Viewer) -> Markup {
    let t = Texts::here();
    html! {
        section class="card" id="add" {
            h2 { (t.person_add_title()) }
            form method="post" action=(ADD) {
                label for="person" { (t.person_name()) }
                input id="person" name="person" maxlength="32" autocomplete="off" spellcheck="false" pattern="[a-z0-9._\\-]{1,32}" required;
                label for="role" { (t.person_role()) } (roles(Role::Technician, "role"))
                (field("scope", "scope", t.person_scope(), "line=3", ""))
                (field("networks", "networks", t.person_networks(), "10.7.0.0/24", ""))
                (field("valid_days", "valid_days", t.token_days(), "90", ""))
                div class="actions" { (viewer.plain(ADD, "primary", "add-person", t.person_add())) }
            }
        }
    }
}

fn kiosk_list(all: &[KioskView], viewer: &Viewer) -> Markup {
    let t = Texts::here();
    html! {
        h1 { (t.kiosks_title()) }
        p { (t.kiosks_what()) }
        @if all.is_empty() { p { (t.kiosks_none()) } }
        @for (at, kiosk) in all.iter().enumerate() {
            section class="card" id={ "kiosk-" (kiosk.kiosk) } {
                h2 { (kiosk.kiosk) }
                p { (t.kiosk_paired_by(actor(&kiosk.paired_by))) " " (moment(kiosk.paired_unix_ms)) }
                @match kiosk.ended_unix_ms {
                    Some(ended) => p { (badge(Tone::Quiet, t.kiosk_ended())) " " (moment(ended)) },
                    None => form method="post" action={ "/kiosks/" (kiosk.kiosk) "/end" } {
                        div class="actions" { (viewer.plain(UNPAIR, "danger", &format!("unpair-{at}"), t.kiosk_unpair())) }
                    },
                }
            }
        }
        section class="card" id="pair" {
            h2 { (t.kiosk_pair_title()) }
            form method="post" action=(PAIR) {
                label for="kiosk" { (t.kiosk_name_field()) }
                input id="kiosk" name="kiosk" maxlength="32" autocomplete="off" spellcheck="false" required;
                div class="actions" { (viewer.plain(PAIR, "primary", "pair-kiosk", t.kiosk_code_button())) }
            }
        }
    }
}
