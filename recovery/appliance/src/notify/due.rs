//! What nobody did for too long: a drill, a backup, an anchor of the evidence log. Each is said once a day until it is done.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    config::{Config, Notify},
    db::{self, DbError},
    evidence::{Fact, anchor::Anchors},
    forward,
    jobs::journal::Journal,
};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Entries that no checkpoint covers for so long get one, though they are few.
const UNSIGNED_MS: u64 = HOUR_MS;

/// When what must happen again and again happened last, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ages {
    /// A backup was made.
    pub backup: Option<u64>,
    /// A drill recovered an endpoint.
    pub drill: Option<u64>,
    /// The first entry of the evidence log that is not anchored was written; None: all are.
    pub unanchored: Option<u64>,
    /// The first entry of the log.
    pub begun: Option<u64>,
}

/// Says what is due.
pub struct Due {
    settings: Notify,
    anchors: Anchors,
    journal: Arc<Journal>,
}

impl Ages {
    /// As they are now.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn now(conn: &mut db::Conn, anchors: &Anchors) -> Result<Self, DbError> {
        // A file that cannot be read anchors nothing; the writer of anchors says why.
        let anchored = anchors.last().ok().flatten().map_or(0, |last| last.size());
        let first = db::log::page(conn, anchored, u64::MAX, 1).await?.pop();
        Ok(Self {
            backup: db::notice::marked(conn, "backup").await?,
            drill: db::notice::marked(conn, "drill").await?,
            unanchored: first.as_ref().and_then(forward::entry).map(|entry| entry.at_unix_ms),
            begun: db::notice::marked(conn, "begun").await?,
        })
    }
}

impl Due {
    /// By this configuration.
    pub fn new(config: &Config, journal: Arc<Journal>) -> Self {
        let anchors = Anchors::new(config.evidence.anchors(&config.data_dir), journal.origin());
        Self { settings: config.notify.clone(), anchors, journal }
    }

    /// Look, and say what is due.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn look(&self) -> Result<(), DbError> {
        let now = self.journal.now();
        self.sign(now).await?;
        let ages = self.ages().await?;
        let days = |days: Option<u32>| days.map(|days| u64::from(days) * DAY_MS);
        let since = |last: Option<u64>| last.or(ages.begun);
        let settings = &self.settings;
        for (what, last, since, limit) in [
            ("backup", ages.backup, since(ages.backup), days(settings.backup_every_days)),
            ("drill", ages.drill, since(ages.drill), days(settings.drill_every_days)),
            ("anchor", None, ages.unanchored, Some(u64::from(settings.anchor_within_h) * HOUR_MS)),
        ] {
            if let (Some(since), Some(limit)) = (since, limit)
                && now > since.saturating_add(limit)
            {
                self.say(what, last, since, limit, now).await?;
            }
        }
        Ok(())
    }

    /// When things happened last.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn ages(&self) -> Result<Ages, DbError> {
        Ages::now(&mut *self.journal.db.read().await?, &self.anchors).await
    }

    /// A few entries that wait for more before they are signed do not wait for ever.
    async fn sign(&self, now: u64) -> Result<(), DbError> {
        let oldest = {
            let mut conn = self.journal.db.read().await?;
            let signed = db::log::last_checkpoint(&mut conn).await?.map_or(0, |(size, _)| size);
            db::log::page(&mut conn, signed, u64::MAX, 1).await?.pop()
        };
        let oldest = oldest.as_ref().and_then(forward::entry).map(|entry| entry.at_unix_ms);
        if oldest.is_some_and(|at| now > at.saturating_add(UNSIGNED_MS)) {
            self.journal.sign_log().await?;
        }
        Ok(())
    }

    async fn say(
        &self,
        what: &str,
        last: Option<u64>,
        since: u64,
        limit: u64,
        now: u64,
    ) -> Result<(), DbError> {
        let told = format!("told.{what}");
        let mut tx = self.journal.begin().await?;
        let before = db::notice::marked(tx.conn(), &told).await?;
        // It was told of this very neglect, and not a day ago.
        if before.is_some_and(|before| before > since && now < before.saturating_add(DAY_MS)) {
            return Ok(());
        }
        let day = |at: Option<u64>| {
            let at = at.and_then(|at| jiff::Timestamp::from_millisecond(i64::try_from(at).ok()?).ok());
            at.map_or(Value::from("never"), |at| format!("{at:.0}").into())
        };
        let last = if what == "anchor" { day(Some(since)) } else { day(last) };
        let name = if what == "anchor" { "oldest_entry_without" } else { "last" };
        let facts = json!({ (name): last, "wanted_within_hours": limit / HOUR_MS });
        tx.note(Fact::new(&format!("due.{what}"), "appliance", facts)).await?;
        db::notice::mark(tx.conn(), &told, now).await?;
        tx.commit().await
    }
}
