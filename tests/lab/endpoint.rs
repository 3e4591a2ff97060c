//! A virtual endpoint: a computer with firmware, disk, TPM, serial line and a power button.
//!
//! ```text
//!            power_on                    guest resets
//!   Off ───────────────► On(boot 1) ─────────────────► On(boot 2) ─── …
//!    ▲                        │ guest switches off, power_off, kill, QEMU dies │
//!    └────────────────────────┴────────────────────────────────────────────────┘
//! ```
//!
//! Each boot is one QEMU process, started by the endpoint's power thread. "Network first" is armed for the next boot only and spent by it.
//! What is on the disk, in the TPM and in the firmware's variables survives every boot; [`Endpoint::replace_board`] is a new TPM and
//! fresh variables. The endpoint knows nothing of the appliance.

use std::fs;
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::Pid;

use crate::golden::DISK_LEN;
use crate::plant::Plant;
use crate::qemu::{self, BootOrder, End, Firmware, Monitor, Remote, Spec, Stick, Wiring};
use crate::screen::Screen;
use crate::story::{Log, Silent};
use crate::swtpm::{Maker, Tpm};

/// Seconds that QEMU may take to connect its monitor. It does so before the firmware runs; a loaded computer needs a few seconds.
const MONITOR_LIMIT_S: i64 = 30;
/// How long QEMU may take to draw a picture of its screen.
const PICTURE_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of each further disk.
const MORE_DISK_LEN: u64 = 64 << 20;

/// What is on a new endpoint's disk.
#[derive(Debug, Clone)]
pub enum Content {
    /// Nothing: a disk of this many bytes that was never written.
    Blank(u64),
    /// A copy of this image.
    Image(PathBuf),
}

/// A virtual endpoint; it loses its power when the last handle goes.
#[derive(Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spec: Spec,
    wiring: Wiring,
    tpm: Tpm,
    serial: Log,
    power: Mutex<Power>,
    changed: Condvar,
    /// The monitor of the running process. Not within `power`, since an answer is waited for.
    remote: Mutex<Option<Remote>>,
}

#[derive(Debug, Default)]
struct Power {
    /// Whether it should be on. Turned off by the power button and by the guest itself.
    on: bool,
    /// Whether the next boot tries the network first.
    armed: bool,
    /// The CD that its BMC shows it; a boot that is armed then starts from that.
    medium: Option<PathBuf>,
    /// The running QEMU process.
    process: Option<Pid>,
    /// Boots since the endpoint was made.
    boots: u32,
    /// Why it did not start, when it did not.
    fault: Option<String>,
    /// The power thread, while there is one.
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// A new endpoint, cabled to `plant` and switched off.
    ///
    /// # Errors
    /// When its disk, its TPM or its tap cannot be made.
    pub fn new(plant: &Plant, spec: Spec, content: &Content) -> Result<Self> {
        let dir = plant.dir().join(&spec.name);
        fs::create_dir_all(&dir)?;
        let wiring = Wiring {
            disk: dir.join("disk.raw"),
            vars: dir.join("vars.fd"),
            tpm: dir.join("tpm.sock"),
            monitor: dir.join("monitor.sock"),
            tap: plant.tap()?,
        };
        write_disk(&wiring.disk, content)?;
        for file in wiring.more_disks(&spec) {
            let length = if file == wiring.failing_disk() { DISK_LEN } else { MORE_DISK_LEN };
            write_disk(&file, &Content::Blank(length))?;
        }
        let shared = Shared {
            tpm: Tpm::make(dir.join("tpm"), &Maker::of_run(plant.dir())?)?,
            serial: Log::new(dir.join("serial.log"))?,
            power: Mutex::default(),
            changed: Condvar::new(),
            remote: Mutex::default(),
            spec,
            wiring,
        };
        shared.fresh_variables()?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What it is made of.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.shared.spec
    }

    /// Its serial console, over all boots.
    #[must_use]
    pub fn serial(&self) -> &Log {
        &self.shared.serial
    }

    /// Its disk image. Write to it only while the endpoint is off.
    #[must_use]
    pub fn disk(&self) -> &Path {
        &self.shared.wiring.disk
    }

    /// SHA-256 over every byte of all its disks: equal as long as nobody wrote.
    ///
    /// # Errors
    /// When a disk cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let mut buffer = vec![0; 1 << 20];
        for path in [self.disk().to_owned()].into_iter().chain(self.shared.wiring.more_disks(self.spec())) {
            let mut file = fs::File::open(&path)?;
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    length => context.update(&buffer[..length]),
                }
            }
        }
        Ok(hex::encode(context.finish()))
    }

    /// The plant's end of its network cable.
    #[must_use]
    pub fn tap(&self) -> &str {
        &self.shared.wiring.tap
    }

    /// The address of its BMC on the plant network.
    #[must_use]
    pub fn bmc_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 200 + self.shared.spec.number)
    }

    /// A handle that presses the power button, for a BMC.
    #[must_use]
    pub fn button(&self) -> Button {
        Button { shared: Arc::clone(&self.shared) }
    }

    /// Presses the power button of an endpoint that is off.
    pub fn power_on(&self) {
        self.shared.power_on();
    }

    /// Cuts its power and waits until it is off.
    pub fn power_off(&self) {
        self.shared.power_off();
    }

    /// Arms one boot from the network, as a BMC does.
    pub fn arm_network(&self) {
        self.shared.power().armed = true;
    }

    /// Whether it has power.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.shared.power().on
    }

    /// How often it has booted since it was made.
    #[must_use]
    pub fn boots(&self) -> u32 {
        self.shared.power().boots
    }

    /// Waits until it is off by itself.
    ///
    /// # Errors
    /// [`Silent`] when it still runs after `limit`.
    pub fn wait_off(&self, limit: Duration) -> Result<(), Silent> {
        let end = Instant::now() + limit;
        let mut power = self.shared.power();
        while power.on {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(power);
                let what = format!("{} to switch itself off", self.shared.spec.name);
                return Err(Silent::new(what, limit, &self.shared.serial));
            }
            power = self.shared.changed.wait_timeout(power, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// What stands on its own screen now.
    ///
    /// # Errors
    /// When it is off or has no screen.
    pub fn screen(&self) -> Result<Screen> {
        let path = self.shared.wiring.monitor.with_file_name("screen.ppm");
        let mut remote = self.shared.remote();
        let remote = remote.as_mut().with_context(|| format!("{} is off", self.shared.spec.name))?;
        remote.picture(&path, PICTURE_LIMIT)?;
        Screen::read(&path)
    }

    /// Why it did not start, when QEMU could not be started.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.shared.power().fault.clone()
    }

    /// Gives it a new mainboard: another TPM and firmware variables as from the factory. Only while it is off.
    ///
    /// # Errors
    /// When it is on, or when the new parts cannot be made.
    pub fn replace_board(&self) -> Result<()> {
        if self.is_on() {
            bail!("{} must be off to get a new board", self.shared.spec.name);
        }
        self.shared.tpm.replace()?;
        self.shared.fresh_variables()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.power_off();
    }
}

/// The power button of an endpoint and its boot switch: all that a BMC can reach.
#[derive(Debug, Clone)]
pub struct Button {
    shared: Arc<Shared>,
}

impl Button {
    /// Whether the endpoint has power.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.shared.power().on
    }

    /// Switches the power on.
    pub fn on(&self) {
        self.shared.power_on();
    }

    /// Cuts the power.
    pub fn off(&self) {
        self.shared.power_off();
    }

    /// Whether the next boot tries the network first.
    #[must_use]
    pub fn armed(&self) -> bool {
        self.shared.power().armed
    }

    /// Arms or disarms one boot from the network, or from this CD.
    pub fn arm(&self, armed: bool, medium: Option<PathBuf>) {
        let mut power = self.shared.power();
        (power.armed, power.medium) = (armed, medium);
    }
}

impl Shared {
    fn power(&self) -> MutexGuard<'_, Power> {
        self.power.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remote(&self) -> MutexGuard<'_, Option<Remote>> {
        self.remote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh_variables(&self) -> Result<()> {
        if let (Some(enrolled), Some((_, blank)), Some((_, microsoft))) =
            (&self.spec.enrolled, Firmware::Ovmf.flash(), Firmware::OvmfSecureBoot.flash())
        {
            fs::write(&self.wiring.vars, enrolled.store(blank, microsoft)?)?;
        } else if let Some((_, fresh)) = self.spec.firmware.flash() {
            fs::copy(fresh, &self.wiring.vars)
                .with_context(|| format!("no firmware at {}: install the package ovmf", fresh.display()))?;
        }
        Ok(())
    }

    fn power_on(self: &Arc<Self>) {
        let mut power = self.power();
        if power.on {
            return;
        }
        if let Some(finished) = power.thread.take() {
            drop(power);
            let _ = finished.join();
            power = self.power();
        }
        power.on = true;
        power.fault = None;
        let shared = Arc::clone(self);
        power.thread = Some(thread::spawn(move || shared.live()));
    }

    fn power_off(&self) {
        let mut power = self.power();
        power.on = false;
        if let Some(process) = power.process {
            // It may have ended by itself in this moment; then it is off all the same.
            let _ = kill(process, Signal::SIGKILL);
        }
        let thread = power.thread.take();
        drop(power);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// Boots until the power goes.
    fn live(&self) {
        loop {
            let end = self.one_boot();
            let mut power = self.power();
            match end {
                Ok(End::Reset) if power.on => continue,
                Ok(_) => {}
                Err(error) => {
                    let fault = format!("{error:#}");
                    self.serial.note(format!("=== lab: {} could not start: {fault}", self.spec.name));
                    power.fault = Some(fault);
                }
            }
            power.on = false;
            drop(power);
            self.changed.notify_all();
            self.serial.note("=== lab: power off");
            return;
        }
    }

    fn one_boot(&self) -> Result<End> {
        let (order, spec) = self.next_order();
        let mut tpm = self.tpm.start(&self.wiring.tpm)?;
        let outcome = self.one_process(order, &spec);
        if outcome.is_err() {
            // Nobody may ever have connected to it, so it would wait for ever.
            let _ = tpm.kill();
        }
        tpm.wait()?;
        outcome
    }

    fn one_process(&self, order: BootOrder, spec: &Spec) -> Result<End> {
        let _ = fs::remove_file(&self.wiring.monitor);
        let listener = UnixListener::bind(&self.wiring.monitor)?;
        let mut process = Command::new("qemu-system-x86_64")
            .args(qemu::arguments(spec, &self.wiring, order))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start qemu-system-x86_64")?;
        let console = process.stdout.take().map(|stream| self.serial.feed(stream)).transpose()?;
        let complaints = process.stderr.take().map(|stream| self.serial.feed(stream)).transpose()?;
        let end = self.watch(&mut process, &listener);
        // From here on nobody may signal the number, because the system may give it away again.
        self.power().process = None;
        if end.is_err() {
            let _ = process.kill();
        }
        process.wait()?;
        for reader in [console, complaints].into_iter().flatten() {
            let _ = reader.join();
        }
        end
    }

    fn watch(&self, process: &mut Child, listener: &UnixListener) -> Result<End> {
        let pid = Pid::from_raw(i32::try_from(process.id())?);
        {
            let mut power = self.power();
            power.process = Some(pid);
            if !power.on {
                // The button was pressed before the process was there.
                let _ = kill(pid, Signal::SIGKILL);
                return Ok(End::Cut);
            }
        }
        // On a listening socket this bounds accept (socket(7)).
        setsockopt(listener, ReceiveTimeout, &TimeVal::seconds(MONITOR_LIMIT_S))?;
        let (stream, _) = listener.accept().with_context(|| {
            format!(
                "QEMU did not connect its monitor; its last words are on the serial log {}",
                self.serial.path().display()
            )
        })?;
        let (mut monitor, remote) = Monitor::greet(stream)?;
        *self.remote() = Some(remote);
        let end = monitor.wait_end();
        *self.remote() = None;
        Ok(end)
    }

    /// What the next boot tries first, and with what in the socket.
    fn next_order(&self) -> (BootOrder, Spec) {
        let mut power = self.power();
        power.boots += 1;
        let order =
            if std::mem::take(&mut power.armed) { BootOrder::NetworkFirst } else { BootOrder::DiskFirst };
        let mut spec = self.spec.clone();
        let mut shown = "";
        if let Some(medium) = &power.medium {
            (spec.stick, shown) = (Some(Stick::Cd(medium.clone())), ", a CD in its drive");
        }
        self.serial.note(format!("=== lab: boot {} of {}, {order:?}{shown}", power.boots, self.spec.name));
        (order, spec)
    }
}

fn write_disk(path: &Path, content: &Content) -> Result<()> {
    match content {
        Content::Blank(length) => {
            fs::File::create(path)?.set_len(*length)?;
        }
        Content::Image(image) => {
            crate::tool::run(
                Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(image).arg(path),
            )
            .with_context(|| format!("cannot copy {} to a new disk", image.display()))?;
        }
    }
    Ok(())
}
