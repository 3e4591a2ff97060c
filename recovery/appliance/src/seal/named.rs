//! Secrets that the configuration and endpoints name, such as a BMC's password: those that lie in `secrets` of the data directory are the appliance's, sealed
//! where its keys are, and in its backups. Files elsewhere are the site's own, and stay as they are; so is what lies there and nobody reads through [`secret`]:
//! sealed, its reader could not open it.
//!
//! ```text
//! secrets/press-01 in clear ─► first use a minute after it was written, by who serves ─► sealed in place ─► opened in memory when it is needed
//! ```
//!
//! It must never: seal a file that somebody is still writing, one that is not the appliance's, or write over one that came meanwhile.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use zeroize::Zeroizing;

use super::{MARK, QUICK, Seal, SealError, at, is_sealed, opened, sealed};
use crate::keys;

/// Where they lie in the data directory.
pub const SECRETS: &str = "secrets";
/// Whoever writes one is done by then.
const SETTLED: Duration = Duration::from_secs(60);

/// Seals that are open, by the folder whose files they open. A process serves from one data directory; drivers and sources know paths alone.
static OPEN: Mutex<BTreeMap<PathBuf, Opens>> = Mutex::new(BTreeMap::new());
/// One is sealed at a time.
static SEALING: Mutex<()> = Mutex::new(());

#[derive(Clone)]
struct Opens {
    seal: Seal,
    /// It also seals: this process is the one that serves.
    seals: bool,
}

fn open_folders() -> MutexGuard<'static, BTreeMap<PathBuf, Opens>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn known(dir: &Path, seal: &Seal, seals: bool) {
    let Ok(folder) = dir.join(SECRETS).canonicalize() else { return };
    let mut all = open_folders();
    let seals = seals || all.get(&folder).is_some_and(|before| before.seals);
    all.insert(folder, Opens { seal: seal.clone(), seals });
}

/// The appliance's own, in this data directory.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, SealError> {
    let folder = dir.join(SECRETS);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(&folder)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at(&folder))?;
        let name = entry.file_name();
        // Not through a link: what it leads to is not ours. A name that ends so is a file on its way.
        let ours = !name.to_string_lossy().ends_with(".new");
        if ours && entry.file_type().map_err(at(&folder))?.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// From now on [`secret`] opens what is sealed there. It seals nothing: this may be a command of another user.
///
/// # Errors
/// [`SealError`]: one is sealed and no seal is configured.
pub fn open(dir: &Path, seal: Option<&Seal>) -> Result<(), SealError> {
    match seal {
        Some(seal) => known(dir, seal, false),
        None => {
            if let Some(path) = files(dir)?.into_iter().find(|path| is_sealed(path) == Some(true)) {
                return Err(SealError::Locked(path));
            }
        }
    }
    Ok(())
}

/// Who serves seals, too, what it reads there; the folder is made, so that what is put there later is sealed without another start.
///
/// # Errors
/// [`SealError`].
pub fn serve(dir: &Path, seal: Option<&Seal>) -> Result<(), SealError> {
    let Some(seal) = seal else { return Ok(()) };
    let folder = dir.join(SECRETS);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(at(&folder))?;
    known(dir, seal, true);
    Ok(())
}

/// A secret that the configuration or an endpoint names, as text.
///
/// # Errors
/// As the file system; also, it is sealed and this process opens nothing, it was altered, or it is no text.
pub fn secret(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(fs::read(path)?);
    let folder = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    let opens = folder.and_then(|folder| open_folders().get(&folder).cloned());
    match (bytes.starts_with(MARK), opens) {
        (true, None) => {
            let why = "it is sealed, and only the appliance opens it while it serves";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        (true, Some(Opens { seal: Seal(word), .. })) => {
            bytes = opened(&bytes, &word).map_err(io::Error::other)?;
        }
        (false, Some(Opens { seal: Seal(word), seals: true })) => {
            if let Err(error) = seal_in_place(path, &bytes, &word) {
                tracing::warn!(path = %path.display(), %error, "a secret is not sealed");
            }
        }
        (false, _) => {}
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Seal what was read, if it is settled and still what lies there.
pub(super) fn seal_in_place(path: &Path, clear: &[u8], word: &str) -> io::Result<()> {
    let _one = SEALING.lock().unwrap_or_else(PoisonError::into_inner);
    let unchanged = || io::Result::Ok(settled(path) && *Zeroizing::new(fs::read(path)?) == *clear);
    if !unchanged()? {
        return Ok(());
    }
    let bytes = sealed(clear, word, QUICK)?;
    let mode = fs::symlink_metadata(path)?.permissions().mode() & 0o777;
    let fresh = keys::beside(path).map_err(io::Error::other)?;
    let mut options = fs::OpenOptions::new();
    let put = options.write(true).create_new(true).mode(0o600).open(&fresh).and_then(|mut file| {
        keys::leave_to_its_owner(&file, path)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        // Somebody's editor may have put a new one there meanwhile.
        if unchanged()? { fs::rename(&fresh, path) } else { fs::remove_file(&fresh) }
    });
    if put.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    put?;
    path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

/// A plain file, not empty, that nobody has touched for a while.
fn settled(path: &Path) -> bool {
    let Ok(about) = fs::symlink_metadata(path) else { return false };
    let age = about.modified().ok().and_then(|at| at.elapsed().ok());
    about.is_file() && about.len() > 0 && age.is_some_and(|age| age >= SETTLED)
}
