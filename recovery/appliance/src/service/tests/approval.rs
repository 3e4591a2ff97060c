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
