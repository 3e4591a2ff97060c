//! A runbook: a procedure as code. What it can say, after parsing; [`parse`](parse::parse) reads it, [`lint`](lint::lint) judges it.
//!
//! The verb set is closed and the language is total: no loop, no shell, no expression. So a run can be predicted, printed and
//! reviewed before anyone presses a button. Verbs that this version cannot run still parse, so that a file written for a later
//! version gets a sentence instead of a syntax error.
//!
//! Times are `u64` milliseconds with `_ms` in their name. A file writes them as `90s`, `12m`, `2h`, `7d`.

mod inject;
pub mod lint;
pub mod parse;
#[cfg(test)]
mod schema;
mod span;
mod steps;
#[cfg(test)]
mod tests;
mod text;
mod wave;
mod with;

pub use inject::{INJECT_MS_MAX, Inject, InjectKind};
pub use steps::{Approval, Attest, CheckItem, OnUnreachable, Profile, ReportKind, Uses, Verb};
pub use text::Text;
pub use wave::{Pass, Wave};

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::ids::StepId;

/// The JSON Schema of a runbook's file, for editors.
pub const SCHEMA_JSON: &str = include_str!("../../schema/runbook-v1.json");

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
    /// Whom to call, in the order to try; printed on the card.
    pub contacts: Vec<String>,
    /// What it is measured by.
    pub objectives: Objectives,
    /// Which endpoints it is for.
    pub select: Selector,
    /// The modes that it may run in, each with a narrower selection.
    pub modes: BTreeMap<ModeName, Selector>,
    /// How much at once, and when to stop.
    pub limits: Limits,
    /// Who goes first. Empty: all in one.
    pub waves: Vec<Wave>,
    /// The steps, in the order of the file.
    pub steps: Vec<Step>,
    /// Steps that run at the end whatever happened, one after the other.
    pub finally: Vec<Step>,
    /// What goes wrong on purpose, in rehearsals alone.
    pub injects: Vec<Inject>,
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
    /// A run may never give more permissions to write than this, retries counted. A plan that could is refused.
    pub max_permits: u32,
}

/// Permissions to write that a run may give when its file does not say.
pub const PERMITS_MAX_DEFAULT: u32 = 40;

impl Default for Limits {
    /// One after the other, and stop at the first failure.
    fn default() -> Self {
        Self { max_parallel: 1, max_failures: MaxFailures::Count(0), max_permits: PERMITS_MAX_DEFAULT }
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// Every mode.
    pub const ALL: [Self; 5] = [Self::Real, Self::Drill, Self::Virtual, Self::DryRun, Self::Tabletop];

    /// Nothing is carried out: a dry run is the plan, a tabletop is the binder's cards, talked through.
    #[must_use]
    pub fn is_paper(self) -> bool {
        matches!(self, Self::DryRun | Self::Tabletop)
    }

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
    /// When it is meant at all; else it is skipped, and what needs it goes on.
    pub condition: Condition,
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
}

impl Step {
    /// What the step does in a mode.
    #[must_use]
    pub fn uses_in(&self, mode: ModeName) -> &Uses {
        self.instead.get(&mode).unwrap_or(&self.uses)
    }
}

/// When a step is meant (`if:` in the file). Not an expression: a list of modes, and choices that people made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// Only in these modes; empty: in all.
    pub modes: Vec<ModeName>,
    /// Only when these `decide` steps were answered so.
    pub chose: BTreeMap<StepId, String>,
}

impl Condition {
    /// It may be meant in this mode.
    #[must_use]
    pub fn fits(&self, mode: ModeName) -> bool {
        self.modes.is_empty() || self.modes.contains(&mode)
    }

    /// Wherever `other` is meant in this mode, so is this.
    #[must_use]
    pub fn covers(&self, other: &Self, mode: ModeName) -> bool {
        self.fits(mode) && self.chose.iter().all(|(step, option)| other.chose.get(step) == Some(option))
    }
}

/// How often a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nothing new starts; what works is let finish; `finally` runs.
    StopRun,
    /// This endpoint is out, and nothing new of its wave begins; the wave's `pass` decides on the next one.
    StopWave,
    /// This endpoint is out; the others go on, up to `max_failures`.
    Quarantine,
    /// It is written down and the run goes on.
    Continue,
}
