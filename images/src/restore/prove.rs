//! Read back, then commit: the boot region is written last, and only when every byte has been proven.

use std::collections::BTreeMap;
use std::ops::Range;

use super::boot_region::{self, BootBytes, Place};
use super::compare::{Differences, Through, compare};
use super::place::{EndpointFile, Overlay, PlacedOn};
use super::preserve::{Kept, Preserved};
use super::write::{Job, flush, poison};
use super::{AlignedBuf, Phase, ProgressEvent, RestoreError, RestoreStats, RestoreTarget, Written};
use crate::disk::{ESP_TYPE, esp};
use crate::manifest::header::{Partition, Scheme};
use crate::{Content, Extent, ImageId, Manifest};

/// Length of the boot code in a master boot record.
const BOOT_CODE_LEN: usize = 440;
/// `int 18h`: this device does not boot, try the next (BIOS Boot Specification 1.01, section 6.7).
const NEXT_DEVICE: [u8; 2] = [0xcd, 0x18];
/// A write may touch this many bytes beside its extent, to complete a sector.
const EDGE: u64 = 4096;

/// How much is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadBack {
    /// Every extent of the image.
    #[default]
    Everything,
    /// What was written, and its neighbours.
    Written,
}

/// Every byte but the boot region is on the medium, and was read from there.
pub struct Proven<'a> {
    written: Written<'a>,
    /// What was placed, and what was read for it, by where its partition begins.
    overlays: BTreeMap<u64, Overlay<'a>>,
}

/// The disk holds the image and boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    image: ImageId,
    stats: RestoreStats,
}

impl Restored {
    /// The image that the disk holds.
    pub fn image(&self) -> ImageId {
        self.image
    }

    /// What was done for it.
    pub fn stats(&self) -> RestoreStats {
        self.stats
    }
}

impl<'a> Written<'a> {
    /// What was done so far.
    pub fn stats(&self) -> RestoreStats {
        self.stats
    }

    /// The partitions that stay as they are.
    pub fn preserved(&self) -> &[Preserved] {
        self.plan.preserved()
    }

    /// Read back from the medium; what stays is compared with what it was. What is wrong is written once more; what is wrong then fails the disk.
    pub fn read_back(mut self, how: ReadBack) -> Result<Proven<'a>, RestoreError> {
        let kept = &self.plan.scan.kept;
        kept.prove(self.target, self.progress)?;
        let whole = 0..self.plan.manifest.header().disk.size;
        let touched = match how {
            ReadBack::Everything => vec![whole],
            ReadBack::Written => touched(self.plan.manifest, kept, &self.plan.scan.differences),
        };
        let found = self.compare(&touched)?;
        self.stats.read_back += found.compared - found.bytes;
        let Some(offset) = found.first else {
            return Ok(Proven { written: self, overlays: BTreeMap::new() });
        };
        if !self.poisoned {
            // Nothing was poisoned, so nothing may be written.
            return Err(RestoreError::Unstable { offset });
        }
        self.rewrite(&found)?;
        let again = self.compare(&self::touched(self.plan.manifest, &self.plan.scan.kept, &found))?;
        if let Some(offset) = again.first {
            return Err(RestoreError::ReadBack { offset, bytes: again.bytes });
        }
        self.stats.read_back += found.bytes;
        Ok(Proven { written: self, overlays: BTreeMap::new() })
    }

    fn compare(&self, touched: &[Range<u64>]) -> Result<Differences, RestoreError> {
        let (manifest, kept): (&Manifest, _) = (self.plan.manifest, &self.plan.scan.kept);
        let readable = |(_, e): &(usize, Extent)| e.content != Content::Any;
        let total = select(manifest, kept, touched).filter(readable).map(|(_, e)| e.len).sum();
        let extents = select(manifest, kept, touched);
        compare(self.target, Through::Medium, extents, total, Phase::ReadBack, self.progress)
    }

    fn rewrite(&mut self, found: &Differences) -> Result<(), RestoreError> {
        let wrong =
            boot_region::payload(self.plan.manifest, &self.plan.scan.kept).filter_map(|(index, extent)| {
                match extent.content {
                    Content::Data(id) if found.wrong.contains(index) => Some((extent, id)),
                    _ => None,
                }
            });
        let job = Job {
            plan: &self.plan,
            target: self.target,
            source: self.source,
            total: found.bytes,
            progress: self.progress,
            // A disk that says yes to punching and does nothing gets zeros that are written.
            punch: false,
        };
        let done = job.run(wrong, &found.dirty)?;
        self.stats.add(done);
        self.stats.rewritten += found.bytes;
        flush(self.target)
    }
}

impl Proven<'_> {
    /// Put a file of the endpoint on the EFI system partition, such as its enrolment ticket, or on the seed partition. Files of the image cannot be
    /// replaced or changed: what the file's blocks held beside it is read again from the medium. A disk that held the
    /// image already is poisoned first. The next scan will see those blocks as differing.
    ///
    /// # Errors
    /// The proof is gone with any of them; once writing has begun the disk does not boot.
    pub fn place(mut self, file: EndpointFile, bytes: &[u8]) -> Result<Self, RestoreError> {
        let path = file.path();
        let range = self.range_for(file)?;
        let Written { plan, target, poisoned, stats, .. } = &mut self.written;
        let overlay = self
            .overlays
            .entry(range.start)
            .or_insert_with(|| Overlay::new(*target, plan.manifest, &plan.scan.kept, &range));
        esp::put_file(overlay, range, path, bytes)
            .map_err(|error| overlay.take_failure().unwrap_or(RestoreError::Place(error)))?;
        if !*poisoned {
            poison(*target, plan.manifest, &plan.scan.kept)?;
            *poisoned = true;
        }
        stats.written += overlay.write_out()?;
        Ok(self)
    }

    /// Whether the image brings such a file itself.
    pub fn holds(&mut self, file: EndpointFile) -> Result<bool, RestoreError> {
        let range = self.range_for(file)?;
        let Written { plan, target, .. } = &self.written;
        let overlay = self
            .overlays
            .entry(range.start)
            .or_insert_with(|| Overlay::new(*target, plan.manifest, &plan.scan.kept, &range));
        let held = esp::Esp::open(overlay, range).map(|partition| partition.has(file.path()));
        held.map_err(|error| overlay.take_failure().unwrap_or(RestoreError::Place(error)))
    }

    fn range_for(&self, file: EndpointFile) -> Result<Range<u64>, RestoreError> {
        let path = file.path();
        match file.on() {
            PlacedOn::Esp => self.esp().ok_or(RestoreError::NoEsp { path }),
            PlacedOn::Seed => self.seed().ok_or(RestoreError::NoSeed { path }),
        }
    }

    /// Where the EFI system partition lies, in bytes of the disk; none if it overlaps the boot region.
    pub fn esp(&self) -> Option<Range<u64>> {
        let header = self.written.plan.manifest.header();
        let esp = header.table.partitions.iter().find(|p| p.type_guid == ESP_TYPE)?;
        self.outside_boot_region(esp)
    }

    /// Where the partition named `cidata` lies that the image wants written, if it has one: what belongs to the endpoint goes there.
    pub fn seed(&self) -> Option<Range<u64>> {
        self.outside_boot_region(self.written.plan.manifest.header().seed_partition()?)
    }

    fn outside_boot_region(&self, partition: &Partition) -> Option<Range<u64>> {
        let header = self.written.plan.manifest.header();
        let sector = u64::from(header.disk.sector_size);
        let range = partition.first_lba * sector..(partition.last_lba + 1) * sector;
        (range.start >= header.disk.head_len && range.end <= header.disk.tail_start()).then_some(range)
    }

    /// The partitions that stayed as they were.
    pub fn preserved(&self) -> &[Preserved] {
        self.written.preserved()
    }

    /// What was done so far.
    pub fn stats(&self) -> RestoreStats {
        self.written.stats
    }

    /// Write the boot region, flush, and read it back: from here on the disk boots.
    pub fn commit_boot_region(self) -> Result<Restored, RestoreError> {
        let Written { plan, target, progress, mut boot, poisoned, mut stats, .. } = self.written;
        let image = plan.manifest.id();
        if !poisoned {
            return Ok(Restored { image, stats });
        }
        let place = plan.place();
        place.to_disk(&mut boot)?;
        let total = place.head_len + place.tail_len;
        progress(ProgressEvent { phase: Phase::Commit, done: 0, total });
        flush(target)?;
        let witness = plan.manifest.header().table.scheme == Scheme::Mbr && plan.scan.kept.record().is_some();
        for _attempt in 0..2 {
            stats.written += write_boot(target, &place, &boot, witness)?;
            if place.read(target, Through::Medium)? == boot {
                stats.read_back += total;
                progress(ProgressEvent { phase: Phase::Commit, done: total, total });
                return Ok(Restored { image, stats });
            }
            stats.rewritten += total;
        }
        // What stands there now is unknown; it shall at least not boot.
        poison(target, plan.manifest, &plan.scan.kept)?;
        Err(RestoreError::ReadBack { offset: 0, bytes: total })
    }
}

/// Backup table first, first sector last, each flushed, so that the disk starts to boot with one small write.
///
/// Between the second and the third there is no record any more, and a table of four partitions has no backup. With `witness` the
/// table comes first of all, without the image's boot code: in its place stands what sends a BIOS to the next device.
fn write_boot(
    target: &dyn RestoreTarget,
    place: &Place,
    boot: &BootBytes,
    witness: bool,
) -> Result<u64, RestoreError> {
    let sector = target.sector_size() as usize;
    let mut table = boot.head[..sector.min(boot.head.len())].to_vec();
    if let Some(code) = table.get_mut(..BOOT_CODE_LEN) {
        code.fill(0);
        code[..NEXT_DEVICE.len()].copy_from_slice(&NEXT_DEVICE);
    }
    let parts = [
        (0, if witness { &table[..] } else { &[] }),
        (place.tail_start, &boot.tail[..]),
        (sector as u64, boot.head.get(sector..).unwrap_or_default()),
        (0, &boot.head[..sector.min(boot.head.len())]),
    ];
    let mut written = 0;
    for (offset, bytes) in parts.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let mut aligned = AlignedBuf::new(bytes.len());
        aligned.copy_from_slice(bytes);
        let len = bytes.len() as u64;
        target.write_at(offset, &aligned).map_err(RestoreError::disk("write", offset, len))?;
        flush(target)?;
        written += len;
    }
    Ok(written)
}

/// Every range that writing these differences may have touched, in order, merged.
fn touched(manifest: &Manifest, kept: &Kept, differences: &Differences) -> Vec<Range<u64>> {
    let wrong = boot_region::payload(manifest, kept).filter(|(index, _)| differences.wrong.contains(*index));
    let mut ranges: Vec<Range<u64>> = wrong.map(|(_, extent)| extent.range()).collect();
    ranges.extend(differences.dirty.iter().cloned());
    for range in &mut ranges {
        *range = range.start.saturating_sub(EDGE)..range.end + EDGE;
    }
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let meet = next.start <= last.end;
        if meet {
            last.end = last.end.max(next.end);
        }
        meet
    });
    ranges
}

/// The extents of the payload that the ranges touch: data whole, zeros only where touched.
fn select<'s>(
    manifest: &'s Manifest,
    kept: &'s Kept,
    touched: &'s [Range<u64>],
) -> impl Iterator<Item = (usize, Extent)> + Send + 's {
    boot_region::payload(manifest, kept).flat_map(move |(index, extent)| {
        let first = touched.partition_point(|range| range.end <= extent.offset);
        let meeting = touched[first..].iter().take_while(move |range| range.start < extent.end());
        let whole = matches!(extent.content, Content::Data(_));
        meeting.take(if whole { 1 } else { usize::MAX }).map(move |range| {
            let (start, end) = match whole {
                true => (extent.offset, extent.end()),
                false => (range.start.max(extent.offset), range.end.min(extent.end())),
            };
            (index, Extent { offset: start, len: end - start, ..extent })
        })
    })
}
