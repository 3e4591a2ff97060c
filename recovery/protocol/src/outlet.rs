//! Switched power outlets that speak HTTP or SNMP, as one word: what a sheet, a command line and a database write of one.
//!
//! ```text
//! outlet = kind "+http" ["s"] "://" [user "@"] host [":" port] "/" number ["#" password-file]
//!        / snmp-kind "+snmp://" host [":" port] "/" number "#" directory "/snmp.conf"
//! kind   = "shelly" / "tasmota" / "netio"
//! snmp-kind = "apc" / "raritan"
//! ```
//!
//! `tasmota+http://admin@10.8.0.40/1#/var/lib/groundstate/outlet` is the first relay of a Tasmota device, whose password lies in that file on the
//! appliance.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What an outlet speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutletKind {
    /// Shelly, second generation and later: `/rpc/Switch.Set`. Outlets count from 0.
    Shelly,
    /// Tasmota: `/cm?cmnd=Power1`. Outlets count from 1.
    Tasmota,
    /// NETIO: `/netio.json`. Outlets count from 1.
    Netio,
    /// APC's rack PDUs over SNMP: PowerNet-MIB, rPDU. Outlets count from 1.
    Apc,
    /// Raritan's over SNMP: PDU2-MIB, its first unit. Outlets count from 1.
    Raritan,
}

impl OutletKind {
    fn speaks_snmp(self) -> bool {
        matches!(self, Self::Apc | Self::Raritan)
    }
}

/// One outlet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Outlet {
    /// What it speaks.
    pub kind: OutletKind,
    /// `http://10.8.0.40`, without a path.
    pub base: String,
    /// Which of the device's outlets, as it counts them.
    pub number: u8,
    /// User name, where it wants one.
    pub user: Option<String>,
    /// File on the appliance that holds the password, never the password itself; over SNMP net-snmp's own `snmp.conf`, with version,
    /// community or user and keys.
    pub password_file: Option<String>,
}

/// Why a text is no outlet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no power outlet; write it as tasmota+http://10.8.0.40/1 (or shelly+, netio+), with USER@ in front of the address and \
     #PASSWORD_FILE at the end where it wants a password; over SNMP as apc+snmp://10.8.0.40/1#/DIRECTORY/snmp.conf (or raritan+), where \
     that file says who we are, as net-snmp has it"
)]
pub struct NoOutlet(String);

const KINDS: [(&str, OutletKind); 5] = [
    ("shelly+", OutletKind::Shelly),
    ("tasmota+", OutletKind::Tasmota),
    ("netio+", OutletKind::Netio),
    ("apc+", OutletKind::Apc),
    ("raritan+", OutletKind::Raritan),
];
/// As net-snmp wants its file to be called.
const SNMP_CONF: &str = "/snmp.conf";

impl FromStr for Outlet {
    type Err = NoOutlet;

    fn from_str(text: &str) -> Result<Self, NoOutlet> {
        let wrong = || NoOutlet(text.chars().filter(|c| !c.is_control()).take(200).collect());
        let of_kind = |(word, kind): &(&str, OutletKind)| Some((*kind, text.strip_prefix(word)?));
        let (kind, url) = KINDS.iter().find_map(of_kind).ok_or_else(wrong)?;
        let (url, password_file) = url.split_once('#').map_or((url, None), |(url, file)| (url, Some(file)));
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let (authority, number) = rest.rsplit_once('/').ok_or_else(wrong)?;
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
        let named = |text: &str| !text.is_empty() && text.chars().all(|c| !c.is_control() && c != ' ');
        let right_way = match kind.speaks_snmp() {
            true => {
                scheme == "snmp"
                    && user.is_none()
                    && password_file.is_some_and(|file| file.ends_with(SNMP_CONF))
            }
            false => matches!(scheme, "http" | "https"),
        };
        let good = right_way
            && !host.is_empty()
            && host.chars().all(plain)
            && user.is_none_or(|user| named(user) && !user.contains(['/', '@', ':']))
            && password_file.is_none_or(|file| named(file) && file.starts_with('/'));
        if !good {
            return Err(wrong());
        }
        Ok(Self {
            kind,
            base: format!("{scheme}://{host}"),
            number: number.parse().map_err(|_| wrong())?,
            user: user.map(str::to_owned),
            password_file: password_file.map(str::to_owned),
        })
    }
}

impl fmt::Display for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("", |(word, _)| word);
        let (scheme, host) = self.base.split_once("://").unwrap_or(("http", &self.base));
        write!(f, "{word}{scheme}://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        write!(f, "{host}/{}", self.number)?;
        match &self.password_file {
            Some(file) => write!(f, "#{file}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Outlet {
    type Error = NoOutlet;

    fn try_from(text: String) -> Result<Self, NoOutlet> {
        text.parse()
    }
}

impl From<Outlet> for String {
    fn from(outlet: Outlet) -> Self {
        outlet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outlet_comes_back_and_what_is_none_is_refused() {
        for word in [
            "shelly+http://10.8.0.40/0",
            "tasmota+http://admin@10.8.0.40:8080/1#/keys/outlet",
            "netio+https://gs@pdu.plant/4#/keys/pdu",
            "tasmota+http://[fd00::1]/2",
            "apc+snmp://10.8.0.40/3#/keys/pdu/snmp.conf",
            "raritan+snmp://pdu.plant:1161/24#/keys/pdu/snmp.conf",
        ] {
            assert_eq!(word.parse::<Outlet>().unwrap().to_string(), word);
        }
        for word in [
            "",
            "http://10.8.0.40/1",
            "tasmota+ftp://10.8.0.40/1",
            "tasmota+http://10.8.0.40",
            "tasmota+http:///1",
            "tasmota+http://10.8.0.40/x",
            "tasmota+http://10.8.0.40/256",
            "tasmota+http://10.8.0.40/a/1",
            "tasmota+http://10.8.0.40?x/1",
            "tasmota+http://10.8.0.40/1#keys",
            "tasmota+http://a:b@10.8.0.40/1",
            "tasmota+snmp://10.8.0.40/1#/keys/snmp.conf",
            "apc+http://10.8.0.40/1#/keys/snmp.conf",
            "apc+snmp://10.8.0.40/1",
            "apc+snmp://10.8.0.40/1#/keys/pdu",
            "apc+snmp://gs@10.8.0.40/1#/keys/snmp.conf",
        ] {
            assert!(word.parse::<Outlet>().is_err(), "{word}");
        }
    }
}
