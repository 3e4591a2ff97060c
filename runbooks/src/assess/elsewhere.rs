//! The same question in other catalogues: NIST CSF 2.0 RECOVER, NERC CIP-009-6, Implementing Regulation (EU) 2024/2690 annex 4 and SP 800-53 CP, each of them whole.
//!
//! Identifiers, and what each asks in our words; where here an answer can be seen, and what stays the owner's. What nothing here speaks of stands there all the same.

use super::catalogue::Req;
use crate::paper::{Block, Language, Style, Text, columns};

const TEXT: &str = include_str!("../../catalogue/elsewhere-v1.csv");

/// One thing that another catalogue asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// Which catalogue.
    pub catalogue: String,
    /// Its identifier there.
    pub id: String,
    /// What it asks, in our words.
    pub asks: String,
    /// Requirements of 62443-3-3 that go with it.
    pub reqs: Vec<Req>,
    /// Where an answer can be seen here; empty: nowhere.
    pub shown_by: String,
    /// What stays the owner's.
    pub owner: String,
}

/// A line that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no line of it: write `where;id;asks;reqs;shown_by;owner`")]
pub struct NoLine(String);

/// What ships.
///
/// # Errors
/// Never: a test reads it.
pub fn shipped() -> Result<Vec<Elsewhere>, NoLine> {
    let lines =
        TEXT.lines().filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("where;"));
    lines.map(read).collect()
}

fn read(line: &str) -> Result<Elsewhere, NoLine> {
    let wrong = || NoLine(line.to_owned());
    let cells: Vec<&str> = line.split(';').collect();
    let [catalogue, id, asks, reqs, shown_by, owner] = cells.as_slice() else { return Err(wrong()) };
    let reqs = reqs.split(", ").filter(|id| !id.is_empty()).map(|id| Req::try_from(id.to_owned()));
    Ok(Elsewhere {
        catalogue: (*catalogue).into(),
        id: (*id).into(),
        asks: (*asks).into(),
        reqs: reqs.collect::<Result<_, _>>().map_err(|_| wrong())?,
        shown_by: (*shown_by).into(),
        owner: (*owner).into(),
    })
}

/// A table for each catalogue.
#[must_use]
pub fn blocks(language: Language) -> Vec<Block> {
    let all = shipped().unwrap_or_default();
    let mut blocks = vec![Block::Chapter(language.pick("The same elsewhere", "Dasselbe anderswo").into())];
    let mut catalogues: Vec<&str> = all.iter().map(|one| one.catalogue.as_str()).collect();
    catalogues.dedup();
    for catalogue in catalogues {
        blocks.push(Block::Part(catalogue.into()));
        let row = |one: &Elsewhere| {
            let reqs: Vec<String> = one.reqs.iter().map(ToString::to_string).collect();
            let shown = if one.shown_by.is_empty() {
                Text::of(Style::Note, language.pick("nothing here", "nichts hier"))
            } else {
                Text::prose(&one.shown_by)
            };
            vec![
                Text::of(Style::Bold, one.id.as_str()),
                (&one.asks).into(),
                reqs.join(", ").into(),
                shown,
                Text::prose(&one.owner),
            ]
        };
        blocks.push(Block::Table {
            columns: columns(language.pick(
                ["", "what it asks", "62443-3-3", "where it can be seen", "what stays the owner's"],
                ["", "was es verlangt", "62443-3-3", "wo es zu sehen ist", "was dem Betreiber bleibt"],
            )),
            rows: all.iter().filter(|one| one.catalogue == catalogue).map(row).collect(),
        });
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::{catalogue::Catalogue, evidence::Mapping};

    #[test]
    fn each_catalogue_is_whole_and_speaks_of_requirements_that_there_are() {
        let all = shipped().unwrap();
        let ids = |catalogue: &str| -> Vec<&str> {
            all.iter().filter(|one| one.catalogue == catalogue).map(|one| one.id.as_str()).collect()
        };
        let csf =
            ["RC.RP-01", "RC.RP-02", "RC.RP-03", "RC.RP-04", "RC.RP-05", "RC.RP-06", "RC.CO-03", "RC.CO-04"];
        assert_eq!(ids("CSF 2.0"), csf);
        let cip = ["R1.1", "R1.2", "R1.3", "R1.4", "R1.5", "R2.1", "R2.2", "R2.3", "R3.1", "R3.2"];
        assert_eq!(ids("CIP-009-6"), cip);
        assert_eq!(ids("NIS2 (EU) 2024/2690"), ["4.1", "4.2", "4.3"]);
        // CP-5 was withdrawn.
        let cp = [
            "CP-1", "CP-2", "CP-3", "CP-4", "CP-6", "CP-7", "CP-8", "CP-9", "CP-10", "CP-11", "CP-12",
            "CP-13",
        ];
        assert_eq!(ids("SP 800-53"), cp);
        let catalogue = Catalogue::shipped().unwrap();
        for one in &all {
            assert!(!one.asks.is_empty() && !one.owner.is_empty(), "{}", one.id);
            assert!(one.reqs.iter().all(|req| catalogue.get(req).is_some()), "{}", one.id);
        }
        assert!(
            all.iter().any(|one| one.shown_by.is_empty()),
            "a tool that answers everything answers nothing"
        );
        for row in Mapping::shipped().unwrap().crosswalk {
            for id in row.cip_009_6.iter().chain(&row.nis2_cir) {
                assert!(
                    all.iter().any(|one| one.id == *id && one.reqs.contains(&row.req)),
                    "{} {id}",
                    row.req
                );
            }
        }
    }

    #[test]
    fn a_wrong_line_is_refused() {
        for wrong in ["a;b;c", "a;b;c;SR 9.9;e;f", "a;b;c;SR 7.4;e;f;g"] {
            assert_eq!(read(wrong), Err(NoLine(wrong.into())));
        }
    }
}
