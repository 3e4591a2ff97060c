//! Which disk is meant: the one whose WWN, serial number, or both the order names; size and transport can only make it unfit.
//!
//! An order that names no disk is refused, even where only one is there: the usual reason for a recovery is a dead system
//! disk, and the only one left is then somebody's data. A kernel name decides nothing; a removable disk is never a target.

use std::fmt::Write as _;

use recovery_protocol::agent::{DiskFacts, DiskHints, DiskSelector};
use recovery_protocol::job::HoldReason;

use crate::inventory::Disk;

/// Why no disk was chosen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// Nothing fits.
    #[error("no disk is {wanted}; found: {found}")]
    None {
        /// What was asked for.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// The order names none.
    #[error("the order names no disk by serial or WWN; found: {found}")]
    Unnamed {
        /// What is there.
        found: String,
    },
    /// More than one fits.
    #[error("more than one disk is {wanted}; found: {found}")]
    Several {
        /// What was asked for.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// The one that is meant is of another size or attached otherwise.
    #[error("the disk {disk} is not {wanted}")]
    Unfit {
        /// Which disk.
        disk: String,
        /// What was asked for.
        wanted: String,
    },
    /// The one that fits is in use.
    #[error("the disk {disk} is in use by {by}")]
    InUse {
        /// Which disk.
        disk: String,
        /// What holds it.
        by: String,
    },
}

impl SelectError {
    /// Its place in the closed list.
    pub fn reason(&self) -> HoldReason {
        match self {
            Self::None { .. } => HoldReason::DiskNotFound,
            Self::Several { .. } | Self::Unnamed { .. } => HoldReason::DiskAmbiguous,
            Self::Unfit { .. } => HoldReason::DiskUnfit,
            Self::InUse { .. } => HoldReason::DiskFailed,
        }
    }
}

/// Chooses the one disk that `selector` means.
///
/// # Errors
/// No name, no match, several, one that does not fit, or one that something else holds.
pub fn select<'a>(selector: &DiskSelector, disks: &'a [Disk]) -> Result<&'a Disk, SelectError> {
    if selector.wwn.is_none() && selector.serial.is_none() {
        return Err(SelectError::Unnamed { found: describe_all(disks) });
    }
    let mut meant = disks.iter().filter(|disk| is_named(selector, &disk.facts));
    let (wanted, found) = (describe_name(selector), describe_all(disks));
    match (meant.next(), meant.next()) {
        (None, _) => Err(SelectError::None { wanted, found }),
        (Some(_), Some(_)) => Err(SelectError::Several { wanted, found }),
        (Some(disk), None) if !fits(selector, &disk.facts) => {
            let wanted = describe_limits(selector);
            Err(SelectError::Unfit { disk: describe(&disk.facts), wanted })
        }
        (Some(disk), None) if !disk.holders.is_empty() => {
            Err(SelectError::InUse { disk: describe(&disk.facts), by: disk.holders.join(", ") })
        }
        (Some(disk), None) => Ok(disk),
    }
}

fn is_named(selector: &DiskSelector, facts: &DiskFacts) -> bool {
    let same = |wanted: &Option<String>, is: &Option<String>| match wanted {
        None => true,
        Some(wanted) => is.as_ref().is_some_and(|is| is.trim().eq_ignore_ascii_case(wanted.trim())),
    };
    !facts.removable && same(&selector.wwn, &facts.wwn) && same(&selector.serial, &facts.serial)
}

fn fits(selector: &DiskSelector, facts: &DiskFacts) -> bool {
    let hints = DiskHints {
        transport: selector.transport.clone(),
        rotational: selector.rotational,
        path: selector.path.clone(),
        max_size_bytes: selector.max_size_bytes,
    };
    facts.size_bytes >= selector.min_size_bytes && hints.fit(facts)
}

fn describe_name(selector: &DiskSelector) -> String {
    let wwn = selector.wwn.iter().map(|wwn| format!("WWN {wwn}"));
    let serial = selector.serial.iter().map(|serial| format!("serial {serial}"));
    wwn.chain(serial).collect::<Vec<_>>().join(", ")
}

fn describe_limits(selector: &DiskSelector) -> String {
    let mut parts = Vec::new();
    if selector.min_size_bytes > 0 {
        parts.push(format!("at least {}", size(selector.min_size_bytes)));
    }
    parts.extend(selector.max_size_bytes.map(|max| format!("at most {}", size(max))));
    parts.extend(selector.transport.as_ref().map(|transport| format!("on {transport}")));
    parts.extend(
        selector.rotational.map(|spins| if spins { "spinning" } else { "without moving parts" }.to_owned()),
    );
    parts.extend(selector.path.as_ref().map(|path| format!("plugged in at {path}")));
    parts.join(", ")
}

fn describe_all(disks: &[Disk]) -> String {
    match disks {
        [] => "no disk at all".to_owned(),
        _ => disks.iter().map(|disk| describe(&disk.facts)).collect::<Vec<_>>().join("; "),
    }
}

/// A disk in words, by what identifies it.
pub fn describe(facts: &DiskFacts) -> String {
    let mut text = format!("{} {}", size(facts.size_bytes), facts.transport);
    for (name, value) in [("serial", &facts.serial), ("WWN", &facts.wwn)] {
        if let Some(value) = value {
            let _ = write!(text, " {name} {value}");
        }
    }
    if let Some(path) = &facts.path {
        let _ = write!(text, " at {path}");
    }
    if facts.removable {
        text += " (removable)";
    }
    text
}

/// Gigabytes as disk makers count them.
fn size(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(serial: &str, gigabytes: u64, transport: &str, removable: bool) -> Disk {
        let facts = DiskFacts {
            wwn: Some(format!("eui.{serial}")),
            serial: Some(serial.to_owned()),
            model: String::new(),
            size_bytes: gigabytes * 1_000_000_000,
            sector_bytes: 512,
            transport: transport.to_owned(),
            rotational: false,
            removable,
            path: Some(format!("pci-0000:00:04.0-{transport}-1")),
        };
        Disk { facts, node: format!("/dev/{serial}").into(), holders: Vec::new() }
    }

    fn by_serial(serial: &str) -> DiskSelector {
        DiskSelector { serial: Some(serial.to_owned()), ..DiskSelector::default() }
    }

    #[test]
    fn exactly_one_fixed_disk_is_chosen_or_none() {
        let disks =
            [disk("A1", 250, "nvme", false), disk("B2", 500, "ata", false), disk("C3", 250, "usb", true)];
        let named = |serial: &str, change: fn(&mut DiskSelector)| {
            let mut selector = by_serial(serial);
            change(&mut selector);
            selector
        };
        let table = [
            (by_serial("a1 "), Ok("A1")),
            (by_serial("Z9"), Err(HoldReason::DiskNotFound)),
            (by_serial("C3"), Err(HoldReason::DiskNotFound)),
            (named("B2", |s| s.wwn = Some("eui.B2".to_owned())), Ok("B2")),
            (named("A1", |s| s.wwn = Some("eui.B2".to_owned())), Err(HoldReason::DiskNotFound)),
            (named("A1", |s| s.min_size_bytes = 250_000_000_000), Ok("A1")),
            (named("A1", |s| s.min_size_bytes = 250_000_000_001), Err(HoldReason::DiskUnfit)),
            (named("A1", |s| s.max_size_bytes = Some(1)), Err(HoldReason::DiskUnfit)),
            (named("A1", |s| s.transport = Some("nvme".to_owned())), Ok("A1")),
            (named("A1", |s| s.transport = Some("ata".to_owned())), Err(HoldReason::DiskUnfit)),
            (named("A1", |s| s.rotational = Some(false)), Ok("A1")),
            (named("A1", |s| s.rotational = Some(true)), Err(HoldReason::DiskUnfit)),
            (named("A1", |s| s.path = Some("pci-0000:00:04.0-nvme-1".to_owned())), Ok("A1")),
            (named("A1", |s| s.path = Some("pci-0000:00:04.0-ata-1".to_owned())), Err(HoldReason::DiskUnfit)),
        ];
        for (selector, expected) in table {
            let chosen = select(&selector, &disks);
            let chosen =
                chosen.map(|disk| disk.facts.serial.clone().unwrap()).map_err(|error| error.reason());
            assert_eq!(chosen, expected.map(str::to_owned), "{selector:?}");
        }
    }

    #[test]
    fn a_dead_system_disk_does_not_make_the_data_disk_the_target() {
        let unnamed = DiskSelector { min_size_bytes: 100_000_000_000, ..DiskSelector::default() };
        let left = [disk("HISTORIAN", 4_000, "ata", false)];
        let refused = select(&unnamed, &left).unwrap_err();
        assert_eq!(refused.reason(), HoldReason::DiskAmbiguous);
        assert!(refused.to_string().contains("HISTORIAN"), "a person sees what is there: {refused}");
    }

    #[test]
    fn a_path_names_no_disk() {
        let there =
            DiskSelector { path: Some("pci-0000:00:04.0-nvme-1".to_owned()), ..DiskSelector::default() };
        let refused = select(&there, &[disk("A1", 250, "nvme", false)]).unwrap_err();
        assert_eq!(refused.reason(), HoldReason::DiskAmbiguous);
        let elsewhere = DiskSelector { path: Some("pci-0000:00:05.0-nvme-1".to_owned()), ..by_serial("A1") };
        let text = select(&elsewhere, &[disk("A1", 250, "nvme", false)]).unwrap_err().to_string();
        assert!(text.ends_with("is not plugged in at pci-0000:00:05.0-nvme-1"), "{text}");
    }

    #[test]
    fn two_disks_with_one_serial_are_not_told_apart_by_position() {
        let disks = [disk("A1", 250, "nvme", false), disk("A1", 250, "nvme", false)];
        assert_eq!(select(&by_serial("A1"), &disks).unwrap_err().reason(), HoldReason::DiskAmbiguous);
    }

    #[test]
    fn a_refusal_names_what_was_found() {
        let text = select(&by_serial("Z9"), &[disk("C3", 32, "usb", true)]).unwrap_err().to_string();
        assert_eq!(
            text,
            "no disk is serial Z9; found: 32.0 GB usb serial C3 WWN eui.C3 at pci-0000:00:04.0-usb-1 (removable)"
        );
        assert!(select(&by_serial("Z9"), &[]).unwrap_err().to_string().ends_with("found: no disk at all"));
    }

    #[test]
    fn a_disk_that_is_too_small_says_so_and_not_that_it_is_missing() {
        let selector = DiskSelector { min_size_bytes: 64_000_000_000, ..by_serial("A1") };
        let refused = select(&selector, &[disk("A1", 32, "nvme", false)]).unwrap_err();
        assert_eq!(refused.reason(), HoldReason::DiskUnfit);
        let text = refused.to_string();
        assert_eq!(
            text,
            "the disk 32.0 GB nvme serial A1 WWN eui.A1 at pci-0000:00:04.0-nvme-1 is not at least 64.0 GB"
        );
    }

    #[test]
    fn a_disk_in_use_is_refused_with_its_holder() {
        let mut used = disk("A1", 250, "ata", false);
        used.holders.push("md127".to_owned());
        assert!(select(&by_serial("A1"), &[used]).unwrap_err().to_string().ends_with("in use by md127"));
    }
}
