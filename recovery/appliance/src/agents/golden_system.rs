//! The restored system: its first check-in with the job's enrolment ticket, and its later ones.
//!
//! ```text
//! ticket ─► job ─► GoldenHello ─► challenge ─► quote as the image predicts, after a reset ─► certified TLS key
//!    ─► ticket bound to TPM and key ─► GoldenProven ─► EST secret for this key
//! no ticket ─► endpoint by its TPM ─► challenge ─► quote as the image predicts ─► proven again, or integrity trigger
//! ```

use recovery_protocol::{
    EndpointId, JobId, Problem,
    agent::{BootedAs, CertifiedKey, EnrolOrder, Hello, HelloReply, ProofReply},
    job::{HoldReason, JobState, Stage},
    operator::EndpointState,
};
use runbooks::runbook::InjectKind;
use serde_json::json;

use super::{
    Agents, copied, facts,
    hello::{Asking, challenge, discover, tpm_hidden},
    identity,
    proof::{self, Asked, ISOLATE},
};
use crate::{
    attest::{self, BootExpectation, CertifiedTlsKey, Verdict, VerifiedQuote},
    config::Enrolment,
    db::{self, endpoint::Endpoint, session::Session, ticket::EnrolmentTicket},
    evidence::Fact,
    jobs::{
        job::{self, Refusal, What},
        journal::{JournalError, JournalTx},
    },
    keys,
    service::{Trigger, TriggerClass},
    tickets::{self, TicketError},
};

/// A trusted endpoint's accepted quotes are written down at most once in this time.
const PROVEN_EVERY_MS: u64 = 3_600_000;
/// Failed quotes in a row that make a trigger: a single one may be a reboot in the middle.
const FAILURES: u32 = 2;
/// What an endpoint lacks of what its blueprint asks for is written down at most once in this time.
const POSTURE_EVERY_MS: u64 = 24 * 3_600_000;

fn wait(seconds: u32, why: &str) -> HelloReply {
    HelloReply::Wait { seconds, why: why.to_owned() }
}

/// SHA-256 of the EK that a hello claims; empty without a TPM or with an unreadable one.
fn claimed_ek(hello: &Hello) -> String {
    let ek = hello.tpm.as_ref().and_then(|tpm| attest::EkPublic::parse(&tpm.ek_public.0).ok());
    ek.map(|ek| ek.hash().to_string()).unwrap_or_default()
}

pub async fn hello(agents: &Agents, hello: Hello) -> Result<HelloReply, Problem> {
    let mut tx = agents.0.journal.begin().await?;
    let ek = claimed_ek(&hello);
    let Some(shown) = &hello.enrolment_ticket else { return again(agents, tx, hello, &ek).await };
    let ticket = match tickets::enrolment(tx.conn(), shown).await {
        Ok(ticket) => ticket,
        Err(error) => {
            let endpoint = db::endpoint::by_mac(tx.conn(), &hello.inventory.macs).await?;
            let id = endpoint.map(|endpoint| endpoint.id);
            return Err(agents.refuse_in(tx, error.into(), id.as_ref(), None).await);
        }
    };
    let row =
        db::job::get(tx.conn(), ticket.job).await?.ok_or_else(|| Problem::from(TicketError::Foreign))?;
    let (id, job) = (row.job.endpoint.clone(), row.job.id);
    if let Err(error) = tickets::usable(&ticket, &ek) {
        // The endpoint itself, before it removed the ticket that it used.
        if ticket.ek_sha256.as_deref() == Some(ek.as_str()) && row.job.state == JobState::Recovered {
            return again(agents, tx, hello, &ek).await;
        }
        if matches!(error, TicketError::OtherTpm) {
            let what = What::Refused { reason: HoldReason::TicketRefused, detail: error.to_string() };
            held_or_over(tx.event(job, "agent", what).await)?;
        }
        return Err(agents.refuse_in(tx, error.into(), Some(&id), Some(job)).await);
    }
    let mut endpoint =
        db::endpoint::get(tx.conn(), &id).await?.ok_or_else(|| Problem::from(TicketError::Foreign))?;
    facts::learn(&mut tx, &mut endpoint, &hello).await?;
    endpoint.inventory = Some(hello.inventory.clone());
    endpoint.seen = Some(tx.at);
    db::endpoint::put(tx.conn(), &endpoint).await?;
    match tx.event(job, "agent", What::GoldenHello).await {
        Ok(_) => {}
        Err(JournalError::Refused(Refusal::Over | Refusal::NotNow(_))) => {
            tx.commit().await?;
            return Ok(wait(
                if row.job.state.is_over() { 60 } else { 3 },
                "the appliance is not ready for this yet",
            ));
        }
        Err(error) => return Err(error.into()),
    }
    match &hello.tpm {
        Some(tpm) => challenge(agents, tx, &id, Some(job), hello.inventory, tpm, Asking::WithTicket).await,
        None => without_tpm(agents, tx, &endpoint, job).await,
    }
}

/// A restored system without a TPM: its one-time ticket came back from the disk that was written. Nothing is measured.
async fn without_tpm(
    agents: &Agents,
    mut tx: JournalTx<'_>,
    endpoint: &Endpoint,
    job: JobId,
) -> Result<HelloReply, Problem> {
    if endpoint.ek_sha256.is_some() {
        return Err(agents.refuse_in(tx, tpm_hidden(&endpoint.id), Some(&endpoint.id), Some(job)).await);
    }
    if enrolment(agents, endpoint) == Enrolment::Est {
        let detail = format!(
            "{} has no TPM, but its blueprint {} enrols by EST; give it a blueprint with enrolment = \"none\"",
            endpoint.id, endpoint.record.blueprint
        );
        let reason = HoldReason::EnrolmentFailed;
        tx.event(job, "agent", What::Refused { reason, detail: detail.clone() }).await?;
        let problem = Problem::new(403, reason.code(), reason.what(), detail, reason.what_now());
        return Err(agents.refuse_in(tx, problem, Some(&endpoint.id), Some(job)).await);
    }
    tx.event(job, "agent", What::GoldenProven { proof: job::Proof::Paired, enrols: false }).await?;
    tx.commit().await?;
    Ok(wait(agents.0.journal.config.attest_every_s, "checked in"))
}

fn enrolment(agents: &Agents, endpoint: &Endpoint) -> Enrolment {
    proof::blueprint(agents, endpoint).map(|blueprint| blueprint.enrolment).unwrap_or_default()
}

/// A job that is over or held already stays so.
fn held_or_over<T>(result: Result<T, JournalError>) -> Result<(), Problem> {
    match result {
        Ok(_) | Err(JournalError::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A check-in without a ticket: an endpoint that was recovered before proves itself again.
async fn again(
    agents: &Agents,
    mut tx: JournalTx<'_>,
    hello: Hello,
    ek: &str,
) -> Result<HelloReply, Problem> {
    let every = agents.0.journal.config.attest_every_s;
    let by_ek = if ek.is_empty() { None } else { db::endpoint::by_ek(tx.conn(), ek).await? };
    let found = match by_ek {
        Some(endpoint) => Some((endpoint, false)),
        None => identity::selected(&mut tx, &hello.inventory).await?,
    };
    let Some((mut endpoint, by_dock)) = found.filter(|(e, _)| e.state != EndpointState::Discovered) else {
        return Err(discover(agents, tx, &hello.inventory).await);
    };
    let id = endpoint.id.clone();
    if endpoint.ek_sha256.as_deref().is_some_and(|pinned| pinned != ek) {
        let detail = format!("the TPM on record of {id} is another one");
        let problem =
            Problem::new(403, "identity-changed", "This is not the endpoint on record", detail, ISOLATE);
        return Err(agents.refuse_in(tx, problem, Some(&id), None).await);
    }
    if identity::only_a_person_can_tell(&endpoint, &hello, by_dock) {
        return Ok(wait(
            every,
            "it comes by the address of a dock, and nothing tells that it is this endpoint",
        ));
    }
    if let Some(problem) = identity::contradicts(&mut tx, &endpoint, &hello, by_dock).await? {
        return Err(agents.refuse_in(tx, problem, Some(&id), None).await);
    }
    facts::learn(&mut tx, &mut endpoint, &hello).await?;
    endpoint.inventory = Some(hello.inventory.clone());
    endpoint.seen = Some(tx.at);
    db::endpoint::put(tx.conn(), &endpoint).await?;
    if let Some(row) = db::job::open_of(tx.conn(), &id).await? {
        let expected = matches!(row.job.state, JobState::Working { stage } if (Stage::OsWait..=Stage::Enrolling).contains(&stage));
        if expected {
            let detail =
                "a restored system is expected with the ticket of its restore, and this one shows none";
            let remedy = "let it start from the disk that was restored; if it did, recover it again";
            let problem = Problem::new(403, "ticket-missing", "No enrolment ticket", detail, remedy);
            return Err(agents.refuse_in(tx, problem, Some(&id), Some(row.job.id)).await);
        }
        // One that is to reboot by itself proves first what it runs.
        if let (Some(tpm), Some(_)) = (&hello.tpm, &endpoint.ek_sha256)
            && agents.0.live.in_band.waits_for(&id) == Some(row.job.id)
        {
            return challenge(agents, tx, &id, None, hello.inventory, tpm, Asking::Again).await;
        }
        tx.commit().await?;
        return Ok(wait(every.min(30), "a recovery of this endpoint is under way"));
    }
    match (&hello.tpm, &endpoint.ek_sha256) {
        (Some(tpm), Some(_)) => challenge(agents, tx, &id, None, hello.inventory, tpm, Asking::Again).await,
        (None, _) | (_, None) => {
            tx.commit().await?;
            Ok(wait(every, "nothing is on record to prove against"))
        }
    }
}

pub async fn proof(
    agents: &Agents,
    mut tx: JournalTx<'_>,
    asked: Asked,
    tls_key: Option<CertifiedKey>,
) -> Result<ProofReply, Problem> {
    let endpoint = db::endpoint::get(tx.conn(), &asked.session.endpoint).await?;
    let endpoint = endpoint.ok_or_else(super::session_unknown)?;
    // What a person let through was put on record by the recovery system's proof.
    let identity = proof::identity(&mut tx, &endpoint, &asked.session.record.ek_sha256, &[]).await?;
    match asked.session.job.filter(|_| asked.session.record.ticket) {
        Some(job) => {
            if let Some(not_it) = identity {
                return Err(not_it.hold(agents, tx, &asked.session).await);
            }
            first(agents, tx, asked, endpoint, job, tls_key).await
        }
        None => {
            if let Some(not_it) = identity {
                let (title, detail) = ("Not the endpoint on record", not_it.detail());
                let problem = Problem::new(403, "identity-changed", title, detail, ISOLATE);
                return Err(agents.refuse_in(tx, problem, Some(&endpoint.id), None).await);
            }
            proven_again(agents, tx, asked, endpoint).await
        }
    }
}

/// What the golden image predicts, held against a true quote.
async fn judged(
    agents: &Agents,
    quote: &VerifiedQuote,
    image: images::ImageId,
    endpoint: &Endpoint,
    reset_since: Option<u32>,
) -> Result<Verdict, Problem> {
    let manifest = agents.0.golden.check(image).await?;
    let expected = BootExpectation {
        measurements: agents.0.expectations.golden(&manifest.header().measurements),
        firmware: proof::baseline(endpoint),
        require_secure_boot: proof::blueprint(agents, endpoint).is_some_and(|b| b.secure_boot),
        reset_since,
        tpm_firmware_min: proof::blueprint(agents, endpoint).and_then(|b| b.tpm_firmware_min),
    };
    Ok(attest::judge(quote, &expected))
}

/// The first proof after a restore.
async fn first(
    agents: &Agents,
    mut tx: JournalTx<'_>,
    asked: Asked,
    mut endpoint: Endpoint,
    job: JobId,
    tls_key: Option<CertifiedKey>,
) -> Result<ProofReply, Problem> {
    let Asked { mut session, ak, nonce, quote, sent } = asked;
    let not_proven = HoldReason::GoldenNotProven;
    let quote = match quote {
        Ok(quote) => quote,
        Err(error) => {
            let detail = proof::named(error.code(), &error);
            return Err(proof::hold(agents, tx, &session, not_proven, detail).await);
        }
    };
    if let Some(copied) = copied::by(&endpoint, &session, &quote) {
        return Err(copied.hold(agents, tx, &session, endpoint).await);
    }
    let row = db::job::get(tx.conn(), job).await?.ok_or_else(super::session_unknown)?;
    let reset_since = db::session::last_reset(tx.conn(), job).await?;
    let verdict = judged(agents, &quote, row.job.image, &endpoint, reset_since).await?;
    // One is right; more is a boot that nobody here saw.
    let resets = reset_since.map(|before| quote.clock().reset_count.saturating_sub(before));
    if !verdict.passed() {
        return Err(proof::hold_verdict(agents, tx, &session, &verdict, not_proven).await);
    }
    if let Some(why) = agents.0.live.injects.hits(&row.job, InjectKind::PcrMismatch, tx.at) {
        let detail = format!("the quote is taken for one that differs: {why}");
        return Err(proof::hold(agents, tx, &session, not_proven, detail).await);
    }
    if let Some(detail) = proof::not_vouched_for(agents, &endpoint, &session) {
        return Err(proof::hold(agents, tx, &session, HoldReason::EkNotCertified, detail).await);
    }
    session.record.accepted = true;
    session.record.reset_count = Some(quote.clock().reset_count);
    session.record.values = quote.pcrs().0.iter().map(|(pcr, value)| (*pcr, value.to_string())).collect();
    db::session::put(tx.conn(), &session).await?;
    endpoint.refusal = None;
    endpoint.proven = Some(tx.at);
    endpoint.seen = Some(tx.at);
    proof::pin(&mut endpoint, &session);
    endpoint.tpm_counted = Some(quote.clock().into());
    endpoint.boot_age = attest::boot_age(&quote).or(endpoint.boot_age);
    db::endpoint::put(tx.conn(), &endpoint).await?;
    let enrols = enrolment(agents, &endpoint) == Enrolment::Est;
    let key = match (enrols, tls_key) {
        (false, _) => None,
        (true, None) => return Err(agents.refuse_in(tx, no_key(), Some(&endpoint.id), Some(job)).await),
        (true, Some(key)) => {
            match attest::verify_certify(&ak, &nonce, &key.public.0, &key.attest.0, &key.signature.0) {
                Ok(key) => Some(key),
                Err(error) => {
                    let problem = key_refused(proof::named(error.code(), &error));
                    return Err(agents.refuse_in(tx, problem, Some(&endpoint.id), Some(job)).await);
                }
            }
        }
    };
    let more = json!({ "image": row.job.image, "resets_since_recovery_system": resets, "sent": sent });
    proof::note_quote(&mut tx, &session, &quote, &verdict, more).await?;
    tx.event(job, "agent", What::GoldenProven { proof: job::Proof::Quote, enrols }).await?;
    agents.0.live.count("attestation", "golden-passed");
    agents.0.live.spoke(&endpoint.id, BootedAs::GoldenSystem, tx.at);
    match key {
        Some(key) => enrol(agents, tx, &session, &endpoint.id, job, &key).await,
        None => {
            tx.commit().await?;
            let again_in_seconds = agents.0.journal.config.attest_every_s;
            Ok(ProofReply::Accepted { again_in_seconds, reboot_for: None })
        }
    }
}

fn no_key() -> Problem {
    let detail =
        "the proof of a restored system brings the TLS key that is to be enrolled, and this one brings none";
    Problem::new(
        400,
        "tls-key-missing",
        "No key to enrol",
        detail,
        "put the agent of this version into the golden image",
    )
}

fn key_refused(detail: String) -> Problem {
    Problem::new(403, "tls-key-not-certified", "The key is not held by this TPM", detail, ISOLATE)
}

/// Bind the ticket, and give the one-time EST secret for this key and no other.
async fn enrol(
    agents: &Agents,
    mut tx: JournalTx<'_>,
    session: &Session,
    id: &EndpointId,
    job: JobId,
    key: &CertifiedTlsKey,
) -> Result<ProofReply, Problem> {
    let key_sha256 = keys::spki_sha256(&key.spki_der());
    let ticket: EnrolmentTicket = match db::ticket::enrolment_of(tx.conn(), job).await? {
        Some(ticket) => ticket,
        None => return Err(TicketError::Foreign.into()),
    };
    if let Err(error) = tickets::bind(tx.conn(), &ticket, &session.record.ek_sha256, &key_sha256).await {
        let detail = error.to_string();
        return Err(proof::hold(agents, tx, session, HoldReason::TicketRefused, detail).await);
    }
    let at = tx.at;
    let password = tickets::issue_est(tx.conn(), job, id, &key_sha256, at).await?;
    tx.commit().await?;
    Ok(ProofReply::Enrol(EnrolOrder {
        job,
        path: "/.well-known/est/simpleenroll".to_owned(),
        user: job.to_string(),
        password,
        common_name: id.to_string(),
    }))
}

/// A later proof of an endpoint that was recovered before.
/// The job that waits for this endpoint to reboot by itself, as the journal has it now. Only whoever has just proven what it runs is asked;
/// the order is in evidence before it goes out.
async fn reboot_for(
    agents: &Agents,
    tx: &mut JournalTx<'_>,
    endpoint: &Endpoint,
) -> Result<Option<JobId>, Problem> {
    let Some(job) = agents.0.live.in_band.waits_for(&endpoint.id) else { return Ok(None) };
    let row = db::job::get(tx.conn(), job).await?;
    let powering = JobState::Working { stage: Stage::Powering };
    let Some(row) = row.filter(|row| row.job.state == powering && row.job.endpoint == endpoint.id) else {
        return Ok(None);
    };
    let facts = json!({ "into": "network, once" });
    let mut fact = Fact::new("order.reboot", "appliance", facts).about(&endpoint.id).of(Some(job));
    fact.mode = row.job.mode;
    tx.note(fact).await?;
    Ok(Some(job))
}

async fn proven_again(
    agents: &Agents,
    mut tx: JournalTx<'_>,
    asked: Asked,
    mut endpoint: Endpoint,
) -> Result<ProofReply, Problem> {
    let every = agents.0.journal.config.attest_every_s;
    let jobs = db::job::list(tx.conn(), Some(&endpoint.id), 50).await?;
    let last = jobs.into_iter().find(|row| row.job.state == JobState::Recovered);
    let Some(image) = last.map(|row| row.job.image) else {
        tx.commit().await?;
        return Ok(ProofReply::Accepted { again_in_seconds: every, reboot_for: None });
    };
    if let Ok(quote) = &asked.quote
        && let Some(copied) = copied::by(&endpoint, &asked.session, quote)
    {
        return Err(copied.hold(agents, tx, &asked.session, endpoint).await);
    }
    let wrong = match &asked.quote {
        Err(error) => Some(proof::named(error.code(), error)),
        Ok(quote) => {
            let verdict = judged(agents, quote, image, &endpoint, None).await?;
            if verdict.only_posture(proof::baseline(&endpoint).as_ref()) {
                posture(agents, &mut tx, &endpoint, &verdict).await?;
                None
            } else {
                (!verdict.passed()).then(|| verdict.to_string())
            }
        }
    };
    let Some(detail) = wrong else {
        endpoint.tpm_counted = asked.quote.as_ref().ok().map(|quote| quote.clock().into());
        endpoint.proven = Some(tx.at);
        endpoint.seen = Some(tx.at);
        endpoint.refusal = None;
        db::endpoint::put(tx.conn(), &endpoint).await?;
        let at = tx.at;
        if agents.0.live.first_in(&format!("{}/proven", endpoint.id), at, PROVEN_EVERY_MS) {
            let record = &asked.session.record;
            let facts = json!({
                "system": record.booted_as, "ek_sha256": record.ek_sha256, "image": image, "again": true,
                "written_at_most_every_ms": PROVEN_EVERY_MS,
            });
            tx.note(Fact::new("proof.quote", "agent", facts).about(&endpoint.id)).await?;
        }
        let reboot_for = reboot_for(agents, &mut tx, &endpoint).await?;
        tx.commit().await?;
        agents.0.live.count("attestation", "golden-passed");
        agents.0.live.forget_failures(&endpoint.id);
        agents.0.live.spoke(&endpoint.id, BootedAs::GoldenSystem, at);
        // Given once: an answer that is lost is a try that failed, and never a second reboot.
        let reboot_for = reboot_for.filter(|job| agents.0.live.in_band.give(&endpoint.id, *job));
        return Ok(ProofReply::Accepted { again_in_seconds: every, reboot_for });
    };
    agents.0.live.count("attestation", HoldReason::GoldenNotProven.code());
    let problem =
        Problem::new(403, "golden-not-proven", "Not what the golden image predicts", detail.clone(), ISOLATE);
    let problem = agents.refuse_in(tx, problem, Some(&endpoint.id), None).await;
    if agents.0.live.failed(&endpoint.id) >= FAILURES {
        report_integrity(agents, &asked.session, &endpoint, detail).await?;
    }
    Err(problem)
}

/// It booted what its image predicts, and lacks what its blueprint asks for by now. That is for a person and no trigger: whoever edits a
/// blueprint must not have every endpoint of it recovered, and a recovery would mend nothing.
async fn posture(
    agents: &Agents,
    tx: &mut JournalTx<'_>,
    endpoint: &Endpoint,
    verdict: &Verdict,
) -> Result<(), Problem> {
    for finding in &verdict.findings {
        agents.0.live.count("attestation", finding.code());
    }
    if agents.0.live.first_in(&format!("{}/posture", endpoint.id), tx.at, POSTURE_EVERY_MS) {
        tracing::warn!(endpoint = %endpoint.id, lacks = %verdict, "an endpoint lacks what its blueprint asks for");
        let facts = json!({ "lacks": verdict.findings, "why": verdict.to_string(), "written_at_most_every_ms": POSTURE_EVERY_MS });
        tx.note(Fact::new("alarm.posture", "agent", facts).about(&endpoint.id)).await?;
    }
    Ok(())
}

/// Our own proof that an endpoint is not what it should be: a confirmed integrity trigger.
async fn report_integrity(
    agents: &Agents,
    session: &Session,
    endpoint: &Endpoint,
    detail: String,
) -> Result<(), Problem> {
    let trigger = Trigger {
        source: "attestation".to_owned(),
        delivery_key: session.hash.clone(),
        endpoint: endpoint.id.clone(),
        class: TriggerClass::Integrity,
        raw: detail.clone().into_bytes(),
        reason: detail,
        confirmed: true,
    };
    let outcome = agents.0.service.trigger(trigger).await?;
    agents.0.live.forget_failures(&endpoint.id);
    tracing::warn!(endpoint = %endpoint.id, decision = ?outcome.decision, "integrity failure");
    Ok(())
}
