//! What a partition holds, by the marks that blkid(8) looks at, and in blkid's words.

use std::fmt;
use std::ops::Range;

use super::KeepWhole;
use super::part::{Numbers, Part};
use super::swap::PAGES;
use crate::disk::ReadDisk;

/// What a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing that we know.
    Unknown,
    /// ext2: no journal, no feature of ext4.
    Ext2,
    /// ext3: a journal, no feature of ext4.
    Ext3,
    /// ext4.
    Ext4,
    /// The journal of an ext filesystem that lies elsewhere.
    ExtJournal,
    /// XFS.
    Xfs,
    /// NTFS.
    Ntfs,
    /// FAT with 12, 16 or 32 bits.
    Vfat,
    /// exFAT.
    Exfat,
    /// ReFS.
    Refs,
    /// btrfs.
    Btrfs,
    /// F2FS.
    F2fs,
    /// squashfs.
    Squashfs,
    /// EROFS.
    Erofs,
    /// ISO 9660.
    Iso9660,
    /// Swap space.
    Swap,
    /// Swap space with a sleeping system in it.
    Suspended,
    /// LUKS, version 1 or 2.
    Luks,
    /// BitLocker.
    BitLocker,
    /// A physical volume of LVM 2.
    Lvm2,
    /// A member of a Linux software RAID.
    Raid,
    /// Hashes of dm-verity.
    Verity,
}

impl Kind {
    /// The word of blkid(8); empty for what is unknown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::ExtJournal => "jbd",
            Self::Xfs => "xfs",
            Self::Ntfs => "ntfs",
            Self::Vfat => "vfat",
            Self::Exfat => "exfat",
            Self::Refs => "ReFS",
            Self::Btrfs => "btrfs",
            Self::F2fs => "f2fs",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::Iso9660 => "iso9660",
            Self::Swap => "swap",
            Self::Suspended => "swsuspend",
            Self::Luks => "crypto_LUKS",
            Self::BitLocker => "BitLocker",
            Self::Lvm2 => "LVM2_member",
            Self::Raid => "linux_raid_member",
            Self::Verity => "DM_verity_hash",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Unknown { "something unknown" } else { self.name() })
    }
}

/// What the partition `range` of a disk holds, as far as it can be told and read.
pub fn kind(disk: &dyn ReadDisk, range: Range<u64>) -> Kind {
    let found = Part::new(disk, range).and_then(|part| marks(&part)).unwrap_or_default();
    found.first().copied().unwrap_or(Kind::Unknown)
}

/// The one kind whose marks the partition bears.
pub(super) fn only(part: &Part<'_>) -> Result<Kind, KeepWhole> {
    match marks(part)?[..] {
        [] => Ok(Kind::Unknown),
        [kind] => Ok(kind),
        [first, second, ..] => Err(KeepWhole::Ambiguous { first, second }),
    }
}

/// Where a mark is, what it is, and whose. What holds other filesystems stands before what may lie in it.
const MARKS: &[(u64, &[u8], Kind)] = &[
    (0, b"LUKS\xba\xbe", Kind::Luks),
    (3, b"-FVE-FS-", Kind::BitLocker),
    // BitLocker To Go shows itself as a FAT and hides in its free clusters.
    (424, b"\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01", Kind::BitLocker),
    // An LVM label lies in one of the first four sectors; 24 bytes in is its type.
    (24, b"LVM2 001", Kind::Lvm2),
    (512 + 24, b"LVM2 001", Kind::Lvm2),
    (1024 + 24, b"LVM2 001", Kind::Lvm2),
    (1536 + 24, b"LVM2 001", Kind::Lvm2),
    (0, &RAID, Kind::Raid),
    (4096, &RAID, Kind::Raid),
    (0, b"verity\0\0", Kind::Verity),
    (0, b"XFSB", Kind::Xfs),
    (3, b"NTFS    ", Kind::Ntfs),
    (3, b"EXFAT   ", Kind::Exfat),
    (3, b"ReFS\0\0\0\0", Kind::Refs),
    (0, b"hsqs", Kind::Squashfs),
    (1024, b"\xe2\xe1\xf5\xe0", Kind::Erofs),
    (1024, b"\x10\x20\xf5\xf2", Kind::F2fs),
    (64 * 1024 + 64, b"_BHRfS_M", Kind::Btrfs),
    (32 * 1024 + 1, b"CD001", Kind::Iso9660),
];
const RAID: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();

fn marks(part: &Part<'_>) -> Result<Vec<Kind>, KeepWhole> {
    let head = part.read(0, part.len.min(68 << 10), "first bytes")?;
    let has = |at: u64, mark: &[u8]| head.get(at as usize..).is_some_and(|rest| rest.starts_with(mark));
    let mut found: Vec<Kind> =
        MARKS.iter().filter(|(at, mark, _)| has(*at, mark)).map(|(.., kind)| *kind).collect();
    if raid_at_the_end(part)? {
        found.push(Kind::Raid);
    }
    for page in PAGES {
        for (mark, kind) in [
            (b"SWAPSPACE2", Kind::Swap),
            (b"S1SUSPEND\0", Kind::Suspended),
            (b"S2SUSPEND\0", Kind::Suspended),
            (b"ULSUSPEND\0", Kind::Suspended),
        ] {
            found.extend(has(page - 10, mark).then_some(kind));
        }
    }
    found.extend(is_fat(&head).then_some(Kind::Vfat));
    found.extend(ext(&head));
    found.dedup();
    Ok(found)
}

/// RAID metadata 0.90 and 1.0 lie at the end, behind what a member seems to hold (`md.4`).
fn raid_at_the_end(part: &Part<'_>) -> Result<bool, KeepWhole> {
    let old = (part.len / (64 << 10)).checked_sub(1).map(|pieces| pieces * (64 << 10));
    let new = (part.len / 512).checked_sub(16).map(|sectors| sectors / 8 * 4096);
    for at in [old, new].into_iter().flatten() {
        if part.len - at >= 4 && part.read(at, 4, "last bytes")? == RAID {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A boot sector that can be one of a FAT (Microsoft, "FAT: General Overview of On-Disk Format" 1.03): since none has a
/// mark that must be there, by its values.
fn is_fat(head: &[u8]) -> bool {
    let sane = || -> Result<bool, KeepWhole> {
        let (jump, sector, cluster) = (head.byte(0)?, head.le16(11)?, head.byte(13)?);
        Ok(matches!(jump, 0xeb | 0xe9)
            && matches!(sector, 512 | 1024 | 2048 | 4096)
            && cluster.is_power_of_two()
            && head.le16(14)? > 0
            && matches!(head.byte(16)?, 1..=4)
            && matches!(head.byte(21)?, 0xf0 | 0xf8..)
            && head.array::<2>(510)? == [0x55, 0xaa]
            && (head.le16(22)? > 0 || head.le32(36)? > 0))
    };
    sane().unwrap_or(false)
}

/// Which of ext2, ext3, ext4, as blkid tells them apart: by features that the older ones do not know.
fn ext(head: &[u8]) -> Option<Kind> {
    let superblock = head.get(1024..2048)?;
    let field = |at| superblock.le32(at).unwrap_or_default();
    let (compatible, incompatible, read_only) = (field(92), field(96), field(100));
    let kind = || match () {
        () if incompatible & 0x8 != 0 => Kind::ExtJournal,
        // Beyond file types, journal and meta block groups; beyond sparse superblocks and large files.
        () if incompatible & !0x16 != 0 || read_only & !0x7 != 0 => Kind::Ext4,
        () if compatible & 0x4 != 0 => Kind::Ext3,
        () => Kind::Ext2,
    };
    (superblock[56..58] == [0x53, 0xef]).then(kind)
}
