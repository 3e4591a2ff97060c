//! The computer that the appliance runs on, as seen by root beside it: its service, and its program run as its own user.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::unistd::{Uid, User};

use crate::clock::{Clock as _, SystemClock};

const UNIT: &str = "groundstate.service";
/// The units that start it at a connection, where somebody has enabled them.
const SOCKETS: [&str; 2] = ["groundstate-people.socket", "groundstate-endpoints.socket"];
const USER: &str = "groundstate";
const PROGRAM: &str = "/usr/bin/groundstate";

/// Where the appliance is at home.
#[derive(Debug)]
pub struct Home {
    config: PathBuf,
    data_dir: PathBuf,
    user: User,
}

impl Home {
    /// # Errors
    /// A sentence, when not root asks, or there is no such user.
    pub fn here(config: &Path, data_dir: &Path) -> Result<Self, String> {
        if !Uid::effective().is_root() {
            return Err("only root may install a package: run it with sudo".to_owned());
        }
        let user = User::from_name(USER).ok().flatten();
        let user = user.ok_or("there is no user groundstate: install the package by `dpkg -i` first")?;
        Ok(Self { config: config.to_owned(), data_dir: data_dir.to_owned(), user })
    }

    /// The program that is installed.
    pub fn program(&self) -> PathBuf {
        PathBuf::from(PROGRAM)
    }

    /// A program's words, run as the appliance's own user: as root it would leave files that the appliance cannot write.
    fn own(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = Command::new("runuser");
        command.args(["-u", USER, "--"]).arg(program).args(words);
        command.env("GROUNDSTATE_DATA_DIR", &self.data_dir);
        command
    }

    fn config(&self) -> String {
        self.config.display().to_string()
    }

    /// The schema of the database that a program knows.
    pub fn schema(&self, program: &Path) -> Result<i64, String> {
        let said = asked(&mut self.own(program, &["migrate"]))?;
        said.trim().parse().map_err(|_| format!("{} says no schema, but {said:?}", program.display()))
    }

    /// Whether a program can use this appliance's configuration.
    pub fn sound(&self, program: &Path) -> Result<(), String> {
        asked(&mut self.own(program, &["config", "check", &self.config()])).map(drop)
    }

    /// Takes the database back to a schema.
    pub fn migrate(&self, program: &Path, to: i64) -> Result<(), String> {
        asked(&mut self.own(program, &["migrate", "--to", &to.to_string(), "--config", &self.config()]))
            .map(drop)
    }

    /// Whether the appliance is on, or tries to be.
    pub fn runs(&self) -> bool {
        property("ActiveState")
            .is_ok_and(|state| ["active", "activating", "reloading"].contains(&state.as_str()))
    }

    /// An endpoint that is being written would wait for its appliance; and a schema goes back only while no job is open at all.
    pub fn busy(&self, schema_changes: bool) -> Result<(), String> {
        let said = asked(&mut self.own(Path::new(PROGRAM), &["status", "--json"]))?;
        let status: serde_json::Value = serde_json::from_str(&said).map_err(|error| error.to_string())?;
        let number = |name: &str| status[name].as_u64().ok_or_else(|| format!("its status has no {name}"));
        let (working, held) = (number("jobs_working")?, number("jobs_held")?);
        if working > 0 {
            return Err(format!("{working} recovery jobs are under way; wait for their end, or cancel them"));
        }
        if held > 0 && schema_changes {
            return Err(format!(
                "{held} recovery jobs are held, and the way back is open only without: decide them, or cancel them"
            ));
        }
        Ok(())
    }

    /// A directory of its own for what is kept of this upgrade.
    pub fn keep_dir(&self, kept: &Path, version: &str) -> Result<PathBuf, String> {
        let dir = kept.join(format!("{version}-{}", SystemClock.now_unix_ms() / 1000));
        let made = fs::create_dir_all(&dir)
            .and_then(|()| fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)))
            .and_then(|()| chown(&dir, Some(self.user.uid.as_raw()), Some(self.user.gid.as_raw())));
        made.map_err(|error| format!("{} cannot be made: {error}", dir.display()))?;
        Ok(dir)
    }

    /// Saves the state, as `groundstate backup` does.
    pub fn save(&self, file: &Path, passphrase: &str) -> Result<(), String> {
        let file = file.display().to_string();
        let mut command = self.own(Path::new(PROGRAM), &["backup", &file, "--config", &self.config()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("runuser: {error}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // What it says when it cannot read it is what counts.
            let _ = writeln!(stdin, "{passphrase}");
        }
        let ended = child.wait_with_output().map_err(|error| error.to_string())?;
        if ended.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&ended.stderr).trim().to_owned())
        }
    }

    /// Stops it, and what would start it again at the next connection.
    pub fn stop(&self) -> Result<(), String> {
        for socket in SOCKETS {
            // A version that has none is no matter.
            let _ = asked(Command::new("systemctl").args(["stop", socket]));
        }
        asked(Command::new("systemctl").args(["stop", UNIT])).map(drop)
    }

    /// Has systemd forget how often it was started lately: it starts nothing any more that was started too often, for whatever reason.
    pub fn forgive(&self) {
        // It complains where there is nothing to forget.
        let _ = asked(Command::new("systemctl").args(["reset-failed", UNIT]));
    }

    /// Starts it; before it the sockets that somebody has enabled.
    pub fn start(&self) -> Result<(), String> {
        for socket in SOCKETS {
            if asked(Command::new("systemctl").args(["is-enabled", "--quiet", socket])).is_ok() {
                let _ = asked(Command::new("systemctl").args(["start", socket]));
            }
        }
        asked(Command::new("systemctl").args(["restart", UNIT])).map(drop)
    }

    /// How often it was restarted so far, if it serves: its API answers.
    pub fn health(&self) -> Result<u64, String> {
        let state = property("ActiveState")?;
        if state != "active" {
            return Err(format!("the service is {state} ({})", property("Result").unwrap_or_default()));
        }
        asked(&mut self.own(Path::new(PROGRAM), &["status"]))?;
        property("NRestarts")?.parse().map_err(|_| "systemd does not say how often it was started".to_owned())
    }

    /// Whether its evidence log is whole.
    pub fn whole(&self) -> Result<(), String> {
        asked(&mut self.own(Path::new(PROGRAM), &["evidence", "verify"])).map(drop)
    }
}

/// A property of the service.
fn property(name: &str) -> Result<String, String> {
    let said = asked(Command::new("systemctl").args(["show", UNIT, "--value", "--property", name]))?;
    Ok(said.trim().to_owned())
}

/// What a program prints. Its complaint when it fails.
///
/// # Errors
/// Its last words, or that it could not be run.
pub fn asked(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let ended =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{name} cannot be run: {error}"))?;
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.trim();
    Err(if said.is_empty() { format!("{name} ended with {}", ended.status) } else { said.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_heard() {
        assert_eq!(asked(Command::new("echo").arg("yes")).unwrap(), "yes\n");
        assert_eq!(asked(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err(), "no");
        assert!(asked(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().contains('3'));
        assert!(asked(&mut Command::new("no-such-program-anywhere")).unwrap_err().contains("cannot be run"));
    }
}
