//! The embedded certificate authority: one root per site, short-lived endpoint certificates, a CRL. What was issued and
//! revoked is on record in the database; the authority itself remembers nothing but its key.
//!
//! ```text
//! <data>/ca/root.key   PKCS#8 PEM, mode 0600       never leaves the appliance, is in no image and no log
//! <data>/ca/root.crt   the self-signed root, DER   what others may trust to know endpoints of this site
//! ```
//!
//! A leaf is built from empty parameters. Of the CSR only the public key is used, after its self-signature proved
//! that the asker holds the private half: rcgen would copy `CA:true` from a CSR's extensions into the certificate.
//!
//! The root is name-constrained so that it is worth nothing outside its purpose: no DNS name and no mailbox but those
//! under `invalid` (RFC 6761 §6.4), no IP address. It must never: sign what a CSR asks for, or sign a server.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CidrSubnet, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    NameConstraints, RevocationReason, RevokedCertParams, SanType, SerialNumber, SubjectPublicKeyInfo,
    date_time_ymd,
};
use recovery_protocol::EndpointId;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509CertificationRequest};
use zeroize::Zeroizing;

use crate::seal::{self, Seal};

/// How long an endpoint's certificate lives. Renewed by mTLS at two thirds of it.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(7 * DAY);
/// How long a CRL may be used.
pub const CRL_LIFETIME: Duration = Duration::from_secs(7 * DAY);

const DAY: u64 = 24 * 60 * 60;
/// Endpoints without a battery wake up with yesterday's clock.
const BACKDATED: u64 = DAY;
const ROOT_LIFETIME: u64 = 20 * 365 * DAY;
const CSR_LEN_MAX: usize = 16 * 1024;

/// Why the authority did not do it.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file of the authority cannot be read or written.
    #[error("cannot use {path}: check the data directory's owner and free space")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Only one of key and certificate is there, or they cannot be read.
    #[error("the enrolment CA in {path} is damaged ({why}): restore its folder from a backup")]
    Damaged {
        /// Its directory.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The request is not a usable PKCS#10 CSR.
    #[error(
        "the certificate request cannot be used: {why}; send a PKCS#10 request with an ECDSA P-256 or P-384 key"
    )]
    Csr {
        /// What is wrong.
        why: String,
    },
    /// Building or signing failed.
    #[error("the enrolment CA could not sign: {0}; look at the appliance's log")]
    Sign(String),
}

impl From<rcgen::Error> for CaError {
    fn from(error: rcgen::Error) -> Self {
        Self::Sign(error.to_string())
    }
}

/// A proven request: its signature was checked with its own key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    der: Vec<u8>,
    spki: Vec<u8>,
    asks: Vec<String>,
    name: Option<String>,
}

impl Request {
    /// Check a PKCS#10 request (RFC 2986, DER). Extensions and attributes are ignored, whatever they ask for.
    ///
    /// # Errors
    /// [`CaError::Csr`] when it is malformed, too long, of an unknown key type or not signed by its own key.
    pub fn from_der(der: &[u8]) -> Result<Self, CaError> {
        let wrong = |why: &str| CaError::Csr { why: why.to_owned() };
        if der.len() > CSR_LEN_MAX {
            return Err(wrong("it is longer than 16 KiB"));
        }
        let (rest, csr) =
            X509CertificationRequest::from_der(der).map_err(|_| wrong("it is not PKCS#10 DER"))?;
        if !rest.is_empty() {
            return Err(wrong("bytes follow it"));
        }
        csr.verify_signature().map_err(|_| wrong("it is not signed by its own key"))?;
        let spki = csr.certification_request_info.subject_pki.raw.to_vec();
        SubjectPublicKeyInfo::from_der(&spki).map_err(|_| wrong("its key type is not supported"))?;
        let info = &csr.certification_request_info;
        let parts: Vec<_> = info.subject.iter_attributes().collect();
        let name = match (info.subject.iter_common_name().next(), parts.len()) {
            (Some(name), 1) => name.as_str().ok().map(str::to_owned),
            _ => None,
        };
        let asks = info.attributes().iter().map(|attribute| attribute.oid.to_id_string()).collect();
        Ok(Self { der: der.to_vec(), spki, asks, name })
    }

    /// As it came: DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether it asks for this name and nothing else: no other part of a name, no attribute. Another authority may copy what it finds.
    ///
    /// # Errors
    /// What else it asks for, for people.
    pub fn asks_only_for(&self, name: &str) -> Result<(), String> {
        if self.name.as_deref() != Some(name) {
            let asked = self.name.as_deref().unwrap_or("no name, or more than one");
            return Err(format!("it asks for {asked}, and its endpoint is {name}"));
        }
        match self.asks.first() {
            None => Ok(()),
            Some(oid) => Err(format!("it carries attribute {oid}; only a name and a key are passed on")),
        }
    }

    /// The public key: SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }
}

/// What was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// Its serial number, lower-case hex.
    pub serial: String,
    /// End of its life, seconds since 1970.
    pub not_after: u64,
}

/// The site's certificate authority.
pub struct Authority {
    site: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("site", &self.site).finish_non_exhaustive()
    }
}

impl Authority {
    /// Open the authority in `directory`, or found it there when the directory is empty or missing. `now` is seconds
    /// since 1970.
    ///
    /// # Errors
    /// [`CaError`] when a file cannot be used or belongs to a half or damaged authority: it is never replaced.
    pub fn open(directory: &Path, site: &str, now: u64, seal: Option<&Seal>) -> Result<Self, CaError> {
        let file = |name: &str| directory.join(name);
        let (key_file, certificate_file) = (file("root.key"), file("root.crt"));
        if !key_file.exists() && !certificate_file.exists() {
            found(directory, (&key_file, seal), &certificate_file, site, now)?;
        }
        let damaged =
            |why: &dyn std::fmt::Display| CaError::Damaged { path: directory.into(), why: why.to_string() };
        let pem = seal::read(&key_file, seal).map_err(|e| damaged(&format_args!("root.key: {e}")))?;
        let pem = str::from_utf8(&pem).map_err(|e| damaged(&format_args!("root.key: {e}")))?;
        let der = fs::read(&certificate_file).map_err(|e| damaged(&format_args!("root.crt: {e}")))?;
        let key = KeyPair::from_pem(pem).map_err(|e| damaged(&format_args!("root.key: {e}")))?;
        let certificate = CertificateDer::from(der);
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|e| damaged(&format_args!("root.crt: {e}")))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(damaged(&"root.key does not belong to root.crt"));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { site: site.to_owned(), certificate, issuer })
    }

    /// The root certificate.
    #[must_use]
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The name by which certificates of this site call an endpoint: `urn:groundstate:<site>:endpoint:<id>`.
    #[must_use]
    pub fn urn(&self, endpoint: &EndpointId) -> String {
        format!("urn:groundstate:{}:endpoint:{endpoint}", urn_part(&self.site))
    }

    /// Give `endpoint` a certificate for the key of `request`. `now` is seconds since 1970.
    ///
    /// # Errors
    /// [`CaError::Sign`] when building or signing fails.
    pub fn issue(&self, request: &Request, endpoint: &EndpointId, now: u64) -> Result<Issued, CaError> {
        let key = SubjectPublicKeyInfo::from_der(&request.spki)?;
        let serial = random_serial()?;
        let not_after = now + LEAF_LIFETIME.as_secs();
        let epoch = date_time_ymd(1970, 1, 1);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, endpoint.as_str());
        let urn = self
            .urn(endpoint)
            .try_into()
            .map_err(|_| CaError::Sign("the site's name is not ASCII".to_owned()))?;
        params.subject_alt_names = vec![SanType::URI(urn)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATED));
        params.not_after = epoch + Duration::from_secs(not_after);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.der().to_vec(), serial: hex::encode(serial), not_after })
    }

    /// The certificate revocation list (RFC 5280 §5), DER, of `revoked`: serial (hex) and when (seconds since 1970).
    /// Its number is the time, so it grows.
    ///
    /// # Errors
    /// [`CaError::Sign`] when signing fails.
    pub fn crl(&self, revoked: &[(String, u64)], now: u64) -> Result<Vec<u8>, CaError> {
        let epoch = date_time_ymd(1970, 1, 1);
        let entry = |(serial, when): &(String, u64)| {
            Some(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&hex::decode(serial).ok()?),
                revocation_time: epoch + Duration::from_secs(*when),
                reason_code: Some(RevocationReason::Superseded),
                invalidity_date: None,
            })
        };
        let params = CertificateRevocationListParams {
            this_update: epoch + Duration::from_secs(now.saturating_sub(60 * 60)),
            next_update: epoch + Duration::from_secs(now) + CRL_LIFETIME,
            crl_number: SerialNumber::from_slice(&now.to_be_bytes()),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().filter_map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.der().to_vec())
    }
}

fn found(
    directory: &Path,
    (key_file, seal): (&Path, Option<&Seal>),
    certificate_file: &Path,
    site: &str,
    now: u64,
) -> Result<(), CaError> {
    let key = KeyPair::generate()?;
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, site);
    params.distinguished_name.push(DnType::CommonName, format!("Groundstate endpoints of {site}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("invalid".to_owned()),
            GeneralSubtree::Rfc822Name("invalid".to_owned()),
        ],
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
    params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATED));
    params.not_after = epoch + Duration::from_secs(now + ROOT_LIFETIME);
    let certificate = params.self_signed(&key)?;
    let write = |path: &Path, mode: u32, content: &[u8]| {
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    let wrap = |path: &Path| {
        let path = path.to_owned();
        move |source| CaError::File { path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(wrap(directory))?;
    let pem = Zeroizing::new(key.serialize_pem());
    // Sealed before it first reaches the disk: what lay there in clear once may lie there for long.
    seal::keep(key_file, pem.as_bytes(), seal)
        .map_err(|e| CaError::Damaged { path: directory.to_owned(), why: format!("root.key: {e}") })?;
    write(certificate_file, 0o644, certificate.der()).map_err(wrap(certificate_file))?;
    fs::File::open(directory).and_then(|dir| dir.sync_all()).map_err(wrap(directory))
}

/// 16 random bytes, positive and without a leading zero (RFC 5280 §4.1.2.2).
fn random_serial() -> Result<[u8; 16], CaError> {
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| CaError::Sign("no random numbers".to_owned()))?;
    serial[0] = (serial[0] & 0x7f) | 0x40;
    Ok(serial)
}

/// The site's name as one part of a URN (RFC 8141 §2): what does not fit becomes `-`.
fn urn_part(site: &str) -> String {
    site.chars().map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use x509_parser::extensions::{GeneralName, ParsedExtension};

    use super::*;

    pub const NOW: u64 = 1_763_800_000;

    fn authority() -> (tempfile::TempDir, Authority) {
        let data = tempfile::tempdir().unwrap();
        let authority = Authority::open(&data.path().join("ca"), "plant 1", NOW, None).unwrap();
        (data, authority)
    }

    fn csr(change: impl FnOnce(&mut CertificateParams)) -> (KeyPair, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        change(&mut params);
        let der = params.serialize_request(&key).unwrap().der().to_vec();
        (key, der)
    }

    fn press() -> EndpointId {
        "press-01".parse().unwrap()
    }

    #[test]
    fn a_request_for_a_ca_gets_a_leaf_with_our_names_only() {
        let (_data, authority) = authority();
        let (_, der) = csr(|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.distinguished_name.push(DnType::CommonName, "root-of-all");
        });
        let issued = authority.issue(&Request::from_der(&der).unwrap(), &press(), NOW).unwrap();
        let (_, leaf) = X509Certificate::from_der(&issued.certificate).unwrap();
        assert!(!leaf.is_ca() && leaf.basic_constraints().unwrap().is_some());
        assert_eq!(leaf.subject().to_string(), "CN=press-01");
        let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
        assert_eq!(names, vec![GeneralName::URI("urn:groundstate:plant-1:endpoint:press-01")]);
        let usage = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
        let key_usage = leaf.key_usage().unwrap().unwrap().value;
        assert!(key_usage.digital_signature() && !key_usage.key_cert_sign());
        assert_eq!(leaf.validity().not_before.timestamp(), (NOW - DAY).cast_signed());
        assert_eq!(leaf.validity().not_after.timestamp(), (NOW + 7 * DAY).cast_signed());
        assert_eq!(hex::encode(leaf.raw_serial()), issued.serial);
    }

    #[test]
    fn a_request_that_its_key_did_not_sign_is_refused() {
        let (_, mut der) = csr(|_| {});
        let last = der.len() - 1;
        der[last] ^= 1;
        assert!(matches!(Request::from_der(&der), Err(CaError::Csr { .. })));
        for bad in [&[][..], &der[..40], &[0x30; 20_000][..]] {
            assert!(matches!(Request::from_der(bad), Err(CaError::Csr { .. })));
        }
        let (_, mut long) = csr(|_| {});
        long.push(0);
        assert!(matches!(Request::from_der(&long), Err(CaError::Csr { .. })));
    }

    #[test]
    fn a_request_that_is_passed_on_asks_for_its_endpoint_alone() {
        let named = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            (key, params)
        };
        let request = |(key, params): (KeyPair, CertificateParams)| {
            Request::from_der(params.serialize_request(&key).unwrap().der()).unwrap()
        };
        assert_eq!(request(named("press-01")).asks_only_for("press-01"), Ok(()));
        assert!(request(named("press-02")).asks_only_for("press-01").unwrap_err().contains("press-02"));
        let (key, mut more) = named("press-01");
        more.distinguished_name.push(DnType::OrganizationName, "admins");
        assert!(request((key, more)).asks_only_for("press-01").is_err());
        let (key, mut authority) = named("press-01");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        assert!(request((key, authority)).asks_only_for("press-01").unwrap_err().contains("attribute"));
    }

    #[test]
    fn the_root_is_constrained_and_its_key_is_private() {
        let (data, authority) = authority();
        let (_, root) = X509Certificate::from_der(authority.root()).unwrap();
        assert_eq!(root.basic_constraints().unwrap().unwrap().value.path_len_constraint, Some(0));
        let critical_constraints = |e: &&x509_parser::extensions::X509Extension<'_>| {
            matches!(e.parsed_extension(), ParsedExtension::NameConstraints(_))
        };
        assert!(root.extensions().iter().find(critical_constraints).unwrap().critical);
        let mode = fs::metadata(data.path().join("ca/root.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_authority_survives_a_restart() {
        let (data, authority) = authority();
        let again = Authority::open(&data.path().join("ca"), "plant 1", NOW + 10, None).unwrap();
        assert_eq!(again.root(), authority.root());
    }

    #[test]
    fn the_crl_names_what_was_revoked_and_when() {
        let (_data, authority) = authority();
        let serial = "5a".repeat(16);
        let crl = authority.crl(&[(serial.clone(), NOW + 5)], NOW + 10).unwrap();
        let (_, crl) = x509_parser::revocation_list::CertificateRevocationList::from_der(&crl).unwrap();
        let entries: Vec<_> = crl.iter_revoked_certificates().collect();
        assert_eq!(entries.len(), 1);
        assert_eq!(hex::encode(entries[0].raw_serial()), serial);
        assert_eq!(entries[0].revocation_date.timestamp(), (NOW + 5).cast_signed());
        assert_eq!(crl.next_update().unwrap().timestamp(), (NOW + 10 + 7 * DAY).cast_signed());
        let (_, root) = X509Certificate::from_der(authority.root()).unwrap();
        crl.verify_signature(root.public_key()).unwrap();
    }

    #[test]
    fn half_an_authority_is_named_and_never_replaced() {
        let (data, authority) = authority();
        fs::remove_file(data.path().join("ca/root.key")).unwrap();
        let refused = Authority::open(&data.path().join("ca"), "plant 1", NOW, None);
        assert!(matches!(refused, Err(CaError::Damaged { .. })), "{refused:?}");
        assert_eq!(fs::read(data.path().join("ca/root.crt")).unwrap(), authority.root().to_vec());
    }
}
