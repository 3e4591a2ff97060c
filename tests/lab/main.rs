//! The lab's command line: a dispatch table and nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tests::bench::load::{self, Load};
use tests::cache::Cache;
use tests::demo::{self, Demo};
use tests::golden::{self, CheckIn};
use tests::measure::{self, Measure};
use tests::programs::Programs;
use tests::verify::{self, Verify};
use tests::{bmc, package, setup};

/// The virtual plant of Groundstate
#[derive(Parser)]
#[command(name = "lab", disable_help_subcommand = true)]
struct Lab {
    #[command(subcommand)]
    command: Do,
}

#[derive(Subcommand)]
enum Do {
    /// Recover a virtual endpoint, break it, and watch it heal
    Demo(Demo),
    /// Measure beside peers and limits
    Measure(Measure),
    /// Run every test, the way CI does
    Verify(Verify),
    /// Build the programs that ship, and print where they are
    Programs {
        /// Put them into a Debian package in this directory, and print where that is
        #[arg(long, value_name = "DIR")]
        deb: Option<PathBuf>,
    },
    /// Build the golden test image, or find it in the cache, and print its path
    Golden {
        /// Put this agent in as the check-in service
        #[arg(long)]
        agent: Option<PathBuf>,
        /// The release written into the image
        #[arg(long, default_value_t = 1)]
        release: u32,
        /// Install missing Debian packages without asking
        #[arg(long)]
        yes: bool,
    },
    /// Be the clients of a bench
    #[command(hide = true)]
    Load {
        #[command(subcommand)]
        load: Load,
    },
    /// Carry one request of ipmi_sim to its endpoint
    #[command(hide = true)]
    BmcHook {
        /// The endpoint's socket
        socket: PathBuf,
        /// The request
        words: Vec<String>,
    },
}

fn main() -> ExitCode {
    match obey(Lab::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey(command: Do) -> Result<ExitCode> {
    match command {
        Do::Demo(options) => {
            let arguments: Vec<_> = std::env::args_os().skip(1).collect();
            return demo::run(&options, &arguments);
        }
        Do::Measure(options) => return measure::run(&options),
        Do::Verify(options) => return verify::run(&options),
        Do::Programs { deb: None } => {
            let Programs { appliance, agent, bootkit, .. } = Programs::build()?;
            for program in [appliance, agent, bootkit] {
                println!("{}", program.display());
            }
        }
        Do::Programs { deb: Some(dir) } => {
            println!("{}", package::build(&Programs::build()?, &dir)?.display());
        }
        Do::Golden { agent, release, yes } => {
            setup::ensure(&[setup::PLANT], yes)?;
            let check_in = agent.map_or(CheckIn::Marker, CheckIn::Agent);
            println!("{}", golden::image(&Cache::open()?, release, &check_in)?.display());
        }
        Do::Load { load } => load::run(&load)?,
        Do::BmcHook { socket, words } => bmc::hook(&socket, &words)?,
    }
    Ok(ExitCode::SUCCESS)
}
