//! Answers that are more than a body: each says in its type what the description says of it.

use aide::{
    OperationOutput,
    generate::GenContext,
    openapi::{
        Header, Operation, ParameterSchemaOrContent, ReferenceOr, Response as Described, SchemaObject,
    },
};
use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use recovery_protocol::operator::EndpointView;
use schemars::{JsonSchema, json_schema};
use serde::Serialize;

/// 202: begun, not done.
pub struct Accepted<T>(pub T);

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self.0)).into_response()
    }
}

impl<T: JsonSchema> OperationOutput for Accepted<T> {
    type Inner = T;

    fn operation_response(context: &mut GenContext, operation: &mut Operation) -> Option<Described> {
        Json::<T>::operation_response(context, operation)
    }

    fn inferred_responses(
        context: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, Described)> {
        let answer = Self::operation_response(context, operation);
        answer.into_iter().map(|answer| (Some(StatusCode::ACCEPTED.as_u16()), answer)).collect()
    }
}

/// What has a revision, which stands as `ETag` in its answer (RFC 9110 §8.8.3).
pub struct Versioned<T> {
    /// The revision.
    pub revision: u64,
    /// It.
    pub body: T,
}

impl From<EndpointView> for Versioned<EndpointView> {
    fn from(body: EndpointView) -> Self {
        Self { revision: body.revision, body }
    }
}

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        ([(header::ETAG, format!("\"{}\"", self.revision))], Json(self.body)).into_response()
    }
}

impl<T: JsonSchema> OperationOutput for Versioned<T> {
    type Inner = T;

    fn operation_response(context: &mut GenContext, operation: &mut Operation) -> Option<Described> {
        let mut answer = Json::<T>::operation_response(context, operation)?;
        answer.headers.insert("ETag".to_owned(), text_header("Its revision, for `If-Match`.", true));
        Some(answer)
    }

    fn inferred_responses(
        context: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, Described)> {
        Self::operation_response(context, operation).into_iter().map(|answer| (Some(200), answer)).collect()
    }
}

/// A header that is a text, as a description has it.
pub fn text_header(about: &str, required: bool) -> ReferenceOr<Header> {
    let schema = json_schema!({ "type": "string" });
    let schema = SchemaObject { json_schema: schema, example: None, external_docs: None };
    ReferenceOr::Item(Header {
        description: Some(about.to_owned()),
        style: Default::default(),
        required,
        deprecated: None,
        format: ParameterSchemaOrContent::Schema(schema),
        example: None,
        examples: Default::default(),
        extensions: Default::default(),
    })
}
