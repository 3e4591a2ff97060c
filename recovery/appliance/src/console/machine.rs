//! `/m/{endpoint}`: the machine before which a technician stands. Four touches lead from the scan to the running job, and nothing is typed:
//!
//! ```text
//! scan or row ─► is it this machine? ─► safety card: tick ─► hold ─► progress, STOP ─► live values? ─► done
//!   touch 1         touch 2                touch 3         touch 4          └─► held: what, what now, code, QR
//! ```

use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use recovery_protocol::{
    job::{HoldReason, JobState},
    machine::{Acceptance, OutlookView},
    operator::{EndpointState, EndpointView, JobView, Kind, Mode, RecoverRequest},
};
use serde::Deserialize;

use super::{
    Failed, Part,
    drill::tape,
    endpoint::{HOLD_MS, confirm_at, hold_button, pairing_card},
    job::{decisions, progress_bar, said_of, stretches},
    may::{Button, Viewer},
    now_ms,
    page::{Page, Tab, sentence},
    qr::qr,
    respond, review,
    scan::{line, picture},
    texts::Texts,
    viewer,
    words::{SLOTS, badge, duration, endpoint_state, english, fill, job_state, since, time_of_day},
};
use crate::{
    api::{People, endpoint_id, gate::Who, job_id},
    service::asks_for_live_values,
};

/// How long after its recovery a machine's page still speaks of it, in milliseconds.
const FRESH_MS: u64 = 24 * 3_600_000;
const DAY_MS: u64 = 24 * 3_600_000;
const RECOVER: &str = "/m/{endpoint}/recover";
const ACCEPT: &str = "/jobs/{job}/accept";
/// What stands in evidence as the reason of an order from here.
const REASON: &str = "ordered at the machine; the safety card was ticked";

#[derive(Deserialize)]
pub struct Asked {
    part: Option<String>,
    again: Option<String>,
}

/// A machine as its page shows it.
struct Before<'a> {
    view: &'a EndpointView,
    outlook: &'a OutlookView,
    viewer: &'a Viewer,
    /// Address of this console as the reader's browser has it.
    host: &'a str,
    now_ms: u64,
}

/// `GET /m/{endpoint}`.
pub async fn page(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let view = people.service.endpoint(&endpoint_id(&name)?).await?;
    shown(&people, &who, view, asked, &headers).await
}

/// `GET /m/{endpoint}/{job}`: what the code on a tablet or a screen leads a phone to: this job of it, whatever came after.
pub async fn page_of_job(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path((name, job)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let mut view = people.service.endpoint(&endpoint_id(&name)?).await?;
    let job = people.service.job(job_id(&job)?).await?;
    if job.endpoint == view.endpoint {
        view.job = Some(job);
    }
    shown(&people, &who, view, asked, &headers).await
}

/// The page of a machine, as [`page`] gives it.
pub(super) async fn shown(
    people: &People,
    who: &Who,
    view: EndpointView,
    asked: Asked,
    headers: &HeaderMap,
) -> Result<Response, Failed> {
    let outlook = people.service.outlook(&view.endpoint).await?;
    let viewer = viewer(people, who, &view.endpoint, view.job.as_ref()).await?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let machine = Before { view: &view, outlook: &outlook, viewer: &viewer, host, now_ms: now_ms() };
    let (again, path) = match asked.again {
        Some(_) => (true, format!("/m/{}?again=1", view.endpoint)),
        None => (false, format!("/m/{}", view.endpoint)),
    };
    Part { part: asked.part }
        .of(people, Tab::Scan, view.endpoint.as_str(), &path, content(&machine, again))
        .await
}

impl Asked {
    /// As an endpoint's own page asks for it.
    pub(super) fn part(part: Option<String>) -> Self {
        Self { part, again: None }
    }
}

/// What its page says now. `again`: whoever has read what became of the last recovery wants another.
fn content(machine: &Before<'_>, again: bool) -> Markup {
    let job = machine.view.job.as_ref();
    let fresh =
        job.filter(|job| job.over_unix_ms.is_some_and(|over| over + FRESH_MS > machine.now_ms) && !again);
    let body = match job {
        Some(job) if !job.state.is_over() => running(machine, job),
        _ => match fresh {
            Some(job) if asks_for_live_values(job) => live_values(machine, job),
            Some(job) if job.accepted == Some(true) => done(machine),
            Some(job) if job.accepted == Some(false) => not_live(machine, job),
            Some(job) if matches!(job.state, JobState::Failed { .. } | JobState::Cancelled { .. }) => {
                html! { (trouble(machine, job)) (identity(machine)) }
            }
            _ => identity(machine),
        },
    };
    html! {
        div class="machine" data-now=(machine.now_ms) {
            @if job.is_some_and(|job| job.mode == Mode::Drill && !job.state.is_over()) { (tape()) }
            (body)
            p { a class="quiet-link" href={ "/endpoints/" (machine.view.endpoint) "?all=1" } { (Texts::here().engineers_page()) } }
        }
    }
}

fn head(view: &EndpointView) -> Markup {
    let (tone, word) = endpoint_state(view.state);
    html! {
        div class="machine-head" {
            (picture(view, &Texts::here().photo_of(view.endpoint.as_str())))
            div { h1 { (view.endpoint) } (line(view)) (badge(tone, word)) }
        }
    }
}

/// Is it this machine? What it would return to, and how long that takes.
fn identity(machine: &Before<'_>) -> Markup {
    let t = Texts::here();
    let (view, outlook) = (machine.view, machine.outlook);
    let unknown = view.state == EndpointState::Discovered || view.blueprint.is_empty();
    html! {
        section class="card" {
            (head(view))
            @if view.photo.is_none() { p class="small" { (t.photo_none()) } }
            p class="what" { (t.machine_this()) }
            p { (t.machine_compare()) }
            (saved(outlook, machine.now_ms))
            p { (usual(outlook)) }
            @if unknown { p class="now" { (t.unknown_why()) } }
            @else if outlook.image_name.is_empty() { p class="now" { (t.saved_none()) " " (english(sentence(&outlook.why_none))) } }
            @else {
                div class="actions" {
                    a class="button primary large" id="this" href={ "/m/" (view.endpoint) "/safety" } { (t.machine_yes()) }
                    a class="button large" href="/scan" { (t.machine_no()) }
                }
            }
        }
    }
}

fn saved(outlook: &OutlookView, now_ms: u64) -> Markup {
    let t = Texts::here();
    let age = outlook.saved_unix_ms.map(|saved| match now_ms.saturating_sub(saved) / DAY_MS {
        0 => t.saved_today(),
        days => t.saved_age(days),
    });
    html! {
        @if !outlook.image_name.is_empty() {
            p { (t.saved_state(outlook.image_name.as_str())) @if let Some(age) = age { " · " (age) } }
        }
    }
}

fn usual(outlook: &OutlookView) -> String {
    let t = Texts::here();
    match outlook.usual {
        Some(usual) => t.usual_time(duration(usual.p50_ms), outlook.recoveries, duration(usual.p90_ms)),
        None => t.usual_unknown(outlook.recoveries),
    }
}

#[derive(Deserialize)]
pub struct Safety {
    missing: Option<String>,
}

/// `GET /m/{endpoint}/safety`.
pub async fn safety(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path(name): Path<String>,
    Query(asked): Query<Safety>,
) -> Result<Response, Failed> {
    let view = people.service.endpoint(&endpoint_id(&name)?).await?;
    let outlook = people.service.outlook(&view.endpoint).await?;
    let viewer = viewer(&people, &who, &view.endpoint, view.job.as_ref()).await?;
    let title = Texts::here().safety_title();
    let content = html! {
        (super::stop::banner(people.service.stop().await?.stop.as_ref()))
        (safety_card(&view, &outlook, &viewer, asked.missing.is_some()))
    };
    let page = Page { site: people.service.site(), title: &title, tab: Tab::Scan, live: None, content };
    Ok(respond(StatusCode::OK, page.render()))
}

fn safety_card(view: &EndpointView, outlook: &OutlookView, viewer: &Viewer, missing: bool) -> Markup {
    let t = Texts::here();
    let class = match view.safety_class {
        0 => t.safety_0(),
        1 => t.safety_1(),
        2 => t.safety_2(),
        _ => t.safety_3(),
    };
    let kind = match view.kind {
        Some(Kind::Hmi | Kind::Kiosk) | None => t.safety_kind_panel(),
        Some(Kind::Historian | Kind::Directory | Kind::Serves) => t.safety_kind_server(),
        Some(Kind::Ews | Kind::Laptop) => t.safety_kind_computer(),
    };
    html! {
        section class="card recover machine" {
            (head(view))
            h2 { (t.safety_title()) }
            ul class="safety" {
                li { (class) }
                li { (kind) }
                li { (t.safety_lost()) }
                li { @if outlook.kept.is_empty() { (t.safety_nothing_kept()) } @else { (t.safety_kept(outlook.kept.join(", "))) } }
            }
            @if let Some(rule) = &view.why_not {
                p class="now" { strong { (t.recover_would_wait()) " " } (english(sentence(rule))) }
            }
            @if missing { p class="refused" role="alert" { (t.safety_missing()) } }
            form method="post" action={ "/m/" (view.endpoint) "/recover" } data-hold=(HOLD_MS) {
                input type="hidden" name="confirm" value="";
                label class="tick" for="safe" { input id="safe" type="checkbox" name="safe" value="yes" required; span { (t.safety_tick()) } }
                (hold_button(viewer, RECOVER))
            }
            p { a class="button large" href={ "/m/" (view.endpoint) } { (t.go_back()) } }
        }
    }
}

#[derive(Deserialize)]
pub struct Order {
    #[serde(default)]
    confirm: String,
    #[serde(default)]
    safe: String,
}

/// `POST /m/{endpoint}/recover`: only with the tick of the safety card. Without a script it is asked once more.
pub async fn recover(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path(name): Path<String>,
    Form(order): Form<Order>,
) -> Result<Response, Failed> {
    let endpoint = endpoint_id(&name)?;
    people.service.may_order(&who.actor(), &endpoint).await?;
    if order.safe != "yes" {
        return Ok(Redirect::to(&format!("/m/{endpoint}/safety?missing=1")).into_response());
    }
    if order.confirm != "yes" {
        let view = people.service.endpoint(&endpoint).await?;
        let viewer = viewer(&people, &who, &endpoint, None).await?;
        let content = confirm_at(&view, &viewer, &format!("/m/{endpoint}"), RECOVER);
        let title = Texts::here().recover_sure(endpoint.as_str());
        let page = Page { site: people.service.site(), title: &title, tab: Tab::Scan, live: None, content };
        return Ok(respond(StatusCode::OK, page.render()));
    }
    let request = RecoverRequest { reason: REASON.to_owned(), ..RecoverRequest::default() };
    people.service.recover(&who.actor(), &endpoint, request).await?;
    Ok(Redirect::to(&format!("/m/{endpoint}")).into_response())
}

/// An open job: few words, whether one may walk away, when it was last heard, and STOP.
fn running(machine: &Before<'_>, job: &JobView) -> Markup {
    let view = machine.view;
    let pairing = view.pairing_code.as_deref().filter(|_| {
        matches!(
            job.state,
            JobState::Held { reason: HoldReason::PairingNeeded, .. } | JobState::Working { .. }
        )
    });
    html! {
        @if let Some(code) = pairing { (pairing_card(view, code, machine.viewer)) }
        @if matches!(job.state, JobState::Held { .. }) { (trouble(machine, job)) }
        @else { (moving(machine, job)) }
        @if matches!(job.state, JobState::Held { .. }) { (decisions(job, machine.viewer)) (review::break_card(view, Some(job), machine.viewer)) }
        form class="big-stop" method="post" action={ "/jobs/" (job.job) "/cancel" } {
            (machine.viewer.plain("/jobs/{job}/cancel", "danger large wide", "machine-stop", Texts::here().stop_word()))
        }
    }
}

fn moving(machine: &Before<'_>, job: &JobView) -> Markup {
    let t = Texts::here();
    let (tone, word) = job_state(&job.state);
    let said = said_of(job);
    let now = machine.now_ms;
    html! {
        section class={ "card story " (tone.class()) } {
            (head(machine.view))
            div class="card-head" { (badge(tone, word)) span class="clock" { (since(job.asked_unix_ms, now)) } }
            p class="walk" id="walk" {
                @if said.now.is_some() { (t.walk_stay()) }
                @else {
                    @match machine.outlook.until_unix_ms {
                        Some(until) if until > now => { (fill(&t.walk_away(SLOTS[0]), [time_of_day(until)])) }
                        Some(_) => { (t.walk_late()) }
                        None => { (t.walk_unknown()) }
                    }
                }
            }
            p class="what" { (said.what) }
            @if let Some(now) = &said.now { p class="now" { strong { (t.what_now()) " " } (now) } }
            @if let Some(beside) = &said.beside { p class="small" { (beside) } }
            @if let Some(progress) = job.progress { (progress_bar(progress)) }
            (stretches(job, now))
            p class="small" {
                @match machine.view.seen_unix_ms.filter(|seen| *seen >= job.asked_unix_ms) {
                    Some(seen) => { (fill(&t.heard_ago(SLOTS[0]), [since(seen, now)])) }
                    None => { (t.heard_never()) }
                }
            }
        }
    }
}

/// One sentence what, one what to do, one code, and the same for a phone.
fn trouble(machine: &Before<'_>, job: &JobView) -> Markup {
    let t = Texts::here();
    let (tone, word) = job_state(&job.state);
    let said = said_of(job);
    let (code, detail) = match &job.state {
        JobState::Held { reason, detail, .. } | JobState::Failed { reason, detail, .. } => {
            (reason.code(), detail.as_str())
        }
        _ => ("cancelled", ""),
    };
    let at = format!("https://{}/m/{}/{}?code={code}", machine.host, job.endpoint, job.job);
    html! {
        section class={ "card " (tone.class()) } {
            (head(machine.view))
            div { (badge(tone, word)) }
            p class="what" { (said.what) }
            @if let Some(now) = &said.now { p class="now" { strong { (t.what_now()) " " } (now) } }
            p class="trouble-code" { (t.word_code()) " " code { (code) } }
            div class="phone" { (qr(&at, &t.phone_opens_it())) p class="small" { (t.phone_opens_it()) } }
            @if !detail.is_empty() { p class="small" { (english(detail)) } }
            @if let Some(beside) = &said.beside { p class="small" { (beside) } }
        }
    }
}

fn live_values(machine: &Before<'_>, job: &JobView) -> Markup {
    let t = Texts::here();
    html! {
        section class="card good" {
            (head(machine.view))
            p class="what" { (said_of(job).what) }
            h2 { (t.live_title()) }
            p { (t.live_what()) }
            form method="post" action={ "/jobs/" (job.job) "/accept" } {
                div class="actions" {
                    (answer(machine.viewer, "primary large", "true", t.live_yes()))
                    (answer(machine.viewer, "large", "false", t.live_no()))
                }
            }
        }
    }
}

fn answer(viewer: &Viewer, class: &str, value: &str, word: String) -> Markup {
    let id = format!("live-{value}");
    viewer.button(
        ACCEPT,
        Button { class, id: &id, sends: Some(("live_values", value)), word: html! { (word) } },
    )
}

fn done(machine: &Before<'_>) -> Markup {
    let t = Texts::here();
    html! {
        section class="card good" id="done" {
            (head(machine.view))
            h2 { (t.done_title()) }
            p class="what" { (t.done_what(machine.view.endpoint.as_str())) }
            (onward(machine))
        }
    }
}

fn not_live(machine: &Before<'_>, job: &JobView) -> Markup {
    let t = Texts::here();
    let at = format!("https://{}/m/{}/{}?code=not-accepted", machine.host, job.endpoint, job.job);
    html! {
        section class="card attention" id="not-live" {
            (head(machine.view))
            h2 { (t.not_live_title()) }
            ol class="safety" { li { (t.not_live_dark()) } li { (t.not_live_stale()) } li { (t.not_live_call()) } }
            form method="post" action={ "/jobs/" (job.job) "/accept" } {
                (answer(machine.viewer, "primary large", "true", t.not_live_now()))
            }
            p class="trouble-code" { (t.word_code()) " " code { "not-accepted" } }
            div class="phone" { (qr(&at, &t.phone_opens_it())) p class="small" { (t.phone_opens_it()) } }
            (onward(machine))
        }
    }
}

fn onward(machine: &Before<'_>) -> Markup {
    let t = Texts::here();
    html! {
        div class="actions" {
            a class="button large" href="/scan" { (t.next_machine()) }
            a class="button large" href={ "/m/" (machine.view.endpoint) "?again=1" } { (t.recover_again()) }
        }
    }
}

#[derive(Deserialize)]
pub struct Answered {
    live_values: bool,
    #[serde(default)]
    note: String,
}

/// `POST /jobs/{job}/accept`.
pub async fn accept(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path(job): Path<String>,
    Form(given): Form<Answered>,
) -> Result<Redirect, Failed> {
    let order = Acceptance { live_values: given.live_values, note: given.note };
    let view = people.service.accept(&who.actor(), job_id(&job)?, order).await?;
    Ok(Redirect::to(&format!("/m/{}", view.endpoint)))
}
