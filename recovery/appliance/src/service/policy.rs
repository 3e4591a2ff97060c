//! A configuration tried against the past: what was reported is told again, in its order and at its times, to the very guard rails that
//! decide, with the other configuration.
//!
//! ```text
//! trigger_seen, job, endpoint ─► a database of its own, empty ─► report by report: scope, mode, guard rails ─► what would be
//!                                       ▲                                                                    │ begins, asks
//!                                       └────────────── an imagined job, open as long as such ones took ─────┘
//! ```
//!
//! A pure function of what is on record: the same past and text give the same answer. What people ordered happens as it did; what triggers
//! brought about happens as the other configuration would have it. It must never: change anything, ask anybody, or read a clock.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
};

use recovery_protocol::{
    EndpointId, JobId, Problem,
    operator::{EndpointState, Mode},
    policy::{PolicyTried, PolicyTry, Replayed, Would},
};

use super::{
    Inner,
    triggers::{self, Trigger, TriggerClass},
};
use crate::{
    config::{Config, GroupMode},
    db::{
        self, Conn, Db,
        endpoint::Endpoint,
        history::{self, Past, Reported},
        job::JobRow,
        trigger::{self, Delivery},
    },
    guard::{self, Verdict},
    jobs::{journal::proposal, limits::Limits, machine},
};

const DAY_MS: u64 = 24 * 3_600_000;
/// Most reports that are replayed, the newest ones.
const MOST: u64 = 5_000;
/// What an imagined recovery takes where its group has had none.
const USUAL_MS: u64 = 30 * 60_000;

/// The scratch directory in the data directory; what is called so is in no backup.
const SCRATCH: &str = "policy-try.new";

/// Try it.
///
/// # Errors
/// 422 `config-wrong` with the place, or a failing database.
pub async fn tried(inner: &Inner, wanted: PolicyTry) -> Result<PolicyTried, Problem> {
    let path = inner.journal.config.data_dir.join("policy-try.toml");
    let config = Config::parse_to_try(&wanted.config, &path).map_err(|error| {
        let remedy = "mend the file; nothing of it was put into effect";
        Problem::new(422, "config-wrong", "This configuration cannot be tried", error.to_string(), remedy)
    })?;
    let past = Told::read(&mut *inner.journal.db.read().await?, wanted.since_unix_ms).await?;
    let not_tried = |error: std::io::Error| {
        let remedy = "look at the disk of the data directory";
        Problem::new(500, "policy-not-tried", "This configuration cannot be tried", error.to_string(), remedy)
    };
    let scratch = inner.journal.config.data_dir.join(SCRATCH);
    std::fs::create_dir_all(&scratch).map_err(not_tried)?;
    let held = std::fs::File::open(&scratch).map_err(not_tried)?;
    match held.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let remedy = "try it again when that one has its answer";
            let (title, detail) = ("Another configuration is being tried", "they are tried one at a time");
            return Err(Problem::new(429, "policy-busy", title, detail, remedy));
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(not_tried(error)),
    }
    let scratch = Scratch(scratch);
    forget_tried(&inner.journal.config.data_dir);
    std::fs::create_dir_all(&scratch.0).map_err(not_tried)?;
    replay(&scratch.0, &config, past, wanted.since_unix_ms).await
}

/// What a crash has left of a try goes.
pub fn forget_tried(data_dir: &Path) {
    for name in ["past.db", "past.db-wal", "past.db-shm"] {
        let _ = std::fs::remove_file(data_dir.join(SCRATCH).join(name));
    }
    let _ = std::fs::remove_dir(data_dir.join(SCRATCH));
}

/// A directory that goes when this does.
struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a scratch database could not be removed");
        }
    }
}

/// What is on record.
pub struct Told {
    endpoints: Vec<Endpoint>,
    reports: Vec<Reported>,
    left_out: u64,
    jobs: Vec<Past>,
}

impl Told {
    /// A day before `since` is read, too: rules look back so far.
    async fn read(conn: &mut Conn, since: u64) -> Result<Self, Problem> {
        let from = since.saturating_sub(DAY_MS);
        let (reports, left_out) = history::reported(conn, from, MOST).await?;
        let endpoints = db::endpoint::all(conn).await?;
        Ok(Self { endpoints, reports, left_out, jobs: history::jobs(conn, from).await? })
    }
}

/// The scratch database while the past is told to it.
struct Telling<'a> {
    config: &'a Config,
    endpoints: HashMap<EndpointId, Endpoint>,
    /// Open jobs, and when and how each will be over.
    open: Vec<(u64, JobId, String)>,
    lasts: HashMap<String, u64>,
    told: u64,
}

async fn replay(directory: &Path, config: &Config, past: Told, since: u64) -> Result<PolicyTried, Problem> {
    let db = Db::open(&directory.join("past.db")).await?;
    // Never committed.
    let mut tx = db.begin().await?;
    let mut telling =
        Telling { config, endpoints: HashMap::new(), open: Vec::new(), lasts: HashMap::new(), told: 0 };
    for endpoint in past.endpoints {
        if endpoint.state == EndpointState::Discovered {
            continue;
        }
        let endpoint = Endpoint { state: EndpointState::Trusted, conflict: None, ..endpoint };
        db::endpoint::put(&mut tx, &endpoint).await?;
        telling.endpoints.insert(endpoint.id.clone(), endpoint);
    }
    let mut people = VecDeque::from(past.jobs);
    people.retain(|job| !job.trigger.starts_with(super::WEBHOOK) && job.trigger != triggers::OWN);
    let mut tried =
        PolicyTried { left_out: past.left_out, not_replayed: not_replayed(), ..PolicyTried::default() };
    for report in past.reports {
        let at = report.received;
        while people.front().is_some_and(|job| job.asked <= at) {
            if let Some(job) = people.pop_front() {
                telling.ordered(&mut tx, &job).await?;
            }
        }
        telling.until(&mut tx, at).await?;
        let Some((would, rule)) = telling.report(&mut tx, &report).await? else { continue };
        if at >= since {
            tried.reports += 1;
            *tried.counts.entry(would).or_default() += 1;
            let Reported { source, endpoint, class, confirmed, .. } = report;
            tried.replayed.push(Replayed { at_unix_ms: at, source, endpoint, class, confirmed, would, rule });
        }
    }
    drop(tx);
    db.close().await;
    Ok(tried)
}

fn not_replayed() -> Vec<String> {
    [
        "endpoints, their groups and labels are taken as they are on record now, and as healthy where no recovery was open",
        "when images were approved (quiet_after_release_s), STOP, permits and conflicts of identity are not replayed",
        "a recovery that would have begun is taken to last as long as its endpoint's real ones, else 30 minutes, and to end well",
    ]
    .map(str::to_owned)
    .to_vec()
}

impl Telling<'_> {
    /// What was open and is over by then.
    async fn until(&mut self, conn: &mut Conn, at: u64) -> Result<(), Problem> {
        let (over, open) = self.open.drain(..).partition(|(ends, ..)| *ends <= at);
        self.open = open;
        let over: Vec<(u64, JobId, String)> = over;
        for (ends, job, state) in over {
            history::over(conn, job, &state, ends).await?;
        }
        Ok(())
    }

    /// A person's order, as it was.
    async fn ordered(&mut self, conn: &mut Conn, job: &Past) -> Result<(), Problem> {
        if let Some(ended) = job.ended.filter(|_| job.state == "recovered") {
            self.lasts.insert(job.endpoint.to_string(), ended.saturating_sub(job.asked));
        }
        self.until(conn, job.asked).await?;
        let ends = job.ended.unwrap_or(u64::MAX);
        self.open(conn, &job.endpoint, &job.trigger, false, (job.asked, ends, &job.state)).await
    }

    async fn open(
        &mut self,
        conn: &mut Conn,
        endpoint: &EndpointId,
        trigger: &str,
        automatic: bool,
        (asked, ends, state): (u64, u64, &str),
    ) -> Result<(), Problem> {
        let Some(endpoint) = self.endpoints.get(endpoint) else { return Ok(()) };
        if db::job::open_of(conn, &endpoint.id).await?.is_some() {
            return Ok(());
        }
        self.told += 1;
        let mut random = [0; 10];
        random[2..].copy_from_slice(&self.told.to_be_bytes());
        let image = images::ImageId(images::Digest([0; 32]));
        let proposal = proposal(JobId::new(asked, random), endpoint, Mode::Real, image, "past");
        let (job, _) = machine::propose(proposal, &Limits::default(), asked);
        self.open.push((ends, job.id, state.to_owned()));
        let row = JobRow {
            job,
            group: endpoint.record.group.clone(),
            trigger: trigger.to_owned(),
            reason: String::new(),
            automatic,
            image_name: String::new(),
            asked,
            ended: None,
            accepted: None,
        };
        Ok(db::job::put(conn, &row).await?)
    }

    /// What a report would bring about; `None`: nothing is to be decided about it.
    async fn report(
        &mut self,
        conn: &mut Conn,
        report: &Reported,
    ) -> Result<Option<(Would, String)>, Problem> {
        let Some(endpoint) = self.endpoints.get(&report.endpoint).cloned() else { return Ok(None) };
        let Some(class) = TriggerClass::of(&report.class) else { return Ok(None) };
        let decided = self.decide(conn, &endpoint, class, report).await?;
        self.keep(conn, report).await?;
        if matches!(decided.0, Would::Begin | Would::Ask) {
            let lasts = self.lasts.get(report.endpoint.as_str()).copied().unwrap_or(USUAL_MS);
            let (asked, begins) = (report.received, decided.0 == Would::Begin);
            let trigger = format!("{}{}", super::WEBHOOK, report.source);
            self.open(conn, &report.endpoint, &trigger, begins, (asked, asked + lasts, "recovered")).await?;
        }
        Ok(Some(decided))
    }

    async fn decide(
        &self,
        conn: &mut Conn,
        endpoint: &Endpoint,
        class: TriggerClass,
        report: &Reported,
    ) -> Result<(Would, String), Problem> {
        let observed = |rule: &str| Ok((Would::Observe, rule.to_owned()));
        let hook = self.config.hooks.get(&report.source);
        if hook.is_none() && report.source != triggers::OWN {
            return observed("its source is not in this configuration");
        }
        if class == TriggerClass::Notice {
            return observed("what a BMC reports is evidence and nothing more");
        }
        if db::job::open_of(conn, &endpoint.id).await?.is_some() {
            return Ok((Would::Join, "a recovery of it was open".to_owned()));
        }
        let (at, confirmed) = (report.received, report.confirmed);
        let verdict = guard::consider(conn, self.config, endpoint, class, confirmed, None, at).await?;
        let trigger = Trigger {
            source: report.source.clone(),
            delivery_key: report.delivery.clone(),
            endpoint: endpoint.id.clone(),
            class,
            reason: String::new(),
            raw: Vec::new(),
            confirmed,
        };
        let cap = hook.map_or(GroupMode::Auto, |hook| hook.mode);
        Ok(match triggers::capped(verdict, &trigger, cap) {
            Verdict::Observe { rule } => (Would::Observe, rule),
            Verdict::Quarantine => (Would::Quarantine, String::new()),
            Verdict::Propose { automatic: true, .. } => (Would::Begin, String::new()),
            Verdict::Propose { automatic: false, waits } => {
                let group = self.config.rails(&endpoint.record);
                let why = match group.mode {
                    GroupMode::Auto if group.safety_class > 0 => {
                        format!("safety class {}", group.safety_class)
                    }
                    GroupMode::Auto => "only a confirmed integrity failure begins by itself".to_owned(),
                    mode => format!("group {} is in mode {}", endpoint.record.group, mode.as_str()),
                };
                (Would::Ask, waits.unwrap_or(why))
            }
        })
    }

    /// Later reports are weighed against it.
    async fn keep(&self, conn: &mut Conn, report: &Reported) -> Result<(), Problem> {
        let delivery = Delivery {
            source: &report.source,
            delivery: &report.delivery,
            endpoint: &report.endpoint,
            named: &report.named,
            class: &report.class,
            reason: &report.reason,
            confirmed: report.confirmed,
            received: report.received,
            raw_sha256: "",
            outcome: "",
        };
        trigger::put(conn, &delivery).await?;
        if let Some(at) = report.settled {
            trigger::settle(conn, &report.source, &report.delivery, at).await?;
        }
        Ok(())
    }
}
