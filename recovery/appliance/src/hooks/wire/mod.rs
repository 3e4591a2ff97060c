//! What sources send, one decoder a dialect: bytes in, [`Said`] out. Nothing here is believed yet.
//!
//! ```text
//! body, headers ─► standard │ github │ cloudevents │ alertmanager │ wazuh │ keylime │ redfish ─► [ Said | Unreadable ]
//! ```
//!
//! A message may say several things; each is read by itself, so that one wrong item of a batch does not hide the others.
//! Texts that people will read are made harmless here: no control characters, no characters that turn the direction of
//! writing, no more than a few hundred of them. JSON deeper than 128 levels is refused by the parser.
//!
//! This folder stands alone, for the fuzzer. It must never: look at a clock, a database or a configuration file.

use serde_json::Value;

mod alertmanager;
mod cloudevents;
mod github;
mod keylime;
mod redfish;
mod standard;
mod wazuh;

/// Things said in one message, at most.
pub const ITEMS_MOST: usize = 512;
/// Longest text for people, in characters.
const REASON_MOST: usize = 400;
/// Longest key of a delivery, in bytes; also the longest name of an endpoint.
const KEY_MOST: usize = 256;
/// We put this behind the key of a delivery that its source confirmed.
pub const CONFIRMED: &str = "#confirmed";
/// And this where its source said that it is over.
pub const RESOLVED: &str = "#resolved";
/// What the sources that speak our own words say of an endpoint whose integrity check failed.
pub const FAILED: &str = "endpoint.attestation.failed";
/// And of one that does not answer.
pub const UNREACHABLE: &str = "endpoint.unreachable";

/// What a source speaks: the one list of its kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// `{"type", "data": {"endpoint", "detail"}}` under a Standard Webhooks signature.
    #[default]
    Standard,
    /// Any JSON under `X-Hub-Signature-256`.
    Github,
    /// CloudEvents 1.0 over HTTP.
    CloudEvents,
    /// Alertmanager's webhook, version 4; Grafana's alerts are a superset of it.
    Alertmanager,
    /// An alert of Wazuh's integrator.
    Wazuh,
    /// The revocation notice of Keylime's verifier.
    Keylime,
    /// An event of a BMC (DSP0266 section 12).
    Redfish,
}

impl Dialect {
    /// Each, with its word in the configuration.
    pub const ALL: [(&'static str, Self); 7] = [
        ("standard", Self::Standard),
        ("github", Self::Github),
        ("cloudevents", Self::CloudEvents),
        ("alertmanager", Self::Alertmanager),
        ("wazuh", Self::Wazuh),
        ("keylime", Self::Keylime),
        ("redfish", Self::Redfish),
    ];

    /// As in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

/// How a source's words are read.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The dialect.
    pub dialect: Dialect,
    /// Types of event that mean: the integrity of this endpoint failed.
    pub integrity_types: &'a [String],
    /// Types of event that mean: it does not answer.
    pub unreachable_types: &'a [String],
    /// The label of an alert that names the endpoint (Alertmanager).
    pub endpoint_label: &'a str,
    /// Where the name of the endpoint is in the JSON (RFC 6901), where it is not where the dialect has it.
    pub endpoint_field: Option<&'a str>,
}

/// Headers that say something, as far as a dialect has any. Names in lower case.
pub trait Head {
    /// The value of a header, where there is one and it is text.
    fn get(&self, name: &str) -> Option<&str>;
}

/// What kind of thing was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// An integrity check failed.
    Integrity,
    /// The endpoint does not answer.
    Unreachable,
    /// Some other alert.
    Alert,
    /// To be written down, and nothing more.
    Notice,
    /// What was said under this key is over.
    Resolved,
}

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The same key again from the same source is the same thing said again; of [`Class::Resolved`], the key of what is over.
    pub delivery: String,
    /// How the source calls the endpoint.
    pub endpoint: String,
    /// What kind of thing.
    pub class: Class,
    /// Why, for people.
    pub reason: String,
}

/// Why a message, or one thing in it, cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

impl Unreadable {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// One thing of a message.
pub type Item = Result<Said, Unreadable>;

/// Read a message.
///
/// # Errors
/// [`Unreadable`]: not even the message around its items is what the dialect says.
pub fn read(rules: &Rules<'_>, head: &impl Head, body: &[u8]) -> Result<Vec<Item>, Unreadable> {
    let items = match rules.dialect {
        Dialect::Standard => vec![Ok(standard::read(rules, head, body)?)],
        Dialect::Github => vec![Ok(github::read(rules, body)?)],
        Dialect::CloudEvents => cloudevents::read(rules, head, body)?,
        Dialect::Alertmanager => alertmanager::read(rules, body)?,
        Dialect::Wazuh => vec![Ok(wazuh::read(rules, body)?)],
        Dialect::Keylime => vec![Ok(keylime::read(body)?)],
        Dialect::Redfish => redfish::read(rules, body)?,
    };
    match items.len() {
        0 => Err(Unreadable::new("the message says nothing about anything")),
        n if n > ITEMS_MOST => {
            Err(Unreadable::new(format!("the message has {n} items; at most {ITEMS_MOST} are taken at once")))
        }
        _ => Ok(items.into_iter().map(unreserved).collect()),
    }
}

/// Nobody else's key ends as ours do: it would be taken for our own note about another delivery.
fn unreserved(item: Item) -> Item {
    let said = item?;
    match [CONFIRMED, RESOLVED].into_iter().find(|suffix| said.delivery.ends_with(suffix)) {
        Some(suffix) => Err(Unreadable::new(format!(
            "the delivery's key ends in `{suffix}`, which only the appliance itself puts there"
        ))),
        None => Ok(said),
    }
}

/// The signed text inside a message of Keylime's and its signature, before anything in it is believed.
///
/// # Errors
/// [`Unreadable`].
pub fn keylime_envelope(body: &[u8]) -> Result<(String, String), Unreadable> {
    keylime::envelope(body)
}

impl Rules<'_> {
    fn class(&self, event_types: &[&str]) -> Class {
        let among = |list: &[String]| event_types.iter().any(|one| list.iter().any(|known| known == one));
        if among(self.integrity_types) {
            Class::Integrity
        } else if among(self.unreachable_types) {
            Class::Unreachable
        } else {
            Class::Alert
        }
    }

    /// The name of the endpoint: at the configured place of the document, or where the dialect has it.
    fn endpoint(&self, document: &Value, usual: Option<&str>, place: &str) -> Result<String, Unreadable> {
        let (found, place) = match self.endpoint_field {
            Some(field) => (document.pointer(field).and_then(Value::as_str), field),
            None => (usual, place),
        };
        name(found, place)
    }
}

/// A name of an endpoint as a source has it.
fn name(found: Option<&str>, place: &str) -> Result<String, Unreadable> {
    let found = found
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Unreadable::new(format!("no endpoint is named: there is no text at `{place}`")))?;
    if found.len() > KEY_MOST || found.chars().any(|c| c.is_control() || turns(c)) {
        let shown = clean(found, 60);
        return Err(Unreadable::new(format!("`{place}` holds no name of an endpoint: `{shown}`")));
    }
    Ok(found.to_owned())
}

/// A key of a delivery: short and without surprises.
fn key(found: Option<&str>, place: &str) -> Result<String, Unreadable> {
    let found = found.unwrap_or_default();
    if found.is_empty() || found.len() > KEY_MOST || found.chars().any(char::is_control) {
        return Err(Unreadable::new(format!(
            "`{place}` must name the delivery, in 1 to {KEY_MOST} printable bytes"
        )));
    }
    Ok(found.to_owned())
}

/// Zero-width characters and those that turn the direction of writing (Unicode UAX #9): they make one name look like another.
fn turns(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A text of a stranger, harmless on a terminal and in a table.
#[must_use]
pub fn clean(text: &str, most: usize) -> String {
    let mut cleaned = String::new();
    for c in text.chars().take(most) {
        cleaned.push(if c.is_control() { ' ' } else { c });
    }
    cleaned.retain(|c| !turns(c));
    let cleaned = cleaned.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().nth(most).is_some() { format!("{cleaned}…") } else { cleaned }
}

fn reason(text: Option<&str>, otherwise: &str) -> String {
    let text = text.filter(|text| !text.trim().is_empty()).unwrap_or(otherwise);
    clean(text, REASON_MOST)
}

/// A body that is one JSON document.
fn json(body: &[u8]) -> Result<Value, Unreadable> {
    serde_json::from_slice(body).map_err(|error| Unreadable::new(format!("the body is no JSON: {error}")))
}

/// A text of an object.
fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
pub mod tests;
