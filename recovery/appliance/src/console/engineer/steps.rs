//! What happened in a job, step by step: when, to what state, how long the one before had lasted, who, and why. Pure: steps in, markup out.

use maud::{Markup, html};
use recovery_protocol::{history::StepView, job::JobState, people::Permission};

use super::super::{
    may::leads_on,
    page::{code_text, sentence},
    texts::Texts,
    words::{actor, badge, duration, english, job_state, moment, stage_name},
};

/// The log of a job, the newest step first.
#[must_use]
pub fn log(steps: &[StepView]) -> Markup {
    let t = Texts::here();
    html! {
        section class="card" id="steps" {
            h2 { (t.steps_title(steps.len())) }
            div class="scroll" tabindex="0" role="region" aria-label=(t.steps_title(steps.len())) { table class="steps" {
                thead { tr {
                    th scope="col" { (t.steps_when()) } th scope="col" { (t.steps_what()) } th scope="col" class="num" { (t.steps_took()) }
                    th scope="col" { (t.steps_who()) } th scope="col" class="num" { (t.steps_entry()) }
                } }
                tbody { @for step in steps.iter().rev() { (one(step)) } }
            } }
            p class="small" { (t.steps_help()) }
        }
    }
}

fn one(step: &StepView) -> Markup {
    html! {
        tr {
            td { (moment(step.at_unix_ms)) }
            td {
                @if let Some(to) = &step.to {
                    @let (tone, word) = job_state(to);
                    @match to {
                        JobState::Working { stage } => strong { (sentence(&stage_name(*stage))) },
                        _ => (badge(tone, word)),
                    }
                    @if !step.event.is_empty() { " " span class="small" { (event(&step.event)) } }
                } @else if step.event.is_empty() { code { (step.kind) } } @else { (event(&step.event)) }
                @if !step.why.is_empty() { div class="small" { (why(step)) } }
            }
            td class="num" { @if let Some(took) = step.took_ms { (duration(took)) } }
            td { (actor(&step.actor)) }
            td class="num" { @if leads_on(Permission::Evidence) { a class="tap" href={ "/evidence/" (step.entry) } { (step.entry) } } @else { (step.entry) } }
        }
    }
}

/// What happened, in the reader's language; the record's name where no text of ours is.
fn event(name: &str) -> Markup {
    match Texts::here().by_code(name, "event", []) {
        Some(said) => html! { (said) },
        None => html! { code { (name) } },
    }
}

/// Why, of a hold in the reader's language with the record's detail beside it.
fn why(step: &StepView) -> Markup {
    let (Some(JobState::Held { reason, detail, .. } | JobState::Failed { reason, detail, .. }), true) =
        (&step.to, !Texts::here().is_the_records())
    else {
        return english(sentence(&step.why));
    };
    html! {
        @match code_text(reason.code(), "what") { Some(said) => (said), None => (english(reason.what())) }
        @if !detail.is_empty() { " " (english(sentence(detail))) }
    }
}
