//! Table `session`: who speaks for an endpoint. A session's name is a secret; only its hash lies here.

use std::collections::BTreeMap;

use recovery_protocol::{
    EndpointId, JobId,
    agent::{Base64, BootedAs, DiskFacts},
    operator::EkCertificate,
};
use serde::{Deserialize, Serialize};

use super::{Conn, DbError, id, json, query, sql, text};

/// One session of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of its name, lower-case hex.
    pub hash: String,
    /// The endpoint it claims to be; proven only as far as `record.accepted` says.
    pub endpoint: EndpointId,
    /// The job it began in.
    pub job: Option<JobId>,
    /// Milliseconds since 1970.
    pub created: u64,
    /// The rest.
    pub record: Record,
}

/// What a session holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which system speaks.
    pub booted_as: BootedAs,
    /// SHA-256 of the EK's SPKI, lower-case hex; empty without a TPM.
    pub ek_sha256: String,
    /// `TPMT_PUBLIC` of the attestation key.
    pub ak_public: Base64,
    /// The nonce that the quote must carry; taken away by its first use.
    pub nonce: Option<Base64>,
    /// SHA-256 of the secret that only this TPM can unwrap, lower-case hex.
    pub secret_hash: String,
    /// The same for the RSA EK, where the maker certified that one; empty otherwise.
    #[serde(default)]
    pub rsa_secret_hash: String,
    /// The TPM's own firmware, as a true quote of this session told it.
    #[serde(default)]
    pub tpm_firmware: Option<u64>,
    /// PCRs asked for.
    pub pcrs: Vec<u8>,
    /// Secure Boot enforced, by its own word; the quote decides.
    pub secure_boot: bool,
    /// The quote (or the pairing) was accepted.
    pub accepted: bool,
    /// The TPM's reset counter in the accepted quote.
    pub reset_count: Option<u32>,
    /// What its PCRs held in the accepted quote, lower-case hex.
    #[serde(default)]
    pub values: BTreeMap<u8, String>,
    /// Restored system: it showed its job's enrolment ticket.
    pub ticket: bool,
    /// The disks that the endpoint named when this session began: its own word once it is accepted, a claim until then.
    #[serde(default)]
    pub disks: Vec<DiskFacts>,
    /// What the maker's certificate of the EK told when this session began.
    #[serde(default)]
    pub ek_certificate: Option<EkCertificate>,
}

/// One session by the hash of its name.
pub async fn get(conn: &mut Conn, hash: &str) -> Result<Option<Session>, DbError> {
    let row = query("SELECT * FROM session WHERE hash = $1").bind(hash).fetch_optional(conn).await?;
    row.map(|row| {
        let job: Option<String> = row.try_get("job")?;
        Ok(Session {
            hash: id(&row, "hash")?,
            endpoint: id(&row, "endpoint")?,
            job: job.map(|_| id(&row, "job")).transpose()?,
            created: super::num(&row, "created")?,
            record: json(&row, "record")?,
        })
    })
    .transpose()
}

/// Write a session whole.
pub async fn put(conn: &mut Conn, s: &Session) -> Result<(), DbError> {
    query(
        "INSERT INTO session (hash, endpoint, job, created, record) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (hash) DO UPDATE SET record = $5",
    )
    .bind(&s.hash)
    .bind(s.endpoint.as_str())
    .bind(s.job.map(|job| job.to_string()))
    .bind(sql(s.created))
    .bind(text("session", &s.record)?)
    .execute(conn)
    .await?;
    Ok(())
}

/// Forget sessions of an endpoint but the newest `keep`, so that a loop of hellos fills no disk.
pub async fn prune(conn: &mut Conn, endpoint: &EndpointId, keep: u32) -> Result<(), DbError> {
    query(
        "DELETE FROM session WHERE endpoint = $1 AND hash NOT IN \
         (SELECT hash FROM session WHERE endpoint = $1 ORDER BY created DESC LIMIT $2)",
    )
    .bind(endpoint.as_str())
    .bind(i64::from(keep))
    .execute(conn)
    .await?;
    Ok(())
}

const OF_JOB: &str = "SELECT record FROM session WHERE job = $1 ORDER BY created DESC";
const OF_ENDPOINT: &str = "SELECT record FROM session WHERE endpoint = $1 ORDER BY created DESC";

/// What `pick` finds in the newest session of these that has it.
async fn newest<T>(
    conn: &mut Conn,
    sessions: &'static str,
    of: &str,
    pick: impl Fn(Record) -> Option<T>,
) -> Result<Option<T>, DbError> {
    for row in &query(sessions).bind(of).fetch_all(conn).await? {
        if let Some(found) = pick(json(row, "record")?) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What the PCRs of the restored system held in its accepted quote in a job; empty: there is none.
pub async fn last_pcrs(conn: &mut Conn, job: JobId) -> Result<BTreeMap<u8, String>, DbError> {
    let golden = |record: &Record| record.accepted && record.booted_as == BootedAs::GoldenSystem;
    let values = |record| Some(record).filter(golden).map(|record| record.values);
    Ok(newest(conn, OF_JOB, &job.to_string(), values).await?.unwrap_or_default())
}

/// The firmware of an endpoint's TPM, as its newest true quote by this key told it.
pub async fn tpm_firmware(
    conn: &mut Conn,
    endpoint: &EndpointId,
    ek_sha256: &str,
) -> Result<Option<u64>, DbError> {
    let told = |record: Record| record.tpm_firmware.filter(|_| record.ek_sha256 == ek_sha256);
    newest(conn, OF_ENDPOINT, endpoint.as_str(), told).await
}

/// The TPM's reset counter in the newest accepted quote of the recovery system in a job.
pub async fn last_reset(conn: &mut Conn, job: JobId) -> Result<Option<u32>, DbError> {
    let recovery = |record: &Record| record.accepted && record.booted_as == BootedAs::RecoverySystem;
    let count = |record| Some(record).filter(recovery).map(|record| record.reset_count);
    Ok(newest(conn, OF_JOB, &job.to_string(), count).await?.flatten())
}
