//! A switched power outlet over HTTP or SNMP: read, off, two equal reads, a pause, on, two equal reads. One that reads neither on nor off is
//! not switched: it may be none, or another one.
//!
//! It is the last means where a BMC hangs or there is none. It takes the power away from under a running system, which the recovery erases
//! anyhow, and says nothing of what is booted then: the firmware must start when power comes back and try the network first, which is
//! harmless, since without a boot ticket it is sent to its own disk. Outlets speak HTTP, mostly without TLS, or SNMP: they
//! belong into the management network.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use recovery_protocol::outlet::{Outlet, OutletKind};
use ring::rand::SecureRandom as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use ureq::{
    Agent,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use super::{Left, PowerError, Still};

mod digest;
mod snmp;

const REQUEST_MAX: Duration = Duration::from_secs(10);
const ANSWER_LEN_MAX: u64 = 64 * 1024;
/// Power supplies keep a computer alive for a moment, and some boards start only after a longer one.
const PAUSE: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 10 });
const CONFIRM_MAX: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 20 });
const BETWEEN_READS: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 500 });

/// Off and on again, each confirmed. Once it was told to go off it is told to go on whatever becomes of the rest: a machine does not stay
/// dark for a question that nobody answered, and the BMC that is tried next may hang on the same outlet.
pub async fn cycle(outlet: &Outlet, still: &dyn Still) -> Result<(), PowerError> {
    let relay = Relay::open(outlet).await?;
    still.wanted().await?;
    // Some say yes to an order about an outlet that they do not have.
    relay.is_there().await?;
    still.wanted().await?;
    let cycled = async {
        relay.switch(false).await?;
        sleep(PAUSE).await;
        relay.switch(true).await
    };
    match cycled.await {
        Ok(()) => Ok(()),
        Err(why) => Err(PowerError::Left { why: Box::new(why), left: relay.leave_on().await }),
    }
}

/// How it is, after it may have been told to go off.
pub async fn stands(outlet: &Outlet) -> Left {
    let Ok(relay) = Relay::open(outlet).await else { return Left::Unknown };
    match relay.read().await.ok().flatten() {
        Some(true) => Left::On,
        Some(false) => Left::Off,
        None => Left::Unknown,
    }
}

struct Relay<'a> {
    outlet: &'a Outlet,
    speaks: Speaks,
}

enum Speaks {
    Http(Http),
    Snmp(snmp::Strip),
}

/// Who we are, over HTTP.
#[derive(Clone)]
enum Shown {
    Nobody,
    /// With every request.
    Basic(String),
    /// Once it asks.
    Digest {
        user: String,
        password: String,
    },
}

#[derive(Clone)]
struct Http {
    agent: Agent,
    shown: Shown,
}

impl<'a> Relay<'a> {
    async fn open(outlet: &'a Outlet) -> Result<Self, PowerError> {
        if let Some(places) = snmp::places(outlet.kind) {
            let strip =
                snmp::Strip::open(places, &outlet.base, outlet.number, outlet.password_file.as_deref())?;
            return Ok(Self { outlet, speaks: Speaks::Snmp(strip) });
        }
        let password = match &outlet.password_file {
            None => String::new(),
            Some(path) => super::secret(path).await?.trim_end_matches(['\r', '\n']).to_owned(),
        };
        let shown = match (&outlet.user, outlet.kind) {
            // Its only user is called so.
            (None, OutletKind::Shelly) if !password.is_empty() => {
                Shown::Digest { user: "admin".to_owned(), password }
            }
            (None, _) => Shown::Nobody,
            (Some(user), OutletKind::Shelly) => Shown::Digest { user: user.clone(), password },
            (Some(user), _) => {
                Shown::Basic(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
            }
        };
        let roots = std::fs::read(crate::tls::SYSTEM_ROOTS).unwrap_or_default();
        let certificates = parse_pem(&roots).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        });
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(certificates.collect())))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .timeout_global(Some(REQUEST_MAX))
            .max_redirects(0)
            .http_status_as_error(false)
            .tls_config(tls)
            .build();
        let agent = Agent::new_with_config(config);
        Ok(Self { outlet, speaks: Speaks::Http(Http { agent, shown }) })
    }

    /// It reads on or off.
    async fn is_there(&self) -> Result<(), PowerError> {
        let until = Instant::now() + CONFIRM_MAX;
        loop {
            let why = match self.read().await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {
                    let why = "it reads neither on nor off; nothing was switched. Look whether its kind and number are right";
                    let (host, what) = (self.outlet.base.clone(), "read the outlet");
                    PowerError::Bmc { host, what, why: why.to_owned() }
                }
                Err(why) => why,
            };
            if Instant::now() > until {
                return Err(why);
            }
            sleep(BETWEEN_READS).await;
        }
    }

    /// Told to go on until it says that it is; how it was left.
    async fn leave_on(&self) -> Left {
        let until = Instant::now() + CONFIRM_MAX;
        loop {
            let ordered = self.tell(true, "power on").await.is_ok();
            let found = self.read().await.ok().flatten();
            if found != Some(true) && Instant::now() <= until {
                sleep(BETWEEN_READS).await;
                continue;
            }
            return match (found, ordered) {
                (Some(true), _) => Left::On,
                (Some(false), _) => Left::Off,
                (None, true) => Left::Told,
                (None, false) => Left::Unknown,
            };
        }
    }

    /// Brings the outlet to a state, and reads it twice. A question that fails is asked again.
    async fn switch(&self, on: bool) -> Result<(), PowerError> {
        let what = if on { "power on" } else { "power off" };
        self.tell(on, what).await?;
        let until = Instant::now() + CONFIRM_MAX;
        let mut equal = 0;
        loop {
            let answer = self.read().await;
            let found = answer.as_ref().ok().copied().flatten();
            equal = if found == Some(on) { equal + 1 } else { 0 };
            if equal == 2 {
                return Ok(());
            }
            if Instant::now() > until {
                answer?;
                let found = found.map_or("no state", |on| if on { "on" } else { "off" }).to_owned();
                return Err(PowerError::Unconfirmed { host: self.outlet.base.clone(), what, found });
            }
            sleep(BETWEEN_READS).await;
        }
    }

    async fn tell(&self, on: bool, what: &'static str) -> Result<(), PowerError> {
        match &self.speaks {
            Speaks::Snmp(strip) => strip.tell(on).await.map_err(|why| self.unsaid(what, why)),
            Speaks::Http(http) => self.ask(http, self.order(on), what).await.map(drop),
        }
    }

    /// Whether it is on; `None`: what it says is neither.
    async fn read(&self) -> Result<Option<bool>, PowerError> {
        let what = "read the outlet";
        match &self.speaks {
            Speaks::Snmp(strip) => strip.read().await.map_err(|why| self.unsaid(what, why)),
            Speaks::Http(http) => Ok(self.state(&self.ask(http, self.question(), what).await?)),
        }
    }

    fn unsaid(&self, what: &'static str, why: snmp::Failed) -> PowerError {
        match why {
            snmp::Failed::Tool(why) => PowerError::Tool { tool: "snmp", why },
            snmp::Failed::Said(why) => PowerError::Bmc { host: self.outlet.base.clone(), what, why },
        }
    }

    fn order(&self, on: bool) -> (String, Option<Value>) {
        let (base, number) = (&self.outlet.base, self.outlet.number);
        match self.outlet.kind {
            OutletKind::Shelly => (format!("{base}/rpc/Switch.Set?id={number}&on={on}"), None),
            OutletKind::Tasmota => {
                let word = if on { "On" } else { "Off" };
                (format!("{base}/cm?cmnd=Power{number}%20{word}"), None)
            }
            OutletKind::Netio => {
                let order = json!({ "Outputs": [{ "ID": number, "Action": u8::from(on) }] });
                (format!("{base}/netio.json"), Some(order))
            }
            OutletKind::Apc | OutletKind::Raritan => (base.clone(), None),
        }
    }

    fn question(&self) -> (String, Option<Value>) {
        let (base, number) = (&self.outlet.base, self.outlet.number);
        match self.outlet.kind {
            OutletKind::Shelly => (format!("{base}/rpc/Switch.GetStatus?id={number}"), None),
            OutletKind::Tasmota => (format!("{base}/cm?cmnd=Power{number}"), None),
            OutletKind::Netio => (format!("{base}/netio.json"), None),
            OutletKind::Apc | OutletKind::Raritan => (base.clone(), None),
        }
    }

    /// Whether it is on, as it answers.
    fn state(&self, answer: &Value) -> Option<bool> {
        let number = self.outlet.number;
        match self.outlet.kind {
            OutletKind::Shelly => answer["output"].as_bool(),
            // One with a single relay leaves its number out.
            OutletKind::Tasmota => {
                let single = answer["POWER"].as_str().filter(|_| number == 1);
                match answer[format!("POWER{number}")].as_str().or(single) {
                    Some("ON") => Some(true),
                    Some("OFF") => Some(false),
                    _ => None,
                }
            }
            OutletKind::Netio => {
                let outputs = answer["Outputs"].as_array()?;
                let own = outputs.iter().find(|output| output["ID"].as_u64() == Some(number.into()))?;
                own["State"].as_u64().map(|state| state == 1)
            }
            OutletKind::Apc | OutletKind::Raritan => None,
        }
    }

    async fn ask(
        &self,
        http: &Http,
        (url, order): (String, Option<Value>),
        what: &'static str,
    ) -> Result<Value, PowerError> {
        let http = http.clone();
        let asked = tokio::task::spawn_blocking(move || http.converse(&url, order.as_ref()));
        let failed = |why: String| PowerError::Bmc { host: self.outlet.base.clone(), what, why };
        asked.await.map_err(|error| failed(error.to_string()))?.map_err(failed)
    }
}

impl Http {
    /// One question or order, and once more where it wants to know who asks.
    fn converse(&self, url: &str, order: Option<&Value>) -> Result<Value, String> {
        let shown = match &self.shown {
            Shown::Basic(value) => Some(value.clone()),
            Shown::Nobody | Shown::Digest { .. } => None,
        };
        let mut answer = self.send(url, order, shown.as_deref())?;
        if let (401, Shown::Digest { user, password }) = (answer.status().as_u16(), &self.shown) {
            let header = answer.headers().get("www-authenticate").and_then(|value| value.to_str().ok());
            let challenge = digest::Challenge::read(header.unwrap_or_default())?;
            let mut cnonce = [0; 16];
            ring::rand::SystemRandom::new()
                .fill(&mut cnonce)
                .map_err(|_| "the system gives no random bytes")?;
            let uri = url.splitn(4, '/').nth(3).map_or("/".to_owned(), |rest| format!("/{rest}"));
            let method = if order.is_some() { "POST" } else { "GET" };
            let answered = challenge.answer((user, password), method, &uri, &hex::encode(cnonce));
            answer = self.send(url, order, Some(&answered))?;
        }
        if !answer.status().is_success() {
            return Err(match answer.status().as_u16() {
                code @ (401 | 403) => format!("it refuses the user or the password ({code})"),
                code => format!("it answers {code}"),
            });
        }
        let text = answer.body_mut().with_config().limit(ANSWER_LEN_MAX).read_to_vec();
        serde_json::from_slice(&text.map_err(|error| error.to_string())?)
            .map_err(|error| format!("its answer cannot be understood: {error}"))
    }

    fn send(
        &self,
        url: &str,
        order: Option<&Value>,
        shown: Option<&str>,
    ) -> Result<ureq::http::Response<ureq::Body>, String> {
        let sent = match order {
            None => {
                let question = self.agent.get(url);
                match shown {
                    Some(value) => question.header("authorization", value).call(),
                    None => question.call(),
                }
            }
            Some(order) => {
                let post = self.agent.post(url).header("content-type", "application/json");
                match shown {
                    Some(value) => post.header("authorization", value).send(order.to_string()),
                    None => post.send(order.to_string()),
                }
            }
        };
        sent.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
