//! Keylime's own verifier and registrar (PyPI's packages, as the stories keep them), and an agent that a script plays: its TPM is swtpm, and it
//! registers as Keylime's agent does. It answers no quotes, so what a PASS looks like is told by the verifier's own words in a table.

use std::{
    fs,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ring::hmac;
use serde_json::json;

use super::*;
use crate::{attest::tests::peers::SwTpm, db::endpoint::Endpoint, testing::Bench};

const AGENT: &str = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";
const START_LIMIT: Duration = Duration::from_secs(90);

/// The Python that has Keylime, where a story has fetched it.
fn python() -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME")?).join(".cache/groundstate");
    let all = fs::read_dir(home).ok()?.flatten().map(|entry| entry.path().join("bin/python"));
    all.into_iter().find(|python| python.to_string_lossy().contains("/keylime-") && python.is_file())
}

/// The two parts of Keylime, running.
struct Site {
    dir: tempfile::TempDir,
    processes: Vec<Child>,
    /// Verifier, registrar, registrar without TLS.
    ports: [u16; 3],
}

impl Site {
    fn start(python: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = [0, 1, 2].map(|n: usize| listeners[n].local_addr().unwrap().port());
        drop(listeners);
        let mut site = Self { dir, processes: Vec::new(), ports };
        site.files();
        for part in ["verifier", "registrar"] {
            let log = fs::File::create(site.file(&format!("{part}.log"))).unwrap();
            let mut command = Command::new(python);
            command.args(["-c", &format!("from keylime.cmd.{part} import main; main()")]);
            command.env("KEYLIME_TEST", "True").env("KEYLIME_DIR", site.dir.path());
            for name in ["verifier", "registrar", "logging"] {
                let variable = format!("KEYLIME_{}_CONFIG", name.to_uppercase());
                command.env(variable, site.file(&format!("{name}.conf")));
            }
            // It forks workers, which outlive it: they are ended by their group.
            command
                .process_group(0)
                .current_dir(site.dir.path())
                .stdin(Stdio::null())
                .stderr(log.try_clone().unwrap())
                .stdout(log);
            site.processes.push(command.spawn().unwrap());
        }
        let until = Instant::now() + START_LIMIT;
        for port in [site.ports[0], site.ports[1]] {
            while site
                .curl(&["--retry-connrefused", "--retry", "60", "--retry-delay", "1"], port, "/version")
                .is_none()
            {
                assert!(Instant::now() < until, "keylime does not answer");
            }
        }
        site
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, line: &str) {
        let mut words = line.split(' ');
        let run =
            Command::new(words.next().unwrap()).args(words).current_dir(self.dir.path()).output().unwrap();
        assert!(run.status.success(), "{line}: {}", String::from_utf8_lossy(&run.stderr));
    }

    /// Keys, and how each part is configured.
    fn files(&self) {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        self.run(&format!("openssl req -x509 {key} -days 2 -subj /CN=keylime -keyout ca.key -out ca.crt"));
        fs::write(self.file("leaf"), "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n")
            .unwrap();
        for name in ["server", "appliance"] {
            self.run(&format!("openssl req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
            self.run(&format!(
                "openssl x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile leaf -out {name}.crt"
            ));
        }
        let (dir, [verifier, registrar, plain]) = (self.dir.path().display(), self.ports);
        let tls = format!(
            "version = 2.5\nip = 127.0.0.1\ntls_dir = {dir}\nserver_cert = server.crt\nserver_key = server.key\nserver_key_password =\n\
             trusted_client_ca = [\"{dir}/ca.crt\"]\ndatabase_pool_sz_ovfl = 5,10\nauto_migrate_db = True\n\
             max_upload_size = 104857600\ndurable_attestation_import =\n"
        );
        let of_verifier = format!(
            "[verifier]\n{tls}uuid = default\nport = {verifier}\nregistrar_ip = 127.0.0.1\nregistrar_port = {registrar}\n\
             enable_agent_mtls = False\nclient_cert = server.crt\nclient_key = server.key\nclient_key_password =\n\
             trusted_server_ca = [\"{dir}/ca.crt\"]\ndatabase_url = sqlite:///{dir}/verifier.sqlite\nnum_workers = 1\n\
             exponential_backoff = False\nretry_interval = 1\nmax_retries = 3\nrequest_timeout = 10\nquote_interval = 2\n\
             measured_boot_policy_name = accept-all\nmeasured_boot_imports = []\nmeasured_boot_evaluate = once\n\
             severity_labels = [\"info\", \"emergency\"]\nseverity_policy = [{{\"event_id\": \".*\", \"severity_label\": \"emergency\"}}]\n\
             ignore_tomtou_errors = False\nrequire_allow_list_signatures = False\nmode = pull\nshutdown_drain_timeout = 2\n\
             verification_timeout = 0\n[revocations]\nenabled_revocation_notifications = []\n"
        );
        let of_registrar = format!(
            "[registrar]\n{tls}port = {plain}\ntls_port = {registrar}\nmax_workers = 1\ntpm_identity = default\n\
             database_url = sqlite:///{dir}/registrar.sqlite\n"
        );
        let logging = "[logging]\nversion = 2.5\n[loggers]\nkeys = root\n[handlers]\nkeys = out\n[formatters]\nkeys = line\n\
            [formatter_line]\nformat = %(name)s %(levelname)s %(message)s\n[logger_root]\nlevel = INFO\nhandlers = out\n\
            [handler_out]\nclass = StreamHandler\nlevel = INFO\nformatter = line\nargs = (sys.stdout,)\n";
        for (name, text) in [("verifier", &*of_verifier), ("registrar", &of_registrar), ("logging", logging)]
        {
            fs::write(self.file(&format!("{name}.conf")), text).unwrap();
        }
    }

    fn curl(&self, words: &[&str], port: u16, path: &str) -> Option<Value> {
        let scheme = if port == self.ports[2] { "http" } else { "https" };
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--insecure",
            "--max-time",
            "60",
            "--cert",
            "appliance.crt",
            "--key",
            "appliance.key",
        ]);
        command.args(words).arg(format!("{scheme}://127.0.0.1:{port}{path}")).current_dir(self.dir.path());
        serde_json::from_slice(&command.output().unwrap().stdout).ok()
    }

    /// The endpoint's own agent registers itself, as Keylime's does, with this TPM.
    fn register(&self, tpm: &SwTpm) {
        let (ek, ak) = tpm.keys_for_keylime();
        let order = json!({ "ek_tpm": BASE64_STANDARD.encode(ek), "aik_tpm": BASE64_STANDARD.encode(ak), "ip": "127.0.0.1", "port": 9 });
        let path = format!("/v2.6/agents/{AGENT}");
        let json = ["--header", "content-type: application/json", "--request"];
        let order = order.to_string();
        let answer = self
            .curl(&[&json[..], &["POST", "--data-binary", &order]].concat(), self.ports[2], &path)
            .unwrap();
        let blob = BASE64_STANDARD.decode(answer["results"]["blob"].as_str().unwrap()).unwrap();
        let secret = BASE64_STANDARD.encode(tpm.opened_for_keylime(&blob));
        let key = hmac::Key::new(hmac::HMAC_SHA384, secret.as_bytes());
        let tag = json!({ "auth_tag": hex::encode(hmac::sign(&key, AGENT.as_bytes())) }).to_string();
        let put = [&json[..], &["PUT", "--data-binary", &tag]].concat();
        let answer = self.curl(&put, self.ports[2], &format!("{path}/activate")).unwrap();
        assert_eq!(answer["code"], 200, "{answer}");
    }

    /// What a part says of the agent.
    fn says(&self, part: usize) -> Value {
        self.curl(&[], self.ports[part], &format!("/v2.6/agents/{AGENT}")).unwrap()
    }

    fn setting(&self) -> KeylimePlane {
        KeylimePlane {
            verifier: format!("https://127.0.0.1:{}", self.ports[0]),
            registrar: format!("https://127.0.0.1:{}", self.ports[1]),
            ca_file: self.file("ca.crt"),
            certificate_file: self.file("appliance.crt"),
            key_file: self.file("appliance.key"),
            release_after_pass: true,
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let group = format!("-{}", process.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = process.wait();
        }
    }
}

/// `press-01` with its agent's name, and the TPM on record.
async fn on_record(bench: &Bench, ek_sha256: &str) -> EndpointId {
    let press: EndpointId = "press-01".parse().unwrap();
    if bench.service.endpoint(&press).await.is_err() {
        bench.add("press-01", "52:54:00:12:34:56", json!({ "labels": { LABEL: AGENT } })).await;
    }
    let mut tx = bench.journal.begin().await.unwrap();
    let known: Endpoint = db::endpoint::get(tx.conn(), &press).await.unwrap().unwrap();
    let known = Endpoint { ek_sha256: Some(ek_sha256.to_owned()), ..known };
    db::endpoint::put(tx.conn(), &known).await.unwrap();
    tx.commit().await.unwrap();
    press
}

fn job(n: u8) -> JobId {
    JobId::new(1, [n; 10])
}

fn registration() -> Registration {
    Registration {
        image: "hmi".into(),
        certificate: None,
        ek_sha256: None,
        job: job(1).to_string(),
        pcrs: [(4, "ab".repeat(32)), (9, "cd".repeat(32))].into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_records_go_in_order_and_come_back_with_our_policy_for_this_tpm_alone() {
    let Some(python) = python() else {
        return crate::testing::not_looked_at("Keylime", "none: the story `keylime` fetches it from PyPI");
    };
    let (bench, site, tpm) = (Bench::new("").await, Site::start(&python), SwTpm::start());
    let plane = Keylime::open(&site.setting(), bench.journal.db.clone()).unwrap();
    let press = on_record(&bench, &tpm.ek_sha256()).await;
    // Nobody has registered yet: later.
    let early = plane.register(&press, 1, &registration()).await.unwrap_err();
    assert!(early.why().contains("has not registered itself yet"), "{early}");
    site.register(&tpm);
    plane.register(&press, 1, &registration()).await.unwrap();
    plane.register(&press, 1, &registration()).await.expect("again, as after a lost answer");
    let added = site.says(0);
    let policy: Value = serde_json::from_str(added["results"]["tpm_policy"].as_str().unwrap()).unwrap();
    assert_eq!(policy, json!({ "4": ["ab".repeat(32)], "9": ["cd".repeat(32)], "mask": "0x210" }));
    assert!(added["results"]["meta_data"].as_str().unwrap().contains(&job(1).to_string()), "{added}");
    let Observed::NotYet(why) = plane.observe(&press, job(1)).await.unwrap() else {
        panic!("nobody has looked")
    };
    assert!(why.contains("no attestation passed yet"), "{why}");
    let Observed::NotYet(why) = plane.observe(&press, job(2)).await.unwrap() else {
        panic!("it is another job's")
    };
    assert!(why.contains("of before this recovery"), "{why}");

    // What is there is of another job: it is replaced.
    let next = Registration { job: job(2).to_string(), ..registration() };
    let until = Instant::now() + START_LIMIT;
    while let Err(error) = plane.register(&press, 2, &next).await {
        assert!(error.why().contains("still has the record") && Instant::now() < until, "{error}");
        tokio::task::yield_now().await;
    }
    let added = site.says(0);
    assert_eq!(job_of(&added["results"]), Some(job(2).to_string()), "{added}");

    // A recovery: both records go, the verifier's first. It takes its time, so the call is made again until it is gone.
    let until = Instant::now() + START_LIMIT;
    while let Err(error) = plane.reset_name(&press, 2, AGENT).await {
        assert!(error.why().contains("still has the record") && Instant::now() < until, "{error}");
        assert_eq!(site.says(1)["code"], 200, "the registrar's goes after the verifier's");
        tokio::task::yield_now().await;
    }
    assert_eq!((&site.says(0)["code"], &site.says(1)["code"]), (&404.into(), &404.into()));
    plane.reset_record(&press, 2).await.expect("again, when nothing is there");

    // Another machine comes with the agent's name: Keylime takes any TPM for a name that it does not know.
    let other = SwTpm::start();
    site.register(&other);
    let foreign = plane.register(&press, 2, &registration()).await.unwrap_err();
    assert!(foreign.why().contains("it is another machine"), "{foreign}");
    assert_eq!(site.says(0)["code"], 404, "it was not added");
}

#[test]
fn only_an_attestation_that_passed_counts() {
    for (state, status, count, passes) in [
        (Some(3), "PASS", 1, true),
        (Some(4), "PASS", 7, true),
        (None, "PASS", 1, true),
        (Some(3), "PASS", 0, false),
        (Some(1), "PENDING", 0, false),
        (Some(9), "FAIL", 3, false),
        (Some(7), "FAIL", 3, false),
        (Some(8), "PASS", 3, false),
        (None, "TIMEOUT", 3, false),
    ] {
        let mut agent =
            json!({ "operational_state": state, "attestation_status": status, "attestation_count": count });
        assert!(matches!(observed(&agent, job(1)), Observed::NotYet(_)), "nobody says of which job: {agent}");
        agent["meta_data"] = json!(json!({ "groundstate_job": job(1) }).to_string());
        assert_eq!(observed(&agent, job(1)) == Observed::Passes, passes, "{agent}");
        assert!(matches!(observed(&agent, job(2)), Observed::NotYet(_)), "{agent}");
    }
}

#[test]
fn a_tpm_that_cannot_be_compared_is_refused_with_what_to_do() {
    // The head of a TPM2B_PUBLIC of an RSA key.
    let rsa = json!({ "ek_tpm": BASE64_STANDARD.encode([1, 0x3a, 0, 1, 0, 0x0b, 0, 3, 0, 0xb2, 0, 0x20]) });
    let some = Some("ab");
    for (registered, on_record, word) in [
        (&rsa, some, "tpm_encryption_alg = \"ecc\""),
        (&json!({ "ek_tpm": "?" }), some, "tpm_encryption_alg"),
        (&json!({}), some, "tpm_encryption_alg"),
        (&rsa, None, "must prove itself here once"),
    ] {
        let why = same_tpm(registered, on_record).unwrap_err();
        assert!(why.contains(word), "{why}");
    }
}
