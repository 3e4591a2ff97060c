//! The check-in service of the restored system: prove what booted, enrol once, prove again from time to time.
//!
//! ```text
//! ticket on the ESP? ─yes─► hello with its secret ─► proof with a fresh TLS key ─► Enrol ─► EST ─► kept ─► Enrolled
//!      │                                                                              ─► ticket removed ─┐
//!      └─no, but a home is on record ─► hello ─► proof ─► Accepted ─► again in n seconds ◄──────────────┘
//! ```
//!
//! Losing the network ends nothing: it tries again with growing pauses. It must never send the ticket's secret to
//! anyone but the appliance that the ticket pins, nor draw a new key while an enrolment for the same job is unfinished.

mod certs_only;
mod enrol;
pub mod esp;
mod home;

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result};
use recovery_protocol::agent::{
    BootedAs, Challenge, EnrolOrder, Hello, HelloReply, ProofReply, Report, Reported,
};
use recovery_protocol::{JobId, trust::EnrolmentTicket};

use self::home::{Enrolment, Home, State};
use crate::client::Appliance;
use crate::kernel_args::KernelArgs;
use crate::screen::Screen;
use crate::tpm::Tpm;
use crate::{boot_entry, identity, inventory};

/// Where Linux shows the firmware's variables.
const EFIVARS: &str = "/sys/firmware/efi/efivars";
/// Pause after a failure: first, and longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));
/// Shortest and longest time between two check-ins, in seconds, whatever the appliance says.
const AGAIN: (u32, u32) = (2, 24 * 3600);
/// After an enrolment the next check-in follows soon: it proves the key from its certificate's side.
const AFTER_ENROLMENT: u32 = 30;

/// Checks in for as long as the system runs; with `once`, until the first check-in that ends well or badly.
///
/// # Errors
/// With `once`: whatever went wrong. Without: only when the state directory cannot be used.
pub fn run(once: bool) -> Result<()> {
    let screen = Screen::standard_error("check-in");
    let state = State::open(home::STATE_DIR.as_ref())?;
    let mut ticket = esp::read_ticket().unwrap_or_else(|error| {
        screen.say(format!("no enrolment ticket: {error}"));
        None
    });
    let mut pause = PAUSE.0;
    loop {
        match check_in(&screen, &state, &mut ticket) {
            Ok(again) => {
                pause = PAUSE.0;
                if once {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_secs(u64::from(again.clamp(AGAIN.0, AGAIN.1))));
            }
            Err(error) if once => return Err(error),
            Err(error) => {
                screen.say(format!(
                    "GROUNDSTATE: not checked in: {error:#}; next try in {} s",
                    pause.as_secs()
                ));
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

/// One check-in; returns seconds until the next.
fn check_in(screen: &Screen, state: &State, ticket: &mut Option<EnrolmentTicket>) -> Result<u32> {
    let home = home_of(state, ticket.as_ref())?;
    let appliance = Appliance::new(home.appliance.parse()?, home.appliance_spki_sha256.parse()?)?;
    let mut tpm = identity::open_tpm()?;
    let hello = Hello {
        protocol: recovery_protocol::AGENT_PROTOCOL,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        booted_as: BootedAs::GoldenSystem,
        inventory: inventory::read(KernelArgs::default()),
        tpm: tpm.as_mut().map(identity::of).transpose()?,
        enrolment_ticket: ticket.as_ref().map(|ticket| ticket.secret.clone()),
    };
    match appliance.hello(&hello)? {
        HelloReply::Wait { seconds, why } => {
            screen.say(format!("waiting {seconds} s: {why}"));
            Ok(seconds)
        }
        HelloReply::Pair { code, .. } => {
            screen.say(format!(
                "this endpoint has no TPM; its pairing code is {code}: confirm it in the console"
            ));
            Ok(AFTER_ENROLMENT)
        }
        HelloReply::Challenge(challenge) => {
            let tpm =
                tpm.as_mut().context("the appliance asks for a TPM's proof, and this endpoint has none")?;
            prove(screen, state, &appliance, tpm, &challenge, ticket)
        }
    }
}

/// Where to check in: as the ticket says, else as it was kept.
fn home_of(state: &State, ticket: Option<&EnrolmentTicket>) -> Result<Home> {
    match ticket {
        Some(ticket) => {
            let home = Home::from(ticket);
            state.keep_home(&home)?;
            Ok(home)
        }
        None => state.home()?.context(
            "this system was not restored by an appliance yet: no ticket on its EFI system partition, no home on record",
        ),
    }
}

fn prove(
    screen: &Screen,
    state: &State,
    appliance: &Appliance,
    tpm: &mut Tpm,
    challenge: &Challenge,
    ticket: &mut Option<EnrolmentTicket>,
) -> Result<u32> {
    let mut enrolment = match ticket {
        Some(ticket) => Some(begin_enrolment(state, tpm, ticket)?),
        None => state.enrolment()?,
    };
    let key = match &enrolment {
        Some(enrolment) => Some(tpm.tls_key(&enrolment.seed()?)?),
        None => None,
    };
    let proof = identity::prove(tpm, challenge, key.as_ref().filter(|_| ticket.is_some()))?;
    let again = match (appliance.proof(&proof)?, enrolment.as_mut(), &key) {
        (ProofReply::Accepted { again_in_seconds, reboot_for: Some(job) }, ..) => {
            reboot(screen, job);
            again_in_seconds
        }
        (ProofReply::Accepted { again_in_seconds, reboot_for: None }, ..) => {
            // For the journal alone: said again and again, and no person needs it.
            println!("proven; next check-in in {again_in_seconds} s");
            again_in_seconds
        }
        (ProofReply::Enrol(order), Some(enrolment), Some(key)) => {
            let issued = enrol::enrol(screen, appliance, tpm, key, &order)?;
            state.keep_certificate(&issued.pem)?;
            enrolment.certificate_serial = Some(issued.serial);
            state.keep_enrolment(enrolment)?;
            tell(screen, state, appliance, challenge, &order, enrolment)?;
            AFTER_ENROLMENT
        }
        (ProofReply::Enrol(_), ..) => anyhow::bail!("the appliance ordered an enrolment without a ticket"),
    };
    if let Some(key) = key {
        tpm.unload(key)?;
    }
    if enrolment.is_some_and(|enrolment| enrolment.told) && ticket.is_some() {
        esp::remove_ticket()?;
        *ticket = None;
        screen.say("the enrolment ticket is spent and removed");
    }
    Ok(again)
}

/// The appliance wants the recovery system here, for a job. What cannot be done is said and left: it has other ways.
fn reboot(screen: &Screen, job: JobId) {
    let efivars = EFIVARS.as_ref();
    let entry = match boot_entry::network_next(efivars) {
        Ok(entry) => entry,
        Err(error) => {
            screen.say(format!("GROUNDSTATE: not rebooted for job {job}, as the appliance ordered: {error}"));
            return;
        }
    };
    screen.say(format!(
        "GROUNDSTATE: rebooting into the recovery system for job {job}, by boot entry {entry:04X}, once"
    ));
    let ordered = Command::new("systemctl").arg("reboot").status();
    if !ordered.as_ref().is_ok_and(std::process::ExitStatus::success) {
        screen.say(format!(
            "GROUNDSTATE: this system does not reboot ({ordered:?}); the boot entry is taken back"
        ));
        if let Err(error) = boot_entry::forget_next(efivars) {
            screen.say(format!("GROUNDSTATE: the boot entry could not be taken back: {error}"));
        }
    }
}

/// The enrolment that this ticket is for: the one begun before, or a new one with a new key.
fn begin_enrolment(state: &State, tpm: &mut Tpm, ticket: &EnrolmentTicket) -> Result<Enrolment> {
    if let Some(begun) = state.enrolment()?.filter(|enrolment| enrolment.job == ticket.job) {
        return Ok(begun);
    }
    let enrolment = Enrolment::begin(ticket.job, &tpm.fresh_seed()?);
    state.keep_enrolment(&enrolment)?;
    Ok(enrolment)
}

fn tell(
    screen: &Screen,
    state: &State,
    appliance: &Appliance,
    challenge: &Challenge,
    order: &EnrolOrder,
    enrolment: &mut Enrolment,
) -> Result<()> {
    let certificate_serial = enrolment.certificate_serial.clone().unwrap_or_default();
    screen.say(format!("enrolled with certificate {certificate_serial}"));
    let what = Reported::Enrolled { certificate_serial };
    let session = challenge.session.clone();
    appliance.report(&Report { session, job: order.job, step_seq: 0, what })?;
    enrolment.told = true;
    state.keep_enrolment(enrolment)
}
