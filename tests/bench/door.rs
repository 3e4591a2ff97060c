//! An appliance of a bench's own, and the way in.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use ureq::Agent;
use ureq::tls::TlsConfig;

use super::Server;
use crate::programs::Programs;

/// An appliance as a program asks it: the operator's token, and a certificate that nobody knows.
pub struct Door {
    agent: Agent,
    base: String,
    token: String,
}

impl Door {
    /// By what the appliance left in its data directory.
    ///
    /// # Errors
    /// When it left nothing.
    pub fn new(data: &Path) -> Result<Self> {
        let listening: Value = serde_json::from_str(&fs::read_to_string(data.join("listening.json"))?)?;
        let people = listening["people"].as_str().context("it says where it listens")?;
        // It may listen on every address; this computer is one of them.
        let (_, port) = people.rsplit_once(':').context("an address has a port")?;
        let tls = TlsConfig::builder()
            // Its certificate is its own, and this is the same computer.
            .disable_verification(true)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder().tls_config(tls).http_status_as_error(false).max_redirects(0);
        let token = fs::read_to_string(data.join("operator.token"))?.trim().to_owned();
        Ok(Self { agent: config.build().new_agent(), base: format!("https://127.0.0.1:{port}"), token })
    }

    /// An order with a body of JSON, as the operator.
    ///
    /// # Errors
    /// When it is refused.
    pub fn order(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}{path}", self.base);
        let order = if method == "PUT" { self.agent.put(url) } else { self.agent.post(url) };
        let mut answer =
            order.header("authorization", format!("Bearer {}", self.token)).send(body.to_string())?;
        let text = answer.body_mut().read_to_string()?;
        ensure!(answer.status().is_success(), "{path}: {} {text}", answer.status());
        Ok(serde_json::from_str(&text)?)
    }

    /// The status of a question, by this token.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, path: &str, token: &str) -> Result<u16> {
        let mut answer = self
            .agent
            .get(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {token}"))
            .call()?;
        answer.body_mut().read_to_vec()?;
        Ok(answer.status().as_u16())
    }

    /// The status of a sign-in at the console.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn sign_in(&self, name: &str, password: &str) -> Result<u16> {
        let form = [("name", name), ("password", password)];
        let order = self.agent.post(format!("{}/login", self.base)).header("origin", &self.base);
        let mut answer = order.send_form(form)?;
        answer.body_mut().read_to_vec()?;
        Ok(answer.status().as_u16())
    }

    /// What is at a path, as the operator.
    ///
    /// # Errors
    /// When it is refused.
    pub fn page(&self, path: &str) -> Result<Vec<u8>> {
        let bearer = format!("Bearer {}", self.token);
        let mut answer =
            self.agent.get(format!("{}{path}", self.base)).header("authorization", bearer).call()?;
        let body = answer.body_mut().with_config().limit(64 << 20).read_to_vec()?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(body)
    }

    /// Puts so many endpoints on record, by a sheet: `press-0000` and so on, on seven lines.
    ///
    /// # Errors
    /// When the sheet is refused.
    pub fn fill(&self, count: usize, blueprint: &str) -> Result<()> {
        let mut sheet = "name,macs,blueprint,group,line\n".to_owned();
        for n in 0..count {
            let mac = format!("52:54:01:00:{:02x}:{:02x}", n >> 8, n & 0xff);
            sheet += &format!("press-{n:04},{mac},{blueprint},line,{}\n", n % 7);
        }
        let plan: Value = serde_json::from_slice(&self.sheet("/api/v1/sheet", &sheet)?)?;
        ensure!(plan["errors"][0].is_null(), "the sheet: {}", plan["errors"][0]);
        let plan = plan["plan"].as_str().context("a plan of the sheet")?;
        self.sheet(&format!("/api/v1/sheet?apply={plan}"), &sheet).map(drop)
    }

    fn sheet(&self, path: &str, sheet: &str) -> Result<Vec<u8>> {
        self.post(path, "text/csv", sheet.as_bytes())
    }

    /// An order with any body, as the operator.
    ///
    /// # Errors
    /// When it is refused.
    pub fn post(&self, path: &str, media_type: &str, body: &[u8]) -> Result<Vec<u8>> {
        let order = self.agent.post(format!("{}{path}", self.base)).header("content-type", media_type);
        let mut answer = order.header("authorization", format!("Bearer {}", self.token)).send(body)?;
        let text = answer.body_mut().read_to_vec()?;
        ensure!(
            answer.status().is_success(),
            "{path}: {} {}",
            answer.status(),
            String::from_utf8_lossy(&text)
        );
        Ok(text)
    }

    /// A message of a source of triggers, with its own headers (`name: value` in lines): status and answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn hook(&self, path: &str, headers: &str, body: &[u8]) -> Result<(u16, String)> {
        let mut order = self.agent.post(format!("{}{path}", self.base));
        for (name, value) in headers.lines().filter_map(|line| line.split_once(": ")) {
            order = order.header(name, value);
        }
        let mut answer = order.send(body)?;
        Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
    }
}

/// An appliance of its own on free ports of this computer, and the door to it. `more`: the rest of its configuration.
///
/// # Errors
/// When it does not start.
pub fn open(programs: &Programs, dir: &Path, more: &str) -> Result<(Server, Door)> {
    let (data, config) = (dir.join("state"), dir.join("bench.toml"));
    let listen = "[listen]\npeople_address = \"127.0.0.1\"\npeople_port = 0\nendpoints_address = \"127.0.0.1\"\nendpoints_port = 0\nhttp_port = 0\n";
    fs::write(&config, format!("site = \"bench\"\ndata_dir = \"{}\"\n{listen}{more}", data.display()))?;
    let mut serve = Command::new(&programs.appliance);
    serve.args(["serve", "--config"]).arg(&config).env("RUST_LOG", "error,groundstate::daemon=info");
    let server = Server::start(&mut serve, "\"ready\"", dir.join("serve.log"))?;
    let door = Door::new(&data)?;
    Ok((server, door))
}
