//! Standing plans: what each one lets begin by itself, who said so, and the buttons of the two who approve.

use maud::{Markup, html};
use recovery_protocol::plan::{PlanState, PlanView};

use super::{
    may::Viewer,
    page::sentence,
    texts::Texts,
    words::{SLOTS, Tone, actor, badge, english, fill, moment},
};

/// The page. `against`: what stands against this person's approval of each, by its hash.
#[must_use]
pub fn list(plans: &[PlanView], viewer: &Viewer) -> Markup {
    let t = Texts::here();
    html! {
        h1 { (t.plans_title()) }
        p { (t.plans_what()) }
        @if plans.is_empty() {
            p class="summary" { (t.plans_none()) }
            pre { code { "groundstate plan make night --selector line=3 --image hmi-panel:7 --trigger attestation --window 'daily 22:00-05:00' --most-per-day 4 --valid-days 30" } }
        }
        @for (at, plan) in plans.iter().enumerate() { (card(plan, at, viewer)) }
        p { a class="quiet-link" href="/notifications" { (super::Texts::here().notifications()) } }
        @if viewer.why_not("/policy").is_none() {
            p { a class="quiet-link" href="/policy" { (t.plans_try()) } }
        }
    }
}

fn card(plan: &PlanView, at: usize, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let (tone, word) = match plan.state {
        PlanState::Proposed => (Tone::Attention, t.plan_proposed()),
        PlanState::Standing => (Tone::Good, t.plan_standing()),
        PlanState::Over => (Tone::Quiet, t.plan_over()),
    };
    let asked = &plan.asked;
    let names = plan.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let windows = if asked.windows.is_empty() { t.plan_any_time() } else { asked.windows.join(", ") };
    html! {
        section class={ "card " (tone.class()) } {
            div class="card-head" { h2 { (plan.plan) } (badge(tone, word)) }
            @if !plan.over.is_empty() { p { (english(sentence(&plan.over))) } }
            dl class="figures" {
                dt { (t.plan_whom()) } dd { code { (asked.selector) } " · " (t.plan_endpoints(plan.endpoints.len(), names)) }
                dt { (t.fig_image()) } dd { (plan.image_name) }
                dt { (t.plan_begun_by()) } dd { (t.plan_trigger(asked.triggers.join(", "))) }
                dt { (t.col_when()) } dd { (windows) }
                dt { (t.plan_day()) } dd { (t.plan_of(asked.most_per_day, plan.begun)) }
                dt { (t.plan_made_by()) } dd { (by_at(&plan.made_by, plan.made_unix_ms)) @if !asked.reason.is_empty() { ": " (sentence(&asked.reason)) } }
                dt { (t.plan_approved_by()) } dd { @if plan.approvals.is_empty() { (t.nobody_yet()) } @for approval in &plan.approvals { (by_at(&approval.by, approval.at_unix_ms)) " " } }
                dt { (t.plan_ends()) } dd { (moment(plan.ends_unix_ms)) }
            }
            @if plan.state != PlanState::Over { (buttons(plan, at, viewer)) }
        }
    }
}

fn buttons(plan: &PlanView, at: usize, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let (approve, withdraw) = (format!("approve-{at}"), format!("withdraw-{at}"));
    let me = format!("operator:{}", viewer.name);
    let mut viewer = viewer.clone();
    if plan.made_by == me || plan.approvals.iter().any(|approval| approval.by == me) {
        viewer.against_because("/plans/{plan}/approve", t.plan_own());
    }
    html! {
        div class="actions" {
            @if plan.state == PlanState::Proposed {
                form method="post" action={ "/plans/" (plan.plan) "/approve" } {
                    input type="hidden" name="seen" value=(plan.hash);
                    (viewer.plain("/plans/{plan}/approve", "primary", &approve, t.button_approve()))
                }
            }
            form method="post" action={ "/plans/" (plan.plan) "/withdraw" } {
                (viewer.plain("/plans/{plan}/withdraw", "", &withdraw, t.plan_withdraw()))
            }
        }
    }
}

fn by_at(by: &str, at_unix_ms: u64) -> Markup {
    fill(&Texts::here().by_at(SLOTS[0], SLOTS[1]), [html! { (actor(by)) }, moment(at_unix_ms)])
}
