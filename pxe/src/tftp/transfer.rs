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
//! - A window whose last block is lost brings no acknowledgement at all. Long before the timer, after a few round trips of silence,
//!   that one block goes out again; when the client was only slow, its answer to it is passed over like any echo.
//! - The acknowledgement of the last block may never come (the client jumped into the program): two repeats, then done.
//! - An address that never answered gets at most three packets, so that nobody can be flooded in someone else's name.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::event::{Abort, clean};
use crate::tftp::options::Agreed;
use crate::tftp::packet::{Answer, data, parse_answer};

/// Most packets in one batch: what the kernel cuts up at once (`UDP_MAX_SEGMENTS` of its first versions).
pub const BATCH_MAX: usize = 64;
/// Most bytes in one batch, below what the length field of UDP can say.
const BATCH_LEN_MAX: usize = 65_000;
/// Shortest silence after which the last block is sent again; firmware that is busy for less is left alone.
const PROBE_WAIT_MIN: Duration = Duration::from_millis(25);
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
    /// When the window that runs went out, unless it did so more than once.
    window_begun: Option<Instant>,
    /// How long a window takes until it is acknowledged, smoothed (RFC 6298 section 2).
    round_trip: Option<Duration>,
    /// Where the deadline is the probe's: when the timer fires after it.
    timer_at: Option<Instant>,
    probe_due: bool,
    /// The last block of the window that runs went out once more by itself.
    probed: bool,
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
            window_begun: Some(now),
            round_trip: None,
            timer_at: None,
            probe_due: false,
            probed: false,
            resent: 0,
            outcome: None,
        };
        if transfer.option_ack.is_none() {
            transfer.window_end = 1;
        }
        transfer
    }

    /// The packets that are due, one behind the other in `out`, and the length of each but the last, which may be shorter; `None` when
    /// there is none. Call until `None`.
    pub fn next_batch(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        out.clear();
        let alone = self.option_ack_due || self.probe_due;
        let each = self.append(out).then_some(out.len())?;
        let (mut count, mut before) = (1, 0);
        while !alone && out.len() - before == each && count < BATCH_MAX && out.len() + each <= BATCH_LEN_MAX {
            before = out.len();
            if !self.append(out) {
                break;
            }
            count += 1;
        }
        Some(each)
    }

    /// The next packet that is due, put into `out`; false when there is none. Call until false.
    pub fn next_packet(&mut self, out: &mut Vec<u8>) -> bool {
        out.clear();
        self.append(out)
    }

    fn append(&mut self, out: &mut Vec<u8>) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        if self.option_ack_due {
            self.option_ack_due = false;
            out.extend_from_slice(self.option_ack.as_deref().unwrap_or_default());
            return true;
        }
        if std::mem::take(&mut self.probe_due) {
            self.append_block(self.next - 1, out);
            return true;
        }
        if self.next > self.window_end {
            return false;
        }
        self.append_block(self.next, out);
        self.sent = self.sent.max(self.next);
        self.next += 1;
        true
    }

    fn append_block(&self, block: u64, out: &mut Vec<u8>) {
        let start = (block - 1) * self.block_len;
        let end = (start + self.block_len).min(self.body.len() as u64);
        data(block as u16, &self.body[start as usize..end as usize], out);
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
                self.measure(now);
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
        self.measure(now);
        // A client that had the probe's block before answers to it once more.
        self.echoes = if self.repeated { self.next - 1 - self.acked } else { u64::from(self.probed) };
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
            if !whole {
                self.repeats();
            }
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
            self.repeats();
        }
    }

    /// What goes out next went out before: its acknowledgement tells no round trip (RFC 6298 section 3).
    fn repeats(&mut self) {
        self.repeated = true;
        self.window_begun = None;
    }

    fn measure(&mut self, now: Instant) {
        let Some(begun) = self.window_begun.take() else { return };
        let took = now.saturating_duration_since(begun);
        self.round_trip = Some(self.round_trip.map_or(took, |before| before * 7 / 8 + took / 8));
    }

    /// Makes the window after the last acknowledged block due.
    fn begin_window(&mut self, now: Instant) {
        self.next = self.acked + 1;
        self.window_end = (self.acked + self.window_now).min(self.last);
        self.repeated = false;
        self.window_begun = Some(now);
        self.wait_anew(now);
    }

    fn wait_anew(&mut self, now: Instant) {
        self.wait = WAIT_FIRST.min(self.wait_max);
        let timer = now + self.wait;
        // In the last window silence is mostly a client that left.
        let known = self.round_trip.filter(|_| self.window_end < self.last);
        let probe =
            known.map(|round_trip| now + (round_trip * 4).max(PROBE_WAIT_MIN)).filter(|at| *at < timer);
        self.deadline = probe.unwrap_or(timer);
        self.timer_at = probe.map(|_| timer);
        self.probed = false;
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
        if let Some(timer) = self.timer_at.take() {
            self.deadline = timer;
            if self.next > self.acked + 1 {
                (self.probe_due, self.probed, self.window_begun) = (true, true, None);
                self.resent += 1;
            }
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
            self.window_begun = None;
            return;
        }
        if self.tries > 1 {
            self.window_now = (self.window_now / 2).max(1);
        }
        self.resent += self.next - 1 - self.acked;
        self.next = self.acked + 1;
        self.window_end = (self.acked + self.window_now).min(self.last);
        self.repeats();
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
