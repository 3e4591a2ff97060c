//! A configuration that was refused, kept until the appliance starts again: then it goes into the evidence log.
//!
//! The refused start has no log to write to: the configuration is what says where it lies, and another appliance may be
//! running on it. So the start leaves one small file in the data directory, if it can tell which one that is. A service
//! manager that starts it again and again only makes the count grow.
//!
//! It must never: make a data directory, or keep a start from failing with its own words.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    clock::{Clock, SystemClock},
    db::DbError,
    evidence::Fact,
    jobs::journal::Journal,
};

const FILE: &str = "refused-start.json";

/// Why the appliance did not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedStart {
    /// The configuration file.
    pub file: PathBuf,
    /// What was wrong with it the last time.
    pub why: String,
    /// How often it was refused.
    pub count: u64,
    /// The first time, milliseconds since 1970.
    pub first_unix_ms: u64,
    /// The last time, milliseconds since 1970.
    pub last_unix_ms: u64,
}

/// Keep a refusal of `file`. The data directory is the one that the file names, as far as it can be read, else `default`.
pub fn keep(file: &Path, default: &Path, why: &str) {
    let Some(dir) = data_dir(file, default) else { return };
    let now = SystemClock.now_unix_ms();
    let before = read(&dir);
    let refused = RefusedStart {
        file: file.to_owned(),
        why: why.to_owned(),
        count: before.as_ref().map_or(1, |before| before.count.saturating_add(1)),
        first_unix_ms: before.map_or(now, |before| before.first_unix_ms),
        last_unix_ms: now,
    };
    let fresh = dir.join(FILE).with_extension("new");
    let written = serde_json::to_vec(&refused)
        .map_err(std::io::Error::other)
        .and_then(|text| fs::write(&fresh, text))
        .and_then(|()| fs::rename(&fresh, dir.join(FILE)));
    if let Err(error) = written {
        tracing::warn!(%error, dir = %dir.display(), "the refused start could not be kept for the evidence log");
    }
}

/// What was refused before this start goes into the evidence log, once.
///
/// # Errors
/// [`DbError`]; then it is kept for the next start.
pub async fn write_down(data_dir: &Path, journal: &Journal) -> Result<(), DbError> {
    if let Some(refused) = read(data_dir) {
        journal.note(Fact::new("refusal.config", "appliance", json!(refused))).await?;
        let _ = fs::remove_file(data_dir.join(FILE));
    }
    Ok(())
}

fn read(dir: &Path) -> Option<RefusedStart> {
    serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()
}

/// The data directory that a file means which is no configuration, if there is one already.
fn data_dir(file: &Path, default: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(file).ok()?;
    let table: Option<toml::Table> = toml::from_str(&text).ok();
    let named = table.as_ref().and_then(|table| table.get("data_dir")?.as_str().map(PathBuf::from));
    let dir = match named {
        Some(dir) => file.parent()?.join(dir),
        None => default.to_owned(),
    };
    dir.is_dir().then_some(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_starts_are_counted_in_the_directory_that_the_file_names() {
        let dir = tempfile::tempdir().unwrap();
        let (file, state) = (dir.path().join("groundstate.toml"), dir.path().join("state"));
        fs::write(&file, "data_dir = \"state\"\nno_such_key = 1\n").unwrap();
        keep(&file, dir.path(), "unknown key");
        assert!(!state.exists(), "no directory is made for it");
        fs::create_dir(&state).unwrap();
        keep(&file, dir.path(), "unknown key");
        keep(&file, dir.path(), "still");
        let kept = read(&state).unwrap();
        assert_eq!((kept.count, kept.why.as_str()), (2, "still"));
        fs::write(&file, "no TOML at all").unwrap();
        keep(&file, dir.path(), "no TOML");
        assert_eq!(read(dir.path()).unwrap().count, 1, "in the default directory");
    }

    #[tokio::test]
    async fn the_next_start_writes_it_down_once() {
        let bench = crate::testing::Bench::new("").await;
        let (file, dir) = (bench.data.path().join("groundstate.toml"), bench.data.path().join("state"));
        fs::write(&file, "data_dir = \"state\"\nno_such_key = 1\n").unwrap();
        keep(&file, &dir, "unknown key");
        for _ in 0..2 {
            write_down(&dir, &bench.journal).await.unwrap();
        }
        let kinds = bench.evidence(None).await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "refusal.config").count(), 1);
    }
}
