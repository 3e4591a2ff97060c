//! Channel statements in the store: every one that was ever made, in the order of their epochs.
//!
//! ```text
//!   <root>/channels/<start of the blake3 of the name>.<epoch, 20 digits>.json
//! ```
//!
//! The store keeps the order and judges no signature: a key ring does that for whoever asks ([`History::standing`]). A
//! statement is never replaced or removed, so going back leaves a trace.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::{Store, StoreError, files_in, write_atomically};
use crate::keys::{ChannelStatement, KeyRing, Signed, Stage, StatementError};
use crate::{Digest, ImageId, Verified};

/// What was said about the images of one name, in order of epochs.
#[derive(Debug, Clone, Default)]
pub struct History(pub Vec<Signed<ChannelStatement>>);

impl History {
    /// The epoch that the next statement must have at least.
    pub fn next_epoch(&self) -> u64 {
        self.0.last().map_or(1, |last| last.body.epoch.saturating_add(1))
    }

    /// Where an image stands by the last word about it: an approved one that another has followed is retired.
    pub fn stage_of(&self, image: &ImageId) -> Option<Stage> {
        let (at, stage) = self.0.iter().enumerate().rev().find_map(|(at, signed)| {
            (signed.body.image == *image).then(|| signed.body.about().map(|(_, stage)| (at, stage)))?
        })?;
        let followed = self.0[at + 1..]
            .iter()
            .any(|later| later.body.about().is_some_and(|(_, s)| s == Stage::Approved));
        Some(if stage == Stage::Approved && followed { Stage::Retired } else { stage })
    }

    /// The statement by which an image is approved now.
    pub fn approved(&self) -> Option<&Signed<ChannelStatement>> {
        let approves = |signed: &&Signed<ChannelStatement>| {
            signed.body.about().is_some_and(|(_, stage)| stage == Stage::Approved)
        };
        let last = self.0.iter().rev().find(approves)?;
        (self.stage_of(&last.body.image) == Some(Stage::Approved)).then_some(last)
    }

    /// The history with only those statements that the key ring believes. The first refusal comes with it, for people.
    pub fn believed(self, ring: &KeyRing) -> (Self, Option<StatementError>) {
        let mut refused = None;
        let kept = self.0.into_iter().filter(|signed| match ring.verify_statement(signed, 0) {
            Ok(_) => true,
            Err(error) => {
                refused.get_or_insert(error);
                false
            }
        });
        (Self(kept.collect()), refused)
    }

    /// The approved statement, verified.
    pub fn standing(&self, ring: &KeyRing) -> Option<Verified<ChannelStatement>> {
        ring.verify_statement(self.approved()?, 0).ok()
    }
}

impl Store {
    /// Keep a statement. Its epoch must be above all that were said about its image's name.
    pub fn put_statement(&self, signed: &Signed<ChannelStatement>) -> Result<(), StoreError> {
        let body = &signed.body;
        let (name, _) =
            body.about().ok_or_else(|| StoreError::NoChannel { channel: body.channel.clone() })?;
        let _lock = self.lock_manifests()?;
        self.get_manifest(&body.image)?;
        let history = self.history(name)?;
        if history.0.iter().any(|known| known == signed) {
            return Ok(());
        }
        let next = history.next_epoch();
        if body.epoch < next {
            return Err(StoreError::OldStatement { channel: body.channel.clone(), epoch: body.epoch, next });
        }
        let text = serde_json::to_vec_pretty(signed).unwrap_or_default();
        let file = format!("{}.{:020}.json", prefix(name), body.epoch);
        write_atomically(&self.root.join("temp"), &self.root.join("channels"), &file, &text)
    }

    /// What was said about the images of a name.
    pub fn history(&self, name: &str) -> Result<History, StoreError> {
        Ok(self.read_histories(&prefix(name))?.remove(name).unwrap_or_default())
    }

    /// What was said about every name.
    pub fn histories(&self) -> Result<BTreeMap<String, History>, StoreError> {
        self.read_histories("")
    }

    fn read_histories(&self, starts: &str) -> Result<BTreeMap<String, History>, StoreError> {
        let mut histories: BTreeMap<String, History> = BTreeMap::new();
        let named = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(starts))
        };
        // In the order of their file names: by name, then by epoch.
        for path in files_in(&self.root.join("channels"))?.into_iter().filter(named) {
            let text = fs::read(&path).map_err(StoreError::io("read", &path))?;
            let signed: Signed<ChannelStatement> = serde_json::from_slice(&text)
                .map_err(|source| StoreError::DamagedDocument { path: path.clone(), source })?;
            if let Some((name, _)) = signed.body.about() {
                histories.entry(name.to_owned()).or_default().0.push(signed);
            }
        }
        Ok(histories)
    }

    /// The channel that means an image now, if one does by what the store holds.
    pub(super) fn channel_meaning(&self, image: &ImageId) -> Result<Option<String>, StoreError> {
        let histories = self.histories()?;
        let approved = histories.values().filter_map(History::approved);
        Ok(approved
            .map(|signed| &signed.body)
            .find(|body| body.image == *image)
            .map(|body| body.channel.clone()))
    }
}

fn prefix(name: &str) -> String {
    Digest::of(name.as_bytes()).to_string()[..32].to_owned()
}
