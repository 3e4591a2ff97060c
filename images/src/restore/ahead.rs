//! Frames that are fetched before they are wanted: while a plan waits for leave to write, the network has nothing to do.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::From;
use super::write::distinct;
use super::{ChunkSource, FrameSink, RestorePlan, SourceError};
use crate::frames::Frame;
use crate::{ChunkId, FrameError};

/// Chunks that are fetched at once.
const BATCH_CHUNKS: usize = 16;

/// A source with some frames of another in memory. They are verified like any others, when they are written.
pub struct Ahead<'s> {
    source: &'s dyn ChunkSource,
    held: Mutex<HashMap<ChunkId, Frame>>,
}

impl<'s> Ahead<'s> {
    /// Nothing is fetched yet.
    pub fn new(source: &'s dyn ChunkSource) -> Self {
        Self { source, held: Mutex::default() }
    }

    /// Fetch what the plan writes first, as long as `go_on` says so and until `stored_max` bytes of frames are held.
    ///
    /// A source that fails now is asked again when the chunks are wanted, so nothing is said of it here.
    pub fn fill(&self, plan: &RestorePlan<'_>, stored_max: usize, go_on: &dyn Fn() -> bool) {
        let fetched = plan.wrong().filter(|(extent, id)| plan.from(extent, id) == From::Fetch);
        let ids = distinct(fetched.map(|(_, id)| id));
        let mut stored = 0;
        for batch in ids.chunks(BATCH_CHUNKS) {
            if stored >= stored_max || !go_on() {
                return;
            }
            let mut hold = |frame: Frame| -> Result<(), FrameError> {
                stored += frame.bytes.len();
                self.held().insert(frame.id, frame);
                Ok(())
            };
            if self.source.fetch(batch, &mut hold).is_err() {
                return;
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<ChunkId, Frame>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChunkSource for Ahead<'_> {
    fn fetch(&self, ids: &[ChunkId], sink: &mut FrameSink<'_>) -> Result<(), SourceError> {
        let mut wanted = Vec::new();
        for id in ids {
            let held = self.held().remove(id);
            // One that is refused is asked for again: its source may have been left for a better one since.
            if held.is_none_or(|frame| sink(frame).is_err()) {
                wanted.push(*id);
            }
        }
        match wanted.is_empty() {
            true => Ok(()),
            false => self.source.fetch(&wanted, sink),
        }
    }
}
