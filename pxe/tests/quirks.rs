//! The tables of `DESIGN.md` are whole: every known quirk of firmware has a row, and every test that a row names is there.

use std::collections::BTreeSet;
use std::path::Path;

const DESIGN: &str = include_str!("../DESIGN.md");
/// How many quirks are known of each kind; a new one is numbered behind the last.
const KNOWN: [(char, u32); 9] =
    [('A', 30), ('B', 21), ('C', 19), ('D', 21), ('E', 23), ('F', 20), ('G', 16), ('H', 3), ('J', 6)];

/// The rows that the first cell of a line names: `A1, B2`, `A19 to A23`.
fn rows(cell: &str) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    let words: Vec<&str> =
        cell.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let number = |word: &str| -> Option<(char, u32)> {
        let kind = word.chars().next().filter(char::is_ascii_uppercase)?;
        Some((kind, word[1..].parse().ok()?))
    };
    for (at, word) in words.iter().enumerate() {
        let Some((kind, first)) = number(word) else { continue };
        let last = match words.get(at + 1..at + 3) {
            Some(["to", last]) => number(last).filter(|(other, _)| *other == kind).map_or(first, |(_, n)| n),
            _ => first,
        };
        rows.extend((first..=last).map(|n| format!("{kind}{n}")));
    }
    rows
}

/// Names of functions in the sources of this package and, for what only a whole appliance can hold, of the appliance.
fn functions(dir: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source");
            let found = text
                .lines()
                .filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "));
            names.extend(found.filter_map(|line| line.split(['(', '<']).next()).map(str::to_owned));
        }
    }
}

#[test]
fn every_known_quirk_is_held_or_left_out_with_its_reason() {
    let told: BTreeSet<String> =
        DESIGN.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next()).flat_map(rows).collect();
    for (kind, count) in KNOWN {
        for row in (1..=count).map(|n| format!("{kind}{n}")) {
            assert!(told.contains(&row), "{row} is in no table of DESIGN.md");
        }
    }
    assert_eq!(rows("A19 to A21, E1 (x64)"), ["A19", "A20", "A21", "E1"].map(str::to_owned).into());
}

#[test]
fn every_test_that_a_row_names_is_there() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = BTreeSet::new();
    functions(here, &mut names);
    functions(&here.join("../recovery/appliance/src/boot"), &mut names);
    let table = DESIGN.split("## What firmware does").nth(1).expect("the tables");
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let named =
        rows.flat_map(|line| line.split('`').skip(1).step_by(2)).filter_map(|word| word.strip_suffix('…'));
    let mut count = 0;
    for prefix in named {
        count += 1;
        assert!(names.iter().any(|name| name.starts_with(prefix)), "no test begins with `{prefix}`");
    }
    assert!(count > 80, "the tables name their tests, {count} found");
}
