//! The chain that is offered to an endpoint: what a person set, what worked on it before, and what is left after failed boots.
//!
//! ```text
//!   firmware, mode, boot kit ─► the chains that it could follow, in order ─┐
//!   Secure Boot: what its firmware will refuse to start ───────────────────┤
//!   history: worked when, failed when ─────────────────────────────────────┴─► choose ─► a chain and why, or none: all failed
//! ```
//!
//! A pure function; the appliance keeps the history. A chain fails when a whole loader was fetched and the agent never spoke. After
//! [`FAILURES_MOST`] failures under one boot ticket the next one is offered, and after the last one the first again: people switch
//! off what they take for dead, and a link may come up late. After [`ROUNDS_MOST`] rounds nothing is offered: an endpoint that
//! fetches loaders for ever helps nobody and hides that a person is needed. A new ticket begins anew, with the chain that worked
//! last, or else the one that failed least. What Secure Boot will refuse comes after what it will not, also where it worked before:
//! the switch may have been set since. It is offered all the same when the rest failed, since the endpoint's word may be old.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use crate::client::{Arch, Client, ClientClass};
use crate::dhcp::loader::Loaders;
use crate::policy::Chain;
use crate::trace::Mode;

/// Failed boots by one chain before the next is offered: one may be a power switch.
pub const FAILURES_MOST: usize = 2;
/// How often all chains are tried in turn under one boot ticket.
pub const ROUNDS_MOST: usize = 3;
/// Failures whose time is remembered, for each chain.
const REMEMBERED: usize = 8;

/// How one chain did on one endpoint. Times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tried {
    /// When it led to the agent last.
    pub worked: Option<u64>,
    /// When it failed since then, oldest first; the last few.
    pub failed: VecDeque<u64>,
}

/// How the chains did on one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History(BTreeMap<Chain, Tried>);

impl History {
    /// As it was kept.
    #[must_use]
    pub fn restored(tried: impl IntoIterator<Item = (Chain, Tried)>) -> Self {
        History(tried.into_iter().collect())
    }

    /// A boot by this chain came to its end.
    pub fn worked(&mut self, chain: Chain, at: u64) {
        self.0.insert(chain, Tried { worked: Some(at), failed: VecDeque::new() });
    }

    /// A boot by this chain stopped behind its loader.
    pub fn failed(&mut self, chain: Chain, at: u64) {
        let failed = &mut self.0.entry(chain).or_default().failed;
        if failed.len() >= REMEMBERED {
            failed.pop_front();
        }
        failed.push_back(at);
    }

    /// How a chain did.
    #[must_use]
    pub fn of(&self, chain: Chain) -> Option<&Tried> {
        self.0.get(&chain)
    }

    /// Every chain that was tried.
    pub fn all(&self) -> impl Iterator<Item = (Chain, &Tried)> {
        self.0.iter().map(|(chain, tried)| (*chain, tried))
    }

    fn failures_since(&self, chain: Chain, since: u64) -> usize {
        self.of(chain).map_or(0, |tried| tried.failed.iter().filter(|at| **at >= since).count())
    }
}

/// Why a chain is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A person set it.
    Set,
    /// It led to the agent before.
    Worked,
    /// It is the first that this firmware can follow.
    First,
    /// Those before it failed.
    Others,
    /// All failed, this one too.
    Again,
}

impl Why {
    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Why::Set => "set",
            Why::Worked => "worked",
            Why::First => "first",
            Why::Others => "others",
            Why::Again => "again",
        }
    }

    /// For a person, after the chain's name.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Why::Set => "a person set it",
            Why::Worked => "it worked before",
            Why::First => "the first that its firmware can follow",
            Why::Others => "the others failed",
            Why::Again => "once more, since each that its firmware can follow failed",
        }
    }
}

/// An endpoint's Secure Boot, as its agent told it last. A hint: it puts chains in order and bars none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecureBoot {
    /// It is off, or nothing was told.
    #[default]
    OffOrUnknown,
    /// It is on, and the key that signed the recovery system is in the firmware's `db`.
    WithOwnKey,
    /// It is on, and the recovery system is not signed, or by a key that is not in `db`.
    WithoutOwnKey,
}

impl SecureBoot {
    /// Whether the firmware will not start the first program of this chain. Debian's iPXE is not signed; its shim is, by Microsoft.
    fn refuses(self, chain: Chain) -> bool {
        match chain {
            Chain::Ipxe => self != SecureBoot::OffOrUnknown,
            Chain::UefiHttp => self == SecureBoot::WithoutOwnKey,
            Chain::Shim | Chain::Bios => false,
        }
    }
}

/// A firmware that asks for its first file.
#[derive(Debug, Clone, Copy)]
pub struct Firmware<'c> {
    /// What it says of itself.
    pub client: &'c Client,
    /// How the interface answers on which it asks.
    pub mode: Mode,
    /// What it lets start.
    pub secure_boot: SecureBoot,
}

/// The chain to offer. `set`: what a person put on record. `since`: when its boot ticket was issued, milliseconds since 1970. `None`:
/// each chain that this firmware could follow has failed too often.
#[must_use]
pub fn choose(
    firmware: Firmware<'_>,
    loaders: &Loaders,
    set: Option<Chain>,
    history: &History,
    since: u64,
) -> Option<(Chain, Why)> {
    if let Some(set) = set {
        return Some((set, Why::Set));
    }
    let able = able(firmware, loaders);
    let Some(first) = able.first().copied() else {
        // Nothing fits: it is refused by name where the file is looked for.
        return Some((Chain::Ipxe, Why::First));
    };
    let worked = |chain: Chain| history.of(chain).and_then(|tried| tried.worked);
    let failures = |chain: Chain| history.of(chain).map_or(0, |tried| tried.failed.len());
    let round = |chain: Chain| history.failures_since(chain, since) / FAILURES_MOST;
    let left = able.into_iter().filter(|chain| round(*chain) < ROUNDS_MOST);
    // What failed often, long ago and without ever having worked, comes after what did not.
    let refused = |chain: Chain| firmware.secure_boot.refuses(chain);
    let place = |chain: &Chain| {
        (round(*chain), refused(*chain), Reverse(worked(*chain)), failures(*chain) >= FAILURES_MOST)
    };
    let chain = left.min_by_key(place)?;
    let why = match worked(chain) {
        _ if round(chain) > 0 => Why::Again,
        Some(_) => Why::Worked,
        None if chain == first => Why::First,
        None => Why::Others,
    };
    Some((chain, why))
}

/// The chains that a firmware could follow, in the order in which they are tried.
fn able(firmware: Firmware<'_>, loaders: &Loaders) -> Vec<Chain> {
    let Firmware { client, mode, secure_boot } = firmware;
    let arch = client.arch.unwrap_or(Arch::Bios);
    let order: &[Chain] = match client.class {
        ClientClass::HttpBoot => &[Chain::UefiHttp, Chain::Shim],
        ClientClass::Pxe if arch == Arch::Bios => &[Chain::Bios],
        // B12: GRUB behind shim does not read ProxyDHCP offers, a signed recovery system behind it need not.
        ClientClass::Pxe if mode == Mode::Full || loaders.has_signed_shim() => &[Chain::Ipxe, Chain::Shim],
        ClientClass::Pxe => &[Chain::Ipxe],
        // Already running: it gets its script.
        ClientClass::Ipxe { .. } | ClientClass::Agent | ClientClass::Plain => &[],
    };
    let leads = |chain: &Chain| loaders.boot_file(client, *chain, Ipv4Addr::UNSPECIFIED, 80).is_ok();
    let mut able: Vec<Chain> = order.iter().copied().filter(leads).collect();
    able.sort_by_key(|chain| secure_boot.refuses(*chain));
    able
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(class: ClientClass, arch: Arch) -> Client {
        Client { class, arch: Some(arch), ..Client::bare([2, 0, 0, 0, 0, 1].into(), None) }
    }

    fn uefi(history: &History, mode: Mode, since: u64) -> Option<(Chain, Why)> {
        let client = &client(ClientClass::Pxe, Arch::EfiX64);
        let firmware = Firmware { client, mode, secure_boot: SecureBoot::OffOrUnknown };
        choose(firmware, &Loaders::debian(), None, history, since)
    }

    #[test]
    fn g4_f1_after_two_failed_boots_the_next_chain_is_offered_and_then_the_first_again() {
        let mut history = History::default();
        assert_eq!(uefi(&history, Mode::Full, 0), Some((Chain::Ipxe, Why::First)));
        history.failed(Chain::Ipxe, 10);
        assert_eq!(
            uefi(&history, Mode::Full, 0),
            Some((Chain::Ipxe, Why::First)),
            "once may be a power switch"
        );
        history.failed(Chain::Ipxe, 20);
        assert_eq!(uefi(&history, Mode::Full, 0), Some((Chain::Shim, Why::Others)));
        let alone = uefi(&history, Mode::Proxy, 0);
        assert_eq!(alone, Some((Chain::Ipxe, Why::Again)), "GRUB reads no proxy offers: there is no other");
        history.failed(Chain::Shim, 30);
        history.failed(Chain::Shim, 40);
        assert_eq!(uefi(&history, Mode::Full, 0), Some((Chain::Ipxe, Why::Again)));
        assert_eq!(
            uefi(&history, Mode::Full, 41),
            Some((Chain::Ipxe, Why::First)),
            "a new ticket begins anew"
        );
    }

    #[test]
    fn what_worked_is_offered_first_and_what_failed_only_after_the_rest() {
        let mut history = History::default();
        history.failed(Chain::Ipxe, 10);
        history.failed(Chain::Ipxe, 20);
        assert_eq!(uefi(&history, Mode::Full, 30), Some((Chain::Shim, Why::Others)), "known to fail");
        history.worked(Chain::Shim, 30);
        assert_eq!(uefi(&history, Mode::Full, 40), Some((Chain::Shim, Why::Worked)));
        history.worked(Chain::Ipxe, 50);
        assert_eq!(uefi(&history, Mode::Full, 60), Some((Chain::Ipxe, Why::Worked)), "the last that worked");
        history.failed(Chain::Ipxe, 70);
        history.failed(Chain::Ipxe, 80);
        assert_eq!(uefi(&history, Mode::Full, 60), Some((Chain::Shim, Why::Worked)));
    }

    #[test]
    fn a_firmware_is_only_offered_what_it_can_follow_and_a_persons_word_counts() {
        let loaders = Loaders::debian();
        let mut history = History::default();
        let ask = |class, arch, set, history: &History| {
            let (client, secure_boot) = (&client(class, arch), SecureBoot::OffOrUnknown);
            choose(Firmware { client, mode: Mode::Full, secure_boot }, &loaders, set, history, 0)
        };
        assert_eq!(
            ask(ClientClass::HttpBoot, Arch::EfiX64, None, &history),
            Some((Chain::UefiHttp, Why::First))
        );
        assert_eq!(ask(ClientClass::Pxe, Arch::Bios, None, &history), Some((Chain::Bios, Why::First)));
        assert_eq!(ask(ClientClass::Pxe, Arch::EfiArm64, None, &history), Some((Chain::Ipxe, Why::First)));
        for at in 0..9 {
            history.failed(Chain::Ipxe, at);
            history.failed(Chain::UefiHttp, at);
        }
        let set = ask(ClientClass::Pxe, Arch::EfiX64, Some(Chain::Ipxe), &history);
        assert_eq!(set, Some((Chain::Ipxe, Why::Set)));
        assert_eq!(ask(ClientClass::HttpBoot, Arch::EfiX64, None, &history), None);
        let running = ask(ClientClass::Ipxe { http: true }, Arch::EfiX64, None, &history);
        assert!(running.is_some(), "iPXE that runs gets its script");
    }

    #[test]
    fn b12_beside_a_sites_dhcp_shim_is_offered_where_a_signed_system_lies_behind_it() {
        let client = client(ClientClass::Pxe, Arch::EfiX64);
        let offered = |loaders: &Loaders| {
            let secure_boot = SecureBoot::WithoutOwnKey;
            let firmware = Firmware { client: &client, mode: Mode::Proxy, secure_boot };
            choose(firmware, loaders, None, &History::default(), 0).map(|(chain, _)| chain)
        };
        assert_eq!(offered(&Loaders::debian()), Some(Chain::Ipxe), "GRUB would ask the site's DHCP");
        assert_eq!(offered(&Loaders::debian().with_http_shim("signed/shimx64.efi")), Some(Chain::Shim));
    }

    #[test]
    fn f1_what_secure_boot_refuses_is_offered_after_what_it_does_not() {
        use SecureBoot::{OffOrUnknown, WithOwnKey, WithoutOwnKey};
        let signed = Loaders::debian().with_http_shim("signed/shimx64.efi");
        let offered = |class, loaders: &Loaders, secure_boot, history: &History| {
            let client = &client(class, Arch::EfiX64);
            choose(Firmware { client, mode: Mode::Full, secure_boot }, loaders, None, history, 0)
        };
        let first = |class, loaders, secure_boot| {
            offered(class, loaders, secure_boot, &History::default()).expect("nothing failed yet")
        };
        for (secure_boot, by_http, by_pxe) in [
            (OffOrUnknown, Chain::UefiHttp, Chain::Ipxe),
            (WithOwnKey, Chain::UefiHttp, Chain::Shim),
            (WithoutOwnKey, Chain::Shim, Chain::Shim),
        ] {
            assert_eq!(first(ClientClass::HttpBoot, &signed, secure_boot), (by_http, Why::First));
            assert_eq!(first(ClientClass::Pxe, &signed, secure_boot), (by_pxe, Why::First));
        }
        let unsigned = first(ClientClass::HttpBoot, &Loaders::debian(), WithoutOwnKey);
        assert_eq!(unsigned.0, Chain::UefiHttp, "there is no other: shim over HTTP needs a signed kit");

        // It worked, then Secure Boot was switched on.
        let mut history = History::default();
        history.worked(Chain::UefiHttp, 5);
        let now = |history: &History, secure_boot| {
            offered(ClientClass::HttpBoot, &signed, secure_boot, history).map(|(chain, _)| chain)
        };
        assert_eq!(now(&history, OffOrUnknown), Some(Chain::UefiHttp));
        assert_eq!(now(&history, WithoutOwnKey), Some(Chain::Shim));
        history.failed(Chain::Shim, 10);
        history.failed(Chain::Shim, 20);
        assert_eq!(now(&history, WithoutOwnKey), Some(Chain::UefiHttp), "the endpoint's word may be old");
    }

    proptest! {
        #[test]
        fn an_endpoint_that_never_boots_is_offered_only_so_many_loaders(full in any::<bool>(), worked in 0..3_u8) {
            let mut history = History::default();
            match worked {
                0 => {}
                1 => history.worked(Chain::Ipxe, 1),
                _ => history.worked(Chain::Shim, 1),
            }
            let mode = if full { Mode::Full } else { Mode::Proxy };
            let mut offers = 0;
            while let Some((chain, _)) = uefi(&history, mode, 10) {
                offers += 1;
                prop_assert!(offers <= 2 * FAILURES_MOST * ROUNDS_MOST);
                history.failed(chain, 10 + offers as u64);
            }
            let chains = if full { 2 } else { 1 };
            prop_assert_eq!(offers, chains * FAILURES_MOST * ROUNDS_MOST);
        }
    }
}
