//! Where the bytes of exhibits lie: each part as it came, in a file of its own, synced before the answer, readable by the appliance alone,
//! and sealed where `[secrets]` seals.
//!
//! ```text
//! exhibits/<job>/<offset>-<length>      offset and length of the plain bytes, 16 hexadecimal digits each
//! ```
//!
//! A part lies there whole or not at all, so a crash leaves a shorter exhibit and never a wrong one. It must never: give bytes to a
//! recovery, or fill a disk that the evidence log needs.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use recovery_protocol::{JobId, exhibit::Kept};
use ring::digest::{Context, SHA256};

use crate::{
    config::Config,
    evidence,
    seal::{self, Seal, SealError},
};

/// Why bytes are not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// They do not follow what lies here.
    #[error("{lies} bytes lie here, and these are said to follow {at}")]
    Gap {
        /// What lies here.
        lies: u64,
        /// Where they were to go.
        at: u64,
    },
    /// More than was ordered.
    #[error("no more than {0} bytes were ordered")]
    TooMuch(u64),
    /// The exhibits have used up their room.
    #[error(
        "the appliance's exhibits have used up their {0} bytes (`exhibits.max_bytes`); delete some with `groundstate exhibit delete`"
    )]
    Full(u64),
    /// The disk has.
    #[error("little room is left on the appliance's disk, and the evidence log needs it")]
    LittleRoom,
    /// A file.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A directory.
    #[error("cannot use {path}: {source}; check the data directory's owner and disk")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// Every exhibit's bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exhibits {
    dir: PathBuf,
    seal: Option<Seal>,
}

impl Exhibits {
    /// As the configuration has it.
    #[must_use]
    pub fn new(config: &Config, seal: Option<Seal>) -> Self {
        Self { dir: config.exhibits_dir(), seal }
    }

    /// Whether they lie sealed.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.seal.is_some()
    }

    /// Takes bytes that follow the first `at` of a job's exhibit; how many lie there then. At 0 it begins anew. At most `most` of it, and
    /// `all` of every exhibit. Blocking.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn append(&self, job: JobId, at: u64, bytes: &[u8], most: u64, all: u64) -> Result<u64, NotTaken> {
        let dir = self.dir_of(job);
        let len = bytes.len() as u64;
        if at == 0 {
            self.delete(job)?;
        }
        let parts = self.parts(job)?;
        if parts.iter().any(|part| part.at == at && part.len == len) {
            return Ok(end(&parts));
        }
        if at != end(&parts) {
            return Err(NotTaken::Gap { lies: end(&parts), at });
        }
        if at + len > most {
            return Err(NotTaken::TooMuch(most));
        }
        if self.total()?.saturating_add(len) > all {
            return Err(NotTaken::Full(all));
        }
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|source| NotTaken::Io { path: dir.clone(), source })?;
        if evidence::room_of(&dir)
            .is_some_and(|(free, total)| evidence::is_little(free.saturating_sub(len), total))
        {
            return Err(NotTaken::LittleRoom);
        }
        seal::keep(&dir.join(format!("{at:016x}-{len:016x}")), bytes, self.seal.as_ref())?;
        Ok(at + len)
    }

    /// Its parts in order.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn parts(&self, job: JobId) -> Result<Vec<Part>, NotTaken> {
        let mut parts: Vec<Part> =
            names(&self.dir_of(job))?.iter().filter_map(|name| Part::of(name)).collect();
        parts.sort_by_key(|part| part.at);
        Ok(parts)
    }

    /// The bytes of a part. Blocking.
    ///
    /// # Errors
    /// It cannot be read, or not be opened.
    pub fn read(&self, job: JobId, part: &Part) -> Result<Vec<u8>, SealError> {
        let path = self.dir_of(job).join(format!("{:016x}-{:016x}", part.at, part.len));
        Ok(seal::read(&path, self.seal.as_ref())?.to_vec())
    }

    /// What lies here of a job, with its digests: read again from the disk. Blocking.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn measure(&self, job: JobId) -> Result<Kept, NotTaken> {
        let (mut sha256, mut blake3, mut bytes) = (Context::new(&SHA256), blake3::Hasher::new(), 0);
        for part in self.parts(job)? {
            let content = self.read(job, &part)?;
            sha256.update(&content);
            blake3.update(&content);
            bytes += content.len() as u64;
        }
        let sha256 = hex::encode(sha256.finish());
        Ok(Kept { bytes, sha256, blake3: blake3.finalize().to_hex().to_string(), ..Kept::default() })
    }

    /// Deletes a job's; whether there was any. Blocking.
    ///
    /// # Errors
    /// The directory cannot be removed.
    pub fn delete(&self, job: JobId) -> Result<bool, NotTaken> {
        let dir = self.dir_of(job);
        match fs::remove_dir_all(&dir) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(NotTaken::Io { path: dir, source }),
        }
    }

    /// Jobs of which bytes lie here. Blocking.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn jobs(&self) -> Result<Vec<JobId>, NotTaken> {
        Ok(names(&self.dir)?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn total(&self) -> Result<u64, NotTaken> {
        let mut total = 0_u64;
        for job in self.jobs()? {
            total = total.saturating_add(self.parts(job)?.iter().map(|part| part.len).sum());
        }
        Ok(total)
    }

    fn dir_of(&self, job: JobId) -> PathBuf {
        self.dir.join(job.to_string())
    }
}

/// A run of an exhibit's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where it begins.
    pub at: u64,
    /// Its length.
    pub len: u64,
}

impl Part {
    fn of(name: &str) -> Option<Self> {
        let (at, len) = name.split_once('-')?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16);
        Some(Self { at: number(at)?, len: number(len)? })
    }
}

fn end(parts: &[Part]) -> u64 {
    parts.last().map_or(0, |part| part.at + part.len)
}

fn names(dir: &Path) -> Result<Vec<String>, NotTaken> {
    let failed = |source| NotTaken::Io { path: dir.to_owned(), source };
    match fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned()))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn store(dir: &Path) -> Exhibits {
        Exhibits { dir: dir.join("exhibits"), seal: None }
    }

    fn job(n: u8) -> JobId {
        JobId::new(1, [n; 10])
    }

    #[test]
    fn parts_are_taken_in_order_once_within_what_was_ordered_and_what_there_is_room_for() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        assert_eq!(store.append(job(1), 0, b"0123456789", 20, 30).unwrap(), 10);
        // Said again, since the answer was lost.
        assert_eq!(store.append(job(1), 10, b"abcde", 20, 30).unwrap(), 15);
        assert_eq!(store.append(job(1), 10, b"abcde", 20, 30).unwrap(), 15);
        assert!(matches!(store.append(job(1), 14, b"x", 20, 30), Err(NotTaken::Gap { lies: 15, at: 14 })));
        assert!(matches!(store.append(job(1), 15, b"123456", 20, 30), Err(NotTaken::TooMuch(20))));
        let kept = store.measure(job(1)).unwrap();
        assert_eq!((kept.bytes, kept.blake3), (15, blake3::hash(b"0123456789abcde").to_hex().to_string()));
        assert!(matches!(store.append(job(2), 0, &[0; 16], 20, 30), Err(NotTaken::Full(30))));
        // Begun anew, what lay there before does not count.
        assert_eq!(store.append(job(1), 0, b"9", 20, 30).unwrap(), 1);
        assert_eq!(store.append(job(2), 0, &[0; 16], 20, 30).unwrap(), 16);
        let file = dir.path().join(format!("exhibits/{}/{:016x}-{:016x}", job(1), 0, 1));
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(store.delete(job(1)).unwrap() && !store.delete(job(1)).unwrap());
        assert_eq!(store.jobs().unwrap(), [job(2)]);
    }
}
