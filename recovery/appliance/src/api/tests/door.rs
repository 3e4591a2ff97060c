//! Signing in by name and password, the first admin, sessions, and what guessing gets.

use std::time::{Duration, Instant};

use recovery_protocol::people::{Role, SessionView};

use super::{people::token_of, *};
use crate::tls::Peer;

const HOST: &str = "appliance:8444";
const GOOD: &str = "four words that fit";

/// A form sent by a page of ours, from this address.
pub async fn form(
    bench: &Bench,
    path: &str,
    from: &str,
    cookie: &str,
    fields: &[(&str, &str)],
) -> axum::response::Response {
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    let mut request = Request::post(path)
        .header(header::HOST, HOST)
        .header(header::ORIGIN, format!("https://{HOST}"))
        .header(header::COOKIE, cookie)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body.join("&")))
        .unwrap();
    request.extensions_mut().insert(Peer::at(&format!("{from}:50000")));
    bench.send(request).await
}

async fn login(bench: &Bench, name: &str, password: &str, from: &str) -> Result<String, (u16, String)> {
    let response = form(bench, "/login", from, "", &[("name", name), ("password", password)]).await;
    if response.status() == StatusCode::SEE_OTHER {
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
        return Ok(cookie.split(';').next().unwrap().to_owned());
    }
    let (status, text) = read(response).await;
    Err((status.as_u16(), text))
}

pub async fn page(bench: &Bench, path: &str, cookie: &str) -> (StatusCode, String) {
    let request = Request::get(path).header(header::HOST, HOST).header(header::COOKIE, cookie);
    read(bench.send(request.body(Body::empty()).unwrap()).await).await
}

async fn add(bench: &Bench, person: &str, role: Role) -> String {
    let token =
        token_of(bench.ask("POST", "/api/v1/people", json!({ "person": person, "role": role })).await);
    let path = format!("/api/v1/people/{person}/password");
    if role != Role::Automation {
        let (status, set) = bench.ask("PUT", &path, json!({ "password": GOOD })).await;
        assert!(status == StatusCode::OK && set["password_unix_ms"].is_u64(), "{set}");
    }
    token
}

async fn entries(bench: &Bench, kind: &str) -> Vec<serde_json::Value> {
    let lines = bench.service.evidence_lines(None).await.unwrap();
    let found = lines
        .iter()
        .filter(|line| recovery_protocol::evidence::entry(line).is_some_and(|entry| entry.kind == kind));
    found.map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!(line))).collect()
}

#[tokio::test]
async fn a_name_and_a_password_open_a_session_and_each_try_is_one_argon2() {
    let bench = Bench::new("").await;
    add(&bench, "anna", Role::Engineer).await;
    let ran = bench.gate.argon2_runs();
    let cookie = login(&bench, "anna", GOOD, "10.0.0.1").await.unwrap();
    assert_eq!(page(&bench, "/account", &cookie).await.0, StatusCode::OK);
    for (name, password) in [("anna", "four words that do not"), ("nobody", GOOD), ("", ""), ("token", GOOD)]
    {
        let (status, text) = login(&bench, name, password, "10.0.0.2").await.unwrap_err();
        assert!(
            status == 401 && text.contains("obody here has this name and this password"),
            "{name}: {text}"
        );
    }
    assert_eq!(bench.gate.argon2_runs() - ran, 5, "one each, whoever's name it is");
    // The fourth for one name from one address comes too soon and costs nothing.
    for _ in 0..2 {
        login(&bench, "anna", "x", "10.0.0.2").await.unwrap_err();
    }
    let ran = bench.gate.argon2_runs();
    let (status, text) = login(&bench, "anna", GOOD, "10.0.0.2").await.unwrap_err();
    assert!(status == 429 && text.contains("ait 1 s"), "{text}");
    assert_eq!(bench.gate.argon2_runs(), ran);
    assert!(login(&bench, "anna", GOOD, "10.0.0.1").await.is_ok(), "not where she works");
    let failed = entries(&bench, "login.failed").await;
    let text = serde_json::to_string(&failed).unwrap();
    assert!(
        !failed.is_empty() && text.contains("anna") && !text.contains("nobody") && text.contains("10.0.0.2"),
        "{text}"
    );
    let (_, log) = bench.ask("GET", "/api/v1/evidence", json!(null)).await;
    let log = log.to_string();
    assert!(!log.contains(GOOD) && !log.contains("argon2") && log.contains("session.opened"));
    // What is on record of a password opens nothing.
    let rows = bench.service.people_rows().await.unwrap();
    let phc = rows[0].password.clone().unwrap();
    let request = Request::get("/api/v1/status").header(header::AUTHORIZATION, format!("Bearer {phc}"));
    assert_eq!(bench.send(request.body(Body::empty()).unwrap()).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_flood_at_one_name_costs_few_argon2_and_keeps_another_out_for_one_of_them() {
    let bench = Bench::new("").await;
    add(&bench, "anna", Role::Engineer).await;
    add(&bench, "otto", Role::Engineer).await;
    let begun = Instant::now();
    login(&bench, "otto", GOOD, "10.0.0.9").await.unwrap();
    let one = begun.elapsed();
    let ran = bench.gate.argon2_runs();
    let flood =
        futures_util::future::join_all((0..200).map(|_| login(&bench, "anna", "a guess", "10.0.0.1")));
    let otto = async {
        let begun = Instant::now();
        login(&bench, "otto", GOOD, "10.0.0.9").await.map(|_| begun.elapsed())
    };
    let (flood, otto) = tokio::join!(flood, otto);
    let refused = |wanted: u16| {
        flood.iter().filter(|answer| matches!(answer, Err((status, _)) if *status == wanted)).count()
    };
    assert_eq!((refused(401) + refused(429) + refused(503), refused(401)), (200, 3));
    assert_eq!(bench.gate.argon2_runs() - ran, 4, "three guesses and otto");
    let waited = otto.unwrap();
    assert!(waited < one * 8 + Duration::from_millis(500), "{waited:?} with a flood, {one:?} alone");
    assert!(entries(&bench, "login.failed").await.len() <= 3);
}

#[tokio::test]
async fn who_is_shut_out_or_has_a_new_password_is_out_at_once_and_evidence_says_so() {
    let bench = Bench::new("").await;
    add(&bench, "anna", Role::Engineer).await;
    let mut cookie = login(&bench, "anna", GOOD, "10.0.0.1").await.unwrap();
    for (order, back) in [
        (json!({ "disabled": true }), json!({ "disabled": false })),
        (json!({ "role": "automation" }), json!({ "role": "engineer" })),
    ] {
        assert_eq!(bench.ask("PATCH", "/api/v1/people/anna", order.clone()).await.0, StatusCode::OK);
        let (status, _) = page(&bench, "/account", &cookie).await;
        assert!(status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN, "{order}: {status}");
        assert!(login(&bench, "anna", GOOD, "10.0.0.1").await.is_err(), "{order}");
        assert_eq!(bench.ask("PATCH", "/api/v1/people/anna", back).await.0, StatusCode::OK);
        cookie = login(&bench, "anna", GOOD, "10.0.0.1").await.unwrap();
    }
    let set =
        bench.ask("PUT", "/api/v1/people/anna/password", json!({ "password": "another four words" })).await;
    assert_eq!(set.0, StatusCode::OK);
    assert_eq!(page(&bench, "/account", &cookie).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(login(&bench, "anna", GOOD, "10.0.0.1").await.unwrap_err().0, 401);
    assert!(login(&bench, "anna", "another four words", "10.0.0.1").await.is_ok());
    assert_eq!(
        bench.ask("PUT", "/api/v1/people/anna/password", json!({ "password": "" })).await.0,
        StatusCode::OK
    );
    assert_eq!(
        login(&bench, "anna", "another four words", "10.0.0.1").await.unwrap_err().0,
        401,
        "none any more"
    );
    let ended = serde_json::to_string(&entries(&bench, "session.ended").await).unwrap();
    assert!(ended.contains("shut out"), "{ended}");
    assert_eq!(entries(&bench, "order.person-password").await.len(), 3);
}

#[tokio::test]
async fn everyone_changes_their_own_password_and_an_admin_gives_others_one() {
    let bench = Bench::new("").await;
    let token = add(&bench, "anna", Role::Technician).await;
    let robot = add(&bench, "robot", Role::Automation).await;
    let own = async |order: serde_json::Value| {
        let sent =
            super::people::send(&bench, &token, &Method::PUT, "/api/v1/account/password", &order.to_string())
                .await;
        let (status, text) = read(sent).await;
        (status.as_u16(), text)
    };
    let wrong = own(json!({ "password": "another four words", "current": "not it" })).await;
    assert!(wrong.0 == 403 && wrong.1.contains("password-wrong"), "{}", wrong.1);
    for weak in ["short", "anna-anna-2026", ""] {
        let weak = own(json!({ "password": weak, "current": GOOD })).await;
        assert!(weak.0 == 422 && weak.1.contains("password-weak"), "{}", weak.1);
    }
    assert_eq!(own(json!({ "password": "another four words", "current": GOOD })).await.0, 200);
    let path = "/api/v1/people/robot/password";
    assert_eq!(
        super::people::send(&bench, &token, &Method::PUT, path, "{}").await.status(),
        StatusCode::FORBIDDEN
    );
    let (status, problem) = bench.ask("PUT", path, json!({ "password": GOOD })).await;
    assert!(status == StatusCode::CONFLICT && problem["code"] == "no-password");
    let path = "/api/v1/account/password";
    assert_eq!(
        super::people::send(&bench, &robot, &Method::PUT, path, "{}").await.status(),
        StatusCode::FORBIDDEN
    );
    let (status, problem) = bench.ask("PUT", "/api/v1/account/password", json!({ "password": GOOD })).await;
    assert!(
        status == StatusCode::NOT_FOUND && problem["code"] == "unknown-person",
        "the site's token is nobody"
    );
    // The same by the console's page.
    let cookie = login(&bench, "anna", "another four words", "10.0.0.1").await.unwrap();
    let change =
        async |fields: &[(&str, &str)]| form(&bench, "/account/password", "10.0.0.1", &cookie, fields).await;
    let differ =
        read(change(&[("current", "another four words"), ("password", GOOD), ("again", "x")]).await).await;
    assert!(differ.0 == StatusCode::UNPROCESSABLE_ENTITY && differ.1.contains("passwords-differ"));
    let set = change(&[("current", "another four words"), ("password", GOOD), ("again", GOOD)]).await;
    assert_eq!(set.status(), StatusCode::SEE_OTHER);
    assert!(login(&bench, "anna", GOOD, "10.0.0.1").await.is_ok());
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_their_owner_or_an_admin() {
    let bench = Bench::new("").await;
    let token = add(&bench, "anna", Role::Engineer).await;
    add(&bench, "otto", Role::Engineer).await;
    let anna = login(&bench, "anna", GOOD, "10.0.0.1").await.unwrap();
    let otto = login(&bench, "otto", GOOD, "10.0.0.2").await.unwrap();
    let list = |value: serde_json::Value| serde_json::from_value::<Vec<SessionView>>(value).unwrap();
    let all = list(bench.ask("GET", "/api/v1/sessions", json!(null)).await.1);
    assert_eq!(all.len(), 2);
    let of = |person: &str| all.iter().find(|view| view.person == person).unwrap().session.clone();
    let (_, mine) =
        read(super::people::send(&bench, &token, &Method::GET, "/api/v1/sessions", "").await).await;
    assert!(mine.contains(&of("anna")) && !mine.contains("otto"), "{mine}");
    let end = async |session: String| {
        super::people::send(&bench, &token, &Method::DELETE, &format!("/api/v1/sessions/{session}"), "{}")
            .await
            .status()
    };
    assert_eq!(end(of("otto")).await, StatusCode::NOT_FOUND, "not anna's to end");
    assert_eq!(page(&bench, "/account", &otto).await.0, StatusCode::OK);
    let (_, text) = page(&bench, "/account", &anna).await;
    assert!(text.contains("(this one)") && !text.contains("otto"), "{text}");
    assert_eq!(end(of("anna")).await, StatusCode::OK);
    assert_eq!(page(&bench, "/account", &anna).await.0, StatusCode::UNAUTHORIZED);
    let left = list(bench.ask("DELETE", &format!("/api/v1/sessions/{}", of("otto")), json!({})).await.1);
    assert!(left.is_empty() && page(&bench, "/account", &otto).await.0 == StatusCode::UNAUTHORIZED);
    let again = login(&bench, "otto", GOOD, "10.0.0.2").await.unwrap();
    assert_eq!(form(&bench, "/logout", "10.0.0.2", &again, &[]).await.status(), StatusCode::SEE_OTHER);
    let ended = entries(&bench, "session.ended").await;
    let text = serde_json::to_string(&ended).unwrap();
    assert_eq!((ended.len(), entries(&bench, "session.opened").await.len()), (3, 3), "{text}");
    assert!(text.contains("signed out") && text.contains("ended by a person"), "{text}");
}

#[tokio::test]
async fn the_first_admin_is_made_by_the_set_up_code_and_by_it_alone() {
    let bench = Bench::new("").await;
    assert!(page(&bench, "/login", "").await.1.contains("href=\"/setup\""));
    let fields = |code: &'static str, name: &'static str| {
        [("code", code), ("name", name), ("password", GOOD), ("again", GOOD)]
    };
    let none = read(form(&bench, "/setup", "10.0.0.1", "", &fields("AAAA", "ada")).await).await;
    assert!(none.0 == StatusCode::UNAUTHORIZED && none.1.contains("o set-up code stands"), "{}", none.1);
    let (_, made) = bench.ask("POST", "/api/v1/setup-codes", json!({})).await;
    let code: &'static str = made["code"].as_str().unwrap().to_owned().leak();
    for (name, password, again) in
        [("Ada A", GOOD, GOOD), ("token", GOOD, GOOD), ("ada", "short", "short"), ("ada", GOOD, "x")]
    {
        let fields = [("code", code), ("name", name), ("password", password), ("again", again)];
        let refused = form(&bench, "/setup", "10.0.0.1", "", &fields).await.status();
        assert_eq!(refused, StatusCode::UNPROCESSABLE_ENTITY, "{name}, and the code is not used up");
    }
    let wrong = read(form(&bench, "/setup", "10.0.0.1", "", &fields("AAAA-AAAA-AAAA", "ada")).await).await;
    assert!(wrong.0 == StatusCode::UNAUTHORIZED && wrong.1.contains("is another one"), "{}", wrong.1);
    // A busy lane costs no code.
    let crowd = bench.gate.crowd("10.0.0.1".parse().unwrap());
    let busy = form(&bench, "/setup", "10.0.0.1", "", &fields(code, "ada")).await.status();
    assert_eq!(busy, StatusCode::SERVICE_UNAVAILABLE);
    drop(crowd);
    let ran = bench.gate.argon2_runs();
    let response = form(&bench, "/setup", "10.0.0.1", "", &fields(code, "ada")).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(bench.gate.argon2_runs() - ran, 1, "in at once, and no second time through the lane");
    let cookie =
        response.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert!(page(&bench, "/account", &cookie).await.1.contains("<strong>admin</strong>"));
    assert!(login(&bench, "ada", GOOD, "10.0.0.1").await.is_ok());
    // And now it is no page any more.
    assert_eq!(page(&bench, "/setup", "").await.0, StatusCode::CONFLICT);
    let late = form(&bench, "/setup", "10.0.0.1", "", &fields(code, "eve")).await;
    assert_eq!(late.status(), StatusCode::CONFLICT);
    assert_eq!(bench.ask("POST", "/api/v1/setup-codes", json!({})).await.1["code"], "admin-exists");
    assert!(!page(&bench, "/login", "").await.1.contains("href=\"/setup\""));
    let log = bench.service.evidence_lines(None).await.unwrap().join("\n");
    assert!(log.contains("set-up code") && !log.contains(code) && !log.contains(GOOD));
}
