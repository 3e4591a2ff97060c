//! The calls about golden images: what is in the store, who signed it, where it is used, what its channels mean.

use aide::axum::routing::get_with;
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::HeaderMap,
};
use images::ImageId;
use recovery_protocol::{
    channel::{ChannelView, ImageDetail, Promotion},
    operator::ImageView,
    people::Permission,
};

use super::{
    Body, Call, Needs, People, Refusal,
    describe::{revised, says},
    operator::revision,
    wrapped::Versioned,
};
use crate::service::Actor;

type Answer<T> = Result<Json<T>, Refusal>;

/// REST under `/api/v1`.
pub fn calls() -> Vec<Call> {
    vec![
        ("/api/v1/images", get_with(list, says("The golden images in the store")), Needs::LOOK),
        (
            "/api/v1/images/{image}",
            get_with(one, says("One image: who signed it, where it is used")),
            Needs::LOOK,
        ),
        (
            "/api/v1/channels",
            get_with(channels, says("What was said about the images of every name")),
            Needs::LOOK,
        ),
        (
            "/api/v1/channels/{name}",
            get_with(channel, says("What was said about the images of one name"))
                .post_with(promote, revised("Hand in a promotion that somebody signed")),
            Needs::to_write(Permission::Images),
        ),
    ]
}

/// An image's id as it stands in a path.
///
/// # Errors
/// 400 `bad-image`.
pub fn image_id(text: &str) -> Result<ImageId, Refusal> {
    text.parse().map_err(|_| {
        let remedy = "give the 64 hexadecimal digits that `groundstate image list` shows";
        Refusal::bad_request("bad-image", format!("`{text}` is no image's id"), remedy)
    })
}

async fn list(State(people): State<People>) -> Answer<Vec<ImageView>> {
    Ok(Json(people.service.images().await?))
}

async fn one(State(people): State<People>, Path(image): Path<String>) -> Answer<ImageDetail> {
    Ok(Json(people.service.image(image_id(&image)?).await?))
}

async fn channels(State(people): State<People>) -> Answer<Vec<ChannelView>> {
    Ok(Json(people.service.channels_of_images().await?))
}

async fn channel(
    State(people): State<People>,
    Path(name): Path<String>,
) -> Result<Versioned<ChannelView>, Refusal> {
    let body = people.service.channel_of_images(&name).await?;
    Ok(Versioned { revision: body.epoch, body })
}

async fn promote(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(promotion): Body<Promotion>,
) -> Result<Versioned<ChannelView>, Refusal> {
    let revision = revision(&headers)?;
    let body = people.service.promote(&actor, &name, promotion, revision).await?;
    Ok(Versioned { revision: body.epoch, body })
}
