//! The page of a site's zones: vectors, verdicts, what blocks, and what nobody here can see. And the same as CSV.

use super::{
    NOT_ASSESSABLE,
    catalogue::Catalogue,
    elsewhere,
    evidence::Mapping,
    zone::{Assessment, Interval, State, Verdict},
};
use crate::{
    paper::{
        Block, Figure, Language, Paper, Style, Text, Tone, columns,
        figure::{Fill, Hold, Pen, WIDTH},
    },
    report::words,
};

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
    /// The language of its own sentences.
    pub language: Language,
}

/// All zones of a site: [`Paper::html`] is a page, [`Paper::pdf`] is for paper.
#[must_use]
pub fn paper(about: &About<'_>, zones: &[Assessment]) -> Paper {
    let l = about.language;
    let hash = |text: String, digest: &str| Text::from(text).then(Style::Code, digest);
    let catalogue = hash(format!("{}, ", about.catalogue.name), &about.catalogue.digest).and(l.pick(
        "\nfrom secondary sources: check it against your licensed copy",
        "\naus Sekundärquellen: mit der eigenen lizenzierten Ausgabe vergleichen",
    ));
    let mapping = format!("{} {}, ", l.pick("version", "Version"), about.mapping.version);
    let title = l.pick(format!("Zones of {}", about.site), format!("Zonen von {}", about.site));
    let mut blocks = vec![Block::Head {
        kind: l
            .pick(
                "IEC 62443-3-3 · what evidence and declarations show",
                "IEC 62443-3-3 · was Nachweise und Erklärungen zeigen",
            )
            .into(),
        title: title.clone(),
        lead: l.pick(
            "This page supports an assessment and is none. An achieved level is an interval: the first figure is what is shown, the second what might be. Nothing is averaged, and there is no figure for all.",
            "Diese Seite stützt eine Beurteilung und ist keine. Ein erreichtes Level ist eine Spanne: die erste Zahl ist gezeigt, die zweite möglich. Nichts wird gemittelt, und für das Ganze gibt es keine Zahl.",
        ).into(),
        facts: vec![
            (l.pick("Made", "Erstellt").into(), words::moment(about.at_ms).into()),
            (l.pick("Evidence", "Nachweise").into(), about.evidence.into()),
            (l.pick("Catalogue", "Katalog").into(), catalogue),
            (l.pick("Mapping", "Zuordnung").into(), hash(mapping, &about.mapping.digest)),
        ],
    }];
    blocks.extend(zones.iter().flat_map(|zone| one(l, zone)));
    blocks.extend(not_assessable(l));
    blocks.extend(elsewhere::blocks(l));
    blocks.extend(crosswalk(l, about.mapping));
    blocks.extend(auditor(l, about.mapping));
    Paper {
        language: l,
        foot: format!(
            "{title}, {}. {}",
            words::moment(about.at_ms),
            l.pick("It supports an assessment and is none.", "Es stützt eine Beurteilung und ist keine.")
        ),
        title,
        frame: None,
        written_at_ms: about.at_ms,
        blocks,
    }
}

/// All zones of a site on one page: self-contained, printable, without scripts.
#[must_use]
pub fn html(about: &About<'_>, zones: &[Assessment]) -> String {
    paper(about, zones).html()
}

fn interval(language: Language, interval: Interval) -> Text {
    format!("{} {} {}", interval.low, language.pick("to", "bis"), interval.high).into()
}

/// A verdict as a word of the language.
pub(super) fn verdict(language: Language, verdict: Verdict) -> Text {
    match verdict {
        Verdict::Met => Text::word(Tone::Good, language.pick("met", "erreicht")),
        Verdict::Unproven => Text::word(Tone::Partly, language.pick("unproven", "unbewiesen")),
        Verdict::Gap => Text::word(Tone::Bad, language.pick("gap", "Lücke")),
    }
}

fn state(language: Language, state: State) -> &'static str {
    let de = ["erreicht", "ausgeglichen", "nicht anwendbar", "nicht erreicht", "unbekannt"][state as usize];
    language.pick(state.word(), de)
}

/// What is shown, what might be, and what is aimed at, for each of the seven.
pub(super) fn vectors(zone: &Assessment, language: Language) -> Figure {
    const LEFT: f64 = 60.0;
    const ROW: f64 = 20.0;
    const HEAD: f64 = 18.0;
    let x = |level: u8| LEFT + (WIDTH - LEFT - 12.0) * f64::from(level) / 4.0;
    let bottom = HEAD + ROW * zone.standings.len() as f64;
    let mut figure = Figure {
        title: format!("Levels of zone {}", zone.zone),
        height: bottom + 4.0,
        legend: vec![
            (Fill::Solid, language.pick("shown, with declarations", "gezeigt, mit Erklärungen").into()),
            (Fill::Hatched, language.pick("might be", "möglich").into()),
        ],
        caption: language
            .pick("The dashed line is what is aimed at.", "Die gestrichelte Linie ist das Ziel.")
            .into(),
        ..Figure::default()
    };
    for level in 0..=4 {
        figure.line(Pen::Grid, &[(x(level), HEAD - 4.0), (x(level), bottom)]);
        figure.label(Pen::Quiet, Hold::Middle, (x(level), HEAD - 7.0), level.to_string());
    }
    for (at, one) in zone.standings.iter().enumerate() {
        let top = HEAD + ROW * at as f64;
        figure.label(Pen::Axis, Hold::End, (LEFT - 8.0, top + 14.0), one.fr.word());
        let (low, high) = (one.declared.low, one.declared.high);
        let hint = format!("{}: {low} to {high}, aimed at {}", one.fr.word(), one.target);
        if high > low {
            figure.bar(Fill::Hatched, (x(low), top + 4.0, x(high) - x(low), ROW - 8.0), hint.as_str());
        }
        if low > 0 {
            figure.bar(Fill::Solid, (x(0), top + 4.0, x(low) - x(0), ROW - 8.0), hint);
        }
        figure.line(Pen::Aim, &[(x(one.target), top + 1.0), (x(one.target), top + ROW - 1.0)]);
    }
    figure.line(Pen::Axis, &[(LEFT, HEAD - 4.0), (LEFT, bottom)]);
    figure
}

fn one(language: Language, zone: &Assessment) -> Vec<Block> {
    let fall = zone.next_fall_ms.filter(|ms| *ms < u64::MAX / 2).map(words::moment);
    let fall = fall.map(|at| {
        language.pick(
            format!(". The next of what holds now falls to unknown at {at} if nothing new comes."),
            format!(". Das nächste, was jetzt gilt, fällt am {at} auf unbekannt, wenn nichts Neues kommt."),
        )
    });
    let endpoints = language.pick(
        words::count(zone.endpoints, "endpoint"),
        format!("{} {}", zone.endpoints, if zone.endpoints == 1 { "Endgerät" } else { "Endgeräte" }),
    );
    let row = |one: &super::zone::Standing| {
        let way: Vec<String> = one.blocking.iter().map(ToString::to_string).collect();
        vec![
            one.fr.word().into(),
            one.target.to_string().into(),
            interval(language, one.evidence),
            interval(language, one.declared),
            verdict(language, one.verdict),
            if way.is_empty() { language.pick("nothing", "nichts").into() } else { way.join(", ").into() },
        ]
    };
    let mut blocks = vec![
        Block::Chapter(format!("Zone {}", zone.zone)),
        Block::Note(format!("{endpoints}{}", fall.unwrap_or_default()).into()),
        Block::Figure(vectors(zone, language)),
        Block::Table {
            columns: columns(language.pick(
                ["", "#aimed at", "#evidence alone", "#with declarations", "", "stands in the way"],
                ["", "#Ziel", "#nur Nachweise", "#mit Erklärungen", "", "steht im Weg"],
            )),
            rows: zone.standings.iter().map(row).collect(),
        },
    ];
    blocks.extend(to_do(language, zone));
    blocks
}

/// What stands between a zone and its targets, and whose duty each is; nothing where nothing does.
pub(super) fn to_do(language: Language, zone: &Assessment) -> Vec<Block> {
    let open = |row: &&super::zone::Row| {
        matches!(row.state, State::Unmet | State::Unknown)
            && zone.standings[row.req.fr() as usize].blocking.contains(&row.req)
    };
    let row = |row: &super::zone::Row| {
        vec![
            Text::of(Style::Bold, row.req.to_string()),
            (&row.in_short).into(),
            state(language, row.state).into(),
            row.because.said(language).into(),
            row.duty.said(language).into(),
        ]
    };
    let rows: Vec<Vec<Text>> = zone.rows.iter().filter(open).map(row).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    vec![
        Block::Part(language.pick("To do, and whose duty it is", "Zu tun, und wessen Pflicht es ist").into()),
        Block::Table {
            columns: columns(language.pick(
                ["requirement", "what it is about", "state", "why", "duty"],
                ["Anforderung", "worum es geht", "Stand", "warum", "Pflicht"],
            )),
            rows,
        },
    ]
}

/// What no tool here can see, in German, in the order of [`super::NOT_ASSESSABLE`].
const NOT_ASSESSABLE_DE: &[(&str, &str, &str)] = &[
    (
        "Ziel-Level, Plan der Zonen und Leitungen, tragbares Risiko",
        "sie folgen aus einer Risikobeurteilung",
        "Betreiber",
    ),
    (
        "wesentliche Funktionen und der sichere Zustand einer Linie",
        "sie verlangen Kenntnis des Prozesses",
        "Betreiber",
    ),
    ("Funk (SR 1.6, SR 2.2)", "eine Appliance sieht keinen Funk", "Betreiber"),
    (
        "mobiler Code, Eingaben, Ausgaben und Sitzungen in der Steuerungsanwendung (SR 2.4, 3.5, 3.6, 3.8)",
        "sie liegen in einem Produkt",
        "Hersteller",
    ),
    (
        "Unversehrtheit der Protokolle der Anlage (SR 3.1)",
        "dieser Verkehr kommt hier nicht vorbei",
        "Integrator",
    ),
    (
        "Teilung und Grenzen des Netzes der Zone (SR 5.1, 5.2, 5.3)",
        "Firewalls und Switches sind nicht unsere",
        "Integrator",
    ),
    ("Überflutung des Prozessnetzes und Notstrom (SR 7.1, SR 7.5)", "beides liegt außerhalb", "Betreiber"),
    (
        "Logik von Steuerungen, Antrieben und Sicherheitssystemen",
        "das Image eines Endgeräts enthält sie nicht",
        "Betreiber",
    ),
    ("Schulung, Verträge und verschlossene Türen", "sie gehören zum Programm (62443-2-1)", "Betreiber"),
    (
        "ob richtig ist, was das Golden Image tut",
        "eine Prüfsumme zeigt Gleichheit, nicht Richtigkeit",
        "Engineering des Betreibers",
    ),
];

/// What no tool here can see, as a chapter. It stands on every report.
#[must_use]
pub fn not_assessable(language: Language) -> Vec<Block> {
    let row = |(what, why, who): &(&str, &str, &str)| vec![(*what).into(), (*why).into(), (*who).into()];
    let list = language.pick(NOT_ASSESSABLE, NOT_ASSESSABLE_DE);
    vec![
        Block::Chapter(
            language.pick("Not assessable by this tool", "Mit diesem Werkzeug nicht zu beurteilen").into(),
        ),
        Block::Said(language.pick(
            "Of these nothing here knows anything. Who is named can say, and what they say stands apart from evidence.",
            "Davon weiß hier nichts etwas. Wer genannt ist, kann es sagen, und was sie sagen, steht getrennt von den Nachweisen.",
        ).into()),
        Block::Table {
            columns: columns(language.pick(["what", "why", "who can say"], ["was", "warum", "wer es sagen kann"])),
            rows: list.iter().map(row).collect(),
        },
    ]
}

fn crosswalk(language: Language, mapping: &Mapping) -> Vec<Block> {
    let row = |row: &super::evidence::Crosswalk| {
        let lists = [&row.csf_2_0, &row.cip_009_6, &row.nis2_cir, &row.sp_800_53];
        let cells = lists.into_iter().map(|list| list.join(", ").into());
        std::iter::once(Text::of(Style::Bold, row.req.to_string())).chain(cells).collect()
    };
    vec![
        Block::Part(language.pick("By requirement", "Nach Anforderung").into()),
        Block::Table {
            columns: columns(["62443-3-3", "CSF 2.0", "CIP-009-6", "NIS2, (EU) 2024/2690", "SP 800-53"]),
            rows: mapping.crosswalk.iter().map(row).collect(),
        },
    ]
}

fn auditor(language: Language, mapping: &Mapping) -> Vec<Block> {
    let row = |rule: &super::evidence::MappingRule| {
        vec![
            Text::of(Style::Bold, rule.req.to_string()),
            words::length(rule.ttl.0).into(),
            Text::prose(&rule.auditor),
        ]
    };
    vec![
        Block::Chapter(
            language.pick("How to look whether it is true", "Wie sich nachsehen lässt, ob es stimmt").into(),
        ),
        Block::Table {
            columns: columns(language.pick(
                ["requirement", "#evidence speaks for", "what an auditor does"],
                ["Anforderung", "#Nachweis spricht für", "was ein Auditor tut"],
            )),
            rows: mapping.rules.iter().map(row).collect(),
        },
    ]
}

/// The same for programs.
#[must_use]
pub fn json(about: &About<'_>, zones: &[Assessment]) -> serde_json::Value {
    serde_json::json!({
        "site": about.site, "at_ms": about.at_ms, "evidence": about.evidence, "catalogue": about.catalogue.name,
        "catalogue_blake3": about.catalogue.digest, "mapping_version": about.mapping.version, "mapping_blake3": about.mapping.digest,
        "zones": zones, "not_assessable": NOT_ASSESSABLE,
    })
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
            language: Language::En,
        };
        let page = html(&about, &assessed);
        let text = crate::paper::tests::text_of(&paper(&about, &assessed).pdf().unwrap());
        for wanted in [
            "Not assessable by this tool",
            "Zones of <Plant>",
            "supports an assessment and is none",
            "The same elsewhere",
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert!(page.contains("Not assessable by this tool") && page.contains("Zones of &lt;Plant&gt;"));
        for word in ["compliant", "certified", "score", "<script"] {
            assert!(!page.to_lowercase().contains(word), "{word}");
        }
        let german = html(&About { language: Language::De, ..about }, &assessed);
        for wanted in [
            "Zonen von &lt;Plant&gt;",
            "Mit diesem Werkzeug nicht zu beurteilen",
            "niemand hat davon gesprochen",
            "Betreiber",
        ] {
            assert!(german.contains(wanted), "{wanted}");
        }
        assert_eq!(NOT_ASSESSABLE_DE.len(), NOT_ASSESSABLE.len());
        let csv = csv(&assessed);
        assert_eq!(csv.lines().count(), 101 + NOT_ASSESSABLE.len());
        assert!(csv.lines().last().unwrap().contains(",not assessable by this tool,"), "{csv}");
        assert!(
            csv.lines().nth(1).unwrap().starts_with("\"'=a,b\",SR 1.1,1,1,unknown,unknown,owner,,"),
            "{csv}"
        );
    }
}
