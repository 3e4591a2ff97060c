//! From the text of a file (schema `runbook/v1`, YAML 1.2 core schema) to a [`Runbook`], or one error with line and column.
//!
//! Takes text; whoever calls reads the file. Unknown keys, duplicate keys, anchors' merge keys and a second document are refused. The
//! file's shape (`Raw…`) is apart from the [`Runbook`], and the conversion stands here only. What parses may still be wrong: see
//! [`super::lint`].

use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, Visitor},
};
use serde_saphyr::{Error as YamlError, Location, Spanned};

use super::{
    Condition, Inject, InjectKind, LaterKey, Limits, MaxFailures, ModeName, Objectives, OnFailure, Pass, Per,
    Position, Runbook, Selector, Step, Verb, Wave, span, with,
};
use crate::ids::StepId;

/// The schema that this version reads.
pub const SCHEMA: &str = "runbook/v1";

/// Largest text that is read: a runbook is written by people.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Why a text is not a runbook. Each says where, what and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than [`TEXT_BYTES_MAX`].
    #[error("the file is {bytes} bytes long: a runbook has at most {TEXT_BYTES_MAX}; split it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not YAML, or not of the right shape.
    #[error("{at}: {what}; mend that line")]
    Shape {
        /// Where.
        at: Position,
        /// What the YAML reader says.
        what: String,
    },
    /// Another schema.
    #[error(
        "{at}: schema is `{found}`, but this version reads `{wanted}`: write `schema: {wanted}` or use a newer version"
    )]
    Schema {
        /// What this version reads.
        wanted: &'static str,
        /// Where.
        at: Position,
        /// What it says.
        found: String,
    },
    /// A key that nobody knows.
    #[error("{at}: unknown key `{key}`: use one of {}, or remove it", expected.join(", "))]
    UnknownKey {
        /// Where.
        at: Position,
        /// The key.
        key: String,
        /// The keys that may stand there.
        expected: Vec<String>,
    },
    /// A word outside a closed list.
    #[error("{at}: `{word}` is not known here: use one of {}", expected.join(", "))]
    UnknownWord {
        /// Where.
        at: Position,
        /// The word.
        word: String,
        /// The words that may stand there.
        expected: Vec<String>,
    },
    /// A key that must be there.
    #[error("{at}: the key `{key}` is missing: add it")]
    MissingKey {
        /// Where, near.
        at: Position,
        /// The key.
        key: String,
    },
    /// The same key twice in one mapping.
    #[error("{at}: {what}; keep one of the two")]
    DuplicateKey {
        /// Where.
        at: Position,
        /// What the YAML reader says.
        what: String,
    },
    /// A step id that is not lower-case letters, digits and `-`.
    #[error(
        "{at}: `{id}` cannot be a step's id: use lower-case letters, digits and `-`, at most 40, a letter first"
    )]
    StepId {
        /// Where.
        at: Position,
        /// What it says.
        id: String,
    },
    /// A wrong argument under `with` or `in`.
    #[error("{at}: `{key}` of `{verb}`: {what}")]
    Argument {
        /// Where.
        at: Position,
        /// The step's verb.
        verb: Verb,
        /// The argument.
        key: String,
        /// What is wrong, and what to write.
        what: String,
    },
}

/// Read a runbook.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(text: &str) -> Result<Runbook, ParseError> {
    read_yaml::<RawRunbook>(text)?.into_runbook(text)
}

/// Read a file of ours: YAML 1.2, no key that nobody knows, no anchors' merge keys, one document.
pub(crate) fn read_yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, ParseError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ParseError::TooLong { bytes: text.len() });
    }
    let options = serde_saphyr::options! {
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| shape_error(&error))
}

/// The reader's error in our words.
fn shape_error(error: &YamlError) -> ParseError {
    let error = error.without_snippet();
    let at = error.location().map_or_else(Position::default, position);
    let words = |list: &[&'static str]| list.iter().map(|word| format!("`{word}`")).collect();
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            ParseError::UnknownKey { at, key: field.clone(), expected: words(expected) }
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            ParseError::UnknownWord { at, word: variant.clone(), expected: words(expected) }
        }
        YamlError::SerdeMissingField { field: "place", .. } => ParseError::Shape {
            at,
            what: "the key `place` is missing: write production, canary, spare_disk, bench or virtual".into(),
        },
        YamlError::SerdeMissingField { field, .. } => ParseError::MissingKey { at, key: (*field).to_owned() },
        YamlError::DuplicateMappingKey { key, .. } => ParseError::DuplicateKey {
            at,
            what: key
                .as_ref()
                .map_or_else(|| "a key stands twice".into(), |key| format!("`{key}` stands twice")),
        },
        other => ParseError::Shape { at, what: without_place(&other.to_string()) },
    }
}

/// The reader's text without its own mention of line and column: ours stands in front.
fn without_place(text: &str) -> String {
    let text = text.split(" at line ").next().unwrap_or(text);
    text.lines().next().unwrap_or(text).trim_end_matches(['.', ' ']).to_owned()
}

pub(super) fn position(location: Location) -> Position {
    Position { line: location.line(), column: location.column() }
}

/// A length of time in a file: `90s`, `12m`, `2h`, `7d`; milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length(pub u64);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        span::millis(&text).map(Self).ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is not a length of time: write a number and ms, s, m, h or d, such as 12m"
            ))
        })
    }
}

/// `10%` in a file.
fn percent(text: &str) -> Option<u8> {
    text.strip_suffix('%')?.parse().ok().filter(|percent| *percent <= 100)
}

pub(super) struct RawPass(Pass);

impl<'de> Deserialize<'de> for RawPass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match (text.as_str(), percent(&text)) {
            ("all", _) => Ok(Self(Pass::All)),
            (_, Some(percent)) => Ok(Self(Pass::Percent(percent))),
            _ => Err(de::Error::custom(format!("`{text}` is neither `all` nor a share such as \"90%\""))),
        }
    }
}

pub(super) struct RawMaxFailures(MaxFailures);

impl<'de> Deserialize<'de> for RawMaxFailures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrPercent;
        impl Visitor<'_> for NumberOrPercent {
            type Value = RawMaxFailures;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of endpoints such as 2, or a share such as \"10%\"")
            }
            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Self::Value, E> {
                let count = u32::try_from(count).map_err(|_| E::custom("that many endpoints cannot fail"))?;
                Ok(RawMaxFailures(MaxFailures::Count(count)))
            }
            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Self::Value, E> {
                let count = u64::try_from(count).map_err(|_| E::custom("fewer than none cannot fail"))?;
                self.visit_u64(count)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                percent(text).map(|percent| RawMaxFailures(MaxFailures::Percent(percent))).ok_or_else(|| {
                    E::custom(format!("`{text}` is neither a number nor a share such as \"10%\""))
                })
            }
        }
        deserializer.deserialize_any(NumberOrPercent)
    }
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RawRunbook {
    #[cfg_attr(test, schemars(with = "String"))]
    schema: Spanned<String>,
    metadata: RawMetadata,
    #[serde(default)]
    objectives: RawObjectives,
    #[serde(default)]
    select: RawSelect,
    modes: BTreeMap<ModeName, RawMode>,
    #[serde(default)]
    limits: RawLimits,
    #[cfg_attr(test, schemars(with = "Vec<RawStep>"))]
    steps: Vec<Spanned<RawStep>>,
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<RawStep>"))]
    finally: Vec<Spanned<RawStep>>,
    #[serde(default)]
    waves: Vec<RawWave>,
    #[serde(default)]
    injects: Vec<RawInject>,
    #[cfg_attr(test, schemars(with = "Option<serde_json::Value>"))]
    params: Option<Spanned<IgnoredAny>>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawMetadata {
    name: String,
    version: u32,
    title: BTreeMap<String, String>,
    owner: String,
    #[serde(default)]
    purpose: String,
    #[serde(default)]
    activates_when: Vec<String>,
    #[serde(default)]
    deactivates_when: Vec<String>,
    #[serde(default)]
    roles: BTreeMap<String, String>,
    #[serde(default)]
    contacts: Vec<String>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawObjectives {
    rto: Option<Length>,
    per_target_rto: Option<Length>,
    machine_rto: Option<Length>,
    rpo: Option<Length>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawSelect {
    #[serde(default, rename = "match")]
    matches: RawMatch,
    exclude: Option<RawExclude>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawMatch {
    kind: Option<String>,
    label: Option<String>,
    zone: Option<String>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawExclude {
    label: String,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawMode {
    #[serde(default)]
    select: RawSelect,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawLimits {
    max_parallel: Option<u32>,
    max_failures: Option<RawMaxFailures>,
    max_permits: Option<u32>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawWave {
    name: String,
    #[serde(rename = "match")]
    matches: Option<RawMatch>,
    size: Option<u32>,
    #[serde(default)]
    once: bool,
    soak: Option<Length>,
    pass: Option<RawPass>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawCondition {
    #[serde(default)]
    mode: Vec<ModeName>,
    #[serde(default)]
    chose: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawStep {
    #[cfg_attr(test, schemars(with = "String"))]
    id: Spanned<String>,
    uses: Verb,
    #[serde(default)]
    with: with::Arguments,
    #[serde(default, rename = "in")]
    instead: BTreeMap<ModeName, with::Arguments>,
    #[serde(default)]
    per: Per,
    #[serde(default)]
    needs: Vec<String>,
    timeout: Option<Length>,
    target: Option<Length>,
    retry: Option<RawRetry>,
    on_failure: Option<OnFailure>,
    on_timeout: Option<OnFailure>,
    #[serde(default, rename = "if")]
    condition: RawCondition,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawRetry {
    max: u32,
}

/// What goes wrong on purpose in a rehearsal; it ends by itself.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawInject {
    inject: InjectKind,
    /// The step with which it begins.
    at: String,
    /// How long.
    r#for: Length,
}

impl From<RawInject> for Inject {
    fn from(raw: RawInject) -> Self {
        Self { kind: raw.inject, at: StepId::new(raw.at), for_ms: raw.r#for.0 }
    }
}

impl RawRunbook {
    fn into_runbook(self, text: &str) -> Result<Runbook, ParseError> {
        if self.schema.value != SCHEMA {
            return Err(ParseError::Schema {
                wanted: SCHEMA,
                at: position(self.schema.referenced),
                found: self.schema.value,
            });
        }
        let steps = |raw: Vec<Spanned<RawStep>>| {
            raw.into_iter().map(RawStep::into_step).collect::<Result<Vec<_>, _>>()
        };
        let defaults = Limits::default();
        Ok(Runbook {
            source: text.to_owned(),
            name: self.metadata.name,
            version: self.metadata.version,
            digest: blake3::hash(text.as_bytes()).to_hex().to_string(),
            title: self.metadata.title,
            owner: self.metadata.owner,
            purpose: self.metadata.purpose.trim().to_owned(),
            activates_when: self.metadata.activates_when,
            deactivates_when: self.metadata.deactivates_when,
            roles: self.metadata.roles,
            contacts: self.metadata.contacts,
            objectives: Objectives {
                rto_ms: millis(self.objectives.rto),
                per_target_rto_ms: millis(self.objectives.per_target_rto),
                machine_rto_ms: millis(self.objectives.machine_rto),
                rpo_ms: millis(self.objectives.rpo),
            },
            select: self.select.into(),
            modes: self.modes.into_iter().map(|(mode, raw)| (mode, raw.select.into())).collect(),
            limits: Limits {
                max_parallel: self.limits.max_parallel.unwrap_or(defaults.max_parallel),
                max_failures: self.limits.max_failures.map_or(defaults.max_failures, |raw| raw.0),
                max_permits: self.limits.max_permits.unwrap_or(defaults.max_permits),
            },
            waves: self.waves.into_iter().map(Wave::from).collect(),
            steps: steps(self.steps)?,
            finally: steps(self.finally)?,
            injects: self.injects.into_iter().map(Inject::from).collect(),
            later: later([("params", self.params)]),
        })
    }
}

impl RawStep {
    fn into_step(raw: Spanned<Self>) -> Result<Step, ParseError> {
        let at = position(raw.referenced);
        let raw = raw.value;
        let id = step_id(&raw.id)?;
        let on_failure = raw.on_failure.unwrap_or(match raw.per {
            Per::Run => OnFailure::StopRun,
            Per::Target => OnFailure::Quarantine,
        });
        let instead = raw
            .instead
            .into_iter()
            .map(|(mode, over)| Ok((mode, raw.with.with_over(over).into_uses(raw.uses, at)?)))
            .collect::<Result<_, ParseError>>()?;
        Ok(Step {
            id,
            at,
            uses: raw.with.into_uses(raw.uses, at)?,
            instead,
            per: raw.per,
            needs: raw.needs.into_iter().map(StepId::new).collect(),
            timeout_ms: millis(raw.timeout).unwrap_or(raw.uses.default_timeout_ms()),
            target_ms: millis(raw.target),
            retries: raw.retry.map_or(0, |retry| retry.max),
            on_failure,
            on_timeout: raw.on_timeout.unwrap_or(on_failure),
            condition: Condition {
                modes: raw.condition.mode,
                chose: raw
                    .condition
                    .chose
                    .into_iter()
                    .map(|(step, option)| (StepId::new(step), option))
                    .collect(),
            },
        })
    }
}

impl From<RawSelect> for Selector {
    fn from(raw: RawSelect) -> Self {
        Self { exclude_label: raw.exclude.map(|exclude| exclude.label), ..raw.matches.into() }
    }
}

impl From<RawMatch> for Selector {
    fn from(raw: RawMatch) -> Self {
        Self { kind: raw.kind, label: raw.label, zone: raw.zone, exclude_label: None }
    }
}

impl From<RawWave> for Wave {
    fn from(raw: RawWave) -> Self {
        Self {
            name: raw.name,
            matches: raw.matches.map(Selector::from),
            size: raw.size,
            once: raw.once,
            soak_ms: millis(raw.soak).unwrap_or(0),
            pass: raw.pass.map_or(Pass::All, |raw| raw.0),
        }
    }
}

fn step_id(raw: &Spanned<String>) -> Result<StepId, ParseError> {
    let id = raw.value.as_str();
    let fits = id.len() <= 40
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fits {
        Ok(StepId::new(id))
    } else {
        Err(ParseError::StepId { at: position(raw.referenced), id: id.to_owned() })
    }
}

fn millis(length: Option<Length>) -> Option<u64> {
    length.map(|length| length.0)
}

fn later<const N: usize>(keys: [(&str, Option<Spanned<IgnoredAny>>); N]) -> Vec<LaterKey> {
    keys.into_iter()
        .filter_map(|(key, value)| Some(LaterKey { key: key.to_owned(), at: position(value?.referenced) }))
        .collect()
}
