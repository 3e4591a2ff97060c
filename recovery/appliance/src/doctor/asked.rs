//! The appliance, over its API: what it says of itself, and what only it knows.

use recovery_protocol::{net::NetView, operator::StatusView};

use super::{Asked, DAY_MS, Finding, Scene, Severity, ago};
use crate::cli::{Code, Fault, verified_log};

/// What needs an answer, and is unknown without one.
const ALL: &[&str] = &[
    "stop",
    "reviews",
    "backup",
    "drill",
    "evidence-anchor",
    "evidence",
    "foreign-dhcp",
    "addresses",
    "notify",
    "sinks",
    "boots",
];

/// All of it.
pub fn look(scene: &Scene<'_>, client: Asked<'_>) -> Vec<Finding> {
    const CHECK: &str = "api";
    let answered = client.map_err(ToString::to_string).and_then(|client| {
        match client.get::<StatusView>("/api/v1/status") {
            Ok(status) => Ok((client, status)),
            Err(fault) => Err(fault.to_string()),
        }
    });
    let (client, status) = match answered {
        Ok(answered) => answered,
        Err(why) => {
            let remedy = "start it (`systemctl start groundstate`), or correct --url, --pin and --token-file";
            let api = Finding::failure(CHECK, one_line(&why), remedy);
            let unknown = ALL.iter().map(|check| Finding::unknown(check, "the appliance did not answer", ""));
            return std::iter::once(api).chain(unknown).collect();
        }
    };
    let mut found = vec![api(&status)];
    found.extend(standing(&status));
    found.extend(network(client.get("/api/v1/net")));
    found.extend(told(scene, &status));
    match client.get_text("/metrics") {
        Ok(text) => found.extend(ages(&text, scene.now_unix_ms)),
        Err(fault) => found.extend(["backup", "drill", "evidence-anchor"].map(|check| denied(check, &fault))),
    }
    found.push(evidence(verified_log(client)));
    found
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

/// It was not let in there: not known, and why.
fn denied(check: &'static str, fault: &Fault) -> Finding {
    Finding::unknown(check, one_line(&fault.to_string()), "ask with the token of an auditor or an admin")
}

fn api(status: &StatusView) -> Finding {
    const CHECK: &str = "api";
    let ours = env!("CARGO_PKG_VERSION");
    let evidence = format!("{} answers, version {}, up {} s", status.site, status.version, status.up_seconds);
    match status.version == ours {
        true => Finding::ok(CHECK, evidence),
        false => Finding::warning(
            CHECK,
            format!("{evidence}; this program is {ours}"),
            "use the appliance's own version",
        ),
    }
}

/// What stands in the way of every order.
fn standing(status: &StatusView) -> Vec<Finding> {
    let stop = match &status.stop {
        None => Finding::ok("stop", "STOP does not stand"),
        Some(stop) => Finding::failure(
            "stop",
            format!("{} pressed STOP: {}; {} jobs held", stop.pressed_by, stop.reason, stop.jobs_held),
            "find out why; two people release it: `groundstate stop release --reason …`",
        ),
    };
    let overdue = status.reviews.iter().filter(|review| review.overdue).count();
    let evidence = format!(
        "{} recoveries without their approval wait for a review, {overdue} too long",
        status.reviews.len()
    );
    let severity = match (status.reviews.len(), overdue) {
        (0, _) => Severity::Ok,
        (_, 0) => Severity::Warning,
        _ => Severity::Failure,
    };
    vec![
        stop,
        Finding::of(
            "reviews",
            severity,
            evidence,
            "have another person say what they think: `groundstate job review`",
        ),
    ]
}

/// Who else is on the boot network, and who does not boot.
fn network(net: Result<NetView, Fault>) -> Vec<Finding> {
    let net = match net {
        Ok(net) => net,
        Err(fault) => {
            return ["foreign-dhcp", "addresses", "boots"].map(|check| denied(check, &fault)).to_vec();
        }
    };
    let listen = "no interface is served, so nobody was listened to";
    if net.interfaces.is_empty() {
        let remedy = "add an [[interfaces]] entry to the configuration";
        return ["foreign-dhcp", "addresses", "boots"]
            .map(|check| Finding::unknown(check, listen, remedy))
            .to_vec();
    }
    let (alarms, quiet): (Vec<_>, Vec<_>) = net.servers.iter().partition(|server| server.alarm);
    let foreign = match alarms.first() {
        None => Finding::ok(
            "foreign-dhcp",
            format!(
                "{} other servers were overheard since the start, none in the way; `groundstate net doctor --probe` asks for more",
                quiet.len()
            ),
        ),
        Some(first) => Finding::failure(
            "foreign-dhcp",
            format!("{} in the way, such as {}: {}", alarms.len(), first.server, first.what),
            "switch it off, or choose `dhcp = \"proxy\"` beside it",
        ),
    };
    let used = match net.addresses_in_use.first() {
        None => Finding::ok("addresses", "nobody uses an address of the pools without a lease"),
        Some(used) => Finding::warning(
            "addresses",
            format!("{} is used by {}: {}", used.address, used.by, used.what),
            "keep that address out of the pool",
        ),
    };
    let trouble: Vec<String> = net
        .endpoints
        .iter()
        .filter(|view| view.diagnosis.is_trouble() && view.endpoint.is_some())
        .map(|view| {
            let name = view.endpoint.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{name} ({})", view.diagnosis.code)
        })
        .collect();
    let boots = match trouble.is_empty() {
        true => Finding::ok("boots", format!("{} endpoints, no boot is in trouble", net.endpoints.len())),
        false => Finding::warning(
            "boots",
            trouble.join(", "),
            "look hop by hop: `groundstate net doctor ENDPOINT`",
        ),
    };
    vec![foreign, used, boots]
}

/// Who is told what happens: people's channels, whoever follows the evidence, the depot.
fn told(scene: &Scene<'_>, status: &StatusView) -> Vec<Finding> {
    let test = "`groundstate notify test NAME` says why it takes nothing";
    let mut found: Vec<Finding> = status
        .channels
        .iter()
        .map(|channel| match (channel.failure.as_str(), channel.delivered_unix_ms) {
            ("", Some(at)) => {
                let age = ago(scene.now_unix_ms.saturating_sub(at));
                Finding::ok("notify", format!("{} took its last message {age}", channel.name))
            }
            ("", None) => Finding::warning("notify", format!("{} never took a message", channel.name), test),
            (why, _) => Finding::failure(
                "notify",
                format!("{}: {why}; {} messages wait", channel.name, channel.waiting),
                test,
            ),
        })
        .collect();
    if found.is_empty() {
        let remedy = "name a channel under [notify.channels]: who is on duty should not have to look";
        found.push(Finding::warning("notify", "nobody is told what happens", remedy));
    }
    found.extend(status.sinks.iter().filter(|sink| !sink.trouble.is_empty() || sink.dead > 0).map(|sink| {
        let evidence = format!(
            "{}: {} entries behind, {} refused for good: {}",
            sink.name, sink.behind, sink.dead, sink.trouble
        );
        Finding::warning("sinks", evidence, "look at the receiver; what it has not got waits here")
    }));
    if !found.iter().any(|finding| finding.check == "sinks") {
        found.push(Finding::ok(
            "sinks",
            format!("{} follow the evidence, none is in trouble", status.sinks.len()),
        ));
    }
    if let Some(depot) = &status.depot {
        found.push(match depot.trouble.as_str() {
            "" => Finding::ok("depot", format!("{} is reached", depot.place)),
            why => Finding::warning(
                "depot",
                format!("{}: {why}", depot.place),
                "`groundstate image depot probe` says what it lacks",
            ),
        });
    }
    found
}

/// Backup, drill, anchor, out of the figures of `/metrics`.
fn ages(text: &str, now_ms: u64) -> Vec<Finding> {
    // All three are whole seconds.
    let ms = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.trim().parse::<u64>().ok().map(|seconds| seconds.saturating_mul(1000))
    };
    let last = |check: &'static str, name: &str, most_days: u64, what: &str, remedy: &str| match ms(name) {
        None => Finding::unknown(
            check,
            format!("{name} is not among the figures"),
            "use the appliance's own version",
        ),
        Some(0) => Finding::warning(check, format!("{what} never was"), remedy),
        Some(at) => {
            let age = now_ms.saturating_sub(at);
            let severity = if age > most_days * DAY_MS { Severity::Warning } else { Severity::Ok };
            Finding::of(check, severity, format!("{what} was {}", ago(age)), remedy)
        }
    };
    let anchor = match ms("groundstate_evidence_anchor_age_seconds") {
        None => Finding::unknown(
            "evidence-anchor",
            "it is not among the figures",
            "use the appliance's own version",
        ),
        Some(0) => Finding::ok("evidence-anchor", "all evidence is anchored"),
        Some(age) => {
            let severity = match age {
                0..7_200_000 => Severity::Ok,
                7_200_000..172_800_000 => Severity::Warning,
                _ => Severity::Failure,
            };
            let evidence = format!("the oldest entry without an anchor was written {}", ago(age));
            Finding::of(
                "evidence-anchor",
                severity,
                evidence,
                "look whether the anchor file can be written (`anchor_file`)",
            )
        }
    };
    vec![
        last(
            "backup",
            "groundstate_backup_last_success_timestamp_seconds",
            7,
            "the last backup",
            "`groundstate backup FILE`, and keep it elsewhere",
        ),
        last(
            "drill",
            "groundstate_drill_last_success_timestamp_seconds",
            100,
            "the last drill that recovered an endpoint",
            "`groundstate drill run quarterly-hmi-drill --endpoint NAME`",
        ),
        anchor,
    ]
}

/// The whole evidence log, read and checked here.
fn evidence(verified: Result<(u64, u64), Fault>) -> Finding {
    const CHECK: &str = "evidence";
    match verified {
        Ok((entries, signed)) => {
            Finding::ok(CHECK, format!("{entries} entries, signed up to entry {signed}; verified now"))
        }
        Err(fault) if fault.code == Code::Integrity => Finding::failure(
            CHECK,
            one_line(&fault.to_string()),
            "keep the log as it is, and compare it with an export",
        ),
        Err(fault) => denied(CHECK, &fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_out_of_the_figures_and_what_is_not_there_is_unknown() {
        let now = 400 * DAY_MS;
        let text = format!(
            "# HELP x\ngroundstate_backup_last_success_timestamp_seconds {}\ngroundstate_drill_last_success_timestamp_seconds 0\n",
            (now - 30 * DAY_MS) / 1000
        );
        let found = ages(&text, now);
        let of = |check| found.iter().find(|finding| finding.check == check).unwrap();
        assert_eq!(of("backup").severity, Severity::Warning);
        assert!(of("backup").evidence.contains("30 days ago"), "{:?}", of("backup"));
        assert!(of("drill").evidence.contains("never"));
        assert_eq!(of("evidence-anchor").severity, Severity::Unknown);
    }
}
