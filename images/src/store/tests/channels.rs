//! Channels: the last word counts, nothing goes back unsaid, and an approved image is not deleted.

use super::super::*;
use super::put;
use crate::keys::{ChannelStatement, Signed, SigningKey, Stage};
use crate::manifest::tests::{header, sample_of};

struct Site {
    _dir: tempfile::TempDir,
    store: Store,
    key: SigningKey,
    images: Vec<ImageId>,
}

fn site() -> Site {
    let (dir, store) = super::store();
    let images = (1..=2).map(|epoch| {
        let mut header = header(4 << 20);
        header.identity.epoch = epoch;
        let (manifest, plains) = sample_of(header);
        put(&store, &plains.iter().map(Vec::as_slice).collect::<Vec<_>>());
        store.put_manifest(&SignedManifest::unsigned(&manifest)).unwrap()
    });
    let images = images.collect();
    Site { _dir: dir, store, key: SigningKey::generate().unwrap(), images }
}

impl Site {
    fn say(&self, stage: Stage, image: usize, epoch: u64) -> Result<(), StoreError> {
        let body = ChannelStatement {
            channel: stage.channel("hmi-panel"),
            epoch,
            image: self.images[image],
            author: "the release engineer".into(),
            reason: "it works".into(),
            at_unix_ms: 7,
        };
        self.store.put_statement(&Signed::new(body, &self.key).unwrap())
    }

    fn stages(&self) -> Vec<Option<Stage>> {
        let history = self.store.history("hmi-panel").unwrap();
        self.images.iter().map(|image| history.stage_of(image)).collect()
    }
}

#[test]
fn an_image_goes_from_candidate_to_approved_to_retired_and_back_only_by_a_new_word() {
    let site = site();
    assert_eq!(site.stages(), [None, None]);
    site.say(Stage::Candidate, 0, 1).unwrap();
    site.say(Stage::Approved, 0, 2).unwrap();
    site.say(Stage::Candidate, 1, 3).unwrap();
    assert_eq!(site.stages(), [Some(Stage::Approved), Some(Stage::Candidate)]);
    site.say(Stage::Approved, 1, 4).unwrap();
    assert_eq!(site.stages(), [Some(Stage::Retired), Some(Stage::Approved)]);
    for epoch in [0, 1, 4] {
        let old = site.say(Stage::Approved, 0, epoch);
        assert!(matches!(old, Err(StoreError::OldStatement { next: 5, .. })), "{old:?}");
    }
    site.say(Stage::Approved, 0, 5).unwrap();
    assert_eq!(site.stages(), [Some(Stage::Approved), Some(Stage::Retired)]);
    site.say(Stage::Retired, 0, 9).unwrap();
    let history = site.store.history("hmi-panel").unwrap();
    assert!(history.approved().is_none());
    assert_eq!((history.0.len(), history.next_epoch()), (6, 10));
    assert_eq!(site.store.histories().unwrap().len(), 1);
    assert!(site.store.history("hmi").unwrap().0.is_empty());
}

#[test]
fn the_same_statement_may_come_twice_and_another_of_its_epoch_may_not() {
    let site = site();
    site.say(Stage::Approved, 0, 1).unwrap();
    site.say(Stage::Approved, 0, 1).unwrap();
    assert!(matches!(site.say(Stage::Approved, 1, 1), Err(StoreError::OldStatement { .. })));
}

#[test]
fn an_approved_image_is_not_deleted() {
    let site = site();
    site.say(Stage::Approved, 0, 1).unwrap();
    let refused = site.store.delete(&site.images[0], 1);
    assert!(matches!(refused, Err(StoreError::InChannel { channel, .. }) if channel == "hmi-panel/approved"));
    site.say(Stage::Approved, 1, 2).unwrap();
    site.store.delete(&site.images[0], 1).unwrap();
    assert!(matches!(site.say(Stage::Approved, 0, 3), Err(StoreError::MissingImage { .. })));
}

#[test]
fn a_statement_about_no_channel_is_refused() {
    let site = site();
    let body = ChannelStatement {
        channel: "approved".into(),
        epoch: 1,
        image: site.images[0],
        author: String::new(),
        reason: String::new(),
        at_unix_ms: 0,
    };
    let refused = site.store.put_statement(&Signed::new(body, &site.key).unwrap());
    assert!(matches!(refused, Err(StoreError::NoChannel { .. })));
}
