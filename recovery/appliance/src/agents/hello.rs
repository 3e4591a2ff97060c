//! A hello: which endpoint says it is here, whether there is a reason to talk to it, and a fresh question to its TPM.

use recovery_protocol::{
    AGENT_PROTOCOL, EndpointId, JobId, MacAddr, Problem,
    agent::{Base64, BootedAs, Challenge, Firmware, Hello, HelloReply, Inventory, TpmIdentity},
    erase::EraseMethod,
    health::DiskHealth,
    job::{HoldReason, JobState, Stage},
    operator::EndpointState,
};
use serde_json::json;

use super::{Agents, facts, golden_system, identity, questions::Questions};
use crate::{
    attest,
    db::{
        self,
        endpoint::{Endpoint, Pairing},
        job::JobRow,
        session::{self, Session},
    },
    evidence::Fact,
    jobs::{job::What, journal::JournalTx},
    keys, service,
};

/// Sessions kept for one endpoint.
const SESSIONS_KEPT: u32 = 16;
/// Longest text and longest list of an inventory that is kept.
const INVENTORY_TEXT_MOST: usize = 128;
const INVENTORY_LIST_MOST: usize = 64;
/// Most reasons of a disk's health that are kept; there are not as many.
const HEALTH_REASONS_MOST: usize = 8;

/// Refuse an agent that speaks another version of the protocol, whatever else it says. A job that waits for it is held at once:
/// the same agent would come again until the job's time is up. An Ethernet address proves nothing, so a job whose endpoint has
/// proven itself is left alone.
pub async fn check_version(agents: &Agents, said: &serde_json::Value) -> Result<(), Problem> {
    let protocol = match said.get("protocol").map(serde_json::Value::as_u64) {
        // No version at all, or no number: no agent's hello.
        None | Some(None) => return Ok(()),
        Some(Some(protocol)) if protocol == u64::from(AGENT_PROTOCOL) => return Ok(()),
        Some(Some(protocol)) => protocol,
    };
    let detail = format!("the agent speaks protocol {protocol}, this appliance {AGENT_PROTOCOL}");
    let remedy = "build the boot kit again with the agent of this appliance's version";
    let problem = Problem::new(400, "protocol-unknown", "Another protocol version", detail, remedy);
    let macs = said.pointer("/inventory/macs").cloned().unwrap_or_default();
    let mut macs: Vec<MacAddr> = serde_json::from_value(macs).unwrap_or_default();
    macs.truncate(INVENTORY_LIST_MOST);
    let mut tx = agents.0.journal.begin().await?;
    let Some(endpoint) = db::endpoint::by_mac(tx.conn(), &macs).await? else {
        return Err(agents.refuse_in(tx, problem, None, None).await);
    };
    let row = db::job::open_of(tx.conn(), &endpoint.id).await?;
    if let Some(row) = &row
        && matches!(row.job.state, JobState::Working { stage: Stage::Powering | Stage::AgentWait })
    {
        let (reason, detail) = (HoldReason::AgentVersion, problem.detail.clone());
        tx.event(row.job.id, "agent", What::Refused { reason, detail }).await?;
    }
    Err(agents.refuse_in(tx, problem, Some(&endpoint.id), row.map(|row| row.job.id)).await)
}

pub async fn take(agents: &Agents, mut hello: Hello) -> Result<HelloReply, Problem> {
    bound(&mut hello.inventory);
    if let Some(secure_boot) = &mut hello.inventory.secure_boot {
        secure_boot.site_key = secure_boot.find(agents.0.expectations.signer());
    }
    match hello.booted_as {
        BootedAs::RecoverySystem => recovery_system(agents, hello).await,
        BootedAs::GoldenSystem => golden_system::hello(agents, hello).await,
    }
}

/// What an agent says of itself is kept and shown: within bounds.
fn bound(inventory: &mut Inventory) {
    inventory.macs.truncate(INVENTORY_LIST_MOST);
    inventory.dock_macs.truncate(INVENTORY_LIST_MOST);
    inventory.disks.truncate(INVENTORY_LIST_MOST);
    inventory.disk_health.truncate(INVENTORY_LIST_MOST);
    inventory.disk_health.iter_mut().for_each(bound_health);
    inventory.disk_erase.truncate(INVENTORY_LIST_MOST);
    for offer in &mut inventory.disk_erase {
        offer.methods.truncate(EraseMethod::ALL.len());
        offer.against.truncate(HEALTH_REASONS_MOST);
        offer.against.iter_mut().for_each(bound_text);
    }
    inventory.addresses.truncate(INVENTORY_LIST_MOST);
    for list in
        inventory.secure_boot.iter_mut().flat_map(|secure_boot| [&mut secure_boot.db, &mut secure_boot.mok])
    {
        list.truncate(INVENTORY_LIST_MOST);
        list.iter_mut().for_each(bound_text);
    }
    bound_text(&mut inventory.hostname);
    let texts = [&mut inventory.vendor, &mut inventory.product, &mut inventory.serial, &mut inventory.uuid];
    texts.into_iter().for_each(bound_text);
    for disk in &mut inventory.disks {
        [&mut disk.model, &mut disk.transport].into_iter().chain(&mut disk.path).for_each(bound_text);
    }
}

fn bound_text(text: &mut String) {
    *text = text.chars().filter(|c| !c.is_control()).take(INVENTORY_TEXT_MOST).collect();
}

/// What an agent says of a disk, within the same bounds.
pub(super) fn bound_health(health: &mut DiskHealth) {
    health.reasons.truncate(HEALTH_REASONS_MOST);
    health.reasons.iter_mut().for_each(bound_text);
}

async fn recovery_system(agents: &Agents, hello: Hello) -> Result<HelloReply, Problem> {
    let mut tx = agents.0.journal.begin().await?;
    let Some((mut endpoint, by_dock)) = identity::selected(&mut tx, &hello.inventory).await? else {
        return Err(discover(agents, tx, &hello.inventory).await);
    };
    let nameless = identity::only_a_person_can_tell(&endpoint, &hello, by_dock);
    if endpoint.state != EndpointState::Discovered
        && !nameless
        && let Some(problem) = identity::contradicts(&mut tx, &endpoint, &hello, by_dock).await?
    {
        return Err(agents.refuse_in(tx, problem, Some(&endpoint.id), None).await);
    }
    if !nameless {
        facts::learn(&mut tx, &mut endpoint, &hello).await?;
        endpoint.inventory = Some(hello.inventory.clone());
        endpoint.seen = Some(tx.at);
        db::endpoint::put(tx.conn(), &endpoint).await?;
    }
    let id = endpoint.id.clone();
    if !nameless {
        agents.0.service.agent_spoke(&endpoint.record.macs);
    }
    if endpoint.state == EndpointState::Discovered {
        return Err(agents.refuse_in(tx, not_approved(&id), Some(&id), None).await);
    }
    let Some(row) = db::job::open_of(tx.conn(), &id).await? else {
        return Err(agents
            .refuse_in(tx, no_ticket(&id, "no recovery of it is under way"), Some(&id), None)
            .await);
    };
    // Nobody talks us out of a proof by hiding the TPM.
    if hello.tpm.is_none() && endpoint.ek_sha256.is_some() {
        return Err(agents.refuse_in(tx, tpm_hidden(&id), Some(&id), Some(row.job.id)).await);
    }
    if nameless && row.job.session.is_some() {
        // Whoever it is: the recovery system that a person or a proof accepted goes on.
        let problem =
            no_ticket(&id, "its recovery system was accepted already, and this one came by a dock's address");
        return Err(agents.refuse_in(tx, problem, Some(&id), Some(row.job.id)).await);
    }
    in_job(agents, tx, hello, endpoint, row).await
}

/// A recovery system of an endpoint with an open job.
async fn in_job(
    agents: &Agents,
    mut tx: JournalTx<'_>,
    hello: Hello,
    endpoint: Endpoint,
    row: JobRow,
) -> Result<HelloReply, Problem> {
    let (id, job) = (endpoint.id.clone(), row.job.id);
    let wait = |seconds, why: &str| Ok(HelloReply::Wait { seconds, why: why.to_owned() });
    match &row.job.state {
        JobState::Held { reason: HoldReason::PairingNeeded, .. } if hello.tpm.is_none() => {
            show_code(tx, endpoint, job, hello.inventory).await
        }
        JobState::Held { reason, .. } => {
            tx.commit().await?;
            wait(15, &format!("{} {}", reason.what(), reason.what_now()))
        }
        JobState::Working { stage } if *stage < Stage::Ticketed => {
            tx.commit().await?;
            wait(2, stage.label())
        }
        JobState::Working { stage } if *stage > Stage::ReadBack => {
            let problem = no_ticket(&id, "its ticket is spent: the disk is restored and boots next");
            let problem = Problem { code: "boot-ticket-spent".to_owned(), ..problem };
            Err(agents.refuse_in(tx, problem, Some(&id), Some(job)).await)
        }
        JobState::Working { .. } if !agents.0.journal.tickets.holds(job) => {
            Err(agents.refuse_in(tx, no_ticket(&id, "its ticket is void"), Some(&id), Some(job)).await)
        }
        JobState::Working { .. }
        | JobState::Recovered
        | JobState::Captured
        | JobState::Cancelled { .. }
        | JobState::Failed { .. } => match hello.tpm {
            None => {
                tx.event(job, "agent", What::PairingShown).await?;
                let endpoint = db::endpoint::get(tx.conn(), &id).await?.unwrap_or(endpoint);
                show_code(tx, endpoint, job, hello.inventory).await
            }
            Some(tpm) => {
                tx.event(job, "agent", What::AgentHello).await?;
                challenge(agents, tx, &id, Some(job), hello.inventory, &tpm, Asking::RecoverySystem).await
            }
        },
    }
}

/// In what rôle a TPM is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// The recovery system in a job.
    RecoverySystem,
    /// The restored system, with its job's enrolment ticket.
    WithTicket,
    /// The restored system, from time to time.
    Again,
}

/// A fresh question to a TPM, in a new session; commits.
pub async fn challenge(
    agents: &Agents,
    mut tx: JournalTx<'_>,
    id: &EndpointId,
    job: Option<JobId>,
    inventory: Inventory,
    tpm: &TpmIdentity,
    asking: Asking,
) -> Result<HelloReply, Problem> {
    let questions = match Questions::to(tpm, &agents.0.maker_roots) {
        Ok(questions) => questions,
        Err(problem) => return Err(agents.refuse_in(tx, problem, Some(id), job).await),
    };
    let (name, nonce) = (keys::secret()?, keys::random::<32>()?.to_vec());
    let session = Session {
        hash: keys::secret_hash(&name),
        endpoint: id.clone(),
        job,
        created: tx.at,
        record: session::Record {
            booted_as: match asking {
                Asking::RecoverySystem => BootedAs::RecoverySystem,
                Asking::WithTicket | Asking::Again => BootedAs::GoldenSystem,
            },
            ek_sha256: questions.ek_sha256,
            ak_public: tpm.ak_public.clone(),
            nonce: Some(Base64(nonce.clone())),
            secret_hash: questions.secret_hash,
            rsa_secret_hash: questions.rsa_secret_hash,
            tpm_firmware: None,
            pcrs: attest::QUOTED_PCRS.to_vec(),
            secure_boot: inventory.firmware == Firmware::UefiSecureBoot,
            accepted: false,
            reset_count: None,
            values: Default::default(),
            ticket: asking == Asking::WithTicket,
            disks: inventory.disks,
            ek_certificate: Some(questions.maker),
        },
    };
    db::session::put(tx.conn(), &session).await?;
    db::session::prune(tx.conn(), id, SESSIONS_KEPT).await?;
    tx.commit().await?;
    Ok(HelloReply::Challenge(Challenge {
        session: name,
        credential: Base64(questions.credential.blob),
        encrypted_secret: Base64(questions.credential.encrypted_secret),
        rsa: questions.rsa,
        nonce: Base64(nonce),
        pcrs: session.record.pcrs,
    }))
}

async fn show_code(
    mut tx: JournalTx<'_>,
    mut endpoint: Endpoint,
    job: JobId,
    inventory: Inventory,
) -> Result<HelloReply, Problem> {
    let name = keys::secret()?;
    let session = Session {
        hash: keys::secret_hash(&name),
        endpoint: endpoint.id.clone(),
        job: Some(job),
        created: tx.at,
        record: session::Record {
            booted_as: BootedAs::RecoverySystem,
            ek_sha256: String::new(),
            ak_public: Base64::default(),
            nonce: None,
            secret_hash: String::new(),
            rsa_secret_hash: String::new(),
            tpm_firmware: None,
            pcrs: Vec::new(),
            secure_boot: false,
            accepted: false,
            reset_count: None,
            values: Default::default(),
            ticket: false,
            disks: inventory.disks,
            ek_certificate: None,
        },
    };
    db::session::put(tx.conn(), &session).await?;
    db::session::prune(tx.conn(), &endpoint.id, SESSIONS_KEPT).await?;
    let code = format!("{:06}", u32::from_be_bytes(keys::random()?) % 1_000_000);
    endpoint.pairing = Some(Pairing { code: code.clone(), session: session.hash, wrong: 0 });
    db::endpoint::put(tx.conn(), &endpoint).await?;
    let fact = Fact::new("pairing.shown", "agent", json!({})).about(&endpoint.id).of(Some(job));
    tx.note(fact).await?;
    tx.commit().await?;
    Ok(HelloReply::Pair { session: name, code })
}

/// Put an unknown endpoint on the list of the discovered ones, and refuse it. Commits.
pub async fn discover(agents: &Agents, mut tx: JournalTx<'_>, inventory: &Inventory) -> Problem {
    match service::discovered(&mut tx, &inventory.macs, Some(inventory.clone()), "agent").await {
        Ok(id) => {
            let problem = id.as_ref().map_or_else(nobody, not_approved);
            agents.refuse_in(tx, problem, id.as_ref(), None).await
        }
        Err(problem) => problem,
    }
}

fn nobody() -> Problem {
    let detail = "none of its Ethernet addresses is on record";
    let remedy = "add it on the appliance (`groundstate endpoint add`), then start it again";
    Problem::new(403, "endpoint-unknown", "This endpoint is not known here", detail, remedy)
}

fn not_approved(id: &EndpointId) -> Problem {
    let detail = format!("it was discovered as {id}; nobody approved it");
    let remedy = "approve it on the appliance by giving it a name and a blueprint, then start it again";
    Problem::new(403, "endpoint-unknown", "This endpoint is not known here", detail, remedy)
}

fn no_ticket(id: &EndpointId, why: &str) -> Problem {
    let detail = format!("there is no live boot ticket for {id}: {why}");
    let remedy = "start it from its own disk; order a recovery on the appliance if it needs one";
    Problem::new(403, "no-boot-ticket", "No boot ticket", detail, remedy)
}

/// An endpoint that proved itself by its TPM before shows none now.
pub fn tpm_hidden(id: &EndpointId) -> Problem {
    let detail = format!("{id} has a TPM on record, and this system shows none");
    let remedy = "switch the TPM on in the firmware; if the board was replaced, add the endpoint anew";
    Problem::new(403, "tpm-missing", "The TPM is missing", detail, remedy)
}
