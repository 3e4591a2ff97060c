//! Tickets and one-time secrets: what lets a restored system prove that this job restored it, once.
//!
//! | secret | goes to | is bound to | ends |
//! |---|---|---|---|
//! | boot ticket (a row, no secret) | firmware, by Ethernet address | endpoint, job | leaving ReadBack, holding, ending |
//! | enrolment ticket | the ESP, with the restore | job; at first use: EK and TLS key | end of the job, a new order |
//! | EST secret | the agent, after an accepted quote | job, TLS key | 10 minutes, end of the job |
//!
//! Only hashes lie in the database; they are compared in constant time. Using a secret again with the same key gives the
//! same result, so a lost answer never strands an endpoint (spiffe/spire#2454); with another key it is refused.
//!
//! It must never: keep or log a secret.

use recovery_protocol::{EndpointId, JobId, Problem};
use subtle::ConstantTimeEq as _;

use crate::{
    db::{
        self, Conn, DbError,
        ticket::{Certificate, EnrolmentTicket, EstSecret},
    },
    keys::{KeyError, secret, secret_hash},
};

/// Life of an EST secret.
const EST_SECRET_MS: u64 = 600_000;

/// Why a ticket or secret is refused. Each has its own problem code.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// Never issued here, or replaced since.
    #[error("this enrolment ticket was not issued by this appliance, or a later restore replaced it")]
    Foreign,
    /// Its job is over or was held for a security reason.
    #[error("this enrolment ticket is spent")]
    Spent,
    /// Another TPM used it before.
    #[error("this enrolment ticket was used by another TPM before: somebody copied it")]
    OtherTpm,
    /// The same TPM with another key.
    #[error("this enrolment ticket was used for another key before")]
    OtherKey,
    /// No such EST secret.
    #[error("the EST user name or password is wrong")]
    EstWrong,
    /// The EST secret's time is over, or its job's.
    #[error("the EST secret has expired")]
    EstExpired,
    /// The EST secret is for another key.
    #[error("the certificate request is for another key than the one that was certified")]
    EstKey,
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] KeyError),
}

impl From<TicketError> for Problem {
    fn from(error: TicketError) -> Self {
        let (status, code) = match &error {
            TicketError::Foreign => (403, "ticket-foreign"),
            TicketError::Spent => (403, "ticket-spent"),
            TicketError::OtherTpm => (403, "ticket-copied"),
            TicketError::OtherKey => (403, "ticket-other-key"),
            TicketError::EstWrong => (401, "est-secret-wrong"),
            TicketError::EstExpired => (401, "est-secret-expired"),
            TicketError::EstKey => (403, "est-key-foreign"),
            TicketError::Db(_) | TicketError::Random(_) => (500, "appliance-failed"),
        };
        let remedy = match status {
            401 => "check in again: a new secret is given after a new proof",
            403 => "recover the endpoint again; if it repeats, isolate it",
            _ => "look at the appliance's log",
        };
        Self::new(status, code, "Enrolment refused", error.to_string(), remedy)
    }
}

/// Make the enrolment ticket of a job, replacing an earlier one; the secret goes with the order.
///
/// # Errors
/// [`TicketError::Db`], [`TicketError::Random`].
pub async fn issue_enrolment(conn: &mut Conn, job: JobId, at: u64) -> Result<String, TicketError> {
    let ticket = secret()?;
    db::ticket::issue_enrolment(conn, job, &secret_hash(&ticket), at).await?;
    Ok(ticket)
}

/// The ticket that a secret opens, whatever its state. The database finds it by its hash: SHA-256 of 32 random bytes
/// tells nothing by its comparison.
///
/// # Errors
/// [`TicketError::Foreign`] where there is none.
pub async fn enrolment(conn: &mut Conn, shown: &str) -> Result<EnrolmentTicket, TicketError> {
    db::ticket::enrolment(conn, &secret_hash(shown)).await?.ok_or(TicketError::Foreign)
}

/// Whether a ticket may be used by this TPM. Asked at the hello; the key is bound at the proof ([`bind`]).
///
/// # Errors
/// [`TicketError::Spent`], [`TicketError::OtherTpm`].
pub fn usable(ticket: &EnrolmentTicket, ek_sha256: &str) -> Result<(), TicketError> {
    match &ticket.ek_sha256 {
        Some(used_by) if used_by != ek_sha256 => Err(TicketError::OtherTpm),
        Some(_) | None if ticket.voided.is_some() => Err(TicketError::Spent),
        Some(_) | None => Ok(()),
    }
}

/// Bind a usable ticket to a proven TPM and its certified key. Again with the same ones changes nothing.
///
/// # Errors
/// As [`usable`], and [`TicketError::OtherKey`].
pub async fn bind(
    conn: &mut Conn,
    ticket: &EnrolmentTicket,
    ek_sha256: &str,
    key_sha256: &str,
) -> Result<(), TicketError> {
    usable(ticket, ek_sha256)?;
    if ticket.key_sha256.as_deref().is_some_and(|bound| bound != key_sha256) {
        return Err(TicketError::OtherKey);
    }
    Ok(db::ticket::bind_enrolment(conn, ticket.job, ek_sha256, key_sha256).await?)
}

/// Make the EST secret of a job for one key, replacing an earlier one. The user name is the job's id.
///
/// # Errors
/// [`TicketError::Db`], [`TicketError::Random`].
pub async fn issue_est(
    conn: &mut Conn,
    job: JobId,
    endpoint: &EndpointId,
    key_sha256: &str,
    at: u64,
) -> Result<String, TicketError> {
    let password = secret()?;
    let row = EstSecret {
        job,
        endpoint: endpoint.clone(),
        secret_hash: secret_hash(&password),
        key_sha256: key_sha256.to_owned(),
        expires: at.saturating_add(EST_SECRET_MS),
        spent: None,
        voided: None,
    };
    db::ticket::issue_est(conn, &row).await?;
    Ok(password)
}

/// Redeem an EST secret for a key (SHA-256 of its SPKI, lower-case hex): whose it is, and the certificate that this key
/// has already.
///
/// # Errors
/// [`TicketError::EstWrong`], [`TicketError::EstExpired`], [`TicketError::EstKey`].
pub async fn redeem_est(
    conn: &mut Conn,
    user: &str,
    password: &str,
    key_sha256: &str,
    at: u64,
) -> Result<(EstSecret, Option<Certificate>), TicketError> {
    let job: JobId = user.parse().map_err(|_| TicketError::EstWrong)?;
    let row = db::ticket::est(conn, job).await?.ok_or(TicketError::EstWrong)?;
    let same = secret_hash(password).as_bytes().ct_eq(row.secret_hash.as_bytes());
    if !bool::from(same) {
        return Err(TicketError::EstWrong);
    }
    if row.voided.is_some() || at >= row.expires {
        return Err(TicketError::EstExpired);
    }
    if row.key_sha256 != key_sha256 {
        return Err(TicketError::EstKey);
    }
    db::ticket::spend_est(conn, job, at).await?;
    let issued = db::ticket::certificate_for(conn, job, key_sha256).await?;
    Ok((row, issued))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;

    async fn db() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().unwrap();
        let db = crate::db::conformance::database(&dir.path().join("db")).await;
        (dir, db)
    }

    /// A job that the tickets can refer to.
    async fn job(conn: &mut Conn) -> JobId {
        let id = JobId::new(1, [3; 10]);
        crate::db::query(
            "INSERT INTO job (id, endpoint, group_name, open, state, trigger, reason, automatic, image_name, asked, \
             machine) VALUES ($1, 'press-01', 'g', 1, 'working', 'operator', '', 0, 'i', 0, '{}')",
        )
        .bind(id.to_string())
        .execute(conn)
        .await
        .unwrap();
        id
    }

    #[tokio::test]
    async fn an_enrolment_ticket_is_bound_to_the_first_tpm_and_key() {
        let (_dir, db) = db().await;
        let mut tx = db.begin().await.unwrap();
        let job = job(&mut tx).await;
        let shown = issue_enrolment(&mut tx, job, 0).await.unwrap();
        assert!(matches!(enrolment(&mut tx, "made up").await, Err(TicketError::Foreign)));
        let fresh = enrolment(&mut tx, &shown).await.unwrap();
        assert!(!format!("{fresh:?}").contains(&shown), "only a hash is kept");
        bind(&mut tx, &fresh, "ek", "key").await.unwrap();
        let used = enrolment(&mut tx, &shown).await.unwrap();
        bind(&mut tx, &used, "ek", "key").await.expect("the same again: a lost answer strands nobody");
        assert!(matches!(bind(&mut tx, &used, "other", "key").await, Err(TicketError::OtherTpm)));
        assert!(matches!(bind(&mut tx, &used, "ek", "other").await, Err(TicketError::OtherKey)));
        db::ticket::void_enrolment(&mut tx, job, 1).await.unwrap();
        let void = enrolment(&mut tx, &shown).await.unwrap();
        assert!(matches!(usable(&void, "ek"), Err(TicketError::Spent)));
        issue_enrolment(&mut tx, job, 2).await.unwrap();
        let replaced = enrolment(&mut tx, &shown).await;
        assert!(matches!(replaced, Err(TicketError::Foreign)), "replaced by a later order");
    }

    #[tokio::test]
    async fn two_certificates_of_one_serial_number_are_two() {
        let (_dir, db) = db().await;
        let mut tx = db.begin().await.unwrap();
        let job = job(&mut tx).await;
        let certificate = |der: &[u8], issued| Certificate {
            serial: "1000".to_owned(),
            endpoint: "press-01".parse().unwrap(),
            job,
            key_sha256: "key".to_owned(),
            der: der.to_vec(),
            issued,
            revoked: None,
        };
        for _ in 0..2 {
            db::ticket::put_certificate(&mut tx, &certificate(b"of one authority", 1)).await.unwrap();
            db::ticket::put_certificate(&mut tx, &certificate(b"of another", 2)).await.unwrap();
        }
        for (der, issued) in [(&b"of one authority"[..], 1), (b"of another", 2)] {
            let found = db::ticket::certificate(&mut tx, der, "1000").await.unwrap();
            assert_eq!(found, Some(certificate(der, issued)));
        }
        assert_eq!(db::ticket::certificate(&mut tx, b"of nobody", "1000").await.unwrap(), None);
        let newest = db::ticket::serial_of(&mut tx, &"press-01".parse().unwrap()).await.unwrap();
        assert_eq!(newest.as_deref(), Some("1000"));
        assert_eq!(db::ticket::revoke(&mut tx, &"press-01".parse().unwrap(), 3).await.unwrap(), 2);
        let revoked = db::ticket::revoked(&mut tx).await.unwrap();
        assert!(revoked.iter().all(|one| one.serial == "1000") && revoked.len() == 2);
    }

    #[tokio::test]
    async fn an_est_secret_is_for_one_key_for_ten_minutes_and_for_its_job() {
        let (_dir, db) = db().await;
        let mut tx = db.begin().await.unwrap();
        let job = job(&mut tx).await;
        let endpoint = "press-01".parse().unwrap();
        let password = issue_est(&mut tx, job, &endpoint, "key", 0).await.unwrap();
        let user = job.to_string();
        let wrong = redeem_est(&mut tx, &user, "made up", "key", 1).await;
        assert!(matches!(wrong, Err(TicketError::EstWrong)));
        let nobody = redeem_est(&mut tx, "nobody", &password, "key", 1).await;
        assert!(matches!(nobody, Err(TicketError::EstWrong)));
        let foreign = redeem_est(&mut tx, &user, &password, "other", 1).await;
        assert!(matches!(foreign, Err(TicketError::EstKey)));
        for at in [1, EST_SECRET_MS - 1] {
            redeem_est(&mut tx, &user, &password, "key", at).await.expect("the same key is granted again");
        }
        let late = redeem_est(&mut tx, &user, &password, "key", EST_SECRET_MS).await;
        assert!(matches!(late, Err(TicketError::EstExpired)));
        db::ticket::void(&mut tx, job, 2).await.unwrap();
        let void = redeem_est(&mut tx, &user, &password, "key", 3).await;
        assert!(matches!(void, Err(TicketError::EstExpired)));
    }
}
