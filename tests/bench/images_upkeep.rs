//! Scrub against the disk's own sequential reading, and a collection of half of 100 GiB against reading its manifests and indexes.
//!
//! The 100 GiB are synthetic: sparse packs whose footers list chunks that were never written (`images/examples/synthetic_store.rs`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{Figure, Programs, cpu_time, median};
use crate::tool;

const RUNS: usize = 5;
const DISK_LEN: usize = 1 << 30;
const STORE_GIB: u32 = 100;
const MEMORY_MIB_MAX: f64 = 256.0;

/// Scrub and collection.
///
/// # Errors
/// When a program cannot be run.
pub fn upkeep(programs: &Programs, dir: &Path) -> Result<Vec<Figure>> {
    let mut figures = scrub(programs, dir)?;
    figures.extend(collect(programs, dir)?);
    Ok(figures)
}

fn image(programs: &Programs, store: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(&programs.programs.appliance);
    command.arg("image").args(words).env("GROUNDSTATE_STORE", store);
    command
}

fn scrub(programs: &Programs, dir: &Path) -> Result<Vec<Figure>> {
    let (disk, store) = (dir.join("disk.raw"), dir.join("scrub"));
    noise(&disk)?;
    let disk_name = disk.display().to_string();
    tool::run(&mut image(programs, &store, &["import", &disk_name, "--name", "hmi", "--version", "1"]))?;
    fs::remove_file(&disk)?;
    let packs: Vec<PathBuf> =
        fs::read_dir(store.join("packs"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let (mut ours, mut peer, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let begin = Instant::now();
        for pack in &packs {
            let from = format!("if={}", pack.display());
            tool::run(Command::new("dd").args([
                &from,
                "of=/dev/null",
                "bs=4M",
                "iflag=direct",
                "status=none",
            ]))?;
        }
        peer.push(begin.elapsed().as_secs_f64());
        let (begin, before) = (Instant::now(), cpu_time(std::process::id())?);
        tool::run(&mut image(programs, &store, &["scrub", "--plan"]))?;
        ours.push(begin.elapsed().as_secs_f64());
        cpu.push((cpu_time(std::process::id())?.saturating_sub(before)).as_secs_f64());
    }
    let gib = DISK_LEN as f64 / f64::from(1 << 30);
    Ok(vec![
        // 0.9 of the disk's speed.
        Figure::at_most(
            "images/scrub wall s per GiB",
            median(ours) / gib,
            median(peer) / gib,
            "dd, direct",
            1.0 / 0.9,
        ),
        Figure::at_most(
            "images/scrub cpu s per GiB",
            median(cpu) / gib,
            0.34,
            "one blake3 pass, as planned",
            1.0,
        ),
    ])
}

fn collect(programs: &Programs, dir: &Path) -> Result<Vec<Figure>> {
    let (mut plan, mut ours, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..RUNS {
        let store = dir.join(format!("collect-{run}"));
        tool::run(Command::new(&programs.synthetic_store).arg(&store).arg(STORE_GIB.to_string()))?;
        let begin = Instant::now();
        tool::run(&mut image(programs, &store, &["gc", "--plan", "--grace-hours", "0"]))?;
        plan.push(begin.elapsed().as_secs_f64());
        let begin = Instant::now();
        let mut child = image(programs, &store, &["gc", "--grace-hours", "0"])
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start groundstate")?;
        // Its peak as the kernel counts it, read until it is gone.
        let mut peak = 0.0;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            peak = peak_mib(child.id()).unwrap_or(peak);
            std::thread::yield_now();
        };
        if !status.success() {
            bail!("the collection failed; what it said stands above");
        }
        ours.push(begin.elapsed().as_secs_f64());
        memory.push(peak);
        let left = fs::read_dir(store.join("packs"))?.count();
        if left != STORE_GIB as usize * 16 / 2 {
            bail!("{left} packs are left, half of them were expected");
        }
        fs::remove_dir_all(&store)?;
    }
    let against = "gc --plan: manifests and indexes read";
    Ok(vec![
        Figure::at_most("images/gc half of 100 GiB wall s", median(ours), median(plan), against, 1.5),
        Figure::at_most("images/gc memory MiB", median(memory), MEMORY_MIB_MAX, "the limit", 1.0),
    ])
}

fn peak_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

/// A disk of incompressible bytes that all differ.
fn noise(path: &Path) -> Result<()> {
    let mut word = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(DISK_LEN);
    while bytes.len() < DISK_LEN {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    Ok(fs::write(path, bytes)?)
}
