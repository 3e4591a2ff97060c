//! What an agent shall do next, by the state of its job. Only the session that proved itself last gets an order.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use images::{Manifest, Verified, disk::ESP_TYPE};
use recovery_protocol::{
    JobId, Problem,
    agent::{Assignment, Base64, BootedAs, DiskFacts, DiskHints, DiskSelector, Next, RestoreOrder},
    erase::ErasePolicy,
    job::{HoldReason, JobState, Stage},
    operator::Mode,
    trust::EnrolmentTicket,
};
use runbooks::runbook::InjectKind;
use serde_json::json;

use super::{Agents, capture, exhibit, rehearsed, session_unknown};
use crate::{
    config::Blueprint,
    db::{self, DbError, endpoint::Endpoint, job::JobRow, session::Session},
    evidence::Fact,
    jobs::{
        job::What,
        journal::{JournalError, JournalTx},
    },
    refusals::unknown_endpoint,
    tickets,
};

pub(super) fn wait(seconds: u32, why: impl Into<String>) -> Assignment {
    Assignment::Wait { seconds, why: why.into() }
}

pub async fn take(agents: &Agents, reached: Reached, next: Next) -> Result<Assignment, Problem> {
    let session = agents.session(&next.session).await?;
    let assignment = choose(agents, reached, &session).await?;
    if matches!(assignment, Assignment::Reboot { .. }) {
        agents.0.live.left(&session.endpoint);
    }
    Ok(assignment)
}

async fn choose(agents: &Agents, reached: Reached, session: &Session) -> Result<Assignment, Problem> {
    let mut conn = agents.0.journal.db.read().await?;
    let job = session.job.ok_or_else(session_unknown)?;
    let row = db::job::get(&mut conn, job).await?.ok_or_else(session_unknown)?;
    let endpoint = db::endpoint::get(&mut conn, &session.endpoint).await?.ok_or_else(session_unknown)?;
    drop(conn);
    if session.record.booted_as == BootedAs::GoldenSystem {
        return Ok(wait(60, "check in again later"));
    }
    if let Some(pairing) = endpoint.pairing.as_ref().filter(|pairing| pairing.session == session.hash) {
        let why = format!("PAIRING CODE {}: compare it with the console and confirm it there", pairing.code);
        return Ok(wait(3, why));
    }
    if !session.record.accepted {
        return Err(session_unknown());
    }
    agents.0.live.spoke(&session.endpoint, BootedAs::RecoverySystem, agents.0.journal.now());
    match &row.job.state {
        JobState::Held { reason, detail, .. } => {
            let why = format!("{} {detail}. {}", reason.what(), reason.what_now());
            Ok(Assignment::Stop { why })
        }
        JobState::Recovered | JobState::Captured | JobState::Cancelled { .. } | JobState::Failed { .. } => {
            Ok(Assignment::Reboot { why: "This job is over.".to_owned() })
        }
        JobState::Working { stage: Stage::Capturing } if speaks(&row, session) => {
            capture::order(agents, reached, session, row, &endpoint).await
        }
        JobState::Working { stage: Stage::Imaging | Stage::ReadBack } if speaks(&row, session) => {
            order(agents, reached, session, row, endpoint).await
        }
        JobState::Working { stage: Stage::Proving } if speaks(&row, session) => {
            Ok(wait(2, "the source that asked for this recovery is asked once more"))
        }
        JobState::Working { stage } if *stage < Stage::AgentWait => Ok(wait(2, stage.label())),
        JobState::Working { stage } if *stage <= Stage::ReadBack => Err(session_unknown()),
        JobState::Working { stage: Stage::Disarming } => Ok(wait(1, Stage::Disarming.label())),
        JobState::Working { .. } => {
            Ok(Assignment::Reboot { why: "The golden image is on the disk.".to_owned() })
        }
    }
}

/// Relays that an endpoint is told of.
const RELAYS_MOST: usize = 2;

/// How an agent reached us.
#[derive(Debug, Clone, Copy)]
pub struct Reached {
    /// At which of our addresses.
    pub at: SocketAddr,
    /// From which of its own.
    pub peer: IpAddr,
}

fn speaks(row: &JobRow, session: &Session) -> bool {
    row.job.session.as_deref() == Some(session.hash.as_str())
}

async fn order(
    agents: &Agents,
    reached: Reached,
    session: &Session,
    row: JobRow,
    endpoint: Endpoint,
) -> Result<Assignment, Problem> {
    let job = row.job.id;
    if let Some(instead) = rehearsed::not_yet(agents, reached, &row, &endpoint).await? {
        return Ok(instead);
    }
    let manifest = match agents.0.golden.check(row.job.image).await {
        Ok(manifest) => manifest,
        Err(error) => {
            let what = What::Refused { reason: error.reason(), detail: error.to_string() };
            agents.0.journal.event(job, "appliance", what).await?;
            return Ok(wait(2, "the golden image cannot be used"));
        }
    };
    let mut tx = agents.0.journal.begin().await?;
    // As it is now: a person may have corrected the disk while the image was looked at.
    let id = &endpoint.id;
    let Some(endpoint) = db::endpoint::get(tx.conn(), id).await? else { return Err(unknown_endpoint(id)) };
    let blueprint = agents.0.journal.config.blueprints.get(&endpoint.record.blueprint);
    let serial = match disk_of(&endpoint, session, blueprint) {
        Ok(serial) => serial,
        Err(detail) => {
            drop(tx);
            let what = What::Refused { reason: HoldReason::DiskAmbiguous, detail };
            agents.0.journal.event(job, "appliance", what).await?;
            return Ok(wait(2, "it is not certain which disk is meant"));
        }
    };
    let erase = blueprint.map_or(ErasePolicy::None, |blueprint| blueprint.erase);
    let asked = What::OrderAsked { session: session.hash.clone(), disk: serial.clone(), erase };
    let row = match tx.event(job, "agent", asked).await {
        Ok(row) => row,
        Err(JournalError::Refused(_)) => return Ok(wait(1, "the job has just moved on")),
        Err(error) => return Err(error.into()),
    };
    let endpoint = pin_disk(&mut tx, endpoint, job, serial).await?;
    let mut order = make(agents, &mut tx, reached, &row, &endpoint, &manifest).await?;
    let injected = inject(agents, reached, &row, &mut order, tx.at);
    let facts = json!({
        "inject": injected,
        "step_seq": order.step_seq,
        "image": order.image,
        "disk": order.disk,
        "erase": order.erase,
        "give_up_preserved": order.give_up_preserved,
        "keep": order.keep,
        "settings": order.settings,
    });
    let mut fact = Fact::new("order.restore", "appliance", facts).about(&endpoint.id).of(Some(job));
    fact.mode = row.job.mode;
    tx.note(fact).await?;
    tx.commit().await?;
    Ok(Assignment::Restore(Box::new(order)))
}

/// What goes wrong on purpose with this order.
fn inject(
    agents: &Agents,
    reached: Reached,
    row: &JobRow,
    order: &mut RestoreOrder,
    now_ms: u64,
) -> Option<String> {
    let injects = &agents.0.live.injects;
    injects.fetches(&row.job, reached.peer);
    let other = injects.hits(&row.job, InjectKind::WrongDiskFitted, now_ms);
    if other.is_some() {
        // No disk has it: whatever is in the endpoint, it is the wrong one. The one on record stays.
        order.disk.serial = Some("INJECTED-NO-SUCH-DISK".to_owned());
    }
    other
}

/// The serial number of the endpoint's disk: as on record, else that of the only fixed disk that the proven session named.
/// The endpoint's inventory is no source: any hello writes it. An order never says "the only disk that is large enough":
/// when the system disk is dead, that is somebody's data.
pub(super) fn disk_of(
    endpoint: &Endpoint,
    session: &Session,
    blueprint: Option<&Blueprint>,
) -> Result<String, String> {
    if let Some(serial) = &endpoint.record.disk_serial {
        return Ok(serial.clone());
    }
    let hints = blueprint.map(|blueprint| &blueprint.disk);
    let fixed: Vec<_> =
        session.record.disks.iter().filter(|disk| !disk.removable && disk.transport != "usb").collect();
    let fits = |disk: &&&DiskFacts| hints.is_none_or(|hints| hints.fit(disk));
    let candidates: Vec<&DiskFacts> = fixed.iter().filter(fits).copied().collect();
    match candidates.as_slice() {
        [DiskFacts { serial: Some(serial), .. }] => Ok(serial.clone()),
        _ => {
            let shown = fixed.iter().map(|disk| {
                let (serial, gigabytes) =
                    (disk.serial.as_deref().unwrap_or("none"), disk.size_bytes / 1_000_000_000);
                let at = disk.path.as_deref().map_or_else(String::new, |path| format!(" at {path}"));
                format!("{} {gigabytes} GB{at}, serial {serial}", disk.transport)
            });
            let shown = shown.collect::<Vec<_>>().join("; ");
            Err(format!(
                "no disk is on record for this endpoint, and {} of its {} fixed ones fit its blueprint: {shown}",
                candidates.len(),
                fixed.len()
            ))
        }
    }
}

/// The disk of this serial number, if it is what the blueprint's disks are like.
pub(super) fn selector(serial: Option<String>, blueprint: Option<&Blueprint>) -> DiskSelector {
    let hints = blueprint.map(|blueprint| blueprint.disk.clone()).unwrap_or_default();
    let DiskHints { transport, rotational, path, max_size_bytes } = hints;
    DiskSelector { serial, max_size_bytes, transport, rotational, path, ..DiskSelector::default() }
}

/// Put the disk on record when it is not: from the first order on, only this one is ever written.
async fn pin_disk(
    tx: &mut JournalTx<'_>,
    mut endpoint: Endpoint,
    job: JobId,
    serial: String,
) -> Result<Endpoint, DbError> {
    if endpoint.record.disk_serial.is_none() {
        let fact = Fact::new("endpoint.disk-pinned", "appliance", json!({ "serial": serial }));
        tx.note(fact.about(&endpoint.id).of(Some(job))).await?;
        endpoint.record.disk_serial = Some(serial);
        db::endpoint::put(tx.conn(), &endpoint).await?;
    }
    Ok(endpoint)
}

async fn make(
    agents: &Agents,
    tx: &mut JournalTx<'_>,
    reached: Reached,
    row: &JobRow,
    endpoint: &Endpoint,
    manifest: &Verified<Manifest>,
) -> Result<RestoreOrder, Problem> {
    let job = row.job.id;
    let header = manifest.header();
    let blueprint = agents.0.journal.config.blueprints.get(&endpoint.record.blueprint);
    let least = blueprint.map_or(0, |blueprint| blueprint.min_disk_bytes);
    let mut esp_files = BTreeMap::new();
    if header.table.partitions.iter().any(|partition| partition.type_guid == ESP_TYPE) {
        let now = tx.at;
        let ticket = EnrolmentTicket {
            job,
            endpoint: endpoint.id.to_string(),
            appliance: reached.at.to_string(),
            appliance_spki_sha256: agents.0.keys.spki_sha256.clone(),
            secret: tickets::issue_enrolment(tx.conn(), job, now).await?,
        };
        let text = serde_json::to_vec(&ticket).map_err(|e| {
            let remedy = "look at the appliance's log";
            Problem::new(500, "ticket-unwritable", "No enrolment ticket could be made", e.to_string(), remedy)
        })?;
        esp_files.insert(EnrolmentTicket::ESP_PATH.to_owned(), Base64(text));
    }
    let keep = exhibit::order(agents, tx, row, blueprint).await?;
    Ok(RestoreOrder {
        job,
        keep,
        step_seq: row.job.step_seq,
        image: row.job.image,
        manifest_urls: agents.source_urls(reached, &format!("/v1/manifests/{}", row.job.image)),
        frames_urls: agents.source_urls(reached, "/v1/frames"),
        disk: DiskSelector {
            min_size_bytes: header.disk.size.max(least),
            ..selector(endpoint.record.disk_serial.clone(), blueprint)
        },
        endpoint: endpoint.id.to_string(),
        drill: row.job.mode == Mode::Drill,
        settings: endpoint.record.settings.clone(),
        give_up_preserved: row.job.give_up_preserved,
        erase: if row.job.lacks_erasure() { row.job.erase } else { ErasePolicy::None },
        read_back_all: blueprint.is_some_and(|blueprint| blueprint.read_back_all),
        esp_files,
    })
}

impl Agents {
    /// Where an endpoint at `peer` that reached us `at` gets what is public: from the relays of its network, here, then from
    /// the other appliances. It is no relay for itself.
    pub(super) fn source_urls(&self, Reached { at, peer }: Reached, path: &str) -> Vec<String> {
        let serving = &self.0.journal.config.serving;
        let beside = serving.relays.iter().filter(|relay| relay.subnet.holds(peer)).map(|relay| relay.at.0);
        let relays = beside.filter(|relay| relay.ip() != peer).take(RELAYS_MOST);
        let here = SocketAddr::new(at.ip(), self.0.http_port);
        let all = relays.chain([here]).chain(serving.also.iter().map(|other| other.0));
        all.map(|at| format!("http://{}{path}", url_host(&at))).collect()
    }
}

/// The address as it stands in a URL: IPv6 in brackets, the usual port left out (RFC 3986, section 3.2).
fn url_host(address: &SocketAddr) -> String {
    match (address, address.port()) {
        (SocketAddr::V4(v4), 80) => v4.ip().to_string(),
        (SocketAddr::V6(v6), 80) => format!("[{}]", v6.ip()),
        (address, _) => address.to_string(),
    }
}
