//! Drills: the list, the form that starts one, one drill's steps and its report.

use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    response::{Redirect, Response},
};
use maud::{Markup, html};
use recovery_protocol::{
    EndpointId,
    drill::DrillCode,
    operator::{DrillAnswer, DrillStepView, DrillView, EndpointView, NewDrill},
};
use serde::Deserialize;

use super::{
    Failed, Part, calendar,
    may::{Button, Viewer},
    now_ms,
    page::Tab,
    reports,
    texts::Texts,
    words::{Tone, badge, english},
};
use crate::{
    api::{People, endpoint_id, gate::Who},
    service::Actor,
};

/// `GET /drills`.
pub async fn all(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Query(part): Query<Part>,
) -> Result<Response, Failed> {
    let endpoints = people.service.endpoints(None).await?;
    let mut viewer = Viewer::of(&who);
    viewer.against(&["/drills"], people.service.may_begin().await);
    let (drills, runbooks) = (people.drills.list(), people.drills.runbooks());
    let beside = calendar::beside(&people.drills).await?;
    let content = list(&drills, &runbooks, &endpoints, &viewer, &beside, now_ms());
    part.of(&people, Tab::Drills, &Texts::here().tab_drills(), "/drills", content).await
}

#[derive(Deserialize)]
pub struct DrillForm {
    runbook: String,
    endpoint: String,
}

/// `POST /drills`.
pub async fn start(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Form(form): Form<DrillForm>,
) -> Result<Redirect, Failed> {
    let endpoints = vec![endpoint_id(&form.endpoint)?];
    let new = NewDrill { runbook: form.runbook, endpoints, ..NewDrill::default() };
    let drill = people.drills.start(&actor, new).await?;
    Ok(Redirect::to(&format!("/drills/{}", drill.drill)))
}

#[derive(Deserialize)]
pub struct AnswerForm {
    step: String,
    endpoint: String,
    #[serde(default)]
    person: String,
    note: String,
    yes: bool,
}

/// `POST /drills/{drill}/answer`.
pub async fn answer(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(drill): Path<String>,
    Form(form): Form<AnswerForm>,
) -> Result<Redirect, Failed> {
    let AnswerForm { step, endpoint, person, note, yes } = form;
    // Their duty on record speaks for them.
    let role = String::new();
    let endpoint = if endpoint.is_empty() { None } else { Some(endpoint_id(&endpoint)?) };
    people.drills.answer(&actor, &drill, DrillAnswer { step, endpoint, person, role, yes, note }).await?;
    Ok(Redirect::to(&format!("/drills/{drill}")))
}

#[derive(Deserialize)]
pub struct CodeForm {
    endpoint: String,
    code: String,
}

/// `POST /drills/{drill}/code`.
pub async fn code(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(drill): Path<String>,
    Form(form): Form<CodeForm>,
) -> Result<Redirect, Failed> {
    let order = DrillCode { endpoint: endpoint_id(&form.endpoint)?, code: form.code };
    people.drills.match_code(&actor, &drill, order).await?;
    Ok(Redirect::to(&format!("/drills/{drill}")))
}

/// `GET /drills/{drill}`.
pub async fn one(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
    Query(part): Query<Part>,
) -> Result<Response, Failed> {
    let view = people.drills.view(&id)?;
    let codes = people.service.drill_codes(&view.jobs).await?;
    let content = content(&view, &codes, &Viewer::of(&who), now_ms());
    part.of(&people, Tab::Drills, &view.runbook, &format!("/drills/{}", view.drill), content).await
}

/// The list and the form.
#[must_use]
pub fn list(
    drills: &[DrillView],
    runbooks: &[String],
    endpoints: &[EndpointView],
    viewer: &Viewer,
    beside: &Markup,
    now_ms: u64,
) -> Markup {
    let t = Texts::here();
    let safe: Vec<_> = endpoints.iter().filter(|view| view.drill_safe).collect();
    html! {
        div data-now=(now_ms) {
            h1 { (t.tab_drills()) }
            @if drills.is_empty() { p class="summary" { (t.drills_none()) } }
            @else {
                ul class="rows" { @for drill in drills { li {
                    @let (tone, word) = state(&drill.state);
                    a class={ "row " (tone.class()) } id={ "row-" (drill.drill) } href={ "/drills/" (drill.drill) } {
                        span class="row-name" { (drill.runbook) }
                        (badge(tone, word))
                        span class="row-what" { (t.drill_passed(drill.steps.len(), passed(drill))) }
                    }
                } } }
            }
            (beside)
            p { a class="quiet-link" href="/zones" { (t.zones_link()) } }
            section class="card" id="start" {
                h2 { (t.drill_start_title()) }
                @if safe.is_empty() {
                    p { (t.drill_none_safe()) }
                    pre { code { "groundstate endpoint add bench-01 --mac 52:54:00:12:34:57 --blueprint hmi --drill-safe" } }
                } @else {
                    form method="post" action="/drills" {
                        label for="runbook" { (t.drill_runbook()) }
                        select id="runbook" name="runbook" { @for name in runbooks { option { (name) } } }
                        label for="endpoint" { (t.col_endpoint()) }
                        select id="endpoint" name="endpoint" { @for view in safe { option { (view.endpoint) } } }
                        p class="small" { (t.drill_really()) }
                        div class="actions" { (viewer.plain("/drills", "primary", "start", t.drill_start())) }
                    }
                }
            }
        }
    }
}

/// One drill. `codes`: the endpoints that show a code which nobody matched yet.
#[must_use]
pub fn content(drill: &DrillView, codes: &[EndpointId], viewer: &Viewer, now_ms: u64) -> Markup {
    let t = Texts::here();
    let (tone, word) = state(&drill.state);
    html! {
        div data-now=(now_ms) {
            p class="crumb" { a href="/drills" { (t.tab_drills()) } }
            (tape())
            div class="title" { h1 { (drill.runbook) } (badge(tone, word)) }
            section class={ "card story " (tone.class()) } {
                ol class="stretches" {
                    @for step in &drill.steps {
                        @let (class, tone) = match step.state.as_str() {
                            "passed" => ("done", Tone::Good),
                            "failed" => ("stopped", Tone::Bad),
                            "running" => ("now", Tone::Busy),
                            "waiting_person" => ("stopped", Tone::Attention),
                            _ => ("ahead", Tone::Quiet),
                        };
                        li class=(class) {
                            (tone.shape())
                            span class="stretch-name" {
                                (step.step) @if let Some(endpoint) = &step.endpoint { " · " (endpoint) }
                                @if !step.what.is_empty() { span class="small block" { (english(&step.what)) } }
                            }
                            span class="stretch-said" { (said(&step.state)) }
                        }
                    }
                }
            }
            @for endpoint in codes { (code_form(drill, endpoint, viewer)) }
            @for step in drill.steps.iter().filter(|step| step.state == "waiting_person") { (question(drill, step, viewer)) }
            @if !drill.jobs.is_empty() {
                section class="card" {
                    h2 { (t.drill_recoveries()) }
                    ul { @for job in &drill.jobs { li { a href={ "/jobs/" (job) } { code class="long" { (job) } } } } }
                }
            }
            (reports::links(&format!("/api/v1/drills/{}/report", drill.drill)))
        }
    }
}

/// The code that hardware shows before it is written, and the field for it.
fn code_form(drill: &DrillView, endpoint: &EndpointId, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let id = format!("match-{endpoint}");
    let field = format!("code-{endpoint}");
    let button = Button { class: "primary", id: &id, sends: None, word: html! { (t.drill_code_send()) } };
    html! {
        section class="card attention" id={ "shows-" (endpoint) } {
            h2 { (t.drill_code_title(endpoint.as_str())) }
            p { (t.drill_code_why()) }
            form method="post" action={ "/drills/" (drill.drill) "/code" } {
                input type="hidden" name="endpoint" value=(endpoint);
                label for=(field) { (t.drill_code_field()) }
                input id=(field) name="code" inputmode="numeric" pattern="[0-9]{4}" minlength="4" maxlength="4" required autocomplete="off";
                div class="actions" { (viewer.button("/drills/{drill}/code", button)) }
            }
        }
    }
}

/// What a person is asked, and the form for their answer.
fn question(drill: &DrillView, step: &DrillStepView, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let answer = |class: &str, value: &str, word: String| {
        let id =
            format!("answer-{}-{}-{value}", step.step, step.endpoint.as_ref().map_or("", |id| id.as_str()));
        let sends = Some(("yes", value));
        viewer.button("/drills/{drill}/answer", Button { class, id: &id, sends, word: html! { (word) } })
    };
    html! {
        section class="card attention" {
            h2 { (step.step) @if let Some(endpoint) = &step.endpoint { " · " (endpoint) } }
            p { (english(&step.what)) }
            form method="post" action={ "/drills/" (drill.drill) "/answer" } {
                input type="hidden" name="step" value=(step.step);
                input type="hidden" name="endpoint" value=(step.endpoint.as_ref().map(ToString::to_string).unwrap_or_default());
                @if !step.what.ends_with("must approve.") {
                    label for="person" { (t.drill_who()) }
                    input id="person" name="person" maxlength="80" autocomplete="off";
                }
                label for="note" { (t.drill_note()) }
                input id="note" name="note" maxlength="200" autocomplete="off";
                div class="actions" {
                    (answer("primary", "true", t.yes_word()))
                    (answer("", "false", t.no_word()))
                }
            }
        }
    }
}

fn passed(drill: &DrillView) -> usize {
    drill.steps.iter().filter(|step| step.state == "passed").count()
}

fn state(state: &str) -> (Tone, String) {
    let t = Texts::here();
    match state {
        "running" => (Tone::Busy, t.drill_running()),
        "waiting_person" => (Tone::Attention, t.drill_waiting()),
        "succeeded" => (Tone::Good, t.drill_succeeded()),
        "partly" => (Tone::Attention, t.drill_partly()),
        "failed" => (Tone::Bad, t.drill_failed()),
        _ => (Tone::Quiet, t.drill_stopped()),
    }
}

/// How far a step is, in the reader's language.
fn said(state: &str) -> Markup {
    let t = Texts::here();
    let ours = match state {
        "passed" => t.step_passed(),
        "failed" => t.step_failed(),
        "running" => t.step_running(),
        "waiting_person" => t.step_waiting(),
        "skipped" => t.step_skipped(),
        "pending" => t.step_ahead(),
        other => return english(other.replace('_', " ")),
    };
    html! { (ours) }
}

/// What stands above everything of a rehearsal: the tape with its pattern, the word, and what it means.
#[must_use]
pub fn tape() -> Markup {
    let t = Texts::here();
    html! { p class="drill-tape" { span class="drill-word" { (t.drill_word()) } " " span class="drill-means" { (t.drill_not_real()) } } }
}
