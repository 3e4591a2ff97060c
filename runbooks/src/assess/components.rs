//! What the appliance offers as a component (IEC 62443-4-2), requirement by requirement: how, where it can be seen, and what stays the owner's.
//!
//! It is what its makers say, with the kinds of entries in which a reader can look whether it is so. It speaks for no endpoint and no zone, and there is no
//! sum of it: how many requirements a product offers says nothing of the one that a site needs.

use serde::Serialize;

use super::page::not_assessable;
use crate::{
    paper::{Block, Language, Paper, Style, Text, Tone, columns},
    report::words,
};

/// One requirement for components.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Its identifier, such as `CR 1.1 RE1`.
    pub id: String,
    /// The level from which it counts, 1 to 4.
    pub level: u8,
    /// For which kinds of component: `ALL`, or some of `SAR EDR HDR NDR`.
    pub applies_to: String,
    /// `high`, or `medium` where public sources differ.
    pub confidence: String,
    /// What it is about, in our words.
    pub in_short: String,
    /// Whether the appliance offers it.
    pub offers: Offers,
    /// Kinds of entries in which that can be seen.
    pub evidence: Vec<String>,
    /// How.
    pub how: String,
    /// What stays the owner's.
    pub owner: String,
}

/// Whether something is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Offers {
    /// It is.
    Yes,
    /// In part, or with something of the owner's.
    Partly,
    /// It is not.
    No,
    /// There is no such thing in it.
    Na,
}

impl Offers {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        ["offered", "in part", "not offered", "not applicable"][self as usize]
    }

    fn read(word: &str) -> Option<Self> {
        Some(match word {
            "yes" => Self::Yes,
            "partly" => Self::Partly,
            "no" => Self::No,
            "na" => Self::Na,
            _ => return None,
        })
    }
}

/// Why the two files do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComponentsError {
    /// A line that is none.
    #[error("`{0}` is no line of it: write the fields that its head names")]
    Line(String),
    /// A requirement that only one of them has.
    #[error("{0} stands in the catalogue or in what is offered, and not in both")]
    Alone(String),
}

const CATALOGUE: &str = include_str!("../../catalogue/iec62443-4-2-2019.csv");
const OFFERED: &str = include_str!("../../catalogue/appliance-v1.csv");

/// What ships.
///
/// # Errors
/// Never: a test reads it.
pub fn shipped() -> Result<Vec<Component>, ComponentsError> {
    read(CATALOGUE, OFFERED)
}

/// Read a catalogue (`id,level,applies_to,confidence,in_short`) and what is offered of it (`id;offers;evidence;how;owner`).
///
/// # Errors
/// The first line that is wrong, or a requirement that stands in one of them alone.
pub fn read(catalogue: &str, offered: &str) -> Result<Vec<Component>, ComponentsError> {
    let mut offers: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in meant(offered) {
        let cells: Vec<&str> = line.splitn(5, ';').collect();
        let [id, rest @ ..] = cells.as_slice() else { return Err(ComponentsError::Line(line.into())) };
        offers.push((id, rest.to_vec()));
    }
    let mut components = Vec::new();
    for line in meant(catalogue) {
        let wrong = || ComponentsError::Line(line.into());
        let cells: Vec<&str> = line.splitn(5, ',').collect();
        let [id, level, applies_to, confidence, in_short] = cells.as_slice() else { return Err(wrong()) };
        let level = level.parse().ok().filter(|level| (1..=4).contains(level)).ok_or_else(wrong)?;
        let at = offers.iter().position(|(other, _)| other == id);
        let at = at.ok_or_else(|| ComponentsError::Alone((*id).into()))?;
        let (_, said) = offers.swap_remove(at);
        let [offered, evidence, how, owner] = said.as_slice() else {
            return Err(ComponentsError::Line((*id).into()));
        };
        components.push(Component {
            id: (*id).into(),
            level,
            applies_to: (*applies_to).into(),
            confidence: (*confidence).into(),
            in_short: (*in_short).into(),
            offers: Offers::read(offered).ok_or_else(|| ComponentsError::Line((*id).into()))?,
            evidence: evidence.split_whitespace().map(str::to_owned).collect(),
            how: (*how).into(),
            owner: (*owner).into(),
        });
    }
    match offers.first() {
        Some((id, _)) => Err(ComponentsError::Alone((*id).into())),
        None => Ok(components),
    }
}

fn meant(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("id"))
}

/// All of it for a reader. `seen`: how many entries of each kind a log held, where one was looked at. What its makers say stays English.
#[must_use]
pub fn paper(
    language: Language,
    (site, at_ms): (&str, u64),
    components: &[Component],
    seen: Option<&dyn Fn(&str) -> usize>,
) -> Paper {
    let row = |one: &Component| {
        let tone = match one.offers {
            Offers::Yes => Tone::Good,
            Offers::Partly => Tone::Partly,
            Offers::No => Tone::Bad,
            Offers::Na => Tone::Plain,
        };
        let de = ["geboten", "zum Teil", "nicht geboten", "nicht anwendbar"][one.offers as usize];
        let kind = |kind: &String| match seen {
            Some(seen) => format!("{kind} ({})", seen(kind)),
            None => kind.clone(),
        };
        let level = format!("{} {}, {}", language.pick("level", "Level"), one.level, one.applies_to);
        vec![
            Text::of(Style::Bold, format!("{}\n", one.id)).then(Style::Note, level),
            (&one.in_short).into(),
            Text::word(tone, language.pick(one.offers.word(), de)),
            Text::prose(&one.how),
            Text::code(one.evidence.iter().map(kind).collect::<Vec<_>>().join(", ")),
            Text::prose(&one.owner),
        ]
    };
    let (entries_en, entries_de) = match seen {
        Some(_) => ("seen in entries (how many)", "zu sehen in Einträgen (wie vielen)"),
        None => ("seen in entries", "zu sehen in Einträgen"),
    };
    let mut blocks = vec![
        head(language, site, at_ms),
        Block::Chapter(language.pick("Requirement by requirement", "Anforderung für Anforderung").into()),
        Block::Table {
            columns: columns(language.pick(
                ["requirement", "what it is about", "", "how", entries_en, "what stays the owner's"],
                ["Anforderung", "worum es geht", "", "wie", entries_de, "was dem Betreiber bleibt"],
            )),
            rows: components.iter().map(row).collect(),
        },
    ];
    blocks.extend(not_assessable(language));
    let title = language.pick(
        format!("The appliance of {site} as a component"),
        format!("Die Appliance von {site} als Komponente"),
    );
    Paper {
        language,
        foot: format!(
            "{title}, {}. {}",
            words::moment(at_ms),
            language
                .pick("It supports an assessment and is none.", "Es stützt eine Beurteilung und ist keine.")
        ),
        title,
        frame: None,
        written_at_ms: at_ms,
        blocks,
    }
}

fn head(language: Language, site: &str, at_ms: u64) -> Block {
    Block::Head {
            kind: language
                .pick(
                    "IEC 62443-4-2 · what the appliance offers as a component",
                    "IEC 62443-4-2 · was die Appliance als Komponente bietet",
                )
                .into(),
            title: language.pick(format!("The appliance of {site}"), format!("Die Appliance von {site}")),
            lead: language.pick(
                "This is what its makers say of it, with the kinds of entries in which it can be seen. It supports an assessment and is none; it speaks for no endpoint and no zone. The appliance is a host device and a software application; it separates no networks.",
                "Dies sagen ihre Hersteller von ihr, mit den Arten von Einträgen, in denen es zu sehen ist. Es stützt eine Beurteilung und ist keine; es spricht für kein Endgerät und keine Zone. Die Appliance ist ein Host-Gerät und eine Software-Anwendung; sie trennt keine Netze.",
            ).into(),
            facts: vec![
                (language.pick("Made", "Erstellt").into(), words::moment(at_ms).into()),
                (
                    language.pick("Catalogue", "Katalog").into(),
                    language.pick(
                        "62443-4-2:2019, identifiers and levels from secondary sources: check it against your licensed copy",
                        "62443-4-2:2019, Kennungen und Level aus Sekundärquellen: mit der eigenen lizenzierten Ausgabe vergleichen",
                    ).into(),
                ),
            ],
        }
}

/// The same as lines of CSV.
#[must_use]
pub fn csv(components: &[Component]) -> String {
    let mut text =
        String::from("requirement,level,applies_to,confidence,in_short,offers,evidence,how,owner\n");
    for one in components {
        text.push_str(&words::csv_line(&[
            one.id.clone(),
            one.level.to_string(),
            one.applies_to.clone(),
            one.confidence.clone(),
            one.in_short.clone(),
            one.offers.word().to_owned(),
            one.evidence.join(" "),
            one.how.clone(),
            one.owner.clone(),
        ]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_of_the_catalogue_is_spoken_of_at_its_level() {
        let components = shipped().unwrap();
        let count = |level| components.iter().filter(|one| one.level <= level).count();
        assert_eq!([1, 2, 3, 4].map(count), [40, 68, 87, 93]);
        for one in &components {
            assert!(!one.in_short.is_empty() && !one.how.is_empty() && !one.owner.is_empty(), "{}", one.id);
            assert!(one.offers != Offers::No || one.evidence.is_empty(), "{}: seen, and not offered", one.id);
        }
        assert!(
            components.iter().any(|one| one.offers == Offers::No),
            "a product that offers everything is none"
        );
    }

    #[test]
    fn every_kind_that_it_names_is_written_by_the_appliance() {
        let source = super::super::tests::source_of_the_appliance();
        for one in shipped().unwrap() {
            for kind in &one.evidence {
                assert!(source.contains(&format!("\"{kind}\"")), "{}: {kind}", one.id);
            }
        }
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        let (catalogue, offered) = ("CR 1.1,1,ALL,high,x\n", "CR 1.1;yes;a.b;how;owner\n");
        assert_eq!(read(catalogue, offered).unwrap().len(), 1);
        assert_eq!(read(catalogue, ""), Err(ComponentsError::Alone("CR 1.1".into())));
        assert_eq!(read("", offered), Err(ComponentsError::Alone("CR 1.1".into())));
        for (catalogue, offered) in [
            ("CR 1.1,9,ALL,high,x\n", offered),
            ("CR 1.1,1\n", offered),
            (catalogue, "CR 1.1;maybe;;how;owner\n"),
            (catalogue, "CR 1.1;yes\n"),
        ] {
            assert!(
                matches!(read(catalogue, offered), Err(ComponentsError::Line(_))),
                "{catalogue} {offered}"
            );
        }
    }

    #[test]
    fn the_page_sums_nothing_up_and_says_what_it_is_not() {
        let components = shipped().unwrap();
        let page = paper(Language::En, ("<Plant>", 1_000), &components, Some(&|kind| kind.len()));
        let html = page.html();
        assert!(
            html.contains("supports an assessment and is none")
                && html.contains("&lt;Plant&gt;")
                && html.contains("log.read (8)")
        );
        for never in ["compliant", "certified", "score", " % ", "of 93"] {
            assert!(!html.to_lowercase().contains(never), "{never}");
        }
        let text = crate::paper::tests::text_of(&page.pdf().unwrap());
        assert!(text.contains("Not assessable by this tool") && text.contains("CR 7.8"));
        assert_eq!(csv(&components).lines().count(), 94);
    }
}
