//! A month for the security programme (CSMS): who was recovered and rehearsed, who is ready, how each zone stands, what expires, what is overdue.
//!
//! It is made of an evidence log and the owner's file of zones, as they stood at the month's end; what came later does not count. In English and German.
//! It states and sums nothing up: no figure for a site, no word that anything complies.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    catalogue::Catalogue,
    evidence::{Fact, Ledger, Mapping},
    readiness::{Board, Due, board},
    zone::{Assessment, Zones, assess},
};
use crate::{ids::TargetId, target::Place};

/// The schema of its JSON form.
pub const MONTH_SCHEMA: &str = "csms-month/v1";

/// What ends so soon that somebody should act: sixty days.
const SOON_MS: u64 = 60 * 86_400_000;

/// Months that a trend looks back.
const TREND: i16 = 12;

/// A calendar month in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Month {
    year: i16,
    month: i8,
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

impl std::str::FromStr for Month {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (year, month) = text.split_once('-')?;
            let month = Self { year: year.parse().ok()?, month: month.parse().ok()? };
            ((1970..=9000).contains(&month.year)
                && (1..=12).contains(&month.month)
                && month.to_string() == text)
                .then_some(month)
        };
        read().ok_or_else(|| format!("`{text}` is no month: write it as 2026-10"))
    }
}

impl TryFrom<String> for Month {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Month {
    /// Its first moment, and that of the next month: milliseconds since 1970.
    #[must_use]
    pub fn bounds_ms(self) -> (u64, u64) {
        (self.first_ms(), self.before(-1).first_ms())
    }

    fn first_ms(self) -> u64 {
        let first = jiff::civil::Date::new(self.year, self.month, 1).ok();
        let at = first.and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
        at.and_then(|at| u64::try_from(at.timestamp().as_millisecond()).ok()).unwrap_or_default()
    }

    /// So many months before; a negative number is after.
    fn before(self, months: i16) -> Self {
        let count = i32::from(self.year) * 12 + i32::from(self.month) - 1 - i32::from(months);
        let year = i16::try_from(count.div_euclid(12)).unwrap_or(self.year);
        Self { year, month: i8::try_from(count.rem_euclid(12) + 1).unwrap_or(self.month) }
    }
}

/// One recovery that ended in the month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// The entry of the log.
    pub entry: u64,
    /// The endpoint.
    pub endpoint: TargetId,
    /// Where it stands; `None`: in no zone of the file.
    pub place: Option<Place>,
    /// It was a rehearsal.
    pub drill: bool,
    /// It came back.
    pub came_back: bool,
}

/// Something that counts until a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiver {
    /// The zone.
    pub zone: String,
    /// The requirement.
    pub req: String,
    /// What is said or done instead.
    pub what: String,
    /// Who says so.
    pub by: String,
    /// It makes up for something that is not there.
    pub compensates: bool,
    /// It counts before this time.
    pub until_ms: u64,
    /// How it stood at the month's end.
    pub stands: Stands,
}

/// How a waiver stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stands {
    /// It counts no more.
    Expired,
    /// Within sixty days it does not.
    Soon,
    /// It counts.
    Counts,
}

/// How a zone stood at the end of a month: the shown and the possible level of each of the seven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stood {
    /// The month.
    pub month: Month,
    /// Lowest and highest, in the order of a vector.
    pub levels: Vec<(u8, u8)>,
}

/// The month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MonthReport {
    /// [`MONTH_SCHEMA`].
    pub schema: String,
    /// The site.
    pub site: String,
    /// The month.
    pub month: Month,
    /// When this was written, milliseconds since 1970.
    pub written_at_ms: u64,
    /// The time as of which it speaks: the month's end, or when it was written, whichever is earlier.
    pub as_of_ms: u64,
    /// What the evidence was.
    pub evidence: String,
    /// Name and digest of the catalogue.
    pub catalogue: (String, String),
    /// Version and digest of the mapping.
    pub mapping: (u32, String),
    /// Recoveries and rehearsals that ended in the month.
    pub ended: Vec<Ended>,
    /// Who is ready.
    pub board: Board,
    /// The zones.
    pub zones: Vec<Assessment>,
    /// Entries of the log on which the zones' levels rest.
    pub rests_on: Vec<u64>,
    /// How each zone stood at the end of the months before, the oldest first.
    pub trend: BTreeMap<String, Vec<Stood>>,
    /// Declarations and compensations, the first to end first.
    pub waivers: Vec<Waiver>,
    /// What nobody here can see: what, why, who can say.
    pub not_assessable: Vec<(String, String, String)>,
    /// The same elsewhere.
    pub crosswalk: Vec<super::evidence::Crosswalk>,
}

impl MonthReport {
    /// Look at a month. Facts after its end do not count.
    #[must_use]
    pub fn of(
        (zones, catalogue, mapping): (&Zones, &Catalogue, &Mapping),
        (facts, evidence): (&[Fact], &str),
        month: Month,
        written_at_ms: u64,
    ) -> Self {
        let (from_ms, end_ms) = month.bounds_ms();
        // The last moment of the month: a declaration of its last day still counts in it.
        let as_of_ms = written_at_ms.min(end_ms.saturating_sub(1));
        let stood = |as_of_ms: u64| -> Vec<Assessment> {
            let known: Vec<Fact> = facts.iter().filter(|fact| fact.at_ms <= as_of_ms).cloned().collect();
            let ledger = Ledger::of(mapping, &known);
            let one = |zone| assess(catalogue, zone, &ledger.weigh(&zone.endpoints, as_of_ms), as_of_ms);
            zones.zones.iter().map(one).collect()
        };
        let mut trend: BTreeMap<String, Vec<Stood>> = BTreeMap::new();
        let first_ms = facts.iter().map(|fact| fact.at_ms).min().unwrap_or(u64::MAX);
        for before in (1..TREND).rev().map(|months| month.before(months)) {
            let end_ms = before.bounds_ms().1.saturating_sub(1);
            if end_ms < first_ms {
                continue;
            }
            for zone in stood(end_ms) {
                trend
                    .entry(zone.zone.clone())
                    .or_default()
                    .push(Stood { month: before, levels: levels(&zone) });
            }
        }
        let now = stood(as_of_ms);
        for zone in &now {
            trend.entry(zone.zone.clone()).or_default().push(Stood { month, levels: levels(zone) });
        }
        let known: Vec<Fact> = facts.iter().filter(|fact| fact.at_ms <= as_of_ms).cloned().collect();
        let ledger = Ledger::of(mapping, &known);
        let rests_on: BTreeSet<u64> =
            zones.zones.iter().flat_map(|zone| ledger.entries(&zone.endpoints)).collect();
        Self {
            schema: MONTH_SCHEMA.into(),
            site: zones.site.clone(),
            month,
            written_at_ms,
            as_of_ms,
            evidence: evidence.into(),
            catalogue: (catalogue.name.clone(), catalogue.digest.clone()),
            mapping: (mapping.version, mapping.digest.clone()),
            ended: ended(zones, &known, from_ms),
            board: board(zones, &known, as_of_ms),
            zones: now,
            rests_on: rests_on.into_iter().collect(),
            trend,
            waivers: waivers(zones, as_of_ms),
            not_assessable: super::NOT_ASSESSABLE
                .iter()
                .map(|(what, why, who)| ((*what).to_owned(), (*why).to_owned(), (*who).to_owned()))
                .collect(),
            crosswalk: mapping.crosswalk.clone(),
        }
    }

    /// Entries of the log that it names: whoever packs it packs their proofs.
    #[must_use]
    pub fn entries(&self) -> Vec<u64> {
        let came = self.ended.iter().map(|one| one.entry);
        let ready = self.board.endpoints.iter().filter_map(|one| one.last.map(|(_, _, entry)| entry));
        let clocks = self.board.clocks.iter().filter_map(|one| one.last.map(|(_, _, entry)| entry));
        let all = came.chain(ready).chain(clocks).chain(self.rests_on.iter().copied());
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Endpoints that never came back or whose time is over, and clocks, by name.
    #[must_use]
    pub fn overdue(&self) -> Vec<(String, Due)> {
        let late = |due: Due| matches!(due, Due::Never | Due::Overdue);
        let endpoints = self.board.endpoints.iter().filter(|one| late(one.due));
        let clocks = self.board.clocks.iter().filter(|one| late(one.due));
        endpoints
            .map(|one| (one.endpoint.to_string(), one.due))
            .chain(clocks.map(|one| (one.name.clone(), one.due)))
            .collect()
    }
}

fn levels(zone: &Assessment) -> Vec<(u8, u8)> {
    zone.standings.iter().map(|one| (one.declared.low, one.declared.high)).collect()
}

fn ended(zones: &Zones, facts: &[Fact], from_ms: u64) -> Vec<Ended> {
    let places: BTreeMap<&TargetId, Place> =
        zones.zones.iter().flat_map(|zone| &zone.endpoints).map(|one| (&one.name, one.place)).collect();
    let one = |fact: &Fact| {
        let came_back = match fact.to.as_deref() {
            Some("recovered") => true,
            Some("failed") => false,
            _ => return None,
        };
        let endpoint = fact.endpoint.clone()?;
        let place = places.get(&endpoint).copied();
        Some(Ended { at_ms: fact.at_ms, entry: fact.seq, endpoint, place, drill: fact.drill, came_back })
    };
    facts.iter().filter(|fact| fact.kind == "transition" && fact.at_ms >= from_ms).filter_map(one).collect()
}

fn waivers(zones: &Zones, as_of_ms: u64) -> Vec<Waiver> {
    let stands = |until_ms: u64| match until_ms {
        until_ms if until_ms <= as_of_ms => Stands::Expired,
        until_ms if until_ms - as_of_ms <= SOON_MS => Stands::Soon,
        _ => Stands::Counts,
    };
    let of = |zone: &super::zone::Zone| -> Vec<Waiver> {
        let declared = zone.declared.iter().map(|one| Waiver {
            zone: zone.name.clone(),
            req: one.req.to_string(),
            what: one.basis.clone(),
            by: one.by.clone(),
            compensates: false,
            until_ms: one.expires.end_ms(),
            stands: stands(one.expires.end_ms()),
        });
        let compensating = zone.compensating.iter().map(|one| Waiver {
            zone: zone.name.clone(),
            req: one.req.to_string(),
            what: one.measure.clone(),
            by: one.approved_by.join(", "),
            compensates: true,
            until_ms: one.expires.end_ms(),
            stands: stands(one.expires.end_ms()),
        });
        declared.chain(compensating).collect()
    };
    let mut all: Vec<Waiver> = zones.zones.iter().flat_map(of).collect();
    all.sort_by(|a, b| (a.until_ms, &a.zone, &a.req).cmp(&(b.until_ms, &b.zone, &b.req)));
    all
}

#[cfg(test)]
#[path = "month_tests.rs"]
mod tests;
