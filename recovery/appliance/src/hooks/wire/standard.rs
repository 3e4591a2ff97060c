//! Our own words: `{"type": "endpoint.attestation.failed", "data": {"endpoint": "press-01", "detail": "PCR 4 differs"}}`.

use super::{Head, Item, Rules, Said, Unreadable, json, key, reason, text};

pub fn read(rules: &Rules<'_>, head: &impl Head, body: &[u8]) -> Item {
    let delivery = key(head.get("webhook-id"), "webhook-id")?;
    let message = json(body)?;
    let event_type = text(&message, "type").ok_or_else(|| Unreadable::new("there is no `type`"))?;
    let data = &message["data"];
    Ok(Said {
        delivery,
        endpoint: rules.endpoint(&message, text(data, "endpoint"), "/data/endpoint")?,
        class: rules.class(&[event_type]),
        reason: reason(text(data, "detail"), event_type),
    })
}
