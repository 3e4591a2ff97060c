//! The end-to-end stories: virtual endpoints, real firmware, real binaries.
//!
//! `cargo test -p tests --test e2e [-- [--all] [--no-build] [WORD…]]` runs the stories whose name contains one of the words; without a word, all but
//! those that are [`Length::Long`], which `--all` adds. `--no-build` runs the programs as they were built last. A story takes tens of seconds to minutes, so they are told
//! only when asked for: `cargo test --workspace` leaves them out (`test = false`). Without a word as many run at once as there are processors (at most four);
//! named ones run one after another, so that their lines can be read.
//!
//! ```text
//!   outside   for each story: a run directory, what it needs (golden image, site) ─► enter a plant ─► verdict
//!   inside    build the plant ─► tell the story
//! ```
//!
//! Every story has a plant of its own, so that none sees another's network, processes or leftovers.

mod cuts;
mod drill;
mod erase;
mod firmware;
mod ipv6;
mod keylime;
mod lab;
mod package;
mod recovery;
mod refusals;
mod relay;
mod screen;
mod secure_boot;
mod stick;
mod stop;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tests::cache::Cache;
use tests::crew;
use tests::foreign::Board;
use tests::golden::{self, CheckIn};
use tests::plant::{self, Plant};
use tests::programs::{self, Programs};
use tests::redfish;
use tests::setup;
use tests::site::Site;

/// A story: its name says what is true when it passes.
#[derive(Clone, Copy)]
pub struct Story {
    name: &'static str,
    needs: Needs,
    length: Length,
    tell: fn(&Plant) -> Result<()>,
}

/// What is made for a story before its plant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// A golden image that says on the console that it is up.
    Marker,
    /// A site: appliance, keys, a signed golden image with the agent, a boot kit.
    Site,
    /// A site, and Keylime's verifier.
    Keylime,
    /// The Debian package, and a computer's disk to install it on.
    Package,
    /// A boot server that answers everyone, and loaders for a board of another processor.
    Board(Board),
}

/// When a story is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    /// Always.
    Short,
    /// With `--all`, or by name.
    Long,
}

/// More at once would need more memory than a small computer has: each endpoint takes up to two gibibytes.
const STORIES_AT_ONCE_MAX: usize = 4;

/// Where the site of a run is.
const SITE: &str = "site";

/// The longest first, so that none of them is left for the end when the others are told.
const CHAPTERS: &[&[Story]] = &[
    package::STORIES,
    lab::STORIES,
    recovery::STORIES,
    erase::STORIES,
    cuts::STORIES,
    stop::STORIES,
    refusals::STORIES,
    keylime::STORIES,
    relay::STORIES,
    drill::STORIES,
    secure_boot::STORIES,
    stick::STORIES,
    ipv6::STORIES,
    firmware::STORIES,
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let verdict = if plant::is_inside() { inside(&words).map(|()| true) } else { outside(&words) };
    match verdict {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn stories() -> impl Iterator<Item = &'static Story> {
    CHAPTERS.iter().flat_map(|chapter| chapter.iter())
}

fn outside(words: &[String]) -> Result<bool> {
    let switch = |name: &str| words.iter().any(|word| word == name);
    let (all, no_build) = (switch("--all"), switch("--no-build"));
    // Cargo hands its own switches on to every test program.
    let words: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let chosen = |story: &&Story| {
        let named = words.iter().any(|word| story.name.contains(word.as_str()));
        named || words.is_empty() && (all || story.length == Length::Short)
    };
    let chosen: Vec<&Story> = stories().filter(chosen).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = stories().map(|story| story.name).collect();
        bail!("no story is called that; there are:\n  {}", names.join("\n  "));
    }
    setup::ensure(&[setup::PLANT], false)?;
    let needs_site =
        chosen.iter().any(|story| matches!(story.needs, Needs::Site | Needs::Keylime | Needs::Package));
    let make = if no_build { Programs::built } else { Programs::build };
    let programs = needs_site.then(make).transpose()?;
    let jobs = if words.is_empty() { workers() } else { 1 };
    let preparing = Mutex::new(());
    Ok(crew::each(&chosen, jobs, |story| tell(story, programs.as_ref(), &preparing))
        .into_iter()
        .all(|good| good))
}

/// How many stories at once: an emulated processor keeps one of ours busy, and most stories have one endpoint switched on at a time.
fn workers() -> usize {
    crew::processors().min(STORIES_AT_ONCE_MAX)
}

/// Tells one and says how it went.
fn tell(story: &Story, programs: Option<&Programs>, preparing: &Mutex<()>) -> bool {
    let begin = Instant::now();
    let outcome = run(story, programs, preparing);
    let took = begin.elapsed().as_secs_f64();
    match &outcome {
        Ok(()) => println!("story {} ... ok ({took:.0} s)", story.name),
        Err(error) => println!("story {} ... FAILED ({took:.0} s)\n  {error:#}", story.name),
    }
    outcome.is_ok()
}

fn run(story: &Story, programs: Option<&Programs>, preparing: &Mutex<()>) -> Result<()> {
    let run = tempfile::Builder::new().prefix("groundstate-story-").tempdir()?;
    if let Err(error) = told(story, programs, preparing, run.path()) {
        // What the run wrote (serial lines, logs, disks) stays for whoever looks into the failure.
        return Err(
            error.context(format!("serial lines and logs of the story are in {}", run.keep().display()))
        );
    }
    Ok(())
}

fn told(story: &Story, programs: Option<&Programs>, preparing: &Mutex<()>, dir: &Path) -> Result<()> {
    {
        // One at a time: the first makes what the others find in the cache.
        let _turn = preparing.lock().unwrap_or_else(PoisonError::into_inner);
        prepare(story, programs, dir)?;
    }
    let status = plant::enter(&[OsString::from(story.name)], dir)?;
    if status.success() { Ok(()) } else { bail!("it did not end well ({status}); why stands above") }
}

/// What a story needs from outside of its plant.
fn prepare(story: &Story, programs: Option<&Programs>, dir: &Path) -> Result<()> {
    let cache = Cache::open()?;
    match (story.needs, programs) {
        (Needs::Site | Needs::Keylime, Some(programs)) => {
            let golden = golden::image(&cache, 1, &CheckIn::Agent(programs.agent.clone()))?;
            Site::at(&dir.join(SITE), programs).prepare(&golden)?;
            // Inside the plant there is no way out to fetch it.
            redfish::python(&cache)?;
            if story.needs == Needs::Keylime {
                tests::keylime::python(&cache)?;
            }
        }
        (Needs::Package, Some(programs)) => package::prepare(programs, dir)?,
        (Needs::Board(board), _) => {
            setup::ensure(&[setup::BOARDS], false)?;
            programs::example("pxe", "serve")?;
            board.loaders(&cache)?;
        }
        _ => drop(golden::image(&cache, 1, &CheckIn::Marker)?),
    }
    Ok(())
}

fn inside(words: &[String]) -> Result<()> {
    let name = words.first().context("no story named")?;
    let story = stories().find(|story| story.name == name).with_context(|| format!("no story {name:?}"))?;
    (story.tell)(&Plant::build()?)
}
