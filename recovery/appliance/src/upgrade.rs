//! A new version on a running appliance: saved before, watched after, taken back when it does not serve.
//!
//! ```text
//! the package ─► tried beside the old one: schema, configuration ─► state saved, old package kept ─► dpkg ─► does it serve?
//!                 └ refused: nothing was changed                                                              │ yes: done
//!      the old one serves again ◄── old package ◄── database back to its schema ◄── stopped ◄─────────────────┘ no
//! ```
//!
//! It runs as root beside the appliance and speaks to Debian's own tools, since only they know what is installed. What was done goes into the evidence
//! log by the next start, as for a refused start: a file in the data directory.
//!
//! It must never: change anything before the new program has read this appliance's own configuration, or leave a stopped appliance without
//! saying so and what brings it back.

mod dpkg;
mod home;

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::json;

use self::{
    dpkg::{Installed, Package},
    home::Home,
};
use crate::{
    clock::{Clock as _, SystemClock},
    config::Config,
    db::DbError,
    evidence::Fact,
    jobs::journal::Journal,
};

/// Where old packages and saved states are kept, one directory for each upgrade.
const KEPT: &str = "/var/backups/groundstate";
const FILE: &str = "upgrade.json";
/// So long it must have served without a restart to be called healthy.
const STEADY: Duration = Duration::from_secs(20);
/// Between two looks at it.
const LOOK: Duration = Duration::from_secs(1);

/// What to install, and how.
#[derive(Debug)]
pub struct Order<'a> {
    /// The package file.
    pub package: &'a Path,
    /// The configuration of this appliance.
    pub config_file: &'a Path,
    /// The same, read.
    pub config: &'a Config,
    /// What locks the saved state.
    pub passphrase: &'a str,
    /// How long the new one may take until it serves.
    pub limit: Duration,
}

/// How it ended, when it ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgraded {
    /// The version before.
    pub from: String,
    /// The version now.
    pub to: String,
    /// Where the old package and the saved state lie.
    pub kept: PathBuf,
    /// Whether it was watched; an appliance that was off stays off.
    pub serves: bool,
}

/// Why there is no new version.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// Nothing was changed.
    #[error("nothing was changed: {0}")]
    Refused(String),
    /// The old version serves again.
    #[error("{to} did not serve, and {from} serves again: {why}")]
    RolledBack {
        /// The version now, as before.
        from: String,
        /// The one that was tried.
        to: String,
        /// What it said.
        why: String,
        /// Where the old package and the saved state lie.
        kept: PathBuf,
    },
    /// Neither serves.
    #[error("{to} did not serve ({why}), and {from} could not be brought back: {and}")]
    Down {
        /// The version before.
        from: String,
        /// The one that was tried.
        to: String,
        /// Why the new one did not.
        why: String,
        /// Why the old one does not.
        and: String,
        /// Where the old package and the saved state lie.
        kept: PathBuf,
    },
}

impl UpgradeError {
    /// What a person does now.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Refused(_) => "mend that, then try again".to_owned(),
            Self::RolledBack { kept, .. } => {
                format!(
                    "work goes on; send what it said to whoever made the package ({} has the saved state)",
                    kept.display()
                )
            }
            Self::Down { kept, .. } => format!(
                "`journalctl -u groundstate`; the old package and the saved state lie in {}: `dpkg -i` the one, \
                 `groundstate restore-state` the other into an empty data directory",
                kept.display()
            ),
        }
    }
}

/// Kinds of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    #[serde(rename = "upgrade.begun")]
    Begun,
    #[serde(rename = "upgrade.rolled-back")]
    RolledBack,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "upgrade.begun",
            Self::RolledBack => "upgrade.rolled-back",
        }
    }
}

/// What the next start writes down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    kind: Kind,
    from: String,
    to: String,
    why: String,
    unix_ms: u64,
}

impl Note {
    fn new(kind: Kind, from: &str, to: &str, why: &str) -> Self {
        let (from, to, why) = (from.to_owned(), to.to_owned(), why.to_owned());
        Self { kind, from, to, why, unix_ms: SystemClock.now_unix_ms() }
    }

    /// Whole or not at all; the appliance's own user takes it away.
    fn leave(&self, data_dir: &Path) -> io::Result<()> {
        let fresh = data_dir.join(FILE).with_extension("new");
        fs::write(&fresh, serde_json::to_vec(self)?)?;
        fs::rename(&fresh, data_dir.join(FILE))
    }
}

/// What was installed before this start goes into the evidence log, once.
///
/// # Errors
/// [`DbError`]; then it is kept for the next start.
pub async fn write_down(data_dir: &Path, journal: &Journal) -> Result<(), DbError> {
    let Ok(text) = fs::read(data_dir.join(FILE)) else { return Ok(()) };
    if let Ok(note) = serde_json::from_slice::<Note>(&text) {
        journal.note(Fact::new(note.kind.as_str(), "appliance", json!(note))).await?;
    }
    let _ = fs::remove_file(data_dir.join(FILE));
    Ok(())
}

/// Install a package, and stay with it until it serves or the old one does again. `say` hears each step.
///
/// # Errors
/// [`UpgradeError`].
pub fn run(order: &Order<'_>, say: &mut dyn FnMut(&str)) -> Result<Upgraded, UpgradeError> {
    let refused = |why: String| UpgradeError::Refused(why);
    let home = Home::here(order.config_file, &order.config.data_dir).map_err(refused)?;
    let new = Package::read(order.package).map_err(refused)?;
    let old = Installed::find().map_err(refused)?;
    let tried =
        fs::create_dir_all(KEPT).and_then(|()| tempfile::Builder::new().prefix("tried-").tempdir_in(KEPT));
    let tried = tried.map_err(|error| refused(format!("{KEPT} cannot be written: {error}")))?;
    say(&format!("{} is tried beside {}", new.version, old.version));
    let program = new.unpack(order.package, tried.path()).map_err(refused)?;
    let (before, after) =
        (home.schema(&home.program()).map_err(refused)?, home.schema(&program).map_err(refused)?);
    if after < before {
        let why = format!(
            "{} knows schema {after} of the database, and {} has written schema {before}. `groundstate migrate --to {after}` \
             takes it back first",
            new.version, old.version
        );
        return Err(refused(why));
    }
    home.sound(&program).map_err(refused)?;
    let runs = home.runs();
    if runs {
        home.busy(after > before).map_err(refused)?;
    }
    say("the state is saved, and the package that is installed is kept");
    let kept = home.keep_dir(Path::new(KEPT), &old.version).map_err(refused)?;
    home.save(&kept.join("state.age"), order.passphrase).map_err(refused)?;
    let back = old.pack(&kept).map_err(refused)?;
    let done =
        Upgraded { from: old.version.clone(), to: new.version.clone(), kept: kept.clone(), serves: runs };
    Note::new(Kind::Begun, &old.version, &new.version, "").leave(&order.config.data_dir).map_err(
        |error| {
            refused(format!(
                "{} cannot take what evidence shall say of it: {error}",
                order.config.data_dir.display()
            ))
        },
    )?;
    say(&format!("{} is installed", new.version));
    home.forgive();
    let installed = dpkg::install(order.package);
    let healthy = match (&installed, runs) {
        (Err(why), _) => Err(why.clone()),
        (Ok(()), false) => Ok(()),
        (Ok(()), true) => serves(&home, order.limit, say),
    };
    let Err(why) = healthy else { return Ok(done) };
    say(&format!("{} does not serve: {why}", new.version));
    let (from, to) = (old.version.clone(), new.version.clone());
    let again = take_back(
        &home,
        order,
        &Back { program: (after > before).then_some(&program), package: &back, schema: before, runs },
        &done,
        &why,
        say,
    );
    Err(match again {
        Ok(()) => UpgradeError::RolledBack { from, to, why, kept },
        Err(and) => UpgradeError::Down { from, to, why, and, kept },
    })
}

/// What the old version needs to be there again.
struct Back<'a> {
    /// The new program, which alone can take its own schema back; none where both have the same.
    program: Option<&'a PathBuf>,
    package: &'a Path,
    schema: i64,
    runs: bool,
}

fn take_back(
    home: &Home,
    order: &Order<'_>,
    back: &Back<'_>,
    was: &Upgraded,
    why: &str,
    say: &mut dyn FnMut(&str),
) -> Result<(), String> {
    say(&format!("{} is brought back", was.from));
    home.stop()?;
    home.forgive();
    // One that never got so far as to open the database has left it as it was; if it did, the old program says so by itself.
    let migrated = back.program.map_or(Ok(()), |program| home.migrate(program, back.schema));
    if let Err(error) = Note::new(Kind::RolledBack, &was.from, &was.to, why).leave(&order.config.data_dir) {
        // To be without an appliance would be worse.
        say(&format!("evidence will not say that {} was taken back: {error}", was.to));
    }
    let told = |error: String| match &migrated {
        Ok(()) => error,
        Err(schema) => format!("{error}; and the schema could not be taken back: {schema}"),
    };
    dpkg::install(back.package).map_err(told)?;
    if !back.runs {
        return Ok(());
    }
    home.start().map_err(told)?;
    serves(home, order.limit, say).map_err(told)
}

/// Waits until it serves, and goes on to for [`STEADY`].
fn serves(home: &Home, limit: Duration, say: &mut dyn FnMut(&str)) -> Result<(), String> {
    let begin = Instant::now();
    let mut since: Option<(Instant, u64)> = None;
    say("waiting until it serves");
    loop {
        let health = home.health();
        match (&health, since) {
            (Ok(restarts), Some((at, before))) if *restarts == before => {
                if at.elapsed() >= STEADY {
                    return home.whole();
                }
            }
            // It begins anew, or goes on to be silent: only what began in time may end later.
            _ if begin.elapsed() >= limit => {
                return Err(health.err().unwrap_or_else(|| "it starts again and again".to_owned()));
            }
            _ => since = health.ok().map(|restarts| (Instant::now(), restarts)),
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_start_writes_down_once_what_was_installed() {
        let bench = crate::testing::Bench::new("").await;
        let dir = bench.data.path();
        Note::new(Kind::RolledBack, "0.1.0", "0.2.0", "it ended with 1").leave(dir).unwrap();
        for _ in 0..2 {
            write_down(dir, &bench.journal).await.unwrap();
        }
        let kinds = bench.evidence(None).await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "upgrade.rolled-back").count(), 1);
        fs::write(dir.join(FILE), "{").unwrap();
        write_down(dir, &bench.journal).await.unwrap();
        assert!(!dir.join(FILE).exists(), "what cannot be read is not kept for ever");
    }

    #[test]
    fn each_end_says_what_now() {
        let kept = PathBuf::from("/var/backups/groundstate/0.1.0");
        let (from, to, why) = ("0.1.0".to_owned(), "0.2.0".to_owned(), "it ended with 1".to_owned());
        let down = UpgradeError::Down { from, to, why, and: "no room".to_owned(), kept };
        assert!(
            down.remedy().contains("/var/backups/groundstate/0.1.0")
                && down.remedy().contains("restore-state")
        );
        assert!(down.to_string().contains("0.2.0") && down.to_string().contains("no room"), "{down}");
    }
}
