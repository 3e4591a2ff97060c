//! What is granted of a request's options: blksize (RFC 2348), tsize and timeout (RFC 2349), windowsize (RFC 7440).
//!
//! The acknowledgement holds only options that were asked for, never a larger block or window than asked, and the same
//! time-out, else EDK2 ends the transfer. An unknown option or a bad value is passed over, never refused.

use std::time::Duration;

use crate::tftp::packet::option_ack;

/// Largest window granted, in blocks. Bounds what one lost acknowledgement can make us send; RFC 7440 sees no gain beyond, and what
/// a client has in flight fits the receive buffer that Linux gives it.
pub const WINDOW_MAX: u16 = 64;

/// Largest window where a transfer shares port 69: whoever writes another's address into packets knows both ports there, so an
/// acknowledgement proves nothing, and each may bring about no more than this.
pub const SHARED_WINDOW_MAX: u16 = 4;

/// What both sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// Bytes of data per block.
    pub block_len: u16,
    /// Blocks per window.
    pub window: u16,
    /// Longest wait between repeats, when the client set one.
    pub timeout: Option<Duration>,
    /// The acknowledgement to send first, if any option was granted.
    pub option_ack: Option<Vec<u8>>,
}

impl Agreed {
    /// What was granted, for a person: `blksize 1468, windowsize 4`. Empty when no option was asked.
    #[must_use]
    pub fn words(&self) -> String {
        let Some(ack) = &self.option_ack else { return String::new() };
        let text = String::from_utf8_lossy(ack.get(2..).unwrap_or_default());
        let parts: Vec<&str> = text.split_terminator('\0').collect();
        parts.chunks(2).map(|pair| pair.join(" ")).collect::<Vec<_>>().join(", ")
    }
}

/// Grants options for a file of `size` bytes over a port of its own. `block_len_max` is what fits the interface's MTU.
#[cfg(test)]
pub fn agree(options: &[(&[u8], &[u8])], size: u64, block_len_max: u16) -> Agreed {
    agree_within(options, size, (block_len_max, WINDOW_MAX))
}

/// Grants options for a file of `size` bytes: blocks of at most so many bytes, windows of at most so many blocks.
pub fn agree_within(
    options: &[(&[u8], &[u8])],
    size: u64,
    (block_len_max, window_max): (u16, u16),
) -> Agreed {
    let mut agreed = Agreed { block_len: 512, window: 1, timeout: None, option_ack: None };
    let mut granted: Vec<(&str, u64)> = Vec::new();
    for (name, value) in options {
        let Some(value) = number(value) else { continue };
        let (name, value) = if name.eq_ignore_ascii_case(b"blksize") && (8..=65464).contains(&value) {
            agreed.block_len = u16::try_from(value).map_or(block_len_max, |v| v.min(block_len_max));
            ("blksize", u64::from(agreed.block_len))
        } else if name.eq_ignore_ascii_case(b"windowsize") && (1..=65535).contains(&value) {
            agreed.window = u16::try_from(value).map_or(window_max, |v| v.min(window_max));
            ("windowsize", u64::from(agreed.window))
        } else if name.eq_ignore_ascii_case(b"timeout") && (1..=255).contains(&value) {
            agreed.timeout = Some(Duration::from_secs(value));
            ("timeout", value)
        } else if name.eq_ignore_ascii_case(b"tsize") {
            ("tsize", size)
        } else {
            continue;
        };
        if !granted.iter().any(|(known, _)| *known == name) {
            granted.push((name, value));
        }
    }
    agreed.option_ack = (!granted.is_empty()).then(|| option_ack(granted));
    agreed
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 10 && text.iter().all(u8::is_ascii_digit);
    digits.then(|| text.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agree_to(options: &[(&str, &str)]) -> Agreed {
        let raw: Vec<(&[u8], &[u8])> = options.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        agree(&raw, 1234, 1468)
    }

    fn agreed_words(options: &[(&str, &str)]) -> String {
        agree_to(options).words()
    }

    #[test]
    fn d4_only_what_was_asked_is_acknowledged_and_never_more() {
        let agreed =
            agree_to(&[("TSIZE", "0"), ("blksize", "1468"), ("windowsize", "4"), ("x-unknown", "1")]);
        let ack = agreed.option_ack.expect("granted");
        assert_eq!(ack, b"\0\x06tsize\x001234\0blksize\x001468\0windowsize\x004\0");
        assert_eq!((agreed.block_len, agreed.window), (1468, 4));
        assert_eq!(agreed_words(&[("tsize", "0"), ("blksize", "1468")]), "tsize 1234, blksize 1468");
        assert_eq!(agreed_words(&[]), "");
        assert_eq!(agree_to(&[]).option_ack, None);
        assert_eq!(agree_to(&[("multicast", "")]).option_ack, None);
    }

    #[test]
    fn d7_blocks_are_clamped_to_the_mtu_and_windows_to_64() {
        let agreed = agree_to(&[("blksize", "65464"), ("windowsize", "65535")]);
        assert_eq!((agreed.block_len, agreed.window), (1468, WINDOW_MAX));
        assert_eq!(agree_to(&[("blksize", "512")]).block_len, 512);
    }

    #[test]
    fn bad_values_drop_the_option_and_not_the_request() {
        for (name, value) in [
            ("blksize", "7"),
            ("blksize", "65465"),
            ("blksize", "-1"),
            ("blksize", ""),
            ("blksize", "99999999999999999999"),
            ("windowsize", "0"),
            ("timeout", "0"),
            ("timeout", "256"),
            ("tsize", "zero"),
        ] {
            assert_eq!(agree_to(&[(name, value)]).option_ack, None, "{name}={value}");
        }
    }

    #[test]
    fn a_timeout_is_acknowledged_as_asked() {
        let agreed = agree_to(&[("timeout", "3")]);
        assert_eq!(agreed.option_ack.as_deref(), Some(&b"\0\x06timeout\x003\0"[..]));
        assert_eq!(agreed.timeout, Some(Duration::from_secs(3)));
    }

    #[test]
    fn an_option_given_twice_is_acknowledged_once() {
        let agreed = agree_to(&[("tsize", "0"), ("tsize", "0")]);
        assert_eq!(agreed.option_ack.as_deref(), Some(&b"\0\x06tsize\x001234\0"[..]));
    }
}
