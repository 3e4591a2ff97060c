//! What is preserved and lies elsewhere on the disk than in the image stays where it is, through power cuts too; where it would be in the
//! image's way the restore is refused and the disk untouched.

use super::super::place::Overlay;
use super::super::record::{Mark, Recorded, encode};
use super::preserved::preserving;
use super::*;

/// The image has its data in these sectors, 2 to 3 MiB of a disk of 6 MiB, and nothing behind.
const IN_IMAGE: (u64, u64) = (4096, 6143);

/// System in the second MiB, data in these sectors.
fn disk(mib: u64, data: (u64, u64), seed: u64) -> Vec<u8> {
    let mut raw = gpt_disk(mib * MIB, 512, &[(LINUX_TYPE, 2048, 3071), (LINUX_TYPE, data.0, data.1)]);
    raw[MIB as usize..][..400_000].copy_from_slice(&noise(seed, 400_000));
    let range = bytes(data);
    let len = range.len();
    raw[range].copy_from_slice(&noise(seed + 100, len));
    raw
}

fn bytes((first, last): (u64, u64)) -> std::ops::Range<usize> {
    first as usize * 512..(last as usize + 1) * 512
}

/// Each way in which a disk may have it elsewhere and all fits: size of the disk in MiB, and sectors.
const FORMS: [(u64, (u64, u64)); 7] = [
    (6, (4096, 9000)),   // larger
    (6, (4096, 5000)),   // smaller
    (6, (4608, 5500)),   // within its place
    (6, (5120, 7200)),   // half in its place
    (6, (8192, 10200)),  // where the image has nothing
    (9, (4096, 18390)),  // grown over the end of the image on a larger disk
    (9, (12288, 16383)), // behind the end of the image, across where its second table was
];

fn refusal(image: &Verified<Manifest>, bytes: &[u8]) -> PlanRefusal {
    let disk = MemDisk::new(bytes.to_vec(), 512);
    match scan(image, &disk, &quiet) {
        Err(RestoreError::Refused(refusal)) => {
            assert_eq!(disk.counts().operations, 0, "the disk is untouched");
            refusal
        }
        other => panic!("{other:?}"),
    }
}

/// The image, but for what stays and the table that says where.
fn assert_restored(left: &[u8], golden: &[u8], endpoint: &[u8], data: (u64, u64)) {
    assert!(left[bytes(data)] == endpoint[bytes(data)], "what stays is as it was");
    let mut read = |offset: u64, buf: &mut [u8]| {
        buf.copy_from_slice(&left[offset as usize..][..buf.len()]);
        Ok(())
    };
    let table = Gpt::read(&mut read, 512, left.len() as u64).unwrap();
    let entries: Vec<_> = table.entries.iter().map(|e| (e.first_lba, e.last_lba, e.unique_guid[0])).collect();
    assert_eq!(entries, [(2048, 3071, 1), (data.0, data.1, 2)]);
    assert!(left[MIB as usize..2 * MIB as usize] == golden[MIB as usize..2 * MIB as usize]);
    // Where the image has nothing it wants zeros, and gets them around what stays.
    let free = 3 * MIB as usize..golden.len() - 33 * 512;
    let stays = bytes(data);
    assert!(free.filter(|at| !stays.contains(at)).all(|at| left[at] == 0));
}

#[test]
fn it_stays_where_the_disk_has_it_and_the_table_says_so() {
    let plant = Plant::new();
    let golden = disk(6, IN_IMAGE, 1);
    let image = preserving(&plant, &golden, "p1");
    for (mib, data) in FORMS {
        let mut endpoint = disk(mib, data, 2);
        endpoint[3 * MIB as usize - 5] ^= u8::from(!bytes(data).contains(&(3 * MIB as usize - 5)));
        // Something lies where the image has nothing; on a larger disk the image's end is the endpoint's own.
        let stray = 6 * MIB as usize - 60 * 512;
        if !bytes(data).contains(&stray) {
            endpoint[stray] = 9;
        }
        let target = MemDisk::new(endpoint.clone(), 512);
        let found = scan(&image, &target, &quiet).unwrap();
        let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
        let kept = plan.preserved()[0].clone();
        assert!(kept.is_elsewhere() && kept.digest == crate::Digest::of(&endpoint[bytes(data)]));
        assert_eq!((kept.range.start, kept.range.end), (data.0 * 512, (data.1 + 1) * 512));
        assert!(plan.to_string().contains("1 not as the image has them"), "{plan}");
        restore(&image, &target, &plant.store, ReadBack::Everything).unwrap();
        assert_restored(&bytes_of(&target), &golden, &endpoint, data);
        let again = restore(&image, &target, &plant.store, ReadBack::Everything).unwrap();
        assert_eq!((again.written, again.zeroed), (0, 0), "{data:?}");
    }
}

#[test]
fn no_power_cut_loses_it_or_the_way_to_it_wherever_it_is() {
    let plant = Plant::new();
    let golden = disk(6, IN_IMAGE, 1);
    let image = preserving(&plant, &golden, "p1");
    // One that has it at another place again.
    let other = preserving(&plant, &disk(6, (5000, 6143), 3), "p1");
    for (mib, data) in FORMS {
        let endpoint = disk(mib, data, 2);
        let whole = MemDisk::new(endpoint.clone(), 512);
        restore(&image, &whole, &plant.store, ReadBack::Everything).unwrap();
        let (operations, whole) = (whole.counts().operations, whole.into_bytes());
        for cut in 0..=operations {
            for seed in 0..3 {
                let at = format!("{data:?}, cut at operation {cut} of {operations}, {seed}");
                let faults = Faults { power_cut_at: Some(cut), ..Faults::default() };
                let target = MemDisk::with_faults(endpoint.clone(), 512, faults);
                let _ = restore(&image, &target, &plant.store, ReadBack::Everything);
                let mut random = noise(cut * 3 + seed, 1 << 16).into_iter().cycle();
                let left =
                    target.after_power_cut(|| seed == 1 || (seed == 0 && random.next().unwrap() & 1 == 1));
                assert!(left[bytes(data)] == endpoint[bytes(data)], "{at}");
                if &left[512..520] == b"EFI PART" && left[..MIB as usize] != endpoint[..MIB as usize] {
                    let same = |other: &[u8]| payload_of(&left) == payload_of(other);
                    assert!(same(&whole) || same(&endpoint), "half an image boots: {at}");
                }
                let survivor = MemDisk::new(left.clone(), 512);
                let again = restore(&image, &survivor, &plant.store, ReadBack::Everything);
                again.unwrap_or_else(|error| panic!("{at}: {error:?}"));
                assert!(bytes_of(&survivor) == whole, "{at}");
                let survivor = MemDisk::new(left, 512);
                let again = restore(&other, &survivor, &plant.store, ReadBack::Everything);
                again.unwrap_or_else(|error| panic!("{at}: {error:?}"));
                assert!(bytes_of(&survivor)[bytes(data)] == endpoint[bytes(data)], "{at}");
            }
        }
    }
}

#[test]
fn in_the_images_way_it_is_refused_and_said_with_what_is_wanted_there() {
    let plant = Plant::new();
    let mut golden = disk(6, IN_IMAGE, 1);
    golden[5 * MIB as usize] = 1;
    let image = preserving(&plant, &golden, "p1");
    let sectors = 6 * MIB / 512;
    let cases = [
        ((3000, 5000), "its partition 1 `p0` from sector 2048 to 3071"),
        ((8192, 11000), "what it has between its partitions, at byte 5242880"),
    ];
    for (data, wanted) in cases {
        let mut endpoint = disk(6, data, 2);
        endpoint[bytes(data)].fill(7);
        match refusal(&image, &endpoint) {
            PlanRefusal::PreservedInTheWay { number: 2, name, found, taken } => {
                assert!(taken.contains(wanted), "{taken}");
                assert_eq!(
                    (name.as_str(), found),
                    ("p1", format!("2 `p1` from sector {} to {}", data.0, data.1))
                );
            }
            other => panic!("{other:?}"),
        }
        let target = MemDisk::new(endpoint, 512);
        let found = scan_for(&image, &target, Preserve::GiveUp, &quiet).unwrap();
        let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
        let written = plan.poison(&target).unwrap().write(&plant.store, &quiet).unwrap();
        written.read_back(ReadBack::Everything).unwrap().commit_boot_region().unwrap();
        assert!(bytes_of(&target) == golden);
    }
    // A table that lists sectors which the image's does not offer.
    let mut endpoint = disk(6, (4096, sectors - 34), 2);
    let narrow = preserving(
        &plant,
        &{
            let mut raw = disk(6, IN_IMAGE, 1);
            raw.truncate(5 * MIB as usize);
            let last = raw.len() - 33 * 512;
            raw[..34 * 512].copy_from_slice(
                &gpt_disk(5 * MIB, 512, &[(LINUX_TYPE, 2048, 3071), (LINUX_TYPE, 4096, 6143)])[..34 * 512],
            );
            let table = gpt_disk(5 * MIB, 512, &[(LINUX_TYPE, 2048, 3071), (LINUX_TYPE, 4096, 6143)]);
            raw[last..].copy_from_slice(&table[last..]);
            raw
        },
        "p1",
    );
    restore(&narrow, &MemDisk::new(endpoint.clone(), 512), &plant.store, ReadBack::Everything).unwrap();
    // Copies of the table that differ about it are no table to go by.
    let other = disk(6, (4096, 9000), 2);
    let backup = endpoint.len() - 33 * 512;
    endpoint[backup..].copy_from_slice(&other[backup..]);
    assert!(matches!(refusal(&image, &endpoint), PlanRefusal::PreservedElsewhere { number: 2, .. }));
}

#[test]
fn two_that_have_changed_places_stay_and_one_upon_another_is_refused() {
    let plant = Plant::new();
    let raw = |mib: u64, one: (u64, u64), two: (u64, u64), seed: u64| {
        let parts = [(LINUX_TYPE, 2048, 3071), (LINUX_TYPE, one.0, one.1), (LINUX_TYPE, two.0, two.1)];
        let mut raw = gpt_disk(mib * MIB, 512, &parts);
        for (at, range) in [bytes(one), bytes(two)].into_iter().enumerate() {
            let len = range.len();
            raw[range].copy_from_slice(&noise(seed + at as u64, len));
        }
        raw
    };
    let request = || ImportRequest { preserve: vec!["p1".to_owned(), "p2".to_owned()], ..request() };
    let image = plant.image_with(&raw(6, (4096, 6143), (6144, 8191), 1), &request());
    let (one, two) = ((6200, 8000), (4096, 6100));
    let endpoint = raw(6, one, two, 5);
    let target = MemDisk::new(endpoint.clone(), 512);
    restore(&image, &target, &plant.store, ReadBack::Everything).unwrap();
    let left = bytes_of(&target);
    assert!(left[bytes(one)] == endpoint[bytes(one)] && left[bytes(two)] == endpoint[bytes(two)]);
    let again = restore(&image, &target, &plant.store, ReadBack::Everything).unwrap();
    assert_eq!(again.written, 0);
    // A table may say anything.
    let overlapping = raw(6, (4096, 6000), (5000, 7000), 5);
    match refusal(&image, &overlapping) {
        PlanRefusal::PreservedInTheWay { taken, .. } => assert!(taken.starts_with("to preserve "), "{taken}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_partition_that_grows_ends_before_what_stays_behind_it() {
    let plant = Plant::new();
    // Data first, then the system, which grows.
    let parts = [(LINUX_TYPE, 6144, 8191), (LINUX_TYPE, 4096, 6143)];
    let mut golden = gpt_disk(5 * MIB, 512, &parts);
    golden[3 * MIB as usize..][..100_000].copy_from_slice(&noise(1, 100_000));
    let import = ImportRequest { preserve: vec!["p1".to_owned()], grow_last_partition: true, ..request() };
    let image = plant.image_with(&golden, &import);
    let data = (15000, 17000);
    let mut endpoint = gpt_disk(9 * MIB, 512, &[(LINUX_TYPE, 6144, 8191), (LINUX_TYPE, data.0, data.1)]);
    endpoint[bytes(data)].fill(5);
    let target = MemDisk::new(endpoint.clone(), 512);
    restore(&image, &target, &plant.store, ReadBack::Everything).unwrap();
    let left = bytes_of(&target);
    assert!(left[bytes(data)] == endpoint[bytes(data)]);
    let mut read = |offset: u64, buf: &mut [u8]| {
        buf.copy_from_slice(&left[offset as usize..][..buf.len()]);
        Ok(())
    };
    let table = Gpt::read(&mut read, 512, left.len() as u64).unwrap();
    assert_eq!((table.entries[0].last_lba, table.entries[1].first_lba), (7 * 2048 - 1, 15000));
}

#[test]
fn a_record_that_names_impossible_sectors_is_none() {
    let plant = Plant::new();
    let image = preserving(&plant, &disk(6, IN_IMAGE, 1), "p1");
    let table = &image.header().table;
    let mut mark = Mark::of_image(table, &table.partitions[1]);
    for lbas in [(4096, u64::MAX), (u64::MAX, u64::MAX), (5000, 4999), (4096, 6 * MIB / 512)] {
        mark.lbas = lbas;
        let mut raw = disk(6, IN_IMAGE, 2);
        raw[..MIB as usize].fill(0);
        let end = raw.len() - 33 * 512;
        raw[end..].fill(0);
        let record = encode(&image.id().0, &[(mark, Recorded::Stays(crate::Digest([1; 32])))]);
        raw[64 << 10..][..record.len()].copy_from_slice(&record);
        assert!(matches!(refusal(&image, &raw), PlanRefusal::PreservedUnknown { number: 2, .. }), "{lbas:?}");
    }
}

#[test]
fn what_stays_is_no_neighbour_that_must_be_zero_when_a_file_is_placed() {
    let plant = Plant::new();
    let image = preserving(&plant, &disk(6, IN_IMAGE, 1), "p1");
    // It begins within the 4 KiB in which the other range ends.
    let target = MemDisk::new(disk(6, (8193, 10200), 2), 512);
    let found = scan(&image, &target, &quiet).unwrap();
    let overlay = Overlay::new(&target, &image, &found.kept, &(7000 * 512..8193 * 512));
    let mut sector = AlignedBuf::new(512);
    overlay.read_at(8192 * 512, &mut sector).unwrap();
    assert!(is_zero(&sector));
}
