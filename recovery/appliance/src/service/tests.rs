//! Orders, triggers and guard rails on a real database: who may start what, and what is written down when nobody may.

mod alone;
mod approval;
mod break_glass;
mod endpoints;
mod floor;
mod import;
mod plans;
mod policy;
mod stop;

use std::sync::Arc;

use recovery_protocol::{
    EndpointId, Problem,
    job::{HoldReason, JobState},
    operator::{Decision, EndpointState, JobView},
};
use serde_json::json;

use super::{Actor, Trigger, TriggerClass, TriggerDecision, TriggerOutcome};
use crate::{db, jobs::run::Runner, testing::Bench};

/// One bench with endpoints `press-01` … `press-04` in one group.
async fn bench(group: &str) -> (Bench, Runner) {
    let bench = Bench::new(&format!("[groups.line]\n{group}\n")).await;
    for n in 1..=4 {
        let mac = format!("52:54:00:00:00:{n:02x}");
        bench.add(&format!("press-{n:02}"), &mac, json!({ "group": "line", "drill_safe": n == 4 })).await;
    }
    let runner = bench.runner();
    (bench, runner)
}

fn id(n: u32) -> EndpointId {
    format!("press-{n:02}").parse().unwrap()
}

fn trigger(n: u32, key: &str, class: TriggerClass, confirmed: bool) -> Trigger {
    Trigger {
        source: "keylime".into(),
        delivery_key: key.into(),
        endpoint: id(n),
        class,
        reason: "a quote failed".into(),
        raw: b"{}".to_vec(),
        confirmed,
    }
}

async fn integrity(bench: &Bench, n: u32, key: &str) -> TriggerOutcome {
    bench.service.trigger(trigger(n, key, TriggerClass::Integrity, true)).await.unwrap()
}

fn observed(outcome: &TriggerOutcome, rule: &str) -> bool {
    matches!(&outcome.decision, TriggerDecision::Observed { rule: found } if found.contains(rule))
}

async fn settled(bench: &Bench, runner: &Runner, view: &JobView) -> JobView {
    runner.settle().await.unwrap();
    bench.service.job(view.job).await.unwrap()
}

fn held(view: &JobView, reason: HoldReason) -> bool {
    matches!(&view.state, JobState::Held { reason: found, .. } if *found == reason)
}

#[tokio::test]
async fn a_group_as_installed_only_observes_and_says_so_in_evidence() {
    let (bench, _) = bench("").await;
    let outcome = integrity(&bench, 1, "a").await;
    assert!(outcome.first && observed(&outcome, "mode observe"));
    assert_eq!(bench.service.jobs(None).await.unwrap(), []);
    assert!(bench.evidence(None).await.iter().any(|kind| kind == "decision.trigger"));
}

#[tokio::test]
async fn a_delivery_is_done_once_and_an_open_job_is_joined() {
    let (bench, _) = bench("mode = \"auto\"").await;
    let first = integrity(&bench, 1, "a").await;
    let TriggerDecision::Started(job) = first.decision else { panic!("{first:?}") };
    let again = integrity(&bench, 1, "a").await;
    assert_eq!(again, TriggerOutcome { first: false, decision: TriggerDecision::Started(job) });
    assert_eq!(integrity(&bench, 1, "b").await.decision, TriggerDecision::Joined(job));
    assert_eq!(bench.service.jobs(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_a_confirmed_integrity_failure_starts_by_itself() {
    let (bench, runner) = bench("mode = \"auto\"").await;
    let hint = bench.service.trigger(trigger(1, "a", TriggerClass::Integrity, false)).await.unwrap();
    assert!(observed(&hint, "not confirmed"));
    let silent = bench.service.trigger(trigger(1, "b", TriggerClass::Unreachable, true)).await.unwrap();
    assert!(observed(&silent, "unreachable is not compromised"));
    let alert = bench.service.trigger(trigger(1, "c", TriggerClass::Alert, true)).await.unwrap();
    let TriggerDecision::AwaitsApproval(job) = alert.decision else { panic!("{alert:?}") };
    runner.settle().await.unwrap();
    assert!(held(&bench.service.job(job).await.unwrap(), HoldReason::AwaitingApproval));
    let outcome = integrity(&bench, 2, "d").await;
    let TriggerDecision::Started(job) = outcome.decision else { panic!("{outcome:?}") };
    runner.settle().await.unwrap();
    assert!(matches!(bench.service.job(job).await.unwrap().state, JobState::Working { .. }));
}

#[tokio::test]
async fn quarantine_takes_the_trust_away_and_starts_nothing() {
    let (bench, _) = bench("mode = \"quarantine\"").await;
    assert_eq!(integrity(&bench, 1, "a").await.decision, TriggerDecision::Quarantined);
    assert_eq!(bench.service.endpoint(&id(1)).await.unwrap().state, EndpointState::Suspect);
    assert_eq!(bench.service.jobs(None).await.unwrap(), []);
    // A hint takes nobody's trust away, and an alert is no failed check.
    for (key, class, confirmed) in [("b", TriggerClass::Integrity, false), ("c", TriggerClass::Alert, true)] {
        let outcome = bench.service.trigger(trigger(2, key, class, confirmed)).await.unwrap();
        assert!(observed(&outcome, "confirms"), "{outcome:?}");
    }
    assert_eq!(bench.service.endpoint(&id(2)).await.unwrap().state, EndpointState::Known);
}

#[tokio::test]
async fn endpoints_in_recovery_count_as_down_and_the_next_one_waits_visibly() {
    let (bench, runner) = bench("max_concurrent = 1").await;
    let first = bench.recover("press-01").await;
    let second = bench.recover("press-02").await;
    let second = settled(&bench, &runner, &second).await;
    assert!(held(&second, HoldReason::GuardRail), "{:?}", second.state);
    assert!(second.what.contains("max_concurrent"));
    let anna = Actor::operator("anna");
    bench.service.cancel(&anna, first.job, Decision::default()).await.unwrap();
    bench.service.resume(&anna, second.job, Decision::default()).await.unwrap();
    assert!(matches!(settled(&bench, &runner, &second).await.state, JobState::Working { .. }));
}

#[tokio::test]
async fn many_failing_at_once_are_a_rollout_and_not_wiped() {
    let (bench, _) = bench("mode = \"auto\"\ncommon_mode = 3").await;
    for n in 1..=2 {
        assert!(matches!(integrity(&bench, n, "k").await.decision, TriggerDecision::Started(_)) || n == 2);
    }
    let third = bench.service.trigger(trigger(3, "third", TriggerClass::Integrity, true)).await.unwrap();
    let all: Vec<_> =
        bench.evidence(None).await.into_iter().filter(|kind| kind == "decision.trigger").collect();
    // The second delivery had the first one's key and was done once.
    assert_eq!(all.len(), 2);
    assert!(matches!(third.decision, TriggerDecision::Started(_)));
    let fourth = bench.service.trigger(trigger(4, "fourth", TriggerClass::Integrity, true)).await.unwrap();
    assert!(observed(&fourth, "common_mode"), "{fourth:?}");
}

#[tokio::test]
async fn soon_after_a_recovery_no_trigger_starts_another() {
    let (bench, _) = bench("mode = \"auto\"\ncool_down_s = 3600").await;
    let job = bench.recover("press-01").await.job;
    let mut tx = bench.journal.begin().await.unwrap();
    let at = tx.at;
    let mut row = db::job::get(tx.conn(), job).await.unwrap().unwrap();
    row.job.state = JobState::Recovered;
    row.ended = Some(at);
    db::job::put(tx.conn(), &row).await.unwrap();
    tx.commit().await.unwrap();
    assert!(observed(&integrity(&bench, 1, "a").await, "cool_down_s"));
    assert!(matches!(integrity(&bench, 2, "b").await.decision, TriggerDecision::Started(_)));
}

#[tokio::test]
async fn safety_class_two_wants_another_person_and_three_is_never_triggered() {
    let (first, runner) = bench("safety_class = 2").await;
    let view = first.recover("press-01").await;
    assert!(held(&settled(&first, &runner, &view).await, HoldReason::AwaitingApproval));
    let approve = |name| {
        let (service, job) = (first.service.clone(), view.job);
        async move {
            let seen = service.job(job).await.unwrap().approval("");
            service.approve(&Actor::operator(name), job, seen).await
        }
    };
    assert_eq!(approve("test").await.unwrap_err().code, "second-person-needed");
    assert!(matches!(approve("bert").await.unwrap().state, JobState::Working { .. }));

    let (second, _) = bench("mode = \"auto\"\nsafety_class = 3").await;
    assert!(observed(&integrity(&second, 1, "a").await, "safety class"));
}

#[tokio::test]
async fn a_drill_has_a_permit_only_for_a_drill_safe_endpoint() {
    let (bench, runner) = bench("").await;
    let refused: Problem = bench.service.drill_permit(&id(1)).await.unwrap_err();
    assert_eq!(refused.code, "not-drill-safe");
    let permit = bench.service.drill_permit(&id(4)).await.unwrap();
    let view = bench.service.propose_drill(&Actor::operator("anna"), permit, "d1", None).await.unwrap();
    assert_eq!(view.mode, recovery_protocol::operator::Mode::Drill);
    assert!(matches!(settled(&bench, &runner, &view).await.state, JobState::Working { .. }));
}

#[tokio::test]
async fn an_order_is_not_doubled_and_an_image_that_is_missing_is_named() {
    let (bench, _) = bench("[blueprints.other]\nimage = \"no-such-image\"").await;
    let first = bench.recover("press-01").await;
    assert_eq!(bench.recover("press-01").await.job, first.job);
    bench.add("press-09", "52:54:00:00:00:09", json!({ "blueprint": "other" })).await;
    let missing = bench.service.recover(&Actor::operator("a"), &id(9), Default::default()).await.unwrap_err();
    assert_eq!(missing.code, "image-missing");
    let nobody = bench.service.recover(&Actor::operator("a"), &id(77), Default::default()).await.unwrap_err();
    assert_eq!(nobody.code, "unknown-endpoint");
    let kinds = bench.evidence(None).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "refusal.order").count(), 2);
}

#[tokio::test]
async fn the_same_facts_change_nothing_another_disk_is_taken_and_other_facts_conflict() {
    let (bench, _) = bench("").await;
    let anna = Actor::operator("anna");
    let add = |more: serde_json::Value| {
        let mut new = json!({
            "endpoint": "press-01", "macs": ["52:54:00:00:00:01"], "blueprint": "hmi", "group": "line",
        });
        new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bench.service.add_endpoint(&anna, serde_json::from_value(new).unwrap())
    };
    add(json!({})).await.unwrap();
    assert_eq!(add(json!({ "drill_safe": true })).await.unwrap_err().code, "endpoint-conflict");
    assert_eq!(add(json!({ "macs": ["52:54:00:00:00:02"] })).await.unwrap_err().code, "endpoint-conflict");
    add(json!({ "disk_serial": "S1" })).await.unwrap();
    add(json!({})).await.expect("a disk that was pinned since is no other fact");
    add(json!({ "disk_serial": "S2" })).await.unwrap();
    let mut conn = bench.journal.db.read().await.unwrap();
    let endpoint = db::endpoint::get(&mut conn, &id(1)).await.unwrap().unwrap();
    assert_eq!(endpoint.record.disk_serial.as_deref(), Some("S2"));
    assert_eq!(bench.evidence(None).await.iter().filter(|kind| *kind == "order.change").count(), 2);
}

#[tokio::test]
async fn an_image_on_which_no_ticket_can_be_placed_is_refused_before_a_job_begins() {
    let (bench, _) = bench("mode = \"auto\"").await;
    let config = &bench.journal.config;
    // A disk that boots by BIOS, at most: no partition table, no EFI system partition.
    let (scratch, bios) = (bench.data.path(), vec![7; 4 << 20]);
    crate::testing::signed_image(&bios, "hmi-panel", scratch, &config.image_store(), &config.trust_root());
    let refused = bench.service.recover(&Actor::operator("anna"), &id(1), Default::default()).await;
    let problem = refused.unwrap_err();
    assert_eq!(problem.code, "image-without-esp");
    assert!(problem.detail.contains("add one to the image"), "{}", problem.detail);
    assert!(observed(&integrity(&bench, 2, "a").await, "no EFI system partition"));
    assert_eq!(bench.service.jobs(None).await.unwrap(), []);
}
