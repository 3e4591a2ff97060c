//! What comes in: JSON bodies and ids in paths, each wrong one refused by name.

use aide::{OperationInput, generate::GenContext, openapi::Operation};
use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use recovery_protocol::{EndpointId, JobId, Problem, selector::Selector};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::Refusal;

/// A JSON body. An empty one stands for `{}`; an unknown key is refused.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json = media_type
            .is_none_or(|text| text.split(';').next().unwrap_or_default().trim() == "application/json");
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| too_long(rejection.status()))?;
        if !is_json && !bytes.is_empty() {
            let remedy = "send `Content-Type: application/json`";
            return Err(Refusal(Problem::new(
                415,
                "not-json",
                "The body is not JSON",
                "its content type is another",
                remedy,
            )));
        }
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Self).map_err(|error| {
            Refusal::bad_request("bad-json", error.to_string(), "correct the body and send it again")
        })
    }
}

impl<T: JsonSchema> OperationInput for Body<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        axum::Json::<T>::operation_input(context, operation);
    }
}

fn too_long(status: StatusCode) -> Refusal {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let remedy = "send less than 256 KiB";
            Refusal(Problem::new(
                413,
                "body-too-long",
                "The body is too long",
                "more than 256 KiB came",
                remedy,
            ))
        }
        _ => Refusal::bad_request("bad-body", "the body could not be read", "send it again"),
    }
}

/// An endpoint's name from a path.
///
/// # Errors
/// 404: what cannot be a name cannot be on record.
pub fn endpoint_id(text: &str) -> Result<EndpointId, Refusal> {
    text.parse().map_err(|error: recovery_protocol::ids::IdError| {
        let remedy = "list the endpoints with `groundstate endpoint list`";
        Refusal(Problem::new(404, "unknown-endpoint", "No such endpoint", error.to_string(), remedy))
    })
}

/// A job's id from a path.
///
/// # Errors
/// 404: what cannot be an id cannot be on record.
pub fn job_id(text: &str) -> Result<JobId, Refusal> {
    text.parse().map_err(|error: recovery_protocol::ids::IdError| {
        let remedy = "list the jobs with `groundstate job list`";
        Refusal(Problem::new(404, "unknown-job", "No such job", error.to_string(), remedy))
    })
}

/// A selector from a query.
///
/// # Errors
/// 400: where it is wrong, and how it is written.
pub fn selector(text: &str) -> Result<Selector, Refusal> {
    text.parse().map_err(|error: recovery_protocol::selector::SelectorError| {
        let detail = format!("`{text}`, column {}: {}", error.column, error.why);
        let remedy = "write it as `line=3,role!=hmi`, `key in (a,b)`, `key notin (a,b)`, `key` or `!key`";
        Refusal(Problem::new(400, "bad-selector", "The selector cannot be understood", detail, remedy))
    })
}
