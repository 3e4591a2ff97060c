//! Signing in: name and password, a one-time link from `groundstate console-link`, or a token. And the first admin, while there is none.
//! Open routes: a stranger must be able to reach the door.
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
    Failed,
    page::{Page, Tab, problem_title, what_now},
    respond,
    texts::Texts,
    words::{SLOTS, fill},
};
use crate::{
    api::{
        People,
        gate::{self, COOKIE},
    },
    passwords,
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
    #[serde(default)]
    secret: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

/// `GET /login`.
pub async fn door(State(people): State<People>, Query(asked): Query<Asked>) -> Response {
    let first = people.service.no_admin_yet().await.is_ok();
    respond(StatusCode::OK, page(&form(&people, (&asked.code, &asked.next), None, first)))
}

/// `POST /login`.
pub async fn sign_in(
    State(people): State<People>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Form(given): Form<SignIn>,
) -> Response {
    let from = gate::address(peer.as_deref());
    let at = people.service.now();
    let opened = if !gate::same_origin(&headers) {
        Err(foreign())
    } else if given.secret.trim().is_empty() {
        people.sign_in_by_name(&given.name, given.password, from).await
    } else {
        people.gate.sign_in(&given.secret, from, at)
    };
    people.write_down().await;
    match opened {
        Ok(cookie) => with_session(&cookie, local(&given.next)),
        Err(problem) => {
            let first = people.service.no_admin_yet().await.is_ok();
            refused_page(&people, &given.next, &problem, first)
        }
    }
}

/// The sign-in page once more, and why.
pub fn refused_page(people: &People, next: &str, problem: &Problem, first: bool) -> Response {
    respond(status(problem), page(&form(people, ("", next), Some(problem), first)))
}

#[derive(Deserialize)]
pub struct FirstAdmin {
    code: String,
    name: String,
    password: String,
    again: String,
}

/// `GET /setup`: a page only while no admin is on record.
pub async fn setup(State(people): State<People>) -> Result<Response, Failed> {
    people.service.no_admin_yet().await?;
    Ok(respond(StatusCode::OK, page(&setup_form("", None))))
}

/// `POST /setup`.
pub async fn make_first_admin(
    State(people): State<People>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Form(given): Form<FirstAdmin>,
) -> Result<Response, Failed> {
    people.service.no_admin_yet().await?;
    let name = given.name.trim().to_owned();
    let made = first_admin(&people, gate::address(peer.as_deref()), &headers, given).await;
    people.write_down().await;
    match made {
        Ok(cookie) => Ok(with_session(&cookie, "/")),
        Err(problem) => Ok(respond(status(&problem), page(&setup_form(&name, Some(&problem))))),
    }
}

/// Everything that can be wrong with what was typed, and a busy lane, is said before the code is used up.
async fn first_admin(
    people: &People,
    from: std::net::IpAddr,
    headers: &HeaderMap,
    given: FirstAdmin,
) -> Result<String, Problem> {
    if !gate::same_origin(headers) {
        return Err(foreign());
    }
    let name = given.name.trim();
    people.service.free_name(name).await?;
    if given.password != given.again {
        return Err(differ());
    }
    passwords::strong(&given.password, name, people.service.site())?;
    people.gate.check_setup_code(&given.code, from)?;
    let phc = people.gate.seal_new(given.password, from).await?;
    people.gate.use_setup_code(&given.code, from)?;
    people.service.first_admin(name, phc).await?;
    people.tell_gate().await?;
    people.gate.open_first(name, from, people.service.now())
}

/// The two fields of a new password are not the same.
pub fn differ() -> Problem {
    let detail = "the two fields of the new password are not the same";
    Problem::new(422, "passwords-differ", "Nothing was changed", detail, "write it into both fields again")
}

pub fn foreign() -> Problem {
    let detail = "the form was not sent from this console";
    Problem::new(
        403,
        "foreign-origin",
        "This request comes from another site",
        detail,
        "open the console itself",
    )
}

pub fn status(problem: &Problem) -> StatusCode {
    StatusCode::from_u16(problem.status).unwrap_or(StatusCode::UNAUTHORIZED)
}

/// The cookie of a session.
pub fn session_cookie(cookie: &str) -> String {
    format!("{COOKIE}={cookie}; Path=/; Secure; HttpOnly; SameSite=Strict")
}

pub fn with_session(cookie: &str, to: &str) -> Response {
    let cookie = session_cookie(cookie);
    ([(header::SET_COOKIE, cookie)], Redirect::to(to)).into_response()
}

/// `POST /logout`.
pub async fn sign_out(State(people): State<People>, headers: HeaderMap) -> Response {
    people.gate.sign_out(&headers);
    people.write_down().await;
    let gone = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, gone)], Redirect::to("/login")).into_response()
}

/// A path as a part of a query.
fn url(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A path on this host, or the start. Browsers leave out tabs and the like, and then `/\t/` leads to another host.
pub fn local(next: &str) -> &str {
    let ours = next.starts_with('/')
        && !next.starts_with("//")
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if ours && next != "/login" { next } else { "/" }
}

pub fn page(content: &Markup) -> Markup {
    let title = Texts::here().sign_in();
    Page { site: "Groundstate", title: &title, tab: Tab::None, live: None, content: content.clone() }.render()
}

pub fn refusal(refused: Option<&Problem>) -> Markup {
    html! {
        @if let Some(problem) = refused {
            div class="refused" role="alert" id="refused" {
                p { strong { (problem_title(problem)) } }
                (what_now(problem))
            }
        }
    }
}

fn form(people: &People, (code, next): (&str, &str), refused: Option<&Problem>, first: bool) -> Markup {
    let t = Texts::here();
    let next_of = format!("/login/provider?next={}", url(local(next)));
    html! {
        section class="card door" {
            h1 { (t.sign_in()) }
            (refusal(refused))
            @if first {
                p { (t.no_admin_yet()) " " a href="/setup" { (t.set_it_up()) } }
            }
            @if code.is_empty() {
                form method="post" action="/login" {
                    input type="hidden" name="next" value=(next);
                    label for="name" { (t.your_name()) }
                    input id="name" name="name" autocomplete="username" autocapitalize="none" required autofocus;
                    label for="password" { (t.your_password()) }
                    input id="password" name="password" type="password" autocomplete="current-password" required;
                    div class="actions" { button class="primary wide" { (t.sign_in()) } }
                }
                @if let Some(provider) = people.provider() {
                    // A link and not a form: a form may lead to no other site (form-action of the page's policy).
                    p { a href=(next_of) { (t.sign_in_with(provider.label())) } }
                }
                details {
                    summary { (t.with_token()) }
                    form method="post" action="/login" {
                        input type="hidden" name="next" value=(next);
                        label for="secret" { (t.your_token()) }
                        input id="secret" name="secret" type="password" autocomplete="off" required;
                        div class="actions" { button class="wide" { (t.open_console()) } }
                    }
                    p class="small" { (fill(&t.or_run_link(SLOTS[0]), [html! { code { "groundstate console-link" } }])) }
                }
            } @else {
                form method="post" action="/login" {
                    input type="hidden" name="next" value=(next);
                    input type="hidden" name="secret" value=(code);
                    p { (t.link_once()) }
                    div class="actions" { button class="primary wide" { (t.open_console()) } }
                }
            }
        }
    }
}

fn setup_form(name: &str, refused: Option<&Problem>) -> Markup {
    let t = Texts::here();
    html! {
        section class="card door" {
            h1 { (t.first_admin()) }
            p { (fill(&t.run_setup_code(SLOTS[0]), [html! { code { "groundstate setup-code" } }])) }
            (refusal(refused))
            form method="post" action="/setup" {
                label for="code" { (t.setup_code()) }
                input id="code" name="code" autocomplete="off" autocapitalize="characters" required autofocus;
                label for="name" { (t.name_in_evidence()) }
                input id="name" name="name" value=(name) autocomplete="username" autocapitalize="none" maxlength="32" required;
                (new_password())
                div class="actions" { button class="primary wide" { (t.make_me_admin()) } }
            }
        }
    }
}

/// The two fields of a new password.
pub fn new_password() -> Markup {
    let t = Texts::here();
    html! {
        label for="new" { (t.new_password(passwords::LEAST)) }
        input id="new" name="password" type="password" autocomplete="new-password" minlength=(passwords::LEAST) required;
        label for="again" { (t.same_again()) }
        input id="again" name="again" type="password" autocomplete="new-password" required;
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
            "/\t/evil.example",
            "\t//evil.example",
            "/\u{0}/evil.example",
            "/\u{b}/evil.example",
            "/\u{7f}/evil.example",
            "/ /evil.example",
            "/\u{a0}/evil.example",
        ] {
            assert_eq!(local(foreign), "/", "{foreign}");
        }
    }
}
