//! The Debian package: the programs that ship, their unit, manual pages and completions, put together by `dpkg-deb`.
//!
//! Its parts stand in `recovery/appliance/package`. Nothing in it is built here but what the program says of itself (manual pages,
//! completions), and the installation asks nothing and fetches nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::programs::{Programs, cargo, root};
use crate::{sbom, tool};

/// What the programs link: Debian 12's.
const DEPENDS: &str = "libc6 (>= 2.36), libgcc-s1, systemd";
/// What the appliance calls where the configuration asks for it, and what a boot kit is made of.
const RECOMMENDS: &str =
    "ca-certificates, ipmitool, shim-signed, grub-efi-amd64-signed, systemd-boot-efi, ipxe, zstd, binutils";
const SUGGESTS: &str = "tpm2-tools, postgresql";

/// Builds `groundstate_VERSION_amd64.deb` into `dir`, and returns its path.
///
/// # Errors
/// When a program is not there, or a tool fails.
pub fn build(programs: &Programs, dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let work = tempfile::tempdir_in(dir)?;
    let tree = work.path().join("tree");
    let (parts, version) = (root().join("recovery/appliance/package"), env!("CARGO_PKG_VERSION"));
    for (from, to, mode) in [
        (&programs.appliance, "usr/bin/groundstate", 0o755),
        (&programs.bootkit, "usr/bin/groundstate-bootkit", 0o755),
        (&programs.agent, "usr/lib/groundstate/groundstate-agent", 0o755),
        (&parts.join("groundstate.service"), "lib/systemd/system/groundstate.service", 0o644),
        (&parts.join("groundstate-people.socket"), "lib/systemd/system/groundstate-people.socket", 0o644),
        (
            &parts.join("groundstate-endpoints.socket"),
            "lib/systemd/system/groundstate-endpoints.socket",
            0o644,
        ),
        (&parts.join("sysusers.conf"), "usr/lib/sysusers.d/groundstate.conf", 0o644),
        (&root().join("README.md"), "usr/share/doc/groundstate/README.md", 0o644),
        (&root().join("recovery/appliance/DESIGN.md"), "usr/share/doc/groundstate/DESIGN.md", 0o644),
        (&parts.join("groundstate.rules.yml"), "usr/share/groundstate/groundstate.rules.yml", 0o644),
        (
            &parts.join("groundstate.dashboard.json"),
            "usr/share/groundstate/groundstate.dashboard.json",
            0o644,
        ),
        (&root().join("LICENSE"), "usr/share/doc/groundstate/copyright", 0o644),
        (&parts.join("postinst"), "DEBIAN/postinst", 0o755),
        (&parts.join("prerm"), "DEBIAN/prerm", 0o755),
        (&parts.join("postrm"), "DEBIAN/postrm", 0o755),
    ] {
        put(&fs::read(from).with_context(|| format!("no {}", from.display()))?, &tree.join(to), mode)?;
    }
    what_it_says_of_itself(programs, &tree)?;
    let keys = tool::run(Command::new(&programs.appliance).args(["config", "reference"]))?;
    put(keys.as_bytes(), &tree.join("usr/share/doc/groundstate/groundstate.toml.reference"), 0o644)?;
    let bill = sbom::bill(&cargo(), &root())?;
    put(bill.as_bytes(), &tree.join("usr/share/groundstate/groundstate.cdx.json"), 0o644)?;
    let kib = tool::run(Command::new("du").args(["-sk", "--apparent-size"]).arg(&tree))?;
    let kib = kib.split_whitespace().next().context("du says how much it is")?;
    let control = format!(
        "Package: groundstate\nVersion: {version}\nArchitecture: amd64\nSection: admin\nPriority: optional\n\
         Maintainer: Groundstate <groundstate@localhost>\nInstalled-Size: {kib}\n\
         Depends: {DEPENDS}\nRecommends: {RECOMMENDS}\nSuggests: {SUGGESTS}\n\
         Description: site-local bare-metal recovery appliance\n \
         Boots failed or compromised endpoints over the network, returns them to a\n \
         signed golden image, proves it, and enrols them again.\n"
    );
    put(control.as_bytes(), &tree.join("DEBIAN/control"), 0o644)?;
    let deb = dir.join(format!("groundstate_{version}_amd64.deb"));
    let words = ["--build", "--root-owner-group", "-Zxz", "-z3"];
    tool::run(Command::new("dpkg-deb").args(words).arg(&tree).arg(&deb))?;
    Ok(deb)
}

/// Manual pages and completions.
fn what_it_says_of_itself(programs: &Programs, tree: &Path) -> Result<()> {
    let pages = tree.join("usr/share/man/man1");
    fs::create_dir_all(&pages)?;
    tool::run(Command::new(&programs.appliance).arg("manual").arg(&pages))?;
    tool::run(Command::new("sh").args(["-c", "gzip -9n \"$1\"/*.1", "sh"]).arg(&pages))?;
    for (shell, at) in [
        ("bash", "usr/share/bash-completion/completions/groundstate"),
        ("zsh", "usr/share/zsh/vendor-completions/_groundstate"),
        ("fish", "usr/share/fish/vendor_completions.d/groundstate.fish"),
    ] {
        let text = tool::run(Command::new(&programs.appliance).args(["completions", shell]))?;
        put(text.as_bytes(), &tree.join(at), 0o644)?;
    }
    Ok(())
}

/// A file of the package, and the directories above it, readable by everyone.
fn put(bytes: &[u8], at: &Path, mode: u32) -> Result<()> {
    let dir = at.parent().context("a file has a directory")?;
    fs::create_dir_all(dir)?;
    fs::write(at, bytes)?;
    Ok(fs::set_permissions(at, fs::Permissions::from_mode(mode))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_units_are_such_and_name_what_the_appliance_takes() {
        for (name, port) in [("people", 443), ("endpoints", 8443)] {
            let unit = root().join(format!("recovery/appliance/package/groundstate-{name}.socket"));
            let text = fs::read_to_string(&unit).unwrap();
            assert!(text.contains(&format!("FileDescriptorName={name}\n")), "{text}");
            assert!(text.contains(&format!("ListenStream=0.0.0.0:{port}\n")), "{text}");
            // What it starts is not installed here; nothing else may be wrong with it.
            let verified =
                Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
            let said = String::from_utf8_lossy(&verified.stderr).into_owned();
            let wrong = said.lines().filter(|line| {
                line.contains(&format!("groundstate-{name}.socket:")) && line.contains("nknown")
            });
            assert_eq!(wrong.count(), 0, "{said}");
        }
    }

    #[test]
    fn the_units_exposure_is_at_most_what_the_house_allows() {
        let unit = root().join("recovery/appliance/package/groundstate.service");
        let words = ["security", "--offline=true", "--threshold=20", "--no-pager"];
        let weighed = tool::run(Command::new("systemd-analyze").args(words).arg(&unit)).unwrap();
        assert!(weighed.contains("Overall exposure level"), "{weighed}");
        let text = fs::read_to_string(unit).unwrap();
        let open = tempfile::Builder::new().suffix(".service").tempfile().unwrap();
        fs::write(open.path(), text.replace("ProtectSystem=strict", "ProtectSystem=no")).unwrap();
        let weighed = tool::run(Command::new("systemd-analyze").args(words).arg(open.path()));
        assert!(weighed.is_err(), "a weaker unit passes, too");
    }
}
