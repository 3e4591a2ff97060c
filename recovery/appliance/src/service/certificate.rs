//! A client certificate that is pinned on a person: the very certificate, whoever issued it. For programs, in the place of a token.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use recovery_protocol::{Problem, people::Role};
use rustls::{
    DistinguishedName,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::db::person::Person;

/// From PEM to what is kept. 422 `bad-certificate`.
///
/// # Errors
/// See above.
pub fn pin(pem: &str, role: Role, now_unix_ms: u64) -> Result<Option<String>, Problem> {
    let wrong = |detail: String| {
        let remedy =
            "name a PEM file with one certificate, as `openssl req -x509` writes it; nothing was changed";
        Problem::new(422, "bad-certificate", "This certificate cannot be pinned", detail, remedy)
    };
    if pem.trim().is_empty() {
        return Ok(None);
    }
    if role != Role::Automation {
        return Err(wrong(format!(
            "a browser shows a certificate unasked, so a person who is {role} has none; programs do"
        )));
    }
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let [Ok(der)] = all.as_slice() else {
        return Err(wrong(format!("the file holds {} certificates", all.len())));
    };
    let (_, parsed) = x509_parser::parse_x509_certificate(der)
        .map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let ends = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    if ends.saturating_mul(1000) <= now_unix_ms {
        return Err(wrong("it has run out".to_owned()));
    }
    Ok(Some(BASE64_STANDARD.encode(der)))
}

/// The certificate of a person, DER.
#[must_use]
pub fn of(person: &Person) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(person.client_certificate.as_ref()?).ok()
}

/// Who issued it, and when it ends (milliseconds since 1970).
#[must_use]
pub fn issuer(der: &[u8]) -> Option<(DistinguishedName, u64)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    let ends = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0).saturating_mul(1000);
    Some((DistinguishedName::from(parsed.issuer().as_raw().to_vec()), ends))
}
