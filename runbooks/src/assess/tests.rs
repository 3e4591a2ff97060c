//! The worked example, and what no declaration and no virtue of the appliance may do.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    catalogue::{Catalogue, Fr, Req},
    evidence::{Fact, Ledger, Mapping, MappingRule, Scope, Strength, Weighed, ZoneEndpoint, ahead},
    zone::{Assessment, Interval, State, Verdict, Zone, Zones, assess},
};
use crate::{ids::TargetId, target::Place};

const NOW_MS: u64 = 1_780_000_000_000;

fn req(text: &str) -> Req {
    Req::try_from(text.to_owned()).unwrap()
}

/// `1.1, 1.1 RE1` as requirements.
fn reqs(list: &str) -> Vec<Req> {
    list.split(", ").map(|id| req(&format!("SR {id}"))).collect()
}

fn zone_of(rest: &str) -> Zone {
    let text = format!(
        "schema: zones/v1\nsite: Plant A\nzones:\n  - name: packing-hmi\n    target: {{iac: 2, uc: 2, si: 2, dc: 1, rdf: 2, tre: 2, ra: 2}}\n{rest}"
    );
    Zones::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}")).zones.remove(0)
}

/// The worked example's zone: what its owner declares.
fn packing(compensating: &str) -> Zone {
    let mut declared = String::from("    declared:\n");
    let declare = |declared: &mut String, state: &str, list: &str| {
        for id in reqs(list) {
            declared.push_str(&format!(
                "      - {{req: {id}, state: {state}, basis: example, by: owner, expires: 2099-01-01}}\n"
            ));
        }
    };
    declare(&mut declared, "na", "1.6, 1.6 RE1, 2.2");
    declare(&mut declared, "unmet", "5.1 RE1");
    declare(
        &mut declared,
        "met",
        "1.13, 2.3, 2.4, 3.1, 3.2, 3.5, 3.6, 3.7, 3.8, 4.1, 4.3, 5.1, 5.2, 5.2 RE1, 5.3, 5.4, 6.2, 7.1, 7.2, 7.7",
    );
    zone_of(&(declared + compensating))
}

fn shown(list: &str) -> BTreeMap<Req, Weighed> {
    reqs(list).into_iter().map(|id| (id, Weighed::Met { until_ms: u64::MAX })).collect()
}

const EVIDENCE: &str = "1.1, 1.1 RE1, 1.2, 1.3, 1.4, 1.5, 1.7, 1.8, 1.9, 1.10, 1.11, 1.12, 2.1, 2.1 RE1, 2.1 RE2, 2.5, 2.6, 2.8, 2.9, 2.10, 2.11, 3.3, 3.4, 3.4 RE1, 3.9, 4.2, 6.1, 7.3, 7.3 RE1, 7.3 RE2, 7.4, 7.6, 7.6 RE1, 7.8";

fn lines(assessment: &Assessment) -> Vec<String> {
    let interval = |interval: Interval| format!("[{}, {}]", interval.low, interval.high);
    assessment
        .standings
        .iter()
        .map(|one| {
            let blocking: Vec<String> = one.blocking.iter().map(ToString::to_string).collect();
            format!(
                "{} {} {} {} {} {}",
                one.fr.word(),
                one.target,
                interval(one.evidence),
                interval(one.declared),
                one.verdict.word(),
                blocking.join(" ")
            )
        })
        .collect()
}

/// `notes`, section 3.4: the golden example.
#[test]
fn the_worked_example_comes_out_as_it_was_worked_out() {
    let catalogue = Catalogue::shipped().unwrap();
    let assessment = assess(&catalogue, &packing(""), &shown(EVIDENCE), NOW_MS);
    assert_eq!(
        lines(&assessment),
        [
            "IAC 2 [0, 4] [1, 4] unproven SR 1.13 RE1",
            "UC 2 [0, 4] [2, 4] met ",
            "SI 2 [0, 4] [1, 4] unproven SR 3.2 RE1",
            "DC 1 [0, 4] [1, 4] met ",
            "RDF 2 [0, 4] [1, 1] gap SR 5.1 RE1",
            "TRE 2 [1, 4] [2, 4] met ",
            "RA 2 [0, 4] [0, 4] unproven SR 7.1 RE1 SR 7.5",
        ]
    );
    assert_eq!(EVIDENCE.split(", ").count(), 34);
    let row = |id: &str| assessment.rows.iter().find(|row| row.req == req(id)).unwrap();
    assert_eq!(
        (row("SR 7.5").state, row("SR 5.1 RE1").state, row("SR 2.2").state),
        (State::Unknown, State::Unmet, State::Na)
    );
}

#[test]
fn a_compensation_that_two_people_approved_closes_the_gap_until_it_expires() {
    let catalogue = Catalogue::shipped().unwrap();
    let with = |approved: &str, expires: &str| {
        let line = format!(
            "    compensating:\n      - {{req: SR 5.1 RE1, measure: cell firewall, approved_by: {approved}, expires: {expires}}}\n"
        );
        let assessment = assess(&catalogue, &packing(&line), &shown(EVIDENCE), NOW_MS);
        let rdf = &assessment.standings[Fr::Rdf as usize];
        (rdf.declared, rdf.verdict)
    };
    assert_eq!(with("[ciso, plant-manager]", "2099-01-01"), (Interval { low: 2, high: 4 }, Verdict::Met));
    assert_eq!(with("[ciso]", "2099-01-01").1, Verdict::Gap, "one is not two");
    assert_eq!(with("[ciso, ciso]", "2099-01-01").1, Verdict::Gap);
    assert_eq!(with("[ciso, plant-manager]", "2020-01-01").1, Verdict::Gap, "it has ended");
}

#[test]
fn what_expired_is_unknown_and_what_is_shown_cannot_be_declared_away() {
    let catalogue = Catalogue::shipped().unwrap();
    let zone = |state: &str, expires: &str| {
        zone_of(&format!(
            "    declared: [{{req: SR 7.4, state: {state}, basis: b, by: o, expires: {expires}}}]\n"
        ))
    };
    let state = |zone: &Zone, weighed: Option<Weighed>| {
        let weighed = weighed.map(|one| (req("SR 7.4"), one)).into_iter().collect();
        let assessment = assess(&catalogue, zone, &weighed, NOW_MS);
        assessment.rows.into_iter().find(|row| row.req == req("SR 7.4")).unwrap().state
    };
    let against = || Some(Weighed::Unmet { endpoints: vec![(TargetId::new("hmi-1"), 7)] });
    let met = || Some(Weighed::Met { until_ms: u64::MAX });
    assert_eq!(state(&zone("met", "2099-01-01"), None), State::Met);
    assert_eq!(state(&zone("met", "2020-01-01"), None), State::Unknown);
    assert_eq!(state(&zone("met", "2099-01-01"), against()), State::Unmet);
    assert_eq!(state(&zone("na", "2099-01-01"), against()), State::Unmet);
    assert_eq!(state(&zone("unmet", "2099-01-01"), met()), State::Unmet, "who says no is believed");
    assert_eq!(state(&zone("unmet", "2020-01-01"), met()), State::Met);
}

fn of((name, value): (&str, &str)) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

fn fact(seq: u64, at_ms: u64, endpoint: &str, kind: &str, to: Option<&str>) -> Fact {
    Fact {
        seq,
        at_ms,
        kind: kind.into(),
        endpoint: Some(TargetId::new(endpoint)),
        to: to.map(str::to_owned),
        has: vec!["ek_sha256".into()],
        values: of(match kind {
            "proof.quote" => ("system", "golden_system"),
            _ => ("class", "integrity"),
        }),
        drill: false,
    }
}

fn endpoints(of: &[(&str, Place)]) -> Vec<ZoneEndpoint> {
    of.iter().map(|(name, place)| ZoneEndpoint { name: TargetId::new(*name), place: *place }).collect()
}

const DAY_MS: u64 = 86_400_000;

#[test]
fn every_endpoint_must_show_it_and_lately() {
    let mapping = Mapping::shipped().unwrap();
    let both = endpoints(&[("a", Place::Production), ("b", Place::Production)]);
    let weigh =
        |facts: &[Fact]| Ledger::of(&mapping, facts).weigh(&both, NOW_MS).remove(&req("SR 3.4")).unwrap();
    let (fresh, stale) = (NOW_MS - DAY_MS + 1, NOW_MS - DAY_MS);
    let (quote, failed) = ("proof.quote", "decision.trigger");
    assert_eq!(
        weigh(&[fact(1, fresh, "a", quote, None), fact(2, fresh + 5, "b", quote, None)]),
        Weighed::Met { until_ms: NOW_MS + 1 }
    );
    assert_eq!(
        weigh(&[fact(1, fresh, "a", quote, None)]),
        Weighed::Unknown { endpoints: vec![TargetId::new("b")] }
    );
    assert_eq!(
        weigh(&[fact(1, fresh, "a", quote, None), fact(2, stale, "b", quote, None)]),
        Weighed::Unknown { endpoints: vec![TargetId::new("b")] }
    );
    // Bad stays bad however long ago, until something good comes after it.
    let bad = [fact(1, fresh, "a", quote, None), fact(2, 5, "b", failed, None)];
    assert_eq!(weigh(&bad), Weighed::Unmet { endpoints: vec![(TargetId::new("b"), 2)] });
    let mended = [&bad[..], &[fact(3, fresh, "b", quote, None)]].concat();
    assert!(matches!(weigh(&mended), Weighed::Met { .. }));
    let same_moment = [
        fact(8, fresh, "a", quote, None),
        fact(9, fresh, "b", quote, None),
        fact(10, fresh, "b", failed, None),
    ];
    assert!(matches!(weigh(&same_moment), Weighed::Unmet { .. }), "the later in the log");
}

#[test]
fn a_recovery_systems_quote_says_nothing_of_the_golden_system() {
    let mapping = Mapping::shipped().unwrap();
    let one = endpoints(&[("a", Place::Production)]);
    for (system, met) in [("golden_system", true), ("recovery_system", false), ("", false)] {
        let quote = Fact { values: of(("system", system)), ..fact(1, NOW_MS - 1, "a", "proof.quote", None) };
        let weighed = Ledger::of(&mapping, std::slice::from_ref(&quote)).weigh(&one, NOW_MS);
        for id in ["SR 1.2", "SR 1.2 RE1", "SR 3.4"] {
            assert_eq!(matches!(weighed[&req(id)], Weighed::Met { .. }), met, "{id}, {system}");
        }
        assert_eq!(weighed[&req("SR 6.2")], Weighed::Contributing { endpoints: usize::from(met) });
    }
    // A trigger of another class is no word about integrity.
    let trigger = |class| {
        let trigger = fact(2, NOW_MS - 1, "a", "decision.trigger", None);
        let facts =
            [fact(1, NOW_MS - 1, "a", "proof.quote", None), Fact { values: of(("class", class)), ..trigger }];
        Ledger::of(&mapping, &facts).weigh(&one, NOW_MS).remove(&req("SR 3.4")).unwrap()
    };
    assert!(matches!(trigger("manual"), Weighed::Met { .. }));
    assert!(matches!(trigger("integrity"), Weighed::Unmet { .. }));
}

#[test]
fn the_logs_order_counts_and_a_time_that_has_not_come_makes_nothing_fresh() {
    let mapping = Mapping::shipped().unwrap();
    let one = endpoints(&[("a", Place::Production)]);
    let weigh =
        |facts: &[Fact]| Ledger::of(&mapping, facts).weigh(&one, NOW_MS).remove(&req("SR 3.4")).unwrap();
    let (quote, trigger) = ("proof.quote", "decision.trigger");
    // The clock was set back between the two: the later entry is the later fact.
    let set_back = [fact(1, NOW_MS - 5, "a", quote, None), fact(2, NOW_MS - 900, "a", trigger, None)];
    assert!(matches!(weigh(&set_back), Weighed::Unmet { .. }));
    let of_now = [fact(1, NOW_MS, "a", quote, None)];
    assert!(matches!(weigh(&of_now), Weighed::Met { .. }));
    assert_eq!(ahead(&of_now, NOW_MS), None);
    let of_later = [fact(1, NOW_MS, "a", "x", None), fact(7, NOW_MS + 1, "a", quote, None)];
    assert!(matches!(weigh(&of_later), Weighed::Unknown { .. }));
    assert!(
        ahead(&of_later, NOW_MS)
            .unwrap()
            .starts_with("1 of it bear a time that has not come (first: entry 7)")
    );
}

#[test]
fn a_recovery_is_no_backup() {
    let mapping = Mapping::shipped().unwrap();
    let weigh = |kind, to| {
        let facts = [fact(1, NOW_MS - 1, "a", kind, to)];
        let weighed = Ledger::of(&mapping, &facts).weigh(&endpoints(&[("a", Place::Production)]), NOW_MS);
        matches!(weighed[&req("SR 7.3")], Weighed::Met { .. })
    };
    assert!(!weigh("transition", Some("recovered")) && weigh("report.captured", None));
}

#[test]
fn a_disk_is_erased_by_what_erases_and_not_by_a_discard() {
    let mapping = Mapping::shipped().unwrap();
    let weigh = |method, place| {
        let erased =
            Fact { values: of(("method", method)), ..fact(1, NOW_MS - 1, "a", "report.erased", None) };
        let weighed = Ledger::of(&mapping, &[erased]).weigh(&endpoints(&[("a", place)]), NOW_MS);
        matches!(weighed[&req("SR 4.2")], Weighed::Met { .. })
    };
    assert!(weigh("sanitize_crypto", Place::Production) && weigh("overwrite", Place::Bench));
    assert!(!weigh("discard", Place::Production) && !weigh("overwrite", Place::Virtual));
}

#[test]
fn a_key_in_a_virtual_tpm_is_no_key_in_hardware() {
    let mapping = Mapping::shipped().unwrap();
    let issued = Fact { has: vec!["key_sha256".into()], ..fact(1, NOW_MS - 1, "a", "identity.issued", None) };
    for id in ["SR 1.5 RE1", "SR 1.9 RE1"] {
        for (place, met) in [(Place::Production, true), (Place::Virtual, false)] {
            let weighed = Ledger::of(&mapping, std::slice::from_ref(&issued))
                .weigh(&endpoints(&[("a", place)]), NOW_MS);
            assert_eq!(matches!(weighed[&req(id)], Weighed::Met { .. }), met, "{id}");
        }
    }
}

/// What the appliance's product sources say, as one text.
pub(super) fn source_of_the_appliance() -> String {
    fn written(dir: &std::path::Path, text: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_string_lossy().into_owned();
            // `hooks` holds the words of messages that come in, and is no log.
            if entry.is_dir() && name != "tests" && name != "hooks" {
                written(&entry, text);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let source = std::fs::read_to_string(&entry).unwrap();
                text.push_str(source.split("#[cfg(test)]\nmod tests {").next().unwrap());
            }
        }
    }
    let mut source = String::new();
    written(
        std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../recovery/appliance/src")),
        &mut source,
    );
    source
}

/// The page promises what the log can show. A kind that nobody writes would be a promise that nobody keeps.
#[test]
fn every_kind_of_the_mapping_is_written_by_the_appliance() {
    let source = source_of_the_appliance();
    for rule in Mapping::shipped().unwrap().rules {
        for matcher in rule.pass.iter().chain(&rule.fail) {
            assert!(source.contains(&format!("\"{}\"", matcher.kind())), "{}: {}", rule.req, matcher.kind());
        }
    }
}

#[test]
fn the_design_says_how_many_requirements_evidence_can_set() {
    let can_set = |rule: &&MappingRule| {
        (rule.scope, rule.strength) == (Scope::Endpoint, Strength::Direct) && !rule.pass.is_empty()
    };
    let mapping = Mapping::shipped().unwrap();
    assert_eq!(mapping.rules.iter().filter(can_set).count(), 11);
    assert!(include_str!("../../DESIGN.md").contains("Eleven of the hundred requirements can be set by it"));
}

#[test]
fn a_virtual_rehearsal_never_proves_that_hardware_comes_back() {
    let mapping = Mapping::shipped().unwrap();
    let facts = [fact(1, NOW_MS - 1, "a", "transition", Some("recovered"))];
    let weigh = |place| Ledger::of(&mapping, &facts).weigh(&endpoints(&[("a", place)]), NOW_MS);
    for id in ["SR 7.4", "SR 7.3 RE1"] {
        assert!(matches!(weigh(Place::Bench)[&req(id)], Weighed::Met { .. }), "{id}");
        assert!(matches!(weigh(Place::Virtual)[&req(id)], Weighed::Unknown { .. }), "{id}");
    }
    let other = [fact(1, NOW_MS - 1, "a", "transition", Some("imaging"))];
    assert!(matches!(
        Ledger::of(&mapping, &other).weigh(&endpoints(&[("a", Place::Bench)]), NOW_MS)[&req("SR 7.4")],
        Weighed::Unknown { .. }
    ));
}

#[test]
fn the_appliance_and_what_only_contributes_set_nothing() {
    let (catalogue, mapping) = (Catalogue::shipped().unwrap(), Mapping::shipped().unwrap());
    let kinds = [
        "order.approve",
        "order.recover",
        "order.plan-approve",
        "report.erased",
        "hardware.changed",
        "log.read",
    ];
    let facts: Vec<Fact> =
        (1..).zip(kinds).map(|(seq, kind)| fact(seq, NOW_MS - 9, "a", kind, None)).collect();
    let weighed = Ledger::of(&mapping, &facts).weigh(&endpoints(&[("a", Place::Production)]), NOW_MS);
    let assessment = assess(&catalogue, &zone_of(""), &weighed, NOW_MS);
    assert!(assessment.rows.iter().all(|row| row.state != State::Met), "{:?}", assessment.rows);
    // `fact` names no method: an erasure of which nobody knows how it was done is none.
    let row = |id: &str| assessment.rows.iter().find(|row| row.req == req(id)).unwrap();
    assert!(row("SR 7.8").why.contains("supports it"), "{}", row("SR 7.8").why);
    assert_eq!(row("SR 4.2").state, State::Unknown);
    // A zone without endpoints has shown nothing, and not everything.
    assert!(Ledger::of(&mapping, &facts).weigh(&[], NOW_MS).is_empty());
}

#[test]
fn the_shipped_mapping_speaks_of_this_catalogue() {
    let (catalogue, mapping) = (Catalogue::shipped().unwrap(), Mapping::shipped().unwrap());
    assert_eq!(mapping.catalogue, catalogue.name);
    for id in mapping.rules.iter().map(|rule| &rule.req).chain(mapping.crosswalk.iter().map(|one| &one.req)) {
        assert!(catalogue.get(id).is_some(), "{id}");
    }
    for rule in &mapping.rules {
        assert!(
            !rule.auditor.is_empty() && rule.ttl.0 > 0 && rule.pass.len() + rule.fail.len() > 0,
            "{}",
            rule.req
        );
    }
    let wrong = include_str!("../../catalogue/mapping-v1.yaml").replacen("ttl: 30d", "tll: 30d", 1);
    assert!(Mapping::parse(&wrong).unwrap_err().to_string().starts_with("line "));
}

#[test]
fn a_wrong_file_of_zones_is_refused_with_its_place() {
    let good = "schema: zones/v1\nsite: A\nzones:\n  - {name: a, target: {iac: 1, uc: 1, si: 1, dc: 1, rdf: 1, tre: 1, ra: 1}}\n";
    assert!(Zones::parse(good).is_ok());
    let without = good.replacen("name: a,", "name: a, endpoints: [{name: press-01}],", 1);
    let said = Zones::parse(&without).unwrap_err().to_string();
    assert!(said.starts_with("line ") && said.contains("`place` is missing: write production, "), "{said}");
    for (from, to) in [
        ("iac: 1", "iac: 5"),
        ("iac: 1, ", ""),
        ("name: a,", "name: a, declared: [{req: SR 9.1, state: met, basis: b, by: o, expires: 2027-01-01}],"),
        ("name: a,", "name: a, declared: [{req: SR 1.1, state: met, basis: b, by: o}],"),
        ("name: a,", "name: a, declared: [{req: SR 1.1, state: met, basis: b, by: o, expires: soon}],"),
        ("zones/v1", "zones/v2"),
        ("site:", "plant:"),
    ] {
        assert!(good.contains(from));
        let error = Zones::parse(&good.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.starts_with("line "), "{to}: {error}");
    }
}

proptest! {
    /// More evidence of the good kind never lowers anything, and no interval is upside down.
    #[test]
    fn good_news_never_makes_it_worse(met in proptest::collection::btree_set(0usize..100, 0..100), more in 0usize..100) {
        let catalogue = Catalogue::shipped().unwrap();
        let zone = zone_of("");
        let weigh = |set: &std::collections::BTreeSet<usize>| {
            set.iter().map(|at| (catalogue.requirements[*at].id.clone(), Weighed::Met { until_ms: u64::MAX })).collect()
        };
        let before = assess(&catalogue, &zone, &weigh(&met), NOW_MS);
        let mut with_more = met.clone();
        with_more.insert(more);
        let after = assess(&catalogue, &zone, &weigh(&with_more), NOW_MS);
        for (old, new) in before.standings.iter().zip(&after.standings) {
            prop_assert!(old.declared.low <= old.declared.high && old.declared.high == 4);
            prop_assert!(new.declared.low >= old.declared.low);
        }
    }
}
