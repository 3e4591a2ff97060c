//! STOP for the whole site: a banner on every page while it stands, and the page on which it is pressed and released.

use maud::{Markup, html};
use recovery_protocol::{Problem, stop::StopView};

use super::{
    may::Viewer,
    page::sentence,
    words::{moment, since},
};

/// On every page while it stands.
#[must_use]
pub fn banner(standing: Option<&StopView>) -> Markup {
    html! {
        @if let Some(stop) = standing {
            section class="card bad stop-banner" id="stop" role="status" {
                p { strong { "STOP stands. " } "No recovery begins, and what was writing stops with its next report. " a href="/stop" { "Who, why, and how to release it" } }
                @if let Some(first) = &stop.release { p { (first.by) " released it. One more person must, until " (moment(first.ends_unix_ms)) "." } }
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
    html! {
        section class="card attention" {
            h1 { "STOP for the whole site" }
            p { "Every recovery that could still switch or write is held, and none begins, until two people have released it." }
            p { "An endpoint whose disk is half written does not boot until its job is resumed. One whose disk is untouched boots it as before." }
            form method="post" action="/stop" {
                label for="reason" { "Why? (goes into evidence, may stay empty)" }
                input id="reason" name="reason" maxlength="200" autocomplete="off";
                div class="actions" {
                    (viewer.plain("/stop", "danger wide", "press", "STOP"))
                    a class="button" href="/" { "Go back" }
                }
            }
        }
    }
}

fn release(stop: &StopView, viewer: &Viewer, now_ms: u64) -> Markup {
    let mut viewer = viewer.clone();
    let first = stop.release.as_ref().is_some_and(|first| first.by == format!("operator:{}", viewer.name));
    let own = Problem::new(409, "", "Another person must release it too", "you gave the first release", "");
    viewer.against(&["/stop/release"], if first { Err(own) } else { Ok(()) });
    html! {
        section class="card bad" {
            h1 { "STOP stands" }
            p class="what" { (stop.pressed_by) " pressed it at " (moment(stop.pressed_unix_ms)) ", " (since(stop.pressed_unix_ms, now_ms)) " ago." }
            p { @if stop.reason.is_empty() { "No reason was given." } @else { (sentence(&stop.reason)) } }
            p { (stop.jobs_held) @if stop.jobs_held == 1 { " job was" } @else { " jobs were" } " held by it. After the release they are resumed one by one." }
            @if !stop.goes_on.is_empty() {
                p { strong { "This goes on all the same:" } }
                ul { @for what in &stop.goes_on { li { (sentence(what)) } } }
            }
            @match &stop.release {
                Some(first) => p class="now" { strong { "What now: " } (first.by) " released it: " (sentence(&first.reason)) " Another person must too, until " (moment(first.ends_unix_ms)) "." },
                None => p class="now" { strong { "What now: " } "Find out why. Then two people release it, each by their own name." },
            }
            form method="post" action="/stop/release" {
                label for="reason" { "What was found, and why it may go on" }
                input id="reason" name="reason" maxlength="200" autocomplete="off" required;
                div class="actions" { (viewer.plain("/stop/release", "", "release", "Release STOP")) a class="button" href="/" { "Go back" } }
            }
            form method="post" action="/stop" {
                input type="hidden" name="reason" value="pressed again";
                (viewer.plain("/stop", "danger", "again", "STOP again"))
                p class="small" { "Pressed again, a release that was given is void." }
            }
        }
    }
}
