//! What an endpoint's firmware lets start, as its agent reads it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The firmware's state and its lists of keys (UEFI specification 2.10, section 32.3). Told by the endpoint: it selects, it proves nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SecureBoot {
    /// Unsigned programs do not start.
    pub on: bool,
    /// The firmware has no platform key: who can start a program can enrol one.
    pub setup_mode: bool,
    /// SHA-256 of each certificate in `db`, lower-case hex.
    #[serde(default)]
    pub db: Vec<String>,
    /// SHA-256 of each certificate in shim's own list, where shim has one.
    #[serde(default)]
    pub mok: Vec<String>,
    /// Whether the key that signed the boot kit is in one of them. The appliance writes this; what an agent says here counts for nothing.
    #[serde(default)]
    pub site_key: SiteKey,
}

/// Where the key that signed an appliance's boot kit is enrolled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SiteKey {
    /// The kit is not signed.
    #[default]
    None,
    /// In neither list.
    Missing,
    /// In shim's list: it starts behind shim.
    BehindShim,
    /// In `db`: the firmware itself starts it.
    Enrolled,
}

impl SecureBoot {
    /// Looks for the certificate with this SHA-256 (lower-case hex).
    #[must_use]
    pub fn find(&self, certificate_sha256: Option<&str>) -> SiteKey {
        let Some(wanted) = certificate_sha256 else { return SiteKey::None };
        let in_list = |list: &[String]| list.iter().any(|entry| entry == wanted);
        match (in_list(&self.db), in_list(&self.mok)) {
            (true, _) => SiteKey::Enrolled,
            (false, true) => SiteKey::BehindShim,
            (false, false) => SiteKey::Missing,
        }
    }
}

/// How old the chain is by which an endpoint boots, as its TPM's quote shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BootAge {
    /// Names of the certificates in `db`.
    pub authorities: Vec<String>,
    /// Entries in `dbx`: programs and keys that do not start any more.
    pub banned: u32,
    /// SHA-256 of `dbx`, lower-case hex: which edition of the list it is.
    pub dbx_sha256: String,
    /// The date of the SBAT level, ten digits (`2025021800`): shim starts no loader of an older generation. None: no shim told one.
    pub sbat: Option<String>,
}

impl BootAge {
    /// The newest generation of Microsoft's authorities in `db`: 2023, or 2011, whose certificates run out in 2026. None: none of theirs.
    #[must_use]
    pub fn generation(&self) -> Option<u16> {
        let has = |year: &str| {
            self.authorities.iter().any(|name| {
                (name.contains("Microsoft") || name.starts_with("Windows UEFI")) && name.contains(year)
            })
        };
        if has("2023") { Some(2023) } else { has("2011").then_some(2011) }
    }
}

impl fmt::Display for BootAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation() {
            Some(2011) => f.write_str(
                "db trusts Microsoft's authorities of 2011 and not those of 2023: new loaders will not start",
            )?,
            Some(year) => write!(f, "db trusts Microsoft's authorities of {year}")?,
            None => write!(
                f,
                "db trusts {}",
                if self.authorities.is_empty() { "nobody".to_owned() } else { self.authorities.join(", ") }
            )?,
        }
        write!(f, "; dbx bans {}", self.banned)?;
        match &self.sbat {
            Some(level) => write!(f, "; SBAT level {level}"),
            None => Ok(()),
        }
    }
}

/// One list of a signature database (UEFI specification 2.10, section 32.4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureList<'a> {
    /// Its entries are certificates; else hashes or keys.
    pub is_x509: bool,
    /// Without the owner in front of each.
    pub entries: Vec<&'a [u8]>,
}

/// `EFI_CERT_X509_GUID` as it lies in memory.
const X509: [u8; 16] =
    [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
/// A list's header, and the owner in front of each entry.
const LIST_HEADER_LEN: usize = 28;
const OWNER_LEN: usize = 16;

/// The lists in a value such as `db`'s; what is damaged ends it.
#[must_use]
pub fn signature_lists(mut value: &[u8]) -> Vec<SignatureList<'_>> {
    let mut lists = Vec::new();
    loop {
        let number = |at: usize| Some(u32::from_le_bytes(*value.get(at..)?.first_chunk()?) as usize);
        let (Some(len), Some(header_len), Some(entry_len)) = (number(16), number(20), number(24)) else {
            return lists;
        };
        let begin = LIST_HEADER_LEN.saturating_add(header_len);
        let Some(entries) = value.get(begin..len).filter(|_| entry_len > OWNER_LEN) else { return lists };
        let entries = entries.chunks_exact(entry_len).map(|entry| &entry[OWNER_LEN..]).collect();
        lists.push(SignatureList { is_x509: value.starts_with(&X509), entries });
        value = &value[len..];
    }
}

impl fmt::Display for SecureBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.on, self.setup_mode) {
            (true, _) => "on",
            (false, true) => "off, in setup mode",
            (false, false) => "off",
        })?;
        f.write_str(match self.site_key {
            SiteKey::None => "",
            SiteKey::Enrolled => "; the site's key is enrolled",
            SiteKey::BehindShim => "; the site's key is enrolled in shim, not in the firmware",
            SiteKey::Missing if self.on => {
                "; the site's key is not enrolled: the signed recovery system does not start here, enrol db.cer or boot by shim"
            }
            SiteKey::Missing => "; the site's key is not enrolled: enrol db.cer before Secure Boot is switched on",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_is_that_of_the_newest_authority() {
        let age = |names: &[&str]| BootAge {
            authorities: names.iter().map(|name| (*name).to_owned()).collect(),
            ..BootAge::default()
        };
        let old = ["Microsoft Windows Production PCA 2011", "Microsoft Corporation UEFI CA 2011"];
        assert_eq!(age(&old).generation(), Some(2011));
        assert!(age(&old).to_string().contains("new loaders will not start"));
        assert_eq!(age(&[old[0], "Windows UEFI CA 2023"]).generation(), Some(2023));
        assert_eq!(age(&[old[1], "Microsoft UEFI CA 2023"]).generation(), Some(2023));
        assert_eq!(age(&["Plant 2023"]).generation(), None);
        assert_eq!(age(&[]).to_string(), "db trusts nobody; dbx bans 0");
    }

    #[test]
    fn lists_are_read_to_their_end_and_no_further() {
        let list = |kind: [u8; 16], entries: &[&[u8]]| {
            let entry_len = OWNER_LEN + entries[0].len();
            let mut list = kind.to_vec();
            for number in [LIST_HEADER_LEN + entries.len() * entry_len, 0, entry_len] {
                list.extend((number as u32).to_le_bytes());
            }
            entries.iter().for_each(|entry| list.extend([&[7; OWNER_LEN][..], entry].concat()));
            list
        };
        let value = [list(X509, &[b"one"]), list([0x26; 16], &[&[1; 32], &[2; 32]])].concat();
        let read = signature_lists(&value);
        assert_eq!((read.len(), read[0].is_x509, read[1].is_x509), (2, true, false));
        assert_eq!((&read[0].entries[..], read[1].entries.len()), (&[&b"one"[..]][..], 2));
        for cut in 0..value.len() {
            assert!(signature_lists(&value[..cut]).len() < 2);
        }
        assert!(signature_lists(&[0xff; 64]).is_empty());
        let mut endless = list(X509, &[b"one"]);
        endless[16..20].fill(0);
        assert!(signature_lists(&endless).is_empty());
    }

    #[test]
    fn a_missing_key_is_said_with_what_to_do() {
        let told =
            SecureBoot { on: true, db: vec!["aa".into()], mok: vec!["bb".into()], ..SecureBoot::default() };
        let said = |wanted| SecureBoot { site_key: told.find(wanted), ..told.clone() }.to_string();
        assert_eq!(said(None), "on");
        assert_eq!(said(Some("aa")), "on; the site's key is enrolled");
        assert!(said(Some("bb")).contains("in shim"));
        assert!(said(Some("cc")).contains("not enrolled") && said(Some("cc")).contains("db.cer"));
    }
}
