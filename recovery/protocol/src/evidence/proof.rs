//! Proofs that travel alone: that an entry is in the log, and that one checkpoint continues another.
//!
//! ```text
//! c2sp.org/tlog-proof@v1               groundstate.evidence/consistency@v1
//! extra <base64: the entry's text>     <base64 hash>…
//! index 73893
//! <base64 hash>…                       <the older signed checkpoint>
//!
//! <signed checkpoint>                  <the newer signed checkpoint>
//! ```
//!
//! The first is C2SP `tlog-proof`, with the entry itself as its extra data: whoever holds the file and the evidence key
//! needs nothing else. `index` counts from 0, an entry's `seq` from 1. C2SP has no form for the second.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Entry,
    checkpoint::{Checkpoint, NotACheckpoint, Origin, hash},
    tree::{self, Hash},
};

const INCLUSION: &str = "c2sp.org/tlog-proof@v1";
const CONSISTENCY: &str = "groundstate.evidence/consistency@v1";

/// No proof has more: a tree has at most 2^63 leaves.
const HASHES_MAX: usize = 65;

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Not of the form.
    #[error("it is no proof of ours ({0})")]
    Form(&'static str),
    /// Its checkpoint.
    #[error("its checkpoint does not hold: {0}")]
    Checkpoint(#[from] NotACheckpoint),
    /// The entry is not the one at this place.
    #[error(
        "the entry {seq} in it is not the one that the checkpoint over {size} entries covers: it was altered, or is of another log"
    )]
    NotIncluded {
        /// The entry that it claims to be.
        seq: u64,
        /// What the checkpoint covers.
        size: u64,
    },
    /// The newer tree does not hold the older one.
    #[error(
        "the log of {new} entries does not continue that of {old} entries: entries that were signed were changed or removed"
    )]
    NotContinued {
        /// The older checkpoint's size.
        old: u64,
        /// The newer one's.
        new: u64,
    },
}

/// An inclusion proof as a file.
#[must_use]
pub fn write_inclusion(text: &str, seq: u64, hashes: &[Hash], checkpoint: &str) -> String {
    let index = seq.saturating_sub(1);
    let lines: String = hashes.iter().map(|hash| STANDARD.encode(hash) + "\n").collect();
    format!("{INCLUSION}\nextra {}\nindex {index}\n{lines}\n{checkpoint}", STANDARD.encode(text))
}

/// A consistency proof as a file.
#[must_use]
pub fn write_consistency(hashes: &[Hash], old: &str, new: &str) -> String {
    let lines: String = hashes.iter().map(|hash| STANDARD.encode(hash) + "\n").collect();
    format!("{CONSISTENCY}\n{lines}\n{old}\n{new}")
}

/// What a proof shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Proven {
    /// This entry stands in the log that the checkpoint covers.
    Included {
        /// The entry.
        entry: Box<Entry>,
        /// Entries that the checkpoint covers.
        size: u64,
    },
    /// The log of `new` entries begins with that of `old` entries.
    Continued {
        /// The older checkpoint's size.
        old: u64,
        /// The newer one's.
        new: u64,
    },
}

/// Check a proof of either kind with the evidence key alone.
///
/// # Errors
/// [`Unproven`].
pub fn verify(text: &str, origin: &Origin) -> Result<Proven, Unproven> {
    let (head, rest) = text.split_once("\n\n").ok_or(Unproven::Form("there is no checkpoint in it"))?;
    let mut lines = head.split('\n');
    match lines.next() {
        Some(INCLUSION) => included(lines, rest, origin),
        Some(CONSISTENCY) => continued(lines, rest, origin),
        _ => Err(Unproven::Form("its first line names no kind of proof")),
    }
}

fn hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, Unproven> {
    let read: Option<Vec<Hash>> = lines.take(HASHES_MAX + 1).map(hash).collect();
    read.filter(|hashes| hashes.len() <= HASHES_MAX).ok_or(Unproven::Form("a line of it is no hash"))
}

fn included<'a>(
    mut lines: impl Iterator<Item = &'a str>,
    note: &str,
    origin: &Origin,
) -> Result<Proven, Unproven> {
    let form = Unproven::Form;
    let extra =
        lines.next().and_then(|line| line.strip_prefix("extra ")).ok_or(form("the entry is missing"))?;
    let text = STANDARD.decode(extra).map_err(|_| form("the entry is no base64"))?;
    let index =
        lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(form("the index is missing"))?;
    let index: u64 = index.parse().map_err(|_| form("the index is no number"))?;
    let seq = index.checked_add(1).ok_or(form("the index is no number"))?;
    let hashes = hashes(lines)?;
    let checkpoint = Checkpoint::verify(note, origin)?;
    let size = checkpoint.size();
    let root = tree::included(&tree::leaf(&text), seq, size, &hashes);
    let entry: Entry = serde_json::from_slice(&text).map_err(|_| form("there is no entry in it"))?;
    if root.as_ref() != Some(checkpoint.root()) || entry.seq != seq {
        return Err(Unproven::NotIncluded { seq, size });
    }
    Ok(Proven::Included { entry: Box::new(entry), size })
}

fn continued<'a>(
    lines: impl Iterator<Item = &'a str>,
    notes: &str,
    origin: &Origin,
) -> Result<Proven, Unproven> {
    let hashes = hashes(lines)?;
    let both: Vec<&str> = super::checkpoint::notes(notes).collect();
    let [old, new] = both.as_slice() else { return Err(Unproven::Form("two checkpoints belong into it")) };
    let (old, new) = (Checkpoint::verify(old, origin)?, Checkpoint::verify(new, origin)?);
    if tree::continues((old.size(), old.root()), (new.size(), new.root()), &hashes) {
        Ok(Proven::Continued { old: old.size(), new: new.size() })
    } else {
        Err(Unproven::NotContinued { old: old.size(), new: new.size() })
    }
}
