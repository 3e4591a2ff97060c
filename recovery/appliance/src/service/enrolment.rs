//! Enrolment as the EST door needs it: grants, certificates, revocations.

use std::time::Duration;

use recovery_protocol::{EndpointId, JobId, Problem};
use serde_json::json;

use super::{EstGrant, Inner, IssuedCertificate, Service};
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
/// How much longer than until the next question a job and its secret wait while somebody decides; it is asked for anew within half of it.
const DECIDED_MS: u64 = 600_000;

/// What becomes of asking for a certificate. What was asked outside may be issued there whatever becomes of us, so it is written down before.
impl Service {
    /// The certificate that this key (SPKI, DER) has in this job.
    pub async fn certificate_of(&self, job: JobId, spki: &[u8]) -> Result<Option<Vec<u8>>, Problem> {
        let mut conn = self.0.journal.db.read().await?;
        let found = db::ticket::certificate_for(&mut conn, job, &keys::spki_sha256(spki)).await?;
        Ok(found.map(|certificate| certificate.der))
    }

    /// The request (DER) by which this key's certificate is asked for: the first one until it is answered. An agent signs another one at each
    /// try, and to whoever decides at the site's server that would be another question.
    pub async fn certificate_asked(
        &self,
        (endpoint, job): (&EndpointId, JobId),
        spki: &[u8],
        csr: &[u8],
    ) -> Result<Vec<u8>, Problem> {
        let key_sha256 = keys::spki_sha256(spki);
        let mut tx = self.0.journal.begin().await?;
        let at = tx.at;
        let (csr, first) = db::ticket::est_request(tx.conn(), job, &key_sha256, csr, at).await?;
        if first {
            let facts = json!({ "key_sha256": key_sha256, "request_sha256": keys::spki_sha256(&csr) });
            tx.note(Fact::new("identity.asked", "appliance", facts).about(endpoint).of(Some(job))).await?;
        }
        tx.commit().await?;
        Ok(csr)
    }

    /// It was answered with no.
    pub async fn certificate_refused(&self, job: JobId, spki: &[u8]) -> Result<(), Problem> {
        let mut tx = self.0.journal.begin().await?;
        db::ticket::est_answered(tx.conn(), job, &keys::spki_sha256(spki)).await?;
        Ok(tx.commit().await?)
    }

    /// What came is no certificate for this endpoint: nobody was given it, and who issued it is to revoke it.
    pub async fn certificate_rejected(
        &self,
        (endpoint, job): (&EndpointId, JobId),
        der: &[u8],
        why: &str,
    ) -> Result<(), Problem> {
        let parsed = x509_parser::parse_x509_certificate(der).ok().map(|(_, parsed)| {
            json!({
                "serial": hex::encode(parsed.raw_serial()), "issuer": parsed.issuer().to_string(),
                "subject": parsed.subject().to_string(), "key_sha256": keys::spki_sha256(parsed.public_key().raw),
            })
        });
        let facts = json!({
            "sha256": keys::spki_sha256(der), "certificate": parsed, "why": why,
            "what_now": "it was not given out; have it revoked by who issued it",
        });
        Ok(self
            .0
            .journal
            .note(Fact::new("identity.rejected", "appliance", facts).about(endpoint).of(Some(job)))
            .await?)
    }

    /// A certificate is not renewed: who issued it has revoked it.
    pub async fn renewal_refused(
        &self,
        on_record: &IssuedCertificate,
        problem: &Problem,
    ) -> Result<(), Problem> {
        let facts = json!({ "code": problem.code, "why": problem.detail, "serial": on_record.serial });
        let fact =
            Fact::new("refusal.est", "agent", facts).about(&on_record.endpoint).of(Some(on_record.job));
        self.0.live.count("refusal", &problem.code);
        Ok(self.0.journal.note(fact).await?)
    }

    /// Somebody decides at the site's server: job and secret wait for that, for as long as the endpoint goes on asking.
    pub async fn enrolment_later(&self, job: JobId, after: Duration) -> Result<(), Problem> {
        let mut tx = self.0.journal.begin().await?;
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let next = tx.at.saturating_add(after_ms);
        db::ticket::extend_est(tx.conn(), job, next.saturating_add(DECIDED_MS)).await?;
        let limit = db::job::get(tx.conn(), job).await?.and_then(|row| row.job.limit_unix_ms);
        if limit.is_some_and(|limit| limit < next.saturating_add(DECIDED_MS / 2)) {
            let until_unix_ms = next.saturating_add(DECIDED_MS);
            match tx.event(job, "appliance", What::EnrolmentLater { until_unix_ms }).await {
                // A renewal comes long after the job.
                Ok(_) | Err(JournalError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(tx.commit().await?)
    }
}

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
    db::ticket::est_answered(tx.conn(), job, &key_sha256).await?;
    let facts = json!({ "serial": serial, "key_sha256": key_sha256, "sha256": keys::spki_sha256(der) });
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

pub async fn certificate(inner: &Inner, der: &[u8]) -> Result<Option<IssuedCertificate>, Problem> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(der) else { return Ok(None) };
    let serial = hex::encode(parsed.raw_serial());
    let found = db::ticket::certificate(&mut *inner.journal.db.read().await?, der, &serial).await?;
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
