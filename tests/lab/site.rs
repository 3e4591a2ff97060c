//! A site: one appliance with its keys, a signed golden image and a boot kit, made by the commands a person would type.
//!
//! ```text
//!   prepare (outside)   init ─► image root, key ─► import ─► sign ─► trust export ─► bootkit build
//!   start   (inside)    serve ─► ready ─► endpoint add …
//! ```
//!
//! Everything goes through the real command line; the lab never opens the appliance's files, except to break them on purpose.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use recovery_protocol::evidence::{self, Entry};
use recovery_protocol::net::BootView;
use recovery_protocol::operator::{EndpointView, JobView};
use serde::de::DeserializeOwned;

use crate::bmc::Bmc;
use crate::endpoint::Endpoint;
use crate::plant::{APPLIANCE, APPLIANCE_IPV6, BRIDGE};
use crate::programs::Programs;
use crate::qemu::Firmware;
use crate::story::Log;
use crate::swtpm::Maker;
use crate::tool;

/// Two check-ins.
const SAYS_LIMIT: Duration = Duration::from_secs(120);

/// The golden image's name on every lab site.
pub const IMAGE: &str = "hmi-panel";
/// Where the site's Secure Boot keys are, within the site.
pub const BOOT_KEYS: &str = "boot-keys";
/// The webhook source that stands for the site's attestation verifier.
pub const VERIFIER: &str = "verifier";
const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Its log says so when every port is open.
const READY: &str = "\"ready\"";
/// What its log holds: beside the usual a line after each change, which wakes who waits for one.
const LOGGED: &str = "info,groundstate::jobs::journal=debug";

/// An appliance's files, before it is started.
#[derive(Debug, Clone)]
pub struct Site {
    dir: PathBuf,
    programs: Programs,
}

/// Blueprints of the same image for endpoints whose disks are erased first: each is called by its policy.
pub const ERASING: [&str; 3] = ["discard", "clear", "purge"];

fn blueprint(erase: &str) -> String {
    let also = "place = \"virtual\"\nek_certificate = \"required\"";
    format!("\n[blueprints.{erase}]\nimage = \"{IMAGE}\"\n{also}\nerase = \"{erase}\"\n")
}

impl Site {
    /// A site whose files lie in `dir`; made by [`Site::prepare`], perhaps by another process.
    #[must_use]
    pub fn at(dir: &Path, programs: &Programs) -> Self {
        Self { dir: dir.to_owned(), programs: programs.clone() }
    }

    /// Makes keys, imports and signs `golden`, builds the boot kit.
    ///
    /// # Errors
    /// When one of the commands fails; the message repeats what it said.
    pub fn prepare(&self, golden: &Path) -> Result<()> {
        self.prepare_image(golden)?;
        self.say(&["trust", "export", "--site", "lab", "--out", &self.path("trust.json")])?;
        self.boot_keys(BOOT_KEYS)?;
        self.build_boot_kit()
    }

    /// Makes keys and the boot kit; no golden image.
    ///
    /// # Errors
    /// When one of the commands fails.
    pub fn prepare_kit(&self) -> Result<()> {
        self.prepare_keys()?;
        self.say(&["trust", "export", "--site", "lab", "--out", &self.path("trust.json")])?;
        self.boot_keys(BOOT_KEYS)?;
        self.build_boot_kit()
    }

    /// Makes Secure Boot keys in the directory `name` of the site.
    ///
    /// # Errors
    /// When the command fails.
    pub fn boot_keys(&self, name: &str) -> Result<PathBuf> {
        let mut command = Command::new(&self.programs.bootkit);
        command.args([
            "key",
            "new",
            "--site",
            "lab",
            "--platform",
            "--unprotected",
            "--out",
            &self.path(name),
        ]);
        tool::run(&mut command)?;
        Ok(self.dir.join(name))
    }

    /// Makes keys, imports and signs `golden`; no boot kit.
    ///
    /// # Errors
    /// When one of the commands fails; the message repeats what it said.
    pub fn prepare_image(&self, golden: &Path) -> Result<()> {
        self.prepare_keys()?;
        self.import(golden, 1)
    }

    /// Makes keys and a trust root.
    ///
    /// # Errors
    /// When one of the commands fails.
    pub fn prepare_keys(&self) -> Result<()> {
        fs::create_dir_all(self.dir.join("keys"))?;
        // The maker of the endpoints' TPMs belongs to the run, like the endpoints; the site only trusts it.
        Maker::of_run(self.dir.parent().context("a site lies in the directory of a run")?)?;
        self.write_config("")?;
        self.make_keys()
    }

    /// Makes keys and a trust root of a site whose configuration is written.
    ///
    /// # Errors
    /// When one of the commands fails.
    pub fn make_keys(&self) -> Result<()> {
        self.say(&["init"])?;
        for (key, role) in [("root-1", "root"), ("root-2", "root"), ("release", "image")] {
            let file = self.key(key);
            self.say(&[
                "image",
                "key",
                "new",
                "--role",
                role,
                "--name",
                key,
                "--out",
                &file,
                "--unprotected",
            ])?;
        }
        let (one, two, signer) = (self.key("root-1"), self.key("root-2"), self.key("release"));
        self.say(&["image", "root", "new", "--root", &one, "--root", &two, "--signer", &signer])?;
        Ok(())
    }

    /// Imports `golden` as this version of the image and signs it.
    ///
    /// # Errors
    /// When a command fails.
    pub fn import(&self, golden: &Path, version: u32) -> Result<()> {
        let (disk, version) = (golden.display().to_string(), version.to_string());
        let import = ["image", "import", &disk, "--name", IMAGE, "--version", &version, "--epoch", &version];
        self.say(&[&import[..], &["--preserve", crate::golden::DATA]].concat())?;
        self.say(&["image", "sign", IMAGE, "--key", &self.key("release")])?;
        Ok(())
    }

    /// The boot kit as a recovery stick.
    ///
    /// # Errors
    /// When the command fails.
    pub fn stick(&self) -> Result<PathBuf> {
        let image = self.path("stick.img");
        let mut command = Command::new(&self.programs.bootkit);
        tool::run(command.args(["stick", "--kit", &self.path("kit"), "--out", &image]))?;
        Ok(PathBuf::from(image))
    }

    /// The same into the boot kit, for BMCs that show it as a CD.
    ///
    /// # Errors
    /// When the command fails.
    pub fn medium(&self) -> Result<()> {
        tool::run(Command::new(&self.programs.bootkit).args(["stick", "--kit", &self.path("kit")])).map(drop)
    }

    fn build_boot_kit(&self) -> Result<()> {
        tool::run(
            Command::new(&self.programs.bootkit)
                .arg("build")
                .arg("--agent")
                .arg(&self.programs.agent)
                .args(["--trust", &self.path("trust.json"), "--out", &self.path("kit")])
                .args(["--appliance", &format!("{APPLIANCE}:8443")])
                .args(["--key", &self.path(&format!("{BOOT_KEYS}/db.key"))]),
        )
        .map(drop)
        .context("cannot build the boot kit")
    }

    /// Writes the configuration; `more` is TOML that goes at its end.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_config(&self, more: &str) -> Result<()> {
        let dir = self.dir.display();
        let text = format!(
            r#"site = "lab"
data_dir = "{dir}/data"
boot_kit_dir = "{dir}/kit"
image_store_dir = "{dir}/store"
trust_root_file = "{dir}/root.json"
tpm_roots_dir = "{dir}/../tpm-maker/roots"
attest_every_s = 10

[[interfaces]]
name = "{BRIDGE}"
dhcp = "full"
pool = {{ first = "10.77.0.50", last = "10.77.0.149", ipv6 = "{APPLIANCE_IPV6}" }}

[groups.line]
mode = "auto"
cool_down_s = 0
max_concurrent = 8
max_per_hour = 100
# Endpoints are broken here on purpose and all at once, which on a real line would mean a bad rollout.
common_mode = 100
drill_zone = true

[blueprints.{IMAGE}]
image = "{IMAGE}"
rto_s = 300
place = "virtual"
ek_certificate = "required"
{blueprints}
# On emulated processors a minute of it says no more than this.
[exhibits]
seconds = 20

[hooks.{VERIFIER}]
secret_file = "{dir}/keys/{VERIFIER}.secret"
endpoints = ["*"]
confirm_url = "http://127.0.0.1:{port}/confirm"
{more}"#,
            port = crate::verifier::PORT,
            blueprints = ERASING.map(blueprint).concat(),
        );
        fs::write(self.path("groundstate.toml"), text)?;
        let secret = self.dir.join("keys").join(format!("{VERIFIER}.secret"));
        if !secret.exists() {
            fs::write(secret, crate::verifier::new_secret()?)?;
        }
        Ok(())
    }

    /// The webhook secret file of [`VERIFIER`].
    #[must_use]
    pub fn verifier_secret(&self) -> PathBuf {
        self.dir.join("keys").join(format!("{VERIFIER}.secret"))
    }

    /// Starts the appliance inside the plant and waits until it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in time; the message repeats its last words.
    pub fn start(&self) -> Result<Appliance> {
        let log = Log::new(self.dir.join("appliance.log"))?;
        let mut child = self
            .command(&["serve"])
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| LOGGED.to_owned()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start groundstate")?;
        if let Some(stream) = child.stdout.take() {
            log.feed(stream)?;
        }
        if let Some(stream) = child.stderr.take() {
            log.feed(stream)?;
        }
        let appliance = Appliance { site: self.clone(), child, log };
        let log = &appliance.log;
        log.until("the appliance to be ready", START_LIMIT, || {
            Ok(log.wait_for(0, READY, Duration::ZERO).ok())
        })?;
        Ok(appliance)
    }

    /// Runs one command of the appliance's command line to its end.
    ///
    /// # Errors
    /// When it leaves with anything but 0; the message repeats what it said.
    pub fn say(&self, words: &[&str]) -> Result<String> {
        tool::run(&mut self.command(words))
    }

    /// One command of the appliance's command line.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.appliance);
        command
            .args(words)
            .env("GROUNDSTATE_CONFIG", self.path("groundstate.toml"))
            .env("GROUNDSTATE_DATA_DIR", self.path("data"))
            .env("GROUNDSTATE_STORE", self.path("store"))
            .env("GROUNDSTATE_TRUST_ROOT", self.path("root.json"));
        command
    }

    /// A file of this site.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// A signer's key file.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        self.dir.join("keys").join(format!("{name}.key")).display().to_string()
    }
}

/// What stands on record of an endpoint beside its name, its address and its power.
#[derive(Debug, Clone, Copy, Default)]
pub struct Record<'a> {
    /// It may be drilled.
    pub drill_safe: bool,
    /// Another blueprint than that of [`IMAGE`].
    pub blueprint: Option<&'a str>,
    /// The serial number of its disk.
    pub disk_serial: Option<&'a str>,
    /// Another chain than the one that its firmware needs.
    pub chain: Option<&'a str>,
}

/// A running appliance.
#[derive(Debug)]
pub struct Appliance {
    site: Site,
    child: Child,
    log: Log,
}

impl Appliance {
    /// The site it serves.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Puts an endpoint and its BMC on record.
    ///
    /// # Errors
    /// When the appliance refuses it.
    pub fn add(&self, endpoint: &Endpoint, power: Option<&Bmc>, drill_safe: bool) -> Result<()> {
        self.put(endpoint, power, &Record { drill_safe, ..Record::default() })
    }

    /// Puts an endpoint and its BMC on record; said again, it may name another disk or chain.
    ///
    /// # Errors
    /// When the appliance refuses it.
    pub fn put(&self, endpoint: &Endpoint, power: Option<&Bmc>, record: &Record<'_>) -> Result<()> {
        let spec = endpoint.spec();
        let mac = spec.mac_text();
        let blueprint = record.blueprint.unwrap_or(IMAGE);
        let mut words =
            vec!["endpoint", "add", &spec.name, "--mac", &mac, "--blueprint", blueprint, "--group", "line"];
        // Its own name and address, which the image does not have.
        let (address, gateway) = (format!("{}/24", spec.address()), APPLIANCE.to_string());
        words.extend(["--hostname", &spec.name, "--address", &address, "--gateway", &gateway]);
        if let Some(serial) = record.disk_serial {
            words.extend(["--disk-serial", serial]);
        }
        let bmc_words;
        if let Some(bmc) = power {
            let password_file = self.site.path(&format!("keys/{}.bmc", spec.name));
            fs::write(&password_file, bmc.password())?;
            bmc_words = bmc.words(&password_file);
            words.extend(bmc_words.iter().map(String::as_str));
        }
        let needs_shim = spec.firmware == Firmware::OvmfSecureBoot && spec.enrolled.is_none();
        if let Some(chain) = record.chain.or(needs_shim.then_some("shim")) {
            words.extend(["--chain", chain]);
        }
        if record.drill_safe {
            words.push("--drill-safe");
        }
        self.site.say(&words).map(drop)
    }

    /// Fails unless the endpoint's restored system said last that it has the name and the address on record, and no other.
    ///
    /// # Errors
    /// What it said instead.
    pub fn is_itself(&self, endpoint: &Endpoint) -> Result<()> {
        let spec = endpoint.spec();
        // A system may look at itself for its first hello before its network is up, and is connected when it is; the next one tells.
        self.log.until(&format!("{} to say who and where it is", spec.name), SAYS_LIMIT, || {
            let said = self.endpoint(&spec.name)?.inventory.context("it said nothing of itself")?;
            let itself = said.hostname == spec.name && said.addresses == [IpAddr::V4(spec.address())];
            ensure!(
                itself || said.addresses.is_empty(),
                "{} calls itself {} and has the addresses {:?}",
                spec.name,
                said.hostname,
                said.addresses
            );
            Ok(itself.then_some(()))
        })
    }

    /// The evidence log, oldest entry first.
    ///
    /// # Errors
    /// When it cannot be exported or read.
    pub fn evidence(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for line in self.site.say(&["evidence", "export"])?.lines() {
            entries.extend(evidence::entry(line));
        }
        Ok(entries)
    }

    /// One endpoint as the appliance sees it.
    ///
    /// # Errors
    /// When the appliance does not know it.
    pub fn endpoint(&self, name: &str) -> Result<EndpointView> {
        self.read(&["endpoint", "show", name, "--json"])
    }

    /// One job as the appliance sees it.
    ///
    /// # Errors
    /// When there is none.
    pub fn boot(&self, name: &str) -> Result<BootView> {
        self.read(&["net", "doctor", name, "--json"])
    }

    /// The newest job of an endpoint, if there is one.
    ///
    /// # Errors
    /// When the appliance does not answer.
    pub fn newest_job(&self, endpoint: &str) -> Result<Option<JobView>> {
        Ok(self.endpoint(endpoint)?.job)
    }

    /// Runs a command with `--json` among its words and reads its answer.
    ///
    /// # Errors
    /// When it fails or answers something else.
    pub fn read<T: DeserializeOwned>(&self, words: &[&str]) -> Result<T> {
        let text = self.site.say(words)?;
        serde_json::from_str(&text).with_context(|| format!("`groundstate {}` said: {text}", words.join(" ")))
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Errors
    /// When the process cannot be signalled.
    pub fn cut_power(mut self) -> Result<Site> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.site.clone())
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub fn stop(mut self) -> Result<Site> {
        self.ask_to_stop()?;
        Ok(self.site.clone())
    }

    fn ask_to_stop(&mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, Signal::SIGTERM)?;
        self.log.wait_end("the appliance to stop", STOP_LIMIT)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
