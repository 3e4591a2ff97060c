//! A configuration tried against what was reported before: what would have begun, and which rule would have stopped the rest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::EndpointId;

/// A configuration to be tried. Nothing of it is put into effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PolicyTry {
    /// The text of the configuration file.
    pub config: String,
    /// Reports since then, milliseconds since 1970.
    pub since_unix_ms: u64,
}

/// What one report would have brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Would {
    /// A recovery that begins by itself.
    Begin,
    /// A recovery that waits for a person.
    Ask,
    /// The endpoint is no longer trusted.
    Quarantine,
    /// Nothing: a recovery of the endpoint was open.
    Join,
    /// Nothing.
    Observe,
}

impl Would {
    /// In a list.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Begin => "begins by itself",
            Self::Ask => "asks a person",
            Self::Quarantine => "quarantined",
            Self::Join => "joined",
            Self::Observe => "nothing",
        }
    }
}

/// One report, replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Replayed {
    /// When it came, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Who reported.
    pub source: String,
    /// Whom it named.
    pub endpoint: EndpointId,
    /// `integrity`, `unreachable`, `alert`, `notice`.
    pub class: String,
    /// Its source had confirmed it.
    pub confirmed: bool,
    /// What it would bring about.
    pub would: Would,
    /// The rule that kept it from more; empty where none did.
    pub rule: String,
}

/// What a configuration would have done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyTried {
    /// So many reports, of those that are still on record.
    pub reports: u64,
    /// How many brought about what.
    pub counts: BTreeMap<Would, u64>,
    /// Each one, oldest first. Only the newest, where there are very many.
    pub replayed: Vec<Replayed>,
    /// How many older ones were left out.
    pub left_out: u64,
    /// What of the past cannot be told from what is on record.
    pub not_replayed: Vec<String>,
}
