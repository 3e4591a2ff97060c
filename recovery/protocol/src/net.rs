//! The boot network as people and scripts see it: each endpoint's boot, hop by hop, and what is the matter with it.
//!
//! | call | in → out |
//! |---|---|
//! | `GET /api/v1/net` | → [`NetView`]: every endpoint on record and every stranger that was seen, without hops |
//! | `POST /api/v1/net/probe` | → [`NetView`], after every interface was asked who else serves boots on it |
//! | `GET /api/v1/net/{endpoint}` | → [`BootView`] with its hops; unknown: 404 `unknown-endpoint` |
//!
//! Names (steps, outcomes, causes, chains) are stable words of the boot layer; texts are for people and change.

use serde::{Deserialize, Serialize};

use crate::ids::{EndpointId, MacAddr};

/// The boot network in one look.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetView {
    /// The interfaces that are served.
    pub interfaces: Vec<InterfaceView>,
    /// Other DHCP and boot servers heard of since the start.
    pub servers: Vec<ForeignView>,
    /// Addresses of the appliance's pools that somebody uses without a lease; each is an alarm.
    #[serde(default)]
    pub addresses_in_use: Vec<AddressInUseView>,
    /// The endpoints: trouble first, then by name.
    pub endpoints: Vec<BootView>,
}

/// One interface of the appliance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InterfaceView {
    /// Its name.
    pub name: String,
    /// The appliance's address on it.
    pub address: String,
    /// `observe`, `proxy` or `full`.
    pub mode: String,
}

/// A DHCP or boot server that is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ForeignView {
    /// The appliance's address on the interface where it was heard of.
    pub interface: String,
    /// Its address.
    pub server: String,
    /// It gives addresses.
    pub gives_addresses: bool,
    /// It names a boot file, or speaks as a boot server.
    pub boots: bool,
    /// When it was heard of first, milliseconds since 1970.
    pub first_unix_ms: u64,
    /// When it was heard of last.
    pub last_unix_ms: u64,
    /// How often.
    pub count: u64,
    /// It is in the way.
    pub alarm: bool,
    /// Stable name of what it is: `other-boot-server`, `dhcp-in-full-mode`, `second-dhcp-server`, or `site-dhcp`, which is as it should be.
    #[serde(default)]
    pub code: String,
    /// What it means, in a sentence.
    pub what: String,
}

/// An address of the appliance's pool, or one that is reserved, in use by somebody who has no lease of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AddressInUseView {
    /// The appliance's address on the interface.
    pub interface: String,
    /// The address.
    pub address: String,
    /// Who uses it.
    pub by: MacAddr,
    /// Who has a lease of it: the two disturb each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<MacAddr>,
    /// When it was found first, milliseconds since 1970.
    pub first_unix_ms: u64,
    /// When it was found last.
    pub last_unix_ms: u64,
    /// How often.
    pub count: u64,
    /// What it means and what to do, in a sentence.
    pub what: String,
}

/// One endpoint's boot: its newest attempt, how earlier ones ended, and what is the matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BootView {
    /// Its name; absent for a stranger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointId>,
    /// The Ethernet address that the newest attempt came from; absent when nothing was seen of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// What it says it is: architecture and class.
    pub firmware: String,
    /// The chain of loaders that this attempt takes, once it came to a file: `ipxe`, `shim`, `uefi-http`, `bios`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// The chain that is offered next and why, in a sentence.
    pub offer: String,
    /// Stable name of why: `set` (by a person), `worked`, `first`, `others` (failed), `again`, `none` (is left); empty where nothing is offered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub offer_code: String,
    /// The chain that is offered next, by its stable name; empty where none is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub offer_chain: String,
    /// How the chains did on it so far; left out of lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chains: Vec<ChainView>,
    /// It holds a live boot ticket.
    pub ticket: bool,
    /// When this attempt began, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_unix_ms: Option<u64>,
    /// When anything was seen of it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_unix_ms: Option<u64>,
    /// The last step that was done.
    pub reached: String,
    /// What is the matter.
    pub diagnosis: BootDiagnosis,
    /// The hops, oldest first; left out of lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<HopView>,
    /// How earlier attempts ended, oldest first; left out of lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierView>,
    /// What its loaders said of themselves, oldest first; left out of lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<SaidView>,
}

/// How one chain did on one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChainView {
    /// Its stable name.
    pub chain: String,
    /// When it led to the agent last, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worked_unix_ms: Option<u64>,
    /// When it failed since then, oldest first; the last few.
    pub failed_unix_ms: Vec<u64>,
}

/// What is the matter with a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BootDiagnosis {
    /// Stable name of the cause, such as `loader-refused`.
    pub code: String,
    /// `fine`, `waiting` or `trouble`.
    pub level: String,
    /// The step that did not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// What was seen and what it likely means.
    pub cause: String,
    /// What to do; empty when nothing.
    pub remedy: String,
    /// What else was noticed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The same by stable names, in the same order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub noticed: Vec<NoticedView>,
}

/// Something else that was noticed of a boot, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NoticedView {
    /// `held-back` (by the switch), `relayed`, `second-dhcp`, `second-boot-server`.
    pub code: String,
    /// Seconds that it was held back, or the address of the relay or server.
    pub value: String,
}

impl BootDiagnosis {
    /// Whether a person should act.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        self.level == "trouble"
    }
}

/// One hop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HopView {
    /// `discover`, `offer`, `request`, `4011`, `options`, `loader`, `second-stage`, `config`, `kernel`, `initrd`, `agent`.
    pub step: String,
    /// When it began first, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// When it was seen last or ended.
    pub until_unix_ms: u64,
    /// How often.
    pub count: u32,
    /// Bytes that reached the endpoint.
    pub bytes: u64,
    /// `done`, `underway`, `size-asked`, `refused`, `broken`.
    pub outcome: String,
    /// File, class, address, or why not.
    pub what: String,
}

/// How an earlier attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EarlierView {
    /// When it began, milliseconds since 1970.
    pub begun_unix_ms: u64,
    /// When its last hop was.
    pub last_unix_ms: u64,
    /// Its chain, if it came to a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// The last step that was done.
    pub reached: String,
    /// What was the matter.
    pub cause: String,
    /// Stable name of the cause, as in [`BootDiagnosis`].
    #[serde(default)]
    pub code: String,
}

/// One line of a loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SaidView {
    /// When, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// What.
    pub text: String,
}
