//! Who must stay up: shares of groups, floors of redundancy groups, for triggers and for people.

use recovery_protocol::{
    job::{HoldReason, JobState},
    operator::{Decision, EndpointState},
};
use serde_json::json;

use super::{bench, held, id, integrity, observed, settled};
use crate::{
    db,
    service::{Actor, TriggerDecision},
    testing::Bench,
};

pub(super) async fn mark(bench: &Bench, n: u32, state: EndpointState) {
    let mut tx = bench.journal.begin().await.unwrap();
    let mut endpoint = db::endpoint::get(tx.conn(), &id(n)).await.unwrap().unwrap();
    endpoint.state = state;
    db::endpoint::put(tx.conn(), &endpoint).await.unwrap();
    tx.commit().await.unwrap();
}

pub(super) async fn redundant(bench: &Bench, n: u32) {
    let order = serde_json::from_value(json!({ "redundancy": "panels" })).unwrap();
    bench.service.change_endpoint(&Actor::operator("anna"), &id(n), order, None).await.unwrap();
}

#[tokio::test]
async fn the_last_healthy_one_of_a_redundancy_group_stays_up() {
    let (bench, runner) = bench("mode = \"auto\"").await;
    redundant(&bench, 1).await;
    redundant(&bench, 2).await;
    assert_eq!(bench.service.endpoint(&id(2)).await.unwrap().why_not, None);
    let first = bench.recover("press-01").await;
    assert!(matches!(settled(&bench, &runner, &first).await.state, JobState::Working { .. }));
    // The other one is in recovery, so it is not healthy: a trigger starts nothing, a person's order waits.
    let rule = "0 others of redundancy group panels are healthy; at least 1";
    assert!(observed(&integrity(&bench, 2, "a").await, rule));
    assert!(bench.service.endpoint(&id(2)).await.unwrap().why_not.unwrap().contains(rule));
    let second = bench.recover("press-02").await;
    let second = settled(&bench, &runner, &second).await;
    assert!(held(&second, HoldReason::GuardRail) && second.what.contains("min_healthy"), "{}", second.what);
    // Those of no redundancy group are free.
    assert!(matches!(integrity(&bench, 3, "b").await.decision, TriggerDecision::Started(_)));
    let anna = Actor::operator("anna");
    bench.service.cancel(&anna, first.job, Decision::default()).await.unwrap();
    bench.service.resume(&anna, second.job, Decision::default()).await.unwrap();
    assert!(matches!(settled(&bench, &runner, &second).await.state, JobState::Working { .. }));
}

#[tokio::test]
async fn when_all_are_suspect_a_person_may_begin_and_a_trigger_may_not() {
    let (bench, runner) = bench("mode = \"auto\"").await;
    for n in [1, 2] {
        redundant(&bench, n).await;
        mark(&bench, n, EndpointState::Suspect).await;
    }
    assert!(observed(&integrity(&bench, 1, "a").await, "min_healthy"));
    let order = bench.recover("press-01").await;
    assert!(matches!(settled(&bench, &runner, &order).await.state, JobState::Working { .. }));
}

#[tokio::test]
async fn a_floor_is_configured_by_selector_and_counts_whom_it_means() {
    let config =
        "mode = \"auto\"\ncommon_mode = 0\n[redundancy.line-3]\nmin_healthy = 2\nselector = \"line=3\"";
    let (bench, _) = bench(config).await;
    for n in 1..=3 {
        let order = serde_json::from_value(json!({ "labels": { "line": "3" } })).unwrap();
        bench.service.change_endpoint(&Actor::operator("anna"), &id(n), order, None).await.unwrap();
    }
    assert!(matches!(integrity(&bench, 1, "a").await.decision, TriggerDecision::Started(_)));
    assert!(observed(&integrity(&bench, 2, "b").await, "1 others of redundancy group line-3"));
    assert!(matches!(integrity(&bench, 4, "c").await.decision, TriggerDecision::Started(_)));
}

#[tokio::test]
async fn a_share_of_a_group_is_rounded_down() {
    // Of four, 49 in a hundred are one.
    let (bench, runner) = bench("mode = \"auto\"\nmax_share_percent = 49").await;
    let first = bench.recover("press-01").await;
    assert!(matches!(settled(&bench, &runner, &first).await.state, JobState::Working { .. }));
    assert!(observed(
        &integrity(&bench, 2, "a").await,
        "1 of 4 endpoints of group line are in recovery; at most 1"
    ));
    let second = bench.recover("press-02").await;
    let second = settled(&bench, &runner, &second).await;
    assert!(held(&second, HoldReason::GuardRail) && second.what.contains("max_share_percent"));

    let (half, runner) = super::bench("max_share_percent = 50").await;
    half.recover("press-01").await;
    let second = half.recover("press-02").await;
    assert!(matches!(settled(&half, &runner, &second).await.state, JobState::Working { .. }));
    assert!(half.service.endpoint(&id(3)).await.unwrap().why_not.unwrap().contains("2 of 4"));
}

#[tokio::test]
async fn one_with_an_open_job_is_down_whatever_its_state_says() {
    let (bench, _) = bench("mode = \"auto\"").await;
    redundant(&bench, 1).await;
    redundant(&bench, 2).await;
    bench.recover("press-01").await;
    mark(&bench, 1, EndpointState::Trusted).await;
    assert!(observed(&integrity(&bench, 2, "a").await, "min_healthy"));
}
