//! Partitions that stay: found before anything is written, hashed before and after.
//!
//! ```text
//!   image says `preserve` ─► what the disk says of itself ─► found, fits: hashed, left alone ─► hashed again: equal
//!                            tables, or our record           no table, the whole disk blank: written as the image has it
//!                                                            else: refused, unless a person gave it up
//! ```
//!
//! It stays where the disk has it, moved, larger or smaller than in the image, as long as the image wants nothing else there
//! (`fits`); the table that is written says so. Nothing is ever moved to make room: a power cut would find it in two halves.
//!
//! Poisoning takes away the table that says where they are, so it first leaves a *record*: where, and what they hashed to
//! before the first attempt, or that they are this image's to write. The next attempt after a power cut finds them by it, and
//! proves the survival of both. While the disk has a table at its start, the record is old and says nothing.
//!
//! That nothing says where something was is not that nothing was: without a table that can be read the disk is believed blank only where all
//! is zeros that the image would have, but for the boot region, which poisoning zeroes.
//!
//! What is kept is the bytes. The table is the image's, but for that place, since that is what its system was set up with.

use std::ops::Range;
use std::sync::mpsc::sync_channel;

use super::compare::{Through, is_zero};
use super::fits::fits;
use super::record::{Mark, NO_IMAGE, RECORD_LEN_MAX, Recorded, WRITTEN, decode, encode};
use super::{AlignedBuf, Phase, PlanRefusal, Progress, ProgressEvent, RestoreError, RestoreTarget};
use crate::disk::{Gpt, mbr};
use crate::manifest::header::{Header, Partition, Policy};
use crate::{Content, Digest, Extent, Manifest, Verified};

/// Where in the boot region's head the record lies; nothing that looks for a table or a filesystem looks there.
const RECORD_AT: u64 = 64 << 10;
const READ_LEN: u64 = 1 << 20;
const READS: usize = 4;

/// What becomes of the partitions that an image preserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preserve {
    /// They stay; a disk that does not have them where the image has them is refused, unless it is blank there.
    #[default]
    Keep,
    /// A person has given them up: they are written as the image has them.
    GiveUp,
}

/// A partition of the disk that a restore leaves as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preserved {
    /// Number of the partition, counted from 1 as Linux does.
    pub number: u32,
    /// Its name in the image's table; may be empty.
    pub name: String,
    /// Where it lies, in bytes of the disk.
    pub range: Range<u64>,
    /// Plain blake3 of its bytes, before the first attempt to restore around it.
    pub digest: Digest,
    /// Where the image has it, in bytes; nothing is written there for it.
    pub(super) room: Range<u64>,
    /// What it is recognised by, and its sectors on the disk.
    pub(super) mark: Mark,
}

impl Preserved {
    /// Whether the disk has it at another place, larger or smaller than the image.
    pub fn is_elsewhere(&self) -> bool {
        self.range != self.room
    }

    /// Index of its entry in the table.
    pub(super) fn index(&self) -> u32 {
        self.number - 1
    }
}

/// The partitions that stay, and those that the image would preserve and writes, since the disk is blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    image: Digest,
    stay: Vec<Preserved>,
    written: Vec<Mark>,
}

impl Default for Kept {
    /// Nothing: the image preserves nothing, or a person has given it up. No record says so, the order does each time.
    fn default() -> Self {
        Self { image: NO_IMAGE, stay: Vec::new(), written: Vec::new() }
    }
}

impl Kept {
    /// Every partition that an image preserves, as if a disk had all of them where the image has them.
    pub fn all_of(header: &Header) -> Self {
        let stay = wanted(header).map(|partition| preserved(header, partition, None)).collect();
        Self { stay, ..Self::default() }
    }

    /// What an image preserves on a disk that holds another image.
    pub fn shared(manifest: &Manifest, held: &Header) -> Self {
        let header = manifest.header();
        let there = held.table.partitions.iter().map(|partition| Mark::of_image(&held.table, partition));
        let there: Vec<Mark> = there.collect();
        let stay = wanted(header).filter_map(|partition| {
            let mark = Mark::of_image(&header.table, partition).among(&there, |mark| mark)?;
            Some(preserved(header, partition, Some(mark.lbas)))
        });
        let mut kept = Self { stay: stay.collect(), ..Self::default() };
        let unfit = |one: &Preserved| fits(manifest, one, &kept.stay, held.disk.size).is_err();
        let unfit: Vec<u32> = kept.stay.iter().filter(|one| unfit(one)).map(|one| one.number).collect();
        kept.stay.retain(|one| !unfit.contains(&one.number));
        kept
    }

    pub fn list(&self) -> &[Preserved] {
        &self.stay
    }

    /// Bytes that stay.
    pub fn bytes(&self) -> u64 {
        self.stay.iter().map(|kept| kept.range.end - kept.range.start).sum()
    }

    /// Whether an extent is of what stays; none is in part.
    fn has(&self, extent: &Extent) -> bool {
        self.stay.iter().any(|kept| kept.room.contains(&extent.offset))
    }

    /// The parts of a range of the disk in which nothing stays, in order.
    pub fn outside(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + Send + use<'_> {
        let mut at = range.start;
        std::iter::from_fn(move || {
            while let Some(kept) = self.stay.iter().find(|kept| kept.range.contains(&at)) {
                at = kept.range.end;
            }
            let next = self.stay.iter().map(|kept| kept.range.start).filter(|start| *start > at).min();
            let part = at..next.unwrap_or(u64::MAX).min(range.end);
            at = part.end;
            (part.start < part.end).then_some(part)
        })
    }

    /// What an extent of the image demands of a disk on which this stays: of what stays nothing, of a run of zeros that it lies in
    /// the rest.
    pub fn demands(&self, extent: Extent) -> impl Iterator<Item = Extent> + Send + use<'_> {
        let own = self.has(&extent);
        let whole = (own || extent.content != Content::Zero).then_some(match own {
            true => Extent { content: Content::Any, ..extent },
            false => extent,
        });
        let rest = if whole.is_some() { 0..0 } else { extent.range() };
        let part =
            move |part: Range<u64>| Extent { offset: part.start, len: part.end - part.start, ..extent };
        whole.into_iter().chain(self.outside(rest).map(part))
    }

    /// The record, and where it goes: on the medium before anything that it stands for is taken away.
    pub fn record(&self) -> Option<(u64, AlignedBuf)> {
        if self.stay.is_empty() && self.written.is_empty() {
            return None;
        }
        let mut record = AlignedBuf::new(RECORD_LEN_MAX);
        let stay = self.stay.iter().map(|kept| (kept.mark, Recorded::Stays(kept.digest)));
        let written = self.written.iter().map(|mark| (*mark, Recorded::Written));
        let bytes = encode(&self.image, &stay.chain(written).collect::<Vec<_>>());
        record[..bytes.len()].copy_from_slice(&bytes);
        Some((RECORD_AT, record))
    }

    /// What poisoning puts in the place of the boot region's head.
    pub fn poisoned_head(&self, head_len: u64) -> AlignedBuf {
        let mut head = AlignedBuf::new(head_len as usize);
        if let Some((at, record)) = self.record() {
            head[at as usize..][..record.len()].copy_from_slice(&record);
        }
        head
    }

    /// Read all of it from the medium and compare with what it was.
    pub fn prove(&self, target: &dyn RestoreTarget, progress: &Progress<'_>) -> Result<(), RestoreError> {
        let mut done = 0;
        for kept in &self.stay {
            let shown = |len| {
                progress(ProgressEvent { phase: Phase::ReadBack, done: done + len, total: self.bytes() })
            };
            if digest(target, &kept.range, Through::Medium, &shown)? != kept.digest {
                return Err(RestoreError::NotPreserved { number: kept.number, name: kept.name.clone() });
            }
            done += kept.range.end - kept.range.start;
        }
        Ok(())
    }
}

/// Find and hash what an image preserves. Refuses a disk on which that cannot be told, and one on which it is in the image's way.
pub(super) fn find(
    manifest: &Verified<Manifest>,
    target: &dyn RestoreTarget,
    progress: &Progress<'_>,
) -> Result<Kept, RestoreError> {
    let header = manifest.header();
    let mut kept = Kept { image: manifest.id().0, ..Kept::default() };
    if wanted(header).next().is_none() {
        return Ok(kept);
    }
    let there = There::read(header, target, &kept.image)?;
    let mut blank = false;
    for partition in wanted(header) {
        let mark = Mark::of_image(&header.table, partition);
        match there.place(&mark, partition, target)? {
            Found::At(lbas) => kept.stay.push(preserved(header, partition, Some(lbas))),
            Found::ToWrite => kept.written.push(mark),
            Found::Nowhere => {
                blank = blank || is_blank(header, target, progress)?;
                if !blank {
                    let (number, name) = (partition.index + 1, partition.name.clone());
                    return Err(PlanRefusal::PreservedUnknown { number, name }.into());
                }
                kept.written.push(mark);
            }
        }
    }
    for one in &kept.stay {
        fits(manifest, one, &kept.stay, target.size()).map_err(|taken| {
            let found = words(one.index(), &one.name, one.mark.lbas);
            PlanRefusal::PreservedInTheWay { number: one.number, name: one.name.clone(), found, taken }
        })?;
    }
    let (mut done, total) = (0, kept.bytes());
    for kept in &mut kept.stay {
        let shown = |len| progress(ProgressEvent { phase: Phase::Scan, done: done + len, total });
        kept.digest = digest(target, &kept.range, Through::Cache, &shown)?;
        if there.recorded(&kept.mark).is_some_and(|before| before != kept.digest) {
            return Err(PlanRefusal::PreservedChanged { number: kept.number, name: kept.name.clone() }.into());
        }
        done += kept.range.end - kept.range.start;
    }
    Ok(kept)
}

fn wanted(header: &Header) -> impl Iterator<Item = &Partition> {
    header.table.partitions.iter().filter(|partition| partition.policy == Policy::Preserve)
}

/// As the disk has it in these sectors, or the image.
fn preserved(header: &Header, partition: &Partition, lbas: Option<(u64, u64)>) -> Preserved {
    let sector = u64::from(header.disk.sector_size);
    let bytes = |(first, last): (u64, u64)| first * sector..(last + 1) * sector;
    let mut mark = Mark::of_image(&header.table, partition);
    let room = bytes(mark.lbas);
    mark.lbas = lbas.unwrap_or(mark.lbas);
    let (number, name) = (partition.index + 1, partition.name.clone());
    Preserved { number, name, range: bytes(mark.lbas), digest: WRITTEN, room, mark }
}

/// One table of a disk, for the question where partitions are; with words for people.
struct OldTable(Vec<(Mark, String)>);

/// What a disk says of where its partitions are.
struct There {
    tables: Vec<OldTable>,
    /// Of an earlier attempt; empty where the disk has a table at its start, which is younger.
    record: Vec<(Mark, Recorded)>,
    /// It is of an attempt to restore this image, and the disk begins as poisoning left it, byte for byte.
    ours: bool,
}

/// What a disk says of one of its partitions.
enum Found {
    /// It is in these sectors.
    At((u64, u64)),
    /// The disk was blank before an earlier attempt to restore this image.
    ToWrite,
    /// There is nothing that could say.
    Nowhere,
}

impl There {
    fn read(header: &Header, target: &dyn RestoreTarget, image: &Digest) -> Result<Self, RestoreError> {
        let len = header.disk.head_len;
        let mut head = AlignedBuf::new(len as usize);
        Through::Cache.read(target, 0, &mut head)?;
        let (tables, at_the_start) = tables(target, &head)?;
        let (at, end) = (RECORD_AT as usize, RECORD_AT as usize + RECORD_LEN_MAX);
        let record = head.get(at..end).and_then(|bytes| decode(bytes).ok());
        let (of, record) = record.unwrap_or((NO_IMAGE, Vec::new()));
        let poisoned = is_zero(&head[..at.min(head.len())]) && is_zero(head.get(end..).unwrap_or_default());
        let record = if at_the_start { Vec::new() } else { record };
        Ok(Self { tables, record, ours: poisoned && of == *image })
    }

    /// Where the partition is that stays; refuses where tables are and do not have it alike.
    fn place(
        &self,
        mark: &Mark,
        partition: &Partition,
        target: &dyn RestoreTarget,
    ) -> Result<Found, RestoreError> {
        let places = self.tables.iter().map(|table| Some(mark.among(&table.0, |(mark, _)| mark)?.0.lbas));
        let places: Vec<Option<(u64, u64)>> = places.collect();
        if let Some(Some(place)) = places.first().copied()
            && places.iter().all(|other| *other == Some(place))
        {
            return Ok(Found::At(place));
        }
        let recorded = mark.among(&self.record, |(mark, _)| mark);
        // It lies on a disk that anybody may have written to. A table that is alone at the end and has it nowhere may be much older.
        if let Some((there, Recorded::Stays(_))) = recorded
            && is_on(target, there.lbas)
            && places.iter().all(Option::is_none)
        {
            return Ok(Found::At(there.lbas));
        }
        // None has it, or they say different things: then the one that is not as the image has it.
        let odd = places.iter().position(|place| *place != Some(mark.lbas));
        if let Some(table) = odd.map(|at| &self.tables[at]) {
            let found = table.0.iter().map(|(_, words)| words.as_str()).collect::<Vec<_>>().join(", ");
            let (number, name) = (partition.index + 1, partition.name.clone());
            return Err(PlanRefusal::PreservedElsewhere { number, name, found }.into());
        }
        match recorded {
            // Leave to write is believed only where nothing was written since but by the same image.
            Some((_, Recorded::Written)) if self.ours => Ok(Found::ToWrite),
            Some((_, Recorded::Stays(_) | Recorded::Written)) | None => Ok(Found::Nowhere),
        }
    }

    /// What an interrupted restore found in it.
    fn recorded(&self, there: &Mark) -> Option<Digest> {
        match there.among(&self.record, |(mark, _)| mark)? {
            (mark, Recorded::Stays(digest)) if mark.lbas == there.lbas => Some(*digest),
            (_, Recorded::Stays(_) | Recorded::Written) => None,
        }
    }
}

fn is_on(target: &dyn RestoreTarget, (first, last): (u64, u64)) -> bool {
    first <= last && last < target.size() / u64::from(target.sector_size())
}

/// Every table that the disk shows, and whether one of them is at its start.
fn tables(target: &dyn RestoreTarget, head: &[u8]) -> Result<(Vec<OldTable>, bool), RestoreError> {
    let sector = target.sector_size();
    let mut read = |offset: u64, buf: &mut [u8]| read_unaligned(target, offset, buf);
    let read_failed = RestoreError::disk("read", 0, u64::from(sector));
    let [primary, backup] = Gpt::copies(&mut read, sector, target.size()).map_err(&read_failed)?;
    let first = head.get(..512).unwrap_or_default();
    let mbr = mbr::entries(first, target.size() / u64::from(sector)).filter(|_| !mbr::is_protective(first));
    // A table of four partitions is what firmware and kernel go by, whatever an older backup at the end says.
    if let (None, Some(entries)) = (&primary, mbr) {
        let entry = |entry: &mbr::MbrEntry| {
            let mark = Mark::of_mbr(entry);
            (mark, words(entry.index, "", mark.lbas))
        };
        return Ok((vec![OldTable(entries.iter().map(entry).collect())], true));
    }
    let at_the_start = primary.is_some();
    let entry = |entry: &crate::disk::gpt::GptEntry| {
        let mark = Mark::of_gpt(entry);
        (mark, words(entry.index, &entry.name, mark.lbas))
    };
    let copies = [primary, backup].into_iter().flatten();
    let mut tables: Vec<OldTable> =
        copies.map(|entries| OldTable(entries.iter().map(entry).collect())).collect();
    // One that lists nothing says nothing of where something was.
    tables.retain(|table| !table.0.is_empty());
    Ok((tables, at_the_start))
}

pub(super) fn words(index: u32, name: &str, (first, last): (u64, u64)) -> String {
    let name = if name.is_empty() { String::new() } else { format!(" `{name}`") };
    format!("{}{name} from sector {first} to {last}", index + 1)
}

fn read_unaligned(target: &dyn RestoreTarget, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
    let sector = u64::from(target.sector_size());
    let start = offset - offset % sector;
    let end = (offset + buf.len() as u64).next_multiple_of(sector);
    let mut held = AlignedBuf::new((end - start) as usize);
    target.read_at(start, &mut held)?;
    buf.copy_from_slice(&held[(offset - start) as usize..][..buf.len()]);
    Ok(())
}

/// Whether nothing lies where this image comes to lie, but in the boot region and in what is the endpoint's own. Its free space is looked
/// at, too: its system fills it one day.
fn is_blank(
    header: &Header,
    target: &dyn RestoreTarget,
    progress: &Progress<'_>,
) -> Result<bool, RestoreError> {
    let disk = &header.disk;
    // On a larger disk the end of the image is the middle of what an older table described.
    let end = if target.size() > disk.size { disk.size } else { disk.tail_start() };
    let (mut ranges, mut at) = (Vec::new(), disk.head_len);
    let mut own: Vec<_> = header.host_regions.iter().map(|own| own.offset..own.offset + own.len).collect();
    own.sort_unstable_by_key(|own| own.start);
    for own in own.into_iter().chain(std::iter::once(end..end)) {
        ranges.push(at..own.start.min(end));
        at = at.max(own.end);
    }
    let (mut buf, mut done) = (AlignedBuf::new(READ_LEN as usize), 0);
    for range in ranges {
        for start in range.clone().step_by(READ_LEN as usize) {
            let len = (range.end - start).min(READ_LEN);
            let held = &mut buf[..len as usize];
            read_unaligned(target, start, held).map_err(RestoreError::disk("read", start, len))?;
            if !is_zero(held) {
                return Ok(false);
            }
            done += len;
            progress(ProgressEvent { phase: Phase::Scan, done, total: end });
        }
    }
    Ok(true)
}

/// One thread reads, this one hashes.
fn digest(
    target: &dyn RestoreTarget,
    range: &Range<u64>,
    through: Through,
    progress: &dyn Fn(u64),
) -> Result<Digest, RestoreError> {
    let (reads, reads_out) = sync_channel::<Result<AlignedBuf, RestoreError>>(READS);
    let mut hasher = blake3::Hasher::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for start in range.clone().step_by(READ_LEN as usize) {
                let mut buf = AlignedBuf::new((range.end - start).min(READ_LEN) as usize);
                let read = through.read(target, start, &mut buf).map(|()| buf);
                let failed = read.is_err();
                if reads.send(read).is_err() || failed {
                    return;
                }
            }
        });
        let mut done = 0;
        for bytes in reads_out {
            let bytes = bytes?;
            hasher.update(&bytes);
            done += bytes.len() as u64;
            progress(done);
        }
        Ok(Digest(*hasher.finalize().as_bytes()))
    })
}
