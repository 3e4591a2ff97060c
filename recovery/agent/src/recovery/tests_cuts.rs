//! The whole path of an endpoint's restore, from the order to the placed ticket, cut at random moments: it never leaves half an image
//! that boots, and the next attempt fetches no more than was missing.
//!
//! The disk has a cache that a cut empties, sector by sector, as it likes. The seed is printed; `GROUNDSTATE_SEED` gives one back.

use std::collections::BTreeMap;

use images::restore::ReadDisk as _;
use images::restore::mem::{Faults, MemDisk};
use images::{Content, Digest};
use recovery_protocol::agent::{Base64, Reported, RestoreOrder};
use recovery_protocol::trust::EnrolmentTicket;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::tests::{Plant, go_on, run_and_hear, with_esp};
use crate::testing::noise;

/// At least so many cuts fall before a restore has ended.
const CUTS: u32 = 60;
/// So many in a row at most, before one attempt is left to its end.
const IN_A_ROW: u32 = 3;
const SIZE: usize = 6 << 20;

/// xorshift64: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn printed() -> Self {
        let given = std::env::var("GROUNDSTATE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let mut bytes = [0; 8];
            SystemRandom::new().fill(&mut bytes).unwrap();
            u64::from_le_bytes(bytes) | 1
        });
        eprintln!("GROUNDSTATE_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}

/// A disk that boots, whose ESP holds `seed`'s loader, with data behind it.
fn bootable(seed: u64) -> Vec<u8> {
    let mut disk = with_esp(SIZE, &noise(seed, 1 << 20));
    disk[5 << 20..SIZE - 40 * 512].copy_from_slice(&noise(seed ^ 0xff, (1 << 20) - 40 * 512));
    disk
}

fn boots(disk: &[u8]) -> bool {
    let table = |at: usize| &disk[at..at + 8] == b"EFI PART";
    table(512) || table(disk.len() - 512)
}

fn payload(disk: &[u8]) -> &[u8] {
    &disk[1 << 20..disk.len() - 33 * 512]
}

/// Bytes of the image's chunks that `disk` does not have where they belong.
fn missing(plant: &Plant, disk: &[u8]) -> u64 {
    let manifest =
        plant.keys.verify(images::SignedManifest::decode(&plant.manifest_bytes()).unwrap()).unwrap();
    let differs = |offset: u64, len: u64| {
        let range = offset as usize..(offset + len) as usize;
        disk[range.clone()] != plant.raw[range]
    };
    let data = manifest.extents().filter(|extent| matches!(extent.content, Content::Data(_)));
    data.filter(|extent| differs(extent.offset, extent.len)).map(|extent| extent.len).sum()
}

fn with_ticket(order: RestoreOrder) -> RestoreOrder {
    let ticket = EnrolmentTicket {
        job: order.job,
        endpoint: "press-01".to_owned(),
        appliance: "10.7.0.5:8443".to_owned(),
        appliance_spki_sha256: "00".repeat(32),
        secret: "s".repeat(43),
    };
    let content = Base64(serde_json::to_vec(&ticket).unwrap());
    RestoreOrder { esp_files: BTreeMap::from([(EnrolmentTicket::ESP_PATH.to_owned(), content)]), ..order }
}

#[test]
fn a_restore_that_is_cut_at_random_moments_never_boots_half_an_image_and_goes_on() {
    let mut random = Random::printed();
    let plant = Plant::with(bootable(1));
    let order = with_ticket(plant.order(vec![plant.frames(|_| {})]));
    let old = bootable(2);
    let whole = MemDisk::new(old.clone(), 512);
    run_and_hear(&plant, &order, &whole, Ok(()), go_on).0.unwrap();
    let operations = whole.counts().operations;
    let whole = whole.into_bytes();
    assert!(boots(&whole) && payload(&whole) != payload(&plant.raw), "the ticket lies on it");

    let (mut cuts, mut verdicts) = (0, [0; 3]);
    while cuts < CUTS {
        let mut left = old.clone();
        for _ in 0..=random.below(IN_A_ROW.into()) {
            let at = random.below(operations);
            let faults = Faults { power_cut_at: Some(at), ..Faults::default() };
            let disk = MemDisk::with_faults(left, 512, faults);
            let (outcome, _) = run_and_hear(&plant, &order, &disk, Ok(()), go_on);
            // Once the disk has most of it, an attempt may end before its cut.
            cuts += u32::from(outcome.is_err());
            let mut lucky = random.below(3);
            left = disk.after_power_cut(|| {
                lucky = random.below(3);
                lucky > 0
            });
            let verdict = match () {
                () if !boots(&left) => 0,
                () if payload(&left) == payload(&old) => 1,
                () if payload(&left) == payload(&whole) => 2,
                () => panic!("half an image boots after a cut at operation {at} of {operations}"),
            };
            verdicts[verdict] += 1;
        }
        let missing = missing(&plant, &left);
        let survivor = MemDisk::new(left, 512);
        assert_eq!(survivor.size(), SIZE as u64);
        let (outcome, reports) = run_and_hear(&plant, &order, &survivor, Ok(()), go_on);
        outcome.unwrap();
        for report in reports {
            match report {
                Reported::Planned { plan, .. } => {
                    assert!(plan.fetch_bytes <= missing, "{plan:?}, {missing} were missing");
                }
                // Noise does not shrink, and no frame is more than a few bytes longer than its chunk.
                Reported::Written { stats, .. } => {
                    assert!(
                        stats.wire_bytes <= missing + missing / 100 + 4096,
                        "{stats:?}, {missing} missing"
                    );
                }
                _ => {}
            }
        }
        assert!(survivor.into_bytes() == whole, "{}", Digest::of(&whole));
    }
    eprintln!(
        "{cuts} cuts of {operations} operations: {verdicts:?} do not boot, boot as before, boot the image"
    );
    assert!(verdicts[0] > 0, "no cut fell between the first write and the last");
}
