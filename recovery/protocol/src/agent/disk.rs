//! An endpoint's disks: what identifies one, and what a kind of endpoint's disk is like.

use serde::{Deserialize, Serialize};

/// One disk. Identity is WWN or serial; a kernel name is not an identity and does not appear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiskFacts {
    /// World wide name (NAA, EUI-64 or NGUID) as the kernel prints it.
    pub wwn: Option<String>,
    /// Serial number, trimmed.
    pub serial: Option<String>,
    /// Model, trimmed; for people.
    pub model: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Logical sector size in bytes: 512 or 4096.
    pub sector_bytes: u32,
    /// `nvme`, `ata`, `scsi`, `virtio`, `mmc` or `usb`.
    pub transport: String,
    /// Spinning disk.
    pub rotational: bool,
    /// Removable medium; never a target.
    pub removable: bool,
    /// Where it is plugged in, as `/dev/disk/by-path` calls it, such as `pci-0000:01:00.0-nvme-1`; `None` where that is not told.
    #[serde(default)]
    pub path: Option<String>,
}

/// Which disk to read or write. Nothing removable, never by kernel name; none or several matches: refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiskSelector {
    /// This WWN.
    pub wwn: Option<String>,
    /// This serial number.
    pub serial: Option<String>,
    /// Where neither is on record: at least this size.
    pub min_size_bytes: u64,
    /// At most this size, when set.
    pub max_size_bytes: Option<u64>,
    /// This transport, when set.
    pub transport: Option<String>,
    /// Spinning or not, when set.
    #[serde(default)]
    pub rotational: Option<bool>,
    /// Plugged in here, when set. It names no disk: whatever is plugged in there has this path.
    #[serde(default)]
    pub path: Option<String>,
}

/// What a kind of endpoint's disk is like: limits that make a disk unfit, and never a name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DiskHints {
    /// `nvme`, `ata`, `scsi`, `virtio` or `mmc`.
    pub transport: Option<String>,
    /// Spinning or not.
    pub rotational: Option<bool>,
    /// Where it is plugged in, as `/dev/disk/by-path` calls it.
    pub path: Option<String>,
    /// At most this size.
    pub max_size_bytes: Option<u64>,
}

impl DiskHints {
    /// Whether a disk is like that.
    #[must_use]
    pub fn fit(&self, disk: &DiskFacts) -> bool {
        self.max_size_bytes.is_none_or(|max| disk.size_bytes <= max)
            && self.transport.as_ref().is_none_or(|transport| *transport == disk.transport)
            && self.rotational.is_none_or(|rotational| rotational == disk.rotational)
            && self.path.as_deref().is_none_or(|path| is_path(path, disk.path.as_deref()))
    }
}

/// Whether a path that a person wrote down is that of a disk. udev calls a disk of SATA `…-ata-1.0` since version 232 and `…-ata-1` too.
fn is_path(wanted: &str, is: Option<&str>) -> bool {
    let wanted = wanted.trim().trim_start_matches("/dev/disk/by-path/");
    is.is_some_and(|is| is == wanted || is.strip_suffix(".0") == Some(wanted) && wanted.contains("-ata-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(path: Option<&str>) -> DiskFacts {
        DiskFacts {
            wwn: None,
            serial: Some("S1".to_owned()),
            model: String::new(),
            size_bytes: 500,
            sector_bytes: 512,
            transport: "ata".to_owned(),
            rotational: true,
            removable: false,
            path: path.map(str::to_owned),
        }
    }

    #[test]
    fn hints_fit_a_disk_or_do_not() {
        let ata = "pci-0000:00:1f.2-ata-2.0";
        let hints = DiskHints::default;
        let at = |path: &str| DiskHints { path: Some(path.to_owned()), ..hints() };
        let table = [
            (hints(), None, true),
            (DiskHints { transport: Some("nvme".to_owned()), ..hints() }, None, false),
            (DiskHints { transport: Some("ata".to_owned()), ..hints() }, None, true),
            (DiskHints { rotational: Some(false), ..hints() }, None, false),
            (DiskHints { rotational: Some(true), ..hints() }, None, true),
            (DiskHints { max_size_bytes: Some(499), ..hints() }, None, false),
            (DiskHints { max_size_bytes: Some(500), ..hints() }, None, true),
            (at(ata), Some(ata), true),
            (at("/dev/disk/by-path/pci-0000:00:1f.2-ata-2"), Some(ata), true),
            (at("pci-0000:00:1f.2-ata-1"), Some(ata), false),
            (at("pci-0000:00:1f.2"), Some("pci-0000:00:1f.2.0"), false),
            (at(""), Some(ata), false),
            (at(ata), None, false),
        ];
        for (hints, path, expected) in table {
            assert_eq!(hints.fit(&disk(path)), expected, "{hints:?} {path:?}");
        }
    }
}
