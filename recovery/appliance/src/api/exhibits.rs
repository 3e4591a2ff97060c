//! The calls about exhibits: what recoveries kept of old systems. Records may be read by whoever reads the evidence log; their bytes by few.

use aide::axum::routing::get_with;
use axum::{
    Extension, Json,
    body::{Body as Bytes, Bytes as Part},
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use recovery_protocol::{exhibit::ExhibitView, operator::Decision, people::Permission};

use super::{
    Body, Call, Needs, People, Refusal,
    describe::{gives, says},
    job_id,
};
use crate::service::Actor;

type Answer<T> = Result<Json<T>, Refusal>;

/// REST under `/api/v1`.
pub fn calls() -> Vec<Call> {
    use Permission as P;
    vec![
        (
            "/api/v1/exhibits",
            get_with(list, says("What recoveries kept of old systems, the newest first")),
            Needs::all(P::Evidence),
        ),
        (
            "/api/v1/exhibits/{job}",
            get_with(one, says("What one recovery kept: how much, its digests, what was left out and why"))
                .delete_with(delete, says("Delete its bytes; its record stays")),
            Needs { read: P::Evidence, write: P::DeleteExhibits },
        ),
        (
            "/api/v1/exhibits/{job}/content",
            get_with(
                content,
                gives("application/x-tar", "Its bytes, a tar; that they were read is in evidence"),
            ),
            Needs::all(P::Exhibits),
        ),
    ]
}

async fn list(State(people): State<People>) -> Answer<Vec<ExhibitView>> {
    Ok(Json(people.service.list_exhibits().await?))
}

async fn one(State(people): State<People>, Path(job): Path<String>) -> Answer<ExhibitView> {
    Ok(Json(people.service.exhibit(job_id(&job)?).await?))
}

async fn delete(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(job): Path<String>,
    Body(order): Body<Decision>,
) -> Answer<ExhibitView> {
    Ok(Json(people.service.delete_exhibit(&actor, job_id(&job)?, order).await?))
}

/// A part that cannot be read breaks the answer off: what came is not its length.
async fn content(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(job): Path<String>,
) -> Result<Response, Refusal> {
    let job = job_id(&job)?;
    let (view, parts) = people.service.read_exhibit(&actor, job).await?;
    let length: u64 = parts.iter().map(|part| part.len).sum();
    let exhibits = people.service.exhibits().clone();
    let read = stream::unfold(parts.into_iter(), move |mut parts| {
        let exhibits = exhibits.clone();
        async move {
            let part = parts.next()?;
            let read = tokio::task::spawn_blocking(move || exhibits.read(job, &part)).await;
            let read =
                read.map_err(std::io::Error::other).and_then(|read| read.map_err(std::io::Error::other));
            Some((read.map(Part::from), parts))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"exhibit-{}-{job}.tar\"", view.endpoint),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Bytes::from_stream(read)).into_response())
}
