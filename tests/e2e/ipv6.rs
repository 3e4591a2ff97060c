//! The stories of endpoints whose firmware speaks IPv6 alone.
//!
//! ```text
//!   press-01   DHCPv6 ─► its address, a TFTP URL ─► iPXE ─► over IPv4 the script, the recovery system ─► proven
//!   press-02   without a ticket ─► a false name ─► its own disk
//!   press-03   Secure Boot with the site's key: iPXE is refused ─► DHCPv6 ─► an HTTP URL ─► recovery system ─► proven
//! ```

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use recovery_protocol::job::{JobState, Stage};
use tests::cache::Cache;
use tests::endpoint::{Content, Endpoint};
use tests::golden::{self, CheckIn, DISK_LEN, MARK};
use tests::plant::Plant;
use tests::programs::Programs;
use tests::qemu::{Firmware, NetBoot, Spec};
use tests::site::{Appliance, BOOT_KEYS, Site};
use tests::variables::{Enrolled, Place};

use crate::{Length, Needs, SITE, Story};

/// Under emulation on a loaded computer; an idle one needs half a minute.
const LIMIT: Duration = Duration::from_secs(300);

pub const STORIES: &[Story] = &[
    Story {
        name: "pxe_over_ipv6_leads_to_the_agent_with_a_ticket_and_to_the_disk_without",
        needs: Needs::Site,
        length: Length::Short,
        tell: pxe,
    },
    Story {
        name: "http_boot_over_ipv6_leads_to_the_agent_where_secure_boot_refuses_pxe",
        needs: Needs::Site,
        length: Length::Long,
        tell: http_boot,
    },
];

fn pxe(plant: &Plant) -> Result<()> {
    let site = Site::at(&plant.dir().join(SITE), &Programs::built()?);
    let golden = Content::Image(golden::image(&Cache::open()?, 1, &CheckIn::Marker)?);
    let appliance = site.start()?;
    let press = |number, content: &Content| {
        Endpoint::new(plant, Spec { netboot: NetBoot::Ipv6, ..Spec::press(number) }, content)
    };
    let (armed, other) = (press(1, &Content::Blank(DISK_LEN))?, press(2, &golden)?);
    for press in [&armed, &other] {
        appliance.add(press, None, false)?;
        press.arm_network();
    }
    appliance.site().say(&["recover", "press-01", "--reason", "a story", "--no-wait"])?;
    armed.power_on();
    other.power_on();
    let told = proven(&appliance, &armed, ">>Start PXE over IPv6")?;
    ensure!(told.contains("snponly.efi") && told.contains("ipxe"), "{told}");
    armed.power_off();
    let log = || format!("serial line:\n  {}", other.serial().tail(20).join("\n  "));
    other.serial().wait_for(0, MARK, LIMIT).with_context(log)?;
    ensure!(appliance.endpoint("press-02")?.inventory.is_none(), "the recovery system said hello");
    Ok(())
}

fn http_boot(plant: &Plant) -> Result<()> {
    let site = Site::at(&plant.dir().join(SITE), &Programs::built()?);
    let keys = site.path(BOOT_KEYS).into();
    let spec = Spec {
        netboot: NetBoot::Ipv6,
        firmware: Firmware::OvmfSecureBoot,
        enrolled: Some(Enrolled { keys, place: Place::OwnBoard }),
        ..Spec::press(3)
    };
    let appliance = site.start()?;
    let press = Endpoint::new(plant, spec, &Content::Blank(DISK_LEN))?;
    appliance.add(&press, None, false)?;
    appliance.site().say(&["recover", "press-03", "--reason", "a story", "--no-wait"])?;
    press.arm_network();
    press.power_on();
    let told = proven(&appliance, &press, ">>Start HTTP Boot over IPv6")?;
    ensure!(told.contains("recovery.efi"), "{told}");
    Ok(())
}

/// The agent said hello and was proven after the firmware said that it began so; returns the endpoint's boot trace.
fn proven(appliance: &Appliance, press: &Endpoint, began: &str) -> Result<String> {
    let name = press.spec().name.as_str();
    let done = appliance.log().until(&format!("{name} to be proven"), LIMIT, || {
        let job = appliance.newest_job(name)?.context("there is no job")?;
        match job.state {
            JobState::Working { stage } if stage >= Stage::Imaging => Ok(Some(())),
            JobState::Working { .. } => Ok(None),
            state => bail!("{state:?}: {} {}", job.what, job.what_now),
        }
    });
    done.with_context(|| format!("serial line:\n  {}", press.serial().tail(20).join("\n  ")))?;
    press.serial().wait_for(0, began, LIMIT)?;
    let serial = press.serial().tail(usize::MAX).join("\n");
    ensure!(!serial.contains("over IPv4"), "the firmware spoke IPv4: {serial}");
    appliance.site().say(&["net", "doctor", name])
}
