//! Drill or real is a type, not a flag: what a run may write to, and how that permission is earned.
//!
//! ```text
//! EndpointFacts ──► DrillSafe::resolve ──► DrillSafe ──► Target<Drill> ──► WritePermit<Drill>
//!       │            label, place, zone, function: all must agree
//!       └─────────► Target::<Real>::real ──────────────► Target<Real>  ──► WritePermit<Real>
//! ```
//!
//! A third kind, `Target<Paper>`, is talked about in a tabletop: any endpoint may be, and no permit of it is ever made.
//!
//! There is no way across: no cast, no serde, no constructor. A `Target<Real>` cannot be handed to a drill:
//!
//! ```compile_fail
//! use runbooks::target::{Drill, EndpointFacts, Real, Target};
//! fn rehearse(_: Target<Drill>) {}
//! fn try_it(facts: EndpointFacts) {
//!     rehearse(Target::<Real>::real(facts));
//! }
//! ```
//!
//! A permit is made only by the run machine, when a `reimage` step starts; it can neither be copied nor stored. After a
//! restart it is made anew from fresh facts, so an endpoint that lost its label meanwhile gets no second permit.

use std::{collections::BTreeSet, fmt, marker::PhantomData};

use serde::{Deserialize, Serialize};

use crate::ids::{OrderKey, TargetId};

/// The label without which no endpoint is ever the target of a drill.
pub const DRILL_SAFE: &str = "drill-safe";

/// A rehearsal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drill {}

/// The real thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Real {}

/// Talked through: nothing is ever written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paper {}

/// [`Drill`], [`Real`] or [`Paper`], and nothing else ever.
pub trait Mode: sealed::Sealed + fmt::Debug + Clone + PartialEq + Eq + 'static {
    /// True for [`Drill`].
    const DRILL: bool;
    /// False for [`Paper`]: no permit of it is ever made.
    const WRITES: bool;
}

impl Mode for Drill {
    const DRILL: bool = true;
    const WRITES: bool = true;
}

impl Mode for Real {
    const DRILL: bool = false;
    const WRITES: bool = true;
}

impl Mode for Paper {
    const DRILL: bool = false;
    const WRITES: bool = false;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Drill {}
    impl Sealed for super::Real {}
    impl Sealed for super::Paper {}
}

/// What kind of place an endpoint stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// It works for the plant. A drill never writes here.
    Production,
    /// It works for the plant and is chosen to go first. Writing to it is a real change, never a drill.
    Canary,
    /// A production endpoint whose own disk is out and a spare disk is in.
    SpareDisk,
    /// On a bench, of the same hardware class as production.
    Bench,
    /// A virtual machine. Shows the procedure, not the hardware.
    Virtual,
}

impl Place {
    /// Every place.
    pub const ALL: [Self; 5] = [Self::Production, Self::Canary, Self::SpareDisk, Self::Bench, Self::Virtual];

    /// May a drill write here at all?
    #[must_use]
    pub fn may_be_drilled(self) -> bool {
        match self {
            Self::SpareDisk | Self::Bench | Self::Virtual => true,
            Self::Production | Self::Canary => false,
        }
    }

    /// The place as a person reads it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Canary => "canary in production",
            Self::SpareDisk => "spare disk",
            Self::Bench => "bench",
            Self::Virtual => "virtual",
        }
    }
}

/// What the inventory says of one endpoint. The caller vouches for each word; this package decides what follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointFacts {
    /// Its name.
    pub target: TargetId,
    /// Asset kind, such as `hmi`.
    pub kind: String,
    /// Hardware class; runs are pooled per class.
    pub class: String,
    /// Security zone (IEC 62443-3-2).
    pub zone: String,
    /// Where it stands.
    pub place: Place,
    /// Its labels; [`DRILL_SAFE`] among them for a drill.
    pub labels: BTreeSet<String>,
    /// True when the plant cannot do without it.
    pub essential_function: bool,
    /// The golden image that its blueprint means now (the manifest's digest, as text). Frozen into the plan.
    pub image: String,
}

/// The zones of this site in which a drill may write. Empty: nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DrillScope {
    /// Names of zones.
    pub zones: BTreeSet<String>,
}

/// Why an endpoint cannot be the target of a drill.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDrillSafe {
    /// No label.
    #[error(
        "{target} has no label `drill-safe`: label it if it is a bench, spare-disk or virtual endpoint, or choose another"
    )]
    NoLabel {
        /// The endpoint.
        target: TargetId,
    },
    /// Production.
    #[error("{target} is {}: a drill never writes there; choose a bench, spare-disk or virtual endpoint", place.label())]
    WrongPlace {
        /// The endpoint.
        target: TargetId,
        /// Where it stands.
        place: Place,
    },
    /// Not a drill zone.
    #[error(
        "{target} is in zone `{zone}`, which is not one of this site's drill zones: move it or add the zone"
    )]
    WrongZone {
        /// The endpoint.
        target: TargetId,
        /// Its zone.
        zone: String,
    },
    /// The plant needs it.
    #[error(
        "{target} carries an essential function of the plant: a drill never writes there; choose another endpoint"
    )]
    Essential {
        /// The endpoint.
        target: TargetId,
    },
}

/// An endpoint of which label, place, zone and function all say that a drill may write to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillSafe {
    facts: EndpointFacts,
}

impl DrillSafe {
    /// Resolve one endpoint. Four facts must agree, so that one wrong entry in the inventory is not enough. That holds only
    /// where the caller has each fact from a source of its own: facts derived from one field stand and fall together.
    ///
    /// # Errors
    /// The first fact that says no.
    pub fn resolve(facts: EndpointFacts, scope: &DrillScope) -> Result<Self, NotDrillSafe> {
        let target = facts.target.clone();
        if !facts.place.may_be_drilled() {
            return Err(NotDrillSafe::WrongPlace { target, place: facts.place });
        }
        if facts.essential_function {
            return Err(NotDrillSafe::Essential { target });
        }
        if !facts.labels.contains(DRILL_SAFE) {
            return Err(NotDrillSafe::NoLabel { target });
        }
        if !scope.zones.contains(&facts.zone) {
            return Err(NotDrillSafe::WrongZone { target, zone: facts.zone });
        }
        Ok(Self { facts })
    }
}

/// An endpoint that a run of mode `M` may work on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<M: Mode> {
    facts: EndpointFacts,
    mode: PhantomData<M>,
}

impl From<DrillSafe> for Target<Drill> {
    fn from(safe: DrillSafe) -> Self {
        Self { facts: safe.facts, mode: PhantomData }
    }
}

impl Target<Real> {
    /// Any endpoint can be the target of a real run; who may ask for that is for the guard rails and approvals.
    #[must_use]
    pub fn real(facts: EndpointFacts) -> Self {
        Self { facts, mode: PhantomData }
    }
}

impl Target<Paper> {
    /// Any endpoint can be talked about.
    #[must_use]
    pub fn on_paper(facts: EndpointFacts) -> Self {
        Self { facts, mode: PhantomData }
    }
}

impl<M: Mode> Target<M> {
    /// What the inventory said when the target was resolved.
    #[must_use]
    pub fn facts(&self) -> &EndpointFacts {
        &self.facts
    }

    /// Permission for one attempt; `None` where nothing is ever written. Only the run machine asks for it. `image` is the one that the plan froze.
    pub(crate) fn permit(&self, key: OrderKey, image: String, until_ms: u64) -> Option<WritePermit<M>> {
        let target = self.facts.target.clone();
        M::WRITES.then_some(WritePermit { target, image, key, until_ms, mode: PhantomData })
    }
}

/// Permission to write one golden image to one endpoint, once, until a time. Not copyable, not storable.
///
/// ```compile_fail
/// fn twice(permit: runbooks::target::WritePermit<runbooks::target::Drill>) {
///     let again = permit.clone();
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that nobody uses means that nothing was restored"]
pub struct WritePermit<M: Mode> {
    target: TargetId,
    image: String,
    key: OrderKey,
    until_ms: u64,
    mode: PhantomData<M>,
}

impl<M: Mode> WritePermit<M> {
    /// The endpoint that may be written.
    #[must_use]
    pub fn target(&self) -> &TargetId {
        &self.target
    }

    /// The golden image that may be written to it: the one that was planned and approved.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }

    /// The attempt that it was made for.
    #[must_use]
    pub fn key(&self) -> &OrderKey {
        &self.key
    }

    /// Writing must have begun before this time (milliseconds since 1970).
    #[must_use]
    pub fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// True for `WritePermit<Drill>`.
    #[must_use]
    pub fn is_drill(&self) -> bool {
        M::DRILL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::tests::{facts, scope};

    #[test]
    fn one_fact_that_says_no_is_enough_and_is_named() {
        let refused = |change: fn(&mut EndpointFacts)| {
            let mut facts = facts("a", Place::Bench);
            change(&mut facts);
            DrillSafe::resolve(facts, &scope()).map(|_| ()).unwrap_err()
        };
        let target = TargetId::new("a");
        assert_eq!(refused(|facts| facts.labels.clear()), NotDrillSafe::NoLabel { target: target.clone() });
        for place in [Place::Production, Place::Canary] {
            let mut facts = facts("a", Place::Bench);
            facts.place = place;
            let refused = DrillSafe::resolve(facts, &scope()).unwrap_err();
            assert_eq!(refused, NotDrillSafe::WrongPlace { target: target.clone(), place });
        }
        assert!(
            matches!(refused(|facts| facts.zone = "packing".into()), NotDrillSafe::WrongZone { zone, .. } if zone == "packing")
        );
        assert_eq!(refused(|facts| facts.essential_function = true), NotDrillSafe::Essential { target });
    }

    #[test]
    fn without_drill_zones_nothing_is_drill_safe() {
        for place in Place::ALL {
            assert!(DrillSafe::resolve(facts("a", place), &DrillScope::default()).is_err());
        }
    }
}
