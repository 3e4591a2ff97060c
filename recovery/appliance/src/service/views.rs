//! What people see: rows and signs of life as [`EndpointView`] and [`JobView`], with the sentences that say what is
//! happening and what to do now.

use std::collections::HashMap;

use recovery_protocol::{
    EndpointId, Problem,
    job::{HoldReason, JobState, Stage, Word},
    net::BootDiagnosis,
    operator::{EndpointView, JobKind, JobView, PhaseView, PlaneView},
};

use super::{Inner, approval, exhibits};
use crate::{
    db::{self, Conn, endpoint::Endpoint, job::JobRow},
    jobs::job::{Job, Proof},
};

/// What is said of an endpoint whose firmware asked to boot and had no ticket.
const TURNED_AWAY: &str = "its firmware asked to boot from the network and was sent to its own disk: there is no live boot \
                           ticket for it (no-boot-ticket)";

/// What a person is told to do where nothing else switches the endpoint.
pub const SWITCH_BY_HAND: &str = "Switch the endpoint off and on and choose network boot in its firmware.";
/// How the sentence of a job ends that was stopped in time.
pub const NOT_TOUCHED: &str = "the disk was not touched.";

/// An endpoint that shall boot, and of which nothing was seen for so long.
const UNSEEN_MS: u64 = 180_000;

/// The embedded control plane's registry, for whoever pulls it.
pub async fn plane(inner: &Inner, since: u64) -> Result<Vec<PlaneView>, Problem> {
    let all = db::plane::changed_since(&mut *inner.journal.db.read().await?, since).await?;
    let view = |db::plane::Changed { endpoint, sequence, known }| PlaneView {
        endpoint,
        sequence,
        generation: known.generation,
        trusted: known.trusted,
        registration: known.record,
        changed_unix_ms: known.changed,
    };
    Ok(all.into_iter().map(view).collect())
}

/// A stage's name in JSON.
pub fn stage_name(stage: Stage) -> String {
    serde_json::to_value(stage).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// One endpoint with its newest job.
pub async fn endpoint(inner: &Inner, conn: &mut Conn, endpoint: Endpoint) -> Result<EndpointView, Problem> {
    // Another endpoint may have had this name before.
    let newest =
        db::job::list(conn, Some(&endpoint.id), 1).await?.pop().filter(|row| row.asked >= endpoint.added);
    let certificate_serial = db::ticket::serial_of(conn, &endpoint.id).await?;
    let photo = db::photo::sha256_of(conn, &endpoint.id).await?;
    let newest = match newest {
        Some(row) => Some(job(inner, conn, row).await?),
        None => None,
    };
    Ok(EndpointView { photo, ..of_endpoint(inner, endpoint, newest, certificate_serial) })
}

/// Every one of these with its newest job, in a handful of questions to the database.
pub async fn endpoints(
    inner: &Inner,
    conn: &mut Conn,
    all: Vec<Endpoint>,
) -> Result<Vec<EndpointView>, Problem> {
    let mut newest: HashMap<EndpointId, JobRow> =
        db::job::newest(conn).await?.into_iter().map(|row| (row.job.endpoint.clone(), row)).collect();
    let mut phases = db::job::newest_phases(conn).await?;
    let mut serials = db::ticket::serials(conn).await?;
    let mut photos = db::photo::all(conn).await?;
    let view = |endpoint: Endpoint| {
        // Another endpoint may have had this name before.
        let row = newest.remove(&endpoint.id).filter(|row| row.asked >= endpoint.added);
        let job = row.map(|row| {
            let phases = phases.remove(&row.job.id).unwrap_or_default();
            of_job(inner, row, phases, Some(&endpoint))
        });
        let serial = serials.remove(endpoint.id.as_str());
        // Fact by fact only where one is shown: a list of thousands would be mostly that.
        let photo = photos.remove(endpoint.id.as_str());
        EndpointView { facts: Vec::new(), photo, ..of_endpoint(inner, endpoint, job, serial) }
    };
    Ok(all.into_iter().map(view).collect())
}

/// The same of a few of them: nothing is read of the others.
pub async fn some_endpoints(
    inner: &Inner,
    conn: &mut Conn,
    some: Vec<Endpoint>,
) -> Result<Vec<EndpointView>, Problem> {
    let names: Vec<EndpointId> = some.iter().map(|endpoint| endpoint.id.clone()).collect();
    let rows = db::job::newest_of(conn, &names).await?;
    let jobs: Vec<_> = rows.iter().map(|row| row.job.id).collect();
    let mut phases = db::job::phases_of(conn, &jobs).await?;
    let mut newest: HashMap<EndpointId, JobRow> =
        rows.into_iter().map(|row| (row.job.endpoint.clone(), row)).collect();
    let mut views = Vec::with_capacity(some.len());
    for endpoint in some {
        let serial = db::ticket::serial_of(conn, &endpoint.id).await?;
        let row = newest.remove(&endpoint.id).filter(|row| row.asked >= endpoint.added);
        let job = row.map(|row| {
            let phases = phases.remove(&row.job.id).unwrap_or_default();
            of_job(inner, row, phases, Some(&endpoint))
        });
        views.push(EndpointView { facts: Vec::new(), ..of_endpoint(inner, endpoint, job, serial) });
    }
    Ok(views)
}

fn of_endpoint(
    inner: &Inner,
    endpoint: Endpoint,
    newest: Option<JobView>,
    certificate_serial: Option<String>,
) -> EndpointView {
    let refusal = endpoint.refusal.or_else(|| {
        let at = inner.desk.refused().turned_away(&endpoint.record.macs)?;
        // Whoever proved itself since has nothing left to explain.
        endpoint.proven.is_none_or(|proven| proven < at).then(|| TURNED_AWAY.to_owned())
    });
    let safety_class = inner.journal.config.rails(&endpoint.record).safety_class;
    EndpointView {
        endpoint: endpoint.id,
        state: endpoint.state,
        blueprint: endpoint.record.blueprint,
        group: endpoint.record.group,
        macs: endpoint.record.macs,
        revision: endpoint.revision,
        labels: endpoint.record.labels,
        kind: endpoint.record.kind,
        safety_class,
        redundancy: endpoint.record.redundancy,
        chain: endpoint.record.chain,
        disk_serial: endpoint.record.disk_serial,
        power: endpoint.record.power,
        ek_sha256: endpoint.ek_sha256,
        ek_certificate: endpoint.ek_certificate,
        boot_age: endpoint.boot_age,
        drill_safe: endpoint.record.drill_safe,
        settings: endpoint.record.settings,
        inventory: endpoint.inventory,
        facts: endpoint.facts,
        pairing_code: endpoint.pairing.map(|pairing| pairing.code),
        seen_unix_ms: endpoint.seen,
        proven_unix_ms: endpoint.proven,
        certificate_serial,
        refusal,
        conflict: endpoint.conflict.and_then(|conflict| conflict.open),
        why_not: None,
        photo: None,
        job: newest,
    }
}

/// One job.
pub async fn job(inner: &Inner, conn: &mut Conn, row: JobRow) -> Result<JobView, Problem> {
    let phases = db::job::phases(conn, row.job.id).await?;
    let endpoint = db::endpoint::get(conn, &row.job.endpoint).await?;
    let exhibit = db::exhibit::get(conn, row.job.id).await?;
    let exhibit = exhibit.map(|exhibit| Box::new(exhibits::view(inner, exhibit)));
    Ok(JobView { exhibit, ..of_job(inner, row, phases, endpoint.as_ref()) })
}

fn of_job(inner: &Inner, row: JobRow, phases: Vec<PhaseView>, endpoint: Option<&Endpoint>) -> JobView {
    let (what, mut what_now) = sentences(inner, &row, endpoint);
    if let Some(how) = row.job.left.as_ref().filter(|_| !matches!(row.job.state, JobState::Working { .. })) {
        what_now = format!("Go to the endpoint: {how}. {what_now}").trim_end().to_owned();
    }
    if let Some(why) = &row.job.boot_left {
        let left = "A boot override or virtual CD of this job may still be set";
        what_now = format!("{left} ({why}): look at its BMC. {what_now}").trim_end().to_owned();
    }
    let approves = approval::of(&inner.journal.config, &row, endpoint);
    let moving = matches!(
        row.job.state,
        JobState::Working { stage: Stage::Capturing | Stage::Imaging | Stage::ReadBack }
    );
    let word = word(&row.job);
    JobView {
        kind: if row.job.capture.is_some() { JobKind::Capture } else { JobKind::Recovery },
        job: row.job.id,
        endpoint: row.job.endpoint,
        trigger: row.trigger,
        reason: row.reason,
        mode: row.job.mode,
        image_name: row.image_name,
        image: row.job.image,
        state: row.job.state,
        asked_unix_ms: row.asked,
        over_unix_ms: row.ended,
        limit_unix_ms: row.job.limit_unix_ms,
        phases,
        progress: inner.live.progress_of(row.job.id).filter(|_| moving),
        plan: row.job.plan,
        disk_health: row.job.disk_health,
        erased: row.job.erased.map(|erased| Box::new(erased.facts)),
        give_up_preserved: row.job.give_up_preserved,
        keep: row.job.keep,
        exhibit: None,
        break_glass: row.job.break_glass,
        restore: row.job.restore,
        captured: row.job.captured,
        accepted: row.accepted,
        word,
        what,
        what_now,
        approves,
    }
}

/// Whose word stands for the restored system, or is to.
fn word(job: &Job) -> Word {
    job.golden.map_or(job.word, Proof::word)
}

fn sentences(inner: &Inner, row: &JobRow, endpoint: Option<&Endpoint>) -> (String, String) {
    match &row.job.state {
        JobState::Working { stage } => working(inner, row, endpoint, *stage),
        JobState::Held { reason, detail, stage } => {
            let (what, what_now) = held(*reason, detail);
            match boot_trouble(inner, row, endpoint, *stage) {
                // Why it is held stays: what stopped its boot is said behind it.
                Some(trouble) if *reason == HoldReason::AgentSilent => (
                    format!("{what} {}.", capital(trouble.cause)),
                    format!("{}. {what_now}", capital(trouble.remedy)),
                ),
                Some(_) | None => (what, what_now),
            }
        }
        JobState::Recovered => {
            let (endpoint, image) = (&row.job.endpoint, &row.image_name);
            let what = match word(&row.job) {
                Word::CheckIn => format!("{endpoint} runs {image} again and has proven it."),
                Word::ControlPlane => format!(
                    "The disk of {endpoint} is {image} again, read back; that it runs is the word of a control plane, and no proof."
                ),
                Word::Person => format!(
                    "The disk of {endpoint} is {image} again, read back; that it runs is the word of a person, and no proof."
                ),
            };
            (what, String::new())
        }
        JobState::Captured => {
            let what = format!("The disk of {} is in the store as {}.", row.job.endpoint, row.image_name);
            (what, format!("Have it signed: `groundstate image sign {}`.", row.job.image))
        }
        JobState::Cancelled { stage } if row.job.touched => (
            format!(
                "Given up in the stage “{}”.{}",
                stage.label(),
                row.job.erases_itself().map(|what| format!(" {what}.")).unwrap_or_default()
            ),
            "The endpoint does not boot now; order a new recovery.".to_owned(),
        ),
        JobState::Cancelled { stage } => {
            (format!("Stopped in the stage “{}”; {NOT_TOUCHED}", stage.label()), String::new())
        }
        JobState::Failed { reason, detail, .. } => {
            let (what, _) = held(*reason, detail);
            (what, "The job was given up; order a new recovery when the cause is mended.".to_owned())
        }
    }
}

fn held(reason: HoldReason, detail: &str) -> (String, String) {
    let what =
        if detail.is_empty() { reason.what().to_owned() } else { format!("{} {detail}", reason.what()) };
    (what, reason.what_now().to_owned())
}

fn working(inner: &Inner, row: &JobRow, endpoint: Option<&Endpoint>, stage: Stage) -> (String, String) {
    let boots = (Stage::Ticketed..=Stage::AgentWait).contains(&stage);
    let seen = inner.desk.seen(&row.job.endpoint).filter(|seen| boots && seen.at >= row.asked);
    let refusal = endpoint.and_then(|e| e.refusal.as_ref());
    let label = stage.label();
    let trouble = boot_trouble(inner, row, endpoint, stage);
    let what = match (&trouble, seen, refusal) {
        (Some(trouble), _, _) => format!("{label}: {}", trouble.cause),
        (None, _, Some(refusal)) => format!("{label}; last refusal: {refusal}"),
        (None, Some(seen), None) => format!("{label}: it {}", seen.what),
        (None, None, None) => label.to_owned(),
    };
    let by_hand = endpoint.is_some_and(|e| e.record.power.by_hand());
    let loads = inner.desk.seen(&row.job.endpoint).is_some_and(|seen| seen.at >= row.job.entered_unix_ms);
    let what_now = match trouble {
        Some(trouble) => capital(trouble.remedy) + ".",
        None if stage == Stage::AgentWait && by_hand && !loads => SWITCH_BY_HAND.to_owned(),
        None => String::new(),
    };
    (capital(what) + ".", what_now)
}

/// Why an endpoint whose job waits for its boot does not come: what is the matter with its newest attempt since it was asked for, and
/// of an endpoint that is not heard of at all, after a while.
fn boot_trouble(
    inner: &Inner,
    row: &JobRow,
    endpoint: Option<&Endpoint>,
    stage: Stage,
) -> Option<BootDiagnosis> {
    if !(Stage::Ticketed..=Stage::AgentWait).contains(&stage) {
        return None;
    }
    let now = inner.journal.now();
    let found = inner.desk.diagnosis(&endpoint?.record.macs, row.asked, now);
    let late = now.saturating_sub(row.job.entered_unix_ms) > UNSEEN_MS;
    (found.is_trouble() || (found.code == "nothing-seen" && late)).then_some(found)
}

fn capital(mut text: String) -> String {
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
    }
    text
}
