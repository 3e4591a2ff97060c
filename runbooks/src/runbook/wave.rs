//! Waves: who goes first, how long it is watched, and what lets the next ones begin.

use super::Selector;

/// One wave as the file says it. Its endpoints are dealt out when a run is planned ([`crate::run::waves`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// Its name, such as `canary`.
    pub name: String,
    /// Only endpoints that fit; all that fit unless `size` says fewer.
    pub matches: Option<Selector>,
    /// So many endpoints at most at a time. A wave with `match`, and the last one, come again until everybody who fits had their turn.
    pub size: Option<u32>,
    /// It never comes again, as a canary: who else fits goes with a later wave.
    pub once: bool,
    /// How long nothing new begins after it.
    pub soak_ms: u64,
    /// What lets the next wave begin.
    pub pass: Pass,
}

/// How much of a wave must have gone all the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pass {
    /// Every endpoint.
    #[default]
    All,
    /// So many in a hundred, rounded up.
    Percent(u8),
}

impl Pass {
    /// How many of `endpoints` must have gone all the way.
    #[must_use]
    pub fn of(self, endpoints: usize) -> usize {
        match self {
            Self::All => endpoints,
            Self::Percent(percent) => endpoints.saturating_mul(usize::from(percent)).div_ceil(100),
        }
    }
}
