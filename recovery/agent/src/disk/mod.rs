//! The endpoint's disk: which one, how it is, and how to write it.

mod device;
mod erase;
mod health;
mod ioctl;
mod select;

use std::fs::File;

use recovery_protocol::erase::EraseOffer;
use recovery_protocol::health::DiskHealth;

use crate::inventory::Disk;

pub use device::{BlockDevice, DeviceError, DiskToRead};
pub use select::{describe, select};

/// Asks a disk that nobody has opened how it is, and how it can erase itself.
pub fn ask(disk: &Disk) -> (DiskHealth, EraseOffer) {
    // Removable ones are never written, and some wait for a medium.
    if disk.facts.removable {
        return Default::default();
    }
    let transport = &disk.facts.transport;
    match File::open(&disk.node) {
        Ok(file) => (health::read(&file, transport), erase::offered(&file, transport)),
        Err(error) => (health::silent(&error), EraseOffer::default()),
    }
}
