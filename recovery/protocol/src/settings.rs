//! What belongs to one endpoint and not to its image: its name, its addresses.
//!
//! A person puts it on record, the order carries it, the agent places it on the restored disk, and the restored system
//! takes it at its first start. It is typed, so an order can name a host and its addresses and nothing else: no command, no
//! file. It must never hold a secret.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ids::MacAddr;

/// Interfaces of an endpoint, at most.
const INTERFACES_MOST: usize = 16;
/// Addresses, gateways or name servers of an interface, at most.
const ADDRESSES_MOST: usize = 16;

/// What belongs to one endpoint and not to its image. Empty: it starts as the image is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EndpointSettings {
    /// Its host name (RFC 1123, section 2.1), with or without a domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its interfaces; those that are not named stay as the image has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceSettings>,
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InterfaceSettings {
    /// Which.
    pub mac: MacAddr,
    /// Its addresses; none: by DHCP.
    #[serde(default)]
    pub addresses: Vec<InterfaceAddress>,
    /// Its gateways, at most one of each family.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
    /// Its name servers.
    #[serde(default)]
    pub dns: Vec<IpAddr>,
}

/// An address and the length of its network's prefix, as in `10.7.3.21/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Bits of its network.
    pub prefix: u8,
}

/// Why settings are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not an address with a prefix.
    #[error("`{text}` is not an address with its prefix; write it as 10.7.3.21/24")]
    Address {
        /// What was given.
        text: String,
    },
    /// An address that no interface has.
    #[error("{address} cannot be the address of an interface; it is a network's, a group's, or nobody's")]
    NotOwn {
        /// The address.
        address: InterfaceAddress,
    },
    /// Not a host name.
    #[error(
        "`{name}` is not a host name; letters, digits and `-`, at most 64 with its dots, no `-` at an end, not only digits, not localhost"
    )]
    Hostname {
        /// What was given.
        name: String,
    },
    /// A gateway that cannot be reached.
    #[error("the gateway {gateway} is in none of the networks of {mac}; name one that its addresses reach")]
    Gateway {
        /// The gateway.
        gateway: IpAddr,
        /// The interface.
        mac: MacAddr,
    },
    /// More than one gateway of a family.
    #[error("{mac} has two gateways of the same family; name one")]
    Gateways {
        /// The interface.
        mac: MacAddr,
    },
    /// An interface twice.
    #[error("{mac} is named twice; name each interface once")]
    Twice {
        /// The interface.
        mac: MacAddr,
    },
    /// Too many.
    #[error(
        "more than {INTERFACES_MOST} interfaces, or {ADDRESSES_MOST} addresses of one; that is no endpoint"
    )]
    TooMany,
}

impl EndpointSettings {
    /// Where the restored system finds them on its EFI system partition.
    pub const ESP_PATH: &'static str = "EFI/groundstate/settings.json";

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a restored system can live by them.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), SettingsError> {
        if let Some(name) = self.hostname.as_ref().filter(|name| !is_hostname(name)) {
            return Err(SettingsError::Hostname { name: name.clone() });
        }
        if self.interfaces.len() > INTERFACES_MOST {
            return Err(SettingsError::TooMany);
        }
        for (at, interface) in self.interfaces.iter().enumerate() {
            if self.interfaces[..at].iter().any(|before| before.mac == interface.mac) {
                return Err(SettingsError::Twice { mac: interface.mac });
            }
            interface.check()?;
        }
        Ok(())
    }

    /// NoCloud `meta-data`: who this is. `instance` is another for each restore, so that it counts as a first start.
    #[must_use]
    pub fn meta_data(&self, instance: &str) -> String {
        let mut data = json!({ "instance-id": instance });
        if let Some(name) = &self.hostname {
            data["local-hostname"] = json!(name);
        }
        format!("{data}\n")
    }

    /// NoCloud `user-data`: nothing but that the name above is the one that counts.
    #[must_use]
    pub fn user_data(&self) -> String {
        let own = self.hostname.is_some();
        format!("#cloud-config\n{}\n", json!({ "preserve_hostname": !own, "manage_etc_hosts": own }))
    }

    /// NoCloud `network-config`, version 2; nothing when no interface is named. JSON is YAML.
    #[must_use]
    pub fn network_config(&self) -> Option<String> {
        if self.interfaces.is_empty() {
            return None;
        }
        let mut ethernets = serde_json::Map::new();
        for (number, interface) in self.interfaces.iter().enumerate() {
            let to = |gateway: &IpAddr| if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            let routes: Vec<_> =
                interface.gateways.iter().map(|via| json!({ "to": to(via), "via": via })).collect();
            let body = json!({
                "match": { "macaddress": interface.mac.to_string() },
                "dhcp4": interface.addresses.is_empty(),
                "addresses": interface.addresses,
                "routes": routes,
                "nameservers": { "addresses": interface.dns },
            });
            ethernets.insert(format!("groundstate{number}"), body);
        }
        Some(format!("{}\n", json!({ "version": 2, "ethernets": ethernets })))
    }
}

impl InterfaceSettings {
    fn check(&self) -> Result<(), SettingsError> {
        let lists = [self.addresses.len(), self.gateways.len(), self.dns.len()];
        if lists.into_iter().any(|len| len > ADDRESSES_MOST) {
            return Err(SettingsError::TooMany);
        }
        if let Some(address) = self.addresses.iter().find(|address| !address.is_own()) {
            return Err(SettingsError::NotOwn { address: *address });
        }
        let families: Vec<bool> = self.gateways.iter().map(IpAddr::is_ipv4).collect();
        if families.len() > 2 || matches!(families[..], [a, b] if a == b) {
            return Err(SettingsError::Gateways { mac: self.mac });
        }
        let reached = |gateway: &IpAddr| self.addresses.iter().any(|own| own.reaches(gateway));
        match self.gateways.iter().find(|gateway| !reached(gateway)) {
            Some(gateway) => Err(SettingsError::Gateway { gateway: *gateway, mac: self.mac }),
            None => Ok(()),
        }
    }

    /// The `.network` file of systemd-networkd.
    #[must_use]
    pub fn networkd(&self) -> String {
        // A bridge or a VLAN has the address of its port, and is of another type.
        let mut text = format!("[Match]\nMACAddress={}\nType=ether wlan\n\n[Network]\n", self.mac);
        if self.addresses.is_empty() {
            text.push_str("DHCP=yes\n");
        }
        let mut lines = |key: &str, value: String| text.push_str(&format!("{key}={value}\n"));
        self.addresses.iter().for_each(|address| lines("Address", address.to_string()));
        self.gateways.iter().for_each(|gateway| lines("Gateway", gateway.to_string()));
        self.dns.iter().for_each(|server| lines("DNS", server.to_string()));
        text
    }
}

impl InterfaceAddress {
    /// The address as a number, its width in bits, and the bits of its network's prefix.
    fn bits(address: &IpAddr) -> (u128, u32) {
        match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        }
    }

    fn network(address: &IpAddr, prefix: u8) -> u128 {
        let (number, width) = Self::bits(address);
        number.checked_shr(width.saturating_sub(u32::from(prefix))).unwrap_or(0)
    }

    /// Whether a host can have it.
    fn is_own(&self) -> bool {
        let (number, width) = Self::bits(&self.address);
        let host_bits = width - u32::from(self.prefix).min(width);
        let host = number & 1_u128.checked_shl(host_bits).map_or(u128::MAX, |bit| bit - 1);
        // The first and, in IPv4, the last address of a network are no host's (RFC 1122, section 3.2.1.3; RFC 3021 for /31).
        let edge = host_bits > 1 && (host == 0 || (width == 32 && host == (1 << host_bits) - 1));
        let nobody =
            self.address.is_unspecified() || self.address.is_multicast() || self.address.is_loopback();
        !edge && !nobody && self.prefix > 0
    }

    /// Whether the other one is a neighbour; an IPv6 gateway may have a link-local address.
    fn reaches(&self, other: &IpAddr) -> bool {
        let link_local = matches!(other, IpAddr::V6(v6) if v6.is_unicast_link_local());
        self.address.is_ipv4() == other.is_ipv4()
            && *other != self.address
            && (link_local || Self::network(other, self.prefix) == Self::network(&self.address, self.prefix))
    }
}

impl FromStr for InterfaceAddress {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || SettingsError::Address { text: text.to_owned() };
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        match u32::from(prefix) <= Self::bits(&address).1 {
            true => Ok(Self { address, prefix }),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl TryFrom<String> for InterfaceAddress {
    type Error = SettingsError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<InterfaceAddress> for String {
    fn from(address: InterfaceAddress) -> Self {
        address.to_string()
    }
}

fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // Longer ones are names in DNS, but no kernel takes them (sethostname(2)).
    let own =
        !name.eq_ignore_ascii_case("localhost") && !name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    name.len() <= 64 && own && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press() -> EndpointSettings {
        EndpointSettings {
            hostname: Some("press-01.line3.plant".to_owned()),
            interfaces: vec![InterfaceSettings {
                mac: "52:54:00:12:34:56".parse().unwrap(),
                addresses: vec!["10.7.3.21/24".parse().unwrap(), "fd00:7::21/64".parse().unwrap()],
                gateways: vec!["10.7.3.1".parse().unwrap(), "fe80::1".parse().unwrap()],
                dns: vec!["10.7.0.2".parse().unwrap()],
            }],
        }
    }

    #[test]
    fn what_an_endpoint_can_live_by_is_taken_and_written_as_its_system_reads_it() {
        let settings = press();
        settings.check().unwrap();
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<EndpointSettings>(&text).unwrap(), settings);
        assert!(EndpointSettings::default().is_empty() && !settings.is_empty());
        assert_eq!(
            settings.interfaces[0].networkd(),
            "[Match]\nMACAddress=52:54:00:12:34:56\nType=ether wlan\n\n[Network]\nAddress=10.7.3.21/24\nAddress=fd00:7::21/64\n\
             Gateway=10.7.3.1\nGateway=fe80::1\nDNS=10.7.0.2\n"
        );
        let network: serde_json::Value = serde_json::from_str(&settings.network_config().unwrap()).unwrap();
        let interface = &network["ethernets"]["groundstate0"];
        assert_eq!((&network["version"], &interface["dhcp4"]), (&json!(2), &json!(false)));
        assert_eq!(interface["addresses"], json!(["10.7.3.21/24", "fd00:7::21/64"]));
        assert_eq!(interface["routes"][1], json!({ "to": "::/0", "via": "fe80::1" }));
        let meta: serde_json::Value = serde_json::from_str(&settings.meta_data("job-1")).unwrap();
        assert_eq!(meta, json!({ "instance-id": "job-1", "local-hostname": "press-01.line3.plant" }));
        assert!(settings.user_data().starts_with("#cloud-config\n{"));
        assert_eq!(EndpointSettings::default().network_config(), None);
    }

    #[test]
    fn an_interface_without_an_address_asks_for_one() {
        let mut settings = press();
        settings.interfaces[0] =
            InterfaceSettings { addresses: vec![], gateways: vec![], ..settings.interfaces[0].clone() };
        settings.check().unwrap();
        assert!(settings.interfaces[0].networkd().contains("\nDHCP=yes\n"));
        assert!(settings.network_config().unwrap().contains("\"dhcp4\":true"));
    }

    #[test]
    fn what_it_cannot_live_by_is_named() {
        let with = |change: fn(&mut EndpointSettings)| {
            let mut settings = press();
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        for name in [
            "",
            "-a",
            "a-",
            "a..b",
            "a_b",
            "press 1",
            "ä",
            "10.7.3.21",
            "LocalHost",
            &"a".repeat(64),
            &"a.".repeat(33),
        ] {
            let settings = EndpointSettings { hostname: Some(name.to_owned()), ..press() };
            assert!(matches!(settings.check(), Err(SettingsError::Hostname { .. })), "{name}");
        }
        for text in ["10.7.3.21", "10.7.3.21/33", "10.7.3/24", "fd00::1/129", "x/24", "10.7.3.21/"] {
            assert!(text.parse::<InterfaceAddress>().is_err(), "{text}");
        }
        for text in [
            "10.7.3.0/24",
            "10.7.3.255/24",
            "0.0.0.0/8",
            "224.0.0.1/24",
            "127.0.0.1/8",
            "fd00::/64",
            "10.7.3.1/0",
        ] {
            let address: InterfaceAddress = text.parse().unwrap();
            assert!(!address.is_own(), "{text}");
        }
        for text in ["10.7.3.0/31", "10.7.3.1/32", "fd00::1/128", "fd00::ffff/112", "10.7.3.254/24"] {
            assert!(text.parse::<InterfaceAddress>().unwrap().is_own(), "{text}");
        }
        assert!(with(|s| s.interfaces[0].gateways[0] = "10.8.0.1".parse().unwrap()).contains("10.8.0.1"));
        assert!(with(|s| s.interfaces[0].gateways[0] = "10.7.3.21".parse().unwrap()).contains("10.7.3.21"));
        assert!(with(|s| s.interfaces[0].gateways[1] = "10.7.3.2".parse().unwrap()).contains("two gateways"));
        assert!(with(|s| s.interfaces.push(s.interfaces[0].clone())).contains("twice"));
        assert!(with(|s| s.interfaces[0].dns = vec!["10.7.0.2".parse().unwrap(); 17]).contains("more than"));
    }
}
