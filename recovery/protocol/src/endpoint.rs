//! What a person puts on record of an endpoint, and how it is changed. Intended, never reported: what an endpoint says of itself is
//! its [`crate::agent::Inventory`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    agent::Inventory,
    ids::{EndpointId, MacAddr},
    outlet::Outlet,
    selector::Labels,
    settings::EndpointSettings,
};

/// Put an endpoint on record. Adding a name that exists with other facts is a conflict: see [`ChangeEndpoint`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    /// Its name.
    pub endpoint: EndpointId,
    /// Its Ethernet addresses.
    pub macs: Vec<MacAddr>,
    /// The blueprint it follows, from the configuration.
    pub blueprint: String,
    /// The group whose mode and guard rails apply.
    #[serde(default = "default_group")]
    pub group: String,
    /// The boot chain; `None`: as it is on record, and for a new endpoint chosen by the appliance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
    /// Its disk's serial number, where more than one could be meant.
    #[serde(default)]
    pub disk_serial: Option<String>,
    /// May be the target of a drill.
    #[serde(default)]
    pub drill_safe: bool,
    /// How it is switched on and off.
    #[serde(default)]
    pub power: Power,
    /// What belongs to it and not to its image; `None`: as it is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<EndpointSettings>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Its safety class, 0 to 3; the higher one of this and its group's counts.
    #[serde(default)]
    pub safety_class: u8,
    /// Those that can stand in for each other have the same word here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redundancy: Option<String>,
}

/// What an endpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A panel at the line.
    Hmi,
    /// Where process values are kept.
    Historian,
    /// A domain controller or another directory.
    Directory,
    /// An engineering workstation.
    Ews,
    /// A computer that is carried about.
    Laptop,
    /// A terminal that anybody may use.
    Kiosk,
    /// Anything else that serves others.
    #[serde(rename = "server")]
    Serves,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Hmi, Self::Historian, Self::Directory, Self::Ews, Self::Laptop, Self::Kiosk, Self::Serves];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hmi => "hmi",
            Self::Historian => "historian",
            Self::Directory => "directory",
            Self::Ews => "ews",
            Self::Laptop => "laptop",
            Self::Kiosk => "kiosk",
            Self::Serves => "server",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::ALL.map(Self::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no kind of endpoint; write one of {all}"))
    }
}

fn default_group() -> String {
    "default".to_owned()
}

/// Change what is on record of an endpoint: what is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ChangeEndpoint {
    /// All its Ethernet addresses from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs: Option<Vec<MacAddr>>,
    /// The blueprint it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blueprint: Option<String>,
    /// The group whose mode and guard rails apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The boot chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
    /// Its disk's serial number; empty: whichever fits, pinned by the next order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_serial: Option<String>,
    /// May be the target of a drill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill_safe: Option<bool>,
    /// How it is switched on and off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<Power>,
    /// What belongs to it and not to its image, all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<EndpointSettings>,
    /// Labels to set, and to take away (`null`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Its safety class, 0 to 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_class: Option<u8>,
    /// Those that can stand in for each other have the same word here; empty: none can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redundancy: Option<String>,
    /// Why, in the asker's words; goes into evidence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// An endpoint that is on record no more. Its jobs and its evidence stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RemovedEndpoint {
    /// The name, which may be given to another.
    pub endpoint: EndpointId,
    /// Certificates that were revoked.
    pub certificates_revoked: u64,
}

/// How firmware reaches the recovery system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Chain {
    /// The appliance chooses: what worked before, else by architecture (BIOS → iPXE, UEFI → iPXE and a UKI, UEFI HTTP Boot → the
    /// UKI), and the next chain after failed boots.
    #[default]
    Auto,
    /// UEFI with Secure Boot: Microsoft-signed shim, signed GRUB, signed kernel.
    Shim,
    /// iPXE, script and UKI; for Secure Boot off.
    Ipxe,
    /// UEFI HTTP Boot straight to the UKI.
    UefiHttp,
}

/// How an endpoint is switched on and off.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Power {
    /// A person at the endpoint.
    #[default]
    Person,
    /// IPMI 2.0 (RMCP+) through `ipmitool`.
    Ipmi {
        /// Address of the BMC.
        host: String,
        /// UDP port, usually 623.
        port: u16,
        /// User name.
        user: String,
        /// File on the appliance that holds the password; never the password itself.
        password_file: String,
    },
    /// Redfish (DSP0266) over HTTPS.
    Redfish {
        /// The BMC's address, such as `https://10.7.0.9`; where it has several systems, with the path of the one that is meant:
        /// `https://10.7.0.9/redfish/v1/Systems/1`.
        url: String,
        /// User name.
        user: String,
        /// File on the appliance that holds the password; never the password itself.
        password_file: String,
        /// SHA-256 of the certificate that the BMC shows (64 hex digits), where no authority of the appliance has signed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate_sha256: Option<String>,
    },
    /// Redfish as above, and the recovery system is a CD that the BMC fetches from the appliance and shows the endpoint: for one that
    /// cannot boot from the network, or behind [`Power::Redfish`] for when that failed.
    VirtualMedia {
        /// As of [`Power::Redfish`].
        url: String,
        /// User name.
        user: String,
        /// File on the appliance that holds the password; never the password itself.
        password_file: String,
        /// As of [`Power::Redfish`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate_sha256: Option<String>,
    },
    /// The check-in agent of its running system, which proved itself a moment ago: it has the firmware boot from the network once and
    /// reboots. A try: what does not run, does not prove itself or does not come is left to the next driver.
    InBand,
    /// A magic packet (Wake-on-LAN): switches on, and can do nothing else.
    WakeOnLan {
        /// Broadcast address of the endpoint's network.
        to: std::net::Ipv4Addr,
    },
    /// A switched power outlet: takes the power away and gives it back, and cannot choose what is booted.
    Outlet {
        /// Which.
        at: Outlet,
    },
    /// Several, tried in this order; none of them is again several.
    Several {
        /// The first is the one that is tried first.
        of: Vec<Power>,
    },
}

impl Power {
    /// Whether it is a person who switches the endpoint off.
    #[must_use]
    pub fn by_hand(&self) -> bool {
        match self {
            Self::Person | Self::WakeOnLan { .. } => true,
            Self::Ipmi { .. }
            | Self::Redfish { .. }
            | Self::VirtualMedia { .. }
            | Self::InBand
            | Self::Outlet { .. } => false,
            Self::Several { of } => of.iter().all(Self::by_hand),
        }
    }

    /// One of none, the one, or several in this order.
    #[must_use]
    pub fn first_of(mut of: Vec<Self>) -> Option<Self> {
        if of.len() > 1 { Some(Self::Several { of }) } else { of.pop() }
    }

    /// Each that is tried, in order.
    #[must_use]
    pub fn each(&self) -> &[Self] {
        match self {
            Self::Several { of } => of,
            one => std::slice::from_ref(one),
        }
    }
}

impl std::fmt::Debug for Power {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Person => f.write_str("a person"),
            Self::InBand => f.write_str("in-band"),
            Self::Ipmi { host, port, .. } => write!(f, "ipmi {host}:{port}"),
            Self::Redfish { url, .. } => write!(f, "redfish {url}"),
            Self::VirtualMedia { url, .. } => write!(f, "virtual CD {url}"),
            Self::WakeOnLan { to } => write!(f, "wake-on-lan {to}"),
            Self::Outlet { at } => write!(f, "outlet {at}"),
            Self::Several { of } => {
                let each: Vec<String> = of.iter().map(|one| format!("{one:?}")).collect();
                f.write_str(&each.join(", then "))
            }
        }
    }
}

/// Something that an endpoint is made of, as one of its systems told it. What nobody told is no fact: unknown is not zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HardwareFact {
    /// What of it: `memory`, `firmware`, `disk S4EV…`, `address 52:54:…`.
    pub fact: String,
    /// Its value, as people read it.
    pub value: String,
    /// Who told it.
    pub source: FactSource,
    /// Since when it has been told so, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// When it was told last, milliseconds since 1970.
    pub seen_unix_ms: u64,
}

/// Which of an endpoint's systems told a fact. What two of them tell is kept beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FactSource {
    /// The recovery system, which the appliance booted.
    RecoverySystem,
    /// The system on its disk.
    RestoredSystem,
}

impl FactSource {
    /// As people read it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::RecoverySystem => "the recovery system",
            Self::RestoredSystem => "the system on its disk",
        }
    }
}

/// What a sheet of endpoints would change, or has changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ImportPlan {
    /// The plan's hash: what is applied by it is exactly this.
    pub plan: String,
    /// It was applied.
    pub applied: bool,
    /// Endpoints that are put on record.
    pub adds: Vec<ImportLine>,
    /// Endpoints whose record is changed.
    pub changes: Vec<ImportLine>,
    /// Lines that say what is on record.
    pub unchanged: u64,
    /// What stands against lines that are well written.
    pub conflicts: Vec<ImportFault>,
    /// What is wrong with lines. With any of both nothing is applied.
    pub errors: Vec<ImportFault>,
}

/// A line of a sheet that does something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ImportLine {
    /// Its number in the file, from 1.
    pub line: u64,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The blueprint of a new one; the facts that are changed of another.
    pub what: String,
}

/// A line of a sheet that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ImportFault {
    /// Its number in the file, from 1.
    pub line: u64,
    /// The column, where it is one cell.
    pub column: String,
    /// What is wrong.
    pub what: String,
    /// What to do now.
    pub remedy: String,
}

/// Who came with an endpoint's address and is another one, by what it said of itself: a claim, nothing is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClaimView {
    /// When it came first, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// When it, or another one, came last.
    pub last_unix_ms: u64,
    /// How often.
    pub count: u64,
    /// What does not fit, in one sentence.
    pub why: String,
    /// SHA-256 of the EK that it claims; empty without a TPM.
    pub ek_sha256: String,
    /// What it said of itself.
    pub inventory: Inventory,
}

/// A person's word on an identity conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Resolution {
    /// `true`: the hardware was replaced, the claim is the endpoint from now on. `false`: the one on record stays, the other is refused.
    pub replace: bool,
    /// Why, in their words; goes into evidence.
    #[serde(default)]
    pub reason: String,
}
