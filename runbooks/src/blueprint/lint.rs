//! Is this blueprint one that may be released, and one that may be used for real?

use std::{collections::BTreeSet, fmt};

use super::{Blueprint, CheckKind, SecureBoot};
use crate::{
    assess::{
        catalogue::{Catalogue, Fr, Req},
        zone::Zone,
    },
    measure::Phase,
};

/// The rules, each with a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The phases take longer than the objective.
    PhasesExceedRto,
    /// The whole is shorter than the machine's part of it.
    RtoBelowMachine,
    /// A tier that is none.
    Tier,
    /// A drill could write where the plant works.
    DrillInProduction,
    /// It is rehearsed where it may not be written.
    DrillNotAllowed,
    /// A boot ticket that is good for too long.
    LongTicket,
    /// No way to boot, or no way to tell the disk.
    NoWay,
    /// Nothing shows that it works again.
    NoProof,
    /// Something secret in what every endpoint gets.
    Secret,
    /// Two checks of one id.
    DuplicateCheck,
    /// Its levels are not its zone's.
    OtherLevels,
    /// The plant cannot do without it and nothing stands in.
    NoAlternate,
    /// A note: no image is pinned.
    NoDigest,
    /// A note: its class was never qualified, or not lately.
    NotQualified,
    /// A note: what stays was not verified.
    Preserves,
    /// A note: requirements of which nobody speaks.
    Uncovered,
    /// A note: no conduit is named.
    NoConduit,
}

impl Rule {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::PhasesExceedRto => "phases-exceed-rto",
            Self::RtoBelowMachine => "rto-below-machine",
            Self::Tier => "tier",
            Self::DrillInProduction => "drill-in-production",
            Self::DrillNotAllowed => "drill-not-allowed",
            Self::LongTicket => "long-ticket",
            Self::NoWay => "no-way",
            Self::NoProof => "no-proof",
            Self::Secret => "secret",
            Self::DuplicateCheck => "duplicate-check",
            Self::OtherLevels => "other-levels",
            Self::NoAlternate => "no-alternate",
            Self::NoDigest => "no-digest",
            Self::NotQualified => "not-qualified",
            Self::Preserves => "preserves",
            Self::Uncovered => "uncovered",
            Self::NoConduit => "no-conduit",
        }
    }

    /// It does not refuse the blueprint; a real recovery by it needs a supervisor who knows.
    #[must_use]
    pub fn is_a_note(self) -> bool {
        matches!(
            self,
            Self::NoDigest | Self::NotQualified | Self::Preserves | Self::Uncovered | Self::NoConduit
        )
    }
}

/// One thing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// What, and what to do.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = if self.rule.is_a_note() { "note: " } else { "" };
        write!(f, "{note}{} [{}]", self.what, self.rule.code())
    }
}

/// A boot ticket is good for minutes.
const TICKET_MS_MAX: u64 = 60 * 60_000;

/// Phases in which no person and no firmware is waited for are the machine's; these are people's.
const BY_PEOPLE: [Phase; 5] = [Phase::Detect, Phase::Declare, Phase::Approve, Phase::Dispatch, Phase::Accept];

/// Everything that is to say. `zone`: the zone that it names, where it is known. `now_ms` as ever.
#[must_use]
pub fn lint(blueprint: &Blueprint, zone: Option<&Zone>, catalogue: &Catalogue, now_ms: u64) -> Vec<Finding> {
    let mut lint = Lint { blueprint, found: Vec::new() };
    lint.objectives();
    lint.drills();
    lint.ways();
    lint.checks();
    lint.for_real(now_ms);
    if let Some(zone) = zone
        && Fr::ALL.into_iter().any(|fr| zone.target.of(fr) != blueprint.security_level.target.of(fr))
    {
        let what = format!("its levels are not those of zone `{}`: make them the same", zone.name);
        lint.say(Rule::OtherLevels, what);
    }
    let uncovered = uncovered(blueprint, zone, catalogue, now_ms);
    if !uncovered.is_empty() {
        let list: Vec<String> = uncovered.iter().map(ToString::to_string).collect();
        let what = format!(
            "nobody speaks of {}: they stand as unknown until a control, a declaration or a compensation does",
            list.join(", ")
        );
        lint.say(Rule::Uncovered, what);
    }
    lint.found
}

/// Requirements at or below the target of which neither the blueprint nor its zone speaks.
#[must_use]
pub fn uncovered(blueprint: &Blueprint, zone: Option<&Zone>, catalogue: &Catalogue, now_ms: u64) -> Vec<Req> {
    let mut covered: BTreeSet<&Req> = blueprint.controls.iter().map(|control| &control.req).collect();
    let declared = blueprint.declared.iter().chain(zone.iter().flat_map(|zone| &zone.declared));
    covered.extend(declared.filter(|one| now_ms < one.expires.end_ms()).map(|one| &one.req));
    let compensating = blueprint.compensating.iter().chain(zone.iter().flat_map(|zone| &zone.compensating));
    covered.extend(
        compensating.filter(|one| one.is_approved() && now_ms < one.expires.end_ms()).map(|one| &one.req),
    );
    let wanted = |fr| catalogue.up_to(fr, blueprint.security_level.target.of(fr));
    Fr::ALL
        .into_iter()
        .flat_map(wanted)
        .map(|one| &one.id)
        .filter(|id| !covered.contains(id))
        .cloned()
        .collect()
}

struct Lint<'a> {
    blueprint: &'a Blueprint,
    found: Vec<Finding>,
}

impl Lint<'_> {
    fn say(&mut self, rule: Rule, what: impl Into<String>) {
        self.found.push(Finding { rule, what: what.into() });
    }

    fn objectives(&mut self) {
        let objectives = &self.blueprint.objectives;
        let sum = |people: bool| -> u64 {
            let mine = |phase: &Phase| people || !BY_PEOPLE.contains(phase);
            objectives.phases.iter().filter(|(phase, _)| mine(phase)).map(|(_, length)| length.0).sum()
        };
        for (name, ms, limit_ms) in
            [("rto_machine", sum(false), objectives.rto_machine.0), ("rto", sum(true), objectives.rto.0)]
        {
            if ms > limit_ms {
                let what = format!(
                    "its phases add up to {} s, and `{name}` is {} s: shorten them or raise it",
                    ms / 1000,
                    limit_ms / 1000
                );
                self.say(Rule::PhasesExceedRto, what);
            }
        }
        if objectives.rto.0 < objectives.rto_machine.0 {
            self.say(
                Rule::RtoBelowMachine,
                "`rto` is shorter than `rto_machine`, which is part of it: raise it",
            );
        }
        if objectives.tier > 3 {
            self.say(Rule::Tier, "a tier is 0 to 3: 0 comes back first");
        }
    }

    fn drills(&mut self) {
        let drill = &self.blueprint.drill;
        for place in drill.allowed_targets.iter().filter(|place| !place.may_be_drilled()) {
            let what =
                format!("a drill may never write to {}: take it out of `allowed_targets`", place.label());
            self.say(Rule::DrillInProduction, what);
        }
        for place in drill.every.keys().filter(|place| !drill.allowed_targets.contains(place)) {
            let what = format!(
                "it is to be rehearsed on {}, which `allowed_targets` does not name: name it, or not",
                place.label()
            );
            self.say(Rule::DrillNotAllowed, what);
        }
    }

    fn ways(&mut self) {
        let blueprint = self.blueprint;
        if blueprint.boot.order.is_empty() {
            self.say(Rule::NoWay, "`boot.order` is empty: name at least one way");
        }
        if blueprint.hardware_class.disk.identify_by.is_empty() {
            self.say(Rule::NoWay, "nothing tells its disk from another: name wwn, serial or single_internal");
        }
        if blueprint.boot.permit_valid.0 == 0 || blueprint.boot.permit_valid.0 > TICKET_MS_MAX {
            self.say(
                Rule::LongTicket,
                "a boot ticket is good for minutes, an hour at most: correct `permit_valid`",
            );
        }
        if blueprint.safety.essential_function && blueprint.safety.alternate.is_none() {
            let what = "the plant cannot do without it and nothing stands in for it: name `safety.alternate`";
            self.say(Rule::NoAlternate, what);
        }
        let secret = |name: &String| {
            ["password", "passwd", "secret", "token", "private", "key"]
                .iter()
                .any(|word| name.to_lowercase().contains(word))
        };
        for name in blueprint.image.personalise.keys().filter(|name| secret(name)) {
            let what = format!(
                "`personalise.{name}` looks like a secret: secrets go out after a verified quote, never with an image"
            );
            self.say(Rule::Secret, what);
        }
    }

    fn checks(&mut self) {
        let checks = &self.blueprint.post_checks;
        if !checks.iter().any(|check| check.kind == CheckKind::Attest)
            && self.blueprint.hardware_class.firmware.secure_boot != SecureBoot::None
        {
            self.say(
                Rule::NoProof,
                "nothing proves what it runs when it is back: add a check of kind `attest`",
            );
        }
        if checks.iter().all(|check| check.kind == CheckKind::Attest) {
            self.say(Rule::NoProof, "nothing shows that it does its work again: add a check of its process, its ports or by a person");
        }
        let mut seen = BTreeSet::new();
        for check in checks.iter().filter(|check| !seen.insert(&check.id)) {
            let what = format!("two checks are called `{}`: give one another id", check.id);
            self.say(Rule::DuplicateCheck, what);
        }
    }

    /// What keeps it from being used without a supervisor.
    fn for_real(&mut self, now_ms: u64) {
        let blueprint = self.blueprint;
        if blueprint.image.digest.as_ref().is_none_or(super::Digest::is_a_stand_in) {
            self.say(
                Rule::NoDigest,
                "no golden image is pinned: write its manifest's digest before it is released",
            );
        }
        if blueprint.hardware_class.qualified.as_ref().is_none_or(|one| one.expires.end_ms() <= now_ms) {
            let what = format!(
                "class `{}` was not qualified, or not lately: run hardware-class-qualification",
                blueprint.hardware_class.id
            );
            self.say(Rule::NotQualified, what);
        }
        if !blueprint.image.preserve.is_empty() {
            let what = format!(
                "{} stay as they are, and nobody verified them: what SR 3.4 says of it only contributes",
                blueprint.image.preserve.join(", ")
            );
            self.say(Rule::Preserves, what);
        }
        if blueprint.zone.conduit.is_none() {
            self.say(Rule::NoConduit, "no conduit leads from the appliance to its zone: name it");
        }
    }
}
