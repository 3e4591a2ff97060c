//! The evidence log as it is exported and verified: entries under a Merkle tree, with signed checkpoints.
//!
//! ```text
//! entry text ─► leaf hash ─► tree ([`tree`]) ─► root ─► checkpoint: origin, size, root, signed ([`checkpoint`])
//!                              └─► inclusion and consistency proofs ([`proof`])
//! ```
//!
//! | version | line of an entry | line of a checkpoint |
//! |---|---|---|
//! | 2 | `{"line":"leaf","hash":"<64 hex>","entry":<text>}`, exactly so | `{"line":"signed","note":"…"}` |
//! | 1 | `{"line":"entry","text":"…","hash":"…"}`: chained, SHA-256(previous ‖ text) | `{"line":"checkpoint",…}` |
//!
//! An entry's text is stored and hashed as the exact bytes it was written with, so nobody has to agree on a canonical
//! JSON. What version 1 wrote stays as it is and is verified as it was; the tree is over all entries, its among them.
//! What facts mean for IEC 62443 is mapped later, elsewhere.
//!
//! A log by itself does not tell that its end is missing: a checkpoint that somebody holds does ([`Verifier::hold`]).

use std::{borrow::Cow, collections::BTreeMap, fmt};

use ring::{digest, signature};
use serde::{Deserialize, Serialize};

use crate::ids::{EndpointId, JobId};

pub mod checkpoint;
pub mod pack;
pub mod proof;
pub mod tree;

use checkpoint::Unverified;
pub use checkpoint::{Checkpoint, NotACheckpoint, Origin};
use tree::{Hash, Tree};

const CHECKPOINT_CONTEXT: &[u8] = b"groundstate evidence checkpoint v1\0";

/// The hash before the first entry of version 1.
const GENESIS: Hash = [0; 32];

const LEAF_HEAD: &str = "{\"line\":\"leaf\",\"hash\":\"";
const LEAF_MIDDLE: &str = "\",\"entry\":";

/// What an entry's text holds, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Entry {
    /// Position in the log, from 1, without gaps.
    pub seq: u64,
    /// Appliance time, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// What kind of fact, dotted: `order.recover`, `decision.admitted`, `transition`, `proof.quote`, `refusal.ticket` …
    pub kind: String,
    /// Who did it: `operator:<name>`, `trigger:<source>`, `agent`, `appliance`.
    pub actor: String,
    /// The endpoint it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointId>,
    /// The job it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// `real` or `drill`.
    pub mode: String,
    /// The facts.
    pub facts: serde_json::Map<String, serde_json::Value>,
}

/// One line of an exported log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<'a> {
    /// An entry.
    Leaf {
        /// Its exact text.
        text: &'a str,
        /// Its hash as a leaf of the tree.
        hash: Hash,
    },
    /// An entry that version 1 wrote.
    Chained {
        /// Its exact text.
        text: Cow<'a, str>,
        /// Its chain hash, lower-case hex.
        hash: Cow<'a, str>,
    },
    /// A signed checkpoint of the tree, as a note.
    Signed(Cow<'a, str>),
    /// A checkpoint of version 1: a signature over everything up to and including `seq`.
    ChainSigned {
        /// The last entry it covers.
        seq: u64,
        /// That entry's chain hash, lower-case hex.
        hash: Cow<'a, str>,
        /// Ed25519 signature (RFC 8032), lower-case hex.
        signature: Cow<'a, str>,
    },
}

/// Those lines that are plain JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "line", deny_unknown_fields)]
enum Plain<'a> {
    Entry { text: Cow<'a, str>, hash: Cow<'a, str> },
    Checkpoint { seq: u64, hash: Cow<'a, str>, signature: Cow<'a, str> },
    Signed { note: Cow<'a, str> },
}

impl<'a> Line<'a> {
    /// Read a line.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(line: &'a str) -> Result<Self, String> {
        if let Some(rest) = line.strip_prefix(LEAF_HEAD) {
            let leaf = rest.split_at_checked(64).and_then(|(digits, rest)| {
                let mut hash = [0; 32];
                hex::decode_to_slice(digits, &mut hash).ok()?;
                let text = rest.strip_prefix(LEAF_MIDDLE)?.strip_suffix('}')?;
                Some(Self::Leaf { text, hash })
            });
            return leaf.ok_or_else(|| "a leaf that is not of the form".to_owned());
        }
        Ok(match serde_json::from_str(line).map_err(|error| error.to_string())? {
            Plain::Entry { text, hash } => Self::Chained { text, hash },
            Plain::Checkpoint { seq, hash, signature } => Self::ChainSigned { seq, hash, signature },
            Plain::Signed { note } => Self::Signed(note),
        })
    }

    /// The entry's exact text, if it is the line of one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Leaf { text, .. } => Some(text),
            Self::Chained { text, .. } => Some(text),
            Self::Signed(_) | Self::ChainSigned { .. } => None,
        }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = match self.clone() {
            Self::Leaf { text, hash } => {
                return write!(f, "{LEAF_HEAD}{}{LEAF_MIDDLE}{text}}}", hex::encode(hash));
            }
            Self::Chained { text, hash } => Plain::Entry { text, hash },
            Self::ChainSigned { seq, hash, signature } => Plain::Checkpoint { seq, hash, signature },
            Self::Signed(note) => Plain::Signed { note },
        };
        f.write_str(&serde_json::to_string(&plain).map_err(|_| fmt::Error)?)
    }
}

/// The entry that stands in a line of a log; None where it is a checkpoint's, or no line of ours.
#[must_use]
pub fn entry(line: &str) -> Option<Entry> {
    serde_json::from_str(Line::parse(line).ok()?.text()?).ok()
}

/// Where and how a log was tampered with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Tampered {
    /// The line is not a line of a log.
    #[error("line {line} is not an evidence line: {why}; the export is damaged, export again")]
    Unreadable {
        /// Line number from 1.
        line: usize,
        /// The parser's words.
        why: String,
    },
    /// An entry is nowhere in the log though later ones are.
    #[error("entry {seq} is missing: it was dropped, and entry {found} stands in its place")]
    Dropped {
        /// The first that is missing.
        seq: u64,
        /// The number that stands there.
        found: u64,
    },
    /// Entries stand in another order.
    #[error(
        "entry {found} stands where entry {seq} belongs, which stands further down: entries were swapped"
    )]
    Swapped {
        /// The number that belongs there.
        seq: u64,
        /// The number that stands there.
        found: u64,
    },
    /// The text was changed, and not its hash; or, in version 1, an earlier hash.
    #[error("entry {seq} does not match its hash: it was changed")]
    Changed {
        /// The entry.
        seq: u64,
    },
    /// A checkpoint does not match: texts and hashes were changed together.
    #[error(
        "the checkpoint at entry {last} does not match: of the entries {first} to {last} at least one was replaced, with its hash"
    )]
    Replaced {
        /// The first entry after the last checkpoint that matches.
        first: u64,
        /// The entry that the checkpoint covers.
        last: u64,
    },
    /// A checkpoint's signature is not from this appliance's evidence key.
    #[error("the checkpoint in line {line} does not count: {why}")]
    Signature {
        /// Line number from 1.
        line: usize,
        /// What is wrong with it.
        why: NotACheckpoint,
    },
    /// Entries that a checkpoint covers are missing at the end.
    #[error(
        "the log ends at entry {last} but a checkpoint in it covers entry {covered}: the tail was cut off"
    )]
    Cut {
        /// The last entry there is.
        last: u64,
        /// The entry that the checkpoint covers.
        covered: u64,
    },
    /// Entries that a held checkpoint covers are missing at the end.
    #[error(
        "the log ends at entry {last}, but {held} covers entry {covered}: the tail was cut off, or the database is an old copy"
    )]
    OlderThan {
        /// What was held against it.
        held: String,
        /// The last entry there is.
        last: u64,
        /// The entry that the held checkpoint covers.
        covered: u64,
    },
    /// The log has another past than the one that a held checkpoint covers.
    #[error(
        "{held} covers other entries: one of {first} to {covered} is not the one that was signed then; the log was rewritten, or an old copy of the database was taken and went on"
    )]
    OtherThan {
        /// What was held against it.
        held: String,
        /// The first entry after the last checkpoint that matches.
        first: u64,
        /// The entry that the held checkpoint covers.
        covered: u64,
    },
}

/// What a verified log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Verified {
    /// Entries seen.
    pub entries: u64,
    /// Checkpoints seen.
    pub checkpoints: u64,
    /// The last entry covered by a valid checkpoint; later ones are not yet signed.
    pub signed_up_to: u64,
    /// Checkpoints held against it that it agrees with.
    pub held: u64,
}

/// A checkpoint that is waited for, at the entry that it covers.
enum Awaited {
    Chain { line: usize, hash: String, signature: String },
    Tree { line: usize, checkpoint: Unverified },
    Held { held: String, checkpoint: Checkpoint },
}

/// Verifies a log line by line, oldest first. Memory does not grow with the log.
///
/// A thorough one looks at each signature, and so names what is wrong exactly. A quick one holds each checkpoint's root
/// against the tree, and looks at the signature of the last alone, which is over all entries: that it finds nothing is as
/// good, and what it finds a thorough one names.
pub struct Verifier {
    thorough: bool,
    /// The last checkpoint of which the root agreed, and its line.
    unverified: Option<(usize, Unverified)>,
    origin: Origin,
    tree: Tree,
    chain: Hash,
    seen: Verified,
    /// Up to here a checkpoint agreed.
    agreed: u64,
    lines: usize,
    awaited: BTreeMap<u64, Vec<Awaited>>,
    /// The first entry that is not where it belongs, and what stands there.
    out_of_place: Option<(u64, u64)>,
}

impl Verifier {
    /// A thorough one, for the log of this evidence key (Ed25519).
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { thorough: true, ..Self::quick(key) }
    }

    /// A quick one.
    #[must_use]
    pub fn quick(key: [u8; 32]) -> Self {
        Self {
            thorough: false,
            unverified: None,
            origin: Origin::of(key),
            tree: Tree::default(),
            chain: GENESIS,
            seen: Verified::default(),
            agreed: 0,
            lines: 0,
            awaited: BTreeMap::new(),
            out_of_place: None,
        }
    }

    /// Hold a checkpoint against the log, that was seen or kept elsewhere; `held` says what it is. Before the first line.
    ///
    /// # Errors
    /// [`NotACheckpoint`]: it proves nothing about this log.
    pub fn hold(&mut self, held: &str, note: &str) -> Result<(), NotACheckpoint> {
        let checkpoint = Checkpoint::verify(note, &self.origin)?;
        let awaited = Awaited::Held { held: held.to_owned(), checkpoint };
        let size = match &awaited {
            Awaited::Held { checkpoint, .. } => checkpoint.size(),
            Awaited::Chain { .. } | Awaited::Tree { .. } => 0,
        };
        self.awaited.entry(size).or_default().push(awaited);
        Ok(())
    }

    /// The next line.
    ///
    /// # Errors
    /// [`Tampered`] names the first place where the log is not what was written.
    pub fn line(&mut self, text: &str) -> Result<(), Tampered> {
        self.lines += 1;
        let line = self.lines;
        if text.trim().is_empty() {
            return Ok(());
        }
        let unreadable = |why: String| Tampered::Unreadable { line, why };
        match Line::parse(text).map_err(unreadable)? {
            Line::Leaf { text, hash } => {
                let seq = seq(text).ok_or_else(|| unreadable("the entry has no number".to_owned()))?;
                if self.in_place(seq)? {
                    let leaf = tree::leaf(text.as_bytes());
                    if leaf != hash {
                        return Err(Tampered::Changed { seq });
                    }
                    self.grow(leaf)?;
                }
            }
            Line::Chained { text, hash } => {
                let entry: Entry = serde_json::from_str(&text).map_err(|e| unreadable(e.to_string()))?;
                if self.in_place(entry.seq)? {
                    self.chain = chain(&self.chain, &text);
                    if hex::encode(self.chain) != hash {
                        return Err(Tampered::Changed { seq: entry.seq });
                    }
                    self.grow(tree::leaf(text.as_bytes()))?;
                }
            }
            Line::Signed(note) => {
                let unsigned = |why| Tampered::Signature { line, why };
                if self.thorough {
                    Checkpoint::verify(&note, &self.origin).map_err(unsigned)?;
                }
                let checkpoint = Unverified::read(&note, &self.origin).map_err(unsigned)?;
                self.wait_for(checkpoint.size(), Awaited::Tree { line, checkpoint })?;
            }
            Line::ChainSigned { seq, hash, signature } => {
                let (hash, signature) = (hash.into_owned(), signature.into_owned());
                self.wait_for(seq, Awaited::Chain { line, hash, signature })?;
            }
        }
        Ok(())
    }

    /// The end of the log.
    ///
    /// # Errors
    /// [`Tampered`]: what only the end tells.
    pub fn finish(mut self) -> Result<Verified, Tampered> {
        if let Some((seq, found)) = self.out_of_place {
            return Err(Tampered::Dropped { seq, found });
        }
        if let Some((line, last)) = self.unverified {
            last.verify(&self.origin).map_err(|why| Tampered::Signature { line, why })?;
        }
        // What a person held against it says more than what stands in it.
        let last = self.seen.entries;
        let beyond = self.awaited.split_off(&(last + 1));
        let mut own = None;
        for (covered, awaited) in beyond.into_iter().rev() {
            for one in awaited {
                match one {
                    Awaited::Held { held, .. } => return Err(Tampered::OlderThan { held, last, covered }),
                    Awaited::Chain { .. } | Awaited::Tree { .. } => own = own.or(Some(covered)),
                }
            }
        }
        match own {
            Some(covered) => Err(Tampered::Cut { last, covered }),
            None => Ok(self.seen),
        }
    }

    /// Whether this entry stands where it belongs; after one that does not, only the missing one is looked for.
    fn in_place(&mut self, found: u64) -> Result<bool, Tampered> {
        let expected = self.seen.entries + 1;
        match self.out_of_place {
            Some((seq, found_first)) if found == seq => Err(Tampered::Swapped { seq, found: found_first }),
            Some(_) => Ok(false),
            None if found == expected => Ok(true),
            // One that was there before is in the place of one that may still come.
            None => {
                self.out_of_place = Some((expected, found));
                Ok(false)
            }
        }
    }

    fn grow(&mut self, leaf: Hash) -> Result<(), Tampered> {
        self.tree.grow(leaf);
        self.seen.entries += 1;
        match self.awaited.remove(&self.seen.entries) {
            Some(awaited) => awaited.into_iter().try_for_each(|one| self.compare(one)),
            None => Ok(()),
        }
    }

    fn wait_for(&mut self, size: u64, awaited: Awaited) -> Result<(), Tampered> {
        if size == self.seen.entries && self.out_of_place.is_none() {
            return self.compare(awaited);
        }
        if size <= self.seen.entries {
            // It stands after its place, and the tree of then is gone; no export of ours is like that.
            let why = format!("the checkpoint of entry {size} stands after entry {}", self.seen.entries);
            return Err(Tampered::Unreadable { line: self.lines, why });
        }
        if self.out_of_place.is_none() {
            self.awaited.entry(size).or_default().push(awaited);
        }
        Ok(())
    }

    /// A checkpoint at the entry that it covers.
    fn compare(&mut self, awaited: Awaited) -> Result<(), Tampered> {
        let (first, last) = (self.agreed + 1, self.seen.entries);
        match awaited {
            Awaited::Held { held, checkpoint } => {
                if *checkpoint.root() != self.tree.root() {
                    return Err(Tampered::OtherThan { held, first, covered: last });
                }
                self.seen.held += 1;
            }
            Awaited::Tree { line, checkpoint } => {
                if *checkpoint.root() != self.tree.root() {
                    return Err(Tampered::Replaced { first, last });
                }
                self.unverified = Some((line, checkpoint));
                self.signed(last);
            }
            Awaited::Chain { line, hash, signature } => {
                if hex::encode(self.chain) != hash {
                    return Err(Tampered::Replaced { first, last });
                }
                let key = signature::UnparsedPublicKey::new(&signature::ED25519, self.origin.key());
                let message = [CHECKPOINT_CONTEXT, &last.to_le_bytes(), &self.chain].concat();
                let good = hex::decode(signature).ok().and_then(|bytes| key.verify(&message, &bytes).ok());
                good.ok_or(Tampered::Signature { line, why: NotACheckpoint::Signature })?;
                self.signed(last);
            }
        }
        self.agreed = last;
        Ok(())
    }

    fn signed(&mut self, last: u64) {
        self.seen.checkpoints += 1;
        self.seen.signed_up_to = self.seen.signed_up_to.max(last);
    }
}

/// The number of an entry, which its text begins with. Reading it whole would say no more: its bytes are hashed.
fn seq(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("{\"seq\":")?;
    digits[..digits.find(',')?].parse().ok()
}

/// The next chain hash of version 1.
fn chain(previous: &Hash, text: &str) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(previous);
    context.update(text.as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Check a whole export, oldest line first, against the appliance's evidence key (Ed25519, 32 bytes).
///
/// # Errors
/// [`Tampered`] names the first place where the log is not what was written.
pub fn verify<'a>(lines: impl IntoIterator<Item = &'a str>, key: [u8; 32]) -> Result<Verified, Tampered> {
    let mut verifier = Verifier::new(key);
    lines.into_iter().try_for_each(|line| verifier.line(line))?;
    verifier.finish()
}

#[cfg(test)]
mod tests;
