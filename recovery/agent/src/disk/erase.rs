//! Which ways of erasing itself a disk offers, read from what it says of itself. Nothing here erases.
//!
//! ```text
//!   NVMe  Identify Controller ─► SANICAP, OACS, FNA ─┐
//!   ATA   IDENTIFY ─► words 59, 82, 128 ─────────────┼─► methods, and what stands against others
//!   else, silent ────────────────────────────────────┘    none known
//! ```
//!
//! Sources: NVM Express base specification 2.0, section 5.17.2.1 (Identify Controller, figure 275: OACS at 256, SANICAP at 328, FNA at 524);
//! ACS-4, section 7.12.7 (word 59: sanitize; word 82: security; word 128: its status).
//!
//! It must never send a command that changes anything of a disk; not even one that asks for a password to be set.

use std::fs::File;
use std::io;

use recovery_protocol::erase::{EraseMethod, EraseOffer};

use super::health::{self, LIMIT, Sector, word};
use super::ioctl;

/// Asks the disk behind `disk`, which hangs on `transport` as the inventory names it.
pub fn offered(disk: &File, transport: &str) -> EraseOffer {
    let answer = match transport {
        "nvme" => identify_controller(disk).map(|data| of_nvme(&data)),
        "ata" => health::identify(disk).map(|sector| of_ata(&sector)),
        _ => Ok(EraseOffer::default()),
    };
    answer.unwrap_or_default()
}

/// Those whose condition holds.
fn methods<const N: usize>(table: [(bool, EraseMethod); N]) -> Vec<EraseMethod> {
    table.into_iter().filter(|(offered, _)| *offered).map(|(_, method)| method).collect()
}

fn identify_controller(disk: &File) -> io::Result<[u8; 4096]> {
    const IDENTIFY: u8 = 0x06;
    const CONTROLLER: u32 = 0x01;
    let mut data = [0; 4096];
    ioctl::nvme_admin(disk, IDENTIFY, 0, CONTROLLER, &mut data, LIMIT)?;
    Ok(data)
}

/// What an NVMe disk offers by its Identify Controller data.
fn of_nvme(data: &[u8; 4096]) -> EraseOffer {
    let has = |at: usize, bit: u8| data[at] & 1 << bit != 0;
    let formats = has(256, 1);
    let namespaces = u32::from_le_bytes([data[516], data[517], data[518], data[519]]);
    let mut against = Vec::new();
    if formats && namespaces > 1 && has(524, 1) {
        against.push(format!("formatting erases all of up to {namespaces} namespaces"));
    }
    let methods = methods([
        (has(328, 0), EraseMethod::SanitizeCrypto),
        (has(328, 1), EraseMethod::SanitizeBlock),
        (has(328, 2), EraseMethod::SanitizeOverwrite),
        (formats && has(524, 2), EraseMethod::FormatCrypto),
        (formats, EraseMethod::FormatUserData),
    ]);
    EraseOffer { methods, against }
}

/// What an ATA disk offers by its IDENTIFY data.
fn of_ata(sector: &Sector) -> EraseOffer {
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
    EraseOffer { methods, against }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nvme(oacs: u8, sanicap: u8, fna: u8, namespaces: u8) -> EraseOffer {
        let mut data = [0; 4096];
        (data[256], data[328], data[524], data[516]) = (oacs, sanicap, fna, namespaces);
        of_nvme(&data)
    }

    fn ata(word_59: u16, word_128: u16) -> EraseOffer {
        let mut sector = [0; 512];
        for (at, word) in [(59, word_59), (82, 1 << 1), (83, 1 << 14), (128, word_128)] {
            sector[2 * at..2 * at + 2].copy_from_slice(&word.to_le_bytes());
        }
        of_ata(&sector)
    }

    #[test]
    fn an_nvme_disk_offers_what_its_capabilities_say() {
        use EraseMethod::{FormatCrypto, FormatUserData, SanitizeBlock, SanitizeCrypto, SanitizeOverwrite};
        assert_eq!(nvme(0, 0, 0xff, 1), EraseOffer::default(), "crypto formatting needs formatting");
        assert_eq!(nvme(2, 0, 0, 1).methods, [FormatUserData]);
        assert_eq!(nvme(2, 0, 4, 1).methods, [FormatCrypto, FormatUserData]);
        assert_eq!(nvme(0, 0b11, 0, 1).methods, [SanitizeCrypto, SanitizeBlock]);
        assert_eq!(nvme(0, 0b100, 0, 1).methods, [SanitizeOverwrite]);
    }

    #[test]
    fn formatting_that_reaches_other_namespaces_is_said() {
        assert!(nvme(2, 0, 2, 1).against.is_empty());
        assert!(nvme(2, 0, 0, 8).against.is_empty());
        assert_eq!(nvme(2, 0, 2, 8).against, ["formatting erases all of up to 8 namespaces"]);
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
            assert_eq!(offered(&file, transport), EraseOffer::default(), "{transport}");
        }
    }

    proptest! {
        /// Whatever bytes come, ways stand in their order and once.
        #[test]
        fn any_bytes_are_an_offer(bytes in prop::collection::vec(any::<u8>(), 4096)) {
            let sector: Sector = bytes[..512].try_into().unwrap();
            let data: [u8; 4096] = bytes.try_into().unwrap();
            for offer in [of_nvme(&data), of_ata(&sector)] {
                let places: Vec<usize> =
                    offer.methods.iter().map(|m| EraseMethod::ALL.iter().position(|a| a == m).unwrap()).collect();
                prop_assert!(places.is_sorted_by(|a, b| a < b));
            }
        }
    }
}
