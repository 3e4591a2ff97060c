//! What a file is, by its content; what its name says is only compared with it.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use super::fields::be32;
use super::{qcow2, vhd, vhdx, vmdk};
use crate::disk::ReadDisk;

/// How a file holds a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The bytes of the disk as they are.
    Raw,
    /// As they are, and with a file system of optical disks in them (ECMA-119).
    Iso,
    /// QEMU's format, version 2 or 3.
    Qcow2,
    /// Microsoft's older format.
    Vhd,
    /// Microsoft's newer format.
    Vhdx,
    /// VMware's format.
    Vmdk,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] = [Self::Raw, Self::Iso, Self::Qcow2, Self::Vhd, Self::Vhdx, Self::Vmdk];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Iso => "iso",
            Self::Qcow2 => "qcow2",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vmdk => "vmdk",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw disk",
            Self::Iso => "CD image (ISO 9660)",
            Self::Qcow2 => "qcow2 disk",
            Self::Vhd => "VHD disk",
            Self::Vhdx => "VHDX disk",
            Self::Vmdk => "VMDK disk",
        })
    }
}

/// No format has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are raw, iso, qcow2, vhd, vhdx and vmdk")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or(UnknownFormat)
    }
}

/// How a whole file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
    /// The .xz file format 1.2.
    Xz,
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
        })
    }
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A disk.
    Disk(Format),
    /// Something compressed.
    Packed(Packing),
    /// A format that is not read: what it is, and what to do.
    Foreign(&'static str, &'static str),
}

/// A descriptor of the volume stands in the 17th sector of 2048 bytes (ECMA-119, section 8).
const ISO_AT: usize = 16 * 2048;
const HEAD_LEN: usize = ISO_AT + 6;
const ISO_MAGIC: &[u8] = b"\x01CD001";

const PACKED: &[(&[u8], Packing)] =
    &[(b"\x28\xb5\x2f\xfd", Packing::Zstd), (b"\x1f\x8b\x08", Packing::Gzip), (b"\xfd7zXZ\0", Packing::Xz)];

const CONVERT: &str = "convert it with `qemu-img convert -O raw`";
const UNPACK: &str = "unpack it, and import the disk in it";

/// At which byte what stands in files that are not read; what they are, and what to do.
const FOREIGN: &[(usize, &[u8], &str, &str)] = &[
    (0, b"QED\0", "a QED disk", CONVERT),
    (0, b"COWD", "a VMDK disk of ESX 2", CONVERT),
    (64, b"\x7f\x10\xda\xbe", "a VDI disk of VirtualBox", CONVERT),
    (0, b"WithoutFreeSpace", "a disk of Parallels", CONVERT),
    (0, b"WithouFreSpacExt", "a disk of Parallels", CONVERT),
    (0, b"\x3a\xff\x26\xed", "a sparse image of Android", "convert it with `simg2img`"),
    (
        0,
        b"partclone-image",
        "an image of one partition by partclone",
        "restore it onto a disk, and import that",
    ),
    (0, b"MSWIM\0\0\0", "a Windows image (WIM)", "apply it to a disk, and import that"),
    (0, b"BZh", "compressed with bzip2", UNPACK),
    (0, b"\x04\x22\x4d\x18", "compressed with lz4", UNPACK),
    (0, b"LZIP", "compressed with lzip", UNPACK),
    (0, b"PK\x03\x04", "a ZIP archive", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (257, b"ustar", "a TAR archive (an OVA is one)", UNPACK),
];

/// What is in `file`. What stands at its beginning goes before what stands behind.
pub fn detect(file: &dyn ReadDisk) -> io::Result<Content> {
    let size = file.size();
    let mut head = vec![0; size.min(HEAD_LEN as u64) as usize];
    file.read_at(0, &mut head)?;
    let mut footer = vec![0; size.min(vhd::FOOTER_LEN) as usize];
    file.read_at(size - footer.len() as u64, &mut footer)?;
    let stands = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let packing = PACKED.iter().find(|(magic, _)| stands(0, magic));
    let foreign = FOREIGN.iter().find(|(at, magic, ..)| stands(*at, magic));
    Ok(match (packing, foreign) {
        _ if stands(0, &qcow2::MAGIC) && be32(&head, 4) == 1 => {
            Content::Foreign("a qcow disk of version 1", CONVERT)
        }
        _ if stands(0, &qcow2::MAGIC) => Content::Disk(Format::Qcow2),
        _ if stands(0, &vhdx::MAGIC) => Content::Disk(Format::Vhdx),
        _ if stands(0, &vmdk::MAGIC) || stands(0, vmdk::DESCRIPTOR) => Content::Disk(Format::Vmdk),
        _ if stands(0, &vhd::COOKIE) => Content::Disk(Format::Vhd),
        (Some((_, packing)), _) => Content::Packed(*packing),
        (None, Some((.., what, now))) => Content::Foreign(what, now),
        _ if footer.starts_with(&vhd::COOKIE) => Content::Disk(Format::Vhd),
        _ if stands(ISO_AT, ISO_MAGIC) => Content::Disk(Format::Iso),
        _ => Content::Disk(Format::Raw),
    })
}

/// What the endings of a file's name say. `.img` and the like say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Named {
    /// How it is compressed.
    pub packing: Option<Packing>,
    /// What disk it is, or is when unpacked.
    pub format: Option<Format>,
}

impl Named {
    /// What the name of `path` says.
    pub fn of(path: &Path) -> Self {
        let packing = match ending(path).as_str() {
            "zst" | "zstd" => Some(Packing::Zstd),
            "gz" | "gzip" => Some(Packing::Gzip),
            "xz" => Some(Packing::Xz),
            _ => None,
        };
        let inner = match (packing, path.file_stem()) {
            (Some(_), Some(stem)) => Path::new(stem),
            _ => path,
        };
        let format = match ending(inner).as_str() {
            "raw" | "dd" => Some(Format::Raw),
            "iso" => Some(Format::Iso),
            "qcow2" | "qcow" => Some(Format::Qcow2),
            "vhd" | "vpc" => Some(Format::Vhd),
            "vhdx" | "avhdx" => Some(Format::Vhdx),
            "vmdk" => Some(Format::Vmdk),
            _ => None,
        };
        Self { packing, format }
    }
}

fn ending(path: &Path) -> String {
    path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
}
