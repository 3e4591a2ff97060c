//! The console in a real browser: Chromium against a real appliance, by role and name.
//!
//! `cargo test -p tests --test browser [-- [--no-build] [--all] [WORD…]]` tells the tales whose name contains one of the words; without a word, all. With `--all`
//! each looks at three pages of a kind and not at one. They
//! share one plant, one appliance and one browser, each with tabs and endpoints of its own; the one that presses STOP comes last.
//!
//! ```text
//!   outside   chromium, axe, the programs ─► enter a plant
//!   inside    floor (a filled site) ─► browser ─► tale after tale ─► verdict
//! ```
//!
//! Pictures of the key pages lie in `browser` in cargo's target directory afterwards. Nothing here is judged by the clock: figures of time are
//! `cargo measure recovery.api`.

mod floor;
mod flows;
mod live;
mod looks;
mod people;
mod pictures;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use tests::cache::Cache;
use tests::plant::{self, Plant};
use tests::programs::Programs;
use tests::{axe, setup};

use floor::Floor;

/// A tale: its name says what is true when it passes.
pub struct Tale {
    name: &'static str,
    tell: fn(&Floor) -> Result<()>,
}

const CHAPTERS: &[&[Tale]] =
    &[people::TALES, flows::TALES, live::TALES, looks::TALES, pictures::TALES, flows::LAST];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let verdict = if plant::is_inside() { inside(&words) } else { outside(&words) };
    match verdict {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The tales that these words mean.
fn chosen(words: &[String]) -> Result<Vec<&'static Tale>> {
    let words: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let all = || CHAPTERS.iter().flat_map(|chapter| chapter.iter());
    let meant = |tale: &&Tale| words.is_empty() || words.iter().any(|word| tale.name.contains(word.as_str()));
    let chosen: Vec<&Tale> = all().filter(meant).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = all().map(|tale| tale.name).collect();
        bail!("no tale is called that; there are:\n  {}", names.join("\n  "));
    }
    Ok(chosen)
}

fn outside(words: &[String]) -> Result<bool> {
    chosen(words)?;
    setup::ensure(&[setup::PLANT, setup::BROWSER], false)?;
    // Inside the plant there is no way out to fetch it.
    axe::script(&Cache::open()?)?;
    if !words.iter().any(|word| word == "--no-build") {
        Programs::build_appliance()?;
    }
    let run = tempfile::Builder::new().prefix("groundstate-browser-").tempdir()?;
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let good = plant::enter(&words, run.path())?.success();
    if !good {
        eprintln!("logs of the appliance and the browser are in {}", run.keep().display());
    }
    Ok(good)
}

fn inside(words: &[String]) -> Result<bool> {
    let plant = Plant::build()?;
    let begin = Instant::now();
    let floor = Floor::lay(&plant)?;
    println!("a site and a browser in {:.0} s", begin.elapsed().as_secs_f64());
    let mut good = true;
    for tale in chosen(words)? {
        let begin = Instant::now();
        let outcome = (tale.tell)(&floor);
        let took = begin.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("tale {} ... ok ({took:.0} s)", tale.name),
            Err(error) => {
                println!("tale {} ... FAILED ({took:.0} s)\n  {error:#}", tale.name);
                good = false;
            }
        }
    }
    Ok(good)
}
