//! The end-to-end stories: virtual endpoints, real firmware, real binaries.
//!
//! `cargo test -p tests --test e2e [WORD…]` runs the stories whose name contains one of the words, all of them without a word. A story takes tens
//! of seconds, so they run one after another, and only when asked for: `cargo test --workspace` leaves them out (`test = false`).
//!
//! This program runs itself again inside a plant for each story, so that no story can see another's network, processes or leftovers.

mod lab;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use tests::plant::{self, Plant};

/// A story: its name says what is true when it passes.
type Story = (&'static str, fn(&Plant) -> Result<()>);

const STORIES: &[&[Story]] = &[lab::STORIES];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if plant::is_inside() {
        return inside(&words);
    }
    let mut failed = Vec::new();
    for (name, _) in stories().filter(|(name, _)| chosen(name, &words)) {
        let begin = Instant::now();
        let outcome = outside(name);
        let took = begin.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("story {name} ... ok ({took:.1} s)"),
            Err(error) => {
                println!("story {name} ... FAILED ({took:.1} s)\n  {error:#}");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn stories() -> impl Iterator<Item = Story> {
    STORIES.iter().flat_map(|chapter| chapter.iter().copied())
}

fn chosen(name: &str, words: &[String]) -> bool {
    words.is_empty() || words.iter().any(|word| name.contains(word))
}

fn outside(name: &str) -> Result<()> {
    let run = tempfile::Builder::new().prefix("groundstate-story-").tempdir()?;
    let status = plant::enter(&[OsString::from(name)], run.path())?;
    if status.success() {
        return Ok(());
    }
    // What the run wrote (serial lines, logs, disks) stays for whoever looks into the failure.
    let kept = run.keep();
    anyhow::bail!("the story did not end well; its serial lines and logs are in {}", kept.display())
}

fn inside(words: &[String]) -> ExitCode {
    let told = || -> Result<()> {
        let name = words.first().context("no story named")?;
        let (_, story) =
            stories().find(|(story, _)| story == name).with_context(|| format!("no story {name:?}"))?;
        story(&Plant::build()?)
    };
    match told() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
