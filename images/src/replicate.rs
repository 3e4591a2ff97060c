//! Replication: images from one store to another, chunks first, then manifests, then what is said about them.
//!
//! Every frame is opened and hashed on the way. What was stopped is run again: packs that were sealed are found.
//!
//! It must never: let a store list an image before it holds its chunks, or carry a deletion over.

use std::collections::HashSet;

use crate::frames::Opener;
use crate::{FrameError, ImageId, Store, StoreError};

/// Why a replication stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReplicateError {
    /// The store that gives.
    #[error("the store that is replicated fails")]
    From(#[source] StoreError),
    /// The store that takes.
    #[error("the replica fails; what came over is kept, replicate again")]
    To(#[source] StoreError),
    /// A frame of the giving store is not its chunk.
    #[error("the store that is replicated holds a damaged chunk; scrub it, then replicate again")]
    Frame(#[source] FrameError),
}

/// What a replication has done, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Replicated {
    /// Images that the replica lacked.
    pub images: Vec<ImageId>,
    /// Chunks that it lacked.
    pub chunks: usize,
    /// Their stored bytes.
    pub bytes: u64,
    /// Statements that it lacked.
    pub statements: usize,
}

/// How far a replication is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicateProgress {
    /// Chunks done of the image at hand.
    pub done: usize,
    /// Chunks of the image at hand that the replica lacks.
    pub total: usize,
    /// Stored bytes moved by this step.
    pub bytes: u64,
}

/// What [`replicate`] would do. Nothing is written, so there may be no store to fill yet; lengths are the word of the packs.
pub fn plan(from: &Store, to: Option<&Store>, images: &[ImageId]) -> Result<Replicated, ReplicateError> {
    let known: HashSet<ImageId> = match to {
        Some(to) => to.list().map_err(ReplicateError::To)?.into_iter().collect(),
        None => HashSet::new(),
    };
    let (mut plan, mut counted) = (Replicated::default(), HashSet::new());
    for image in images {
        let signed = from.get_manifest(image).map_err(ReplicateError::From)?;
        let manifest = signed.parse().map_err(|error| ReplicateError::From(error.into()))?;
        for id in manifest.chunk_ids() {
            if to.is_some_and(|to| to.has(&id)) || !counted.insert(id) {
                continue;
            }
            let len = from.stored_len(&id).map_err(ReplicateError::From)?;
            (plan.chunks, plan.bytes) = (plan.chunks + 1, plan.bytes + u64::from(len));
        }
        if !known.contains(image) {
            plan.images.push(*image);
        }
    }
    let there = |image: &ImageId| known.contains(image) || images.contains(image);
    for (name, history) in from.histories().map_err(ReplicateError::From)? {
        let next = match to {
            Some(to) => to.history(&name).map_err(ReplicateError::To)?.next_epoch(),
            None => 0,
        };
        let said = history.0.iter().filter(|signed| signed.body.epoch >= next && there(&signed.body.image));
        plan.statements += said.count();
    }
    Ok(plan)
}

/// Bring images to `to`. `progress` may wait: that is how a caller caps the bandwidth.
pub fn replicate(
    from: &Store,
    to: &Store,
    images: &[ImageId],
    progress: &mut dyn FnMut(ReplicateProgress),
) -> Result<Replicated, ReplicateError> {
    let mut opener = Opener::new().map_err(|error| ReplicateError::Frame(FrameError::Transport(error)))?;
    let mut done = Replicated::default();
    let known: HashSet<ImageId> = to.list().map_err(ReplicateError::To)?.into_iter().collect();
    for image in images {
        let signed = from.get_manifest(image).map_err(ReplicateError::From)?;
        let manifest = signed.parse().map_err(|error| ReplicateError::From(error.into()))?;
        let writer = to.writer().map_err(ReplicateError::To)?;
        let missing = writer.missing(manifest.chunk_ids()).map_err(ReplicateError::To)?;
        let (mut ingest, mut left) = (writer.ingest(), missing.clone());
        // In the order of the disk, so that the replica reads an image in one go too.
        for id in manifest.chunk_ids() {
            if !left.remove(&id) {
                continue;
            }
            let frame = from.get_frame(&id).map_err(ReplicateError::From)?;
            let bytes = frame.bytes.len() as u64;
            (done.chunks, done.bytes) = (done.chunks + 1, done.bytes + bytes);
            opener.open(&frame).map_err(ReplicateError::Frame)?;
            ingest.append(&frame).map_err(ReplicateError::To)?;
            let (total, done) = (missing.len(), missing.len() - left.len());
            progress(ReplicateProgress { done, total, bytes });
        }
        if !known.contains(image) {
            done.images.push(*image);
        }
        ingest.finish().map_err(ReplicateError::To)?;
        writer.put_manifest(&signed).map_err(ReplicateError::To)?;
    }
    statements(from, to, &mut done)?;
    Ok(done)
}

/// What is said about the images that both have.
fn statements(from: &Store, to: &Store, done: &mut Replicated) -> Result<(), ReplicateError> {
    for (name, history) in from.histories().map_err(ReplicateError::From)? {
        let there = to.history(&name).map_err(ReplicateError::To)?;
        let next = there.next_epoch();
        for signed in history.0.iter().filter(|signed| signed.body.epoch >= next) {
            match to.put_statement(signed) {
                Ok(()) => done.statements += 1,
                // It speaks of an image that was not asked for; what follows may speak of one that was.
                Err(StoreError::MissingImage { .. }) => {}
                Err(other) => return Err(ReplicateError::To(other)),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Plant, noise, request};
    use crate::{ChunkId, ImportRequest};

    fn disk(seed: u64) -> Vec<u8> {
        let mut disk = crate::testing::gpt_disk(8 << 20, 512, &[(crate::testing::LINUX_TYPE, 2048, 16350)]);
        disk[2 << 20..4 << 20].copy_from_slice(&noise(1, 2 << 20));
        disk[4 << 20..5 << 20].copy_from_slice(&noise(seed, 1 << 20));
        disk
    }

    #[test]
    fn a_replica_gets_images_whole_and_only_what_it_lacks() {
        let (a, b) = (Plant::new(), Plant::new());
        let (one, two) =
            (a.image(&disk(2)), a.image_with(&disk(3), &ImportRequest { epoch: 2, ..request() }));
        let plan = super::plan(&a.store, Some(&b.store), &[one.id()]).unwrap();
        assert_eq!((plan.images.len(), b.store.counts().1), (1, 0));
        assert_eq!(super::plan(&a.store, None, &[one.id()]).unwrap(), plan, "no store yet is an empty one");
        let mut moved = 0;
        let done = replicate(&a.store, &b.store, &[one.id()], &mut |step| moved += step.bytes).unwrap();
        assert_eq!((&done, moved), (&plan, plan.bytes));
        a.ring.verify(b.store.get_manifest(&one.id()).unwrap()).unwrap();
        b.store.verify_image(&one, |_, _| {}).unwrap();

        let all = a.store.list().unwrap();
        let plan = super::plan(&a.store, Some(&b.store), &all).unwrap();
        let second = replicate(&a.store, &b.store, &all, &mut |_| {}).unwrap();
        assert_eq!((&second, second.images.as_slice()), (&plan, &[two.id()][..]));
        assert!(second.bytes < done.bytes, "shared chunks travel once");
        let nothing = replicate(&a.store, &b.store, &all, &mut |_| {}).unwrap();
        assert_eq!(nothing, Replicated::default());
        let all_anew = super::plan(&a.store, None, &all).unwrap();
        assert_eq!(all_anew.bytes, done.bytes + second.bytes, "what two images share is counted once");
    }

    #[test]
    fn a_damaged_chunk_is_not_replicated_and_what_came_before_is_kept() {
        let (a, b) = (Plant::new(), Plant::new());
        let image = a.image(&disk(2));
        let ids: Vec<ChunkId> = image.chunk_ids().collect();
        let pack = std::fs::read_dir(a.store.root().join("packs")).unwrap().next().unwrap().unwrap().path();
        let mut bytes = std::fs::read(&pack).unwrap();
        let near_the_end = bytes.len() - 57 * ids.len() - 5000;
        bytes[near_the_end] ^= 1;
        std::fs::write(&pack, bytes).unwrap();
        let stopped = replicate(&a.store, &b.store, &[image.id()], &mut |_| {});
        assert!(matches!(stopped, Err(ReplicateError::From(StoreError::DamagedChunk { .. }))));
        assert!(b.store.list().unwrap().is_empty());
    }
}
