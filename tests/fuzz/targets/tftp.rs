//! TFTP packets from the wire, at the door and within a transfer.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use pxe::tftp::{options, packet, transfer::Transfer};

fuzz_target!(|raw: &[u8]| {
    let _ = packet::parse_answer(raw);
    let Ok(packet::Incoming::Read(request)) = packet::parse_incoming(raw) else { return };
    let agreed = options::agree_within(&request.options, 3000, (1468, options::WINDOW_MAX));
    let now = Instant::now();
    let mut transfer = Transfer::new(vec![7; 3000].into(), agreed, now);
    let mut out = Vec::new();
    // Whatever the other side answers, a transfer ends: each packet and each timeout takes it further or gives up.
    for piece in raw.chunks(4) {
        while transfer.next_batch(&mut out).is_some() {}
        transfer.on_packet(piece, now);
        transfer.on_timeout(now + Duration::from_secs(60));
    }
});
