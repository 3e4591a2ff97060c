//! What happened, step by step and entry by entry, as people look it up: of a job, and of the evidence log.

use serde::{Deserialize, Serialize};

use crate::{evidence::Entry, job::JobState};

/// One thing that happened in a job, as evidence has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StepView {
    /// Number of its entry in the evidence log.
    pub entry: u64,
    /// When, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Kind of its entry, dotted: `transition`, `job.event`, `order.recover`, `proof.quote` …
    pub kind: String,
    /// Who, as in evidence.
    pub actor: String,
    /// What happened to the job, in one word (`agent_hello`, `done`, `refused` …); empty where the kind says it.
    pub event: String,
    /// The state that it left; absent: none was left.
    pub from: Option<JobState>,
    /// The state that it came to; absent: it stayed where it was.
    pub to: Option<JobState>,
    /// Why, in the record's words; may be empty.
    pub why: String,
    /// How long it had been in the state that it left, milliseconds.
    pub took_ms: Option<u64>,
}

/// An entry of the evidence log with the hash by which a proof holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EntryView {
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry,
    /// Its hash as a leaf of the log's tree, lower-case hex (RFC 9162 section 2.1.1).
    pub hash: String,
}

/// What came of the appliance checking its own evidence log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogVerdict {
    /// Every entry is as it was written, and the signature covers all of them.
    pub good: bool,
    /// Entries there are.
    pub entries: u64,
    /// Signed checkpoints that agree.
    pub checkpoints: u64,
    /// Anchors and checkpoints kept elsewhere that agree.
    pub held: u64,
    /// The first entry that is not what was written, or is missing; absent: the log is good, or what is wrong is no entry.
    pub first_bad: Option<u64>,
    /// What was found, in a sentence.
    pub what: String,
    /// What to do now; empty: nothing.
    pub what_now: String,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}
