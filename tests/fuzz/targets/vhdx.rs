//! A VHDX that is not ours: header, region table, metadata and block table, with checksums that are right.
#![no_main]

use images::source::Format;
use libfuzzer_sys::fuzz_target;

#[path = "../source.rs"]
mod source;

const KIB: u64 = 1 << 10;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = [80, 256, 512, 128].into_iter().scan(bytes, |rest, len| {
        let (part, behind) = rest.split_at(rest.len().min(len));
        *rest = behind;
        Some(part)
    });
    let mut next = || parts.next().unwrap_or_default();
    let header = table(b"head", next(), 4096);
    let regions = table(b"regi", next(), 64 << 10);
    let metadata = [b"metadata", next()].concat();
    let items = next();
    let blocks = bytes.get(976..).unwrap_or_default();
    let at = [(0, &b"vhdxfile"[..]), (64 * KIB, &header[..]), (192 * KIB, &regions[..])];
    let data = [(2048 * KIB, blocks), (3072 * KIB, &metadata[..]), (3136 * KIB, items)];
    source::read(Format::Vhdx, &[at, data].concat(), 5 << 20);
});

/// Signature and checksum around what was given.
fn table(signature: &[u8; 4], bytes: &[u8], len: usize) -> Vec<u8> {
    let mut table = [&signature[..], &[0; 4], bytes].concat();
    table.resize(len, 0);
    let crc = table.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1)))
    });
    table[4..8].copy_from_slice(&(!crc).to_le_bytes());
    table
}
