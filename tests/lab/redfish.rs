//! A Redfish BMC of a virtual endpoint: OpenStack's `sushy-emulator`, wired to the endpoint's power button.
//!
//! ```text
//!   Redfish ──HTTPS──► sushy-emulator ──PUT its record──► this module ──► Button
//!                           └─ fetches the CD that it shows the endpoint
//! ```
//!
//! It is not in Debian, so it comes from PyPI into the lab's cache, every package at a fixed version. Like real BMCs it says yes at once
//! and acts seconds later, only while somebody reads its state, and makes a lasting override of a one-time one. Its certificate is its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bmc::USER;
use crate::cache::{Cache, digest};
use crate::endpoint::Button;
use crate::story::Log;
use crate::tool;

/// The emulator and what it needs, newest first known to work together.
const PACKAGES: &[&str] = &[
    "sushy-tools==2.2.0",
    "bcrypt==5.0.0",
    "blinker==1.9.0",
    "certifi==2026.10.19.post1",
    "charset-normalizer==3.5.3",
    "click==8.5.1",
    "Flask==3.1.3",
    "idna==3.20",
    "itsdangerous==2.2.0",
    "Jinja2==3.1.6",
    "MarkupSafe==3.0.4",
    "pbr==7.1.3",
    "requests==2.34.2",
    "setuptools==65.5.0",
    "tenacity==9.2.1",
    "urllib3==2.8.0",
    "WebOb==1.8.11",
    "Werkzeug==3.1.9",
];
/// Where it answers: 443 is the appliance's.
pub const PORT: u16 = 8000;
/// The emulator takes a few seconds to start on a loaded computer.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The emulator's Python, from the cache or from PyPI.
///
/// # Errors
/// When it is in no cache and PyPI cannot be reached.
pub fn python(cache: &Cache) -> Result<PathBuf> {
    let name = format!("sushy-{}", digest(PACKAGES.iter().map(|package| package.as_bytes())));
    let home = cache.file(&name, |part| {
        let _ = fs::remove_dir_all(part);
        tool::run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(part))?;
        let mut pip = Command::new(part.join("bin/python"));
        tool::run(pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]).args(PACKAGES)).map(drop)
    })?;
    Ok(home.join("bin/python"))
}

/// Starts the emulator for one endpoint: its process, and the SHA-256 of its certificate.
///
/// # Errors
/// When it cannot be started or does not answer.
pub fn start(
    dir: &Path,
    address: Ipv4Addr,
    password: &str,
    uuid: &str,
    button: Button,
    log: &Log,
) -> Result<(std::process::Child, String)> {
    let python = python(&Cache::open()?)?;
    let (key, certificate) = (dir.join("tls.key"), dir.join("tls.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]);
    tool::run(openssl.args(["-subj", "/CN=bmc", "-keyout"]).arg(&key).arg("-out").arg(&certificate))?;
    let shown = tool::run(
        Command::new("openssl").args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&certificate),
    )?;
    let (_, fingerprint) = shown.trim().split_once('=').context("openssl prints no fingerprint")?;
    let users = dir.join("users");
    let hash = "import bcrypt, sys; print(bcrypt.hashpw(sys.argv[1].encode(), bcrypt.gensalt(4)).decode())";
    let hash = tool::run(Command::new(&python).args(["-c", hash, password]))?;
    fs::write(&users, format!("{USER}:{}\n", hash.trim()))?;

    let told = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let config = dir.join("sushy.conf");
    let system = json!([{ "uuid": uuid, "name": "endpoint", "power_state": "Off", "external_notifier": true, "nics": [] }]);
    // The file is Python; of JSON only `true` is spelled otherwise.
    let system = system.to_string().replace("true", "True");
    fs::write(
        &config,
        format!(
            "SUSHY_EMULATOR_LISTEN_IP = '{address}'\nSUSHY_EMULATOR_LISTEN_PORT = {PORT}\n\
             SUSHY_EMULATOR_SSL_CERT = '{}'\nSUSHY_EMULATOR_SSL_KEY = '{}'\n\
             SUSHY_EMULATOR_AUTH_FILE = '{}'\nSUSHY_EMULATOR_FAKE_DRIVER = True\n\
             SUSHY_EMULATOR_STATE_DIR = '{}'\nSUSHY_EMULATOR_FAKE_SYSTEMS = {system}\n\
             EXTERNAL_NOTIFICATION_URL = 'http://{}/'\n",
            certificate.display(),
            key.display(),
            users.display(),
            dir.display(),
            told.local_addr()?,
        ),
    )?;
    thread::spawn({
        let log = log.clone();
        move || {
            for stream in told.incoming().flatten() {
                let outcome = obey(stream, &button);
                log.note(outcome.unwrap_or_else(|error| format!("{error:#}")));
            }
        }
    });
    let mut emulator = Command::new(&python)
        .args(["-m", "sushy_tools.emulator.main", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start sushy-emulator")?;
    if let Some(stream) = emulator.stdout.take() {
        log.feed(stream)?;
    }
    if let Some(stream) = emulator.stderr.take() {
        log.feed(stream)?;
    }
    log.until("sushy-emulator to answer", START_LIMIT, || {
        Ok(TcpStream::connect((address, PORT)).ok().map(drop))
    })?;
    Ok((emulator, fingerprint.to_owned()))
}

/// One notice of the emulator: its record as JSON. The button does what the record says.
fn obey(stream: TcpStream, button: &Button) -> Result<String> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "a notice without an end");
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let record: Value = serde_json::from_slice(&body)?;
    // Which file it made of what it fetched, while that is in its drive.
    let medium = record["boot_image"]["Cd"][0].as_str().map(PathBuf::from);
    match record["boot_device"].as_str() {
        Some("Cd") => button.arm(medium.is_some(), medium),
        device => button.arm(device == Some("Pxe"), None),
    }
    match record["power_state"].as_str() {
        Some("On") => button.on(),
        Some("Off") => button.off(),
        other => return Ok(format!("the emulator reports the power state {other:?}")),
    }
    reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?;
    Ok(format!("power {}, boot device {}", record["power_state"], record["boot_device"]))
}
