//! Golden images as this appliance offers them: what lies in the store, and what its key ring says of each.
//!
//! The appliance trusts an image for the same reason as the endpoint does, its offline signers; it cannot mint one. The
//! trust root is read anew at each question, so that a signature or a rotation made by the command line counts at once.
//!
//! It must never: offer an image that the key ring refuses, or write into the store more than when an image was used.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use images::{
    ImageId, KeyRing, Manifest, Role, SignedTrustRoot, Store, StoreError, Verified, VerifyError,
    disk::ESP_TYPE,
    keys::{ChannelStatement, Stage},
    manifest::Header,
};
use recovery_protocol::{job::HoldReason, operator::ImageView};

use crate::{
    clock::{Clock as _, SystemClock},
    config::Blueprint,
};

/// Why there is no golden image to restore.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The store failed.
    #[error("the image store failed: {0}")]
    Store(#[from] StoreError),
    /// No trust root.
    #[error(
        "the image trust root {path} cannot be used: {why}; place it there, or name it with trust_root_file"
    )]
    TrustRoot {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The key ring refuses it.
    #[error("{}", with_cause(.0))]
    Refused(#[from] VerifyError),
    /// Nothing of that name.
    #[error("no golden image `{wanted}` is in the store; import one with `groundstate image import`")]
    Missing {
        /// Name, and version where one is asked for.
        wanted: String,
    },
    /// There is no place on it for the enrolment ticket, so the restored system could not check in.
    #[error(
        "{image} has no EFI system partition, and the ticket by which the restored system checks in is placed there; \
         add one to the image (also where it boots by BIOS: FAT, 1 MiB is enough) and import it again"
    )]
    NoWayHome {
        /// Name and version.
        image: String,
    },
    /// Nothing of that name, but something that cannot be read any more: it may be the one.
    #[error("no golden image `{wanted}` can be read, and the store holds a damaged manifest: {why}")]
    Damaged {
        /// Name, and version where one is asked for.
        wanted: String,
        /// Which one, and how.
        why: String,
    },
    /// Channels are in use, and none means such an image.
    #[error("no golden image `{wanted}` is approved; promote one with `groundstate image promote`")]
    NotApproved {
        /// Name, and version where one is asked for.
        wanted: String,
    },
    /// The key ring does not believe a promotion.
    #[error(transparent)]
    Statement(#[from] images::keys::StatementError),
    /// The reading task died.
    #[error("reading the image store was interrupted; try again")]
    Interrupted,
}

/// A refusal with what caused it, in one line.
fn with_cause(error: &VerifyError) -> String {
    match error {
        VerifyError::Manifest { source, .. } => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

impl GoldenError {
    /// Its place in the closed list.
    #[must_use]
    pub fn reason(&self) -> HoldReason {
        match self {
            Self::Refused(error) => error.into(),
            Self::Store(StoreError::DamagedManifest { .. } | StoreError::Manifest(_))
            | Self::Damaged { .. } => HoldReason::ManifestAltered,
            Self::Store(_)
            | Self::TrustRoot { .. }
            | Self::Missing { .. }
            | Self::NoWayHome { .. }
            | Self::NotApproved { .. }
            | Self::Statement(_)
            | Self::Interrupted => HoldReason::ImageNotTrusted,
        }
    }
}

/// The golden images of this appliance. Cheap to clone.
#[derive(Clone)]
pub struct Golden {
    /// The chunk store, for frames.
    pub store: Arc<Store>,
    trust_root: PathBuf,
}

/// One image that can be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The image.
    pub image: ImageId,
    /// Its name and version, for people.
    pub name: String,
    /// The blueprint that it was chosen for.
    pub blueprint: String,
    /// The order by which it is approved, as the key ring has verified it; `None` where channels are not in use.
    pub approval: Option<ChannelStatement>,
}

impl Golden {
    /// Open the store. Blocking.
    ///
    /// # Errors
    /// [`GoldenError::Store`].
    pub fn open(store: &Path, trust_root: &Path) -> Result<Self, GoldenError> {
        Ok(Self { store: Arc::new(Store::open(store)?), trust_root: trust_root.to_owned() })
    }

    /// Every image with what the key ring says of it, by name and epoch. One that was altered is there, too, and says so:
    /// it takes no other image with it.
    ///
    /// # Errors
    /// [`GoldenError`].
    pub async fn list(&self) -> Result<Vec<ImageView>, GoldenError> {
        self.blocking(|golden| {
            // What a collection has removed is let go of, so that its space comes free.
            golden.store.refresh()?;
            let mut views = golden.store.list()?.into_iter().map(|id| golden.view(id)).collect::<Vec<_>>();
            views.sort_by(|a, b| (&a.name, a.epoch, &a.version).cmp(&(&b.name, b.epoch, &b.version)));
            Ok(views)
        })
        .await
    }

    /// The image that a blueprint means. Where the trust root lists channel keys: the one of its name that is approved; a
    /// version that the blueprint names may be anything but retired. Else of the trusted ones with its name (and version)
    /// the one with the highest epoch; if none is trusted, the newest: the job then stops at its check, with the reason.
    ///
    /// # Errors
    /// [`GoldenError::Missing`] where nothing has the name, [`GoldenError::NotApproved`] where no channel means it; [`GoldenError::Damaged`] where what had it may be unreadable;
    /// [`GoldenError::NoWayHome`] before anything is begun that could not end.
    pub async fn choose(&self, blueprint: &Blueprint) -> Result<Choice, GoldenError> {
        self.choose_among(self.list().await?, blueprint).await
    }

    /// The same, of what a list held.
    ///
    /// # Errors
    /// As [`Golden::choose`].
    pub async fn choose_among(
        &self,
        all: Vec<ImageView>,
        blueprint: &Blueprint,
    ) -> Result<Choice, GoldenError> {
        let fits = |view: &ImageView| {
            view.name == blueprint.image
                && blueprint.version.as_ref().is_none_or(|version| *version == view.version)
        };
        let wanted = || match &blueprint.version {
            Some(version) => format!("{} {version}", blueprint.image),
            None => blueprint.image.clone(),
        };
        let damaged = all.iter().find(|view| view.name.is_empty()).map(|view| view.why_not.clone());
        let mut fitting: Vec<ImageView> = all.into_iter().filter(fits).collect();
        if fitting.is_empty() {
            return Err(match damaged {
                Some(why) => GoldenError::Damaged { wanted: wanted(), why },
                None => GoldenError::Missing { wanted: wanted() },
            });
        }
        // Without a trust root the job stops at its check, with that reason.
        let (channels, approval) = self.approval(&blueprint.image).await.unwrap_or_default();
        if channels {
            let stage = |stage: Stage| stage.to_string();
            fitting.retain(|view| match &blueprint.version {
                Some(_) => view.stage != stage(Stage::Retired),
                None => view.stage == stage(Stage::Approved),
            });
        }
        let best = fitting.into_iter().max_by_key(|view| (view.trusted, view.epoch));
        let best = best.ok_or_else(|| GoldenError::NotApproved { wanted: wanted() })?;
        let approval = approval.filter(|statement| statement.image == best.image);
        let choice = Choice {
            image: best.image,
            name: format!("{} {}", best.name, best.version),
            blueprint: String::new(),
            approval,
        };
        if self.has_esp(best.image).await? {
            Ok(choice)
        } else {
            Err(GoldenError::NoWayHome { image: choice.name })
        }
    }

    /// Whether channels are in use, and by which order an image of this name is approved.
    async fn approval(&self, name: &str) -> Result<(bool, Option<ChannelStatement>), GoldenError> {
        let name = name.to_owned();
        self.blocking(move |golden| {
            let ring = golden.ring()?;
            let history = golden.store.history(&name)?.believed(&ring).0;
            let approval = history.standing(&ring).map(|statement| (*statement).clone());
            Ok((ring.root().root.roles.contains_key(&Role::Channel), approval))
        })
        .await
    }

    async fn has_esp(&self, image: ImageId) -> Result<bool, GoldenError> {
        let header = self.header(image).await?;
        Ok(header.table.partitions.iter().any(|partition| partition.type_guid == ESP_TYPE))
    }

    /// What an image says of itself.
    ///
    /// # Errors
    /// [`GoldenError::Store`].
    pub async fn header(&self, image: ImageId) -> Result<Header, GoldenError> {
        self.blocking(move |golden| {
            Ok(golden.store.get_manifest(&image)?.parse_header().map_err(StoreError::from)?)
        })
        .await
    }

    /// An image's manifest, if the key ring trusts it.
    ///
    /// # Errors
    /// [`GoldenError`].
    pub async fn check(&self, image: ImageId) -> Result<Verified<Manifest>, GoldenError> {
        self.blocking(move |golden| {
            let _ = golden.store.note_use(&image);
            Ok(golden.ring()?.verify(golden.store.get_manifest(&image)?)?)
        })
        .await
    }

    /// The manifest with its signatures as it is sent to an endpoint, which verifies it itself.
    ///
    /// # Errors
    /// [`GoldenError::Store`].
    pub async fn manifest(&self, image: ImageId) -> Result<Vec<u8>, GoldenError> {
        self.blocking(move |golden| {
            // Before it is read: an eviction that goes on meanwhile sees it, or there is nothing to read. A store that cannot be
            // written evicts nothing.
            let _ = golden.store.note_use(&image);
            Ok(golden.store.get_manifest(&image)?.encode())
        })
        .await
    }

    /// The key ring of the image trust root, as the file says now. Blocking.
    ///
    /// # Errors
    /// [`GoldenError::TrustRoot`].
    pub fn ring(&self) -> Result<KeyRing, GoldenError> {
        let wrong = |why: String| GoldenError::TrustRoot { path: self.trust_root.clone(), why };
        let text = std::fs::read(&self.trust_root).map_err(|e| wrong(e.to_string()))?;
        let root: SignedTrustRoot = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        root.check_time(SystemClock.now_unix_ms()).map_err(|e| wrong(e.to_string()))?;
        KeyRing::pin(root).map_err(|e| wrong(e.to_string()))
    }

    fn view(&self, image: ImageId) -> ImageView {
        let signed = self.store.get_manifest(&image);
        // The header may be whole where the pages are not: then the image has its name still.
        let header = signed.as_ref().ok().and_then(|signed| signed.parse_header().ok());
        let verdict =
            signed.map_err(GoldenError::from).and_then(|signed| Ok(self.ring()?.verify(signed)?)).map(drop);
        let mut view = ImageView::new(image, header.as_ref(), verdict.err().map(|error| error.to_string()));
        view.stage = self.stage(&view.name, &image).map(|stage| stage.to_string()).unwrap_or_default();
        view
    }

    /// Where an image stands by the statements that the key ring believes.
    fn stage(&self, name: &str, image: &ImageId) -> Option<Stage> {
        self.store.history(name).ok()?.believed(&self.ring().ok()?).0.stage_of(image)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, GoldenError> + Send + 'static,
    ) -> Result<T, GoldenError> {
        let golden = self.clone();
        tokio::task::spawn_blocking(move || work(&golden)).await.map_err(|_| GoldenError::Interrupted)?
    }
}

mod channel;

#[cfg(test)]
mod tests {
    use std::fs;

    use images::{ImportRequest, Role, SigningKey, TrustRoot, keys::RoleKeys};

    use super::*;
    use crate::testing::golden_image;

    /// A store with the signed image `hmi-panel`, and one more of this name, which nobody signed.
    fn store(dir: &Path, name: &str) -> (Golden, ImageId) {
        let (store, root) = (dir.join("store"), dir.join("root.json"));
        golden_image(dir, &store, &root);
        let request =
            ImportRequest { name: name.into(), version: "1".into(), epoch: 9, ..ImportRequest::default() };
        let golden = Golden::open(&store, &root).unwrap();
        let disk = dir.join("other.raw");
        fs::write(&disk, crate::testing::disk()).unwrap();
        let image = images::import_raw(&disk, &request, &golden.store, &mut |_| {}).unwrap().manifest.id();
        (golden, image)
    }

    /// Changes one byte of the image's file, counted from its end.
    fn alter(dir: &Path, image: ImageId, from_end: usize) {
        let path = dir.join("store/manifests").join(format!("{image}.gsi"));
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() - from_end;
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
    }

    async fn reason(golden: &Golden, image: ImageId) -> HoldReason {
        golden.check(image).await.map(drop).unwrap_err().reason()
    }

    fn blueprint(image: &str) -> Blueprint {
        toml::from_str(&format!("image = \"{image}\"")).unwrap()
    }

    #[tokio::test]
    async fn unsigned_foreign_and_altered_images_have_names_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let (golden, image) = store(dir.path(), "panel");
        assert_eq!(reason(&golden, image).await, HoldReason::ManifestUnsigned);
        let mut signed = golden.store.get_manifest(&image).unwrap();
        SigningKey::generate().unwrap().sign_image(&mut signed).unwrap();
        golden.store.put_manifest(&signed).unwrap();
        assert_eq!(reason(&golden, image).await, HoldReason::ManifestForeign);

        let (root, signer) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        signer.sign_image(&mut signed).unwrap();
        golden.store.put_manifest(&signed).unwrap();
        let one = |key: &SigningKey| RoleKeys { threshold: 1, keys: vec![key.public()] };
        let roles = [(Role::Root, one(&root)), (Role::Image, one(&signer))].into();
        let mut document =
            SignedTrustRoot::unsigned(TrustRoot { version: 1, epoch_floor: 0, expires_unix_ms: 0, roles });
        document.sign(&root).unwrap();
        fs::write(dir.path().join("root.json"), serde_json::to_vec(&document).unwrap()).unwrap();
        golden.check(image).await.unwrap();
        alter(dir.path(), image, 1);
        assert_eq!(reason(&golden, image).await, HoldReason::ManifestAltered);
    }

    #[tokio::test]
    async fn an_altered_image_is_listed_as_such_and_takes_no_other_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let (golden, image) = store(dir.path(), "panel");
        alter(dir.path(), image, 1);
        let listed = golden.list().await.unwrap();
        assert_eq!(listed.len(), 2);
        assert!(listed.iter().any(|view| view.name == "hmi-panel" && view.trusted));
        assert!(listed.iter().any(|view| view.name == "panel" && !view.trusted), "a page: it has its name");
        assert_eq!(
            golden.choose(&blueprint("panel")).await.unwrap().image,
            image,
            "the job says what is wrong"
        );

        let header_at =
            fs::read(dir.path().join("store/manifests").join(format!("{image}.gsi"))).unwrap().len() - 20;
        alter(dir.path(), image, header_at);
        let listed = golden.list().await.unwrap();
        assert!(listed.iter().any(|view| view.name.is_empty() && view.why_not.contains("damaged")));
        golden.choose(&blueprint("hmi-panel")).await.unwrap();
        let refused = golden.choose(&blueprint("panel")).await.unwrap_err();
        assert_eq!(refused.reason(), HoldReason::ManifestAltered);
        assert!(refused.to_string().contains("panel"), "{refused}");
    }
}
