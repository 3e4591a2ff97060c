//! Print the report of a made-up drill, to look at the page: `cargo run -p runbooks --example sample_report > drill.html`. With `--failed` the restored
//! system does not prove itself; with `--pdf` it is a PDF; with `--de` it is in German.
//!
//! It is also the shortest way to see how a run is driven: plan, step, carry out, feed the outcome back.

use std::{cell::RefCell, collections::BTreeSet, io::Write as _};

use runbooks::{
    Actuator, Ask, CannotStart, CheckResult, Drill, DrillSafe, DrillScope, EndpointFacts, Failure, Happened,
    Order, OrderKey, Outcome, Place, RunEvent, RunId, TargetId, Work, library,
    measure::{self, Actor, Measured, Observed, Phase, PhaseTiming},
    paper::Language,
    parse, plan,
    report::{
        Circumstances, EvidenceRef, Observation, RunReport, Seal,
        around::{Around, Before, Inject, Item, RunPoint},
    },
    step,
};

/// An appliance that does at once, and only in words, what it is told.
struct MadeUp {
    fails: bool,
    orders: RefCell<Vec<Order<Drill>>>,
}

impl Actuator<Drill> for MadeUp {
    fn start(&self, order: Order<Drill>) -> Result<(), CannotStart> {
        self.orders.borrow_mut().push(order);
        Ok(())
    }

    fn stop(&self, _: &OrderKey) {}
}

impl MadeUp {
    /// How long the order took in milliseconds, how it went and what was looked at.
    fn outcome(&self, work: &Work<Drill>) -> (u64, Outcome, Vec<CheckResult>) {
        let check = |check: &str, expected: &str, seen: &str, passed| CheckResult {
            check: check.into(),
            expected: expected.into(),
            seen: seen.into(),
            passed,
        };
        let passed = |what: &str| Outcome::Passed { what: what.into() };
        match work {
            Work::Check { set, .. } => {
                let checks = set.iter().map(|item| check(item.word(), "holds", "holds", true)).collect();
                (1_240, passed("every fact holds"), checks)
            }
            Work::Reimage { .. } => (254_000, passed("written, read back and booted"), Vec::new()),
            Work::Verify { .. } if self.fails => {
                let why = Failure {
                    code: "golden-not-proven".into(),
                    what: "The restored system is not what the golden image predicts.".into(),
                    what_now:
                        "Treat the endpoint as compromised: keep it isolated and look at the named digest."
                            .into(),
                };
                let seen = "PCR 4: 9d41…e07b instead of 51c2…0aa4";
                (
                    2_100,
                    Outcome::Failed { why },
                    vec![check("quote", "PCR 4, 8, 9 as predicted", seen, false)],
                )
            }
            Work::Verify { .. } => {
                let checks = vec![
                    check("read-back", "every written block", "524288 blocks, 0 differ", true),
                    check("quote", "PCR 4, 8, 9 as predicted", "as predicted, fresh challenge", true),
                    check("identity", "certificate for a TPM-held key", "issued, old one revoked", true),
                ];
                (2_100, passed("the restored system is the golden image"), checks)
            }
            Work::Report { .. }
            | Work::Approve { .. }
            | Work::Notify { .. }
            | Work::Manual { .. }
            | Work::Decide { .. }
            | Work::Enrol { .. }
            | Work::Release { .. } => (80, passed("done"), Vec::new()),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let fails = std::env::args().any(|argument| argument == "--failed");
    let shipped =
        library().iter().find(|shipped| shipped.name == "quarterly-hmi-drill").ok_or("not shipped")?;
    let facts = EndpointFacts {
        target: TargetId::new("press-01"),
        kind: "hmi".into(),
        class: "ipc-477e".into(),
        zone: "drill".into(),
        place: Place::Virtual,
        labels: BTreeSet::from(["drill-safe".to_owned()]),
        essential_function: false,
        image: "5f0c0de4a1b85c3f7e0b3b6cf1d2a9e84c7715d0e93f4a2b6d8c1e5f7a9b3c2d".into(),
    };
    let scope = DrillScope { zones: BTreeSet::from(["drill".to_owned()]) };
    let target = DrillSafe::resolve(facts, &scope)?.into();
    let mut now_ms = 1_795_352_531_000;
    let ask = Ask { run: RunId::new("drl-2026-0007"), requester: "m.keller".into(), now_ms };
    let mut run = plan(parse(shipped.text)?, vec![target], ask)?;
    let appliance = MadeUp { fails, orders: RefCell::default() };
    let mut events = vec![Happened::Begin];
    while let Some(happened) = events.pop() {
        let (next, effects) = step(&run, RunEvent::new(now_ms, happened))?;
        run = next;
        events.extend(effects.into_iter().filter_map(|effect| effect.carry_out(&appliance)));
        for order in appliance.orders.take() {
            if matches!(order.work, Work::Report { .. }) {
                let report = RunReport::of(run.record(), circumstances(now_ms, fails));
                if std::env::args().any(|argument| argument == "--pdf") {
                    std::io::stdout().write_all(&report.pdf()?)?;
                } else {
                    println!("{}", report.html());
                }
            }
            let (took_ms, outcome, checks) = appliance.outcome(&order.work);
            now_ms += took_ms;
            events.push(Happened::Done { key: order.key, outcome, checks });
        }
    }
    Ok(())
}

fn circumstances(written_at_ms: u64, fails: bool) -> Circumstances {
    let mut at_ms = 1_795_352_532_240;
    let mut phase = |phase, seconds: f64, actor, label: &str| {
        let from_ms = at_ms;
        at_ms += (seconds * 1000.0) as u64;
        PhaseTiming { phase, label: label.into(), from_ms, to_ms: at_ms, actor }
    };
    let mut timings = vec![
        phase(Phase::Declare, 0.04, Actor::Machine, "asked for"),
        phase(Phase::Approve, 0.1, Actor::Human, "approved"),
        phase(Phase::Trigger, 0.3, Actor::Machine, "boot ticket issued"),
        phase(Phase::Power, 21.4, Actor::Firmware, "powering into network boot"),
        phase(Phase::Loader, 17.9, Actor::Firmware, "waiting for the recovery system"),
        phase(Phase::Identify, 3.2, Actor::Machine, "proving the hardware"),
        phase(Phase::Write, 96.0, Actor::Machine, "writing the golden image"),
        phase(Phase::ReadBack, 31.5, Actor::Machine, "reading back"),
        phase(Phase::Reboot, 1.1, Actor::Machine, "ticket voided, rebooting"),
        phase(Phase::FirstBoot, 71.0, Actor::Firmware, "waiting for the restored system"),
    ];
    if !fails {
        timings.extend([
            phase(Phase::Attest, 2.3, Actor::Machine, "verifying the restored system"),
            phase(Phase::Enrol, 6.1, Actor::Machine, "enrolling"),
            phase(Phase::Release, 0.4, Actor::Machine, "lifting quarantine"),
        ]);
    }
    let hash = |seed: &str| seed.repeat(16);
    Circumstances {
        site: "Werk 2, packing".into(),
        appliance: "groundstate 0.1.0".into(),
        written_at_ms,
        endpoints: vec![Observation {
            target: TargetId::new("press-01"),
            job: Some("0193a5c2-7d1e-7c3a-9b44-1f0a6d2e8c55".into()),
            image_name: "hmi-panel version 7".into(),
            timings,
            written_bytes: Some(2_147_483_648),
            config_age_ms: None,
        }],
        evidence: vec![
            EvidenceRef {
                what: "orders and decisions of the run".into(),
                seq_first: 1204,
                seq_last: 1211,
                hash: hash("4be1"),
            },
            EvidenceRef {
                what: "recovery of press-01".into(),
                seq_first: 1212,
                seq_last: 1247,
                hash: hash("a97c"),
            },
        ],
        seal: Seal { seq: 1249, hash: hash("77d0"), key_ed25519: hash("1c5e"), checkpoint: String::new() },
        earlier: earlier(),
        language: if std::env::args().any(|argument| argument == "--de") {
            Language::De
        } else {
            Language::En
        },
        around: around(written_at_ms),
    }
}

/// What other runs say.
fn around(now_ms: u64) -> Around {
    let day_ms = 86_400_000;
    let item = |id: &str, subject: &str, what: &str, closed| Item {
        id: id.into(),
        class: "ipc-477e (virtual)".into(),
        subject: subject.into(),
        what: what.into(),
        opened_by: "drl-2026-0004".into(),
        opened_ms: now_ms - 60 * day_ms,
        due_ms: now_ms + 30 * day_ms,
        closed,
    };
    let point = |n: u64, took_ms| RunPoint {
        run: format!("drl-2026-{n:04}"),
        ended_ms: now_ms - (7 - n) * 30 * day_ms,
        took_ms,
        images_changed: n == 3,
    };
    Around {
        injects: vec![Inject {
            kind: "pcr-mismatch".into(),
            endpoint: "press-01".into(),
            by: "the runbook".into(),
            from_ms: now_ms - 300_000,
            ended_ms: Some(now_ms - 180_000),
            met: 2,
        }],
        items: vec![
            item("7d1e9b44c0aa", "step prove", "The restored system did not prove itself in time.", None),
            item(
                "0193a5c27d1e",
                "RTO of the run",
                "It took 1320 s and should take 900 s.",
                Some((now_ms, "drl-2026-0007".into())),
            ),
        ],
        before: Some(Before {
            run: "drl-2026-0006".into(),
            ended_ms: now_ms - 30 * day_ms,
            same_runbook: true,
            same_images: false,
            run_ms: (Some(238_000), Some(261_000)),
            steps: vec![
                ("ready".into(), Some(1_190), Some(1_240)),
                ("image".into(), Some(201_000), Some(254_000)),
                ("prove".into(), Some(2_350), Some(2_100)),
            ],
        }),
        line: vec![
            point(1, Some(298_000)),
            point(2, Some(281_000)),
            point(3, Some(262_000)),
            point(4, None),
            point(5, Some(240_000)),
            point(6, Some(238_000)),
            point(7, Some(261_000)),
        ],
    }
}

/// Nine earlier drills; the fourth did not come back.
fn earlier() -> Vec<Observed> {
    let run = |at: u64| {
        let phase = |phase, from_ms, to_ms| PhaseTiming {
            phase,
            label: String::new(),
            from_ms,
            to_ms,
            actor: Actor::Machine,
        };
        let took_ms = 230_000 + at * at * 1_900;
        let timings = [phase(Phase::Declare, 0, 0), phase(Phase::Release, 0, took_ms)];
        let proven = at != 3;
        let measured = if proven { measure::measure(&timings) } else { Measured::default() };
        Observed { class: "ipc-477e".into(), place: Place::Virtual, proven, measured }
    };
    (0..9).map(run).collect()
}
