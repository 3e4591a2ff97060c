//! Groundstate's network boot layer: how an endpoint's firmware reaches the recovery system.
//!
//! Four ports, one decision. Whatever a firmware asks, on DHCP (67), on the boot server port (4011), over TFTP (69)
//! or over HTTP (80), is first turned into a [`BootRequest`]; a [`BootPolicy`], which the appliance implements from its
//! boot tickets, answers with a [`BootDecision`]; pure code makes the reply; sockets stand outside.
//!
//! ```text
//!   firmware ──► socket ──► tolerant walk ──► classify ──► BootPolicy::decide ──► reply ──► socket ──► firmware
//!                   │                                                               │
//!                   └──────────────────── BootEvents (what was seen, done, refused) ┘
//! ```
//!
//! Words: *boot decision* (recovery system, local disk, nothing), *boot kit* (the artefacts served), *chain* (the
//! order of loaders that leads to the recovery system), *mode* (what an interface may answer).
//!
//! This package never: reads a path that a client named, accepts an upload, redirects, fetches anything for a client,
//! puts a secret into an answer (whoever can spoof a MAC address can read all of it), or answers an endpoint for which
//! the policy said nothing.

pub mod artefact;
pub mod chains;
pub mod client;
pub mod config;
pub mod dhcp;
pub mod dhcp6;
pub mod event;
mod gate;
pub mod http;
mod ndp;
mod net;
pub mod policy;
pub mod script;
mod server;
pub mod syslog;
pub mod tftp;
pub mod trace;
pub mod whois;

pub use artefact::{Artefact, Artefacts};
pub use client::{Arch, Client, ClientClass, Mac, MachineId};
pub use config::{Config, ConfigError, DhcpMode, Interface, Ports, Unarmed};
pub use event::{BootEvent, BootEvents, Refusal};
pub use policy::{Boot, BootDecision, BootPolicy, BootRequest, Chain, OfferStyle, Stage};
pub use server::{BindError, ServeError, Server};
