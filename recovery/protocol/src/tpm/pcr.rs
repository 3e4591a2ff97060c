//! PCRs of the SHA-256 bank: which ones, and what they hold.
//!
//! Only one bank exists here. A selection of another bank, or of two, is kept apart ([`Selection`]) so that a verifier
//! can refuse it by name.

use std::collections::BTreeMap;
use std::fmt;

use super::wire::{CodecError, Reader, Writer};
use super::{ALG_SHA256, Sha256};

/// PCRs of a PC Client TPM (PC Client Platform TPM Profile §4.6).
pub const PCR_COUNT: u8 = 24;

/// A set of PCR indices, 0 to 23.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PcrMask(u32);

impl PcrMask {
    /// The set of `indices`; those of 24 and above do not exist and are left out.
    #[must_use]
    pub fn of(indices: &[u8]) -> Self {
        Self(indices.iter().filter(|i| **i < PCR_COUNT).fold(0, |mask, i| mask | 1 << i))
    }

    /// Whether `index` is in the set.
    #[must_use]
    pub const fn has(self, index: u8) -> bool {
        index < PCR_COUNT && self.0 >> index & 1 == 1
    }

    /// The indices in ascending order: the order in which a TPM hashes the values.
    pub fn indices(self) -> impl Iterator<Item = u8> {
        (0..PCR_COUNT).filter(move |i| self.has(*i))
    }

    /// Appends a `TPML_PCR_SELECTION` of this set in the SHA-256 bank (Part 2 §10.9.7).
    #[must_use]
    pub fn write(self, writer: Writer) -> Writer {
        writer.u32(1).u16(ALG_SHA256).u8(3).bytes(&self.0.to_le_bytes()[..3])
    }
}

impl fmt::Debug for PcrMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.indices()).finish()
    }
}

impl fmt::Display for PcrMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indices: Vec<_> = self.indices().map(|i| i.to_string()).collect();
        f.write_str(&indices.join(","))
    }
}

/// One `TPMS_PCR_SELECTION` (Part 2 §10.6.2): a bank, and a set in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// `hash`: the bank's algorithm.
    pub bank: u16,
    /// The PCRs.
    pub pcrs: PcrMask,
}

impl Selection {
    /// Reads a `TPML_PCR_SELECTION`, as it stands.
    ///
    /// # Errors
    /// [`CodecError::Field`] for more than 16 banks, a bitmap of more than 4 bytes, or a PCR above 23.
    pub fn read_list(reader: &mut Reader<'_>) -> Result<Vec<Self>, CodecError> {
        let count = reader.u32()?;
        if count > 16 {
            return Err(reader.field("pcrSelect.count", count.into(), "at most 16"));
        }
        (0..count).map(|_| Self::read(reader)).collect()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let bank = reader.u16()?;
        let size = reader.u8()?;
        if size > 4 {
            return Err(reader.field("sizeofSelect", size.into(), "at most 4"));
        }
        let mut bitmap = [0; 4];
        bitmap[..usize::from(size)].copy_from_slice(reader.take(size.into())?);
        let mask = u32::from_le_bytes(bitmap);
        if mask >> PCR_COUNT != 0 {
            return Err(reader.field("pcrSelect", mask.into(), "PCR 0 to 23"));
        }
        Ok(Self { bank, pcrs: PcrMask(mask) })
    }
}

/// Values of some PCRs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PcrValues(pub BTreeMap<u8, Sha256>);

impl PcrValues {
    /// Which PCRs these are.
    #[must_use]
    pub fn mask(&self) -> PcrMask {
        PcrMask::of(&self.0.keys().copied().collect::<Vec<_>>())
    }

    /// What a quote's `pcrDigest` is over these values: SHA-256 of them in index order (Part 3 §18.4).
    #[must_use]
    pub fn digest(&self) -> Sha256 {
        let parts: Vec<&[u8]> = self.0.values().map(|v| &v.as_bytes()[..]).collect();
        Sha256::of_parts(&parts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Selection>, CodecError> {
        let mut reader = Reader::new("T", bytes);
        let list = Selection::read_list(&mut reader)?;
        reader.finish().map(|()| list)
    }

    proptest! {
        #[test]
        fn a_selection_comes_back(indices in prop::collection::vec(0_u8..24, 0..24)) {
            let pcrs = PcrMask::of(&indices);
            let bytes = pcrs.write(Writer::new()).into_bytes();
            prop_assert_eq!(read(&bytes), Ok(vec![Selection { bank: ALG_SHA256, pcrs }]));
            prop_assert!(indices.iter().all(|i| pcrs.has(*i)));
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn what_no_tpm_has_is_refused() {
        assert!(matches!(read(&[0, 0, 0, 17]), Err(CodecError::Field { field: "pcrSelect.count", .. })));
        assert!(matches!(
            read(&[0, 0, 0, 1, 0, 11, 5]),
            Err(CodecError::Field { field: "sizeofSelect", .. })
        ));
        let above = read(&[0, 0, 0, 1, 0, 11, 4, 0, 0, 0, 1]);
        assert!(matches!(above, Err(CodecError::Field { field: "pcrSelect", .. })));
        assert!(!PcrMask::of(&[24, 200]).has(24));
        assert_eq!(PcrMask::of(&[9, 4, 4]).to_string(), "4,9");
    }
}
