//! The arguments of a step (`with`, and `in` per mode): which the verb knows, and what they may hold.
//!
//! Each value keeps its place in the file, so that a wrong one is named with line and column. A verb that this version cannot run
//! takes any argument: the lint refuses the verb, and one sentence is enough.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{
    Approval, Attest, CheckItem, Position, ReportKind, Uses, Verb,
    parse::{ParseError, position},
};

/// What stands under `with`.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Arguments(BTreeMap<String, Spanned<Value>>);

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
            Verb::Isolate
            | Verb::Capture
            | Verb::Enrol
            | Verb::Accept
            | Verb::Release
            | Verb::Wait
            | Verb::Decide
            | Verb::Call => return Ok(Uses::Later { which: verb }),
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

    fn approval(&mut self) -> Result<Approval, ParseError> {
        #[derive(Deserialize, PartialEq)]
        #[serde(rename_all = "snake_case")]
        enum Distinct {
            Requester,
            EachOther,
        }
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
