//! What an OpenID provider says of somebody: nothing panics, and without a signature nothing is believed.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../recovery/appliance/src/provider/token.rs"]
#[allow(dead_code)]
mod token;

use token::{Expected, Keys, judge};

fuzz_target!(|bytes: &[u8]| {
    let (keys, said) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    let keys = Keys::read(keys).unwrap_or_default();
    let expected = Expected { issuer: "https://id.plant", client_id: "groundstate", nonce: "n", now_s: 1 };
    let Ok(said) = str::from_utf8(said) else { return };
    // A signature that fits is not found by chance.
    assert!(judge(said.trim_start_matches('\0'), &keys, &expected).is_err());
});
