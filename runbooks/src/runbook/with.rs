//! The arguments of a step (`with`, and `in` per mode): which the verb knows, and what they may hold.
//!
//! Each value keeps its place in the file, so that a wrong one is named with line and column. A verb that this version cannot run
//! takes any argument: the lint refuses the verb, and one sentence is enough.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{
    Approval, Attest, CheckItem, OnUnreachable, Position, Profile, ReportKind, Uses, Verb,
    parse::{Length, ParseError, position},
};

/// How long data about the cause is kept when the file does not say.
const CAPTURE_BUDGET_MS: u64 = 90_000;

/// What the person first looks at before an endpoint is isolated.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) enum IfEssential {
    /// That another panel is alive.
    ConfirmLocal,
}

/// From whom who approves must be another person.
#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) enum Distinct {
    /// Who asked for the run.
    Requester,
    /// Each other, which always holds.
    EachOther,
}

/// What stands under `with`.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Arguments(
    #[cfg_attr(test, schemars(with = "BTreeMap<String, Value>"))] BTreeMap<String, Spanned<Value>>,
);

impl Arguments {
    /// These arguments, where `over` replaces those it names.
    pub(super) fn with_over(&self, over: Self) -> Self {
        let mut merged = self.clone();
        merged.0.extend(over.0);
        merged
    }

    /// The verb with these arguments. `at` is the step's place, for what is missing.
    pub(super) fn into_uses(self, verb: Verb, at: Position) -> Result<Uses, ParseError> {
        let mut take = Take { verb, at, left: self.0, known: Vec::new() };
        let uses = match verb {
            Verb::Check => Uses::Check { set: take.set()? },
            Verb::Approve => Uses::Approve(take.approval()?),
            Verb::Notify => Uses::Notify { to: take.required("to")?, text: take.required("text")? },
            Verb::Manual => Uses::Manual {
                text: take.required("text")?,
                checklist: take.optional("checklist")?.unwrap_or_default(),
            },
            Verb::Reimage => Uses::Reimage,
            Verb::Verify => Uses::Verify { attest: take.optional("attest")?.unwrap_or(Attest::Required) },
            Verb::Report => Uses::Report { kind: take.optional("kind")?.unwrap_or(ReportKind::RunReport) },
            Verb::Isolate => Uses::Isolate {
                to: take.required("to")?,
                confirm_local: take.optional::<IfEssential>("if_essential")?.is_some(),
            },
            Verb::Capture => Uses::Capture {
                profile: take.optional("profile")?.unwrap_or(Profile::Quick),
                budget_ms: take.optional::<Length>("budget")?.map_or(CAPTURE_BUDGET_MS, |length| length.0),
            },
            Verb::Enrol => Uses::Enrol {
                revoke_previous: take.optional("revoke_previous")?.unwrap_or(true),
                on_unreachable: take.optional("on_unreachable")?.unwrap_or(OnUnreachable::Fail),
            },
            Verb::Accept => Uses::Accept { by: take.required("by")?, question: take.required("question")? },
            Verb::Release => Uses::Release { to: take.required("to")? },
            Verb::Wait => Uses::Wait { for_ms: take.required::<Length>("for")?.0 },
            Verb::Decide => Uses::Decide { text: take.required("text")?, options: take.options()? },
            Verb::Call => return Ok(Uses::Later { which: verb }),
        };
        take.done()?;
        Ok(uses)
    }
}

/// Takes arguments out one by one, so that what is left is what nobody knows.
struct Take {
    verb: Verb,
    at: Position,
    left: BTreeMap<String, Spanned<Value>>,
    known: Vec<&'static str>,
}

impl Take {
    fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Option<T>, ParseError> {
        self.known.push(key);
        let Some(value) = self.left.remove(key) else { return Ok(None) };
        let at = position(value.referenced);
        serde_json::from_value(value.value).map(Some).map_err(|error| ParseError::Argument {
            at,
            verb: self.verb,
            key: key.to_owned(),
            what: error.to_string(),
        })
    }

    fn required<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<T, ParseError> {
        self.optional(key)?.ok_or_else(|| self.wrong(key, "it is missing: add it under `with`"))
    }

    fn set(&mut self) -> Result<Vec<CheckItem>, ParseError> {
        let set: Vec<CheckItem> = self.required("set")?;
        if set.is_empty() {
            Err(self.wrong("set", "it is empty: name at least one fact to check"))
        } else {
            Ok(set)
        }
    }

    fn options(&mut self) -> Result<Vec<String>, ParseError> {
        let options: Vec<String> = self.required("options")?;
        let distinct: std::collections::BTreeSet<&String> = options.iter().collect();
        if options.len() < 2 || distinct.len() != options.len() {
            Err(self.wrong("options", "who chooses has at least two ways, each named once: name them"))
        } else {
            Ok(options)
        }
    }

    fn approval(&mut self) -> Result<Approval, ParseError> {
        let distinct: Vec<Distinct> = self.optional("distinct")?.unwrap_or_default();
        Ok(Approval {
            min: self.optional("min")?.unwrap_or(1),
            roles: self.optional("roles")?.unwrap_or_default(),
            not_requester: distinct.contains(&Distinct::Requester),
        })
    }

    fn wrong(&self, key: &str, what: &str) -> ParseError {
        ParseError::Argument { at: self.at, verb: self.verb, key: key.to_owned(), what: what.to_owned() }
    }

    fn done(self) -> Result<(), ParseError> {
        let Some((key, value)) = self.left.into_iter().next() else { return Ok(()) };
        let what = if self.known.is_empty() {
            "this verb takes no argument: remove it".to_owned()
        } else {
            format!("unknown argument: use {}, or remove it", self.known.join(", "))
        };
        Err(ParseError::Argument { at: position(value.referenced), verb: self.verb, key, what })
    }
}
