//! The calls of [`recovery_protocol::drill`]: runs of runbooks, and what people are in their words.

use aide::axum::routing::{delete_with, get_with, post_with};
use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use recovery_protocol::{
    drill::{
        ActionView, DrillAnswer, DrillCode, DrillComparison, DrillPlan, DrillView, Duties, NewDrill,
        NewInject, ReadinessView, Schedule, ScheduleView, TrendPoint,
    },
    operator::Decision,
    people::Permission,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Body, Call, Needs, People, Refusal,
    describe::{gives, gives_any, says},
    reports::{FORMS, How, handed},
    wrapped::Accepted,
};
use crate::service::Actor;

type Answer<T> = Result<Json<T>, Refusal>;

/// REST under `/api/v1/drills`, and duties.
pub fn calls() -> Vec<Call> {
    [runs(), around()].concat()
}

/// One run, from its plan to its pack.
fn runs() -> Vec<Call> {
    use Permission as P;
    vec![
        (
            "/api/v1/drills",
            get_with(list, says("Runs of runbooks, newest first")).post_with(start, says("Begin a run")),
            Needs::to_write(P::Drill),
        ),
        (
            "/api/v1/drills/plan",
            post_with(plan, says("What a run would do; a dry run is put on record")),
            Needs::all(P::Drill),
        ),
        ("/api/v1/drills/{drill}", get_with(one, says("One run")), Needs::LOOK),
        (
            "/api/v1/drills/{drill}/report",
            get_with(report, gives_any(FORMS, "Its report, as it stands")),
            Needs::LOOK,
        ),
        (
            "/api/v1/drills/{drill}/pack",
            post_with(pack, gives("application/x-tar", "Make its evidence pack: a tar that proves itself")),
            Needs::all(P::Evidence),
        ),
        (
            "/api/v1/drills/{drill}/answer",
            post_with(answer, says("Answer a step that waits for a person")),
            Needs::all(P::Answer),
        ),
        (
            "/api/v1/drills/{drill}/injects",
            post_with(inject, says("Let something go wrong on purpose in a drill that runs")),
            Needs::all(P::Drill),
        ),
        (
            "/api/v1/drills/{drill}/code",
            post_with(match_code, says("Match the code on the screen of hardware that a drill is to write")),
            Needs::all(P::Pair),
        ),
        ("/api/v1/drills/{drill}/abort", post_with(abort, says("End a run")), Needs::all(P::Stop)),
    ]
}

/// What is due, who is ready, what is to be mended, how runs compare; and duties.
fn around() -> Vec<Call> {
    use Permission as P;
    vec![
        (
            "/api/v1/drills/schedules",
            get_with(schedules, says("When runbooks are rehearsed, what is due first"))
                .post_with(add_schedule, says("Add a schedule")),
            Needs::to_write(P::Drill),
        ),
        (
            "/api/v1/drills/schedules/{schedule}",
            delete_with(remove_schedule, says("Take a schedule away")),
            Needs::all(P::Drill),
        ),
        (
            "/api/v1/drills/readiness",
            get_with(
                readiness,
                says("Which endpoints came back lately, out of how many, and which never did"),
            ),
            Needs::LOOK,
        ),
        (
            "/api/v1/drills/actions",
            get_with(actions, says("What is to be mended after drills, the open ones first")),
            Needs::LOOK,
        ),
        (
            "/api/v1/drills/trend/{runbook}",
            get_with(trend, says("The runs of a runbook on a line, the oldest first")),
            Needs::LOOK,
        ),
        (
            "/api/v1/drills/{drill}/compare",
            get_with(compare, says("A run beside an earlier one, step by step")),
            Needs::LOOK,
        ),
        (
            "/api/v1/people/{person}/duties",
            get_with(duties, says("What a person is in the words of runbooks"))
                .put_with(set_duties, says("Say what a person is in the words of runbooks")),
            Needs::to_write(P::People),
        ),
    ]
}

async fn list(State(people): State<People>) -> Json<Vec<DrillView>> {
    Json(people.drills.list())
}

async fn start(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Body(new): Body<NewDrill>,
) -> Result<Accepted<DrillView>, Refusal> {
    Ok(Accepted(people.drills.start(&actor, new).await?))
}

async fn plan(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Body(new): Body<NewDrill>,
) -> Answer<DrillPlan> {
    Ok(Json(people.drills.plan(&actor, new).await?))
}

async fn schedules(State(people): State<People>) -> Answer<Vec<ScheduleView>> {
    Ok(Json(people.drills.schedules().await?))
}

async fn add_schedule(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Body(schedule): Body<Schedule>,
) -> Answer<ScheduleView> {
    Ok(Json(people.drills.add_schedule(&actor, schedule).await?))
}

async fn remove_schedule(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(schedule): Path<String>,
) -> Answer<Vec<ScheduleView>> {
    Ok(Json(people.drills.remove_schedule(&actor, &schedule).await?))
}

async fn readiness(State(people): State<People>) -> Answer<ReadinessView> {
    Ok(Json(people.drills.readiness().await?))
}

async fn actions(State(people): State<People>) -> Answer<Vec<ActionView>> {
    Ok(Json(people.drills.actions().await?))
}

async fn trend(State(people): State<People>, Path(runbook): Path<String>) -> Json<Vec<TrendPoint>> {
    Json(people.drills.trend(&runbook))
}

/// With which earlier run.
#[derive(Deserialize, JsonSchema)]
struct With {
    with: String,
}

async fn compare(
    State(people): State<People>,
    Path(drill): Path<String>,
    Query(With { with }): Query<With>,
) -> Answer<DrillComparison> {
    Ok(Json(people.drills.compare(&with, &drill)?))
}

async fn one(State(people): State<People>, Path(drill): Path<String>) -> Answer<DrillView> {
    Ok(Json(people.drills.view(&drill)?))
}

async fn answer(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(drill): Path<String>,
    Body(answer): Body<DrillAnswer>,
) -> Answer<DrillView> {
    Ok(Json(people.drills.answer(&actor, &drill, answer).await?))
}

async fn inject(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(drill): Path<String>,
    Body(new): Body<NewInject>,
) -> Answer<DrillView> {
    Ok(Json(people.drills.inject(&actor, &drill, new).await?))
}

async fn match_code(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(drill): Path<String>,
    Body(order): Body<DrillCode>,
) -> Answer<DrillView> {
    Ok(Json(people.drills.match_code(&actor, &drill, order).await?))
}

async fn abort(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(drill): Path<String>,
    Body(decision): Body<Decision>,
) -> Answer<DrillView> {
    Ok(Json(people.drills.abort(&actor, &drill, decision).await?))
}

async fn report(
    State(people): State<People>,
    Path(drill): Path<String>,
    Query(how): Query<How>,
) -> Result<Response, Refusal> {
    Ok(handed(people.drills.report(&drill, how.wanted()).await?))
}

/// That it was made is written into the log, so it is an order and no look.
async fn pack(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(drill): Path<String>,
) -> Result<Response, Refusal> {
    let headers = [(header::CONTENT_TYPE, "application/x-tar"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, people.drills.pack(&actor, &drill).await?).into_response())
}

async fn duties(State(people): State<People>, Path(person): Path<String>) -> Answer<Duties> {
    Ok(Json(people.service.duties(&person).await?))
}

async fn set_duties(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(person): Path<String>,
    Body(order): Body<Duties>,
) -> Answer<Duties> {
    Ok(Json(people.service.set_duties(&actor, &person, order).await?))
}
