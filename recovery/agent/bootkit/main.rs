//! `groundstate-bootkit`: builds the recovery system and the files by which firmware reaches it.
//!
//! ```text
//! Debian's packages ─┬─ kernel ────────────────────────────► vmlinuz ────────┐
//!                    ├─ modules (table) ─┐                                     ├─► recovery.efi (UKI)
//! static agent ──────┼──────────────────►├─► base (zstd) ─► initrd.img ───────┘
//! trust.json ────────┼──────────────────►└─► first segment
//! the site's db.key ─┼────────────────────────────────────────────────────────► signs recovery.efi, where there is one
//!                    └─ shim, GRUB, iPXE (as signed and shipped) ────────────► shimx64.efi grubx64.efi snponly.efi undionly.kpxe
//!                                                          kit.json: sizes and digests of all, what they measure
//! ```
//!
//! The same input gives the same bytes. The kit belongs to one appliance: its key is inside.
//!
//! It must never contain a secret: a kit is served to anyone who asks.

mod authenticode;
mod boot_key;
mod cpio;
mod enrol_files;
mod keys;
mod kit;
mod modules;
mod packages;
mod pkcs7;
mod stick;
mod uki;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};

/// Build the recovery system and its boot files
#[derive(Debug, Parser)]
#[command(name = "groundstate-bootkit", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a boot kit for one appliance
    Build(Build),
    /// The site's Secure Boot keys
    #[command(subcommand)]
    Key(keys::Key),
    /// Write a kit's recovery system as a stick: for USB, and as a CD for a BMC's virtual media
    Stick(Stick),
}

#[derive(Debug, Args)]
struct Stick {
    /// Directory of the kit
    #[arg(long, default_value = "/var/lib/groundstate/kit")]
    kit: PathBuf,
    /// File to write: copy it to a stick whole (`dd`), or attach it as a CD. Left out: it is put into the kit, from where the appliance
    /// hands it to BMCs (`--virtual-media`)
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Build {
    /// Static `groundstate-agent` binary: a file, or a name that is looked for beside this program and in PATH
    #[arg(long, default_value = "groundstate-agent")]
    agent: PathBuf,
    /// Whom the recovery system trusts: `trust.json` of the appliance
    #[arg(long)]
    trust: PathBuf,
    /// Directory to write the kit to; made when missing
    #[arg(long)]
    out: PathBuf,
    /// Debian kernel package, or meta-package
    #[arg(long, default_value = "linux-image-amd64", conflicts_with = "kernel_dir")]
    kernel_package: String,
    /// Root of an unpacked kernel package, instead of a download: holds `boot/` and `lib/modules/`
    #[arg(long)]
    kernel_dir: Option<PathBuf>,
    /// Address of the appliance's endpoint listener for the UKI's command line, `ip:port`
    #[arg(long)]
    appliance: Option<std::net::SocketAddr>,
    /// Consoles for the UKI's command line, in the kernel's form; the last one is `/dev/console`
    #[arg(long, default_values = ["tty0", "ttyS0,115200n8"])]
    console: Vec<String>,
    /// The site's key (`db.key` of `key new`): signs the unified kernel image, so that it starts under Secure Boot
    #[arg(long)]
    key: Option<PathBuf>,
    #[command(flatten)]
    passphrase: keys::Passphrase,
    /// Directory that keeps downloaded packages [default: ~/.cache/groundstate/packages]
    #[arg(long, env = "GROUNDSTATE_PACKAGE_CACHE")]
    cache: Option<PathBuf>,
}

/// A program by its name alone is looked for as a shell would; a path is itself.
fn program(name: &Path) -> PathBuf {
    if name.components().count() != 1 || name.exists() {
        return name.to_owned();
    }
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.to_owned()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = beside.into_iter().chain(std::env::split_paths(&path)).map(|dir| dir.join(name));
    found.into_iter().find(|file| file.is_file()).unwrap_or_else(|| name.to_owned())
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Build(order) => build(order),
        Command::Key(keys::Key::New(order)) => {
            print!("{}", keys::new(&order)?);
            Ok(())
        }
        Command::Stick(order) => {
            print!("{}", stick::write(&order.kit, order.out.as_deref())?);
            Ok(())
        }
    }
}

fn build(order: Build) -> Result<()> {
    let home =
        || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/groundstate/packages"));
    let cache = order.cache.or_else(home).context("there is no HOME; name a directory with --cache")?;
    let signer = match &order.key {
        Some(key) => {
            Some(boot_key::Signer::open(key, order.passphrase.read()?.as_ref().map(|p| p.as_str()))?)
        }
        None => None,
    };
    let packages = packages::Packages::new(&cache);
    let kernel = match order.kernel_dir {
        Some(dir) => dir,
        None => packages.unpacked(&packages::kernel_package(&order.kernel_package)?)?,
    };
    let input = kit::Input::read(&packages, &kernel, &program(&order.agent), &order.trust)?;
    let kit = kit::build(&input, &kit::command_line(order.appliance, &order.console), signer.as_ref())?;
    kit.write(&order.out)?;
    print!("{}", kit.table());
    Ok(())
}
