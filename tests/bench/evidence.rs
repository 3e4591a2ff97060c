//! The evidence log of a site of years: verification against plain blake3, how proofs grow, and what a backup takes.
//!
//! The log is made here, of a million entries as the appliance writes them; its database is filled by `sqlite3`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use recovery_protocol::evidence::tree::{self, Hash, Tree};
use recovery_protocol::evidence::{Checkpoint, Line, proof};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::{Figure, Programs, median};
use crate::tool;

const RUNS: usize = 3;
const ENTRIES: u64 = 1_000_000;
const ENDPOINTS: u64 = 5_000;
const CHECKPOINT_EVERY: u64 = 64;
/// What issue and manual promise.
const BACKUP_S_MAX: f64 = 30.0;

/// Verification, proofs, backup.
///
/// # Errors
/// When a program cannot be run.
pub fn evidence(programs: &Programs, dir: &Path) -> Result<Vec<Figure>> {
    let appliance = &programs.programs.appliance;
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).ok().context("no key")?;
    let (mut tree, mut kept) = (Tree::default(), Vec::new());
    let log = dir.join("log.jsonl");
    export(&pair, &mut tree, &mut kept, &log)?;
    let mut figures = vec![verify(appliance, &pair, &log)?];
    figures.push(growth(&pair, &tree, &kept));
    figures.push(backup(appliance, &kept, dir)?);
    Ok(figures)
}

fn text(seq: u64) -> String {
    format!(
        "{{\"seq\":{seq},\"at_unix_ms\":{},\"kind\":\"transition\",\"actor\":\"appliance\",\"endpoint\":\"press-{:04}\",\
         \"job\":\"0193a3c8-0000-7000-8000-{seq:012x}\",\"mode\":\"real\",\"facts\":{{\"from\":{{\"state\":\"working\",\
         \"stage\":\"imaging\"}},\"to\":{{\"state\":\"working\",\"stage\":\"read_back\"}},\"session\":\"{seq:064x}\"}}}}",
        1_764_417_600_000 + seq,
        seq % ENDPOINTS,
    )
}

fn export(pair: &Ed25519KeyPair, tree: &mut Tree, kept: &mut Vec<Vec<Hash>>, to: &Path) -> Result<()> {
    let mut out = BufWriter::new(File::create(to)?);
    for seq in 1..=ENTRIES {
        let text = text(seq);
        let hash = tree::leaf(text.as_bytes());
        kept.push(tree.push(hash));
        writeln!(out, "{}", Line::Leaf { text: &text, hash })?;
        if seq.is_multiple_of(CHECKPOINT_EVERY) {
            let signed = Checkpoint::sign(pair, seq, tree.root());
            writeln!(out, "{}", Line::Signed(signed.note().into()))?;
        }
    }
    Ok(out.flush()?)
}

fn verify(appliance: &Path, pair: &Ed25519KeyPair, log: &Path) -> Result<Figure> {
    let key = hex::encode(pair.public_key().as_ref());
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let begin = Instant::now();
        blake3::hash(&fs::read(log)?);
        peer.push(begin.elapsed().as_secs_f64());
        let begin = Instant::now();
        let words = ["evidence", "verify", "--json", "--key", &key, "--file"];
        tool::run(Command::new(appliance).args(words).arg(log))?;
        ours.push(begin.elapsed().as_secs_f64());
    }
    let name = "recovery.people/verify a million entries s";
    // 0.3 of its speed.
    Ok(Figure::at_most(
        name,
        median(ours),
        median(peer),
        "blake3 over the export, read and hashed",
        1.0 / 0.3,
    ))
}

/// Bytes of a proof in a log of a thousand times the entries: the logarithm says twice the hashes.
fn growth(pair: &Ed25519KeyPair, tree: &Tree, kept: &[Vec<Hash>]) -> Figure {
    let bytes = |size: u64, root: Hash| {
        let seq = size / 3;
        let at = |node: tree::Perfect| kept[node.seq as usize - 1][node.level as usize];
        let hash = |one: &tree::Stretch| {
            one.hash(&one.perfect().into_iter().map(at).collect::<Vec<_>>()).unwrap_or_default()
        };
        let hashes: Vec<Hash> = tree::inclusion(seq, size).unwrap_or_default().iter().map(hash).collect();
        proof::write_inclusion(&text(seq), seq, &hashes, Checkpoint::sign(pair, size, root).note()).len()
            as f64
    };
    let (few, many) = (bytes(1000, [0; 32]), bytes(ENTRIES, tree.root()));
    Figure::at_most("recovery.people/proof of one in a million bytes", many, few, "of one in a thousand", 2.0)
}

fn backup(appliance: &Path, kept: &[Vec<Hash>], dir: &Path) -> Result<Figure> {
    let (state, word) = (dir.join("state"), dir.join("word"));
    fs::write(&word, "correct horse\n")?;
    let run = |words: &[&str], file: &str| {
        let mut command = Command::new(appliance);
        command
            .args(words)
            .arg(dir.join(file))
            .arg("--data-dir")
            .arg(&state)
            .arg("--passphrase-file")
            .arg(&word);
        tool::run(&mut command).map(drop)
    };
    tool::run(Command::new(appliance).args(["init", "--data-dir"]).arg(&state))?;
    // A file of nothing is a database of nothing: the first backup makes the tables.
    fs::write(state.join("groundstate.db"), "")?;
    run(&["backup"], "empty.age")?;
    let mut sqlite = Command::new("sqlite3")
        .arg(state.join("groundstate.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("sqlite3")?;
    {
        let mut sql = BufWriter::new(sqlite.stdin.take().context("sqlite3 takes nothing")?);
        writeln!(sql, "BEGIN; DELETE FROM evidence; DELETE FROM tree_checkpoint;")?;
        for n in 0..ENDPOINTS {
            writeln!(
                sql,
                "INSERT INTO endpoint (id, state, record) VALUES ('press-{n:04}', 'known', '{{}}');"
            )?;
        }
        for (seq, nodes) in (1_u64..).zip(kept) {
            let mut hexes = String::new();
            nodes.iter().try_for_each(|node| write!(hexes, "{}", hex::encode(node)))?;
            writeln!(
                sql,
                "INSERT INTO evidence (seq, text, hash, nodes) VALUES ({seq}, '{}', '', x'{hexes}');",
                text(seq)
            )?;
        }
        writeln!(sql, "COMMIT;")?;
        sql.flush()?;
    }
    anyhow::ensure!(sqlite.wait()?.success(), "sqlite3 did not fill the database");
    let begin = Instant::now();
    run(&["backup"], "full.age")?;
    let ours = begin.elapsed().as_secs_f64();
    let name = "recovery.people/backup of 5,000 endpoints and a million entries s";
    Ok(Figure::at_most(name, ours, BACKUP_S_MAX, "the limit that it must keep", 1.0))
}
