//! Reports of runs that went well and badly: the model says what happened, the page shows it and loads nothing.

use super::{
    Circumstances, EvidenceRef, Observation, RunReport, Seal, Standing,
    around::{Around, Before, Inject, Item, RunPoint},
};
use crate::{
    ids::{RunId, TargetId},
    measure::{Actor, Measured, Observed, Phase, PhaseTiming},
    paper::Language,
    run::{
        Ask, CheckResult, Failure, Happened, Order, Outcome, Run, RunEffect, RunEvent, Verdict, Work, plan,
        step,
        tests::{facts, scope},
    },
    runbook::parse::parse,
    target::{Drill, DrillSafe, Mode, Place, Real, Target},
};

const BEGIN_MS: u64 = 1_795_352_531_000;

/// Run a shipped runbook to its report step; `bad` says which (verb, endpoint) fail. The report is taken while its step works.
fn report<M: Mode>(name: &str, targets: Vec<Target<M>>, bad: &[&str], about: Circumstances) -> RunReport {
    let shipped = crate::library().iter().find(|shipped| shipped.name == name).unwrap();
    let text = shipped.text.replace("max_failures: 0", "max_failures: 9");
    let ask = Ask { run: RunId::new("drl-1"), requester: "asker".into(), now_ms: BEGIN_MS };
    let mut run: Run<M> = plan(parse(&text).unwrap(), targets, ask).unwrap();
    let mut now_ms = BEGIN_MS;
    let mut events = vec![Happened::Begin];
    while let Some(event) = events.pop() {
        let (next, effects) = step(&run, RunEvent::new(now_ms, event)).unwrap();
        run = next;
        for effect in effects {
            let RunEffect::Start(order) = effect else { continue };
            if matches!(order.work, Work::Report { .. }) {
                return RunReport::of(run.record(), about);
            }
            now_ms += 60_000;
            events.insert(0, answer(order, bad, &run.record().binding));
        }
    }
    panic!("no report was ordered");
}

fn answer<M: Mode>(order: Order<M>, bad: &[&str], binding: &str) -> Happened {
    let key = order.key;
    let subject = format!("{} {}", key.step, key.target.as_ref().map_or("", TargetId::as_str));
    let good = !bad.contains(&subject.trim());
    match order.work {
        Work::Approve { .. } => Happened::Decided {
            key,
            person: "lena".into(),
            role: "drill-lead".into(),
            approves: true,
            binding: binding.into(),
            reason: String::new(),
        },
        Work::Manual { .. } | Work::Notify { .. } => {
            Happened::Answered { key, person: "olaf".into(), done: good, note: String::new() }
        }
        _ => {
            let check = CheckResult {
                check: format!("check of {}", key.step),
                expected: "<so>".into(),
                seen: if good { "<so>".into() } else { "otherwise".into() },
                passed: good,
            };
            let why =
                Failure { code: "broken".into(), what: "It broke.".into(), what_now: "Mend it.".into() };
            let outcome =
                if good { Outcome::Passed { what: "good".into() } } else { Outcome::Failed { why } };
            Happened::Done { key, outcome, checks: vec![check] }
        }
    }
}

fn drill_targets(names: &[&str], place: Place) -> Vec<Target<Drill>> {
    names.iter().map(|name| DrillSafe::resolve(facts(name, place), &scope()).unwrap().into()).collect()
}

fn timings(write_ms: u64, finished: bool) -> Vec<PhaseTiming> {
    let mut at_ms = BEGIN_MS;
    let mut phase = |phase: Phase, took_ms, actor| {
        let from_ms = at_ms;
        at_ms += took_ms;
        PhaseTiming { phase, label: phase.label().into(), from_ms, to_ms: at_ms, actor }
    };
    let mut timings = vec![
        phase(Phase::Declare, 0, Actor::Human),
        phase(Phase::Trigger, 1_000, Actor::Machine),
        phase(Phase::Power, 20_000, Actor::Firmware),
        phase(Phase::Write, write_ms, Actor::Machine),
    ];
    if finished {
        timings.extend([
            phase(Phase::Attest, 2_000, Actor::Machine),
            phase(Phase::Release, 1_000, Actor::Machine),
        ]);
    }
    timings
}

fn about(observed: &[(&str, u64, bool)]) -> Circumstances {
    let observation = |(name, write_ms, finished): &(&str, u64, bool)| Observation {
        target: TargetId::new(*name),
        job: Some(format!("job-of-{name}")),
        image_name: "hmi-panel version 7".into(),
        timings: timings(*write_ms, *finished),
        written_bytes: Some(1 << 31),
        config_age_ms: None,
    };
    Circumstances {
        site: "Werk <2>".into(),
        appliance: "groundstate 0.1.0".into(),
        written_at_ms: BEGIN_MS + 600_000,
        endpoints: observed.iter().map(observation).collect(),
        evidence: vec![EvidenceRef {
            what: "the job".into(),
            seq_first: 3,
            seq_last: 9,
            hash: "ab12".repeat(16),
        }],
        seal: Seal {
            seq: 12,
            hash: "cd34".repeat(16),
            checkpoint: "groundstate.evidence/ef56\n12\nzTQ=\n".into(),
            key_ed25519: "ef56".repeat(16),
        },
        ..Circumstances::default()
    }
}

#[test]
fn a_good_drill_meets_its_objectives_and_asks_for_nothing() {
    let report = report(
        "quarterly-hmi-drill",
        drill_targets(&["a"], Place::Bench),
        &[],
        about(&[("a", 100_000, true)]),
    );
    assert_eq!(report.verdict, Verdict::Succeeded);
    let standings: Vec<(Standing, usize)> = report.objectives.iter().map(|o| (o.standing, o.n)).collect();
    // The approval took a minute of two, so even the run as a whole is within its aim.
    assert_eq!(
        standings,
        [(Standing::Met, 1), (Standing::Met, 1), (Standing::Met, 1), (Standing::NotMeasured, 0)]
    );
    assert_eq!(report.objectives[1].actual_ms, Some(124_000));
    assert!(report.cleanup.proven && report.failed_checks.is_empty() && report.deviations.is_empty());
    assert_eq!(report.actions, []);
    assert!(report.people.iter().any(|person| person.person == "lena" && person.part.contains("drill-lead")));
    assert_eq!((report.claims[0].percent, report.claims[0].missing_for_90), (Some(5), 28));
}

#[test]
fn a_failed_endpoint_is_missed_not_unmeasured_and_becomes_an_item() {
    let observed = about(&[("a", 100_000, true), ("b", 100_000, false)]);
    let report =
        report("quarterly-hmi-drill", drill_targets(&["a", "b"], Place::Bench), &["prove b"], observed);
    assert_eq!(report.verdict, Verdict::Partly);
    assert_eq!(report.objectives[1].standing, Standing::Missed, "one of two never got there");
    assert_eq!((report.objectives[1].n, report.endpoints[1].state.as_str()), (1, "failed"));
    assert_eq!(report.failed_checks.len(), 1);
    assert!(
        report.actions.iter().any(|action| action.what_now == "Mend it." && action.from.contains("on b"))
    );
    assert_eq!(report.claims[0].percent, None, "after a miss nothing may be claimed");
    assert!(report.html().contains("nothing may be claimed"));
}

#[test]
fn a_failed_endpoint_has_no_recovery_time_even_when_its_last_phase_has_an_end() {
    let observed = about(&[("a", 100_000, true)]);
    let report = report("quarterly-hmi-drill", drill_targets(&["a"], Place::Bench), &["prove a"], observed);
    assert_eq!(report.verdict, Verdict::Failed);
    assert_eq!(
        (report.endpoints[0].measured.service_rto_ms, report.endpoints[0].measured.machine_rto_ms),
        (None, None)
    );
    assert_eq!(
        (report.objectives[1].standing, report.objectives[2].standing),
        (Standing::Missed, Standing::Missed)
    );
    assert!(report.html().contains("not reached"));
}

#[test]
fn unproven_cleanup_is_never_a_success() {
    let report = report(
        "quarterly-hmi-drill",
        drill_targets(&["a"], Place::Bench),
        &["tidy"],
        about(&[("a", 1, true)]),
    );
    assert_eq!(report.verdict, Verdict::Partly);
    assert!(!report.cleanup.proven);
    assert!(report.actions.iter().any(|action| action.from == "clean-up"));
    assert!(report.html().contains("Do not close this run"));
}

#[test]
fn too_slow_is_missed_and_becomes_an_item() {
    let report = report(
        "quarterly-hmi-drill",
        drill_targets(&["a"], Place::Bench),
        &[],
        about(&[("a", 3_600_000, true)]),
    );
    assert_eq!(report.objectives[1].standing, Standing::Missed);
    assert!(
        report
            .actions
            .iter()
            .any(|action| action.what.contains("1 h 00 min") && action.what.contains("15 min 00 s"))
    );
}

#[test]
fn earlier_runs_of_the_class_stand_beside_and_virtual_ones_do_not() {
    let mut circumstances = about(&[("a", 100_000, true)]);
    let earlier = |place| Observed {
        class: "ipc".into(),
        place,
        proven: true,
        measured: crate::measure::measure(&timings(200_000, true)),
    };
    circumstances.earlier = vec![earlier(Place::Bench); 28];
    circumstances.earlier.extend(vec![
        Observed {
            proven: false,
            measured: Measured::default(),
            ..earlier(Place::Virtual)
        };
        5
    ]);
    let report = report("quarterly-hmi-drill", drill_targets(&["a"], Place::Bench), &[], circumstances);
    let claim = &report.claims[0];
    assert_eq!((claim.summary.n, claim.percent, claim.missing_for_90), (29, Some(90), 0));
    assert_eq!(claim.summary.p95_ms, Some(224_000));
}

#[test]
fn after_a_miss_the_count_starts_anew_and_a_slow_phase_is_told() {
    let run = |proven| Observed {
        class: "ipc".into(),
        place: Place::Bench,
        proven,
        measured: crate::measure::measure(&timings(20_000, true)),
    };
    let mut circumstances = about(&[("a", 100_000, true)]);
    circumstances.earlier = [vec![run(true); 9], vec![run(false)], vec![run(true); 6]].concat();
    let report = report("quarterly-hmi-drill", drill_targets(&["a"], Place::Bench), &[], circumstances);
    assert_eq!(report.claims[0].missing_for_90, 29 - 7, "six and this one");
    assert!(
        report.deviations.iter().any(|said| said.contains("longer than in each of 15 earlier runs")),
        "{:?}",
        report.deviations
    );
    let csv = report.csv();
    assert!(
        csv.lines().count() == report.steps.len() + 1 && csv.contains(",image,reimage,a,passed,"),
        "{csv}"
    );
}

#[test]
fn the_page_is_framed_self_contained_and_escaped() {
    let html = report(
        "quarterly-hmi-drill",
        drill_targets(&["a"], Place::Virtual),
        &[],
        about(&[("a", 300_000, true)]),
    )
    .html();
    assert!(html.contains("<b>DRILL</b>") && html.contains("class=\"edge left\""));
    for outside in ["<script", "src=", "href=", "url(http", "@import", "<link", "<img"] {
        assert!(!html.contains(outside), "{outside}");
    }
    let links: Vec<&str> =
        html.match_indices("http").map(|(at, _)| &html[at..(at + 26).min(html.len())]).collect();
    assert!(
        links
            .iter()
            .all(|link| link.starts_with("http://www.w3.org/2000/svg") || link.starts_with("http-equiv")),
        "{links:?}"
    );
    assert!(html.contains("Werk &lt;2&gt;") && html.contains("&lt;so&gt;") && !html.contains("<so>"));
    for wanted in [
        "does not count as a drill on hardware",
        "Not assessed here",
        "groundstate evidence verify",
        "Signature",
        "<svg",
        "n = 1",
        "objective 15 min",
    ] {
        assert!(html.contains(wanted), "{wanted}");
    }
    for never in ["compliant", "certified", "%NaN", "NaN"] {
        assert!(!html.contains(never), "{never}");
    }
}

#[test]
fn a_real_run_has_no_frame() {
    let targets = vec![Target::<Real>::real(facts("a", Place::Production))];
    let html = real_report(
        crate::library::shipped("single-hmi-failed").unwrap().text,
        targets,
        about(&[("a", 100_000, true)]),
    )
    .html();
    assert!(
        html.contains("Recovery report") && !html.contains("<b>DRILL</b>") && !html.contains("class=\"edge")
    );
}

fn real_report(text: &str, targets: Vec<Target<Real>>, about: Circumstances) -> RunReport {
    let ask = Ask { run: RunId::new("run-1"), requester: "asker".into(), now_ms: BEGIN_MS };
    RunReport::of(plan(parse(text).unwrap(), targets, ask).unwrap().record(), about)
}

#[test]
fn the_json_is_the_same_model() {
    let report =
        report("single-hmi-failed", drill_targets(&["a"], Place::Bench), &[], about(&[("a", 100_000, true)]));
    assert_eq!(report.verdict, Verdict::Succeeded);
    assert_eq!(serde_json::from_str::<RunReport>(&report.json().unwrap()).unwrap(), report);
}

#[test]
fn a_run_that_never_began_has_a_report_too() {
    let html = real_report(
        crate::library::shipped("single-hmi-failed").unwrap().text,
        vec![Target::<Real>::real(facts("a", Place::Production))],
        Circumstances::default(),
    )
    .html();
    assert!(html.contains("never") && html.contains("pending"));
}

#[test]
fn the_pdf_says_what_the_page_says() {
    let mut circumstances = about(&[("a", 100_000, true), ("b", 100_000, false)]);
    let run = |proven| Observed {
        class: "ipc".into(),
        place: Place::Bench,
        proven,
        measured: crate::measure::measure(&timings(20_000, true)),
    };
    circumstances.earlier = vec![run(true), run(false), run(true)];
    let report =
        report("quarterly-hmi-drill", drill_targets(&["a", "b"], Place::Bench), &["prove b"], circumstances);
    let took: Vec<(Option<u64>, bool)> =
        report.trends[0].runs.iter().map(|run| (run.took_ms, run.now)).collect();
    assert_eq!(
        took,
        [(Some(44_000), false), (None, false), (Some(44_000), false), (Some(124_000), true), (None, true)]
    );
    let pdf = report.pdf().unwrap();
    assert_eq!(pdf, report.pdf().unwrap());
    let text = crate::paper::tests::text_of(&pdf);
    for wanted in [
        "DRILL",
        "Werk <2>",
        "nothing may be claimed",
        "The objective of 15 min 00 s lies far above this picture.",
        "Not assessed here",
        "Mend it.",
        "It is not a certificate.",
        "Signature",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    for row in &report.not_assessed {
        assert!(text.contains(row.what.split(' ').next().unwrap()), "{}", row.what);
    }
}

/// A drill in which the image failed on one of two endpoints, with what other runs say.
fn with_others(language: Language) -> RunReport {
    let item = |id: &str, due_ms, closed| Item {
        id: id.into(),
        class: "ipc".into(),
        subject: "step image".into(),
        what: "It broke.".into(),
        opened_by: "drl-0".into(),
        opened_ms: BEGIN_MS - 86_400_000,
        due_ms,
        closed,
    };
    let point = |n: u64, took_ms| RunPoint {
        run: format!("drl-{n}"),
        ended_ms: BEGIN_MS - n * 86_400_000,
        took_ms,
        images_changed: n == 2,
    };
    let inject = |kind: &str, met, ended_ms| Inject {
        kind: kind.into(),
        endpoint: "b".into(),
        by: "the runbook".into(),
        from_ms: BEGIN_MS,
        ended_ms,
        met,
    };
    let around = Around {
        injects: vec![
            inject("pcr-mismatch", 2, Some(BEGIN_MS + 120_000)),
            inject("control-plane-down", 0, None),
        ],
        items: vec![
            item("late", BEGIN_MS, None),
            item("open", BEGIN_MS * 2, None),
            item("done", BEGIN_MS, Some((BEGIN_MS, "drl-1".into()))),
        ],
        before: Some(Before {
            run: "drl-0".into(),
            ended_ms: BEGIN_MS - 86_400_000,
            same_runbook: true,
            same_images: false,
            run_ms: (Some(100_000), Some(150_000)),
            steps: vec![
                ("image".into(), Some(50_000), Some(100_000)),
                ("prove".into(), Some(10_000), None),
                ("ready".into(), Some(0), Some(5)),
            ],
        }),
        line: vec![point(3, Some(90_000)), point(2, None), point(1, Some(150_000))],
    };
    let about = Circumstances { language, around, ..about(&[("a", 100_000, true), ("b", 100_000, false)]) };
    report("quarterly-hmi-drill", drill_targets(&["a", "b"], Place::Bench), &["image b"], about)
}

#[test]
fn a_report_shows_the_items_on_record_the_run_before_and_whose_duty_it_is() {
    let report = with_others(Language::En);
    assert!(report.actions.iter().any(|action| action.duty == "appliance"), "{:?}", report.actions);
    assert!(report.actions.iter().any(|action| action.duty == "owner"), "{:?}", report.actions);
    let text = crate::paper::tests::text_of(&report.pdf().unwrap());
    for wanted in [
        "Items on record",
        "What went wrong on purpose",
        "met 2 times",
        "never met",
        "goes on",
        "overdue",
        "closed",
        "Compared with the run before",
        "+50 %",
        "+100 %",
        "Duty",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let html = report.html();
    assert_eq!(html.matches("not comparable").count(), 2, "a step that did not pass, and one of no length");
    assert!(html.contains("drl-3: 1 min 30 s"), "the line of runs is drawn");
    let alone = RunReport { around: Around::default(), ..report };
    assert!(!alone.html().contains("Compared with") && !alone.html().contains("Items on record"));
}

#[test]
fn in_german_none_of_its_own_sentences_is_english() {
    let report = with_others(Language::De);
    let page = report.html();
    for wanted in [
        "lang=\"de\"",
        "<b>ÜBUNG</b>",
        "Übungsbericht",
        "Quartalsübung",
        "1 von 2 Endgeräten",
        "Verglichen mit dem Lauf davor",
        "2-mal getroffen",
        "überfällig",
        "Betreiber",
        "Wie sich dieser Bericht prüfen lässt",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    for english in
        ["DRILL", "Drill report", "After-action", "Objectives", "Not assessed", "The slowest", "With 95 %"]
    {
        assert!(!page.contains(english), "{english}");
    }
    // The model for machines is the same but for its sentences.
    let (german, english) = (report, with_others(Language::En));
    assert_eq!(german.steps.len(), english.steps.len());
    assert_eq!(german.csv().lines().count(), english.csv().lines().count());
    let states = |report: &RunReport| report.steps.iter().map(|step| step.state.clone()).collect::<Vec<_>>();
    assert_eq!(states(&german), states(&english));
    assert_eq!(serde_json::from_str::<RunReport>(&german.json().unwrap()).unwrap(), german);
}
