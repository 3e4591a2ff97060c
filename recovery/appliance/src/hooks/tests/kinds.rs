//! Each kind of source against the whole appliance: who is let in, what becomes of what it says, what is refused by which name.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use recovery_protocol::job::{JobState, Stage};
use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    db,
    testing::{Bench, read},
    tls::Peer,
};

const TOKEN: &str = "a token that both sides have";
const PAIR: &str = "alertmanager:a long enough password";

/// An appliance with one source `source` of this configuration, and three endpoints.
async fn bench(source: &str) -> (Bench, TempDir) {
    let files = tempfile::tempdir().unwrap();
    for (name, text) in [("token", TOKEN), ("pair", PAIR)] {
        std::fs::write(files.path().join(name), format!("{text}\n")).unwrap();
    }
    let source = source.replace("FILES", files.path().to_str().unwrap());
    let more = format!(
        "[groups.line]\nmode = \"approve\"\ncommon_mode = 0\nmax_concurrent = 100\nmax_per_hour = 1000\n\
         [hooks.source]\n{source}\n"
    );
    let bench = Bench::new(&more).await;
    for (at, labels) in [
        (1, json!({ "line": "3", "keylime-agent": "d432fbb3" })),
        (2, json!({ "line": "3" })),
        (3, json!({ "line": "4" })),
    ] {
        let endpoint = format!("press-0{at}");
        let record = json!({ "group": "line", "labels": labels, "settings": { "hostname": format!("Press-0{at}.plant") } });
        bench.add(&endpoint, &format!("52:54:00:12:34:0{at}"), record).await;
    }
    (bench, files)
}

async fn send(bench: &Bench, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let mut request = Request::post("/hooks/v1/source");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (status, text) = read(bench.send(request.body(Body::from(body.to_owned())).unwrap()).await).await;
    (status.as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

fn alert(status: &str, instance: &str, fingerprint: &str) -> Value {
    json!({
        "status": status, "labels": { "alertname": "Odd", "instance": instance }, "annotations": {},
        "startsAt": "2026-11-29T10:00:00Z", "fingerprint": fingerprint,
    })
}

fn alerts(list: &[Value]) -> String {
    json!({ "version": "4", "truncatedAlerts": 0, "alerts": list }).to_string()
}

const ALERTMANAGER: &str = "kind = \"alertmanager\"\ntoken_file = \"FILES/token\"\nscope = \"line=3\"\nendpoint_by = \"hostname\"\n\
     endpoint_label = \"instance\"";

async fn states(bench: &Bench) -> Vec<(String, JobState)> {
    let jobs = bench.service.jobs(None).await.unwrap();
    let mut states: Vec<_> = jobs.into_iter().map(|job| (job.endpoint.to_string(), job.state)).collect();
    states.sort_by(|a, b| a.0.cmp(&b.0));
    states
}

#[tokio::test]
async fn alerts_of_a_batch_are_decided_each_by_itself_and_stored_before_the_answer() {
    let (bench, _files) = bench(ALERTMANAGER).await;
    let batch = alerts(&[
        alert("firing", "press-01.plant:9100", "a"),
        alert("firing", "PRESS-02:9100", "b"),
        alert("firing", "press-03", "c"),
        alert("firing", "press-99", "d"),
    ]);
    let (status, told) = send(&bench, &[("authorization", &bearer())], &batch).await;
    assert_eq!((status, &told["taken"]), (202, &json!(2)), "{told}");
    let codes: Vec<_> =
        told["refused"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["endpoint-out-of-scope", "unknown-endpoint"]);
    assert_eq!(states(&bench).await.len(), 2);
    // The same batch again, as Alertmanager sends it every few hours: known, and nothing is doubled.
    let (status, told) = send(&bench, &[("authorization", &bearer())], &batch).await;
    assert_eq!((status, &told["taken"]), (202, &json!(2)));
    assert_eq!(states(&bench).await.len(), 2);
    let decisions = bench.evidence(None).await.iter().filter(|kind| *kind == "decision.trigger").count();
    assert_eq!(decisions, 2);
}

#[tokio::test]
async fn what_is_resolved_gives_up_its_own_job_while_nothing_was_done() {
    let (bench, _files) = bench(ALERTMANAGER).await;
    let headers = [("authorization", &*bearer())];
    let all = |status| alerts(&[alert(status, "press-01", "a"), alert(status, "press-02", "b")]);
    send(&bench, &headers, &all("firing")).await;
    let both = bench.service.jobs(None).await.unwrap();
    // The first goes on: a person said yes, and that is no alert's to take back.
    let anna = crate::service::Actor::operator("anna");
    let first = both.iter().find(|job| job.endpoint.as_str() == "press-01").unwrap().job;
    let mut tx = bench.journal.begin().await.unwrap();
    let row = db::job::get(tx.conn(), first).await.unwrap().unwrap();
    tx.admit(first, row.job.intent).await.unwrap();
    tx.commit().await.unwrap();
    let row = db::job::get(&mut bench.journal.db.read().await.unwrap(), first).await.unwrap().unwrap();
    let opened =
        crate::jobs::job::What::Done { intent: row.job.intent, outcome: crate::jobs::job::Outcome::Done };
    let _ = bench.journal.event(first, "appliance", opened).await;
    let seen = bench.service.job(first).await.unwrap().approval("");
    bench.service.approve(&anna, first, seen).await.unwrap();
    let (status, _) = send(&bench, &headers, &all("resolved")).await;
    assert_eq!(status, 202);
    let states = states(&bench).await;
    assert!(matches!(states[0].1, JobState::Working { .. } | JobState::Held { .. }), "{states:?}");
    assert_eq!(states[1].1, JobState::Cancelled { stage: Stage::Proposed }, "{states:?}");
    // It fires again: it began anew, so it is another one.
    let again = all("firing").replace("10:00:00", "11:00:00");
    send(&bench, &headers, &again).await;
    assert_eq!(bench.service.jobs(None).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_job_that_others_asked_for_too_stays_when_one_of_them_is_over() {
    let (bench, _files) = bench(ALERTMANAGER).await;
    let headers = [("authorization", &*bearer())];
    send(&bench, &headers, &alerts(&[alert("firing", "press-01", "a")])).await;
    send(&bench, &headers, &alerts(&[alert("firing", "press-01", "other")])).await;
    send(&bench, &headers, &alerts(&[alert("resolved", "press-01", "a")])).await;
    assert_eq!(states(&bench).await[0].1, JobState::Working { stage: Stage::Proposed });
    // One that was never seen firing ends nothing.
    send(&bench, &headers, &alerts(&[alert("resolved", "press-01", "never")])).await;
    assert_eq!(states(&bench).await[0].1, JobState::Working { stage: Stage::Proposed });
}

#[tokio::test]
async fn what_is_over_while_its_source_is_asked_starts_nothing() {
    let (bench, _files) = bench(ALERTMANAGER).await;
    let headers = [("authorization", &*bearer())];
    // Nothing had started: the endpoint is in another's job, and that one is given up in between.
    bench.recover("press-01").await;
    send(&bench, &headers, &alerts(&[alert("firing", "press-01", "a")])).await;
    let open = bench.service.jobs(None).await.unwrap().remove(0).job;
    bench.service.cancel(&crate::service::Actor::operator("anna"), open, Default::default()).await.unwrap();
    send(&bench, &headers, &alerts(&[alert("resolved", "press-01", "a")])).await;
    let confirmed = crate::service::Trigger {
        source: "source".to_owned(),
        delivery_key: format!("a@2026-11-29T10:00:00Z{}", db::trigger::CONFIRMED),
        endpoint: "press-01".parse().unwrap(),
        class: crate::service::TriggerClass::Integrity,
        reason: String::new(),
        raw: Vec::new(),
        confirmed: true,
    };
    let outcome = bench.service.trigger(confirmed).await.unwrap();
    assert!(matches!(outcome.decision, crate::service::TriggerDecision::Observed { .. }), "{outcome:?}");
    assert_eq!(states(&bench).await.len(), 1);
}

#[tokio::test]
async fn each_proof_of_a_sender_is_demanded_and_the_refusal_says_which() {
    let body = json!({ "id": "1", "rule": { "id": "550", "groups": [] }, "agent": { "name": "press-01" } })
        .to_string();
    let (bench, _files) = bench("kind = \"wazuh\"\nsecret_file = \"FILES/token\"\npassword_file = \"FILES/pair\"\nendpoints = [\"*\"]").await;
    let key = hmac::Key::new(hmac::HMAC_SHA256, TOKEN.as_bytes());
    let tag = |body: &str| format!("sha256={}", hex::encode(hmac::sign(&key, body.as_bytes())));
    let basic = format!("Basic {}", BASE64_STANDARD.encode(PAIR));
    let other = format!("Basic {}", BASE64_STANDARD.encode("alertmanager:another password"));
    for (hub, authorization, word) in [
        (None, Some(&basic), "X-Hub-Signature-256"),
        (Some(tag("{}")), Some(&basic), "X-Hub-Signature-256"),
        (Some("sha256=zz".to_owned()), Some(&basic), "X-Hub-Signature-256"),
        (Some(tag(&body)), None, "Authorization"),
        (Some(tag(&body)), Some(&other), "Authorization"),
        (Some(tag(&body)), Some(&bearer()), "Authorization"),
    ] {
        let mut headers = Vec::new();
        headers.extend(hub.as_deref().map(|value| ("x-hub-signature-256", value)));
        headers.extend(authorization.map(|value| ("authorization", value.as_str())));
        let (status, told) = send(&bench, &headers, &body).await;
        assert_eq!(status, 401, "{told}");
        assert!(told["detail"].as_str().unwrap().contains(word), "{told}");
    }
    let good = [("x-hub-signature-256", &*tag(&body)), ("authorization", &*basic)];
    assert_eq!(send(&bench, &good, &body).await.0, 202);
    let kinds = bench.evidence(None).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "refusal.webhook").count(), 1, "once a minute");
}

fn self_signed() -> rcgen::Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec!["verifier".to_owned()]).unwrap().self_signed(&key).unwrap()
}

fn notice(agent: &str) -> String {
    let msg = json!({ "type": "revocation", "agent_id": agent, "event_time": "Sun Nov 29 10:00:00 2026" });
    json!({ "msg": msg.to_string(), "signature": "" }).to_string()
}

async fn over_tls(bench: &Bench, shown: Option<&rcgen::Certificate>, body: &str) -> (u16, Value) {
    let mut request = Request::post("/hooks/v1/source").body(Body::from(body.to_owned())).unwrap();
    let peer = Peer { certificate: shown.map(|one| one.der().clone()), ..Peer::at("10.7.0.9:40000") };
    request.extensions_mut().insert(peer);
    let (status, text) = read(bench.send(request).await).await;
    (status.as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
}

#[tokio::test]
async fn keylime_is_known_by_its_certificate_and_its_agents_by_a_label() {
    let (verifier, stranger) = (self_signed(), self_signed());
    let pinned = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(pinned.path(), verifier.pem()).unwrap();
    let source =
        format!("kind = \"keylime\"\nclient_certificate_file = {:?}\nendpoints = [\"*\"]", pinned.path());
    let (bench, _files) = bench(&source).await;
    let (status, told) = over_tls(&bench, None, &notice("d432fbb3")).await;
    assert!(
        status == 401 && told["detail"].as_str().unwrap().contains("no TLS client certificate"),
        "{told}"
    );
    let (status, told) = over_tls(&bench, Some(&stranger), &notice("d432fbb3")).await;
    assert!(status == 401 && told["detail"].as_str().unwrap().contains("another"), "{told}");
    assert_eq!(over_tls(&bench, Some(&verifier), &notice("unknown")).await.0, 404);
    // Keylime tries again after anything but 200 and 202.
    assert_eq!(over_tls(&bench, Some(&verifier), &notice("d432fbb3")).await.0, 200);
    assert_eq!(over_tls(&bench, Some(&verifier), &notice("d432fbb3")).await.0, 200);
    assert_eq!(bench.service.jobs(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_label_that_two_endpoints_have_means_neither() {
    let (bench, _files) = bench("kind = \"cloudevents\"\ntoken_file = \"FILES/token\"\nendpoints = [\"*\"]\nendpoint_by = \"label:line\"").await;
    let event = |subject: &str| {
        json!({ "specversion": "1.0", "id": "1", "source": "s", "type": "t", "subject": subject }).to_string()
    };
    let head = [("authorization", &*bearer()), ("content-type", "application/cloudevents+json")];
    let (status, told) = send(&bench, &head, &event("3")).await;
    assert_eq!((status, told["code"].as_str()), (409, Some("endpoint-ambiguous")), "{told}");
    assert!(told["detail"].as_str().unwrap().contains("press-01, press-02"), "{told}");
    assert_eq!(send(&bench, &head, &event("4")).await.0, 202);
    // A sender of CloudEvents asks first.
    let ask = Request::options("/hooks/v1/source").header("webhook-request-origin", "broker.plant");
    let answer = bench.send(ask.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["webhook-allowed-origin"], "broker.plant");
    assert_eq!(answer.headers()["webhook-allowed-rate"], "2");
}

#[tokio::test]
async fn a_source_brings_about_no_more_than_its_own_mode() {
    let (bench, _files) = bench(&format!("{ALERTMANAGER}\nmode = \"observe\"")).await;
    send(&bench, &[("authorization", &*bearer())], &alerts(&[alert("firing", "press-01", "a")])).await;
    assert_eq!(states(&bench).await, []);
    let text = bench.service.evidence_lines(None).await.unwrap().join("\n");
    assert!(text.contains("source source is in mode observe"), "{text}");
}

#[tokio::test]
async fn what_a_bmc_reports_is_written_down_and_nothing_else() {
    let (bench, _files) =
        bench("kind = \"redfish\"\ntoken_file = \"FILES/token\"\nendpoints = [\"*\"]").await;
    let event = json!({ "Context": "press-01", "Events": [{ "EventId": "1", "Message": "The chassis was opened." }] });
    assert_eq!(send(&bench, &[("authorization", &*bearer())], &event.to_string()).await.0, 202);
    assert_eq!(states(&bench).await, []);
    assert!(bench.service.evidence_lines(None).await.unwrap().join("\n").contains("The chassis was opened."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_bounded_and_what_was_taken_is_known_when_it_comes_again() {
    let (bench, _files) = bench(&format!("{ALERTMANAGER}\nmax_per_hour = 5")).await;
    let headers = [("authorization", &*bearer())];
    let batch = |from: usize, n: usize| {
        let list: Vec<Value> =
            (from..from + n).map(|n| alert("firing", "press-01", &format!("f{n}"))).collect();
        alerts(&list)
    };
    let (status, told) = send(&bench, &headers, &batch(0, 8)).await;
    assert_eq!((status, told["code"].as_str()), (429, Some("too-many-triggers")), "{told}");
    let decided = |kinds: &[String]| kinds.iter().filter(|kind| *kind == "decision.trigger").count();
    assert_eq!(decided(&bench.evidence(None).await), 5);
    // What was taken is taken when it comes again, and only that.
    assert_eq!(send(&bench, &headers, &batch(0, 5)).await.0, 202);
    let before = bench.evidence(None).await.len();
    let begun = std::time::Instant::now();
    for n in 0..250 {
        assert_eq!(send(&bench, &headers, &batch(100 + 40 * n, 40)).await.0, 429);
    }
    assert!(begun.elapsed().as_secs() < 60, "10,000 triggers took {:?}", begun.elapsed());
    assert_eq!(
        bench.evidence(None).await.len(),
        before,
        "10,000 triggers more, and not one line of evidence"
    );
    assert_eq!(states(&bench).await.len(), 1);
}

/// Whatever it calls its deliveries, a source sends no more than it may.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_does_not_escape_its_rate_by_the_names_of_its_deliveries() {
    let (bench, _files) = bench(&format!("{ALERTMANAGER}\nmax_per_hour = 3")).await;
    let headers = [("authorization", &*bearer())];
    let mut told = Vec::new();
    for n in 0..5 {
        let mut one = alert("firing", "press-01", &format!("f{n}"));
        one["startsAt"] = format!("{n}#confirmed").into();
        told.push(send(&bench, &headers, &alerts(&[one])).await.0);
    }
    assert_eq!(told, [400; 5]);
    for (n, expected) in [202, 202, 202, 429].into_iter().enumerate() {
        let mut one = alert("firing", "press-01", &format!("f{n}"));
        one["startsAt"] = format!("{n}#confirmed/x").into();
        assert_eq!(send(&bench, &headers, &alerts(&[one])).await.0, expected);
    }
    // Only what the appliance itself wrote down as confirmed is not counted, and it is confirmed.
    let mut tx = bench.journal.begin().await.unwrap();
    let rename = "UPDATE trigger_seen SET delivery = delivery || '#confirmed'";
    crate::db::query(rename).execute(tx.conn()).await.unwrap();
    assert_eq!(crate::db::trigger::rate(tx.conn(), "source", 0).await.unwrap(), 3);
    crate::db::query("UPDATE trigger_seen SET confirmed = 1").execute(tx.conn()).await.unwrap();
    assert_eq!(crate::db::trigger::rate(tx.conn(), "source", 0).await.unwrap(), 0);
}

/// A verifier that says "fail" of whoever it is asked about.
pub async fn says_fail_of_all() -> String {
    async fn fail(asked: axum::extract::Query<std::collections::BTreeMap<String, String>>) -> String {
        json!({ "endpoint": asked["endpoint"], "status": "fail" }).to_string()
    }
    let router = axum::Router::new().route("/verdict", axum::routing::get(fail));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/verdict")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_that_reports_the_whole_fleet_bad_at_once_recovers_nobody() {
    let url = says_fail_of_all().await;
    let files = tempfile::tempdir().unwrap();
    let token = files.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let mut bench = Bench::new(&format!(
        "[groups.line]\nmode = \"auto\"\nmax_concurrent = 100\nmax_per_hour = 1000\n[hooks.source]\nkind = \"alertmanager\"\n\
         token_file = {token:?}\nendpoints = [\"*\"]\nintegrity_types = [\"Odd\"]\nconfirm_url = \"{url}\"\n"
    ))
    .await;
    let all: Vec<Value> = (10..40)
        .map(|n| {
            let mut one = alert("firing", "", &format!("f{n}"));
            one["labels"]["endpoint"] = json!(format!("press-{n}"));
            one
        })
        .collect();
    for n in 10..40 {
        bench.add(&format!("press-{n}"), &format!("52:54:00:12:34:{n}"), json!({ "group": "line" })).await;
    }
    let head = [("authorization", &*bearer())];
    let (status, told) = send(&bench, &head, &alerts(&all)).await;
    assert_eq!((status, &told["taken"]), (202, &json!(30)), "{told}");
    // Each is asked back, and each is confirmed: a verifier with wrong reference values means what it says.
    let mut changes = bench.service.changes();
    let stop = tokio_util::sync::CancellationToken::new();
    let confirmations = bench.confirmations.take().unwrap();
    let running = tokio::spawn(confirmations.run(bench.service.clone(), stop.clone()));
    while !bench.service.unsettled_triggers(1).await.unwrap().is_empty() {
        changes.changed().await.unwrap();
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(states(&bench).await, [], "not one job");
    let text = bench.service.evidence_lines(None).await.unwrap().join("\n");
    // The first two hints cannot know of the others yet; the confirmations do.
    let told = text.matches("suspect a rollout (common_mode)").count();
    assert_eq!(told, 28 + 30, "each hint and each confirmation says why not");
    // People are still served, and may act.
    assert_eq!(bench.recover("press-10").await.trigger, "operator");
}

#[tokio::test]
async fn messages_are_kept_as_received_and_the_oldest_are_forgotten() {
    let (bench, _files) = bench(&format!("{ALERTMANAGER}\nkeep_messages = 3")).await;
    for n in 0..5 {
        let body = alerts(&[alert("firing", "press-01", &format!("f{n}"))]);
        assert_eq!(send(&bench, &[("authorization", &*bearer())], &body).await.0, 202);
    }
    let kept = db::trigger::raw_of(&mut bench.journal.db.read().await.unwrap(), "source").await.unwrap();
    assert!(!kept.is_empty() && kept.len() <= 3, "{}", kept.len());
    assert_eq!(kept[0], alerts(&[alert("firing", "press-01", "f4")]).into_bytes());
}

#[tokio::test]
async fn hostile_messages_are_refused_by_name_and_leave_nothing() {
    let (bench, _files) = bench(ALERTMANAGER).await;
    let headers = [("authorization", &*bearer())];
    let deep = format!("{{\"version\":\"4\",\"alerts\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let long = "x".repeat(super::super::BODY_LEN_MAX + 1);
    for (body, status, code) in [
        (deep.as_str(), 400, "bad-webhook"),
        (long.as_str(), 413, "webhook-too-long"),
        ("{\"version\":\"4\",\"alerts\":[]}", 400, "bad-webhook"),
        ("\u{0}\u{1b}[2J", 400, "bad-webhook"),
    ] {
        let (seen, told) = send(&bench, &headers, body).await;
        assert_eq!((seen, told["code"].as_str()), (status, Some(code)), "{told}");
    }
    let name = "press-01\u{1b}]0;owned\u{7}<b>";
    let (seen, told) = send(&bench, &headers, &alerts(&[alert("firing", name, "a")])).await;
    assert_eq!(seen, 400, "{told}");
    assert!(!told.to_string().contains("\\u001b") && !told.to_string().contains("\\u0007"), "{told}");
    assert!(!bench.evidence(None).await.contains(&"decision.trigger".to_owned()));
}
