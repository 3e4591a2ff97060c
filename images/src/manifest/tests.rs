//! Manifests round-trip, and no truncation or alteration gets through.

use super::header::{
    AgentVersion, Boot, ContentTable, Disk, HostRegion, Identity, Measurement, Need, Partition,
    PartitionTable, Policy, Scheme,
};
use super::*;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

pub(crate) fn header(size: u64) -> Header {
    Header {
        features_optional: 5,
        identity: Identity {
            name: "hmi-panel".into(),
            version: "2026.11".into(),
            epoch: 7,
            arch: "x86_64".into(),
            hardware_class: "panel-pc".into(),
            created_unix_ms: 1_763_800_000_000,
            note: "first".into(),
            previous: Some(ImageId::of_header(b"before")),
            agent_min: AgentVersion(0, 1, 0),
        },
        disk: Disk { size, sector_size: 512, head_len: MIB, tail_len: 33 * 512 },
        boot: Boot { uefi: true, bios: false, secure_boot: true, loader: r"\EFI\BOOT\BOOTX64.EFI".into() },
        table: PartitionTable {
            scheme: Scheme::Gpt,
            disk_guid: [7; 16],
            usable: (34, size / 512 - 34),
            partitions: vec![Partition {
                index: 0,
                type_guid: [1; 16],
                unique_guid: [2; 16],
                first_lba: 2048,
                last_lba: size / 512 - 34,
                attributes: 0,
                name: "ESP".into(),
                filesystem: "vfat".into(),
                policy: Policy::Grow,
            }],
        },
        host_regions: Vec::new(),
        content: ContentTable {
            root: Digest::of(b"raw"),
            chunker: 1,
            chunk_len: [32 << 10, 128 << 10, 512 << 10],
            codec: 1,
            pages: Vec::new(),
        },
        measurements: vec![Measurement {
            pcr: 4,
            digest: [9; 32],
            need: Need::SecureBoot,
            what: "shim".into(),
        }],
        extra: vec![(0x9000, b"later".to_vec())],
    }
}

/// Extents that cover `size` bytes and respect the boot region of [`header`].
pub(crate) fn extents(size: u64, seed: &[u8]) -> Vec<Extent> {
    let edges = [MIB, size - 33 * 512, size];
    let mut offset = 0;
    let mut list = Vec::new();
    let mut seed = seed.iter().cycle();
    while offset < size {
        let byte = seed.next().copied().unwrap_or(1);
        let edge = edges.iter().copied().find(|edge| *edge > offset).unwrap_or(size);
        let len = (u64::from(byte) * 1999 + 1).min(edge - offset);
        let middle = offset >= MIB && offset < edges[1];
        let content = match byte % 3 {
            0 => Content::Zero,
            1 if middle => Content::Any,
            _ => Content::Data(ChunkId::of(&[byte])),
        };
        list.push(Extent { offset, len, content });
        offset += len;
    }
    list
}

/// A manifest with a few data extents, and the plain bytes of its distinct chunks.
pub(crate) fn sample_of(header: Header) -> (Manifest, Vec<Vec<u8>>) {
    let (size, tail) = (header.disk.size, header.disk.tail_start());
    let plains = vec![vec![1; 300_000], vec![2; MIB as usize - 600_000], vec![3; 33 * 512]];
    let data = |offset, plain: &Vec<u8>| Extent {
        offset,
        len: plain.len() as u64,
        content: Content::Data(ChunkId::of(plain)),
    };
    let extents = vec![
        data(0, &plains[0]),
        data(300_000, &plains[1]),
        data(MIB - 300_000, &plains[0]),
        Extent { offset: MIB, len: tail - MIB, content: Content::Zero },
        data(tail, &plains[2]),
    ];
    assert_eq!(extents.last().map(Extent::end), Some(size));
    (Manifest::build(header, extents).unwrap(), plains)
}

fn sample() -> Manifest {
    let size = 4 * MIB;
    Manifest::build(header(size), extents(size, &[9, 200, 31])).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn manifests_round_trip(seed in proptest::collection::vec(any::<u8>(), 1..64), mib in 2u64..200) {
        let size = mib * MIB;
        let list = extents(size, &seed);
        let manifest = Manifest::build(header(size), list.clone()).unwrap();
        prop_assert_eq!(manifest.extents().collect::<Vec<_>>(), list);
        let signed = SignedManifest::unsigned(&manifest);
        let again = SignedManifest::decode(&signed.encode()).unwrap();
        prop_assert_eq!(again.id(), manifest.id());
        prop_assert_eq!(again.parse().unwrap(), manifest);
    }

    #[test]
    fn altered_manifests_change_name_or_are_refused(at: prop::sample::Index, flip in 1u8..=255) {
        let signed = SignedManifest::unsigned(&sample());
        let mut bytes = signed.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(altered) = SignedManifest::decode(&bytes) {
            // Pages are bound by the header and the header by its name: no flip can hide in both.
            prop_assert!(altered.parse().is_err() || altered.id() != signed.id());
        }
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), start: u64) {
        let _ = SignedManifest::decode(&bytes);
        let _ = codec::decode(&[codec::MAGIC, &bytes].concat());
        let _ = page::decode(&bytes, start);
    }
}

#[test]
fn every_truncation_is_refused() {
    let manifest = sample();
    let file = SignedManifest::unsigned(&manifest).encode();
    for len in 0..file.len() {
        assert!(SignedManifest::decode(&file[..len]).is_err(), "{len}");
    }
    for len in 0..manifest.header_bytes().len() {
        assert!(codec::decode(&manifest.header_bytes()[..len]).is_err(), "{len}");
    }
    let page = &manifest.pages()[0];
    for len in 0..page.len() {
        assert!(page::decode(&page[..len], 0).is_err(), "{len}");
    }
}

#[test]
fn big_images_have_many_small_pages() {
    let size = 2048 * MIB;
    let manifest = Manifest::build(header(size), extents(size, &[2, 5, 62, 8])).unwrap();
    assert!(manifest.pages().len() > 10);
    assert!(manifest.pages().iter().all(|page| page.len() <= page::PAGE_LEN_MAX));
}

#[test]
fn newer_formats_are_named() {
    let bytes = sample().header_bytes().to_vec();
    let at = codec::MAGIC.len();
    let mut newer = bytes.clone();
    newer[at] = 2;
    assert_eq!(codec::decode(&newer), Err(ManifestError::UnknownVersion { version: 2 }));
    let mut feature = bytes.clone();
    feature[at + 2] = 4;
    assert_eq!(codec::decode(&feature), Err(ManifestError::UnknownFeature { bits: 4 }));
    // One more section than `sample` has, appended.
    let mut must = bytes.clone();
    must[at + 18] += 1;
    must.extend([0x77, 0x00, 0, 0, 0, 0]);
    assert_eq!(codec::decode(&must), Err(ManifestError::UnknownSection { tag: 0x77 }));
    let mut may = bytes;
    may[at + 18] += 1;
    may.extend([0x77, 0xf0, 0, 0, 0, 0]);
    assert!(codec::decode(&may).is_ok());
}

#[test]
fn swapped_and_missing_pages_are_refused() {
    let size = 2048 * MIB;
    let manifest = Manifest::build(header(size), extents(size, &[2, 5, 62, 8])).unwrap();
    let mut signed = SignedManifest::unsigned(&manifest);
    signed.pages.swap(0, 1);
    assert_eq!(signed.parse().unwrap_err(), ManifestError::PageDigest { index: 0 });
    signed.pages.pop();
    assert!(matches!(signed.parse(), Err(ManifestError::PageCount { .. })));
}

#[test]
fn broken_rules_are_named() {
    let size = 4 * MIB;
    let list = || extents(size, &[9, 200, 31]);
    let refuse = |change: fn(&mut Header)| {
        let mut changed = header(size);
        change(&mut changed);
        match Manifest::build(changed, list()) {
            Err(ManifestError::Rule { rule }) => rule,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refuse(|h| h.identity.name.clear()), "an image has a name");
    assert_eq!(refuse(|h| h.disk.sector_size = 520), "the sector size is 512 or 4096 bytes");
    assert_eq!(refuse(|h| h.disk.size += 512), "extents end at the edges of the boot region");
    assert_eq!(refuse(|h| h.disk.size -= 1), "the disk size is a multiple of the sector size");
    assert_eq!(refuse(|h| h.table.partitions[0].last_lba = 1 << 40), "partitions lie on the disk");
    assert_eq!(
        refuse(|h| h.table.partitions.push(h.table.partitions[0].clone())),
        "partitions do not overlap"
    );
    assert_eq!(
        refuse(|h| h.identity.note = "a\nb".into()),
        "texts have at most 1024 bytes and no control characters"
    );
    let owned = HostRegion { offset: MIB, len: MIB, purpose: "seed".into() };
    let mut with_region = header(size);
    with_region.host_regions.push(owned);
    assert!(matches!(Manifest::build(with_region, list()), Err(ManifestError::Rule { .. })));
    let half = list().into_iter().take(3).collect::<Vec<_>>();
    assert!(Manifest::build(header(size), half).is_err());
}
