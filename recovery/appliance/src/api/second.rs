//! The calls about what a second person says: broken glass and its review, and standing plans.

use aide::axum::routing::{get_with, post_with};
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use recovery_protocol::{
    operator::{Approval, Decision, JobView},
    people::{NewReview, Permission, ReviewView},
    plan::{NewPlan, PlanView},
};

use super::{Body, Call, Needs, People, Refusal, describe::says, endpoint_id, job_id, wrapped::Accepted};
use crate::service::Actor;

type Answer<T> = Result<Json<T>, Refusal>;

/// REST under `/api/v1`.
pub fn calls() -> Vec<Call> {
    use Permission as P;
    vec![
        (
            "/api/v1/endpoints/{endpoint}/break-glass",
            post_with(
                break_glass,
                says("Begin its recovery without the second person that it wants: an alarm"),
            ),
            Needs::all(P::BreakGlass),
        ),
        (
            "/api/v1/reviews",
            get_with(reviews, says("Where somebody broke the glass, until it is reviewed")),
            Needs::LOOK,
        ),
        (
            "/api/v1/reviews/{job}",
            post_with(review, says("Say what another person thinks of it")),
            Needs::all(P::Approve),
        ),
        (
            "/api/v1/plans",
            get_with(plans, says("Standing plans, the newest first"))
                .post_with(make_plan, says("Make a standing plan")),
            Needs::to_write(P::Plan),
        ),
        (
            "/api/v1/plans/{plan}/approve",
            post_with(approve_plan, says("Give one of its two approvals, by its hash")),
            Needs::all(P::Approve),
        ),
        (
            "/api/v1/plans/{plan}/withdraw",
            post_with(withdraw_plan, says("End it at once")),
            Needs::all(P::Stop),
        ),
    ]
}

async fn break_glass(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(order): Body<Decision>,
) -> Result<Accepted<JobView>, Refusal> {
    Ok(Accepted(people.service.break_glass(&actor, &endpoint_id(&name)?, order).await?))
}

async fn plans(State(people): State<People>) -> Answer<Vec<PlanView>> {
    Ok(Json(people.service.plans().await?))
}

async fn make_plan(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Body(new): Body<NewPlan>,
) -> Answer<PlanView> {
    Ok(Json(people.service.make_plan(&actor, new).await?))
}

async fn approve_plan(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(plan): Path<String>,
    Body(order): Body<Approval>,
) -> Answer<PlanView> {
    Ok(Json(people.service.approve_plan(&actor, &plan, order).await?))
}

async fn withdraw_plan(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(plan): Path<String>,
    Body(order): Body<Decision>,
) -> Answer<PlanView> {
    Ok(Json(people.service.withdraw_plan(&actor, &plan, order).await?))
}

async fn reviews(State(people): State<People>) -> Answer<Vec<ReviewView>> {
    Ok(Json(people.service.reviews().await?))
}

async fn review(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(job): Path<String>,
    Body(order): Body<NewReview>,
) -> Answer<Vec<ReviewView>> {
    Ok(Json(people.service.review(&actor, job_id(&job)?, order).await?))
}
