//! Authenticode: the signature in an EFI program that Secure Boot checks.
//!
//! Source: "Windows Authenticode Portable Executable Signature Format" (Microsoft, 2008); UEFI specification 2.10, section 32.2.
//! The digest is `images::boot::authenticode_sha256`, the one that is also measured into PCR 4: signing does not change it.

use anyhow::{Context as _, Result, ensure};
use images::boot::authenticode_sha256;
use images::boot::pe::is_signed;
use yasna::Tag;

use crate::boot_key::Signer;
use crate::pkcs7::{self, Content, oid};

const SPC_INDIRECT_DATA: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 2, 1, 4];
const SPC_PE_IMAGE_DATA: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 2, 1, 15];
/// WIN_CERT_REVISION_2_0, WIN_CERT_TYPE_PKCS_SIGNED_DATA (UEFI specification, section 32.2.5).
const CERTIFICATE_KIND: [u8; 4] = [0x00, 0x02, 0x02, 0x00];
/// Certificates begin at a multiple of this (PE format, "The Attribute Certificate Table").
const ALIGN: usize = 8;
/// Index of the certificate table among the data directories.
const CERTIFICATE_TABLE: usize = 4;

/// `image` with a signature of `signer`.
///
/// # Errors
/// When it is no EFI program, has no place for a signature, or is signed already.
pub fn sign(image: &[u8], signer: &Signer) -> Result<Vec<u8>> {
    ensure!(!is_signed(image), "it is signed already");
    let mut signed = image.to_vec();
    signed.resize(image.len().next_multiple_of(ALIGN), 0);
    let directory = directory(&signed)?;
    let digest = authenticode_sha256(&signed)?;
    let inside = indirect_data(&digest);
    let signature = pkcs7::signed(signer, &Content { kind: SPC_INDIRECT_DATA, inside: &inside })?;

    let at = signed.len();
    let len = 8 + signature.len();
    signed.extend(u32::try_from(len)?.to_le_bytes());
    signed.extend(CERTIFICATE_KIND);
    signed.extend(signature);
    signed.resize(signed.len().next_multiple_of(ALIGN), 0);
    let table_len = u32::try_from(signed.len() - at)?;
    signed[directory..directory + 4].copy_from_slice(&u32::try_from(at)?.to_le_bytes());
    signed[directory + 4..directory + 8].copy_from_slice(&table_len.to_le_bytes());
    // Firmware hashes it anew with these numbers; were one wrong, nothing that we shipped would start.
    ensure!(
        authenticode_sha256(&signed)? == digest,
        "signing changed the digest; this is a defect, please report it"
    );
    Ok(signed)
}

/// Where the certificate table's entry stands in a PE32+ file.
fn directory(file: &[u8]) -> Result<usize> {
    let number = |at: usize| -> Result<usize> {
        let bytes = file.get(at..at + 4).context("the program is cut off")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
    };
    let optional = number(0x3c)? + 24;
    let magic = file.get(optional..optional + 2).context("the program is cut off")?;
    ensure!(magic == [0x0b, 0x02], "it is not a 64-bit EFI program");
    ensure!(number(optional + 108)? > CERTIFICATE_TABLE, "its headers have no place for a signature");
    let at = optional + 112 + 8 * CERTIFICATE_TABLE;
    ensure!(file.len() >= at + 8, "the program is cut off");
    Ok(at)
}

/// The inside of `SpcIndirectDataContent`: of which program, and its digest.
fn indirect_data(digest: &[u8]) -> Vec<u8> {
    let program = yasna::construct_der(|writer| {
        writer.write_sequence(|data| {
            data.next().write_oid(&oid(SPC_PE_IMAGE_DATA));
            data.next().write_sequence(|image| {
                // Which parts are covered: none is named, so all.
                image.next().write_bitvec_bytes(&[], 0);
                // SpcLink: `file`, an empty SpcString in its Unicode form.
                image.next().write_tagged(Tag::context(0), |writer| {
                    writer.write_tagged(Tag::context(2), |writer| {
                        writer.write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(b""));
                    });
                });
            });
        })
    });
    let digest = yasna::construct_der(|writer| {
        writer.write_sequence(|info| {
            pkcs7::sha256_algorithm(info.next());
            info.next().write_bytes(digest);
        })
    });
    [program, digest].concat()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::boot_key::tests::signer;

    const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

    /// What sbverify says of `image` by the certificate in `dir`; `None` where a program or a file is not installed.
    fn sbverify(dir: &Path, image: &[u8]) -> Option<bool> {
        let file = dir.join("image.efi");
        std::fs::write(&file, image).unwrap();
        let mut command = Command::new("sbverify");
        command.arg("--cert").arg(dir.join("db.crt")).arg(&file);
        Some(command.output().ok()?.status.success())
    }

    #[test]
    fn sbverify_accepts_what_is_signed_here_and_nothing_altered() {
        let Ok(stub) = std::fs::read(STUB) else {
            return eprintln!("not looked at: {STUB} (package systemd-boot-efi)");
        };
        let image = crate::uki::build(&stub, &[(".cmdline", b"quiet"), (".linux", b"kernel")]).unwrap();
        let ((dir, own), (other, _)) = (signer("Plant 7"), signer("Plant 8"));
        let signed = sign(&image, &own).unwrap();
        assert_eq!(authenticode_sha256(&signed).unwrap(), authenticode_sha256(&image).unwrap());
        let Some(accepted) = sbverify(dir.path(), &signed) else {
            return eprintln!("not looked at: sbverify (package sbsigntool)");
        };
        assert!(accepted);
        assert_eq!(sbverify(other.path(), &signed), Some(false));
        assert_eq!(sbverify(dir.path(), &image), Some(false));
        let at = signed.windows(6).position(|bytes| bytes == b"kernel").unwrap();
        let mut altered = signed;
        altered[at] ^= 1;
        assert_eq!(sbverify(dir.path(), &altered), Some(false));
    }

    #[test]
    fn what_cannot_be_signed_is_refused() {
        let (_dir, signer) = signer("Plant 7");
        assert!(sign(b"MZ", &signer).is_err());
        let Ok(stub) = std::fs::read(STUB) else {
            return eprintln!("not looked at: {STUB} (package systemd-boot-efi)");
        };
        let signed = sign(&stub, &signer).unwrap();
        assert!(format!("{:#}", sign(&signed, &signer).unwrap_err()).contains("signed already"));
    }
}
