//! Broken glass: the banner while a review is open, the card that breaks it, and the page on which another person says what they think.

use maud::{Markup, html};
use recovery_protocol::{
    operator::{EndpointView, JobView},
    people::ReviewView,
};

use super::{
    may::{Button, Viewer},
    page::sentence,
    words::moment,
};

/// On every page while one is open.
#[must_use]
pub fn banner(reviews: &[ReviewView]) -> Markup {
    let late = reviews.iter().any(|review| review.overdue);
    html! {
        @if !reviews.is_empty() {
            section class={ "card " @if late { "bad" } @else { "attention" } } id="glass" role="status" {
                p {
                    strong { "The glass was broken" @if late { ", and nobody looked at it in time" } ". " }
                    (reviews.len()) @if reviews.len() == 1 { " recovery" } @else { " recoveries" } " went on without approval. "
                    a href="/reviews" { "Who, why, and what another person says" }
                }
            }
        }
    }
}

/// On the page of an endpoint whose recovery wants a second person.
#[must_use]
pub fn break_card(view: &EndpointView, job: Option<&JobView>, viewer: &Viewer) -> Markup {
    let waits = job.is_some_and(|job| job.approves.is_some());
    let wants = waits || (job.is_none() && view.safety_class >= 2);
    html! {
        @if wants {
            details class="card" id="break-glass-card" {
                summary { "Nobody is here to approve" }
                p { "The recovery may begin without the second person. It is an alarm, it stands under your name, and another person reviews it within 24 hours. Guard rails, STOP and the machine's own permit still count." }
                form method="post" action={ "/endpoints/" (view.endpoint) "/break-glass" } {
                    label for="glass-reason" { "What happened" }
                    input id="glass-reason" name="reason" maxlength="200" minlength="8" autocomplete="off" required;
                    (viewer.plain("/endpoints/{endpoint}/break-glass", "danger", "break-glass", "Break the glass"))
                }
            }
        }
    }
}

/// On a job that went on so.
#[must_use]
pub fn mark(job: &JobView) -> Markup {
    html! {
        @if let Some(by) = &job.break_glass {
            p class="warning" role="note" {
                strong { "The glass was broken." } " " (by) " let it go on without the approval that it wants. " a href="/reviews" { "Review" }
            }
        }
    }
}

/// The page.
#[must_use]
pub fn list(reviews: &[ReviewView], viewer: &Viewer) -> Markup {
    html! {
        h1 { "Broken glass" }
        @if reviews.is_empty() { p class="summary" { "Nothing waits for a review." } }
        @for (at, review) in reviews.iter().enumerate() {
            section class={ "card " @if review.overdue { "bad" } @else { "attention" } } {
                h2 { (review.endpoint) }
                p { (review.broke) " began its recovery without approval at " (moment(review.at_unix_ms)) ": " (sentence(&review.reason)) }
                p {
                    @if review.overdue { strong { "Overdue since " } } @else { "To be reviewed until " }
                    (moment(review.due_unix_ms)) ". " a href={ "/jobs/" (review.job) } { "The job and its evidence" }
                }
                (form(review, &format!("review-{at}"), viewer))
            }
        }
    }
}

fn form(review: &ReviewView, id: &str, viewer: &Viewer) -> Markup {
    let mut viewer = viewer.clone();
    let own = review.broke == format!("operator:{}", viewer.name);
    let why = recovery_protocol::Problem::new(
        409,
        "",
        "Another person must review it",
        "you broke this glass yourself",
        "",
    );
    viewer.against(&["/reviews/{job}"], if own { Err(why) } else { Ok(()) });
    let button = |word: &str, justified: &str| {
        let id = format!("{id}-{justified}");
        let sends = Some(("justified", justified));
        viewer.button("/reviews/{job}", Button { class: "", id: &id, sends, word: html! { (word) } })
    };
    html! {
        form method="post" action={ "/reviews/" (review.job) } {
            label for=(id) { "What you found" }
            input id=(id) name="note" maxlength="200" minlength="8" autocomplete="off" required;
            div class="actions" { (button("It was right", "true")) (button("It was not", "false")) }
        }
    }
}
