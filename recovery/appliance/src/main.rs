//! `groundstate`: the appliance and its command line, one binary.
//!
//! `groundstate serve` is the daemon; every other verb is a client like any other: it speaks REST, or works on a store.
//! This file is a dispatch table and decides nothing.

mod agents;
mod api;
mod attest;
mod boot;
mod cli;
mod clock;
mod config;
mod console;
mod control_plane;
mod daemon;
mod db;
mod drills;
mod enrol;
mod evidence;
mod golden;
mod guard;
mod hooks;
mod interfaces;
mod jobs;
mod keys;
mod live;
mod maker_roots;
mod metrics;
mod power;
mod refusals;
mod refused_start;
mod service;
#[cfg(test)]
mod testing;
mod tickets;
mod tls;

use std::{path::Path, process::ExitCode};

use clap::Parser as _;

use crate::{
    cli::{Cli, Command, Fault},
    config::Config,
    keys::Keys,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Init { config } => init(config.as_deref(), cli.data_dir()),
        Command::Serve { config } => serve(config.as_deref(), cli.data_dir()),
        _ => cli::run(cli),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            fault.exit_code()
        }
    }
}

fn configuration(config: Option<&Path>, data_dir: &Path) -> Result<Config, Fault> {
    match config {
        Some(path) => {
            Config::load(path).map_err(|error| Fault::usage("the configuration cannot be used", &error))
        }
        None => Ok(Config { data_dir: data_dir.to_owned(), ..Config::default() }),
    }
}

/// Run the appliance until it is told to stop.
fn serve(config: Option<&Path>, data_dir: &Path) -> Result<(), Fault> {
    daemon::log_to_stderr();
    if let Some(path) = config
        && let Err(error) = Config::load(path)
    {
        refused_start::keep(path, data_dir, &error.to_string());
    }
    daemon::serve(configuration(config, data_dir)?)
        .map_err(|error| Fault::of("the appliance stopped", &error, ""))
}

/// Make the data directory with its keys. What is there already stays.
fn init(config: Option<&Path>, data_dir: &Path) -> Result<(), Fault> {
    let config = configuration(config, data_dir)?;
    let keys = Keys::open(&config.data_dir, &[config.site.to_string()], &[])
        .map_err(|error| Fault::of("the data directory cannot be made", &error, ""))?;
    eprintln!("{} is ready; start the appliance with `groundstate serve`", config.data_dir.display());
    println!("{}", keys.spki_sha256);
    Ok(())
}
