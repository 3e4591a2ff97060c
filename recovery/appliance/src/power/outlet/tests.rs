//! Outlets of each kind, by the dialects of their makers: over HTTP against a server that speaks them, over SNMP against net-snmp's own.

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
    /// It says nothing of the outlet that it is asked for.
    another: bool,
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
    let switched = !strip.log.is_empty();
    let fails = match order {
        // Once it was switched.
        None => Some(&mut strip.questions_fail).filter(|_| switched),
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
        "/cm" if strip.another => json!({ "POWER": if on { "ON" } else { "OFF" } }),
        "/netio.json" if strip.another => json!({ "Outputs": [{ "ID": 3, "State": u8::from(on) }] }),
        _ if strip.another => json!({ "id": 0 }),
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

#[tokio::test(flavor = "multi_thread")]
async fn one_that_reads_neither_on_nor_off_is_not_switched() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "secret\n").unwrap();
    // A Tasmota with one relay is not the second one of another.
    for word in ["shelly+http://HOST/0", "tasmota+http://HOST/2", "netio+http://gs@HOST/4#FILE"] {
        let (strip, host) = strip().await;
        strip.lock().unwrap().another = true;
        let word = word.replace("HOST", &host).replace("FILE", secret.path().to_str().unwrap());
        let error = cycle(&word.parse().unwrap(), &Always).await.unwrap_err();
        assert!(error.to_string().contains("neither on nor off") && error.left_dark().is_none(), "{error}");
        assert_eq!(strip.lock().unwrap().log, Vec::<String>::new(), "{word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_colon_in_the_path_of_an_snmp_conf_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("a:b");
    std::fs::create_dir(&odd).unwrap();
    std::fs::write(odd.join("snmp.conf"), "").unwrap();
    let word = format!("apc+snmp://127.0.0.1:1/3#{}", odd.join("snmp.conf").display());
    let error = cycle(&word.parse().unwrap(), &Always).await.unwrap_err().to_string();
    assert!(error.contains("no colon"), "{error}");
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
        (strip.lock().unwrap().questions_fail, strip.lock().unwrap().ons_fail) = (questions_fail, ons_fail);
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
    assert!(matches!(gone, PowerError::Bmc { .. }), "{gone}");
    let file =
        cycle(&"tasmota+http://127.0.0.1:1/1#/no/such/file".parse().unwrap(), &Always).await.unwrap_err();
    assert!(matches!(file, PowerError::Password { .. }), "{file}");
}

/// A Shelly of the second generation with its authentication on: a challenge of its own for each request, each nonce once.
async fn shelly() -> (Arc<Mutex<Shelly>>, String) {
    let shelly = Arc::new(Mutex::new(Shelly { on: true, ..Shelly::default() }));
    let router = Router::new().fallback(guarded).with_state(Arc::clone(&shelly));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (shelly, address)
}

#[derive(Default)]
struct Shelly {
    on: bool,
    nonces: u32,
    open: Option<String>,
    log: Vec<String>,
    shown: Vec<String>,
    weak: bool,
}

async fn guarded(
    State(shelly): State<Arc<Mutex<Shelly>>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, (StatusCode, [(&'static str, String); 1])> {
    let mut shelly = shelly.lock().unwrap();
    let shown = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    shelly.shown.extend(shown.clone());
    let field = |name: &str| {
        let text = shown.as_deref()?.split_once(&format!(" {name}="))?.1;
        Some(text.trim_start_matches('"').split(['"', ',']).next()?.to_owned())
    };
    let sha = |text: String| hex::encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()));
    let whole = uri.path_and_query().unwrap().to_string();
    let right = shelly.open.take().and_then(|nonce| {
        let (who, what) = (sha("admin:shellypro1-aabb:secret".to_owned()), sha(format!("GET:{whole}")));
        let (nc, cnonce) = (field("nc")?, field("cnonce")?);
        let response = sha(format!("{who}:{nonce}:{nc}:{cnonce}:auth:{what}"));
        Some(field("response")? == response && field("uri")? == whole && field("nonce")? == nonce)
    });
    if right != Some(true) {
        shelly.nonces += 1;
        let nonce = format!("60dc{:04x}", shelly.nonces);
        shelly.open = Some(nonce.clone());
        let algorithm = if shelly.weak { "MD5" } else { "SHA-256" };
        let asks = format!(
            "Digest qop=\"auth\", realm=\"shellypro1-aabb\", nonce=\"{nonce}\", algorithm={algorithm}"
        );
        return Err((StatusCode::UNAUTHORIZED, [("www-authenticate", asks)]));
    }
    match (uri.path(), uri.query().unwrap()) {
        ("/rpc/Switch.Set", query) => {
            shelly.on = query == "id=0&on=true";
            let word = if shelly.on { "on" } else { "off" };
            shelly.log.push(word.to_owned());
            Ok(Json(json!({ "was_on": !shelly.on })))
        }
        ("/rpc/Switch.GetStatus", "id=0") => Ok(Json(json!({ "id": 0, "output": shelly.on }))),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shelly_with_a_password_is_switched_and_never_sent_it() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "secret\n").unwrap();
    for user in ["", "admin@"] {
        let (shelly, host) = shelly().await;
        let word = format!("shelly+http://{user}{host}/0#{}", secret.path().display());
        cycle(&word.parse().unwrap(), &Always).await.unwrap();
        let shelly = shelly.lock().unwrap();
        assert_eq!((shelly.log.join(" "), shelly.on), ("off on".to_owned(), true));
        let told = shelly.shown.join("\n");
        assert!(!told.contains("secret") && !told.contains("Basic"), "{told}");
        let mut cnonces: Vec<&str> = told.split("cnonce=\"").skip(1).map(|rest| &rest[..32]).collect();
        let all = cnonces.len();
        cnonces.sort_unstable();
        cnonces.dedup();
        assert!(all >= 6 && cnonces.len() == all, "each is fresh: {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shelly_that_refuses_the_password_or_asks_for_less_is_not_switched() {
    let wrong = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(wrong.path(), "other").unwrap();
    for weak in [false, true] {
        let (shelly, host) = shelly().await;
        shelly.lock().unwrap().weak = weak;
        let word = format!("shelly+http://{host}/0#{}", wrong.path().display());
        let error = cycle(&word.parse().unwrap(), &Always).await.unwrap_err().to_string();
        assert!(error.contains(if weak { "by MD5" } else { "refuses the user or the password" }), "{error}");
        let shelly = shelly.lock().unwrap();
        assert_eq!((shelly.log.len(), shelly.on), (0, true));
    }
}

/// net-snmp's own agent, with a strip behind its `pass`; ends with the test. `None`: it is not installed.
struct Agentd {
    child: std::process::Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Drop for Agentd {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Outlet 3 of both makers' trees. The file `stuck` keeps it as it is.
const STRIP: &str = r#"#!/bin/sh
D=$(dirname "$0"); A=.1.3.6.1.4.1.318.1.1.12; R=.1.3.6.1.4.1.13742.6.4.1.2.1
s=$(cat "$D/state")
is() { if [ "$s" = on ]; then v=$1; else v=$2; fi; printf '%s\ninteger\n%s\n' "$O" "$v"; }
go() { echo "$1" >> "$D/log"; [ -e "$D/stuck" ] || echo "$1" > "$D/state"; }
O=$2
case "$1 $2" in
"-g $A.3.5.1.1.4.3" | "-g $A.3.3.1.1.4.3") is 1 2 ;;
"-g $R.3.1.3") is 7 8 ;;
"-s $A.3.3.1.1.4.3") case "$4" in 1) go on ;; 2) go off ;; *) echo wrong-value ;; esac ;;
"-s $R.2.1.3") case "$4" in 1) go on ;; 0) go off ;; *) echo wrong-value ;; esac ;;
*) exit 1 ;;
esac
"#;

impl Agentd {
    fn start() -> Option<Self> {
        let here = |file: &str| {
            ["/usr/sbin", "/usr/bin"].iter().any(|dir| std::path::Path::new(dir).join(file).exists())
        };
        if !here("snmpd") || !here("snmpset") {
            crate::testing::not_looked_at("net-snmp", "snmp snmpd");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("strip.sh"), STRIP).unwrap();
        std::fs::write(at("state"), "on").unwrap();
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let pass = |tree: &str| format!("pass {tree} /bin/sh {}\n", at("strip.sh").display());
        let conf = format!(
            "agentaddress udp:127.0.0.1:{port}\nrwcommunity private\ncreateUser gs SHA \"authauthauth\" AES \"privprivpriv\"\nrwuser gs priv\n{}{}",
            pass(".1.3.6.1.4.1.318.1.1.12"),
            pass(".1.3.6.1.4.1.13742.6.4.1.2.1"),
        );
        std::fs::write(at("snmpd.conf"), conf).unwrap();
        let v3 = |passphrase: &str| {
            format!(
                "defVersion 3\ndefSecurityName gs\ndefSecurityLevel authPriv\ndefAuthType SHA\ndefAuthPassphrase {passphrase}\n\
                 defPrivType AES\ndefPrivPassphrase privprivpriv\n"
            )
        };
        let v2 = "defVersion 2c\ndefCommunity private\n".to_owned();
        for (name, text) in [("v2", v2), ("v3", v3("authauthauth")), ("wrong", v3("anotheranother"))] {
            std::fs::create_dir(at(name)).unwrap();
            std::fs::write(at(name).join("snmp.conf"), text).unwrap();
        }
        let mut snmpd = std::process::Command::new("snmpd");
        snmpd
            .args(["-f", "-LE", "0", "-C", "-c"])
            .arg(at("snmpd.conf"))
            .env("PATH", "/usr/sbin:/usr/bin:/bin");
        snmpd.env("SNMP_PERSISTENT_DIR", dir.path()).env("MIBS", "").stdout(std::process::Stdio::null());
        let child = snmpd.stderr(std::process::Stdio::null()).spawn().unwrap();
        Some(Self { child, dir, port })
    }

    fn outlet(&self, kind: &str, number: u8, who: &str) -> Outlet {
        let conf = self.dir.path().join(who).join("snmp.conf");
        format!("{kind}+snmp://127.0.0.1:{}/{number}#{}", self.port, conf.display()).parse().unwrap()
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        log.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strips_of_both_makers_are_switched_over_both_versions_of_snmp_and_read_back() {
    let Some(agent) = Agentd::start() else { return };
    // The tool asks again until the agent has come up.
    assert_eq!(stands(&agent.outlet("apc", 3, "v2")).await, Left::On);
    for (kind, who) in [("apc", "v2"), ("apc", "v3"), ("raritan", "v2"), ("raritan", "v3")] {
        cycle(&agent.outlet(kind, 3, who), &Always)
            .await
            .unwrap_or_else(|error| panic!("{kind} {who}: {error}"));
    }
    assert_eq!(agent.log(), ["off on"; 4].join(" "));
    std::fs::write(agent.dir.path().join("state"), "off").unwrap();
    for kind in ["apc", "raritan"] {
        assert_eq!(stands(&agent.outlet(kind, 3, "v3")).await, Left::Off, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strip_that_does_not_know_us_has_no_such_outlet_or_stays_on_is_named() {
    let Some(agent) = Agentd::start() else { return };
    assert_eq!(stands(&agent.outlet("apc", 3, "v2")).await, Left::On);
    let error = cycle(&agent.outlet("apc", 3, "wrong"), &Always).await.unwrap_err().to_string();
    assert!(error.contains("uthentication failure"), "{error}");
    assert!(!error.contains("anotheranother"), "{error}");
    let error = cycle(&agent.outlet("apc", 9, "v2"), &Always).await.unwrap_err();
    assert!(error.to_string().contains("no outlet 9") && error.left_dark().is_none(), "{error}");
    assert_eq!(agent.log(), "", "nothing was switched");
    std::fs::write(agent.dir.path().join("stuck"), "").unwrap();
    let stuck = cycle(&agent.outlet("raritan", 3, "v3"), &Always).await.unwrap_err();
    assert!(matches!(why(&stuck), PowerError::Unconfirmed { what: "power off", .. }), "{stuck}");
    assert_eq!(stuck.left_dark(), None, "it reads on");
    let none = "apc+snmp://127.0.0.1:1/3#/no/such/snmp.conf".parse().unwrap();
    assert!(matches!(cycle(&none, &Always).await, Err(PowerError::Password { .. })));
}
