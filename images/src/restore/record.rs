//! What partitions that stay are recognised by, and the record of them that poisoning leaves behind.
//!
//! A partition is the one that is meant by its unique GUID, else by its name, else by its place; always of the same type. Where two have
//! the GUID or the name, none is: what comes next would only guess. Bytes of the record: `images/DESIGN.md`, section 2. It must never be believed beside a
//! table at the start of the disk, which is younger; that is its reader's business.

use crate::Digest;
use crate::disk::gpt::GptEntry;
use crate::disk::mbr::MbrEntry;
use crate::manifest::header::{Partition, PartitionTable, Scheme};
use crate::wire::{Reader, WireError, Writer};

const RECORD_MAGIC: &[u8; 8] = b"GSKEEP\x03\n";
const RECORD_CONTEXT: &str = "groundstate 2026-11-29 preserved partitions";
const ENTRY_LEN: usize = 96;
const ENTRIES_MAX: u32 = 256;
/// Magic, count, the image's id, 256 entries and the digest, in whole sectors.
pub(super) const RECORD_LEN_MAX: usize = 28 << 10;
/// In the record: not the digest of anything, as nobody can find a preimage.
pub(super) const WRITTEN: Digest = Digest([0; 32]);
const NOTHING: [u8; 16] = [0; 16];
/// The id of no image.
pub(super) const NO_IMAGE: Digest = Digest([0; 32]);

/// What a partition is recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    type_guid: [u8; 16],
    /// Zeros in a master boot record.
    unique_guid: [u8; 16],
    /// A digest of its name; zeros where it has none.
    name: [u8; 16],
    /// First and last sector.
    pub lbas: (u64, u64),
}

impl Mark {
    /// Of a partition of an image.
    pub fn of_image(table: &PartitionTable, partition: &Partition) -> Self {
        let lbas = (partition.first_lba, partition.last_lba);
        let by_place = Self { type_guid: partition.type_guid, unique_guid: NOTHING, name: NOTHING, lbas };
        match table.scheme {
            Scheme::Gpt => {
                Self { unique_guid: partition.unique_guid, name: name_of(&partition.name), ..by_place }
            }
            Scheme::Mbr | Scheme::None => by_place,
        }
    }

    /// Of an entry of a GPT.
    pub fn of_gpt(entry: &GptEntry) -> Self {
        let (type_guid, unique_guid) = (entry.type_guid, entry.unique_guid);
        let lbas = (entry.first_lba, entry.last_lba);
        Self { type_guid, unique_guid, name: name_of(&entry.name), lbas }
    }

    /// Of an entry of a master boot record.
    pub fn of_mbr(entry: &MbrEntry) -> Self {
        let mut type_guid = [0; 16];
        type_guid[0] = entry.kind;
        let lbas = (entry.first_lba, entry.last_lba);
        Self { type_guid, unique_guid: NOTHING, name: NOTHING, lbas }
    }

    /// The one of these that is this partition.
    pub fn among<'t, T>(&self, these: &'t [T], mark: impl Fn(&T) -> &Self) -> Option<&'t T> {
        let criteria: [&dyn Fn(&Self) -> bool; 3] = [
            &|other| other.unique_guid == self.unique_guid && self.unique_guid != NOTHING,
            &|other| other.name == self.name && self.name != NOTHING,
            &|other| other.lbas == self.lbas,
        ];
        for fits in criteria {
            let fitting = |it: &&T| mark(it).type_guid == self.type_guid && fits(mark(it));
            let mut fitting = these.iter().filter(fitting);
            match (fitting.next(), fitting.next()) {
                (None, _) => {}
                (Some(one), None) => return Some(one),
                (Some(_), Some(_)) => return None,
            }
        }
        None
    }
}

fn name_of(name: &str) -> [u8; 16] {
    match name {
        "" => NOTHING,
        name => {
            let digest = Digest::derived(RECORD_CONTEXT, name.as_bytes()).0;
            std::array::from_fn(|at| digest[at])
        }
    }
}

/// What a record says of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It stays, and hashed to this.
    Stays(Digest),
    /// It is the image's to write, and of no other.
    Written,
}

/// The bytes of a record of an attempt to restore the image with this id.
pub(super) fn encode(image: &Digest, entries: &[(Mark, Recorded)]) -> Vec<u8> {
    let mut out = Writer::new();
    out.bytes(RECORD_MAGIC).u32(entries.len() as u32);
    out.digest(image);
    for (mark, said) in entries {
        out.bytes(&mark.type_guid).bytes(&mark.unique_guid).bytes(&mark.name);
        out.u64(mark.lbas.0).u64(mark.lbas.1);
        match said {
            Recorded::Stays(digest) => out.digest(digest),
            Recorded::Written => out.digest(&WRITTEN),
        };
    }
    let check = Digest::derived(RECORD_CONTEXT, &out.0);
    out.digest(&check);
    out.0
}

/// The image's id and the entries of a record; nothing where there is none.
pub(super) fn decode(bytes: &[u8]) -> Result<(Digest, Vec<(Mark, Recorded)>), WireError> {
    let mut input = Reader::new(bytes);
    let none = || Ok((NO_IMAGE, Vec::new()));
    let magic: [u8; 8] = input.array()?;
    let count = input.u32()?;
    if magic != *RECORD_MAGIC || count > ENTRIES_MAX {
        return none();
    }
    let image = input.digest()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let (type_guid, unique_guid, name) = (input.array()?, input.array()?, input.array()?);
        let lbas = (input.u64()?, input.u64()?);
        let said = match input.digest()? {
            WRITTEN => Recorded::Written,
            digest => Recorded::Stays(digest),
        };
        entries.push((Mark { type_guid, unique_guid, name, lbas }, said));
    }
    let len = RECORD_MAGIC.len() + 4 + NO_IMAGE.0.len() + ENTRY_LEN * count as usize;
    match input.digest()? == Digest::derived(RECORD_CONTEXT, &bytes[..len]) {
        true => Ok((image, entries)),
        false => none(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Raw = ([u8; 16], [u8; 16], [u8; 16], (u64, u64), [u8; 32]);

    fn mark(unique: u8, name: &str, first: u64) -> Mark {
        Mark { type_guid: [7; 16], unique_guid: [unique; 16], name: name_of(name), lbas: (first, first + 9) }
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written_or_not_at_all(
            entries in proptest::collection::vec(any::<Raw>(), 1..6),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
            junk in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let entry = |(type_guid, unique_guid, name, lbas, digest): &Raw| {
                let mark = Mark { type_guid: *type_guid, unique_guid: *unique_guid, name: *name, lbas: *lbas };
                (mark, Recorded::Stays(Digest(*digest)))
            };
            let mut entries: Vec<_> = entries.iter().map(entry).collect();
            entries.push((mark(9, "", 1), Recorded::Written));
            let image = Digest([5; 32]);
            let mut bytes = encode(&image, &entries);
            let len = bytes.len();
            bytes.resize(RECORD_LEN_MAX, 0);
            prop_assert_eq!(decode(&bytes), Ok((image, entries)));
            bytes[at.index(len)] ^= flip;
            prop_assert!(!decode(&bytes).is_ok_and(|(_, entries)| !entries.is_empty()));
            prop_assert!(!decode(&junk).is_ok_and(|(_, entries)| !entries.is_empty()));
        }
    }

    #[test]
    fn the_longest_record_has_room() {
        let entries = vec![(mark(1, "data", 1), Recorded::Written); ENTRIES_MAX as usize];
        assert!(encode(&NO_IMAGE, &entries).len() <= RECORD_LEN_MAX);
    }

    #[test]
    fn a_partition_is_the_one_with_its_guid_else_its_name_else_its_place() {
        let among = |wanted: Mark, these: &[Mark]| wanted.among(these, |mark| mark).copied();
        let wanted = mark(1, "data", 100);
        let (by_guid, by_name, by_place) = (mark(1, "old", 300), mark(2, "data", 400), mark(3, "x", 100));
        assert_eq!(among(wanted, &[by_place, by_name, by_guid]), Some(by_guid));
        assert_eq!(among(wanted, &[by_place, by_name]), Some(by_name));
        assert_eq!(among(wanted, &[by_place]), Some(by_place));
        assert_eq!(among(wanted, &[mark(3, "x", 101)]), None);
        // What two have ends the search; a name that nobody has says nothing.
        assert_eq!(among(wanted, &[by_name, mark(4, "data", 500), by_place]), None);
        assert_eq!(among(wanted, &[by_guid, mark(1, "x", 500), by_name, by_place]), None);
        assert_eq!(among(wanted, &[by_name, mark(4, "data", 100)]), None);
        assert_eq!(among(mark(0, "", 100), &[mark(0, "", 700)]), None);
        let other_type = Mark { type_guid: [8; 16], ..wanted };
        assert_eq!(among(wanted, &[other_type]), None);
    }
}
