//! An endpoint in a list, one sentence each, and what was refused on the boot network. No destructive control stands in a list.

use maud::{Markup, html};
use recovery_protocol::operator::{EndpointState, EndpointView, RefusalView};

use super::{
    job::said_of,
    page::{code_text, sentence},
    texts::Texts,
    words::{SLOTS, badge, endpoint_state, english, fill, moment, since},
};

/// Lower is sooner.
#[must_use]
pub fn urgency(state: EndpointState) -> u8 {
    match state {
        EndpointState::Held => 0,
        EndpointState::Suspect => 1,
        EndpointState::Recovering => 2,
        EndpointState::Discovered => 3,
        EndpointState::Known => 4,
        EndpointState::Trusted => 5,
    }
}

/// One of them in a list.
#[must_use]
pub fn row(view: &EndpointView, now_ms: u64) -> Markup {
    let t = Texts::here();
    let (tone, word) = endpoint_state(view.state);
    let name = view.endpoint.as_str();
    html! {
        a class={ "row " (tone.class()) } id={ "row-" (name) } href={ "/endpoints/" (name) } {
            span class="row-name" {
                (name)
                span class="small" {
                    (view.blueprint)
                    @if !view.labels.is_empty() { " · " (view.labels) }
                    @if view.drill_safe { " · " (t.may_be_drilled()) }
                    @if view.job.as_ref().is_some_and(|job| job.break_glass.is_some() && !job.state.is_over()) { " · " (t.glass_mark_short()) }
                }
            }
            (badge(tone, word))
            span class="row-what" { (sentence_for(view, now_ms)) }
        }
    }
}

fn sentence_for(view: &EndpointView, now_ms: u64) -> Markup {
    let t = Texts::here();
    let open_job = view.job.as_ref().filter(|job| !job.state.is_over());
    html! {
        @if view.conflict.is_some() { (t.row_conflict()) " " }
        @match (view.state, open_job) {
            (EndpointState::Held, Some(job)) => { (said_of(job).in_a_row()) }
            (EndpointState::Recovering, Some(job)) => { (said_of(job).in_a_row()) " " (fill(&t.row_since(SLOTS[0]), [since(job.asked_unix_ms, now_ms)])) }
            (EndpointState::Suspect, _) => { (t.row_suspect()) }
            (EndpointState::Discovered, _) => { (t.row_discovered()) }
            (EndpointState::Trusted, _) => {
                @if let Some(at) = view.proven_unix_ms { (fill(&t.row_proved(SLOTS[0]), [moment(at)])) } @else { (t.row_enrolled()) }
            }
            _ => { (t.row_known()) }
        }
    }
}

/// What was asked on the boot network and not given: a person may have a cable to pull.
#[must_use]
pub fn refused(refusals: &[RefusalView]) -> Markup {
    let t = Texts::here();
    html! {
        details class="card facts" id="refusals" {
            summary { (t.net_refused()) }
            dl {
                @for refusal in refusals {
                    dt { code { (refusal.code) } }
                    dd {
                        (fill(&t.net_refused_times(SLOTS[0], SLOTS[1], refusal.count), [html! { (refusal.from) }, moment(refusal.last_unix_ms)]))
                        " " (why_refused(refusal))
                    }
                }
            }
        }
    }
}

/// Why something was refused, by its code in the reader's language.
#[must_use]
pub fn why_refused(refusal: &RefusalView) -> Markup {
    match code_text(&refusal.code, "what") {
        Some(said) => html! { (said) },
        None => english(sentence(&refusal.why)),
    }
}
