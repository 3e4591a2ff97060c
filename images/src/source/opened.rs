//! A file or block device, open for reading, and whether anybody writes to it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{major, minor};

use super::{Format, Refusal, SourceError};
use crate::disk::ReadDisk;
use crate::restore::file::FileTarget;

/// The byte of a file on which QEMU holds a lock while it has the file open for writing (its `block/file-posix.c`:
/// permissions are locked from byte 100 on, and writing is permission 1).
const QEMU_WRITES: i64 = 101;

/// A file or block device, open for reading.
pub struct Opened {
    /// Where it is.
    pub path: PathBuf,
    /// What it is taken for.
    pub format: Format,
    /// Its bytes.
    pub file: FileTarget,
    identity: (u64, u64),
    /// What shows its changes, and what that said at first; `None` for one that nobody else can reach.
    version: Option<(Changes, Vec<u64>)>,
}

/// What shows that somebody has written.
enum Changes {
    File(File),
    /// The kernel's counters of a block device, in sysfs.
    Counters(PathBuf),
}

impl Changes {
    fn now(&self) -> io::Result<Vec<u64>> {
        match self {
            Self::File(file) => {
                let facts = file.metadata()?;
                let times = [facts.mtime(), facts.mtime_nsec(), facts.ctime(), facts.ctime_nsec()];
                Ok([facts.len()].into_iter().chain(times.map(i64::cast_unsigned)).collect())
            }
            Self::Counters(path) => {
                // Documentation/block/stat.rst of Linux: the 5th and 7th number count writes and sectors written.
                let text = fs::read_to_string(path)?;
                let counters = text.split_whitespace().map(|word| word.parse().unwrap_or_default());
                Ok(counters.skip(4).step_by(2).take(2).collect())
            }
        }
    }
}

impl Opened {
    /// Open `path`, a file or block device. A block device is opened exclusively, which keeps others from mounting it.
    pub fn open(path: &Path, format: Format) -> Result<Self, SourceError> {
        let open_error = |source| SourceError::Open { path: path.to_owned(), source };
        let kind = fs::metadata(path).map_err(open_error)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(SourceError::NotADisk { path: path.to_owned() });
        }
        let exclusive = if kind.is_block_device() { OFlag::O_EXCL.bits() } else { 0 };
        let file = File::options().read(true).custom_flags(exclusive).open(path).map_err(|source| {
            match source.raw_os_error() == Some(Errno::EBUSY as i32) {
                true => SourceError::Held { path: path.to_owned() },
                false => SourceError::Open { path: path.to_owned(), source },
            }
        })?;
        if kind.is_file() && is_written_by_qemu(&file) {
            return Err(SourceError::Running { path: path.to_owned() });
        }
        Self::of(file, path, format).map_err(open_error)
    }

    fn of(file: File, path: &Path, format: Format) -> io::Result<Self> {
        let facts = file.metadata()?;
        let changes = match facts.file_type().is_block_device() {
            true => Changes::Counters(counters(facts.rdev())),
            false => Changes::File(file.try_clone()?),
        };
        let first = changes.now()?;
        let identity = (facts.dev(), facts.ino());
        let file = FileTarget::new(file, 512)?;
        Ok(Self { path: path.to_owned(), format, file, identity, version: Some((changes, first)) })
    }

    /// A file without a name, which holds what was unpacked from `path`.
    pub fn unnamed(file: File, path: &Path) -> io::Result<Self> {
        let file = FileTarget::new(file, 512)?;
        Ok(Self { path: path.to_owned(), format: Format::Raw, file, identity: (0, 0), version: None })
    }

    /// Whether somebody wrote to it since it was opened. Of a block device the kernel's counters are asked, which count
    /// what reached it.
    pub fn is_changed(&self) -> io::Result<bool> {
        match &self.version {
            Some((changes, first)) => Ok(changes.now()? != *first),
            None => Ok(false),
        }
    }

    /// Whether both are one file.
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// `N` bytes at `offset`; `what` they are is for the error that the file ends before.
    pub fn bytes<const N: usize>(&self, offset: u64, what: &'static str) -> Result<[u8; N], SourceError> {
        let mut bytes = [0; N];
        self.read(offset, &mut bytes, what)?;
        Ok(bytes)
    }

    /// As [`Opened::bytes`], into `buf`.
    pub fn read(&self, offset: u64, buf: &mut [u8], what: &'static str) -> Result<(), SourceError> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.file.size()) {
            return Err(SourceError::Truncated { path: self.path.clone(), format: self.format, what });
        }
        let read = self.file.read_at(offset, buf);
        read.map_err(|source| SourceError::Read { path: self.path.clone(), offset, source })
    }

    /// The error that it contradicts its format.
    pub fn damaged(&self, what: &'static str) -> SourceError {
        SourceError::Damaged { path: self.path.clone(), format: self.format, what }
    }

    /// The error that it asks for what is not done.
    pub fn refused(&self, why: Refusal) -> SourceError {
        SourceError::Refused { path: self.path.clone(), format: self.format, why }
    }

    /// Open the file that this one calls `name`, which must lie in its directory or below: the path is somebody else's, and
    /// could name any file of this computer (CVE-2024-44082).
    pub fn open_beside(&self, name: &str, format: Format) -> Result<Arc<Self>, SourceError> {
        let elsewhere = || self.refused(Refusal::Elsewhere { name: name.to_owned() });
        let first = name.split('/').next().unwrap_or_default();
        let plain =
            Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if name.is_empty() || first.contains(':') || name.contains(['\\', '\0']) || !plain {
            return Err(elsewhere());
        }
        let dir = match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let open_error = |path: &Path| {
            let path = path.to_owned();
            move |source| SourceError::Open { path, source }
        };
        let path = dir.join(name);
        // Links are resolved first: one that came with the file could lead out.
        let within = fs::canonicalize(dir).map_err(open_error(dir))?;
        let real = fs::canonicalize(&path).map_err(open_error(&path))?;
        if !real.starts_with(within) || !fs::metadata(&real).map_err(open_error(&path))?.is_file() {
            return Err(elsewhere());
        }
        Self::open(&path, format).map(Arc::new)
    }
}

fn counters(number: u64) -> PathBuf {
    PathBuf::from(format!("/sys/dev/block/{}:{}/stat", major(number), minor(number)))
}

/// Whether a QEMU has the file open for writing; QEMU says so by a lock, unless it was told not to.
fn is_written_by_qemu(file: &File) -> bool {
    let mut lock = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: QEMU_WRITES,
        l_len: 1,
        l_pid: 0,
    };
    let asked = fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock));
    asked.is_ok() && lock.l_type != nix::libc::F_UNLCK as i16
}
