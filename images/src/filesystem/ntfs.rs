//! NTFS: the file `$Bitmap`, checked against every run of every file.
//!
//! ```text
//!   boot sector ─ $MFT ─┬─ $Volume: not dirty ─ $LogFile: clean
//!                       ├─ $Bitmap: what is free
//!                       └─ every record: none of its clusters is free; no hiberfil.sys with a system in it
//! ```
//!
//! Microsoft publishes no specification; this follows the layout that ntfs-3g (`include/ntfs-3g/layout.h`) and the Linux
//! kernel (`fs/ntfs3/ntfs.h`) agree on. NTFS has no checksums and keeps no count of free clusters, so the whole file table
//! is read, as ntfsclone(8) does.

use std::ops::Range;

use super::ntfs_record::{Attribute, BITMAP, DATA, FILE_NAME, LIST, Record, Run, VOLUME_INFORMATION, Value};
use super::part::{Numbers, Part, times, within};
use super::runs::{Free, Map};
use super::{KeepWhole, Unclean};

const PIECE: u64 = 1 << 20;
/// Numbers of records that every volume has.
const MFT: usize = 0;
const LOG_FILE: usize = 2;
const VOLUME: usize = 3;
const CLUSTERS: usize = 6;
const RECORDS: usize = 7;
/// Record of the root directory.
const ROOT: u64 = 5;
/// `VOLUME_INFORMATION.flags` that mean nothing here: mounted on NT 4, deletion of the change journal.
const HARMLESS: u64 = 0x18;

/// A volume and its file table.
struct Volume<'a> {
    part: &'a Part<'a>,
    cluster: u64,
    clusters: u64,
    record_len: u64,
}

/// The clusters that are free.
pub(super) fn free(part: &Part<'_>) -> Result<Map, KeepWhole> {
    let what = "file table";
    let boot = &part.read(0, 512, "boot sector")?[..];
    let volume = Volume::read(part, boot)?;
    let mft_at = within(boot.le64(48)?, 1..=volume.clusters - 1, what)?;
    let first = part.read(times(mft_at, volume.cluster, what)?, volume.record_len, what)?;
    let first = Record::parse(&first)?.ok_or(KeepWhole::Damaged { what })?;
    let table = volume.stream(&first, DATA, what)?;
    if table.runs.first().is_none_or(|run| run.start != mft_at) {
        return Err(KeepWhole::Damaged { what });
    }
    let mut system = Vec::new();
    volume.pieces(&table, RECORDS as u64 * volume.record_len, what, &mut |piece| {
        for raw in piece.chunks_exact(volume.record_len as usize) {
            system.push(Record::parse(raw)?.ok_or(KeepWhole::Damaged { what })?);
        }
        Ok(())
    })?;
    let record = |number: usize| system.get(number).ok_or(KeepWhole::Damaged { what });
    if record(MFT)?.attributes(volume.clusters)?.iter().any(|attribute| attribute.kind == LIST) {
        return Err(KeepWhole::Layout { what: "its file table in too many pieces" });
    }
    volume.check_flags(record(VOLUME)?)?;
    volume.check_log(record(LOG_FILE)?)?;
    let free = volume.bitmap(record(CLUSTERS)?)?;
    volume.pieces(&table, table.len, what, &mut |piece| {
        for raw in piece.chunks_exact(volume.record_len as usize) {
            if let Some(record) = Record::parse(raw)? {
                volume.check_record(&record, &free)?;
            }
        }
        Ok(())
    })?;
    Ok(Map { free, base: 0, block: volume.cluster })
}

/// The clusters of an attribute in the order of its bytes, without holes.
struct Stream {
    runs: Vec<Range<u64>>,
    /// Bytes that are written.
    len: u64,
}

impl<'a> Volume<'a> {
    fn read(part: &'a Part<'a>, boot: &[u8]) -> Result<Self, KeepWhole> {
        let sector = within(boot.le16(11)?, 256..=4096, "sector size")?;
        within(u64::from(sector.is_power_of_two()), 1..=1, "sector size")?;
        // More than 128 sectors are written as the negative of a power of two.
        let in_cluster = match boot.byte(13)? {
            count @ (1..=128) if count.is_power_of_two() => count,
            power @ (244..=255) => 1 << (256 - power),
            _ => return Err(KeepWhole::Damaged { what: "cluster size" }),
        };
        let cluster = within(in_cluster * sector, 512..=2 << 20, "cluster size")?;
        let sectors = boot.le64(40)?;
        let size = times(sectors, sector, "size")?;
        within(size, cluster * 16..=part.len, "size, which is larger than the partition,")?;
        // The second boot sector lies right behind the volume.
        let second = part.read(size, 512, "second boot sector")?;
        if second.get(..80) != boot.get(..80) {
            return Err(KeepWhole::Damaged { what: "second boot sector" });
        }
        let record_len = match boot.byte(64)? {
            count @ (1..=127) => count * cluster,
            power @ (246..=255) => 1 << (256 - power),
            _ => 0,
        };
        let record_len = within(record_len, 512..=64 << 10, "record size")?;
        within(u64::from(record_len.is_power_of_two()), 1..=1, "record size")?;
        Ok(Self { part, cluster, clusters: size / cluster, record_len })
    }

    /// The unnamed attribute of this kind, when all of it is in this record and outside of it.
    fn stream(&self, record: &Record, kind: u64, what: &'static str) -> Result<Stream, KeepWhole> {
        let attributes = record.attributes(self.clusters)?;
        let mut found = attributes.into_iter().filter(|a| a.kind == kind && a.name.is_empty());
        let Some(Attribute { value: Value::Outside { first: 0, runs, allocated, initialized }, .. }) =
            found.next()
        else {
            return Err(KeepWhole::Damaged { what });
        };
        let mut all = Vec::new();
        let mut clusters = 0;
        for run in runs {
            let Run::At(run) = run else { return Err(KeepWhole::Damaged { what }) };
            clusters += run.end - run.start;
            all.push(run);
        }
        // The rest would be in other records.
        if found.next().is_some() || times(clusters, self.cluster, what)? != allocated {
            return Err(KeepWhole::Layout { what: "its own files in too many pieces" });
        }
        Ok(Stream { runs: all, len: within(initialized, 0..=allocated, what)? })
    }

    /// Go through the first `len` bytes of a stream in pieces; all but the last are multiples of the record size.
    fn pieces(
        &self,
        stream: &Stream,
        len: u64,
        what: &'static str,
        with: &mut dyn FnMut(&[u8]) -> Result<(), KeepWhole>,
    ) -> Result<(), KeepWhole> {
        let mut left = within(len, 0..=stream.len, what)?;
        let mut piece = Vec::new();
        for run in &stream.runs {
            let (mut at, end) = (run.start * self.cluster, run.end * self.cluster);
            while at < end && left > 0 {
                // What the last run left of a piece is filled up first.
                let part = (PIECE - piece.len() as u64).min(end - at).min(left);
                piece.extend(self.part.read(at, part, what)?);
                (at, left) = (at + part, left - part);
                if piece.len() as u64 == PIECE {
                    with(&std::mem::take(&mut piece))?;
                }
            }
        }
        within(left, 0..=0, what)?;
        with(&piece)
    }

    fn check_flags(&self, record: &Record) -> Result<(), KeepWhole> {
        let what = "$Volume";
        let attributes = record.attributes(self.clusters)?;
        let information = attributes.iter().find(|attribute| attribute.kind == VOLUME_INFORMATION);
        let Some(Attribute { value: Value::Inside(value), .. }) = information else {
            return Err(KeepWhole::Damaged { what });
        };
        within(value.byte(8)?, 1..=3, what)?;
        match value.le16(10)? & !HARMLESS {
            0 => Ok(()),
            _ => Err(KeepWhole::Unclean(Unclean::Mounted)),
        }
    }

    /// The log is empty, or both of its restart areas say that the volume was left clean or that nobody used it.
    fn check_log(&self, record: &Record) -> Result<(), KeepWhole> {
        let what = "$LogFile";
        let stream = self.stream(record, DATA, what)?;
        let mut head = Vec::new();
        self.pieces(&stream, stream.len.min(16 << 10), what, &mut |piece| {
            head.extend_from_slice(piece);
            Ok(())
        })?;
        if head.iter().all(|byte| *byte == 0xff) {
            return Ok(());
        }
        let page_len = within(head.le32(16)?, 512..=8 << 10, what)?;
        for page in [0, page_len as usize] {
            let page = head.get(page..).unwrap_or_default();
            if page.array::<4>(0)? != *b"RSTR" {
                return Err(KeepWhole::Unclean(Unclean::Journal));
            }
            let area = page.get(page.le16(24)? as usize..).unwrap_or_default();
            // `client_in_use_list` and the flag RESTART_VOLUME_IS_CLEAN.
            if area.le16(12)? != 0xffff && area.le16(14)? & 2 == 0 {
                return Err(KeepWhole::Unclean(Unclean::Journal));
            }
        }
        Ok(())
    }

    fn bitmap(&self, record: &Record) -> Result<Free, KeepWhole> {
        let what = "$Bitmap";
        let stream = self.stream(record, DATA, what)?;
        let mut free = Free::default();
        let mut cluster = 0;
        self.pieces(&stream, self.clusters.div_ceil(8), what, &mut |piece| {
            let count = (piece.len() as u64 * 8).min(self.clusters - cluster);
            free.push_clear_bits(piece, count, cluster)?;
            cluster += count;
            Ok(())
        })?;
        Ok(free)
    }

    fn check_record(&self, record: &Record, free: &Free) -> Result<(), KeepWhole> {
        let attributes = record.attributes(self.clusters)?;
        let sleeps = attributes.iter().any(is_hibernation_file);
        for attribute in &attributes {
            let Value::Outside { first, runs, .. } = &attribute.value else { continue };
            for run in runs {
                let Run::At(run) = run else { continue };
                let what = if attribute.kind == BITMAP { "bitmap of a directory" } else { "file" };
                free.check_used(run, what)?;
            }
            if let (true, DATA, 0, Some(Run::At(run))) = (sleeps, attribute.kind, first, runs.first()) {
                let head =
                    self.part.read(times(run.start, self.cluster, "hiberfil.sys")?, 4, "hiberfil.sys")?;
                if matches!(&head[..], b"hibr" | b"HIBR" | b"rstr" | b"RSTR") {
                    return Err(KeepWhole::Unclean(Unclean::Hibernated));
                }
            }
        }
        Ok(())
    }
}

/// Whether this is the name of the file in which Windows sleeps.
fn is_hibernation_file(attribute: &Attribute<'_>) -> bool {
    let Value::Inside(value) = &attribute.value else { return false };
    let parent = value.le64(0).unwrap_or_default() & 0xffff_ffff_ffff;
    let name = value.get(66..).unwrap_or_default();
    let mut wanted = "hiberfil.sys".encode_utf16();
    attribute.kind == FILE_NAME
        && parent == ROOT
        && name.len() == 24
        && name.chunks(2).all(|unit| {
            let unit = unit.le16(0).unwrap_or_default() as u16;
            let lower = if (0x41..=0x5a).contains(&unit) { unit + 0x20 } else { unit };
            wanted.next() == Some(lower)
        })
}
