//! A real TPM 2.0 in software for tests: one `swtpm` process, its state in a directory, gone on drop.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use recovery_protocol::tpm::wire::Writer;
use recovery_protocol::tpm::{ALG_SHA256, Sha256};

use super::command::{Call, TpmError};
use super::transport::{MAX_RESPONSE, Transport};
use super::{RH_ENDORSEMENT, Tpm};

const RH_LOCKOUT: u32 = 0x4000_000a;

/// A running `swtpm`.
pub struct SwTpm {
    process: Child,
    ports: [u16; 2],
    /// Its persistent state: what a board keeps over a reimage.
    pub state: tempfile::TempDir,
}

impl SwTpm {
    /// Starts one with fresh state, powered on and started up.
    pub fn start() -> Self {
        Self::start_from(tempfile::tempdir().unwrap())
    }

    /// Starts one on the state of an earlier one.
    pub fn start_from(state: tempfile::TempDir) -> Self {
        // Two starts at once could be given the same free ports and take each other's answer for their own.
        static STARTING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..5 {
            let ports = free_ports();
            let mut process = Command::new("swtpm")
                .args([
                    "socket",
                    "--tpm2",
                    "--seccomp",
                    "action=none",
                    "--flags",
                    "not-need-init,startup-clear",
                ])
                .arg("--tpmstate")
                .arg(format!("dir={}", state.path().display()))
                .arg("--server")
                .arg(format!("type=tcp,bindaddr=127.0.0.1,port={}", ports[0]))
                .arg("--ctrl")
                .arg(format!("type=tcp,bindaddr=127.0.0.1,port={}", ports[1]))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("swtpm is installed");
            if ports.iter().all(|port| answers(&mut process, *port)) {
                return Self { process, ports, state };
            }
            // Another process took a port in between: try with others.
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("swtpm does not start");
    }

    /// A fresh connection to it.
    pub fn tpm(&self) -> Tpm {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            // It listens for control a moment before it listens for commands.
            match TcpStream::connect(("127.0.0.1", self.ports[0])) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() < until => {
                    std::thread::yield_now();
                }
                connected => return Tpm::over(Box::new(Tcp(connected.unwrap()))),
            }
        }
    }

    /// What tpm2-tools call a TCTI: how to reach it.
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.ports[0])
    }

    /// Ends it and keeps its state.
    pub fn power_off(mut self) -> tempfile::TempDir {
        self.end();
        std::mem::replace(&mut self.state, tempfile::tempdir().unwrap())
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for SwTpm {
    fn drop(&mut self) {
        self.end();
    }
}

/// Two adjacent ports that were free a moment ago (tpm2-tools expect control at data + 1).
fn free_ports() -> [u16; 2] {
    loop {
        let data = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = data.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return [port, port + 1];
        }
    }
}

/// Waits until a port takes connections. Both must: one that somebody else took ends the process, perhaps after the other answered.
fn answers(process: &mut Child, port: u16) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until && process.try_wait().unwrap().is_none() {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

struct Tcp(TcpStream);

impl Transport for Tcp {
    fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        let mut response = vec![0; 10];
        self.0.read_exact(&mut response)?;
        let size = u32::from_be_bytes([response[2], response[3], response[4], response[5]]) as usize;
        assert!((10..=MAX_RESPONSE).contains(&size));
        response.resize(size, 0);
        self.0.read_exact(&mut response[10..])?;
        Ok(response)
    }
}

/// What only tests do to a TPM.
impl Tpm {
    /// Extends a PCR of the SHA-256 bank.
    pub fn extend(&mut self, pcr: u8, digest: &Sha256) -> Result<(), TpmError> {
        let parameters = Writer::new().u32(1).u16(ALG_SHA256).bytes(digest.as_bytes());
        let call = Call::new("PCR_Extend", 0x182).handle_with_password(pcr.into());
        call.parameters(parameters).send(&mut *self.transport).map(drop)
    }

    /// What a hostile system does: sets a password on the endorsement hierarchy.
    pub fn lock_endorsement(&mut self) -> Result<(), TpmError> {
        let call = Call::new("HierarchyChangeAuth", 0x129).handle_with_password(RH_ENDORSEMENT);
        call.parameters(Writer::new().tpm2b(b"mine now")).send(&mut *self.transport).map(drop)
    }

    /// `TPM2_Clear`, as the firmware's setup does it.
    pub fn clear(&mut self) -> Result<(), TpmError> {
        (self.ek, self.ak) = (None, None);
        self.loaded.clear();
        Call::new("Clear", 0x126).handle_with_password(RH_LOCKOUT).send(&mut *self.transport).map(drop)
    }
}
