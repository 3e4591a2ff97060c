//! The boot region: the first MiB and the backup GPT, without which no firmware starts the disk.
//!
//! Its bytes are not always those of the image: on a larger disk the backup GPT stands at the real end, and a partition may
//! have grown; what is preserved may lie elsewhere. So it is compared and written through [`Layout::retarget`], in the image's layout on one side and in the
//! disk's on the other.

use super::compare::Through;
use super::preserve::Kept;
use super::{RestoreError, RestoreTarget};
use crate::disk::gpt::Layout;
use crate::manifest::header::{Partition, Policy, Scheme};
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
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub head_len: u64,
    pub tail_start: u64,
    pub tail_len: u64,
    image: Layout,
    disk: Layout,
}

impl Place {
    /// For an image with this header on a disk of this size, on which this stays.
    pub fn new(header: &Header, disk_size: u64, kept: &Kept) -> Self {
        let disk = &header.disk;
        let sector = u64::from(disk.sector_size);
        let moved = header.table.scheme == Scheme::Gpt && disk_size > disk.size;
        let end = if moved { disk_size } else { disk.size };
        let (mut in_image, mut on_disk) = (Vec::new(), Vec::new());
        if let Some(p) = header.table.partitions.iter().find(|p| p.policy == Policy::Grow).filter(|_| moved) {
            in_image.push((p.index, (p.first_lba, p.last_lba)));
            on_disk.push((p.index, (p.first_lba, grown(header, p, end, kept))));
        }
        for kept in kept.list().iter().filter(|kept| kept.is_elsewhere()) {
            in_image.push((kept.index(), (kept.room.start / sector, kept.room.end / sector - 1)));
            on_disk.push((kept.index(), kept.mark.lbas));
        }
        let layout = |disk_size, places| Layout { sector: disk.sector_size, disk_size, places };
        Self {
            head_len: disk.head_len,
            tail_start: end - disk.tail_len,
            tail_len: disk.tail_len,
            image: layout(disk.size, in_image),
            disk: layout(end, on_disk),
        }
    }

    /// Bytes as the image has them, from bytes as the disk has them.
    fn to_image(&self, bytes: &mut BootBytes) -> Result<(), RestoreError> {
        Self::retarget(&self.disk, &self.image, bytes)
    }

    /// Bytes as the disk must have them, from bytes as the image has them.
    pub fn to_disk(&self, bytes: &mut BootBytes) -> Result<(), RestoreError> {
        Self::retarget(&self.image, &self.disk, bytes)
    }

    fn retarget(from: &Layout, to: &Layout, bytes: &mut BootBytes) -> Result<(), RestoreError> {
        match from == to {
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

/// The last sector of a partition that grows to the end of a disk of this size, or to what stays behind it. The last usable sector
/// keeps its distance from the end; partitions end at whole MiB where there is room.
fn grown(header: &Header, partition: &Partition, disk_size: u64, kept: &Kept) -> u64 {
    let sector = u64::from(header.disk.sector_size);
    let usable_end = header.table.usable.1 + (disk_size - header.disk.size) / sector;
    let behind = kept.list().iter().map(|kept| kept.mark.lbas.0).filter(|first| *first > partition.last_lba);
    let end = behind.min().unwrap_or(u64::MAX).min(usable_end + 1);
    let per_mib = (1 << 20) / sector;
    (end / per_mib * per_mib).saturating_sub(1).max(partition.last_lba)
}

/// The extents of the boot region.
pub(super) fn extents(manifest: &Manifest) -> impl Iterator<Item = Extent> + '_ {
    let disk = &manifest.header().disk;
    let (head, tail) = (disk.head_len, disk.tail_start());
    manifest.extents().filter(move |extent| extent.offset < head || extent.offset >= tail)
}

/// All other extents, with their indexes in the manifest. Those of what stays may hold anything; runs of zeros leave it out.
pub(super) fn payload<'s>(
    manifest: &'s Manifest,
    kept: &'s Kept,
) -> impl Iterator<Item = (usize, Extent)> + Send + 's {
    let disk = &manifest.header().disk;
    let (head, tail) = (disk.head_len, disk.tail_start());
    let payload = manifest.extents().enumerate().filter(move |(_, e)| e.offset >= head && e.offset < tail);
    payload.flat_map(|(index, extent)| kept.demands(extent).map(move |part| (index, part)))
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
