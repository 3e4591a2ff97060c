//! The scan: what the disk holds already. It only reads.

use super::boot_region::{self, BootBytes, Place};
use super::compare::{Differences, Through, compare};
use super::plan::{PlanRefusal, wanted};
use super::preserve::{self, Kept, Preserve, Preserved};
use super::seeds::{self, Seeds};
use super::{Phase, Progress, ProgressEvent, RestoreError, RestoreTarget};
use crate::{Content, ImageId, Manifest, Verified};

/// What a disk holds of an image.
#[derive(Debug, Clone)]
pub struct Scan {
    pub(super) image: ImageId,
    pub(super) disk_size: u64,
    pub(super) sector_size: u32,
    pub(super) differences: Differences,
    /// Wanted chunks that stand where something else belongs.
    pub(super) seeds: Seeds,
    /// The boot region in the image's layout, when the disk has it right. It is kept, since poisoning wipes it.
    pub(super) boot: Option<BootBytes>,
    pub(super) kept: Kept,
}

impl Scan {
    /// Whether the disk holds the whole image.
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.boot.is_some()
    }

    /// Whether the boot region is right.
    pub fn boots(&self) -> bool {
        self.boot.is_some()
    }

    /// The partitions that stay as they are.
    pub fn preserved(&self) -> &[Preserved] {
        self.kept.list()
    }

    /// Bytes in extents that differ, without the boot region.
    pub fn differing_bytes(&self) -> u64 {
        self.differences.bytes
    }
}

/// Of a disk that is about to be erased: it is not read, and nothing of it counts as right. For the plan that says whether this disk
/// can be restored at all, and the poison that comes before the erasure; once it is erased it is scanned like any other. What the image
/// preserves must have been given up.
pub fn unread(
    manifest: &Verified<Manifest>,
    target: &dyn RestoreTarget,
    preserve: Preserve,
) -> Result<Scan, RestoreError> {
    let header = manifest.header();
    let (disk_size, sector_size) = (target.size(), target.sector_size());
    PlanRefusal::of_disk(header, disk_size, sector_size)?;
    if let (Preserve::Keep, Some(stays)) = (preserve, Kept::all_of(header).list().first()) {
        let (number, name) = (stays.number, stays.name.clone());
        return Err(PlanRefusal::PreservedErased { number, name }.into());
    }
    let kept = Kept::default();
    let differences = Differences::all(boot_region::payload(manifest, &kept));
    let image = manifest.id();
    Ok(Scan { image, disk_size, sector_size, differences, seeds: Seeds::default(), boot: None, kept })
}

/// Read every extent of the image from the disk and compare; what differs is searched for chunks of the image. Refuses disks that cannot hold the image.
pub fn scan(
    manifest: &Verified<Manifest>,
    target: &dyn RestoreTarget,
    progress: &Progress<'_>,
) -> Result<Scan, RestoreError> {
    scan_for(manifest, target, Preserve::Keep, progress)
}

/// As [`scan`], and say what becomes of the partitions that the image preserves. They are looked for first.
pub fn scan_for(
    manifest: &Verified<Manifest>,
    target: &dyn RestoreTarget,
    preserve: Preserve,
    progress: &Progress<'_>,
) -> Result<Scan, RestoreError> {
    let header = manifest.header();
    let (disk_size, sector_size) = (target.size(), target.sector_size());
    PlanRefusal::of_disk(header, disk_size, sector_size)?;
    let all = match preserve {
        Preserve::Keep => Kept::all_of(header),
        Preserve::GiveUp => Kept::default(),
    };
    // What stays is read first, and the bar goes on from there.
    let first = all.bytes();
    let read = boot_region::payload(manifest, &all).filter(|(_, e)| e.content != Content::Any);
    let rest: u64 = read.map(|(_, extent)| extent.len).sum();
    let shown = |event: ProgressEvent| {
        let total = first + rest;
        progress(ProgressEvent { done: event.done.min(total), total, ..event });
    };
    let kept = match preserve {
        Preserve::Keep => preserve::find(manifest, target, &shown)?,
        Preserve::GiveUp => Kept::default(),
    };
    let boot = Place::new(header, disk_size, &kept).read_if_right(manifest, target)?;
    let first = kept.bytes();
    let payload = || boot_region::payload(manifest, &kept);
    let total = payload().filter(|(_, e)| e.content != Content::Any).map(|(_, e)| e.len).sum();
    let shown = |event: ProgressEvent| {
        progress(ProgressEvent { done: first + event.done, total: first + event.total, ..event });
    };
    let differences = compare(target, Through::Cache, payload(), total, Phase::Scan, &shown)?;
    let wanted = wanted(manifest, &kept, &differences.wrong);
    let seeds = seeds::search(target, &differences.other, &wanted, progress);
    Ok(Scan { image: manifest.id(), disk_size, sector_size, differences, seeds, boot, kept })
}
