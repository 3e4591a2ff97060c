//! The list of endpoints: who needs a person first, one sentence each. No destructive control stands in a list.

use std::cmp::Reverse;

use maud::{Markup, html};
use recovery_protocol::{
    operator::{EndpointState, EndpointView, RefusalView},
    selector::Selector,
};

use super::{
    job::said_of,
    page::sentence,
    texts::Texts,
    words::{SLOTS, Tone, badge, endpoint_state, english, fill, moment, since},
};

/// The content of the list.
#[must_use]
pub fn list(
    endpoints: &[EndpointView],
    selector: Option<&Selector>,
    refusals: &[RefusalView],
    now_ms: u64,
) -> Markup {
    let t = Texts::here();
    let mut sorted: Vec<_> = endpoints.iter().collect();
    sorted.sort_by_key(|view| {
        (view.conflict.is_none(), urgency(view.state), Reverse(view.seen_unix_ms), view.endpoint.clone())
    });
    html! {
        div class="list" data-now=(now_ms) {
            h1 { (t.tab_endpoints()) }
            (summary(endpoints))
            @if endpoints.is_empty() && selector.is_some() { p { (t.none_meant()) " " a href="/" { (t.show_all()) } } }
            @else if endpoints.is_empty() { (nothing_yet()) }
            @else { ul class="rows" { @for view in sorted { li { (row(view, now_ms)) } } } }
            @if !refusals.is_empty() { (refused(refusals)) }
        }
    }
}

/// Ask for some of them, by the grammar of the command line.
#[must_use]
pub fn find(selector: Option<&Selector>) -> Markup {
    let t = Texts::here();
    html! {
        form class="find" method="get" action="/" {
            label for="selector" { (t.find_label()) }
            input id="selector" name="selector" maxlength="2000" autocomplete="off" spellcheck="false"
                placeholder="line=3,kind!=historian" value=[selector.map(ToString::to_string)];
            button { (t.find_show()) }
            @if selector.is_some() { a class="quiet-link" href="/" { (t.find_all()) } }
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
    let t = Texts::here();
    let count = |state| endpoints.iter().filter(|view| view.state == state).count();
    let held = count(EndpointState::Held);
    let suspect = count(EndpointState::Suspect);
    let recovering = count(EndpointState::Recovering);
    let trusted = count(EndpointState::Trusted);
    html! {
        p class="summary" {
            @if held > 0 { (badge(Tone::Attention, t.count_held(held))) }
            @if suspect > 0 { (badge(Tone::Bad, t.count_suspect(suspect))) }
            @if recovering > 0 { (badge(Tone::Busy, t.count_recovering(recovering))) }
            @if trusted > 0 { (badge(Tone::Good, t.count_trusted(trusted))) }
        }
    }
}

fn row(view: &EndpointView, now_ms: u64) -> Markup {
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
fn refused(refusals: &[RefusalView]) -> Markup {
    let t = Texts::here();
    html! {
        details class="card facts" id="refusals" {
            summary { (t.net_refused()) }
            dl {
                @for refusal in refusals {
                    dt { code { (refusal.code) } }
                    dd {
                        (fill(&t.net_refused_times(SLOTS[0], SLOTS[1], refusal.count), [html! { (refusal.from) }, moment(refusal.last_unix_ms)]))
                        " " (english(sentence(&refusal.why)))
                    }
                }
            }
        }
    }
}

fn nothing_yet() -> Markup {
    let t = Texts::here();
    html! {
        section class="card" {
            h2 { (t.none_yet()) }
            p { (t.none_yet_put()) }
            pre { code { "groundstate endpoint add press-01 --mac 52:54:00:12:34:56 --blueprint hmi" } }
            p { (t.none_yet_boot()) }
        }
    }
}
