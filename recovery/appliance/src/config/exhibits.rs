//! `[exhibits]`: what recoveries keep of old systems, and how long.

use std::path::PathBuf;

use recovery_protocol::exhibit::{BYTES, FilePattern, PATTERNS_MOST, SECONDS};
use serde::Deserialize;

use super::{Blueprint, Wrong};

/// Which files are kept where nobody names others: who the system was, what started by itself, and what it wrote down.
const FILES: &[&str] = &[
    "/etc/hostname",
    "/etc/machine-id",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/crontab",
    "/etc/cron.d/*",
    "/etc/systemd/system/*",
    "/etc/ld.so.preload",
    "/etc/ssh/sshd_config",
    "/root/.ssh/authorized_keys",
    "/home/*/.ssh/authorized_keys",
    "/root/.bash_history",
    "/home/*/.bash_history",
    "/EFI/**",
    "/boot/efi/EFI/**",
    "/var/log/*",
    "/var/log/audit/*",
    "/var/log/apt/*",
    "/var/log/journal/*/*",
];

/// What recoveries keep of old systems.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exhibits {
    /// Where they lie. Default: `exhibits` in the data directory. It is never a place of golden images.
    pub dir: Option<PathBuf>,
    /// Seconds that `quick` may take of a recovery, from 5 to 600.
    pub seconds: u32,
    /// Bytes that `quick` may take, from 1 MiB to 1 GiB.
    pub bytes: u64,
    /// Which files, in this order, where a blueprint names no others: absolute paths in which `*` stands for anything in one name, and
    /// `**` for any directories.
    pub files: Vec<FilePattern>,
    /// All of them together never take more bytes. What comes then is not taken, and the recovery goes on.
    pub max_bytes: u64,
    /// After so many days one is deleted by itself.
    pub days: u32,
}

impl Default for Exhibits {
    fn default() -> Self {
        let files = FILES.iter().filter_map(|text| text.parse().ok()).collect();
        Self { dir: None, seconds: 60, bytes: 64 << 20, files, max_bytes: 8 << 30, days: 180 }
    }
}

impl Exhibits {
    pub(super) fn check(&self) -> Result<(), Wrong> {
        let wrong = |key: &str, why: String, now: &str| {
            Err(Wrong::new(["exhibits", key].map(str::to_owned).to_vec(), why, now))
        };
        if !SECONDS.contains(&self.seconds) {
            return wrong("seconds", format!("is {}", self.seconds), "write 5 to 600");
        }
        if !BYTES.contains(&self.bytes) {
            return wrong(
                "bytes",
                format!("is {}", self.bytes),
                "write 1048576 (1 MiB) to 1073741824 (1 GiB)",
            );
        }
        if self.max_bytes < self.bytes {
            let why = format!("is {}, less than one of them may take", self.max_bytes);
            return wrong("max_bytes", why, "write at least what stands at `bytes`");
        }
        if self.days == 0 {
            return wrong(
                "days",
                "is 0".to_owned(),
                "write days, at least 1; a blueprint with keep = \"none\" keeps nothing",
            );
        }
        match self.files.len() > PATTERNS_MOST {
            true => wrong("files", format!("has {} patterns", self.files.len()), "write at most 64"),
            false => Ok(()),
        }
    }
}

/// What a blueprint says of it.
pub(super) fn check_blueprint(name: &str, blueprint: &Blueprint) -> Result<(), Wrong> {
    let wrong = |key: &str, why: String, now: &str| {
        Err(Wrong::new(["blueprints", name, key].map(str::to_owned).to_vec(), why, now))
    };
    if let Some(seconds) = blueprint.keep_seconds.filter(|seconds| !SECONDS.contains(seconds)) {
        return wrong("keep_seconds", format!("is {seconds}"), "write 5 to 600");
    }
    match blueprint.keep_files.as_ref().filter(|files| files.len() > PATTERNS_MOST) {
        Some(files) => wrong("keep_files", format!("has {} patterns", files.len()), "write at most 64"),
        None => Ok(()),
    }
}
