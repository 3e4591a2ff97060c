//! Who sends a message: everything that its source is configured to show, checked before a byte of the body is parsed.
//!
//! | shown | by whom |
//! |---|---|
//! | Standard Webhooks signature ([`signature`](super::signature)) | sources that speak our own words |
//! | `X-Hub-Signature-256: sha256=<hex HMAC-SHA-256 of the body>` | GitHub and all that sign like it; a script of Wazuh's integrator |
//! | `Authorization: Bearer`, `Authorization: Basic` (RFC 6750, RFC 7617) | Alertmanager, Wazuh, CloudEvents, BMCs |
//! | a TLS client certificate, exactly the one on record | Keylime's verifier; any that can |
//! | RSA-PSS over the text inside (SHA-256, any length of salt) | Keylime's verifier, where it has a revocation key |
//!
//! It must never: say which of several secrets was wrong, or compare one byte by byte.

use std::{
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::http::{HeaderMap, header};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::{digest, hmac};
use rsa::{pkcs8::DecodePublicKey as _, sha2::Sha256, signature::Verifier as _};
use rustls::{
    DistinguishedName,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use subtle::ConstantTimeEq as _;

use super::wire::Dialect;
use super::{
    signature::{BadSecret, Secrets, Unsigned},
    wire,
};
use crate::{config::Hook, seal};

/// A secret that both sides have has at least so many bytes.
const SECRET_LEN_MIN: usize = 16;

/// Why the sources cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// A file cannot be read.
    #[error("webhook source `{source_name}`: {path} cannot be read; create it or correct its name")]
    Unreadable {
        /// The source.
        source_name: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds no usable secret.
    #[error(
        "the secret of webhook source `{source_name}` in {path} cannot be used: {why}; write one `whsec_<base64>` a line"
    )]
    Secret {
        /// The source.
        source_name: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        why: BadSecret,
    },
    /// A file holds something else than what it should.
    #[error("webhook source `{source_name}`: {path} cannot be used: {why}")]
    Content {
        /// The source.
        source_name: String,
        /// Its file.
        path: PathBuf,
        /// What is wrong, and what to write.
        why: String,
    },
}

/// Why a message is not from its source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    /// The Standard Webhooks signature.
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    /// The signature over the body.
    #[error("`X-Hub-Signature-256` is missing or does not fit the body and the source's secret")]
    HubSignature,
    /// The token, or the user and the password.
    #[error("`Authorization` is missing or is not the source's")]
    Authorization,
    /// No certificate.
    #[error("the connection shows no TLS client certificate")]
    NoCertificate,
    /// Another certificate.
    #[error("the connection shows another TLS client certificate (SHA-256 {0}) than the source's")]
    Certificate(String),
    /// Keylime's signature.
    #[error("the notice is not signed with the source's revocation key")]
    RevocationKey,
}

impl Stranger {
    /// What to do now.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unsigned(Unsigned::Header(_)) => {
                "send webhook-id, webhook-timestamp and webhook-signature (Standard Webhooks)"
            }
            Self::Unsigned(Unsigned::Stale(_)) => {
                "set the sender's and the appliance's clocks; an old message is sent anew, signed anew"
            }
            Self::Unsigned(Unsigned::Wrong) | Self::HubSignature | Self::Authorization => {
                "give sender and appliance the same secret"
            }
            Self::NoCertificate | Self::Certificate(_) => {
                "put the sender's present certificate into `client_certificate_file`, and let it show that one"
            }
            Self::RevocationKey => "put the public half of the sender's key into `revocation_key_file`",
        }
    }
}

/// What a message must show.
#[derive(Debug, Default)]
pub struct Shows {
    standard: Option<Secrets>,
    hub: Option<hmac::Key>,
    /// SHA-256 of the whole value of `Authorization`, without the scheme's case.
    authorization: Vec<digest::Digest>,
    /// SHA-256 of the certificate, DER.
    certificate: Option<[u8; 32]>,
    /// Who issued that certificate.
    pub(super) issuer: Option<DistinguishedName>,
    revocation: Option<rsa::PublicKey>,
}

impl Shows {
    /// Read a source's files.
    ///
    /// # Errors
    /// [`HookError`] names the source and its file.
    pub fn read(name: &str, hook: &Hook) -> Result<Self, HookError> {
        let files = Files { name };
        let mut shows = Self::default();
        if let Some(path) = &hook.secret_file {
            if hook.kind == Dialect::Standard {
                let (source_name, path) = (name.to_owned(), path.clone());
                shows.standard =
                    Some(Secrets::parse(&files.text(&path)?).map_err(|why| HookError::Secret {
                        source_name,
                        path,
                        why,
                    })?);
            } else {
                shows.hub = Some(hmac::Key::new(hmac::HMAC_SHA256, files.secret(path)?.as_bytes()));
            }
        }
        if let Some(path) = &hook.token_file {
            shows.authorization.push(authorization("bearer", &files.secret(path)?));
        }
        if let Some(path) = &hook.password_file {
            let pair = files.secret(path)?;
            if !pair.contains(':') {
                return Err(files.content(path, "write `user:password`"));
            }
            shows.authorization.push(authorization("basic", &BASE64_STANDARD.encode(pair)));
        }
        if let Some(path) = &hook.client_certificate_file {
            let der = CertificateDer::from_pem_file(path)
                .map_err(|error| files.content(path, &format!("it holds no PEM certificate ({error:?})")))?;
            let (_, parsed) = x509_parser::parse_x509_certificate(&der)
                .map_err(|error| files.content(path, &format!("its certificate cannot be read ({error})")))?;
            shows.issuer = Some(DistinguishedName::from(parsed.issuer().as_raw().to_vec()));
            shows.certificate = Some(sha256(&der));
        }
        if let Some(path) = &hook.revocation_key_file {
            let key = rsa::PublicKey::from_public_key_pem(&files.text(path)?);
            shows.revocation =
                Some(key.map_err(|error| {
                    files.content(path, &format!("it holds no RSA public key ({error})"))
                })?);
        }
        Ok(shows)
    }

    /// Check a message. Nothing of it may be used when this fails.
    ///
    /// # Errors
    /// [`Stranger`].
    pub fn check(
        &self,
        headers: &HeaderMap,
        certificate: Option<&CertificateDer<'_>>,
        body: &[u8],
    ) -> Result<(), Stranger> {
        if let Some(secrets) = &self.standard {
            secrets.check(headers, body, unix_seconds())?;
        }
        if let Some(key) = &self.hub {
            let tag = header_text(headers, "x-hub-signature-256")
                .and_then(|value| hex::decode(value.strip_prefix("sha256=")?).ok())
                .ok_or(Stranger::HubSignature)?;
            hmac::verify(key, body, &tag).map_err(|_| Stranger::HubSignature)?;
        }
        if !self.authorization.is_empty() {
            let offered = header_text(headers, header::AUTHORIZATION.as_str())
                .and_then(|value| value.split_once(' '))
                .map(|(scheme, rest)| authorization(&scheme.to_ascii_lowercase(), rest.trim()))
                .ok_or(Stranger::Authorization)?;
            let fits = |known: &digest::Digest| bool::from(known.as_ref().ct_eq(offered.as_ref()));
            if !self.authorization.iter().any(fits) {
                return Err(Stranger::Authorization);
            }
        }
        if let Some(pinned) = &self.certificate {
            let shown = sha256(certificate.ok_or(Stranger::NoCertificate)?);
            if shown != *pinned {
                return Err(Stranger::Certificate(hex::encode(shown)));
            }
        }
        match &self.revocation {
            Some(key) => signed(key, body).ok_or(Stranger::RevocationKey),
            None => Ok(()),
        }
    }
}

/// Keylime signs the text inside the message with the longest salt that fits its key (RFC 8017, section 9.1), not with one of the hash's
/// length: any length is taken.
fn signed(key: &rsa::PublicKey, body: &[u8]) -> Option<()> {
    let (text, signature) = wire::keylime_envelope(body).ok()?;
    let signature = BASE64_STANDARD.decode(signature).ok()?;
    let signature = rsa::pss::Signature::try_from(signature.as_slice()).ok()?;
    let verifier = rsa::pss::VerifyingKey::<Sha256>::new_with_auto_salt_len(key.clone());
    verifier.verify(text.as_bytes(), &signature).ok()
}

struct Files<'a> {
    name: &'a str,
}

impl Files<'_> {
    fn text(&self, path: &Path) -> Result<String, HookError> {
        seal::secret(path).map(|text| text.to_string()).map_err(|source| HookError::Unreadable {
            source_name: self.name.to_owned(),
            path: path.to_owned(),
            source,
        })
    }

    fn secret(&self, path: &Path) -> Result<String, HookError> {
        let secret = self.text(path)?.trim_end_matches(['\r', '\n']).to_owned();
        if secret.len() < SECRET_LEN_MIN {
            let why = format!("it holds {} bytes; a secret has at least {SECRET_LEN_MIN}", secret.len());
            return Err(self.content(path, &why));
        }
        Ok(secret)
    }

    fn content(&self, path: &Path, why: &str) -> HookError {
        HookError::Content { source_name: self.name.to_owned(), path: path.to_owned(), why: why.to_owned() }
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn authorization(scheme: &str, rest: &str) -> digest::Digest {
    digest::digest(&digest::SHA256, format!("{scheme} {rest}").as_bytes())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn openssl(dir: &Path, args: &str) -> Vec<u8> {
        let done = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().unwrap();
        assert!(done.status.success(), "{args}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }

    /// OpenSSL signs as Keylime does: RSA-PSS, SHA-256, the longest salt that fits (`keylime/crypto.py`).
    #[test]
    fn keylime_s_signature_is_taken_with_the_longest_salt_and_of_no_other_key_or_text() {
        let dir = tempfile::tempdir().unwrap();
        if Command::new("openssl").arg("version").output().is_err() {
            return crate::testing::not_looked_at("openssl", "openssl");
        }
        for name in ["own", "other"] {
            openssl(dir.path(), &format!("genrsa -out {name}.pem 2048"));
            openssl(dir.path(), &format!("rsa -in {name}.pem -pubout -out {name}.pub"));
        }
        let msg = r#"{"type": "revocation", "agent_id": "d432fbb3"}"#;
        std::fs::write(dir.path().join("msg"), msg).unwrap();
        let sign = |salt: &str| {
            let pss = format!("-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:{salt}");
            BASE64_STANDARD.encode(openssl(dir.path(), &format!("dgst -sha256 {pss} -sign own.pem msg")))
        };
        let body = |msg: &str, signature: &str| {
            serde_json::json!({ "msg": msg, "signature": signature }).to_string().into_bytes()
        };
        let key = |name: &str| {
            rsa::PublicKey::from_public_key_pem(&std::fs::read_to_string(dir.path().join(name)).unwrap())
                .unwrap()
        };
        let longest = sign("max");
        for signature in [&longest, &sign("digest")] {
            assert!(signed(&key("own.pub"), &body(msg, signature)).is_some());
        }
        assert!(signed(&key("other.pub"), &body(msg, &longest)).is_none());
        assert!(signed(&key("own.pub"), &body(&msg.replace("d432", "d433"), &longest)).is_none());
        for bad in ["", "AAAA", "!"] {
            assert!(signed(&key("own.pub"), &body(msg, bad)).is_none(), "{bad}");
        }
        let shows = Shows { revocation: Some(key("own.pub")), ..Shows::default() };
        assert_eq!(shows.check(&HeaderMap::new(), None, &body(msg, "")), Err(Stranger::RevocationKey));
    }
}
