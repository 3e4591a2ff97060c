//! Import against casync, which also cuts by content and keeps each chunk once: time, and what the store takes.
//!
//! The data are the golden test image, the same image built again after an update (a fresh file system), the same disk updated in
//! place, its tree as a squashfs, and its larger files in an NTFS.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Cost, Figure, Programs, costs};
use crate::cache::Cache;
use crate::golden::{self, CheckIn};
use crate::tool;

const RUNS: usize = 5;
/// An update changes one file in so many.
const CHANGED_ONE_IN: usize = 9;
const NTFS_LEN: u64 = 512 << 20;

/// Import and what is stored.
///
/// # Errors
/// When a program fails.
pub fn import(programs: &Programs, dir: &Path) -> Result<Vec<Figure>> {
    let data = Data::make(programs, dir)?;
    let bench = Bench { programs, dir };
    let mut figures = Vec::new();
    let disks = [("v1", &data.v1, 0.40), ("squashfs", &data.squashfs, 0.40), ("NTFS", &data.ntfs, 0.40)];
    for (what, disk, bound) in disks {
        let (ours, peer) = (costs(RUNS, || bench.ours_anew(disk))?, costs(RUNS, || bench.peer_anew(disk))?);
        figures.extend(both(&format!("import {what}"), ours, peer, "casync make", bound));
    }
    figures.extend(bench.stored(&[&data.v1, &data.rebuilt, &data.updated])?);
    Ok(figures)
}

fn both(what: &str, ours: Cost, peer: Cost, against: &str, bound: f64) -> [Figure; 2] {
    [
        Figure::at_most(&format!("images/{what} cpu s"), ours.cpu, peer.cpu, against, bound),
        Figure::at_most(&format!("images/{what} wall s"), ours.wall, peer.wall, against, bound),
    ]
}

struct Bench<'a> {
    programs: &'a Programs,
    dir: &'a Path,
}

impl Bench<'_> {
    fn ours(&self, disk: &Path, version: &str) -> Command {
        let mut command = Command::new(&self.programs.programs.appliance);
        command.args(["image", "import"]).arg(disk).args(["--name", "hmi", "--version", version]);
        command.env("GROUNDSTATE_STORE", self.store());
        command
    }

    fn peer(&self, disk: &Path) -> Command {
        let mut command = Command::new("casync");
        command.args(["make", "--store"]).arg(self.peer_store()).arg(self.dir.join("disk.caibx")).arg(disk);
        command
    }

    fn ours_anew(&self, disk: &Path) -> Result<Command> {
        empty(&self.store())?;
        Ok(self.ours(disk, "1"))
    }

    fn peer_anew(&self, disk: &Path) -> Result<Command> {
        empty(&self.peer_store())?;
        Ok(self.peer(disk))
    }

    fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    fn peer_store(&self) -> PathBuf {
        self.dir.join("peer.castr")
    }

    /// All these disks in one store: the chunks' bytes, and what the files take on disk.
    fn stored(&self, disks: &[&PathBuf]) -> Result<Vec<Figure>> {
        empty(&self.store())?;
        empty(&self.peer_store())?;
        for (number, disk) in disks.iter().enumerate() {
            tool::run(&mut self.ours(disk, &number.to_string()))?;
            tool::run(&mut self.peer(disk))?;
        }
        let ((ours, ours_taken), (peer, peer_taken)) = (sizes(&self.store())?, sizes(&self.peer_store())?);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        Ok(vec![
            Figure::at_most("images/v1 and both v2 MiB", mib(ours), mib(peer), "casync's chunks", 1.05),
            Figure::at_most(
                "images/the same on disk MiB",
                mib(ours_taken),
                mib(peer_taken),
                "casync's files, on disk",
                1.0,
            ),
        ])
    }
}

/// Bytes of the files below `dir`, and what they take on disk.
fn sizes(dir: &Path) -> Result<(u64, u64)> {
    let (mut len, mut taken) = (0, 0);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        taken += metadata.blocks() * 512;
        if metadata.is_dir() {
            let (inner_len, inner_taken) = sizes(&entry.path())?;
            (len, taken) = (len + inner_len, taken + inner_taken);
        } else {
            len += metadata.len();
        }
    }
    Ok((len, taken))
}

fn empty(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    Ok(())
}

struct Data {
    v1: PathBuf,
    rebuilt: PathBuf,
    updated: PathBuf,
    squashfs: PathBuf,
    ntfs: PathBuf,
}

impl Data {
    fn make(programs: &Programs, dir: &Path) -> Result<Self> {
        let (cache, check_in) = (Cache::open()?, CheckIn::Agent(programs.programs.agent.clone()));
        let v1 = golden::image(&cache, 1, &check_in)?;
        let [rebuilt, updated, squashfs, ntfs] =
            ["rebuilt.raw", "updated.raw", "tree.squashfs", "files.ntfs"].map(|name| dir.join(name));
        golden::changed(&cache, &check_in, &rebuilt, |root| {
            for path in to_change(root)? {
                let file = root.join(&path);
                fs::write(&file, new_content(&fs::read(&file)?))?;
            }
            Ok(())
        })?;
        let work = dir.join("tree");
        fs::create_dir(&work)?;
        let root = golden::unpack(&work, &golden::tree(&cache)?)?;
        update(&root, &v1, &updated)?;
        tool::run(Command::new("mksquashfs").arg(&root).arg(&squashfs).args(["-quiet", "-no-progress"]))?;
        whole_sectors(&squashfs)?;
        fill_ntfs(&root, &ntfs)?;
        tool::run(tool::as_root("rm").arg("-rf").arg(&root))?;
        Ok(Self { v1, rebuilt, updated, squashfs, ntfs })
    }
}

/// The files that an update changes, by their paths in the tree.
fn to_change(root: &Path) -> Result<Vec<String>> {
    let all = regular_files(root, "usr/lib")?;
    Ok(all.into_iter().step_by(CHANGED_ONE_IN).collect())
}

fn regular_files(root: &Path, below: &str) -> Result<Vec<String>> {
    let listing = tool::run(Command::new("find").current_dir(root).arg(below).args(["-type", "f"]))?;
    let mut files: Vec<String> = listing.lines().map(str::to_owned).collect();
    files.sort();
    Ok(files)
}

/// What a rebuilt library looks like: much the same code behind other addresses, and a little more of it.
fn new_content(old: &[u8]) -> Vec<u8> {
    let mut bytes = old.to_vec();
    for at in (0..bytes.len()).step_by(509) {
        bytes[at] = bytes[at].wrapping_add(7);
    }
    bytes.extend(old.iter().take(600).rev());
    bytes
}

/// `from` with the changed files written into its root file system, as a package manager would: each into new blocks.
fn update(root: &Path, from: &Path, to: &Path) -> Result<()> {
    tool::run(Command::new("cp").arg("--sparse=always").arg(from).arg(to))?;
    let (script, new) = (to.with_extension("debugfs"), to.with_extension("new"));
    fs::create_dir(&new)?;
    let mut lines = String::new();
    for (number, path) in to_change(root)?.iter().enumerate() {
        let content = new.join(number.to_string());
        fs::write(&content, new_content(&fs::read(root.join(path))?))?;
        lines.push_str(&format!("rm /{path}\nwrite {} /{path}\n", content.display()));
    }
    fs::write(&script, lines)?;
    let filesystem = format!("{}?offset={}", to.display(), golden::ROOT_OFFSET);
    tool::run(Command::new("debugfs").args(["-w", "-f"]).arg(&script).arg(filesystem))
        .context("the root file system of the golden image was not updated")?;
    fs::remove_dir_all(&new).map_err(Into::into)
}

fn whole_sectors(path: &Path) -> Result<()> {
    let file = fs::File::options().write(true).open(path)?;
    file.set_len(file.metadata()?.len().next_multiple_of(4096)).map_err(Into::into)
}

/// An NTFS with the larger files of the tree in its root directory.
fn fill_ntfs(root: &Path, to: &Path) -> Result<()> {
    fs::File::create(to)?.set_len(NTFS_LEN)?;
    tool::run(Command::new("mkntfs").args(["--force", "--fast", "--quiet"]).arg(to))?;
    let mut copied = 0;
    for (number, path) in regular_files(root, "usr/lib")?.iter().enumerate() {
        let file = root.join(path);
        if fs::metadata(&file)?.len() >= 256 << 10 {
            let name = format!("file-{number}");
            tool::run(Command::new("ntfscp").args(["--force", "--quiet"]).arg(to).arg(&file).arg(name))?;
            copied += 1;
        }
    }
    if copied == 0 {
        bail!("the tree has no large files; the NTFS is empty");
    }
    Ok(())
}
