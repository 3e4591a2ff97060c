//! Stories of rehearsal and of evidence: a drill ends in a report, and a log that was touched says where.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::bmc::Bmc;
use tests::endpoint::{Content, Endpoint};
use tests::golden::DISK_LEN;
use tests::plant::Plant;
use tests::programs::Programs;
use tests::qemu::Spec;
use tests::site::Site;
use tests::tool;

use crate::{Length, Needs, SITE, Story};

/// The name that ships.
const RUNBOOK: &str = "quarterly-hmi-drill";

pub const STORIES: &[Story] = &[Story {
    name: "drill_of_a_drill_safe_endpoint_ends_in_a_report",
    needs: Needs::Site,
    length: Length::Short,
    tell: drill_ends_in_a_report,
}];

/// A pack is good with the key that was kept apart, and bad with one byte changed; the file is named.
fn pack_verifies_without_the_appliance(plant: &Plant, site: &Site, drill: &str) -> Result<()> {
    let pack = plant.dir().join("drill.gsp");
    let pack = pack.display().to_string();
    site.say(&["drill", "pack", drill, "--out", &pack])?;
    let log = plant.dir().join("log.jsonl").display().to_string();
    let kept = site.command(&["evidence", "export", "--out", &log]).output()?;
    let kept = String::from_utf8(kept.stderr)?;
    let key = kept.lines().find_map(|line| line.strip_prefix("evidence key ")).context("no key was shown")?;
    let good = site.say(&["evidence", "verify", &pack, "--key", key])?;
    ensure!(good.starts_with("good: "), "{good}");
    let mut bytes = fs::read(&pack)?;
    let at = bytes.windows(9).rposition(|some| some == b"<!DOCTYPE").context("no page in the pack")?;
    bytes[at + 40] ^= 1;
    fs::write(&pack, bytes)?;
    let refused = site.say(&["evidence", "verify", &pack, "--key", key]);
    let refused = format!("{:#}", refused.err().context("an altered pack was taken for a good one")?);
    ensure!(refused.contains("report.html"), "{refused}");
    Ok(())
}

/// Only a drill-safe endpoint is rehearsed, switched off and on over Redfish; the report has the recovery time by phase; a changed log names the entry.
fn drill_ends_in_a_report(plant: &Plant) -> Result<()> {
    let programs = Programs::built()?;
    let site = Site::at(&plant.dir().join(SITE), &programs);
    let appliance = site.start()?;
    let safe = Endpoint::new(plant, Spec::press(1), &Content::Blank(DISK_LEN))?;
    let safe_bmc = Bmc::attach_redfish(plant, &safe)?;
    appliance.add(&safe, Some(&safe_bmc), true)?;
    let real = Endpoint::new(plant, Spec::press(2), &Content::Blank(DISK_LEN))?;
    appliance.add(&real, None, false)?;

    let refused = site.say(&["drill", "run", RUNBOOK, "--endpoint", "press-02", "--wait"]);
    let refused = format!("{:#}", refused.err().context("a production endpoint was taken for a drill")?);
    ensure!(refused.contains("press-02") && refused.contains("drill"), "{refused}");
    ensure!(!real.is_on() && appliance.newest_job("press-02")?.is_none(), "the drill touched press-02");

    let said = site.say(&["drill", "run", RUNBOOK, "--endpoint", "press-01", "--wait", "--json"])?;
    let drill = said
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|line| line["drill"].as_str().map(str::to_owned))
        .next_back()
        .with_context(|| format!("no drill in {said}"))?;
    ensure!(
        appliance.evidence()?.iter().any(|entry| entry.kind == "act.power" && entry.facts["by"] == "redfish"),
        "the drill's target was not switched on over Redfish"
    );
    let report = plant.dir().join("report.html");
    site.say(&["drill", "report", &drill, "--out", &report.display().to_string()])?;
    let html = fs::read_to_string(&report)?;
    for word in ["DRILL", "press-01", "RTO", "svg"] {
        ensure!(html.contains(word), "the report does not say {word}");
    }

    pack_verifies_without_the_appliance(plant, &site, &drill)?;

    site.say(&["evidence", "verify"])?;
    let site = appliance.stop()?;
    let database = format!("{}/groundstate.db", site.path("data"));
    tool::run(
        Command::new("sqlite3").arg(&database).arg("UPDATE evidence SET text = text || ' ' WHERE seq = 5;"),
    )?;
    let appliance = site.start()?;
    let found = site.say(&["evidence", "verify"]);
    let found = format!("{:#}", found.err().context("a changed log was taken for a good one")?);
    ensure!(found.contains("entry 5"), "{found}");
    drop(appliance);
    Ok(())
}
