//! The variable store of OVMF as a file: which keys a virtual endpoint's firmware is delivered with.
//!
//! ```text
//! firmware volume header │ store header, 28 bytes │ variable │ variable │ … │ 0xff
//!                          variable: 60 bytes of header, name in UTF-16 with NUL, value; at multiples of 4
//! ```
//!
//! What stands here was not checked by any firmware: a board's maker writes it so, before Secure Boot is on. Source: EDK II,
//! `MdeModulePkg/Include/Guid/VariableFormat.h`; UEFI specification 2.10, section 32.4.1.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Marks a variable's header.
const START: [u8; 2] = [0xaa, 0x55];
/// Written whole, and not deleted.
const ADDED: u8 = 0x3f;
/// What is left of [`ADDED`] in flash when it is deleted.
const DELETED: u8 = 0x3d;
const STORE_HEADER_LEN: usize = 28;
const HEADER_LEN: usize = 60;

/// EFI_GLOBAL_VARIABLE.
const GLOBAL: &str = "61dfe48bca93d211aa0d00e098032b8c";
/// EFI_IMAGE_SECURITY_DATABASE_GUID.
const DATABASE: &str = "cbb219d73a3d9645a3bcdad00e67656f";
/// EFI_SECURE_BOOT_ENABLE_DISABLE_GUID.
const SWITCH: &str = "f03a0af0af08564599c4001009c93a44";
/// SHIM_LOCK_GUID.
const SHIM: &str = "50ab5d6046e00043abb63dd810dd8b23";

/// Non-volatile, visible at boot and at run time, time-based authenticated.
const KEYS: u32 = 0x27;
/// Non-volatile, visible at boot only.
const BOOT_ONLY: u32 = 0x03;

/// Where a site's key is enrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In `db`, and the board is the site's own: PK and KEK too, and nobody else's.
    OwnBoard,
    /// In `db`, beside Microsoft's authorities.
    Beside,
    /// In shim's list, beside Microsoft's authorities in `db`.
    Mok,
}

/// Keys that an endpoint's firmware is delivered with.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// Directory that `groundstate-bootkit key new --platform` made.
    pub keys: PathBuf,
    /// Where.
    pub place: Place,
}

impl Enrolled {
    /// The store of a fresh board with these keys and Secure Boot on: `blank` and `microsoft` are OVMF's stores without keys and with Microsoft's.
    ///
    /// # Errors
    /// When a file cannot be read or is not what it should be.
    pub fn store(&self, blank: &Path, microsoft: &Path) -> Result<Vec<u8>> {
        let list =
            |name: &str| fs::read(self.keys.join(name)).with_context(|| format!("no {name} of the site"));
        let from = if self.place == Place::OwnBoard { blank } else { microsoft };
        let mut store = Store::open(fs::read(from).with_context(|| format!("no {}", from.display()))?)?;
        let db = list("db.esl")?;
        match self.place {
            Place::OwnBoard => {
                store.set("PK", GLOBAL, KEYS, &list("PK.esl")?)?;
                store.set("KEK", GLOBAL, KEYS, &list("KEK.esl")?)?;
                store.set("db", DATABASE, KEYS, &db)?;
                store.set("SecureBootEnable", SWITCH, BOOT_ONLY, &[1])?;
            }
            Place::Beside => {
                let theirs = store.get("db", DATABASE)?.context("there is no db in the store")?;
                store.set("db", DATABASE, KEYS, &[theirs, db].concat())?;
            }
            Place::Mok => store.set("MokList", SHIM, BOOT_ONLY, &db)?,
        }
        Ok(store.bytes)
    }
}

struct Store {
    bytes: Vec<u8>,
    /// Where the first variable is.
    begin: usize,
    /// Where the store ends.
    limit: usize,
}

/// A variable as it lies in the store.
struct Found {
    at: usize,
    value: std::ops::Range<usize>,
}

impl Store {
    fn open(bytes: Vec<u8>) -> Result<Self> {
        ensure!(bytes.get(0x28..0x2c) == Some(b"_FVH"), "this is no firmware volume");
        let header = usize::from(u16::from_le_bytes([bytes[0x30], bytes[0x31]]));
        let size = number(&bytes, header + 16)?;
        Ok(Self { begin: header + STORE_HEADER_LEN, limit: header + size, bytes })
    }

    /// Every variable that is not deleted and is called `name`, and where the next one would begin.
    fn walk(&self, name: &str, vendor: &str) -> Result<(Vec<Found>, usize)> {
        let wanted: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let vendor = hex::decode(vendor)?;
        let (mut found, mut at) = (Vec::new(), self.begin);
        while self.bytes.get(at..at + 2) == Some(&START) {
            let (name_len, len) = (number(&self.bytes, at + 36)?, number(&self.bytes, at + 40)?);
            let name_at = at + HEADER_LEN;
            let value = name_at + name_len..name_at + name_len + len;
            ensure!(value.end <= self.limit, "a variable reaches out of its store");
            let same = self.bytes[name_at..value.start] == wanted && self.bytes[at + 44..name_at] == vendor;
            let end = value.end;
            if same && self.bytes[at + 2] == ADDED {
                found.push(Found { at, value });
            }
            at = end.next_multiple_of(4);
        }
        Ok((found, at))
    }

    fn get(&self, name: &str, vendor: &str) -> Result<Option<Vec<u8>>> {
        let (found, _) = self.walk(name, vendor)?;
        Ok(found.last().map(|variable| self.bytes[variable.value.clone()].to_vec()))
    }

    fn set(&mut self, name: &str, vendor: &str, attributes: u32, value: &[u8]) -> Result<()> {
        let (old, at) = self.walk(name, vendor)?;
        old.iter().for_each(|variable| self.bytes[variable.at + 2] = DELETED);
        let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let mut new = [START, [ADDED, 0]].concat();
        new.extend(attributes.to_le_bytes());
        // A counter, a time of which any update is later, and no public key by number.
        new.extend([0; 8]);
        new.extend([0xd0, 0x07, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        new.extend([0; 4]);
        new.extend(u32::try_from(name.len())?.to_le_bytes());
        new.extend(u32::try_from(value.len())?.to_le_bytes());
        new.extend(hex::decode(vendor)?);
        new.extend(name);
        new.extend(value);
        let end = at + new.len();
        ensure!(end <= self.limit, "the variable store is full");
        self.bytes[at..end].copy_from_slice(&new);
        Ok(())
    }
}

fn number(bytes: &[u8], at: usize) -> Result<usize> {
    let four = bytes.get(at..at + 4).context("the variable store is cut off")?;
    Ok(u32::from_le_bytes(four.try_into()?) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::Firmware;

    #[test]
    fn a_key_beside_microsofts_leaves_theirs() {
        let (_, microsoft) = Firmware::OvmfSecureBoot.flash().unwrap();
        let (_, blank) = Firmware::Ovmf.flash().unwrap();
        let dir = tempfile::tempdir().unwrap();
        for name in ["PK.esl", "KEK.esl", "db.esl"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let store = |place| {
            let enrolled = Enrolled { keys: dir.path().to_owned(), place };
            Store::open(enrolled.store(blank, microsoft).unwrap()).unwrap()
        };
        let theirs = Store::open(fs::read(microsoft).unwrap()).unwrap().get("db", DATABASE).unwrap().unwrap();
        assert!(theirs.len() > 2000, "{}", theirs.len());

        let beside = store(Place::Beside);
        assert_eq!(beside.get("db", DATABASE).unwrap().unwrap(), [&theirs[..], b"db.esl"].concat());
        assert!(beside.get("PK", GLOBAL).unwrap().unwrap().len() > 500);
        let mok = store(Place::Mok);
        assert_eq!(mok.get("db", DATABASE).unwrap().unwrap(), theirs);
        assert_eq!(mok.get("MokList", SHIM).unwrap().unwrap(), b"db.esl");
        let own = store(Place::OwnBoard);
        assert_eq!(own.get("db", DATABASE).unwrap().unwrap(), b"db.esl");
        assert_eq!(own.get("PK", GLOBAL).unwrap().unwrap(), b"PK.esl");
        assert_eq!(own.bytes.len(), fs::read(blank).unwrap().len());
    }
}
