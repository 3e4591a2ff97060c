//! Drills: the list, the form that starts one, one drill's steps and its report.

use maud::{Markup, html};
use recovery_protocol::operator::{DrillStepView, DrillView, EndpointView};

use super::{
    may::{Button, Viewer},
    words::{Tone, badge},
};

/// The list and the form.
#[must_use]
pub fn list(
    drills: &[DrillView],
    runbooks: &[String],
    endpoints: &[EndpointView],
    viewer: &Viewer,
    now_ms: u64,
) -> Markup {
    let safe: Vec<_> = endpoints.iter().filter(|view| view.drill_safe).collect();
    html! {
        div data-now=(now_ms) {
            h1 { "Drills" }
            @if drills.is_empty() { p class="summary" { "None since the appliance started." } }
            @else {
                ul class="rows" { @for drill in drills { li {
                    @let (tone, word) = state(&drill.state);
                    a class={ "row " (tone.class()) } id={ "row-" (drill.drill) } href={ "/drills/" (drill.drill) } {
                        span class="row-name" { (drill.runbook) }
                        (badge(tone, word))
                        span class="row-what" { (passed(drill)) " of " (drill.steps.len()) " steps passed" }
                    }
                } } }
            }
            section class="card" {
                h2 { "Start a drill" }
                @if safe.is_empty() {
                    p { "No endpoint may be drilled. Put a bench, spare-disk or virtual endpoint on record as drill-safe:" }
                    pre { code { "groundstate endpoint add bench-01 --mac 52:54:00:12:34:57 --blueprint hmi --drill-safe" } }
                } @else {
                    form method="post" action="/drills" {
                        label for="runbook" { "Runbook" }
                        select id="runbook" name="runbook" { @for name in runbooks { option { (name) } } }
                        label for="endpoint" { "Endpoint" }
                        select id="endpoint" name="endpoint" { @for view in safe { option { (view.endpoint) } } }
                        p class="small" { "A drill writes only to endpoints that may be drilled. It really writes to them." }
                        div class="actions" { (viewer.plain("/drills", "primary", "start", "Start the drill")) }
                    }
                }
            }
        }
    }
}

/// One drill.
#[must_use]
pub fn content(drill: &DrillView, viewer: &Viewer, now_ms: u64) -> Markup {
    let (tone, word) = state(&drill.state);
    html! {
        div data-now=(now_ms) {
            p class="crumb" { a href="/drills" { "Drills" } }
            p class="drill-tape" { "DRILL" }
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
                                @if !step.what.is_empty() { span class="small block" { (step.what) } }
                            }
                            span class="stretch-said" { (step.state.replace('_', " ")) }
                        }
                    }
                }
            }
            @for step in drill.steps.iter().filter(|step| step.state == "waiting_person") { (question(drill, step, viewer)) }
            @if !drill.jobs.is_empty() {
                section class="card" {
                    h2 { "Recoveries of this drill" }
                    ul { @for job in &drill.jobs { li { a href={ "/jobs/" (job) } { code class="long" { (job) } } } } }
                }
            }
            p { a class="button" href={ "/api/v1/drills/" (drill.drill) "/report" } { "Open the report" } }
        }
    }
}

/// What a person is asked, and the form for their answer.
fn question(drill: &DrillView, step: &DrillStepView, viewer: &Viewer) -> Markup {
    let answer = |class: &str, value: &str, word: &str| {
        let id =
            format!("answer-{}-{}-{value}", step.step, step.endpoint.as_ref().map_or("", |id| id.as_str()));
        let sends = Some(("yes", value));
        viewer.button("/drills/{drill}/answer", Button { class, id: &id, sends, word: html! { (word) } })
    };
    html! {
        section class="card attention" {
            h2 { (step.step) @if let Some(endpoint) = &step.endpoint { " · " (endpoint) } }
            p { (step.what) }
            form method="post" action={ "/drills/" (drill.drill) "/answer" } {
                input type="hidden" name="step" value=(step.step);
                input type="hidden" name="endpoint" value=(step.endpoint.as_ref().map(ToString::to_string).unwrap_or_default());
                @if !step.what.ends_with("must approve.") {
                    label for="person" { "Who did it, if not you" }
                    input id="person" name="person" maxlength="80" autocomplete="off";
                }
                label for="role" { "Your role in this drill" }
                input id="role" name="role" maxlength="80" autocomplete="off";
                label for="note" { "Note (goes into the report, may stay empty)" }
                input id="note" name="note" maxlength="200" autocomplete="off";
                div class="actions" {
                    (answer("primary", "true", "Yes"))
                    (answer("", "false", "No"))
                }
            }
        }
    }
}

fn passed(drill: &DrillView) -> usize {
    drill.steps.iter().filter(|step| step.state == "passed").count()
}

fn state(state: &str) -> (Tone, &'static str) {
    match state {
        "running" => (Tone::Busy, "Running"),
        "waiting_person" => (Tone::Attention, "Waits for a person"),
        "succeeded" => (Tone::Good, "Succeeded"),
        "partly" => (Tone::Attention, "Partly succeeded"),
        "failed" => (Tone::Bad, "Failed"),
        _ => (Tone::Quiet, "Stopped"),
    }
}
