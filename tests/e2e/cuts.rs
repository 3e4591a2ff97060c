//! Power cuts at random moments of a restore, on a whole machine: QEMU is killed when so many bytes are on the disk.
//!
//! The moments are those of a seed that is printed; `GROUNDSTATE_SEED` gives one back, and `GROUNDSTATE_CUTS` asks for more cuts than
//! an ordinary run makes (the fifty of a release take an hour). What a cut does to every single write is told without machines, by `images` and
//! the agent's own tests, on a disk whose cache a cut empties; the page cache of the computer that runs the lab survives it here.
//!
//! 2026-11-29, seed 11176114634592791013, fifty asked for: 29 cuts in ten recoveries. No disk booted half an image, each attempt fetched less
//! than the one before, nine recoveries ended in a proven system. Then a firmware took six minutes to ask for an address, on a computer that
//! others filled, and the lab gave up; the other 21 are open.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use recovery_protocol::JobId;
use recovery_protocol::job::{JobState, Stage};
use tests::fault::{self, Break};
use tests::golden::DISK_LEN;
use tests::plant::Plant;
use tests::qemu::Firmware;

use crate::recovery::{RECOVERY, Scene};
use crate::{Length, Needs, Story};

pub const STORIES: &[Story] = &[Story {
    name: "recovery_survives_power_cuts_at_random_moments",
    needs: Needs::Site,
    length: Length::Long,
    tell: cut_at_random_moments,
}];

/// Cuts of an ordinary run.
const CUTS: u32 = 5;
/// A job whose recovery system came up more often is held: something is wrong with the machine, and not with its power.
const CUTS_OF_A_JOB: u32 = 5;
/// How long nothing need be said before the disk is looked at again.
const LOOK: Duration = Duration::from_millis(20);

fn number(variable: &str) -> Result<Option<u64>> {
    let text = std::env::var(variable).ok();
    text.map(|text| text.parse().with_context(|| format!("{variable} is no number"))).transpose()
}

/// Bytes that the disk's file has room for: it grows with what is written.
pub fn on_disk(scene: &Scene) -> Result<u64> {
    Ok(std::fs::metadata(scene.press.disk())?.blocks() * 512)
}

/// A disk that is cut has no table at either end, so that no firmware starts it.
pub fn boots(scene: &Scene) -> Result<bool> {
    let (disk, mut sector) = (File::open(scene.press.disk())?, [0; 512]);
    let mut found = false;
    for at in [512, DISK_LEN - 512] {
        disk.read_exact_at(&mut sector, at)?;
        found |= sector.starts_with(b"EFI PART");
    }
    Ok(found)
}

fn cut_at_random_moments(plant: &Plant) -> Result<()> {
    let seed = number("GROUNDSTATE_SEED")?.unwrap_or_else(|| RandomState::new().build_hasher().finish() | 1);
    let cuts = number("GROUNDSTATE_CUTS")?.map_or(Ok(CUTS), u32::try_from)?;
    println!("GROUNDSTATE_SEED={seed}, {cuts} cuts");
    let mut random = seed;
    let mut below = |end: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % end
    };
    let scene = Scene::set(plant, Firmware::Ovmf)?;
    let (mut done, mut whole) = (0, None);
    while done < cuts {
        scene.ask()?;
        let job = scene.wait_stage(Stage::Imaging)?.job;
        let mut fetched = Vec::new();
        for attempt in 1..=CUTS_OF_A_JOB.min(cuts - done) {
            wait_order(&scene, job, attempt)?;
            // Of the bytes of a whole image; before one was seen, of about as many.
            let there = on_disk(&scene)?;
            let left = whole.unwrap_or(600 << 20).max(there + 1) - there;
            let Some(fetch) = cut_at(&scene, there + below(left))? else { break };
            fetched.push(fetch);
            done += 1;
            if boots(&scene)? {
                // It fell behind the last write: the image is whole, and the job does not know it yet.
                scene.press.arm_network();
            }
            let from = scene.press.serial().mark();
            scene.press.power_on();
            scene.press.serial().wait_for(from, "Start PXE over IPv4", RECOVERY)?;
        }
        let job = scene.wait_recovered()?;
        scene.ensure_proven(&job)?;
        fetched.push(job.plan.context("the job has no plan")?.fetch_bytes);
        println!("planned to fetch, attempt by attempt: {fetched:?}");
        ensure!(fetched.is_sorted_by(|before, after| after <= before), "an attempt fetched what was there");
        whole = Some(on_disk(&scene)?);
        scene.press.power_off();
        if done < cuts {
            fault::break_disk(&scene.press, Break::Wipe)?;
        }
    }
    Ok(())
}

/// Waits until the job's order of this number went out.
fn wait_order(scene: &Scene, job: JobId, number: u32) -> Result<()> {
    scene.appliance.log().until(&format!("order {number} of the job"), RECOVERY, || {
        let entries = scene.appliance.evidence()?;
        let orders = entries.iter().filter(|entry| entry.job == Some(job) && entry.kind == "order.restore");
        Ok((orders.count() >= number as usize).then_some(()))
    })
}

/// Cuts the power once `moment` bytes are on the disk; what the last plan wanted to fetch. `None`: the restore was over before.
fn cut_at(scene: &Scene, moment: u64) -> Result<Option<u64>> {
    loop {
        let mark = scene.press.serial().mark();
        if on_disk(scene)? >= moment {
            scene.press.power_off();
            return Ok(Some(scene.job()?.plan.map_or(u64::MAX, |plan| plan.fetch_bytes)));
        }
        let over = !matches!(scene.job()?.state, JobState::Working { stage: Stage::Imaging });
        if over {
            return Ok(None);
        }
        scene.press.serial().wait_line(mark, LOOK);
    }
}
