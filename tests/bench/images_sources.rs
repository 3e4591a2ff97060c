//! Import of one disk as raw, compressed and as qcow2: what unpacking and finding clusters costs on top of the import itself, and next to
//! what people do without us: unpack it with the format's own program, then import the raw disk.
//!
//! The disk has 2 GiB and holds this computer's programs in an ext4; all runs take it from the page cache.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::restore::fresh;
use super::{Figure, Programs, costs};
use crate::tool;

const RUNS: usize = 5;
/// A form of the disk.
struct Form {
    name: &'static str,
    /// What makes it of `disk.raw`.
    make: &'static str,
    /// What makes a raw disk of it, `un.raw`.
    unpack: &'static str,
    /// The ratio to the raw import that is good.
    bound: f64,
}

const FORMS: [Form; 6] = [
    Form {
        name: "disk.raw.zst",
        make: "zstd --quiet disk.raw",
        unpack: "zstd --quiet -d disk.raw.zst -o un.raw",
        bound: 1.15,
    },
    Form {
        name: "disk.raw.gz",
        make: "gzip --keep disk.raw",
        unpack: "gzip -dc disk.raw.gz > un.raw",
        bound: 1.6,
    },
    Form {
        name: "disk.raw.xz",
        make: "xz --keep -1 disk.raw",
        unpack: "xz -dc disk.raw.xz > un.raw",
        bound: 4.0,
    },
    Form {
        name: "plain.qcow2",
        make: "qemu-img convert -f raw -O qcow2 disk.raw plain.qcow2",
        unpack: "qemu-img convert -O raw plain.qcow2 un.raw",
        bound: 1.15,
    },
    Form {
        name: "zlib.qcow2",
        make: "qemu-img convert -c -f raw -O qcow2 disk.raw zlib.qcow2",
        unpack: "qemu-img convert -O raw zlib.qcow2 un.raw",
        bound: 1.15,
    },
    Form {
        name: "zstd.qcow2",
        make: "qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd disk.raw zstd.qcow2",
        unpack: "qemu-img convert -O raw zstd.qcow2 un.raw",
        bound: 1.15,
    },
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
    for Form { name, make, unpack, bound } in FORMS {
        let shell = |script| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).current_dir(dir);
            shell
        };
        tool::run(&mut shell(make))?;
        let ours = costs(RUNS, || import_of(programs, dir, name))?;
        let first = costs(RUNS, || {
            fresh(&dir.join("un.raw"))?;
            Ok(shell(unpack))
        })?;
        fs::remove_file(dir.join(name))?;
        let then = format!("{}, then the raw import", unpack.split_whitespace().next().unwrap_or_default());
        for (what, ours, raw, first) in
            [("wall s", ours.wall, raw.wall, first.wall), ("cpu s", ours.cpu, raw.cpu, first.cpu)]
        {
            let figure = format!("images/import {name} {what}");
            figures.push(Figure::at_most(&figure, ours, raw, "the same disk, raw", bound));
            let figure = format!("images/import {name} and unpacking, {what}");
            figures.push(Figure::at_most(&figure, ours, raw + first, &then, 1.1));
        }
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
