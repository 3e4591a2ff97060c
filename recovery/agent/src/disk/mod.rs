//! The endpoint's disk: which one, and how to write it.

mod device;
mod select;

pub use device::{BlockDevice, DeviceError};
pub use select::select;
