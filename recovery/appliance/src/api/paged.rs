//! A page of a list, whose `Link` says where the next one is (RFC 8288).

use std::convert::Infallible;

use aide::{
    OperationInput, OperationOutput,
    generate::GenContext,
    openapi::{Operation, Response as Described},
};
use axum::{
    Json,
    extract::FromRequestParts,
    http::{HeaderValue, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::wrapped::text_header;

/// The address that was asked for.
pub struct Address(Uri);

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.uri.clone()))
    }
}

/// It says nothing that a description does not say by itself.
impl OperationInput for Address {}

/// A page.
pub struct Paged<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// The address of the next one; none: this is the last.
    pub next: Option<String>,
}

impl<T> Paged<T> {
    /// A page of the list at this address, which the next one begins at `cursor`.
    pub fn of(Address(address): &Address, items: Vec<T>, cursor: Option<String>) -> Self {
        let asked = address.query().unwrap_or_default().split('&');
        let kept: Vec<&str> = asked.filter(|part| !part.is_empty() && !part.starts_with("cursor=")).collect();
        let next = cursor.map(|cursor| {
            let query = [kept.as_slice(), &[format!("cursor={cursor}").as_str()]].concat().join("&");
            format!("{}?{query}", address.path())
        });
        Self { items, next }
    }
}

impl<T: Serialize> IntoResponse for Paged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.items).into_response();
        let link = self.next.and_then(|next| HeaderValue::from_str(&format!("<{next}>; rel=\"next\"")).ok());
        if let Some(link) = link {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

impl<T: JsonSchema> OperationOutput for Paged<T> {
    type Inner = Vec<T>;

    fn operation_response(context: &mut GenContext, operation: &mut Operation) -> Option<Described> {
        let mut answer = Json::<Vec<T>>::operation_response(context, operation)?;
        let about = "Where the next page is (`rel=\"next\"`, RFC 8288); left out on the last.";
        answer.headers.insert("Link".to_owned(), text_header(about, false));
        Some(answer)
    }

    fn inferred_responses(
        context: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, Described)> {
        Self::operation_response(context, operation).into_iter().map(|answer| (Some(200), answer)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_asked_as_the_first_was() {
        let next = |address: &'static str, cursor: Option<&str>| {
            Paged::<u8>::of(&Address(Uri::from_static(address)), Vec::new(), cursor.map(str::to_owned)).next
        };
        let asked = next("/api/v1/jobs?state=held&cursor=old&limit=2", Some("new"));
        assert_eq!(asked.as_deref(), Some("/api/v1/jobs?state=held&limit=2&cursor=new"));
        assert_eq!(next("/api/v1/jobs", Some("a")).as_deref(), Some("/api/v1/jobs?cursor=a"));
        assert_eq!(next("/api/v1/jobs?limit=2", None), None);
    }
}
