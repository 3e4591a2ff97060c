//! What an endpoint's firmware lets start, as its agent reads it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The firmware's state and its lists of keys (UEFI specification 2.10, section 32.3). Told by the endpoint: it selects, it proves nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SecureBoot {
    /// Unsigned programs do not start.
    pub on: bool,
    /// The firmware has no platform key: who can start a program can enrol one.
    pub setup_mode: bool,
    /// SHA-256 of each certificate in `db`, lower-case hex.
    #[serde(default)]
    pub db: Vec<String>,
    /// SHA-256 of each certificate in shim's own list, where shim has one.
    #[serde(default)]
    pub mok: Vec<String>,
    /// Whether the key that signed the boot kit is in one of them. The appliance writes this; what an agent says here counts for nothing.
    #[serde(default)]
    pub site_key: SiteKey,
}

/// Where the key that signed an appliance's boot kit is enrolled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SiteKey {
    /// The kit is not signed.
    #[default]
    None,
    /// In neither list.
    Missing,
    /// In shim's list: it starts behind shim.
    BehindShim,
    /// In `db`: the firmware itself starts it.
    Enrolled,
}

impl SecureBoot {
    /// Looks for the certificate with this SHA-256 (lower-case hex).
    #[must_use]
    pub fn find(&self, certificate_sha256: Option<&str>) -> SiteKey {
        let Some(wanted) = certificate_sha256 else { return SiteKey::None };
        let in_list = |list: &[String]| list.iter().any(|entry| entry == wanted);
        match (in_list(&self.db), in_list(&self.mok)) {
            (true, _) => SiteKey::Enrolled,
            (false, true) => SiteKey::BehindShim,
            (false, false) => SiteKey::Missing,
        }
    }
}

impl fmt::Display for SecureBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.on, self.setup_mode) {
            (true, _) => "on",
            (false, true) => "off, in setup mode",
            (false, false) => "off",
        })?;
        f.write_str(match self.site_key {
            SiteKey::None => "",
            SiteKey::Enrolled => "; the site's key is enrolled",
            SiteKey::BehindShim => "; the site's key is enrolled in shim, not in the firmware",
            SiteKey::Missing if self.on => {
                "; the site's key is not enrolled: the signed recovery system does not start here, enrol db.cer or boot by shim"
            }
            SiteKey::Missing => "; the site's key is not enrolled: enrol db.cer before Secure Boot is switched on",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_key_is_said_with_what_to_do() {
        let told =
            SecureBoot { on: true, db: vec!["aa".into()], mok: vec!["bb".into()], ..SecureBoot::default() };
        let said = |wanted| SecureBoot { site_key: told.find(wanted), ..told.clone() }.to_string();
        assert_eq!(said(None), "on");
        assert_eq!(said(Some("aa")), "on; the site's key is enrolled");
        assert!(said(Some("bb")).contains("in shim"));
        assert!(said(Some("cc")).contains("not enrolled") && said(Some("cc")).contains("db.cer"));
    }
}
