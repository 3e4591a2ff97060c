//! The enrolment ticket, and the endpoint's settings, on the EFI system partition of the running system.
//!
//! The partition is found by its type in the partition table of a fixed disk, and mounted for a moment by the kernel, so
//! that a system which has it mounted itself sees the same files. It must never be left mounted.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use images::disk::{ESP_TYPE, Gpt, GptError};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount, umount};
use recovery_protocol::settings::{EndpointSettings, SettingsError};
use recovery_protocol::trust::EnrolmentTicket;

use crate::inventory;

/// Where the partition is mounted for a moment; the unit has a mount namespace of its own.
const MOUNT_POINT: &str = "/run/groundstate/esp";

/// Why the ticket cannot be read or removed.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// No partition of that type.
    #[error("no fixed disk has an EFI system partition")]
    NoEsp,
    /// The partition cannot be mounted.
    #[error("{node} cannot be mounted as FAT: {}", .source.desc())]
    Mount {
        /// Its node.
        node: PathBuf,
        /// The kernel's word.
        source: Errno,
    },
    /// The ticket is there and cannot be read, or cannot be removed.
    #[error("{path}: {source}")]
    File {
        /// Its path on the partition.
        path: &'static str,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The ticket is not one.
    #[error("the enrolment ticket cannot be read: {0}; recover the endpoint again")]
    Malformed(#[source] serde_json::Error),
    /// The settings are none.
    #[error("the endpoint's settings cannot be read: {0}; recover the endpoint again")]
    MalformedSettings(#[source] serde_json::Error),
    /// Nobody can live by the settings.
    #[error("the endpoint's settings are wrong: {0}")]
    Settings(#[source] SettingsError),
}

/// The ticket, if there is one.
///
/// # Errors
/// When it cannot be said whether there is one.
pub fn read_ticket() -> Result<Option<EnrolmentTicket>, TicketError> {
    on_esp(MsFlags::MS_RDONLY, ticket_in)
}

/// Removes the ticket.
///
/// # Errors
/// When it is still there afterwards.
pub fn remove_ticket() -> Result<(), TicketError> {
    on_esp(MsFlags::empty(), |root| match fs::remove_file(root.join(EnrolmentTicket::ESP_PATH)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file_error(error)),
        _ => {
            nix::unistd::sync();
            Ok(())
        }
    })
}

fn file_error(source: std::io::Error) -> TicketError {
    TicketError::File { path: EnrolmentTicket::ESP_PATH, source }
}

/// The endpoint's settings, if it has any. What an order could not say is not taken from a disk either.
///
/// # Errors
/// When it cannot be said whether there are any, or they are wrong.
pub fn read_settings() -> Result<Option<EndpointSettings>, TicketError> {
    on_esp(MsFlags::MS_RDONLY, settings_in)
}

/// The settings below `root`.
fn settings_in(root: &Path) -> Result<Option<EndpointSettings>, TicketError> {
    let path = EndpointSettings::ESP_PATH;
    let settings: EndpointSettings = match fs::read(root.join(path)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(TicketError::MalformedSettings)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(TicketError::File { path, source }),
    };
    settings.check().map_err(TicketError::Settings)?;
    Ok(Some(settings))
}

/// The ticket below `root`.
fn ticket_in(root: &Path) -> Result<Option<EnrolmentTicket>, TicketError> {
    match fs::read(root.join(EnrolmentTicket::ESP_PATH)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(TicketError::Malformed),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error(error)),
    }
}

/// Runs `work` on the mounted partition.
fn on_esp<T>(flags: MsFlags, work: impl FnOnce(&Path) -> Result<T, TicketError>) -> Result<T, TicketError> {
    let node = find(Path::new("/sys/block")).ok_or(TicketError::NoEsp)?;
    fs::create_dir_all(MOUNT_POINT).map_err(file_error)?;
    let flags = flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let mounted = |flags| mount(Some(&node), MOUNT_POINT, Some("vfat"), flags, Some("umask=0077"));
    mounted(flags)
        .or_else(|error| match error {
            // The system has it mounted, and the kernel has one read-only flag for all who do (get_tree_bdev).
            Errno::EBUSY => mounted(flags ^ MsFlags::MS_RDONLY),
            error => Err(error),
        })
        .map_err(|source| TicketError::Mount { node: node.clone(), source })?;
    let done = work(Path::new(MOUNT_POINT));
    umount(MOUNT_POINT).map_err(|source| TicketError::Mount { node, source })?;
    done
}

/// The node of the first EFI system partition on a fixed disk.
fn find(block: &Path) -> Option<PathBuf> {
    inventory::disks(block).iter().filter(|disk| !disk.facts.removable).find_map(|disk| {
        let file = File::open(&disk.node).ok()?;
        let mut read = |offset: u64, buf: &mut [u8]| file.read_exact_at(buf, offset);
        let table: Result<Gpt, GptError> =
            Gpt::read(&mut read, disk.facts.sector_bytes, disk.facts.size_bytes);
        let table = table.ok()?;
        let esp = table.entries.iter().find(|entry| entry.type_guid == ESP_TYPE)?;
        let start = esp.first_lba.checked_mul(u64::from(disk.facts.sector_bytes))? / 512;
        partition_at(&block.join(disk.node.file_name()?), start)
    })
}

/// The partition of the disk `dir` (in sysfs) that starts at this 512-byte block.
fn partition_at(dir: &Path, start: u64) -> Option<PathBuf> {
    fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
        let text = fs::read_to_string(entry.path().join("start")).ok()?;
        (text.trim().parse() == Ok(start)).then(|| Path::new("/dev").join(entry.file_name()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_missing_or_named_as_damaged() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(ticket_in(root.path()).unwrap(), None);
        let path = root.path().join(EnrolmentTicket::ESP_PATH);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let ticket = EnrolmentTicket {
            job: recovery_protocol::JobId::new(1, [0; 10]),
            endpoint: "press-01".to_owned(),
            appliance: "10.0.0.1:8443".to_owned(),
            appliance_spki_sha256: "00".repeat(32),
            secret: "once".to_owned(),
        };
        fs::write(&path, serde_json::to_vec(&ticket).unwrap()).unwrap();
        assert_eq!(ticket_in(root.path()).unwrap(), Some(ticket));
        assert_eq!(settings_in(root.path()).unwrap(), None);
        let settings = EndpointSettings { hostname: Some("press-01".to_owned()), interfaces: Vec::new() };
        let of_settings = root.path().join(EndpointSettings::ESP_PATH);
        fs::write(&of_settings, serde_json::to_vec(&settings).unwrap()).unwrap();
        assert_eq!(settings_in(root.path()).unwrap(), Some(settings));
        for (wrong, why) in [("{\"hostname\":\"a b\"}", "not a host name"), ("7", "cannot be read")] {
            fs::write(&of_settings, wrong).unwrap();
            assert!(settings_in(root.path()).unwrap_err().to_string().contains(why));
        }
        // A later appliance may say more than this system knows.
        fs::write(&of_settings, "{\"hostname\":\"a\",\"time_zone\":\"UTC\"}").unwrap();
        assert_eq!(settings_in(root.path()).unwrap().unwrap().hostname.as_deref(), Some("a"));
        fs::write(&path, "{").unwrap();
        assert!(matches!(ticket_in(root.path()), Err(TicketError::Malformed(_))));
    }

    #[test]
    fn a_partition_is_found_by_where_it_starts() {
        let dir = tempfile::tempdir().unwrap();
        for (name, start) in [("nvme0n1p1", "2048\n"), ("nvme0n1p2", "206848\n")] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("start"), start).unwrap();
        }
        assert_eq!(partition_at(dir.path(), 206_848).unwrap(), Path::new("/dev/nvme0n1p2"));
        assert_eq!(partition_at(dir.path(), 1), None);
    }
}
