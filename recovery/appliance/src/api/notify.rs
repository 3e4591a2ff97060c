//! The calls about who is told what happens.

use aide::axum::routing::{get_with, post_with};
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use recovery_protocol::{
    notify::{ChannelTested, ChannelView},
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
    ]
}

async fn channels(State(people): State<People>) -> Answer<Vec<ChannelView>> {
    Ok(Json(people.service.channels().await?))
}

async fn test(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(channel): Path<String>,
) -> Answer<ChannelTested> {
    Ok(Json(people.service.test_channel(&actor, &channel).await?))
}
