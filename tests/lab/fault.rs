//! What goes wrong in a plant, done on purpose.
//!
//! Each fault does to the real thing what reality does: pulls the cable, kills the process, writes rubbish to the disk. Faults of the disk
//! need the endpoint to be off, as a disk under a running system has two writers otherwise.

use std::fs::{self, OpenOptions};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::endpoint::Endpoint;
use crate::golden;
use crate::plant;

/// Pulls the network cable at the switch: the endpoint keeps its link light and gets no more answers.
///
/// # Errors
/// When the plant's end of the cable cannot be taken down.
pub fn cut_link(endpoint: &Endpoint) -> Result<()> {
    plant::ip(&["link", "set", endpoint.tap(), "nomaster"])
}

/// Plugs the cable in again.
///
/// # Errors
/// When the cable cannot be put back.
pub fn mend_link(endpoint: &Endpoint) -> Result<()> {
    plant::ip(&["link", "set", endpoint.tap(), "master", plant::BRIDGE])
}

/// How a disk breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The boot loader is gone; the data is there.
    Bootloader,
    /// Every byte is gone.
    Wipe,
    /// It boots, but not what was approved: somebody changed the kernel's command line.
    Tamper,
}

/// Breaks the disk of an endpoint that is off.
///
/// # Errors
/// When the endpoint is on, or its disk does not hold a golden image.
pub fn break_disk(endpoint: &Endpoint, how: Break) -> Result<()> {
    if endpoint.is_on() {
        bail!("{} must be off before its disk is broken", endpoint.spec().name);
    }
    let disk = endpoint.disk();
    match how {
        Break::Bootloader => {
            let esp = golden::esp(disk);
            crate::tool::run(Command::new("mdel").args(["-i", &esp, "::EFI/BOOT/BOOTX64.EFI"]))
                .context("the disk has no boot loader to break")?;
        }
        Break::Wipe => {
            let length = fs::metadata(disk)?.len();
            let file = OpenOptions::new().write(true).open(disk)?;
            file.set_len(0)?;
            file.set_len(length)?;
        }
        Break::Tamper => {
            let config = disk.with_extension("grub.cfg");
            let esp = golden::esp(disk);
            crate::tool::run(Command::new("mcopy").args(["-n", "-i", &esp, golden::GRUB_CFG]).arg(&config))
                .context("the disk has no GRUB configuration to tamper with")?;
            let text = fs::read_to_string(&config)?;
            fs::write(&config, text.replace(" rootwait ", " rootwait init_on_alloc=0 "))?;
            crate::tool::run(
                Command::new("mcopy").args(["-o", "-i", &esp]).arg(&config).arg(golden::GRUB_CFG),
            )?;
        }
    }
    Ok(())
}
