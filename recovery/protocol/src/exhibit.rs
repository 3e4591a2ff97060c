//! What a recovery keeps of the old system before it writes: an **exhibit**. Never a golden image, and never offered for recovery.
//!
//! ```text
//! blueprint, order, runbook ─► Keep ─► KeepOrder in the restore's order ─► the endpoint collects, within seconds and bytes
//!   ─► a tar of plain members, its index last ─► the appliance's exhibits ─► Kept: how much, digests, and what was cut and why
//! ```
//!
//! Nobody waits for it past its limits, and nothing that goes wrong in it holds a recovery.

mod pattern;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    agent::Base64,
    ids::{EndpointId, JobId},
};

pub use pattern::{FilePattern, PatternError};

/// Name of the index: the last member of the tar, JSON.
pub const INDEX: &str = "exhibit.json";
/// `format` of the index.
pub const FORMAT: &str = "groundstate-exhibit/1";
/// Most patterns of one order.
pub const PATTERNS_MOST: usize = 64;
/// Most cuts that one record names; the last of them says how many more there were.
pub const CUTS_MOST: usize = 64;
/// Fewest and most seconds.
pub const SECONDS: std::ops::RangeInclusive<u32> = 5..=600;
/// Fewest and most bytes.
pub const BYTES: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 30);

/// How much of the old system is kept before it is overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Nothing.
    #[default]
    None,
    /// The TPM's event log and a quote, the partition table, the first MiB, chosen files, hashes of the disk's regions.
    Quick,
}

impl Keep {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quick => "quick",
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::None, Self::Quick]
            .into_iter()
            .find(|keep| keep.as_str() == text)
            .ok_or_else(|| format!("`{text}` is neither `none` nor `quick`"))
    }
}

/// What an endpoint shall keep, and within which limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepOrder {
    /// How much.
    pub keep: Keep,
    /// Never longer, all in all.
    pub seconds: u32,
    /// Never more bytes, all in all.
    pub bytes: u64,
    /// Which files, in this order; what does not fit any more is left.
    pub files: Vec<FilePattern>,
    /// `extraData` of the quote: 32 bytes that the appliance chose for this order.
    pub nonce: Base64,
}

/// Something that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cut {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Cut {
    /// As said.
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// What came of it, as the endpoint tells.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Kept {
    /// Bytes that the appliance took.
    pub bytes: u64,
    /// Files of the old system among them.
    pub files: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// SHA-256 of those bytes, lower-case hex.
    pub sha256: String,
    /// blake3 of them, lower-case hex.
    pub blake3: String,
    /// What was left out, and why; empty: nothing.
    pub cut: Vec<Cut>,
}

impl Kept {
    /// Nothing at all.
    #[must_use]
    pub fn nothing(cut: Cut) -> Self {
        Self { cut: vec![cut], ..Self::default() }
    }
}

/// The answer to bytes of an exhibit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSoFar {
    /// So many bytes lie with the appliance.
    pub bytes: u64,
}

/// How an exhibit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExhibitState {
    /// It is ordered, and the endpoint has not said yet what came of it.
    Ordered,
    /// It is here.
    Kept,
    /// Nothing came of it; the record says why.
    Nothing,
    /// It was here, and is deleted.
    Deleted,
}

impl ExhibitState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Kept => "kept",
            Self::Nothing => "nothing",
            Self::Deleted => "deleted",
        }
    }
}

/// One exhibit, by the job that kept it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExhibitView {
    /// The recovery that kept it; its name, too.
    pub job: JobId,
    /// Of which endpoint.
    pub endpoint: EndpointId,
    /// How it stands.
    pub state: ExhibitState,
    /// How much was ordered.
    pub keep: Keep,
    /// Who ordered the recovery, as in evidence.
    pub ordered_by: String,
    /// When the endpoint was told, milliseconds since 1970.
    pub ordered_unix_ms: u64,
    /// Its limit in seconds.
    pub seconds: u32,
    /// Its limit in bytes.
    pub bytes_most: u64,
    /// Which files were to be kept.
    pub patterns: Vec<FilePattern>,
    /// When it was whole, milliseconds since 1970.
    pub kept_unix_ms: Option<u64>,
    /// What came of it.
    pub kept: Option<Kept>,
    /// It lies sealed by what `[secrets]` names.
    pub sealed: bool,
    /// When it is deleted by itself, milliseconds since 1970.
    pub ends_unix_ms: Option<u64>,
    /// Who deleted it, as in evidence.
    pub deleted_by: Option<String>,
    /// When, milliseconds since 1970.
    pub deleted_unix_ms: Option<u64>,
}
