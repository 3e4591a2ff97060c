//! Standing plans: what one lets begin by itself, who approves it, and what makes it void.

use recovery_protocol::{
    operator::Approval,
    plan::{NewPlan, PlanState, PlanView},
};

use super::*;

fn new(plan: &str) -> NewPlan {
    NewPlan {
        plan: plan.to_owned(),
        selector: "group=line,name!=press-04".parse().unwrap(),
        image: "hmi-panel:1".to_owned(),
        triggers: vec!["attestation".to_owned()],
        windows: Vec::new(),
        most_per_day: 2,
        valid_days: 30,
        reason: "nobody is here at night".to_owned(),
    }
}

async fn site(group: &str) -> (Bench, Runner) {
    bench(&format!(
        "{group}\ncool_down_s = 0\nquiet_after_release_s = 0\nbreaker_failures = 99\ncommon_mode = 0"
    ))
    .await
}

async fn approve(bench: &Bench, view: &PlanView, who: &str) -> Result<PlanView, Problem> {
    let order = Approval { seen: view.hash.clone(), reason: "read it".to_owned() };
    bench.service.approve_plan(&Actor::operator(who), &view.plan, order).await
}

async fn standing(bench: &Bench, plan: NewPlan) -> PlanView {
    let made = bench.service.make_plan(&Actor::operator("anna"), plan).await.unwrap();
    approve(bench, &made, "bert").await.unwrap();
    approve(bench, &made, "carl").await.unwrap()
}

/// The appliance's own attestation says so.
async fn attested(bench: &Bench, n: u32, key: &str) -> TriggerOutcome {
    let trigger =
        Trigger { source: "attestation".to_owned(), ..trigger(n, key, TriggerClass::Integrity, true) };
    bench.service.trigger(trigger).await.unwrap()
}

async fn started(bench: &Bench, runner: &Runner, n: u32, key: &str) -> bool {
    match attested(bench, n, key).await.decision {
        TriggerDecision::Started(job) => {
            runner.settle().await.unwrap();
            matches!(bench.service.job(job).await.unwrap().state, JobState::Working { .. })
        }
        TriggerDecision::AwaitsApproval(job) => {
            runner.settle().await.unwrap();
            assert!(held(&bench.service.job(job).await.unwrap(), HoldReason::AwaitingApproval));
            false
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_two_others_approved_begins_by_itself_as_often_as_they_said() {
    let (bench, runner) = site("mode = \"approve\"").await;
    assert!(!started(&bench, &runner, 1, "a").await, "without a plan it waits");
    let made = bench.service.make_plan(&Actor::operator("anna"), new("night")).await.unwrap();
    assert_eq!((made.state, made.endpoints.len()), (PlanState::Proposed, 3));
    let own = approve(&bench, &made, "anna").await.unwrap_err();
    assert_eq!(own.code, "second-person-needed");
    let stale = Approval { seen: "00".to_owned(), reason: String::new() };
    let stale = bench.service.approve_plan(&Actor::operator("bert"), "night", stale).await.unwrap_err();
    assert_eq!(stale.code, "approval-stale");
    approve(&bench, &made, "bert").await.unwrap();
    assert_eq!(
        approve(&bench, &made, "bert").await.unwrap_err().code,
        "second-person-needed",
        "two people, not one twice"
    );
    assert_eq!(bench.service.plans().await.unwrap()[0].state, PlanState::Proposed);
    assert!(!started(&bench, &runner, 2, "b").await, "one approval is none");
    for n in 1..=2 {
        let open = bench.service.jobs(Some(&id(n))).await.unwrap()[0].job;
        bench.service.cancel(&Actor::operator("anna"), open, Decision::default()).await.unwrap();
    }
    assert_eq!(approve(&bench, &made, "carl").await.unwrap().state, PlanState::Standing);
    assert!(started(&bench, &runner, 1, "c").await);
    assert!(started(&bench, &runner, 2, "d").await);
    assert!(!started(&bench, &runner, 3, "e").await, "most_per_day");
    assert!(!started(&bench, &runner, 4, "f").await, "not covered");
    assert_eq!(bench.service.plans().await.unwrap()[0].begun, 2);
    let job = bench.service.jobs(Some(&id(1))).await.unwrap()[0].job;
    let log = bench.service.evidence_lines(Some(job)).await.unwrap().join("\n");
    assert!(log.contains("decision.plan") && log.contains("plan:night"), "{log}");
}

#[tokio::test]
async fn a_hint_an_alert_and_a_source_that_may_less_begin_nothing_by_a_plan() {
    let (bench, _) = site("mode = \"approve\"").await;
    standing(&bench, new("night")).await;
    let other = integrity(&bench, 3, "a").await.decision;
    assert!(matches!(other, TriggerDecision::AwaitsApproval(_)), "another source: {other:?}");
    for (key, class, confirmed) in [("b", TriggerClass::Integrity, false), ("c", TriggerClass::Alert, true)] {
        let hint = Trigger { source: "attestation".to_owned(), ..trigger(2, key, class, confirmed) };
        let outcome = bench.service.trigger(hint).await.unwrap();
        let waits =
            matches!(outcome.decision, TriggerDecision::AwaitsApproval(_) | TriggerDecision::Joined(_));
        assert!(waits, "{outcome:?}");
    }
    let (bench, runner) = site("mode = \"approve\"\nsafety_class = 2").await;
    standing(&bench, new("night")).await;
    assert!(!started(&bench, &runner, 1, "a").await, "from class 2 on somebody looks at that moment");
    let (bench, _) = site("mode = \"observe\"").await;
    standing(&bench, new("night")).await;
    assert!(observed(&attested(&bench, 1, "a").await, "mode observe"));
    let (bench, runner) = site("mode = \"approve\"").await;
    let never = NewPlan { windows: vec!["daily 00:00-00:01".to_owned()], ..new("night") };
    standing(&bench, never).await;
    assert!(!started(&bench, &runner, 1, "a").await, "outside of its window, or with too little left of it");
}

#[tokio::test]
async fn a_plan_is_void_when_anything_that_it_names_changes() {
    let anna = Actor::operator("anna");
    let change = async |bench: &Bench, order: serde_json::Value| {
        let order = serde_json::from_value(order).unwrap();
        bench.service.change_endpoint(&Actor::operator("dora"), &id(3), order, None).await.unwrap();
    };
    let (bench, runner) = site("mode = \"approve\"").await;
    let made = bench.service.make_plan(&anna, new("night")).await.unwrap();
    approve(&bench, &made, "bert").await.unwrap();
    change(&bench, json!({ "labels": { "line": "9" } })).await;
    let late = approve(&bench, &made, "carl").await.unwrap_err();
    assert!(late.code == "plan-over" && late.detail.contains("press-03"), "{}", late.detail);
    let first = bench.service.plans().await.unwrap();
    assert!(
        first[0].state == PlanState::Over && first[0].over.contains("the record of press-03"),
        "{:?}",
        first[0].over
    );
    super::super::mind_plans(&bench.journal).await.unwrap();
    super::super::mind_plans(&bench.journal).await.unwrap();
    let told = bench.evidence(None).await.iter().filter(|kind| *kind == "plan.over").count();
    assert_eq!(told, 1);
    // Its name is free again; changed and changed back it is void all the same.
    let made = bench.service.make_plan(&anna, new("night")).await.unwrap();
    assert_eq!(
        approve(&bench, &made, "dora").await.unwrap_err().code,
        "second-person-needed",
        "who changed a record"
    );
    standing(&bench, new("other")).await;
    change(&bench, json!({ "disk_serial": "S2" })).await;
    change(&bench, json!({ "disk_serial": "" })).await;
    assert!(!started(&bench, &runner, 1, "a").await);
    // Withdrawn.
    let (bench, runner) = site("mode = \"approve\"").await;
    standing(&bench, new("night")).await;
    let over =
        bench.service.withdraw_plan(&Actor::operator("tom"), "night", Decision::default()).await.unwrap();
    assert!(over.state == PlanState::Over && over.over.contains("withdrawn by operator:tom"));
    assert!(!started(&bench, &runner, 1, "a").await);
    assert_eq!(approve(&bench, &made, "eve").await.unwrap_err().code, "unknown-plan");
    // Between the trigger and the admission.
    let (bench, runner) = site("mode = \"approve\"").await;
    standing(&bench, new("night")).await;
    let TriggerDecision::Started(job) = attested(&bench, 1, "a").await.decision else { panic!() };
    bench.service.withdraw_plan(&anna, "night", Decision::default()).await.unwrap();
    runner.settle().await.unwrap();
    assert!(held(&bench.service.job(job).await.unwrap(), HoldReason::AwaitingApproval));
}

#[tokio::test]
async fn a_plan_that_cannot_be_is_refused_with_its_reason() {
    let (bench, _) = site("mode = \"approve\"").await;
    let anna = Actor::operator("anna");
    for bad in [
        NewPlan { plan: "Night".to_owned(), ..new("a") },
        NewPlan { selector: "line=99".parse().unwrap(), ..new("a") },
        NewPlan { image: "none:1".to_owned(), ..new("a") },
        NewPlan { triggers: Vec::new(), ..new("a") },
        NewPlan { triggers: vec!["nobody".to_owned()], ..new("a") },
        NewPlan { windows: vec!["at night".to_owned()], ..new("a") },
        NewPlan { most_per_day: 0, ..new("a") },
        NewPlan { valid_days: 91, ..new("a") },
    ] {
        assert_eq!(
            bench.service.make_plan(&anna, bad.clone()).await.unwrap_err().code,
            "bad-plan",
            "{bad:?}"
        );
    }
    bench.service.make_plan(&anna, new("a")).await.unwrap();
    assert_eq!(bench.service.make_plan(&anna, new("a")).await.unwrap_err().code, "plan-exists");
    let scoped = Actor { scope: Some("name=press-01".parse().unwrap()), ..anna };
    assert_eq!(bench.service.make_plan(&scoped, new("b")).await.unwrap_err().code, "out-of-scope");
}
