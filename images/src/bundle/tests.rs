//! A bundle brings images over whole, goes on where it was stopped, and lies to nobody.

use std::io::Cursor;

use super::*;
use crate::testing::{Plant, noise, request};
use crate::{ImportRequest, Manifest, Verified};

fn disk(seed: u64) -> Vec<u8> {
    let mut disk = crate::testing::gpt_disk(8 << 20, 512, &[(crate::testing::LINUX_TYPE, 2048, 16350)]);
    disk[2 << 20..4 << 20].copy_from_slice(&noise(1, 2 << 20));
    disk[4 << 20..5 << 20].copy_from_slice(&noise(seed, 1 << 20));
    disk
}

fn contents(plant: &Plant, images: &[&Verified<Manifest>]) -> Contents {
    let manifests = images.iter().map(|image| plant.store.get_manifest(&image.id()).unwrap()).collect();
    Contents { trust_root: Some(plant.ring.root().clone()), statements: Vec::new(), manifests }
}

fn write(plant: &Plant, contents: &Contents, known: &HashSet<ChunkId>) -> (Vec<u8>, Exported) {
    let mut file = tempfile::tempfile().unwrap();
    let exported = export(&plant.store, contents, known, &mut file, &mut |_, _, _| {}).unwrap();
    (bytes_of(&mut file), exported)
}

fn bytes_of(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8], store: &Store) -> Result<Received, BundleError> {
    BundleReader::open(Cursor::new(bytes))?.receive(store, &mut |_, _| {})
}

#[test]
fn images_come_over_whole_with_signatures_and_trust_root() {
    let (a, b) = (Plant::new(), Plant::new());
    let (one, two) = (a.image(&disk(2)), a.image_with(&disk(3), &ImportRequest { epoch: 2, ..request() }));
    let (bytes, exported) = write(&a, &contents(&a, &[&one, &two]), &HashSet::new());
    assert_eq!(exported.bytes, bytes.len() as u64);
    let reader = BundleReader::open(Cursor::new(&bytes)).unwrap();
    assert_eq!(reader.contents.trust_root.as_ref(), Some(a.ring.root()));
    let received = reader.receive(&b.store, &mut |_, _| {}).unwrap();
    assert_eq!((received.images.len(), received.new_frames), (2, exported.frames));
    for image in [&one, &two] {
        let there = a.ring.verify(b.store.get_manifest(&image.id()).unwrap()).unwrap();
        b.store.verify_image(&there, |_, _| {}).unwrap();
    }
    let again = read(&bytes, &b.store).unwrap();
    assert_eq!((again.new_frames, again.known_frames), (0, exported.frames));
}

#[test]
fn a_bundle_without_what_the_other_side_has_is_smaller_and_needs_it() {
    let (a, b) = (Plant::new(), Plant::new());
    let (one, two) = (a.image(&disk(2)), a.image_with(&disk(3), &ImportRequest { epoch: 2, ..request() }));
    let (whole, _) = write(&a, &contents(&a, &[&two]), &HashSet::new());
    let (less, _) = write(&a, &contents(&a, &[&two]), &one.chunk_ids().collect());
    assert!(less.len() * 2 < whole.len());
    let refused = read(&less, &b.store);
    assert!(matches!(refused, Err(BundleError::Store(StoreError::Incomplete { .. }))));
    assert!(b.store.list().unwrap().is_empty());
    read(&write(&a, &contents(&a, &[&one]), &HashSet::new()).0, &b.store).unwrap();
    read(&less, &b.store).unwrap();
    assert_eq!(b.store.list().unwrap().len(), 2);
}

#[test]
fn an_export_goes_on_from_wherever_it_was_stopped() {
    let a = Plant::new();
    let contents = contents(&a, &[&a.image(&disk(2))]);
    let (whole, exported) = write(&a, &contents, &HashSet::new());
    let head = contents.encode(exported.frames).len();
    for len in [0, 5, head - 1, head, head + 20, head + 50_000, whole.len() / 2, whole.len() - 1, whole.len()]
    {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&whole[..len]).unwrap();
        let resumed = export(&a.store, &contents, &HashSet::new(), &mut file, &mut |_, _, _| {}).unwrap();
        assert!(bytes_of(&mut file) == whole, "{len}");
        assert_eq!(resumed.resumed_bytes > 0, len >= head, "{len}");
    }
    // What stands there is another bundle, or was damaged: it is written anew from there.
    let mut file = tempfile::tempfile().unwrap();
    let mut damaged = whole.clone();
    damaged[head + 60_000] ^= 1;
    file.write_all(&damaged).unwrap();
    export(&a.store, &contents, &HashSet::new(), &mut file, &mut |_, _, _| {}).unwrap();
    assert!(bytes_of(&mut file) == whole);
}

#[test]
fn a_bundle_cut_anywhere_is_truncated_and_what_came_over_is_kept() {
    let (a, b) = (Plant::new(), Plant::new());
    let contents = contents(&a, &[&a.image(&disk(2))]);
    let (whole, exported) = write(&a, &contents, &HashSet::new());
    let head = contents.encode(exported.frames).len();
    for len in (8..head).step_by(97).chain([head, head + 40, head + 41, whole.len() / 2, whole.len() - 1]) {
        let cut = read(&whole[..len], &b.store);
        assert!(matches!(cut, Err(BundleError::Truncated { .. })), "{len}: {cut:?}");
        assert!(b.store.list().unwrap().is_empty());
    }
    assert!(matches!(read(&whole[..7], &b.store), Err(BundleError::NotABundle)));
    assert!(matches!(read(&[&whole[..], b"x"].concat(), &b.store), Err(BundleError::Damaged { .. })));
    assert_eq!(read(&whole, &b.store).unwrap().images.len(), 1);
}

#[test]
fn no_flipped_bit_of_a_bundle_gets_into_the_store() {
    let a = Plant::new();
    let image = a.image(&disk(2));
    let contents = contents(&a, &[&image]);
    let (whole, exported) = write(&a, &contents, &HashSet::new());
    let head = contents.encode(exported.frames).len();
    for at in (0..head).step_by(61).chain((head..whole.len()).step_by(whole.len() / 40)) {
        let b = Plant::new();
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        if read(&bytes, &b.store).is_ok() {
            // A bit of the trust root or of a signature: the key ring is who judges those.
            assert!(at < head, "{at}");
            for id in b.store.list().unwrap() {
                let signed = b.store.get_manifest(&id).unwrap();
                if let Ok(there) = a.ring.verify(signed) {
                    b.store.verify_image(&there, |_, _| {}).unwrap();
                }
            }
        }
    }
}
