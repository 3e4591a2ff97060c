//! The calls about who is told what happens, and about the configuration that says so.

use aide::axum::routing::{get_with, post_with};
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use recovery_protocol::{
    notify::{ChannelTested, ChannelView, Reloaded},
    people::Permission,
};

use super::{Call, Needs, People, Refusal, describe::says};
use crate::service::Actor;

type Answer<T> = Result<Json<T>, Refusal>;

/// REST under `/api/v1`.
pub fn calls() -> Vec<Call> {
    vec![
        (
            "/api/v1/notifications",
            get_with(channels, says("Who is told what happens, and how it stands with each")),
            Needs::LOOK,
        ),
        (
            "/api/v1/notifications/{channel}/test",
            post_with(test, says("Send a test message, and wait until the channel took it")),
            Needs::all(Permission::Endpoints),
        ),
        (
            "/api/v1/config/reload",
            post_with(
                reload,
                says("Put the configuration file in force as it is now: all of it, or nothing"),
            ),
            Needs::all(Permission::People),
        ),
    ]
}

async fn channels(State(people): State<People>) -> Answer<Vec<ChannelView>> {
    Ok(Json(people.service.channels().await?))
}

async fn reload(State(people): State<People>, Extension(actor): Extension<Actor>) -> Answer<Reloaded> {
    Ok(Json(people.service.reload(&actor).await?))
}

async fn test(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(channel): Path<String>,
) -> Answer<ChannelTested> {
    Ok(Json(people.service.test_channel(&actor, &channel).await?))
}
