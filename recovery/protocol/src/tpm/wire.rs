//! Big-endian reading and writing of TPM structures (TPM 2.0 Part 2 §4 and §10.3).
//!
//! A [`Reader`] never panics, never allocates more than its input and refuses trailing bytes in [`Reader::finish`]:
//! a structure has one encoding. It names the structure it reads in every error.

/// Why bytes are not the structure that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The input ends early.
    #[error("{what}: input ends at byte {at}, {need} more bytes were announced; the data was cut short")]
    Short {
        /// The structure.
        what: &'static str,
        /// Offset of the read that failed.
        at: usize,
        /// Bytes that it wanted.
        need: usize,
    },
    /// The structure is complete but the input goes on.
    #[error("{what}: {count} bytes follow its end; nothing may follow")]
    Trailing {
        /// The structure.
        what: &'static str,
        /// Bytes left over.
        count: usize,
    },
    /// A field has a value that we do not take.
    #[error("{what}: {field} is {found:#x}; expected {expected}")]
    Field {
        /// The structure.
        what: &'static str,
        /// The field, as the specification names it.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What would have been right, for a person.
        expected: &'static str,
    },
}

/// Reads one structure from the front of a byte slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts reading the structure called `what`.
    #[must_use]
    pub const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, at: 0 }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`CodecError::Short`] when fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let rest = &self.bytes[self.at..];
        let short = || CodecError::Short { what: self.what, at: self.at, need: count - rest.len() };
        let taken = rest.get(..count).ok_or_else(short)?;
        self.at += count;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`CodecError::Short`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// An unsigned byte.
    ///
    /// # Errors
    /// [`CodecError::Short`].
    pub fn u8(&mut self) -> Result<u8, CodecError> {
        self.array().map(u8::from_be_bytes)
    }

    /// An unsigned 16-bit number.
    ///
    /// # Errors
    /// [`CodecError::Short`].
    pub fn u16(&mut self) -> Result<u16, CodecError> {
        self.array().map(u16::from_be_bytes)
    }

    /// An unsigned 32-bit number.
    ///
    /// # Errors
    /// [`CodecError::Short`].
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_be_bytes)
    }

    /// An unsigned 64-bit number.
    ///
    /// # Errors
    /// [`CodecError::Short`].
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A 16-bit number that must be `expected`.
    ///
    /// # Errors
    /// [`CodecError::Field`] when it is another, [`CodecError::Short`].
    pub fn expect_u16(
        &mut self,
        field: &'static str,
        expected: u16,
        name: &'static str,
    ) -> Result<(), CodecError> {
        let found = self.u16()?;
        if found == expected { Ok(()) } else { Err(self.field(field, found.into(), name)) }
    }

    /// The contents of a `TPM2B` of at most `max` bytes.
    ///
    /// # Errors
    /// [`CodecError::Field`] when it is longer, [`CodecError::Short`].
    pub fn tpm2b(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], CodecError> {
        let size = usize::from(self.u16()?);
        if size > max {
            return Err(self.field(field, size as u64, "a smaller size"));
        }
        self.take(size)
    }

    /// All bytes not read yet.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    /// Whether everything was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Ends the structure.
    ///
    /// # Errors
    /// [`CodecError::Trailing`] when bytes are left.
    pub const fn finish(self) -> Result<(), CodecError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(CodecError::Trailing { what: self.what, count: self.bytes.len() - self.at })
        }
    }

    /// The error for a field whose value we do not take.
    #[must_use]
    pub const fn field(&self, field: &'static str, found: u64, expected: &'static str) -> CodecError {
        CodecError::Field { what: self.what, field, found, expected }
    }
}

/// Writes one structure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty structure.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends bytes as they are.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends a byte.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    /// Appends a 16-bit number.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a 32-bit number.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a 64-bit number.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a `TPM2B`: a 16-bit size and the bytes.
    ///
    /// # Panics
    /// When `contents` has more than 65,535 bytes; no structure of ours comes near.
    #[must_use]
    pub fn tpm2b(self, contents: &[u8]) -> Self {
        let size = u16::try_from(contents.len()).expect("a TPM2B of ours is under 64 KiB");
        self.u16(size).bytes(contents)
    }

    /// The structure.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tpm2b_comes_back_and_its_borders_hold() {
        let bytes = Writer::new().tpm2b(b"abc").u8(7).into_bytes();
        let mut reader = Reader::new("T", &bytes);
        assert_eq!(reader.tpm2b("f", 3), Ok(&b"abc"[..]));
        assert_eq!(reader.clone().finish(), Err(CodecError::Trailing { what: "T", count: 1 }));
        assert_eq!(reader.u8(), Ok(7));
        assert_eq!(reader.u16(), Err(CodecError::Short { what: "T", at: 6, need: 2 }));
        assert_eq!(reader.finish(), Ok(()));
        let too_long = Reader::new("T", &bytes).tpm2b("f", 2);
        assert!(matches!(too_long, Err(CodecError::Field { field: "f", found: 3, .. })));
    }
}
