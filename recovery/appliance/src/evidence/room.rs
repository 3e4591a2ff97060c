//! Room for the log: that the disk under the data directory runs full is in evidence before nothing can be written any more.
//!
//! It must never: remove anything to make room.

use std::path::Path;

use serde_json::{Value, json};

/// Less than this is little, and so is less than a twentieth of the disk.
const LITTLE: u64 = 1 << 30;
/// It is said again after a day.
const AGAIN_MS: u64 = 24 * 3_600_000;

/// When it was said last that there is little room.
#[derive(Debug, Default)]
pub struct Room {
    said: Option<u64>,
}

impl Room {
    /// The facts of an entry, where one is due. A disk that cannot be asked is another part's alarm.
    pub fn look(&mut self, dir: &Path, at_unix_ms: u64) -> Option<Value> {
        let (free, total) = of(dir)?;
        self.due(at_unix_ms, free, total)
    }

    fn due(&mut self, at_unix_ms: u64, free: u64, total: u64) -> Option<Value> {
        if !is_little(free, total) {
            self.said = None;
            return None;
        }
        if self.said.is_some_and(|said| at_unix_ms.saturating_sub(said) < AGAIN_MS) {
            return None;
        }
        self.said = Some(at_unix_ms);
        Some(json!({ "free_bytes": free, "total_bytes": total }))
    }
}

/// Bytes that are free on the disk of this directory, and all there are.
#[must_use]
pub fn of(dir: &Path) -> Option<(u64, u64)> {
    let disk = nix::sys::statvfs::statvfs(dir).ok()?;
    let unit = disk.fragment_size();
    Some((disk.blocks_available() * unit, disk.blocks() * unit))
}

/// Whether so much that is free is little.
#[must_use]
pub fn is_little(free: u64, total: u64) -> bool {
    free < LITTLE || free < total / 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_room_is_said_once_a_day_and_anew_after_there_was_enough() {
        const GIB: u64 = 1 << 30;
        let mut room = Room::default();
        assert_eq!(room.due(0, 10 * GIB, 100 * GIB), None);
        let said = room.due(1, GIB - 1, 4 * GIB).unwrap();
        assert_eq!(said, json!({ "free_bytes": GIB - 1, "total_bytes": 4 * GIB }));
        assert_eq!(room.due(AGAIN_MS, 0, 4 * GIB), None);
        assert!(room.due(AGAIN_MS + 1, 0, 4 * GIB).is_some());
        assert_eq!(room.due(AGAIN_MS + 2, 2 * GIB, 4 * GIB), None);
        assert!(room.due(AGAIN_MS + 3, 4 * GIB, 100 * GIB).is_some(), "under a twentieth");
        assert!(Room::default().look(Path::new("/no such place"), 0).is_none());
    }
}
