//! Who came back lately, who is due, and who never did: readiness with its denominator.
//!
//! An endpoint is proven by its own recovery, real or rehearsed, seen to the end. It is due again after its zone's time. A site's own clocks (an audit's fifteen
//! months, say) run beside: each is set back by what satisfies it, and a real recovery counts where the clock says so. What never happened is listed by name and
//! is no nought in a mean.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    evidence::Fact,
    zone::{Zone, Zones},
};
use crate::{ids::TargetId, target::Place};

/// How long a recovery proves an endpoint when its zone does not say: half a year.
pub const REHEARSED_MS: u64 = 180 * 86_400_000;

/// Due so soon that somebody should plan it.
const SOON_MS: u64 = 30 * 86_400_000;

/// What sets a clock back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A real recovery.
    Recovery,
    /// A rehearsal on hardware.
    Drill,
    /// A rehearsal on a virtual endpoint.
    Virtual,
}

/// A clock of the whole site.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteClock {
    /// Its name, such as `CIP-009-6 R2.1`.
    pub name: String,
    /// Calendar months from one to the next.
    pub months: u16,
    /// What sets it back.
    pub by: Vec<By>,
}

/// How something stands against its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Due {
    /// It never happened.
    Never,
    /// Its time is over.
    Overdue,
    /// Within thirty days.
    Soon,
    /// Later.
    Fine,
}

impl Due {
    fn of(due_ms: Option<u64>, now_ms: u64) -> Self {
        match due_ms {
            None => Self::Never,
            Some(due_ms) if due_ms <= now_ms => Self::Overdue,
            Some(due_ms) if due_ms - now_ms <= SOON_MS => Self::Soon,
            Some(_) => Self::Fine,
        }
    }

    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        ["never proven", "overdue", "due soon", "proven"][self as usize]
    }
}

/// One endpoint on the board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// Its zone.
    pub zone: String,
    /// Its name.
    pub endpoint: TargetId,
    /// Where it stands.
    pub place: Place,
    /// Its last recovery: when (milliseconds since 1970), by what, and the entry of the log.
    pub last: Option<(u64, By, u64)>,
    /// When it is due again.
    pub due_ms: Option<u64>,
    /// How it stands.
    pub due: Due,
}

/// One clock of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClockStands {
    /// Its name.
    pub name: String,
    /// What set it back last, and when.
    pub last: Option<(u64, By, u64)>,
    /// When it is due.
    pub due_ms: Option<u64>,
    /// How it stands.
    pub due: Due,
}

/// The board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Board {
    /// Endpoints, the worst first.
    pub endpoints: Vec<Ready>,
    /// The site's clocks.
    pub clocks: Vec<ClockStands>,
    /// Endpoints on hardware: how many there are, and how many are proven and not overdue.
    pub hardware: (usize, usize),
}

/// Look at a site.
#[must_use]
pub fn board(zones: &Zones, facts: &[Fact], now_ms: u64) -> Board {
    let places: BTreeMap<&TargetId, Place> =
        zones.zones.iter().flat_map(|zone| &zone.endpoints).map(|one| (&one.name, one.place)).collect();
    let recovered: Vec<(&TargetId, u64, By, u64)> = facts
        .iter()
        .filter(|fact| {
            fact.kind == "transition" && fact.to.as_deref() == Some("recovered") && fact.at_ms <= now_ms
        })
        .filter_map(|fact| {
            let endpoint = fact.endpoint.as_ref()?;
            let by = match (places.get(endpoint)?, fact.drill) {
                (Place::Virtual, _) => By::Virtual,
                (_, true) => By::Drill,
                (_, false) => By::Recovery,
            };
            Some((endpoint, fact.at_ms, by, fact.seq))
        })
        .collect();
    let newest = |some: &mut dyn Iterator<Item = &(&TargetId, u64, By, u64)>| {
        some.max_by_key(|(_, at_ms, _, seq)| (*at_ms, *seq)).map(|(_, at_ms, by, seq)| (*at_ms, *by, *seq))
    };
    let mut of_endpoint: BTreeMap<&TargetId, (u64, By, u64)> = BTreeMap::new();
    for (endpoint, at_ms, by, seq) in &recovered {
        let one = of_endpoint.entry(endpoint).or_insert((*at_ms, *by, *seq));
        if (one.0, one.2) < (*at_ms, *seq) {
            *one = (*at_ms, *by, *seq);
        }
    }
    let mut endpoints: Vec<Ready> =
        zones.zones.iter().flat_map(|zone| of_zone(zone, &of_endpoint, now_ms)).collect();
    endpoints.sort_by(|a, b| (a.due, a.due_ms, &a.endpoint).cmp(&(b.due, b.due_ms, &b.endpoint)));
    let clocks = zones.clocks.iter().map(|clock| {
        let last = newest(&mut recovered.iter().filter(|(_, _, by, _)| clock.by.contains(by)));
        let due_ms = last.map(|(at_ms, ..)| months_after(at_ms, clock.months));
        ClockStands { name: clock.name.clone(), last, due_ms, due: Due::of(due_ms, now_ms) }
    });
    let on_hardware = endpoints.iter().filter(|one| one.place != Place::Virtual);
    let proven = on_hardware.clone().filter(|one| matches!(one.due, Due::Soon | Due::Fine)).count();
    Board { hardware: (on_hardware.count(), proven), clocks: clocks.collect(), endpoints }
}

fn of_zone<'a>(
    zone: &'a Zone,
    newest: &'a BTreeMap<&TargetId, (u64, By, u64)>,
    now_ms: u64,
) -> impl Iterator<Item = Ready> + 'a {
    let every_ms = zone.rehearse.map_or(REHEARSED_MS, |length| length.0);
    zone.endpoints.iter().map(move |endpoint| {
        let last = newest.get(&endpoint.name).copied();
        let due_ms = last.map(|(at_ms, ..)| at_ms.saturating_add(every_ms));
        Ready {
            zone: zone.name.clone(),
            endpoint: endpoint.name.clone(),
            place: endpoint.place,
            last,
            due_ms,
            due: Due::of(due_ms, now_ms),
        }
    })
}

/// Calendar months later, in UTC: the same day, or the month's last.
fn months_after(at_ms: u64, months: u16) -> u64 {
    let later = || {
        let at = jiff::Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok()?;
        let at = at.to_zoned(jiff::tz::TimeZone::UTC);
        let later = at.checked_add(jiff::Span::new().months(i32::from(months))).ok()?;
        u64::try_from(later.timestamp().as_millisecond()).ok()
    };
    later().unwrap_or(u64::MAX)
}

impl Board {
    /// How it stands, in a sentence with its denominator.
    #[must_use]
    pub fn in_a_sentence(&self) -> String {
        let (all, proven) = self.hardware;
        let never =
            self.endpoints.iter().filter(|one| one.place != Place::Virtual && one.due == Due::Never).count();
        format!("{proven} of {all} endpoints on hardware came back lately enough; {never} never did.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;
    /// 2026-11-29 00:00 UTC.
    const NOW_MS: u64 = 1_795_910_400_000;

    fn zones() -> Zones {
        Zones::parse(
            "schema: zones/v1\nsite: A\nclocks:\n  - {name: plan tested, months: 15, by: [recovery, drill]}\n  - {name: exercise, months: 36, by: [drill]}\nzones:\n  \
             - name: cell\n    rehearse: 90d\n    target: {iac: 1, uc: 1, si: 1, dc: 1, rdf: 1, tre: 1, ra: 1}\n    endpoints: [{name: old, place: production}, {name: new, place: production}, {name: soon, place: production}, {name: none, place: production}, {name: vm, place: virtual}]\n",
        )
        .unwrap()
    }

    fn recovered(seq: u64, endpoint: &str, days_ago: u64, drill: bool) -> Fact {
        Fact {
            seq,
            at_ms: NOW_MS - days_ago * DAY_MS,
            kind: "transition".into(),
            endpoint: Some(TargetId::new(endpoint)),
            to: Some("recovered".into()),
            has: Vec::new(),
            values: BTreeMap::new(),
            drill,
        }
    }

    #[test]
    fn the_board_has_its_denominator_and_names_who_never_came_back() {
        let mut other = recovered(9, "none", 1, false);
        other.to = Some("failed".into());
        let facts = [
            recovered(1, "old", 90, true),
            recovered(2, "new", 300, true),
            recovered(3, "new", 1, false),
            recovered(4, "soon", 61, false),
            recovered(5, "vm", 2, true),
            recovered(6, "of no zone", 2, true),
            other,
        ];
        let board = board(&zones(), &facts, NOW_MS);
        let stands: Vec<(&str, Due)> =
            board.endpoints.iter().map(|one| (one.endpoint.as_str(), one.due)).collect();
        assert_eq!(
            stands,
            [
                ("none", Due::Never),
                ("old", Due::Overdue),
                ("soon", Due::Soon),
                ("vm", Due::Fine),
                ("new", Due::Fine)
            ]
        );
        assert_eq!(board.hardware, (4, 2), "a virtual endpoint proves no hardware");
        assert_eq!(
            board.in_a_sentence(),
            "2 of 4 endpoints on hardware came back lately enough; 1 never did."
        );
    }

    #[test]
    fn a_real_recovery_sets_back_the_clocks_that_say_so() {
        let of = |facts: &[Fact]| {
            let stands = board(&zones(), facts, NOW_MS).clocks;
            stands
                .into_iter()
                .map(|one| (one.due, one.last.map(|(_, by, seq)| (by, seq))))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), [(Due::Never, None), (Due::Never, None)]);
        let facts =
            [recovered(1, "old", 400, true), recovered(2, "old", 10, false), recovered(3, "vm", 1, true)];
        assert_eq!(of(&facts), [(Due::Fine, Some((By::Recovery, 2))), (Due::Fine, Some((By::Drill, 1)))]);
        let long_ago = [recovered(1, "old", 480, true)];
        assert_eq!(of(&long_ago)[0].0, Due::Overdue, "fifteen months");
        assert_eq!(of(&long_ago)[1].0, Due::Fine, "thirty-six");
    }

    #[test]
    fn months_are_of_the_calendar() {
        let at =
            |text: &str| u64::try_from(text.parse::<jiff::Timestamp>().unwrap().as_millisecond()).unwrap();
        assert_eq!(months_after(at("2025-11-30T10:00:00Z"), 15), at("2027-02-28T10:00:00Z"));
        assert_eq!(months_after(at("2026-01-31T00:00:00Z"), 1), at("2026-02-28T00:00:00Z"));
    }
}
