//! `cargo measure`: runs the benches and prints one line a figure. A figure that falls short fails nothing.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::bench::{self, Figure, Runs};
use crate::plant::{self, Plant};
use crate::programs::{self, Programs};
use crate::setup;

/// What to measure
#[derive(Debug, Clone, Args)]
pub struct Measure {
    /// Benches; all without a name
    names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a report with pictures (HTML) too
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Install missing Debian packages without asking
    #[arg(long)]
    yes: bool,
    /// Where the part inside the plant leaves its figures
    #[arg(long, hide = true)]
    to: Option<PathBuf>,
}

/// Runs the chosen benches.
///
/// # Errors
/// When a program under measurement, or its peer, fails.
pub fn run(measure: &Measure) -> Result<ExitCode> {
    let chosen = bench::choose(&measure.names)?;
    if plant::is_inside() {
        let to =
            measure.to.as_deref().context("the part inside the plant has nowhere to leave its figures")?;
        let (programs, plant) = (under_measurement(Programs::built()?)?, Plant::build()?);
        let mut figures = Vec::new();
        for bench in chosen {
            if let Runs::Inside(bench) | Runs::Prepared(_, bench) = bench.runs {
                figures.extend(bench(&programs, &plant)?);
            }
        }
        fs::write(to, serde_json::to_string(&figures)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let peers: Vec<&[setup::Package]> = chosen.iter().map(|bench| bench.peers).collect();
    setup::ensure(&[&[setup::PLANT], &peers[..]].concat(), measure.yes)?;
    let programs = under_measurement(Programs::build()?)?;
    let mut figures = Vec::new();
    for bench in chosen {
        eprintln!("· {}", bench.name);
        let dir = tempfile::Builder::new().prefix("groundstate-measure-").tempdir()?;
        figures.extend(match bench.runs {
            Runs::Outside(run) => run(&programs, dir.path())?,
            Runs::Inside(_) => inside(bench.name, dir.path())?,
            Runs::Prepared(prepare, _) => {
                prepare(&programs, dir.path())?;
                inside(bench.name, dir.path())?
            }
        });
    }
    if let Some(path) = &measure.report {
        fs::write(path, bench::report::html(&figures)?)
            .with_context(|| format!("cannot write the report to {}", path.display()))?;
    }
    if measure.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{}", bench::table(&figures));
    }
    Ok(ExitCode::SUCCESS)
}

fn inside(name: &str, dir: &Path) -> Result<Vec<Figure>> {
    let file = dir.join("figures.json");
    let words: [OsString; 4] = ["measure".into(), name.into(), "--to".into(), file.clone().into()];
    let status = plant::enter(&words, dir)?;
    if !status.success() {
        bail!("the bench `{name}` failed; what it said stands above");
    }
    Ok(serde_json::from_str(&fs::read_to_string(&file)?)?)
}

/// The programs that ship, and the examples beside them that benches need.
fn under_measurement(programs: Programs) -> Result<bench::Programs> {
    let example = programs::example;
    let (boot_server, peer_tftp) = (example("pxe", "serve")?, example("pxe", "peer_tftp")?);
    let synthetic_store = example("images", "synthetic_store")?;
    let (wave, s3_server) =
        (example("recovery-appliance", "wave")?, example("recovery-appliance", "s3_server")?);
    Ok(bench::Programs { programs, boot_server, peer_tftp, synthetic_store, wave, s3_server })
}
