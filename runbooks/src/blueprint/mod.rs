//! A blueprint: what one kind of endpoint is, as a file that two people can review (schema `blueprint/v1`).
//!
//! Parsing refuses what has no meaning; [`lint`](lint::lint) says what is wrong, and what only keeps it from being used for real. It knows no site: what must
//! agree with a zone is asked with the zone in hand.

pub mod lint;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    assess::{
        catalogue::Req,
        zone::{Compensation, Declaration, Target},
    },
    measure::Phase,
    runbook::{
        Position,
        parse::{Length, ParseError, read_yaml},
    },
    target::Place,
};

/// The schema that this version reads.
pub const SCHEMA: &str = "blueprint/v1";

/// A parsed blueprint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blueprint {
    schema: String,
    /// Name, version, owner.
    pub metadata: Metadata,
    /// The computers that it is for.
    pub hardware_class: HardwareClass,
    /// Where they stand.
    pub zone: ZoneRef,
    /// The levels that their zone aims at.
    pub security_level: SecurityLevel,
    /// What they are returned to.
    pub image: ImageRef,
    /// Where the settings of one of them come from.
    pub config_restore: Option<ConfigRestore>,
    /// How they boot.
    pub boot: Boot,
    /// What their recovery is measured by.
    pub objectives: Objectives,
    /// What must be so before one is written.
    pub safety: Safety,
    /// What is kept before it is overwritten.
    #[serde(default)]
    pub forensics: Forensics,
    /// How one gets its identity back.
    pub enrolment: Enrolment,
    /// What is looked at for which requirement.
    #[serde(default)]
    pub controls: Vec<Control>,
    /// What people say of them.
    #[serde(default)]
    pub declared: Vec<Declaration>,
    /// What makes up for something.
    #[serde(default)]
    pub compensating: Vec<Compensation>,
    /// What is looked at when one is back.
    pub post_checks: Vec<PostCheck>,
    /// Who accepts it.
    pub acceptance: Acceptance,
    /// Where and how often it is rehearsed.
    pub drill: DrillRules,
}

impl Blueprint {
    /// Read a blueprint.
    ///
    /// # Errors
    /// The first thing that is wrong, with line and column.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let blueprint: Self = read_yaml(text)?;
        if blueprint.schema == SCHEMA {
            Ok(blueprint)
        } else {
            let at = Position { line: 1, column: 1 };
            Err(ParseError::Schema { wanted: SCHEMA, at, found: blueprint.schema })
        }
    }
}

/// Name, version, owner.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its version; higher supersedes lower.
    pub version: u32,
    /// What kind of asset.
    pub kind: Kind,
    /// Who answers for it.
    pub owner: String,
    /// The version that it takes the place of.
    pub supersedes: Option<u32>,
    /// The last day before somebody looks at it again.
    pub review_by: Option<crate::assess::zone::Day>,
}

/// Kinds of assets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Kind {
    Hmi,
    Historian,
    Directory,
    Ews,
    Laptop,
    Kiosk,
    Server,
}

impl Kind {
    /// Never recovered without a person: too much hangs on it.
    #[must_use]
    pub fn needs_a_person(self) -> bool {
        matches!(self, Self::Historian | Self::Directory | Self::Ews | Self::Server)
    }
}

/// The computers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareClass {
    /// Its name.
    pub id: String,
    /// What firmware they have.
    pub firmware: Firmware,
    /// Which disk is written.
    pub disk: Disk,
    /// The drill that showed that they boot and come back.
    pub qualified: Option<Qualified>,
}

/// What firmware.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firmware {
    /// The oldest version that boots over the network.
    pub min_version: Option<String>,
    /// Years of the certificates that it trusts.
    #[serde(default)]
    pub uefi_ca: Vec<u16>,
    /// Secure Boot.
    pub secure_boot: SecureBoot,
}

/// Secure Boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum SecureBoot {
    Required,
    IfPossible,
    /// The hardware has none; a reason stands under `compensating`.
    None,
}

/// Which disk. Never by a kernel's name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// How it is told apart.
    pub identify_by: Vec<DiskId>,
}

/// How a disk is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum DiskId {
    Wwn,
    Serial,
    /// There is one fixed disk and no other.
    SingleInternal,
}

/// The drill that qualified a class.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Qualified {
    /// The drill.
    pub drill: String,
    /// The last day on which it counts.
    pub expires: crate::assess::zone::Day,
}

/// Where they stand.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneRef {
    /// The zone's name.
    pub id: String,
    /// The conduit by which the appliance reaches it.
    pub conduit: Option<String>,
}

/// The levels aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityLevel {
    /// They must be the zone's.
    pub target: Target,
}

/// What they are returned to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRef {
    /// Its name.
    pub name: String,
    /// Its manifest's digest: `blake3:` or `sha256:` and 64 hex digits.
    pub digest: Option<Digest>,
    /// The channel that says which version is meant.
    pub channel: Option<String>,
    /// Partitions that stay as they are.
    #[serde(default)]
    pub preserve: Vec<String>,
    /// Values that each endpoint gets of its own.
    #[serde(default)]
    pub personalise: BTreeMap<String, String>,
}

/// A digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(String);

impl Digest {
    /// Only noughts: a stand-in and no digest.
    #[must_use]
    pub fn is_a_stand_in(&self) -> bool {
        self.0.split_once(':').is_some_and(|(_, hex)| hex.bytes().all(|byte| byte == b'0'))
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let hex = text.strip_prefix("blake3:").or_else(|| text.strip_prefix("sha256:"));
        let good = |hex: &str| {
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if hex.is_some_and(good) {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is no digest: write blake3: or sha256: and 64 lower-case hex digits"))
        }
    }
}

/// Where settings come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigRestore {
    /// From what.
    pub source: String,
    /// Older ones are too old: the RPO.
    pub max_age: Length,
    /// What is done when there is none.
    pub on_missing: OnMissing,
}

/// What is done when there are no settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum OnMissing {
    Ask,
    UseTemplate,
    Fail,
}

/// How they boot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// Ways, in order.
    pub order: Vec<BootWay>,
    /// How long a boot ticket is good.
    pub permit_valid: Length,
}

/// A way to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum BootWay {
    UefiHttp,
    UefiPxe,
    BiosPxe,
    LocalRecovery,
    Stick,
}

/// What a recovery is measured by.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objectives {
    /// 0 comes back first, 3 last.
    pub tier: u8,
    /// From declared to released.
    pub rto: Length,
    /// From triggered to proven.
    pub rto_machine: Length,
    /// Oldest acceptable settings.
    pub rpo: Length,
    /// What each phase may take.
    #[serde(default)]
    pub phases: BTreeMap<Phase, Length>,
}

/// What must be so before one is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Safety {
    /// States of the line in which it may be written.
    pub line_state: Vec<String>,
    /// The plant cannot do without it.
    pub essential_function: bool,
    /// The endpoint that does its work meanwhile.
    pub alternate: Option<String>,
}

/// What is kept before it is overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forensics {
    /// How much; none when absent.
    pub profile: Option<crate::runbook::Profile>,
    /// Never longer.
    pub budget: Length,
}

impl Default for Forensics {
    fn default() -> Self {
        Self { profile: None, budget: Length(0) }
    }
}

/// How one gets its identity back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// By which of the site's ways.
    pub profile: String,
    /// The old identity is worth nothing afterwards.
    pub revoke_previous: bool,
}

/// What is looked at for a requirement.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// The requirement.
    pub req: Req,
    /// The check.
    pub check: String,
    /// How long it speaks.
    pub ttl: Length,
}

/// A look at an endpoint that is back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostCheck {
    /// Its id.
    pub id: String,
    /// What is looked at.
    pub kind: CheckKind,
    /// What should be, or what a person is asked.
    pub expect: String,
}

/// What can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum CheckKind {
    Attest,
    Clock,
    Process,
    Listen,
    TagRead,
    Human,
}

/// Who accepts it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The role.
    pub by: String,
}

/// Where and how often it is rehearsed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillRules {
    /// Places where a drill may write.
    pub allowed_targets: Vec<Place>,
    /// How often at each.
    pub every: BTreeMap<Place, Length>,
}
