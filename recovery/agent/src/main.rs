//! `groundstate-agent`: our program on an endpoint.
//!
//! | started as | it is |
//! |---|---|
//! | PID 1 (`/init`) | the recovery system |
//! | `groundstate-agent check-in [--once]` | the check-in service of the restored system |
//! | `groundstate-agent settings` | gives the restored system its own name and addresses, before its network starts |
//! | `groundstate-agent install --root DIR --esp DIR` | puts itself into a golden image being built |
//! | `groundstate-agent relay --upstream URL` | passes chunks on to the endpoints beside it |
//! | `groundstate-agent plan --trust FILE --manifest FILE --disk FILE` | prints what a restore would do |
//! | `groundstate-agent restore --trust FILE --image ID --disk FILE URL…` | restores onto a file, by the path of an endpoint's disk |
//! | `groundstate-agent keep ORDER < DISK > TAR` | collects what may show what befell a system; the recovery system starts it so |
//! | `groundstate-agent --version` | prints its version |

mod boot_entry;
mod check_in;
mod client;
mod disk;
mod identity;
mod install;
mod inventory;
mod kernel_args;
mod net;
mod pid1;
mod plan;
mod recovery;
mod relay;
mod restore_file;
mod screen;
mod secure_boot;
mod settings;
#[cfg(test)]
mod testing;
mod tpm;

use std::process::ExitCode;

const USAGE: &str = "\
usage: groundstate-agent check-in [--once]
       groundstate-agent settings
       groundstate-agent install --root DIR --esp DIR [--relay URL]
       groundstate-agent relay --upstream URL [--listen ADDRESS:PORT] [--memory-mib MIB]
       groundstate-agent plan --trust FILE --manifest FILE --disk FILE
       groundstate-agent restore --trust FILE --image ID --disk FILE URL [URL...]
       groundstate-agent keep ORDER < DISK > TAR
       groundstate-agent --version
As process 1 it is the recovery system.";

/// Exit code for a command line we do not understand (sysexits.h, EX_USAGE).
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        recovery::run();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [.., "--help" | "-h"] | ["help"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        ["--version"] => {
            println!("groundstate-agent {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ["settings"] => finish(settings::run("/".as_ref())),
        ["check-in"] => finish(check_in::run(false)),
        ["check-in", "--once"] => finish(check_in::run(true)),
        ["plan", "--trust", trust, "--manifest", manifest, "--disk", disk] => {
            let plan = plan::plan(trust.as_ref(), manifest.as_ref(), disk.as_ref());
            finish(plan.map(|plan| println!("{plan}")))
        }
        ["restore", "--trust", trust, "--image", image, "--disk", disk, first, more @ ..] => {
            let appliances = [&[*first], more].concat();
            let done = restore_file::restore(trust.as_ref(), image, disk.as_ref(), &appliances);
            finish(done.map(|done| println!("{done}")))
        }
        [recovery::keep::VERB, order] => finish(recovery::keep::collect::run(order)),
        ["relay", words @ ..] => finish(relay::run(words)),
        ["install", "--root", root, "--esp", esp] => {
            finish(install::install("/proc/self/exe".as_ref(), root.as_ref(), esp.as_ref(), None))
        }
        ["install", "--root", root, "--esp", esp, "--relay", upstream] => {
            let program = "/proc/self/exe".as_ref();
            finish(install::install(program, root.as_ref(), esp.as_ref(), Some(upstream)))
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(EX_USAGE)
        }
    }
}

fn finish(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("groundstate-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
