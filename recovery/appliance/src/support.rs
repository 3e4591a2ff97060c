//! `groundstate support`: what somebody needs who helps from afar, in one file: `tar`, zstd, and age for whom the site chooses.
//!
//! ```text
//! appliance's API ─┐
//! data directory  ─┼─► each piece by itself ─► redacted ─► tar ─► zstd ─► age ─► FILE
//! this computer   ─┘        └─ what failed ─► a gap in manifest.json
//! ```
//!
//! Nothing that fails makes it fail as a whole, but its own file. It must never: hold a secret, or be sent by itself.

mod redact;
#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use recovery_protocol::net::NetView;
use ring::digest;
use serde::Serialize;
use serde_json::Value;

use self::redact::Redactor;
use crate::{
    backup::{
        age::{Recipient, Sealed},
        tar,
    },
    cli::{Client, Code, Fault, Output, Reach, print},
    config::Config,
    db, doctor,
};

/// Boots that are told hop by hop.
const TRACES_MAX: usize = 50;
/// Lines of the appliance's log.
const LOG_LINES: &str = "5000";
const LEVEL: i32 = 9;

/// One piece of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// Its name in the bundle.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// What is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// What was looked for.
    pub name: String,
    /// Why it is missing.
    pub why: String,
}

/// What is in a bundle, and what is not: its first file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// Of this format: 1.
    pub format: u32,
    /// Version of the program that made it.
    pub version: String,
    /// When, milliseconds since 1970.
    pub made_unix_ms: u64,
    /// The pieces.
    pub pieces: Vec<Piece>,
    /// What is missing.
    pub gaps: Vec<Gap>,
}

/// Pieces as they come.
struct Gathered {
    redactor: Redactor,
    pieces: Vec<(String, String)>,
    gaps: Vec<Gap>,
}

impl Gathered {
    fn add(&mut self, name: &str, found: Result<String, String>) {
        match found {
            Ok(text) => self.pieces.push((name.to_owned(), text)),
            Err(why) => {
                // A reason may quote what it could not read.
                let why = why.lines().map(str::trim).collect::<Vec<_>>().join("; ");
                self.gaps.push(Gap { name: name.to_owned(), why });
            }
        }
    }

    fn json(&mut self, name: &str, found: Result<impl Serialize, String>) {
        let text =
            found.and_then(|value| serde_json::to_string_pretty(&value).map_err(|error| error.to_string()));
        self.add(name, text.map(|text| text + "\n"));
    }
}

/// Make a bundle. Blocking. Where recipients are named, they alone can open it.
///
/// # Errors
/// When the file cannot be written; what could not be gathered is a gap.
pub fn run(
    (config, reach): (&Config, &Reach),
    out: &Path,
    recipients: &[Recipient],
    output: Output,
) -> Result<(), Fault> {
    let (pieces, gaps) = gather(config, reach);
    let (manifest, plain) = packed(&pieces, gaps)
        .map_err(|error| Fault::of("the bundle cannot be packed", &error, "try again"))?;
    let written = write(out, &plain, recipients);
    written.map_err(|error| {
        let code = if error.kind() == io::ErrorKind::AlreadyExists { Code::Conflict } else { Code::Failed };
        Fault::of(&format!("{} cannot be written", out.display()), &error, "name another file with --out")
            .with(code)
    })?;
    print(output, &manifest, |manifest| shown(manifest, out))?;
    match recipients.is_empty() {
        true => eprintln!(
            "it is not encrypted: look at it (`tar --zstd -tvf {}`) before you give it away",
            out.display()
        ),
        false => eprintln!(
            "only its {} recipients can open it: `age --decrypt -i KEY {}`",
            recipients.len(),
            out.display()
        ),
    }
    Ok(())
}

fn shown(manifest: &Manifest, out: &Path) -> String {
    let pieces = manifest.pieces.iter().map(|piece| format!("  {:>9}  {}\n", piece.bytes, piece.name));
    let gaps = manifest.gaps.iter().map(|gap| format!("  missing    {}: {}\n", gap.name, gap.why));
    format!("{}\n{}", out.display(), pieces.chain(gaps).collect::<String>()).trim_end().to_owned()
}

/// All pieces, without secrets, and what is missing.
fn gather(config: &Config, reach: &Reach) -> (Vec<(String, String)>, Vec<Gap>) {
    let mut all = Gathered { redactor: Redactor::default(), pieces: Vec::new(), gaps: Vec::new() };
    secrets(&mut all.redactor, config, reach);
    all.add("versions.txt", Ok(versions()));
    all.add("config.toml", text_of(config));
    all.add(
        "log.txt",
        said_by(
            "journalctl",
            &["-u", "groundstate", "-n", LOG_LINES, "--no-pager", "-o", "short-iso-precise"],
        ),
    );
    all.add("service.txt", said_by("systemctl", &["show", "groundstate", "--no-pager"]));
    all.add("addresses.txt", said_by("ip", &["addr"]));
    all.add("data-directory.txt", listed(&config.data_dir));
    all.json("database.json", database(config));
    all.json("kit.json", kit(config));
    let scene = doctor::Scene { config, reach, now_unix_ms: doctor::now_unix_ms() };
    all.json("doctor.json", Ok(doctor::look(&scene)));
    match reach.client() {
        Ok(client) => asked(&mut all, &client),
        Err(fault) => all.add("api", Err(fault.to_string())),
    }
    let Gathered { redactor, pieces, gaps } = all;
    let pieces = pieces.into_iter().map(|(name, text)| (name, redactor.text(&text))).collect();
    let gaps = gaps.into_iter().map(|gap| Gap { why: redactor.text(&gap.why), ..gap }).collect();
    (pieces, gaps)
}

/// What the appliance says over its API.
fn asked(all: &mut Gathered, client: &Client) {
    let get = |path: &str| client.get::<Value>(path).map_err(|fault| fault.to_string());
    for (name, path) in [
        ("status.json", "/api/v1/status"),
        ("jobs.json", "/api/v1/jobs"),
        ("endpoints.json", "/api/v1/endpoints"),
        ("images.json", "/api/v1/images"),
        ("drills.json", "/api/v1/drills"),
        ("net.json", "/api/v1/net"),
    ] {
        let found = get(path);
        if let Ok(value) = &found {
            // Endpoints name the files of their power control's passwords.
            all.redactor.learn_values(value);
        }
        all.json(name, found);
    }
    all.add("metrics.txt", client.get_text("/metrics").map_err(|fault| fault.to_string()));
    all.add(
        "evidence-checkpoint.txt",
        client.get_text("/api/v1/evidence/checkpoint").map_err(|fault| fault.to_string()),
    );
    let Ok(net) = client.get::<NetView>("/api/v1/net") else { return };
    for view in net.endpoints.iter().filter(|view| view.last_unix_ms.is_some()).take(TRACES_MAX) {
        if let Some(endpoint) = &view.endpoint {
            all.json(&format!("boots/{endpoint}.json"), get(&format!("/api/v1/net/{endpoint}")));
        }
    }
}

/// Know what must not leave: of the data directory, of the configuration and the files that it names, of whoever asks.
fn secrets(redactor: &mut Redactor, config: &Config, reach: &Reach) {
    let dir = &config.data_dir;
    for name in ["operator.token", "tls.key", "evidence.key", "ca/root.key", "seal.age"] {
        redactor.learn_file(&dir.join(name));
    }
    for inner in ["secrets", "boot-ca"] {
        for entry in fs::read_dir(dir.join(inner)).into_iter().flatten().flatten() {
            redactor.learn_file(&entry.path());
        }
    }
    if let Some(token) = &reach.token_file {
        redactor.learn_file(token);
    }
    redactor.learn_addresses(&text_of(config).unwrap_or_default());
    let Some(table) = text_of(config).ok().and_then(|text| text.parse::<toml::Table>().ok()) else { return };
    let beside = config.file.as_ref().and_then(|file| file.parent()).unwrap_or(Path::new(""));
    let value = absolute(serde_json::to_value(table).unwrap_or_default(), beside);
    redactor.learn_values(&value);
}

/// Files that are named from where the configuration lies.
fn absolute(value: Value, beside: &Path) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, value)| match value {
                    Value::String(name) if key.ends_with("_file") => {
                        let path: PathBuf = beside.join(name);
                        (key, Value::String(path.display().to_string()))
                    }
                    other => (key, absolute(other, beside)),
                })
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(|item| absolute(item, beside)).collect(),
        other => other,
    }
}

fn text_of(config: &Config) -> Result<String, String> {
    let file = config.file.as_ref().ok_or("no configuration was named (--config)")?;
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn versions() -> String {
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name =
        system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown").to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "groundstate {}\nschema {}\nsystem {name}\nkernel {}\n",
        env!("CARGO_PKG_VERSION"),
        db::known(),
        kernel.trim()
    )
}

/// What a program of the system says.
fn said_by(program: &str, words: &[&str]) -> Result<String, String> {
    let said = Command::new(program).args(words).output().map_err(|error| format!("{program}: {error}"))?;
    match said.status.success() {
        true => Ok(String::from_utf8_lossy(&said.stdout).into_owned()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&said.stderr).trim())),
    }
}

/// Names and sizes below the data directory, not the contents.
fn listed(dir: &Path) -> Result<String, String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?.flatten() {
        let size = entry.metadata().map_or(0, |about| about.len());
        lines.push(format!("{size:>12}  {}\n", entry.file_name().to_string_lossy()));
    }
    lines.sort_by(|a, b| a.get(14..).cmp(&b.get(14..)));
    Ok(lines.concat())
}

fn database(config: &Config) -> Result<Value, String> {
    if config.database.is_some() {
        return Err("it lies on a database server".to_owned());
    }
    let path = config.data_dir.join(db::FILE);
    fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let seen = runtime.block_on(db::examine::file(&path)).map_err(|error| error.chain())?;
    let rows = runtime.block_on(db::examine::rows(&path)).map_err(|error| error.chain())?;
    Ok(
        serde_json::json!({ "schema": seen.schema, "bytes": seen.bytes, "wal_bytes": seen.wal_bytes, "rows": rows }),
    )
}

fn kit(config: &Config) -> Result<Value, String> {
    let dir = config.boot_kit_dir.as_ref().ok_or("no `boot_kit_dir` is named")?;
    let path = dir.join("kit.json");
    let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

/// The manifest, and the bundle behind it: `tar` under zstd.
fn packed(pieces: &[(String, String)], gaps: Vec<Gap>) -> io::Result<(Manifest, Vec<u8>)> {
    let piece = |(name, text): &(String, String)| Piece {
        name: name.clone(),
        bytes: text.len() as u64,
        sha256: hex::encode(digest::digest(&digest::SHA256, text.as_bytes())),
    };
    let manifest = Manifest {
        format: 1,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_unix_ms: doctor::now_unix_ms(),
        pieces: pieces.iter().map(piece).collect(),
        gaps,
    };
    let first = ("manifest.json".to_owned(), serde_json::to_string_pretty(&manifest)? + "\n");
    let mut out = zstd::Encoder::new(Vec::new(), LEVEL)?;
    for (name, text) in std::iter::once(&first).chain(pieces) {
        let head = tar::Head { name: format!("groundstate-support/{name}"), len: text.len() as u64 };
        tar::write(&mut out, &head, &mut text.as_bytes())?;
    }
    tar::end(&mut out)?;
    Ok((manifest, out.finish()?))
}

/// Whole or not at all, for its owner alone, over nothing that is there.
fn write(out: &Path, plain: &[u8], recipients: &[Recipient]) -> io::Result<()> {
    let bytes = match recipients {
        [] => plain.to_vec(),
        some => {
            let mut sealed = Sealed::to(Vec::new(), some)?;
            sealed.write_all(plain)?;
            sealed.finish()?
        }
    };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(out)?;
    let written = file.write_all(&bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(out);
    }
    written
}
