//! Broken glass: the banner while a review is open, the card that breaks it, and the page on which another person says what they think.

use maud::{Markup, html};
use recovery_protocol::{
    operator::{EndpointView, JobView},
    people::ReviewView,
};

use super::{
    may::{Button, Viewer},
    page::sentence,
    texts::Texts,
    words::{SLOTS, actor, fill, moment},
};

/// On every page while one is open.
#[must_use]
pub fn banner(reviews: &[ReviewView]) -> Markup {
    let t = Texts::here();
    let late = reviews.iter().any(|review| review.overdue);
    html! {
        @if !reviews.is_empty() {
            section class={ "card " @if late { "bad" } @else { "attention" } } id="glass" role="status" {
                p {
                    strong { @if late { (t.glass_banner_late()) } @else { (t.glass_banner()) } " " }
                    (t.glass_count(reviews.len())) " "
                    a href="/reviews" { (t.glass_link()) }
                }
            }
        }
    }
}

/// On the page of an endpoint whose recovery wants a second person.
#[must_use]
pub fn break_card(view: &EndpointView, job: Option<&JobView>, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let waits = job.is_some_and(|job| job.approves.is_some());
    // Who may say yes needs no glass to break.
    let alone = !waits || viewer.why_not("/jobs/{job}/approve").is_some();
    let wants = waits || (job.is_none() && view.safety_class >= 2);
    html! {
        @if wants && alone {
            details class="card" id="break-glass-card" {
                summary { (t.glass_nobody()) }
                p { (t.glass_what()) }
                form method="post" action={ "/endpoints/" (view.endpoint) "/break-glass" } {
                    label for="glass-reason" { (t.glass_happened()) }
                    input id="glass-reason" name="reason" maxlength="200" minlength="8" autocomplete="off" required;
                    (viewer.plain("/endpoints/{endpoint}/break-glass", "danger", "break-glass", t.glass_break()))
                }
            }
        }
    }
}

/// On a job that went on so.
#[must_use]
pub fn mark(job: &JobView) -> Markup {
    let t = Texts::here();
    html! {
        @if let Some(by) = &job.break_glass {
            p class="warning" role="note" {
                strong { (t.glass_banner()) } " " (t.glass_mark(actor(by))) " " a href="/reviews" { (t.glass_review()) }
            }
        }
    }
}

/// The page.
#[must_use]
pub fn list(reviews: &[ReviewView], viewer: &Viewer) -> Markup {
    let t = Texts::here();
    html! {
        h1 { (t.glass_title()) }
        @if reviews.is_empty() { p class="summary" { (t.glass_none()) } }
        @for (at, review) in reviews.iter().enumerate() {
            section class={ "card " @if review.overdue { "bad" } @else { "attention" } } {
                h2 { (review.endpoint) }
                p {
                    (fill(&t.glass_began(SLOTS[0], SLOTS[1]), [html! { (actor(&review.broke)) }, moment(review.at_unix_ms)]))
                    " " (sentence(&review.reason))
                }
                p {
                    @let due = moment(review.due_unix_ms);
                    @if review.overdue { strong { (fill(&t.glass_overdue(SLOTS[0]), [due])) } }
                    @else { (fill(&t.glass_due(SLOTS[0]), [due])) }
                    " " a href={ "/jobs/" (review.job) } { (t.glass_job()) }
                }
                (form(review, &format!("review-{at}"), viewer))
            }
        }
    }
}

fn form(review: &ReviewView, id: &str, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let mut viewer = viewer.clone();
    if review.broke == format!("operator:{}", viewer.name) {
        viewer.against_because("/reviews/{job}", t.glass_own());
    }
    let button = |word: String, justified: &str| {
        let id = format!("{id}-{justified}");
        let sends = Some(("justified", justified));
        viewer.button("/reviews/{job}", Button { class: "", id: &id, sends, word: html! { (word) } })
    };
    html! {
        form method="post" action={ "/reviews/" (review.job) } {
            label for=(id) { (t.glass_found()) }
            input id=(id) name="note" maxlength="200" minlength="8" autocomplete="off" required;
            div class="actions" { (button(t.glass_right(), "true")) (button(t.glass_wrong(), "false")) }
        }
    }
}
