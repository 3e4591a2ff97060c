//! The report as blocks: lays the model out, decides nothing.

use super::{Claim, EndpointResult, RunReport, Standing, trend::trend, waterfall::waterfall, words};
use crate::{
    paper::{Block, Language, Paper, Style, Text, Tone, columns},
    run::{CheckResult, Verdict},
    runbook::ModeName,
};

pub(super) fn paper(report: &RunReport) -> Paper {
    let rehearsal = report.mode != ModeName::Real;
    let mut blocks = vec![header(report), outcome(report)];
    blocks.extend(scope(report));
    blocks.extend(objectives(report));
    blocks.extend(actions(report));
    blocks.push(Block::Chapter("Result per endpoint".into()));
    blocks.extend(report.endpoints.iter().flat_map(one_endpoint));
    blocks.extend(steps(report));
    blocks.extend(checks_and_cleanup(report));
    blocks.extend(not_assessed(report));
    blocks.extend(timeline(report));
    blocks.extend(evidence(report));
    blocks.push(signing());
    Paper {
        language: Language::En,
        title: format!("{}: {} ({})", title(report), report.plan.title, report.run),
        foot: format!(
            "Run {}, {}, written {}. This report states what was measured. It is not a certificate.",
            report.run,
            report.site,
            words::moment(report.written_at_ms)
        ),
        frame: rehearsal.then(|| "DRILL".to_owned()),
        written_at_ms: report.written_at_ms,
        blocks,
    }
}

fn title(report: &RunReport) -> &'static str {
    if report.mode == ModeName::Real { "Recovery report" } else { "Drill report" }
}

fn header(report: &RunReport) -> Block {
    let mut facts: Vec<(String, Text)> = vec![
        ("Run".into(), format!("{}, by {}", report.run, report.appliance).into()),
        (
            "Runbook".into(),
            format!(
                "{} version {}, answered for by {}",
                report.plan.runbook, report.plan.version, report.plan.owner
            )
            .into(),
        ),
        ("Began".into(), report.begun_at_ms.map_or("never".into(), words::moment).into()),
        ("Report written".into(), words::moment(report.written_at_ms).into()),
    ];
    facts.extend(report.people.iter().map(|person| {
        let said = format!("{} {}, {}", person.person, person.part, words::moment(person.at_ms));
        ("Person".to_owned(), Text::prose(&said))
    }));
    Block::Head {
        kind: format!("{} · mode {} · {}", title(report), report.mode.word(), report.site),
        title: report.plan.title.clone(),
        lead: (&report.plan.purpose).into(),
        facts,
    }
}

fn outcome(report: &RunReport) -> Block {
    let (tone, word) = match report.verdict {
        Verdict::Succeeded => (Tone::Good, "Succeeded"),
        Verdict::Partly => (Tone::Partly, "In part"),
        Verdict::Failed => (Tone::Bad, "Failed"),
        Verdict::Aborted => (Tone::Bad, "Stopped"),
    };
    let said = report.summary.iter().map(|sentence| Text::prose(sentence)).collect();
    Block::Outcome { tone, word: word.into(), said }
}

fn standing(standing: Standing) -> Text {
    match standing {
        Standing::Met => Text::word(Tone::Good, "met"),
        Standing::Missed => Text::word(Tone::Bad, "missed"),
        Standing::NoTarget => Text::word(Tone::Plain, "no target"),
        Standing::NotMeasured => Text::word(Tone::Plain, "not measured"),
    }
}

fn time(ms: Option<u64>) -> Text {
    ms.map_or("–".to_owned(), words::length).into()
}

fn objectives(report: &RunReport) -> Vec<Block> {
    let row = |objective: &super::Objective| {
        vec![
            (&objective.name).into(),
            Text::of(Style::Note, objective.meaning.as_str()),
            time(objective.target_ms),
            time(objective.actual_ms),
            objective.n.to_string().into(),
            standing(objective.standing),
        ]
    };
    let mut blocks = vec![
        Block::Chapter("Objectives".into()),
        Block::Table {
            columns: columns(["Objective", "Measured", "#Target", "#Actual", "#n", ""]),
            rows: report.objectives.iter().map(row).collect(),
        },
    ];
    blocks.extend(report.claims.iter().map(claim_text));
    blocks.extend(report.trends.iter().map(|one| Block::Figure(trend(one))));
    blocks
}

fn claim_text(claim: &Claim) -> Block {
    let summary = &claim.summary;
    let mut said = format!(
        "n = {}, median {}, slowest {}",
        summary.n,
        words::length(summary.median_ms),
        words::length(summary.max_ms)
    );
    said += &match summary.p95_ms {
        Some(p95_ms) => format!(", 95th percentile {}. ", words::length(p95_ms)),
        None => " (no percentile below 20 runs). ".to_owned(),
    };
    said += &match claim.percent {
        Some(percent) => {
            let more = match claim.missing_for_90 {
                0 => String::new(),
                n => format!("; {} would make that 90 %", words::count(n as usize, "more clean run")),
            };
            format!(
                "With 95 % confidence at least {percent} % of such recoveries finish within the slowest one seen{more}."
            )
        }
        None => {
            "A run of this class did not finish, so nothing may be claimed; 29 clean runs in a row would allow 90 %."
                .to_owned()
        }
    };
    Block::Note(Text::of(Style::Bold, format!("What may be claimed for {}: ", claim.of)).and(said))
}

fn actions(report: &RunReport) -> Vec<Block> {
    let mut blocks = vec![Block::Chapter("After-action items".into())];
    if report.actions.is_empty() {
        let none = "None: every step passed within its target and every objective that was measured was met.";
        blocks.push(Block::Said(none.into()));
        return blocks;
    }
    let row = |action: &super::Action| {
        vec![
            (&action.id).into(),
            Text::prose(&action.from),
            Text::prose(&action.what),
            (&action.what_now).into(),
            Text::default(),
        ]
    };
    blocks.push(Block::Table {
        columns: columns(["No.", "From", "What happened", "What to do", "Owner, due date"]),
        rows: report.actions.iter().map(row).collect(),
    });
    blocks.push(Block::Note("An item is closed by a later run in which the same step passes.".into()));
    blocks
}

fn one_endpoint(endpoint: &EndpointResult) -> Vec<Block> {
    let planned = &endpoint.planned;
    let state = Text::from(format!("{}: ", planned.target));
    let mut blocks =
        vec![Block::Part(state.then(Style::Word(tone(&endpoint.state)), endpoint.state.as_str()))];
    if let Some(failure) = &endpoint.failure {
        let said = Text::of(Style::Bold, failure.what.as_str()).and(format!(" {} ", failure.what_now));
        blocks.push(Block::Said(said.then(Style::Code, format!("[{}]", failure.code))));
    }
    let what = format!("{}, {}, zone {}", planned.class, planned.place.label(), planned.zone);
    let mut facts: Vec<(String, Text)> = vec![("Class, place, zone".into(), what.into())];
    if let Some(observed) = &endpoint.observed {
        facts.push(("Golden image".into(), (&observed.image_name).into()));
        facts.extend(observed.job.iter().map(|job| ("Recovery job".into(), Text::code(job.as_str()))));
        facts.extend(observed.written_bytes.map(|bytes| ("Written".into(), words::size(bytes).into())));
    }
    let reached = |ms: Option<u64>| ms.map_or("not reached".into(), words::length);
    let (service, machine) =
        (reached(endpoint.measured.service_rto_ms), reached(endpoint.measured.machine_rto_ms));
    facts.push(("RTO".into(), format!("service {service}, machine {machine}").into()));
    blocks.push(Block::Facts(facts));
    let observed = endpoint.observed.iter();
    blocks.extend(observed.filter_map(|observed| {
        waterfall(planned.target.as_str(), &observed.timings, endpoint.target_ms).map(Block::Figure)
    }));
    blocks.extend(checks(&endpoint.checks));
    blocks
}

fn tone(state: &str) -> Tone {
    match state {
        "proven" | "passed" => Tone::Good,
        "failed" => Tone::Bad,
        "held" | "working" => Tone::Partly,
        _ => Tone::Plain,
    }
}

fn checks(checks: &[CheckResult]) -> Option<Block> {
    let row = |check: &CheckResult| {
        let passed =
            if check.passed { Text::word(Tone::Good, "passed") } else { Text::word(Tone::Bad, "failed") };
        vec![(&check.check).into(), (&check.expected).into(), (&check.seen).into(), passed]
    };
    (!checks.is_empty()).then(|| Block::Table {
        columns: columns(["Check", "Expected", "Seen", ""]),
        rows: checks.iter().map(row).collect(),
    })
}

fn steps(report: &RunReport) -> Vec<Block> {
    let row = |step: &super::StepResult| {
        let mut what = Text::prose(&step.what);
        if step.attempts > 1 {
            what = what.and(format!(" (attempt {})", step.attempts));
        }
        vec![
            Text::of(Style::Bold, format!("{}\n", step.step)).then(Style::Note, step.verb.as_str()),
            step.target.as_ref().map_or_else(Text::default, |target| target.as_str().into()),
            Text::word(tone(&step.state), step.state.as_str()),
            what,
            step.from_ms.map_or("–".into(), words::clock).into(),
            time(step.took_ms),
            time(step.target_ms),
        ]
    };
    let mut blocks = vec![
        Block::Chapter("Steps".into()),
        Block::Table {
            columns: columns(["Step", "Endpoint", "", "What", "#Began", "#Took", "#Target"]),
            rows: report.steps.iter().map(row).collect(),
        },
    ];
    if !report.deviations.is_empty() {
        blocks.push(Block::Part("Where the run left its plan".into()));
        let points = report.deviations.iter().map(|said| Text::prose(said)).collect();
        blocks.push(Block::Points { numbered: false, points });
    }
    blocks
}

fn checks_and_cleanup(report: &RunReport) -> Vec<Block> {
    let mut blocks = vec![Block::Chapter("Checks that failed".into())];
    let row = |failed: &super::FailedCheck| {
        vec![
            failed.step.to_string().into(),
            failed.target.as_ref().map_or_else(Text::default, |target| target.as_str().into()),
            (&failed.check.check).into(),
            (&failed.check.expected).into(),
            (&failed.check.seen).into(),
        ]
    };
    if report.failed_checks.is_empty() {
        blocks.push(Block::Said("None.".into()));
    } else {
        blocks.push(Block::Table {
            columns: columns(["Step", "Endpoint", "Check", "Expected", "Seen"]),
            rows: report.failed_checks.iter().map(row).collect(),
        });
    }
    blocks.push(Block::Chapter("Proof of clean-up".into()));
    blocks.push(Block::Said(if report.cleanup.proven {
        Text::word(Tone::Good, "Proven.").and(" Nothing of the run was left behind:")
    } else {
        Text::word(Tone::Bad, "Not proven.").and(" Do not close this run before it is:")
    }));
    blocks.extend(checks(&report.cleanup.checks));
    blocks
}

fn scope(report: &RunReport) -> Vec<Block> {
    let row = |target: &crate::run::FrozenTarget| {
        vec![
            target.target.as_str().into(),
            (&target.class).into(),
            target.place.label().into(),
            (&target.zone).into(),
            Text::code(target.image.as_str()),
        ]
    };
    let mut blocks = vec![
        Block::Chapter("Scope, as planned and approved".into()),
        Block::Table {
            columns: columns(["Endpoint", "Class", "Place", "Zone", "Golden image (digest)"]),
            rows: report.scope.iter().map(row).collect(),
        },
        Block::Facts(vec![
            ("Runbook's text".into(), Text::code(format!("blake3 {}", report.plan.digest))),
            ("The plan as a whole".into(), Text::code(format!("blake3 {}", report.plan.binding))),
        ]),
    ];
    if report.mode != ModeName::Real {
        blocks.push(Block::Note(
            "By the appliance's inventory every endpoint above was drill-safe in label, place, zone and function when the run was planned. \
             The program makes no permit to write for any other endpoint in a drill; whether the inventory is right is for its owner."
                .into(),
        ));
    }
    blocks
}

fn not_assessed(report: &RunReport) -> Vec<Block> {
    let row = |item: &super::NotAssessed| vec![(&item.what).into(), (&item.who).into()];
    let rows = report.not_assessed.iter().map(row).collect();
    vec![
        Block::Chapter("Not assessed here".into()),
        Block::Table { columns: columns(["What", "Who can say"]), rows },
    ]
}

fn timeline(report: &RunReport) -> Vec<Block> {
    let began_ms = report.begun_at_ms.unwrap_or(report.planned_at_ms);
    let row = |moment: &crate::run::Moment| {
        vec![
            words::clock(moment.at_ms).into(),
            format!("+{}", words::length(moment.at_ms.saturating_sub(began_ms))).into(),
            moment.step.as_ref().map_or_else(|| Text::of(Style::Note, "run"), |step| step.as_str().into()),
            moment.target.as_ref().map_or_else(Text::default, |target| target.as_str().into()),
            Text::prose(&moment.what),
        ]
    };
    vec![
        Block::Chapter("Timeline".into()),
        Block::Table {
            columns: columns(["#UTC", "#Since begin", "Step", "Endpoint", "What happened"]),
            rows: report.timeline.iter().map(row).collect(),
        },
    ]
}

fn evidence(report: &RunReport) -> Vec<Block> {
    let mut blocks = vec![Block::Chapter("Evidence".into())];
    if report.evidence.is_empty() {
        blocks.push(Block::Said("No entries of the evidence log were named to this report.".into()));
    } else {
        blocks.push(evidence_table(&report.evidence));
    }
    blocks.extend(how_to_verify(&report.seal));
    if let Some(Block::Points { points, .. }) =
        blocks.iter_mut().rfind(|block| matches!(block, Block::Points { .. }))
    {
        points.push("Compare the hashes in the table above with those of the entries in the file.".into());
        points.push(Text::prose("Compare `b3sum` of the runbook's file with the digest under “Scope”."));
    }
    blocks
}

/// Which entries of the log show what.
pub(super) fn evidence_table(evidence: &[super::EvidenceRef]) -> Block {
    let row = |item: &super::EvidenceRef| {
        let entries = format!("{}–{}", item.seq_first, item.seq_last);
        vec![(&item.what).into(), entries.into(), Text::code(item.hash.as_str())]
    };
    Block::Table {
        columns: columns(["What it shows", "#Entries", "Hash of the last entry"]),
        rows: evidence.iter().map(row).collect(),
    }
}

/// How a reader holds a report against the log.
pub(super) fn how_to_verify(seal: &super::Seal) -> Vec<Block> {
    vec![
        Block::Part("How to verify this report".into()),
        Block::Points {
            numbered: true,
            points: vec![
                "Get the evidence log from the appliance: a file of one JSON entry per line.".into(),
                Text::prose("On a computer of your own run `groundstate evidence verify` on that file. It recomputes the Merkle tree, checks the signatures and names the first entry that does not fit."),
                Text::from("Compare the key that it prints with ").then(Style::Code, blank(&seal.key_ed25519)).and(" (Ed25519), which you should also have from the owner on another way."),
                Text::prose("Hold this report against it: put the lines below this list into a file, the empty one too, and add `--since` and its name. The log is whole if it still holds these ")
                    .and(format!("{} entries, with the root ", seal.seq))
                    .then(Style::Code, blank(&seal.hash))
                    .and("."),
            ],
        },
        Block::Verbatim(blank(&seal.checkpoint).to_owned()),
    ]
}

fn blank(text: &str) -> &str {
    if text.is_empty() { "(not given)" } else { text }
}

fn signing() -> Block {
    Block::Signing {
        title: "Signed off".into(),
        boxes: vec!["Lessons are the items above.".into(), "No lessons. Observations:".into()],
        heads: ["Part", "Name", "Date", "Signature"].map(str::to_owned),
        parts: ["Lead of the run", "OT security", "Owner of the endpoints"].map(str::to_owned).into(),
    }
}
