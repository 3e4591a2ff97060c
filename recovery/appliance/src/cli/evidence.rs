//! `groundstate evidence …`: export the log, check it, prove an entry. What was exported is checked with no help from whoever made it.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use recovery_protocol::{
    evidence::{Origin, Tampered, Verified, Verifier, checkpoint, proof},
    operator::EvidenceKey,
};

use super::{
    client::{Client, Reach},
    fault::{Code, Fault},
    image::write_new,
};
use crate::cli::{Output, say};

/// What to do with evidence.
#[derive(Debug, Subcommand)]
pub enum EvidenceVerb {
    /// Check the log: the appliance's, or an export
    Verify(Verify),
    /// Entries, the newest first
    List(super::entries::List),
    /// Export the whole log
    Export {
        /// File to write; default: stdout
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Sign everything so far; keep what it prints, it shows later that nothing was removed
    Checkpoint {
        /// File to write; default: stdout
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Prove that an entry is in the log, or that the log continues a checkpoint, in a file that stands alone
    Prove {
        /// The entry's number
        #[arg(required_unless_present = "since", conflicts_with = "since")]
        entry: Option<u64>,
        /// A checkpoint that was kept
        #[arg(long, value_name = "CHECKPOINT_FILE")]
        since: Option<PathBuf>,
        /// File to write; default: stdout
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Check such a proof; no appliance is asked
    VerifyProof {
        /// The proof
        file: PathBuf,
        /// The evidence key that was kept apart (64 hex digits)
        #[arg(long)]
        key: String,
    },
}

/// What to check, and what to hold against it.
#[derive(Debug, Args)]
pub struct Verify {
    /// An evidence pack (`drill pack`), instead of a log
    #[arg(requires = "key", conflicts_with_all = ["file", "since", "anchor"])]
    pack: Option<PathBuf>,
    /// Have the appliance check its log itself: soon told, and worth less, for who changed the log may have changed the appliance
    #[arg(long, conflicts_with_all = ["pack", "file", "key", "since", "anchor"])]
    by_appliance: bool,
    /// An export
    #[arg(long, requires = "key")]
    file: Option<PathBuf>,
    /// The evidence key that was kept apart (64 hex digits)
    #[arg(long)]
    key: Option<String>,
    /// A checkpoint that was kept: the log must still hold what it covers; give it several times
    #[arg(long, value_name = "CHECKPOINT_FILE")]
    since: Vec<PathBuf>,
    /// A file of anchors, as the appliance writes it: the log must hold what each covers; give it several times
    #[arg(long, value_name = "ANCHOR_FILE")]
    anchor: Vec<PathBuf>,
}

/// Act.
pub fn run(verb: EvidenceVerb, reach: &Reach, output: Output) -> Result<(), Fault> {
    match verb {
        EvidenceVerb::Verify(verify) => verify.run(reach, output),
        EvidenceVerb::List(list) => super::entries::list(&reach.client()?, &list, output),
        EvidenceVerb::Export { out } => export(&reach.client()?, out.as_deref()),
        EvidenceVerb::Checkpoint { out } => {
            hand_over(out.as_deref(), &reach.client()?.get_text("/api/v1/evidence/checkpoint")?)
        }
        EvidenceVerb::Prove { entry, since, out } => {
            let client = reach.client()?;
            let proof = match (entry, since) {
                (_, Some(kept)) => {
                    let key: EvidenceKey = client.get("/api/v1/evidence/key")?;
                    let proof = client.post_for_text("/api/v1/evidence/since", &read(&kept)?)?;
                    // What proves nothing is told here, and not where it is handed in.
                    verified(&proof, &key.ed25519)?;
                    proof
                }
                (entry, None) => {
                    let path = format!("/api/v1/evidence/entries/{}/proof", entry.unwrap_or_default());
                    client.get_text(&path)?
                }
            };
            hand_over(out.as_deref(), &proof)
        }
        EvidenceVerb::VerifyProof { file, key } => verify_proof(&read(&file)?, &key, output),
    }
}

fn read(path: &Path) -> Result<String, Fault> {
    fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(
        Code::NotFound,
        format!("{} cannot be read", path.display()),
        error.to_string(),
        "check the path",
    )
}

fn hand_over(out: Option<&Path>, text: &str) -> Result<(), Fault> {
    match out {
        Some(path) => write_new(path, 0o644, text.as_bytes()),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

/// Write the whole log to a file, or to stdout. The key goes beside it, to be kept elsewhere.
fn export(client: &Client, out: Option<&Path>) -> Result<(), Fault> {
    let key: EvidenceKey = client.get("/api/v1/evidence/key")?;
    let mut log = client.get_long("/api/v1/evidence")?;
    let failed = |error: io::Error| {
        let now = "check the disk and the appliance, and export again into another file";
        Fault::new(Code::Failed, "the export broke off", error.to_string(), now)
    };
    match out {
        Some(path) => {
            write_new(path, 0o644, b"")?;
            let mut file = fs::OpenOptions::new().append(true).open(path).map_err(failed)?;
            io::copy(&mut log, &mut file).and_then(|_| file.sync_all()).map_err(failed)?;
        }
        None => {
            io::copy(&mut log, &mut io::stdout().lock()).map_err(failed)?;
            io::stdout().flush().map_err(failed)?;
        }
    }
    eprintln!("evidence key {}", key.ed25519);
    eprintln!("for other tools {}", key.verifier_key);
    eprintln!(
        "keep the key apart from the export: `groundstate evidence verify --file … --key …` checks one with the other"
    );
    Ok(())
}

pub(super) fn key_of(key: &str) -> Result<[u8; 32], Fault> {
    let mut bytes = [0; 32];
    let now = "give the 64 hex digits that `groundstate evidence export` showed";
    hex::decode_to_slice(key, &mut bytes)
        .map_err(|_| Fault::new(Code::Usage, "this is no evidence key", "", now))?;
    Ok(bytes)
}

impl Verify {
    fn run(self, reach: &Reach, output: Output) -> Result<(), Fault> {
        if self.by_appliance {
            return super::entries::verify(&reach.client()?, output);
        }
        if let Some(pack) = &self.pack {
            return super::pack::verify(pack, key_of(&self.key.unwrap_or_default())?, output);
        }
        let client = if self.file.is_some() { None } else { Some(reach.client()?) };
        let key = match (&client, self.key.clone()) {
            (Some(client), None) => client.get::<EvidenceKey>("/api/v1/evidence/key")?.ed25519,
            (_, key) => key.unwrap_or_default(),
        };
        let key = key_of(&key)?;
        let log = || -> Result<Box<dyn Read>, Fault> {
            match (&self.file, &client) {
                (Some(file), _) => {
                    Ok(Box::new(fs::File::open(file).map_err(|error| unreadable(file, &error))?))
                }
                (None, Some(client)) => Ok(Box::new(client.get_long("/api/v1/evidence")?)),
                (None, None) => unreachable!("without a file there is a client"),
            }
        };
        let (mut held, mut torn) = (Vec::new(), 0);
        for path in &self.since {
            held.push(Held::kept(path.display().to_string(), &read(path)?));
        }
        // On the appliance itself its anchors lie beside its keys; a pin or an export may be another one's.
        let own = reach.data_dir.join("evidence.anchors");
        let is_own = self.file.is_none() && self.anchor.is_empty() && reach.pin.is_none() && own.is_file();
        let own = is_own.then_some(&own);
        for path in self.anchor.iter().chain(own) {
            let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
            held.push(Held::anchors(path.display().to_string(), &bytes, &Origin::of(key)));
            torn += held.last().map_or(0, |held| held.torn);
        }
        let look = |verifier| check(BufReader::with_capacity(1 << 18, log()?), verifier, &held);
        // Where a quick look finds something, a thorough one says exactly what.
        let seen = match look(Verifier::quick(key)) {
            Err(fault) if fault.code == Code::Integrity => look(Verifier::new(key))?,
            seen => seen?,
        };
        let Verified { entries, checkpoints, signed_up_to, held } = seen;
        if output.is_data() {
            let seen = serde_json::json!({
                "good": true, "entries": entries, "checkpoints": checkpoints, "signed_up_to": signed_up_to, "held": held, "torn_anchors": torn,
            });
            return say(output, &seen);
        }
        println!(
            "good: {entries} entries, {checkpoints} signed checkpoints, signed up to entry {signed_up_to}"
        );
        match held {
            0 => eprintln!(
                "that nothing was cut off its end is shown only by a checkpoint that was kept elsewhere: --since, --anchor"
            ),
            held => println!("it holds all that {held} kept checkpoints cover"),
        }
        if torn > 0 {
            eprintln!(
                "{torn} pieces of anchors were passed over: a power cut left them, and they hold no signature"
            );
        }
        Ok(())
    }
}

/// Read the appliance's whole log and check it: how many entries, and up to which they are signed.
///
/// # Errors
/// What [`Client`] refuses; integrity, with what is wrong.
pub fn verified_log(client: &Client) -> Result<(u64, u64), Fault> {
    let key = key_of(&client.get::<EvidenceKey>("/api/v1/evidence/key")?.ed25519)?;
    let log = client.get_long("/api/v1/evidence")?;
    let seen = check(BufReader::with_capacity(1 << 18, log), Verifier::quick(key), &[])?;
    Ok((seen.entries, seen.signed_up_to))
}

/// What is held against a log: the notes of a file with their places in it, and how many pieces of torn ones there were beside.
struct Held {
    file: String,
    notes: Vec<(usize, String)>,
    torn: usize,
}

impl Held {
    fn kept(file: String, text: &str) -> Self {
        let notes =
            (1..).zip(checkpoint::notes(text)).map(|(number, note)| (number, note.to_owned())).collect();
        Self { file, notes, torn: 0 }
    }

    /// A file of anchors is written to until the power goes: what is left of a note then is none.
    fn anchors(file: String, bytes: &[u8], origin: &Origin) -> Self {
        let mut held = Self::kept(file, &String::from_utf8_lossy(bytes));
        let pieces = held.notes.len();
        held.notes.retain(|(_, note)| !checkpoint::is_torn(note, origin));
        held.torn = pieces - held.notes.len();
        held
    }
}

/// Check a log, and hold what was kept against it.
fn check(mut log: impl BufRead, mut verifier: Verifier, held: &[Held]) -> Result<Verified, Fault> {
    for Held { file, notes, torn } in held {
        for (number, note) in notes {
            let named = format!("checkpoint {number} in {file}");
            verifier.hold(&named, note).map_err(|why| {
                let now = "keep both; find out who changed the file, or whether the key belongs to it";
                Fault::new(Code::Integrity, format!("{named} does not count"), why.to_string(), now)
            })?;
        }
        if notes.is_empty() {
            let what = format!("there is no checkpoint in {file}");
            let why = if *torn > 0 { format!("only {torn} pieces of torn ones") } else { String::new() };
            return Err(Fault::new(
                Code::Usage,
                what,
                why,
                "name what `groundstate evidence checkpoint` wrote",
            ));
        }
    }
    let mut line = String::new();
    loop {
        line.clear();
        let broke = |error: io::Error| {
            Fault::new(Code::Failed, "the log cannot be read to its end", error.to_string(), "try again")
        };
        if log.read_line(&mut line).map_err(broke)? == 0 {
            break;
        }
        verifier.line(line.trim_end_matches(['\n', '\r'])).map_err(|tampered| found(&tampered))?;
    }
    let seen = verifier.finish().map_err(|tampered| found(&tampered))?;
    let bad = |what: &str, why: &str, now: &str| Err(Fault::new(Code::Integrity, what, why, now));
    if seen.entries == 0 {
        let now = "name an export of `groundstate evidence export`";
        return bad("there is nothing in it", "an evidence log is never empty", now);
    }
    if seen.signed_up_to < seen.entries {
        let why = format!("{} entries, and the signature covers {} of them", seen.entries, seen.signed_up_to);
        let now = "export it again from the appliance: an export ends in a signature";
        return bad("the end of the evidence log is missing, or was never signed", &why, now);
    }
    Ok(seen)
}

fn found(tampered: &Tampered) -> Fault {
    let now =
        "keep this log as it is, export again from the appliance and compare; treat what follows as unproven";
    Fault::new(Code::Integrity, "the evidence log was tampered with or damaged", tampered.to_string(), now)
}

fn verified(text: &str, key: &str) -> Result<proof::Proven, Fault> {
    proof::verify(text, &Origin::of(key_of(key)?)).map_err(|why| {
        let now = "ask for the proof again, and check that the key is the appliance's";
        Fault::new(Code::Integrity, "it proves nothing", why.to_string(), now)
    })
}

fn verify_proof(text: &str, key: &str, output: Output) -> Result<(), Fault> {
    match verified(text, key)? {
        proof::Proven::Included { entry, size } if output.is_data() => {
            say(output, &serde_json::json!({ "good": true, "entry": entry, "of_entries": size }))?;
        }
        proof::Proven::Included { entry, size } => {
            println!("good: entry {} of the {size} that were signed is", entry.seq);
            println!("{}", serde_json::json!(entry));
        }
        proof::Proven::Continued { old, new } if output.is_data() => {
            say(output, &serde_json::json!({ "good": true, "old": old, "new": new }))?;
        }
        proof::Proven::Continued { old, new } => {
            println!("good: the log of {new} entries begins with the {old} that were signed before");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use recovery_protocol::evidence::Checkpoint;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn the_commands_of_the_manual_parse() {
        let parses =
            |line: &str| Cli::try_parse_from(["groundstate", "evidence"].into_iter().chain(line.split(' ')));
        for line in [
            "verify --file log.jsonl --key 00 --since kept --since older --anchor anchors",
            "verify drill.gsp --key 00",
            "checkpoint --out kept",
            "prove 17 --out entry.tlog-proof",
            "prove --since kept",
            "verify-proof entry.tlog-proof --key 00",
        ] {
            assert!(parses(line).is_ok(), "{line}");
        }
        for wrong in [
            "verify drill.gsp",
            "verify drill.gsp --key 00 --file f",
            "verify --file f",
            "prove",
            "prove 17 --since kept",
            "verify-proof f",
        ] {
            assert!(parses(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_altered_export_is_an_integrity_failure() {
        let line = r#"{"line":"entry","text":"{\"seq\":1,\"at_unix_ms\":1,\"kind\":\"x\",\"actor\":\"appliance\",\"mode\":\"real\",\"facts\":{}}","hash":"00"}"#;
        assert_eq!(check(line.as_bytes(), Verifier::new([0; 32]), &[]).unwrap_err().code, Code::Integrity);
        assert_eq!(key_of("00").unwrap_err().code, Code::Usage);
        assert_eq!(check("".as_bytes(), Verifier::new([0; 32]), &[]).unwrap_err().code, Code::Integrity);
    }

    #[test]
    fn what_is_held_against_a_log_must_itself_count() {
        let held = |text: &str| [Held::kept("kept".to_owned(), text)];
        let code = |held: &[Held]| check("".as_bytes(), Verifier::new([0; 32]), held).unwrap_err().code;
        assert_eq!(code(&held("")), Code::Usage);
        assert_eq!(code(&held("x\n")), Code::Integrity);
    }

    #[test]
    fn a_torn_anchor_is_counted_and_only_a_whole_one_can_fail() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
        let key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
        let note = Checkpoint::sign(&pair, 7, [9; 32]).note().to_owned();
        let sign = note.find('\u{2014}').unwrap();
        let held = |bytes: &[u8]| Held::anchors("anchors".to_owned(), bytes, &Origin::of(key));
        let code = |held: Held| check("".as_bytes(), Verifier::new(key), &[held]).unwrap_err();
        // In a word, within a character, in the signature; with the next note behind it or not.
        for (at, torn) in [(20, 1), (sign + 1, 2), (note.len() - 9, 1)] {
            let cut = [note.as_bytes(), b"\n", &note.as_bytes()[..at]].concat();
            for file in [cut.clone(), [&cut, b"\n\n".as_slice(), note.as_bytes()].concat()] {
                let held = held(&file);
                assert_eq!((held.torn, held.notes[0].0), (torn, 1), "cut at {at}");
                assert!(held.notes.iter().all(|(_, whole)| *whole == note));
                assert!(!code(held).to_string().contains("does not count"), "cut at {at}");
            }
        }
        let none = held(&note.as_bytes()[..20]);
        assert_eq!((none.torn, none.notes.len()), (1, 0));
        assert_eq!(code(none).code, Code::Usage);
        let altered = format!("{note}\n{}", note.replace("\n7\n", "\n8\n"));
        assert_eq!(code(held(altered.as_bytes())).code, Code::Integrity);
    }
}
