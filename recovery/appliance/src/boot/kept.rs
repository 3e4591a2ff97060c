//! Boot traces across a restart: one file in the data directory, written when something was seen, read once at the start.
//!
//! A file and no table: the traces are of this appliance alone, bounded, and lost without harm. It is replaced whole, so that a power cut
//! leaves the old one. It must never: keep the appliance from starting.

use std::{fs, io, path::Path, sync::PoisonError};

use pxe::trace::Trace;

use super::BootDesk;

/// Its name in the data directory.
const FILE: &str = "boot-traces.json";
/// Traces kept, the newest; one is a few kilobytes.
const TRACES_MOST: usize = 1024;
/// A longer file is none of ours.
const FILE_LEN_MAX: u64 = 64 << 20;

impl BootDesk {
    /// Writes the traces of endpoints on record down, where they have changed.
    ///
    /// # Errors
    /// When the data directory cannot be written.
    pub fn keep_traces(&self, dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(&self.traces().newest(TRACES_MOST))?;
        let hash = blake3::hash(&text);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if *kept == Some(hash) {
            return Ok(());
        }
        let (path, fresh) = (dir.join(FILE), dir.join(FILE).with_extension("new"));
        fs::write(&fresh, text)?;
        fs::File::open(&fresh)?.sync_all()?;
        fs::rename(&fresh, &path)?;
        *kept = Some(hash);
        Ok(())
    }

    /// Takes the traces back that an earlier run wrote down. One that cannot be read is told and left alone.
    pub fn recall_traces(&self, dir: &Path) {
        match read(&dir.join(FILE)) {
            Ok(traces) => self.traces().restore(traces),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, file = FILE, "earlier boot traces cannot be read; they begin anew")
            }
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<Trace>> {
    if fs::metadata(path)?.len() > FILE_LEN_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too long"));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pxe::{BootEvent, BootEvents as _, Client, ClientClass};
    use serde_json::json;

    use super::*;
    use crate::{clock::SystemClock, testing::Bench};

    fn desk(bench: &Bench) -> BootDesk {
        BootDesk::new(Arc::clone(&bench.journal.tickets), Arc::new(SystemClock))
    }

    #[tokio::test]
    async fn a_trace_survives_a_restart_and_a_broken_file_stops_nothing() {
        let bench = Bench::new("").await;
        bench.add("press-01", "02:00:00:00:00:01", json!({})).await;
        let dir = tempfile::tempdir().unwrap();
        let macs = [recovery_protocol::MacAddr([2, 0, 0, 0, 0, 1])];
        let hops = |desk: &BootDesk| desk.boot(None, &macs, bench.journal.now()).hops;
        let client = Client { class: ClientClass::Pxe, ..Client::bare([2, 0, 0, 0, 0, 1].into(), None) };
        let before = desk(&bench);
        let interface = std::net::Ipv4Addr::LOCALHOST;
        before.event(BootEvent::DiscoverSeen { client, interface, secs: 0, relay: None });
        before.keep_traces(dir.path()).unwrap();
        let file = dir.path().join(FILE);
        fs::remove_file(&file).unwrap();
        before.keep_traces(dir.path()).unwrap();
        assert!(!file.exists(), "nothing new, nothing written");

        let after = desk(&bench);
        after.recall_traces(dir.path());
        assert!(hops(&after).is_empty(), "no file");
        *before.kept.lock().unwrap() = None;
        before.keep_traces(dir.path()).unwrap();
        after.recall_traces(dir.path());
        assert_eq!(hops(&after), hops(&before));
        assert_eq!(hops(&after).len(), 1);

        fs::write(&file, "[{").unwrap();
        let broken = desk(&bench);
        broken.recall_traces(dir.path());
        assert!(hops(&broken).is_empty());
    }
}
