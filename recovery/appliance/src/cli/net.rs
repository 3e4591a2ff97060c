//! `groundstate net doctor`: who boots, who does not, and why.

use recovery_protocol::net::{AddressInUseView, BootDiagnosis, BootView, ForeignView, HopView, NetView};

use super::{
    args::NetVerb,
    client::Client,
    fault::Fault,
    print,
    show::{bytes, duration, moment, table},
};
use crate::cli::Output;

/// Act.
///
/// # Errors
/// [`Fault`]: the endpoint is unknown, or the appliance does not answer.
pub fn act(client: &Client, verb: NetVerb, output: Output) -> Result<(), Fault> {
    match verb {
        NetVerb::Doctor { endpoint: Some(endpoint), .. } => {
            let view: BootView = client.get(&format!("/api/v1/net/{endpoint}"))?;
            print(output, &view, boot)
        }
        NetVerb::Doctor { endpoint: None, probe } => {
            let view: NetView = match probe {
                true => client.post("/api/v1/net/probe", &serde_json::json!({}))?,
                false => client.get("/api/v1/net")?,
            };
            print(output, &view, net)
        }
    }
}

/// The boot network in one look.
#[must_use]
pub fn net(view: &NetView) -> String {
    let mut text = String::new();
    for interface in &view.interfaces {
        text.push_str(&format!("{}  {}  {}\n", interface.name, interface.address, interface.mode));
    }
    if view.interfaces.is_empty() {
        text.push_str("no interface is configured: no endpoint can boot from this appliance\n");
    }
    for server in &view.servers {
        text.push_str(&format!("{}\n", foreign(server)));
    }
    for used in &view.addresses_in_use {
        text.push_str(&format!("{}\n", address_in_use(used)));
    }
    let row = |view: &BootView| {
        vec![
            name(view),
            view.diagnosis.level.clone(),
            view.diagnosis.code.clone(),
            view.reached.clone(),
            view.diagnosis.missing.clone().unwrap_or_default(),
            view.chain.clone().unwrap_or_default(),
            view.last_unix_ms.map_or_else(|| "never".to_owned(), moment),
        ]
    };
    let head = ["ENDPOINT", "BOOT", "CAUSE", "REACHED", "MISSING", "CHAIN", "SEEN"];
    text.push('\n');
    text.push_str(&table(&head, &view.endpoints.iter().map(row).collect::<Vec<_>>()));
    for view in view.endpoints.iter().filter(|view| view.diagnosis.is_trouble()) {
        text.push_str(&format!("\n\n{}: {}", name(view), said(&view.diagnosis)));
    }
    text
}

/// One line of another server.
#[must_use]
pub fn foreign(view: &ForeignView) -> String {
    let (alarm, at) = (if view.alarm { "ALARM " } else { "" }, moment(view.last_unix_ms));
    format!("{alarm}{} on {}, last {at}: {}", view.server, view.interface, view.what)
}

/// One line of an address that somebody uses without a lease.
#[must_use]
pub fn address_in_use(view: &AddressInUseView) -> String {
    let AddressInUseView { interface, address, by, last_unix_ms, what, .. } = view;
    format!(
        "ALARM {address} on {interface}, last {}: in use by {by} without a lease; {what}",
        moment(*last_unix_ms)
    )
}

fn name(view: &BootView) -> String {
    match (&view.endpoint, view.mac) {
        (Some(endpoint), _) => endpoint.to_string(),
        (None, Some(mac)) => format!("({mac})"),
        (None, None) => "(nobody)".to_owned(),
    }
}

fn said(diagnosis: &BootDiagnosis) -> String {
    let mut text = diagnosis.cause.clone();
    if !diagnosis.remedy.is_empty() {
        text.push_str(&format!("\n  what now  {}", diagnosis.remedy));
    }
    for also in &diagnosis.also {
        text.push_str(&format!("\n  noticed   {also}"));
    }
    text
}

/// One endpoint's boot, hop by hop. Times are since the attempt began.
#[must_use]
pub fn boot(view: &BootView) -> String {
    let mut text = format!("{}: {}: {}", name(view), view.diagnosis.code, said(&view.diagnosis));
    let mut add = |what: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("\n{what:<9} {value}"));
        }
    };
    add("asks as", &view.firmware);
    add("chain", view.chain.as_deref().unwrap_or_default());
    add("offered", &view.offer);
    for tried in &view.chains {
        let worked = tried
            .worked_unix_ms
            .map_or_else(|| "never worked".to_owned(), |at| format!("worked {}", moment(at)));
        add(
            "history",
            &format!("{}: {worked}, failed {} times since", tried.chain, tried.failed_unix_ms.len()),
        );
    }
    add("ticket", if view.ticket { "live" } else { "none" });
    add("began", &view.begun_unix_ms.map(moment).unwrap_or_default());
    if let Some(missing) = &view.diagnosis.missing {
        add("missing", missing);
    }
    let begun = view.begun_unix_ms.unwrap_or_default();
    let row = |hop: &HopView| {
        vec![
            duration(hop.at_unix_ms.saturating_sub(begun)),
            hop.step.clone(),
            if hop.count > 1 { format!("{} x{}", hop.outcome, hop.count) } else { hop.outcome.clone() },
            if hop.bytes > 0 { bytes(hop.bytes) } else { String::new() },
            match hop.until_unix_ms.saturating_sub(hop.at_unix_ms) {
                0 => String::new(),
                took => duration(took),
            },
            hop.what.clone(),
        ]
    };
    if !view.hops.is_empty() {
        let head = ["AT", "STEP", "OUTCOME", "BYTES", "TOOK", "WHAT"];
        text.push_str("\n\n");
        text.push_str(&table(&head, &view.hops.iter().map(row).collect::<Vec<_>>()));
    }
    for line in &view.said {
        text.push_str(&format!("\n{}  {}", duration(line.at_unix_ms.saturating_sub(begun)), line.text));
    }
    for earlier in &view.earlier {
        let by = earlier.chain.as_deref().map(|chain| format!(" by {chain}")).unwrap_or_default();
        let (at, reached) = (moment(earlier.begun_unix_ms), &earlier.reached);
        text.push_str(&format!("\nbefore    {at}{by}, to “{reached}”: {}", earlier.cause));
    }
    text
}

#[cfg(test)]
mod tests {
    use recovery_protocol::operator::StatusView;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_in_use_is_told_by_the_doctor_and_by_the_status() {
        let used = json!({
            "interface": "10.0.0.1", "address": "10.0.0.50", "by": "02:00:00:00:00:08",
            "first_unix_ms": 1, "last_unix_ms": 2, "count": 1, "what": "take it out of the pool",
        });
        let line = "ALARM 10.0.0.50 on 10.0.0.1, last 1970-01-01";
        let view = json!({ "interfaces": [], "servers": [], "addresses_in_use": [used], "endpoints": [] });
        let doctor = net(&serde_json::from_value(view).unwrap());
        assert!(doctor.contains(line) && doctor.contains("in use by 02:00:00:00:00:08"), "{doctor}");
        let status: StatusView = serde_json::from_value(json!({
            "site": "s", "version": "1", "up_seconds": 1, "endpoints": 0, "jobs_working": 0, "jobs_held": 0,
            "addresses_in_use": [used],
        }))
        .unwrap();
        let told = crate::cli::show::status(&status, "-");
        assert!(told.contains(line) && told.ends_with("take it out of the pool"), "{told}");
    }
}
