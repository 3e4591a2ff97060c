//! Whose address is whose in full mode: reservations, addresses in use, declined ones.

use std::time::Duration;

use super::*;
use crate::dhcp::reserved::Reservations;

/// Everybody is a plain client; the policy keeps this list.
#[derive(Default)]
struct Keeps(Mutex<Option<Reservations>>);

impl BootPolicy for Arc<Keeps> {
    fn decide(&self, _: &BootRequest) -> BootDecision {
        BootDecision::LocalDisk
    }

    fn reservations(&self) -> Option<Reservations> {
        self.0.lock().expect("lock").clone()
    }
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

/// The client of [`fixtures::plain`] with this number.
fn mac(desk: &Desk) -> Mac {
    let seen = |event: &BootEvent| match event {
        BootEvent::DiscoverSeen { client, .. } => Some(client.mac),
        _ => None,
    };
    desk.events.lock().expect("lock").iter().find_map(seen).expect("it was seen")
}

fn take(desk: &mut Desk, client: u8, addr: Ipv4Addr) -> Option<Kind> {
    let request = selecting(Packet::request(client), addr, US).build();
    desk.on_67(&request).as_ref().and_then(kind)
}

#[test]
fn an_address_on_record_is_given_from_the_next_packet_on() {
    let keeps = Arc::new(Keeps::default());
    let mut desk = Desk::new(full(), keeps.clone());
    let before = desk.on_67(&fixtures::plain(7)).expect("an address").yiaddr();
    assert!((ip(50)..=ip(99)).contains(&before));
    let client = mac(&desk);
    *keeps.0.lock().expect("lock") =
        Some(vec![(client, ip(20)), (client, Ipv4Addr::new(10, 9, 0, 9))].into());
    assert_eq!(desk.on_67(&fixtures::plain(7)).map(|offer| offer.yiaddr()), Some(ip(20)), "outside the pool");
    assert_eq!(take(&mut desk, 7, ip(20)), Some(Kind::Ack));
    assert_eq!(take(&mut desk, 8, ip(20)), Some(Kind::Nak), "another is refused it");
}

#[test]
fn a_configured_address_is_given_and_to_nobody_else() {
    let mut desk = Desk::new(full(), |_: &BootRequest| BootDecision::LocalDisk);
    desk.on_67(&fixtures::plain(7)).expect("an address");
    let client = mac(&desk);
    let DhcpMode::Full(mut pool) = full() else { panic!("full") };
    (pool.pool_first, pool.pool_last) = (ip(50), ip(51));
    pool.reservations.insert(client, ip(50));
    let mut desk = Desk::new(DhcpMode::Full(pool), |_: &BootRequest| BootDecision::LocalDisk);
    assert_eq!(desk.on_67(&fixtures::plain(8)).map(|offer| offer.yiaddr()), Some(ip(51)));
    assert_eq!(desk.on_67(&fixtures::plain(9)), None, "the last one is kept");
    assert_eq!(desk.on_67(&fixtures::plain(7)).map(|offer| offer.yiaddr()), Some(ip(50)));
}

#[test]
fn what_is_offered_is_asked_about_until_it_is_leased() {
    let mut desk = Desk::full(BootDecision::LocalDisk);
    let (reply, offer) = desk.ask(Door::Dhcp, NONE, &fixtures::plain(7)).expect("offer");
    assert_eq!(reply.probe, Some(offer.yiaddr()));
    let again = desk.responder.handle(Instant::now(), Door::Dhcp, NONE, &fixtures::plain(7)).expect("offer");
    assert_eq!(again.probe, None, "it was asked about a moment ago");
    let later = Instant::now() + Duration::from_secs(4);
    let later = desk.responder.handle(later, Door::Dhcp, NONE, &fixtures::plain(7)).expect("offer");
    assert_eq!(later.probe, Some(offer.yiaddr()), "firmware asks after 4 s");
    assert_eq!(take(&mut desk, 7, offer.yiaddr()), Some(Kind::Ack));
    let (again, _) = desk.ask(Door::Dhcp, NONE, &fixtures::plain(7)).expect("offer");
    assert_eq!(again.probe, None);
}

#[test]
fn an_offer_that_turns_out_to_be_in_use_is_taken_back_and_told_once() {
    let mut desk = Desk::full(BootDecision::LocalDisk);
    let addr = desk.on_67(&fixtures::plain(7)).expect("offer").yiaddr();
    let printer = Mac::from([0x52, 0x54, 0, 0x99, 0, 1]);
    for _ in 0..2 {
        desk.responder.heard(printer, addr, Instant::now());
    }
    let told = BootEvent::AddressInUse { addr, by: printer, holder: None, interface: US };
    assert_eq!(desk.events().iter().filter(|event| **event == told).count(), 1);
    assert_eq!(take(&mut desk, 7, addr), Some(Kind::Nak));
    let next = desk.on_67(&fixtures::plain(7)).expect("another").yiaddr();
    assert_ne!(next, addr);
    assert_eq!(take(&mut desk, 7, next), Some(Kind::Ack));
}

#[test]
fn a_declined_address_rests_and_another_is_offered() {
    let mut desk = Desk::full(BootDecision::LocalDisk);
    let addr = desk.on_67(&fixtures::plain(7)).expect("offer").yiaddr();
    assert_eq!(take(&mut desk, 7, addr), Some(Kind::Ack));
    let decline = Packet::new(4, 7).option(50, &addr.octets()).option(54, &US.octets()).build();
    assert_eq!(desk.on_67(&decline), None);
    for client in [7, 8] {
        let wishing = Packet::discover(client).option(50, &addr.octets()).build();
        assert_ne!(desk.on_67(&wishing).expect("offer").yiaddr(), addr);
    }
}
