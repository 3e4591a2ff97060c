//! STOP for the whole site: anyone may press it, two people release it.
//!
//! | call | body → answer |
//! |---|---|
//! | `GET /api/v1/stop` | → [`StopAnswer`] |
//! | `POST /api/v1/stop` | [`crate::operator::Decision`] → [`StopAnswer`]; pressed again, a release that was given is void |
//! | `POST /api/v1/stop/release` | [`crate::operator::Decision`] → [`StopAnswer`]; the second, by another person, ends it |
//!
//! While it stands no job is begun, approved or resumed, no ticket lives, nothing is powered and no disk is written. Jobs whose disk is
//! whole already go on to prove and enrol it.

use serde::{Deserialize, Serialize};

/// A STOP that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StopView {
    /// Who pressed it, as in evidence.
    pub pressed_by: String,
    /// When, milliseconds since 1970.
    pub pressed_unix_ms: u64,
    /// Why, in their words.
    pub reason: String,
    /// Jobs that it held.
    pub jobs_held: u64,
    /// What goes on all the same, one sentence each: disks that erase themselves, which nobody can stop.
    #[serde(default)]
    pub goes_on: Vec<String>,
    /// The first of two releases, as long as it counts.
    #[serde(default)]
    pub release: Option<ReleaseView>,
}

/// The first of two releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReleaseView {
    /// Who gave it, as in evidence.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
    /// Until when the second must be given, milliseconds since 1970.
    pub ends_unix_ms: u64,
}

/// How it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StopAnswer {
    /// The STOP that stands; absent: none does.
    #[serde(default)]
    pub stop: Option<StopView>,
}
