//! The appliance's private keys, sealed: at rest they are age files under one random word, and the word is given out by the
//! appliance's own TPM, or by a person's passphrase at each start.
//!
//! ```text
//! TPM (object without a policy, in its owner's hierarchy) ─┐
//!                                                          ├─► word ─► tls.key, evidence.key, ca/root.key, boot-ca/*.key
//! passphrase at the start ─────────────────────────────────┘                secrets/* that configuration and endpoints name
//! ```
//!
//! What is in clear is sealed in place when a seal is configured; what is sealed is never put in clear but into a backup that
//! is restored, whose passphrase gives out the word then. A disk that is taken away, or a copy of it, is no appliance.
//!
//! It must never: print the word, or leave a key in clear beside a sealed one.

mod named;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    backup::{
        WORK,
        age::{Opened, Sealed},
    },
    keys,
};

pub use named::{open as open_secrets, secret, serve as serve_secrets};

/// The word, sealed by this machine's TPM.
pub const BY_TPM: &str = "seal.tpm";
/// The word, under a passphrase.
pub const BY_PASSPHRASE: &str = "seal.age";
/// What is sealed, in the data directory.
const SEALED: [&str; 5] =
    ["tls.key", "evidence.key", "ca/root.key", "boot-ca/root.key", "boot-ca/server.key"];
/// How a sealed file begins.
const MARK: &[u8] = b"age-encryption.org/v1\n";
/// For files under the word: it is random, and nobody guesses it.
const QUICK: u8 = 4;

/// `[secrets]`: what gives out the word.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// What seals.
    pub seal: By,
    /// The TPM, as tpm2-tools name one.
    #[serde(default = "usual_tpm")]
    pub tpm: String,
    /// The passphrase's file, such as a credential of systemd; without it the start asks.
    #[serde(default)]
    pub passphrase_file: Option<PathBuf>,
    /// What was said when the start asked.
    #[serde(skip)]
    pub said: Option<Said>,
}

/// A passphrase that was said.
#[derive(Clone, PartialEq, Eq)]
pub struct Said(pub Zeroizing<String>);

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Said")
    }
}

/// What seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The TPM of this machine.
    Tpm,
    /// A passphrase.
    Passphrase,
}

impl By {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tpm => "tpm",
            Self::Passphrase => "passphrase",
        }
    }
}

fn usual_tpm() -> String {
    "device:/dev/tpmrm0".to_owned()
}

/// Why a secret is not had.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A file.
    #[error("cannot use {path}: {source}; check the data directory's owner and disk")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// It is sealed, and nothing is configured that opens it.
    #[error("{0} is sealed; say in [secrets] of the configuration what opens it")]
    Locked(PathBuf),
    /// The passphrase is not the one.
    #[error("the passphrase does not open {path}: {why}")]
    Passphrase {
        /// Which.
        path: PathBuf,
        /// Wrong, or altered.
        why: String,
    },
    /// There is none.
    #[error("no passphrase was given; write `passphrase_file` into [secrets], or start at a terminal")]
    Nobody,
    /// The TPM.
    #[error(
        "the TPM did not do {what}: {why}. On another machine, or after its TPM was cleared, restore the newest backup; without tpm2-tools: apt-get install tpm2-tools"
    )]
    Tpm {
        /// Which of tpm2-tools.
        what: &'static str,
        /// Its words.
        why: String,
    },
    /// The sealed file was altered.
    #[error("{path} is not what was sealed: {why}; restore the newest backup")]
    Altered {
        /// Which.
        path: PathBuf,
        /// How it looks.
        why: String,
    },
    /// A key is under a word that nothing here gives out any more.
    #[error(
        "{key} is sealed, and {seal}, which would open it, is not there: no other word was made. Put that file back, or name in [secrets] what sealed it, or restore the newest backup"
    )]
    Lost {
        /// The key.
        key: PathBuf,
        /// What is missing.
        seal: PathBuf,
    },
    /// No random bytes, or a file of keys.
    #[error(transparent)]
    Keys(#[from] Box<keys::KeyError>),
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> SealError + use<> {
    let path = path.to_owned();
    move |source| SealError::Io { path: path.clone(), source }
}

/// An open seal.
#[derive(Clone)]
pub struct Seal(Zeroizing<String>);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

#[derive(Serialize, Deserialize)]
struct Object {
    public: String,
    private: String,
}

impl Seal {
    /// Open the seal of a data directory, or make one where none is. None: none is configured.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(dir: &Path, secrets: Option<&Secrets>) -> Result<Option<Self>, SealError> {
        let Some(secrets) = secrets else { return Ok(None) };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
        let word = match secrets.seal {
            By::Passphrase => by_passphrase(&dir.join(BY_PASSPHRASE), &secrets.passphrase()?)?,
            By::Tpm => by_tpm(dir, &secrets.tpm)?,
        };
        Ok(Some(Self(word)))
    }

    /// The word under a passphrase, for a backup.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn for_backup(&self, path: &Path, passphrase: &str) -> Result<(), SealError> {
        write(path, &sealed(self.0.as_bytes(), passphrase, WORK).map_err(at(path))?)
    }

    /// In a restored directory: everything in clear again, by the passphrase of the backup.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn break_open(dir: &Path, passphrase: &str) -> Result<(), SealError> {
        let wrapped = dir.join(BY_PASSPHRASE);
        if !wrapped.is_file() {
            return Ok(());
        }
        let word = by_passphrase(&wrapped, passphrase)?;
        for path in SEALED.map(|name| dir.join(name)).into_iter().chain(named::files(dir)?) {
            if is_sealed(&path) == Some(true) {
                let clear = read(&path, Some(&Self(word.clone())))?;
                write(&path, &clear)?;
            }
        }
        fs::remove_file(&wrapped).map_err(at(&wrapped))
    }
}

impl Secrets {
    /// What is wrong with it, and what to do now.
    pub fn wrong(&self, data_dir: &Path) -> Option<(&'static str, &'static str)> {
        let inside = |path: &PathBuf| path.starts_with(data_dir.join(named::SECRETS));
        self.passphrase_file.as_ref().is_some_and(inside).then_some((
            "lies among what it opens",
            "keep it outside the data directory's secrets, as a credential of systemd",
        ))
    }

    fn passphrase(&self) -> Result<Zeroizing<String>, SealError> {
        if let Some(Said(said)) = &self.said {
            return Ok(said.clone());
        }
        let path = self.passphrase_file.as_ref().ok_or(SealError::Nobody)?;
        let text = Zeroizing::new(fs::read_to_string(path).map_err(at(path))?);
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() { Err(SealError::Nobody) } else { Ok(Zeroizing::new(line.to_owned())) }
    }
}

/// The private keys that are in a data directory and the files in its `secrets`, and whether each is sealed.
pub fn at_rest(dir: &Path) -> Vec<(String, bool)> {
    let own = SEALED.map(|name| dir.join(name)).into_iter().chain(named::files(dir).unwrap_or_default());
    let named = |path: &Path| path.strip_prefix(dir).unwrap_or(path).to_string_lossy().into_owned();
    own.filter_map(|path| Some((named(&path), is_sealed(&path)?))).collect()
}

/// None: it cannot be read.
fn is_sealed(path: &Path) -> Option<bool> {
    let mut begins = [0; MARK.len()];
    let mut file = fs::File::open(path).ok()?;
    Some(file.read_exact(&mut begins).is_ok() && begins == MARK)
}

/// A secret's bytes. In clear, and there is a seal: it is sealed now.
///
/// # Errors
/// [`SealError`]; a missing file is `Io` with `NotFound`.
pub fn read(path: &Path, seal: Option<&Seal>) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let bytes = Zeroizing::new(fs::read(path).map_err(at(path))?);
    match (bytes.starts_with(MARK), seal) {
        (true, None) => Err(SealError::Locked(path.to_owned())),
        (true, Some(Seal(word))) => {
            opened(&bytes, word).map_err(|why| SealError::Altered { path: path.to_owned(), why })
        }
        (false, None) => Ok(bytes),
        (false, seal @ Some(_)) => {
            keep(path, &bytes, seal)?;
            Ok(bytes)
        }
    }
}

/// Write a new secret: sealed where there is a seal, before it first reaches the disk.
///
/// # Errors
/// [`SealError`].
pub fn keep(path: &Path, bytes: &[u8], seal: Option<&Seal>) -> Result<(), SealError> {
    match seal {
        None => write(path, bytes),
        Some(Seal(word)) => write(path, &sealed(bytes, word, QUICK).map_err(at(path))?),
    }
}

fn sealed(clear: &[u8], word: &str, work: u8) -> Result<Vec<u8>, std::io::Error> {
    let mut file = Sealed::begin(Vec::new(), word, work)?;
    file.write_all(clear)?;
    file.finish()
}

fn opened(bytes: &[u8], word: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut clear = Zeroizing::new(Vec::new());
    let mut file = Opened::open(bytes, word).map_err(|error| error.to_string())?;
    file.read_to_end(&mut clear).map_err(|error| error.to_string())?;
    Ok(clear)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SealError> {
    keys::write_private(path, bytes).map_err(|error| SealError::Keys(Box::new(error)))
}

fn new_word() -> Result<Zeroizing<String>, SealError> {
    keys::secret().map(Zeroizing::new).map_err(|error| SealError::Keys(Box::new(error)))
}

/// No key lies under a word already: then a new one may be made, and published as `path`.
fn none_sealed(path: &Path) -> Result<(), SealError> {
    let dir = path.parent().unwrap_or(path);
    for key in SEALED.map(|name| dir.join(name)).into_iter().chain(named::files(dir)?) {
        let bytes = match fs::read(&key) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(at(&key)(error)),
        };
        if bytes.starts_with(MARK) {
            return Err(SealError::Lost { key, seal: path.to_owned() });
        }
    }
    Ok(())
}

/// The first one stays, whoever makes it; false: somebody else has made it meanwhile.
fn publish(path: &Path, bytes: &[u8]) -> Result<bool, SealError> {
    let fresh = keys::beside(path).map_err(|error| SealError::Keys(Box::new(error)))?;
    let dir = path.parent().unwrap_or(path);
    let mut options = fs::OpenOptions::new();
    let linked = options.write(true).create_new(true).mode(0o600).open(&fresh).and_then(|mut file| {
        keys::leave_to_its_owner(&file, path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::hard_link(&fresh, path)
    });
    let _ = fs::remove_file(&fresh);
    match linked {
        Ok(()) => fs::File::open(dir).and_then(|dir| dir.sync_all()).map(|()| true).map_err(at(path)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(at(path)(error)),
    }
}

fn text(bytes: &[u8], path: &Path) -> Result<Zeroizing<String>, SealError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(SealError::Altered { path: path.to_owned(), why: "its word is no text".to_owned() }),
    }
}

fn by_passphrase(path: &Path, passphrase: &str) -> Result<Zeroizing<String>, SealError> {
    if !path.is_file() {
        none_sealed(path)?;
        let word = new_word()?;
        if publish(path, &sealed(word.as_bytes(), passphrase, WORK).map_err(at(path))?)? {
            return Ok(word);
        }
    }
    let bytes = fs::read(path).map_err(at(path))?;
    let word =
        opened(&bytes, passphrase).map_err(|why| SealError::Passphrase { path: path.to_owned(), why })?;
    text(&word, path)
}

fn by_tpm(dir: &Path, tcti: &str) -> Result<Zeroizing<String>, SealError> {
    let (path, scratch) = (dir.join(BY_TPM), dir.join("tpm-scratch.new"));
    let _ = fs::remove_dir_all(&scratch);
    fs::DirBuilder::new().mode(0o700).create(&scratch).map_err(at(&scratch))?;
    let word = Tools { tcti, scratch: &scratch }.word(&path);
    let _ = fs::remove_dir_all(&scratch);
    word
}

/// tpm2-tools, and where they leave their files.
struct Tools<'a> {
    tcti: &'a str,
    scratch: &'a Path,
}

impl Tools<'_> {
    fn word(&self, path: &Path) -> Result<Zeroizing<String>, SealError> {
        let b64 = |name: &str| {
            let file = self.scratch.join(name);
            fs::read(&file).map(|bytes| BASE64_STANDARD.encode(bytes)).map_err(at(&file))
        };
        self.run("tpm2_createprimary", &["-C", "o", "-G", "ecc", "-c", "primary"], None)?;
        if !path.is_file() {
            none_sealed(path)?;
            let word = new_word()?;
            let made = ["-C", "primary", "-i", "-", "-u", "public", "-r", "private"];
            self.run("tpm2_create", &made, Some(word.as_bytes()))?;
            let object = Object { public: b64("public")?, private: b64("private")? };
            let object = serde_json::to_vec(&object).map_err(std::io::Error::other).map_err(at(path))?;
            if publish(path, &object)? {
                return Ok(word);
            }
            for name in ["public", "private"] {
                let file = self.scratch.join(name);
                fs::remove_file(&file).map_err(at(&file))?;
            }
        }
        let altered = |why: String| SealError::Altered { path: path.to_owned(), why };
        let object: Object = serde_json::from_slice(&fs::read(path).map_err(at(path))?)
            .map_err(|error| altered(error.to_string()))?;
        for (name, part) in [("public", &object.public), ("private", &object.private)] {
            let bytes = BASE64_STANDARD.decode(part).map_err(|error| altered(error.to_string()))?;
            let file = self.scratch.join(name);
            let mut options = fs::OpenOptions::new();
            let opened = options.write(true).create_new(true).mode(0o600).open(&file);
            opened.and_then(|mut file| file.write_all(&bytes)).map_err(at(&file))?;
        }
        self.run("tpm2_load", &["-C", "primary", "-u", "public", "-r", "private", "-c", "object"], None)?;
        text(&self.run("tpm2_unseal", &["-c", "object"], None)?, path)
    }

    /// What it says on its output; secrets go by pipes, never by arguments.
    fn run(
        &self,
        what: &'static str,
        args: &[&str],
        input: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let failed = |why: String| SealError::Tpm { what, why };
        let quiet: &[&str] = if what == "tpm2_unseal" { &[] } else { &["-Q"] };
        let mut child = Command::new(what)
            .args(quiet)
            .args(args)
            .env("TPM2TOOLS_TCTI", self.tcti)
            .current_dir(self.scratch)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
            pipe.write_all(input).map_err(|error| failed(error.to_string()))?;
        }
        let ran = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
        // Without a resource manager in between (a TPM in software) what was loaded stays there, and there is room for three.
        let mut flush = Command::new("tpm2_flushcontext");
        flush.arg("-t").env("TPM2TOOLS_TCTI", self.tcti);
        let _ = flush.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if ran.status.success() {
            return Ok(Zeroizing::new(ran.stdout));
        }
        Err(failed(String::from_utf8_lossy(&ran.stderr).lines().take(3).collect::<Vec<_>>().join(" ")))
    }
}

#[cfg(test)]
mod tests;
