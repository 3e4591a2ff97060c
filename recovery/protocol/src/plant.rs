//! The plant in one look: where which endpoint stands and how it is, and how long recoveries took since when.
//!
//! | call | in → out |
//! |---|---|
//! | `GET /api/v1/map` | → [`MapView`] |

use serde::{Deserialize, Serialize};

use crate::{ids::EndpointId, machine::Usual, operator::EndpointState};

/// The plant in one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MapView {
    /// Every endpoint, by line, cell and name.
    pub spots: Vec<Spot>,
    /// How long recoveries took, by class; of the newest two thousand.
    pub times: Vec<ClassTimes>,
}

/// Where an endpoint stands, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Spot {
    /// Its label `line`; empty: none.
    pub line: String,
    /// Its label `cell`; empty: none.
    pub cell: String,
    /// Its name.
    pub endpoint: EndpointId,
    /// How it is.
    pub state: EndpointState,
}

/// How long recoveries of a class took: of a group, to an image of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClassTimes {
    /// The group.
    pub group: String,
    /// The image's name, without its version.
    pub image: String,
    /// They, oldest first; the newest hundred.
    pub recoveries: Vec<Took>,
    /// What is usual by those that were no drill; absent where they are too few.
    #[serde(default)]
    pub usual: Option<Usual>,
}

/// One recovery that ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Took {
    /// When it ended, milliseconds since 1970.
    pub ended_unix_ms: u64,
    /// How long it took from its boot ticket, milliseconds.
    pub took_ms: u64,
    /// It was a drill.
    pub drill: bool,
}
