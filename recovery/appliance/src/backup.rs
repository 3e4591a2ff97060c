//! The appliance's state in one encrypted file, and back onto a bare machine: the same identity, or nothing.
//!
//! ```text
//! data directory ─► entry `state.saved` ─► copy of the database ─► tar in age ─► read back and compared ─► FILE
//! FILE ─► DIR.restoring, every file compared ─► database and log checked ─► open jobs stopped ─► entry ─► DIR
//! ```
//!
//! In it: database, keys, authority, drills, trust root, roots of TPM makers, configuration. Not in it: golden images, which
//! come from the depot or a bundle; exhibits, whose records are in the database; anchors, whose place is elsewhere; secrets that the configuration names outside of the data
//! directory. It must never: overwrite anything, or leave half a data directory where a whole one is expected.

pub mod age;
pub mod tar;

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use recovery_protocol::evidence::Verifier;
use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    clock::{Clock, SystemClock},
    config::Config,
    db::{self, Db, DbError},
    evidence::{EvidenceLog, Export, Fact},
    interfaces,
    jobs::{
        job::What,
        journal::{Journal, JournalError},
    },
    keys::{self, KeyError, Keys},
    seal::{self, Seal},
};
use age::{AgeError, Opened, Sealed};

const CONTENTS: &str = "backup.json";
const DATABASE: &str = db::FILE;
const CONTENTS_MAX: u64 = 16 << 20;
/// What is in the data directory and does not belong into a backup.
const LEFT_OUT: &[&str] = &[
    "images",
    "exhibits",
    "listening.json",
    "evidence.anchors",
    "refused-start.json",
    "rolled-back.json",
    keys::ID,
];
/// 256 MiB of memory and about a second for each guess, as `age` has it.
pub const WORK: u8 = 18;

/// Why nothing was saved, or nothing restored.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or directory.
    #[error("{path}: {source}; check the path, the disk and its rights")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// It would overwrite something.
    #[error("{0} exists already and is not overwritten; name another one, or move it away")]
    Exists(PathBuf),
    /// There is nothing to save.
    #[error(
        "{0} holds no appliance; name its data directory with --data-dir or its configuration with --config"
    )]
    NoState(PathBuf),
    /// Its keys are not those of the log.
    #[error(
        "the evidence log was signed by other keys than those of {0}; bring the right ones by `restore-state --keep-database`"
    )]
    OtherKeys(PathBuf),
    /// The backup itself.
    #[error("{path} is not a backup that can be used: {why}; nothing was restored. Try another copy")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What was written reads back otherwise.
    #[error(
        "{path} reads back otherwise than it was written ({why}); the disk is damaged, nothing was kept. Use another one"
    )]
    ReadBack {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Database.
    #[error("{}", .0.chain())]
    Db(#[from] DbError),
    /// A job.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What a backup holds: its first file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Of this format: 1.
    pub version: u32,
    /// The site's name.
    pub site: String,
    /// Version of the appliance that made it.
    pub appliance: String,
    /// When, milliseconds since 1970.
    pub made_unix_ms: u64,
    /// The evidence log then, as a signed checkpoint.
    pub checkpoint: String,
    /// The files, in their order.
    pub files: Vec<Content>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Relative to the data directory.
    pub name: String,
    /// Bytes.
    pub len: u64,
    /// Lower-case hex.
    pub sha256: String,
}

fn at(path: &Path) -> impl Fn(io::Error) -> StateError + use<> {
    let path = path.to_owned();
    move |source| StateError::Io { path: path.clone(), source }
}

/// Save the appliance's state into a new file. The appliance may run.
///
/// # Errors
/// [`StateError`]; there is no file then.
pub async fn save(
    config: &Config,
    config_file: Option<&Path>,
    out: &Path,
    passphrase: &str,
    work: u8,
) -> Result<Contents, StateError> {
    let dir = &config.data_dir;
    if out.exists() {
        return Err(StateError::Exists(out.to_owned()));
    }
    // A server's database is no file; the keys are.
    let held = if config.database.is_some() { "evidence.key" } else { DATABASE };
    if !dir.join(held).is_file() {
        return Err(StateError::NoState(dir.clone()));
    }
    let (keys, seal) = opened(config, dir)?;
    let (copy, sealed) = (dir.join("backup.new"), dir.join("backup-seal.new"));
    for left in [&copy, &sealed] {
        let _ = fs::remove_file(left);
    }
    let db = Db::of(config).await?;
    let log = EvidenceLog::new(keys);
    let made_unix_ms = SystemClock.now_unix_ms();
    let checkpoint = {
        let mut tx = db.begin().await?;
        let facts = json!({ "file": out.display().to_string() });
        log.append(&mut tx, made_unix_ms, Fact::new("state.saved", "operator:shell", facts)).await?;
        let signed = log.checkpoint(&mut tx).await?;
        tx.commit().await?;
        signed.map(|signed| signed.note().to_owned()).unwrap_or_default()
    };
    let copied = db.copy_to(&copy).await;
    db.close().await;
    let written = copied.map_err(StateError::from).and_then(|()| {
        let mut files = gathered(config, config_file)?;
        files.insert(0, (DATABASE.to_owned(), copy.clone()));
        // This machine's seal opens nothing elsewhere: in the backup its passphrase gives out the word.
        files.retain(|(name, _)| ![seal::BY_TPM, seal::BY_PASSPHRASE].contains(&name.as_str()));
        if let Some(seal) = &seal {
            let in_it = |error| StateError::Keys(KeyError::Sealed(Box::new(error)));
            seal.for_backup(&sealed, passphrase).map_err(in_it)?;
            files.push((seal::BY_PASSPHRASE.to_owned(), sealed.clone()));
        }
        let contents = Contents {
            version: 1,
            site: config.site.to_string(),
            appliance: env!("CARGO_PKG_VERSION").to_owned(),
            made_unix_ms,
            checkpoint,
            files: files.iter().map(|(name, path)| described(name, path)).collect::<Result<_, _>>()?,
        };
        write(&contents, &files, out, passphrase, work)?;
        Ok(contents)
    });
    for left in [&copy, &sealed] {
        let _ = fs::remove_file(left);
    }
    written
}

/// The keys of a data directory, as the daemon has them.
///
/// # Errors
/// [`KeyError`].
pub fn keys(config: &Config, dir: &Path) -> Result<Arc<Keys>, KeyError> {
    opened(config, dir).map(|(keys, _)| keys)
}

/// The same, and the seal under which they lie.
///
/// # Errors
/// [`KeyError`].
pub fn opened(config: &Config, dir: &Path) -> Result<(Arc<Keys>, Option<Seal>), KeyError> {
    let _making = keys::making(dir)?;
    let seal = Seal::open(dir, config.secrets.as_ref()).map_err(|error| KeyError::Sealed(Box::new(error)))?;
    seal::open_secrets(dir, seal.as_ref()).map_err(|error| KeyError::Sealed(Box::new(error)))?;
    let names = [config.site.to_string(), "localhost".to_owned()];
    let addresses = interfaces::addresses().unwrap_or_default();
    let keys = Keys::open_sealed(dir, &names, &addresses, seal.as_ref())?;
    Ok((Arc::new(keys), seal))
}

/// The files, by their names in the backup.
fn gathered(config: &Config, config_file: Option<&Path>) -> Result<Vec<(String, PathBuf)>, StateError> {
    let mut files = Vec::new();
    below(&config.data_dir, "", &mut files)?;
    let mut add = |name: &str, path: PathBuf| {
        if path.is_file() && !files.iter().any(|(known, _)| known == name) {
            files.push((name.to_owned(), path));
        }
    };
    add("trust-root.json", config.trust_root());
    if let Some(file) = config_file {
        add("groundstate.toml", file.to_owned());
    }
    if let Some(roots) = &config.tpm_roots_dir
        && !roots.starts_with(&config.data_dir)
    {
        below(roots, "tpm-roots/", &mut files)?;
    }
    files.sort();
    Ok(files)
}

fn below(dir: &Path, before: &str, into: &mut Vec<(String, PathBuf)>) -> Result<(), StateError> {
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let entry = entry.map_err(at(dir))?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let kind = entry.file_type().map_err(at(&path))?;
        let of_the_database = before.is_empty() && name.starts_with(DATABASE);
        let left_out = before.is_empty() && LEFT_OUT.contains(&name.as_str());
        if of_the_database || left_out || name.ends_with(".new") {
            continue;
        }
        if kind.is_dir() {
            below(&path, &format!("{before}{name}/"), into)?;
        } else if kind.is_file() {
            into.push((format!("{before}{name}"), path));
        }
    }
    Ok(())
}

fn described(name: &str, path: &Path) -> Result<Content, StateError> {
    let mut file = Hashed::new(File::open(path).map_err(at(path))?);
    let len = io::copy(&mut file, &mut io::sink()).map_err(at(path))?;
    Ok(Content { name: name.to_owned(), len, sha256: file.sha256() })
}

/// Counts what is read in a hash.
struct Hashed<R> {
    inner: R,
    context: digest::Context,
}

impl<R: Read> Hashed<R> {
    fn new(inner: R) -> Self {
        Self { inner, context: digest::Context::new(&digest::SHA256) }
    }

    fn sha256(self) -> String {
        hex::encode(self.context.finish())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.context.update(&into[..read]);
        Ok(read)
    }
}

fn write(
    contents: &Contents,
    files: &[(String, PathBuf)],
    out: &Path,
    passphrase: &str,
    work: u8,
) -> Result<(), StateError> {
    let fresh = out.with_added_extension("new");
    let kept = (|| {
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        let mut sealed = Sealed::begin(BufWriter::with_capacity(1 << 20, file), passphrase, work)?;
        let text = serde_json::to_vec(contents)?;
        let head = tar::Head { name: CONTENTS.to_owned(), len: text.len() as u64 };
        tar::write(&mut sealed, &head, &mut text.as_slice())?;
        for (content, (_, path)) in contents.files.iter().zip(files) {
            let head = tar::Head { name: content.name.clone(), len: content.len };
            tar::write(&mut sealed, &head, &mut File::open(path)?)?;
        }
        tar::end(&mut sealed)?;
        sealed.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    })();
    let read_back = kept.map_err(at(&fresh)).and_then(|()| {
        let same = read(&fresh, passphrase, &mut |_, _| Ok(()));
        let same =
            same.and_then(|read| if read == *contents { Ok(()) } else { Err("other contents".to_owned()) });
        same.map_err(|why| StateError::ReadBack { path: fresh.clone(), why })
    });
    let done = read_back.and_then(|()| fs::hard_link(&fresh, out).map_err(at(out)));
    let _ = fs::remove_file(&fresh);
    done
}

/// Read a whole backup; each file goes to `take`, and what was read is compared.
fn read(
    path: &Path,
    passphrase: &str,
    take: &mut dyn FnMut(&Content, &mut dyn Read) -> io::Result<()>,
) -> Result<Contents, String> {
    let said = |error: io::Error| error.to_string();
    let file = File::open(path).map_err(said)?;
    let mut plain = Opened::open(BufReader::with_capacity(1 << 20, file), passphrase)
        .map_err(|error: AgeError| error.to_string())?;
    let head = tar::next(&mut plain).map_err(said)?;
    let head = head
        .filter(|head| head.name == CONTENTS && head.len <= CONTENTS_MAX)
        .ok_or("it says not what it holds")?;
    let mut text = Vec::new();
    Read::by_ref(&mut plain).take(head.len).read_to_end(&mut text).map_err(said)?;
    tar::skip_padding(&mut plain, head.len).map_err(said)?;
    let contents: Contents = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if contents.version != 1 {
        return Err(format!("it is of version {}; a newer appliance made it", contents.version));
    }
    for content in &contents.files {
        let head = tar::next(&mut plain).map_err(said)?;
        if head != Some(tar::Head { name: content.name.clone(), len: content.len }) {
            return Err(format!("{} is not in it where it should be", content.name));
        }
        let mut hashed = Hashed::new(Read::by_ref(&mut plain).take(content.len));
        take(content, &mut hashed).map_err(said)?;
        io::copy(&mut hashed, &mut io::sink()).map_err(said)?;
        if hashed.sha256() != content.sha256 {
            return Err(format!("{} is not what it was", content.name));
        }
        tar::skip_padding(&mut plain, content.len).map_err(said)?;
    }
    if tar::next(&mut plain).map_err(said)?.is_some() {
        return Err("it holds more than it says".to_owned());
    }
    // Its end is verified only when it is read.
    match io::copy(&mut plain, &mut io::sink()).map_err(said)? {
        0 => Ok(contents),
        _ => Err("it goes on after its end".to_owned()),
    }
}

/// Restore a backup into a data directory that is not there yet, or empty. `keep_database`: the server has the state already, and
/// the directory gets the rest.
///
/// # Errors
/// [`StateError`]; the data directory is as it was then.
pub async fn restore(
    config: &Config,
    from: &Path,
    passphrase: &str,
    keep_database: bool,
) -> Result<Contents, StateError> {
    let dir = &config.data_dir;
    let used = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(at(dir)(error)),
    };
    if used {
        return Err(StateError::Exists(dir.clone()));
    }
    let staging = dir.with_added_extension("restoring");
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&staging)(error)),
        _ => {}
    }
    let staged = match unpack(from, passphrase, &staging) {
        Ok(contents) if keep_database => {
            check_kept(config, from, &contents, &staging).await.map(|()| contents)
        }
        Ok(contents) => match check_and_stop(config, from, &contents, &staging).await {
            Ok(()) => to_its_server(config, &staging).await.map(|()| contents),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    let put = staged.and_then(|contents| {
        if dir.exists() {
            fs::remove_dir(dir).map_err(at(dir))?;
        }
        fs::rename(&staging, dir).map_err(at(dir))?;
        let parent = dir.parent().unwrap_or(Path::new("/"));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(at(parent))?;
        Ok(contents)
    });
    if put.is_err() {
        let _ = fs::remove_dir_all(&staging);
    }
    put
}

/// Where a server keeps the state, it gets the rows of the restored file, which then goes.
async fn to_its_server(config: &Config, staging: &Path) -> Result<(), StateError> {
    let Some(server) = &config.database else { return Ok(()) };
    let (file, kept) = (Db::open(&staging.join(DATABASE)).await?, Db::connect(server).await?);
    let moved = kept.take_over(&file).await;
    kept.close().await;
    file.close().await;
    moved?;
    without_file(staging)
}

fn without_file(staging: &Path) -> Result<(), StateError> {
    for end in ["", "-wal", "-shm"] {
        match fs::remove_file(staging.join(format!("{DATABASE}{end}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(staging)(error)),
            _ => {}
        }
    }
    Ok(())
}

fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn unpack(from: &Path, passphrase: &str, staging: &Path) -> Result<Contents, StateError> {
    private_dir(staging).map_err(at(staging))?;
    let mut take = |content: &Content, bytes: &mut dyn Read| {
        let path = staging.join(&content.name);
        private_dir(path.parent().unwrap_or(staging))?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        io::copy(bytes, &mut file)?;
        file.sync_all()
    };
    let contents = read(from, passphrase, &mut take)
        .map_err(|why| StateError::Refused { path: from.to_owned(), why })?;
    // What is configured here seals the keys again when they are opened.
    Seal::break_open(staging, passphrase).map_err(|error| KeyError::Sealed(Box::new(error)))?;
    Ok(contents)
}

/// The server has the state already: its log must be the one of the backup, or go on from it.
async fn check_kept(
    config: &Config,
    from: &Path,
    contents: &Contents,
    staging: &Path,
) -> Result<(), StateError> {
    let refused = |why: &str| StateError::Refused { path: from.to_owned(), why: why.to_owned() };
    let server = config.database.as_ref();
    let server =
        server.ok_or_else(|| refused("the configuration names no database server that has the state"))?;
    let log = EvidenceLog::new(keys(config, staging)?);
    let db = Db::connect(server).await?;
    let seen = verify_log(&db, &log, contents, from).await;
    db.close().await;
    seen?;
    without_file(staging)
}

/// How many entries the log has, which is the one that the backup's checkpoint covers.
async fn verify_log(db: &Db, log: &EvidenceLog, contents: &Contents, from: &Path) -> Result<u64, StateError> {
    let refused = |why: &str| StateError::Refused { path: from.to_owned(), why: why.to_owned() };
    let mut verifier = Verifier::new(*log.origin().key());
    verifier
        .hold("its own checkpoint", &contents.checkpoint)
        .map_err(|why| refused(&format!("its checkpoint: {why}")))?;
    let tampered = |why| refused(&format!("its evidence log is not what was signed: {why}"));
    let mut export = Export::begin(db).await?;
    while let Some(page) = export.next().await? {
        page.lines().try_for_each(|line| verifier.line(line)).map_err(tampered)?;
    }
    Ok(verifier.finish().map_err(tampered)?.entries)
}

/// The database is whole and its log is the one that was signed; what was under way then is stopped, not taken up: the endpoint
/// may have been recovered since by whoever went on.
async fn check_and_stop(
    config: &Config,
    from: &Path,
    contents: &Contents,
    staging: &Path,
) -> Result<(), StateError> {
    let refused = |why: &str| StateError::Refused { path: from.to_owned(), why: why.to_owned() };
    if !staging.join(DATABASE).is_file() || !staging.join("evidence.key").is_file() {
        return Err(refused("database or evidence key are missing"));
    }
    let log = EvidenceLog::new(keys(config, staging)?);
    let db = Db::open(&staging.join(DATABASE)).await?;
    db.check().await?;
    let entries = verify_log(&db, &log, contents, from).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let journal = Journal::open(db, Arc::new(config.clone()), log, clock).await?;
    let open = db::job::open(&mut *journal.db.read().await?).await?;
    for row in &open {
        journal.event(row.job.id, "appliance", What::Cancel { by: "appliance".to_owned() }).await?;
    }
    let facts = json!({
        "made_unix_ms": contents.made_unix_ms, "by": contents.appliance, "entries": entries,
        "jobs_stopped": open.iter().map(|row| row.job.id).collect::<Vec<_>>(),
    });
    let mut tx = journal.begin().await?;
    tx.note(Fact::new("state.restored", "operator:shell", facts)).await?;
    // Whoever starts first is the one that writes.
    let at = tx.at;
    db::reign::turn(tx.conn(), "", at).await?;
    tx.commit().await?;
    journal.sign_log().await?;
    journal.db.close().await;
    Ok(())
}

#[cfg(test)]
mod tests;
