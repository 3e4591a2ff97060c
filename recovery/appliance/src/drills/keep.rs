//! Where drills are kept: `<data>/drills/<run>.json`, one whole file per run, replaced by rename.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use runbooks::RunId;

use super::Kept;

/// The drills' directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep drills in {path}: check the data directory's owner and free space")]
pub struct KeepError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Every readable record.
///
/// # Errors
/// [`KeepError`] when the directory cannot be made or read. A file that is no record is logged and left aside.
pub fn read_all(directory: &Path) -> Result<BTreeMap<RunId, Kept>, KeepError> {
    let failed = |source| KeepError { path: directory.into(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let read = fs::read(&path).map_err(failed)?;
        match serde_json::from_slice::<Kept>(&read) {
            Ok(kept) => drop(all.insert(kept.record.run.clone(), kept)),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "this is no record of a drill; left aside")
            }
        }
    }
    Ok(all)
}

/// Replace one record, durably.
///
/// # Errors
/// [`KeepError`]; the old record still stands.
pub fn write(directory: &Path, kept: &Kept) -> Result<(), KeepError> {
    let path = directory.join(format!("{}.json", kept.record.run));
    let fresh = path.with_extension("new");
    let replace = || {
        let text = serde_json::to_vec(kept).map_err(io::Error::other)?;
        let mut file =
            fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        fs::File::open(directory)?.sync_all()
    };
    replace().map_err(|source| KeepError { path: path.clone(), source })
}
