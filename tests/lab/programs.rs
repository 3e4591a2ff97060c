//! The real programs under test: built once from this tree, then only run.
//!
//! The agent is built static (`crt-static`, profile `agent`), as it ships; everything else as `cargo build --release` makes it. The lab
//! links none of them.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::tool;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `groundstate`: the appliance and its command line.
    pub appliance: PathBuf,
    /// `groundstate-agent`, one static file.
    pub agent: PathBuf,
    /// `groundstate-bootkit`: builds the recovery system.
    pub bootkit: PathBuf,
    /// This program.
    pub lab: PathBuf,
}

impl Programs {
    /// Builds what is not up to date, with cargo's own progress on the terminal.
    ///
    /// # Errors
    /// When cargo fails; what it said stands above.
    pub fn build() -> Result<Self> {
        Self::build_appliance()?;
        let mut cargo = fresh_cargo();
        cargo.current_dir(root()).args(["build", "--quiet", "--profile", "agent", "-p", "recovery-agent"]);
        cargo.args(["--bin", "groundstate-agent", "--target", TARGET, "--target-dir"]).arg(target_dir()?);
        tool::show(cargo.env("RUSTFLAGS", "-C target-feature=+crt-static"))
            .context("the build failed; what cargo said stands above")?;
        Self::built()
    }

    /// Builds what needs no endpoint: the appliance, and the boot kit beside it. In one go, because each alone would have other features
    /// of the crates that both use, and build those again.
    ///
    /// # Errors
    /// When cargo fails; what it said stands above.
    pub fn build_appliance() -> Result<Self> {
        let mut cargo = fresh_cargo();
        cargo.current_dir(root()).args(["build", "--quiet", "--release", "-p", "recovery-appliance"]);
        cargo.args(["-p", "recovery-agent", "--bin", "groundstate", "--bin", "groundstate-bootkit"]);
        tool::show(cargo.arg("--target-dir").arg(target_dir()?))
            .context("the build failed; what cargo said stands above")?;
        Self::built()
    }

    /// Where [`Programs::build`] put them, without building.
    ///
    /// # Errors
    /// When this program does not lie in a cargo target directory.
    pub fn built() -> Result<Self> {
        let target = target_dir()?;
        Ok(Self {
            appliance: target.join("release/groundstate"),
            agent: target.join(TARGET).join("agent/groundstate-agent"),
            bootkit: target.join("release/groundstate-bootkit"),
            lab: target.join(if cfg!(debug_assertions) { "debug/lab" } else { "release/lab" }),
        })
    }
}

/// An example of a package as `cargo build --release` makes it: built outside of a plant, only found inside of one.
///
/// # Errors
/// When cargo fails; what it said stands above.
pub fn example(package: &str, name: &str) -> Result<PathBuf> {
    let target = target_dir()?;
    if !crate::plant::is_inside() {
        let words = ["build", "--quiet", "--release", "-p", package, "--example", name, "--target-dir"];
        tool::show(fresh_cargo().current_dir(root()).args(words).arg(&target))?;
    }
    Ok(target.join("release/examples").join(name))
}

/// Cargo without what an outer cargo told this program about its own package: build scripts that watch such variables would
/// otherwise build everything again whenever it is started another way.
pub(crate) fn fresh_cargo() -> Command {
    let mut command = Command::new(cargo());
    let about_us =
        |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|p| name.starts_with(p));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(about_us) {
            command.env_remove(name);
        }
    }
    command
}

/// The cargo that started this program, or the one on the path.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}

/// The root of this tree.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.to_owned(), Path::to_owned)
}

/// The target directory this program was built into, so that nothing is built twice.
///
/// # Errors
/// When cargo did not build this program.
pub fn target_dir() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let profile = program
        .ancestors()
        .find(|dir| dir.file_name().is_some_and(|name| name == "release" || name == "debug"))
        .context("this program does not lie in a cargo target directory; start it with cargo")?;
    profile.parent().map(Path::to_owned).context("a cargo target directory has a parent")
}
