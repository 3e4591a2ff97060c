//! The evidence log as it is exported and verified: a hash chain of entries with signed checkpoints.
//!
//! ```text
//! entry text ──┐
//! hash[n-1] ───┴─ SHA-256 ─► hash[n]          checkpoint = Ed25519(context ‖ seq ‖ hash[seq])
//! ```
//!
//! An entry's text is stored and hashed as the exact bytes it was written with, so nobody has to agree on a canonical
//! JSON. A chain alone does not show a missing tail: the signed checkpoint of the highest sequence does, and
//! [`verify`] reports how far the last checkpoint reaches. What facts mean for IEC 62443 is mapped later, elsewhere.

use ring::{digest, signature};
use serde::{Deserialize, Serialize};

use crate::ids::{EndpointId, JobId};

const CHECKPOINT_CONTEXT: &[u8] = b"groundstate evidence checkpoint v1\0";

/// The hash before the first entry.
pub const GENESIS: [u8; 32] = [0; 32];

/// What an entry's text holds, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "line")]
pub enum Line {
    /// An entry: its exact text and its chain hash (lower-case hex).
    Entry {
        /// The exact text that was hashed.
        text: String,
        /// Chain hash, lower-case hex.
        hash: String,
    },
    /// A signature over everything up to and including `seq`.
    Checkpoint {
        /// The last entry it covers.
        seq: u64,
        /// That entry's chain hash, lower-case hex.
        hash: String,
        /// Ed25519 signature (RFC 8032), lower-case hex.
        signature: String,
    },
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
    /// A gap or a reordering.
    #[error("entry {found} stands where entry {expected} belongs: entries were removed or reordered here")]
    Sequence {
        /// The number that belongs here.
        expected: u64,
        /// The number that stands here.
        found: u64,
    },
    /// The text or an earlier hash was changed.
    #[error("entry {seq} does not match its hash: its text, or the chain before it, was changed")]
    Hash {
        /// The entry.
        seq: u64,
    },
    /// A checkpoint does not match the chain.
    #[error("the checkpoint at entry {seq} does not match the chain: entries up to it were replaced")]
    Checkpoint {
        /// The entry that the checkpoint covers.
        seq: u64,
    },
    /// A checkpoint's signature is not from this appliance's evidence key.
    #[error("the checkpoint at entry {seq} is not signed by this appliance's evidence key")]
    Signature {
        /// The entry that the checkpoint covers.
        seq: u64,
    },
    /// Entries that a known checkpoint covers are missing at the end.
    #[error("the log ends at entry {last} but a checkpoint covers entry {covered}: the tail was cut off")]
    Truncated {
        /// The last entry there is.
        last: u64,
        /// The entry that the checkpoint covers.
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
    /// The last entry covered by a valid checkpoint; later ones are chained but not yet signed.
    pub signed_up_to: u64,
}

/// The next chain hash.
#[must_use]
pub fn chain(previous: &[u8; 32], text: &str) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(previous);
    context.update(text.as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// What a checkpoint signs.
#[must_use]
pub fn checkpoint_message(seq: u64, hash: &[u8; 32]) -> Vec<u8> {
    [CHECKPOINT_CONTEXT, &seq.to_le_bytes(), hash].concat()
}

/// Check a whole export, oldest line first, against the appliance's evidence key (Ed25519, 32 bytes).
///
/// # Errors
/// [`Tampered`] names the first place where the log is not what was written.
pub fn verify<'a>(lines: impl IntoIterator<Item = &'a str>, key: &[u8]) -> Result<Verified, Tampered> {
    let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
    let mut seen = Verified::default();
    let mut previous = GENESIS;
    let mut pending: Vec<(u64, String, String)> = Vec::new();
    for (number, text) in lines.into_iter().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let unreadable = |why: String| Tampered::Unreadable { line: number + 1, why };
        match serde_json::from_str(text).map_err(|e| unreadable(e.to_string()))? {
            Line::Entry { text, hash } => {
                let entry: Entry = serde_json::from_str(&text).map_err(|e| unreadable(e.to_string()))?;
                let expected = seen.entries + 1;
                if entry.seq != expected {
                    return Err(Tampered::Sequence { expected, found: entry.seq });
                }
                previous = chain(&previous, &text);
                if hex::encode(previous) != hash {
                    return Err(Tampered::Hash { seq: entry.seq });
                }
                seen.entries = expected;
            }
            Line::Checkpoint { seq, hash, signature } => pending.push((seq, hash, signature)),
        }
        while let Some(at) = pending.iter().position(|(seq, ..)| *seq == seen.entries) {
            let (seq, hash, signed) = pending.swap_remove(at);
            if hex::encode(previous) != hash {
                return Err(Tampered::Checkpoint { seq });
            }
            let signed = hex::decode(signed).map_err(|_| Tampered::Signature { seq })?;
            key.verify(&checkpoint_message(seq, &previous), &signed)
                .map_err(|_| Tampered::Signature { seq })?;
            seen.checkpoints += 1;
            seen.signed_up_to = seen.signed_up_to.max(seq);
        }
    }
    match pending.iter().map(|(seq, ..)| *seq).max() {
        Some(covered) if covered > seen.entries => Err(Tampered::Truncated { last: seen.entries, covered }),
        Some(seq) => Err(Tampered::Checkpoint { seq }),
        None => Ok(seen),
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    fn entry_line(seq: u64, previous: &mut [u8; 32], fact: &str) -> String {
        let mut facts = serde_json::Map::new();
        facts.insert("fact".into(), fact.into());
        let entry = Entry {
            seq,
            at_unix_ms: 1_000 + seq,
            kind: "transition".into(),
            actor: "appliance".into(),
            endpoint: Some("press-01".parse().unwrap()),
            job: None,
            mode: "real".into(),
            facts,
        };
        let text = serde_json::to_string(&entry).unwrap();
        *previous = chain(previous, &text);
        serde_json::to_string(&Line::Entry { text, hash: hex::encode(*previous) }).unwrap()
    }

    fn log() -> (Vec<String>, Ed25519KeyPair) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let mut previous = GENESIS;
        let mut lines: Vec<String> = (1..=4).map(|seq| entry_line(seq, &mut previous, "a")).collect();
        let signature = hex::encode(pair.sign(&checkpoint_message(4, &previous)));
        let checkpoint = Line::Checkpoint { seq: 4, hash: hex::encode(previous), signature };
        lines.push(serde_json::to_string(&checkpoint).unwrap());
        lines.push(entry_line(5, &mut previous, "after"));
        (lines, pair)
    }

    fn check(lines: &[String], pair: &Ed25519KeyPair) -> Result<Verified, Tampered> {
        verify(lines.iter().map(String::as_str), pair.public_key().as_ref())
    }

    #[test]
    fn an_untouched_log_verifies_and_says_how_far_it_is_signed() {
        let (lines, pair) = log();
        assert_eq!(check(&lines, &pair), Ok(Verified { entries: 5, checkpoints: 1, signed_up_to: 4 }));
    }

    #[test]
    fn a_changed_fact_is_found_where_it_stands() {
        let (mut lines, pair) = log();
        lines[1] = lines[1].replace("fact\\\":\\\"a", "fact\\\":\\\"b");
        assert_eq!(check(&lines, &pair), Err(Tampered::Hash { seq: 2 }));
    }

    #[test]
    fn a_removed_entry_is_found_where_it_is_missing() {
        let (mut lines, pair) = log();
        lines.remove(2);
        assert_eq!(check(&lines, &pair), Err(Tampered::Sequence { expected: 3, found: 4 }));
    }

    #[test]
    fn a_rewritten_chain_fails_at_its_checkpoint() {
        let (mut lines, pair) = log();
        let mut previous = GENESIS;
        for (at, line) in lines.iter_mut().take(4).enumerate() {
            *line = entry_line(at as u64 + 1, &mut previous, "forged");
        }
        assert_eq!(check(&lines, &pair), Err(Tampered::Checkpoint { seq: 4 }));
    }

    #[test]
    fn a_cut_tail_and_a_foreign_key_are_found() {
        let (mut lines, pair) = log();
        let foreign = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        assert_eq!(check(&lines, &foreign), Err(Tampered::Signature { seq: 4 }));
        lines.remove(5);
        lines.remove(3);
        assert_eq!(check(&lines, &pair), Err(Tampered::Truncated { last: 3, covered: 4 }));
    }
}
