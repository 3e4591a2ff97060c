//! What a disk holds: partition tables, and files on its EFI system partition.
//!
//! Everything here reads disks that are not ours: each parser is strict, bounded and says what it did not like.

mod buffer;
pub mod esp;
pub mod gpt;
pub mod mbr;
pub mod partition_io;
mod target;

pub use buffer::AlignedBuf;
pub use gpt::{Gpt, GptError};
pub use partition_io::PartitionIo;
pub use target::{ReadDisk, RestoreTarget};

/// Type GUID of an EFI system partition, as stored on disk (UEFI specification 2.10, table 5-7).
pub const ESP_TYPE: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];

/// A GUID as stored on disk (mixed-endian) in its usual text form.
pub fn guid_text(guid: &[u8; 16]) -> String {
    let g = guid;
    let hex = |bytes: &[u8]| hex::encode_upper(bytes);
    let le = |range: std::ops::Range<usize>| hex(&g[range].iter().rev().copied().collect::<Vec<_>>());
    format!("{}-{}-{}-{}-{}", le(0..4), le(4..6), le(6..8), hex(&g[8..10]), hex(&g[10..16]))
}
