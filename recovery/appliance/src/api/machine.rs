//! The calls of [`recovery_protocol::machine`]: an endpoint's picture, what its recovery would bring, and whether it works again.

use aide::axum::routing::{get_with, post_with};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use recovery_protocol::{
    machine::{Acceptance, OutlookView, PHOTO_LEN_MAX, PhotoView},
    operator::JobView,
    people::Permission,
    plant::MapView,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Body, Call, Needs, People, Refusal,
    describe::{gives, says, takes},
    endpoint_id, job_id,
};
use crate::{
    console::card::{self, address_of},
    db::photo::Photo,
    service::{Actor, photo_too_large},
};

/// What a form adds around a picture.
pub const FORM_LEN: usize = 16 << 10;

/// REST under `/api/v1`.
pub fn calls() -> Vec<Call> {
    use Permission as P;
    vec![
        (
            "/api/v1/endpoints/{endpoint}/outlook",
            get_with(outlook, says("What its recovery would bring, and how long that takes")),
            Needs::LOOK,
        ),
        (
            "/api/v1/endpoints/{endpoint}/card",
            get_with(card, gives("text/html", "A card for it to print, with its code: a page of its own")),
            Needs::LOOK,
        ),
        (
            "/api/v1/endpoints/{endpoint}/photo",
            get_with(photo, gives("image/*", "Its picture: JPEG, PNG or WebP"))
                .put_with(set_photo, takes("image/*", "Set its picture: JPEG, PNG or WebP, at most 512 KiB"))
                .delete_with(remove_photo, says("Forget its picture"))
                .layer(DefaultBodyLimit::max(PHOTO_LEN_MAX + FORM_LEN)),
            Needs::to_write(P::Endpoints),
        ),
        (
            "/api/v1/map",
            get_with(map, says("Where every endpoint stands and how it is, and how long recoveries took")),
            Needs::LOOK,
        ),
        (
            "/api/v1/jobs/{job}/accept",
            post_with(accept, says("Say whether the recovered endpoint shows live values")),
            Needs::all(P::Recover),
        ),
    ]
}

async fn map(State(people): State<People>) -> Result<Json<MapView>, Refusal> {
    Ok(Json(people.service.map().await?))
}

async fn outlook(
    State(people): State<People>,
    Path(name): Path<String>,
) -> Result<Json<OutlookView>, Refusal> {
    Ok(Json(people.service.outlook(&endpoint_id(&name)?).await?))
}

#[derive(Deserialize, JsonSchema)]
struct Wanted {
    /// As BCP 47 writes it; absent: that of the request.
    language: Option<String>,
    /// Where its code leads, `https://NAME[:PORT]`; absent: to the host that was asked.
    address: Option<String>,
}

async fn card(
    State(people): State<People>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let address = wanted.address.unwrap_or_else(|| address_of(&headers));
    Ok(card::of(&people, &name, address, wanted.language.as_deref()).await?.into_response())
}

async fn photo(State(people): State<People>, Path(name): Path<String>) -> Result<Response, Refusal> {
    Ok(picture(people.service.photo(&endpoint_id(&name)?).await?))
}

/// A picture as an answer. It is what a person sent: a browser takes it for what it was found to be and nothing else, and runs nothing in it.
pub fn picture(photo: Photo) -> Response {
    let headers = [
        (header::CONTENT_TYPE, photo.media_type),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CONTENT_DISPOSITION, "inline".to_owned()),
        (header::CACHE_CONTROL, "private, max-age=3600".to_owned()),
        (header::ETAG, format!("\"{}\"", photo.sha256)),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin".to_owned()),
    ];
    (headers, photo.bytes).into_response()
}

async fn set_photo(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Json<PhotoView>, Refusal> {
    let bytes = bytes.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal(photo_too_large()),
        _ => Refusal::bad_request("bad-body", "the picture could not be read", "send it again"),
    })?;
    Ok(Json(people.service.set_photo(&actor, &endpoint_id(&name)?, bytes.to_vec()).await?))
}

async fn remove_photo(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<Json<PhotoView>, Refusal> {
    Ok(Json(people.service.remove_photo(&actor, &endpoint_id(&name)?).await?))
}

async fn accept(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(job): Path<String>,
    Body(order): Body<Acceptance>,
) -> Result<Json<JobView>, Refusal> {
    Ok(Json(people.service.accept(&actor, job_id(&job)?, order).await?))
}
