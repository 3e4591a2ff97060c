//! What loaders say of themselves: iPXE's messages by syslog (RFC 3164 over UDP, ipxe `src/net/udp/syslog.c`), for the boot trace.
//!
//! ```text
//!   datagram ─► budget of the port ─► who is behind the address ─► BootEvent::LoaderSaid, one line, cut and cleaned
//! ```
//!
//! Anybody can send here. So nothing is answered, nothing is kept here, and what comes faster than a boot talks is dropped before
//! the sender is even looked up. It must never: be a log server for anybody else.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::event::{BootEvent, clean};
use crate::gate::Gate;
use crate::net::UdpPort;

/// Messages a second over a long time, and at once: an iPXE that boots says a few dozen lines.
const RATE: u32 = 50;
const BURST: u32 = 200;

/// The text of a message: without its priority, cut to 128 characters, control characters replaced. `None`: nothing in it.
#[must_use]
pub fn text(raw: &[u8]) -> Option<String> {
    let rest = match raw.first() {
        // RFC 3164 section 4.1.1: at most three digits.
        Some(b'<') => {
            let end = raw.iter().take(5).position(|byte| *byte == b'>')?;
            let digits = &raw[1..end];
            (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then(|| &raw[end + 1..])?
        }
        _ => raw,
    };
    let text = clean(rest.trim_ascii());
    (!text.is_empty()).then_some(text)
}

/// A budget that fills again with time.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    left: f64,
    at: Instant,
}

impl Budget {
    /// A full budget.
    #[must_use]
    pub fn full(now: Instant) -> Self {
        Budget { left: f64::from(BURST), at: now }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(RATE);
        (self.left, self.at) = ((self.left + filled).min(f64::from(BURST)), now);
        let some = self.left >= 1.0;
        if some {
            self.left -= 1.0;
        }
        some
    }
}

/// The syslog port of one interface.
pub(crate) struct SyslogPort {
    pub port: UdpPort,
    pub gate: Arc<Gate>,
}

impl SyslogPort {
    /// Listens until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let mut budget = Budget::full(Instant::now());
        let mut buf = [0; 1024];
        loop {
            let arrival = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                arrival = self.port.recv(&mut buf) => arrival?,
            };
            if !budget.take(Instant::now()) {
                continue;
            }
            let Some(text) = text(&buf[..arrival.len]) else { continue };
            let Some(client) = self.gate.whois.lookup(*arrival.from.ip()) else { continue };
            let peer = SocketAddr::V4(arrival.from);
            self.gate.tell(BootEvent::LoaderSaid { mac: client.mac, peer, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn c19_a_message_is_its_text_without_priority_and_control_characters() {
        assert_eq!(text(b"<14>ipxe: net0: link up\n").as_deref(), Some("ipxe: net0: link up"));
        assert_eq!(text(b"no priority").as_deref(), Some("no priority"));
        assert_eq!(text(b"<6>a\x1b[31mb").as_deref(), Some("a?[31mb"));
        for nothing in [&b""[..], b"<14>", b"<14> \n", b"<>x", b"<1x>y", b"<12345>x"] {
            assert_eq!(text(nothing), None, "{nothing:?}");
        }
        assert_eq!(text(&[b'x'; 1000]).map(|text| text.len()), Some(128));
    }

    #[test]
    fn what_comes_faster_than_a_boot_talks_is_dropped() {
        let begin = Instant::now();
        let mut budget = Budget::full(begin);
        let taken = (0..10_000).filter(|_| budget.take(begin)).count();
        assert_eq!(taken, BURST as usize);
        assert!(!budget.take(begin));
        let later = begin + Duration::from_secs(1);
        assert_eq!((0..10_000).filter(|_| budget.take(later)).count(), RATE as usize);
    }

    proptest! {
        #[test]
        fn reading_a_message_never_panics_and_is_bounded(raw in proptest::collection::vec(any::<u8>(), 0..1024)) {
            if let Some(text) = text(&raw) {
                prop_assert!(text.chars().count() <= 128 && !text.chars().any(char::is_control));
            }
        }
    }
}
