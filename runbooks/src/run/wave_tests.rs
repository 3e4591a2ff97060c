//! Waves, conditions, choices and waiting under chosen events.

use super::{
    tests::{Driver, ask, facts, safe, scope},
    waves::turns,
    *,
};
use crate::{
    ids::TargetId,
    runbook::{lint::lint, parse::parse},
    target::{Drill, DrillSafe, Place, Target},
};

fn runbook(waves: &str, rest: &str) -> String {
    format!(
        "schema: runbook/v1\nmetadata: {{name: waves, version: 1, title: {{en: W}}, owner: ot}}\nmodes: {{drill: {{}}}}\n\
         limits: {{max_parallel: 9, max_failures: 9}}\nwaves: [{waves}]\nsteps:\n\
         \x20 - {{id: go, uses: approve, with: {{min: 1}}}}\n{rest}\
         \x20 - {{id: image, uses: reimage, needs: [go], per: target, timeout: 100s, on_failure: quarantine}}\n\
         \x20 - {{id: prove, uses: verify, needs: [image], per: target, timeout: 50s}}\n\
         finally:\n  - {{id: tidy, uses: check, with: {{set: [clean]}}}}\n  - {{id: paper, uses: report}}\n"
    )
}

fn begin(text: &str, names: &[&str]) -> Driver {
    let targets = names.iter().map(|name| safe(name, Place::Bench)).collect();
    let mut driver = Driver::begin(plan(parse(text).unwrap(), targets, ask()).unwrap());
    driver.approve("ada", "lead").unwrap();
    driver.open.remove(&driver.key("go", None));
    driver
}

fn imaging(driver: &Driver) -> Vec<&str> {
    driver
        .open
        .keys()
        .filter(|key| key.step.as_str() == "image")
        .filter_map(|key| Some(key.target.as_ref()?.as_str()))
        .collect()
}

const CANARY: &str = "{name: canary, size: 1, soak: 60s}, {name: rest, size: 2, pass: 50%}";

#[test]
fn the_canary_goes_alone_and_is_watched_before_the_rest() {
    let mut driver = begin(&runbook(CANARY, ""), &["a", "b", "c", "d"]);
    assert_eq!(imaging(&driver), ["a"]);
    driver.done("image", Some("a"), true);
    driver.done("prove", Some("a"), true);
    assert_eq!((imaging(&driver), driver.run.next_wake_ms()), (vec![], Some(driver.now_ms + 60_000)));
    driver.now_ms += 59_999;
    driver.event(Happened::Tick).unwrap();
    assert_eq!(imaging(&driver), Vec::<&str>::new(), "it is still watched");
    driver.now_ms += 1;
    driver.event(Happened::Tick).unwrap();
    assert_eq!(imaging(&driver), ["b", "c"], "the rest in twos");
    driver.done("image", Some("b"), false);
    driver.done("image", Some("c"), true);
    driver.done("prove", Some("c"), true);
    assert_eq!(imaging(&driver), ["d"], "half of a wave is enough here");
}

#[test]
fn a_canary_that_fails_saves_the_rest() {
    let mut driver = begin(&runbook(CANARY, ""), &["a", "b", "c"]);
    driver.done("image", Some("a"), false);
    let stop = driver.run.record().stop.clone().unwrap();
    assert_eq!(stop.why, "wave `canary`: 0 of 1 went all the way, and 1 must");
    driver.done("tidy", None, true);
    driver.done("paper", None, true);
    assert!(driver.run.is_over() && driver.ordered.iter().all(|key| key.target != Some(TargetId::new("b"))));
}

#[test]
fn stop_wave_lets_who_was_begun_finish_and_begins_nobody() {
    let text = runbook("{name: all, pass: 1%}", "")
        .replace("on_failure: quarantine", "on_failure: stop_wave")
        .replace("max_parallel: 9", "max_parallel: 2");
    let mut driver = begin(&text, &["a", "b", "c", "d"]);
    assert_eq!(imaging(&driver), ["a", "b"]);
    driver.done("image", Some("a"), false);
    assert_eq!(imaging(&driver), ["b"]);
    driver.done("image", Some("b"), true);
    driver.done("prove", Some("b"), true);
    let state = |name| driver.run.record().target_state(&TargetId::new(name));
    assert_eq!(
        (state("b"), state("c"), state("d")),
        (TargetState::Proven, TargetState::Skipped, TargetState::Skipped)
    );
}

#[test]
fn a_wave_takes_who_fits_and_the_last_one_everybody_else() {
    let kinds = ["hmi", "directory", "hmi", "directory", "hmi"];
    let targets: Vec<Target<Drill>> = kinds
        .iter()
        .enumerate()
        .map(|(n, kind)| {
            let mut facts = facts(&format!("e{n}"), Place::Bench);
            facts.kind = (*kind).into();
            DrillSafe::resolve(facts, &scope()).unwrap().into()
        })
        .collect();
    let text = runbook(
        "{name: first, match: {kind: directory}}, {name: none, match: {kind: ews}}, {name: rest, size: 2}",
        "",
    );
    let run = plan(parse(&text).unwrap(), targets, ask()).unwrap();
    let dealt: Vec<(String, Vec<usize>)> = turns(&run.record().runbook, &run.record().targets)
        .into_iter()
        .map(|turn| (turn.name, turn.targets))
        .collect();
    assert_eq!(
        dealt,
        [("first".into(), vec![1, 3]), ("rest".into(), vec![0, 2]), ("rest 2".into(), vec![4])]
    );
}

fn dealt(waves: &str, kinds: &[&str]) -> Vec<(String, Vec<usize>)> {
    let named = kinds.iter().enumerate();
    let targets: Vec<Target<Drill>> = named
        .map(|(n, kind)| {
            let mut facts = facts(&format!("e{n}"), Place::Bench);
            facts.kind = (*kind).into();
            DrillSafe::resolve(facts, &scope()).unwrap().into()
        })
        .collect();
    let run = plan(parse(&runbook(waves, "")).unwrap(), targets, ask()).unwrap();
    let dealt = turns(&run.record().runbook, &run.record().targets);
    dealt.into_iter().map(|turn| (turn.name, turn.targets)).collect()
}

#[test]
fn every_directory_goes_first_one_at_a_time_and_a_canary_alone_once() {
    let shipped = crate::library::shipped("site-ransomware").unwrap().text;
    let start = shipped.find("waves:").unwrap() + 6;
    let lines = shipped[start..].lines().take_while(|line| !line.starts_with("steps:"));
    let waves: Vec<&str> =
        lines.map(|line| line.trim().trim_start_matches("- ")).filter(|line| !line.is_empty()).collect();
    let kinds = ["ews", "hmi", "directory", "ews", "hmi", "ews", "directory", "hmi"];
    let name = |name: &str, who: &[usize]| (name.to_owned(), who.to_vec());
    assert_eq!(
        dealt(&waves.join(", "), &kinds),
        [
            name("directory", &[2]),
            name("directory 2", &[6]),
            name("engineering", &[0, 3]),
            name("engineering 2", &[5]),
            name("canary panel", &[1]),
            name("rest", &[4, 7]),
        ]
    );
}

#[test]
fn what_had_to_be_good_and_was_not_is_never_proven() {
    let mut driver = begin(&runbook("", ""), &["a"]);
    driver.done("image", Some("a"), true);
    driver.done("prove", Some("a"), true);
    let mut record = driver.run.record().clone();
    let why = Failure::new("broken", "It broke.", "Mend it.");
    let went_on =
        TaskState::Failed { from_ms: 1, to_ms: 2, why, checks: Vec::new(), went_on: true, stops_wave: false };
    let of = |record: &RunRecord| record.target_state(&TargetId::new("a"));
    assert_eq!(of(&record), TargetState::Proven);
    record.tasks.iter_mut().find(|task| task.step.as_str() == "prove").unwrap().state = went_on;
    assert!(matches!(of(&record), TargetState::Failed(_)), "{:?}", of(&record));
}

#[test]
fn a_choice_decides_which_way_is_gone_and_the_other_is_no_failure() {
    let way = "  - {id: how, uses: decide, needs: [go], with: {text: How?, options: [swap, keep]}}\n\
               \x20 - {id: swap, uses: manual, needs: [how], if: {chose: {how: swap}}, with: {text: Swap it}}\n\
               \x20 - {id: keep, uses: wait, needs: [how], if: {chose: {how: keep}}, with: {for: 10s}}\n";
    let text = runbook("", way).replace("needs: [go], per", "needs: [go, swap, keep], per");
    let mut driver = begin(&text, &["a"]);
    let key = driver.key("how", None);
    let chose =
        |option: &str| Happened::Chose { key: key.clone(), person: "ada".into(), option: option.into() };
    assert!(matches!(driver.event(chose("sell")), Err(Refusal::NoOption { .. })));
    assert!(
        driver
            .event(Happened::Answered {
                key: key.clone(),
                person: "ada".into(),
                done: true,
                note: String::new()
            })
            .is_err()
    );
    driver.event(chose("keep")).unwrap();
    assert!(!driver.is_open("swap") && imaging(&driver).is_empty(), "time must pass first");
    assert_eq!(driver.run.next_wake_ms(), Some(driver.now_ms + 10_000));
    driver.now_ms += 10_000;
    driver.event(Happened::Tick).unwrap();
    driver.done("image", Some("a"), true);
    driver.done("prove", Some("a"), true);
    driver.done("tidy", None, true);
    driver.done("paper", None, true);
    assert_eq!(driver.run.record().verdict(), Verdict::Succeeded, "what was not meant is no failure");
    assert!(driver.ordered.iter().all(|key| key.step.as_str() != "keep"), "time is nobody's order");
}

#[test]
fn a_capture_never_waits_longer_than_its_budget() {
    let way = "  - {id: cause, uses: capture, needs: [go], per: target, with: {profile: full, budget: 7s}, on_failure: continue}\n";
    let mut driver = begin(
        &runbook("", way)
            .replace("needs: [go], per: target, timeout", "needs: [cause], per: target, timeout"),
        &["a"],
    );
    assert_eq!(driver.run.next_wake_ms(), Some(driver.now_ms + 7_000));
    driver.now_ms += 7_000;
    driver.event(Happened::Tick).unwrap();
    assert_eq!(imaging(&driver), ["a"], "it goes on without");
}

#[test]
fn a_quick_capture_waits_for_nobody_and_the_reimage_after_it_keeps() {
    let way = "  - {id: cause, uses: capture, needs: [go], per: target, with: {budget: 45s}, on_failure: continue}\n";
    let text = runbook("", way);
    let after = text.replace("needs: [go], per: target, timeout", "needs: [cause], per: target, timeout");
    let driver = begin(&after, &["a"]);
    assert_eq!(imaging(&driver), ["a"], "nobody is asked");
    let keeps = |driver: &Driver| {
        let orders = driver.run.outstanding();
        orders.iter().find_map(|order| match &order.work {
            Work::Reimage { keep_ms, .. } => Some(*keep_ms),
            _ => None,
        })
    };
    assert_eq!(keeps(&driver), Some(Some(45_000)));
    assert_eq!(keeps(&begin(&runbook("", ""), &["a"])), Some(None), "as its blueprint has it");
    let found =
        |text: &str| lint(&parse(text).unwrap()).iter().map(|found| found.rule.code()).collect::<Vec<_>>();
    assert!(found(&text).contains(&"capture-keeps-nothing"));
    assert!(!found(&after).contains(&"capture-keeps-nothing"));
}

#[test]
fn a_plan_that_could_write_too_often_is_refused() {
    let text = runbook("", "")
        .replace("max_failures: 9", "max_failures: 9, max_permits: 3")
        .replace("timeout: 100s", "timeout: 100s, retry: {max: 1}");
    let plan_of = |names: &[&str]| {
        plan(parse(&text).unwrap(), names.iter().map(|name| safe(name, Place::Bench)).collect(), ask())
    };
    assert!(plan_of(&["a"]).is_ok());
    assert_eq!(
        plan_of(&["a", "b"]).unwrap_err(),
        PlanError::TooManyPermits { runbook: "waves".into(), could: 4, may: 3 }
    );
}
