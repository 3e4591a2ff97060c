//! Logs of both versions, and what is found in them after somebody was there.

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::{tree::Perfect, *};

fn pair() -> (Ed25519KeyPair, [u8; 32]) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let key = pair.public_key().as_ref().try_into().unwrap();
    (pair, key)
}

fn text(seq: u64, fact: &str) -> String {
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
    serde_json::to_string(&entry).unwrap()
}

/// A log, as it is written: the first entries by version 1, the others under the tree. A checkpoint each four entries.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    tree: Tree,
    chain: Hash,
    kept: Vec<Vec<Hash>>,
    notes: Vec<String>,
}

impl Log {
    fn of(chained: u64, all: u64) -> Self {
        let mut log = Self::default();
        for seq in 1..=all {
            log.write(seq, "a", seq <= chained);
        }
        log
    }

    fn write(&mut self, seq: u64, fact: &str, chained: bool) {
        let text = text(seq, fact);
        self.chain = chain(&self.chain, &text);
        self.kept.push(self.tree.push(tree::leaf(text.as_bytes())));
        let hash = tree::leaf(text.as_bytes());
        let line = match chained {
            true => Line::Chained { text: text.into(), hash: hex::encode(self.chain).into() }.to_string(),
            false => Line::Leaf { text: &text, hash }.to_string(),
        };
        self.lines.push(line);
        if seq.is_multiple_of(4) {
            self.sign(seq, chained);
        }
    }

    fn sign(&mut self, seq: u64, chained: bool) {
        let (pair, _) = pair();
        let line = if chained {
            let message = [CHECKPOINT_CONTEXT, &seq.to_le_bytes(), &self.chain].concat();
            let signature = hex::encode(pair.sign(&message)).into();
            Line::ChainSigned { seq, hash: hex::encode(self.chain).into(), signature }.to_string()
        } else {
            let made = Checkpoint::sign(&pair, seq, self.tree.root());
            self.notes.push(made.note().to_owned());
            Line::Signed(made.note().into()).to_string()
        };
        self.lines.push(line);
    }

    fn check(&self) -> Result<Verified, Tampered> {
        let thorough = verify(self.lines.iter().map(String::as_str), pair().1);
        assert_eq!(self.check_quickly(), thorough);
        thorough
    }

    fn check_quickly(&self) -> Result<Verified, Tampered> {
        let mut verifier = Verifier::quick(pair().1);
        self.lines.iter().try_for_each(|line| verifier.line(line))?;
        verifier.finish()
    }

    fn check_with(&self, note: &str) -> Result<Verified, Tampered> {
        let mut verifier = Verifier::new(pair().1);
        verifier.hold("the note", note).unwrap();
        self.lines.iter().try_for_each(|line| verifier.line(line))?;
        verifier.finish()
    }

    /// The place of an entry's line.
    fn at(&self, seq: u64) -> usize {
        self.lines.iter().position(|line| entry(line).is_some_and(|entry| entry.seq == seq)).unwrap()
    }

    fn hashes(&self, stretches: &[tree::Stretch]) -> Vec<Hash> {
        let at = |node: Perfect| self.kept[node.seq as usize - 1][node.level as usize];
        let hash =
            |one: &tree::Stretch| one.hash(&one.perfect().into_iter().map(at).collect::<Vec<_>>()).unwrap();
        stretches.iter().map(hash).collect()
    }
}

#[test]
fn an_untouched_log_of_either_version_or_of_both_verifies() {
    for chained in [0, 3, 4, 6, 13] {
        let seen = Log::of(chained, 13).check().unwrap();
        let signed = seen.signed_up_to;
        assert_eq!((seen.entries, seen.checkpoints, signed, seen.held), (13, 3, 12, 0), "{chained}");
    }
}

#[test]
fn a_changed_entry_is_named() {
    for chained in [0, 13] {
        let mut log = Log::of(chained, 13);
        let at = log.at(6);
        log.lines[at] = log.lines[at].replace("transition", "transitiom");
        assert_eq!(log.check(), Err(Tampered::Changed { seq: 6 }));
    }
}

#[test]
fn an_entry_changed_with_its_hash_is_found_at_the_next_checkpoint() {
    let mut log = Log::of(0, 13);
    let (at, text) = (log.at(6), text(6, "forged"));
    log.lines[at] = Line::Leaf { text: &text, hash: tree::leaf(text.as_bytes()) }.to_string();
    assert_eq!(log.check(), Err(Tampered::Replaced { first: 5, last: 8 }));
    let mut log = Log::of(13, 13);
    let mut previous = GENESIS;
    for seq in 1..=4 {
        let (at, text) = (log.at(seq), self::text(seq, "forged"));
        previous = chain(&previous, &text);
        log.lines[at] = Line::Chained { text: text.into(), hash: hex::encode(previous).into() }.to_string();
    }
    assert_eq!(log.check(), Err(Tampered::Replaced { first: 1, last: 4 }));
}

#[test]
fn a_dropped_and_a_swapped_entry_are_told_apart() {
    for chained in [0, 13] {
        let mut log = Log::of(chained, 13);
        let (third, sixth) = (log.at(3), log.at(6));
        log.lines.swap(third, sixth);
        assert_eq!(log.check(), Err(Tampered::Swapped { seq: 3, found: 6 }));
        log.lines.swap(third, sixth);
        log.lines.remove(third);
        assert_eq!(log.check(), Err(Tampered::Dropped { seq: 3, found: 4 }));
        let mut log = Log::of(chained, 13);
        let again = log.lines[log.at(2)].clone();
        log.lines.insert(third, again);
        assert_eq!(log.check(), Err(Tampered::Swapped { seq: 3, found: 2 }));
    }
}

#[test]
fn a_cut_tail_is_found_by_a_checkpoint_that_stayed() {
    let mut log = Log::of(0, 13);
    let at = log.at(12);
    log.lines.remove(at);
    log.lines.pop();
    assert_eq!(log.check(), Err(Tampered::Cut { last: 11, covered: 12 }));
}

#[test]
fn a_log_cut_at_a_checkpoint_is_found_by_one_that_somebody_holds() {
    let whole = Log::of(2, 13);
    let mut log = Log::of(2, 13);
    let at = log.at(9);
    log.lines.truncate(at);
    assert_eq!(log.check().unwrap().signed_up_to, 8, "by itself it looks whole");
    let held = whole.notes.last().unwrap();
    let older = Tampered::OlderThan { held: "the note".into(), last: 8, covered: 12 };
    assert_eq!(log.check_with(held), Err(older));
    assert_eq!(whole.check_with(held).unwrap().held, 1);
    // The old copy went on: other entries, well signed.
    let mut log = Log::of(2, 8);
    for seq in 9..=16 {
        log.write(seq, "b", false);
    }
    assert_eq!(log.check().unwrap().signed_up_to, 16);
    let other = Tampered::OtherThan { held: "the note".into(), first: 9, covered: 12 };
    assert_eq!(log.check_with(held), Err(other));
}

#[test]
fn what_is_signed_by_others_does_not_count() {
    let log = Log::of(0, 13);
    let foreign = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let key = foreign.public_key().as_ref().try_into().unwrap();
    let lines = || log.lines.iter().map(String::as_str);
    assert!(matches!(verify(lines(), key), Err(Tampered::Signature { line: 5, .. })));
    let note = Checkpoint::sign(&foreign, 4, [0; 32]);
    assert!(Verifier::new(pair().1).hold("it", note.note()).is_err());
    let chained = Log::of(13, 13);
    let lines = || chained.lines.iter().map(String::as_str);
    assert!(matches!(verify(lines(), key), Err(Tampered::Signature { line: 5, .. })));
}

#[test]
fn a_checkpoint_after_its_place_or_a_line_of_another_kind_is_no_export_of_ours() {
    let mut log = Log::of(0, 13);
    let note = log.lines.remove(4);
    log.lines.push(note);
    assert!(matches!(log.check(), Err(Tampered::Unreadable { line: 16, .. })));
    let ours = Log::of(0, 1).lines.remove(0);
    for broken in ["x", "{}", "{\"line\":\"leaf\"}", &ours.replace("\"hash\":\"", "\"hash\":\"ä")] {
        assert!(matches!(verify([broken], pair().1), Err(Tampered::Unreadable { line: 1, .. })), "{broken}");
    }
    let cut = &ours[..ours.len() - 1];
    assert_eq!(verify([cut], pair().1), Err(Tampered::Changed { seq: 1 }));
}

#[test]
fn proofs_stand_alone_and_altered_ones_fall() {
    let log = Log::of(2, 13);
    let origin = Origin::of(pair().1);
    let note = &log.notes[2];
    let proof_of = |seq| {
        let hashes = log.hashes(&tree::inclusion(seq, 12).unwrap());
        proof::write_inclusion(&text(seq, "a"), seq, &hashes, note)
    };
    for seq in 1..=12 {
        match proof::verify(&proof_of(seq), &origin).unwrap() {
            proof::Proven::Included { entry, size } => assert_eq!((entry.seq, size), (seq, 12)),
            other => panic!("{other:?}"),
        }
    }
    let forged = {
        let hashes = log.hashes(&tree::inclusion(5, 12).unwrap());
        proof::write_inclusion(&text(5, "b"), 5, &hashes, note)
    };
    assert_eq!(proof::verify(&forged, &origin), Err(proof::Unproven::NotIncluded { seq: 5, size: 12 }));
    let moved = proof_of(5).replace("index 4", "index 5");
    assert_eq!(proof::verify(&moved, &origin), Err(proof::Unproven::NotIncluded { seq: 6, size: 12 }));
    // Signed, and not the entry of the place that it is shown for.
    let elsewhere = Checkpoint::sign(&pair().0, 1, tree::leaf(text(9, "a").as_bytes()));
    let shown = proof::write_inclusion(&text(9, "a"), 1, &[], elsewhere.note());
    assert_eq!(proof::verify(&shown, &origin), Err(proof::Unproven::NotIncluded { seq: 1, size: 1 }));
    let hashes = log.hashes(&tree::consistency(8, 12).unwrap());
    let both = proof::write_consistency(&hashes, &log.notes[1], note);
    assert_eq!(proof::verify(&both, &origin), Ok(proof::Proven::Continued { old: 8, new: 12 }));
    let back = proof::write_consistency(&hashes, note, &log.notes[1]);
    assert_eq!(proof::verify(&back, &origin), Err(proof::Unproven::NotContinued { old: 12, new: 8 }));
    for broken in ["", "\n\n", "c2sp.org/tlog-proof@v1\n\n", &proof_of(5).replace("extra", "ekstra")] {
        assert!(proof::verify(broken, &origin).is_err());
    }
}

/// Whoever changes entries, hashes and checkpoints together lacks the key: the last signature is over all of it.
#[test]
fn a_quick_look_believes_no_log_that_a_thorough_one_does_not() {
    let (pair, key) = pair();
    let forger = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let theirs = Origin::of(forger.public_key().as_ref().try_into().unwrap());
    let mut log = Log::of(0, 5);
    let forged = |size: u64, root: Hash| {
        let note =
            Checkpoint::sign(&forger, size, root).note().replace(theirs.name(), Origin::of(key).name());
        Line::Signed(note.into()).to_string()
    };
    for seq in 6..=8 {
        log.write(seq, "forged", false);
    }
    log.lines.pop();
    log.lines.push(forged(8, log.tree.root()));
    let quick = log.check_quickly();
    assert!(matches!(quick, Err(Tampered::Signature { line: 10, .. })), "{quick:?}");
    let lines = log.lines.iter().map(String::as_str);
    assert!(matches!(verify(lines, key), Err(Tampered::Signature { line: 10, .. })));
    // With an honest one after it, the entries are as they were signed; only a thorough look minds the forged one.
    let honest = Checkpoint::sign(&pair, 8, log.tree.root());
    log.lines.push(Line::Signed(honest.note().into()).to_string());
    assert_eq!(log.check_quickly().unwrap().signed_up_to, 8);
    let lines = log.lines.iter().map(String::as_str);
    assert!(matches!(verify(lines, key), Err(Tampered::Signature { line: 10, .. })));
}
