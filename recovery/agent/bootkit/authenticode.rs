//! The Authenticode digest of a PE file: what UEFI firmware, shim and systemd's stub measure into PCR 4 when they start it.
//!
//! All bytes are hashed but three: the checksum, the directory entry of the signatures, and the signatures themselves
//! (Microsoft, "Windows Authenticode Portable Executable Signature Format", 2008).

use ring::digest::{Context, SHA256};

/// SHA-256 over the PE file's bytes that Authenticode counts; `None` when it is not a PE file.
pub fn sha256(pe: &[u8]) -> Option<[u8; 32]> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(pe.get(at..at.checked_add(2)?)?.try_into().ok()?));
    let u32_at =
        |at: usize| Some(u32::from_le_bytes(pe.get(at..at.checked_add(4)?)?.try_into().ok()?) as usize);
    let header = u32_at(0x3c)?;
    if !pe.starts_with(b"MZ") || pe.get(header..header.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let optional = header + 24;
    let directories = match u16_at(optional)? {
        0x10b => optional + 96,
        0x20b => optional + 112,
        _ => return None,
    };
    let (checksum, signatures) = (optional + 64, directories + 4 * 8);
    let (at, len) = (u32_at(signatures)?, u32_at(signatures + 4)?);
    let end = if len == 0 { pe.len() } else { at };
    let mut hash = Context::new(&SHA256);
    hash.update(pe.get(..checksum)?);
    hash.update(pe.get(checksum + 4..signatures)?);
    hash.update(pe.get(signatures + 8..end)?);
    if len != 0 {
        hash.update(pe.get(at.checked_add(len)?..)?);
    }
    hash.finish().as_ref().try_into().ok()
}
