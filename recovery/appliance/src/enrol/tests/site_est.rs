//! Behind our door an EST server that is not ours (Python's standard library and OpenSSL): the appliance is its registration authority.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use super::*;
use crate::{
    config::SiteEst as Setting,
    db::ticket::Certificate,
    enrol::{ca::Request, site_est::SiteEst},
};

/// A running EST server and its directory.
struct Server {
    process: Child,
    dir: tempfile::TempDir,
    est: u16,
    plain: u16,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/enrol/fixtures/est_server.py");
        let mut process = Command::new("/usr/bin/python3")
            .arg(program)
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ports: Vec<u16> = line.split_whitespace().map(|port| port.parse().unwrap()).collect();
        Self { process, dir, est: ports[0], plain: ports[1] }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn openssl(&self, line: &str) {
        let run =
            Command::new("openssl").args(line.split(' ')).current_dir(self.dir.path()).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }

    /// With the certificate of a registration authority.
    fn setting(&self) -> Setting {
        Setting {
            url: format!("https://127.0.0.1:{}", self.est),
            label: Some("devices".to_owned()),
            ca_file: self.file("root.pem"),
            certificate_file: Some(self.file("ra.pem")),
            key_file: Some(self.file("ra.key")),
            password_file: None,
            crl_url: Some(format!("http://127.0.0.1:{}/crl", self.plain)),
        }
    }

    async fn door(&self, setting: &Setting) -> Site {
        self.openssl("x509 -in root.pem -outform der -out root.der");
        let root = std::fs::read(self.file("root.der")).unwrap();
        let provider = SiteEst::open(setting, None).unwrap();
        let site = Site::open(|_| (Arc::new(provider), root.into())).await;
        site.named("press", "press-01");
        site
    }

    /// What it was asked, in order.
    fn asked(&self) -> Vec<String> {
        let asked = std::fs::read_to_string(self.file("asked.txt")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }

    /// How many certificates it has issued.
    fn issued(&self) -> usize {
        std::fs::read_to_string(self.file("index.txt")).unwrap().lines().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Site {
    /// A key and a request that asks for a name and nothing else.
    fn named(&self, file: &str, name: &str) {
        self.run("openssl", &format!("ecparam -name prime256v1 -genkey -noout -out {file}.key"));
        self.run(
            "openssl",
            &format!("req -new -key {file}.key -subj /CN={name} -outform der -out {file}.csr"),
        );
        self.run("openssl", &format!("base64 -in {file}.csr -out {file}.b64"));
        self.run("openssl", &format!("pkey -in {file}.key -pubout -outform der -out {file}.spki"));
    }

    /// Another request of the same key, as an agent signs one at each try.
    fn again(&self, file: &str, name: &str) {
        let request = format!("req -new -key {file}.key -subj /CN={name} -outform der -out {file}.csr");
        self.run("openssl", &request);
        self.run("openssl", &format!("base64 -in {file}.csr -out {file}.b64"));
    }

    async fn facts(&self, kind: &str) -> Vec<serde_json::Value> {
        let lines = self.bench.service.evidence_lines(None).await.unwrap();
        let entries = lines.iter().filter_map(|line| recovery_protocol::evidence::entry(line));
        entries.filter(|entry| entry.kind == kind).map(|entry| entry.facts.into()).collect()
    }

    /// Enrols this key with a fresh secret: the status, and the problem's code where there is one.
    async fn ask(&self, file: &str) -> (u16, String) {
        let secret = self.secret(file).await;
        let status = self.enroll(file, &secret).await;
        let code = if status >= 400 { self.problem().code } else { String::new() };
        (status, code)
    }
}

fn ok() -> (u16, String) {
    (200, String::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sites_own_server_issues_what_we_have_seen_the_proof_of() {
    let server = Server::start();
    let site = server.door(&server.setting()).await;
    std::fs::write(server.file("hold"), "").unwrap();
    let secret = site.secret("press").await;
    let url = site.url(".well-known/est/simpleenroll");
    let ask =
        format!("-D head -u {secret} -H Content-Type:application/pkcs10 --data-binary @press.b64 {url}");
    assert_eq!(site.curl(&ask).await, 202);
    let head = std::fs::read_to_string(site.directory.join("head")).unwrap().to_lowercase();
    assert!(head.contains("retry-after: 7"), "{head}");
    std::fs::remove_file(server.file("hold")).unwrap();
    assert_eq!(site.curl(&ask).await, 200, "the same secret, once somebody has decided");
    let first = std::fs::read(site.directory.join("answer")).unwrap();
    site.certificate("press");
    site.root_pem();
    site.run("openssl", "verify -CAfile root.pem -purpose sslclient press.crt");
    assert!(site.run("openssl", "x509 -in press.crt -noout -issuer").contains("Site devices"));
    assert_eq!(site.curl(&ask).await, 200);
    assert_eq!(
        std::fs::read(site.directory.join("answer")).unwrap(),
        first,
        "a lost answer gets the same one"
    );
    assert_eq!(server.issued(), 1);
    let evidence = site.bench.evidence(None).await;
    let count = |kind: &str| evidence.iter().filter(|found| *found == kind).count();
    assert_eq!((count("identity.waits"), count("identity.issued")), (1, 1));

    assert_eq!(site.curl(&site.url(".well-known/est/cacerts")).await, 200);
    assert!(site.certificate("issuers").contains("Site devices"));
    assert_eq!(site.curl(&site.url("pki/crl")).await, 404);
    assert_eq!(site.problem().code, "crl-elsewhere");
    // Renewal is by the certificate on record, whoever issued it.
    site.trust().await;
    let renew = site.url(".well-known/est/simplereenroll");
    let renew = format!(
        "--cert press.crt --key press.key -H Content-Type:application/pkcs10 --data-binary @press.b64 {renew}"
    );
    assert_eq!(site.curl(&renew).await, 200);
    assert_eq!(server.issued(), 2);
    assert!(!site.bench.data.path().join("state/ca").exists(), "no key of an authority is here");
    // What the site has revoked is not renewed, whatever our own record says.
    server.openssl("ca -config ca.cnf -revoke 1000.pem");
    server.openssl("ca -config ca.cnf -gencrl -out crl.pem");
    assert_eq!(site.curl(&renew).await, 403);
    assert_eq!((site.problem().code.as_str(), server.issued()), ("certificate-revoked-there", 2));
    assert_eq!(site.facts("refusal.est").await.last().unwrap()["code"], "certificate-revoked-there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_waits_until_the_site_says_that_the_old_one_is_revoked() {
    let server = Server::start();
    let site = server.door(&server.setting()).await;
    assert_eq!(site.ask("press").await, ok());
    let mut tx = site.bench.journal.begin().await.unwrap();
    let at = tx.at;
    db::ticket::revoke(tx.conn(), &"press-01".parse().unwrap(), at).await.unwrap();
    tx.commit().await.unwrap();
    site.named("again", "press-01");
    assert_eq!(site.ask("again").await.0, 202);
    let why = std::fs::read_to_string(site.directory.join("answer")).unwrap();
    assert!(why.contains("does not name 1000 yet"), "{why}");
    assert_eq!(server.issued(), 1, "nothing was asked for");
    server.openssl("ca -config ca.cnf -revoke issued.pem");
    server.openssl("ca -config ca.cnf -gencrl -out crl.pem");
    assert_eq!(site.ask("again").await, ok());
    // A list that somebody else signed says nothing.
    let mut tx = site.bench.journal.begin().await.unwrap();
    db::ticket::revoke(tx.conn(), &"press-01".parse().unwrap(), at).await.unwrap();
    tx.commit().await.unwrap();
    let other = Server::start();
    std::fs::copy(other.file("crl.pem"), server.file("crl.pem")).unwrap();
    site.named("third", "press-01");
    assert_eq!(site.ask("third").await, (502, "enrolment-ca-unusable".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_endpoints_own_name_is_passed_on() {
    let server = Server::start();
    let site = server.door(&server.setting()).await;
    let refused = (400, "certificate-request-refused".to_owned());
    site.named("other", "press-02");
    assert_eq!(site.ask("other").await, refused);
    site.key("authority");
    assert_eq!(site.ask("authority").await, refused);
    assert_eq!(server.issued(), 0);
    // What comes back is held against what was asked for: somebody swapped the request on its way.
    site.named("swapped", "press-01");
    let swapped = site.directory.join("swapped.csr");
    site.run("openssl", "req -inform der -in swapped.csr -out swapped.pem");
    std::fs::copy(swapped.with_extension("pem"), server.file("swap.csr")).unwrap();
    assert_eq!(site.ask("press").await, (502, "enrolment-ca-unusable".to_owned()));
    assert!(site.problem().detail.contains("for the key that was asked for"), "{}", site.problem().detail);
    // It was issued all the same: who runs that server is told to revoke it.
    let rejected = site.facts("identity.rejected").await;
    assert_eq!((rejected.len(), &rejected[0]["certificate"]["serial"]), (1, &json!("1000")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_stands_in_for_the_certificate_and_a_server_that_is_away_or_another_is_named() {
    let server = Server::start();
    let password = |text: &str| {
        std::fs::write(server.file("password"), text).unwrap();
        let password_file = Some(server.file("password"));
        Setting { certificate_file: None, key_file: None, password_file, ..server.setting() }
    };
    let site = server.door(&password("groundstate:let me\n")).await;
    assert_eq!(site.ask("press").await, ok());
    let site = server.door(&password("groundstate:wrong")).await;
    assert_eq!(site.ask("press").await, (502, "enrolment-ca-refused".to_owned()));
    assert!(site.problem().detail.contains("who are you?"), "{}", site.problem().detail);
    // A server whose certificate another authority signed gets no password.
    let other = Server::start();
    let site = server.door(&Setting { ca_file: other.file("root.pem"), ..server.setting() }).await;
    assert_eq!(site.ask("press").await, (503, "enrolment-ca-away".to_owned()));
    let setting = server.setting();
    let site = server.door(&setting).await;
    drop(server);
    assert_eq!(site.ask("press").await, (503, "enrolment-ca-away".to_owned()));
    assert!(site.bench.evidence(None).await.contains(&"identity.waits".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_issued_is_on_record_though_the_endpoint_hung_up() {
    let server = Server::start();
    let site = server.door(&server.setting()).await;
    std::fs::write(server.file("slow"), "").unwrap();
    let secret = site.secret("press").await;
    let url = site.url(".well-known/est/simpleenroll");
    let ask = format!("-u {secret} -H Content-Type:application/pkcs10 --data-binary @press.b64 {url}");
    let mut hangs_up = site.command("curl", &format!("-s --cacert tls.pem -o nothing --max-time 1 {ask}"));
    let ended = tokio::task::spawn_blocking(move || hangs_up.status().unwrap()).await.unwrap();
    assert_eq!(ended.code(), Some(28), "it waited no longer");
    std::fs::remove_file(server.file("slow")).unwrap();
    let status = loop {
        match site.curl(&ask).await {
            202 => {}
            status => break status,
        }
    };
    assert_eq!((status, server.issued()), (200, 1), "the one that was issued is handed out");
    let kinds = site.bench.evidence(None).await;
    let at = |kind: &str| kinds.iter().position(|found| found == kind).unwrap();
    assert!(at("identity.asked") < at("identity.issued"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_of_a_key_is_the_one_that_somebody_decides_about() {
    let server = Server::start();
    let site = server.door(&server.setting()).await;
    std::fs::write(server.file("hold"), "").unwrap();
    let secret = site.secret("press").await;
    let until = async || {
        let mut tx = site.bench.journal.begin().await.unwrap();
        db::ticket::est(tx.conn(), site.job).await.unwrap().unwrap().expires
    };
    let before = until().await;
    assert_eq!(site.enroll("press", &secret).await, 202);
    assert!(until().await > before, "the secret counts for as long as somebody decides");
    site.again("press", "press-01");
    assert_eq!(site.enroll("press", &secret).await, 202);
    let posted: Vec<String> = server.asked().into_iter().filter(|asked| !asked.starts_with('/')).collect();
    assert_eq!((posted.len(), &posted[0]), (2, &posted[1]), "the same request, whatever the agent signs");
    std::fs::remove_file(server.file("hold")).unwrap();
    assert_eq!(site.enroll("press", &secret).await, 200);
    // Answered, the next one is a new question.
    site.trust().await;
    site.certificate("press");
    site.again("press", "press-01");
    let renew = site.url(".well-known/est/simplereenroll");
    let renew = format!(
        "--cert press.crt --key press.key -H Content-Type:application/pkcs10 --data-binary @press.b64 {renew}"
    );
    assert_eq!(site.curl(&renew).await, 200);
    let last = server.asked().into_iter().rfind(|asked| !asked.starts_with('/')).unwrap();
    assert_ne!(last, posted[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_the_embedded_authority_of_before_are_on_our_list_and_asked_about_nowhere_else() {
    let server = Server::start();
    server.openssl("x509 -in root.pem -outform der -out root.der");
    let root = std::fs::read(server.file("root.der")).unwrap();
    let before = |bench: &Bench| {
        Authority::open(&bench.data.path().join("before"), "plant-7", bench.journal.now() / 1000, None)
            .unwrap()
    };
    let setting =
        Setting { crl_url: Some(format!("https://127.0.0.1:{}/crl", server.est)), ..server.setting() };
    let site =
        Site::open(|bench| (Arc::new(SiteEst::open(&setting, Some(before(bench))).unwrap()), root.into()))
            .await;
    site.named("press", "press-01");
    let press: recovery_protocol::EndpointId = "press-01".parse().unwrap();
    let csr = Request::from_der(&std::fs::read(site.directory.join("press.csr")).unwrap()).unwrap();
    let old = before(&site.bench).issue(&csr, &press, site.bench.journal.now() / 1000).unwrap();
    let mut tx = site.bench.journal.begin().await.unwrap();
    let at = tx.at;
    let on_record = Certificate {
        serial: old.serial.clone(),
        endpoint: press.clone(),
        job: site.job,
        key_sha256: "before".to_owned(),
        der: old.certificate,
        issued: at,
        revoked: None,
    };
    db::ticket::put_certificate(tx.conn(), &on_record).await.unwrap();
    db::ticket::revoke(tx.conn(), &press, at).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(site.ask("press").await, ok(), "the site's list cannot name what is ours");
    assert_eq!(site.curl(&site.url("pki/crl")).await, 200);
    let crl = site.run("openssl", "crl -inform der -in answer -noout -text");
    assert!(crl.to_lowercase().contains(&format!("serial number: {}", old.serial)), "{crl}");
    // The site's own is asked about there, over TLS by the authority that is configured.
    let mut tx = site.bench.journal.begin().await.unwrap();
    db::ticket::revoke(tx.conn(), &press, at).await.unwrap();
    tx.commit().await.unwrap();
    site.named("again", "press-01");
    assert_eq!(site.ask("again").await.0, 202);
    let why = std::fs::read_to_string(site.directory.join("answer")).unwrap();
    assert!(why.contains("does not name 1000 yet"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_authority_of_the_site_is_learned_by_what_it_signs() {
    let server = Server::start();
    let site = server.door(&server.setting()).await;
    assert_eq!(site.ask("press").await, ok());
    server.openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=Next -keyout root.key -out root.pem -addext keyUsage=critical,keyCertSign,cRLSign",
    );
    site.named("second", "press-01");
    assert_eq!(site.ask("second").await, ok());
    assert_eq!(server.asked().iter().filter(|asked| asked.ends_with("/cacerts")).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_may_ask_for_the_issuers_and_the_site_is_asked_once() {
    let server = Server::start();
    let provider = SiteEst::open(&server.setting(), None).unwrap();
    let many = futures_util::future::join_all((0..8).map(|_| provider.prepare())).await;
    assert!(many.iter().all(Result::is_ok));
    assert_eq!(server.asked().len(), 1, "those who came meanwhile waited for the first");
    // One that refuses is left alone for a moment.
    let wrong = Setting { label: Some("nothing".to_owned()), ..server.setting() };
    let refused = SiteEst::open(&wrong, None).unwrap();
    for _ in 0..3 {
        assert!(refused.prepare().await.is_err());
    }
    assert_eq!(server.asked().len(), 2);
    // Those that are known stay so when it is away.
    provider.let_time_pass().await;
    drop(server);
    assert_eq!(provider.prepare().await.unwrap().len(), 1);
}

#[test]
fn what_lets_us_in_there_is_in_no_log() {
    let server = Server::start();
    std::fs::write(server.file("password"), "groundstate:let me").unwrap();
    let password_file = Some(server.file("password"));
    let setting = Setting { certificate_file: None, key_file: None, password_file, ..server.setting() };
    let shown = format!("{:?}", SiteEst::open(&setting, None).unwrap());
    assert!(shown.contains("SiteEst") && !shown.contains("Basic"), "{shown}");
}
