//! Standing plans: an approval given beforehand by two people, so that a recovery which would wait for one begins by itself.
//!
//! | call | body → answer |
//! |---|---|
//! | `GET /api/v1/plans` | → [`PlanView`] list |
//! | `POST /api/v1/plans` | [`NewPlan`] → [`PlanView`], which is to be approved |
//! | `POST /api/v1/plans/{plan}/approve` | [`crate::operator::Approval`] → [`PlanView`]; the second, by another person, lets it stand |
//! | `POST /api/v1/plans/{plan}/withdraw` | [`crate::operator::Decision`] → [`PlanView`] |
//!
//! A plan is bound to what it named when it was made: the endpoints and the revision of each one's record, the image, the rules of their groups.
//! When any of that changes it is void.

use serde::{Deserialize, Serialize};

use crate::{EndpointId, selector::Selector};

/// A plan that somebody makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewPlan {
    /// Its name: 1 to 32 of `a-z`, `0-9`, `.`, `_`, `-`; free again once the plan is over.
    pub plan: String,
    /// Whom it is about. They are counted now: who comes later is not covered.
    pub selector: Selector,
    /// The golden image: `name:version`, or its id.
    pub image: String,
    /// Sources whose confirmed integrity failure may begin it: `attestation`, or the name of a webhook.
    pub triggers: Vec<String>,
    /// When, as in `Mon-Fri 22:00-05:00`; empty: at any time.
    #[serde(default)]
    pub windows: Vec<String>,
    /// Recoveries that it may begin within 24 hours.
    pub most_per_day: u32,
    /// Days until it ends, 90 at most.
    pub valid_days: u32,
    /// Why; goes into evidence.
    #[serde(default)]
    pub reason: String,
}

/// How it stands with a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PlanState {
    /// Two people must approve it.
    Proposed,
    /// It counts.
    Standing,
    /// It is over: withdrawn, expired, or void since something that it names has changed.
    Over,
}

/// Who approved it, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlanApproval {
    /// As in evidence.
    pub by: String,
    /// Milliseconds since 1970.
    pub at_unix_ms: u64,
}

/// A plan as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlanView {
    /// Its name.
    pub plan: String,
    /// The hash of all that it says and names: what an approval is about.
    pub hash: String,
    /// How it stands.
    pub state: PlanState,
    /// Why it is over.
    #[serde(default)]
    pub over: String,
    /// What was asked for.
    pub asked: NewPlan,
    /// The image's name and version.
    pub image_name: String,
    /// The endpoints that it covers.
    pub endpoints: Vec<EndpointId>,
    /// Who made it, as in evidence.
    pub made_by: String,
    /// When.
    pub made_unix_ms: u64,
    /// When it ends.
    pub ends_unix_ms: u64,
    /// Who said yes so far.
    pub approvals: Vec<PlanApproval>,
    /// Recoveries that it began within 24 hours.
    pub begun: u64,
}
