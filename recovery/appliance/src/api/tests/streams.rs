//! A stream of events ends with what let its reader in.

use std::time::Duration;

use recovery_protocol::people::{Role, SessionView};
use tokio::time::timeout;

use super::{
    door::{form, page},
    people::token_of,
    *,
};

const HOST: &str = "appliance:8444";
const GOOD: &str = "four words that fit";

/// An open stream of this path, by cookie or bearer.
async fn open(bench: &Bench, path: &str, header: header::HeaderName, value: &str) -> Body {
    let request = Request::get(path).header(header::HOST, HOST).header(header, value);
    let response = bench.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    response.into_body()
}

/// Whether it ends, whatever it says before.
async fn ends(mut body: Body) -> bool {
    let read = async { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
    timeout(Duration::from_secs(5), read).await.is_ok()
}

async fn session(bench: &Bench) -> String {
    let response = form(bench, "/login", "10.0.0.1", "", &[("name", "anna"), ("password", GOOD)]).await;
    response.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_stream_ends_with_the_session_or_the_secret_that_opened_it() {
    let bench = Bench::new("").await;
    bench.add("press-01", MAC, json!({})).await;
    let job = format!("/api/v1/jobs/{}/events", bench.recover("press-01").await.job);
    let made = bench.ask("POST", "/api/v1/people", json!({ "person": "anna", "role": Role::Engineer })).await;
    let mut token = token_of(made);
    bench.ask("PUT", "/api/v1/people/anna/password", json!({ "password": GOOD })).await;
    for how in ["left", "by another", "shut out", "new password"] {
        let cookie = session(&bench).await;
        let streams = [
            open(&bench, "/changes", header::COOKIE, &cookie).await,
            open(&bench, &job, header::COOKIE, &cookie).await,
        ];
        let other = open(&bench, "/changes", header::AUTHORIZATION, &format!("Bearer {token}")).await;
        match how {
            "left" => drop(form(&bench, "/logout", "10.0.0.1", &cookie, &[]).await),
            "by another" => {
                let (_, open) = bench.ask("GET", "/api/v1/sessions", json!(null)).await;
                let open: Vec<SessionView> = serde_json::from_value(open).unwrap();
                let anna = open.iter().find(|session| session.person == "anna").unwrap();
                bench.ask("DELETE", &format!("/api/v1/sessions/{}", anna.session), json!(null)).await;
            }
            "shut out" => {
                bench.ask("PATCH", "/api/v1/people/anna", json!({ "disabled": true })).await;
            }
            _ => {
                bench.ask("PUT", "/api/v1/people/anna/password", json!({ "password": GOOD })).await;
            }
        }
        assert_eq!(page(&bench, "/account", &cookie).await.0, StatusCode::UNAUTHORIZED, "{how}");
        for stream in streams {
            assert!(ends(stream).await, "{how}");
        }
        match how {
            "shut out" => {
                assert!(ends(other).await, "their token is none any more");
                bench.ask("PATCH", "/api/v1/people/anna", json!({ "disabled": false })).await;
            }
            "new password" => {
                let (_, view) = bench.ask("PATCH", "/api/v1/people/anna", json!({ "new_token": true })).await;
                token = view["token"].as_str().unwrap().to_owned();
                assert!(ends(other).await, "the token was given anew");
            }
            _ => {
                let mut other = other;
                bench
                    .add(&format!("e-{}", how.len()), &format!("02:00:00:00:00:{:02x}", how.len()), json!({}))
                    .await;
                let frame = timeout(Duration::from_secs(5), other.frame()).await;
                assert!(frame.is_ok_and(|frame| frame.is_some()), "what another secret opened goes on");
            }
        }
    }
    let own = open(&bench, "/changes", header::AUTHORIZATION, &format!("Bearer {token}")).await;
    bench.ask("PATCH", "/api/v1/people/anna", json!({ "networks": ["10.9.0.0/24"] })).await;
    assert!(ends(own).await, "it does not count from there any more");
}

#[tokio::test]
async fn a_reader_that_stalled_sees_nothing_of_a_job_that_went_on_after_its_session_ended() {
    let bench = Bench::new("").await;
    bench.add("press-01", MAC, json!({})).await;
    let job = bench.recover("press-01").await.job;
    bench.ask("POST", "/api/v1/people", json!({ "person": "anna", "role": Role::Engineer })).await;
    bench.ask("PUT", "/api/v1/people/anna/password", json!({ "password": GOOD })).await;
    let cookie = session(&bench).await;
    let mut stream = open(&bench, &format!("/api/v1/jobs/{job}/events"), header::COOKIE, &cookie).await;
    let first = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("data:"));
    // It reads nothing while its session ends and the job goes on.
    drop(form(&bench, "/logout", "10.0.0.1", &cookie, &[]).await);
    let path = format!("/api/v1/jobs/{job}/cancel");
    let (status, said) = bench.ask("POST", &path, json!({ "reason": "the line is needed" })).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let mut rest = Vec::new();
    let read = async {
        while let Some(Ok(frame)) = stream.frame().await {
            rest.extend(frame.into_data().unwrap_or_default());
        }
    };
    timeout(Duration::from_secs(5), read).await.expect("the stream ends");
    assert!(!String::from_utf8_lossy(&rest).contains("data:"), "{}", String::from_utf8_lossy(&rest));
}
