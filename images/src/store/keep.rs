//! Delete, retention and legal hold.
//!
//! Deleting moves a manifest aside; its chunks go with a later collection, when the grace is over, and until then the
//! image can be taken back. Retention moves an image's end of life later and never earlier; a legal hold stands until
//! somebody lifts it. Both are words in a file: they stop mistakes, not somebody who owns the disk.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, manifest_name, sync_dir, write_atomically};
use crate::ImageId;

/// What keeps an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// Not to be deleted before this time, milliseconds since 1970 UTC; 0 for none.
    pub until_unix_ms: u64,
    /// Somebody needs it as proof.
    pub legal_hold: Option<LegalHold>,
}

/// A legal hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LegalHold {
    /// Who ordered it.
    pub by: String,
    /// Why.
    pub why: String,
    /// Since when, milliseconds since 1970 UTC.
    pub since_unix_ms: u64,
}

/// What is to change of what keeps an image; `None` leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeepChange {
    /// Keep it at least until then, milliseconds since 1970 UTC; never earlier than said before.
    pub until_unix_ms: Option<u64>,
    /// Put it under a legal hold, or lift the one that stands.
    pub legal_hold: Option<Option<LegalHold>>,
}

impl Store {
    /// What keeps an image.
    pub fn keep_of(&self, image: &ImageId) -> Result<Keep, StoreError> {
        let path = self.root.join("keep").join(format!("{image}.json"));
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Keep::default()),
            Err(error) => Err(StoreError::io("read", &path)(error)),
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|source| StoreError::DamagedDocument { path: path.clone(), source }),
        }
    }

    /// Change what keeps an image, if all of the change may be; what keeps it then. With `plan` nothing is written.
    pub fn keep(&self, image: &ImageId, change: &KeepChange, plan: bool) -> Result<Keep, StoreError> {
        let _lock = self.lock_manifests()?;
        self.get_manifest(image)?;
        let mut keep = self.keep_of(image)?;
        if let Some(until_unix_ms) = change.until_unix_ms {
            if until_unix_ms < keep.until_unix_ms {
                let until_unix_ms = keep.until_unix_ms;
                return Err(StoreError::RetentionShortened { image: *image, until_unix_ms });
            }
            keep.until_unix_ms = until_unix_ms;
        }
        if let Some(hold) = &change.legal_hold {
            keep.legal_hold.clone_from(hold);
        }
        if !plan {
            let text = serde_json::to_vec_pretty(&keep).unwrap_or_default();
            let (temp, dir) = (self.root.join("temp"), self.root.join("keep"));
            write_atomically(&temp, &dir, &format!("{image}.json"), &text)?;
        }
        Ok(keep)
    }

    /// Whether nothing stands against deleting an image; else what.
    pub fn may_delete(&self, image: &ImageId, now_unix_ms: u64) -> Result<(), StoreError> {
        let keep = self.keep_of(image)?;
        if let Some(LegalHold { by, why, .. }) = keep.legal_hold {
            return Err(StoreError::LegalHold { image: *image, by, why });
        }
        if keep.until_unix_ms > now_unix_ms {
            return Err(StoreError::Retained { image: *image, until_unix_ms: keep.until_unix_ms });
        }
        if let Some(channel) = self.channel_meaning(image)? {
            return Err(StoreError::InChannel { image: *image, channel });
        }
        Ok(())
    }

    /// Delete an image: it is listed no more, and a collection after the grace takes its chunks.
    pub fn delete(&self, image: &ImageId, now_unix_ms: u64) -> Result<(), StoreError> {
        let _lock = self.lock_manifests()?;
        self.may_delete(image, now_unix_ms)?;
        let (path, aside) = (self.manifest_path("manifests", image), self.manifest_path("deleted", image));
        let stamp =
            |file: File| file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(now_unix_ms));
        match File::options()
            .append(true)
            .open(&path)
            .and_then(stamp)
            .and_then(|()| fs::rename(&path, &aside))
        {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::MissingImage { id: *image });
            }
            other => other.map_err(StoreError::io("delete", &path))?,
        }
        sync_dir(&self.root.join("deleted"))?;
        sync_dir(&self.root.join("manifests"))
    }

    /// Take a deleted image back, as long as a collection has not taken it.
    pub fn undelete(&self, image: &ImageId) -> Result<(), StoreError> {
        let path = self.manifest_path("deleted", image);
        let signed = self.read_manifest(&path, image)?;
        self.put_manifest(&signed)?;
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))
    }

    pub(super) fn manifest_path(&self, dir: &str, image: &ImageId) -> PathBuf {
        self.root.join(dir).join(manifest_name(image))
    }
}
