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
    /// When it will be through, by what its steps took before; of one that runs.
    #[serde(default)]
    pub predicted_end_unix_ms: Option<u64>,
    /// That is later than its objective.
    #[serde(default)]
    pub breach_predicted: bool,
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

/// What sets a clock back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Counts {
    /// A real recovery of an endpoint that the schedule means.
    Recovery,
    /// A drill of its runbook on hardware that succeeded.
    Drill,
    /// A drill of its runbook on virtual endpoints that succeeded.
    Virtual,
    /// A tabletop of its runbook that was gone through.
    Tabletop,
}

/// When a runbook is rehearsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// Name of a shipped runbook.
    pub runbook: String,
    /// Targets.
    #[serde(default)]
    pub endpoints: Vec<EndpointId>,
    /// Targets by selector.
    #[serde(default)]
    pub selector: Option<String>,
    /// As what; never `real` or `dry_run`.
    #[serde(default)]
    pub mode: RunMode,
    /// Calendar months from one to the next, 1 to 120.
    pub months: u16,
    /// What sets it back; empty: what the mode is, and a real recovery.
    #[serde(default)]
    pub by: Vec<Counts>,
    /// When it may begin by itself: weekly, as `Sat 02:00-06:00` in the site's time, or once, as `2026-12-24T06:00:00Z/2026-12-27T22:00:00Z` (a stop of the line).
    /// None: it is only said that it is due.
    #[serde(default)]
    pub windows: Vec<String>,
}

/// How something stands against its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stands {
    /// It never happened.
    Never,
    /// Its time is over.
    Overdue,
    /// Within thirty days.
    Soon,
    /// Later.
    Fine,
}

/// A schedule and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScheduleView {
    /// The schedule.
    pub schedule: Schedule,
    /// By whom it was added, as in evidence.
    pub added_by: String,
    /// When it was satisfied last, milliseconds since 1970.
    pub last_unix_ms: Option<u64>,
    /// By what: a drill's id, or `recovery of <endpoint>`.
    pub last_by: Option<String>,
    /// When it is due.
    pub due_unix_ms: u64,
    /// How it stands.
    pub stands: Stands,
    /// A window is open now.
    pub open: bool,
    /// When it last began by itself.
    pub began_unix_ms: Option<u64>,
}

/// One endpoint on the readiness board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadyView {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// `production`, `bench`, `virtual`.
    pub place: String,
    /// When it came back last, milliseconds since 1970.
    pub last_unix_ms: Option<u64>,
    /// That was a rehearsal.
    pub rehearsed: bool,
    /// How it stands: half a year after it came back it is overdue.
    pub stands: Stands,
}

/// Who came back lately, out of how many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadinessView {
    /// Endpoints on hardware.
    pub hardware: u64,
    /// Of them, those that came back lately enough.
    pub proven: u64,
    /// Of them, those that never did.
    pub never: Vec<EndpointId>,
    /// Every endpoint, the worst first. Virtual ones prove no hardware and are not counted above.
    pub endpoints: Vec<ReadyView>,
}

/// Something to mend after a drill. It is closed by a drill of the same runbook and class that passes, and by nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ActionView {
    /// Its id.
    pub action: String,
    /// The runbook.
    pub runbook: String,
    /// Of which hardware class.
    pub class: String,
    /// The step or the objective.
    pub subject: String,
    /// What was not as it should be.
    pub what: String,
    /// The drill that opened it.
    pub drill: String,
    /// When, milliseconds since 1970.
    pub opened_unix_ms: u64,
    /// Until when it should be mended.
    pub due_unix_ms: u64,
    /// When it was closed.
    pub closed_unix_ms: Option<u64>,
    /// By which drill.
    pub closed_by: Option<String>,
}

/// Two runs of one runbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DrillComparison {
    /// The run that is compared with.
    pub before: String,
    /// The run that is looked at.
    pub now: String,
    /// Their runbook.
    pub runbook: String,
    /// Its file is the same, byte for byte.
    pub same_runbook: bool,
    /// The golden images are the same.
    pub same_images: bool,
    /// From begin to the last step before the clean-up, milliseconds; none: not gone through.
    pub before_ms: Option<u64>,
    /// As above.
    pub now_ms: Option<u64>,
    /// Step by step, the slowest endpoint counting.
    pub steps: Vec<ComparedStep>,
}

/// One step of two runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ComparedStep {
    /// Its id.
    pub step: String,
    /// How long it took before, milliseconds; none: it did not pass.
    pub before_ms: Option<u64>,
    /// How long it took now.
    pub now_ms: Option<u64>,
    /// The change in percent of before.
    pub change_percent: Option<i32>,
}

/// One run on the line of its runbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TrendPoint {
    /// The run.
    pub drill: String,
    /// Its mode. Virtual runs never stand with hardware.
    pub mode: String,
    /// How it ended.
    pub state: String,
    /// When, milliseconds since 1970.
    pub ended_unix_ms: u64,
    /// From begin to the last step before the clean-up; none: not gone through.
    pub run_ms: Option<u64>,
    /// Its objective.
    pub rto_ms: Option<u64>,
    /// The middle of the comparable runs before it.
    pub middle_before_ms: Option<u64>,
    /// How many those are.
    pub n_before: u64,
    /// The golden images that it restored: where they change, so may the times.
    pub images: Vec<String>,
}
