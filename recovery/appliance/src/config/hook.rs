//! Sources of triggers: what they speak, how they prove who they are, about whom they may speak, and how far that goes.

use std::{collections::BTreeMap, path::PathBuf, sync::LazyLock};

use recovery_protocol::{
    EndpointId,
    selector::{self, Selector},
};
use serde::{Deserialize, Deserializer};

use super::{Config, Files, GroupMode, Wrong};
use crate::{
    db::endpoint::Endpoint,
    hooks::wire::{Dialect, FAILED, Rules, UNREACHABLE},
};

impl<'de> Deserialize<'de> for Dialect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let found = Self::ALL.iter().find(|(word, _)| *word == text);
        found.map(|(_, kind)| *kind).ok_or_else(|| {
            let words = Self::ALL.map(|(word, _)| format!("`{word}`")).join(", ");
            serde::de::Error::custom(format!("unknown variant `{text}`, expected one of {words}"))
        })
    }
}

/// How a source's names are understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointBy {
    /// As the endpoint is called here.
    Name,
    /// As its system calls itself on the network: `press-01.line3.plant:9100` is the host name on record, or the name `press-01`.
    Hostname,
    /// The value of this label of the endpoint.
    Label(String),
}

impl<'de> Deserialize<'de> for EndpointBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match (text.as_str(), text.strip_prefix("label:")) {
            ("name", _) => Ok(Self::Name),
            ("hostname", _) => Ok(Self::Hostname),
            (_, Some(label)) if selector::is_word(label) => Ok(Self::Label(label.to_owned())),
            _ => Err(serde::de::Error::custom(format!(
                "`{text}` is no way to name an endpoint; write `name`, `hostname` or `label:KEY`"
            ))),
        }
    }
}

/// Keylime's verifier, to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeylimeVerifier {
    /// `https://host:8881`.
    pub url: String,
    /// Certificate by which it is known: its own, or that of the authority that signed it (PEM). The name in it is not compared, as
    /// Keylime's own parts do not.
    pub ca_file: PathBuf,
    /// Our certificate towards it (PEM), one that it trusts.
    pub certificate_file: PathBuf,
    /// The key of that certificate (PEM).
    pub key_file: PathBuf,
    /// Seconds between two looks at every agent; a tenth more or less, so that not all appliances ask at once.
    #[serde(default = "every")]
    pub poll_every_s: u32,
}

fn every() -> u32 {
    45
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// What it speaks.
    #[serde(default)]
    pub kind: Dialect,
    /// File with the secret that it signs with: `whsec_…` (standard), or the text that both sides have (github, wazuh).
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// File with the token that it shows as `Authorization: Bearer`.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// File with `user:password` that it shows as `Authorization: Basic`.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The TLS client certificate that it shows (PEM): this one and no other.
    #[serde(default)]
    pub client_certificate_file: Option<PathBuf>,
    /// Public key (PEM) of Keylime's revocation signature; none: the client certificate alone says who speaks.
    #[serde(default)]
    pub revocation_key_file: Option<PathBuf>,
    /// Endpoints it may name; `["*"]`: all.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Endpoints it may name, beside those: whoever is meant by this selector. Neither: none.
    #[serde(default)]
    pub scope: Option<Selector>,
    /// How its names are understood; none: as its kind usually names.
    #[serde(default)]
    pub endpoint_by: Option<EndpointBy>,
    /// Alertmanager: the label of an alert that names the endpoint.
    #[serde(default = "endpoint_label")]
    pub endpoint_label: String,
    /// Where in the JSON the endpoint is named (RFC 6901), where it is not where the kind has it.
    #[serde(default)]
    pub endpoint_field: Option<String>,
    /// Types of event that mean a failed integrity check; none: as its kind has it.
    #[serde(default)]
    pub integrity_types: Option<Vec<String>>,
    /// Types of event that mean that it does not answer; none: as its kind has it.
    #[serde(default)]
    pub unreachable_types: Option<Vec<String>>,
    /// The most that it may bring about, whatever the endpoint's group allows.
    #[serde(default = "no_cap")]
    pub mode: GroupMode,
    /// Triggers in any hour; more are refused and sent again later by a source that can.
    #[serde(default = "hourly")]
    pub max_per_hour: u32,
    /// Messages of it that are kept as received, at most.
    #[serde(default = "kept")]
    pub keep_messages: u32,
    /// Days after which its messages and their deliveries are forgotten.
    #[serde(default = "days")]
    pub keep_days: u32,
    /// Asked before anything destructive: `GET <confirm_url>?endpoint=<id>`.
    #[serde(default)]
    pub confirm_url: Option<String>,
    /// Keylime: the verifier itself, asked before anything destructive and looked at all the time.
    #[serde(default)]
    pub verifier: Option<KeylimeVerifier>,
}

fn endpoint_label() -> String {
    "endpoint".to_owned()
}

fn no_cap() -> GroupMode {
    GroupMode::Auto
}

fn hourly() -> u32 {
    120
}

fn kept() -> u32 {
    1000
}

fn days() -> u32 {
    90
}

/// What the real senders of a kind can show of themselves.
fn proofs(kind: Dialect) -> &'static [&'static str] {
    match kind {
        Dialect::Standard | Dialect::Github => &["secret_file"],
        Dialect::CloudEvents | Dialect::Alertmanager | Dialect::Redfish => {
            &["token_file", "password_file", "client_certificate_file"]
        }
        Dialect::Wazuh => &["secret_file", "token_file", "password_file", "client_certificate_file"],
        Dialect::Keylime => &["client_certificate_file"],
    }
}

impl Hook {
    /// Whether the source may speak about this endpoint.
    #[must_use]
    pub fn covers(&self, endpoint: &Endpoint, config: &Config) -> bool {
        let listed = self.endpoints.iter().any(|e| e == "*" || e == endpoint.id.as_str());
        let class = config.rails(&endpoint.record).safety_class;
        listed
            || self.scope.as_ref().is_some_and(|scope| endpoint.is_meant(scope, config.site.as_str(), class))
    }

    /// How its names are understood.
    #[must_use]
    pub fn named_by(&self) -> EndpointBy {
        let usual = || match self.kind {
            Dialect::Keylime => EndpointBy::Label("keylime-agent".to_owned()),
            _ => EndpointBy::Name,
        };
        self.endpoint_by.clone().unwrap_or_else(usual)
    }

    /// How its words are read.
    #[must_use]
    pub fn rules(&self) -> Rules<'_> {
        let own = matches!(self.kind, Dialect::Standard | Dialect::Github | Dialect::CloudEvents);
        let usual = |types: &'static [String]| if own { types } else { &[] };
        Rules {
            dialect: self.kind,
            integrity_types: self.integrity_types.as_deref().unwrap_or_else(|| usual(&*OWN_FAILED)),
            unreachable_types: self.unreachable_types.as_deref().unwrap_or_else(|| usual(&*OWN_UNREACHABLE)),
            endpoint_label: &self.endpoint_label,
            endpoint_field: self.endpoint_field.as_deref(),
        }
    }

    /// Every file that it names.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let own = [
            &mut self.secret_file,
            &mut self.token_file,
            &mut self.password_file,
            &mut self.client_certificate_file,
            &mut self.revocation_key_file,
        ];
        let verifier = self
            .verifier
            .as_mut()
            .into_iter()
            .flat_map(|v| [&mut v.ca_file, &mut v.certificate_file, &mut v.key_file]);
        own.into_iter().flatten().chain(verifier)
    }

    fn proof_files(&self) -> [(&'static str, &Option<PathBuf>); 5] {
        [
            ("secret_file", &self.secret_file),
            ("token_file", &self.token_file),
            ("password_file", &self.password_file),
            ("client_certificate_file", &self.client_certificate_file),
            ("revocation_key_file", &self.revocation_key_file),
        ]
    }

    /// A key, what is wrong with it, and what to write instead.
    fn wrong(&self, files: Files) -> Option<(&'static str, String, String)> {
        let kind = self.kind.as_str();
        let keylime = self.kind == Dialect::Keylime;
        let usable = |key: &str| proofs(self.kind).contains(&key) || keylime && key == "revocation_key_file";
        for (key, file) in self.proof_files() {
            let Some(file) = file else { continue };
            if !usable(key) {
                let now = format!("a {kind} source shows itself by {}", proofs(self.kind).join(" or "));
                return Some((key, format!("is nothing that a {kind} source can show"), now));
            }
            if files == Files::Here && !file.is_file() {
                let why = format!("names {}, which is no file", file.display());
                return Some((key, why, "create it with what both sides know, mode 0600".to_owned()));
            }
        }
        let shown =
            |key: &&&str| self.proof_files().iter().any(|(name, file)| name == *key && file.is_some());
        if !proofs(self.kind).iter().any(|key| shown(&key)) {
            let why = "is missing, so anybody could speak as this source".to_owned();
            return Some((proofs(self.kind)[0], why, format!("write {}", proofs(self.kind).join(" or "))));
        }
        self.wrong_words().or_else(|| self.wrong_verifier(files))
    }

    fn wrong_words(&self) -> Option<(&'static str, String, String)> {
        let field = self.endpoint_field.as_deref();
        let no_field = matches!(self.kind, Dialect::Alertmanager | Dialect::Keylime);
        if field.is_some_and(|field| no_field || !field.starts_with('/')) {
            let why = "is no place of a name in what this kind sends".to_owned();
            let now = "write a JSON pointer such as `/data/host`; for Alertmanager, set endpoint_label";
            return Some(("endpoint_field", why, now.to_owned()));
        }
        for (key, value) in [
            ("max_per_hour", self.max_per_hour),
            ("keep_messages", self.keep_messages),
            ("keep_days", self.keep_days),
        ] {
            if value == 0 {
                return Some((key, "is 0".to_owned(), "write at least 1".to_owned()));
            }
        }
        None
    }

    fn wrong_verifier(&self, here: Files) -> Option<(&'static str, String, String)> {
        let verifier = self.verifier.as_ref()?;
        let wrong = |why: String, now: &str| Some(("verifier", why, now.to_owned()));
        if self.kind != Dialect::Keylime {
            return wrong("is asked only for a keylime source".to_owned(), "set confirm_url instead");
        }
        if !verifier.url.starts_with("https://") {
            return wrong("has a `url` that is not https://".to_owned(), "write https://HOST:8881");
        }
        if verifier.poll_every_s == 0 {
            return wrong("has `poll_every_s = 0`".to_owned(), "write seconds, at least 1");
        }
        let files = [&verifier.ca_file, &verifier.certificate_file, &verifier.key_file];
        let missing = files.into_iter().find(|file| here == Files::Here && !file.is_file())?;
        wrong(format!("names {}, which is no file", missing.display()), "create it, or correct the path")
    }
}

static OWN_FAILED: LazyLock<[String; 1]> = LazyLock::new(|| [FAILED.to_owned()]);
static OWN_UNREACHABLE: LazyLock<[String; 1]> = LazyLock::new(|| [UNREACHABLE.to_owned()]);

/// Whether each source has a name that fits a URL, and what its kind needs.
pub(super) fn check(hooks: &BTreeMap<String, Hook>, files: Files) -> Result<(), Wrong> {
    for (name, hook) in hooks {
        let at = |key: &str| vec!["hooks".to_owned(), name.clone(), key.to_owned()];
        if name.parse::<EndpointId>().is_err() || name == OWN_SOURCE {
            let why = "belongs to a source name that fits no URL, or is the appliance's own";
            return Err(Wrong::new(at("kind"), why, "use a-z, 0-9 and `-`"));
        }
        if let Some((key, why, now)) = hook.wrong(files) {
            return Err(Wrong::new(at(key), why, now));
        }
    }
    Ok(())
}

/// Under this name the appliance reports its own attestation.
const OWN_SOURCE: &str = "attestation";
