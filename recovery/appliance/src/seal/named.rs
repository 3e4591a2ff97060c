//! Secrets that the configuration and endpoints name, such as a BMC's password: those that lie in `secrets` of the data directory are the appliance's, sealed
//! where its keys are, and in its backups. Files elsewhere are the site's own, and stay as they are.
//!
//! ```text
//! secrets/press-01 in clear ─► start, or first use a minute after it was written ─► sealed in place ─► opened in memory when it is needed
//! ```
//!
//! It must never: seal a file that somebody is still writing, or one that is not the appliance's.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use zeroize::Zeroizing;

use super::{MARK, Seal, SealError, at, opened, read};

/// Where they lie in the data directory.
pub const SECRETS: &str = "secrets";
/// What net-snmp's programs read themselves stays in clear.
const NOT_OURS: &str = "snmp.conf";
/// Whoever writes one is done by then.
const SETTLED: Duration = Duration::from_secs(60);

/// Seals that are open, by the folder whose files they open. A process serves from one data directory; drivers and sources know paths alone.
static OPEN: Mutex<BTreeMap<PathBuf, Seal>> = Mutex::new(BTreeMap::new());

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
        let ours = name != NOT_OURS && !name.to_string_lossy().ends_with(".new");
        if ours && entry.file_type().map_err(at(&folder))?.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// At a start: what lies there in clear is sealed, and from now on [`secret`] opens it.
///
/// # Errors
/// [`SealError`]; also, one is sealed and no seal is configured.
pub fn open(dir: &Path, seal: Option<&Seal>) -> Result<(), SealError> {
    for path in files(dir)? {
        read(&path, seal)?;
    }
    let folder = dir.join(SECRETS);
    if let (Some(seal), Ok(folder)) = (seal, folder.canonicalize()) {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).insert(folder, seal.clone());
    }
    Ok(())
}

/// A secret that the configuration or an endpoint names, as text.
///
/// # Errors
/// As the file system; also, it is sealed and this process opens nothing, it was altered, or it is no text.
pub fn secret(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(fs::read(path)?);
    let folder = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    let seal =
        folder.and_then(|folder| OPEN.lock().unwrap_or_else(PoisonError::into_inner).get(&folder).cloned());
    match (bytes.starts_with(MARK), seal) {
        (true, None) => {
            let why = "it is sealed, and only the appliance opens it while it serves";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        (true, Some(Seal(word))) => bytes = opened(&bytes, &word).map_err(io::Error::other)?,
        (false, Some(seal)) if settled(path) => {
            if let Err(error) = read(path, Some(&seal)) {
                tracing::warn!(path = %path.display(), %error, "a secret is not sealed");
            }
        }
        (false, _) => {}
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A plain file, not empty, that nobody has touched for a while.
fn settled(path: &Path) -> bool {
    let Ok(about) = fs::symlink_metadata(path) else { return false };
    let age = about.modified().ok().and_then(|at| at.elapsed().ok());
    let ours = path.file_name().is_some_and(|name| name != NOT_OURS);
    ours && about.is_file() && about.len() > 0 && age.is_some_and(|age| age >= SETTLED)
}
