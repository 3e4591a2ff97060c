//! GitHub's form of a webhook: any JSON. Its signature is over the body alone.
//!
//! So nothing is read from `X-GitHub-Event` and `X-GitHub-Delivery`: whoever has one signed body could put anything there. The body
//! itself is the delivery's key (a redelivery is the same body), and its `type` the type; one without is an alert.

use ring::digest;

use super::{Item, Rules, Said, json, reason, text};

pub fn read(rules: &Rules<'_>, body: &[u8]) -> Item {
    let message = json(body)?;
    let event_type = text(&message, "type");
    let data = &message["data"];
    let hash = digest::digest(&digest::SHA256, body);
    Ok(Said {
        delivery: hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        endpoint: rules.endpoint(&message, text(data, "endpoint"), "/data/endpoint")?,
        class: rules.class(event_type.as_slice()),
        reason: reason(text(data, "detail"), event_type.unwrap_or("an event without a `type`")),
    })
}
