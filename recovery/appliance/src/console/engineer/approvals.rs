//! What waits for a yes: before it is given, what is written where, what ran there before, who asked, and until when it waits.

use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    response::{Redirect, Response},
};
use maud::{Markup, html};
use recovery_protocol::{
    Problem,
    operator::{Approval, Decision, JobKind, Mode},
    people::ReviewView,
    plan::{PlanState, PlanView},
};
use serde::Deserialize;

use super::super::{
    Failed, Part,
    job::said_of,
    may::{Button, Viewer},
    now_ms,
    page::{Tab, sentence},
    texts::Texts,
    words::{Tone, actor, badge, moment, since, trigger},
};
use crate::{
    api::{People, gate::Who, job_id},
    service::{Actor, inbox::Waiting},
};

const ROUTE: &str = "/approvals/{job}";

/// `GET /approvals`.
pub async fn page(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Query(part): Query<Part>,
) -> Result<Response, Failed> {
    let service = &people.service;
    let waiting = service.inbox(&who.actor()).await?;
    let (plans, reviews) = (service.plans().await?, service.reviews().await?);
    let content = content(&waiting, &plans, &reviews, &Viewer::of(&who), now_ms());
    part.of(&people, Tab::Approvals, &Texts::here().tab_approvals(), "/approvals", content).await
}

/// What a person said of one.
#[derive(Deserialize)]
pub struct Answer {
    decision: String,
    #[serde(default)]
    seen: String,
    #[serde(default)]
    reason: String,
}

/// `POST /approvals/{job}`: yes to what was seen, or no, which gives the job up.
pub async fn answer(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(job): Path<String>,
    Form(answer): Form<Answer>,
) -> Result<Redirect, Failed> {
    let (job, Answer { decision, seen, reason }) = (job_id(&job)?, answer);
    match decision.as_str() {
        "approve" => drop(people.service.approve(&actor, job, Approval { seen, reason }).await?),
        "deny" if reason.trim().is_empty() => {
            let remedy = "write why: whoever asked for it reads it";
            return Err(Problem::new(
                422,
                "reason-missing",
                "A refusal wants a reason",
                "none was given",
                remedy,
            )
            .into());
        }
        "deny" => drop(people.service.cancel(&actor, job, Decision { reason }).await?),
        other => {
            let detail = format!("`{other}` is neither approve nor deny");
            return Err(Problem::new(
                422,
                "bad-decision",
                "The decision cannot be understood",
                detail,
                "use the buttons of the page",
            )
            .into());
        }
    }
    Ok(Redirect::to("/approvals"))
}

/// The page.
#[must_use]
pub fn content(
    waiting: &[Waiting],
    plans: &[PlanView],
    reviews: &[ReviewView],
    viewer: &Viewer,
    now: u64,
) -> Markup {
    let t = Texts::here();
    let plans = plans.iter().filter(|plan| plan.state == PlanState::Proposed).count();
    html! {
        div data-now=(now) {
            h1 { (t.tab_approvals()) }
            @if waiting.is_empty() { p class="summary" { (t.approvals_none()) } }
            @for (at, one) in waiting.iter().enumerate() { (card(one, at, viewer, now)) }
            @if plans > 0 { p { a class="quiet-link" href="/plans" { (t.approvals_plans(plans)) } } }
            @if !reviews.is_empty() { p { a class="quiet-link" href="/reviews" { (t.approvals_reviews(reviews.len())) } } }
        }
    }
}

fn card(one: &Waiting, at: usize, viewer: &Viewer, now: u64) -> Markup {
    let t = Texts::here();
    let job = &one.job;
    html! {
        section class="card attention" id=(job.job) {
            div class="card-head" {
                h2 { a href={ "/endpoints/" (job.endpoint) } { (job.endpoint) } }
                (badge(Tone::Attention, t.home_asks()))
            }
            @if job.mode == Mode::Drill { p class="drill-tape" { (t.drill_word()) } }
            p { (said_of(job).in_a_row()) }
            (plan(one))
            p class="small" {
                (t.approvals_asked_by(actor(&one.asked_by))) " " (moment(job.asked_unix_ms)) ", " (since(job.asked_unix_ms, now)) ". "
                @if !job.reason.is_empty() { (sentence(&job.reason)) " " }
                @if let Some(limit) = job.limit_unix_ms { (t.approvals_until()) " " (moment(limit)) ". " }
                @if one.second_person { (t.approvals_second()) " " }
                a class="quiet-link" href={ "/jobs/" (job.job) } { (t.approvals_job()) }
            }
            (form(one, at, viewer))
        }
    }
}

/// What is there now, and what would be.
fn plan(one: &Waiting) -> Markup {
    let t = Texts::here();
    let job = &one.job;
    let same = one.runs.as_ref().is_some_and(|runs| runs.image == job.image);
    let short = |id: &images::ImageId| id.to_string().chars().take(12).collect::<String>();
    html! {
        table class="diff" {
            thead { tr { th scope="col" { (t.approvals_of()) } th scope="col" { (t.approvals_now()) } th scope="col" { (t.approvals_then()) } } }
            tbody {
                tr {
                    th scope="row" { (t.approvals_image()) }
                    td { @match &one.runs {
                        Some(runs) => { (runs.image_name) " " code { (short(&runs.image)) } " " span class="small" { (moment(runs.since_unix_ms)) } }
                        None => (t.approvals_never()),
                    } }
                    td { @if job.kind == JobKind::Capture { (t.approvals_capture(job.image_name.clone())) }
                        @else { (job.image_name) " " code { (short(&job.image)) } @if same { " " (t.approvals_same()) } } }
                }
                tr {
                    th scope="row" { (t.approvals_disk()) }
                    td { (disk(one)) }
                    td { @if job.kind == JobKind::Capture { (t.approvals_read_only()) } @else { (written(one)) } }
                }
                tr {
                    th scope="row" { (t.approvals_mode()) }
                    td { @if let Some(endpoint) = &one.endpoint { (endpoint.blueprint) " · " (endpoint.group) } }
                    td { @if job.mode == Mode::Drill { (t.approvals_drill()) } @else { (t.approvals_real()) } " · " (trigger(&job.trigger)) }
                }
            }
        }
    }
}

fn disk(one: &Waiting) -> Markup {
    let t = Texts::here();
    let serial = one.endpoint.as_ref().and_then(|endpoint| endpoint.disk_serial.as_deref());
    html! { @match serial { Some(serial) => code { (serial) }, None => (t.approvals_only_disk()) } }
}

fn written(one: &Waiting) -> Markup {
    let t = Texts::here();
    let erased = !one.erase.is_empty() && one.erase != "none";
    html! {
        @if erased { (t.approvals_erased(one.erase.clone())) " " }
        @if one.job.give_up_preserved { (t.approvals_all()) } @else { (t.approvals_but_preserved()) }
    }
}

fn form(one: &Waiting, at: usize, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let mut may = viewer.clone();
    may.against(&[ROUTE], one.against.clone());
    let (reason, approve, deny) = (format!("reason-{at}"), format!("approve-{at}"), format!("deny-{at}"));
    let button = |viewer: &Viewer, class, id, value, word: String| {
        viewer.button(ROUTE, Button { class, id, sends: Some(("decision", value)), word: html! { (word) } })
    };
    html! {
        form method="post" action={ "/approvals/" (one.job.job) } {
            input type="hidden" name="seen" value=(one.job.approves.as_deref().unwrap_or_default());
            label for=(reason) { (t.approvals_reason()) }
            input id=(reason) name="reason" maxlength="200" autocomplete="off";
            div class="actions" {
                (button(&may, "primary", &approve, "approve", t.approvals_approve()))
                (button(viewer, "", &deny, "deny", t.approvals_deny()))
            }
        }
    }
}
