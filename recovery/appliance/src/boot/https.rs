//! Boot files over TLS, for firmware that fetches no other way: an authority for this alone, and a certificate by it with our addresses.
//!
//! ```text
//! boot-ca/root.key, root.cer, root.crt     made once, in this order; a person enrols the certificate in each endpoint's firmware
//! boot-ca/server.key, server.crt           by the authority; made anew when our addresses change or half of its life is over
//! ```
//!
//! Firmware verifies addresses (EDK2 since CVE-2019-14553), so the certificate names them. RSA, since older firmware knows nothing else. Both
//! begin long ago: the clock of a board whose battery is empty stands there. Private keys are sealed as the appliance's others. Who may have which file is decided as over plain HTTP.
//! It must never: replace an authority, or sign for anything but this appliance.

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use base64::Engine as _;
use bytes::Bytes;
use futures_util::stream;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_util::sync::CancellationToken;

use crate::{
    interfaces, keys,
    seal::{self, Seal, SealError},
    tls,
};

const BITS: usize = 2048;
const YEAR_S: u64 = 365 * 86_400;
const ROOT_LIFETIME_S: u64 = 30 * YEAR_S;
const LEAF_LIFETIME_S: u64 = 4 * YEAR_S;
/// How often it is looked whether the certificate still fits.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Largest body of a request: boot files are asked for without one.
const ASKED_MAX: usize = 4096;

/// Why boot files cannot be served over TLS.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// A file.
    #[error(
        "cannot use {path}: {source}; run the appliance as the owner of its data directory and check the disk"
    )]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// A key or certificate cannot be used.
    #[error("{path} cannot be used: {why}; restore the folder from a backup")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A private key is sealed, and not opened.
    #[error(transparent)]
    Sealed(#[from] Box<SealError>),
    /// The system gives no random bytes.
    #[error("no key can be made: {0}")]
    Key(String),
    /// Our addresses cannot be listed.
    #[error(transparent)]
    Addresses(#[from] interfaces::InterfaceError),
}

/// The authority, and the certificate in use.
pub struct BootTls {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    seal: Option<Seal>,
    current: Arc<Current>,
}

/// The certificate that the next connection is shown.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl std::fmt::Debug for BootTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BootTls").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl BootTls {
    /// Opens the authority in `dir`, or founds it there, and makes a certificate for `addresses` where the one that is there does not
    /// fit. `now` is seconds since 1970. Blocking: to make an RSA key takes a moment.
    ///
    /// # Errors
    /// [`HttpsError`].
    pub fn open(
        dir: &Path,
        site: &str,
        addresses: &[IpAddr],
        now: u64,
        seal: Option<Seal>,
    ) -> Result<Self, HttpsError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
        let (key_file, root_file) = (dir.join("root.key"), dir.join("root.crt"));
        // A founding that was cut has its key at most, which nobody can have enrolled: it is founded anew.
        if !root_file.exists() && !dir.join("root.cer").exists() {
            found(dir, site, now, seal.as_ref())?;
        }
        let key = read_key(&key_file, seal.as_ref())?;
        if !root_file.exists() {
            let der = fs::read(dir.join("root.cer")).map_err(at(&dir.join("root.cer")))?;
            write(&root_file, pem(&der).as_bytes())?;
        }
        let root = fs::read_to_string(&root_file).map_err(at(&root_file))?;
        let damaged = |why: String| HttpsError::Damaged { path: root_file.clone(), why };
        let issuer = Issuer::from_ca_cert_pem(&root, key).map_err(|e| damaged(e.to_string()))?;
        let first = Arc::new(certified(dir, &issuer, addresses, now, seal.as_ref())?);
        Ok(Self { dir: dir.to_owned(), issuer, seal, current: Arc::new(Current(RwLock::new(first))) })
    }

    /// For TLS 1.2 and 1.3; firmware shows no certificate.
    ///
    /// # Errors
    /// Never with ring's own suites.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::<Current>::clone(&self.current));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Looks whether the certificate fits these addresses at this time, and makes another one where it does not.
    ///
    /// # Errors
    /// [`HttpsError`]; the one in use stays in use.
    pub fn renew(&self, addresses: &[IpAddr], now: u64) -> Result<(), HttpsError> {
        let fresh = certified(&self.dir, &self.issuer, addresses, now, self.seal.as_ref())?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }

    /// Renews by itself until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let own = Arc::clone(&self);
            let renewed = tokio::task::spawn_blocking(move || {
                own.renew(&interfaces::addresses()?, jiff::Timestamp::now().as_second().max(0).unsigned_abs())
            });
            match renewed.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "the certificate for boot files was not renewed"),
                Err(error) => tracing::error!(%error, "the certificate for boot files was not renewed"),
            }
        }
    }
}

/// Boot files and nothing else, by the boot layer's own decision.
pub fn router(files: pxe::http::Handler) -> Router {
    Router::new().fallback(answer).with_state(files)
}

async fn answer(State(files): State<pxe::http::Handler>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(peer) = parts.extensions.get::<tls::Peer>() else { return Response::new(Body::empty()) };
    let peer = pxe::http::Peer { remote: unmapped(peer.address), local: unmapped(peer.local) };
    let body = axum::body::to_bytes(body, ASKED_MAX).await.unwrap_or_else(|_| Bytes::new());
    let answer = files(pxe::http::Request::from_parts(parts, body), peer).await;
    answer.map(|body| match body {
        pxe::http::Body::Whole(bytes) => Body::from(bytes),
        pxe::http::Body::Pieces(pieces) => {
            Body::from_stream(stream::try_unfold(pieces, |mut pieces| async {
                let Some(parts) = pieces.next().await.map_err(axum::Error::new)? else { return Ok(None) };
                let mut piece = Vec::with_capacity(parts.iter().map(pxe::http::Part::len).sum());
                for part in parts {
                    match part {
                        pxe::http::Part::Bytes(bytes) => piece.extend_from_slice(&bytes),
                        pxe::http::Part::File { .. } => {
                            return Err(axum::Error::new("boot files are in memory"));
                        }
                    }
                }
                Ok::<_, axum::Error>(Some((Bytes::from(piece), pieces)))
            }))
        }
    })
}

/// An IPv4 address as itself, also where one socket hears both.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The certificate on disk where it fits, else a new one.
fn certified(
    dir: &Path,
    issuer: &Issuer<'_, KeyPair>,
    addresses: &[IpAddr],
    now: u64,
    seal: Option<&Seal>,
) -> Result<CertifiedKey, HttpsError> {
    let (key_file, file) = (dir.join("server.key"), dir.join("server.crt"));
    if !key_file.exists() {
        keep_new_key(&key_file, seal)?;
    }
    let key = read_key(&key_file, seal)?;
    let kept = fs::read_to_string(&file).ok().filter(|pem| fits(pem, &key, addresses, now));
    let pem = match kept {
        Some(pem) => pem,
        None => {
            let pem = issue(issuer, &key, addresses, now).map_err(damaged(&file))?;
            write(&file, pem.as_bytes())?;
            tracing::info!(?addresses, "boot files have a new certificate");
            pem
        }
    };
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let private =
        PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).map_err(damaged(&key_file))?;
    let signer = rustls::crypto::ring::sign::any_supported_type(&private).map_err(damaged(&key_file))?;
    Ok(CertifiedKey::new(certificates.map_err(damaged(&file))?, signer))
}

fn fits(pem: &str, key: &KeyPair, addresses: &[IpAddr], now: u64) -> bool {
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(pem.as_bytes()) else { return false };
    let Ok(certificate) = pem.parse_x509() else { return false };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    let named: Vec<Vec<u8>> = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            x509_parser::extensions::GeneralName::IPAddress(bytes) => Some(bytes.to_vec()),
            _ => None,
        })
        .collect();
    let wanted: Vec<Vec<u8>> = addresses.iter().map(octets).collect();
    let left = certificate.validity().not_after.timestamp() - i64::try_from(now).unwrap_or(i64::MAX);
    certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
        && named == wanted
        && left >= i64::try_from(LEAF_LIFETIME_S / 2).unwrap_or(i64::MAX)
}

fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn issue(
    issuer: &Issuer<'_, KeyPair>,
    key: &KeyPair,
    addresses: &[IpAddr],
    now: u64,
) -> Result<String, String> {
    let mut params = params("Groundstate boot files", now + LEAF_LIFETIME_S)?;
    params.subject_alt_names = addresses.iter().map(|address| SanType::IpAddress(*address)).collect();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params.signed_by(key, issuer).map_err(|e| e.to_string())?.pem())
}

fn params(name: &str, not_after: u64) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let mut serial = keys::random::<16>().map_err(|e| e.to_string())?;
    // A positive number of the same length (RFC 5280 section 4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(not_after);
    Ok(params)
}

fn found(dir: &Path, site: &str, now: u64, seal: Option<&Seal>) -> Result<(), HttpsError> {
    let (key_file, file) = (dir.join("root.key"), dir.join("root.crt"));
    keep_new_key(&key_file, seal)?;
    let key = read_key(&key_file, seal)?;
    let mut params =
        params(&format!("Groundstate boot of {site}"), now + ROOT_LIFETIME_S).map_err(damaged(&file))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = params.self_signed(&key).map_err(damaged(&file))?;
    write(&dir.join("root.cer"), root.der())?;
    write(&file, root.pem().as_bytes())
}

/// A certificate as text.
fn pem(der: &[u8]) -> String {
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn keep_new_key(path: &Path, seal: Option<&Seal>) -> Result<(), HttpsError> {
    Ok(seal::keep(path, new_key()?.as_bytes(), seal).map_err(Box::new)?)
}

fn new_key() -> Result<zeroize::Zeroizing<String>, HttpsError> {
    let key =
        rsa::PrivateKey::new(&mut getrandom::SysRng, BITS).map_err(|e| HttpsError::Key(e.to_string()))?;
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|e| HttpsError::Key(e.to_string()))?;
    Ok(pem)
}

fn read_key(path: &Path, seal: Option<&Seal>) -> Result<KeyPair, HttpsError> {
    let pem = seal::read(path, seal).map_err(Box::new)?;
    let pem = str::from_utf8(&pem).map_err(damaged(path))?;
    KeyPair::from_pem_and_sign_algo(pem, &rcgen::PKCS_RSA_SHA256).map_err(damaged(path))
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> HttpsError {
    move |source| HttpsError::File { path: path.to_owned(), source }
}

fn damaged<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> HttpsError {
    move |error| HttpsError::Damaged { path: path.to_owned(), why: error.to_string() }
}

/// Whole or not at all, and for the owner alone.
fn write(path: &Path, bytes: &[u8]) -> Result<(), HttpsError> {
    let fresh = path.with_extension("new");
    let written = || -> std::io::Result<()> {
        let mut file =
            fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
    };
    written().map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn names(dir: &Path) -> (Vec<Vec<u8>>, String, i64) {
        let pem = fs::read_to_string(dir.join("server.crt")).unwrap();
        let (_, parsed) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let certificate = parsed.parse_x509().unwrap();
        let root = fs::read(dir.join("root.cer")).unwrap();
        let (_, root) = x509_parser::parse_x509_certificate(&root).unwrap();
        certificate.verify_signature(Some(root.public_key())).expect("by the authority");
        assert!(root.is_ca() && !certificate.is_ca());
        let alternative = certificate.subject_alternative_name().unwrap().unwrap().value.clone();
        let addresses = alternative.general_names.iter().map(|name| match name {
            x509_parser::extensions::GeneralName::IPAddress(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        });
        let serial = hex::encode(certificate.raw_serial());
        (addresses.collect(), serial, certificate.validity().not_after.timestamp())
    }

    #[test]
    fn e20_the_certificate_names_our_addresses_and_is_made_anew_when_it_must_be() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let two: Vec<IpAddr> = vec!["10.77.0.1".parse().unwrap(), "fd00:77::1".parse().unwrap()];
        let boot = BootTls::open(dir, "plant-7", &two[..1], NOW, None).unwrap();
        let (addresses, serial, _) = names(dir);
        assert_eq!(addresses, [vec![10, 77, 0, 1]]);
        let root = fs::read(dir.join("root.cer")).unwrap();

        boot.renew(&two[..1], NOW + YEAR_S).unwrap();
        assert_eq!(names(dir).1, serial, "it fits for a year");
        boot.renew(&two, NOW + YEAR_S).unwrap();
        let (addresses, other, _) = names(dir);
        assert_eq!(addresses, [two.iter().map(octets).collect::<Vec<_>>()].concat(), "a new address");
        assert_ne!(other, serial);
        boot.renew(&two, NOW + 4 * YEAR_S).unwrap();
        let (_, newest, until) = names(dir);
        assert_ne!(newest, other, "half of its life is over");
        assert!(until > i64::try_from(NOW + 7 * YEAR_S).unwrap());

        BootTls::open(dir, "plant-7", &two, NOW + 4 * YEAR_S, None).unwrap();
        assert_eq!((names(dir).1, fs::read(dir.join("root.cer")).unwrap()), (newest, root), "all is kept");
        fs::write(dir.join("root.crt"), "nonsense").unwrap();
        let refused = BootTls::open(dir, "plant-7", &two, NOW, None).unwrap_err();
        assert!(refused.to_string().contains("restore"), "{refused}");
    }

    /// Power goes after each file of the founding.
    #[test]
    fn e20_a_founding_that_was_cut_is_made_good_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, address) = (dir.path(), ["10.77.0.1".parse().unwrap()]);
        write(&dir.join("root.key"), new_key().unwrap().as_bytes()).unwrap();
        BootTls::open(dir, "plant-7", &address, NOW, None).unwrap();
        let (root, text) = (fs::read(dir.join("root.cer")).unwrap(), fs::read(dir.join("root.crt")).unwrap());
        fs::remove_file(dir.join("root.crt")).unwrap();
        BootTls::open(dir, "plant-7", &address, NOW, None).unwrap();
        assert_eq!(fs::read(dir.join("root.cer")).unwrap(), root, "it was whole, and may be enrolled");
        assert_eq!(
            String::from_utf8(fs::read(dir.join("root.crt")).unwrap()).unwrap().replace('\r', ""),
            String::from_utf8(text).unwrap().replace('\r', "")
        );
        names(dir);
    }

    #[test]
    fn e20_private_keys_are_sealed_before_they_are_on_disk_and_those_in_clear_when_they_are_read() {
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join("boot-ca");
        let address = ["10.77.0.1".parse().unwrap()];
        BootTls::open(&dir, "plant-7", &address, NOW, None).unwrap();
        fs::remove_file(dir.join("server.key")).unwrap();
        let said = seal::Said(zeroize::Zeroizing::new("correct horse".to_owned()));
        let secrets = seal::Secrets {
            seal: seal::By::Passphrase,
            tpm: String::new(),
            passphrase_file: None,
            said: Some(said),
        };
        let seal = || Seal::open(state.path(), Some(&secrets)).unwrap();
        BootTls::open(&dir, "plant-7", &address, NOW, seal()).unwrap();
        for name in ["root.key", "server.key"] {
            assert!(fs::read(dir.join(name)).unwrap().starts_with(b"age-encryption.org"), "{name}");
        }
        BootTls::open(&dir, "plant-7", &address, NOW, seal()).unwrap();
        let refused = BootTls::open(&dir, "plant-7", &address, NOW, None).unwrap_err().to_string();
        assert!(refused.contains("is sealed"), "{refused}");
        fs::remove_file(state.path().join(seal::BY_PASSPHRASE)).unwrap();
        assert!(Seal::open(state.path(), Some(&secrets)).is_err(), "these keys count, too");
    }
}
