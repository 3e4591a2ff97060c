//! `groundstate doctor`: is this appliance fit to recover something tonight. It measures; what it could not look at, it says so.
//!
//! | where it looks | file |
//! |---|---|
//! | this computer: clock, memory, disks, TPM, name, interfaces | `doctor/here.rs` |
//! | what it rests on: its disks' health, links and VLANs, depot, directory, provider | `doctor/around.rs` |
//! | the data directory and what it names: database, certificates, keys, boot kit, image store | `doctor/kept.rs` |
//! | the appliance, over its API: backup, drills, evidence, channels, other DHCP servers | `doctor/asked.rs` |
//! | the boot services, as an endpoint would ask them | `doctor/fetched.rs` |
//!
//! It must never: call well what it did not see, change anything but a file of its own that it removes again (an object, in the depot), or bind a port.

mod around;
mod asked;
mod fetched;
mod here;
mod kept;
#[cfg(test)]
mod tests;

use std::{path::Path, process::ExitCode, time::SystemTime};

use serde::Serialize;

use crate::{
    cli::{Client, Fault, Output, Reach, print, table},
    config::Config,
};

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It was looked at, and is well.
    Ok,
    /// It could not be looked at. Counts as a warning.
    Unknown,
    /// It will hurt one day.
    Warning,
    /// It stands in the way of a recovery, or of its proof.
    Failure,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Failure => "FAILURE",
        }
    }
}

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name, `kebab-case`.
    pub check: &'static str,
    /// How it stands.
    pub severity: Severity,
    /// What was seen, with its values.
    pub evidence: String,
    /// What to do; empty where nothing.
    pub remedy: String,
}

impl Finding {
    fn of(check: &'static str, severity: Severity, evidence: impl Into<String>, remedy: &str) -> Self {
        let remedy = if severity == Severity::Ok { String::new() } else { remedy.to_owned() };
        Self { check, severity, evidence: evidence.into(), remedy }
    }

    fn ok(check: &'static str, evidence: impl Into<String>) -> Self {
        Self::of(check, Severity::Ok, evidence, "")
    }

    fn unknown(check: &'static str, why: impl Into<String>, remedy: &str) -> Self {
        Self::of(check, Severity::Unknown, why, remedy)
    }

    fn warning(check: &'static str, evidence: impl Into<String>, remedy: &str) -> Self {
        Self::of(check, Severity::Warning, evidence, remedy)
    }

    fn failure(check: &'static str, evidence: impl Into<String>, remedy: &str) -> Self {
        Self::of(check, Severity::Failure, evidence, remedy)
    }
}

/// What to look at, and with what.
pub struct Scene<'a> {
    /// The configuration, or the usual one in the data directory that was named.
    pub config: &'a Config,
    /// How to reach the appliance.
    pub reach: &'a Reach,
    /// Milliseconds since 1970.
    pub now_unix_ms: u64,
}

/// Look at everything. Blocking.
#[must_use]
pub fn look(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = here::look(scene.config);
    found.extend(around::look(scene.config));
    found.extend(kept::look(scene));
    let client = scene.reach.client();
    found.extend(asked::look(scene, client.as_ref()));
    found.extend(fetched::look(scene.config, client.as_ref().ok()));
    found
}

/// Look, and print what was found.
///
/// # Errors
/// When it cannot be printed. What was found is the exit code: 0 all is well, 1 warnings, 2 failures.
pub fn run(config: &Config, reach: &Reach, output: Output) -> Result<ExitCode, Fault> {
    let found = look(&Scene { config, reach, now_unix_ms: now_unix_ms() });
    print(output, &found, |found| shown(found))?;
    let count = |severity| found.iter().filter(|finding| finding.severity == severity).count();
    let (failures, warnings, unknown) =
        (count(Severity::Failure), count(Severity::Warning), count(Severity::Unknown));
    eprintln!(
        "{} checks: {failures} failures, {warnings} warnings, {unknown} that could not be looked at",
        found.len()
    );
    Ok(exit_code(&found))
}

/// 0 all is well, 1 warnings or what could not be looked at, 2 failures.
fn exit_code(found: &[Finding]) -> ExitCode {
    match found.iter().map(|finding| finding.severity).max() {
        None | Some(Severity::Ok) => ExitCode::SUCCESS,
        Some(Severity::Unknown | Severity::Warning) => ExitCode::from(1),
        Some(Severity::Failure) => ExitCode::from(2),
    }
}

/// The worst first, each with what to do under it.
#[must_use]
pub fn shown(found: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = found.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let mut rows = Vec::new();
    for finding in sorted {
        let evidence = finding.evidence.replace('\n', " ");
        rows.push(vec![finding.severity.word().to_owned(), finding.check.to_owned(), evidence]);
        if !finding.remedy.is_empty() {
            rows.push(vec![String::new(), String::new(), format!("hint: {}", finding.remedy)]);
        }
    }
    table(&["", "CHECK", "SEEN"], &rows)
}

/// Milliseconds since 1970.
#[must_use]
pub fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

const DAY_MS: u64 = 24 * 3600 * 1000;

/// How long ago, in the largest unit that says something.
fn ago(ms: u64) -> String {
    match ms {
        0..120_000 => format!("{} s ago", ms / 1000),
        120_000..7_200_000 => format!("{} min ago", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h ago", ms / 3_600_000),
        _ => format!("{} days ago", ms / DAY_MS),
    }
}

/// What is done by whom the file belongs to, or by root.
const AS_ROOT: &str = "run it on the appliance as root (`sudo groundstate doctor`)";

/// Whether a path can be looked at at all, and if not, why.
fn seen(check: &'static str, path: &Path) -> Result<std::fs::Metadata, Finding> {
    std::fs::metadata(path)
        .map_err(|error| Finding::unknown(check, format!("{}: {error}", path.display()), AS_ROOT))
}

/// The client, borrowed, or why there is none.
type Asked<'a> = Result<&'a Client, &'a Fault>;
