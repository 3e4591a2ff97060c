//! About whom a person may order something, and from where their token counts.

use recovery_protocol::people::{Permission, Role};

use super::{
    people::{send, token_of},
    *,
};
use crate::{
    api::{Needs, closed_routes},
    tls::Peer,
};

async fn line() -> (Bench, String) {
    let bench = Bench::new("").await;
    for (name, mac, line) in [("press-01", "52:54:00:00:00:01", "1"), ("press-03", "52:54:00:00:00:03", "3")]
    {
        bench.add(name, mac, json!({ "labels": { "line": line }, "drill_safe": true })).await;
    }
    let order = json!({ "person": "anna", "role": "engineer", "scope": "line=3" });
    let token = token_of(bench.ask("POST", "/api/v1/people", order).await);
    (bench, token)
}

#[tokio::test]
async fn no_order_about_an_endpoint_goes_past_a_scope() {
    let (bench, token) = line().await;
    let job = bench.recover("press-01").await.job.to_string();
    let drill = json!({ "runbook": "quarterly-hmi-drill", "endpoints": ["press-01"] }).to_string();
    let mut refused = 0;
    for (path, _, Needs { write, .. }) in closed_routes() {
        let about = path.contains("{endpoint}") || path.contains("{job}");
        // What is an admin's alone, the role forbids first.
        if !about || write == Permission::Look || !Role::Engineer.may(write) {
            continue;
        }
        let path = path.replace("{endpoint}", "press-01").replace("{job}", &job);
        let form = match path.as_str() {
            path if path.ends_with("/approve") => "seen=x",
            path if path.ends_with("/accept") => "live_values=true",
            path if path.starts_with("/approvals/") => "decision=approve&seen=x",
            path if path.starts_with("/reviews/") => "justified=true&note=nobody+is+here",
            _ => "confirm=yes&code=1&replace=false&reason=nobody+is+here",
        };
        for method in [Method::POST, Method::PATCH, Method::DELETE] {
            let body = match path.rsplit('/').next().unwrap() {
                "pair" => json!({ "code": "123456" }),
                "approve" => json!({ "seen": "x" }),
                "accept" => json!({ "live_values": true }),
                "resolve" => json!({ "replace": false }),
                "break-glass" => json!({ "reason": "nobody is here" }),
                _ if path.starts_with("/api/v1/reviews/") => {
                    json!({ "justified": true, "note": "nobody is here" })
                }
                "capture" => json!({ "name": "x", "version": "1" }),
                _ => json!({}),
            };
            let (status, text) = if path.starts_with("/api/") {
                read(send(&bench, &token, &method, &path, &body.to_string()).await).await
            } else {
                read(send_form(&bench, &token, &path, form).await).await
            };
            if status == StatusCode::METHOD_NOT_ALLOWED {
                continue;
            }
            assert!(
                status == StatusCode::FORBIDDEN && text.contains("out-of-scope"),
                "{method} {path}: {status} {text}"
            );
            refused += 1;
        }
    }
    assert!(refused >= 15, "{refused}");
    // Looking is not scoped; neither is STOP, but its release is.
    for (method, path, body, wanted) in [
        (Method::GET, "/api/v1/endpoints/press-01", "", 200),
        (Method::POST, "/api/v1/stop", "{}", 200),
        (Method::POST, "/api/v1/stop/release", r#"{"reason":"x"}"#, 403),
        (Method::POST, "/api/v1/kiosks", r#"{"kiosk":"panel-3"}"#, 403),
        (Method::DELETE, "/api/v1/kiosks/panel-3", "{}", 403),
        (Method::POST, "/api/v1/people/anna/unlock", "{}", 403),
        (Method::POST, "/api/v1/endpoints/press-03/recover", "{}", 409),
    ] {
        assert_eq!(send(&bench, &token, &method, path, body).await.status().as_u16(), wanted, "{path}");
    }
    let (status, text) = read(send(&bench, &token, &Method::POST, "/api/v1/drills", &drill).await).await;
    assert!(status == StatusCode::FORBIDDEN && text.contains("out-of-scope"), "{text}");
}

async fn send_form(bench: &Bench, token: &str, path: &str, form: &str) -> axum::response::Response {
    let request = Request::post(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    bench.send(request.body(Body::from(form.to_owned())).unwrap()).await
}

#[tokio::test]
async fn nobody_moves_an_endpoint_into_their_scope_or_out_of_it() {
    let (bench, token) = line().await;
    let ask = async |method: Method, path: &str, body: serde_json::Value| {
        let (status, text) = read(send(&bench, &token, &method, path, &body.to_string()).await).await;
        (status.as_u16(), text)
    };
    let own = "/api/v1/endpoints/press-03";
    assert_eq!(ask(Method::PATCH, own, json!({ "labels": { "cell": "4" } })).await.0, 200);
    for change in [json!({ "labels": { "line": "1" } }), json!({ "labels": { "line": null } })] {
        assert!(ask(Method::PATCH, own, change).await.1.contains("out-of-scope"));
    }
    // Another one's BMC must not become theirs.
    let power = json!({ "by": "ipmi", "host": "10.7.0.9", "port": 623, "user": "u", "password_file": "/f" });
    assert!(ask(Method::PATCH, own, json!({ "power": power.clone() })).await.1.contains("out-of-scope"));
    let mut with_power = json!({ "endpoint": "press-08", "macs": ["52:54:00:00:00:08"], "blueprint": "hmi" });
    (with_power["labels"], with_power["power"]) = (json!({ "line": "3" }), power);
    assert!(ask(Method::POST, "/api/v1/endpoints", with_power).await.1.contains("out-of-scope"));
    let foreign = "/api/v1/endpoints/press-01";
    assert!(
        ask(Method::PATCH, foreign, json!({ "labels": { "line": "3" } })).await.1.contains("out-of-scope")
    );
    let mut new = json!({ "endpoint": "press-09", "macs": ["52:54:00:00:00:09"], "blueprint": "hmi", "labels": { "line": "2" } });
    assert!(ask(Method::POST, "/api/v1/endpoints", new.clone()).await.1.contains("out-of-scope"));
    new["labels"]["line"] = json!("3");
    assert_eq!(ask(Method::POST, "/api/v1/endpoints", new).await.0, 200);
}

#[tokio::test]
async fn a_scope_counts_at_once_is_no_admins_and_can_be_lifted() {
    let (bench, token) = line().await;
    let change = |order: serde_json::Value| bench.ask("PATCH", "/api/v1/people/anna", order);
    let recover = async || {
        send(&bench, &token, &Method::POST, "/api/v1/endpoints/press-01/recover", "{}").await.status()
    };
    assert_eq!(recover().await, StatusCode::FORBIDDEN);
    for (order, code) in [
        (json!({ "role": "admin" }), "bad-scope"),
        (json!({ "scope": "line=" }), "bad-scope"),
        (json!({ "networks": ["10.0.0.0/33"] }), "bad-network"),
        (json!({ "networks": ["hall 3"] }), "bad-network"),
    ] {
        assert_eq!(change(order).await.1["code"], code);
    }
    let (_, view) = change(json!({ "scope": "", "networks": ["10.7.3.4/24", "::1"] })).await;
    assert_eq!((&view["scope"], &view["networks"]), (&json!(null), &json!(["10.7.3.0/24", "::1/128"])));
    change(json!({ "networks": [] })).await;
    assert_eq!(recover().await, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_token_counts_from_its_networks_alone_and_so_does_its_session() {
    let bench = Bench::new("").await;
    let order = json!({ "person": "otto", "role": "technician", "networks": ["10.7.0.0/16", "fd00::/8"] });
    let token = token_of(bench.ask("POST", "/api/v1/people", order).await);
    let from = async |address: &str, name: header::HeaderName, value: String| {
        let mut request = Request::get("/api/v1/jobs").header(name, value).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer::at(address));
        read(bench.send(request).await).await
    };
    let bearer = format!("Bearer {token}");
    for (address, wanted) in [
        ("10.7.3.4:1", 200),
        ("[::ffff:10.7.3.4]:1", 200),
        ("[fd00::1]:1", 200),
        ("10.8.0.1:1", 403),
        ("[::ffff:10.8.0.1]:1", 403),
        ("[2001:db8::1]:1", 403),
    ] {
        let (status, text) = from(address, header::AUTHORIZATION, bearer.clone()).await;
        assert!(
            status.as_u16() == wanted && (wanted == 200 || text.contains("token-from-elsewhere")),
            "{address} {text}"
        );
    }
    let gate = crate::api::gate::Gate::new("own");
    let at = bench.service.now();
    gate.learn(&bench.service.people_rows().await.unwrap(), at);
    assert_eq!(
        gate.sign_in(&token, "10.8.0.1".parse().unwrap(), at).unwrap_err().code,
        "token-from-elsewhere"
    );
    let cookie = gate.sign_in(&token, "10.7.0.1".parse().unwrap(), at).unwrap();
    let mut headers = axum::http::HeaderMap::new();
    headers.insert(header::COOKIE, format!("{}={cookie}", crate::api::gate::COOKIE).parse().unwrap());
    let admit = |address: &str| {
        gate.admit((&Method::GET, &axum::http::Uri::from_static("/")), &headers, address.parse().unwrap(), at)
    };
    assert_eq!(admit("10.7.0.2").unwrap().name, "otto");
    assert_eq!(admit("10.8.0.1").unwrap_err().code, "token-from-elsewhere", "a cookie that was carried away");
}
