//! STOP for the whole site: a banner on every page while it stands, and the page on which it is pressed and released.

use maud::{Markup, html};
use recovery_protocol::stop::StopView;

use super::{
    may::Viewer,
    page::sentence,
    texts::Texts,
    words::{SLOTS, actor, english, fill, moment, since},
};

/// On every page while it stands.
#[must_use]
pub fn banner(standing: Option<&StopView>) -> Markup {
    let t = Texts::here();
    html! {
        @if let Some(stop) = standing {
            section class="card bad stop-banner" id="stop" role="status" {
                p { strong { (t.stop_banner()) " " } (t.stop_banner_more()) " " a href="/stop" { (t.stop_banner_link()) } }
                @if let Some(first) = &stop.release {
                    p { (fill(&t.stop_one_more(SLOTS[0], SLOTS[1]), [html! { (first.by) }, moment(first.ends_unix_ms)])) }
                }
            }
        }
    }
}

/// The page.
#[must_use]
pub fn content(standing: Option<&StopView>, viewer: &Viewer, now_ms: u64) -> Markup {
    match standing {
        Some(stop) => release(stop, viewer, now_ms),
        None => press(viewer),
    }
}

fn press(viewer: &Viewer) -> Markup {
    let t = Texts::here();
    html! {
        section class="card attention" {
            h1 { (t.stop_title()) }
            p { (t.stop_what()) }
            p { (t.stop_disks()) }
            form method="post" action="/stop" {
                label for="reason" { (t.why_field()) }
                input id="reason" name="reason" maxlength="200" autocomplete="off";
                div class="actions" {
                    (viewer.plain("/stop", "danger wide", "press", t.stop_word()))
                    a class="button" href="/" { (t.go_back()) }
                }
            }
        }
    }
}

fn release(stop: &StopView, viewer: &Viewer, now_ms: u64) -> Markup {
    let t = Texts::here();
    let mut viewer = viewer.clone();
    if stop.release.as_ref().is_some_and(|first| first.by == format!("operator:{}", viewer.name)) {
        viewer.against_because("/stop/release", t.stop_own_release());
    }
    let pressed = [
        html! { (actor(&stop.pressed_by)) },
        moment(stop.pressed_unix_ms),
        since(stop.pressed_unix_ms, now_ms),
    ];
    html! {
        section class="card bad" {
            h1 { (t.stop_stands()) }
            p class="what" { (fill(&t.stop_pressed(SLOTS[0], SLOTS[1], SLOTS[2]), pressed)) }
            p { @if stop.reason.is_empty() { (t.stop_no_reason()) } @else { (sentence(&stop.reason)) } }
            p { (t.stop_held(stop.jobs_held)) }
            @if !stop.goes_on.is_empty() {
                p { strong { (t.stop_goes_on()) } }
                ul { @for what in &stop.goes_on { li { (english(sentence(what))) } } }
            }
            p class="now" {
                strong { (t.what_now()) " " }
                @match &stop.release {
                    Some(first) => {
                        (fill(&t.stop_now_second(SLOTS[0], SLOTS[2], SLOTS[1]),
                            [html! { (first.by) }, html! { (sentence(&first.reason)) }, moment(first.ends_unix_ms)]))
                    }
                    None => { (t.stop_now_first()) }
                }
            }
            form method="post" action="/stop/release" {
                label for="reason" { (t.stop_found()) }
                input id="reason" name="reason" maxlength="200" autocomplete="off" required;
                div class="actions" { (viewer.plain("/stop/release", "", "release", t.stop_release())) a class="button" href="/" { (t.go_back()) } }
            }
            form method="post" action="/stop" {
                input type="hidden" name="reason" value="pressed again";
                (viewer.plain("/stop", "danger", "again", t.stop_again()))
                p class="small" { (t.stop_again_what()) }
            }
        }
    }
}
