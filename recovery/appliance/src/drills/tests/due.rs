//! What is due, what begins by itself, what is to be mended, and how a drill stands beside those before it.

use axum::http::StatusCode;
use recovery_protocol::drill::{ActionView, DrillView, ScheduleView, Stands};
use serde_json::{Value, json};

use super::{PATH, came_back, over, run, virtual_drill, with_vm};
use crate::{db, testing::Bench};

fn schedule(name: &str, more: Value) -> Value {
    let mut one = json!({
        "name": name, "runbook": "quarterly-hmi-drill", "selector": "group=bench", "mode": "virtual", "months": 3,
    });
    one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    one
}

async fn schedules(bench: &Bench) -> Vec<ScheduleView> {
    let (status, views) = bench.ask("GET", &format!("{PATH}/schedules"), Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{views}");
    serde_json::from_value(views).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_can_never_begin_is_not_put_on_record() {
    let bench = with_vm().await;
    bench.add("press-01", "52:54:00:12:34:99", json!({})).await;
    let path = format!("{PATH}/schedules");
    for (more, code) in [
        (json!({ "name": "Q 1" }), "bad-schedule"),
        (json!({ "months": 0 }), "bad-schedule"),
        (json!({ "months": 121 }), "bad-schedule"),
        (json!({ "mode": "real" }), "bad-schedule"),
        (json!({ "windows": ["sometime"] }), "bad-schedule"),
        (json!({ "runbook": "none" }), "unknown-runbook"),
        (json!({ "selector": "name=press-01" }), "not-drill-safe"),
    ] {
        let (_, problem) = bench.ask("POST", &path, schedule("q", more.clone())).await;
        assert_eq!(problem["code"], code, "{more}: {problem}");
    }
    assert!(schedules(&bench).await.is_empty());
    let (status, view) = bench.ask("POST", &path, schedule("q", json!({}))).await;
    assert_eq!((status, &view["stands"]), (StatusCode::OK, &json!("never")), "{view}");
    assert_eq!(bench.ask("POST", &path, schedule("q", json!({}))).await.1["code"], "schedule-exists");
    assert_eq!(bench.ask("DELETE", &format!("{path}/none"), json!({})).await.1["code"], "unknown-schedule");
    assert_eq!(bench.ask("DELETE", &format!("{path}/q"), json!({})).await, (StatusCode::OK, json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_begins_in_its_window_once_and_elsewhere_is_said_once() {
    let bench = with_vm().await;
    let path = format!("{PATH}/schedules");
    for (name, windows) in [("alone", json!(["daily 00:00-24:00"])), ("asked", json!([]))] {
        let new = schedule(name, json!({ "windows": windows }));
        assert_eq!(bench.ask("POST", &path, new).await.0, StatusCode::OK);
    }
    for _ in 0..3 {
        bench.drills.mind_schedules().await.unwrap();
    }
    let begun = bench.drills.list();
    assert_eq!(begun.len(), 1, "once, and not beside one that runs");
    assert_eq!((begun[0].asked_by.as_str(), begun[0].mode.as_str()), ("trigger:schedule:alone", "virtual"));
    // The other has no window: while the first runs nothing is said of it either, since what runs may satisfy it.
    let mut kept = bench.drills.kept().values().next().unwrap().clone();
    kept.record.stage = runbooks::run::Stage::Over { verdict: runbooks::run::Verdict::Failed };
    bench.drills.store(&kept).unwrap();
    for _ in 0..3 {
        bench.drills.mind_schedules().await.unwrap();
    }
    let said = bench.evidence(None).await.into_iter().filter(|kind| kind == "drill.due").count();
    assert_eq!((said, bench.drills.list().len()), (1, 1), "no second try on the same day");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_recovery_satisfies_the_clock_that_says_so() {
    let mut bench = with_vm().await;
    let (stop, running) = run(bench.rehearser.take().unwrap());
    let path = format!("{PATH}/schedules");
    for (name, months, by) in
        [("plan", 15, json!(["recovery", "drill", "tabletop"])), ("exercise", 36, json!(["drill"]))]
    {
        let new = schedule(name, json!({ "months": months, "by": by }));
        assert_eq!(bench.ask("POST", &path, new).await.0, StatusCode::OK);
    }
    let job = bench.recover("vm-01").await.job;
    came_back(&bench, job, false).await;
    let stands: Vec<_> = schedules(&bench)
        .await
        .into_iter()
        .map(|view| (view.schedule.name, view.stands, view.last_by))
        .collect();
    assert_eq!(
        stands,
        [
            ("exercise".to_owned(), Stands::Never, None),
            ("plan".to_owned(), Stands::Fine, Some("recovery of vm-01".to_owned())),
        ]
    );
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_has_its_denominator_and_counts_no_virtual_endpoint() {
    let bench = with_vm().await;
    for (n, name) in ["press-01", "press-02"].iter().enumerate() {
        bench.add(name, &format!("52:54:00:12:35:{n:02}"), json!({})).await;
    }
    for name in ["press-01", "vm-01"] {
        let job = bench.recover(name).await.job;
        came_back(&bench, job, false).await;
    }
    let (_, board) = bench.ask("GET", &format!("{PATH}/readiness"), Value::Null).await;
    assert_eq!(
        (&board["hardware"], &board["proven"], &board["never"]),
        (&json!(2), &json!(1), &json!(["press-02"])),
        "{board}"
    );
    assert_eq!(board["endpoints"][0]["endpoint"], "press-02", "the worst first");
}

async fn actions(bench: &Bench) -> Vec<ActionView> {
    let (_, views) = bench.ask("GET", &format!("{PATH}/actions"), Value::Null).await;
    serde_json::from_value(views).unwrap()
}

/// Wait until the drill's own follow-up is on record, by what it changed.
async fn until_actions(bench: &Bench, want: impl Fn(&[ActionView]) -> bool) -> Vec<ActionView> {
    let mut changes = bench.service.changes();
    loop {
        changes.borrow_and_update();
        let all = actions(bench).await;
        if want(&all) {
            return all;
        }
        changes.changed().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_drill_found_is_closed_by_a_passing_one_of_its_kind_alone() {
    let mut bench = with_vm().await;
    let (stop, running) = run(bench.rehearser.take().unwrap());
    let (first, job) = virtual_drill(&bench, "").await;
    let mut tx = bench.journal.begin().await.unwrap();
    let mut row = db::job::get(tx.conn(), job).await.unwrap().unwrap();
    let (stage, reason) =
        (recovery_protocol::job::Stage::Imaging, recovery_protocol::job::HoldReason::AgentFailed);
    row.job.state = recovery_protocol::job::JobState::Failed { stage, reason, detail: "it broke".into() };
    row.ended = Some(tx.at);
    db::job::put(tx.conn(), &row).await.unwrap();
    tx.commit().await.unwrap();
    bench.journal.touch();
    super::until(&bench, &first, over).await;
    let opened = until_actions(&bench, |all| !all.is_empty()).await;
    let seen: Vec<_> =
        opened.iter().map(|one| (one.class.as_str(), one.subject.as_str(), one.closed_unix_ms)).collect();
    assert!(seen.contains(&("hmi-vm (virtual)", "step image", None)), "{seen:?}");
    assert!(opened.iter().all(|one| one.due_unix_ms > one.opened_unix_ms && one.drill == first));

    let (second, job) = virtual_drill(&bench, "").await;
    came_back(&bench, job, false).await;
    let view = super::until(&bench, &second, over).await;
    assert_eq!(view.state, "succeeded", "{view:?}");
    let closed = until_actions(&bench, |all| all.iter().all(|one| one.closed_by.is_some())).await;
    assert!(closed.iter().all(|one| one.closed_by.as_deref() == Some(second.as_str())));
    let kinds = bench.evidence(None).await;
    let count = |kind: &str| kinds.iter().filter(|seen| *seen == kind).count();
    assert_eq!((count("drill.action-opened"), count("drill.action-closed")), (opened.len(), opened.len()));

    let (_, compared) = bench.ask("GET", &format!("{PATH}/{second}/compare?with={first}"), Value::Null).await;
    assert_eq!((&compared["before"], &compared["same_runbook"]), (&json!(first), &json!(true)), "{compared}");
    assert_eq!(compared["before_ms"], Value::Null, "it was not gone through");
    let (_, trend) = bench.ask("GET", &format!("{PATH}/trend/one"), Value::Null).await;
    let states: Vec<_> = trend.as_array().unwrap().iter().map(|point| &point["state"]).collect();
    assert_eq!(states, [&json!("failed"), &json!("succeeded")]);
    let alone = bench.ask("GET", &format!("{PATH}/{second}/compare?with={second}"), Value::Null).await;
    assert_eq!(alone.1["code"], "not-comparable");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_is_an_alarm_while_the_run_still_runs() {
    let mut bench = with_vm().await;
    let (stop, running) = run(bench.rehearser.take().unwrap());
    let (drill, job) = virtual_drill(&bench, "objectives: {rto: 1s}\n").await;
    // Its image step takes five minutes by what was measured before.
    let mut before = bench.drills.find(&drill).unwrap();
    before.record.run = runbooks::RunId::new("before");
    before.record.stage = runbooks::run::Stage::Over { verdict: runbooks::run::Verdict::Succeeded };
    for task in &mut before.record.tasks {
        task.state = runbooks::run::TaskState::Passed {
            from_ms: 0,
            to_ms: 300_000,
            what: String::new(),
            checks: Vec::new(),
            approvals: Vec::new(),
            chose: None,
        };
    }
    bench.drills.store(&before).unwrap();
    let (_, view) = bench.ask("GET", &format!("{PATH}/{drill}"), Value::Null).await;
    let view: DrillView = serde_json::from_value(view).unwrap();
    assert!(view.breach_predicted && view.predicted_end_unix_ms.is_some(), "{view:?}");
    for _ in 0..2 {
        bench.drills.tell_breaches().await;
    }
    let said = bench.evidence(None).await.into_iter().filter(|kind| kind == "alarm.drill-breach").count();
    assert_eq!(said, 1, "once");
    came_back(&bench, job, false).await;
    super::until(&bench, &drill, over).await;
    stop.cancel();
    running.await.unwrap();
}
