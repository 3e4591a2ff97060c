//! How the work of images grows with the disk: a small disk of programs on sparse disks of 1 to 64 GiB, as a virtual machine's disk is.
//!
//! What a larger disk adds is nothing to store. So no work may grow as the disk does; casync, which reads it all, shows what that costs.
//! Serving is measured with the restore ([`super::restore_growth`]).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Cost, Figure, Programs, costs};
use crate::tool;

const RUNS: usize = 5;
pub(super) const GIB: u64 = 1 << 30;
/// So many MiB of this computer's programs, which leave room on a disk of 1 GiB.
const PROGRAMS: &str = "set -e; mkdir tree; find /usr/bin -type f -readable -printf '%s %p\\n' | sort -k2 \\
| awk '{ sum += $1; if (sum < 400 * 2^20) print $2 }' | xargs -d '\\n' cp -t tree
truncate -s 1G \"$1\"; printf 'label: gpt\\nstart=2048, size=1677721, type=linux\\n' | sfdisk --quiet \"$1\"
mke2fs -q -F -t ext4 -d tree -E offset=1048576 \"$1\" 819M; rm -r tree";
const SIZES: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];
/// casync takes minutes beyond; one run of it is enough to see how it grows.
const PEER_GIB_MAX: u64 = 8;

/// Import, scrub and collection at each size.
///
/// # Errors
/// When a program fails.
pub fn growth(programs: &Programs, dir: &Path) -> Result<Vec<Figure>> {
    let image = dir.join("small.raw");
    programs_disk(&image)?;
    let bench = Bench {
        programs,
        store: dir.join("store"),
        disk: dir.join("disk.raw"),
        qcow2: dir.join("disk.qcow2"),
    };
    let (mut base, mut figures): (Option<(f64, Measured)>, _) = (None, Vec::new());
    for gib in SIZES {
        bench.grow(&image, gib * GIB)?;
        let (now, gib_f) = (bench.measure()?, gib as f64);
        let (base_gib, base) = base.get_or_insert_with(|| (gib_f, now.clone()));
        for ((name, cost), (_, first)) in now.iter().zip(base.iter()) {
            let factor = gib_f / *base_gib;
            for (unit, ours, first) in [("cpu s", cost.cpu, first.cpu), ("wall s", cost.wall, first.wall)] {
                // What takes no time at the first size has no proportion.
                if first < 0.005 {
                    continue;
                }
                let name = format!("images/{name} by disk, {unit}");
                figures
                    .push(Figure::at_most(&name, ours, first * factor, "in proportion", 1.0).at_gib(gib_f));
            }
        }
        if gib <= PEER_GIB_MAX {
            let (peer_store, index) = (dir.join("peer.castr"), dir.join("disk.caibx"));
            let peer = costs(1, || {
                let mut command = Command::new("casync");
                command.args(["make", "--store"]).arg(&peer_store).arg(&index).arg(&bench.disk);
                empty(&peer_store)?;
                Ok(command)
            })?;
            let ours = now.iter().find(|(name, _)| *name == IMPORT).map_or(f64::NAN, |(_, cost)| cost.cpu);
            let name = "images/import by disk and casync make, cpu s";
            figures.push(Figure::at_most(name, ours, peer.cpu, "casync make", 0.4).at_gib(gib_f));
        }
    }
    Ok(figures)
}

const IMPORT: &str = "import";
type Measured = Vec<(&'static str, Cost)>;

struct Bench<'a> {
    programs: &'a Programs,
    store: PathBuf,
    disk: PathBuf,
    qcow2: PathBuf,
}

impl Bench<'_> {
    /// The image on a disk of that size, raw and as qcow2.
    fn grow(&self, image: &Path, size: u64) -> Result<()> {
        grow(image, &self.disk, size)?;
        let convert = ["convert", "-f", "raw", "-O", "qcow2"];
        tool::run(Command::new("qemu-img").args(convert).arg(&self.disk).arg(&self.qcow2)).map(drop)
    }

    fn image(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.programs.appliance);
        command.arg("image").args(words).env("GROUNDSTATE_STORE", &self.store);
        command
    }

    fn import(&self, disk: &Path) -> Result<Command> {
        empty(&self.store)?;
        Ok(self.image(&["import", &disk.display().to_string(), "--name", "hmi", "--version", "1"]))
    }

    fn measure(&self) -> Result<Measured> {
        Ok(vec![
            ("import of qcow2", costs(RUNS, || self.import(&self.qcow2))?),
            (IMPORT, costs(RUNS, || self.import(&self.disk))?),
            ("scrub", costs(RUNS, || Ok(self.image(&["scrub", "--plan"])))?),
            ("gc", costs(RUNS, || Ok(self.image(&["gc", "--plan", "--grace-hours", "0"])))?),
        ])
    }
}

/// A disk of 1 GiB with one partition, an ext4 that holds programs.
pub(super) fn programs_disk(path: &Path) -> Result<()> {
    let work = path.parent().unwrap_or(Path::new("."));
    let mut shell = Command::new("sh");
    shell.args(["-c", PROGRAMS, "sh"]).arg(path).current_dir(work);
    tool::run(&mut shell).map(drop)
}

/// A copy of a disk on a larger one.
pub(super) fn grow(small: &Path, disk: &Path, size: u64) -> Result<()> {
    tool::run(Command::new("cp").arg("--sparse=always").arg(small).arg(disk))?;
    if size > fs::metadata(small)?.len() {
        fs::File::options().write(true).open(disk)?.set_len(size)?;
        // The second table moves to the new end, as on a disk of that size.
        tool::run(Command::new("sfdisk").args(["--quiet", "--relocate", "gpt-bak-std"]).arg(disk))?;
    }
    Ok(())
}

fn empty(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    Ok(())
}
