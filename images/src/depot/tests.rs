//! What a depot may do to us, and what comes of it: nothing that was here is lost, nothing that it made up is kept.

mod evict;

use std::collections::BTreeMap;
use std::time::Duration;

use super::shelf::{Lie, Shelf};
use super::*;
use crate::keys::{ChannelStatement, Role, RoleKeys, Signed, SignedTrustRoot, SigningKey, Stage, TrustRoot};
use crate::testing::{LINUX_TYPE, Plant, gpt_disk, noise, request};
use crate::{ImportRequest, KeyRing, Manifest, Store, Verified};

/// A disk with half a MiB that all have, and half a MiB of its own.
fn disk(seed: u64) -> Vec<u8> {
    let mut disk = gpt_disk(8 << 20, 512, &[(LINUX_TYPE, 2048, 16350)]);
    disk[2 << 20..5 << 19].copy_from_slice(&noise(1, 1 << 19));
    disk[4 << 20..9 << 19].copy_from_slice(&noise(seed, 1 << 19));
    disk
}

fn version(plant: &Plant, number: u64) -> Verified<Manifest> {
    plant.image_with(&disk(number), &ImportRequest { epoch: number, ..request() })
}

fn push_all(plant: &Plant, depot: &dyn Depot, rules: PushRules) -> Result<Pushed, DepotError> {
    push(&plant.store, depot, &plant.store.list().unwrap(), rules, &mut |_| {})
}

fn pushed(plant: &Plant, depot: &dyn Depot) -> Pushed {
    push_all(plant, depot, PushRules::default()).unwrap()
}

fn verify() -> PushRules {
    PushRules { verify: true, plan: false }
}

/// An empty store of a site that trusts the plant's keys.
fn site() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("site")).unwrap();
    (dir, store)
}

fn pull_with(depot: &dyn Depot, store: &Store, ring: &KeyRing, image: ImageId) -> Result<Pulled, DepotError> {
    pull(depot, store, &[image], Some(ring), &mut |_| {})
}

/// What every refusal must leave: no image, and nothing half.
fn assert_untouched(store: &Store) {
    assert!(store.list().unwrap().is_empty());
    let again = Store::open(store.root()).unwrap();
    assert!(again.scrub(&mut |_, _| {}).unwrap().damaged_packs.is_empty());
    assert_eq!(std::fs::read_dir(store.temp_dir()).unwrap().count(), 0);
}

#[test]
fn what_was_pushed_is_pulled_whole_and_only_what_is_missing_travels() {
    let (plant, shelf, (_dir, store)) = (Plant::new(), Shelf::default(), site());
    let one = version(&plant, 2);
    let plan = push_all(&plant, &shelf, PushRules { plan: true, ..PushRules::default() }).unwrap();
    assert!(shelf.names().is_empty());
    let done = pushed(&plant, &shelf);
    assert_eq!((&done, done.images.as_slice(), done.packs, done.signatures), (&plan, &[one.id()][..], 1, 1));
    assert_eq!(pushed(&plant, &shelf), Pushed::default(), "nothing is put twice");
    assert_eq!(push_all(&plant, &shelf, verify()).unwrap(), Pushed::default());

    let plan = plan_pull(&shelf, Some(&store), &[one.id()], Some(&plant.ring)).unwrap();
    assert_untouched(&store);
    assert_eq!(
        plan_pull(&shelf, None, &[one.id()], Some(&plant.ring)).unwrap(),
        plan,
        "no store is an empty one"
    );
    let mut moved = 0;
    let done = pull(&shelf, &store, &[one.id()], Some(&plant.ring), &mut |bytes| moved += bytes).unwrap();
    assert_eq!((&done, done.images.as_slice()), (&plan, &[one.id()][..]));
    assert!(moved >= done.bytes);
    store.verify_image(&one, |_, _| {}).unwrap();
    plant.ring.verify(store.get_manifest(&one.id()).unwrap()).unwrap();
    let names = |store: &Store| store.packs_of(one.chunk_ids()).unwrap();
    assert_eq!(names(&store), names(&plant.store), "packs keep their names, so this site pushes none again");

    let two = version(&plant, 3);
    assert_eq!(pushed(&plant, &shelf).packs, 1, "of the second image only its own pack");
    let second = pull_with(&shelf, &store, &plant.ring, two.id()).unwrap();
    assert!(second.bytes < done.bytes && second.chunks < done.chunks);
    let nothing = pull_with(&shelf, &store, &plant.ring, two.id()).unwrap();
    assert_eq!((nothing.chunks, nothing.images.len(), nothing.packs), (0, 0, 0));
}

#[test]
fn a_stopped_push_and_a_stopped_pull_go_on_where_they_were() {
    let (plant, whole) = (Plant::new(), Shelf::default());
    let one = version(&plant, 2);
    pushed(&plant, &whole);
    let (shelf, mut stops) = (Shelf::default(), 0);
    for calls in 0.. {
        *shelf.calls_left.lock().unwrap() = Some(calls);
        match push_all(&plant, &shelf, PushRules::default()) {
            Err(DepotError::Gone(_)) => stops += 1,
            other => {
                other.unwrap();
                break;
            }
        }
        let here = shelf.names().iter().any(|name| name.ends_with("manifest.gsi"));
        assert!(!here || shelf.names().iter().any(|name| name.starts_with("packs/")), "an image is whole");
    }
    *shelf.calls_left.lock().unwrap() = None;
    assert_eq!(shelf.names(), whole.names());
    assert!(stops > 5, "it was stopped at {stops} places");
    let ((_dir, store), mut stops) = (site(), 0);
    for calls in 0.. {
        *shelf.calls_left.lock().unwrap() = Some(calls);
        match pull_with(&shelf, &store, &plant.ring, one.id()) {
            Err(DepotError::Gone(_)) => stops += 1,
            other => {
                other.unwrap();
                break;
            }
        }
        assert_untouched(&store);
    }
    assert!(stops > 5, "it was stopped at {stops} places");
    store.verify_image(&one, |_, _| {}).unwrap();
}

#[test]
fn a_depot_that_does_not_keep_what_it_is_given_is_found_at_once() {
    for lie in [
        Lie::KeepsNothing,
        Lie::SaysThere,
        Lie::Cuts,
        Lie::Spoils,
        Lie::ReadsNoise,
        Lie::ReadsShort,
        Lie::ReadsMore,
        Lie::WrongLengths,
    ] {
        let (plant, shelf) = (Plant::new(), Shelf::lying(lie));
        version(&plant, 2);
        let refused = push_all(&plant, &shelf, PushRules::default()).unwrap_err();
        assert!(matches!(refused, DepotError::NotKept { .. }), "{lie:?}: {refused}");
        let listed = shelf.names().iter().any(|name| name.ends_with("manifest.gsi"));
        assert!(!listed, "{lie:?}: no image is listed whose packs were not kept");
    }
}

#[test]
fn what_was_spoiled_on_the_way_is_put_once_more() {
    let (plant, shelf, (_dir, store)) = (Plant::new(), Shelf::lying(Lie::SpoilsOnce), site());
    let one = version(&plant, 2);
    pushed(&plant, &shelf);
    pull_with(&shelf, &store, &plant.ring, one.id()).unwrap();
    store.verify_image(&one, |_, _| {}).unwrap();
}

#[test]
fn ignored_conditions_do_no_harm() {
    let (plant, shelf) = (Plant::new(), Shelf::lying(Lie::IgnoresConditions));
    version(&plant, 2);
    pushed(&plant, &shelf);
    let before = shelf.objects.lock().unwrap().clone();
    push_all(&plant, &shelf, verify()).unwrap();
    pushed(&Plant::new(), &shelf);
    assert_eq!(*shelf.objects.lock().unwrap(), before);
}

#[test]
fn an_altered_object_is_named_and_mended_by_a_push_that_verifies() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    let one = version(&plant, 2);
    pushed(&plant, &shelf);
    let whole = shelf.objects.lock().unwrap().clone();
    for (part, at) in
        [("packs/", 100), ("manifest.gsi", 40), ("manifest.gsi", 2), (".packs", 14), (".signature", 70)]
    {
        let (_dir, store) = site();
        shelf.spoil(part, at);
        let refused = pull_with(&shelf, &store, &plant.ring, one.id()).unwrap_err();
        let says = match part {
            "packs/" => matches!(&refused, DepotError::Incomplete { image, missing: 1, source: Some(source) }
                if *image == one.id() && matches!(**source, DepotError::Altered { .. })),
            ".signature" => matches!(refused, DepotError::Untrusted { .. }),
            ".packs" => matches!(refused, DepotError::Altered { .. }),
            _ => matches!(refused, DepotError::Altered { .. } | DepotError::Manifest { .. }),
        };
        assert!(says, "{part} {at}: {refused:?}");
        assert_untouched(&store);
        push_all(&plant, &shelf, verify()).unwrap();
        assert_eq!(*shelf.objects.lock().unwrap(), whole, "{part} {at} is mended");
        pull_with(&shelf, &store, &plant.ring, one.id()).unwrap();
    }
}

#[test]
fn an_object_that_is_gone_has_its_own_error() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    let one = version(&plant, 2);
    pushed(&plant, &shelf);
    for part in ["packs/", "manifest.gsi", ".packs", ".signature"] {
        let (_dir, store) = site();
        let (name, bytes) = shelf.take(part);
        let refused = pull_with(&shelf, &store, &plant.ring, one.id()).unwrap_err();
        let says = match part {
            "packs/" | ".packs" => matches!(refused, DepotError::Incomplete { .. }),
            "manifest.gsi" => matches!(refused, DepotError::NoImage { .. }),
            _ => matches!(refused, DepotError::Untrusted { .. }),
        };
        assert!(says, "{part}: {refused:?}");
        assert_untouched(&store);
        pushed(&plant, &shelf);
        assert_eq!(shelf.objects.lock().unwrap().get(&name), Some(&bytes), "{part} is put again");
    }
}

#[test]
fn a_chunk_that_is_altered_in_one_pack_comes_from_another() {
    let (plant, other, shelf) = (Plant::new(), Plant::new(), Shelf::default());
    let one = version(&plant, 2);
    pushed(&plant, &shelf);
    // Another site has the same disk in another pack, and no image of it in the depot yet.
    version(&other, 9);
    other.import_with(&disk(2), &request());
    let (_, manifest) = shelf.take("manifest.gsi");
    let same = crate::SignedManifest::decode(&manifest).unwrap();
    other.store.put_manifest(&same).unwrap();
    push(&other.store, &shelf, &[one.id()], PushRules::default(), &mut |_| {}).unwrap();
    let mine = Name::Pack(plant.store.packs_of(one.chunk_ids()).unwrap()[0]).to_string();
    shelf.spoil(&mine, 1000);
    let (_dir, store) = site();
    let done = pull_with(&shelf, &store, &plant.ring, one.id()).unwrap();
    store.verify_image(&one, |_, _| {}).unwrap();
    assert!(done.altered.len() <= 1);
}

#[test]
fn a_stranger_in_the_depot_gets_nothing_into_the_store() {
    let (plant, stranger, shelf) = (Plant::new(), Plant::new(), Shelf::default());
    let foreign = version(&stranger, 4);
    pushed(&stranger, &shelf);
    let (_dir, store) = site();
    let refused = pull_with(&shelf, &store, &plant.ring, foreign.id()).unwrap_err();
    assert!(matches!(refused, DepotError::Untrusted { image, .. } if image == foreign.id()));
    assert_untouched(&store);
    // Junk beside the right signature is left out and said.
    let mine = version(&plant, 2);
    pushed(&plant, &shelf);
    let junk = vec![7; 160];
    let name = Name::Signature(mine.id(), crate::Digest::of(&junk)).to_string();
    shelf.objects.lock().unwrap().extend([(name.clone(), junk), ("index.html".into(), vec![1])]);
    let done = pull_with(&shelf, &store, &plant.ring, mine.id()).unwrap();
    assert_eq!(done.altered, [name]);
    assert_eq!(store.get_manifest(&mine.id()).unwrap().signatures.len(), 1);
    assert_eq!(Inventory::read(&shelf).unwrap().foreign, 1);
    // Asked for untrusted, it is taken and stays so.
    pull(&shelf, &store, &[foreign.id()], None, &mut |_| {}).unwrap();
    assert!(plant.ring.verify(store.get_manifest(&foreign.id()).unwrap()).is_err());
}

/// A key ring with an image key of the plant and a channel key.
fn with_channel(plant: &Plant) -> (KeyRing, SigningKey) {
    let (root, channel) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let keys = |key: &SigningKey| RoleKeys { threshold: 1, keys: vec![key.public()] };
    let roles = BTreeMap::from([
        (Role::Root, keys(&root)),
        (Role::Image, keys(&plant.key)),
        (Role::Channel, keys(&channel)),
    ]);
    let mut trust =
        SignedTrustRoot::unsigned(TrustRoot { version: 1, epoch_floor: 0, expires_unix_ms: 0, roles });
    trust.sign(&root).unwrap();
    (KeyRing::pin(trust).unwrap(), channel)
}

fn say(key: &SigningKey, epoch: u64, image: ImageId) -> Signed<ChannelStatement> {
    let channel = Stage::Approved.channel("hmi-panel");
    let (author, reason) = ("ada".to_owned(), String::new());
    Signed::new(ChannelStatement { channel, epoch, image, author, reason, at_unix_ms: 1 }, key).unwrap()
}

#[test]
fn statements_travel_and_old_ones_or_those_of_strangers_change_nothing() {
    let (plant, shelf, (_dir, store)) = (Plant::new(), Shelf::default(), site());
    let (ring, channel) = with_channel(&plant);
    let (one, two) = (version(&plant, 2), version(&plant, 3));
    plant.store.put_statement(&say(&channel, 1, one.id())).unwrap();
    assert_eq!(pushed(&plant, &shelf).statements, 1);
    let old = shelf.objects.lock().unwrap().clone();
    plant.store.put_statement(&say(&channel, 2, two.id())).unwrap();
    assert_eq!(pushed(&plant, &shelf).statements, 1);
    // A stranger tries to have the last word for ever, and to say another thing in an epoch that is taken.
    let stranger = SigningKey::generate().unwrap();
    for (key, epoch) in [(&stranger, u64::MAX), (&channel, 1)] {
        let signed = say(key, epoch, two.id());
        let bytes = serde_json::to_vec(&signed).unwrap();
        let name = Name::of_statement(&signed, &bytes).unwrap().to_string();
        shelf.objects.lock().unwrap().insert(name, bytes);
    }
    let all = [one.id(), two.id()];
    let plan_for = |to| plan_pull(&shelf, to, &all, Some(&ring)).unwrap();
    let (anew, plan) = (plan_for(None), plan_for(Some(&store)));
    let done = pull(&shelf, &store, &all, Some(&ring), &mut |_| {}).unwrap();
    assert_eq!(done.altered.len(), 1);
    assert_eq!((&done, anew.statements), (&plan, plan.statements));
    let approved = |store: &Store| store.history("hmi-panel").unwrap().approved().unwrap().body.image;
    assert_eq!(approved(&store), two.id());
    // The depot goes back to an old day: here the newer word stands.
    *shelf.objects.lock().unwrap() = old;
    pull(&shelf, &store, &[one.id()], Some(&ring), &mut |_| {}).unwrap();
    assert_eq!(approved(&store), two.id());
}

#[test]
fn a_damaged_local_pack_is_not_pushed() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    version(&plant, 2);
    let pack = std::fs::read_dir(plant.store.root().join("packs")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let refused = push_all(&plant, &shelf, PushRules::default()).unwrap_err();
    assert!(matches!(refused, DepotError::Store(crate::StoreError::DamagedPack { .. })), "{refused}");
    assert!(!shelf.names().iter().any(|name| name.starts_with("packs/")));
}

fn rules(now_hours: u64) -> CollectRules {
    let hour = 3_600_000;
    CollectRules { now_unix_ms: now_hours * hour, grace: Duration::from_secs(48 * 3600), plan: false }
}

#[test]
fn what_is_withdrawn_goes_after_its_grace_and_what_others_need_stays() {
    let (plant, shelf, (_dir, store)) = (Plant::new(), Shelf::default(), site());
    let (one, two) = (version(&plant, 2), version(&plant, 3));
    pushed(&plant, &shelf);
    assert_eq!(collect(&shelf, &rules(100)).unwrap(), Collected { images: 2, ..Collected::default() });
    withdraw(&shelf, &two.id()).unwrap();
    assert!(matches!(withdraw(&shelf, &two.id()), Err(DepotError::NoImage { .. })));
    let plan = collect(&shelf, &CollectRules { plan: true, ..rules(100) }).unwrap();
    let first = collect(&shelf, &rules(100)).unwrap();
    assert_eq!((&first, first.condemned, first.removed), (&plan, 2, 0), "its list and its signature");
    assert_eq!(collect(&shelf, &rules(147)).unwrap().waiting, 2);
    assert_eq!(collect(&shelf, &rules(99)).unwrap().waiting, 2, "a clock that was set back removes nothing");
    let second = collect(&shelf, &rules(148)).unwrap();
    assert_eq!((second.removed, second.condemned, second.broken.len()), (2, 0, 0));
    assert_eq!(collect(&shelf, &rules(149)).unwrap().condemned, 1, "now its own pack");
    let third = collect(&shelf, &rules(197)).unwrap();
    assert_eq!(third.removed, 1);
    assert!(third.bytes > 0);
    assert!(!shelf.names().iter().any(|name| name.starts_with("condemned/")));
    pull_with(&shelf, &store, &plant.ring, one.id()).unwrap();
    store.verify_image(&one, |_, _| {}).unwrap();
    assert!(matches!(
        pull_with(&shelf, &store, &plant.ring, two.id()),
        Err(DepotError::NoImage { image }) if image == two.id()
    ));
}

#[test]
fn an_image_that_is_pushed_again_within_the_grace_is_pardoned() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    let one = version(&plant, 2);
    pushed(&plant, &shelf);
    withdraw(&shelf, &one.id()).unwrap();
    collect(&shelf, &rules(100)).unwrap();
    pushed(&plant, &shelf);
    let done = collect(&shelf, &rules(200)).unwrap();
    assert_eq!((done.pardoned, done.removed), (2, 0));
    assert_eq!(pushed(&plant, &shelf), Pushed::default());
}

#[test]
fn a_push_under_way_keeps_its_packs_from_a_collection() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    version(&plant, 2);
    pushed(&plant, &shelf);
    shelf.take("manifest.gsi");
    let done = collect(&shelf, &rules(100)).unwrap();
    assert_eq!(done.condemned, 2, "the list and the signature, not the pack");
}

#[test]
fn a_pack_that_was_removed_while_it_was_relied_on_is_put_again() {
    let (plant, shelf, (_dir, store)) = (Plant::new(), Shelf::default(), site());
    let one = version(&plant, 2);
    pushed(&plant, &shelf);
    withdraw(&shelf, &one.id()).unwrap();
    *shelf.lie.lock().unwrap() = Some(Lie::LosesWhatWasSeen);
    pushed(&plant, &shelf);
    assert_eq!(*shelf.lie.lock().unwrap(), None, "it was lost");
    pull_with(&shelf, &store, &plant.ring, one.id()).unwrap();
}

#[test]
fn an_image_that_comes_while_a_collection_runs_is_spared() {
    let (plant, shelf, (_dir, store)) = (Plant::new(), Shelf::default(), site());
    let one = version(&plant, 2);
    pushed(&plant, &shelf);
    let taken = shelf.take("manifest.gsi");
    collect(&shelf, &rules(100)).unwrap();
    *shelf.late.lock().unwrap() = Some(taken);
    let done = collect(&shelf, &rules(200)).unwrap();
    assert_eq!((done.removed, done.pardoned, done.broken.len()), (0, 2, 0));
    pull_with(&shelf, &store, &plant.ring, one.id()).unwrap();
}

#[test]
fn what_the_depot_says_of_an_image_is_hashed_too() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    let one = version(&plant, 2);
    pushed(&plant, &shelf);
    assert_eq!(header(&shelf, &one.id()).unwrap().identity.name, "hmi-panel");
    shelf.spoil("manifest.gsi", 12 + 70);
    assert!(matches!(header(&shelf, &one.id()), Err(DepotError::Altered { .. })));
}

#[test]
fn a_pack_of_the_right_length_with_another_end_does_not_count_as_there() {
    let (plant, shelf, (_dir, store)) = (Plant::new(), Shelf::default(), site());
    let one = version(&plant, 2);
    pushed(&plant, &shelf);
    shelf.take("manifest.gsi");
    let len =
        shelf.objects.lock().unwrap().iter().find(|(name, _)| name.starts_with("packs/")).unwrap().1.len();
    shelf.spoil("packs/", len - 60);
    let done = pushed(&plant, &shelf);
    assert_eq!((done.packs, done.mended.len()), (1, 1));
    pull_with(&shelf, &store, &plant.ring, one.id()).unwrap();
}

#[test]
fn a_forged_pack_with_right_sums_gives_no_chunk() {
    let (plant, shelf, (dir, store)) = (Plant::new(), Shelf::default(), site());
    let one = version(&plant, 2);
    pushed(&plant, &shelf);
    let mut forged = crate::store::pack::PackWriter::create(dir.path()).unwrap();
    let ids: std::collections::BTreeSet<crate::ChunkId> = one.chunk_ids().collect();
    for id in &ids {
        let mut frame = plant.store.get_frame(id).unwrap();
        (frame.encoding, frame.bytes) = (crate::Encoding::Raw, vec![7; frame.raw_len as usize]);
        forged.append(&frame).unwrap();
    }
    let (id, _) = forged.seal(dir.path(), &Default::default()).unwrap();
    let bytes = std::fs::read(dir.path().join(crate::store::pack::file_name(&id))).unwrap();
    let list = PackList(vec![(id, bytes.len() as u64)]).encode();
    shelf.take(".packs");
    let list_name = Name::Packs(one.id(), PackList::digest_of(&list)).to_string();
    shelf.objects.lock().unwrap().extend([(Name::Pack(id).to_string(), bytes), (list_name, list)]);
    let refused = pull_with(&shelf, &store, &plant.ring, one.id()).unwrap_err();
    assert!(matches!(refused, DepotError::Incomplete { missing, .. } if missing == ids.len()), "{refused:?}");
    assert_eq!((store.counts(), store.list().unwrap().len()), ((0, 0), 0));
    push_all(&plant, &shelf, verify()).unwrap();
    pull_with(&shelf, &store, &plant.ring, one.id()).unwrap();
}

#[test]
fn a_collection_that_cannot_read_a_list_removes_nothing() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    let one = version(&plant, 2);
    pushed(&plant, &shelf);
    shelf.spoil(".packs", 14);
    assert!(matches!(collect(&shelf, &rules(100)), Err(DepotError::Altered { .. })));
    shelf.take(".packs");
    let refused = collect(&shelf, &rules(100));
    assert!(matches!(refused, Err(DepotError::NoPackList { image }) if image == one.id()));
    // A record that somebody else has written condemns nothing that is needed.
    pushed(&plant, &shelf);
    let names: Vec<String> = shelf.names();
    let bytes = serde_json::to_vec(&serde_json::json!({ "names": names })).unwrap();
    let name = Name::Condemned { at_unix_ms: 1, digest: crate::Digest::of(&bytes) }.to_string();
    shelf.objects.lock().unwrap().insert(name, bytes);
    let done = collect(&shelf, &rules(1000)).unwrap();
    assert_eq!(done.removed, 1, "the record itself");
}

#[test]
fn a_depot_that_lists_nothing_or_ghosts_costs_no_image() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    let one = version(&plant, 2);
    pushed(&plant, &shelf);
    let before = shelf.names();
    *shelf.lie.lock().unwrap() = Some(Lie::ListsNothing);
    assert_eq!(collect(&shelf, &rules(1000)).unwrap(), Collected::default());
    pushed(&plant, &shelf);
    assert_eq!(shelf.names(), before);
    let (_dir, store) = site();
    let refused = pull_with(&shelf, &store, &plant.ring, one.id()).unwrap_err();
    assert!(matches!(refused, DepotError::Untrusted { .. }), "its signatures are not listed: {refused}");
    *shelf.lie.lock().unwrap() = Some(Lie::ListsGhosts);
    let pack = shelf.names().into_iter().find(|name| name.starts_with("packs/")).unwrap();
    shelf.remove(&pack).unwrap();
    assert!(matches!(
        pull_with(&shelf, &store, &plant.ring, one.id()),
        Err(DepotError::Incomplete { source: Some(_), .. })
    ));
    push_all(&plant, &shelf, verify()).unwrap();
    pull_with(&shelf, &store, &plant.ring, one.id()).unwrap();
    assert_eq!(header(&shelf, &one.id()).unwrap().identity.name, "hmi-panel");
}

/// Flip a byte in the middle of each pack of a store.
fn rot(store: &Store) -> usize {
    let packs: Vec<_> = std::fs::read_dir(store.root().join("packs")).unwrap().map(Result::unwrap).collect();
    for pack in &packs {
        let mut bytes = std::fs::read(pack.path()).unwrap();
        bytes[1000] ^= 1;
        std::fs::write(pack.path(), bytes).unwrap();
    }
    packs.len()
}

fn mended(shelf: &Shelf, store: &Store) -> Result<Mended, DepotError> {
    mend(shelf, store, &mut |_, _| {}, &mut |_| {})
}

#[test]
fn what_rots_here_is_mended_from_the_depot_also_from_a_pack_of_another_image() {
    let (plant, shelf, (_dir, store)) = (Plant::new(), Shelf::default(), site());
    let (one, two) = (version(&plant, 2), version(&plant, 3));
    pushed(&plant, &shelf);
    assert_eq!(
        mended(&shelf, &store).unwrap(),
        Mended::default(),
        "an image that is not listed is not brought"
    );
    pull_with(&shelf, &store, &plant.ring, one.id()).unwrap();
    // Only the second image is left in the depot; what both share is enough for a chunk of the shared half.
    withdraw(&shelf, &one.id()).unwrap();
    assert_eq!(rot(&store), 1);
    let done = mended(&shelf, &store).unwrap().scrubbed;
    assert_eq!((done.damaged_packs.len(), done.repaired_chunks, done.broken.len()), (1, 1, 0));
    store.verify_image(&one, |_, _| {}).unwrap();
    assert_eq!(store.list().unwrap(), [one.id()], "and the other image did not come along");
    assert_eq!(mended(&shelf, &store).unwrap().scrubbed.damaged_packs, []);
    assert!(store.get_manifest(&two.id()).is_err());
}

#[test]
fn a_depot_that_lies_or_goes_away_mends_nothing_and_the_next_run_goes_on() {
    let (plant, shelf) = (Plant::new(), Shelf::default());
    let one = version(&plant, 2);
    pushed(&plant, &shelf);
    for lie in [Lie::ReadsNoise, Lie::ReadsShort, Lie::ListsNothing, Lie::WrongLengths] {
        let (_dir, store) = site();
        pull_with(&shelf, &store, &plant.ring, one.id()).unwrap();
        rot(&store);
        *shelf.lie.lock().unwrap() = Some(lie);
        let done = mended(&shelf, &store);
        *shelf.lie.lock().unwrap() = None;
        let done = done.unwrap().scrubbed;
        assert_eq!((done.repaired_chunks, &done.broken), (0, &vec![(one.id(), 1)]), "{lie:?}");
        assert!(matches!(store.verify_image(&one, |_, _| {}), Err(StoreError::MissingChunk { .. })));
        assert_eq!(mended(&shelf, &store).unwrap().scrubbed.repaired_chunks, 1, "{lie:?}");
        store.verify_image(&one, |_, _| {}).unwrap();
    }
    let (_dir, store) = site();
    pull_with(&shelf, &store, &plant.ring, one.id()).unwrap();
    rot(&store);
    let mut stops = 0;
    for calls in 0.. {
        *shelf.calls_left.lock().unwrap() = Some(calls);
        match mended(&shelf, &store) {
            Err(DepotError::Gone(_)) => stops += 1,
            other => {
                assert_eq!(other.unwrap().scrubbed.broken, []);
                break;
            }
        }
        let set_aside = std::fs::read_dir(store.root().join("damaged")).unwrap().count();
        assert_eq!(set_aside, usize::from(calls > 0), "nothing is set aside for one that does not answer");
    }
    *shelf.calls_left.lock().unwrap() = None;
    assert!(stops > 2, "it was stopped at {stops} places");
    store.verify_image(&one, |_, _| {}).unwrap();
}
