//! The files by which firmware learns the site's key: signature lists, and updates of its variables signed by whoever may change them.
//!
//! ```text
//! PK ──signs──► PK.auth  KEK.auth     KEK ──signs──► db.auth (instead of what is there)  db-append.auth (added to it)
//! ```
//!
//! Sources: UEFI specification 2.10, sections 8.2.2 (EFI_VARIABLE_AUTHENTICATION_2), 32.4.1 (EFI_SIGNATURE_LIST), 32.3 (PK, KEK, db).

use anyhow::Result;

use crate::boot_key::Signer;
use crate::pkcs7;

/// EFI_CERT_X509_GUID, a5c059a1-94e4-4aa7-87b5-ab155c2bf072, as it lies in memory.
const X509: [u8; 16] = guid(0xa5c0_59a1, 0x94e4, 0x4aa7, [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72]);
/// EFI_CERT_TYPE_PKCS7_GUID, 4aafd29d-68df-49ee-8aa9-347d375665a7.
const PKCS7: [u8; 16] = guid(0x4aaf_d29d, 0x68df, 0x49ee, [0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7]);
/// EFI_GLOBAL_VARIABLE, where PK and KEK live.
const GLOBAL: [u8; 16] = guid(0x8be4_df61, 0x93ca, 0x11d2, [0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c]);
/// EFI_IMAGE_SECURITY_DATABASE_GUID, where db lives.
const DATABASE: [u8; 16] =
    guid(0xd719_b2cb, 0x3d3a, 0x4596, [0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);
/// Whose entries in a list these are: Groundstate's own, f7f0c4a2-3d5e-4d0b-9a41-6c1c0f7a5e93.
const OWNER: [u8; 16] = guid(0xf7f0_c4a2, 0x3d5e, 0x4d0b, [0x9a, 0x41, 0x6c, 0x1c, 0x0f, 0x7a, 0x5e, 0x93]);

/// Non-volatile, visible at boot and at run time, time-based authenticated.
const ATTRIBUTES: u32 = 0x27;
const APPEND_WRITE: u32 = 0x40;

/// A variable that holds keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// The platform key: may change KEK.
    Pk,
    /// Key exchange keys: may change db.
    Kek,
    /// Whose programs start.
    Db,
}

impl Variable {
    /// As the specification spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pk => "PK",
            Self::Kek => "KEK",
            Self::Db => "db",
        }
    }

    fn vendor(self) -> [u8; 16] {
        match self {
            Self::Pk | Self::Kek => GLOBAL,
            Self::Db => DATABASE,
        }
    }
}

/// Whether an update takes the place of what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// It does.
    Replace,
    /// It is added.
    Append,
}

/// EFI_TIME, whole seconds of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970.
    pub unix: u64,
}

impl Time {
    fn bytes(self) -> [u8; 16] {
        let (days, second) = (self.unix / 86_400, self.unix % 86_400);
        // Civil date from days: years from March, in eras of 400 of them.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = (era * 400 + year_of_era + u64::from(month < 3)) as u16;
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&year.to_le_bytes());
        bytes[2..7].copy_from_slice(
            &[month, day, second / 3600, second / 60 % 60, second % 60].map(|part| part as u8),
        );
        bytes
    }
}

const fn guid(one: u32, two: u16, three: u16, rest: [u8; 8]) -> [u8; 16] {
    let (a, b, c) = (one.to_le_bytes(), two.to_le_bytes(), three.to_le_bytes());
    let r = rest;
    [a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]]
}

/// An EFI_SIGNATURE_LIST with one certificate.
pub fn signature_list(certificate: &[u8]) -> Result<Vec<u8>> {
    let signature = u32::try_from(OWNER.len() + certificate.len())?;
    let mut list = X509.to_vec();
    for number in [28 + signature, 0, signature] {
        list.extend(number.to_le_bytes());
    }
    list.extend(OWNER);
    list.extend(certificate);
    Ok(list)
}

/// An update of `variable` to `list`, signed by `by`, as firmware and `efi-updatevar -f` take it.
pub fn signed_update(
    variable: Variable,
    list: &[u8],
    update: Update,
    time: Time,
    by: &Signer,
) -> Result<Vec<u8>> {
    let attributes = ATTRIBUTES | if update == Update::Append { APPEND_WRITE } else { 0 };
    let message = message(variable, list, attributes, time);
    let signature = pkcs7::detached(by, &message)?;
    let mut file = time.bytes().to_vec();
    // WIN_CERTIFICATE_UEFI_GUID: length, revision 2.0, WIN_CERT_TYPE_EFI_GUID.
    file.extend(u32::try_from(24 + signature.len())?.to_le_bytes());
    file.extend([0x00, 0x02, 0xf1, 0x0e]);
    file.extend(PKCS7);
    file.extend(signature);
    file.extend(list);
    Ok(file)
}

/// What is signed: name, vendor, attributes, time, content.
fn message(variable: Variable, list: &[u8], attributes: u32, time: Time) -> Vec<u8> {
    let mut message: Vec<u8> = variable.name().encode_utf16().flat_map(u16::to_le_bytes).collect();
    message.extend(variable.vendor());
    message.extend(attributes.to_le_bytes());
    message.extend(time.bytes());
    message.extend(list);
    message
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::boot_key::tests::signer;

    #[test]
    fn a_list_is_what_efitools_makes_of_the_certificate() {
        let (dir, signer) = signer("Plant 7");
        let list = signature_list(signer.certificate()).unwrap();
        let (certificate, theirs) = (dir.path().join("db.crt"), dir.path().join("theirs.esl"));
        let owner = "f7f0c4a2-3d5e-4d0b-9a41-6c1c0f7a5e93";
        let made =
            Command::new("cert-to-efi-sig-list").args(["-g", owner]).arg(certificate).arg(&theirs).output();
        match made {
            Ok(output) => {
                assert!(output.status.success(), "{output:?}");
                assert_eq!(list, std::fs::read(theirs).unwrap());
            }
            Err(_) => eprintln!("not looked at: cert-to-efi-sig-list (package efitools)"),
        }
        assert_eq!(list.len(), 44 + signer.certificate().len());
    }

    #[test]
    fn openssl_verifies_an_update_by_its_own_account_of_the_message() {
        let (dir, signer) = signer("Plant 7 KEK");
        let list = signature_list(signer.certificate()).unwrap();
        // 2026-11-29 03:28:25
        let time = Time { unix: 1_795_922_905 };
        let file = signed_update(Variable::Db, &list, Update::Append, time, &signer).unwrap();
        assert_eq!(file[..8], [0xea, 0x07, 11, 29, 3, 28, 25, 0]);
        let len = u32::from_le_bytes(file[16..20].try_into().unwrap()) as usize;
        assert_eq!(&file[16 + len..], list);

        // openssl wants a ContentInfo around it.
        let data = &file[40..16 + len];
        let whole = yasna::construct_der(|writer| {
            writer.write_sequence(|info| {
                info.next().write_oid(&pkcs7::oid(&[1, 2, 840, 113_549, 1, 7, 2]));
                info.next().write_tagged(yasna::Tag::context(0), |writer| writer.write_der(data));
            })
        });
        let path = |name: &str| dir.path().join(name);
        let verifies = |message: &[u8]| {
            std::fs::write(path("p7"), &whole).unwrap();
            std::fs::write(path("message"), message).unwrap();
            let mut openssl = Command::new("openssl");
            openssl.args([
                "cms",
                "-verify",
                "-binary",
                "-inform",
                "DER",
                "-noverify",
                "-out",
                "/dev/null",
                "-in",
            ]);
            openssl.arg(path("p7")).arg("-content").arg(path("message"));
            Some(openssl.output().ok()?.status.success())
        };
        let mut message = b"d\0b\0".to_vec();
        message.extend(hex::decode("cbb219d73a3d9645a3bcdad00e67656f").unwrap());
        message.extend([0x67, 0, 0, 0]);
        message.extend(&file[..16]);
        message.extend(&list);
        let Some(verified) = verifies(&message) else {
            return eprintln!("not looked at: openssl (package openssl)");
        };
        assert!(verified);
        message[4] ^= 1;
        assert_eq!(verifies(&message), Some(false));
    }
}
