//! The TPM of a virtual endpoint: swtpm, whose state survives every reimage and goes only with a new board.
//!
//! Words: *making* gives the TPM its seeds and its SHA-256 bank; *starting* runs it for one life of the QEMU process, which ends it by
//! closing the connection.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// The TPM whose state is in one directory.
#[derive(Debug, Clone)]
pub struct Tpm {
    dir: PathBuf,
}

impl Tpm {
    /// The TPM kept in `dir`, made when the directory does not exist.
    ///
    /// # Errors
    /// When `swtpm_setup` fails.
    pub fn make(dir: impl Into<PathBuf>) -> Result<Self> {
        let tpm = Self { dir: dir.into() };
        if !tpm.dir.exists() {
            fs::create_dir_all(&tpm.dir)?;
            crate::tool::run(
                Command::new("swtpm_setup")
                    .args(["--tpm2", "--pcr-banks", "sha256", "--tpmstate"])
                    .arg(&tpm.dir),
            )
            .context("cannot make a TPM")?;
        }
        Ok(tpm)
    }

    /// Puts a TPM with other seeds in its place: what a new mainboard brings. Only while it is not running.
    ///
    /// # Errors
    /// When the old state cannot be removed or the new one made.
    pub fn replace(&self) -> Result<()> {
        fs::remove_dir_all(&self.dir)?;
        Self::make(&self.dir).map(drop)
    }

    /// Runs it until whoever connects to `socket` closes the connection.
    ///
    /// # Errors
    /// When swtpm cannot be started.
    pub fn start(&self, socket: &Path) -> Result<Child> {
        let _ = fs::remove_file(socket);
        // The socket is bound here and handed over as descriptor 0, so QEMU can connect at once, however late swtpm comes to it.
        let listener =
            UnixListener::bind(socket).with_context(|| format!("cannot bind {}", socket.display()))?;
        let state = format!("dir={}", self.dir.display());
        Command::new("swtpm")
            .args(["socket", "--tpm2", "--tpmstate", &state, "--ctrl", "type=unixio,fd=0", "--terminate"])
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start swtpm")
    }
}
