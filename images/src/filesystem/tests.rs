//! Real filesystems, made by their own programs: what we call free is what they call free, and nothing uses it.

mod ext;
mod fat;
mod hostile;
mod kinds;
mod ntfs;
mod restored;
mod xfs;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{KeepWhole, Kind, free_space, kind};
use crate::disk::ReadDisk as _;
use crate::restore::file::FileTarget;
use crate::testing::{MIB, noise};

/// A filesystem in a file.
pub(super) struct Made {
    pub dir: tempfile::TempDir,
    pub path: PathBuf,
}

/// Name and bytes of the files that are put into a filesystem.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

impl Made {
    /// A file of this size, all holes.
    pub fn empty(size: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("partition.raw");
        fs::File::create(&path).unwrap().set_len(size).unwrap();
        Self { dir, path }
    }

    pub fn disk(&self) -> FileTarget {
        FileTarget::open_read_only(&self.path, 512).unwrap()
    }

    pub fn free(&self) -> Result<Vec<Range<u64>>, KeepWhole> {
        let disk = self.disk();
        free_space(&disk, 0..disk.size())
    }

    pub fn kind(&self) -> Kind {
        let disk = self.disk();
        kind(&disk, 0..disk.size())
    }

    /// Run a program of Debian's; its last argument is this filesystem.
    pub fn run<S: AsRef<OsStr>>(&self, program: &Path, args: impl IntoIterator<Item = S>) -> String {
        said(Command::new(program).args(args).arg(&self.path))
    }

    /// Write noise wherever we say that nothing is in use. Gives how many bytes that were.
    pub fn spoil_free(&self) -> u64 {
        let file = fs::File::options().write(true).open(&self.path).unwrap();
        let free = self.free().unwrap();
        for range in &free {
            file.write_all_at(&noise(range.start, (range.end - range.start) as usize), range.start).unwrap();
        }
        free.iter().map(|range| range.end - range.start).sum()
    }

    /// Change bytes in place.
    pub fn patch(&self, at: u64, bytes: &[u8]) {
        fs::File::options().write(true).open(&self.path).unwrap().write_all_at(bytes, at).unwrap();
    }

    pub fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.disk().read_at(at, &mut bytes).unwrap();
        bytes
    }
}

/// What a program writes; it must succeed.
pub(super) fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&stderr));
    text
}

/// Where a program of Debian's is.
pub(super) fn program(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Who is not root has no `sbin` there.
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = dirs.map(|dir: PathBuf| dir.join(name)).find(|path| path.is_file());
    if found.is_none() {
        crate::testing::not_looked_at(name, package);
    }
    found
}

/// Files of many lengths, the same for the same seed.
pub(super) fn files(seed: u64, count: u64) -> Files {
    let lens = [0, 1, 511, 4096, 4097, 60_000, 65_536, 300_000, 900_001];
    let file = |number: u64| {
        let random = u64::from_le_bytes(noise(seed << 8 | number, 8).try_into().unwrap());
        let len = lens[random as usize % lens.len()] + (random >> 32) % 7000;
        (format!("file{number}.bin"), noise(random, len as usize))
    };
    (0..count).map(file).collect()
}

/// Write files into a directory.
pub(super) fn put(dir: &Path, files: &Files) {
    fs::create_dir_all(dir).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(dir.join(name), bytes).unwrap());
}

/// Runs of numbers as the numbers.
pub(super) fn numbers(runs: &[Range<u64>]) -> Vec<u64> {
    runs.iter().cloned().flatten().collect()
}
