//! Traces across a restart: what is worth keeping, and what it means when it comes back.
//!
//! Whoever keeps them chooses form and place. It must never: trust what comes back to be of the sizes that it had.

use super::{EARLIER_MOST, HOPS_MOST, KNOWN_MOST, Outcome, SAID_MOST, Trace, Traces};

impl Traces {
    /// The traces of endpoints on record, newest first, at most so many.
    #[must_use]
    pub fn newest(&self, most: usize) -> Vec<&Trace> {
        let mut traces: Vec<&Trace> = self.known.values().collect();
        traces.sort_by_key(|trace| (std::cmp::Reverse(trace.last()), trace.client.mac));
        traces.truncate(most);
        traces
    }

    /// Takes traces back. What has been seen since the start stays; a transfer that ran was broken by the restart.
    pub fn restore(&mut self, traces: Vec<Trace>) {
        for mut trace in traces {
            if self.known.len() >= KNOWN_MOST || self.get(&trace.client.mac).is_some() {
                continue;
            }
            trace.hops.drain(..trace.hops.len().saturating_sub(HOPS_MOST));
            trace.earlier.drain(..trace.earlier.len().saturating_sub(EARLIER_MOST));
            trace.said.drain(..trace.said.len().saturating_sub(SAID_MOST));
            for hop in trace.hops.iter_mut().filter(|hop| hop.outcome == Outcome::Underway) {
                hop.outcome = Outcome::Broken("the appliance was stopped".to_owned());
            }
            self.known.insert(trace.client.mac, trace);
        }
    }
}
