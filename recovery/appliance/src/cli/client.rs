//! The appliance as the command line sees it: REST with `protocol` types, nothing else.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use recovery_protocol::{JobId, Problem, operator::JobView};
use serde::{Serialize, de::DeserializeOwned};
use ureq::{
    Agent,
    http::{Method, Request, Response},
    unversioned::{
        resolver::DefaultResolver,
        transport::{Connector as _, TcpConnector},
    },
};

use super::{
    fault::{Code, Fault},
    pinned::{PinnedConnector, pin_of},
};

const TIMEOUT: Duration = Duration::from_secs(40);
/// The appliance says every 15 s that it lives.
const SILENCE_MAX: Duration = Duration::from_secs(40);
/// How long a restart of the appliance may take while somebody follows a job.
const ABSENCE_MAX: Duration = Duration::from_secs(120);

/// How to reach the appliance.
#[derive(Debug, Clone, clap::Args)]
pub struct Reach {
    /// Address of the appliance
    #[arg(
        long,
        global = true,
        env = "GROUNDSTATE_URL",
        default_value = "https://127.0.0.1:443",
        value_name = "URL"
    )]
    pub url: String,
    /// Pin of the appliance's key (SHA-256 of its SPKI, hex); default: from the data directory
    #[arg(long, global = true, env = "GROUNDSTATE_PIN", value_name = "HEX")]
    pub pin: Option<String>,
    /// File with the operator's token; default: from the data directory
    #[arg(long, global = true, env = "GROUNDSTATE_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The appliance's data directory, on the appliance itself
    #[arg(
        long,
        global = true,
        env = "GROUNDSTATE_DATA_DIR",
        default_value = "/var/lib/groundstate",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,
}

/// A connection to one appliance.
pub struct Client {
    agent: Agent,
    url: String,
    token: String,
    /// Within which an answer must be there.
    limit: Duration,
}

impl Reach {
    /// The pin of the appliance whose data directory this is, or as given.
    ///
    /// # Errors
    /// Usage, when neither is there.
    pub fn pin(&self) -> Result<String, Fault> {
        if let Some(pin) = &self.pin {
            let fits = pin.len() == 64 && pin.bytes().all(|byte| byte.is_ascii_hexdigit());
            let wrong = || {
                Fault::new(
                    Code::Usage,
                    "the pin is not 64 hex digits",
                    "",
                    "copy it from `groundstate status` on the appliance",
                )
            };
            return if fits { Ok(pin.to_ascii_lowercase()) } else { Err(wrong()) };
        }
        let path = self.data_dir.join("tls.crt");
        let pem =
            read(&path, "the appliance's certificate", "run this on the appliance, or set GROUNDSTATE_PIN")?;
        let der = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok().map(|(_, pem)| pem.contents);
        der.and_then(|der| pin_of(&der)).ok_or_else(|| {
            let why = format!("{} holds no certificate", path.display());
            Fault::new(
                Code::Failed,
                "the appliance's pin cannot be read",
                why,
                "restart the appliance to have it made again",
            )
        })
    }

    /// Ready to ask.
    ///
    /// # Errors
    /// When pin or token cannot be read.
    pub fn client(&self) -> Result<Client, Fault> {
        let pin = self.pin()?;
        let path = self.token_file.clone().unwrap_or_else(|| self.data_dir.join("operator.token"));
        let now = "run this on the appliance as its owner, or set GROUNDSTATE_TOKEN_FILE";
        let token = read(&path, "the token", now)?.trim().to_owned();
        let config = Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None).build();
        let connector = TcpConnector::default().chain(PinnedConnector::new(&pin));
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        Ok(Client { agent, url: self.url.trim_end_matches('/').to_owned(), token, limit: TIMEOUT })
    }
}

impl Client {
    /// The same for somebody who does not wait as long.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The appliance's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `GET` a JSON value.
    ///
    /// # Errors
    /// The appliance's problem, or that it does not answer.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        let mut response = self.send(Method::GET, path, Vec::new(), &[])?;
        self.json(&mut response)
    }

    /// `GET` a page of a list, and the address of the next one where its `Link` names one of the appliance's own.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn page<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Option<String>), Fault> {
        let mut response = self.send(Method::GET, path, Vec::new(), &[])?;
        let link = response.headers().get("link").and_then(|link| link.to_str().ok()).unwrap_or_default();
        let next = link.split(',').find(|link| link.contains("rel=\"next\""));
        let next =
            next.and_then(|link| link.split_once('<')?.1.split_once('>')).map(|(path, _)| path.to_owned());
        let next = next.filter(|path| path.starts_with("/api/"));
        Ok((self.json(&mut response)?, next))
    }

    /// Calls `look` at once and whenever the appliance says that something changed, until it says no. A lost connection is taken up again.
    ///
    /// # Errors
    /// As [`Client::get`]; unavailable when the appliance stays away.
    pub fn changes(&self, look: &mut dyn FnMut() -> bool) -> Result<(), Fault> {
        let mut heard = Instant::now();
        loop {
            match self.stream("/api/v1/changes", SILENCE_MAX) {
                Ok(lines) => {
                    // What changed before the stream began is in the first look.
                    if !look() {
                        return Ok(());
                    }
                    for line in lines {
                        let Ok(line) = line else { break };
                        heard = Instant::now();
                        if line.starts_with("data:") && !look() {
                            return Ok(());
                        }
                    }
                }
                Err(fault) if fault.code != Code::Unavailable || heard.elapsed() > ABSENCE_MAX => {
                    return Err(fault);
                }
                Err(_) => {}
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// `GET` a text.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn get_text(&self, path: &str) -> Result<String, Fault> {
        let mut response = self.send(Method::GET, path, Vec::new(), &[])?;
        response
            .body_mut()
            .with_config()
            .limit(u64::MAX)
            .read_to_string()
            .map_err(|error| self.absent(&error))
    }

    /// `GET` what may be too long to be held. Silence ends it, its length does not.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn get_long(&self, path: &str) -> Result<impl Read + use<>, Fault> {
        let request = self.request(Method::GET, path, Vec::new(), &[])?;
        let request = self.agent.configure_request(request).timeout_recv_response(Some(TIMEOUT)).build();
        let response = self.agent.run(request).map_err(|error| self.absent(&error))?;
        Ok(self.accept(response)?.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// `POST` a text and read the text that answers it.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post_for_text(&self, path: &str, text: &str) -> Result<String, Fault> {
        let kind = [("content-type", "text/plain; charset=utf-8")];
        let mut response = self.send(Method::POST, path, text.as_bytes().to_vec(), &kind)?;
        response.body_mut().read_to_string().map_err(|error| self.absent(&error))
    }

    /// `POST` an order and read the bytes that answer it.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post_for_bytes(&self, path: &str) -> Result<Vec<u8>, Fault> {
        let kind = [("content-type", "application/json")];
        let mut response = self.send(Method::POST, path, b"{}".to_vec(), &kind)?;
        let body = response.body_mut().with_config().limit(1 << 30);
        body.read_to_vec().map_err(|error| self.absent(&error))
    }

    /// `POST` a JSON value and read the answer.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Fault> {
        self.post_with(path, body, &[])
    }

    /// `POST` with more headers.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post_with<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        headers: &[(&str, &str)],
    ) -> Result<T, Fault> {
        let body =
            serde_json::to_vec(body).map_err(|error| Fault::of("the order cannot be written", &error, ""))?;
        let mut response = self.send(Method::POST, path, body, headers)?;
        self.json(&mut response)
    }

    /// `POST` a text of another kind and read the answer.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn post_text<T: DeserializeOwned>(
        &self,
        path: &str,
        text: Vec<u8>,
        media_type: &str,
    ) -> Result<T, Fault> {
        let mut response = self.send(Method::POST, path, text, &[("content-type", media_type)])?;
        self.json(&mut response)
    }

    /// `PUT` bytes, as they are.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn put_bytes<T: DeserializeOwned>(&self, path: &str, bytes: Vec<u8>) -> Result<T, Fault> {
        let mut response =
            self.send(Method::PUT, path, bytes, &[("content-type", "application/octet-stream")])?;
        self.json(&mut response)
    }

    /// `PATCH` a thing, which must be at this revision where one is given.
    ///
    /// # Errors
    /// As [`Client::get`]; conflict when it is at another.
    pub fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        revision: Option<u64>,
    ) -> Result<T, Fault> {
        self.alter(Method::PATCH, path, body, revision)
    }

    /// `PUT` a thing.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Fault> {
        self.alter(Method::PUT, path, body, None)
    }

    /// `DELETE` a thing, likewise.
    ///
    /// # Errors
    /// As [`Client::patch`].
    pub fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        revision: Option<u64>,
    ) -> Result<T, Fault> {
        self.alter(Method::DELETE, path, body, revision)
    }

    fn alter<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        revision: Option<u64>,
    ) -> Result<T, Fault> {
        let body =
            serde_json::to_vec(body).map_err(|error| Fault::of("the order cannot be written", &error, ""))?;
        let tag = revision.map(|revision| format!("\"{revision}\""));
        let headers: Vec<(&str, &str)> = tag.iter().map(|tag| ("if-match", tag.as_str())).collect();
        let mut response = self.send(method, path, body, &headers)?;
        self.json(&mut response)
    }

    /// Follow a job: each change is given to `seen` until it says stop or the job is over; the last state. A lost
    /// connection is taken up again.
    ///
    /// # Errors
    /// As [`Client::get`]; timed out after `limit`; unavailable when the appliance stays away.
    pub fn follow(
        &self,
        job: JobId,
        limit: Option<Duration>,
        mut seen: impl FnMut(&JobView) -> bool,
    ) -> Result<JobView, Fault> {
        let begun = Instant::now();
        let mut heard = Instant::now();
        let late = || limit.is_some_and(|limit| begun.elapsed() > limit);
        let path = format!("/api/v1/jobs/{job}/events");
        loop {
            let left = limit.map(|limit| limit.saturating_sub(begun.elapsed()).max(Duration::from_millis(1)));
            match self.stream(&path, left.unwrap_or(SILENCE_MAX).min(SILENCE_MAX)) {
                Ok(lines) => {
                    for line in lines {
                        let Ok(line) = line else { break };
                        heard = Instant::now();
                        let view: Option<JobView> =
                            line.strip_prefix("data:").and_then(|json| serde_json::from_str(json).ok());
                        if let Some(view) = view
                            && (!seen(&view) || view.state.is_over())
                        {
                            return Ok(view);
                        }
                        if late() {
                            return Err(timed_out(job));
                        }
                    }
                }
                Err(fault) if fault.code != Code::Unavailable || heard.elapsed() > ABSENCE_MAX => {
                    return Err(fault);
                }
                Err(_) => {}
            }
            if late() {
                return Err(timed_out(job));
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn stream(
        &self,
        path: &str,
        silence: Duration,
    ) -> Result<impl Iterator<Item = std::io::Result<String>>, Fault> {
        let request = self.request(Method::GET, path, Vec::new(), &[("accept", "text/event-stream")])?;
        let request = self.agent.configure_request(request).timeout_per_read(Some(silence)).build();
        let response = self.agent.run(request).map_err(|error| self.absent(&error))?;
        let response = self.accept(response)?;
        Ok(BufReader::new(response.into_body().into_reader()).lines())
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<Request<Vec<u8>>, Fault> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token));
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).map_err(|error| {
            Fault::new(
                Code::Usage,
                format!("`{}` cannot be asked", self.url),
                error.to_string(),
                "write the address as https://host:port",
            )
        })
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<Response<ureq::Body>, Fault> {
        let request = self.request(method, path, body, headers)?;
        let request = self.agent.configure_request(request).timeout_global(Some(self.limit)).build();
        let response = self.agent.run(request).map_err(|error| self.absent(&error))?;
        self.accept(response)
    }

    fn accept(&self, mut response: Response<ureq::Body>) -> Result<Response<ureq::Body>, Fault> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let problem: Problem = response.body_mut().read_json().map_err(|_| {
            let why = format!("{} answered {status} and no problem", self.url);
            Fault::new(Code::Unavailable, "this is not the appliance", why, "check --url")
        })?;
        Err(problem.into())
    }

    fn json<T: DeserializeOwned>(&self, response: &mut Response<ureq::Body>) -> Result<T, Fault> {
        let text = response
            .body_mut()
            .with_config()
            .limit(u64::MAX)
            .read_to_vec()
            .map_err(|error| self.absent(&error))?;
        serde_json::from_slice(&text).map_err(|error| {
            let now = "use the command line of the appliance's own version";
            Fault::new(Code::Failed, "the appliance's answer cannot be understood", error.to_string(), now)
        })
    }

    fn absent(&self, error: &ureq::Error) -> Fault {
        let why = error.to_string();
        if why.contains("another key answers") {
            let now =
                "do not go on: somebody else answers at this address, or the appliance's key was replaced";
            return Fault::new(Code::Integrity, format!("{} is not your appliance", self.url), why, now);
        }
        let now = "check that `groundstate serve` runs and that --url is right";
        Fault::new(Code::Unavailable, format!("the appliance at {} does not answer", self.url), why, now)
    }
}

fn timed_out(job: JobId) -> Fault {
    let now = format!("it goes on by itself; look with `groundstate job show {job}`");
    Fault::new(Code::TimedOut, "the job is not over in time", "", now)
}

fn read(path: &Path, what: &str, now: &str) -> Result<String, Fault> {
    fs::read_to_string(path).map_err(|error| {
        Fault::new(
            Code::Forbidden,
            format!("{what} cannot be read"),
            format!("{}: {error}", path.display()),
            now,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Limits, tests::TestListener};

    fn reach(listener: &TestListener, pin: String, directory: &Path) -> Reach {
        let token = directory.join("operator.token");
        fs::write(&token, "secret\n").unwrap();
        Reach {
            url: format!("https://{}", listener.address),
            pin: Some(pin),
            token_file: Some(token),
            data_dir: directory.to_owned(),
        }
    }

    async fn ask(reach: Reach) -> Result<serde_json::Value, Fault> {
        tokio::task::spawn_blocking(move || reach.client()?.get("/x")).await.unwrap()
    }

    fn echo() -> axum::Router {
        let answer = |headers: axum::http::HeaderMap| async move {
            axum::Json(serde_json::json!({ "authorization": headers["authorization"].to_str().unwrap() }))
        };
        axum::Router::new().route("/x", axum::routing::get(answer))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_pinned_key_is_spoken_to_and_another_is_not() {
        let listener = TestListener::start(echo(), Limits::default(), None).await;
        let directory = tempfile::tempdir().unwrap();
        let pin = pin_of(&listener.certificate).unwrap();
        let answer = ask(reach(&listener, pin.to_uppercase(), directory.path())).await.unwrap();
        assert_eq!(answer["authorization"], "Bearer secret");
        let fault = ask(reach(&listener, "0".repeat(64), directory.path())).await.unwrap_err();
        assert_eq!(fault.code, Code::Integrity, "{fault}");
        let fault = ask(reach(&listener, "short".to_owned(), directory.path())).await.unwrap_err();
        assert_eq!(fault.code, Code::Usage, "{fault}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_at_the_address_is_unavailable() {
        let listener = TestListener::start(echo(), Limits::default(), None).await;
        let directory = tempfile::tempdir().unwrap();
        let reach = reach(&listener, "0".repeat(64), directory.path());
        listener.stop.cancel();
        listener.served.await.unwrap();
        let fault = ask(reach).await.unwrap_err();
        assert_eq!(fault.code, Code::Unavailable, "{fault}");
    }
}
