//! MQTT 3.1.1 and 5: messages, and the state of every endpoint as a retained topic. We publish and never subscribe.
//!
//! ```text
//! site/plant-7/appliance/state              {"state":"up",…}; the broker says {"state":"down"} when we are gone (the will)
//! site/plant-7/recovery/press-01/state      {"state":"recovering","job":…,"stage":"imaging",…}; empty when it is off record
//! site/plant-7/recovery/event               what the rules say, one message each
//! ```
//!
//! Everything is QoS 1: the broker says that it has it. It must never: take an order, or subscribe to anything.

pub mod client;
pub mod states;

use std::path::PathBuf;

use serde::Deserialize;

use self::client::{Client, Will};
use super::message::{Letterhead, Message};

/// The protocol's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Version {
    /// 3.1.1 (OASIS, 2014).
    #[default]
    #[serde(rename = "3.1.1")]
    V311,
    /// 5.0 (OASIS, 2019).
    #[serde(rename = "5")]
    V5,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// Where it listens: `broker.plant:8883`.
    pub at: String,
    /// TLS. Without it everybody on the line reads along.
    #[serde(default = "yes")]
    pub tls: bool,
    /// The authority that signed its certificate (PEM). None: those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Who we are there. None: it asks nobody.
    #[serde(default)]
    pub user: Option<String>,
    /// File with the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The protocol's version: `3.1.1` or `5`.
    #[serde(default)]
    pub version: Version,
    /// How topics begin. Default: `site/<site>`.
    #[serde(default)]
    pub topic: Option<String>,
    /// Seconds without a word from us, after which the broker says that we are down (once and a half of it).
    #[serde(default = "keep_alive")]
    pub keep_alive_s: u16,
}

fn yes() -> bool {
    true
}

fn keep_alive() -> u16 {
    30
}

impl Mqtt {
    /// The key that is wrong, why, and what to write instead.
    pub fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        let port = self.at.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            return Some(("at", "has no port".to_owned(), "write host and port, as in broker.plant:8883"));
        }
        if self.user.is_some() != self.password_file.is_some() {
            return Some(("user", "and `password_file` go together".to_owned(), "write both, or neither"));
        }
        if self.user.is_some() && !self.tls {
            let why = "is false, and the password could be read on its way".to_owned();
            return Some(("tls", why, "remove it, or `user` and `password_file`"));
        }
        let topic = self.topic.as_deref().unwrap_or("t");
        if topic.is_empty() || topic.contains(['#', '+', '\0']) || topic.ends_with('/') || topic.len() > 200 {
            return Some((
                "topic",
                "is no beginning of a topic".to_owned(),
                "write it without #, + and a `/` at its end",
            ));
        }
        if self.keep_alive_s < 5 {
            return Some(("keep_alive_s", "is too short".to_owned(), "write at least 5"));
        }
        None
    }

    /// How topics of this site begin.
    #[must_use]
    pub fn top(&self, site: &str) -> String {
        self.topic.clone().unwrap_or_else(|| format!("site/{site}"))
    }

    /// Where it leads.
    #[must_use]
    pub fn place(&self, site: &str) -> String {
        format!("{}/# at {}", self.top(site), self.at)
    }

    async fn connect(&self, client_id: &str, will: Option<Will>) -> Result<Client, String> {
        Client::connect(self, client_id, will).await.map_err(|why| format!("{}: {why}", self.at))
    }

    /// Publish messages, over a connection of their own: what the broker says about the other one when it breaks stays true.
    ///
    /// # Errors
    /// In a sentence.
    pub async fn send(&self, messages: &[Message], head: &Letterhead) -> Result<(), String> {
        let gone = |why: String| format!("{}: {why}", self.at);
        let mut client = self.connect(&format!("groundstate-{}-events", head.site), None).await?;
        for message in messages {
            let topic = match message.event {
                Some(_) => format!("{}/recovery/event", self.top(&head.site)),
                None => format!("{}/recovery/test", self.top(&head.site)),
            };
            let payload = message.data(&head.site).to_string();
            client.publish(&topic, payload.as_bytes(), false).await.map_err(gone)?;
        }
        client.leave().await.map_err(gone)
    }
}
