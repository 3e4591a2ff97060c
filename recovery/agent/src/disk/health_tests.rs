//! Pages and sectors laid out by the specifications, as disks would give them, and what is made of anything else.

use proptest::prelude::*;

use super::*;

const NONE: [String; 0] = [];

/// A healthy NVMe disk: 35 °C, all spare, 7 % used, 4213 hours.
fn nvme() -> Sector {
    let mut page = [0; 512];
    page[1..3].copy_from_slice(&308_u16.to_le_bytes());
    (page[3], page[4], page[5]) = (100, 10, 7);
    page[128..136].copy_from_slice(&4213_u64.to_le_bytes());
    page
}

/// The state and the reasons of `page` after `change`.
fn changed(change: impl Fn(&mut Sector)) -> (HealthState, Vec<String>) {
    let mut page = nvme();
    change(&mut page);
    let DiskHealth { state, reasons, .. } = of_nvme(&page);
    (state, reasons)
}

#[test]
fn an_nvme_disk_that_is_well_is_good_and_gives_its_figures() {
    let expected = HealthFigures {
        critical_warning: Some(0),
        used_percent: Some(7),
        spare_percent: Some(100),
        spare_percent_min: Some(10),
        media_errors: Some(0),
        power_on_hours: Some(4213),
        temperature_celsius: Some(35),
        ..HealthFigures::default()
    };
    assert_eq!(of_nvme(&nvme()), DiskHealth { state: HealthState::Good, reasons: vec![], figures: expected });
}

#[test]
fn each_critical_warning_fails_a_disk_but_heat_and_memory_regions() {
    let table = [
        (0, HealthState::Failing, "its spare blocks are used up"),
        (1, HealthState::Worn, "it is outside of its temperature range"),
        (2, HealthState::Failing, "it is not reliable any more"),
        (3, HealthState::Failing, "it can only be read"),
        (4, HealthState::Failing, "the backup of its volatile memory failed"),
        (5, HealthState::Worn, "its persistent memory region is not reliable"),
    ];
    for (bit, state, reason) in table {
        assert_eq!(changed(|page| page[0] = 1 << bit), (state, vec![reason.to_owned()]), "bit {bit}");
    }
    let both = changed(|page| page[0] = 0b0110);
    let reasons = ["it is not reliable any more", "it is outside of its temperature range"];
    assert_eq!(both, (HealthState::Failing, reasons.map(str::to_owned).to_vec()), "its verdict stands first");
    assert_eq!(
        changed(|page| page[0] = 0b1100_0000),
        (HealthState::Good, NONE.to_vec()),
        "bits without a meaning"
    );
}

#[test]
fn figures_of_an_nvme_disk_warn_and_hold_nothing() {
    let used_up = (HealthState::Worn, vec!["its endurance is used up".to_owned()]);
    for (used, expected) in [(99, (HealthState::Good, NONE.to_vec())), (100, used_up.clone()), (255, used_up)]
    {
        assert_eq!(changed(|page| page[5] = used), expected, "{used} %");
    }
    let errors = changed(|page| page[160] = 2);
    assert_eq!(errors, (HealthState::Worn, vec!["2 times data could not be read".to_owned()]));
    let mut page = nvme();
    page[168] = 1;
    (page[1], page[2]) = (0, 0);
    let figures = of_nvme(&page).figures;
    assert_eq!(figures.media_errors, Some(u64::MAX), "128 bits do not wrap");
    assert_eq!(figures.temperature_celsius, None, "absolute zero is no temperature");
}

#[test]
fn a_page_with_nothing_in_it_is_no_page() {
    for byte in [0, 0xff] {
        let health = of_nvme(&[byte; 512]);
        assert_eq!(
            (health.state, health.figures),
            (HealthState::Unknown, HealthFigures::default()),
            "{byte}"
        );
    }
}

/// IDENTIFY data of a disk with SMART on.
fn identify(solid: bool) -> Sector {
    let mut sector = [0; 512];
    for (at, word) in
        [(82, 1_u16), (83, 1 << 14), (85, 1), (87, 1 << 14), (217, if solid { 1 } else { 7200 })]
    {
        sector[2 * at..2 * at + 2].copy_from_slice(&word.to_le_bytes());
    }
    sector
}

/// SMART data with these attributes: id, value, lowest bytes of the raw value.
fn smart_data(attributes: &[(u8, u8, &[u8])]) -> Sector {
    let mut data = [0; 512];
    data[0] = 16;
    for (at, (id, value, raw)) in (2..).step_by(12).zip(attributes) {
        (data[at], data[at + 3], data[at + 4]) = (*id, *value, *value);
        data[at + 5..at + 5 + raw.len()].copy_from_slice(raw);
    }
    data[511] = data.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    data
}

#[test]
fn an_ata_disk_that_is_well_is_good_and_gives_its_figures() {
    // The hours with minutes above them, the temperature with least and most.
    let data = smart_data(&[
        (5, 100, &[0, 0, 9, 9]),
        (9, 95, &[0x75, 0x10, 0, 0x2a]),
        (194, 64, &[36, 0, 17, 0, 51]),
        (197, 200, &[0]),
        (198, 200, &[0]),
        (231, 36, &[36]),
    ]);
    let health = of_ata(&identify(false), Some(Verdict::Well), Some(&data));
    let figures = HealthFigures {
        reallocated_sectors: Some(0),
        pending_sectors: Some(0),
        uncorrectable_sectors: Some(0),
        power_on_hours: Some(4213),
        temperature_celsius: Some(36),
        ..HealthFigures::default()
    };
    assert_eq!(health, DiskHealth { state: HealthState::Good, reasons: vec![], figures });
}

#[test]
fn a_disk_without_a_temperature_of_its_own_gives_that_of_the_air() {
    let celsius = |attributes: &[(u8, u8, &[u8])]| {
        let data = smart_data(attributes);
        of_ata(&identify(true), Some(Verdict::Well), Some(&data)).figures.temperature_celsius
    };
    assert_eq!(celsius(&[(190, 69, &[31])]), Some(31));
    assert_eq!(celsius(&[(190, 69, &[31]), (194, 60, &[0xfb])]), Some(-5));
    assert_eq!(celsius(&[]), None);
}

#[test]
fn the_verdict_of_an_ata_disk_holds_and_its_figures_warn() {
    let bad = smart_data(&[(5, 1, &[0x2c, 1]), (197, 100, &[1]), (198, 100, &[0])]);
    let reasons = ["300 sectors were replaced".to_owned(), "1 sector cannot be read".to_owned()];
    let worn = of_ata(&identify(false), Some(Verdict::Well), Some(&bad));
    assert_eq!((worn.state, &worn.reasons[..]), (HealthState::Worn, &reasons[..]));
    let failing = of_ata(&identify(false), Some(Verdict::Failing), Some(&bad));
    assert_eq!(failing.state, HealthState::Failing);
    assert_eq!(failing.reasons[0], "it predicts its own failure");
    assert_eq!(failing.reasons[1..], reasons);
    assert_eq!(of_ata(&identify(false), Some(Verdict::Failing), None).state, HealthState::Failing);
}

#[test]
fn endurance_is_read_of_solid_disks_and_only_where_it_means_something() {
    let table = [(0, None), (1, Some(100)), (2, Some(98)), (100, Some(0)), (101, None)];
    for (value, used) in table {
        let data = smart_data(&[(233, value, &[])]);
        let health = of_ata(&identify(true), Some(Verdict::Well), Some(&data));
        assert_eq!(health.figures.used_percent, used, "{value}");
        assert_eq!(health.state == HealthState::Worn, used == Some(100), "{value}");
    }
}

#[test]
fn an_ata_disk_without_a_verdict_is_not_good() {
    let data = smart_data(&[(5, 100, &[0])]);
    let health = of_ata(&identify(false), None, Some(&data));
    assert_eq!((health.state, health.figures.reallocated_sectors), (HealthState::Unknown, Some(0)));
    assert_eq!(of_ata(&identify(false), None, Some(&smart_data(&[(197, 1, &[8])]))).state, HealthState::Worn);
}

#[test]
fn smart_data_with_a_wrong_sum_is_not_believed() {
    let mut data = smart_data(&[(5, 1, &[9])]);
    data[7] = 10;
    let health = of_ata(&identify(false), Some(Verdict::Well), Some(&data));
    assert_eq!(health, DiskHealth { state: HealthState::Good, ..DiskHealth::default() });
}

#[test]
fn smart_that_is_off_or_absent_is_seen_in_identify_data() {
    let without = |at: usize, word: u16| {
        let mut sector = identify(false);
        sector[2 * at..2 * at + 2].copy_from_slice(&word.to_le_bytes());
        smart(&sector)
    };
    assert_eq!(smart(&identify(false)), Smart::On);
    assert_eq!(without(82, 0), Smart::None);
    assert_eq!(without(85, 0), Smart::Off);
    assert_eq!((without(83, 0), without(83, 0xffff)), (Smart::None, Smart::None), "no word counts then");
    assert_eq!(smart(&[0; 512]), Smart::None);
}

/// Sense data with an ATA Status Return descriptor behind another one.
fn registers(key: [u8; 2], status: u8) -> Vec<u8> {
    let mut sense = vec![0x72, 1, 0, 0x1d, 0, 0, 0, 14 + 4];
    sense.extend([0, 2, 0, 0]);
    sense.extend([9, 12, 0, 0, 0, 0, 0, 0, 0, key[0], 0, key[1], 0, status]);
    sense
}

#[test]
fn the_verdict_stands_in_the_registers_or_there_is_none() {
    let fixed = |key: [u8; 2], asc: u8| {
        let mut sense = vec![0; 18];
        (sense[0], sense[2], sense[4], sense[7]) = (0x70, 1, 0x50, 10);
        (sense[10], sense[11], sense[13]) = (key[0], key[1], asc);
        verdict(&sense)
    };
    for (key, expected) in [
        (SMART_KEY, Some(Verdict::Well)),
        (SMART_FAILING, Some(Verdict::Failing)),
        ([0, 0], None),
        ([0x4f, 0x2c], None),
    ] {
        assert_eq!(verdict(&registers(key, 0x50)), expected, "{key:x?}");
        assert_eq!(fixed(key, 0x1d), expected, "{key:x?}, fixed");
        assert_eq!(fixed(key, 0), None, "no registers are in there");
        assert_eq!(verdict(&registers(key, 0x51)), None, "the command was refused");
    }
    let whole = registers(SMART_FAILING, 0x50);
    for len in 0..whole.len() {
        assert_eq!(verdict(&whole[..len]), None, "cut at {len}");
    }
}

#[test]
fn questions_are_those_of_the_specification() {
    let identify = [0x85, 8, 0x0e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec, 0];
    assert_eq!(pass_through(IDENTIFY, 0, true), identify);
    let data = [0x85, 8, 0x0e, 0, 0xd0, 0, 1, 0, 0, 0, 0x4f, 0, 0xc2, 0, 0xb0, 0];
    assert_eq!(pass_through(SMART, READ_DATA, true), data);
    let status = [0x85, 6, 0x20, 0, 0xda, 0, 0, 0, 0, 0, 0x4f, 0, 0xc2, 0, 0xb0, 0];
    assert_eq!(pass_through(SMART, RETURN_STATUS, false), status);
}

#[test]
fn what_cannot_be_asked_is_unknown_and_never_failing() {
    let file = tempfile::tempfile().unwrap();
    for transport in ["nvme", "ata", "virtio", "usb", "mmc", "scsi", ""] {
        assert_eq!(read(&file, transport).state, HealthState::Unknown, "{transport}");
    }
    assert_eq!(read(&file, "virtio"), DiskHealth::default());
}

proptest! {
    /// Whatever bytes come, there is an answer; and only the disk's own verdict makes it a failing one.
    #[test]
    fn any_bytes_have_a_meaning(bytes in prop::collection::vec(any::<u8>(), 1024), sense in prop::collection::vec(any::<u8>(), 0..64)) {
        let (identify, data): (Sector, Sector) = (bytes[..512].try_into().unwrap(), bytes[512..].try_into().unwrap());
        prop_assert_eq!(of_nvme(&identify).state == HealthState::Failing, identify[0] & 0b1_1101 != 0);
        let _ = (smart(&identify), verdict(&sense));
        for verdict in [None, Some(Verdict::Well)] {
            prop_assert_ne!(of_ata(&identify, verdict, Some(&data)).state, HealthState::Failing);
        }
    }

    /// Sense data that begins like that of an ATA command, with anything in it.
    #[test]
    fn any_descriptors_have_a_meaning(length in any::<u8>(), mut sense in prop::collection::vec(any::<u8>(), 8..64)) {
        (sense[0], sense[7]) = (0x72, length);
        let _ = verdict(&sense);
    }
}
