//! The commands that erase, and what disks say of them: encoded and decoded, and sent by nobody here.
//!
//! Sources: NVM Express base specification 2.0, sections 5.14 (Format NVM), 5.16.1.25 (sanitize status, log page 81h), 5.24 (Sanitize);
//! ACS-4, sections 7.36 to 7.41 (SANITIZE DEVICE); SAT-4, section 12.2.2 (ATA PASS-THROUGH).

use recovery_protocol::erase::EraseMethod;

use super::health::status_return;
use super::ioctl::NvmeAdmin;

/// `0xFFFF_FFFF`: not one namespace but the drive.
pub const ALL_NAMESPACES: u32 = u32::MAX;

/// What a disk says of its last sanitize operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sanitizing {
    /// There was none, or none that it remembers.
    Never,
    /// It is at it; so many 65536ths are done.
    Running(u16),
    /// It came to its end. `untouched`: the disk says that nothing was written since.
    Done {
        /// Global Data Erased; ATA has no word for it.
        untouched: bool,
    },
    /// It failed, and the disk takes nothing but another one.
    Failed,
    /// It is refused until the disk is switched off and on.
    Frozen,
}

/// The same with the way it was told to go, where it tells, and in its own values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SanitizeStatus {
    /// How far it is.
    pub state: Sanitizing,
    /// Which way.
    pub method: Option<EraseMethod>,
    /// The registers, for evidence.
    pub words: String,
}

/// NVMe Sanitize. What fails stays failed until a sanitize succeeds (no unrestricted exit), and blocks are freed afterwards.
pub fn nvme_sanitize(method: EraseMethod) -> Option<NvmeAdmin> {
    const SANITIZE: u8 = 0x84;
    const ONE_PASS: u32 = 1 << 4;
    let cdw10 = match method {
        EraseMethod::SanitizeBlock => 2,
        EraseMethod::SanitizeOverwrite => 3 | ONE_PASS,
        EraseMethod::SanitizeCrypto => 4,
        EraseMethod::FormatCrypto
        | EraseMethod::FormatUserData
        | EraseMethod::SecurityEnhanced
        | EraseMethod::Security
        | EraseMethod::Overwrite
        | EraseMethod::Discard => return None,
    };
    // The pattern of an overwrite, in dword 11: zeros.
    Some(NvmeAdmin { opcode: SANITIZE, namespace: 0, cdw10, cdw11: 0 })
}

/// NVMe Format NVM of one namespace, with a secure erase, into the format that it has: `identified` is its Identify Namespace data.
pub fn nvme_format(method: EraseMethod, namespace: u32, identified: &[u8; 4096]) -> Option<NvmeAdmin> {
    const FORMAT: u8 = 0x80;
    let secure_erase = match method {
        EraseMethod::FormatUserData => 1,
        EraseMethod::FormatCrypto => 2,
        EraseMethod::SanitizeCrypto
        | EraseMethod::SanitizeBlock
        | EraseMethod::SanitizeOverwrite
        | EraseMethod::SecurityEnhanced
        | EraseMethod::Security
        | EraseMethod::Overwrite
        | EraseMethod::Discard => return None,
    };
    let (size, protection) = (u32::from(identified[26]), u32::from(identified[29]));
    let format = size & 0xf;
    let metadata = (size >> 4 & 1) << 4;
    let information = (protection & 7) << 5 | (protection >> 3 & 1) << 8;
    let format_upper = (size >> 5 & 3) << 12;
    let cdw10 = format | metadata | information | secure_erase << 9 | format_upper;
    Some(NvmeAdmin { opcode: FORMAT, namespace, cdw10, cdw11: 0 })
}

/// Get Log Page of the sanitize status, 512 bytes.
pub fn nvme_sanitize_log() -> NvmeAdmin {
    const GET_LOG_PAGE: u8 = 0x02;
    const SANITIZE_STATUS: u32 = 0x81;
    const DWORDS_LESS_ONE: u32 = 512 / 4 - 1;
    let cdw10 = DWORDS_LESS_ONE << 16 | SANITIZE_STATUS;
    NvmeAdmin { opcode: GET_LOG_PAGE, namespace: ALL_NAMESPACES, cdw10, cdw11: 0 }
}

/// Decodes the sanitize status log page.
pub fn of_sanitize_log(page: &[u8; 512]) -> SanitizeStatus {
    const GLOBAL_DATA_ERASED: u16 = 1 << 8;
    let progress = u16::from_le_bytes([page[0], page[1]]);
    let status = u16::from_le_bytes([page[2], page[3]]);
    let command = u32::from_le_bytes([page[4], page[5], page[6], page[7]]);
    let state = match status & 7 {
        0 => Sanitizing::Never,
        2 => Sanitizing::Running(progress),
        1 | 4 => Sanitizing::Done { untouched: status & GLOBAL_DATA_ERASED != 0 },
        // 3; what later specifications add is no success that we know.
        _ => Sanitizing::Failed,
    };
    let method = match command & 7 {
        2 => Some(EraseMethod::SanitizeBlock),
        3 => Some(EraseMethod::SanitizeOverwrite),
        4 => Some(EraseMethod::SanitizeCrypto),
        _ => None,
    };
    let words = format!(
        "sanitize status log page 81h: SSTAT {status:#06x}, SPROG {progress:#06x}, SCDW10 {command:#010x}"
    );
    SanitizeStatus { state, method, words }
}

/// ATA PASS-THROUGH (16) of a command without data whose registers are given back.
fn ata_no_data(command: u8, feature: u16, count: u16, lba: u64) -> [u8; 16] {
    const NO_DATA_EXTENDED: u8 = 3 << 1 | 1;
    const GIVE_REGISTERS: u8 = 1 << 5;
    const LBA: u8 = 1 << 6;
    let [feature_high, feature_low] = feature.to_be_bytes();
    let [count_high, count_low] = count.to_be_bytes();
    let [l0, l1, l2, l3, l4, l5, ..] = lba.to_le_bytes();
    [
        0x85,
        NO_DATA_EXTENDED,
        GIVE_REGISTERS,
        feature_high,
        feature_low,
        count_high,
        count_low,
        l3,
        l0,
        l4,
        l1,
        l5,
        l2,
        LBA,
        command,
        0,
    ]
}

const SANITIZE_DEVICE: u8 = 0xb4;

/// ATA SANITIZE DEVICE; the keys are those of the standard, against commands sent by mistake. What fails stays failed, as with NVMe.
pub fn ata_sanitize(method: EraseMethod) -> Option<[u8; 16]> {
    const ONE_PASS: u16 = 1;
    let (feature, count, lba) = match method {
        EraseMethod::SanitizeCrypto => (0x11, 0, u64::from(u32::from_be_bytes(*b"Cryp"))),
        EraseMethod::SanitizeBlock => (0x12, 0, u64::from(u32::from_be_bytes(*b"BkEr"))),
        // `OW` above a pattern of zeros.
        EraseMethod::SanitizeOverwrite => (0x14, ONE_PASS, u64::from(u16::from_be_bytes(*b"OW")) << 32),
        EraseMethod::FormatCrypto
        | EraseMethod::FormatUserData
        | EraseMethod::SecurityEnhanced
        | EraseMethod::Security
        | EraseMethod::Overwrite
        | EraseMethod::Discard => return None,
    };
    Some(ata_no_data(SANITIZE_DEVICE, feature, count, lba))
}

/// ATA SANITIZE STATUS EXT.
pub fn ata_sanitize_status() -> [u8; 16] {
    ata_no_data(SANITIZE_DEVICE, 0, 0, 0)
}

/// Decodes what SANITIZE DEVICE commands give back, from sense data; `None` where the adapter leaves the registers out.
pub fn of_ata_sanitize(sense: &[u8]) -> Option<SanitizeStatus> {
    const ERROR: u8 = 1;
    const SUCCEEDED: u8 = 1 << 7;
    const RUNNING: u8 = 1 << 6;
    const FROZEN: u8 = 1 << 5;
    let registers = status_return(sense)?;
    let (error, count, status) = (registers[3], registers[4], registers[13]);
    let (low, middle) = (registers[7], registers[9]);
    let state = match () {
        () if status & ERROR != 0 => Sanitizing::Failed,
        () if count & RUNNING != 0 => Sanitizing::Running(u16::from_be_bytes([middle, low])),
        () if count & FROZEN != 0 => Sanitizing::Frozen,
        () if count & SUCCEEDED != 0 => Sanitizing::Done { untouched: false },
        () => Sanitizing::Never,
    };
    let words = format!(
        "SANITIZE DEVICE: status {status:#04x}, error {error:#04x}, count 15:8 {count:#04x}, LBA 15:0 {middle:02x}{low:02x}h"
    );
    Some(SanitizeStatus { state, method: None, words })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(status: u16, progress: u16, command: u8) -> SanitizeStatus {
        let mut page = [0; 512];
        page[..2].copy_from_slice(&progress.to_le_bytes());
        page[2..4].copy_from_slice(&status.to_le_bytes());
        page[4] = command;
        of_sanitize_log(&page)
    }

    #[test]
    fn nvme_commands_are_those_of_the_specification() {
        let of = |method| nvme_sanitize(method).map(|command| (command.opcode, command.cdw10, command.cdw11));
        assert_eq!(of(EraseMethod::SanitizeBlock), Some((0x84, 0b010, 0)));
        assert_eq!(of(EraseMethod::SanitizeOverwrite), Some((0x84, 0b1_0011, 0)));
        assert_eq!(of(EraseMethod::SanitizeCrypto), Some((0x84, 0b100, 0)));
        assert_eq!(nvme_sanitize_log().cdw10, 0x007f_0081);

        let mut identified = [0; 4096];
        // LBA format 0x12 of 64, metadata in the buffer, protection type 2 in front.
        (identified[26], identified[29]) = (0b011_0010, 0b1010);
        let command = nvme_format(EraseMethod::FormatUserData, 7, &identified).unwrap();
        let cdw10 = 0b01 << 12 | 1 << 9 | 1 << 8 | 2 << 5 | 1 << 4 | 2;
        assert_eq!(command, NvmeAdmin { opcode: 0x80, namespace: 7, cdw10, cdw11: 0 });
        let plain = nvme_format(EraseMethod::FormatCrypto, 1, &[0; 4096]).unwrap();
        assert_eq!(plain.cdw10, 2 << 9);
    }

    #[test]
    fn ata_commands_are_those_of_the_standard() {
        let of = |method| ata_sanitize(method).unwrap();
        assert_eq!(
            of(EraseMethod::SanitizeBlock),
            [0x85, 7, 0x20, 0, 0x12, 0, 0, 0x42, 0x72, 0, 0x45, 0, 0x6b, 0x40, 0xb4, 0]
        );
        assert_eq!(
            of(EraseMethod::SanitizeCrypto),
            [0x85, 7, 0x20, 0, 0x11, 0, 0, 0x43, 0x70, 0, 0x79, 0, 0x72, 0x40, 0xb4, 0]
        );
        assert_eq!(
            of(EraseMethod::SanitizeOverwrite),
            [0x85, 7, 0x20, 0, 0x14, 0, 1, 0, 0, 0x57, 0, 0x4f, 0, 0x40, 0xb4, 0]
        );
        assert_eq!(ata_sanitize_status(), [0x85, 7, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0xb4, 0]);
    }

    #[test]
    fn only_a_way_of_its_own_becomes_a_command() {
        for method in EraseMethod::ALL {
            let is_sanitize = nvme_sanitize(method).is_some();
            assert_eq!(ata_sanitize(method).is_some(), is_sanitize, "{method:?}");
            assert!(!(is_sanitize && nvme_format(method, 1, &[0; 4096]).is_some()));
        }
        assert_eq!(nvme_format(EraseMethod::Overwrite, 1, &[0; 4096]), None);
    }

    #[test]
    fn the_status_log_says_how_far_it_is() {
        assert_eq!(log(0, 0xffff, 0).state, Sanitizing::Never);
        assert_eq!(log(2, 0x8000, 2).state, Sanitizing::Running(0x8000));
        assert_eq!(log(0x101, 0xffff, 4).state, Sanitizing::Done { untouched: true });
        assert_eq!(log(1, 0xffff, 4).state, Sanitizing::Done { untouched: false });
        assert_eq!(log(0x104, 0xffff, 4).state, Sanitizing::Done { untouched: true });
        assert_eq!(log(3, 0, 4).state, Sanitizing::Failed);
        assert_eq!(log(7, 0, 4).state, Sanitizing::Failed, "an unknown word is no success");
        let methods: Vec<_> = [2, 3, 4, 1].map(|command| log(1, 0, command | 0x10).method).into();
        use EraseMethod::{SanitizeBlock, SanitizeCrypto, SanitizeOverwrite};
        assert_eq!(methods, [Some(SanitizeBlock), Some(SanitizeOverwrite), Some(SanitizeCrypto), None]);
    }

    /// Sense data with an ATA Status Return descriptor behind another one.
    fn sense(error: u8, count: u8, progress: u16, status: u8) -> Vec<u8> {
        let [middle, low] = progress.to_be_bytes();
        let mut sense = vec![0x72, 1, 0, 0x1d, 0, 0, 0, 18, 0, 2, 0, 0];
        sense.extend([9, 12, 1, error, count, 0, 0, low, 0, middle, 0, 0, 0, status]);
        sense
    }

    #[test]
    fn the_registers_say_how_far_it_is() {
        let state = |error, count, progress, status| {
            of_ata_sanitize(&sense(error, count, progress, status)).unwrap().state
        };
        assert_eq!(state(0, 0, 0, 0x50), Sanitizing::Never);
        assert_eq!(state(0, 0x40, 0x1234, 0x50), Sanitizing::Running(0x1234));
        assert_eq!(state(0, 0x80, 0, 0x50), Sanitizing::Done { untouched: false });
        assert_eq!(state(0, 0x20, 0, 0x50), Sanitizing::Frozen);
        assert_eq!(state(4, 0x80, 0, 0x51), Sanitizing::Failed, "an error is no success");
        assert_eq!(state(0, 0xc0, 9, 0x50), Sanitizing::Running(9));
        assert_eq!(of_ata_sanitize(&[0x70, 0, 5]), None);
        assert_eq!(of_ata_sanitize(&[]), None);
    }

    proptest! {
        #[test]
        fn any_sense_and_any_page_is_decoded(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            page in prop::collection::vec(any::<u8>(), 512),
        ) {
            let _ = of_ata_sanitize(&bytes);
            let page: [u8; 512] = page.try_into().unwrap();
            let status = of_sanitize_log(&page);
            let succeeded = matches!(status.state, Sanitizing::Done { .. });
            prop_assert_eq!(succeeded, matches!(page[2] & 7, 1 | 4));
        }
    }
}
