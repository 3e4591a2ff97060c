//! The BMC of a virtual endpoint: Debian's `ipmi_sim`, a real IPMI 2.0 peer, wired to the endpoint's power button; or a Redfish service
//! (see [`redfish`](crate::redfish)).
//!
//! ```text
//!   ipmitool -I lanplus ──UDP 623──► ipmi_sim ──runs──► lab bmc-hook <socket> set power 1 ──► this module ──► Button
//! ```
//!
//! `ipmi_sim` starts a program for each request ("get power", "set boot pxe"); that program is the lab's own [`hook`], which carries
//! the words to a socket and prints the answer.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::endpoint::{Button, Endpoint};
use crate::plant::Plant;
use crate::qemu::Spec;
use crate::redfish;
use crate::story::Log;

/// The name that the appliance gives to the BMC.
pub const USER: &str = "groundstate";

/// A running BMC; it ends when dropped.
#[derive(Debug)]
pub struct Bmc {
    address: Ipv4Addr,
    password: String,
    /// The SHA-256 of its certificate, when it speaks Redfish.
    certificate: Option<String>,
    /// The appliance is told of it as the way to show a CD, and not of the network.
    by_cd: bool,
    simulator: Child,
    log: Log,
}

impl Bmc {
    /// Gives `endpoint` a BMC at its own address on the plant network, UDP port 623.
    ///
    /// `lab` is the lab's binary, which `ipmi_sim` runs as its hook.
    ///
    /// # Errors
    /// When `ipmi_sim` cannot be started.
    pub fn attach(plant: &Plant, endpoint: &Endpoint, lab: &Path) -> Result<Self> {
        let address = endpoint.bmc_address();
        plant.address(address)?;
        let dir = plant.dir().join(&endpoint.spec().name).join("bmc");
        fs::create_dir_all(&dir)?;
        let socket = dir.join("hook.sock");
        let listener = UnixListener::bind(&socket)?;
        let button = endpoint.button();
        let log = Log::new(dir.join("bmc.log"))?;
        thread::spawn({
            let log = log.clone();
            move || listener.incoming().flatten().for_each(|stream| answer(stream, &button, &log))
        });
        let password = password()?;
        let hook = format!("{} bmc-hook {}", lab.display(), socket.display());
        let config = dir.join("lan.conf");
        fs::write(&config, lan_conf(endpoint.spec(), address, &password, &hook))?;
        let commands = dir.join("bmc.emu");
        fs::write(
            &commands,
            "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n",
        )?;
        let mut simulator = Command::new("ipmi_sim")
            .arg("-n")
            .arg("-c")
            .arg(&config)
            .arg("-f")
            .arg(&commands)
            .arg("-s")
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start ipmi_sim (package openipmi)")?;
        if let Some(stream) = simulator.stdout.take() {
            log.feed(stream)?;
        }
        if let Some(stream) = simulator.stderr.take() {
            log.feed(stream)?;
        }
        Ok(Self { address, password, certificate: None, by_cd: false, simulator, log })
    }

    /// Gives `endpoint` a BMC that speaks Redfish, at its own address on the plant network.
    ///
    /// # Errors
    /// When the emulator cannot be had or started.
    pub fn attach_redfish(plant: &Plant, endpoint: &Endpoint) -> Result<Self> {
        let address = endpoint.bmc_address();
        plant.address(address)?;
        let dir = plant.dir().join(&endpoint.spec().name).join("redfish");
        fs::create_dir_all(&dir)?;
        let log = Log::new(dir.join("redfish.log"))?;
        let (password, uuid) = (password()?, endpoint.spec().uuid());
        let (simulator, certificate) =
            redfish::start(&dir, address, &password, &uuid, endpoint.button(), &log)?;
        Ok(Self { address, password, certificate: Some(certificate), by_cd: false, simulator, log })
    }

    /// The same one as `--virtual-media`: it shows the endpoint a CD, and never chooses the network.
    #[must_use]
    pub fn by_cd(mut self) -> Self {
        self.by_cd = true;
        self
    }

    /// How `endpoint add` is told of it, its password being in this file.
    #[must_use]
    pub fn words(&self, password_file: &str) -> Vec<String> {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let how = match &self.certificate {
            None => own(&["--ipmi", &self.address.to_string()]),
            Some(certificate) => {
                let url = format!("https://{}:{}", self.address, redfish::PORT);
                let way = if self.by_cd { "--virtual-media" } else { "--redfish" };
                own(&[way, &url, "--bmc-certificate", certificate])
            }
        };
        [how, own(&["--bmc-user", USER, "--bmc-password-file", password_file])].concat()
    }

    /// Its password, new in each run.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// What it was asked.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Arms one boot from the network, as any operator's tool would.
    ///
    /// # Errors
    /// When the BMC does not report the boot device back. `ipmitool` may complain about a boot parameter that `ipmi_sim` does not know, and
    /// still have armed the boot; only reading it back tells.
    pub fn arm_network(&self) -> Result<()> {
        let told = self.ipmitool(&["chassis", "bootdev", "pxe", "options=efiboot"]);
        let read = self.ipmitool(&["chassis", "bootparam", "get", "5"])?;
        if !read.contains("Force PXE") {
            bail!(
                "the BMC did not arm the network: {read}{}",
                told.err().map(|error| error.to_string()).unwrap_or_default()
            );
        }
        Ok(())
    }

    /// What its Redfish service says of this path, asked with curl.
    ///
    /// # Errors
    /// When it does not answer, or not with JSON.
    pub fn redfish(&self, path: &str) -> Result<serde_json::Value> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--insecure", "--max-time", "20"]);
        curl.args(["--user", &format!("{USER}:{}", self.password)]);
        curl.arg(format!("https://{}:{}{path}", self.address, redfish::PORT));
        Ok(serde_json::from_str(&crate::tool::run(&mut curl)?)?)
    }

    /// Asks it over IPMI 2.0, as any operator's tool would.
    ///
    /// # Errors
    /// When `ipmitool` fails.
    pub fn ipmitool(&self, words: &[&str]) -> Result<String> {
        crate::tool::run(
            Command::new("ipmitool")
                .args(["-I", "lanplus", "-C", "3", "-H", &self.address.to_string(), "-U", USER, "-E"])
                .args(words)
                .env("IPMI_PASSWORD", &self.password),
        )
    }
}

impl Drop for Bmc {
    fn drop(&mut self) {
        let _ = self.simulator.kill();
        let _ = self.simulator.wait();
    }
}

/// The program that `ipmi_sim` runs: carries `words` to `socket` and prints the answer.
///
/// # Errors
/// When the endpoint is gone or does not know the request; `ipmi_sim` then answers its caller with an error.
pub fn hook(socket: &Path, words: &[String]) -> Result<()> {
    let mut stream =
        UnixStream::connect(socket).with_context(|| format!("no endpoint behind {}", socket.display()))?;
    stream.write_all(words.join(" ").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if let Some(reason) = answer.strip_prefix("error ") {
        bail!("{reason}");
    }
    print!("{answer}");
    Ok(())
}

fn answer(stream: UnixStream, button: &Button, log: &Log) {
    let Ok(mut back) = stream.try_clone() else { return };
    let mut request = String::new();
    if BufReader::new(stream).read_line(&mut request).is_err() {
        return;
    }
    let reply = obey(request.trim(), button);
    log.note(format!("{} -> {}", request.trim(), reply.trim()));
    let _ = back.write_all(reply.as_bytes());
}

/// One request of `ipmi_sim` and its answer: `power:1`, `boot:default`, nothing, or `error …`.
fn obey(request: &str, button: &Button) -> String {
    let words: Vec<&str> = request.split_whitespace().collect();
    // The first word is the management controller's address, when the configuration passes one.
    let words = words.strip_prefix(&["0x20"]).unwrap_or(&words);
    match words {
        ["get", "power"] => format!("power:{}\n", u8::from(button.is_on())),
        ["get", "boot"] => format!("boot:{}\n", if button.armed() { "pxe" } else { "default" }),
        ["set", "power", "1"] => done(|| button.on()),
        ["set", "power", "0"] | ["set", "shutdown", _] => done(|| button.off()),
        ["set", "reset", _] => done(|| {
            button.off();
            button.on();
        }),
        ["set", "boot", "pxe"] => done(|| button.arm(true, None)),
        ["set", "boot", _] => done(|| button.arm(false, None)),
        _ => format!("error the lab's BMC does not know {request:?}\n"),
    }
}

fn done(act: impl FnOnce()) -> String {
    act();
    String::new()
}

/// At most 16 characters, as IPMI allows no more for RAKP.
fn password() -> Result<String> {
    let mut bytes = [0; 8];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(hex::encode(bytes))
}

/// The simulator offers IPMI 2.0 only when it has a GUID (openipmi, `lanserv`).
fn lan_conf(spec: &Spec, address: Ipv4Addr, password: &str, hook: &str) -> String {
    let (name, guid) = (&spec.name, spec.uuid().replace('-', ""));
    format!(
        "name \"{name}\"\n\
         set_working_mc 0x20\n\
         startlan 1\n\
         addr {address} 623\n\
         priv_limit admin\n\
         allowed_auths_callback md5\n\
         allowed_auths_user md5\n\
         allowed_auths_operator md5\n\
         allowed_auths_admin md5\n\
         guid {guid}\n\
         endlan\n\
         chassis_control \"{hook} 0x20\"\n\
         user 2 true \"{USER}\" \"{password}\" admin 10 md5\n"
    )
}
