//! How a restored endpoint gets an identity that it can prove: who issues certificates, and EST in front of it.
//!
//! | module | what |
//! |---|---|
//! | [`provider`] | `IdentityProvider`: prepare, enrol, revoke, status |
//! | [`ca`] | the embedded one, a certificate authority of the site's own: issues, revokes, publishes its CRL |
//! | [`site_est`] | the site's EST server: the appliance is its registration authority and holds no authority's key |
//! | [`cms`] | certs-only CMS, the envelope that EST answers in |
//! | [`est`] | RFC 7030 over the endpoints' listener |
//!
//! A certificate is given to a proven endpoint only: `est` asks the service to redeem the one-time secret that a
//! verified quote earned, and the service compares the key with the one that the TPM certified.

use std::sync::Arc;

use x509_parser::{prelude::FromDer as _, revocation_list::CertificateRevocationList};

use crate::{asking::pinned::FileError, config::Config, seal::Seal, tls};

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

/// With an EST server of the site no key of an authority is made or opened here. `at`: milliseconds since 1970.
///
/// # Errors
/// [`OpenError`].
pub async fn open(config: &Config, at: u64, seal: Option<&Seal>) -> Result<Identity, OpenError> {
    if let Some(setting) = &config.est {
        let provider = Arc::new(site_est::SiteEst::open(setting)?);
        // A certificate that is shown is compared whole, with the record.
        say_who_issues(&*provider).await;
        return Ok(Identity { provider, clients: tls::Clients::Pinned(Vec::new()) });
    }
    let authority = ca::Authority::open(&config.data_dir.join("ca"), config.site.as_str(), at / 1000, seal)?;
    let clients = tls::Clients::Of(authority.root().clone());
    say_who_issues(&authority).await;
    Ok(Identity { provider: Arc::new(authority), clients })
}

/// Said once, at the start; what waits is asked for again by the endpoints.
async fn say_who_issues(provider: &dyn provider::IdentityProvider) {
    match provider.status().await {
        Ok(status) => tracing::info!(who = status.who, issuers = status.issuers, "who issues certificates"),
        Err(error) => tracing::warn!(%error, "enrolments wait"),
    }
}

/// What a list of revoked certificates (DER) lacks of these (serial numbers, lower-case hex); `None`: nothing.
fn missing_in(list: &[u8], revoked: &[(String, u64)]) -> Option<String> {
    let Ok((_, list)) = CertificateRevocationList::from_der(list) else {
        return Some("the list of revoked certificates cannot be read".to_owned());
    };
    let known: Vec<String> =
        list.iter_revoked_certificates().map(|entry| hex::encode(entry.raw_serial())).collect();
    let missing: Vec<&str> = revoked
        .iter()
        .map(|(serial, _)| serial.as_str())
        .filter(|serial| !known.iter().any(|k| k == serial))
        .collect();
    (!missing.is_empty())
        .then(|| format!("the list of revoked certificates does not name {} yet", missing.join(", ")))
}
