//! Collection, deleting, holds and scrub: nothing that somebody needs goes, and rot is found and healed.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::*;
use super::{frame, put};
use crate::manifest::tests::{header, sample_of};
use crate::testing::{Plant, noise, request};
use crate::{Content, Extent, Manifest};

/// Collect at once: no grace.
fn at_once() -> CollectRules {
    CollectRules { grace: std::time::Duration::ZERO, ..CollectRules::usual(far_future()) }
}

/// Later than any file of these tests, so that all are old.
fn far_future() -> u64 {
    4_000_000_000_000
}

/// A manifest over these chunks, 64 KiB each, behind a head of zeros.
fn manifest_of(name: &str, chunks: &[Vec<u8>]) -> Manifest {
    let mut header = header(64 << 20);
    header.identity.name = name.into();
    let (mib, size) = (1 << 20, 64 << 20);
    let (head, tail) = (header.disk.head_len, header.disk.tail_start());
    let zero = |offset, end| Extent { offset, len: end - offset, content: Content::Zero };
    let mut extents = vec![zero(0, head)];
    let mut at = mib;
    for chunk in chunks {
        let content = Content::Data(ChunkId::of(chunk));
        extents.push(Extent { offset: at, len: chunk.len() as u64, content });
        at += chunk.len() as u64;
    }
    extents.extend([zero(at, tail), zero(tail, size)]);
    Manifest::build(header, extents).unwrap()
}

fn chunks(seed: u64, count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|n| noise(seed * 1000 + n, 64 << 10)).collect()
}

/// Put an image of these chunks in one pack.
fn put_image(store: &Store, name: &str, chunks: &[Vec<u8>]) -> Manifest {
    put(store, &chunks.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let manifest = manifest_of(name, chunks);
    store.put_manifest(&SignedManifest::unsigned(&manifest)).unwrap();
    manifest
}

fn whole(store: &Store, manifest: &Manifest) {
    store.verify_image(manifest, |_, _| {}).unwrap();
}

fn plant() -> (tempfile::TempDir, Store) {
    super::store()
}

#[test]
fn a_collection_takes_what_nothing_lists_and_only_that() {
    let (dir, store) = plant();
    let (a, b) = (put_image(&store, "a", &chunks(1, 8)), put_image(&store, "b", &chunks(2, 8)));
    put(&store, &[&noise(9, 50_000)]);
    assert_eq!(store.counts().0, 3);
    store.delete(&a.id(), 1).unwrap();
    assert!(matches!(store.delete(&a.id(), 1), Err(StoreError::MissingImage { .. })));

    let usual = CollectRules { now_unix_ms: 1, ..CollectRules::usual(1) };
    let plan = store.plan_collection(&usual).unwrap();
    assert_eq!((plan.images, plan.remove.len(), plan.spared), (2, 0, 1), "all are young");
    assert_eq!(store.collect(&usual).unwrap().packs_removed, 0);

    let plan = store.plan_collection(&at_once()).unwrap();
    assert_eq!((plan.images, plan.live_chunks, plan.remove.len()), (1, 8, 2));
    assert_eq!(plan.forget, [a.id()]);
    assert_eq!(store.counts().0, 3, "a plan changes nothing");
    let done = store.collect(&at_once()).unwrap();
    assert_eq!((done.packs_removed, done.waiting), (2, 0));
    assert_eq!(done.bytes_freed, plan.bytes_removed);
    whole(&store, &b);
    whole(&Store::open(dir.path()).unwrap(), &b);
    assert_eq!(Store::open(dir.path()).unwrap().counts(), (1, 8));
    assert!(matches!(store.undelete(&a.id()), Err(StoreError::MissingImage { .. })));
}

#[test]
fn a_pack_of_which_little_is_needed_is_rewritten() {
    let (dir, store) = plant();
    let all = chunks(1, 10);
    put(&store, &all.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let little = manifest_of("little", &all[..3]);
    store.put_manifest(&SignedManifest::unsigned(&little)).unwrap();
    let reader = Store::open(dir.path()).unwrap();
    whole(&reader, &little);
    let done = store.collect(&at_once()).unwrap();
    assert_eq!((done.plan.rewrite.len(), done.plan.remove.len(), done.packs_removed), (1, 0, 1));
    assert_eq!(store.counts(), (1, 3));
    // One who has opened the store before, and one whose files are not open any more.
    whole(&reader, &little);
    reader.files.lock().unwrap().clear();
    whole(&reader, &little);
    assert_eq!(store.collect(&at_once()).unwrap().packs_removed, 0, "there is nothing left to do");
}

#[test]
fn a_deleted_image_can_be_taken_back_until_it_is_collected() {
    let (_dir, store) = plant();
    let a = put_image(&store, "a", &chunks(1, 4));
    let now = far_future();
    store.delete(&a.id(), now).unwrap();
    assert!(store.list().unwrap().is_empty());
    let rules = CollectRules::usual(now + 3_600_000);
    store.collect(&rules).unwrap();
    store.undelete(&a.id()).unwrap();
    assert_eq!(store.list().unwrap(), [a.id()]);
    whole(&store, &a);
}

#[test]
fn retention_and_legal_hold_stop_a_deletion() {
    let (_dir, store) = plant();
    let id = put_image(&store, "a", &chunks(1, 2)).id();
    let until = |until| KeepChange { until_unix_ms: Some(until), ..KeepChange::default() };
    let holds = |hold| KeepChange { legal_hold: Some(hold), ..KeepChange::default() };
    assert_eq!(store.keep(&id, &until(9000), true).unwrap().until_unix_ms, 9000);
    store.keep(&id, &until(1000), false).unwrap();
    let hold = LegalHold { by: "counsel".into(), why: "case 7".into(), since_unix_ms: 5 };
    // Both or none.
    assert!(matches!(
        store.keep(&id, &KeepChange { legal_hold: Some(Some(hold.clone())), ..until(999) }, false),
        Err(StoreError::RetentionShortened { until_unix_ms: 1000, .. })
    ));
    assert!(matches!(store.delete(&id, 999), Err(StoreError::Retained { until_unix_ms: 1000, .. })));
    store.keep(&id, &holds(Some(hold.clone())), false).unwrap();
    assert!(matches!(store.delete(&id, 2000), Err(StoreError::LegalHold { by, .. }) if by == "counsel"));
    assert_eq!(store.keep_of(&id).unwrap(), Keep { until_unix_ms: 1000, legal_hold: Some(hold) });
    store.keep(&id, &holds(None), false).unwrap();
    // What cannot be understood keeps.
    let path = store.root().join("keep").join(format!("{id}.json"));
    let text = fs::read(&path).unwrap();
    fs::write(&path, b"{").unwrap();
    assert!(matches!(store.delete(&id, 2000), Err(StoreError::DamagedDocument { .. })));
    fs::write(&path, text).unwrap();
    store.delete(&id, 1000).unwrap();
}

#[test]
fn a_manifest_that_cannot_be_read_stops_a_collection() {
    let (_dir, store) = plant();
    let (a, b) = (put_image(&store, "a", &chunks(1, 2)), put_image(&store, "b", &chunks(2, 2)));
    store.delete(&b.id(), 1).unwrap();
    let path = store.manifest_path("manifests", &a.id());
    let mut bytes = fs::read(&path).unwrap();
    bytes[60] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(store.collect(&at_once()), Err(StoreError::DamagedManifest { .. })));
    assert_eq!(store.counts().0, 2);
}

#[test]
fn a_collection_waits_for_the_writers_that_were_there_before() {
    let (dir, store) = plant();
    let old = chunks(1, 4);
    put(&store, &old.iter().map(Vec::as_slice).collect::<Vec<_>>());
    // An import that has found the chunks here, and has listed them nowhere yet.
    let importer = Store::open(dir.path()).unwrap();
    let before = importer.writer().unwrap();
    assert!(old.iter().all(|chunk| before.has(&ChunkId::of(chunk))));
    let done = store.collect(&at_once()).unwrap();
    assert_eq!((done.packs_removed, done.waiting), (0, 1));
    // One that begins now does not rely on them, and writes them again.
    let after = importer.writer().unwrap();
    assert!(!after.has(&ChunkId::of(&old[0])));
    let manifest = manifest_of("a", &old);
    let refused = after.put_manifest(&SignedManifest::unsigned(&manifest));
    assert!(matches!(refused, Err(StoreError::Incomplete { missing: 4, .. })));
    before.put_manifest(&SignedManifest::unsigned(&manifest)).unwrap();
    assert_eq!(store.collect(&at_once()).unwrap().packs_removed, 0);
    drop(before);
    // Its manifest needs them: they are pardoned, and found by everybody again.
    let done = store.collect(&at_once()).unwrap();
    assert_eq!((done.packs_removed, done.waiting), (0, 0));
    drop(after);
    assert!(importer.writer().unwrap().has(&ChunkId::of(&old[0])));
    whole(&store, &manifest);
}

#[test]
fn condemned_packs_go_when_their_writer_has_ended() {
    let (_dir, store) = plant();
    put(&store, &[b"one", b"two"]);
    let writer = store.writer().unwrap();
    assert_eq!(store.collect(&at_once()).unwrap().waiting, 1);
    // Another writer's session does not hold them.
    let later = store.writer().unwrap();
    assert_eq!(store.collect(&at_once()).unwrap().waiting, 1);
    drop(writer);
    assert_eq!(store.collect(&at_once()).unwrap().packs_removed, 1);
    drop(later);
    assert_eq!(store.counts(), (0, 0));
}

#[test]
fn a_pack_written_again_is_not_taken_for_the_condemned_one_of_its_name() {
    let (_dir, store) = plant();
    let again = chunks(1, 3);
    put(&store, &again.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let old = store.writer().unwrap();
    assert_eq!(store.collect(&at_once()).unwrap().waiting, 1);
    let image = put_image(&store, "a", &again);
    drop(old);
    assert_eq!(store.collect(&at_once()).unwrap().packs_removed, 1);
    whole(&store, &image);
}

#[test]
fn a_collection_killed_before_it_asked_for_writers_asks_again() {
    let (_dir, store) = plant();
    let ids = put(&store, &[b"one"]);
    let writer = store.writer().unwrap();
    assert!(writer.has(&ids[0]));
    let pack = store.packs_on_disk().unwrap()[0].0;
    // What a collection leaves that was killed right after it condemned.
    fs::write(store.root().join("condemned"), format!("{{\"packs\":{{\"{pack}\":[]}}}}")).unwrap();
    assert_eq!(store.collect(&at_once()).unwrap().waiting, 1);
    drop(writer);
    assert_eq!(store.collect(&at_once()).unwrap().packs_removed, 1);
}

#[test]
fn only_one_collection_at_a_time() {
    let (_dir, store) = plant();
    let _lock = store.lock_upkeep().unwrap();
    assert!(matches!(store.collect(&at_once()), Err(StoreError::Busy)));
    assert!(matches!(store.repair(None, &mut |_, _| {}), Err(StoreError::Busy)));
}

/// Tells the others to stop, also when a thread has failed: else its failure would never be seen.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Import an image, read it, delete it, many times; the last one stays.
fn write_and_delete(path: &Path, writer: u64, shared: &[Vec<u8>]) {
    let own = Store::open(path).unwrap();
    for round in 0..12u64 {
        // All writers share chunks, so that one deletes what another has just found.
        let mut mine = shared.to_vec();
        mine.extend(chunks(100 + 20 * writer + round % 2, 3));
        let session = own.writer().unwrap();
        let mut ingest = session.ingest();
        for chunk in &mine {
            ingest.append(&frame(chunk)).unwrap();
        }
        ingest.finish().unwrap();
        let manifest = manifest_of(&format!("w{writer}"), &mine);
        session.put_manifest(&SignedManifest::unsigned(&manifest)).unwrap();
        drop(session);
        own.verify_image(&manifest, |_, _| {}).unwrap();
        if round < 11 {
            own.delete(&manifest.id(), 1).unwrap();
        }
    }
}

/// Every row of the table in DESIGN.md at once, each in a thread with a store of its own.
#[test]
fn imports_collections_deletions_signatures_scrubs_and_reads_overlap() {
    let (dir, store) = plant();
    let kept = put_image(&store, "kept", &chunks(1, 12));
    let shared = chunks(2, 6);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (path, stop, kept, shared) = (dir.path(), &stop, &kept, &shared);
        let collector = scope.spawn(move || {
            let own = Store::open(path).unwrap();
            let mut removed = 0;
            while !stop.load(Ordering::Relaxed) {
                match own.collect(&at_once()) {
                    Ok(done) => removed += done.packs_removed,
                    Err(StoreError::Busy) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            removed
        });
        let scrubber = scope.spawn(move || {
            let own = Store::open(path).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let found = own.scrub(&mut |_, _| {}).unwrap();
                assert!(found.damaged_packs.is_empty() && found.broken.is_empty(), "{found:?}");
            }
        });
        let server = scope.spawn(move || {
            let own = Store::open(path).unwrap();
            let mut served = 0;
            while !stop.load(Ordering::Relaxed) {
                served += own.verify_image(kept, |_, _| {}).unwrap().chunks;
            }
            served
        });
        let writers: Vec<_> =
            (0..3u64).map(|writer| scope.spawn(move || write_and_delete(path, writer, shared))).collect();
        let at_end = StopAtEnd(stop);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        drop(at_end);
        assert!(collector.join().unwrap() > 0, "nothing was collected: this test shows nothing");
        assert!(server.join().unwrap() > 0);
        scrubber.join().unwrap();
    });
    let again = Store::open(dir.path()).unwrap();
    again.collect(&at_once()).unwrap();
    let images = again.list().unwrap();
    assert_eq!(images.len(), 4);
    for image in images {
        whole(&again, &again.get_manifest(&image).unwrap().parse().unwrap());
    }
}

#[test]
fn two_imports_of_one_disk_at_once_give_one_image() {
    let plant = Plant::new();
    let disk = crate::testing::gpt_disk(8 << 20, 512, &[(crate::testing::LINUX_TYPE, 2048, 16350)]);
    let raw = plant.dir.path().join("disk.raw");
    let mut bytes = disk;
    bytes[2 << 20..6 << 20].copy_from_slice(&noise(3, 4 << 20));
    fs::write(&raw, bytes).unwrap();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let import = || {
            let own = Store::open(plant.store.root()).unwrap();
            crate::import_raw(&raw, &request(), &own, &mut |_| {}).unwrap().manifest.id()
        };
        let both = [scope.spawn(import), scope.spawn(import)];
        both.into_iter().map(|import| import.join().unwrap()).collect()
    });
    assert_eq!(ids[0], ids[1]);
    assert_eq!(plant.store.list().unwrap(), [ids[0]]);
    whole(&plant.store, &plant.store.get_manifest(&ids[0]).unwrap().parse().unwrap());
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_scrub_names_what_rots_and_repairs_it_from_a_replica() {
    let ((_a, store), (_b, replica)) = (plant(), plant());
    let all = chunks(1, 6);
    let manifest = put_image(&store, "a", &all);
    put_image(&replica, "a", &all);
    let clean = store.scrub(&mut |_, _| {}).unwrap();
    assert_eq!((clean.packs, clean.damaged_packs.len(), clean.broken.len()), (1, 0, 0));
    let (pack, path) = store.packs_on_disk().unwrap().remove(0);
    assert_eq!(clean.bytes, fs::metadata(&path).unwrap().len());
    flip(&path, 8 + 2 * (64 << 10) + 7);
    let rotten = ChunkId::of(&all[2]);

    let found = store.scrub(&mut |_, _| {}).unwrap();
    let expected = DamagedPack { pack, whole_chunks: 5, damaged: vec![rotten] };
    assert_eq!(found.damaged_packs, std::slice::from_ref(&expected));
    assert_eq!(found.broken, [(manifest.id(), 1)]);
    assert!(path.exists(), "a scrub alone changes nothing");

    // Without a replica what is right is saved, and what lacks is named.
    let found = store.repair(None, &mut |_, _| {}).unwrap();
    assert_eq!((found.repaired_chunks, &found.broken), (0, &vec![(manifest.id(), 1)]));
    assert!(!path.exists());
    assert!(matches!(store.get_frame(&rotten), Err(StoreError::MissingChunk { .. })));
    assert_eq!(store.read_chunk(&ChunkId::of(&all[3])).unwrap(), all[3]);

    let found = store.repair(Some(&replica), &mut |_, _| {}).unwrap();
    assert_eq!((found.repaired_chunks, found.broken.len()), (1, 0));
    whole(&store, &manifest);
    assert_eq!(files_in(&store.root().join("damaged")).unwrap().len(), 1);
}

#[test]
fn a_scrub_repairs_packs_without_a_footer_and_manifests() {
    let ((_a, store), (_b, replica)) = (plant(), plant());
    let (manifest, other) = (put_image(&store, "a", &chunks(1, 4)), put_image(&store, "b", &chunks(2, 4)));
    put_image(&replica, "a", &chunks(1, 4));
    put_image(&replica, "b", &chunks(2, 4));
    for (_, path) in store.packs_on_disk().unwrap() {
        let len = fs::metadata(&path).unwrap().len() as usize;
        flip(&path, len - 60);
    }
    flip(&store.manifest_path("manifests", &other.id()), 80);
    let found = store.repair(Some(&replica), &mut |_, _| {}).unwrap();
    assert_eq!(found.damaged_manifests, [other.id()]);
    assert_eq!((found.damaged_packs.len(), found.repaired_manifests, found.repaired_chunks), (2, 1, 8));
    assert!(found.broken.is_empty(), "{found:?}");
    whole(&store, &manifest);
    whole(&store, &store.get_manifest(&other.id()).unwrap().parse().unwrap());
}

/// A replica that gives other bytes than asked for.
struct Liar;

impl crate::ChunkSource for Liar {
    fn fetch(
        &self,
        ids: &[ChunkId],
        sink: &mut crate::restore::FrameSink<'_>,
    ) -> Result<(), crate::restore::SourceError> {
        for id in ids {
            let refused = sink(Frame { id: *id, ..frame(b"something else") }).is_err();
            assert!(refused && sink(frame(b"something else")).is_err());
        }
        Ok(())
    }
}

impl Replica for Liar {
    fn manifest(&self, _: &ImageId) -> Option<SignedManifest> {
        Some(SignedManifest::unsigned(&sample_of(header(4 << 20)).0))
    }
}

#[test]
fn a_lying_replica_repairs_nothing() {
    let (_dir, store) = plant();
    let manifest = put_image(&store, "a", &chunks(1, 2));
    flip(&store.packs_on_disk().unwrap()[0].1, 100);
    flip(&store.manifest_path("manifests", &manifest.id()), 80);
    let found = store.repair(Some(&Liar), &mut |_, _| {}).unwrap();
    assert_eq!((found.repaired_manifests, found.repaired_chunks), (0, 0));
    assert_eq!(found.broken, [(manifest.id(), 0)]);
}
