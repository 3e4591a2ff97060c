//! `groundstate zone …`: what a log of evidence and its owner's words show of each zone, and who came back lately. An export and a file of zones need no
//! appliance; reports of the appliance's own log are asked of it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use recovery_protocol::{
    evidence::{Line, Verifier},
    report::ReportLanguage,
};
use runbooks::assess::{
    catalogue::Catalogue,
    evidence::{Fact, Ledger, Mapping, ahead},
    page,
    readiness::{Board, By, ClockStands, Ready, board},
    zone::{Assessment, Verdict, Zones, assess},
};

use super::{
    client::Reach,
    evidence::key_of,
    fault::{Code, Fault},
    print, report,
    show::table,
};
use crate::cli::Output;

/// What to do with zones.
#[derive(Debug, Subcommand)]
pub enum ZoneVerb {
    /// Say of each zone what is shown, what might be, and what is missing (IEC 62443-3-3)
    Assess(Assess),
    /// Say which endpoints came back lately, which are due, and which never did
    Readiness(Readiness),
    /// Have the appliance report each zone by its own log and its owner's file (`evidence.zones_file`)
    Report {
        /// This zone alone
        #[arg(long)]
        zone: Option<String>,
        #[command(flatten)]
        how: report::How,
    },
    /// Have the appliance report what it offers as a component (IEC 62443-4-2), with how often its log shows it
    Components(report::How),
}

/// Whose readiness, by what.
#[derive(Debug, Args)]
pub struct Readiness {
    /// File of zones: endpoints, how long a recovery proves one, the site's clocks
    #[arg(long, value_name = "FILE")]
    zones: PathBuf,
    /// An export of the evidence log
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
    /// The evidence key that was kept apart (64 hex digits)
    #[arg(long)]
    key: String,
}

/// What to assess, by what, and how to say it.
#[derive(Debug, Args)]
pub struct Assess {
    /// File of zones: targets, endpoints, declarations, compensations
    #[arg(long, value_name = "FILE")]
    zones: PathBuf,
    /// An export of the evidence log
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
    /// The evidence key that was kept apart (64 hex digits)
    #[arg(long)]
    key: String,
    /// A catalogue of your own, checked against your licensed copy
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// A mapping of your own
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// How to say it
    #[arg(long, value_enum, default_value = "text")]
    form: Form,
    /// Language of the page: en or de
    #[arg(long, default_value_t)]
    language: ReportLanguage,
    /// File to write; default: stdout
    #[arg(long)]
    out: Option<PathBuf>,
}

/// The forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For the terminal
    Text,
    /// One page, to print and to hand on
    Html,
    /// The same as a PDF
    Pdf,
    /// A line per requirement and zone
    Csv,
    /// All of it
    Json,
}

/// Carry it out.
///
/// # Errors
/// A file that cannot be read, or a log that was altered.
pub fn act(verb: ZoneVerb, reach: &Reach, output: Output) -> Result<(), Fault> {
    let order = match verb {
        ZoneVerb::Assess(order) => order,
        ZoneVerb::Report { zone, how } => {
            let wanted = zone.map(|zone| format!("&zone={}", report::in_query(&zone))).unwrap_or_default();
            return how.fetch(&reach.client()?, "/api/v1/zones/report", &wanted);
        }
        ZoneVerb::Components(how) => return how.fetch(&reach.client()?, "/api/v1/components/report", ""),
        ZoneVerb::Readiness(order) => return readiness(&order, output),
    };
    let wrong = |path: &Path, error: String| {
        Fault::new(Code::Usage, format!("{} cannot be used", path.display()), error, "mend it and try again")
    };
    let zones = Zones::parse(&read(&order.zones)?).map_err(|error| wrong(&order.zones, error.to_string()))?;
    let catalogue = match &order.catalogue {
        Some(path) => Catalogue::parse(&path.display().to_string(), &read(path)?)
            .map_err(|error| wrong(path, error.to_string())),
        None => Catalogue::shipped().map_err(|error| wrong(Path::new("the catalogue"), error.to_string())),
    }?;
    let mapping = match &order.mapping {
        Some(path) => Mapping::parse(&read(path)?).map_err(|error| wrong(path, error.to_string())),
        None => Mapping::shipped().map_err(|error| wrong(Path::new("the mapping"), error.to_string())),
    }?;
    let (facts, mut seen) = facts_of(&order.log, key_of(&order.key)?)?;
    let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    if let Some(ahead) = ahead(&facts, now_ms) {
        seen = format!("{seen}; {ahead}");
    }
    let ledger = Ledger::of(&mapping, &facts);
    let assessed: Vec<Assessment> = zones
        .zones
        .iter()
        .map(|zone| assess(&catalogue, zone, &ledger.weigh(&zone.endpoints, now_ms), now_ms))
        .collect();
    let form = match output {
        Output::Table => order.form,
        Output::Csv => Form::Csv,
        _ => Form::Json,
    };
    let about = page::About {
        site: &zones.site,
        at_ms: now_ms,
        catalogue: &catalogue,
        mapping: &mapping,
        evidence: &seen,
        language: report::language(order.language),
    };
    let bytes = match form {
        Form::Text => text(&assessed, &seen).into_bytes(),
        Form::Csv => page::csv(&assessed).into_bytes(),
        Form::Html => page::html(&about, &assessed).into_bytes(),
        Form::Pdf => page::paper(&about, &assessed).pdf().map_err(|error| {
            Fault::of("the page could not be set", &error, "take --form html, and report this")
        })?,
        Form::Json => {
            let output = if output.is_data() { output } else { Output::Json };
            output.render(&page::json(&about, &assessed), |_| String::new())?.into_bytes()
        }
    };
    report::hand_over(order.out.as_deref(), &bytes)
}

fn readiness(order: &Readiness, output: Output) -> Result<(), Fault> {
    let zones = Zones::parse(&read(&order.zones)?).map_err(|error| {
        let what = format!("{} cannot be used", order.zones.display());
        Fault::new(Code::Usage, what, error.to_string(), "mend it and try again")
    })?;
    let (facts, _) = facts_of(&order.log, key_of(&order.key)?)?;
    let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    print(output, &board(&zones, &facts, now_ms), shown)
}

fn shown(board: &Board) -> String {
    let day = |ms: Option<u64>| {
        let at = ms.and_then(|ms| jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok());
        at.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
    };
    let by = |last: Option<(u64, By, u64)>| match last {
        None => "-".to_owned(),
        Some((_, By::Recovery, entry)) => format!("recovery, entry {entry}"),
        Some((_, By::Drill, entry)) => format!("drill, entry {entry}"),
        Some((_, By::Virtual, entry)) => format!("virtual, entry {entry}"),
    };
    let row = |one: &Ready| {
        vec![
            one.endpoint.to_string(),
            one.zone.clone(),
            one.place.label().to_owned(),
            one.due.word().to_owned(),
            day(one.last.map(|(at_ms, ..)| at_ms)),
            by(one.last),
            day(one.due_ms),
        ]
    };
    let rows: Vec<_> = board.endpoints.iter().map(row).collect();
    let head = ["ENDPOINT", "ZONE", "PLACE", "STANDS", "LAST", "BY", "DUE"];
    let mut text = table(&head, &rows);
    if !board.clocks.is_empty() {
        let row = |one: &ClockStands| {
            vec![one.name.clone(), one.due.word().to_owned(), by(one.last), day(one.due_ms)]
        };
        let rows: Vec<_> = board.clocks.iter().map(row).collect();
        text += &format!("\n\n{}", table(&["CLOCK", "STANDS", "BY", "DUE"], &rows));
    }
    text + "\n\n" + &board.in_a_sentence()
}

fn read(path: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(path).map_err(|error| {
        Fault::new(
            Code::NotFound,
            format!("{} cannot be read", path.display()),
            error.to_string(),
            "check the path",
        )
    })
}

/// The facts of an export, and in a sentence what it was worth. An export that was altered gives none.
fn facts_of(path: &Path, key: [u8; 32]) -> Result<(Vec<Fact>, String), Fault> {
    let broke = |error: std::io::Error| {
        Fault::new(
            Code::NotFound,
            format!("{} cannot be read", path.display()),
            error.to_string(),
            "check the path",
        )
    };
    let altered = |why: String| {
        let now =
            "export it again from the appliance and compare; nothing is assessed by a log that does not hold";
        Fault::new(Code::Integrity, "the evidence log was tampered with or damaged", why, now)
    };
    let mut log = BufReader::with_capacity(1 << 18, File::open(path).map_err(broke)?);
    let mut verifier = Verifier::quick(key);
    let (mut line, mut facts) = (String::new(), Vec::new());
    loop {
        line.clear();
        if log.read_line(&mut line).map_err(broke)? == 0 {
            break;
        }
        let line = line.trim_end_matches(['\n', '\r']);
        verifier.line(line).map_err(|why| altered(why.to_string()))?;
        facts.extend(Line::parse(line).ok().and_then(|line| Fact::of_entry(line.text()?)));
    }
    let seen = verifier.finish().map_err(|why| altered(why.to_string()))?;
    if seen.entries == 0 || seen.signed_up_to < seen.entries {
        return Err(altered(format!(
            "{} entries, and the signature covers {}",
            seen.entries, seen.signed_up_to
        )));
    }
    let said = format!("{} entries of the log, signed to the last and unaltered", seen.entries);
    Ok((facts, said))
}

fn text(assessed: &[Assessment], seen: &str) -> String {
    let mut rows = Vec::new();
    for zone in assessed {
        for one in &zone.standings {
            let way = match one.verdict {
                Verdict::Met => String::new(),
                Verdict::Unproven | Verdict::Gap => {
                    one.blocking.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                }
            };
            rows.push(vec![
                zone.zone.clone(),
                one.fr.word().to_owned(),
                one.target.to_string(),
                format!("{} to {}", one.evidence.low, one.evidence.high),
                format!("{} to {}", one.declared.low, one.declared.high),
                one.verdict.word().to_owned(),
                way,
            ]);
        }
    }
    let unseen: Vec<Vec<String>> = runbooks::assess::NOT_ASSESSABLE
        .iter()
        .map(|(what, why, who)| [what, why, who].map(|text| (*text).to_owned()).to_vec())
        .collect();
    let head = ["ZONE", "FR", "AIMED AT", "EVIDENCE", "DECLARED", "VERDICT", "IN THE WAY"];
    format!(
        "{}\n\nEvidence: {seen}.\nThis supports an assessment and is none. Not assessable by this tool:\n\n{}\n",
        table(&head, &rows),
        table(&["WHAT", "WHY", "WHO CAN SAY"], &unseen)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_becomes_a_fact_by_its_words() {
        let entry = |facts: serde_json::Value| {
            let line = serde_json::json!({ "seq": 3, "at_unix_ms": 9, "kind": "transition", "actor": "agent", "endpoint": "press-01", "mode": "drill", "facts": facts });
            Fact::of_entry(&line.to_string()).unwrap()
        };
        let recovered =
            entry(serde_json::json!({ "from": "releasing", "to": "recovered", "ek_sha256": null, "x": 1 }));
        assert_eq!((recovered.to.as_deref(), recovered.seq, recovered.at_ms), (Some("recovered"), 3, 9));
        assert!(recovered.drill);
        assert_eq!(recovered.values.get("from").map(String::as_str), Some("releasing"));
        assert!(
            text(&[], "none").contains("Not assessable by this tool") && text(&[], "none").contains("SR 7.5")
        );
        assert_eq!(
            (recovered.has.contains(&"x".to_owned()), recovered.has.contains(&"ek_sha256".to_owned())),
            (true, false)
        );
        assert_eq!(
            entry(serde_json::json!({ "to": { "is": "failed", "reason": "x" } })).to.as_deref(),
            Some("failed")
        );
    }
}
