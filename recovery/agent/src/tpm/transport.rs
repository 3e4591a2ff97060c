//! How command bytes reach a TPM: one command in, one response out.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// A response never has more bytes than this (`TPM_PT_MAX_RESPONSE_SIZE` of every PC Client TPM).
pub const MAX_RESPONSE: usize = 4096;

/// A way to a TPM.
pub trait Transport: Send {
    /// Sends one command and waits for its response.
    ///
    /// # Errors
    /// What the channel says; the TPM's own refusals are inside the response.
    fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// The kernel's resource-managed TPM, `/dev/tpmrm0`: what this process leaves loaded goes when the file closes.
#[derive(Debug)]
pub struct DeviceFile(File);

impl DeviceFile {
    /// Opens the device.
    ///
    /// # Errors
    /// What the kernel says; `NotFound` where there is no TPM 2.0.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(path).map(Self)
    }
}

impl Transport for DeviceFile {
    fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        // The driver takes a command only whole, in one write, and gives its response in one read.
        let written = self.0.write(command)?;
        if written != command.len() {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "the TPM driver took a part of a command"));
        }
        let mut response = vec![0; MAX_RESPONSE];
        let length = self.0.read(&mut response)?;
        response.truncate(length);
        Ok(response)
    }
}
