//! The Debian packages that the lab needs: find which are missing, ask, install.
//!
//! Installs nothing without a yes: typed, `--yes`, or `CI=true`. Knows Debian only; elsewhere it prints the list.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A Debian package and why the lab wants it.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// Its name in Debian 12.
    pub name: &'static str,
    /// What it is for, in a few words.
    pub why: &'static str,
}

const fn package(name: &'static str, why: &'static str) -> Package {
    Package { name, why }
}

/// What the demo and the end-to-end stories need.
pub const PLANT: &[Package] = &[
    package("qemu-system-x86", "runs virtual endpoints"),
    package("ovmf", "their UEFI firmware, with and without Secure Boot"),
    package("seabios", "their BIOS firmware"),
    package("ipxe-qemu", "the network boot ROMs of their adapters"),
    package("swtpm", "their TPM"),
    package("swtpm-tools", "makes a new TPM"),
    package("openipmi", "their BMC (ipmi_sim)"),
    package("ipmitool", "how the appliance speaks to a BMC"),
    package("mmdebstrap", "builds the golden test image"),
    package("uidmap", "lets it do so without root"),
    package("fdisk", "partitions a disk image (sfdisk)"),
    package("mtools", "makes and fills the EFI system partition without a mount"),
    package("e2fsprogs", "makes the root file system"),
    package("shim-signed", "the first boot loader, signed by Microsoft"),
    package("grub-efi-amd64-signed", "the second, signed by Debian"),
    package("systemd-boot-efi", "the stub that joins kernel and agent into one file"),
    package("ipxe", "boots the recovery system over HTTP"),
    package("iproute2", "makes bridge and taps"),
    package("util-linux", "makes the namespace (unshare)"),
    package("zstd", "packs the recovery system"),
    package("cpio", "unpacks it again in tests"),
    package("binutils", "assembles the kernel image (objcopy)"),
    package("curl", "sends the verifier's webhook; an HTTP peer"),
    package("ca-certificates", "lets apt and cargo fetch over HTTPS"),
];

/// What tests need on top of [`PLANT`].
pub const VERIFY: &[Package] = &[
    package("g++", "links the fuzz targets"),
    package("atftp", "a TFTP peer"),
    package("dnsmasq-base", "another DHCP and boot server"),
    package("tftp-hpa", "a TFTP peer"),
    package("udhcpc", "a DHCP peer"),
    package("dhcping", "a DHCP peer"),
    package("minisign", "a peer for signatures"),
    package("softhsm2", "a token that keeps signers' keys"),
    package("openssl", "a peer for certificates"),
    package("sbsigntool", "a peer for Secure Boot signatures (sbverify)"),
    package("genisoimage", "a peer for the recovery stick as a CD (isoinfo)"),
    package("efitools", "a peer for signature lists"),
    package("snmp", "switches power strips over SNMP (snmpget, snmpset)"),
    package("snmpd", "a peer for that"),
    package("python3-venv", "runs a Redfish BMC (sushy-emulator, from PyPI)"),
    package("strongswan-pki", "an EST peer"),
    package("libcharon-extra-plugins", "its HTTP fetcher"),
    package("libstrongswan-standard-plugins", "its cryptography"),
    package("tpm2-tools", "a TPM peer"),
    package("qemu-utils", "a peer for formats of virtual disks (qemu-img)"),
    package("xz-utils", "a peer for compressed disks"),
    package("age", "a peer for backups and support bundles"),
    package("strace", "counts what `--help` opens"),
    package("rsyslog", "a peer for evidence that goes to a SIEM"),
    package("python3-aiosmtpd", "a peer for notifications by mail"),
    package("mosquitto", "a peer for notifications by MQTT"),
    package("mosquitto-clients", "its subscriber"),
    package("prometheus", "reads what is measured (promtool)"),
    package("slapd", "a peer for people from a directory"),
    package("python3-authlib", "an OpenID provider"),
    package("python3-flask", "its HTTP"),
    package("rsyslog-openssl", "its TLS"),
    package("postgresql-15", "the other database"),
    package("sqlite3", "tampers with an evidence log"),
    package("xfsprogs", "a peer for what an XFS leaves free"),
    package("ntfs-3g", "a peer for what an NTFS leaves free"),
    package("dosfstools", "a peer for what a FAT leaves free"),
    package("systemd", "weighs the unit of the appliance (systemd-analyze)"),
    package("poppler-utils", "reads the PDF of a report (pdftotext)"),
    package("qpdf", "weighs it"),
    package("ifupdown", "takes an endpoint's own addresses in tests"),
];

/// What the console is looked at with.
pub const BROWSER: &[Package] = &[
    package("chromium", "the browser"),
    package("python3-venv", "fetches axe-core, which judges pages (from PyPI)"),
    package("fonts-liberation", "letters for its pictures"),
    package("fonts-wqy-microhei", "Chinese ones"),
];

/// What the boards of other processors need.
pub const BOARDS: &[Package] = &[
    package("qemu-system-arm", "runs a board of 64-bit Arm"),
    package("qemu-efi-aarch64", "its UEFI firmware"),
    package("ovmf-ia32", "UEFI firmware of 32 bits"),
];

/// A peer of a bench.
pub const TFTPD_HPA: Package = package("tftpd-hpa", "the TFTP server to compare with");
/// A peer of a bench.
pub const DNSMASQ: Package = package("dnsmasq-base", "the DHCP and TFTP server to compare with");
/// A client of a bench.
pub const ATFTP: Package = package("atftp", "the TFTP client that knows windows");
/// What a bench makes its data with.
pub const SQUASHFS: Package = package("squashfs-tools", "makes a squashfs to import");
/// What a bench makes its data with.
pub const NTFS: Package = package("ntfs-3g", "makes an NTFS to import");
/// What a bench makes its data with.
pub const QEMU_IMG: Package = package("qemu-utils", "makes the qcow2 to import");
/// What a bench fills a database with.
pub const SQLITE: Package = package("sqlite3", "fills an appliance's database");
/// A peer of a bench.
pub const ARGON2: Package = package("argon2", "the password hash to compare with");
/// What a bench makes its data with.
pub const XZ: Package = package("xz-utils", "makes the .xz to import");
/// A peer of a bench.
pub const NGINX: Package = package("nginx-light", "the HTTP server to compare with");
/// A peer of a bench.
pub const BMAPTOOL: Package = package("bmap-tools", "the image writer to compare with");
/// A peer of a bench.
pub const CASYNC: Package = package("casync", "the image store and the restore to compare with");

/// Sees to it that every package in `sets` is installed.
///
/// # Errors
/// When this is no Debian, when the person says no, when nobody can be asked, or when apt-get fails.
pub fn ensure(sets: &[&[Package]], yes: bool) -> Result<()> {
    let mut wanted: Vec<&Package> = Vec::new();
    for package in sets.iter().flat_map(|set| set.iter()) {
        if wanted.iter().all(|known| known.name != package.name) {
            wanted.push(package);
        }
    }
    let missing = missing(&wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut list = String::new();
    for package in &missing {
        let _ = writeln!(list, "  {:<24} {}", package.name, package.why);
    }
    eprintln!("These Debian packages are missing:\n{list}");
    let agreed = yes || ci() || ask(&missing)?;
    if !agreed {
        bail!("nothing was installed. {}", by_hand(&missing));
    }
    install(&missing)?;
    // A wanted package of another release may have had to go for one of these (qemu-utils of the backports for
    // qemu-system-x86): it comes back in the release that fits the others.
    let gone = self::missing(&wanted)?;
    if gone.is_empty() { Ok(()) } else { install(&gone) }
}

/// Whether this runs unattended in a build service (`CI=true`).
#[must_use]
pub fn ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

fn missing<'a>(wanted: &[&'a Package]) -> Result<Vec<&'a Package>> {
    // dpkg-query leaves with 1 as soon as one package is unknown, and still lists the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Abbrev} ${Package}\n"])
        .args(wanted.iter().map(|package| package.name))
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("this is not a Debian system (no dpkg-query). {}", by_hand(wanted)))?;
    let installed = installed(&String::from_utf8_lossy(&output.stdout));
    Ok(wanted.iter().copied().filter(|package| !installed.iter().any(|name| name == package.name)).collect())
}

/// The names in a dpkg-query listing whose state is "installed".
fn installed(listing: &str) -> Vec<String> {
    listing.lines().filter_map(|line| line.strip_prefix("ii ")).map(|name| name.trim().to_owned()).collect()
}

fn ask(missing: &[&Package]) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here: run again with --yes. {}", by_hand(missing));
    }
    eprint!("Install them now with apt-get? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn install(missing: &[&Package]) -> Result<()> {
    let hint = || by_hand(missing);
    eprintln!("\u{b7} installing them, quietly; a minute or two");
    crate::tool::run(apt().arg("update")).with_context(hint)?;
    crate::tool::run(
        apt()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(missing.iter().map(|package| package.name)),
    )
    .map(drop)
    .with_context(hint)
}

fn apt() -> Command {
    let root = nix::unistd::geteuid().is_root();
    let mut command = Command::new(if root { "env" } else { "sudo" });
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]);
    command
}

fn by_hand(packages: &[&Package]) -> String {
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    format!("To do it by hand: sudo apt-get install --no-install-recommends {}", names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fully_installed_packages_count() {
        let listing = "ii  qemu-system-x86\nrc  swtpm\nun  ovmf\nii  mtools\n";
        assert_eq!(installed(listing), ["qemu-system-x86", "mtools"]);
    }

    #[test]
    fn an_unknown_package_is_missing_and_an_essential_one_is_not() {
        let absent = package("no-such-package-anywhere", "test");
        let present = package("util-linux", "test");
        let missing = missing(&[&absent, &present]).unwrap();
        assert_eq!(
            missing.iter().map(|package| package.name).collect::<Vec<_>>(),
            ["no-such-package-anywhere"]
        );
    }
}
