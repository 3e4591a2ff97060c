//! The power is cut at random instants of a run: before an event was stored, after it was stored and before its orders went out, or while they
//! went out. What was stored is all that is left. The run comes to the same end as one that was never cut, and no work is done twice.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    tests::{all_facts, ask, done, safe, scope},
    *,
};
use crate::{
    ids::OrderKey,
    runbook::parse::parse,
    target::{Drill, Place},
};

/// Waves, a choice, a condition, a retry and a person: everything that a cut could confuse.
const RUNBOOK: &str = r#"
schema: runbook/v1
metadata: {name: cuts, version: 1, title: {en: Cuts}, owner: ot}
modes: {drill: {}}
limits: {max_parallel: 2, max_failures: 3}
waves: [{name: canary, size: 1, soak: 5s, pass: "1%"}, {name: rest, size: 2, soak: 1s, pass: "1%"}]
steps:
  - {id: how, uses: decide, with: {text: How?, options: [a, b]}, timeout: 9000s}
  - {id: go, uses: approve, needs: [how], with: {min: 2}, timeout: 9000s}
  - {id: safe, uses: manual, needs: [go], per: target, if: {chose: {how: a}}, with: {text: Safe?}, timeout: 9000s}
  - {id: image, uses: reimage, needs: [safe], per: target, timeout: 9000s, retry: {max: 1}}
  - {id: rest, uses: wait, needs: [image], per: target, with: {for: 3s}}
  - {id: prove, uses: verify, needs: [rest], per: target, timeout: 9000s}
finally:
  - {id: tidy, uses: check, with: {set: [clean]}, timeout: 9000s, on_failure: continue}
  - {id: paper, uses: report, timeout: 9000s}
"#;

/// What outlives a power cut: the record that was stored last, and the actuator's own list of what it did.
struct Site {
    names: Vec<String>,
    stored: String,
    /// Work by its key: how often it was really done, and its outcome, which is the same however often it is asked for.
    ledger: BTreeMap<OrderKey, (u32, bool)>,
    seed: u64,
    now_ms: u64,
}

impl Site {
    fn new(endpoints: usize, seed: u64) -> (Self, Run<Drill>) {
        let names: Vec<String> = (0..endpoints).map(|n| format!("e{n}")).collect();
        let targets = names.iter().map(|name| safe(name, Place::Bench)).collect();
        let run = plan(parse(RUNBOOK).unwrap(), targets, ask()).unwrap();
        let stored = serde_json::to_string(run.record()).unwrap();
        (Self { names, stored, ledger: BTreeMap::new(), seed, now_ms: 1_000 }, run)
    }

    /// The actuator: work of one key is done once.
    fn carry_out(&mut self, key: &OrderKey) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(key.to_string().as_bytes());
        let good = hasher.finalize().as_bytes()[0] > 50;
        self.ledger.entry(key.clone()).or_insert((0, good));
        let (times, _) = self.ledger.get_mut(key).unwrap();
        *times += u32::from(*times == 0);
    }

    fn resume(&mut self) -> Run<Drill> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let run =
            Run::<Drill>::resume(serde_json::from_str(&self.stored).unwrap(), all_facts(&names), &scope())
                .unwrap();
        for order in run.outstanding() {
            self.carry_out(&order.key);
        }
        run
    }

    /// What the world says next: the outcome of the first open order, or time.
    fn next(&self, run: &Run<Drill>) -> Happened {
        let Some(order) = run.outstanding().into_iter().next() else { return Happened::Tick };
        let key = order.key;
        let person = "ada".to_owned();
        match order.work {
            Work::Decide { options, .. } => {
                Happened::Chose { key, person, option: options[(self.seed % 2) as usize].clone() }
            }
            Work::Approve { binding, .. } => {
                let given = run.record().tasks.iter().find(|task| run.record().key_of(task) == key);
                let first = matches!(given.map(|task| &task.state), Some(TaskState::Working { approvals, .. }) if approvals.is_empty());
                let person = if first { "ada" } else { "bob" }.to_owned();
                Happened::Decided {
                    key,
                    person,
                    role: "lead".into(),
                    approves: true,
                    binding,
                    reason: String::new(),
                }
            }
            Work::Manual { .. } | Work::Notify { .. } => {
                Happened::Answered { key, person, done: true, note: String::new() }
            }
            _ => {
                let good = self.ledger.get(&key).is_some_and(|(_, good)| *good);
                done(key, good)
            }
        }
    }

    /// Run to the end. Each cut is a place to lose everything but what is durable: 0 before storing, 1 before the orders, 2 amid them.
    fn run(&mut self, mut run: Run<Drill>, cuts: &[(u8, u8)]) -> Run<Drill> {
        let mut left = cuts.iter();
        let mut until_cut = left.next().copied();
        let mut begun = false;
        for _ in 0..10_000 {
            if run.is_over() {
                return run;
            }
            let event = if begun { self.next(&run) } else { Happened::Begin };
            if event == Happened::Tick {
                self.now_ms = run.next_wake_ms().expect("it waits for nothing and is not over");
            }
            let cut = match &mut until_cut {
                Some((0, place)) => Some(*place % 3),
                Some((events, _)) => {
                    *events -= 1;
                    None
                }
                None => None,
            };
            if cut.is_some() {
                until_cut = left.next().copied();
            }
            let (next, effects) = step(&run, RunEvent::new(self.now_ms, event)).unwrap();
            if cut == Some(0) {
                run = self.resume();
                begun = run.record().begun_at_ms.is_some();
                continue;
            }
            begun = true;
            self.stored = serde_json::to_string(next.record()).unwrap();
            let half = effects.len() / 2;
            for (n, effect) in effects.into_iter().enumerate() {
                if cut == Some(1) || (cut == Some(2) && n >= half) {
                    break;
                }
                if let RunEffect::Start(order) = effect {
                    self.carry_out(&order.key);
                }
            }
            run = if cut.is_some() { self.resume() } else { next };
        }
        panic!("it never ends");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_run_that_lost_power_ends_as_one_that_did_not(
        endpoints in 1usize..6, seed in any::<u64>(), cuts in proptest::collection::vec((0u8..8, any::<u8>()), 0..50),
    ) {
        let (mut calm, run) = Site::new(endpoints, seed);
        let calm_end = calm.run(run, &[]);
        let (mut cut, run) = Site::new(endpoints, seed);
        let cut_end = cut.run(run, &cuts);
        prop_assert_eq!(calm_end.record(), cut_end.record());
        prop_assert!(cut.ledger.values().all(|(times, _)| *times == 1));
        prop_assert_eq!(calm.ledger.keys().collect::<Vec<_>>(), cut.ledger.keys().collect::<Vec<_>>());
    }
}
