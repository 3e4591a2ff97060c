//! What is fetched before there is leave to write counts once, and is believed no more than the rest.

use super::*;

/// What [`restore`] does, where the source was asked before there was leave to write.
fn restore_ahead(
    manifest: &Verified<Manifest>,
    target: &dyn RestoreTarget,
    source: &dyn ChunkSource,
    stored_max: usize,
) -> (u64, RestoreStats) {
    let found = scan(manifest, target, &quiet).unwrap();
    let plan = RestorePlan::new(manifest, found, &EndpointFacts::default()).unwrap();
    let ahead = Ahead::new(source);
    let left = std::cell::Cell::new(u64::MAX);
    ahead.fill(&plan, stored_max, &|| {
        left.set(left.get() - 1);
        true
    });
    let written = plan.poison(target).unwrap().write(&ahead, &quiet).unwrap();
    let proven = written.read_back(ReadBack::Everything).unwrap();
    (u64::MAX - left.get(), proven.commit_boot_region().unwrap().stats())
}

#[test]
fn what_is_fetched_ahead_is_not_fetched_again() {
    let plant = Plant::new();
    let raw = raw_disk(3, 16);
    let image = plant.image(&raw);
    let disk = || MemDisk::new(vec![0xa5; raw.len()], 512);
    let plain = Source::new(&plant.store);
    let stats = restore(&image, &disk(), &plain, ReadBack::Everything).unwrap();
    let mut asked_before = 0;
    for stored_max in [0, 1, 1 << 20, usize::MAX] {
        let (source, target) = (Source::new(&plant.store), disk());
        let (batches, ahead) = restore_ahead(&image, &target, &source, stored_max);
        assert!(bytes_of(&target) == raw, "{stored_max}");
        assert_eq!(*source.asked.lock().unwrap(), *plain.asked.lock().unwrap(), "{stored_max}");
        assert_eq!((ahead.fetched, ahead.fetched_stored), (stats.fetched, stats.fetched_stored));
        assert!(batches >= asked_before, "more may be held, more is asked for");
        asked_before = batches;
    }
    assert!(asked_before > 1);
}

#[test]
fn nothing_is_fetched_ahead_without_leave_to_go_on() {
    let plant = Plant::new();
    let raw = raw_disk(3, 8);
    let image = plant.image(&raw);
    let disk = MemDisk::new(vec![0xa5; raw.len()], 512);
    let found = scan(&image, &disk, &quiet).unwrap();
    let plan = RestorePlan::new(&image, found, &EndpointFacts::default()).unwrap();
    let source = Source::new(&plant.store);
    Ahead::new(&source).fill(&plan, usize::MAX, &|| false);
    assert_eq!(*source.asked.lock().unwrap(), 0);
}

#[test]
fn a_lie_that_was_fetched_ahead_is_refused_and_asked_for_again() {
    /// Lies the first time that it is asked for a chunk.
    struct LiesOnce<'s>(&'s Store, Mutex<std::collections::HashSet<ChunkId>>);
    impl ChunkSource for LiesOnce<'_> {
        fn fetch(&self, ids: &[ChunkId], sink: &mut FrameSink<'_>) -> Result<(), SourceError> {
            self.0.fetch(ids, &mut |mut frame| {
                if self.1.lock().unwrap().insert(frame.id) {
                    frame.bytes[0] ^= 1;
                }
                sink(frame)
            })
        }
    }
    let plant = Plant::new();
    let raw = raw_disk(4, 8);
    let image = plant.image(&raw);
    let (mut half_right, boot_right) = (vec![0xa5; raw.len()], MIB as usize);
    half_right[..boot_right].copy_from_slice(&raw[..boot_right]);
    let tail = raw.len() - 33 * 512;
    half_right[tail..].copy_from_slice(&raw[tail..]);
    let disk = MemDisk::new(half_right, 512);
    let source = LiesOnce(&plant.store, Mutex::default());
    restore_ahead(&image, &disk, &source, usize::MAX);
    assert!(bytes_of(&disk) == raw);
}
