//! The revocation notice of Keylime's verifier, as `keylime/revocation_notifier.py` sends it: JSON in a string of JSON.
//!
//! ```json
//! {"msg": "{\"type\": \"revocation\", \"agent_id\": \"…\", \"event_time\": \"…\", …}", "signature": "<base64, or empty>"}
//! ```
//!
//! Only `revocation` says that evidence came and did not verify. `comm_error` says that nothing came; the event attached to it may be
//! another agent's. `event_time` has no zone and `context` is the endpoint's own text: neither decides anything.

use serde_json::Value;

use super::{Class, Item, Said, Unreadable, json, key, name, reason, text};

pub fn envelope(body: &[u8]) -> Result<(String, String), Unreadable> {
    let message = json(body)?;
    let inner = text(&message, "msg").ok_or_else(|| Unreadable::new("there is no `msg`"))?;
    Ok((inner.to_owned(), text(&message, "signature").unwrap_or_default().to_owned()))
}

pub fn read(body: &[u8]) -> Item {
    let (inner, _) = envelope(body)?;
    let notice: Value = serde_json::from_str(&inner)
        .map_err(|error| Unreadable::new(format!("`msg` holds no JSON: {error}")))?;
    let agent = name(text(&notice, "agent_id"), "agent_id")?;
    let (class, told) = match text(&notice, "type") {
        Some("revocation") => (Class::Integrity, text(&notice, "event_id").unwrap_or("revocation")),
        Some("comm_error") => (Class::Unreachable, "Keylime cannot reach its agent"),
        other => {
            let other = super::clean(other.unwrap_or("nothing"), 40);
            return Err(Unreadable::new(format!(
                "`type` is `{other}`; `revocation` and `comm_error` are known"
            )));
        }
    };
    let when = key(text(&notice, "event_time"), "event_time")?;
    Ok(Said {
        // The verifier sends a notice again until it is answered 200: the same text is the same notice.
        delivery: Value::from(vec![agent.as_str(), told, &when]).to_string(),
        endpoint: agent,
        class,
        reason: reason(Some(&format!("Keylime: {told}")), "Keylime"),
    })
}
