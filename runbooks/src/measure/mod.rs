//! From the times of phases to recovery times, and what may be claimed from them.
//!
//! ```text
//! detect declare approve dispatch trigger power loader agent identify capture wipe fetch write read_back reboot
//!        └──────────── RTO service ─────────────────────────────────────────────────────────────────────┐
//!                              └─────────── RTO machine ──────────────────────────────────────┐         │
//!                                                   first_boot personalise attest enrol app_check accept release
//! ```
//!
//! A phase that was not measured is skipped, never zero. Every figure comes with n, the number of runs behind it; below
//! [`PERCENTILE_N_MIN`] runs there is a maximum and no percentile. Virtual runs are never pooled with hardware.

pub mod fleet;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::target::Place;

/// Fewest runs behind a 95th percentile.
pub const PERCENTILE_N_MIN: usize = 20;

macro_rules! phases {
    ($($(#[$doc:meta])* $name:ident, $label:literal;)*) => {
        /// The phases of a recovery, in order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Phase { $($(#[$doc])* $name,)* }

        impl Phase {
            /// Every phase, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The phase as a person reads it.
            #[must_use]
            pub fn label(self) -> &'static str { match self { $(Self::$name => $label,)* } }
        }
    };
}

phases! {
    /// From the fault to somebody or something noticing.
    Detect, "noticed";
    /// It is called an incident: the service clock starts.
    Declare, "declared";
    /// People and guard rails decide.
    Approve, "approved";
    /// A person goes there.
    Dispatch, "person on the way";
    /// The recovery begins: the machine clock starts.
    Trigger, "triggered";
    /// Power and firmware self-test.
    Power, "power and firmware";
    /// Network boot up to the kernel.
    Loader, "network boot";
    /// The recovery system starts and says hello.
    Agent, "recovery system starts";
    /// Hardware and TPM prove who they are.
    Identify, "hardware proven";
    /// Data about the cause is kept.
    Capture, "cause data kept";
    /// The old content is destroyed.
    Wipe, "old content destroyed";
    /// Chunks arrive.
    Fetch, "fetching";
    /// Chunks are written.
    Write, "writing the golden image";
    /// What was written is read back.
    ReadBack, "reading back";
    /// Off and on again.
    Reboot, "rebooting";
    /// The restored system starts.
    FirstBoot, "restored system starts";
    /// Name, address and other things of its own.
    Personalise, "personalised";
    /// The restored system proves itself: the machine clock stops.
    Attest, "restored system proven";
    /// It gets its identity back.
    Enrol, "enrolled";
    /// The application runs.
    AppCheck, "application checked";
    /// The operator accepts.
    Accept, "accepted";
    /// Back in its zone: the service clock stops.
    Release, "released";
}

/// Who a phase depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// Our machinery: appliance and agent.
    Machine,
    /// A person.
    Human,
    /// Firmware, kernels and the restored system's own start.
    Firmware,
}

impl Actor {
    /// Every actor.
    pub const ALL: [Self; 3] = [Self::Machine, Self::Human, Self::Firmware];

    /// The actor as a person reads it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Machine => "Groundstate",
            Self::Human => "people",
            Self::Firmware => "firmware and systems",
        }
    }
}

/// One stretch of one recovery. Times are milliseconds since 1970, of one clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTiming {
    /// Which phase. A phase may come more than once: retries count.
    pub phase: Phase,
    /// What happened in it, for a person.
    pub label: String,
    /// From.
    pub from_ms: u64,
    /// Until; a time before `from_ms` counts as `from_ms`.
    pub to_ms: u64,
    /// Who it depended on.
    pub actor: Actor,
}

impl PhaseTiming {
    /// How long it took, in milliseconds.
    #[must_use]
    pub fn took_ms(&self) -> u64 {
        self.to_ms.saturating_sub(self.from_ms)
    }
}

/// The recovery times of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Measured {
    /// From the first phase at or after `declare` to the end of `release`. `None`: it was never released.
    pub service_rto_ms: Option<u64>,
    /// From the first phase at or after `trigger` to the end of `attest`. `None`: it was never proven.
    pub machine_rto_ms: Option<u64>,
    /// How long each phase took in all, retries included. A phase that is not here was not measured.
    pub phases_ms: BTreeMap<Phase, u64>,
    /// How long was spent on each actor.
    pub actors_ms: BTreeMap<Actor, u64>,
}

/// Add up the phases of one endpoint. It knows when phases ended, not how: take the two recovery times only of one that succeeded.
#[must_use]
pub fn measure(timings: &[PhaseTiming]) -> Measured {
    let mut measured = Measured {
        service_rto_ms: between(timings, Phase::Declare, Phase::Release),
        machine_rto_ms: between(timings, Phase::Trigger, Phase::Attest),
        ..Measured::default()
    };
    for timing in timings {
        *measured.phases_ms.entry(timing.phase).or_default() += timing.took_ms();
        *measured.actors_ms.entry(timing.actor).or_default() += timing.took_ms();
    }
    measured
}

/// Wall clock from the earliest phase within `first..=last` to the last end of `last`.
fn between(timings: &[PhaseTiming], first: Phase, last: Phase) -> Option<u64> {
    let from_ms = timings.iter().filter(|t| t.phase >= first && t.phase <= last).map(|t| t.from_ms).min()?;
    let to_ms = timings.iter().filter(|t| t.phase == last).map(|t| t.to_ms.max(t.from_ms)).max()?;
    Some(to_ms.saturating_sub(from_ms))
}

/// Which clock a figure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// From declared to released.
    Service,
    /// From triggered to proven.
    Machine,
}

/// One earlier recovery, to be compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Hardware class.
    pub class: String,
    /// Where the endpoint stood.
    pub place: Place,
    /// It went all the way. That a phase has an end does not say so: a failed one ends too.
    pub proven: bool,
    /// What was measured.
    pub measured: Measured,
}

/// May times measured at these two places stand together? Virtual only with virtual; a spare disk with other hardware only on
/// the machine's clock, since people behave differently there.
#[must_use]
pub fn comparable(place: Place, other: Place, clock: Clock) -> bool {
    match (place, other) {
        (Place::Virtual, Place::Virtual) | (Place::SpareDisk, Place::SpareDisk) => true,
        (Place::Virtual, _) | (_, Place::Virtual) => false,
        (Place::SpareDisk, _) | (_, Place::SpareDisk) => clock == Clock::Machine,
        _ => true,
    }
}

/// The times that may stand together with those of `class` at `place`. Recoveries that failed have no time.
#[must_use]
pub fn pool(observed: &[Observed], class: &str, place: Place, clock: Clock) -> Vec<u64> {
    observed
        .iter()
        .filter(|run| run.proven && run.class == class && comparable(place, run.place, clock))
        .filter_map(|run| match clock {
            Clock::Service => run.measured.service_rto_ms,
            Clock::Machine => run.measured.machine_rto_ms,
        })
        .collect()
}

/// Fewest earlier runs that a phase is compared with.
pub const COMPARED_N_MIN: usize = 5;

/// A phase that was slower than ever before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slower {
    /// Which.
    pub phase: Phase,
    /// How long it took now.
    pub now_ms: u64,
    /// The middle of the earlier runs.
    pub median_ms: u64,
    /// How many those were.
    pub n: usize,
}

/// Phases that took longer than in each of at least [`COMPARED_N_MIN`] earlier runs that may stand beside this one, and a quarter longer than their middle.
/// Both, since the slowest of six is the newest one in six times by chance alone.
#[must_use]
pub fn slower_than_ever(now: &Measured, earlier: &[Observed], class: &str, place: Place) -> Vec<Slower> {
    let beside =
        |run: &&Observed| run.proven && run.class == class && comparable(place, run.place, Clock::Machine);
    let look = |(phase, now_ms): (&Phase, &u64)| {
        let times: Vec<u64> = earlier
            .iter()
            .filter(beside)
            .filter_map(|run| run.measured.phases_ms.get(phase).copied())
            .collect();
        let before = summary(&times).filter(|before| before.n >= COMPARED_N_MIN)?;
        let slower = *now_ms > before.max_ms && *now_ms > before.median_ms + before.median_ms / 4;
        slower.then_some(Slower { phase: *phase, now_ms: *now_ms, median_ms: before.median_ms, n: before.n })
    };
    now.phases_ms.iter().filter_map(look).collect()
}

/// What a number of runs shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many runs. Always shown.
    pub n: usize,
    /// The middle one (nearest rank).
    pub median_ms: u64,
    /// The slowest.
    pub max_ms: u64,
    /// The 95th percentile (nearest rank); `None` under [`PERCENTILE_N_MIN`] runs.
    pub p95_ms: Option<u64>,
}

/// Sum up some runs; `None` without any.
#[must_use]
pub fn summary(times_ms: &[u64]) -> Option<Summary> {
    let mut sorted = times_ms.to_vec();
    sorted.sort_unstable();
    let n = sorted.len();
    let nearest_rank = |percent: usize| sorted[(n * percent).div_ceil(100).clamp(1, n) - 1];
    let max_ms = *sorted.last()?;
    Some(Summary {
        n,
        median_ms: nearest_rank(50),
        max_ms,
        p95_ms: (n >= PERCENTILE_N_MIN).then(|| nearest_rank(95)),
    })
}

/// With 95 % confidence, at least this share (0 to 100, rounded down) of all recoveries like these finish within the slowest of `n` clean ones.
///
/// Distribution-free: if a share p finished within the slowest, n in a row would do so with probability pⁿ, so p may be claimed
/// as long as pⁿ ≤ 5 %. 29 clean runs give 90 %, 59 give 95 % (0.9²⁹ = 0.047, 0.95⁵⁹ = 0.048). Clean means that none failed:
/// after a single miss the count starts anew.
#[must_use]
pub fn claimable_percent(n: u32) -> u8 {
    (0..100).rev().find(|percent| runs_needed(*percent) <= n).unwrap_or(0)
}

/// How many clean runs in a row it takes to claim that share (0 to 99) with 95 % confidence.
#[must_use]
pub fn runs_needed(percent: u8) -> u32 {
    let share = f64::from(percent.min(99)) / 100.0;
    let mut all_within = 1.0;
    let mut n = 0;
    while all_within > 0.05 {
        all_within *= share;
        n += 1;
    }
    n
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timing(phase: Phase, from_ms: u64, to_ms: u64, actor: Actor) -> PhaseTiming {
        PhaseTiming { phase, label: phase.label().into(), from_ms, to_ms, actor }
    }

    #[test]
    fn both_clocks_run_between_their_own_phases() {
        let measured = measure(&[
            timing(Phase::Detect, 0, 500, Actor::Human),
            timing(Phase::Declare, 1_000, 1_000, Actor::Human),
            timing(Phase::Approve, 1_000, 61_000, Actor::Human),
            timing(Phase::Trigger, 61_000, 62_000, Actor::Machine),
            timing(Phase::Write, 62_000, 90_000, Actor::Machine),
            timing(Phase::FirstBoot, 90_000, 130_000, Actor::Firmware),
            timing(Phase::Attest, 130_000, 131_000, Actor::Machine),
            timing(Phase::Release, 131_000, 132_000, Actor::Machine),
        ]);
        assert_eq!(measured.service_rto_ms, Some(131_000));
        assert_eq!(measured.machine_rto_ms, Some(70_000));
        assert_eq!(measured.actors_ms[&Actor::Machine], 31_000);
        assert!(!measured.phases_ms.contains_key(&Phase::Capture), "what was not measured is not zero");
    }

    #[test]
    fn a_clock_that_never_stopped_gives_no_figure() {
        let measured = measure(&[
            timing(Phase::Trigger, 0, 10, Actor::Machine),
            timing(Phase::Write, 10, 20, Actor::Machine),
        ]);
        assert_eq!((measured.service_rto_ms, measured.machine_rto_ms), (None, None));
        assert_eq!(measure(&[]), Measured::default());
    }

    #[test]
    fn a_retried_phase_counts_each_time() {
        let measured = measure(&[
            timing(Phase::Write, 0, 40, Actor::Machine),
            timing(Phase::Write, 50, 60, Actor::Machine),
            timing(Phase::Write, 70, 60, Actor::Machine),
        ]);
        assert_eq!(measured.phases_ms[&Phase::Write], 50);
    }

    #[test]
    fn a_phase_is_slower_only_when_it_is_slower_than_every_run_before_and_by_a_quarter() {
        let run = |place, ms: u64| Observed {
            class: "ipc".into(),
            place,
            proven: true,
            measured: measure(&[timing(Phase::Write, 0, ms, Actor::Machine)]),
        };
        let earlier: Vec<Observed> = [100, 110, 120, 130, 160].map(|ms| run(Place::Bench, ms)).into();
        let found = |ms, earlier: &[Observed]| {
            slower_than_ever(&run(Place::Bench, ms).measured, earlier, "ipc", Place::Bench)
        };
        assert_eq!(found(161, &earlier), [Slower { phase: Phase::Write, now_ms: 161, median_ms: 120, n: 5 }]);
        assert_eq!(found(155, &earlier), [], "it was slower once");
        assert_eq!(found(161, &earlier[1..]), [], "four are too few");
        let even: Vec<Observed> = [100; 5].map(|ms| run(Place::Bench, ms)).into();
        assert_eq!((found(125, &even).len(), found(126, &even).len()), (0, 1));
        let virtual_ones: Vec<Observed> = [1; 9].map(|ms| run(Place::Virtual, ms)).into();
        assert_eq!(found(161, &virtual_ones), [], "virtual ones never stand beside hardware");
    }

    #[test]
    fn below_twenty_runs_there_is_no_percentile() {
        assert_eq!(summary(&[]), None);
        let nineteen: Vec<u64> = (1..=19).collect();
        assert_eq!(summary(&nineteen), Some(Summary { n: 19, median_ms: 10, max_ms: 19, p95_ms: None }));
        let twenty: Vec<u64> = (1..=20).collect();
        assert_eq!(summary(&twenty), Some(Summary { n: 20, median_ms: 10, max_ms: 20, p95_ms: Some(19) }));
        assert_eq!(summary(&[7]).unwrap().median_ms, 7);
    }

    #[test]
    fn twenty_nine_clean_runs_claim_ninety_percent_and_fifty_nine_claim_ninety_five() {
        assert_eq!((runs_needed(90), runs_needed(95), runs_needed(99)), (29, 59, 299));
        assert_eq!((claimable_percent(28), claimable_percent(29)), (89, 90));
        assert_eq!((claimable_percent(58), claimable_percent(59)), (94, 95));
        assert_eq!((claimable_percent(0), claimable_percent(1)), (0, 5));
        assert_eq!(claimable_percent(u32::MAX), 99, "never everything");
    }

    #[test]
    fn virtual_runs_never_stand_with_hardware() {
        let run = |place, ms| Observed {
            class: "ipc".into(),
            place,
            proven: true,
            measured: Measured {
                service_rto_ms: Some(ms),
                machine_rto_ms: Some(ms + 1),
                ..Measured::default()
            },
        };
        let all = [
            run(Place::Virtual, 1),
            run(Place::Bench, 10),
            run(Place::SpareDisk, 20),
            run(Place::Production, 30),
        ];
        assert_eq!(pool(&all, "ipc", Place::Virtual, Clock::Service), [1]);
        assert_eq!(pool(&all, "ipc", Place::Bench, Clock::Service), [10, 30]);
        assert_eq!(pool(&all, "ipc", Place::Bench, Clock::Machine), [11, 21, 31]);
        assert_eq!(pool(&all, "ipc", Place::SpareDisk, Clock::Service), [20]);
        assert!(pool(&all, "other", Place::Bench, Clock::Machine).is_empty());
    }

    proptest! {
        #[test]
        fn a_claim_is_true_by_its_own_arithmetic(n in 1u32..2_000) {
            let percent = claimable_percent(n);
            let share = f64::from(percent) / 100.0;
            prop_assert!(share.powf(f64::from(n)) <= 0.05 + 1e-9);
            if percent < 99 {
                let more = f64::from(percent + 1) / 100.0;
                prop_assert!(more.powf(f64::from(n)) > 0.05 - 1e-9);
            }
        }
    }
}
