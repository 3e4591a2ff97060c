//! Reads the evidence log once, entry by entry: who is to be told of it and when, and when a backup or a drill was last.

use std::{sync::Arc, time::Duration};

use recovery_protocol::evidence::Entry;
use tokio_util::sync::CancellationToken;

use super::{due::Due, event::Event};
use crate::{
    config::{Config, Rule},
    db::{self, Conn, DbError, notice::Notice},
    forward,
    jobs::journal::Journal,
    metrics::Counted,
};

/// How far it has the log.
const CURSOR: &str = "notify";
const PAGE: u64 = 512;
/// New entries are gathered for so long.
const GATHER: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_secs(5);
/// What happens by time alone is looked for so often.
const LOOK: Duration = Duration::from_secs(60);

/// Decides who is told.
pub struct Mind {
    config: Config,
    journal: Arc<Journal>,
    due: Due,
    counted: Arc<Counted>,
    begun: bool,
}

impl Mind {
    /// By this configuration.
    pub fn new(config: &Config, journal: Arc<Journal>, counted: Arc<Counted>) -> Self {
        let due = Due::new(config, Arc::clone(&journal));
        Self { config: config.clone(), journal, due, counted, begun: false }
    }

    /// Until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.go() => {}
        }
    }

    async fn go(&mut self) {
        let mut changes = self.journal.changes();
        let mut look = tokio::time::interval(LOOK);
        loop {
            match self.step().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(error = error.chain(), "nobody is told what happens");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                _ = look.tick() => {
                    if let Err(error) = self.due.look().await {
                        tracing::error!(error = error.chain(), "what is due was not looked for");
                    }
                }
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// From now on its channels are told.
    async fn begin(&mut self) -> Result<(), DbError> {
        let mut tx = self.journal.db.begin().await?;
        for name in self.config.notify.channels.keys() {
            db::notice::know(&mut tx, name, self.journal.now()).await?;
        }
        tx.commit().await?;
        self.begun = true;
        Ok(())
    }

    /// What is next in the log; false where there is nothing.
    pub async fn step(&mut self) -> Result<bool, DbError> {
        if !self.begun {
            self.begin().await?;
        }
        let rows = {
            let mut conn = self.journal.db.read().await?;
            let after = db::forward::cursor(&mut conn, CURSOR).await?.map_or(0, |(seq, _)| seq);
            db::log::page(&mut conn, after, u64::MAX, PAGE).await?
        };
        let Some(last) = rows.last().map(|row| row.seq) else { return Ok(false) };
        let at = self.journal.now();
        // Beside the journal: nothing of this is a change that others wait for, and couriers look by themselves when it is committed.
        let mut tx = self.journal.db.begin().await?;
        let mut told = false;
        for row in &rows {
            let Some(entry) = forward::entry(row) else { continue };
            remember(&mut tx, &entry).await?;
            self.counted.see(&mut tx, &entry).await?;
            if let Some(event) = Event::of(&entry) {
                told |= self.queue(&mut tx, &entry, event, at).await?;
            }
        }
        db::forward::advance(&mut tx, CURSOR, last, at).await?;
        tx.commit().await?;
        if told {
            self.journal.touch();
        }
        Ok(true)
    }

    async fn queue(&self, conn: &mut Conn, entry: &Entry, event: Event, now: u64) -> Result<bool, DbError> {
        let mut told = false;
        for rule in self.config.notify.rules.iter().filter(|rule| rule.events.contains(&event)) {
            if !self.means(conn, rule, entry).await? {
                continue;
            }
            let due = if rule.even_then.contains(&event) { now } else { self.after_quiet(rule, now) };
            let notice =
                Notice { seq: entry.seq, event: event.as_str().to_owned(), at: entry.at_unix_ms, tries: 0 };
            for channel in &rule.channels {
                // A channel that is new is not told the whole past.
                if db::notice::standing(conn, channel).await?.since <= entry.at_unix_ms {
                    db::notice::queue(conn, channel, &notice, due).await?;
                    told = true;
                }
            }
        }
        Ok(told)
    }

    async fn means(&self, conn: &mut Conn, rule: &Rule, entry: &Entry) -> Result<bool, DbError> {
        let (Some(selector), Some(id)) = (&rule.selector, &entry.endpoint) else {
            return Ok(rule.selector.is_none());
        };
        let Some(endpoint) = db::endpoint::get(conn, id).await? else { return Ok(false) };
        let class = self.config.rails(&endpoint.record).safety_class;
        Ok(endpoint.is_meant(selector, self.config.site.as_str(), class))
    }

    /// When it is said: now, or when the last window of quiet that is open closes.
    fn after_quiet(&self, rule: &Rule, now: u64) -> u64 {
        let zone = self.config.zone();
        let left = rule.quiet.iter().filter_map(|window| window.left(now, &zone)).max().unwrap_or_default();
        now.saturating_add(left)
    }
}

/// When what must happen again and again happened last.
async fn remember(conn: &mut Conn, entry: &Entry) -> Result<(), DbError> {
    let recovered = entry.kind == "transition" && Event::of(entry) == Some(Event::Recovered);
    let what = match entry.kind.as_str() {
        "state.saved" => "backup",
        _ if recovered && entry.mode == "drill" => "drill",
        _ if entry.seq == 1 => "begun",
        _ => return Ok(()),
    };
    db::notice::mark(conn, what, entry.at_unix_ms).await
}

#[cfg(test)]
impl Mind {
    /// What is due by time alone.
    pub async fn look(&self) -> Result<(), DbError> {
        self.due.look().await
    }

    /// When things happened last.
    pub async fn ages(&self) -> Result<super::Ages, DbError> {
        self.due.ages().await
    }
}
