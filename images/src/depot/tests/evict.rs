//! A store that is too large lets go of what stands in the depot, and of nothing that somebody needs.

use std::cell::Cell;
use std::fs::{File, FileTimes};
use std::time::{Instant, SystemTime};

use super::*;
use crate::ChunkId;
use crate::store::{CollectRules as LocalRules, Waiting};

/// When these tests take place: long before any file was written, so that what was not made old is of now.
const NOW_MS: u64 = 1_000_000_000_000;
/// And long after.
const FAR_MS: u64 = 4_000_000_000_000;
const HOUR: Duration = Duration::from_secs(3600);

fn at(hours_ago: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(NOW_MS) - HOUR * hours_ago as u32
}

/// Three versions in the store, the first used longest ago, all in the depot.
fn three(plant: &Plant, depot: &dyn Depot) -> Vec<Verified<Manifest>> {
    let images: Vec<_> = (1..=3).map(|number| version(plant, number + 1)).collect();
    pushed(plant, depot);
    for (image, hours) in images.iter().zip([72, 48, 24]) {
        used(&plant.store, image, hours);
    }
    idle(&plant.store);
    images
}

/// No frame has gone out for days.
fn idle(store: &Store) {
    for pack in files(store, "packs") {
        File::open(pack).unwrap().set_times(FileTimes::new().set_accessed(at(90))).unwrap();
    }
}

fn files(store: &Store, dir: &str) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(store.root().join(dir)).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn used(store: &Store, image: &Manifest, hours_ago: u64) {
    let path = store.root().join("manifests").join(format!("{}.gsi", image.id()));
    File::open(path).unwrap().set_modified(at(hours_ago)).unwrap();
}

fn rules(bytes_max: u64, is_wanted: &dyn Fn(&ImageId) -> bool) -> EvictRules<'_> {
    EvictRules { bytes_max, now_unix_ms: NOW_MS, idle_min: HOUR, is_wanted, plan: false }
}

fn nobody(_: &ImageId) -> bool {
    false
}

fn evict_to(depot: &dyn Depot, store: &Store, bytes_max: u64) -> Result<Evicted, DepotError> {
    evict(depot, store, &rules(bytes_max, &nobody), &mut |_| {})
}

fn whole(store: &Store, image: &Manifest) {
    store.verify_image(image, |_, _| {}).unwrap();
}

#[test]
fn what_was_not_used_for_longest_goes_and_what_others_share_stays() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    let (images, store) = (three(&plant, &shelf), &plant.store);
    let before = store.bytes().unwrap();
    assert_eq!(evict_to(&shelf, store, before).unwrap().images, []);

    let plan = EvictRules { plan: true, ..rules(before - 300_000, &nobody) };
    let plan = evict(&shelf, store, &plan, &mut |_| {}).unwrap();
    assert_eq!((plan.images.as_slice(), store.list().unwrap().len()), (&[images[0].id()][..], 3));
    let mut read = 0;
    let done = evict(&shelf, store, &rules(before - 300_000, &nobody), &mut |bytes| read += bytes).unwrap();
    assert_eq!((&done.images, done.stay.as_slice(), done.waiting), (&plan.images, &[][..], 0));
    assert!(done.bytes_after < before - 400_000 && done.bytes_after == store.bytes().unwrap(), "{done:?}");
    assert!(plan.bytes_after.abs_diff(done.bytes_after) < before / 20, "{plan:?}");
    assert!(read > 500_000, "what went was read in the depot, not believed");
    assert_eq!(files(store, "evicted").len(), 0);
    assert!(matches!(store.get_manifest(&images[0].id()), Err(StoreError::MissingImage { .. })));
    let again = Store::open(store.root()).unwrap();
    [store, &again].iter().for_each(|store| images[1..].iter().for_each(|image| whole(store, image)));

    // It comes back as it was, and it is the newest use then.
    pull_with(&shelf, store, &plant.ring, images[0].id()).unwrap();
    plant.ring.verify(store.get_manifest(&images[0].id()).unwrap()).unwrap();
    whole(store, &images[0]);
    // All of it at most: nothing is wanted, held or served.
    used(store, &images[0], 2);
    idle(store);
    let done =
        evict(&shelf, store, &EvictRules { idle_min: Duration::ZERO, ..rules(0, &nobody) }, &mut |_| {});
    assert_eq!(done.unwrap().images, [1, 2, 0].map(|at: usize| images[at].id()));
    assert_eq!(store.counts(), (0, 0));
}

#[test]
fn what_is_wanted_held_or_being_served_stays() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    let (images, store) = (three(&plant, &shelf), &plant.store);
    let wanted = images[0].id();
    let keep = crate::store::KeepChange { until_unix_ms: Some(FAR_MS), legal_hold: None };
    store.keep(&images[1].id(), &keep, false).unwrap();
    // A frame of the third goes out; nobody has asked for its manifest for a day.
    let own: Vec<ChunkId> =
        images[2].chunk_ids().filter(|id| !images[0].chunk_ids().any(|o| o == *id)).collect();
    store.place_frame(&own[0], Instant::now(), Waiting::Allowed).unwrap();
    let file_times = files(store, "packs").into_iter().map(|p| p.metadata().unwrap().accessed().unwrap());
    let frame_went_out = file_times.max().unwrap();
    let is_wanted = |image: &ImageId| *image == wanted;
    let served = |now_unix_ms| {
        let rules = EvictRules { now_unix_ms, ..rules(0, &is_wanted) };
        evict(&shelf, store, &rules, &mut |_| {}).unwrap()
    };
    let now_ms = frame_went_out.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    for (image, ago) in images.iter().zip([3, 2, 1]) {
        let path = store.root().join("manifests").join(format!("{}.gsi", image.id()));
        File::open(path).unwrap().set_modified(frame_went_out - HOUR * (24 * ago)).unwrap();
    }
    let done = served(now_ms + 3_590_000);
    let why = [Stays::Wanted, Stays::Held, Stays::Served];
    assert_eq!(done.stay, images.iter().map(|image| image.id()).zip(why).collect::<Vec<_>>());
    assert_eq!((done.images.len(), done.bytes_after), (0, done.bytes_before));
    // An hour later it is over.
    assert_eq!(served(now_ms + 3_600_001).images, [images[2].id()]);
    images[..2].iter().for_each(|image| whole(store, image));
}

#[test]
fn a_manifest_that_was_given_out_lately_counts_as_served_also_between_the_looks() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    let (images, store) = (three(&plant, &shelf), &plant.store);
    let seen = store.last_use(&images[0].id()).unwrap();
    store.note_use(&images[0].id()).unwrap();
    assert!(!store.give_up(&images[0].id(), seen).unwrap(), "it was used since it was looked at");
    assert_eq!((store.list().unwrap().len(), files(store, "evicted").len()), (3, 0));
    // It is used in the future of these tests: a clock that was set back makes nothing old.
    let done = evict_to(&shelf, store, 0).unwrap();
    assert_eq!(done.stay, [(images[0].id(), Stays::Served)]);
    assert_eq!(done.images.len(), 2);
    whole(store, &images[0]);
    let (plant, shelf) = (Plant::new(), Shelf::default());
    let (images, store) = (three(&plant, &shelf), &plant.store);

    // A recovery that is ordered when the image is off the list already gets it back.
    used(store, &images[0], 72);
    let asked = Cell::new(0);
    let order = |image: &ImageId| {
        asked.set(asked.get() + u32::from(*image == images[0].id()));
        *image != images[0].id() || asked.get() > 1
    };
    let done = evict(&shelf, store, &rules(0, &order), &mut |_| {}).unwrap();
    assert_eq!((asked.get(), done.images.len()), (2, 0));
    assert_eq!((store.list().unwrap().len(), files(store, "evicted").len()), (3, 0));
    images.iter().for_each(|image| whole(store, image));
}

#[test]
fn what_stands_only_here_stays_whatever_the_depot_says() {
    let lies = [
        |shelf: &Shelf| shelf.objects.lock().unwrap().clear(),
        |shelf: &Shelf| *shelf.lie.lock().unwrap() = Some(Lie::ReadsNoise),
        |shelf: &Shelf| *shelf.lie.lock().unwrap() = Some(Lie::ReadsShort),
        |shelf: &Shelf| shelf.objects.lock().unwrap().retain(|name, _| !name.ends_with(".signature")),
        |shelf: &Shelf| shelf.objects.lock().unwrap().retain(|name, _| !name.ends_with(".packs")),
        |shelf: &Shelf| {
            let mut objects = shelf.objects.lock().unwrap();
            objects.iter_mut().filter(|(name, _)| name.ends_with(".pack")).for_each(|(_, b)| b[500_000] ^= 1);
        },
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let (plant, shelf) = (Plant::new(), Shelf::default());
        let images = three(&plant, &shelf);
        lie(&shelf);
        let done = evict_to(&shelf, &plant.store, 0).unwrap();
        assert!(done.images.is_empty(), "{number}: {done:?}");
        assert!(done.stay.iter().all(|(_, why)| *why == Stays::OnlyHere), "{number}: {done:?}");
        images.iter().for_each(|image| whole(&plant.store, image));
    }
    // What no image lists is not in the depot either: an import that somebody may go on with.
    let (plant, shelf) = (Plant::new(), Shelf::default());
    three(&plant, &shelf);
    let stopped = plant.import_with(&disk(77), &request()).manifest;
    std::fs::remove_file(plant.store.root().join("manifests").join(format!("{}.gsi", stopped.id()))).unwrap();
    evict_to(&shelf, &plant.store, 0).unwrap();
    let own = stopped.chunk_ids().filter(|id| plant.store.has(id)).count();
    assert!(own > 3, "what only it has");
    let old = LocalRules { grace: Duration::ZERO, ..LocalRules::usual(FAR_MS) };
    assert_eq!(plant.store.collect(&old).unwrap().packs_removed, 1, "a collection takes it after its grace");
}

#[test]
fn an_eviction_that_dies_or_loses_the_depot_at_any_point_leaves_every_listed_image_whole() {
    for calls in 0.. {
        let (plant, shelf) = (Plant::new(), Shelf::default());
        let images = three(&plant, &shelf);
        *shelf.calls_left.lock().unwrap() = Some(calls);
        let outcome = evict_to(&shelf, &plant.store, 0);
        *shelf.calls_left.lock().unwrap() = None;
        let store = Store::open(plant.store.root()).unwrap();
        for image in &images {
            if store.list().unwrap().contains(&image.id()) {
                whole(&store, image);
            } else {
                pull_with(&shelf, &store, &plant.ring, image.id()).unwrap();
                whole(&store, image);
            }
        }
        match outcome {
            Err(DepotError::Gone(_)) => {}
            other => {
                assert_eq!(other.unwrap().images.len(), 3);
                assert!(calls > 8, "it was stopped at {calls} places");
                return;
            }
        }
    }
}

#[test]
fn what_was_taken_off_the_list_by_one_that_died_is_proven_again_and_goes_or_comes_back() {
    for lost in [false, true] {
        let (plant, shelf) = (Plant::new(), Shelf::default());
        let images = three(&plant, &shelf);
        let (store, image) = (&plant.store, &images[0]);
        assert!(store.give_up(&image.id(), store.last_use(&image.id()).unwrap()).unwrap());
        // A collection by hand does not take it, not even the half of its pack that only it needs: nobody has proven it in this minute.
        let old = LocalRules { grace: Duration::ZERO, live_percent_min: 100, ..LocalRules::usual(FAR_MS) };
        assert_eq!(store.collect(&old).unwrap().packs_removed, 0);
        if lost {
            shelf.objects.lock().unwrap().clear();
        }
        let before = store.bytes().unwrap();
        let done = evict_to(&shelf, &Store::open(store.root()).unwrap(), before - 1).unwrap();
        assert_eq!(store.list().unwrap().contains(&image.id()), lost);
        assert_eq!(files(store, "evicted").len(), 0);
        match lost {
            true => {
                whole(store, image);
                assert_eq!((done.bytes_after, done.stay[0]), (before, (image.id(), Stays::OnlyHere)));
            }
            false => assert!(done.bytes_after < before && done.images.is_empty(), "{done:?}"),
        }
    }
}

#[test]
fn what_a_writer_may_rely_on_waits_for_it_and_nothing_more_goes_meanwhile() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    let (images, store) = (three(&plant, &shelf), &plant.store);
    let (before, writer) = (store.bytes().unwrap(), store.writer().unwrap());
    let done = evict_to(&shelf, store, before - 300_000).unwrap();
    assert_eq!((done.images.as_slice(), done.waiting), (&[images[0].id()][..], 1));
    let again = evict_to(&shelf, store, before - 300_000).unwrap();
    assert_eq!((again.images.len(), again.waiting), (0, 1), "it is on its way");
    drop(writer);
    let done = evict_to(&shelf, store, done.bytes_after + 1).unwrap();
    assert_eq!((done.images.len(), done.waiting), (0, 0));
    assert!(store.bytes().unwrap() < before - 400_000);
    images[1..].iter().for_each(|image| whole(store, image));
}

#[test]
fn a_pack_of_many_images_becomes_smaller_when_little_of_it_is_needed() {
    let (plant, shelf, (_dir, store)) = (Plant::new(), Shelf::default(), site());
    let images = three(&plant, &shelf);
    // All chunks in one pack, as an import of everything at once makes it.
    let (writer, mut seen) = (store.writer().unwrap(), std::collections::HashSet::new());
    let mut ingest = writer.ingest();
    for id in images.iter().flat_map(|image| image.chunk_ids()).filter(|id| seen.insert(*id)) {
        ingest.append(&plant.store.get_frame(&id).unwrap()).unwrap();
    }
    ingest.finish().unwrap();
    drop(writer);
    for (image, hours) in images.iter().zip([72, 48, 24]) {
        store.put_manifest(&plant.store.get_manifest(&image.id()).unwrap()).unwrap();
        used(&store, image, hours);
    }
    assert_eq!(store.counts().0, 1);
    idle(&store);
    let before = store.bytes().unwrap();
    let done =
        evict(&shelf, &store, &rules(before / 2, &|image| *image == images[2].id()), &mut |_| {}).unwrap();
    assert_eq!(done.images.len(), 2, "{done:?}");
    let left: u64 = images[2].chunk_ids().collect::<std::collections::HashSet<_>>().len() as u64;
    assert_eq!(store.counts(), (1, left as usize));
    whole(&Store::open(store.root()).unwrap(), &images[2]);
}

#[test]
fn endpoints_are_served_to_the_end_while_others_go() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    let (images, store) = (three(&plant, &shelf), &plant.store);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let ids: Vec<ChunkId> = images[2].chunk_ids().collect();
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            let mut frames = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) || frames < ids.len() {
                let placed = store.place_frame(&ids[frames % ids.len()], Instant::now(), Waiting::Allowed);
                let placed = placed.unwrap().unwrap();
                let mut bytes = vec![0; placed.len];
                std::os::unix::fs::FileExt::read_exact_at(&*placed.file, &mut bytes, placed.at).unwrap();
                frames += 1;
            }
        });
        for _ in 0..20 {
            let done =
                evict(&shelf, store, &rules(0, &|image| *image == images[2].id()), &mut |_| {}).unwrap();
            assert!(done.stay.contains(&(images[2].id(), Stays::Wanted)));
            for image in &images[..2] {
                pull_with(&shelf, store, &plant.ring, image.id()).unwrap();
                used(store, image, 48);
            }
            idle(store);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        serving.join().unwrap();
    });
}
