//! A source and the appliance: what is believed, what is asked back, what starts nothing.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Query, State},
    http::{Request, StatusCode},
    routing::get,
};
use recovery_protocol::job::{JobState, Stage};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Hooks,
    signature::tests::{OTHER, SECRET, headers, sign},
};
use crate::testing::{Bench, read};

mod kinds;
mod storm;

fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

const BODY: &str =
    r#"{"type":"endpoint.attestation.failed","data":{"endpoint":"press-01","detail":"PCR 4 differs"}}"#;

/// A source that answers questions from a list, then fails them.
async fn source(answers: Vec<Value>) -> String {
    async fn answer(
        State(answers): State<Arc<Mutex<VecDeque<Value>>>>,
        Query(asked): Query<std::collections::BTreeMap<String, String>>,
    ) -> Result<String, StatusCode> {
        assert_eq!(asked["endpoint"], "press-01");
        answers
            .lock()
            .unwrap()
            .pop_front()
            .map(|answer| answer.to_string())
            .ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
    let router =
        Router::new().route("/verdict", get(answer)).with_state(Arc::new(Mutex::new(answers.into())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/verdict")
}

/// An appliance whose group `line` may recover by itself, with the source `verifier`.
async fn bench(confirm_url: Option<&str>) -> (Bench, tempfile::TempDir) {
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let confirm = confirm_url.map(|url| format!("confirm_url = \"{url}\"\n")).unwrap_or_default();
    let more = format!(
        "[groups.line]\nmode = \"auto\"\n[hooks.verifier]\nsecret_file = {file:?}\nendpoints = [\"press-01\"]\n{confirm}"
    );
    let bench = Bench::new(&more).await;
    for (at, endpoint) in ["press-01", "press-02"].into_iter().enumerate() {
        bench.add(endpoint, &format!("52:54:00:12:34:0{at}"), json!({ "group": "line" })).await;
    }
    (bench, secrets)
}

async fn post(bench: &Bench, path: &str, id: &str, at: u64, secret: &str, body: &str) -> (StatusCode, Value) {
    let mut request = Request::post(path).body(Body::from(body.to_owned())).unwrap();
    *request.headers_mut() = headers(id, at, &sign(secret, id, at, body.as_bytes()));
    let (status, text) = read(bench.send(request).await).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Let the appliance ask back until evidence shows `kind`, or it asked everything there was.
async fn settle(bench: &mut Bench, kind: &str) -> Vec<String> {
    let stop = CancellationToken::new();
    let confirmations = bench.confirmations.take().unwrap();
    let running = tokio::spawn(confirmations.run(bench.service.clone(), stop.clone()));
    let mut changes = bench.service.changes();
    let seen = loop {
        let seen = bench.evidence(None).await;
        if seen.iter().any(|seen| seen == kind) {
            break seen;
        }
        changes.changed().await.unwrap();
    };
    stop.cancel();
    running.await.unwrap();
    seen
}

async fn jobs(bench: &Bench) -> usize {
    bench.service.jobs(None).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_failure_starts_one_recovery() {
    let url = source(vec![json!({ "endpoint": "press-01", "status": "fail" })]).await;
    let (mut bench, _secrets) = bench(Some(&url)).await;
    let now = unix_seconds();
    let (status, _) = post(&bench, "/hooks/v1/verifier", "m1", now, SECRET, BODY).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(jobs(&bench).await, 0, "nothing starts on a hint alone");
    // The same delivery again is answered the same and done once.
    let (status, _) = post(&bench, "/hooks/v1/verifier", "m1", now, SECRET, BODY).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    settle(&mut bench, "order.recover").await;
    let all = bench.service.jobs(None).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].trigger.as_str(), all[0].reason.as_str()), ("webhook:verifier", "PCR 4 differs"));
    assert_eq!(all[0].state, JobState::Working { stage: Stage::Proposed });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_source_takes_back_starts_nothing() {
    let url = source(vec![json!({ "endpoint": "press-01", "status": "pass" })]).await;
    let (mut bench, _secrets) = bench(Some(&url)).await;
    post(&bench, "/hooks/v1/verifier", "m1", unix_seconds(), SECRET, BODY).await;
    settle(&mut bench, "trigger.withdrawn").await;
    assert_eq!(jobs(&bench).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_about_another_endpoint_confirms_nothing() {
    let other = json!({ "endpoint": "press-02", "status": "fail" });
    let url = source(vec![other.clone(), other.clone(), other]).await;
    let (mut bench, _secrets) = bench(Some(&url)).await;
    post(&bench, "/hooks/v1/verifier", "m1", unix_seconds(), SECRET, BODY).await;
    settle(&mut bench, "trigger.unconfirmed").await;
    assert_eq!(jobs(&bench).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_asked_confirms_nothing() {
    let (mut bench, _secrets) = bench(None).await;
    post(&bench, "/hooks/v1/verifier", "m1", unix_seconds(), SECRET, BODY).await;
    settle(&mut bench, "trigger.unconfirmed").await;
    assert_eq!(jobs(&bench).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_webhook_is_refused_by_name_and_stored_nowhere() {
    let (bench, _secrets) = bench(None).await;
    let now = unix_seconds();
    let other = BODY.replace("press-01", "press-02");
    for (path, at, secret, body, status, code) in [
        ("/hooks/v1/nobody", now, SECRET, BODY, 404, "unknown-source"),
        ("/hooks/v1/verifier", now, OTHER, BODY, 401, "webhook-refused"),
        ("/hooks/v1/verifier", now - 301, SECRET, BODY, 401, "webhook-refused"),
        ("/hooks/v1/verifier", now, SECRET, "{}", 400, "bad-webhook"),
        ("/hooks/v1/verifier", now, SECRET, "not json", 400, "bad-webhook"),
        ("/hooks/v1/verifier", now, SECRET, &other, 403, "endpoint-out-of-scope"),
    ] {
        let (seen, problem) = post(&bench, path, "m1", at, secret, body).await;
        assert_eq!((seen.as_u16(), problem["code"].as_str()), (status, Some(code)), "{problem}");
    }
    let evidence = bench.evidence(None).await;
    assert!(!evidence.iter().any(|kind| kind == "decision.trigger"));
    // A stranger cannot fill the log: one entry a minute and source.
    assert_eq!(evidence.iter().filter(|kind| *kind == "refusal.webhook").count(), 1);
}

/// Start anew on the same database: how much was left to ask, and the appliance asking back until nothing is.
async fn start_again(
    bench: &mut Bench,
    hooks: &std::collections::BTreeMap<String, crate::config::Hook>,
) -> usize {
    let (_, confirmations) = Hooks::open(hooks).unwrap();
    let left = bench.service.unsettled_triggers(9).await.unwrap().len();
    let stop = CancellationToken::new();
    let mut changes = bench.service.changes();
    let running = tokio::spawn(confirmations.run(bench.service.clone(), stop.clone()));
    while !bench.service.unsettled_triggers(9).await.unwrap().is_empty() {
        changes.changed().await.unwrap();
    }
    stop.cancel();
    running.await.unwrap();
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_asked_before_a_stop_is_asked_after_the_next_start_and_once() {
    let fail = json!({ "endpoint": "press-01", "status": "fail" });
    let url = source(vec![fail.clone(), fail]).await;
    let (mut bench, _secrets) = bench(Some(&url)).await;
    let hooks = bench.journal.config.hooks.clone();
    post(&bench, "/hooks/v1/verifier", "m1", unix_seconds(), SECRET, BODY).await;
    // The appliance stops here: its queue is gone with it.
    drop(bench.confirmations.take());
    assert_eq!(start_again(&mut bench, &hooks).await, 1);
    assert_eq!(jobs(&bench).await, 1);
    assert_eq!(start_again(&mut bench, &hooks).await, 0, "asked once, it is settled");

    // A crash after the recovery was started and before that was written down: asked again, and nothing starts twice.
    let job = bench.service.jobs(None).await.unwrap()[0].job;
    bench.service.cancel(&crate::service::Actor::operator("anna"), job, Default::default()).await.unwrap();
    let mut tx = bench.journal.begin().await.unwrap();
    crate::db::trigger::unsettle_all(tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(start_again(&mut bench, &hooks).await, 1);
    assert_eq!(jobs(&bench).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_gone_after_the_start_confirms_nothing() {
    let (mut bench, _secrets) = bench(Some("http://127.0.0.1:1/verdict")).await;
    post(&bench, "/hooks/v1/verifier", "m1", unix_seconds(), SECRET, BODY).await;
    assert_eq!(start_again(&mut bench, &Default::default()).await, 1);
    assert!(bench.evidence(None).await.contains(&"trigger.unconfirmed".to_owned()));
    assert_eq!(jobs(&bench).await, 0);
}

/// More than one round of reports about an endpoint that is gone keep nobody else from being asked about.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_confirmed_is_said_so_once_and_holds_up_nothing() {
    let url = kinds::says_fail_of_all().await;
    let (mut bench, _secrets) = bench(Some(&url)).await;
    let hooks = bench.journal.config.hooks.clone();
    for n in 0..70 {
        let (status, _) =
            post(&bench, "/hooks/v1/verifier", &format!("m{n}"), unix_seconds(), SECRET, BODY).await;
        assert_eq!(status, StatusCode::ACCEPTED);
    }
    drop(bench.confirmations.take());
    let (anna, gone) = (crate::service::Actor::operator("anna"), "press-01".parse().unwrap());
    bench.service.remove_endpoint(&anna, &gone, Default::default(), None).await.unwrap();
    assert_eq!(start_again(&mut bench, &hooks).await, 9);
    assert_eq!(start_again(&mut bench, &hooks).await, 0);
    let seen = bench.evidence(None).await;
    assert_eq!(seen.iter().filter(|kind| *kind == "trigger.unconfirmed").count(), 70);
    assert_eq!(jobs(&bench).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_of_which_nothing_can_be_written_down_is_known_as_such() {
    let (mut bench, _secrets) = bench(None).await;
    post(&bench, "/hooks/v1/verifier", "m1", unix_seconds(), SECRET, BODY).await;
    let confirmations = bench.confirmations.take().unwrap();
    let mut tx = bench.journal.begin().await.unwrap();
    let (broken, mended) = if tx.conn().is_file() {
        let raise =
            "CREATE TRIGGER broken BEFORE UPDATE ON trigger_seen BEGIN SELECT RAISE(ABORT, 'broken'); END";
        (raise, "DROP TRIGGER broken")
    } else {
        let raise = "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE; END'; \
                     CREATE TRIGGER broken BEFORE UPDATE ON trigger_seen FOR EACH ROW EXECUTE FUNCTION broken()";
        (raise, "DROP TRIGGER broken ON trigger_seen")
    };
    crate::db::sql::raw(broken, tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
    let round = confirmations.settle_all(&bench.service).await.unwrap();
    assert_eq!((round.stored, round.settled), (1, 0));
    let mut tx = bench.journal.begin().await.unwrap();
    crate::db::sql::raw(mended, tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
    let round = confirmations.settle_all(&bench.service).await.unwrap();
    assert_eq!((round.stored, round.settled), (1, 1));
}
