//! Stories of rehearsal and of evidence: a drill ends in a report, and a log that was touched says where.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use recovery_protocol::drill::DrillView;
use recovery_protocol::job::Stage;
use serde_json::Value;
use tests::bmc::Bmc;
use tests::endpoint::{Content, Endpoint};
use tests::golden::DISK_LEN;
use tests::plant::Plant;
use tests::programs::Programs;
use tests::qemu::Spec;
use tests::site::{Appliance, Site};
use tests::tool;

use crate::recovery::RECOVERY;
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

/// The runbook that ships, run unattended and bound to its plan, while two things go wrong on purpose: the control plane, as the file says, and the image
/// server, by order while the image is being written. Each ends by itself, the endpoint comes back, and nothing is left.
fn rehearse_with_injects(plant: &Plant, site: &Site, appliance: &Appliance) -> Result<String> {
    let file = plant.dir().join("injected.yaml").display().to_string();
    let shipped = site.say(&["runbook", "show", RUNBOOK])?;
    let injects = "injects: [{inject: control-plane-down, at: image, for: 20s}]\nsteps:\n";
    fs::write(&file, shipped.replacen("steps:\n", injects, 1))?;
    let run = ["runbook", "run", &file, "--selector", "name=press-01", "--mode", "virtual", "--json"];
    let plan: Value = serde_json::from_str(site.say(&[&run[..], &["--plan"]].concat())?.trim())?;
    ensure!(plan["by_hand"] == serde_json::json!([]), "somebody is asked: {plan}");
    let binding = plan["binding"].as_str().context("the plan has no hash")?;
    let stale = site.say(&[&run[..], &["--approve-plan", "0000"]].concat());
    ensure!(stale.is_err(), "another plan than the one that was looked at began");
    let begun: Value =
        serde_json::from_str(site.say(&[&run[..], &["--approve-plan", binding]].concat())?.trim())?;
    let drill = begun["drill"].as_str().context("no drill began")?.to_owned();
    appliance.log().until("the image is being written", RECOVERY, || {
        let stage = appliance.newest_job("press-01")?.and_then(|job| job.state.stage());
        Ok((stage == Some(Stage::Imaging)).then_some(()))
    })?;
    site.say(&["drill", "inject", &drill, "image-server-unreachable", "--seconds", "20"])?;
    let view: DrillView = appliance.log().until("the drill is over", RECOVERY, || {
        let view: DrillView = appliance.read(&["drill", "show", &drill, "--json"])?;
        Ok((!matches!(view.state.as_str(), "running" | "waiting_person")).then_some(view))
    })?;
    ensure!(view.state == "succeeded", "the drill ended {}: {:?}", view.state, view.steps);
    for kind in ["control-plane-down", "image-server-unreachable"] {
        let inject =
            view.injects.iter().find(|one| one.inject == kind).context("an inject is not on record")?;
        ensure!(inject.met > 0 && inject.ended_unix_ms.is_some(), "{kind}: {inject:?}");
    }
    let noted = appliance.evidence()?.iter().filter(|entry| entry.kind == "drill.inject").count();
    ensure!(noted == 4, "two injects begin and end: {noted} entries");
    Ok(drill)
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

    let drill = rehearse_with_injects(plant, &site, &appliance)?;
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
