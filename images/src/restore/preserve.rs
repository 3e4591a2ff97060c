//! Partitions that stay: found before anything is written, hashed before and after.
//!
//! ```text
//!   image says `preserve` ─► what the disk says of itself ─► found: hashed, its extents count as `any` ─► hashed again: equal
//!                            tables, or our record           blank: written as the image has it
//!                                                            else: refused, unless a person gave it up
//! ```
//!
//! Poisoning takes away the table that says where they are, so it first leaves a *record*: where, and what they hashed to
//! before the first attempt, or that they are the image's to write. The next attempt after a power cut finds them by it, and
//! proves the survival of both. While the disk has a table at its start, the record is old and says nothing.
//!
//! What is kept is the bytes. The table is the image's, since that is what its system was set up with.

use std::ops::Range;
use std::sync::mpsc::sync_channel;

use super::compare::{Through, is_zero};
use super::{AlignedBuf, Phase, PlanRefusal, Progress, ProgressEvent, RestoreError, RestoreTarget};
use crate::disk::{Gpt, mbr};
use crate::manifest::header::{Header, Partition, Policy};
use crate::wire::{Reader, WireError, Writer};
use crate::{Digest, Extent};

/// Where in the boot region's head the record lies; nothing that looks for a table or a filesystem looks there.
const RECORD_AT: u64 = 64 << 10;
const RECORD_MAGIC: &[u8; 8] = b"GSKEEP\x01\n";
const RECORD_CONTEXT: &str = "groundstate 2026-11-28 preserved partitions";
/// Magic, count, 256 entries of 64 bytes and the digest, in whole sectors.
const RECORD_LEN_MAX: usize = 20 << 10;
const ENTRIES_MAX: u32 = 256;
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
    place: Place,
}

/// What a partition is recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    type_guid: [u8; 16],
    lbas: (u64, u64),
}

impl From<&Partition> for Place {
    fn from(partition: &Partition) -> Self {
        Self { type_guid: partition.type_guid, lbas: (partition.first_lba, partition.last_lba) }
    }
}

/// The partitions that stay, and those that the image would preserve and writes, since the disk is blank there or they were given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Kept {
    stay: Vec<Preserved>,
    written: Vec<Place>,
}

/// What a record says of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    /// It stays, and hashed to this.
    Stays(Digest),
    /// It is the image's to write.
    Written,
}

/// In the record: not the digest of anything, as nobody can find a preimage.
const WRITTEN: Digest = Digest([0; 32]);

impl Kept {
    /// Every partition that an image preserves, as if a disk had all of them.
    pub fn all_of(header: &Header) -> Self {
        let stay = wanted(header).map(|partition| preserved(header, partition)).collect();
        Self { stay, written: Vec::new() }
    }

    /// None of them: a person has given them up.
    pub fn given_up(header: &Header) -> Self {
        Self { stay: Vec::new(), written: wanted(header).map(Place::from).collect() }
    }

    /// What an image preserves on a disk that holds another image.
    pub fn shared(header: &Header, held: &Header) -> Self {
        let mut kept = Self::all_of(header);
        kept.stay.retain(|kept| held.table.partitions.iter().any(|there| Place::from(there) == kept.place));
        kept
    }

    pub fn list(&self) -> &[Preserved] {
        &self.stay
    }

    /// Bytes that stay.
    pub fn bytes(&self) -> u64 {
        self.stay.iter().map(|kept| kept.range.end - kept.range.start).sum()
    }

    /// Whether an extent lies in what stays; none lies there in part.
    pub fn has(&self, extent: &Extent) -> bool {
        self.stay.iter().any(|kept| kept.range.start <= extent.offset && extent.offset < kept.range.end)
    }

    /// The record, and where it goes: on the medium before anything that it stands for is taken away.
    pub fn record(&self) -> Option<(u64, AlignedBuf)> {
        if self.stay.is_empty() && self.written.is_empty() {
            return None;
        }
        let mut record = AlignedBuf::new(RECORD_LEN_MAX);
        let bytes = encode(&self.stay, &self.written);
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

/// Find and hash what an image preserves. Refuses a disk on which that cannot be told.
pub(super) fn find(
    header: &Header,
    target: &dyn RestoreTarget,
    progress: &Progress<'_>,
) -> Result<Kept, RestoreError> {
    let mut kept = Kept::default();
    if wanted(header).next().is_none() {
        return Ok(kept);
    }
    let there = There::read(header, target)?;
    for partition in wanted(header) {
        match there.has(header, partition, target, progress)? {
            true => kept.stay.push(preserved(header, partition)),
            false => kept.written.push(Place::from(partition)),
        }
    }
    let (mut done, total) = (0, kept.bytes());
    for kept in &mut kept.stay {
        let shown = |len| progress(ProgressEvent { phase: Phase::Scan, done: done + len, total });
        kept.digest = digest(target, &kept.range, Through::Cache, &shown)?;
        let before = there.record.iter().find(|(place, _)| *place == kept.place).map(|(_, said)| *said);
        if matches!(before, Some(Recorded::Stays(before)) if before != kept.digest) {
            return Err(PlanRefusal::PreservedChanged { number: kept.number, name: kept.name.clone() }.into());
        }
        done += kept.range.end - kept.range.start;
    }
    Ok(kept)
}

fn wanted(header: &Header) -> impl Iterator<Item = &Partition> {
    header.table.partitions.iter().filter(|partition| partition.policy == Policy::Preserve)
}

fn preserved(header: &Header, partition: &Partition) -> Preserved {
    let sector = u64::from(header.disk.sector_size);
    Preserved {
        number: partition.index + 1,
        name: partition.name.clone(),
        range: partition.first_lba * sector..(partition.last_lba + 1) * sector,
        digest: WRITTEN,
        place: Place::from(partition),
    }
}

/// One table of a disk, for the question where partitions are; with names for people.
struct Table(Vec<(Place, String)>);

/// What a disk says of where its partitions are.
struct There {
    tables: Vec<Table>,
    /// Of an earlier attempt; empty where the disk has a table at its start, which is younger.
    record: Vec<(Place, Recorded)>,
    /// The disk begins as poisoning left it, byte for byte.
    poisoned: bool,
}

impl There {
    fn read(header: &Header, target: &dyn RestoreTarget) -> Result<Self, RestoreError> {
        let len = header.disk.head_len;
        let mut head = AlignedBuf::new(len as usize);
        Through::Cache.read(target, 0, &mut head)?;
        let (tables, at_the_start) = tables(target, &head)?;
        let (at, end) = (RECORD_AT as usize, RECORD_AT as usize + RECORD_LEN_MAX);
        let record = head.get(at..end).map(|bytes| decode(bytes).unwrap_or_default()).unwrap_or_default();
        let poisoned = is_zero(&head[..at.min(head.len())]) && is_zero(head.get(end..).unwrap_or_default());
        let record = if at_the_start { Vec::new() } else { record };
        Ok(Self { tables, record, poisoned })
    }

    /// Whether the partition is there and stays; refuses where that cannot be told.
    fn has(
        &self,
        header: &Header,
        partition: &Partition,
        target: &dyn RestoreTarget,
        progress: &Progress<'_>,
    ) -> Result<bool, RestoreError> {
        let place = Place::from(partition);
        let (number, name) = (partition.index + 1, partition.name.clone());
        let without = |table: &&Table| table.0.iter().all(|(there, _)| *there != place);
        if let Some(table) = self.tables.iter().find(without) {
            let found = table.0.iter().map(|(_, words)| words.as_str()).collect::<Vec<_>>().join(", ");
            return Err(PlanRefusal::PreservedElsewhere { number, name, found }.into());
        }
        let said = self.record.iter().find(|(there, _)| *there == place).map(|(_, said)| *said);
        match said {
            _ if !self.tables.is_empty() => return Ok(true),
            Some(Recorded::Stays(_)) => return Ok(true),
            // Leave to write is believed only where nothing else was written since.
            Some(Recorded::Written) if self.poisoned => return Ok(false),
            Some(Recorded::Written) | None => {}
        }
        // No table: a disk that is blank there has lost nothing.
        match is_blank(target, &preserved(header, partition).range, progress)? {
            true => Ok(false),
            false => Err(PlanRefusal::PreservedUnknown { number, name }.into()),
        }
    }
}

/// Every table that the disk shows, and whether one of them is at its start.
fn tables(target: &dyn RestoreTarget, head: &[u8]) -> Result<(Vec<Table>, bool), RestoreError> {
    let sector = target.sector_size();
    let mut read = |offset: u64, buf: &mut [u8]| read_unaligned(target, offset, buf);
    let read_failed = RestoreError::disk("read", 0, u64::from(sector));
    let [primary, backup] = Gpt::copies(&mut read, sector, target.size()).map_err(&read_failed)?;
    let first = head.get(..512).unwrap_or_default();
    let mbr = mbr::entries(first, target.size() / u64::from(sector)).filter(|_| !mbr::is_protective(first));
    // A table of four partitions is what firmware and kernel go by, whatever an older backup at the end says.
    if let (None, Some(entries)) = (&primary, mbr) {
        let entry = |entry: &mbr::MbrEntry| {
            let mut type_guid = [0; 16];
            type_guid[0] = entry.kind;
            let place = Place { type_guid, lbas: (entry.first_lba, entry.last_lba) };
            (place, words(entry.index, "", place.lbas))
        };
        return Ok((vec![Table(entries.iter().map(entry).collect())], true));
    }
    let at_the_start = primary.is_some();
    let entry = |entry: &crate::disk::gpt::GptEntry| {
        let place = Place { type_guid: entry.type_guid, lbas: (entry.first_lba, entry.last_lba) };
        (place, words(entry.index, &entry.name, place.lbas))
    };
    let copies = [primary, backup].into_iter().flatten();
    let mut tables: Vec<Table> = copies.map(|entries| Table(entries.iter().map(entry).collect())).collect();
    // One that lists nothing says nothing of where something was.
    tables.retain(|table| !table.0.is_empty());
    Ok((tables, at_the_start))
}

fn words(index: u32, name: &str, (first, last): (u64, u64)) -> String {
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

fn is_blank(
    target: &dyn RestoreTarget,
    range: &Range<u64>,
    progress: &Progress<'_>,
) -> Result<bool, RestoreError> {
    let mut buf = AlignedBuf::new(READ_LEN as usize);
    for start in range.clone().step_by(READ_LEN as usize) {
        let held = &mut buf[..(range.end - start).min(READ_LEN) as usize];
        Through::Cache.read(target, start, held)?;
        if !is_zero(held) {
            return Ok(false);
        }
        let (done, total) = (start - range.start, range.end - range.start);
        progress(ProgressEvent { phase: Phase::Scan, done, total });
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

fn encode(stay: &[Preserved], written: &[Place]) -> Vec<u8> {
    let mut out = Writer::new();
    out.bytes(RECORD_MAGIC).u32((stay.len() + written.len()) as u32);
    let entries = stay.iter().map(|kept| (&kept.place, &kept.digest));
    for (place, digest) in entries.chain(written.iter().map(|place| (place, &WRITTEN))) {
        out.bytes(&place.type_guid).u64(place.lbas.0).u64(place.lbas.1).digest(digest);
    }
    let check = Digest::derived(RECORD_CONTEXT, &out.0);
    out.digest(&check);
    out.0
}

/// The entries of a record; nothing where there is none.
fn decode(bytes: &[u8]) -> Result<Vec<(Place, Recorded)>, WireError> {
    let mut input = Reader::new(bytes);
    let magic: [u8; 8] = input.array()?;
    let count = input.u32()?;
    if magic != *RECORD_MAGIC || count > ENTRIES_MAX {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        let type_guid = input.array()?;
        let lbas = (input.u64()?, input.u64()?);
        let said = match input.digest()? {
            WRITTEN => Recorded::Written,
            digest => Recorded::Stays(digest),
        };
        entries.push((Place { type_guid, lbas }, said));
    }
    let len = RECORD_MAGIC.len() + 4 + 64 * count as usize;
    match input.digest()? == Digest::derived(RECORD_CONTEXT, &bytes[..len]) {
        true => Ok(entries),
        false => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written_or_not_at_all(
            entries in proptest::collection::vec(any::<([u8; 16], (u64, u64), [u8; 32])>(), 1..6),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
            junk in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let kept = |(type_guid, lbas, digest): &([u8; 16], (u64, u64), [u8; 32])| Preserved {
                number: 1,
                name: String::new(),
                range: 0..0,
                digest: Digest(*digest),
                place: Place { type_guid: *type_guid, lbas: *lbas },
            };
            let kept: Vec<Preserved> = entries.iter().map(kept).collect();
            let written = Place { type_guid: [9; 16], lbas: (1, 2) };
            let mut bytes = encode(&kept, &[written]);
            let len = bytes.len();
            bytes.resize(RECORD_LEN_MAX, 0);
            let mut expected: Vec<_> =
                kept.iter().map(|kept| (kept.place, Recorded::Stays(kept.digest))).collect();
            expected.push((written, Recorded::Written));
            prop_assert_eq!(decode(&bytes), Ok(expected));
            bytes[at.index(len)] ^= flip;
            prop_assert_eq!(decode(&bytes).unwrap_or_default(), vec![]);
            prop_assert!(decode(&junk).unwrap_or_default().is_empty());
        }
    }
}
