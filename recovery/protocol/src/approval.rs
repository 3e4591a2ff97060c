//! A person's yes.

use serde::{Deserialize, Serialize};

use crate::operator::JobView;

impl JobView {
    /// A yes to what this view shows.
    #[must_use]
    pub fn approval(&self, reason: &str) -> Approval {
        Approval { seen: self.approves.clone().unwrap_or_default(), reason: reason.to_owned() }
    }
}

/// A person's yes to what a held job asks for. It counts for what they saw and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// [`JobView::approves`] as they saw it.
    pub seen: String,
    /// Why, in their words; goes into evidence.
    #[serde(default)]
    pub reason: String,
}
