//! The appliance's own keys, made on first start: TLS, evidence, operator token. All in the data directory, mode 0600.
//!
//! | file | what |
//! |---|---|
//! | `tls.key` | PKCS #8 PEM, ECDSA P-256; the recovery system pins its public half |
//! | `tls.crt` | self-signed; made anew when the addresses change and before it ends, the key stays |
//! | `evidence.key` | Ed25519, PKCS #8 DER: signs checkpoints of the evidence log |
//! | `appliance.id` | which appliance this is, where two have one identity; never in a backup. Locked while it serves |
//! | `operator.token` | 32 random bytes, base64url: the first operator's bearer token |
//!
//! A file is written under another name, synced, then renamed: a crash leaves the old key or the new one.
//! It must never: print a secret, or overwrite a key that exists.

use std::{
    fs,
    io::Write as _,
    net::IpAddr,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use base64::Engine as _;
use ring::{
    digest, rand,
    rand::SecureRandom as _,
    signature::{Ed25519KeyPair, KeyPair as _},
};

use crate::seal::{self, Seal, SealError};

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file or the directory cannot be read or written.
    #[error("cannot {what} {path}; run the appliance as the owner of its data directory and check the disk")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// Others could read the directory.
    #[error("{path} can be read by others (mode {mode:o}); run `chmod 700 {path}`")]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file holds no usable key.
    #[error(
        "{path} holds no usable key: {why}; restore it from a backup, or remove it to have a new one made"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The library's words.
        why: String,
    },
    /// Another process serves from it.
    #[error("another groundstate serves from {path}; stop that one, or name another data directory")]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// It is sealed, and not opened.
    #[error(transparent)]
    Sealed(Box<SealError>),
    /// The system gave no random bytes.
    #[error("the system gives no random bytes; nothing secret can be made")]
    Random,
}

/// The file of [`Keys::own_id`].
pub const ID: &str = "appliance.id";

/// The appliance's keys.
pub struct Keys {
    /// TLS certificate chain, PEM.
    pub tls_cert_pem: String,
    /// TLS private key, PKCS #8 PEM.
    pub tls_key_pem: String,
    /// SHA-256 of the TLS key's SubjectPublicKeyInfo (DER), lower-case hex: what the recovery system pins.
    pub spki_sha256: String,
    /// Signs checkpoints of the evidence log.
    pub evidence: Ed25519KeyPair,
    /// The first operator's bearer token.
    pub operator_token: String,
    /// The directory that holds them.
    pub dir: PathBuf,
    /// What the certificate names.
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    locked: OnceLock<fs::File>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("spki_sha256", &self.spki_sha256)
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Load the keys of a data directory, making what is missing. `names` and `addresses` go into the certificate.
    ///
    /// # Errors
    /// [`KeyError`]: the directory is open to others, unwritable, or holds something that is no key.
    #[cfg(test)]
    pub fn open(data_dir: &Path, names: &[String], addresses: &[IpAddr]) -> Result<Self, KeyError> {
        Self::open_sealed(data_dir, names, addresses, None)
    }

    /// The same, where private keys are sealed.
    ///
    /// # Errors
    /// [`KeyError`]; also, the seal is another one's.
    pub fn open_sealed(
        data_dir: &Path,
        names: &[String],
        addresses: &[IpAddr],
        seal: Option<&Seal>,
    ) -> Result<Self, KeyError> {
        private_dir(data_dir)?;
        let key_path = data_dir.join("tls.key");
        let tls_key_pem = private_or_make(&key_path, seal, || {
            let key =
                rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|_| KeyError::Random)?;
            Ok(key.serialize_pem().into_bytes())
        })?;
        let tls_key_pem = String::from_utf8(tls_key_pem)
            .map_err(|_| KeyError::Damaged { path: key_path.clone(), why: "it is no text".to_owned() })?;
        let damaged = |path: &Path, why: String| KeyError::Damaged { path: path.to_owned(), why };
        let tls_key =
            rcgen::KeyPair::from_pem(&tls_key_pem).map_err(|e| damaged(&key_path, e.to_string()))?;
        let tls_cert_pem = certificate(&data_dir.join("tls.crt"), &tls_key, names, addresses, now_unix_s())?;
        let evidence_path = data_dir.join("evidence.key");
        let evidence_der = private_or_make(&evidence_path, seal, || {
            let document =
                Ed25519KeyPair::generate_pkcs8(&rand::SystemRandom::new()).map_err(|_| KeyError::Random)?;
            Ok(document.as_ref().to_vec())
        })?;
        let evidence =
            Ed25519KeyPair::from_pkcs8(&evidence_der).map_err(|e| damaged(&evidence_path, e.to_string()))?;
        let operator_token =
            text_or_make(&Self::token_path(data_dir), || Ok(secret()? + "\n"))?.trim().to_owned();
        if operator_token.len() < 32 {
            return Err(damaged(&Self::token_path(data_dir), "the token is too short".to_owned()));
        }
        Ok(Self {
            spki_sha256: spki_sha256(&rcgen::PublicKeyData::subject_public_key_info(&tls_key)),
            tls_cert_pem,
            tls_key_pem,
            evidence,
            operator_token,
            dir: data_dir.to_owned(),
            names: names.to_vec(),
            addresses: addresses.to_vec(),
            locked: OnceLock::new(),
        })
    }

    /// A new certificate for the same key, written, where this one ends soon or has not begun.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn renewed(&self, pem: &str, now_unix_s: u64) -> Result<Option<String>, KeyError> {
        if in_time(pem, now_unix_s) {
            return Ok(None);
        }
        let path = self.dir.join("tls.crt");
        let damaged = |e: rcgen::Error| KeyError::Damaged { path: path.clone(), why: e.to_string() };
        let key = rcgen::KeyPair::from_pem(&self.tls_key_pem).map_err(damaged)?;
        certificate(&path, &key, &self.names, &self.addresses, now_unix_s).map(Some)
    }

    /// Where the operator's token lies.
    #[must_use]
    pub fn token_path(data_dir: &Path) -> PathBuf {
        data_dir.join("operator.token")
    }

    /// Which appliance this is, where two have one identity: made on first start, and in no backup.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn own_id(&self) -> Result<String, KeyError> {
        let made = text_or_make(&self.dir.join(ID), || Ok(hex::encode(random::<8>()?)))?;
        Ok(made.trim().to_owned())
    }

    /// Let nobody else serve from this directory as long as these keys live.
    ///
    /// # Errors
    /// [`KeyError::InUse`].
    pub fn lock(&self) -> Result<(), KeyError> {
        self.own_id()?;
        let path = self.dir.join(ID);
        let file = fs::File::open(&path).map_err(|source| KeyError::Io {
            what: "open",
            path: path.clone(),
            source,
        })?;
        match file.try_lock() {
            Ok(()) => {
                let _ = self.locked.set(file);
                Ok(())
            }
            Err(fs::TryLockError::WouldBlock) => Err(KeyError::InUse { path: self.dir.clone() }),
            Err(fs::TryLockError::Error(source)) => Err(KeyError::Io { what: "lock", path, source }),
        }
    }

    /// The public half of the evidence key, lower-case hex.
    #[must_use]
    pub fn evidence_public(&self) -> String {
        hex::encode(self.evidence.public_key().as_ref())
    }
}

/// SHA-256 of a SubjectPublicKeyInfo (DER), lower-case hex: the form of every pin.
#[must_use]
pub fn spki_sha256(spki_der: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, spki_der))
}

/// SHA-256 of a secret, lower-case hex: the only form in which the database knows it.
#[must_use]
pub fn secret_hash(secret: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}

/// 32 random bytes as base64url without padding.
///
/// # Errors
/// [`KeyError::Random`].
pub fn secret() -> Result<String, KeyError> {
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random::<32>()?))
}

/// `N` random bytes.
///
/// # Errors
/// [`KeyError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    rand::SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

/// One process at a time makes keys in a data directory, as long as this lives; others wait.
///
/// # Errors
/// [`KeyError`].
pub fn making(data_dir: &Path) -> Result<fs::File, KeyError> {
    private_dir(data_dir)?;
    let held = fs::File::open(data_dir).and_then(|dir| dir.lock().map(|()| dir));
    held.map_err(|source| KeyError::Io { what: "lock", path: data_dir.to_owned(), source })
}

/// Make the directory with mode 0700, or refuse one that others can enter.
fn private_dir(path: &Path) -> Result<(), KeyError> {
    let io = |what| move |source| KeyError::Io { what, path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("create"))?;
    let mode = fs::metadata(path).map_err(io("look at"))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 { Err(KeyError::Open { path: path.to_owned(), mode }) } else { Ok(()) }
}

/// A certificate is valid from a day ago for so many days, and made anew so many before it ends. Endpoints pin the key, and
/// people compare it once: a date tells neither anything, but programs of others refuse what is valid for longer.
const DAYS: u64 = 397;
const DAYS_LEFT: u64 = 30;
const DAY: u64 = 86_400;

fn now_unix_s() -> u64 {
    jiff::Timestamp::now().as_second().max(0).unsigned_abs()
}

fn in_time(pem: &str, now_unix_s: u64) -> bool {
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(pem.as_bytes()) else { return false };
    let Ok(certificate) = pem.parse_x509() else { return false };
    let (validity, now) = (certificate.validity(), now_unix_s.cast_signed());
    let left = (DAYS_LEFT * DAY).cast_signed();
    validity.not_before.timestamp() <= now && now + left < validity.not_after.timestamp()
}

/// When a certificate (PEM) ends, milliseconds since 1970; none: it cannot be read.
#[must_use]
pub fn ends_at(pem: &str) -> Option<u64> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let end = pem.parse_x509().ok()?.validity().not_after.timestamp();
    u64::try_from(end).ok()?.checked_mul(1000)
}

/// The certificate on disk if it fits key, names and time, else a new one.
fn certificate(
    path: &Path,
    key: &rcgen::KeyPair,
    names: &[String],
    addresses: &[IpAddr],
    now: u64,
) -> Result<String, KeyError> {
    let mut wanted: Vec<String> = names.to_vec();
    wanted.extend(addresses.iter().map(ToString::to_string));
    wanted.sort();
    wanted.dedup();
    if let Ok(pem) = fs::read_to_string(path)
        && fits(&pem, key, &wanted)
        && in_time(&pem, now)
    {
        return Ok(pem);
    }
    let broken = |e: rcgen::Error| KeyError::Damaged { path: path.to_owned(), why: e.to_string() };
    let mut params = rcgen::CertificateParams::new(wanted).map_err(broken)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let common_name = names.first().map_or("groundstate", String::as_str);
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    let at = |unix_s: u64| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(unix_s);
    params.not_before = at(now.saturating_sub(DAY));
    params.not_after = at(now + DAYS * DAY);
    let pem = params.self_signed(key).map_err(broken)?.pem();
    write_private(path, pem.as_bytes())?;
    Ok(pem)
}

fn fits(pem: &str, key: &rcgen::KeyPair, wanted: &[String]) -> bool {
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(pem.as_bytes()) else { return false };
    let Ok(certificate) = pem.parse_x509() else { return false };
    let mut have: Vec<String> = Vec::new();
    if let Ok(Some(san)) = certificate.subject_alternative_name() {
        for name in &san.value.general_names {
            match name {
                x509_parser::extensions::GeneralName::DNSName(dns) => have.push((*dns).to_owned()),
                x509_parser::extensions::GeneralName::IPAddress(ip) => have.extend(match ip.len() {
                    4 => <[u8; 4]>::try_from(*ip).ok().map(|b| IpAddr::from(b).to_string()),
                    _ => <[u8; 16]>::try_from(*ip).ok().map(|b| IpAddr::from(b).to_string()),
                }),
                _ => {}
            }
        }
    }
    have.sort();
    have == wanted && certificate.public_key().raw == rcgen::PublicKeyData::subject_public_key_info(key)
}

/// A private key: made where there is none, sealed before it is on disk, and then read as any other.
fn private_or_make(
    path: &Path,
    seal: Option<&Seal>,
    make: impl FnOnce() -> Result<Vec<u8>, KeyError>,
) -> Result<Vec<u8>, KeyError> {
    let sealed = |error| KeyError::Sealed(Box::new(error));
    if !fs::exists(path).map_err(|source| KeyError::Io { what: "look at", path: path.to_owned(), source })? {
        seal::keep(path, &make()?, seal).map_err(sealed)?;
    }
    Ok(seal::read(path, seal).map_err(sealed)?.to_vec())
}

fn text_or_make(path: &Path, make: impl FnOnce() -> Result<String, KeyError>) -> Result<String, KeyError> {
    let bytes = bytes_or_make(path, || make().map(String::into_bytes))?;
    String::from_utf8(bytes).map_err(|e| KeyError::Damaged { path: path.to_owned(), why: e.to_string() })
}

fn bytes_or_make(path: &Path, make: impl FnOnce() -> Result<Vec<u8>, KeyError>) -> Result<Vec<u8>, KeyError> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let bytes = make()?;
            write_private(path, &bytes)?;
            Ok(bytes)
        }
        Err(source) => Err(KeyError::Io { what: "read", path: path.to_owned(), source }),
    }
}

/// A name for a file on its way to this one, that no other one has.
///
/// # Errors
/// [`KeyError::Random`].
pub fn beside(path: &Path) -> Result<PathBuf, KeyError> {
    Ok(path.with_added_extension(format!("{}.new", hex::encode(random::<8>()?))))
}

/// A command of root's, such as a backup, leaves what it writes to whose the file was, or its directory: the appliance serves as another user.
///
/// # Errors
/// As the file system.
pub fn leave_to_its_owner(file: &fs::File, path: &Path) -> std::io::Result<()> {
    let before = fs::symlink_metadata(path).or_else(|_| fs::metadata(path.parent().unwrap_or(path)));
    let Ok(before) = before else { return Ok(()) };
    if file.metadata()?.uid() == before.uid() {
        return Ok(());
    }
    match fchown(file, Some(before.uid()), Some(before.gid())) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

/// Replace a file whole, readable by its owner alone.
///
/// # Errors
/// [`KeyError::Io`].
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let io = |what| move |source| KeyError::Io { what, path: path.to_owned(), source };
    let fresh = beside(path)?;
    let mut options = fs::OpenOptions::new();
    let put = options.write(true).create_new(true).mode(0o600).open(&fresh).and_then(|mut file| {
        leave_to_its_owner(&file, path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    });
    if put.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    put.map_err(io("write"))?;
    if let Some(dir) = path.parent() {
        fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("sync"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["appliance".to_owned()]
    }

    #[test]
    fn keys_are_made_once_private_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("state");
        let first = Keys::open(&data, &names(), &["10.0.0.1".parse().unwrap()]).unwrap();
        let again = Keys::open(&data, &names(), &["10.0.0.1".parse().unwrap()]).unwrap();
        assert_eq!(first.spki_sha256, again.spki_sha256);
        assert_eq!(first.tls_cert_pem, again.tls_cert_pem);
        assert_eq!(first.operator_token, again.operator_token);
        assert_eq!(first.evidence_public(), again.evidence_public());
        for file in fs::read_dir(&data).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        }
    }

    #[test]
    fn a_new_address_makes_a_new_certificate_for_the_same_pin() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("state");
        let first = Keys::open(&data, &names(), &["10.0.0.1".parse().unwrap()]).unwrap();
        let moved = Keys::open(&data, &names(), &["10.0.0.2".parse().unwrap()]).unwrap();
        assert_ne!(first.tls_cert_pem, moved.tls_cert_pem);
        assert_eq!(first.spki_sha256, moved.spki_sha256);
    }

    #[test]
    fn an_open_directory_and_a_damaged_key_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Keys::open(dir.path(), &names(), &[]), Err(KeyError::Open { mode: 0o755, .. })));
        let data = dir.path().join("state");
        private_dir(&data).unwrap();
        fs::write(data.join("tls.key"), "no key").unwrap();
        assert!(matches!(Keys::open(&data, &names(), &[]), Err(KeyError::Damaged { .. })));
        fs::remove_file(data.join("tls.key")).unwrap();
        fs::write(data.join("operator.token"), "short").unwrap();
        assert!(matches!(Keys::open(&data, &names(), &[]), Err(KeyError::Damaged { .. })));
    }
}
