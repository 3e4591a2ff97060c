//! Golden images as this appliance offers them: what lies in the store, and what its key ring says of each.
//!
//! The appliance trusts an image for the same reason as the endpoint does, its offline signers; it cannot mint one. The
//! trust root is read anew at each question, so that a signature or a rotation made by the command line counts at once.
//!
//! It must never: offer an image that the key ring refuses, or write into the store.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use images::{ImageId, KeyRing, Manifest, SignedTrustRoot, Store, StoreError, Verified, disk::ESP_TYPE};
use recovery_protocol::operator::ImageView;

use crate::config::Blueprint;

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
    #[error("{0}")]
    Refused(#[from] images::VerifyError),
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
    /// The reading task died.
    #[error("reading the image store was interrupted; try again")]
    Interrupted,
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
}

impl Golden {
    /// Open the store. Blocking.
    ///
    /// # Errors
    /// [`GoldenError::Store`].
    pub fn open(store: &Path, trust_root: &Path) -> Result<Self, GoldenError> {
        Ok(Self { store: Arc::new(Store::open(store)?), trust_root: trust_root.to_owned() })
    }

    /// Every image with what the key ring says of it, by name and epoch.
    ///
    /// # Errors
    /// [`GoldenError`].
    pub async fn list(&self) -> Result<Vec<ImageView>, GoldenError> {
        self.blocking(|golden| {
            let mut views =
                golden.store.list()?.into_iter().map(|id| golden.view(id)).collect::<Result<Vec<_>, _>>()?;
            views.sort_by(|a, b| (&a.name, a.epoch, &a.version).cmp(&(&b.name, b.epoch, &b.version)));
            Ok(views)
        })
        .await
    }

    /// The image that a blueprint means: of the trusted ones with its name (and version) the one with the highest
    /// epoch. If none is trusted, the newest: the job then stops at its check, with the reason.
    ///
    /// # Errors
    /// [`GoldenError::Missing`] where nothing has the name, [`GoldenError::NoWayHome`] before anything is begun that could
    /// not end.
    pub async fn choose(&self, blueprint: &Blueprint) -> Result<Choice, GoldenError> {
        let fits = |view: &ImageView| {
            view.name == blueprint.image
                && blueprint.version.as_ref().is_none_or(|version| *version == view.version)
        };
        let wanted = || match &blueprint.version {
            Some(version) => format!("{} {version}", blueprint.image),
            None => blueprint.image.clone(),
        };
        let best = self.list().await?.into_iter().filter(fits).max_by_key(|view| (view.trusted, view.epoch));
        let best = best.ok_or_else(|| GoldenError::Missing { wanted: wanted() })?;
        let choice = Choice { image: best.image, name: format!("{} {}", best.name, best.version) };
        if self.has_esp(best.image).await? {
            Ok(choice)
        } else {
            Err(GoldenError::NoWayHome { image: choice.name })
        }
    }

    async fn has_esp(&self, image: ImageId) -> Result<bool, GoldenError> {
        self.blocking(move |golden| {
            let manifest = golden.store.get_manifest(&image)?.parse().map_err(StoreError::from)?;
            Ok(manifest.header().table.partitions.iter().any(|partition| partition.type_guid == ESP_TYPE))
        })
        .await
    }

    /// An image's manifest, if the key ring trusts it.
    ///
    /// # Errors
    /// [`GoldenError`].
    pub async fn check(&self, image: ImageId) -> Result<Verified<Manifest>, GoldenError> {
        self.blocking(move |golden| Ok(golden.ring()?.verify(golden.store.get_manifest(&image)?)?)).await
    }

    /// The manifest with its signatures as it is sent to an endpoint, which verifies it itself.
    ///
    /// # Errors
    /// [`GoldenError::Store`].
    pub async fn manifest(&self, image: ImageId) -> Result<Vec<u8>, GoldenError> {
        self.blocking(move |golden| Ok(golden.store.get_manifest(&image)?.encode())).await
    }

    fn ring(&self) -> Result<KeyRing, GoldenError> {
        let wrong = |why: String| GoldenError::TrustRoot { path: self.trust_root.clone(), why };
        let text = std::fs::read(&self.trust_root).map_err(|e| wrong(e.to_string()))?;
        let root: SignedTrustRoot = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        KeyRing::pin(root).map_err(|e| wrong(e.to_string()))
    }

    fn view(&self, image: ImageId) -> Result<ImageView, GoldenError> {
        let signed = self.store.get_manifest(&image)?;
        let manifest = signed.parse().map_err(StoreError::from)?;
        let verdict = self.ring().and_then(|ring| Ok(ring.verify(signed)?));
        let identity = &manifest.header().identity;
        Ok(ImageView {
            image,
            name: identity.name.clone(),
            version: identity.version.clone(),
            epoch: identity.epoch,
            disk_bytes: manifest.header().disk.size,
            trusted: verdict.is_ok(),
            why_not: verdict.err().map(|e| e.to_string()).unwrap_or_default(),
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, GoldenError> + Send + 'static,
    ) -> Result<T, GoldenError> {
        let golden = self.clone();
        tokio::task::spawn_blocking(move || work(&golden)).await.map_err(|_| GoldenError::Interrupted)?
    }
}
