//! The files of one partition in two images.

use std::cmp::Ordering;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Fact;
use super::facts::differ;
use super::pair::{Pair, is_blank};
use crate::files::{Entry, Files, FilesError, Kind, Listing, Run, Shown};

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its kind, bytes or target differ.
    Content,
    /// Only mode, user or group differ.
    Owner,
}

/// A file, directory or link that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its path in the partition, for people.
    pub path: String,
    /// What became of it.
    pub change: Change,
    /// `file`, `directory`, `link` or `other`, as it is now, or was last.
    pub kind: &'static str,
    /// Length before, if it was there.
    pub len_before: Option<u64>,
    /// Length after, if it is there.
    pub len_after: Option<u64>,
    /// What is said of it differently.
    pub facts: Vec<Fact>,
}

/// What could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// Its path in the partition, for people.
    pub path: String,
    /// `before` or `after`: in which image.
    pub image: &'static str,
    /// Why.
    pub why: String,
}

/// The differences, and what could not be read; or why nothing can be compared.
pub(super) fn compare(
    pair: &Pair<'_>,
    old: Range<u64>,
    new: Range<u64>,
) -> Result<(Vec<FileChange>, Vec<Unread>), String> {
    let before = Files::open(pair.before, old).map_err(|error| why(&error))?;
    let after = Files::open(pair.after, new).map_err(|error| why(&error))?;
    let (Some(before), Some(after)) = (before, after) else {
        return Err("files are read in ext2, ext3, ext4 and FAT only".to_owned());
    };
    let list = |files: &Files<'_>| files.list(&mut |_| true).map_err(|error| why(&error));
    let (old, new) = (list(&before)?, list(&after)?);
    let mut comparison = Comparison { pair, before, after, changes: Vec::new(), unread: Vec::new() };
    comparison.add_unread("before", &old);
    comparison.add_unread("after", &new);
    comparison.merge(&old.entries, &new.entries);
    Ok((comparison.changes, comparison.unread))
}

struct Comparison<'s> {
    pair: &'s Pair<'s>,
    before: Files<'s>,
    after: Files<'s>,
    changes: Vec<FileChange>,
    unread: Vec<Unread>,
}

impl Comparison<'_> {
    fn add_unread(&mut self, image: &'static str, listing: &Listing) {
        let unread =
            |(path, error): &(PathBuf, FilesError)| Unread { path: shown(path), image, why: why(error) };
        self.unread.extend(listing.unread.iter().map(unread));
    }

    fn merge(&mut self, mut old: &[Entry], mut new: &[Entry]) {
        loop {
            let order = match (old.first(), new.first()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.path.as_os_str().cmp(b.path.as_os_str()),
            };
            if order.is_le()
                && let Some((a, rest)) = old.split_first()
            {
                old = rest;
                if order.is_lt() {
                    self.changes.push(change(Change::Removed, Some(a), None, Vec::new()));
                }
                if order.is_eq()
                    && let Some(b) = new.first()
                {
                    self.both(a, b);
                }
            }
            if order.is_ge()
                && let Some((b, rest)) = new.split_first()
            {
                new = rest;
                if order.is_gt() {
                    self.changes.push(change(Change::Added, None, Some(b), Vec::new()));
                }
            }
        }
    }

    fn both(&mut self, a: &Entry, b: &Entry) {
        let mut facts = Vec::new();
        let target = |entry: &Entry| match &entry.kind {
            Kind::Symlink(target) => shown(target),
            _ => String::new(),
        };
        let same = match (&a.kind, &b.kind) {
            (Kind::File, Kind::File) => self.same_content(a, b).unwrap_or_else(|error| {
                self.unread.push(Unread { path: shown(&a.path), image: "before", why: why(&error) });
                // Not known to be the same: the length tells what it can.
                a.len == b.len
            }),
            (a, b) => a == b,
        };
        differ(&mut facts, "kind", word(&a.kind), word(&b.kind));
        differ(&mut facts, "target", target(a), target(b));
        if let (Some(old), Some(new)) = (a.owner, b.owner) {
            differ(&mut facts, "mode", format!("{:04o}", old.mode), format!("{:04o}", new.mode));
            differ(&mut facts, "user", old.uid, new.uid);
            differ(&mut facts, "group", old.gid, new.gid);
        }
        if !same {
            self.changes.push(change(Change::Content, Some(a), Some(b), facts));
        } else if !facts.is_empty() {
            self.changes.push(change(Change::Owner, Some(a), Some(b), facts));
        }
    }

    fn same_content(&self, a: &Entry, b: &Entry) -> Result<bool, FilesError> {
        if a.len != b.len {
            return Ok(false);
        }
        self.same_runs(&self.before.runs(a)?, &self.after.runs(b)?, a.len)
    }

    /// Both lists have holes, which are zeros.
    fn same_runs(&self, mut old: &[Run], mut new: &[Run], len: u64) -> Result<bool, FilesError> {
        let mut at = 0;
        while at < len {
            let (x, x_end) = place(&mut old, at, len);
            let (y, y_end) = place(&mut new, at, len);
            let step = x_end.min(y_end) - at;
            let same = match (x, y) {
                (Some(x), Some(y)) => self.pair.same(x, y, step),
                (Some(x), None) => is_blank(self.pair.before, x..x + step),
                (None, Some(y)) => is_blank(self.pair.after, y..y + step),
                (None, None) => Ok(true),
            };
            if !same.map_err(FilesError::Disk)? {
                return Ok(false);
            }
            at += step;
        }
        Ok(true)
    }
}

/// Where byte `at` of a file lies on the disk, unless in a hole, and up to which byte of the file that goes on.
fn place(runs: &mut &[Run], at: u64, len: u64) -> (Option<u64>, u64) {
    while let Some((first, rest)) = runs.split_first() {
        match first {
            run if run.at > at => return (None, run.at),
            run if run.at + run.len > at => return (Some(run.disk + (at - run.at)), run.at + run.len),
            _ => *runs = rest,
        }
    }
    (None, len)
}

fn change(change: Change, before: Option<&Entry>, after: Option<&Entry>, facts: Vec<Fact>) -> FileChange {
    let now = after.or(before);
    FileChange {
        path: now.map(|entry| shown(&entry.path)).unwrap_or_default(),
        change,
        kind: now.map_or("", |entry| word(&entry.kind)),
        len_before: before.map(|entry| entry.len),
        len_after: after.map(|entry| entry.len),
        facts,
    }
}

fn word(kind: &Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink(_) => "link",
        Kind::Other(_) => "other",
    }
}

fn shown(path: &Path) -> String {
    Shown(path).to_string()
}

fn why(error: &FilesError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
