//! What a page of a whole site asks that nothing else does: jobs that are open, when the state was saved last, room on the disk.

use recovery_protocol::{Problem, evidence::Entry, operator::JobView};

use super::{Service, views};
use crate::db;

/// Entries that are looked through for the last backup, at most.
const LOOK_BACK: u64 = 100_000;

/// When the state was saved last, as the evidence log has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Saved {
    /// Up to which entry was looked.
    upto: u64,
    /// When, milliseconds since 1970; none: not within the last hundred thousand entries.
    pub at: Option<u64>,
}

/// Room on the disk under the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

impl Room {
    /// Whether it is little, as evidence says it too (`log.capacity`).
    #[must_use]
    pub fn is_little(&self) -> bool {
        crate::evidence::is_little(self.free_bytes, self.total_bytes)
    }
}

impl Service {
    /// Jobs that are not over, oldest first.
    pub async fn open_jobs(&self) -> Result<Vec<JobView>, Problem> {
        let mut conn = self.0.journal.db.read().await?;
        let mut found = Vec::new();
        for row in db::job::open(&mut conn).await? {
            found.push(views::job(&self.0, &mut conn, row).await?);
        }
        Ok(found)
    }

    /// Endpoints by state, as in JSON.
    pub async fn endpoint_states(&self) -> Result<Vec<(String, u64)>, Problem> {
        Ok(db::endpoint::count_by_state(&mut *self.0.journal.db.read().await?).await?)
    }

    /// When the state was saved last. Only entries that came since the last time are read.
    pub async fn saved(&self) -> Result<Saved, Problem> {
        let (upto, before) = self.0.live.saved();
        let mut conn = self.0.journal.db.read().await?;
        let last = db::log::last(&mut conn).await?.map_or(0, |(seq, _)| seq);
        let from = upto.max(last.saturating_sub(LOOK_BACK));
        let newest = db::log::newest_of_kind(&mut conn, "state.saved", from).await?;
        let entry = newest.and_then(|text| serde_json::from_str::<Entry>(&text).ok());
        let at = entry.filter(|entry| entry.kind == "state.saved").map(|entry| entry.at_unix_ms);
        let now = Saved { upto: last, at: at.or(before) };
        self.0.live.note_saved(now.upto, now.at);
        Ok(now)
    }

    /// Endpoints that may be the target of a drill.
    pub async fn drillable(&self) -> Result<usize, Problem> {
        let all = db::endpoint::light(&mut *self.0.journal.db.read().await?).await?;
        Ok(all.iter().filter(|endpoint| endpoint.record.drill_safe).count())
    }

    /// Room on the disk under the data directory; none: it cannot be asked.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        let (free_bytes, total_bytes) = crate::evidence::room_of(&self.0.journal.config.data_dir)?;
        Some(Room { free_bytes, total_bytes })
    }
}
