//! Where an import puts its chunks: the store here, an appliance's over a network, or nowhere, to see what an import would do.
//!
//! It must never: say that a chunk is there which may be gone before the manifest is kept, unless keeping the manifest then fails.

use super::ImportError;
use crate::frames::Frame;
use crate::{ChunkId, Ingest, Store, StoreWriter};

/// Takes the chunks of a disk.
pub trait ChunkSink: Sync {
    /// Whether the chunk is there already. Asked for each chunk, so it must know without asking somebody else.
    fn has(&self, id: &ChunkId) -> bool;
    /// Begin to take frames.
    fn begin(&self) -> Box<dyn TakesFrames + Send + '_>;
}

/// Takes frames in the order of the disk, each chunk once.
pub trait TakesFrames {
    /// Take one. May wait: that is how a slow taker holds the reading back.
    fn take(&mut self, frame: Frame) -> Result<(), ImportError>;
    /// All frames were given: return when they are there for good. How many chunks were new, and their stored bytes.
    fn finish(self: Box<Self>) -> Result<(u64, u64), ImportError>;
}

impl ChunkSink for StoreWriter<'_> {
    fn has(&self, id: &ChunkId) -> bool {
        Self::has(self, id)
    }

    fn begin(&self) -> Box<dyn TakesFrames + Send + '_> {
        Box::new(IntoPacks { ingest: self.ingest(), new: (0, 0) })
    }
}

struct IntoPacks<'a> {
    ingest: Ingest<'a>,
    new: (u64, u64),
}

impl TakesFrames for IntoPacks<'_> {
    fn take(&mut self, frame: Frame) -> Result<(), ImportError> {
        let stored = self.ingest.append(&frame)?;
        self.new = (self.new.0 + u64::from(stored > 0), self.new.1 + stored);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(u64, u64), ImportError> {
        self.ingest.finish()?;
        Ok(self.new)
    }
}

/// Counts what would be new to a store, or to one that is still empty, and keeps nothing.
pub struct Counted<'a>(pub Option<&'a Store>);

impl ChunkSink for Counted<'_> {
    fn has(&self, id: &ChunkId) -> bool {
        self.0.is_some_and(|store| store.has(id))
    }

    fn begin(&self) -> Box<dyn TakesFrames + Send + '_> {
        Box::new(Count(0, 0))
    }
}

struct Count(u64, u64);

impl TakesFrames for Count {
    fn take(&mut self, frame: Frame) -> Result<(), ImportError> {
        *self = Self(self.0 + 1, self.1 + frame.bytes.len() as u64);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(u64, u64), ImportError> {
        Ok((self.0, self.1))
    }
}
