//! What keeps a recovery from beginning by itself, and the permit that everybody needs.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{Json, Router, extract::Query, routing::get};
use recovery_protocol::job::Stage;

use super::*;
use crate::{
    guard::{self, Verdict},
    jobs::job::Admission,
};

const HOUR: u64 = 3_600_000;
/// Open at every time, and for more than ten hours.
const OPEN: &str = "windows = [\"daily 00:00-24:00\", \"daily 12:00-12:00\"]";

async fn waits(bench: &Bench, n: u32, key: &str, rule: &str) {
    let outcome = integrity(bench, n, key).await;
    let TriggerDecision::AwaitsApproval(job) = outcome.decision else { panic!("{outcome:?}") };
    let reason = bench.service.job(job).await.unwrap().reason;
    assert!(
        reason.starts_with("a quote failed; it did not begin by itself: ") && reason.contains(rule),
        "{reason}"
    );
}

#[tokio::test]
async fn outside_its_windows_a_recovery_waits_for_a_person_and_a_person_waits_for_none() {
    let (bench, runner) = bench("mode = \"auto\"\nwindows = [\"Mon 00:00-00:01\"]").await;
    let config = bench.journal.config.clone();
    let endpoint =
        db::endpoint::get(&mut bench.journal.db.read().await.unwrap(), &id(1)).await.unwrap().unwrap();
    // 2026-11-29 is a Sunday.
    let noon = 1_795_953_600_000;
    let at = async |at| {
        let mut conn = bench.journal.db.read().await.unwrap();
        guard::consider(&mut conn, &config, &endpoint, TriggerClass::Integrity, true, None, at).await.unwrap()
    };
    let Verdict::Propose { automatic: false, waits: Some(rule) } = at(noon).await else { panic!() };
    assert!(rule.contains("no window of group line is open"), "{rule}");
    // Open, and too short for what a recovery takes.
    let Verdict::Propose { automatic: false, waits: Some(rule) } = at(noon + 12 * HOUR).await else {
        panic!()
    };
    assert!(rule.contains("closes in 1 min") && rule.contains("up to 30 min"), "{rule}");
    let ordered = bench.recover("press-02").await;
    assert!(matches!(settled(&bench, &runner, &ordered).await.state, JobState::Working { .. }));
}

#[tokio::test]
async fn an_open_window_lets_it_begin_and_one_that_closed_meanwhile_does_not() {
    let (bench, _) = bench(&format!("mode = \"auto\"\n{OPEN}")).await;
    let outcome = integrity(&bench, 1, "a").await;
    let TriggerDecision::Started(job) = outcome.decision else { panic!("{outcome:?}") };
    let mut tx = bench.journal.begin().await.unwrap();
    let row = db::job::get(tx.conn(), job).await.unwrap().unwrap();
    let at = tx.at;
    let mut config = (*bench.journal.config).clone();
    let open = guard::admit(tx.conn(), &config, &row, at).await.unwrap();
    assert!(matches!(open, Admission::Approved { .. }));
    config.groups.get_mut("line").unwrap().windows.truncate(0);
    let other_day = crate::config::Window::parse("Mon 00:00-00:01").unwrap();
    config.groups.get_mut("line").unwrap().windows.push(other_day);
    let closed = guard::admit(tx.conn(), &config, &row, at).await.unwrap();
    assert_eq!(closed, Admission::NeedsApproval { second_person: false, no_glass: false });
}

#[tokio::test]
async fn right_after_a_release_the_image_is_suspected_first() {
    let (bench, _) = bench("mode = \"auto\"\nquiet_after_release_s = 600").await;
    let config = bench.journal.config.clone();
    let mut conn = bench.journal.db.read().await.unwrap();
    let endpoint = db::endpoint::get(&mut conn, &id(1)).await.unwrap().unwrap();
    let at = bench.journal.now();
    let mut after = async |released: u64| {
        let class = TriggerClass::Integrity;
        guard::consider(&mut conn, &config, &endpoint, class, true, Some(released), at).await.unwrap()
    };
    let Verdict::Propose { automatic: false, waits: Some(rule) } = after(at - 300_000).await else {
        panic!()
    };
    assert!(rule.contains("approved 5 min ago"), "{rule}");
    assert_eq!(after(at - 600_000).await, Verdict::Propose { automatic: true, waits: None });
}

#[tokio::test]
async fn what_its_sources_took_back_three_times_does_not_begin_by_itself() {
    let (bench, _) = bench("mode = \"auto\"").await;
    for key in ["a", "b", "c"] {
        bench.service.trigger(trigger(1, key, TriggerClass::Integrity, false)).await.unwrap();
        if key != "c" {
            bench.service.settle_trigger("keylime", key).await.unwrap();
        }
    }
    // Two were taken back, the third is not settled yet.
    let first = integrity(&bench, 1, "d").await;
    let TriggerDecision::Started(job) = first.decision else { panic!("{first:?}") };
    bench.service.cancel(&Actor::operator("anna"), job, Decision::default()).await.unwrap();
    bench.service.settle_trigger("keylime", "c").await.unwrap();
    waits(&bench, 1, "e", "flapping").await;
}

#[tokio::test]
async fn what_comes_back_twice_in_a_day_is_for_a_person() {
    let (bench, _) = bench("mode = \"auto\"\ncool_down_s = 0\nmax_auto_per_day = 2").await;
    for key in ["a", "b"] {
        let outcome = integrity(&bench, 1, key).await;
        let TriggerDecision::Started(job) = outcome.decision else { panic!("{outcome:?}") };
        let mut tx = bench.journal.begin().await.unwrap();
        let mut row = db::job::get(tx.conn(), job).await.unwrap().unwrap();
        row.job.state = JobState::Recovered;
        row.ended = Some(tx.at);
        db::job::put(tx.conn(), &row).await.unwrap();
        tx.commit().await.unwrap();
    }
    waits(&bench, 1, "c", "max_auto_per_day").await;
    assert!(matches!(integrity(&bench, 2, "d").await.decision, TriggerDecision::Started(_)));
}

#[derive(serde::Deserialize)]
struct About {
    endpoint: String,
}

/// A system of the site that gives these answers in turn, and then the last one; its address.
async fn permits(answers: &'static [&'static str]) -> String {
    let counted = Arc::new(AtomicUsize::new(0));
    let app = Router::new().route(
        "/permit",
        get(move |Query(About { endpoint }): Query<About>| {
            let n = counted.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
            let answer = match answers[n] {
                "yes" => json!({ "endpoint": endpoint, "permit": true, "why": "line 3 stands still" }),
                "no" => json!({ "endpoint": endpoint, "permit": false, "why": "line 3 runs" }),
                "other" => json!({ "endpoint": "press-77", "permit": true }),
                _ => json!("?"),
            };
            async move { Json(answer) }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("permit = {{ url = \"http://{address}/permit\" }}")
}

#[tokio::test]
async fn without_the_permit_nobody_recovers_and_it_is_asked_again_before_the_power() {
    let group = permits(&["no", "other", "?", "yes", "yes", "yes", "no", "yes"]).await;
    let (bench, runner) = bench(&group).await;
    let anna = Actor::operator("anna");
    let ordered = bench.recover("press-01").await;
    let mut view = settled(&bench, &runner, &ordered).await;
    for (stage, why) in [
        (Stage::Admitted, "says no: line 3 runs"),
        (Stage::Admitted, "about press-77, not press-01"),
        (Stage::Admitted, "cannot be understood"),
        (Stage::Powering, "says no: line 3 runs"),
    ] {
        assert!(held(&view, HoldReason::PermitMissing), "{:?}", view.state);
        assert!(
            view.what.contains(why) && view.state.stage() == Some(stage),
            "{} {:?}",
            view.what,
            view.state
        );
        bench.service.resume(&anna, view.job, Decision::default()).await.unwrap();
        view = settled(&bench, &runner, &ordered).await;
    }
    assert!(matches!(view.state, JobState::Working { stage: Stage::AgentWait }), "{:?}", view.state);
    let asked = bench.evidence(None).await.into_iter().filter(|kind| kind == "act.permit").count();
    assert_eq!(asked, 9);
}

#[tokio::test]
async fn a_permit_from_nobody_is_none() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (bench, runner) = bench(&format!("permit = {{ url = \"http://{address}/permit\" }}")).await;
    let view = bench.recover("press-01").await;
    let view = settled(&bench, &runner, &view).await;
    assert!(held(&view, HoldReason::PermitMissing) && view.what.contains("no answer"), "{}", view.what);
}
