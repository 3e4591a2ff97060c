//! What stands in another place of the disk is moved and not fetched, in whichever order; and nothing rests on it.

use super::*;
use crate::restore::seeds::{self, Moves, Seeds, found};
use crate::{ChunkId, Extent};

/// A disk without a partition table: these parts behind the first MiB.
fn disk_of(parts: &[&[u8]], mib: u64) -> Vec<u8> {
    let mut disk = vec![0; MIB as usize];
    disk[0] = 1;
    disk.extend(parts.concat());
    disk.resize((mib * MIB) as usize, 0);
    disk
}

fn block(seed: u64, kib: usize) -> Vec<u8> {
    noise(seed, kib << 10)
}

#[test]
fn an_image_whose_data_has_moved_fetches_what_is_new() {
    let plant = Plant::new();
    // 14 MiB in three files; the gaps between them change, so that nothing is where it was.
    let files: Vec<_> = [(1, 6000), (2, 5000), (3, 3336)].map(|(seed, kib)| block(seed, kib)).into();
    let gaps = |a: usize, b: usize, c: usize| {
        [
            vec![0; a << 10],
            files[0].clone(),
            vec![0; b << 10],
            files[1].clone(),
            vec![0; c << 10],
            files[2].clone(),
        ]
        .concat()
    };
    let (near, far) = (gaps(68, 100, 200), gaps(3000, 800, 900));
    for (old, new, descending) in [(&near, &far, true), (&far, &near, false)] {
        let (old, new) = (disk_of(&[old], 24), disk_of(&[new], 24));
        let image = plant.image(&new);
        let disk = MemDisk::new(old, 512);
        let found = scan(&image, &disk, &quiet).unwrap();
        let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
        let first = plan.wrong().next().unwrap().0.offset;
        assert_eq!(plan.wrong().any(|(extent, _)| extent.offset < first), descending);
        let summary = plan.summary();
        assert!(summary.move_bytes > 12 * MIB && summary.fetch_bytes < 2 * MIB, "{plan}");
        assert!(plan.to_string().contains("move "));
        let source = Source::new(&plant.store);
        let stats = restore(&image, &disk, &source, ReadBack::Everything).unwrap();
        assert!(bytes_of(&disk) == new);
        assert_eq!((stats.moved, stats.fetched), (summary.move_bytes, summary.fetch_bytes));
    }
}

#[test]
fn what_is_not_there_any_more_when_it_is_to_be_moved_is_fetched() {
    let plant = Plant::new();
    let (old, new) = (disk_of(&[&block(1, 4000)], 12), disk_of(&[&block(9, 3000), &block(1, 4000)], 12));
    let image = plant.image(&new);
    let disk = MemDisk::new(old, 512);
    let found = scan(&image, &disk, &quiet).unwrap();
    let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
    assert!(plan.summary().move_bytes > 3 * MIB);
    // Somebody writes to it between the plan and the restore.
    let mut other = AlignedBuf::new(MIB as usize);
    other.fill(7);
    disk.write_at(2 * MIB, &other).unwrap();
    let poisoned = plan.poison(&disk).unwrap();
    let written = poisoned.write(&plant.store, &quiet).unwrap();
    let stats = written.read_back(ReadBack::Everything).unwrap().commit_boot_region().unwrap().stats();
    assert!(bytes_of(&disk) == new && stats.moved > MIB && stats.fetched > 3 * MIB);
}

#[test]
fn a_power_cut_while_data_moves_costs_no_more_than_what_was_lost() {
    let plant = Plant::new();
    let (old, new) = (disk_of(&[&block(1, 5000)], 10), disk_of(&[&block(9, 2500), &block(1, 5000)], 10));
    let image = plant.image(&new);
    let disk = MemDisk::new(old.clone(), 512);
    restore(&image, &disk, &plant.store, ReadBack::Written).unwrap();
    let operations = disk.counts().operations;
    for cut in 0..operations {
        let faults = Faults { power_cut_at: Some(cut), ..Faults::default() };
        let disk = MemDisk::with_faults(old.clone(), 512, faults);
        assert!(restore(&image, &disk, &plant.store, ReadBack::Written).is_err());
        let mut random = noise(cut, 1 << 16).into_iter().cycle();
        let left = disk.after_power_cut(|| random.next().unwrap() & 1 == 1);
        let survivor = MemDisk::new(left, 512);
        let stats = restore(&image, &survivor, &plant.store, ReadBack::Everything).unwrap();
        assert!(bytes_of(&survivor) == new, "cut at operation {cut}");
        assert!(stats.fetched <= 8 * MIB);
    }
}

#[test]
fn a_disk_of_somebody_else_is_not_searched_to_its_end() {
    let plant = Plant::new();
    let raw = disk_of(&[&block(1, 4000)], 8);
    let image = plant.image(&raw);
    let wanted = image.chunk_ids().collect();
    let mut bytes = block(5, 200 << 10);
    bytes.extend(block(6, 200 << 10));
    let len = bytes.len() as u64;
    let disk = MemDisk::new(bytes, 512);
    let read = Mutex::new(0);
    let progress = |event: ProgressEvent| *read.lock().unwrap() = event.done;
    let all = 0..len;
    assert!(seeds::search(&disk, std::slice::from_ref(&all), &wanted, &progress).is_empty());
    assert!((256 * MIB..330 * MIB).contains(&*read.lock().unwrap()));
}

/// Wrong extents of this many KiB each, one behind the other from the first MiB on.
fn wrong(kib: &[u64]) -> Vec<(Extent, ChunkId)> {
    let mut at = MIB;
    let extent = |(number, kib): (usize, &u64)| {
        let id = ChunkId::of(&[number as u8]);
        let extent = Extent { offset: at, len: kib << 10, content: Content::Data(id) };
        at = extent.end();
        (extent, id)
    };
    kib.iter().enumerate().map(extent).collect()
}

proptest! {
    /// Played through on paper: nothing is moved from a place that a batch before has written.
    #[test]
    fn nothing_is_moved_from_where_something_else_was_written(
        kib in proptest::collection::vec(32_u64..512, 1..80),
        places in proptest::collection::vec((0_usize..80, 0_u64..20_000), 0..80),
    ) {
        let wrong = wrong(&kib);
        let mut seeds = Seeds::new();
        for (number, at) in places {
            found(&mut seeds, wrong[number % wrong.len()].1, MIB + (at << 10));
        }
        let moves = Moves::plan(&wrong, &seeds, &|_| false);
        let mut written: Vec<std::ops::Range<u64>> = Vec::new();
        for batch in crate::restore::write::batches(seeds::in_order(wrong.iter().copied(), moves.descending)) {
            for (extent, id) in &batch {
                let Some(at) = moves.from(extent) else { continue };
                prop_assert!([seeds[id].0, seeds[id].1].contains(&at));
                prop_assert!(written.iter().all(|range| range.end <= at || range.start >= at + extent.len));
            }
            written.extend(batch.iter().map(|(extent, _)| extent.range()));
        }
        prop_assert_eq!(written.len(), wrong.len());
    }
}
