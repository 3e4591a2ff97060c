//! Messages at real receivers: a mail server (aiosmtpd), a broker (mosquitto) and its own subscriber, a webhook's listener.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::http::StatusCode;
use recovery_protocol::operator::Decision;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::interval;

use super::*;
use crate::{
    evidence::Fact,
    hooks::signature::tests::SECRET,
    service::Actor,
    testing::{Bench, not_looked_at},
};

const PASSWORD: &str = "the-password-of-mail";

/// A program of another one's; it ends with this.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn certificate(dir: &Path) {
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 -addext \
                   subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:false -keyout p.key -out p.crt";
    let made = Command::new("openssl").current_dir(dir).args(request.split_whitespace()).output().unwrap();
    assert!(made.status.success());
}

/// A mail server, and its port.
fn mail_server(dir: &Path, mode: &str) -> Option<(Peer, u16)> {
    let has = Command::new("/usr/bin/python3").args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        not_looked_at("aiosmtpd", "python3-aiosmtpd");
        return None;
    }
    certificate(dir);
    std::fs::write(dir.join("peer.py"), include_str!("smtp_peer.py")).unwrap();
    std::fs::write(dir.join("password"), format!("{PASSWORD}\n")).unwrap();
    let mut child = Command::new("/usr/bin/python3")
        .current_dir(dir)
        .args(["peer.py", mode, "groundstate", PASSWORD])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    Some((Peer(child), port.trim().parse().unwrap()))
}

/// The lines of a file, once there are so many.
async fn lines(file: &Path, count: usize) -> Vec<String> {
    let mut look = interval(Duration::from_millis(20));
    let mut text = String::new();
    for _ in 0..1000 {
        look.tick().await;
        text = std::fs::read_to_string(file).unwrap_or_default();
        if text.lines().count() >= count {
            break;
        }
    }
    text.lines().map(str::to_owned).collect()
}

/// Waits for a line.
async fn until(file: &Path, is: impl Fn(&str) -> bool) {
    let mut look = interval(Duration::from_millis(20));
    for _ in 0..1000 {
        look.tick().await;
        if std::fs::read_to_string(file).unwrap_or_default().lines().any(&is) {
            return;
        }
    }
    panic!("it did not come: {}", std::fs::read_to_string(file).unwrap_or_default());
}

fn mail_channel(dir: &Path, port: u16, more: &str) -> String {
    let dir = dir.display();
    format!(
        "[notify]\naddress = \"https://appliance.plant/\"\n[notify.channels.duty]\nkind = \"email\"\nserver = \"127.0.0.1\"\nport = {port}\n\
         ca_file = \"{dir}/p.crt\"\nuser = \"groundstate\"\npassword_file = \"{dir}/password\"\nfrom = \"Plant <groundstate@plant.example>\"\n\
         to = [\"duty@plant.example\", \"Ünal <unal@plant.example>\"]\n{more}"
    )
}

const RULE: &str =
    "[[notify.rules]]\nevents = [\"held\", \"failed\", \"cancelled\", \"alarm\"]\nchannels = [\"duty\"]\n";

/// An appliance that tells others, until it is dropped.
async fn telling(config: &str) -> (Bench, CancellationToken, tokio::task::JoinHandle<()>) {
    let mut bench = Bench::new(config).await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(bench.followers.take().unwrap().run(stop.clone()));
    (bench, stop, task)
}

async fn channel(bench: &Bench, name: &str) -> ChannelView {
    bench.service.channels().await.unwrap().into_iter().find(|view| view.name == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_that_stops_is_a_mail_in_plain_words() {
    let dir = TempDir::new().unwrap();
    let Some((peer, port)) = mail_server(dir.path(), "starttls") else { return };
    let config = mail_channel(dir.path(), port, &format!("[groups.default]\nmode = \"approve\"\n{RULE}"));
    let (bench, stop, task) = telling(&config).await;
    bench.add("press-01", "52:54:00:12:34:56", json!({})).await;
    let job = bench.recover("press-01").await;
    // The image is gone when the job comes to it.
    std::fs::remove_dir_all(bench.journal.config.image_store().join("manifests")).unwrap();
    bench.runner().settle().await.unwrap();
    let held = bench.service.job(job.job).await.unwrap();
    assert!(format!("{:?}", held.state).contains("Held"), "{held:?}");
    let mails = lines(&dir.path().join("mails"), 1).await;
    let mail: Value = serde_json::from_str(&mails[0]).unwrap();
    assert_eq!(mail["subject"], "[plant-7] press-01 is held");
    assert_eq!(mail["to"], json!(["duty@plant.example", "unal@plant.example"]));
    assert_eq!((&mail["tls"], &mail["auto"]), (&json!(true), &json!("auto-generated")));
    assert!(mail["id"].as_str().unwrap().starts_with("<plant-7."), "{mail}");
    let text = mail["text"].as_str().unwrap();
    for wanted in [
        "What now:",
        &format!("https://appliance.plant/jobs/{}", job.job),
        "image-not-trusted",
        "of the evidence log",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in:\n{text}");
    }

    // What happens while it is gone waits, is said, and is there when it is back.
    drop(peer);
    bench
        .service
        .cancel(&Actor::operator("anna"), job.job, Decision { reason: "scrapped".into() })
        .await
        .unwrap();
    let mut look = interval(Duration::from_millis(20));
    for _ in 0..1000 {
        look.tick().await;
        if !channel(&bench, "duty").await.failure.is_empty() {
            break;
        }
    }
    let view = channel(&bench, "duty").await;
    assert!(
        view.failure.contains("127.0.0.1") && view.waiting == 1 && view.oldest_unix_ms.is_some(),
        "{view:?}"
    );
    assert!(view.delivered_unix_ms.is_some() && view.failed_unix_ms.is_some());
    assert!(bench.evidence(None).await.contains(&"notify.failure".to_owned()));
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_goes_out_when_the_server_is_back_and_once() {
    let dir = TempDir::new().unwrap();
    let Some((peer, port)) = mail_server(dir.path(), "tls") else { return };
    let config = mail_channel(dir.path(), port, &format!("security = \"tls\"\n{RULE}"));
    let mut bench = Bench::new(&config).await;
    let Parts { mut mind, mut couriers, .. } = bench.followers.take().unwrap().parts();
    let courier = &mut couriers[0];
    assert!(!mind.step().await.unwrap(), "the log is empty");
    for kind in ["alarm.foreign-server", "log.read", "alarm.left-off"] {
        bench.journal.note(Fact::new(kind, "appliance", json!({ "how": "left dark" }))).await.unwrap();
    }
    assert!(mind.step().await.unwrap() && !mind.step().await.unwrap());
    std::fs::write(dir.path().join("password"), "wrong").unwrap();
    courier.once().await.unwrap();
    let view = channel(&bench, "duty").await;
    assert!(view.failure.contains("535") && view.waiting == 2, "{view:?}");
    std::fs::write(dir.path().join("password"), PASSWORD).unwrap();
    courier.make_due().await;
    courier.once().await.unwrap();
    let view = channel(&bench, "duty").await;
    assert_eq!((view.failure.as_str(), view.waiting), ("", 0));
    courier.once().await.unwrap();
    let mails = lines(&dir.path().join("mails"), 1).await;
    assert_eq!(mails.len(), 1, "both in one mail, and once: {mails:?}");
    let mail: Value = serde_json::from_str(&mails[0]).unwrap();
    assert_eq!(mail["subject"], "[plant-7] Alarm: foreign-server (+1)");
    assert!(
        mail["text"].as_str().unwrap().contains("Alarm: left-off")
            && mail["text"].as_str().unwrap().contains("how: left dark")
    );
    drop(peer);
}

#[tokio::test]
async fn a_test_says_what_came_of_it() {
    let dir = TempDir::new().unwrap();
    let Some((peer, port)) = mail_server(dir.path(), "starttls") else { return };
    let bench = Bench::new(&mail_channel(dir.path(), port, RULE)).await;
    let (status, answer) = bench.ask("POST", "/api/v1/notifications/duty/test", json!({})).await;
    assert!(status == StatusCode::OK && answer["channel"]["delivered_unix_ms"].is_u64(), "{answer}");
    let mails = lines(&dir.path().join("mails"), 1).await;
    assert!(mails[0].contains("[plant-7] Test message") && mails[0].contains("operator"), "{mails:?}");
    drop(peer);
    let (status, answer) = bench.ask("POST", "/api/v1/notifications/duty/test", json!({})).await;
    assert_eq!((status, &answer["code"]), (StatusCode::BAD_GATEWAY, &json!("channel-failed")));
    assert!(answer["detail"].as_str().unwrap().contains("127.0.0.1"), "{answer}");
    let (status, _) = bench.ask("POST", "/api/v1/notifications/nobody/test", json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let tests = bench.evidence(None).await.into_iter().filter(|kind| kind == forward::TEST).count();
    assert_eq!(tests, 2);
    let (_, status) = bench.ask("GET", "/api/v1/status", json!(null)).await;
    assert!(status["channels"][0]["failure"].as_str().unwrap().contains("127.0.0.1"), "{status}");
}

#[tokio::test]
async fn a_mail_server_without_tls_or_with_another_ones_certificate_gets_nothing() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let Some((_peer, port)) = mail_server(dir.path(), "starttls") else { return };
    certificate(other.path());
    let at = format!("ca_file = \"{}/p.crt\"", dir.path().display());
    let config = mail_channel(dir.path(), port, RULE);
    let config = config.replace(&at, &format!("ca_file = \"{}/p.crt\"", other.path().display()));
    let bench = Bench::new(&config).await;
    let (status, answer) = bench.ask("POST", "/api/v1/notifications/duty/test", json!({})).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{answer}");
    assert!(answer["detail"].as_str().unwrap().to_lowercase().contains("certificate"), "{answer}");
    assert!(!dir.path().join("mails").exists());
}

#[tokio::test]
async fn quiet_hours_keep_what_can_wait_and_let_through_what_cannot() {
    let all_day = "quiet = [\"daily 00:00-24:00\"]\neven_then = [\"stop\"]\n";
    let webhook = |dir: &Path| {
        std::fs::write(dir.join("secret"), SECRET).unwrap();
        format!(
            "[notify.channels.fleet]\nkind = \"webhook\"\nurl = \"https://127.0.0.1:9/in\"\nsecret_file = \"{}/secret\"\n\
             [[notify.rules]]\nevents = [\"alarm\", \"stop\"]\nchannels = [\"fleet\"]\n{all_day}\
             [[notify.rules]]\nevents = [\"cancelled\"]\nselector = \"line=3\"\nchannels = [\"fleet\"]\n",
            dir.display()
        )
    };
    let dir = TempDir::new().unwrap();
    let mut bench = Bench::new(&webhook(dir.path())).await;
    let mut mind = bench.followers.take().unwrap().parts().mind;
    assert!(!mind.step().await.unwrap());
    bench.add("press-03", "52:54:00:00:00:03", json!({ "labels": { "line": "3" } })).await;
    bench.add("press-04", "52:54:00:00:00:04", json!({ "labels": { "line": "4" } })).await;
    for endpoint in ["press-03", "press-04"] {
        let job = bench.recover(endpoint).await.job;
        bench.service.cancel(&Actor::operator("anna"), job, Decision::default()).await.unwrap();
    }
    bench.journal.note(Fact::new("alarm.left-off", "appliance", json!({}))).await.unwrap();
    bench.service.press_stop(&Actor::operator("anna"), Decision { reason: "smoke".into() }).await.unwrap();
    assert!(mind.step().await.unwrap());
    let mut conn = bench.journal.db.read().await.unwrap();
    let now = bench.journal.now();
    let due = db::notice::due(&mut conn, "fleet", now, 99).await.unwrap();
    let due: Vec<&str> = due.iter().map(|notice| notice.event.as_str()).collect();
    assert_eq!(due, ["cancelled", "stop"], "the other line's is nobody's, and the alarm waits");
    let later = db::notice::due(&mut conn, "fleet", now + 24 * 3_600_000, 99).await.unwrap();
    assert_eq!(later.len(), 3);
}

#[tokio::test]
async fn a_neglected_backup_is_said_once_a_day_until_it_is_made() {
    let mut bench = Bench::new("[notify]\nbackup_every_days = 1\ndrill_every_days = 400\n").await;
    let mind = &mut bench.followers.take().unwrap().parts().mind;
    let at = |days: u64| bench.journal.now() - days * 24 * 3_600_000;
    let mut tx = bench.journal.db.begin().await.unwrap();
    db::notice::mark(&mut tx, "begun", at(3)).await.unwrap();
    tx.commit().await.unwrap();
    mind.look().await.unwrap();
    mind.look().await.unwrap();
    let due =
        |kinds: Vec<String>| kinds.into_iter().filter(|kind| kind.starts_with("due.")).collect::<Vec<_>>();
    assert_eq!(due(bench.evidence(None).await), ["due.backup"]);
    bench.journal.note(Fact::new("state.saved", "operator:shell", json!({}))).await.unwrap();
    while mind.step().await.unwrap() {}
    mind.look().await.unwrap();
    assert_eq!(due(bench.evidence(None).await), ["due.backup"]);
    let ages = mind.ages().await.unwrap();
    assert!(ages.backup.is_some_and(|made| made > at(1)) && ages.drill.is_none(), "{ages:?}");
}

struct Broker {
    process: Peer,
    dir: TempDir,
    port: u16,
}

impl Broker {
    /// With TLS and one user.
    async fn start() -> Option<Self> {
        if !Path::new("/usr/sbin/mosquitto").exists() || !Path::new("/usr/bin/mosquitto_sub").exists() {
            not_looked_at("mosquitto", "mosquitto mosquitto-clients");
            return None;
        }
        let dir = TempDir::new().unwrap();
        certificate(dir.path());
        // It takes no port 0: one that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let made = Command::new("mosquitto_passwd")
            .args(["-b", "-c", "users", "groundstate", PASSWORD])
            .current_dir(&dir)
            .status();
        assert!(made.unwrap().success());
        std::fs::write(dir.path().join("password"), PASSWORD).unwrap();
        let at = dir.path().display();
        let config = format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous false\npassword_file {at}/users\ncafile {at}/p.crt\ncertfile {at}/p.crt\nkeyfile {at}/p.key\n"
        );
        std::fs::write(dir.path().join("conf"), config).unwrap();
        let mut process = Command::new("/usr/sbin/mosquitto");
        let process =
            process.arg("-c").arg(dir.path().join("conf")).stderr(Stdio::null()).stdout(Stdio::null());
        let process = Peer(process.spawn().unwrap());
        let mut look = interval(Duration::from_millis(20));
        for _ in 0..500 {
            look.tick().await;
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Some(Self { process, dir, port });
            }
        }
        panic!("mosquitto does not listen");
    }

    /// Debian's subscriber: a line for each message, `topic retained payload`.
    fn subscriber(&self, name: &str) -> (Peer, PathBuf) {
        let file = self.dir.path().join(name);
        let port = self.port.to_string();
        let child = Command::new("mosquitto_sub")
            .current_dir(&self.dir)
            .args(["-h", "127.0.0.1", "-p", &port, "--cafile", "p.crt", "-u", "groundstate", "-P", PASSWORD])
            .args(["-q", "1", "-t", "site/plant-7/#", "-F", "%t %r %p"])
            .stdout(std::fs::File::create(&file).unwrap())
            .spawn();
        (Peer(child.unwrap()), file)
    }

    fn channel(&self, version: &str) -> String {
        let (dir, port) = (self.dir.path().display(), self.port);
        format!(
            "[notify.channels.scada]\nkind = \"mqtt\"\nat = \"127.0.0.1:{port}\"\nca_file = \"{dir}/p.crt\"\nuser = \"groundstate\"\n\
             password_file = \"{dir}/password\"\nversion = \"{version}\"\nkeep_alive_s = 5\n\
             [[notify.rules]]\nevents = [\"cancelled\"]\nchannels = [\"scada\"]\n"
        )
    }
}

async fn a_broker_knows_the_state_of_every_endpoint(version: &str) {
    let Some(broker) = Broker::start().await else { return };
    let mut bench = Bench::new(&broker.channel(version)).await;
    bench.add("press-01", "52:54:00:12:34:56", json!({})).await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(bench.followers.take().unwrap().run(stop.clone()));
    let (_subscriber, file) = broker.subscriber("first");
    let up = lines(&file, 2).await;
    assert!(
        up.iter().any(
            |line| line.starts_with("site/plant-7/appliance/state ") && line.contains("\"state\":\"up\"")
        ),
        "{up:?}"
    );
    assert!(up.iter().any(|line| line.starts_with("site/plant-7/recovery/press-01/state ")), "{up:?}");

    let job = bench.recover("press-01").await.job;
    bench.service.cancel(&Actor::operator("anna"), job, Decision::default()).await.unwrap();
    let wanted = [
        ("site/plant-7/recovery/press-01/state 0 ", "\"state\":\"cancelled\""),
        ("site/plant-7/recovery/event 0 ", "\"event\":\"cancelled\""),
    ];
    for (topic, word) in wanted {
        until(&file, |line| line.starts_with(topic) && line.contains(word)).await;
    }
    bench
        .service
        .remove_endpoint(&Actor::operator("anna"), &"press-01".parse().unwrap(), Decision::default(), None)
        .await
        .unwrap();
    until(&file, |line| line == "site/plant-7/recovery/press-01/state 0 ").await;

    // Gone without a word: the broker says so, also to who asks later.
    task.abort();
    until(&file, |line| line == "site/plant-7/appliance/state 0 {\"state\":\"down\"}").await;
    let (_later, file) = broker.subscriber("later");
    assert_eq!(lines(&file, 1).await, ["site/plant-7/appliance/state 1 {\"state\":\"down\"}"]);
    drop(broker.process);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_version_3_1_1_knows_the_state_of_every_endpoint() {
    a_broker_knows_the_state_of_every_endpoint("3.1.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_version_5_knows_the_state_of_every_endpoint() {
    a_broker_knows_the_state_of_every_endpoint("5").await;
}

#[tokio::test]
async fn a_broker_that_does_not_let_us_in_says_why() {
    let Some(broker) = Broker::start().await else { return };
    std::fs::write(broker.dir.path().join("password"), "wrong").unwrap();
    for version in ["3.1.1", "5"] {
        let bench = Bench::new(&broker.channel(version)).await;
        let (status, answer) = bench.ask("POST", "/api/v1/notifications/scada/test", json!({})).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains("let us in"), "{answer}");
    }
}

#[tokio::test]
async fn a_webhook_is_told_an_event_in_words_that_its_receiver_can_check() {
    let (listener, mut got) = forward::tests::listener(Vec::new()).await;
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("secret"), SECRET).unwrap();
    std::fs::write(dir.path().join("p.der"), &listener.certificate).unwrap();
    forward::tests::openssl(dir.path(), "x509 -inform der -in p.der -out p.pem");
    let at = dir.path().display();
    let config = format!(
        "[notify.channels.fleet]\nkind = \"webhook\"\nurl = \"https://{}/in\"\nsecret_file = \"{at}/secret\"\nca_file = \"{at}/p.pem\"\n\
         [[notify.rules]]\nevents = [\"alarm\"]\nchannels = [\"fleet\"]\n",
        listener.address
    );
    let mut bench = Bench::new(&config).await;
    let Parts { mut mind, mut couriers, .. } = bench.followers.take().unwrap().parts();
    assert!(!mind.step().await.unwrap());
    bench
        .journal
        .note(Fact::new("alarm.foreign-server", "appliance", json!({ "server": "10.0.0.9" })))
        .await
        .unwrap();
    assert!(mind.step().await.unwrap());
    couriers[0].once().await.unwrap();
    let (headers, body) = got.recv().await.unwrap();
    let secrets = crate::hooks::signature::Secrets::parse(SECRET).unwrap();
    secrets.check(&headers, &body, bench.journal.now() / 1000).unwrap();
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&event["type"], &event["data"]["code"]),
        (&json!("groundstate.notice.alarm"), &json!("foreign-server"))
    );
    assert!(
        event["data"]["now"].as_str().unwrap().contains("take it off")
            && event["data"]["what"] == "server: 10.0.0.9"
    );
}

#[test]
fn a_channel_that_cannot_work_is_named_with_what_to_write() {
    let refused =
        |text: &str| Config::parse(text, Path::new("/etc/groundstate.toml")).unwrap_err().to_string();
    let mail = "[notify.channels.duty]\nkind = \"email\"\nserver = \"mail.plant\"\nfrom = \"a@b.c\"\nto = [\"d@e.f\"]\n";
    let rule = "[[notify.rules]]\nevents = [\"held\"]\nchannels = [\"duty\"]\n";
    Config::parse(&format!("{mail}{rule}"), Path::new("/etc/groundstate.toml")).unwrap();
    for (text, words) in [
        (mail.to_owned(), ["line 1", "no rule names it"]),
        (format!("{mail}user = \"x\"\n{rule}"), ["line 6", "password_file"]),
        (format!("{}{rule}", mail.replace("a@b.c", "nobody")), ["line 4", "no address"]),
        (format!("{mail}security = \"ssl\"\n{rule}"), ["unknown variant `ssl`", "starttls"]),
        (format!("{mail}{}", rule.replace("duty", "nobody")), ["line 8", "`nobody`"]),
        (format!("{mail}{}", rule.replace("held", "hold")), ["unknown variant `hold`", "approval-needed"]),
        (format!("{mail}{rule}quiet = [\"daily 22:00-06:00\"]\n"), ["line 9", "time_zone"]),
        (format!("[notify]\nlanguage = \"tlh\"\n{mail}{rule}"), ["line 2", "en, de, fr, es or zh"]),
    ] {
        let said = refused(&text);
        assert!(words.iter().all(|word| said.contains(word)), "{text}\n{said}");
    }
}
