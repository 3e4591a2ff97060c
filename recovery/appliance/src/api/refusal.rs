//! How a [`Problem`] leaves over HTTP: `application/problem+json` (RFC 9457 §3) with its own status.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use recovery_protocol::Problem;

/// A problem on its way out; `?` turns one into the other.
#[derive(Debug)]
pub struct Refusal(pub Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl Refusal {
    /// The request itself is wrong: 400.
    pub fn bad_request(code: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self(Problem::new(400, code, "The request cannot be understood", detail, remedy))
    }

    /// Nobody said who they are, or not in a way that we accept: 401.
    pub fn unauthenticated(detail: &str) -> Self {
        Self(Problem::new(
            401,
            "unauthenticated",
            "Who are you?",
            detail,
            "send `Authorization: Bearer <token>`, or sign in to the console with the link from `groundstate console-link`",
        ))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0)).into_response();
        let media_type = HeaderValue::from_static(Problem::MEDIA_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The description says once for all calls how they refuse.
impl aide::OperationOutput for Refusal {
    type Inner = Problem;
}
