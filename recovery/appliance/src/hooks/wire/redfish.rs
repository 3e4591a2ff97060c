//! Events of a BMC (DSP0266, Event schema): evidence, never a reason to act, since delivery is not promised and a BMC tells no integrity.
//!
//! An event does not say whose it is; the subscriber's own `Context` comes back with it and names the endpoint.

use serde_json::Value;

use super::{Class, Item, Rules, Said, Unreadable, clean, json, key, reason, text};

pub fn read(rules: &Rules<'_>, body: &[u8]) -> Result<Vec<Item>, Unreadable> {
    let message = json(body)?;
    let Some(events) = message["Events"].as_array() else {
        return Err(Unreadable::new("`Events` is no list"));
    };
    Ok(events.iter().map(|event| said(rules, &message, event)).collect())
}

fn said(rules: &Rules<'_>, message: &Value, event: &Value) -> Item {
    let endpoint = rules.endpoint(message, text(message, "Context"), "Context")?;
    let number = text(event, "EventId").or_else(|| text(event, "MemberId"));
    let number = key(number.or_else(|| text(message, "Id")), "EventId")?;
    let when = clean(text(event, "EventTimestamp").unwrap_or_default(), 40);
    let id = clean(text(event, "MessageId").unwrap_or("an event"), 80);
    Ok(Said {
        delivery: Value::from(vec![endpoint.as_str(), &number, &when]).to_string(),
        endpoint,
        class: Class::Notice,
        reason: reason(text(event, "Message"), &id),
    })
}
