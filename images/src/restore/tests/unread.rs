//! A disk that is about to be erased: planned in full without being read, and never over what must stay.

use super::*;

#[test]
fn a_disk_to_be_erased_is_planned_in_full_and_not_read() {
    let plant = Plant::new();
    let raw = raw_disk(1, 12);
    let image = plant.image(&raw);
    // It holds the image already, and none of that counts.
    let disk = MemDisk::new(raw.clone(), 512);
    let scan = unread(&image, &disk, Preserve::Keep).unwrap();
    assert!(!scan.is_clean() && !scan.boots());
    let plan = RestorePlan::new(&image, scan, &EndpointFacts::default()).unwrap();
    assert_eq!(disk.counts(), Default::default());
    let (full, blank) = (plan.summary(), MemDisk::new(vec![0xa5; raw.len()], 512));
    let scanned = scan_for(&image, &blank, Preserve::Keep, &quiet).unwrap();
    let of_a_strange_disk = RestorePlan::new(&image, scanned, &EndpointFacts::default()).unwrap().summary();
    assert_eq!((full.keep_bytes, full.move_bytes, full.copy_bytes), (0, 0, 0));
    assert_eq!(full, of_a_strange_disk);

    drop(plan.poison(&disk).unwrap());
    let poisoned = bytes_of(&disk);
    assert!(!boots(&poisoned) && payload_of(&poisoned) == payload_of(&raw), "poisoned, and nothing else yet");
}

#[test]
fn a_disk_is_not_planned_to_be_erased_under_what_must_stay() {
    let plant = Plant::new();
    let raw = preserved::disk_with_data(1);
    let image = preserved::preserving(&plant, &raw, "p1");
    for bytes in [raw.clone(), vec![0; raw.len()]] {
        let disk = MemDisk::new(bytes, 512);
        match unread(&image, &disk, Preserve::Keep) {
            Err(RestoreError::Refused(PlanRefusal::PreservedErased { number: 2, name })) => {
                assert_eq!(name, "p1");
            }
            other => panic!("{other:?}"),
        }
        assert!(unread(&image, &disk, Preserve::GiveUp).is_ok());
        assert_eq!(disk.counts(), Default::default());
    }
}

#[test]
fn a_disk_that_cannot_hold_the_image_is_refused_before_it_is_erased() {
    let plant = Plant::new();
    let raw = raw_disk(1, 12);
    let image = plant.image(&raw);
    let small = MemDisk::new(vec![0; raw.len() - 512], 512);
    let coarse = MemDisk::new(vec![0; raw.len()], 4096);
    for (disk, why) in [(small, "needs a disk of"), (coarse, "made for sectors")] {
        let refused = unread(&image, &disk, Preserve::Keep).unwrap_err();
        assert!(std::error::Error::source(&refused).unwrap().to_string().contains(why), "{refused:?}");
    }
}
