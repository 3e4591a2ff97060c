//! Outside programs: run one, and when it fails say which, how and what it printed.
//!
//! Never passes a command through a shell.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The last lines of a program's standard error that an error message repeats.
const STDERR_LINES: usize = 12;

/// The characters of a command line that an error message repeats.
const LINE_LEN: usize = 160;

/// Runs `command` to its end without input and returns its standard output.
///
/// # Errors
/// When the program cannot be started, or leaves with anything but 0; the message carries its last lines of standard error.
pub fn run(command: &mut Command) -> Result<String> {
    run_on(command, Stdio::null())
}

/// As [`run`], with `input` as its standard input.
///
/// # Errors
/// As [`run`].
pub fn run_on(command: &mut Command, input: impl Into<Stdio>) -> Result<String> {
    let line = line(command);
    let output = command
        .env("PATH", path())
        .stdin(input)
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = stderr.lines().collect();
        let tail = lines[lines.len().saturating_sub(STDERR_LINES)..].join("\n  ");
        bail!("`{line}` failed ({}):\n  {tail}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` with this terminal as its own, for programs whose progress a person wants to see.
///
/// # Errors
/// When the program cannot be started, or leaves with anything but 0.
pub fn show(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command.env("PATH", path()).status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// A command that runs as the superuser of a user namespace, or directly when this process already is the superuser.
///
/// File systems built this way get files owned by root although an ordinary user builds them.
#[must_use]
pub fn as_root(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    if nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--"]).arg(program);
    command
}

/// Where programs are looked for: Debian leaves the system's directories out of an ordinary user's path, and `sfdisk` and `mkfs` are there.
fn path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

/// The command as a person would type it, for messages; a long one only from its beginning.
fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    let line = words.join(" ");
    match line.char_indices().nth(LINE_LEN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_names_itself_and_repeats_its_last_words() {
        let error = run(Command::new("ls").arg("/nonexistent-lab-path")).unwrap_err().to_string();
        assert!(error.contains("ls /nonexistent-lab-path"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_missing_program_is_an_error_not_a_panic() {
        let error = format!("{:#}", run(&mut Command::new("no-such-program-here")).unwrap_err());
        assert!(error.contains("cannot start"), "{error}");
    }
}
