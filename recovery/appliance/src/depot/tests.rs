//! The adapter against a real S3 service behind a wire that lies: what each lie comes to, and that the local store is whole.

use std::sync::Arc;

use images::{
    ImageId, ImportRequest, KeyRing, Role, SignedTrustRoot, SigningKey, Store, TrustRoot,
    depot::{Inventory, Pulled, PushRules, Pushed, pull, push},
    keys::{ChannelStatement, RoleKeys, Signed, Stage},
};

use super::{follow::Follower, *};
use crate::testing;

#[path = "../../tests/store/s3.rs"]
mod s3;

use s3::{Lie, SECRET, Service};

/// A site with an image, and the service.
struct Site {
    dir: tempfile::TempDir,
    service: Service,
    store: Store,
    ring: KeyRing,
    image: ImageId,
}

impl Site {
    fn new() -> Self {
        Self::at(Service::start())
    }

    fn at(service: Service) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, root) = (dir.path().join("store"), dir.path().join("root.json"));
        let mut noise = vec![0; 900_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise.splice(0..0, vec![0; 1 << 20]);
        noise.resize(4 << 20, 0);
        testing::signed_image(&noise, "hmi-panel", dir.path(), &store, &root);
        let document: SignedTrustRoot = serde_json::from_slice(&std::fs::read(root).unwrap()).unwrap();
        let store = Store::open(store).unwrap();
        let image = store.list().unwrap()[0];
        Self { dir, service, store, ring: KeyRing::pin(document).unwrap(), image }
    }

    fn open(&self, limits: Limits) -> S3Depot {
        self.open_with(limits, SECRET, "")
    }

    fn open_with(&self, limits: Limits, secret: &str, more: &str) -> S3Depot {
        let config = self.service.configure(self.dir.path(), secret, more);
        S3Depot::open(&Setting::load(&config).unwrap(), limits).unwrap()
    }

    fn push(&self, depot: &S3Depot, verify: bool) -> Result<Pushed, DepotError> {
        push(&self.store, depot, &[self.image], PushRules { verify, plan: false }, &mut |_| {})
    }

    /// Into an empty store of another site.
    fn pull(&self, depot: &S3Depot) -> (Result<Pulled, DepotError>, Store) {
        let name = self.service.connections.load(std::sync::atomic::Ordering::Relaxed);
        let store =
            Store::open(self.dir.path().join(format!("site-{name}-{}", depot.place().len()))).unwrap();
        (pull(depot, &store, &[self.image], Some(&self.ring), &mut |_| {}), store)
    }

    fn assert_pulled(&self, depot: &S3Depot) {
        let (pulled, store) = self.pull(depot);
        pulled.unwrap();
        let signed = store.get_manifest(&self.image).unwrap();
        let manifest = self.ring.verify(signed).unwrap();
        store.verify_image(&manifest, |_, _| {}).unwrap();
    }

    /// What every failure leaves: the local image serves, whole.
    fn assert_whole(&self) {
        let manifest = self.store.get_manifest(&self.image).unwrap().parse().unwrap();
        self.store.verify_image(&manifest, |_, _| {}).unwrap();
    }
}

/// So short that a test need not wait.
fn short() -> Limits {
    Limits {
        connect: Duration::from_millis(500),
        answer: Duration::from_millis(400),
        window: Duration::from_millis(200),
        floor: 1024,
    }
}

#[test]
fn an_image_goes_there_and_back() {
    let site = Site::new();
    let depot = site.open_with(Limits::default(), SECRET, ", prefix = \"plants/seven\"");
    let done = site.push(&depot, false).unwrap();
    assert_eq!((done.images.as_slice(), done.packs), (&[site.image][..], 1));
    assert_eq!(site.push(&depot, false).unwrap(), Pushed::default());
    assert!(site.service.files("plants/seven/packs").len() == 1);
    let inventory = Inventory::read(&depot).unwrap();
    assert_eq!((inventory.images().collect::<Vec<_>>(), inventory.foreign), (vec![site.image], 0));
    site.assert_pulled(&depot);
    assert_eq!(depot.len("no/such").unwrap(), None);
    assert!(matches!(depot.read("no/such", 0..1), Err(DepotError::Absent { .. })));
    depot.remove("no/such").unwrap();
    assert!(
        Inventory::read(&site.open(Limits::default())).unwrap().foreign > 0,
        "another prefix is not ours"
    );
}

#[test]
fn a_service_that_spoils_or_forgets_is_found_while_it_is_pushed_to() {
    for lie in [Lie::Spoils, Lie::Forgets] {
        let site = Site::new();
        let depot = site.open(Limits::default());
        site.service.tell(lie);
        let refused = site.push(&depot, false).unwrap_err();
        assert!(matches!(refused, DepotError::NotKept { .. }), "{lie:?}: {refused}");
        assert!(site.service.files("manifest.gsi").is_empty());
        site.assert_whole();
        site.service.tell(None);
        site.push(&depot, true).unwrap();
        site.assert_pulled(&depot);
    }
}

#[test]
fn a_service_that_ignores_conditions_or_checksums_does_no_harm() {
    for lie in [Lie::IgnoresConditions, Lie::IgnoresChecksums] {
        let site = Site::new();
        let depot = site.open(Limits::default());
        site.service.tell(lie);
        site.push(&depot, false).unwrap();
        site.push(&depot, true).unwrap();
        site.assert_pulled(&depot);
    }
}

#[test]
fn what_was_altered_on_its_disk_is_refused_and_mended() {
    for (part, at) in [("/packs/", 5000), ("manifest.gsi", 60), (".packs", 20), (".signature", 100)] {
        let site = Site::new();
        let depot = site.open(Limits::default());
        site.push(&depot, false).unwrap();
        site.service.spoil(part, at);
        let (refused, store) = site.pull(&depot);
        assert!(
            matches!(
                refused,
                Err(DepotError::Altered { .. }
                    | DepotError::Incomplete { .. }
                    | DepotError::Untrusted { .. }
                    | DepotError::Manifest { .. })
            ),
            "{part}: {refused:?}"
        );
        assert!(store.list().unwrap().is_empty());
        site.push(&depot, true).unwrap();
        site.assert_pulled(&depot);
    }
}

#[test]
fn a_wire_that_stands_still_is_too_slow_and_not_waited_for() {
    let site = Site::new();
    site.push(&site.open(Limits::default()), false).unwrap();
    let depot = site.open(short());
    for lie in [Lie::Stalls(3000), Lie::Stalls(0), Lie::Deaf] {
        site.service.tell(lie);
        let (refused, store) = site.pull(&depot);
        assert!(matches!(refused, Err(DepotError::Slow { .. })), "{lie:?}: {refused:?}");
        assert!(store.list().unwrap().is_empty());
    }
    site.service.tell(Lie::Deaf);
    let refused = depot.put_over("packs/x", &vec![7; 8 << 20]).unwrap_err();
    assert!(matches!(&refused, DepotError::Slow { .. }), "{refused:?}");
    site.assert_whole();
    site.service.tell(None);
    site.assert_pulled(&depot);
}

#[test]
fn a_wire_that_breaks_or_leads_nowhere_is_gone() {
    let site = Site::new();
    let depot = site.open(short());
    for lie in [Lie::Cuts(0), Lie::Cuts(40), Lie::Gone] {
        site.service.tell(lie);
        let refused = site.push(&depot, false).unwrap_err();
        assert!(matches!(refused, DepotError::Gone(_)), "{lie:?}: {refused:?}");
        site.assert_whole();
    }
    // Cut in the middle of a body: what came before is tried again, and then it is gone.
    site.service.tell(None);
    site.push(&depot, false).unwrap();
    site.service.tell(Lie::Cuts(3000));
    let (refused, store) = site.pull(&depot);
    assert!(matches!(refused, Err(DepotError::Gone(_) | DepotError::Altered { .. })), "{refused:?}");
    assert!(store.list().unwrap().is_empty());
    site.service.tell(None);
    site.assert_pulled(&depot);
}

#[test]
fn a_wrong_key_is_forbidden_and_no_error_shows_it() {
    let site = Site::new();
    let refused = site.push(&site.open_with(Limits::default(), "another-word", ""), false).unwrap_err();
    assert!(matches!(&refused, DepotError::Forbidden { .. }), "{refused:?}");
    assert!(!format!("{refused:?}").contains("another-word"));
}

#[test]
fn the_probe_shows_what_is_tried_and_not_what_is_said() {
    let site = Site::new();
    let depot = site.open(Limits::default());
    let now = jiff::Timestamp::now();
    let found = depot.probe(now).unwrap();
    for yes in [&found.conditional_put, &found.signed_digest, &found.ranges, &found.list] {
        assert_eq!(yes, &Answer::Yes, "{found:?}");
    }
    let no = |answer: &Answer| matches!(answer, Answer::No(_));
    // s3s-fs 0.14 looks at the checksum when the file is in its place.
    assert!(
        matches!(&found.checksum, Answer::No(why) if why.contains("400") && why.contains("kept")),
        "{found:?}"
    );
    assert!(no(&found.versions), "{found:?}");
    assert!(matches!(&found.object_lock, Answer::No(why) if why.contains("all the same")), "{found:?}");
    site.service.tell(Lie::IgnoresConditions);
    assert!(
        matches!(depot.probe(now).unwrap().conditional_put, Answer::No(why) if why.contains("overwrote"))
    );
    site.service.tell(Lie::IgnoresChecksums);
    assert!(matches!(depot.probe(now).unwrap().checksum, Answer::No(why) if why.contains("took")));
    site.service.tell(Lie::Locks);
    assert_eq!(depot.probe(now).unwrap().object_lock, Answer::Yes);
    assert!(site.service.files("canary").is_empty(), "no canary stays");
    site.service.tell(Lie::Gone);
    assert!(matches!(depot.probe(now), Err(DepotError::Gone(_))));
}

#[test]
fn over_tls_only_the_authorities_that_are_named_count() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let own =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&pair).unwrap();
    let tls =
        crate::tls::server_config(&own.pem(), &pair.serialize_pem(), crate::tls::Clients::Nobody).unwrap();
    let site = Site::at(Service::behind(Some(Arc::clone(&tls))));
    std::fs::write(site.dir.path().join("ca.pem"), own.pem()).unwrap();
    let depot = site.open_with(Limits::default(), SECRET, ", ca_file = \"ca.pem\"");
    site.push(&depot, false).unwrap();
    site.assert_pulled(&depot);

    let other = rcgen::KeyPair::generate().unwrap();
    let stranger =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&other).unwrap();
    std::fs::write(site.dir.path().join("ca.pem"), stranger.pem()).unwrap();
    let depot = site.open_with(short(), SECRET, ", ca_file = \"ca.pem\"");
    assert!(matches!(site.push(&depot, true), Err(DepotError::Gone(_))));
    std::fs::write(site.dir.path().join("ca.pem"), "-----BEGIN CERTIFICATE-----\n!").unwrap();
    let config = site.service.configure(site.dir.path(), SECRET, ", ca_file = \"ca.pem\"");
    let refused = S3Depot::open(&Setting::load(&config).unwrap(), short());
    assert!(matches!(refused, Err(OpenError::Authorities { .. })));
}

/// Another site that follows the depot of this one, by a trust root of its own.
struct Elsewhere {
    dir: tempfile::TempDir,
    golden: crate::golden::Golden,
    state: DepotState,
    follower: Follower,
    channel: SigningKey,
}

impl Elsewhere {
    /// Its trust root knows the signer of these images, and where `channels` are in use who promotes.
    fn new(site: &Site, signer: &SigningKey, channels: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (root, channel) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let one = |key: &SigningKey| RoleKeys { threshold: 1, keys: vec![key.public()] };
        let mut roles =
            std::collections::BTreeMap::from([(Role::Root, one(&root)), (Role::Image, one(signer))]);
        if channels {
            roles.insert(Role::Channel, one(&channel));
        }
        let mut document =
            SignedTrustRoot::unsigned(TrustRoot { version: 1, epoch_floor: 0, expires_unix_ms: 0, roles });
        document.sign(&root).unwrap();
        let path = dir.path().join("root.json");
        std::fs::write(&path, serde_json::to_vec(&document).unwrap()).unwrap();
        let golden = crate::golden::Golden::open(&dir.path().join("store"), &path).unwrap();
        let setting = Setting::load(&site.service.configure(site.dir.path(), SECRET, "")).unwrap();
        let state = DepotState::default();
        let clock = Arc::new(crate::clock::SystemClock);
        let needs = Needs::of_versions(Default::default());
        let follower = Follower::new(setting, golden.clone(), state.clone(), clock, needs);
        Self { dir, golden, state, follower, channel }
    }

    fn here(&self) -> Vec<ImageId> {
        self.golden.store.list().unwrap()
    }
}

impl Site {
    /// One more image of the name in the depot.
    fn add(&self, epoch: u64, signer: Option<&SigningKey>) -> ImageId {
        let disk = self.dir.path().join("more.raw");
        let mut bytes = vec![0; 4 << 20];
        blake3::Hasher::new().update(&[epoch as u8]).finalize_xof().fill(&mut bytes[2 << 20..3 << 20]);
        std::fs::write(&disk, bytes).unwrap();
        let version = epoch.to_string();
        let request = ImportRequest { name: "hmi-panel".into(), version, epoch, ..ImportRequest::default() };
        let image = images::import_raw(&disk, &request, &self.store, &mut |_| {}).unwrap().manifest.id();
        if let Some(signer) = signer {
            let mut signed = self.store.get_manifest(&image).unwrap();
            signer.sign_image(&mut signed).unwrap();
            self.store.put_manifest(&signed).unwrap();
        }
        let depot = self.open(Limits::default());
        push(&self.store, &depot, &[image], PushRules { verify: false, plan: false }, &mut |_| {}).unwrap();
        image
    }
}

#[test]
fn a_follower_brings_the_newest_that_is_trusted_and_says_what_it_left() {
    let site = Site::new();
    let signer = SigningKey::generate().unwrap();
    let (old, new) = (site.add(3, Some(&signer)), site.add(4, Some(&signer)));
    let mut elsewhere = Elsewhere::new(&site, &signer, false);
    elsewhere.follower.round();
    assert_eq!(elsewhere.here(), [new], "{:?}", elsewhere.state.view());
    let view = elsewhere.state.view().unwrap();
    assert!(view.pulled == 1 && view.reached_unix_ms.is_some() && view.trouble.is_empty(), "{view:?}");

    // One that nobody here trusts is newer: it is named, and takes nothing away.
    site.add(9, None);
    elsewhere.follower.round();
    let view = elsewhere.state.view().unwrap();
    assert!(view.pulled == 1 && view.trouble.starts_with("hmi-panel 9: "), "{view:?}");
    assert_eq!(elsewhere.here(), [new]);
    assert_ne!(old, new);

    let newer = site.add(5, Some(&signer));
    site.service.tell(Lie::Gone);
    elsewhere.follower.round();
    let view = elsewhere.state.view().unwrap();
    assert!(view.trouble.contains("depot") && view.pulled == 1, "{view:?}");
    assert!(view.asked_unix_ms >= view.reached_unix_ms.unwrap());
    site.service.tell(None);
    elsewhere.follower.round();
    assert!(elsewhere.here().contains(&newer));
    let verified =
        elsewhere.golden.ring().unwrap().verify(elsewhere.golden.store.get_manifest(&newer).unwrap());
    elsewhere.golden.store.verify_image(&verified.unwrap(), |_, _| {}).unwrap();
    drop(elsewhere.dir);
}

#[test]
fn where_channels_are_in_use_a_follower_brings_what_is_approved() {
    let site = Site::new();
    let signer = SigningKey::generate().unwrap();
    let (approved, candidate) = (site.add(3, Some(&signer)), site.add(4, Some(&signer)));
    let mut elsewhere = Elsewhere::new(&site, &signer, true);
    elsewhere.follower.round();
    assert!(elsewhere.here().is_empty(), "nothing is approved");
    for (epoch, image, stage) in [(1, candidate, Stage::Candidate), (2, approved, Stage::Approved)] {
        let body = ChannelStatement {
            channel: stage.channel("hmi-panel"),
            epoch,
            image,
            author: "a.person".into(),
            reason: "tried on the bench".into(),
            at_unix_ms: 1,
        };
        site.store.put_statement(&Signed::new(body, &elsewhere.channel).unwrap()).unwrap();
    }
    site.push(&site.open(Limits::default()), false).unwrap();
    elsewhere.follower.round();
    assert_eq!(elsewhere.here(), [approved], "{:?}", elsewhere.state.view());
}

#[test]
fn an_untrusted_image_that_is_here_keeps_no_trusted_one_away() {
    let site = Site::new();
    let signer = SigningKey::generate().unwrap();
    let (trusted, stranger) = (site.add(3, Some(&signer)), site.add(9, None));
    let mut elsewhere = Elsewhere::new(&site, &signer, false);
    pull(&site.open(Limits::default()), &elsewhere.golden.store, &[stranger], None, &mut |_| {}).unwrap();
    elsewhere.follower.round();
    assert!(elsewhere.here().contains(&trusted), "{:?}", elsewhere.state.view());
}

/// Nothing of a store was used for long.
fn unused(store: &Store) {
    let long_ago = std::fs::FileTimes::new().set_accessed(std::time::UNIX_EPOCH);
    for dir in ["packs", "manifests"] {
        for entry in std::fs::read_dir(store.root().join(dir)).unwrap() {
            let file = std::fs::File::open(entry.unwrap().path()).unwrap();
            file.set_times(long_ago.set_modified(std::time::UNIX_EPOCH)).unwrap();
        }
    }
}

/// A follower's store has a bound, and the first image that came from the depot was not used for long.
#[test]
fn a_follower_makes_room_for_what_is_newer_and_says_when_it_has_none() {
    let site = Site::new();
    let signer = SigningKey::generate().unwrap();
    let old = site.add(3, Some(&signer));
    let mut elsewhere = Elsewhere::new(&site, &signer, false);
    elsewhere.follower.round();
    let alone = elsewhere.golden.store.bytes().unwrap();
    let unused = || unused(&elsewhere.golden.store);
    // Room for one and a half.
    elsewhere.follower.bytes_max = Some(alone + alone / 2);
    unused();
    let new = site.add(4, Some(&signer));
    elsewhere.follower.round();
    // Until the newer one is here a recovery would use the older one, and nobody takes that away.
    let view = elsewhere.state.view().unwrap();
    assert_eq!(elsewhere.here(), [old], "{view:?}");
    assert!(view.trouble.contains("1 a recovery would use") && view.trouble.contains("raise it"), "{view:?}");
    elsewhere.follower.bytes_max = Some(alone * 5 / 2);
    elsewhere.follower.round();
    assert_eq!(elsewhere.here().len(), 2);
    unused();
    elsewhere.follower.bytes_max = Some(alone + alone / 2);
    elsewhere.follower.round();
    let view = elsewhere.state.view().unwrap();
    assert_eq!(elsewhere.here(), [new], "{view:?}");
    assert!(
        view.trouble.is_empty() && view.evicted == 1 && view.store_bytes <= alone + alone / 2,
        "{view:?}"
    );
    let kept = elsewhere.golden.store.get_manifest(&new).unwrap().parse().unwrap();
    elsewhere.golden.store.verify_image(&kept, |_, _| {}).unwrap();
}

#[test]
fn what_an_open_job_or_a_blueprint_uses_stays_and_so_does_all_when_jobs_cannot_be_told() {
    let site = Site::new();
    let signer = SigningKey::generate().unwrap();
    let images: Vec<ImageId> = (3..7).map(|epoch| site.add(epoch, Some(&signer))).collect();
    let elsewhere = Elsewhere::new(&site, &signer, false);
    let (store, depot) = (&elsewhere.golden.store, site.open(Limits::default()));
    pull(&depot, store, &images, None, &mut |_| {}).unwrap();
    let ring = elsewhere.golden.ring().unwrap();
    let blueprint: crate::config::Blueprint =
        toml::from_str("image = \"hmi-panel\"\nversion = \"4\"").unwrap();
    let evict = |jobs: Option<ImageId>, known: bool| {
        let in_jobs = move || known.then(|| jobs.into_iter().collect());
        let needs = Needs::new([&blueprint].into_iter(), Arc::new(in_jobs));
        // Far ahead, so that nothing was used lately.
        let order = Order { bytes_max: 0, now_unix_ms: 4_000_000_000_000, plan: true };
        needs.evict(&depot, store, &ring, order, &mut |_| {}).unwrap()
    };
    let goes = evict(Some(images[0]), true).images;
    assert_eq!(goes, [images[2]], "a job's, a blueprint's and the newest stay");
    assert_eq!(evict(None, true).images.len(), 2);
    assert_eq!(evict(None, false).images.len(), 0);
}

/// Another process evicts, which knows of no jobs.
#[test]
fn what_an_open_job_uses_is_noted_also_where_nothing_is_followed() {
    let site = Site::new();
    let signer = SigningKey::generate().unwrap();
    let (old, new) = (site.add(3, Some(&signer)), site.add(4, Some(&signer)));
    let Elsewhere { golden, dir, .. } = Elsewhere::new(&site, &signer, false);
    let depot = site.open_with(Limits::default(), SECRET, ", follow_minutes = 0");
    pull(&depot, &golden.store, &[old, new], None, &mut |_| {}).unwrap();
    let unused = || unused(&golden.store);
    unused();
    let now = || crate::clock::Clock::now_unix_ms(&crate::clock::SystemClock);
    let goes = || {
        let order = Order { bytes_max: 0, now_unix_ms: now(), plan: true };
        let (needs, ring) = (Needs::of_versions(Default::default()), golden.ring().unwrap());
        needs.evict(&depot, &golden.store, &ring, order, &mut |_| {}).unwrap().images
    };
    assert_eq!(goes(), [old]);
    unused();
    let stop = tokio_util::sync::CancellationToken::new();
    let (told, asked) = (stop.clone(), std::sync::atomic::AtomicU32::new(0));
    let in_jobs = move || {
        // Asked for the second time, it has noted what it heard at first.
        if asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            told.cancel();
        }
        Some([old].into())
    };
    let needs = Needs::new(std::iter::empty(), Arc::new(in_jobs));
    let noting = needs.run(Arc::clone(&golden.store), stop);
    Builder::new_multi_thread().enable_all().build().unwrap().block_on(noting);
    assert_eq!(goes(), []);
    drop(dir);
}
