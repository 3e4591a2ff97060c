//! The fleet's own control planes, which are told what the embedded one knows.

use std::path::PathBuf;

use serde::Deserialize;

/// A control plane.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Plane {
    /// Keylime.
    Keylime(KeylimePlane),
}

/// Keylime's verifier and registrar. An endpoint's agent is named by its label `keylime-agent`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeylimePlane {
    /// `https://host:8881`.
    pub verifier: String,
    /// `https://host:8891`.
    pub registrar: String,
    /// Certificate by which both are known: their own, or that of the authority that signed them (PEM). Names are not compared.
    pub ca_file: PathBuf,
    /// Our certificate towards them (PEM), one that they trust.
    pub certificate_file: PathBuf,
    /// The key of that certificate (PEM).
    pub key_file: PathBuf,
    /// An endpoint is released only after an attestation passed there.
    #[serde(default = "yes")]
    pub release_after_pass: bool,
}

fn yes() -> bool {
    true
}

impl Plane {
    /// Its files.
    pub(super) fn files(&mut self) -> [&mut PathBuf; 3] {
        let Self::Keylime(k) = self;
        [&mut k.ca_file, &mut k.certificate_file, &mut k.key_file]
    }

    /// What is wrong with it: the key.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        let Self::Keylime(k) = self;
        let urls = [("verifier", &k.verifier), ("registrar", &k.registrar)];
        urls.into_iter().find(|(_, url)| !url.starts_with("https://")).map(|(key, _)| key)
    }
}
