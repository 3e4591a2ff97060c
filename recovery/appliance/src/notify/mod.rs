//! Who is told what happens: people by e-mail, systems by webhook, syslog and MQTT.
//!
//! ```text
//! evidence log ─► Mind: which event, which rule ─► table `notice` (with the cursor, in one transaction) ─► Courier of a channel ─► taken
//!       ▲                     └─ quiet hours: not before their end                        └─ not taken: later, for three days
//!       └─ Due: no drill, no backup, no anchor for too long
//! ```
//!
//! What happened is in the log in the transaction of the fact, so a message is owed from then on; it is sent at least once, with the same id
//! each time. It must never: take an order from a channel, or write an entry for each message.

mod courier;
pub mod due;
pub mod email;
mod event;
mod message;
pub mod mind;
pub mod mqtt;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use recovery_protocol::{Problem, notify::ChannelView, operator::SinkView};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::{
    courier::{Courier, Way},
    message::Letterhead,
    mind::Mind,
    mqtt::states::States,
};
pub use self::{due::Ages, event::Event, message::Message};
use crate::{
    config::{Channel, Config},
    console::Texts,
    db::{self, Conn, DbError},
    evidence::Fact,
    forward,
    jobs::journal::Journal,
    metrics::Counted,
};

/// A test message is waited for so long.
const TEST_PATIENCE: Duration = Duration::from_secs(20);
/// Parts that another configuration takes the place of may say good-bye for so long.
const LEAVE: Duration = Duration::from_secs(5);
/// And looked for so often, where another task sends it.
const TEST_LOOK: Duration = Duration::from_millis(100);

/// Messages of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The channel.
    pub channel: String,
    /// Messages that it took.
    pub sent: u64,
    /// Tries that failed.
    pub failures: u64,
    /// When what the oldest message that waits tells of happened, milliseconds since 1970.
    pub oldest_unix_ms: Option<u64>,
}

/// All that tells others what happens here. One task runs it.
pub struct Followers {
    parts: Parts,
    next: Arc<Next>,
}

/// What one configuration names.
pub struct Parts {
    sinks: Vec<forward::Sink>,
    mind: Mind,
    couriers: Vec<Courier>,
    states: Vec<States>,
}

/// What takes the place of the parts that run.
#[derive(Default)]
struct Next {
    parts: Mutex<Option<Parts>>,
    told: Notify,
}

/// How it stands with all channels, and their tests. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Channels {
    named: Arc<RwLock<Named>>,
    counted: Arc<Counted>,
    next: Arc<Next>,
}

/// Parts that do not run yet, and what is to be known of them.
pub struct Opened {
    parts: Parts,
    named: Named,
}

#[derive(Clone, Default)]
struct Named {
    head: Option<Arc<Letterhead>>,
    known: Arc<BTreeMap<String, Channel>>,
    troubles: Arc<BTreeMap<String, Arc<Mutex<String>>>>,
    sinks: forward::Standing,
}

/// All that the configuration names.
///
/// # Errors
/// What a file of theirs is not, in a sentence.
pub fn open(config: &Config, journal: &Arc<Journal>, channels: &Channels) -> Result<Opened, String> {
    let (sinks, standing) = forward::open(&config.evidence, config.site.as_str(), journal)?;
    let head = Arc::new(letterhead(config));
    let (mut couriers, mut states, mut troubles) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (name, channel) in &config.notify.channels {
        let way = Way::open(channel, &head.site)?;
        couriers.push(Courier::new(name.clone(), way, Arc::clone(&head), Arc::clone(journal)));
        if let Channel::Mqtt(mqtt) = channel {
            let trouble = Arc::new(Mutex::new(String::new()));
            troubles.insert(name.clone(), Arc::clone(&trouble));
            states.push(States::new(mqtt.clone(), head.site.clone(), Arc::clone(journal), trouble));
        }
    }
    let mind = Mind::new(config, Arc::clone(journal), Arc::clone(&channels.counted));
    let known = Arc::new(config.notify.channels.clone());
    let named = Named { head: Some(head), known, troubles: Arc::new(troubles), sinks: standing };
    Ok(Opened { parts: Parts { sinks, mind, couriers, states }, named })
}

/// All that the configuration names at a start.
///
/// # Errors
/// As [`open`].
pub fn start(config: &Config, journal: &Arc<Journal>) -> Result<(Followers, Channels), String> {
    let channels = Channels::default();
    let Opened { parts, named } = open(config, journal, &channels)?;
    *channels.named.write().unwrap_or_else(PoisonError::into_inner) = named;
    Ok((Followers { parts, next: Arc::clone(&channels.next) }, channels))
}

/// Whether every file that a channel, the SIEM or a webhook names can be read.
///
/// # Errors
/// What one is not, in a sentence.
pub fn readable(config: &Config) -> Result<(), String> {
    let site = config.site.as_str();
    for channel in config.notify.channels.values() {
        Way::open(channel, site)?;
    }
    if let Some(siem) = &config.evidence.siem {
        forward::syslog::Syslog::open(siem, site)?;
    }
    for hook in config.evidence.webhooks.values() {
        forward::webhook::Webhook::open(hook, site)?;
    }
    Ok(())
}

fn letterhead(config: &Config) -> Letterhead {
    let address =
        config.notify.address.as_ref().or(config.provider.as_ref().map(|provider| &provider.address));
    Letterhead {
        site: config.site.to_string(),
        address: address.map(|address| address.trim_end_matches('/').to_owned()),
        texts: Texts::of(&config.notify.language).unwrap_or_else(Texts::here),
    }
}

impl Followers {
    /// The parts, for tests that take their steps.
    #[cfg(test)]
    pub fn parts(self) -> Parts {
        self.parts
    }

    /// Until told to stop. Cancel-safe: what was sent and not noted is sent again.
    pub async fn run(self, stop: CancellationToken) {
        let Self { mut parts, next } = self;
        loop {
            let now = stop.child_token();
            let run = parts.run(now.clone());
            tokio::pin!(run);
            tokio::select! {
                () = &mut run => return,
                () = next.told.notified() => {}
            }
            now.cancel();
            // A broker is told that we leave; nobody else is waited for.
            let _ = tokio::time::timeout(LEAVE, run).await;
            let Some(new) = next.parts.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
            parts = new;
        }
    }
}

impl Parts {
    /// The part that reads the log.
    #[cfg(test)]
    pub fn mind(self) -> Mind {
        self.mind
    }

    async fn run(self, stop: CancellationToken) {
        let Self { sinks, mind, couriers, states } = self;
        let mut all: Vec<BoxFuture<'static, ()>> = vec![mind.run(stop.clone()).boxed()];
        all.extend(sinks.into_iter().map(|sink| sink.run(stop.clone()).boxed()));
        all.extend(couriers.into_iter().map(|courier| courier.run(stop.clone()).boxed()));
        all.extend(states.into_iter().map(|states| states.run(stop.clone()).boxed()));
        join_all(all).await;
    }
}

impl Channels {
    fn named(&self) -> Named {
        self.named.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// These take the place of those that run.
    pub fn replace(&self, opened: Opened) {
        *self.named.write().unwrap_or_else(PoisonError::into_inner) = opened.named;
        *self.next.parts.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened.parts);
        self.next.told.notify_one();
    }

    /// What the log tells, counted since the start.
    #[must_use]
    pub fn counted(&self) -> &Counted {
        &self.counted
    }

    /// How it stands with who follows the evidence log.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn sinks(&self, conn: &mut Conn) -> Result<Vec<SinkView>, DbError> {
        self.named().sinks.view(conn).await
    }

    /// Every channel by name.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn of_rules(&self, conn: &mut Conn) -> Result<Vec<ChannelView>, DbError> {
        let mut views = Vec::new();
        let named = self.named();
        for (name, channel) in named.known.iter() {
            views.push(named.one(conn, name, channel).await?);
        }
        Ok(views)
    }

    /// Every channel by name, and who follows the evidence log after them.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn view(&self, conn: &mut Conn) -> Result<Vec<ChannelView>, DbError> {
        let mut views = self.of_rules(conn).await?;
        for sink in self.sinks(conn).await? {
            let kind = if sink.name == "siem" { "syslog" } else { "webhook" };
            views.push(ChannelView {
                kind: kind.to_owned(),
                evidence: true,
                to: "the evidence log".to_owned(),
                delivered_unix_ms: sink.moved_unix_ms,
                failed_unix_ms: None,
                failure: sink.trouble,
                waiting: sink.behind,
                oldest_unix_ms: sink.oldest_unix_ms,
                dead: sink.dead,
                last_dead: sink.last_dead,
                name: sink.name,
            });
        }
        Ok(views)
    }

    /// Messages of each channel.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn told(&self, conn: &mut Conn) -> Result<Vec<Told>, DbError> {
        let mut all = Vec::new();
        for name in self.named().known.keys() {
            let standing = db::notice::standing(conn, name).await?;
            let (_, oldest_unix_ms) = db::notice::waiting(conn, name).await?;
            let (sent, failures) = (standing.sent, standing.failures);
            all.push(Told { channel: name.clone(), sent, failures, oldest_unix_ms });
        }
        Ok(all)
    }

    /// Send a test message, and wait until the channel took it. 404 `unknown-channel`, 502 `channel-failed`.
    ///
    /// # Errors
    /// [`Problem`].
    pub async fn test(&self, name: &str, by: &str, journal: &Journal) -> Result<(), Problem> {
        let named = self.named();
        let sent = match (named.known.get(name), &named.head) {
            (Some(channel), Some(head)) => self.test_channel(name, channel, head, by, journal).await?,
            _ if named.sinks.knows(name) => self.test_sink(name, by, journal).await?,
            _ => {
                let remedy = "list them with `groundstate notify list`; they stand in the configuration under [notify.channels]";
                return Err(Problem::new(
                    404,
                    "unknown-channel",
                    "No such channel",
                    format!("`{name}`"),
                    remedy,
                ));
            }
        };
        sent.map_err(|why| {
            let remedy =
                "mend what it names: address, port, certificate, user or password; then test it again";
            Problem::new(502, "channel-failed", "The channel did not take the test message", why, remedy)
        })
    }

    async fn test_channel(
        &self,
        name: &str,
        channel: &Channel,
        head: &Letterhead,
        by: &str,
        journal: &Journal,
    ) -> Result<Result<(), String>, DbError> {
        let message = head.test(by, journal.now());
        let send = async { Way::open(channel, &head.site)?.send(&[message], head).await };
        let sent = tokio::time::timeout(TEST_PATIENCE, send).await;
        let sent = sent.unwrap_or_else(|_| Err(too_long()));
        let mut tx = journal.begin().await?;
        let at = tx.at;
        db::notice::know(tx.conn(), name, at).await?;
        match &sent {
            Ok(()) => db::notice::took(tx.conn(), name, 1, at).await?,
            Err(why) => db::notice::failed(tx.conn(), name, why, at).await?,
        }
        let facts = json!({ "channel": name, "failure": sent.as_ref().err() });
        tx.note(Fact::new(forward::TEST, by, facts)).await?;
        tx.commit().await?;
        Ok(sent)
    }

    /// Who follows the evidence log gets an entry that says so, the way that every other one goes.
    async fn test_sink(
        &self,
        name: &str,
        by: &str,
        journal: &Journal,
    ) -> Result<Result<(), String>, DbError> {
        journal.note(Fact::new(forward::TEST, by, json!({ "channel": name }))).await?;
        let wanted = db::log::last(&mut *journal.db.read().await?).await?.map_or(0, |(seq, _)| seq);
        let mut look = tokio::time::interval(TEST_LOOK);
        let taken = async {
            loop {
                look.tick().await;
                let mut conn = journal.db.read().await?;
                if db::forward::cursor(&mut conn, name).await?.is_some_and(|(seq, _)| seq >= wanted) {
                    return Ok::<_, DbError>(());
                }
            }
        };
        match tokio::time::timeout(TEST_PATIENCE, taken).await {
            Ok(taken) => taken.map(Ok),
            Err(_) => {
                let views = self.sinks(&mut *journal.db.read().await?).await?;
                let trouble = views.into_iter().find(|view| view.name == name).map(|view| view.trouble);
                Ok(Err(trouble.filter(|why| !why.is_empty()).unwrap_or_else(too_long)))
            }
        }
    }
}

impl Named {
    async fn one(&self, conn: &mut Conn, name: &str, channel: &Channel) -> Result<ChannelView, DbError> {
        let standing = db::notice::standing(conn, name).await?;
        let (waiting, oldest_unix_ms) = db::notice::waiting(conn, name).await?;
        let (dead, last_dead) = db::forward::dead(conn, &courier::grave(name)).await?;
        let trouble = self
            .troubles
            .get(name)
            .map(|trouble| trouble.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let failure =
            if standing.failure.is_empty() { trouble.unwrap_or_default() } else { standing.failure };
        let site = self.head.as_ref().map_or("", |head| &head.site);
        Ok(ChannelView {
            name: name.to_owned(),
            kind: channel.kind().to_owned(),
            evidence: false,
            to: match channel {
                Channel::Email(email) => email.place(),
                Channel::Webhook(hook) => hook.url.clone(),
                Channel::Syslog(siem) => siem.at.clone(),
                Channel::Mqtt(mqtt) => mqtt.place(site),
            },
            delivered_unix_ms: standing.delivered,
            failed_unix_ms: standing.failed,
            failure,
            waiting,
            oldest_unix_ms,
            dead,
            last_dead: last_dead.map(|(seq, why)| format!("entry {seq}: {why}")).unwrap_or_default(),
        })
    }
}

fn too_long() -> String {
    format!("it did not take it within {} s", TEST_PATIENCE.as_secs())
}
