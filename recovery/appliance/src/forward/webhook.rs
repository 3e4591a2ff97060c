//! Evidence to others: CloudEvents 1.0 (structured JSON) by HTTPS, signed as Standard Webhooks has it.
//!
//! ```text
//! POST <url>   content-type: application/cloudevents+json   webhook-id: <site>_17-<hash>   webhook-timestamp: …
//!              webhook-signature: v1,<base64 HMAC-SHA-256(secret, id "." timestamp "." body)>
//! ```
//!
//! 2xx is taken. What says that this message will never be taken (400, 413, 415, 422 and the like) is a refusal: after five tries in a row
//! the entry is a dead letter, shown in `status`, and the next one goes out. Everything else, a wrong secret or address too, says nothing
//! about the entry: it is tried again until it is taken.

use std::{path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use serde::Deserialize;
use serde_json::json;
use ureq::{
    Agent,
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

use super::{Sent, TEST, entry, id, trust::SYSTEM_ROOTS};
use crate::{
    clock::{Clock as _, SystemClock},
    db::log::EntryRow,
    notify::Message,
    seal,
};

const TIMEOUT: Duration = Duration::from_secs(10);
const TRIES: u32 = 5;
/// Answers about the message itself (RFC 9110 section 15.5). All others are about the sender, the way or the receiver.
const REFUSALS: [u16; 6] = [400, 406, 409, 413, 415, 422];

/// One who is told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookOut {
    /// Where: `https://…`.
    pub url: String,
    /// File with the shared secret (Standard Webhooks, `whsec_…`).
    pub secret_file: PathBuf,
    /// Kinds that are told, by their beginnings, such as `alarm.`; empty: all.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Authorities' certificates, PEM. Default: the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// The way to one who is told.
pub struct Webhook {
    url: String,
    kinds: Vec<String>,
    secret: hmac::Key,
    agent: Agent,
    site: String,
    /// The entry that was refused last, and how often.
    refused: (u64, u32),
}

impl Webhook {
    /// Read what the setting names.
    ///
    /// # Errors
    /// In a sentence.
    pub fn open(hook: &HookOut, site: &str) -> Result<Self, String> {
        if !hook.url.starts_with("https://") {
            return Err(format!("{} is not https; what is told there would be read on its way", hook.url));
        }
        let file = hook.secret_file.display();
        let text = seal::secret(&hook.secret_file)
            .map_err(|error| format!("{file} cannot be read: {error}; write whsec_<base64> into it"))?;
        let secret = text.trim().strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
        let secret = secret.filter(|bytes| bytes.len() >= 24).ok_or_else(|| {
            format!("{file} holds no secret; write whsec_<base64 of at least 24 bytes> into it")
        })?;
        let ca_file = hook.ca_file.clone().unwrap_or_else(|| PathBuf::from(SYSTEM_ROOTS));
        let pem = std::fs::read(&ca_file).map_err(|error| format!("{}: {error}", ca_file.display()))?;
        let roots: Vec<Certificate<'static>> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .tls_config(tls)
            .build();
        let agent = Agent::new_with_config(config);
        let (url, kinds, site) = (hook.url.clone(), hook.kinds.clone(), site.to_owned());
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Ok(Self { url, kinds, secret, agent, site, refused: (0, 0) })
    }

    /// Send a batch, one after the other.
    pub async fn send(&mut self, rows: &[EntryRow]) -> Sent {
        let mut taken = false;
        for row in rows {
            let Some(event) = self.event(row) else { continue };
            let before = row.seq - 1;
            match self.post(&id(row), event).await {
                Ok(status) if (200..300).contains(&status) => taken = true,
                Ok(status) if REFUSALS.contains(&status) => {
                    let tries = if self.refused.0 == row.seq { self.refused.1 + 1 } else { 1 };
                    self.refused = (row.seq, tries);
                    let why = format!("it was answered {status}");
                    if tries >= TRIES {
                        return Sent::Refused(row.seq, why);
                    }
                    return Sent::UpTo(before, why);
                }
                Ok(status) => return Sent::UpTo(before, format!("it was answered {status}")),
                Err(why) => return Sent::UpTo(before, why),
            }
        }
        Sent::All { taken }
    }

    /// The entry as an event; None where it is of a kind that is not told.
    fn event(&self, row: &EntryRow) -> Option<String> {
        let entry = entry(row)?;
        let told = self.kinds.is_empty() || entry.kind == TEST;
        if !told && !self.kinds.iter().any(|kind| entry.kind.starts_with(kind.as_str())) {
            return None;
        }
        let mut event = self.envelope(&id(row), &entry.kind, entry.at_unix_ms);
        event["data"] = json!(entry);
        if let Some(endpoint) = &entry.endpoint {
            event["subject"] = endpoint.as_str().into();
        }
        Some(event.to_string())
    }

    /// Send a message of the rules.
    ///
    /// # Errors
    /// In a sentence.
    pub async fn tell(&self, message: &Message) -> Result<(), String> {
        let mut event = self.envelope(&message.id, &format!("notice.{}", message.word()), message.at_unix_ms);
        event["data"] = message.data(&self.site);
        if let Some(endpoint) = &message.endpoint {
            event["subject"] = endpoint.as_str().into();
        }
        match self.post(&message.id, event.to_string()).await? {
            status if (200..300).contains(&status) => Ok(()),
            status => Err(format!("{} answered {status}", self.url)),
        }
    }

    /// What every event has.
    fn envelope(&self, id: &str, kind: &str, at_unix_ms: u64) -> serde_json::Value {
        let at = i64::try_from(at_unix_ms).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        json!({
            "specversion": "1.0",
            "id": id,
            "source": format!("/groundstate/{}", self.site),
            "type": format!("groundstate.{kind}"),
            "time": format!("{:.3}", at.unwrap_or_default()),
            "datacontenttype": "application/json",
        })
    }

    async fn post(&self, id: &str, body: String) -> Result<u16, String> {
        let id = format!("{}_{id}", self.site);
        let timestamp = (SystemClock.now_unix_ms() / 1000).to_string();
        let tag = hmac::sign(&self.secret, format!("{id}.{timestamp}.{body}").as_bytes());
        let request = self
            .agent
            .post(&self.url)
            .header("content-type", "application/cloudevents+json; charset=utf-8")
            .header("webhook-id", &id)
            .header("webhook-timestamp", &timestamp)
            .header("webhook-signature", format!("v1,{}", STANDARD.encode(tag)));
        let sent = tokio::task::spawn_blocking(move || request.send(body)).await;
        match sent.map_err(|error| error.to_string())? {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) => Err(format!("{}: {error}", self.url)),
        }
    }
}
