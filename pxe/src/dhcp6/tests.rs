//! What each client is told over IPv6; answers are read by dhcproto.

use std::sync::Mutex;

use dhcproto::v6::{DhcpOption, Message, MessageType as Kind, OptionCode};
use dhcproto::{Decodable as _, Decoder};

use super::*;

const OURS: &str = "fd00:77::1";
const MAC: [u8; 6] = [0x52, 0x54, 0, 0x77, 0, 9];
/// Made from [`MAC`].
const LINK_LOCAL: &str = "fe80::5054:ff:fe77:9";
const GIVEN: &str = "fd00:77::5054:ff:fe77:9";
const UUID: &[u8] = b"\0\x04sixteen bytes...";

struct Desk {
    responder: Responder,
    events: Arc<Mutex<Vec<BootEvent>>>,
}

impl Desk {
    fn new(decision: BootDecision) -> Self {
        let events: Arc<Mutex<Vec<BootEvent>>> = Arc::default();
        let sink = events.clone();
        let pool = FullDhcp::pool([10, 77, 0, 50].into(), [10, 77, 0, 99].into());
        let responder = Responder {
            ours: OURS.parse().unwrap(),
            interface: Ipv4Addr::new(10, 77, 0, 1),
            mac: [2, 0, 0, 0, 0, 1],
            full: pool,
            loaders: Loaders::debian().with_http_shim("signed/shimx64.efi"),
            http_port: 80,
            policy: Arc::new(move |_: &BootRequest| decision),
            events: Arc::new(move |event| sink.lock().unwrap().push(event)),
        };
        Desk { responder, events }
    }

    fn ask_from(&self, from: &str, raw: Writer) -> Option<Message> {
        let from = SocketAddrV6::new(from.parse().unwrap(), 546, 0, 2);
        let reply = self.responder.handle(from, &raw.finish().unwrap())?.bytes;
        Some(Message::decode(&mut Decoder::new(&reply)).expect("our replies can be read"))
    }

    fn ask(&self, raw: Writer) -> Option<Message> {
        self.ask_from(LINK_LOCAL, raw)
    }

    fn refusals(&self) -> Vec<Refusal> {
        let refused = |event| match event {
            BootEvent::Refused { reason, .. } => Some(reason),
            _ => None,
        };
        std::mem::take(&mut *self.events.lock().unwrap()).into_iter().filter_map(refused).collect()
    }
}

/// A message of a client with a UUID as its identifier and one association.
fn client(kind: u8) -> Writer {
    Writer::new(kind, [1, 2, 3])
        .option(code::CLIENT_ID, UUID)
        .option(code::IA_NA, &[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// As OVMF asks for HTTP Boot.
fn http_boot(kind: u8) -> Writer {
    let class = [&[0, 0, 1, 0x57, 0, 33][..], b"HTTPClient:Arch:00016:UNDI:003001"].concat();
    client(kind)
        .option(code::ARCH, &[0, 16])
        .option(code::VENDOR_CLASS, &class)
        .option(code::ELAPSED, &[1, 0x90])
}

fn to_us(message: Writer) -> Writer {
    message.option(code::SERVER_ID, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 1])
}

fn url(message: &Message) -> Option<String> {
    message.opts().iter().find_map(|option| match option {
        DhcpOption::Unknown(option) if u16::from(option.code()) == code::BOOT_URL => {
            Some(String::from_utf8(option.data().to_vec()).unwrap())
        }
        _ => None,
    })
}

/// The addresses given, by association; `None`: a status in place of one.
fn given(message: &Message) -> Vec<Option<(Ipv6Addr, u32)>> {
    let associations = message.opts().iter().filter_map(|option| match option {
        DhcpOption::IANA(association) => Some(association),
        _ => None,
    });
    let addr = |opts: &dhcproto::v6::DhcpOptions| match opts.get(OptionCode::IAAddr) {
        Some(DhcpOption::IAAddr(addr)) => Some((addr.addr, addr.valid_life)),
        _ => None,
    };
    associations.map(|association| addr(&association.opts)).collect()
}

fn status(message: &Message) -> Option<u16> {
    match message.opts().get(OptionCode::StatusCode) {
        Some(DhcpOption::StatusCode(status)) => Some(status.status.into()),
        _ => None,
    }
}

#[test]
fn http_boot_with_a_ticket_gets_its_address_its_url_and_its_class() {
    let desk = Desk::new(Chain::UefiHttp.into());
    for (message, kind) in [(http_boot(1), Kind::Advertise), (to_us(http_boot(3)), Kind::Reply)] {
        let reply = desk.ask(message).expect("an answer");
        assert_eq!((reply.msg_type(), reply.xid()), (kind, [1, 2, 3]));
        assert_eq!(given(&reply), [Some((GIVEN.parse().unwrap(), 120))]);
        assert_eq!(url(&reply).as_deref(), Some("http://[fd00:77::1]/recovery.efi"));
        let Some(DhcpOption::VendorClass(class)) = reply.opts().get(OptionCode::VendorClass) else {
            panic!("HTTP Boot passes an offer without its class over")
        };
        assert_eq!(class.data, [b"HTTPClient".to_vec()]);
        assert_eq!(reply.opts().get(OptionCode::ClientId), Some(&DhcpOption::ClientId(UUID.to_vec())));
    }
    let events = std::mem::take(&mut *desk.events.lock().unwrap());
    let [
        BootEvent::DiscoverSeen { client, secs: 4, .. },
        BootEvent::OfferSent { .. },
        BootEvent::AckSent { .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(
        (client.mac, client.class, client.arch),
        (MAC.into(), ClientClass::HttpBoot, Some(Arch::EfiX64))
    );
    let shim = Desk::new(Chain::Shim.into()).ask(http_boot(1)).expect("an answer");
    assert_eq!(url(&shim).as_deref(), Some("http://[fd00:77::1]/signed/shimx64.efi"));
    let desk = Desk::new(Chain::UefiHttp.into());
    let elsewhere = Desk { responder: Responder { http_port: 8080, ..desk.responder }, events: desk.events };
    assert_eq!(
        url(&elsewhere.ask(http_boot(1)).unwrap()).as_deref(),
        Some("http://[fd00:77::1]:8080/recovery.efi")
    );
}

#[test]
fn without_a_ticket_firmware_hears_nothing_or_a_false_name_and_others_an_address() {
    let mut desk = Desk::new(BootDecision::LocalDisk);
    assert_eq!(desk.ask(http_boot(1)), None);
    assert_eq!(desk.refusals(), [Refusal::NoTicket]);
    let plain = desk.ask(client(1)).expect("an address");
    assert_eq!((url(&plain), given(&plain)), (None, vec![Some((GIVEN.parse().unwrap(), 3600))]));
    desk.responder.full.unarmed = Unarmed::FastRefuse;
    let told = desk.ask(http_boot(1)).expect("an answer");
    assert_eq!(url(&told).as_deref(), Some("http://[fd00:77::1]/no-boot-ticket"));

    let desk = Desk::new(BootDecision::Nothing);
    assert_eq!((desk.ask(http_boot(1)), desk.ask(client(1))), (None, None));
    assert_eq!(desk.refusals(), [Refusal::Muted, Refusal::Muted]);
    let only = Desk::new(BootDecision::AddressOnly).ask(http_boot(1)).expect("an address");
    assert_eq!(url(&only), None);
}

/// As OVMF asks for PXE.
fn pxe(kind: u8) -> Writer {
    let class = [&[0, 0, 1, 0x57, 0, 32][..], b"PXEClient:Arch:00007:UNDI:003001"].concat();
    client(kind).option(code::ARCH, &[0, 7]).option(code::VENDOR_CLASS, &class)
}

#[test]
fn pxe_gets_ipxe_over_tftp_and_no_chain_that_would_go_on_over_ipv6() {
    let desk = Desk::new(Chain::UefiHttp.into());
    let reply = desk.ask(pxe(1)).expect("an answer");
    assert_eq!(url(&reply).as_deref(), Some("tftp://[fd00:77::1]/snponly.efi"));
    assert_eq!(reply.opts().get(OptionCode::VendorClass), None, "that is HTTP Boot's");
    assert_eq!(Desk::new(Chain::Shim.into()).ask(pxe(1)), None);
    let bios = client(1).option(code::VENDOR_CLASS, b"\0\0\x01\x57\0\x09PXEClient");
    assert_eq!(desk.ask(bios), None, "of no known architecture");
    assert!(matches!(desk.refusals()[..], [Refusal::NoLoader(_)]));
    let ipxe = desk.ask(client(1).option(code::USER_CLASS, b"\0\x04iPXE")).expect("an address");
    assert_eq!((url(&ipxe), given(&ipxe).len()), (None, 1), "its script comes over IPv4");
    let mut desk = Desk::new(BootDecision::LocalDisk);
    assert_eq!(desk.ask(pxe(1)), None);
    desk.responder.full.unarmed = Unarmed::FastRefuse;
    assert_eq!(url(&desk.ask(pxe(1)).unwrap()).as_deref(), Some("tftp://[fd00:77::1]/no-boot-ticket"));
}

#[test]
fn only_who_was_sent_to_a_file_looks_for_a_route() {
    let from = SocketAddrV6::new(LINK_LOCAL.parse().unwrap(), 546, 0, 2);
    let boots = |decision: BootDecision, message: Writer| {
        Desk::new(decision).responder.handle(from, &message.finish().unwrap()).expect("an answer").boots
    };
    assert!(boots(Chain::UefiHttp.into(), to_us(http_boot(3))));
    assert!(boots(Chain::Ipxe.into(), to_us(pxe(3))));
    assert!(!boots(Chain::UefiHttp.into(), http_boot(1)), "an offer alone");
    assert!(!boots(Chain::UefiHttp.into(), to_us(client(3))), "no firmware");
    assert!(!boots(BootDecision::LocalDisk, to_us(client(8))));
}

#[test]
fn who_asks_another_server_or_must_name_one_is_left_alone() {
    let desk = Desk::new(Chain::UefiHttp.into());
    let other = |message: Writer| message.option(code::SERVER_ID, b"\0\x03\0\x01other!");
    for kind in [1, 3, 4, 5, 6, 8, 9, 11] {
        assert_eq!(desk.ask(other(http_boot(kind))), None, "{kind}");
    }
    for kind in [3, 5, 8, 9] {
        assert_eq!(desk.ask(http_boot(kind)), None, "{kind} names none");
    }
    assert_eq!(desk.ask(to_us(http_boot(1))), None, "a Solicit names none");
    assert!(desk.refusals().iter().all(|reason| *reason == Refusal::OtherServer));
    assert_eq!(desk.ask(http_boot(12)), None);
    assert_eq!(desk.refusals(), [Refusal::MessageType(12)], "a relay");
}

#[test]
fn what_a_client_has_is_confirmed_prolonged_and_given_back() {
    let desk = Desk::new(BootDecision::LocalDisk);
    for message in [to_us(client(5)), client(6)] {
        assert_eq!(given(&desk.ask(message).unwrap()), [Some((GIVEN.parse().unwrap(), 3600))]);
    }
    for kind in [8, 9] {
        let reply = desk.ask(to_us(client(kind))).unwrap();
        assert_eq!((status(&reply), given(&reply).len()), (Some(0), 0));
    }
    let with = |addr: &str| {
        let addr: Ipv6Addr = addr.parse().unwrap();
        let inner = [&[0, 5, 0, 24][..], &addr.octets(), &[0; 8]].concat();
        let association = [&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0][..], &inner].concat();
        Writer::new(4, [1, 2, 3]).option(code::CLIENT_ID, UUID).option(code::IA_NA, &association)
    };
    assert_eq!(status(&desk.ask(with(GIVEN)).unwrap()), Some(0));
    assert_eq!(status(&desk.ask(with("fd00:78::9")).unwrap()), Some(4));
    assert_eq!(desk.ask(client(4)), None, "it confirms nothing");
    let information = desk.ask(client(11)).unwrap();
    assert!(given(&information).is_empty());
}

#[test]
fn a_client_has_one_address_and_no_other_is_made_up() {
    let desk = Desk::new(BootDecision::LocalDisk);
    let two = client(1).option(code::IA_NA, &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(given(&desk.ask(two).unwrap()), [Some((GIVEN.parse().unwrap(), 3600)), None]);
    // A client whose addresses hide its hardware address has it in its identifier, or nothing is known of it.
    assert_eq!(desk.ask_from("fe80::1234", client(1)), None);
    assert_eq!(desk.refusals().last(), Some(&Refusal::UnknownClient));
    let identifier = [&[0, 3, 0, 1][..], &MAC].concat();
    let known = Writer::new(1, [1, 2, 3])
        .option(code::CLIENT_ID, &identifier)
        .option(code::IA_NA, &[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
    let reply = desk.ask_from("fe80::1234", known).unwrap();
    assert_eq!(given(&reply), [Some((GIVEN.parse().unwrap(), 3600))]);
    // Whoever claims our own hardware address does not get our own address.
    let ours = addr_of(OURS.parse().unwrap(), MAC.into()).unwrap();
    assert_eq!(addr_of(ours, MAC.into()), None);
    assert_eq!(mac_in(ours), Some(MAC.into()));
    assert!(same_network(ours, OURS.parse().unwrap()) && !same_network(ours, "fd00:78::1".parse().unwrap()));
}
