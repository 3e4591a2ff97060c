//! A DHCP packet from the wire, a request or another server's answer, and a loader's syslog line: reading never fails but by name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pxe::dhcp::classify::classify;
use pxe::dhcp::overhear::Answer;
use pxe::dhcp::packet::{Request, sub_option};

fuzz_target!(|raw: &[u8]| {
    let _ = Answer::parse(raw, [10, 0, 0, 9].into());
    if let Some(text) = pxe::syslog::text(raw) {
        assert!(text.chars().count() <= 128 && !text.chars().any(char::is_control));
    }
    let Ok(request) = Request::parse(raw) else { return };
    let _ = classify(&request, &[String::from("x")]);
    for code in 0..=255 {
        if let Some(value) = request.option(code) {
            let _ = sub_option(value, 6);
        }
        let _ = request.addr_option(code);
    }
});
