//! Puts the agent into a golden image that is being built: program, unit, and a note on the ESP that says so.
//!
//! The note (`EFI/groundstate/agent.json`) is what an importer looks for, since it reads the ESP and no other file system.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context as _, Result};
use images::Digest;
use serde::Serialize;

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
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes

[Install]
WantedBy=multi-user.target
";

/// What the note says.
#[derive(Debug, Serialize)]
struct Note {
    version: &'static str,
    /// blake3 of the program, lower-case hex.
    digest: Digest,
}

/// Installs `program` into the file system below `root` and notes it below `esp`.
pub fn install(program: &Path, root: &Path, esp: &Path) -> Result<()> {
    let bytes = fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    put(&root.join(PROGRAM), &bytes, 0o755)?;
    put(&root.join(UNIT), UNIT_TEXT.as_bytes(), 0o644)?;
    let link = root.join(WANTED);
    fs::create_dir_all(link.parent().unwrap_or(root))?;
    let _ = fs::remove_file(&link);
    symlink(Path::new("/").join(UNIT), &link).with_context(|| format!("enabling {}", link.display()))?;
    let note = Note { version: env!("CARGO_PKG_VERSION"), digest: Digest::of(&bytes) };
    put(&esp.join(NOTE), &serde_json::to_vec_pretty(&note)?, 0o644)
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
            install(&program, &root, &esp).unwrap();
        }
        assert_eq!(fs::read(root.join(PROGRAM)).unwrap(), b"program");
        assert_eq!(fs::metadata(root.join(PROGRAM)).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_link(root.join(WANTED)).unwrap(), Path::new("/").join(UNIT));
        let unit = fs::read_to_string(root.join(UNIT)).unwrap();
        assert!(unit.contains(&format!("ExecStart=/{PROGRAM} check-in\nStandardError=journal+console\n")));
        let note: serde_json::Value = serde_json::from_slice(&fs::read(esp.join(NOTE)).unwrap()).unwrap();
        assert_eq!(note["digest"], Digest::of(b"program").to_string());
    }
}
