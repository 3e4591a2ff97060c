//! The benches behind `cargo measure`: each figure stands next to a peer's or a physical limit, taken in the same run.
//!
//! A figure is a ratio with a bound, `ok` or `short`. A figure that falls short is printed like any other and fails nothing:
//! it is for people to act on. CPU seconds and bytes are steadier than wall time on a busy machine, so they come first.
//!
//! It must never: compare across runs, hide a figure, or turn one into a test.

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::plant::Plant;
use crate::setup::{self, Package};
use crate::story::Log;
use crate::tool;

pub mod api;
pub mod demo;
pub mod door;
pub mod evidence;
pub mod images_depot;
pub mod images_growth;
pub mod images_import;
pub mod images_serve;
pub mod images_sources;
pub mod images_upkeep;
pub mod load;
pub mod people;
pub mod pxe;
pub mod pxe_boot;
pub mod recovery_jobs;
pub mod report;
pub mod restore;
pub mod restore_growth;
pub mod restore_many;
pub mod restore_planned;
pub mod restore_wire;
pub mod runbooks;
pub mod serve;

/// How long a server may take to start.
const SERVER_LIMIT: Duration = Duration::from_secs(20);
/// What our boot server says when its ports are open.
pub const BOOT_SERVER_READY: &str = "serving on";
/// What nginx says at log level `notice` when its ports are open.
pub const NGINX_READY: &str = "event method";

/// One line of `cargo measure`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured, `group/what`, with the unit of `ours` and `peer` as its last word.
    pub name: String,
    /// Our value.
    pub ours: f64,
    /// The peer's value, or the limit.
    pub peer: f64,
    /// Who the peer is.
    pub against: String,
    /// `ours / peer`.
    pub ratio: f64,
    /// The ratio that must not be exceeded.
    pub bound: f64,
    /// `ok` or `short`.
    pub verdict: String,
    /// Size of the disk in GiB. Figures of one name that differ in it make a picture ([`report::html`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gib: Option<f64>,
}

impl Figure {
    /// A figure for which less is better; `bound` is the largest good ratio.
    #[must_use]
    pub fn at_most(name: &str, ours: f64, peer: f64, against: &str, bound: f64) -> Self {
        let ratio = if peer > 0.0 { ours / peer } else { f64::INFINITY };
        let verdict = if ratio <= bound { "ok" } else { "short" };
        Self {
            name: name.to_owned(),
            ours,
            peer,
            against: against.to_owned(),
            ratio,
            bound,
            verdict: verdict.to_owned(),
            gib: None,
        }
    }

    /// The same, at a size.
    #[must_use]
    pub fn at_gib(self, gib: f64) -> Self {
        Self { gib: Some(gib), ..self }
    }

    /// Its name, with its size.
    #[must_use]
    pub fn label(&self) -> String {
        self.gib.map_or_else(|| self.name.clone(), |gib| format!("{}, {gib} GiB", self.name))
    }
}

/// Where the programs under measurement are.
pub struct Programs {
    /// The programs that ship.
    pub programs: crate::programs::Programs,
    /// pxe's example server, release build.
    pub boot_server: PathBuf,
    /// pxe's example that serves by async-tftp, release build.
    pub peer_tftp: PathBuf,
    /// The example of images that makes a large store without its bytes, release build.
    pub synthetic_store: PathBuf,
    /// The example of the appliance that simulates many endpoints, release build.
    pub wave: PathBuf,
    /// The example of the appliance that is an S3 service, release build.
    pub s3_server: PathBuf,
}

/// What runs a bench.
#[derive(Debug, Clone, Copy)]
pub enum Runs {
    /// Inside a plant of its own.
    Inside(fn(&Programs, &Plant) -> Result<Vec<Figure>>),
    /// The same, after what needs the world outside: into the plant's directory.
    Prepared(fn(&Programs, &Path) -> Result<()>, fn(&Programs, &Plant) -> Result<Vec<Figure>>),
    /// Outside, with a directory of its own; it makes its own plant.
    Outside(fn(&Programs, &Path) -> Result<Vec<Figure>>),
}

/// A bench.
#[derive(Debug, Clone, Copy)]
pub struct Bench {
    /// Its name on the command line.
    pub name: &'static str,
    /// The peers that it needs.
    pub peers: &'static [Package],
    /// What runs it.
    pub runs: Runs,
}

const fn bench(name: &'static str, peers: &'static [Package], runs: Runs) -> Bench {
    Bench { name, peers, runs }
}

/// Every bench.
pub const BENCHES: &[Bench] = &[
    bench("tftp", &[setup::TFTPD_HPA], Runs::Inside(serve::tftp)),
    bench("http", &[setup::NGINX], Runs::Inside(serve::http)),
    bench("pxe-tftp", &[setup::DNSMASQ, setup::ATFTP], Runs::Prepared(pxe::fetch, pxe::tftp)),
    bench("pxe-many", &[], Runs::Inside(pxe::many)),
    bench("pxe-dhcp", &[setup::DNSMASQ], Runs::Inside(pxe::dhcp)),
    bench("pxe-boot", &[setup::DNSMASQ, setup::NGINX], Runs::Prepared(pxe_boot::prepare, pxe_boot::boot)),
    bench("restore", &[setup::CASYNC], Runs::Inside(restore::restore)),
    bench(
        "restore-wire",
        &[setup::CASYNC, setup::BMAPTOOL, setup::NGINX],
        Runs::Inside(restore_wire::restore),
    ),
    bench("restore-many", &[], Runs::Inside(restore_many::restore)),
    bench("restore-planned", &[], Runs::Outside(restore_planned::restore)),
    bench("restore-growth", &[], Runs::Inside(restore_growth::restore)),
    bench(
        "images-import",
        &[setup::CASYNC, setup::SQUASHFS, setup::NTFS],
        Runs::Outside(images_import::import),
    ),
    bench("images-growth", &[setup::CASYNC, setup::QEMU_IMG], Runs::Outside(images_growth::growth)),
    bench("images-sources", &[setup::QEMU_IMG, setup::XZ], Runs::Outside(images_sources::sources)),
    bench("images-serve", &[setup::NGINX], Runs::Inside(images_serve::serve)),
    bench("images-depot", &[], Runs::Outside(images_depot::depot)),
    bench("images-upkeep", &[], Runs::Outside(images_upkeep::upkeep)),
    bench("recovery.people-evidence", &[setup::SQLITE], Runs::Outside(evidence::evidence)),
    bench("recovery.people-login", &[setup::ARGON2], Runs::Outside(people::people)),
    bench("recovery.api", &[], Runs::Outside(api::api)),
    bench("recovery.jobs", &[], Runs::Inside(recovery_jobs::jobs)),
    bench("runbooks", &[], Runs::Outside(runbooks::runbooks)),
    bench("demo", &[], Runs::Outside(demo::demo)),
];

/// The benches that `names` ask for; all when it is empty. `images` asks for all whose names begin with `images-`, and so does `pxe`.
///
/// # Errors
/// An unknown name, with the known ones.
pub fn choose(names: &[String]) -> Result<Vec<&'static Bench>> {
    if names.is_empty() {
        return Ok(BENCHES.iter().collect());
    }
    let mut chosen = Vec::new();
    for wanted in names {
        let before = chosen.len();
        // The restore path is asked for by its area, too.
        let wanted =
            wanted.strip_prefix("recovery.").filter(|name| name.starts_with("restore")).unwrap_or(wanted);
        let group = format!("{wanted}-");
        chosen.extend(BENCHES.iter().filter(|bench| bench.name == wanted || bench.name.starts_with(&group)));
        if chosen.len() == before {
            let known = BENCHES.iter().map(|bench| bench.name).collect::<Vec<_>>().join(", ");
            bail!("there is no bench `{wanted}`; there are: {known}");
        }
    }
    Ok(chosen)
}

/// The figures as text: one line each.
#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let width = figures.iter().map(|figure| figure.label().len()).max().unwrap_or(0).max("name".len());
    let mut text = format!(
        "{:<width$} {:>10} {:>10} {:>7} {:>7} {:<6} {}\n",
        "name", "ours", "peer", "ratio", "bound", "", "against"
    );
    for f in figures {
        let _ = writeln!(
            text,
            "{:<width$} {:>10.3} {:>10.3} {:>7.2} {:>7.2} {:<6} {}",
            f.label(),
            f.ours,
            f.peer,
            f.ratio,
            f.bound,
            f.verdict,
            f.against
        );
    }
    text
}

/// CPU time that everything on this machine has used since it started, idle and waiting time left out, from `/proc/stat` (proc(5)).
///
/// # Errors
/// When the file is not as proc(5) says.
pub fn machine_time() -> Result<Duration> {
    const IDLE_AND_IOWAIT: std::ops::Range<usize> = 3..5;
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("cpu "))
        .context("/proc/stat has no cpu line")?;
    // The last two columns, guest time, are part of the first two.
    let columns: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>()?;
    let busy: u64 = columns
        .iter()
        .enumerate()
        .filter(|(at, _)| !IDLE_AND_IOWAIT.contains(at))
        .map(|(_, ticks)| ticks)
        .sum();
    ticks(busy)
}

/// CPU time that a process, its threads and its ended children have used so far (user and system), from `/proc/<pid>/stat` (proc(5)).
///
/// # Errors
/// When the process is gone.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone: look at its output above"))?;
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).context("/proc/<pid>/stat has no name")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let (Some(user), Some(system)) = (fields.get(11), fields.get(12)) else {
        bail!("/proc/<pid>/stat is shorter than proc(5) says");
    };
    let children = fields.get(13..15).context("/proc/<pid>/stat is shorter than proc(5) says")?;
    let mut ticks = user.parse::<u64>()? + system.parse::<u64>()?;
    for child in children {
        ticks += child.parse::<u64>()?;
    }
    self::ticks(ticks)
}

fn ticks(count: u64) -> Result<Duration> {
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok(Duration::from_secs_f64(count as f64 / per_second as f64))
}

/// Resident memory of a process in bytes, from `/proc/<pid>/status`.
///
/// # Errors
/// When the process is gone.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone: look at its output above"))?;
    let line =
        status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS in /proc/<pid>/status")?;
    let kib: u64 = line.split_whitespace().nth(1).context("VmRSS has no number")?.parse()?;
    Ok(kib * 1024)
}

/// What a program costs: seconds of CPU (user and system, of the program and its children) and of wall.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// CPU seconds.
    pub cpu: f64,
    /// Wall seconds.
    pub wall: f64,
}

/// Runs what `prepare` gives, so often, and takes the medians. Preparing is not counted.
///
/// # Errors
/// When a program fails.
pub fn costs(runs: usize, mut prepare: impl FnMut() -> Result<Command>) -> Result<Cost> {
    // Our own time and that of every program that has ended; ours alone is next to nothing.
    let spent = || Ok::<f64, anyhow::Error>(cpu_time(std::process::id())?.as_secs_f64());
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut command = prepare()?;
        let (begin, before) = (Instant::now(), spent()?);
        tool::run(&mut command)?;
        wall.push(begin.elapsed().as_secs_f64());
        cpu.push(spent()? - before);
    }
    Ok(Cost { cpu: median(cpu), wall: median(wall) })
}

/// A server under measurement, ended when dropped.
pub struct Server(Child);

impl Server {
    /// Starts it and waits until it says `ready`, on either of its outputs.
    ///
    /// # Errors
    /// When it cannot be started, or does not say so; the message repeats its last words.
    pub fn start(command: &mut Command, ready: &str, log: PathBuf) -> Result<Self> {
        Self::with_log(command, ready, log).map(|(_, server)| server)
    }

    /// The same, with what it says.
    ///
    /// # Errors
    /// The same.
    pub fn with_log(command: &mut Command, ready: &str, log: PathBuf) -> Result<(Log, Self)> {
        let program = command.get_program().to_string_lossy().into_owned();
        let log = Log::new(log)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut server = Self(child.with_context(|| format!("cannot start {program}"))?);
        if let Some(stream) = server.0.stdout.take() {
            log.feed(stream)?;
        }
        if let Some(stream) = server.0.stderr.take() {
            log.feed(stream)?;
        }
        log.until(&format!("{program} to be ready"), SERVER_LIMIT, || {
            Ok(log.wait_for(0, ready, Duration::ZERO).ok())
        })?;
        Ok((log, server))
    }

    /// Starts one of the inetd kind, which gets its socket as its standard input: what comes before it reads waits in the kernel.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn on_socket(command: &mut Command, socket: UdpSocket) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(OwnedFd::from(socket)).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| format!("cannot start {program}"))?))
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// CPU time that it has used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(self.0.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The middle value; the figures of a bench are medians of an odd number of runs.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_over_its_bound_is_short() {
        assert_eq!(Figure::at_most("a", 1.0, 2.0, "p", 0.5).verdict, "ok");
        assert_eq!(Figure::at_most("a", 1.1, 2.0, "p", 0.5).verdict, "short");
        assert_eq!(Figure::at_most("a", 1.0, 0.0, "p", 9.0).verdict, "short");
    }

    #[test]
    fn an_unknown_bench_is_refused_with_the_known_ones() {
        let error = choose(&["disk".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("tftp") && error.contains("disk"), "{error}");
        assert_eq!(choose(&[]).unwrap().len(), BENCHES.len());
        assert!(choose(&["images".to_owned()]).unwrap().len() >= 2);
        let names = |bench: &str| -> Vec<&str> {
            choose(&[bench.to_owned()]).unwrap().iter().map(|bench| bench.name).collect()
        };
        assert_eq!(names("recovery.restore"), names("restore"));
        assert!(names("recovery.restore").len() >= 4 && names("recovery.jobs") == ["recovery.jobs"]);
    }

    #[test]
    fn our_own_process_has_used_cpu_and_memory() {
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
        assert!(cpu_time(std::process::id()).is_ok());
    }
}
