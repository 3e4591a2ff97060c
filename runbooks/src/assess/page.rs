//! The page of a site's zones: vectors, verdicts, what blocks, and what nobody here can see. And the same as CSV.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    NOT_ASSESSABLE,
    catalogue::Catalogue,
    evidence::Mapping,
    zone::{Assessment, Interval, State, Verdict},
};
use crate::report::words;

const STYLE: &str = include_str!("../report/style.css");

/// What a page says besides its zones.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The site.
    pub site: &'a str,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// The catalogue that was used.
    pub catalogue: &'a Catalogue,
    /// The mapping that was used.
    pub mapping: &'a Mapping,
    /// What the evidence was: how many entries, and up to which they are signed.
    pub evidence: &'a str,
}

/// All zones of a site on one page: self-contained, printable, without scripts.
#[must_use]
pub fn html(about: &About<'_>, zones: &[Assessment]) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { "Zones of " (about.site) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kind { "IEC 62443-3-3 · what evidence and declarations show" }
                    h1 { "Zones of " (about.site) }
                    p { "This page supports an assessment and is none. An achieved level is an interval: the first figure is what is shown, the second what might be. Nothing is averaged, and there is no figure for all." }
                    dl {
                        dt { "Made" } dd { (words::moment(about.at_ms)) }
                        dt { "Evidence" } dd { (about.evidence) }
                        dt { "Catalogue" } dd { (about.catalogue.name) ", " span.hash { (about.catalogue.digest) } br; "from secondary sources: check it against your licensed copy" }
                        dt { "Mapping" } dd { "version " (about.mapping.version) ", " span.hash { (about.mapping.digest) } }
                    }
                }
                @for zone in zones { (one(zone)) }
                (not_assessable())
                (crosswalk(about.mapping))
                (auditor(about.mapping))
            }
        }
    };
    markup.into_string()
}

fn interval(interval: Interval) -> String {
    format!("{} to {}", interval.low, interval.high)
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "word good",
        Verdict::Unproven => "word part",
        Verdict::Gap => "word bad",
    }
}

fn one(zone: &Assessment) -> Markup {
    let open = |row: &&super::zone::Row| {
        matches!(row.state, State::Unmet | State::Unknown)
            && zone.standings[row.req.fr() as usize].blocking.contains(&row.req)
    };
    html! {
        h2 { "Zone " (zone.zone) }
        p.note {
            (words::count(zone.endpoints, "endpoint"))
            @if let Some(ms) = zone.next_fall_ms { ". The next of what holds now falls to unknown at " (words::moment(ms)) " if nothing new comes." }
        }
        table.data {
            thead { tr { th { "" } th.num { "aimed at" } th.num { "evidence alone" } th.num { "with declarations" } th { "" } th { "stands in the way" } } }
            tbody { @for one in &zone.standings { tr {
                td { (one.fr.word()) }
                td.num { (one.target) }
                td.num { (interval(one.evidence)) }
                td.num { (interval(one.declared)) }
                td { span class=(class(one.verdict)) { (one.verdict.word()) } }
                td { @if one.blocking.is_empty() { "nothing" } @for (at, id) in one.blocking.iter().enumerate() { @if at > 0 { ", " } (id) } }
            } } }
        }
        @if zone.rows.iter().any(|row| open(&row)) {
            h3 { "To do, and whose it is" }
            table.data {
                thead { tr { th { "requirement" } th { "what it is about" } th { "state" } th { "why" } th { "whose" } } }
                tbody { @for row in zone.rows.iter().filter(open) { tr {
                    td.word { (row.req) } td { (row.in_short) } td { (row.state.word()) } td { (row.why) } td { (row.duty.word()) }
                } } }
            }
        }
    }
}

fn not_assessable() -> Markup {
    html! {
        h2 { "Not assessable by this tool" }
        p { "Of these nothing here knows anything. Who is named can say, and what they say stands apart from evidence." }
        table.data {
            thead { tr { th { "what" } th { "why" } th { "who can say" } } }
            tbody { @for (what, why, who) in NOT_ASSESSABLE { tr { td { (what) } td { (why) } td { (who) } } } }
        }
    }
}

fn crosswalk(mapping: &Mapping) -> Markup {
    html! {
        h2 { "The same elsewhere" }
        table.data {
            thead { tr { th { "62443-3-3" } th { "CSF 2.0" } th { "CIP-009-6" } th { "NIS2, (EU) 2024/2690" } th { "SP 800-53" } } }
            tbody { @for row in &mapping.crosswalk { tr {
                td.word { (row.req) } td { (row.csf_2_0.join(", ")) } td { (row.cip_009_6.join(", ")) } td { (row.nis2_cir.join(", ")) } td { (row.sp_800_53.join(", ")) }
            } } }
        }
    }
}

fn auditor(mapping: &Mapping) -> Markup {
    html! {
        h2 { "How to look whether it is true" }
        table.data {
            thead { tr { th { "requirement" } th.num { "evidence speaks for" } th { "what an auditor does" } } }
            tbody { @for rule in &mapping.rules { tr { td.word { (rule.req) } td.num { (words::length(rule.ttl.0)) } td { (rule.auditor) } } } }
        }
    }
}

/// Every requirement of every zone as lines of CSV, and last what no tool can see.
#[must_use]
pub fn csv(zones: &[Assessment]) -> String {
    let mut text = String::from("zone,requirement,level,aimed_at,evidence,state,duty,until,why\n");
    for zone in zones {
        for row in &zone.rows {
            let aimed_at = zone.standings[row.req.fr() as usize].target;
            let until = row.until_ms.filter(|ms| *ms < u64::MAX / 2).map_or_else(String::new, words::moment);
            let cells = [
                zone.zone.clone(),
                row.req.to_string(),
                row.level.to_string(),
                aimed_at.to_string(),
                row.evidence.word().to_owned(),
                row.state.word().to_owned(),
                row.duty.word().to_owned(),
                until,
                row.why.clone(),
            ];
            text.push_str(&words::csv_line(&cells));
        }
    }
    for (what, reason, who) in NOT_ASSESSABLE {
        let why = format!("{what}: {reason}");
        let cells = ["", "", "", "", "", "not assessable by this tool", who, "", &why];
        text.push_str(&words::csv_line(&cells.map(str::to_owned)));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::assess::zone::{Zones, assess};

    #[test]
    fn the_page_says_what_it_is_not_and_what_nobody_here_can_see() {
        let (catalogue, mapping) = (Catalogue::shipped().unwrap(), Mapping::shipped().unwrap());
        let zones = Zones::parse(
            "schema: zones/v1\nsite: \"<Plant>\"\nzones:\n  - {name: \"=a,b\", target: {iac: 1, uc: 1, si: 1, dc: 1, rdf: 0, tre: 1, ra: 1}}\n",
        )
        .unwrap();
        let assessed = [assess(&catalogue, &zones.zones[0], &BTreeMap::new(), 1_000)];
        let about = About {
            site: &zones.site,
            at_ms: 1_000,
            catalogue: &catalogue,
            mapping: &mapping,
            evidence: "none",
        };
        let page = html(&about, &assessed);
        assert!(page.contains("Not assessable by this tool") && page.contains("Zones of &lt;Plant&gt;"));
        for word in ["compliant", "certified", "score", "<script"] {
            assert!(!page.to_lowercase().contains(word), "{word}");
        }
        let csv = csv(&assessed);
        assert_eq!(csv.lines().count(), 101 + NOT_ASSESSABLE.len());
        assert!(csv.lines().last().unwrap().contains(",not assessable by this tool,"), "{csv}");
        assert!(
            csv.lines().nth(1).unwrap().starts_with("\"'=a,b\",SR 1.1,1,1,unknown,unknown,owner,,"),
            "{csv}"
        );
    }
}
