//! Alertmanager's webhook, version 4 (prometheus.io, "Configuration", `<webhook_config>`): alerts in a batch, each firing or resolved.
//!
//! It sends the same alert again every `repeat_interval`: fingerprint and start together are one alert that began once.

use serde_json::Value;

use super::{Class, Item, Rules, Said, Unreadable, json, key, name, reason, text};

pub fn read(rules: &Rules<'_>, body: &[u8]) -> Result<Vec<Item>, Unreadable> {
    let message = json(body)?;
    if text(&message, "version") != Some("4") {
        return Err(Unreadable::new("`version` must be \"4\""));
    }
    let Some(alerts) = message["alerts"].as_array() else {
        return Err(Unreadable::new("`alerts` is no list"));
    };
    let mut items: Vec<Item> = alerts.iter().map(|alert| said(rules, alert)).collect();
    let cut = message["truncatedAlerts"].as_u64().unwrap_or_default();
    if cut > 0 {
        items.push(Err(Unreadable::new(format!(
            "the sender left out {cut} alerts; raise `max_alerts` of its webhook, or group its alerts by endpoint"
        ))));
    }
    Ok(items)
}

fn said(rules: &Rules<'_>, alert: &Value) -> Item {
    let (labels, notes) = (&alert["labels"], &alert["annotations"]);
    let fingerprint = key(text(alert, "fingerprint"), "fingerprint")?;
    let began = key(text(alert, "startsAt"), "startsAt")?;
    let alert_name = text(labels, "alertname").unwrap_or("an alert without a name");
    let class = match text(alert, "status") {
        Some("firing") => rules.class(&[alert_name]),
        Some("resolved") => Class::Resolved,
        _ => return Err(Unreadable::new("an alert's `status` is neither `firing` nor `resolved`")),
    };
    let place = format!("labels.{}", rules.endpoint_label);
    Ok(Said {
        delivery: format!("{fingerprint}@{began}"),
        endpoint: name(text(labels, rules.endpoint_label), &place)?,
        class,
        reason: reason(text(notes, "summary").or_else(|| text(notes, "description")), alert_name),
    })
}
