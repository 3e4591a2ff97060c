//! What somebody has open for long, such as a stream of events: it ends with what let them in.
//!
//! A request is asked about once, when it comes. A stream outlives that: its session may be left, ended by another, idle, or its owner shut out. So it asks
//! again whenever that may be, and before each event.
//!
//! It must never: keep a session young.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use recovery_protocol::people::Permission;
use tokio::sync::watch;

use super::{Gate, Who};
use crate::service::Service;

/// A session that is idle, or a token whose time is over, is seen after so long.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Somebody, and what they have open.
pub struct Open {
    gate: Arc<Gate>,
    service: Service,
    who: Who,
    from: IpAddr,
    ended: watch::Receiver<u64>,
}

impl Open {
    /// From now on.
    pub fn new(gate: Arc<Gate>, service: Service, who: Who, from: IpAddr) -> Self {
        let ended = gate.inside().ended.subscribe();
        Self { gate, service, who, from, ended }
    }

    /// Whether they may still look.
    pub fn lives(&self) -> bool {
        self.gate.lets_in(&self.who, self.from, self.service.now())
    }

    /// Ends when they may not any more. May be dropped at any time.
    pub async fn over(&mut self) {
        while self.lives() {
            tokio::select! {
                // The gate lives as long as this.
                _ = self.ended.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}

impl Gate {
    /// Whether what let somebody in does so still. Nobody was here by that.
    fn lets_in(&self, who: &Who, from: IpAddr, at: u64) -> bool {
        let inside = self.inside();
        if who.session.is_some_and(|cookie| inside.sessions.look(&cookie, Instant::now()).is_none()) {
            return false;
        }
        if who.key == self.token {
            return true;
        }
        let known = inside.known.iter().find(|known| {
            let shown =
                || known.certificate.as_ref().is_some_and(|(own, _, ends)| *own == who.key && at < *ends);
            known.name == who.name && (known.opened(&who.key, at) || (shown() && !known.unbelieved(at)))
        });
        known.is_some_and(|known| {
            known.role.may(Permission::Look) && known.who(who.key, false).here(from).is_ok()
        })
    }
}
