//! Stories of an endpoint that cannot boot from the network: a recovery stick in its socket, or a CD from its BMC.
//!
//! ```text
//!   press-01   USB disk, Secure Boot with the site's key   ordered ─► agent ─► proven ─► restored ─► proven again
//!   press-02   CD that its BMC fetched and shows it        ordered ─► switched on ─► agent ─► proven ─► restored ─► CD given back
//! ```

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use recovery_protocol::job::{JobState, Stage};
use tests::bmc::Bmc;
use tests::endpoint::{Content, Endpoint};
use tests::golden::DISK_LEN;
use tests::plant::Plant;
use tests::programs::Programs;
use tests::qemu::{Firmware, Spec, Stick};
use tests::site::{Appliance, BOOT_KEYS, Site};
use tests::variables::{Enrolled, Place};

use crate::{Length, Needs, SITE, Story};

/// Under emulation on a loaded computer; an idle one needs less than two minutes.
const LIMIT: Duration = Duration::from_secs(600);

pub const STORIES: &[Story] = &[Story {
    name: "recovery_from_a_stick_and_from_a_cd_without_network_boot",
    needs: Needs::Site,
    length: Length::Short,
    tell: without_network_boot,
}];

fn without_network_boot(plant: &Plant) -> Result<()> {
    let site = Site::at(&plant.dir().join(SITE), &Programs::built()?);
    let image = site.stick()?;
    site.medium()?;
    let enrolled = Some(Enrolled { keys: site.path(BOOT_KEYS).into(), place: Place::Beside });
    let appliance = site.start()?;
    let press = |spec, by_cd| -> Result<(Endpoint, Option<Bmc>)> {
        let press = Endpoint::new(plant, spec, &Content::Blank(DISK_LEN))?;
        let bmc = if by_cd { Some(Bmc::attach_redfish(plant, &press)?.by_cd()) } else { None };
        appliance.add(&press, bmc.as_ref(), false)?;
        appliance.site().say(&["recover", &press.spec().name, "--reason", "a story", "--no-wait"])?;
        Ok((press, bmc))
    };
    let firmware = Firmware::OvmfSecureBoot;
    let (usb, _) =
        press(Spec { firmware, enrolled, stick: Some(Stick::Usb(image)), ..Spec::press(1) }, false)?;
    usb.arm_network();
    usb.power_on();
    let (cd, bmc) = press(Spec::press(2), true)?;
    let bmc = bmc.context("press-02 has no BMC")?;
    reach(&appliance, &cd, Stage::Releasing)?;
    let order = cd.serial().tail(usize::MAX);
    ensure!(order.iter().any(|line| line.contains("NetworkFirst, a CD in its drive")), "no CD was shown");
    given_back(&bmc)?;

    reach(&appliance, &usb, Stage::Imaging)?;
    // The medium that it was started from is none of its disks, though it does not call itself removable.
    let disks = appliance.endpoint("press-01")?.inventory.context("press-01 told nothing of itself")?.disks;
    let serials: Vec<_> = disks.iter().filter_map(|disk| disk.serial.as_deref()).collect();
    ensure!(serials == [usb.spec().disk_serial()], "{serials:?}");
    reach(&appliance, &usb, Stage::Releasing)?;
    appliance.site().say(&["evidence", "verify"])?;
    for press in [&usb, &cd] {
        ensure!(!press.serial().tail(usize::MAX).iter().any(|line| line.contains(">>Start")), "network boot");
    }
    Ok(())
}

/// The BMC, asked as anybody may, has no CD in its drive and starts the endpoint from its disk.
fn given_back(bmc: &Bmc) -> Result<()> {
    let system = bmc.redfish("/redfish/v1/Systems")?["Members"][0]["@odata.id"].as_str().map(str::to_owned);
    let system = system.context("the BMC has no system")?;
    let drive = bmc.redfish(&format!("{system}/VirtualMedia/Cd"))?;
    let system = bmc.redfish(&system)?;
    ensure!(drive["Inserted"] == false && drive["Image"] == "", "the CD stayed: {drive}");
    let next = &system["Boot"]["BootSourceOverrideTarget"];
    ensure!(next == "None" || next == "Hdd", "the CD is started from again: {system}");
    Ok(())
}

/// Waits until the endpoint's job has come to `stage` or to its good end.
fn reach(appliance: &Appliance, press: &Endpoint, stage: Stage) -> Result<()> {
    let name = &press.spec().name;
    let reached = appliance.log().until(&format!("{name} to reach {stage:?}"), LIMIT, || {
        let job = appliance.newest_job(name)?.context("there is no job")?;
        match job.state {
            JobState::Recovered => Ok(Some(())),
            JobState::Working { stage: now } if now >= stage => Ok(Some(())),
            JobState::Working { .. } => Ok(None),
            other => bail!("{other:?}: {} {}", job.what, job.what_now),
        }
    });
    reached.with_context(|| format!("serial line:\n  {}", press.serial().tail(20).join("\n  ")))
}
