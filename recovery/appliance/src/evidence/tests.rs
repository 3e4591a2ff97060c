//! Logs in a real database: written, rolled back, tampered with, and taken over from version 1.

use recovery_protocol::evidence::{self as log_form, Tampered, Verified, Verifier, proof};
use serde_json::json;

use super::*;

/// The whole log.
pub async fn exported(db: &Db) -> String {
    let (mut export, mut text) = (Export::begin(db).await.unwrap(), String::new());
    while let Some(page) = export.next().await.unwrap() {
        text.push_str(&page);
    }
    text
}

/// Remove all entries after `last`, and the checkpoints that cover them.
pub async fn cut(db: &Db, last: u64) {
    let mut tx = db.begin().await.unwrap();
    for sql in ["DELETE FROM evidence WHERE seq > $1", "DELETE FROM tree_checkpoint WHERE size > $1"] {
        db::query(sql).bind(i64::try_from(last).unwrap()).execute(&mut tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

struct Bench {
    dir: tempfile::TempDir,
    db: Db,
    log: EvidenceLog,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = Arc::new(Keys::open(&dir.path().join("state"), &["a".to_owned()], &[]).unwrap());
        let db = db::conformance::database(&dir.path().join("state/db")).await;
        Self { dir, db, log: EvidenceLog::new(keys) }
    }

    /// Append entries in one transaction.
    async fn write(&self, count: u64, what: &str) {
        let mut tx = self.db.begin().await.unwrap();
        for n in 0..count {
            self.log.append(&mut tx, n, fact(what)).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn sign(&self) -> Checkpoint {
        let mut tx = self.db.begin().await.unwrap();
        let signed = self.log.checkpoint(&mut tx).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        signed
    }

    async fn check(&self) -> Result<Verified, Tampered> {
        log_form::verify(exported(&self.db).await.lines(), *self.log.origin().key())
    }

    async fn sql(&self, sql: &'static str) {
        let mut tx = self.db.begin().await.unwrap();
        db::sql::raw(sql, &mut tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}

fn fact(what: &str) -> Fact {
    Fact::new("order.recover", "operator:anna", json!({ "what": what }))
}

#[tokio::test]
async fn the_export_verifies_page_by_page_and_a_cut_tail_shows() {
    let bench = Bench::new().await;
    for count in [70, PAGE, PAGE - 70, 1] {
        bench.write(count, "a").await;
    }
    bench.sign().await;
    bench.write(5, "after").await;
    let seen = bench.check().await.unwrap();
    let entries = 2 * PAGE + 6;
    assert_eq!((seen.entries, seen.signed_up_to, seen.checkpoints), (entries, entries - 5, 33));

    bench.sql("DELETE FROM evidence WHERE seq > 2040").await;
    assert_eq!(bench.check().await, Err(Tampered::Cut { last: 2040, covered: entries - 5 }));
}

#[tokio::test]
async fn an_export_ends_in_a_signature_while_others_write_on() {
    let bench = Bench::new().await;
    bench.write(10, "a").await;
    let signed = bench.sign().await;
    for more in [5, 60] {
        bench.write(more, "while it was read").await;
        let mut export = Export::begin(&bench.db).await.unwrap().ending_at(signed.size());
        let text = export.next().await.unwrap().unwrap();
        assert_eq!(export.next().await.unwrap(), None);
        let seen = log_form::verify(text.lines(), *bench.log.origin().key()).unwrap();
        assert_eq!((seen.entries, seen.signed_up_to), (10, 10));
    }
    cut(&bench.db, 8).await;
    let mut tx = bench.db.begin().await.unwrap();
    db::log::checkpoint(&mut tx, 10, signed.note()).await.unwrap();
    tx.commit().await.unwrap();
    let mut export = Export::begin(&bench.db).await.unwrap().ending_at(8);
    let text = export.next().await.unwrap().unwrap();
    let cut = log_form::verify(text.lines(), *bench.log.origin().key());
    assert_eq!(cut, Err(Tampered::Cut { last: 8, covered: 10 }));
}

#[tokio::test]
async fn what_somebody_did_to_the_database_is_named() {
    for (done, found) in [
        (
            "UPDATE evidence SET text = replace(text, 'anna', 'otto') WHERE seq = 7",
            Tampered::Changed { seq: 7 },
        ),
        ("DELETE FROM evidence WHERE seq = 7", Tampered::Dropped { seq: 7, found: 8 }),
        (
            "UPDATE evidence SET seq = seq - 16 WHERE seq IN (7, 9); UPDATE evidence SET seq = -seq WHERE seq < 0",
            Tampered::Swapped { seq: 7, found: 9 },
        ),
        (
            "UPDATE evidence SET nodes = (SELECT nodes FROM evidence WHERE seq = 9) WHERE seq = 7",
            Tampered::Changed { seq: 7 },
        ),
    ] {
        let bench = Bench::new().await;
        bench.write(20, "a").await;
        bench.sign().await;
        bench.sql(done).await;
        assert_eq!(bench.check().await, Err(found), "{done}");
    }
}

#[tokio::test]
async fn what_was_rolled_back_leaves_no_trace_in_the_tree() {
    let bench = Bench::new().await;
    bench.write(5, "a").await;
    for _ in 0..3 {
        let mut tx = bench.db.begin().await.unwrap();
        bench.log.append(&mut tx, 9, fact("never was")).await.unwrap();
        bench.log.append(&mut tx, 9, fact("b")).await.unwrap();
        drop(tx);
        bench.write(2, "b").await;
    }
    // Another hand writes on, and the first again: each finds the other's entries.
    let other = EvidenceLog::new(Arc::clone(&bench.log.keys));
    for log in [&other, &bench.log, &other] {
        let mut tx = bench.db.begin().await.unwrap();
        log.append(&mut tx, 9, fact("c")).await.unwrap();
        tx.commit().await.unwrap();
    }
    bench.sign().await;
    assert_eq!(bench.check().await.unwrap().entries, 14);
}

#[tokio::test]
async fn each_entry_and_each_past_is_proven_to_who_has_the_key_alone() {
    let bench = Bench::new().await;
    let origin = bench.log.origin();
    let mut past = Vec::new();
    for _ in 0..9 {
        bench.write(11, "a").await;
        past.push(bench.sign().await);
    }
    let now = past.last().unwrap();
    let mut conn = bench.db.read().await.unwrap();
    for seq in 1..=now.size() {
        let file = prove(&mut conn, seq, now).await.unwrap().unwrap();
        assert!(matches!(proof::verify(&file, &origin), Ok(proof::Proven::Included { .. })), "{seq}");
    }
    assert_eq!(prove(&mut conn, now.size() + 1, now).await.unwrap(), None);
    for old in &past {
        let file = prove_since(&mut conn, old, now).await.unwrap().unwrap();
        let proven = proof::Proven::Continued { old: old.size(), new: now.size() };
        assert_eq!(proof::verify(&file, &origin), Ok(proven));
    }
    assert_eq!(prove_since(&mut conn, now, &past[0]).await.unwrap(), None);
}

/// As version 1 left it: entries chained, a checkpoint over the chain, no nodes.
#[tokio::test]
async fn a_log_of_version_1_goes_on_under_the_tree_and_is_not_rewritten() {
    let bench = Bench::new().await;
    let mut chained = [0; 32];
    let mut tx = bench.db.begin().await.unwrap();
    for seq in 1..=2_u64 {
        let facts = serde_json::Map::new();
        let entry = Entry {
            seq,
            at_unix_ms: 5,
            kind: "old".into(),
            actor: "appliance".into(),
            endpoint: None,
            job: None,
            mode: "real".into(),
            facts,
        };
        let text = serde_json::to_string(&entry).unwrap();
        let both = [chained.as_slice(), text.as_bytes()].concat();
        chained = ring::digest::digest(&ring::digest::SHA256, &both).as_ref().try_into().unwrap();
        db::query("INSERT INTO evidence (seq, text, hash) VALUES ($1, $2, $3)")
            .bind(i64::try_from(seq).unwrap())
            .bind(text)
            .bind(hex::encode(chained))
            .execute(&mut tx)
            .await
            .unwrap();
    }
    let message =
        [b"groundstate evidence checkpoint v1\0".as_slice(), &2_u64.to_le_bytes(), &chained].concat();
    db::query("INSERT INTO evidence_checkpoint (seq, hash, signature) VALUES (2, $1, $2)")
        .bind(hex::encode(chained))
        .bind(hex::encode(bench.log.keys.evidence.sign(&message)))
        .execute(&mut tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let before = exported(&bench.db).await;
    bench.log.catch_up(&bench.db).await.unwrap();
    assert_eq!(exported(&bench.db).await, before, "what is there stays as it is");
    assert_eq!(bench.check().await.unwrap().signed_up_to, 2);

    bench.write(3, "new").await;
    let signed = bench.sign().await;
    let seen = bench.check().await.unwrap();
    assert_eq!((seen.entries, seen.checkpoints, seen.signed_up_to), (5, 2, 5));
    let mut conn = bench.db.read().await.unwrap();
    let file = prove(&mut conn, 1, &signed).await.unwrap().unwrap();
    assert!(proof::verify(&file, &bench.log.origin()).is_ok());
    drop(conn);
    bench.sql("UPDATE evidence SET text = replace(text, 'old', 'odd') WHERE seq = 1").await;
    assert_eq!(bench.check().await, Err(Tampered::Changed { seq: 1 }));
}

#[tokio::test]
async fn last_weeks_copy_of_the_database_is_older_than_what_somebody_holds() {
    let bench = Bench::new().await;
    bench.write(64, "a").await;
    let copy = bench.dir.path().join("copy");
    bench.sql("SELECT 1").await;
    bench.db.copy_to(&copy).await.unwrap();
    bench.write(10, "lost").await;
    let held = bench.sign().await;
    bench.db.close().await;
    let old = Db::open(&copy).await.unwrap();
    let check = |text: String| {
        let mut verifier = Verifier::new(*bench.log.origin().key());
        verifier.hold("the note", held.note()).unwrap();
        text.lines().try_for_each(|line| verifier.line(line))?;
        verifier.finish()
    };
    let covered = 74;
    let older = Tampered::OlderThan { held: "the note".into(), last: 64, covered };
    assert_eq!(check(exported(&old).await), Err(older));
    let mut tx = old.begin().await.unwrap();
    for n in 0..20 {
        bench.log.append(&mut tx, n, fact("forked")).await.unwrap();
    }
    tx.commit().await.unwrap();
    let other = Tampered::OtherThan { held: "the note".into(), first: 65, covered };
    assert_eq!(check(exported(&old).await), Err(other));
}

/// The verifier in Python was written from the standards, apart from ours: they agree on what is good and on what is not.
#[tokio::test]
async fn a_verifier_of_another_make_says_the_same() {
    let bench = Bench::new().await;
    bench.write(150, "grüße \u{2028} \"\\").await;
    let held = bench.sign().await;
    bench.write(30, "a").await;
    let now = bench.sign().await;
    let good = exported(&bench.db).await;
    let key = *bench.log.origin().key();
    let lines: Vec<&str> = good.lines().collect();
    let without = |skip: usize| {
        let kept = lines.iter().enumerate().filter(|(at, _)| *at != skip).map(|(_, line)| *line);
        kept.collect::<Vec<_>>().join("\n")
    };
    let signed = lines.iter().position(|line| line.contains("signed")).unwrap();
    let cut = lines[..=signed].join("\n");
    for (name, text, holds, expected) in [
        ("whole", good.clone(), true, "good: 180 entries"),
        ("changed", good.replacen("anna", "otto", 1), false, "bad: entry 1 was changed"),
        ("dropped", without(4), false, "bad: entry 5 is not where it belongs"),
        ("unsigned", without(lines.len() - 1), false, "bad: of 180 entries 150 are signed"),
        ("cut", cut, false, "good: 64 entries"),
    ] {
        let files = ["log", "held"].map(|file| bench.dir.path().join(format!("{name}.{file}")));
        std::fs::write(&files[0], &text).unwrap();
        std::fs::write(&files[1], if holds { held.note() } else { now.note() }).unwrap();
        let mut python = std::process::Command::new("python3");
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/evidence.py"));
        python.arg(&files[0]).arg(hex::encode(key));
        let ours = {
            let mut verifier = Verifier::new(key);
            if holds {
                python.arg(&files[1]);
                verifier.hold("kept", held.note()).unwrap();
            }
            let whole =
                text.lines().try_for_each(|line| verifier.line(line)).and_then(|()| verifier.finish());
            whole.is_ok_and(|seen| seen.signed_up_to == seen.entries)
        };
        let said = python.output().unwrap();
        let text = [said.stdout, said.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert_eq!((text.trim_end(), ours), (expected, expected.starts_with("good")), "{name}");
    }
    // What looks whole by itself is not what the newer checkpoint covers.
    let mut python = std::process::Command::new("python3");
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/evidence.py"));
    python.arg(bench.dir.path().join("cut.log")).arg(hex::encode(key)).arg(bench.dir.path().join("cut.held"));
    let said = python.output().unwrap();
    assert!(!said.status.success());
    assert_eq!(said.stderr, b"bad: the log ends at entry 64, a checkpoint covers 180\n");
}
