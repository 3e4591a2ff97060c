//! The list of endpoints: who needs a person first, one sentence each. No destructive control stands in a list.

use std::cmp::Reverse;

use maud::{Markup, html};
use recovery_protocol::{
    operator::{EndpointState, EndpointView, RefusalView},
    selector::Selector,
};

use super::{
    page::sentence,
    words::{Tone, badge, endpoint_state, moment, since},
};

/// The content of the list.
#[must_use]
pub fn list(
    endpoints: &[EndpointView],
    selector: Option<&Selector>,
    refusals: &[RefusalView],
    now_ms: u64,
) -> Markup {
    let mut sorted: Vec<_> = endpoints.iter().collect();
    sorted.sort_by_key(|view| {
        (view.conflict.is_none(), urgency(view.state), Reverse(view.seen_unix_ms), view.endpoint.clone())
    });
    html! {
        div class="list" data-now=(now_ms) {
            h1 { "Endpoints" }
            (summary(endpoints))
            @if endpoints.is_empty() && selector.is_some() { p { "None is meant by this. " a href="/" { "Show all" } } }
            @else if endpoints.is_empty() { (nothing_yet()) }
            @else { ul class="rows" { @for view in sorted { li { (row(view, now_ms)) } } } }
            @if !refusals.is_empty() { (refused(refusals)) }
        }
    }
}

/// Ask for some of them, by the grammar of the command line.
#[must_use]
pub fn find(selector: Option<&Selector>) -> Markup {
    html! {
        form class="find" method="get" action="/" {
            label for="selector" { "Show those of which this is true" }
            input id="selector" name="selector" maxlength="2000" autocomplete="off" spellcheck="false"
                placeholder="line=3,kind!=historian" value=[selector.map(ToString::to_string)];
            button { "Show" }
            @if selector.is_some() { a class="quiet-link" href="/" { "all" } }
        }
    }
}

/// Lower is sooner.
fn urgency(state: EndpointState) -> u8 {
    match state {
        EndpointState::Held => 0,
        EndpointState::Suspect => 1,
        EndpointState::Recovering => 2,
        EndpointState::Discovered => 3,
        EndpointState::Known => 4,
        EndpointState::Trusted => 5,
    }
}

fn summary(endpoints: &[EndpointView]) -> Markup {
    let count = |state| endpoints.iter().filter(|view| view.state == state).count();
    let word = |count: usize, one: &'static str, many: &'static str| if count == 1 { one } else { many };
    let held = count(EndpointState::Held);
    let suspect = count(EndpointState::Suspect);
    let recovering = count(EndpointState::Recovering);
    let trusted = count(EndpointState::Trusted);
    html! {
        p class="summary" {
            @if held > 0 { (badge(Tone::Attention, &format!("{held} {} you", word(held, "needs", "need")))) }
            @if suspect > 0 { (badge(Tone::Bad, &format!("{suspect} suspect"))) }
            @if recovering > 0 { (badge(Tone::Busy, &format!("{recovering} recovering"))) }
            @if trusted > 0 { (badge(Tone::Good, &format!("{trusted} trusted"))) }
        }
    }
}

fn row(view: &EndpointView, now_ms: u64) -> Markup {
    let (tone, word) = endpoint_state(view.state);
    let name = view.endpoint.as_str();
    html! {
        a class={ "row " (tone.class()) } id={ "row-" (name) } href={ "/endpoints/" (name) } {
            span class="row-name" {
                (name)
                span class="small" {
                    (view.blueprint)
                    @if !view.labels.is_empty() { " · " (view.labels) }
                    @if view.drill_safe { " · may be drilled" }
                    @if view.job.as_ref().is_some_and(|job| job.break_glass.is_some() && !job.state.is_over()) { " · GLASS BROKEN" }
                }
            }
            (badge(tone, word))
            span class="row-what" { (sentence_for(view, now_ms)) }
        }
    }
}

fn sentence_for(view: &EndpointView, now_ms: u64) -> Markup {
    let open_job = view.job.as_ref().filter(|job| !job.state.is_over());
    html! {
        @if view.conflict.is_some() { "Another one came with its address. Open it and say which it is. " }
        @match (view.state, open_job) {
            (EndpointState::Held, Some(job)) => { (sentence(&job.what)) " " (sentence(&job.what_now)) }
            (EndpointState::Recovering, Some(job)) => { (sentence(&job.what)) " " (since(job.asked_unix_ms, now_ms)) " since it was asked for." }
            (EndpointState::Suspect, _) => { "Its integrity is in doubt. Open it and decide." }
            (EndpointState::Discovered, _) => { "Seen on the network, not on record. It gets nothing." }
            (EndpointState::Trusted, _) => {
                @if let Some(at) = view.proven_unix_ms { "Last proved itself at " (moment(at)) "." } @else { "Enrolled." }
            }
            _ => { "On record, not enrolled." }
        }
    }
}

/// What was asked on the boot network and not given: a person may have a cable to pull.
fn refused(refusals: &[RefusalView]) -> Markup {
    html! {
        details class="card facts" id="refusals" {
            summary { "Refused on the boot network" }
            dl {
                @for refusal in refusals {
                    dt { code { (refusal.code) } }
                    dd {
                        (refusal.count) " times, last at " (moment(refusal.last_unix_ms)) " from " (refusal.from) ". "
                        (sentence(&refusal.why))
                    }
                }
            }
        }
    }
}

fn nothing_yet() -> Markup {
    html! {
        section class="card" {
            h2 { "No endpoint yet" }
            p { "Put one on record on the appliance:" }
            pre { code { "groundstate endpoint add press-01 --mac 52:54:00:12:34:56 --blueprint hmi" } }
            p { "Or let one boot from the network: it appears here as discovered." }
        }
    }
}
