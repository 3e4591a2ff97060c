//! Debian packages that are only unpacked: those of another architecture, and those that cannot be installed beside others.
//!
//! They come through apt, by its keys, and lie in the cache. Nothing of this computer's own packages changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::{self, Cache};
use crate::tool;

/// The root of what these packages hold. `architecture` in Debian's words; `None`: this computer's.
///
/// # Errors
/// When apt cannot fetch them.
pub fn unpacked(cache: &Cache, packages: &[&str], architecture: Option<&str>) -> Result<PathBuf> {
    let inputs = packages.iter().copied().chain(architecture).map(str::as_bytes);
    cache.file(&format!("debs-{}-{}", packages.join("-"), cache::digest(inputs)), |part| {
        let work = part.with_extension("apt");
        for dir in [&work, part] {
            let _ = fs::remove_dir_all(dir);
            fs::create_dir_all(dir)?;
        }
        let fetched = match architecture {
            None => apt(&work, &[], packages).context("run `apt-get update` if its lists are old"),
            Some(architecture) => foreign(&work, architecture, packages),
        };
        fetched.with_context(|| format!("cannot fetch {}", packages.join(", ")))?;
        for entry in fs::read_dir(&work)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "deb") {
                tool::run(Command::new("dpkg-deb").arg("-x").arg(&path).arg(part))?;
            }
        }
        Ok(fs::remove_dir_all(&work)?)
    })
}

/// With lists of their own, since this computer's apt knows nothing of that architecture.
fn foreign(work: &Path, architecture: &str, packages: &[&str]) -> Result<()> {
    for dir in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(work.join(dir))?;
    }
    let dir = work.display();
    let options = [
        format!("APT::Architecture={architecture}"),
        format!("APT::Architectures={architecture}"),
        format!("Dir::State::lists={dir}/lists"),
        "Dir::State::status=/dev/null".to_owned(),
        format!("Dir::Cache={dir}/cache"),
        "APT::Sandbox::User=root".to_owned(),
        "Acquire::Languages=none".to_owned(),
    ];
    let options: Vec<&str> = options.iter().flat_map(|option| ["-o", option]).collect();
    let mut update = Command::new("apt-get");
    let updated = tool::run(update.args(&options).args(["-q", "update"]).current_dir(work));
    // One list of several that cannot be had need not be the one with these packages.
    apt(work, &options, packages).or_else(|error| updated.and(Err(error)))
}

fn apt(work: &Path, options: &[&str], packages: &[&str]) -> Result<()> {
    let mut download = Command::new("apt-get");
    tool::run(download.args(options).args(["-q", "download"]).args(packages).current_dir(work)).map(drop)
}
