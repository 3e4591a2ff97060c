//! The site's Secure Boot keys: made, sealed, opened.
//!
//! ```text
//! db.key    private half, PKCS #8 in PEM, mode 0600: sealed with a passphrase (PBES2: scrypt, AES-256-CBC), or open when asked to by name
//! db.cer    certificate, DER: what a firmware's setup enrols; `db.crt` is the same in PEM
//! ```
//!
//! RSA-2048 with SHA-256, since the UEFI specification (2.10, section 32.2.4) asks every firmware for that and for nothing else. `rsa` makes
//! keys and opens sealed ones; ring signs. The certificate's dates are fixed: firmware does not look at them, and a clock that is
//! wrong on the day when the key is made shall not matter.
//!
//! This module must never write a private half that others may read, or replace a key that is there.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding, SecretDocument};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyUsagePurpose};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

const BITS: usize = 2048;
const SEALED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// A key that can sign, with its certificate.
#[derive(Debug)]
pub struct Signer {
    key: RsaKeyPair,
    certificate: Vec<u8>,
    subject: String,
    issuer: Vec<u8>,
    serial: Vec<u8>,
}

/// How a private half is kept.
#[derive(Debug, Clone, Copy)]
pub enum Keep<'p> {
    /// Sealed with this passphrase.
    Sealed(&'p str),
    /// Only by the file's mode.
    Open,
}

/// Makes a key with a self-signed certificate in the name of `subject`, writes both at `path` (`.key`, `.cer`, `.crt`), and opens it.
///
/// # Errors
/// When a file is there already or cannot be written, or the system gives no random bytes.
pub fn make(path: &Path, subject: &str, keep: Keep<'_>) -> Result<Signer> {
    let key = rsa::PrivateKey::new(&mut getrandom::SysRng, BITS).context("making an RSA key")?;
    let pkcs8 = key.to_pkcs8_der().context("encoding the key")?;
    let certificate = certify(&pkcs8, subject)?;
    let text = match keep {
        Keep::Sealed(passphrase) => key.to_pkcs8_encrypted_pem(passphrase, LineEnding::LF),
        Keep::Open => key.to_pkcs8_pem(LineEnding::LF),
    };
    write_new(&path.with_extension("key"), text.context("encoding the key")?.as_bytes(), 0o600)?;
    write_new(&path.with_extension("cer"), &certificate, 0o644)?;
    let pem = rcgen_pem(&certificate);
    write_new(&path.with_extension("crt"), pem.as_bytes(), 0o644)?;
    Signer::new(&pkcs8, certificate)
}

fn rcgen_pem(certificate: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
}

/// A certificate of the key itself: no authority, good for signatures.
fn certify(pkcs8: &SecretDocument, subject: &str) -> Result<Vec<u8>> {
    let der = PrivatePkcs8KeyDer::from(pkcs8.as_bytes().to_vec());
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params.self_signed(&key).context("making the certificate")?.der().to_vec())
}

/// Writes a file that is not there yet.
pub fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.with_context(|| {
        format!("making {}; a key that is there is not replaced: name another directory", path.display())
    })?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("writing {}", path.display()))
}

impl Signer {
    /// Opens the key in `file`; its certificate lies beside it as `.cer`.
    ///
    /// # Errors
    /// When others may read the key, it is sealed and no or the wrong passphrase was given, or certificate and key do not belong together.
    pub fn open(file: &Path, passphrase: Option<&str>) -> Result<Self> {
        let shown = file.display();
        let mode = fs::metadata(file).with_context(|| format!("reading {shown}"))?.permissions().mode();
        ensure!(mode & 0o077 == 0, "{shown} can be read by others (mode {:o}); `chmod 600` it", mode & 0o777);
        let text = Zeroizing::new(fs::read_to_string(file).with_context(|| format!("reading {shown}"))?);
        let key = match (text.starts_with(SEALED), passphrase) {
            (true, None) => {
                bail!("{shown} is sealed; name the file with its passphrase with --passphrase-file")
            }
            (true, Some(passphrase)) => rsa::PrivateKey::from_pkcs8_encrypted_pem(&text, passphrase)
                .map_err(|_| anyhow::anyhow!("the passphrase is wrong, or {shown} was altered"))?,
            (false, _) => rsa::PrivateKey::from_pkcs8_pem(&text).map_err(|_| {
                anyhow::anyhow!("{shown} is not an RSA key in PKCS #8 and PEM; take db.key of `key new`")
            })?,
        };
        let beside = file.with_extension("cer");
        let certificate = fs::read(&beside)
            .with_context(|| format!("reading {}; the certificate lies beside its key", beside.display()))?;
        Self::new(&key.to_pkcs8_der().context("encoding the key")?, certificate)
            .with_context(|| format!("opening {shown}"))
    }

    fn new(pkcs8: &SecretDocument, certificate: Vec<u8>) -> Result<Self> {
        let key = RsaKeyPair::from_pkcs8(pkcs8.as_bytes()).map_err(|why| {
            anyhow::anyhow!("this RSA key cannot be used ({why}); it needs 2048 bits or more")
        })?;
        let (_, parsed) = parse_x509_certificate(&certificate).context("its certificate cannot be read")?;
        ensure!(
            parsed.public_key().subject_public_key.data.as_ref() == key.public().as_ref(),
            "key and certificate do not belong together"
        );
        let (issuer, serial) = (parsed.issuer().as_raw().to_vec(), parsed.raw_serial().to_vec());
        let subject = parsed.subject().to_string();
        Ok(Self { subject, issuer, serial, key, certificate })
    }

    /// Its certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The certificate's subject, for people.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The certificate's issuer, a DER `Name`.
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// The certificate's serial number, big-endian as in DER.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The signature over `message`: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, section 8.2).
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| anyhow::anyhow!("the key did not sign"))?;
        Ok(signature)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A fresh key; its files go with the directory.
    pub fn signer(subject: &str) -> (tempfile::TempDir, Signer) {
        let dir = tempfile::tempdir().unwrap();
        let signer = make(&dir.path().join("db"), subject, Keep::Open).unwrap();
        (dir, signer)
    }

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_only() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(&dir.path().join("db"), "Plant 7", Keep::Sealed("right")).unwrap();
        let file = dir.path().join("db.key");
        let opened = Signer::open(&file, Some("right")).unwrap();
        assert_eq!(made.sign(b"x").unwrap(), opened.sign(b"x").unwrap());
        let said = |passphrase| format!("{:#}", Signer::open(&file, passphrase).unwrap_err());
        assert!(said(Some("wrong")).contains("passphrase is wrong"), "{}", said(Some("wrong")));
        assert!(said(None).contains("--passphrase-file"), "{}", said(None));
        assert!(!fs::read_to_string(&file).unwrap().contains("BEGIN PRIVATE KEY"));
    }

    #[test]
    fn a_key_is_for_its_owner_and_is_never_replaced() {
        let (dir, _) = signer("Plant 7");
        let file = dir.path().join("db.key");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let before = fs::read(&file).unwrap();
        assert!(make(&dir.path().join("db"), "Plant 7", Keep::Open).is_err());
        assert_eq!(fs::read(&file).unwrap(), before);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(format!("{:#}", Signer::open(&file, None).unwrap_err()).contains("chmod 600"));
    }

    #[test]
    fn another_keys_certificate_is_refused() {
        let ((dir, _), (other, _)) = (signer("one"), signer("two"));
        fs::copy(other.path().join("db.cer"), dir.path().join("db.cer")).unwrap();
        let refused = Signer::open(&dir.path().join("db.key"), None).unwrap_err();
        assert!(format!("{refused:#}").contains("do not belong together"), "{refused:#}");
    }
}
