//! The site's own EST server, by which endpoints are enrolled in the place of the embedded authority.

use std::path::PathBuf;

use serde::Deserialize;

/// The site's EST server (RFC 7030).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteEst {
    /// `https://host:port`; `/.well-known/est` follows.
    pub url: String,
    /// The label after it, where the server has several authorities or profiles.
    #[serde(default)]
    pub label: Option<String>,
    /// Certificate by which it is known: its own, or that of the authority that signed it (PEM).
    pub ca_file: PathBuf,
    /// Our certificate as its registration authority (PEM).
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// The key of that certificate (PEM).
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// File with `user:password`, where it wants that.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Where its list of revoked certificates is (`http://` or `https://`). With it a new certificate is asked for only when those before
    /// it are on that list.
    #[serde(default)]
    pub crl_url: Option<String>,
}

impl SiteEst {
    /// Its files.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let own = [&mut self.certificate_file, &mut self.key_file, &mut self.password_file];
        own.into_iter().flatten().chain([&mut self.ca_file])
    }

    /// What is wrong with it: the key, why, and what to write.
    pub(super) fn wrong(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let label = self.label.as_deref().unwrap_or("a");
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !self.url.starts_with("https://") {
            return Some(("url", "is not HTTPS", "write https://host:port"));
        }
        if label.is_empty() || !label.bytes().all(plain) {
            return Some(("label", "is no label", "write letters, digits, `-`, `_` and `.`"));
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            return Some(("key_file", "has to stand beside certificate_file", "name both, or neither"));
        }
        if self.certificate_file.is_none() && self.password_file.is_none() {
            let now = "name certificate_file and key_file, or password_file, whichever it wants of its registration authorities";
            return Some(("password_file", "is missing, and so is a certificate", now));
        }
        match &self.crl_url {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
                Some(("crl_url", "is no URL", "write http://… or https://…, or leave it out"))
            }
            Some(_) | None => None,
        }
    }
}
