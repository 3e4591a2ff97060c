//! How a restore grows with the disk, from 1 to 256 GiB of sparse disk: the agent's time and memory, and what it costs the appliance to serve.
//!
//! What a larger disk adds is nothing to fetch, so only looking at it may grow: the pages of the manifest, and reading back that what must be
//! empty is. Serving knows frames and no disks: its cost must not grow at all.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::images_growth::{GIB, grow, programs_disk};
use super::restore::fresh;
use super::restore_wire::{Bench, config};
use super::{Figure, Programs, Server, cpu_time, median};
use crate::plant::Plant;
use crate::site::{IMAGE, Site};

const SIZES: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// Beyond, one run is enough to see how it grows.
const RUNS: usize = 3;
const RUNS_GIB_MAX: u64 = 16;
const MEMORY_MIB_MAX: f64 = 256.0;

/// What one restore onto an empty disk costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
    serve: f64,
    memory: f64,
}

/// Restores onto an empty disk at each size.
///
/// # Errors
/// When a program fails, or what it restored has another size.
pub fn restore(programs: &Programs, plant: &Plant) -> Result<Vec<Figure>> {
    let dir = plant.dir().join("restore-growth");
    fs::create_dir_all(&dir)?;
    let (small, disk) = (dir.join("small.raw"), dir.join("disk.raw"));
    programs_disk(&small)?;
    let site = Site::at(&dir.join("site"), &programs.programs);
    site.prepare_keys()?;
    site.say(&["trust", "export", "--site", "bench", "--out", &site.path("trust.json")])?;
    let mut serve = Command::new(&programs.programs.appliance);
    serve.arg("serve").arg("--config").arg(config(&dir, &site, "")?).env("RUST_LOG", "info");
    let server = Server::start(&mut serve, "\"ready\"", dir.join("serve.log"))?;
    let bench = Bench { programs, site: &site, dir: &dir };
    let (mut first, mut figures): (Option<Cost>, _) = (None, Vec::new());
    for (number, gib) in SIZES.into_iter().enumerate() {
        let version = (number + 1).to_string();
        grow(&small, &disk, gib * GIB)?;
        let path = disk.display().to_string();
        let import = ["image", "import", &path, "--name", IMAGE, "--version", &version, "--epoch", &version];
        site.say(&import)?;
        site.say(&["image", "sign", &format!("{IMAGE}:{version}"), "--key", &site.key("release")])?;
        let id = bench.id(&format!("{IMAGE}:{version}"))?;
        let runs = if gib <= RUNS_GIB_MAX { RUNS } else { 1 };
        let now = cost(&bench, &server, &id, &disk, runs)?;
        let (gib_f, first) = (gib as f64, *first.get_or_insert(now));
        let by_disk = |what: &str, ours: f64, first: f64| {
            let name = format!("restore-growth/{what} by disk");
            Figure::at_most(&name, ours, first * gib_f, "in proportion", 1.0).at_gib(gib_f)
        };
        figures.push(by_disk("empty disk, wall s", now.wall, first.wall));
        figures.push(by_disk("empty disk, cpu s", now.cpu, first.cpu));
        let name = "restore-growth/agent memory MiB by disk";
        figures.push(Figure::at_most(name, now.memory, MEMORY_MIB_MAX, "the most", 1.0).at_gib(gib_f));
        let name = "restore-growth/serving, the appliance's cpu s by disk";
        let against = "the same at 1 GiB";
        figures.push(Figure::at_most(name, now.serve, first.serve, against, 1.25).at_gib(gib_f));
    }
    Ok(figures)
}

fn cost(bench: &Bench<'_>, server: &Server, id: &str, disk: &Path, runs: usize) -> Result<Cost> {
    let (mut wall, mut cpu, mut serve, mut memory) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // A run before those that count brings the frames into the page cache, as an appliance that serves many has them.
    for run in 0..=runs {
        fresh(disk)?;
        let own = || Ok::<f64, anyhow::Error>(cpu_time(std::process::id())?.as_secs_f64());
        let (before, serve_before) = (own()?, server.cpu_time()?);
        let done = bench.done(id, disk)?;
        if run == 0 {
            continue;
        }
        let number = |what: &str| done[what].as_f64().context("the agent says what it did");
        wall.push(number("seconds")?);
        memory.push(number("memory_peak_bytes")? / f64::from(1 << 20));
        cpu.push(own()? - before);
        serve.push((server.cpu_time()? - serve_before).as_secs_f64());
    }
    Ok(Cost { wall: median(wall), cpu: median(cpu), serve: median(serve), memory: median(memory) })
}
