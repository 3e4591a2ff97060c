//! Wazuh's integrator: the alert as the manager writes it, or inside the `all_fields` of its Shuffle integration.
//!
//! Its types of event are the rule's number and the rule's groups.

use super::{Item, Rules, Said, Unreadable, json, key, reason, text};

pub fn read(rules: &Rules<'_>, body: &[u8]) -> Item {
    let message = json(body)?;
    let alert = message.get("all_fields").unwrap_or(&message);
    let rule = &alert["rule"];
    let number = text(rule, "id").ok_or_else(|| Unreadable::new("there is no `rule.id`"))?;
    let groups = rule["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let event_types: Vec<&str> =
        std::iter::once(number).chain(groups.iter().filter_map(|group| group.as_str())).collect();
    Ok(Said {
        delivery: key(text(alert, "id"), "id")?,
        endpoint: rules.endpoint(alert, text(&alert["agent"], "name"), "agent.name")?,
        class: rules.class(&event_types),
        reason: reason(text(rule, "description"), &format!("rule {number}")),
    })
}
