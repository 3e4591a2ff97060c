//! The names of things in a run, each its own type: a step's id does not fit where a target's name goes.
//!
//! They are plain text given by others (the appliance, the runbook's author); what a name may hold is checked where it enters:
//! step ids by the parser, the rest by the appliance.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Take a text as this name.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The name's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// Id of one run, chosen by the appliance.
    RunId;
    /// Id of a step in its runbook: lower-case letters, digits and `-`.
    StepId;
    /// Name of an endpoint that a run works on.
    TargetId;
}

/// Names one attempt of one step on one target: the idempotency key of an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderKey {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepId,
    /// The endpoint; `None` for a step that runs once per run.
    pub target: Option<TargetId>,
    /// Counts from 1.
    pub attempt: u32,
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.run, self.step)?;
        if let Some(target) = &self.target {
            write!(f, "/{target}")?;
        }
        write!(f, "#{}", self.attempt)
    }
}
