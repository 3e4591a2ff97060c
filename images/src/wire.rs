//! The alphabet of our binary formats: little-endian integers, LEB128 numbers, short texts, digests.
//!
//! [`Reader`] takes from untrusted bytes: it never allocates more than it was given, and each refusal says at which
//! byte it happened. [`Writer`] is its mirror. Every value has exactly one encoding, so that a digest over bytes is a
//! digest over meaning. This module must never guess: a short, long or doubtful input is an error.

use crate::Digest;

/// Longest text in any of our formats, in bytes.
pub const TEXT_LEN_MAX: usize = 1024;

/// Why bytes are not one of our formats. `at` counts bytes from the start of what was being decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The input ends early.
    #[error("truncated: {wanted} more bytes expected at byte {at}")]
    Truncated {
        /// Where.
        at: usize,
        /// How many bytes the next value has at least.
        wanted: usize,
    },
    /// The input goes on after its last value.
    #[error("{count} unexpected bytes after the end at byte {at}")]
    Trailing {
        /// Where the last value ended.
        at: usize,
        /// How many bytes follow.
        count: usize,
    },
    /// A value that this format does not allow here.
    #[error("bad {what} at byte {at}")]
    Bad {
        /// Where the value starts.
        at: usize,
        /// Which value.
        what: &'static str,
    },
}

/// Takes values from the front of a byte slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes taken so far.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Bytes not yet taken.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The error that the value starting at `at` is not acceptable.
    pub fn bad<T>(&self, at: usize, what: &'static str) -> Result<T, WireError> {
        Err(WireError::Bad { at, what })
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        if self.remaining() < len {
            return Err(WireError::Truncated { at: self.at, wanted: len - self.remaining() });
        }
        let taken = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// 32 bytes.
    pub fn digest(&mut self) -> Result<Digest, WireError> {
        self.array().map(Digest)
    }

    /// Exactly these bytes, or the error names `what`.
    pub fn expect(&mut self, expected: &[u8], what: &'static str) -> Result<(), WireError> {
        let at = self.at;
        if self.bytes(expected.len())? == expected { Ok(()) } else { self.bad(at, what) }
    }

    /// An unsigned LEB128 number in its shortest form.
    pub fn varint(&mut self) -> Result<u64, WireError> {
        let at = self.at;
        let mut value: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (shift == 63 && bits > 1) || (shift > 0 && byte == 0) {
                return self.bad(at, "number");
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        self.bad(at, "number")
    }

    /// A text: its length in bytes (u16), then UTF-8 without control characters, at most [`TEXT_LEN_MAX`] bytes.
    pub fn text(&mut self) -> Result<String, WireError> {
        let at = self.at;
        let len = usize::from(self.u16()?);
        if len > TEXT_LEN_MAX {
            return self.bad(at, "text");
        }
        match std::str::from_utf8(self.bytes(len)?) {
            Ok(text) if !text.chars().any(char::is_control) => Ok(text.to_owned()),
            _ => self.bad(at, "text"),
        }
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), WireError> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(WireError::Trailing { at: self.at, count }),
        }
    }
}

/// Appends values to a byte vector.
#[derive(Debug, Default, Clone)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// 32 bytes.
    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.bytes(digest.as_bytes())
    }

    /// An unsigned LEB128 number in its shortest form.
    pub fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8)
    }

    /// A text as [`Reader::text`] takes it; the caller has checked its length (it is cut at a character otherwise).
    pub fn text(&mut self, text: &str) -> &mut Self {
        let end = text.floor_char_boundary(TEXT_LEN_MAX);
        self.u16(end as u16).bytes(&text.as_bytes()[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_round_trip(value: u64, text in "[a-zäß€ ]{0,40}") {
            let mut writer = Writer::new();
            writer.varint(value).text(&text).u16(7).u64(value);
            let mut reader = Reader::new(&writer.0);
            prop_assert_eq!(reader.varint().unwrap(), value);
            prop_assert_eq!(reader.text().unwrap(), text);
            prop_assert_eq!(reader.u16().unwrap(), 7);
            prop_assert_eq!(reader.u64().unwrap(), value);
            prop_assert!(reader.end().is_ok());
        }

        #[test]
        fn accepted_numbers_have_one_spelling(bytes in proptest::collection::vec(any::<u8>(), 1..12)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.varint() {
                let mut writer = Writer::new();
                writer.varint(value);
                prop_assert_eq!(&writer.0[..], &bytes[..reader.at()]);
            }
        }
    }

    #[test]
    fn texts_with_control_characters_are_refused() {
        for text in [&b"\x02\x00a\n"[..], b"\x01\x00\xff", b"\x01\x04"] {
            assert!(Reader::new(text).text().is_err());
        }
    }
}
