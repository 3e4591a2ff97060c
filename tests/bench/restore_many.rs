//! Many endpoints that restore at once from one appliance, each a process with a disk of its own: what the appliance needs, and whether one
//! of them waits for the others.
//!
//! Each is a neighbour with an address of its own: from one address, the appliance takes a few connections only and turns the others away, and
//! a cap is shared by address. The disks lie in memory: on one real disk it would be that disk's queue of flushes that is measured, and
//! endpoints have one each. All share the cores of one computer, too, and who gets those is the kernel's word; so the same is done with a
//! cap that is the bottleneck, as the network of a plant is.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use super::restore::{fresh, same};
use super::restore_wire::{Bench, config, half_noise};
use super::{Figure, Programs, Server, median, resident_bytes};
use crate::plant::{APPLIANCE, Neighbour, Plant};
use crate::site::Site;
use crate::tool;

const ENDPOINTS: usize = 64;
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
/// The disk of each; half of it is data.
const DISK_LEN: usize = 96 << 20;
const RUNS: usize = 3;
/// Less than two cores restore, verify and serve, about what a network of 2.5 Gbit/s takes.
const CAP_MIB_PER_S: u32 = 256;
/// Where the disks are.
const MEMORY: &str = "/dev/shm";

/// Seconds of each, how far the slowest is behind, and the appliance's memory.
///
/// # Errors
/// When a program fails, or what it restored is not the image.
pub fn restore(programs: &Programs, plant: &Plant) -> Result<Vec<Figure>> {
    let dir = plant.dir().join("restore-many");
    fs::create_dir_all(&dir)?;
    let site = Site::at(&dir.join("site"), &programs.programs);
    site.prepare_keys()?;
    let image = dir.join("small.raw");
    fs::write(&image, half_noise(DISK_LEN))?;
    site.say(&["image", "import", &image.display().to_string(), "--name", "small", "--version", "1"])?;
    site.say(&["image", "sign", "small", "--key", &site.key("release")])?;
    site.say(&["trust", "export", "--site", "bench", "--out", &site.path("trust.json")])?;
    let id = Bench { programs, site: &site, dir: &dir }.id("small")?;
    let disks = tempfile::Builder::new().prefix("groundstate-restore-many-").tempdir_in(MEMORY)?;
    let endpoint = |n: usize| -> Result<Endpoint<'_>> {
        let neighbour = plant.neighbour(Ipv4Addr::from(u32::from(FIRST) + u32::try_from(n)?))?;
        Ok(Endpoint {
            neighbour,
            disk: disks.path().join(format!("{n}.raw")),
            programs,
            site: &site,
            image: &id,
        })
    };
    let endpoints: Vec<Endpoint<'_>> = (0..ENDPOINTS).map(endpoint).collect::<Result<_>>()?;
    let (mut alone, mut together, mut memory, mut figures) = (Vec::new(), Vec::new(), 0, Vec::new());
    for (what, serving) in [
        ("64 at once", String::new()),
        ("64 at once, capped", format!("[serving]\ntotal_mib_per_s = {CAP_MIB_PER_S}\n")),
    ] {
        let mut serve = Command::new(&programs.programs.appliance);
        let config = config(&dir, &site, &serving)?;
        serve.arg("serve").arg("--config").arg(config).env("RUST_LOG", "info");
        let server = Server::start(&mut serve, "\"ready\"", dir.join("serve.log"))?;
        let mut slowest = Vec::new();
        for _ in 0..RUNS {
            if serving.is_empty() {
                alone.extend(seconds(&endpoints[..1])?);
            }
            let seconds = seconds(&endpoints)?;
            let last = seconds.iter().copied().fold(0.0, f64::max);
            if serving.is_empty() {
                together.push(last / ENDPOINTS as f64);
            }
            slowest.push(last / median(seconds));
        }
        memory = resident_bytes(server.pid())?.max(memory);
        same(&image, &endpoints[ENDPOINTS - 1].disk)?;
        let name = format!("restore-many/{what}, slowest s");
        figures.push(Figure::at_most(&name, median(slowest), 1.0, "the median of them", 1.3));
    }
    let memory = memory as f64 / f64::from(1 << 20);
    let (together, alone) = (median(together), median(alone));
    figures.extend([
        Figure::at_most("restore-many/64 at once s each", together, alone, "one alone", 1.0 / 0.9),
        Figure::at_most("restore-many/64 at once appliance MiB", memory, 512.0, "the most", 1.0),
    ]);
    Ok(figures)
}

/// A computer of its own on the plant's network, with a disk.
struct Endpoint<'a> {
    neighbour: Neighbour,
    disk: PathBuf,
    programs: &'a Programs,
    site: &'a Site,
    image: &'a str,
}

impl Endpoint<'_> {
    fn restore(&self) -> Result<()> {
        let mut agent = self.neighbour.command(&self.programs.programs.agent.display().to_string());
        agent.args(["restore", "--trust", &self.site.path("trust.json"), "--image", self.image, "--disk"]);
        tool::run(agent.arg(&self.disk).arg(format!("http://{APPLIANCE}"))).map(drop)
    }
}

/// Restores all of them at once; after how long each was done.
fn seconds(endpoints: &[Endpoint<'_>]) -> Result<Vec<f64>> {
    endpoints.iter().try_for_each(|endpoint| fresh(&endpoint.disk))?;
    let begin = Instant::now();
    let one = |endpoint: &Endpoint<'_>| endpoint.restore().map(|()| begin.elapsed().as_secs_f64());
    std::thread::scope(|scope| {
        let running: Vec<_> = endpoints.iter().map(|endpoint| scope.spawn(|| one(endpoint))).collect();
        let ended = |endpoint: std::thread::ScopedJoinHandle<'_, Result<f64>>| match endpoint.join() {
            Ok(seconds) => seconds,
            Err(_) => bail!("an endpoint ended badly"),
        };
        running.into_iter().map(ended).collect()
    })
}
