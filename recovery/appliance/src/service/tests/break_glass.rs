//! Broken glass: what it stands for, what it never passes, and who looks at it afterwards.

use recovery_protocol::people::NewReview;

use super::*;

fn why() -> Decision {
    Decision { reason: "the press stands still, nobody answers".to_owned() }
}

fn right() -> NewReview {
    NewReview { justified: true, note: "looked at it with the shift".to_owned() }
}

#[tokio::test]
async fn one_person_with_a_reason_begins_it_and_another_looks_at_it() {
    let (bench, runner) = bench("safety_class = 2").await;
    let anna = Actor::operator("anna");
    let short = Decision { reason: "x".to_owned() };
    assert_eq!(bench.service.break_glass(&anna, &id(1), short).await.unwrap_err().code, "reason-missing");
    assert!(bench.service.jobs(None).await.unwrap().is_empty());
    let view = bench.service.break_glass(&anna, &id(1), why()).await.unwrap();
    let view = settled(&bench, &runner, &view).await;
    assert!(matches!(view.state, JobState::Working { .. }), "{:?}", view.state);
    assert_eq!(view.break_glass.as_deref(), Some("operator:anna"));
    // One that waits already, asked for by another.
    let waits = bench.recover("press-02").await;
    let waits = settled(&bench, &runner, &waits).await;
    assert!(held(&waits, HoldReason::AwaitingApproval));
    let view = bench.service.break_glass(&anna, &id(2), why()).await.unwrap();
    assert!(view.job == waits.job && matches!(view.state, JobState::Working { .. }));
    let twice = bench.service.break_glass(&anna, &id(2), why()).await.unwrap_err();
    assert_eq!(twice.code, "approval-not-missing");

    let status = bench.service.status().await.unwrap();
    assert_eq!((status.reviews.len(), status.reviews[0].overdue), (2, false));
    for who in ["anna", "test"] {
        let own = bench.service.review(&Actor::operator(who), waits.job, right()).await.unwrap_err();
        assert_eq!(own.code, "second-person-needed", "{who}");
    }
    let bert = Actor::operator("bert");
    let silent = NewReview { note: String::new(), ..right() };
    assert_eq!(bench.service.review(&bert, waits.job, silent).await.unwrap_err().code, "reason-missing");
    assert_eq!(bench.service.review(&bert, waits.job, right()).await.unwrap().len(), 1);
    assert_eq!(bench.service.review(&bert, waits.job, right()).await.unwrap_err().code, "unknown-review");
    let kinds = bench.evidence(Some(waits.job)).await;
    let at = |kind: &str| kinds.iter().position(|other| other == kind);
    assert!(at("alarm.break-glass") < at("order.review") && at("alarm.break-glass").is_some(), "{kinds:?}");
}

#[tokio::test]
async fn nobody_looked_at_it_in_time_is_told_once() {
    let (bench, _) = bench("safety_class = 2").await;
    let view = bench.service.break_glass(&Actor::operator("anna"), &id(1), why()).await.unwrap();
    super::super::tell_overdue(&bench.journal).await.unwrap();
    let overdue =
        async || bench.evidence(None).await.iter().filter(|kind| *kind == "alarm.review-overdue").count();
    assert_eq!(overdue().await, 0);
    let mut tx = bench.journal.begin().await.unwrap();
    let mut review = db::review::open(tx.conn(), None).await.unwrap().remove(0);
    assert_eq!(review.due - review.at, 24 * 3_600_000);
    // As a day later.
    db::review::tests::forget(tx.conn(), view.job).await;
    review.due = 1;
    db::review::begin(tx.conn(), &review).await.unwrap();
    tx.commit().await.unwrap();
    for _ in 0..3 {
        super::super::tell_overdue(&bench.journal).await.unwrap();
    }
    assert_eq!(overdue().await, 1);
    assert!(bench.service.status().await.unwrap().reviews[0].overdue);
    bench.service.review(&Actor::operator("bert"), view.job, right()).await.unwrap();
}

#[tokio::test]
async fn what_protects_the_plant_is_not_behind_the_glass() {
    let anna = Actor::operator("anna");
    // Guard rails still hold it.
    let (bench, runner) = bench("safety_class = 2\nmax_concurrent = 1").await;
    let first = bench.service.break_glass(&anna, &id(1), why()).await.unwrap();
    settled(&bench, &runner, &first).await;
    let second = bench.service.break_glass(&anna, &id(2), why()).await.unwrap();
    let second = settled(&bench, &runner, &second).await;
    assert!(held(&second, HoldReason::GuardRail), "{:?}", second.state);
    // STOP.
    bench.service.press_stop(&anna, why()).await.unwrap();
    assert_eq!(bench.service.break_glass(&anna, &id(3), why()).await.unwrap_err().code, "site-stopped");
    // Where nothing is behind it, it is not broken: no false alarm.
    let (bench, _) = super::bench("safety_class = 1").await;
    let needless = bench.service.break_glass(&anna, &id(1), why()).await.unwrap_err();
    assert_eq!(needless.code, "approval-not-missing");
    assert!(!bench.evidence(None).await.iter().any(|kind| kind == "alarm.break-glass"));
    // The highest class, and one that was lowered for it.
    let (bench, _) = super::bench("safety_class = 3").await;
    assert_eq!(bench.service.break_glass(&anna, &id(1), why()).await.unwrap_err().code, "glass-not-here");
    let (bench, _) = super::bench("safety_class = 2").await;
    for class in [3, 2] {
        let order = serde_json::from_value(json!({ "safety_class": class })).unwrap();
        bench.service.change_endpoint(&anna, &id(1), order, None).await.unwrap();
    }
    assert_eq!(bench.service.break_glass(&anna, &id(1), why()).await.unwrap_err().code, "glass-not-here");
    // A rehearsal and a stranger.
    assert_eq!(
        bench.service.break_glass(&anna, &"no-one".parse().unwrap(), why()).await.unwrap_err().code,
        "unknown-endpoint"
    );
}

#[tokio::test]
async fn a_rail_that_came_while_it_waited_holds_it() {
    let (bench, runner) = bench("safety_class = 2").await;
    for n in [1, 2] {
        super::floor::redundant(&bench, n).await;
    }
    let waits = bench.recover("press-02").await;
    let waits = settled(&bench, &runner, &waits).await;
    assert!(held(&waits, HoldReason::AwaitingApproval), "{:?}", waits.state);
    super::floor::mark(&bench, 1, EndpointState::Suspect).await;
    let anna = Actor::operator("anna");
    let refused = bench.service.break_glass(&anna, &id(2), why()).await.unwrap_err();
    assert!(refused.code == "guard-rail" && refused.detail.contains("min_healthy"), "{refused:?}");
    assert!(!bench.evidence(None).await.iter().any(|kind| kind == "alarm.break-glass"));
    assert!(bench.service.reviews().await.unwrap().is_empty());
    super::floor::mark(&bench, 1, EndpointState::Trusted).await;
    let view = bench.service.break_glass(&anna, &id(2), why()).await.unwrap();
    assert!(matches!(view.state, JobState::Working { .. }));
}

#[tokio::test]
async fn a_class_that_rose_since_closes_the_glass_and_so_does_the_jobs_own_group() {
    let (bench, runner) = bench("safety_class = 2").await;
    let anna = Actor::operator("anna");
    let view = bench.service.break_glass(&anna, &id(1), why()).await.unwrap();
    let order = serde_json::from_value(json!({ "safety_class": 3 })).unwrap();
    bench.service.change_endpoint(&anna, &id(1), order, None).await.unwrap();
    let view = settled(&bench, &runner, &view).await;
    assert!(held(&view, HoldReason::AwaitingApproval) && view.break_glass.is_none(), "{:?}", view.state);
    assert_eq!(bench.service.reviews().await.unwrap().len(), 1, "somebody looks at it all the same");
    let (bench, runner) = super::bench("safety_class = 3\n[groups.low]\nsafety_class = 2").await;
    let waits = bench.recover("press-01").await;
    assert!(held(&settled(&bench, &runner, &waits).await, HoldReason::AwaitingApproval));
    let mut tx = bench.journal.begin().await.unwrap();
    let mut moved = db::endpoint::get(tx.conn(), &id(1)).await.unwrap().unwrap();
    moved.record.group = "low".to_owned();
    db::endpoint::put(tx.conn(), &moved).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(bench.service.break_glass(&anna, &id(1), why()).await.unwrap_err().code, "glass-not-here");
}
