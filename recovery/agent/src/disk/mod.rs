//! The endpoint's disk: which one, how it is, and how to write it.

mod commands;
mod device;
mod erase;
mod eraser;
mod health;
mod ioctl;
mod port;
mod samples;
mod select;
#[cfg(test)]
pub(crate) mod test_drive;

use std::fs::File;

use recovery_protocol::erase::EraseOffer;
use recovery_protocol::health::DiskHealth;

use crate::inventory::Disk;

pub use device::{BlockDevice, DeviceError, DiskToRead};
pub use eraser::{EraseError, Erasure, Watch};
pub use port::Port;
pub use select::{describe, select};

/// Asks a disk that nobody has opened how it is, and how it can erase itself.
pub fn ask(disk: &Disk) -> (DiskHealth, EraseOffer) {
    // Removable ones are never written, and some wait for a medium.
    if disk.facts.removable {
        return Default::default();
    }
    let transport = &disk.facts.transport;
    match File::open(&disk.node) {
        Ok(file) => (health::read(&file, transport), erase::offered(&file, transport).offer),
        Err(error) => (health::silent(&error), EraseOffer::default()),
    }
}
