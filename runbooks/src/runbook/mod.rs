//! A runbook: a procedure as code. What it can say, after parsing; [`parse`](parse::parse) reads it, [`lint`](lint::lint) judges it.
//!
//! The verb set is closed and the language is total: no loop, no shell, no expression. So a run can be predicted, printed and
//! reviewed before anyone presses a button. Verbs that this version cannot run still parse, so that a file written for a later
//! version gets a sentence instead of a syntax error.
//!
//! Times are `u64` milliseconds with `_ms` in their name. A file writes them as `90s`, `12m`, `2h`, `7d`.

pub mod lint;
pub mod parse;
mod span;
#[cfg(test)]
mod tests;
mod with;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::ids::StepId;

/// A parsed runbook. Not yet linted: [`crate::run::plan`] does that before it makes a run.
///
/// It is stored as its own text and read back by parsing that, so what a run executes is always what the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Runbook {
    /// The file's text.
    pub source: String,
    /// Its name, such as `quarterly-hmi-drill`.
    pub name: String,
    /// Its version; higher supersedes lower.
    pub version: u32,
    /// blake3 of the file's text, lower-case hex. Approvals bind to it.
    pub digest: String,
    /// Title by language code; `en` is always there.
    pub title: BTreeMap<String, String>,
    /// Who answers for it.
    pub owner: String,
    /// What it is for, in a sentence or two.
    pub purpose: String,
    /// When to start it.
    pub activates_when: Vec<String>,
    /// When it is over.
    pub deactivates_when: Vec<String>,
    /// Duty in the run, such as `lead`, to role.
    pub roles: BTreeMap<String, String>,
    /// What it is measured by.
    pub objectives: Objectives,
    /// Which endpoints it is for.
    pub select: Selector,
    /// The modes that it may run in, each with a narrower selection.
    pub modes: BTreeMap<ModeName, Selector>,
    /// How much at once, and when to stop.
    pub limits: Limits,
    /// The steps, in the order of the file.
    pub steps: Vec<Step>,
    /// Steps that run at the end whatever happened, one after the other.
    pub finally: Vec<Step>,
    /// Keys that a later version understands and this one does not.
    pub later: Vec<LaterKey>,
}

/// A key that this version parses and refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterKey {
    /// The key, such as `waves`.
    pub key: String,
    /// Where it stands.
    pub at: Position,
}

impl From<Runbook> for String {
    fn from(runbook: Runbook) -> Self {
        runbook.source
    }
}

impl TryFrom<String> for Runbook {
    type Error = parse::ParseError;

    fn try_from(source: String) -> Result<Self, Self::Error> {
        parse::parse(&source)
    }
}

impl Runbook {
    /// The title in English.
    #[must_use]
    pub fn title_en(&self) -> &str {
        self.title.get("en").map_or(self.name.as_str(), String::as_str)
    }

    /// Every step, `finally` last.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().chain(&self.finally)
    }
}

/// A place in the file. Lines and columns count from 1; 0 means unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What a run is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Objectives {
    /// Recovery time of the whole run, from its beginning to the end of its last step before `finally`.
    pub rto_ms: Option<u64>,
    /// Recovery time of one endpoint, from the declared incident to its release.
    pub per_target_rto_ms: Option<u64>,
    /// The part of it that no person and no decision is in: from trigger to attested.
    pub machine_rto_ms: Option<u64>,
    /// Oldest acceptable configuration.
    pub rpo_ms: Option<u64>,
}

/// Which endpoints: every given word must fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Asset kind.
    pub kind: Option<String>,
    /// A label that it must have.
    pub label: Option<String>,
    /// Security zone.
    pub zone: Option<String>,
    /// Labels that exclude it.
    pub exclude_label: Option<String>,
}

/// How much at once, and when to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Endpoints worked on at the same time; at least 1.
    pub max_parallel: u32,
    /// The run stops when more endpoints than this have failed.
    pub max_failures: MaxFailures,
}

impl Default for Limits {
    /// One after the other, and stop at the first failure.
    fn default() -> Self {
        Self { max_parallel: 1, max_failures: MaxFailures::Count(0) }
    }
}

/// A number of endpoints, or a share of the plan's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxFailures {
    /// So many.
    Count(u32),
    /// So many in a hundred, rounded down.
    Percent(u8),
}

impl MaxFailures {
    /// How many of `targets` may fail before the run stops.
    #[must_use]
    pub fn of(self, targets: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => targets.saturating_mul(usize::from(percent)) / 100,
        }
    }
}

/// The mode of a run, as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeName {
    /// The real thing.
    Real,
    /// A rehearsal on drill-safe hardware.
    Drill,
    /// A rehearsal on virtual endpoints only.
    Virtual,
    /// Says what would happen.
    DryRun,
    /// People talk it through.
    Tabletop,
}

impl ModeName {
    /// The modes that this version can run.
    pub const SUPPORTED: [Self; 3] = [Self::Real, Self::Drill, Self::Virtual];

    /// The word in a file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Drill => "drill",
            Self::Virtual => "virtual",
            Self::DryRun => "dry_run",
            Self::Tabletop => "tabletop",
        }
    }
}

/// One line of the procedure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its id, unique in the runbook.
    pub id: StepId,
    /// Where it stands in the file.
    pub at: Position,
    /// What it does.
    pub uses: Uses,
    /// What it does instead in a mode (`in:` in the file).
    pub instead: BTreeMap<ModeName, Uses>,
    /// Once per run, or once per endpoint.
    pub per: Per,
    /// Steps that must have passed before.
    pub needs: Vec<StepId>,
    /// It failed when it is not done by then.
    pub timeout_ms: u64,
    /// It should be done by then; the report says when it was not.
    pub target_ms: Option<u64>,
    /// Tried again so many times.
    pub retries: u32,
    /// What a failure means.
    pub on_failure: OnFailure,
    /// What running out of time means.
    pub on_timeout: OnFailure,
    /// Keys that a later version understands and this one does not.
    pub later: Vec<LaterKey>,
}

impl Step {
    /// What the step does in a mode.
    #[must_use]
    pub fn uses_in(&self, mode: ModeName) -> &Uses {
        self.instead.get(&mode).unwrap_or(&self.uses)
    }
}

/// How often a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Once.
    #[default]
    Run,
    /// Once for each endpoint.
    Target,
}

/// What a failure of a step means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nothing new starts; what works is let finish; `finally` runs.
    StopRun,
    /// This endpoint is out; the others go on, up to `max_failures`.
    Quarantine,
    /// It is written down and the run goes on.
    Continue,
}

/// The closed set of verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Ask the appliance whether facts hold.
    Check,
    /// Wait for people to approve.
    Approve,
    /// Tell a person, who acknowledges.
    Notify,
    /// A person does something and says so.
    Manual,
    /// Put an endpoint into quarantine.
    Isolate,
    /// Keep data about the cause before it is overwritten.
    Capture,
    /// Return an endpoint to its golden image.
    Reimage,
    /// Prove what was restored.
    Verify,
    /// Give the endpoint its identity back.
    Enrol,
    /// The operator of the line accepts it.
    Accept,
    /// Lift the quarantine.
    Release,
    /// Let time pass.
    Wait,
    /// A person chooses a way.
    Decide,
    /// Write the report.
    Report,
    /// Run another runbook.
    Call,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 15] = [
        Self::Check,
        Self::Approve,
        Self::Notify,
        Self::Manual,
        Self::Isolate,
        Self::Capture,
        Self::Reimage,
        Self::Verify,
        Self::Enrol,
        Self::Accept,
        Self::Release,
        Self::Wait,
        Self::Decide,
        Self::Report,
        Self::Call,
    ];

    /// The word in a file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Approve => "approve",
            Self::Notify => "notify",
            Self::Manual => "manual",
            Self::Isolate => "isolate",
            Self::Capture => "capture",
            Self::Reimage => "reimage",
            Self::Verify => "verify",
            Self::Enrol => "enrol",
            Self::Accept => "accept",
            Self::Release => "release",
            Self::Wait => "wait",
            Self::Decide => "decide",
            Self::Report => "report",
            Self::Call => "call",
        }
    }

    /// How long a step of this verb may take when the file does not say. Never days: it fails closed.
    #[must_use]
    pub fn default_timeout_ms(self) -> u64 {
        const MINUTE: u64 = 60_000;
        match self {
            Self::Check | Self::Isolate | Self::Capture | Self::Report => 2 * MINUTE,
            Self::Verify | Self::Enrol | Self::Release => 5 * MINUTE,
            Self::Approve | Self::Notify | Self::Accept | Self::Decide => 10 * MINUTE,
            Self::Manual => 15 * MINUTE,
            Self::Reimage | Self::Wait | Self::Call => 30 * MINUTE,
        }
    }

    /// The verb works on one endpoint, so a step of it must say `per: target`.
    #[must_use]
    pub fn works_on_a_target(self) -> bool {
        matches!(
            self,
            Self::Isolate | Self::Capture | Self::Reimage | Self::Verify | Self::Enrol | Self::Release
        )
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A verb with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uses {
    /// Do these facts hold?
    Check {
        /// Which facts; at least one.
        set: Vec<CheckItem>,
    },
    /// People approve.
    Approve(Approval),
    /// A person is told and acknowledges.
    Notify {
        /// The role that is told.
        to: String,
        /// What they are told.
        text: String,
    },
    /// A person does something and says so.
    Manual {
        /// What to do.
        text: String,
        /// What to tick, one by one.
        checklist: Vec<String>,
    },
    /// Return the endpoint to the golden image that its blueprint means.
    Reimage,
    /// Prove what was restored.
    Verify {
        /// Without a TPM quote the step fails (`attest: required`), or is noted (`attest: if_possible`).
        attest: Attest,
    },
    /// Write the report.
    Report {
        /// Which.
        kind: ReportKind,
    },
    /// A verb that this version cannot run.
    Later {
        /// Which.
        which: Verb,
    },
}

impl Uses {
    /// Its verb.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Self::Check { .. } => Verb::Check,
            Self::Approve(_) => Verb::Approve,
            Self::Notify { .. } => Verb::Notify,
            Self::Manual { .. } => Verb::Manual,
            Self::Reimage => Verb::Reimage,
            Self::Verify { .. } => Verb::Verify,
            Self::Report { .. } => Verb::Report,
            Self::Later { which } => *which,
        }
    }
}

/// Facts that a `check` can ask for. The appliance answers each with what it saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckItem {
    /// The golden image of each target is in the store, whole, and signed by a key that we trust.
    ImageVerified,
    /// The store has room for what a run writes.
    StoreFree,
    /// No recovery job works on any target.
    EndpointIdle,
    /// No live boot ticket for any target.
    NoOpenTickets,
    /// The control plane answers.
    ControlPlane,
}

impl CheckItem {
    /// Every item.
    pub const ALL: [Self; 5] =
        [Self::ImageVerified, Self::StoreFree, Self::EndpointIdle, Self::NoOpenTickets, Self::ControlPlane];

    /// The word in a file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ImageVerified => "image-verified",
            Self::StoreFree => "store-free",
            Self::EndpointIdle => "endpoint-idle",
            Self::NoOpenTickets => "no-open-tickets",
            Self::ControlPlane => "control-plane",
        }
    }
}

/// Who must approve. People are always distinct from each other; a denial is final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// How many people. 0 only in mode `virtual`: the step passes by itself and says so.
    pub min: u8,
    /// Roles, one of which each must have; empty means any.
    pub roles: Vec<String>,
    /// The requester may not be among them.
    pub not_requester: bool,
}

/// Is a TPM quote needed?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attest {
    /// Without a verified quote the step fails.
    Required,
    /// Endpoints without a TPM pass, and the report says so.
    IfPossible,
}

/// Which report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportKind {
    /// HTML and JSON of this run.
    RunReport,
}
