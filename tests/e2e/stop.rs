//! STOP while a disk is being written: the writing ends, the endpoint does not boot, and after two people have released it the restore goes
//! on with what is there.

use anyhow::{Result, ensure};
use recovery_protocol::job::{HoldReason, JobState, Stage};
use recovery_protocol::operator::{EndpointState, StatusView};
use tests::plant::Plant;
use tests::qemu::Firmware;

use crate::cuts::{boots, on_disk};
use crate::recovery::{RECOVERY, Scene};
use crate::{Length, Needs, Story};

pub const STORIES: &[Story] = &[Story {
    name: "stop_ends_the_writing_and_two_people_release_it",
    needs: Needs::Site,
    length: Length::Short,
    tell: stopped_while_imaging,
}];

/// Written before STOP is pressed: the start of the restore is past, and most of it is still to come.
const BEGUN: u64 = 32 << 20;

fn stopped_while_imaging(plant: &Plant) -> Result<()> {
    let scene = Scene::set(plant, Firmware::Ovmf)?;
    let site = scene.appliance.site();
    let say = |words: &[&str]| site.say(words);
    scene.ask()?;
    let job = scene.wait_stage(Stage::Imaging)?.job.to_string();
    scene
        .appliance
        .log()
        .until("the disk to be written", RECOVERY, || Ok((on_disk(&scene)? >= BEGUN).then_some(())))?;
    say(&["stop", "press", "--reason", "smoke in hall 3"])?;
    let held = scene.job()?;
    let stage = match &held.state {
        JobState::Held { stage, reason: HoldReason::SiteStopped, .. } => *stage,
        other => anyhow::bail!("STOP left the job {other:?}"),
    };
    ensure!(matches!(stage, Stage::Imaging | Stage::ReadBack), "STOP came too late: {stage:?}");
    // The endpoint is told with its next report, and says so.
    scene.press.serial().wait_for(0, "STOP was pressed", RECOVERY)?;
    let (written, view) = (on_disk(&scene)?, scene.appliance.endpoint(scene.name())?);
    ensure!(!boots(&scene)? && view.state == EndpointState::Held, "{:?}", view.state);
    let status: StatusView = scene.appliance.read(&["status", "--json"])?;
    ensure!(status.stop.is_some_and(|stop| stop.jobs_held == 1), "the status does not show STOP");
    let refused = say(&["job", "resume", &job]).expect_err("an order while STOP stands").to_string();
    ensure!(refused.contains("STOP"), "{refused}");
    let token = site.path("bert.token");
    say(&["person", "add", "bert", "--role", "approver", "--token-out", &token])?;
    say(&["stop", "release", "--reason", "the smoke was steam"])?;
    say(&["stop", "release", "--reason", "once more"]).expect_err("one person released it twice");
    say(&["stop", "release", "--reason", "seen it too", "--token-file", &token])?;
    ensure!(on_disk(&scene)? == written, "something was written while STOP stood");
    say(&["job", "resume", &job, "--reason", "released"])?;
    let job = scene.wait_recovered()?;
    scene.ensure_proven(&job)
}
