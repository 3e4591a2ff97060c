//! Rehearsals as people and scripts see them: begin one, look at it, answer it.

use serde::{Deserialize, Serialize};

use crate::{EndpointId, JobId};

/// Start a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewDrill {
    /// Name of a shipped or site runbook.
    pub runbook: String,
    /// Its targets; each must be drill-safe.
    pub endpoints: Vec<EndpointId>,
}

/// One drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DrillView {
    /// Its id.
    pub drill: String,
    /// The runbook's name and version.
    pub runbook: String,
    /// `running`, `waiting_person`, `succeeded`, `partly`, `failed`, `aborted`.
    pub state: String,
    /// The steps so far, one line each.
    pub steps: Vec<DrillStepView>,
    /// The jobs it started.
    pub jobs: Vec<JobId>,
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
    /// In which role.
    #[serde(default)]
    pub role: String,
    /// Approved or done; else denied or not possible.
    pub yes: bool,
    /// In their words.
    #[serde(default)]
    pub note: String,
}
