//! Enrolment as the EST door needs it: grants, certificates, revocations.

use recovery_protocol::{EndpointId, JobId, Problem};
use serde_json::json;

use super::{EstGrant, Inner, IssuedCertificate};
use crate::{
    db::{self, ticket::Certificate},
    evidence::Fact,
    jobs::{job::What, journal::JournalError},
    keys,
    refusals::unknown_job,
    tickets::{self, TicketError},
};

/// The same cause of one endpoint is written down once in this time.
const WAITS_EVERY_MS: u64 = 60_000;

pub async fn redeem(inner: &Inner, user: &str, password: &str, spki_der: &[u8]) -> Result<EstGrant, Problem> {
    let key_sha256 = keys::spki_sha256(spki_der);
    let mut tx = inner.journal.begin().await?;
    let at = tx.at;
    match tickets::redeem_est(tx.conn(), user, password, &key_sha256, at).await {
        Ok((secret, issued)) => {
            let row = db::job::get(tx.conn(), secret.job).await?.ok_or_else(|| unknown_job(secret.job))?;
            tx.commit().await?;
            let issued = issued.map(|certificate| certificate.der);
            Ok(EstGrant { endpoint: secret.endpoint, job: secret.job, image: row.job.image, issued })
        }
        Err(error @ (TicketError::Db(_) | TicketError::Random(_))) => Err(error.into()),
        Err(error) => {
            let job = user.parse().ok();
            let known = match job {
                Some(job) => db::job::get(tx.conn(), job).await?,
                None => None,
            };
            let problem = Problem::from(error);
            let facts = json!({ "code": problem.code, "why": problem.detail, "key_sha256": key_sha256 });
            let mut fact = Fact::new("refusal.est", "agent", facts);
            if let Some(row) = known {
                fact = fact.about(&row.job.endpoint).of(Some(row.job.id));
            }
            tx.note(fact).await?;
            tx.commit().await?;
            inner.live.count("refusal", &problem.code);
            Err(problem)
        }
    }
}

pub async fn issued(inner: &Inner, job: JobId, serial: &str, der: &[u8]) -> Result<(), Problem> {
    let key_sha256 = x509_parser::parse_x509_certificate(der)
        .map(|(_, certificate)| keys::spki_sha256(certificate.public_key().raw))
        .map_err(|e| {
            let remedy = "look at the appliance's log";
            Problem::new(
                500,
                "certificate-unreadable",
                "The certificate cannot be recorded",
                e.to_string(),
                remedy,
            )
        })?;
    let mut tx = inner.journal.begin().await?;
    let row = db::job::get(tx.conn(), job).await?.ok_or_else(|| unknown_job(job))?;
    let certificate = Certificate {
        serial: serial.to_owned(),
        endpoint: row.job.endpoint.clone(),
        job,
        key_sha256: key_sha256.clone(),
        der: der.to_vec(),
        issued: tx.at,
        revoked: None,
    };
    db::ticket::put_certificate(tx.conn(), &certificate).await?;
    let facts = json!({ "serial": serial, "key_sha256": key_sha256 });
    let mut fact = Fact::new("identity.issued", "appliance", facts).about(&row.job.endpoint).of(Some(job));
    fact.mode = row.job.mode;
    tx.note(fact).await?;
    match tx.event(job, "appliance", What::Certified { serial: serial.to_owned() }).await {
        // A renewal comes long after the job.
        Ok(_) | Err(JournalError::Refused(_)) => Ok(tx.commit().await?),
        Err(error) => Err(error.into()),
    }
}

/// An enrolment that goes on later, or not: in evidence once a minute for each cause.
pub async fn waits(
    inner: &Inner,
    endpoint: &EndpointId,
    job: JobId,
    code: &str,
    why: &str,
) -> Result<(), Problem> {
    let mut tx = inner.journal.begin().await?;
    if !inner.live.first_in(&format!("{endpoint}/enrolment/{code}"), tx.at, WAITS_EVERY_MS) {
        return Ok(());
    }
    let facts = json!({ "code": code, "why": why });
    tx.note(Fact::new("identity.waits", "appliance", facts).about(endpoint).of(Some(job))).await?;
    Ok(tx.commit().await?)
}

pub async fn certificate(inner: &Inner, serial: &str) -> Result<Option<IssuedCertificate>, Problem> {
    let found = db::ticket::certificate(&mut *inner.journal.db.read().await?, serial).await?;
    Ok(found.map(view))
}

pub async fn revoked(inner: &Inner) -> Result<Vec<IssuedCertificate>, Problem> {
    let found = db::ticket::revoked(&mut *inner.journal.db.read().await?).await?;
    Ok(found.into_iter().map(view).collect())
}

fn view(c: Certificate) -> IssuedCertificate {
    IssuedCertificate {
        serial: c.serial,
        endpoint: c.endpoint,
        job: c.job,
        der: c.der,
        issued_unix_ms: c.issued,
        revoked_unix_ms: c.revoked,
    }
}
