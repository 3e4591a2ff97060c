//! What differs between two images: the words of their headers, their partitions, the files in these, and what it costs an endpoint
//! that holds one to become the other.
//!
//! ```text
//!   headers ─────────────► facts           extents and chunks ─► Pair: same bytes? mostly without reading any
//!   partitions, by GUID ─► pairs ─ same? ─► done                   │
//!                                └ files, by path ─ same? ◄────────┤
//!   restore's own plan ─► cost ◄───────────────────────────────────┘
//! ```
//!
//! Only differences are listed. What cannot be read is listed too, and never taken for the same.

mod facts;
mod files;
mod pair;

use std::io;
use std::ops::Range;

use serde::Serialize;

use crate::manifest::header::Partition;
use crate::restore::{Cost, cost};
use crate::store::StoredDisk;
use crate::{Header, ImageId, Manifest, Store, StoreError};
pub use files::{Change, FileChange, Unread};
use pair::Pair;

/// Why two images cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// The bytes of one cannot be read.
    #[error("the bytes of the images cannot be read; verify them with `groundstate image verify`")]
    Read(#[source] io::Error),
    /// The store does not have all of them.
    #[error("the store does not have all of the images; verify them with `groundstate image verify`")]
    Store(#[from] StoreError),
}

/// One thing that is said of both images, and differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Of what.
    pub what: String,
    /// Before; empty for nothing.
    pub before: String,
    /// After; empty for nothing.
    pub after: String,
}

/// What became of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its place in the table or its bytes differ.
    Changed,
}

/// A partition that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionChange {
    /// Its number as people count, from 1; that of the second image when it is in both.
    pub number: u32,
    /// Its GPT name.
    pub name: String,
    /// What became of it.
    pub fate: Fate,
    /// What the table says differently.
    pub facts: Vec<Fact>,
    /// Whether its bytes differ.
    pub bytes_differ: bool,
    /// Whether its files were compared; else why not.
    pub not_compared: Option<String>,
    /// Files that differ, in order of their paths.
    pub files: Vec<FileChange>,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

/// What differs between two images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The first image.
    pub before: ImageId,
    /// The second image.
    pub after: ImageId,
    /// What the headers say differently, but for partitions.
    pub header: Vec<Fact>,
    /// Partitions that differ.
    pub partitions: Vec<PartitionChange>,
    /// What an endpoint that holds the first fetches and writes to hold the second, on a disk of the first's size or of the
    /// second's if that is larger.
    pub cost: Cost,
}

/// Compare two images of a store. `progress` gets a word for what is looked at.
pub fn diff(
    store: &Store,
    before: &Manifest,
    after: &Manifest,
    progress: &mut dyn FnMut(&str),
) -> Result<Difference, DiffError> {
    let disks = (StoredDisk::new(store, before), StoredDisk::new(store, after));
    let pair = Pair::new(&disks.0, &disks.1);
    let mut partitions = Vec::new();
    for (a, b) in matched(before.header(), after.header()) {
        if let Some(p) = b.or(a) {
            progress(&format!("partition {}", p.index + 1));
        }
        partitions.extend(partition(&pair, before.header(), after.header(), a, b)?);
    }
    progress("what a restore fetches");
    let same_size = before.header().disk.size == after.header().disk.size;
    let mut differs = |range: Range<u64>, boot: bool| match boot && !same_size {
        // The backup table stands at the end of the disk.
        true => Ok(true),
        false => {
            let same = pair.same(range.start, range.start, range.end - range.start);
            same.map(|same| !same).map_err(DiffError::Read)
        }
    };
    let cost = cost(after, before, &mut differs, &|id| store.stored_len(id).map_err(DiffError::from))?;
    Ok(Difference {
        before: before.id(),
        after: after.id(),
        header: facts::of_headers(before.header(), after.header()),
        partitions,
        cost,
    })
}

/// Partitions of both that are the same one: by unique GUID, else by number. In the order of the second image, then what is gone.
fn matched<'h>(before: &'h Header, after: &'h Header) -> Vec<(Option<&'h Partition>, Option<&'h Partition>)> {
    let mut old: Vec<&Partition> = before.table.partitions.iter().collect();
    let new = &after.table.partitions;
    let mut pairs: Vec<(Option<&Partition>, Option<&Partition>)> = Vec::new();
    let mut take =
        |fits: &dyn Fn(&Partition) -> bool| old.iter().position(|p| fits(p)).map(|at| old.remove(at));
    let by_guid: Vec<Option<&Partition>> = new
        .iter()
        .map(|p| take(&|old| p.unique_guid != [0; 16] && old.unique_guid == p.unique_guid))
        .collect();
    for (p, found) in new.iter().zip(by_guid) {
        pairs.push((found.or_else(|| take(&|old| old.index == p.index)), Some(p)));
    }
    pairs.extend(old.into_iter().map(|p| (Some(p), None)));
    pairs
}

/// The bytes of the disk in a partition.
fn range(header: &Header, partition: &Partition) -> Range<u64> {
    let sector = u64::from(header.disk.sector_size);
    partition.first_lba * sector..(partition.last_lba + 1) * sector
}

fn partition(
    pair: &Pair<'_>,
    before: &Header,
    after: &Header,
    a: Option<&Partition>,
    b: Option<&Partition>,
) -> Result<Option<PartitionChange>, DiffError> {
    let Some(shown) = b.or(a) else { return Ok(None) };
    let mut change = PartitionChange {
        number: shown.index + 1,
        name: shown.name.clone(),
        fate: Fate::Changed,
        facts: facts::of_partitions(before, a, after, b),
        bytes_differ: true,
        not_compared: None,
        files: Vec::new(),
        unread: Vec::new(),
    };
    let (Some(a), Some(b)) = (a, b) else {
        change.fate = if a.is_none() { Fate::Added } else { Fate::Removed };
        return Ok(Some(change));
    };
    let (old, new) = (range(before, a), range(after, b));
    let same_len = old.end - old.start == new.end - new.start;
    change.bytes_differ =
        !same_len || !pair.same(old.start, new.start, new.end - new.start).map_err(DiffError::Read)?;
    if change.bytes_differ {
        match files::compare(pair, old, new) {
            Ok((files, unread)) => (change.files, change.unread) = (files, unread),
            Err(why) => change.not_compared = Some(why),
        }
    }
    Ok((change.bytes_differ || !change.facts.is_empty()).then_some(change))
}

#[cfg(test)]
mod tests;
