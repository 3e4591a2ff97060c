//! The challenge of an outlet: nothing panics, and what goes back fits a header.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../recovery/appliance/src/power/outlet/digest.rs"]
#[allow(dead_code)]
mod digest;

fuzz_target!(|header: &str| {
    if let Ok(challenge) = digest::Challenge::read(header) {
        let answer = challenge.answer(("admin", "secret"), "GET", "/rpc/Switch.GetStatus?id=0", "00");
        assert!(answer.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{answer}");
        assert!(!answer.contains("secret") || header.contains("secret"));
    }
});
