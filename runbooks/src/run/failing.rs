//! What a failure leads to: what is tried again, what never is, and what may not begin after it.

use super::{
    tests::{DRILL, Driver, ask, drill, safe},
    *,
};
use crate::{
    ids::TargetId,
    runbook::parse::parse,
    target::{Drill, Place},
};

/// The drill of the other tests with something else in it.
fn with(from: &str, to: &str) -> String {
    let text = DRILL.replace(from, to);
    assert_ne!(text, DRILL, "`{from}` stands in the runbook");
    text
}

fn planned(text: &str, names: &[&str]) -> Run<Drill> {
    plan(parse(text).unwrap(), names.iter().map(|name| safe(name, Place::Bench)).collect(), ask()).unwrap()
}

fn approved(text: &str, names: &[&str]) -> Driver {
    let mut driver = Driver::begin(planned(text, names));
    driver.done("ready", None, true);
    driver.approve("ada", "lead").unwrap();
    driver.approve("bob", "second").unwrap();
    driver.open.remove(&driver.key("go", None));
    driver
}

fn attempts(driver: &Driver, step: &str) -> Vec<u32> {
    driver.ordered.iter().filter(|key| key.step.as_str() == step).map(|key| key.attempt).collect()
}

/// How a step ended: the code of its failure, or `skipped`.
fn code(driver: &Driver, step: &str) -> String {
    let of = |task: &&Task| task.step.as_str() == step;
    match driver.run.record().tasks.iter().find(of).map(|task| &task.state) {
        Some(TaskState::Failed { why, .. }) => why.code.to_string(),
        Some(TaskState::Skipped { .. }) => "skipped".into(),
        other => panic!("{step}: {other:?}"),
    }
}

#[test]
fn a_denial_is_final_however_often_the_step_may_be_tried() {
    let text =
        with("distinct: [requester]}, timeout: 60s", "distinct: [requester]}, timeout: 60s, retry: {max: 3}");
    let mut driver = Driver::begin(planned(&text, &["a"]));
    driver.done("ready", None, true);
    driver.approve("ada", "lead").unwrap();
    let denied = Happened::Decided {
        key: driver.key("go", None),
        person: "bob".into(),
        role: "second".into(),
        approves: false,
        binding: driver.run.record().binding.clone(),
        reason: "the line runs".into(),
    };
    driver.event(denied).unwrap();
    assert_eq!(attempts(&driver, "go"), [1], "nobody is asked a second time");
    assert_eq!((code(&driver, "go"), code(&driver, "image")), ("denied".into(), "skipped".into()));
    assert!(driver.is_open("tidy") && attempts(&driver, "image").is_empty());
}

#[test]
fn a_run_that_stops_tries_nothing_again_and_keeps_why_it_failed() {
    let mut driver = Driver::approved(&["a"]);
    driver.event(Happened::Abort { person: "ada".into(), reason: "shift ends".into() }).unwrap();
    // The one retry of the step is left, and is not meant for a run that stops.
    driver.open.extend(driver.run.outstanding().into_iter().map(|order| (order.key.clone(), order)));
    driver.done("image", Some("a"), false);
    assert_eq!(attempts(&driver, "image"), [1]);
    assert_eq!(code(&driver, "image"), "broken", "it was worked on and failed; it was not skipped");
    assert!(
        matches!(driver.run.record().target_state(&TargetId::new("a")), TargetState::Failed(why) if why.code == "broken")
    );
    assert!(driver.is_open("tidy"));
}

#[test]
fn what_was_written_until_its_time_was_up_is_not_written_again() {
    let mut driver = Driver::approved(&["a"]);
    let first = driver.key("image", Some("a"));
    driver.open.remove(&first);
    driver.now_ms = driver.run.next_wake_ms().unwrap();
    driver.event(Happened::Tick).unwrap();
    // Nobody knows how far it came, and it may still be writing.
    assert_eq!((driver.stopped.as_slice(), attempts(&driver, "image")), ([first].as_slice(), vec![1]));
    assert_eq!((code(&driver, "image"), code(&driver, "prove")), ("timed-out".into(), "skipped".into()));
    assert_eq!(driver.run.record().verdict(), Verdict::Failed);
}

#[test]
fn when_every_endpoint_failed_nothing_of_the_run_that_needs_one_begins() {
    let mut driver = approved(&with("max_failures: 1", "max_failures: 9"), &["a", "b"]);
    for name in ["a", "a", "b", "b"] {
        driver.done("image", Some(name), false);
    }
    assert!(driver.run.record().stop.is_none() && attempts(&driver, "all").is_empty());
    assert_eq!(code(&driver, "all"), "skipped");
    // One good endpoint is enough for it.
    let mut driver = approved(&with("max_failures: 1", "max_failures: 9"), &["a", "b"]);
    for name in ["a", "a"] {
        driver.done("image", Some(name), false);
    }
    driver.done("image", Some("b"), true);
    driver.done("prove", Some("b"), true);
    assert!(driver.is_open("all"));
}

#[test]
fn a_need_is_good_only_where_something_passed_or_may_go_on() {
    use super::needs::{Readiness, combined};
    let drill = drill(&["a"]);
    let task = |state: TaskState| Task { state, ..drill.record().tasks[0].clone() };
    let failed = |went_on| TaskState::Failed {
        from_ms: 0,
        to_ms: 1,
        why: Failure::new("broken", "It broke.", "Mend it."),
        checks: Vec::new(),
        went_on,
        stops_wave: false,
    };
    let skipped = |not_meant| TaskState::Skipped { at_ms: 0, why: String::new(), not_meant };
    for (state, good) in
        [(failed(false), false), (skipped(false), false), (failed(true), true), (skipped(true), true)]
    {
        let tasks = [task(state.clone())];
        assert_eq!(matches!(combined(tasks.iter()), Readiness::Now), good, "{state:?}");
    }
    let both = [task(failed(false)), task(TaskState::Pending)];
    assert!(matches!(combined(both.iter()), Readiness::NotYet));
}
