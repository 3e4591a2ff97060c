//! What the header of a manifest says: plain types, no bytes (those are in `codec.rs`).

use std::fmt;

use crate::{Digest, ImageId};

/// Everything that is signed about a golden image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Features that a reader may ignore when it does not know them.
    pub features_optional: u64,
    /// Who and what.
    pub identity: Identity,
    /// The disk as a whole.
    pub disk: Disk,
    /// How the image boots.
    pub boot: Boot,
    /// The partition table and what to do with each partition.
    pub table: PartitionTable,
    /// Parts of the disk that belong to the endpoint, not to the image; covered by `any` extents.
    pub host_regions: Vec<HostRegion>,
    /// How the content was cut and kept, and the pages that list it.
    pub content: ContentTable,
    /// Digests that a TPM event log will show after this image has booted; an open list.
    pub measurements: Vec<Measurement>,
    /// Sections that this version does not know and may ignore, as they came: (tag, body).
    pub extra: Vec<(u16, Vec<u8>)>,
}

/// Who and what an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name, such as `hmi-panel`. Not empty.
    pub name: String,
    /// Version as people write it, such as `2026.11`. Not empty.
    pub version: String,
    /// Counts up with each release; the roll-back guard compares it.
    pub epoch: u64,
    /// CPU architecture in the words of `uname -m`, such as `x86_64`.
    pub arch: String,
    /// Hardware class that the image fits; empty means any.
    pub hardware_class: String,
    /// When it was imported, milliseconds since 1970 UTC, as the importer's clock said; for people only.
    pub created_unix_ms: u64,
    /// What changed, in a sentence for people.
    pub note: String,
    /// The image that this one succeeds.
    pub previous: Option<ImageId>,
    /// The oldest agent that can restore it.
    pub agent_min: AgentVersion,
}

/// Version of the agent: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentVersion(pub u16, pub u16, pub u16);

impl fmt::Display for AgentVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The disk as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Length of the raw image in bytes; a multiple of the sector size.
    pub size: u64,
    /// Logical sector size that the partition table was made for: 512 or 4096.
    pub sector_size: u32,
    /// The head of the boot region: `[0, head_len)`, at most 1 MiB.
    pub head_len: u64,
    /// The tail of the boot region: the last `tail_len` bytes, which hold the backup GPT.
    pub tail_len: u64,
}

impl Disk {
    /// Where the tail of the boot region starts.
    pub fn tail_start(&self) -> u64 {
        self.size - self.tail_len
    }
}

/// How the image boots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boot {
    /// It has an EFI system partition with a loader.
    pub uefi: bool,
    /// It has boot code in its first sector.
    pub bios: bool,
    /// Its loader chain is signed for Secure Boot, as far as the importer can tell.
    pub secure_boot: bool,
    /// Path of the loader on the EFI system partition, such as `\EFI\BOOT\BOOTX64.EFI`; empty without UEFI.
    pub loader: String,
}

/// Kind of partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// No partition table.
    None,
    /// GUID partition table (UEFI specification 2.10, section 5.3).
    Gpt,
    /// Master boot record with up to four primary partitions.
    Mbr,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gpt => "gpt",
            Self::Mbr => "mbr",
        })
    }
}

/// The partition table of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionTable {
    /// Kind of table.
    pub scheme: Scheme,
    /// Disk GUID as stored on disk (mixed-endian); for MBR the disk signature in the first four bytes.
    pub disk_guid: [u8; 16],
    /// First and last usable LBA of a GPT; 0 otherwise.
    pub usable: (u64, u64),
    /// In the order of the table, used entries only.
    pub partitions: Vec<Partition>,
}

impl Header {
    /// The partition where cloud-init and its kin look for what belongs to one endpoint, where the image wants it written.
    pub fn seed_partition(&self) -> Option<&Partition> {
        let seed = |p: &&Partition| p.name.eq_ignore_ascii_case("cidata") && p.policy == Policy::Write;
        self.table.partitions.iter().find(seed)
    }
}

/// What a restore does with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Write it as the image has it.
    Write,
    /// Leave what the endpoint has.
    Preserve,
    /// Write it, then give it the rest of a larger disk.
    Grow,
    /// Make it anew on the endpoint, empty.
    Regenerate,
    /// Do not touch and do not expect anything.
    Skip,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "write",
            Self::Preserve => "preserve",
            Self::Grow => "grow",
            Self::Regenerate => "regenerate",
            Self::Skip => "skip",
        })
    }
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Index of its entry in the table, from 0.
    pub index: u32,
    /// Type GUID as stored on disk; for MBR the type in the first byte.
    pub type_guid: [u8; 16],
    /// Unique GUID as stored on disk; zero for MBR.
    pub unique_guid: [u8; 16],
    /// First LBA.
    pub first_lba: u64,
    /// Last LBA, inclusive.
    pub last_lba: u64,
    /// GPT attribute bits; for MBR the boot flag.
    pub attributes: u64,
    /// GPT name.
    pub name: String,
    /// What the importer found inside, such as `vfat`, `ext4`; empty when unknown; for people only.
    pub filesystem: String,
    /// What a restore does with it.
    pub policy: Policy,
}

/// A part of the disk that belongs to the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRegion {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// What it is for, such as `nocloud seed`.
    pub purpose: String,
}

/// How the content was cut and kept, and the pages that list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentTable {
    /// Plain blake3 of the whole raw image: `b3sum disk.raw` shows the same.
    pub root: Digest,
    /// Chunker, for diagnosis only: 1 = FastCDC v2020.
    pub chunker: u8,
    /// Smallest, average and largest chunk of the chunker, in bytes, for diagnosis only.
    pub chunk_len: [u32; 3],
    /// Codec of the frames at import, for diagnosis only: 1 = zstd level 3.
    pub codec: u8,
    /// The extent pages in disk order.
    pub pages: Vec<PageRef>,
}

/// Names one extent page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRef {
    /// Length of the encoded page in bytes.
    pub len: u32,
    /// Its digest ([`super::page::page_digest`]).
    pub digest: Digest,
}

/// When a predicted measurement must show up in the event log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// On every boot.
    Always,
    /// On every boot with Secure Boot on.
    SecureBoot,
    /// It may.
    Optional,
}

/// One digest that the event log of a boot of this image is expected to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// PCR index, 0 to 23.
    pub pcr: u8,
    /// The event's SHA-256 digest.
    pub digest: [u8; 32],
    /// When it must show up.
    pub need: Need,
    /// What was measured, such as `authenticode \EFI\BOOT\BOOTX64.EFI`.
    pub what: String,
}
