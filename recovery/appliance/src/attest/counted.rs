//! A TPM's counters from quote to quote: they only grow, so an older count comes from a copy.
//!
//! ```text
//! resets ─► resumes since the last reset ─► milliseconds: compared in this order, each only where those before are equal
//! ```
//!
//! A virtual TPM that was copied or put back to a snapshot counts on from where it was; of two that run, one is behind. A TPM that
//! somebody cleared begins at zero and cannot be told from a copy here: a person says which it was. Without our AK being a primary of the
//! endorsement hierarchy a TPM would hide these counters ([`recovery_protocol::tpm::ClockInfo`]).
//!
//! It must never: compare clocks over a reset or a resume. A TPM that lost its power may lose an hour of them.

use recovery_protocol::tpm::ClockInfo;
use serde::{Deserialize, Serialize};

/// What a true quote counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Counted {
    /// Resets since the TPM was cleared.
    pub resets: u32,
    /// Resumes since the last reset.
    pub resumes: u32,
    /// Milliseconds that it was powered since it was cleared.
    pub clock_ms: u64,
}

/// A count that is behind the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "its TPM counts {now}, and counted {before} before: two TPMs have one key (a copy, or a snapshot that was put back), or somebody \
     cleared it"
)]
pub struct WentBack {
    /// On record.
    pub before: Counted,
    /// Now.
    pub now: Counted,
}

impl From<ClockInfo> for Counted {
    fn from(clock: ClockInfo) -> Self {
        Self { resets: clock.reset_count, resumes: clock.restart_count, clock_ms: clock.clock }
    }
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} resets, {} resumes, {} ms", self.resets, self.resumes, self.clock_ms)
    }
}

impl Counted {
    /// Whether this can be the TPM that counted `before`, later.
    ///
    /// # Errors
    /// [`WentBack`].
    pub fn follows(self, before: Self) -> Result<(), WentBack> {
        // The derived order is the one of the fields.
        if self < before { Err(WentBack { before, now: self }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_is_compared_where_those_before_it_are_equal() {
        let at = |resets, resumes, clock_ms| Counted { resets, resumes, clock_ms };
        let before = at(7, 2, 1000);
        for later in [before, at(7, 2, 1001), at(7, 3, 0), at(8, 0, 0), at(9, 0, 5)] {
            assert_eq!(later.follows(before), Ok(()), "{later}");
        }
        for back in [at(6, 9, 9999), at(0, 0, 0), at(7, 1, 9999), at(7, 2, 999)] {
            assert_eq!(back.follows(before), Err(WentBack { before, now: back }), "{back}");
        }
    }
}
