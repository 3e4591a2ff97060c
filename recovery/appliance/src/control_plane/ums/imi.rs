//! IMI v3, the REST API of IGEL UMS: one session, and the few calls that we make.
//!
//! ```text
//! POST /v3/login (Basic) ─► JSESSIONID ─► calls with it as a cookie, 30 min after each ─► 401: log in once more, ask once more
//! ```
//!
//! Written from IGEL's public documentation (kb.igel.com, "IGEL Management Interface": "Authentication", "API Error Messages", and of
//! "IMI API V3 Reference" the page that each call names); no real UMS has answered it here.
//!
//! It must never: show the password or the session to anybody but UMS (its message ITG-0B004 has the session in it), believe an id that is
//! no number, or show what UMS says with control characters in it.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{Method, StatusCode, header::SET_COOKIE};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::{Limits, PlaneError};
use crate::{
    asking::pinned::{Answer, FileError, Known, Pinned},
    config::UmsPlane,
    seal,
};

const BASE: &str = "/umsapi/v3";
const COOKIE: &str = "JSESSIONID=";
const SESSION_LEN_MAX: usize = 256;
const WORDS_MOST: usize = 200;
const INSTEAD: &str = "[redacted]";
/// More digits has no id of a database.
const ID_LEN_MAX: usize = 20;

/// One device as UMS has it on record ("MainDataResource", "GET /v3/thinclients").
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ThinClient {
    /// By which calls name it; digits.
    pub id: String,
    #[serde(default)]
    mac: Option<String>,
    #[serde(rename = "firmwareID", default)]
    firmware: Option<String>,
    /// The directory that it is in; `-1` is the root.
    #[serde(rename = "parentID", default)]
    pub parent: Option<String>,
    /// In the recycle bin, where it takes no calls.
    #[serde(rename = "movedToBin", default, deserialize_with = "yes_or_no")]
    pub in_bin: bool,
    /// With `facets=details`.
    #[serde(default)]
    pub comment: Option<String>,
    /// With `facets=online`.
    #[serde(default)]
    pub online: Option<bool>,
}

/// The page has `false` in its example and `"true"` in its words.
fn yes_or_no<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Bool(said) => said,
        Value::String(said) => said == "true",
        _ => false,
    })
}

impl ThinClient {
    /// What it runs, where that is an id.
    pub fn firmware(&self) -> Option<&str> {
        self.firmware.as_deref().filter(|id| is_id(id))
    }
}

/// Whether it is an id: a number of UMS's database.
pub fn is_id(text: &str) -> bool {
    (1..=ID_LEN_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

type Session = Arc<Zeroizing<String>>;

/// An answer, and the session in which it came: that must not be shown.
struct Reply {
    answer: Answer,
    session: Session,
}

/// A UMS.
pub struct Imi {
    http: Pinned,
    user: String,
    password: Zeroizing<String>,
    basic: Zeroizing<String>,
    /// One logs in, the others wait for what comes.
    session: Mutex<Option<Session>>,
}

impl Imi {
    /// Reads the files; nothing is connected yet.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(setting: &UmsPlane, limits: Limits) -> Result<Self, FileError> {
        // The password goes there: another one of the same authority is not UMS.
        let known = Known { ca_file: &setting.ca_file, own: None, names_count: true };
        let http = Pinned::open(&setting.url, known, limits.answer_len, limits.question)?;
        let wrong = |why: String| FileError { path: setting.password_file.clone(), why };
        let text = seal::secret(&setting.password_file).map_err(|error| wrong(error.to_string()))?;
        let password = Zeroizing::new(text.trim().to_owned());
        if password.is_empty() || password.chars().any(char::is_control) {
            return Err(wrong("it does not hold one line with a password".to_owned()));
        }
        let pair = Zeroizing::new(format!("{}:{}", setting.user, *password));
        let basic = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        Ok(Self { http, user: setting.user.clone(), password, basic, session: Mutex::default() })
    }

    /// All that it has on record with this MAC (12 hex digits, upper-case), those in the recycle bin as well: "GET /v3/thinclients". There
    /// is no question for one MAC.
    pub async fn with_mac(&self, mac: &str) -> Result<Vec<ThinClient>, PlaneError> {
        let what = "the list of its thin clients";
        let all: Vec<ThinClient> =
            self.read(what, &self.ask(Method::GET, "/thinclients", None).await?).await?;
        let is_it = |one: &ThinClient| one.mac.as_deref().is_some_and(|said| said.eq_ignore_ascii_case(mac));
        let found: Vec<ThinClient> = all.into_iter().filter(is_it).collect();
        if found.iter().all(|one| is_id(&one.id)) { Ok(found) } else { Err(odd(what)) }
    }

    /// One of them: "GET /v3/thinclients/{tcId}". Facets: `details` tells its comment; for `online` UMS asks the device, which takes time.
    pub async fn one(&self, id: &str, facet: Option<&str>) -> Result<ThinClient, PlaneError> {
        let query = facet.map(|facet| format!("?facets={facet}")).unwrap_or_default();
        let reply = self.ask(Method::GET, &format!("/thinclients/{id}{query}"), None).await?;
        self.read("one of its thin clients", &reply).await
    }

    /// "PUT /v3/thinclients"; the mandatory fields are `mac` and `firmwareID`.
    pub async fn import(&self, order: &Value) -> Result<(), PlaneError> {
        let reply = self.ask(Method::PUT, "/thinclients", Some(order)).await?;
        if reply.answer.status.is_success() { Ok(()) } else { Err(self.said_no("the import", &reply)) }
    }

    /// "PUT /v3/thinclients/{tcId}".
    pub async fn comment(&self, id: &str, comment: &str) -> Result<(), PlaneError> {
        let order = json!({ "comment": comment });
        let reply = self.ask(Method::PUT, &format!("/thinclients/{id}"), Some(&order)).await?;
        if reply.answer.status.is_success() { Ok(()) } else { Err(self.said_no("the comment", &reply)) }
    }

    /// "DELETE /v3/thinclients/{tcId}", in the form `deletetcoffline`: UMS alone removes its record, past the recycle bin. Without it UMS
    /// has the device itself leave, which must be on for that; so that is the second choice, of a UMS that has not the first. Whether it is
    /// gone is what a look says: where UMS said no, its words.
    pub async fn delete(&self, id: &str) -> Result<Option<String>, PlaneError> {
        let path = format!("/thinclients/{id}");
        let mut reply = self.ask(Method::DELETE, &format!("{path}/deletetcoffline"), None).await?;
        if matches!(reply.answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
            reply = self.ask(Method::DELETE, &path, None).await?;
        }
        if reply.answer.status.is_success() { Ok(None) } else { Ok(Some(self.words(&reply))) }
    }

    /// "PUT /v3/directories/tcdirectories/{id}?operation=move": 200 also where it failed, so each one's `results` is read.
    pub async fn move_to(&self, id: &str, directory: &str) -> Result<(), PlaneError> {
        let path = format!("/directories/tcdirectories/{directory}?operation=move");
        let reply = self.ask(Method::PUT, &path, Some(&json!([{ "id": id, "type": "tc" }]))).await?;
        let said: Vec<Value> = self.read("what became of the move", &reply).await?;
        let mine = said.iter().find(|one| one["id"] == id).map(|one| &one["results"]);
        match mine.and_then(Value::as_str) {
            Some("successful") => Ok(()),
            said => {
                let said = self.plain(&reply, said.unwrap_or("nothing"));
                let why = format!("UMS says {said} of the move of {id} into directory {directory}");
                Err(PlaneError::Refused(why))
            }
        }
    }

    /// "POST /v3/thinclients?command=settings2tc". Where the device did not take them: why.
    pub async fn settings(&self, id: &str) -> Result<Option<String>, PlaneError> {
        let order = json!([{ "id": id, "type": "tc" }]);
        let reply = self.ask(Method::POST, "/thinclients?command=settings2tc", Some(&order)).await?;
        let said: Value = self.read("what became of its settings", &reply).await?;
        let list = said["CommandExecList"].as_array();
        let mine = list.and_then(|list| list.iter().find(|one| one["id"] == id));
        let text = |key: &str| mine.and_then(|one| one[key].as_str()).unwrap_or("nothing");
        if text("state") == "SUCCESS" {
            return Ok(None);
        }
        Ok(Some(self.plain(&reply, &format!("{}: {}", text("state"), text("message")))))
    }

    /// One question in a session. Where UMS does not know the session any more, it is asked once more in a new one.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, PlaneError> {
        let mut ended: Option<Session> = None;
        loop {
            let session = self.session(ended.as_ref()).await?;
            let mut headers = vec![("cookie", session.as_str()), ("accept", "application/json")];
            headers.extend(body.map(|_| ("content-type", "application/json")));
            let bytes = body.map(Value::to_string).unwrap_or_default().into_bytes();
            let answer = self.http.ask(method.clone(), &format!("{BASE}{path}"), &headers, bytes).await;
            let answer = answer.map_err(silent)?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(Reply { answer, session });
            }
            if ended.replace(session).is_some() {
                return Err(PlaneError::Silent("UMS does not take the session that it just gave".to_owned()));
            }
        }
    }

    /// The session, or a new one where there is none or it is this one, which ended.
    async fn session(&self, ended: Option<&Session>) -> Result<Session, PlaneError> {
        let mut kept = self.session.lock().await;
        match &*kept {
            Some(session) if ended.is_none_or(|ended| ended.as_str() != session.as_str()) => {
                Ok(Arc::clone(session))
            }
            _ => {
                let new = Arc::new(self.login().await?);
                *kept = Some(Arc::clone(&new));
                Ok(new)
            }
        }
    }

    /// "POST /v3/login". Who is not let in is not let in for another endpoint either.
    async fn login(&self) -> Result<Zeroizing<String>, PlaneError> {
        let headers = [("authorization", self.basic.as_str()), ("accept", "application/json")];
        let answer = self.http.ask(Method::POST, &format!("{BASE}/login"), &headers, Vec::new()).await;
        let answer = answer.map_err(silent)?;
        let why = match answer.status {
            status if status.is_success() => match session_of(&answer) {
                Some(session) => return Ok(session),
                None => "UMS lets us in and gives no session".to_owned(),
            },
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => format!(
                "UMS does not let {} in ({status}): look at that account's rights there, and at `user` and `password_file` of this \
                 control plane, then start the appliance again",
                self.user
            ),
            status => format!("UMS answers the login with {status}"),
        };
        Err(PlaneError::Silent(why))
    }

    async fn read<T: DeserializeOwned>(&self, what: &str, reply: &Reply) -> Result<T, PlaneError> {
        if !reply.answer.status.is_success() {
            return Err(self.said_no(what, reply));
        }
        // What serde says of it has its contents in it.
        serde_json::from_slice(&reply.answer.body).map_err(|_| odd(what))
    }

    fn said_no(&self, what: &str, reply: &Reply) -> PlaneError {
        PlaneError::Refused(format!("UMS refuses {what}: {}", self.words(reply)))
    }

    /// "API Error Messages": `message` and `errorCode`; never its stack trace.
    fn words(&self, reply: &Reply) -> String {
        let Answer { status, body, .. } = &reply.answer;
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let code = said["errorCode"].as_str().map(|code| format!(" ({code})")).unwrap_or_default();
        let said = said["message"].as_str().map(str::to_owned);
        let said = said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        self.plain(reply, &format!("{status}, {said}{code}"))
    }

    /// What UMS says, for people: without what would let somebody in there, and without what would move a terminal.
    fn plain(&self, reply: &Reply, text: &str) -> String {
        let mut text: String = text.chars().filter(|c| !c.is_control()).collect();
        let session = reply.session.trim_start_matches(COOKIE);
        let basic = self.basic.trim_start_matches("Basic ");
        for secret in [session, basic, self.password.as_str()] {
            text = text.replace(secret, INSTEAD);
        }
        text.chars().take(WORDS_MOST).collect()
    }
}

fn silent(why: String) -> PlaneError {
    PlaneError::Silent(format!("UMS: {why}"))
}

fn odd(what: &str) -> PlaneError {
    PlaneError::Refused(format!("UMS answers {what} in a form that its documentation has not"))
}

/// `JSESSIONID=…`, from the cookie or from the message that says the same ("POST /v3/login").
fn session_of(answer: &Answer) -> Option<Zeroizing<String>> {
    let cookies = answer.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let cookies: Vec<&str> = cookies.filter_map(|cookie| cookie.split(';').next()).collect();
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let all = cookies.into_iter().chain(said["message"].as_str());
    let fits = |id: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._!~".contains(&b);
        (1..=SESSION_LEN_MAX).contains(&id.len()) && id.bytes().all(plain)
    };
    let mut all = all.map(str::trim).filter(|text| text.strip_prefix(COOKIE).is_some_and(fits));
    all.next().map(|session| Zeroizing::new(session.to_owned()))
}
