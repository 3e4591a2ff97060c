//! `groundstate evidence list`, and the log checked by the appliance itself.

use clap::Args;
use recovery_protocol::{
    EndpointId, JobId,
    history::{EntryView, LogVerdict},
};

use super::{
    client::Client,
    fault::{Code, Fault},
    job::query,
    pages::{self, Much},
    print, show,
};
use crate::cli::Output;

/// Which entries.
#[derive(Debug, Args)]
pub struct List {
    /// Of this kind or one below it: order, proof.quote
    #[arg(long)]
    kind: Option<String>,
    /// By this person, or by whom evidence names so
    #[arg(long)]
    by: Option<String>,
    /// About this endpoint
    #[arg(long)]
    endpoint: Option<EndpointId>,
    /// Of this job
    #[arg(long)]
    job: Option<JobId>,
    #[command(flatten)]
    much: Much,
}

pub(super) fn list(client: &Client, list: &List, output: Output) -> Result<(), Fault> {
    let query = query(&[
        ("kind", list.kind.clone()),
        ("actor", list.by.clone()),
        ("endpoint", list.endpoint.as_ref().map(ToString::to_string)),
        ("job", list.job.map(|job| job.to_string())),
    ]);
    let views: Vec<EntryView> = pages::list(client, &format!("/api/v1/evidence/entries{query}"), list.much)?;
    print(output, &views, |views| table(views))
}

fn table(views: &[EntryView]) -> String {
    let row = |view: &EntryView| {
        let entry = &view.entry;
        vec![
            entry.seq.to_string(),
            show::moment(entry.at_unix_ms),
            entry.kind.clone(),
            entry.actor.clone(),
            entry.endpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
            view.hash.clone(),
        ]
    };
    show::table(
        &["ENTRY", "AT", "KIND", "WHO", "ENDPOINT", "HASH"],
        &views.iter().map(row).collect::<Vec<_>>(),
    )
}

pub(super) fn verify(client: &Client, output: Output) -> Result<(), Fault> {
    let verdict: LogVerdict = client.post("/api/v1/evidence/verify", &serde_json::json!({}))?;
    if !verdict.good {
        let what = match verdict.first_bad {
            Some(first) => {
                format!("the evidence log is not as it was written; the first bad entry is {first}")
            }
            None => "the evidence log is not as it was written".to_owned(),
        };
        return Err(Fault::new(Code::Integrity, what, verdict.what, verdict.what_now));
    }
    print(output, &verdict, |verdict| {
        let LogVerdict { entries, checkpoints, held, .. } = verdict;
        format!(
            "good: {entries} entries, {checkpoints} signed checkpoints, {held} anchors, as the appliance itself says"
        )
    })
}
