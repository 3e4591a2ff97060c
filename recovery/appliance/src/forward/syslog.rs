//! Evidence to a SIEM: syslog (RFC 5424) over TLS (RFC 5425), each message with its length in front.
//!
//! ```text
//! <110>1 2026-11-29T12:00:00.000Z plant-7 groundstate - order.recover [meta sequenceId="17"] {"seq":17,…}
//! ```
//!
//! Syslog has no acknowledgement. So a connection carries one batch: we say that it is over, and the peer closes its side
//! once it has read to that end; only then the cursor moves. All text of others is inside JSON or CEF escapes, in ASCII.

use std::{fmt::Write as _, path::PathBuf, sync::Arc, time::Duration};

use recovery_protocol::evidence::Entry;
use rustls::{ClientConfig, pki_types::ServerName};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{Sent, entry, id, trust};
use crate::{
    db::log::EntryRow,
    notify::{Event, Message},
};

/// What every receiver should take (RFC 5424 section 6.1, RFC 5425 section 4.3.1: 2048 must, 8192 should).
const MESSAGE_MAX: usize = 8192;
const PATIENCE: Duration = Duration::from_secs(20);
/// Log audit (RFC 5424 table 1).
const FACILITY: u8 = 13;

/// The SIEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Siem {
    /// Where it listens: `siem.plant:6514`.
    pub at: String,
    /// Its authorities' certificates, PEM.
    pub ca_file: PathBuf,
    /// Our certificate, PEM, where it wants one.
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// Its key, PEM.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// How a message is written.
    #[serde(default)]
    pub format: Format,
}

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The entry itself.
    #[default]
    Json,
    /// ArcSight Common Event Format, revision 25.
    Cef,
}

/// The way to the SIEM.
pub struct Syslog {
    at: String,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    site: String,
    format: Format,
}

impl Syslog {
    /// Read what the setting names.
    ///
    /// # Errors
    /// In a sentence.
    pub fn open(siem: &Siem, site: &str) -> Result<Self, String> {
        let (name, _) = siem
            .at
            .rsplit_once(':')
            .ok_or_else(|| format!("`at` is `{}`; write host and port, as in siem.plant:6514", siem.at))?;
        let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
            .map_err(|error| format!("`at` names no host: {error}"))?;
        let own = match (&siem.certificate_file, &siem.key_file) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(format!("{} has only one of certificate_file and key_file; name both", siem.at)),
        };
        let tls = trust::client(&siem.ca_file, own)?;
        let (at, site) = (siem.at.clone(), site.to_owned());
        Ok(Self { at, name, tls, site, format: siem.format })
    }

    /// Send a batch.
    pub async fn send(&mut self, rows: &[EntryRow]) -> Sent {
        let before = rows.first().map_or(0, |row| row.seq.saturating_sub(1));
        let messages = rows.iter().map(|row| message(row, &self.site, self.format));
        match self.hand_over(messages).await {
            Ok(()) => Sent::All { taken: true },
            Err(why) => Sent::UpTo(before, why),
        }
    }

    /// Send messages of the rules.
    ///
    /// # Errors
    /// In a sentence.
    pub async fn tell(&self, messages: &[Message]) -> Result<(), String> {
        self.hand_over(messages.iter().map(|message| notice(message, &self.site, self.format))).await
    }

    async fn hand_over(&self, messages: impl Iterator<Item = String>) -> Result<(), String> {
        let frames: String = messages.map(|message| format!("{} {message}", message.len())).collect();
        match tokio::time::timeout(PATIENCE, self.deliver(frames.as_bytes())).await {
            Ok(done) => done.map_err(|why| format!("{}: {why}", self.at)),
            Err(_) => Err(format!("{} did not take it within {} s", self.at, PATIENCE.as_secs())),
        }
    }

    async fn deliver(&self, frames: &[u8]) -> std::io::Result<()> {
        let tcp = TcpStream::connect(&self.at).await?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let mut peer = connector.connect(self.name.clone(), tcp).await?;
        peer.write_all(frames).await?;
        peer.shutdown().await?;
        // It says nothing; that it ends, too, says that it has read to our end. A reset is no such word, and neither is an end
        // without `close_notify`: anybody between could make that one.
        let mut rest = [0; 256];
        loop {
            match peer.read(&mut rest).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// An entry as one message.
fn message(row: &EntryRow, site: &str, format: Format) -> String {
    let known = entry(row);
    let severity = match &known {
        Some(entry) if entry.kind.starts_with("alarm.") || entry.kind.ends_with(".failure") => 4,
        Some(entry) if entry.kind.starts_with("refusal.") => 5,
        Some(_) => 6,
        None => 4,
    };
    let kind = known.as_ref().map_or("unreadable", |entry| entry.kind.as_str());
    let at_ms = known.as_ref().map_or(0, |entry| entry.at_unix_ms);
    let head = head(severity, at_ms, site, kind, row.seq);
    let body = match (format, &known) {
        (Format::Cef, Some(entry)) => cef(entry, &id(row), severity),
        _ => ascii(&row.text),
    };
    if head.len() + body.len() <= MESSAGE_MAX {
        return head + &body;
    }
    // Too long: what it is about, and where the whole of it is.
    let short = known.map(|entry| {
        let facts = serde_json::Map::from_iter([("too_long".to_owned(), row.text.len().into())]);
        Entry { facts, ..entry }
    });
    let short = match (format, short) {
        (Format::Cef, Some(entry)) => cef(&entry, &id(row), severity),
        (_, Some(entry)) => ascii(&serde_json::to_string(&entry).unwrap_or_default()),
        (_, None) => format!("{{\"seq\":{},\"too_long\":{}}}", row.seq, row.text.len()),
    };
    let mut whole = head + &short;
    whole.truncate(MESSAGE_MAX);
    whole
}

/// The header, and the entry's number.
fn head(severity: u8, at_ms: u64, site: &str, kind: &str, seq: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at_ms).unwrap_or_default()).unwrap_or_default();
    // sequenceId is a number of 31 bits from 1 (RFC 5424 section 7.3.1); a log that is longer begins again.
    let sequence = seq.saturating_sub(1) % 0x7fff_ffff + 1;
    let priority = FACILITY * 8 + severity;
    format!(
        "<{priority}>1 {at:.3} {} groundstate - {} [meta sequenceId=\"{sequence}\"] ",
        name(site, 255),
        name(kind, 32)
    )
}

/// A message of the rules as one of syslog's: what is good news or a test is informational, all else a warning.
fn notice(message: &Message, site: &str, format: Format) -> String {
    let severity = if matches!(message.event, None | Some(Event::Recovered)) { 6 } else { 4 };
    let kind = format!("notice.{}", message.word());
    let mut whole = head(severity, message.at_unix_ms, site, &kind, message.seq);
    let data = message.data(site);
    whole += &match format {
        Format::Json => ascii(&data.to_string()),
        Format::Cef => {
            let entry = Entry {
                seq: message.seq,
                at_unix_ms: message.at_unix_ms,
                kind,
                actor: "appliance".to_owned(),
                endpoint: message.endpoint.clone(),
                job: message.job,
                mode: "real".to_owned(),
                facts: data.as_object().cloned().unwrap_or_default(),
            };
            cef(&entry, &message.id, severity)
        }
    };
    whole.truncate(MESSAGE_MAX);
    whole
}

/// A name of the header: printable ASCII without spaces (RFC 5424 section 6), at most `most`.
fn name(text: &str, most: usize) -> String {
    let safe = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    let name: String = text.chars().take(most).map(safe).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

/// JSON text in printable ASCII: what is not becomes `\u` with four hex digits, which is the same JSON. Outside of texts there is none.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && !c.is_ascii_control() {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

/// CEF: header fields escape `\` and `|`, extension values `\`, `=` and line ends.
fn cef(entry: &Entry, id: &str, severity: u8) -> String {
    let head = |text: &str| ascii(text).replace('\\', "\\\\").replace('|', "\\|");
    let value = |text: &str| ascii(text).replace('\\', "\\\\").replace('=', "\\=");
    let severity = if severity == 4 {
        8
    } else if severity == 5 {
        5
    } else {
        3
    };
    let version = env!("CARGO_PKG_VERSION");
    let kind = head(&entry.kind);
    let mut text = format!(
        "CEF:0|Groundstate|groundstate|{version}|{kind}|{kind}|{severity}|rt={} externalId={id} suser={} cs1Label=mode cs1={}",
        entry.at_unix_ms,
        value(&entry.actor),
        value(&entry.mode),
    );
    if let Some(endpoint) = &entry.endpoint {
        let _ = write!(text, " dhost={}", value(endpoint.as_str()));
    }
    if let Some(job) = entry.job {
        let _ = write!(text, " cs2Label=job cs2={job}");
    }
    let facts = serde_json::to_string(&entry.facts).unwrap_or_default();
    let _ = write!(text, " msg={}", value(&facts));
    text
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub fn row(seq: u64, kind: &str, facts: serde_json::Value) -> EntryRow {
        let text = json!({
            "seq": seq, "at_unix_ms": 1_764_417_600_123_u64, "kind": kind, "actor": "operator:anna", "mode": "real",
            "endpoint": "press-01", "facts": facts,
        });
        EntryRow { seq, text: text.to_string(), hash: String::new(), nodes: None }
    }

    #[test]
    fn a_message_is_as_the_rfc_has_it() {
        let text = message(&row(17, "order.recover", json!({ "reason": "x" })), "plant-7", Format::Json);
        let head =
            "<110>1 2025-11-29T12:00:00.123Z plant-7 groundstate - order.recover [meta sequenceId=\"17\"] {";
        assert!(text.starts_with(head), "{text}");
        let alarm = message(&row(18, "alarm.rolled-back", json!({})), "plant-7", Format::Json);
        assert!(alarm.starts_with("<108>1 "), "{alarm}");
    }

    #[test]
    fn hostile_text_stays_inside_and_comes_back_the_same() {
        let reason = "a\n<0>1 - - - - - - forged\r\u{85}\u{202e}\u{1f480}|=\\\"] ü";
        let hostile = row(1, "x y\n|z", json!({ "reason": reason }));
        for format in [Format::Json, Format::Cef] {
            let text = message(&hostile, "plant 7\n", format);
            assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text}");
            assert!(text.contains(" plant_7_ groundstate - x_y_|z [meta"), "{text}");
        }
        let text = message(&hostile, "plant-7", Format::Json);
        let (_, json) = text.split_once("\"] ").unwrap();
        let read: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(read["facts"]["reason"], reason);
        let text = message(&hostile, "plant-7", Format::Cef);
        assert!(text.contains("|x y\\\\u000a\\|z|"), "{text}");
        assert!(text.contains(&format!(" externalId={} ", id(&hostile))), "{text}");
        let (_, msg) = text.split_once(" msg=").unwrap();
        assert!(!msg.replace("\\=", "").contains('='), "{msg}");
    }

    #[test]
    fn what_is_too_long_says_so_and_fits() {
        for format in [Format::Json, Format::Cef] {
            let text = message(&row(3, "report.sources", json!({ "many": "x".repeat(9000) })), "p", format);
            assert!(text.len() <= MESSAGE_MAX && text.contains("too_long"), "{}", text.len());
        }
    }
}
