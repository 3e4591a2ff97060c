//! The people's listener against a real service: who may in, what each call answers, what a wrong one gets.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use http_body_util::BodyExt as _;
use recovery_protocol::operator::{EndpointView, JobView};
use serde_json::json;

use crate::testing::{Bench, read};

const MAC: &str = "52:54:00:12:34:56";

mod canaries;
mod certificate;
mod describe;
pub mod door;
mod kiosk;
mod people;
mod scope;
mod streams;

#[tokio::test]
async fn every_closed_route_and_every_unknown_one_wants_a_name() {
    let bench = Bench::new("").await;
    let paths: Vec<String> = super::closed_routes()
        .into_iter()
        .map(|(path, ..)| {
            path.replace("{endpoint}", "press-01").replace("{job}", "x").replace("{drill}", "x")
        })
        .chain(["/nothing", "/api/v1/nothing", "/livez/x", "/hooks/v1"].map(str::to_owned))
        .collect();
    assert!(paths.len() > 30);
    for path in paths {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            for token in [None, Some("Bearer wrong"), Some("Basic b3BlcmF0b3I6eA==")] {
                let mut request = Request::builder().method(&method).uri(&path);
                if let Some(token) = token {
                    request = request.header(header::AUTHORIZATION, token);
                }
                let response = bench.send(request.body(Body::empty()).unwrap()).await;
                let (status, text) = read(response).await;
                // Guessing without end is slowed down, and still not let in.
                let kept_out = [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&status);
                assert!(kept_out, "{method} {path} {token:?}: {status} {text}");
            }
        }
    }
}

#[tokio::test]
async fn health_is_open_and_the_rest_of_the_calls_answer_the_operator() {
    let bench = Bench::new("").await;
    for path in ["/livez", "/readyz"] {
        let response = bench.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    for path in ["status", "endpoints", "jobs", "images", "evidence", "evidence/key", "drills"] {
        let (status, body) = bench.ask("GET", &format!("/api/v1/{path}"), json!(null)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
    }
    let (_, images) = bench.ask("GET", "/api/v1/images", json!(null)).await;
    assert_eq!((&images[0]["name"], &images[0]["trusted"]), (&json!("hmi-panel"), &json!(true)));
}

#[tokio::test]
async fn an_endpoint_is_added_recovered_once_and_seen() {
    let bench = Bench::new("").await;
    let new = json!({ "endpoint": "press-01", "macs": [MAC], "blueprint": "hmi" });
    let (status, body) = bench.ask("POST", "/api/v1/endpoints", new).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (status, first) =
        bench.ask("POST", "/api/v1/endpoints/press-01/recover", json!({ "reason": "dark" })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    let (_, second) = bench.ask("POST", "/api/v1/endpoints/press-01/recover", json!(null)).await;
    assert_eq!(first["job"], second["job"]);
    let (_, view) = bench.ask("GET", "/api/v1/endpoints/press-01", json!(null)).await;
    let view: EndpointView = serde_json::from_value(view).unwrap();
    let job: JobView = serde_json::from_value(first).unwrap();
    assert_eq!(view.job.map(|job| job.job), Some(job.job));
    assert_eq!(job.reason, "dark");
    assert_eq!(job.trigger, "operator");
}

#[tokio::test]
async fn an_endpoint_is_changed_and_removed_in_the_revision_that_was_seen() {
    let bench = Bench::new("").await;
    bench.add("press-01", MAC, json!({})).await;
    let ask = |method: &'static str, tag: &'static str, body: serde_json::Value| {
        let request = Request::builder().method(method).uri("/api/v1/endpoints/press-01");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", bench.token));
        let request = if tag.is_empty() { request } else { request.header(header::IF_MATCH, tag) };
        bench.send(request.body(Body::from(body.to_string())).unwrap())
    };
    let seen = ask("GET", "", json!({})).await;
    assert_eq!(seen.headers()[header::ETAG], "\"1\"");
    let changed = ask("PATCH", "\"1\"", json!({ "disk_serial": "S1" })).await;
    assert_eq!(
        (changed.status(), &changed.headers()[header::ETAG]),
        (StatusCode::OK, &"\"2\"".parse().unwrap())
    );
    for (tag, method, body, status) in [
        ("\"1\"", "PATCH", json!({ "disk_serial": "S2" }), 412),
        ("\"1\"", "DELETE", json!({}), 412),
        ("soon", "DELETE", json!({}), 400),
        ("", "PATCH", json!({ "colour": 1 }), 400),
        ("*", "PATCH", json!({ "disk_serial": "S2" }), 200),
        ("", "PATCH", json!({ "disk_serial": "S3" }), 200),
        ("\"4\"", "DELETE", json!({ "reason": "scrapped" }), 200),
        ("", "GET", json!({}), 404),
        ("", "DELETE", json!({}), 404),
    ] {
        let (seen, text) = read(ask(method, tag, body).await).await;
        assert_eq!(seen.as_u16(), status, "{method} {tag}: {text}");
    }
}

#[tokio::test]
async fn endpoints_are_listed_by_selector_and_a_wrong_one_says_where() {
    let bench = Bench::new("").await;
    bench.add("press-01", MAC, json!({ "labels": { "line": "3" }, "kind": "hmi" })).await;
    bench.add("press-02", "52:54:00:12:34:57", json!({ "labels": { "line": "3" }, "kind": "server" })).await;
    let list = |query: &'static str| bench.ask("GET", query, json!(null));
    let (_, all) = list("/api/v1/endpoints?selector=line%3D3").await;
    assert_eq!(all.as_array().unwrap().len(), 2);
    let (_, one) = list("/api/v1/endpoints?selector=line=3,kind%20notin%20(server)").await;
    assert_eq!((one.as_array().unwrap().len(), &one[0]["endpoint"]), (1, &json!("press-01")));
    for query in ["/api/v1/endpoints?selector=", "/api/v1/endpoints?selector=line%3D3%3B"] {
        let (status, problem) = list(query).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (400, Some("bad-selector")), "{query}");
        assert!(problem["detail"].as_str().unwrap().contains("column"), "{problem}");
    }
    let (status, page) = list("/endpoints?selector=kind%3Dserver").await;
    let page = page.as_str().unwrap();
    assert!(status == StatusCode::OK && page.contains("press-02") && !page.contains("press-01"), "{page}");
    assert_eq!(list("/endpoints?selector=kind%3D").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_idempotency_key_holds_one_order() {
    let bench = Bench::new("").await;
    bench.add("press-01", MAC, json!({})).await;
    let order = |key: &'static str, reason: &'static str| {
        let request = Request::post("/api/v1/endpoints/press-01/recover")
            .header(header::AUTHORIZATION, format!("Bearer {}", bench.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", key)
            .body(Body::from(json!({ "reason": reason }).to_string()))
            .unwrap();
        bench.send(request)
    };
    let (first, job) = read(order("k1", "a").await).await;
    let (again, same) = read(order("k1", "a").await).await;
    assert_eq!((first, again), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    let id = |text: &str| serde_json::from_str::<JobView>(text).unwrap().job;
    assert_eq!(id(&job), id(&same));
    assert_eq!(read(order("k1", "b").await).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(read(order("", "a").await).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn each_wrong_request_is_a_problem_with_its_own_code() {
    let bench = Bench::new("").await;
    bench.add("press-01", MAC, json!({})).await;
    let add = "/api/v1/endpoints";
    for (method, path, body, status, code) in [
        ("GET", "/api/v1/endpoints/NO", json!(null), 404, "unknown-endpoint"),
        ("GET", "/api/v1/endpoints/press-99", json!(null), 404, "unknown-endpoint"),
        ("GET", "/api/v1/jobs/x", json!(null), 404, "unknown-job"),
        ("GET", "/api/v1/jobs/0193a3c8-0000-7000-8000-000000000000", json!(null), 404, "unknown-job"),
        ("GET", "/api/v1/jobs/x/events", json!(null), 404, "unknown-job"),
        ("GET", "/api/v1/drills/x", json!(null), 404, "unknown-drill"),
        ("GET", "/api/v1/nothing", json!(null), 404, "unknown-route"),
        ("DELETE", "/api/v1/jobs", json!(null), 405, "unknown-method"),
        ("POST", add, json!({ "endpoint": "press-02" }), 400, "bad-json"),
        (
            "POST",
            add,
            json!({ "endpoint": "p", "macs": [], "blueprint": "hmi", "colour": 1 }),
            400,
            "bad-json",
        ),
        ("POST", "/api/v1/endpoints/press-01/recover", json!({ "why": "x" }), 400, "bad-json"),
        (
            "POST",
            "/api/v1/drills",
            json!({ "runbook": "none", "endpoints": ["press-01"] }),
            404,
            "unknown-runbook",
        ),
        (
            "POST",
            "/api/v1/drills",
            json!({ "runbook": "quarterly-hmi-drill", "endpoints": ["press-01"] }),
            409,
            "not-drill-safe",
        ),
    ] {
        let (seen, problem) = bench.ask(method, path, body).await;
        assert_eq!(
            (seen.as_u16(), problem["code"].as_str()),
            (status, Some(code)),
            "{method} {path}: {problem}"
        );
        assert!(!problem["remedy"].as_str().unwrap().is_empty(), "{path}");
    }
    let long = Request::post("/api/v1/endpoints")
        .header(header::AUTHORIZATION, format!("Bearer {}", bench.token))
        .body(Body::from(vec![b' '; 300 * 1024]))
        .unwrap();
    let response = bench.send(long).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let (status, text) = read(response).await;
    assert!(status == StatusCode::PAYLOAD_TOO_LARGE && text.contains("body-too-long"), "{status} {text}");
}

#[tokio::test]
async fn job_events_carry_the_whole_job_and_end_with_it() {
    let bench = Bench::new("").await;
    bench.add("press-01", MAC, json!({})).await;
    let job = bench.recover("press-01").await.job;
    let request = Request::get(format!("/api/v1/jobs/{job}/events"))
        .header(header::AUTHORIZATION, format!("Bearer {}", bench.token))
        .body(Body::empty())
        .unwrap();
    let response = bench.send(request).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let text = String::from_utf8(first.to_vec()).unwrap();
    let view: JobView = serde_json::from_str(text.trim().strip_prefix("data:").unwrap()).unwrap();
    assert_eq!(view.job, job);
    let (status, _) =
        bench.ask("POST", &format!("/api/v1/jobs/{job}/cancel"), json!({ "reason": "no" })).await;
    assert_eq!(status, StatusCode::OK);
    let rest = body.collect().await.unwrap().to_bytes();
    let last = String::from_utf8(rest.to_vec()).unwrap();
    let last = last.lines().rev().find_map(|line| line.strip_prefix("data:")).unwrap();
    assert!(serde_json::from_str::<JobView>(last).unwrap().state.is_over());
}

#[tokio::test]
async fn metrics_are_open_metrics_text() {
    let bench = Bench::new("").await;
    bench.add("press-01", MAC, json!({})).await;
    bench.ask("GET", "/api/v1/endpoints/press-01", json!(null)).await;
    let (status, text) = bench.ask("GET", "/metrics", json!(null)).await;
    let text = text.as_str().unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(text.ends_with("# EOF\n"));
    for line in [
        "groundstate_build_info{version=\"0.1.0\"} 1",
        "groundstate_endpoints{state=\"known\"} 1",
        "groundstate_http_requests_total{route=\"/api/v1/endpoints/{endpoint}\",method=\"GET\",status=\"200\"} 1",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line}\n{text}");
    }
    assert!(!text.contains("press-01"));
}
