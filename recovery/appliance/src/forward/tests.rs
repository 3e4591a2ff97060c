//! Entries at real receivers: rsyslog over TLS, and a webhook's listener that refuses, stalls and comes back.

use std::{path::Path, process::Child, time::Duration};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use tokio::{sync::mpsc, time::interval};

use super::{syslog::Siem, webhook::HookOut, *};
use crate::{
    hooks::signature::tests::SECRET,
    testing::Bench,
    tls::{Limits, tests::TestListener},
};

fn sink(bench: &Bench, settings: &Evidence) -> (Sink, Standing) {
    let (mut sinks, standing) = open(settings, "plant-7", &bench.journal).unwrap();
    (sinks.pop().unwrap(), standing)
}

async fn note(bench: &Bench, kind: &str, what: &str) {
    bench.journal.note(Fact::new(kind, "operator:anna", json!({ "what": what }))).await.unwrap();
}

async fn view(bench: &Bench, standing: &Standing) -> SinkView {
    standing.view(&mut bench.journal.db.read().await.unwrap()).await.unwrap().pop().unwrap()
}

pub fn openssl(dir: &Path, line: &str) {
    let run = std::process::Command::new("openssl").current_dir(dir).args(line.split(' ')).output().unwrap();
    assert!(run.status.success(), "{line}\n{}", String::from_utf8_lossy(&run.stderr));
}

/// rsyslog as Debian ships it, with TLS by OpenSSL.
struct Rsyslog {
    process: Child,
    dir: std::path::PathBuf,
    port: u16,
}

impl Rsyslog {
    /// Its certificate is for `name`. `port` 0: any free one.
    async fn start(dir: &Path, name: &str, port: u16) -> Self {
        let dir = dir.join("siem");
        std::fs::create_dir_all(&dir).unwrap();
        if !dir.join("siem.crt").exists() {
            let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout siem.key -out siem.crt";
            openssl(
                &dir,
                &format!(
                    "{new} -subj /CN=siem -addext basicConstraints=critical,CA:FALSE -addext subjectAltName={name}"
                ),
            );
        }
        let at = dir.display();
        let config = format!(
            "global(workDirectory=\"{at}\" defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{at}/siem.crt\"
             defaultNetstreamDriverCertFile=\"{at}/siem.crt\" defaultNetstreamDriverKeyFile=\"{at}/siem.key\")
             module(load=\"imtcp\" StreamDriver.Name=\"ossl\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"anon\")
             template(name=\"read\" type=\"string\" string=\"%hostname% %app-name% %msgid% %structured-data% %pri% %msg%\\n\")
             ruleset(name=\"all\") {{ action(type=\"omfile\" file=\"{at}/out\" template=\"read\") }}
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" listenPortFileName=\"{at}/port\" ruleset=\"all\")\n"
        );
        std::fs::write(dir.join("conf"), config).unwrap();
        let _ = std::fs::remove_file(dir.join("port"));
        let process = std::process::Command::new("/usr/sbin/rsyslogd")
            .args(["-n", "-i", "NONE", "-f"])
            .arg(dir.join("conf"))
            .stderr(std::fs::File::create(dir.join("err")).unwrap())
            .spawn()
            .unwrap();
        let mut rsyslog = Self { process, dir, port: 0 };
        let mut look = interval(Duration::from_millis(20));
        for _ in 0..1500 {
            look.tick().await;
            let said = std::fs::read_to_string(rsyslog.dir.join("port")).unwrap_or_default();
            rsyslog.port = said.trim().parse().unwrap_or(port);
            if rsyslog.port != 0 && tokio::net::TcpStream::connect(("127.0.0.1", rsyslog.port)).await.is_ok()
            {
                return rsyslog;
            }
        }
        panic!("rsyslog does not listen: {}", std::fs::read_to_string(rsyslog.dir.join("err")).unwrap());
    }

    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// The lines it wrote, once there are so many.
    async fn lines(&self, count: usize) -> Vec<String> {
        let mut look = interval(Duration::from_millis(20));
        let mut text = String::new();
        for _ in 0..1500 {
            look.tick().await;
            text = std::fs::read_to_string(self.dir.join("out")).unwrap_or_default();
            if text.lines().count() >= count {
                break;
            }
        }
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn rsyslog_gets_every_entry_over_tls_and_what_it_missed_when_it_is_back() {
    let bench = Bench::new("").await;
    let mut rsyslog = Rsyslog::start(bench.data.path(), "IP:127.0.0.1", 0).await;
    let siem = Siem {
        at: format!("127.0.0.1:{}", rsyslog.port),
        ca_file: rsyslog.dir.join("siem.crt"),
        certificate_file: None,
        key_file: None,
        format: Default::default(),
    };
    let settings = Evidence { siem: Some(siem), ..Evidence::default() };
    let (mut to, standing) = sink(&bench, &settings);
    let hostile = "a\n<0>1 - - - - - - forged\u{202e}\"";
    note(&bench, "order.recover", hostile).await;
    for n in 0..299 {
        note(&bench, "alarm.test", &n.to_string()).await;
    }
    assert_eq!(view(&bench, &standing).await.behind, 300);
    for more in [true, true, false] {
        assert_eq!(to.step().await, Ok(more));
    }
    let lines = rsyslog.lines(300).await;
    assert_eq!(lines.len(), 300);
    let head = "plant-7 groundstate order.recover [meta sequenceId=\"1\"] 110 ";
    let first: serde_json::Value = serde_json::from_str(lines[0].strip_prefix(head).unwrap()).unwrap();
    assert_eq!(first["facts"]["what"], hostile);
    assert!(lines[299].starts_with("plant-7 groundstate alarm.test [meta sequenceId=\"300\"] 108 {"));
    assert_eq!(view(&bench, &standing).await.behind, 0);

    // Gone: nothing moves, it is said once, and a new start of ours goes on where it was.
    rsyslog.stop();
    note(&bench, "order.cancel", "while it was gone").await;
    for _ in 0..2 {
        let why = to.step().await.unwrap_err();
        to.failed(&why).await;
    }
    let now = view(&bench, &standing).await;
    assert!(now.behind == 2 && now.trouble.contains("127.0.0.1"), "{now:?}");
    let (mut to, standing) = sink(&bench, &settings);
    let rsyslog = Rsyslog::start(bench.data.path(), "IP:127.0.0.1", rsyslog.port).await;
    assert_eq!(to.step().await, Ok(true));
    let lines = rsyslog.lines(302).await;
    assert!(lines[300].contains(" order.cancel ") && lines[301].contains(" log.failure "), "{lines:?}");
    assert_eq!(view(&bench, &standing).await.behind, 0);
}

#[tokio::test]
async fn another_ones_certificate_gets_nothing() {
    let bench = Bench::new("").await;
    let rsyslog = Rsyslog::start(bench.data.path(), "IP:127.0.0.2", 0).await;
    let at = format!("127.0.0.1:{}", rsyslog.port);
    let ca_file = rsyslog.dir.join("siem.crt");
    let siem = Siem { at, ca_file, certificate_file: None, key_file: None, format: Default::default() };
    let (mut to, standing) = sink(&bench, &Evidence { siem: Some(siem.clone()), ..Evidence::default() });
    note(&bench, "order.recover", "secret").await;
    assert!(to.step().await.unwrap_err().contains("certificate"));
    assert_eq!(view(&bench, &standing).await.behind, 1);
    assert!(!rsyslog.dir.join("out").exists());
    let half = Siem { key_file: Some("key".into()), ..siem };
    assert!(open(&Evidence { siem: Some(half), ..Evidence::default() }, "p", &bench.journal).is_err());
}

pub type Got = (HeaderMap, Bytes);
type Taker = (Arc<Mutex<Vec<u16>>>, mpsc::Sender<Got>);

/// A listener that answers as it is told, then 204, and hands on what it got.
pub async fn listener(answers: Vec<u16>) -> (TestListener, mpsc::Receiver<Got>) {
    async fn take(
        State((answers, got)): State<Taker>,
        headers: HeaderMap,
        body: Bytes,
    ) -> axum::http::StatusCode {
        let answer = answers.lock().unwrap().pop().unwrap_or(204);
        got.send((headers, body)).await.unwrap();
        axum::http::StatusCode::from_u16(answer).unwrap()
    }
    let (send, got) = mpsc::channel(99);
    let answers = Arc::new(Mutex::new(answers.into_iter().rev().collect()));
    let router = Router::new().route("/in", post(take)).with_state((answers, send));
    (TestListener::start(router, Limits::default(), None).await, got)
}

fn webhook(bench: &Bench, listener: &TestListener, kinds: &[&str]) -> Evidence {
    let dir = bench.data.path();
    std::fs::write(dir.join("out.secret"), SECRET).unwrap();
    std::fs::write(dir.join("out.der"), &listener.certificate).unwrap();
    openssl(dir, "x509 -inform der -in out.der -out out.pem");
    let hook = HookOut {
        url: format!("https://{}/in", listener.address),
        secret_file: dir.join("out.secret"),
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        ca_file: Some(dir.join("out.pem")),
    };
    Evidence { webhooks: [("fleet".to_owned(), hook)].into(), ..Evidence::default() }
}

#[tokio::test]
async fn an_event_is_a_cloud_event_that_its_receiver_can_check() {
    let bench = Bench::new("").await;
    let (listener, mut got) = listener(Vec::new()).await;
    let (mut to, standing) = sink(&bench, &webhook(&bench, &listener, &["order."]));
    note(&bench, "alarm.test", "not told").await;
    note(&bench, "order.recover", "told").await;
    assert_eq!(to.step().await, Ok(true));
    let (headers, body) = got.recv().await.unwrap();
    // The check that our own sources go through.
    let secrets = crate::hooks::signature::Secrets::parse(SECRET).unwrap();
    let now = bench.journal.now() / 1000;
    let id = secrets.check(&headers, &body, now).unwrap().id;
    assert!(secrets.check(&headers, b"{}", now).is_err());
    assert_eq!(headers["content-type"], "application/cloudevents+json; charset=utf-8");
    let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let row = db::log::get(&mut bench.journal.db.read().await.unwrap(), 2).await.unwrap().unwrap();
    let hash = hex::encode(tree::leaf(row.text.as_bytes()));
    assert_eq!(id, format!("plant-7_{}", event["id"].as_str().unwrap()));
    let expected =
        json!(["1.0", format!("2-{}", &hash[..16]), "/groundstate/plant-7", "groundstate.order.recover"]);
    let seen = json!([event["specversion"], event["id"], event["source"], event["type"]]);
    assert_eq!((seen, &event["data"]["facts"]["what"]), (expected, &json!("told")));
    assert!(got.try_recv().is_err(), "what it does not want is not told");
    assert_eq!(view(&bench, &standing).await.behind, 0);
}

#[tokio::test]
async fn what_fails_is_sent_again_and_what_is_refused_for_good_holds_up_nothing() {
    let bench = Bench::new("").await;
    let (listener, mut got) = listener(vec![204, 503, 429, 400, 400, 400, 400, 400, 204]).await;
    let settings = webhook(&bench, &listener, &[]);
    let (mut to, standing) = sink(&bench, &settings);
    for what in ["a", "b", "c"] {
        note(&bench, "order.recover", what).await;
    }
    let mut said = Vec::new();
    for _ in 0..8 {
        said.push(to.step().await.map_err(|why| why[why.len() - 3..].to_owned()));
    }
    let err = |status: &str| Err(status.to_owned());
    let expected =
        [err("503"), err("429"), err("400"), err("400"), err("400"), err("400"), Ok(true), Ok(true)];
    assert_eq!(said, expected);
    let mut ids = Vec::new();
    while let Ok((headers, _)) = got.try_recv() {
        let id = headers["webhook-id"].to_str().unwrap();
        ids.push(id.split_once('-').unwrap().1.split_once('-').unwrap().0.to_owned());
    }
    let again = ["7_1"].into_iter().chain(std::iter::repeat_n("7_2", 7)).chain(["7_3"]);
    assert_eq!(ids, again.collect::<Vec<_>>());
    let now = view(&bench, &standing).await;
    assert_eq!((now.behind, now.dead, now.last_dead.as_str()), (0, 1, "entry 2: it was answered 400"));
    // A start of ours sends nothing twice that was noted as taken.
    let (mut to, _) = sink(&bench, &settings);
    assert_eq!(to.step().await, Ok(false));
    let plain = HookOut { url: "http://x/in".into(), ..settings.webhooks["fleet"].clone() };
    let plain = Evidence { webhooks: [("x".to_owned(), plain)].into(), ..Evidence::default() };
    assert!(open(&plain, "p", &bench.journal).err().unwrap().contains("not https"));
}

/// As [`Sink::follow`] does, without its pauses: until there is nothing to send, or so many steps at most.
async fn steps(to: &mut Sink, most: usize) -> usize {
    for done in 0..most {
        match to.step().await {
            Ok(true) => {}
            Ok(false) => return done,
            Err(why) => to.failed(&why).await,
        }
    }
    most
}

async fn failures(bench: &Bench) -> usize {
    bench.evidence(None).await.iter().filter(|kind| *kind == "log.failure").count()
}

#[tokio::test]
async fn one_who_refuses_everything_does_not_make_entries_without_end() {
    let bench = Bench::new("").await;
    let (listener, _got) = listener(vec![422; 90]).await;
    let (mut to, standing) = sink(&bench, &webhook(&bench, &listener, &[]));
    note(&bench, "order.recover", "a").await;
    // Its entry, and the one that says that it was not taken: five tries each, and no third entry.
    assert_eq!(steps(&mut to, 50).await, 10);
    assert_eq!(failures(&bench).await, 1);
    let now = view(&bench, &standing).await;
    assert!(now.dead == 2 && now.behind == 0 && now.trouble.contains("422"), "{now:?}");
}

#[tokio::test]
async fn what_it_is_not_told_does_not_end_its_trouble_and_what_it_takes_does() {
    let bench = Bench::new("").await;
    let (listener, _got) = listener(vec![400; 5]).await;
    let (mut to, standing) = sink(&bench, &webhook(&bench, &listener, &["order."]));
    note(&bench, "order.recover", "refused").await;
    assert_eq!(steps(&mut to, 50).await, 6, "five tries, and the `log.failure` that it is not told");
    assert!(view(&bench, &standing).await.trouble.contains("400"));
    note(&bench, "order.recover", "taken").await;
    assert_eq!(steps(&mut to, 50).await, 1);
    assert_eq!((view(&bench, &standing).await.trouble.as_str(), failures(&bench).await), ("", 1));
}

#[tokio::test]
async fn what_says_nothing_about_the_entry_never_buries_it() {
    let later = [401, 403, 404, 405, 407, 408, 410, 425, 429, 500, 503, 301];
    let bench = Bench::new("").await;
    let answers: Vec<u16> = later.iter().flat_map(|status| [*status; 6]).collect();
    let tries = answers.len();
    let (listener, _got) = listener(answers).await;
    let (mut to, standing) = sink(&bench, &webhook(&bench, &listener, &["order."]));
    note(&bench, "order.recover", "kept").await;
    assert_eq!(steps(&mut to, tries).await, tries);
    let now = view(&bench, &standing).await;
    assert_eq!((now.dead, now.behind, failures(&bench).await), (0, 2, 1));
    assert_eq!(steps(&mut to, 9).await, 1);
    let now = view(&bench, &standing).await;
    assert_eq!((now.dead, now.behind, now.trouble.as_str()), (0, 0, ""));
}

/// After a restore the log goes on from an earlier entry: the new one of a lost one's number is another event.
#[test]
fn an_entry_in_the_place_of_a_lost_one_has_another_id() {
    let row = |text: &str| EntryRow { seq: 17, text: text.into(), hash: String::new(), nodes: None };
    assert_eq!(id(&row("a")), id(&row("a")));
    assert_ne!(id(&row("a")), id(&row("b")));
    assert!(id(&row("a")).starts_with("17-") && id(&row("a")).len() == 19);
}
