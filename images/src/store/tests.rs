//! The store keeps what it was given, notices what was changed under it, and is not confused by a crash or a second writer.

use super::*;
use crate::frames::Packer;
use crate::manifest::tests::{header, sample_of};

mod channels;
mod upkeep;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn frame(plain: &[u8]) -> Frame {
    Packer::new().unwrap().pack(ChunkId::of(plain), plain).unwrap()
}

fn put(store: &Store, plains: &[&[u8]]) -> Vec<ChunkId> {
    let writer = store.writer().unwrap();
    let mut ingest = writer.ingest();
    for plain in plains {
        ingest.append(&frame(plain)).unwrap();
    }
    ingest.finish().unwrap();
    plains.iter().map(|plain| ChunkId::of(plain)).collect()
}

fn the_pack(store: &Store) -> PathBuf {
    files_in(&store.root.join("packs")).unwrap().pop().unwrap()
}

#[test]
fn chunks_survive_and_are_kept_once() {
    let (dir, store) = store();
    let ids = put(&store, &[b"one", &[2; 100_000], b"one"]);
    put(&store, &[b"one"]);
    assert_eq!(store.counts(), (1, 2));
    let again = Store::open(dir.path()).unwrap();
    assert_eq!(again.counts(), (1, 2));
    assert_eq!(again.read_chunk(&ids[1]).unwrap(), [2; 100_000]);
    let missing = again.get_frame(&ChunkId::of(b"no"));
    assert!(matches!(missing, Err(StoreError::MissingChunk { .. })));
}

#[test]
fn packs_are_named_by_their_whole_file() {
    let (_dir, store) = store();
    put(&store, &[b"one", b"two"]);
    let path = the_pack(&store);
    let id = PackId::of_file(&fs::read(&path).unwrap());
    assert_eq!(path.file_name().unwrap().to_str().unwrap(), pack::file_name(&id));
}

#[test]
fn another_process_sees_new_chunks_without_reopening() {
    let (dir, store) = store();
    let other = Store::open(dir.path()).unwrap();
    let ids = put(&other, &[b"late"]);
    assert_eq!(store.read_chunk(&ids[0]).unwrap(), b"late");
}

#[test]
fn a_flipped_chunk_is_named_and_not_given_out() {
    let (_dir, store) = store();
    let ids = put(&store, &[&[7; 50_000], b"fine"]);
    let path = the_pack(&store);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(store.get_frame(&ids[0]), Err(StoreError::DamagedChunk { id, .. }) if id == ids[0]));
    assert!(matches!(store.read_chunk(&ids[0]), Err(StoreError::DamagedChunk { .. })));
    assert_eq!(store.read_chunk(&ids[1]).unwrap(), b"fine");
}

#[test]
fn a_pack_cut_or_altered_at_its_end_is_set_aside() {
    let (dir, store) = store();
    put(&store, &[b"one", b"two"]);
    let path = the_pack(&store);
    let whole = fs::read(&path).unwrap();
    for len in (0..whole.len()).chain([whole.len() + 1]) {
        let mut bytes = whole.clone();
        bytes.resize(len, 0);
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(pack::read_footer(&path), Err(StoreError::DamagedPack { .. })), "{len}");
    }
    // Every byte of footer and trailer counts.
    for at in whole.len() - 2 * 57 - 44..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        assert!(pack::read_footer(&path).is_err(), "{at}");
    }
    let again = Store::open(dir.path()).unwrap();
    assert_eq!(again.counts(), (0, 0));
    assert!(!path.exists());
    assert_eq!(files_in(&dir.path().join("damaged")).unwrap().len(), 1);
}

#[test]
fn what_a_dead_writer_left_is_removed_and_a_living_writer_is_left_alone() {
    let (dir, store) = store();
    let temp = dir.path().join("temp");
    fs::write(temp.join("1.dead"), b"half a pack").unwrap();
    let writer = store.writer().unwrap();
    let mut living = writer.ingest();
    living.append(&frame(b"living")).unwrap();
    assert_eq!(files_in(&temp).unwrap().len(), 2);
    let other = Store::open(dir.path()).unwrap();
    assert_eq!(files_in(&temp).unwrap().len(), 1);
    living.finish().unwrap();
    assert_eq!(other.read_chunk(&ChunkId::of(b"living")).unwrap(), b"living");
    drop(writer.ingest());
    assert!(files_in(&temp).unwrap().is_empty());
}

#[test]
fn a_dropped_import_leaves_nothing_half() {
    let (dir, store) = store();
    let writer = store.writer().unwrap();
    let mut ingest = writer.ingest();
    ingest.append(&frame(b"gone")).unwrap();
    drop(ingest);
    assert!(files_in(&dir.path().join("temp")).unwrap().is_empty());
    assert_eq!(store.counts(), (0, 0));
}

#[test]
fn an_image_is_listed_only_when_whole() {
    let (dir, store) = store();
    let (manifest, plains) = sample_of(header(4 << 20));
    let signed = SignedManifest::unsigned(&manifest);
    let refused = store.put_manifest(&signed);
    assert!(matches!(refused, Err(StoreError::Incomplete { missing, .. }) if missing == plains.len()));
    assert!(store.list().unwrap().is_empty());
    put(&store, &plains.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(store.put_manifest(&signed).unwrap(), manifest.id());
    assert_eq!(Store::open(dir.path()).unwrap().list().unwrap(), [manifest.id()]);
    let verified = store.verify_image(&manifest, |_, _| {}).unwrap();
    assert_eq!(verified.chunks as usize, plains.len());
    assert!(matches!(store.get_manifest(&ImageId::of_header(b"none")), Err(StoreError::MissingImage { .. })));
}

#[test]
fn signatures_of_two_people_meet_in_the_store() {
    let (_dir, store) = store();
    let (manifest, plains) = sample_of(header(4 << 20));
    put(&store, &plains.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let sign = |key: u8| {
        let mut signed = SignedManifest::unsigned(&manifest);
        signed.add(crate::Signature { key: [key; 32], signature: [key; 64], comment_signature: [key; 64] });
        store.put_manifest(&signed).unwrap();
    };
    sign(2);
    sign(1);
    sign(2);
    let keys: Vec<u8> =
        store.get_manifest(&manifest.id()).unwrap().signatures.iter().map(|s| s.key[0]).collect();
    assert_eq!(keys, [1, 2]);
}

#[test]
fn an_altered_manifest_file_is_named() {
    let (dir, store) = store();
    let (manifest, plains) = sample_of(header(4 << 20));
    put(&store, &plains.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let id = store.put_manifest(&SignedManifest::unsigned(&manifest)).unwrap();
    let path = dir.path().join("manifests").join(manifest_name(&id));
    let mut bytes = fs::read(&path).unwrap();
    bytes[50] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(store.get_manifest(&id), Err(StoreError::DamagedManifest { .. })));
}

#[test]
fn a_directory_of_something_else_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("holiday.jpg"), b"x").unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::NotAStore { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let newer = tempfile::tempdir().unwrap();
    fs::write(newer.path().join("format"), b"groundstate store 2\n").unwrap();
    assert!(matches!(Store::open(newer.path()), Err(StoreError::NotAStore { .. })));
}

#[test]
fn many_writers_at_once_keep_every_chunk() {
    let (dir, store) = store();
    std::thread::scope(|scope| {
        for writer in 0..4u8 {
            let (dir, store) = (dir.path(), &store);
            scope.spawn(move || {
                let own = Store::open(dir).unwrap();
                let target = if writer % 2 == 0 { store } else { &own };
                for n in 0..20u8 {
                    put(target, &[&[n; 3000], &[writer, n]]);
                }
            });
        }
    });
    let again = Store::open(dir.path()).unwrap();
    for n in 0..20u8 {
        assert_eq!(again.read_chunk(&ChunkId::of(&[n; 3000])).unwrap(), [n; 3000]);
        for writer in 0..4u8 {
            assert_eq!(again.read_chunk(&ChunkId::of(&[writer, n])).unwrap(), [writer, n]);
        }
    }
}
