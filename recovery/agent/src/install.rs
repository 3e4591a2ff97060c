//! Puts the agent into a golden image that is being built: program, unit, and a note on the ESP that says so.
//!
//! The note (`EFI/groundstate/agent.json`) is what an importer looks for, since it reads the ESP and no other file system.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context as _, Result};
use images::Digest;
use serde::Serialize;

use crate::settings::{MAP, MAP_PATH};

/// Where the program lies in the golden image.
pub const PROGRAM: &str = "usr/lib/groundstate/groundstate-agent";
const UNIT: &str = "usr/lib/systemd/system/groundstate-agent.service";
const WANTED: &str = "etc/systemd/system/multi-user.target.wants/groundstate-agent.service";
const NOTE: &str = "EFI/groundstate/agent.json";

/// The network may come late; the agent waits for it itself. What it says of a refusal stands on the console, too: whoever is
/// in front of the endpoint must be able to read it.
const UNIT_TEXT: &str = "\
[Unit]
Description=Groundstate check-in: prove what booted, enrol
Documentation=man:groundstate-agent(8)
After=network.target local-fs.target

[Service]
Type=exec
ExecStart=/usr/lib/groundstate/groundstate-agent check-in
StandardError=journal+console
Restart=always
RestartSec=10
StateDirectory=groundstate
StateDirectoryMode=0700
RuntimeDirectory=groundstate
PrivateMounts=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
NoNewPrivileges=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes

[Install]
WantedBy=multi-user.target
";

const SETTINGS_UNIT: &str = "usr/lib/systemd/system/groundstate-settings.service";
const SETTINGS_WANTED: &str = "etc/systemd/system/sysinit.target.wants/groundstate-settings.service";

/// Before the network, as a name and addresses that come late are wrong ones.
const SETTINGS_TEXT: &str = "\
[Unit]
Description=Groundstate settings: this endpoint's own name and addresses
Documentation=man:groundstate-agent(8)
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target network-pre.target systemd-networkd.service NetworkManager.service networking.service shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/groundstate/groundstate-agent settings
StandardError=journal+console
RuntimeDirectory=groundstate
RuntimeDirectoryPreserve=yes
PrivateMounts=yes
ProtectHome=yes
NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX AF_NETLINK
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes

[Install]
WantedBy=sysinit.target
";

const RELAY_UNIT: &str = "usr/lib/systemd/system/groundstate-relay.service";
const RELAY_WANTED: &str = "etc/systemd/system/multi-user.target.wants/groundstate-relay.service";

/// A relay needs a socket and memory, and gets nothing else of the system.
fn relay_unit(upstream: &str) -> String {
    format!(
        "\
[Unit]
Description=Groundstate relay: chunks for the endpoints beside this one
Documentation=man:groundstate-agent(8)
After=network.target

[Service]
Type=exec
ExecStart=/usr/lib/groundstate/groundstate-agent relay --upstream {upstream}
Restart=always
RestartSec=10
DynamicUser=yes
Nice=10
MemoryMax=512M
CapabilityBoundingSet=
PrivateDevices=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ProtectKernelTunables=yes
ProtectProc=invisible
NoNewPrivileges=yes
RestrictAddressFamilies=AF_INET AF_INET6
RestrictNamespaces=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes

[Install]
WantedBy=multi-user.target
"
    )
}

/// What the note says.
#[derive(Debug, Serialize)]
struct Note {
    version: &'static str,
    /// blake3 of the program, lower-case hex.
    digest: Digest,
}

/// Installs `program` into the file system below `root` and notes it below `esp`. With `relay`, an appliance's address as in
/// `http://10.7.0.1`, each endpoint that is restored from the image relays for it.
pub fn install(program: &Path, root: &Path, esp: &Path, relay: Option<&str>) -> Result<()> {
    if let Some(upstream) = relay {
        crate::relay::Setup::parse(&["--upstream", upstream])?;
    }
    let bytes = fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    put(&root.join(PROGRAM), &bytes, 0o755)?;
    put(&root.join(MAP_PATH), MAP.as_bytes(), 0o755)?;
    enable(root, UNIT, WANTED, UNIT_TEXT)?;
    enable(root, SETTINGS_UNIT, SETTINGS_WANTED, SETTINGS_TEXT)?;
    if let Some(upstream) = relay {
        enable(root, RELAY_UNIT, RELAY_WANTED, &relay_unit(upstream))?;
    }
    let note = Note { version: env!("CARGO_PKG_VERSION"), digest: Digest::of(&bytes) };
    put(&esp.join(NOTE), &serde_json::to_vec_pretty(&note)?, 0o644)
}

fn enable(root: &Path, unit: &str, wanted: &str, text: &str) -> Result<()> {
    put(&root.join(unit), text.as_bytes(), 0o644)?;
    let link = root.join(wanted);
    fs::create_dir_all(link.parent().unwrap_or(root))?;
    let _ = fs::remove_file(&link);
    symlink(Path::new("/").join(unit), &link).with_context(|| format!("enabling {}", link.display()))
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::write(path, bytes)?;
        // FAT keeps no modes; what can be set is set.
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode));
        Ok::<_, std::io::Error>(())
    };
    write().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn install_writes_program_unit_link_and_note_and_may_run_twice() {
        let dir = tempfile::tempdir().unwrap();
        let (root, esp) = (dir.path().join("root"), dir.path().join("esp"));
        let program = dir.path().join("agent");
        fs::write(&program, b"program").unwrap();
        for _ in 0..2 {
            install(&program, &root, &esp, None).unwrap();
        }
        assert!(!root.join(RELAY_UNIT).exists(), "no port is opened that nobody asked for");
        install(&program, &root, &esp, Some("10.7.0.1")).unwrap_err();
        install(&program, &root, &esp, Some("http://10.7.0.1")).unwrap();
        let relay = fs::read_to_string(root.join(RELAY_UNIT)).unwrap();
        assert!(relay.contains(&format!("ExecStart=/{PROGRAM} relay --upstream http://10.7.0.1\n")));
        assert_eq!(fs::read_link(root.join(RELAY_WANTED)).unwrap(), Path::new("/").join(RELAY_UNIT));
        assert_eq!(fs::read(root.join(PROGRAM)).unwrap(), b"program");
        assert_eq!(fs::metadata(root.join(PROGRAM)).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_link(root.join(WANTED)).unwrap(), Path::new("/").join(UNIT));
        assert_eq!(fs::metadata(root.join(MAP_PATH)).unwrap().permissions().mode() & 0o777, 0o755);
        let wanted = fs::read_link(root.join(SETTINGS_WANTED)).unwrap();
        assert_eq!(wanted, Path::new("/").join(SETTINGS_UNIT));
        let unit = fs::read_to_string(root.join(UNIT)).unwrap();
        assert!(unit.contains(&format!("ExecStart=/{PROGRAM} check-in\nStandardError=journal+console\n")));
        let note: serde_json::Value = serde_json::from_slice(&fs::read(esp.join(NOTE)).unwrap()).unwrap();
        assert_eq!(note["digest"], Digest::of(b"program").to_string());
    }
}
