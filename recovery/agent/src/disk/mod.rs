//! The endpoint's disk: which one, and how to write it.

mod device;
mod select;

pub use device::{BlockDevice, DeviceError, DiskToRead};
pub use select::select;
