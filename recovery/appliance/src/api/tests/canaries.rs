//! Secrets are planted, everything is asked and much goes wrong; then no answer, log, error, evidence, database or backup holds one.

use super::{
    people::{send, token_of},
    *,
};
use crate::{api::closed_routes, backup, config::Config, keys::Keys, testing::Heard};

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// The appliance's own secrets, as they would look in a text.
fn own(keys: &Keys) -> Vec<(&'static str, String)> {
    let tls: String = keys.tls_key_pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let evidence = std::fs::read(keys.dir.join("evidence.key")).unwrap();
    vec![
        ("operator's token", keys.operator_token.clone()),
        ("TLS key", tls[..60].to_owned()),
        ("evidence key in hex", hex::encode(&evidence[16..48])),
        (
            "evidence key in base64",
            base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &evidence[16..46]),
        ),
    ]
}

/// All that must be seen nowhere.
fn planted(bench: &Bench, person: &str) -> Vec<(&'static str, String)> {
    let mut planted = own(&bench.keys);
    planted.extend([
        ("hook", "canary-hook-secret-0001-abcdef".to_owned()),
        ("hook as written", "Y2FuYXJ5LWhvb2stc2VjcmV0LTAwMDEtYWJjZGVm".to_owned()),
        ("BMC", "canary-bmc-0002".to_owned()),
        ("person's token", person.to_owned()),
        ("wrong token", "gs_canary-wrong-0003".to_owned()),
        ("signature", "canary-signature-0004".to_owned()),
        ("typed", "canary-typed-0005".to_owned()),
        ("passphrase", "canary-passphrase-0006".to_owned()),
        ("database password", "canary-database-0007".to_owned()),
    ]);
    planted
}

/// Everything is asked, and some of it wrongly.
async fn asked(bench: &Bench, person: &str) -> Vec<String> {
    let mut answers = Vec::new();
    let wrong = send(bench, "gs_canary-wrong-0003", &Method::GET, "/api/v1/status", "").await;
    answers.push(read(wrong).await.1);
    let typed = Request::builder().method(Method::POST).uri("/login");
    let typed = typed.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    answers.push(
        read(bench.send(typed.body(Body::from("token=canary-typed-0005&next=/")).unwrap()).await).await.1,
    );
    let signed = Request::builder().method(Method::POST).uri("/hooks/v1/verifier");
    let signed = signed.header("webhook-id", "1").header("webhook-timestamp", "1");
    let signed =
        signed.header("webhook-signature", "v1,canary-signature-0004").body(Body::from("{}")).unwrap();
    answers.push(read(bench.send(signed).await).await.1);
    bench.recover("press-01").await;
    for (path, ..) in closed_routes() {
        let path = path.replace("{endpoint}", "press-01").replace("{person}", "anna");
        // What opens a door: the link is one, by design.
        if path.ends_with("console-link") {
            continue;
        }
        for method in [Method::GET, Method::PATCH, Method::PUT] {
            let answer = send(bench, person, &method, &path, "{\"wrong\":1}").await;
            let kind = answer.headers().get(header::CONTENT_TYPE).map(|kind| kind.as_bytes().to_vec());
            if kind.is_some_and(|kind| kind.starts_with(b"text/event-stream")) {
                continue;
            }
            let (_, text) = read(answer).await;
            answers.push(format!("{method} {path}\n{text}"));
        }
    }
    let url = "database = \"postgres://gs:canary-database-0007@127.0.0.1:1/gs\"";
    answers.push(Config::parse(url, std::path::Path::new("g.toml")).unwrap_err().to_string());
    answers.push(format!("{:?} {:?}", bench.keys, bench.journal.config));
    let evidence = bench.service.evidence_lines(None).await.unwrap();
    assert!(evidence.len() > 5);
    answers.extend(evidence);
    answers
}

#[tokio::test]
async fn no_secret_is_in_an_answer_a_log_an_error_evidence_the_database_or_a_backup() {
    let heard = Heard::default();
    let writer = heard.clone();
    let logs =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    // With a single one around, a line that another test reaches first counts for that test alone, and is silent here from then on.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(logs.finish());

    let secrets = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = secrets.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (hook, bmc) =
        (file("hook", "whsec_Y2FuYXJ5LWhvb2stc2VjcmV0LTAwMDEtYWJjZGVm"), file("bmc", "canary-bmc-0002"));
    let more = format!("[hooks.verifier]\nsecret_file = {hook:?}\nendpoints = [\"press-01\"]\n");
    let bench = Bench::new(&more).await;
    let power = json!({ "power": { "by": "redfish", "url": "https://127.0.0.1:1", "user": "root", "password_file": bmc } });
    bench.add("press-01", MAC, power).await;
    let person =
        token_of(bench.ask("POST", "/api/v1/people", json!({ "person": "anna", "role": "admin" })).await);
    let planted = planted(&bench, &person);
    let mut answers = asked(&bench, &person).await;
    let copy = bench.data.path().join("copy");
    bench.journal.db.copy_to(&copy).await.unwrap();
    let state = bench.keys.dir.join(crate::db::FILE);
    std::fs::copy(&copy, state).unwrap();
    let config = Config { data_dir: bench.keys.dir.clone(), ..(*bench.journal.config).clone() };
    let saved = bench.data.path().join("b.age");
    backup::save(&config, None, &saved, "canary-passphrase-0006", 4).await.unwrap();
    let new = Config { data_dir: bench.data.path().join("n"), ..config };
    let refused = backup::restore(&new, &saved, "canary-typed-0005", false).await.unwrap_err();
    answers.push(refused.to_string());

    let logged = heard.0.lock().unwrap().clone();
    assert!(logged.len() > 1000, "the log was heard");
    assert!(answers.len() > 60 && answers.iter().any(|text| text.contains("press-01")));
    let places = [
        ("the log", logged),
        ("the database", std::fs::read(&copy).unwrap()),
        ("the backup", std::fs::read(&saved).unwrap()),
    ];
    for (what, secret) in &planted {
        for text in &answers {
            assert!(!text.contains(secret.as_str()), "{what} in {text}");
        }
        for (place, bytes) in &places {
            assert!(!holds(bytes, secret), "{what} in {place}");
        }
    }
}
