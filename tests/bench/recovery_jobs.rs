//! Jobs by the hundred: triggers until their boot tickets, what each job costs, and what people wait for meanwhile.
//!
//! The appliance is the real one with a real image; its endpoints are 5,000 records without a BMC, so that each job stands where a person
//! would switch an endpoint on, with a live ticket. A source sends its triggers as fast as it may and is asked back about each.
//! What is measured comes from the other side of the wire: who sends, who asks. Less is better, and the peer is a limit.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use recovery_protocol::job::Stage;
use recovery_protocol::operator::JobView;
use serde_json::json;

use super::door::Door;
use super::{Figure, Programs, Server, cpu_time, resident_bytes};
use crate::cache::Cache;
use crate::golden::{self, CheckIn};
use crate::plant::{BRIDGE, Plant};
use crate::site::{IMAGE, Site};
use crate::verifier::{self, Verifier};

/// Endpoints on record.
const ENDPOINTS: usize = 5000;
/// Triggers in a second, each sent twice.
const TRIGGERS: usize = 100;
/// Who sends them.
const SENDERS: usize = 4;
/// Sizes at which a job's cost is measured: few, many.
const FEW: usize = 10;
const MANY: usize = 1000;
/// Jobs at once whose state changes are waited for.
const AT_ONCE: usize = 200;
/// Lists of all endpoints that are asked for.
const LISTS: usize = 40;
/// For each phase, on a loaded computer.
const LIMIT: Duration = Duration::from_secs(180);

/// Triggers, costs, lists.
///
/// # Errors
/// When a program fails, or a duplicate makes a job.
pub fn jobs(programs: &Programs, plant: &Plant) -> Result<Vec<Figure>> {
    let dir = plant.dir().join("recovery-jobs");
    fs::create_dir_all(&dir)?;
    let site = Site::at(&dir.join("site"), &programs.programs);
    site.prepare_keys()?;
    site.import(&golden::image(&Cache::open()?, 1, &CheckIn::Marker)?, 1)?;
    let verifier = Verifier::start()?;
    let mut serve = Command::new(&programs.programs.appliance);
    serve
        .arg("serve")
        .arg("--config")
        .arg(config(&dir, &site)?)
        .env("RUST_LOG", "warn,groundstate::daemon=info");
    let server = Server::start(&mut serve, "\"ready\"", dir.join("serve.log"))?;
    let appliance = Appliance(Door::new(Path::new(&site.path("data")))?);
    appliance.0.fill(ENDPOINTS, IMAGE)?;

    let mut figures = vec![limit("list of 5,000 endpoints p95 ms", appliance.lists()?, 150.0)];
    let waits = appliance.triggers(&verifier, &site.verifier_secret())?;
    figures.push(limit("trigger to ticket p99 ms, 100 in a second", percentile(waits, 0.99), 1000.0));
    appliance.cancel(TRIGGERS)?;

    let few = appliance.cost(&server, TRIGGERS, FEW)?;
    appliance.cancel(FEW)?;
    appliance.cost(&server, TRIGGERS + FEW, AT_ONCE)?;
    figures.push(limit("state change p99 ms, 200 jobs at once", appliance.cancel(AT_ONCE)?, 50.0));
    let many = appliance.cost(&server, TRIGGERS + FEW + AT_ONCE, MANY)?;
    let memory = resident_bytes(server.pid())? as f64 / f64::from(1 << 20);
    figures.push(limit("appliance MiB, 1,000 jobs at once", memory, 256.0));
    let name = "recovery-jobs/CPU ms a job, of 1,000";
    figures.push(Figure::at_most(name, many * 1000.0, few * 1000.0, "of 10", 1.5));
    Ok(figures)
}

fn limit(name: &str, ours: f64, limit: f64) -> Figure {
    Figure::at_most(&format!("recovery-jobs/{name}"), ours, limit, "limit", 1.0)
}

fn percentile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * part).ceil() as usize;
    values.get(at.max(1) - 1).copied().unwrap_or(f64::NAN)
}

fn name(number: usize) -> String {
    format!("press-{number:04}")
}

fn config(dir: &Path, site: &Site) -> Result<std::path::PathBuf> {
    let path = dir.join("bench.toml");
    let secret = site.verifier_secret();
    let text = format!(
        "site = \"bench\"\ndata_dir = \"{}\"\nimage_store_dir = \"{}\"\ntrust_root_file = \"{}\"\n\
         [[interfaces]]\nname = \"{BRIDGE}\"\ndhcp = \"off\"\n\
         [groups.line]\nmode = \"auto\"\ncool_down_s = 0\nmax_concurrent = 100000\nmax_per_hour = 100000\ncommon_mode = 0\nbreaker_failures = 0\n\
         [blueprints.{IMAGE}]\nimage = \"{IMAGE}\"\n\
         [hooks.verifier]\nsecret_file = \"{}\"\nendpoints = [\"*\"]\nmax_per_hour = 100000\nconfirm_url = \"http://127.0.0.1:{}/confirm\"\n",
        site.path("data"),
        site.path("store"),
        site.path("root.json"),
        secret.display(),
        verifier::PORT,
    );
    fs::write(&path, text)?;
    Ok(path)
}

/// The appliance, as a program with the operator's token sees it.
struct Appliance(Door);

impl Appliance {
    /// Milliseconds, the 95th of a hundred.
    fn lists(&self) -> Result<f64> {
        let mut waits = Vec::new();
        for _ in 0..LISTS {
            let begin = Instant::now();
            let body = self.0.page("/api/v1/endpoints")?;
            waits.push(begin.elapsed().as_secs_f64() * 1000.0);
            ensure!(body.len() > ENDPOINTS * 50, "that is not all of them: {} bytes", body.len());
        }
        Ok(percentile(waits, 0.95))
    }

    /// Milliseconds of each, from its sending to its ticket.
    fn triggers(&self, verifier: &Verifier, secret: &Path) -> Result<Vec<f64>> {
        (0..TRIGGERS).for_each(|n| verifier.judge(&name(n), true));
        let begin = Instant::now();
        let sent: Vec<Vec<(String, u64)>> = thread::scope(|scope| {
            let sending: Vec<_> =
                (0..SENDERS).map(|sender| scope.spawn(move || self.send(sender, begin, secret))).collect();
            let sent =
                sending.into_iter().map(|one| one.join().map_err(|_| anyhow::anyhow!("a sender died"))?);
            sent.collect::<Result<_>>()
        })?;
        let sent: HashMap<String, u64> = sent.into_iter().flatten().collect();
        self.until(TRIGGERS)?;
        let jobs: Vec<JobView> = serde_json::from_slice(&self.0.page("/api/v1/jobs")?)?;
        ensure!(jobs.len() == TRIGGERS, "{} jobs of {TRIGGERS} triggers, each sent twice", jobs.len());
        let wait = |job: &JobView| {
            let powering = job.phases.iter().find(|phase| phase.stage == Stage::Powering);
            let ticketed = powering.context("a job without a ticket")?.from_unix_ms;
            let sent = sent.get(job.endpoint.as_str()).context("a job that nobody asked for")?;
            Ok(ticketed.saturating_sub(*sent) as f64)
        };
        jobs.iter().map(wait).collect()
    }

    /// A sender's share of the triggers, each twice, all within a second.
    fn send(&self, sender: usize, begin: Instant, secret: &Path) -> Result<Vec<(String, u64)>> {
        let mut sent = Vec::new();
        for n in (sender..TRIGGERS).step_by(SENDERS) {
            let due = Duration::from_millis((n * 1000 / TRIGGERS) as u64);
            thread::park_timeout(due.saturating_sub(begin.elapsed()));
            let body = json!({ "type": "endpoint.attestation.failed", "data": { "endpoint": name(n), "detail": "PCR 4 differs" } });
            let (body, id) = (body.to_string(), format!("trigger-{n}"));
            let headers = verifier::sign(secret, &id, &body)?;
            let at = unix_ms()?;
            for _ in 0..2 {
                let (status, said) = self.0.hook("/hooks/v1/verifier", &headers, body.as_bytes())?;
                ensure!(status == 202, "{status}: {said}");
            }
            sent.push((name(n), at));
        }
        Ok(sent)
    }

    /// CPU seconds of the appliance for each of so many jobs, ordered one after another until each waits for its endpoint.
    fn cost(&self, server: &Server, from: usize, count: usize) -> Result<f64> {
        let before = cpu_time(server.pid())?;
        for n in from..from + count {
            self.0.post(&format!("/api/v1/endpoints/{}/recover", name(n)), "application/json", b"{}")?;
        }
        self.until(count)?;
        Ok((cpu_time(server.pid())? - before).as_secs_f64() / count as f64)
    }

    /// Cancels what is open; milliseconds of each order, the 99th of a hundred.
    fn cancel(&self, count: usize) -> Result<f64> {
        let jobs: Vec<JobView> = serde_json::from_slice(&self.0.page("/api/v1/jobs")?)?;
        let mut waits = Vec::new();
        for job in jobs.iter().filter(|job| !job.state.is_over()) {
            let begin = Instant::now();
            self.0.post(&format!("/api/v1/jobs/{}/cancel", job.job), "application/json", b"{}")?;
            waits.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
        ensure!(waits.len() == count, "{} jobs were open, not {count}", waits.len());
        Ok(percentile(waits, 0.99))
    }

    /// Waits until so many jobs wait for their endpoints.
    fn until(&self, count: usize) -> Result<()> {
        let begin = Instant::now();
        let wanted = format!("groundstate_jobs_running{{phase=\"agent_wait\"}} {count}\n");
        while begin.elapsed() < LIMIT {
            if String::from_utf8_lossy(&self.0.page("/metrics")?).contains(&wanted) {
                return Ok(());
            }
            // Asking is work for the appliance, too.
            thread::park_timeout(Duration::from_millis(500));
        }
        bail!("{count} jobs do not wait for their endpoints after {} s", LIMIT.as_secs())
    }
}

fn unix_ms() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}
