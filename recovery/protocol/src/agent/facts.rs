//! A restore in facts: what was planned, what was done, where it came from. Evidence and people read them.

use images::Digest;
use serde::{Deserialize, Serialize};

/// A delta plan in numbers; bytes of disk unless named otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlanFacts {
    /// Size of the image's disk.
    pub image_bytes: u64,
    /// Already right.
    pub keep_bytes: u64,
    /// Must come over the network.
    pub fetch_bytes: u64,
    /// Must become zero.
    pub zero_bytes: u64,
    /// Chunks to fetch.
    pub fetch_chunks: u64,
    /// Stands elsewhere on the disk, and need not come over the network.
    #[serde(default)]
    pub move_bytes: u64,
    /// Stays as the endpoint has it.
    #[serde(default)]
    pub preserve_bytes: u64,
}

/// A file of the endpoint on its restored disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlacedFile {
    /// `esp` or `cidata`, and its path there.
    pub path: String,
    /// Plain blake3 of its bytes.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub blake3: Digest,
}

/// A partition that a restore leaves as the endpoint has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PreservedFacts {
    /// Number of the partition, from 1.
    pub partition: u32,
    /// Its name in the image's table; may be empty.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Plain blake3 of them, before the first attempt to restore around it.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub blake3: Digest,
}

/// A restore in numbers; bytes of disk unless named otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RestoreFacts {
    /// Bytes that travelled (frames as sent).
    pub wire_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes made zero.
    pub zeroed_bytes: u64,
    /// Bytes read back and compared.
    pub read_back_bytes: u64,
    /// Largest resident memory of the agent, from the kernel.
    pub memory_peak_bytes: u64,
    /// What became of the firmware's boot entry; known when all is committed.
    #[serde(default)]
    pub boot_entry: BootEntry,
}

/// The firmware's boot entry for the restored disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BootEntry {
    /// Not looked at: no UEFI, no variables to be written, no GPT, or not yet.
    #[default]
    None,
    /// It was there.
    Kept,
    /// It was set, and reads back.
    Set,
    /// The firmware refused it: the disk boots where firmware looks for `\EFI\BOOT` by itself.
    Refused,
}

/// What one source of chunks has given in a restore.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SourceFacts {
    /// Its address, as in the order.
    pub url: String,
    /// Chunks that it gave and that were right.
    pub chunks: u64,
    /// Their bytes as they travelled.
    pub wire_bytes: u64,
    /// Why it was left for good, if it was: it sent what was not asked for.
    pub left: Option<String>,
}
