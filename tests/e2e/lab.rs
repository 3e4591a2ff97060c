//! Stories about the lab itself: that its endpoints boot, obey their BMC, and break the way they should.
//!
//! They need no appliance. When one of these fails, no other story means anything.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::bmc::Bmc;
use tests::cache::Cache;
use tests::endpoint::{Content, Endpoint};
use tests::fault::{self, Break};
use tests::golden::{self, CheckIn, MARK};
use tests::plant::Plant;
use tests::qemu::{Firmware, Spec};

use crate::{Length, Needs, Story};

/// Under emulation on a loaded computer; an idle one needs 20 seconds.
const BOOT: Duration = Duration::from_secs(180);

pub const STORIES: &[Story] = &[
    story("lab_golden_image_boots_without_secure_boot", Length::Short, boots_without_secure_boot),
    story("lab_golden_image_boots_with_secure_boot", Length::Long, boots_with_secure_boot),
    story("lab_armed_boot_tries_the_network_once", Length::Long, armed_boot_tries_the_network_once),
    story("lab_broken_boot_loader_does_not_boot", Length::Long, broken_boot_loader_does_not_boot),
    story("lab_bios_endpoint_tries_the_network", Length::Long, bios_endpoint_tries_the_network),
];

const fn story(name: &'static str, length: Length, tell: fn(&Plant) -> Result<()>) -> Story {
    Story { name, needs: Needs::Marker, length, tell }
}

fn boots_without_secure_boot(plant: &Plant) -> Result<()> {
    boots(plant, Firmware::Ovmf, "secure_boot=0")
}

fn boots_with_secure_boot(plant: &Plant) -> Result<()> {
    boots(plant, Firmware::OvmfSecureBoot, "secure_boot=1")
}

/// Switched on over IPMI, the golden image comes up with a TPM, and a power cut is a power cut.
fn boots(plant: &Plant, firmware: Firmware, secure_boot: &str) -> Result<()> {
    let image = golden::image(&Cache::open()?, 1, &CheckIn::Marker)?;
    let press = Endpoint::new(plant, Spec { firmware, ..Spec::press(1) }, &Content::Image(image))?;
    let bmc = bmc(plant, &press)?;
    ensure!(bmc.ipmitool(&["chassis", "power", "status"])?.contains("is off"));
    bmc.ipmitool(&["chassis", "power", "on"])?;
    let up = press.serial().wait_for(0, MARK, BOOT)?.text;
    ensure!(up.contains("release=1") && up.contains(secure_boot) && up.contains("tpm=tpmrm0"), "{up}");
    ensure!(bmc.ipmitool(&["chassis", "power", "status"])?.contains("is on"));
    bmc.ipmitool(&["chassis", "power", "off"])?;
    press.wait_off(Duration::from_secs(10))?;
    Ok(())
}

fn armed_boot_tries_the_network_once(plant: &Plant) -> Result<()> {
    let image = golden::image(&Cache::open()?, 1, &CheckIn::Marker)?;
    let press = Endpoint::new(plant, Spec::press(1), &Content::Image(image))?;
    let bmc = bmc(plant, &press)?;
    bmc.arm_network()?;
    bmc.ipmitool(&["chassis", "power", "on"])?;
    press.serial().wait_for(0, "Start PXE over IPv4", BOOT)?;
    bmc.ipmitool(&["chassis", "power", "off"])?;
    press.wait_off(Duration::from_secs(10))?;

    let second = press.serial().mark();
    bmc.ipmitool(&["chassis", "power", "on"])?;
    press.serial().wait_for(second, MARK, BOOT)?;
    ensure!(press.boots() == 2, "{} boots", press.boots());
    Ok(())
}

fn broken_boot_loader_does_not_boot(plant: &Plant) -> Result<()> {
    let image = golden::image(&Cache::open()?, 1, &CheckIn::Marker)?;
    let press = Endpoint::new(plant, Spec::press(1), &Content::Image(image))?;
    fault::break_disk(&press, Break::Bootloader)?;
    press.power_on();
    // The disk has nothing to start, so the firmware goes on to the network by itself.
    press.serial().wait_for(0, "Start PXE over IPv4", BOOT)?;
    Ok(())
}

fn bios_endpoint_tries_the_network(plant: &Plant) -> Result<()> {
    let spec = Spec { firmware: Firmware::SeaBios, ..Spec::press(1) };
    let press = Endpoint::new(plant, spec, &Content::Blank(golden::DISK_LEN))?;
    press.arm_network();
    press.power_on();
    press.serial().wait_for(0, "iPXE", BOOT)?;
    Ok(())
}

fn bmc(plant: &Plant, endpoint: &Endpoint) -> Result<Bmc> {
    Bmc::attach(plant, endpoint, env!("CARGO_BIN_EXE_lab").as_ref())
}
