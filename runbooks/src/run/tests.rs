//! Runs under chosen events. Random ones: `random.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    ids::{OrderKey, RunId, TargetId},
    library::library,
    runbook::{ModeName, Runbook, parse::parse},
    target::{Drill, DrillSafe, DrillScope, EndpointFacts, Paper, Place, Real},
};

/// A drill with one approval, two retries on the image, and `finally`.
pub(super) const DRILL: &str = r#"
schema: runbook/v1
metadata: {name: rehearse, version: 1, title: {en: Rehearse}, owner: ot}
modes: {drill: {}, virtual: {}, real: {}}
limits: {max_parallel: 2, max_failures: 1, max_permits: 4000}
steps:
  - {id: ready, uses: check, with: {set: [store-free]}, timeout: 10s}
  - {id: go, uses: approve, needs: [ready], with: {min: 2, roles: [lead, second], distinct: [requester]}, timeout: 60s, in: {virtual: {min: 0}}}
  - {id: image, uses: reimage, needs: [go], per: target, timeout: 100s, retry: {max: 1}}
  - {id: prove, uses: verify, needs: [image], per: target, timeout: 50s}
  - {id: all, uses: notify, needs: [prove], with: {to: lead, text: done}, timeout: 20s, on_failure: continue}
finally:
  - {id: tidy, uses: check, with: {set: [clean]}, timeout: 10s, on_failure: continue}
  - {id: paper, uses: report, timeout: 10s}
"#;

pub(crate) fn facts(name: &str, place: Place) -> EndpointFacts {
    EndpointFacts {
        target: TargetId::new(name),
        kind: "hmi".into(),
        class: "ipc".into(),
        zone: "drill".into(),
        place,
        labels: BTreeSet::from(["drill-safe".to_owned()]),
        essential_function: false,
        image: format!("image-of-{name}"),
    }
}

pub(crate) fn scope() -> DrillScope {
    DrillScope { zones: BTreeSet::from(["drill".to_owned()]) }
}

pub(crate) fn safe(name: &str, place: Place) -> Target<Drill> {
    DrillSafe::resolve(facts(name, place), &scope()).unwrap().into()
}

pub(crate) fn ask() -> Ask {
    Ask { run: RunId::new("run-1"), requester: "asker".into(), now_ms: 1_000 }
}

pub(super) fn drill(names: &[&str]) -> Run<Drill> {
    plan(parse(DRILL).unwrap(), names.iter().map(|name| safe(name, Place::Bench)).collect(), ask()).unwrap()
}

/// Steps a run and keeps what it ordered.
pub(super) struct Driver {
    pub(super) run: Run<Drill>,
    pub(super) now_ms: u64,
    pub(super) ordered: Vec<OrderKey>,
    pub(super) open: BTreeMap<OrderKey, Order<Drill>>,
    pub(super) stopped: Vec<OrderKey>,
}

impl Driver {
    pub(super) fn begin(run: Run<Drill>) -> Self {
        let mut driver =
            Self { run, now_ms: 1_000, ordered: Vec::new(), open: BTreeMap::new(), stopped: Vec::new() };
        driver.event(Happened::Begin).unwrap();
        driver
    }

    pub(super) fn event(&mut self, what: Happened) -> Result<(), Refusal> {
        let (run, effects) = step(&self.run, RunEvent::new(self.now_ms, what))?;
        self.run = run;
        for effect in effects {
            match effect {
                RunEffect::Start(order) => {
                    self.ordered.push(order.key.clone());
                    self.open.insert(order.key.clone(), order);
                }
                RunEffect::Stop(key) => {
                    self.open.remove(&key);
                    self.stopped.push(key);
                }
            }
        }
        Ok(())
    }

    pub(super) fn key(&self, step: &str, target: Option<&str>) -> OrderKey {
        let mut fits = self.open.keys().filter(|key| key.step.as_str() == step);
        fits.find(|key| key.target.as_ref().map(TargetId::as_str) == target)
            .unwrap_or_else(|| panic!("{step} {target:?} is not ordered; open: {:?}", self.open.keys()))
            .clone()
    }

    pub(super) fn done(&mut self, step: &str, target: Option<&str>, good: bool) {
        let key = self.key(step, target);
        self.open.remove(&key);
        self.event(done(key, good)).unwrap();
    }

    pub(super) fn approve(&mut self, person: &str, role: &str) -> Result<(), Refusal> {
        let decided = Happened::Decided {
            key: self.key("go", None),
            person: person.into(),
            role: role.into(),
            approves: true,
            binding: self.run.record().binding.clone(),
            reason: String::new(),
        };
        self.event(decided)
    }

    pub(super) fn approved(names: &[&str]) -> Self {
        let mut driver = Self::begin(drill(names));
        driver.done("ready", None, true);
        driver.approve("ada", "lead").unwrap();
        driver.approve("bob", "second").unwrap();
        driver.open.remove(&driver.key("go", None));
        driver
    }

    /// Give the run another objective, as if its file said so.
    pub(super) fn run_objective(&mut self, rto_ms: Option<u64>) {
        self.run.record.runbook.objectives.rto_ms = rto_ms;
    }

    pub(super) fn is_open(&self, step: &str) -> bool {
        self.open.keys().any(|key| key.step.as_str() == step)
    }
}

pub(super) fn done(key: OrderKey, good: bool) -> Happened {
    let outcome = if good {
        Outcome::Passed { what: "good".into() }
    } else {
        Outcome::Failed { why: Failure::new("broken", "It broke.", "Mend it.") }
    };
    Happened::Done { key, outcome, checks: Vec::new() }
}

#[test]
fn a_drill_goes_all_the_way_and_says_so() {
    let mut driver = Driver::approved(&["a"]);
    let permit = match &driver.open[&driver.key("image", Some("a"))].work {
        Work::Reimage { permit, .. } => {
            (permit.target().to_string(), permit.image().to_owned(), permit.is_drill())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(permit, ("a".into(), "image-of-a".into(), true));
    driver.done("image", Some("a"), true);
    driver.done("prove", Some("a"), true);
    assert_eq!(driver.run.record().state_word(), "waiting_person");
    let answer = Happened::Answered {
        key: driver.key("all", None),
        person: "ada".into(),
        done: true,
        note: String::new(),
    };
    driver.event(answer).unwrap();
    driver.done("tidy", None, true);
    assert_eq!(driver.run.record().verdict(), Verdict::Succeeded, "a report that is being written counts");
    driver.done("paper", None, true);
    assert!(driver.run.is_over());
    assert_eq!(driver.run.record().state_word(), "succeeded");
    assert_eq!(driver.run.record().target_state(&TargetId::new("a")), TargetState::Proven);
    assert_eq!(driver.run.next_wake_ms(), None);
}

#[test]
fn an_approval_needs_two_people_of_the_roles_other_than_who_asked() {
    let mut driver = Driver::begin(drill(&["a"]));
    driver.done("ready", None, true);
    assert_eq!(driver.approve("asker", "lead"), Err(Refusal::OwnRequest { person: "asker".into() }));
    assert!(matches!(driver.approve("eve", "cook"), Err(Refusal::WrongRole { .. })));
    driver.approve("ada", "lead").unwrap();
    assert_eq!(driver.approve("ada", "second"), Err(Refusal::AlreadyDecided { person: "ada".into() }));
    assert!(!driver.is_open("image"), "one person is not two");
    let mut decided = Happened::Decided {
        key: driver.key("go", None),
        person: "bob".into(),
        role: "second".into(),
        approves: true,
        binding: "another plan".into(),
        reason: String::new(),
    };
    assert_eq!(driver.event(decided.clone()), Err(Refusal::WrongBinding));
    if let Happened::Decided { binding, .. } = &mut decided {
        *binding = driver.run.record().binding.clone();
    }
    driver.event(decided).unwrap();
    assert!(driver.is_open("image"));
}

#[test]
fn a_denial_is_final_and_the_last_steps_still_run() {
    let mut driver = Driver::begin(drill(&["a"]));
    driver.done("ready", None, true);
    let denied = Happened::Decided {
        key: driver.key("go", None),
        person: "ada".into(),
        role: "lead".into(),
        approves: false,
        binding: driver.run.record().binding.clone(),
        reason: "line runs".into(),
    };
    driver.event(denied).unwrap();
    assert!(!driver.is_open("image") && driver.is_open("tidy"));
    driver.done("tidy", None, true);
    driver.done("paper", None, true);
    assert_eq!(driver.run.record().state_word(), "failed");
}

#[test]
fn virtual_endpoints_need_no_approval_where_the_runbook_says_so() {
    let run = plan(parse(DRILL).unwrap(), vec![safe("v", Place::Virtual)], ask()).unwrap();
    assert_eq!(run.record().mode, ModeName::Virtual);
    let mut driver = Driver::begin(run);
    driver.done("ready", None, true);
    assert!(driver.is_open("image"));
    let mixed = vec![safe("v", Place::Virtual), safe("b", Place::Bench)];
    assert_eq!(
        plan(parse(DRILL).unwrap(), mixed, ask()).unwrap().record().mode,
        ModeName::Drill,
        "one bench endpoint and people decide"
    );
}

#[test]
fn a_failed_step_is_tried_again_as_often_as_it_says() {
    let mut driver = Driver::approved(&["a"]);
    driver.done("image", Some("a"), false);
    assert_eq!(driver.key("image", Some("a")).attempt, 2);
    driver.done("image", Some("a"), false);
    assert!(!driver.is_open("image"));
    assert!(
        matches!(driver.run.record().target_state(&TargetId::new("a")), TargetState::Failed(why) if why.code == "broken")
    );
}

#[test]
fn at_most_so_many_endpoints_at_once_and_who_was_begun_goes_first() {
    let mut driver = Driver::approved(&["a", "b", "c"]);
    let open: Vec<&str> =
        driver.open.keys().filter_map(|key| key.target.as_ref()).map(TargetId::as_str).collect();
    assert_eq!(open, ["a", "b"]);
    driver.done("image", Some("a"), true);
    driver.key("prove", Some("a"));
    assert!(
        !driver.open.keys().any(|key| key.target == Some(TargetId::new("c"))),
        "a goes on before c begins"
    );
    driver.done("prove", Some("a"), true);
    driver.key("image", Some("c"));
}

#[test]
fn one_endpoint_may_fail_and_the_second_failure_stops_the_run() {
    let mut driver = Driver::approved(&["a", "b", "c", "d"]);
    for _ in 0..2 {
        driver.done("image", Some("a"), false);
    }
    driver.key("image", Some("c"));
    for _ in 0..2 {
        driver.done("image", Some("b"), false);
    }
    assert!(driver.run.record().stop.is_some());
    driver.done("image", Some("c"), true);
    assert!(!driver.is_open("prove"), "what works is let finish; nothing new starts");
    assert_eq!(driver.run.record().target_state(&TargetId::new("d")), TargetState::Skipped);
    driver.done("tidy", None, true);
    driver.done("paper", None, true);
    assert_eq!(driver.run.record().state_word(), "failed");
}

#[test]
fn what_needs_a_skipped_step_is_skipped_too() {
    let text = DRILL.replace("max_failures: 1", "max_failures: 9").replace(
        "finally:",
        "  - {id: after, uses: notify, needs: [all], with: {to: lead, text: celebrate}}\nfinally:",
    );
    let run = plan(parse(&text).unwrap(), vec![safe("v", Place::Virtual)], ask()).unwrap();
    let mut driver = Driver::begin(run);
    driver.done("ready", None, true);
    for _ in 0..2 {
        driver.done("image", Some("v"), false);
    }
    assert!(!driver.is_open("after") && driver.is_open("tidy"));
}

#[test]
fn a_timeout_stops_the_work_and_a_late_answer_is_refused() {
    let mut driver = Driver::approved(&["a"]);
    let late = driver.key("image", Some("a"));
    driver.now_ms = driver.run.next_wake_ms().unwrap() - 1;
    driver.event(Happened::Tick).unwrap();
    assert!(driver.stopped.is_empty());
    driver.now_ms += 1;
    driver.event(Happened::Tick).unwrap();
    assert_eq!(driver.stopped, std::slice::from_ref(&late));
    assert_eq!(driver.event(done(late.clone(), true)), Err(Refusal::NotWaiting(late)));
}

#[test]
fn a_person_stops_the_run_and_finally_runs() {
    let mut driver = Driver::approved(&["a", "b", "c"]);
    driver.event(Happened::Abort { person: "ada".into(), reason: "shift ends".into() }).unwrap();
    assert_eq!(driver.stopped.len(), 2, "both endpoints in work are told");
    let working: Vec<OrderKey> = driver.run.outstanding().into_iter().map(|order| order.key).collect();
    for key in working {
        driver.event(done(key, true)).unwrap();
    }
    assert_eq!(
        driver.event(Happened::Abort { person: "ada".into(), reason: String::new() }),
        Err(Refusal::AlreadyFinishing)
    );
    driver.done("tidy", None, true);
    driver.done("paper", None, true);
    assert_eq!(driver.run.record().state_word(), "aborted");
    assert_eq!(driver.event(Happened::Begin), Err(Refusal::Over));
}

#[test]
fn a_held_job_makes_the_run_wait_for_a_person() {
    let mut driver = Driver::approved(&["a"]);
    let key = driver.key("image", Some("a"));
    let why = Failure::new("disk-not-found", "No disk matches.", "Check the cable.");
    driver.event(Happened::Held { key: key.clone(), why: why.clone() }).unwrap();
    assert_eq!(driver.run.record().state_word(), "waiting_person");
    assert_eq!(driver.run.record().target_state(&TargetId::new("a")), TargetState::Held(why));
    driver.event(Happened::Resumed { key }).unwrap();
    assert_eq!(driver.run.record().state_word(), "running");
}

#[test]
fn answers_of_the_wrong_kind_are_refused() {
    let mut driver = Driver::begin(drill(&["a"]));
    let ready = driver.key("ready", None);
    let answered = |key: &OrderKey| Happened::Answered {
        key: key.clone(),
        person: "ada".into(),
        done: true,
        note: String::new(),
    };
    assert_eq!(driver.event(answered(&ready)), Err(Refusal::NotAsked(ready.clone())));
    driver.done("ready", None, true);
    let go = driver.key("go", None);
    assert_eq!(driver.event(done(go.clone(), true)), Err(Refusal::WaitsForPerson(go)));
    let foreign = OrderKey { run: RunId::new("run-2"), ..ready };
    assert_eq!(driver.event(done(foreign.clone(), true)), Err(Refusal::NotWaiting(foreign)));
    assert_eq!(
        step(&drill(&["a"]), RunEvent::new(0, answered(&driver.key("go", None)))),
        Err(Refusal::NotBegun)
    );
}

#[test]
fn after_a_restart_the_same_orders_are_outstanding() {
    let mut driver = Driver::approved(&["a", "b"]);
    driver.done("image", Some("a"), true);
    let json = serde_json::to_string(driver.run.record()).unwrap();
    let again =
        Run::<Drill>::resume(serde_json::from_str(&json).unwrap(), all_facts(&["a", "b"]), &scope()).unwrap();
    assert_eq!(again, driver.run);
    let keys: Vec<OrderKey> = again.outstanding().into_iter().map(|order| order.key).collect();
    assert_eq!(keys, [driver.key("image", Some("b")), driver.key("prove", Some("a"))]);
}

pub(super) fn all_facts(names: &[&str]) -> Vec<EndpointFacts> {
    names.iter().map(|name| facts(name, Place::Bench)).collect()
}

#[test]
fn who_lost_the_label_gets_no_permit_after_a_restart() {
    let mut driver = Driver::begin(drill(&["a"]));
    driver.done("ready", None, true);
    driver.approve("ada", "lead").unwrap();
    let changes: [fn(&mut EndpointFacts); 4] = [
        |facts| facts.labels.clear(),
        |facts| facts.place = Place::Production,
        |facts| facts.place = Place::Virtual,
        |facts| facts.zone = "packing".into(),
    ];
    for change in changes {
        let mut today = all_facts(&["a"]);
        today.iter_mut().for_each(change);
        let run = Run::<Drill>::resume(driver.run.record().clone(), today, &scope()).unwrap();
        let mut again =
            Driver { run, now_ms: 2_000, ordered: Vec::new(), open: BTreeMap::new(), stopped: Vec::new() };
        again.open.extend(again.run.outstanding().into_iter().map(|order| (order.key.clone(), order)));
        again.approve("bob", "second").unwrap();
        assert!(!again.is_open("image"));
        assert!(
            matches!(again.run.record().target_state(&TargetId::new("a")), TargetState::Failed(why) if why.code == "not-permitted")
        );
    }
    let gone = Run::<Drill>::resume(driver.run.record().clone(), Vec::new(), &scope()).unwrap();
    assert!(gone.targets[0].is_err());
}

#[test]
fn a_record_of_another_mode_or_with_other_targets_is_no_run() {
    let record = drill(&["a"]).record().clone();
    assert!(matches!(
        Run::<Real>::resume(record.clone(), all_facts(&["a"])),
        Err(ResumeError::OtherMode { .. })
    ));
    let mut altered = record.clone();
    altered.targets[0].image = "another".into();
    assert!(matches!(
        Run::<Drill>::resume(altered, all_facts(&["a"]), &scope()),
        Err(ResumeError::Altered { .. })
    ));
    let mut altered = record.clone();
    altered.mode = ModeName::Virtual;
    assert!(matches!(
        Run::<Drill>::resume(altered, all_facts(&["a"]), &scope()),
        Err(ResumeError::Altered { .. })
    ));
    let mut altered = record;
    altered.tasks.remove(0);
    assert!(matches!(
        Run::<Drill>::resume(altered, all_facts(&["a"]), &scope()),
        Err(ResumeError::Altered { .. })
    ));
}

#[test]
fn a_plan_is_refused_by_name() {
    let book = || parse(DRILL).unwrap();
    let refused = |book: Runbook, targets| plan::<Drill>(book, targets, ask()).unwrap_err();
    assert_eq!(refused(book(), Vec::new()), PlanError::NoTarget);
    assert!(matches!(
        refused(book(), vec![safe("a", Place::Bench), safe("a", Place::Bench)]),
        PlanError::Twice { .. }
    ));
    let shipped =
        |name: &str| parse(library().iter().find(|shipped| shipped.name == name).unwrap().text).unwrap();
    let real = plan(
        shipped("quarterly-hmi-drill"),
        vec![Target::<Real>::real(facts("a", Place::Production))],
        ask(),
    );
    assert!(matches!(real, Err(PlanError::Mode { mode: ModeName::Real, .. })));
    let mut kiosk = facts("a", Place::Bench);
    kiosk.kind = "kiosk".into();
    let kiosk = DrillSafe::resolve(kiosk, &scope()).unwrap().into();
    assert!(matches!(refused(shipped("quarterly-hmi-drill"), vec![kiosk]), PlanError::NotSelected { .. }));
    let mut bare = facts("a", Place::Bench);
    bare.image.clear();
    assert!(matches!(
        refused(book(), vec![DrillSafe::resolve(bare, &scope()).unwrap().into()]),
        PlanError::NoImage { .. }
    ));
    let unsafe_book = parse(&DRILL.replace("needs: [go], per", "needs: [ready], per")).unwrap();
    assert!(matches!(refused(unsafe_book, vec![safe("a", Place::Bench)]), PlanError::Lint { .. }));
}

#[test]
fn time_never_runs_backwards() {
    let mut driver = Driver::approved(&["a"]);
    driver.now_ms = 50_000;
    driver.event(Happened::Tick).unwrap();
    driver.now_ms = 10;
    driver.event(Happened::Tick).unwrap();
    assert_eq!(driver.run.record().now_ms, 50_000);
}

#[test]
fn a_run_of_a_thousand_endpoints_is_planned_and_stepped_quickly() {
    let targets = (0..1_000).map(|n| safe(&format!("e{n}"), Place::Virtual)).collect();
    let text = DRILL.replace("max_parallel: 2", "max_parallel: 1000");
    let mut driver = Driver::begin(plan(parse(&text).unwrap(), targets, ask()).unwrap());
    driver.done("ready", None, true);
    assert_eq!(driver.open.len(), 1_000);
}

#[test]
fn what_became_of_dropped_work_is_written_down_even_when_the_run_is_over() {
    let mut driver = Driver::approved(&["a"]);
    let key = driver.key("image", Some("a"));
    let left = |key: &OrderKey| Happened::Left { key: key.clone(), what: "job 7 was cancelled".into() };
    assert_eq!(driver.event(left(&key)), Err(Refusal::StillAwaited(key.clone())));
    driver.event(Happened::Abort { person: "ada".into(), reason: "shift ends".into() }).unwrap();
    assert_eq!(driver.stopped, std::slice::from_ref(&key), "the actuator is told");
    driver.event(done(key.clone(), false)).unwrap();
    driver.done("tidy", None, true);
    driver.done("paper", None, true);
    assert!(driver.run.is_over());
    driver.event(left(&key)).unwrap();
    let last = driver.run.record().history.last().unwrap();
    assert_eq!(
        (last.what.as_str(), last.target.as_ref()),
        ("left: job 7 was cancelled", key.target.as_ref())
    );
    let verdict = driver.run.record().verdict();
    assert_eq!(driver.run.record().stage, Stage::Over { verdict }, "and nothing else changes");
    let never = OrderKey { attempt: 2, ..key.clone() };
    assert_eq!(driver.event(left(&never)), Err(Refusal::NotWaiting(never)));
}

#[test]
fn a_tabletop_asks_people_everything_and_permits_nothing() {
    let text = DRILL.replacen("modes: {", "modes: {tabletop: {}, ", 1);
    // An endpoint of the plant, essential and without an image: it is only talked about.
    let real = EndpointFacts {
        labels: BTreeSet::new(),
        essential_function: true,
        image: String::new(),
        ..facts("press", Place::Production)
    };
    let targets = vec![Target::<Paper>::on_paper(real.clone())];
    let mut run = plan(parse(&text).unwrap(), targets, ask()).unwrap();
    assert_eq!(run.record().mode, ModeName::Tabletop);
    (run, _) = step(&run, RunEvent::new(1_000, Happened::Begin)).unwrap();
    let mut cards = Vec::new();
    while !run.is_over() {
        let json = serde_json::to_string(run.record()).unwrap();
        let again = Run::<Paper>::resume(serde_json::from_str(&json).unwrap(), vec![real.clone()]).unwrap();
        assert_eq!(again, run);
        let order = run.outstanding().into_iter().next().unwrap();
        let task = run.record().tasks.iter().find(|task| run.record().key_of(task) == order.key).unwrap();
        let question = run.record().question(task);
        let (key, person) = (order.key, format!("person-{}", cards.len()));
        let what = match order.work {
            Work::Manual { .. } | Work::Notify { .. } => {
                Happened::Answered { key, person, done: true, note: String::new() }
            }
            Work::Approve { binding, .. } => {
                let (role, reason) = ("lead".into(), String::new());
                Happened::Decided { key, person, role, approves: true, binding, reason }
            }
            other => panic!("a tabletop ordered {other:?}"),
        };
        cards.push(question);
        (run, _) = step(&run, RunEvent::new(2_000, what)).unwrap();
    }
    assert_eq!(cards[0], "The appliance looks: store-free.");
    assert!(cards.iter().any(|card| card.contains("golden image")), "{cards:?}");
    assert_eq!(run.record().verdict(), Verdict::Succeeded);
}
