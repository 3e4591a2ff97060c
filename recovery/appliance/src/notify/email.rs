//! E-mail: one SMTP session for each batch of messages (RFC 5321), by `lettre`.
//!
//! It must never: send a password, or without being told to a message, over a line that anybody can read.

use std::{path::PathBuf, time::Duration};

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor,
    message::{Mailbox, Mailboxes, header::ContentType},
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::{Certificate, CertificateStore, Tls, TlsParameters},
        extension::ClientId,
    },
};
use serde::Deserialize;

use super::message::{Letterhead, Message};
use crate::{forward::trust::SYSTEM_ROOTS, seal};

const PATIENCE: Duration = Duration::from_secs(15);

/// How the line is kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// TLS after `STARTTLS` (RFC 3207); a server that offers none gets nothing.
    #[default]
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// None: for a server on this computer, or on a network of its own.
    None,
}

/// A mail server, and who gets mail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// The server, by the name in its certificate.
    pub server: String,
    /// Its port. Default: 587, with `tls` 465, with `none` 25.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the line is kept from others: starttls, tls, none.
    #[serde(default)]
    pub security: Security,
    /// The authority that signed its certificate (PEM). None: those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Who we are there. None: it asks nobody.
    #[serde(default)]
    pub user: Option<String>,
    /// File with the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The sender: `Groundstate <groundstate@plant.example>`.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
}

impl Email {
    /// The key that is wrong, why, and what to write instead.
    pub fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        let address = "write an address, such as duty@plant.example";
        if self.server.is_empty() || self.server.contains([':', '/', ' ']) {
            return Some((
                "server",
                "is no host's name".to_owned(),
                "write the name alone; the port is `port`",
            ));
        }
        if self.user.is_some() != self.password_file.is_some() {
            return Some(("user", "and `password_file` go together".to_owned(), "write both, or neither"));
        }
        if self.user.is_some() && self.security == Security::None {
            let why = "is `none`, and the password could be read on its way".to_owned();
            return Some(("security", why, "write `starttls` or `tls`"));
        }
        if let Err(error) = self.from.parse::<Mailbox>() {
            return Some(("from", format!("is no address ({error})"), address));
        }
        if self.to.is_empty() {
            return Some(("to", "is empty".to_owned(), address));
        }
        let wrong = self
            .to
            .iter()
            .find_map(|to| to.parse::<Mailbox>().err().map(|error| format!("names `{to}`: {error}")));
        wrong.map(|why| ("to", why, address))
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            Security::Starttls => 587,
            Security::Tls => 465,
            Security::None => 25,
        })
    }

    /// Where it leads.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{} by {}:{}", self.to.join(", "), self.server, self.port())
    }

    /// Send messages as one mail.
    ///
    /// # Errors
    /// In a sentence.
    pub async fn send(&self, messages: &[Message], head: &Letterhead) -> Result<(), String> {
        let mail = self.mail(messages, head)?;
        let sent = self.transport(&head.site)?.send(mail).await;
        sent.map(drop).map_err(|error| format!("{}:{}: {}", self.server, self.port(), chain(&error)))
    }

    fn mail(&self, messages: &[Message], head: &Letterhead) -> Result<Mail, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("the mail cannot be written: {error}");
        let first = messages.first().ok_or("there is nothing to send")?;
        let mut to = Mailboxes::new();
        for one in &self.to {
            to.push(one.parse().map_err(|error: lettre::address::AddressError| wrong(&error))?);
        }
        let from: Mailbox =
            self.from.parse().map_err(|error: lettre::address::AddressError| wrong(&error))?;
        let domain = from.email.domain().to_owned();
        let more = messages.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" (+{more})") };
        let text = match messages {
            [one] => one.text(head.texts),
            several => {
                let one = |message: &Message| format!("{}\n\n{}", message.title, message.text(head.texts));
                several.iter().map(one).collect::<Vec<_>>().join("\n\n---\n\n")
            }
        };
        let builder = Mail::builder()
            .from(from)
            .mailbox(lettre::message::header::To::from(to))
            .subject(format!("[{}] {}{more}", head.site, first.title))
            // The same when it is sent again, so that whoever got it twice sees that it is one.
            .message_id(Some(format!("<{}.{}@{domain}>", head.site, first.id)))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN);
        builder.body(text.replace('\n', "\r\n")).map_err(|error| wrong(&error))
    }

    fn transport(&self, site: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.server.as_str())
            .port(self.port())
            .timeout(Some(PATIENCE))
            .hello_name(ClientId::Domain(site.to_owned()))
            .tls(match self.security {
                Security::Starttls => Tls::Required(self.tls()?),
                Security::Tls => Tls::Wrapper(self.tls()?),
                Security::None => Tls::None,
            });
        let (Some(user), Some(file)) = (&self.user, &self.password_file) else { return Ok(builder.build()) };
        let password = seal::secret(file).map_err(|error| {
            format!("{} cannot be read: {error}; write the password of {user} into it", file.display())
        })?;
        let credentials = Credentials::new(user.clone(), password.trim().to_owned());
        Ok(builder.credentials(credentials).authentication(vec![Mechanism::Plain, Mechanism::Login]).build())
    }

    fn tls(&self) -> Result<TlsParameters, String> {
        let file = self.ca_file.clone().unwrap_or_else(|| PathBuf::from(SYSTEM_ROOTS));
        let wrong = |why: String| format!("{} {why}; write a PEM file there", file.display());
        let pem = std::fs::read(&file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let root = Certificate::from_pem(&pem).map_err(|error| wrong(format!("is no PEM: {error}")))?;
        TlsParameters::builder(self.server.clone())
            .certificate_store(CertificateStore::None)
            .add_root_certificate(root)
            .build()
            .map_err(|error| wrong(format!("cannot be used: {error}")))
    }
}

/// No person wrote it, and no machine should answer (RFC 3834 section 5).
#[derive(Debug, Clone, Copy)]
struct AutoSubmitted;

impl lettre::message::header::Header for AutoSubmitted {
    fn name() -> lettre::message::header::HeaderName {
        lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> lettre::message::header::HeaderValue {
        lettre::message::header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text += &format!(": {said}");
        }
        next = cause.source();
    }
    text
}
