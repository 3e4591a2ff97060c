//! The driver against a BMC with the habits of real ones. The whole way with Debian's firmware behind `sushy-emulator` is a
//! story of the lab.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use hyper::http::{HeaderMap, Method, StatusCode, Uri};

use super::*;
use crate::power::tests::Always;

const SYSTEM: &str = "/redfish/v1/Systems/1";
const RESET: &str = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset";

/// What a BMC does that it should not, or what it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Says yes to an override and forgets it (ironcore-dev/metal-operator#80).
    Ignores,
    /// Makes a lasting override of a one-time one (kubevirtbmc#165).
    Lasting,
    /// Refuses an override that names the mode (baremetal-operator#493).
    NoMode,
    /// Refuses to take an override back without its target (metal-operator#998).
    KeepTarget,
    /// Takes an order only with the right tag.
    Tags,
    /// Says yes to each power order, and the power stays.
    Stuck,
    /// Says yes when it is to go on, and stays off.
    StaysOff,
    /// Answers each power order with an error and carries it out.
    Grumbles,
    /// Has two systems.
    Two,
    /// Does not know the order "On".
    ForceOn,
}

struct Chassis {
    habits: Vec<Habit>,
    power: &'static str,
    /// What is read, before the power is what it is.
    late: VecDeque<&'static str>,
    enabled: String,
    target: String,
    tag: u32,
    log: Vec<String>,
}

type Shared = Arc<Mutex<Chassis>>;

/// A BMC on loopback, and a file with its password.
pub struct Stand {
    pub url: String,
    pub password_file: tempfile::NamedTempFile,
    chassis: Shared,
}

impl Stand {
    pub async fn new(habits: &[Habit]) -> Self {
        let chassis: Shared = Arc::new(Mutex::new(Chassis {
            habits: habits.to_vec(),
            power: "On",
            late: VecDeque::new(),
            enabled: "Disabled".to_owned(),
            target: "None".to_owned(),
            tag: 1,
            log: Vec::new(),
        }));
        let routes =
            Router::new().fallback(answer).route("/redfish/v1/", get(root)).with_state(Arc::clone(&chassis));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let password_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(password_file.path(), "secret\n").unwrap();
        Self { url, password_file, chassis }
    }

    fn bmc(&self) -> Bmc<'_> {
        let password_file = self.password_file.path().to_str().unwrap();
        Bmc { url: &self.url, user: "gs", password_file, pin: None }
    }

    /// Whether the next boot goes to the network.
    pub fn is_armed(&self) -> bool {
        let chassis = self.chassis.lock().unwrap();
        chassis.enabled != "Disabled" && chassis.target == "Pxe"
    }

    pub fn log(&self) -> Vec<String> {
        self.chassis.lock().unwrap().log.clone()
    }
}

async fn root() -> Json<Value> {
    Json(json!({ "Systems": { "@odata.id": "/redfish/v1/Systems" } }))
}

fn no(status: StatusCode, words: &str) -> Response {
    let error = json!({ "error": { "message": "general", "@Message.ExtendedInfo": [{ "Message": words }] } });
    (status, Json(error)).into_response()
}

async fn answer(
    State(chassis): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut chassis = chassis.lock().unwrap();
    // base64 of gs:secret
    if headers.get("authorization").is_none_or(|value| value != "Basic Z3M6c2VjcmV0") {
        return no(StatusCode::UNAUTHORIZED, "While accessing the resource, the credentials are wrong.");
    }
    let order: Value = serde_json::from_slice(&body).unwrap_or_default();
    match (method.as_str(), uri.path()) {
        ("GET", "/redfish/v1/Systems") => {
            let mut members = vec![json!({ "@odata.id": SYSTEM })];
            if chassis.has(Habit::Two) {
                members.push(json!({ "@odata.id": "/redfish/v1/Systems/2" }));
            }
            Json(json!({ "Members": members })).into_response()
        }
        ("GET", SYSTEM) => chassis.read(),
        ("PATCH", SYSTEM) => {
            chassis.patch(&order["Boot"], headers.get("if-match").and_then(|tag| tag.to_str().ok()))
        }
        ("POST", RESET) => chassis.reset(order["ResetType"].as_str().unwrap_or_default()),
        _ => no(StatusCode::NOT_FOUND, "There is no such resource."),
    }
}

impl Chassis {
    fn has(&self, habit: Habit) -> bool {
        self.habits.contains(&habit)
    }

    fn read(&mut self) -> Response {
        let power = self.late.pop_front().unwrap_or(self.power);
        let on = if self.has(Habit::ForceOn) { "ForceOn" } else { "On" };
        let system = json!({
            "PowerState": power,
            "Boot": {
                "BootSourceOverrideEnabled": self.enabled,
                "BootSourceOverrideTarget": self.target,
                "BootSourceOverrideMode": "UEFI",
                "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "Hdd", "UefiHttp"],
            },
            "Actions": { "#ComputerSystem.Reset": {
                "target": RESET, "ResetType@Redfish.AllowableValues": [on, "ForceOff"],
            }},
        });
        ([("etag", format!("\"{}\"", self.tag))], Json(system)).into_response()
    }

    fn patch(&mut self, boot: &Value, tag: Option<&str>) -> Response {
        self.log.push(boot.to_string());
        if self.has(Habit::Tags) && tag != Some(&format!("\"{}\"", self.tag)) {
            return no(StatusCode::PRECONDITION_FAILED, "The tag does not match.");
        }
        self.tag += 1;
        if self.has(Habit::NoMode) && boot.get("BootSourceOverrideMode").is_some() {
            return no(StatusCode::BAD_REQUEST, "The property BootSourceOverrideMode is not writable.");
        }
        let disable = boot["BootSourceOverrideEnabled"] == "Disabled";
        if self.has(Habit::KeepTarget) && disable && boot["BootSourceOverrideTarget"] != self.target {
            return no(StatusCode::BAD_REQUEST, "The target is missing.");
        }
        if self.has(Habit::Ignores) {
            return StatusCode::NO_CONTENT.into_response();
        }
        if let Some(target) = boot["BootSourceOverrideTarget"].as_str() {
            self.target = target.to_owned();
        }
        let enabled = boot["BootSourceOverrideEnabled"].as_str().unwrap_or(&self.enabled).to_owned();
        let lasting = self.has(Habit::Lasting) && enabled == "Once";
        self.enabled = if lasting { "Continuous".to_owned() } else { enabled };
        StatusCode::NO_CONTENT.into_response()
    }

    fn reset(&mut self, kind: &str) -> Response {
        self.log.push(kind.to_owned());
        if self.has(Habit::ForceOn) && kind == "On" {
            return no(StatusCode::BAD_REQUEST, "The value On is not in the list.");
        }
        let before = self.power;
        if !(self.has(Habit::Stuck) || self.has(Habit::StaysOff) && kind == "On") {
            self.power = if kind == "ForceOff" { "Off" } else { "On" };
        }
        if self.has(Habit::Grumbles) {
            return no(StatusCode::INTERNAL_SERVER_ERROR, "The service failed.");
        }
        // The new state once, then the old again: one equal read is not enough.
        self.late = VecDeque::from([self.power, before]);
        StatusCode::ACCEPTED.into_response()
    }
}

#[tokio::test]
async fn off_is_confirmed_before_the_override_and_the_override_before_on() {
    let stand = Stand::new(&[]).await;
    power_into_network(&stand.bmc(), Chain::Auto, &Always).await.unwrap();
    let log = stand.log();
    assert_eq!(log.len(), 3, "{log:?}");
    assert_eq!((log[0].as_str(), log[2].as_str()), ("ForceOff", "On"));
    assert!(log[1].contains("\"Once\"") && log[1].contains("\"Pxe\"") && log[1].contains("UEFI"), "{log:?}");
    assert!(stand.chassis.lock().unwrap().late.is_empty(), "each state was read until it stood still");
    assert!(armed(&stand.bmc()).await.unwrap());
    clear_boot(&stand.bmc()).await.unwrap();
    assert!(!armed(&stand.bmc()).await.unwrap());
    clear_boot(&stand.bmc()).await.unwrap();
    assert_eq!(stand.log().len(), 4, "nothing to take back is no order");
}

#[tokio::test]
async fn an_endpoint_that_boots_over_http_is_told_so() {
    let stand = Stand::new(&[]).await;
    power_into_network(&stand.bmc(), Chain::UefiHttp, &Always).await.unwrap();
    assert!(stand.log()[1].contains("\"UefiHttp\""));
    assert!(armed(&stand.bmc()).await.unwrap());
}

#[tokio::test]
async fn one_that_is_off_is_not_switched_off() {
    let stand = Stand::new(&[]).await;
    stand.chassis.lock().unwrap().power = "Off";
    power_into_network(&stand.bmc(), Chain::Auto, &Always).await.unwrap();
    assert!(!stand.log().contains(&"ForceOff".to_owned()));
}

#[tokio::test]
async fn odd_bmcs_are_armed_and_disarmed_all_the_same() {
    for habit in
        [Habit::Lasting, Habit::NoMode, Habit::KeepTarget, Habit::Tags, Habit::Grumbles, Habit::ForceOn]
    {
        let stand = Stand::new(&[habit]).await;
        power_into_network(&stand.bmc(), Chain::Auto, &Always)
            .await
            .unwrap_or_else(|error| panic!("{habit:?}: {error}"));
        assert!(armed(&stand.bmc()).await.unwrap(), "{habit:?}");
        clear_boot(&stand.bmc()).await.unwrap_or_else(|error| panic!("{habit:?}: {error}"));
        assert!(!armed(&stand.bmc()).await.unwrap(), "{habit:?}");
    }
}

#[tokio::test]
async fn an_override_that_is_ignored_is_seen_before_the_power_goes_on() {
    let stand = Stand::new(&[Habit::Ignores]).await;
    let error = power_into_network(&stand.bmc(), Chain::Auto, &Always).await.unwrap_err();
    let PowerError::Left { why, left: Left::Off } = &error else {
        panic!("how it was left is not said: {error}")
    };
    assert!(matches!(&**why, PowerError::Unconfirmed { what: "boot from the network", .. }), "{error}");
    assert!(error.to_string().contains("boot override Disabled to None"), "{error}");
    assert!(!stand.log().contains(&"On".to_owned()), "the old system must not start");
}

#[tokio::test]
async fn an_override_that_stays_is_an_error() {
    let stand = Stand::new(&[]).await;
    power_into_network(&stand.bmc(), Chain::Auto, &Always).await.unwrap();
    stand.chassis.lock().unwrap().habits.push(Habit::Ignores);
    let error = clear_boot(&stand.bmc()).await.unwrap_err();
    assert!(matches!(error, PowerError::Unconfirmed { what: "clear the boot override", .. }), "{error}");
}

#[tokio::test]
async fn power_that_is_stuck_is_named_and_nothing_is_armed() {
    let stand = Stand::new(&[Habit::Stuck]).await;
    let error = power_into_network(&stand.bmc(), Chain::Auto, &Always).await.unwrap_err();
    let PowerError::Left { why, left: Left::On } = &error else {
        panic!("how it was left is not said: {error}")
    };
    assert!(
        matches!(&**why, PowerError::Unconfirmed { what: "power off", found, .. } if found == "On"),
        "{error}"
    );
    assert_eq!(stand.log(), ["ForceOff"]);
}

#[tokio::test]
async fn which_of_two_systems_is_meant_must_be_said() {
    let stand = Stand::new(&[Habit::Two]).await;
    let error = power_into_network(&stand.bmc(), Chain::Auto, &Always).await.unwrap_err();
    assert!(error.to_string().contains("/redfish/v1/Systems/1, /redfish/v1/Systems/2"), "{error}");
    let url = format!("{}{SYSTEM}", stand.url);
    let bmc = Bmc { url: &url, ..stand.bmc() };
    power_into_network(&bmc, Chain::Auto, &Always).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_a_missing_one_and_a_silent_bmc_are_named() {
    let stand = Stand::new(&[]).await;
    let bmc = Bmc { user: "other", ..stand.bmc() };
    let error = clear_boot(&bmc).await.unwrap_err().to_string();
    assert!(error.contains("refuses the user or the password") && error.contains("credentials"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    let bmc = Bmc { password_file: "no/such/file", ..stand.bmc() };
    assert!(matches!(clear_boot(&bmc).await, Err(PowerError::Password { .. })));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = clear_boot(&Bmc { url: &url, ..stand.bmc() }).await.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_password_does_not_cross_the_network_in_the_clear() {
    let stand = Stand::new(&[]).await;
    for url in ["http://10.7.0.9", "10.7.0.9", "ftp://10.7.0.9"] {
        let error = clear_boot(&Bmc { url, ..stand.bmc() }).await.unwrap_err().to_string();
        assert!(error.contains("https://"), "{error}");
    }
}
