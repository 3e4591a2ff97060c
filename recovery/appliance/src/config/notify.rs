//! Who is told what happens: channels, and rules that say which of them is told what, and when not.
//!
//! ```toml
//! [notify]
//! address = "https://appliance.plant"              # the console, as people know it: messages lead there
//! [notify.channels.duty]
//! kind = "email"
//! server = "mail.plant"
//! user = "groundstate"
//! password_file = "/var/lib/groundstate/secrets/mail"
//! from = "groundstate@plant.example"
//! to = ["duty@plant.example"]
//! [[notify.rules]]
//! events = ["held", "failed", "approval-needed", "stop", "alarm"]
//! selector = "line=3"
//! channels = ["duty"]
//! quiet = ["daily 22:00-06:00"]
//! even_then = ["stop", "alarm"]
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use recovery_protocol::{EndpointId, selector::Selector};
use serde::Deserialize;

use super::{Wrong, window::Window};
use crate::{
    forward::{syslog::Siem, webhook::HookOut},
    notify::{Event, email::Email, mqtt::Mqtt},
};

/// Who is told what happens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// The console's address as people know it, as in `https://appliance.plant`: messages lead there. Default: the provider's `address`.
    pub address: Option<String>,
    /// In which language messages are written: en, de, fr, es, zh.
    pub language: String,
    /// Ways out, by a name.
    pub channels: BTreeMap<String, Channel>,
    /// Which of them is told what.
    pub rules: Vec<Rule>,
    /// A drill must recover an endpoint every so many days; else `drill-due`. None: nobody minds.
    pub drill_every_days: Option<u32>,
    /// A backup must be made every so many days; else `backup-old`. None: nobody minds.
    pub backup_every_days: Option<u32>,
    /// An entry of the evidence log must be anchored within so many hours; else `anchor-old`.
    pub anchor_within_h: u32,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            address: None,
            language: "en".to_owned(),
            channels: BTreeMap::new(),
            rules: Vec::new(),
            drill_every_days: None,
            backup_every_days: Some(7),
            anchor_within_h: 24,
        }
    }
}

/// A way out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Channel {
    /// E-mail by SMTP.
    Email(Email),
    /// CloudEvents by HTTPS, signed as Standard Webhooks has it.
    Webhook(HookOut),
    /// Syslog over TLS.
    Syslog(Siem),
    /// An MQTT broker, which also has the state of every endpoint.
    Mqtt(Mqtt),
}

/// Which channels are told what.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What is told.
    pub events: Vec<Event>,
    /// About which endpoints. None: about all, and about what concerns none.
    #[serde(default)]
    pub selector: Option<Selector>,
    /// Whom.
    pub channels: Vec<String>,
    /// When not: what happens then is told afterwards.
    #[serde(default)]
    pub quiet: Vec<Window>,
    /// What is told even then.
    #[serde(default)]
    pub even_then: Vec<Event>,
}

impl Channel {
    /// Its word in the configuration.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Webhook(_) => "webhook",
            Self::Syslog(_) => "syslog",
            Self::Mqtt(_) => "mqtt",
        }
    }

    fn files(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Email(email) => email.password_file.iter_mut().chain(&mut email.ca_file).collect(),
            Self::Webhook(hook) => hook.ca_file.iter_mut().chain([&mut hook.secret_file]).collect(),
            Self::Syslog(siem) => {
                let own = [&mut siem.certificate_file, &mut siem.key_file];
                own.into_iter().flatten().chain([&mut siem.ca_file]).collect()
            }
            Self::Mqtt(mqtt) => mqtt.password_file.iter_mut().chain(&mut mqtt.ca_file).collect(),
        }
    }

    /// The key that is wrong, why, and what to write instead.
    fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        match self {
            Self::Email(email) => email.wrong(),
            Self::Mqtt(mqtt) => mqtt.wrong(),
            Self::Webhook(hook) if !hook.url.starts_with("https://") => Some((
                "url",
                "is not HTTPS, and what is told there could be read on its way".to_owned(),
                "write https://…",
            )),
            Self::Webhook(hook) if !hook.kinds.is_empty() => {
                let why = "is for who follows the evidence log (`evidence.webhooks`)".to_owned();
                Some(("kinds", why, "remove it, and write `events` into a rule"))
            }
            Self::Webhook(_) | Self::Syslog(_) => None,
        }
    }
}

impl Notify {
    /// Relative paths are taken from `base`.
    pub(super) fn resolve(&mut self, base: &Path) {
        for file in self.channels.values_mut().flat_map(Channel::files) {
            *file = base.join(&*file);
        }
    }

    pub(super) fn check(&self, time_zone: Option<&str>) -> Result<(), Wrong> {
        let at = |path: &[&str]| {
            std::iter::once("notify").chain(path.iter().copied()).map(str::to_owned).collect()
        };
        if self.address.as_ref().is_some_and(|address| !address.starts_with("https://")) {
            return Err(Wrong::new(at(&["address"]), "is no address of the console", "write https://HOST"));
        }
        if !["en", "de", "fr", "es", "zh"].contains(&self.language.as_str()) {
            return Err(Wrong::new(
                at(&["language"]),
                "is none that messages are written in",
                "write en, de, fr, es or zh",
            ));
        }
        for (key, value) in [
            ("drill_every_days", self.drill_every_days.unwrap_or(1)),
            ("backup_every_days", self.backup_every_days.unwrap_or(1)),
            ("anchor_within_h", self.anchor_within_h),
        ] {
            if value == 0 {
                return Err(Wrong::new(at(&[key]), "is 0", "write at least 1"));
            }
        }
        for (name, channel) in &self.channels {
            if name.parse::<EndpointId>().is_err() || name == "siem" {
                let why = "is no name of a channel, or the SIEM's own";
                return Err(Wrong::new(at(&["channels", name]), why, "use a-z, 0-9 and `-`"));
            }
            if let Some((key, why, now)) = channel.wrong() {
                return Err(Wrong::new(at(&["channels", name, key]), why, now));
            }
        }
        for rule in &self.rules {
            self.check_rule(rule, time_zone)
                .map_err(|(key, why, now)| Wrong::new(at(&["rules", key]), why, now))?;
        }
        let told: BTreeSet<&String> = self.rules.iter().flat_map(|rule| &rule.channels).collect();
        let deaf = |(name, channel): &(&String, &Channel)| {
            !told.contains(name) && !matches!(channel, Channel::Mqtt(_))
        };
        if let Some((name, _)) = self.channels.iter().find(deaf) {
            let why = "is told nothing: no rule names it";
            return Err(Wrong::new(
                at(&["channels", name]),
                why,
                "name it in `channels` of a [[notify.rules]], or remove it",
            ));
        }
        Ok(())
    }

    fn check_rule(
        &self,
        rule: &Rule,
        time_zone: Option<&str>,
    ) -> Result<(), (&'static str, String, &'static str)> {
        if rule.events.is_empty() {
            return Err((
                "events",
                "is empty".to_owned(),
                "name what is told, such as [\"held\", \"failed\"]",
            ));
        }
        if rule.channels.is_empty() {
            return Err(("channels", "is empty".to_owned(), "name a channel of [notify.channels]"));
        }
        if let Some(name) = rule.channels.iter().find(|name| !self.channels.contains_key(*name)) {
            return Err((
                "channels",
                format!("names `{name}`, which is none"),
                "name one of [notify.channels]",
            ));
        }
        if !rule.quiet.is_empty() && time_zone.is_none() {
            let now = "write time_zone = \"Europe/Berlin\", or where the site is, at the top of the file";
            return Err(("quiet", "means hours of no time zone".to_owned(), now));
        }
        if rule.quiet.is_empty() && !rule.even_then.is_empty() {
            return Err((
                "even_then",
                "is an exception from no quiet hours".to_owned(),
                "write `quiet`, or remove it",
            ));
        }
        if let Some(event) = rule.even_then.iter().find(|event| !rule.events.contains(event)) {
            let why = format!("names `{}`, which `events` does not", event.as_str());
            return Err(("even_then", why, "add it to `events`, too"));
        }
        Ok(())
    }
}
