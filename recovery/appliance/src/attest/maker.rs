//! Who made the TPM: the certificate of its endorsement key, held against the roots of makers that this site trusts.
//!
//! ```text
//! TPM's NV ─► certificate ─► for this very EK? an EK certificate? ─► issuers (from the TPM) ─► a root of ours ─► Verified
//!                              └─ no: refused by name                      └─ none ─► RootUnknown
//! ```
//!
//! The certificate says that a maker put this key into a TPM. That the answering TPM holds the key is shown by the
//! credential that it opens, not here. Without a known root a certificate says nothing: anybody can make one.
//!
//! Dates are not judged: makers let EK certificates run out that still tell who made the TPM, and a restored site may have no
//! clock. Revocation lists are not asked for: a site without an uplink has none. Both are written down in `DESIGN.md`.

use recovery_protocol::operator::{EkCertificate, TpmModel};
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate, X509Name};

/// `tcg-kp-EKCertificate` (TCG EK Credential Profile 2.5, section 3.2.16).
const KP_EK_CERTIFICATE: &str = "2.23.133.8.1";
/// `tcg-at-tpmManufacturer`, `tcg-at-tpmModel`, `tcg-at-tpmVersion` (section 3.2.9).
const AT_MANUFACTURER: &str = "2.23.133.2.1";
const AT_MODEL: &str = "2.23.133.2.2";
const AT_VERSION: &str = "2.23.133.2.3";
/// Issuers that are looked at, at most: each costs a signature for each certificate that it may have issued.
const ISSUERS_MOST: usize = 8;
/// What is wrong with an EK certificate that may itself certify others.
const AUTHORITY: &str = "it is an authority's";
/// Longest name that is kept of a certificate.
const TEXT_MOST: usize = 128;

/// Why an endorsement key with this certificate is refused: it does not belong to this TPM, or vouches for no TPM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MakerError {
    /// Its key is another one.
    #[error(
        "the EK certificate that the TPM holds ({subject}) is for another key than this TPM's: it was copied from \
         another TPM, or the TPM's seed was replaced after it was made"
    )]
    OtherKey {
        /// Whose certificate it is.
        subject: String,
    },
    /// It is a certificate of something else.
    #[error("the certificate that the TPM holds as its EK certificate ({subject}) is none: {why}")]
    NoEkCertificate {
        /// Whose certificate it is.
        subject: String,
        /// What it lacks.
        why: &'static str,
    },
}

impl MakerError {
    /// The check that failed, by a name that stays.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherKey { .. } => "ek-certificate-key",
            Self::NoEkCertificate { why, .. } if *why == AUTHORITY => "ek-certificate-authority",
            Self::NoEkCertificate { .. } => "ek-certificate-purpose",
        }
    }
}

/// Why a file of roots cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Neither DER nor PEM.
    #[error("it holds no X.509 certificate, neither DER nor PEM")]
    NoCertificate,
    /// One of several in a PEM file.
    #[error("its certificate number {number} cannot be read")]
    Unreadable {
        /// From 1.
        number: usize,
    },
}

/// The certificates of makers (roots, or issuers below them) whose word this site takes.
#[derive(Debug, Clone, Default)]
pub struct MakerRoots(Vec<Vec<u8>>);

impl MakerRoots {
    /// Adds the certificates of one file, DER or PEM; says how many they are.
    ///
    /// # Errors
    /// [`RootError`].
    pub fn add(&mut self, file: &[u8]) -> Result<usize, RootError> {
        let before = self.0.len();
        if let Ok((_, certificate)) = X509Certificate::from_der(file) {
            self.0.push(certificate.as_raw().to_vec());
            return Ok(1);
        }
        for (at, pem) in x509_parser::pem::Pem::iter_from_buffer(file).enumerate() {
            let wrong = RootError::Unreadable { number: at + 1 };
            let pem = pem.map_err(|_| wrong.clone())?;
            X509Certificate::from_der(&pem.contents).map_err(|_| wrong)?;
            self.0.push(pem.contents);
        }
        let added = self.0.len() - before;
        if added == 0 { Err(RootError::NoCertificate) } else { Ok(added) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The root that vouches for `leaf`, over issuers that somebody sent.
    fn vouching(&self, leaf: &X509Certificate<'_>, sent: &[X509Certificate<'_>]) -> Option<String> {
        let roots: Vec<X509Certificate<'_>> =
            self.0.iter().filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1)).collect();
        // Each issuer once: whoever sends issuers that sign each other costs us little.
        let (mut below, mut unused) = (vec![(leaf, 0_u32)], sent.iter().collect::<Vec<_>>());
        while let Some((certificate, depth)) = below.pop() {
            if let Some(root) = roots.iter().find(|root| signed(certificate, root)) {
                return Some(text(&root.subject().to_string()));
            }
            let (issuers, others) = unused
                .into_iter()
                .partition(|issuer| may_issue(issuer, depth) && signed(certificate, issuer));
            unused = others;
            let issuers: Vec<&X509Certificate<'_>> = issuers;
            below.extend(issuers.into_iter().map(|issuer| (issuer, depth + 1)));
        }
        None
    }
}

/// What the TPM's certificate tells of an endorsement key, given as `SubjectPublicKeyInfo`. `chain` is what else the TPM holds:
/// DER, one after the other.
///
/// # Errors
/// [`MakerError`]: a certificate that is not this key's is worse than none.
pub fn maker_of(
    spki: &[u8],
    certificate: Option<&[u8]>,
    chain: &[u8],
    roots: &MakerRoots,
) -> Result<EkCertificate, MakerError> {
    let Some(certificate) = certificate else { return Ok(EkCertificate::Absent) };
    // What follows the certificate in its NV index is padding.
    let leaf = match X509Certificate::from_der(certificate) {
        Ok((_, leaf)) => leaf,
        Err(error) => return Ok(EkCertificate::Unreadable { why: text(&error.to_string()) }),
    };
    let subject = || match leaf.subject().to_string() {
        empty if empty.is_empty() => format!("serial number {}", text(&leaf.raw_serial_as_string())),
        subject => text(&subject),
    };
    if leaf.public_key().raw != spki {
        return Err(MakerError::OtherKey { subject: subject() });
    }
    if let Some(why) = no_ek_certificate(&leaf) {
        return Err(MakerError::NoEkCertificate { subject: subject(), why });
    }
    let tpm = model(&leaf);
    let issuers = issuers(chain);
    Ok(match roots.vouching(&leaf, &issuers) {
        Some(root) => EkCertificate::Verified { root, tpm },
        None => EkCertificate::RootUnknown { issuer: text(&leaf.issuer().to_string()), tpm },
    })
}

/// A maker's root may also have signed certificates of other things (platforms, its own services): only one that says of
/// itself that it is an endorsement key's counts.
fn no_ek_certificate(leaf: &X509Certificate<'_>) -> Option<&'static str> {
    if leaf.is_ca() {
        return Some(AUTHORITY);
    }
    let purposes = leaf.extended_key_usage().ok().flatten().map(|usage| &usage.value.other);
    let of_ek = purposes.is_some_and(|oids| oids.iter().any(|oid| oid.to_id_string() == KP_EK_CERTIFICATE));
    (!of_ek).then_some("its purposes do not include tcg-kp-EKCertificate")
}

fn issuers(mut chain: &[u8]) -> Vec<X509Certificate<'_>> {
    let mut found = Vec::new();
    while let (true, Ok((rest, certificate))) = (found.len() < ISSUERS_MOST, X509Certificate::from_der(chain))
    {
        found.push(certificate);
        chain = rest;
    }
    found
}

/// Whether a certificate that was sent, `depth` issuers above the leaf, may be an issuer (RFC 5280 section 6.1.4).
fn may_issue(issuer: &X509Certificate<'_>, depth: u32) -> bool {
    let authority = issuer.basic_constraints().ok().flatten().is_some_and(|constraints| {
        constraints.value.ca && constraints.value.path_len_constraint.is_none_or(|most| depth <= most)
    });
    let signs = issuer.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
    let understood = |critical: &ParsedExtension<'_>| {
        matches!(
            critical,
            ParsedExtension::BasicConstraints(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::SubjectAlternativeName(_)
                | ParsedExtension::CertificatePolicies(_)
        )
    };
    authority && signs && issuer.extensions().iter().all(|e| !e.critical || understood(e.parsed_extension()))
}

fn signed(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == issuer.subject().as_raw()
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

/// The TCG's fields, from the alternative name, or from the subject where older makers put them.
fn model(leaf: &X509Certificate<'_>) -> TpmModel {
    let alternative = leaf.subject_alternative_name().ok().flatten();
    let names = alternative.iter().flat_map(|names| &names.value.general_names);
    let named = names.filter_map(|name| match name {
        GeneralName::DirectoryName(name) => Some(name),
        _ => None,
    });
    let mut model = TpmModel::default();
    for name in named.chain([leaf.subject()]) {
        let field = |oid| field(name, oid).unwrap_or_default();
        for (slot, found) in [
            (&mut model.manufacturer, letters(&field(AT_MANUFACTURER))),
            (&mut model.model, field(AT_MODEL)),
            (&mut model.version, field(AT_VERSION)),
        ] {
            if slot.is_empty() {
                *slot = found;
            }
        }
    }
    model
}

fn field(name: &X509Name<'_>, oid: &str) -> Option<String> {
    let attribute = name.iter_attributes().find(|attribute| attribute.attr_type().to_id_string() == oid)?;
    attribute.as_str().ok().map(text)
}

/// `id:49465800` is `IFX` (TCG Vendor ID Registry); anything else stays.
fn letters(id: &str) -> String {
    let bytes = id.strip_prefix("id:").and_then(|digits| hex::decode(digits).ok());
    let word = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let word = word.map(|word| word.trim_matches(['\0', ' ']).to_owned());
    word.filter(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_graphic()))
        .unwrap_or_else(|| id.to_owned())
}

/// A text of a certificate, as it may be shown.
fn text(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MOST).collect()
}
