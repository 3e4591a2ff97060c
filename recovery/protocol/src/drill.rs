//! Rehearsals as people and scripts see them: begin one, look at it, answer it.

use serde::{Deserialize, Serialize};

use crate::{EndpointId, JobId};

/// As what a runbook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunMode {
    /// A rehearsal on drill-safe endpoints; where all are virtual and the runbook knows that mode, it is `virtual`.
    #[default]
    Drill,
    /// A rehearsal on virtual endpoints, and on nothing else.
    Virtual,
    /// The real thing. Each recovery passes the guard rails as any other.
    Real,
    /// People talk it through; nothing is touched.
    Tabletop,
    /// What the real thing would do, put on record; nothing begins.
    DryRun,
}

/// Start a run of a runbook.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewDrill {
    /// Name of a shipped runbook; of a file, what it is called in a refusal.
    pub runbook: String,
    /// The text of a runbook that does not ship.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its targets. In a drill each must be drill-safe.
    #[serde(default)]
    pub endpoints: Vec<EndpointId>,
    /// Targets by selector, as in `line=3,kind=hmi`, beside those that are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// As what.
    #[serde(default)]
    pub mode: RunMode,
    /// The hash of the plan that was looked at: it begins only if the plan is still that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<String>,
    /// People with their hands free, for the outlook; 0 counts as one.
    #[serde(default)]
    pub people: u32,
}

/// What a run would do, before it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DrillPlan {
    /// The runbook's name and version.
    pub runbook: String,
    /// blake3 of its file, lower-case hex.
    pub digest: String,
    /// `real`, `drill`, `virtual`, `tabletop`.
    pub mode: String,
    /// The plan's hash: what people approve, and what a run is bound to.
    pub binding: String,
    /// The waves, in order, each with its endpoints.
    pub waves: Vec<DrillPlanWave>,
    /// Steps that wait for a person; none: it runs unattended.
    pub by_hand: Vec<String>,
    /// Permissions to write at most, retries counted.
    pub permits_at_most: u64,
    /// How long, by what was measured before, in a sentence.
    pub outlook: String,
}

/// One wave of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DrillPlanWave {
    /// Its name.
    pub wave: String,
    /// Its endpoints.
    pub endpoints: Vec<EndpointId>,
}

/// What a person is in a runbook's words: `drill-lead`, `shift-supervisor`. Given by whoever manages people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Duties {
    /// All of them; what is not named is taken away.
    pub duties: Vec<String>,
}

/// One drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DrillView {
    /// Its id.
    pub drill: String,
    /// The runbook's name and version.
    pub runbook: String,
    /// `real`, `drill`, `virtual`, `tabletop`.
    #[serde(default)]
    pub mode: String,
    /// Who asked for it, as in evidence.
    #[serde(default)]
    pub asked_by: String,
    /// The plan's hash.
    #[serde(default)]
    pub binding: String,
    /// `running`, `waiting_person`, `succeeded`, `partly`, `failed`, `aborted`.
    pub state: String,
    /// The steps so far, one line each.
    pub steps: Vec<DrillStepView>,
    /// The jobs it started.
    pub jobs: Vec<JobId>,
    /// What went wrong on purpose.
    #[serde(default)]
    pub injects: Vec<InjectView>,
}

/// Let something go wrong on purpose in a drill that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewInject {
    /// `image-server-unreachable`, `wrong-disk-fitted`, `technician-absent`, `pcr-mismatch`, `control-plane-down`.
    pub inject: String,
    /// One of the drill's endpoints; none: each of them.
    #[serde(default)]
    pub endpoint: Option<EndpointId>,
    /// It ends by itself after so many seconds, at most 1800.
    pub seconds: u32,
}

/// The code that an endpoint shows before it is written in a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DrillCode {
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// Four digits, off its screen.
    pub code: String,
}

/// What went, or goes, wrong on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InjectView {
    /// What.
    pub inject: String,
    /// On which endpoint.
    pub endpoint: EndpointId,
    /// By whom it was ordered: the runbook, or a person as in evidence.
    pub by: String,
    /// Since when, milliseconds since 1970.
    pub from_unix_ms: u64,
    /// It ends by itself then.
    pub until_unix_ms: u64,
    /// How often it was met; 0: it changed nothing.
    pub met: u32,
    /// When it ended.
    pub ended_unix_ms: Option<u64>,
}

/// One step of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DrillStepView {
    /// The step's id in the runbook.
    pub step: String,
    /// The endpoint, for steps per target.
    pub endpoint: Option<EndpointId>,
    /// `pending`, `running`, `waiting_person`, `passed`, `failed`, `skipped`.
    pub state: String,
    /// What happened, one sentence; of a step that waits for a person, what they are asked.
    pub what: String,
}

/// A person's answer to a step of a drill that waits for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DrillAnswer {
    /// The step's id in the runbook.
    pub step: String,
    /// The endpoint, for steps per target.
    #[serde(default)]
    pub endpoint: Option<EndpointId>,
    /// Who did what was asked, where that is not who is signed in; goes into evidence and the report. An approval is always given by who is
    /// signed in, and takes no other name.
    #[serde(default)]
    pub person: String,
    /// In which of one's own duties; empty: in the first that the step asks for. Nobody has one by naming it.
    #[serde(default)]
    pub role: String,
    /// Approved or done; else denied or not possible.
    pub yes: bool,
    /// In their words.
    #[serde(default)]
    pub note: String,
}
