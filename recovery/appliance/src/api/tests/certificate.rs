//! A program that shows a client certificate: asked for over a real socket, by curl.

use std::sync::Arc;

use recovery_protocol::people::{PersonView, Role};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::tls::{self, Door, Limits};

struct Site {
    bench: Bench,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

impl Site {
    async fn new() -> Self {
        let mut bench = Bench::new("").await;
        let (certificate, key) = (bench.keys.tls_cert_pem.clone(), bench.keys.tls_key_pem.clone());
        let make = move |clients| tls::server_config(&certificate, &key, clients);
        let door = Door::open(make, Vec::new()).unwrap();
        let door = Arc::new(door);
        let router = bench.people.clone().with_door(Arc::clone(&door)).router();
        bench.router = router.clone();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served =
            tokio::spawn(tls::serve(listener, door.served(), router, Limits::default(), stop.clone()));
        std::fs::write(bench.data.path().join("tls.crt"), &bench.keys.tls_cert_pem).unwrap();
        Self { bench, address, stop, served }
    }

    fn make(&self, name: &str) -> String {
        let line = format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name}-issuer -keyout {name}.key -out {name}.crt"
        );
        let made = std::process::Command::new("openssl")
            .current_dir(self.bench.data.path())
            .args(line.split(' '))
            .output();
        assert!(made.unwrap().status.success());
        std::fs::read_to_string(self.bench.data.path().join(format!("{name}.crt"))).unwrap()
    }

    /// By curl, with what it shows: the status.
    async fn curl(&self, words: &str, path: &str) -> u16 {
        let url = format!("https://appliance:{}{path}", self.address.port());
        let connect = format!("appliance:{0}:127.0.0.1:{0}", self.address.port());
        let mut command = tokio::process::Command::new("curl");
        command.current_dir(self.bench.data.path()).args([
            "-s",
            "--cacert",
            "tls.crt",
            "-o",
            "answer",
            "-w",
            "%{http_code}",
        ]);
        command.args(["--connect-to", &connect]).args(words.split_whitespace()).arg(url);
        let output = command.output().await.unwrap();
        String::from_utf8(output.stdout).unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn a_program_shows_the_certificate_that_is_pinned_on_it_and_no_other() {
    let site = Site::new().await;
    let (robot, other) = (site.make("robot"), site.make("other"));
    let bench = &site.bench;
    for (name, role) in [("robot", Role::Automation), ("anna", Role::Engineer), ("second", Role::Automation)]
    {
        bench.ask("POST", "/api/v1/people", json!({ "person": name, "role": role })).await;
    }
    let shows = "--cert robot.crt --key robot.key";
    assert_eq!(site.curl(shows, "/api/v1/jobs").await, 401, "not pinned yet");
    // The appliance serves on meanwhile: what it asks for changes with the people.
    let pin = |name: &str, pem: &str| {
        let path = format!("/api/v1/people/{name}");
        let order = json!({ "client_certificate": pem });
        async move { bench.ask("PATCH", &path, order).await }
    };
    let (status, pinned) = pin("robot", &robot).await;
    let view: PersonView = serde_json::from_value(pinned.clone()).unwrap_or_else(|_| panic!("{pinned}"));
    assert!(status == StatusCode::OK && view.certificate_sha256.is_some_and(|hash| hash.len() == 64));
    assert_eq!(site.curl(shows, "/api/v1/jobs").await, 200);
    assert_eq!(site.curl("--cert other.crt --key other.key", "/api/v1/jobs").await, 401, "any other one");
    assert_eq!(site.curl("", "/api/v1/jobs").await, 401, "none");
    assert_eq!(site.curl(shows, "/api/v1/evidence").await, 403, "its role counts");
    // A page of another site in a browser that holds it, and one's own secret before it.
    let foreign = format!("{shows} -X POST -H Origin:https://evil.example");
    assert_eq!(site.curl(&foreign, "/api/v1/endpoints/press-01/recover").await, 403);
    let wrong = format!("{shows} -H Authorization:Bearer+x");
    assert_eq!(site.curl(&wrong, "/api/v1/jobs").await, 401);
    for (name, pem, code) in [
        ("second", robot.as_str(), "certificate-taken"),
        ("anna", other.as_str(), "bad-certificate"),
        ("second", "no certificate", "bad-certificate"),
        ("second", &format!("{robot}{other}"), "bad-certificate"),
    ] {
        assert_eq!(pin(name, pem).await.1["code"], code, "{name}");
    }
    let log = bench.service.evidence_lines(None).await.unwrap().join("\n");
    assert!(log.contains("certificate_sha256") && !log.contains("BEGIN CERT"));
    // Taken away, shut out, and from elsewhere.
    bench.ask("PATCH", "/api/v1/people/robot", json!({ "networks": ["10.7.0.0/24"] })).await;
    assert_eq!(site.curl(shows, "/api/v1/jobs").await, 403);
    bench.ask("PATCH", "/api/v1/people/robot", json!({ "networks": [] })).await;
    bench.ask("PATCH", "/api/v1/people/robot", json!({ "disabled": true })).await;
    assert_eq!(site.curl(shows, "/api/v1/jobs").await, 401);
    bench.ask("PATCH", "/api/v1/people/robot", json!({ "disabled": false })).await;
    assert_eq!(site.curl(shows, "/api/v1/jobs").await, 200);
    pin("robot", "").await;
    assert_eq!(site.curl(shows, "/api/v1/jobs").await, 401);
    site.stop.cancel();
    site.served.await.unwrap();
}
