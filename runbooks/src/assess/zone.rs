//! One zone: what is declared, what follows, and what is still missing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    catalogue::{Catalogue, Duty, Fr, Req},
    evidence::{Weighed, ZoneEndpoint},
};
use crate::{
    ids::TargetId,
    paper::Language,
    runbook::{
        Position,
        parse::{Length, ParseError, read_yaml},
    },
};

/// The zones of a site, as its owner declares them (schema `zones/v1`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zones {
    schema: String,
    /// The site's name.
    pub site: String,
    /// Clocks of the whole site, such as an audit's fifteen months.
    #[serde(default)]
    pub clocks: Vec<super::readiness::SiteClock>,
    /// Its zones.
    pub zones: Vec<Zone>,
}

impl Zones {
    /// Read them.
    ///
    /// # Errors
    /// With line and column.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let zones: Self = read_yaml(text)?;
        if zones.schema == "zones/v1" {
            Ok(zones)
        } else {
            Err(ParseError::Schema { wanted: "zones/v1", at: at_the_top(), found: zones.schema })
        }
    }
}

/// One zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// The levels that the owner aims at.
    pub target: Target,
    /// Its endpoints.
    #[serde(default)]
    pub endpoints: Vec<ZoneEndpoint>,
    /// How long a recovery proves an endpoint of it; half a year when absent.
    pub rehearse: Option<Length>,
    /// What people say.
    #[serde(default)]
    pub declared: Vec<Declaration>,
    /// What makes up for something that is not there.
    #[serde(default)]
    pub compensating: Vec<Compensation>,
}

/// The levels aimed at, 0 to 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the seven foundational requirements, by their words")]
pub struct Target {
    pub iac: Level,
    pub uc: Level,
    pub si: Level,
    pub dc: Level,
    pub rdf: Level,
    pub tre: Level,
    pub ra: Level,
}

impl Target {
    /// The level aimed at for one of the seven.
    #[must_use]
    pub fn of(&self, fr: Fr) -> u8 {
        [self.iac, self.uc, self.si, self.dc, self.rdf, self.tre, self.ra][fr as usize].0
    }
}

/// A level, 0 to 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub struct Level(pub u8);

impl TryFrom<u8> for Level {
    type Error = String;

    fn try_from(level: u8) -> Result<Self, String> {
        if level <= 4 { Ok(Self(level)) } else { Err(format!("a level is 0 to 4, not {level}")) }
    }
}

/// The last day on which something counts, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Day {
    end_ms: u64,
}

impl Day {
    /// It counts before this time (milliseconds since 1970).
    #[must_use]
    pub fn end_ms(self) -> u64 {
        self.end_ms
    }
}

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no day: write it as 2027-02-28");
        let day: jiff::civil::Date = text.parse().map_err(|_| wrong())?;
        let next = day.tomorrow().map_err(|_| wrong())?;
        let end = next.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
        Ok(Self { end_ms: u64::try_from(end.timestamp().as_millisecond()).map_err(|_| wrong())? })
    }
}

/// Somebody says how a requirement stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The requirement.
    pub req: Req,
    /// How it stands.
    pub state: Declared,
    /// On what they base it: a document, a measurement.
    pub basis: String,
    /// Who says so.
    pub by: String,
    /// The last day on which it counts. Without one it does not count at all.
    pub expires: Day,
}

/// How a requirement can be declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Declared {
    /// It is met.
    Met,
    /// It does not apply, for a reason.
    Na,
    /// It is not met.
    Unmet,
}

/// Something else does what the requirement is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compensation {
    /// The requirement.
    pub req: Req,
    /// What is done instead.
    pub measure: String,
    /// Who approved it: two people at least.
    #[serde(default)]
    pub approved_by: Vec<String>,
    /// The last day on which it counts.
    pub expires: Day,
}

impl Compensation {
    /// Two people approved it.
    #[must_use]
    pub fn is_approved(&self) -> bool {
        let distinct: std::collections::BTreeSet<&String> = self.approved_by.iter().collect();
        distinct.len() >= 2
    }
}

/// How a requirement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Shown or declared.
    Met,
    /// Made up for.
    Comp,
    /// Does not apply.
    Na,
    /// Shown or declared not to be.
    Unmet,
    /// Nothing fresh speaks of it.
    Unknown,
}

impl State {
    fn is_good(self) -> bool {
        matches!(self, Self::Met | Self::Comp | Self::Na)
    }

    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        ["met", "compensated", "not applicable", "unmet", "unknown"][self as usize]
    }
}

/// One requirement in one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The requirement.
    pub req: Req,
    /// What it is about.
    pub in_short: String,
    /// From which level it counts.
    pub level: u8,
    /// Whose duty it mostly is.
    pub duty: Duty,
    /// By evidence alone.
    pub evidence: State,
    /// With what is declared.
    pub state: State,
    /// Why, in an English sentence.
    pub why: String,
    /// The same as data, for other languages.
    #[serde(skip)]
    pub because: Why,
    /// The last moment at which this holds, milliseconds since 1970; then it is unknown. `None`: it does not fall.
    pub until_ms: Option<u64>,
}

/// Why a requirement stands as it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Fresh evidence for every endpoint.
    Fresh,
    /// Evidence against it: on how many endpoints, the first of them, and its entry.
    Against(usize, TargetId, u64),
    /// Nothing fresh: on how many endpoints, and the first of them.
    Stale(usize, TargetId),
    /// Evidence on so many endpoints supports it and decides nothing.
    Supports(usize),
    /// Nobody spoke of it.
    Nobody,
    /// What was declared has expired.
    Expired,
    /// Somebody says so, and on what they base it.
    Says(String, String),
    /// What is done instead, and who approved it.
    Instead(String, String),
}

impl Why {
    /// In a sentence.
    #[must_use]
    pub fn said(&self, language: Language) -> String {
        match self {
            Self::Fresh => language
                .pick("fresh evidence for every endpoint", "frische Nachweise für jedes Endgerät")
                .into(),
            Self::Against(n, first, entry) => language.pick(
                format!("evidence against it on {n} endpoint(s), first {first} (entry {entry})"),
                format!("Nachweise dagegen an {n} Endgerät(en), zuerst {first} (Eintrag {entry})"),
            ),
            Self::Stale(n, first) => language.pick(
                format!("nothing fresh on {n} endpoint(s), first {first}"),
                format!("nichts Frisches an {n} Endgerät(en), zuerst {first}"),
            ),
            Self::Supports(n) => language.pick(
                format!("evidence on {n} endpoint(s) supports it and decides nothing"),
                format!("Nachweise an {n} Endgerät(en) stützen es und entscheiden nichts"),
            ),
            Self::Nobody => language.pick("nobody spoke of it", "niemand hat davon gesprochen").into(),
            Self::Expired => {
                language.pick("what was declared has expired", "was erklärt wurde, ist abgelaufen").into()
            }
            Self::Says(by, basis) => {
                language.pick(format!("{by} says so: {basis}"), format!("{by} sagt es: {basis}"))
            }
            Self::Instead(measure, by) => language
                .pick(format!("{measure}; approved by {by}"), format!("{measure}; genehmigt von {by}")),
        }
    }
}

/// The lowest and the highest level that could be achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// What is shown.
    pub low: u8,
    /// What might be.
    pub high: u8,
}

/// How a foundational requirement stands against its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// What is shown reaches the target.
    Met,
    /// It might be there; something is unknown.
    Unproven,
    /// It cannot be there.
    Gap,
}

impl Verdict {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        ["met", "unproven", "gap"][self as usize]
    }
}

/// One of the seven in one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Which.
    pub fr: Fr,
    /// What is aimed at.
    pub target: u8,
    /// By evidence alone.
    pub evidence: Interval,
    /// With what is declared.
    pub declared: Interval,
    /// By the second.
    pub verdict: Verdict,
    /// What stands between it and its target.
    pub blocking: Vec<Req>,
}

/// A zone as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assessment {
    /// The zone.
    pub zone: String,
    /// How many endpoints it has.
    pub endpoints: usize,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// The seven, in order.
    pub standings: Vec<Standing>,
    /// Every requirement.
    pub rows: Vec<Row>,
    /// When the next row falls to unknown if nothing new comes.
    pub next_fall_ms: Option<u64>,
}

/// Put together what the evidence says and what people say.
///
/// Evidence against a requirement cannot be declared away, and who says that it is unmet is believed. A declaration fills only what is unknown; a compensation
/// needs two people and a day on which it ends.
#[must_use]
pub fn assess(
    catalogue: &Catalogue,
    zone: &Zone,
    weighed: &BTreeMap<Req, Weighed>,
    now_ms: u64,
) -> Assessment {
    let rows: Vec<Row> = catalogue
        .requirements
        .iter()
        .map(|requirement| {
            let (evidence, because, until_ms) = by_evidence(weighed.get(&requirement.id));
            let (state, because, until_ms) =
                with_declarations(zone, &requirement.id, (evidence, because, until_ms), now_ms);
            Row {
                req: requirement.id.clone(),
                in_short: requirement.in_short.clone(),
                level: requirement.level,
                duty: requirement.duty,
                evidence,
                state,
                why: because.said(Language::En),
                because,
                until_ms,
            }
        })
        .collect();
    let standings = Fr::ALL.into_iter().map(|fr| standing(fr, zone.target.of(fr), &rows)).collect();
    let next_fall_ms = rows.iter().filter_map(|row| row.until_ms).min();
    Assessment {
        zone: zone.name.clone(),
        endpoints: zone.endpoints.len(),
        at_ms: now_ms,
        standings,
        rows,
        next_fall_ms,
    }
}

type Stands = (State, Why, Option<u64>);

fn by_evidence(weighed: Option<&Weighed>) -> Stands {
    match weighed {
        Some(Weighed::Met { until_ms }) => (State::Met, Why::Fresh, Some(*until_ms)),
        Some(Weighed::Unmet { endpoints }) => {
            let (first, entry) = &endpoints[0];
            (State::Unmet, Why::Against(endpoints.len(), first.clone(), *entry), None)
        }
        Some(Weighed::Unknown { endpoints }) => {
            (State::Unknown, Why::Stale(endpoints.len(), endpoints[0].clone()), None)
        }
        Some(Weighed::Contributing { endpoints }) => (State::Unknown, Why::Supports(*endpoints), None),
        None => (State::Unknown, Why::Nobody, None),
    }
}

fn with_declarations(zone: &Zone, req: &Req, (evidence, because, until_ms): Stands, now_ms: u64) -> Stands {
    let declared = zone.declared.iter().filter(|one| one.req == *req);
    let (fresh, stale): (Vec<_>, Vec<_>) = declared.partition(|one| now_ms < one.expires.end_ms());
    let compensation = zone
        .compensating
        .iter()
        .find(|one| one.req == *req && one.is_approved() && now_ms < one.expires.end_ms());
    let unmet = fresh.iter().find(|one| one.state == Declared::Unmet);
    let state = if unmet.is_some() { State::Unmet } else { evidence };
    if state == State::Met {
        return (state, because, until_ms);
    }
    let says = |one: &Declaration| Why::Says(one.by.clone(), one.basis.clone());
    if let Some(instead) = compensation {
        let why = Why::Instead(instead.measure.clone(), instead.approved_by.join(", "));
        return (State::Comp, why, Some(instead.expires.end_ms()));
    }
    if let Some(declaration) = unmet {
        return (State::Unmet, says(declaration), None);
    }
    match (state, fresh.first()) {
        (State::Unknown, Some(declaration)) => {
            let state = if declaration.state == Declared::Na { State::Na } else { State::Met };
            (state, says(declaration), Some(declaration.expires.end_ms()))
        }
        (State::Unknown, None) if !stale.is_empty() => (state, Why::Expired, None),
        _ => (state, because, until_ms),
    }
}

fn standing(fr: Fr, target: u8, rows: &[Row]) -> Standing {
    let mine = || rows.iter().filter(|row| row.req.fr() == fr);
    let interval = |state: fn(&Row) -> State| {
        let reached = |also_unknown: bool| {
            let good = |row: &Row| state(row).is_good() || (also_unknown && state(row) == State::Unknown);
            (1..=4).take_while(|level| mine().filter(|row| row.level <= *level).all(good)).last().unwrap_or(0)
        };
        Interval { low: reached(false), high: reached(true) }
    };
    let declared = interval(|row| row.state);
    let verdict = if declared.low >= target {
        Verdict::Met
    } else if declared.high < target {
        Verdict::Gap
    } else {
        Verdict::Unproven
    };
    let blocks = |row: &&Row| row.level <= target && !row.state.is_good();
    let blocking = mine().filter(blocks).map(|row| row.req.clone()).collect();
    Standing { fr, target, evidence: interval(|row| row.evidence), declared, verdict, blocking }
}

fn at_the_top() -> Position {
    Position { line: 1, column: 1 }
}
