//! The recovery system from start to reboot.
//!
//! ```text
//! drivers, network ─► hello ─► proof (TPM) or pairing (a person) ─► next ─┬─► wait ─► next
//!                                                                          ├─► restore ─► report … ─► reboot
//!                                                                          └─► reboot | stop
//! ```
//!
//! It must never touch a disk without an assignment from the pinned appliance and a manifest that the pinned image keys
//! signed.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use recovery_protocol::agent::{BootedAs, Hello, HelloReply};
use recovery_protocol::trust::RecoveryTrust;

use crate::client::{ApiError, Appliance};
use crate::inventory;
use crate::kernel_args::{APPLIANCE_PORT, KernelArgs};
use crate::net::{self, Connected};
use crate::pid1::{self, Pulse};
use crate::screen::Screen;

/// Where the boot kit's builder puts whom to trust.
const TRUST_PATH: &str = "/etc/groundstate/trust.json";

/// Runs as PID 1; ends in a reboot.
pub fn run() -> ! {
    let said = pid1::mount_all();
    let screen = Screen::consoles(concat!("GROUNDSTATE recovery system ", env!("CARGO_PKG_VERSION")));
    pid1::install_panic_hook(&screen);
    let pulse = Pulse::new();
    pid1::start_caretaker(&screen, &pulse);
    screen.show("The recovery system started.", "", "");
    said.iter().for_each(|line| screen.say(line));
    match recover(&screen, &pulse) {
        Ok(()) => pid1::restart(&screen),
        Err(error) => pid1::last_words(&screen, "This recovery stopped.", &chain(&error), pid1::LAST_WORDS),
    }
}

/// An error with everything that caused it.
fn chain(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

fn recover(screen: &Screen, pulse: &Pulse) -> anyhow::Result<()> {
    let args = KernelArgs::parse(&fs::read_to_string("/proc/cmdline").unwrap_or_default());
    pid1::start_drivers(screen);
    let connected = connect(screen, pulse, args);
    let text = fs::read(TRUST_PATH)?;
    let trust: RecoveryTrust = serde_json::from_slice(&text)?;
    let address = args.appliance.unwrap_or_else(|| from_lease(&connected));
    let appliance = Appliance::new(address, trust.appliance_spki_sha256.parse()?)?;
    std::thread::spawn(move || net::keep(&connected));
    loop {
        let hello = Hello {
            protocol: recovery_protocol::AGENT_PROTOCOL,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            booted_as: BootedAs::RecoverySystem,
            inventory: inventory::read(args),
            tpm: None,
            enrolment_ticket: None,
        };
        screen.say(format!("hello to {address}: {:?}", hello.inventory));
        match appliance.hello(&hello) {
            Ok(HelloReply::Wait { .. }) => {}
            Ok(other) => screen.say(format!("{other:?}")),
            Err(error @ ApiError::Unreachable { .. }) => screen.say(error.to_string()),
            Err(error) => screen.say(error.to_string()),
        }
        std::thread::sleep(Duration::from_secs(5));
    }
}

fn from_lease(connected: &Connected) -> SocketAddr {
    let lease = connected.lease;
    SocketAddr::new(lease.next_server.unwrap_or(lease.server).into(), APPLIANCE_PORT)
}

/// Tries until one card has an address. Says on the screen what it waits for; never gives up, since a cable may come.
fn connect(screen: &Screen, pulse: &Pulse, args: KernelArgs) -> Connected {
    let mut first_packet = true;
    let mut up = Vec::new();
    for round in 0.. {
        let interfaces = net::interfaces(args.boot_mac);
        for interface in &interfaces {
            if !up.contains(interface) {
                match net::bring_up(interface) {
                    Ok(()) => up.push(interface.clone()),
                    Err(error) => screen.say(error.to_string()),
                }
            }
        }
        if interfaces.is_empty() {
            std::thread::sleep(Duration::from_millis(100));
        }
        for interface in &interfaces {
            let on_packet = || {
                if std::mem::take(&mut first_packet) {
                    screen.say(format!("first packet {:.1} s after kernel start", pid1::kernel_seconds()));
                }
            };
            match net::connect(interface, round, on_packet) {
                Ok(connected) => {
                    let lease = connected.lease;
                    screen.say(format!(
                        "{} is {}/{} (from {})",
                        interface.mac, lease.address, lease.prefix, lease.server
                    ));
                    pulse.beat();
                    return connected;
                }
                Err(error) => screen.say(error.to_string()),
            }
        }
    }
    unreachable!("the rounds do not end")
}
