//! The site's attestation verifier: reports a failed endpoint by a signed webhook, and answers when the appliance asks back.
//!
//! It stands for a Keylime or an EDR of the site. It speaks the Standard Webhooks form (headers `webhook-id`, `webhook-timestamp`,
//! `webhook-signature`, HMAC-SHA-256) and keeps its verdict until it is told otherwise: a hint alone must recover nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

/// Where it answers, inside the plant's own namespace.
pub const PORT: u16 = 9700;

/// A verifier that answers.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    failed: Arc<Mutex<BTreeSet<String>>>,
}

impl Verifier {
    /// Starts to answer confirmations on the plant's loopback.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start() -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).context("the verifier's port is taken")?;
        let verifier = Self::default();
        let answering = verifier.clone();
        thread::spawn(move || listener.incoming().flatten().for_each(|asked| drop(answering.answer(asked))));
        Ok(verifier)
    }

    /// From now on it says that this endpoint fails (or passes).
    pub fn judge(&self, endpoint: &str, fails: bool) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if fails {
            failed.insert(endpoint.to_owned());
        } else {
            failed.remove(endpoint);
        }
    }

    /// Tells the appliance, by a signed webhook, that attestation of `endpoint` failed.
    ///
    /// # Errors
    /// When the appliance cannot be reached or refuses the webhook.
    pub fn report(&self, endpoint: &str, secret: &Path, console: &str) -> Result<()> {
        let body = serde_json::json!({
            "type": "endpoint.attestation.failed",
            "data": { "endpoint": endpoint, "detail": "the endpoint does not prove its state any more" },
        })
        .to_string();
        let id = format!("msg-{}", unix_ms()?);
        let status = post(console, &sign(secret, &id, &body)?, &body)?;
        if status / 100 == 2 { Ok(()) } else { bail!("the appliance answered the webhook with {status}") }
    }

    fn answer(&self, asked: TcpStream) -> Result<()> {
        let mut lines = BufReader::new(asked.try_clone()?).lines();
        let request = lines.next().context("empty request")??;
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let endpoint = request
            .split_whitespace()
            .nth(1)
            .and_then(|path| path.rsplit(['/', '=']).next())
            .unwrap_or_default()
            .to_owned();
        let fails = self.failed.lock().unwrap_or_else(PoisonError::into_inner).contains(&endpoint);
        let body = serde_json::json!({ "endpoint": endpoint, "status": if fails { "fail" } else { "pass" } });
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        (&asked).write_all(format!("{head}{body}").as_bytes())?;
        Ok(())
    }
}

/// A fresh webhook secret in the form of Standard Webhooks.
///
/// # Errors
/// When the system has no randomness.
pub fn new_secret() -> Result<String> {
    let mut secret = [0_u8; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| anyhow::anyhow!("no randomness"))?;
    Ok(format!("whsec_{}", STANDARD.encode(secret)))
}

/// The headers of a signed webhook, one a line.
///
/// # Errors
/// When the secret's file holds none.
pub fn sign(secret: &Path, id: &str, body: &str) -> Result<String> {
    let text = std::fs::read_to_string(secret)?;
    let key = STANDARD.decode(text.trim().strip_prefix("whsec_").context("not a webhook secret")?)?;
    let now = unix_ms()? / 1000;
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), format!("{id}.{now}.{body}").as_bytes());
    let mut headers = String::new();
    let _ = write!(
        headers,
        "webhook-id: {id}\r\nwebhook-timestamp: {now}\r\nwebhook-signature: v1,{}\r\n",
        STANDARD.encode(mac)
    );
    Ok(headers)
}

/// Posts with curl; the appliance signs its own certificate, and this peer does not know it.
fn post(console: &str, headers: &str, body: &str) -> Result<u16> {
    let mut curl = std::process::Command::new("curl");
    curl.args(["--silent", "--insecure", "--output", "/dev/null", "--write-out", "%{http_code}"]);
    for header in headers.lines().filter(|line| !line.is_empty()) {
        curl.args(["--header", header]);
    }
    curl.args(["--header", "content-type: application/json", "--data-binary", body]);
    let said = crate::tool::run(curl.arg(format!("https://{console}/hooks/v1/{}", crate::site::VERIFIER)))?;
    said.trim().parse().with_context(|| format!("curl said {said:?}"))
}

fn unix_ms() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())
}
