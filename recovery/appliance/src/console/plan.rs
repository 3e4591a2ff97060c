//! Standing plans: what each one lets begin by itself, who said so, and the buttons of the two who approve.

use maud::{Markup, html};
use recovery_protocol::plan::{PlanState, PlanView};

use super::{
    may::Viewer,
    page::sentence,
    words::{Tone, badge, moment},
};

/// The page. `against`: what stands against this person's approval of each, by its hash.
#[must_use]
pub fn list(plans: &[PlanView], viewer: &Viewer) -> Markup {
    html! {
        h1 { "Standing plans" }
        p { "A plan is an approval that two people give beforehand: a recovery that would wait for one at night begins by itself. It counts for the endpoints and the image that it names, as they were; when anything of it changes, it is void." }
        @if plans.is_empty() {
            p class="summary" { "There is none. One is made on the command line:" }
            pre { code { "groundstate plan make night --selector line=3 --image hmi-panel:7 --trigger attestation --window 'daily 22:00-05:00' --most-per-day 4 --valid-days 30" } }
        }
        @for (at, plan) in plans.iter().enumerate() { (card(plan, at, viewer)) }
        @if viewer.why_not("/policy").is_none() {
            p { a href="/policy" { "Try another configuration against what was reported before" } }
        }
    }
}

fn card(plan: &PlanView, at: usize, viewer: &Viewer) -> Markup {
    let (tone, word) = match plan.state {
        PlanState::Proposed => (Tone::Attention, "to be approved"),
        PlanState::Standing => (Tone::Good, "stands"),
        PlanState::Over => (Tone::Quiet, "over"),
    };
    let asked = &plan.asked;
    let windows = if asked.windows.is_empty() { "at any time".to_owned() } else { asked.windows.join(", ") };
    html! {
        section class={ "card " (tone.class()) } {
            div class="card-head" { h2 { (plan.plan) } (badge(tone, word)) }
            @if !plan.over.is_empty() { p { (sentence(&plan.over)) } }
            dl class="figures" {
                dt { "Whom" } dd { code { (asked.selector) } " · " (plan.endpoints.len()) " endpoints: " (plan.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")) }
                dt { "Image" } dd { (plan.image_name) }
                dt { "Begun by" } dd { "a confirmed integrity failure from " (asked.triggers.join(", ")) }
                dt { "When" } dd { (windows) }
                dt { "Within 24 hours" } dd { (plan.begun) " of " (asked.most_per_day) }
                dt { "Made by" } dd { (plan.made_by) " at " (moment(plan.made_unix_ms)) @if !asked.reason.is_empty() { ": " (sentence(&asked.reason)) } }
                dt { "Approved by" } dd { @if plan.approvals.is_empty() { "nobody yet" } @for approval in &plan.approvals { (approval.by) " at " (moment(approval.at_unix_ms)) " " } }
                dt { "Ends" } dd { (moment(plan.ends_unix_ms)) }
            }
            @if plan.state != PlanState::Over { (buttons(plan, at, viewer)) }
        }
    }
}

fn buttons(plan: &PlanView, at: usize, viewer: &Viewer) -> Markup {
    let (approve, withdraw) = (format!("approve-{at}"), format!("withdraw-{at}"));
    let me = format!("operator:{}", viewer.name);
    let mut viewer = viewer.clone();
    let own = plan.made_by == me || plan.approvals.iter().any(|approval| approval.by == me);
    if own {
        let why = "you made it or approved it already";
        let problem = recovery_protocol::Problem::new(409, "", "Another person must approve it", why, "");
        viewer.against(&["/plans/{plan}/approve"], Err(problem));
    }
    html! {
        div class="actions" {
            @if plan.state == PlanState::Proposed {
                form method="post" action={ "/plans/" (plan.plan) "/approve" } {
                    input type="hidden" name="seen" value=(plan.hash);
                    (viewer.plain("/plans/{plan}/approve", "primary", &approve, "Approve"))
                }
            }
            form method="post" action={ "/plans/" (plan.plan) "/withdraw" } {
                (viewer.plain("/plans/{plan}/withdraw", "", &withdraw, "Withdraw"))
            }
        }
    }
}
