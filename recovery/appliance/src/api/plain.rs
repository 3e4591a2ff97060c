//! What axum itself refuses before a handler sees it (a query, a form, a path, a media type) becomes a problem as every other refusal is one:
//! with a code, what is wrong, and what now.
//!
//! It must never: touch an answer that a handler of ours gave.

use axum::{
    body::to_bytes,
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use recovery_protocol::Problem;

use super::{Refusal, gate};
use crate::console;

/// What axum says is short.
const WORDS_MAX: usize = 4096;

/// A plain refusal as a problem: a page for who asks for one, else RFC 9457.
pub async fn told(request: Request, next: Next) -> Response {
    let page = gate::wants_page(&request);
    let asked = request.uri().path().to_owned();
    let response = next.run(request).await;
    let status = response.status();
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_plain = media_type.is_some_and(|text| text.starts_with("text/plain"));
    if !status.is_client_error() || !is_plain || asked.ends_with("/metrics") {
        return response;
    }
    let (head, body) = response.into_parts();
    let Ok(words) = to_bytes(body, WORDS_MAX).await else { return head.into_response() };
    let problem = problem(status, &String::from_utf8_lossy(&words));
    if page { console::refused(problem) } else { Refusal(problem).into_response() }
}

fn problem(status: StatusCode, words: &str) -> Problem {
    let call = "the description at `/api/v1/openapi.json` names what this call takes";
    let (status, code, title, remedy) = match (status.as_u16(), words) {
        (400, words) if words.contains("query string") => (
            400,
            "bad-query",
            "The query cannot be understood",
            "correct what the detail names; the description at `/api/v1/openapi.json` names what this call takes",
        ),
        (400, words) if words.contains("UTF-8") || words.contains("path") || words.contains("URL") => (
            400,
            "bad-path",
            "The address cannot be understood",
            "write names in the address as they are on record; other letters as `%xx` of their UTF-8",
        ),
        (413, _) => (413, "body-too-long", "The body is too long", "send less than 256 KiB"),
        (415, _) => (
            415,
            "not-a-form",
            "The body is of another kind",
            "send the form as a browser does, or use the call under `/api/v1` with JSON",
        ),
        (400 | 422, words) if words.contains("form") => (
            422,
            "bad-form",
            "The form cannot be understood",
            "load the page again, and fill its form in there; nothing was changed",
        ),
        _ => (400, "bad-request", "The request cannot be understood", call),
    };
    Problem::new(status, code, title, words.trim(), remedy)
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Body,
        http::{Method, Request, StatusCode, header},
    };
    use serde_json::Value;

    use crate::{
        api::closed_routes,
        testing::{Bench, read},
    };

    async fn asked(bench: &Bench, path: &str, accept: &str) -> (StatusCode, String, String) {
        let request = Request::get(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", bench.token))
            .header(header::ACCEPT, accept);
        let response = bench.send(request.body(Body::empty()).unwrap()).await;
        let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
        let (status, body) = read(response).await;
        (status, kind.unwrap_or_default(), body)
    }

    /// Every route that can be read, asked with queries that none of them can take; what it refuses, it refuses as a problem.
    #[tokio::test]
    async fn no_route_answers_a_wrong_query_or_path_in_plain_words() {
        let bench = Bench::new("").await;
        bench.add("press-01", "52:54:00:00:00:01", serde_json::json!({})).await;
        let wrong = [
            "limit=many&all=perhaps&job=x&since=y&entry=z&seq=w&n=-&missing=q&apply=maybe&plan=1&from=x&to=y&bytes=z&format=docx&form=docx",
            "limit=1&limit=2&all=true&all=x&part=a&part=b&format=pdf&format=json&cursor=1&cursor=2&q=a&q=b&with=1&with=2",
            "%ff=%ff&limit=%ff&all=%ff&format=%ff",
        ];
        let mut refused = Vec::new();
        for (pattern, _, _) in closed_routes() {
            if pattern.ends_with("/events") || pattern.ends_with("/changes") {
                continue;
            }
            let path: String = pattern
                .split('/')
                .map(|part| if part.starts_with('{') { "press-01" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let strange: String = pattern
                .split('/')
                .map(|part| if part.starts_with('{') { "%ff" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let asks = wrong.iter().map(|query| format!("{path}?{query}")).chain([strange]);
            for ask in asks {
                let (status, kind, body) = asked(&bench, &ask, "application/json").await;
                if !status.is_client_error() {
                    continue;
                }
                // A page tells it as a page; nothing tells it in plain text.
                assert!(!kind.starts_with("text/plain") && !body.is_empty(), "{ask}: {status} {kind} {body}");
                if let Some(problem) = kind
                    .starts_with("application/problem+json")
                    .then(|| serde_json::from_str::<Value>(&body).unwrap())
                {
                    for key in ["code", "title", "detail", "remedy"] {
                        assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{ask}: {body}");
                    }
                    refused.push((ask, problem["code"].as_str().unwrap().to_owned()));
                }
            }
        }
        for wanted in ["bad-query", "bad-path"] {
            assert!(refused.iter().any(|(_, code)| code == wanted), "{wanted}: {refused:?}");
        }
        assert!(!refused.iter().any(|(_, code)| code == "bad-request"), "each kind has a name: {refused:?}");
    }

    #[tokio::test]
    async fn a_browser_is_told_on_a_page_and_a_form_that_is_none_is_refused_by_name() {
        let bench = Bench::new("").await;
        let (status, kind, body) = asked(&bench, "/network?all=perhaps", "text/html").await;
        assert_eq!((status, kind.as_str()), (StatusCode::BAD_REQUEST, "text/html; charset=utf-8"), "{body}");
        assert!(body.contains("bad-query") && body.contains("class=\"card attention\""), "{body}");
        let (_, _, body) = asked(&bench, "/api/v1/jobs?limit=many", "application/json").await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["code"], "bad-query", "{body}");
        assert!(problem["detail"].as_str().unwrap().contains("limit"), "{body}");
        let request = Request::builder()
            .method(Method::POST)
            .uri("/endpoints/press-01/recover")
            .header(header::AUTHORIZATION, format!("Bearer {}", bench.token))
            .header(header::CONTENT_TYPE, "text/csv");
        let (status, body) = read(bench.send(request.body(Body::from("a,b")).unwrap()).await).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{body}");
        assert!(body.contains("not-a-form"), "{body}");
    }
}
