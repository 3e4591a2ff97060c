//! Groups of endpoints: how far a trigger may go, and how much at once.

use std::{collections::BTreeMap, path::PathBuf};

use recovery_protocol::selector::{self, Selector};
use serde::Deserialize;

use super::{Wrong, window::Window};
use crate::agents::Subnet;

/// How far a trigger may go in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupMode {
    /// Written down, nothing done.
    #[default]
    Observe,
    /// The endpoint is marked suspect and no longer trusted; no recovery starts.
    Quarantine,
    /// A job is proposed and waits for a person.
    Approve,
    /// A job starts by itself, inside the guard rails.
    Auto,
}

impl GroupMode {
    /// As in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Quarantine => "quarantine",
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }
}

/// A group of endpoints: mode and guard rails.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Group {
    /// How far a trigger may go.
    pub mode: GroupMode,
    /// Endpoints of this group in recovery at once, held ones included.
    pub max_concurrent: u32,
    /// Of the endpoints of this group, how many in a hundred may be in recovery at once, rounded down.
    pub max_share_percent: u32,
    /// Recoveries begun in any hour.
    pub max_per_hour: u32,
    /// Seconds after a recovery in which no trigger starts another.
    pub cool_down_s: u32,
    /// 0 generic; 1 operator station: never automatic; 2 engineering or gateway: a second person approves;
    /// 3 safety-related: as 2, and triggers only inform.
    pub safety_class: u8,
    /// Failed or held jobs of the group within an hour that stop all triggers until a person looked.
    pub breaker_failures: u32,
    /// Endpoints of the group whose integrity failed within 15 minutes that mean "not an attack but a rollout".
    pub common_mode: u32,
    /// When recoveries may begin by themselves, as in `Mon-Fri 22:00-05:00`; empty: at any time. Outside they wait for a person.
    pub windows: Vec<Window>,
    /// Seconds after its image was approved in which no recovery begins by itself.
    pub quiet_after_release_s: u32,
    /// Recoveries of one endpoint that begin by themselves within 24 hours.
    pub max_auto_per_day: u32,
    /// Who must permit that an endpoint of it is taken down, whoever orders it.
    pub permit: Option<Permit>,
    /// Its endpoints may be drilled, if their records and their blueprint say so too.
    pub drill_zone: bool,
    /// Networks in which its drills are served, as `["10.78.0.0/24"]`: an order of a drill goes to no address outside. Empty: wherever the group is.
    pub drill_networks: Vec<Subnet>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            mode: GroupMode::Observe,
            max_concurrent: 4,
            max_share_percent: 100,
            max_per_hour: 12,
            cool_down_s: 6 * 3600,
            safety_class: 0,
            breaker_failures: 3,
            common_mode: 3,
            windows: Vec::new(),
            quiet_after_release_s: 3600,
            max_auto_per_day: 2,
            permit: None,
            drill_zone: false,
            drill_networks: Vec::new(),
        }
    }
}

/// Another system of the site, which is asked ([`crate::permit`]).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permit {
    /// `https://…`; it is asked with `?endpoint=<name>`.
    pub url: String,
    /// The authority that signed its certificate (PEM). Default: those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// File with a bearer token that it wants.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
}

/// Endpoints that can stand in for each other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redundancy {
    /// Members that must stay healthy when one is taken down.
    #[serde(default = "one")]
    pub min_healthy: u32,
    /// Who belongs to it, beside those whose record names it.
    #[serde(default)]
    pub selector: Option<Selector>,
}

fn one() -> u32 {
    1
}

/// By TLS, or not over a network at all.
fn is_private(url: &str) -> bool {
    let Ok(url) = url.parse::<axum::http::Uri>() else { return false };
    let own = url
        .host()
        .and_then(|host| host.parse::<std::net::IpAddr>().ok())
        .is_some_and(|host| host.is_loopback());
    url.scheme_str() == Some("https") || url.scheme_str() == Some("http") && own
}

/// Whether something could be recovered in each of them.
pub(super) fn check(groups: &BTreeMap<String, Group>) -> Result<(), Wrong> {
    for (name, group) in groups {
        let at = |key: &str| vec!["groups".to_owned(), name.clone(), key.to_owned()];
        if group.safety_class > 3 {
            return Err(Wrong::new(at("safety_class"), "knows classes 0 to 3", "write 0, 1, 2 or 3"));
        }
        if group.max_share_percent > 100 {
            let why = "is more than the whole group";
            return Err(Wrong::new(at("max_share_percent"), why, "write 1 to 100"));
        }
        if let Some(permit) = &group.permit
            && !is_private(&permit.url)
        {
            let why = "is no https address: anybody on the way could give the permit";
            return Err(Wrong::new(at("permit"), why, "write url = \"https://…\""));
        }
        for (key, value) in [
            ("max_concurrent", group.max_concurrent),
            ("max_per_hour", group.max_per_hour),
            ("max_share_percent", group.max_share_percent),
        ] {
            if value == 0 {
                return Err(Wrong::new(at(key), "is 0, so no recovery could start", "write at least 1"));
            }
        }
    }
    Ok(())
}

/// Whether records can name each of them, and each keeps somebody up.
pub(super) fn check_redundancy(groups: &BTreeMap<String, Redundancy>) -> Result<(), Wrong> {
    for (name, group) in groups {
        let key = vec!["redundancy".to_owned(), name.clone(), "min_healthy".to_owned()];
        if !selector::is_word(name) {
            return Err(Wrong::new(
                key,
                "belongs to a name that no record can have",
                "use letters, digits and `-`",
            ));
        }
        if group.min_healthy == 0 {
            return Err(Wrong::new(
                key,
                "is 0, so nobody need stay up",
                "write at least 1, or leave the group out",
            ));
        }
    }
    Ok(())
}
