//! One channel's messages, from the table to whoever takes them.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    email::Email,
    event::Event,
    message::{Letterhead, Message},
    mqtt::Mqtt,
};
use crate::{
    config::Channel,
    db::{self, DbError, notice::Notice},
    evidence::Fact,
    forward::{self, syslog::Syslog, webhook::Webhook},
    jobs::journal::Journal,
};

/// Messages that go out together, at most.
const BATCH: u64 = 16;
/// What was told within this time goes out together.
const GATHER: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);
const BACKOFF_MIN: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Nothing is due for longer than this without a look.
const LOOK: Duration = Duration::from_secs(60);
/// A message that nobody took for so long is given up: it lies with the dead letters.
const GIVE_UP_MS: u64 = 3 * 24 * 3_600_000;

/// Under which name a channel's dead letters lie.
pub fn grave(channel: &str) -> String {
    format!("notify:{channel}")
}

/// A way out.
pub enum Way {
    Email(Email),
    Webhook(Box<Webhook>),
    Syslog(Syslog),
    Mqtt(Mqtt),
}

impl Way {
    /// Read what the setting names.
    ///
    /// # Errors
    /// In a sentence.
    pub fn open(channel: &Channel, site: &str) -> Result<Self, String> {
        Ok(match channel {
            Channel::Email(email) => Self::Email(email.clone()),
            Channel::Webhook(hook) => Self::Webhook(Box::new(Webhook::open(hook, site)?)),
            Channel::Syslog(siem) => Self::Syslog(Syslog::open(siem, site)?),
            Channel::Mqtt(mqtt) => Self::Mqtt(mqtt.clone()),
        })
    }

    /// Send all of them, or as good as none: what was taken before a failure is sent again with its id.
    ///
    /// # Errors
    /// In a sentence.
    pub async fn send(&self, messages: &[Message], head: &Letterhead) -> Result<(), String> {
        match self {
            Self::Email(email) => email.send(messages, head).await,
            Self::Mqtt(mqtt) => mqtt.send(messages, head).await,
            Self::Syslog(syslog) => syslog.tell(messages).await,
            Self::Webhook(hook) => {
                for message in messages {
                    hook.tell(message).await?;
                }
                Ok(())
            }
        }
    }
}

/// Takes one channel's messages to it.
pub struct Courier {
    name: String,
    way: Way,
    head: Arc<Letterhead>,
    journal: Arc<Journal>,
    backoff: Duration,
}

enum Step {
    /// Something went out; there may be more.
    Sent,
    /// Nothing is due.
    Idle,
    /// It was not taken.
    Failed,
}

impl Courier {
    /// For this channel.
    pub fn new(name: String, way: Way, head: Arc<Letterhead>, journal: Arc<Journal>) -> Self {
        Self { name, way, head, journal, backoff: BACKOFF_MIN }
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
        loop {
            match self.step().await {
                Ok(Step::Sent) => {}
                Ok(Step::Idle) => {
                    let wait = self.until_due().await.unwrap_or(LOOK);
                    tokio::select! {
                        changed = changes.changed() => if changed.is_err() { return },
                        () = tokio::time::sleep(wait) => {}
                    }
                    tokio::time::sleep(GATHER).await;
                }
                Ok(Step::Failed) => tokio::time::sleep(self.backoff).await,
                Err(error) => {
                    tracing::error!(
                        channel = self.name,
                        error = error.chain(),
                        "messages wait for the database"
                    );
                    tokio::time::sleep(self.backoff).await;
                }
            }
        }
    }

    async fn until_due(&self) -> Result<Duration, DbError> {
        let due = db::notice::next_due(&mut *self.journal.db.read().await?, &self.name).await?;
        let left = due.map_or(LOOK, |due| Duration::from_millis(due.saturating_sub(self.journal.now())));
        Ok(left.clamp(Duration::from_millis(100), LOOK))
    }

    async fn step(&mut self) -> Result<Step, DbError> {
        let (notices, messages) = self.due().await?;
        if notices.is_empty() {
            return Ok(Step::Idle);
        }
        let sent = if messages.is_empty() {
            Ok(())
        } else {
            let sent = tokio::time::timeout(PATIENCE, self.way.send(&messages, &self.head)).await;
            sent.unwrap_or_else(|_| Err(format!("it did not take them within {} s", PATIENCE.as_secs())))
        };
        let mut tx = self.journal.begin().await?;
        let at = tx.at;
        match sent {
            Ok(()) => {
                for notice in &notices {
                    db::notice::done(tx.conn(), &self.name, notice.seq).await?;
                }
                let told = u64::try_from(messages.len()).unwrap_or(u64::MAX);
                db::notice::took(tx.conn(), &self.name, told, at).await?;
                tx.commit().await?;
                self.backoff = BACKOFF_MIN;
                Ok(Step::Sent)
            }
            Err(why) => {
                tracing::warn!(channel = self.name, why, "a message was not taken; it is tried again");
                self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
                let later = at.saturating_add(u64::try_from(self.backoff.as_millis()).unwrap_or(u64::MAX));
                for notice in &notices {
                    if at.saturating_sub(notice.at) > GIVE_UP_MS && notice.tries > 0 {
                        db::forward::bury(tx.conn(), &grave(&self.name), notice.seq, at, &why).await?;
                        db::notice::done(tx.conn(), &self.name, notice.seq).await?;
                    } else {
                        db::notice::postpone(tx.conn(), &self.name, notice.seq, later).await?;
                    }
                }
                let begun = db::notice::standing(tx.conn(), &self.name).await?.failure.is_empty();
                db::notice::failed(tx.conn(), &self.name, &why, at).await?;
                // Once for each time that it begins, not for each try.
                if begun {
                    let facts = json!({ "channel": self.name, "failure": why });
                    tx.note(Fact::new("notify.failure", "appliance", facts)).await?;
                }
                tx.commit().await?;
                Ok(Step::Failed)
            }
        }
    }

    /// What is due, and what is said of it. What is not in the log any more says nothing.
    async fn due(&self) -> Result<(Vec<Notice>, Vec<Message>), DbError> {
        let mut conn = self.journal.db.read().await?;
        let notices = db::notice::due(&mut conn, &self.name, self.journal.now(), BATCH).await?;
        let mut messages = Vec::new();
        for notice in &notices {
            let row = db::log::get(&mut conn, notice.seq).await?;
            let entry = row.as_ref().and_then(forward::entry);
            if let (Some(row), Some(entry)) = (row, entry)
                && let Some(event) = Event::of(&entry)
            {
                messages.push(self.head.message(forward::id(&row), &entry, event));
            }
        }
        Ok((notices, messages))
    }
}

#[cfg(test)]
impl Courier {
    /// One step, without its pauses.
    pub async fn once(&mut self) -> Result<(), DbError> {
        self.step().await.map(drop)
    }

    /// What waits to be tried again is tried now.
    pub async fn make_due(&self) {
        let mut tx = self.journal.db.begin().await.unwrap();
        for notice in db::notice::due(&mut tx, &self.name, u64::MAX, u64::MAX).await.unwrap() {
            db::notice::postpone(&mut tx, &self.name, notice.seq, 0).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
}
