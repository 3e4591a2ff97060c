//! What an image preserves stays as it is, through power cuts too, or the restore is refused and the disk untouched.

use super::*;

/// Sectors of the partition that stays: 3 to 4 MiB of a disk of 5 MiB.
const FIRST: u64 = 6144;
const LAST: u64 = 8191;
const DATA: std::ops::Range<usize> = 3 * MIB as usize..4 * MIB as usize;

/// A disk of 5 MiB: system, data, system.
pub(super) fn disk_with_data(seed: u64) -> Vec<u8> {
    let parts = [(LINUX_TYPE, 2048, 4095), (LINUX_TYPE, FIRST, LAST), (LINUX_TYPE, 8192, 10239 - 34)];
    let mut raw = gpt_disk(5 * MIB, 512, &parts);
    for (at, len) in [(MIB, 500_000), (3 * MIB + 4096, 300_000), (4 * MIB + 512, 200_000)] {
        let at = at as usize;
        raw[at..at + len].copy_from_slice(&noise(seed ^ at as u64, len));
    }
    raw
}

pub(super) fn preserving(plant: &Plant, raw: &[u8], what: &str) -> Verified<Manifest> {
    plant.image_with(raw, &ImportRequest { preserve: vec![what.to_owned()], ..request() })
}

/// The image with what the endpoint had in its data partition.
fn expected(image: &[u8], endpoint: &[u8]) -> Vec<u8> {
    let mut disk = image.to_vec();
    disk[DATA].copy_from_slice(&endpoint[DATA]);
    disk
}

fn refusal(image: &Verified<Manifest>, disk: &MemDisk) -> PlanRefusal {
    match scan(image, disk, &quiet) {
        Err(RestoreError::Refused(refusal)) => {
            assert_eq!(disk.counts().operations, 0, "the disk is untouched");
            refusal
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_an_endpoint_has_there_stays_and_is_hashed_before_and_after() {
    let plant = Plant::new();
    let (golden, endpoint) = (disk_with_data(1), disk_with_data(2));
    for what in ["2", "p1", "02020202-0202-0202-0202-020202020202"] {
        let image = preserving(&plant, &golden, what);
        assert_eq!(image.header().table.partitions[1].policy, Policy::Preserve, "{what}");
        assert_eq!(image.header().table.partitions[0].policy, Policy::Write);
        let disk = MemDisk::new(endpoint.clone(), 512);
        let ends = Mutex::new((0, 0));
        let progress = |event: ProgressEvent| {
            if event.phase == Phase::Scan {
                let mut ends = ends.lock().unwrap();
                *ends = (ends.0.max(event.done), event.total);
            }
        };
        let found = scan_for(&image, &disk, Preserve::Keep, &progress).unwrap();
        let (done, total) = ends.into_inner().unwrap();
        assert!(done == total && done > MIB, "{done} of {total}");
        let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
        assert_eq!((plan.summary().preserve_partitions, plan.summary().preserve_bytes), (1, MIB));
        assert!(plan.to_string().contains("1.0 MiB in 1 preserved"), "{plan}");
        let before = plan.preserved()[0].clone();
        assert_eq!((before.number, before.name.as_str()), (2, "p1"));
        assert_eq!(before.digest, crate::Digest::of(&endpoint[DATA]));
        let written = plan.poison(&disk).unwrap().write(&plant.store, &quiet).unwrap();
        let proven = written.read_back(ReadBack::Everything).unwrap();
        assert_eq!(proven.preserved(), [before]);
        proven.commit_boot_region().unwrap();
        assert!(bytes_of(&disk) == expected(&golden, &endpoint));
        let again = restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
        assert_eq!(again.written, 0);
    }
}

#[test]
fn a_blank_disk_gets_what_the_image_has_there() {
    let plant = Plant::new();
    let golden = disk_with_data(1);
    let image = preserving(&plant, &golden, "2");
    let empty_table = gpt_disk(5 * MIB, 512, &[]);
    for blank in [vec![0; golden.len()], empty_table] {
        let disk = MemDisk::new(blank, 512);
        restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
        assert!(bytes_of(&disk) == golden);
    }
}

#[test]
fn a_disk_on_which_it_cannot_be_told_is_refused_until_a_person_gives_it_up() {
    let plant = Plant::new();
    let golden = disk_with_data(1);
    let image = preserving(&plant, &golden, "p1");
    let mut elsewhere = gpt_disk(5 * MIB, 512, &[(LINUX_TYPE, FIRST + 8, LAST)]);
    elsewhere[DATA].fill(7);
    // One of the two copies of the table is enough to say no.
    let mut torn = disk_with_data(2);
    let sector = torn.len() - 512;
    torn[sector..].copy_from_slice(&elsewhere[sector..]);
    torn[sector - 32 * 512..sector].copy_from_slice(&elsewhere[sector - 32 * 512..sector]);
    let mut wiped = disk_with_data(2);
    wiped[..MIB as usize].fill(0);
    wiped[sector..].fill(0);
    for bytes in [elsewhere, torn, wiped] {
        let disk = MemDisk::new(bytes, 512);
        match refusal(&image, &disk) {
            PlanRefusal::PreservedElsewhere { number: 2, name, found } => {
                assert!(name == "p1" && found.contains("from sector 6152 to 8191"), "{found}");
            }
            PlanRefusal::PreservedUnknown { number: 2, .. } => {}
            other => panic!("{other:?}"),
        }
        let found = scan_for(&image, &disk, Preserve::GiveUp, &quiet).unwrap();
        let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
        assert_eq!(plan.summary().preserve_partitions, 0);
        let written = plan.poison(&disk).unwrap().write(&plant.store, &quiet).unwrap();
        written.read_back(ReadBack::Everything).unwrap().commit_boot_region().unwrap();
        assert!(bytes_of(&disk) == golden);
    }
}

/// What a disk may begin and end with that is no table to go by.
fn no_tables(len: usize) -> Vec<(&'static str, Vec<u8>)> {
    let blank = || vec![0; len];
    let table = gpt_disk(5 * MIB, 512, &[(LINUX_TYPE, FIRST, LAST)]);
    let mut damaged = table.clone();
    let mut odd = gpt_disk(5 * MIB, 512, &[(LINUX_TYPE, LAST, FIRST)]);
    for at in [512 + 20, len - 512 + 20] {
        damaged[at] ^= 1;
        odd[at] = 0;
    }
    let other_sectors = gpt_disk(5 * MIB, 4096, &[(LINUX_TYPE, FIRST / 8, LAST / 8)]);
    let mut no_record = blank();
    no_record[..300].fill(b'x');
    no_record[446..510].fill(b'x');
    no_record[510..512].copy_from_slice(&[0x55, 0xaa]);
    vec![
        ("none", blank()),
        ("damaged", damaged),
        ("one odd entry", odd),
        ("sectors of 4096 bytes", other_sectors),
        ("no boot record", no_record),
        ("empty", gpt_disk(5 * MIB, 512, &[])),
    ]
}

#[test]
fn without_a_table_a_disk_that_holds_anything_anywhere_is_refused() {
    let plant = Plant::new();
    let golden = disk_with_data(1);
    let image = preserving(&plant, &golden, "p1");
    for (what, bytes) in no_tables(golden.len()) {
        let disk = MemDisk::new(bytes.clone(), 512);
        // A blank one has lost nothing, whatever its boot region says.
        if what != "sectors of 4096 bytes" {
            restore(&image, &disk, &plant.store, ReadBack::Written).unwrap();
            assert!(bytes_of(&disk) == golden, "{what}");
        }
        // Where the image has bytes, where it has zeros, in the last sector before its second table.
        for at in [MIB as usize, 2 * MIB as usize - 7, 4 * MIB as usize + 900_000, golden.len() - 34 * 512] {
            assert!(!DATA.contains(&at));
            let mut elsewhere = bytes.clone();
            elsewhere[at] = 7;
            let refused = refusal(&image, &MemDisk::new(elsewhere, 512));
            assert!(
                matches!(refused, PlanRefusal::PreservedUnknown { number: 2, .. }),
                "{what}: {refused:?}"
            );
        }
    }
    // On a larger disk the end of the image is in the middle.
    let mut larger = vec![0; golden.len() + MIB as usize];
    larger[golden.len() - 512] = 7;
    let refused = refusal(&image, &MemDisk::new(larger, 512));
    assert!(matches!(refused, PlanRefusal::PreservedUnknown { number: 2, .. }), "{refused:?}");
}

#[test]
fn leave_to_write_is_of_one_image_and_not_of_one_that_was_given_up() {
    let plant = Plant::new();
    let golden = disk_with_data(1);
    let image = preserving(&plant, &golden, "p1");
    let other = preserving(&plant, &disk_with_data(3), "p1");
    let poisoned = |bytes: Vec<u8>, preserve: Preserve| {
        let disk = MemDisk::new(bytes, 512);
        let found = scan_for(&image, &disk, preserve, &quiet).unwrap();
        let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
        let _interrupted = plan.poison(&disk).unwrap();
        bytes_of(&disk)
    };
    let mut blank = poisoned(vec![0; golden.len()], Preserve::Keep);
    blank[DATA].copy_from_slice(&golden[DATA]);
    let refused = refusal(&other, &MemDisk::new(blank.clone(), 512));
    assert!(matches!(refused, PlanRefusal::PreservedUnknown { number: 2, .. }), "{refused:?}");
    let disk = MemDisk::new(blank, 512);
    restore(&image, &disk, &plant.store, ReadBack::Written).unwrap();
    assert!(bytes_of(&disk) == golden);
    // Who gave it up may think better of it before a byte of it is written.
    let given_up = poisoned(disk_with_data(2), Preserve::GiveUp);
    let refused = refusal(&image, &MemDisk::new(given_up, 512));
    assert!(matches!(refused, PlanRefusal::PreservedUnknown { number: 2, .. }), "{refused:?}");
}

#[test]
fn either_copy_of_the_table_says_where_it_is() {
    let plant = Plant::new();
    let (golden, endpoint) = (disk_with_data(1), disk_with_data(2));
    let image = preserving(&plant, &golden, "p1");
    for lost in [0..MIB as usize, golden.len() - 512..golden.len()] {
        let mut bytes = endpoint.clone();
        bytes[lost].fill(0);
        let disk = MemDisk::new(bytes, 512);
        restore(&image, &disk, &plant.store, ReadBack::Written).unwrap();
        assert!(bytes_of(&disk) == expected(&golden, &endpoint));
    }
}

#[test]
fn a_disk_that_loses_it_is_named_and_does_not_boot() {
    let plant = Plant::new();
    let (golden, endpoint) = (disk_with_data(1), disk_with_data(2));
    let image = preserving(&plant, &golden, "p1");
    let disk = MemDisk::new(endpoint, 512);
    let found = scan(&image, &disk, &quiet).unwrap();
    let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
    let written = plan.poison(&disk).unwrap().write(&plant.store, &quiet).unwrap();
    let mut sector = AlignedBuf::new(512);
    let flip = |sector: &mut AlignedBuf| {
        sector[100] ^= 1;
        disk.write_at((FIRST + 9) * 512, sector).unwrap();
    };
    disk.read_at((FIRST + 9) * 512, &mut sector).unwrap();
    flip(&mut sector);
    match written.read_back(ReadBack::Written).map(drop) {
        Err(RestoreError::NotPreserved { number: 2, name }) => assert_eq!(name, "p1"),
        other => panic!("{other:?}"),
    }
    assert!(!boots(&bytes_of(&disk)));
    // And the next attempt sees by the record of the first that it is not what it was.
    assert!(matches!(
        scan(&image, &disk, &quiet),
        Err(RestoreError::Refused(PlanRefusal::PreservedChanged { number: 2, .. }))
    ));
    flip(&mut sector);
    restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
}

/// How a disk can say where its partitions are, other than by two copies of a GPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// As a smaller disk that was copied onto it does.
    StartAlone,
    MasterBootRecord,
    /// With what a GPT of another layout has left at the end.
    MasterBootRecordBesideOldBackup,
}

/// The master boot record of three partitions at the places of [`disk_with_data`], with boot code.
fn master_boot_record(raw: &mut [u8]) {
    raw[..MIB as usize].fill(0);
    let end = raw.len() - 34 * 512;
    raw[end..].fill(0);
    raw[..440].fill(0x90);
    for (slot, first, count) in [(0, 2048u32, 2048u32), (1, FIRST as u32, 2048), (2, 8192, 2014)] {
        let entry = &mut raw[446 + 16 * slot..][..16];
        entry[4] = 0x83;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..16].copy_from_slice(&count.to_le_bytes());
    }
    raw[510..512].copy_from_slice(&[0x55, 0xaa]);
}

fn form(mut raw: Vec<u8>, says: Says) -> Vec<u8> {
    match says {
        Says::StartAlone => {
            let end = raw.len() - 512;
            raw[end..].fill(0);
        }
        Says::MasterBootRecord => master_boot_record(&mut raw),
        Says::MasterBootRecordBesideOldBackup => {
            master_boot_record(&mut raw);
            let backup = gpt_disk(5 * MIB, 512, &[(LINUX_TYPE, 4096, 9000)]);
            let end = raw.len() - 33 * 512;
            raw[end..].copy_from_slice(&backup[end..]);
        }
    }
    raw
}

#[test]
fn no_power_cut_loses_what_stays_or_the_way_to_it_whatever_tells_where_it_is() {
    let plant = Plant::new();
    let ways = [Says::StartAlone, Says::MasterBootRecord, Says::MasterBootRecordBesideOldBackup];
    for says in ways {
        let golden = match says {
            Says::StartAlone => disk_with_data(1),
            _ => form(disk_with_data(1), Says::MasterBootRecord),
        };
        let endpoint = form(disk_with_data(2), says);
        let image = preserving(&plant, &golden, "2");
        let disk = MemDisk::new(endpoint.clone(), 512);
        restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
        assert!(bytes_of(&disk) == expected(&golden, &endpoint), "{says:?}");
        let operations = disk.counts().operations;
        for cut in 0..=operations {
            for seed in 0..6 {
                let faults = Faults { power_cut_at: Some(cut), ..Faults::default() };
                let disk = MemDisk::with_faults(endpoint.clone(), 512, faults);
                let _ = restore(&image, &disk, &plant.store, ReadBack::Everything);
                let mut random = noise(cut * 6 + seed, 1 << 16).into_iter().cycle();
                let left =
                    disk.after_power_cut(|| seed == 1 || (seed != 2 && random.next().unwrap() & 1 == 1));
                let at = format!("{says:?}, cut at operation {cut} of {operations}");
                assert!(left[DATA] == endpoint[DATA], "{at}");
                if says != Says::StartAlone && left[..440] == golden[..440] && left[510..512] == [0x55, 0xaa]
                {
                    let (whole, before) = (expected(&golden, &endpoint), &endpoint);
                    let same = |other: &[u8]| payload_of(&left) == payload_of(other);
                    assert!(same(&whole) || same(before), "half an image boots: {at}");
                }
                let survivor = MemDisk::new(left, 512);
                let again = restore(&image, &survivor, &plant.store, ReadBack::Everything);
                again.unwrap_or_else(|error| panic!("{at}: {error:?}"));
                assert!(bytes_of(&survivor) == expected(&golden, &endpoint), "{at}");
            }
        }
    }
}

#[test]
fn a_blank_disk_whose_first_restore_is_cut_gets_the_image_all_the_same() {
    let plant = Plant::new();
    let golden = disk_with_data(1);
    let image = preserving(&plant, &golden, "2");
    let blank = vec![0; golden.len()];
    let disk = MemDisk::new(blank.clone(), 512);
    restore(&image, &disk, &plant.store, ReadBack::Written).unwrap();
    let operations = disk.counts().operations;
    for cut in 0..=operations {
        for seed in 0..3 {
            let faults = Faults { power_cut_at: Some(cut), ..Faults::default() };
            let disk = MemDisk::with_faults(blank.clone(), 512, faults);
            let _ = restore(&image, &disk, &plant.store, ReadBack::Written);
            let mut random = noise(cut * 3 + seed, 1 << 16).into_iter().cycle();
            let left = disk.after_power_cut(|| seed == 1 || (seed == 0 && random.next().unwrap() & 1 == 1));
            let survivor = MemDisk::new(left, 512);
            let again = restore(&image, &survivor, &plant.store, ReadBack::Written);
            again.unwrap_or_else(|error| panic!("cut at operation {cut} of {operations}: {error:?}"));
            assert!(bytes_of(&survivor) == golden);
        }
    }
}

#[test]
fn a_record_beside_a_table_at_the_start_is_old() {
    let plant = Plant::new();
    let (golden, endpoint) = (disk_with_data(1), disk_with_data(2));
    let image = preserving(&plant, &golden, "p1");
    let disk = MemDisk::new(endpoint.clone(), 512);
    let plan =
        RestorePlan::new(&image, scan(&image, &disk, &quiet).unwrap(), &EndpointFacts::default()).unwrap();
    let _interrupted = plan.poison(&disk).unwrap();
    // A person puts the table back, works with the data, and recovers the endpoint one day.
    let mut worked = bytes_of(&disk);
    worked[..34 * 512].copy_from_slice(&endpoint[..34 * 512]);
    let end = worked.len() - 33 * 512;
    worked[end..].copy_from_slice(&endpoint[end..]);
    worked[DATA.start + 7] ^= 1;
    let disk = MemDisk::new(worked.clone(), 512);
    restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
    assert!(bytes_of(&disk) == expected(&golden, &worked));
}

#[test]
fn an_older_backup_at_the_end_does_not_outvote_a_master_boot_record() {
    let plant = Plant::new();
    let golden = form(disk_with_data(1), Says::MasterBootRecord);
    let endpoint = form(disk_with_data(2), Says::MasterBootRecordBesideOldBackup);
    let image = preserving(&plant, &golden, "2");
    let disk = MemDisk::new(endpoint.clone(), 512);
    restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
    assert!(bytes_of(&disk) == expected(&golden, &endpoint));
}

#[test]
fn no_power_cut_loses_what_stays_or_the_way_to_it() {
    let plant = Plant::new();
    let (golden, endpoint) = (disk_with_data(1), disk_with_data(2));
    let image = preserving(&plant, &golden, "p1");
    // Another image for the same layout finds it too.
    let other = preserving(&plant, &disk_with_data(3), "p1");
    let disk = MemDisk::new(endpoint.clone(), 512);
    restore(&image, &disk, &plant.store, ReadBack::Everything).unwrap();
    let operations = disk.counts().operations;
    for cut in 0..=operations {
        for seed in 0..3 {
            let faults = Faults { power_cut_at: Some(cut), ..Faults::default() };
            let disk = MemDisk::with_faults(endpoint.clone(), 512, faults);
            let _ = restore(&image, &disk, &plant.store, ReadBack::Everything);
            let mut random = noise(cut * 3 + seed, 1 << 16).into_iter().cycle();
            let left = disk.after_power_cut(|| seed == 1 || (seed == 0 && random.next().unwrap() & 1 == 1));
            assert!(left[DATA] == endpoint[DATA], "cut at operation {cut} of {operations}");
            let survivor = MemDisk::new(left.clone(), 512);
            restore(&image, &survivor, &plant.store, ReadBack::Everything).unwrap();
            assert!(bytes_of(&survivor) == expected(&golden, &endpoint));
            let survivor = MemDisk::new(left, 512);
            restore(&other, &survivor, &plant.store, ReadBack::Everything).unwrap();
            assert!(bytes_of(&survivor)[DATA] == endpoint[DATA]);
        }
    }
}

#[test]
fn what_cannot_be_preserved_is_said_at_import() {
    let plant = Plant::new();
    let path = plant.dir.path().join("other.raw");
    std::fs::write(&path, disk_with_data(1)).unwrap();
    let import = |what: &str, path: &std::path::Path| {
        let request = ImportRequest { preserve: vec![what.to_owned()], ..request() };
        crate::import::import_raw(path, &request, &plant.store, &mut |_| {}).map(drop).unwrap_err()
    };
    let error = import("D:", &path).to_string();
    assert!(error.contains("`D:`") && error.contains("2 `p1`"), "{error}");
    std::fs::write(&path, bootable_disk(8 * MIB, &[])).unwrap();
    let error = format!("{:?}", import("1", &path));
    assert!(error.contains("the EFI system partition is the image's"), "{error}");
}
