//! Injects: what goes wrong on purpose in a rehearsal, where, and for how long. Each ends by itself.

use serde::{Deserialize, Serialize};

use crate::ids::StepId;

/// The longest inject: half an hour. What takes longer is another drill.
pub const INJECT_MS_MAX: u64 = 30 * 60_000;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum InjectKind {
    /// The endpoint gets no manifest and no frame.
    ImageServerUnreachable,
    /// The order names a disk that is not in the endpoint.
    WrongDiskFitted,
    /// Nobody answers what the drill asks people.
    TechnicianAbsent,
    /// The restored system's quote is taken for one that differs.
    PcrMismatch,
    /// The control plane does not answer.
    ControlPlaneDown,
}

impl InjectKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::ImageServerUnreachable,
        Self::WrongDiskFitted,
        Self::TechnicianAbsent,
        Self::PcrMismatch,
        Self::ControlPlaneDown,
    ];

    /// The word in a file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ImageServerUnreachable => "image-server-unreachable",
            Self::WrongDiskFitted => "wrong-disk-fitted",
            Self::TechnicianAbsent => "technician-absent",
            Self::PcrMismatch => "pcr-mismatch",
            Self::ControlPlaneDown => "control-plane-down",
        }
    }
}

/// One inject of a runbook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inject {
    /// What goes wrong.
    pub kind: InjectKind,
    /// It begins when this step begins: on that endpoint, or on each endpoint of the run.
    pub at: StepId,
    /// It ends by itself after this, milliseconds.
    pub for_ms: u64,
}
