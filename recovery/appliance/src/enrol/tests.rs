//! EST against real clients: curl and OpenSSL, and strongSwan's `pki` where it is installed (Debian `strongswan-pki`).

mod site_est;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use recovery_protocol::{JobId, Problem};
use serde_json::json;

use rustls::pki_types::CertificateDer;

use super::{ca::Authority, est, provider::IdentityProvider};
use crate::{
    db, keys,
    testing::Bench,
    tickets,
    tls::{Limits, tests::TestListener},
};

struct Site {
    bench: Bench,
    root: CertificateDer<'static>,
    listener: TestListener,
    directory: PathBuf,
    job: JobId,
    _asking: (tokio_util::sync::DropGuard, tokio::task::JoinHandle<()>),
}

impl Site {
    /// An appliance with a job for `press-01`, its EST door, and a key with its CSR in files.
    async fn new() -> Self {
        Self::open(|bench| {
            let now = bench.journal.now() / 1000;
            let authority = Authority::open(&bench.data.path().join("ca"), "plant-7", now, None).unwrap();
            let root = authority.root().clone();
            (Arc::new(authority), root)
        })
        .await
    }

    /// With this provider behind the door; certificates of this root may be shown to renew them.
    async fn open(
        provider: impl FnOnce(&Bench) -> (Arc<dyn IdentityProvider>, CertificateDer<'static>),
    ) -> Self {
        let bench = Bench::new("").await;
        bench.add("press-01", "52:54:00:12:34:56", json!({})).await;
        let job = bench.recover("press-01").await.job;
        let (provider, root) = provider(&bench);
        let (router, issuing) = est::door(bench.service.clone(), provider);
        let stop = tokio_util::sync::CancellationToken::new();
        let asking = tokio::spawn(issuing.run(stop.clone()));
        let listener = TestListener::start(router, Limits::default(), Some(root.clone())).await;
        let directory = bench.data.path().to_owned();
        std::fs::write(directory.join("tls.der"), &listener.certificate).unwrap();
        let asking = (stop.drop_guard(), asking);
        let site = Self { bench, root, listener, directory, job, _asking: asking };
        site.run("openssl", "x509 -inform der -in tls.der -out tls.pem");
        site.key("press");
        site
    }

    fn key(&self, name: &str) {
        self.run("openssl", &format!("ecparam -name prime256v1 -genkey -noout -out {name}.key"));
        let csr =
            format!("req -new -key {name}.key -subj /CN=anything -addext basicConstraints=critical,CA:true");
        self.run("openssl", &format!("{csr} -outform der -out {name}.csr"));
        self.run("openssl", &format!("base64 -in {name}.csr -out {name}.b64"));
        self.run("openssl", &format!("pkey -in {name}.key -pubout -outform der -out {name}.spki"));
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.listener.address)
    }

    fn command(&self, program: &str, line: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.directory).args(line.split(' '));
        command
    }

    fn run(&self, program: &str, line: &str) -> String {
        let output = self.command(program, line).output().unwrap_or_else(|e| panic!("{program}: {e}"));
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{program} {line}\n{out}\n{err}");
        out.into_owned()
    }

    /// Ask by curl; the status, and the body in `answer`.
    async fn curl(&self, line: &str) -> u16 {
        let line = format!("-s --cacert tls.pem -o answer -w %{{http_code}} {line}");
        let mut command = self.command("curl", &line);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().parse().unwrap()
    }

    fn problem(&self) -> Problem {
        serde_json::from_slice(&std::fs::read(self.directory.join("answer")).unwrap()).unwrap()
    }

    /// The one-time secret for a key, as a verified quote earns it.
    async fn secret(&self, key: &str) -> String {
        let spki = std::fs::read(self.directory.join(format!("{key}.spki"))).unwrap();
        let mut tx = self.bench.journal.begin().await.unwrap();
        let (endpoint, at) = ("press-01".parse().unwrap(), tx.at);
        let password =
            tickets::issue_est(tx.conn(), self.job, &endpoint, &keys::spki_sha256(&spki), at).await.unwrap();
        tx.commit().await.unwrap();
        format!("{}:{password}", self.job)
    }

    async fn enroll(&self, key: &str, secret: &str) -> u16 {
        let url = self.url(".well-known/est/site/simpleenroll");
        self.curl(&format!("-u {secret} -H Content-Type:application/pkcs10 --data-binary @{key}.b64 {url}"))
            .await
    }

    /// The certificate in `answer`, as PEM in `<name>.crt`.
    fn certificate(&self, name: &str) -> String {
        self.run("openssl", "base64 -d -A -in answer -out answer.p7");
        let pem = self.run("openssl", "pkcs7 -inform der -in answer.p7 -print_certs");
        std::fs::write(self.directory.join(format!("{name}.crt")), &pem).unwrap();
        pem
    }

    async fn trust(&self) {
        let mut tx = self.bench.journal.begin().await.unwrap();
        let mut endpoint = db::endpoint::get(tx.conn(), &"press-01".parse().unwrap()).await.unwrap().unwrap();
        endpoint.state = recovery_protocol::operator::EndpointState::Trusted;
        db::endpoint::put(tx.conn(), &endpoint).await.unwrap();
        tx.commit().await.unwrap();
    }

    fn root_pem(&self) {
        std::fs::write(self.directory.join("root.der"), &self.root).unwrap();
        self.run("openssl", "x509 -inform der -in root.der -out root.pem");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_and_openssl_enrol_and_see_our_names_only() {
    let site = Site::new().await;
    let secret = site.secret("press").await;
    assert_eq!(site.enroll("press", &secret).await, 200);
    let answer = std::fs::read_to_string(site.directory.join("answer")).unwrap();
    assert!(!answer.contains('\n'), "base64 in one line");
    site.certificate("press");
    site.root_pem();
    site.run("openssl", "verify -CAfile root.pem -purpose sslclient press.crt");
    let text = site.run("openssl", "x509 -in press.crt -noout -text");
    assert!(text.contains("Subject: CN = press-01") && text.contains("CA:FALSE"), "{text}");
    assert!(
        text.contains("URI:urn:groundstate:plant-7:endpoint:press-01") && !text.contains("CA:TRUE"),
        "{text}"
    );
    // The answer was lost on the way: the same key gets the same certificate again, not a second one.
    let first = std::fs::read(site.directory.join("answer")).unwrap();
    assert_eq!(site.enroll("press", &secret).await, 200);
    assert_eq!(std::fs::read(site.directory.join("answer")).unwrap(), first);
    let evidence = site.bench.evidence(None).await;
    assert_eq!(evidence.iter().filter(|kind| *kind == "identity.issued").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_the_attributes_and_the_crl_are_public() {
    let site = Site::new().await;
    assert_eq!(site.curl(&site.url(".well-known/est/cacerts")).await, 200);
    assert!(site.certificate("root").contains("Groundstate endpoints of plant-7"));
    assert_eq!(site.curl(&site.url(".well-known/est/csrattrs")).await, 200);
    site.run("openssl", "base64 -d -A -in answer -out attributes.der");
    assert!(site.run("openssl", "asn1parse -inform der -in attributes.der").contains("prime256v1"));
    assert_eq!(site.curl(&site.url("pki/crl")).await, 200);
    site.root_pem();
    site.run("openssl", "crl -inform der -in answer -CAfile root.pem -noout");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_enrolment_is_refused_by_name() {
    let site = Site::new().await;
    site.key("thief");
    let secret = site.secret("press").await;
    let url = site.url(".well-known/est/simpleenroll");
    assert_eq!(
        site.curl(&format!("-D head -H Content-Type:application/pkcs10 --data-binary @press.b64 {url}"))
            .await,
        401
    );
    let head = std::fs::read_to_string(site.directory.join("head")).unwrap().to_lowercase();
    assert!(head.contains("www-authenticate: basic"), "{head}");
    assert_eq!(site.enroll("press", &format!("{}:wrong", site.job)).await / 100, 4);
    assert_eq!(site.enroll("thief", &secret).await / 100, 4);
    assert!(site.problem().code.contains("est"), "{:?}", site.problem());
    std::fs::write(site.directory.join("bad.b64"), "AAAA").unwrap();
    assert_eq!(site.enroll("bad", &secret).await, 400);
    assert_eq!(site.problem().code, "certificate-request-refused");
    assert_eq!(site.curl(&format!("-u {secret} --data-binary @press.b64 {url}")).await, 415);
    // None of it has spent the secret for its own key.
    assert_eq!(site.enroll("press", &secret).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_is_for_the_same_key_of_a_trusted_endpoint() {
    let site = Site::new().await;
    let secret = site.secret("press").await;
    site.enroll("press", &secret).await;
    site.certificate("press");
    let url = site.url(".well-known/est/simplereenroll");
    let renew = |csr: &str| {
        format!(
            "--cert press.crt --key press.key -H Content-Type:application/pkcs10 --data-binary @{csr}.b64 {url}"
        )
    };
    assert_eq!(site.curl(&renew("press")).await, 403);
    assert_eq!(site.problem().code, "endpoint-not-trusted");
    site.trust().await;
    assert_eq!(site.curl(&renew("press")).await, 200);
    let renewed = site.certificate("renewed");
    assert!(renewed.contains("CN = press-01"), "{renewed}");
    site.key("thief");
    assert_eq!(site.curl(&renew("thief")).await, 403);
    assert_eq!(site.problem().code, "rekey-refused");
    let without = format!("-H Content-Type:application/pkcs10 --data-binary @press.b64 {url}");
    assert_eq!(site.curl(&without).await, 403);
    let mut tx = site.bench.journal.begin().await.unwrap();
    let at = tx.at;
    db::ticket::revoke(tx.conn(), &"press-01".parse().unwrap(), at).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(site.curl(&renew("press")).await, 403);
    assert_eq!(site.problem().code, "certificate-refused");
    assert_eq!(site.curl(&site.url("pki/crl")).await, 200);
    let crl = site.run("openssl", "crl -inform der -in answer -noout -text");
    assert_eq!(crl.matches("Serial Number:").count(), 2, "{crl}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strongswan_enrols_and_renews() {
    if !Path::new("/usr/bin/pki").is_file() {
        return crate::testing::not_looked_at("strongSwan's client", "strongswan-pki");
    }
    let site = Site::new().await;
    let secret = site.secret("press").await;
    let url = format!("https://{}", site.listener.address);
    let pki = |line: String| {
        let mut command = site.command("pki", &line);
        async move {
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        }
    };
    let ask = format!("--est --url {url} --in press.csr --cacert tls.pem");
    site.root_pem();
    let der = pki(format!("{ask} --userpass {secret}")).await;
    std::fs::write(site.directory.join("press.der"), der).unwrap();
    site.run("openssl", "verify -CAfile root.pem -purpose sslclient press.der");
    site.trust().await;
    let renewed = pki(format!("{ask} --cert press.der --key press.key")).await;
    std::fs::write(site.directory.join("renewed.der"), renewed).unwrap();
    assert!(site.run("openssl", "x509 -inform der -in renewed.der -noout -subject").contains("press-01"));
}
