//! A runbook from a person: it parses or is refused by name.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = runbooks::runbook::parse::parse(text);
    }
});
