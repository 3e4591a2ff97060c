//! A month: what counts in it and what does not, in two languages and four forms.

use super::*;
use crate::paper::{Language, tests::text_of};

const ZONES: &str = "schema: zones/v1\nsite: Werk Süd\nclocks:\n  - {name: plan tested, months: 15, by: [recovery]}\nzones:\n  - name: cell\n    target: {iac: 1, uc: 1, si: 1, dc: 1, rdf: 1, tre: 1, ra: 1}\n    endpoints: [{name: press-01, place: production}, {name: press-02, place: production}]\n    declared:\n      - {req: SR 1.6, state: na, basis: no radio, by: maintenance, expires: 2026-10-31}\n      - {req: SR 2.2, state: na, basis: no radio, by: maintenance, expires: 2026-11-15}\n      - {req: SR 7.5, state: met, basis: old paper, by: owner, expires: 2026-09-30}\n    compensating:\n      - {req: SR 5.1, measure: cell firewall, approved_by: [a, b], expires: 2027-12-31}\n";

fn at(text: &str) -> u64 {
    u64::try_from(text.parse::<jiff::Timestamp>().unwrap().as_millisecond()).unwrap()
}

fn ended(seq: u64, when: &str, endpoint: &str, to: &str, drill: bool) -> Fact {
    Fact {
        seq,
        at_ms: at(when),
        kind: "transition".into(),
        endpoint: Some(TargetId::new(endpoint)),
        to: Some(to.into()),
        has: Vec::new(),
        values: BTreeMap::new(),
        drill,
    }
}

fn month(facts: &[Fact], month: &str, written: &str) -> MonthReport {
    let (zones, catalogue, mapping) =
        (Zones::parse(ZONES).unwrap(), Catalogue::shipped().unwrap(), Mapping::shipped().unwrap());
    MonthReport::of(
        (&zones, &catalogue, &mapping),
        (facts, "some entries"),
        month.parse().unwrap(),
        at(written),
    )
}

fn facts() -> Vec<Fact> {
    vec![
        ended(1, "2026-08-20T10:00:00Z", "press-01", "recovered", true),
        ended(2, "2026-09-30T23:59:59Z", "press-01", "recovered", true),
        ended(3, "2026-10-01T00:00:00Z", "press-01", "recovered", false),
        ended(4, "2026-10-31T23:59:59Z", "elsewhere-9", "failed", true),
        ended(5, "2026-11-01T00:00:00Z", "press-02", "recovered", false),
    ]
}

#[test]
fn a_month_holds_what_ended_in_it_and_nothing_later() {
    let report = month(&facts(), "2026-10", "2026-11-03T08:00:00Z");
    let seen: Vec<(u64, bool, bool, Option<Place>)> =
        report.ended.iter().map(|one| (one.entry, one.drill, one.came_back, one.place)).collect();
    assert_eq!(seen, [(3, false, true, Some(Place::Production)), (4, true, false, None)]);
    assert_eq!(report.board.hardware, (2, 1), "press-02 came back a second too late");
    assert_eq!(report.overdue(), [("press-02".to_owned(), Due::Never)]);
    assert_eq!(report.entries(), [3, 4]);
    let months: Vec<String> = report.trend["cell"].iter().map(|stood| stood.month.to_string()).collect();
    assert_eq!(months, ["2026-08", "2026-09", "2026-10"], "before the log began nobody knew anything");
    // In the middle of the month it speaks of what was known then.
    assert_eq!(month(&facts(), "2026-10", "2026-10-02T00:00:00Z").ended.len(), 1);
}

#[test]
fn what_expires_is_told_before_it_does_and_after() {
    let report = month(&facts(), "2026-10", "2026-11-03T08:00:00Z");
    let stands: Vec<(&str, Stands)> =
        report.waivers.iter().map(|one| (one.req.as_str(), one.stands)).collect();
    assert_eq!(
        stands,
        [
            ("SR 7.5", Stands::Expired),
            ("SR 1.6", Stands::Soon),
            ("SR 2.2", Stands::Soon),
            ("SR 5.1", Stands::Counts)
        ]
    );
}

#[test]
fn months_are_read_strictly_and_have_their_bounds() {
    for wrong in ["", "2026", "2026-13", "2026-00", "2026-1", "26-10", "2026-10-01", "october"] {
        assert!(wrong.parse::<Month>().is_err(), "{wrong}");
    }
    let december: Month = "2026-12".parse().unwrap();
    assert_eq!(december.bounds_ms(), (at("2026-12-01T00:00:00Z"), at("2027-01-01T00:00:00Z")));
    assert_eq!(
        (december.before(12).to_string(), december.before(-1).to_string()),
        ("2025-12".into(), "2027-01".into())
    );
}

#[test]
fn it_speaks_english_and_german_on_page_and_paper() {
    let report = month(&facts(), "2026-10", "2026-11-03T08:00:00Z");
    for (language, wanted) in [
        (
            Language::En,
            ["Overdue or never proven: press-02", "never proven", "Not assessable by this tool", "page 1 of"],
        ),
        (
            Language::De,
            [
                "Überfällig oder nie bewiesen: press-02",
                "nie bewiesen",
                "Mit diesem Werkzeug nicht zu beurteilen",
                "Seite 1 von",
            ],
        ),
    ] {
        let paper = report.paper(language);
        let (html, text) = (paper.html(), text_of(&paper.pdf().unwrap()));
        assert!(html.contains(&format!("<html lang=\"{}\">", language.code())));
        for (at, wanted) in wanted.into_iter().enumerate() {
            assert!(text.contains(wanted), "{wanted}: {text}");
            assert!(at == 3 || html.contains(wanted), "{wanted}");
        }
        assert!(text.contains("Werk Süd") && text.contains("press-01"));
        for never in ["compliant", "konform", "zertifiziert", "certified", "score"] {
            assert!(!html.to_lowercase().contains(never), "{never}");
        }
    }
    let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!((&json["month"], &json["schema"]), (&"2026-10".into(), &MONTH_SCHEMA.into()));
    let csv = report.csv();
    assert!(
        csv.contains("readiness,press-02,never proven,") && csv.contains("waiver,cell SR 7.5,expired,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 1 + 2 + 2 + 1 + 7 + 4 + super::super::NOT_ASSESSABLE.len());
}
