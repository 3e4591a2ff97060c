//! What the firmware lets start: Secure Boot's switches and the certificates in its lists, from efivars.
//!
//! Source: UEFI specification 2.10, sections 3.3 (SecureBoot, SetupMode), 32.4.1 (EFI_SIGNATURE_LIST); shim's `MokListRT` is a copy of its
//! list in the same form. Linux puts four bytes of attributes in front of a value (`Documentation/filesystems/efivarfs.rst`).
//!
//! It must never write a variable.

use std::fs;
use std::path::Path;

use recovery_protocol::secure_boot::{SecureBoot, SiteKey, signature_lists};
use ring::digest::{SHA256, digest};

const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const DATABASE: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
const SHIM: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";
/// Most certificates of one list that are told.
const CERTIFICATES_MOST: usize = 64;

/// Reads them below `efi` (`/sys/firmware/efi`); `None` without UEFI, or where its variables cannot be read.
pub fn read(efi: &Path) -> Option<SecureBoot> {
    let value = |name: &str, vendor: &str| {
        let bytes = fs::read(efi.join("efivars").join(format!("{name}-{vendor}"))).ok()?;
        bytes.get(4..).map(<[u8]>::to_vec)
    };
    let flag = |name: &str| value(name, GLOBAL).map(|value| value == [1]);
    let list = |name: &str, vendor: &str| certificates(&value(name, vendor).unwrap_or_default());
    let setup_mode = flag("SetupMode")?;
    Some(SecureBoot {
        on: flag("SecureBoot").unwrap_or(false),
        setup_mode,
        db: list("db", DATABASE),
        mok: list("MokListRT", SHIM),
        site_key: SiteKey::None,
    })
}

/// SHA-256 of each certificate in a value made of signature lists; what is damaged ends it.
fn certificates(value: &[u8]) -> Vec<String> {
    let lists = signature_lists(value);
    let certificates = lists.iter().filter(|list| list.is_x509).flat_map(|list| &list.entries);
    let hashes = certificates.map(|certificate| hex::encode(digest(&SHA256, certificate)));
    hashes.take(CERTIFICATES_MOST).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const X509: [u8; 16] =
        [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
    const LIST_HEADER_LEN: usize = 28;
    const OWNER_LEN: usize = 16;

    fn list(kind: [u8; 16], entries: &[&[u8]]) -> Vec<u8> {
        let entry_len = OWNER_LEN + entries[0].len();
        let mut list = kind.to_vec();
        for number in [LIST_HEADER_LEN + entries.len() * entry_len, 0, entry_len] {
            list.extend((number as u32).to_le_bytes());
        }
        for entry in entries {
            list.extend([7; OWNER_LEN]);
            list.extend(*entry);
        }
        list
    }

    fn hash(certificate: &[u8]) -> String {
        hex::encode(digest(&SHA256, certificate))
    }

    #[test]
    fn state_and_certificates_are_read_and_hashes_passed_over() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(root.path()), None);
        let efivars = root.path().join("efivars");
        fs::create_dir(&efivars).unwrap();
        let put = |name: &str, vendor: &str, value: &[u8]| {
            fs::write(efivars.join(format!("{name}-{vendor}")), [&[6, 0, 0, 0], value].concat()).unwrap();
        };
        put("SetupMode", GLOBAL, &[0]);
        put("SecureBoot", GLOBAL, &[1]);
        let db =
            [list(X509, &[b"one"]), list([0x26; 16], &[&[1; 32], &[2; 32]]), list(X509, &[b"two", b"six"])];
        put("db", DATABASE, &db.concat());
        put("MokListRT", SHIM, &list(X509, &[b"mok"]));
        let read = read(root.path()).unwrap();
        assert!(read.on && !read.setup_mode);
        assert_eq!(read.db, [hash(b"one"), hash(b"two"), hash(b"six")]);
        assert_eq!(read.mok, [hash(b"mok")]);
    }

    #[test]
    fn a_damaged_list_ends_the_reading() {
        let whole = list(X509, &[b"one"]);
        assert_eq!(certificates(&[&whole[..], &whole[..40]].concat()), [hash(b"one")]);
        let mut endless = whole.clone();
        endless[24..28].fill(0);
        assert!(certificates(&endless).is_empty());
        endless[16..20].fill(0);
        assert!(certificates(&endless).is_empty());
    }

    proptest! {
        #[test]
        fn junk_ends_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), len in 0u32..300) {
            let mut lists = list(X509, &[b"one"]);
            lists[16..20].copy_from_slice(&len.to_le_bytes());
            lists.extend(bytes);
            let _ = certificates(&lists);
        }
    }
}
