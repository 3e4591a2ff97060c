//! An order once more: asked, then ordered.

use axum::{
    Extension, Form,
    extract::{Path, State},
    response::{IntoResponse as _, Redirect, Response},
};
use maud::{Markup, html};
use recovery_protocol::operator::{Decision, EndpointView, JobView};

use super::super::{
    Failed, Order,
    may::Viewer,
    question,
    texts::Texts,
    viewer,
    words::{SLOTS, fill},
};
use crate::api::{People, gate::Who, job_id};

const ROUTE: &str = "/jobs/{job}/retry";

/// `POST /jobs/{job}/retry`.
pub async fn order(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path(job): Path<String>,
    Form(order): Form<Order>,
) -> Result<Response, Failed> {
    let job = job_id(&job)?;
    if order.confirmed() {
        let new = people.service.retry(&who.actor(), job, Decision { reason: order.reason }).await?;
        return Ok(Redirect::to(&format!("/jobs/{}", new.job)).into_response());
    }
    let old = people.service.job(job).await?;
    // Whom it does not concern is told before anything is asked.
    people.service.may_order(&who.actor(), &old.endpoint).await?;
    let endpoint = people.service.endpoint(&old.endpoint).await?;
    let viewer = viewer(&people, &who, &old.endpoint, Some(&old)).await?;
    let title = Texts::here().recover_sure(old.endpoint.as_str());
    Ok(question(&people, &title, sure(&old, &endpoint, &viewer)))
}

fn sure(old: &JobView, endpoint: &EndpointView, viewer: &Viewer) -> Markup {
    let (t, name) = (Texts::here(), old.endpoint.as_str());
    let back = format!("/jobs/{}", old.job);
    html! {
        p class="crumb" { a href="/jobs" { (t.tab_jobs()) } " › " a href=(back) { (name) } }
        section class="card attention" {
            h1 { (t.recover_sure(name)) }
            p { (fill(&t.recover_lost(SLOTS[0]), [html! { strong { (endpoint.blueprint) } }])) }
            @if old.give_up_preserved { p class="warning" role="note" { strong { (t.preserved_given_up()) } " " (t.preserved_given_up_more()) } }
            form method="post" action={ (back) "/retry" } {
                input type="hidden" name="confirm" value="yes";
                label for="reason" { (t.why_field()) }
                input id="reason" name="reason" maxlength="200" autocomplete="off" value=(old.reason);
                div class="actions" {
                    (viewer.plain(ROUTE, "danger", "sure", t.yes_recover(name)))
                    a class="button" href=(back) { (t.no_back()) }
                }
            }
        }
    }
}
