//! `cargo demo`: the main job on virtual endpoints. An endpoint is recovered, broken, reported by its verifier, and healed.
//!
//! ```text
//!   outside   packages ─► build ─► golden image ─► keys, import, sign, boot kit ─► enter the plant
//!   inside    appliance, BMC, endpoint ─► recover ─► break ─► trigger ─► recover again ─► table, evidence
//! ```
//!
//! Leaves with 0 only when each endpoint's restored system itself checked in after the last recovery, and the evidence verifies.

use std::ffi::OsString;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use indicatif::MultiProgress;
use recovery_protocol::job::{JobState, Stage};
use recovery_protocol::operator::{EndpointState, JobView};

use crate::bench::{self, demo::Seen};
use crate::bmc::Bmc;
use crate::cache::Cache;
use crate::endpoint::{Content, Endpoint};
use crate::fault::{self, Break};
use crate::golden::{self, CheckIn, DISK_LEN};
use crate::plant::{self, APPLIANCE, Plant};
use crate::programs::Programs;
use crate::qemu::{Firmware, Spec};
use crate::setup;
use crate::show::{self, Show};
use crate::site::{Appliance, Site};
use crate::story::{Log, Silent};
use crate::verifier::Verifier;

/// A recovery under emulation on a loaded computer; an idle one needs less than two minutes.
const RECOVERY_LIMIT: Duration = Duration::from_secs(900);
/// What an endpoint has on its data partition, and keeps.
const RECIPES: &str = "recipes of the night shift";
const TRIGGER_LIMIT: Duration = Duration::from_secs(300);
/// How often the display is drawn while nothing is said.
const FRAME: Duration = Duration::from_millis(250);

/// What to demonstrate
#[derive(Debug, Clone, Args)]
pub struct Demo {
    /// How the recovered endpoint breaks
    #[arg(long = "break", value_enum, default_value = "tamper")]
    how: How,
    /// How many endpoints at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    endpoints: u8,
    /// Endpoints with Secure Boot on
    #[arg(long)]
    secure_boot: bool,
    /// Stop after the first recovery
    #[arg(long)]
    once: bool,
    /// Install missing Debian packages without asking
    #[arg(long)]
    yes: bool,
    /// Keep the run's directory (disks, logs, serial lines) and say where it is
    #[arg(long)]
    keep: bool,
    /// Run the programs as they were built last
    #[arg(long)]
    no_build: bool,
    /// Leave what was measured in this file
    #[arg(long, hide = true)]
    figures: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    /// The boot loader is deleted
    Bootloader,
    /// Every byte of the disk is gone
    Wipe,
    /// Somebody changed the kernel's command line: it boots, and cannot prove itself
    Tamper,
}

/// Runs the demo; called outside first, and by itself again inside the plant.
///
/// # Errors
/// What failed and what to do; the run's directory is kept then and named.
pub fn run(demo: &Demo, arguments: &[OsString]) -> Result<ExitCode> {
    if plant::is_inside() {
        inside(demo)?;
        return Ok(ExitCode::SUCCESS);
    }
    let run = tempfile::Builder::new().prefix("groundstate-demo-").tempdir()?;
    let outcome = outside(demo, run.path(), arguments);
    match outcome {
        Ok(true) if !demo.keep => Ok(ExitCode::SUCCESS),
        Ok(well) => {
            eprintln!("disks, logs and serial lines are in {}", run.keep().display());
            Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(error) => Err(error.context(format!("the demo's files are in {}", run.keep().display()))),
    }
}

fn outside(demo: &Demo, run: &Path, arguments: &[OsString]) -> Result<bool> {
    setup::ensure(&[setup::PLANT], demo.yes)?;
    let step = |text: &str| eprintln!("· {text}");
    step("building appliance and agent");
    let programs = if demo.no_build { Programs::built()? } else { Programs::build()? };
    step("golden image (built once, then cached)");
    let golden = golden::image(&Cache::open()?, 1, &CheckIn::Agent(programs.agent.clone()))?;
    step("keys, import, signature, boot kit");
    Site::at(&run.join("site"), &programs).prepare(&golden)?;
    step("entering the plant: a network namespace of its own");
    Ok(plant::enter(arguments, run)?.success())
}

fn inside(demo: &Demo) -> Result<()> {
    let plant = Plant::build()?;
    let programs = Programs::built()?;
    let verifier = Verifier::start()?;
    let begin = Instant::now();
    let appliance = Arc::new(Site::at(&plant.dir().join("site"), &programs).start()?);
    let port = plant.forward_console(SocketAddrV4::new(APPLIANCE, 443))?;
    let ready_s = begin.elapsed().as_secs_f64();
    let idle_bytes = bench::resident_bytes(appliance.pid())?;
    println!("  appliance ready in {ready_s:.2} s, {} resident", indicatif::HumanBytes(idle_bytes));
    println!("  console: {}", console_link(&appliance, port)?);

    let bars = MultiProgress::new();
    let firmware = if demo.secure_boot { Firmware::OvmfSecureBoot } else { Firmware::Ovmf };
    let mut presses = Vec::new();
    for number in 1..=demo.endpoints {
        let endpoint =
            Endpoint::new(&plant, Spec { firmware, ..Spec::press(number) }, &Content::Blank(DISK_LEN))?;
        let bmc = Bmc::attach(&plant, &endpoint, &programs.lab)?;
        appliance.add(&endpoint, Some(&bmc), true)?;
        presses.push((Arc::new(endpoint), bmc, Show::new(&bars, &Spec::press(number).name)));
    }
    let (how, once) = (demo.how, demo.once);
    let serial = presses[0].0.serial().clone();
    let players: Vec<_> = presses
        .into_iter()
        .map(|(endpoint, bmc, mut show)| {
            let (appliance, verifier) = (Arc::clone(&appliance), verifier.clone());
            thread::spawn(move || {
                let jobs = play(&appliance, &verifier, &endpoint, &mut show, how, once);
                drop(bmc);
                jobs
            })
        })
        .collect();
    let mut jobs = Vec::new();
    for player in players {
        jobs.extend(player.join().map_err(|_| anyhow::anyhow!("an endpoint's thread ended badly"))??);
    }
    drop(bars);
    println!();
    for job in &jobs {
        println!("{}", show::table(job));
    }
    let last = jobs.last().context("no job was run")?;
    println!("evidence of the last job:\n{}", evidence(&appliance, last)?);
    println!("{}", appliance.site().say(&["evidence", "verify"])?.trim_end());
    if let Some(file) = &demo.figures {
        let share = |(ours, all): (u64, u64)| ours.saturating_mul(1_000_000).checked_div(all);
        let worst = jobs.iter().map(show::shares).max_by_key(|of| share(*of));
        let (ours_ms, all_ms) = worst.context("no job was run")?;
        let seen = Seen {
            ready_s,
            idle_bytes,
            all_ms,
            ours_ms,
            agent_bytes: jobs
                .iter()
                .filter_map(|job| job.restore)
                .map(|done| done.memory_peak_bytes)
                .max()
                .unwrap_or(0),
            first_packet_s: first_packet_s(&serial)?,
            demo_s: begin.elapsed().as_secs_f64(),
        };
        std::fs::write(file, serde_json::to_string(&seen)?)?;
    }
    Ok(())
}

/// One endpoint's part: recovered, broken, healed. Returns its jobs.
fn play(
    appliance: &Appliance,
    verifier: &Verifier,
    endpoint: &Endpoint,
    show: &mut Show,
    how: How,
    once: bool,
) -> Result<Vec<JobView>> {
    let name = endpoint.spec().name.as_str();
    appliance.site().say(&["recover", name, "--reason", "first recovery of the demo", "--no-wait"])?;
    let first = follow(appliance, endpoint, show, None)?;
    checked_in(appliance, name, &first)?;
    if once {
        show.finish("recovered: the restored system checked in");
        return Ok(vec![first]);
    }

    show.say(match how {
        How::Bootloader => "breaking it: the boot loader is deleted",
        How::Wipe => "breaking it: every byte of the disk is gone",
        How::Tamper => "breaking it: the kernel's command line is changed",
    });
    endpoint.power_off();
    golden::write_data(endpoint.disk(), RECIPES)?;
    match how {
        How::Bootloader => fault::break_disk(endpoint, Break::Bootloader)?,
        How::Wipe => fault::break_disk(endpoint, Break::Wipe)?,
        How::Tamper => fault::break_disk(endpoint, Break::Tamper)?,
    }
    if how == How::Tamper {
        show.say("it boots again; its next quote will not be what the image predicts");
        endpoint.power_on();
    } else {
        show.say("the site's verifier reports it by a signed webhook, and confirms when asked");
        verifier.judge(name, true);
        verifier.report(name, &appliance.site().verifier_secret(), &format!("{APPLIANCE}:443"))?;
    }
    let second = follow(appliance, endpoint, show, Some(&first))?;
    verifier.judge(name, false);
    checked_in(appliance, name, &second)?;
    appliance.is_itself(endpoint)?;
    // A disk of which every byte is gone gets what the image has there.
    let kept = golden::read_data(endpoint.disk())?;
    let expected = if how == How::Wipe { golden::AS_DELIVERED } else { RECIPES };
    ensure!(kept == expected, "the data partition of {name} holds {kept:?}, and it should be {expected:?}");
    show.finish("healed: the restored system checked in");
    Ok(vec![first, second])
}

/// Shows an endpoint's newest job until it is over; with `after`, waits for a newer one first.
fn follow(
    appliance: &Appliance,
    endpoint: &Endpoint,
    show: &mut Show,
    after: Option<&JobView>,
) -> Result<JobView> {
    let name = endpoint.spec().name.as_str();
    let serial = |show: &Show| {
        if let Some(line) = endpoint.serial().last() {
            show.serial(&line.text);
        }
    };
    appliance.log().until(&format!("a recovery job for {name}"), TRIGGER_LIMIT, || {
        serial(show);
        let job = appliance.newest_job(name)?;
        Ok(job.filter(|job| after.is_none_or(|before| before.job != job.job)))
    })?;
    let end = Instant::now() + RECOVERY_LIMIT;
    let job = loop {
        let mark = endpoint.serial().mark();
        let job = appliance.newest_job(name)?.context("the job is gone")?;
        show.job(&job);
        serial(show);
        if job.state.is_over() || matches!(job.state, JobState::Held { .. }) {
            break job;
        }
        if Instant::now() >= end {
            return Err(
                Silent::new(format!("{name} to be recovered"), RECOVERY_LIMIT, appliance.log()).into()
            );
        }
        endpoint.serial().wait_line(mark, FRAME);
    };
    match &job.state {
        JobState::Recovered => Ok(job),
        JobState::Held { .. }
        | JobState::Captured
        | JobState::Working { .. }
        | JobState::Cancelled { .. }
        | JobState::Failed { .. } => {
            show.finish("not recovered");
            bail!(
                "{name} was not recovered. {} {}\nserial line:\n  {}\nappliance:\n  {}",
                job.what,
                job.what_now,
                endpoint.serial().tail(25).join("\n  "),
                appliance.log().tail(15).join("\n  ")
            )
        }
    }
}

/// The restored system itself must have said so, in this job.
fn checked_in(appliance: &Appliance, name: &str, job: &JobView) -> Result<()> {
    let endpoint = appliance.endpoint(name)?;
    ensure!(endpoint.state == EndpointState::Trusted, "{name} is {:?} after its recovery", endpoint.state);
    let verified = job.phases.iter().find(|phase| phase.stage == Stage::OsWait);
    let since = verified.context("the job never waited for the restored system")?.from_unix_ms;
    ensure!(
        endpoint.proven_unix_ms.is_some_and(|at| at >= since) && endpoint.certificate_serial.is_some(),
        "{name} did not check in with a quote and a certificate of its own"
    );
    Ok(())
}

fn console_link(appliance: &Appliance, port: u16) -> Result<String> {
    let link = appliance.site().say(&["console-link"])?;
    let path = link.trim().splitn(4, '/').nth(3).unwrap_or_default().to_owned();
    Ok(format!("https://127.0.0.1:{port}/{path}"))
}

/// Seconds from kernel start to the first packet, as the recovery system says on the serial line.
fn first_packet_s(serial: &Log) -> Result<f64> {
    let line = serial.wait_for(0, "first packet ", Duration::ZERO)?.text;
    let number = line.split("first packet ").nth(1).and_then(|rest| rest.split(' ').next());
    number
        .context("the recovery system names no number")?
        .parse()
        .context("the recovery system names a number")
}

/// The evidence entries of a job, one line each.
fn evidence(appliance: &Appliance, job: &JobView) -> Result<String> {
    let mut lines = Vec::new();
    for entry in appliance.evidence()?.iter().filter(|entry| entry.job == Some(job.job)) {
        let facts = serde_json::to_string(&entry.facts)?;
        let facts: String = facts.chars().take(100).collect();
        lines.push(format!("  {:>4} {:<28} {:<18} {facts}", entry.seq, entry.kind, entry.actor));
    }
    Ok(lines.join("\n"))
}
