//! The report of a run: what an auditor reads. A pure function of data: `RunRecord` + [`Circumstances`] ─► [`RunReport`] ─► HTML, PDF, JSON, CSV.
//!
//! The model holds every figure and sentence; [`paper`](RunReport::paper) only lays it out, and [`json`](RunReport::json) is the same model for
//! machines. A drill carries a striped frame and the word DRILL on every page; a real run does not. The page loads nothing from
//! anywhere and runs no script.
//!
//! What it must never say: that anything complies or is certified. It says what was seen, how often, and what was not looked at.

pub mod around;
mod build;
mod paper;
pub mod recovery;
#[cfg(test)]
mod tests;
mod trend;
mod waterfall;
pub(crate) mod words;

use serde::{Deserialize, Serialize};

pub use self::around::Around;
use crate::{
    ids::{RunId, StepId, TargetId},
    measure::{Measured, Observed, PhaseTiming, Summary},
    paper::{Language, Paper, PdfError},
    run::{CheckResult, Failure, FrozenTarget, Moment, RunRecord, Verdict},
    runbook::ModeName,
};

/// The schema of the JSON form.
pub const SCHEMA: &str = "run-report/v1";

/// What the caller knows and the run does not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Circumstances {
    /// The site's name.
    pub site: String,
    /// Which appliance and version, such as `groundstate 0.1.0`.
    pub appliance: String,
    /// When the report is written, milliseconds since 1970.
    pub written_at_ms: u64,
    /// What was seen on each endpoint.
    pub endpoints: Vec<Observation>,
    /// Entries of the evidence log that belong to the run.
    pub evidence: Vec<EvidenceRef>,
    /// The state of the evidence log when the report was written.
    pub seal: Seal,
    /// Earlier recoveries to stand beside these, the oldest first; the report pools them by class and place. Those of this run excluded.
    pub earlier: Vec<Observed>,
    /// The language of the report's own sentences.
    #[serde(default)]
    pub language: Language,
    /// What other runs say of this one.
    #[serde(default)]
    pub around: Around,
}

/// What was seen on one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The endpoint.
    pub target: TargetId,
    /// Id of the recovery job, when there was one.
    pub job: Option<String>,
    /// The golden image's name and version, for people.
    pub image_name: String,
    /// The phases of the job.
    pub timings: Vec<PhaseTiming>,
    /// Bytes written to the disk.
    pub written_bytes: Option<u64>,
    /// Age of the restored configuration when the run began, for the RPO.
    pub config_age_ms: Option<u64>,
}

/// One stretch of the evidence log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceRef {
    /// What it shows.
    pub what: String,
    /// Its first entry.
    pub seq_first: u64,
    /// Its last entry.
    pub seq_last: u64,
    /// The hash of its last entry, lower-case hex.
    pub hash: String,
}

/// Head of the evidence log and the key that signs it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seal {
    /// Number of the last entry.
    pub seq: u64,
    /// The signed root over all entries up to it, lower-case hex.
    pub hash: String,
    /// The same as a signed checkpoint, to be held against the log later.
    #[serde(default)]
    pub checkpoint: String,
    /// The evidence key's public half (Ed25519), lower-case hex.
    pub key_ed25519: String,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// [`SCHEMA`].
    pub schema: String,
    /// The language of its own sentences.
    #[serde(default)]
    pub language: Language,
    /// The site's name.
    pub site: String,
    /// Which appliance and version.
    pub appliance: String,
    /// The run.
    pub run: RunId,
    /// Its mode.
    pub mode: ModeName,
    /// How it went.
    pub verdict: Verdict,
    /// The outcome in one or two sentences.
    pub summary: Vec<String>,
    /// The plan that was carried out.
    pub plan: Plan,
    /// When it was planned, milliseconds since 1970.
    pub planned_at_ms: u64,
    /// When it began.
    pub begun_at_ms: Option<u64>,
    /// When this was written.
    pub written_at_ms: u64,
    /// Who did what.
    pub people: Vec<Person>,
    /// The endpoints, as frozen in the plan.
    pub scope: Vec<FrozenTarget>,
    /// What was aimed at and what was reached.
    pub objectives: Vec<Objective>,
    /// What more runs like these would let one claim.
    pub claims: Vec<Claim>,
    /// The service times behind them, in order.
    #[serde(default)]
    pub trends: Vec<Trend>,
    /// Endpoint by endpoint.
    pub endpoints: Vec<EndpointResult>,
    /// Step by step.
    pub steps: Vec<StepResult>,
    /// Every check that did not pass.
    pub failed_checks: Vec<FailedCheck>,
    /// Where the run left its plan.
    pub deviations: Vec<String>,
    /// What was checked at the end.
    pub cleanup: Cleanup,
    /// What to do, from failures and missed objectives.
    pub actions: Vec<Action>,
    /// The items on record, the run before, and the line of runs.
    #[serde(default)]
    pub around: Around,
    /// What this report does not show, and who can.
    pub not_assessed: Vec<NotAssessed>,
    /// What happened, in order.
    pub timeline: Vec<Moment>,
    /// Entries of the evidence log.
    pub evidence: Vec<EvidenceRef>,
    /// Head of the evidence log.
    pub seal: Seal,
}

/// The plan of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The runbook's name.
    pub runbook: String,
    /// Its version.
    pub version: u32,
    /// blake3 of its text.
    pub digest: String,
    /// Its title.
    pub title: String,
    /// What it is for.
    pub purpose: String,
    /// Who answers for it.
    pub owner: String,
    /// What was approved: runbook, endpoints, images and mode in one hash.
    pub binding: String,
}

/// Somebody's part in the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// What they did.
    pub part: String,
    /// Who.
    pub person: String,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
}

/// One objective and what was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    /// What is measured.
    pub name: String,
    /// From where to where.
    pub meaning: String,
    /// What was aimed at.
    pub target_ms: Option<u64>,
    /// The slowest that was measured.
    pub actual_ms: Option<u64>,
    /// How many figures are behind it.
    pub n: usize,
    /// How it stands.
    pub standing: Standing,
}

/// How an objective stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Within the target.
    Met,
    /// Over the target, or an endpoint never got there.
    Missed,
    /// Measured, but nothing was aimed at.
    NoTarget,
    /// Not measured.
    NotMeasured,
}

/// What the runs of one class at one kind of place show together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Hardware class and place.
    pub of: String,
    /// The service times, this run included.
    pub summary: Summary,
    /// With 95 % confidence, at least so many in a hundred finish within the slowest; by the clean runs since the last miss. `None`: there is none.
    pub percent: Option<u8>,
    /// Clean runs still missing for 90 %.
    pub missing_for_90: u32,
}

/// The service times of one class at one kind of place, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trend {
    /// Hardware class and place.
    pub of: String,
    /// What was aimed at.
    pub objective_ms: Option<u64>,
    /// The recoveries.
    pub runs: Vec<TrendRun>,
}

/// One recovery in a trend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrendRun {
    /// How long it took; `None`: it did not come back.
    pub took_ms: Option<u64>,
    /// It is of this run.
    pub now: bool,
}

/// How one endpoint fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointResult {
    /// The endpoint as planned.
    pub planned: FrozenTarget,
    /// `proven`, `failed`, `skipped`, `held`, `working`, `pending`.
    pub state: String,
    /// Why not, when not.
    pub failure: Option<Failure>,
    /// What was seen; `None`: nothing.
    pub observed: Option<Observation>,
    /// Its recovery times.
    pub measured: Measured,
    /// The target for its service time.
    pub target_ms: Option<u64>,
    /// What was looked at.
    pub checks: Vec<CheckResult>,
}

/// How one step went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// The step.
    pub step: StepId,
    /// Its verb.
    pub verb: String,
    /// The endpoint.
    pub target: Option<TargetId>,
    /// `passed`, `failed`, `skipped`, `working`, `pending`.
    pub state: String,
    /// What was done or seen.
    pub what: String,
    /// When it began, milliseconds since 1970.
    pub from_ms: Option<u64>,
    /// How long it took.
    pub took_ms: Option<u64>,
    /// How long it should take.
    pub target_ms: Option<u64>,
    /// How often it was begun.
    pub attempts: u32,
}

/// A check that did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCheck {
    /// In which step.
    pub step: StepId,
    /// On which endpoint.
    pub target: Option<TargetId>,
    /// The check.
    pub check: CheckResult,
}

/// Proof that nothing of the run was left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleanup {
    /// Every check of it passed, and there was at least one.
    pub proven: bool,
    /// The checks of the last steps.
    pub checks: Vec<CheckResult>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// `A1`, `A2`, …
    pub id: String,
    /// What it comes from.
    pub from: String,
    /// What happened.
    pub what: String,
    /// What to do.
    pub what_now: String,
    /// Whose duty it mostly is: `owner`, `integrator`, `supplier`, `appliance`.
    #[serde(default)]
    pub duty: String,
}

/// Something that this report says nothing about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotAssessed {
    /// What.
    pub what: String,
    /// Who can say.
    pub who: String,
}

impl RunReport {
    /// Build the report of a run as it stands. A report step that is just being carried out counts as done.
    #[must_use]
    pub fn of(record: &RunRecord, circumstances: Circumstances) -> Self {
        build::build(record, circumstances)
    }

    /// The report, ready to be laid out.
    #[must_use]
    pub fn paper(&self) -> Paper {
        paper::paper(self)
    }

    /// The report as one page of HTML: self-contained, printable, without scripts.
    #[must_use]
    pub fn html(&self) -> String {
        self.paper().html()
    }

    /// The same as a PDF/A-3b.
    ///
    /// # Errors
    /// A fault of this program.
    pub fn pdf(&self) -> Result<Vec<u8>, PdfError> {
        self.paper().pdf()
    }

    /// Its steps as lines of CSV, for a spreadsheet.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = String::from("run,mode,step,verb,endpoint,state,took_ms,target_ms,attempts,what\n");
        let number = |ms: Option<u64>| ms.map_or_else(String::new, |ms| ms.to_string());
        for step in &self.steps {
            let target = step.target.as_ref().map_or_else(String::new, ToString::to_string);
            let cells = [
                self.run.to_string(),
                self.mode.word().to_owned(),
                step.step.to_string(),
                step.verb.clone(),
                target,
                step.state.clone(),
                number(step.took_ms),
                number(step.target_ms),
                step.attempts.to_string(),
                step.what.clone(),
            ];
            text.push_str(&words::csv_line(&cells));
        }
        text
    }

    /// The report for machines.
    ///
    /// # Errors
    /// Never for a report that [`RunReport::of`] made.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}
