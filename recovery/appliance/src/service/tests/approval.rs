//! An approval counts for what its giver saw, once, and is given by somebody who has no hand in it.

use recovery_protocol::operator::Approval;

use super::*;

async fn waiting() -> (Bench, Runner, JobView) {
    let (bench, runner) = bench("safety_class = 2").await;
    let view = bench.recover("press-01").await;
    let view = settled(&bench, &runner, &view).await;
    assert!(held(&view, HoldReason::AwaitingApproval));
    (bench, runner, view)
}

async fn change(bench: &Bench, who: &str, order: serde_json::Value) {
    let order = serde_json::from_value(order).unwrap();
    bench.service.change_endpoint(&Actor::operator(who), &id(1), order, None).await.unwrap();
}

#[tokio::test]
async fn what_was_seen_is_what_is_approved() {
    let (bench, _, view) = waiting().await;
    let bert = Actor::operator("bert");
    let seen = view.approval("agreed");
    for other in ["", "0000", &seen.seen.to_uppercase()] {
        let stale = Approval { seen: other.to_owned(), ..seen.clone() };
        assert_eq!(bench.service.approve(&bert, view.job, stale).await.unwrap_err().code, "approval-stale");
    }
    // Another disk would be written than the one that was shown.
    change(&bench, "carl", json!({ "disk_serial": "S2" })).await;
    let stale = bench.service.approve(&bert, view.job, seen.clone()).await.unwrap_err();
    assert!(stale.code == "approval-stale" && stale.remedy.contains("look at the job again"));
    // Changed back it is another revision: nobody looked at it since.
    change(&bench, "carl", json!({ "disk_serial": "" })).await;
    assert_eq!(bench.service.approve(&bert, view.job, seen).await.unwrap_err().code, "approval-stale");
    let now = bench.service.job(view.job).await.unwrap();
    assert!(matches!(
        bench.service.approve(&bert, view.job, now.approval("agreed")).await.unwrap().state,
        JobState::Working { .. }
    ));
    assert!(bench.evidence(Some(view.job)).await.iter().any(|kind| kind == "order.approve"));
}

#[tokio::test]
async fn it_is_used_up_by_the_step_that_it_allows() {
    let (bench, runner, view) = waiting().await;
    let bert = Actor::operator("bert");
    let seen = view.approval("agreed");
    bench.service.approve(&bert, view.job, seen.clone()).await.unwrap();
    let twice = bench.service.approve(&bert, view.job, seen.clone()).await.unwrap_err();
    assert_eq!(twice.code, "nothing-to-approve");
    bench.service.cancel(&bert, view.job, Decision::default()).await.unwrap();
    let again = bench.recover("press-01").await;
    let again = settled(&bench, &runner, &again).await;
    let replayed = bench.service.approve(&bert, again.job, seen).await.unwrap_err();
    assert_eq!(replayed.code, "approval-stale", "the same machine and image, another job");
}

#[tokio::test]
async fn neither_who_asked_nor_who_changed_the_record_approves() {
    let (bench, _, view) = waiting().await;
    change(&bench, "carl", json!({ "labels": { "line": "3" } })).await;
    let approve = async |who: &str| {
        let seen = bench.service.job(view.job).await.unwrap().approval("");
        bench.service.approve(&Actor::operator(who), view.job, seen).await
    };
    for who in ["test", "carl"] {
        assert_eq!(approve(who).await.unwrap_err().code, "second-person-needed", "{who}");
    }
    assert!(matches!(approve("bert").await.unwrap().state, JobState::Working { .. }));
}

#[tokio::test]
async fn who_changed_the_record_the_day_before_is_no_second_person_either() {
    let (bench, runner) = bench("safety_class = 2").await;
    change(&bench, "carl", json!({ "disk_serial": "S2" })).await;
    let view = bench.recover("press-01").await;
    let view = settled(&bench, &runner, &view).await;
    let refused =
        bench.service.approve(&Actor::operator("carl"), view.job, view.approval("")).await.unwrap_err();
    assert_eq!(refused.code, "second-person-needed");
}

#[tokio::test]
async fn what_a_second_person_approved_stays_what_it_is() {
    let (bench, _, view) = waiting().await;
    bench.service.approve(&Actor::operator("bert"), view.job, view.approval("agreed")).await.unwrap();
    let anna = Actor::operator("anna");
    for order in [
        json!({ "disk_serial": "S2" }),
        json!({ "safety_class": 3 }),
        json!({ "power": { "by": "ipmi", "host": "10.7.0.9", "port": 623, "user": "u", "password_file": "/f" } }),
    ] {
        let order = serde_json::from_value(order).unwrap();
        let refused = bench.service.change_endpoint(&anna, &id(1), order, None).await.unwrap_err();
        assert!(refused.code == "job-open" && refused.detail.contains("second person"), "{}", refused.detail);
    }
    change(&bench, "anna", json!({ "labels": { "line": "3" } })).await;
    bench.service.cancel(&anna, view.job, Decision::default()).await.unwrap();
    change(&bench, "anna", json!({ "disk_serial": "S2" })).await;
}

#[tokio::test]
async fn a_class_that_was_lowered_counts_after_a_day() {
    let (bench, runner) = bench("mode = \"auto\"").await;
    change(&bench, "anna", json!({ "safety_class": 2 })).await;
    change(&bench, "anna", json!({ "safety_class": 0 })).await;
    let view = bench.recover("press-01").await;
    let view = settled(&bench, &runner, &view).await;
    assert!(held(&view, HoldReason::AwaitingApproval), "{:?}", view.state);
    let row = db::job::get(&mut bench.journal.db.read().await.unwrap(), view.job).await.unwrap().unwrap();
    assert!(row.job.second_person);
    let mut tx = bench.journal.begin().await.unwrap();
    let (config, day_later) = (bench.journal.config.clone(), tx.at + 25 * 3_600_000);
    let later = crate::guard::admit(tx.conn(), &config, &row, day_later).await.unwrap();
    assert!(matches!(later, crate::jobs::job::Admission::Approved { .. }), "{later:?}");
}

#[tokio::test]
async fn an_image_that_was_chosen_for_another_blueprint_is_written_nowhere() {
    use super::super::orders::{self, Asked};
    let (bench, _) = bench("").await;
    let mut tx = bench.journal.begin().await.unwrap();
    let endpoint = db::endpoint::get(tx.conn(), &id(1)).await.unwrap().unwrap();
    let choice = orders::choose(bench.service.inner(), &endpoint).await.unwrap();
    assert_eq!(choice.blueprint, "hmi");
    let mut moved = endpoint.clone();
    moved.record.blueprint = "other".to_owned();
    let asked = Asked {
        actor: &Actor::operator("anna"),
        trigger: "operator".to_owned(),
        reason: "",
        mode: recovery_protocol::operator::Mode::Real,
        automatic: false,
        give_up_preserved: false,
        keep: None,
        keep_seconds: None,
    };
    assert_eq!(orders::make(&mut tx, &moved, &choice, asked).await.unwrap_err().code, "changed-meanwhile");
}
