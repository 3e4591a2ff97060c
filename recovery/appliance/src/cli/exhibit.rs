//! `groundstate exhibit`: what recoveries kept of old systems before they overwrote them.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use clap::{Args, Subcommand};
use recovery_protocol::{
    JobId,
    exhibit::{ExhibitState, ExhibitView, Keep},
    operator::{Decision, JobView},
};
use ring::digest::{Context, SHA256};

use super::{
    client::Client,
    fault::{Code, Fault},
    print, show,
};
use crate::cli::Output;

/// What to do with exhibits.
#[derive(Debug, Subcommand)]
pub enum ExhibitVerb {
    /// List them, the newest first
    List,
    /// Show what one recovery kept: how much, its digests, what was left out and why
    Show {
        /// The recovery's job
        job: JobId,
    },
    /// Write one to a file, a tar; who read it is in evidence
    Export {
        /// The recovery's job
        job: JobId,
        /// The new file; `exhibit.json` in it says what its members are
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Delete one for good; its record and digests stay
    Delete {
        /// The recovery's job
        job: JobId,
        /// Why; goes into evidence
        #[arg(long)]
        reason: String,
    },
}

/// What an order of a recovery says of it.
#[derive(Debug, Args)]
pub struct Keeps {
    /// Keep of the old system before it is overwritten: `quick` (event log, partition table, chosen files, within a minute) or `none`;
    /// default: as its blueprint has it
    #[arg(long, value_name = "PROFILE", conflicts_with = "break_glass")]
    pub keep: Option<Keep>,
}

/// Carry out a verb.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn act(client: &Client, verb: ExhibitVerb, output: Output) -> Result<(), Fault> {
    match verb {
        ExhibitVerb::List => {
            let views: Vec<ExhibitView> = client.get("/api/v1/exhibits")?;
            print(output, &views, |views| list(views))
        }
        ExhibitVerb::Show { job } => {
            let view: ExhibitView = client.get(&format!("/api/v1/exhibits/{job}"))?;
            print(output, &view, one)
        }
        ExhibitVerb::Export { job, out } => export(client, job, &out, output),
        ExhibitVerb::Delete { job, reason } => {
            let path = format!("/api/v1/exhibits/{job}");
            let view: ExhibitView = client.delete(&path, &Decision { reason }, None)?;
            print(output, &view, one)
        }
    }
}

/// What came is compared with what evidence says was kept.
fn export(client: &Client, job: JobId, out: &std::path::Path, output: Output) -> Result<(), Fault> {
    let view: ExhibitView = client.get(&format!("/api/v1/exhibits/{job}"))?;
    let failed = |error: std::io::Error| {
        Fault::new(
            Code::Failed,
            format!("{} is not written", out.display()),
            error.to_string(),
            "name a new file with room for it",
        )
    };
    let mut from = client.get_long(&format!("/api/v1/exhibits/{job}/content"))?;
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(out).map_err(failed)?;
    let (mut sha256, mut buffer) = (Context::new(&SHA256), vec![0; 1 << 16]);
    loop {
        let len = from.read(&mut buffer).map_err(failed)?;
        if len == 0 {
            break;
        }
        sha256.update(&buffer[..len]);
        file.write_all(&buffer[..len]).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    let (came, kept) = (
        hex::encode(sha256.finish()),
        view.kept.as_ref().map(|kept| kept.sha256.clone()).unwrap_or_default(),
    );
    if came != kept {
        let why = format!("its SHA-256 is {came}, and evidence says {kept}");
        return Err(Fault::new(
            Code::Failed,
            "what came is not what was kept",
            why,
            "export it once more; if it stays, it was altered where it lies",
        ));
    }
    print(output, &view, |_| format!("{}: SHA-256 {came}, as in evidence", out.display()))
}

fn list(views: &[ExhibitView]) -> String {
    let row = |view: &ExhibitView| {
        let kept = view.kept.as_ref();
        vec![
            view.job.to_string(),
            view.endpoint.to_string(),
            show::moment(view.ordered_unix_ms),
            view.keep.to_string(),
            view.state.as_str().to_owned(),
            kept.map_or_else(String::new, |kept| show::bytes(kept.bytes)),
            kept.map_or_else(String::new, |kept| kept.files.to_string()),
            kept.map_or_else(String::new, |kept| kept.cut.len().to_string()),
        ]
    };
    let head = ["JOB", "ENDPOINT", "ORDERED", "KEEP", "STATE", "BYTES", "FILES", "CUT"];
    show::table(&head, &views.iter().map(row).collect::<Vec<_>>())
}

fn one(view: &ExhibitView) -> String {
    let mut text = format!(
        "job       {}\nendpoint  {}\nkeep      {}, at most {} s and {}\nordered   {} by {}\nstate     {}",
        view.job,
        view.endpoint,
        view.keep,
        view.seconds,
        show::bytes(view.bytes_most),
        show::moment(view.ordered_unix_ms),
        view.ordered_by,
        state(view)
    );
    if let Some(kept) = &view.kept {
        text += &format!(
            "\nkept      {}, {} files, in {}{}\nsha256    {}\nblake3    {}",
            show::bytes(kept.bytes),
            kept.files,
            show::duration(kept.took_ms),
            if view.sealed { ", sealed" } else { "" },
            kept.sha256,
            kept.blake3
        );
        for cut in &kept.cut {
            text += &format!("\ncut       {}: {}", cut.what, cut.why);
        }
    }
    text
}

fn state(view: &ExhibitView) -> String {
    match view.state {
        ExhibitState::Ordered => "ordered; the endpoint has not said yet what came of it".to_owned(),
        ExhibitState::Kept => match view.ends_unix_ms {
            Some(ends) => format!("kept until {}", show::moment(ends)),
            None => "kept".to_owned(),
        },
        ExhibitState::Nothing => "nothing was kept".to_owned(),
        ExhibitState::Deleted => format!(
            "deleted {} by {}",
            view.deleted_unix_ms.map(show::moment).unwrap_or_default(),
            view.deleted_by.as_deref().unwrap_or_default()
        ),
    }
}

/// A line for `job show`; empty where nothing is kept.
pub fn line_of(job: &JobView) -> String {
    match &job.exhibit {
        Some(exhibit) => format!("\nkept      {}", in_job(exhibit)),
        None if job.keep != Keep::None => {
            format!("\nkeeps     {} of the old system before it is overwritten", job.keep)
        }
        None => String::new(),
    }
}

fn in_job(view: &ExhibitView) -> String {
    match (&view.kept, view.state) {
        (Some(kept), ExhibitState::Kept) => format!(
            "{} of the old system, {} files, {} cut; `groundstate exhibit show {}`",
            show::bytes(kept.bytes),
            kept.files,
            kept.cut.len(),
            view.job
        ),
        (Some(kept), ExhibitState::Nothing) => {
            format!(
                "nothing of the old system: {}",
                kept.cut.first().map(|cut| cut.why.as_str()).unwrap_or_default()
            )
        }
        _ => state(view),
    }
}
