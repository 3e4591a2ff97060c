//! The list of the packs of an image, as an object of the depot: what a pull looks into and a collection spares.
//!
//! ```text
//!   "GSPACKS\x01" | u32 count | for each: pack id (32) | u64 length of its file
//! ```
//!
//! Packs stand in the order in which the image needs them, each once. The object is named by its digest, so what it says
//! is what somebody who pushed has written; whether the packs hold the image is found by reading them.

use std::collections::HashSet;

use crate::wire::{Reader, WireError, Writer};
use crate::{Digest, PackId};

const MAGIC: &[u8; 8] = b"GSPACKS\x01";
const CONTEXT: &str = "groundstate 2026-11-27 depot pack list";
const PACKS_MAX: usize = 1 << 20;
/// Length of the longest list.
pub(super) const PACK_LIST_LEN_MAX: u64 = 8 + 4 + 40 * PACKS_MAX as u64;

/// Packs with the lengths of their files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackList(pub Vec<(PackId, u64)>);

impl PackList {
    /// The object.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.bytes(MAGIC).u32(self.0.len() as u32);
        for (id, len) in &self.0 {
            out.digest(&id.0).u64(*len);
        }
        out.0
    }

    /// The list in an object.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut input = Reader::new(bytes);
        input.expect(MAGIC, "magic")?;
        let count = input.u32()? as usize;
        if count > PACKS_MAX {
            return input.bad(8, "count");
        }
        let (mut packs, mut seen) = (Vec::new(), HashSet::new());
        for _ in 0..count {
            let (at, id) = (input.at(), PackId(input.digest()?));
            if !seen.insert(id) {
                return input.bad(at, "pack that is listed twice");
            }
            packs.push((id, input.u64()?));
        }
        input.end()?;
        Ok(Self(packs))
    }

    /// By what its object is named.
    pub fn digest_of(bytes: &[u8]) -> Digest {
        Digest::derived(CONTEXT, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_round_trip_and_others_are_refused() {
        let id = |n: u8| PackId(Digest::of(&[n]));
        let list = PackList(vec![(id(1), 5), (id(2), u64::MAX)]);
        let bytes = list.encode();
        assert_eq!(PackList::decode(&bytes), Ok(list));
        assert_eq!(PackList::decode(&PackList::default().encode()), Ok(PackList::default()));
        for len in 0..bytes.len() {
            assert!(PackList::decode(&bytes[..len]).is_err(), "{len}");
        }
        assert!(PackList::decode(&[&bytes[..], b"x"].concat()).is_err());
        assert!(PackList::decode(&PackList(vec![(id(1), 5), (id(1), 6)]).encode()).is_err());
        let mut many = bytes.clone();
        many[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(PackList::decode(&many).is_err());
    }
}
