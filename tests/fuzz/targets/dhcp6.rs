//! A DHCPv6 message from the wire: whatever comes, the answer can be read and no client passes it over for its length.
#![no_main]

use std::net::{Ipv4Addr, SocketAddrV6};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use pxe::dhcp::loader::Loaders;
use pxe::dhcp6::Responder;
use pxe::dhcp6::packet::{REPLY_LEN_MAX, Request};
use pxe::{BootEvent, BootRequest, Chain};

fuzz_target!(|raw: &[u8]| {
    if let Ok(request) = Request::parse(raw) {
        let _ = (request.mac_of_identifier(), request.vendor_class(), request.has_user_class(b"iPXE"));
    }
    let responder = Responder {
        ours: "fd00:77::1".parse().unwrap(),
        interface: Ipv4Addr::new(10, 77, 0, 1),
        mac: [2, 0, 0, 0, 0, 1],
        full: pxe::config::FullDhcp::pool([10, 77, 0, 50].into(), [10, 77, 0, 99].into()),
        loaders: Loaders::debian(),
        http_port: 80,
        policy: Arc::new(|_: &BootRequest| Chain::UefiHttp.into()),
        events: Arc::new(|_: BootEvent| {}),
    };
    let from = SocketAddrV6::new("fe80::5054:ff:fe77:9".parse().unwrap(), 546, 0, 2);
    if let Some(answer) = responder.handle(from, raw) {
        let reply = answer.bytes;
        assert!(reply.len() <= REPLY_LEN_MAX && matches!(reply[0], 2 | 7) && reply[1..4] == raw[1..4]);
        assert!(Request::parse(&reply).unwrap().option(2).is_some(), "a server names itself");
    }
});
