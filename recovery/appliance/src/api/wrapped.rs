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

/// An endpoint with the revision of its record as `ETag` (RFC 9110 §8.8.3).
pub struct Tagged(pub EndpointView);

impl IntoResponse for Tagged {
    fn into_response(self) -> Response {
        ([(header::ETAG, format!("\"{}\"", self.0.revision))], Json(self.0)).into_response()
    }
}

impl OperationOutput for Tagged {
    type Inner = EndpointView;

    fn operation_response(context: &mut GenContext, operation: &mut Operation) -> Option<Described> {
        let mut answer = Json::<EndpointView>::operation_response(context, operation)?;
        let schema = json_schema!({ "type": "string", "examples": ["\"3\""] });
        let schema = SchemaObject { json_schema: schema, example: None, external_docs: None };
        let tag = Header {
            description: Some("The record's revision, for `If-Match`.".to_owned()),
            style: Default::default(),
            required: true,
            deprecated: None,
            format: ParameterSchemaOrContent::Schema(schema),
            example: None,
            examples: Default::default(),
            extensions: Default::default(),
        };
        answer.headers.insert("ETag".to_owned(), ReferenceOr::Item(tag));
        Some(answer)
    }

    fn inferred_responses(
        context: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, Described)> {
        Self::operation_response(context, operation).into_iter().map(|answer| (Some(200), answer)).collect()
    }
}
