//! The one gate through which every request for a boot file goes, over TFTP and over HTTP.
//!
//! Address to client, client to decision, decision to file. Nothing here differs by protocol but the stage that the
//! policy is told.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::artefact::{Artefact, Artefacts};
use crate::event::{BootEvent, BootEvents, Refusal, clean};
use crate::policy::{BootDecision, BootPolicy, BootRequest, Stage};
use crate::whois::Whois;

/// Everything that the protocols share.
pub(crate) struct Gate {
    pub policy: Arc<dyn BootPolicy>,
    pub events: Arc<dyn BootEvents>,
    pub whois: Arc<Whois>,
    pub artefacts: Artefacts,
}

impl Gate {
    /// The file named `raw` for the client at `from`, if it holds a ticket.
    pub(crate) fn artefact(
        &self,
        from: Ipv4Addr,
        stage: Stage,
        interface: Ipv4Addr,
        raw: &[u8],
    ) -> Result<(BootRequest, &Artefact), Refusal> {
        let client = self.whois.lookup(from).ok_or(Refusal::UnknownClient)?;
        let request = BootRequest { client, stage, interface };
        match self.policy.decide(&request) {
            BootDecision::RecoverySystem(_) => {}
            BootDecision::LocalDisk | BootDecision::AddressOnly => return Err(Refusal::NoTicket),
            BootDecision::Nothing => return Err(Refusal::Muted),
        }
        let artefact = self.artefacts.find(raw).ok_or_else(|| Refusal::NotFound(clean(raw)))?;
        Ok((request, artefact))
    }

    pub(crate) fn tell(&self, event: BootEvent) {
        self.events.event(event);
    }
}
