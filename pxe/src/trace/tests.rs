//! Traces of real orders of packets, each diagnosis, and bounds under random and hostile events.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{DhcpMode, FullDhcp};
use crate::event::Protocol;

const US: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);

fn mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    [2, 0, a, b, c, d].into()
}

/// One endpoint that boots, and the traces that hear of it.
struct Boot {
    traces: Traces,
    at: u64,
    arch: Arch,
    ended: Vec<Ended>,
}

impl Boot {
    fn new() -> Self {
        let roles = Roles::new(&Loaders::debian(), &["vmlinuz", "recovery.efi"], &["initrd.img"]);
        Boot { traces: Traces::new(roles), at: 1_000_000, arch: Arch::EfiX64, ended: Vec::new() }
    }

    fn client(&self, class: ClientClass) -> Client {
        Client { mac: mac(1), machine: None, arch: Some(self.arch), class, addr: None }
    }

    fn tell(mut self, event: BootEvent) -> Self {
        self.at += 500;
        self.ended.extend(self.traces.take(self.at, &event, true));
        self
    }

    fn later(mut self, seconds: u64) -> Self {
        self.at += seconds * 1000;
        self
    }

    fn discover(self, class: ClientClass) -> Self {
        let client = self.client(class);
        self.tell(BootEvent::DiscoverSeen { client, interface: US, secs: 0, relay: None })
    }

    fn offer(self, file: Option<&str>) -> Self {
        let (client, file) = (self.client(ClientClass::Pxe), file.map(Into::into));
        self.tell(BootEvent::OfferSent { client, addr: None, file })
    }

    fn ack(self, stage: Stage) -> Self {
        let (client, file) = (self.client(ClientClass::Pxe), Some("snponly.efi".into()));
        self.tell(BootEvent::AckSent { client, stage, file })
    }

    fn foreign(self) -> Self {
        self.tell(BootEvent::ForeignDhcpServer { server: OTHER, interface: US, client: mac(1) })
    }

    fn begin(self, name: &str) -> Self {
        let (protocol, options) = (Protocol::Tftp, "blksize 1468".to_owned());
        self.tell(BootEvent::TransferStarted {
            fetcher: fetcher(),
            protocol,
            name: name.into(),
            size: 9,
            options,
        })
    }

    fn fetch(self, name: &str) -> Self {
        let (fetcher, protocol, name) = (fetcher(), Protocol::Tftp, name.to_owned());
        let took = Duration::from_millis(5);
        self.begin(&name).tell(BootEvent::TransferFinished {
            fetcher,
            protocol,
            name,
            bytes: 9,
            took,
            resent: 0,
        })
    }

    fn abort(self, name: &str, reason: Abort) -> Self {
        let (fetcher, protocol, name) = (fetcher(), Protocol::Tftp, name.to_owned());
        self.begin(&name).tell(BootEvent::TransferAborted { fetcher, protocol, name, bytes: 3, reason })
    }

    fn refuse(self, stage: Stage, reason: Refusal) -> Self {
        self.tell(BootEvent::Refused { mac: Some(mac(1)), peer: None, stage, reason })
    }

    fn trace(&self) -> &Trace {
        self.traces.get(&mac(1)).expect("a trace")
    }

    fn steps(&self) -> Vec<&'static str> {
        self.trace().hops().iter().map(|hop| hop.step.name()).collect()
    }

    fn says(&self, around: &Surroundings<'_>) -> Diagnosis {
        diagnose(Some(self.trace()), around, self.at)
    }

    fn code(&self, mode: Mode) -> Cow<'static, str> {
        self.says(&Surroundings { mode, ticket: true, ..Surroundings::default() }).code
    }
}

fn fetcher() -> Fetcher {
    Fetcher { peer: SocketAddr::from(([10, 77, 0, 50], 1234)), mac: Some(mac(1)) }
}

/// As in the lab: EDK2 beside a site's DHCP, then iPXE.
fn to_the_loader() -> Boot {
    let boot = Boot::new().discover(ClientClass::Pxe).offer(None).foreign().ack(Stage::BootServer);
    boot.abort("snponly.efi", Abort::Probe).fetch("snponly.efi")
}

fn to_the_kernel() -> Boot {
    let boot =
        to_the_loader().discover(ClientClass::Ipxe { http: true }).offer(Some("http://10.77.0.1/boot.ipxe"));
    boot.fetch("boot.ipxe").fetch("recovery.efi").discover(ClientClass::Agent)
}

#[test]
fn a_boot_is_its_hops_in_order_with_time_bytes_and_outcome() {
    let mut boot = to_the_kernel();
    assert_eq!(boot.traces.agent(boot.at + 1, &[mac(1), mac(2)]), [(mac(1), Some(Chain::Ipxe))]);
    let steps = [
        "discover", "offer", "request", "4011", "options", "loader", "loader", "discover", "offer", "config",
        "kernel", "discover", "agent",
    ];
    let found = boot.steps();
    let without: Vec<_> = found.iter().copied().filter(|step| *step != "options").collect();
    assert_eq!(without, steps.iter().copied().filter(|step| *step != "options").collect::<Vec<_>>());
    assert!(found.contains(&"options"));
    let hops = boot.trace().hops();
    assert!(hops.windows(2).all(|pair| pair[0].at <= pair[1].at), "{hops:?}");
    let loader: Vec<_> = hops.iter().filter(|hop| hop.step == Step::Loader).collect();
    assert_eq!(loader[0].outcome, Outcome::SizeAsked);
    assert_eq!(
        (loader[1].bytes, &loader[1].outcome, loader[1].until - loader[1].at),
        (9, &Outcome::Done, 500)
    );
    assert_eq!(boot.says(&Surroundings::default()).code, "booted");
}

#[test]
fn b12_b13_f2_g4_loader_fetched_then_silence_names_secure_boot() {
    let around = Surroundings { ticket: true, ..Surroundings::default() };
    let boot = to_the_loader();
    assert_eq!(boot.says(&around).level, Level::Waiting);
    let found = boot.later(31).says(&around);
    assert_eq!(
        (found.code.clone(), found.level, found.missing),
        ("loader-refused".into(), Level::Trouble, Some(Step::Config))
    );
    assert!(found.cause.contains("snponly.efi") && found.cause.contains("Secure Boot"), "{found:?}");
    assert!(found.remedy.contains("--chain shim"));
    // What helps depends on the network and on the chain that was refused.
    let remedy = |boot: Boot, mode| boot.later(91).says(&Surroundings { mode, ..around }).remedy;
    assert!(remedy(to_the_loader(), Mode::Full).starts_with("choose the chain for Secure Boot"));
    assert!(remedy(to_the_loader(), Mode::Proxy).starts_with("switch Secure Boot off"));
    let shim = || Boot::new().discover(ClientClass::Pxe).fetch("shimx64.efi");
    assert!(remedy(shim(), Mode::Full).contains("third-party"));
    let http = || Boot::new().discover(ClientClass::HttpBoot).fetch("recovery.efi");
    assert!(remedy(http(), Mode::Full).starts_with("let its firmware boot by PXE"));
    assert!(remedy(http(), Mode::Proxy).starts_with("switch Secure Boot off"));

    let bios = Boot { arch: Arch::Bios, ..Boot::new() }.discover(ClientClass::Pxe).fetch("undionly.kpxe");
    assert_eq!(bios.trace().chain(), Some(Chain::Bios));
    assert_eq!(bios.later(31).code(Mode::Full), "loader-silent");
    let ipxe = to_the_loader().discover(ClientClass::Ipxe { http: true }).later(31);
    assert_eq!(ipxe.code(Mode::Proxy), "script-not-fetched");
    assert_eq!(to_the_loader().fetch("boot.ipxe").later(31).code(Mode::Proxy), "script-stuck");
    assert_eq!(shim().later(31).code(Mode::Full), "loader-refused");
    assert_eq!(shim().later(31).code(Mode::Proxy), "shim-went-elsewhere");
    assert_eq!(shim().fetch("grubx64.efi").later(31).code(Mode::Proxy), "grub-beside-dhcp");
    assert_eq!(shim().fetch("grubx64.efi").later(31).code(Mode::Full), "second-stage-silent");
}

#[test]
fn a_refused_loader_is_still_named_while_the_firmware_tries_its_next_entry() {
    let boot = to_the_loader()
        .later(66)
        .discover(ClientClass::HttpBoot)
        .offer(Some("http://10.77.0.1/recovery.efi"));
    assert_eq!((boot.ended.len(), boot.traces.mode(boot.trace())), (1, Mode::Proxy));
    let ended = &boot.ended[0];
    assert_eq!(
        (ended.chain, ended.reached, ended.diagnosis.code.clone()),
        (Some(Chain::Ipxe), Step::Loader, "loader-refused".into())
    );
    assert!(ended.failed());
    assert_eq!(boot.steps(), ["discover", "offer"]);
    assert_eq!(boot.code(Mode::Proxy), "loader-refused");
    let around = Surroundings { ticket: true, exhausted: true, ..Surroundings::default() };
    let found = boot.says(&around);
    assert_eq!((found.code.clone(), found.level), ("chains-exhausted".into(), Level::Trouble));
    assert!(found.cause.contains("Secure Boot"), "{found:?}");
    assert_ne!(boot.says(&Surroundings { ticket: false, ..around }).code, "chains-exhausted");
    let boot = boot.fetch("recovery.efi");
    assert_eq!((boot.trace().chain(), boot.code(Mode::Proxy)), (Some(Chain::UefiHttp), "underway".into()));
}

#[test]
fn b12_how_an_attempt_ended_is_said_of_the_mode_it_ran_in() {
    for (dhcp, code) in [
        (DhcpMode::Proxy, "grub-beside-dhcp"),
        (DhcpMode::Full(FullDhcp::pool(OTHER, OTHER)), "second-stage-silent"),
    ] {
        let mut boot = Boot::new();
        boot.traces = boot.traces.on(&[Interface { name: "eth0".into(), addr: US, prefix: 24, dhcp }]);
        let boot = boot
            .discover(ClientClass::Pxe)
            .fetch("shimx64.efi")
            .fetch("grubx64.efi")
            .discover(ClientClass::Pxe);
        assert_eq!(
            (boot.ended[0].diagnosis.code.clone(), boot.ended[0].chain),
            (code.into(), Some(Chain::Shim))
        );
    }
}

#[test]
fn a_chain_fails_only_where_its_loader_was_fetched_whole_and_no_agent_spoke() {
    let next =
        |boot: Boot| boot.later(300).discover(ClientClass::Pxe).ended.pop().map(|ended| ended.failed());
    assert_eq!(next(Boot::new().discover(ClientClass::Pxe).offer(None)), Some(false));
    assert_eq!(
        next(Boot::new().discover(ClientClass::Pxe).abort("snponly.efi", Abort::PortClosed)),
        Some(false)
    );
    assert_eq!(next(to_the_kernel()), Some(true));
    let mut came = to_the_kernel();
    came.traces.agent(came.at, &[mac(1)]);
    assert_eq!(next(came), Some(false));
}

#[test]
fn kernel_fetched_and_no_agent_is_named_after_a_longer_while() {
    let boot = to_the_kernel();
    assert_eq!(boot.says(&Surroundings::default()).level, Level::Waiting);
    let boot = boot.later(60);
    assert_eq!(boot.code(Mode::Proxy), "underway");
    assert_eq!(boot.later(31).code(Mode::Proxy), "agent-cut-off");
    let started = to_the_loader().fetch("boot.ipxe").fetch("recovery.efi").later(91);
    assert_eq!(started.code(Mode::Proxy), "agent-silent");
    let http = Boot::new().discover(ClientClass::HttpBoot).fetch("recovery.efi").later(91);
    assert_eq!(http.code(Mode::Proxy), "loader-refused");
}

#[test]
fn b3_b4_c3_offers_that_are_not_taken_name_who_is_in_the_way() {
    let ask = |boot: Boot| boot.discover(ClientClass::Pxe).offer(None);
    let thrice = || ask(ask(ask(Boot::new())));
    assert_eq!(thrice().steps(), ["discover", "offer"], "counted, not repeated");
    assert_eq!(thrice().trace().hops()[0].count, 3);
    assert_eq!(thrice().code(Mode::Proxy), "no-address");
    assert_eq!(thrice().code(Mode::Full), "offers-dropped");
    let with = |mode, dhcp: &[Ipv4Addr], boot: &[Ipv4Addr]| {
        thrice().says(&Surroundings { mode, ticket: true, dhcp, boot, ..Surroundings::default() })
    };
    assert_eq!(with(Mode::Proxy, &[OTHER], &[]).code, "offers-not-taken");
    assert_eq!(with(Mode::Full, &[OTHER], &[]).code, "other-dhcp");
    let two = with(Mode::Proxy, &[], &[OTHER]);
    assert_eq!(two.code, "two-boot-servers");
    assert!(two.cause.contains("10.77.0.9") && two.also.iter().any(|also| also.what.contains("10.77.0.9")));
    assert_eq!(ask(Boot::new()).code(Mode::Proxy), "underway");
    assert_eq!(ask(Boot::new()).later(31).code(Mode::Proxy), "no-address");
    assert_eq!(ask(Boot::new()).foreign().later(31).code(Mode::Proxy), "boot-server-not-asked");
    assert_eq!(
        ask(Boot::new()).foreign().ack(Stage::BootServer).later(31).code(Mode::Proxy),
        "file-not-asked"
    );
    assert_eq!(ask(Boot::new()).ack(Stage::Request).later(31).code(Mode::Full), "file-not-asked");
}

#[test]
fn d2_c8_d7_transfers_that_stand_or_end_early_are_named() {
    let asked = || Boot::new().discover(ClientClass::Pxe).ack(Stage::Request);
    assert_eq!(asked().abort("snponly.efi", Abort::Probe).later(31).code(Mode::Full), "size-only");
    assert_eq!(
        asked().abort("snponly.efi", Abort::Silent { tries: 6 }).later(31).code(Mode::Full),
        "transfer-broken"
    );
    assert_eq!(asked().begin("snponly.efi").later(31).code(Mode::Full), "transfer-broken");
    assert_eq!(asked().begin("snponly.efi").code(Mode::Full), "underway");
    let closed = asked().abort("snponly.efi", Abort::PortClosed).fetch("snponly.efi");
    assert_eq!(closed.code(Mode::Full), "underway", "the second try went through");
}

#[test]
fn refusals_are_named_unless_the_boot_went_on() {
    let asks = || Boot::new().discover(ClientClass::Pxe);
    let without = Surroundings { mode: Mode::Full, ..Surroundings::default() };
    let sent = asks().refuse(Stage::Discover, Refusal::NoTicket);
    assert_eq!((sent.says(&without).code, sent.says(&without).level), ("no-ticket".into(), Level::Fine));
    assert_eq!(sent.code(Mode::Full), "underway", "the ticket came later");
    // B21: seen in the lab with OVMF, which tries its next entry at once.
    for name in ["no-boot-ticket", "http://10.77.0.1/no-boot-ticket"] {
        let away = asks().offer(Some(name)).later(31);
        assert_eq!((away.says(&without).code, away.says(&without).level), ("no-ticket".into(), Level::Fine));
        assert_eq!(away.code(Mode::Full), "underway");
        let again = away.discover(ClientClass::Pxe).offer(Some("snponly.efi")).later(31);
        assert_ne!(again.says(&without).code, "no-ticket");
    }
    assert_eq!(asks().refuse(Stage::Discover, Refusal::Observing).code(Mode::Observe), "observing");
    let arm = Boot { arch: Arch::EfiArm64, ..Boot::new() }.discover(ClientClass::Pxe);
    let arm = arm.refuse(Stage::Discover, Refusal::NoLoader("…".into()));
    let found = arm.says(&without);
    assert_eq!(found.code, "no-loader");
    assert!(found.cause.contains("UEFI arm64"), "{found:?}");
    assert_eq!(asks().refuse(Stage::Discover, Refusal::PoolEmpty).code(Mode::Full), "pool-empty");
    let tried = to_the_loader().refuse(Stage::Tftp, Refusal::NotFound("autoexec.ipxe".into()));
    let tried = tried.refuse(Stage::Tftp, Refusal::NotFound("other.ipxe".into()));
    assert_eq!(tried.code(Mode::Proxy), "underway", "loaders only try names");
    assert_eq!(
        tried.trace().hops().last().map(|hop| (hop.count, hop.what.contains("other"))),
        Some((2, true))
    );
}

#[test]
fn c1_c5_a_port_held_back_and_a_relay_are_noticed() {
    let boot = Boot::new();
    let client = boot.client(ClientClass::Pxe);
    let boot = boot.tell(BootEvent::DiscoverSeen { client, interface: US, secs: 42, relay: Some(OTHER) });
    let noticed = boot.says(&Surroundings::default()).also;
    let codes: Vec<_> = noticed.iter().map(|noticed| (&*noticed.code, noticed.value.as_str())).collect();
    assert_eq!(codes, [("held-back", "42"), ("relayed", "10.77.0.9")]);
    let also: String = noticed.iter().map(|noticed| noticed.what.as_str()).collect();
    assert!(also.contains("42 s") && also.contains("portfast") && also.contains("relay 10.77.0.9"), "{also}");
    assert_eq!(
        diagnose(None, &Surroundings { ticket: true, ..Surroundings::default() }, 0).code,
        "nothing-seen"
    );
    assert_eq!(diagnose(None, &Surroundings::default(), 0).level, Level::Fine);
}

#[test]
fn other_peoples_dhcp_makes_no_trace() {
    let boot = Boot::new().discover(ClientClass::Plain).offer(None);
    let client = boot.client(ClientClass::Plain);
    let boot = Boot::new().tell(BootEvent::OfferSent { client, addr: None, file: None });
    let boot = boot.discover(ClientClass::Plain).refuse(Stage::Discover, Refusal::NotBoot);
    assert!(boot.traces.get(&mac(1)).is_none());
}

#[test]
fn a_flood_of_made_up_addresses_takes_no_place_of_an_endpoint_on_record() {
    let mut boot = to_the_loader();
    for n in 0..5_000 {
        let client = Client { mac: mac(1_000 + n), ..boot.client(ClientClass::Pxe) };
        let event = BootEvent::DiscoverSeen { client, interface: US, secs: 0, relay: None };
        boot.traces.take(boot.at + u64::from(n), &event, false);
    }
    assert_eq!(boot.traces.all().count(), STRANGERS_MOST + 1);
    assert!(boot.traces.get(&mac(1)).is_some());
    assert!(
        boot.traces.get(&mac(5_999)).is_some() && boot.traces.get(&mac(1_000)).is_none(),
        "the newest stay"
    );
    // Put on record, a stranger leaves room for another one.
    let client = Client { mac: mac(5_999), ..boot.client(ClientClass::Pxe) };
    let event = BootEvent::DiscoverSeen { client, interface: US, secs: 0, relay: None };
    boot.traces.take(boot.at + 9_000, &event, true);
    assert_eq!((boot.traces.strangers.len(), boot.traces.known.len()), (STRANGERS_MOST - 1, 2));
}

#[test]
fn a_loaders_own_words_are_kept_for_endpoints_on_record_only_bounded_and_clean() {
    let mut boot = to_the_loader();
    boot.traces.say(boot.at, &mac(1), "net0: \u{1b}[31mlink down\n");
    assert_eq!(boot.trace().said().next().map(|(_, text)| text.as_str()), Some("net0:  [31mlink down"));
    for n in 0..100 {
        boot.traces.say(boot.at, &mac(1), &format!("{n}{}", "x".repeat(9_000)));
        boot.traces.say(boot.at, &mac(7), "a stranger");
    }
    assert_eq!(boot.trace().said().count(), SAID_MOST);
    assert!(boot.trace().said().all(|(_, text)| text.len() <= 2 * WHAT_MOST));
    assert!(boot.traces.get(&mac(7)).is_none());
    // A stranger may have a trace; its words are nobody's business.
    let client = Client { mac: mac(7), ..boot.client(ClientClass::Pxe) };
    boot.traces.take(
        boot.at,
        &BootEvent::DiscoverSeen { client, interface: US, secs: 0, relay: None },
        false,
    );
    boot.traces.say(boot.at, &mac(7), "a stranger");
    assert_eq!(boot.traces.get(&mac(7)).map(|trace| trace.said().count()), Some(0));
}

#[test]
fn an_attempt_that_never_ends_keeps_its_newest_hops() {
    let mut boot = to_the_loader();
    for tries in 0..500 {
        boot = boot.abort("snponly.efi", Abort::Silent { tries });
    }
    let hops = boot.trace().hops();
    assert_eq!(hops.len(), HOPS_MOST);
    assert!(matches!(&hops[HOPS_MOST - 1].outcome, Outcome::Broken(why) if why.contains("499")), "{hops:?}");
}

fn any_event() -> impl Strategy<Value = (u32, u8, u8, u64)> {
    (0..4_u32, 0..11_u8, any::<u8>(), 0..200_000_u64)
}

/// One of all kinds of events, of one of a few endpoints.
fn event(who: u32, kind: u8, salt: u8) -> BootEvent {
    let classes = [
        ClientClass::Pxe,
        ClientClass::HttpBoot,
        ClientClass::Ipxe { http: true },
        ClientClass::Agent,
        ClientClass::Plain,
    ];
    let (class, arch) = (classes[usize::from(salt) % 5], Some(Arch::from_code(u16::from(salt % 12))));
    let client = Client { mac: mac(who), machine: None, arch, class, addr: None };
    let fetcher =
        Fetcher { peer: SocketAddr::from(([10, 77, 0, 50], 1)), mac: Some(mac(who)).filter(|_| salt != 7) };
    let names = [
        "snponly.efi",
        "shimx64.efi",
        "grubx64.efi",
        "boot.ipxe",
        "vmlinuz",
        "initrd.img",
        "x",
        "recovery.efi",
    ];
    let (protocol, name) = (Protocol::Tftp, names[usize::from(salt) % 8].to_owned());
    let reasons =
        [Refusal::NoTicket, Refusal::NotFound(name.clone()), Refusal::NoLoader("x".into()), Refusal::NotBoot];
    let stages =
        [Stage::Discover, Stage::Request, Stage::BootServer, Stage::Tftp, Stage::Http, Stage::RouterSolicit];
    let (reason, stage) = (reasons[usize::from(salt) % 4].clone(), stages[usize::from(salt) % 6]);
    match kind {
        0 | 1 => BootEvent::DiscoverSeen { client, interface: US, secs: salt.into(), relay: None },
        2 => BootEvent::OfferSent { client, addr: None, file: None },
        3 => BootEvent::AckSent { client, stage, file: Some("x".repeat(400)) },
        4 => BootEvent::NakSent { client, wanted: OTHER },
        5 => BootEvent::TransferStarted { fetcher, protocol, name, size: 1, options: String::new() },
        6 | 7 => BootEvent::TransferFinished {
            fetcher,
            protocol,
            name,
            bytes: salt.into(),
            took: Duration::ZERO,
            resent: 0,
        },
        8 => {
            let reason = if salt.is_multiple_of(2) { Abort::Probe } else { Abort::PortClosed };
            BootEvent::TransferAborted { fetcher, protocol, name, bytes: salt.into(), reason }
        }
        9 => BootEvent::Refused { mac: Some(mac(who)), peer: None, stage, reason },
        _ => BootEvent::ForeignDhcpServer {
            server: Ipv4Addr::from(u32::from(salt)),
            interface: US,
            client: mac(who),
        },
    }
}

proptest! {
    #[test]
    fn whatever_comes_traces_stay_bounded_in_order_and_have_a_diagnosis(
        events in proptest::collection::vec(any_event(), 0..400),
        known in any::<bool>(),
        ticket in any::<bool>(),
    ) {
        let mut boot = Boot::new();
        for (who, kind, salt, wait) in events {
            boot.at += wait;
            let ended = boot.traces.take(boot.at, &event(who, kind, salt), known);
            if let Some(ended) = ended {
                prop_assert!(ended.at.0 <= ended.at.1 && ended.at.1 <= boot.at);
                prop_assert!(ended.diagnosis.level != Level::Waiting || ended.diagnosis.code == "nothing-seen", "{ended:?}");
            }
            if salt == 3 { boot.traces.agent(boot.at, &[mac(who)]); }
        }
        for (_, trace) in boot.traces.all() {
            prop_assert!(!trace.hops.is_empty() && trace.hops.len() <= HOPS_MOST);
            prop_assert!(trace.earlier().count() <= EARLIER_MOST && trace.foreign.len() <= FOREIGN_MOST);
            prop_assert!(trace.hops.windows(2).all(|pair| pair[0].at <= pair[1].at));
            prop_assert!(trace.hops.iter().all(|hop| hop.at <= hop.until && hop.count > 0 && hop.what.len() <= 4 * WHAT_MOST));
            for mode in [Mode::Observe, Mode::Proxy, Mode::Full] {
                let around = Surroundings { mode, ticket, ..Surroundings::default() };
                for now in [0, boot.at, boot.at + 1_000_000] {
                    let found = diagnose(Some(trace), &around, now);
                    prop_assert!(!found.cause.is_empty());
                    prop_assert_eq!(found.level == Level::Trouble, !found.remedy.is_empty(), "{:?}", found);
                }
                // Long after, nobody is told to wait, but for a ticket that came after the refusal.
                let found = diagnose(Some(trace), &around, boot.at + 1_000_000);
                prop_assert!(found.level != Level::Waiting || ticket, "{:?}", found);
            }
        }
    }
}

#[test]
fn what_is_kept_comes_back_as_it_was_and_a_transfer_that_ran_was_broken() {
    let mut before = Traces::new(Roles::new(&Loaders::debian(), &["recovery.efi"], &[]));
    let ask = |last: u8| BootEvent::DiscoverSeen {
        client: Client {
            class: ClientClass::Pxe,
            arch: Some(Arch::EfiX64),
            ..Client::bare([2, 0, 0, 0, 0, last].into(), None)
        },
        interface: Ipv4Addr::LOCALHOST,
        secs: 0,
        relay: None,
    };
    let mac: Mac = [2, 0, 0, 0, 0, 1].into();
    for last in [1, 2] {
        before.take(1000 + u64::from(last), &ask(last), true);
    }
    before.take(1003, &ask(9), false);
    let fetcher = Fetcher { peer: ([10, 77, 0, 50], 1000).into(), mac: Some(mac) };
    let protocol = crate::event::Protocol::Tftp;
    let (name, options) = ("snponly.efi".to_owned(), String::new());
    before.take(2000, &BootEvent::TransferStarted { fetcher, protocol, name, size: 1, options }, true);
    let newest: Vec<Mac> = before.newest(1).iter().map(|trace| trace.client.mac).collect();
    assert_eq!(newest, [mac], "the newest, and no stranger");
    let kept = serde_json::to_string(&before.newest(10)).unwrap();

    let mut after = Traces::default();
    after.take(5000, &ask(2), true);
    after.restore(serde_json::from_str(&kept).unwrap());
    let (was, is) = (before.get(&mac).unwrap(), after.get(&mac).unwrap());
    assert_eq!((is.hops().len(), &is.hops()[0], is.chain()), (was.hops().len(), &was.hops()[0], was.chain()));
    assert!(matches!(is.hops().last().unwrap().outcome, Outcome::Broken(_)), "{:?}", is.hops());
    assert_eq!(after.get(&[2, 0, 0, 0, 0, 2].into()).unwrap().last(), 5000, "seen since the start");
    assert!(after.get(&[2, 0, 0, 0, 0, 9].into()).is_none());
}

#[test]
fn what_comes_back_larger_than_it_may_be_is_cut() {
    let mut before = Traces::default();
    let client = Client { class: ClientClass::Pxe, ..Client::bare([2, 0, 0, 0, 0, 1].into(), None) };
    let interface = Ipv4Addr::LOCALHOST;
    before.take(
        1,
        &BootEvent::DiscoverSeen { client: client.clone(), interface, secs: 0, relay: None },
        true,
    );
    let mut trace = before.newest(1)[0].clone();
    for at in 0..200 {
        let hop = Hop { at, ..trace.hops[0].clone() };
        trace.hops.push(hop);
        trace.said.push_back((at, "x".to_owned()));
    }
    let mut after = Traces::default();
    after.restore(vec![trace]);
    let trace = after.get(&client.mac).unwrap();
    assert_eq!((trace.hops().len(), trace.hops()[0].at), (HOPS_MOST, 200 - HOPS_MOST as u64));
    assert_eq!(trace.said().count(), SAID_MOST);
}
