//! What the check-in service keeps under `/var/lib/groundstate`: the way home, the enrolment, the certificate.
//!
//! | file | what |
//! |---|---|
//! | `home.json` | the appliance's address and key pin ([`Home`]) |
//! | `enrolment.json` | the job, and the seed that leads the TPM to the TLS key ([`Enrolment`]) |
//! | `certificate.pem` | the certificate, then those above it |
//!
//! None of it is a secret: the private key never leaves the TPM. Files are replaced whole or not at all.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use recovery_protocol::JobId;
use recovery_protocol::trust::EnrolmentTicket;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Where it lies.
pub const STATE_DIR: &str = "/var/lib/groundstate";

/// Whom to check in with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// The endpoint's name.
    pub endpoint: String,
    /// `ip:port` of the appliance's endpoint listener.
    pub appliance: String,
    /// The appliance's key pin.
    pub appliance_spki_sha256: String,
}

impl From<&EnrolmentTicket> for Home {
    fn from(ticket: &EnrolmentTicket) -> Self {
        Self {
            endpoint: ticket.endpoint.clone(),
            appliance: ticket.appliance.clone(),
            appliance_spki_sha256: ticket.appliance_spki_sha256.clone(),
        }
    }
}

/// One enrolment, from the first draw of its key on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The job it belongs to.
    pub job: JobId,
    /// 32 bytes, hex: with it the TPM finds the TLS key again. Without this TPM it gives nothing.
    seed: String,
    /// Serial number of the certificate, once issued.
    pub certificate_serial: Option<String>,
    /// The appliance knows that we hold it.
    pub told: bool,
}

impl Enrolment {
    /// A new one.
    pub fn begin(job: JobId, seed: &[u8; 32]) -> Self {
        Self { job, seed: hex::encode(seed), certificate_serial: None, told: false }
    }

    /// The seed's bytes.
    pub fn seed(&self) -> Result<[u8; 32]> {
        let mut seed = [0; 32];
        hex::decode_to_slice(&self.seed, &mut seed).context("the seed in enrolment.json is damaged")?;
        Ok(seed)
    }
}

/// The state directory.
#[derive(Debug)]
pub struct State(PathBuf);

impl State {
    /// Opens it, made when missing, for its owner only.
    pub fn open(dir: &Path) -> Result<Self> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self(dir.to_owned()))
    }

    /// The way home, once known.
    pub fn home(&self) -> Result<Option<Home>> {
        self.read("home.json")
    }

    /// Keeps the way home.
    pub fn keep_home(&self, home: &Home) -> Result<()> {
        self.write("home.json", &serde_json::to_vec_pretty(home)?)
    }

    /// The last enrolment, finished or not.
    pub fn enrolment(&self) -> Result<Option<Enrolment>> {
        self.read("enrolment.json")
    }

    /// Keeps an enrolment.
    pub fn keep_enrolment(&self, enrolment: &Enrolment) -> Result<()> {
        self.write("enrolment.json", &serde_json::to_vec_pretty(enrolment)?)
    }

    /// Keeps the certificates.
    pub fn keep_certificate(&self, pem: &str) -> Result<()> {
        self.write("certificate.pem", pem.as_bytes())
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.0.join(name);
        match fs::read(&path) {
            Ok(bytes) => {
                let value = serde_json::from_slice(&bytes);
                value
                    .map(Some)
                    .with_context(|| format!("{} is damaged; recover the endpoint again", path.display()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Temporary file, flush, rename, flush the directory.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let (path, part) = (self.0.join(name), self.0.join(format!(".{name}.part")));
        let write = || {
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
            File::open(&self.0)?.sync_all()
        };
        write().with_context(|| format!("writing {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("groundstate")).unwrap();
        assert_eq!(state.enrolment().unwrap(), None);
        let mut enrolment = Enrolment::begin(JobId::new(1, [2; 10]), &[7; 32]);
        enrolment.certificate_serial = Some("0a".to_owned());
        state.keep_enrolment(&enrolment).unwrap();
        let found = state.enrolment().unwrap().unwrap();
        assert_eq!((found.seed().unwrap(), &found), ([7; 32], &enrolment));
        fs::write(dir.path().join("groundstate/enrolment.json"), "{").unwrap();
        assert!(format!("{:#}", state.enrolment().unwrap_err()).contains("damaged"));
    }
}
