//! GitHub's form of a webhook: any JSON, the event's type in `X-GitHub-Event`, the delivery in `X-GitHub-Delivery`.
//!
//! The type is read from the body's `type` where there is one, as in our own words, and else from the header.

use super::{Head, Item, Rules, Said, Unreadable, json, key, reason, text};

pub fn read(rules: &Rules<'_>, head: &impl Head, body: &[u8]) -> Item {
    let delivery = key(head.get("x-github-delivery"), "X-GitHub-Delivery")?;
    let message = json(body)?;
    let event_type = text(&message, "type")
        .or_else(|| head.get("x-github-event"))
        .ok_or_else(|| Unreadable::new("there is neither a `type` nor a header `X-GitHub-Event`"))?;
    let data = &message["data"];
    Ok(Said {
        delivery,
        endpoint: rules.endpoint(&message, text(data, "endpoint"), "/data/endpoint")?,
        class: rules.class(&[event_type]),
        reason: reason(text(data, "detail"), event_type),
    })
}
