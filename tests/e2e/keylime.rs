//! The story of Keylime's own verifier: its webhook starts a recovery once it is confirmed, and a webhook that was lost is found.
//!
//! ```text
//!   press-01   evidence does not verify ─► webhook ─► stored, 200 ─► verifier asked ─► job
//!   press-02   the same while the appliance is off ─► webhook lost ─► seen at the first look after the start ─► job
//! ```
//!
//! The endpoints are records only: what is told is who starts a job, and that needs no firmware.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use recovery_protocol::operator::JobView;
use tests::keylime::{self, Keylime, PORT};
use tests::plant::Plant;
use tests::programs::Programs;
use tests::site::{Appliance, IMAGE, Site};

use crate::{Length, Needs, SITE, Story};

pub const STORIES: &[Story] = &[Story {
    name: "keylime_s_verifier_starts_a_recovery_by_its_webhook_and_without_one_that_was_lost",
    needs: Needs::Keylime,
    length: Length::Short,
    tell: a_verifier_reports,
}];

const FIRST: &str = "d432fbb3-d2f1-4a97-9ef7-75bd81c00001";
const SECOND: &str = "d432fbb3-d2f1-4a97-9ef7-75bd81c00002";
const LIMIT: Duration = Duration::from_secs(90);

fn a_verifier_reports(plant: &Plant) -> Result<()> {
    let site = Site::at(&plant.dir().join(SITE), &Programs::built()?);
    let dir = plant.dir().join("keylime");
    keylime::keys(&dir)?;
    site.write_config(&source(&dir))?;
    let appliance = site.start()?;
    for (name, mac, agent) in
        [("press-01", "52:54:00:77:00:01", FIRST), ("press-02", "52:54:00:77:00:02", SECOND)]
    {
        let label = format!("keylime-agent={agent}");
        let record =
            ["endpoint", "add", name, "--mac", mac, "--blueprint", IMAGE, "--group", "line", "--label"];
        site.say(&[&record[..], &[&label]].concat())?;
    }
    let known = Path::new(&site.path("data")).join("tls.crt");
    let keylime = Keylime::start(&dir, "https://127.0.0.1/hooks/v1/keylime", &known)?;

    keylime.add_failing(FIRST)?;
    let job = started(&appliance, "press-01")?;
    ensure!(job.trigger == "webhook:keylime" && job.reason.contains("Keylime"), "{job:?}");
    ensure!(keylime.state(FIRST)? == Some(9), "the verifier says that the quote is invalid");
    keylime.log().wait_for(0, "Sending revocation event via webhook", Duration::ZERO)?;
    // Webhook and looks are one incident: one hint, one confirmation, one job.
    let decided = appliance.evidence()?.into_iter().filter(|entry| entry.kind == "decision.trigger").count();
    ensure!(decided == 2, "{decided} decisions");

    drop(appliance);
    let mark = keylime.log().mark();
    keylime.add_failing(SECOND)?;
    keylime.log().wait_for(mark, "Error in webhook worker", LIMIT)?;
    let appliance = site.start()?;
    let job = started(&appliance, "press-02")?;
    ensure!(job.trigger == "webhook:keylime", "{job:?}");
    ensure!(appliance.endpoint("press-01")?.job.is_some(), "the first goes on");
    let jobs: Vec<JobView> = serde_json::from_str(&site.say(&["job", "list", "--json"])?)?;
    ensure!(jobs.len() == 2, "{jobs:?}");

    // A verifier that is gone is seen.
    drop(keylime);
    appliance.log().until("the verifier to be missed", LIMIT, || {
        Ok(appliance.evidence()?.into_iter().find(|entry| entry.kind == "source.away"))
    })?;
    Ok(())
}

fn started(appliance: &Appliance, endpoint: &str) -> Result<JobView> {
    appliance.log().until(&format!("a job for {endpoint}"), LIMIT, || {
        let jobs: Vec<JobView> = serde_json::from_str(&appliance.site().say(&["job", "list", "--json"])?)?;
        Ok(jobs.into_iter().find(|job| job.endpoint.as_str() == endpoint))
    })
}

fn source(dir: &Path) -> String {
    let file = |name: &str| fs::canonicalize(dir.join(name)).unwrap_or_default().display().to_string();
    format!(
        "\n[hooks.keylime]\nkind = \"keylime\"\nscope = \"keylime-agent\"\nclient_certificate_file = \"{verifier}\"\n\
         [hooks.keylime.verifier]\nurl = \"https://127.0.0.1:{PORT}\"\nca_file = \"{verifier}\"\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n\
         poll_every_s = 5\n",
        file("appliance.crt"),
        file("appliance.key"),
        verifier = file("verifier.crt"),
    )
}
