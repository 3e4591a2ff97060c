//! The reports of zones and of the appliance as a component, and the facts under them: the whole log, verified while it is read.

use recovery_protocol::{
    Problem,
    evidence::{Line, Verifier},
};
use runbooks::{
    assess::{
        catalogue::Catalogue,
        components,
        evidence::{Fact, Ledger, Mapping, ahead},
        page,
        zone::{Assessment, Zones, assess},
    },
    paper::Language,
};

use super::{Made, Reports, Wanted};

/// What zones are judged by.
pub(super) struct Grounds {
    /// The owner's file.
    pub zones: Zones,
    /// Its text.
    pub text: String,
    /// The catalogue that ships.
    pub catalogue: Catalogue,
    /// The mapping that ships.
    pub mapping: Mapping,
    /// The facts of the log.
    pub facts: Vec<Fact>,
    /// What the log was worth.
    pub seen: Seen,
}

/// What a log was worth that was read to its end and found whole.
pub(super) struct Seen {
    entries: u64,
    ahead: Option<String>,
}

impl Seen {
    /// In a sentence.
    pub fn said(&self, language: Language) -> String {
        let n = self.entries;
        let said = language.pick(
            format!("{n} entries of the log, signed to the last and unaltered"),
            format!("{n} Einträge des Protokolls, bis zum letzten unterschrieben und unverändert"),
        );
        self.ahead.as_ref().map_or(said.clone(), |ahead| format!("{said}; {ahead}"))
    }
}

impl Reports<'_> {
    /// The zones, or the one that is named.
    ///
    /// # Errors
    /// 409 `no-zones`, `zones-wrong`; 404 `unknown-zone`; 500 `evidence-altered`; what the service refuses.
    pub async fn zones(&self, zone: Option<&str>, wanted: Wanted) -> Result<Made, Problem> {
        let grounds = self.grounds().await?;
        let at_ms = self.service.now();
        let assessed = chosen(assessed(&grounds, at_ms), zone)?;
        let seen = grounds.seen.said(wanted.language());
        let about = about(&grounds, &seen, at_ms, wanted.language());
        let name = zone.map_or_else(|| "zones".to_owned(), |_| "zone".to_owned());
        Made::of(
            wanted,
            name,
            || page::paper(&about, &assessed),
            &page::json(&about, &assessed),
            || page::csv(&assessed),
        )
    }

    /// Each zone as it stands, for the console.
    ///
    /// # Errors
    /// As [`Reports::zones`].
    pub async fn standing(&self) -> Result<Vec<Assessment>, Problem> {
        Ok(assessed(&self.grounds().await?, self.service.now()))
    }

    /// What the appliance offers as a component, with how many entries of its log show each.
    ///
    /// # Errors
    /// 500 `evidence-altered`; what the service refuses.
    pub async fn components(&self, wanted: Wanted) -> Result<Made, Problem> {
        let (facts, _) = self.facts().await?;
        let all = components::shipped().map_err(|error| super::not_made(&error))?;
        let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        for fact in &facts {
            *counts.entry(fact.kind.as_str()).or_default() += 1;
        }
        let seen = |kind: &str| counts.get(kind).copied().unwrap_or(0);
        let (site, at_ms) = (self.config.site.to_string(), self.service.now());
        let json =
            serde_json::json!({ "site": site, "at_ms": at_ms, "components": all, "entries_by_kind": counts });
        let paper = || components::paper(wanted.language(), (&site, at_ms), &all, Some(&seen));
        Made::of(wanted, "components", paper, &json, || components::csv(&all))
    }

    /// Everything that zones and months are judged by.
    pub(super) async fn grounds(&self) -> Result<Grounds, Problem> {
        let Some(path) = &self.config.evidence.zones_file else {
            let detail = "the configuration names no file of zones";
            let remedy =
                "write one (`zones/v1`, as README has it) and name it: `zones_file` under `[evidence]`";
            return Err(Problem::new(409, "no-zones", "This appliance knows of no zones", detail, remedy));
        };
        let wrong = |why: String| {
            let detail = format!("{}: {why}", path.display());
            let remedy =
                "mend the file; `groundstate zone assess --zones FILE` reads it without the appliance";
            Problem::new(409, "zones-wrong", "The file of zones cannot be used", detail, remedy)
        };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let zones = Zones::parse(&text).map_err(|error| wrong(error.to_string()))?;
        let catalogue = Catalogue::shipped().map_err(|error| super::not_made(&error))?;
        let mapping = Mapping::shipped().map_err(|error| super::not_made(&error))?;
        let (facts, seen) = self.facts().await?;
        Ok(Grounds { zones, text, catalogue, mapping, facts, seen })
    }

    /// The facts of the whole log, and what it was worth. One that was altered gives none.
    async fn facts(&self) -> Result<(Vec<Fact>, Seen), Problem> {
        let altered = |why: String| {
            let remedy =
                "verify it: `groundstate evidence verify`; nothing is reported by a log that does not hold";
            Problem::new(
                500,
                "evidence-altered",
                "The evidence log was tampered with or damaged",
                why,
                remedy,
            )
        };
        let mut key = [0; 32];
        hex::decode_to_slice(self.service.evidence_key().ed25519, &mut key)
            .map_err(|error| altered(error.to_string()))?;
        let mut export = self.service.evidence_for_a_report().await?;
        let (mut verifier, mut facts) = (Verifier::quick(key), Vec::new());
        while let Some(page) = export.next().await? {
            for line in page.lines() {
                verifier.line(line).map_err(|why| altered(why.to_string()))?;
                facts.extend(Line::parse(line).ok().and_then(|line| Fact::of_entry(line.text()?)));
            }
        }
        let seen = verifier.finish().map_err(|why| altered(why.to_string()))?;
        if seen.signed_up_to < seen.entries {
            return Err(altered(format!(
                "{} entries, and the signature covers {}",
                seen.entries, seen.signed_up_to
            )));
        }
        let ahead = ahead(&facts, self.service.now());
        Ok((facts, Seen { entries: seen.entries, ahead }))
    }
}

/// Each zone of the file, as of a time.
pub(super) fn assessed(grounds: &Grounds, at_ms: u64) -> Vec<Assessment> {
    let ledger = Ledger::of(&grounds.mapping, &grounds.facts);
    let one = |zone| assess(&grounds.catalogue, zone, &ledger.weigh(&zone.endpoints, at_ms), at_ms);
    grounds.zones.zones.iter().map(one).collect()
}

/// What stands on a page of zones.
pub(super) fn about<'a>(
    grounds: &'a Grounds,
    seen: &'a str,
    at_ms: u64,
    language: Language,
) -> page::About<'a> {
    page::About {
        site: &grounds.zones.site,
        at_ms,
        catalogue: &grounds.catalogue,
        mapping: &grounds.mapping,
        evidence: seen,
        language,
    }
}

fn chosen(all: Vec<Assessment>, zone: Option<&str>) -> Result<Vec<Assessment>, Problem> {
    let Some(zone) = zone else { return Ok(all) };
    let names: Vec<String> = all.iter().map(|one| one.zone.clone()).collect();
    let of: Vec<Assessment> = all.into_iter().filter(|one| one.zone == zone).collect();
    if of.is_empty() {
        let detail = format!("`{zone}` is none of {}", names.join(", "));
        let remedy = "name a zone of the owner's file, or leave it out for all of them";
        return Err(Problem::new(404, "unknown-zone", "There is no such zone", detail, remedy));
    }
    Ok(of)
}
