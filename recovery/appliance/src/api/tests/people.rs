//! Who may do what: every route with every role, and a person from their first day to their last.

use recovery_protocol::people::{Permission, PersonView, Role};

use super::*;
use crate::api::{Needs, closed_routes};

/// A request in the name of whoever has this token.
pub async fn send(
    bench: &Bench,
    token: &str,
    method: &Method,
    path: &str,
    body: &str,
) -> axum::response::Response {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    bench.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

async fn add(bench: &Bench, person: &str, role: Role) -> String {
    let (status, body) = bench.ask("POST", "/api/v1/people", json!({ "person": person, "role": role })).await;
    token_of((status, body))
}

/// The token in the answer to an order that makes one.
pub fn token_of((status, body): (StatusCode, serde_json::Value)) -> String {
    assert_eq!(status, StatusCode::OK, "{body}");
    serde_json::from_value::<PersonView>(body).unwrap().token.unwrap()
}

#[tokio::test]
async fn every_route_lets_in_whom_its_permission_names_and_nobody_else() {
    let bench = Bench::new("").await;
    let mut refused = 0;
    for role in Role::ALL {
        let token = add(&bench, role.as_str(), role).await;
        for (path, _, Needs { read, write }) in closed_routes() {
            let path = path.replace("{endpoint}", "press-01").replace("{job}", "x").replace("{drill}", "x");
            let path = path
                .replace("{person}", "nobody")
                .replace("{session}", "x")
                .replace("{plan}", "x")
                .replace("{month}", "2026-11")
                .replace("{kiosk}", "x");
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                let wanted = if method == Method::GET { read } else { write };
                let status = send(&bench, &token, &method, &path, "").await.status();
                if role.may(wanted) {
                    let kept_out = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
                    assert!(!kept_out, "{role} {method} {path}: {status}");
                } else {
                    assert_eq!(status, StatusCode::FORBIDDEN, "{role} {method} {path}");
                    refused += 1;
                }
            }
        }
        let status = send(&bench, &token, &Method::GET, "/api/v1/nothing", "").await.status();
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn what_changes_something_needs_more_than_looking() {
    for (path, _, Needs { read, write }) in closed_routes() {
        let nothing_is_written = [
            "/",
            "/changes",
            "/api/v1/changes",
            "/metrics",
            "/api/v1/status",
            "/api/v1/jobs",
            "/api/v1/jobs/{job}/steps",
            "/jobs",
            "/images",
            "/map",
            "/api/v1/map",
            "/api/v1/channels",
            "/api/v1/images",
            "/api/v1/plane",
            "/api/v1/net",
            "/api/v1/evidence/key",
            "/api/v1/reviews",
            "/reviews",
            "/plans",
            "/endpoints",
            "/network",
            "/site",
            "/api/v1/drills/readiness",
            "/api/v1/drills/actions",
            "/zones",
            "/api/v1/notifications",
            "/notifications",
            "/approvals",
            "/scan",
            "/m/{endpoint}/safety",
            "/api/v1/endpoints/{endpoint}/outlook",
            "/api/v1/endpoints/{endpoint}/card",
            "/endpoints/{endpoint}/card",
            "/api/v1/openapi.json",
        ];
        let one = path.ends_with('}')
            || path.ends_with("/events")
            || path.ends_with("/report")
            || path.ends_with("/compare");
        let only_read = nothing_is_written.contains(&path) || one && write == Permission::Look;
        assert!(only_read || write != Permission::Look, "{path} {read:?}");
    }
}

#[tokio::test]
async fn a_refusal_names_the_role_and_who_may() {
    let bench = Bench::new("").await;
    let token = add(&bench, "otto", Role::Auditor).await;
    let path = "/api/v1/endpoints/press-01/recover";
    let (status, text) = read(send(&bench, &token, &Method::POST, path, "{}").await).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    for word in ["not-allowed", "otto is auditor here, and may not order a recovery", "technician, engineer"]
    {
        assert!(text.contains(word), "{text}");
    }
    let (_, text) = read(send(&bench, &token, &Method::POST, "/endpoints/press-01/recover", "").await).await;
    assert!(text.starts_with("<!DOCTYPE html>") && text.contains("is auditor here"), "{text}");
}

#[tokio::test]
async fn a_person_is_added_changed_shut_out_and_never_forgotten() {
    let bench = Bench::new("").await;
    let token = add(&bench, "anna", Role::Technician).await;
    assert!(token.starts_with("gs_"));
    let status = |token: &str, path: &'static str| {
        let (bench, token) = (&bench, token.to_owned());
        async move { send(bench, &token, &Method::GET, path, "").await.status().as_u16() }
    };
    assert_eq!((status(&token, "/api/v1/jobs").await, status(&token, "/api/v1/evidence").await), (200, 403));
    let change = |order: serde_json::Value| bench.ask("PATCH", "/api/v1/people/anna", order);
    assert_eq!(change(json!({ "role": "auditor" })).await.0, StatusCode::OK);
    assert_eq!(status(&token, "/api/v1/evidence").await, 200);
    let (_, renewed) = change(json!({ "new_token": true, "valid_days": 30 })).await;
    let renewed: PersonView = serde_json::from_value(renewed).unwrap();
    let new = renewed.token.unwrap();
    assert_eq!(renewed.token_ends_unix_ms, Some(renewed.token_unix_ms + 30 * 24 * 3_600_000));
    assert_eq!((status(&token, "/api/v1/jobs").await, status(&new, "/api/v1/jobs").await), (401, 200));
    assert_eq!(change(json!({ "disabled": true, "reason": "left" })).await.0, StatusCode::OK);
    assert_eq!(status(&new, "/api/v1/jobs").await, 401);
    for (path, order, code) in [
        ("/api/v1/people", json!({ "person": "anna", "role": "admin" }), "person-exists"),
        ("/api/v1/people", json!({ "person": "token", "role": "admin" }), "bad-name"),
        ("/api/v1/people", json!({ "person": "Ann A", "role": "admin" }), "bad-name"),
        ("/api/v1/people", json!({ "person": "b", "role": "admin", "valid_days": 0 }), "bad-validity"),
    ] {
        let (_, problem) = bench.ask("POST", path, order).await;
        assert_eq!(problem["code"], code, "{problem}");
    }
    assert_eq!(change(json!({ "disabled": true })).await.1["code"], "nothing-to-change");
    let (_, unknown) = bench.ask("PATCH", "/api/v1/people/otto", json!({ "disabled": true })).await;
    assert_eq!(unknown["code"], "unknown-person");
    let (_, list) = bench.ask("GET", "/api/v1/people", json!(null)).await;
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert!(list[0]["used_unix_ms"].is_u64() && list[0].get("token").is_none(), "{list}");
    // By what is no secret of it a token that turns up somewhere is found.
    let id = list[0]["token_id"].as_str().unwrap();
    assert!(new.starts_with(&format!("gs_{id}_")) && id.len() == 8 && !token.contains(id), "{list}");
    // In evidence by name, with what changed, and no token.
    let log = evidence(&bench).await;
    assert!(log.contains("order.person-add") && log.contains("order.person-change") && log.contains("left"));
    assert!(!log.contains(&token) && !log.contains(&new) && !log.contains("gs_"));
}

#[tokio::test]
async fn orders_stand_in_evidence_under_the_name_of_who_gave_them() {
    let bench = Bench::new("").await;
    bench.add("press-01", MAC, json!({})).await;
    let token = add(&bench, "anna", Role::Technician).await;
    let order = send(&bench, &token, &Method::POST, "/api/v1/endpoints/press-01/recover", "{}").await;
    let (status, text) = read(order).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    assert!(evidence(&bench).await.contains("operator:anna"));
}

async fn evidence(bench: &Bench) -> String {
    let token = bench.token.clone();
    read(send(bench, &token, &Method::GET, "/api/v1/evidence", "").await).await.1
}

#[tokio::test]
async fn who_reads_the_log_or_lists_people_stands_in_the_log() {
    let bench = Bench::new("").await;
    let auditor = add(&bench, "otto", Role::Auditor).await;
    for path in ["/api/v1/evidence", "/api/v1/evidence/entries/1/proof"] {
        let answer = send(&bench, &auditor, &Method::GET, path, "").await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    let (status, _) = bench.ask("GET", "/api/v1/people", serde_json::Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = bench.ask("POST", "/api/v1/console-links", json!({})).await;
    assert_eq!(status, StatusCode::OK);
    let lines = bench.service.evidence_lines(None).await.unwrap();
    let entries = lines.iter().filter_map(|line| recovery_protocol::evidence::entry(line));
    let read: Vec<_> = entries.map(|entry| format!("{} {}", entry.actor, entry.kind)).collect();
    let expected = [
        "operator:token order.person-add",
        "operator:otto log.read",
        "operator:otto log.read",
        "operator:token account.read",
        "operator:token session.link",
    ];
    assert_eq!(read, expected);
}

/// What an auditor takes away, through the doors that they use.
#[tokio::test]
async fn a_checkpoint_a_proof_and_what_came_since_are_had_over_rest() {
    use recovery_protocol::evidence::{Checkpoint, proof};
    let bench = Bench::new("").await;
    let origin = bench.journal.origin();
    let auditor = add(&bench, "otto", Role::Auditor).await;
    let text = |answer| async { crate::testing::read(answer).await.1 };
    let kept = text(send(&bench, &auditor, &Method::GET, "/api/v1/evidence/checkpoint", "").await).await;
    let size = Checkpoint::verify(&kept, &origin).unwrap().size();
    let entry =
        text(send(&bench, &auditor, &Method::GET, "/api/v1/evidence/entries/1/proof", "").await).await;
    assert!(matches!(proof::verify(&entry, &origin), Ok(proof::Proven::Included { .. })));
    let since = text(send(&bench, &auditor, &Method::POST, "/api/v1/evidence/since", &kept).await).await;
    let proven = proof::verify(&since, &origin).unwrap();
    assert!(matches!(proven, proof::Proven::Continued { old, new } if old == size && new > size));
    for (method, path, body, code) in [
        (Method::GET, "/api/v1/evidence/entries/9999/proof", "", StatusCode::NOT_FOUND),
        (Method::GET, "/api/v1/evidence/entries/0/proof", "", StatusCode::NOT_FOUND),
        (Method::POST, "/api/v1/evidence/since", "x", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(send(&bench, &auditor, &method, path, body).await.status(), code, "{path}");
    }
    crate::evidence::tests::cut(&bench.journal.db, 1).await;
    let answer = send(&bench, &auditor, &Method::POST, "/api/v1/evidence/since", &since_of(&since)).await;
    assert_eq!(answer.status(), StatusCode::CONFLICT);
}

/// The newer checkpoint of a consistency proof.
fn since_of(proof: &str) -> String {
    let notes: Vec<&str> = recovery_protocol::evidence::checkpoint::notes(proof).collect();
    notes.last().unwrap().to_string()
}

#[tokio::test]
async fn a_change_that_was_never_told_is_learned_after_a_while() {
    let bench = Bench::new("").await;
    let token = add(&bench, "anna", Role::Technician).await;
    let status = async || send(&bench, &token, &Method::GET, "/api/v1/jobs", "").await.status();
    assert_eq!(status().await, StatusCode::OK);
    // As when the asker's connection is cut between the commit and the telling.
    let order = serde_json::from_value(json!({ "disabled": true })).unwrap();
    bench.service.change_person(&crate::service::Actor::operator("token"), "anna", order).await.unwrap();
    assert_eq!(status().await, StatusCode::OK, "not told");
    bench.gate.let_time_pass();
    assert_eq!(status().await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_a_role_does_not_allow_is_in_evidence_and_does_not_fill_it() {
    let bench = Bench::new("").await;
    let token =
        token_of(bench.ask("POST", "/api/v1/people", json!({ "person": "tom", "role": "technician" })).await);
    for _ in 0..12 {
        let refused = send(&bench, &token, &Method::POST, "/api/v1/people", "{}").await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    }
    let lines = bench.service.evidence_lines(None).await.unwrap();
    let refused: Vec<&String> = lines.iter().filter(|line| line.contains("\"refusal.role\"")).collect();
    assert_eq!(refused.len(), 2, "the first and the tenth");
    for part in ["operator:tom", "\"role\":\"technician\"", "\"path\":\"/api/v1/people\"", "\"times\":10"] {
        assert!(refused[1].contains(part), "{part} in {}", refused[1]);
    }
}
