//! What the lab keeps between runs, outside the tree: `$XDG_CACHE_HOME/groundstate` or `~/.cache/groundstate`.
//!
//! An entry is named by a digest of everything that it is made from, so a changed recipe never finds a stale entry. An entry appears whole
//! or not at all: it is made under another name and renamed. Two processes that want the same entry wait for one another.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use ring::digest::{Context as Digest, SHA256};

/// The cache directory.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens the cache of the person who runs this, and makes it when it is not there.
    ///
    /// # Errors
    /// When neither `XDG_CACHE_HOME` nor `HOME` is set, or the directory cannot be made.
    pub fn open() -> Result<Self> {
        let base = match std::env::var_os("XDG_CACHE_HOME") {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(
                std::env::var_os("HOME")
                    .context("set HOME or XDG_CACHE_HOME: the lab keeps its images there")?,
            )
            .join(".cache"),
        };
        Self::at(base.join("groundstate"))
    }

    /// Opens a cache in a directory of the caller's choice.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn at(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(&dir)
            .with_context(|| format!("cannot make the cache directory {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Where the cache is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file `name`, made by `make` when it is not there yet. `make` gets the path to write to.
    ///
    /// `name` carries the digest of the inputs (see [`digest`]) and the kind before the first `-`; older entries of the same kind go.
    ///
    /// # Errors
    /// Those of `make`, and those of the file system.
    pub fn file(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let path = self.dir.join(name);
        let lock = File::create(self.dir.join(format!(".{name}.lock"))).context("cannot lock the cache")?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, errno)| errno)
            .context("cannot lock the cache")?;
        if !path.exists() {
            let part = self.dir.join(format!(".{name}.part"));
            make(&part)?;
            fs::rename(&part, &path).with_context(|| format!("cannot keep {}", path.display()))?;
        }
        Ok(path)
    }
}

/// A short name (16 hex digits of SHA-256) for what an entry is made from.
#[must_use]
pub fn digest<'a>(inputs: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut context = Digest::new(&SHA256);
    for input in inputs {
        context.update(&(input.len() as u64).to_le_bytes());
        context.update(input);
    }
    hex::encode(&context.finish().as_ref()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let path = cache.file("thing-1", |part| Ok(fs::write(part, "first")?)).unwrap();
        cache.file("thing-1", |part| Ok(fs::write(part, "second")?)).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "first");
    }

    #[test]
    fn a_failed_make_leaves_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let failed = cache.file("thing-1", |part| {
            fs::write(part, "half")?;
            anyhow::bail!("no space")
        });
        assert!(failed.is_err());
        assert!(!dir.path().join("thing-1").exists());
        cache.file("thing-1", |part| Ok(fs::write(part, "whole")?)).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("thing-1")).unwrap(), "whole");
    }

    #[test]
    fn inputs_do_not_run_into_one_another() {
        assert_ne!(digest([b"ab".as_slice(), b"c"]), digest([b"a".as_slice(), b"bc"]));
    }
}
