//! Tables `boot_ticket`, `enrolment_ticket`, `est_secret`, `est_request` and `certificate`.

use recovery_protocol::{EndpointId, JobId};

use super::{Conn, DbError, Row, id, num, num_opt, query, sql};
use crate::keys;

/// Permission for one endpoint to boot the recovery system, for one job, until a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootTicket {
    /// The job.
    pub job: JobId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// When it was issued, milliseconds since 1970.
    pub issued: u64,
    /// Milliseconds since 1970.
    pub expires: u64,
}

/// Issue the boot ticket of a job; an earlier one is replaced.
pub async fn issue_boot(conn: &mut Conn, ticket: &BootTicket) -> Result<(), DbError> {
    query(
        "INSERT INTO boot_ticket (job, endpoint, issued, expires) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (job) DO UPDATE SET issued = $3, expires = $4, voided = NULL",
    )
    .bind(ticket.job.to_string())
    .bind(ticket.endpoint.as_str())
    .bind(sql(ticket.issued))
    .bind(sql(ticket.expires))
    .execute(conn)
    .await?;
    Ok(())
}

/// Boot tickets that live.
pub async fn live_boot(conn: &mut Conn) -> Result<Vec<BootTicket>, DbError> {
    let rows = query("SELECT job, endpoint, issued, expires FROM boot_ticket WHERE voided IS NULL")
        .fetch_all(conn)
        .await?;
    rows.iter().map(boot_ticket).collect()
}

/// The live boot ticket of a job.
pub async fn live_boot_of(conn: &mut Conn, job: JobId) -> Result<Option<BootTicket>, DbError> {
    let row =
        query("SELECT job, endpoint, issued, expires FROM boot_ticket WHERE job = $1 AND voided IS NULL")
            .bind(job.to_string())
            .fetch_optional(conn)
            .await?;
    row.as_ref().map(boot_ticket).transpose()
}

fn boot_ticket(row: &Row) -> Result<BootTicket, DbError> {
    Ok(BootTicket {
        job: id(row, "job")?,
        endpoint: id(row, "endpoint")?,
        issued: num(row, "issued")?,
        expires: num(row, "expires")?,
    })
}

/// Void the boot ticket and the EST secret of a job.
pub async fn void(conn: &mut Conn, job: JobId, at: u64) -> Result<(), DbError> {
    for statement in [
        "UPDATE boot_ticket SET voided = $2 WHERE job = $1 AND voided IS NULL",
        "UPDATE est_secret SET voided = $2 WHERE job = $1 AND voided IS NULL",
    ] {
        query(statement).bind(job.to_string()).bind(sql(at)).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Void the enrolment ticket of a job.
pub async fn void_enrolment(conn: &mut Conn, job: JobId, at: u64) -> Result<(), DbError> {
    query("UPDATE enrolment_ticket SET voided = $2 WHERE job = $1 AND voided IS NULL")
        .bind(job.to_string())
        .bind(sql(at))
        .execute(conn)
        .await?;
    Ok(())
}

/// Void every enrolment ticket and EST secret of an endpoint: who shows one later is somebody else, or was removed.
pub async fn void_all(conn: &mut Conn, endpoint: &EndpointId, at: u64) -> Result<(), DbError> {
    for statement in [
        "UPDATE enrolment_ticket SET voided = $2 WHERE voided IS NULL AND job IN (SELECT id FROM job WHERE endpoint = $1)",
        "UPDATE est_secret SET voided = $2 WHERE voided IS NULL AND endpoint = $1",
    ] {
        query(statement).bind(endpoint.as_str()).bind(sql(at)).execute(&mut *conn).await?;
    }
    Ok(())
}

/// A ticket that the restore leaves on the ESP. Only its hash is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentTicket {
    /// The job that placed it.
    pub job: JobId,
    /// SHA-256 of the secret, lower-case hex.
    pub secret_hash: String,
    /// The EK that used it first.
    pub ek_sha256: Option<String>,
    /// The TLS key (SPKI) certified with it.
    pub key_sha256: Option<String>,
    /// Since when it is void.
    pub voided: Option<u64>,
}

/// Issue the enrolment ticket of a job; an earlier one is replaced and thereby spent.
pub async fn issue_enrolment(conn: &mut Conn, job: JobId, secret_hash: &str, at: u64) -> Result<(), DbError> {
    query(
        "INSERT INTO enrolment_ticket (job, secret_hash, issued) VALUES ($1, $2, $3) ON CONFLICT (job) \
         DO UPDATE SET secret_hash = $2, issued = $3, ek_sha256 = NULL, key_sha256 = NULL, voided = NULL",
    )
    .bind(job.to_string())
    .bind(secret_hash)
    .bind(sql(at))
    .execute(conn)
    .await?;
    Ok(())
}

fn enrolment_row(row: &Row) -> Result<EnrolmentTicket, DbError> {
    Ok(EnrolmentTicket {
        job: id(row, "job")?,
        secret_hash: row.try_get("secret_hash")?,
        ek_sha256: row.try_get("ek_sha256")?,
        key_sha256: row.try_get("key_sha256")?,
        voided: num_opt(row, "voided")?,
    })
}

/// The enrolment ticket with this secret's hash.
pub async fn enrolment(conn: &mut Conn, secret_hash: &str) -> Result<Option<EnrolmentTicket>, DbError> {
    let asked = query("SELECT * FROM enrolment_ticket WHERE secret_hash = $1").bind(secret_hash);
    asked.fetch_optional(conn).await?.as_ref().map(enrolment_row).transpose()
}

/// The enrolment ticket of a job.
pub async fn enrolment_of(conn: &mut Conn, job: JobId) -> Result<Option<EnrolmentTicket>, DbError> {
    let asked = query("SELECT * FROM enrolment_ticket WHERE job = $1").bind(job.to_string());
    asked.fetch_optional(conn).await?.as_ref().map(enrolment_row).transpose()
}

/// Bind an enrolment ticket to the EK and TLS key that used it.
pub async fn bind_enrolment(
    conn: &mut Conn,
    job: JobId,
    ek_sha256: &str,
    key_sha256: &str,
) -> Result<(), DbError> {
    query("UPDATE enrolment_ticket SET ek_sha256 = $2, key_sha256 = $3 WHERE job = $1")
        .bind(job.to_string())
        .bind(ek_sha256)
        .bind(key_sha256)
        .execute(conn)
        .await?;
    Ok(())
}

/// A one-time EST secret. Only its hash is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EstSecret {
    /// The job.
    pub job: JobId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// SHA-256 of the secret, lower-case hex.
    pub secret_hash: String,
    /// SHA-256 of the SPKI of the only key that may be enrolled.
    pub key_sha256: String,
    /// Milliseconds since 1970.
    pub expires: u64,
    /// When it was redeemed first.
    pub spent: Option<u64>,
    /// Since when it is void.
    pub voided: Option<u64>,
}

/// Issue the EST secret of a job; an earlier one is replaced.
pub async fn issue_est(conn: &mut Conn, secret: &EstSecret) -> Result<(), DbError> {
    query(
        "INSERT INTO est_secret (job, endpoint, secret_hash, key_sha256, expires) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (job) DO UPDATE SET secret_hash = $3, key_sha256 = $4, expires = $5, spent = NULL, voided = NULL",
    )
    .bind(secret.job.to_string())
    .bind(secret.endpoint.as_str())
    .bind(&secret.secret_hash)
    .bind(&secret.key_sha256)
    .bind(sql(secret.expires))
    .execute(conn)
    .await?;
    Ok(())
}

/// The EST secret of a job.
pub async fn est(conn: &mut Conn, job: JobId) -> Result<Option<EstSecret>, DbError> {
    let row =
        query("SELECT * FROM est_secret WHERE job = $1").bind(job.to_string()).fetch_optional(conn).await?;
    row.map(|row| {
        Ok(EstSecret {
            job: id(&row, "job")?,
            endpoint: id(&row, "endpoint")?,
            secret_hash: row.try_get("secret_hash")?,
            key_sha256: row.try_get("key_sha256")?,
            expires: num(&row, "expires")?,
            spent: num_opt(&row, "spent")?,
            voided: num_opt(&row, "voided")?,
        })
    })
    .transpose()
}

/// Spend the EST secret of a job.
pub async fn spend_est(conn: &mut Conn, job: JobId, at: u64) -> Result<(), DbError> {
    query("UPDATE est_secret SET spent = $2 WHERE job = $1 AND spent IS NULL")
        .bind(job.to_string())
        .bind(sql(at))
        .execute(conn)
        .await?;
    Ok(())
}

/// A certificate that this appliance issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Serial number, lower-case hex.
    pub serial: String,
    /// The endpoint it names.
    pub endpoint: EndpointId,
    /// The job it was issued in.
    pub job: JobId,
    /// SHA-256 of its key's SPKI, lower-case hex.
    pub key_sha256: String,
    /// DER.
    pub der: Vec<u8>,
    /// Milliseconds since 1970.
    pub issued: u64,
    /// Milliseconds since 1970.
    pub revoked: Option<u64>,
}

fn certificate_of(row: &Row) -> Result<Certificate, DbError> {
    Ok(Certificate {
        serial: number(row.try_get("serial")?),
        endpoint: id(row, "endpoint")?,
        job: id(row, "job")?,
        key_sha256: row.try_get("key_sha256")?,
        der: row.try_get("der")?,
        issued: num(row, "issued")?,
        revoked: num_opt(row, "revoked")?,
    })
}

/// Serial numbers and jobs of an endpoint's valid certificates, the newest first.
pub async fn valid_of(conn: &mut Conn, endpoint: &EndpointId) -> Result<Vec<(String, JobId)>, DbError> {
    let asked = query(
        "SELECT serial, job FROM certificate WHERE endpoint = $1 AND revoked IS NULL ORDER BY issued DESC",
    );
    let rows = asked.bind(endpoint.as_str()).fetch_all(conn).await?;
    rows.iter().map(|row| Ok((number(row.try_get("serial")?), id(row, "job")?))).collect()
}

/// The serial number in a row's key.
fn number(key: String) -> String {
    key.split_once('.').map_or_else(|| key.clone(), |(number, _)| number.to_owned())
}

/// Record a certificate; the very same one again changes nothing, another one of its serial number stands beside it.
pub async fn put_certificate(conn: &mut Conn, c: &Certificate) -> Result<(), DbError> {
    let sha256 = keys::spki_sha256(&c.der);
    let held = query("SELECT der FROM certificate WHERE serial = $1")
        .bind(&c.serial)
        .fetch_optional(&mut *conn)
        .await?;
    let key = match held.map(|row| row.try_get::<Vec<u8>>("der")).transpose()? {
        Some(der) if der == c.der => return Ok(()),
        Some(_) => format!("{}.{sha256}", c.serial),
        None => c.serial.clone(),
    };
    query(
        "INSERT INTO certificate (serial, endpoint, job, key_sha256, der, issued, sha256) VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (sha256) DO NOTHING",
    )
    .bind(key)
    .bind(c.endpoint.as_str())
    .bind(c.job.to_string())
    .bind(&c.key_sha256)
    .bind(&c.der)
    .bind(sql(c.issued))
    .bind(sha256)
    .execute(conn)
    .await?;
    Ok(())
}

/// This very certificate, if it is on record. `serial`: its number, by which those of before are found.
pub async fn certificate(conn: &mut Conn, der: &[u8], serial: &str) -> Result<Option<Certificate>, DbError> {
    let rows = query("SELECT * FROM certificate WHERE sha256 = $1 OR (sha256 IS NULL AND serial = $2)")
        .bind(keys::spki_sha256(der))
        .bind(serial)
        .fetch_all(conn)
        .await?;
    for row in &rows {
        let found = certificate_of(row)?;
        if found.der == der {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The request by which a key's certificate is asked for in a job: this one, where none is under way.
pub async fn est_request(
    conn: &mut Conn,
    job: JobId,
    key_sha256: &str,
    csr: &[u8],
    at: u64,
) -> Result<(Vec<u8>, bool), DbError> {
    let first = query(
        "INSERT INTO est_request (job, key_sha256, csr, asked) VALUES ($1, $2, $3, $4) ON CONFLICT (job, key_sha256) DO NOTHING",
    )
    .bind(job.to_string())
    .bind(key_sha256)
    .bind(csr)
    .bind(sql(at))
    .execute(&mut *conn)
    .await?;
    let row = query("SELECT csr FROM est_request WHERE job = $1 AND key_sha256 = $2")
        .bind(job.to_string())
        .bind(key_sha256)
        .fetch_one(conn)
        .await?;
    Ok((row.try_get("csr")?, first > 0))
}

/// It was answered.
pub async fn est_answered(conn: &mut Conn, job: JobId, key_sha256: &str) -> Result<(), DbError> {
    query("DELETE FROM est_request WHERE job = $1 AND key_sha256 = $2")
        .bind(job.to_string())
        .bind(key_sha256)
        .execute(conn)
        .await?;
    Ok(())
}

/// The EST secret of a job counts until this time at least, where it counts at all.
pub async fn extend_est(conn: &mut Conn, job: JobId, until: u64) -> Result<(), DbError> {
    query("UPDATE est_secret SET expires = $2 WHERE job = $1 AND voided IS NULL AND expires < $2")
        .bind(job.to_string())
        .bind(sql(until))
        .execute(conn)
        .await?;
    Ok(())
}

/// The certificate that a key got in a job, if it is not revoked.
pub async fn certificate_for(
    conn: &mut Conn,
    job: JobId,
    key_sha256: &str,
) -> Result<Option<Certificate>, DbError> {
    let row = query(
        "SELECT * FROM certificate WHERE job = $1 AND key_sha256 = $2 AND revoked IS NULL ORDER BY issued DESC LIMIT 1",
    )
    .bind(job.to_string())
    .bind(key_sha256)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(certificate_of).transpose()
}

/// The newest certificate of an endpoint that is not revoked: its serial number.
pub async fn serial_of(conn: &mut Conn, endpoint: &EndpointId) -> Result<Option<String>, DbError> {
    let row = query(
        "SELECT serial FROM certificate WHERE endpoint = $1 AND revoked IS NULL ORDER BY issued DESC LIMIT 1",
    )
    .bind(endpoint.as_str())
    .fetch_optional(conn)
    .await?;
    row.map(|row| row.try_get("serial").map(number)).transpose()
}

/// The newest certificate of every endpoint that has one and lost none since, by endpoint.
pub async fn serials(conn: &mut Conn) -> Result<std::collections::HashMap<String, String>, DbError> {
    let rows = query("SELECT endpoint, serial FROM certificate WHERE revoked IS NULL ORDER BY issued")
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("endpoint")?, number(row.try_get("serial")?)))).collect()
}

/// Certificates that were revoked, oldest first.
pub async fn revoked(conn: &mut Conn) -> Result<Vec<Certificate>, DbError> {
    let rows =
        query("SELECT * FROM certificate WHERE revoked IS NOT NULL ORDER BY revoked").fetch_all(conn).await?;
    rows.iter().map(certificate_of).collect()
}

/// Revoke all certificates of an endpoint; how many there were.
pub async fn revoke(conn: &mut Conn, endpoint: &EndpointId, at: u64) -> Result<u64, DbError> {
    let done = query("UPDATE certificate SET revoked = $2 WHERE endpoint = $1 AND revoked IS NULL")
        .bind(endpoint.as_str())
        .bind(sql(at))
        .execute(conn)
        .await?;
    Ok(done)
}
