//! Stories of Secure Boot with the site's own key: what it signed starts, and nothing else does.
//!
//! ```text
//!   press-01   PK, KEK and db are the site's    signed kit ─► agent ─► proven                 by UEFI HTTP Boot
//!   press-02   db: Microsoft, another site      signed kit ─► refused ─► its own disk
//!   press-03   db: Microsoft, the site          one bit of the initrd altered ─► refused ─► its own disk
//!   press-04   db: Microsoft; shim's list: site shim ─► signed kit ─► agent ─► proven         the same way
//! ```

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use recovery_protocol::job::{JobState, Stage};
use recovery_protocol::secure_boot::SiteKey;
use serde_json::Value;
use tests::cache::Cache;
use tests::endpoint::{Content, Endpoint};
use tests::golden::{self, CheckIn, DISK_LEN, MARK};
use tests::plant::Plant;
use tests::programs::Programs;
use tests::qemu::{Firmware, NetBoot, Spec};
use tests::site::{Appliance, BOOT_KEYS, Record, Site};
use tests::variables::{Enrolled, Place};

use crate::{Length, Needs, SITE, Story};

/// Under emulation on a loaded computer; an idle one needs half a minute.
const LIMIT: Duration = Duration::from_secs(300);

/// OVMF's words for a program that Secure Boot does not let start.
const DENIED: &str = "Access Denied";

pub const STORIES: &[Story] = &[Story {
    name: "secure_boot_with_the_sites_key_starts_what_it_signed_and_nothing_else",
    needs: Needs::Site,
    length: Length::Short,
    tell: only_what_the_site_signed,
}];

fn only_what_the_site_signed(plant: &Plant) -> Result<()> {
    let programs = Programs::built()?;
    let site = Site::at(&plant.dir().join(SITE), &programs);
    let (own, others) = (site.path(BOOT_KEYS), site.boot_keys("boot-keys-of-others")?);
    let golden = Content::Image(golden::image(&Cache::open()?, 1, &CheckIn::Marker)?);
    let press = |number, keys: &Path, place, content: &Content| {
        let enrolled = Some(Enrolled { keys: keys.to_owned(), place });
        let spec = Spec {
            firmware: Firmware::OvmfSecureBoot,
            enrolled,
            netboot: NetBoot::Http,
            ..Spec::press(number)
        };
        Endpoint::new(plant, spec, content)
    };

    let appliance = site.start()?;
    let believes = press(1, Path::new(&own), Place::OwnBoard, &Content::Blank(DISK_LEN))?;
    let behind_shim = press(4, Path::new(&own), Place::Mok, &Content::Blank(DISK_LEN))?;
    let stranger = press(2, &others, Place::Beside, &golden)?;
    boot_from_network(&appliance, &believes, None)?;
    boot_from_network(&appliance, &stranger, None)?;
    proven(&appliance, &believes)?;
    let told = appliance.endpoint("press-01")?.inventory.and_then(|inventory| inventory.secure_boot);
    let told = told.context("press-01 says nothing of Secure Boot")?;
    ensure!(
        told.on && !told.setup_mode && told.db.len() == 1 && told.site_key == SiteKey::Enrolled,
        "{told:?}"
    );
    ensure!(appliance.site().say(&["endpoint", "show", "press-01"])?.contains("the site's key is enrolled"));
    believes.power_off();
    refused_then_disk(&appliance, &stranger)?;
    drop(stranger);
    boot_from_network(&appliance, &behind_shim, Some("shim"))?;
    proven(&appliance, &behind_shim)?;
    let told = appliance.endpoint("press-04")?.inventory.and_then(|inventory| inventory.secure_boot);
    ensure!(told.as_ref().is_some_and(|told| told.on && told.site_key == SiteKey::BehindShim), "{told:?}");
    drop(behind_shim);

    let site = appliance.stop()?;
    alter_initrd(Path::new(&site.path("kit")))?;
    let appliance = site.start()?;
    let altered = press(3, Path::new(&own), Place::Beside, &golden)?;
    boot_from_network(&appliance, &altered, None)?;
    refused_then_disk(&appliance, &altered)
}

/// A job, and the endpoint switched on with the network first in its order.
fn boot_from_network(appliance: &Appliance, press: &Endpoint, chain: Option<&'static str>) -> Result<()> {
    appliance.put(press, None, &Record { chain, ..Record::default() })?;
    appliance.site().say(&["recover", &press.spec().name, "--reason", "a story", "--no-wait"])?;
    press.arm_network();
    press.power_on();
    Ok(())
}

/// The agent said hello and the TPM's quote says that it is this kit: the job goes on to the disk.
fn proven(appliance: &Appliance, press: &Endpoint) -> Result<()> {
    let name = &press.spec().name;
    let done = appliance.log().until(&format!("{name} to be proven"), LIMIT, || {
        let job = appliance.newest_job(name)?.context("there is no job")?;
        match job.state {
            JobState::Working { stage } if stage >= Stage::Imaging => Ok(Some(())),
            JobState::Working { .. } => Ok(None),
            other => bail!("{other:?}: {} {}", job.what, job.what_now),
        }
    });
    done.with_context(|| format!("serial line:\n  {}", press.serial().tail(20).join("\n  ")))
}

/// The firmware fetched the image, did not start it, and started the disk.
fn refused_then_disk(appliance: &Appliance, press: &Endpoint) -> Result<()> {
    let denied = press.serial().wait_for(0, DENIED, LIMIT)?.text;
    ensure!(denied.contains("HTTP"), "{denied}");
    let up = press.serial().wait_for(0, MARK, LIMIT)?.text;
    ensure!(up.contains("secure_boot=1"), "{up}");
    let view = appliance.endpoint(&press.spec().name)?;
    ensure!(view.inventory.is_none(), "the recovery system said hello: {view:?}");
    Ok(())
}

/// Flips one bit in the middle of the unified kernel image and lets `kit.json` say what the file now is, as somebody would who took
/// over the appliance.
fn alter_initrd(kit: &Path) -> Result<()> {
    let (file, contents) = (kit.join("recovery.efi"), kit.join("kit.json"));
    let mut image = fs::read(&file)?;
    let end = image.len() * 9 / 10;
    image[end] ^= 1;
    fs::write(&file, &image)?;
    let mut listed: Value = serde_json::from_slice(&fs::read(&contents)?)?;
    let hash = hex::encode(ring::digest::digest(&ring::digest::SHA256, &image));
    listed["files"]["recovery.efi"]["sha256"] = hash.into();
    Ok(fs::write(&contents, serde_json::to_vec(&listed)?)?)
}
