//! Who asks, once the gate has let them in.

use std::net::IpAddr;

use ipnet::IpNet;
use recovery_protocol::{
    Problem,
    people::{Permission, Role},
    selector::Selector,
};

use super::Hash;
use crate::service::Actor;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Their name; `token` for the operator's token of the data directory.
    pub name: String,
    /// What they may.
    pub role: Role,
    /// About whom they may order something.
    pub(super) scope: Option<Selector>,
    /// From where their token counts; empty: from anywhere.
    pub(super) networks: Vec<IpNet>,
    /// Hash of the secret that let them in.
    pub(super) key: Hash,
    /// The hash of their session's cookie, where they came by one.
    pub(super) session: Option<Hash>,
    /// By a session of a kiosk, which many hands use.
    pub(super) kiosk: bool,
    /// That they are here shall be noted.
    pub note: bool,
}

impl Who {
    /// As it stands in evidence.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor { scope: self.scope.clone(), ..Actor::operator(&self.name) }
    }

    /// Whether their role may do that.
    #[must_use]
    pub fn may(&self, wanted: Permission) -> bool {
        self.role.may(wanted)
    }

    /// 403 `not-at-a-kiosk`: what would open the console from elsewhere, or another time, is not had from a badge and six digits.
    ///
    /// # Errors
    /// As above.
    pub fn at_own_computer(&self) -> Result<(), Problem> {
        if !self.kiosk {
            return Ok(());
        }
        let detail = "this session was opened with a badge at a kiosk, and ends there";
        let remedy = "sign in at your own computer, with your name and password or your token";
        Err(Problem::new(403, "not-at-a-kiosk", "Not at a kiosk", detail, remedy))
    }

    /// Whether a kiosk's session is what let them in.
    #[must_use]
    pub fn at_kiosk(&self) -> bool {
        self.kiosk
    }

    /// 403 `token-from-elsewhere` where their token does not count. An IPv4 address inside an IPv6 one is that address (RFC 4291 §2.5.5.2).
    pub(super) fn here(self, from: IpAddr) -> Result<Self, Problem> {
        let from = from.to_canonical();
        if self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&from)) {
            return Ok(self);
        }
        tracing::warn!(who = self.name, %from, "a token was used outside of its networks");
        let detail = format!("{} may not come from {from}", self.name);
        let remedy =
            "come from a network of theirs; an admin changes them with `groundstate person set --network`";
        Err(Problem::new(403, "token-from-elsewhere", "This does not count from here", detail, remedy))
    }
}
