//! Which ways of erasing itself a disk offers, read from what it says of itself. Nothing here erases.
//!
//! ```text
//!   NVMe  Identify Controller ─► SANICAP, OACS, FNA ─┐
//!         other namespaces of the drive? ────────────┤
//!   ATA   IDENTIFY ─► words 59, 82, 128 ─────────────┼─► methods, and what stands against others
//!   else, silent ────────────────────────────────────┘    none known
//! ```
//!
//! A namespace is a disk of its own, and sanitizing erases the whole drive: what would reach another namespace is not offered.
//!
//! Sources: NVM Express base specification 2.0, section 5.17.2.1 (Identify Controller, figure 275: OACS at 256, SANICAP at 328, NN at 516,
//! FNA at 524), 5.17.2.2 and 5.17.2.9 (lists of namespaces); ACS-4, section 7.12.7 (word 59: sanitize; word 82: security; word 128: its
//! status).
//!
//! It must never send a command that changes anything of a disk; not even one that asks for a password to be set.

use std::io;

use recovery_protocol::erase::{EraseMethod, EraseOffer};

use super::health::{self, LIMIT, Sector, word};
use super::ioctl::NvmeAdmin;
use super::port::Port;

/// What a disk offers, and its own values that say so; these are empty where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offered {
    /// In our words.
    pub offer: EraseOffer,
    /// In its values, for evidence.
    pub said: String,
}

/// Asks the disk behind `disk`, which hangs on `transport` as the inventory names it.
pub fn offered(disk: &dyn Port, transport: &str) -> Offered {
    let answer = match transport {
        "nvme" => identify_nvme(disk, CONTROLLER, 0).map(|data| of_nvme(&data, alone(disk, &data))),
        "ata" => health::identify(disk).map(|sector| of_ata(&sector)),
        _ => Ok(Offered::default()),
    };
    answer.unwrap_or_default()
}

/// Those whose condition holds.
fn methods<const N: usize>(table: [(bool, EraseMethod); N]) -> Vec<EraseMethod> {
    table.into_iter().filter(|(offered, _)| *offered).map(|(_, method)| method).collect()
}

/// What NVMe's Identify is about (CNS): a namespace, the controller, the namespaces that are active here, those that there are.
pub(super) const NAMESPACE: u32 = 0x00;
const CONTROLLER: u32 = 0x01;
const ACTIVE_NAMESPACES: u32 = 0x02;
const ALLOCATED_NAMESPACES: u32 = 0x10;

pub(super) fn identify_nvme(disk: &dyn Port, about: u32, namespace: u32) -> io::Result<[u8; 4096]> {
    const IDENTIFY: u8 = 0x06;
    let mut data = [0; 4096];
    let command = NvmeAdmin { opcode: IDENTIFY, namespace, cdw10: about, cdw11: 0 };
    disk.nvme_admin(command, &mut data, LIMIT)?;
    Ok(data)
}

/// Whether the drive has no other namespace; `None` where it does not tell.
fn alone(disk: &dyn Port, controller: &[u8; 4096]) -> Option<bool> {
    const MANAGES_NAMESPACES: u8 = 1 << 3;
    let possible = u32::from_le_bytes([controller[516], controller[517], controller[518], controller[519]]);
    if possible == 1 {
        return Some(true);
    }
    let second = |list: [u8; 4096]| list[4..8] != [0; 4];
    let several = match controller[256] & MANAGES_NAMESPACES {
        0 => identify_nvme(disk, ACTIVE_NAMESPACES, 0).map(second),
        _ => identify_nvme(disk, ALLOCATED_NAMESPACES, 0).map(second),
    };
    several.ok().map(|several| !several)
}

/// What an NVMe disk offers by its Identify Controller data.
fn of_nvme(data: &[u8; 4096], alone: Option<bool>) -> Offered {
    let has = |at: usize, bit: u8| data[at] & 1 << bit != 0;
    let sanicap = u32::from_le_bytes([data[328], data[329], data[330], data[331]]);
    let (sanitizes, formats) = (sanicap & 7 != 0, has(256, 1));
    let reaches_others = has(524, 0) || has(524, 1);
    let mut against = Vec::new();
    if sanitizes || formats && reaches_others {
        against.extend(match alone {
            Some(true) => None,
            Some(false) => {
                Some("the drive has other namespaces, which sanitizing would erase too".to_owned())
            }
            None => Some("the drive does not tell whether it has other namespaces".to_owned()),
        });
    }
    let is_alone = alone == Some(true);
    let formats = formats && (is_alone || !reaches_others);
    let methods = methods([
        (is_alone && has(328, 0), EraseMethod::SanitizeCrypto),
        (is_alone && has(328, 1), EraseMethod::SanitizeBlock),
        (is_alone && has(328, 2), EraseMethod::SanitizeOverwrite),
        (formats && has(524, 2), EraseMethod::FormatCrypto),
        (formats, EraseMethod::FormatUserData),
    ]);
    let said = format!(
        "Identify Controller: SANICAP {sanicap:#010x}, OACS {:#04x}, FNA {:#04x}",
        data[256], data[524]
    );
    Offered { offer: EraseOffer { methods, against }, said }
}

/// What an ATA disk offers by its IDENTIFY data.
fn of_ata(sector: &Sector) -> Offered {
    let has = |at: usize, bit: u16| word(sector, at) & 1 << bit != 0;
    let sanitizes = has(59, 12);
    // The security words mean something when word 82 says so; its own upper bits stand in word 83.
    let secures = word(sector, 83) >> 14 == 1 && has(82, 1) && has(128, 0);
    let obstacles = [
        (3, "its security commands are frozen until it is switched off and on"),
        (2, "it is locked with a password"),
        (1, "a password is set on it"),
        (4, "its password was tried too often"),
    ];
    let against: Vec<String> = obstacles
        .into_iter()
        .filter(|(bit, _)| secures && has(128, *bit))
        .map(|(_, words)| words.to_owned())
        .collect();
    let free = secures && against.is_empty();
    let methods = methods([
        (sanitizes && has(59, 13), EraseMethod::SanitizeCrypto),
        (sanitizes && has(59, 15), EraseMethod::SanitizeBlock),
        (sanitizes && has(59, 14), EraseMethod::SanitizeOverwrite),
        (free && has(128, 5), EraseMethod::SecurityEnhanced),
        (free, EraseMethod::Security),
    ]);
    let [sanitize, security, its_status] = [59, 82, 128].map(|at| word(sector, at));
    let said =
        format!("IDENTIFY: word 59 {sanitize:#06x}, word 82 {security:#06x}, word 128 {its_status:#06x}");
    Offered { offer: EraseOffer { methods, against }, said }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nvme(oacs: u8, sanicap: u8, fna: u8, alone: Option<bool>) -> EraseOffer {
        let mut data = [0; 4096];
        (data[256], data[328], data[524]) = (oacs, sanicap, fna);
        of_nvme(&data, alone).offer
    }

    fn ata(word_59: u16, word_128: u16) -> EraseOffer {
        let mut sector = [0; 512];
        for (at, word) in [(59, word_59), (82, 1 << 1), (83, 1 << 14), (128, word_128)] {
            sector[2 * at..2 * at + 2].copy_from_slice(&word.to_le_bytes());
        }
        of_ata(&sector).offer
    }

    #[test]
    fn an_nvme_disk_offers_what_its_capabilities_say() {
        use EraseMethod::{FormatCrypto, FormatUserData, SanitizeBlock, SanitizeCrypto, SanitizeOverwrite};
        assert_eq!(nvme(0, 0, 0xff, Some(true)), EraseOffer::default(), "crypto formatting needs formatting");
        assert_eq!(nvme(2, 0, 0, Some(true)).methods, [FormatUserData]);
        assert_eq!(nvme(2, 0, 4, Some(true)).methods, [FormatCrypto, FormatUserData]);
        assert_eq!(nvme(0, 0b11, 0, Some(true)).methods, [SanitizeCrypto, SanitizeBlock]);
        assert_eq!(nvme(0, 0b100, 0, Some(true)).methods, [SanitizeOverwrite]);
    }

    #[test]
    fn what_would_erase_other_namespaces_is_not_offered() {
        use EraseMethod::{FormatCrypto, FormatUserData};
        for alone in [Some(false), None] {
            let offer = nvme(2, 7, 4, alone);
            assert_eq!(offer.methods, [FormatCrypto, FormatUserData], "formatting reaches one alone here");
            assert!(offer.against[0].contains("other namespaces"), "{offer}");
            for reaches_all in [0b01, 0b10] {
                let offer = nvme(2, 0, reaches_all, alone);
                assert!(offer.methods.is_empty() && offer.against[0].contains("other namespaces"), "{offer}");
            }
            assert!(nvme(2, 0, 0, alone).against.is_empty());
        }
        assert!(nvme(2, 7, 2, Some(true)).against.is_empty());
    }

    #[test]
    fn an_ata_disk_that_is_frozen_or_locked_offers_no_security_erase() {
        use EraseMethod::{SanitizeBlock, Security, SecurityEnhanced};
        assert_eq!(ata(0, 0), EraseOffer::default());
        assert_eq!(ata(0, 0b1).methods, [Security]);
        assert_eq!(ata(0, 0b10_0001).methods, [SecurityEnhanced, Security]);
        for (bit, word) in [(1, "password is set"), (2, "locked"), (3, "frozen"), (4, "too often")] {
            let offer = ata(0, 0b10_0001 | 1 << bit);
            assert!(offer.methods.is_empty() && offer.against[0].contains(word), "{offer}");
        }
        assert_eq!(
            ata(1 << 12 | 1 << 15, 0b1001).methods,
            [SanitizeBlock],
            "freezing does not stop sanitizing"
        );
        assert_eq!(
            ata(1 << 15, 0),
            EraseOffer::default(),
            "without the feature set its commands mean nothing"
        );
    }

    #[test]
    fn what_cannot_be_asked_offers_nothing() {
        let file = tempfile::tempfile().unwrap();
        for transport in ["nvme", "ata", "virtio"] {
            assert_eq!(offered(&file, transport), Offered::default(), "{transport}");
        }
    }

    proptest! {
        /// Whatever bytes come, ways stand in their order and once.
        #[test]
        fn any_bytes_are_an_offer(bytes in prop::collection::vec(any::<u8>(), 4096)) {
            let sector: Sector = bytes[..512].try_into().unwrap();
            let data: [u8; 4096] = bytes.try_into().unwrap();
            for Offered { offer, .. } in [of_nvme(&data, Some(true)), of_ata(&sector)] {
                let places: Vec<usize> =
                    offer.methods.iter().map(|m| EraseMethod::ALL.iter().position(|a| a == m).unwrap()).collect();
                prop_assert!(places.is_sorted_by(|a, b| a < b));
            }
        }
    }
}
