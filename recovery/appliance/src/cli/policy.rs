//! `groundstate policy try`: a configuration against what was reported before.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Subcommand;
use recovery_protocol::policy::{PolicyTried, PolicyTry, Would};

use super::{
    client::Client,
    fault::Fault,
    print,
    show::{moment, table},
};
use crate::cli::Output;

const DAY_MS: u64 = 24 * 3_600_000;

/// What to do with a policy.
#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// Say what a configuration would have made of what was reported; nothing is put into effect
    Try {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// So far back: `30d`, `12h`
        #[arg(long, default_value = "30d", value_parser = span_ms, value_name = "TIME")]
        since: u64,
    },
}

/// `30d`, `12h` in milliseconds.
fn span_ms(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no time; write days as 30d or hours as 12h");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = match unit {
        "d" => DAY_MS,
        "h" => DAY_MS / 24,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// Carry it out.
///
/// # Errors
/// What the appliance refuses, or a file that cannot be read.
pub fn act(client: &Client, verb: PolicyVerb, output: Output) -> Result<(), Fault> {
    let PolicyVerb::Try { config, since } = verb;
    let text = std::fs::read_to_string(&config)
        .map_err(|error| Fault::usage(&format!("{} cannot be read", config.display()), &error))?;
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    let wanted = PolicyTry { config: text, since_unix_ms: now.saturating_sub(since) };
    let tried: PolicyTried = client.post("/api/v1/policy/try", &wanted)?;
    print(output, &tried, |tried| show(tried, since))
}

fn show(tried: &PolicyTried, since: u64) -> String {
    let count = |would: Would| tried.counts.get(&would).copied().unwrap_or_default();
    let mut text = format!(
        "{} reports in {} days: {} recoveries would have begun by themselves, {} would have asked a person, {} endpoints quarantined, \
         {} joined an open recovery, {} nothing",
        tried.reports,
        since.div_ceil(DAY_MS),
        count(Would::Begin),
        count(Would::Ask),
        count(Would::Quarantine),
        count(Would::Join),
        count(Would::Observe),
    );
    let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
    for one in tried.replayed.iter().filter(|one| one.would == Would::Observe) {
        *by_rule.entry(&one.rule).or_default() += 1;
    }
    let rows: Vec<Vec<String>> = tried
        .replayed
        .iter()
        .filter(|one| one.would != Would::Observe)
        .map(|one| {
            let (at, endpoint) = (moment(one.at_unix_ms), one.endpoint.to_string());
            vec![at, endpoint, one.source.clone(), one.would.words().to_owned(), one.rule.clone()]
        })
        .collect();
    if !rows.is_empty() {
        text += "\n\n";
        text += &table(&["WHEN", "ENDPOINT", "SOURCE", "WOULD", "BECAUSE"], &rows);
    }
    if !by_rule.is_empty() {
        text += "\n\nnothing, because:";
        for (rule, times) in by_rule {
            text += &format!("\n{times:>6}  {rule}");
        }
    }
    if tried.left_out > 0 {
        text += &format!("\n\n{} older reports were left out.", tried.left_out);
    }
    text += "\n\nNot replayed:";
    for what in &tried.not_replayed {
        text += &format!("\n  {what}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_or_hours_and_nothing_else() {
        assert_eq!(span_ms("30d"), Ok(30 * DAY_MS));
        assert_eq!(span_ms("12h"), Ok(12 * 3_600_000));
        for wrong in ["", "d", "30", "30m", "-1d", "99999999999999999999d", "1 d", "é"] {
            assert!(span_ms(wrong).is_err(), "{wrong}");
        }
    }
}
