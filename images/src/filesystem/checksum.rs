//! The checksums of filesystems: CRC-32C as ext4 and XFS use it, and the CRC-16 of older ext4 group descriptors.

use crc::{Algorithm, CRC_16_MODBUS, CRC_32_ISCSI, Crc, Digest, Table};

/// CRC-32C that starts from a given value and is not inverted at the end, as the Linux kernel's `crc32c()`.
const RAW: Algorithm<u32> = Algorithm { xorout: 0, ..CRC_32_ISCSI };
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&RAW);
static CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);

/// CRC-32C of the parts one after another, starting from `seed`.
pub(super) fn crc32c(seed: u32, parts: &[&[u8]]) -> u32 {
    let mut digest: Digest<'_, u32, Table<16>> = CRC32C.digest_with_initial(seed.reverse_bits());
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

/// CRC-16 of the parts one after another.
pub(super) fn crc16(parts: &[&[u8]]) -> u16 {
    let mut digest = CRC16.digest();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sums_come_out() {
        // RFC 3720, appendix B.4: 32 bytes of zeros; the check values of the catalogue for "123456789".
        assert_eq!(!crc32c(!0, &[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(!crc32c(crc32c(!0, &[b"1234"]), &[b"56", b"789"]), 0xe306_9283);
        assert_eq!(crc16(&[b"12345", b"6789"]), 0x4b37);
    }
}
