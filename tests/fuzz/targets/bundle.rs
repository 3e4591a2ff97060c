//! A bundle from a stick: what it says before its frames.
#![no_main]

use std::collections::HashSet;

use images::bundle::BundleReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(reader) = BundleReader::open(bytes) else { return };
    let _ = reader.contents.chunks(&HashSet::new());
});
