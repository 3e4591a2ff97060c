//! The Authenticode digest of an EFI program: SHA-256 over everything but its checksum and signatures.
//!
//! Source: "Windows Authenticode Portable Executable Signature Format" (Microsoft, 2008), section "Calculating the PE
//! Image Hash", as firmware does it (EDK II, `DxeTpm2MeasureBootLib`). Bounded: no offset is used before it was checked.

use ring::digest::{Context, SHA256};

/// Why bytes are not an EFI program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeError {
    /// Not a PE file.
    #[error("this is not an EFI program (no PE header)")]
    NotPe,
    /// A header points outside the file or makes no sense.
    #[error("the EFI program is damaged ({what})")]
    Damaged {
        /// Which field.
        what: &'static str,
    },
}

const SECTIONS_MAX: usize = 96;

/// The Authenticode SHA-256 digest of an EFI program, signed or not.
pub fn authenticode_sha256(file: &[u8]) -> Result<[u8; 32], PeError> {
    let layout = Layout::parse(file)?;
    let part = |from: usize, to: usize| file.get(from..to).ok_or(PeError::Damaged { what: "headers" });
    let mut hash = Context::new(&SHA256);
    hash.update(part(0, layout.checksum_at)?);
    match layout.certificates_at {
        Some(at) => {
            hash.update(part(layout.checksum_at + 4, at)?);
            hash.update(part(at + 8, layout.headers_len)?);
        }
        None => hash.update(part(layout.checksum_at + 4, layout.headers_len)?),
    }
    let mut hashed = layout.headers_len;
    for (start, len) in &layout.sections {
        hash.update(file.get(*start..start + len).ok_or(PeError::Damaged { what: "section" })?);
        hashed += len;
    }
    // What lies behind the sections, but for the signatures at the very end.
    let end =
        file.len().checked_sub(layout.certificates_len).ok_or(PeError::Damaged { what: "signatures" })?;
    if hashed < end {
        hash.update(&file[hashed..end]);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(hash.finish().as_ref());
    Ok(digest)
}

/// Whether the program carries signatures.
pub fn is_signed(file: &[u8]) -> bool {
    Layout::parse(file).is_ok_and(|layout| layout.certificates_len > 0)
}

struct Layout {
    checksum_at: usize,
    certificates_at: Option<usize>,
    certificates_len: usize,
    headers_len: usize,
    /// Start and length in the file, in the order of their starts.
    sections: Vec<(usize, usize)>,
}

impl Layout {
    fn parse(file: &[u8]) -> Result<Self, PeError> {
        let damaged = |what| PeError::Damaged { what };
        if file.get(..2) != Some(b"MZ") {
            return Err(PeError::NotPe);
        }
        let pe = u32_at(file, 0x3c).ok_or(PeError::NotPe)? as usize;
        if file.get(pe..pe.saturating_add(4)) != Some(b"PE\0\0") {
            return Err(PeError::NotPe);
        }
        let sections = usize::from(u16_at(file, pe + 6).ok_or(PeError::NotPe)?);
        let optional_len = usize::from(u16_at(file, pe + 20).ok_or(PeError::NotPe)?);
        let optional = pe + 24;
        let directories = match u16_at(file, optional).ok_or(PeError::NotPe)? {
            0x10b => optional + 96,
            0x20b => optional + 112,
            _ => return Err(damaged("optional header")),
        };
        if sections > SECTIONS_MAX {
            return Err(damaged("number of sections"));
        }
        let headers_len = u32_at(file, optional + 60).ok_or(damaged("size of headers"))? as usize;
        let count = u32_at(file, directories - 4).ok_or(damaged("data directories"))?;
        let certificates_at = (count > 4).then_some(directories + 4 * 8);
        let certificates_len = match certificates_at {
            Some(at) => u32_at(file, at + 4).ok_or(damaged("signatures"))? as usize,
            None => 0,
        };
        let checksum_at = optional + 64;
        if headers_len > file.len() || headers_len < certificates_at.map_or(checksum_at + 4, |at| at + 8) {
            return Err(damaged("size of headers"));
        }
        let table = optional + optional_len;
        let mut ranges = Vec::with_capacity(sections);
        for index in 0..sections {
            let at = table + 40 * index;
            let len = u32_at(file, at + 16).ok_or(damaged("section table"))? as usize;
            let start = u32_at(file, at + 20).ok_or(damaged("section table"))? as usize;
            if len > 0 {
                ranges.push((start, len));
            }
        }
        ranges.sort_unstable();
        Ok(Self { checksum_at, certificates_at, certificates_len, headers_len, sections: ranges })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?).map(|b| u16::from_le_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A small PE32+ program: headers of 512 bytes, two sections, some bytes behind them, `signature` at the end.
    pub(crate) fn program(body: &[u8], signature: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 512];
        file[..2].copy_from_slice(b"MZ");
        file[0x3c] = 0x80;
        file[0x80..0x84].copy_from_slice(b"PE\0\0");
        file[0x86] = 2;
        file[0x94] = 240;
        let optional = 0x98;
        file[optional..optional + 2].copy_from_slice(&0x20bu16.to_le_bytes());
        file[optional + 60..optional + 64].copy_from_slice(&512u32.to_le_bytes());
        file[optional + 108] = 16;
        // The second section lies first in the file.
        let sections = [(512 + 256, body.len()), (512, 256)];
        for (index, (start, len)) in sections.iter().enumerate() {
            let at = optional + 240 + 40 * index;
            file[at + 16..at + 20].copy_from_slice(&(*len as u32).to_le_bytes());
            file[at + 20..at + 24].copy_from_slice(&(*start as u32).to_le_bytes());
        }
        file.extend([0xaa; 256]);
        file.extend(body);
        file.extend(b"behind");
        let at = file.len() as u32;
        if !signature.is_empty() {
            file[optional + 144..optional + 148].copy_from_slice(&at.to_le_bytes());
            file[optional + 148..optional + 152].copy_from_slice(&(signature.len() as u32).to_le_bytes());
            file[optional + 64..optional + 68].copy_from_slice(&0xdead_beef_u32.to_le_bytes());
        }
        file.extend(signature);
        file
    }

    #[test]
    fn signing_does_not_change_the_digest() {
        let plain = authenticode_sha256(&program(b"body", b"")).unwrap();
        assert_eq!(authenticode_sha256(&program(b"body", b"signed!!")).unwrap(), plain);
        assert_ne!(authenticode_sha256(&program(b"bodz", b"signed!!")).unwrap(), plain);
        assert!(is_signed(&program(b"body", b"signed!!")) && !is_signed(&program(b"body", b"")));
    }

    #[test]
    fn the_digest_covers_all_but_checksum_and_signatures() {
        let file = program(b"body", b"signed!!");
        let digest = authenticode_sha256(&file).unwrap();
        let optional = 0x98;
        let free = |at: usize| {
            (optional + 64..optional + 68).contains(&at)
                || (optional + 144..optional + 148).contains(&at)
                || at >= file.len() - 8
        };
        for at in 0..file.len() {
            let mut altered = file.clone();
            altered[at] ^= 0x01;
            let same = authenticode_sha256(&altered) == Ok(digest);
            assert_eq!(same, free(at), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn junk_is_refused_without_panic(at in 0usize..700, bytes in proptest::collection::vec(any::<u8>(), 1..40), cut in 0usize..900) {
            let mut file = program(b"body", b"signed!!");
            let end = (at + bytes.len()).min(file.len());
            file[at..end].copy_from_slice(&bytes[..end - at]);
            file.truncate(cut);
            let _ = authenticode_sha256(&file);
        }
    }

    #[test]
    fn signed_loaders_carry_the_digest_that_we_compute() {
        // The signature holds the digest it is about.
        let loaders = [
            ("/usr/lib/shim/shimx64.efi.signed", "shim-signed"),
            ("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "grub-efi-amd64-signed"),
        ];
        for (path, package) in loaders {
            let Ok(file) = std::fs::read(path) else {
                crate::testing::not_looked_at(path, package);
                continue;
            };
            let digest = authenticode_sha256(&file).unwrap();
            let signatures = &file[file.len() - Layout::parse(&file).unwrap().certificates_len..];
            assert!(signatures.windows(32).any(|window| window == digest));
        }
    }

    #[test]
    fn what_is_no_program_is_named() {
        assert_eq!(authenticode_sha256(b""), Err(PeError::NotPe));
        assert_eq!(authenticode_sha256(b"#!/bin/sh\n"), Err(PeError::NotPe));
        let file = program(b"body", b"");
        assert!(matches!(authenticode_sha256(&file[..700]), Err(PeError::Damaged { .. })));
    }
}
