//! Keylime's own verifier, and an agent whose evidence never verifies.
//!
//! ```text
//!   appliance ◄──mTLS── revocation webhook ── keylime_verifier ──HTTP──► agent (this module): a quote that is none
//!       └──────mTLS──► GET /v2.x/agents ──────────┘
//! ```
//!
//! The verifier comes from PyPI, every package at a fixed version. Its wheel asks for none of them, and its module `gpg`, for signed policies
//! of which there are none here, is a C library of Debian's: an empty one stands in for it. All else is Keylime's: the REST API by
//! which an agent is added, the check of the quote, the state, the webhook.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::cache::{Cache, digest};
use crate::story::Log;
use crate::tool;

/// The verifier and what it needs, newest first known to work together.
const PACKAGES: &[&str] = &[
    "keylime==7.14.3",
    "alembic==1.20.1",
    "attrs==26.1.0",
    "certifi==2026.10.19.post1",
    "cffi==2.1.1",
    "charset-normalizer==3.5.3",
    "cryptography==50.0.2",
    "idna==3.20",
    "Jinja2==3.1.6",
    "jsonschema==4.26.0",
    "jsonschema-specifications==2025.9.1",
    "lark==1.3.1",
    "Mako==1.4.3",
    "MarkupSafe==3.0.4",
    "packaging==26.4",
    "psutil==7.2.2",
    "pyasn1==0.6.5",
    "pyasn1_modules==0.4.2",
    "pycparser==3.12",
    "PyYAML==6.0.4",
    "referencing==0.37.0",
    "requests==2.34.2",
    "rpds-py==2026.9.1",
    "SQLAlchemy==2.1.9",
    "tornado==6.6.1",
    "typing_extensions==4.16.0",
    "urllib3==2.8.0",
];
/// Where the verifier answers.
pub const PORT: u16 = 8881;
/// A Python service on a loaded computer.
const START_LIMIT: Duration = Duration::from_secs(90);

/// The verifier's Python, from the cache or from PyPI.
///
/// # Errors
/// When it is in no cache and PyPI cannot be reached.
pub fn python(cache: &Cache) -> Result<PathBuf> {
    let name = format!("keylime-{}", digest(PACKAGES.iter().map(|package| package.as_bytes())));
    let home = cache.file(&name, |part| {
        let _ = fs::remove_dir_all(part);
        tool::run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(part))?;
        let mut pip = Command::new(part.join("bin/python"));
        tool::run(pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]).args(PACKAGES))?;
        let site = tool::run(
            Command::new(part.join("bin/python"))
                .args(["-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]),
        )?;
        Ok(fs::write(Path::new(site.trim()).join("gpg.py"), "")?)
    })?;
    Ok(home.join("bin/python"))
}

/// A running verifier; it ends when dropped.
#[derive(Debug)]
pub struct Keylime {
    dir: PathBuf,
    process: Child,
    log: Log,
}

/// Makes the keys of a verifier's site in `dir`: `ca.crt`, and `verifier`, `appliance` with `.crt` and `.key`.
///
/// # Errors
/// When openssl fails.
pub fn keys(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let openssl =
        |words: &str| tool::run(Command::new("openssl").args(words.split(' ')).current_dir(dir)).map(drop);
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {key} -days 2 -subj /CN=keylime-ca -keyout ca.key -out ca.crt"))?;
    fs::write(dir.join("leaf"), "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n")?;
    for name in ["verifier", "appliance"] {
        openssl(&format!("req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"))?;
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile leaf -out {name}.crt"
        ))?;
    }
    Ok(())
}

impl Keylime {
    /// Starts the verifier with the [`keys`] in `dir`. Its webhook goes to this URL, whose certificate is `known`.
    ///
    /// # Errors
    /// When it cannot be started or does not answer.
    pub fn start(dir: &Path, webhook_url: &str, known: &Path) -> Result<Self> {
        let python = python(&Cache::open()?)?;
        fs::write(dir.join("verifier.conf"), config(dir, webhook_url, known))?;
        fs::write(dir.join("logging.conf"), LOGGING)?;
        let log = Log::new(dir.join("verifier.log"))?;
        let mut process = Command::new(&python)
            .args(["-c", "from keylime.cmd.verifier import main; main()"])
            .current_dir(dir)
            // Without it Keylime wants to be root and to mount a file system for secrets that a verifier does not have.
            .env("KEYLIME_TEST", "True")
            .env("KEYLIME_DIR", dir)
            .env("KEYLIME_VERIFIER_CONFIG", dir.join("verifier.conf"))
            .env("KEYLIME_LOGGING_CONFIG", dir.join("logging.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start keylime_verifier")?;
        if let Some(stream) = process.stdout.take() {
            log.feed(stream)?;
        }
        if let Some(stream) = process.stderr.take() {
            log.feed(stream)?;
        }
        let keylime = Self { dir: dir.to_owned(), process, log };
        // It listens some seconds after its last word.
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--insecure", "--retry-connrefused", "--retry-delay", "1"]);
        curl.args([
            "--retry",
            &START_LIMIT.as_secs().to_string(),
            &format!("https://127.0.0.1:{PORT}/version"),
        ]);
        curl.args(["--cert", &keylime.file("appliance.crt"), "--key", &keylime.file("appliance.key")]);
        tool::run(&mut curl).context("keylime_verifier does not answer")?;
        Ok(keylime)
    }

    /// Adds an agent whose quotes are none: the verifier asks it at once.
    ///
    /// # Errors
    /// When the verifier refuses it.
    pub fn add_failing(&self, agent: &str) -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        thread::spawn(move || listener.incoming().flatten().for_each(|asked| drop(no_quote(asked))));
        let order = json!({
            "v": null, "cloudagent_ip": "127.0.0.1", "cloudagent_port": port, "tpm_policy": "{\"mask\": \"0x400\"}",
            "runtime_policy": "", "runtime_policy_name": "", "runtime_policy_key": "", "mb_policy": "", "mb_policy_name": "",
            "ima_sign_verification_keys": "", "metadata": "{}", "revocation_key": "", "accept_tpm_hash_algs": ["sha256"],
            "accept_tpm_encryption_algs": ["rsa"], "accept_tpm_signing_algs": ["rsassa"], "supported_version": "2.2",
            "ak_tpm": STANDARD.encode(attestation_key()?), "mtls_cert": null,
        });
        self.ask("POST", &format!("/v2.5/agents/{agent}"), Some(&order)).map(drop)
    }

    /// What the verifier says of an agent.
    ///
    /// # Errors
    /// When it does not know it.
    pub fn state(&self, agent: &str) -> Result<Option<u64>> {
        let answer = self.ask("GET", &format!("/v2.5/agents/{agent}"), None)?;
        Ok(answer["results"]["operational_state"].as_u64())
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--insecure", "--max-time", "20", "--request", method]);
        curl.args(["--cert", &self.file("appliance.crt"), "--key", &self.file("appliance.key")]);
        if let Some(body) = body {
            curl.args(["--header", "content-type: application/json", "--data-binary", &body.to_string()]);
        }
        let text = tool::run(curl.arg(format!("https://127.0.0.1:{PORT}{path}")))?;
        let answer: Value =
            serde_json::from_str(&text).with_context(|| format!("the verifier said {text:?}"))?;
        ensure!(answer["code"] == 200, "the verifier said {answer}");
        Ok(answer)
    }
}

impl Drop for Keylime {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Answers whatever it is asked with evidence that does not verify.
fn no_quote(asked: TcpStream) -> Result<()> {
    for line in BufReader::new(asked.try_clone()?).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let answer = json!({ "code": 200, "status": "Success", "results": {
        "quote": "rAAAA:AAAA:AAAA", "hash_alg": "sha256", "enc_alg": "rsa", "sign_alg": "rsassa", "pubkey": "", "boottime": 1,
        "ima_measurement_list": "", "ima_measurement_list_entry": 0,
    }})
    .to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
    Ok((&asked).write_all(format!("{head} {}\r\n\r\n{answer}", answer.len()).as_bytes())?)
}

/// A `TPM2B_PUBLIC` of a restricted ECDSA P-256 signing key (TPM 2.0 part 2, section 12.2.5).
fn attestation_key() -> Result<Vec<u8>> {
    let random = ring::rand::SystemRandom::new();
    let failed = |_| anyhow::anyhow!("no key could be made");
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
        .map_err(|_| anyhow::anyhow!("no key could be read"))?;
    let point = pair.public_key().as_ref();
    let mut public = vec![0, 0x23, 0, 0x0b, 0, 5, 4, 0x72, 0, 0, 0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10];
    for half in [&point[1..33], &point[33..65]] {
        public.extend([0, 32]);
        public.extend(half);
    }
    let mut sized = u16::try_from(public.len())?.to_be_bytes().to_vec();
    sized.extend(public);
    Ok(sized)
}

fn config(dir: &Path, webhook_url: &str, known: &Path) -> String {
    let (dir, known) = (dir.display(), known.display());
    format!(
        "[verifier]\nversion = 2.5\nuuid = default\nip = 127.0.0.1\nport = {PORT}\nregistrar_ip = 127.0.0.1\nregistrar_port = 8891\n\
         enable_agent_mtls = False\ntls_dir = {dir}\nserver_cert = verifier.crt\nserver_key = verifier.key\nserver_key_password =\n\
         trusted_client_ca = [\"{dir}/ca.crt\"]\nclient_cert = verifier.crt\nclient_key = verifier.key\nclient_key_password =\n\
         trusted_server_ca = [\"{dir}/ca.crt\", \"{known}\"]\ndatabase_url = sqlite:///{dir}/verifier.sqlite\n\
         database_pool_sz_ovfl = 5,10\nauto_migrate_db = True\nnum_workers = 1\nexponential_backoff = False\nretry_interval = 1\n\
         max_retries = 3\nrequest_timeout = 10\nquote_interval = 2\nmax_upload_size = 104857600\nmeasured_boot_policy_name = accept-all\n\
         measured_boot_imports = []\nmeasured_boot_evaluate = once\n\
         severity_labels = [\"info\", \"notice\", \"warning\", \"error\", \"critical\", \"alert\", \"emergency\"]\n\
         severity_policy = [{{\"event_id\": \".*\", \"severity_label\": \"emergency\"}}]\nignore_tomtou_errors = False\n\
         durable_attestation_import =\nrequire_allow_list_signatures = False\nmode = pull\nshutdown_drain_timeout = 2\n\
         verification_timeout = 0\n[revocations]\nenabled_revocation_notifications = [\"webhook\"]\nzmq_ip = 127.0.0.1\nzmq_port = 8992\n\
         webhook_url = {webhook_url}\n"
    )
}

/// Keylime's log, on its standard output.
const LOGGING: &str = "[logging]\nversion = 2.5\n[loggers]\nkeys = root,keylime\n[handlers]\nkeys = out\n[formatters]\nkeys = line\n\
    [formatter_line]\nformat = %(name)s %(levelname)s %(message)s\n[logger_root]\nlevel = INFO\nhandlers = out\n\
    [handler_out]\nclass = StreamHandler\nlevel = INFO\nformatter = line\nargs = (sys.stdout,)\n\
    [logger_keylime]\nlevel = INFO\nqualname = keylime\nhandlers =\n";
