//! Channels and signatures of the store's images, as the key ring judges them now.

use images::{
    Content, ImageId, Role, SignedManifest, StoreError,
    keys::{ChannelStatement, Signed},
    store::History,
};
use recovery_protocol::channel::{ChannelView, ImageDetail, SignatureView, StatementView};

use super::{Golden, GoldenError};

impl Golden {
    /// An image with its signatures, of which nothing says yet where it is used; none of that id in the store: `None`.
    ///
    /// # Errors
    /// [`GoldenError`].
    pub async fn detail(&self, image: ImageId) -> Result<Option<ImageDetail>, GoldenError> {
        self.blocking(move |golden| {
            golden.store.refresh()?;
            if !golden.store.list()?.contains(&image) {
                return Ok(None);
            }
            let signed = golden.store.get_manifest(&image).ok();
            let header = signed.as_ref().and_then(|signed| signed.parse_header().ok());
            let identity = header.map(|header| header.identity);
            Ok(Some(ImageDetail {
                view: golden.view(image),
                created_unix_ms: identity.as_ref().map_or(0, |identity| identity.created_unix_ms),
                note: identity.as_ref().map(|identity| identity.note.clone()).unwrap_or_default(),
                hardware_class: identity.map(|identity| identity.hardware_class).unwrap_or_default(),
                data_bytes: signed.as_ref().and_then(data_bytes),
                signatures: signed.map(|signed| golden.signatures(&signed)).unwrap_or_default(),
                used_by: Vec::new(),
                runs_on: Vec::new(),
            }))
        })
        .await
    }

    fn signatures(&self, signed: &SignedManifest) -> Vec<SignatureView> {
        let verified = self.ring().ok().and_then(|ring| ring.verify(signed.clone()).ok());
        let good =
            verified.map(|verified| verified.signers().iter().map(ToString::to_string).collect::<Vec<_>>());
        let one = |key: String| SignatureView {
            counts: good.as_ref().is_some_and(|good| good.contains(&key)),
            key,
        };
        signed.signatures.iter().map(|signature| one(hex::encode(signature.key))).collect()
    }

    /// What was said about the images of a name.
    ///
    /// # Errors
    /// [`GoldenError::Store`].
    pub async fn channel(&self, name: &str) -> Result<ChannelView, GoldenError> {
        let name = name.to_owned();
        self.blocking(move |golden| {
            let History(said) = golden.store.history(&name)?;
            let ring = golden.ring();
            let statement = |signed: &Signed<ChannelStatement>| {
                let body = &signed.body;
                let why_not = match &ring {
                    Ok(ring) => ring.verify_statement(signed, 0).err().map(|error| error.to_string()),
                    Err(error) => Some(error.to_string()),
                };
                StatementView {
                    epoch: body.epoch,
                    stage: body.about().map(|(_, stage)| stage.to_string()).unwrap_or_default(),
                    image: body.image.to_string(),
                    author: body.author.clone(),
                    reason: body.reason.clone(),
                    at_unix_ms: body.at_unix_ms,
                    why_not: why_not.unwrap_or_default(),
                }
            };
            let statements: Vec<StatementView> = said.iter().map(statement).collect();
            let in_use = ring.as_ref().is_ok_and(|ring| ring.root().root.roles.contains_key(&Role::Channel));
            let epoch = statements.last().map_or(0, |last| last.epoch);
            Ok(ChannelView { name, epoch, in_use, statements })
        })
        .await
    }

    /// Keep a promotion that the key ring believes.
    ///
    /// # Errors
    /// [`GoldenError::Statement`], [`GoldenError::Store`] where its image is not here, or one with a higher epoch came first.
    pub async fn put_statement(&self, signed: Signed<ChannelStatement>) -> Result<(), GoldenError> {
        self.blocking(move |golden| {
            golden.ring()?.verify_statement(&signed, 0)?;
            Ok(golden.store.put_statement(&signed)?)
        })
        .await
    }
}

/// Bytes that are data, and not left free or zero.
fn data_bytes(signed: &SignedManifest) -> Option<u64> {
    let manifest = signed.parse().map_err(StoreError::from).ok()?;
    let data = manifest.extents().filter(|extent| matches!(extent.content, Content::Data(_)));
    Some(data.map(|extent| extent.len).sum())
}
