//! Who issues an endpoint's certificate: the embedded authority, or the site's own EST server, for which the appliance is only the one
//! that looked at the evidence (a registration authority).
//!
//! ```text
//! verified quote ─► EST secret ─► our door ─► prepare ─► revoked and seen so? ─► enrol ─► Issued | Later
//!                                                └── IdentityProvider ──────────────┘
//! ```
//!
//! Telling the fleet's control plane is another trait ([`crate::control_plane`]): the two fail and are tried again in different ways.
//!
//! It must never: issue for a key that no verified quote stands for; the door asks before.

use std::time::Duration;

use futures_util::future::BoxFuture;
use recovery_protocol::{EndpointId, Problem};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::ca::{Authority, CaError, Issued, Request};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The embedded authority failed.
    #[error(transparent)]
    Authority(#[from] CaError),
    /// The request cannot be passed on: it asks for a name or a purpose that is not its endpoint's.
    #[error("the certificate request cannot be passed on: {0}")]
    Asks(String),
    /// The site's server does not answer.
    #[error("the site's EST server does not answer ({0})")]
    Away(String),
    /// The site's server says no.
    #[error("the site's EST server refuses ({0})")]
    Refused(String),
    /// A certificate came, and not the one that was asked for: it is given to nobody, and has to be revoked.
    #[error("what the site's EST server gave cannot be used: {why}")]
    Rejected {
        /// What is wrong with it.
        why: String,
        /// What came, DER.
        certificates: Vec<Vec<u8>>,
    },
    /// What came is not what was asked for.
    #[error("what the site's EST server gave cannot be used: {0}")]
    Unusable(String),
}

impl From<ProviderError> for Problem {
    fn from(error: ProviderError) -> Self {
        let text = error.to_string();
        match error {
            ProviderError::Authority(CaError::Csr { why }) | ProviderError::Asks(why) => Self::new(
                400,
                "certificate-request-refused",
                "The certificate request cannot be used",
                why,
                "send a PKCS#10 request signed by its own ECDSA P-256 key, with the endpoint's name as its only name",
            ),
            ProviderError::Authority(_) => Self::new(
                500,
                "enrolment-ca-failed",
                "The enrolment CA failed",
                text,
                "look at the appliance's log",
            ),
            ProviderError::Away(_) => Self::new(
                503,
                "enrolment-ca-away",
                "The site's EST server does not answer",
                text,
                "the endpoint asks again by itself; look at the way to the site's EST server",
            ),
            ProviderError::Refused(_) => Self::new(
                502,
                "enrolment-ca-refused",
                "The site's EST server refuses",
                text,
                "ask those who run it whether this appliance may enrol this endpoint",
            ),
            ProviderError::Unusable(_) | ProviderError::Rejected { .. } => Self::new(
                502,
                "enrolment-ca-unusable",
                "What the site's EST server gave cannot be used",
                text,
                "ask those who run the site's EST server for a certificate for the key and the name that were asked for",
            ),
        }
    }
}

/// What came of asking for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Here it is.
    Issued(Issued),
    /// Somebody decides, or something has to happen first: ask again with the same key.
    Later {
        /// After this time.
        after: Duration,
        /// What it waits for.
        why: String,
    },
}

/// A certificate that is revoked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number, lower-case hex.
    pub serial: String,
    /// Since when, seconds since 1970.
    pub since: u64,
    /// DER.
    pub der: Vec<u8>,
}

/// How it stands with who issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Who it is, for people.
    pub who: String,
    /// Certificates by which endpoints' ones are known, DER.
    pub issuers: usize,
}

/// Who issues. Each call may be repeated and cancelled.
pub trait IdentityProvider: Send + Sync {
    /// What must be there before a certificate is asked for; the certificates of those who issue, DER, which endpoints may know.
    fn prepare(&self) -> BoxFuture<'_, Result<Vec<Vec<u8>>, ProviderError>>;

    /// A certificate for the key of a proven request.
    fn enrol<'a>(
        &'a self,
        request: &'a Request,
        endpoint: &'a EndpointId,
        now: u64,
    ) -> BoxFuture<'a, Result<Answer, ProviderError>>;

    /// Make known that these are revoked, and see that it is known. `None`: it is; else what is still missing. A new certificate is issued
    /// only after it.
    fn revoke<'a>(
        &'a self,
        revoked: &'a [Revoked],
        now: u64,
    ) -> BoxFuture<'a, Result<Option<String>, ProviderError>>;

    /// Whether those who issue say that this certificate (DER) is revoked; what the record here says is asked elsewhere.
    fn is_revoked<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<bool, ProviderError>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// The list of revoked certificates, DER, where it is ours to publish.
    ///
    /// # Errors
    /// [`ProviderError`].
    fn crl(&self, revoked: &[Revoked], now: u64) -> Result<Option<Vec<u8>>, ProviderError>;

    /// Whether somebody outside of the appliance issues: what was asked there may be issued without our seeing it.
    fn is_elsewhere(&self) -> bool {
        false
    }

    /// How it stands.
    fn status(&self) -> BoxFuture<'_, Result<Status, ProviderError>>;
}

/// The embedded authority. A revocation is a row in the database and its list is made of the rows whenever somebody asks, so a revoked
/// certificate is published with the transaction that revoked it.
impl IdentityProvider for Authority {
    fn prepare(&self) -> BoxFuture<'_, Result<Vec<Vec<u8>>, ProviderError>> {
        Box::pin(std::future::ready(Ok(vec![self.root().to_vec()])))
    }

    fn enrol<'a>(
        &'a self,
        request: &'a Request,
        endpoint: &'a EndpointId,
        now: u64,
    ) -> BoxFuture<'a, Result<Answer, ProviderError>> {
        let issued = self.issue(request, endpoint, now).map(Answer::Issued);
        Box::pin(std::future::ready(issued.map_err(Into::into)))
    }

    fn revoke<'a>(
        &'a self,
        revoked: &'a [Revoked],
        now: u64,
    ) -> BoxFuture<'a, Result<Option<String>, ProviderError>> {
        let ours: Vec<&Revoked> = revoked.iter().filter(|one| is_of(self, one)).collect();
        let missing = self.list(&ours, now).map(|crl| super::missing_in(&crl, &ours));
        Box::pin(std::future::ready(missing.map_err(Into::into)))
    }

    fn crl(&self, revoked: &[Revoked], now: u64) -> Result<Option<Vec<u8>>, ProviderError> {
        let ours: Vec<&Revoked> = revoked.iter().filter(|one| is_of(self, one)).collect();
        Ok(Some(self.list(&ours, now)?))
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, ProviderError>> {
        let who = "the embedded authority".to_owned();
        Box::pin(std::future::ready(Ok(Status { who, issuers: 1 })))
    }
}

impl Authority {
    fn list(&self, ours: &[&Revoked], now: u64) -> Result<Vec<u8>, CaError> {
        let listed: Vec<(String, u64)> = ours.iter().map(|one| (one.serial.clone(), one.since)).collect();
        Self::crl(self, &listed, now)
    }
}

/// Whether it is this authority's, by its issuer's name; serial numbers of others are on their own lists. One that cannot be read stays listed.
fn is_of(authority: &Authority, one: &Revoked) -> bool {
    let Ok((_, root)) = X509Certificate::from_der(authority.root()) else { return true };
    X509Certificate::from_der(&one.der)
        .map_or(true, |(_, certificate)| certificate.issuer().as_raw() == root.subject().as_raw())
}
