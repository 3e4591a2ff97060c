//! What a boot of an image will measure, predicted from its EFI system partition.
//!
//! Firmware, shim and GRUB extend PCRs with digests of what they start and read (TCG PC Client Platform Firmware
//! Profile 1.06, section 3.3.4). The importer computes these digests once; they travel signed in the manifest, and a
//! verifier looks for them in the event log of the restored system.
//!
//! | PCR | who | digest |
//! |---|---|---|
//! | 4 | firmware, shim | Authenticode SHA-256 of each EFI program ([`pe`]) |
//! | 8 | GRUB | SHA-256 of the kernel command line as one string ([`grub`]) |
//! | 9 | GRUB | SHA-256 of each file that it reads |

pub mod grub;
pub mod pe;
mod predict;

pub use pe::{PeError, authenticode_sha256};
pub(crate) use predict::AGENT_MARK;
pub use predict::{Prediction, predict};
