//! IPMI 2.0 over the network, by `ipmitool`: RMCP+ with cipher suite 3, the password in a file, never in an argument.
//!
//! ```text
//! power off ─► two equal reads "off" ─► bootdev pxe options=efiboot ─► read back ─► power on ─► two equal reads "on"
//! ```
//!
//! Order and double reads are MAAS's lesson (a guest that reboots before the boot order flips comes up in the old
//! system). `ipmitool` prints "Set Chassis Boot Parameter … failed" for parameters that a BMC does not know and still sets
//! the boot device, so its exit code is not believed; the read-back is. A one-time override is gone after 60 seconds or
//! at the next boot (IPMI 2.0 section 28.12), so it is set just before power-on.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    process::Command,
    time::{Instant, sleep, timeout},
};

use super::{Left, PowerError, Still};

const TOOL: &str = "ipmitool";
/// One command; `ipmitool` repeats a lost packet four times by itself.
const COMMAND_MAX: Duration = Duration::from_secs(20);
/// A chassis may take its time to switch off.
const CONFIRM_MAX: Duration = Duration::from_secs(30);
const BETWEEN_READS: Duration = Duration::from_millis(500);

/// One BMC.
#[derive(Debug, Clone, Copy)]
pub struct Bmc<'a> {
    /// Its address.
    pub host: &'a str,
    /// UDP port.
    pub port: u16,
    /// User name.
    pub user: &'a str,
    /// File that holds the password.
    pub password_file: &'a str,
}

/// The driver.
#[derive(Debug, Clone)]
pub struct Ipmi {
    tool: String,
}

impl Default for Ipmi {
    fn default() -> Self {
        Self { tool: TOOL.to_owned() }
    }
}

impl Ipmi {
    /// Off, override, on; each step confirmed. What fails after it was told to go off says how it was left.
    pub async fn power_into_network(&self, bmc: &Bmc<'_>, still: &dyn Still) -> Result<(), PowerError> {
        let found = self.power(bmc).await?;
        still.wanted().await?;
        match (self.bring_up(bmc, &found).await, found.as_str()) {
            (Ok(()), _) => Ok(()),
            // It is as it was found.
            (Err(error), "off") => Err(error),
            (Err(error), _) => Err(error.leaving(Some(self.stands(bmc).await))),
        }
    }

    /// How it is, after it was told to go off.
    pub async fn stands(&self, bmc: &Bmc<'_>) -> Left {
        match self.power(bmc).await.as_deref() {
            Ok("on") => Left::On,
            Ok("off") => Left::Off,
            Ok(_) | Err(_) => Left::Unknown,
        }
    }

    async fn bring_up(&self, bmc: &Bmc<'_>, found: &str) -> Result<(), PowerError> {
        if found != "off" {
            self.run(bmc, "power off", &["chassis", "power", "off"]).await?;
            self.confirm(bmc, "power off", "off").await?;
        }
        // Its exit code says nothing about the boot device; the read-back does.
        let set = self.run(bmc, "set network boot", &["chassis", "bootdev", "pxe", "options=efiboot"]).await;
        let read = self.run(bmc, "read the boot device", &["chassis", "bootparam", "get", "5"]).await?;
        if !read.contains("Force PXE") {
            set?;
            let found = boot_device(&read);
            return Err(PowerError::Unconfirmed {
                host: bmc.host.to_owned(),
                what: "boot from the network",
                found,
            });
        }
        self.run(bmc, "power on", &["chassis", "power", "on"]).await?;
        self.confirm(bmc, "power on", "on").await
    }

    /// On, with the override still set: somebody has just done the above.
    pub async fn armed(&self, bmc: &Bmc<'_>) -> Result<bool, PowerError> {
        let read = self.run(bmc, "read the boot device", &["chassis", "bootparam", "get", "5"]).await?;
        Ok(read.contains("Force PXE") && self.power(bmc).await? == "on")
    }

    /// No override.
    pub async fn clear_boot(&self, bmc: &Bmc<'_>) -> Result<(), PowerError> {
        let set = self.run(bmc, "clear the boot override", &["chassis", "bootdev", "none"]).await;
        let read = self.run(bmc, "read the boot device", &["chassis", "bootparam", "get", "5"]).await?;
        if read.contains("Force PXE") {
            set?;
            let found = boot_device(&read);
            return Err(PowerError::Unconfirmed {
                host: bmc.host.to_owned(),
                what: "clear the boot override",
                found,
            });
        }
        Ok(())
    }

    async fn power(&self, bmc: &Bmc<'_>) -> Result<String, PowerError> {
        let text = self.run(bmc, "read the power state", &["chassis", "power", "status"]).await?;
        Ok(text.trim().rsplit(' ').next().unwrap_or_default().to_ascii_lowercase())
    }

    /// Two equal reads in a row: the first after a change is often the old state.
    async fn confirm(&self, bmc: &Bmc<'_>, what: &'static str, wanted: &str) -> Result<(), PowerError> {
        let until = Instant::now() + CONFIRM_MAX;
        let mut equal = 0;
        loop {
            let found = self.power(bmc).await?;
            equal = if found == wanted { equal + 1 } else { 0 };
            if equal == 2 {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(PowerError::Unconfirmed { host: bmc.host.to_owned(), what, found });
            }
            sleep(BETWEEN_READS).await;
        }
    }

    async fn run(&self, bmc: &Bmc<'_>, what: &'static str, command: &[&str]) -> Result<String, PowerError> {
        let password = super::secret(bmc.password_file).await?;
        let failed = |why: String| PowerError::Bmc { host: bmc.host.to_owned(), what, why };
        let port = bmc.port.to_string();
        let mut tool = Command::new(&self.tool);
        tool.args([
            "-I",
            "lanplus",
            "-C",
            "3",
            "-H",
            bmc.host,
            "-p",
            &port,
            "-U",
            bmc.user,
            "-f",
            // By a pipe: the file may be sealed, and what stands in an argument or in the environment others may read.
            "/dev/stdin",
        ])
        .args(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
        let told = async {
            let mut tool = tool.spawn()?;
            if let Some(mut pipe) = tool.stdin.take() {
                // One that does not read it says so itself.
                let _ = pipe.write_all(password.as_bytes()).await;
            }
            tool.wait_with_output().await
        };
        let output = match timeout(COMMAND_MAX, told).await {
            Err(_) => return Err(failed(format!("no answer within {} s", COMMAND_MAX.as_secs()))),
            Ok(Err(e)) => return Err(PowerError::Tool { tool: TOOL, why: e.to_string() }),
            Ok(Ok(output)) => output,
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let why: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(200).collect();
        Err(failed(if why.is_empty() { text.trim().chars().take(200).collect() } else { why }))
    }
}

fn boot_device(read: &str) -> String {
    let line = read.lines().find(|line| line.contains("Boot Device Selector"));
    line.unwrap_or("no boot device").trim().trim_start_matches("- ").to_owned()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    use super::*;
    use crate::power::tests::{Always, Wanted};

    /// A stand-in for `ipmitool` that keeps a chassis in files: `$0.power`, `$0.boot`, and a log of what it was told.
    const CHASSIS: &str = r#"#!/bin/sh
shift 12
cat > "$0.password"
echo "$*" >> "$0.log"
case "$*" in
  "chassis power status") echo "Chassis Power is $(cat "$0.power")" ;;
  "chassis power off") echo off > "$0.power" ;;
  "chassis power on") cat "$0.stuck" 2>/dev/null > "$0.power" || echo on > "$0.power" ;;
  "chassis bootdev pxe options=efiboot") echo "Force PXE" > "$0.boot"; echo "Set Chassis Boot Parameter 3 failed" >&2; exit 1 ;;
  "chassis bootdev none") echo "No override" > "$0.boot" ;;
  "chassis bootparam get 5") echo "   - Boot Device Selector : $(cat "$0.boot")" ;;
esac
"#;

    fn chassis(dir: &Path) -> (Ipmi, String) {
        let tool = dir.join("ipmitool");
        fs::write(&tool, CHASSIS).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.join("ipmitool.power"), "on").unwrap();
        fs::write(dir.join("ipmitool.boot"), "No override").unwrap();
        let password = dir.join("password");
        fs::write(&password, "secret").unwrap();
        (Ipmi { tool: tool.to_str().unwrap().to_owned() }, password.to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn off_is_confirmed_before_the_override_and_the_noise_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (ipmi, password_file) = chassis(dir.path());
        let bmc = Bmc { host: "bmc", port: 623, user: "gs", password_file: &password_file };
        ipmi.power_into_network(&bmc, &Always).await.unwrap();
        let log = fs::read_to_string(dir.path().join("ipmitool.log")).unwrap();
        let at = |command: &str| log.lines().position(|line| line == command).unwrap();
        assert!(at("chassis power off") < at("chassis bootdev pxe options=efiboot"));
        assert!(at("chassis bootparam get 5") < at("chassis power on"));
        let given = fs::read_to_string(dir.path().join("ipmitool.password")).unwrap();
        assert_eq!(given, "secret", "by a pipe, whatever the file is");
        ipmi.clear_boot(&bmc).await.unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("ipmitool.boot")).unwrap().trim(), "No override");
    }

    #[tokio::test]
    async fn one_that_is_not_wanted_any_more_is_only_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let (ipmi, password_file) = chassis(dir.path());
        let bmc = Bmc { host: "bmc", port: 623, user: "gs", password_file: &password_file };
        for found in ["on", "off"] {
            fs::write(dir.path().join("ipmitool.power"), found).unwrap();
            let error = ipmi.power_into_network(&bmc, &Wanted::times(0)).await.unwrap_err();
            assert_eq!(error, PowerError::Withdrawn);
        }
        let log = fs::read_to_string(dir.path().join("ipmitool.log")).unwrap();
        assert!(log.lines().all(|line| line == "chassis power status"), "{log}");
    }

    #[tokio::test]
    async fn one_that_is_left_off_is_said_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let (ipmi, password_file) = chassis(dir.path());
        let bmc = Bmc { host: "bmc", port: 623, user: "gs", password_file: &password_file };
        // It takes every order, and no override.
        let script = CHASSIS.replace("echo \"Force PXE\" > \"$0.boot\"", "true");
        fs::write(dir.path().join("ipmitool"), script).unwrap();
        let error = ipmi.power_into_network(&bmc, &Always).await.unwrap_err();
        assert_eq!(error.left_dark(), Some(Left::Off), "{error}");
        assert!(error.to_string().contains("switch it on"), "{error}");
        // Nor is it our doing where it was off before.
        let error = ipmi.power_into_network(&bmc, &Always).await.unwrap_err();
        assert_eq!(error.left_dark(), None, "{error}");
        // It stays on: nothing is dark.
        fs::write(dir.path().join("ipmitool.power"), "on").unwrap();
        let script = CHASSIS.replace("echo off > \"$0.power\"", "echo no >&2; exit 1");
        fs::write(dir.path().join("ipmitool"), script).unwrap();
        let error = ipmi.power_into_network(&bmc, &Always).await.unwrap_err();
        assert_eq!(error.left_dark(), None, "{error}");
    }

    #[tokio::test]
    async fn a_missing_tool_and_a_missing_password_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (_, password_file) = chassis(dir.path());
        let bmc = Bmc { host: "bmc", port: 623, user: "gs", password_file: &password_file };
        let nowhere = Ipmi { tool: dir.path().join("none").to_str().unwrap().to_owned() };
        assert!(matches!(nowhere.clear_boot(&bmc).await, Err(PowerError::Tool { .. })));
        let bmc = Bmc { password_file: "no/such/file", ..bmc };
        assert!(matches!(nowhere.clear_boot(&bmc).await, Err(PowerError::Password { .. })));
    }
}
