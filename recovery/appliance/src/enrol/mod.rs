//! How a restored endpoint gets an identity that it can prove: who issues certificates, and EST in front of it.
//!
//! | module | what |
//! |---|---|
//! | [`provider`] | `IdentityProvider`: prepare, enrol, revoke, status |
//! | [`ca`] | the embedded one, a certificate authority of the site's own: issues, revokes, publishes its CRL |
//! | [`site_est`] | the site's EST server: the appliance is its registration authority and holds no authority's key |
//! | [`cms`] | certs-only CMS, the envelope that EST answers in |
//! | [`est`] | RFC 7030 over the endpoints' listener |
//! | [`asking`] | who asks for a certificate, apart from who asked us |
//!
//! A certificate is given to a proven endpoint only: `est` asks the service to redeem the one-time secret that a
//! verified quote earned, and the service compares the key with the one that the TPM certified.

use std::sync::Arc;

use x509_parser::{
    certificate::X509Certificate, prelude::FromDer as _, revocation_list::CertificateRevocationList,
};

use crate::{asking::pinned::FileError, config::Config, seal::Seal, tls};

pub mod asking;
pub mod ca;
pub mod cms;
pub mod est;
pub mod provider;
pub mod site_est;

#[cfg(test)]
mod tests;

/// Why nobody can issue certificates here.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The embedded authority.
    #[error(transparent)]
    Authority(#[from] ca::CaError),
    /// A file of the way to the site's EST server.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Who issues certificates, and whose may be shown to renew them.
pub struct Identity {
    /// Who issues.
    pub provider: Arc<dyn provider::IdentityProvider>,
    /// What the endpoints' listener asks for.
    pub clients: tls::Clients,
}

/// With an EST server of the site no authority is founded here; one of before is opened for as long as its key is here, to say what of its
/// certificates is revoked, and issues nothing any more. `at`: milliseconds since 1970.
///
/// # Errors
/// [`OpenError`].
pub fn open(config: &Config, at: u64, seal: Option<&Seal>) -> Result<Identity, OpenError> {
    let dir = config.data_dir.join("ca");
    let authority = || ca::Authority::open(&dir, config.site.as_str(), at / 1000, seal);
    if let Some(setting) = &config.est {
        let before = if dir.join("root.key").exists() { Some(authority()?) } else { None };
        let provider = Arc::new(site_est::SiteEst::open(setting, before)?);
        // A certificate that is shown is compared whole, with the record.
        return Ok(Identity { provider, clients: tls::Clients::Pinned(Vec::new()) });
    }
    let authority = authority()?;
    let clients = tls::Clients::Of(authority.root().clone());
    Ok(Identity { provider: Arc::new(authority), clients })
}

/// Said once, while everything else starts; what waits is asked for again by the endpoints.
async fn say_who_issues(provider: &dyn provider::IdentityProvider) {
    match provider.status().await {
        Ok(status) => tracing::info!(who = status.who, issuers = status.issuers, "who issues certificates"),
        Err(error) => tracing::warn!(%error, "enrolments wait"),
    }
}

/// Whether a list of revoked certificates names this one: its number, and its issuer. One that cannot be read is known by its number.
fn names(list: &CertificateRevocationList<'_>, der: &[u8], serial: &str) -> bool {
    let by_it = X509Certificate::from_der(der)
        .map_or(true, |(_, certificate)| certificate.issuer().as_raw() == list.issuer().as_raw());
    by_it && list.iter_revoked_certificates().any(|entry| hex::encode(entry.raw_serial()) == serial)
}

/// What a list of revoked certificates (DER) lacks of these; `None`: nothing.
fn missing_in(list: &[u8], revoked: &[&provider::Revoked]) -> Option<String> {
    let Ok((_, list)) = CertificateRevocationList::from_der(list) else {
        return Some("the list of revoked certificates cannot be read".to_owned());
    };
    let missing: Vec<&str> = revoked
        .iter()
        .filter(|one| !names(&list, &one.der, &one.serial))
        .map(|one| one.serial.as_str())
        .collect();
    (!missing.is_empty())
        .then(|| format!("the list of revoked certificates does not name {} yet", missing.join(", ")))
}
