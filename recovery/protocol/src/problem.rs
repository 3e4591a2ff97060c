//! Every refusal, as RFC 9457 `application/problem+json` with two more members: a stable `code` and a `remedy`.
//!
//! A [`Problem`] is what a person or an agent reads: what happened (`title`), why (`detail`), what now (`remedy`).

use serde::{Deserialize, Serialize};

/// A refusal that says what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[error("{title}: {detail} ({remedy}) [{code}]")]
pub struct Problem {
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// Stable machine-readable name, `kebab-case`, never translated.
    pub code: String,
    /// What happened, one line.
    pub title: String,
    /// Why, with the values at hand.
    pub detail: String,
    /// What to do now.
    pub remedy: String,
}

impl Problem {
    /// The media type of RFC 9457 §3.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// A problem from its parts.
    pub fn new(
        status: u16,
        code: &str,
        title: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.to_owned(),
            title: title.into(),
            detail: detail.into(),
            remedy: remedy.into(),
        }
    }
}
