//! The endpoint's disk: which one, how it is, and how to write it.

mod device;
pub mod health;
mod ioctl;
mod select;

pub use device::{BlockDevice, DeviceError, DiskToRead};
pub use select::{describe, select};
