//! A provider on Debian's Authlib: who signs in by it, and what is refused.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::json;

use super::*;
use crate::{
    api::tests::door::{form, page},
    testing::{Bench, not_looked_at, read},
};

const HOST: &str = "appliance:8444";
const SECRET: &str = "the-appliances-own.secret_1~";

/// The provider; it ends with this.
struct Peer {
    child: Child,
    issuer: String,
    agent: Agent,
    ca_file: std::path::PathBuf,
    secret_file: std::path::PathBuf,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    fn start(dir: &Path) -> Option<Self> {
        let has = Command::new("/usr/bin/python3")
            .args(["-c", "import authlib, flask"])
            .stderr(Stdio::null())
            .status();
        if !has.is_ok_and(|status| status.success()) {
            not_looked_at("Authlib", "python3-authlib python3-flask");
            return None;
        }
        let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
                       -addext basicConstraints=critical,CA:false -keyout p.key -out p.crt";
        let made =
            Command::new("openssl").current_dir(dir).args(request.split_whitespace()).output().unwrap();
        assert!(made.status.success());
        let (script, secret_file) = (dir.join("peer.py"), dir.join("secret"));
        std::fs::write(&script, include_str!("peer.py")).unwrap();
        std::fs::write(&secret_file, format!("{SECRET}\n")).unwrap();
        let redirect = format!("https://{HOST}/login/return");
        let mut child = Command::new("/usr/bin/python3")
            .current_dir(dir)
            .args(["peer.py", "p.crt", "p.key", "groundstate", SECRET, &redirect])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let ca_file = dir.join("p.crt");
        let (issuer, agent) = (format!("https://127.0.0.1:{}", port.trim()), asking::agent(Some(&ca_file)));
        let peer = Self { child, issuer, agent, ca_file, secret_file };
        peer.put("/users/lena", &json!({ "sub": "1", "preferred_username": "Lena@plant.example", "groups": ["all", "watch", "line-3"] }));
        peer.put("/users/nils", &json!({ "sub": "2", "preferred_username": "nils", "groups": ["admins"] }));
        peer.put("/users/ada", &json!({ "sub": "3", "preferred_username": "ada", "groups": ["line-3"] }));
        Some(peer)
    }

    fn put(&self, path: &str, body: &Value) {
        let text = body.to_string();
        let request =
            self.agent.put(format!("{}{path}", self.issuer)).header("content-type", "application/json");
        assert_eq!(request.send(&text).unwrap().status(), 200);
    }

    fn rotate(&self, how: &str) {
        assert_eq!(
            self.agent.post(format!("{}/rotate?{how}", self.issuer)).send_empty().unwrap().status(),
            200
        );
    }

    fn keys_asked(&self) -> u64 {
        let mut response = self.agent.get(format!("{}/asked", self.issuer)).call().unwrap();
        let asked: Value = serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap();
        asked["keys"].as_u64().unwrap()
    }

    /// What its page does when somebody signs in there: where it leads them back to.
    fn signs_in(&self, url: &str, user: &str) -> String {
        let response = self.agent.get(url).header("x-user", user).call().unwrap();
        let to = response.headers()["location"].to_str().unwrap();
        to.strip_prefix(&format!("https://{HOST}"))
            .expect("back to the appliance and nowhere else")
            .to_owned()
    }

    fn setting(&self) -> config::Provider {
        config::Provider {
            issuer: self.issuer.clone(),
            client_id: "groundstate".to_owned(),
            client_secret_file: Some(self.secret_file.clone()),
            ca_file: Some(self.ca_file.clone()),
            address: format!("https://{HOST}"),
            label: "the plant's account".to_owned(),
            scopes: vec!["profile".to_owned()],
            name_claim: "preferred_username".to_owned(),
            roles_claim: "groups".to_owned(),
            roles: [("line-3".to_owned(), Role::Technician), ("watch".to_owned(), Role::Auditor)].into(),
        }
    }
}

/// An appliance to which people come from there.
async fn bench(peer: &Peer, keys_every: Duration) -> Bench {
    let mut bench = Bench::new("").await;
    let provider = Provider::open(&peer.setting()).unwrap();
    // What a minute would bring is asked for at once.
    let provider = Provider { fresh_to_send: Duration::ZERO, keys_every, ..provider };
    bench.router = bench.people.clone().with_provider(Some(Arc::new(provider))).router();
    bench
}

fn get(path: &str, cookie: &str, from: &str) -> Request<Body> {
    let request = Request::get(path).header(header::HOST, HOST).header(header::COOKIE, cookie);
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(crate::tls::Peer::at(&format!("{from}:50000")));
    request
}

/// To the provider's page: its address, and the cookie.
async fn begin(bench: &Bench, from: &str) -> (String, String) {
    let response = bench.send(get("/login/provider?next=/jobs", "", from)).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(
        cookie.contains("SameSite=Lax") && cookie.contains("HttpOnly") && cookie.contains("Secure"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().unwrap().to_owned();
    (response.headers()[header::LOCATION].to_str().unwrap().to_owned(), cookie)
}

/// And back: the session's cookie.
async fn back(bench: &Bench, path: &str, cookie: &str, from: &str) -> Result<String, (u16, String)> {
    let response = bench.send(get(path, cookie, from)).await;
    let cookies = response.headers().get_all(header::SET_COOKIE).iter();
    let cookies: Vec<String> = cookies.map(|value| value.to_str().unwrap().to_owned()).collect();
    assert!(
        cookies.iter().any(|cookie| cookie.contains("sign-in=;") && cookie.contains("Max-Age=0")),
        "{cookies:?}"
    );
    let session = cookies.iter().find(|cookie| cookie.starts_with("__Host-groundstate="));
    let session = session.map(|cookie| cookie.split(';').next().unwrap().to_owned());
    let (status, text) = read(response).await;
    match session {
        Some(session) => {
            assert!(status == StatusCode::OK && text.contains("0; url=/jobs"), "{text}");
            Ok(session)
        }
        None => Err((status.as_u16(), text)),
    }
}

async fn signs_in(bench: &Bench, peer: &Peer, user: &str, from: &str) -> Result<String, (u16, String)> {
    let (url, cookie) = begin(bench, from).await;
    back(bench, &peer.signs_in(&url, user), &cookie, from).await
}

async fn hows(bench: &Bench) -> String {
    bench.service.evidence_lines(None).await.unwrap().join("\n")
}

#[tokio::test]
async fn who_the_provider_says_somebody_is_and_never_more_than_the_table_says() {
    let dir = tempfile::tempdir().unwrap();
    let Some(peer) = Peer::start(dir.path()) else { return };
    let bench = bench(&peer, Duration::ZERO).await;
    let own = "ada is on record here";
    bench.ask("POST", "/api/v1/people", json!({ "person": "ada", "role": "admin" })).await;
    bench.ask("PUT", "/api/v1/people/ada/password", json!({ "password": own })).await;
    let (_, door) = read(bench.send(get("/login?next=/jobs", "", "10.0.0.1")).await).await;
    assert!(
        door.contains("/login/provider?next=/jobs")
            && door.contains("the plant&#39;s account") | door.contains("the plant's account"),
        "{door}"
    );
    let session = signs_in(&bench, &peer, "lena", "10.0.0.1").await.unwrap();
    assert!(
        page(&bench, "/account", &session).await.1.contains("<strong>technician</strong>"),
        "of two the first in order"
    );
    let (_, list) = bench.ask("GET", "/api/v1/people", json!(null)).await;
    let lena = list.as_array().unwrap().iter().find(|view| view["person"] == "lena").unwrap().clone();
    assert!(lena["origin"] == "provider" && lena["password_unix_ms"].is_null(), "{lena}");
    // Nobody is more than the table says, and nobody takes a name of ours or another's.
    let (status, text) = signs_in(&bench, &peer, "nils", "10.0.0.2").await.unwrap_err();
    assert!(status == 403 && text.contains("You have no role here"), "{text}");
    assert_eq!(signs_in(&bench, &peer, "ada", "10.0.0.2").await.unwrap_err().0, 409);
    peer.put("/users/eva", &json!({ "sub": "9", "preferred_username": "lena", "groups": ["line-3"] }));
    assert_eq!(signs_in(&bench, &peer, "eva", "10.0.0.2").await.unwrap_err().0, 409);
    for (name, status) in
        [(json!("a b"), 422), (json!("token"), 422), (json!(null), 503), (json!("@plant"), 503)]
    {
        peer.put("/users/eva", &json!({ "sub": "9", "preferred_username": name, "groups": ["line-3"] }));
        assert_eq!(signs_in(&bench, &peer, "eva", "10.0.0.2").await.unwrap_err().0, status, "{name}");
    }
    // Who is called otherwise there by now is who they were, with the role that they have by now.
    peer.put("/users/lena", &json!({ "sub": "1", "preferred_username": "lena.new", "groups": "watch" }));
    let session = signs_in(&bench, &peer, "lena", "10.0.0.1").await.unwrap();
    let account = page(&bench, "/account", &session).await.1;
    assert!(
        account.contains("<strong>auditor</strong>")
            && account.contains("lena")
            && !account.contains("lena.new"),
        "{account}"
    );
    // Shut out here, she is out.
    bench.ask("PATCH", "/api/v1/people/lena", json!({ "disabled": true })).await;
    assert_eq!(page(&bench, "/account", &session).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(signs_in(&bench, &peer, "lena", "10.0.0.1").await.unwrap_err().0, 401);
    // Gone: the page says so, and those on record here go on.
    drop(peer);
    let (status, text) = read(bench.send(get("/login/provider", "", "10.0.0.3")).await).await;
    assert!(
        status == StatusCode::SERVICE_UNAVAILABLE
            && text.contains("does not answer")
            && text.contains("Your name"),
        "{text}"
    );
    let local = form(&bench, "/login", "10.0.0.3", "", &[("name", "ada"), ("password", own)]).await;
    assert_eq!(local.status(), StatusCode::SEE_OTHER);
    let log = hows(&bench).await;
    for entry in [
        "\"by\":\"provider\"",
        "\"how\":\"provider\"",
        "no-role-here",
        "provider-name",
        "provider-odd",
        "provider-gone",
    ] {
        assert!(log.contains(entry), "{entry} in {log}");
    }
    assert!(!log.contains(SECRET));
}

#[tokio::test]
async fn an_answer_is_taken_once_by_the_browser_that_asked_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(peer) = Peer::start(dir.path()) else { return };
    let bench = bench(&peer, Duration::ZERO).await;
    let refused = |result: Result<String, (u16, String)>, words: &str| {
        let (status, text) = result.expect_err(words);
        assert!(status == 401 && text.contains(words), "{text}");
    };
    let stale = "This is not the sign-in that was begun here";
    let (url, cookie) = begin(&bench, "10.0.1.1").await;
    assert!(url.contains("code_challenge_method=S256") && !url.contains("code_verifier"), "{url}");
    let path = peer.signs_in(&url, "lena");
    back(&bench, &path, &cookie, "10.0.1.1").await.unwrap();
    refused(back(&bench, &path, &cookie, "10.0.1.1").await, stale);
    // Another browser, another sign-in of this browser, no cookie, another provider's answer; and each has used its sign-in up.
    for (n, change) in ["browser", "state", "none", "iss"].into_iter().enumerate() {
        let from = format!("10.0.2.{n}");
        let ((url, cookie), (_, other)) = (begin(&bench, &from).await, begin(&bench, &from).await);
        let path = peer.signs_in(&url, "lena");
        let (changed, shown) = match change {
            "browser" => (path.clone(), other),
            "state" => (path.replace("state=", "state=x"), cookie.clone()),
            "none" => (path.clone(), String::new()),
            _ => (format!("{path}&iss=https://evil.example"), cookie.clone()),
        };
        refused(back(&bench, &changed, &shown, &from).await, stale);
        if shown == cookie {
            refused(back(&bench, &path, &cookie, &from).await, stale);
        }
    }
    // Somebody's code, slipped into another's sign-in: the verifier does not fit it.
    let ((first, _), (second, cookie)) = (begin(&bench, "10.0.3.1").await, begin(&bench, "10.0.3.1").await);
    let code = |path: &str| path.split_once("code=").unwrap().1.split('&').next().unwrap().to_owned();
    let (stolen, path) = (peer.signs_in(&first, "ada"), peer.signs_in(&second, "lena"));
    let slipped = path.replace(&code(&path), &code(&stolen));
    refused(back(&bench, &slipped, &cookie, "10.0.3.1").await, "The OpenID provider refused");
    // It says no.
    let (url, cookie) = begin(&bench, "10.0.3.2").await;
    let state = url.split_once("&state=").unwrap().1.split('&').next().unwrap();
    let said = format!("/login/return?error=access_denied%0a&state={state}");
    refused(back(&bench, &said, &cookie, "10.0.3.2").await, "The OpenID provider refused");
    let log = hows(&bench).await;
    assert!(log.contains("provider-stale") && log.contains("provider-refused"), "{log}");
}

#[tokio::test]
async fn a_token_for_another_or_of_unknown_keys_opens_nothing_and_new_keys_are_learned() {
    let dir = tempfile::tempdir().unwrap();
    let Some(peer) = Peer::start(dir.path()) else { return };
    let bench = bench(&peer, Duration::ZERO).await;
    for (n, (claim, value)) in [
        ("nonce", json!("another")),
        ("aud", json!("another")),
        ("iss", json!("https://id.other")),
        ("exp", json!(1_000_000_000)),
        ("sub", json!(null)),
    ]
    .into_iter()
    .enumerate()
    {
        peer.put("/lies", &json!({ claim: value }));
        let (status, text) = signs_in(&bench, &peer, "lena", &format!("10.1.0.{n}")).await.unwrap_err();
        assert!(status == 401 && text.contains("What the provider says is refused"), "{claim}: {text}");
    }
    peer.put("/lies", &json!({}));
    signs_in(&bench, &peer, "lena", "10.1.1.1").await.unwrap();
    // A new key, between being sent there and coming back.
    let (url, cookie) = begin(&bench, "10.1.1.1").await;
    peer.rotate("");
    back(&bench, &peer.signs_in(&url, "lena"), &cookie, "10.1.1.1").await.unwrap();
    // One that the provider does not show: asked for once more at most, and not again.
    let slow = super::tests::bench(&peer, Duration::from_secs(3600)).await;
    peer.rotate("hide");
    let mut asked = None;
    for n in 0..5 {
        let (url, cookie) = begin(&slow, &format!("10.1.2.{n}")).await;
        let path = peer.signs_in(&url, "lena");
        let before = peer.keys_asked();
        let (status, text) = back(&slow, &path, &cookie, &format!("10.1.2.{n}")).await.unwrap_err();
        assert!(status == 401 && text.contains("one of the provider"), "{text}");
        assert_eq!(peer.keys_asked(), before, "no token makes it ask again so soon");
        asked = Some(before);
    }
    assert!(asked.is_some());
    let log = hows(&bench).await;
    for how in ["nonce", "audience", "issuer", "time", "subject"] {
        assert!(log.contains(&format!("provider-token-{how}")), "{how} in {log}");
    }
    assert!(hows(&slow).await.contains("provider-token-key"));
}

#[tokio::test]
async fn who_asks_much_pushes_out_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let Some(peer) = Peer::start(dir.path()) else { return };
    let bench = bench(&peer, Duration::ZERO).await;
    let (url, cookie) = begin(&bench, "10.2.0.1").await;
    // Nobody is led elsewhere afterwards.
    let led = bench.send(get("/login/provider?next=/%09/evil.example", "", "10.2.0.3")).await;
    let led_cookie =
        led.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let path = peer.signs_in(led.headers()[header::LOCATION].to_str().unwrap(), "lena");
    let (_, text) = read(bench.send(get(&path, &led_cookie, "10.2.0.3")).await).await;
    assert!(text.contains("0; url=/\"") && !text.contains("evil"), "{text}");
    let (first, first_cookie) = begin(&bench, "10.2.0.2").await;
    for _ in 0..OF_ADDRESS {
        begin(&bench, "10.2.0.2").await;
    }
    assert!(back(&bench, &peer.signs_in(&first, "lena"), &first_cookie, "10.2.0.2").await.is_err());
    back(&bench, &peer.signs_in(&url, "lena"), &cookie, "10.2.0.1").await.unwrap();
}

/// One whose issuer is this address, and nobody there is a provider.
fn nobody(issuer: String) -> Provider {
    Provider::open(&config::Provider {
        issuer,
        client_id: "groundstate".to_owned(),
        client_secret_file: None,
        ca_file: None,
        address: format!("https://{HOST}"),
        label: "the plant's account".to_owned(),
        scopes: Vec::new(),
        name_claim: "preferred_username".to_owned(),
        roles_claim: "groups".to_owned(),
        roles: [].into(),
    })
    .unwrap()
}

#[tokio::test]
async fn who_hangs_up_leaves_no_room_for_one_more_question() {
    let provider = Arc::new(nobody("https://127.0.0.1:9".to_owned()));
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let ends = Arc::new(Mutex::new(ends));
    for _ in 0..AT_ONCE {
        let ends = Arc::clone(&ends);
        let ask = move |_: &Provider| Ok(ends.lock().unwrap().recv().is_ok());
        tokio::select! {
            biased;
            answered = provider.asked(ask) => panic!("it waits: {answered:?}"),
            () = std::future::ready(()) => {}
        }
    }
    let busy = provider.asked(|_| Ok(())).await.expect_err("their questions are still under way");
    assert_eq!(busy.how, "sign-in-busy");
    drop(end);
    let _all = provider.turns.acquire_many(AT_ONCE as u32).await.unwrap();
}

#[tokio::test]
async fn a_provider_that_is_gone_is_not_asked_by_everybody() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("https://{}", listener.local_addr().unwrap());
    let came = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            drop(stream);
        }
    });
    let came = || came.load(std::sync::atomic::Ordering::SeqCst);
    let mut provider = nobody(issuer);
    provider.gone_for = Duration::from_secs(3600);
    let mut provider = Arc::new(provider);
    let from = "10.3.0.1".parse().unwrap();
    assert_eq!(provider.send("/", from).await.err().unwrap().how, "provider-gone");
    let asked = came();
    assert!(asked > 0);
    assert_eq!(provider.send("/", from).await.err().unwrap().how, "provider-gone");
    assert_eq!(came(), asked, "known for a while");
    Arc::get_mut(&mut provider).unwrap().gone_for = Duration::ZERO;
    assert_eq!(provider.send("/", from).await.err().unwrap().how, "provider-gone");
    assert!(came() > asked, "and asked again then");
}

#[test]
fn a_claim_is_found_by_its_name_or_its_path() {
    let claims = json!({ "https://a.b/groups": ["x"], "realm_access": { "roles": ["y"] }, "a": 1 });
    let claims = claims.as_object().unwrap();
    assert_eq!(claim(claims, "https://a.b/groups"), Some(&json!(["x"])));
    assert_eq!(claim(claims, "realm_access.roles"), Some(&json!(["y"])));
    assert_eq!((claim(claims, "a.b"), claim(claims, "b")), (None, None));
}
