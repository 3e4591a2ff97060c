//! What is not signed by enough of the right keys is refused, by name.

use super::*;
use crate::manifest::Arriving;
use crate::manifest::tests::{extents, header, sample_of};
use crate::{ImageId, Manifest};
use std::collections::BTreeMap;

struct Holders {
    root: Vec<SigningKey>,
    image: Vec<SigningKey>,
    channel: SigningKey,
    freshness: SigningKey,
}

impl Holders {
    fn new() -> Self {
        let key = || SigningKey::generate().unwrap();
        Self {
            root: (0..3).map(|_| key()).collect(),
            image: (0..3).map(|_| key()).collect(),
            channel: key(),
            freshness: key(),
        }
    }

    fn root(&self, version: u64, image_threshold: u16) -> TrustRoot {
        let keys = |threshold, keys: &[SigningKey]| RoleKeys {
            threshold,
            keys: keys.iter().map(SigningKey::public).collect(),
        };
        TrustRoot {
            version,
            epoch_floor: 5,
            expires_unix_ms: 0,
            roles: BTreeMap::from([
                (Role::Root, keys(2, &self.root)),
                (Role::Image, keys(image_threshold, &self.image)),
                (Role::Channel, keys(1, std::slice::from_ref(&self.channel))),
                (Role::Freshness, keys(1, std::slice::from_ref(&self.freshness))),
            ]),
        }
    }

    fn ring(&self, image_threshold: u16) -> KeyRing {
        let mut signed = SignedTrustRoot::unsigned(self.root(1, image_threshold));
        signed.sign(&self.root[0]).unwrap();
        signed.sign(&self.root[2]).unwrap();
        KeyRing::pin(signed).unwrap()
    }
}

fn image() -> SignedManifest {
    SignedManifest::unsigned(&manifest())
}

fn manifest() -> Manifest {
    sample_of(header(4 << 20)).0
}

#[test]
fn a_signed_image_is_verified_and_names_its_signers() {
    let holders = Holders::new();
    let mut signed = image();
    holders.image[1].sign_image(&mut signed).unwrap();
    let verified = holders.ring(1).verify(signed).unwrap();
    assert_eq!(verified.signers(), [holders.image[1].public()]);
    assert_eq!(verified.id(), manifest().id());
}

#[test]
fn two_people_sign_in_turn() {
    let holders = Holders::new();
    let ring = holders.ring(2);
    let mut signed = image();
    holders.image[0].sign_image(&mut signed).unwrap();
    holders.image[0].sign_image(&mut signed).unwrap();
    let refused = ring.verify(signed.clone()).unwrap_err();
    assert!(matches!(refused, VerifyError::UnderThreshold { have: 1, need: 2, .. }), "{refused}");
    let mut later = SignedManifest::decode(&signed.encode()).unwrap();
    holders.image[2].sign_image(&mut later).unwrap();
    assert_eq!(ring.verify(later).unwrap().signers().len(), 2);
}

#[test]
fn unsigned_foreign_and_altered_images_are_told_apart() {
    let holders = Holders::new();
    let ring = holders.ring(1);
    assert!(matches!(ring.verify(image()), Err(VerifyError::Unsigned { .. })));

    let mut foreign = image();
    SigningKey::generate().unwrap().sign_image(&mut foreign).unwrap();
    // The right person, in the wrong role.
    holders.root[0].sign_image(&mut foreign).unwrap();
    assert!(matches!(ring.verify(foreign), Err(VerifyError::UnknownSigner { .. })));

    let mut good = image();
    holders.image[0].sign_image(&mut good).unwrap();
    let name_at = good.header.windows(9).position(|w| w == b"hmi-panel").unwrap();
    let mut altered = good.clone();
    altered.header[name_at] = b'x';
    let key = holders.image[0].public();
    assert!(matches!(ring.verify(altered), Err(VerifyError::WrongSignature { key: k, .. }) if k == key));

    let mut page = good.clone();
    page.pages[0][30] ^= 1;
    let refused = ring.verify(page).unwrap_err();
    let source = ManifestErrorKind::PageDigest { index: 0 };
    assert!(matches!(refused, VerifyError::Manifest { source: s, .. } if s == source));
}

type ManifestErrorKind = crate::ManifestError;

#[test]
fn every_flip_in_a_signed_file_is_refused() {
    let holders = Holders::new();
    let ring = holders.ring(1);
    let mut good = image();
    holders.image[0].sign_image(&mut good).unwrap();
    let file = good.encode();
    // The second signature is for minisign only; we do not rely on it.
    let comment_at = 12 + good.header.len() + 2 + 32 + 64;
    for at in (0..file.len()).filter(|at| !(comment_at..comment_at + 64).contains(at)) {
        let mut bad = file.clone();
        bad[at] ^= 1;
        let accepted = SignedManifest::decode(&bad).is_ok_and(|signed| ring.verify(signed).is_ok());
        assert!(!accepted, "byte {at}");
        let arriving = Arriving::begin(&bad[..]).is_ok_and(|file| ring.verify_arriving(file).is_ok());
        assert!(!arriving, "byte {at}, arriving");
    }
}

/// What comes of a manifest that arrives, and how many of its bytes were asked for.
fn arrive(ring: &KeyRing, file: &[u8]) -> (Result<crate::ImageId, ArrivingError>, usize) {
    let mut rest = file;
    let verified = ring.verify_arriving(Arriving::begin(&mut rest).unwrap());
    (verified.map(|manifest| manifest.id()), file.len() - rest.len())
}

#[test]
fn of_an_arriving_manifest_nothing_is_taken_after_the_first_wrong_part() {
    let holders = Holders::new();
    let ring = holders.ring(1);
    let size = 2048 << 20;
    let manifest = crate::Manifest::build(header(size), extents(size, &[2, 5, 62, 8])).unwrap();
    let mut signed = SignedManifest::unsigned(&manifest);
    let (head, page) = (12 + signed.header.len() + 2, 4 + signed.pages[0].len());
    assert!(signed.pages.len() > 3);

    let (refused, taken) = arrive(&ring, &signed.encode());
    assert!(matches!(refused, Err(ArrivingError::Verify(VerifyError::Unsigned { .. }))));
    assert_eq!(taken, head + 4, "no page of an unsigned manifest is asked for");

    holders.image[0].sign_image(&mut signed).unwrap();
    let good = signed.encode();
    let head = head + 160 + 4;
    let (verified, taken) = arrive(&ring, &good);
    assert_eq!((verified.unwrap(), taken), (manifest.id(), good.len()));

    let mut bad = good.clone();
    bad[head + page + 4 + 40] ^= 1;
    let (refused, taken) = arrive(&ring, &bad);
    let wrong = ManifestErrorKind::PageDigest { index: 1 };
    let Err(ArrivingError::Verify(VerifyError::Manifest { source, .. })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((source, taken), (wrong, head + page + 4 + signed.pages[1].len()));

    let refused = arrive(&ring, &good[..good.len() - 1]).0;
    assert!(matches!(refused, Err(ArrivingError::Verify(VerifyError::Manifest { .. }))), "{refused:?}");
    let longer = [&good[..], b"!"].concat();
    let refused = arrive(&ring, &longer).0;
    assert!(matches!(refused, Err(ArrivingError::Verify(VerifyError::Manifest { .. }))), "{refused:?}");
}

#[test]
fn a_source_that_fails_is_not_taken_for_a_wrong_manifest() {
    struct Fails;
    impl std::io::Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::TimedOut.into())
        }
    }
    let holders = Holders::new();
    let mut signed = image();
    holders.image[0].sign_image(&mut signed).unwrap();
    let file = signed.encode();
    let half = std::io::Read::chain(&file[..file.len() - 10], Fails);
    let failed = holders.ring(1).verify_arriving(Arriving::begin(half).unwrap());
    assert!(matches!(failed, Err(ArrivingError::Read(_))), "{failed:?}");
    assert!(matches!(Arriving::begin(Fails), Err(crate::manifest::ArrivalError::Read(_))));
}

#[test]
fn images_below_the_epoch_floor_are_refused() {
    let holders = Holders::new();
    let mut old = header(4 << 20);
    old.identity.epoch = 4;
    let mut signed = SignedManifest::unsigned(&sample_of(old).0);
    holders.image[0].sign_image(&mut signed).unwrap();
    let refused = holders.ring(1).verify(signed).unwrap_err();
    assert!(matches!(refused, VerifyError::BelowFloor { epoch: 4, floor: 5, .. }));
}

#[test]
fn a_trust_root_needs_its_threshold_and_follows_in_order() {
    let holders = Holders::new();
    let ring = holders.ring(1);
    let mut lonely = SignedTrustRoot::unsigned(holders.root(1, 1));
    lonely.sign(&holders.root[0]).unwrap();
    lonely.sign(&holders.root[0]).unwrap();
    lonely.sign(&holders.image[0]).unwrap();
    let refused = KeyRing::pin(lonely).unwrap_err();
    assert!(matches!(refused, TrustRootError::UnderThreshold { have: 1, need: 2, .. }));

    let successors = Holders::new();
    let mut next = SignedTrustRoot::unsigned(successors.root(2, 1));
    successors.root.iter().for_each(|key| next.sign(key).unwrap());
    let refused = ring.rotate(next.clone()).unwrap_err();
    assert!(matches!(refused, TrustRootError::UnderThreshold { whose: "old", .. }));
    next.sign(&holders.root[0]).unwrap();
    next.sign(&holders.root[1]).unwrap();
    let rotated = ring.rotate(next.clone()).unwrap();
    assert!(matches!(rotated.rotate(next), Err(TrustRootError::NotNext { current: 2, found: 2 })));

    let mut new_only = SignedTrustRoot::unsigned(successors.root(2, 1));
    holders.root.iter().for_each(|key| new_only.sign(key).unwrap());
    assert!(matches!(ring.rotate(new_only), Err(TrustRootError::UnderThreshold { whose: "new", .. })));

    let mut lowered = holders.root(2, 1);
    lowered.epoch_floor = 4;
    let mut lowered = SignedTrustRoot::unsigned(lowered);
    holders.root.iter().for_each(|key| lowered.sign(key).unwrap());
    assert!(matches!(ring.rotate(lowered), Err(TrustRootError::FloorLowered { .. })));

    // After rotation the old image keys count no more.
    let mut signed = image();
    holders.image[0].sign_image(&mut signed).unwrap();
    assert!(matches!(rotated.verify(signed), Err(VerifyError::UnknownSigner { .. })));
}

#[test]
fn an_expiry_is_signed_and_asked_of_those_who_have_a_clock() {
    let holders = Holders::new();
    let mut root = holders.root(1, 1);
    root.expires_unix_ms = 1000;
    let mut signed = SignedTrustRoot::unsigned(root);
    holders.root.iter().for_each(|key| signed.sign(key).unwrap());
    signed.check().unwrap();
    signed.check_time(1000).unwrap();
    assert_eq!(signed.check_time(1001), Err(TrustRootError::Expired { version: 1 }));
    let mut later = signed.clone();
    later.root.expires_unix_ms = 2000;
    assert!(matches!(later.check(), Err(TrustRootError::UnderThreshold { .. })));
    later.root.expires_unix_ms = 0;
    assert!(matches!(later.check(), Err(TrustRootError::UnderThreshold { .. })));
    holders.ring(1).root().check_time(u64::MAX).unwrap();
}

#[test]
fn broken_trust_roots_are_refused() {
    let holders = Holders::new();
    let broken = |change: fn(&mut TrustRoot)| {
        let mut root = holders.root(1, 1);
        change(&mut root);
        let mut signed = SignedTrustRoot::unsigned(root);
        holders.root.iter().for_each(|key| signed.sign(key).unwrap());
        assert!(matches!(KeyRing::pin(signed), Err(TrustRootError::Rule { .. })));
    };
    broken(|root| root.version = 0);
    broken(|root| drop(root.roles.remove(&Role::Image)));
    broken(|root| root.roles.get_mut(&Role::Image).unwrap().threshold = 0);
    broken(|root| root.roles.get_mut(&Role::Image).unwrap().threshold = 4);
    broken(|root| {
        let key = root.roles[&Role::Root].keys[0];
        root.roles.get_mut(&Role::Image).unwrap().keys.push(key);
    });
    broken(|root| {
        let keys = &mut root.roles.get_mut(&Role::Image).unwrap().keys;
        keys.push(keys[0]);
    });
}

#[test]
fn trust_roots_travel_as_json() {
    let root = Holders::new().ring(2).root().clone();
    let text = serde_json::to_string_pretty(&root).unwrap();
    assert_eq!(serde_json::from_str::<SignedTrustRoot>(&text).unwrap(), root);
    let unknown = text.replacen("\"version\"", "\"extra\": 1, \"version\"", 1);
    assert!(serde_json::from_str::<SignedTrustRoot>(&unknown).is_err());
    let altered = text.replacen("\"epoch_floor\": 5", "\"epoch_floor\": 4", 1);
    assert!(KeyRing::pin(serde_json::from_str(&altered).unwrap()).is_err());
}

#[test]
fn statements_do_not_roll_back_or_replay() {
    let holders = Holders::new();
    let ring = holders.ring(1);
    let body = |epoch| ChannelStatement {
        channel: Stage::Approved.channel("hmi-panel"),
        epoch,
        image: ImageId::of_header(b"x"),
        author: "the release engineer".into(),
        reason: String::new(),
        at_unix_ms: 0,
    };
    let signed = Signed::new(body(9), &holders.channel).unwrap();
    let verified = ring.verify_statement(&signed, 9).unwrap();
    assert!(matches!(
        ring.verify_statement(&signed, 10),
        Err(StatementError::RolledBack { found: 9, floor: 10 })
    ));
    let old = Signed::new(body(4), &holders.channel).unwrap();
    assert!(matches!(ring.verify_statement(&old, 0), Err(StatementError::RolledBack { floor: 5, .. })));
    let foreign = Signed::new(body(9), &holders.freshness).unwrap();
    assert!(matches!(
        ring.verify_statement(&foreign, 0),
        Err(StatementError::UnderThreshold { have: 0, need: 1 })
    ));

    let answer = |nonce: [u8; 32]| Freshness { nonce: Digest(nonce), statement: verified.digest() };
    let fresh = Signed::new(answer([1; 32]), &holders.freshness).unwrap();
    assert!(ring.verify_freshness(&fresh, &[1; 32], &verified).is_ok());
    assert!(matches!(ring.verify_freshness(&fresh, &[2; 32], &verified), Err(StatementError::WrongNonce)));
    let other = Freshness { statement: body(8).digest(), ..answer([1; 32]) };
    let other = Signed::new(other, &holders.freshness).unwrap();
    assert!(matches!(
        ring.verify_freshness(&other, &[1; 32], &verified),
        Err(StatementError::OtherStatement)
    ));
}

#[test]
fn minisign_accepts_an_exported_signature() {
    // The peer is Debian's `minisign`; the format is checked against its specification in any case.
    let key = SigningKey::generate().unwrap();
    let mut signed = image();
    key.sign_image(&mut signed).unwrap();
    let public = minisign::public_key_file(&key.public());
    let signature = minisign::signature_file(&signed.id(), &signed.signatures[0]);
    let lines: Vec<&str> = signature.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[1].starts_with("RW") && public.lines().nth(1).unwrap().starts_with("RW"));

    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("key.pub"), public).unwrap();
    std::fs::write(path("header"), &signed.header).unwrap();
    std::fs::write(path("header.minisig"), signature).unwrap();
    let run = || {
        let mut command = std::process::Command::new("minisign");
        command.arg("-V").arg("-p").arg(path("key.pub")).arg("-m").arg(path("header"));
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .map(|s| s.success())
    };
    let accepted = match run() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return crate::testing::not_looked_at("minisign", "minisign");
        }
        other => other.unwrap(),
    };
    assert!(accepted);
    let mut altered = signed.header.clone();
    altered[40] ^= 1;
    std::fs::write(path("header"), altered).unwrap();
    assert!(!run().unwrap());
}
