//! An evidence pack: what was found out, what it rests on, and the proof that nobody changed either, in one file that stands alone.
//!
//! ```text
//! pack.gsp = a POSIX tar (ustar) of plain files, in this order
//!   HOW-TO-VERIFY.txt   by public tools alone
//!   MANIFEST.sha256     one line a file: what `sha256sum -c` reads
//!   PACK.tlog-proof     the log's entry `report.pack`, in which the manifest's own SHA-256 stands, with its proof and a signed checkpoint
//!   …                   report, runbook, evidence, proofs of entries (`proofs/<seq>.tlog-proof`)
//! ```
//!
//! The evidence key signs no pack: it signs the log, and the log says which manifest was the right one. So whoever has the key and the file needs nothing else, and
//! a pack that was made anew with other content has no entry.
//!
//! A pack has one form: what is read is written again and must be the same, byte by byte. Nothing can hide between the files.

use std::collections::{BTreeMap, BTreeSet};

use ring::digest::{SHA256, digest};

use super::{Entry, checkpoint::Origin, proof};
use crate::ustar::{self, BLOCK};

/// The kind of the log's entry that names a pack's manifest.
pub const KIND: &str = "report.pack";

/// The file that explains how to look without any tool of ours.
pub const HOW_TO: &str = "HOW-TO-VERIFY.txt";

/// The list of files.
pub const MANIFEST: &str = "MANIFEST.sha256";

/// The proof of the list.
pub const PROOF: &str = "PACK.tlog-proof";

/// Files at most in a pack, with manifest and proof.
const FILES_MAX: usize = 20_000;

/// Why a pack does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPack {
    /// Not the one form.
    #[error("{what} (after `{after}`): it is no evidence pack, or was damaged there")]
    Form {
        /// The file before.
        after: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A file that must be there.
    #[error("`{0}` is missing from it: it was taken out, or this is no evidence pack")]
    Missing(String),
    /// A file that nobody listed.
    #[error("`{0}` is not in its manifest: it was put in afterwards")]
    Unlisted(String),
    /// A file that is not what the manifest says.
    #[error("`{0}` was altered: its SHA-256 is not the manifest's")]
    Altered(String),
    /// More files than a reader takes.
    #[error("it would hold {0} files, and a pack holds {FILES_MAX} at most")]
    TooMany(usize),
    /// The manifest is not the one that the log names.
    #[error("`MANIFEST.sha256` was altered: the evidence log names another one")]
    Manifest,
    /// A proof that proves nothing.
    #[error("`{file}` proves nothing: {why}")]
    Proof {
        /// Which.
        file: String,
        /// Why.
        why: String,
    },
}

/// Files by their names.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A pack that was looked at and is good.
#[derive(Debug, Clone, PartialEq)]
pub struct Pack {
    /// The entry that names it.
    pub entry: Entry,
    /// Entries that its checkpoint covers.
    pub of_entries: u64,
    /// Its files, without manifest and proof.
    pub files: Files,
    /// Entries of the log that it proves.
    pub proven: usize,
}

/// A file's name in a pack: a plain relative path that every tar can hold.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    !name.is_empty()
        && name.len() < 100
        && name.chars().all(plain)
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
}

/// The list of files, in the form of `sha256sum`. What has no plain name is left out.
#[must_use]
pub fn manifest(files: &Files) -> String {
    let line = |(name, bytes): (&String, &Vec<u8>)| format!("{}  {name}\n", sha256(bytes));
    files.iter().filter(|(name, _)| is_name(name)).map(line).collect()
}

/// SHA-256, lower-case hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// Whether these files make a pack that a reader takes. Asked before the log names it.
///
/// # Errors
/// [`BadPack::TooMany`].
pub fn fits(files: &Files) -> Result<(), BadPack> {
    let of_ours = [HOW_TO, MANIFEST, PROOF];
    let theirs = files.keys().filter(|name| is_name(name) && !of_ours.contains(&name.as_str())).count();
    let all = theirs + of_ours.len();
    if all <= FILES_MAX { Ok(()) } else { Err(BadPack::TooMany(all)) }
}

/// Put a pack together. `proof` is that of the entry `report.pack` whose fact `manifest_sha256` is the manifest's.
#[must_use]
pub fn write(files: &Files, proof: &str) -> Vec<u8> {
    let manifest = manifest(files);
    let mut tar = Vec::new();
    let how_to = files.get(HOW_TO).map(Vec::as_slice).unwrap_or_default();
    put(&mut tar, HOW_TO, how_to);
    put(&mut tar, MANIFEST, manifest.as_bytes());
    put(&mut tar, PROOF, proof.as_bytes());
    for (name, bytes) in files.iter().filter(|(name, _)| is_name(name) && *name != HOW_TO) {
        put(&mut tar, name, bytes);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// One file of a ustar archive (POSIX.1-1988): owner, mode and time are always the same.
fn put(tar: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    tar.extend_from_slice(&ustar::head(name, bytes.len() as u64, 0o644));
    tar.extend_from_slice(bytes);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

/// The files of a pack, in its order.
fn files_of(pack: &[u8]) -> Result<Vec<(String, &[u8])>, BadPack> {
    let mut files: Vec<(String, &[u8])> = Vec::new();
    let mut names = BTreeSet::new();
    let mut rest = pack;
    loop {
        let after = files.last().map_or_else(|| "the beginning".to_owned(), |(name, _)| name.clone());
        let bad = |what| BadPack::Form { after: after.clone(), what };
        let (head, body) = rest.split_at_checked(BLOCK).ok_or_else(|| bad("it ends too early"))?;
        if head.iter().all(|byte| *byte == 0) {
            return match body.len() == BLOCK && body.iter().all(|byte| *byte == 0) {
                true => Ok(files),
                false => Err(bad("something stands behind its end")),
            };
        }
        let text = |field: &[u8]| {
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            String::from_utf8(field[..end].to_vec()).ok()
        };
        let name =
            text(&head[..100]).filter(|name| is_name(name)).ok_or_else(|| bad("a file has no plain name"))?;
        let len =
            text(&head[124..136]).filter(|text| text.len() == 11 && text.bytes().all(|b| b.is_ascii_digit()));
        let len = len
            .and_then(|text| usize::from_str_radix(&text, 8).ok())
            .ok_or_else(|| bad("a file has no length"))?;
        let padded = len.checked_next_multiple_of(BLOCK).ok_or_else(|| bad("a file has no length"))?;
        let (bytes, next) = body.split_at_checked(padded).ok_or_else(|| bad("it ends too early"))?;
        let mut same = Vec::new();
        put(&mut same, &name, &bytes[..len]);
        if same[..BLOCK] != *head || bytes[len..].iter().any(|byte| *byte != 0) {
            return Err(bad("a file's head or its padding was altered"));
        }
        if files.len() == FILES_MAX || !names.insert(name.clone()) {
            return Err(bad("a file stands in it twice, or there are too many"));
        }
        files.push((name, &bytes[..len]));
        rest = next;
    }
}

/// Look whether a pack is what the log says, with the evidence key alone.
///
/// # Errors
/// What is wrong, and in which file.
pub fn verify(pack: &[u8], origin: &Origin) -> Result<Pack, BadPack> {
    let ordered = files_of(pack)?;
    let mut files: Files = ordered.iter().map(|(name, bytes)| (name.clone(), bytes.to_vec())).collect();
    let missing = |name: &str| BadPack::Missing(name.to_owned());
    let listed = files.remove(MANIFEST).ok_or_else(|| missing(MANIFEST))?;
    let proof = files.remove(PROOF).ok_or_else(|| missing(PROOF))?;
    let in_proof = |file: &str, why: String| BadPack::Proof { file: file.to_owned(), why };
    let proof = String::from_utf8(proof).map_err(|_| in_proof(PROOF, "it is no text".into()))?;
    let named = |file: &str, text: &str| match proof::verify(text, origin) {
        Ok(proof::Proven::Included { entry, size }) => Ok((*entry, size)),
        Ok(proof::Proven::Continued { .. }) => Err(in_proof(file, "it is a proof of another kind".into())),
        Err(why) => Err(in_proof(file, why.to_string())),
    };
    let (entry, of_entries) = named(PROOF, &proof)?;
    if entry.kind != KIND {
        return Err(in_proof(PROOF, format!("its entry is a `{}`, and no `{KIND}`", entry.kind)));
    }
    // Which file it is, is told before the manifest as a whole: a person looks for the file.
    let claims: BTreeMap<&str, &str> = std::str::from_utf8(&listed)
        .map_err(|_| BadPack::Manifest)?
        .lines()
        .filter_map(|line| line.split_once("  ").map(|(digest, name)| (name, digest)))
        .collect();
    for (name, bytes) in &files {
        match claims.get(name.as_str()) {
            None => return Err(BadPack::Unlisted(name.clone())),
            Some(digest) if **digest != sha256(bytes) => return Err(BadPack::Altered(name.clone())),
            Some(_) => {}
        }
    }
    if let Some(name) = claims.keys().find(|name| !files.contains_key(**name)) {
        return Err(missing(name));
    }
    let told = entry.facts.get("manifest_sha256").and_then(serde_json::Value::as_str);
    if told != Some(sha256(&listed).as_str()) || manifest(&files).as_bytes() != listed {
        return Err(BadPack::Manifest);
    }
    let mut proven = 0;
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".tlog-proof")) {
        let text = std::str::from_utf8(bytes).map_err(|_| in_proof(name, "it is no text".into()))?;
        named(name, text)?;
        proven += 1;
    }
    if write(&files, &proof) != pack {
        return Err(BadPack::Form { after: MANIFEST.into(), what: "its files stand in another order" });
    }
    Ok(Pack { entry, of_entries, files, proven })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use crate::evidence::{Checkpoint, tree};

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    fn origin() -> Origin {
        Origin::of(pair().public_key().as_ref().try_into().unwrap())
    }

    /// A log of one entry: its leaf is its root.
    fn proof_of(kind: &str, facts: serde_json::Value) -> String {
        let text = serde_json::json!({ "seq": 1, "at_unix_ms": 1, "kind": kind, "actor": "appliance", "mode": "drill", "facts": facts }).to_string();
        let checkpoint = Checkpoint::sign(&pair(), 1, tree::leaf(text.as_bytes()));
        proof::write_inclusion(&text, 1, &[], checkpoint.note())
    }

    fn files() -> Files {
        [
            (HOW_TO, b"Look.".to_vec()),
            ("report.html", vec![b'a'; 600]),
            ("report.json", Vec::new()),
            ("proofs/1.tlog-proof", proof_of("x", serde_json::json!({})).into_bytes()),
        ]
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect()
    }

    fn pack_of(files: &Files) -> Vec<u8> {
        let told = sha256(manifest(files).as_bytes());
        write(files, &proof_of(KIND, serde_json::json!({ "manifest_sha256": told })))
    }

    #[test]
    fn a_pack_comes_back_as_it_was_and_says_what_it_proves() {
        let pack = verify(&pack_of(&files()), &origin()).unwrap();
        assert_eq!((pack.files, pack.proven, pack.of_entries), (files(), 1, 1));
    }

    #[test]
    fn what_was_done_to_a_pack_is_named_with_its_file() {
        let good = files();
        let told = sha256(manifest(&good).as_bytes());
        let proof = proof_of(KIND, serde_json::json!({ "manifest_sha256": told }));
        // The manifest and the proof of the good one, with other files beside them.
        let with = |change: fn(&mut Files)| {
            let mut files = good.clone();
            change(&mut files);
            let mut tar = Vec::new();
            put(&mut tar, HOW_TO, &files[HOW_TO]);
            put(&mut tar, MANIFEST, manifest(&good).as_bytes());
            put(&mut tar, PROOF, proof.as_bytes());
            for (name, bytes) in files.iter().filter(|(name, _)| *name != HOW_TO) {
                put(&mut tar, name, bytes);
            }
            tar.resize(tar.len() + 2 * BLOCK, 0);
            verify(&tar, &origin()).unwrap_err()
        };
        let name = "report.html".to_owned();
        assert_eq!(
            with(|files| files.get_mut("report.html").unwrap()[3] ^= 1),
            BadPack::Altered(name.clone())
        );
        assert_eq!(with(|files| drop(files.remove("report.html"))), BadPack::Missing(name));
        assert_eq!(with(|files| drop(files.insert("z".into(), vec![]))), BadPack::Unlisted("z".into()));
        // All made anew: then the log has no entry for it.
        let mut forged = good.clone();
        forged.get_mut("report.html").unwrap()[3] ^= 1;
        assert_eq!(verify(&write(&forged, &proof), &origin()).unwrap_err(), BadPack::Manifest);
        let other = write(&good, &proof_of("order.drill", serde_json::json!({ "manifest_sha256": told })));
        assert!(
            matches!(verify(&other, &origin()).unwrap_err(), BadPack::Proof { file, .. } if file == PROOF)
        );
        let strange = Origin::of([9; 32]);
        assert!(matches!(verify(&pack_of(&good), &strange).unwrap_err(), BadPack::Proof { .. }));
    }

    #[test]
    fn every_single_byte_counts() {
        let pack = pack_of(&files());
        for at in 0..pack.len() {
            for bit in [1, 0x80] {
                let mut altered = pack.clone();
                altered[at] ^= bit;
                assert!(verify(&altered, &origin()).is_err(), "byte {at}");
            }
        }
        for len in 0..pack.len() {
            assert!(verify(&pack[..len], &origin()).is_err(), "cut at {len}");
        }
        assert!(verify(&[&pack[..], &[0]].concat(), &origin()).is_err());
    }

    #[test]
    fn a_pack_at_the_limit_is_read_and_one_beyond_it_is_never_written() {
        let mut all: Files = (0..FILES_MAX - 3).map(|n| (format!("f/{n}"), Vec::new())).collect();
        all.insert(HOW_TO.into(), Vec::new());
        assert_eq!(fits(&all), Ok(()));
        assert_eq!(verify(&pack_of(&all), &origin()).unwrap().files.len(), FILES_MAX - 2);
        all.insert("one-more".into(), Vec::new());
        assert_eq!(fits(&all), Err(BadPack::TooMany(FILES_MAX + 1)));
        assert!(verify(&pack_of(&all), &origin()).is_err());
        // A file that stands in it twice.
        let mut twice = pack_of(&files());
        twice.truncate(twice.len() - 2 * BLOCK);
        put(&mut twice, "report.html", b"another");
        twice.resize(twice.len() + 2 * BLOCK, 0);
        assert!(
            matches!(verify(&twice, &origin()), Err(BadPack::Form { what, .. }) if what.contains("twice"))
        );
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_names() {
        for name in ["", "/a", "a/../b", "..", "a//b", "a b", "ä", ".a", "a/", &"x".repeat(100)] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_name("proofs/17.tlog-proof"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..3_000)) {
            let _ = verify(&bytes, &origin());
        }
    }
}
