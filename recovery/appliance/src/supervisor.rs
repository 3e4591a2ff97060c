//! What the service manager is told: that the appliance serves, that it is alive, that it stops (sd_notify(3)).
//!
//! Alive means that time passes for jobs. A timer of its own would tell of an appliance that answers nobody that it is well: so the
//! watchdog is fed only when the runner of jobs has gone round since the last time. Without a service manager nothing is said to anybody.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Every port is bound, and what was open is taken up.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It ends, because it was told to or because it must.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Feeds the service manager's watchdog while the appliance is alive.
pub struct Watchdog {
    turns: Arc<AtomicU64>,
    seen: u64,
}

impl Watchdog {
    /// Alive is what `turns` counts.
    pub fn new(turns: Arc<AtomicU64>) -> Self {
        Self { turns, seen: 0 }
    }

    /// Until told to stop. Where no watchdog is asked for, it only waits.
    pub async fn run(mut self, stop: CancellationToken) {
        let Some(limit) = sd_notify::watchdog_enabled() else { return stop.cancelled().await };
        // Three times within the limit, so that one turn that takes long is no death.
        // The first look comes after the first stretch: at once, nothing could have counted yet.
        let stretch = (limit / 3).max(Duration::from_millis(1));
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + stretch, stretch);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => {}
            }
            if self.is_alive() {
                tell(&[NotifyState::Watchdog]);
            } else {
                tracing::error!("no time passes for jobs: the service manager will restart the appliance");
            }
        }
    }

    /// Whether there was a turn since this was asked last.
    fn is_alive(&mut self) -> bool {
        let turns = self.turns.load(Ordering::Relaxed);
        std::mem::replace(&mut self.seen, turns) != turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alive_is_who_has_gone_round_since_the_last_look() {
        let turns = Arc::new(AtomicU64::new(0));
        let mut watchdog = Watchdog::new(Arc::clone(&turns));
        assert!(!watchdog.is_alive(), "nothing has gone round yet");
        turns.fetch_add(1, Ordering::Relaxed);
        assert!(watchdog.is_alive());
        assert!(!watchdog.is_alive(), "it stands still");
        turns.fetch_add(7, Ordering::Relaxed);
        assert!(watchdog.is_alive());
    }
}
