//! The recovery system from start to reboot.
//!
//! ```text
//! drivers, network ─► hello ─► proof (TPM) or pairing (a person) ─► next ─┬─► wait, stop ─► next
//!          ▲                                                               ├─► restore, capture ─► … ─► reboot
//!          └── the appliance does not know us any more ◄───────────────────┤      └─► refused, reported ─► next
//!                                                                          └─► reboot
//! ```
//!
//! It must never touch a disk without an assignment from the pinned appliance and a manifest that the pinned image keys
//! signed, and never loop in silence: each pause says on the screen what it waits for.

mod capture;
mod erasing;
mod gate;
pub mod keep;
mod network;
mod reporter;
pub mod restore;
pub mod source;
pub mod sources;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_capture;
#[cfg(test)]
mod tests_cuts;
#[cfg(test)]
mod tests_disks;
#[cfg(test)]
mod tests_erasing;
#[cfg(test)]
mod tests_silence;
#[cfg(test)]
mod tests_versions;

pub(crate) use self::source::{HttpSource, plain_http};
pub(crate) use self::sources::Limits;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use recovery_protocol::agent::{
    Assignment, BootedAs, CaptureOrder, Challenge, Firmware, Hello, HelloReply, Report, Reported,
    RestoreOrder,
};
use recovery_protocol::job::HoldReason;
use recovery_protocol::trust::RecoveryTrust;
use recovery_protocol::{JobId, Problem};

use crate::client::{ApiError, Appliance};
use crate::kernel_args::KernelArgs;
use crate::pid1::{self, Drivers, Pulse};
use crate::screen::{Mood, Screen};
use crate::{identity, inventory, net};

/// Where the boot kit's builder puts whom to trust.
const TRUST_PATH: &str = "/etc/groundstate/trust.json";
/// What a person does while an image is restored.
const LEAVE_ON: &str = "Leave the endpoint switched on.";
/// Disks are waited for this long before the hello, so that the first inventory is whole.
const DISKS_WAIT: Duration = Duration::from_secs(4);
/// Before a disk is written no device may have appeared for this long; waited for at most so long.
const DRIVERS_QUIET: Duration = Duration::from_secs(3);
const DRIVERS_WAIT: Duration = Duration::from_secs(20);
/// An endpoint that is refused at the hello for this long reboots: without a ticket its place is its own disk.
const REFUSED_MAX: Duration = Duration::from_secs(5 * 60);
/// The appliance's code for an endpoint that it does not know.
const UNKNOWN: &str = "endpoint-unknown";
/// The status of an appliance that has too much to do.
const BUSY: u16 = 429;
/// Pause before an appliance that refused or was silent is asked again: first, and longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// A refusal of ours: its place in the closed list, and the values at hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// Which one.
    pub reason: HoldReason,
    /// The values, for a person.
    pub detail: String,
}

impl Refusal {
    fn new(reason: HoldReason, detail: String) -> Self {
        Self { reason, detail }
    }
}

/// Why a restore did not end in a disk that boots.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// The agent will not or cannot go on.
    Refused(Refusal),
    /// The appliance said to stop.
    Aborted(String),
    /// The appliance does not know this session or order any more: begin again with a hello.
    NotKnown(Box<Problem>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// An error with everything that caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A session with the appliance, proven by a TPM or, with a pairing code, by a person.
struct Session {
    id: String,
    /// Stays on the screen until a person has compared it.
    pairing_code: Option<String>,
}

/// Runs as PID 1; ends in a reboot.
pub fn run() -> ! {
    let said = pid1::mount_all();
    let screen = Screen::consoles(concat!("GROUNDSTATE recovery system ", env!("CARGO_PKG_VERSION")));
    pid1::install_panic_hook(&screen);
    let pulse = Pulse::new();
    pid1::start_caretaker(&screen, &pulse);
    screen.show(Mood::Starting, "The recovery system started.", "", "");
    said.iter().for_each(|line| screen.say(line));
    match recover(&screen, &pulse) {
        Ok(why) => {
            screen.show(Mood::Rebooting, "The endpoint reboots.", why, "");
            pid1::restart(&screen)
        }
        Err(error) => {
            pid1::last_words(&screen, "This recovery stopped.", &format!("{error:#}"), pid1::LAST_WORDS)
        }
    }
}

/// What the flow needs throughout.
struct Recovery<'a> {
    screen: &'a Screen,
    pulse: &'a Pulse,
    args: KernelArgs,
    trust: RecoveryTrust,
    appliance: Appliance,
    drivers: Drivers,
}

/// Recovers; `Ok` says why to reboot.
fn recover(screen: &Screen, pulse: &Pulse) -> anyhow::Result<String> {
    let args = KernelArgs::parse(&fs::read_to_string("/proc/cmdline").unwrap_or_default());
    let text =
        fs::read(TRUST_PATH).with_context(|| format!("reading {TRUST_PATH}; build the boot kit again"))?;
    let trust: RecoveryTrust =
        serde_json::from_slice(&text).with_context(|| format!("reading {TRUST_PATH}"))?;
    screen.say(format!("site {}", trust.site));
    let drivers = Drivers::start(screen).context("reading the driver index; build the boot kit again")?;
    let connected = network::connect(screen, pulse, args);
    let address = args.appliance.unwrap_or_else(|| network::appliance_of(&connected));
    let appliance = Appliance::new(address, trust.appliance_spki_sha256.parse()?)?;
    std::thread::spawn(move || net::keep(&connected));
    let recovery = Recovery { screen, pulse, args, trust, appliance, drivers };
    screen.set_endpoint(recovery.unnamed(""), false);
    recovery.wait_for_disks();
    loop {
        let session = recovery.introduce()?;
        match recovery.obey(&session) {
            Ok(why) => return Ok(why),
            Err(problem) => {
                let next = "The agent introduces itself again.";
                screen.show(Mood::Failed(problem.code), problem.title, problem.detail, next);
            }
        }
    }
}

impl Recovery<'_> {
    /// An endpoint whose name is not known: by the address that its firmware booted from.
    fn unnamed(&self, before: &str) -> String {
        let macs = inventory::read(self.args).macs;
        macs.first().map_or_else(String::new, |mac| format!("{before}{mac}"))
    }

    fn wait_for_disks(&self) {
        self.drivers.wait_quiet(Duration::ZERO, DRIVERS_WAIT);
        let until = Instant::now() + DISKS_WAIT;
        while inventory::disks(Path::new("/sys/block")).is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Says hello and proves itself until there is a session. Fails when refused for too long.
    fn introduce(&self) -> anyhow::Result<Session> {
        let refused_until = Instant::now() + REFUSED_MAX;
        loop {
            let problem = match self.try_introduce() {
                Ok(session) => return Ok(session),
                Err(problem) => problem,
            };
            if problem.code == UNKNOWN {
                self.screen.set_endpoint(self.unnamed("not on record  "), false);
            }
            let mood = Mood::Failed(problem.code.clone());
            self.screen.show(mood, &problem.title, &problem.detail, &problem.remedy);
            if Instant::now() > refused_until {
                return Err((*problem).into());
            }
            std::thread::sleep(PAUSE.1);
        }
    }

    /// One hello and one proof.
    fn try_introduce(&self) -> Result<Session, Box<Problem>> {
        loop {
            let mut tpm = identity::open_tpm().map_err(|error| tpm_problem(&error))?;
            let identity = tpm.as_mut().map(identity::of).transpose().map_err(|error| tpm_problem(&error))?;
            let hello = Hello {
                protocol: recovery_protocol::AGENT_PROTOCOL,
                agent_version: env!("CARGO_PKG_VERSION").to_owned(),
                booted_as: BootedAs::RecoverySystem,
                inventory: inventory::read(self.args),
                tpm: identity,
                enrolment_ticket: None,
            };
            self.screen.say(format!("hello to the appliance at {}", self.appliance.address()));
            match self.patiently(|| self.appliance.hello(&hello))? {
                HelloReply::Wait { seconds, why } => self.wait(seconds, why, None),
                HelloReply::Pair { session, code } => {
                    return Ok(Session { id: session, pairing_code: Some(code) });
                }
                HelloReply::Challenge(challenge) => {
                    let Some(tpm) = tpm.as_mut() else {
                        return Err(Box::new(no_tpm_problem()));
                    };
                    return self.prove(tpm, &challenge);
                }
            }
        }
    }

    fn prove(&self, tpm: &mut crate::tpm::Tpm, challenge: &Challenge) -> Result<Session, Box<Problem>> {
        let proof = identity::prove(tpm, challenge, None).map_err(|error| tpm_problem(&error))?;
        self.patiently(|| self.appliance.proof(&proof))?;
        self.screen.show(Mood::Starting, "This endpoint has proven itself.", "", "");
        Ok(Session { id: challenge.session.clone(), pairing_code: None })
    }

    /// Does what it is told until told to reboot, or until the session is not known any more.
    fn obey(&self, session: &Session) -> Result<String, Box<Problem>> {
        loop {
            match self.patiently(|| self.appliance.next(&session.id))? {
                Assignment::Wait { seconds, why } => self.wait(seconds, why, session.pairing_code.as_deref()),
                Assignment::Stop { why } => {
                    let next = "Look at the appliance's console.";
                    self.screen.show(Mood::Held, "A person decides how to go on.", why, next);
                    self.wait_quietly(10);
                }
                Assignment::Reboot { why } => return Ok(why),
                Assignment::Capture(order) => {
                    if let Some(done) = self.capture(&session.id, &order)? {
                        return Ok(done);
                    }
                }
                Assignment::Restore(order) => {
                    if let Some(done) = self.restore(&session.id, &order)? {
                        return Ok(done);
                    }
                }
            }
        }
    }

    /// One restore; `None`: ask for the next assignment.
    fn restore(&self, session: &str, order: &RestoreOrder) -> Result<Option<String>, Box<Problem>> {
        self.screen.show(
            Mood::Working,
            "The appliance ordered a golden image; its signatures are being checked.",
            format!("Image {}.", order.image),
            LEAVE_ON,
        );
        if !order.endpoint.is_empty() {
            self.screen.set_endpoint(&order.endpoint, order.drill);
        }
        let ordered = (order.job, order.step_seq);
        let reporter = reporter::Reporter::new(&self.appliance, session, ordered, self.screen, self.pulse);
        let uefi = inventory::booted_by() != Firmware::Bios;
        let drivers_quiet = || self.drivers.wait_quiet(DRIVERS_QUIET, DRIVERS_WAIT);
        let outcome = restore::run(order, &self.trust, uefi, &drivers_quiet, &reporter);
        let done = "The golden image is on the disk, proven, and boots next.";
        self.end(session, ordered, outcome, done)
    }

    /// One capture; `None`: ask for the next assignment.
    fn capture(&self, session: &str, order: &CaptureOrder) -> Result<Option<String>, Box<Problem>> {
        self.screen.show(
            Mood::Working,
            "The appliance asked for a copy of this disk; nothing is written to it.",
            format!("Image {} {}.", order.image.name, order.image.version),
            LEAVE_ON,
        );
        let ordered = (order.job, order.step_seq);
        let reporter = reporter::Reporter::new(&self.appliance, session, ordered, self.screen, self.pulse);
        self.drivers.wait_quiet(DRIVERS_QUIET, DRIVERS_WAIT);
        let outcome = capture::run(order, &self.appliance, session, &reporter);
        self.end(session, ordered, outcome, "The disk is in the store; it boots again as it was.")
    }

    /// How an order ended; `None`: ask for the next assignment.
    fn end(
        &self,
        session: &str,
        ordered: (JobId, u32),
        outcome: Result<(), Stop>,
        done: &str,
    ) -> Result<Option<String>, Box<Problem>> {
        match outcome {
            Ok(()) => Ok(Some(done.to_owned())),
            Err(Stop::NotKnown(problem)) => Err(problem),
            Err(Stop::Aborted(why)) => {
                let next = "Look at the appliance's console.";
                self.screen.show(Mood::Failed(String::new()), "The appliance stopped this.", why, next);
                self.wait_quietly(2);
                Ok(None)
            }
            Err(Stop::Refused(refusal)) => {
                self.refuse(session, ordered, refusal)?;
                self.wait_quietly(2);
                Ok(None)
            }
        }
    }

    /// Says a refusal on the screen and to the appliance, in the same words.
    fn refuse(
        &self,
        session: &str,
        (job, step_seq): (JobId, u32),
        refusal: Refusal,
    ) -> Result<(), Box<Problem>> {
        let Refusal { reason, detail } = refusal;
        self.screen.show(Mood::Failed(reason.code().to_owned()), reason.what(), &detail, reason.what_now());
        let what = Reported::Refused { reason, detail };
        let report = Report { session: session.to_owned(), job, step_seq, what };
        self.patiently(|| self.appliance.report(&report)).map(drop)
    }

    fn wait(&self, seconds: u32, why: String, pairing_code: Option<&str>) {
        let compare = "Compare this code with the one in the appliance's console and confirm it there.";
        match pairing_code {
            Some(code) => self.screen.show(Mood::Pairing(code.to_owned()), "PAIRING CODE", why, compare),
            None => self.screen.show(Mood::Starting, "Waiting for the appliance.", why, ""),
        }
        self.wait_quietly(seconds);
    }

    fn wait_quietly(&self, seconds: u32) {
        self.pulse.beat();
        std::thread::sleep(Duration::from_secs(u64::from(seconds.clamp(1, 60))));
    }

    fn patiently<T>(&self, call: impl FnMut() -> Result<T, ApiError>) -> Result<T, Box<Problem>> {
        patiently(self.screen, self.pulse, call).map_err(|stop| match stop {
            Stop::NotKnown(problem) => problem,
            Stop::Aborted(why) => Box::new(agent_problem(why)),
            Stop::Refused(refusal) => Box::new(agent_problem(refusal.detail)),
        })
    }
}

/// Calls until there is an answer. A refusal below 500 is an answer; silence, a busy or a broken appliance is not.
///
/// # Errors
/// [`Stop::NotKnown`] with the appliance's refusal.
fn patiently<T>(
    screen: &Screen,
    pulse: &Pulse,
    mut call: impl FnMut() -> Result<T, ApiError>,
) -> Result<T, Stop> {
    let mut pause = PAUSE.0;
    loop {
        let why = match call() {
            Ok(value) => {
                pulse.beat();
                return Ok(value);
            }
            Err(ApiError::Refused(problem)) if problem.status < 500 && problem.status != BUSY => {
                return Err(Stop::NotKnown(problem));
            }
            Err(error) => chain(&error),
        };
        // A pause of seconds needs nobody.
        let mood = if pause < PAUSE.1 { Mood::Starting } else { Mood::Person };
        screen.show(
            mood,
            "The appliance does not answer.",
            why,
            "Check the network cable and the appliance; the agent keeps trying.",
        );
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE.1);
    }
}

fn agent_problem(detail: String) -> Problem {
    Problem::new(
        400,
        "agent-failed",
        "The agent cannot go on.",
        detail,
        "Resume the job, or recover by hand.",
    )
}

fn tpm_problem(error: &crate::tpm::TpmError) -> Box<Problem> {
    let remedy = "Switch the endpoint off and on; if it stays, clear the TPM in the firmware's setup or replace the board.";
    Box::new(Problem::new(400, "tpm-failed", "This endpoint's TPM does not work.", chain(error), remedy))
}

fn no_tpm_problem() -> Problem {
    let detail = "The appliance asks for a TPM's proof, and this endpoint has no TPM.";
    let remedy = "Switch the TPM on in the firmware's setup, or approve this endpoint without one.";
    Problem::new(400, "no-tpm", "This endpoint cannot prove itself.", detail, remedy)
}
