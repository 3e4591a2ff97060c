//! DHCP leases across restarts: the boot layer tells, a task writes, the next start reads.
//!
//! The packet path must not wait for a disk, so changes pass through a bounded queue; when it is full the newest is lost,
//! and with it at most the memory of one lease after a restart. It must never: decide who gets an address.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use pxe::dhcp::lease::{Lease, LeaseJournal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    db::{self, Db, DbError},
};

/// Changes that may wait to be written.
const QUEUE_LEN: usize = 256;

enum Change {
    Granted(Lease),
    Released(Ipv4Addr),
}

/// What the boot layer tells.
pub struct Leases {
    queue: mpsc::Sender<Change>,
    loaded: Vec<Lease>,
}

/// What writes it.
pub struct LeaseWriter {
    changes: mpsc::Receiver<Change>,
    db: Db,
    clock: Arc<dyn Clock>,
}

/// Read the leases that still run.
///
/// # Errors
/// [`DbError`].
pub async fn open(db: Db, clock: Arc<dyn Clock>) -> Result<(Leases, LeaseWriter), DbError> {
    let now = clock.now_unix_ms();
    let rows = db::lease::running(&mut *db.read().await?, now).await?;
    let loaded = rows.iter().filter_map(|row| {
        let remaining = Duration::from_millis(row.until.saturating_sub(now));
        Some(Lease { addr: row.address.parse().ok()?, mac: row.mac.parse().ok()?, remaining })
    });
    let (queue, changes) = mpsc::channel(QUEUE_LEN);
    Ok((Leases { queue, loaded: loaded.collect() }, LeaseWriter { changes, db, clock }))
}

impl LeaseJournal for Leases {
    fn granted(&self, lease: Lease) {
        if self.queue.try_send(Change::Granted(lease)).is_err() {
            tracing::warn!(addr = %lease.addr, "a lease was not written down: the database is slow");
        }
    }

    fn released(&self, addr: Ipv4Addr) {
        // Lost: it ends by itself.
        let _ = self.queue.try_send(Change::Released(addr));
    }

    fn load(&self) -> Vec<Lease> {
        self.loaded.clone()
    }
}

impl LeaseWriter {
    /// Write until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let change = tokio::select! {
                () = stop.cancelled() => return,
                change = self.changes.recv() => change,
            };
            let Some(change) = change else { return stop.cancelled().await };
            if let Err(error) = self.write(change).await {
                tracing::error!(error = error.chain(), "a lease was not written down");
            }
        }
    }

    async fn write(&self, change: Change) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        match change {
            Change::Granted(lease) => {
                let now = self.clock.now_unix_ms();
                let until =
                    now.saturating_add(u64::try_from(lease.remaining.as_millis()).unwrap_or(u64::MAX));
                let row =
                    db::lease::Lease { address: lease.addr.to_string(), mac: lease.mac.to_string(), until };
                db::lease::put(&mut tx, &row, now).await?;
            }
            Change::Released(addr) => db::lease::forget(&mut tx, &addr.to_string()).await?,
        }
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::db::conformance::database;

    #[tokio::test]
    async fn leases_come_back_after_a_restart_and_released_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let db = database(&path).await;
        let (leases, writer) = open(db.clone(), Arc::new(SystemClock)).await.unwrap();
        let lease = |last: u8| Lease {
            addr: Ipv4Addr::new(10, 0, 0, last),
            mac: [2, 0, 0, 0, 0, last].into(),
            remaining: Duration::from_secs(600),
        };
        for last in [1, 2] {
            leases.granted(lease(last));
        }
        leases.released(lease(2).addr);
        // The same endpoint moves: its old address is free.
        leases.granted(Lease { addr: Ipv4Addr::new(10, 0, 0, 9), ..lease(1) });
        drop(leases);
        let mut writer = writer;
        while let Ok(change) = writer.changes.try_recv() {
            writer.write(change).await.unwrap();
        }
        db.close().await;
        let (leases, _) = open(database(&path).await, Arc::new(SystemClock)).await.unwrap();
        let back: Vec<_> = leases.load().iter().map(|lease| (lease.addr, lease.mac)).collect();
        assert_eq!(back, [(Ipv4Addr::new(10, 0, 0, 9), lease(1).mac)]);
    }
}
