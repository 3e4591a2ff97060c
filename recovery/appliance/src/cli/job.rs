//! `groundstate job list`, `job log`: jobs by what is asked of them, and what happened in one.

use clap::Args;
use recovery_protocol::{EndpointId, JobId, history::StepView, job::JobState, operator::JobView};

use super::{
    client::Client,
    fault::Fault,
    pages::{self, Much, Watch},
    print, show,
};
use crate::cli::Output;

/// Which jobs.
#[derive(Debug, Default, Args)]
pub struct List {
    /// Of this endpoint only
    #[arg(long)]
    endpoint: Option<EndpointId>,
    /// open, working, held, recovered, captured, cancelled or failed
    #[arg(long)]
    state: Option<String>,
    /// Asked for by this trigger: operator, attestation, webhook, webhook:NAME, drill
    #[arg(long)]
    trigger: Option<String>,
    /// Words that each stand in endpoint, image, trigger, reason or id
    #[arg(long)]
    words: Option<String>,
    /// newest, oldest, endpoint or longest
    #[arg(long)]
    sort: Option<String>,
    #[command(flatten)]
    much: Much,
    #[command(flatten)]
    watch: Watch,
}

/// Names and values as a query; what is not given is left out.
pub(super) fn query(asked: &[(&str, Option<String>)]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = |value: &str| -> String {
        value
            .bytes()
            .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect()
    };
    let given =
        asked.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?))));
    let given: Vec<String> = given.collect();
    if given.is_empty() { String::new() } else { format!("?{}", given.join("&")) }
}

pub(super) fn list(client: &Client, list: &List, output: Output) -> Result<(), Fault> {
    let query = query(&[
        ("endpoint", list.endpoint.as_ref().map(ToString::to_string)),
        ("state", list.state.clone()),
        ("trigger", list.trigger.clone()),
        ("q", list.words.clone()),
        ("sort", list.sort.clone()),
    ]);
    let ask = || pages::list::<JobView>(client, &format!("/api/v1/jobs{query}"), list.much);
    if list.watch.watch {
        return pages::watch(client, output, "job", ask, show::jobs);
    }
    print(output, &ask()?, |views| show::jobs(views))
}

pub(super) fn log(client: &Client, job: JobId, output: Output) -> Result<(), Fault> {
    let steps: Vec<StepView> = client.get(&format!("/api/v1/jobs/{job}/steps"))?;
    print(output, &steps, |steps| table(steps))
}

fn table(steps: &[StepView]) -> String {
    let row = |step: &StepView| {
        let what = match &step.to {
            Some(JobState::Working { stage }) => stage.label().to_owned(),
            Some(JobState::Held { reason, .. }) => format!("held: {}", reason.code()),
            Some(JobState::Failed { reason, .. }) => format!("failed: {}", reason.code()),
            Some(JobState::Recovered) => "recovered".to_owned(),
            Some(JobState::Captured) => "captured".to_owned(),
            Some(JobState::Cancelled { .. }) => "cancelled".to_owned(),
            None if step.event.is_empty() => step.kind.clone(),
            None => step.event.replace('_', " "),
        };
        let took = step.took_ms.map(show::duration).unwrap_or_default();
        vec![
            show::moment(step.at_unix_ms),
            what,
            took,
            step.actor.clone(),
            step.entry.to_string(),
            step.why.clone(),
        ]
    };
    show::table(&["AT", "WHAT", "AFTER", "WHO", "ENTRY", "WHY"], &steps.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_holds_what_is_given_and_nothing_else() {
        assert_eq!(query(&[("a", None)]), "");
        assert_eq!(query(&[("a", None), ("q", Some("press 1&x".to_owned()))]), "?q=press%201%26x");
    }
}
