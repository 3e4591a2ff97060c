//! The site's own EST server (RFC 7030, RFC 8951) behind our door: the appliance verifies the evidence and passes the request on. It
//! holds no key of an authority; what it shows is its certificate as a registration authority, or a password.
//!
//! ```text
//! endpoint ── simpleenroll ─► our door ── the same PKCS#10 ─► POST <url>/.well-known/est[/<label>]/simpleenroll
//!                                  ◄── 200 certs-only ── checked: our key, an endpoint's, signed by one of `cacerts`
//!                                  ◄── 202 Retry-After ── passed on: somebody decides there
//! ```
//!
//! The request is signed by the endpoint's key and cannot be altered here, and a server may copy from it. So only one that asks for
//! exactly its endpoint's name is passed on.
//!
//! EST knows no revocation. Where the site's list is named (`crl_url`), a new certificate is asked for only after those before it are on
//! that list; without it evidence alone tells the site (`identity.revoked`).
//!
//! It must never: pass on what no verified quote stands for, or believe a certificate that is not for the key that was asked for.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::BoxFuture;
use hyper::{Method, header};
use recovery_protocol::EndpointId;
use tokio::sync::Mutex;
use x509_parser::{
    prelude::{FromDer as _, X509Certificate},
    revocation_list::CertificateRevocationList,
};

use super::{
    ca::{Authority, Issued, Request},
    cms,
    provider::{Answer, IdentityProvider, ProviderError, Revoked, Status},
};
use crate::{
    asking::{
        self,
        pinned::{self, FileError, Known, Pinned},
    },
    config::SiteEst as Setting,
};

/// Columns of base64 towards it: libest refuses an unwrapped request, every server takes a wrapped one.
const COLUMNS: usize = 64;
const ANSWER_LEN_MAX: usize = 256 * 1024;
const QUESTION_MAX: Duration = Duration::from_secs(20);
/// Its certificates are asked for anew after this time.
const ISSUERS_KEPT: Duration = Duration::from_secs(600);
/// Where they could not be had, nobody asks for so long: anybody may ask us for them.
const FAILURE_KEPT: Duration = Duration::from_secs(5);
/// Bounds of `Retry-After` (RFC 7030 section 4.2.3), and what holds where it says none.
const RETRY_AFTER: std::ops::RangeInclusive<u64> = 1..=3600;
const RETRY_AFTER_DEFAULT: u64 = 30;
const WORDS_MOST: usize = 200;

/// The site's EST server.
pub struct SiteEst {
    http: Pinned,
    url: String,
    base: String,
    basic: Option<String>,
    /// Where its list of revoked certificates is, and who asks for it.
    list: Option<(String, ureq::Agent)>,
    /// One asks, the others wait for what comes.
    issuers: Mutex<Issuers>,
    /// The embedded authority of before.
    before: Option<Authority>,
}

/// Its certificates.
#[derive(Default)]
struct Issuers {
    known: Vec<Vec<u8>>,
    since: Option<Instant>,
    failed: Option<(Instant, String)>,
}

/// Without what it shows to be let in.
impl std::fmt::Debug for SiteEst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SiteEst").field("url", &self.url).field("base", &self.base).finish_non_exhaustive()
    }
}

impl SiteEst {
    /// Reads the files of its setting; nothing is connected yet. `before`: the embedded authority, whose certificates live for some days.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(setting: &Setting, before: Option<Authority>) -> Result<Self, FileError> {
        let own = setting.certificate_file.as_deref().zip(setting.key_file.as_deref());
        let known = Known { ca_file: &setting.ca_file, own, names_count: true };
        let http = Pinned::open(&setting.url, known, ANSWER_LEN_MAX, QUESTION_MAX)?;
        let basic = match &setting.password_file {
            None => None,
            Some(path) => Some(format!("Basic {}", STANDARD.encode(line(path)?))),
        };
        let label = setting.label.as_ref().map(|label| format!("/{label}")).unwrap_or_default();
        Ok(Self {
            http,
            url: setting.url.clone(),
            base: format!("/.well-known/est{label}"),
            basic,
            list: setting.crl_url.clone().map(|url| (url, asking::agent_with(&setting.ca_file))),
            issuers: Mutex::default(),
            before,
        })
    }

    /// As after [`ISSUERS_KEPT`].
    #[cfg(test)]
    pub async fn let_time_pass(&self) {
        self.issuers.lock().await.since = None;
    }

    async fn post(&self, operation: &str, der: &[u8]) -> Result<pinned::Answer, ProviderError> {
        let mut headers =
            vec![("content-type", "application/pkcs10"), ("content-transfer-encoding", "base64")];
        if let Some(basic) = &self.basic {
            headers.push(("authorization", basic));
        }
        let path = format!("{}/{operation}", self.base);
        self.http.ask(Method::POST, &path, &headers, wrapped(der)).await.map_err(ProviderError::Away)
    }

    /// Its certificates: those that are known where it does not answer.
    async fn ask_issuers(&self) -> Result<Vec<Vec<u8>>, ProviderError> {
        let mut issuers = self.issuers.lock().await;
        if issuers.since.is_some_and(|since| since.elapsed() < ISSUERS_KEPT) {
            return Ok(issuers.known.clone());
        }
        let failed = issuers.failed.as_ref().filter(|(at, _)| at.elapsed() < FAILURE_KEPT);
        let error = match failed {
            Some((_, why)) => ProviderError::Away(why.clone()),
            None => match self.fetch_issuers(&mut issuers).await {
                Ok(()) => return Ok(issuers.known.clone()),
                Err(error) => error,
            },
        };
        if issuers.known.is_empty() { Err(error) } else { Ok(issuers.known.clone()) }
    }

    /// Its certificates, when those are not all any more.
    async fn ask_issuers_again(&self, seen: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, ProviderError> {
        let mut issuers = self.issuers.lock().await;
        if issuers.known == seen {
            self.fetch_issuers(&mut issuers).await?;
        }
        Ok(issuers.known.clone())
    }

    async fn fetch_issuers(&self, issuers: &mut Issuers) -> Result<(), ProviderError> {
        let path = format!("{}/cacerts", self.base);
        let asked = async {
            let answer =
                self.http.ask(Method::GET, &path, &[], Vec::new()).await.map_err(ProviderError::Away)?;
            if !answer.status.is_success() {
                return Err(ProviderError::Refused(format!("cacerts: {}", said(&answer))));
            }
            certificates(&answer.body)
        };
        match asked.await {
            Ok(known) => {
                *issuers = Issuers { known, since: Some(Instant::now()), failed: None };
                Ok(())
            }
            Err(error) => {
                let why = match &error {
                    ProviderError::Away(why) => why.clone(),
                    other => other.to_string(),
                };
                tracing::warn!(
                    url = self.url,
                    why,
                    kept = issuers.known.len(),
                    "the site's certificates cannot be had"
                );
                issuers.failed = Some((Instant::now(), why));
                Err(error)
            }
        }
    }

    async fn ask_certificate(
        &self,
        request: &Request,
        endpoint: &EndpointId,
        now: u64,
    ) -> Result<Answer, ProviderError> {
        request.asks_only_for(endpoint.as_str()).map_err(ProviderError::Asks)?;
        let issuers = self.ask_issuers().await?;
        let answer = self.post("simpleenroll", request.der()).await?;
        match answer.status.as_u16() {
            200 => self.issued(&answer.body, request, endpoint, &issuers, now).await.map(Answer::Issued),
            202 => Ok(Answer::Later {
                after: retry_after(&answer),
                why: "somebody decides at the site's EST server".to_owned(),
            }),
            // It is overloaded, or in front of it something is.
            408 | 429 | 500..=599 => Err(ProviderError::Away(said(&answer))),
            _ => Err(ProviderError::Refused(said(&answer))),
        }
    }

    /// The certificate in an answer. From here on one was issued: what is not taken is handed back, so that it is written down.
    async fn issued(
        &self,
        body: &[u8],
        request: &Request,
        endpoint: &EndpointId,
        issuers: &[Vec<u8>],
        now: u64,
    ) -> Result<Issued, ProviderError> {
        let found = certificates(body)?;
        let rejected = |why: String| ProviderError::Rejected { why, certificates: found.clone() };
        let issued = fits(&found, request, endpoint, now).map_err(rejected)?;
        if !signed_by(issuers, &issued.certificate) {
            // It may have got another authority since.
            let anew = self.ask_issuers_again(issuers).await.unwrap_or_default();
            if !signed_by(&anew, &issued.certificate) {
                return Err(rejected("none of its `cacerts` signed the certificate".to_owned()));
            }
        }
        Ok(issued)
    }

    /// Its list of revoked certificates, DER, signed by one of its authorities.
    async fn ask_list(
        &self,
        url: &str,
        agent: &ureq::Agent,
        issuers: &[Vec<u8>],
    ) -> Result<Vec<u8>, ProviderError> {
        let (url, agent) = (url.to_owned(), agent.clone());
        let list = tokio::task::spawn_blocking(move || asking::plain(&agent, &url)).await;
        let list = list.unwrap_or_else(|error| Err(error.to_string())).map_err(ProviderError::Away)?;
        let (_, parsed) = CertificateRevocationList::from_der(&list)
            .map_err(|error| ProviderError::Unusable(format!("its list of revoked certificates: {error}")))?;
        let signed = issuers.iter().any(|issuer| {
            let issuer = X509Certificate::from_der(issuer);
            issuer.is_ok_and(|(_, issuer)| parsed.verify_signature(issuer.public_key()).is_ok())
        });
        if !signed {
            let why = "its list of revoked certificates is signed by none of its authorities";
            return Err(ProviderError::Unusable(why.to_owned()));
        }
        Ok(list)
    }

    /// Its list tells of its own: those of the embedded authority of before are on ours the moment they are revoked.
    async fn seen_revoked(&self, revoked: &[Revoked]) -> Result<Option<String>, ProviderError> {
        let Some((url, agent)) = self.list.as_ref().filter(|_| !revoked.is_empty()) else { return Ok(None) };
        let issuers = self.ask_issuers().await?;
        let theirs: Vec<&Revoked> = revoked.iter().filter(|one| signed_by(&issuers, &one.der)).collect();
        if theirs.is_empty() {
            return Ok(None);
        }
        Ok(super::missing_in(&self.ask_list(url, agent, &issuers).await?, &theirs))
    }

    async fn says_revoked(&self, der: &[u8]) -> Result<bool, ProviderError> {
        let Some((url, agent)) = &self.list else { return Ok(false) };
        let issuers = self.ask_issuers().await?;
        let Ok((_, shown)) = X509Certificate::from_der(der) else { return Ok(false) };
        if !signed_by(&issuers, der) {
            return Ok(false);
        }
        let list = self.ask_list(url, agent, &issuers).await?;
        let (_, list) = CertificateRevocationList::from_der(&list)
            .map_err(|error| ProviderError::Unusable(format!("its list of revoked certificates: {error}")))?;
        Ok(super::names(&list, der, &hex::encode(shown.raw_serial())))
    }
}

impl IdentityProvider for SiteEst {
    fn prepare(&self) -> BoxFuture<'_, Result<Vec<Vec<u8>>, ProviderError>> {
        Box::pin(self.ask_issuers())
    }

    fn enrol<'a>(
        &'a self,
        request: &'a Request,
        endpoint: &'a EndpointId,
        now: u64,
    ) -> BoxFuture<'a, Result<Answer, ProviderError>> {
        Box::pin(self.ask_certificate(request, endpoint, now))
    }

    fn revoke<'a>(
        &'a self,
        revoked: &'a [Revoked],
        _: u64,
    ) -> BoxFuture<'a, Result<Option<String>, ProviderError>> {
        Box::pin(self.seen_revoked(revoked))
    }

    fn is_revoked<'a>(&'a self, der: &'a [u8]) -> BoxFuture<'a, Result<bool, ProviderError>> {
        Box::pin(self.says_revoked(der))
    }

    fn crl(&self, revoked: &[Revoked], now: u64) -> Result<Option<Vec<u8>>, ProviderError> {
        self.before.as_ref().map_or(Ok(None), |before| IdentityProvider::crl(before, revoked, now))
    }

    fn is_elsewhere(&self) -> bool {
        true
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, ProviderError>> {
        Box::pin(async {
            let issuers = self.ask_issuers().await?.len();
            Ok(Status { who: format!("the site's EST server at {}", self.url), issuers })
        })
    }
}

/// The one line of a file with a password.
fn line(path: &Path) -> Result<String, FileError> {
    let wrong = |why: String| FileError { path: path.to_owned(), why };
    let text = crate::seal::secret(path).map_err(|error| wrong(error.to_string()))?;
    let text = text.trim();
    if text.contains(':') {
        Ok(text.to_owned())
    } else {
        Err(wrong("it holds no `user:password`".to_owned()))
    }
}

fn wrapped(der: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(der);
    let mut out = Vec::with_capacity(text.len() + text.len() / COLUMNS + 2);
    for line in text.as_bytes().chunks(COLUMNS) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// What it says, for people.
fn said(answer: &pinned::Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let text: String = text.chars().filter(|c| !c.is_control()).take(WORDS_MOST).collect();
    format!("{} {text}", answer.status).trim_end().to_owned()
}

fn retry_after(answer: &pinned::Answer) -> Duration {
    let seconds = answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    // A date is taken for none: its clock may be another one.
    Duration::from_secs(
        seconds.unwrap_or(RETRY_AFTER_DEFAULT).clamp(*RETRY_AFTER.start(), *RETRY_AFTER.end()),
    )
}

/// The certificates of an EST answer, DER.
fn certificates(body: &[u8]) -> Result<Vec<Vec<u8>>, ProviderError> {
    let unusable = |why: &str| ProviderError::Unusable(why.to_owned());
    let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let message = STANDARD.decode(text).map_err(|_| unusable("it is not base64"))?;
    let found = cms::certificates(&message).ok_or_else(|| unusable("it is no certs-only message"))?;
    if found.is_empty() {
        return Err(unusable("it holds no certificate"));
    }
    Ok(found.into_iter().map(<[u8]>::to_vec).collect())
}

/// The certificate for our key, when it is one that an endpoint may have; else what is wrong with it.
fn fits(found: &[Vec<u8>], request: &Request, endpoint: &EndpointId, now: u64) -> Result<Issued, String> {
    let ours = found.iter().find_map(|der| {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        (parsed.public_key().raw == request.spki()).then_some((der, parsed))
    });
    let (der, parsed) =
        ours.ok_or_else(|| "no certificate in it is for the key that was asked for".to_owned())?;
    if parsed.is_ca() {
        return Err("the certificate is an authority's".to_owned());
    }
    let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    if name != Some(endpoint.as_str()) {
        return Err(format!("it is for {}, asked for was {endpoint}", parsed.subject()));
    }
    let valid = parsed.validity();
    let at = i64::try_from(now).unwrap_or(i64::MAX);
    if valid.not_after.timestamp() <= at {
        return Err(format!("it has run out on {}", valid.not_after));
    }
    let not_after = u64::try_from(valid.not_after.timestamp()).unwrap_or_default();
    Ok(Issued { certificate: der.clone(), serial: hex::encode(parsed.raw_serial()), not_after })
}

/// Whether one of these authorities signed it.
fn signed_by(issuers: &[Vec<u8>], der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    issuers.iter().any(|issuer| {
        let issuer = X509Certificate::from_der(issuer);
        issuer.is_ok_and(|(_, issuer)| {
            issuer.is_ca() && certificate.verify_signature(Some(issuer.public_key())).is_ok()
        })
    })
}
