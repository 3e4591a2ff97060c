//! What the boot layer did, counted by protocol and outcome, for `/metrics`.
//!
//! Labels are from closed lists: no client can make up another one. It must never: name an endpoint.

use std::collections::BTreeMap;

use pxe::{
    BootEvent, Stage,
    event::{Abort, Protocol},
};

/// Counters since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// By protocol and outcome.
    pub outcomes: BTreeMap<(&'static str, &'static str), u64>,
    /// Bytes of boot files that reached endpoints, by protocol.
    pub bytes: BTreeMap<&'static str, u64>,
    /// Boots by chain and outcome.
    pub boots: BTreeMap<(&'static str, &'static str), u64>,
}

impl Counts {
    /// Counts one event.
    pub fn note(&mut self, event: &BootEvent) {
        let (protocol, outcome) = outcome(event);
        *self.outcomes.entry((protocol, outcome)).or_default() += 1;
        if let BootEvent::TransferFinished { bytes, .. } | BootEvent::TransferAborted { bytes, .. } = event {
            *self.bytes.entry(protocol).or_default() += bytes;
        }
    }

    /// Counts the end of a boot.
    pub fn boot(&mut self, chain: &'static str, worked: bool) {
        *self.boots.entry((chain, if worked { "worked" } else { "failed" })).or_default() += 1;
    }
}

fn outcome(event: &BootEvent) -> (&'static str, &'static str) {
    let files = |protocol: &Protocol| match protocol {
        Protocol::Tftp => "tftp",
        Protocol::Http => "http",
    };
    match event {
        BootEvent::DiscoverSeen { .. } => ("dhcp", "discover"),
        BootEvent::OfferSent { .. } => ("dhcp", "offer"),
        BootEvent::AckSent { stage: Stage::BootServer, .. } => ("dhcp", "boot-server-ack"),
        BootEvent::AckSent { .. } => ("dhcp", "ack"),
        BootEvent::NakSent { .. } => ("dhcp", "nak"),
        BootEvent::ForeignDhcpServer { .. } | BootEvent::ForeignOffer { .. } => ("dhcp", "foreign"),
        BootEvent::TransferStarted { protocol, .. } => (files(protocol), "started"),
        BootEvent::TransferFinished { protocol, .. } => (files(protocol), "finished"),
        BootEvent::TransferAborted { protocol, reason: Abort::Probe, .. } => (files(protocol), "size-asked"),
        BootEvent::TransferAborted { protocol, .. } => (files(protocol), "aborted"),
        BootEvent::Refused { stage, reason, .. } if reason.is_ordinary() => (stage.protocol(), "passed-over"),
        BootEvent::Refused { stage, .. } => (stage.protocol(), "refused"),
        BootEvent::AddressInUse { .. } => ("dhcp", "address-in-use"),
        BootEvent::LoaderSaid { .. } => ("syslog", "line"),
    }
}
