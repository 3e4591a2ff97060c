//! The REST interface described as OpenAPI 3.1, made from the routes and the types of their handlers.
//!
//! ```text
//! calls() ─► aide: inputs, answers, schemas ─► + path parameters, permissions, who asks ─► GET /api/v1/openapi.json
//! ```
//!
//! What a call takes and gives comes from its handler's types, so the description cannot say something else; only its
//! one sentence is written by hand. `recovery/appliance/openapi.json` is the same document, and a test holds them together.
//! It must never: describe a call that [`super::calls`] has not, or leave one out.

use std::sync::LazyLock;

use aide::{
    axum::{ApiRouter, routing::get_with},
    generate,
    openapi::{
        HeaderStyle, Info, MediaType, OpenApi, Parameter, ParameterData, ParameterSchemaOrContent,
        ReferenceOr, RequestBody, Response, SchemaObject, StatusCode,
    },
    transform::TransformOperation,
};
use axum::{Json, response::IntoResponse as _};
use recovery_protocol::Problem;
use schemars::json_schema;
use serde_json::{Value, json};

use super::{Call, Needs, calls as all_calls};

/// The description itself is a call.
pub fn calls() -> Vec<Call> {
    let says = gives("application/json", "This description (OpenAPI 3.1)");
    vec![("/api/v1/openapi.json", get_with(description, says), Needs::LOOK)]
}

async fn description() -> axum::response::Response {
    Json(document()).into_response()
}

/// A call in one sentence.
pub fn says(sentence: &'static str) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    move |call| call.summary(sentence)
}

/// A call whose answer is no JSON.
pub fn gives(
    media_type: &'static str,
    sentence: &'static str,
) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    gives_each(vec![media_type], sentence)
}

/// A call whose answer is one of several things, none of them JSON of a type of ours.
pub fn gives_any(
    media_types: &'static [&'static str],
    sentence: &'static str,
) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    gives_each(media_types.to_vec(), sentence)
}

fn gives_each(
    media_types: Vec<&'static str>,
    sentence: &'static str,
) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    move |mut call| {
        let content =
            media_types.iter().map(|media_type| ((*media_type).to_owned(), MediaType::default())).collect();
        let answer = Response { description: sentence.to_owned(), content, ..Response::default() };
        let answers = call.inner_mut().responses.get_or_insert_default();
        answers.responses.insert(StatusCode::Code(200), ReferenceOr::Item(answer));
        call.summary(sentence)
    }
}

/// A call whose body is no JSON.
pub fn takes(
    media_type: &'static str,
    sentence: &'static str,
) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    move |mut call| {
        let content = [(media_type.to_owned(), MediaType::default())].into_iter().collect();
        let body = RequestBody { content, required: true, ..RequestBody::default() };
        call.inner_mut().request_body = Some(ReferenceOr::Item(body));
        call.summary(sentence)
    }
}

/// A change of a record that may name the revision it is of.
pub fn revised(sentence: &'static str) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    let about = "The `ETag` of the record as it was read; 412 `revision-stale` where it has changed since.";
    header(sentence, "If-Match", about)
}

/// An order that may be sent twice and counts once.
pub fn once(sentence: &'static str) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    let about = "The same key with the same order gives the same job; with another order it is 422.";
    header(sentence, super::idempotency::HEADER, about)
}

fn header(
    sentence: &'static str,
    name: &'static str,
    about: &'static str,
) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    move |mut call| {
        let schema = json_schema!({ "type": "string" });
        let parameter_data = ParameterData {
            name: name.to_owned(),
            description: Some(about.to_owned()),
            required: false,
            deprecated: None,
            format: ParameterSchemaOrContent::Schema(SchemaObject {
                json_schema: schema,
                example: None,
                external_docs: None,
            }),
            example: None,
            examples: Default::default(),
            explode: None,
            extensions: Default::default(),
        };
        let parameter = Parameter::Header { parameter_data, style: HeaderStyle::Simple };
        call.inner_mut().parameters.push(ReferenceOr::Item(parameter));
        call.summary(sentence)
    }
}

/// The description.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(build);
    &DOCUMENT
}

fn build() -> Value {
    generate::extract_schemas(true);
    let mut api = OpenApi {
        info: Info {
            title: "Groundstate".to_owned(),
            summary: Some("What people and scripts ask of the appliance".to_owned()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Info::default()
        },
        ..OpenApi::default()
    };
    generate::in_context(|context| context.schema.subschema_for::<Problem>());
    let _router = all_calls()
        .into_iter()
        .fold(ApiRouter::new(), |router, (path, route, _)| router.api_route(path, route))
        .finish_api(&mut api);
    let mut document = serde_json::to_value(api).unwrap_or_default();
    for (path, _, needs) in all_calls() {
        let methods = document["paths"][path].as_object_mut().into_iter().flatten();
        for (method, call) in methods {
            complete(path, method, call, needs);
        }
    }
    // What stands in queries is written there in full.
    let text = document.to_string();
    let named = |name: &str| text.contains(&format!("#/components/schemas/{name}\""));
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.retain(|name, _| name == "Problem" || named(name));
    }
    document["security"] = json!([{ "token": [] }, { "session": [] }]);
    document["components"]["securitySchemes"] = json!({
        "token": { "type": "http", "scheme": "bearer", "description": "The token of a person, a program, or the operator." },
        "session": { "type": "apiKey", "in": "cookie", "name": super::gate::COOKIE, "description": "A session of the console." },
    });
    document["components"]["responses"] = json!({ "Refused": {
        "description": "Refused: what happened, why, and what now (RFC 9457).",
        "content": { (Problem::MEDIA_TYPE): { "schema": { "$ref": "#/components/schemas/Problem" } } },
    } });
    document
}

/// What a handler's types do not say: the call's name, what is in its path, whom it answers, how it refuses.
fn complete(path: &str, method: &str, call: &mut Value, needs: Needs) {
    let words = path.trim_start_matches("/api/v1/").split('/').map(|word| word.trim_matches(['{', '}']));
    let id: Vec<&str> = [method].into_iter().chain(words).collect();
    call["operationId"] = json!(id.join("-"));
    call["x-permission"] = json!(if method == "get" { needs.read } else { needs.write });
    call["responses"]["default"] = json!({ "$ref": "#/components/responses/Refused" });
    let in_path = path.split('/').filter_map(|word| word.strip_prefix('{')?.strip_suffix('}'));
    let schema = |name: &str| match name {
        "endpoint" => json!({ "$ref": "#/components/schemas/EndpointId" }),
        "job" => json!({ "$ref": "#/components/schemas/JobId" }),
        "seq" => json!({ "type": "integer", "minimum": 0 }),
        _ => json!({ "type": "string" }),
    };
    let Some(call) = call.as_object_mut() else { return };
    let listed = call.entry("parameters").or_insert_with(|| json!([]));
    for name in in_path {
        let parameter = json!({ "name": name, "in": "path", "required": true, "schema": schema(name) });
        listed.as_array_mut().into_iter().for_each(|listed| listed.push(parameter.clone()));
    }
    if listed.as_array().is_some_and(Vec::is_empty) {
        call.remove("parameters");
    }
}
