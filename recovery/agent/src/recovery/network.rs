//! The recovery system's way onto the network: try each card until one has an address, and say so meanwhile.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::kernel_args::{APPLIANCE_PORT, KernelArgs};
use crate::net::{self, Connected, Interface};
use crate::pid1::{self, Pulse};
use crate::screen::{Mood, Screen};

/// Without any link for this long, cards are asked even though they report none: some drivers cannot tell.
const LINK_WAIT: Duration = Duration::from_secs(10);

/// So often all cards are asked before a person is called: a switch may hold a port for most of a minute.
const ROUNDS_ALONE: usize = 2;

/// Tries until one card has an address. Gives up only by the caretaker's reboot, since a cable may come.
pub fn connect(screen: &Screen, pulse: &Pulse, args: KernelArgs) -> Connected {
    let started = Instant::now();
    let mut first_packet = true;
    let mut up: Vec<Interface> = Vec::new();
    let mut round = 0;
    loop {
        let interfaces = net::interfaces(args.boot_mac);
        for interface in &interfaces {
            // A card that is only just being registered says no; it is asked again in the next round.
            if !up.contains(interface) && net::bring_up(interface).is_ok() {
                up.push(interface.clone());
            }
        }
        let blind = started.elapsed() > LINK_WAIT;
        let linked: Vec<&Interface> = interfaces.iter().filter(|i| blind || net::has_link(i)).collect();
        for interface in &linked {
            let on_packet = || {
                if std::mem::take(&mut first_packet) {
                    screen.say(format!("first packet {:.1} s after kernel start", pid1::kernel_seconds()));
                }
            };
            match net::connect(interface, round, on_packet) {
                Ok(connected) => {
                    let lease = connected.lease;
                    let (address, prefix) = (lease.address, lease.prefix);
                    screen.say(format!("{} is {address}/{prefix}, given by {}", interface.mac, lease.server));
                    pulse.beat();
                    return connected;
                }
                Err(error) => no_address(screen, round, &error.to_string()),
            }
        }
        match linked.is_empty() {
            true => std::thread::sleep(Duration::from_millis(20)),
            false => round += 1,
        }
        if blind && interfaces.is_empty() {
            no_address(
                screen,
                ROUNDS_ALONE,
                "The kernel found no network card that the recovery system has a driver for.",
            );
        }
    }
}

fn no_address(screen: &Screen, round: usize, why: &str) {
    let mood = if round < ROUNDS_ALONE { Mood::Starting } else { Mood::Person };
    let next = "Check the cable and the switch port; the agent keeps trying each network card.";
    screen.show(mood, "No network address yet.", why, next);
}

/// The appliance when the command line names none: whoever serves the boot, else whoever gave the address.
pub fn appliance_of(connected: &Connected) -> SocketAddr {
    let lease = connected.lease;
    SocketAddr::new(lease.next_server.unwrap_or(lease.server).into(), APPLIANCE_PORT)
}
