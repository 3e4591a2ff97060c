//! From facts to the state of a requirement, by a mapping that is data. Facts know nothing of requirements; a mapping that changes changes no fact.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::catalogue::Req;
use crate::{
    ids::TargetId,
    runbook::{
        Position,
        parse::{Length, ParseError, read_yaml},
    },
    target::Place,
};

/// One fact of the evidence log, as far as a mapping can ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Its number in the log.
    pub seq: u64,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// Its kind, such as `proof.quote`.
    pub kind: String,
    /// The endpoint that it is about.
    pub endpoint: Option<TargetId>,
    /// Of a transition: the state that it led to, in a word.
    pub to: Option<String>,
    /// The names of its facts that are there and not empty.
    pub has: Vec<String>,
    /// Those of its facts that are short texts, by their names.
    pub values: BTreeMap<String, String>,
    /// It is of a rehearsal.
    pub drill: bool,
}

/// A text that a mapping may compare: longer ones are sentences and keys.
const SHORT: usize = 40;

/// As much of an entry's text as a fact needs.
#[derive(Deserialize)]
struct RawEntry {
    seq: u64,
    at_unix_ms: u64,
    kind: String,
    endpoint: Option<String>,
    mode: String,
    facts: serde_json::Map<String, serde_json::Value>,
}

impl Fact {
    /// The fact that an entry of the log states, from its text (a JSON object with `seq`, `at_unix_ms`, `kind`, `mode`, `facts` and, where it is about one,
    /// `endpoint`). `None`: it is no entry.
    #[must_use]
    pub fn of_entry(text: &str) -> Option<Self> {
        let entry: RawEntry = serde_json::from_str(text).ok()?;
        let to = entry.facts.get("to").and_then(|to| to.as_str().or_else(|| to.get("is")?.as_str()));
        let to = to.map(str::to_lowercase);
        let filled = |value: &serde_json::Value| !value.is_null() && value.as_str() != Some("");
        let has =
            entry.facts.iter().filter(|(_, value)| filled(value)).map(|(name, _)| name.clone()).collect();
        let short = |(name, value): (&String, &serde_json::Value)| {
            let value = value.as_str().filter(|value| value.len() <= SHORT)?;
            Some((name.clone(), value.to_owned()))
        };
        Some(Self {
            values: entry.facts.iter().filter_map(short).collect(),
            seq: entry.seq,
            at_ms: entry.at_unix_ms,
            endpoint: entry.endpoint.map(TargetId::new),
            kind: entry.kind,
            to,
            has,
            drill: entry.mode == "drill",
        })
    }
}

/// An endpoint of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneEndpoint {
    /// Its name.
    pub name: TargetId,
    /// Where it stands. The file says it: a virtual endpoint that was taken for hardware would prove what it cannot.
    pub place: Place,
}

/// A mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Its version.
    pub version: u32,
    /// The catalogue that it is for.
    pub catalogue: String,
    /// blake3 of its text, lower-case hex.
    pub digest: String,
    /// What counts for what.
    pub rules: Vec<MappingRule>,
    /// The same elsewhere.
    pub crosswalk: Vec<Crosswalk>,
}

/// What counts for one requirement.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingRule {
    /// The requirement.
    pub req: Req,
    /// What it is about.
    pub scope: Scope,
    /// How much it can do.
    pub strength: Strength,
    /// Rehearsals on virtual endpoints count for nothing here.
    #[serde(default)]
    pub real_hardware: bool,
    /// Facts that speak for it.
    #[serde(default)]
    pub pass: Vec<Matcher>,
    /// Facts that speak against it.
    #[serde(default)]
    pub fail: Vec<Matcher>,
    /// How long a fact speaks.
    pub ttl: Length,
    /// How a person looks whether it is true.
    pub auditor: String,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Each endpoint of a zone.
    Endpoint,
    /// The appliance as a component. It never speaks for a zone.
    Appliance,
}

/// How much evidence can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// It can set a requirement.
    Direct,
    /// It supports a declaration, and sets nothing.
    Contributing,
}

/// Which facts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    kind: String,
    to: Option<String>,
    has: Option<String>,
    #[serde(default, rename = "where")]
    values: BTreeMap<String, String>,
}

impl Matcher {
    /// The kind that it asks for.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    fn fits(&self, fact: &Fact) -> bool {
        self.kind == fact.kind
            && self.to.as_ref().is_none_or(|to| fact.to.as_ref() == Some(to))
            && self.has.as_ref().is_none_or(|has| fact.has.contains(has))
            && self.values.iter().all(|(name, value)| fact.values.get(name) == Some(value))
    }
}

/// Where other catalogues ask for the same. Identifiers only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Crosswalk {
    /// The requirement.
    pub req: Req,
    /// NIST CSF 2.0.
    #[serde(default)]
    pub csf_2_0: Vec<String>,
    /// NERC CIP-009-6.
    #[serde(default)]
    pub cip_009_6: Vec<String>,
    /// Implementing Regulation (EU) 2024/2690, annex.
    #[serde(default)]
    pub nis2_cir: Vec<String>,
    /// NIST SP 800-53.
    #[serde(default)]
    pub sp_800_53: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMapping {
    schema: String,
    version: u32,
    catalogue: String,
    rules: Vec<MappingRule>,
    #[serde(default)]
    crosswalk: Vec<Crosswalk>,
}

impl Mapping {
    /// The mapping that ships.
    ///
    /// # Errors
    /// Never: a test reads it.
    pub fn shipped() -> Result<Self, ParseError> {
        Self::parse(include_str!("../../catalogue/mapping-v1.yaml"))
    }

    /// Read a mapping (schema `mapping/v1`).
    ///
    /// # Errors
    /// With line and column.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let raw: RawMapping = read_yaml(text)?;
        if raw.schema != "mapping/v1" {
            return Err(ParseError::Schema { wanted: "mapping/v1", at: at_the_top(), found: raw.schema });
        }
        let digest = blake3::hash(text.as_bytes()).to_hex().to_string();
        let RawMapping { version, catalogue, rules, crosswalk, .. } = raw;
        Ok(Self { version, catalogue, digest, rules, crosswalk })
    }
}

/// What evidence says of one requirement in one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "says", rename_all = "lowercase")]
pub enum Weighed {
    /// Fresh and good for every endpoint.
    Met {
        /// Until then, milliseconds since 1970.
        until_ms: u64,
    },
    /// Fresh and bad for these.
    Unmet {
        /// The endpoints, each with the number of the entry.
        endpoints: Vec<(TargetId, u64)>,
    },
    /// Nothing fresh for these.
    Unknown {
        /// The endpoints.
        endpoints: Vec<TargetId>,
    },
    /// It supports a declaration.
    Contributing {
        /// Endpoints that something fresh speaks for.
        endpoints: usize,
    },
}

/// What to say of entries whose time has not come: they prove nothing fresh, and the clock that wrote them was wrong, or this one is.
#[must_use]
pub fn ahead(facts: &[Fact], now_ms: u64) -> Option<String> {
    let of_later = || facts.iter().filter(|fact| fact.at_ms > now_ms);
    let first = of_later().map(|fact| fact.seq).min()?;
    Some(format!(
        "{} of it bear a time that has not come (first: entry {first}) and count as nothing fresh: look at the appliance's clock and at this computer's",
        of_later().count()
    ))
}

/// When a fact spoke (milliseconds since 1970), its entry, and whether it speaks for it.
type Spoke = (u64, u64, bool);

/// All facts, put in order once, so that many zones are weighed quickly.
pub struct Ledger<'a> {
    mapping: &'a Mapping,
    /// Per endpoint and rule: the newest fact that speaks, when, its entry and whether it speaks for it.
    newest: BTreeMap<&'a TargetId, Vec<Option<Spoke>>>,
}

impl<'a> Ledger<'a> {
    /// Put facts in order. Of several the latest in the log counts, whatever its clock said.
    #[must_use]
    pub fn of(mapping: &'a Mapping, facts: &'a [Fact]) -> Self {
        let mut by_kind: BTreeMap<&str, Vec<(usize, &Matcher, bool)>> = BTreeMap::new();
        for (at, rule) in mapping.rules.iter().enumerate().filter(|(_, rule)| rule.scope == Scope::Endpoint) {
            for (matchers, good) in [(&rule.pass, true), (&rule.fail, false)] {
                for matcher in matchers {
                    by_kind.entry(matcher.kind.as_str()).or_default().push((at, matcher, good));
                }
            }
        }
        let mut newest: BTreeMap<&TargetId, Vec<Option<Spoke>>> = BTreeMap::new();
        for fact in facts {
            let (Some(endpoint), Some(rules)) = (&fact.endpoint, by_kind.get(fact.kind.as_str())) else {
                continue;
            };
            for (at, matcher, good) in rules {
                if matcher.fits(fact) {
                    let seen = newest.entry(endpoint).or_insert_with(|| vec![None; mapping.rules.len()]);
                    let now = Some((fact.at_ms, fact.seq, *good));
                    if seen[*at].is_none_or(|(_, seq, _)| seq < fact.seq) {
                        seen[*at] = now;
                    }
                }
            }
        }
        Self { mapping, newest }
    }

    /// What the facts say of each requirement that the mapping knows, for the endpoints of one zone.
    #[must_use]
    pub fn weigh(&self, endpoints: &[ZoneEndpoint], now_ms: u64) -> BTreeMap<Req, Weighed> {
        let mut weighed = BTreeMap::new();
        for (at, rule) in self.mapping.rules.iter().enumerate() {
            if rule.scope == Scope::Endpoint && !endpoints.is_empty() {
                weighed.insert(rule.req.clone(), self.weigh_one(at, rule, endpoints, now_ms));
            }
        }
        weighed
    }

    /// The entries that speak for or against something of these endpoints: what a judgement rests on.
    #[must_use]
    pub fn entries(&self, endpoints: &[ZoneEndpoint]) -> BTreeSet<u64> {
        let of = |endpoint: &ZoneEndpoint| self.newest.get(&endpoint.name);
        endpoints.iter().filter_map(of).flatten().flatten().map(|(_, seq, _)| *seq).collect()
    }

    fn weigh_one(&self, at: usize, rule: &MappingRule, endpoints: &[ZoneEndpoint], now_ms: u64) -> Weighed {
        let (mut bad, mut missing, mut until_ms) = (Vec::new(), Vec::new(), u64::MAX);
        for endpoint in endpoints {
            let seen = self.newest.get(&endpoint.name).and_then(|seen| seen[at]);
            let counts = !(rule.real_hardware && endpoint.place == Place::Virtual);
            match seen.filter(|_| counts) {
                // What spoke against it does so until something speaks for it: decay makes nothing good.
                Some((_, seq, false)) => bad.push((endpoint.name.clone(), seq)),
                Some((at_ms, _, true)) if at_ms <= now_ms && now_ms < at_ms.saturating_add(rule.ttl.0) => {
                    until_ms = until_ms.min(at_ms.saturating_add(rule.ttl.0));
                }
                _ => missing.push(endpoint.name.clone()),
            }
        }
        match (rule.strength, bad.is_empty(), missing.is_empty()) {
            (Strength::Contributing, ..) => {
                Weighed::Contributing { endpoints: endpoints.len() - bad.len() - missing.len() }
            }
            (Strength::Direct, false, _) => Weighed::Unmet { endpoints: bad },
            (Strength::Direct, true, false) => Weighed::Unknown { endpoints: missing },
            (Strength::Direct, true, true) => Weighed::Met { until_ms },
        }
    }
}

fn at_the_top() -> Position {
    Position { line: 1, column: 1 }
}
