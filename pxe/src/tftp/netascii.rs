//! Text mode (RFC 1350 section 1, "netascii" after RFC 764): lines end in CR LF, and a CR of the text itself is CR NUL.
//!
//! It is what some programs ask for when nobody says otherwise: `tftp` of tftp-hpa, switches, small loaders that read a configuration.
//! Firmware asks for octet. A program would be broken by it, so only texts are given this way.

use bytes::Bytes;

/// Longest text that is put into this form. It is made for each request.
pub const TEXT_LEN_MAX: usize = 64 * 1024;

/// A text as it goes over the wire; `None` when it is too long for one, or when it is none.
#[must_use]
pub fn on_the_wire(text: &[u8]) -> Option<Bytes> {
    if text.len() > TEXT_LEN_MAX || text.contains(&0) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() + text.len() / 16);
    for byte in text {
        match byte {
            b'\n' => out.extend_from_slice(b"\r\n"),
            b'\r' => out.extend_from_slice(b"\r\0"),
            byte => out.push(*byte),
        }
    }
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d10_ends_of_lines_become_two_bytes_and_so_does_a_carriage_return() {
        let wire = |text: &[u8]| on_the_wire(text).expect("a text");
        assert_eq!(wire(b""), &b""[..]);
        assert_eq!(wire(b"set a=1\nset b=2\n"), &b"set a=1\r\nset b=2\r\n"[..]);
        assert_eq!(wire(b"a\rb\r\n"), &b"a\r\0b\r\0\r\n"[..]);
    }

    #[test]
    fn d10_programs_and_long_texts_are_none() {
        assert_eq!(on_the_wire(b"MZ\0\x01"), None);
        assert!(on_the_wire(&[b'x'; TEXT_LEN_MAX]).is_some());
        assert_eq!(on_the_wire(&[b'x'; TEXT_LEN_MAX + 1]), None);
    }
}
