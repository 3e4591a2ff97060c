//! The responder as a whole: golden requests in, replies read back with dhcproto.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dhcproto::v4::{Decodable, Decoder, DhcpOption, Message, MessageType as Kind, OptionCode};
use proptest::prelude::*;

use super::fixtures::{self, Packet};
use super::lease::{Lease, LeaseJournal};
use super::loader::Loaders;
use super::reply::{Destination, Site};
use super::{Door, Links, Reply, Responder};
use crate::client::{ClientClass, Mac};
use crate::config::{DhcpMode, FullDhcp, Interface, Ports, Unarmed};
use crate::event::{BootEvent, Refusal};
use crate::policy::{Boot, BootDecision, BootPolicy, BootRequest, Chain, OfferStyle, Stage};
use crate::whois::{Neighbours, Whois};

mod addresses;

const US: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const THEM: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
const NONE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);

struct Nobody;
impl Neighbours for Nobody {
    fn mac_of(&self, _: Ipv4Addr) -> Option<Mac> {
        None
    }
}

struct Desk {
    responder: Responder,
    events: Arc<Mutex<Vec<BootEvent>>>,
    whois: Arc<Whois>,
}

impl Desk {
    fn new(dhcp: DhcpMode, policy: impl BootPolicy + 'static) -> Self {
        Desk::with_journal(dhcp, policy, None)
    }

    fn with_journal(
        dhcp: DhcpMode,
        policy: impl BootPolicy + 'static,
        journal: Option<Arc<dyn LeaseJournal>>,
    ) -> Self {
        let events: Arc<Mutex<Vec<BootEvent>>> = Arc::default();
        let sink = events.clone();
        let whois = Arc::new(Whois::new(Arc::new(Nobody)));
        let links = Links {
            policy: Arc::new(policy),
            events: Arc::new(move |e| sink.lock().expect("lock").push(e)),
            whois: whois.clone(),
            journal,
        };
        let interface = Interface { name: "recovery0".into(), addr: US, prefix: 24, dhcp };
        let site = Site { interface, loaders: Loaders::debian(), ports: Ports::default() };
        Desk { responder: Responder::new(site, vec![], links, Instant::now()), events, whois }
    }

    fn proxy(decision: BootDecision) -> Self {
        Desk::new(DhcpMode::Proxy, move |_: &BootRequest| decision)
    }

    fn full(decision: BootDecision) -> Self {
        Desk::new(full(), move |_: &BootRequest| decision)
    }

    fn ask(&mut self, door: Door, from: SocketAddrV4, raw: &[u8]) -> Option<(Reply, Message)> {
        let reply = self.responder.handle(Instant::now(), door, from, raw)?;
        let message = Message::decode(&mut Decoder::new(&reply.bytes)).expect("our replies can be read");
        Some((reply, message))
    }

    fn on_67(&mut self, raw: &[u8]) -> Option<Message> {
        self.ask(Door::Dhcp, NONE, raw).map(|(_, m)| m)
    }

    fn events(&self) -> Vec<BootEvent> {
        std::mem::take(&mut *self.events.lock().expect("lock"))
    }

    fn refusals(&self) -> Vec<Refusal> {
        let refused = |e| match e {
            BootEvent::Refused { reason, .. } => Some(reason),
            _ => None,
        };
        self.events().into_iter().filter_map(refused).collect()
    }
}

fn full() -> DhcpMode {
    DhcpMode::Full(FullDhcp::pool(Ipv4Addr::new(10, 77, 0, 50), Ipv4Addr::new(10, 77, 0, 99)))
}

fn kind(message: &Message) -> Option<Kind> {
    message.opts().msg_type()
}

fn class(message: &Message) -> Option<&[u8]> {
    match message.opts().get(OptionCode::ClassIdentifier) {
        Some(DhcpOption::ClassIdentifier(class)) => Some(class),
        _ => None,
    }
}

fn vendor(message: &Message) -> Option<&[u8]> {
    match message.opts().get(OptionCode::VendorExtensions) {
        Some(DhcpOption::VendorExtensions(data)) => Some(data),
        _ => None,
    }
}

fn file(message: &Message) -> Option<String> {
    let header = message.fname_str().map(|f| f.expect("ASCII").trim_end_matches('\0').to_owned());
    if let Some(DhcpOption::BootfileName(name)) = message.opts().get(OptionCode::BootfileName) {
        assert_eq!(header.as_ref().map(|h| [h.as_bytes(), &[0]].concat()).as_deref(), Some(name.as_slice()));
    }
    header
}

fn server_id(message: &Message) -> Option<Ipv4Addr> {
    match message.opts().get(OptionCode::ServerIdentifier) {
        Some(DhcpOption::ServerIdentifier(id)) => Some(*id),
        _ => None,
    }
}

fn selecting(packet: Packet, addr: Ipv4Addr, server: Ipv4Addr) -> Packet {
    packet.option(50, &addr.octets()).option(54, &server.octets())
}

const EDK2_4011: SocketAddrV4 = SocketAddrV4::new(THEM, 4011);

// --- ProxyDHCP ---

#[test]
fn a1_b1_bios_gets_its_file_in_a_proxy_offer_with_discovery_control_8() {
    let offer = Desk::proxy(Chain::Bios.into()).on_67(&fixtures::bios_pxe(7)).expect("offer");
    assert_eq!(kind(&offer), Some(Kind::Offer));
    assert_eq!(class(&offer), Some(&b"PXEClient"[..]));
    assert_eq!(vendor(&offer), Some(&[6, 1, 8, 255][..]));
    assert_eq!(file(&offer).as_deref(), Some("undionly.kpxe"));
    assert_eq!((server_id(&offer), offer.siaddr(), offer.yiaddr()), (Some(US), US, Ipv4Addr::UNSPECIFIED));
}

#[test]
fn b1_b2_uefi_is_sent_to_the_boot_server_port() {
    let mut desk = Desk::proxy(Chain::Ipxe.into());
    let offer = desk.on_67(&fixtures::ovmf_pxe(7)).expect("offer");
    assert_eq!((class(&offer), vendor(&offer), file(&offer)), (Some(&b"PXEClient"[..]), None, None));
    assert_eq!((server_id(&offer), offer.siaddr()), (Some(US), US), "a4: there is someone to ask");
    let request = fixtures::with_ovmf_pxe(Packet::request(7).ciaddr(THEM)).build();
    let (reply, ack) = desk.ask(Door::BootServer, EDK2_4011, &request).expect("b7: no option 54 is needed");
    assert_eq!((kind(&ack), file(&ack).as_deref()), (Some(Kind::Ack), Some("snponly.efi")));
    assert_eq!(class(&ack), Some(&b"PXEClient"[..]));
    assert_eq!(reply.to, Destination::Unicast(EDK2_4011), "b5, b6");
}

#[test]
fn b5_b6_b8_ipxe_is_answered_on_4011_at_its_own_port_with_all_fields() {
    let mut desk = Desk::proxy(Chain::Ipxe.into());
    let from = SocketAddrV4::new(THEM, 68);
    let packet = Packet::request(7).broadcast().ciaddr(THEM).option(54, &US.octets());
    let (reply, ack) = desk.ask(Door::BootServer, from, &fixtures::with_ipxe(packet).build()).expect("ack");
    assert_eq!(reply.to, Destination::Unicast(from), "unicast in spite of the broadcast flag");
    assert_eq!((ack.siaddr(), file(&ack).as_deref()), (US, Some("http://10.77.0.1/boot.ipxe")));
    assert_eq!(class(&ack), Some(&b"PXEClient"[..]));
}

#[test]
fn the_style_of_the_offer_can_be_overridden_per_endpoint() {
    let style = |style| BootDecision::RecoverySystem(Boot { chain: Chain::Ipxe, style });
    let offer = Desk::proxy(style(OfferStyle::Bypass)).on_67(&fixtures::ovmf_pxe(7)).expect("offer");
    assert_eq!((file(&offer).as_deref(), vendor(&offer).is_some()), (Some("snponly.efi"), true));
    let offer = Desk::proxy(style(OfferStyle::BootServer)).on_67(&fixtures::bios_pxe(7)).expect("offer");
    assert_eq!(file(&offer), None);
}

#[test]
fn a3_e21_http_boot_works_beside_a_site_dhcp_with_its_class_echoed() {
    let offer = Desk::proxy(Chain::UefiHttp.into()).on_67(&fixtures::ovmf_http(7)).expect("offer");
    assert_eq!(class(&offer), Some(&b"HTTPClient"[..]));
    assert_eq!(file(&offer).as_deref(), Some("http://10.77.0.1/recovery.efi"));
    assert_eq!(offer.yiaddr(), Ipv4Addr::UNSPECIFIED);
}

#[test]
fn b17_c10_a_proxy_gives_no_address_confirms_none_and_refuses_none() {
    let mut desk = Desk::proxy(Chain::Ipxe.into());
    let site = Ipv4Addr::new(10, 77, 0, 254);
    for server in [US, site] {
        let request = selecting(fixtures::with_ovmf_pxe(Packet::request(7)), THEM, server).build();
        assert_eq!(desk.on_67(&request), None);
    }
    for kind in [4, 7, 8] {
        assert_eq!(desk.on_67(&fixtures::with_ovmf_pxe(Packet::new(kind, 7)).build()), None);
    }
}

#[test]
fn a_proxy_leaves_ordinary_clients_and_the_agent_to_the_site() {
    let mut desk = Desk::proxy(Chain::Ipxe.into());
    assert_eq!(desk.on_67(&fixtures::plain(7)), None);
    assert_eq!(desk.on_67(&fixtures::agent(7)), None);
    assert_eq!(desk.refusals(), [Refusal::NotBoot, Refusal::NotBoot]);
}

#[test]
fn b21_an_endpoint_without_a_ticket_hears_nothing_from_a_proxy() {
    for decision in [BootDecision::LocalDisk, BootDecision::AddressOnly, BootDecision::Nothing] {
        let mut desk = Desk::proxy(decision);
        for raw in [fixtures::ovmf_pxe(7), fixtures::bios_pxe(7), fixtures::ipxe(7), fixtures::ovmf_http(7)] {
            assert_eq!(desk.on_67(&raw), None);
            assert!(matches!(desk.refusals()[..], [Refusal::NoTicket | Refusal::Muted]));
        }
    }
}

#[test]
fn b16_the_boot_server_port_follows_the_same_decision() {
    let mut desk = Desk::proxy(BootDecision::LocalDisk);
    let request = fixtures::with_ovmf_pxe(Packet::request(7).ciaddr(THEM)).build();
    assert_eq!(desk.ask(Door::BootServer, EDK2_4011, &request), None);
    assert_eq!(desk.refusals(), [Refusal::NoTicket]);
}

#[test]
fn b18_boot_integrity_requests_are_refused_and_boot_items_echoed() {
    let mut desk = Desk::proxy(Chain::Ipxe.into());
    let mut ask = |item: &[u8]| {
        let data = [&[71, item.len() as u8], item, &[255]].concat();
        let request = fixtures::with_ovmf_pxe(Packet::request(7).ciaddr(THEM)).option(43, &data).build();
        desk.ask(Door::BootServer, EDK2_4011, &request).map(|(_, m)| vendor(&m).map(<[u8]>::to_vec))
    };
    assert_eq!(ask(&[0, 1, 0x80, 0]), None);
    assert_eq!(ask(&[0, 1, 0, 0]), Some(Some(vec![71, 4, 0, 1, 0, 0, 255])));
    assert_eq!(ask(&[]), Some(Some(vec![71, 0, 255])));
}

#[test]
fn an_interface_that_observes_reports_and_answers_nothing() {
    let mut desk = Desk::new(DhcpMode::Observe, |_: &BootRequest| Chain::Ipxe.into());
    assert_eq!(desk.on_67(&fixtures::ovmf_pxe(7)), None);
    let events = desk.events();
    let [BootEvent::DiscoverSeen { client, .. }, BootEvent::Refused { reason: Refusal::Observing, .. }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(client.class, ClientClass::Pxe);
}

// --- Full DHCP ---

#[test]
fn a2_full_mode_sends_no_class_to_pxe_so_that_uefi_stays_off_4011() {
    let mut desk = Desk::full(Chain::Shim.into());
    for (raw, name) in [(fixtures::ovmf_pxe(7), "shimx64.efi"), (fixtures::bios_pxe(8), "undionly.kpxe")] {
        let offer = desk.on_67(&raw).expect("offer");
        assert_eq!((class(&offer), vendor(&offer)), (None, None));
        assert_eq!((file(&offer).as_deref(), offer.siaddr()), (Some(name), US));
    }
    let offer = desk.on_67(&fixtures::ovmf_http(9));
    assert_eq!(offer, None, "shim's chain has no start over HTTP");
}

#[test]
fn a3_full_mode_echoes_the_class_to_http_boot() {
    let offer = Desk::full(Chain::UefiHttp.into()).on_67(&fixtures::ovmf_http(7)).expect("offer");
    assert_eq!(class(&offer), Some(&b"HTTPClient"[..]));
    assert_eq!(file(&offer).as_deref(), Some("http://10.77.0.1/recovery.efi"));
}

#[test]
fn b9_full_mode_spares_ipxe_the_wait_for_a_proxy_offer() {
    let sub = |message: &Message| match message.opts().get(OptionCode::from(175)) {
        Some(DhcpOption::Unknown(option)) => Some(option.data().to_vec()),
        _ => None,
    };
    let offer = Desk::full(Chain::Ipxe.into()).on_67(&fixtures::ipxe(7)).expect("offer");
    assert_eq!(sub(&offer), Some(vec![176, 1, 1]));
    // C19: where it sends its messages, by address.
    let log =
        offer.opts().iter().find(|(code, _)| u8::from(**code) == 7).map(|(_, option)| format!("{option:?}"));
    assert!(log.is_some_and(|log| log.contains("10.77.0.1") || log.contains("[10, 77, 0, 1]")), "{offer:?}");
    let beside = Desk::proxy(Chain::Ipxe.into()).on_67(&fixtures::ipxe(7)).expect("offer");
    assert_eq!(sub(&beside), None);
}

#[test]
fn a6_offer_and_ack_carry_the_same_boot_fields() {
    for raw in [fixtures::with_ovmf_pxe as fn(Packet) -> Packet, fixtures::with_ipxe] {
        let mut desk = Desk::full(Chain::Ipxe.into());
        let offer = desk.on_67(&raw(Packet::discover(7)).build()).expect("offer");
        let request = selecting(raw(Packet::request(7)), offer.yiaddr(), US).build();
        let ack = desk.on_67(&request).expect("ack");
        assert_eq!(kind(&ack), Some(Kind::Ack));
        assert_eq!((file(&offer), offer.yiaddr(), offer.siaddr()), (file(&ack), ack.yiaddr(), ack.siaddr()));
    }
}

#[test]
fn everyone_on_an_isolated_network_gets_an_address_and_only_tickets_a_file() {
    let mut desk = Desk::full(BootDecision::LocalDisk);
    let plain = desk.on_67(&fixtures::plain(7)).expect("an address");
    assert_eq!((file(&plain), plain.siaddr()), (None, Ipv4Addr::UNSPECIFIED));
    assert!(!plain.yiaddr().is_unspecified());
    assert!(matches!(
        plain.opts().get(OptionCode::AddressLeaseTime),
        Some(DhcpOption::AddressLeaseTime(3600))
    ));
    let agent = desk.on_67(&fixtures::agent(8)).expect("an address");
    assert_eq!((file(&agent), agent.siaddr()), (None, US), "the agent learns where the appliance is");
    assert_eq!(desk.on_67(&fixtures::ovmf_pxe(9)), None, "silent by default");
}

#[test]
fn c17_boot_firmware_gets_a_short_lease() {
    let offer = Desk::full(Chain::Ipxe.into()).on_67(&fixtures::ovmf_pxe(7)).expect("offer");
    assert!(matches!(
        offer.opts().get(OptionCode::AddressLeaseTime),
        Some(DhcpOption::AddressLeaseTime(120))
    ));
}

#[test]
fn b21_fast_refuse_names_a_file_that_does_not_exist() {
    let DhcpMode::Full(pool) = full() else { panic!("full") };
    let mode = DhcpMode::Full(FullDhcp { unarmed: Unarmed::FastRefuse, ..pool });
    let mut desk = Desk::new(mode, |_: &BootRequest| BootDecision::LocalDisk);
    let pxe = desk.on_67(&fixtures::ovmf_pxe(7)).expect("offer");
    assert_eq!(file(&pxe).as_deref(), Some("no-boot-ticket"));
    let http = desk.on_67(&fixtures::ovmf_http(8)).expect("offer");
    assert_eq!(file(&http).as_deref(), Some("http://10.77.0.1/no-boot-ticket"));
}

#[test]
fn address_only_and_nothing_do_what_they_say() {
    let offer = Desk::full(BootDecision::AddressOnly).on_67(&fixtures::ovmf_pxe(7)).expect("an address");
    assert_eq!(file(&offer), None);
    let mut mute = Desk::full(BootDecision::Nothing);
    for raw in [fixtures::ovmf_pxe(7), fixtures::plain(7), fixtures::agent(7)] {
        assert_eq!(mute.on_67(&raw), None);
    }
}

#[test]
fn c10_only_a_request_that_names_us_is_refused() {
    let mut desk = Desk::full(BootDecision::LocalDisk);
    let wrong = Ipv4Addr::new(192, 168, 9, 9);
    let named = selecting(Packet::request(7), wrong, US).build();
    let (reply, nak) = desk.ask(Door::Dhcp, NONE, &named).expect("refused");
    assert_eq!(
        (kind(&nak), nak.yiaddr(), reply.to),
        (Some(Kind::Nak), Ipv4Addr::UNSPECIFIED, Destination::Broadcast)
    );
    let unnamed = Packet::request(7).option(50, &wrong.octets()).build();
    assert_eq!(desk.on_67(&unnamed), None);
    let other = selecting(Packet::request(7), wrong, Ipv4Addr::new(10, 77, 0, 2)).build();
    assert_eq!(desk.on_67(&other), None);
}

#[test]
fn a_foreign_dhcp_server_is_reported_and_its_client_left_alone() {
    let foreign = Ipv4Addr::new(10, 77, 0, 254);
    let mut desk = Desk::full(BootDecision::LocalDisk);
    let offered = desk.on_67(&fixtures::plain(7)).expect("offer").yiaddr();
    desk.events();
    assert_eq!(desk.on_67(&selecting(Packet::request(7), THEM, foreign).build()), None);
    let events = desk.events();
    assert!(
        matches!(events[0], BootEvent::ForeignDhcpServer { server, .. } if server == foreign),
        "{events:?}"
    );
    let other = desk.on_67(&Packet::discover(8).option(50, &offered.octets()).build()).expect("offer");
    assert_eq!(other.yiaddr(), offered, "its offer was taken back");
}

#[test]
fn a_renewal_is_confirmed_to_the_address_that_the_client_has() {
    let mut desk = Desk::full(BootDecision::LocalDisk);
    let addr = desk.on_67(&fixtures::plain(7)).expect("offer").yiaddr();
    assert!(desk.on_67(&selecting(Packet::request(7), addr, US).build()).is_some());
    let (reply, ack) = desk
        .ask(Door::Dhcp, SocketAddrV4::new(addr, 68), &Packet::request(7).ciaddr(addr).build())
        .expect("ack");
    assert_eq!((kind(&ack), ack.yiaddr(), ack.ciaddr()), (Some(Kind::Ack), addr, addr));
    assert_eq!(reply.to, Destination::Unicast(SocketAddrV4::new(addr, 68)));
}

#[test]
fn an_inform_gets_options_and_no_lease() {
    let mut desk = Desk::full(BootDecision::LocalDisk);
    let ack = desk.on_67(&Packet::new(8, 7).ciaddr(THEM).build()).expect("ack");
    assert_eq!((kind(&ack), ack.yiaddr()), (Some(Kind::Ack), Ipv4Addr::UNSPECIFIED));
    assert!(ack.opts().get(OptionCode::AddressLeaseTime).is_none());
    assert!(ack.opts().get(OptionCode::SubnetMask).is_some());
}

#[test]
fn c4_relayed_requests_are_answered_to_the_relay() {
    let relay = Ipv4Addr::new(10, 77, 0, 200);
    let mut desk = Desk::full(Chain::Ipxe.into());
    let raw = fixtures::with_ovmf_pxe(Packet::discover(7).giaddr(relay)).option(82, &[1, 1, 9]).build();
    let (reply, offer) = desk.ask(Door::Dhcp, SocketAddrV4::new(relay, 67), &raw).expect("offer");
    assert_eq!(reply.to, Destination::Unicast(SocketAddrV4::new(relay, 67)));
    assert_eq!(offer.giaddr(), relay);
    let far = fixtures::with_ovmf_pxe(Packet::discover(8).giaddr(Ipv4Addr::new(10, 9, 9, 9))).build();
    assert_eq!(desk.on_67(&far), None, "the pool is of another network");
    assert_eq!(desk.refusals(), [Refusal::OffLink]);
    let proxied = Desk::proxy(Chain::Ipxe.into()).ask(Door::Dhcp, NONE, &far).expect("a proxy needs no pool");
    assert_eq!(proxied.0.to, Destination::Unicast(SocketAddrV4::new(Ipv4Addr::new(10, 9, 9, 9), 67)));
}

#[test]
fn c6_c9_a_client_without_address_is_answered_by_broadcast_with_its_transaction() {
    let mut desk = Desk::full(Chain::Ipxe.into());
    let raw = fixtures::ipxe(7);
    let (reply, offer) = desk.ask(Door::Dhcp, NONE, &raw).expect("offer");
    assert_eq!(reply.to, Destination::Broadcast, "although its flags say 0");
    assert_eq!(offer.xid().to_be_bytes(), raw[4..8]);
    assert_eq!(offer.chaddr(), &raw[28..34]);
}

#[test]
fn addresses_learnt_from_dhcp_name_the_client_to_tftp_and_http() {
    let mut desk = Desk::full(Chain::Ipxe.into());
    let addr = desk.on_67(&fixtures::ovmf_pxe(7)).expect("offer").yiaddr();
    assert_eq!(desk.whois.lookup(addr), None, "an offer is not an address yet");
    desk.on_67(&selecting(fixtures::with_ovmf_pxe(Packet::request(7)), addr, US).build()).expect("ack");
    let client = desk.whois.lookup(addr).expect("known");
    assert_eq!((client.class, client.mac), (ClientClass::Pxe, [0x52, 0x54, 0, 0, 0, 7].into()));

    let mut beside = Desk::proxy(Chain::Ipxe.into());
    let site = Ipv4Addr::new(10, 77, 0, 254);
    beside.on_67(&selecting(fixtures::with_ovmf_pxe(Packet::request(9)), THEM, site).build());
    assert_eq!(beside.whois.lookup(THEM).map(|c| c.mac), Some([0x52, 0x54, 0, 0, 0, 9].into()));
}

#[test]
fn the_policy_sees_the_stage_and_the_interface() {
    let seen: Arc<Mutex<Vec<Stage>>> = Arc::default();
    let sink = seen.clone();
    let mut desk = Desk::new(full(), move |r: &BootRequest| {
        assert_eq!(r.interface, US);
        sink.lock().expect("lock").push(r.stage);
        Chain::Ipxe.into()
    });
    let addr = desk.on_67(&fixtures::ovmf_pxe(7)).expect("offer").yiaddr();
    desk.on_67(&selecting(fixtures::with_ovmf_pxe(Packet::request(7)), addr, US).build());
    desk.ask(Door::BootServer, EDK2_4011, &fixtures::with_ovmf_pxe(Packet::request(7).ciaddr(THEM)).build());
    assert_eq!(*seen.lock().expect("lock"), [Stage::Discover, Stage::Request, Stage::BootServer]);
}

#[derive(Default)]
struct Memory(Mutex<Vec<Lease>>);

impl LeaseJournal for Memory {
    fn granted(&self, lease: Lease) {
        self.0.lock().expect("lock").push(lease);
    }
    fn released(&self, addr: Ipv4Addr) {
        self.0.lock().expect("lock").retain(|l| l.addr != addr);
    }
    fn load(&self) -> Vec<Lease> {
        self.0.lock().expect("lock").clone()
    }
}

#[test]
fn leases_survive_a_restart_by_the_journal() {
    let journal: Arc<Memory> = Arc::default();
    let policy = |_: &BootRequest| BootDecision::LocalDisk;
    let mut before = Desk::with_journal(full(), policy, Some(journal.clone()));
    let addr = before.on_67(&fixtures::plain(7)).expect("offer").yiaddr();
    before.on_67(&selecting(Packet::request(7), addr, US).build()).expect("ack");
    let mut after = Desk::with_journal(full(), policy, Some(journal.clone()));
    let other = after.on_67(&Packet::discover(8).option(50, &addr.octets()).build()).expect("offer");
    assert_ne!(other.yiaddr(), addr);
    assert_eq!(after.on_67(&fixtures::plain(7)).expect("offer").yiaddr(), addr);
    after.on_67(&Packet::new(7, 7).ciaddr(addr).build());
    assert_eq!(journal.load(), []);
}

proptest! {
    #[test]
    fn the_responder_never_panics_and_replies_stay_within_bounds(
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..16),
        which in 0usize..6,
        full_mode in any::<bool>(),
        boot_server in any::<bool>(),
    ) {
        let mut raw = [
            fixtures::ovmf_pxe(1), fixtures::ovmf_http(1), fixtures::bios_pxe(1),
            fixtures::ipxe(1), fixtures::plain(1), fixtures::agent(1),
        ][which].clone();
        for (at, value) in hits {
            let at = at.index(raw.len());
            raw[at] = value;
        }
        let mode = if full_mode { full() } else { DhcpMode::Proxy };
        let mut desk = Desk::new(mode, |_: &BootRequest| Chain::Ipxe.into());
        let door = if boot_server { Door::BootServer } else { Door::Dhcp };
        if let Some(reply) = desk.responder.handle(Instant::now(), door, EDK2_4011, &raw) {
            prop_assert!((300..=1472).contains(&reply.bytes.len()));
            prop_assert_eq!(reply.bytes[0], 2);
            if !full_mode {
                prop_assert_eq!(&reply.bytes[16..20], &[0; 4], "no address in proxy mode");
            }
        }
    }
}
