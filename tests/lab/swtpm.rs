//! The TPM of a virtual endpoint: swtpm, whose state survives every reimage and goes only with a new board.
//!
//! Words: *making* gives the TPM its seeds and its SHA-256 bank; *starting* runs it for one life of the QEMU process, which ends it by
//! closing the connection. The *maker* certifies each TPM that it makes, as the makers of real ones do: root, issuer, EK certificate. It is
//! founded anew for each run, so no key of it outlives one.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// Any point of P-256 (its base point): for the certificate by which the maker is founded, which nobody uses.
const ANY_KEY: &str = "x=6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296,\
                       y=4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5,id=secp256r1";

/// Whoever makes TPMs for a run: swtpm's local authority.
#[derive(Debug, Clone)]
pub struct Maker {
    dir: PathBuf,
}

impl Maker {
    /// The maker of a run; founded when it is asked for first.
    ///
    /// # Errors
    /// When `swtpm_localca` fails.
    pub fn of_run(run_dir: &Path) -> Result<Self> {
        let maker = Self { dir: run_dir.join("tpm-maker") };
        if !maker.roots().exists() {
            maker.found().context("cannot found a maker of TPMs")?;
        }
        Ok(maker)
    }

    /// The directory that holds its certificates and nothing else: what a site trusts.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.dir.join("roots")
    }

    fn found(&self) -> Result<()> {
        fs::create_dir_all(&self.dir)?;
        let at = |name: &str| self.dir.join(name).display().to_string();
        let authority = [
            ("statedir", ""),
            ("signingkey", "issuer.key"),
            ("issuercert", "issuer.pem"),
            ("certserial", "serial"),
        ];
        let authority: Vec<String> =
            authority.iter().map(|(key, name)| format!("{key} = {}\n", at(name))).collect();
        fs::write(at("authority"), authority.concat())?;
        fs::write(
            at("options"),
            "--platform-manufacturer Lab --platform-version 1 --platform-model Virtual\n",
        )?;
        let setup =
            [("", "swtpm_localca".to_owned()), ("_config", at("authority")), ("_options", at("options"))];
        let setup: Vec<String> =
            setup.iter().map(|(key, path)| format!("create_certs_tool{key} = {path}\n")).collect();
        fs::write(at("setup"), setup.concat())?;
        crate::tool::run(
            Command::new("swtpm_localca")
                .args(["--type", "ek", "--tpm2", "--vmid", "founding", "--ek", ANY_KEY, "--dir", &at("")])
                .args(["--configfile", &at("authority"), "--optsfile", &at("options")])
                .args(["--tpm-manufacturer", "id:00001014", "--tpm-model", "swtpm", "--tpm-version", "id:1"])
                .args(["--tpm-spec-family", "2.0", "--tpm-spec-level", "0", "--tpm-spec-revision", "164"]),
        )?;
        fs::create_dir(at("roots.part"))?;
        fs::copy(at("swtpm-localca-rootca-cert.pem"), at("roots.part/swtpm.pem"))?;
        // The issuer lies in no TPM that swtpm makes: a site trusts it beside the root.
        fs::copy(at("issuer.pem"), at("roots.part/issuer.pem"))?;
        fs::rename(at("roots.part"), self.roots())?;
        Ok(())
    }
}

/// The TPM whose state is in one directory.
#[derive(Debug, Clone)]
pub struct Tpm {
    dir: PathBuf,
    maker: Maker,
}

impl Tpm {
    /// The TPM kept in `dir`, made by `maker` when the directory does not exist.
    ///
    /// # Errors
    /// When `swtpm_setup` fails.
    pub fn make(dir: impl Into<PathBuf>, maker: &Maker) -> Result<Self> {
        let tpm = Self { dir: dir.into(), maker: maker.clone() };
        if !tpm.dir.exists() {
            fs::create_dir_all(&tpm.dir)?;
            crate::tool::run(
                Command::new("swtpm_setup")
                    .args(["--tpm2", "--create-ek-cert", "--pcr-banks", "sha256", "--config"])
                    .arg(maker.dir.join("setup"))
                    .arg("--tpmstate")
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
        Self::make(&self.dir, &self.maker).map(drop)
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
