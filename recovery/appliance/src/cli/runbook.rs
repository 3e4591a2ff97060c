//! `groundstate runbook …`: runbooks as files. No appliance is asked: who writes one needs none. Who runs one does ([`super::run`]).

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use runbooks::{
    Ask, DrillSafe, DrillScope, EndpointFacts, Place, RunId, RunRecord, Runbook, Target, TargetId,
    assess::catalogue::Catalogue,
    blueprint::{self, Blueprint},
    library,
    print::Sheet,
    report::RunReport,
    run::preview::{Known, Preview, STAND_IN},
    runbook::{ModeName, SCHEMA_JSON},
    target::{DRILL_SAFE, Drill, Real},
};
use serde::Serialize;

use super::{
    fault::{Code, Fault},
    image::write_new,
    print,
    show::table,
};
use crate::cli::Output;

/// What to do with runbooks.
#[derive(Debug, Subcommand)]
pub enum RunbookVerb {
    /// List the runbooks that ship
    List,
    /// List the blueprints that ship
    Blueprints,
    /// Say what is wrong with runbooks and blueprints, with line, column and remedy
    Lint {
        /// Files, or names of runbooks that ship
        #[arg(required = true, value_name = "FILE_OR_NAME")]
        runbooks: Vec<String>,
    },
    /// Say what a run would do, in which order, by whom and how long it would take; nothing begins
    Plan(Plan),
    /// Run it on the appliance: on one endpoint or many, as a rehearsal, the real thing or on paper
    Run(Box<super::run::Run>),
    /// Print a runbook for the wall, the shelf or the table, as one page of HTML
    Print(Print),
    /// Print the JSON Schema by which an editor completes a runbook
    Schema,
    /// Print the file of a runbook or a blueprint that ships, to begin your own with
    Show {
        /// Its name
        #[arg(id = "runbook", value_name = "NAME")]
        name: String,
    },
}

/// What to print.
#[derive(Debug, Args)]
pub struct Print {
    /// A file, or the name of a runbook that ships
    #[arg(value_name = "FILE_OR_NAME")]
    runbook: String,
    /// Which sheet
    #[arg(long, value_enum, default_value = "binder")]
    sheet: Paper,
    /// Language; what is not translated stands in English
    #[arg(long, default_value = "en", value_name = "CODE")]
    language: String,
    /// File to write; default: stdout
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What to plan.
#[derive(Debug, Args)]
pub struct Plan {
    /// A file, or the name of a runbook that ships
    #[arg(value_name = "FILE_OR_NAME")]
    runbook: String,
    /// JSON file: a list of endpoints with target, kind, class, zone, place, labels, essential_function, image
    #[arg(long, value_name = "FILE", required_unless_present = "count", conflicts_with = "count")]
    endpoints: Option<PathBuf>,
    /// So many stand-ins that fit the runbook
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// As what
    #[arg(long, value_enum, default_value = "drill")]
    mode: As,
    /// People with their hands free
    #[arg(long, default_value_t = 1, value_name = "N")]
    people: usize,
    /// Endpoints that the network feeds at full speed at the same time
    #[arg(long, value_name = "N")]
    over_link: Option<usize>,
    /// `report.json` of earlier runs of this runbook; give it several times
    #[arg(long, value_name = "FILE")]
    measured: Vec<PathBuf>,
}

/// The modes that are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum As {
    /// The real thing
    Real,
    /// A rehearsal
    Drill,
    /// A rehearsal on virtual endpoints
    Virtual,
}

/// The sheets.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Paper {
    /// One page for the wall
    Card,
    /// All of it
    Binder,
    /// A page per step to talk through
    Tabletop,
}

/// A runbook in the list.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    version: u32,
    modes: Vec<&'static str>,
    digest: String,
    title: String,
}

/// What is wrong with one file.
#[derive(Serialize)]
struct Linted {
    runbook: String,
    good: bool,
    findings: Vec<String>,
    /// What only keeps a blueprint from being used for real.
    notes: Vec<String>,
}

/// What is to say of one text, by the schema that it names.
fn judged(text: &str) -> (Vec<String>, Vec<String>) {
    if text.lines().any(|line| line.trim_end() == format!("schema: {}", blueprint::SCHEMA)) {
        let blueprint = match Blueprint::parse(text) {
            Ok(blueprint) => blueprint,
            Err(error) => return (vec![error.to_string()], Vec::new()),
        };
        let catalogue = match Catalogue::shipped() {
            Ok(catalogue) => catalogue,
            Err(error) => return (vec![error.to_string()], Vec::new()),
        };
        let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
        let found = blueprint::lint::lint(&blueprint, None, &catalogue, now_ms);
        let (notes, findings): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.rule.is_a_note());
        let said = |all: Vec<blueprint::lint::Finding>| all.iter().map(ToString::to_string).collect();
        return (said(findings), said(notes));
    }
    match runbooks::parse(text) {
        Ok(runbook) => (runbooks::lint(&runbook).iter().map(ToString::to_string).collect(), Vec::new()),
        Err(error) => (vec![error.to_string()], Vec::new()),
    }
}

/// Carry it out.
///
/// # Errors
/// A runbook that cannot be read, or that has findings.
pub fn act(verb: RunbookVerb, output: Output) -> Result<(), Fault> {
    match verb {
        RunbookVerb::List => list(output),
        RunbookVerb::Blueprints => {
            let names: Vec<&str> = library::blueprints().iter().map(|shipped| shipped.name).collect();
            print(output, &names, |names| names.join("\n"))
        }
        RunbookVerb::Lint { runbooks } => lint(&runbooks, output),
        RunbookVerb::Print(order) => {
            let runbook = read(&order.runbook)?;
            let sheet = match order.sheet {
                Paper::Card => Sheet::Card,
                Paper::Binder => Sheet::Binder,
                Paper::Tabletop => Sheet::Tabletop,
            };
            hand_over(order.out, &runbooks::print::print(&runbook, sheet, &order.language))
        }
        RunbookVerb::Plan(order) => plan(&order, output),
        RunbookVerb::Run(_) => {
            Err(Fault::new(Code::Usage, "a run asks an appliance", "", "name one with --url"))
        }
        RunbookVerb::Schema => hand_over(None, SCHEMA_JSON),
        RunbookVerb::Show { name } => hand_over(None, &text_of(&name)?),
    }
}

fn hand_over(out: Option<PathBuf>, text: &str) -> Result<(), Fault> {
    match out {
        Some(path) => {
            write_new(&path, 0o644, text.as_bytes())?;
            eprintln!("wrote {}", path.display());
        }
        None => print!("{text}"),
    }
    Ok(())
}

fn list(output: Output) -> Result<(), Fault> {
    let mut listed = Vec::new();
    for shipped in library::library() {
        let runbook = read(shipped.name)?;
        listed.push(Listed {
            name: shipped.name,
            version: runbook.version,
            modes: runbook.modes.keys().map(|mode| mode.word()).collect(),
            title: runbook.title_en().to_owned(),
            digest: runbook.digest,
        });
    }
    print(output, &listed, |listed| {
        let row = |one: &Listed| {
            vec![
                one.name.to_owned(),
                format!("v{}", one.version),
                one.modes.join(" "),
                one.digest[..16].to_owned(),
                one.title.clone(),
            ]
        };
        table(
            &["RUNBOOK", "VERSION", "MODES", "BLAKE3", "WHAT IT IS FOR"],
            &listed.iter().map(row).collect::<Vec<_>>(),
        )
    })
}

/// The text of a file, or of a runbook that ships.
///
/// # Errors
/// A file that cannot be read.
pub fn text_of(file_or_name: &str) -> Result<String, Fault> {
    let blueprint = || library::blueprints().iter().find(|shipped| shipped.name == file_or_name);
    if let Some(shipped) = library::shipped(file_or_name).or_else(blueprint) {
        return Ok(shipped.text.to_owned());
    }
    std::fs::read_to_string(file_or_name).map_err(|error| {
        let now = "name a file, or one of those that `groundstate runbook list` shows";
        Fault::new(Code::NotFound, format!("`{file_or_name}` cannot be read"), error.to_string(), now)
    })
}

fn read(file_or_name: &str) -> Result<Runbook, Fault> {
    runbooks::parse(&text_of(file_or_name)?).map_err(|error| {
        let now = format!("mend it; `groundstate runbook lint {file_or_name}` says whether it is good");
        Fault::new(Code::Usage, format!("`{file_or_name}` is no runbook"), error.to_string(), now)
    })
}

fn lint(named: &[String], output: Output) -> Result<(), Fault> {
    let mut linted = Vec::new();
    for name in named {
        let (findings, notes) = judged(&text_of(name)?);
        linted.push(Linted { runbook: name.clone(), good: findings.is_empty(), findings, notes });
    }
    print(output, &linted, |linted| {
        let said = |one: &Linted| {
            let word = one.good.then(|| "good".to_owned());
            let lines = word.iter().chain(&one.findings).chain(&one.notes);
            lines.map(|line| format!("{}: {line}", one.runbook)).collect::<Vec<_>>().join("\n")
        };
        linted.iter().map(said).collect::<Vec<_>>().join("\n")
    })?;
    let bad = linted.iter().filter(|one| !one.good).count();
    if bad == 0 {
        return Ok(());
    }
    let what = format!("{bad} of {} may not be run", linted.len());
    Err(Fault::new(Code::Failed, what, "", "each line says what to do"))
}

fn plan(order: &Plan, output: Output) -> Result<(), Fault> {
    let runbook = read(&order.runbook)?;
    let facts: Vec<EndpointFacts> = match &order.endpoints {
        Some(path) => serde_json::from_str(&text_of(&path.display().to_string())?).map_err(|error| {
            let now = "give a JSON list of endpoints: target, kind, class, zone, place, labels, essential_function, image";
            Fault::new(Code::Usage, format!("{} is no list of endpoints", path.display()), error.to_string(), now)
        })?,
        None => stand_ins(&runbook, order.mode, order.count.unwrap_or_default()),
    };
    let reports = reports(&order.measured, &runbook, order.mode)?;
    let record = record(runbook, facts, order.mode)?;
    let mut known = Known { people: order.people, over_link: order.over_link, ..Known::default() };
    for report in &reports {
        known.learn(report, &record);
    }
    let preview = Preview::of(&record, &known);
    print(output, &preview, shown)
}

/// Endpoints that fit a runbook, where nobody named any: how long it takes depends on how many they are.
fn stand_ins(runbook: &Runbook, mode: As, count: usize) -> Vec<EndpointFacts> {
    let place = match mode {
        As::Real => Place::Production,
        As::Drill => Place::Bench,
        As::Virtual => Place::Virtual,
    };
    let one = |n| EndpointFacts {
        target: TargetId::new(format!("endpoint-{n:04}")),
        kind: runbook.select.kind.clone().unwrap_or_else(|| "hmi".to_owned()),
        class: STAND_IN.to_owned(),
        zone: runbook.select.zone.clone().unwrap_or_else(|| STAND_IN.to_owned()),
        place,
        labels: [Some(DRILL_SAFE.to_owned()), runbook.select.label.clone()].into_iter().flatten().collect(),
        essential_function: false,
        image: STAND_IN.to_owned(),
    };
    (1..=count).map(one).collect()
}

/// The plan that would be approved. A drill's targets are resolved as for a drill; every zone that is named counts as a drill zone, since the site's own are
/// not known here.
fn record(runbook: Runbook, facts: Vec<EndpointFacts>, mode: As) -> Result<RunRecord, Fault> {
    let no = |why: String| {
        Fault::new(Code::Conflict, "this cannot be planned", why, "change the runbook or the endpoints")
    };
    let ask = Ask { run: RunId::new("plan"), requester: "plan".to_owned(), now_ms: 0 };
    if mode == As::Real {
        let targets: Vec<Target<Real>> = facts.into_iter().map(Target::real).collect();
        let run = runbooks::plan(runbook, targets, ask).map_err(|error| no(error.to_string()))?;
        return Ok(run.record().clone());
    }
    let scope = DrillScope { zones: facts.iter().map(|fact| fact.zone.clone()).collect() };
    let mut targets: Vec<Target<Drill>> = Vec::with_capacity(facts.len());
    for fact in facts {
        targets.push(DrillSafe::resolve(fact, &scope).map_err(|error| no(error.to_string()))?.into());
    }
    let run = runbooks::plan(runbook, targets, ask).map_err(|error| no(error.to_string()))?;
    Ok(run.record().clone())
}

/// The reports of earlier runs of this runbook. Virtual ones never stand with hardware.
fn reports(paths: &[PathBuf], runbook: &Runbook, mode: As) -> Result<Vec<RunReport>, Fault> {
    let mut reports = Vec::new();
    for path in paths {
        let no = |why: String| {
            let now = "give `report.json` out of the packs of runs of this runbook, of hardware for hardware and of virtual endpoints for virtual ones";
            Fault::new(Code::Usage, format!("{} cannot be measured by", path.display()), why, now)
        };
        let text = text_of(&path.display().to_string())?;
        let report: RunReport = serde_json::from_str(&text).map_err(|error| no(error.to_string()))?;
        if report.plan.runbook != runbook.name {
            return Err(no(format!("it is of runbook `{}`", report.plan.runbook)));
        }
        if (report.mode == ModeName::Virtual) != (mode == As::Virtual) {
            return Err(no(format!(
                "its mode is {}, and virtual times never stand with hardware's",
                report.mode.word()
            )));
        }
        reports.push(report);
    }
    Ok(reports)
}

fn shown(preview: &Preview) -> String {
    let seconds = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{} s", ms / 1000));
    let rows = preview.steps.iter().map(|step| {
        vec![
            step.step.clone(),
            step.verb.to_owned(),
            if step.each { "each" } else { "once" }.to_owned(),
            if step.by_hand { "a person" } else { "the appliance" }.to_owned(),
            seconds(step.measured_ms),
            step.n.to_string(),
            seconds(step.target_ms),
        ]
    });
    let mut text = format!("{}, mode {}\nbinding {}\n\n", preview.runbook, preview.mode, preview.binding);
    for (name, who) in &preview.waves {
        text += &format!("wave {name}: {}\n", who.join(" "));
    }
    text += "\n";
    text +=
        &table(&["STEP", "VERB", "HOW OFTEN", "WHO", "MEASURED", "N", "TARGET"], &rows.collect::<Vec<_>>());
    text + &format!(
        "\n\nat most {} permissions to write\n{}",
        preview.permits_at_most,
        preview.in_a_sentence()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_is_good_and_what_is_broken_says_where() {
        let names: Vec<String> = library::library().iter().map(|shipped| shipped.name.to_owned()).collect();
        lint(&names, Output::Json).unwrap();
        let names: Vec<String> =
            library::blueprints().iter().map(|shipped| shipped.name.to_owned()).collect();
        lint(&names, Output::Json).unwrap();
        let (bad, notes) = judged(&text_of("hmi-panel").unwrap().replace("tier: 1", "tier: 4"));
        assert!(bad.len() == 1 && bad[0].contains("[tier]") && notes.len() == 4, "{bad:?} {notes:?}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine.yaml");
        let broken =
            library::shipped("quarterly-hmi-drill").unwrap().text.replacen("uses: reimage", "uses: wipe", 1);
        std::fs::write(&file, broken).unwrap();
        let named = file.display().to_string();
        assert_eq!(lint(std::slice::from_ref(&named), Output::Json).unwrap_err().code, Code::Failed);
        assert!(read(&named).unwrap_err().to_string().contains("line "), "{}", read(&named).unwrap_err());
        let count = |mode, count| {
            let runbook = read("line-hmi-mass-recovery").unwrap();
            let facts = stand_ins(&runbook, mode, count);
            record(runbook, facts, mode).map(|record| record.targets.len())
        };
        assert_eq!(
            (count(As::Drill, 18).unwrap(), count(As::Real, 3).unwrap(), count(As::Virtual, 2).unwrap()),
            (18, 3, 2)
        );
        assert_eq!(
            count(As::Drill, 41).unwrap_err().code,
            Code::Conflict,
            "more permits than the runbook allows"
        );
        assert_eq!(read("no-such-runbook").unwrap_err().code, Code::NotFound);
    }
}
