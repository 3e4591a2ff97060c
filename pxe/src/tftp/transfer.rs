//! One TFTP transfer as a machine without I/O: packets and time go in, packets to send come out.
//!
//! ```text
//!   Options ──ACK 0──► Data ──ACK of the last block──► Done(complete)
//!      │                │ ▲ │
//!      │ timer          │ └─┘ ACK: next window; timer: same window again, smaller
//!      ▼                ▼
//!   Done(silent)     Done(by peer | silent)
//! ```
//!
//! Rules that firmware forced on it:
//! - EDK2 acknowledges every block that it did not expect. A window is therefore sent again once for the first repeated
//!   acknowledgement, and all further ones are passed over until the base moves or the timer fires; after a window went
//!   out twice, as many repeats as it had blocks are expected and passed over. A server that answers each repeat never
//!   finishes after one loss.
//! - Any error from the peer ends the transfer: EDK2 and GRUB ask for the size and then end with an error.
//! - The acknowledgement of the last block may never come (the client jumped into the program): two repeats, then done.
//! - An address that never answered gets at most three packets, so that nobody can be flooded in someone else's name.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::event::{Abort, clean};
use crate::tftp::options::Agreed;
use crate::tftp::packet::{Answer, data, parse_answer};

/// First wait for an acknowledgement.
pub const WAIT_FIRST: Duration = Duration::from_millis(250);
/// Longest wait.
pub const WAIT_MAX: Duration = Duration::from_secs(4);
/// Repeats without any progress before giving up.
pub const TRIES_MAX: u32 = 6;
/// Packets to an address that has not answered yet.
pub const UNVERIFIED_MAX: u32 = 3;
/// Repeats of the last window before silence counts as success.
const LAST_TRIES_MAX: u32 = 2;

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The peer has all of it.
    Complete,
    /// It ended early.
    Aborted(Abort),
}

/// One transfer. Block numbers inside are 64 bits wide and counted from 1; on the wire they roll over to 0.
#[derive(Debug)]
pub struct Transfer {
    body: Bytes,
    block_len: u64,
    /// Window agreed on, and the one in use, which shrinks when the peer is silent.
    window: u64,
    window_now: u64,
    /// Last block of the file; shorter than a full block, or empty.
    last: u64,
    option_ack: Option<Vec<u8>>,
    /// Highest block acknowledged; 0 before the first.
    acked: u64,
    /// Highest block of the current window; `next` runs up to it.
    window_end: u64,
    /// Next block to put on the wire.
    next: u64,
    /// Highest block ever put on the wire: the peer may acknowledge up to it, also after the window went back.
    sent: u64,
    option_ack_due: bool,
    /// The peer has answered from its address.
    verified: bool,
    /// The current window went out more than once.
    repeated: bool,
    /// Repeated acknowledgements still to pass over.
    echoes: u64,
    tries: u32,
    wait: Duration,
    wait_max: Duration,
    deadline: Instant,
    resent: u64,
    outcome: Option<Outcome>,
}

impl Transfer {
    /// A transfer of `body` under the agreed options; its first packets are due at once.
    pub fn new(body: Bytes, agreed: Agreed, now: Instant) -> Self {
        let block_len = u64::from(agreed.block_len.max(8));
        let window = u64::from(agreed.window.max(1));
        let wait_max = agreed.timeout.unwrap_or(WAIT_MAX).min(WAIT_MAX);
        let mut transfer = Transfer {
            last: body.len() as u64 / block_len + 1,
            body,
            block_len,
            window,
            window_now: window,
            option_ack_due: agreed.option_ack.is_some(),
            option_ack: agreed.option_ack,
            acked: 0,
            window_end: 0,
            next: 1,
            sent: 0,
            verified: false,
            repeated: false,
            echoes: 0,
            tries: 0,
            wait: WAIT_FIRST.min(wait_max),
            wait_max,
            deadline: now + WAIT_FIRST.min(wait_max),
            resent: 0,
            outcome: None,
        };
        if transfer.option_ack.is_none() {
            transfer.window_end = 1;
        }
        transfer
    }

    /// The next packet that is due, appended to the empty buffer `out`; false when there is none. Call until false.
    pub fn next_packet(&mut self, out: &mut Vec<u8>) -> bool {
        out.clear();
        if self.outcome.is_some() {
            return false;
        }
        if self.option_ack_due {
            self.option_ack_due = false;
            out.extend_from_slice(self.option_ack.as_deref().unwrap_or_default());
            return true;
        }
        if self.next > self.window_end {
            return false;
        }
        let start = (self.next - 1) * self.block_len;
        let end = (start + self.block_len).min(self.body.len() as u64);
        data(self.next as u16, &self.body[start as usize..end as usize], out);
        self.sent = self.sent.max(self.next);
        self.next += 1;
        true
    }

    /// Takes a packet from the peer.
    pub fn on_packet(&mut self, raw: &[u8], now: Instant) {
        if self.outcome.is_some() {
            return;
        }
        match parse_answer(raw) {
            Answer::Ack(block) => self.on_ack(block, now),
            Answer::Error { code, message } => {
                // Size probes end before any block is acknowledged, EDK2's with error 8; GRUB closes with 0 when it has
                // read enough.
                let reason = if self.acked == 0 || (code == 0 && message.starts_with(b"closed")) {
                    Abort::Probe
                } else {
                    Abort::ByPeer { code, message: clean(message) }
                };
                self.outcome = Some(Outcome::Aborted(reason));
            }
            Answer::Other => {}
        }
    }

    fn on_ack(&mut self, block: u16, now: Instant) {
        let ahead = u64::from(block.wrapping_sub(self.acked as u16));
        if self.option_ack.is_some() && !self.verified {
            if block == 0 {
                self.verified = true;
                self.begin_window(now);
            }
        } else if (1..=self.sent - self.acked).contains(&ahead) {
            self.advance(ahead, now);
        } else if ahead == 0 && self.window > 1 && self.sent > self.acked {
            self.on_repeated_ack(now);
        }
    }

    fn advance(&mut self, by: u64, now: Instant) {
        self.verified = true;
        let whole = self.acked + by == self.sent;
        self.echoes = if self.repeated { self.next - 1 - self.acked } else { 0 };
        self.acked += by;
        if self.acked == self.last {
            self.outcome = Some(Outcome::Complete);
            return;
        }
        self.tries = 0;
        self.window_now = self.window;
        if whole || !self.repeated {
            // Acknowledged in part on first sight: the peer misses the block after it and threw the rest away.
            self.resent += self.sent - self.acked;
            self.begin_window(now);
            self.repeated = !whole;
        } else {
            // The echo of a window that went out twice: what follows is on its way, so only slide.
            self.window_end = (self.acked + self.window).min(self.last);
            self.next = self.next.max(self.acked + 1);
            self.wait_anew(now);
        }
    }

    fn on_repeated_ack(&mut self, now: Instant) {
        if self.echoes > 0 {
            self.echoes -= 1;
        } else if !self.repeated {
            self.resent += self.next - 1 - self.acked;
            self.begin_window(now);
            self.repeated = true;
        }
    }

    /// Makes the window after the last acknowledged block due.
    fn begin_window(&mut self, now: Instant) {
        self.next = self.acked + 1;
        self.window_end = (self.acked + self.window_now).min(self.last);
        self.repeated = false;
        self.wait_anew(now);
    }

    fn wait_anew(&mut self, now: Instant) {
        self.wait = WAIT_FIRST.min(self.wait_max);
        self.deadline = now + self.wait;
    }

    /// When [`Transfer::on_timeout`] is due.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The peer was silent until the deadline: the window goes out again, from the second time on halved, since a peer
    /// that has gone must not be sent more and more.
    pub fn on_timeout(&mut self, now: Instant) {
        if self.outcome.is_some() || now < self.deadline {
            return;
        }
        self.tries += 1;
        let in_last_window = self.verified && self.sent == self.last;
        if in_last_window && self.tries > LAST_TRIES_MAX {
            self.outcome = Some(Outcome::Complete);
            return;
        }
        if self.tries > TRIES_MAX || (!self.verified && self.tries >= UNVERIFIED_MAX) {
            self.outcome = Some(Outcome::Aborted(Abort::Silent { tries: self.tries - 1 }));
            return;
        }
        self.wait = (self.wait * 2).min(self.wait_max);
        self.deadline = now + self.wait;
        if !self.verified && self.option_ack.is_some() {
            self.option_ack_due = true;
            self.resent += 1;
            return;
        }
        if self.tries > 1 {
            self.window_now = (self.window_now / 2).max(1);
        }
        self.resent += self.next - 1 - self.acked;
        self.next = self.acked + 1;
        self.window_end = (self.acked + self.window_now).min(self.last);
        self.repeated = true;
    }

    /// The peer's port is closed. With the last block sent that is how programs leave that jump into what they loaded.
    pub fn on_port_closed(&mut self) {
        let ended = if self.verified && self.sent == self.last {
            Outcome::Complete
        } else {
            Outcome::Aborted(Abort::PortClosed)
        };
        self.outcome.get_or_insert(ended);
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Bytes that the peer has confirmed, or all when it ended complete.
    pub fn bytes_confirmed(&self) -> u64 {
        match self.outcome {
            Some(Outcome::Complete) => self.body.len() as u64,
            _ => (self.acked * self.block_len).min(self.body.len() as u64),
        }
    }

    /// Packets sent again.
    pub fn resent(&self) -> u64 {
        self.resent
    }
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
