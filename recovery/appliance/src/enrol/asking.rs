//! Asking for certificates, apart from whoever asks us: what is issued is written down, whether or not somebody still waits for it.
//!
//! ```text
//! door ── Ask ─► lane ─► turn of the job ─► is it here already? ─► the request is written down ─► revoked and seen so? ─► enrol
//!   ◄── Told ─────────────────────────────────────── written down ◄── Issued | Later | not taken: to be revoked ◄───────────┘
//! ```
//!
//! An endpoint hangs up after half a minute, and a server that issues takes as long as it likes. So the door waits shorter than the endpoint and says
//! "later", and what goes on here is not cancelled by it: the next request finds what came. The first request of a key is the one that is made of
//! who issues, until it is answered.
//!
//! It must never: ask for one job twice at once, or take a certificate in without writing it down.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use recovery_protocol::{EndpointId, JobId, Problem};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    ca::Request,
    est::now,
    provider::{Answer, IdentityProvider, ProviderError, Revoked},
};
use crate::service::{IssuedCertificate, Service};

/// Asks that wait for their turn, and that are under way.
const WAIT_MOST: usize = 64;
const AT_ONCE: usize = 16;
/// The door waits for so long: less than the half minute after which our agent hangs up.
const TOLD_WITHIN: Duration = Duration::from_secs(20);
/// Until the same is asked for again, where it is under way or this appliance is busy.
const SOON: Duration = Duration::from_secs(3);
/// After this time it is looked again whether what was revoked is published.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// What is under way when the appliance stops has so long to be written down.
const DRAIN: Duration = Duration::from_secs(10);
/// Certificates of one answer that are written down when none of them is taken.
const REJECTED_MOST: usize = 4;

/// What came of an ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The certificate, DER.
    Certificate(Vec<u8>),
    /// The same request again, later.
    Later {
        /// After this time.
        after: Duration,
        /// What it waits for.
        why: String,
    },
}

struct Ask {
    request: Request,
    endpoint: EndpointId,
    job: JobId,
    renews: bool,
    told: oneshot::Sender<Result<Told, Problem>>,
}

/// The way to who asks.
#[derive(Clone)]
pub struct Lane(mpsc::Sender<Ask>);

/// Who asks; it has to run.
pub struct Issuing {
    service: Service,
    provider: Arc<dyn IdentityProvider>,
    asked: mpsc::Receiver<Ask>,
    turns: Mutex<BTreeSet<JobId>>,
}

/// The two ends.
pub fn open(service: Service, provider: Arc<dyn IdentityProvider>) -> (Lane, Issuing) {
    let (asks, asked) = mpsc::channel(WAIT_MOST);
    (Lane(asks), Issuing { service, provider, asked, turns: Mutex::default() })
}

impl Lane {
    /// A certificate for the key of a proven request. May be cancelled: what was asked goes on.
    ///
    /// # Errors
    /// What stands against it.
    pub async fn ask(
        &self,
        request: Request,
        endpoint: &EndpointId,
        job: JobId,
        renews: bool,
    ) -> Result<Told, Problem> {
        let (told, tells) = oneshot::channel();
        let later = |why: &str| Ok(Told::Later { after: SOON, why: why.to_owned() });
        if self.0.try_send(Ask { request, endpoint: endpoint.clone(), job, renews, told }).is_err() {
            return later("many certificates are being asked for");
        }
        match timeout(TOLD_WITHIN, tells).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) => later("the appliance stops"),
            Err(_) => later("whoever issues has not answered yet"),
        }
    }
}

/// One job's turn; it ends when it is dropped.
struct Turn<'a>(&'a Mutex<BTreeSet<JobId>>, JobId);

impl<'a> Turn<'a> {
    fn take(turns: &'a Mutex<BTreeSet<JobId>>, job: JobId) -> Option<Self> {
        let first = turns.lock().unwrap_or_else(PoisonError::into_inner).insert(job);
        // Made only where it is this one's: what is dropped ends the turn.
        first.then(|| Self(turns, job))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl Issuing {
    /// Ask until told to stop; then write down what still comes within some seconds.
    pub async fn run(self, stop: CancellationToken) {
        let Self { service, provider, mut asked, turns } = self;
        let (service, provider, turns) = (&service, &*provider, &turns);
        let mut under_way: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        under_way.push(Box::pin(super::say_who_issues(provider)));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                Some(ask) = asked.recv(), if under_way.len() < AT_ONCE => under_way.push(Box::pin(async move {
                    let Ask { request, endpoint, job, renews, told } = ask;
                    // Whoever asked may have hung up.
                    let _ = told.send(issue(service, provider, turns, (&request, renews), (&endpoint, job)).await);
                })),
            }
        }
        let drained = timeout(DRAIN, async { while under_way.next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(
                "a certificate was still being asked for; evidence says for whom (identity.asked)"
            );
        }
    }
}

async fn issue(
    service: &Service,
    provider: &dyn IdentityProvider,
    turns: &Mutex<BTreeSet<JobId>>,
    (request, renews): (&Request, bool),
    (endpoint, job): (&EndpointId, JobId),
) -> Result<Told, Problem> {
    let Some(_turn) = Turn::take(turns, job) else {
        let why = "the same certificate is being asked for already".to_owned();
        return Ok(Told::Later { after: SOON, why });
    };
    // It may have come between the question and this turn.
    if !renews && let Some(certificate) = service.certificate_of(job, request.spki()).await? {
        return Ok(Told::Certificate(certificate));
    }
    match ask(service, provider, request, (endpoint, job)).await {
        Ok(Answer::Issued(issued)) => {
            let written = service.certificate_issued(job, &issued.serial, &issued.certificate).await;
            if let Err(problem) = written {
                tracing::error!(%endpoint, %job, serial = issued.serial, why = problem.detail, "issued, and not written down");
                return Err(problem);
            }
            tracing::info!(%endpoint, %job, serial = issued.serial, "certificate issued");
            Ok(Told::Certificate(issued.certificate))
        }
        Ok(Answer::Later { after, why }) => {
            service.enrolment_waits(endpoint, job, "waits", &why).await?;
            service.enrolment_later(job, after).await?;
            Ok(Told::Later { after, why })
        }
        Err(error) => {
            tracing::error!(%endpoint, %job, %error, "no certificate");
            if let ProviderError::Rejected { why, certificates } = &error {
                for der in certificates.iter().take(REJECTED_MOST) {
                    service.certificate_rejected((endpoint, job), der, why).await?;
                }
            }
            // Where nobody answered it may be issued still, and the same request is made again.
            if !matches!(error, ProviderError::Away(_)) {
                service.certificate_refused(job, request.spki()).await?;
            }
            let problem = Problem::from(error);
            service.enrolment_waits(endpoint, job, &problem.code, &problem.detail).await?;
            Err(problem)
        }
    }
}

/// First what is revoked is seen to be, then a new one is asked for, by the first request of its key.
async fn ask(
    service: &Service,
    provider: &dyn IdentityProvider,
    request: &Request,
    (endpoint, job): (&EndpointId, JobId),
) -> Result<Answer, ProviderError> {
    let at = now();
    let away = |problem: Problem| ProviderError::Away(problem.detail);
    let revoked = service.revoked_certificates().await.map_err(away)?;
    let of_it = revoked.into_iter().filter(|certificate| certificate.endpoint == *endpoint);
    let of_it: Vec<_> = of_it.filter(|one| ends(&one.der) > at).filter_map(revocation).collect();
    provider.prepare().await?;
    if let Some(why) = provider.revoke(&of_it, at).await? {
        return Ok(Answer::Later { after: LOOK_AGAIN, why });
    }
    if !provider.is_elsewhere() {
        return provider.enrol(request, endpoint, at).await;
    }
    request.asks_only_for(endpoint.as_str()).map_err(ProviderError::Asks)?;
    let first =
        service.certificate_asked((endpoint, job), request.spki(), request.der()).await.map_err(away)?;
    provider.enrol(&Request::from_der(&first)?, endpoint, at).await
}

/// For whoever is told that it is revoked.
pub fn revocation(certificate: IssuedCertificate) -> Option<Revoked> {
    let since = certificate.revoked_unix_ms? / 1000;
    Some(Revoked { serial: certificate.serial, since, der: certificate.der })
}

/// End of a certificate's life, seconds since 1970; one that cannot be read never ends.
fn ends(der: &[u8]) -> u64 {
    X509Certificate::from_der(der)
        .ok()
        .and_then(|(_, parsed)| u64::try_from(parsed.validity().not_after.timestamp()).ok())
        .unwrap_or(u64::MAX)
}
