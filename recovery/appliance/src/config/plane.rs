//! The fleet's own control planes, which are told what the embedded one knows.

use std::path::PathBuf;

use serde::Deserialize;

use crate::control_plane::is_ums_id;

/// A control plane.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Plane {
    /// Keylime.
    Keylime(KeylimePlane),
    /// IGEL UMS.
    IgelUms(UmsPlane),
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

/// IGEL UMS, by its REST API IMI v3. An endpoint that it knows has the label `igel-ums`: `yes`, or the 12 hex digits of the MAC by which UMS knows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UmsPlane {
    /// `https://host:8443`; `/umsapi/v3` follows.
    pub url: String,
    /// Certificate by which it is known: its own, or that of the authority that signed it for the name in `url` (PEM).
    pub ca_file: PathBuf,
    /// An account of UMS with the rights to import, move, edit and delete devices and to send them settings.
    pub user: String,
    /// File with that account's password.
    pub password_file: PathBuf,
    /// Id of the directory where a device waits from fencing until it is recovered: one without settings that are worth anything.
    pub quarantine_directory: String,
    /// Id of the directory into which it is moved then, and whose settings it gets.
    pub directory: String,
    /// Id of the firmware that a device is imported with where UMS has no old record of it that says one.
    #[serde(default)]
    pub firmware_id: Option<String>,
    /// An endpoint is released only after UMS sees it online.
    #[serde(default = "yes")]
    pub release_when_online: bool,
}

fn yes() -> bool {
    true
}

impl Plane {
    /// Its files.
    pub(super) fn files(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Keylime(k) => vec![&mut k.ca_file, &mut k.certificate_file, &mut k.key_file],
            Self::IgelUms(u) => vec![&mut u.ca_file, &mut u.password_file],
        }
    }

    /// What is wrong with it: the key, why, and what to write.
    pub(super) fn wrong(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let urls = match self {
            Self::Keylime(k) => vec![("verifier", &k.verifier), ("registrar", &k.registrar)],
            Self::IgelUms(u) => vec![("url", &u.url)],
        };
        if let Some((key, _)) = urls.into_iter().find(|(_, url)| !url.starts_with("https://")) {
            return Some((key, "is not HTTPS", "write https://host:port"));
        }
        match self {
            Self::Keylime(_) => None,
            Self::IgelUms(u) => u.wrong(),
        }
    }
}

impl UmsPlane {
    fn wrong(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let directories =
            [("quarantine_directory", &self.quarantine_directory), ("directory", &self.directory)];
        let ids = directories.into_iter().chain(self.firmware_id.as_ref().map(|id| ("firmware_id", id)));
        if let Some((key, _)) = ids.into_iter().find(|(_, id)| !is_ums_id(id)) {
            return Some((key, "is no id of UMS", "write its number in quotes, such as \"4711\""));
        }
        if self.quarantine_directory == self.directory {
            let now = "name another one, in which devices wait: what is in it gets its settings";
            return Some(("quarantine_directory", "is where recovered devices go, too", now));
        }
        // Basic authorization parts the two at the first colon (RFC 7617 section 2).
        if self.user.is_empty() || self.user.contains(':') || self.user.chars().any(char::is_control) {
            return Some(("user", "is no name that can log in", "write it without a colon"));
        }
        None
    }
}
