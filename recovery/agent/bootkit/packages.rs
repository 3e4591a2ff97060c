//! Files of Debian packages: from this machine when the package is installed, else from a download kept in a cache.
//!
//! Packages come through apt, so their origin is checked by apt's keys. Nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Where packages are unpacked: one directory for each.
#[derive(Debug, Clone)]
pub struct Packages {
    cache: PathBuf,
}

impl Packages {
    /// Keeps downloads below `cache`.
    pub fn new(cache: &Path) -> Self {
        Self { cache: cache.to_owned() }
    }

    /// The file `path` (without a leading `/`) of `package`.
    pub fn file(&self, package: &str, path: &str) -> Result<PathBuf> {
        let installed = Path::new("/").join(path);
        if installed.is_file() {
            return Ok(installed);
        }
        let file = self.unpacked(package)?.join(path);
        if !file.is_file() {
            bail!("package {package} holds no {path}; is this Debian 12 (bookworm)?");
        }
        Ok(file)
    }

    /// The root of the unpacked `package`; downloads the newest version that apt knows unless it is here already.
    pub fn unpacked(&self, package: &str) -> Result<PathBuf> {
        let version = candidate(package)?;
        let target = self.cache.join(format!("{package}_{}", version.replace(['/', ':'], "_")));
        if target.is_dir() {
            return Ok(target);
        }
        let work = self.cache.join(format!(".{package}.{}", std::process::id()));
        fs::create_dir_all(&work).with_context(|| format!("creating {}", work.display()))?;
        run(Command::new("apt-get")
            .args(["download", "-q", &format!("{package}={version}")])
            .current_dir(&work))
        .with_context(|| format!("downloading {package}; run `apt-get update` if its lists are old"))?;
        let archive = fs::read_dir(&work)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|e| e == "deb"));
        let archive = archive.with_context(|| format!("apt-get download {package} left no file"))?;
        run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(work.join("root")))?;
        // Another builder may have been faster; its copy is as good as ours.
        let moved = fs::rename(work.join("root"), &target);
        let _ = fs::remove_dir_all(&work);
        match target.is_dir() {
            true => Ok(target),
            false => moved.map(|()| target).context("keeping the unpacked package"),
        }
    }
}

/// The version that apt would install.
fn candidate(package: &str) -> Result<String> {
    let text = run(Command::new("apt-cache").args(["policy", package]))?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    match line {
        Some(version) if version != "(none)" => Ok(version.to_owned()),
        _ => bail!(
            "apt knows no package {package}; run `apt-get update`, or check the sources of this machine"
        ),
    }
}

/// The package that a meta-package such as `linux-image-amd64` stands for; itself when it is none.
pub fn kernel_package(package: &str) -> Result<String> {
    let text = run(Command::new("apt-cache").args(["depends", "--important", package]))?;
    let image = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: ").filter(|d| d.starts_with("linux-image-")));
    Ok(image.unwrap_or(package).to_owned())
}

/// Runs a command to its end and returns what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        command.env("LC_ALL", "C").output().with_context(|| format!("starting {name}; is it installed?"))?;
    if !output.status.success() {
        bail!("{name} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
