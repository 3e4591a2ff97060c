//! CloudEvents 1.0 in HTTP ("HTTP Protocol Binding" 1.0.2, section 3): structured, batch, binary.
//!
//! A delivery is `source` and `id` together ("CloudEvents" 1.0.2, section 3.1: producers must make that unique). The endpoint
//! is the `subject`, or stands in the data.

use serde_json::Value;

use super::{Head, Item, Rules, Said, Unreadable, json, key, reason, text};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

pub fn read(rules: &Rules<'_>, head: &impl Head, body: &[u8]) -> Result<Vec<Item>, Unreadable> {
    let content_type = head.get("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        STRUCTURED => Ok(vec![structured(rules, &json(body)?)]),
        BATCH => match json(body)? {
            Value::Array(events) => Ok(events.iter().map(|event| structured(rules, event)).collect()),
            _ => Err(Unreadable::new("a batch of events is a JSON array")),
        },
        _ if head.get("ce-specversion").is_some() => Ok(vec![binary(rules, head, body)]),
        _ => Err(Unreadable::new(format!(
            "this is no CloudEvent: send `{STRUCTURED}`, `{BATCH}`, or the headers `ce-…`"
        ))),
    }
}

fn structured(rules: &Rules<'_>, event: &Value) -> Item {
    said(rules, |attribute| text(event, attribute).map(str::to_owned), &event["data"])
}

fn binary(rules: &Rules<'_>, head: &impl Head, body: &[u8]) -> Item {
    // Data of another kind may name nobody, but it is no error: the subject does.
    let data = serde_json::from_slice(body).unwrap_or(Value::Null);
    said(rules, |attribute| head.get(&format!("ce-{attribute}")).map(unescaped), &data)
}

fn said(rules: &Rules<'_>, attribute: impl Fn(&str) -> Option<String>, data: &Value) -> Item {
    let version = attribute("specversion").unwrap_or_default();
    if version != "1.0" {
        return Err(Unreadable::new("`specversion` must be 1.0"));
    }
    let (id, source) = (attribute("id"), attribute("source"));
    let event_type = key(attribute("type").as_deref(), "type")?;
    // As a JSON array, since a plain joint could be put elsewhere by whoever chooses both.
    let pair = Value::from(vec![key(source.as_deref(), "source")?, key(id.as_deref(), "id")?]).to_string();
    let subject = attribute("subject");
    Ok(Said {
        delivery: pair,
        endpoint: rules.endpoint(data, subject.as_deref(), "subject")?,
        class: rules.class(&[&event_type]),
        reason: reason(text(data, "detail").or_else(|| text(data, "reason")), &event_type),
    })
}

/// A header's value is percent-encoded (HTTP Protocol Binding 1.0.2, section 3.1.3.2). What is no encoding stays as it is.
fn unescaped(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
