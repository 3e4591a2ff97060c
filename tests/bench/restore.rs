//! Restore: our path onto a file against casync, which also stores chunks by content and can use a seed.
//!
//! Both read a local store and write the same disk: from nothing, and over a disk on which 64 MiB drifted. Ours also reads back every byte.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Figure, Programs, costs};
use crate::cache::Cache;
use crate::golden::{self, CheckIn};
use crate::plant::Plant;
use crate::site::{IMAGE, Site};
use crate::tool;

const RUNS: usize = 3;
const DRIFT_LEN: usize = 64 << 20;
const DRIFT_AT: u64 = 150 << 20;

/// Full and delta restore.
///
/// # Errors
/// When a program fails.
pub fn restore(programs: &Programs, plant: &Plant) -> Result<Vec<Figure>> {
    let golden = golden::image(&Cache::open()?, 1, &CheckIn::Agent(programs.programs.agent.clone()))?;
    let dir = plant.dir();
    let site = Site::at(&dir.join("site"), &programs.programs);
    site.prepare_image(&golden)?;
    let (store, index) = (dir.join("peer.castr"), dir.join("golden.caibx"));
    tool::run(Command::new("casync").args(["make", "--store"]).arg(&store).arg(&index).arg(&golden))?;
    let ours = |to: &Path| site.command(&["image", "restore", IMAGE, "--to", &to.display().to_string()]);
    let peer = |to: &Path, seed: Option<&Path>| {
        let mut command = Command::new("casync");
        command.args(["extract", "--store"]).arg(&store);
        if let Some(seed) = seed {
            command.arg("--seed").arg(seed);
        }
        command.arg(&index).arg(to);
        command
    };
    let target = dir.join("target.raw");
    let drifted = dir.join("drifted.raw");
    drift(&golden, &drifted)?;

    let full = costs(RUNS, || {
        fresh(&target)?;
        Ok(ours(&target))
    })?;
    same(&golden, &target)?;
    let peer_full = costs(RUNS, || {
        fresh(&target)?;
        Ok(peer(&target, None))
    })?;
    let delta = costs(RUNS, || {
        copy(&drifted, &target)?;
        Ok(ours(&target))
    })?;
    same(&golden, &target)?;
    let peer_delta = costs(RUNS, || {
        fresh(&target)?;
        Ok(peer(&target, Some(&drifted)))
    })?;
    Ok(vec![
        Figure::at_most("restore/full cpu s", full.cpu, peer_full.cpu, "casync extract", 1.0),
        Figure::at_most("restore/full wall s", full.wall, peer_full.wall, "casync extract", 1.0),
        Figure::at_most("restore/drift cpu s", delta.cpu, peer_delta.cpu, "casync extract --seed", 0.5),
        Figure::at_most("restore/drift wall s", delta.wall, peer_delta.wall, "casync extract --seed", 0.5),
    ])
}

pub(super) fn fresh(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    Ok(())
}

pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    fresh(to)?;
    tool::run(Command::new("cp").arg("--sparse=always").arg(from).arg(to)).map(drop)
}

/// A copy of the golden disk on which one run of bytes was overwritten.
fn drift(golden: &Path, drifted: &Path) -> Result<()> {
    copy(golden, drifted)?;
    let mut file = OpenOptions::new().write(true).open(drifted)?;
    file.seek(SeekFrom::Start(DRIFT_AT))?;
    file.write_all(&vec![0xD5; DRIFT_LEN])?;
    Ok(())
}

pub(super) fn same(golden: &Path, target: &Path) -> Result<()> {
    tool::run(Command::new("cmp").arg(golden).arg(target))
        .map(drop)
        .context("the restored disk is not the golden image")
}
