//! The report as blocks: lays the model out in its language, decides nothing. What people, runbooks and the appliance wrote stays as it was written.

use super::{Claim, EndpointResult, RunReport, Standing, around, trend::trend, waterfall::waterfall, words};
use crate::{
    paper::{Block, Language, Paper, Style, Text, Tone, columns},
    run::{CheckResult, Verdict},
    runbook::ModeName,
};

pub(super) fn paper(report: &RunReport) -> Paper {
    let language = report.language;
    let rehearsal = report.mode != ModeName::Real;
    let mut blocks = vec![header(report), outcome(report)];
    blocks.extend(scope(report));
    blocks.extend(objectives(report));
    blocks.extend(actions(report));
    blocks.extend(around::items(report));
    blocks.extend(around::compared(report));
    blocks.push(Block::Chapter(language.pick("Result per endpoint", "Ergebnis je Endgerät").into()));
    blocks.extend(report.endpoints.iter().flat_map(|endpoint| one_endpoint(language, endpoint)));
    blocks.extend(steps(report));
    blocks.extend(around::injects(report));
    blocks.extend(checks_and_cleanup(report));
    blocks.extend(not_assessed(report));
    blocks.extend(timeline(report));
    blocks.extend(evidence(report));
    blocks.push(signing(language));
    let (run, site, written) = (&report.run, &report.site, words::moment(report.written_at_ms));
    Paper {
        language,
        title: format!("{}: {} ({})", title(report), report.plan.title, report.run),
        foot: language.pick(
            format!("Run {run}, {site}, written {written}. This report states what was measured. It is not a certificate."),
            format!("Lauf {run}, {site}, geschrieben {written}. Dieser Bericht sagt, was gemessen wurde. Er ist kein Zertifikat."),
        ),
        frame: rehearsal.then(|| language.pick("DRILL", "ÜBUNG").to_owned()),
        written_at_ms: report.written_at_ms,
        blocks,
    }
}

fn title(report: &RunReport) -> &'static str {
    if report.mode == ModeName::Real {
        report.language.pick("Recovery report", "Wiederherstellungsbericht")
    } else {
        report.language.pick("Drill report", "Übungsbericht")
    }
}

fn header(report: &RunReport) -> Block {
    let language = report.language;
    let plan = &report.plan;
    let mut facts: Vec<(String, Text)> = vec![
        (
            language.pick("Run", "Lauf").into(),
            format!("{}, {} {}", report.run, language.pick("by", "durch"), report.appliance).into(),
        ),
        (
            "Runbook".into(),
            language
                .pick(
                    format!("{} version {}, answered for by {}", plan.runbook, plan.version, plan.owner),
                    format!("{} Version {}, verantwortet von {}", plan.runbook, plan.version, plan.owner),
                )
                .into(),
        ),
        (
            language.pick("Began", "Begonnen").into(),
            report.begun_at_ms.map_or(language.pick("never", "nie").into(), words::moment).into(),
        ),
        (
            language.pick("Report written", "Bericht geschrieben").into(),
            words::moment(report.written_at_ms).into(),
        ),
    ];
    facts.extend(report.people.iter().map(|person| {
        let said = format!("{} {}, {}", person.person, person.part, words::moment(person.at_ms));
        (language.pick("Person", "Mensch").to_owned(), Text::prose(&said))
    }));
    Block::Head {
        kind: format!(
            "{} · {} {} · {}",
            title(report),
            language.pick("mode", "Art"),
            words::mode(language, report.mode),
            report.site
        ),
        title: plan.title.clone(),
        lead: (&plan.purpose).into(),
        facts,
    }
}

fn outcome(report: &RunReport) -> Block {
    let (tone, en, de) = match report.verdict {
        Verdict::Succeeded => (Tone::Good, "Succeeded", "Gelungen"),
        Verdict::Partly => (Tone::Partly, "In part", "Zum Teil"),
        Verdict::Failed => (Tone::Bad, "Failed", "Gescheitert"),
        Verdict::Aborted => (Tone::Bad, "Stopped", "Beendet"),
    };
    let said = report.summary.iter().map(|sentence| Text::prose(sentence)).collect();
    Block::Outcome { tone, word: report.language.pick(en, de).into(), said }
}

fn standing(language: Language, standing: Standing) -> Text {
    match standing {
        Standing::Met => Text::word(Tone::Good, language.pick("met", "erreicht")),
        Standing::Missed => Text::word(Tone::Bad, language.pick("missed", "verfehlt")),
        Standing::NoTarget => Text::word(Tone::Plain, language.pick("no target", "kein Ziel")),
        Standing::NotMeasured => Text::word(Tone::Plain, language.pick("not measured", "nicht gemessen")),
    }
}

fn time(ms: Option<u64>) -> Text {
    ms.map_or("–".to_owned(), words::length).into()
}

fn objectives(report: &RunReport) -> Vec<Block> {
    let language = report.language;
    let row = |objective: &super::Objective| {
        vec![
            (&objective.name).into(),
            Text::of(Style::Note, objective.meaning.as_str()),
            time(objective.target_ms),
            time(objective.actual_ms),
            objective.n.to_string().into(),
            standing(language, objective.standing),
        ]
    };
    let mut blocks = vec![
        Block::Chapter(language.pick("Objectives", "Ziele").into()),
        Block::Table {
            columns: columns(language.pick(
                ["Objective", "Measured", "#Target", "#Actual", "#n", ""],
                ["Ziel", "Gemessen", "#Soll", "#Ist", "#n", ""],
            )),
            rows: report.objectives.iter().map(row).collect(),
        },
    ];
    blocks.extend(report.claims.iter().map(|claim| claim_text(language, claim)));
    blocks.extend(report.trends.iter().map(|one| Block::Figure(trend(language, one))));
    blocks
}

fn claim_text(language: Language, claim: &Claim) -> Block {
    let summary = &claim.summary;
    let (n, median, slowest) = (summary.n, words::length(summary.median_ms), words::length(summary.max_ms));
    let mut said = language.pick(
        format!("n = {n}, median {median}, slowest {slowest}"),
        format!("n = {n}, Median {median}, am langsamsten {slowest}"),
    );
    said += &match summary.p95_ms.map(words::length) {
        Some(p95) => language.pick(format!(", 95th percentile {p95}. "), format!(", 95. Perzentil {p95}. ")),
        None => language
            .pick(" (no percentile below 20 runs). ", " (kein Perzentil unter 20 Läufen). ")
            .to_owned(),
    };
    said += &match claim.percent {
        Some(percent) => {
            let more = match claim.missing_for_90 {
                0 => String::new(),
                n => language.pick(
                    format!("; {} would make that 90 %", words::count(n as usize, "more clean run")),
                    format!("; mit {n} weiteren sauberen Läufen wären es 90 %"),
                ),
            };
            language.pick(
                format!(
                    "With 95 % confidence at least {percent} % of such recoveries finish within the slowest one seen{more}."
                ),
                format!(
                    "Mit 95 % Sicherheit enden mindestens {percent} % solcher Wiederherstellungen innerhalb der langsamsten gesehenen{more}."
                ),
            )
        }
        None => language
            .pick(
                "A run of this class did not finish, so nothing may be claimed; 29 clean runs in a row would allow 90 %.",
                "Ein Lauf dieser Klasse kam nicht ans Ziel, also darf nichts behauptet werden; 29 saubere Läufe hintereinander würden 90 % erlauben.",
            )
            .to_owned(),
    };
    let of = &claim.of;
    let head =
        language.pick(format!("What may be claimed for {of}: "), format!("Was sich für {of} sagen lässt: "));
    Block::Note(Text::of(Style::Bold, head).and(said))
}

/// Whose duty something is.
fn duty(language: Language, duty: &str) -> String {
    let de = match duty {
        "owner" => "Betreiber",
        "integrator" => "Integrator",
        "supplier" => "Hersteller",
        "appliance" => "Appliance",
        other => other,
    };
    language.pick(duty, de).to_owned()
}

fn actions(report: &RunReport) -> Vec<Block> {
    let language = report.language;
    let mut blocks = vec![Block::Chapter(language.pick("After-action items", "Maßnahmen").into())];
    if report.actions.is_empty() {
        let none = language.pick(
            "None: every step passed within its target and every objective that was measured was met.",
            "Keine: jeder Schritt gelang in seiner Zeit, und jedes gemessene Ziel wurde erreicht.",
        );
        blocks.push(Block::Said(none.into()));
        return blocks;
    }
    let row = |action: &super::Action| {
        vec![
            (&action.id).into(),
            Text::prose(&action.from),
            Text::prose(&action.what),
            (&action.what_now).into(),
            duty(language, &action.duty).into(),
            Text::default(),
        ]
    };
    blocks.push(Block::Table {
        columns: columns(language.pick(
            ["No.", "From", "What happened", "What to do", "Duty", "Who, until when"],
            ["Nr.", "Aus", "Was geschah", "Was zu tun ist", "Pflicht", "Wer, bis wann"],
        )),
        rows: report.actions.iter().map(row).collect(),
    });
    blocks.push(Block::Note(
        language
            .pick(
                "An item is closed by a later run in which the same step passes.",
                "Eine Maßnahme ist erledigt, wenn derselbe Schritt in einem späteren Lauf gelingt.",
            )
            .into(),
    ));
    blocks
}

fn one_endpoint(language: Language, endpoint: &EndpointResult) -> Vec<Block> {
    let planned = &endpoint.planned;
    let state = Text::from(format!("{}: ", planned.target));
    let word = state_word(language, &endpoint.state);
    let mut blocks = vec![Block::Part(state.then(Style::Word(tone(&endpoint.state)), word))];
    if let Some(failure) = &endpoint.failure {
        let said = Text::of(Style::Bold, failure.what.as_str()).and(format!(" {} ", failure.what_now));
        blocks.push(Block::Said(said.then(Style::Code, format!("[{}]", failure.code))));
    }
    let (class, place, zone) = (&planned.class, words::place(language, planned.place), &planned.zone);
    let what =
        language.pick(format!("{class}, {place}, zone {zone}"), format!("{class}, {place}, Zone {zone}"));
    let mut facts: Vec<(String, Text)> =
        vec![(language.pick("Class, place, zone", "Klasse, Ort, Zone").into(), what.into())];
    if let Some(observed) = &endpoint.observed {
        let image = language.pick("Golden image", "Golden Image");
        facts.push((image.into(), (&observed.image_name).into()));
        let job = language.pick("Recovery job", "Auftrag");
        facts.extend(observed.job.iter().map(|id| (job.to_owned(), Text::code(id.as_str()))));
        let written = language.pick("Written", "Geschrieben");
        facts.extend(observed.written_bytes.map(|bytes| (written.to_owned(), words::size(bytes).into())));
    }
    let reached =
        |ms: Option<u64>| ms.map_or(language.pick("not reached", "nicht erreicht").to_owned(), words::length);
    let (service, machine) =
        (reached(endpoint.measured.service_rto_ms), reached(endpoint.measured.machine_rto_ms));
    let said = language.pick(
        format!("service {service}, machine {machine}"),
        format!("Dienst {service}, Maschine {machine}"),
    );
    facts.push(("RTO".into(), said.into()));
    blocks.push(Block::Facts(facts));
    let observed = endpoint.observed.iter();
    blocks.extend(observed.filter_map(|observed| {
        waterfall(language, planned.target.as_str(), &observed.timings, endpoint.target_ms).map(Block::Figure)
    }));
    blocks.extend(checks(language, &endpoint.checks));
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

/// How a step or an endpoint stands, as a word of the language.
fn state_word(language: Language, state: &str) -> String {
    let de = match state {
        "proven" => "bewiesen",
        "passed" => "gelungen",
        "failed" => "gescheitert",
        "held" => "angehalten",
        "working" => "läuft",
        "pending" => "steht aus",
        "skipped" => "übergangen",
        "not meant" => "nicht gemeint",
        other => other,
    };
    language.pick(state, de).to_owned()
}

fn checks(language: Language, checks: &[CheckResult]) -> Option<Block> {
    let row = |check: &CheckResult| {
        let passed = if check.passed {
            Text::word(Tone::Good, language.pick("passed", "gelungen"))
        } else {
            Text::word(Tone::Bad, language.pick("failed", "gescheitert"))
        };
        vec![(&check.check).into(), (&check.expected).into(), (&check.seen).into(), passed]
    };
    (!checks.is_empty()).then(|| Block::Table {
        columns: columns(
            language.pick(["Check", "Expected", "Seen", ""], ["Prüfung", "Erwartet", "Gesehen", ""]),
        ),
        rows: checks.iter().map(row).collect(),
    })
}

fn steps(report: &RunReport) -> Vec<Block> {
    let language = report.language;
    let row = |step: &super::StepResult| {
        let mut what = Text::prose(&step.what);
        if step.attempts > 1 {
            what = what.and(format!(" ({} {})", language.pick("attempt", "Versuch"), step.attempts));
        }
        vec![
            Text::of(Style::Bold, format!("{}\n", step.step)).then(Style::Note, step.verb.as_str()),
            step.target.as_ref().map_or_else(Text::default, |target| target.as_str().into()),
            Text::word(tone(&step.state), state_word(language, &step.state)),
            what,
            step.from_ms.map_or("–".into(), words::clock).into(),
            time(step.took_ms),
            time(step.target_ms),
        ]
    };
    let mut blocks = vec![
        Block::Chapter(language.pick("Steps", "Schritte").into()),
        Block::Table {
            columns: columns(language.pick(
                ["Step", "Endpoint", "", "What", "#Began", "#Took", "#Target"],
                ["Schritt", "Endgerät", "", "Was", "#Beginn", "#Dauer", "#Ziel"],
            )),
            rows: report.steps.iter().map(row).collect(),
        },
    ];
    if !report.deviations.is_empty() {
        let head = language.pick("Where the run left its plan", "Wo der Lauf von seinem Plan abwich");
        blocks.push(Block::Part(head.into()));
        let points = report.deviations.iter().map(|said| Text::prose(said)).collect();
        blocks.push(Block::Points { numbered: false, points });
    }
    blocks
}

fn checks_and_cleanup(report: &RunReport) -> Vec<Block> {
    let language = report.language;
    let mut blocks =
        vec![Block::Chapter(language.pick("Checks that failed", "Prüfungen, die scheiterten").into())];
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
        blocks.push(Block::Said(language.pick("None.", "Keine.").into()));
    } else {
        blocks.push(Block::Table {
            columns: columns(language.pick(
                ["Step", "Endpoint", "Check", "Expected", "Seen"],
                ["Schritt", "Endgerät", "Prüfung", "Erwartet", "Gesehen"],
            )),
            rows: report.failed_checks.iter().map(row).collect(),
        });
    }
    blocks.push(Block::Chapter(language.pick("Proof of clean-up", "Beweis des Aufräumens").into()));
    blocks.push(Block::Said(if report.cleanup.proven {
        Text::word(Tone::Good, language.pick("Proven.", "Bewiesen."))
            .and(language.pick(" Nothing of the run was left behind:", " Von dem Lauf blieb nichts zurück:"))
    } else {
        Text::word(Tone::Bad, language.pick("Not proven.", "Nicht bewiesen.")).and(
            language.pick(" Do not close this run before it is:", " Diesen Lauf vorher nicht abschließen:"),
        )
    }));
    blocks.extend(checks(language, &report.cleanup.checks));
    blocks
}

fn scope(report: &RunReport) -> Vec<Block> {
    let language = report.language;
    let row = |target: &crate::run::FrozenTarget| {
        vec![
            target.target.as_str().into(),
            (&target.class).into(),
            words::place(language, target.place).into(),
            (&target.zone).into(),
            Text::code(target.image.as_str()),
        ]
    };
    let mut blocks = vec![
        Block::Chapter(
            language.pick("Scope, as planned and approved", "Umfang, wie geplant und genehmigt").into(),
        ),
        Block::Table {
            columns: columns(language.pick(
                ["Endpoint", "Class", "Place", "Zone", "Golden image (digest)"],
                ["Endgerät", "Klasse", "Ort", "Zone", "Golden Image (Prüfsumme)"],
            )),
            rows: report.scope.iter().map(row).collect(),
        },
        Block::Facts(vec![
            (
                language.pick("Runbook's text", "Text des Runbooks").into(),
                Text::code(format!("blake3 {}", report.plan.digest)),
            ),
            (
                language.pick("The plan as a whole", "Der Plan als Ganzes").into(),
                Text::code(format!("blake3 {}", report.plan.binding)),
            ),
        ]),
    ];
    if report.mode != ModeName::Real {
        let said = language.pick(
            "By the appliance's inventory every endpoint above was drill-safe in label, place, zone and function when the run was planned. \
             The program makes no permit to write for any other endpoint in a drill; whether the inventory is right is for its owner.",
            "Nach dem Bestand der Appliance war bei der Planung jedes Endgerät oben nach Kennzeichen, Ort, Zone und Funktion für Übungen frei. \
             Für kein anderes Endgerät erlaubt das Programm in einer Übung das Schreiben; ob der Bestand stimmt, weiß sein Betreiber.",
        );
        blocks.push(Block::Note(said.into()));
    }
    blocks
}

fn not_assessed(report: &RunReport) -> Vec<Block> {
    let language = report.language;
    let row = |item: &super::NotAssessed| vec![(&item.what).into(), (&item.who).into()];
    let rows = report.not_assessed.iter().map(row).collect();
    vec![
        Block::Chapter(language.pick("Not assessed here", "Hier nicht beurteilt").into()),
        Block::Table {
            columns: columns(language.pick(["What", "Who can say"], ["Was", "Wer es sagen kann"])),
            rows,
        },
    ]
}

fn timeline(report: &RunReport) -> Vec<Block> {
    let language = report.language;
    let began_ms = report.begun_at_ms.unwrap_or(report.planned_at_ms);
    let row = |moment: &crate::run::Moment| {
        let run = || Text::of(Style::Note, language.pick("run", "Lauf"));
        vec![
            words::clock(moment.at_ms).into(),
            format!("+{}", words::length(moment.at_ms.saturating_sub(began_ms))).into(),
            moment.step.as_ref().map_or_else(run, |step| step.as_str().into()),
            moment.target.as_ref().map_or_else(Text::default, |target| target.as_str().into()),
            Text::prose(&moment.what),
        ]
    };
    vec![
        Block::Chapter(language.pick("Timeline", "Ablauf").into()),
        Block::Table {
            columns: columns(language.pick(
                ["#UTC", "#Since begin", "Step", "Endpoint", "What happened"],
                ["#UTC", "#Seit Beginn", "Schritt", "Endgerät", "Was geschah"],
            )),
            rows: report.timeline.iter().map(row).collect(),
        },
    ]
}

fn evidence(report: &RunReport) -> Vec<Block> {
    let language = report.language;
    let mut blocks = vec![Block::Chapter(language.pick("Evidence", "Nachweise").into())];
    if report.evidence.is_empty() {
        let none = language.pick(
            "No entries of the evidence log were named to this report.",
            "Diesem Bericht wurden keine Einträge des Protokolls genannt.",
        );
        blocks.push(Block::Said(none.into()));
    } else {
        blocks.push(evidence_table(language, &report.evidence));
    }
    blocks.extend(how_to_verify(language, &report.seal));
    if let Some(Block::Points { points, .. }) =
        blocks.iter_mut().rfind(|block| matches!(block, Block::Points { .. }))
    {
        points.push(
            language
                .pick(
                    "Compare the hashes in the table above with those of the entries in the file.",
                    "Die Hashes in der Tabelle oben mit denen der Einträge in der Datei vergleichen.",
                )
                .into(),
        );
        points.push(Text::prose(language.pick(
            "Compare `b3sum` of the runbook's file with the digest under “Scope”.",
            "`b3sum` der Datei des Runbooks mit der Prüfsumme unter „Umfang“ vergleichen.",
        )));
    }
    blocks
}

/// Which entries of the log show what.
pub(super) fn evidence_table(language: Language, evidence: &[super::EvidenceRef]) -> Block {
    let row = |item: &super::EvidenceRef| {
        let entries = format!("{}–{}", item.seq_first, item.seq_last);
        vec![(&item.what).into(), entries.into(), Text::code(item.hash.as_str())]
    };
    Block::Table {
        columns: columns(language.pick(
            ["What it shows", "#Entries", "Hash of the last entry"],
            ["Was es zeigt", "#Einträge", "Hash des letzten Eintrags"],
        )),
        rows: evidence.iter().map(row).collect(),
    }
}

/// How a reader holds a report against the log.
pub(super) fn how_to_verify(language: Language, seal: &super::Seal) -> Vec<Block> {
    let not_given = |text: &str| {
        if text.is_empty() {
            language.pick("(not given)", "(nicht genannt)").to_owned()
        } else {
            text.to_owned()
        }
    };
    let points = vec![
        Text::from(language.pick(
            "Get the evidence log from the appliance: a file of one JSON entry per line.",
            "Das Protokoll der Nachweise von der Appliance holen: eine Datei mit einem JSON-Eintrag je Zeile.",
        )),
        Text::prose(language.pick(
            "On a computer of your own run `groundstate evidence verify` on that file. It recomputes the Merkle tree, checks the signatures and names the first entry that does not fit.",
            "Auf einem eigenen Rechner `groundstate evidence verify` über diese Datei laufen lassen. Es rechnet den Merkle-Baum nach, prüft die Unterschriften und nennt den ersten Eintrag, der nicht passt.",
        )),
        Text::from(language.pick("Compare the key that it prints with ", "Den Schlüssel, den es ausgibt, mit "))
            .then(Style::Code, not_given(&seal.key_ed25519))
            .and(language.pick(
                " (Ed25519), which you should also have from the owner on another way.",
                " vergleichen (Ed25519); er sollte auch auf anderem Weg vom Betreiber vorliegen.",
            )),
        Text::prose(language.pick(
            "Hold this report against it: put the lines below this list into a file, the empty one too, and add `--since` and its name. The log is whole if it still holds these ",
            "Diesen Bericht daranhalten: die Zeilen unter dieser Liste in eine Datei schreiben, auch die leere, und `--since` mit ihrem Namen anfügen. Das Protokoll ist vollständig, wenn es noch diese ",
        ))
        .and(language.pick(
            format!("{} entries, with the root ", seal.seq),
            format!("{} Einträge enthält, mit der Wurzel ", seal.seq),
        ))
        .then(Style::Code, not_given(&seal.hash))
        .and("."),
    ];
    vec![
        Block::Part(
            language.pick("How to verify this report", "Wie sich dieser Bericht prüfen lässt").into(),
        ),
        Block::Points { numbered: true, points },
        Block::Verbatim(not_given(&seal.checkpoint)),
    ]
}

fn signing(language: Language) -> Block {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Block::Signing {
        title: language.pick("Signed off", "Abgezeichnet").into(),
        boxes: texts(language.pick(
            &["Lessons are the items above.", "No lessons. Observations:"],
            &["Die Lehren sind die Maßnahmen oben.", "Keine Lehren. Beobachtungen:"],
        )),
        heads: language
            .pick(["Part", "Name", "Date", "Signature"], ["Rolle", "Name", "Datum", "Unterschrift"])
            .map(str::to_owned),
        parts: texts(language.pick(
            &["Lead of the run", "OT security", "Owner of the endpoints"],
            &["Leitung des Laufs", "OT-Sicherheit", "Betreiber der Endgeräte"],
        )),
    }
}
