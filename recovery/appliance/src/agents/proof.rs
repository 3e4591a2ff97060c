//! A proof: does the TPM that we asked hold the keys, is its quote true, is it the TPM on record, did it boot what it
//! should? In this order; the first miss ends, by its own name.
//!
//! | miss | recovery system in a job | restored system in a job | trusted endpoint |
//! |---|---|---|---|
//! | nonce spent or old, credential not opened | refused: it may be anybody | refused | refused |
//! | quote not true | held: recovery-system-not-proven | held: golden-not-proven | twice: integrity trigger |
//! | another TPM than on record | held: identity-changed | held: identity-changed | refused |
//! | the TPM counts less than before | held: tpm-copied | held: tpm-copied | refused, and no recovery until a person resolves it |
//! | not what was predicted | held: recovery-system-not-proven | held: golden-not-proven | twice: integrity trigger |
//! | EK certificate of another key | refused at the hello | refused at the hello | refused at the hello |
//! | TPM not on record, no maker known vouches for it, and the blueprint wants one | held: ek-not-certified | held: ek-not-certified | – |
//! | Secure Boot off where the blueprint wants it | held: secure-boot-off | held: secure-boot-off | off since its recovery: alarm.posture, no trigger; else twice: integrity trigger |
//! | TPM's own firmware older than the blueprint takes | held: tpm-firmware-old | held: tpm-firmware-old | alarm.posture, no trigger; a recovery is held before it fences |
//! | firmware that nobody of its hardware class has, where the blueprint wants that | held: firmware-changed | - | - |
//! | only firmware changed | held: firmware-changed | held: firmware-changed | twice: integrity trigger |

use recovery_protocol::{
    JobId, Problem,
    agent::{Base64, BootedAs, Proof, ProofReply},
    job::HoldReason,
    operator::EkCertificate,
    tpm::{PcrMask, PcrValues, Sha256},
};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::{Agents, copied, golden_system, session_unknown};
use crate::{
    attest::{
        self, AkPublic, BootExpectation, Counted, FirmwareBaseline, QuoteEvidence, Verdict, VerifiedQuote,
    },
    chain::chain,
    config::{Blueprint, EkCertificatePolicy, FirmwareBaseline as Baselines},
    db::{self, endpoint::Endpoint, session::Session},
    evidence::Fact,
    jobs::{
        job::{self, Seen, What},
        journal::{JournalError, JournalTx},
    },
    keys,
};

/// A question is answered within this time, or asked anew.
const NONCE_MS: u64 = 300_000;

/// A quote that is true, of a TPM that opened our credential. What it says is still to be judged.
pub struct Asked {
    /// The session that proves itself.
    pub session: Session,
    /// The attestation key.
    pub ak: AkPublic,
    /// The nonce that was answered.
    pub nonce: Vec<u8>,
    /// The quote, or why it is not true.
    pub quote: Result<VerifiedQuote, attest::QuoteError>,
    /// What was sent, for whoever wants to check it again.
    pub sent: serde_json::Value,
}

/// A proof as it came, so that an auditor can check it without us: `tpm2_checkquote` takes key, attestation, signature and nonce. Of the event
/// log its hash is kept; what it leads to are the values.
fn sent(proof: &Proof, ak_public: &Base64, nonce: &Base64) -> serde_json::Value {
    json!({
        "ak_public": ak_public, "nonce": nonce, "attest": proof.quote, "signature": proof.signature, "pcrs": proof.pcrs,
        "event_log_sha256": keys::spki_sha256(&proof.event_log.0),
    })
}

pub async fn take(agents: &Agents, proof: Proof) -> Result<ProofReply, Problem> {
    let mut tx = agents.0.journal.begin().await?;
    let hash = keys::secret_hash(&proof.session);
    let mut session = db::session::get(tx.conn(), &hash).await?.ok_or_else(session_unknown)?;
    let (id, job) = (session.endpoint.clone(), session.job);
    // Single use: whatever comes of it, this nonce is not answered again.
    let nonce = session.record.nonce.take();
    db::session::put(tx.conn(), &session).await?;
    let Some(nonce) = nonce.filter(|_| tx.at.saturating_sub(session.created) < NONCE_MS) else {
        let detail = "the question was answered before, or more than five minutes ago";
        let problem = Problem::new(409, "nonce-spent", "Not a fresh proof", detail, "say hello again");
        return Err(agents.refuse_in(tx, problem, Some(&id), job).await);
    };
    if let Some(detail) = not_opened(&session, &proof) {
        let problem =
            Problem::new(403, "credential-not-opened", "The TPM did not prove itself", detail, ISOLATE);
        agents.0.live.count("attestation", "credential");
        return Err(agents.refuse_in(tx, problem, Some(&id), job).await);
    }
    let ak = AkPublic::parse(&session.record.ak_public.0).map_err(|e| super::questions::tpm_unfit(&e))?;
    let values = pcr_values(&proof)?;
    let evidence = QuoteEvidence {
        attest: &proof.quote.0,
        signature: &proof.signature.0,
        pcrs: &values,
        event_log: &proof.event_log.0,
    };
    let quote = attest::verify_quote(&ak, &nonce.0, PcrMask::of(&session.record.pcrs), &evidence);
    // True, whatever else is found: on record for whoever decides about the next recovery.
    if let Ok(quote) = &quote {
        session.record.tpm_firmware = Some(quote.firmware_version());
        db::session::put(tx.conn(), &session).await?;
    }
    let sent = sent(&proof, &session.record.ak_public, &nonce);
    let asked = Asked { session, ak, nonce: nonce.0, quote, sent };
    match asked.session.record.booted_as {
        BootedAs::RecoverySystem => recovery_system(agents, tx, asked).await,
        BootedAs::GoldenSystem => golden_system::proof(agents, tx, asked, proof.tls_key).await,
    }
}

/// Which credential was not opened.
fn not_opened(session: &Session, proof: &Proof) -> Option<&'static str> {
    let opened =
        |secret: &[u8], hash: &str| bool::from(keys::spki_sha256(secret).as_bytes().ct_eq(hash.as_bytes()));
    let (record, rsa) = (&session.record, proof.activated_rsa.as_ref());
    if !opened(&proof.activated.0, &record.secret_hash) {
        return Some(
            "the endpoint did not open the credential: its attestation key is not in the TPM that it names",
        );
    }
    let rsa_opened = rsa.is_some_and(|secret| opened(&secret.0, &record.rsa_secret_hash));
    (!record.rsa_secret_hash.is_empty() && !rsa_opened).then_some(
        "the endpoint did not open the credential for the RSA key that its maker certified: that key is in another TPM",
    )
}

/// What a check found, with the check's own name: the sentence may be put better one day, the name stays.
pub fn named(check: &str, error: &dyn std::error::Error) -> String {
    format!("{} (check {check})", chain(error))
}

/// What to tell a person about an endpoint that may not be itself.
pub const ISOLATE: &str = "do not trust this endpoint: isolate it and look at the appliance's console";

fn pcr_values(proof: &Proof) -> Result<PcrValues, Problem> {
    let mut values = PcrValues::default();
    for (index, value) in &proof.pcrs {
        let bytes: [u8; 32] = value.0.as_slice().try_into().map_err(|_| {
            let detail = format!("PCR {index} has {} bytes; a SHA-256 PCR has 32", value.0.len());
            Problem::new(400, "message-unreadable", "The message cannot be read", detail, "use our agent")
        })?;
        values.0.insert(*index, Sha256::from(bytes));
    }
    Ok(values)
}

/// Hold a job for what a proof lacked, write the refusal down, and give it back.
pub async fn hold(
    agents: &Agents,
    tx: JournalTx<'_>,
    session: &Session,
    reason: HoldReason,
    detail: String,
) -> Problem {
    hold_as(agents, tx, session, reason, What::Refused { reason, detail: detail.clone() }, detail).await
}

/// As [`hold`], for what a person may let through: exactly what was seen.
pub async fn hold_for(
    agents: &Agents,
    tx: JournalTx<'_>,
    session: &Session,
    (seen, detail): (Seen, String),
) -> Problem {
    let reason = seen.reason();
    hold_as(agents, tx, session, reason, What::Differs { seen, detail: detail.clone() }, detail).await
}

async fn hold_as(
    agents: &Agents,
    mut tx: JournalTx<'_>,
    session: &Session,
    reason: HoldReason,
    what: What,
    detail: String,
) -> Problem {
    agents.0.live.count("attestation", reason.code());
    let problem = Problem::new(403, reason.code(), reason.what(), detail, reason.what_now());
    if let Some(job) = session.job {
        match tx.event(job, "agent", what).await {
            // A job that moved on is not held for an old proof.
            Ok(_) | Err(JournalError::Refused(_) | JournalError::UnknownJob(_)) => {}
            Err(JournalError::Db(error)) => return error.into(),
        }
    }
    agents.refuse_in(tx, problem, Some(&session.endpoint), session.job).await
}

/// Why a TPM may not speak for an endpoint.
pub enum NotIt {
    /// Another one is on record; a person may let this one through.
    Another(Seen, String),
    /// It is another endpoint's: nobody may.
    Anothers(String),
}

impl NotIt {
    /// For a person.
    pub fn detail(self) -> String {
        match self {
            Self::Another(_, detail) | Self::Anothers(detail) => detail,
        }
    }

    /// Hold the job for it.
    pub async fn hold(self, agents: &Agents, tx: JournalTx<'_>, session: &Session) -> Problem {
        match self {
            Self::Another(seen, detail) => hold_for(agents, tx, session, (seen, detail)).await,
            Self::Anothers(detail) => hold(agents, tx, session, HoldReason::IdentityChanged, detail).await,
        }
    }
}

/// Whether this TPM may speak for the endpoint: it is the pinned one, or the one that a person let through in this job, or none is pinned;
/// and no other endpoint has it.
pub async fn identity(
    tx: &mut JournalTx<'_>,
    endpoint: &Endpoint,
    ek_sha256: &str,
    allowed: &[Seen],
) -> Result<Option<NotIt>, Problem> {
    if endpoint.ek_sha256.as_deref() == Some(ek_sha256) {
        return Ok(None);
    }
    let other = db::endpoint::by_ek(tx.conn(), ek_sha256).await?.filter(|other| other.id != endpoint.id);
    if let Some(other) = other {
        return Ok(Some(NotIt::Anothers(format!("the TPM {ek_sha256} belongs to {}", other.id))));
    }
    let seen = Seen::Tpm { ek_sha256: ek_sha256.to_owned() };
    Ok(endpoint
        .ek_sha256
        .as_ref()
        .filter(|_| !allowed.contains(&seen))
        .map(|pinned| NotIt::Another(seen, format!("the TPM is {ek_sha256}, on record is {pinned}"))))
}

/// Hold a job for this verdict: what a person can mend in the firmware's setup, and what they may let through, have names of their own.
pub async fn hold_verdict(
    agents: &Agents,
    tx: JournalTx<'_>,
    session: &Session,
    verdict: &Verdict,
    otherwise: HoldReason,
) -> Problem {
    let detail = verdict.to_string();
    if verdict.only_tpm_firmware_old() {
        hold(agents, tx, session, HoldReason::TpmFirmwareOld, detail).await
    } else if verdict.only_secure_boot_off() {
        hold(agents, tx, session, HoldReason::SecureBootOff, detail).await
    } else if verdict.only_firmware_changed() {
        let seen = Seen::Firmware { baseline: json!(verdict.firmware) };
        hold_for(agents, tx, session, (seen, detail)).await
    } else {
        hold(agents, tx, session, otherwise, detail).await
    }
}

/// The endpoint's blueprint, while it is configured.
pub fn blueprint<'a>(agents: &'a Agents, endpoint: &Endpoint) -> Option<&'a Blueprint> {
    agents.0.journal.config.blueprints.get(&endpoint.record.blueprint)
}

/// Why a TPM that is not on record is not believed: its blueprint wants its maker's word, and it has none that counts.
pub fn not_vouched_for(agents: &Agents, endpoint: &Endpoint, session: &Session) -> Option<String> {
    let required =
        blueprint(agents, endpoint).map(|b| b.ek_certificate) == Some(EkCertificatePolicy::Required);
    let certificate = session.record.ek_certificate.as_ref();
    if !required || endpoint.ek_sha256.is_some() || certificate.is_some_and(EkCertificate::is_verified) {
        return None;
    }
    let said = certificate.unwrap_or(&EkCertificate::Absent);
    let roots = agents.0.maker_roots.len();
    Some(format!("EK certificate: {said}; {roots} certificates of makers are configured here"))
}

/// Why the firmware of an endpoint that shows it for the first time is not put on record by itself: its blueprint wants that of its hardware
/// class, and nobody of that class has it. The first of a class has nobody to be like; its order was approved by a person.
async fn unlike_its_class(
    agents: &Agents,
    tx: &mut JournalTx<'_>,
    endpoint: &Endpoint,
    verdict: &Verdict,
) -> Result<Option<String>, Problem> {
    let blueprints = &agents.0.journal.config.blueprints;
    let Some(own) = blueprint(agents, endpoint).filter(|own| own.firmware_baseline == Baselines::Class)
    else {
        return Ok(None);
    };
    if endpoint.baseline.is_some() {
        return Ok(None);
    }
    let class = |other: &Endpoint| blueprints.get(&other.record.blueprint).map(|b| b.hardware_class.as_str());
    let all = db::endpoint::all(tx.conn()).await?;
    let others = all
        .iter()
        .filter(|other| other.id != endpoint.id && class(other) == Some(own.hardware_class.as_str()));
    let known: Vec<FirmwareBaseline> = others.filter_map(baseline).collect();
    let like = known.is_empty() || known.contains(&verdict.firmware);
    let firmware = &verdict.firmware;
    Ok((!like).then(|| {
        format!(
            "none of the {} others of class {} has this firmware: PCR 0 {}, PCR 2 {}, PCR 7 {} (check firmware-class)",
            known.len(),
            own.hardware_class,
            firmware.pcr0,
            firmware.pcr2,
            firmware.pcr7_config
        )
    }))
}

/// Put the session's TPM on record; says whether it is there for the first time.
pub fn pin(endpoint: &mut Endpoint, session: &Session) -> bool {
    let before = endpoint.ek_sha256.replace(session.record.ek_sha256.clone());
    endpoint.ek_certificate.clone_from(&session.record.ek_certificate);
    before.as_ref() != Some(&session.record.ek_sha256)
}

/// The endpoint as it is on record for this TPM: of another one than the pinned one, which a person let through, nothing is known yet.
fn as_known(mut endpoint: Endpoint, ek_sha256: &str) -> Endpoint {
    if endpoint.ek_sha256.as_deref().is_some_and(|pinned| pinned != ek_sha256) {
        (endpoint.ek_sha256, endpoint.ek_certificate, endpoint.baseline) = (None, None, None);
        endpoint.tpm_counted = None;
    }
    endpoint
}

/// On what the belief in an endpoint's TPM rests, as evidence says it.
fn rests_on(session: &Session) -> &'static str {
    match &session.record.ek_certificate {
        Some(EkCertificate::Verified { .. }) => "its maker's certificate",
        Some(_) | None => "the first approved recovery: weaker, no known maker vouches for this TPM",
    }
}

/// The firmware baseline on record.
pub fn baseline(endpoint: &Endpoint) -> Option<FirmwareBaseline> {
    endpoint.baseline.clone().and_then(|value| serde_json::from_value(value).ok())
}

async fn recovery_system(
    agents: &Agents,
    mut tx: JournalTx<'_>,
    asked: Asked,
) -> Result<ProofReply, Problem> {
    let Asked { mut session, quote, sent, .. } = asked;
    let job = session.job.ok_or_else(session_unknown)?;
    let endpoint = db::endpoint::get(tx.conn(), &session.endpoint).await?.ok_or_else(session_unknown)?;
    let allowed = db::job::get(tx.conn(), job).await?.ok_or_else(session_unknown)?.job.allowed;
    let not_proven = HoldReason::RecoverySystemNotProven;
    if let Some(not_it) = identity(&mut tx, &endpoint, &session.record.ek_sha256, &allowed).await? {
        return Err(not_it.hold(agents, tx, &session).await);
    }
    let mut endpoint = as_known(endpoint, &session.record.ek_sha256);
    let quote = match quote {
        Ok(quote) => quote,
        Err(error) => {
            return Err(hold(agents, tx, &session, not_proven, named(error.code(), &error)).await);
        }
    };
    if let Some(copied) = copied::by(&endpoint, &session, &quote) {
        return Err(copied.hold(agents, tx, &session, endpoint).await);
    }
    let verdict = judged(agents, &quote, &endpoint);
    let firmware = Seen::Firmware { baseline: json!(verdict.firmware) };
    if verdict.only_firmware_changed() && allowed.contains(&firmware) {
        endpoint.baseline = None;
    } else if !verdict.passed() {
        return Err(hold_verdict(agents, tx, &session, &verdict, not_proven).await);
    }
    if let Some(detail) = not_vouched_for(agents, &endpoint, &session) {
        return Err(hold(agents, tx, &session, HoldReason::EkNotCertified, detail).await);
    }
    if !allowed.contains(&firmware)
        && let Some(detail) = unlike_its_class(agents, &mut tx, &endpoint, &verdict).await?
    {
        return Err(hold_for(agents, tx, &session, (firmware, detail)).await);
    }
    session.record.accepted = true;
    session.record.reset_count = Some(quote.clock().reset_count);
    db::session::put(tx.conn(), &session).await?;
    let pinned = pin(&mut endpoint, &session);
    endpoint.tpm_counted = Some(quote.clock().into());
    endpoint.boot_age = attest::boot_age(&quote).or(endpoint.boot_age);
    endpoint.baseline = endpoint.baseline.or_else(|| serde_json::to_value(&verdict.firmware).ok());
    endpoint.refusal = None;
    endpoint.seen = Some(tx.at);
    db::endpoint::put(tx.conn(), &endpoint).await?;
    note_quote(&mut tx, &session, &quote, &verdict, json!({ "pinned_now": pinned, "sent": sent })).await?;
    let what = What::HardwareProven { session: session.hash.clone(), proof: job::Proof::Quote };
    tx.event(job, "agent", what).await?;
    let at = tx.at;
    tx.commit().await?;
    agents.0.live.count("attestation", "recovery-system-passed");
    agents.0.live.spoke(&endpoint.id, BootedAs::RecoverySystem, at);
    Ok(ProofReply::Accepted { again_in_seconds: 0, reboot_for: None })
}

/// Hold the quote against each way in which our boot kit can have been booted; the best one counts.
fn judged(agents: &Agents, quote: &VerifiedQuote, endpoint: &Endpoint) -> Verdict {
    let wanted = blueprint(agents, endpoint).is_some_and(|b| b.secure_boot);
    let tpm_firmware_min = blueprint(agents, endpoint).and_then(|b| b.tpm_firmware_min);
    let judge = |measurements, under_secure_boot: bool| {
        let firmware = baseline(endpoint);
        let require_secure_boot = wanted || under_secure_boot;
        attest::judge(
            quote,
            &BootExpectation {
                measurements,
                firmware,
                require_secure_boot,
                reset_since: None,
                tpm_firmware_min,
            },
        )
    };
    let ways = agents.0.expectations.ways();
    let verdicts = ways.map(|way| judge(way.measurements.clone(), way.under_secure_boot));
    let best = verdicts.min_by_key(|verdict| verdict.findings.len());
    best.unwrap_or_else(|| judge(Vec::new(), false))
}

/// An accepted quote, in evidence.
pub async fn note_quote(
    tx: &mut JournalTx<'_>,
    session: &Session,
    quote: &VerifiedQuote,
    verdict: &Verdict,
    more: serde_json::Value,
) -> Result<(), Problem> {
    let facts = json!({
        "system": session.record.booted_as, "ek_sha256": session.record.ek_sha256, "pcrs": session.record.pcrs,
        "tpm_counted": Counted::from(quote.clock()), "tpm_clock_safe": quote.clock().safe,
        "boot_age": attest::boot_age(quote), "secure_boot": verdict.secure_boot, "firmware": verdict.firmware,
        "tpm_firmware_version": quote.firmware_version(), "ek_certificate": session.record.ek_certificate,
        "identity_rests_on": rests_on(session), "more": more,
    });
    let mode = mode_of(tx, session.job).await?;
    let mut fact = Fact::new("proof.quote", "agent", facts).about(&session.endpoint).of(session.job);
    fact.mode = mode;
    Ok(tx.note(fact).await?)
}

async fn mode_of(
    tx: &mut JournalTx<'_>,
    job: Option<JobId>,
) -> Result<recovery_protocol::operator::Mode, Problem> {
    let row = match job {
        Some(job) => db::job::get(tx.conn(), job).await?,
        None => None,
    };
    Ok(row.map_or(recovery_protocol::operator::Mode::Real, |row| row.job.mode))
}
