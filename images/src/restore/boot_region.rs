//! The boot region: the first MiB and the backup GPT, without which no firmware starts the disk.
//!
//! On a larger disk its bytes are not those of the image: the backup GPT stands at the real end, and a partition may
//! have grown. So it is compared and written through [`Layout::retarget`], in the image's layout on one side and in the
//! disk's on the other.

use super::compare::Through;
use super::preserve::Kept;
use super::{RestoreError, RestoreTarget};
use crate::disk::gpt::Layout;
use crate::manifest::header::{Policy, Scheme};
use crate::restore::AlignedBuf;
use crate::{ChunkId, Content, Extent, Header, Manifest};

/// The bytes of the boot region.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct BootBytes {
    pub head: Vec<u8>,
    pub tail: Vec<u8>,
}

impl std::fmt::Debug for BootBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BootBytes({} + {})", self.head.len(), self.tail.len())
    }
}

/// Where the boot region stands on a disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub head_len: u64,
    pub tail_start: u64,
    pub tail_len: u64,
    image: Layout,
    disk: Layout,
}

impl Place {
    /// For an image with this header on a disk of this size.
    pub fn new(header: &Header, disk_size: u64) -> Self {
        let disk = &header.disk;
        let sector = u64::from(disk.sector_size);
        let moved = header.table.scheme == Scheme::Gpt && disk_size > disk.size;
        let grow = header.table.partitions.iter().find(|p| p.policy == Policy::Grow).filter(|_| moved);
        // The last usable LBA keeps its distance from the end; partitions end at whole MiB where there is room.
        let usable_end = header.table.usable.1 + (disk_size.saturating_sub(disk.size)) / sector;
        let grown = grow.map(|p| {
            let per_mib = (1 << 20) / sector;
            (p.index, ((usable_end + 1) / per_mib * per_mib).saturating_sub(1).max(p.last_lba))
        });
        let layout = |disk_size, last_lba| Layout { sector: disk.sector_size, disk_size, last_lba };
        let end = if moved { disk_size } else { disk.size };
        Self {
            head_len: disk.head_len,
            tail_start: end - disk.tail_len,
            tail_len: disk.tail_len,
            image: layout(disk.size, grow.map(|p| (p.index, p.last_lba))),
            disk: layout(end, grown),
        }
    }

    /// Bytes as the image has them, from bytes as the disk has them.
    fn to_image(self, bytes: &mut BootBytes) -> Result<(), RestoreError> {
        self.retarget(&self.disk, &self.image, bytes)
    }

    /// Bytes as the disk must have them, from bytes as the image has them.
    pub fn to_disk(self, bytes: &mut BootBytes) -> Result<(), RestoreError> {
        self.retarget(&self.image, &self.disk, bytes)
    }

    fn retarget(&self, from: &Layout, to: &Layout, bytes: &mut BootBytes) -> Result<(), RestoreError> {
        match from.disk_size == to.disk_size {
            true => Ok(()),
            false => from.retarget(to, &mut bytes.head, &mut bytes.tail).map_err(RestoreError::Table),
        }
    }

    /// Read the boot region as the disk has it.
    pub fn read(&self, target: &dyn RestoreTarget, through: Through) -> Result<BootBytes, RestoreError> {
        let (mut head, mut tail) =
            (AlignedBuf::new(self.head_len as usize), AlignedBuf::new(self.tail_len as usize));
        through.read(target, 0, &mut head)?;
        through.read(target, self.tail_start, &mut tail)?;
        Ok(BootBytes { head: head.to_vec(), tail: tail.to_vec() })
    }

    /// The boot region in the image's layout, if the disk holds it as the manifest says.
    pub fn read_if_right(
        &self,
        manifest: &Manifest,
        target: &dyn RestoreTarget,
    ) -> Result<Option<BootBytes>, RestoreError> {
        let mut bytes = self.read(target, Through::Cache)?;
        if self.to_image(&mut bytes).is_err() {
            return Ok(None);
        }
        let right = extents(manifest).all(|extent| {
            let held = slice(manifest.header(), &bytes, &extent);
            match extent.content {
                Content::Data(id) => ChunkId::of(held) == id,
                Content::Zero => super::compare::is_zero(held),
                Content::Any => true,
            }
        });
        Ok(right.then_some(bytes))
    }
}

/// The extents of the boot region.
pub(super) fn extents(manifest: &Manifest) -> impl Iterator<Item = Extent> + '_ {
    let disk = &manifest.header().disk;
    let (head, tail) = (disk.head_len, disk.tail_start());
    manifest.extents().filter(move |extent| extent.offset < head || extent.offset >= tail)
}

/// All other extents, with their indexes in the manifest. Those of what stays may hold anything.
pub(super) fn payload<'s>(
    manifest: &'s Manifest,
    kept: &'s Kept,
) -> impl Iterator<Item = (usize, Extent)> + Send + 's {
    let disk = &manifest.header().disk;
    let (head, tail) = (disk.head_len, disk.tail_start());
    let payload = manifest.extents().enumerate().filter(move |(_, e)| e.offset >= head && e.offset < tail);
    payload.map(|(index, extent)| match kept.has(&extent) {
        true => (index, Extent { content: Content::Any, ..extent }),
        false => (index, extent),
    })
}

fn slice<'b>(header: &Header, bytes: &'b BootBytes, extent: &Extent) -> &'b [u8] {
    let disk = &header.disk;
    let (part, start) = match extent.offset < disk.head_len {
        true => (&bytes.head, 0),
        false => (&bytes.tail, disk.tail_start()),
    };
    let at = (extent.offset - start) as usize;
    &part[at..at + extent.len as usize]
}

/// An empty boot region, to be filled by [`put`].
pub(super) fn blank(header: &Header) -> BootBytes {
    BootBytes { head: vec![0; header.disk.head_len as usize], tail: vec![0; header.disk.tail_len as usize] }
}

/// Put the plain bytes of an extent in their place.
pub(super) fn put(header: &Header, bytes: &mut BootBytes, extent: &Extent, plain: &[u8]) {
    let disk = &header.disk;
    let (part, start) = match extent.offset < disk.head_len {
        true => (&mut bytes.head, 0),
        false => (&mut bytes.tail, disk.tail_start()),
    };
    let at = (extent.offset - start) as usize;
    part[at..at + plain.len()].copy_from_slice(plain);
}
