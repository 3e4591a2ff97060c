//! Signed checkpoints, in the form of the field: C2SP `tlog-checkpoint` in a C2SP `signed-note`.
//!
//! ```text
//! groundstate.evidence/3f0c…      origin: who keeps this log, from the key itself
//! 20852163                        entries
//! CsUYapGG…=                      root of the Merkle tree over them, base64
//!
//! — groundstate.evidence/3f0c… Az3grl…=      Ed25519 over the three lines, each with its line end
//! ```
//!
//! Any tool that checks checkpoints of transparency logs checks these, given [`Origin::verifier_key`].

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    digest,
    signature::{self, Ed25519KeyPair, KeyPair as _},
};

use super::tree::Hash;

/// What a signed note's Ed25519 key is marked with (C2SP signed-note, "Signature types").
const ED25519: u8 = 1;

/// Key id and Ed25519 signature, in bytes.
const SIGNATURE_LEN: usize = 4 + 64;

/// Notes that are longer are none of ours.
const NOTE_MAX: usize = 16 * 1024;

/// Why a checkpoint is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotACheckpoint {
    /// Not of the form.
    #[error("it is no signed checkpoint ({0})")]
    Form(&'static str),
    /// By another log or key.
    #[error("it is a checkpoint of another log, {0}")]
    Foreign(String),
    /// Signed by nobody we know, or altered.
    #[error("its signature is not by this appliance's evidence key")]
    Signature,
}

/// Who keeps a log: the evidence key, and the name that is made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    name: String,
    key: [u8; 32],
}

impl Origin {
    /// The log of this evidence key (Ed25519). A name made of the key stays when a site is renamed, and is never given twice.
    #[must_use]
    pub fn of(key: [u8; 32]) -> Self {
        Self { name: format!("groundstate.evidence/{}", hex::encode(&key[..8])), key }
    }

    /// The first line of each checkpoint.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The evidence key.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// The key as other tools want it: `<name>+<key id>+<base64>` (C2SP signed-note, "Verifier keys").
    #[must_use]
    pub fn verifier_key(&self) -> String {
        let key = STANDARD.encode([&[ED25519], self.key.as_slice()].concat());
        format!("{}+{}+{key}", self.name, hex::encode(self.key_id()))
    }

    /// The first four bytes of SHA-256(name ‖ 0x0a ‖ 0x01 ‖ key).
    fn key_id(&self) -> [u8; 4] {
        let named = [self.name.as_bytes(), b"\n", &[ED25519], &self.key].concat();
        let hash = digest::digest(&digest::SHA256, &named);
        let mut id = [0; 4];
        id.copy_from_slice(&hash.as_ref()[..4]);
        id
    }
}

/// A checkpoint whose signature was verified, or that was signed here: the tree of so many entries has this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    size: u64,
    root: Hash,
    note: String,
}

impl Checkpoint {
    /// Sign the tree of `size` entries.
    #[must_use]
    pub fn sign(pair: &Ed25519KeyPair, size: u64, root: Hash) -> Self {
        let mut key = [0; 32];
        key.copy_from_slice(pair.public_key().as_ref());
        let origin = Origin::of(key);
        let text = format!("{}\n{size}\n{}\n", origin.name, STANDARD.encode(root));
        let signed = [&origin.key_id(), pair.sign(text.as_bytes()).as_ref()].concat();
        let note = format!("{text}\n\u{2014} {} {}\n", origin.name, STANDARD.encode(signed));
        Self { size, root, note }
    }

    /// Read a note and verify that the keeper of the log signed it. Signatures of others, such as witnesses, may stand
    /// beside it; extension lines may follow the root.
    ///
    /// # Errors
    /// [`NotACheckpoint`].
    pub fn verify(note: &str, origin: &Origin) -> Result<Self, NotACheckpoint> {
        Unverified::read(note, origin)?.verify(origin)
    }

    /// Entries that it covers.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over them.
    #[must_use]
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// The note, to be kept and handed on as it is.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// A checkpoint of the right form and log, of which nobody has looked at the signature.
pub(super) struct Unverified(Checkpoint);

impl Unverified {
    /// Read a note.
    pub(super) fn read(note: &str, origin: &Origin) -> Result<Self, NotACheckpoint> {
        let form = NotACheckpoint::Form;
        if note.len() > NOTE_MAX {
            return Err(form("it is too long"));
        }
        // The text ends before the last empty line: extension lines are never empty.
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(form("nothing is signed"))?;
        signatures.strip_suffix('\n').ok_or(form("the end is missing"))?;
        let mut lines = text.split('\n');
        let name = lines.next().unwrap_or_default();
        if name != origin.name {
            let name: String = name.chars().filter(|c| !c.is_control()).take(120).collect();
            return Err(NotACheckpoint::Foreign(name));
        }
        let digits = lines.next().ok_or(form("the size is missing"))?;
        let size: u64 = digits.parse().map_err(|_| form("the size is no number"))?;
        if size.to_string() != digits {
            return Err(form("the size is no plain number"));
        }
        let root = lines.next().and_then(hash).ok_or(form("the root is no hash"))?;
        if lines.any(str::is_empty) {
            return Err(form("there is an empty line"));
        }
        Ok(Self(Checkpoint { size, root, note: note.to_owned() }))
    }

    /// Verify that the keeper of the log signed it.
    pub(super) fn verify(self, origin: &Origin) -> Result<Checkpoint, NotACheckpoint> {
        let form = NotACheckpoint::Form;
        let (text, signatures) = self.0.note.rsplit_once("\n\n").ok_or(form("nothing is signed"))?;
        let signed = format!("{text}\n");
        let key = signature::UnparsedPublicKey::new(&signature::ED25519, &origin.key);
        let by_us = |line: &str| {
            let by = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' '));
            let bytes = by.filter(|(by, _)| *by == origin.name).and_then(|(_, b)| STANDARD.decode(b).ok());
            let good = |bytes: Vec<u8>| {
                let signature = bytes.strip_prefix(&origin.key_id())?;
                key.verify(signed.as_bytes(), signature).ok()
            };
            bytes.and_then(good).is_some()
        };
        let lines = || signatures.trim_end_matches('\n').split('\n');
        if lines().any(by_us) {
            return Ok(self.0);
        }
        if lines().any(|line| cut_off(line, origin)) {
            return Err(form("its signature is cut off"));
        }
        Err(NotACheckpoint::Signature)
    }

    /// Entries that it says it covers.
    pub(super) fn size(&self) -> u64 {
        self.0.size
    }

    /// The root that it says they have.
    pub(super) fn root(&self) -> &Hash {
        &self.0.root
    }
}

/// Notes that stand one after the other in a file, as an anchor file holds them: each ends with the signatures after its
/// empty line. What is no note is given as it is, so that it is refused with its place.
pub fn notes(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches('\n');
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.find("\n\n").map_or(rest.len(), |at| at + 2);
        while rest[end..].starts_with('\u{2014}') {
            end += rest[end..].find('\n').map_or(rest.len() - end, |at| at + 1);
        }
        let (note, after) = rest.split_at(end);
        rest = after;
        Some(note)
    })
}

/// What a power cut leaves behind the last byte that was written: nothing, half of a character, zeros.
const AFTER_A_CUT: [char; 2] = ['\0', '\u{fffd}'];

/// Whether a piece of a file of notes (read with what is no UTF-8 replaced) is what is left of a note of this log whose writing was cut
/// short, and no note.
#[must_use]
pub fn is_torn(piece: &str, origin: &Origin) -> bool {
    let left = piece.trim_matches('\n').trim_end_matches(AFTER_A_CUT);
    let ours = match left.split_once('\n') {
        Some((name, _)) => name == origin.name,
        None => origin.name.starts_with(left),
    };
    ours && matches!(Checkpoint::verify(piece, origin), Err(NotACheckpoint::Form(_)))
}

/// Whether a line is the beginning of our signature, and not all of it.
fn cut_off(line: &str, origin: &Origin) -> bool {
    let line = line.trim_end_matches(AFTER_A_CUT);
    let head = format!("\u{2014} {} ", origin.name);
    match line.strip_prefix(&head) {
        Some(signature) => STANDARD.decode(signature).map_or(true, |bytes| bytes.len() != SIGNATURE_LEN),
        None => head.starts_with(line),
    }
}

/// A hash in base64.
pub(super) fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(seed: u8) -> (Ed25519KeyPair, Origin) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let origin = Origin::of(pair.public_key().as_ref().try_into().unwrap());
        (pair, origin)
    }

    #[test]
    fn a_checkpoint_is_read_back_and_an_altered_or_foreign_one_is_not() {
        let (ours, origin) = pair(1);
        let (theirs, other) = pair(2);
        let made = Checkpoint::sign(&ours, 20_852_163, [9; 32]);
        assert_eq!(Checkpoint::verify(made.note(), &origin), Ok(made.clone()));
        let foreign = NotACheckpoint::Foreign(origin.name().to_owned());
        assert_eq!(Checkpoint::verify(made.note(), &other), Err(foreign));
        let forged =
            Checkpoint::sign(&theirs, 20_852_163, [9; 32]).note().replace(other.name(), origin.name());
        assert_eq!(Checkpoint::verify(&forged, &origin), Err(NotACheckpoint::Signature));
        let more = made.note().replace("20852163", "20852164");
        assert_eq!(Checkpoint::verify(&more, &origin), Err(NotACheckpoint::Signature));
        for broken in
            ["", "\n\n", "\n\n\n", made.note().trim_end(), &made.note()[..40], &format!("x{}", made.note())]
        {
            assert!(Checkpoint::verify(broken, &origin).is_err(), "{broken:?}");
        }
        let padded = made.note().replace("20852163", "020852163");
        assert_eq!(
            Checkpoint::verify(&padded, &origin),
            Err(NotACheckpoint::Form("the size is no plain number"))
        );
    }

    #[test]
    fn a_witness_beside_us_is_let_be_and_does_not_stand_for_us() {
        let (ours, origin) = pair(1);
        let made = Checkpoint::sign(&ours, 7, [9; 32]);
        let witnessed = format!("{}\u{2014} witness.example AAAAAA==\n", made.note());
        assert_eq!(Checkpoint::verify(&witnessed, &origin).unwrap().size(), 7);
        let (text, _) = made.note().split_once("\n\n").unwrap();
        let alone = format!("{text}\n\n\u{2014} witness.example AAAAAA==\n");
        assert_eq!(Checkpoint::verify(&alone, &origin), Err(NotACheckpoint::Signature));
    }

    /// The example key of C2SP's signed-note page has this shape; the id is over name, line end, type and key.
    #[test]
    fn the_verifier_key_has_the_shape_that_tools_read() {
        let (_, origin) = pair(1);
        let key = origin.verifier_key();
        let parts: Vec<&str> = key.splitn(3, '+').collect();
        assert_eq!((parts[0], parts[1].len()), (origin.name(), 8));
        assert_eq!(STANDARD.decode(parts[2]).unwrap(), [&[1], origin.key().as_slice()].concat());
    }

    #[test]
    fn notes_of_an_anchor_file_come_one_by_one() {
        let (ours, origin) = pair(1);
        let made: Vec<Checkpoint> = (1..=3).map(|n| Checkpoint::sign(&ours, n, [9; 32])).collect();
        let file: String = made.iter().map(|one| format!("{}\n", one.note())).collect();
        let read: Vec<Checkpoint> =
            notes(&file).map(|note| Checkpoint::verify(note, &origin).unwrap()).collect();
        assert_eq!(read, made);
        let cut = &file[..file.len() - 20];
        assert_eq!(notes(cut).filter(|note| Checkpoint::verify(note, &origin).is_ok()).count(), 2);
        assert_eq!(notes(cut).count(), 3);
    }

    #[test]
    fn what_is_left_of_a_note_is_told_from_a_whole_one_that_is_wrong() {
        let (ours, origin) = pair(1);
        let (theirs, other) = pair(2);
        let made = Checkpoint::sign(&ours, 20_852_163, [9; 32]);
        let (note, end) = (made.note(), made.note().len());
        for at in 1..end {
            for after in ["", "\n\n", "\0\0"] {
                let left = format!("{}{after}", String::from_utf8_lossy(&note.as_bytes()[..at]));
                for piece in notes(&left) {
                    let whole = at == end - 1 && after == "\n\n";
                    assert_eq!(is_torn(piece, &origin), !whole, "{at}: {piece:?}");
                    assert_eq!(Checkpoint::verify(piece, &origin).is_ok(), whole, "{at}: {piece:?}");
                }
            }
        }
        let foreign = Checkpoint::sign(&theirs, 7, [9; 32]);
        let forged = foreign.note().replace(other.name(), origin.name());
        let altered = note.replace("20852163", "20852164");
        for wrong in [foreign.note(), &forged, &altered, "somebody's notes\n", "other/log\n7\n"] {
            assert!(!is_torn(wrong, &origin), "{wrong:?}");
        }
    }
}
