//! A switched power outlet over HTTP: off, two equal reads, a pause, on, two equal reads.
//!
//! It is the last means where a BMC hangs or there is none. It takes the power away from under a running system, which the recovery erases
//! anyhow, and says nothing of what is booted then: the firmware must start when power comes back and try the network first, which is
//! harmless, since without a boot ticket it is sent to its own disk. Outlets speak HTTP, mostly without TLS: they belong into the
//! management network.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use recovery_protocol::outlet::{Outlet, OutletKind};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use ureq::{
    Agent,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use super::{Left, PowerError, Still};

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
    let answer = relay.ask(relay.question(), "read the outlet").await;
    match answer.ok().and_then(|answer| relay.state(&answer)) {
        Some(true) => Left::On,
        Some(false) => Left::Off,
        None => Left::Unknown,
    }
}

struct Relay<'a> {
    outlet: &'a Outlet,
    agent: Agent,
    authorization: Option<String>,
}

impl<'a> Relay<'a> {
    async fn open(outlet: &'a Outlet) -> Result<Self, PowerError> {
        let password = match &outlet.password_file {
            None => String::new(),
            Some(path) => tokio::fs::read_to_string(path)
                .await
                .map_err(|_| PowerError::Password { path: path.clone() })?
                .trim_end_matches(['\r', '\n'])
                .to_owned(),
        };
        let pair = outlet.user.as_ref().map(|user| format!("{user}:{password}"));
        let authorization = pair.map(|pair| format!("Basic {}", BASE64_STANDARD.encode(pair)));
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
            .tls_config(tls)
            .build();
        Ok(Self { outlet, agent: Agent::new_with_config(config), authorization })
    }

    /// Told to go on until it says that it is; how it was left.
    async fn leave_on(&self) -> Left {
        let until = Instant::now() + CONFIRM_MAX;
        loop {
            let ordered = self.ask(self.order(true), "power on").await.is_ok();
            let answer = self.ask(self.question(), "read the outlet").await;
            let found = answer.ok().and_then(|answer| self.state(&answer));
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
        self.ask(self.order(on), what).await?;
        let until = Instant::now() + CONFIRM_MAX;
        let mut equal = 0;
        loop {
            let answer = self.ask(self.question(), "read the outlet").await;
            let found = answer.as_ref().ok().and_then(|answer| self.state(answer));
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
        }
    }

    fn question(&self) -> (String, Option<Value>) {
        let (base, number) = (&self.outlet.base, self.outlet.number);
        match self.outlet.kind {
            OutletKind::Shelly => (format!("{base}/rpc/Switch.GetStatus?id={number}"), None),
            OutletKind::Tasmota => (format!("{base}/cm?cmnd=Power{number}"), None),
            OutletKind::Netio => (format!("{base}/netio.json"), None),
        }
    }

    /// Whether it is on, as it answers.
    fn state(&self, answer: &Value) -> Option<bool> {
        let number = self.outlet.number;
        match self.outlet.kind {
            OutletKind::Shelly => answer["output"].as_bool(),
            // One with a single relay leaves its number out.
            OutletKind::Tasmota => {
                match answer[format!("POWER{number}")].as_str().or(answer["POWER"].as_str()) {
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
        }
    }

    async fn ask(
        &self,
        (url, order): (String, Option<Value>),
        what: &'static str,
    ) -> Result<Value, PowerError> {
        let (agent, authorization) = (self.agent.clone(), self.authorization.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let mut answer = match order {
                None => {
                    let question = agent.get(&url);
                    match &authorization {
                        Some(value) => question.header("authorization", value).call(),
                        None => question.call(),
                    }
                }
                Some(order) => {
                    let post = agent.post(&url).header("content-type", "application/json");
                    match &authorization {
                        Some(value) => post.header("authorization", value).send(order.to_string()),
                        None => post.send(order.to_string()),
                    }
                }
            }
            .map_err(|error| error.to_string())?;
            let text = answer.body_mut().with_config().limit(ANSWER_LEN_MAX).read_to_vec();
            serde_json::from_slice(&text.map_err(|error| error.to_string())?)
                .map_err(|error| format!("its answer cannot be understood: {error}"))
        });
        let failed = |why: String| PowerError::Bmc { host: self.outlet.base.clone(), what, why };
        asked.await.map_err(|error| failed(error.to_string()))?.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::{
        Json, Router,
        body::Bytes,
        extract::{RawQuery, State},
        http::{HeaderMap, StatusCode, Uri},
    };

    use super::*;
    use crate::power::tests::Always;

    #[derive(Default)]
    struct Strip {
        on: bool,
        stuck: bool,
        /// So many questions, and so many orders to go on, fail from now on.
        questions_fail: u32,
        ons_fail: u32,
        log: Vec<String>,
    }

    type Shared = Arc<Mutex<Strip>>;

    /// The three dialects, as their makers describe them: shelly-api-docs.shelly.cloud (Switch), tasmota.github.io (Commands), netio-products.com
    /// (JSON over HTTP API).
    async fn answer(
        State(strip): State<Shared>,
        uri: Uri,
        RawQuery(query): RawQuery,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Json<Value>, StatusCode> {
        let mut strip = strip.lock().unwrap();
        let query = query.unwrap_or_default();
        let order = match (uri.path(), query.as_str()) {
            ("/rpc/Switch.Set", "id=0&on=true") | ("/cm", "cmnd=Power2%20On") => Some(true),
            ("/rpc/Switch.Set", "id=0&on=false") | ("/cm", "cmnd=Power2%20Off") => Some(false),
            ("/netio.json", "") if !body.is_empty() => {
                // base64 of gs:secret
                if headers.get("authorization").is_none_or(|value| value != "Basic Z3M6c2VjcmV0") {
                    return Err(StatusCode::UNAUTHORIZED);
                }
                let order: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(order["Outputs"][0]["ID"], 4);
                Some(order["Outputs"][0]["Action"] == 1)
            }
            ("/rpc/Switch.GetStatus", "id=0") | ("/cm", "cmnd=Power2") | ("/netio.json", "") => None,
            other => panic!("{other:?}"),
        };
        let fails = match order {
            None => Some(&mut strip.questions_fail),
            Some(true) => Some(&mut strip.ons_fail),
            Some(false) => None,
        };
        if let Some(left) = fails.filter(|left| **left > 0) {
            *left -= 1;
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        if let Some(on) = order {
            strip.log.push(if on { "on" } else { "off" }.to_owned());
            strip.on = if strip.stuck { strip.on } else { on };
        }
        let on = strip.on;
        Ok(Json(match uri.path() {
            "/cm" => json!({ "POWER2": if on { "ON" } else { "OFF" } }),
            "/netio.json" => {
                json!({ "Outputs": [{ "ID": 3, "State": 0 }, { "ID": 4, "State": u8::from(on) }] })
            }
            _ => json!({ "id": 0, "output": on }),
        }))
    }

    async fn strip() -> (Shared, String) {
        let strip: Shared = Arc::new(Mutex::new(Strip { on: true, ..Strip::default() }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&strip));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (strip, address)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_kind_is_switched_off_and_on_and_read_back() {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "secret\n").unwrap();
        for word in ["shelly+http://HOST/0", "tasmota+http://HOST/2", "netio+http://gs@HOST/4#FILE"] {
            let (strip, host) = strip().await;
            let word = word.replace("HOST", &host).replace("FILE", secret.path().to_str().unwrap());
            cycle(&word.parse().unwrap(), &Always).await.unwrap();
            let strip = strip.lock().unwrap();
            assert_eq!((strip.log.join(" "), strip.on), ("off on".to_owned(), true), "{word}");
        }
    }

    fn why(error: &PowerError) -> &PowerError {
        let PowerError::Left { why, .. } = error else { panic!("how it was left is not said: {error}") };
        why
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_question_that_fails_is_asked_again() {
        let (strip, host) = strip().await;
        strip.lock().unwrap().questions_fail = 3;
        cycle(&format!("shelly+http://{host}/0").parse().unwrap(), &Always).await.unwrap();
        let strip = strip.lock().unwrap();
        assert_eq!((strip.log.join(" "), strip.questions_fail), ("off on".to_owned(), 0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_was_told_to_go_off_is_left_on_whatever_fails_and_how_it_was_left_is_said() {
        let never = u32::MAX;
        for (questions_fail, ons_fail, is_on, left) in [
            (never, 0, true, "took the order to go on again"),
            (0, 2, true, "was left on"),
            (0, never, false, "is off: switch it on"),
            (never, never, false, "look at it"),
        ] {
            let (strip, host) = strip().await;
            (strip.lock().unwrap().questions_fail, strip.lock().unwrap().ons_fail) =
                (questions_fail, ons_fail);
            let error = cycle(&format!("tasmota+http://{host}/2").parse().unwrap(), &Always).await;
            let error = error.unwrap_err();
            assert!(matches!(why(&error), PowerError::Bmc { .. }), "{error}");
            assert!(error.to_string().contains(left), "{error}");
            let strip = strip.lock().unwrap();
            assert_eq!((strip.log[0].as_str(), strip.on), ("off", is_on), "{error}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_outlet_that_stays_on_one_that_refuses_and_one_that_is_gone_are_named() {
        let (strip, host) = strip().await;
        strip.lock().unwrap().stuck = true;
        let stuck = cycle(&format!("shelly+http://{host}/0").parse().unwrap(), &Always).await.unwrap_err();
        assert!(
            matches!(why(&stuck), PowerError::Unconfirmed { what: "power off", found, .. } if found == "on"),
            "{stuck}"
        );
        assert_eq!(strip.lock().unwrap().log, ["off", "on"], "it may go off late, and is not left so");
        let refused = cycle(&format!("netio+http://{host}/4").parse().unwrap(), &Always).await.unwrap_err();
        assert!(refused.to_string().contains("401"), "{refused}");
        let gone = cycle(&"tasmota+http://127.0.0.1:1/1".parse().unwrap(), &Always).await.unwrap_err();
        assert!(matches!(why(&gone), PowerError::Bmc { .. }), "{gone}");
        let file =
            cycle(&"tasmota+http://127.0.0.1:1/1#/no/such/file".parse().unwrap(), &Always).await.unwrap_err();
        assert!(matches!(file, PowerError::Password { .. }), "{file}");
    }
}
