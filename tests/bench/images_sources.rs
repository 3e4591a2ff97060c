//! Import of one disk as raw, compressed and as qcow2: what unpacking and finding clusters costs on top of the import itself.
//!
//! The disk has 2 GiB and holds this computer's programs in an ext4; all runs take it from the page cache.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Figure, Programs, costs};
use crate::tool;

const RUNS: usize = 5;
/// Name of the file, what makes it of `disk.raw`, and the ratio to the raw import that is good.
const SOURCES: [(&str, &[&str], f64); 5] = [
    ("disk.raw.zst", &["zstd", "--quiet", "disk.raw"], 1.15),
    ("disk.raw.gz", &["gzip", "--keep", "disk.raw"], 1.6),
    ("disk.raw.xz", &["xz", "--keep", "-1", "disk.raw"], 4.0),
    ("plain.qcow2", &["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "disk.raw", "plain.qcow2"], 1.15),
    (
        "zstd.qcow2",
        &[
            "qemu-img",
            "convert",
            "-c",
            "-f",
            "raw",
            "-O",
            "qcow2",
            "-o",
            "compression_type=zstd",
            "disk.raw",
            "zstd.qcow2",
        ],
        1.15,
    ),
];

/// Wall and CPU seconds of each, next to those of the raw disk.
///
/// # Errors
/// When a program cannot be run.
pub fn sources(programs: &Programs, dir: &Path) -> Result<Vec<Figure>> {
    tool::run(
        Command::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-d", "/usr/bin", "disk.raw", "2G"])
            .current_dir(dir),
    )?;
    let mut figures = Vec::new();
    let raw = costs(RUNS, || import_of(programs, dir, "disk.raw"))?;
    for (name, make, bound) in SOURCES {
        let (program, words) = make.split_first().unwrap_or((&"true", &[]));
        tool::run(Command::new(program).args(words).current_dir(dir))?;
        let ours = costs(RUNS, || import_of(programs, dir, name))?;
        fs::remove_file(dir.join(name))?;
        let figure = |what: &str, ours, raw| {
            Figure::at_most(&format!("images/import {name} {what}"), ours, raw, "the same disk, raw", bound)
        };
        figures.push(figure("wall s", ours.wall, raw.wall));
        figures.push(figure("cpu s", ours.cpu, raw.cpu));
    }
    Ok(figures)
}

/// An import into an empty store.
fn import_of(programs: &Programs, dir: &Path, name: &str) -> Result<Command> {
    let store = dir.join("store");
    if store.exists() {
        fs::remove_dir_all(&store)?;
    }
    let mut import = Command::new(&programs.programs.appliance);
    import.args(["image", "import", name, "--name", "hmi", "--version", "1"]).current_dir(dir);
    import.env("GROUNDSTATE_STORE", &store);
    Ok(import)
}
