//! A DHCP packet from the wire: reading it, classifying its sender and answering never fail but by name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pxe::dhcp::classify::classify;
use pxe::dhcp::packet::{Request, sub_option};

fuzz_target!(|raw: &[u8]| {
    let Ok(request) = Request::parse(raw) else { return };
    let _ = classify(&request, &[String::from("x")]);
    for code in 0..=255 {
        if let Some(value) = request.option(code) {
            let _ = sub_option(value, 6);
        }
        let _ = request.addr_option(code);
    }
});
