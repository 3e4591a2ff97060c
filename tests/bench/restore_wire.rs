//! Restore over the network: the agent's path onto a file, from an appliance that serves, against the pipes that people use today.
//!
//! Ours verifies every chunk, syncs, and reads back every byte; `bmaptool` and `curl | zstd -d | dd` do none of it, casync has no
//! network here. The forms are those of a plant: a blank disk, a disk that drifted, one of which a fifth was encrypted, the next version.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::images_serve::{PEER_PORT, nginx_config};
use super::restore::{copy, fresh, same};
use super::{Cost, Figure, Programs, Server, costs};
use crate::cache::Cache;
use crate::golden::{self, CheckIn};
use crate::plant::{APPLIANCE, BRIDGE, Plant};
use crate::site::{IMAGE, Site};
use crate::tool;

const RUNS: usize = 5;
/// Bytes that a run of encryption overwrites, and how far apart: a fifth of what the disk holds.
const RANSOM: (usize, u64) = (1 << 20, 5 << 20);

/// The table of the restore path.
///
/// # Errors
/// When a program fails, or what it restored is not the image.
pub fn restore(programs: &Programs, plant: &Plant) -> Result<Vec<Figure>> {
    let cache = Cache::open()?;
    let image = |release| golden::image(&cache, release, &CheckIn::Agent(programs.programs.agent.clone()));
    let (v1, v2) = (image(1)?, image(2)?);
    let dir = plant.dir().join("restore-wire");
    fs::create_dir_all(&dir)?;
    let site = Site::at(&dir.join("site"), &programs.programs);
    site.prepare_image(&v1)?;
    site.import(&v2, 2)?;
    site.say(&["trust", "export", "--site", "bench", "--out", &site.path("trust.json")])?;
    let mut serve = Command::new(&programs.programs.appliance);
    serve.arg("serve").arg("--config").arg(config(&dir, &site, "")?).env("RUST_LOG", "info");
    let _server = Server::start(&mut serve, "\"ready\"", dir.join("serve.log"))?;
    let bench = Bench { programs, site: &site, dir: &dir };

    let mut figures = bench.blank(&v1)?;
    figures.push(bench.unchanged(&v1)?);
    figures.extend(bench.overwritten(&v1)?);
    figures.extend(bench.next_version(&v1)?);
    Ok(figures)
}

pub(super) struct Bench<'b> {
    pub programs: &'b Programs,
    pub site: &'b Site,
    pub dir: &'b Path,
}

impl Bench<'_> {
    fn agent(&self, image: &str, disk: &Path) -> Command {
        let mut command = Command::new(&self.programs.programs.agent);
        command.args(["restore", "--trust", &self.site.path("trust.json"), "--image", image, "--disk"]);
        command.arg(disk).arg(format!("http://{APPLIANCE}"));
        command
    }

    pub fn id(&self, image: &str) -> Result<String> {
        let list: serde_json::Value =
            serde_json::from_str(&self.site.say(&["image", "show", image, "--json"])?)?;
        list["image"].as_str().map(ToOwned::to_owned).context("`image show` names the image")
    }

    /// What one restore did, as it says itself.
    pub fn done(&self, image: &str, disk: &Path) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&tool::run(&mut self.agent(image, disk))?)?)
    }

    fn blank(&self, v1: &Path) -> Result<Vec<Figure>> {
        let (id, disk, packed) =
            (self.id(&format!("{IMAGE}:1"))?, self.dir.join("disk.raw"), self.dir.join("v1.zst"));
        tool::run(Command::new("zstd").args(["-q", "-f", "-3", "-T2"]).arg(v1).arg("-o").arg(&packed))?;
        let map = self.dir.join("v1.bmap");
        tool::run(Command::new("bmaptool").args(["create", "-o"]).arg(&map).arg(v1))?;
        let ours = costs(RUNS, || {
            fresh(&disk)?;
            Ok(self.agent(&id, &disk))
        })?;
        same(v1, &disk)?;
        let memory =
            self.done(&id, &disk)?["memory_peak_bytes"].as_f64().context("the agent says its memory")?;
        let bmaptool = costs(RUNS, || {
            fresh(&disk)?;
            let mut command = Command::new("bmaptool");
            command.args(["-q", "copy", "--bmap"]).arg(&map).arg(&packed).arg(&disk);
            Ok(command)
        })?;
        let pipe = self.pipe(&packed, &disk)?;
        let name = |what: &str| format!("restore-wire/blank {what}");
        Ok(vec![
            Figure::at_most(&name("wall s"), ours.wall, bmaptool.wall, "bmaptool copy of a .zst", 1.15),
            Figure::at_most(&name("cpu s"), ours.cpu, bmaptool.cpu, "bmaptool copy of a .zst", 1.15),
            Figure::at_most(&name("wall, the pipe s"), ours.wall, pipe.wall, "curl | zstd -d | dd", 0.8),
            Figure::at_most(
                "restore-wire/agent memory MiB",
                memory / f64::from(1 << 20),
                256.0,
                "the most",
                1.0,
            ),
        ])
    }

    /// A disk that holds the image already: it is scanned, and read back past the page cache, and nothing is written. Against the same two
    /// readings by dd.
    fn unchanged(&self, v1: &Path) -> Result<Figure> {
        let (id, disk) = (self.id(&format!("{IMAGE}:1"))?, self.dir.join("disk.raw"));
        copy(v1, &disk)?;
        tool::run(Command::new("sync").arg("-f").arg(&disk))?;
        let ours = costs(RUNS, || Ok(self.agent(&id, &disk)))?;
        let dd = costs(RUNS, || {
            let mut shell = Command::new("sh");
            let read = "dd if=\"$1\" of=/dev/null bs=4M status=none";
            shell.args(["-c", &format!("{read} && {read} iflag=direct"), "sh"]).arg(&disk);
            Ok(shell)
        })?;
        let name = "restore-wire/scan and read-back wall s";
        Ok(Figure::at_most(name, ours.wall, dd.wall, "dd, once cached and once direct", 1.0 / 0.9))
    }

    /// The pipe that people write an image with, from a web server on the same computer.
    fn pipe(&self, packed: &Path, disk: &Path) -> Result<Cost> {
        let name = packed.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        let mut nginx = Command::new("nginx");
        nginx.arg("-c").arg(nginx_config(self.dir, self.dir)?);
        let _nginx = Server::start(&mut nginx, super::NGINX_READY, self.dir.join("nginx.log"))?;
        costs(RUNS, || {
            fresh(disk)?;
            let mut command = Command::new("bash");
            let script = format!(
                "set -o pipefail; curl -sf http://{APPLIANCE}:{PEER_PORT}/{name} | zstd -dc | dd of={} bs=4M conv=fsync status=none",
                disk.display()
            );
            command.args(["-c", &script]);
            Ok(command)
        })
    }

    /// A disk that drifted, and one of which a fifth was encrypted.
    fn overwritten(&self, v1: &Path) -> Result<Vec<Figure>> {
        let id = self.id(&format!("{IMAGE}:1"))?;
        let (ransomed, drifted) = (self.dir.join("ransomed.raw"), self.dir.join("drifted.raw"));
        let changed = ransom(v1, &ransomed)?;
        copy(v1, &drifted)?;
        // Where the image has data: a log that grew, say.
        let at = fs::metadata(&changed)?.len() / 2;
        drift(&drifted, at)?;
        let disk = self.dir.join("disk.raw");
        let fetched = |from: &Path| -> Result<(f64, f64)> {
            copy(from, &disk)?;
            let done = self.done(&id, &disk)?;
            let bytes = |what: &str| done[what].as_f64().context("the agent says what came over");
            Ok((bytes("fetched_stored")?, bytes("fetched")?))
        };
        let ((of_ransom, whole_chunks), (of_drift, _)) = (fetched(&ransomed)?, fetched(&drifted)?);
        let overwritten = fs::metadata(&changed)?.len() as f64;
        let ours = costs(RUNS, || {
            copy(&ransomed, &disk)?;
            Ok(self.agent(&id, &disk))
        })?;
        let (store, index, out) =
            (self.dir.join("peer.castr"), self.dir.join("v1.caibx"), self.dir.join("peer.raw"));
        tool::run(Command::new("casync").args(["make", "--store"]).arg(&store).arg(&index).arg(v1))?;
        let casync = costs(RUNS, || {
            fresh(&out)?;
            let mut command = Command::new("casync");
            command
                .args(["extract", "--store"])
                .arg(&store)
                .arg("--seed")
                .arg(&ransomed)
                .arg(&index)
                .arg(&out);
            Ok(command)
        })?;
        fresh(&out)?;
        let packed = self.dir.join("changed.zst");
        tool::run(Command::new("zstd").args(["-q", "-f", "-3"]).arg(&changed).arg("-o").arg(&packed))?;
        let least = fs::metadata(&packed)?.len() as f64;
        let mib = f64::from(1 << 20);
        Ok(vec![
            Figure::at_most(
                "restore-wire/ransomed wall s",
                ours.wall,
                casync.wall,
                "casync extract --seed",
                0.06,
            ),
            Figure::at_most(
                "restore-wire/ransomed cpu s",
                ours.cpu,
                casync.cpu,
                "casync extract --seed",
                0.06,
            ),
            Figure::at_most(
                "restore-wire/ransomed wire MiB",
                of_ransom / mib,
                least / mib,
                "zstd -3 of what changed",
                1.05,
            ),
            // Of the ratio above, what is due to fetching whole chunks; the rest is what frames of a chunk compress worse than one stream.
            Figure::at_most(
                "restore-wire/ransomed chunks MiB",
                whole_chunks / mib,
                overwritten / mib,
                "what changed, not compressed",
                1.15,
            ),
            Figure::at_most("restore-wire/drifted wire MiB", of_drift / mib, 1.0, "1 MiB", 1.0),
        ])
    }

    fn next_version(&self, v1: &Path) -> Result<Vec<Figure>> {
        let (id, disk) = (self.id(&format!("{IMAGE}:2"))?, self.dir.join("disk.raw"));
        let wire = || -> Result<f64> {
            self.done(&id, &disk)?["fetched_stored"].as_f64().context("the agent says what came over")
        };
        fresh(&disk)?;
        let full = wire()?;
        copy(v1, &disk)?;
        let rebuilt = wire()?;
        let mib = f64::from(1 << 20);
        let name = "restore-wire/v1 to v2 wire MiB";
        Ok(vec![Figure::at_most(name, rebuilt / mib, full / mib, "a full restore of v2", 0.6)])
    }
}

/// A copy of which a fifth of what it holds was overwritten with noise; the bytes that were there, in a file.
fn ransom(disk: &Path, ransomed: &Path) -> Result<PathBuf> {
    copy(disk, ransomed)?;
    let file = OpenOptions::new().read(true).write(true).open(ransomed)?;
    let (len, step) = RANSOM;
    let noise = half_noise(2 * len);
    let (mut lost, mut held) = (Vec::new(), vec![0; len]);
    for at in (golden::ROOT_OFFSET..golden::DATA_OFFSET - step).step_by(usize::try_from(step)?) {
        file.read_exact_at(&mut held, at)?;
        if held.iter().any(|byte| *byte != 0) {
            file.write_all_at(&noise[..len], at)?;
            lost.extend_from_slice(&held);
        }
    }
    ensure!(!lost.is_empty(), "the golden image holds nothing that could be encrypted");
    let path = ransomed.with_extension("changed");
    fs::write(&path, lost)?;
    Ok(path)
}

/// Overwrites 60,000 bytes that the image has, behind about `held` bytes of its data.
fn drift(disk: &Path, held: u64) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(disk)?;
    let (mut bytes, mut seen) = (vec![0; 60_000], 0);
    for at in (golden::ROOT_OFFSET..golden::DATA_OFFSET - 60_000).step_by(64 << 10) {
        file.read_exact_at(&mut bytes, at)?;
        let full = bytes.chunks(4096).all(|block| block.iter().any(|byte| *byte != 0));
        seen += if full { bytes.len() as u64 } else { 0 };
        if full && seen > held {
            return Ok(file.write_all_at(&[0xd5; 60_000], at)?);
        }
    }
    bail!("the golden image holds no run of data to drift")
}

/// Noise in the first half, zeros in the second.
pub(super) fn half_noise(len: usize) -> Vec<u8> {
    let mut word = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = vec![0; len];
    for piece in bytes[..len / 2].chunks_exact_mut(8) {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        piece.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The configuration of an appliance that serves this site's images, with `more` behind it.
pub(super) fn config(dir: &Path, site: &Site, more: &str) -> Result<PathBuf> {
    let path = dir.join("serve.toml");
    let text = format!(
        "site = \"bench\"\ndata_dir = \"{}\"\nimage_store_dir = \"{}\"\ntrust_root_file = \"{}\"\n[[interfaces]]\nname = \"{BRIDGE}\"\n{more}",
        site.path("data"),
        site.path("store"),
        site.path("root.json")
    );
    fs::write(&path, text)?;
    Ok(path)
}
