//! Stories of disks that are erased before they are restored, by what a virtual drive can: NVMe's formatting, and discards.
//!
//! QEMU's NVMe knows no sanitize, so purging is told as what it must be there: refused, with the disk as it was.

use std::fs::{self, File};

use anyhow::{Context, Result, bail, ensure};
use recovery_protocol::evidence::Entry;
use recovery_protocol::job::{HoldReason, JobState, Stage};
use recovery_protocol::operator::JobView;
use tests::cache::Cache;
use tests::endpoint::Content;
use tests::golden::{self, CheckIn};
use tests::plant::Plant;
use tests::programs::Programs;
use tests::qemu::{DiskBus, Spec};
use tests::site::Record;

use crate::recovery::{RECIPES, Scene};
use crate::{Length, Needs, Story};

pub const STORIES: &[Story] = &[
    story("erase_by_formatting_after_a_purge_was_refused", Length::Short, formatted_after_a_refused_purge),
    story("erase_by_discarding_a_virtual_disk", Length::Long, discarded),
];

const fn story(name: &'static str, length: Length, tell: fn(&Plant) -> Result<()>) -> Story {
    Story { name, needs: Needs::Site, length, tell }
}

/// A machine as it came from the line, with recipes of its own.
fn machine(plant: &Plant, bus: DiskBus, blueprint: &str) -> Result<Scene> {
    let agent = Programs::built()?.agent;
    let image = golden::image(&Cache::open()?, 1, &CheckIn::Agent(agent))?;
    let record = Record { blueprint: Some(blueprint), ..Record::default() };
    let scene = Scene::of(plant, Spec { bus, ..Spec::press(1) }, &Content::Image(image), &record)?;
    golden::write_data(scene.press.disk(), RECIPES)?;
    Ok(scene)
}

fn ask_and_give_up(scene: &Scene) -> Result<()> {
    let words = ["recover", scene.name(), "--give-up-preserved", "--reason", "a story", "--no-wait"];
    scene.appliance.site().say(&words).map(drop)
}

/// Waits until the newest job is held for `reason`; which, and the detail.
fn held(scene: &Scene, reason: HoldReason) -> Result<(String, String)> {
    let is_held = |job: &JobView| matches!(&job.state, JobState::Held { reason: is, .. } if *is == reason);
    let job = scene.wait(&format!("the job to be held, {}", reason.code()), is_held)?;
    match job.state {
        JobState::Held { detail, .. } => Ok((job.job.to_string(), detail)),
        state => bail!("{state:?}"),
    }
}

fn evidence(scene: &Scene, job: &JobView, kind: &str) -> Result<Entry> {
    let entries = scene.appliance.evidence()?;
    let entry = entries.into_iter().find(|entry| entry.job == Some(job.job) && entry.kind == kind);
    entry.with_context(|| format!("no {kind} in evidence"))
}

fn formatted_after_a_refused_purge(plant: &Plant) -> Result<()> {
    let mut scene = machine(plant, DiskBus::Nvme, "purge")?;
    let disk = scene.press.disk().to_owned();
    let hash = || -> Result<blake3::Hash> {
        Ok(blake3::Hasher::new().update_reader(File::open(&disk)?)?.finalize())
    };
    let before = hash()?;
    scene.ask()?;
    let (job, conflict) = held(&scene, HoldReason::EraseConflict)?;
    ensure!(conflict.contains("erase = \"purge\"") && scene.press.boots() == 0, "{conflict}");
    scene.appliance.site().say(&["job", "cancel", &job])?;
    ask_and_give_up(&scene)?;
    let (job, refused) = held(&scene, HoldReason::EraseUnsupported)?;
    ensure!(refused.contains("offers format user data"), "{refused}");
    scene.press.power_off();
    ensure!(hash()? == before, "a refused erasure changed the disk");

    // What the hold says to do: another word in the blueprint, and on.
    let site = scene.appliance.cut_power()?;
    let config = site.path("groundstate.toml");
    fs::write(&config, fs::read_to_string(&config)?.replace("erase = \"purge\"", "erase = \"clear\""))?;
    scene.appliance = site.start()?;
    scene.appliance.site().say(&["job", "resume", &job])?;
    let job = scene.wait_recovered()?;
    scene.ensure_proven(&job)?;
    let said = evidence(&scene, &job, "report.erased")?.facts;
    ensure!(said["method"] == "format_user_data" && said["found"] == "nothing", "{said:?}");
    let samples = &said["samples"];
    ensure!(samples["read"].as_u64() > Some(900) && samples["telling"].as_u64() > Some(10), "{said:?}");
    ensure!(samples["zero"] == samples["read"] && samples["unchanged"] == 0, "{said:?}");
    ensure!(said["reported"].to_string().contains("Format NVM of namespace 1"), "{said:?}");
    let data = golden::read_data(&disk)?;
    ensure!(data == golden::AS_DELIVERED, "the recipes are still there: {data}");
    let shown = scene.appliance.site().say(&["job", "show", &job.job.to_string()])?;
    ensure!(shown.contains("clear by format user data"), "{shown}");
    println!("erased: {}", job.erased.context("the job does not say it")?);
    Ok(())
}

fn discarded(plant: &Plant) -> Result<()> {
    let scene = machine(plant, DiskBus::Virtio, "discard")?;
    ask_and_give_up(&scene)?;
    // The golden test image has no driver for this bus, so the story ends when it is on the disk, proven, and boots.
    let job = scene.wait_stage(Stage::OsWait)?;
    let said = evidence(&scene, &job, "report.erased")?.facts;
    ensure!(said["method"] == "discard" && said["samples"]["unchanged"] == 0, "{said:?}");
    ensure!(said["samples"]["telling"].as_u64() > Some(10), "{said:?}");
    println!("erased: {}", job.erased.context("the job does not say it")?);
    Ok(())
}
