//! What the S3 at hand can do, tried on an object that is made for it and removed again.
//!
//! Nothing in the depot relies on any of it: it is for people, who choose a service or ask themselves what stands between
//! their images and somebody with the access key. What a service says of itself is not asked where it can be tried.

use std::time::Duration;

use images::depot::{Depot as _, DepotError, Put};
use object_store::{aws::AwsAuthorizer, client::HttpRequest};
use ring::rand::SecureRandom as _;
use serde::Serialize;

use super::{S3Depot, failure, wire::code};

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is", content = "why")]
pub enum Answer {
    /// It does.
    Yes,
    /// It does not; what it did instead.
    No(String),
    /// It could not be tried; why.
    Unknown(String),
}

/// What the service can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// A put with `If-None-Match: *` leaves what is there.
    pub conditional_put: Answer,
    /// A put whose `x-amz-checksum-sha256` is wrong is refused.
    pub checksum: Answer,
    /// A put whose signed digest (`x-amz-content-sha256`) is wrong is refused.
    pub signed_digest: Answer,
    /// A part of an object can be read.
    pub ranges: Answer,
    /// A list shows what was just put, and not what was just removed.
    pub list: Answer,
    /// Old versions are kept.
    pub versions: Answer,
    /// An object under a lock cannot be removed.
    pub object_lock: Answer,
}

const BODY: &[u8] = b"a canary of groundstate: it may be removed\n";

impl S3Depot {
    /// Try what the service can do. `now` is for the lock, which must end in the future.
    ///
    /// # Errors
    /// [`DepotError`] where the depot cannot be used at all.
    pub fn probe(&self, now: jiff::Timestamp) -> Result<Capabilities, DepotError> {
        let mut random = [0; 8];
        let _ = ring::rand::SystemRandom::new().fill(&mut random);
        let name = |what: &str| format!("canary/{}-{what}", hex::encode(random));
        Ok(Capabilities {
            conditional_put: self.conditional_put(&name("put"))?,
            checksum: self.wrong_put(&name("checksum"), true)?,
            signed_digest: self.wrong_put(&name("digest"), false)?,
            ranges: self.ranges(&name("range"))?,
            list: self.listing(&name("list"))?,
            versions: self.versions()?,
            object_lock: self.object_lock(&name("lock"), now)?,
        })
    }

    /// Read its list; then put an object, read it and remove it. The inner error: it can be read, and that could not be done.
    ///
    /// # Errors
    /// [`DepotError`] where it cannot even be read.
    pub fn canary(&self) -> Result<Result<(), DepotError>, DepotError> {
        let mut random = [0; 8];
        let _ = ring::rand::SystemRandom::new().fill(&mut random);
        let name = format!("canary/{}-doctor", hex::encode(random));
        // What is not there says as much as a list, and is not as long.
        self.len(&name)?;
        let tried = || {
            self.put_over(&name, BODY)?;
            let read = self.read(&name, 0..BODY.len() as u64);
            self.remove(&name)?;
            match read? == BODY {
                true => Ok(()),
                false => Err(DepotError::Altered { name: name.clone(), what: "it gives other bytes back" }),
            }
        };
        Ok(tried())
    }

    fn conditional_put(&self, name: &str) -> Result<Answer, DepotError> {
        self.put_new(name, BODY)?;
        let said = self.put_new(name, b"another");
        let kept = self.read(name, 0..BODY.len() as u64)?;
        self.remove(name)?;
        Ok(match said {
            _ if kept != BODY => Answer::No("it overwrote the object".to_owned()),
            Ok(Put::There) => Answer::Yes,
            Ok(Put::Done) => Answer::No("it said that it had put it, and kept the old one".to_owned()),
            Err(error) => Answer::No(error.to_string()),
        })
    }

    /// A put that must be refused.
    fn wrong_put(&self, name: &str, checksum: bool) -> Result<Answer, DepotError> {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let other = ring::digest::digest(&ring::digest::SHA256, b"other bytes");
        let mut request = self.request(hyper::http::Method::PUT, name, "", BODY);
        if checksum {
            let value = BASE64_STANDARD.encode(other.as_ref());
            request.headers_mut().insert("x-amz-checksum-sha256", header(&value));
        }
        let (status, body) = self.send(request, (!checksum).then_some(other.as_ref()))?;
        let there = self.len(name)?.is_some();
        self.remove(name)?;
        Ok(match (status.as_u16(), there) {
            // Only the digest is wrong: another was taken just before.
            (400..=500, false) => Answer::Yes,
            (200..300, _) => Answer::No("it took the object all the same".to_owned()),
            (_, true) => Answer::No(format!("it answered {status}, and kept the object all the same")),
            _ => Answer::Unknown(format!("it answered {status} {}", code(&body))),
        })
    }

    fn ranges(&self, name: &str) -> Result<Answer, DepotError> {
        self.put_over(name, BODY)?;
        let read = self.read(name, 2..8);
        self.remove(name)?;
        Ok(match read {
            Ok(read) if read == BODY[2..8] => Answer::Yes,
            Ok(_) => Answer::No("it gave other bytes".to_owned()),
            Err(error) => Answer::No(error.to_string()),
        })
    }

    fn listing(&self, name: &str) -> Result<Answer, DepotError> {
        let listed = || Ok::<_, DepotError>(self.list()?.iter().any(|(listed, _)| listed == name));
        self.put_over(name, BODY)?;
        let after_put = listed()?;
        self.remove(name)?;
        Ok(match (after_put, listed()?) {
            (true, false) => Answer::Yes,
            (false, _) => Answer::No("what was just put is not in it".to_owned()),
            (true, true) => Answer::No("what was just removed is still in it".to_owned()),
        })
    }

    fn versions(&self) -> Result<Answer, DepotError> {
        let (status, body) =
            self.send(self.request(hyper::http::Method::GET, "", "versioning", b""), None)?;
        Ok(match status.is_success() {
            true if body.contains("<Status>Enabled</Status>") => Answer::Yes,
            true => Answer::No("the bucket keeps the last version only".to_owned()),
            false => Answer::No(format!("it answered {status} {}", code(&body))),
        })
    }

    /// A lock of a day that somebody with the right to do so may lift, which is tried at the end.
    fn object_lock(&self, name: &str, now: jiff::Timestamp) -> Result<Answer, DepotError> {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let until = now + Duration::from_secs(24 * 3600);
        let mut request = self.request(hyper::http::Method::PUT, name, "", BODY);
        let digest = ring::digest::digest(&ring::digest::SHA256, BODY);
        for (key, value) in [
            ("x-amz-object-lock-mode", "GOVERNANCE".to_owned()),
            ("x-amz-object-lock-retain-until-date", until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            ("x-amz-checksum-sha256", BASE64_STANDARD.encode(digest.as_ref())),
        ] {
            request.headers_mut().insert(key, header(&value));
        }
        let (mut answer, version) = self.exchange(request, None)?;
        if !answer.0.is_success() {
            let why = format!("it answered {} {}", answer.0, code(&answer.1));
            self.remove(name)?;
            return Ok(Answer::No(why));
        }
        let query = version.as_ref().map(|version| format!("versionId={version}")).unwrap_or_default();
        answer = self.send(self.request(hyper::http::Method::DELETE, name, &query, b""), None)?;
        let there = self.len(name)?.is_some();
        let mut lift = self.request(hyper::http::Method::DELETE, name, &query, b"");
        lift.headers_mut().insert("x-amz-bypass-governance-retention", header("true"));
        self.send(lift, None)?;
        Ok(match (answer.0.as_u16(), there) {
            (400..500, true) => Answer::Yes,
            (_, false) => Answer::No("it took the lock, and removed the object all the same".to_owned()),
            _ => Answer::Unknown(format!("it answered {} {}", answer.0, code(&answer.1))),
        })
    }

    /// A request that `object_store` would not make.
    fn request(&self, method: hyper::http::Method, name: &str, query: &str, body: &[u8]) -> HttpRequest {
        let path = if name.is_empty() { String::new() } else { format!("/{}", self.path(name)) };
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        let (endpoint, bucket) = (self.setting.endpoint.trim_end_matches('/'), &self.setting.bucket);
        let mut request = HttpRequest::new(body.to_vec().into());
        *request.method_mut() = method;
        // Checked when the setting was read.
        *request.uri_mut() = format!("{endpoint}/{bucket}{path}{query}").parse().unwrap_or_default();
        request.headers_mut().insert(hyper::http::header::CONTENT_LENGTH, body.len().into());
        request
    }

    fn send(
        &self,
        request: HttpRequest,
        digest: Option<&[u8]>,
    ) -> Result<(hyper::http::StatusCode, String), DepotError> {
        self.exchange(request, digest).map(|(answer, _)| answer)
    }

    /// Sign, send; status, start of the body, and the version that was made.
    fn exchange(
        &self,
        mut request: HttpRequest,
        digest: Option<&[u8]>,
    ) -> Result<((hyper::http::StatusCode, String), Option<String>), DepotError> {
        let authorizer = AwsAuthorizer::new(&self.credential, "s3", &self.setting.region);
        let failed = |error| failure("a canary", error);
        authorizer.try_authorize(&mut request, digest).map_err(failed)?;
        let generic = |error| failed(object_store::Error::Generic { store: "S3", source: Box::new(error) });
        self.wait(async {
            let answer = self.wire.exchange(request).await.map_err(generic)?;
            let version =
                answer.headers().get("x-amz-version-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
            let status = answer.status();
            let body = answer.into_body().bytes().await.map_err(generic)?;
            let body = String::from_utf8_lossy(&body[..body.len().min(4096)]).into_owned();
            Ok(((status, body), version))
        })
    }
}

fn header(value: &str) -> hyper::http::HeaderValue {
    hyper::http::HeaderValue::from_str(value).unwrap_or_else(|_| unreachable!("digits, letters and signs"))
}
