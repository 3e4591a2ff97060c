//! A local HTTPS server of the part of IMI v3 that we use. It is ours, written from IGEL's public documentation (kb.igel.com, "IGEL Management
//! Interface", "IMI API V3 Reference" and "API Error Messages"), and is not IGEL's program: what that does beyond its documentation, nobody
//! has seen here.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State as Has},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::stream;
use serde_json::{Value, json};

use super::super::{Limits, Ums};
use crate::{
    config::UmsPlane,
    testing::Bench,
    tls::{Limits as Listening, tests::TestListener},
};

pub const USER: &str = "groundstate";
pub const PASSWORD: &str = "canary-ums-password";
/// Each session is called so, and a number.
pub const SESSION: &str = "CANARY0UMS0SESSION";
/// Where devices wait, and where they go.
pub const QUARANTINE: &str = "901";
pub const LINE: &str = "902";

/// How it misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// The connection is cut within the answer.
    Cut,
    /// No answer ever comes.
    Hangs,
    /// The answer has no end.
    Endless,
    /// It refuses with control characters, the session and the password in its words.
    Tells,
    /// Ids that are no ids.
    Ids,
    /// Another form altogether.
    Form,
    /// Every session has ended before it is used.
    Ended,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tc {
    pub id: String,
    pub mac: String,
    pub firmware: String,
    pub name: String,
    pub parent: String,
    pub comment: String,
    pub in_bin: bool,
    /// How many more lists have it after its removal.
    pub goes_in: Option<u32>,
}

/// What it knows, and how it behaves.
pub struct State {
    pub records: Vec<Tc>,
    pub sessions: BTreeSet<String>,
    /// What it was asked, but for logins: method, path and query.
    pub asked: Vec<String>,
    pub logins: usize,
    pub online: bool,
    pub lie: Option<Lie>,
    /// Removed records stay on the list for so many lists more.
    pub slow: u32,
    /// It removes into the recycle bin.
    pub bins: bool,
    /// A record in the recycle bin keeps its MAC from being imported (ITG-0A008).
    pub bin_counts: bool,
    /// It does not have `deletetcoffline`.
    pub old: bool,
    /// What it says of a move.
    pub moves: &'static str,
    /// It says so and does not move.
    pub stays: bool,
    /// A rule of its own puts new ones there.
    pub puts_new: Option<&'static str>,
    next: u32,
}

/// It, where it listens, and an appliance.
pub struct Site {
    pub bench: Bench,
    state: Arc<Mutex<State>>,
    listener: TestListener,
}

impl Site {
    pub async fn new() -> Self {
        let state = State {
            records: Vec::new(),
            sessions: BTreeSet::new(),
            asked: Vec::new(),
            logins: 0,
            online: false,
            lie: None,
            slow: 0,
            bins: false,
            bin_counts: false,
            old: false,
            moves: "successful",
            stays: false,
            puts_new: None,
            next: 7000,
        };
        let state = Arc::new(Mutex::new(state));
        let router = Router::new().fallback(answered).with_state(Arc::clone(&state));
        let listener = TestListener::start(router, Listening::default(), None).await;
        let site = Self { bench: Bench::new("").await, state, listener };
        let setting = site.setting();
        let pem = BASE64_STANDARD.encode(&site.listener.certificate);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n");
        std::fs::write(setting.ca_file, pem).unwrap();
        std::fs::write(setting.password_file, format!("{PASSWORD}\n")).unwrap();
        site
    }

    pub fn with<T>(&self, see: impl FnOnce(&mut State) -> T) -> T {
        see(&mut self.state.lock().unwrap())
    }

    /// A record, in a directory, with a comment.
    pub fn record(&self, mac: &str, parent: &str, comment: &str) -> String {
        self.with(|state| {
            let id = state.id();
            let (mac, firmware, name) = (mac.to_owned(), "21".to_owned(), "Curry".to_owned());
            let (parent, comment) = (parent.to_owned(), comment.to_owned());
            let one =
                Tc { id: id.clone(), mac, firmware, name, parent, comment, in_bin: false, goes_in: None };
            state.records.push(one);
            id
        })
    }

    /// The records that are not in the recycle bin, as directory and comment.
    pub fn live(&self) -> Vec<(String, String)> {
        let live = |state: &mut State| {
            let live = state.records.iter().filter(|one| !one.in_bin && one.goes_in.is_none());
            live.map(|one| (one.parent.clone(), one.comment.clone())).collect()
        };
        self.with(live)
    }

    /// What it was asked since the last time, but for what only looks.
    pub fn orders(&self) -> Vec<String> {
        let asked = self.with(|state| std::mem::take(&mut state.asked));
        asked.into_iter().filter(|asked| !asked.starts_with("GET ")).collect()
    }

    pub fn setting(&self) -> UmsPlane {
        let dir = self.bench.data.path();
        UmsPlane {
            url: format!("https://{}", self.listener.address),
            ca_file: dir.join("ums.pem"),
            user: USER.to_owned(),
            password_file: dir.join("ums.password"),
            quarantine_directory: QUARANTINE.to_owned(),
            directory: LINE.to_owned(),
            firmware_id: None,
            release_when_online: true,
        }
    }

    pub fn plane(&self) -> Ums {
        Ums::open(&self.setting(), self.bench.journal.db.clone()).unwrap()
    }

    /// One that does not listen long.
    pub fn hasty(&self, question: Duration) -> Ums {
        let limits = Limits { answer_len: 64 << 10, question };
        Ums::within(&self.setting(), self.bench.journal.db.clone(), limits).unwrap()
    }
}

impl State {
    fn id(&mut self) -> String {
        self.next += 1;
        self.next.to_string()
    }

    fn view(&self, one: &Tc) -> Value {
        json!({
            "unitID": one.mac, "mac": one.mac, "firmwareID": one.firmware, "lastIP": "172.30.91.43", "id": one.id, "name": one.name,
            "parentID": one.parent, "movedToBin": one.in_bin, "objectType": "tc",
            "links": [{ "rel": "self", "href": format!("https://ums/umsapi/v3/thinclients/{}", one.id) }],
        })
    }

    fn list(&mut self) -> Response {
        self.records.retain(|one| one.goes_in != Some(0));
        let all: Vec<Value> = self.records.iter().map(|one| self.view(one)).collect();
        for one in &mut self.records {
            one.goes_in = one.goes_in.map(|left| left - 1);
        }
        if self.lie == Some(Lie::Ids) {
            let all: Vec<Value> = all
                .into_iter()
                .map(|mut one| {
                    one["id"] = json!("1/../login?x=");
                    one
                })
                .collect();
            return json(StatusCode::OK, &json!(all));
        }
        json(StatusCode::OK, &json!(all))
    }

    /// One that takes calls, by its id.
    fn taking(&mut self, id: &str) -> Result<&mut Tc, Box<Response>> {
        let found = self.records.iter_mut().find(|one| one.id == id && one.goes_in.is_none());
        match found {
            None => Err(Box::new(refused("ITG-0A001", &format!("Thin client with ID {id} not found.")))),
            Some(one) if one.in_bin => Err(Box::new(refused(
                "ITG-0A018",
                "Thin client is in Recycling Bin. In order to use it, revert it first.",
            ))),
            Some(one) => Ok(one),
        }
    }

    fn import(&mut self, order: &Value) -> Response {
        let text = |key: &str| order[key].as_str().unwrap_or_default().to_owned();
        let (mac, firmware) = (text("mac"), text("firmwareID"));
        if mac.len() != 12 {
            return refused("ITG-0A014", "MAC must be 12 characters long.");
        }
        if firmware.is_empty() {
            return refused("ITG-0A009", "No firmware defined.");
        }
        let counts = |one: &&Tc| one.mac == mac && (!one.in_bin || self.bin_counts);
        if self.records.iter().any(|one| counts(&one)) {
            return refused(
                "ITG-0A008",
                "The statement was aborted because it would have caused a duplicate key value",
            );
        }
        let parent = self.puts_new.map_or(text("parentID"), str::to_owned);
        let (id, name, comment) = (self.id(), text("name"), text("comment"));
        let answer = json!({ "message": "Thin client successfully inserted.", "id": id, "name": name, "parentID": parent });
        self.records.push(Tc { id, mac, firmware, name, parent, comment, in_bin: false, goes_in: None });
        json(StatusCode::OK, &answer)
    }

    fn remove(&mut self, id: &str) -> Response {
        let (bins, slow) = (self.bins, self.slow);
        match self.taking(id) {
            Err(refused) => return *refused,
            Ok(one) if bins => one.in_bin = true,
            Ok(one) if slow > 0 => one.goes_in = Some(slow),
            Ok(_) => self.records.retain(|one| one.id != id),
        }
        json(StatusCode::OK, &json!({ "message": "Offline deletion successful" }))
    }

    fn moved(&mut self, directory: &str, order: &Value) -> Response {
        let (moves, stays) = (self.moves, self.stays);
        let mut said = Vec::new();
        for asked in order.as_array().unwrap() {
            assert_eq!(asked["type"], "tc");
            let id = asked["id"].as_str().unwrap();
            let results = match self.taking(id) {
                Err(_) => "does_not_exist",
                Ok(one) => {
                    if moves == "successful" && !stays {
                        directory.clone_into(&mut one.parent);
                    }
                    moves
                }
            };
            said.push(json!({ "id": id, "results": results }));
        }
        json(StatusCode::OK, &json!(said))
    }

    fn commanded(&mut self, order: &Value) -> Response {
        let id = order[0]["id"].as_str().unwrap().to_owned();
        let online = self.online;
        let mac = match self.taking(&id) {
            Ok(one) => one.mac.clone(),
            Err(refused) => return *refused,
        };
        let (message, state) = if online { ("OK", "SUCCESS") } else { ("Connection refused", "FAILED") };
        let one = json!({ "execID": "ID-1", "id": id, "mac": mac, "exectime": "1456845240566", "message": message, "state": state });
        json(StatusCode::OK, &json!({ "CommandExecList": [one] }))
    }

    fn told(&mut self, method: &Method, path: &[&str], query: &str, order: &Value) -> Response {
        match (method.as_str(), path, query) {
            ("GET", ["thinclients"], "") => self.list(),
            ("PUT", ["thinclients"], "") => self.import(order),
            ("POST", ["thinclients"], "command=settings2tc") => self.commanded(order),
            ("GET", ["thinclients", id], facets) => {
                let found = self.taking(id).cloned();
                let one = match found {
                    Ok(one) => one,
                    Err(refused) => return *refused,
                };
                let mut view = self.view(&one);
                match facets {
                    "" => {}
                    "facets=details" => view["comment"] = json!(one.comment),
                    "facets=online" => view["online"] = json!(self.online),
                    other => panic!("no such facet: {other}"),
                }
                json(StatusCode::OK, &view)
            }
            ("PUT", ["thinclients", id], "") => match self.taking(id) {
                Err(refused) => *refused,
                Ok(one) => {
                    order["comment"].as_str().unwrap().clone_into(&mut one.comment);
                    json(StatusCode::OK, &json!({ "message": "Update successful" }))
                }
            },
            ("DELETE", ["thinclients", id, "deletetcoffline"], "") if !self.old => self.remove(id),
            ("DELETE", ["thinclients", id], "") => match self.online {
                true => self.remove(id),
                false => refused("ITG-FF001", "Thin client is not online."),
            },
            ("PUT", ["directories", "tcdirectories", directory], "operation=move") => {
                self.moved(directory, order)
            }
            _ => json(
                StatusCode::NOT_FOUND,
                &json!({ "message": "No handler is mapped for this request.", "errorCode": "ITG-0A020" }),
            ),
        }
    }
}

/// What it does in the place of an answer.
struct Lies(Option<Lie>);

impl Lies {
    async fn told(self, session: &str) -> Option<Response> {
        Some(match self.0? {
            Lie::Cut => {
                let broken = stream::iter([Ok(Bytes::from_static(b"[{")), Err(std::io::Error::other("cut"))]);
                Body::from_stream(broken).into_response()
            }
            Lie::Hangs => std::future::pending().await,
            Lie::Endless => {
                let more = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 4096])));
                Body::from_stream(more).into_response()
            }
            Lie::Tells => {
                let words = format!("\u{1b}[2J\rno session {session}, by {PASSWORD} or {}\n", pair());
                refused("ITG-0B004", &words)
            }
            Lie::Form => json(
                StatusCode::OK,
                &json!([{ "id": format!("{session} {PASSWORD}"), "movedToBin": 3, "mac": [1] }]),
            ),
            Lie::Ids | Lie::Ended => return None,
        })
    }
}

fn pair() -> String {
    BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"))
}

fn json(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn refused(code: &str, message: &str) -> Response {
    let body = json!({ "message": message, "errorCode": code, "time": "2016-04-06T13:29:59.362", "stackTrace": "[de.igel.rm…]" });
    json(StatusCode::BAD_REQUEST, &body)
}

fn unauthorized(code: &str, message: &str) -> Response {
    json(StatusCode::UNAUTHORIZED, &json!({ "message": message, "errorCode": code }))
}

async fn answered(Has(state): Has<Arc<Mutex<State>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let path = head.uri.path().strip_prefix("/umsapi/v3/").unwrap_or_default().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    if path == "login" {
        return login(&mut state.lock().unwrap(), &head.headers);
    }
    let session = cookie(&head.headers);
    let lie = {
        let mut state = state.lock().unwrap();
        state.asked.push(format!("{} {path}{}{query}", head.method, if query.is_empty() { "" } else { "?" }));
        if state.lie == Some(Lie::Ended) || !state.sessions.contains(&session) {
            return unauthorized(
                "ITG-0B004",
                &format!("No session found for requested session ID {session}."),
            );
        }
        Lies(state.lie)
    };
    if let Some(lie) = lie.told(&session).await {
        return lie;
    }
    let order = serde_json::from_slice(&body).unwrap_or_default();
    let path: Vec<&str> = path.split('/').collect();
    state.lock().unwrap().told(&head.method, &path, &query, &order)
}

fn cookie(headers: &HeaderMap) -> String {
    let cookie = headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    cookie.strip_prefix("JSESSIONID=").unwrap_or_default().to_owned()
}

fn login(state: &mut State, headers: &HeaderMap) -> Response {
    state.logins += 1;
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if shown != Some(&format!("Basic {}", pair())) {
        return unauthorized("ITG-0B002", "Invalid login credentials.");
    }
    let session = format!("{SESSION}{}", state.logins);
    state.sessions.insert(session.clone());
    let cookie = format!("JSESSIONID={session}; Path=/umsapi/; Secure; HttpOnly");
    let body = json!({ "message": format!("JSESSIONID={session}") });
    ([(header::SET_COOKIE, cookie)], json(StatusCode::OK, &body)).into_response()
}
