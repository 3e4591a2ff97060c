//! SNMP to a rack's power strip, by `snmpget` and `snmpset` of net-snmp: versions 2c and 3, whatever hash and cipher both sides know. Who we
//! are stands in a file as net-snmp has it (`snmp.conf`), never in an argument.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use recovery_protocol::outlet::OutletKind;
use tokio::{process::Command, time::timeout};

use tempfile::TempDir;

use super::PowerError;
use crate::seal;

/// Asked again by the tool itself after this many seconds, twice.
const WAIT_S: &str = "2";
const AGAIN: &str = "2";
const COMMAND_MAX: Duration = Duration::from_secs(15);

/// Where an outlet of a kind is told and read, and the values there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    order: &'static str,
    state: &'static str,
    /// Of the order: on, off.
    tell: (u8, u8),
    /// Of the state: on, off.
    reads: (u8, u8),
}

/// `None`: this kind does not speak SNMP.
pub fn places(kind: OutletKind) -> Option<Places> {
    match kind {
        // PowerNet-MIB: rPDUOutletControlOutletCommand, rPDUOutletStatusOutletState.
        OutletKind::Apc => Some(Places {
            order: ".1.3.6.1.4.1.318.1.1.12.3.3.1.1.4",
            state: ".1.3.6.1.4.1.318.1.1.12.3.5.1.1.4",
            tell: (1, 2),
            reads: (1, 2),
        }),
        // PDU2-MIB: switchingOperation, outletSwitchingState, of the first unit.
        OutletKind::Raritan => Some(Places {
            order: ".1.3.6.1.4.1.13742.6.4.1.2.1.2.1",
            state: ".1.3.6.1.4.1.13742.6.4.1.2.1.3.1",
            tell: (1, 0),
            reads: (7, 8),
        }),
        OutletKind::Shelly | OutletKind::Tasmota | OutletKind::Netio => None,
    }
}

/// One outlet, and who we are to it.
#[derive(Debug, Clone)]
pub struct Strip {
    places: Places,
    /// `host` or `host:port`.
    host: String,
    number: u8,
    /// Its `snmp.conf`.
    conf: PathBuf,
}

/// Memory, where it is a file system: what is opened there for net-snmp's programs never comes to a disk.
const MEMORY: &str = "/dev/shm";

/// A directory of this user's alone that holds the opened `snmp.conf` of one command, and is gone with it.
fn opened(conf: &Path) -> io::Result<TempDir> {
    let words = seal::secret(conf)?;
    let memory = Path::new(MEMORY);
    let base = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
    // It is made with mode 0700.
    let dir = tempfile::Builder::new().prefix("groundstate-snmp-").tempdir_in(base)?;
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.path().join("snmp.conf"))?;
    file.write_all(words.as_bytes())?;
    Ok(dir)
}

impl Strip {
    /// Looks that the file is there.
    pub fn open(places: Places, base: &str, number: u8, conf: Option<&str>) -> Result<Self, PowerError> {
        let missing = || PowerError::Password { path: conf.unwrap_or("(none named)").to_owned() };
        let path = Path::new(conf.ok_or_else(missing)?);
        let (true, Some(dir)) = (path.is_file(), path.parent()) else { return Err(missing()) };
        // The tools take it for a list of directories.
        if dir.to_string_lossy().contains(':') {
            return Err(PowerError::Bmc {
                host: base.to_owned(),
                what: "read its snmp.conf",
                why: format!("there may be no colon in its path ({}); move the file", path.display()),
            });
        }
        let host = base.strip_prefix("snmp://").unwrap_or(base);
        let host = if host.starts_with('[') { format!("udp6:{host}") } else { format!("udp:{host}") };
        Ok(Self { places, host, number, conf: path.to_owned() })
    }

    /// Tells it to go on or off.
    pub async fn tell(&self, on: bool) -> Result<(), Failed> {
        let value = if on { self.places.tell.0 } else { self.places.tell.1 };
        let at = format!("{}.{}", self.places.order, self.number);
        self.run("snmpset", &[&at, "i", &value.to_string()]).await.map(drop)
    }

    /// Whether it is on; `None`: it says neither.
    pub async fn read(&self) -> Result<Option<bool>, Failed> {
        let said = self.run("snmpget", &[&format!("{}.{}", self.places.state, self.number)]).await?;
        if said.starts_with("No Such") {
            return Err(Failed::Said(format!("it has no outlet {}", self.number)));
        }
        let (on, off) = self.places.reads;
        Ok(said.parse().ok().and_then(|value: u8| match value {
            value if value == on => Some(true),
            value if value == off => Some(false),
            _ => None,
        }))
    }

    async fn run(&self, tool: &'static str, more: &[&str]) -> Result<String, Failed> {
        let conf = self.conf.clone();
        let opened =
            tokio::task::spawn_blocking(move || opened(&conf)).await.map_err(io::Error::other).flatten();
        let opened = opened.map_err(|error| Failed::Said(format!("{}: {error}", self.conf.display())))?;
        let mut command = Command::new(tool);
        command
            .args(["-Oqve", "-t", WAIT_S, "-r", AGAIN, &self.host])
            .args(more)
            .env("SNMPCONFPATH", opened.path())
            .env("MIBS", "")
            // It would keep engine ids there.
            .env("SNMP_PERSISTENT_DIR", "/dev/null")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = match timeout(COMMAND_MAX, command.output()).await {
            Err(_) => return Err(Failed::Said(format!("no answer within {} s", COMMAND_MAX.as_secs()))),
            Ok(Err(error)) => return Err(Failed::Tool(error.to_string())),
            Ok(Ok(output)) => output,
        };
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() {
            return Ok(text);
        }
        let why = String::from_utf8_lossy(&output.stderr);
        let why: String = why.trim().chars().filter(|c| !c.is_control()).take(200).collect();
        Err(Failed::Said(if why.is_empty() { text } else { why }))
    }
}

/// Why an outlet was not told or read.
#[derive(Debug)]
pub enum Failed {
    /// The tool is not there.
    Tool(String),
    /// What it said, for a person.
    Said(String),
}
