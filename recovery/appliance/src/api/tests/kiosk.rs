//! A badge and a PIN at a paired tablet, and what they are worth elsewhere.

use recovery_protocol::people::Role;

use super::{
    door::form,
    people::{send, token_of},
    *,
};

const PIN: &str = "493021";
const BADGE: &str = "04A7C2991B6480";

fn cookie(response: &axum::response::Response) -> String {
    response.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned()
}

async fn tom(bench: &Bench) -> String {
    let token =
        token_of(bench.ask("POST", "/api/v1/people", json!({ "person": "tom", "role": "technician" })).await);
    let (status, view) =
        bench.ask("PUT", "/api/v1/people/tom/badge", json!({ "badge": BADGE, "pin": PIN })).await;
    assert!(status == StatusCode::OK && view["has_badge"] == true, "{view}");
    token
}

async fn pair(bench: &Bench, kiosk: &str) -> String {
    let (_, made) = bench.ask("POST", "/api/v1/kiosks", json!({ "kiosk": kiosk })).await;
    let code = made["code"].as_str().unwrap().to_owned();
    let response = form(bench, "/kiosk/pair", "10.0.0.7", "", &[("code", &code)]).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let again = form(bench, "/kiosk/pair", "10.0.0.8", "", &[("code", &code)]).await;
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED, "a code pairs once");
    let set = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(
        set.starts_with("__Host-groundstate-kiosk=") && set.contains("; HttpOnly; SameSite=Strict"),
        "{set}"
    );
    cookie(&response)
}

async fn show(bench: &Bench, kiosk: &str, badge: &str, pin: &str) -> axum::response::Response {
    form(bench, "/kiosk/sign-in", "10.0.0.7", kiosk, &[("badge", badge), ("pin", pin)]).await
}

async fn code_of(response: axum::response::Response) -> (u16, String) {
    let (status, text) = read(response).await;
    (status.as_u16(), text)
}

async fn looks(bench: &Bench, session: &str) -> StatusCode {
    let request = Request::get("/account").header(header::COOKIE, session);
    bench.send(request.body(Body::empty()).unwrap()).await.status()
}

#[tokio::test]
async fn badge_and_pin_open_a_technicians_session_at_a_paired_kiosk_alone() {
    let bench = Bench::new("").await;
    tom(&bench).await;
    let (status, text) = code_of(show(&bench, "", BADGE, PIN).await).await;
    assert!(status == 401 && text.contains("not paired"), "{text}");
    let forged = show(&bench, "__Host-groundstate-kiosk=guess", BADGE, PIN).await;
    assert_eq!(forged.status(), StatusCode::UNAUTHORIZED);
    let kiosk = pair(&bench, "panel-3").await;
    let opened = show(&bench, &kiosk, &format!(" {BADGE}"), PIN).await;
    assert_eq!(opened.status(), StatusCode::SEE_OTHER);
    let session = cookie(&opened);
    assert_eq!(looks(&bench, &session).await, StatusCode::OK);
    let ran = bench.gate.argon2_runs();
    for (badge, pin) in [(BADGE, "493022"), ("another badge", PIN), (PIN, BADGE)] {
        let (status, text) = code_of(show(&bench, &kiosk, badge, pin).await).await;
        assert!(status == 401 && text.contains("do not belong together"), "{text}");
    }
    assert_eq!(bench.gate.argon2_runs() - ran, 3, "one each, whoever's badge it is");
    // The kiosk's cookie is no session, and a PIN no password.
    assert_eq!(looks(&bench, &kiosk).await, StatusCode::UNAUTHORIZED);
    let by_name = form(&bench, "/login", "10.0.0.7", "", &[("name", "tom"), ("password", PIN)]).await;
    assert_eq!(by_name.status(), StatusCode::UNAUTHORIZED);
    // Taken away, its sessions end.
    let (status, left) = bench.ask("DELETE", "/api/v1/kiosks/panel-3", json!({})).await;
    assert!(status == StatusCode::OK && left[0]["ended_unix_ms"].is_u64(), "{left}");
    assert_eq!(looks(&bench, &session).await, StatusCode::UNAUTHORIZED);
    assert_eq!(show(&bench, &kiosk, BADGE, PIN).await.status(), StatusCode::UNAUTHORIZED);
    let log = bench.service.evidence_lines(None).await.unwrap().join("\n");
    for kind in [
        "order.kiosk-pair",
        "order.kiosk-end",
        "order.person-badge",
        "session.opened",
        "session.ended",
        "login.failed",
    ] {
        assert!(log.contains(kind), "{kind}");
    }
    for secret in [BADGE, PIN, "argon2"] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_kiosks_session_makes_nothing_that_opens_the_console_elsewhere() {
    let bench = Bench::new("").await;
    let token = tom(&bench).await;
    let kiosk = pair(&bench, "panel-3").await;
    let session = cookie(&show(&bench, &kiosk, BADGE, PIN).await);
    let new = "four words that fit";
    for (method, path, body) in [
        (Method::POST, "/api/v1/console-links", json!({})),
        (Method::PUT, "/api/v1/account/password", json!({ "password": new })),
    ] {
        let request = Request::builder().method(&method).uri(path);
        let request = request.header(header::HOST, "appliance:8444").header(header::COOKIE, &session);
        let request = request.header(header::ORIGIN, "https://appliance:8444");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let answer = bench.send(request.body(Body::from(body.to_string())).unwrap()).await;
        let (status, text) = code_of(answer).await;
        assert!(status == 403 && text.contains("not-at-a-kiosk") && text.contains("own computer"), "{text}");
        // By his token the same is his right.
        assert_eq!(send(&bench, &token, &method, path, &body.to_string()).await.status(), StatusCode::OK);
    }
    bench.ask("PUT", "/api/v1/people/tom/password", json!({ "password": "" })).await;
    let fields = [("password", new), ("again", new)];
    let (status, text) =
        code_of(form(&bench, "/account/password", "10.0.0.7", &session, &fields).await).await;
    assert!(status == 403 && text.contains("own computer"), "{text}");
    let rows = bench.service.people_rows().await.unwrap();
    assert!(rows[0].password.is_none());
}

#[tokio::test]
async fn five_wrong_pins_close_a_badge_until_another_person_opens_it() {
    let bench = Bench::new("").await;
    let token = tom(&bench).await;
    let kiosk = pair(&bench, "panel-3").await;
    // From different addresses, so that nothing but the count stands against it.
    let guess = async |n: u8, pin: &str| {
        let from = format!("10.0.1.{n}");
        code_of(form(&bench, "/kiosk/sign-in", &from, &kiosk, &[("badge", BADGE), ("pin", pin)]).await).await
    };
    for n in 0..5 {
        assert_eq!(guess(n, "000000").await.0, 401, "{n}");
    }
    let (status, text) = guess(9, PIN).await;
    assert!(status == 403 && text.contains("person unlock tom"), "{text}");
    let own = send(&bench, &token, &Method::POST, "/api/v1/people/tom/unlock", "{}").await;
    assert_eq!(own.status(), StatusCode::FORBIDDEN, "another permission than a technician's");
    let (status, view) = bench.ask("POST", "/api/v1/people/tom/unlock", json!({})).await;
    assert!(status == StatusCode::OK && view["pin_wrong"] == 0);
    assert_eq!(guess(10, PIN).await.0, 303);
    assert_eq!(
        bench.ask("POST", "/api/v1/people/tom/unlock", json!({})).await.1["code"],
        "nothing-to-change"
    );
    for n in 20..24 {
        guess(n, "000000").await;
    }
    assert_eq!(guess(30, PIN).await.0, 303, "a right one begins the count anew");
    assert_eq!(guess(31, "000000").await.0, 401);
}

#[tokio::test]
async fn a_badge_is_one_technicians_and_a_pin_is_no_row() {
    let bench = Bench::new("").await;
    tom(&bench).await;
    for (person, role) in [("ines", Role::Engineer), ("tina", Role::Technician)] {
        bench.ask("POST", "/api/v1/people", json!({ "person": person, "role": role })).await;
    }
    let give = async |person: &str, badge: &str, pin: &str| {
        let path = format!("/api/v1/people/{person}/badge");
        bench.ask("PUT", &path, json!({ "badge": badge, "pin": pin })).await.1["code"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    };
    for (person, badge, pin, code) in [
        ("ines", "0411", PIN, "no-badge"),
        ("tina", BADGE, PIN, "badge-taken"),
        ("tina", "04", PIN, "bad-badge"),
        ("tina", "0411", "12345", "bad-pin"),
        ("tina", "0411", "123456", "bad-pin"),
        ("tina", "0411", "987654", "bad-pin"),
        ("tina", "0411", "777777", "bad-pin"),
        ("tina", "0411", "49302x", "bad-pin"),
        ("nobody", "0411", PIN, "unknown-person"),
        ("tina", "0411", "493021", ""),
    ] {
        assert_eq!(give(person, badge, pin).await, code, "{person} {badge} {pin}");
    }
    assert_eq!(bench.ask("POST", "/api/v1/kiosks", json!({ "kiosk": "Panel" })).await.1["code"], "bad-name");
    // Another role has none any more.
    bench.ask("PATCH", "/api/v1/people/tom", json!({ "role": "engineer" })).await;
    let (_, list) = bench.ask("GET", "/api/v1/people", json!(null)).await;
    let tom = list.as_array().unwrap().iter().find(|view| view["person"] == "tom").unwrap().clone();
    assert_eq!(tom["has_badge"], false);
}

#[tokio::test]
async fn a_right_pin_never_closes_the_badge() {
    let bench = Bench::new("").await;
    tom(&bench).await;
    let kiosk = pair(&bench, "panel-3").await;
    let wrong = async || bench.service.people_rows().await.unwrap()[0].pin_wrong;
    // Where the lane has no room, nothing was looked at.
    let crowd = bench.gate.crowd("10.0.0.7".parse().unwrap());
    let busy = show(&bench, &kiosk, BADGE, PIN).await;
    assert_eq!((busy.status(), wrong().await), (StatusCode::SERVICE_UNAVAILABLE, 0));
    drop(crowd);
    // Where the network refuses, the PIN was right all the same.
    bench.ask("PATCH", "/api/v1/people/tom", json!({ "networks": ["10.7.0.0/16"] })).await;
    for _ in 0..6 {
        let (status, text) = code_of(show(&bench, &kiosk, BADGE, PIN).await).await;
        assert!(status == 403 && text.contains("may not come from"), "{text}");
    }
    assert_eq!(wrong().await, 0);
    bench.ask("PATCH", "/api/v1/people/tom", json!({ "networks": [] })).await;
    assert_eq!(show(&bench, &kiosk, BADGE, PIN).await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_kiosk_that_was_taken_away_untold_is_learned_after_a_while() {
    let bench = Bench::new("").await;
    tom(&bench).await;
    let kiosk = pair(&bench, "panel-3").await;
    let session = cookie(&show(&bench, &kiosk, BADGE, PIN).await);
    // As when the asker's connection is cut between the commit and the telling.
    bench.service.end_kiosk(&crate::service::Actor::operator("token"), "panel-3").await.unwrap();
    assert_eq!(looks(&bench, &session).await, StatusCode::OK, "not told");
    bench.gate.let_time_pass();
    assert_eq!(show(&bench, &kiosk, BADGE, PIN).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(looks(&bench, &session).await, StatusCode::UNAUTHORIZED);
}
