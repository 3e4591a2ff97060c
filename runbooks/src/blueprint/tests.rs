//! Every shipped blueprint is good; every rule finds its fault and only that.

use super::{
    Blueprint,
    lint::{Rule, lint, uncovered},
};
use crate::{
    assess::{catalogue::Catalogue, zone::Zones},
    library::blueprints,
};

const NOW_MS: u64 = 1_780_000_000_000;

fn panel() -> &'static str {
    blueprints().iter().find(|one| one.name == "hmi-panel").unwrap().text
}

fn rules(text: &str) -> Vec<Rule> {
    let blueprint = Blueprint::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    lint(&blueprint, None, &Catalogue::shipped().unwrap(), NOW_MS)
        .into_iter()
        .map(|found| found.rule)
        .collect()
}

/// A blueprint that ships names no image, no conduit and no qualified hardware: those are the owner's.
const STARTER: [Rule; 4] = [Rule::NoDigest, Rule::NotQualified, Rule::NoConduit, Rule::Uncovered];

#[test]
fn every_shipped_blueprint_is_good_and_says_what_the_owner_must_add() {
    assert_eq!(blueprints().len(), 7);
    for shipped in blueprints() {
        let blueprint =
            Blueprint::parse(shipped.text).unwrap_or_else(|error| panic!("{}: {error}", shipped.name));
        assert_eq!(blueprint.metadata.name, shipped.name);
        assert_eq!(rules(shipped.text), STARTER, "{}", shipped.name);
    }
}

fn with(from: &str, to: &str) -> String {
    assert!(panel().contains(from), "{from}");
    panel().replacen(from, to, 1)
}

#[test]
fn every_rule_finds_its_fault_and_only_that() {
    for (from, to, rule) in [
        ("write: 210s", "write: 600s", Rule::PhasesExceedRto),
        ("approve: 2m", "approve: 20m", Rule::PhasesExceedRto),
        ("rto_machine: 9m", "rto_machine: 16m", Rule::RtoBelowMachine),
        ("tier: 1", "tier: 4", Rule::Tier),
        ("[bench, spare_disk, virtual]", "[bench, spare_disk, virtual, canary]", Rule::DrillInProduction),
        ("[bench, spare_disk, virtual]", "[bench, spare_disk]", Rule::DrillNotAllowed),
        ("permit_valid: 20m", "permit_valid: 7d", Rule::LongTicket),
        ("[uefi_http, uefi_pxe, local_recovery, stick]", "[]", Rule::NoWay),
        ("identify_by: [wwn, serial]", "identify_by: []", Rule::NoWay),
        ("  alternate: neighbour-panel\n", "", Rule::NoAlternate),
        ("personalise: {", "personalise: {admin_password: x, ", Rule::Secret),
        ("id: heartbeat", "id: runtime", Rule::DuplicateCheck),
        ("preserve: []", "preserve: [data]", Rule::Preserves),
    ] {
        let mut found: Vec<Rule> =
            rules(&with(from, to)).into_iter().filter(|rule| !STARTER.contains(rule)).collect();
        found.dedup();
        assert_eq!(found, [rule], "{from} -> {to}");
    }
    let unproven = panel().replace("kind: attest", "kind: process");
    assert!(rules(&unproven).contains(&Rule::NoProof));
    let idle = panel().replace("kind: process", "kind: attest").replace("kind: human", "kind: attest");
    assert!(
        rules(&idle.replace("kind: clock", "kind: attest").replace("kind: tag_read", "kind: attest"))
            .contains(&Rule::NoProof)
    );
}

#[test]
fn what_the_owner_adds_takes_the_notes_away() {
    let text =
        with("channel: approved", &format!("channel: approved\n  digest: \"blake3:{}\"", "ab".repeat(32)))
            .replace("  id: cell\n", "  id: cell\n  conduit: recovery-to-cell\n")
            .replace(
                "hardware_class:\n",
                "hardware_class:\n  qualified: {drill: 00ff, expires: 2099-01-01}\n",
            );
    assert_eq!(rules(&text), [Rule::Uncovered]);
    assert!(rules(&text.replace("2099-01-01", "2020-01-01")).contains(&Rule::NotQualified));
    assert!(rules(&text.replace(&"ab".repeat(32), &"00".repeat(32))).contains(&Rule::NoDigest));
    assert!(Blueprint::parse(&text.replace("blake3:", "md5:")).is_err());
}

#[test]
fn a_blueprint_and_its_zone_aim_at_the_same() {
    let blueprint = Blueprint::parse(panel()).unwrap();
    let zone = |si: u8| {
        let text = format!(
            "schema: zones/v1\nsite: A\nzones:\n  - {{name: cell, target: {{iac: 2, uc: 2, si: {si}, dc: 1, rdf: 2, tre: 2, ra: 2}}, declared: [{{req: SR 7.5, state: met, basis: b, by: o, expires: 2099-01-01}}]}}\n"
        );
        Zones::parse(&text).unwrap().zones.remove(0)
    };
    let catalogue = Catalogue::shipped().unwrap();
    let other = |zone| {
        lint(&blueprint, Some(&zone), &catalogue, NOW_MS).iter().any(|found| found.rule == Rule::OtherLevels)
    };
    assert_eq!((other(zone(2)), other(zone(3))), (false, true));
    let spoken = |zone: Option<_>| uncovered(&blueprint, zone.as_ref(), &catalogue, NOW_MS).len();
    assert_eq!(spoken(None), spoken(Some(zone(2))) + 1, "the zone speaks of one more");
}

#[test]
fn wrong_words_are_refused_where_they_stand() {
    for (from, to) in [
        ("kind: hmi", "kind: toaster"),
        ("tier: 1", "tear: 1"),
        ("iac: 2", "iac: 7"),
        ("req: SR 1.2,", "req: SR 9.2,"),
        ("rto: 15m", "rto: 15"),
        ("blueprint/v1", "blueprint/v2"),
    ] {
        let said = Blueprint::parse(&with(from, to)).unwrap_err().to_string();
        assert!(said.starts_with("line "), "{to}: {said}");
    }
}
