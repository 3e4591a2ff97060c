//! Runs under random inventories and random events: no drill permits a real target, and the machine keeps its promises.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    tests::{DRILL, Driver, all_facts, ask, done, drill, facts, scope},
    *,
};
use crate::{
    ids::{OrderKey, TargetId},
    runbook::parse::parse,
    target::{Drill, DrillSafe, EndpointFacts, Place},
};

fn any_place() -> impl Strategy<Value = Place> {
    proptest::sample::select(Place::ALL.to_vec())
}

prop_compose! {
    fn any_facts()(
        place in any_place(), label in proptest::bool::weighted(0.8), essential in proptest::bool::weighted(0.2),
        zone in proptest::sample::select(vec!["drill", "drill", "packing", ""]), image in proptest::bool::weighted(0.97),
    ) -> EndpointFacts {
        let mut facts = facts("unnamed", place);
        if !label {
            facts.labels = BTreeSet::from(["do-not-reimage".to_owned()]);
        }
        facts.zone = zone.into();
        facts.essential_function = essential;
        if !image {
            facts.image.clear();
        }
        facts
    }
}

/// One thing that a hostile world may do to a run.
#[derive(Debug, Clone)]
enum Whim {
    Finish { which: usize, good: bool },
    Decide { which: usize, person: u8, yes: bool },
    Answer { which: usize, yes: bool },
    Hold { which: usize },
    Pass { ms: u64 },
    Abort,
    Restart,
    Repeat,
}

fn any_whim() -> impl Strategy<Value = Whim> {
    prop_oneof![
        8 => (any::<usize>(), proptest::bool::weighted(0.8)).prop_map(|(which, good)| Whim::Finish { which, good }),
        4 => (any::<usize>(), 0u8..4, proptest::bool::weighted(0.9)).prop_map(|(which, person, yes)| Whim::Decide { which, person, yes }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, yes)| Whim::Answer { which, yes }),
        1 => any::<usize>().prop_map(|which| Whim::Hold { which }),
        2 => (0u64..40_000).prop_map(|ms| Whim::Pass { ms }),
        1 => Just(Whim::Abort),
        2 => Just(Whim::Restart),
        1 => Just(Whim::Repeat),
    ]
}

fn whim_event(driver: &Driver, whim: &Whim, last: &Option<Happened>) -> Option<Happened> {
    let working: Vec<OrderKey> = driver.run.outstanding().into_iter().map(|order| order.key).collect();
    let pick = |which: usize| (!working.is_empty()).then(|| working[which % working.len()].clone());
    Some(match whim {
        Whim::Finish { which, good } => done(pick(*which)?, *good),
        Whim::Decide { which, person, yes } => Happened::Decided {
            key: pick(*which)?,
            person: ["asker", "ada", "bob", "eve"][usize::from(*person)].into(),
            role: if person % 2 == 0 { "lead".into() } else { "second".into() },
            approves: *yes,
            binding: driver.run.record().binding.clone(),
            reason: String::new(),
        },
        Whim::Answer { which, yes } => {
            Happened::Answered { key: pick(*which)?, person: "ada".into(), done: *yes, note: String::new() }
        }
        Whim::Hold { which } => {
            Happened::Held { key: pick(*which)?, why: Failure::new("held", "It waits.", "Look.") }
        }
        Whim::Pass { .. } => Happened::Tick,
        Whim::Abort => Happened::Abort { person: "ada".into(), reason: String::new() },
        Whim::Restart => return None,
        Whim::Repeat => last.clone()?,
    })
}

fn invariants(driver: &Driver) {
    let record = driver.run.record();
    let distinct: BTreeSet<&OrderKey> = driver.ordered.iter().collect();
    assert_eq!(distinct.len(), driver.ordered.len(), "an order was given twice");
    let passed = |step: &str| {
        let mut of_step = record.tasks.iter().filter(|task| task.step.as_str() == step);
        of_step.all(|task| matches!(task.state, TaskState::Passed { .. }))
    };
    if driver.ordered.iter().any(|key| key.step.as_str() == "image") {
        assert!(passed("ready") && passed("go"), "written without approval");
    }
    let in_work: BTreeSet<&TargetId> = record
        .tasks
        .iter()
        .filter(|task| matches!(task.state, TaskState::Working { .. }))
        .filter_map(|task| task.target.as_ref())
        .collect();
    assert!(in_work.len() <= record.runbook.limits.max_parallel as usize);
    assert!(record.history.windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms));
    if driver.run.is_over() {
        assert!(record.tasks.iter().all(Task::is_through));
        for last in ["tidy", "paper"] {
            assert!(driver.ordered.iter().any(|key| key.step.as_str() == last), "{last} never had its turn");
        }
    }
}

proptest! {
    /// The standing test of drill safety: whatever the inventory says, no permit of a drill names an endpoint that is real.
    #[test]
    fn no_drill_ever_permits_a_real_target(mut inventory in proptest::collection::vec(any_facts(), 0..40)) {
        for (n, facts) in inventory.iter_mut().enumerate() {
            facts.target = TargetId::new(format!("e{n}"));
        }
        let really_safe = |facts: &EndpointFacts| {
            matches!(facts.place, Place::Bench | Place::SpareDisk | Place::Virtual)
                && facts.labels.contains("drill-safe") && facts.zone == "drill" && !facts.essential_function
        };
        let targets: Vec<Target<Drill>> = inventory
            .iter()
            .filter_map(|facts| DrillSafe::resolve(facts.clone(), &scope()).ok())
            .map(Target::from)
            .collect();
        let Ok(run) = plan(parse(DRILL).unwrap(), targets, ask()) else { return Ok(()) };
        let mut driver = Driver::begin(run);
        while let Some(key) = driver.open.keys().next().cloned() {
            let order = driver.open.remove(&key).unwrap();
            if let Work::Reimage { permit, .. } = &order.work {
                let facts = inventory.iter().find(|facts| facts.target == *permit.target()).unwrap();
                prop_assert!(really_safe(facts) && facts.image == permit.image());
                prop_assert!(permit.is_drill() && *permit.key() == key && permit.until_ms() == order.until_ms);
            }
            match order.work {
                Work::Approve { .. } => {
                    driver.open.insert(key, order);
                    driver.approve("ada", "lead").unwrap();
                    driver.approve("bob", "second").unwrap();
                    let key = driver.key("go", None);
                    driver.open.remove(&key);
                }
                Work::Notify { .. } => {
                    driver.event(Happened::Answered { key, person: "ada".into(), done: true, note: String::new() }).unwrap();
                }
                _ => driver.event(done(key, true)).unwrap(),
            }
        }
        prop_assert!(driver.run.is_over());
        prop_assert_eq!(driver.run.record().verdict(), Verdict::Succeeded);
    }

    /// Random events, restarts and repeats: the machine keeps its promises and always comes to an end.
    #[test]
    fn a_run_keeps_its_promises_whatever_happens(
        endpoints in 1usize..6, whims in proptest::collection::vec(any_whim(), 0..80),
    ) {
        let names: Vec<String> = (0..endpoints).map(|n| format!("e{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut driver = Driver::begin(drill(&names));
        let mut last = None;
        for whim in &whims {
            if let Whim::Pass { ms } = whim {
                driver.now_ms += ms;
            }
            if let Whim::Restart = whim {
                let json = serde_json::to_string(driver.run.record()).unwrap();
                let again = Run::<Drill>::resume(serde_json::from_str(&json).unwrap(), all_facts(&names), &scope()).unwrap();
                prop_assert_eq!(&again, &driver.run);
                driver.run = again;
            }
            let before = driver.run.clone();
            if let Some(event) = whim_event(&driver, whim, &last) {
                if driver.event(event.clone()).is_err() {
                    prop_assert_eq!(&before, &driver.run, "a refusal changes nothing");
                }
                last = Some(event);
            }
            invariants(&driver);
        }
        // Whatever was left open runs out of time.
        for _ in 0..100 {
            let Some(wake_ms) = driver.run.next_wake_ms() else { break };
            driver.now_ms = driver.now_ms.max(wake_ms);
            driver.event(Happened::Tick).unwrap();
            invariants(&driver);
        }
        prop_assert!(driver.run.is_over(), "{:?}", driver.run.record().tasks);
    }
}
